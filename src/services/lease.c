/* SPDX-License-Identifier: Apache-2.0 */
#include "lease.h"

#include "sys/clock.h"
#include "sys/fd.h"
#include "sys/proc.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define HEARTBEAT_NS (25 * DV_NS_PER_MS)
#define EVENTS 64
#define READ_TRIES                                                                                 \
    8 /* of a group behind a sequence number; then it is read at the next wake-up                  \
       */

struct slot {
    struct dv_slot_page *page; /* NULL: not joined */
    int event_fd;
    bool taken;
    bool wanted;
    uint64_t want_count;
    uint32_t released_epoch;
};

struct device {
    char uuid[DV_TENANT_UUID_SIZE]; /* "" = unused */
    struct dv_arbiter *arbiter;
    struct dv_governor_arbiter pages;
    uint64_t version;
    uint32_t slots_end; /* slots in use are below this */
    uint32_t members;
    bool forced_open;
    uint32_t last_turn; /* slot that held the last published turn */
    struct slot slots[DV_TENANT_SLOTS_MAX];
};

struct dv_lease {
    pthread_mutex_t lock;
    pthread_t thread;
    sem_t asked; /* the thread has asked for its priority */
    bool started, realtime;
    uint32_t priority;
    int epoll_fd, timer_fd, stop_fd;
    bool stop;
    uint32_t n_devices;
    struct device *devices[DV_LEASE_DEVICES_MAX];
};

/* ---- reading slots: whatever a tenant writes there concerns only its own slice ---- */

#define GET(page, word) __atomic_load_n(&(page)->word, __ATOMIC_ACQUIRE)
#define PUT(page, word, value) __atomic_store_n(&(page)->word, (value), __ATOMIC_RELEASE)

static void read_words(const struct dv_slot_page *p, struct dv_arbiter_words *w)
{
    uint32_t state = GET(p, state);
    *w = (struct dv_arbiter_words){
        .epoch = GET(p, epoch),
        .used_ns = GET(p, used_ns),
        .last_end_ns = GET(p, last_end_ns),
        .pred_end_ns = GET(p, pred_end_ns),
        .handed = GET(p, handed),
        .idle_since_ns = GET(p, idle_since_ns),
        .held = state == DV_SLOT_HELD || state == DV_SLOT_STOPPING || state == DV_SLOT_DRAINING,
    };
}

/* One consistent copy of the last lease's group. False while the tenant is inside. */
static bool read_lease(const struct dv_slot_page *p, struct dv_arbiter_lease *l)
{
    for (int i = 0; i < READ_TRIES; i++) {
        uint32_t seq = GET(p, lease_seq);
        if (seq & 1)
            continue;
        *l = (struct dv_arbiter_lease){
            .epoch = GET(p, epoch),
            .first_start_ns = GET(p, first_start_ns),
            .last_end_ns = GET(p, last_end_ns),
            .announced_ns = GET(p, announced_ns),
            .remainder_ns = GET(p, remainder_ns),
            .used_ns = GET(p, used_ns),
            .timed_ns = GET(p, timed_ns),
            .predicted_ns = GET(p, predicted_ns),
            .handed = GET(p, handed),
            .wants = GET(p, want_ns) != 0,
        };
        /* No fence: each of these loads keeps the next one behind it. */
        if (GET(p, lease_seq) == seq)
            return true;
    }
    return false;
}

static void read_slot(struct device *d, uint32_t i, uint64_t now)
{
    struct slot *s = &d->slots[i];
    struct dv_arbiter_lease lease;
    uint32_t released = GET(s->page, released_epoch);
    uint64_t want_ns = GET(s->page, want_ns);
    uint64_t want_count = GET(s->page, want_count);
    if (released != s->released_epoch && read_lease(s->page, &lease)) {
        s->released_epoch = released;
        dv_arbiter_released(d->arbiter, now, i, &lease);
    }
    if (want_ns && want_count != s->want_count) {
        s->want_count = want_count;
        s->wanted = true;
        dv_arbiter_want(d->arbiter, now, i);
    } else if (!want_ns && s->wanted) {
        s->wanted = false;
        if (GET(s->page, state) == DV_SLOT_IDLE)
            dv_arbiter_unwant(d->arbiter, now, i);
    }
}

static void observe(struct device *d, uint32_t slot, uint64_t now)
{
    struct dv_arbiter_words words;
    if (slot >= d->slots_end || !d->slots[slot].page)
        return;
    read_words(d->slots[slot].page, &words);
    dv_arbiter_observe(d->arbiter, now, slot, &words);
}

/* ---- publishing ---- */

static void raise_slot(struct device *d, uint32_t slot)
{
    if (slot >= DV_TENANT_SLOTS_MAX)
        return;
    uint32_t *word = &d->pages.page->wake[slot];
    __atomic_add_fetch(word, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static uint64_t pack(uint32_t slot, uint64_t epoch)
{
    return slot == DV_ARBITER_NOBODY ? dv_turn_pack(0, epoch) : dv_turn_pack(slot + 1, epoch);
}

static void publish(struct device *d)
{
    struct dv_arbiter_state s;
    struct dv_arbiter_page *p = d->pages.page;
    uint64_t version = dv_arbiter_page(d->arbiter, &s);
    uint32_t flags = s.open || d->forced_open ? DV_ARBITER_FLAG_OPEN : 0;
    bool opened = flags != p->flags;
    if (version == d->version && !opened)
        return;
    d->version = version;
    PUT(p, next, pack(s.next_slot, s.next_epoch));
    PUT(p, deadline_ns, s.deadline_ns);
    PUT(p, quantum_ns, s.quantum_ns);
    PUT(p, inflight_bound_ns, s.inflight_bound_ns);
    PUT(p, overlap_ns, s.overlap_ns);
    PUT(p, linger_ns, s.linger_ns);
    PUT(p, grace_ns, s.grace_ns);
    PUT(p, contended, s.contended);
    PUT(p, flags, flags);
    PUT(p, turn, pack(s.turn_slot, s.turn_epoch));
    if (opened) {
        for (uint32_t i = 0; i < d->slots_end; i++)
            if (d->slots[i].page)
                raise_slot(d, i);
    } else {
        raise_slot(d, s.turn_slot);
        if (s.next_slot != s.turn_slot)
            raise_slot(d, s.next_slot);
        if (d->last_turn != s.turn_slot && d->last_turn != s.next_slot)
            raise_slot(d, d->last_turn);
    }
    d->last_turn = s.turn_slot;
}

/* Reads what tenants wrote, lets the arbiter decide, publishes. */
static void serve(struct device *d, uint64_t now)
{
    struct dv_arbiter_state s;
    dv_arbiter_page(d->arbiter, &s);
    observe(d, s.turn_slot, now);
    if (s.next_slot != s.turn_slot)
        observe(d, s.next_slot, now);
    for (uint32_t i = 0; i < d->slots_end; i++)
        if (d->slots[i].page)
            read_slot(d, i, now);
    dv_arbiter_tick(d->arbiter, now);
    publish(d);
    PUT(d->pages.page, heartbeat_ns, now);
}

/* ---- the thread ---- */

static void arm(struct dv_lease *l, uint64_t at)
{
    struct itimerspec t = {0};
    if (at != DV_NEVER) {
        at = DV_MAX(at, 1); /* 0 would disarm */
        t.it_value.tv_sec = (time_t)(at / DV_NS_PER_S);
        t.it_value.tv_nsec = (long)(at % DV_NS_PER_S);
    }
    timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &t, NULL);
}

static uint64_t serve_all(struct dv_lease *l)
{
    uint64_t now = dv_clock_now();
    uint64_t due = DV_NEVER;
    for (uint32_t i = 0; i < l->n_devices; i++) {
        struct device *d = l->devices[i];
        if (!d->members)
            continue;
        serve(d, now);
        uint64_t next = dv_arbiter_next(d->arbiter);
        due = DV_MIN(due, DV_MIN(next, now + HEARTBEAT_NS));
    }
    return due;
}

static void *arbiter_thread(void *arg)
{
    struct dv_lease *l = arg;
    struct epoll_event events[EVENTS];
    if (l->priority) {
        bool realtime = dv_proc_realtime(l->priority) == 0;
        __atomic_store_n(&l->realtime, realtime, __ATOMIC_RELAXED);
    }
    sem_post(&l->asked);
    while (!__atomic_load_n(&l->stop, __ATOMIC_ACQUIRE)) {
        int n = epoll_wait(l->epoll_fd, events, EVENTS, -1);
        if (n < 0 && errno != EINTR)
            break;
        pthread_mutex_lock(&l->lock);
        arm(l, serve_all(l));
        pthread_mutex_unlock(&l->lock);
    }
    return NULL;
}

static void kick(struct dv_lease *l)
{
    uint64_t one = 1;
    if (write(l->stop_fd, &one, sizeof one) < 0)
        return; /* full: it is awake anyway */
}

/* Edge-triggered and never read: each write wakes, and nobody can make the thread block in a read
 * by emptying the counter first. */
static int watch(struct dv_lease *l, int fd)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLET};
    return epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

static int init_lock(pthread_mutex_t *lock)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
    int r = -pthread_mutex_init(lock, &attr);
    pthread_mutexattr_destroy(&attr);
    return r;
}

static int start_thread(struct dv_lease *l)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are main's */
    int r = -pthread_create(&l->thread, NULL, arbiter_thread, l);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    l->started = r == 0;
    /* The caller may give up the right to a priority as soon as this returns. */
    while (l->started && sem_wait(&l->asked) < 0 && errno == EINTR)
        ;
    return r;
}

int dv_lease_new(uint32_t priority, struct dv_lease **ret)
{
    struct dv_lease *l = calloc(1, sizeof *l);
    if (!l)
        return -ENOMEM;
    l->priority = priority;
    sem_init(&l->asked, 0, 0);
    int r = init_lock(&l->lock);
    if (r < 0) {
        free(l);
        return r;
    }
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    l->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    l->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->epoll_fd < 0 || l->timer_fd < 0 || l->stop_fd < 0)
        r = -errno;
    if (r == 0)
        r = watch(l, l->timer_fd);
    if (r == 0)
        r = watch(l, l->stop_fd);
    if (r == 0)
        r = start_thread(l);
    if (r < 0) {
        dv_lease_free(l);
        return r;
    }
    *ret = l;
    return 0;
}

void dv_lease_free(struct dv_lease *l)
{
    if (!l)
        return;
    __atomic_store_n(&l->stop, true, __ATOMIC_RELEASE);
    if (l->started) {
        kick(l);
        pthread_join(l->thread, NULL);
    }
    for (uint32_t i = 0; i < l->n_devices; i++) {
        dv_arbiter_free(l->devices[i]->arbiter);
        dv_governor_arbiter_end(&l->devices[i]->pages);
        free(l->devices[i]);
    }
    dv_fd_close(&l->epoll_fd);
    dv_fd_close(&l->timer_fd);
    dv_fd_close(&l->stop_fd);
    pthread_mutex_destroy(&l->lock);
    sem_destroy(&l->asked);
    free(l);
}

bool dv_lease_is_realtime(const struct dv_lease *l)
{
    return __atomic_load_n(&l->realtime, __ATOMIC_RELAXED);
}

/* ---- main's side ---- */

static int device_new(const char *uuid, struct device **ret)
{
    struct dv_arbiter_config config;
    struct device *d = calloc(1, sizeof *d);
    if (!d)
        return -ENOMEM;
    dv_arbiter_config_default(&config);
    config.intruder_hold_ns = 0; /* it measures; the audit decides */
    strncpy(d->uuid, uuid, sizeof d->uuid - 1);
    d->last_turn = DV_ARBITER_NOBODY;
    d->version = UINT64_MAX;
    int r = dv_arbiter_new(&config, dv_clock_now(), &d->arbiter);
    if (r == 0)
        r = dv_governor_arbiter_new(&d->pages);
    if (r < 0) {
        dv_arbiter_free(d->arbiter);
        free(d);
        return r;
    }
    PUT(d->pages.page, heartbeat_ns, dv_clock_now());
    publish(d);
    *ret = d;
    return 0;
}

int dv_lease_device(struct dv_lease *l, const char *uuid, uint32_t *ret)
{
    struct device *d = NULL;
    for (uint32_t i = 0; i < l->n_devices; i++) {
        if (!strcmp(l->devices[i]->uuid, uuid)) {
            *ret = i;
            return 0;
        }
    }
    if (l->n_devices == DV_LEASE_DEVICES_MAX)
        return -ENOSPC;
    int r = device_new(uuid, &d);
    if (r < 0)
        return r;
    pthread_mutex_lock(&l->lock);
    *ret = l->n_devices;
    l->devices[l->n_devices++] = d;
    pthread_mutex_unlock(&l->lock);
    return 0;
}

const struct dv_governor_arbiter *dv_lease_pages(struct dv_lease *l, uint32_t device)
{
    return &l->devices[device]->pages;
}

int dv_lease_slice_add(struct dv_lease *l, uint32_t device,
                       const struct dv_arbiter_entity_spec *spec, uint32_t *ret_entity)
{
    pthread_mutex_lock(&l->lock);
    int r = dv_arbiter_entity_add(l->devices[device]->arbiter, dv_clock_now(), spec, ret_entity);
    pthread_mutex_unlock(&l->lock);
    return r;
}

int dv_lease_slice_change(struct dv_lease *l, uint32_t device, uint32_t entity,
                          const struct dv_arbiter_entity_spec *spec)
{
    pthread_mutex_lock(&l->lock);
    int r = dv_arbiter_entity_change(l->devices[device]->arbiter, dv_clock_now(), entity, spec);
    pthread_mutex_unlock(&l->lock);
    kick(l);
    return r;
}

void dv_lease_slice_remove(struct dv_lease *l, uint32_t device, uint32_t entity)
{
    pthread_mutex_lock(&l->lock);
    dv_arbiter_entity_remove(l->devices[device]->arbiter, dv_clock_now(), entity);
    publish(l->devices[device]);
    pthread_mutex_unlock(&l->lock);
}

int dv_lease_slice_counters(struct dv_lease *l, uint32_t device, uint32_t entity,
                            struct dv_arbiter_counters *ret)
{
    pthread_mutex_lock(&l->lock);
    int r = dv_arbiter_entity_counters(l->devices[device]->arbiter, dv_clock_now(), entity, ret);
    pthread_mutex_unlock(&l->lock);
    return r;
}

int dv_lease_slice_waits(struct dv_lease *l, uint32_t device, uint32_t entity,
                         struct dv_arbiter_waits *ret)
{
    pthread_mutex_lock(&l->lock);
    int r = dv_arbiter_entity_waits(l->devices[device]->arbiter, dv_clock_now(), entity, ret);
    pthread_mutex_unlock(&l->lock);
    return r;
}

uint64_t dv_lease_device_overhead(struct dv_lease *l, uint32_t device)
{
    pthread_mutex_lock(&l->lock);
    uint64_t ns = dv_arbiter_overhead(l->devices[device]->arbiter);
    pthread_mutex_unlock(&l->lock);
    return ns;
}

/* The number that was free for the longest would be best against late words; a fresh page with a
 * new epoch does it as well, so it is the lowest. */
int dv_lease_slot_take(struct dv_lease *l, uint32_t device, uint32_t *ret_slot)
{
    struct device *d = l->devices[device];
    int r = -ENOSPC;
    pthread_mutex_lock(&l->lock);
    for (uint32_t i = 0; i < DV_TENANT_SLOTS_MAX && r < 0; i++) {
        if (d->slots[i].taken)
            continue;
        d->slots[i] = (struct slot){.taken = true, .event_fd = -1};
        d->slots_end = DV_MAX(d->slots_end, i + 1);
        PUT(d->pages.page, slots_count, d->slots_end);
        *ret_slot = i;
        r = 0;
    }
    pthread_mutex_unlock(&l->lock);
    return r;
}

int dv_lease_slot_join(struct dv_lease *l, uint32_t device, uint32_t entity, uint32_t slot,
                       const struct dv_governor_slot *pages)
{
    struct device *d = l->devices[device];
    pthread_mutex_lock(&l->lock);
    uint64_t now = dv_clock_now();
    int r = dv_arbiter_member_add(d->arbiter, now, entity, slot);
    if (r == 0) {
        r = watch(l, pages->event_fd);
        if (r < 0)
            dv_arbiter_member_gone(d->arbiter, now, slot);
    }
    if (r == 0) {
        struct slot *s = &d->slots[slot];
        s->page = pages->page;
        s->event_fd = pages->event_fd;
        s->released_epoch = GET(pages->page, released_epoch);
        d->members++;
        PUT(d->pages.page, heartbeat_ns, now);
    }
    pthread_mutex_unlock(&l->lock);
    kick(l);
    return r;
}

void dv_lease_slot_leave(struct dv_lease *l, uint32_t device, uint32_t slot)
{
    struct device *d = l->devices[device];
    pthread_mutex_lock(&l->lock);
    struct slot *s = &d->slots[slot];
    uint64_t now = dv_clock_now();
    if (s->page) {
        observe(d, slot, now);
        read_slot(d, slot, now);
        dv_arbiter_member_gone(d->arbiter, now, slot);
        epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, s->event_fd, NULL);
        d->members--;
    }
    *s = (struct slot){.event_fd = -1};
    while (d->slots_end && !d->slots[d->slots_end - 1].taken)
        d->slots_end--;
    PUT(d->pages.page, slots_count, d->slots_end);
    dv_arbiter_tick(d->arbiter, now);
    publish(d);
    pthread_mutex_unlock(&l->lock);
    kick(l);
}

void dv_lease_slots_changed(struct dv_lease *l, uint32_t device)
{
    struct device *d = l->devices[device];
    pthread_mutex_lock(&l->lock);
    __atomic_add_fetch(&d->pages.page->slots_generation, 1, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&l->lock);
}

uint32_t dv_lease_intruder_ratio(struct dv_lease *l, uint32_t device)
{
    pthread_mutex_lock(&l->lock);
    uint32_t ratio = dv_arbiter_intruder_ratio(l->devices[device]->arbiter);
    pthread_mutex_unlock(&l->lock);
    return ratio;
}

void dv_lease_set_open(struct dv_lease *l, uint32_t device, bool open)
{
    struct device *d = l->devices[device];
    pthread_mutex_lock(&l->lock);
    if (d->forced_open != open) {
        d->forced_open = open;
        publish(d);
    }
    pthread_mutex_unlock(&l->lock);
}
