/* SPDX-License-Identifier: Apache-2.0 */
#include "model/claim.h"

#include "base/str.h"
#include "base/units.h"
#include "model/gpu_model.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#define UUID_PREFIX_MIN 8 /* "GPU-" and four digits: enough to mean one card, not a slip */

static bool is_uuid(const char *text)
{
    return !strncasecmp(text, "GPU-", 4) || !strncasecmp(text, "MIG-", 4);
}

int dv_claim_selector_parse(const char *text, struct dv_selector *ret, struct dv_err *err)
{
    struct dv_selector s = {0};
    if (!*text || dv_str_copy(s.text, sizeof s.text, text) < 0)
        return dv_err_set(err, -EINVAL,
                          "a GPU is named by any, an index, a UUID or a model, not by \"%.32s\"",
                          text);
    for (const char *p = text; *p; p++)
        if (*p < ' ' || *p > '~')
            return dv_err_set(err, -EINVAL, "a GPU's name has the byte 0x%02x",
                              (unsigned)(unsigned char)*p);
    if (!strcmp(text, "any")) {
        s.kind = DV_SELECTOR_ANY;
    } else if (text[strspn(text, "0123456789")] == 0) {
        int64_t index = 0;
        int r = dv_units_parse_integer(text, "GPU index", 0, DV_GPUS_MAX - 1, &index, err);
        if (r < 0)
            return r;
        s.kind = DV_SELECTOR_INDEX;
        s.index = (uint32_t)index;
    } else if (is_uuid(text)) {
        if (strlen(text) < UUID_PREFIX_MIN)
            return dv_err_set(err, -EINVAL,
                              "\"%s\" is too short for the beginning of a UUID; %d characters at "
                              "least",
                              text, UUID_PREFIX_MIN);
        s.kind = DV_SELECTOR_UUID;
    } else {
        s.kind = DV_SELECTOR_MODEL;
    }
    *ret = s;
    return 0;
}

bool dv_claim_selector_matches(const struct dv_selector *selector, const struct dv_gpu *gpu,
                               const struct dv_device *device)
{
    size_t n = strlen(selector->text);
    switch (selector->kind) {
    case DV_SELECTOR_ANY:
        return true;
    case DV_SELECTOR_INDEX:
        return gpu->index == selector->index;
    case DV_SELECTOR_UUID:
        return !strncasecmp(gpu->uuid, selector->text, n) ||
               !strncasecmp(device->uuid, selector->text, n);
    case DV_SELECTOR_MODEL:
        return dv_gpu_is_model(gpu, selector->text);
    }
    return false;
}

const char *dv_claim_tier_name(enum dv_tier tier)
{
    return tier == DV_TIER_LATENCY_CRITICAL ? "lc" : "be";
}

int dv_claim_tier_parse(const char *text, enum dv_tier *ret, struct dv_err *err)
{
    if (!strcmp(text, "be"))
        *ret = DV_TIER_BEST_EFFORT;
    else if (!strcmp(text, "lc"))
        *ret = DV_TIER_LATENCY_CRITICAL;
    else
        return dv_err_set(err, -EINVAL, "unknown tier \"%.32s\"; be or lc expected", text);
    return 0;
}

int dv_claim_check(const struct dv_claim *claim, struct dv_err *err)
{
    int r = dv_tenant_check_name(claim->tenant, err);
    if (r < 0)
        return r;
    if (!claim->id)
        return dv_err_set(err, -EINVAL, "a claim's id is 0");
    if (claim->compute > DV_COMPUTE_FULL)
        return dv_err_set(err, -ERANGE, "compute %u is above %d, one whole GPU", claim->compute,
                          DV_COMPUTE_FULL);
    if (claim->priority < DV_PRIORITY_MIN || claim->priority > DV_PRIORITY_MAX)
        return dv_err_set(err, -ERANGE, "priority %d is outside %d..%d", claim->priority,
                          DV_PRIORITY_MIN, DV_PRIORITY_MAX);
    if (claim->mode > DV_MODE_GOVERNED || claim->gpu.kind > DV_SELECTOR_MODEL)
        return dv_err_set(err, -EINVAL, "a claim with an unknown mode or GPU selector");
    return 0;
}
