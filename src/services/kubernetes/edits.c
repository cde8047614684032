/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/edits.h"

#include "abi_sim_show.h"
#include "abi_tenant.h"
#include "actuate/mps.h"
#include "kubernetes/containers.h"
#include "mps.h"
#include "view.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOOK_TIMEOUT_S 30u /* the runtime's patience: longer than the hook's */
#define HOOK_WAITS "20s"

/* ---- which way in ---- */

/* The stand-in shows a process one device: the one of its slice. */
static int check(const struct dv_edits_spec *spec, bool *ret_standin, struct dv_err *err)
{
    for (size_t i = 0; i < spec->n; i++) {
        const struct dv_container_grant *g = spec->slices[i].grant;
        if (g->mode == DV_MODE_AUTO)
            return dv_err_set(err, -EINVAL, "the mode of device %s is not said", g->id);
        if (spec->n > 1 && g->mode != DV_MODE_EXCLUSIVE &&
            (g->mode != DV_MODE_TIMESLICE || g->memory_bytes))
            return dv_err_set(err, -EINVAL,
                              "a container can have one %s slice, or several whole devices; it "
                              "asks for %zu devices",
                              dv_device_mode_name(g->mode), spec->n);
    }
    *ret_standin = spec->n == 1 && spec->slices[0].grant->mode != DV_MODE_EXCLUSIVE;
    return 0;
}

/* ---- libraries ---- */

/* As what the loader finds, under the names that programs ask for. */
static void add_front(struct dv_cdi_edits *e, const char *libcuda, const char *libnvml)
{
    char place[PATH_MAX];
    for (size_t i = 0; dv_cdi_library_folders[i]; i++) {
        const struct {
            const char *name, *host;
        } names[] = {
            {"libcuda.so.1", libcuda}, {"libcuda.so", libcuda}, {"libnvidia-ml.so.1", libnvml}};
        for (size_t k = 0; k < DV_ARRAY_SIZE(names); k++) {
            snprintf(place, sizeof place, "%s/%s", dv_cdi_library_folders[i], names[k].name);
            if (names[k].host[0])
                dv_cdi_mount(e, names[k].host, place, 0);
        }
    }
}

static void add_standin(struct dv_cdi_edits *e, const struct dv_edits_host *host)
{
    char standin[PATH_MAX];
    snprintf(standin, sizeof standin, "%s/standin/libcuda.so.1", host->lib_dir);
    add_front(e, standin, standin); /* one file: the loader takes it for one library */
    dv_cdi_mount(e, host->libcuda, DV_CONTAINERS_LIBCUDA, 0);
    if (host->libnvml[0])
        dv_cdi_mount(e, host->libnvml, DV_CONTAINERS_LIBNVML, 0);
    dv_cdi_mount(e, host->tenant_folder, DV_TENANT_SOCKET_FOLDER, DV_CDI_MOUNT_NOEXEC);
}

/* ---- devices ---- */

/* What device nodes are to a driver: a socket that shows nothing by itself, and a file for each
 * device. Several allocations of one container come together by themselves. */
static void add_simulated(struct dv_cdi_edits *e, const struct dv_edits_host *host,
                          const struct dv_edits_spec *spec)
{
    static const char *const tools[] = {"nvidia-smi", "nvidia-cuda-mps-control",
                                        "nvidia-cuda-mps-server"};
    char from[PATH_MAX], place[sizeof DV_SIM_SHOWN + 1 + DV_UUID_SIZE];
    snprintf(from, sizeof from, "%s" DV_SIM_INSIDE "/" DV_SIM_INSIDE_SOCKET, host->sim_socket);
    dv_cdi_mount(e, from, DV_CONTAINERS_SIM_SOCKET, DV_CDI_MOUNT_NOEXEC);
    for (size_t i = 0; i < spec->n; i++) {
        const char *device = spec->slices[i].grant->device;
        snprintf(from, sizeof from, "%s" DV_SIM_INSIDE "/%s", host->sim_socket, device);
        snprintf(place, sizeof place, DV_SIM_SHOWN "/%s", device);
        dv_cdi_mount(e, from, place, DV_CDI_MOUNT_NOEXEC);
    }
    dv_cdi_env(e, "DIVVY_SIM_SOCKET=%s", DV_CONTAINERS_SIM_SOCKET);
    for (size_t i = 0; i < DV_ARRAY_SIZE(tools); i++) {
        snprintf(from, sizeof from, "%s/sim/bin/%s", host->lib_dir, tools[i]);
        snprintf(place, sizeof place, "/usr/bin/%s", tools[i]);
        dv_cdi_mount(e, from, place, 0);
    }
}

static int add_driver(struct dv_cdi_edits *e, const struct dv_edits_host *host,
                      const struct dv_edits_spec *spec, struct dv_err *err)
{
    if (!host->libcuda[0])
        return dv_err_set(err, -ENOENT, "no libcuda.so.1 was found on this host");
    int r = dv_cdi_driver_libraries(e, host->libcuda, err);
    dv_cdi_driver_tools(e, host->root);
    for (size_t i = 0; r == 0 && i < spec->n; i++)
        r = dv_cdi_driver_nodes(e, host->root, &spec->slices[i].gpu, err);
    return r;
}

/* The driver's MPS shares memory between daemon, server and clients by files in /dev/shm. */
static void add_mps(struct dv_cdi_edits *e, const struct dv_edits_host *host,
                    const struct dv_edits_spec *spec)
{
    dv_cdi_mount(e, host->mps_shm, "/dev/shm", DV_CDI_MOUNT_NOEXEC | DV_CDI_MOUNT_WRITE);
    dv_cdi_mount(e, spec->mps_pipe, DV_CONTAINERS_MPS, DV_CDI_MOUNT_NOEXEC | DV_CDI_MOUNT_WRITE);
    dv_cdi_env(e, "CUDA_MPS_PIPE_DIRECTORY=%s", DV_CONTAINERS_MPS);
    if (spec->mps_percent)
        dv_cdi_env(e, "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE=%u", spec->mps_percent);
    if (spec->mps_bytes)
        dv_cdi_env(e, "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT=0=%lluM",
                   (unsigned long long)(spec->mps_bytes / DV_MIB));
}

/* ---- the hook ---- */

static void add_number(struct dv_cdi_edits *e, const char *option, uint64_t number)
{
    char text[24];
    if (!number)
        return;
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    dv_cdi_hook_argument(e, option);
    dv_cdi_hook_argument(e, text);
}

static void add_hook(struct dv_cdi_edits *e, const struct dv_edits_host *host,
                     const struct dv_container_request *q)
{
    dv_cleanup(dv_str_done) struct dv_str ids = {0};
    char hook[PATH_MAX];
    snprintf(hook, sizeof hook, "%s/divvy-hook", host->lib_dir);
    for (size_t i = 0; i < q->n_devices; i++)
        dv_str_addf(&ids, "%s%s", i ? "," : "", q->devices[i]);
    e->failed |= ids.failed;
    dv_cdi_hook(e, HOOK_TIMEOUT_S, hook);
    const char *const arguments[] = {"--socket", host->api_socket, "--resource", q->resource,
                                     "--device", dv_str_get(&ids), "--timeout",  HOOK_WAITS};
    for (size_t i = 0; i < DV_ARRAY_SIZE(arguments); i++)
        dv_cdi_hook_argument(e, arguments[i]);
    if (!q->explicit_mode)
        return;
    dv_cdi_hook_argument(e, "--mode");
    dv_cdi_hook_argument(e, dv_device_mode_name(q->mode));
    add_number(e, "--memory-bytes", q->memory_bytes);
    add_number(e, "--compute", q->compute);
}

int dv_edits_make(const struct dv_edits_host *host, const struct dv_edits_spec *spec,
                  struct dv_cdi_edits *ret, struct dv_err *err)
{
    bool standin = false;
    int r = check(spec, &standin, err);
    if (r < 0)
        return r;
    dv_cdi_env(ret, "NVIDIA_VISIBLE_DEVICES=void"); /* NVIDIA's own hook keeps its hands off */
    if (standin)
        add_standin(ret, host);
    else
        add_front(ret, host->libcuda, host->libnvml);
    if (host->sim_socket)
        add_simulated(ret, host, spec);
    else
        r = add_driver(ret, host, spec, err);
    if (r < 0)
        return r;
    if (spec->mps_pipe)
        add_mps(ret, host, spec);
    add_hook(ret, host, spec->request);
    return 0;
}

/* ---- of a node ---- */

struct lookup { /* what the spec borrows */
    struct dv_container_grant grants[DV_CONTAINERS_GRANTS_MAX];
    struct dv_edits_slice slices[DV_CONTAINERS_GRANTS_MAX];
    char pipe[PATH_MAX];
    char folder[PATH_MAX];
};

static int look_up_mps(struct dv_node *node, const struct dv_device *d,
                       const struct dv_container_grant *g, struct lookup *l,
                       struct dv_edits_spec *spec, struct dv_err *err)
{
    const struct dv_gpu *gpu = dv_snapshot_gpu(node->snapshot, d->gpu);
    const struct dv_mps_daemon *m = dv_mps_find(node, d->uuid);
    if (!m || !dv_mps_is_up(node, d->uuid))
        return dv_err_set(err, -EAGAIN, "the MPS daemon of %s is not up", d->uuid);
    spec->mps_pipe = l->pipe;
    if (gpu && gpu->mps_namespaces) { /* whose limits no variable changes */
        char door[DV_MPS_DOOR_SIZE];
        dv_mps_door_name(g->id, door);
        return dv_mps_door_make(node->config.state_dir, door, l->pipe, sizeof l->pipe, err);
    }
    snprintf(l->pipe, sizeof l->pipe, "%s/mps/%s/pipe", node->config.state_dir, m->spec.name);
    spec->mps_percent = g->compute ? DV_MAX(g->compute * 100 / d->compute, 1) : 0;
    spec->mps_bytes = g->memory_bytes;
    return 0;
}

static int look_up(struct dv_node *node, struct lookup *l, struct dv_edits_spec *spec,
                   struct dv_err *err)
{
    for (size_t i = 0; i < spec->n; i++) {
        const struct dv_container_grant *g = &l->grants[i];
        const struct dv_device *d = dv_snapshot_device(node->snapshot, g->device);
        const struct dv_gpu *gpu = d ? dv_snapshot_gpu(node->snapshot, d->gpu) : NULL;
        if (!gpu)
            return dv_err_set(err, -ENOENT, "there is no device %s", g->device);
        l->slices[i] = (struct dv_edits_slice){
            g, {.pci = gpu->pci_bus_id, .mig = d->mig, .gi = d->gi, .ci = d->ci}};
        int r = g->mode == DV_MODE_MPS ? look_up_mps(node, d, g, l, spec, err) : 0;
        if (r < 0)
            return r;
    }
    spec->slices = l->slices;
    return 0;
}

int dv_edits_of(struct dv_node *node, const struct dv_container_request *request,
                struct dv_cdi_edits *ret, struct dv_err *err)
{
    const struct dv_node_config *c = &node->config;
    struct dv_edits_spec spec = {.request = request};
    struct lookup *l = calloc(1, sizeof *l);
    if (!l)
        return dv_err_set(err, -ENOMEM, "out of memory");
    snprintf(l->folder, sizeof l->folder, "%.*s",
             (int)(strrchr(c->tenant_socket, '/') - c->tenant_socket), c->tenant_socket);
    struct dv_edits_host host = {.api_socket = c->api_socket,
                                 .tenant_folder = l->folder,
                                 .lib_dir = c->lib_dir,
                                 .sim_socket = c->sim_socket,
                                 .libcuda = c->libcuda,
                                 .libnvml = c->libnvml,
                                 .mps_shm = c->mps_shm ? c->mps_shm : "/dev/shm",
                                 .root = ""};
    int r = dv_containers_grants(node, request, l->grants, &spec.n, err);
    if (r == 0)
        r = look_up(node, l, &spec, err);
    if (r == 0)
        r = dv_edits_make(&host, &spec, ret, err);
    free(l);
    return r;
}

void dv_edits_post(struct dv_node *node, struct dv_http_request *rq)
{
    dv_cleanup(dv_container_request_done) struct dv_container_request q = {{0}};
    dv_cleanup(dv_cdi_edits_done) struct dv_cdi_edits edits = {0};
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    char name[DV_CDI_NAME_MAX];
    struct dv_cdi_device device = {name, &edits};
    struct dv_err err = {0};
    int r = dv_container_request_parse_device(rq->body, rq->body_size, name, &q, &err);
    if (r == 0)
        r = dv_edits_of(node, &q, &edits, &err);
    if (r == 0)
        r = dv_cdi_text(DV_EDITS_KIND, &device, 1, &text, &err);
    if (r == -EAGAIN) {
        dv_view_reply_unavailable(node, rq, err.msg);
        return;
    }
    if (r < 0) {
        dv_view_reply_error(rq, r == -ENOMEM ? 500 : 400, r == -ENOMEM ? 1 : 2,
                            r == -ENOMEM ? "failed" : "bad_request", err.msg);
        return;
    }
    struct dv_output *o = dv_output_new("ContainerDevice");
    dv_output_string(dv_output_root(o), "device", name);
    dv_output_string(dv_output_root(o), "text", dv_str_get(&text));
    dv_view_reply(rq, 200, o);
}
