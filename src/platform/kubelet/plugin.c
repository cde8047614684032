/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/plugin.h"

#include "base/str.h"
#include "grpc/client.h"
#include "grpc/server.h"
#include "kubelet/dir.h"
#include "kubelet/messages.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* Between two attempts to register, doubling. The watch on the directory is what is quick. */
#define RETRY_FIRST_MS 100u
#define RETRY_MAX_MS 15000u
/* The kubelet dials back before it answers, for 10 s at most. */
#define REGISTER_TIMEOUT_MS 15000u
/* A kubelet that dropped the list without coming anew gets this long to ask for it by itself: the
 * other one who registered the same resource is not fought. */
#define LOST_MS 60000u
/*
 * A kubelet that has us must not be asked again. Since 1.37 it refuses a socket that it is
 * connected to, forgets the connection over that, does not notice its end and then refuses the
 * socket for as long as it lives. So no registration is cut off or repeated on a guess: what may be
 * no news, and the end of a connection of which it has to hear first, get this long. One that stood
 * still finds all that was asked meanwhile, what was cut off too, and forgets all of one socket
 * over it: after that, as when it has come to it, another socket helps.
 */
#define SETTLE_MS 500u
#define STUCK "already connected" /* its words when it has come to that */

/* One open ListAndWatch. */
struct watcher {
    struct dv_kubelet_plugin *plugin;
    struct dv_grpc_call *call;
    struct watcher *prev, *next;
};

struct dv_kubelet_plugin {
    struct dv_kubelet_dir_user user; /* first: one is made of the other */
    struct dv_kubelet_dir *dir;
    struct dv_kubelet_plugin_ops ops;
    void *arg;
    struct dv_grpc_server *server;
    struct dv_grpc_client *kubelet; /* while a registration is under way */
    struct dv_loop_source *attempt;
    uint32_t retry_ms;
    struct watcher *watchers;
    struct dv_kubelet_bytes list; /* data NULL: nothing offered yet */
    bool due;                     /* something in the directory asks for an attempt */
    bool rebuilding;              /* our own doing: watchers that go now are no news */
    enum dv_kubelet_plugin_state state;
    char why[DV_GRPC_TEXT_MAX];
    char path[DV_KUBELET_DIR_PATH_MAX], kubelet_path[DV_KUBELET_DIR_PATH_MAX];
    char endpoint[DV_KUBELET_DIR_PATH_MAX]; /* as configured; `path` may have ".N" behind it */
    char resource[320];                     /* a DNS name of 253, a slash, a name of 63 */
};

struct dv_kubelet_call {
    struct dv_grpc_call *grpc;
    size_t containers;
};

/* The last thing that a callback of ours does: the plugin may be gone after. */
static void tell(struct dv_kubelet_plugin *p, enum dv_kubelet_plugin_state state, const char *why)
{
    if (state == p->state && !strcmp(why, p->why))
        return;
    p->state = state;
    snprintf(p->why, sizeof p->why, "%s", why);
    if (p->ops.state)
        p->ops.state(p->arg, state, p->why);
}

/* ---- the list ---- */

static void stop_watcher(struct watcher *w, bool failed)
{
    if (failed)
        dv_grpc_server_fail(w->call, DV_GRPC_RESOURCE_EXHAUSTED, "out of memory");
    else
        dv_grpc_server_finish(w->call);
    DL_DELETE(w->plugin->watchers, w);
    free(w);
}

static void on_watcher_gone(void *arg)
{
    struct watcher *w = arg;
    struct dv_kubelet_plugin *p = w->plugin;
    stop_watcher(w, false);
    if (p->watchers || p->rebuilding || p->kubelet)
        return;
    if (!p->due) /* else the next one is there already, and is asked soon */
        dv_loop_timer_set(p->attempt, LOST_MS, 0);
    tell(p, DV_KUBELET_LOST, "the kubelet stopped watching the list");
}

static void on_list_and_watch(void *arg, struct dv_grpc_call *call, const uint8_t *message,
                              size_t size)
{
    struct dv_kubelet_plugin *p = arg;
    struct watcher *w = calloc(1, sizeof *w);
    if (!w || (p->list.data && dv_grpc_server_send(call, p->list.data, p->list.size) < 0)) {
        free(w);
        dv_grpc_server_fail(call, DV_GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    *w = (struct watcher){.plugin = p, .call = call};
    DL_APPEND(p->watchers, w);
    dv_grpc_server_on_gone(call, on_watcher_gone, w);
    if (!p->kubelet && !p->due) /* it has us: another attempt to register would only cut this off */
        dv_loop_timer_set(p->attempt, DV_NEVER / 2, 0);
    tell(p, DV_KUBELET_WATCHED, "");
}

static int by_id(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int check_unique(const struct dv_kubelet_device *devices, size_t count, struct dv_err *err)
{
    const char **ids = calloc(count + 1, sizeof *ids);
    if (!ids)
        return dv_err_set(err, -ENOMEM, "out of memory");
    for (size_t i = 0; i < count; i++)
        ids[i] = devices[i].id;
    qsort(ids, count, sizeof *ids, by_id);
    int r = 0;
    for (size_t i = 1; i < count && !r; i++)
        if (!strcmp(ids[i - 1], ids[i]))
            r = dv_err_set(err, -EINVAL, "device id '%s' is there twice", ids[i]);
    free(ids);
    return r;
}

static int check_devices(const struct dv_kubelet_device *devices, size_t count, struct dv_err *err)
{
    if (count > DV_KUBELET_DEVICES_MAX)
        return dv_err_set(err, -E2BIG, "%zu devices; at most %u are possible", count,
                          DV_KUBELET_DEVICES_MAX);
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(devices[i].id);
        if (!n || n > DV_KUBELET_ID_MAX)
            return dv_err_set(err, -EINVAL, "device id '%.80s' has %zu bytes; 1 to %u are possible",
                              devices[i].id, n, DV_KUBELET_ID_MAX);
        if (devices[i].numa_count > DV_KUBELET_NUMA_MAX)
            return dv_err_set(err, -EINVAL,
                              "device '%s' is on %u NUMA nodes; at most %u are "
                              "possible",
                              devices[i].id, devices[i].numa_count, DV_KUBELET_NUMA_MAX);
    }
    return check_unique(devices, count, err);
}

int dv_kubelet_plugin_offer(struct dv_kubelet_plugin *p, const struct dv_kubelet_device *devices,
                            size_t count, struct dv_err *err)
{
    struct dv_kubelet_bytes list;
    int r = check_devices(devices, count, err);
    if (r < 0)
        return r;
    r = dv_kubelet_messages_devices(devices, count, &list);
    if (r < 0)
        return dv_err_set(err, r == -EMSGSIZE ? -E2BIG : r, "a list of %zu devices: %s", count,
                          strerror(-r));
    if (p->list.data && p->list.size == list.size && !memcmp(p->list.data, list.data, list.size)) {
        free(list.data);
        return 0;
    }
    free(p->list.data);
    p->list = list;
    struct watcher *w, *next;
    DL_FOREACH_SAFE(p->watchers, w, next)
    if (dv_grpc_server_send(w->call, list.data, list.size) < 0)
        stop_watcher(w, true);
    return 0;
}

/* ---- what the kubelet asks ---- */

static struct dv_kubelet_call *call_new(struct dv_grpc_call *grpc, size_t containers)
{
    struct dv_kubelet_call *call = malloc(sizeof *call);
    if (call)
        *call = (struct dv_kubelet_call){grpc, containers};
    else
        dv_grpc_server_fail(grpc, DV_GRPC_RESOURCE_EXHAUSTED, "out of memory");
    return call;
}

static void fail_read(struct dv_grpc_call *call, int r)
{
    if (r == -ENOMEM)
        dv_grpc_server_fail(call, DV_GRPC_RESOURCE_EXHAUSTED, "out of memory");
    else
        dv_grpc_server_fail(call, DV_GRPC_INVALID_ARGUMENT, "the message is not that of v1beta1");
}

static void on_options(void *arg, struct dv_grpc_call *call, const uint8_t *message, size_t size)
{
    struct dv_kubelet_plugin *p = arg;
    struct dv_kubelet_bytes answer;
    int r = dv_kubelet_messages_options(p->ops.pre_start, p->ops.prefer, &answer);
    if (r < 0) {
        fail_read(call, r);
        return;
    }
    dv_grpc_server_reply(call, answer.data, answer.size);
    free(answer.data);
}

static void on_allocate(void *arg, struct dv_grpc_call *grpc, const uint8_t *message, size_t size)
{
    struct dv_kubelet_plugin *p = arg;
    struct dv_kubelet_request request;
    int r = dv_kubelet_messages_read_allocate(message, size, &request);
    if (r < 0) {
        fail_read(grpc, r);
        return;
    }
    struct dv_kubelet_call *call = call_new(grpc, request.count);
    if (call)
        p->ops.allocate(p->arg, call, request.ids, request.count);
    dv_kubelet_messages_request_done(&request);
}

static void on_prefer(void *arg, struct dv_grpc_call *grpc, const uint8_t *message, size_t size)
{
    struct dv_kubelet_plugin *p = arg;
    struct dv_kubelet_request request;
    if (!p->ops.prefer) {
        dv_grpc_server_fail(grpc, DV_GRPC_UNIMPLEMENTED, "%s has no preferences", p->resource);
        return;
    }
    int r = dv_kubelet_messages_read_prefer(message, size, &request);
    if (r < 0) {
        fail_read(grpc, r);
        return;
    }
    struct dv_kubelet_call *call = call_new(grpc, request.count);
    if (call)
        p->ops.prefer(p->arg, call, request.choices, request.count);
    dv_kubelet_messages_request_done(&request);
}

static void on_pre_start(void *arg, struct dv_grpc_call *grpc, const uint8_t *message, size_t size)
{
    struct dv_kubelet_plugin *p = arg;
    struct dv_kubelet_request request;
    if (!p->ops.pre_start) {
        dv_grpc_server_fail(grpc, DV_GRPC_UNIMPLEMENTED, "%s needs no start", p->resource);
        return;
    }
    int r = dv_kubelet_messages_read_pre_start(message, size, &request);
    if (r < 0) {
        fail_read(grpc, r);
        return;
    }
    struct dv_kubelet_call *call = call_new(grpc, 0);
    if (call)
        p->ops.pre_start(p->arg, call, request.ids[0]);
    dv_kubelet_messages_request_done(&request);
}

static const struct dv_grpc_method methods[] = {
    {"/v1beta1.DevicePlugin/GetDevicePluginOptions", on_options},
    {"/v1beta1.DevicePlugin/ListAndWatch", on_list_and_watch},
    {"/v1beta1.DevicePlugin/GetPreferredAllocation", on_prefer},
    {"/v1beta1.DevicePlugin/Allocate", on_allocate},
    {"/v1beta1.DevicePlugin/PreStartContainer", on_pre_start},
};

/* ---- what it is told ---- */

/* r: how making the answer went. */
static void answer(struct dv_kubelet_call *call, int r, struct dv_kubelet_bytes *bytes)
{
    if (r < 0)
        dv_grpc_server_fail(call->grpc, DV_GRPC_INTERNAL, "the answer cannot be made: %s",
                            strerror(-r));
    else
        dv_grpc_server_reply(call->grpc, bytes->data, bytes->size);
    free(bytes->data);
    free(call);
}

void dv_kubelet_plugin_allocated(struct dv_kubelet_call *call,
                                 const struct dv_kubelet_container *containers, size_t count)
{
    struct dv_kubelet_bytes bytes = {0};
    int r = count == call->containers ? dv_kubelet_messages_allocated(containers, count, &bytes)
                                      : -EINVAL;
    answer(call, r, &bytes);
}

void dv_kubelet_plugin_preferred(struct dv_kubelet_call *call,
                                 const struct dv_kubelet_ids *containers, size_t count)
{
    struct dv_kubelet_bytes bytes = {0};
    int r = count == call->containers ? dv_kubelet_messages_preferred(containers, count, &bytes)
                                      : -EINVAL;
    answer(call, r, &bytes);
}

void dv_kubelet_plugin_started(struct dv_kubelet_call *call)
{
    answer(call, 0, &(struct dv_kubelet_bytes){0});
}

void dv_kubelet_plugin_refuse(struct dv_kubelet_call *call, enum dv_grpc_code code, const char *fmt,
                              ...)
{
    char text[DV_GRPC_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    dv_grpc_server_fail(call->grpc, code, "%s", text);
    free(call);
}

/* ---- registration ---- */

static void wait_and_tell(struct dv_kubelet_plugin *p, const char *why)
{
    dv_loop_timer_set(p->attempt, p->retry_ms, 0);
    p->retry_ms = DV_MIN(2 * p->retry_ms, RETRY_MAX_MS);
    tell(p, DV_KUBELET_WAITING, why);
}

static bool in_place(const struct dv_kubelet_plugin *p)
{
    return p->server && dv_grpc_server_in_place(p->server);
}

/* A name of the socket that this kubelet does not know yet. */
static void take_turn(struct dv_kubelet_plugin *p)
{
    char name[sizeof p->endpoint + 12], path[sizeof p->path];
    struct dv_err err;
    snprintf(name, sizeof name, "%s.%u", p->endpoint, dv_kubelet_dir_turn(p->dir));
    if (dv_kubelet_dir_path(p->dir, name, path, &err) < 0)
        return; /* too long; it stays */
    memcpy(p->path, path, sizeof path);
    p->rebuilding = true;
    dv_grpc_server_free(p->server);
    p->rebuilding = false;
    p->server = NULL;
}

static void on_registered(void *arg, const struct dv_grpc_status *status)
{
    struct dv_kubelet_plugin *p = arg;
    char why[DV_GRPC_TEXT_MAX + 64];
    dv_grpc_client_free(p->kubelet);
    p->kubelet = NULL;
    bool late = status->code == DV_GRPC_DEADLINE_EXCEEDED;
    if (status->code == DV_GRPC_OK || (late && p->watchers)) {
        p->retry_ms = RETRY_FIRST_MS;
        /* The kubelet may have dialled back before it answered; else it has a minute. */
        dv_loop_timer_set(p->attempt, p->due ? SETTLE_MS : p->watchers ? DV_NEVER / 2 : LOST_MS, 0);
        tell(p, p->watchers ? DV_KUBELET_WATCHED : DV_KUBELET_REGISTERED, "");
        return;
    }
    if (late)
        dv_kubelet_dir_cut_off(p->dir);
    if (late || strstr(status->text, STUCK))
        take_turn(p);
    snprintf(why, sizeof why, "the kubelet refused: %s: %s", dv_grpc_status_name(status->code),
             status->text);
    why[DV_GRPC_TEXT_MAX - 1] = 0;
    wait_and_tell(p, why);
}

static int ask_kubelet(struct dv_kubelet_plugin *p, struct dv_err *err)
{
    static const struct dv_grpc_call_ops ops = {.end = on_registered};
    struct dv_kubelet_bytes message;
    int r = dv_kubelet_messages_register(strrchr(p->path, '/') + 1, p->resource, p->ops.pre_start,
                                         p->ops.prefer, &message);
    if (r < 0)
        return dv_err_set(err, r, "%s", strerror(-r));
    r = dv_grpc_client_new(dv_kubelet_dir_loop(p->dir), p->kubelet_path, &p->kubelet, err);
    struct dv_grpc_ask ask = {.path = "/v1beta1.Registration/Register",
                              .message = message.data,
                              .size = message.size,
                              .timeout_ms = REGISTER_TIMEOUT_MS,
                              .ops = &ops,
                              .arg = p};
    if (r >= 0)
        r = dv_grpc_client_call(p->kubelet, &ask, NULL, err);
    free(message.data);
    return r;
}

static void drop_registration(struct dv_kubelet_plugin *p)
{
    dv_grpc_client_free(p->kubelet);
    p->kubelet = NULL;
}

/* A server where others can find it; *hung_up: at the cost of one that the kubelet knew. */
static int make_server(struct dv_kubelet_plugin *p, bool *hung_up, struct dv_err *err)
{
    *hung_up = p->server && (p->watchers || p->state == DV_KUBELET_REGISTERED);
    p->rebuilding = true;
    dv_grpc_server_free(p->server);
    p->rebuilding = false;
    p->server = NULL;
    return dv_grpc_server_new(dv_kubelet_dir_loop(p->dir), p->path, methods, DV_ARRAY_SIZE(methods),
                              p, &p->server, err);
}

/* Our socket, then the kubelet: it dials back while it is being asked. */
static void on_attempt(void *arg)
{
    struct dv_kubelet_plugin *p = arg;
    struct dv_err err = {{0}};
    bool hung_up = false;
    int r = 0;
    if (p->kubelet)
        return;
    p->due = false;
    if (p->watchers && in_place(p)) {
        dv_loop_timer_set(p->attempt, DV_NEVER / 2, 0);
        tell(p, DV_KUBELET_WATCHED, "");
        return;
    }
    if (!in_place(p))
        r = make_server(p, &hung_up, &err);
    if (r >= 0 && hung_up) {
        dv_loop_timer_set(p->attempt, SETTLE_MS, 0);
        tell(p, DV_KUBELET_WAITING, "its socket was removed");
        return;
    }
    if (r >= 0)
        r = ask_kubelet(p, &err);
    if (r >= 0)
        return;
    drop_registration(p);
    wait_and_tell(p, err.msg);
}

static void on_dir_changed(struct dv_kubelet_dir_user *user, bool fresh)
{
    struct dv_kubelet_plugin *p = (struct dv_kubelet_plugin *)user;
    if (!fresh && in_place(p))
        return;
    p->retry_ms = RETRY_FIRST_MS;
    p->due = true;
    if (p->kubelet)
        return; /* its answer comes first */
    bool known = p->watchers || p->state == DV_KUBELET_REGISTERED;
    dv_loop_timer_set(p->attempt, known && in_place(p) ? SETTLE_MS : 0, 0);
}

/* ---- its life ---- */

static int take_names(struct dv_kubelet_plugin *p, const struct dv_kubelet_plugin_config *config,
                      struct dv_err *err)
{
    const char *endpoint = config->endpoint;
    if (!endpoint[0] || strchr(endpoint, '/') || endpoint[0] == '.' ||
        !strcmp(endpoint, "kubelet.sock"))
        return dv_err_set(err, -EINVAL, "'%.80s' cannot be the name of a device plugin's socket",
                          endpoint);
    if (!config->resource[0])
        return dv_err_set(err, -EINVAL, "a device plugin needs the name of its resource");
    if (dv_str_copy(p->resource, sizeof p->resource, config->resource) < 0)
        return dv_err_set(err, -ENAMETOOLONG, "resource name '%.80s...' is too long",
                          config->resource);
    int r = dv_kubelet_dir_path(p->dir, endpoint, p->path, err);
    if (r >= 0)
        r = dv_kubelet_dir_path(p->dir, "kubelet.sock", p->kubelet_path, err);
    if (r >= 0)
        r = dv_str_copy(p->endpoint, sizeof p->endpoint, endpoint);
    return r;
}

int dv_kubelet_plugin_new(struct dv_kubelet_dir *dir, const struct dv_kubelet_plugin_config *config,
                          struct dv_kubelet_plugin **ret, struct dv_err *err)
{
    struct dv_kubelet_plugin *p = calloc(1, sizeof *p);
    if (!p)
        return dv_err_set(err, -ENOMEM, "out of memory");
    *p = (struct dv_kubelet_plugin){.user = {.changed = on_dir_changed},
                                    .dir = dir,
                                    .ops = *config->ops,
                                    .arg = config->arg,
                                    .retry_ms = RETRY_FIRST_MS};
    int r = take_names(p, config, err);
    if (r >= 0) {
        r = dv_loop_timer(dv_kubelet_dir_loop(dir), 0, 0, on_attempt, p, &p->attempt);
        if (r < 0)
            dv_err_set(err, r, "%s", strerror(-r));
    }
    if (r < 0) {
        free(p);
        return r;
    }
    if (dv_kubelet_dir_is_cut_off(dir))
        take_turn(p);
    dv_kubelet_dir_join(dir, &p->user);
    *ret = p;
    return 0;
}

void dv_kubelet_plugin_free(struct dv_kubelet_plugin *p)
{
    if (!p)
        return;
    dv_kubelet_dir_leave(p->dir, &p->user);
    if (p->kubelet)
        dv_kubelet_dir_cut_off(p->dir);
    p->rebuilding = true;
    drop_registration(p);
    dv_grpc_server_free(p->server);
    dv_loop_remove(p->attempt);
    free(p->list.data);
    free(p);
}
