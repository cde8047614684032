/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/gpu_names.h"

#include "base/str.h"

#include <errno.h>
#include <string.h>

static const char *const modes[] = {"whole", "mig", "shared", "governed"};
static const enum dv_gpu_kind kinds[] = {DV_GPU_KIND_WHOLE, DV_GPU_KIND_MIG, DV_GPU_KIND_SHARED,
                                         DV_GPU_KIND_SLICE};

static int check_name(const char *name, struct dv_err *err)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-.";
    static const char *const prefixes[] = {"nvidia.com/", "divvy.dev/"};
    const char *rest = NULL;
    for (size_t i = 0; i < DV_ARRAY_SIZE(prefixes); i++)
        if (!strncmp(name, prefixes[i], strlen(prefixes[i])))
            rest = name + strlen(prefixes[i]);
    if (!rest || !*rest)
        return dv_err_set(err, -EINVAL,
                          "'%s' is no name of a GPU's resource; they are nvidia.com/... and "
                          "divvy.dev/...",
                          name);
    if (strchr("-.", rest[0]) || strchr("-.", rest[strlen(rest) - 1]) ||
        rest[strspn(rest, letters)])
        return dv_err_set(err, -EINVAL,
                          "'%s' is no name of a resource: small letters, digits, - and . only",
                          name);
    if (!strcmp(name, DV_GPU_RESOURCE_PERCENT))
        return dv_err_set(err, -EINVAL, "'%s' always counts percents of a GPU", name);
    return 0;
}

static int parse_mode(const char *mode, enum dv_gpu_kind *ret, struct dv_err *err)
{
    for (size_t i = 0; i < DV_ARRAY_SIZE(modes); i++)
        if (!strcmp(mode, modes[i])) {
            *ret = kinds[i];
            return 0;
        }
    const char *near = dv_str_nearest(mode, modes, DV_ARRAY_SIZE(modes));
    return dv_err_set(err, -EINVAL,
                      "'%.40s' is no mode%s%s%s; they are whole, mig, shared, governed", mode,
                      near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
}

static const struct dv_gpu_name *find(const struct dv_gpu_names *names, const char *resource)
{
    for (uint32_t i = 0; names && i < names->n; i++)
        if (!strcmp(names->all[i].resource, resource))
            return &names->all[i];
    return NULL;
}

static int add(struct dv_gpu_names *names, const struct dv_gpu_name *one, struct dv_err *err)
{
    const struct dv_gpu_name *there = find(names, one->resource);
    if (there && there->kind != one->kind)
        return dv_err_set(err, -EINVAL, "'%s' has another mode already", one->resource);
    if (there)
        return 0;
    if (names->n == DV_GPU_NAMES_MAX)
        return dv_err_set(err, -E2BIG, "more than %u names of resources", DV_GPU_NAMES_MAX);
    names->all[names->n++] = *one;
    return 0;
}

/* One NAME=MODE of this length. */
static int add_text(struct dv_gpu_names *names, const char *text, size_t len, struct dv_err *err)
{
    struct dv_gpu_name one = {.resource = ""};
    char mode[32] = "";
    const char *equals = memchr(text, '=', len);
    size_t name_len = equals ? (size_t)(equals - text) : len;
    size_t mode_len = equals ? len - name_len - 1 : 0;
    if (!equals || !name_len)
        return dv_err_set(err, -EINVAL,
                          "'%.*s' is no NAME=MODE, as nvidia.com/gpu-a100=whole; the modes are "
                          "whole, mig, shared, governed",
                          (int)DV_MIN(len, 80), text);
    if (name_len >= sizeof one.resource)
        return dv_err_set(err, -EINVAL, "'%.*s': a name has at most %d letters",
                          (int)DV_MIN(name_len, 80), text, DV_GPU_NAME_SIZE - 1);
    memcpy(one.resource, text, name_len);
    memcpy(mode, equals + 1, DV_MIN(mode_len, sizeof mode - 1));
    int r = check_name(one.resource, err);
    if (r == 0)
        r = parse_mode(mode, &one.kind, err);
    return r < 0 ? r : add(names, &one, err);
}

int dv_gpu_names_add(struct dv_gpu_names *names, const char *text, struct dv_err *err)
{
    for (;;) {
        size_t len = strcspn(text, ",");
        int r = add_text(names, text, len, err);
        if (r < 0 || !text[len])
            return r;
        text += len + 1;
    }
}

enum dv_gpu_kind dv_gpu_names_declared(const struct dv_gpu_names *names, const char *resource)
{
    const struct dv_gpu_name *there = find(names, resource);
    return there ? there->kind : DV_GPU_KIND_NONE;
}

enum dv_gpu_kind dv_gpu_names_kind(const struct dv_gpu_names *names, const char *resource)
{
    enum dv_gpu_kind declared = dv_gpu_names_declared(names, resource);
    return declared ? declared : dv_gpu_request_kind(resource);
}
