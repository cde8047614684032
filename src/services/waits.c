/* SPDX-License-Identifier: Apache-2.0 */
#include "waits.h"

#include "policy/admit.h"
#include "policy/queue.h"
#include "sys/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEAVE_GRAIN_NS (100 * DV_NS_PER_MS)
#define EXPLAINED_MAX                                                                              \
    16 /* claims asked about at a time that wait for no slice: each walks the queue */

enum { NOBODY_COLUMN = DV_ARBITER_ENTITIES_MAX, GONE_COLUMN };

/* ---- rows ---- */

/* `guess`: where it was found last, often. */
static struct dv_wait_for *find(struct dv_time_spent *t, const char *holder, size_t guess)
{
    if (guess < t->n_waits && !strcmp(t->waits[guess].holder, holder))
        return &t->waits[guess];
    for (size_t i = 0; i < t->n_waits; i++)
        if (!strcmp(t->waits[i].holder, holder))
            return &t->waits[i];
    return NULL;
}

/* NULL only when memory is out. */
static struct dv_wait_for *row_of(struct dv_time_spent *t, const char *holder, size_t guess)
{
    struct dv_wait_for *w = find(t, holder, guess);
    if (w)
        return w;
    bool special = holder[0] == '(';
    if (!special && t->n_waits >= DV_WAITS_HOLDERS_MAX)
        return row_of(t, DV_WAITS_OTHERS, 0);
    struct dv_wait_for *more = realloc(t->waits, (t->n_waits + 1) * sizeof *more);
    if (!more)
        return find(t, DV_WAITS_OTHERS, 0);
    t->waits = more;
    w = &more[t->n_waits++];
    *w = (struct dv_wait_for){.turn_ns = 0};
    snprintf(w->holder, sizeof w->holder, "%s", holder);
    return w;
}

static void note_since(struct dv_time_spent *t)
{
    t->dirty = true;
    if (!t->since_unix)
        t->since_unix = dv_clock_unix();
}

static void add_wait(struct dv_time_spent *t, const char *holder, size_t guess, uint64_t turn_ns,
                     uint64_t queue_ns)
{
    struct dv_wait_for *w = row_of(t, holder, guess);
    if (!w)
        return;
    note_since(t);
    w->turn_ns += turn_ns;
    w->queue_ns += queue_ns;
    w->dirty = true;
}

/* A slice or claim, and its tenant (NULL: memory is out). */
struct whose {
    struct dv_holding *h;
    struct dv_node_tenant *t;
};

static void wait_both(const struct whose *w, const char *holder, size_t guess, uint64_t turn_ns,
                      uint64_t queue_ns)
{
    if (!turn_ns && !queue_ns)
        return;
    add_wait(&w->h->spent, holder, guess, turn_ns, queue_ns);
    if (w->t)
        add_wait(&w->t->spent, holder, guess, turn_ns, queue_ns);
}

static void spend(struct dv_time_spent *t, uint64_t held_ns, uint64_t run_ns, uint64_t lost_ns)
{
    note_since(t);
    t->held_ns += held_ns;
    t->run_ns += run_ns;
    t->lost_ns += lost_ns;
}

void dv_waits_done(struct dv_time_spent *t)
{
    free(t->waits);
    t->waits = NULL;
    t->n_waits = 0;
}

uint64_t dv_waits_turn_ns(const struct dv_time_spent *t)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < t->n_waits; i++)
        sum += t->waits[i].turn_ns;
    return sum;
}

uint64_t dv_waits_queue_ns(const struct dv_time_spent *t)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < t->n_waits; i++)
        sum += t->waits[i].queue_ns;
    return sum;
}

uint64_t dv_waits_idle_ns(const struct dv_time_spent *t)
{
    uint64_t known = t->run_ns + t->lost_ns + dv_waits_turn_ns(t);
    return t->held_ns > known ? t->held_ns - known : 0;
}

/* ---- for turns ---- */

/* Counters only grow; one that does not is taken as it is from now on. */
static uint64_t step(uint64_t *seen, uint64_t now)
{
    uint64_t more = now > *seen ? now - *seen : 0;
    *seen = now;
    return more;
}

/* Whose the entities of each device are. */
struct names {
    const char *of[DV_LEASE_DEVICES_MAX][DV_ARBITER_ENTITIES_MAX];
};

static const struct names *name_entities(const struct dv_node *node)
{
    static struct names n; /* large; main's alone */
    memset(&n, 0, sizeof n);
    for (const struct dv_holding *h = node->holdings; h; h = h->next)
        if (h->device < DV_LEASE_DEVICES_MAX && h->entity < DV_ARBITER_ENTITIES_MAX)
            n.of[h->device][h->entity] = h->claim.tenant;
    return &n;
}

static void turns(const struct whose *who, const struct names *n)
{
    struct dv_holding *h = who->h;
    const char *const *names = n->of[h->device];
    struct dv_arbiter_waits w;
    if (dv_lease_slice_waits(h->node->lease, h->device, h->entity, &w) < 0)
        return;
    for (uint32_t i = 0; i < DV_ARBITER_ENTITIES_MAX; i++)
        wait_both(who, names[i] ? names[i] : DV_WAITS_OTHERS, i,
                  step(&h->waits_seen_ns[i], w.for_entity_ns[i]), 0);
    wait_both(who, DV_WAITS_NOBODY, 0, step(&h->waits_seen_ns[NOBODY_COLUMN], w.nobody_ns), 0);
    wait_both(who, DV_WAITS_OTHERS, 0, step(&h->waits_seen_ns[GONE_COLUMN], w.gone_ns), 0);
}

/* What a process says of itself; more than the time allows is not believed. */
static void member_work(struct dv_member *m, uint64_t now)
{
    struct dv_holding *h = m->holding;
    const struct dv_slot_page *p = m->slot.page;
    uint64_t age = now - DV_MIN(m->since_ns, now);
    uint64_t launches = __atomic_load_n(&p->launches_total, __ATOMIC_RELAXED);
    uint64_t wait_ns = __atomic_load_n(&p->wait_total_ns, __ATOMIC_RELAXED);
    h->work.launches += step(&m->launches_seen, DV_MIN(launches, age));
    h->work.wait_ns += step(&m->gate_wait_seen_ns, DV_MIN(wait_ns, age));
    h->work.active = true;
}

/* Of one slice, or (NULL) of all. */
static void work(struct dv_node *node, const struct dv_holding *only, uint64_t now)
{
    for (struct dv_holding *h = node->holdings; h; h = h->next)
        h->work.active &= only && h != only;
    for (struct dv_member *m = node->members; m; m = m->next)
        if (m->ready && m->slot.page && (!only || m->holding == only))
            member_work(m, now);
}

static void holding(const struct whose *w, const struct names *names, uint64_t elapsed)
{
    struct dv_holding *h = w->h;
    struct dv_arbiter_counters c;
    uint64_t lost = 0, run = step(&h->run_seen_ns, h->busy_ns);
    if (h->entity == UINT32_MAX)
        return;
    if (dv_lease_slice_counters(h->node->lease, h->device, h->entity, &c) == 0)
        lost = step(&h->lost_seen_ns, c.lost_ns);
    spend(&h->spent, elapsed, run, lost);
    if (w->t)
        spend(&w->t->spent, elapsed, run, lost);
    turns(w, names);
    h->work.active_ns += h->work.active ? elapsed : 0;
}

/* ---- in the queue ---- */

/* The slices of the node, worked out once for all claims. */
struct held {
    const struct dv_snapshot *s;
    size_t *device_of, *tenant_of; /* by slice: a device (n_devices: gone), a tenant of names */
    const char **names;
    size_t n_names;
    bool *marks; /* devices on which the claim at hand could run, */
    bool *found; /* tenants that hold slices there */
    uint32_t explained;
};

static void held_done(struct held *x)
{
    free(x->device_of);
    free(x->tenant_of);
    free(x->names);
    free(x->marks);
    free(x->found);
}

static bool held_init(struct held *x, const struct dv_snapshot *s)
{
    size_t n = s->n_slices + 1;
    *x = (struct held){.s = s,
                       .device_of = calloc(n, sizeof *x->device_of),
                       .tenant_of = calloc(n, sizeof *x->tenant_of),
                       .names = calloc(n, sizeof *x->names),
                       .marks = calloc(s->n_devices + 1, sizeof *x->marks),
                       .found = calloc(n, sizeof *x->found)};
    if (!x->device_of || !x->tenant_of || !x->names || !x->marks || !x->found)
        return false;
    for (size_t i = 0; i < s->n_slices; i++) {
        const struct dv_device *d = dv_snapshot_device(s, s->slices[i].device);
        size_t k = 0;
        while (k < x->n_names && strcmp(x->names[k], s->slices[i].tenant) != 0)
            k++;
        if (k == x->n_names)
            x->names[x->n_names++] = s->slices[i].tenant;
        x->device_of[i] = d ? (size_t)(d - s->devices) : s->n_devices;
        x->tenant_of[i] = k;
    }
    return true;
}

/* How many tenants hold slices on devices that would do; they are marked as found. */
static size_t find_holders(struct held *x, const struct dv_claim *c)
{
    size_t n = 0;
    memset(x->marks, 0, (x->s->n_devices + 1) * sizeof *x->marks);
    memset(x->found, 0, (x->n_names + 1) * sizeof *x->found);
    dv_admit_mark(x->s, c, x->marks);
    x->marks[x->s->n_devices] = false;
    for (size_t i = 0; i < x->s->n_slices; i++) {
        if (!x->marks[x->device_of[i]] || x->found[x->tenant_of[i]])
            continue;
        x->found[x->tenant_of[i]] = true;
        n++;
    }
    return n;
}

static void queued(const struct whose *w, struct held *x, uint64_t elapsed)
{
    struct dv_holding *h = w->h;
    struct dv_verdict v;
    if (elapsed < DV_NS_PER_MS && !h->spent.since_unix)
        return; /* granted at once: it did not wait */
    size_t n = find_holders(x, &h->claim), k = 0;
    uint64_t others = 0;
    for (size_t i = 0; n && i < x->n_names; i++) {
        if (!x->found[i])
            continue;
        uint64_t part = elapsed / n + (k < elapsed % n);
        if (k < DV_WAITS_HOLDERS_MAX)
            wait_both(w, x->names[i], k, 0, part);
        else
            others += part;
        k++;
    }
    wait_both(w, DV_WAITS_OTHERS, DV_WAITS_HOLDERS_MAX, 0, others);
    if (n)
        return;
    bool known = x->explained++ < EXPLAINED_MAX &&
                 dv_queue_explain(h->node->snapshot, h->claim.id, &v) == 0 && v.holder[0];
    wait_both(w, known ? v.holder : DV_WAITS_NOBODY, 0, 0, elapsed);
}

/* ---- all ---- */

static void bring_up(struct dv_holding *h, const struct names *names, struct held *x, uint64_t now)
{
    uint64_t elapsed = now > h->spent_at_ns ? now - h->spent_at_ns : 0;
    const struct whose w = {h, dv_node_tenant(h->node, h->claim.tenant)};
    h->spent_at_ns = DV_MAX(now, h->spent_at_ns);
    if (h->state == DV_HOLDING_QUEUED)
        queued(&w, x, elapsed);
    else
        holding(&w, names, elapsed);
}

void dv_waits_holding(struct dv_holding *h, uint64_t now)
{
    struct held x = {0};
    bool in_queue = h->state == DV_HOLDING_QUEUED;
    if (in_queue ? held_init(&x, h->node->snapshot) : true) {
        if (!in_queue)
            work(h->node, h, now);
        bring_up(h, name_entities(h->node), &x, now);
    }
    held_done(&x);
}

void dv_waits_tick(struct dv_node *node, uint64_t now)
{
    const struct names *names = name_entities(node);
    struct held x;
    work(node, NULL, now);
    if (held_init(&x, node->snapshot))
        for (struct dv_holding *h = node->holdings; h; h = h->next)
            bring_up(h, names, &x, now);
    held_done(&x);
}

/* Those on its device, and those in the queue, who may have waited for it; not again and again
 * when many leave at once. */
static void bring_up_around(struct dv_holding *h, uint64_t now)
{
    const struct names *names = name_entities(h->node);
    struct held x;
    work(h->node, NULL, now);
    if (held_init(&x, h->node->snapshot)) {
        for (struct dv_holding *o = h->node->holdings; o; o = o->next) {
            bool queue = o->state == DV_HOLDING_QUEUED;
            if (queue ? now >= o->spent_at_ns + LEAVE_GRAIN_NS : o->device == h->device)
                bring_up(o, names, &x, now);
        }
    }
    held_done(&x);
}

void dv_waits_leave(struct dv_holding *h, uint64_t now)
{
    if (h->entity >= DV_ARBITER_ENTITIES_MAX)
        return;
    bring_up_around(h, now);
    for (struct dv_holding *o = h->node->holdings; o; o = o->next) {
        if (o == h || o->device != h->device || o->entity == UINT32_MAX)
            continue;
        /* The arbiter adds that column to the one of those who have gone. */
        o->waits_seen_ns[GONE_COLUMN] += o->waits_seen_ns[h->entity];
        o->waits_seen_ns[h->entity] = 0;
    }
}

/* ---- the store ---- */

void dv_waits_restore(struct dv_node *node, const struct dv_store_wait *row)
{
    struct dv_node_tenant *t = dv_node_tenant(node, row->tenant);
    if (!t)
        return;
    struct dv_time_spent *s = &t->spent;
    bool turn = !strcmp(row->kind, "turn"), queue = !strcmp(row->kind, "queue");
    struct dv_wait_for *w = turn || queue ? row_of(s, row->holder, SIZE_MAX) : NULL;
    if (w && turn)
        w->turn_ns += row->ns;
    else if (w)
        w->queue_ns += row->ns;
    else if (!strcmp(row->kind, "held"))
        s->held_ns += row->ns;
    else if (!strcmp(row->kind, "run"))
        s->run_ns += row->ns;
    else if (!strcmp(row->kind, "lost"))
        s->lost_ns += row->ns;
    if (!s->since_unix || row->since_unix < s->since_unix)
        s->since_unix = row->since_unix;
}

static int put(struct dv_node *node, const struct dv_node_tenant *t, const char *kind,
               const char *holder, uint64_t ns, struct dv_err *err)
{
    struct dv_store_wait row = {.ns = ns, .since_unix = t->spent.since_unix};
    snprintf(row.tenant, sizeof row.tenant, "%s", t->name);
    snprintf(row.holder, sizeof row.holder, "%s", holder);
    snprintf(row.kind, sizeof row.kind, "%s", kind);
    return dv_store_put_wait(node->store, &row, err);
}

static int write_tenant(struct dv_node *node, struct dv_node_tenant *t, bool all,
                        struct dv_err *err)
{
    const struct dv_time_spent *s = &t->spent;
    int r = put(node, t, "held", "", s->held_ns, err);
    if (r == 0)
        r = put(node, t, "run", "", s->run_ns, err);
    if (r == 0)
        r = put(node, t, "lost", "", s->lost_ns, err);
    for (size_t i = 0; r == 0 && i < s->n_waits; i++) {
        const struct dv_wait_for *w = &s->waits[i];
        if (!all && !w->dirty)
            continue;
        if (w->turn_ns)
            r = put(node, t, "turn", w->holder, w->turn_ns, err);
        if (r == 0 && w->queue_ns)
            r = put(node, t, "queue", w->holder, w->queue_ns, err);
    }
    return r;
}

int dv_waits_write(struct dv_node *node, bool all, struct dv_err *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < node->n_tenants; i++) {
        struct dv_node_tenant *t = &node->tenants[i];
        if (t->spent.dirty || (all && t->spent.since_unix))
            r = write_tenant(node, t, all, err);
    }
    return r;
}

void dv_waits_clean(struct dv_node *node)
{
    for (size_t i = 0; i < node->n_tenants; i++) {
        struct dv_time_spent *s = &node->tenants[i].spent;
        s->dirty = false;
        for (size_t k = 0; k < s->n_waits; k++)
            s->waits[k].dirty = false;
    }
}

bool dv_waits_dirty(const struct dv_node *node)
{
    for (size_t i = 0; i < node->n_tenants; i++)
        if (node->tenants[i].spent.dirty)
            return true;
    return false;
}
