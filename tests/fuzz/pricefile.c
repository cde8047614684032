/* SPDX-License-Identifier: Apache-2.0 */
/* Price files: any text is a sound price list or an error with a message that prints. */
#include "pricefile/pricefile.h"

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

static void check_find(const struct dv_price_list *l)
{
    const struct dv_account a = {.model = "NVIDIA A100-SXM4-80GB", .tenant = "team-a"};
    int64_t t = 1774600000, until;
    for (int i = 0; i < 50 && t < DV_ZONE_UNIX_MAX; i++, t = until) {
        const struct dv_price_rule *r = dv_price_find(l, &a, t, &until);
        if (until <= t || (r && (r->micros_per_hour < 0 || !r->line)))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dv_price_list *l = NULL;
    struct dv_pricefile_info info;
    struct dv_err err = {{0}};
    int r =
        dv_pricefile_read("fuzz.yaml", (const char *)data, size, "/nonexistent", &l, &info, &err);
    if (r == -ENOMEM)
        return 0;
    if (r < 0) {
        check_message(err.msg);
        return 0;
    }
    if (dv_price_check(l, NULL, NULL) < 0 || !l->n_rules ||
        info.n_warnings > DV_PRICEFILE_WARNINGS_MAX)
        abort();
    for (uint32_t i = 0; i < info.n_warnings; i++)
        check_message(info.warnings[i].text);
    check_find(l);
    dv_price_list_free(l);
    return 0;
}
