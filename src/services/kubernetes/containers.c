/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/containers.h"

#include "claims.h"
#include "render/verdict_text.h"
#include "sys/clock.h"
#include "sys/log.h"
#include "view.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CGROUPS_MAX 16384u

/* A container whose slices are not all there yet, or not all gone again. */
struct pending {
    struct dv_http_request *rq; /* NULL: answered; what is `fresh` goes */
    uint64_t ids[DV_CONTAINERS_GRANTS_MAX];
    bool fresh[DV_CONTAINERS_GRANTS_MAX]; /* made for this request */
    size_t n;
    uint64_t until_ns;
    struct pending *next;
};

struct dv_containers {
    dv_containers_resolve *resolve;
    void *arg;
    struct pending *pending;
    struct {
        uint64_t slice; /* 0: none */
        struct dv_workload workload;
    } former[DV_CONTAINERS_FORMER]; /* the last that have ended; a ring */
    size_t former_next;
};

int dv_containers_new(struct dv_containers **ret)
{
    *ret = calloc(1, sizeof **ret);
    return *ret ? 0 : -ENOMEM;
}

void dv_containers_free(struct dv_containers *c)
{
    for (struct pending *next, *p = c ? c->pending : NULL; p; p = next) {
        next = p->next;
        free(p); /* its request is the server's to end */
    }
    free(c);
}

void dv_containers_set_resolver(struct dv_node *node, dv_containers_resolve *resolve, void *arg)
{
    node->containers->resolve = resolve;
    node->containers->arg = arg;
}

/* ---- what is asked for ---- */

/* Each device is named by its UUID, with "::N" behind it where it is one of several alike. */
static int resolve_explicit(const struct dv_container_request *q, struct dv_container_grant *ret,
                            size_t *ret_n, struct dv_err *err)
{
    if (!q->explicit_mode)
        return dv_err_set(err, -EINVAL,
                          "nothing says what device %s of %s stands for; give the hook --mode",
                          q->devices[0], q->resource);
    if (q->n_devices > DV_CONTAINERS_GRANTS_MAX)
        return dv_err_set(err, -EINVAL, "a container can have at most %u slices",
                          DV_CONTAINERS_GRANTS_MAX);
    for (size_t i = 0; i < q->n_devices; i++) {
        struct dv_container_grant *g = &ret[i];
        struct dv_selector s;
        *g = (struct dv_container_grant){
            .mode = q->mode, .memory_bytes = q->memory_bytes, .compute = q->compute};
        memcpy(g->id, q->devices[i], sizeof g->id);
        const char *alike = strstr(g->id, "::");
        size_t n = alike ? (size_t)(alike - g->id) : strlen(g->id);
        if (n >= sizeof g->device)
            n = 0;
        memcpy(g->device, g->id, n);
        g->device[n] = 0;
        if (dv_claim_selector_parse(g->device, &s, err) < 0 || s.kind != DV_SELECTOR_UUID)
            return dv_err_set(err, -EINVAL, "device %s is not named by a UUID", g->id);
    }
    *ret_n = q->n_devices;
    return 0;
}

int dv_containers_grants(struct dv_node *node, const struct dv_container_request *q,
                         struct dv_container_grant *ret, size_t *ret_n, struct dv_err *err)
{
    struct dv_containers *c = node->containers;
    if (c->resolve && !q->explicit_mode)
        return c->resolve(c->arg, q, ret, ret_n, err);
    return resolve_explicit(q, ret, ret_n, err);
}

/* ---- answers ---- */

static void reply_granted(struct dv_node *node, struct dv_http_request *rq, const struct pending *p)
{
    struct dv_output *o = dv_output_new("Container");
    struct dv_output_node *root = dv_output_root(o);
    struct dv_output_node *list = NULL;
    for (size_t i = 0; i < p->n; i++) {
        const struct dv_holding *h = dv_node_holding(node, p->ids[i]);
        char id[32];
        if (!i) {
            dv_output_string(root, "container_id", h->workload->container_id);
            dv_output_string(root, "tenant", h->claim.tenant);
            list = dv_output_array(root, "slices");
        }
        snprintf(id, sizeof id, "s-%llu", (unsigned long long)p->ids[i]);
        dv_output_string(list, NULL, id);
    }
    dv_view_reply(rq, 200, o);
}

static void reply_failed(const struct dv_node *node, struct dv_http_request *rq, int r,
                         const char *message)
{
    if (r == -EAGAIN)
        dv_view_reply_unavailable(node, rq, message);
    else if (r == -EINVAL || r == -ERANGE || r == -ENOENT || r == -ESRCH)
        dv_view_reply_error(rq, 400, 2, "bad_request", message);
    else if (r == -ENOSPC)
        dv_view_reply_error(rq, 409, 1, "too_many", message);
    else
        dv_view_reply_error(rq, 500, 1, "failed", message);
}

/* What is in the way of the first that is not there. */
static void reply_late(struct dv_node *node, struct dv_http_request *rq, const struct pending *p)
{
    for (size_t i = 0; i < p->n; i++) {
        struct dv_holding *h = dv_node_holding(node, p->ids[i]);
        dv_cleanup(dv_str_done) struct dv_str text = {0};
        struct dv_verdict v;
        if (!h || h->state == DV_HOLDING_GRANTED)
            continue;
        dv_claims_verdict(node, h, &v);
        if (h->state == DV_HOLDING_QUEUED)
            dv_verdict_text_claim(&v, &text);
        else
            dv_str_add(&text, "the driver's walls of its slice are not up");
        dv_view_reply_error(rq, 409, 1, "timeout", dv_str_get(&text));
        return;
    }
    dv_view_reply_error(rq, 409, 1, "timeout", "its slices did not come in time");
}

/* ---- all or none ---- */

static bool all_granted(struct dv_node *node, const struct pending *p)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct dv_holding *h = dv_node_holding(node, p->ids[i]);
        if (!h || h->state != DV_HOLDING_GRANTED)
            return false;
    }
    return true;
}

static void undo(struct dv_node *node, const struct pending *p)
{
    for (size_t i = 0; i < p->n; i++) {
        struct dv_holding *h = p->fresh[i] ? dv_node_holding(node, p->ids[i]) : NULL;
        if (h)
            dv_claims_let_go(h);
    }
}

static bool concerns(const struct pending *p, const struct dv_holding *h)
{
    for (size_t i = 0; p->rq && i < p->n; i++)
        if (p->ids[i] == h->claim.id)
            return true;
    return false;
}

void dv_containers_changed(const struct dv_holding *h)
{
    struct dv_containers *c = h->node->containers;
    struct pending **link = c ? &c->pending : NULL;
    while (link && *link) {
        struct pending *p = *link;
        if (!concerns(p, h) || !all_granted(h->node, p)) {
            link = &p->next;
            continue;
        }
        reply_granted(h->node, p->rq, p);
        *link = p->next;
        free(p);
    }
}

const struct dv_workload *dv_containers_workload(const struct dv_node *node, uint64_t slice)
{
    const struct dv_containers *c = node->containers;
    for (const struct dv_holding *h = node->holdings; h; h = h->next)
        if (h->claim.id == slice)
            return h->workload;
    for (size_t i = 0; c && slice && i < DV_CONTAINERS_FORMER; i++)
        if (c->former[i].slice == slice)
            return &c->former[i].workload;
    return NULL;
}

static void remember(struct dv_containers *c, const struct dv_holding *h)
{
    if (!c || !h->workload)
        return;
    c->former[c->former_next].slice = h->claim.id;
    c->former[c->former_next].workload = *h->workload;
    c->former_next = (c->former_next + 1) % DV_CONTAINERS_FORMER;
}

/* The others go with the next tick: here one of them is just being taken apart. */
void dv_containers_ended(const struct dv_holding *h, const struct dv_verdict *verdict)
{
    remember(h->node->containers, h);
    for (struct pending *p = h->node->containers ? h->node->containers->pending : NULL; p;
         p = p->next) {
        if (!concerns(p, h))
            continue;
        if (verdict)
            dv_view_reply_refused(p->rq, verdict);
        else
            dv_view_reply_error(p->rq, 409, 1, "released", "the container has ended meanwhile");
        p->rq = NULL;
    }
}

void dv_containers_tick(struct dv_node *node, uint64_t now)
{
    struct pending **link = &node->containers->pending, *gone = NULL;
    while (*link) {
        struct pending *p = *link;
        if (p->rq && now < p->until_ns) {
            link = &p->next;
            continue;
        }
        if (p->rq)
            reply_late(node, p->rq, p);
        *link = p->next;
        p->next = gone;
        gone = p;
    }
    for (struct pending *p = gone; p; p = gone) {
        gone = p->next;
        undo(node, p);
        free(p);
    }
}

/* ---- asking ---- */

static struct dv_holding *find_same(struct dv_node *node, const struct dv_proc_id *owner,
                                    const char *container, const char *id)
{
    for (struct dv_holding *h = node->holdings; h; h = h->next)
        if (h->workload && h->state != DV_HOLDING_ENDING && h->owner.pid == owner->pid &&
            h->owner.start == owner->start && !strcmp(h->workload->container_id, container) &&
            !strcmp(h->workload->device, id))
            return h;
    return NULL;
}

/* A namespace of MPS has one door (actuate/mps.h), whose name is the unit's. */
static int check_door(struct dv_node *node, const struct dv_container_grant *g, struct dv_err *err)
{
    const struct dv_device *d = dv_snapshot_device(node->snapshot, g->device);
    const struct dv_gpu *gpu = d ? dv_snapshot_gpu(node->snapshot, d->gpu) : NULL;
    for (struct dv_holding *h = node->holdings; h; h = h->next)
        if (g->mode == DV_MODE_MPS && gpu && gpu->mps_namespaces && h->workload &&
            h->state != DV_HOLDING_ENDING && dv_proc_alive(&h->owner) &&
            !strcmp(h->workload->device, g->id))
            return dv_err_set(err, -EINVAL,
                              "container %.64s has %s already, which is one tenant's share of MPS; "
                              "make a CDI device for each container, with ids %s::0, %s::1, ...",
                              h->workload->container_id, g->id, g->device, g->device);
    return 0;
}

static int make_claim(struct dv_node *node, const struct dv_container_request *q,
                      const struct dv_container_grant *g, struct dv_claim *ret, struct dv_err *err)
{
    struct dv_claim c = {.id = node->next_id, /* the next, if it passes */
                         .mode = g->mode,
                         .memory_bytes = g->memory_bytes,
                         .compute = g->compute,
                         .tier = g->tier,
                         .wait = true};
    memcpy(c.tenant, q->tenant, sizeof c.tenant);
    int r = dv_claim_selector_parse(g->device, &c.gpu, err);
    if (r == 0)
        r = dv_claim_check(&c, err);
    if (r == 0)
        *ret = c;
    return r;
}

/* 0 with *ret, or with NULL and a verdict; negative errno. */
static int submit(struct dv_node *node, uid_t uid, const struct dv_container_request *q,
                  const struct dv_container_grant *g, const struct dv_proc_id *owner,
                  struct dv_holding **ret, struct dv_verdict *ret_verdict, struct dv_err *err)
{
    struct dv_workload w = q->workload;
    struct dv_claims_request request = {.owner = *owner, .uid = uid, .workload = &w};
    static char text[CGROUPS_MAX];
    memcpy(w.device, g->id, sizeof w.device);
    if (dv_proc_cgroup(owner->pid, text, sizeof text) < 0 ||
        dv_cgroup_of(text, w.container_id, w.cgroup) < 0)
        w.cgroup[0] = 0; /* told by descent alone */
    dv_workload_title(&w, request.command, sizeof request.command);
    int r = check_door(node, g, err);
    if (r == 0)
        r = make_claim(node, q, g, &request.claim, err);
    return r < 0 ? r : dv_claims_submit(node, &request, ret_verdict, ret, err);
}

/* Fills p; what has been made stays when it fails. */
static int submit_all(struct dv_node *node, uid_t uid, const struct dv_container_request *q,
                      struct pending *p, struct dv_verdict *ret_verdict, struct dv_err *err)
{
    static struct dv_container_grant grants[DV_CONTAINERS_GRANTS_MAX];
    struct dv_proc_id owner;
    size_t n = 0;
    int r = dv_proc_identify(q->pid, &owner);
    if (r < 0)
        return dv_err_set(err, -ESRCH,
                          "process %d of the container has ended, or is in a PID namespace that "
                          "divvyd does not see (it needs the host's)",
                          (int)q->pid);
    r = dv_containers_grants(node, q, grants, &n, err);
    for (size_t i = 0; r == 0 && i < n; i++) {
        struct dv_holding *h = find_same(node, &owner, q->workload.container_id, grants[i].id);
        p->fresh[p->n] = !h;
        if (!h)
            r = submit(node, uid, q, &grants[i], &owner, &h, ret_verdict, err);
        if (r < 0 || !h)
            return r;
        p->ids[p->n++] = h->claim.id;
    }
    return r;
}

/* Root's runtimes ask; where the daemon is an ordinary user's, that user's. */
static bool may_ask(const struct dv_node *node, uid_t uid)
{
    return uid == 0 || (!node->config.privileged && uid == geteuid());
}

/* Takes p. */
static void settle(struct dv_node *node, struct dv_http_request *rq, struct pending *p, int r,
                   const struct dv_verdict *verdict, const struct dv_err *err)
{
    if (r == 0 && verdict->result == DV_VERDICT_REFUSED)
        dv_view_reply_refused(rq, verdict);
    else if (r < 0)
        reply_failed(node, rq, r, err->msg);
    if (r < 0 || verdict->result == DV_VERDICT_REFUSED) {
        undo(node, p);
        free(p);
    } else if (all_granted(node, p)) {
        reply_granted(node, rq, p);
        free(p);
    } else {
        p->rq = rq;
        p->until_ns = dv_clock_now() + DV_CONTAINERS_WAIT_NS;
        p->next = node->containers->pending;
        node->containers->pending = p;
    }
}

void dv_containers_post(struct dv_node *node, struct dv_http_request *rq)
{
    dv_cleanup(dv_container_request_done) struct dv_container_request q = {{0}};
    struct dv_verdict verdict = {0};
    struct dv_err err = {0};
    if (!may_ask(node, rq->uid)) {
        dv_view_reply_error(rq, 403, 4, "not_permitted", "only root may give slices to containers");
        return;
    }
    int r = dv_container_request_parse(rq->body, rq->body_size, &q, &err);
    if (r < 0) {
        reply_failed(node, rq, r, err.msg);
        return;
    }
    struct pending *p = calloc(1, sizeof *p);
    if (!p) {
        reply_failed(node, rq, -ENOMEM, "out of memory");
        return;
    }
    r = submit_all(node, rq->uid, &q, p, &verdict, &err);
    settle(node, rq, p, r, &verdict, &err);
}
