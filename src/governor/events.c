/* SPDX-License-Identifier: Apache-2.0 */
#include "events.h"

#include "abi_cuda.h"
#include "compute.h"
#include "governor.h"

#include <pthread.h>
#include <string.h>

#define MARKERS (DV_GATE_MARKERS + 1)
#define SPARE 64
#define CONTEXTS 8
#define LAG_WINDOW 64

struct use {
    void *stream;
    void *context;
    pthread_t thread;
};

struct event {
    void *handle; /* NULL = none */
    void *context;
};

struct marker {
    uint64_t id;
    uint32_t count;
    struct event begin;
    struct event end[DV_COMPUTE_STREAMS];
};

/* The last end event of a context, whose time is known. */
struct anchor {
    struct event event;
    uint64_t ns;
    uint64_t least_lag_ns; /* between an event's end and its being seen, in this window */
    uint32_t seen;
};

static struct use used[DV_COMPUTE_STREAMS]; /* beside dv_compute_fast.streams */
static struct marker ring[MARKERS];
static uint32_t first, count;
static struct event stamp;
static struct event spare[SPARE];
static uint32_t spare_count;
static struct anchor anchors[CONTEXTS];

/* ---- the driver, called in the right context and without disturbing a capture ---- */

struct visit {
    bool pushed;
    int capture_mode;
    bool relaxed;
};

static bool visit_begin(struct visit *v, void *context)
{
    void *now = NULL;
    *v = (struct visit){.capture_mode = DV_CUDA_CAPTURE_MODE_RELAXED};
    if (__atomic_load_n(&dv_compute_fast.captures, __ATOMIC_RELAXED))
        v->relaxed = !DV_ORIGINAL(cuThreadExchangeStreamCaptureMode)(&v->capture_mode);
    if (!context || (!DV_ORIGINAL(cuCtxGetCurrent)(&now) && now == context))
        return true;
    v->pushed = !DV_ORIGINAL(cuCtxPushCurrent_v2)(context);
    return v->pushed;
}

static void visit_end(struct visit *v)
{
    void *unused;
    if (v->pushed)
        (void)DV_ORIGINAL(cuCtxPopCurrent_v2)(&unused);
    if (v->relaxed)
        (void)DV_ORIGINAL(cuThreadExchangeStreamCaptureMode)(&v->capture_mode);
}

static void *get_event(void *context)
{
    for (uint32_t i = 0; i < spare_count; i++) {
        if (spare[i].context != context)
            continue;
        void *handle = spare[i].handle;
        spare[i] = spare[--spare_count];
        return handle;
    }
    void *handle = NULL;
    return DV_ORIGINAL(cuEventCreate)(&handle, DV_CUDA_EVENT_DEFAULT) ? NULL : handle;
}

static void put_event(struct event *e)
{
    if (e->handle && spare_count < SPARE)
        spare[spare_count++] = *e;
    else if (e->handle)
        (void)DV_ORIGINAL(cuEventDestroy_v2)(e->handle);
    e->handle = NULL;
}

/* A capture must not see our events; the legacy stream would pull them into any. */
static bool untouchable(const struct use *u)
{
    if (u->stream == DV_CUDA_STREAM_PER_THREAD && !pthread_equal(u->thread, pthread_self()))
        return true; /* the handle would mean our own */
    if (!__atomic_load_n(&dv_compute_fast.captures, __ATOMIC_RELAXED))
        return false;
    return u->stream == DV_CUDA_STREAM_LEGACY || dv_compute_capturing(u->stream);
}

static bool record(struct event *ret, const struct use *u)
{
    struct visit v;
    if (untouchable(u))
        return false;
    *ret = (struct event){.context = u->context};
    if (visit_begin(&v, u->context)) {
        ret->handle = get_event(u->context);
        if (ret->handle && DV_ORIGINAL(cuEventRecord)(ret->handle, u->stream))
            put_event(ret);
    }
    visit_end(&v);
    return ret->handle != NULL;
}

/* ---- streams ---- */

bool dv_events_use(void *stream)
{
    uint32_t n = dv_compute_fast.streams_count;
    if (dv_compute_stream_seen(stream))
        return true;
    struct use u = {.stream = stream, .thread = pthread_self()};
    if (DV_ORIGINAL(cuCtxGetCurrent)(&u.context) || !u.context)
        return true; /* the launch will fail */
    for (uint32_t i = 0; i < n; i++)
        if (used[i].stream == stream && used[i].context == u.context)
            return true;
    if (n == DV_COMPUTE_STREAMS)
        return false;
    used[n] = u;
    __atomic_store_n(&dv_compute_fast.streams[n], stream, __ATOMIC_RELAXED);
    __atomic_store_n(&dv_compute_fast.streams_count, n + 1, __ATOMIC_RELEASE);
    return true;
}

static void forget_use(uint32_t i)
{
    uint32_t last = dv_compute_fast.streams_count - 1;
    used[i] = used[last];
    __atomic_store_n(&dv_compute_fast.streams[i], used[i].stream, __ATOMIC_RELAXED);
    __atomic_store_n(&dv_compute_fast.streams_count, last, __ATOMIC_RELEASE);
}

void dv_events_stream_ends(void *stream)
{
    for (uint32_t i = dv_compute_fast.streams_count; i-- > 0;)
        if (used[i].stream == stream)
            forget_use(i);
}

/* ---- markers ---- */

void dv_events_stamp(void *stream)
{
    struct use u = {.stream = stream, .thread = pthread_self()};
    put_event(&stamp);
    if (!DV_ORIGINAL(cuCtxGetCurrent)(&u.context) && u.context)
        (void)record(&stamp, &u);
}

void dv_events_mark(uint64_t id)
{
    struct marker *m = &ring[(first + count) % MARKERS];
    *m = (struct marker){.id = id, .begin = stamp};
    stamp.handle = NULL;
    for (uint32_t i = 0; i < dv_compute_fast.streams_count; i++)
        if (record(&m->end[m->count], &used[i]))
            m->count++;
    count++;
    __atomic_store_n(&dv_compute_fast.streams_count, 0, __ATOMIC_RELEASE);
}

bool dv_events_outstanding(void)
{
    return count > 0;
}

void dv_events_drop(void)
{
    for (; count; count--, first = (first + 1) % MARKERS) {
        put_event(&ring[first].begin);
        for (uint32_t i = 0; i < ring[first].count; i++)
            put_event(&ring[first].end[i]);
    }
}

static bool is_done(const struct event *e)
{
    struct visit v;
    int r = DV_CUDA_SUCCESS;
    if (visit_begin(&v, e->context))
        r = DV_ORIGINAL(cuEventQuery)(e->handle);
    visit_end(&v);
    return r != DV_CUDA_ERROR_NOT_READY; /* an error will not get better by waiting */
}

static uint64_t elapsed_ns(void *from, void *to, bool *ret_negative)
{
    float ms = 0;
    if (DV_ORIGINAL(cuEventElapsedTime)(&ms, from, to))
        ms = 0;
    *ret_negative = ms < 0;
    return (uint64_t)((double)(ms < 0 ? -ms : ms) * 1e6);
}

static uint64_t shifted(uint64_t ns, void *from, void *to)
{
    bool negative;
    uint64_t d = elapsed_ns(from, to, &negative);
    return negative ? ns - d : ns + d;
}

static struct anchor *anchor_of(void *context)
{
    struct anchor *free_one = &anchors[0];
    for (int i = 0; i < CONTEXTS; i++) {
        if (anchors[i].event.handle && anchors[i].event.context == context)
            return &anchors[i];
        if (!anchors[i].event.handle)
            free_one = &anchors[i];
    }
    put_event(&free_one->event);
    *free_one = (struct anchor){.least_lag_ns = UINT64_MAX};
    return free_one;
}

/* The time of an end event that was seen done at `now`. */
static uint64_t date(struct anchor *a, void *event, uint64_t now)
{
    if (!a->event.handle)
        return now;
    uint64_t at = shifted(a->ns, a->event.handle, event);
    if (at >= now) {
        a->ns -= at - now;
        a->least_lag_ns = 0;
        return now;
    }
    if (now - at < a->least_lag_ns)
        a->least_lag_ns = now - at;
    return at;
}

/* Nothing was seen sooner than least_lag after its end: so much too early is our clock. */
static void keep_late(struct anchor *a)
{
    if (++a->seen < LAG_WINDOW)
        return;
    if (a->least_lag_ns != UINT64_MAX)
        a->ns += a->least_lag_ns;
    a->least_lag_ns = UINT64_MAX;
    a->seen = 0;
}

static void settle(struct marker *m, uint64_t now, uint64_t *ret_begin, uint64_t *ret_end)
{
    *ret_begin = 0;
    *ret_end = 0;
    struct event *last = NULL;
    struct anchor *a = m->count ? anchor_of(m->end[0].context) : NULL;
    for (uint32_t i = 0; i < m->count; i++) {
        uint64_t at = m->end[i].context == m->end[0].context ? date(a, m->end[i].handle, now) : now;
        if (at >= *ret_end && m->end[i].context == m->end[0].context)
            last = &m->end[i];
        *ret_end = at > *ret_end ? at : *ret_end;
    }
    if (m->begin.handle && last && m->begin.context == last->context)
        *ret_begin = shifted(*ret_end, last->handle, m->begin.handle);
    if (last) {
        put_event(&a->event);
        a->event = *last;
        a->ns = *ret_end;
        last->handle = NULL;
        keep_late(a);
    }
    if (!*ret_end)
        *ret_end = now;
}

bool dv_events_poll(uint64_t now, uint64_t *ret_id, uint64_t *ret_begin_ns, uint64_t *ret_end_ns)
{
    if (!count)
        return false;
    struct marker *m = &ring[first];
    for (uint32_t i = 0; i < m->count; i++)
        if (!is_done(&m->end[i]))
            return false;
    struct visit v;
    (void)visit_begin(&v, m->count ? m->end[0].context : NULL);
    settle(m, now, ret_begin_ns, ret_end_ns);
    *ret_id = m->id;
    put_event(&m->begin);
    for (uint32_t i = 0; i < m->count; i++)
        put_event(&m->end[i]);
    visit_end(&v);
    first = (first + 1) % MARKERS;
    count--;
    return true;
}

/* ---- ends ---- */

static void drop_if_of(struct event *e, void *context)
{
    if (e->context == context)
        e->handle = NULL; /* it goes with its context */
}

void dv_events_context_ends(void *context)
{
    for (uint32_t i = dv_compute_fast.streams_count; i-- > 0;)
        if (used[i].context == context)
            forget_use(i);
    for (uint32_t k = 0; k < count; k++) {
        struct marker *m = &ring[(first + k) % MARKERS];
        uint32_t kept = 0;
        for (uint32_t i = 0; i < m->count; i++)
            if (m->end[i].context != context)
                m->end[kept++] = m->end[i];
        m->count = kept;
        drop_if_of(&m->begin, context);
    }
    drop_if_of(&stamp, context);
    for (uint32_t i = spare_count; i-- > 0;)
        if (spare[i].context == context)
            spare[i] = spare[--spare_count];
    for (int i = 0; i < CONTEXTS; i++)
        drop_if_of(&anchors[i].event, context);
}

void dv_events_forked(void)
{
    first = count = spare_count = 0;
    stamp.handle = NULL;
    memset(anchors, 0, sizeof anchors);
}
