/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device plugin of the kubelet (API v1beta1): one resource of this node, its devices, and what
 * containers get with them.
 *
 *     dv_kubelet_dir_new(loop, DV_KUBELET_DIR, &dir, &err);               one for all plugins
 *     dv_kubelet_plugin_new(dir, &config, &plugin, &err);
 *     dv_kubelet_plugin_offer(plugin, devices, count, &err);              now, and at each change
 *
 * It serves DIR/endpoint and registers it with DIR/kubelet.sock; again when the kubelet comes back,
 * when its socket was removed (a kubelet that starts wipes the directory), and, after a minute,
 * when the kubelet has dropped the list. While there is no kubelet it waits.
 *
 * All on the loop's thread; callbacks come from the loop. Strings and arrays are borrowed for the
 * call, in both directions.
 */
#ifndef DV_KUBELET_PLUGIN_H
#define DV_KUBELET_PLUGIN_H

#include "base/err.h"
#include "grpc/status.h"
#include "sys/loop.h"

#include <stdbool.h>

#define DV_KUBELET_DIR "/var/lib/kubelet/device-plugins"
/* Bytes of a device's id, without the zero at its end; the kubelet's bound. */
#define DV_KUBELET_ID_MAX 63u
#define DV_KUBELET_DEVICES_MAX 16384u
#define DV_KUBELET_NUMA_MAX 64u

struct dv_kubelet_dir;
struct dv_kubelet_plugin;
/* A question of the kubelet's. It is answered exactly once, now or later; even after
 * dv_kubelet_plugin_free(). */
struct dv_kubelet_call;

struct dv_kubelet_device {
    const char *id;
    const int64_t *numa_nodes; /* where it is; none: anywhere */
    uint32_t numa_count;
    bool healthy;
};

struct dv_kubelet_ids {
    const char *const *ids;
    size_t count;
};

/* Which `size` devices of `available`, those in `must` among them, would be best? */
struct dv_kubelet_choice {
    struct dv_kubelet_ids available, must;
    int32_t size; /* as the kubelet says it */
};

struct dv_kubelet_pair {
    const char *name, *value;
};

struct dv_kubelet_mount {
    const char *container_path, *host_path;
    bool read_only;
};

struct dv_kubelet_device_node {
    const char *container_path, *host_path;
    const char *permissions; /* "rwm" */
};

/* What one container gets. */
struct dv_kubelet_container {
    const struct dv_kubelet_pair *envs;
    size_t env_count;
    const struct dv_kubelet_mount *mounts;
    size_t mount_count;
    const struct dv_kubelet_device_node *device_nodes;
    size_t device_node_count;
    const struct dv_kubelet_pair *annotations;
    size_t annotation_count;
    struct dv_kubelet_ids cdi_devices; /* qualified names, "vendor/class=name" */
};

enum dv_kubelet_plugin_state {
    DV_KUBELET_WAITING,    /* not registered; `why` says what is in the way. It tries again */
    DV_KUBELET_REGISTERED, /* the kubelet knows it, and has not asked for the list yet */
    DV_KUBELET_WATCHED,    /* the kubelet has the list */
    DV_KUBELET_LOST,       /* the kubelet has dropped the list */
};

struct dv_kubelet_plugin_ops {
    /* One entry per container (the kubelet asks for one at a time). Answered by allocated(). */
    void (*allocate)(void *arg, struct dv_kubelet_call *call,
                     const struct dv_kubelet_ids *containers, size_t count);
    /* Answered by preferred(). NULL: the kubelet is not to ask. */
    void (*prefer)(void *arg, struct dv_kubelet_call *call,
                   const struct dv_kubelet_choice *containers, size_t count);
    /* Just before a container starts; answered by started(), within 30 s. NULL: likewise. */
    void (*pre_start)(void *arg, struct dv_kubelet_call *call, struct dv_kubelet_ids devices);
    /* Once per change. May be NULL; may free the plugin. */
    void (*state)(void *arg, enum dv_kubelet_plugin_state state, const char *why);
};

struct dv_kubelet_plugin_config {
    const char *resource; /* "nvidia.com/gpu" */
    const char *endpoint; /* the socket's name in the directory, "divvy-gpu.sock" */
    const struct dv_kubelet_plugin_ops *ops;
    void *arg;
};

/* Watches the kubelet's device plugin directory, which need not exist yet. 0 or negative errno. */
int dv_kubelet_dir_new(struct dv_loop *loop, const char *path, struct dv_kubelet_dir **ret,
                       struct dv_err *err);
/* After its plugins. Accepts NULL. */
void dv_kubelet_dir_free(struct dv_kubelet_dir *dir);

/* The names are copied, ops are not. 0; -EINVAL, -ENAMETOOLONG: a name is none; -ENOMEM. That the
 * kubelet or its directory is missing is no error: see `state`. */
int dv_kubelet_plugin_new(struct dv_kubelet_dir *dir, const struct dv_kubelet_plugin_config *config,
                          struct dv_kubelet_plugin **ret, struct dv_err *err);
/* Hangs up on the kubelet, which then counts the resource's devices as unhealthy. Accepts NULL. */
void dv_kubelet_plugin_free(struct dv_kubelet_plugin *plugin);

/*
 * Replaces the list. The kubelet gets it whole, once, if it differs from the one before; of several
 * changes in a row that it has not taken yet, the last. Before the first offer it gets none. 0;
 * -EINVAL: an id is empty, too long or there twice; -E2BIG: too many; -ENOMEM. Then the list is
 * what it was.
 */
int dv_kubelet_plugin_offer(struct dv_kubelet_plugin *plugin,
                            const struct dv_kubelet_device *devices, size_t count,
                            struct dv_err *err);

/* count as in the question. */
void dv_kubelet_plugin_allocated(struct dv_kubelet_call *call,
                                 const struct dv_kubelet_container *containers, size_t count);
void dv_kubelet_plugin_preferred(struct dv_kubelet_call *call,
                                 const struct dv_kubelet_ids *containers, size_t count);
void dv_kubelet_plugin_started(struct dv_kubelet_call *call);
/* Any of them with an error instead; the message goes into the pod's events. */
void dv_kubelet_plugin_refuse(struct dv_kubelet_call *call, enum dv_grpc_code code, const char *fmt,
                              ...) dv_printf(3, 4);

#endif
