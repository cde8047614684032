/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Markers by the driver's events: what was submitted until now, in every stream that was used, and
 * when the device was done with it. Needs compute's lock.
 *
 *     dv_events_use(stream);                       a launch goes to this stream
 *     dv_events_mark(id);                          an end event in each stream used since the last
 *     while (dv_events_poll(now, &id, &begin, &end))    the oldest marker is complete
 *
 * Device times are mapped to CLOCK_MONOTONIC: each end event is dated from the last one by
 * cuEventElapsedTime, and the whole is kept as late as it can be without an event being seen
 * before it ended.
 */
#ifndef DV_GOVERNOR_EVENTS_H
#define DV_GOVERNOR_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

/* False: too many streams since the last marker; place one and try again. */
bool dv_events_use(void *stream);
/* A begin event for the marker that comes next, in this stream. */
void dv_events_stamp(void *stream);
void dv_events_mark(uint64_t id);
/* True: the oldest marker is done. begin_ns is 0 if it was not stamped. */
bool dv_events_poll(uint64_t now, uint64_t *ret_id, uint64_t *ret_begin_ns, uint64_t *ret_end_ns);
bool dv_events_outstanding(void);
/* Forgets all markers: whoever placed them is no more. */
void dv_events_drop(void);
/* The stream, or the context with all in it, is about to be destroyed. */
void dv_events_stream_ends(void *stream);
void dv_events_context_ends(void *context);
void dv_events_forked(void);

#endif
