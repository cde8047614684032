/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as a list of MIG instances to have and, behind a '|', to want: refused with a message,
 * or planned so that the whole set passes the rules. The first byte chooses the board. */
#include "policy/mig_plan.h"

#include <stdlib.h>
#include <string.h>

static void plan(const struct dv_mig_geometry *g, const char *have, const char *want)
{
    struct dv_mig_instance h[64], all[128];
    struct dv_mig_plan found;
    struct dv_err err = {{0}};
    int n_have = dv_mig_plan_parse(g, have, h, &err);
    int n_want = n_have < 0 ? n_have : dv_mig_plan_parse(g, want, all + 64, &err);
    if (n_want < 0) {
        if (!err.msg[0])
            abort();
        return;
    }
    if (dv_mig_plan_find(g, h, (size_t)n_have, all + 64, (size_t)n_want, &found) < 0)
        return;
    if (found.rule != found.refusal.rule)
        abort();
    if (found.rule)
        return;
    memcpy(all, h, (size_t)n_have * sizeof *h);
    memcpy(all + n_have, found.instances, found.n * sizeof *h);
    if (found.n != (uint32_t)n_want || dv_mig_check(g, all, (size_t)n_have + found.n, NULL))
        abort();
    for (uint32_t i = 0; i < found.n; i++)
        if (found.instances[i].start >= g->grid)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct dv_mig_geometry *g = size ? dv_mig_geometry_at(data[0] % 13) : NULL;
    if (!g)
        return 0;
    char *text = malloc(size);
    if (!text)
        return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = 0;
    char *want = strchr(text, '|');
    if (want)
        *want++ = 0;
    plan(g, want ? text : "", want ? want : text);
    free(text);
    return 0;
}
