/* SPDX-License-Identifier: Apache-2.0 */
#include "meter.h"

#include "account/books.h"
#include "account/tally.h"
#include "activity.h"
#include "costs.h"
#include "meter_ended.h"
#include "meter_restart.h"
#include "sys/clock.h"
#include "sys/log.h"
#include "tenants.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLUSH_NS (2 * DV_NS_PER_S)
#define SOON_NS (50 * DV_NS_PER_MS) /* between flushes, however many processes come and go */
#define LEFT_MAX 64u /* of those that left last: by the next look at the GPU they are gone */
#define RETURN_NS (5 * DV_NS_PER_S) /* for processes to come back after a restart */

struct dv_meter {
    struct dv_books *books;
    struct dv_tally tally;
    struct dv_meter_restart restart;
    uint64_t resumed_ns;    /* where the books went on when the daemon was started */
    uint64_t open_until_ns; /* the first interval is kept open until then; 0: it is closed */
    uint64_t flushed_ns;
    bool flush_soon; /* a process came or went: at the next tick, so that a crash finds it */
    bool roll_more;
    struct {
        struct dv_proc_id id;
        uint64_t us;
    } left[LEFT_MAX];
    size_t n_left; /* ever; the last of them are kept */
};

/* ---- where charges go ---- */

static void charge_holding(struct dv_holding *h, const struct dv_charge *c)
{
    struct dv_usage more = {.busy_ns = c->busy_ns,
                            .wait_ns = c->wait_ns,
                            .compute_ns = c->requested_compute,
                            .byte_ns = (dv_u128)c->byte_seconds * DV_NS_PER_S};
    dv_usage_add(&h->used, &more);
}

static void on_charge(void *arg, uint64_t slice, const struct dv_account *account,
                      const struct dv_charge *charge)
{
    struct dv_node *node = arg;
    struct dv_holding *h = slice ? dv_node_holding(node, slice) : NULL;
    if (node->ledger && dv_ledger_add(node->ledger, account, charge) < 0)
        dv_log(DV_LOG_ERROR, "ledger.lost", "tenant=%s busy_ns=%llu detail=\"out of memory\"",
               account->tenant, (unsigned long long)charge->busy_ns);
    dv_tally_add(&node->meter->tally, account, charge, dv_clock_now());
    dv_costs_add(node->costs, account, charge, dv_clock_unix());
    if (h)
        charge_holding(h, charge);
}

struct dv_books *dv_meter_books(struct dv_node *node)
{
    return node->meter ? node->meter->books : NULL;
}

uint64_t dv_meter_resumed_ago(const struct dv_node *node, uint64_t now)
{
    bool any = node->meter && node->meter->books;
    return now - DV_MIN(any ? node->meter->resumed_ns : now, now);
}

struct dv_tally *dv_meter_tally(const struct dv_node *node)
{
    return &node->meter->tally;
}

/* ---- reading counters ---- */

/* Counters only grow; one that does not is taken as it is from now on. */
static uint64_t step(uint64_t *seen, uint64_t now)
{
    uint64_t more = now > *seen ? now - *seen : 0;
    *seen = now;
    return more;
}

#define GET(word) __atomic_load_n(&(word), __ATOMIC_ACQUIRE)

static enum dv_mode mode_of(const struct dv_holding *h)
{
    const struct dv_slice *s = dv_node_slice(h);
    return s ? s->mode : DV_MODE_AUTO;
}

static bool is_mig(const struct dv_holding *h)
{
    const struct dv_device *d = dv_snapshot_device(h->node->snapshot, h->device_uuid);
    return d && d->mig;
}

/*
 * A slice that is alone on its device, or overlaps with others under MPS, has no leases: its
 * processes time their own work; so have time-slices of a MIG device, which NVML does not split.
 * Those of a whole GPU are metered by the driver's utilization (audit.c): a process cannot tell its
 * own turns from those of others.
 */
static bool times_itself(const struct dv_holding *h)
{
    enum dv_mode mode = mode_of(h);
    return mode == DV_MODE_EXCLUSIVE || mode == DV_MODE_MPS ||
           (mode == DV_MODE_TIMESLICE && is_mig(h));
}

/* What a process says is bounded by the time that has passed. */
static uint64_t said(const struct dv_member *m, uint64_t word, uint64_t base, uint64_t now)
{
    return word > base ? DV_MIN(word - base, now - m->since_ns) : 0;
}

static bool is_open(const struct dv_holding *h)
{
    uint32_t gpu = dv_node_gpu_of(h->node, h->device_uuid);
    return gpu < DV_FACTS_GPUS_MAX && h->node->gpus[gpu].open;
}

static void tell_busy(struct dv_holding *h, uint64_t ns, enum dv_quality quality)
{
    h->busy_ns += ns;
    if (ns)
        dv_activity_worked(h, dv_clock_now());
    dv_books_busy(h->node->meter->books, h->claim.id, ns, quality);
}

/* How far a process's own counters were read: all that it has run since it started, by itself or by
 * leases. Not what its page says by now, which nobody has charged yet. */
static uint64_t own_counter(const struct dv_member *m)
{
    return m->ran_base_ns + m->ran_seen_ns + m->selfpaced_base_ns + m->selfpaced_seen_ns;
}

static bool is_sampled(const struct dv_holding *h)
{
    return mode_of(h) == DV_MODE_TIMESLICE && !is_mig(h);
}

/* At most all the time since the last flush: a process's word is its own. */
static void charge_absence(struct dv_member *m, uint64_t now)
{
    struct dv_meter *meter = m->node->meter;
    uint64_t charged;
    uint64_t ran = dv_meter_restart_returned(&meter->restart, m->holding->claim.id, &m->id,
                                             own_counter(m), &charged);
    bool paced = mode_of(m->holding) == DV_MODE_GOVERNED;
    m->driver_ran_ns += charged;
    if (!is_sampled(m->holding)) /* else the driver's samples have it */
        tell_busy(m->holding, DV_MIN(ran, now - meter->resumed_ns),
                  paced ? DV_QUALITY_ESTIMATED : DV_QUALITY_EXACT);
}

/* A process writes its counters to its new page when it next does something. */
static bool has_written(struct dv_member *m, uint64_t now)
{
    const struct dv_slot_page *p = m->slot.page;
    if (!m->returns)
        return true;
    if (!GET(p->alive_ns))
        return false;
    m->returns = false;
    m->ran_base_ns = GET(p->ran_total_ns);
    m->selfpaced_base_ns = GET(p->selfpaced_total_ns);
    m->launches_seen = m->activity.launches_seen = GET(p->launches_total);
    m->activity.refused_seen = GET(p->refused_total);
    m->gate_wait_seen_ns = GET(p->wait_total_ns);
    charge_absence(m, now);
    return true;
}

static void read_member(struct dv_member *m, uint64_t now)
{
    struct dv_holding *h = m->holding;
    const struct dv_slot_page *p = m->slot.page;
    if (!has_written(m, now))
        return;
    uint64_t paced = said(m, GET(p->selfpaced_total_ns), m->selfpaced_base_ns, now);
    uint64_t ran = step(&m->ran_seen_ns, said(m, GET(p->ran_total_ns), m->ran_base_ns, now));
    /* The arbiter was late, and it kept to its share by itself. */
    tell_busy(h, step(&m->selfpaced_seen_ns, paced), DV_QUALITY_ESTIMATED);
    if (times_itself(h) || (mode_of(h) == DV_MODE_GOVERNED && !is_open(h)))
        tell_busy(h, ran, DV_QUALITY_EXACT);
    h->ran_ns += ran;
}

/* The arbiter charges for having the device; what ran in that time is busy. The rest went to the
 * switch and to gaps: overhead where somebody waited, else nobody missed it. */
static void read_leases(struct dv_holding *h)
{
    struct dv_arbiter_counters c;
    if (dv_lease_slice_counters(h->node->lease, h->device, h->entity, &c) < 0)
        return;
    uint64_t waited = step(&h->waited_seen_ns, c.waited_ns);
    h->charged_seen_ns = c.charged_ns;
    h->waited_told_ns += waited;
    uint64_t cost = c.charged_ns > h->ran_ns ? c.charged_ns - h->ran_ns : 0;
    h->cost_ns += step(&h->cost_seen_ns, DV_MAX(h->cost_seen_ns, cost));
    dv_books_wait(h->node->meter->books, h->claim.id, waited);
}

/* While leases are off the driver's samples say who was busy. */
static void set_source(struct dv_holding *h)
{
    if (mode_of(h) == DV_MODE_GOVERNED)
        dv_books_source(h->node->meter->books, h->claim.id,
                        is_open(h) ? DV_SOURCE_DRIVER : DV_SOURCE_NONE, DV_QUALITY_SAMPLED);
}

void dv_meter_holding(struct dv_holding *h, uint64_t now)
{
    if (!dv_meter_books(h->node) || h->entity == UINT32_MAX)
        return;
    for (struct dv_member *m = h->node->members; m; m = m->next)
        if (m->holding == h && m->ready && m->slot.page)
            read_member(m, now);
    read_leases(h);
    set_source(h);
}

/* What leases cost beside what ran in them, where anybody waited for the device meanwhile. */
static uint64_t lost_on(struct dv_node *node, const char *device)
{
    uint64_t lost = 0, waited = 0;
    for (struct dv_holding *h = node->holdings; h; h = h->next) {
        if (strcmp(h->device_uuid, device) != 0)
            continue;
        lost += h->cost_ns;
        waited += h->waited_told_ns;
        h->cost_ns = h->waited_told_ns = 0;
    }
    return DV_MIN(lost, waited);
}

static void read_devices(struct dv_node *node)
{
    for (size_t i = 0; i < node->snapshot->n_devices; i++) {
        const struct dv_device *d = &node->snapshot->devices[i];
        uint32_t device;
        if (d->mode != DV_MODE_GOVERNED || !dv_snapshot_held(node->snapshot, d->uuid).slices ||
            dv_lease_device(node->lease, d->uuid, &device) < 0)
            continue;
        uint64_t between =
            step(&node->overhead_seen_ns[device], dv_lease_device_overhead(node->lease, device));
        dv_books_overhead(node->meter->books, d->uuid, between + lost_on(node, d->uuid));
    }
}

/* ---- the driver's words ---- */

void dv_meter_process_ran(struct dv_member *m, uint64_t ns)
{
    m->driver_ran_ns += ns;
    dv_meter_ended_charged(m->node, m->holding->claim.id, &m->id, ns);
    if (m->node->meter->books)
        tell_busy(m->holding, ns, DV_QUALITY_SAMPLED);
}

static struct dv_stray *find_stray(struct dv_holding *h, const struct dv_proc_id *id)
{
    for (size_t i = 0; i < h->n_strays; i++)
        if (h->strays[i].id.pid == id->pid && h->strays[i].id.start == id->start)
            return &h->strays[i];
    return NULL;
}

void dv_meter_stray_ran(struct dv_holding *h, const struct dv_proc_id *id, uint64_t ns)
{
    struct dv_meter *meter = h->node->meter;
    if (!meter->books)
        return;
    struct dv_stray *stray = find_stray(h, id);
    if (!dv_meter_restart_charged(&meter->restart, h->claim.id, id, ns) && stray)
        stray->driver_ran_ns += ns;
    dv_meter_ended_charged(h->node, h->claim.id, id, ns);
    tell_busy(h, ns, DV_QUALITY_SAMPLED);
}

void dv_meter_was_charged(struct dv_node *node, uint64_t claim, const struct dv_proc_id *id,
                          uint64_t ns)
{
    struct dv_member *m = dv_tenants_member(node, (uint32_t)id->pid);
    if (m && m->holding->claim.id == claim && m->id.start == id->start && !m->returns)
        m->driver_ran_ns += ns;
    else
        dv_meter_restart_charged(&node->meter->restart, claim, id, ns);
    dv_meter_ended_charged(node, claim, id, ns);
}

void dv_meter_answered(struct dv_node *node, uint64_t claim, const struct dv_proc_id *id)
{
    if (node->meter)
        dv_meter_restart_answered(&node->meter->restart, claim, id);
}

void dv_meter_outside_ran(struct dv_node *node, uint32_t gpu, const struct dv_workload *whose,
                          uint64_t ns)
{
    const struct dv_gpu *g = dv_snapshot_gpu(node->snapshot, gpu);
    if (node->meter->books && g)
        dv_books_outside(node->meter->books, g->uuid, whose ? whose->namespace : NULL,
                         whose ? whose->pod : "", ns);
}

void dv_meter_gpu_ran(struct dv_node *node, uint32_t gpu, uint64_t ns)
{
    const struct dv_gpu *g = dv_snapshot_gpu(node->snapshot, gpu);
    const struct dv_device *d = g ? dv_snapshot_device(node->snapshot, g->uuid) : NULL;
    if (node->meter->books && d && d->mode == DV_MODE_MPS)
        dv_books_ran(node->meter->books, d->uuid, ns);
}

/* ---- processes ---- */

/* It may have hung up half-way through an earlier handshake, and be no stray any more. */
void dv_meter_joined(struct dv_member *m)
{
    struct dv_meter *meter = m->node->meter;
    const struct dv_stray *stray = find_stray(m->holding, &m->id);
    meter->flush_soon = true;
    m->returns = (stray && stray->from_store) ||
                 dv_meter_restart_expects(&meter->restart, m->holding->claim.id, &m->id);
    if (!stray)
        return;
    m->driver_ran_ns += stray->driver_ran_ns;
    if (!m->returns && !is_sampled(m->holding)) /* its own counters have that too */
        m->ran_base_ns += stray->driver_ran_ns;
}

/* What was under way when it ended, and no end of it was seen: until now, as far as was predicted.
 */
static uint64_t cut_short(const struct dv_member *m, uint64_t now)
{
    const struct dv_slot_page *p = m->slot.page;
    uint64_t submitted = GET(p->inflight_ns), last = GET(p->last_end_ns);
    uint32_t state = GET(p->state);
    bool runs = mode_of(m->holding) != DV_MODE_GOVERNED ||
                (state >= DV_SLOT_HELD && state <= DV_SLOT_DRAINING);
    if (!runs)
        return 0;
    uint64_t since =
        DV_MIN(DV_MAX(last, m->since_ns), now); /* it shook hands before it submitted */
    return DV_MIN(submitted, now - since);
}

static struct dv_ledger_checkpoint checkpoint_of(const struct dv_member *m)
{
    struct dv_holding *h = m->holding;
    struct dv_ledger_checkpoint c = {
        .claim = h->claim.id, .pid = m->id.pid, .start = m->id.start, .counter_ns = own_counter(m)};
    c.busy_ns = is_sampled(h) ? m->driver_ran_ns : c.counter_ns;
    dv_books_account(m->node->meter->books, h->claim.id, &c.account);
    memcpy(c.device, h->device_uuid, sizeof c.device);
    return c;
}

static void note_left(struct dv_meter *meter, const struct dv_proc_id *id)
{
    size_t at = meter->n_left++ % LEFT_MAX;
    meter->left[at].id = *id;
    meter->left[at].us = dv_clock_unix_us();
}

uint64_t dv_meter_left_us(const struct dv_node *node, const struct dv_proc_id *id)
{
    const struct dv_meter *meter = node->meter;
    for (size_t i = 0; i < DV_MIN(meter->n_left, LEFT_MAX); i++)
        if (meter->left[i].id.pid == id->pid && meter->left[i].id.start == id->start)
            return meter->left[i].us;
    return 0;
}

/* Back from before a restart, and gone before its counters were read: as if it had not been back.
 * Of one without a checkpoint the driver tells all. */
static void left_unread(struct dv_member *m)
{
    struct dv_node *node = m->node;
    struct dv_holding *h = m->holding;
    struct dv_meter_restart *restart = &node->meter->restart;
    bool expected = dv_meter_restart_charged(restart, h->claim.id, &m->id, m->driver_ran_ns);
    struct dv_meter_ended e = {.row = checkpoint_of(m)};
    struct dv_stray *stray;
    if (dv_proc_alive(&m->id)) {
        dv_tenants_add_stray(h, &m->id, true);
        stray = find_stray(h, &m->id);
        if (stray && !expected)
            stray->driver_ran_ns = m->driver_ran_ns;
    } else if (!expected) {
        e.row.busy_ns = m->driver_ran_ns;
        dv_meter_ended_ask(node, &e);
    }
}

void dv_meter_left(struct dv_member *m, uint64_t now)
{
    struct dv_node *node = m->node;
    if (!dv_meter_books(node) || !m->slot.page)
        return;
    node->meter->flush_soon = true;
    note_left(node->meter, &m->id);
    if (m->returns)
        left_unread(m);
    else if (!is_sampled(m->holding))
        tell_busy(m->holding, cut_short(m, now), DV_QUALITY_EXACT);
    else
        dv_meter_ended_ask(node, &(struct dv_meter_ended){.row = checkpoint_of(m)});
}

/* ---- the interval's end ---- */

/* After a restart: until those who were there are back, and the driver has told of the others. */
static bool stays_open(const struct dv_node *node, uint64_t now)
{
    const struct dv_meter *meter = node->meter;
    return now < meter->open_until_ns &&
           (node->n_questions || dv_meter_restart_awaits(&meter->restart));
}

static void close_books(struct dv_node *node, uint64_t now)
{
    struct dv_meter *meter = node->meter;
    meter->open_until_ns = 0;
    for (struct dv_holding *h = node->holdings; h; h = h->next)
        dv_meter_holding(h, now);
    read_devices(node);
    int r = dv_books_close(meter->books, node->snapshot, now);
    if (r < 0)
        dv_log(DV_LOG_ERROR, "books.failed", "error=%s", strerror(-r));
}

void dv_meter_close(struct dv_node *node, uint64_t now)
{
    if (!dv_meter_books(node))
        return;
    if (!stays_open(node, now))
        close_books(node, now);
}

void dv_meter_changes(struct dv_node *node, uint64_t now)
{
    struct dv_books *books = dv_meter_books(node);
    if (books && stays_open(node, now))
        dv_books_note(books, node->snapshot, now);
    else if (books)
        close_books(node, now);
}

void dv_meter_changed(struct dv_node *node)
{
    struct dv_books *books = dv_meter_books(node);
    if (books)
        dv_books_note(books, node->snapshot, dv_clock_now());
}

/* ---- the ledger ---- */

static void note_ledger(struct dv_node *node, int r, const struct dv_err *err)
{
    char value[DV_LOG_VALUE];
    if (r < 0 && !node->ledger_problem[0])
        dv_log(DV_LOG_ERROR, "ledger.failed", "detail=%s", dv_log_value(err->msg, value));
    if (r >= 0 && node->ledger_problem[0])
        dv_log(DV_LOG_INFO, "ledger.recovered", "path=%s", dv_ledger_path(node->ledger));
    snprintf(node->ledger_problem, sizeof node->ledger_problem, "%.299s", r < 0 ? err->msg : "");
}

static size_t make_checkpoints(const struct dv_node *node, struct dv_ledger_checkpoint **ret)
{
    const struct dv_meter *meter = node->meter;
    size_t n = 0;
    *ret = calloc(node->n_members + meter->restart.n + node->n_questions + 1, sizeof **ret);
    for (const struct dv_member *m = node->members; *ret && m; m = m->next)
        if (m->ready && !m->returns && m->slot.page)
            (*ret)[n++] = checkpoint_of(m);
    if (*ret)
        n += dv_meter_restart_open(&meter->restart, *ret + n);
    if (*ret)
        n += dv_meter_ended_open(node, *ret + n);
    return n;
}

struct owed {
    struct dv_ledger_owed *rows;
    size_t n, room;
};

static void on_pending(void *arg, const struct dv_account *account, const char *device, uint64_t ns)
{
    struct owed *o = arg;
    if (o->n == o->room) {
        size_t room = o->room ? 2 * o->room : 16;
        void *more = realloc(o->rows, room * sizeof *o->rows);
        if (!more)
            return;
        o->rows = more;
        o->room = room;
    }
    o->rows[o->n] = (struct dv_ledger_owed){.account = *account, .ns = ns};
    if (dv_str_copy(o->rows[o->n].device, sizeof o->rows[o->n].device, device) == 0)
        o->n++;
}

static void on_owed(void *arg, const struct dv_ledger_owed *row)
{
    dv_books_late(arg, &row->account, row->device, row->ns);
}

static struct dv_ledger_time ledger_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (struct dv_ledger_time){(int64_t)t.tv_sec * (int64_t)DV_NS_PER_S + t.tv_nsec,
                                   dv_clock_now()};
}

/* The file is damaged: it is kept, and a new one begun; what is in memory goes there. */
static int put_aside(struct dv_node *node, struct dv_err *err)
{
    dv_cleanup(dv_str_done) struct dv_str note = {0};
    char value[DV_LOG_VALUE];
    int r = dv_ledger_put_aside(node->ledger, &note, err);
    if (r == 0)
        dv_log(DV_LOG_ERROR, "ledger.corrupt", "detail=%s", dv_log_value(dv_str_get(&note), value));
    node->meter->flush_soon = r == 0;
    return r;
}

void dv_meter_flush(struct dv_node *node)
{
    struct dv_meter *meter = node->meter;
    struct dv_ledger_checkpoint *rows;
    struct dv_err err = {0};
    struct dv_ledger_time now = ledger_now();
    if (!meter->books)
        return;
    dv_meter_close(node, now.mono_ns);
    meter->flushed_ns = now.mono_ns;
    meter->flush_soon = false;
    if (!node->ledger || meter->open_until_ns)
        return; /* what waits to be charged has no place on disk: the old checkpoints hold */
    struct owed owed = {0};
    size_t n = make_checkpoints(node, &rows);
    dv_books_pending(meter->books, on_pending, &owed);
    dv_ledger_owe(node->ledger, owed.rows, owed.n);
    int r = rows ? dv_ledger_flush(node->ledger, now, rows, n, &err)
                 : dv_err_set(&err, -ENOMEM, "out of memory");
    free(rows);
    free(owed.rows);
    if (r == -EBADMSG)
        r = put_aside(node, &err);
    note_ledger(node, r, &err);
    meter->roll_more = r == 0;
}

static void roll(struct dv_node *node)
{
    struct dv_err err = {0};
    int r = dv_ledger_roll(node->ledger, ledger_now().unix_ns, &err);
    node->meter->roll_more = r > 0;
    if (r < 0)
        note_ledger(node, r, &err);
}

void dv_meter_soon(struct dv_node *node)
{
    const struct dv_meter *meter = node->meter;
    bool now = meter && meter->books && meter->flush_soon && !node->ledger_problem[0];
    if (now && dv_clock_now() - meter->flushed_ns >= SOON_NS)
        dv_meter_flush(node);
}

void dv_meter_tick(struct dv_node *node, uint64_t now)
{
    struct dv_meter *meter = node->meter;
    if (!dv_meter_books(node))
        return;
    dv_meter_restart_settle(node, &meter->restart);
    bool minute = node->ledger && ledger_now().unix_ns >= dv_ledger_minute_end(node->ledger);
    bool soon = minute || meter->flush_soon;
    if (now - meter->flushed_ns >= FLUSH_NS || (soon && !node->ledger_problem[0]))
        dv_meter_flush(node);
    else if (meter->roll_more && node->ledger)
        roll(node);
}

void dv_meter_life(struct dv_holding *h, enum dv_ledger_event event)
{
    const struct dv_slice *s = dv_node_slice(h);
    struct dv_ledger_life life = {.event = event, .claim = h->claim.id};
    if (!h->node->ledger || !h->node->meter->books || !s ||
        dv_books_account(h->node->meter->books, h->claim.id, &life.account) < 0)
        return;
    life.memory_bytes = s->memory_bytes;
    life.compute = s->compute;
    life.unix_ns = ledger_now().unix_ns;
    if (event == DV_LEDGER_RELEASED) {
        life.busy_ns = h->used.busy_ns;
        life.wait_ns = h->used.wait_ns;
        life.requested_compute = (uint64_t)h->used.compute_ns;
        life.byte_seconds = dv_usage_byte_seconds(&h->used);
    }
    dv_ledger_add_life(h->node->ledger, &life);
}

/* ---- life ---- */

/* Where the books go on: at the last flush, if it was in this boot of the machine; what went on
 * before that is not known. */
static uint64_t last_look(struct dv_node *node, uint64_t now)
{
    struct dv_ledger_flushed last;
    struct dv_err err;
    if (!node->ledger || dv_ledger_flushed(node->ledger, &last, &err) < 0 || !last.this_boot ||
        last.time.mono_ns >= now)
        return now;
    dv_ledger_resume(node->ledger, last.time);
    return last.time.mono_ns;
}

int dv_meter_new(struct dv_node *node)
{
    node->meter = calloc(1, sizeof *node->meter);
    return node->meter ? 0 : -ENOMEM;
}

int dv_meter_start(struct dv_node *node)
{
    struct dv_meter *meter = node->meter;
    struct dv_err err = {0};
    uint64_t now = dv_clock_now();
    meter->resumed_ns = last_look(node, now);
    int r = dv_books_new(meter->resumed_ns, on_charge, node, &meter->books);
    if (r == 0) /* those that were taken back have their place from here on */
        r = dv_books_note(meter->books, node->snapshot, meter->resumed_ns);
    if (r < 0)
        return r;
    if (dv_meter_restart_load(node, &meter->restart, &err) < 0 ||
        (node->ledger && dv_ledger_owed(node->ledger, on_owed, meter->books, &err) < 0))
        note_ledger(node, -EIO, &err);
    meter->flushed_ns = now;
    meter->open_until_ns = now + RETURN_NS;
    meter->flush_soon = true; /* from here on a crash finds where to go on */
    return 0;
}

void dv_meter_free(struct dv_node *node)
{
    if (!node->meter)
        return;
    dv_books_free(node->meter->books);
    dv_tally_done(&node->meter->tally);
    dv_meter_restart_done(&node->meter->restart);
    free(node->meter);
    node->meter = NULL;
}
