/* SPDX-License-Identifier: Apache-2.0 */
#include "mps.h"

#include "actuate/mps.h"
#include "arm.h"
#include "claims.h"
#include "inventory.h"
#include "layouts.h"
#include "policy/queue.h"
#include "policy/xid.h"
#include "sys/clock.h"
#include "sys/log.h"
#include "tenants.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATUS_NS DV_NS_PER_S
#define BACKOFF_MAX_S 60u
#define HANGS_MAX 2u
#define XID_LOOKS 3u
#define RECENT_NS (3 * DV_NS_PER_S)
#define XID_LATE_NS (3 * DV_NS_PER_S) /* it is of the fault that is known already */
#define PROBE_AGAIN_NS (5 * DV_NS_PER_S)

int dv_mps_new(struct dv_mps **ret)
{
    *ret = calloc(1, sizeof **ret);
    return *ret ? 0 : -ENOMEM;
}

void dv_mps_free(struct dv_mps *mps)
{
    free(mps);
}

static struct dv_mps_daemon *find(const struct dv_node *node, const char *device)
{
    for (uint32_t i = 0; i < node->mps->n; i++)
        if (!strcmp(node->mps->daemons[i].spec.device, device))
            return &node->mps->daemons[i];
    return NULL;
}

const struct dv_mps_daemon *dv_mps_find(const struct dv_node *node, const char *device)
{
    return find(node, device);
}

bool dv_mps_is_up(const struct dv_node *node, const char *device)
{
    const struct dv_mps_daemon *m = find(node, device);
    return m && m->state == DV_MPS_UP && !m->faulty;
}

bool dv_mps_is_ours(const struct dv_node *node, const struct dv_proc_id *id)
{
    struct dv_proc_id self;
    if (dv_proc_identify(getpid(), &self) == 0 && dv_proc_is_within(id->pid, &self, NULL))
        return true; /* the probe */
    for (uint32_t i = 0; i < node->mps->n; i++) {
        const struct dv_mps_status *s = &node->mps->daemons[i].status;
        struct dv_proc_id control;
        if (s->control_pid == id->pid || s->server_pid == id->pid)
            return true;
        for (uint32_t k = 0; k < DV_MPS_FORMER_MAX; k++)
            if (node->mps->daemons[i].former[k].id.pid == id->pid)
                return true;
        if (s->control_pid > 0 && dv_proc_identify(s->control_pid, &control) == 0 &&
            dv_proc_is_within(id->pid, &control, NULL))
            return true;
    }
    return false;
}

/* ---- what is wanted ---- */

/* By the layout, by who is there, or by a claim that waits for nothing but the daemon. */
static bool is_wanted(const struct dv_node *node, const struct dv_device *d)
{
    struct dv_held held = dv_snapshot_held(node->snapshot, d->uuid);
    return d->layout == DV_MODE_MPS || (held.first && held.first->mode == DV_MODE_MPS) ||
           node->mps->awaited[d - node->snapshot->devices];
}

/* Equal parts where the layout says how many; else no default: the tenants' own limits count. */
static void set_limits(const struct dv_node *node, const struct dv_device *d, bool namespaces,
                       struct dv_mps_spec *spec)
{
    spec->memory_bytes = d->replicas ? d->memory_bytes / d->replicas / DV_MIB * DV_MIB : 0;
    spec->threads_percent = d->replicas ? DV_MAX(100 / d->replicas, 1) : 0;
    spec->namespaces = namespaces;
    /* Only a layout changes the compute mode of a card; MIG devices have none. */
    spec->alone = d->layout == DV_MODE_MPS && !d->mig && node->config.privileged;
}

static void name_of(const struct dv_device *d, char ret[DV_MPS_NAME_SIZE])
{
    if (d->mig)
        snprintf(ret, DV_MPS_NAME_SIZE, "g%ui%uc%u", d->gpu, d->gi, d->ci);
    else
        snprintf(ret, DV_MPS_NAME_SIZE, "g%u", d->gpu);
}

void dv_mps_name(const struct dv_node *node, const struct dv_device *d, struct dv_mps_spec *ret)
{
    const struct dv_gpu *gpu = dv_snapshot_gpu(node->snapshot, d->gpu);
    *ret = (struct dv_mps_spec){.namespaces = gpu && gpu->mps_namespaces};
    memcpy(ret->device, d->uuid, sizeof ret->device);
    name_of(d, ret->name);
}

static struct dv_mps_daemon *make(struct dv_node *node, const struct dv_device *d)
{
    struct dv_mps *mps = node->mps;
    if (mps->n == DV_MPS_DAEMONS_MAX)
        return NULL;
    struct dv_mps_daemon *m = &mps->daemons[mps->n++];
    *m = (struct dv_mps_daemon){.state = DV_MPS_DOWN};
    memcpy(m->spec.device, d->uuid, sizeof m->spec.device);
    name_of(d, m->spec.name);
    return m;
}

/* ---- asking ---- */

struct asked {
    struct dv_node *node;
    char device[DV_UUID_SIZE];
    enum dv_mps_op op;
};

static void on_reply(void *arg, const struct dv_worker_reply *reply, int error);

static void ask(struct dv_node *node, struct dv_mps_daemon *m, enum dv_mps_op op)
{
    struct dv_worker_request q = {.op = DV_WORKER_MPS, .change.mps = {.op = op, .spec = m->spec}};
    struct asked *asked = malloc(sizeof *asked);
    if (!asked)
        return;
    asked->node = node;
    asked->op = op;
    memcpy(asked->device, m->spec.device, sizeof asked->device);
    m->asked = true; /* the answer may come at once, from a worker that has died */
    if (dv_hardware_link_ask(node->mps_link, &q, on_reply, asked) == 0)
        return;
    m->asked = false;
    free(asked);
}

/* Tells the snapshot whether the device takes claims. */
static void tell(struct dv_node *node, const struct dv_mps_daemon *m)
{
    const struct dv_device *d = dv_snapshot_device(node->snapshot, m->spec.device);
    if (!d || d->mps_up == dv_mps_is_up(node, m->spec.device))
        return;
    struct dv_event e = {.kind = DV_EVENT_DEVICE_SEEN, .device = *d};
    dv_reconcile_assign(node, &e.device);
    dv_node_apply(node, &e);
    dv_claims_pump(node);
}

/* ---- who is there ---- */

static const struct dv_mps_client *client_of(const struct dv_mps_server *server, int32_t pid)
{
    for (uint32_t i = 0; i < server->n_clients; i++)
        if (server->clients[i].pid == pid)
            return &server->clients[i];
    return NULL;
}

static bool is_listed(const struct dv_mps_status *s, int32_t pid)
{
    for (uint32_t i = 0; s && i < DV_MIN(s->n_clients, DV_MPS_CLIENTS_MAX); i++)
        if (s->clients[i] == pid)
            return true;
    return false;
}

static struct dv_mps_client make_client(struct dv_node *node, int32_t pid)
{
    struct dv_mps_client c = {.pid = pid};
    struct dv_proc_id id;
    struct dv_holding *h = dv_proc_identify(pid, &id) < 0 ? NULL : dv_tenants_find(node, &id, NULL);
    c.start = h ? id.start : 0;
    if (h) {
        c.slice = h->claim.id;
        memcpy(c.tenant, h->claim.tenant, sizeof c.tenant);
    }
    return c;
}

static void remember(struct dv_node *node, struct dv_mps_daemon *m, const struct dv_mps_status *s)
{
    struct dv_mps_server now = {0};
    if (s->server_pid <= 0 || dv_proc_identify(s->server_pid, &now.id) < 0)
        now.id = (struct dv_proc_id){0};
    for (uint32_t i = 0; i < DV_MIN(s->n_clients, DV_MPS_CLIENTS_MAX); i++) {
        const struct dv_mps_client *old = client_of(&m->server, s->clients[i]);
        /* Whose it is may not have been known at the last look. */
        now.clients[now.n_clients++] = old && old->slice ? *old : make_client(node, s->clients[i]);
    }
    m->server = now;
}

/* ---- what went wrong ---- */

/* Each slice once, by whichever of its processes. */
static void add_victim(struct dv_mps_daemon *m, const struct dv_mps_client *c)
{
    for (uint32_t i = 0; i < m->n_victims; i++) {
        struct dv_mps_client *v = &m->victims[i];
        if (v->pid != c->pid && (!c->slice || v->slice != c->slice))
            continue;
        if (!v->slice)
            *v = *c; /* only now it is known whose it was */
        return;
    }
    if (m->n_victims < DV_MPS_CLIENTS_MAX)
        m->victims[m->n_victims++] = *c;
}

/* The clients of the server, as of the last look; and who has come since then, unless `now` has
 * them: they are well. */
static void find_victims(struct dv_node *node, struct dv_mps_daemon *m,
                         const struct dv_mps_server *server, const struct dv_mps_status *now)
{
    m->n_victims = 0;
    for (uint32_t i = 0; i < server->n_clients; i++)
        if (!is_listed(now, server->clients[i].pid))
            add_victim(m, &server->clients[i]);
    for (const struct dv_member *p = node->members; p && server == &m->server; p = p->next) {
        if (!p->holding || !p->ready || p->since_ns < m->looked_ns ||
            strcmp(p->holding->device_uuid, m->spec.device) != 0 || is_listed(now, p->id.pid))
            continue;
        struct dv_mps_client c = make_client(node, p->id.pid);
        add_victim(m, &c);
    }
}

static void add_victims(const struct dv_mps_daemon *m, struct dv_str *text)
{
    for (uint32_t i = 0; i < m->n_victims; i++) {
        const struct dv_mps_client *c = &m->victims[i];
        dv_str_add(text, i ? ", " : "");
        if (c->slice)
            dv_str_addf(text, "s-%llu of %s", (unsigned long long)c->slice, c->tenant);
        else
            dv_str_addf(text, "process %d of nobody's slice", (int)c->pid);
    }
    if (!m->n_victims)
        dv_str_add(text, "nobody");
}

static void incident(struct dv_mps_daemon *m, const char *what)
{
    dv_cleanup(dv_str_done) struct dv_str victims = {0};
    char value[DV_LOG_VALUE];
    add_victims(m, &victims);
    m->fault_ns = dv_clock_now();
    m->fault_unix = dv_clock_unix();
    m->fault_cause_len = (uint32_t)strlen(what);
    snprintf(m->fault, sizeof m->fault, "%s; it took down %.300s", what, dv_str_get(&victims));
    dv_log(DV_LOG_ERROR, "mps.fault", "device=%s detail=%s", m->spec.device,
           dv_log_value(m->fault, value));
}

/* Clients that are not there any more: for a while they may have been a fault's victims, of which
 * the driver's event is still to come. */
static void forget_gone(struct dv_mps_daemon *m)
{
    if (dv_clock_now() - m->gone_ns > RECENT_NS)
        m->gone.n_clients = 0;
}

static void add_gone(struct dv_mps_daemon *m, const struct dv_mps_client *c)
{
    forget_gone(m);
    const struct dv_mps_client *known = client_of(&m->gone, c->pid);
    if (m->gone.n_clients == DV_MPS_CLIENTS_MAX || (known && known->start == c->start))
        return;
    m->gone.clients[m->gone.n_clients++] = *c;
    m->gone_ns = dv_clock_now();
}

static void note_gone(struct dv_mps_daemon *m, const struct dv_mps_status *s)
{
    forget_gone(m);
    for (uint32_t i = 0; i < m->server.n_clients; i++)
        if (!is_listed(s, m->server.clients[i].pid))
            add_gone(m, &m->server.clients[i]);
}

void dv_mps_left(const struct dv_member *member)
{
    const struct dv_holding *h = member->holding;
    struct dv_mps_daemon *m = h->claim.mode == DV_MODE_MPS ? find(h->node, h->device_uuid) : NULL;
    if (!m)
        return;
    struct dv_mps_client c = {
        .pid = member->id.pid, .start = member->id.start, .slice = h->claim.id};
    memcpy(c.tenant, h->claim.tenant, sizeof c.tenant);
    add_gone(m, &c);
}

/* in_fault: all that are there have had it. */
static void fault(struct dv_node *node, struct dv_mps_daemon *m, bool in_fault)
{
    char xid[48] = "", what[160];
    m->n_victims = 0;
    if (in_fault)
        find_victims(node, m, &m->server, NULL);
    for (uint32_t i = 0; i < m->gone.n_clients; i++)
        add_victim(m, &m->gone.clients[i]);
    if (m->xid)
        snprintf(xid, sizeof xid, " (XID %llu)", (unsigned long long)m->xid);
    snprintf(what, sizeof what, "%s had a fatal fault%s%s",
             m->n_victims == 1 ? "the only client of the MPS server" : "a client of the MPS server",
             xid, m->n_victims > 1 ? ", which of them the driver does not say" : "");
    incident(m, what);
    m->gone.n_clients = 0;
    m->xid_looks = 0;
    m->xid = 0;
}

/* Its server lives on where it has clients. */
static void part_with_server(struct dv_mps_daemon *m)
{
    if (m->server.id.pid && dv_proc_alive(&m->server.id) && m->server.n_clients) {
        uint32_t at = dv_proc_alive(&m->former[0].id) ? DV_MPS_FORMER_MAX - 1 : 0;
        m->former[at] = m->server;
    }
    m->server = (struct dv_mps_server){0};
}

static void lose_daemon(struct dv_node *node, struct dv_mps_daemon *m, const char *what)
{
    m->n_victims = 0;
    if (m->server.id.pid && !dv_proc_alive(&m->server.id))
        find_victims(node, m, &m->server, NULL);
    incident(m, what);
    part_with_server(m);
    m->restarts++;
    m->hangs = 0;
    m->faulty = m->was_fault = false;
    m->status = (struct dv_mps_status){0};
    m->state = DV_MPS_DOWN;
    m->left = true;
    m->next_ns = 0;
    tell(node, m);
}

/* A server of before ends by itself when its clients have left; if one is still there, it was
 * ended. */
static void look_at_former(struct dv_mps_daemon *m)
{
    for (uint32_t k = 0; k < DV_MPS_FORMER_MAX; k++) {
        struct dv_mps_server *f = &m->former[k];
        if (!f->id.pid || dv_proc_alive(&f->id))
            continue;
        m->n_victims = 0;
        for (uint32_t i = 0; i < f->n_clients; i++) {
            struct dv_proc_id id;
            if (dv_proc_identify(f->clients[i].pid, &id) == 0)
                add_victim(m, &f->clients[i]);
        }
        if (m->n_victims)
            incident(m, "the server of an MPS daemon of before has ended");
        *f = (struct dv_mps_server){0};
    }
}

static void failed(struct dv_node *node, struct dv_mps_daemon *m, const char *why, bool hopeless)
{
    char value[DV_LOG_VALUE];
    if (!m->problem[0] || strcmp(m->problem, why) != 0)
        dv_log(DV_LOG_ERROR, "mps.failed", "device=%s detail=%s", m->spec.device,
               dv_log_value(why, value));
    snprintf(m->problem, sizeof m->problem, "%s", why);
    m->failures = hopeless ? DV_MAX(m->failures + 1, DV_MPS_FAILURES_MAX) : m->failures + 1;
    m->next_ns = dv_clock_now() +
                 DV_MIN(UINT64_C(1) << DV_MIN(m->failures, 6u), BACKOFF_MAX_S) * DV_NS_PER_S;
    tell(node, m);
}

/* ---- looks ---- */

static void hangs(struct dv_node *node, struct dv_mps_daemon *m)
{
    m->next_ns = 0;
    if (++m->hangs >= HANGS_MAX)
        lose_daemon(node, m, "the MPS control daemon did not answer and was ended");
}

/* Of the server that was there at the last look. */
static bool server_is_lost(const struct dv_mps_daemon *m, const struct dv_mps_status *s)
{
    return m->server.id.pid && m->server.n_clients && s->server_pid != m->server.id.pid &&
           !dv_proc_alive(&m->server.id);
}

static void look_for_trouble(struct dv_node *node, struct dv_mps_daemon *m,
                             const struct dv_mps_status *s)
{
    bool in_fault = s->server_state == DV_MPS_SERVER_FAULT;
    if (in_fault && !m->was_fault) {
        remember(node, m, s);
        fault(node, m, true);
        m->faulty = true;
    } else if (!m->was_fault && server_is_lost(m, s)) {
        find_victims(node, m, &m->server, s);
        incident(m, "the MPS server has ended");
        m->faulty = true;
        m->gone.n_clients = 0;
        m->probe_wanted = true;
    } else if (!m->was_fault && m->xid_looks && m->gone.n_clients) {
        fault(node, m, false);
        m->faulty = m->probe_wanted = true;
    } else if (m->xid_looks && --m->xid_looks == 0) {
        m->xid = 0;
    }
    if (m->was_fault && !in_fault)
        m->probe_wanted = true;
}

/* In exclusive-process mode a server of before, or what is left of the contexts of those who were
 * taken down, keeps the new server out of the card. */
static bool any_lingers(const struct dv_mps_daemon *m)
{
    for (uint32_t k = 0; k < DV_MPS_FORMER_MAX; k++)
        if (m->former[k].id.pid)
            return true;
    for (uint32_t i = 0; i < m->n_victims; i++) {
        const struct dv_mps_client *c = &m->victims[i];
        if (c->start && dv_proc_alive(&(struct dv_proc_id){c->pid, c->start}))
            return true;
    }
    return false;
}

static void looked_at(struct dv_node *node, struct dv_mps_daemon *m, const struct dv_mps_status *s)
{
    bool renew = m->was_fault && s->server_state == DV_MPS_SERVER_FAULT;
    if (s->hangs) {
        hangs(node, m);
        return;
    }
    if (!s->up) {
        lose_daemon(node, m, "the MPS control daemon has ended");
        return;
    }
    m->hangs = 0;
    note_gone(m, s);
    look_for_trouble(node, m, s);
    remember(node, m, s);
    m->was_fault = s->server_state == DV_MPS_SERVER_FAULT;
    m->status = *s;
    m->looked_ns = dv_clock_now();
    if (m->server.n_clients > m->most_clients) { /* does it take one more? */
        m->most_clients = m->server.n_clients;
        m->probe_wanted = true;
    }
    tell(node, m);
    if (m->spec.alone && any_lingers(m)) {
        m->spec.alone = false;
        m->limits_due = true;
    }
    if (!m->faulty && !m->limits_due) { /* what was wrong, if anything, is over */
        m->problem[0] = 0;
        m->failures = 0;
    }
    if (renew)
        ask(node, m, DV_MPS_RENEW);
    else if (m->limits_due && !m->problem[0] && !m->asked)
        ask(node, m, DV_MPS_LIMIT);
    else if (m->probe_wanted && !m->was_fault && m->state == DV_MPS_UP && !m->asked)
        ask(node, m, DV_MPS_PROBE);
    else if (m->limits_due && !m->asked) /* which it did not take the last time */
        ask(node, m, DV_MPS_LIMIT);
}

/* ---- answers ---- */

/* The driver tells its limit by refusing. */
static void learn_limit(struct dv_node *node, const struct dv_mps_daemon *m, uint32_t clients)
{
    const struct dv_device *d = dv_snapshot_device(node->snapshot, m->spec.device);
    if (!d || !clients || d->gpu >= DV_FACTS_GPUS_MAX)
        return;
    /* Of the whole GPU, so that this device's part of it is what was seen. */
    uint32_t whole = (clients * DV_COMPUTE_FULL + d->compute - 1) / d->compute;
    if (node->gpus[d->gpu].mps_clients == whole)
        return;
    node->gpus[d->gpu].mps_clients = whole;
    node->inventory_ns = 0;
    dv_log(DV_LOG_INFO, "mps.limit", "device=%s clients=%u", m->spec.device, clients);
}

static void probed(struct dv_node *node, struct dv_mps_daemon *m, const struct dv_mps_status *s)
{
    bool came_up = m->state != DV_MPS_UP || m->faulty;
    learn_limit(node, m, s->clients_max);
    m->state = DV_MPS_UP;
    m->failures = 0;
    m->faulty = m->probe_wanted = m->left = false;
    m->problem[0] = 0;
    m->next_ns = dv_clock_now() + STATUS_NS;
    if (came_up) {
        dv_log(DV_LOG_INFO, "mps.up", "device=%s pid=%d", m->spec.device, (int)s->control_pid);
        dv_arm_device(node, m->spec.device); /* it may be a new one, without their namespaces */
    }
    looked_at(node, m, s);
}

/* `status`: of the answer; -ETIMEDOUT where there is none. */
static void not_done(struct dv_node *node, struct dv_mps_daemon *m, enum dv_mps_op op, int status,
                     const char *why)
{
    bool hopeless = status == DV_ACTUATE_NOT_SUPPORTED || status == -ENAMETOOLONG ||
                    status == DV_ACTUATE_NOT_PERMITTED || status == -EPERM || status == -EACCES;
    switch (op) {
    case DV_MPS_START:
        m->state = DV_MPS_DOWN;
        failed(node, m, why, hopeless);
        break;
    case DV_MPS_PROBE:
        if (m->state == DV_MPS_UP)
            m->faulty = true; /* who is there stays; nobody new comes */
        else
            m->state = DV_MPS_DOWN;
        failed(node, m, why, hopeless);
        break;
    case DV_MPS_STOP:
        m->state = m->left ? DV_MPS_DOWN : DV_MPS_UP; /* it is there still: tried again */
        m->stays = true;
        failed(node, m, why, false);
        break;
    default:
        if (status == DV_ACTUATE_NOT_FOUND) {
            lose_daemon(node, m, "the MPS control daemon has ended");
        } else if (status == -ETIMEDOUT) {
            hangs(node, m);
        } else {
            failed(node, m, why, false);
            m->next_ns = DV_MIN(m->next_ns, dv_clock_now() + PROBE_AGAIN_NS); /* it is there */
        }
    }
}

static void done(struct dv_node *node, struct dv_mps_daemon *m, enum dv_mps_op op,
                 const struct dv_mps_status *s)
{
    switch (op) {
    case DV_MPS_START:
        m->status = *s;
        m->limits_due = false;
        m->left = true; /* until it is found to work, or stopped */
        m->stays = false;
        ask(node, m, DV_MPS_PROBE);
        break;
    case DV_MPS_PROBE:
        probed(node, m, s);
        break;
    case DV_MPS_STOP:
        m->state = DV_MPS_DOWN;
        m->left = m->stays = false;
        m->status = (struct dv_mps_status){0};
        m->server = (struct dv_mps_server){0};
        m->faulty = m->was_fault = false;
        m->problem[0] = 0;
        dv_log(DV_LOG_INFO, "mps.down", "device=%s", m->spec.device);
        tell(node, m);
        break;
    case DV_MPS_RENEW:
        m->probe_wanted = true;
        looked_at(node, m, s);
        break;
    case DV_MPS_LIMIT:
        m->limits_due = false;
        looked_at(node, m, s);
        break;
    default:
        looked_at(node, m, s);
    }
}

static void on_reply(void *arg, const struct dv_worker_reply *reply, int error)
{
    struct asked *asked = arg;
    struct dv_node *node = asked->node;
    struct dv_mps_daemon *m = find(node, asked->device);
    enum dv_mps_op op = asked->op;
    free(asked);
    if (!m)
        return;
    m->asked = false;
    if (!reply && (op == DV_MPS_STATUS || op == DV_MPS_LIMIT))
        return; /* its worker was busy with another, and was replaced: that says nothing of this
                   one; with its next look it is asked again */
    if (reply && !reply->status)
        done(node, m, op, &reply->u.mps);
    else
        not_done(node, m, op, reply ? reply->status : error,
                 reply                 ? reply->message
                 : error == -ETIMEDOUT ? "the MPS control daemon does not answer in time"
                                       : "the process that talks to it died");
}

/* ---- time ---- */

/* Daemons that were left by an earlier divvyd: their folders are there. */
static void look_for_old(struct dv_node *node)
{
    char path[512];
    for (size_t i = 0; i < node->snapshot->n_devices; i++) {
        const struct dv_device *d = &node->snapshot->devices[i];
        char name[DV_MPS_NAME_SIZE];
        name_of(d, name);
        snprintf(path, sizeof path, "%s/mps/%s/pipe", node->config.state_dir, name);
        if (access(path, F_OK) < 0 || find(node, d->uuid))
            continue;
        struct dv_mps_daemon *m = make(node, d);
        if (!m || is_wanted(node, d))
            continue;         /* it is started, which finds it */
        m->state = DV_MPS_UP; /* it is stopped */
        tell(node, m);
    }
    node->mps->looked = true;
}

static void look_after(struct dv_node *node, struct dv_mps_daemon *m, uint64_t now)
{
    const struct dv_device *d = dv_snapshot_device(node->snapshot, m->spec.device);
    if (m->held_down && (!d || d->layout == DV_MODE_MPS || dv_layouts_gpu_is_still(node, d->gpu)))
        m->held_down = false; /* the change is over, or another wants it again */
    bool want = d && !m->held_down && is_wanted(node, d);
    if (!want && m->state == DV_MPS_DOWN && !m->stays) {
        m->failures = 0; /* whoever wants it next starts afresh */
        m->problem[0] = 0;
        m->next_ns = 0;
    }
    const struct dv_gpu *gpu = d ? dv_snapshot_gpu(node->snapshot, d->gpu) : NULL;
    bool namespaces = gpu && gpu->mps_namespaces;
    look_at_former(m);
    if (m->asked)
        return;
    if (m->failures >= DV_MPS_FAILURES_MAX && d && node->mps->awaited[d - node->snapshot->devices])
        dv_claims_refuse_mps(node, m->spec.device, m->problem);
    bool there = m->state == DV_MPS_UP || (m->state == DV_MPS_DOWN && m->left);
    if (!want && there && (now >= m->next_ns || !m->problem[0])) {
        m->state = DV_MPS_STOPPING;
        tell(node, m);
        ask(node, m, DV_MPS_STOP);
    } else if (want && m->state == DV_MPS_DOWN && now >= m->next_ns) {
        set_limits(node, d, namespaces, &m->spec);
        m->spec.alone = m->spec.alone && !any_lingers(m);
        m->state = DV_MPS_STARTING;
        ask(node, m, DV_MPS_START);
    } else if (m->state == DV_MPS_UP && now >= m->next_ns) {
        struct dv_mps_spec spec = m->spec;
        m->next_ns = now + (m->problem[0] ? PROBE_AGAIN_NS : STATUS_NS);
        set_limits(node, d, namespaces, &spec);
        spec.alone = spec.alone && !any_lingers(m);
        m->limits_due |= spec.memory_bytes != m->spec.memory_bytes ||
                         spec.threads_percent != m->spec.threads_percent ||
                         spec.alone != m->spec.alone;
        m->spec = spec;
        /* One that did not take them is looked at first: there may be worse. */
        ask(node, m, m->limits_due && !m->problem[0] ? DV_MPS_LIMIT : DV_MPS_STATUS);
    } else if (m->state == DV_MPS_STARTING) {
        m->state = DV_MPS_DOWN; /* the question could not be asked */
    } else if (m->state == DV_MPS_STOPPING) {
        m->state = m->left ? DV_MPS_DOWN : DV_MPS_UP; /* nor this one: it is there still */
    }
}

void dv_mps_tick(struct dv_node *node, uint64_t now)
{
    struct dv_mps *mps = node->mps;
    if (!node->ready || node->driver_status)
        return;
    memset(mps->awaited, 0, sizeof mps->awaited);
    if (node->snapshot->n_claims)
        dv_queue_prepare(node->snapshot, mps->awaited);
    if (!mps->looked)
        look_for_old(node);
    for (size_t i = 0; i < node->snapshot->n_devices; i++)
        if (!find(node, node->snapshot->devices[i].uuid) &&
            is_wanted(node, &node->snapshot->devices[i]))
            make(node, &node->snapshot->devices[i]);
    for (uint32_t i = mps->n; i-- > 0;) {
        struct dv_mps_daemon *m = &mps->daemons[i];
        look_after(node, m, now);
        if (m->state == DV_MPS_DOWN && !m->asked && !m->left &&
            !dv_snapshot_device(node->snapshot, m->spec.device))
            *m = mps->daemons[--mps->n];
    }
}

void dv_mps_xid(struct dv_node *node, uint32_t gpu, uint32_t gi, uint64_t xid)
{
    if (dv_xid_kind(xid) != DV_XID_APPLICATION)
        return;
    for (uint32_t i = 0; i < node->mps->n; i++) {
        struct dv_mps_daemon *m = &node->mps->daemons[i];
        const struct dv_device *d = dv_snapshot_device(node->snapshot, m->spec.device);
        if (!d || m->was_fault || (m->fault_ns && dv_clock_now() - m->fault_ns < XID_LATE_NS) ||
            d->gpu != gpu || (d->mig && gi != UINT32_MAX && d->gi != gi))
            continue;
        m->xid = xid;
        m->xid_looks = XID_LOOKS;
        if (m->state == DV_MPS_UP)
            m->next_ns = 0;
    }
}

void dv_mps_explain(const struct dv_node *node, uint64_t slice, const char *tenant,
                    struct dv_output_node *lines)
{
    char text[700];
    for (uint32_t i = 0; i < node->mps->n; i++) {
        const struct dv_mps_daemon *m = &node->mps->daemons[i];
        bool hit = false;
        for (uint32_t k = 0; m->fault_ns && k < m->n_victims; k++)
            hit |= slice ? m->victims[k].slice == slice : !strcmp(m->victims[k].tenant, tenant);
        if (!hit)
            continue;
        snprintf(text, sizeof text,
                 "taken down by a failure of MPS on device %s: %s. What ran must start again",
                 m->spec.device, m->fault);
        dv_output_string(lines, NULL, text);
    }
}

bool dv_mps_stop(struct dv_node *node, const char *device)
{
    struct dv_mps_daemon *m = find(node, device);
    if (!m)
        return true;
    m->held_down = true;
    return m->state == DV_MPS_DOWN && !m->asked && !m->left;
}

void dv_mps_allow(struct dv_node *node, const char *device)
{
    struct dv_mps_daemon *m = find(node, device);
    if (m)
        m->held_down = false;
}

/* ---- clients ---- */

void dv_mps_environment(const struct dv_node *node, const struct dv_slice *slice,
                        struct dv_output_node *env)
{
    const struct dv_mps_daemon *m = find(node, slice->device);
    const struct dv_device *d = dv_snapshot_device(node->snapshot, slice->device);
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    if (!m || !d)
        return;
    if (dv_arm_has_namespace(node, slice)) { /* its limits are the folder's: nothing to set */
        char name[32], path[128];
        snprintf(name, sizeof name, "s-%llu", (unsigned long long)slice->id);
        if (dv_mps_namespace_pipe(node->config.state_dir, m->spec.name, name, path, sizeof path,
                                  NULL) == 0)
            dv_output_string(env, "CUDA_MPS_PIPE_DIRECTORY", path);
        return;
    }
    dv_str_addf(&text, "%s/mps/%s/pipe", node->config.state_dir, m->spec.name);
    dv_output_string(env, "CUDA_MPS_PIPE_DIRECTORY", dv_str_get(&text));
    dv_str_clear(&text);
    /* Never more than the share: the percentage is a whole number. */
    dv_str_addf(&text, "%u", DV_MAX(slice->compute * 100 / d->compute, 1));
    dv_output_string(env, "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", dv_str_get(&text));
    dv_str_clear(&text);
    dv_str_addf(&text, "0=%lluM", (unsigned long long)(slice->memory_bytes / DV_MIB));
    dv_output_string(env, "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT", dv_str_get(&text));
}
