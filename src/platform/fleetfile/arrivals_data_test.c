/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The textbook's table to the digit, from its own recorded arrivals. They are not in this
 * repository: skipped where they do not lie beside it. The same rules by hand: modes_test.c.
 */
#include "fleetfile/arrivals_file.h"
#include "simulate/modes/modes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define SKIP 77

static const struct {
    enum dv_modes_mode mode;
    uint64_t served, p50_us10, p99_us10; /* in 10 us, as the table prints */
} table[] = {
    {DV_MODES_MIG, 5039, 20092, 102904},
    {DV_MODES_MPS, 5065, 1180, 3047},
    {DV_MODES_TIMESLICE, 5063, 3992, 20821},
};

static uint64_t rounded(uint64_t ns)
{
    return (ns + 5000) / 10000;
}

int main(void)
{
    dv_cleanup(dv_arrivals_file_freep) struct dv_arrivals_file *f = NULL;
    static struct dv_modes_result result;
    struct dv_err err = {{0}};
    char path[4096];
    int bad = 0;
    const char *source = getenv("DIVVY_SOURCE");
    snprintf(path, sizeof path, "%s/../shared/data/queueing/arrivals_seed7.csv",
             source ? source : ".");
    int r = dv_arrivals_file_load(path, &f, &err);
    if (r == -ENOENT || r == -ENOTDIR)
        return SKIP;
    if (r < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    const struct dv_arrivals_load load = {.tenants = f->tenants,
                                          .duration_ns = 60 * DV_NS_PER_S,
                                          .service_ns = 10 * DV_NS_PER_MS,
                                          .recorded = f->recorded};
    const struct dv_modes_config config = {.model = DV_MODES_TEXTBOOK};
    for (size_t i = 0; i < DV_ARRAY_SIZE(table); i++) {
        if (dv_arrivals_check(&load, &err) < 0 ||
            dv_modes_run(&load, &config, table[i].mode, NULL, &result) < 0)
            return 1;
        bool same = result.all.offered == 5067 && result.all.served == table[i].served &&
                    rounded(result.all.p50_ns) == table[i].p50_us10 &&
                    rounded(result.all.p99_ns) == table[i].p99_us10;
        printf("%-10s served %lu p50 %lu p99 %lu (1/100 ms): %s\n", dv_modes_name(table[i].mode),
               (unsigned long)result.all.served, (unsigned long)rounded(result.all.p50_ns),
               (unsigned long)rounded(result.all.p99_ns), same ? "as printed" : "WRONG");
        bad += !same;
    }
    return bad ? 1 : 0;
}
