/* SPDX-License-Identifier: Apache-2.0 */
/* A history of demand: any bytes are one that can be forecast, or an error that prints. */
#include "fleetfile/demand_file.h"

#include <errno.h>
#include <stdlib.h>

#define STEPS_MAX 400 /* that are forecast here; longer ones are only read */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_message(const char *text)
{
    if (!*text)
        abort();
    for (; *text; text++)
        if (*text < ' ' || *text > '~')
            abort();
}

static void check_forecast(const struct dv_demand_file *h)
{
    struct dv_mig_forecast_problem p = {.n_profiles = h->n_profiles,
                                        .n_layouts = 2,
                                        .switching = {{0, 100}, {100, 0}},
                                        .demand = h->demand,
                                        .n = h->n,
                                        .held_back = h->n / 2,
                                        .season = 24,
                                        .horizon = 4,
                                        .start = 0};
    struct dv_mig_forecast *f = NULL;
    for (uint32_t i = 0; i < h->n_profiles; i++) {
        p.slices[i] = 1;
        p.supply[1][i] = 2;
    }
    int r = dv_mig_forecast_run(&p, &f, NULL);
    if (r < 0 && r != -ENOMEM)
        abort();
    if (r == 0 &&
        f->clairvoyant.unmet + f->clairvoyant.switching > f->policy.unmet + f->policy.switching)
        abort();
    dv_mig_forecast_free(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dv_demand_file *h = NULL;
    struct dv_err err = {{0}};
    int r = dv_demand_file_read("fuzz.csv", data, size, dv_mig_geometry_find("A100-80GB"), 3600, &h,
                                &err);
    if (r == -ENOMEM)
        return 0;
    if (r < 0) {
        if (h)
            abort();
        check_message(err.msg);
        return 0;
    }
    if (!h->n || !h->n_profiles || h->gaps >= h->n || h->duplicates >= h->rows)
        abort();
    if (h->n <= STEPS_MAX)
        check_forecast(h);
    dv_demand_file_free(h);
    return 0;
}
