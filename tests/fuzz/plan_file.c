/* SPDX-License-Identifier: Apache-2.0 */
/* Fleets: any text is a sound fleet or an error with a message that prints; and a small one has a
 * plan. */
#include "fleetfile/plan_file.h"

#include "policy/fleet/fleet_plan.h"

#include <errno.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_message(const char *text)
{
    if (!*text)
        abort();
    for (; *text; text++)
        if (*text < ' ' || *text > '~')
            abort();
}

static void check_plan(const struct dv_fleet *fleet)
{
    struct dv_fleet_options options = {.aim = DV_FLEET_CARDS};
    struct dv_fleet_plan *plan = NULL;
    uint64_t places = 0;
    for (uint32_t w = 0; w < fleet->n_workloads; w++)
        places += dv_fleet_places(fleet, &fleet->workloads[w]);
    if (places > 200 || fleet->n_workloads > 8 || fleet->n_groups > 3)
        return;
    if (dv_fleet_plan_new(fleet, &options, &plan) < 0)
        return;
    if (plan->feasible && plan->n_cards != plan->needed_cards)
        abort();
    for (uint32_t i = 0; i < plan->n_slices; i++)
        if (plan->slices[i].workload != DV_FLEET_NOBODY &&
            plan->slices[i].workload >= fleet->n_workloads)
            abort();
    dv_fleet_plan_free(plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dv_fleet *fleet = NULL;
    struct dv_err err = {{0}};
    int r = dv_plan_file_read("fuzz.yaml", (const char *)data, size, NULL, &fleet, &err);
    if (r == -ENOMEM)
        return 0;
    if (r < 0) {
        check_message(err.msg);
        return 0;
    }
    if (dv_fleet_check(fleet, NULL, NULL) < 0)
        abort();
    check_plan(fleet);
    dv_fleet_free(fleet);
    return 0;
}
