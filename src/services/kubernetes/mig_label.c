/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/mig_label.h"

#include "kube/pod.h"
#include "layouts.h"
#include "model/workload.h"
#include "sys/fd.h"
#include "sys/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVICT_NS (5 * DV_NS_PER_S) /* between two tries to evict */
#define RETRY_NS (2 * DV_NS_PER_S)
#define CONFIG_SIZE 64

enum phase {
    IDLE,    /* the label asks for nothing new */
    TRYING,  /* to apply it: another change was in the way */
    PENDING, /* applied; GPUs are on their way */
};

struct dv_mig_label {
    struct dv_node *node;
    struct dv_node_object *object;
    const char *path;
    char wanted[CONFIG_SIZE]; /* of the label; "": none */
    enum phase phase;
    const char *state; /* told last */
    char problem[480]; /* why it could not be begun */
    uint64_t generation_seen, retry_ns, evict_ns;
    struct eviction *evictions;
};

/* One that is under way; its answer may come after the label has gone. */
struct eviction {
    struct dv_mig_label *owner;
    struct dv_workload pod;
    struct eviction *next;
};

static void tell(struct dv_mig_label *l, const char *state)
{
    l->state = state;
    dv_node_object_set_label(l->object, DV_MIG_LABEL_STATE, state);
}

static void fail(struct dv_mig_label *l, const char *why)
{
    char value[DV_LOG_VALUE];
    dv_log(DV_LOG_WARNING, "mig.failed", "config=%s detail=%s", l->wanted,
           dv_log_value(why, value));
    dv_node_object_event(l->object, true, "MigConfigFailed", "%s: %s", l->wanted, why);
    tell(l, "failed");
    l->phase = IDLE;
}

/* ---- apply ---- */

static int apply(struct dv_mig_label *l, struct dv_err *err)
{
    struct dv_layouts_request q = {.when = DV_LAYOUTS_WAIT};
    struct dv_layouts_plans *plans = calloc(1, sizeof *plans);
    int r = plans ? 0 : dv_err_set(err, -ENOMEM, "out of memory");
    snprintf(q.name, sizeof q.name, "%s", l->path);
    snprintf(q.config, sizeof q.config, "%s", l->wanted);
    if (r == 0)
        r = dv_fd_read_file(l->path, DV_LAYOUTFILE_MAX, &q.text, &q.len, err);
    if (r == 0)
        r = dv_layouts_apply(l->node, &q, plans, err);
    if (plans)
        dv_layouts_plans_done(plans);
    free(plans);
    free(q.text);
    return r;
}

static void try(struct dv_mig_label *l, uint64_t now)
{
    struct dv_err err = {{0}};
    int r = apply(l, &err);
    l->problem[0] = 0;
    if (r == DV_LAYOUTS_BUSY || r == -EAGAIN) {
        l->phase = TRYING;
        l->retry_ns = now + RETRY_NS;
        tell(l, "pending");
    } else if (r == DV_LAYOUTS_DONE || r == DV_LAYOUTS_UNDER_WAY) {
        dv_node_object_event(l->object, false, "MigConfigApplied", "%s", l->wanted);
        l->phase = PENDING;
        tell(l, "pending");
    } else {
        fail(l, err.msg);
        snprintf(l->problem, sizeof l->problem, "%s", err.msg);
    }
}

static void look_at_label(struct dv_mig_label *l, uint64_t now)
{
    uint64_t generation = dv_node_object_generation(l->object);
    if (generation == l->generation_seen)
        return;
    l->generation_seen = generation;
    const char *label = dv_node_object_label(l->object, DV_MIG_LABEL);
    char wanted[CONFIG_SIZE] = "";
    if (label)
        snprintf(wanted, sizeof wanted, "%s", label);
    if (!strcmp(wanted, l->wanted))
        return;
    memcpy(l->wanted, wanted, sizeof wanted);
    l->problem[0] = 0;
    if (wanted[0])
        try(l, now);
    else
        l->phase = IDLE; /* what is there stays, as with NVIDIA's */
}

/* ---- those in the way ---- */

static void on_evicted(void *arg, enum dv_kube_evicted result, uint32_t retry_after_s,
                       const struct dv_kube_reply *reply)
{
    struct eviction *e = arg;
    struct dv_mig_label *l = e->owner;
    if (l && result == DV_KUBE_EVICT_BLOCKED)
        dv_node_object_event(l->object, true, "MigConfigBlocked",
                             "%s waits for pod %s/%s: a PodDisruptionBudget keeps it", l->wanted,
                             e->pod.namespace, e->pod.pod);
    if (l && result == DV_KUBE_EVICT_FAILED)
        dv_node_object_event(l->object, true, "MigConfigBlocked",
                             "%s waits for pod %s/%s, which cannot be evicted: %s", l->wanted,
                             e->pod.namespace, e->pod.pod, reply->message);
    if (l && result == DV_KUBE_EVICTED)
        dv_node_object_pod_event(l->object, e->pod.namespace, e->pod.pod, e->pod.pod_uid, false,
                                 "EvictedForMig", "its GPU becomes %s", l->wanted);
    for (struct eviction **at = l ? &l->evictions : NULL; at && *at; at = &(*at)->next) {
        if (*at == e) {
            *at = e->next;
            break;
        }
    }
    free(e);
}

static bool is_under_way(const struct dv_mig_label *l, const struct dv_workload *w)
{
    for (const struct eviction *e = l->evictions; e; e = e->next)
        if (!strcmp(e->pod.pod_uid, w->pod_uid))
            return true;
    return false;
}

static void evict(struct dv_mig_label *l, const struct dv_workload *w)
{
    struct eviction *e = is_under_way(l, w) ? NULL : calloc(1, sizeof *e);
    if (!e)
        return;
    e->owner = l;
    e->pod = *w;
    if (dv_kube_pod_evict(dv_node_object_client(l->object), w->namespace, w->pod, w->pod_uid,
                          on_evicted, e) < 0) {
        free(e);
        return;
    }
    e->next = l->evictions;
    l->evictions = e;
}

static void look_at_blockers(struct dv_mig_label *l, uint64_t now)
{
    const char *told = dv_node_object_annotation(l->object, DV_MIG_EVICT);
    if (!told || strcmp(told, "true") != 0 || now < l->evict_ns)
        return;
    l->evict_ns = now + EVICT_NS;
    for (uint32_t g = 0; g < DV_FACTS_GPUS_MAX; g++) {
        const struct dv_gpu_change *c = &l->node->layouts->gpu[g];
        for (uint32_t i = 0; c->state == DV_CHANGE_DRAINING && c->plan && i < c->plan->n_blockers;
             i++) {
            const struct dv_holding *h = dv_node_holding(l->node, c->plan->blockers[i].slice);
            if (h && h->workload && h->workload->pod[0])
                evict(l, h->workload);
        }
    }
}

/* ---- how it ends ---- */

static void look_at_gpus(struct dv_mig_label *l)
{
    dv_cleanup(dv_str_done) struct dv_str why = {0};
    enum dv_change_state state = dv_layouts_state(l->node);
    if (state == DV_CHANGE_SETTLED) {
        dv_log(DV_LOG_INFO, "mig.done", "config=%s", l->wanted);
        dv_node_object_event(l->object, false, "MigConfigDone", "%s", l->wanted);
        tell(l, "success");
        l->phase = IDLE;
    } else if (state == DV_CHANGE_FAILED) {
        for (uint32_t g = 0; g < DV_FACTS_GPUS_MAX; g++)
            if (l->node->layouts->gpu[g].state == DV_CHANGE_FAILED)
                dv_str_addf(&why, "%sGPU %u: %s", why.len ? "; " : "", g,
                            l->node->layouts->gpu[g].detail);
        fail(l, dv_str_get(&why));
    }
}

void dv_mig_label_tick(struct dv_mig_label *l, uint64_t now)
{
    if (!l->node->ready || !l->node->layouts->restored)
        return;
    look_at_label(l, now);
    if (l->phase == TRYING && now >= l->retry_ns)
        try(l, now);
    if (l->phase != PENDING)
        return;
    look_at_blockers(l, now);
    look_at_gpus(l);
}

/* ---- life ---- */

int dv_mig_label_new(struct dv_node *node, struct dv_node_object *object, const char *path,
                     struct dv_mig_label **ret)
{
    struct dv_mig_label *l = calloc(1, sizeof *l);
    if (!l)
        return -ENOMEM;
    l->node = node;
    l->object = object;
    l->path = path;
    *ret = l;
    return 0;
}

void dv_mig_label_free(struct dv_mig_label *l)
{
    if (!l)
        return;
    for (struct eviction *e = l->evictions; e; e = e->next)
        e->owner = NULL;
    free(l);
}

const char *dv_mig_label_config(const struct dv_mig_label *l)
{
    return l->wanted;
}

const char *dv_mig_label_state(const struct dv_mig_label *l)
{
    return l->state ? l->state : "";
}

const char *dv_mig_label_problem(const struct dv_mig_label *l)
{
    return l->problem;
}
