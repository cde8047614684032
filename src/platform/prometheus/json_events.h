/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON as a stream: pieces of text in, events out, memory bounded however long the text is. For
 * answers that are too long to hold as a tree.
 *
 *     struct dv_json_events e = {.on_event = on_event, .arg = self};
 *     while ((n = read(fd, buf, sizeof buf)) > 0 && r == 0)
 *         r = dv_json_events_feed(&e, buf, n, &err);
 *     r = r ? r : dv_json_events_end(&e, &err);
 *     dv_json_events_done(&e);
 *
 * RFC 8259. A string or number has at most DV_JSON_TEXT_MAX bytes, nesting at most
 * DV_JSON_DEPTH_MAX.
 * "\u" escapes become UTF-8 (half a surrogate pair becomes '?'); strings come NUL-terminated, and a
 * NUL in one is an error.
 */
#ifndef DV_PROMETHEUS_JSON_EVENTS_H
#define DV_PROMETHEUS_JSON_EVENTS_H

#include "base/err.h"

#include <stdbool.h>

#define DV_JSON_TEXT_MAX 65536u
#define DV_JSON_DEPTH_MAX 32u

enum dv_json_event {
    DV_JSON_OBJECT,
    DV_JSON_OBJECT_END,
    DV_JSON_ARRAY,
    DV_JSON_ARRAY_END,
    DV_JSON_KEY,
    DV_JSON_STRING,
    DV_JSON_NUMBER,  /* as it is written */
    DV_JSON_LITERAL, /* "true", "false", "null" */
};

/* text: of KEY, STRING, NUMBER, LITERAL, until the callback returns. A result other than 0 ends the
 * reading and is passed on. */
typedef int dv_json_on_event(void *arg, enum dv_json_event event, const char *text, size_t len);

struct dv_json_events {
    dv_json_on_event *on_event;
    void *arg;
    /* The reader's own: all zero at first. */
    uint64_t at; /* bytes read, for messages */
    char *text;
    size_t len, cap;
    int state;
    uint32_t escape, high; /* digits of \u so far, half a pair */
    unsigned depth, hex_left;
    bool in_object[DV_JSON_DEPTH_MAX];
    bool key;
};

/* 0; -EINVAL (not JSON), -E2BIG, -ENOMEM with a message; or what on_event returned. */
int dv_json_events_feed(struct dv_json_events *e, const char *text, size_t len, struct dv_err *err);
/* The text is over: was it whole? 0, -EINVAL. */
int dv_json_events_end(struct dv_json_events *e, struct dv_err *err);
void dv_json_events_done(struct dv_json_events *e);

#endif
