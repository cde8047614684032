/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/mig_label.h"

#include "kube/pod.h"
#include "kubernetes/kubernetes.h"
#include "layouts.h"
#include "model/workload.h"
#include "sys/clock.h"
#include "sys/fd.h"
#include "sys/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCKERS_NS (5 * DV_NS_PER_S) /* between two looks at who is in the way */
#define RETRY_NS (2 * DV_NS_PER_S)
#define EVICTED_NS (60 * DV_NS_PER_S) /* a pod that was evicted has so long to end */
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
    const char *usual;        /* what nodes without the label have; "": what they have */
    char asked[CONFIG_SIZE];  /* by the label; "": nothing */
    char wanted[CONFIG_SIZE]; /* what the phase is about */
    enum phase phase;
    uint64_t generation_seen, retry_ns, look_ns;
    const char *state; /* what the label about it should say; NULL: as it is */
    uint64_t state_ns; /* when that was written last */
    uint32_t state_tries;
    char problem[480]; /* why it could not be begun */
    char told[400];    /* who is in the way, as the last event said */
    struct eviction *evictions;
};

/* One that is under way, or has been answered a while ago. */
struct eviction {
    struct dv_mig_label *owner;
    struct dv_workload pod;
    uint64_t until_ns; /* not asked for again before; 0: it is under way */
    struct eviction *next;
};

static void tell(struct dv_mig_label *l, const char *state)
{
    bool again = state && l->state && !strcmp(state, l->state);
    l->state_tries = again ? l->state_tries + 1 : 0;
    l->state = state;
    l->state_ns = dv_clock_now();
    dv_node_object_set_label(l->object, DV_MIG_LABEL_STATE, state);
}

/* A write may be lost, or come between what is written and what is known of it. */
static void tell_again(struct dv_mig_label *l, uint64_t now)
{
    const char *there = dv_node_object_label(l->object, DV_MIG_LABEL_STATE);
    uint64_t rest = RETRY_NS << DV_MIN(l->state_tries, 5u); /* a server may be away for hours */
    if (l->state && there && !strcmp(there, l->state))
        l->state_tries = 0;
    if (l->state && now >= l->state_ns + rest && (!there || strcmp(there, l->state) != 0))
        tell(l, l->state);
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
    l->told[0] = 0;
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
    char asked[CONFIG_SIZE];
    snprintf(asked, sizeof asked, "%s", label && *label ? label : l->usual);
    if (!strcmp(asked, l->asked))
        return;
    memcpy(l->asked, asked, sizeof asked);
    l->problem[0] = 0;
    if (asked[0]) {
        memcpy(l->wanted, asked, sizeof asked);
        try(l, now);
    } else if (l->phase == TRYING) { /* what is there stays, what is under way goes on */
        tell(l, NULL);
        l->phase = IDLE;
    }
}

/* ---- those in the way ---- */

static void on_evicted(void *arg, enum dv_kube_evicted result, uint32_t retry_after_s,
                       const struct dv_kube_reply *reply)
{
    struct eviction *e = arg;
    struct dv_mig_label *l = e->owner;
    if (result == DV_KUBE_EVICT_BLOCKED)
        dv_node_object_event(l->object, true, "MigConfigBlocked",
                             "%s waits for pod %s/%s: a PodDisruptionBudget keeps it", l->wanted,
                             e->pod.namespace, e->pod.pod);
    if (result == DV_KUBE_EVICT_FAILED)
        dv_node_object_event(l->object, true, "MigConfigBlocked",
                             "%s waits for pod %s/%s, which cannot be evicted: %s", l->wanted,
                             e->pod.namespace, e->pod.pod, reply->message);
    if (result == DV_KUBE_EVICTED)
        dv_node_object_pod_event(l->object, e->pod.namespace, e->pod.pod, e->pod.pod_uid, false,
                                 "EvictedForMig", "its GPU becomes %s", l->wanted);
    uint64_t rest = result == DV_KUBE_EVICTED ? EVICTED_NS : retry_after_s * DV_NS_PER_S;
    e->until_ns = dv_clock_now() + DV_MAX(rest, 1);
}

static void forget_evictions(struct dv_mig_label *l, uint64_t now)
{
    struct eviction **at = &l->evictions;
    while (*at) {
        struct eviction *e = *at;
        if (!e->until_ns || now < e->until_ns) {
            at = &e->next;
            continue;
        }
        *at = e->next;
        free(e);
    }
}

static bool is_asked_for(const struct dv_mig_label *l, const struct dv_workload *w)
{
    for (const struct eviction *e = l->evictions; e; e = e->next)
        if (!strcmp(e->pod.pod_uid, w->pod_uid))
            return true;
    return false;
}

static void evict(struct dv_mig_label *l, const struct dv_workload *w)
{
    struct eviction *e = is_asked_for(l, w) ? NULL : calloc(1, sizeof *e);
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

/* Pods that have a device by the kubelet's account alone. */
static void look_at_pods(struct dv_mig_label *l, uint32_t gpu, bool told_to, struct dv_str *text)
{
    const struct dv_gpu_plan *plan = l->node->layouts->gpu[gpu].plan;
    struct dv_workload pod, last = {{0}};
    size_t at = 0;
    while (dv_kubernetes_hold(l->node->kubernetes, gpu, plan, &at, &pod)) {
        if (!strcmp(pod.namespace, last.namespace) && !strcmp(pod.pod, last.pod))
            continue;
        last = pod;
        dv_str_addf(text, "%spod %s/%s (GPU %u)", text->len ? ", " : "", pod.namespace, pod.pod,
                    gpu);
        if (told_to && pod.pod_uid[0])
            evict(l, &pod);
    }
}

static void name_blocker(struct dv_str *text, uint32_t gpu, const struct dv_holding *h)
{
    dv_str_addf(text, "%s", text->len ? ", " : "");
    if (h->workload && h->workload->pod[0])
        dv_str_addf(text, "pod %s/%s", h->workload->namespace, h->workload->pod);
    else
        dv_str_addf(text, "slice s-%llu of %s", (unsigned long long)h->claim.id, h->claim.tenant);
    dv_str_addf(text, " (GPU %u)", gpu);
}

static void tell_blockers(struct dv_mig_label *l, const char *blockers, bool evict)
{
    char told[sizeof l->told];
    snprintf(told, sizeof told, "%s", blockers);
    if (!strcmp(told, l->told))
        return;
    memcpy(l->told, told, sizeof told);
    if (told[0])
        dv_node_object_event(
            l->object, false, "MigConfigWaits", "%s waits for %s%s", l->wanted, told,
            evict ? ""
                  : "; the node's annotation " DV_MIG_EVICT "=true has pods in the way evicted");
}

/* Whom the changes wait for is told, and evicted where the node's annotation says so. */
static void look_at_blockers(struct dv_mig_label *l, uint64_t now)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    const char *value = dv_node_object_annotation(l->object, DV_MIG_EVICT);
    bool told_to = value && !strcmp(value, "true");
    if (now < l->look_ns)
        return;
    l->look_ns = now + BLOCKERS_NS;
    forget_evictions(l, now);
    for (uint32_t g = 0; g < DV_FACTS_GPUS_MAX; g++) {
        const struct dv_gpu_change *c = &l->node->layouts->gpu[g];
        for (uint32_t i = 0; c->state == DV_CHANGE_DRAINING && c->plan && i < c->plan->n_blockers;
             i++) {
            const struct dv_holding *h = dv_node_holding(l->node, c->plan->blockers[i].slice);
            if (!h)
                continue;
            name_blocker(&text, g, h);
            if (told_to && h->workload && h->workload->pod[0])
                evict(l, h->workload);
        }
        if (c->state == DV_CHANGE_DRAINING && c->plan && !c->plan->n_blockers)
            look_at_pods(l, g, told_to, &text);
    }
    tell_blockers(l, dv_str_get(&text), told_to);
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
    tell_again(l, now);
    if (l->phase != PENDING)
        return;
    look_at_blockers(l, now);
    look_at_gpus(l);
}

/* ---- life ---- */

int dv_mig_label_new(struct dv_node *node, struct dv_node_object *object, const char *path,
                     const char *usual, struct dv_mig_label **ret)
{
    struct dv_mig_label *l = calloc(1, sizeof *l);
    if (!l)
        return -ENOMEM;
    l->node = node;
    l->object = object;
    l->path = path;
    l->usual = usual ? usual : "";
    *ret = l;
    return 0;
}

void dv_mig_label_free(struct dv_mig_label *l)
{
    if (!l)
        return;
    for (struct eviction *e = l->evictions, *next; e; e = next) {
        next = e->next;
        free(e); /* no answer comes any more */
    }
    free(l);
}

const char *dv_mig_label_config(const struct dv_mig_label *l)
{
    return l->asked;
}

const char *dv_mig_label_state(const struct dv_mig_label *l)
{
    return l->state ? l->state : "";
}

const char *dv_mig_label_problem(const struct dv_mig_label *l)
{
    return l->problem;
}
