/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/event.h"

#include "kube/internal.h"
#include "kube/object.h"
#include "sys/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAME_S 600      /* how long an event counts as the same */
#define WRITE_EVERY_S 5 /* of one event */
#define TICK_MS 1000u
#define REASON 129

/* The argument of its call: who gives an entry to another event cancels the call. */
struct entry {
    struct dv_kube_recorder *rec;
    bool used, dirty, created; /* created: the server has it */
    struct dv_kube_call *call; /* that is under way */
    char kind[64], namespace[DV_KUBE_NAME], name[DV_KUBE_NAME], uid[128];
    char reason[REASON], message[DV_KUBE_EVENT_MESSAGE];
    bool warning;
    char event[DV_KUBE_NAME]; /* the event's own name */
    uint32_t count;
    int64_t first_unix, last_unix, written_unix;
};

struct dv_kube_recorder {
    struct dv_kube_client *client;
    char *component, *node;
    struct dv_loop_source *timer;
    bool ticking;
    struct entry entries[DV_KUBE_EVENTS_MAX];
};

static const char *namespace_of(const struct entry *e)
{
    return *e->namespace ? e->namespace : "default";
}

/* ---- writing -------------------------------------------------------------------------------- */

static void add_counts(struct dv_output_node *root, const struct entry *e)
{
    char last[DV_KUBE_TIME];
    dv_output_int(root, "count", e->count);
    dv_output_string(root, "lastTimestamp", dv_kube_object_time(e->last_unix, last));
}

static struct dv_output *whole(const struct dv_kube_recorder *rec, const struct entry *e)
{
    char first[DV_KUBE_TIME];
    struct dv_output *body = dv_output_new(NULL);
    struct dv_output_node *root = dv_output_root(body);
    dv_output_string(root, "apiVersion", "v1");
    dv_output_string(root, "kind", "Event");
    struct dv_output_node *meta = dv_output_object(root, "metadata");
    dv_output_string(meta, "name", e->event);
    dv_output_string(meta, "namespace", namespace_of(e));
    struct dv_output_node *about = dv_output_object(root, "involvedObject");
    dv_output_string(about, "apiVersion", "v1");
    dv_output_string(about, "kind", e->kind);
    dv_output_string(about, "name", e->name);
    dv_output_string(about, "uid", e->uid);
    if (*e->namespace)
        dv_output_string(about, "namespace", e->namespace);
    dv_output_string(root, "type", e->warning ? "Warning" : "Normal");
    dv_output_string(root, "reason", e->reason);
    dv_output_string(root, "message", e->message);
    struct dv_output_node *source = dv_output_object(root, "source");
    dv_output_string(source, "component", rec->component);
    dv_output_string(source, "host", rec->node);
    dv_output_string(root, "reportingComponent", rec->component);
    dv_output_string(root, "reportingInstance", rec->node);
    dv_output_string(root, "firstTimestamp", dv_kube_object_time(e->first_unix, first));
    add_counts(root, e);
    return body;
}

static void tick_soon(struct dv_kube_recorder *rec)
{
    if (!rec->ticking)
        dv_loop_timer_set(rec->timer, TICK_MS, 0);
    rec->ticking = true;
}

static void on_written(void *arg, const struct dv_kube_reply *reply)
{
    struct entry *e = arg;
    e->call = NULL;
    if (reply->error == 0) {
        e->created = true;
    } else if (reply->error == -EEXIST) { /* a write whose answer was lost */
        e->created = e->dirty = true;
    } else if (reply->error == -ENOENT && e->created) {
        e->created = false; /* events live for an hour, or somebody has deleted it */
        e->dirty = true;
    } else if (reply->error != -EACCES && reply->error != -EINVAL && reply->error != -ENOENT) {
        e->dirty = true; /* the server is away or busy */
    }
    tick_soon(e->rec);
}

static void write_entry(struct dv_kube_recorder *rec, struct entry *e, int64_t now)
{
    dv_cleanup(dv_str_done) struct dv_str path = {0};
    struct dv_kube_request request = {.verb = e->created ? DV_KUBE_MERGE : DV_KUBE_CREATE};
    int r = dv_kube_client_path(&path, "/api/v1/namespaces/%s/events", namespace_of(e));
    if (e->created)
        r = r < 0 ? r : dv_kube_client_path(&path, "/%s", e->event);
    if (r < 0)
        return;
    request.path = dv_str_get(&path);
    struct dv_output *body = NULL;
    if (e->created && (body = dv_output_new(NULL)))
        add_counts(dv_output_root(body), e);
    else if (!e->created)
        body = whole(rec, e);
    if (dv_kube_client_send(rec->client, &request, &body, on_written, e, &e->call) < 0)
        return; /* stays dirty */
    e->dirty = false;
    e->written_unix = now;
}

static void on_tick(void *arg)
{
    struct dv_kube_recorder *rec = arg;
    int64_t now = dv_clock_unix();
    bool more = false;
    rec->ticking = false;
    for (uint32_t i = 0; i < DV_KUBE_EVENTS_MAX; i++) {
        struct entry *e = &rec->entries[i];
        if (!e->used || !e->dirty || e->call)
            continue;
        if (now - e->last_unix > SAME_S) { /* the server was away too long: old news */
            e->dirty = false;
            continue;
        }
        if (now < e->written_unix || now - e->written_unix >= WRITE_EVERY_S)
            write_entry(rec, e, now);
        more |= e->dirty;
    }
    if (more)
        tick_soon(rec);
}

/* ---- remembering ---------------------------------------------------------------------------- */

static bool is_same(const struct entry *e, const struct dv_kube_event *ev, const char *namespace,
                    const char *message)
{
    return e->used && e->warning == ev->warning && strcmp(e->uid, ev->uid) == 0 &&
           strcmp(e->kind, ev->kind) == 0 && strcmp(e->name, ev->name) == 0 &&
           strcmp(e->namespace, namespace) == 0 && strcmp(e->reason, ev->reason) == 0 &&
           strcmp(e->message, message) == 0;
}

/* A free one, or the one that was used longest ago. */
static struct entry *oldest(struct dv_kube_recorder *rec)
{
    struct entry *best = &rec->entries[0];
    for (uint32_t i = 0; i < DV_KUBE_EVENTS_MAX; i++) {
        struct entry *e = &rec->entries[i];
        if (!e->used)
            return e;
        if (e->last_unix < best->last_unix)
            best = e;
    }
    dv_kube_client_cancel(best->call);
    return best;
}

static int fill(struct entry *e, struct dv_rng *rng, const struct dv_kube_event *ev,
                const char *namespace, const char *message)
{
    bool ok = dv_str_copy(e->kind, sizeof e->kind, ev->kind) == 0 &&
              dv_str_copy(e->namespace, sizeof e->namespace, namespace) == 0 &&
              dv_str_copy(e->name, sizeof e->name, ev->name) == 0 &&
              dv_str_copy(e->uid, sizeof e->uid, ev->uid) == 0 &&
              dv_str_copy(e->reason, sizeof e->reason, ev->reason) == 0;
    snprintf(e->message, sizeof e->message, "%s", message);
    /* A name of its own, as everybody makes it: the object's, and a number that nobody else has. */
    snprintf(e->event, sizeof e->event, "%.230s.%016" PRIx64, ev->name,
             dv_rng_next(rng) ^ dv_clock_unix_us());
    e->warning = ev->warning;
    return ok ? 0 : -EINVAL;
}

/* Cuts at a whole character. */
static void cut(const char *text, char ret[DV_KUBE_EVENT_MESSAGE])
{
    size_t n = strnlen(text, DV_KUBE_EVENT_MESSAGE - 1);
    if (text[n])
        while (n && ((unsigned char)text[n] & 0xc0) == 0x80)
            n--;
    memcpy(ret, text, n);
    ret[n] = 0;
}

int dv_kube_recorder_add(struct dv_kube_recorder *rec, const struct dv_kube_event *ev)
{
    char message[DV_KUBE_EVENT_MESSAGE];
    const char *namespace = ev->namespace ? ev->namespace : "";
    int64_t now = dv_clock_unix();
    cut(ev->message, message);
    struct entry *e = NULL;
    for (uint32_t i = 0; i < DV_KUBE_EVENTS_MAX && !e; i++)
        if (is_same(&rec->entries[i], ev, namespace, message))
            e = &rec->entries[i];
    if (!e || now - e->last_unix > SAME_S) {
        if (e)
            dv_kube_client_cancel(e->call);
        else
            e = oldest(rec);
        *e = (struct entry){.rec = rec, .first_unix = now};
        int r = fill(e, dv_kube_client_rng(rec->client), ev, namespace, message);
        if (r < 0) {
            *e = (struct entry){0};
            return r;
        }
        e->used = true;
    }
    e->count++;
    e->last_unix = now;
    e->dirty = true;
    if (!e->call && !e->written_unix)
        write_entry(rec, e, now);
    tick_soon(rec);
    return 0;
}

/* ---- the recorder --------------------------------------------------------------------------- */

int dv_kube_recorder_new(struct dv_kube_client *client, const char *component, const char *node,
                         struct dv_kube_recorder **ret)
{
    struct dv_kube_recorder *rec = calloc(1, sizeof *rec);
    if (!rec)
        return -ENOMEM;
    rec->client = client;
    rec->component = strdup(component);
    rec->node = strdup(node);
    if (!rec->component || !rec->node ||
        dv_loop_timer(dv_kube_client_loop(client), DV_NEVER, 0, on_tick, rec, &rec->timer) < 0) {
        dv_kube_recorder_free(rec);
        return -ENOMEM;
    }
    *ret = rec;
    return 0;
}

void dv_kube_recorder_free(struct dv_kube_recorder *rec)
{
    if (!rec)
        return;
    for (uint32_t i = 0; i < DV_KUBE_EVENTS_MAX; i++)
        dv_kube_client_cancel(rec->entries[i].call);
    dv_loop_remove(rec->timer);
    free(rec->component);
    free(rec->node);
    free(rec);
}
