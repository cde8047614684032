/* SPDX-License-Identifier: Apache-2.0 */
#include "bill_source.h"
#include "bill_view.h"
#include "verbs.h"

#include <stdlib.h>

#define AT(field) offsetof(struct dv_bill_source, field)
static const struct dv_option options[] = {
    {"from", 0, "TIME", "where it begins; default: this month", DV_OPTION_TEXT, AT(from)},
    {"to", 0, "TIME", "where it ends, itself not in it; default: now", DV_OPTION_TEXT, AT(to)},
    {"by", 0, "WHAT", "what the lines are", DV_OPTION_CHOICE, AT(by),
     .choices = "tenant|gpu|mode|day|pod"},
    {"tenant", 0, "TENANT", "this tenant alone", DV_OPTION_TEXT, AT(tenant)},
    {"pod", 0, "NAMESPACE/POD", "this pod's time alone", DV_OPTION_TEXT, AT(pod)},
    {"gpu", 0, "GPU", "this GPU alone: its UUID or the beginning of it, or its index",
     DV_OPTION_TEXT, AT(gpu)},
    {"ledger", 0, "FILE", "read this ledger, a backup, without a daemon", DV_OPTION_TEXT,
     AT(ledger)},
    {"timezone", 0, "ZONE", "whose days and months; default: UTC", DV_OPTION_TEXT, AT(timezone)},
};

static int run(const struct dv_ui *ui)
{
    const struct dv_bill_source *source = ui->values;
    dv_cleanup(dv_output_free) struct dv_output *o = NULL;
    struct dv_zone *zone = malloc(sizeof *zone);
    int exit = zone ? dv_bill_source_usage(ui, source, &o)
                    : dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    if (!exit && !dv_ui_is(ui, "json")) {
        dv_bill_source_zone(ui, o, zone);
        dv_bill_view_days(o, zone);
    }
    free(zone);
    return exit ? exit
                : dv_ui_answer(ui, o, dv_usage_view(source->by), "nobody has used anything yet",
                               DV_UI_OK);
}

static const struct dv_ui_example examples[] = {
    {"GPU time per tenant as a spreadsheet", "divvy usage -o csv > usage.csv"},
    {"the last week, day by day", "divvy usage --from -7d --by day"},
    {"what each pod used today", "divvy usage --from today --by pod"},
};

const struct dv_ui_verb dv_verb_usage = {
    .name = "usage",
    .summary = "what each tenant has used",
    .details = "BUSY is GPU time in which the tenant's work ran; WAITED is time in which it had "
               "work and not its turn; RESERVED is time in which it held a slice, weighed by the "
               "slice's compute; IDLE is what of that nobody used. QUALITY says how busy time was "
               "measured: exact, sampled or estimated.\n\n"
               "Without options: all since the daemon's state directory was made. With --from, "
               "--to, --by, --tenant, --pod or --gpu: from the ledger, TIME as 'divvy bill' has "
               "it. Pods are "
               "kept by name as long as hours are, 400 days.",
    .options = options,
    .n_options = DV_ARRAY_SIZE(options),
    .values_size = sizeof(struct dv_bill_source),
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .prints = true,
    .asks_daemon = true,
    .run = run,
};
