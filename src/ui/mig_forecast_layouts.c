/* SPDX-License-Identifier: Apache-2.0 */
#include "mig_forecast_layouts.h"

#include "base/str.h"
#include "layout_file.h"
#include "layoutfile/layoutfile.h"
#include "policy/mig_change.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NVIDIA 0x10DEu

/* Where a layout's instances lie on one GPU. */
struct placed {
    size_t n;
    struct dv_mig_instance v[DV_MIG_INSTANCES_MAX];
};

struct reader {
    const char *path;
    struct dv_str text;
    const struct dv_gpu_model *gpu;
    uint32_t n_gpus;
    struct dv_forecast_layouts *ret;
    struct placed (*placed)[DV_FORECAST_GPUS_MAX]; /* of each layout */
    struct dv_str *notes;
    struct dv_err *err;
};

/* ---- one layout on one GPU ---- */

/* 0; 1 and why: the layout is not for this GPU; -ENOMEM. */
static int place(struct reader *in, const struct dv_layout *layout, uint32_t index,
                 struct placed *ret, struct dv_err *why)
{
    const struct dv_mig_geometry *g = in->gpu->mig;
    struct dv_gpu gpu = {.index = index, .pci_device_id = in->gpu->pci_device_id, .mig_capable = 1};
    struct dv_layout_instance list[DV_LAYOUT_DEVICES_MAX];
    struct dv_mig_instance want[DV_LAYOUT_DEVICES_MAX];
    struct dv_mig_plan plan;
    uint32_t n = 0;
    dv_str_copy(gpu.model, sizeof gpu.model, in->gpu->product);
    const struct dv_layout_gpu *entry = dv_layout_find(layout, &gpu);
    *ret = (struct placed){0};
    if (!entry) {
        dv_err_set(why, -EINVAL, "no entry means GPU %u, a %s", index, in->gpu->name);
        return 1;
    }
    if (!dv_layout_is_mig(entry))
        return 0;
    if (dv_layout_pack(entry, g, list, &n, why) < 0)
        return 1;
    for (uint32_t i = 0; i < n; i++)
        want[i] = (struct dv_mig_instance){list[i].profile, list[i].start};
    if (dv_mig_plan_find(g, NULL, 0, want, n, &plan) < 0)
        return -ENOMEM;
    if (plan.rule != DV_MIG_OK) {
        dv_layout_refuse(g, &plan.refusal, why);
        return 1;
    }
    ret->n = plan.n;
    memcpy(ret->v, plan.instances, sizeof ret->v);
    return 0;
}

/* ---- what a change moves ---- */

static int moved_on(const struct dv_mig_geometry *g, const struct placed *from,
                    const struct placed *to, uint32_t *sum)
{
    struct dv_mig_have have[DV_MIG_INSTANCES_MAX];
    struct dv_mig_change change;
    for (size_t i = 0; i < from->n; i++)
        have[i] = (struct dv_mig_have){.profile = from->v[i].profile, .start = from->v[i].start};
    struct dv_mig_instance want[DV_MIG_INSTANCES_MAX];
    for (size_t i = 0; i < to->n; i++)
        want[i] = (struct dv_mig_instance){to->v[i].profile, DV_MIG_UNPLACED};
    int r = dv_mig_change_find(g, have, from->n, want, to->n, &change);
    for (size_t i = 0; i < from->n && r == 0; i++)
        *sum += change.goes[i] ? g->profiles[have[i].profile].slices : 0;
    for (size_t i = 0; i < to->n && r == 0; i++)
        *sum +=
            change.instances[i].from == DV_MIG_CHANGE_NEW ? g->profiles[want[i].profile].slices : 0;
    return r;
}

static int fill_moved(struct reader *in)
{
    struct dv_forecast_layouts *f = in->ret;
    int r = 0;
    for (uint32_t a = 0; a < f->n; a++)
        for (uint32_t b = 0; b < f->n; b++)
            for (uint32_t i = 0; a != b && i < in->n_gpus && r == 0; i++)
                r = moved_on(in->gpu->mig, &in->placed[a][i], &in->placed[b][i], &f->moved[a][b]);
    return r;
}

/* ---- a configuration ---- */

static void note(struct reader *in, const char *name, const char *why)
{
    dv_str_addf(in->notes, "%s is left out: %s\n", name, why);
}

static void supply_of(struct reader *in, uint32_t layout)
{
    uint32_t *supply = in->ret->supply[layout];
    memset(supply, 0, sizeof in->ret->supply[layout]);
    for (uint32_t i = 0; i < in->n_gpus; i++)
        for (size_t k = 0; k < in->placed[layout][i].n; k++)
            supply[in->placed[layout][i].v[k].profile]++;
}

static bool is_known(struct reader *in, uint32_t layout, const char *name)
{
    struct dv_forecast_layouts *f = in->ret;
    for (uint32_t l = 0; l < layout; l++)
        if (!memcmp(f->supply[l], f->supply[layout], sizeof f->supply[l])) {
            dv_str_addf(in->notes, "%s is left out: it has what %s has\n", name, f->names[l]);
            return true;
        }
    return false;
}

static int add_layout(struct reader *in, const char *config, const char *name)
{
    dv_cleanup(dv_layout_freep) struct dv_layout *layout = NULL;
    struct dv_forecast_layouts *f = in->ret;
    struct dv_layoutfile_info info;
    struct dv_err why = {{0}};
    int r = dv_layoutfile_read(in->path, dv_str_get(&in->text), in->text.len, config, &layout,
                               &info, in->err);
    if (r < 0)
        return r;
    if (f->n == DV_MIG_FORECAST_LAYOUTS_MAX)
        return dv_err_set(
            in->err, -E2BIG,
            "%s: more than %u layouts for this GPU: name those to compare with --only", in->path,
            DV_MIG_FORECAST_LAYOUTS_MAX);
    for (uint32_t i = 0; i < in->n_gpus && r == 0; i++)
        r = place(in, layout, i, &in->placed[f->n][i], &why);
    if (r < 0)
        return dv_err_set(in->err, r, "out of memory");
    if (r > 0) {
        note(in, name, why.msg);
        return 0;
    }
    supply_of(in, f->n);
    if (!is_known(in, f->n, name))
        dv_str_copy(f->names[f->n++], DV_FORECAST_NAME, name);
    return 0;
}

static bool is_listed(const char *only, const char *name)
{
    size_t len = strlen(name);
    for (; only && *only; only += strcspn(only, ","), only += *only == ',')
        if (!strncmp(only, name, len) && (only[len] == ',' || !only[len]))
            return true;
    return !only;
}

/* ---- the file ---- */

static int no_config(struct reader *in, const char *name, size_t len, const char *word,
                     char (*names)[DV_FORECAST_NAME], int n)
{
    const char *all[DV_LAYOUTFILE_CONFIGS_MAX];
    for (int i = 0; i < n; i++)
        all[i] = names[i];
    const char *near = dv_str_nearest(word, all, (size_t)n);
    return dv_err_set(in->err, -EINVAL, "%s: no configuration '%.*s'%s%s%s", in->path, (int)len,
                      name, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int check_only(struct reader *in, const char *only, char (*names)[DV_FORECAST_NAME], int n)
{
    while (only && *only) {
        char word[DV_FORECAST_NAME] = "";
        size_t len = strcspn(only, ",");
        int i = 0;
        if (len < sizeof word)
            memcpy(word, only, len);
        while (i < n && strcmp(names[i], word) != 0)
            i++;
        if (i == n)
            return no_config(in, only, len, word, names, n);
        only += len + (only[len] == ',');
    }
    return 0;
}

static int read_configs(struct reader *in, const char *only)
{
    char(*names)[DV_FORECAST_NAME] = calloc(DV_LAYOUTFILE_CONFIGS_MAX, sizeof *names);
    if (!names)
        return dv_err_set(in->err, -ENOMEM, "out of memory");
    int n = dv_layoutfile_configs(in->path, dv_str_get(&in->text), in->text.len, names, in->err);
    int r = n < 0 ? n : check_only(in, n ? only : NULL, names, n);
    if (n == 0 && r == 0)
        r = add_layout(in, NULL, "layout");
    for (int i = 0; i < n && r == 0; i++)
        if (is_listed(only, names[i]))
            r = add_layout(in, names[i], names[i]);
    free(names);
    if (r == 0 && !in->ret->n)
        r = dv_err_set(in->err, -EINVAL, "%s: no layout in it is for %u x %s%s%.*s", in->path,
                       in->n_gpus, in->gpu->name, in->notes->len ? "; " : "",
                       (int)DV_MAX(in->notes->len, 1) - 1, /* its last line's end */
                       dv_str_get(in->notes));
    return r;
}

int dv_forecast_layouts_load(const char *path, const struct dv_gpu_model *gpu, uint32_t n_gpus,
                             const char *only, struct dv_forecast_layouts *ret,
                             struct dv_str *notes, struct dv_err *err)
{
    struct reader in = {
        .path = path, .gpu = gpu, .n_gpus = n_gpus, .ret = ret, .notes = notes, .err = err};
    memset(ret, 0, sizeof *ret);
    in.placed = calloc(DV_MIG_FORECAST_LAYOUTS_MAX, sizeof *in.placed);
    if (!in.placed) {
        dv_err_set(err, -ENOMEM, "out of memory");
        return -ENOMEM;
    }
    int r = dv_layout_file_read(path, &in.text, err);
    if (r == 0)
        r = read_configs(&in, only);
    if (r == 0 && fill_moved(&in) < 0)
        r = dv_err_set(err, -ENOMEM, "out of memory");
    dv_str_done(&in.text);
    free(in.placed);
    return r;
}
