/* SPDX-License-Identifier: Apache-2.0 */
#include "model/gpu_model.h"

#include "base/str.h"

#include <string.h>
#include <strings.h>

#define MIB(n) ((n)*DV_MIB)
#define W(n) ((n)*1000u)
#define MIG(ident) &dv_mig_geometry_##ident
#define GPU(...) {__VA_ARGS__},
static const struct dv_gpu_model models[] = {
#include "model/gpu_models.def"
};
#undef GPU
#undef MIG
#undef W
#undef MIB

const struct dv_gpu_model *dv_gpu_model_at(size_t i)
{
    return i < DV_ARRAY_SIZE(models) ? &models[i] : NULL;
}

const struct dv_gpu_model *dv_gpu_model_by_pci(uint32_t pci_device_id)
{
    for (size_t i = 0; i < DV_ARRAY_SIZE(models); i++)
        if (models[i].pci_device_id == pci_device_id)
            return &models[i];
    return NULL;
}

static bool has_alias(const char *aliases, const char *text)
{
    size_t len = strlen(text);
    for (const char *p = aliases; *p;) {
        size_t n = strcspn(p, " ");
        if (n == len && !strncasecmp(p, text, n))
            return true;
        p += n;
        p += strspn(p, " ");
    }
    return false;
}

static void refuse_name(const char *text, struct dv_err *err)
{
    if (!err) /* nobody reads it: admission only asks whether it is one */
        return;
    const char *names[DV_ARRAY_SIZE(models)];
    dv_cleanup(dv_str_done) struct dv_str list = {0};
    for (size_t i = 0; i < DV_ARRAY_SIZE(models); i++) {
        names[i] = models[i].name;
        dv_str_addf(&list, "%s%s", i ? ", " : "", models[i].name);
    }
    const char *near = dv_str_nearest(text, names, DV_ARRAY_SIZE(models));
    dv_err_set(err, 0, "unknown GPU model \"%.64s\"%s%s%s; known: %s", text,
               near ? ", did you mean \"" : "", near ? near : "", near ? "\"?" : "",
               dv_str_get(&list));
}

const struct dv_gpu_model *dv_gpu_model_find(const char *text, struct dv_err *err)
{
    for (size_t i = 0; i < DV_ARRAY_SIZE(models); i++) {
        const struct dv_gpu_model *m = &models[i];
        if (!strcasecmp(m->name, text) || !strcasecmp(m->product, text) ||
            has_alias(m->aliases, text))
            return m;
    }
    refuse_name(text, err);
    return NULL;
}

const char *dv_gpu_model_arch_name(enum dv_gpu_arch arch)
{
    switch (arch) {
    case DV_GPU_ARCH_VOLTA:
        return "Volta";
    case DV_GPU_ARCH_TURING:
        return "Turing";
    case DV_GPU_ARCH_AMPERE:
        return "Ampere";
    case DV_GPU_ARCH_ADA:
        return "Ada Lovelace";
    case DV_GPU_ARCH_HOPPER:
        return "Hopper";
    case DV_GPU_ARCH_BLACKWELL:
        return "Blackwell";
    case DV_GPU_ARCH_UNKNOWN:
        break;
    }
    return "unknown";
}

uint64_t dv_gpu_model_usable(const struct dv_gpu_model *model)
{
    return model->memory_bytes - model->reserved_bytes;
}
