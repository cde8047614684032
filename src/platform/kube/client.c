/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/client.h"

#include "kube/internal.h"
#include "kube/json.h"
#include "render/json.h"
#include "sys/clock.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WRITES_PER_S 10u
#define WRITES_BURST 20u
#define RETRY_FIRST_MS 250u
#define RETRY_CAP_MS 8000u
#define RUNNING_MAX 8u /* calls on the wire at once */

/* WAITING in line, RUNNING, or between two tries. */
enum call_state {
    WAITING,
    RUNNING,
    PAUSED,
};

struct dv_kube_call {
    struct dv_kube_client *client;
    enum dv_kube_verb verb;
    char *path, *body;
    bool once;
    uint32_t tries;
    uint64_t deadline_ns;
    enum call_state state;
    struct dv_kube_transfer *transfer; /* RUNNING */
    struct dv_loop_source *timer;      /* of the pause, of the deadline in line */
    struct dv_kube_reply last;         /* of the try before; no body */
    dv_kube_callback *cb;
    void *arg;
    void (*drop)(void *arg);
    struct dv_kube_call *next, *previous;
};

struct dv_kube_client {
    struct dv_loop *loop;
    const struct dv_kube_config *config;
    struct dv_kube_pump *pump;
    struct dv_rng rng;
    struct dv_kube_state state;
    uint64_t writes_full_ns; /* when the bucket is full again */
    struct dv_loop_source *dispatch;
    uint32_t n_calls, n_running;
    struct dv_kube_call *first, *last;
};

struct verb {
    const char *method, *type;
};

static const struct verb verbs[] = {
    [DV_KUBE_GET] = {"GET", "application/json"},
    [DV_KUBE_CREATE] = {"POST", "application/json"},
    [DV_KUBE_UPDATE] = {"PUT", "application/json"},
    [DV_KUBE_DELETE] = {"DELETE", "application/json"},
    [DV_KUBE_MERGE] = {"PATCH", "application/merge-patch+json"},
    [DV_KUBE_STRATEGIC] = {"PATCH", "application/strategic-merge-patch+json"},
    [DV_KUBE_JSONPATCH] = {"PATCH", "application/json-patch+json"},
    [DV_KUBE_APPLY] = {"PATCH", "application/apply-patch+yaml"}, /* JSON is YAML */
};

/* ---- what others in the room use ------------------------------------------------------------ */

struct dv_loop *dv_kube_client_loop(struct dv_kube_client *client)
{
    return client->loop;
}

struct dv_kube_pump *dv_kube_client_pump(struct dv_kube_client *client)
{
    return client->pump;
}

struct dv_rng *dv_kube_client_rng(struct dv_kube_client *client)
{
    return &client->rng;
}

const struct dv_kube_config *dv_kube_client_config(const struct dv_kube_client *client)
{
    return client->config;
}

void dv_kube_client_state(const struct dv_kube_client *client, struct dv_kube_state *ret)
{
    *ret = client->state;
}

void dv_kube_client_escape(const char *text, struct dv_str *ret)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     c == '-' || c == '_' || c == '.' || c == '~';
        if (plain)
            dv_str_addc(ret, (char)c);
        else
            dv_str_addf(ret, "%%%02X", c);
    }
}

int dv_kube_client_path(struct dv_str *ret, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    for (const char *p = fmt; *p; p++) {
        if (p[0] == '%' && p[1] == 's') {
            dv_kube_client_escape(va_arg(args, const char *), ret);
            p++;
        } else {
            dv_str_addc(ret, *p);
        }
    }
    va_end(args);
    return ret->failed ? -ENOMEM : 0;
}

uint64_t dv_kube_client_pause_ms(struct dv_rng *rng, uint32_t tries, uint64_t first, uint64_t cap)
{
    uint64_t ms = first;
    for (uint32_t i = 1; i < tries && ms < cap; i++)
        ms *= 2;
    ms = DV_MIN(ms, cap);
    return ms - dv_rng_below(rng, ms / 2 + 1);
}

void dv_kube_client_note(struct dv_kube_client *client, const struct dv_kube_outcome *outcome)
{
    struct dv_kube_state *s = &client->state;
    bool answered = outcome->status != 0;
    if (answered != s->connected || !s->since_ns) {
        s->connected = answered;
        s->since_ns = dv_clock_now();
    }
    s->failures = answered ? 0 : s->failures + 1;
    snprintf(s->message, sizeof s->message, "%s",
             answered           ? ""
             : outcome->message ? outcome->message
                                : "no answer");
}

/* ---- replies -------------------------------------------------------------------------------- */

static int errno_of(unsigned status, const char *reason)
{
    if (status >= 200 && status < 300)
        return 0;
    switch (status) {
    case 400:
    case 405:
    case 415:
    case 422:
        return -EINVAL;
    case 401:
    case 403:
        return -EACCES;
    case 404:
        return -ENOENT;
    case 409:
        return strcmp(reason, "AlreadyExists") == 0 ? -EEXIST : -ESTALE;
    case 410:
        return -ESTALE;
    case 429:
        return -EBUSY;
    default:
        return status >= 500 ? -EIO : -EPROTO;
    }
}

/* One line, whatever the server wrote. */
static void add_words(struct dv_kube_reply *ret, const char *what, const char *words)
{
    int n = snprintf(ret->message, sizeof ret->message, "%s: ", what);
    size_t at = DV_MIN((size_t)n, sizeof ret->message - 1);
    snprintf(ret->message + at, sizeof ret->message - at, "%s", words);
    for (char *p = ret->message; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = ' ';
}

static void read_answer(const struct dv_kube_outcome *o, const char *what,
                        struct dv_kube_reply *ret)
{
    struct json_object *body = dv_kube_json_parse(dv_str_get(o->body), o->body->len);
    bool is_status = strcmp(dv_kube_json_text(body, "kind", NULL), "Status") == 0;
    ret->body = body;
    if (is_status) {
        const char *reason = dv_kube_json_text(body, "reason", NULL);
        snprintf(ret->reason, sizeof ret->reason, "%.*s", DV_KUBE_REASON - 1, reason);
        int64_t after = dv_kube_json_int(body, "details", "retryAfterSeconds", NULL);
        if (!ret->retry_after_s && after > 0)
            ret->retry_after_s = (uint32_t)DV_MIN(after, 3600);
    }
    ret->error = errno_of(o->status, ret->reason);
    if (!ret->error && !body) {
        ret->error = -EPROTO;
        add_words(ret, what, "the answer is not a JSON object");
    } else if (ret->error) {
        char status[48];
        snprintf(status, sizeof status, "the API server answered %u", o->status);
        const char *words = is_status ? dv_kube_json_text(body, "message", NULL) : "";
        add_words(ret, what, *words ? words : status);
    }
}

void dv_kube_client_read(const struct dv_kube_outcome *o, const char *what,
                         struct dv_kube_reply *ret)
{
    *ret = (struct dv_kube_reply){
        .error = o->error, .status = o->status, .retry_after_s = o->retry_after_s};
    if (o->error)
        add_words(ret, what, o->message);
    else
        read_answer(o, what, ret);
}

/* ---- calls ---------------------------------------------------------------------------------- */

static void append(struct dv_kube_client *client, struct dv_kube_call *call)
{
    call->previous = client->last;
    if (client->last)
        client->last->next = call;
    else
        client->first = call;
    client->last = call;
}

static void unlink_call(struct dv_kube_client *client, struct dv_kube_call *call)
{
    if (client->first == call)
        client->first = call->next;
    else
        call->previous->next = call->next;
    if (call->next)
        call->next->previous = call->previous;
    else
        client->last = call->previous;
}

static void call_free(struct dv_kube_client *client, struct dv_kube_call *call)
{
    unlink_call(client, call);
    client->n_calls--;
    client->n_running -= call->state == RUNNING;
    dv_kube_transfer_stop(call->transfer);
    dv_loop_remove(call->timer);
    free(call->path);
    free(call->body);
    free(call);
}

/* Without its callback. */
static void call_drop(struct dv_kube_client *client, struct dv_kube_call *call)
{
    void (*drop)(void *) = call->drop;
    void *arg = call->arg;
    call_free(client, call);
    if (drop)
        drop(arg);
}

static void wake(struct dv_kube_client *client, uint64_t in_ms)
{
    dv_loop_timer_set(client->dispatch, in_ms, 0);
}

/* The call is gone before its callback runs: that may do as it likes. */
static void end(struct dv_kube_client *client, struct dv_kube_call *call,
                struct dv_kube_reply *reply)
{
    dv_kube_callback *cb = call->cb;
    void *arg = call->arg;
    call_free(client, call);
    wake(client, 0);
    if (cb)
        cb(arg, reply);
    json_object_put(reply->body);
}

static void end_failed(struct dv_kube_client *client, struct dv_kube_call *call, int error,
                       const char *words)
{
    struct dv_kube_reply reply = call->last;
    if (!reply.error) {
        reply.error = error;
        char what[80];
        snprintf(what, sizeof what, "%s %.64s", verbs[call->verb].method, call->path);
        add_words(&reply, what, words);
    }
    end(client, call, &reply);
}

static bool may_repeat(const struct dv_kube_call *call, const struct dv_kube_outcome *o)
{
    if (call->once)
        return false;
    if (o->error)
        return o->unsent ||
               (call->verb != DV_KUBE_CREATE && o->error != -E2BIG && o->error != -ENOMEM);
    /* The server did not act on what it puts off; an error of its own leaves that open. */
    return o->status == 429 || (o->status >= 500 && call->verb != DV_KUBE_CREATE) ||
           (o->status == 503 && o->retry_after_s);
}

static void on_pause_over(void *arg)
{
    struct dv_kube_call *call = arg;
    call->state = WAITING;
    uint64_t now = dv_clock_now();
    if (now >= call->deadline_ns) {
        end_failed(call->client, call, -ETIMEDOUT, "the deadline has passed");
        return;
    }
    /* In line: until the deadline. */
    dv_loop_timer_set(call->timer, (call->deadline_ns - now) / DV_NS_PER_MS + 1, 0);
    wake(call->client, 0);
}

/* False: no time is left for another try. */
static bool pause_call(struct dv_kube_call *call, const struct dv_kube_reply *reply)
{
    uint64_t ms =
        dv_kube_client_pause_ms(&call->client->rng, call->tries, RETRY_FIRST_MS, RETRY_CAP_MS);
    ms = DV_MAX(ms, (uint64_t)reply->retry_after_s * 1000);
    if (dv_clock_now() + ms * DV_NS_PER_MS >= call->deadline_ns)
        return false;
    call->last = *reply;
    call->last.body = NULL;
    call->state = PAUSED;
    call->client->n_running--;
    dv_loop_timer_set(call->timer, ms, 0);
    return true;
}

static void on_done(void *arg, const struct dv_kube_outcome *o)
{
    struct dv_kube_call *call = arg;
    call->transfer = NULL; /* frees itself */
    dv_kube_client_note(call->client, o);
    if (o->status == 401)
        dv_kube_pump_forget_token(call->client->pump);
    char what[80];
    snprintf(what, sizeof what, "%s %.64s", verbs[call->verb].method, call->path);
    struct dv_kube_reply reply;
    dv_kube_client_read(o, what, &reply);
    if (may_repeat(call, o) && pause_call(call, &reply)) {
        json_object_put(reply.body);
        wake(call->client, 0);
        return;
    }
    end(call->client, call, &reply);
}

static void start(struct dv_kube_client *client, struct dv_kube_call *call)
{
    uint64_t now = dv_clock_now();
    uint64_t left_ms = now < call->deadline_ns ? (call->deadline_ns - now) / DV_NS_PER_MS : 0;
    struct dv_err err = {{0}};
    struct dv_kube_transfer_spec spec = {
        .method = verbs[call->verb].method,
        .path = call->path,
        .content_type = verbs[call->verb].type,
        .body = call->body,
        .timeout_ms = (uint32_t)DV_MAX(left_ms, 1),
        .on_done = on_done,
        .arg = call,
    };
    call->tries++;
    call->last = (struct dv_kube_reply){0};
    int r = dv_kube_transfer_start(client->pump, &spec, &call->transfer, &err);
    if (r < 0) {
        end_failed(client, call, r, err.msg);
        return;
    }
    dv_loop_timer_set(call->timer, DV_NEVER, 0);
    call->state = RUNNING;
    client->n_running++;
}

/* Takes a token, or says in how many ms there is one. The bucket is a point in time: it holds
 * BURST less what is missing until it is full. */
static uint64_t take_write(struct dv_kube_client *client)
{
    const uint64_t each = DV_NS_PER_S / WRITES_PER_S;
    uint64_t now = dv_clock_now();
    uint64_t full = DV_MAX(client->writes_full_ns, now) + each;
    uint64_t latest = now + each * WRITES_BURST;
    if (full > latest)
        return (full - latest) / DV_NS_PER_MS + 1;
    client->writes_full_ns = full;
    return 0;
}

static struct dv_kube_call *first_waiting(struct dv_kube_client *client, bool writes)
{
    struct dv_kube_call *call = client->first;
    while (call && (call->state != WAITING || !(writes || call->verb == DV_KUBE_GET)))
        call = call->next;
    return call;
}

/* Starts what may run. start() may end a call, and its callback may cancel others: so it looks from
 * the beginning each time. */
static void on_dispatch(void *arg)
{
    struct dv_kube_client *client = arg;
    struct dv_kube_call *call;
    bool writes = true;
    while (client->n_running < RUNNING_MAX && (call = first_waiting(client, writes))) {
        uint64_t wait_ms = call->verb == DV_KUBE_GET ? 0 : take_write(client);
        if (wait_ms) {
            wake(client, wait_ms);
            writes = false;
        } else {
            start(client, call);
        }
    }
}

static struct dv_kube_call *call_new(struct dv_kube_client *client,
                                     const struct dv_kube_request *request)
{
    struct dv_kube_call *call = calloc(1, sizeof *call);
    if (!call)
        return NULL;
    uint32_t ms = request->deadline_ms ? request->deadline_ms : DV_KUBE_DEADLINE_MS;
    call->client = client;
    call->verb = request->verb;
    call->once = request->once;
    call->drop = request->drop;
    call->deadline_ns = dv_clock_now() + ms * DV_NS_PER_MS;
    call->path = strdup(request->path);
    call->body = request->body ? strdup(request->body) : NULL;
    if (!call->path || (request->body && !call->body) ||
        dv_loop_timer(client->loop, ms, 0, on_pause_over, call, &call->timer) < 0) {
        free(call->path);
        free(call->body);
        free(call);
        return NULL;
    }
    return call;
}

int dv_kube_client_call(struct dv_kube_client *client, const struct dv_kube_request *request,
                        dv_kube_callback *cb, void *arg, struct dv_kube_call **ret)
{
    if (client->n_calls >= DV_KUBE_CALLS_MAX)
        return -EBUSY;
    struct dv_kube_call *call = call_new(client, request);
    if (!call)
        return -ENOMEM;
    call->cb = cb;
    call->arg = arg;
    append(client, call);
    client->n_calls++;
    wake(client, 0);
    if (ret)
        *ret = call;
    return 0;
}

int dv_kube_client_send(struct dv_kube_client *client, struct dv_kube_request *request,
                        struct dv_output **body, dv_kube_callback *cb, void *arg,
                        struct dv_kube_call **ret)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    int r = *body ? dv_json_write(*body, false, &text) : -ENOMEM;
    dv_output_free(body);
    if (r < 0)
        return r;
    request->body = dv_str_get(&text);
    return dv_kube_client_call(client, request, cb, arg, ret);
}

void dv_kube_client_cancel(struct dv_kube_call *call)
{
    if (!call)
        return;
    struct dv_kube_client *client = call->client;
    call_drop(client, call);
    wake(client, 0);
}

/* ---- the client ----------------------------------------------------------------------------- */

int dv_kube_client_new(struct dv_loop *loop, const struct dv_kube_config *config, uint64_t seed,
                       struct dv_kube_client **ret, struct dv_err *err)
{
    struct dv_kube_client *client = calloc(1, sizeof *client);
    if (!client)
        return dv_err_set(err, -ENOMEM, "out of memory");
    client->loop = loop;
    client->config = config;
    client->rng.state = seed;
    snprintf(client->state.message, sizeof client->state.message, "nothing was asked yet");
    int r = dv_loop_timer(loop, DV_NEVER, 0, on_dispatch, client, &client->dispatch);
    r = r < 0 ? dv_err_set(err, r, "cannot start a Kubernetes client: %s", strerror(-r))
              : dv_kube_pump_new(loop, config, &client->pump, err);
    if (r < 0) {
        dv_kube_client_free(client);
        return r;
    }
    *ret = client;
    return 0;
}

void dv_kube_client_free(struct dv_kube_client *client)
{
    if (!client)
        return;
    for (struct dv_kube_call *call = client->first, *next; call; call = next) {
        next = call->next;
        call_drop(client, call);
    }
    dv_kube_pump_free(client->pump);
    dv_loop_remove(client->dispatch);
    free(client);
}
