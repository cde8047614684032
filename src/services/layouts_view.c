/* SPDX-License-Identifier: Apache-2.0 */
#include "layouts_view.h"

#include "render/step_text.h"
#include "view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add_replicas(struct dv_output_node *o, uint32_t replicas)
{
    if (replicas)
        dv_output_uint(o, "replicas", replicas);
    else
        dv_output_null(o, "replicas");
}

/* ---- who is in the way ---- */

static void add_blocker(struct dv_output_node *list, struct dv_node *node, uint32_t gpu,
                        const struct dv_plan_blocker *b)
{
    struct dv_output_node *o = dv_output_object(list, NULL);
    struct dv_holding *h = dv_node_holding(node, b->slice);
    char id[32];
    snprintf(id, sizeof id, "s-%llu", (unsigned long long)b->slice);
    dv_output_uint(o, "gpu", gpu);
    dv_output_string(o, "slice", id);
    dv_output_string(o, "tenant", h ? h->claim.tenant : NULL);
    dv_output_string(o, "device", b->device);
    dv_output_string(o, "because", dv_step_name(b->because));
    if (h)
        dv_view_add_pids(o, h);
    else
        dv_output_array(o, "pids");
}

static void add_blockers(struct dv_output_node *parent, struct dv_node *node, uint32_t gpu,
                         const struct dv_gpu_plan *plan)
{
    struct dv_output_node *list = dv_output_array(parent, "blockers");
    for (uint32_t i = 0; plan && i < plan->n_blockers; i++)
        add_blocker(list, node, gpu, &plan->blockers[i]);
}

void dv_layouts_view_blockers(struct dv_output_node *parent, struct dv_node *node,
                              const struct dv_layouts_plans *plans)
{
    struct dv_output_node *list = dv_output_array(parent, "blockers");
    for (uint32_t g = 0; g < DV_FACTS_GPUS_MAX; g++)
        for (uint32_t i = 0; plans->plans[g] && i < plans->plans[g]->n_blockers; i++)
            add_blocker(list, node, g, &plans->plans[g]->blockers[i]);
}

/* ---- as it is ---- */

static void add_device(struct dv_output_node *list, const struct dv_node *node,
                       const struct dv_device *d)
{
    struct dv_output_node *o = dv_output_object(list, NULL);
    dv_output_string(o, "uuid", d->uuid);
    dv_output_string(o, "profile", d->mig ? d->profile : NULL);
    if (d->mig) {
        dv_output_uint(o, "placement_start", d->placement_start);
        dv_output_uint(o, "placement_size", d->placement_size);
    } else {
        dv_output_null(o, "placement_start");
        dv_output_null(o, "placement_size");
    }
    dv_output_bytes(o, "memory_bytes", d->memory_bytes);
    dv_output_string(o, "mode", dv_device_mode_name(d->mode));
    dv_output_string(o, "layout_mode", dv_device_mode_name(d->layout));
    add_replicas(o, d->replicas);
    dv_output_string(o, "timeslice", dv_device_timeslice_name(dv_reconcile_timeslice(node, d)));
    dv_output_bool(o, "draining", d->draining);
    dv_output_bool(o, "mps_up", d->mps_up);
    dv_output_uint(o, "slices", dv_snapshot_held(node->snapshot, d->uuid).slices);
}

static void add_unix(struct dv_output_node *o, const char *key, int64_t unix_time)
{
    if (unix_time)
        dv_output_int(o, key, unix_time);
    else
        dv_output_null(o, key);
}

static void add_gpu(struct dv_output_node *list, struct dv_node *node, const struct dv_gpu *gpu)
{
    const struct dv_gpu_change *c = &node->layouts->gpu[gpu->index];
    const struct dv_facts_gpu *f = node->gpus[gpu->index].facts;
    struct dv_output_node *o = dv_output_object(list, NULL);
    bool managed = c->instead || dv_layout_find(&node->layouts->merged, gpu);
    dv_output_uint(o, "index", gpu->index);
    dv_output_string(o, "uuid", gpu->uuid);
    dv_output_string(o, "model", gpu->model);
    dv_output_bool(o, "managed", managed);
    dv_output_string(o, "state", dv_layouts_state_name(c->state));
    dv_cleanup(dv_str_done) struct dv_str differs = {0};
    if (!dv_layouts_differs(node, gpu->index, &differs))
        dv_str_add(&differs, c->detail);
    dv_output_string(o, "detail", differs.len ? dv_str_get(&differs) : NULL);
    add_unix(o, "waits_since_unix", c->wait_unix);
    add_unix(o, "deadline_unix", c->deadline_unix);
    dv_output_bool(o, "mig_enabled", gpu->mig_enabled);
    dv_output_bool(o, "mig_pending",
                   f && f->mig_pending != DV_FACT_UNKNOWN32 && f->mig_pending != f->mig_current);
    struct dv_output_node *devices = dv_output_array(o, "devices");
    const struct dv_device *placed[DV_FACTS_MIG_MAX];
    size_t n = dv_view_devices(node, gpu->index, placed);
    for (size_t i = 0; i < n; i++)
        add_device(devices, node, placed[i]);
    add_blockers(o, node, gpu->index, c->state == DV_CHANGE_DRAINING ? c->plan : NULL);
}

static void add_source(struct dv_output_node *list, const struct dv_layouts_source *s)
{
    if (!s->text)
        return;
    struct dv_output_node *o = dv_output_object(list, NULL);
    bool both = s->layout->has_cut && s->layout->has_sharing;
    dv_output_string(o, "part", both ? "both" : s->layout->has_cut ? "cut" : "sharing");
    dv_output_string(o, "name", s->name);
    dv_output_string(o, "format", dv_layoutfile_format_name(s->format));
    dv_output_string(o, "config", s->config[0] ? s->config : NULL);
    dv_output_int(o, "applied_unix", s->applied_unix);
}

struct dv_output *dv_layouts_view(struct dv_node *node)
{
    const struct dv_layouts *l = node->layouts;
    struct dv_output *o = dv_output_new("Layout");
    struct dv_output_node *root = dv_output_root(o);
    /* After a start the GPUs are known a moment before what was under way is resumed. */
    bool starts = !l->restored && node->snapshot->n_gpus;
    enum dv_change_state state = starts ? DV_CHANGE_CHANGING : dv_layouts_state(node);
    bool none = !dv_layouts_any(node) && state == DV_CHANGE_SETTLED;
    dv_output_string(root, "state", none ? "none" : dv_layouts_state_name(state));
    dv_output_string(root, "detail", l->problem[0] ? l->problem : NULL);
    dv_output_uint(root, "generation", l->generation);
    dv_output_bool(root, "can_undo", l->can_undo);
    struct dv_output_node *sources = dv_output_array(root, "sources");
    for (int i = 0; i < DV_LAYOUTS_PARTS; i++)
        add_source(sources, &l->now[i]);
    struct dv_output_node *gpus = dv_output_array(root, "gpus");
    for (size_t i = 0; i < node->snapshot->n_gpus; i++)
        add_gpu(gpus, node, &node->snapshot->gpus[i]);
    return o;
}

/* ---- as it would be ---- */

static void add_plan_devices(struct dv_output_node *parent, const struct dv_gpu *gpu,
                             const struct dv_gpu_plan *plan)
{
    struct dv_output_node *list = dv_output_array(parent, "devices");
    for (uint32_t i = 0; i < plan->n_devices; i++) {
        const struct dv_plan_device *d = &plan->devices[i];
        struct dv_output_node *o = dv_output_object(list, NULL);
        bool stays = d->uuid[0] || (!plan->mig && !gpu->mig_enabled);
        dv_output_string(o, "uuid", d->uuid[0] ? d->uuid : NULL);
        dv_output_string(o, "profile", d->profile[0] ? d->profile : NULL);
        if (plan->mig)
            dv_output_uint(o, "placement_start", d->start);
        else
            dv_output_null(o, "placement_start");
        dv_output_string(o, "mode", dv_device_mode_name(d->sharing.mode));
        add_replicas(o, d->sharing.replicas);
        dv_output_bool(o, "stays", stays);
    }
}

static void add_steps(struct dv_output_node *parent, const struct dv_gpu_plan *plan)
{
    struct dv_output_node *list = dv_output_array(parent, "steps");
    for (uint32_t i = 0; i < plan->n_steps; i++) {
        const struct dv_step *s = &plan->steps[i];
        struct dv_output_node *o = dv_output_object(list, NULL);
        dv_cleanup(dv_str_done) struct dv_str text = {0};
        dv_step_text(s, &text);
        dv_output_uint(o, "number", i + 1);
        dv_output_string(o, "action", dv_step_name(s->kind));
        dv_output_string(o, "text", dv_str_get(&text));
        dv_output_string(o, "device", s->device[0] ? s->device : NULL);
    }
}

struct dv_output *dv_layouts_view_plan(struct dv_node *node, const struct dv_layouts_request *q,
                                       const struct dv_layouts_plans *plans)
{
    struct dv_output *o = dv_output_new("LayoutPlan");
    struct dv_output_node *root = dv_output_root(o);
    dv_output_string(root, "name", q->name);
    dv_output_string(root, "format",
                     q->text ? dv_layoutfile_format_name(plans->info.format) : NULL);
    dv_output_string(root, "config", plans->info.config[0] ? plans->info.config : NULL);
    dv_output_bool(root, "changes", plans->changes);
    struct dv_output_node *warnings = dv_output_array(root, "warnings");
    for (uint32_t i = 0; i < plans->info.n_warnings; i++) {
        struct dv_output_node *w = dv_output_object(warnings, NULL);
        dv_output_uint(w, "line", plans->info.warnings[i].line);
        dv_output_string(w, "text", plans->info.warnings[i].text);
    }
    struct dv_output_node *gpus = dv_output_array(root, "gpus");
    for (size_t i = 0; i < node->snapshot->n_gpus; i++) {
        const struct dv_gpu *gpu = &node->snapshot->gpus[i];
        const struct dv_gpu_plan *p = plans->plans[gpu->index];
        if (!p)
            continue;
        struct dv_output_node *g = dv_output_object(gpus, NULL);
        dv_output_uint(g, "index", gpu->index);
        dv_output_string(g, "uuid", gpu->uuid);
        dv_output_string(g, "model", gpu->model);
        dv_output_bool(g, "managed", p->managed);
        dv_output_bool(g, "mig", p->managed ? p->mig : gpu->mig_enabled);
        dv_output_uint(g, "created", p->created);
        dv_output_uint(g, "destroyed", p->destroyed);
        dv_output_uint(g, "kept", p->kept);
        add_plan_devices(g, gpu, p);
        add_steps(g, p);
        add_blockers(g, node, gpu->index, p);
    }
    return o;
}

struct dv_output *dv_layouts_view_assert(struct dv_node *node, const struct dv_layouts_plans *plans)
{
    struct dv_output *o = dv_output_new("LayoutAssert");
    struct dv_output_node *root = dv_output_root(o);
    dv_output_bool(root, "applied", !plans->changes);
    struct dv_output_node *list = dv_output_array(root, "differences");
    for (uint32_t g = 0; g < DV_FACTS_GPUS_MAX; g++) {
        for (uint32_t i = 0; plans->plans[g] && i < plans->plans[g]->n_steps; i++) {
            dv_cleanup(dv_str_done) struct dv_str text = {0};
            dv_str_addf(&text, "GPU %u: ", g);
            dv_step_text(&plans->plans[g]->steps[i], &text);
            dv_output_string(list, NULL, dv_str_get(&text));
        }
    }
    return o;
}

/* ---- mig-parted's files ---- */

struct dv_output *dv_layouts_view_export(struct dv_node *node, const char *config)
{
    struct dv_output *o = dv_output_new("LayoutExport");
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    dv_layoutfile_export(node->snapshot, config, &text);
    dv_output_string(dv_output_root(o), "text", dv_str_get(&text));
    return o;
}

struct dv_output *dv_layouts_view_generate(struct dv_node *node)
{
    const struct dv_mig_geometry *geometries[DV_GPUS_MAX] = {0};
    struct dv_output *o = dv_output_new("LayoutExport");
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    for (size_t i = 0; i < node->snapshot->n_gpus; i++) {
        const struct dv_facts_gpu *f = node->gpus[node->snapshot->gpus[i].index].facts;
        geometries[i] = f && f->geometry.n_profiles ? &f->geometry : NULL;
    }
    dv_layoutfile_generate(node->snapshot, geometries, &text);
    dv_output_string(dv_output_root(o), "text", dv_str_get(&text));
    return o;
}
