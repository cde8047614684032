/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/node_object.h"

#include "kube/event.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMPONENT "divvyd"
#define RETRY_NS (10 * DV_NS_PER_S)

struct mark {
    char *key, *value;
};

struct marks {
    struct mark *items;
    uint32_t n;
};

struct dv_node_object {
    char name[DV_KUBE_NAME];
    dv_node_object_changed *changed;
    void *arg;
    struct dv_kube_config *config;
    struct dv_kube_client *client;
    struct dv_kube_node_watch *watch;
    struct dv_kube_recorder *recorder;
    struct marks labels, annotations;
    char uid[64]; /* the Node's that was seen last; "": none yet */
    uint64_t generation;
    char condition[600]; /* what was written last */
    int64_t condition_since;
    bool condition_status;
    bool condition_busy;         /* it is being written */
    uint64_t condition_retry_ns; /* it could not be: again then */
    char problem[400];
};

/* ---- what the server says ---- */

static void marks_done(struct marks *m)
{
    for (uint32_t i = 0; i < m->n; i++) {
        free(m->items[i].key);
        free(m->items[i].value);
    }
    free(m->items);
    *m = (struct marks){0};
}

/* As many as memory allows. */
static void marks_take(struct marks *m, const struct dv_kube_pair *pairs, uint32_t n)
{
    marks_done(m);
    m->items = calloc(n ? n : 1, sizeof *m->items);
    for (uint32_t i = 0; m->items && i < n; i++) {
        struct mark *to = &m->items[m->n];
        to->key = strdup(pairs[i].key);
        to->value = strdup(pairs[i].value ? pairs[i].value : "");
        if (!to->key || !to->value) {
            free(to->key);
            free(to->value);
            break;
        }
        m->n++;
    }
}

static const char *marks_find(const struct marks *m, const char *key)
{
    for (uint32_t i = 0; i < m->n; i++)
        if (!strcmp(m->items[i].key, key))
            return m->items[i].value;
    return NULL;
}

static void on_node(void *arg, const struct dv_kube_node *node)
{
    struct dv_node_object *o = arg;
    if (node && strcmp(node->uid, o->uid) != 0) {
        if (o->uid[0]) /* deleted and made anew: nothing of ours is on it */
            o->condition[0] = 0;
        snprintf(o->uid, sizeof o->uid, "%s", node->uid);
    }
    if (node) {
        marks_take(&o->labels, node->labels, node->n_labels);
        marks_take(&o->annotations, node->annotations, node->n_annotations);
    } else {
        dv_log(DV_LOG_WARNING, "node.missing", "node=%s", o->name);
        marks_done(&o->labels);
        marks_done(&o->annotations);
    }
    o->generation++;
    o->changed(o->arg);
}

/* ---- life ---- */

int dv_node_object_new(struct dv_loop *loop, const char *name, const char *kubeconfig,
                       dv_node_object_changed *changed, void *arg, struct dv_node_object **ret,
                       struct dv_err *err)
{
    struct dv_node_object *o = calloc(1, sizeof *o);
    if (!o)
        return dv_err_set(err, -ENOMEM, "out of memory");
    snprintf(o->name, sizeof o->name, "%s", name);
    o->changed = changed;
    o->arg = arg;
    int r = kubeconfig ? dv_kube_config_read(kubeconfig, false, &o->config, err)
                       : dv_kube_config_in_cluster(NULL, &o->config, err);
    if (r == 0)
        r = dv_kube_client_new(loop, o->config, dv_clock_now(), &o->client, err);
    if (r == 0 && (dv_kube_node_watch(o->client, o->name, on_node, o, &o->watch) < 0 ||
                   dv_kube_recorder_new(o->client, COMPONENT, o->name, &o->recorder) < 0))
        r = dv_err_set(err, -ENOMEM, "out of memory");
    if (r < 0) {
        dv_node_object_free(o);
        return r;
    }
    *ret = o;
    return 0;
}

void dv_node_object_free(struct dv_node_object *o)
{
    if (!o)
        return;
    dv_kube_recorder_free(o->recorder);
    dv_kube_node_watch_free(o->watch);
    dv_kube_client_free(o->client);
    dv_kube_config_free(o->config);
    marks_done(&o->labels);
    marks_done(&o->annotations);
    free(o);
}

const char *dv_node_object_name(const struct dv_node_object *o)
{
    return o->name;
}

struct dv_kube_client *dv_node_object_client(struct dv_node_object *o)
{
    return o->client;
}

uint64_t dv_node_object_generation(const struct dv_node_object *o)
{
    return o->generation;
}

const char *dv_node_object_uid(const struct dv_node_object *o)
{
    return o->uid;
}

const char *dv_node_object_label(const struct dv_node_object *o, const char *key)
{
    return marks_find(&o->labels, key);
}

const char *dv_node_object_annotation(const struct dv_node_object *o, const char *key)
{
    return marks_find(&o->annotations, key);
}

/* ---- what is told ---- */

static void on_written(void *arg, const struct dv_kube_reply *reply)
{
    char value[DV_LOG_VALUE];
    if (reply->error)
        dv_log(DV_LOG_WARNING, "node.write_failed", "what=%s detail=%s", (const char *)arg,
               dv_log_value(reply->message, value));
}

void dv_node_object_set_label(struct dv_node_object *o, const char *key, const char *value)
{
    const char *now = marks_find(&o->labels, key);
    if (now ? value && !strcmp(now, value) : !value)
        return;
    struct dv_kube_pair pair = {key, value};
    struct dv_kube_marks marks = {.labels = &pair, .n_labels = 1};
    if (dv_kube_node_patch(o->client, o->name, &marks, on_written, (void *)"label", NULL) < 0)
        dv_log(DV_LOG_WARNING, "node.write_failed", "what=label detail=\"too many calls wait\"");
}

static void add_event(struct dv_node_object *o, const struct dv_kube_event *event)
{
    if (dv_kube_recorder_add(o->recorder, event) < 0)
        dv_log(DV_LOG_WARNING, "event.lost", "reason=%s", event->reason);
}

void dv_node_object_event(struct dv_node_object *o, bool warning, const char *reason,
                          const char *fmt, ...)
{
    char message[DV_KUBE_EVENT_MESSAGE];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    add_event(o, &(struct dv_kube_event){.kind = "Node",
                                         .name = o->name,
                                         .uid = o->name,
                                         .warning = warning,
                                         .reason = reason,
                                         .message = message});
}

void dv_node_object_pod_event(struct dv_node_object *o, const char *namespace, const char *name,
                              const char *uid, bool warning, const char *reason, const char *fmt,
                              ...)
{
    char message[DV_KUBE_EVENT_MESSAGE];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    add_event(o, &(struct dv_kube_event){.kind = "Pod",
                                         .namespace = namespace,
                                         .name = name,
                                         .uid = uid,
                                         .warning = warning,
                                         .reason = reason,
                                         .message = message});
}

static void on_condition(void *arg, const struct dv_kube_reply *reply)
{
    struct dv_node_object *o = arg;
    on_written((void *)"condition", reply);
    o->condition_busy = false;
    o->condition_retry_ns = reply->error ? dv_clock_now() + RETRY_NS : 0;
}

void dv_node_object_condition(struct dv_node_object *o, const char *type, bool status,
                              const char *reason, const char *message)
{
    char words[sizeof o->condition];
    snprintf(words, sizeof words, "%s %d %s %.500s", type, status, reason, message);
    bool failed = o->condition_retry_ns && dv_clock_now() >= o->condition_retry_ns;
    if (o->condition_busy || (!strcmp(words, o->condition) && !failed) ||
        (o->condition_retry_ns && !failed))
        return;
    int64_t now = dv_clock_unix();
    if (!o->condition[0] || status != o->condition_status)
        o->condition_since = now;
    const struct dv_kube_condition condition = {
        type, status ? DV_KUBE_TRUE : DV_KUBE_FALSE, reason, message, o->condition_since, now};
    if (dv_kube_node_condition(o->client, o->name, &condition, on_condition, o, NULL) < 0)
        return; /* comes again with the next look */
    o->condition_busy = true;
    o->condition_retry_ns = 0;
    o->condition_status = status;
    memcpy(o->condition, words, sizeof words);
}

const char *dv_node_object_problem(struct dv_node_object *o)
{
    struct dv_kube_watch_state state;
    dv_kube_node_watch_state(o->watch, &state);
    snprintf(o->problem, sizeof o->problem, "%s",
             state.connected    ? ""
             : state.message[0] ? state.message
                                : "no answer yet");
    return o->problem;
}

uint64_t dv_node_object_since(const struct dv_node_object *o)
{
    struct dv_kube_watch_state state;
    dv_kube_node_watch_state(o->watch, &state);
    return state.since_ns;
}
