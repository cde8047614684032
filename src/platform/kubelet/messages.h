/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kubelet's messages, between their bytes (protobuf) and the plain structs of plugin.h and
 * pod_resources.h. For this room and its tests; protobuf-c does not leave messages.c.
 *
 * Functions return 0; -ENOMEM; -EMSGSIZE: more than a gRPC message may have; -EBADMSG: these bytes
 * are no such message, or would take more memory than the bounds allow.
 */
#ifndef DV_KUBELET_MESSAGES_H
#define DV_KUBELET_MESSAGES_H

#include "kubelet/plugin.h"
#include "kubelet/pod_resources.h"

/* Memory that a message of the kubelet may take when it is read. */
#define DV_KUBELET_MESSAGES_MEMORY_MAX ((size_t)64 << 20)

/* From malloc. */
struct dv_kubelet_bytes {
    uint8_t *data;
    size_t size;
};

/* ---- written ---- */

int dv_kubelet_messages_options(bool pre_start, bool prefer, struct dv_kubelet_bytes *ret);
int dv_kubelet_messages_register(const char *endpoint, const char *resource, bool pre_start,
                                 bool prefer, struct dv_kubelet_bytes *ret);
int dv_kubelet_messages_devices(const struct dv_kubelet_device *devices, size_t count,
                                struct dv_kubelet_bytes *ret);
int dv_kubelet_messages_allocated(const struct dv_kubelet_container *containers, size_t count,
                                  struct dv_kubelet_bytes *ret);
int dv_kubelet_messages_preferred(const struct dv_kubelet_ids *containers, size_t count,
                                  struct dv_kubelet_bytes *ret);

/* ---- read ---- */

/* Everything in it points into `message`. */
struct dv_kubelet_request {
    void *message;
    struct dv_kubelet_ids *ids;        /* allocate: per container; pre_start: one */
    struct dv_kubelet_choice *choices; /* prefer: per container */
    size_t count;
};

int dv_kubelet_messages_read_allocate(const void *data, size_t size,
                                      struct dv_kubelet_request *ret);
int dv_kubelet_messages_read_prefer(const void *data, size_t size, struct dv_kubelet_request *ret);
int dv_kubelet_messages_read_pre_start(const void *data, size_t size,
                                       struct dv_kubelet_request *ret);
void dv_kubelet_messages_request_done(struct dv_kubelet_request *request);

struct dv_kubelet_pods {
    void *message;
    struct dv_kubelet_held *rows;
    size_t count;
};

int dv_kubelet_messages_read_pods(const void *data, size_t size, struct dv_kubelet_pods *ret);
void dv_kubelet_messages_pods_done(struct dv_kubelet_pods *pods);

#endif
