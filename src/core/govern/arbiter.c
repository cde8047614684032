/* SPDX-License-Identifier: Apache-2.0 */
#include "govern/internal.h"

#include <errno.h>
#include <stdlib.h>

void dv_arbiter_config_default(struct dv_arbiter_config *c)
{
    *c = (struct dv_arbiter_config){
        .entities_max = DV_ARBITER_ENTITIES_MAX,
        .slots_max = DV_ARBITER_SLOTS_MAX,
        .quantum_ns = 10 * DV_NS_PER_MS,
        .quantum_many_ns = 5 * DV_NS_PER_MS,
        .many_entities = 10,
        .inflight_bound_ns = 4 * DV_NS_PER_MS,
        .inflight_bound_short_ns = DV_NS_PER_MS,
        .overlap_ns = 200 * DV_NS_PER_US,
        .linger_ns = DV_NS_PER_MS,
        .grace_ns = 3 * DV_NS_PER_MS,
        .credit_ns = 20 * DV_NS_PER_MS,
        .preempt_lag_ns = DV_NS_PER_MS,
        .preempt_run_ns = 500 * DV_NS_PER_US,
        .intruder_permille = 1300,
        .intruder_hold_ns = DV_NS_PER_S,
    };
}

static bool config_ok(const struct dv_arbiter_config *c)
{
    return c->entities_max && c->entities_max <= DV_ARBITER_ENTITIES_MAX && c->slots_max &&
           c->slots_max <= DV_ARBITER_SLOTS_MAX && c->quantum_ns >= 100 * DV_NS_PER_US &&
           c->quantum_ns <= 10 * DV_NS_PER_S && c->quantum_many_ns >= 100 * DV_NS_PER_US &&
           c->quantum_many_ns <= 10 * DV_NS_PER_S && c->credit_ns <= 10 * DV_NS_PER_S &&
           c->grace_ns <= 10 * DV_NS_PER_S;
}

static void refresh_page(struct dv_arbiter *a);

int dv_arbiter_new(const struct dv_arbiter_config *c, uint64_t now, struct dv_arbiter **ret)
{
    if (!config_ok(c))
        return -EINVAL;
    struct dv_arbiter *a = calloc(1, sizeof *a);
    if (!a)
        return -ENOMEM;
    a->config = *c;
    a->entities = calloc(c->entities_max, sizeof *a->entities);
    a->members = calloc(c->slots_max, sizeof *a->members);
    if (!a->entities || !a->members || dv_wait_matrix_new(&a->waits, c->entities_max) < 0) {
        dv_arbiter_free(a);
        return -ENOMEM;
    }
    a->now = a->since_ns = now;
    a->turn.slot = a->next.slot = a->waker = NOBODY;
    a->quantum_ns = c->quantum_ns;
    refresh_page(a);
    *ret = a;
    return 0;
}

void dv_arbiter_free(struct dv_arbiter *a)
{
    if (!a)
        return;
    free(a->entities);
    free(a->members);
    dv_wait_matrix_done(&a->waits);
    free(a);
}

/* ---- small questions ---- */

static struct entity *find_entity(const struct dv_arbiter *a, uint32_t i)
{
    return i < a->config.entities_max && a->entities[i].live ? &a->entities[i] : NULL;
}

static struct member *find_member(const struct dv_arbiter *a, uint32_t slot)
{
    return slot < a->config.slots_max && a->members[slot].live ? &a->members[slot] : NULL;
}

static struct entity *holder(const struct dv_arbiter *a)
{
    return a->turn.slot == NOBODY ? NULL : &a->entities[a->members[a->turn.slot].entity];
}

static bool capped(const struct entity *e)
{
    return e->spec.cap < FULL;
}

static int64_t virtual_time(const struct entity *e, int64_t ns)
{
    return (int64_t)((__int128)ns * FULL / e->spec.share);
}

static int64_t lag(const struct dv_arbiter *a, const struct entity *e)
{
    return (int64_t)((__int128)(a->v - e->vtime) * e->spec.share / FULL);
}

/* ---- charging ---- */

/* Brings what the member is charged for its newest lease to total_ns. The word comes from a page
 * that the tenant writes: it is never more than the time since the turn was given, and a little
 * for one that had started by itself. */
static void charge(struct dv_arbiter *a, struct member *m, uint64_t total_ns)
{
    struct entity *e = &a->entities[m->entity];
    uint64_t most = a->now - m->start_ns + a->quantum_ns;
    int64_t delta = (int64_t)DV_MIN(total_ns, most) - m->charged_ns;
    m->charged_ns += delta;
    e->vtime += virtual_time(e, delta);
    e->balance -= delta * FULL;
    e->charged_ns += (uint64_t)delta;
    a->charged_ns += delta;
}

/*
 * What the member says that it used, which may be less than it held the turn for: it was slow to
 * start, or lingered. That is forgiven up to a part of all time (SLACK_PART), or a liar would hold
 * the device for nothing.
 */
static void settle(struct dv_arbiter *a, struct member *m, uint64_t used_ns)
{
    struct entity *e = &a->entities[m->entity];
    uint64_t missing = m->held_ns > used_ns ? m->held_ns - used_ns : 0;
    e->slack_ns += m->forgiven_ns;
    m->forgiven_ns = DV_MIN(missing, e->slack_ns);
    e->slack_ns -= m->forgiven_ns;
    charge(a, m, DV_MAX(used_ns, m->held_ns - m->forgiven_ns));
}

/* Not while nobody else wants the device, nor while the holder itself waits for the work of others
 * that lost their turn. */
static bool is_in_the_way(const struct dv_arbiter *a, const struct member *m)
{
    return a->contended && a->late_members == a->entities[m->entity].late;
}

/* Somebody who may go on waits, other than the holder itself. */
static bool somebody_waits(const struct dv_arbiter *a)
{
    for (uint32_t i = 0; i < a->config.entities_max; i++) {
        const struct entity *e = &a->entities[i];
        if (e->first != NOBODY && (!capped(e) || e->balance > 0))
            return true;
    }
    return false;
}

/* What the member's lease lost, by what it is charged now. */
static void book_lost(struct dv_arbiter *a, struct member *m)
{
    a->entities[m->entity].lost_ns += dv_lost_book(&a->lost, &m->lost, m->charged_ns);
}

/* Time has passed: waiting, caps, and the running lease by the wall unless it is known idle. The
 * balance is cut off above only after the charge, or what is earned during a long kernel is lost.
 */
static void accrue(struct dv_arbiter *a, uint64_t now)
{
    uint64_t dt = now > a->now ? now - a->now : 0;
    a->now += dt;
    uint32_t column = dv_wait_matrix_nobody(&a->waits);
    if (a->turn.slot != NOBODY) {
        struct member *m = &a->members[a->turn.slot];
        column = m->entity;
        m->lost.span_ns += dt;
        m->lost.contended_ns += dt && somebody_waits(a) ? dt : 0;
        m->held_ns += is_in_the_way(a, m) ? dt : 0;
        charge(a, m, (uint64_t)m->charged_ns + (a->idle ? 0 : dt));
    }
    for (uint32_t i = 0; i < a->config.entities_max; i++) {
        struct entity *e = &a->entities[i];
        if (!e->live)
            continue;
        if (e->first != NOBODY && !e->holds) {
            e->waited_ns += dt;
            dv_wait_matrix_add(&a->waits, i, column, dt);
        }
        e->slack_ns = DV_MIN(e->slack_ns + dt / SLACK_PART, DV_MAX(SLACK_MAX_NS, e->slack_ns));
        int64_t most = (int64_t)a->quantum_ns * FULL;
        e->balance = DV_MIN(e->balance + (int64_t)(dt * e->spec.cap), most);
    }
}

/* ---- virtual time ---- */

static void rebase(struct dv_arbiter *a)
{
    if (a->v < INT64_C(1) << 60)
        return;
    for (uint32_t i = 0; i < a->config.entities_max; i++)
        a->entities[i].vtime = DV_MAX(a->entities[i].vtime - a->v, -(INT64_C(1) << 60));
    a->v = 0;
}

/* Where an entity that begins to want stands: what it saved while asleep is bounded, what it owes
 * stays. */
static int64_t entry_vtime(const struct dv_arbiter *a, const struct entity *e)
{
    return DV_MAX(e->vtime, a->v - virtual_time(e, (int64_t)a->config.credit_ns));
}

/* The weighted mean of those who have work; as it was while nobody has. */
static void refresh_mean(struct dv_arbiter *a)
{
    __int128 sum = 0;
    int64_t weight = 0;
    for (uint32_t i = 0; i < a->config.entities_max; i++) {
        const struct entity *e = &a->entities[i];
        if (!e->live || !e->active)
            continue;
        sum += (__int128)e->vtime * e->spec.share;
        weight += e->spec.share;
    }
    if (weight)
        a->v = (int64_t)(sum / weight);
}

static void refresh_virtual_time(struct dv_arbiter *a)
{
    refresh_mean(a); /* first without those who come, who are measured against it */
    rebase(a);
    for (uint32_t i = 0; i < a->config.entities_max; i++) {
        struct entity *e = &a->entities[i];
        bool active = e->holds || (e->first != NOBODY && (!capped(e) || e->balance > 0));
        if (e->live && active && !e->active)
            e->vtime = entry_vtime(a, e);
        e->active = e->live && active;
    }
    refresh_mean(a);
}

/* ---- who wants ---- */

static void want_append(struct dv_arbiter *a, uint32_t slot)
{
    struct member *m = &a->members[slot];
    struct entity *e = &a->entities[m->entity];
    if (m->wants)
        return;
    m->wants = true;
    m->next = NOBODY;
    if (e->first == NOBODY)
        e->first = slot;
    else
        a->members[e->last].next = slot;
    e->last = slot;
}

static void want_remove(struct dv_arbiter *a, uint32_t slot)
{
    struct member *m = &a->members[slot];
    struct entity *e = &a->entities[m->entity];
    if (!m->wants)
        return;
    uint32_t before = NOBODY;
    for (uint32_t s = e->first; s != slot; s = a->members[s].next)
        before = s;
    if (before == NOBODY)
        e->first = m->next;
    else
        a->members[before].next = m->next;
    if (e->last == slot)
        e->last = before;
    m->wants = false;
}

/* ---- choosing ---- */

/* At `when` the holder is charged until then; others stand where they are. */
static int64_t vtime_at(const struct dv_arbiter *a, const struct entity *e, uint64_t when)
{
    if (!e->active)
        return entry_vtime(a, e);
    if (!e->holds || when <= a->now)
        return e->vtime;
    return e->vtime + virtual_time(e, (int64_t)(when - a->now));
}

static bool grantable_at(const struct dv_arbiter *a, const struct entity *e, uint64_t when)
{
    if (!e->live || (e->first == NOBODY && !e->holds))
        return false;
    int64_t ahead = when > a->now ? (int64_t)(when - a->now) : 0;
    int64_t gain = ahead * ((int64_t)e->spec.cap - (e->holds ? FULL : 0));
    return !capped(e) || e->balance + gain > 0;
}

/* Earliest virtual deadline among the eligible, at `when`; NULL if nobody is grantable. */
static struct entity *pick(const struct dv_arbiter *a, uint64_t when)
{
    __int128 sum = 0;
    int64_t weight = 0, best_deadline = 0;
    struct entity *best = NULL;
    for (uint32_t i = 0; i < a->config.entities_max; i++) {
        const struct entity *e = &a->entities[i];
        if (!grantable_at(a, e, when))
            continue;
        sum += (__int128)vtime_at(a, e, when) * e->spec.share;
        weight += e->spec.share;
    }
    for (uint32_t i = 0; weight && i < a->config.entities_max; i++) {
        struct entity *e = &a->entities[i];
        if (!grantable_at(a, e, when))
            continue;
        int64_t vtime = vtime_at(a, e, when);
        /* Eligible: not ahead of the mean. Compared without dividing, or the least one could be
         * rounded out. */
        if ((__int128)vtime * weight > sum)
            continue;
        int64_t deadline = vtime + virtual_time(e, (int64_t)a->quantum_ns);
        if (!best || deadline < best_deadline) {
            best = e;
            best_deadline = deadline;
        }
    }
    return best;
}

static uint64_t choose_quantum(const struct dv_arbiter *a)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < a->config.entities_max; i++)
        n += a->entities[i].live && (a->entities[i].holds || a->entities[i].first != NOBODY);
    return n >= a->config.many_entities ? a->config.quantum_many_ns : a->config.quantum_ns;
}

/* ---- turns ---- */

static void end_turn(struct dv_arbiter *a)
{
    struct entity *e = holder(a);
    if (e) {
        struct member *m = &a->members[a->turn.slot];
        e->holds = false;
        book_lost(a, m);
        int64_t elapsed = (int64_t)(a->now - a->since_ns);
        dv_lost_settle(&a->lost, &m->lost, elapsed - a->charged_ns - (int64_t)a->lost.total_ns);
    }
    a->turn.slot = NOBODY;
    a->contended = a->cut = a->started = a->idle = a->observed = false;
    a->pred_end_ns = a->handed = 0;
}

static void give_turn(struct dv_arbiter *a, uint32_t slot, uint64_t epoch)
{
    struct member *m = &a->members[slot];
    want_remove(a, slot);
    a->entities[m->entity].holds = true;
    a->entities[m->entity].grants++;
    m->epoch = epoch;
    m->charged_ns = 0;
    m->held_ns = m->forgiven_ns = 0;
    m->lost = (struct dv_lost_lease){0};
    m->start_ns = a->now;
    m->edge_ns = a->edge_ns;
    a->quantum_ns = choose_quantum(a);
    a->turn = (struct turn){slot, epoch};
    a->next.slot = NOBODY;
    a->start_ns = a->now;
    a->deadline_ns = a->now + a->quantum_ns;
}

static void name_next(struct dv_arbiter *a, uint32_t slot)
{
    if (slot == a->turn.slot)
        a->next = a->turn;
    else if (a->next.slot != slot) {
        a->next = (struct turn){slot, ++a->epochs & EPOCH_MASK};
        a->named[a->next.epoch % NAMED] = a->next;
    }
}

/* Whether `next` has said so. What a holder hands is its own word; it may be a little old, but one
 * that nobody was told of is made up, to keep the turn in the family. */
static bool was_named(const struct dv_arbiter *a, uint32_t slot, uint64_t epoch)
{
    const struct turn *t = &a->named[epoch % NAMED];
    return epoch && t->epoch == epoch && t->slot == slot;
}

/* The member of e that comes next; the holder itself when it is alone there. */
static uint32_t member_of(const struct dv_arbiter *a, const struct entity *e)
{
    return e->first != NOBODY ? e->first : a->turn.slot;
}

static bool others_want(const struct dv_arbiter *a)
{
    for (uint32_t i = 0; i < a->config.entities_max; i++)
        if (a->entities[i].first != NOBODY &&
            grantable_at(a, &a->entities[i], a->entities[i].holds ? a->now : a->deadline_ns))
            return true;
    return false;
}

/* One that has just woken may end the lease early, if it is far enough behind the holder. */
static bool preempt(struct dv_arbiter *a)
{
    const struct entity *w = find_entity(a, a->waker), *h = holder(a);
    if (!w || w == h || w->first == NOBODY)
        return false;
    uint64_t at = DV_MAX(a->now, a->start_ns + a->config.preempt_run_ns);
    if (at >= a->deadline_ns || pick(a, at) != w)
        return false;
    int64_t behind = (int64_t)((__int128)(h->vtime - w->vtime) * w->spec.share / FULL);
    if (behind <= (int64_t)a->config.preempt_lag_ns)
        return false;
    a->deadline_ns = at;
    a->cut = true;
    name_next(a, w->first);
    return true;
}

static bool cap_ends_lease(const struct dv_arbiter *a)
{
    return !grantable_at(a, holder(a), DV_MAX(a->deadline_ns, a->now));
}

static void plan_successor(struct dv_arbiter *a)
{
    bool was = a->contended;
    if (!others_want(a)) {
        a->next.slot = NOBODY;
        a->contended = cap_ends_lease(a);
        return;
    }
    a->contended = true;
    if (!was && a->now >= a->deadline_ns) /* it ran on alone: to the end of this quantum */
        a->deadline_ns += ((a->now - a->deadline_ns) / a->quantum_ns + 1) * a->quantum_ns;
    const struct member *named = find_member(a, a->next.slot);
    bool fixed = named && a->next.slot != a->turn.slot && named->wants && was;
    if (fixed && a->now >= a->deadline_ns)
        return;
    if (preempt(a))
        return;
    const struct entity *e = pick(a, a->deadline_ns);
    if (e)
        name_next(a, member_of(a, e));
}

static bool must_open(struct dv_arbiter *a)
{
    if (a->open && a->now >= a->open_until_ns) {
        a->open = false;
        a->watched = 0;
    }
    return a->open;
}

static void decide(struct dv_arbiter *a)
{
    refresh_virtual_time(a);
    if (must_open(a)) {
        if (a->turn.slot != NOBODY && !a->started)
            want_append(a, a->turn.slot); /* it does not know yet that it was its turn */
        end_turn(a);
        a->next.slot = NOBODY;
    } else {
        if (a->turn.slot == NOBODY) {
            const struct entity *e = pick(a, a->now);
            if (e) {
                give_turn(a, e->first, ++a->epochs & EPOCH_MASK);
                refresh_virtual_time(a);
            }
        }
        if (a->turn.slot != NOBODY)
            plan_successor(a);
    }
    a->waker = NOBODY;
    refresh_page(a);
}

/* ---- who there is ---- */

static bool spec_ok(const struct dv_arbiter_entity_spec *s)
{
    return s->share >= 1 && s->share <= FULL && s->cap <= FULL && s->tier <= 1;
}

static void set_spec(struct entity *e, const struct dv_arbiter_entity_spec *s)
{
    e->spec = *s;
    if (!e->spec.cap)
        e->spec.cap = FULL;
}

int dv_arbiter_entity_add(struct dv_arbiter *a, uint64_t now,
                          const struct dv_arbiter_entity_spec *spec, uint32_t *ret_entity)
{
    if (!spec_ok(spec))
        return -EINVAL;
    uint32_t i = 0;
    while (i < a->config.entities_max && a->entities[i].live)
        i++;
    if (i == a->config.entities_max)
        return -ENOSPC;
    accrue(a, now);
    struct entity *e = &a->entities[i];
    *e = (struct entity){
        .live = true, .first = NOBODY, .last = NOBODY, .vtime = a->v, .slack_ns = SLACK_MAX_NS};
    set_spec(e, spec);
    e->balance = (int64_t)a->quantum_ns * FULL;
    decide(a);
    *ret_entity = i;
    return 0;
}

int dv_arbiter_entity_change(struct dv_arbiter *a, uint64_t now, uint32_t entity,
                             const struct dv_arbiter_entity_spec *spec)
{
    struct entity *e = find_entity(a, entity);
    if (!spec_ok(spec))
        return -EINVAL;
    if (!e)
        return -ENOENT;
    accrue(a, now);
    refresh_virtual_time(a);
    int64_t owed = lag(a, e); /* in own time: it does not grow or shrink with the share */
    set_spec(e, spec);
    e->vtime = a->v - virtual_time(e, owed);
    decide(a);
    return 0;
}

int dv_arbiter_member_add(struct dv_arbiter *a, uint64_t now, uint32_t entity, uint32_t slot)
{
    struct entity *e = find_entity(a, entity);
    if (slot >= a->config.slots_max)
        return -EINVAL;
    if (!e)
        return -ENOENT;
    if (a->members[slot].live)
        return -EEXIST;
    accrue(a, now);
    a->members[slot] =
        (struct member){.live = true, .entity = entity, .next = NOBODY, .joined_epoch = a->epochs};
    e->members++;
    decide(a);
    return 0;
}

/* After the holder: the one it handed to, else the one that was named, else whoever is picked. */
static void pass_on(struct dv_arbiter *a, uint64_t handed)
{
    uint32_t slot = (uint32_t)(handed >> 48) - 1;
    uint64_t epoch = handed & EPOCH_MASK, last = a->turn.epoch;
    const struct member *m = handed >> 48 ? find_member(a, slot) : NULL;
    bool valid = m && epoch > m->joined_epoch && epoch > last && was_named(a, slot, epoch);
    struct turn next = a->next;
    bool self = next.slot == a->turn.slot && next.epoch == a->turn.epoch;
    end_turn(a);
    a->next.slot = NOBODY;
    if (valid)
        give_turn(a, slot, epoch);
    else if (next.slot != NOBODY && !self && find_member(a, next.slot) &&
             a->members[next.slot].wants)
        give_turn(a, next.slot, next.epoch);
}

static void set_late(struct dv_arbiter *a, struct member *m, bool late)
{
    if (m->late && !late)
        a->late_end_ns = a->now;
    a->late_members += (uint32_t)late - (uint32_t)m->late;
    a->entities[m->entity].late += (uint32_t)late - (uint32_t)m->late;
    m->late = late;
}

static void remove_member(struct dv_arbiter *a, uint32_t slot)
{
    struct member *m = &a->members[slot];
    want_remove(a, slot);
    set_late(a, m, false);
    m->live = false;
    a->entities[m->entity].members--;
    if (a->turn.slot == slot) {
        a->edge_ns = a->now;
        pass_on(a, a->handed);
    } else if (a->next.slot == slot) {
        a->next.slot = NOBODY;
    }
}

int dv_arbiter_member_gone(struct dv_arbiter *a, uint64_t now, uint32_t slot)
{
    if (!find_member(a, slot))
        return -ENOENT;
    accrue(a, now);
    remove_member(a, slot);
    decide(a);
    return 0;
}

int dv_arbiter_entity_remove(struct dv_arbiter *a, uint64_t now, uint32_t entity)
{
    struct entity *e = find_entity(a, entity);
    if (!e)
        return -ENOENT;
    accrue(a, now);
    for (uint32_t s = 0; s < a->config.slots_max && e->members; s++)
        if (a->members[s].live && a->members[s].entity == entity && a->turn.slot != s)
            remove_member(a, s);
    if (e->members)
        remove_member(a, a->turn.slot);
    *e = (struct entity){.first = NOBODY, .last = NOBODY};
    dv_wait_matrix_remove(&a->waits, entity);
    decide(a);
    return 0;
}

/* ---- what happens ---- */

int dv_arbiter_want(struct dv_arbiter *a, uint64_t now, uint32_t slot)
{
    struct member *m = find_member(a, slot);
    if (!m)
        return -ENOENT;
    accrue(a, now);
    struct entity *e = &a->entities[m->entity];
    bool holds = a->turn.slot == slot;
    if (!m->wants && !holds) {
        if (e->first == NOBODY && !e->holds)
            a->waker = m->entity;
        if (e->idle_since_ns && a->now - e->idle_since_ns > INTERACTIVE_GAP)
            e->short_leases = 0;
        e->idle_since_ns = 0;
        want_append(a, slot);
    }
    if (a->idle && !holds) { /* a parked holder need not be asked */
        a->edge_ns = 0;
        pass_on(a, 0);
    }
    decide(a);
    return 0;
}

int dv_arbiter_unwant(struct dv_arbiter *a, uint64_t now, uint32_t slot)
{
    if (!find_member(a, slot))
        return -ENOENT;
    accrue(a, now);
    want_remove(a, slot);
    if (a->next.slot == slot && a->turn.slot != slot)
        a->next.slot = NOBODY;
    decide(a);
    return 0;
}

int dv_arbiter_observe(struct dv_arbiter *a, uint64_t now, uint32_t slot,
                       const struct dv_arbiter_words *words)
{
    struct member *m = find_member(a, slot);
    if (!m)
        return -ENOENT;
    accrue(a, now);
    if (slot != a->turn.slot)
        return 0;
    a->observed = true;
    if ((words->epoch & EPOCH_MASK) != a->turn.epoch)
        return 0;
    a->started = true;
    a->pred_end_ns = words->pred_end_ns;
    a->handed = words->handed;
    a->idle = words->idle_since_ns != 0;
    if (a->idle)
        settle(a, m, words->used_ns);
    else if (words->last_end_ns && a->now >= words->last_end_ns)
        settle(a, m, words->used_ns + (a->now - words->last_end_ns));
    return 0;
}

/* Measured against learnt time: somebody else was running when the holder should have been alone.
 */
static void watch(struct dv_arbiter *a, const struct dv_arbiter_lease *l)
{
    if (l->predicted_ns < WATCHED_MIN_NS || !a->config.intruder_permille)
        return;
    if (a->late_members || l->first_start_ns <= a->late_end_ns)
        return; /* that somebody ran beside it is known */
    uint64_t ratio = DV_MIN(l->timed_ns / (l->predicted_ns / 1000), 100000);
    a->ratios[a->watched % LEASES_WATCHED] = (uint32_t)ratio;
    a->watched++;
    if (dv_arbiter_intruder_ratio(a) > a->config.intruder_permille && a->config.intruder_hold_ns) {
        a->open = true;
        a->open_until_ns = a->now + a->config.intruder_hold_ns;
    }
}

/* An entity whose leases are short because it has little to do, again and again, is interactive. */
static void note_length(struct dv_arbiter *a, struct entity *e, const struct dv_arbiter_lease *l)
{
    bool little = !l->wants && l->used_ns < a->quantum_ns / 2;
    if (little)
        e->short_leases = DV_MIN(e->short_leases + 1, 2 * INTERACTIVE);
    else if (e->short_leases && l->used_ns >= a->quantum_ns / 2)
        e->short_leases--;
    e->idle_since_ns = little ? a->now : 0;
}

/* A lease that this slot may have taken by itself, and that the arbiter has not followed yet. */
static bool offered(const struct dv_arbiter *a, uint32_t slot, uint64_t epoch)
{
    if (a->turn.slot == NOBODY || a->turn.slot == slot || epoch <= a->turn.epoch)
        return false;
    return (a->next.slot == slot && a->next.epoch == epoch) ||
           a->handed == ((uint64_t)(slot + 1) << 48 | epoch);
}

int dv_arbiter_released(struct dv_arbiter *a, uint64_t now, uint32_t slot,
                        const struct dv_arbiter_lease *l)
{
    struct member *m = find_member(a, slot);
    if (!m)
        return -ENOENT;
    accrue(a, now);
    uint64_t epoch = l->epoch & EPOCH_MASK;
    if (offered(a, slot, epoch)) { /* done before its predecessor's release was heard */
        a->edge_ns = l->first_start_ns;
        pass_on(a, (uint64_t)(slot + 1) << 48 | epoch);
    }
    if (epoch && epoch == m->epoch) {
        bool overlapped = l->first_start_ns && m->edge_ns > l->first_start_ns;
        uint64_t others = overlapped ? m->edge_ns - l->first_start_ns : 0;
        settle(a, m, l->used_ns > others ? l->used_ns - others : 0);
        if (a->turn.slot != slot || a->turn.epoch != epoch)
            book_lost(a, m); /* its turn is over, and was booked by a guess */
        watch(a, l);
        set_late(a, m, false);
        note_length(a, &a->entities[m->entity], l);
    }
    bool turn = a->turn.slot == slot && epoch == a->turn.epoch;
    if (l->wants)
        want_append(a, slot);
    if (turn) {
        a->edge_ns = l->announced_ns ? l->announced_ns + l->remainder_ns : l->last_end_ns;
        a->edge_ns = DV_MIN(a->edge_ns, a->now);
        pass_on(a, l->handed);
    }
    decide(a);
    return 0;
}

/* ---- time ---- */

/* A little before the deadline, so that the holder sees the extension in time. */
static uint64_t extension_time(const struct dv_arbiter *a)
{
    return a->deadline_ns - a->quantum_ns / 16;
}

static bool extends(const struct dv_arbiter *a)
{
    if (a->next.slot == a->turn.slot)
        return true;
    return !a->contended && capped(holder(a));
}

static uint64_t revoke_time(const struct dv_arbiter *a)
{
    uint64_t end = DV_MAX(a->deadline_ns, a->pred_end_ns) + a->config.grace_ns;
    if (a->observed && !a->started) /* granted, and nobody came */
        end = DV_MIN(end, a->start_ns + a->config.grace_ns);
    return end;
}

/* One that has announced has already handed over, and is only slow to finish: no fault of it. */
static void revoke(struct dv_arbiter *a)
{
    bool announced = a->handed >> 48 != 0;
    holder(a)->revocations += !announced;
    a->members[a->turn.slot].revocations += !announced;
    set_late(a, &a->members[a->turn.slot], a->started);
    if (!a->started)
        want_append(a, a->turn.slot);
    a->edge_ns = a->now;
    pass_on(a, a->handed);
}

void dv_arbiter_tick(struct dv_arbiter *a, uint64_t now)
{
    accrue(a, now);
    if (a->turn.slot != NOBODY) {
        if (extends(a)) {
            while (a->now >= extension_time(a)) {
                a->deadline_ns += a->quantum_ns;
                a->cut = false;
                a->next.slot = NOBODY;
            }
        } else if (a->contended && a->now >= revoke_time(a)) {
            revoke(a);
        }
    }
    decide(a);
}

/* When the first of those whom their cap holds back may go on. */
static uint64_t next_balance(const struct dv_arbiter *a)
{
    uint64_t t = DV_NEVER;
    for (uint32_t i = 0; i < a->config.entities_max; i++) {
        const struct entity *e = &a->entities[i];
        if (!e->live || e->first == NOBODY || e->holds || !capped(e) || e->balance > 0)
            continue;
        t = DV_MIN(t, a->now + (uint64_t)-e->balance / e->spec.cap + 1);
    }
    return t;
}

uint64_t dv_arbiter_next(const struct dv_arbiter *a)
{
    uint64_t t = next_balance(a);
    if (a->open)
        return a->open_until_ns;
    if (a->turn.slot == NOBODY)
        return t;
    if (extends(a))
        return DV_MIN(t, extension_time(a));
    if (!a->contended)
        return t;
    return DV_MIN(t, revoke_time(a));
}

/* ---- what the page should say ---- */

static bool short_bound(const struct dv_arbiter *a)
{
    for (uint32_t i = 0; i < a->config.entities_max; i++) {
        const struct entity *e = &a->entities[i];
        bool asleep = e->idle_since_ns && a->now - e->idle_since_ns > INTERACTIVE_GAP;
        bool interactive = e->short_leases >= INTERACTIVE && !asleep;
        if (e->live && e->members && (e->spec.tier || interactive))
            return true;
    }
    return false;
}

static bool same_state(const struct dv_arbiter_state *a, const struct dv_arbiter_state *b)
{
    return a->turn_slot == b->turn_slot && a->next_slot == b->next_slot &&
           a->turn_epoch == b->turn_epoch && a->next_epoch == b->next_epoch &&
           a->deadline_ns == b->deadline_ns && a->quantum_ns == b->quantum_ns &&
           a->inflight_bound_ns == b->inflight_bound_ns && a->overlap_ns == b->overlap_ns &&
           a->linger_ns == b->linger_ns && a->grace_ns == b->grace_ns &&
           a->contended == b->contended && a->open == b->open;
}

static void refresh_page(struct dv_arbiter *a)
{
    struct dv_arbiter_state s = {0};
    s.turn_slot = a->turn.slot;
    s.turn_epoch = a->turn.slot == NOBODY ? 0 : a->turn.epoch;
    s.next_slot = a->next.slot;
    s.next_epoch = a->next.slot == NOBODY ? 0 : a->next.epoch;
    s.deadline_ns = a->turn.slot == NOBODY ? 0 : a->deadline_ns;
    s.quantum_ns = a->quantum_ns;
    s.inflight_bound_ns =
        short_bound(a) ? a->config.inflight_bound_short_ns : a->config.inflight_bound_ns;
    s.overlap_ns = a->cut ? 0 : DV_MIN(a->config.overlap_ns, a->quantum_ns / 25);
    s.linger_ns = a->config.linger_ns;
    s.grace_ns = a->config.grace_ns;
    s.contended = a->contended;
    s.open = a->open;
    if (!a->version || !same_state(&s, &a->page))
        a->version++;
    a->page = s;
}

uint64_t dv_arbiter_page(const struct dv_arbiter *a, struct dv_arbiter_state *ret)
{
    *ret = a->page;
    return a->version;
}

/* ---- what was used ---- */

int dv_arbiter_entity_counters(const struct dv_arbiter *a, uint64_t now, uint32_t entity,
                               struct dv_arbiter_counters *ret)
{
    const struct entity *e = find_entity(a, entity);
    if (!e)
        return -ENOENT;
    uint64_t dt = now > a->now ? now - a->now : 0;
    *ret = (struct dv_arbiter_counters){
        .charged_ns = e->charged_ns + (e->holds && !a->idle ? dt : 0),
        .waited_ns = e->waited_ns + (e->first != NOBODY && !e->holds ? dt : 0),
        .grants = e->grants,
        .revocations = e->revocations,
        .lag_ns = lag(a, e),
        .lost_ns = (uint64_t)DV_MAX(e->lost_ns, 0),
        .cap_balance_ns = e->balance / FULL,
        .share = e->spec.share,
        .cap = e->spec.cap,
        .members = e->members,
        .wants = e->first != NOBODY,
        .holds = e->holds,
    };
    return 0;
}

int dv_arbiter_entity_waits(const struct dv_arbiter *a, uint64_t now, uint32_t entity,
                            struct dv_arbiter_waits *ret)
{
    const struct entity *e = find_entity(a, entity);
    if (!e)
        return -ENOENT;
    uint64_t dt = now > a->now && e->first != NOBODY && !e->holds ? now - a->now : 0;
    *ret = (struct dv_arbiter_waits){
        .nobody_ns = dv_wait_matrix_get(&a->waits, entity, dv_wait_matrix_nobody(&a->waits)),
        .gone_ns = dv_wait_matrix_get(&a->waits, entity, dv_wait_matrix_gone(&a->waits)),
    };
    for (uint32_t i = 0; i < a->config.entities_max; i++)
        ret->for_entity_ns[i] = dv_wait_matrix_get(&a->waits, entity, i);
    if (a->turn.slot == NOBODY)
        ret->nobody_ns += dt;
    else
        ret->for_entity_ns[a->members[a->turn.slot].entity] += dt;
    return 0;
}

uint64_t dv_arbiter_overhead(const struct dv_arbiter *a)
{
    return a->lost.total_ns;
}

uint32_t dv_arbiter_slot_revocations(const struct dv_arbiter *a, uint32_t slot)
{
    const struct member *m = find_member(a, slot);
    return m ? m->revocations : 0;
}

uint32_t dv_arbiter_intruder_ratio(const struct dv_arbiter *a)
{
    uint32_t sum = 0;
    if (a->watched < LEASES_WATCHED)
        return 0;
    for (unsigned i = 0; i < LEASES_WATCHED; i++)
        sum += a->ratios[i];
    return sum / LEASES_WATCHED;
}
