/* SPDX-License-Identifier: Apache-2.0 */
#include "layouts.h"

#include "inventory.h"
#include "keep.h"
#include "kubernetes/kubernetes.h"
#include "render/step_text.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIFFERENCES_MAX 3u /* that are told */

static const char *const keys[DV_LAYOUTS_PARTS] = {"cut", "sharing"};
static const char *const previous_keys[DV_LAYOUTS_PARTS] = {"previous-cut", "previous-sharing"};

/* ---- sources ---- */

static void source_done(struct dv_layouts_source *s)
{
    free(s->text);
    dv_layout_free(s->layout);
    *s = (struct dv_layouts_source){0};
}

/* Reads a file; on success the source owns a copy of its text. */
static int source_read(const char *name, const char *config, const char *text, size_t len,
                       struct dv_layouts_source *ret, struct dv_layoutfile_info *info,
                       struct dv_err *err)
{
    struct dv_layouts_source s = {.len = len, .applied_unix = dv_clock_unix()};
    int r = dv_layoutfile_read(name, text, len, config[0] ? config : NULL, &s.layout, info, err);
    if (r < 0)
        return r;
    s.text = malloc(len + 1);
    if (!s.text) {
        source_done(&s);
        return dv_err_set(err, -ENOMEM, "out of memory");
    }
    memcpy(s.text, text, len);
    s.text[len] = 0;
    snprintf(s.name, sizeof s.name, "%s", name);
    snprintf(s.config, sizeof s.config, "%s", info->config);
    s.format = info->format;
    *ret = s;
    return 0;
}

/* A file about both parts stands in the place of the cut, and empties that of the sharing. */
static void put_source(struct dv_layouts_source to[DV_LAYOUTS_PARTS], struct dv_layouts_source *s)
{
    bool both = s->layout->has_cut && s->layout->has_sharing;
    int part = s->layout->has_cut ? DV_LAYOUTS_CUT : DV_LAYOUTS_SHARING;
    if (both)
        source_done(&to[DV_LAYOUTS_SHARING]);
    source_done(&to[part]);
    to[part] = *s;
}

static struct dv_layout merge(const struct dv_layouts_source s[DV_LAYOUTS_PARTS])
{
    const struct dv_layout *cut = s[DV_LAYOUTS_CUT].layout;
    const struct dv_layout *sharing = s[DV_LAYOUTS_SHARING].layout;
    struct dv_layout m = {0};
    if (cut) {
        m = *cut;
        m.has_cut = true;
    }
    if (sharing) {
        m.has_sharing = true;
        m.rules = sharing->rules;
        m.n_rules = sharing->n_rules;
    }
    return m;
}

/* ---- life ---- */

int dv_layouts_new(struct dv_layouts **ret)
{
    *ret = calloc(1, sizeof **ret);
    return *ret ? 0 : -ENOMEM;
}

void dv_layouts_free(struct dv_layouts *l)
{
    if (!l)
        return;
    for (int i = 0; i < DV_LAYOUTS_PARTS; i++) {
        source_done(&l->now[i]);
        source_done(&l->before[i]);
    }
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++) {
        free(l->undo[i]);
        free(l->gpu[i].checkpoint);
        free(l->gpu[i].plan);
        dv_layout_free(l->gpu[i].instead);
    }
    free(l);
}

void dv_layouts_plans_done(struct dv_layouts_plans *p)
{
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++) {
        free(p->plans[i]);
        p->plans[i] = NULL;
    }
}

const char *dv_layouts_state_name(enum dv_change_state state)
{
    static const char *const names[] = {[DV_CHANGE_SETTLED] = "settled",
                                        [DV_CHANGE_DRAINING] = "draining",
                                        [DV_CHANGE_CHANGING] = "changing",
                                        [DV_CHANGE_ROLLING_BACK] = "rolling_back",
                                        [DV_CHANGE_FAILED] = "failed"};
    return names[state];
}

enum dv_change_state dv_layouts_state(const struct dv_node *node)
{
    /* What is under way says more than what has failed. */
    static const int rank[] = {[DV_CHANGE_SETTLED] = 0,
                               [DV_CHANGE_FAILED] = 1,
                               [DV_CHANGE_DRAINING] = 2,
                               [DV_CHANGE_CHANGING] = 3,
                               [DV_CHANGE_ROLLING_BACK] = 4};
    enum dv_change_state worst = DV_CHANGE_SETTLED;
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++)
        if (rank[node->layouts->gpu[i].state] > rank[worst])
            worst = node->layouts->gpu[i].state;
    return worst;
}

bool dv_layouts_any(const struct dv_node *node)
{
    return node->layouts->now[DV_LAYOUTS_CUT].text || node->layouts->now[DV_LAYOUTS_SHARING].text;
}

bool dv_layouts_gpu_is_still(const struct dv_node *node, uint32_t gpu)
{
    enum dv_change_state s = node->layouts->gpu[gpu].state;
    return s == DV_CHANGE_SETTLED || s == DV_CHANGE_FAILED;
}

static bool is_under_way(const struct dv_node *node)
{
    enum dv_change_state s = dv_layouts_state(node);
    return s != DV_CHANGE_SETTLED && s != DV_CHANGE_FAILED;
}

/* A change that only waits has done what it could: another may take its place, so that whoever
 * asked for too much can take it back. Steps that are under way are not interrupted. */
static bool is_busy(const struct dv_node *node)
{
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++)
        if (!dv_layouts_gpu_is_still(node, i) && !node->layouts->gpu[i].waiting)
            return true;
    return false;
}

/* ---- plans ---- */

static int check(struct dv_node *node, const struct dv_layout *layout, struct dv_err *err)
{
    const struct dv_mig_geometry *geometries[DV_GPUS_MAX] = {0};
    for (size_t i = 0; i < node->snapshot->n_gpus; i++) {
        const struct dv_facts_gpu *f = node->gpus[node->snapshot->gpus[i].index].facts;
        geometries[i] = f && f->geometry.n_profiles ? &f->geometry : NULL;
    }
    return dv_layout_check(layout, node->snapshot, geometries, err);
}

static const struct dv_gpu *gpu_at(const struct dv_node *node, size_t i)
{
    return &node->snapshot->gpus[i];
}

/* The plans of all GPUs to `layout`, or to `instead` where a GPU has one. */
static int plan_all(struct dv_node *node, const struct dv_layout *layout,
                    struct dv_layout *const *instead, struct dv_layouts_plans *ret,
                    struct dv_err *err)
{
    for (size_t i = 0; i < node->snapshot->n_gpus; i++) {
        uint32_t index = gpu_at(node, i)->index;
        struct dv_gpu_plan *p = calloc(1, sizeof *p);
        if (!p)
            return dv_err_set(err, -ENOMEM, "out of memory");
        ret->plans[index] = p;
        const struct dv_layout *to = instead && instead[index] ? instead[index] : layout;
        int r = dv_reconcile_plan(node, index, to, p, err);
        if (r < 0)
            return r == -ENOMEM ? r : DV_LAYOUTS_INFEASIBLE;
        ret->changes |= p->n_steps || p->n_blockers;
        ret->blockers += p->n_blockers;
    }
    return 0;
}

bool dv_layouts_differs(struct dv_node *node, uint32_t gpu, struct dv_str *text)
{
    const struct dv_gpu_change *c = &node->layouts->gpu[gpu];
    struct dv_err err = {0};
    struct dv_gpu_plan *p;
    if (c->state != DV_CHANGE_SETTLED || (!dv_layouts_any(node) && !c->instead) ||
        !node->gpus[gpu].present || node->gpus[gpu].lost || !(p = calloc(1, sizeof *p)))
        return false;
    int r = dv_reconcile_plan(node, gpu, dv_reconcile_wanted(node, gpu), p, &err);
    bool differs = r < 0 || p->n_steps;
    if (r < 0)
        dv_str_addf(text, "it is not as the layout says: %s", err.msg);
    else if (differs)
        dv_str_add(text, "it is not as the layout says, which needs: ");
    for (uint32_t i = 0; r == 0 && i < DV_MIN(p->n_steps, DIFFERENCES_MAX); i++) {
        dv_str_add(text, i ? "; " : "");
        dv_step_text(&p->steps[i], text);
    }
    if (r == 0 && p->n_steps > DIFFERENCES_MAX)
        dv_str_addf(text, "; and %u more steps", p->n_steps - DIFFERENCES_MAX);
    free(p);
    return differs;
}

/* What a request wants: the sources as they would be, each a loan but the new one. */
struct wish {
    struct dv_layouts_source sources[DV_LAYOUTS_PARTS], fresh;
    struct dv_layout merged;
    struct dv_layout *instead[DV_FACTS_GPUS_MAX]; /* of an undo; its own */
};

static void wish_done(struct wish *w)
{
    source_done(&w->fresh);
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++)
        dv_layout_free(w->instead[i]);
}

static int wish_file(struct dv_node *node, const struct dv_layouts_request *q, struct wish *w,
                     struct dv_layoutfile_info *info, struct dv_err *err)
{
    int r = source_read(q->name, q->config, q->text, q->len, &w->fresh, info, err);
    if (r == -ENOMEM)
        return r;
    if (r < 0)
        return DV_LAYOUTS_WRONG;
    memcpy(w->sources, node->layouts->now, sizeof w->sources);
    bool both = w->fresh.layout->has_cut && w->fresh.layout->has_sharing;
    if (both || !w->fresh.layout->has_cut)
        w->sources[DV_LAYOUTS_SHARING] = (struct dv_layouts_source){0};
    w->sources[w->fresh.layout->has_cut ? DV_LAYOUTS_CUT : DV_LAYOUTS_SHARING] = w->fresh;
    return 0;
}

/* Back to the files of before; a GPU that they do not mean goes back to what it was. */
static int wish_undo(struct dv_node *node, struct wish *w, struct dv_err *err)
{
    struct dv_layouts *l = node->layouts;
    struct dv_layoutfile_info *info = calloc(1, sizeof *info);
    if (!info)
        return dv_err_set(err, -ENOMEM, "out of memory");
    int r = 0;
    memcpy(w->sources, l->before, sizeof w->sources);
    w->merged = merge(w->sources);
    for (size_t i = 0; r == 0 && i < node->snapshot->n_gpus; i++) {
        const struct dv_gpu *gpu = gpu_at(node, i);
        if (l->undo[gpu->index] && !dv_layout_find(&w->merged, gpu))
            r = dv_layoutfile_read("what was before", l->undo[gpu->index],
                                   strlen(l->undo[gpu->index]), NULL, &w->instead[gpu->index], info,
                                   err);
    }
    free(info);
    return r;
}

/* Will any device be of the kind that the rule is about? */
static bool has_device_for(const struct dv_layout_rule *rule, const struct dv_layouts_plans *plans)
{
    for (uint32_t g = 0; g < DV_FACTS_GPUS_MAX; g++)
        for (uint32_t i = 0; plans->plans[g] && i < plans->plans[g]->n_devices; i++) {
            const char *profile = plans->plans[g]->devices[i].profile;
            if (!strcmp(rule->profile, profile) || (profile[0] && !strcmp(rule->profile, "*")))
                return true;
        }
    return false;
}

/* A rule without effect is legal, and hardly what its author wants. */
static void warn_of_idle_rules(const struct dv_layout *layout, struct dv_layouts_plans *plans)
{
    struct dv_layoutfile_info *info = &plans->info;
    for (uint32_t i = 0; i < layout->n_rules && info->n_warnings < DV_LAYOUTFILE_WARNINGS_MAX;
         i++) {
        const struct dv_layout_rule *rule = &layout->rules[i];
        if (has_device_for(rule, plans))
            continue;
        const char *kind = !rule->profile[0]             ? "a whole GPU"
                           : !strcmp(rule->profile, "*") ? "a MIG device"
                                                         : rule->profile;
        info->warnings[info->n_warnings].line = rule->line;
        snprintf(info->warnings[info->n_warnings].text, sizeof info->warnings[0].text,
                 "no device of this node is %s, so this has no effect here", kind);
        info->n_warnings++;
    }
}

static int make_wish(struct dv_node *node, const struct dv_layouts_request *q, struct wish *w,
                     struct dv_layouts_plans *ret, struct dv_err *err)
{
    if (!node->ready)
        return dv_err_set(err, -EAGAIN, "no GPU is known: %s", dv_inventory_driver_detail(node));
    if (!q->text && !node->layouts->can_undo)
        return dv_err_set(err, DV_LAYOUTS_NOTHING, "there is no earlier layout to go back to");
    int r = q->text ? wish_file(node, q, w, &ret->info, err) : wish_undo(node, w, err);
    if (r)
        return r;
    w->merged = merge(w->sources);
    r = check(node, &w->merged, err);
    if (r < 0) {
        dv_err_prefix(err, "%s: ", q->text ? q->name : "what was before");
        return DV_LAYOUTS_INFEASIBLE;
    }
    r = plan_all(node, &w->merged, w->instead, ret, err);
    if (r > 0)
        dv_err_prefix(err, "%s: ", q->text ? q->name : "what was before");
    else if (r == 0 && w->fresh.layout)
        warn_of_idle_rules(w->fresh.layout, ret);
    return r;
}

int dv_layouts_plan(struct dv_node *node, const struct dv_layouts_request *q,
                    struct dv_layouts_plans *ret, struct dv_err *err)
{
    struct wish *w = calloc(1, sizeof *w);
    if (!w)
        return dv_err_set(err, -ENOMEM, "out of memory");
    int r = make_wish(node, q, w, ret, err);
    wish_done(w);
    free(w);
    return r;
}

/* ---- applying ---- */

static void move_source(struct dv_layouts_source *to, struct dv_layouts_source *from)
{
    source_done(to);
    *to = *from;
    *from = (struct dv_layouts_source){0};
}

/* What every GPU with something to do is now, for the next undo. */
static int take_undo(struct dv_node *node, const struct dv_layouts_plans *plans,
                     char *ret[DV_FACTS_GPUS_MAX], struct dv_err *err)
{
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++) {
        const struct dv_gpu_plan *p = plans->plans[i];
        if (!p || (!p->n_steps && !p->n_blockers))
            continue;
        ret[i] = dv_reconcile_checkpoint(node, i);
        if (!ret[i])
            return dv_err_set(err, -ENOMEM, "out of memory");
    }
    return 0;
}

/* What there will be once a request is committed: loans, but for `copy`. */
struct future {
    const struct dv_layouts_source *now[DV_LAYOUTS_PARTS], *before[DV_LAYOUTS_PARTS];
    char *const *undo;
    const char *instead[DV_FACTS_GPUS_MAX];
    struct dv_layouts_source copy[DV_LAYOUTS_PARTS]; /* of what is wanted now */
    bool again;                                      /* the same file: undo stays what it is */
};

static int put_source_document(struct dv_node *node, const char *key,
                               const struct dv_layouts_source *s, struct dv_err *err)
{
    struct dv_store_document d = {.unix_time = s->applied_unix, .text = s->text, .len = s->len};
    if (!s->text)
        return dv_store_drop_document(node->store, key, err);
    snprintf(d.key, sizeof d.key, "%s", key);
    memcpy(d.name, s->name, sizeof d.name);
    memcpy(d.config, s->config, sizeof d.config);
    return dv_store_put_document(node->store, &d, err);
}

static int put_gpu_document(struct dv_node *node, const char *prefix, uint32_t gpu,
                            const char *text, struct dv_err *err)
{
    const struct dv_gpu *g = dv_snapshot_gpu(node->snapshot, gpu);
    struct dv_store_document d = {.text = text};
    if (!g)
        return 0;
    snprintf(d.key, sizeof d.key, "%s:%s", prefix, g->uuid);
    return text ? dv_store_put_document(node->store, &d, err)
                : dv_store_drop_document(node->store, d.key, err);
}

static int write_all(struct dv_node *node, const struct future *f, struct dv_err *err)
{
    if (!node->store)
        return 0;
    int r = dv_store_begin(node->store, err);
    for (int i = 0; r == 0 && i < DV_LAYOUTS_PARTS; i++) {
        r = put_source_document(node, keys[i], f->now[i], err);
        if (r == 0 && !f->again)
            r = put_source_document(node, previous_keys[i], f->before[i], err);
    }
    for (uint32_t i = 0; r == 0 && i < DV_FACTS_GPUS_MAX; i++) {
        r = put_gpu_document(node, "instead", i, f->instead[i], err);
        if (r == 0 && !f->again)
            r = put_gpu_document(node, "undo", i, f->undo[i], err);
    }
    if (r == 0)
        r = dv_store_commit(node->store, err);
    if (r < 0)
        dv_store_rollback(node->store);
    return r;
}

/* What was wanted stays for undo, as copies: a part that the new file is not about stays. */
static int copy_now(struct dv_node *node, struct future *f, struct dv_err *err)
{
    struct dv_layouts *l = node->layouts;
    struct dv_layoutfile_info *info = calloc(1, sizeof *info);
    if (!info)
        return dv_err_set(err, -ENOMEM, "out of memory");
    int r = 0;
    for (int i = 0; r == 0 && i < DV_LAYOUTS_PARTS; i++) {
        if (l->now[i].text)
            r = source_read(l->now[i].name, l->now[i].config, l->now[i].text, l->now[i].len,
                            &f->copy[i], info, err);
        f->copy[i].applied_unix = l->now[i].applied_unix;
    }
    free(info);
    return r;
}

static bool is_same(const struct dv_layouts_source *a, const struct dv_layouts_source *b)
{
    if (!a->text || !b->text)
        return !a->text && !b->text;
    return a->len == b->len && !memcmp(a->text, b->text, a->len) && !strcmp(a->config, b->config);
}

static void foresee(struct dv_node *node, const struct dv_layouts_request *q, const struct wish *w,
                    char *undo[DV_FACTS_GPUS_MAX], struct future *f)
{
    struct dv_layouts *l = node->layouts;
    f->again = q->text;
    for (int i = 0; i < DV_LAYOUTS_PARTS; i++) {
        f->now[i] = &w->sources[i];
        f->before[i] = &l->now[i];
        f->again &= is_same(&w->sources[i], &l->now[i]);
    }
    f->undo = undo;
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++)
        f->instead[i] = w->instead[i] ? l->undo[i] : NULL;
}

static void take_undo_sources(struct dv_layouts *l)
{
    for (int i = 0; i < DV_LAYOUTS_PARTS; i++) {
        struct dv_layouts_source older = l->now[i];
        l->now[i] = l->before[i];
        l->before[i] = older;
    }
}

static void take_file(struct dv_layouts *l, struct wish *w, struct future *f)
{
    for (int i = 0; i < DV_LAYOUTS_PARTS && !f->again; i++)
        move_source(&l->before[i], &f->copy[i]);
    put_source(l->now, &w->fresh);
    w->fresh = (struct dv_layouts_source){0};
}

/* First the store, then here: what cannot be kept is not done. */
static int commit(struct dv_node *node, const struct dv_layouts_request *q, struct wish *w,
                  char *undo[DV_FACTS_GPUS_MAX], struct dv_err *err)
{
    struct dv_layouts *l = node->layouts;
    struct future f = {0};
    foresee(node, q, w, undo, &f);
    int r = q->text && !f.again ? copy_now(node, &f, err) : 0;
    if (r == 0)
        r = write_all(node, &f, err);
    if (r == 0 && q->text)
        take_file(l, w, &f);
    else if (r == 0)
        take_undo_sources(l);
    for (int i = 0; i < DV_LAYOUTS_PARTS; i++)
        source_done(&f.copy[i]);
    if (r < 0)
        return r;
    l->merged = merge(l->now);
    l->can_undo = true;
    l->generation++;
    l->problem[0] = 0;
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++) {
        if (!f.again) {
            free(l->undo[i]);
            l->undo[i] = undo[i];
            undo[i] = NULL;
        }
        dv_layout_free(l->gpu[i].instead);
        l->gpu[i].instead = w->instead[i];
        w->instead[i] = NULL;
    }
    return 0;
}

static void begin_all(struct dv_node *node, const struct dv_layouts_request *q,
                      const struct dv_layouts_plans *plans)
{
    uint64_t deadline = q->timeout_ns ? dv_clock_now() + q->timeout_ns : 0;
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++)
        if (plans->plans[i])
            dv_reconcile_begin(node, i, q->when == DV_LAYOUTS_EVICT, deadline, q->patient);
}

/* Pods that have what would go, by the kubelet's account. */
static int check_pods(struct dv_node *node, const struct dv_layouts_plans *plans,
                      struct dv_err *err)
{
    struct dv_workload pod;
    for (uint32_t i = 0; node->kubernetes && i < DV_FACTS_GPUS_MAX; i++) {
        size_t at = 0;
        if (plans->plans[i] && dv_kubernetes_hold(node->kubernetes, i, plans->plans[i], &at, &pod))
            return dv_err_set(
                err, DV_LAYOUTS_IN_USE,
                "pod %s/%s has GPU %u or a part of it; wait until it is gone (--wait), "
                "or delete it",
                pod.namespace, pod.pod, i);
    }
    return 0;
}

static int apply(struct dv_node *node, const struct dv_layouts_request *q, struct wish *w,
                 struct dv_layouts_plans *ret, struct dv_err *err)
{
    char *undo[DV_FACTS_GPUS_MAX] = {0}, value[DV_LOG_VALUE];
    if (is_busy(node))
        return dv_err_set(err, DV_LAYOUTS_BUSY,
                          "another change of the layout is under way; see `divvy layout show`");
    int r = make_wish(node, q, w, ret, err);
    if (r)
        return r;
    if (q->when == DV_LAYOUTS_IDLE && ret->blockers)
        return dv_err_set(err, DV_LAYOUTS_IN_USE,
                          "%u slice%s in the way; wait for them (--wait), end them (--evict), or "
                          "see `divvy layout plan`",
                          ret->blockers, ret->blockers == 1 ? " is" : "s are");
    if (q->when == DV_LAYOUTS_IDLE && (r = check_pods(node, ret, err)))
        return r;
    r = take_undo(node, ret, undo, err);
    if (r == 0)
        r = commit(node, q, w, undo, err);
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++)
        free(undo[i]);
    if (r < 0)
        return r;
    dv_log(DV_LOG_INFO, "layout.applied", "file=%s generation=%llu blockers=%u",
           dv_log_value(q->text ? q->name : "undo", value),
           (unsigned long long)node->layouts->generation, ret->blockers);
    begin_all(node, q, ret);
    return is_under_way(node) ? DV_LAYOUTS_UNDER_WAY : DV_LAYOUTS_DONE;
}

int dv_layouts_apply(struct dv_node *node, const struct dv_layouts_request *q,
                     struct dv_layouts_plans *ret, struct dv_err *err)
{
    struct wish *w = calloc(1, sizeof *w);
    if (!w)
        return dv_err_set(err, -ENOMEM, "out of memory");
    int r = apply(node, q, w, ret, err);
    wish_done(w);
    free(w);
    return r;
}

/* ---- a restart ---- */

static uint32_t gpu_by_uuid(const struct dv_node *node, const char *uuid)
{
    for (size_t i = 0; i < node->snapshot->n_gpus; i++)
        if (!strcmp(gpu_at(node, i)->uuid, uuid))
            return gpu_at(node, i)->index;
    return UINT32_MAX;
}

static void read_back(struct dv_node *node, const struct dv_store_document *d,
                      struct dv_layouts_source *to)
{
    struct dv_layoutfile_info *info = calloc(1, sizeof *info);
    struct dv_err err = {0};
    if (!info || source_read(d->name, d->config, d->text, d->len, to, info, &err) < 0)
        snprintf(node->layouts->problem, sizeof node->layouts->problem,
                 "the stored layout cannot be read: %.300s", err.msg);
    else
        to->applied_unix = d->unix_time;
    free(info);
}

struct documents {
    struct dv_node *node;
    uint32_t only;                /* this GPU's; UINT32_MAX: all, and the files */
    char *config;                 /* the --config file of last time */
    bool back[DV_FACTS_GPUS_MAX]; /* with a checkpoint: which way */
};

static void take_instead(struct dv_gpu_change *c, const char *text)
{
    struct dv_layoutfile_info *info = calloc(1, sizeof *info);
    struct dv_err err = {0};
    if (info && !c->instead)
        dv_layoutfile_read("what was before", text, strlen(text), NULL, &c->instead, info, &err);
    free(info);
}

static void on_gpu_document(struct documents *docs, uint32_t gpu, const struct dv_store_document *d)
{
    struct dv_layouts *l = docs->node->layouts;
    if (!strncmp(d->key, "undo:", 5) && !l->undo[gpu])
        l->undo[gpu] = strdup(d->text);
    if (!strncmp(d->key, "instead:", 8))
        take_instead(&l->gpu[gpu], d->text);
    if (!strncmp(d->key, "change:", 7) && !l->gpu[gpu].checkpoint) {
        l->gpu[gpu].checkpoint = strdup(d->text);
        docs->back[gpu] = !strcmp(d->name, "back");
    }
}

static void on_document(void *arg, const struct dv_store_document *d)
{
    struct documents *docs = arg;
    struct dv_layouts *l = docs->node->layouts;
    const char *colon = strchr(d->key, ':');
    uint32_t gpu = colon ? gpu_by_uuid(docs->node, colon + 1) : UINT32_MAX;
    if (gpu != UINT32_MAX && (docs->only == UINT32_MAX || docs->only == gpu))
        on_gpu_document(docs, gpu, d);
    if (docs->only != UINT32_MAX)
        return;
    for (int i = 0; i < DV_LAYOUTS_PARTS; i++) {
        if (!strcmp(d->key, keys[i]))
            read_back(docs->node, d, &l->now[i]);
        if (!strcmp(d->key, previous_keys[i]))
            read_back(docs->node, d, &l->before[i]);
    }
    if (!strcmp(d->key, "config") && !docs->config)
        docs->config = strdup(d->text);
}

/* The --config file: applied when it is another than the one that was applied last, so that a
 * layout that was changed live survives a restart. True: every GPU is on its way. */
static bool apply_config(struct dv_node *node, const char *last)
{
    const struct dv_node_config *c = &node->config;
    struct dv_layouts_plans plans = {0};
    struct dv_err err = {0};
    char value[DV_LOG_VALUE];
    if (!c->layout_text || (last && !strcmp(last, c->layout_text)))
        return false;
    struct dv_layouts_request q = {.text = (char *)(uintptr_t)c->layout_text,
                                   .len = strlen(c->layout_text),
                                   .when = DV_LAYOUTS_WAIT,
                                   .patient = true};
    snprintf(q.name, sizeof q.name, "%s", c->layout_name);
    int r = dv_layouts_apply(node, &q, &plans, &err);
    dv_layouts_plans_done(&plans);
    if (r != DV_LAYOUTS_DONE && r != DV_LAYOUTS_UNDER_WAY) {
        dv_log(DV_LOG_ERROR, "layout.refused", "detail=%s", dv_log_value(err.msg, value));
        snprintf(node->layouts->problem, sizeof node->layouts->problem, "%.399s", err.msg);
        return false;
    }
    struct dv_store_document d = {.key = "config", .text = c->layout_text};
    if (node->store)
        dv_store_put_document(node->store, &d, &err);
    return true;
}

/* Nothing of it is done yet: how its devices are shared is known again, for those who wait. */
static void recall(struct dv_node *node, uint32_t gpu)
{
    bool half_way = node->layouts->gpu[gpu].checkpoint;
    if (half_way || dv_layouts_any(node) || node->layouts->gpu[gpu].instead)
        dv_reconcile_recall(node, gpu, half_way ? NULL : dv_reconcile_wanted(node, gpu));
}

/* On with what was under way. The rest is led to what is wanted: a boot forgets MIG instances,
 * Hopper the mode too. */
static void lead(struct dv_node *node, uint32_t gpu, const struct documents *docs)
{
    if (node->layouts->gpu[gpu].checkpoint)
        dv_reconcile_resume(node, gpu, docs->back[gpu]);
    else if (dv_layouts_any(node) || node->layouts->gpu[gpu].instead)
        dv_reconcile_begin(node, gpu, false, 0, true);
}

static void load(struct dv_node *node, struct documents *docs)
{
    struct dv_err err = {0};
    if (node->store && dv_store_load_documents(node->store, on_document, docs, &err) < 0)
        snprintf(node->layouts->problem, sizeof node->layouts->problem, "%.399s", err.msg);
}

void dv_layouts_restore(struct dv_node *node)
{
    struct dv_layouts *l = node->layouts;
    struct documents docs = {.node = node, .only = UINT32_MAX};
    load(node, &docs);
    for (int i = 0; i < DV_LAYOUTS_PARTS; i++)
        l->can_undo |= l->now[i].text || l->before[i].text;
    l->merged = merge(l->now);
    l->restored = true;
    for (size_t i = 0; i < node->snapshot->n_gpus; i++)
        recall(node, gpu_at(node, i)->index);
    if (!apply_config(node, docs.config))
        for (size_t i = 0; i < node->snapshot->n_gpus; i++)
            lead(node, gpu_at(node, i)->index, &docs);
    free(docs.config);
}

void dv_layouts_gone(struct dv_node *node, uint32_t gpu)
{
    struct dv_layouts *l = node->layouts;
    struct dv_gpu_change *c = &l->gpu[gpu];
    bool asked = c->asked;
    free(l->undo[gpu]);
    l->undo[gpu] = NULL;
    free(c->checkpoint);
    free(c->plan);
    dv_layout_free(c->instead);
    *c = (struct dv_gpu_change){.asked = asked};
}

void dv_layouts_arrived(struct dv_node *node, uint32_t gpu)
{
    struct documents docs = {.node = node, .only = gpu};
    if (!node->layouts->restored || !dv_snapshot_gpu(node->snapshot, gpu))
        return;
    load(node, &docs);
    recall(node, gpu);
    lead(node, gpu, &docs);
}
