/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/watch.h"

#include "kube/internal.h"
#include "kube/json.h"
#include "kube/known.h"
#include "sys/clock.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 250u /* objects; fewer where they are too large together */
#define LIST_DEADLINE_MS 60000u
/* The server ends a watch after a time between these; a little later we do. */
#define WATCH_MIN_S 240u
#define WATCH_MAX_S 480u
#define WATCH_SLACK_S 30u
#define RETRY_FIRST_MS 500u
#define RETRY_CAP_MS 30000u
#define LASTING_NS (60 * DV_NS_PER_S)
#define RETRY_SOON_MS 50u /* for what is ordinary: a first 410, a page that is too large */

enum stage {
    LISTING,
    WATCHING,
};

struct dv_kube_watch {
    struct dv_kube_client *client;
    char *path, *fields, *labels;
    dv_kube_watch_callback *cb;
    void *arg;
    enum stage stage;
    char *version;  /* of the collection, as far as it was told; "" */
    char *page;     /* the list's continue token; "" */
    uint32_t limit; /* objects of a page */
    struct dv_kube_known known;
    struct dv_kube_transfer *transfer;
    struct dv_loop_source *timer;
    uint32_t failures; /* watches in a row that neither told anything nor lasted */
    uint64_t began_ns; /* the transfer, CLOCK_MONOTONIC */
    struct dv_kube_watch_state state;
    bool *freed; /* of whoever is calling back; or NULL */
};

static void begin(struct dv_kube_watch *w);

/* ---- state ---------------------------------------------------------------------------------- */

static void set_connected(struct dv_kube_watch *w)
{
    w->state.error = 0;
    w->state.message[0] = 0;
    if (w->state.connected)
        return;
    w->state.connected = true;
    w->state.since_ns = dv_clock_now();
}

static void set_failed(struct dv_kube_watch *w, int error, const char *message)
{
    if (w->state.connected || !w->state.since_ns)
        w->state.since_ns = dv_clock_now();
    w->state.connected = false;
    w->state.error = error;
    snprintf(w->state.message, sizeof w->state.message, "%s", message);
}

static int keep(char **text, const char *value)
{
    char *copy = strdup(value);
    if (!copy)
        return -ENOMEM;
    free(*text);
    *text = copy;
    return 0;
}

static void list_again(struct dv_kube_watch *w)
{
    w->stage = LISTING;
    w->page[0] = 0;
    w->version[0] = 0;
}

static void try_later(struct dv_kube_watch *w, uint64_t at_least_ms)
{
    w->failures++;
    uint64_t ms = dv_kube_client_pause_ms(dv_kube_client_rng(w->client), w->failures,
                                          RETRY_FIRST_MS, RETRY_CAP_MS);
    dv_loop_timer_set(w->timer, DV_MAX(ms, at_least_ms), 0);
}

/* ---- telling -------------------------------------------------------------------------------- */

/* False: the callee has freed the watch; nothing of it may be touched. */
static bool tell(struct dv_kube_watch *w, enum dv_kube_change change, struct json_object *object)
{
    bool freed = false;
    w->freed = &freed;
    w->cb(w->arg, change, object);
    if (!freed)
        w->freed = NULL;
    return !freed;
}

/* Tells of one that went while we did not look. */
static bool tell_gone(struct dv_kube_watch *w, const char *namespace, const char *name,
                      const char *uid)
{
    struct json_object *o = json_object_new_object(), *meta = json_object_new_object();
    if (!o || !meta) { /* better a loss of memory than of an event: the next list tells */
        json_object_put(o);
        json_object_put(meta);
        return true;
    }
    json_object_object_add(meta, "name", json_object_new_string(name));
    if (*namespace)
        json_object_object_add(meta, "namespace", json_object_new_string(namespace));
    json_object_object_add(meta, "uid", json_object_new_string(uid));
    json_object_object_add(o, "metadata", meta);
    bool alive = tell(w, DV_KUBE_DELETED, o);
    json_object_put(o);
    return alive;
}

/* An object that is there. *ret: negative errno. False: freed. */
static bool take_object(struct dv_kube_watch *w, struct json_object *object, int *ret)
{
    const char *namespace = dv_kube_json_text(object, "metadata", "namespace", NULL);
    const char *name = dv_kube_json_text(object, "metadata", "name", NULL);
    const char *uid = dv_kube_json_text(object, "metadata", "uid", NULL);
    const char *version = dv_kube_json_text(object, "metadata", "resourceVersion", NULL);
    enum dv_kube_known_put put;
    char *old_uid;
    *ret = *name ? dv_kube_known_put(&w->known, namespace, name, uid, version, &put, &old_uid)
                 : -EPROTO;
    if (*ret < 0 || put == DV_KUBE_KNOWN_SAME)
        return true;
    if (put == DV_KUBE_KNOWN_REPLACED) {
        bool alive = tell_gone(w, namespace, name, old_uid);
        free(old_uid);
        if (!alive)
            return false;
    }
    return tell(w, put == DV_KUBE_KNOWN_CHANGED ? DV_KUBE_MODIFIED : DV_KUBE_ADDED, object);
}

static bool tell_stale(struct dv_kube_watch *w)
{
    struct dv_kube_known_object o;
    bool alive = true;
    while (alive && dv_kube_known_stale(&w->known, &o)) {
        alive = tell_gone(w, o.namespace, o.name, o.uid);
        dv_kube_known_object_done(&o);
    }
    return alive;
}

/* ---- the list ------------------------------------------------------------------------------- */

static bool take_items(struct dv_kube_watch *w, struct json_object *body, int *ret)
{
    struct json_object *items = dv_kube_json_at(body, "items", NULL);
    size_t n = dv_kube_json_length(items);
    *ret = 0;
    for (size_t i = 0; i < n && *ret == 0; i++)
        if (!take_object(w, dv_kube_json_item(items, i), ret))
            return false;
    return true;
}

static void list_failed(struct dv_kube_watch *w, int error, const char *message, uint32_t after_s)
{
    if (error == -E2BIG && w->limit > 1) { /* smaller pages */
        w->limit = DV_MAX(w->limit / 4, 1);
        list_again(w);
        dv_loop_timer_set(w->timer, RETRY_SOON_MS, 0);
        return;
    }
    set_failed(w, error, message);
    /* The token of a page is too old: the list begins anew. */
    if (error == -ESTALE || w->failures)
        list_again(w);
    try_later(w, (uint64_t)after_s * 1000);
}

static void take_page(struct dv_kube_watch *w, struct json_object *body)
{
    int r;
    if (!take_items(w, body, &r))
        return;
    const char *more = dv_kube_json_text(body, "metadata", "continue", NULL);
    const char *version = dv_kube_json_text(body, "metadata", "resourceVersion", NULL);
    r = r < 0 ? r : keep(&w->page, more);
    r = r < 0 ? r : keep(&w->version, version);
    if (r < 0 || !*version) {
        list_again(w);
        list_failed(w, r < 0 ? r : -EPROTO,
                    r == -E2BIG ? "the list has more objects than can be kept"
                    : r == -ENOMEM
                        ? "out of memory"
                        : "the list is not one: a name or the resourceVersion is missing",
                    0);
        return;
    }
    if (!*more) {
        w->stage = WATCHING;
        set_connected(w);
        w->state.synced = true;
        if (!tell_stale(w) || !tell(w, DV_KUBE_SYNCED, NULL))
            return;
    }
    begin(w);
}

static void on_list(void *arg, const struct dv_kube_outcome *o)
{
    struct dv_kube_watch *w = arg;
    struct dv_kube_reply reply;
    w->transfer = NULL;
    dv_kube_client_note(w->client, o);
    dv_kube_client_read(o, w->path, &reply);
    if (reply.status == 401)
        dv_kube_pump_forget_token(dv_kube_client_pump(w->client));
    if (reply.error)
        list_failed(w, reply.error, reply.message, reply.retry_after_s);
    else
        take_page(w, reply.body);
    json_object_put(reply.body);
}

/* ---- changes -------------------------------------------------------------------------------- */

/* The server has forgotten what we would need to go on. */
static void gone(struct dv_kube_watch *w)
{
    list_again(w);
    dv_kube_transfer_stop(w->transfer);
    w->transfer = NULL;
    if (w->failures)
        try_later(w, 0);
    else
        dv_loop_timer_set(w->timer, RETRY_SOON_MS, 0);
    w->failures++;
}

static void line_failed(struct dv_kube_watch *w, int error, const char *message)
{
    dv_kube_transfer_stop(w->transfer);
    w->transfer = NULL;
    set_failed(w, error, message);
    list_again(w);
    try_later(w, 0);
}

/* False: this watch has ended, or is no more. */
static bool take_change(struct dv_kube_watch *w, const char *type, struct json_object *object)
{
    int r = 0;
    if (strcmp(type, "ERROR") == 0) {
        if (dv_kube_json_int(object, "code", NULL) == 410)
            gone(w);
        else
            line_failed(w, -EIO, dv_kube_json_text(object, "message", NULL));
        return false;
    }
    const char *version = dv_kube_json_text(object, "metadata", "resourceVersion", NULL);
    if (!*version || keep(&w->version, version) < 0) {
        line_failed(w, -EPROTO, "a change without a resourceVersion");
        return false;
    }
    w->failures = 0;
    if (strcmp(type, "ADDED") == 0 || strcmp(type, "MODIFIED") == 0) {
        if (!take_object(w, object, &r))
            return false;
    } else if (strcmp(type, "DELETED") == 0) {
        const char *namespace = dv_kube_json_text(object, "metadata", "namespace", NULL);
        const char *name = dv_kube_json_text(object, "metadata", "name", NULL);
        if (dv_kube_known_remove(&w->known, namespace, name) && !tell(w, DV_KUBE_DELETED, object))
            return false;
    } /* else a BOOKMARK: only the version */
    if (r < 0)
        line_failed(w, r, "a change that cannot be kept");
    return r == 0;
}

static bool take_line(struct dv_kube_watch *w, const char *line, size_t len)
{
    struct json_object *change = dv_kube_json_parse(line, len);
    struct json_object *object = dv_kube_json_at(change, "object", NULL);
    bool on = object != NULL;
    if (on)
        on = take_change(w, dv_kube_json_text(change, "type", NULL), object);
    else
        line_failed(w, -EPROTO, "a line of the watch is no change");
    json_object_put(change);
    return on;
}

static void on_data(void *arg, const struct dv_str *in)
{
    struct dv_kube_watch *w = arg;
    const struct dv_kube_outcome answered = {.status = 200};
    size_t at = 0;
    dv_kube_client_note(w->client, &answered); /* its end may be minutes away */
    set_connected(w);
    while (at < in->len) {
        const char *line = in->data + at, *end = memchr(line, '\n', in->len - at);
        if (!end)
            break;
        size_t len = (size_t)(end - line);
        at += len + 1;
        if (len && !take_line(w, line, len))
            return;
    }
    dv_kube_transfer_take(w->transfer, at);
}

/* A watch ends every few minutes, and then simply goes on where it was. */
static void on_watch_done(void *arg, const struct dv_kube_outcome *o)
{
    struct dv_kube_watch *w = arg;
    w->transfer = NULL;
    dv_kube_client_note(w->client, o);
    if (o->status == 401)
        dv_kube_pump_forget_token(dv_kube_client_pump(w->client));
    if (o->status == 410) {
        gone(w);
        return;
    }
    if (dv_clock_now() - w->began_ns >= LASTING_NS)
        w->failures = 0;
    if (o->status == 200) {
        if (o->error && o->error != -ETIMEDOUT) /* cut off */
            set_failed(w, o->error, o->message);
        if (o->error == -E2BIG) /* the same line would come again */
            list_again(w);
        try_later(w, 0);
        return;
    }
    struct dv_kube_reply reply;
    dv_kube_client_read(o, w->path, &reply);
    set_failed(w, reply.error ? reply.error : -EPROTO, reply.message);
    json_object_put(reply.body);
    try_later(w, (uint64_t)reply.retry_after_s * 1000);
}

/* ---- asking --------------------------------------------------------------------------------- */

static int build_path(struct dv_kube_watch *w, uint32_t seconds, struct dv_str *ret)
{
    dv_str_add(ret, w->path);
    if (w->stage == LISTING)
        dv_str_addf(ret, "?limit=%u", w->limit);
    else
        dv_str_addf(ret, "?watch=1&allowWatchBookmarks=true&timeoutSeconds=%u", seconds);
    if (w->stage == WATCHING)
        dv_kube_client_path(ret, "&resourceVersion=%s", w->version);
    else if (*w->page)
        dv_kube_client_path(ret, "&continue=%s", w->page);
    if (w->fields)
        dv_kube_client_path(ret, "&fieldSelector=%s", w->fields);
    if (w->labels)
        dv_kube_client_path(ret, "&labelSelector=%s", w->labels);
    return ret->failed ? -ENOMEM : 0;
}

static void begin(struct dv_kube_watch *w)
{
    dv_cleanup(dv_str_done) struct dv_str path = {0};
    struct dv_err err = {{0}};
    bool watching = w->stage == WATCHING;
    uint32_t seconds = WATCH_MIN_S + (uint32_t)dv_rng_below(dv_kube_client_rng(w->client),
                                                            WATCH_MAX_S - WATCH_MIN_S);
    w->began_ns = dv_clock_now();
    if (w->stage == LISTING && !*w->page)
        dv_kube_known_begin(&w->known);
    int r = build_path(w, seconds, &path);
    struct dv_kube_transfer_spec spec = {
        .method = "GET",
        .path = dv_str_get(&path),
        .timeout_ms = watching ? (seconds + WATCH_SLACK_S) * 1000 : LIST_DEADLINE_MS,
        .on_data = watching ? on_data : NULL,
        .on_done = watching ? on_watch_done : on_list,
        .arg = w,
    };
    r = r < 0 ? r
              : dv_kube_transfer_start(dv_kube_client_pump(w->client), &spec, &w->transfer, &err);
    if (r < 0) {
        set_failed(w, r, *err.msg ? err.msg : "out of memory");
        try_later(w, 0);
    }
}

static void on_timer(void *arg)
{
    struct dv_kube_watch *w = arg;
    if (!w->transfer)
        begin(w);
}

static int copy_spec(struct dv_kube_watch *w, const struct dv_kube_watch_spec *spec)
{
    int r = keep(&w->path, spec->path);
    r = r < 0 || !spec->fields ? r : keep(&w->fields, spec->fields);
    r = r < 0 || !spec->labels ? r : keep(&w->labels, spec->labels);
    r = r < 0 ? r : keep(&w->version, "");
    r = r < 0 ? r : keep(&w->page, "");
    w->cb = spec->cb;
    w->arg = spec->arg;
    return r;
}

int dv_kube_watch_start(struct dv_kube_client *client, const struct dv_kube_watch_spec *spec,
                        struct dv_kube_watch **ret)
{
    struct dv_kube_watch *w = calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    w->client = client;
    w->limit = PAGE;
    int r = copy_spec(w, spec);
    r = r < 0 ? r : dv_loop_timer(dv_kube_client_loop(client), 0, 0, on_timer, w, &w->timer);
    if (r < 0) {
        dv_kube_watch_free(w);
        return r;
    }
    snprintf(w->state.message, sizeof w->state.message, "nothing was asked yet");
    w->state.since_ns = dv_clock_now();
    *ret = w;
    return 0;
}

void dv_kube_watch_free(struct dv_kube_watch *w)
{
    if (!w)
        return;
    if (w->freed)
        *w->freed = true;
    dv_kube_transfer_stop(w->transfer);
    dv_loop_remove(w->timer);
    dv_kube_known_done(&w->known);
    free(w->path);
    free(w->fields);
    free(w->labels);
    free(w->version);
    free(w->page);
    free(w);
}

void dv_kube_watch_state(const struct dv_kube_watch *w, struct dv_kube_watch_state *ret)
{
    *ret = w->state;
    ret->n_objects = w->known.n;
}
