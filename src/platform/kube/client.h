/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Talks to the Kubernetes API server, without ever blocking the loop. What people do with it most
 * has typed helpers (kube/node.h, pod.h, event.h, object.h), lists that are kept up to date are
 * kube/watch.h; this is the ground they stand on, for everything else.
 *
 *     r = dv_kube_client_new(loop, config, seed, &client, &err);
 *     r = dv_kube_client_call(client, &(struct dv_kube_request){
 *             .verb = DV_KUBE_GET, .path = "/api/v1/nodes/n1"}, on_node, self, NULL);
 *
 * A call that fails for a reason that passes (no connection, 429, 5xx) is tried again within its
 * deadline, with growing, jittered pauses or after what the server asks for in Retry-After; what is
 * no repetition-proof verb (POST) only when the server cannot have acted. Writes go through a token
 * bucket: 10 a second, 20 at once. At most DV_KUBE_CALLS_MAX calls wait or run; while the server is
 * away they end at their deadlines, so that memory does not grow.
 *
 * Callbacks are made from the loop, never from inside these functions; they may make and cancel
 * calls, but not free the client.
 */
#ifndef DV_KUBE_CLIENT_H
#define DV_KUBE_CLIENT_H

#include "base/str.h"
#include "kube/config.h"
#include "sys/loop.h"

#define DV_KUBE_CALLS_MAX 128u
#define DV_KUBE_DEADLINE_MS 30000u /* of a call that names none */
#define DV_KUBE_NAME 254           /* of an object, with the zero byte */
#define DV_KUBE_REASON 64

struct json_object; /* of json-c; kube/json.h reads it */
struct dv_kube_client;
struct dv_kube_call;

enum dv_kube_verb {
    DV_KUBE_GET,
    DV_KUBE_CREATE, /* POST */
    DV_KUBE_UPDATE, /* PUT; with metadata.resourceVersion: -ESTALE when it is no longer that */
    DV_KUBE_DELETE,
    DV_KUBE_MERGE,     /* PATCH, RFC 7386 */
    DV_KUBE_STRATEGIC, /* PATCH, with Kubernetes' merge keys; not for custom resources */
    DV_KUBE_JSONPATCH, /* PATCH, RFC 6902 */
    DV_KUBE_APPLY,     /* PATCH, server-side apply; the path has ?fieldManager= */
};

struct dv_kube_request {
    enum dv_kube_verb verb;
    const char *path;     /* with its query; parts from elsewhere escaped (below); copied */
    const char *body;     /* JSON, or NULL; copied */
    uint32_t deadline_ms; /* 0: DV_KUBE_DEADLINE_MS */
    bool once;            /* is not tried again */
    /* Frees the callback's argument of a call that ends without it (cancelled, or its client
     * freed); NULL: it is not the call's. */
    void (*drop)(void *arg);
};

/* Lent to the callback. */
struct dv_kube_reply {
    /*
     * 0: done. Otherwise
     *   -ENOENT (404), -EEXIST (409 AlreadyExists), -ESTALE (409 Conflict, 410: look again),
     *   -EACCES (401, 403), -EINVAL (400, 422: the server does not like the body), -EBUSY (429),
     *   -EIO (5xx), -EPROTO (no TLS, no HTTP, no JSON), -EHOSTUNREACH (no connection), -EPIPE (cut
     *   off in the middle), -ETIMEDOUT, -E2BIG (more than 8 MiB), -ENOMEM, or what reading the
     *   token's file gave.
     */
    int error;
    unsigned status;             /* of HTTP; 0: no answer */
    char reason[DV_KUBE_REASON]; /* the API's word: "NotFound", "Conflict"...; "" */
    char message[400];           /* for people, what failed and why; "" when error is 0 */
    uint32_t retry_after_s;      /* asked for by the server; 0: nothing */
    struct json_object *body;    /* the object, or the API's Status; NULL: none */
};
typedef void dv_kube_callback(void *arg, const struct dv_kube_reply *reply);

/* Whether the server can be reached: the last exchange says. */
struct dv_kube_state {
    bool connected;
    uint64_t since_ns; /* CLOCK_MONOTONIC */
    uint64_t failures; /* exchanges in a row without an answer */
    char message[400]; /* why not; "" */
};

/* The config and the loop are lent until the client is freed. seed: of the jitter. Asks nothing
 * yet. 0, -ENOMEM ... */
int dv_kube_client_new(struct dv_loop *loop, const struct dv_kube_config *config, uint64_t seed,
                       struct dv_kube_client **ret, struct dv_err *err);
/* Ends all calls without their callbacks (request->drop). Watches and recorders must be gone.
 * Accepts NULL. */
void dv_kube_client_free(struct dv_kube_client *client);
void dv_kube_client_state(const struct dv_kube_client *client, struct dv_kube_state *ret);
const struct dv_kube_config *dv_kube_client_config(const struct dv_kube_client *client);

/* 0: the callback will be called, once; *ret (may be NULL) is good until then. -EBUSY: too many
 * calls already; -ENOMEM; then it will not. cb may be NULL. */
int dv_kube_client_call(struct dv_kube_client *client, const struct dv_kube_request *request,
                        dv_kube_callback *cb, void *arg, struct dv_kube_call **ret);
/* No callback. What has been sent may still be done. Accepts NULL. */
void dv_kube_client_cancel(struct dv_kube_call *call);

/* Appends a part of a path or a query, percent-encoded. */
void dv_kube_client_escape(const char *text, struct dv_str *ret);

#endif
