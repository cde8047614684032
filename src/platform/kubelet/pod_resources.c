/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/pod_resources.h"

#include "grpc/client.h"
#include "kubelet/messages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX ((size_t)16 << 20)

struct dv_kubelet_pod_resources {
    struct dv_grpc_client *client;
    bool asked;
    dv_kubelet_pod_resources_callback *cb;
    void *arg;
    int r; /* how reading the answer went */
    struct dv_kubelet_pods pods;
};

static void on_message(void *arg, const uint8_t *message, size_t size)
{
    struct dv_kubelet_pod_resources *c = arg;
    c->r = dv_kubelet_messages_read_pods(message, size, &c->pods);
}

static int errno_of(enum dv_grpc_code code)
{
    switch (code) {
    case DV_GRPC_DEADLINE_EXCEEDED:
        return -ETIMEDOUT;
    case DV_GRPC_UNAVAILABLE:
        return -ECONNRESET;
    default:
        return -EPROTO;
    }
}

static void on_end(void *arg, const struct dv_grpc_status *status)
{
    struct dv_kubelet_pod_resources *c = arg;
    struct dv_kubelet_pods pods = c->pods;
    struct dv_err err = {{0}};
    int r = c->r;
    c->pods = (struct dv_kubelet_pods){0};
    c->asked = false;
    if (status->code != DV_GRPC_OK)
        r = dv_err_set(&err, errno_of(status->code), "pod resources: %s: %.400s",
                       dv_grpc_status_name(status->code), status->text);
    else if (r < 0)
        dv_err_set(&err, r, "pod resources: the answer: %s", strerror(-r));
    if (r < 0)
        dv_kubelet_messages_pods_done(&pods);
    c->cb(c->arg, r, pods.rows, pods.count, &err); /* which may free c */
    dv_kubelet_messages_pods_done(&pods);
}

int dv_kubelet_pod_resources_new(struct dv_loop *loop, const char *path,
                                 struct dv_kubelet_pod_resources **ret, struct dv_err *err)
{
    struct dv_kubelet_pod_resources *c = calloc(1, sizeof *c);
    if (!c)
        return dv_err_set(err, -ENOMEM, "out of memory");
    int r = dv_grpc_client_new(loop, path, &c->client, err);
    if (r < 0) {
        free(c);
        return r;
    }
    *ret = c;
    return 0;
}

void dv_kubelet_pod_resources_free(struct dv_kubelet_pod_resources *c)
{
    if (!c)
        return;
    dv_grpc_client_free(c->client);
    dv_kubelet_messages_pods_done(&c->pods);
    free(c);
}

int dv_kubelet_pod_resources_list(struct dv_kubelet_pod_resources *c, uint64_t timeout_ms,
                                  dv_kubelet_pod_resources_callback *cb, void *arg,
                                  struct dv_err *err)
{
    static const struct dv_grpc_call_ops ops = {.message = on_message, .end = on_end};
    struct dv_grpc_ask ask = {.path = "/v1.PodResourcesLister/List",
                              .timeout_ms = timeout_ms,
                              .answer_max = ANSWER_MAX,
                              .ops = &ops,
                              .arg = c};
    if (c->asked)
        return dv_err_set(err, -EBUSY, "pod resources: a question is under way already");
    int r = dv_grpc_client_call(c->client, &ask, NULL, err);
    if (r < 0)
        return r;
    c->asked = true;
    c->cb = cb;
    c->arg = arg;
    c->r = 0;
    return 0;
}
