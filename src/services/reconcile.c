/* SPDX-License-Identifier: Apache-2.0 */
#include "claims.h"
#include "inventory.h"
#include "kubernetes/kubernetes.h"
#include "kubernetes/pod_holds.h"
#include "layouts.h"
#include "mps.h"
#include "render/step_text.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS_MAX 200u /* of one change: more means that somebody undoes what we do */
#define RETRIES_MAX 3u
#define RETRY_NS DV_NS_PER_S
#define LOOKS_MAX 30u /* that the driver answers with an error, one after the other */
#define MPS_FAILURES_MAX 3u
#define MPS_STOP_NS (180 * DV_NS_PER_S) /* more than the worker's own deadline for it */

static struct dv_gpu_change *change_of(const struct dv_node *node, uint32_t gpu)
{
    return &node->layouts->gpu[gpu];
}

static bool is_active(const struct dv_gpu_change *c)
{
    return c->state == DV_CHANGE_DRAINING || c->state == DV_CHANGE_CHANGING ||
           c->state == DV_CHANGE_ROLLING_BACK;
}

/* ---- what is there ---- */

static void fill_instance(const struct dv_facts_gpu *f, const struct dv_facts_gi *gi,
                          const struct dv_mig_profile *p, struct dv_plan_instance *ret)
{
    *ret = (struct dv_plan_instance){
        .id = gi->id, .profile = (uint32_t)(p - f->geometry.profiles), .start = gi->start};
    for (uint32_t i = 0; i < f->n_mig && ret->n_ci < DV_PLAN_CIS_MAX; i++) {
        const struct dv_facts_mig *m = &f->mig[i];
        if (m->gi != gi->id)
            continue;
        ret->ci[ret->n_ci].id = m->ci;
        ret->ci[ret->n_ci].slices = m->ci_slices == DV_FACT_UNKNOWN32 ? p->slices : m->ci_slices;
        memcpy(ret->ci[ret->n_ci++].uuid, m->uuid, sizeof m->uuid);
    }
}

static int fill_instances(const struct dv_facts_gpu *f, struct dv_plan_gpu *ret, struct dv_err *err)
{
    if (f->n_gi == DV_FACT_UNKNOWN32)
        return f->mig_current == 1 ? dv_err_set(err, -EPERM,
                                                "the driver does not list the GPU instances to "
                                                "this user; divvyd must run as root to change them")
                                   : 0;
    for (uint32_t i = 0; i < f->n_gi && ret->n_instances < DV_MIG_INSTANCES_MAX; i++) {
        const struct dv_mig_profile *p = dv_mig_profile_by_id(&f->geometry, f->gi[i].profile);
        if (!p)
            return dv_err_set(err, -EINVAL, "GPU instance %u has a profile that is not known (%u)",
                              f->gi[i].id, f->gi[i].profile);
        fill_instance(f, &f->gi[i], p, &ret->instances[ret->n_instances++]);
    }
    return 0;
}

static int fill_now(const struct dv_facts_gpu *f, struct dv_plan_gpu *ret, struct dv_err *err)
{
    *ret = (struct dv_plan_gpu){.index = f->index,
                                .geometry = f->geometry.n_profiles ? &f->geometry : NULL,
                                .mig_enabled = f->mig_current == 1,
                                .mig_pending = f->mig_pending == 1,
                                .compute_mode = f->compute_mode,
                                .timeslice_known = f->timeslice != DV_FACT_UNKNOWN32};
    if (ret->timeslice_known)
        ret->timeslice = (enum dv_timeslice)f->timeslice;
    return fill_instances(f, ret, err);
}

int dv_reconcile_plan(struct dv_node *node, uint32_t gpu, const struct dv_layout *layout,
                      struct dv_gpu_plan *ret, struct dv_err *err)
{
    struct dv_plan_gpu now;
    if (gpu >= DV_FACTS_GPUS_MAX || !node->gpus[gpu].facts)
        return dv_err_set(err, -ENOENT, "GPU %u is not known", gpu);
    int r = fill_now(node->gpus[gpu].facts, &now, err);
    if (r < 0) {
        dv_err_prefix(err, "GPU %u: ", gpu);
        return r;
    }
    r = dv_layout_plan_gpu(layout, node->snapshot, &now, ret, err);
    return r == -ENOMEM ? dv_err_set(err, r, "out of memory") : r;
}

const struct dv_layout *dv_reconcile_wanted(const struct dv_node *node, uint32_t gpu)
{
    const struct dv_gpu_change *c = change_of(node, gpu);
    return c->instead ? c->instead : &node->layouts->merged;
}

/* ---- the checkpoint ---- */

static void checkpoint_device(const struct dv_node *node, const struct dv_device *d,
                              struct dv_layout_device *ret)
{
    *ret = (struct dv_layout_device){.start = d->mig ? d->placement_start : DV_MIG_UNPLACED};
    memcpy(ret->profile, d->profile, sizeof ret->profile);
    ret->sharing.mode = d->layout;
    ret->sharing.replicas = d->layout == DV_MODE_AUTO ? 0 : d->replicas;
    if (d->layout == DV_MODE_TIMESLICE)
        ret->sharing.timeslice = dv_reconcile_timeslice(node, d);
}

char *dv_reconcile_checkpoint(struct dv_node *node, uint32_t gpu)
{
    const struct dv_gpu *g = dv_snapshot_gpu(node->snapshot, gpu);
    struct dv_layout_gpu *e = calloc(1, sizeof *e);
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    if (!e || !g) {
        free(e);
        return NULL;
    }
    e->gpus.kind = DV_SELECTOR_UUID;
    memcpy(e->gpus.text, g->uuid, sizeof e->gpus.text);
    e->rank = 2;
    for (size_t i = 0; i < node->snapshot->n_devices && e->n_devices < DV_LAYOUT_DEVICES_MAX; i++)
        if (node->snapshot->devices[i].gpu == gpu)
            checkpoint_device(node, &node->snapshot->devices[i], &e->devices[e->n_devices++]);
    struct dv_layout layout = {.has_cut = true, .has_sharing = true, .entries = e, .n_entries = 1};
    dv_layoutfile_write(&layout, &text);
    free(e);
    return dv_str_steal(&text);
}

static int read_checkpoint(const char *text, struct dv_layout **ret, struct dv_err *err)
{
    struct dv_layoutfile_info *info = calloc(1, sizeof *info);
    int r = info ? dv_layoutfile_read("checkpoint", text, strlen(text), NULL, ret, info, err)
                 : dv_err_set(err, -ENOMEM, "out of memory");
    free(info);
    return r;
}

/* ---- the store ---- */

static void keep_document(struct dv_node *node, const char *prefix, uint32_t gpu, const char *name,
                          const char *text)
{
    const struct dv_gpu *g = dv_snapshot_gpu(node->snapshot, gpu);
    struct dv_err err = {0};
    struct dv_store_document d = {.text = text};
    char value[DV_LOG_VALUE];
    if (!node->store || !g)
        return;
    snprintf(d.key, sizeof d.key, "%s:%s", prefix, g->uuid);
    snprintf(d.name, sizeof d.name, "%s", name);
    int r = text ? dv_store_put_document(node->store, &d, &err)
                 : dv_store_drop_document(node->store, d.key, &err);
    if (r < 0)
        dv_log(DV_LOG_ERROR, "layout.not_kept", "gpu=%u detail=%s", gpu,
               dv_log_value(err.msg, value));
}

static void keep_change(struct dv_node *node, uint32_t gpu)
{
    const struct dv_gpu_change *c = change_of(node, gpu);
    keep_document(node, "change", gpu, c->back ? "back" : "forward", c->checkpoint);
}

/* ---- devices in the snapshot ---- */

static const struct dv_plan_device *target_of(const struct dv_node *node, const struct dv_device *d)
{
    const struct dv_gpu_change *c = change_of(node, d->gpu);
    uint32_t order = 0;
    for (size_t i = 0; i < node->snapshot->n_devices; i++) {
        const struct dv_device *o = &node->snapshot->devices[i];
        order += o->gpu == d->gpu && o->mig && o->gi == d->gi && o->ci < d->ci;
    }
    for (uint32_t i = 0; i < c->n_devices; i++) {
        const struct dv_plan_device *t = &c->devices[i];
        if (t->uuid[0] ? !strcmp(t->uuid, d->uuid)
                       : !strcmp(t->profile, d->profile) &&
                             (!d->mig || (t->start == d->placement_start && t->order == order)))
            return t;
    }
    return NULL;
}

/* Is the device in the plan's way, so that nothing new may be placed on it? */
static bool is_closed(const struct dv_gpu_change *c, const struct dv_device *d)
{
    if (!is_active(c) || !c->plan)
        return false;
    for (uint32_t i = 0; i < c->plan->n_blockers; i++)
        if (!strcmp(c->plan->blockers[i].device, d->uuid))
            return true;
    for (uint32_t i = 0; i < c->plan->n_steps; i++) {
        const struct dv_step *s = &c->plan->steps[i];
        if (s->kind == DV_STEP_MIG_MODE ||
            (s->kind != DV_STEP_SHARING && s->device[0] && !strcmp(s->device, d->uuid)) ||
            (s->kind == DV_STEP_GI_DESTROY && d->mig && s->gi == d->gi) ||
            (s->kind == DV_STEP_SHARING && !strcmp(s->device, d->uuid) &&
             s->sharing.mode != d->mode && s->sharing.mode != DV_MODE_AUTO))
            return true;
    }
    return false;
}

/* A daemon of it is on its way out: whoever came now would meet it. */
static bool is_being_freed(const struct dv_node *node, const struct dv_device *d)
{
    const struct dv_mps_daemon *m = dv_mps_find(node, d->uuid);
    return m && d->layout != DV_MODE_MPS && is_active(change_of(node, d->gpu)) &&
           (m->state == DV_MPS_STOPPING || (m->held_down && m->state != DV_MPS_DOWN));
}

void dv_reconcile_assign(const struct dv_node *node, struct dv_device *d)
{
    const struct dv_plan_device *t = target_of(node, d);
    struct dv_held held = dv_snapshot_held(node->snapshot, d->uuid);
    d->layout = t ? t->sharing.mode : DV_MODE_AUTO;
    d->replicas = t ? t->sharing.replicas : 0;
    /* Held otherwise than wanted: it stays as it is until those have left. */
    if (held.first && d->layout != DV_MODE_AUTO && d->layout != held.first->mode)
        d->layout = DV_MODE_AUTO;
    if (d->layout == DV_MODE_AUTO)
        d->replicas = 0;
    d->draining = is_closed(change_of(node, d->gpu), d) || is_being_freed(node, d);
    d->mps_up = dv_mps_is_up(node, d->uuid);
}

enum dv_timeslice dv_reconcile_timeslice(const struct dv_node *node, const struct dv_device *d)
{
    const struct dv_plan_device *t = target_of(node, d);
    return t ? t->sharing.timeslice : DV_TIMESLICE_DEFAULT;
}

static void assign_all(struct dv_node *node, uint32_t gpu)
{
    for (size_t i = 0; i < node->snapshot->n_devices; i++) {
        const struct dv_device *d = &node->snapshot->devices[i];
        if (d->gpu != gpu)
            continue;
        struct dv_event e = {.kind = DV_EVENT_DEVICE_SEEN, .device = *d};
        bool turns = d->mode == DV_MODE_TIMESLICE;
        dv_reconcile_assign(node, &e.device);
        turns &= d->replicas != e.device.replicas;
        if (!dv_snapshot_device_equal(d, &e.device))
            dv_node_apply(node, &e);
        if (turns)
            dv_claims_equalize(node, &e.device);
    }
}

/* ---- one change ---- */

static void advance(struct dv_node *node, uint32_t gpu);

static void enter(struct dv_node *node, uint32_t gpu, enum dv_change_state state)
{
    struct dv_gpu_change *c = change_of(node, gpu);
    char value[DV_LOG_VALUE];
    if (c->state == state)
        return;
    c->state = state;
    c->wait_unix = state == DV_CHANGE_DRAINING ? dv_clock_unix() : 0;
    dv_log(state == DV_CHANGE_FAILED || state == DV_CHANGE_ROLLING_BACK ? DV_LOG_WARNING
                                                                        : DV_LOG_INFO,
           "layout.gpu", "gpu=%u state=%s detail=%s", gpu, dv_layouts_state_name(state),
           dv_log_value(c->detail, value));
}

static bool is_shared(const struct dv_layout *layout)
{
    bool any = false;
    for (uint32_t i = 0; i < layout->n_entries; i++)
        for (uint32_t k = 0; k < layout->entries[i].n_devices; k++)
            any |= layout->entries[i].devices[k].sharing.mode != DV_MODE_AUTO;
    return any;
}

/* As it should be. Led back, it stays at what it was until somebody applies a layout again. */
static void settle(struct dv_node *node, uint32_t gpu)
{
    struct dv_gpu_change *c = change_of(node, gpu);
    bool failed = c->back;
    c->evict = false;
    c->deadline_ns = c->take_ns = 0;
    c->deadline_unix = 0;
    c->held = false;
    c->waiting = false;
    if (!failed) {
        free(c->checkpoint);
        c->checkpoint = NULL;
        keep_change(node, gpu);
        c->detail[0] = 0;
        if (c->instead && !is_shared(c->instead)) { /* back where divvy left it to others */
            dv_layout_free(c->instead);
            c->instead = NULL;
            keep_document(node, "instead", gpu, "", NULL);
        }
    }
    enter(node, gpu, failed ? DV_CHANGE_FAILED : DV_CHANGE_SETTLED);
    assign_all(node, gpu);
    dv_claims_pump(node);
}

/* It stays as it is, until somebody applies a layout or the daemon is restarted. */
static void stop_here(struct dv_node *node, uint32_t gpu, const char *why)
{
    struct dv_gpu_change *c = change_of(node, gpu);
    snprintf(c->detail, sizeof c->detail, "%s%.250s", c->back ? "on the way back: " : "", why);
    c->waiting = false;
    enter(node, gpu, DV_CHANGE_FAILED);
    assign_all(node, gpu);
}

/* Something does not work: back to what was, or, if that does not work either, stop here. */
static void turn_round(struct dv_node *node, uint32_t gpu, const char *why)
{
    struct dv_gpu_change *c = change_of(node, gpu);
    struct dv_layout *to = NULL;
    struct dv_err err = {0};
    if (c->back || !c->checkpoint || read_checkpoint(c->checkpoint, &to, &err) < 0) {
        stop_here(node, gpu, why);
        return;
    }
    snprintf(c->detail, sizeof c->detail, "%.250s", why);
    dv_layout_free(c->instead);
    c->instead = to;
    c->back = true;
    c->evict = false;
    c->deadline_ns = c->stop_ns = 0;
    c->deadline_unix = 0;
    c->steps = c->retries = 0;
    keep_change(node, gpu);
    enter(node, gpu, DV_CHANGE_ROLLING_BACK);
    advance(node, gpu);
}

struct asked {
    struct dv_node *node;
    uint32_t gpu;
    struct dv_step step;
};

static void look(struct dv_node *node, uint32_t gpu)
{
    change_of(node, gpu)->asked = true;
    if (dv_inventory_look(node, gpu) < 0) {
        change_of(node, gpu)->asked = false;
        change_of(node, gpu)->blind = true;
        change_of(node, gpu)->retry_ns = dv_clock_now() + RETRY_NS;
    }
}

static void on_step(void *arg, const struct dv_worker_reply *reply, int error)
{
    struct asked *asked = arg;
    struct dv_node *node = asked->node;
    uint32_t gpu = asked->gpu;
    struct dv_gpu_change *c = change_of(node, gpu);
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    char why[300], value[DV_LOG_VALUE];
    dv_step_text(&asked->step, &text);
    free(asked);
    if (!reply && c->retries < RETRIES_MAX) {
        /* The worker hung or died: whether the step was done, only a look can tell. */
        c->retries++;
        dv_log(DV_LOG_WARNING, "layout.step", "gpu=%u step=%s error=%s again=%u", gpu,
               dv_log_value(dv_str_get(&text), value), strerror(-error), c->retries);
        look(node, gpu);
        return;
    }
    if (!reply || reply->status) {
        snprintf(why, sizeof why, "cannot %s: %s", dv_str_get(&text),
                 reply                 ? reply->message
                 : error == -ETIMEDOUT ? "a call into the driver did not return in time"
                                       : "the process that talks to the driver died");
        c->asked = false;
        c->failing = true;
        snprintf(c->detail, sizeof c->detail, "%.*s", (int)sizeof c->detail - 1, why);
        look(node, gpu); /* what a failed step has left decides the way back */
        return;
    }
    c->retries = 0;
    dv_log(DV_LOG_INFO, "layout.step", "gpu=%u step=%s", gpu,
           dv_log_value(dv_str_get(&text), value));
    look(node, gpu);
}

static void ask_step(struct dv_node *node, uint32_t gpu, const struct dv_step *step)
{
    struct dv_gpu_change *c = change_of(node, gpu);
    struct dv_worker_request q = {.op = DV_WORKER_STEP, .index = gpu, .change.step = *step};
    struct asked *asked = malloc(sizeof *asked);
    if (asked) {
        *asked = (struct asked){node, gpu, *step};
        c->asked = true;
        if (dv_hardware_link_ask(node->link, &q, on_step, asked) == 0)
            return;
    }
    free(asked);
    c->asked = false;
    c->retry_ns = dv_clock_now() + RETRY_NS;
}

static void await_end(struct dv_node *node, uint32_t gpu)
{
    struct dv_gpu_change *c = change_of(node, gpu);
    uint64_t now = dv_clock_now();
    if (!c->stop_ns)
        c->stop_ns = now;
    if (now - c->stop_ns >= MPS_STOP_NS)
        turn_round(node, gpu, "an MPS daemon does not end");
}

/* Its daemon ends; until it has, the tick asks again. */
static void stop_mps(struct dv_node *node, uint32_t gpu, const char *device)
{
    struct dv_gpu_change *c = change_of(node, gpu);
    if (dv_mps_stop(node, device)) {
        c->stop_ns = 0;
        assign_all(node, gpu);
        look(node, gpu);
        return;
    }
    c->steps--;
    await_end(node, gpu);
}

/* One that ends holds the GPU until it has, and one that starts soon will. */
static bool must_wait_for(struct dv_node *node, const struct dv_device *d)
{
    const struct dv_mps_daemon *m = dv_mps_find(node, d->uuid);
    if (!m || d->layout == DV_MODE_MPS || (m->state == DV_MPS_DOWN && !m->asked && !m->left))
        return false;
    bool soon = m->state == DV_MPS_STARTING || m->state == DV_MPS_DOWN;
    return m->held_down || m->state == DV_MPS_STOPPING ||
           (soon && d->draining && !dv_mps_stop(node, d->uuid));
}

/* MPS has a worker of its own: what is asked of that one may still be under way. */
static bool mps_is_quiet(struct dv_node *node, uint32_t gpu)
{
    for (size_t i = 0; i < node->snapshot->n_devices; i++)
        if (node->snapshot->devices[i].gpu == gpu &&
            must_wait_for(node, &node->snapshot->devices[i]))
            return false;
    return true;
}

/* Does what can be done now. */
static void run_steps(struct dv_node *node, uint32_t gpu)
{
    struct dv_gpu_change *c = change_of(node, gpu);
    const struct dv_step *s = &c->plan->steps[0];
    if (!node->mps->looked && s->kind != DV_STEP_SHARING)
        return; /* a daemon of before a restart may still hold the GPU: the next tick knows */
    if (++c->steps > STEPS_MAX) {
        turn_round(node, gpu, "it does not become what is wanted; does another program change it?");
        return;
    }
    if (s->kind == DV_STEP_MPS_STOP) {
        stop_mps(node, gpu, s->device);
        return;
    }
    if (s->kind != DV_STEP_SHARING) {
        ask_step(node, gpu, s);
        return;
    }
    /* All that is left is how devices are shared: that is ours to note. */
    assign_all(node, gpu);
    struct dv_gpu_plan *again = c->plan;
    struct dv_err err = {0};
    if (dv_reconcile_plan(node, gpu, dv_reconcile_wanted(node, gpu), again, &err) == 0 &&
        again->n_steps && again->steps[0].kind == DV_STEP_SHARING) {
        turn_round(node, gpu, "a device cannot be shared as is wanted");
        return;
    }
    advance(node, gpu);
}

static void evict_blockers(struct dv_node *node, const struct dv_gpu_plan *plan)
{
    for (uint32_t i = 0; i < plan->n_blockers; i++) {
        struct dv_holding *h = dv_node_holding(node, plan->blockers[i].slice);
        if (h)
            dv_claims_evict(h, "layout");
    }
}

static void drain(struct dv_node *node, uint32_t gpu)
{
    struct dv_gpu_change *c = change_of(node, gpu);
    char why[200];
    snprintf(c->detail, sizeof c->detail, "%u slice%s in the way", c->plan->n_blockers,
             c->plan->n_blockers == 1 ? " is" : "s are");
    c->waiting = true;
    enter(node, gpu, DV_CHANGE_DRAINING);
    assign_all(node, gpu);
    if (c->evict)
        evict_blockers(node, c->plan);
    if (c->deadline_ns && dv_clock_now() >= c->deadline_ns) {
        snprintf(why, sizeof why, "%u slice%s still in the way when the time to wait was over",
                 c->plan->n_blockers, c->plan->n_blockers == 1 ? " was" : "s were");
        turn_round(node, gpu, why);
    }
}

/* A pod that has a device which is to go, by the kubelet's account, is in the way as a slice is. A
 * kubelet that says nothing holds up nothing, but it is not taken back what it has said. */
static bool await_pods(struct dv_node *node, uint32_t gpu)
{
    struct dv_gpu_change *c = change_of(node, gpu);
    char who[160] = "";
    if (!node->kubernetes || c->back || !dv_pod_holds_matters(c->plan))
        return true;
    if (!c->take_ns)
        c->take_ns = dv_clock_now();
    int r = dv_kubernetes_held(node->kubernetes, gpu, c->plan, c->take_ns, who, sizeof who);
    if (r == 0 || (r == -ETIMEDOUT && !c->held)) {
        c->held = false;
        return true;
    }
    c->held |= r == 1;
    c->waiting = true;
    if (r == 1)
        memcpy(c->pods, who, sizeof c->pods);
    else
        memcpy(who, c->pods, sizeof who);
    if (r == -ETIMEDOUT)
        snprintf(c->detail, sizeof c->detail, "pod %s was in the way, and the kubelet is away",
                 who);
    else if (r < 0 && !c->held)
        snprintf(c->detail, sizeof c->detail, "asks the kubelet which pods have it");
    else
        snprintf(c->detail, sizeof c->detail, "pod %s is in the way%s", who,
                 c->evict ? ", and holds no slice that could be ended" : "");
    enter(node, gpu, DV_CHANGE_DRAINING);
    assign_all(node, gpu);
    if (c->deadline_ns && dv_clock_now() >= c->deadline_ns) {
        char why[200];
        snprintf(why, sizeof why,
                 "a pod%s%.120s was still in the way when the time to wait was over",
                 *who ? " " : "", who);
        turn_round(node, gpu, why);
    }
    return false;
}

/* A device that is to be shared by MPS is so when its daemon takes clients. */
static bool await_mps(struct dv_node *node, uint32_t gpu)
{
    struct dv_gpu_change *c = change_of(node, gpu);
    for (size_t i = 0; i < node->snapshot->n_devices; i++) {
        const struct dv_device *d = &node->snapshot->devices[i];
        char why[sizeof c->detail];
        if (d->gpu != gpu || d->layout != DV_MODE_MPS || d->mps_up)
            continue;
        dv_mps_allow(node, d->uuid);
        const struct dv_mps_daemon *m = dv_mps_find(node, d->uuid);
        bool hopeless = m && m->failures >= MPS_FAILURES_MAX;
        snprintf(why, sizeof why, "the MPS daemon of %s %s%s%.150s",
                 d->mig ? d->profile : "the GPU",
                 m && m->failures ? "does not start" : "is being started",
                 m && m->problem[0] ? ": " : "", m ? m->problem : "");
        if (hopeless && !c->patient) {
            turn_round(node, gpu, why);
            return false;
        }
        memcpy(c->detail, why, sizeof c->detail);
        c->waiting = true;
        enter(node, gpu, DV_CHANGE_CHANGING);
        return false;
    }
    return true;
}

static void advance(struct dv_node *node, uint32_t gpu)
{
    struct dv_gpu_change *c = change_of(node, gpu);
    struct dv_err err = {0};
    if (!is_active(c) || c->asked)
        return;
    if (!c->plan && !(c->plan = calloc(1, sizeof *c->plan)))
        return; /* the next tick tries again */
    c->waiting = false;
    int r = dv_reconcile_plan(node, gpu, dv_reconcile_wanted(node, gpu), c->plan, &err);
    if (r < 0) {
        turn_round(node, gpu, err.msg);
        return;
    }
    if (c->plan->n_blockers) {
        drain(node, gpu);
        return;
    }
    if (!await_pods(node, gpu))
        return;
    memcpy(c->devices, c->plan->devices, sizeof c->devices);
    c->n_devices = c->plan->n_devices;
    bool daemons_first = c->plan->n_steps && c->plan->steps[0].kind == DV_STEP_MPS_STOP;
    if (!daemons_first) {
        assign_all(node, gpu); /* closes what is about to change */
        if (node->mps->looked && !mps_is_quiet(node, gpu)) {
            enter(node, gpu, c->back ? DV_CHANGE_ROLLING_BACK : DV_CHANGE_CHANGING);
            await_end(node, gpu);
            return;
        }
        c->stop_ns = 0;
    }
    if (!c->plan->n_steps) {
        if (c->back || await_mps(node, gpu))
            settle(node, gpu);
        return;
    }
    if (!c->back)
        c->detail[0] = 0;
    enter(node, gpu, c->back ? DV_CHANGE_ROLLING_BACK : DV_CHANGE_CHANGING);
    if (daemons_first)
        assign_all(node, gpu);
    run_steps(node, gpu);
}

/* ---- from outside ---- */

static int64_t unix_of(uint64_t deadline_ns)
{
    uint64_t now = dv_clock_now();
    if (!deadline_ns)
        return 0;
    return dv_clock_unix() + (int64_t)((DV_MAX(deadline_ns, now) - now) / DV_NS_PER_S);
}

void dv_reconcile_begin(struct dv_node *node, uint32_t gpu, bool evict, uint64_t deadline_ns,
                        bool patient)
{
    struct dv_gpu_change *c = change_of(node, gpu);
    c->patient = patient;
    /* One that is there is of a change that has not ended, or not well: it is what to go back to.
     */
    if (!c->checkpoint)
        c->checkpoint = dv_reconcile_checkpoint(node, gpu);
    c->back = c->failing = c->waiting = false;
    c->evict = evict;
    c->deadline_ns = deadline_ns;
    c->deadline_unix = unix_of(deadline_ns);
    c->steps = c->retries = c->looks = 0;
    c->retry_ns = c->stop_ns = c->take_ns = 0;
    c->held = false;
    c->pods[0] = 0;
    c->detail[0] = 0;
    keep_change(node, gpu);
    enter(node, gpu, DV_CHANGE_CHANGING);
    advance(node, gpu);
}

void dv_reconcile_recall(struct dv_node *node, uint32_t gpu, const struct dv_layout *layout)
{
    struct dv_gpu_change *c = change_of(node, gpu);
    struct dv_gpu_plan *plan = calloc(1, sizeof *plan);
    struct dv_layout *checkpoint = NULL;
    struct dv_err err = {0};
    if (!layout && read_checkpoint(c->checkpoint, &checkpoint, &err) == 0)
        layout = checkpoint;
    if (plan && layout && dv_reconcile_plan(node, gpu, layout, plan, &err) == 0) {
        memcpy(c->devices, plan->devices, sizeof c->devices);
        c->n_devices = plan->n_devices;
    }
    dv_layout_free(checkpoint);
    free(plan);
    assign_all(node, gpu);
}

void dv_reconcile_resume(struct dv_node *node, uint32_t gpu, bool back)
{
    struct dv_gpu_change *c = change_of(node, gpu);
    struct dv_layout *to = NULL;
    struct dv_err err = {0};
    if (back && read_checkpoint(c->checkpoint, &to, &err) < 0)
        return;
    c->back = back;
    if (back) {
        dv_layout_free(c->instead);
        c->instead = to;
        snprintf(c->detail, sizeof c->detail, "a change before the last restart failed");
    }
    dv_log(DV_LOG_INFO, "layout.resumed", "gpu=%u back=%s", gpu, back ? "true" : "false");
    enter(node, gpu, back ? DV_CHANGE_ROLLING_BACK : DV_CHANGE_CHANGING);
    advance(node, gpu);
}

/* What is there is not known: nothing is done until it is. */
static void unseen(struct dv_node *node, uint32_t gpu, const char *why)
{
    struct dv_gpu_change *c = change_of(node, gpu);
    c->blind = true;
    c->retry_ns = dv_clock_now() + RETRY_NS;
    if (why && ++c->looks > LOOKS_MAX) {
        c->blind = c->failing = false;
        stop_here(node, gpu, why);
    } else if (!c->failing && !c->back) {
        snprintf(c->detail, sizeof c->detail, "%s",
                 why && *why ? why : "waits until the driver answers again");
    }
}

void dv_reconcile_seen(struct dv_node *node, uint32_t gpu, bool fresh, const char *why)
{
    struct dv_gpu_change *c = change_of(node, gpu);
    c->asked = false;
    if (!is_active(c))
        return;
    if (!fresh) {
        unseen(node, gpu, why);
        return;
    }
    c->blind = false;
    c->looks = 0;
    if (c->failing) {
        char cause[sizeof c->detail];
        memcpy(cause, c->detail, sizeof cause);
        c->failing = false;
        turn_round(node, gpu, cause);
        return;
    }
    advance(node, gpu);
}

void dv_reconcile_tick(struct dv_node *node, uint64_t now)
{
    for (size_t i = 0; i < node->snapshot->n_gpus; i++) {
        uint32_t gpu = node->snapshot->gpus[i].index;
        struct dv_gpu_change *c = change_of(node, gpu);
        if (!is_active(c) && !c->asked && c->plan && !c->plan->n_blockers) {
            free(c->plan); /* done with; it is 50 KiB */
            c->plan = NULL;
        }
        if (!is_active(c) || c->asked || now < c->retry_ns)
            continue;
        c->retry_ns = 0;
        if (c->blind)
            look(node, gpu);
        else
            advance(node, gpu);
    }
}
