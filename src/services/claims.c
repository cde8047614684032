/* SPDX-License-Identifier: Apache-2.0 */
#include "claims.h"

#include "arm.h"
#include "inventory.h"
#include "keep.h"
#include "kubernetes/containers.h"
#include "meter.h"
#include "policy/queue.h"
#include "sys/clock.h"
#include "sys/fd.h"
#include "sys/log.h"
#include "tenants.h"
#include "view.h"
#include "waits.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KILL_AFTER_NS (5 * DV_NS_PER_S)
#define MODULE_BYTES 0u /* what a module costs is learnt inside the tenant */
#define DESCENDANTS_MAX 1024

const char *dv_claims_state_name(const struct dv_holding *h)
{
    return h->state == DV_HOLDING_QUEUED || h->state == DV_HOLDING_ARMING ? "queued"
           : h->state == DV_HOLDING_GRANTED                               ? "granted"
                                                                          : "ending";
}

static void log_event(const struct dv_holding *h, const char *event, const char *reason)
{
    char tenant[DV_LOG_VALUE];
    dv_log(DV_LOG_INFO, event, "claim=c-%llu tenant=%s owner=%d device=%s reason=%s",
           (unsigned long long)h->claim.id, dv_log_value(h->claim.tenant, tenant),
           (int)h->owner.pid, h->device_uuid[0] ? h->device_uuid : "-", reason);
}

/* ---- those who wait for an answer ---- */

int dv_claims_wait(struct dv_holding *h, struct dv_http_request *rq, uint64_t until_ns)
{
    struct dv_waiter *w = malloc(sizeof *w);
    if (!w)
        return -ENOMEM;
    *w = (struct dv_waiter){rq, until_ns, h->waiters};
    h->waiters = w;
    return 0;
}

static void answer_waiters(struct dv_holding *h, uint64_t due, const char *state,
                           const struct dv_verdict *verdict)
{
    struct dv_waiter **link = &h->waiters;
    while (*link) {
        struct dv_waiter *w = *link;
        if (w->until_ns > due) {
            link = &w->next;
            continue;
        }
        *link = w->next;
        dv_view_reply_claim(w->rq, 200, h, state, verdict);
        free(w);
    }
}

static void changed(struct dv_holding *h)
{
    answer_waiters(h, DV_NEVER, NULL, NULL);
    dv_containers_changed(h);
}

/* ---- holdings ---- */

static void unlink_holding(struct dv_holding *h)
{
    struct dv_node *node = h->node;
    for (struct dv_holding **p = &node->holdings; *p; p = &(*p)->next) {
        if (*p == h) {
            *p = h->next;
            node->n_holdings--;
            break;
        }
    }
}

static void holding_free(struct dv_holding *h)
{
    dv_loop_remove(h->owner_watch);
    dv_fd_close(&h->owner_fd);
    dv_governor_slice_drop(&h->pages);
    dv_waits_done(&h->spent);
    free(h->workload);
    free(h);
}

static void on_owner(void *arg);

static struct dv_holding *holding_new(struct dv_node *node, const struct dv_claim *claim,
                                      const struct dv_proc_id *owner, uint32_t uid,
                                      const char *command, const struct dv_workload *workload)
{
    struct dv_holding *h = calloc(1, sizeof *h);
    if (h && workload && workload->container_id[0]) {
        h->workload = malloc(sizeof *h->workload);
        if (!h->workload) {
            free(h);
            return NULL;
        }
        *h->workload = *workload;
    }
    if (!h)
        return NULL;
    h->node = node;
    h->claim = *claim;
    h->owner = *owner;
    h->uid = uid;
    h->pages = (struct dv_governor_slice){.slice_fd = -1, .reservation_fd = -1};
    h->device = h->entity = UINT32_MAX;
    h->spent_at_ns = dv_clock_now();
    snprintf(h->command, sizeof h->command, "%s", command);
    h->owner_fd = dv_proc_pidfd(owner);
    if (h->owner_fd >= 0 &&
        dv_loop_watch(node->loop, h->owner_fd, on_owner, h, &h->owner_watch) < 0)
        dv_fd_close(&h->owner_fd);
    struct dv_holding **p = &node->holdings;
    while (*p && (*p)->claim.id < claim->id)
        p = &(*p)->next;
    h->next = *p;
    *p = h;
    node->n_holdings++;
    return h;
}

/* The end of a claim: its last words go to those who wait for it. */
static void finish(struct dv_holding *h, const char *state, const struct dv_verdict *verdict)
{
    dv_keep_drop(h);
    answer_waiters(h, DV_NEVER, state, verdict);
    dv_containers_ended(h, verdict);
    unlink_holding(h);
    holding_free(h);
}

/* ---- granting ---- */

/* What its processes can have of the card: where nothing holds them in, all of it. */
static uint64_t memory_limit(const struct dv_node *node, const struct dv_slice *slice)
{
    const struct dv_device *d = dv_snapshot_device(node->snapshot, slice->device);
    return slice->memory_wall == DV_WALL_NONE && d ? d->memory_bytes : slice->memory_bytes;
}

/* Pages count in parts of the device: a third of a 3g instance is a third. */
static uint32_t share_of_device(const struct dv_node *node, const struct dv_slice *slice)
{
    const struct dv_device *d = dv_snapshot_device(node->snapshot, slice->device);
    return d ? DV_MAX(slice->compute * DV_COMPUTE_FULL / d->compute, 1) : slice->compute;
}

static int make_pages(struct dv_holding *h, const struct dv_slice *slice)
{
    struct dv_node *node = h->node;
    char id[32];
    snprintf(id, sizeof id, "s-%llu", (unsigned long long)slice->id);
    struct dv_governor_spec spec = {
        .slice_id = id,
        .tenant = slice->tenant,
        .device_uuid = slice->device,
        /* A container sees the driver where its edits put it. */
        .libcuda = h->workload ? DV_CONTAINERS_LIBCUDA : node->config.libcuda,
        .libnvml = h->workload ? DV_CONTAINERS_LIBNVML : node->config.libnvml,
        .memory_bytes = memory_limit(node, slice),
        .context_bytes =
            dv_node_context_bytes(node, dv_node_gpu_of(node, slice->device), slice->mode),
        .module_bytes = MODULE_BYTES,
        .compute = share_of_device(node, slice),
        .compute_cap = DV_COMPUTE_FULL,
        .tier = slice->tier,
        .flags = slice->mode == DV_MODE_GOVERNED ? 0 : DV_SLICE_FLAG_UNLEASED,
    };
    return dv_governor_slice_new(&spec, &h->pages);
}

static struct dv_arbiter_entity_spec entity_spec(const struct dv_slice *slice)
{
    return (struct dv_arbiter_entity_spec){
        .share = slice->compute, .cap = DV_COMPUTE_FULL, .tier = slice->tier};
}

/* Makes the slice real: pages for its processes, a place at the arbiter, a meter. */
static int actuate(struct dv_holding *h, const struct dv_slice *slice)
{
    struct dv_node *node = h->node;
    struct dv_arbiter_entity_spec spec = entity_spec(slice);
    int r = make_pages(h, slice);
    if (r == 0)
        r = dv_lease_device(node->lease, slice->device, &h->device);
    if (r == 0)
        r = dv_lease_slice_add(node->lease, h->device, &spec, &h->entity);
    if (r < 0) {
        dv_governor_slice_end(&h->pages);
        return r;
    }
    /* Leases are off as long as they are on its GPU. Nobody held the device, maybe, when that
     * began or ended. */
    uint32_t gpu = dv_node_gpu_of(node, slice->device);
    dv_lease_set_open(node->lease, h->device, gpu < DV_FACTS_GPUS_MAX && node->gpus[gpu].open);
    memcpy(h->device_uuid, slice->device, sizeof h->device_uuid);
    h->state = DV_HOLDING_GRANTED;
    uint64_t now = dv_clock_now();
    h->spent_at_ns = now;
    h->granted_unix =
        dv_clock_unix() - (int64_t)((now - DV_MIN(slice->since_ns, now)) / DV_NS_PER_S);
    return 0;
}

static void deactuate(struct dv_holding *h)
{
    dv_arm_end(h);
    dv_meter_holding(h, dv_clock_now());
    dv_waits_leave(h, dv_clock_now());
    if (h->entity != UINT32_MAX)
        dv_lease_slice_remove(h->node->lease, h->device, h->entity);
    h->entity = UINT32_MAX;
    dv_governor_slice_end(&h->pages);
}

static void end_slice(struct dv_holding *h, const char *reason)
{
    deactuate(h);
    dv_meter_close(h->node, dv_clock_now());
    dv_meter_life(h, DV_LEDGER_RELEASED);
    dv_node_apply(h->node, &(struct dv_event){.kind = DV_EVENT_SLICE_RELEASED, .id = h->claim.id});
    log_event(h, "slice.released", reason);
}

static void release(struct dv_holding *h, const char *reason)
{
    struct dv_node *node = h->node;
    end_slice(h, reason);
    finish(h, "released", NULL);
    dv_claims_pump(node);
}

static void withdraw(struct dv_holding *h, const char *state, const struct dv_verdict *verdict,
                     const char *reason)
{
    struct dv_node *node = h->node;
    dv_waits_holding(h, dv_clock_now());
    dv_node_apply(node, &(struct dv_event){.kind = DV_EVENT_CLAIM_WITHDRAWN, .id = h->claim.id});
    log_event(h, "claim.withdrawn", reason);
    finish(h, state, verdict);
}

/* Better no slice than one that nothing holds. */
static void refuse_unwalled(struct dv_holding *h)
{
    struct dv_verdict v;
    dv_claims_verdict(h->node, h, &v);
    v.result = DV_VERDICT_REFUSED;
    v.reason = DV_REASON_NO_WALL;
    snprintf(v.detail, sizeof v.detail, "%s", h->arm_problem);
    end_slice(h, "no_wall");
    finish(h, "refused", &v);
}

/* False when the machine (not the policy) could not make it. */
static bool grant(struct dv_holding *h, const struct dv_admission *admission)
{
    struct dv_node *node = h->node;
    struct dv_event e = {.kind = DV_EVENT_SLICE_GRANTED,
                         .slice = dv_admit_slice(&h->claim, admission, dv_clock_now())};
    if (h->workload)
        memcpy(e.slice.pod, h->workload->pod, sizeof e.slice.pod);
    dv_waits_holding(h, dv_clock_now()); /* in the queue */
    if (dv_node_apply(node, &e) < 0)
        return false;
    int r = actuate(h, &e.slice);
    if (r < 0) {
        dv_log(DV_LOG_ERROR, "slice.failed", "claim=c-%llu error=%s",
               (unsigned long long)h->claim.id, strerror(-r));
        dv_node_apply(node, &(struct dv_event){.kind = DV_EVENT_SLICE_RELEASED, .id = h->claim.id});
        return false;
    }
    log_event(h, "slice.granted", dv_verdict_reason_name(admission->verdict.reason));
    dv_meter_life(h, DV_LEDGER_GRANTED);
    dv_keep_put(h);
    if (!dv_arm_begin(h)) {
        changed(h);
        return true;
    }
    h->state = DV_HOLDING_ARMING;
    if (!h->arming)
        refuse_unwalled(h);
    return true;
}

void dv_claims_armed(struct dv_holding *h, bool up)
{
    struct dv_node *node = h->node;
    if (h->state != DV_HOLDING_ARMING)
        return;
    if (!up && !h->restored) {
        refuse_unwalled(h);
        dv_claims_pump(node);
        return;
    }
    /* Who ran before a restart runs on; what is wrong with the wall is said. */
    h->state = DV_HOLDING_GRANTED;
    changed(h);
}

/* Works through the queue; the answer to claim `watched` goes to *watched_verdict. */
static void pump(struct dv_node *node, uint64_t watched, struct dv_verdict *watched_verdict)
{
    struct dv_admission a;
    uint64_t id;
    for (int r = 0; node->ready && r == 0;) {
        r = dv_queue_next(node->snapshot, &id, &a);
        if (r < 0)
            break;
        struct dv_holding *h = dv_node_holding(node, id);
        if (!h) {
            dv_node_apply(node, &(struct dv_event){.kind = DV_EVENT_CLAIM_WITHDRAWN, .id = id});
            continue;
        }
        if (id == watched)
            *watched_verdict = a.verdict;
        if (a.verdict.result == DV_VERDICT_REFUSED)
            withdraw(h, "refused", &a.verdict, dv_verdict_reason_name(a.verdict.reason));
        else if (!grant(h, &a)) {
            if (dv_snapshot_claim(node->snapshot, id))
                withdraw(h, "refused", NULL, "failed");
            else
                finish(h, "refused", NULL);
        }
    }
}

static void tell_positions(struct dv_node *node)
{
    for (struct dv_holding *h = node->holdings; h; h = h->next) {
        uint32_t position = dv_claims_position(node, h);
        if (position != h->last_position) {
            h->last_position = position;
            changed(h);
        }
    }
}

void dv_claims_pump(struct dv_node *node)
{
    struct dv_verdict verdict;
    pump(node, 0, &verdict);
    tell_positions(node);
}

void dv_claims_refuse_mps(struct dv_node *node, const char *device, const char *why)
{
    struct dv_verdict v;
    uint64_t id;
    while (dv_queue_awaiting(node->snapshot, device, &id, &v) == 0) {
        struct dv_holding *h = dv_node_holding(node, id);
        v.result = DV_VERDICT_REFUSED;
        v.reason = DV_REASON_MPS_DOWN;
        v.position = 0;
        snprintf(v.detail, sizeof v.detail, "%s", why);
        if (h)
            withdraw(h, "refused", &v, "mps_down");
        else
            dv_node_apply(node, &(struct dv_event){.kind = DV_EVENT_CLAIM_WITHDRAWN, .id = id});
    }
    dv_claims_pump(node);
}

uint32_t dv_claims_position(const struct dv_node *node, const struct dv_holding *h)
{
    size_t order[DV_NODE_HOLDINGS_MAX];
    if (h->state != DV_HOLDING_QUEUED || node->snapshot->n_claims > DV_NODE_HOLDINGS_MAX)
        return 0;
    dv_queue_order(node->snapshot, order);
    for (size_t i = 0; i < node->snapshot->n_claims; i++)
        if (node->snapshot->claims[order[i]].id == h->claim.id)
            return (uint32_t)i + 1;
    return 0;
}

void dv_claims_verdict(const struct dv_node *node, const struct dv_holding *h,
                       struct dv_verdict *ret)
{
    memset(ret, 0, sizeof *ret);
    if (h->state == DV_HOLDING_QUEUED && dv_queue_explain(node->snapshot, h->claim.id, ret) == 0)
        return;
    *ret = (struct dv_verdict){.result = DV_VERDICT_GRANTED,
                               .reason = DV_REASON_FITS,
                               .gpu = (int32_t)dv_node_gpu_of(node, h->device_uuid)};
    const struct dv_slice *slice = dv_node_slice(h);
    if (!slice)
        return;
    ret->mode = slice->mode;
    ret->asked_bytes = slice->memory_bytes;
    ret->asked_compute = slice->compute;
}

/* ---- asking ---- */

static int check_bounds(const struct dv_node *node, uint32_t uid, struct dv_err *err)
{
    uint32_t mine = 0;
    for (const struct dv_holding *h = node->holdings; h; h = h->next)
        mine += h->uid == uid;
    if (node->n_holdings >= DV_NODE_HOLDINGS_MAX)
        return dv_err_set(err, -ENOSPC,
                          "there are %u claims and slices already, the most that "
                          "this daemon keeps; wait until some end",
                          node->n_holdings);
    if (uid && mine >= DV_NODE_HOLDINGS_USER_MAX)
        return dv_err_set(err, -ENOSPC,
                          "user %u has %u claims and slices already, the most that "
                          "one user may have; wait until some end",
                          uid, mine);
    return 0;
}

int dv_claims_submit(struct dv_node *node, const struct dv_claims_request *q,
                     struct dv_verdict *ret_verdict, struct dv_holding **ret, struct dv_err *err)
{
    struct dv_claim claim = q->claim;
    if (!node->ready)
        return dv_err_set(err, -EAGAIN, "no GPU is known: %s", dv_inventory_driver_detail(node));
    int r = check_bounds(node, q->uid, err);
    if (r < 0)
        return r;
    claim.id = node->next_id;
    claim.since_ns = dv_clock_now();
    if (!dv_proc_alive(&q->owner))
        return dv_err_set(err, -ESRCH, "the calling process has ended");
    struct dv_event e = {.kind = DV_EVENT_CLAIM_QUEUED, .claim = claim};
    r = dv_event_apply(node->snapshot, &e, err);
    if (r < 0)
        return r;
    struct dv_holding *h = holding_new(node, &claim, &q->owner, q->uid, q->command, q->workload);
    if (!h || h->owner_fd < 0) {
        if (h)
            withdraw(h, "refused", NULL, "owner");
        return dv_err_set(err, h ? -ESRCH : -ENOMEM, "the calling process cannot be watched");
    }
    node->next_id++;
    h->since_unix = dv_clock_unix();
    dv_queue_explain(node->snapshot, claim.id, ret_verdict);
    pump(node, claim.id, ret_verdict);
    h = dv_node_holding(node, claim.id);
    if (h && h->state == DV_HOLDING_QUEUED) {
        dv_claims_verdict(node, h, ret_verdict);
        log_event(h, "claim.queued", dv_verdict_reason_name(ret_verdict->reason));
        dv_keep_put(h);
    } else if (!h && ret_verdict->result == DV_VERDICT_GRANTED) {
        return dv_err_set(err, -EAGAIN, "the slice could not be set up; see the daemon's log");
    }
    tell_positions(node);
    *ret = h;
    return 0;
}

/* ---- limits ---- */

int dv_claims_limit(struct dv_holding *h, uint64_t memory_bytes, uint32_t compute,
                    struct dv_verdict *ret)
{
    struct dv_node *node = h->node;
    const struct dv_slice *slice = dv_node_slice(h);
    if (!slice || !h->pages.page)
        return -ENOENT;
    struct dv_event e = {.kind = DV_EVENT_SLICE_LIMITED,
                         .id = h->claim.id,
                         .memory_bytes = memory_bytes ? memory_bytes : slice->memory_bytes,
                         .compute = compute ? compute : slice->compute};
    dv_admit_limit(node->snapshot, slice, memory_bytes, compute,
                   dv_governor_slice_reserved(&h->pages), ret);
    if (ret->result != DV_VERDICT_GRANTED)
        return 0;
    int r = dv_node_apply(node, &e);
    if (r < 0)
        return r;
    dv_meter_life(h, DV_LEDGER_LIMITED);
    dv_governor_slice_limit(&h->pages, memory_limit(node, dv_node_slice(h)),
                            share_of_device(node, dv_node_slice(h)), DV_COMPUTE_FULL);
    struct dv_arbiter_entity_spec spec = entity_spec(dv_node_slice(h));
    dv_lease_slice_change(node->lease, h->device, h->entity, &spec);
    dv_arm_limit(h);
    log_event(h, "slice.limited", "asked");
    dv_keep_put(h);
    dv_claims_pump(node);
    return 0;
}

void dv_claims_equalize(struct dv_node *node, const struct dv_device *device)
{
    struct dv_device_part part =
        dv_device_part(device, device->replicas ? device->replicas : DV_DEVICE_TIMESLICES);
    for (struct dv_holding *h = node->holdings; h; h = h->next) {
        const struct dv_slice *s = dv_node_slice(h);
        if (!s || s->mode != DV_MODE_TIMESLICE || strcmp(s->device, device->uuid) != 0)
            continue;
        struct dv_event e = {.kind = DV_EVENT_SLICE_LIMITED,
                             .id = s->id,
                             .memory_bytes = s->memory_wall == DV_WALL_NONE ? part.memory_bytes
                                                                            : s->memory_bytes,
                             .compute = part.compute};
        if (e.memory_bytes == s->memory_bytes && e.compute == s->compute)
            continue;
        if (dv_node_apply(node, &e) < 0)
            continue; /* more are held than there are parts: they shrink as others leave */
        dv_meter_life(h, DV_LEDGER_LIMITED);
        dv_keep_put(h);
    }
}

/* ---- endings ---- */

static void signalled(void *arg, const struct dv_worker_reply *reply, int error)
{
    if (reply && reply->status && reply->status != -ESRCH)
        dv_log(DV_LOG_WARNING, "signal.failed", "error=%s", strerror(-reply->status));
}

void dv_claims_signal_process(struct dv_node *node, const struct dv_proc_id *id, int signo)
{
    dv_cleanup(dv_fd_close) int fd = dv_proc_pidfd(id);
    if (fd < 0)
        return;
    if (syscall(SYS_pidfd_send_signal, fd, signo, NULL, 0) == 0 || errno != EPERM)
        return;
    /* Another user's process: the privileged side may. */
    struct dv_worker_request q = {
        .op = DV_WORKER_SIGNAL, .pid = id->pid, .start = id->start, .signo = signo};
    dv_hardware_link_ask(node->link, &q, signalled, NULL);
}

size_t dv_claims_signal(struct dv_holding *h, int signo)
{
    static struct dv_proc_id list[DESCENDANTS_MAX];
    size_t n = dv_proc_descendants(&h->owner, list, DESCENDANTS_MAX - 1);
    if (h->workload) /* its first process is not who asked, but part of it */
        list[n++] = h->owner;
    size_t count = n;
    for (size_t i = 0; i < n; i++)
        dv_claims_signal_process(h->node, &list[i], signo);
    for (const struct dv_member *m = h->node->members; m; m = m->next) {
        if (m->holding != h || dv_proc_is_within(m->id.pid, &h->owner, NULL))
            continue;
        dv_claims_signal_process(h->node, &m->id, signo);
        count++;
    }
    for (size_t i = 0; i < h->n_strays; i++) {
        if (dv_proc_is_within(h->strays[i].id.pid, &h->owner, NULL))
            continue;
        dv_claims_signal_process(h->node, &h->strays[i].id, signo);
        count++;
    }
    return count;
}

static void drop_dead_strays(struct dv_holding *h)
{
    for (size_t i = h->n_strays; i-- > 0;)
        if (!dv_proc_alive(&h->strays[i].id))
            h->strays[i] = h->strays[--h->n_strays];
}

static bool has_processes(struct dv_holding *h)
{
    for (const struct dv_member *m = h->node->members; m; m = m->next)
        if (m->holding == h)
            return true;
    drop_dead_strays(h);
    return h->n_strays != 0;
}

void dv_claims_check_end(struct dv_holding *h, uint64_t now)
{
    if (h->state != DV_HOLDING_ENDING)
        return;
    if (!has_processes(h)) {
        release(h, "ended");
    } else if (h->kill_at_ns && now >= h->kill_at_ns) {
        dv_claims_signal(h, SIGKILL);
        h->kill_at_ns = now + KILL_AFTER_NS;
    }
}

void dv_claims_let_go(struct dv_holding *h)
{
    if (h->state == DV_HOLDING_QUEUED) {
        struct dv_node *node = h->node;
        withdraw(h, "released", NULL, "asked");
        dv_claims_pump(node);
        return;
    }
    if (h->state == DV_HOLDING_GRANTED || h->state == DV_HOLDING_ARMING) {
        h->state = DV_HOLDING_ENDING;
        changed(h);
    }
    dv_claims_check_end(h, dv_clock_now());
}

void dv_claims_evict(struct dv_holding *h, const char *reason)
{
    uint64_t now = dv_clock_now();
    /* One that was let go and whose processes stay is ended like the others. */
    if (h->state == DV_HOLDING_QUEUED || (h->state == DV_HOLDING_ENDING && h->kill_at_ns))
        return;
    log_event(h, "slice.evicted", reason);
    h->state = DV_HOLDING_ENDING;
    changed(h);
    dv_claims_signal(h, SIGTERM);
    h->kill_at_ns = now + KILL_AFTER_NS;
    dv_claims_check_end(h, now);
}

static void owner_gone(struct dv_holding *h)
{
    uint64_t now = dv_clock_now();
    dv_loop_remove(h->owner_watch);
    h->owner_watch = NULL;
    dv_fd_close(&h->owner_fd);
    if (h->state == DV_HOLDING_QUEUED) {
        dv_claims_let_go(h);
        return;
    }
    h->state = DV_HOLDING_ENDING;
    if (has_processes(h)) {
        log_event(h, "slice.orphaned", "owner_ended");
        dv_claims_signal(h, SIGTERM);
        h->kill_at_ns = now + KILL_AFTER_NS;
    }
    dv_claims_check_end(h, now);
}

static void on_owner(void *arg)
{
    owner_gone(arg);
}

void dv_claims_tick(struct dv_node *node, uint64_t now)
{
    uint64_t id = 0;
    for (struct dv_holding *h; (h = dv_node_holding_after(node, id));) {
        id = h->claim.id;
        answer_waiters(h, now, NULL, NULL);
        dv_claims_check_end(h, now);
    }
}

/* ---- a restart ---- */

static int restore_slice(struct dv_holding *h, const struct dv_store_claim *row, struct dv_err *err)
{
    struct dv_event e = {.kind = DV_EVENT_SLICE_GRANTED, .slice = row->slice};
    int r = dv_event_apply(h->node->snapshot, &e, err);
    if (r < 0)
        return r;
    r = actuate(h, &row->slice);
    if (r < 0) {
        dv_node_apply(h->node,
                      &(struct dv_event){.kind = DV_EVENT_SLICE_RELEASED, .id = row->claim.id});
        return dv_err_set(err, r, "%s", strerror(-r));
    }
    return 0;
}

int dv_claims_restore(struct dv_node *node, const struct dv_store_claim *row, struct dv_err *err)
{
    struct dv_event e = {.kind = DV_EVENT_CLAIM_QUEUED, .claim = row->claim};
    int r = row->granted ? 0 : dv_event_apply(node->snapshot, &e, err);
    if (r < 0)
        return r;
    struct dv_holding *h =
        holding_new(node, &row->claim, &row->owner, row->uid, row->command, &row->workload);
    if (!h)
        return dv_err_set(err, -ENOMEM, "out of memory");
    h->since_unix = row->since_unix;
    h->stored = true;
    h->restored = row->granted;
    r = row->granted ? restore_slice(h, row, err) : 0;
    if (r < 0) {
        unlink_holding(h);
        holding_free(h);
        return r;
    }
    /* It may have been granted only half; and a driver that was loaded anew knows no limits. */
    if (row->granted && dv_arm_begin(h) && h->arming)
        h->state = DV_HOLDING_ARMING;
    return 0;
}

void dv_claims_settle(struct dv_node *node)
{
    uint64_t id = 0;
    for (struct dv_holding *h; (h = dv_node_holding_after(node, id));) {
        id = h->claim.id;
        if (!h->owner_watch && h->state != DV_HOLDING_ENDING)
            owner_gone(h);
    }
}

void dv_claims_free(struct dv_node *node)
{
    while (node->holdings) {
        struct dv_holding *h = node->holdings;
        changed(h);
        node->holdings = h->next;
        holding_free(h); /* the pages are dropped, not ended: for its processes it lives on */
    }
}
