/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <uv.h>

struct dv_loop {
    uv_loop_t uv;
};

struct dv_loop_source {
    union {
        uv_handle_t handle;
        uv_poll_t poll;
        uv_timer_t timer;
        uv_signal_t signal;
        uv_prepare_t prepare;
    } uv;
    dv_loop_callback *cb;
    dv_loop_poll_callback *poll_cb; /* of dv_loop_poll(), instead of cb */
    unsigned asked;                 /* by dv_loop_poll() */
    void *arg;
};

/* libuv's codes are negative errno on Unix. */
int dv_loop_new(struct dv_loop **ret)
{
    struct dv_loop *loop = calloc(1, sizeof *loop);
    if (!loop)
        return -ENOMEM;
    int r = uv_loop_init(&loop->uv);
    if (r < 0) {
        free(loop);
        return r;
    }
    *ret = loop;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void close_leftover(uv_handle_t *handle, void *arg)
{
    if (!uv_is_closing(handle))
        uv_close(handle, on_closed);
}

void dv_loop_free(struct dv_loop *loop)
{
    if (!loop)
        return;
    uv_walk(&loop->uv, close_leftover, NULL);
    /* A stop that nothing ran to heed ends the first of these at once. */
    while (uv_run(&loop->uv, UV_RUN_DEFAULT))
        ;
    uv_loop_close(&loop->uv);
    free(loop);
}

int dv_loop_run(struct dv_loop *loop)
{
    int r = uv_run(&loop->uv, UV_RUN_DEFAULT);
    return r < 0 ? r : 0;
}

void dv_loop_stop(struct dv_loop *loop)
{
    uv_stop(&loop->uv);
}

static struct dv_loop_source *source_new(dv_loop_callback *cb, void *arg)
{
    struct dv_loop_source *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->cb = cb;
    s->arg = arg;
    return s;
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct dv_loop_source *s = handle->data;
    s->cb(s->arg);
}

static void on_timer(uv_timer_t *handle)
{
    struct dv_loop_source *s = handle->data;
    s->cb(s->arg);
}

static void on_signal(uv_signal_t *handle, int signo)
{
    struct dv_loop_source *s = handle->data;
    s->cb(s->arg);
}

static void on_prepare(uv_prepare_t *handle)
{
    struct dv_loop_source *s = handle->data;
    s->cb(s->arg);
}

/* After a failed init the handle is not the loop's: plain free. After that it must be closed. */
static int started(struct dv_loop_source *s, int r, struct dv_loop_source **ret)
{
    s->uv.handle.data = s;
    if (r < 0) {
        uv_close(&s->uv.handle, on_closed);
        return r;
    }
    *ret = s;
    return 0;
}

int dv_loop_watch(struct dv_loop *loop, int fd, dv_loop_callback *cb, void *arg,
                  struct dv_loop_source **ret)
{
    struct dv_loop_source *s = source_new(cb, arg);
    if (!s)
        return -ENOMEM;
    int r = uv_poll_init(&loop->uv, &s->uv.poll, fd);
    if (r < 0) {
        free(s);
        return r;
    }
    return started(s, uv_poll_start(&s->uv.poll, UV_READABLE | UV_DISCONNECT, on_poll), ret);
}

static void on_events(uv_poll_t *handle, int status, int events)
{
    struct dv_loop_source *s = handle->data;
    unsigned now = 0;
    if (events & UV_READABLE)
        now |= DV_LOOP_READABLE;
    if (events & UV_WRITABLE)
        now |= DV_LOOP_WRITABLE;
    s->poll_cb(s->arg, status < 0 || (events & UV_DISCONNECT) ? s->asked : now);
}

int dv_loop_poll_set(struct dv_loop_source *poll, unsigned events)
{
    int asked = UV_DISCONNECT;
    if (events & DV_LOOP_READABLE)
        asked |= UV_READABLE;
    if (events & DV_LOOP_WRITABLE)
        asked |= UV_WRITABLE;
    poll->asked = events;
    return uv_poll_start(&poll->uv.poll, asked, on_events);
}

int dv_loop_poll(struct dv_loop *loop, int fd, unsigned events, dv_loop_poll_callback *cb,
                 void *arg, struct dv_loop_source **ret)
{
    struct dv_loop_source *s = source_new(NULL, arg);
    if (!s)
        return -ENOMEM;
    s->poll_cb = cb;
    int r = uv_poll_init(&loop->uv, &s->uv.poll, fd);
    if (r < 0) {
        free(s);
        return r;
    }
    s->uv.handle.data = s;
    return started(s, dv_loop_poll_set(s, events), ret);
}

int dv_loop_timer(struct dv_loop *loop, uint64_t first_ms, uint64_t every_ms, dv_loop_callback *cb,
                  void *arg, struct dv_loop_source **ret)
{
    struct dv_loop_source *s = source_new(cb, arg);
    if (!s)
        return -ENOMEM;
    uv_timer_init(&loop->uv, &s->uv.timer);
    uv_update_time(&loop->uv);
    return started(s, uv_timer_start(&s->uv.timer, on_timer, first_ms, every_ms), ret);
}

void dv_loop_timer_set(struct dv_loop_source *timer, uint64_t first_ms, uint64_t every_ms)
{
    uv_update_time(timer->uv.timer.loop);
    uv_timer_start(&timer->uv.timer, on_timer, first_ms, every_ms);
}

int dv_loop_signal(struct dv_loop *loop, int signo, dv_loop_callback *cb, void *arg,
                   struct dv_loop_source **ret)
{
    struct dv_loop_source *s = source_new(cb, arg);
    if (!s)
        return -ENOMEM;
    int r = uv_signal_init(&loop->uv, &s->uv.signal);
    if (r < 0) {
        free(s);
        return r;
    }
    return started(s, uv_signal_start(&s->uv.signal, on_signal, signo), ret);
}

int dv_loop_before_sleep(struct dv_loop *loop, dv_loop_callback *cb, void *arg,
                         struct dv_loop_source **ret)
{
    struct dv_loop_source *s = source_new(cb, arg);
    if (!s)
        return -ENOMEM;
    uv_prepare_init(&loop->uv, &s->uv.prepare);
    return started(s, uv_prepare_start(&s->uv.prepare, on_prepare), ret);
}

void dv_loop_remove(struct dv_loop_source *source)
{
    if (source && !uv_is_closing(&source->uv.handle))
        uv_close(&source->uv.handle, on_closed);
}
