/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop of a thread, over libuv: descriptors, timers, signals. Nothing of libuv shows.
 *
 *     struct dv_loop *loop;
 *     dv_loop_new(&loop);
 *     dv_loop_watch(loop, fd, on_readable, self, &watch);
 *     dv_loop_run(loop);          until dv_loop_stop()
 *
 * All calls are made on the loop's own thread. Sources are freed by dv_loop_remove(); it may be
 * called from any callback, that of the source itself included. The descriptor stays the caller's
 * and must be closed after dv_loop_remove().
 */
#ifndef DV_SYS_LOOP_H
#define DV_SYS_LOOP_H

#include "base/macros.h"

struct dv_loop;
struct dv_loop_source;
typedef void dv_loop_callback(void *arg);

enum {
    DV_LOOP_READABLE = 1,
    DV_LOOP_WRITABLE = 2,
};
/* events: what is so now, of those above. */
typedef void dv_loop_poll_callback(void *arg, unsigned events);

int dv_loop_new(struct dv_loop **ret);
void dv_loop_free(struct dv_loop *loop);
/* Until dv_loop_stop(). 0 or negative errno. */
int dv_loop_run(struct dv_loop *loop);
void dv_loop_stop(struct dv_loop *loop);

/* Called while fd is readable or hung up. */
int dv_loop_watch(struct dv_loop *loop, int fd, dv_loop_callback *cb, void *arg,
                  struct dv_loop_source **ret);
/* The same for those of DV_LOOP_* that are asked for; a hang-up or an error counts as all of them.
 * For the sockets of other libraries, which say themselves what they wait for. */
int dv_loop_poll(struct dv_loop *loop, int fd, unsigned events, dv_loop_poll_callback *cb,
                 void *arg, struct dv_loop_source **ret);
/* Asks for others from now on. 0 or negative errno. */
int dv_loop_poll_set(struct dv_loop_source *poll, unsigned events);
/* First after first_ms, then every every_ms (0 = once; the source stays until it is removed). */
int dv_loop_timer(struct dv_loop *loop, uint64_t first_ms, uint64_t every_ms, dv_loop_callback *cb,
                  void *arg, struct dv_loop_source **ret);
/* Sets a timer again; first_ms DV_NEVER: it rests. */
void dv_loop_timer_set(struct dv_loop_source *timer, uint64_t first_ms, uint64_t every_ms);
int dv_loop_signal(struct dv_loop *loop, int signo, dv_loop_callback *cb, void *arg,
                   struct dv_loop_source **ret);
/* Once per turn of the loop, before it sleeps. */
int dv_loop_before_sleep(struct dv_loop *loop, dv_loop_callback *cb, void *arg,
                         struct dv_loop_source **ret);
/* Accepts NULL. */
void dv_loop_remove(struct dv_loop_source *source);

#endif
