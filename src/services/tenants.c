/* SPDX-License-Identifier: Apache-2.0 */
#include "tenants.h"

#include "claims.h"
#include "keep.h"
#include "meter.h"
#include "mps.h"
#include "sys/clock.h"
#include "sys/fd.h"
#include "sys/log.h"
#include "waits.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HANDSHAKE_NS (5 * DV_NS_PER_S)
#define UNREAD_MAX 8192      /* of a tenant's messages, by the kernel's count: about ten */
#define PENDING_USER_MAX 64u /* connections of one user that have not said HELLO */
#define CGROUPS_MAX 16384u   /* of the text of /proc/PID/cgroup: some ten lines */

static void member_gone(struct dv_member *m);

/* ---- whose is it ---- */

static bool is_stray(const struct dv_holding *h, const struct dv_proc_id *id)
{
    for (size_t i = 0; i < h->n_strays; i++)
        if (h->strays[i].id.pid == id->pid && h->strays[i].id.start == id->start)
            return true;
    return false;
}

/* Of several slices of one owner: which is meant. */
struct wish {
    uint64_t id;  /* 0: not said */
    uint32_t gpu; /* UINT32_MAX: not said */
};

static bool is_wished(const struct dv_holding *h, const struct wish *wish)
{
    return h->claim.id == wish->id ||
           (wish->gpu != UINT32_MAX && dv_node_gpu_of(h->node, h->device_uuid) == wish->gpu);
}

/* Of several claims of the nearest owner the wish decides, else the newest. */
static bool is_better(uint32_t distance, const struct dv_holding *best, uint32_t best_distance,
                      const struct wish *wish)
{
    if (!best || distance != best_distance)
        return !best || distance < best_distance;
    return !is_wished(best, wish);
}

/* A claim whose walls are being raised may be refused yet: nobody is in it before. */
static bool takes_processes(const struct dv_holding *h)
{
    return h->state != DV_HOLDING_QUEUED && (h->state != DV_HOLDING_ARMING || h->restored);
}

/* What a runtime starts in a container later (`kubectl exec`) descends from the runtime. */
static struct dv_holding *find_by_cgroup(struct dv_node *node, const struct dv_proc_id *id,
                                         const struct wish *wish)
{
    static char text[CGROUPS_MAX];
    struct dv_holding *best = NULL;
    bool known = false;
    for (struct dv_holding *h = node->holdings; h; h = h->next) {
        if (!takes_processes(h) || !h->workload || !h->workload->cgroup[0])
            continue;
        if (!known && (dv_proc_cgroup(id->pid, text, sizeof text) < 0 || !dv_proc_alive(id)))
            return NULL;
        known = true;
        if (dv_cgroup_is_within(text, h->workload->cgroup) && is_better(0, best, 0, wish))
            best = h;
    }
    return best;
}

static struct dv_holding *find(struct dv_node *node, const struct dv_proc_id *id,
                               const struct wish *wish)
{
    struct dv_holding *best = NULL;
    uint32_t best_distance = 0, distance;
    for (struct dv_holding *h = node->holdings; h; h = h->next) {
        if (!takes_processes(h))
            continue;
        if (is_stray(h, id))
            return h;
        if (dv_proc_is_within(id->pid, &h->owner, &distance) &&
            is_better(distance, best, best_distance, wish)) {
            best = h;
            best_distance = distance;
        }
    }
    return best ? best : find_by_cgroup(node, id, wish);
}

struct dv_holding *dv_tenants_find(struct dv_node *node, const struct dv_proc_id *id,
                                   const char *hint)
{
    struct wish wish = {hint ? dv_node_parse_id(hint) : 0, UINT32_MAX};
    return find(node, id, &wish);
}

struct dv_holding *dv_tenants_find_on(struct dv_node *node, const struct dv_proc_id *id,
                                      uint32_t gpu)
{
    struct wish wish = {0, gpu};
    return find(node, id, &wish);
}

struct dv_member *dv_tenants_member(struct dv_node *node, uint32_t pid)
{
    for (struct dv_member *m = node->members; m; m = m->next)
        if (m->holding && (uint32_t)m->id.pid == pid)
            return m;
    return NULL;
}

void dv_tenants_add_stray(struct dv_holding *h, const struct dv_proc_id *id, bool from_store)
{
    if (is_stray(h, id) || h->n_strays == DV_NODE_STRAYS_MAX)
        return;
    h->strays[h->n_strays++] =
        (struct dv_stray){.id = *id, .from_store = from_store, .since_ns = dv_clock_now()};
}

static void drop_stray(struct dv_holding *h, const struct dv_proc_id *id)
{
    for (size_t i = h->n_strays; i-- > 0;)
        if (h->strays[i].id.pid == id->pid && h->strays[i].id.start == id->start)
            h->strays[i] = h->strays[--h->n_strays];
}

/* ---- peers ---- */

static struct dv_member *member_in(const struct dv_member *m, uint32_t slot)
{
    for (struct dv_member *peer = m->node->members; peer; peer = peer->next)
        if (peer->ready && peer->device == m->device && peer->slot_index == slot)
            return peer;
    return NULL;
}

static int tell_of(struct dv_member *to, uint32_t slot)
{
    const struct dv_member *peer = member_in(to, slot);
    if (!peer)
        return dv_governor_peer_gone(to->sock, slot);
    uint32_t process = to->holding == peer->holding ? peer->slot.process : 0;
    return dv_governor_peer(to->sock, slot, &peer->slot, process, peer->id.pid);
}

/*
 * Tells what it can: a tenant reads when it next launches work, and descriptors that nobody has
 * read count against the daemon (unix(7), ETOOMANYREFS), so many idle tenants would keep everybody
 * else out. The rest is told later. Returns whether anything was said.
 */
static bool tell(struct dv_member *to)
{
    bool any = false;
    for (uint32_t slot = 0; slot < DV_TENANT_SLOTS_MAX; slot++) {
        uint64_t *word = &to->untold[slot / 64], bit = UINT64_C(1) << slot % 64;
        if (!(*word & bit))
            continue;
        if (dv_fd_unread(to->sock) > UNREAD_MAX || tell_of(to, slot) < 0)
            break;
        *word &= ~bit;
        any = true;
    }
    return any;
}

static void note_slot(struct dv_member *m, uint32_t slot)
{
    m->untold[slot / 64] |= UINT64_C(1) << slot % 64;
}

/* The slot of `m` has come or gone: to all others on the device. */
static void announce(const struct dv_member *m)
{
    for (struct dv_member *peer = m->node->members; peer; peer = peer->next) {
        if (peer == m || !peer->ready || peer->device != m->device)
            continue;
        note_slot(peer, m->slot_index);
        tell(peer);
    }
    dv_lease_slots_changed(m->node->lease, m->device);
}

static void introduce(struct dv_member *m)
{
    for (const struct dv_member *peer = m->node->members; peer; peer = peer->next)
        if (peer != m && peer->ready && peer->device == m->device)
            note_slot(m, peer->slot_index);
    tell(m);
    announce(m);
}

/* ---- the handshake ---- */

static int free_process(const struct dv_holding *h, uint32_t *ret)
{
    bool used[DV_TENANT_SLICE_PROCESSES_MAX] = {true}; /* 0 is the daemon's */
    for (const struct dv_member *m = h->node->members; m; m = m->next)
        if (m->holding == h && m->slot.page)
            used[m->slot.process] = true;
    for (uint32_t i = 1; i < DV_TENANT_SLICE_PROCESSES_MAX; i++) {
        if (!used[i]) {
            *ret = i;
            return 0;
        }
    }
    return -ENOSPC;
}

static int give_slot(struct dv_member *m)
{
    struct dv_node *node = m->node;
    struct dv_holding *h = m->holding;
    uint32_t process;
    int r = free_process(h, &process);
    if (r == 0)
        r = dv_lease_slot_take(node->lease, h->device, &m->slot_index);
    if (r < 0)
        return r;
    m->slot_taken = true;
    m->device = h->device;
    r = dv_governor_slot_new(process, &h->pages, &m->slot);
    if (r == 0)
        r = dv_governor_welcome(m->sock, &h->pages, &m->slot,
                                dv_lease_pages(node->lease, h->device), m->slot_index, m->id.pid);
    return r;
}

/* The peer's words name at most one of the slices that it belongs to anyway. */
static int on_hello(struct dv_member *m, struct dv_tenant_message *message)
{
    message->text[sizeof message->text - 1] = 0;
    m->holding = dv_tenants_find(m->node, &m->id, message->text);
    if (!m->holding) {
        dv_log(DV_LOG_WARNING, "tenant.refused", "pid=%d reason=no_slice", (int)m->id.pid);
        dv_governor_refuse(m->sock, ENOENT,
                           "this process belongs to no slice; start it with `divvy run`");
        return -ENOENT;
    }
    int r = give_slot(m);
    if (r < 0) {
        dv_log(DV_LOG_WARNING, "tenant.refused", "pid=%d reason=%s", (int)m->id.pid, strerror(-r));
        dv_governor_refuse(m->sock, -r,
                           r == -ENOSPC ? "too many processes use this slice or this device"
                                        : "the daemon is out of descriptors or memory");
    }
    return r;
}

static int on_ready(struct dv_member *m)
{
    struct dv_holding *h = m->holding;
    if (!h || m->ready)
        return -EPROTO;
    int r = dv_governor_slot_seal(&m->slot);
    if (r == 0)
        r = dv_lease_slot_join(m->node->lease, m->device, h->entity, m->slot_index, &m->slot);
    if (r == 0)
        r = dv_governor_go(m->sock, m->slot_index);
    if (r < 0)
        return r;
    dv_waits_holding(h, dv_clock_now());
    m->ready = true;
    m->utilized_us = dv_clock_unix_us();
    dv_meter_joined(m);
    drop_stray(h, &m->id);
    introduce(m);
    dv_keep_put_process(h, &m->id);
    char tenant[DV_LOG_VALUE];
    dv_log(DV_LOG_INFO, "tenant.joined", "pid=%d slice=s-%llu tenant=%s slot=%u", (int)m->id.pid,
           (unsigned long long)h->claim.id, dv_log_value(h->claim.tenant, tenant), m->slot_index);
    return 0;
}

static void on_message(void *arg)
{
    struct dv_member *m = arg;
    struct dv_tenant_message message;
    ssize_t n = dv_fd_receive(m->sock, &message, sizeof message, NULL, NULL);
    if (n == -EAGAIN)
        return;
    int r = -EPROTO;
    if (n == sizeof message && message.magic == DV_TENANT_MAGIC_MESSAGE) {
        if (message.abi != DV_TENANT_ABI) {
            dv_governor_refuse(m->sock, EPROTO,
                               "this library and divvyd are of different versions");
        } else if (message.type == DV_MSG_HELLO && !m->holding) {
            r = on_hello(m, &message);
        } else if (message.type == DV_MSG_READY) {
            r = on_ready(m);
        }
    }
    if (r < 0)
        member_gone(m);
}

static void on_death(void *arg)
{
    member_gone(arg);
}

/* ---- coming and going ---- */

static void member_free(struct dv_member *m)
{
    dv_loop_remove(m->sock_watch);
    dv_loop_remove(m->pid_watch);
    dv_fd_close(&m->sock);
    dv_fd_close(&m->pidfd);
    *m->link = m->next;
    if (m->next)
        m->next->link = m->link;
    m->node->n_members--;
    free(m);
}

static void member_gone(struct dv_member *m)
{
    struct dv_node *node = m->node;
    struct dv_holding *h = m->holding;
    bool was_ready = m->ready;
    if (h)
        dv_waits_holding(h, dv_clock_now()); /* reads what the process did, a last time */
    if (m->slot_taken)
        dv_lease_slot_leave(node->lease, m->device, m->slot_index);
    if (h)
        dv_meter_holding(h, dv_clock_now());
    if (h)
        dv_activity_member(m, dv_clock_now());
    m->ready = false;
    if (h) {
        if (was_ready) {
            dv_meter_left(m, dv_clock_now());
            dv_mps_left(m);
        }
        uint64_t held = dv_governor_slot_end(&m->slot, &h->pages);
        if (was_ready) {
            announce(m);
            dv_keep_drop_process(h, &m->id);
            dv_log(DV_LOG_INFO, "tenant.left", "pid=%d slice=s-%llu held_bytes=%llu",
                   (int)m->id.pid, (unsigned long long)h->claim.id, (unsigned long long)held);
        }
    }
    member_free(m);
    if (h)
        dv_claims_check_end(h, dv_clock_now());
}

static bool too_many(const struct dv_node *node, uid_t uid)
{
    uint32_t pending = 0;
    uid_t other;
    for (const struct dv_member *m = node->members; m; m = m->next)
        pending += !m->ready && dv_proc_uid(m->id.pid, &other) == 0 && other == uid;
    return node->n_members >= DV_NODE_MEMBERS_MAX || (uid && pending >= PENDING_USER_MAX);
}

static int member_new(struct dv_node *node, int sock)
{
    struct ucred cred;
    socklen_t size = sizeof cred;
    if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
        return -errno;
    if (too_many(node, cred.uid)) {
        dv_governor_refuse(sock, EAGAIN, "too many processes talk to the daemon");
        return -EAGAIN;
    }
    struct dv_member *m = calloc(1, sizeof *m);
    if (!m)
        return -ENOMEM;
    m->node = node;
    m->sock = sock;
    m->slot = (struct dv_governor_slot){.fd = -1, .event_fd = -1};
    m->since_ns = dv_clock_now();
    m->next = node->members;
    m->link = &node->members;
    if (m->next)
        m->next->link = &m->next;
    node->members = m;
    node->n_members++;
    int r = dv_proc_identify(cred.pid, &m->id);
    m->pidfd = r == 0 ? dv_proc_pidfd(&m->id) : -1;
    if (r == 0 && m->pidfd < 0)
        r = m->pidfd;
    if (r == 0)
        r = dv_loop_watch(node->loop, sock, on_message, m, &m->sock_watch);
    if (r == 0)
        r = dv_loop_watch(node->loop, m->pidfd, on_death, m, &m->pid_watch);
    if (r < 0) {
        m->sock = -1; /* the caller's still */
        member_free(m);
    }
    return r;
}

void dv_tenants_accept(void *arg)
{
    struct dv_node *node = arg;
    for (;;) {
        int sock = accept4(node->tenant_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (sock < 0)
            return;
        if (member_new(node, sock) < 0)
            close(sock);
    }
}

void dv_tenants_tick(struct dv_node *node, uint64_t now)
{
    for (struct dv_member *m = node->members, *next; m; m = next) {
        next = m->next;
        if (!m->ready && now - m->since_ns >= HANDSHAKE_NS)
            member_gone(m);
        else if (m->ready && tell(m))
            dv_lease_slots_changed(node->lease, m->device);
    }
}

void dv_tenants_free(struct dv_node *node)
{
    for (struct dv_member *m = node->members, *next; m; m = next) {
        next = m->next;
        dv_governor_slot_drop(&m->slot); /* it lives on: nothing to repair */
        member_free(m);
    }
}
