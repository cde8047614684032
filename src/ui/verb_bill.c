/* SPDX-License-Identifier: Apache-2.0 */
#include "bill_source.h"
#include "bill_view.h"
#include "render/bill_html.h"
#include "render/focus.h"
#include "render/json.h"
#include "verbs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct values {
    struct dv_bill_source source;
    const char *format, *focus_version;
};

#define AT(field) offsetof(struct values, field)
static const struct dv_option options[] = {
    {"from", 0, "TIME", "where it begins; default: this month", DV_OPTION_TEXT, AT(source.from)},
    {"to", 0, "TIME", "where it ends, itself not in it; default: now", DV_OPTION_TEXT,
     AT(source.to)},
    {"by", 0, "WHAT", "what the lines are", DV_OPTION_CHOICE, AT(source.by),
     .choices = "tenant|gpu|mode|day|pod"},
    {"basis", 0, "BASIS", "what tenants pay for", DV_OPTION_CHOICE, AT(source.basis),
     .choices = "used|requested|fixed|max", .otherwise = "used"},
    {"idle", 0, "HOW", "how idle time is shared among tenants", DV_OPTION_CHOICE, AT(source.idle),
     .choices = "none|even|weighted", .otherwise = "none"},
    {"tenant", 0, "TENANT", "this tenant's part alone", DV_OPTION_TEXT, AT(source.tenant)},
    {"pod", 0, "NAMESPACE/POD", "this pod's time alone", DV_OPTION_TEXT, AT(source.pod)},
    {"gpu", 0, "GPU", "this GPU alone: its UUID or the beginning of it, or its index",
     DV_OPTION_TEXT, AT(source.gpu)},
    {"price-file", 0, "FILE", "the prices; default: the daemon's", DV_OPTION_TEXT,
     AT(source.price_file)},
    {"format", 0, "FORMAT", "as -o, and focus (CSV) and html (one page)", DV_OPTION_CHOICE,
     AT(format), .choices = "table|json|csv|focus|html"},
    {"focus-version", 0, "VERSION", "of FOCUS, the specification", DV_OPTION_CHOICE,
     AT(focus_version), .choices = "1.2|1.3", .otherwise = "1.2"},
    {"ledger", 0, "FILE", "read this ledger, a backup, without a daemon", DV_OPTION_TEXT,
     AT(source.ledger)},
    {"timezone", 0, "ZONE", "whose days and months; default: the price file's", DV_OPTION_TEXT,
     AT(source.timezone)},
};

/* -o and --format are one thing; *ret is what is meant. */
static int choose_format(const struct dv_ui *ui, const char *format, const char **ret)
{
    *ret = format ? format : ui->format;
    if (format && ui->format_given && strcmp(format, ui->format) != 0)
        return dv_ui_fail(ui, DV_UI_USAGE, "-o %s and --format %s contradict each other",
                          ui->format, format);
    return DV_UI_OK;
}

static int write_page(const struct dv_ui *ui, struct dv_output *bill, const struct dv_zone *zone,
                      const char *focus_version, struct dv_str *text)
{
    enum dv_focus_version version;
    struct dv_err err = {{0}};
    int r = 0;
    if (focus_version)
        r = dv_focus_version_parse(focus_version, &version, &err);
    if (r == 0)
        r = focus_version ? dv_focus_write(bill, zone, version, text, &err)
                          : dv_bill_html_write(bill, zone, text, &err);
    return r < 0 ? dv_ui_fail(ui, DV_UI_FAILURE, "%s", err.msg) : DV_UI_OK;
}

static int print(const struct dv_ui *ui, struct dv_output *bill, const char *format,
                 const struct values *v)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_ui as = *ui;
    as.format = format;
    if (dv_ui_is(&as, "json"))
        return dv_ui_answer(&as, bill, dv_bill_view(v->source.by), NULL, DV_UI_OK);
    struct dv_zone *zone = malloc(sizeof *zone);
    int exit = zone ? DV_UI_OK : dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    if (exit)
        return exit;
    dv_bill_source_zone(ui, bill, zone);
    dv_bill_view_days(bill, zone);
    if (dv_ui_is(&as, "csv"))
        exit = dv_ui_answer(&as, bill, dv_bill_view(v->source.by), NULL, DV_UI_OK);
    else if (dv_ui_is(&as, "table"))
        exit = dv_bill_view_write(ui, bill, zone, v->source.by, &text) < 0
                   ? dv_ui_fail(ui, DV_UI_FAILURE, "out of memory")
                   : DV_UI_OK;
    else
        exit = write_page(ui, bill, zone, dv_ui_is(&as, "focus") ? v->focus_version : NULL, &text);
    free(zone);
    return exit || dv_ui_is(&as, "csv") ? exit : dv_ui_print(dv_str_get(&text));
}

static int run(const struct dv_ui *ui)
{
    dv_cleanup(dv_output_free) struct dv_output *bill = NULL;
    const struct values *v = ui->values;
    struct dv_bill_source source = v->source;
    const char *format = NULL;
    int exit = choose_format(ui, v->format, &format);
    if (!exit && !strcmp(format, "focus")) {
        if (source.by)
            exit = dv_ui_fail(ui, DV_UI_USAGE, "FOCUS has its own lines; leave out --by");
        source.by = "all";
    }
    if (!exit)
        exit = dv_bill_source_bill(ui, &source, &bill);
    return exit ? exit : print(ui, bill, format, v);
}

static const struct dv_ui_example examples[] = {
    {"what everyone owes for this month", "divvy bill --price-file prices.yaml"},
    {"last month as a page to print", "divvy bill --from last-month --format html > bill.html"},
    {"last month for a FinOps tool, idle time shared by use",
     "divvy bill --from last-month --idle weighted --format focus > focus.csv"},
    {"one pod, all its containers and restarts", "divvy bill --pod team-a/train-0 --from -7d"},
    {"from a backup of the ledger, without a daemon",
     "divvy bill --ledger backup.db --price-file prices.yaml --from 2026-10 --by day"},
};

const struct dv_ui_verb dv_verb_bill = {
    .name = "bill",
    .summary = "what the tenants' GPU time costs, and what was wasted",
    .details =
        "Every instant of a GPU is in one part: busy for a tenant, held by one and idle, overhead, "
        "held by nobody, or unhealthy. All parts sum to the time of the clock, and their costs to "
        "the cost of the GPUs, to the millionth.\n\n"
        "--basis says what tenants pay for: the time in which their work ran (used), the share "
        "that they held (requested), a price per month (fixed), or the larger of the first two "
        "(max). All of them are shown side by side. --idle adds what nobody is charged for, in "
        "equal parts (even) or by what each is charged (weighted).\n\n"
        "TIME is 2026-11-01, 2026-11, a time of RFC 3339, now, today, yesterday, this-month, "
        "last-month, or -7d, -12h, -90m before now. A month or yesterday as --from alone is all "
        "of it. Pods are kept by name as long as the ledger keeps hours, 400 days; what is older "
        "is "
        "their tenant's. Only root and operators see the other tenants' lines.",
    .options = options,
    .n_options = DV_ARRAY_SIZE(options),
    .values_size = sizeof(struct values),
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .prints = true,
    .asks_daemon = true,
    .run = run,
};
