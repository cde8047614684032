/* SPDX-License-Identifier: Apache-2.0 */
/* Recorded arrivals: any bytes are a load that can be simulated, or an error that prints. */
#include "fleetfile/arrivals_file.h"
#include "simulate/modes/modes.h"

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

static void check_load(const struct dv_arrivals_file *f)
{
    static struct dv_modes_result result;
    const struct dv_arrivals_load load = {.tenants = f->tenants,
                                          .duration_ns = 60 * DV_NS_PER_S,
                                          .service_ns = 10 * DV_NS_PER_MS,
                                          .recorded = f->recorded};
    const struct dv_modes_config config = {.model = DV_MODES_TEXTBOOK};
    if (dv_arrivals_check(&load, NULL) < 0 || !f->rows)
        abort();
    if (dv_modes_run(&load, &config, DV_MODES_MPS, NULL, &result) < 0)
        return;
    if (result.all.served > result.all.offered || result.all.offered > f->rows)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dv_arrivals_file *f = NULL;
    struct dv_err err = {{0}};
    int r = dv_arrivals_file_read("fuzz.csv", data, size, &f, &err);
    if (r == -ENOMEM)
        return 0;
    if (r < 0) {
        if (f)
            abort();
        check_message(err.msg);
        return 0;
    }
    check_load(f);
    dv_arrivals_file_free(f);
    return 0;
}
