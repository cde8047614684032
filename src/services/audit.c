/* SPDX-License-Identifier: Apache-2.0 */
#include "audit.h"

#include "claims.h"
#include "inventory.h"
#include "kubernetes/pods.h"
#include "meter.h"
#include "mps.h"
#include "sys/clock.h"
#include "sys/log.h"
#include "tenants.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define FINDING_LIFE_NS DV_NS_PER_S
#define NEEDED 2u           /* samples in a row: one may be older than what we know */
#define NEEDED_RESTORED 16u /* of a member from before a restart: it is about to come back */
#define WINDOW_NS DV_NS_PER_S
#define OVER_TIME_PERMILLE 250u /* of the window, beyond what was charged */
/* In a row: prices that no longer fit move charges between neighbours for a while. */
#define OVER_WINDOWS 4u
#define RATIO_PERMILLE 1300u /* measured over learnt time of clean leases lies below */
#define SUSPICIOUS_SAMPLES 8u
#define MEMORY_SLACK (128 * DV_MIB)
#define CONTEXT_PLAUSIBLE DV_GIB /* more than this is no context */

bool dv_audit_counts(const struct dv_finding *f)
{
    return f->hits >= f->needed;
}

/* ---- findings ---- */

static bool same(const struct dv_finding *a, const struct dv_finding *b)
{
    return a->gpu == b->gpu && a->holding == b->holding && a->process.pid == b->process.pid &&
           a->process.start == b->process.start && !strcmp(a->cause, b->cause);
}

static void set_open(struct dv_node *node, uint32_t gpu, bool open)
{
    uint32_t device;
    node->gpus[gpu].open = open;
    for (size_t i = 0; i < node->snapshot->n_devices; i++) {
        const struct dv_device *d = &node->snapshot->devices[i];
        if (d->gpu == gpu && dv_snapshot_held(node->snapshot, d->uuid).slices &&
            dv_lease_device(node->lease, d->uuid, &device) == 0)
            dv_lease_set_open(node->lease, device, open);
    }
}

static void act(struct dv_node *node, const struct dv_finding *f)
{
    char value[DV_LOG_VALUE];
    dv_log(DV_LOG_WARNING, "intruder.found", "gpu=%u pid=%d claim=c-%llu problem=%s", f->gpu,
           (int)f->process.pid, (unsigned long long)f->holding, dv_log_value(f->problem, value));
    if (node->config.intruder == DV_INTRUDER_OPEN)
        set_open(node, f->gpu, true);
    else if (node->config.intruder == DV_INTRUDER_KILL && f->process.pid > 0 && f->holding)
        dv_claims_signal_process(node, &f->process, SIGKILL);
}

static void report(struct dv_node *node, const struct dv_finding *new)
{
    uint64_t now = dv_clock_now();
    struct dv_finding *f = NULL;
    for (size_t i = 0; i < node->n_findings && !f; i++)
        if (same(&node->findings[i], new))
            f = &node->findings[i];
    if (!f) {
        if (node->n_findings == DV_NODE_FINDINGS_MAX)
            return;
        f = &node->findings[node->n_findings++];
        *f = *new;
        f->first_ns = now;
        f->hits = 0;
    }
    f->last_ns = now;
    if (f->hits < f->needed && ++f->hits == f->needed)
        act(node, f);
}

void dv_audit_tick(struct dv_node *node, uint64_t now)
{
    bool any = false;
    for (size_t i = node->n_findings; i-- > 0;) {
        struct dv_finding *f = &node->findings[i];
        if (now - f->last_ns < FINDING_LIFE_NS)
            continue;
        uint32_t gpu = f->gpu;
        if (dv_audit_counts(f))
            dv_log(DV_LOG_INFO, "intruder.gone", "gpu=%u pid=%d claim=c-%llu", f->gpu,
                   (int)f->process.pid, (unsigned long long)f->holding);
        *f = node->findings[--node->n_findings];
        bool others = false;
        for (size_t k = 0; k < node->n_findings; k++)
            others |= node->findings[k].gpu == gpu && dv_audit_counts(&node->findings[k]);
        if (!others)
            set_open(node, gpu, false);
        any = true;
    }
    if (any)
        dv_inventory_update_health(node);
}

/* ---- who is there ---- */

static bool is_shared(const struct dv_node *node, uint32_t gpu)
{
    for (size_t i = 0; i < node->snapshot->n_slices; i++)
        if (dv_node_gpu_of(node, node->snapshot->slices[i].device) == gpu)
            return true;
    return false;
}

/* A container that did not get the GPU from divvy. */
static void name_pod(struct dv_finding *f, const struct dv_workload *w)
{
    char title[DV_WORKLOAD_NAME_SIZE];
    dv_workload_title(w, title, sizeof title);
    snprintf(f->problem, sizeof f->problem,
             "process %d of pod %.100s uses GPU %u, which is shared, without a slice",
             (int)f->process.pid, title, f->gpu);
    snprintf(f->cause, sizeof f->cause,
             "its container did not get the GPU from divvy: by another device plugin, an "
             "environment variable or a mount");
    snprintf(f->remedy, sizeof f->remedy,
             "have the pod ask for a GPU of divvy's (nvidia.com/gpu on this node), or delete the "
             "pod");
}

static void name_process(struct dv_node *node, uint32_t gpu, const struct dv_proc_id *id,
                         struct dv_holding *h)
{
    struct dv_finding f = {
        .gpu = gpu, .process = *id, .holding = h ? h->claim.id : 0, .needed = NEEDED};
    const struct dv_workload *w;
    if (h) {
        for (size_t i = 0; i < h->n_strays; i++)
            if (h->strays[i].id.pid == id->pid && h->strays[i].from_store)
                f.needed = NEEDED_RESTORED;
        snprintf(f.subject, sizeof f.subject, "slice s-%llu", (unsigned long long)h->claim.id);
        snprintf(f.problem, sizeof f.problem,
                 "tenant %s: process %d uses GPU %u without leases (slice s-%llu)", h->claim.tenant,
                 (int)id->pid, gpu, (unsigned long long)h->claim.id);
        snprintf(f.cause, sizeof f.cause,
                 "it reached the driver past the governor, so neither its memory cap nor its share "
                 "is kept");
        snprintf(f.remedy, sizeof f.remedy,
                 "end it (divvy kill s-%llu), or give its tenant a device of its own "
                 "(divvy run --mode exclusive, --trust untrusted)",
                 (unsigned long long)h->claim.id);
        dv_tenants_add_stray(h, id, false);
    } else if ((w = dv_pods_of(node->pods, id->pid))) {
        snprintf(f.subject, sizeof f.subject, "gpu %u", gpu);
        name_pod(&f, w);
    } else {
        char user[64] = "?";
        uid_t uid;
        if (dv_proc_uid(id->pid, &uid) == 0)
            dv_proc_user_name(uid, user, sizeof user);
        snprintf(f.subject, sizeof f.subject, "gpu %u", gpu);
        snprintf(f.problem, sizeof f.problem,
                 "process %d of user %s uses GPU %u, which is shared, without a slice",
                 (int)id->pid, user, gpu);
        snprintf(f.cause, sizeof f.cause, "it was started outside of divvy");
        snprintf(f.remedy, sizeof f.remedy, "start it with divvy run, or end it (kill %d)",
                 (int)id->pid);
    }
    report(node, &f);
}

static enum dv_mode mode_of(const struct dv_holding *h)
{
    const struct dv_slice *s = dv_node_slice(h);
    return s ? s->mode : DV_MODE_AUTO;
}

static void learn_context(struct dv_node *node, uint32_t gpu, enum dv_mode mode, uint64_t bytes)
{
    struct dv_node_gpu *g = &node->gpus[gpu];
    bool mps = mode == DV_MODE_MPS;
    if (bytes <= dv_node_context_bytes(node, gpu, mode))
        return;
    *(mps ? &g->mps_context_learnt_bytes : &g->context_learnt_bytes) = bytes;
    dv_log(DV_LOG_INFO, "context.learnt", "gpu=%u mode=%s context_bytes=%llu", gpu,
           dv_device_mode_name(mode), (unsigned long long)bytes);
    for (struct dv_holding *h = node->holdings; h; h = h->next)
        if (h->pages.page && dv_node_gpu_of(node, h->device_uuid) == gpu &&
            (mode_of(h) == DV_MODE_MPS) == mps)
            dv_governor_slice_set_context(&h->pages, bytes);
}

static void check_memory(struct dv_node *node, uint32_t gpu, struct dv_member *m)
{
    struct dv_holding *h = m->holding;
    uint64_t held = dv_governor_slot_held(&m->slot, &h->pages);
    uint64_t overhead = __atomic_load_n(&m->slot.page->memory_overhead_bytes, __ATOMIC_ACQUIRE);
    if (m->driver_bytes == DV_FACT_UNKNOWN || m->driver_bytes <= held + MEMORY_SLACK) {
        m->over_memory = 0;
        return;
    }
    uint64_t excess = m->driver_bytes - held;
    if (++m->over_memory < NEEDED)
        return; /* an allocation may lie between the two readings */
    if (overhead && overhead <= held && overhead + excess <= CONTEXT_PLAUSIBLE) {
        learn_context(node, gpu, mode_of(h), overhead + excess);
        return;
    }
    struct dv_finding f = {.gpu = gpu, .process = m->id, .holding = h->claim.id, .needed = 1};
    snprintf(f.subject, sizeof f.subject, "slice s-%llu", (unsigned long long)h->claim.id);
    snprintf(f.problem, sizeof f.problem,
             "tenant %s: process %d holds %llu MiB more than it was charged (slice s-%llu)",
             h->claim.tenant, (int)m->id.pid, (unsigned long long)(excess / DV_MIB),
             (unsigned long long)h->claim.id);
    snprintf(f.cause, sizeof f.cause, "it allocated memory past the governor");
    snprintf(f.remedy, sizeof f.remedy, "end it: divvy kill s-%llu",
             (unsigned long long)h->claim.id);
    report(node, &f);
}

/* Turns are the driver's to give; without a memory wall there is nothing to go around. A container
 * that has a device for itself uses the driver as it is. */
static bool needs_handshake(const struct dv_holding *h)
{
    const struct dv_slice *s = dv_node_slice(h);
    if (s && s->mode == DV_MODE_EXCLUSIVE && h->workload)
        return false;
    return !s || s->mode != DV_MODE_TIMESLICE || s->memory_wall == DV_WALL_COOPERATIVE;
}

static void check_process(struct dv_node *node, uint32_t gpu, const struct dv_facts_process *p)
{
    struct dv_proc_id id;
    struct dv_member *m = dv_tenants_member(node, p->pid);
    if (m && dv_node_gpu_of(node, m->holding->device_uuid) == gpu) {
        m->seen = true;
        m->driver_bytes = p->memory_bytes;
        if (m->ready)
            check_memory(node, gpu, m);
        return;
    }
    if (dv_proc_identify((pid_t)p->pid, &id) < 0)
        return; /* it has ended since */
    if (dv_mps_is_ours(node, &id))
        return;
    struct dv_holding *h = dv_tenants_find_on(node, &id, gpu);
    if (h && !needs_handshake(h)) {
        dv_tenants_add_stray(h, &id, false);
        return;
    }
    if (h || is_shared(node, gpu))
        name_process(node, gpu, &id, h);
}

/* ---- time ---- */

/* Nobody charges it by leases: its mode has none, or they are off. */
static bool is_unleased(const struct dv_node *node, uint32_t gpu, const struct dv_holding *h)
{
    return node->gpus[gpu].open || mode_of(h) != DV_MODE_GOVERNED;
}

/* The driver's utilization is all that says how long it was busy. */
static bool is_metered_by_driver(const struct dv_node *node, uint32_t gpu,
                                 const struct dv_holding *h)
{
    return mode_of(h) == DV_MODE_TIMESLICE ||
           (node->gpus[gpu].open && mode_of(h) == DV_MODE_GOVERNED);
}

static void check_time(struct dv_node *node, uint32_t gpu, struct dv_holding *h, uint64_t window)
{
    uint64_t charged = h->ran_ns - h->charged_audit_ns;
    uint64_t utilized = h->utilized_audit_ns;
    h->charged_audit_ns = h->ran_ns;
    h->utilized_audit_ns = 0;
    if (is_unleased(node, gpu, h) || utilized <= charged + window * OVER_TIME_PERMILLE / 1000) {
        h->over_time = 0;
        return;
    }
    if (++h->over_time < OVER_WINDOWS)
        return;
    struct dv_finding f = {.gpu = gpu, .holding = h->claim.id, .needed = 1};
    snprintf(f.subject, sizeof f.subject, "slice s-%llu", (unsigned long long)h->claim.id);
    snprintf(f.problem, sizeof f.problem,
             "tenant %s: its processes run far beyond their leases (slice s-%llu)", h->claim.tenant,
             (unsigned long long)h->claim.id);
    snprintf(f.cause, sizeof f.cause, "they launch work past the governor");
    snprintf(f.remedy, sizeof f.remedy, "end them: divvy kill s-%llu",
             (unsigned long long)h->claim.id);
    report(node, &f);
}

/* What the driver's samples of one look say, fitted to what it says of the whole GPU: each figure
 * is a whole percent, cut off, and windows of different processes may differ. */
struct look {
    uint64_t from_us; /* samples of before were seen then */
    uint64_t now_us, most_us;
    uint32_t sum, fitted; /* percent: of the processes; what they are scaled to */
};

/* The newest sample of the last look, if it is of then; else the look itself. */
static uint64_t seen_until_us(const struct dv_node_gpu *g)
{
    bool fresh = g->since_us && g->polled_us < g->since_us + 1000000;
    return fresh ? DV_MIN(g->since_us, g->polled_us) : g->polled_us;
}

uint64_t dv_audit_unseen_ns(const struct dv_node *node, uint32_t gpu)
{
    const struct dv_node_gpu *g = &node->gpus[gpu];
    uint64_t now = dv_clock_unix_us();
    return g->polled_ns ? (now - DV_MIN(seen_until_us(g), now)) * 1000 : 0;
}

static struct look look_at(struct dv_node *node, struct dv_node_gpu *g,
                           const struct dv_facts_sample *s)
{
    uint64_t now = dv_clock_now();
    struct look l = {.now_us = dv_clock_unix_us()};
    uint32_t n = 0;
    l.most_us =
        (now - DV_MAX(g->polled_ns, now - dv_meter_resumed_ago(node, now))) / 1000 + 1000000;
    l.from_us = seen_until_us(g);
    /* The first look speaks for all the time in which nobody looked, unless the driver keeps
     * accounts and is asked for them. */
    if (!g->polled_ns && (!g->facts || g->facts->accounting != 1))
        l.from_us = l.now_us - DV_MIN(l.now_us, dv_meter_resumed_ago(node, now) / 1000);
    else if (!g->polled_ns)
        l.from_us = l.now_us;
    if (l.from_us > l.now_us) { /* the clock was set back: the driver's times went with it */
        l.from_us = l.now_us - DV_MIN(l.now_us, (now - g->polled_ns) / 1000);
        g->since_us = l.from_us;
    }
    for (uint32_t i = 0; i < s->n_utilization; i++) {
        l.sum += DV_MIN(s->utilization[i].sm_percent, 100u);
        n++;
    }
    bool known = s->gpu_percent <= 100 && (s->gpu_percent < l.sum || s->gpu_percent - l.sum <= n);
    l.fitted = known ? s->gpu_percent : DV_MIN(l.sum, 100u);
    g->polled_us = l.now_us;
    g->polled_ns = now;
    return l;
}

/* A sample speaks for the time since the last one of the same process, if there was one at the last
 * look; else since that look. */
static uint64_t ran_ns(const struct look *l, const struct dv_facts_utilization *u, uint64_t seen_us)
{
    uint64_t from = DV_MAX(l->from_us, seen_us > l->now_us ? 0 : seen_us);
    if (u->time_us <= from || u->sm_percent > 100 || !l->sum)
        return 0;
    return DV_MIN(u->time_us - from, l->most_us) * 10 * u->sm_percent * l->fitted / l->sum;
}

/* Clients of MPS time themselves, and who was there before a restart has counted meanwhile. */
static bool will_tell(const struct dv_holding *h, const struct dv_proc_id *id)
{
    for (size_t i = 0; i < h->n_strays; i++)
        if (h->strays[i].id.pid == id->pid && h->strays[i].from_store)
            return mode_of(h) != DV_MODE_TIMESLICE;
    return mode_of(h) == DV_MODE_MPS;
}

static void add_process(struct dv_node *node, uint32_t gpu, const struct look *l,
                        const struct dv_facts_utilization *u)
{
    struct dv_member *m = dv_tenants_member(node, u->pid);
    struct dv_proc_id id;
    uint64_t ns = ran_ns(l, u, m && !m->returns ? m->utilized_us : 0);
    if (m && dv_node_gpu_of(node, m->holding->device_uuid) == gpu) {
        m->utilized_us = u->time_us;
        m->holding->utilized_audit_ns += ns;
        if (is_metered_by_driver(node, gpu, m->holding))
            dv_meter_process_ran(m, ns);
        return;
    }
    if (!ns || dv_proc_identify((pid_t)u->pid, &id) < 0 || dv_mps_is_ours(node, &id))
        return;
    ns = DV_MIN(ns, ran_ns(l, u, dv_meter_left_us(node, &id)));
    struct dv_holding *h = dv_tenants_find_on(node, &id, gpu);
    if (!h)
        dv_meter_outside_ran(node, gpu, dv_pods_of(node->pods, id.pid), ns);
    else if (!will_tell(h, &id))
        dv_meter_stray_ran(h, &id, ns);
}

static void add_utilization(struct dv_node *node, uint32_t gpu, const struct dv_facts_sample *s)
{
    struct dv_node_gpu *g = &node->gpus[gpu];
    uint64_t before_ns = g->polled_ns;
    struct look l = look_at(node, g, s);
    uint64_t newest = g->since_us;
    for (uint32_t i = 0; i < s->n_utilization; i++) {
        newest = DV_MAX(newest, s->utilization[i].time_us);
        add_process(node, gpu, &l, &s->utilization[i]);
    }
    g->since_us = newest;
    if (before_ns && s->gpu_percent <= 100)
        dv_meter_gpu_ran(node, gpu, (g->polled_ns - before_ns) / 100 * s->gpu_percent);
}

static void check_times(struct dv_node *node, uint32_t gpu, uint64_t now)
{
    struct dv_node_gpu *g = &node->gpus[gpu];
    uint64_t window = now - g->audit_window_ns;
    if (window < WINDOW_NS)
        return;
    dv_meter_close(node, now);
    for (struct dv_holding *h = node->holdings; h; h = h->next)
        if (h->pages.page && dv_node_gpu_of(node, h->device_uuid) == gpu)
            check_time(node, gpu, h, DV_MIN(window, 4 * WINDOW_NS));
    g->audit_window_ns = now;
}

/* Where the driver cannot say who is there, the arbiter's measurements still say that somebody is:
 * leases take longer than the same work took alone. */
static void check_company(struct dv_node *node, uint32_t gpu)
{
    uint32_t ratio = 0;
    for (const struct dv_holding *h = node->holdings; h; h = h->next)
        if (h->pages.page && dv_node_gpu_of(node, h->device_uuid) == gpu)
            ratio = DV_MAX(ratio, dv_lease_intruder_ratio(node->lease, h->device));
    node->gpus[gpu].suspicious = ratio > RATIO_PERMILLE ? node->gpus[gpu].suspicious + 1 : 0;
    if (node->gpus[gpu].suspicious < SUSPICIOUS_SAMPLES)
        return;
    struct dv_finding f = {.gpu = gpu, .needed = 1};
    snprintf(f.subject, sizeof f.subject, "gpu %u", gpu);
    snprintf(f.problem, sizeof f.problem,
             "somebody uses GPU %u beside the leases; this driver does not say who", gpu);
    snprintf(f.cause, sizeof f.cause, "work takes longer than the same work took alone");
    snprintf(f.remedy, sizeof f.remedy, "look for programs that were started without divvy run");
    report(node, &f);
}

void dv_audit_sample(struct dv_node *node, uint32_t gpu, const struct dv_facts_sample *s)
{
    for (struct dv_member *m = node->members; m; m = m->next)
        if (m->holding && dv_node_gpu_of(node, m->holding->device_uuid) == gpu)
            m->seen = !s->processes_known;
    for (uint32_t i = 0; i < DV_MIN(s->n_processes, DV_FACTS_PROCESSES_MAX); i++)
        check_process(node, gpu, &s->processes[i]);
    if (s->utilization_known)
        add_utilization(node, gpu, s);
    if (!s->processes_known)
        check_company(node, gpu);
    check_times(node, gpu, dv_clock_now());
}
