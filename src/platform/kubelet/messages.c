/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/messages.h"

#include "grpc/server.h"

#include <device_plugin.pb-c.h>
#include <errno.h>
#include <pod_resources.pb-c.h>
#include <stdlib.h>

/* ---- memory ---- */

/* protobuf-c's messages point to each other; those that are written live in one of these. */
struct block {
    struct block *next;
    size_t used, size;
    max_align_t data[];
};

struct arena {
    struct block *blocks;
    bool failed;
};

#define BLOCK_SIZE ((size_t)16384)

/* Zeroed; NULL and `failed` when there is none. */
static void *grab(struct arena *a, size_t count, size_t size)
{
    size_t align = _Alignof(max_align_t), need = (count * size + align - 1) / align * align;
    struct block *b = a->blocks;
    if (count >= SIZE_MAX / 2 / size) {
        a->failed = true;
        return NULL;
    }
    if (!b || b->size - b->used < need) {
        size_t fresh = DV_MAX(need, BLOCK_SIZE);
        b = calloc(1, sizeof *b + fresh);
        if (!b) {
            a->failed = true;
            return NULL;
        }
        b->size = fresh;
        b->next = a->blocks;
        a->blocks = b;
    }
    b->used += need;
    return (char *)b->data + b->used - need;
}

/* Bounds what is read: two bytes on the wire may become a message of a hundred. */
struct budget {
    size_t left;
    bool no_memory;
};

static void *budget_alloc(void *arg, size_t size)
{
    struct budget *budget = arg;
    size_t cost = size + 2 * sizeof(void *);
    if (size > budget->left || cost > budget->left)
        return NULL;
    budget->left -= cost;
    void *data = malloc(size);
    budget->no_memory |= !data;
    return data;
}

static void budget_free(void *arg, void *data)
{
    free(data);
}

/* The message, or NULL with -ENOMEM or -EBADMSG in *r. */
static void *read_message(const ProtobufCMessageDescriptor *descriptor, const void *data,
                          size_t size, int *r)
{
    struct budget budget = {.left = DV_KUBELET_MESSAGES_MEMORY_MAX};
    ProtobufCAllocator allocator = {budget_alloc, budget_free, &budget};
    void *message = protobuf_c_message_unpack(descriptor, &allocator, size, data);
    *r = message ? 0 : budget.no_memory ? -ENOMEM : -EBADMSG;
    return message;
}

static void free_message(void *message)
{
    if (message)
        protobuf_c_message_free_unpacked(message, NULL);
}

static int write_message(const void *message, struct dv_kubelet_bytes *ret)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    if (size > DV_GRPC_MESSAGE_MAX)
        return -EMSGSIZE;
    uint8_t *data = malloc(size + 1);
    if (!data)
        return -ENOMEM;
    protobuf_c_message_pack(message, data);
    *ret = (struct dv_kubelet_bytes){data, size};
    return 0;
}

/* Writes what lives in the arena, and ends that. */
static int write_arena(struct arena *a, const void *message, struct dv_kubelet_bytes *ret)
{
    int r = a->failed ? -ENOMEM : write_message(message, ret);
    while (a->blocks) {
        struct block *next = a->blocks->next;
        free(a->blocks);
        a->blocks = next;
    }
    return r;
}

/* protobuf-c's strings are not const, and it only reads those that it writes. */
static char *text(const char *s)
{
    return (char *)(s ? s : "");
}

/* ---- written ---- */

int dv_kubelet_messages_options(bool pre_start, bool prefer, struct dv_kubelet_bytes *ret)
{
    V1beta1__DevicePluginOptions m = V1BETA1__DEVICE_PLUGIN_OPTIONS__INIT;
    m.pre_start_required = pre_start;
    m.get_preferred_allocation_available = prefer;
    return write_message(&m, ret);
}

int dv_kubelet_messages_register(const char *endpoint, const char *resource, bool pre_start,
                                 bool prefer, struct dv_kubelet_bytes *ret)
{
    V1beta1__DevicePluginOptions options = V1BETA1__DEVICE_PLUGIN_OPTIONS__INIT;
    V1beta1__RegisterRequest m = V1BETA1__REGISTER_REQUEST__INIT;
    options.pre_start_required = pre_start;
    options.get_preferred_allocation_available = prefer;
    m.version = text("v1beta1");
    m.endpoint = text(endpoint);
    m.resource_name = text(resource);
    m.options = &options;
    return write_message(&m, ret);
}

static V1beta1__TopologyInfo *make_topology(struct arena *a, const struct dv_kubelet_device *device)
{
    V1beta1__TopologyInfo *topology = grab(a, 1, sizeof *topology);
    V1beta1__NUMANode *nodes = grab(a, device->numa_count, sizeof *nodes);
    V1beta1__NUMANode **list = grab(a, device->numa_count, sizeof(void *));
    if (a->failed)
        return NULL;
    v1beta1__topology_info__init(topology);
    for (uint32_t i = 0; i < device->numa_count; i++) {
        v1beta1__numanode__init(&nodes[i]);
        nodes[i].id = device->numa_nodes[i];
        list[i] = &nodes[i];
    }
    topology->nodes = list;
    topology->n_nodes = device->numa_count;
    return topology;
}

int dv_kubelet_messages_devices(const struct dv_kubelet_device *devices, size_t count,
                                struct dv_kubelet_bytes *ret)
{
    struct arena a = {0};
    V1beta1__ListAndWatchResponse m = V1BETA1__LIST_AND_WATCH_RESPONSE__INIT;
    V1beta1__Device *items = grab(&a, count, sizeof *items);
    V1beta1__Device **list = grab(&a, count, sizeof(void *));
    for (size_t i = 0; i < count && !a.failed; i++) {
        v1beta1__device__init(&items[i]);
        items[i].id = text(devices[i].id);
        items[i].health = text(devices[i].healthy ? "Healthy" : "Unhealthy");
        if (devices[i].numa_count)
            items[i].topology = make_topology(&a, &devices[i]);
        list[i] = &items[i];
    }
    m.devices = list;
    m.n_devices = count;
    return write_arena(&a, &m, ret);
}

static V1beta1__Pair **make_pairs(struct arena *a, const struct dv_kubelet_pair *pairs,
                                  size_t count)
{
    V1beta1__Pair *items = grab(a, count, sizeof *items);
    V1beta1__Pair **list = grab(a, count, sizeof(void *));
    for (size_t i = 0; i < count && !a->failed; i++) {
        v1beta1__pair__init(&items[i]);
        items[i].key = text(pairs[i].name);
        items[i].value = text(pairs[i].value);
        list[i] = &items[i];
    }
    return list;
}

static V1beta1__Mount **make_mounts(struct arena *a, const struct dv_kubelet_mount *mounts,
                                    size_t count)
{
    V1beta1__Mount *items = grab(a, count, sizeof *items);
    V1beta1__Mount **list = grab(a, count, sizeof(void *));
    for (size_t i = 0; i < count && !a->failed; i++) {
        v1beta1__mount__init(&items[i]);
        items[i].container_path = text(mounts[i].container_path);
        items[i].host_path = text(mounts[i].host_path);
        items[i].read_only = mounts[i].read_only;
        list[i] = &items[i];
    }
    return list;
}

static V1beta1__DeviceSpec **
make_device_nodes(struct arena *a, const struct dv_kubelet_device_node *nodes, size_t count)
{
    V1beta1__DeviceSpec *items = grab(a, count, sizeof *items);
    V1beta1__DeviceSpec **list = grab(a, count, sizeof(void *));
    for (size_t i = 0; i < count && !a->failed; i++) {
        v1beta1__device_spec__init(&items[i]);
        items[i].container_path = text(nodes[i].container_path);
        items[i].host_path = text(nodes[i].host_path);
        items[i].permissions = text(nodes[i].permissions);
        list[i] = &items[i];
    }
    return list;
}

static V1beta1__CDIDevice **make_cdi_devices(struct arena *a, const struct dv_kubelet_ids *names)
{
    V1beta1__CDIDevice *items = grab(a, names->count, sizeof *items);
    V1beta1__CDIDevice **list = grab(a, names->count, sizeof(void *));
    for (size_t i = 0; i < names->count && !a->failed; i++) {
        v1beta1__cdidevice__init(&items[i]);
        items[i].name = text(names->ids[i]);
        list[i] = &items[i];
    }
    return list;
}

static void make_container(struct arena *a, const struct dv_kubelet_container *c,
                           V1beta1__ContainerAllocateResponse *ret)
{
    v1beta1__container_allocate_response__init(ret);
    ret->envs = make_pairs(a, c->envs, c->env_count);
    ret->n_envs = c->env_count;
    ret->mounts = make_mounts(a, c->mounts, c->mount_count);
    ret->n_mounts = c->mount_count;
    ret->devices = make_device_nodes(a, c->device_nodes, c->device_node_count);
    ret->n_devices = c->device_node_count;
    ret->annotations = make_pairs(a, c->annotations, c->annotation_count);
    ret->n_annotations = c->annotation_count;
    ret->cdi_devices = make_cdi_devices(a, &c->cdi_devices);
    ret->n_cdi_devices = c->cdi_devices.count;
}

int dv_kubelet_messages_allocated(const struct dv_kubelet_container *containers, size_t count,
                                  struct dv_kubelet_bytes *ret)
{
    struct arena a = {0};
    V1beta1__AllocateResponse m = V1BETA1__ALLOCATE_RESPONSE__INIT;
    V1beta1__ContainerAllocateResponse *items = grab(&a, count, sizeof *items);
    V1beta1__ContainerAllocateResponse **list = grab(&a, count, sizeof(void *));
    for (size_t i = 0; i < count && !a.failed; i++) {
        make_container(&a, &containers[i], &items[i]);
        list[i] = &items[i];
    }
    m.container_responses = list;
    m.n_container_responses = count;
    return write_arena(&a, &m, ret);
}

int dv_kubelet_messages_preferred(const struct dv_kubelet_ids *containers, size_t count,
                                  struct dv_kubelet_bytes *ret)
{
    struct arena a = {0};
    V1beta1__PreferredAllocationResponse m = V1BETA1__PREFERRED_ALLOCATION_RESPONSE__INIT;
    V1beta1__ContainerPreferredAllocationResponse *items = grab(&a, count, sizeof *items);
    V1beta1__ContainerPreferredAllocationResponse **list = grab(&a, count, sizeof(void *));
    for (size_t i = 0; i < count && !a.failed; i++) {
        v1beta1__container_preferred_allocation_response__init(&items[i]);
        items[i].device_ids = (char **)containers[i].ids;
        items[i].n_device_ids = containers[i].count;
        list[i] = &items[i];
    }
    m.container_responses = list;
    m.n_container_responses = count;
    return write_arena(&a, &m, ret);
}

/* ---- read ---- */

static struct dv_kubelet_ids ids_of(char **ids, size_t count)
{
    return (struct dv_kubelet_ids){(const char *const *)ids, count};
}

int dv_kubelet_messages_read_allocate(const void *data, size_t size, struct dv_kubelet_request *ret)
{
    int r;
    V1beta1__AllocateRequest *m =
        read_message(&v1beta1__allocate_request__descriptor, data, size, &r);
    if (!m)
        return r;
    struct dv_kubelet_request request = {.message = m, .count = m->n_container_requests};
    request.ids = calloc(request.count + 1, sizeof *request.ids);
    if (!request.ids) {
        free_message(m);
        return -ENOMEM;
    }
    for (size_t i = 0; i < request.count; i++)
        request.ids[i] =
            ids_of(m->container_requests[i]->devices_ids, m->container_requests[i]->n_devices_ids);
    *ret = request;
    return 0;
}

int dv_kubelet_messages_read_pre_start(const void *data, size_t size,
                                       struct dv_kubelet_request *ret)
{
    int r;
    V1beta1__PreStartContainerRequest *m =
        read_message(&v1beta1__pre_start_container_request__descriptor, data, size, &r);
    if (!m)
        return r;
    struct dv_kubelet_request request = {.message = m, .count = 1};
    request.ids = calloc(1, sizeof *request.ids);
    if (!request.ids) {
        free_message(m);
        return -ENOMEM;
    }
    request.ids[0] = ids_of(m->devices_ids, m->n_devices_ids);
    *ret = request;
    return 0;
}

int dv_kubelet_messages_read_prefer(const void *data, size_t size, struct dv_kubelet_request *ret)
{
    int r;
    V1beta1__PreferredAllocationRequest *m =
        read_message(&v1beta1__preferred_allocation_request__descriptor, data, size, &r);
    if (!m)
        return r;
    struct dv_kubelet_request request = {.message = m, .count = m->n_container_requests};
    request.choices = calloc(request.count + 1, sizeof *request.choices);
    if (!request.choices) {
        free_message(m);
        return -ENOMEM;
    }
    for (size_t i = 0; i < request.count; i++) {
        const V1beta1__ContainerPreferredAllocationRequest *c = m->container_requests[i];
        request.choices[i] = (struct dv_kubelet_choice){
            ids_of(c->available_device_ids, c->n_available_device_ids),
            ids_of(c->must_include_device_ids, c->n_must_include_device_ids), c->allocation_size};
    }
    *ret = request;
    return 0;
}

void dv_kubelet_messages_request_done(struct dv_kubelet_request *request)
{
    free_message(request->message);
    free(request->ids);
    free(request->choices);
    *request = (struct dv_kubelet_request){0};
}

static size_t count_rows(const Podresources__ListPodResourcesResponse *m)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n_pod_resources; i++)
        for (size_t j = 0; j < m->pod_resources[i]->n_containers; j++)
            n += m->pod_resources[i]->containers[j]->n_devices;
    return n;
}

static struct dv_kubelet_held *put_pod(const Podresources__PodResources *pod,
                                       struct dv_kubelet_held *row)
{
    for (size_t j = 0; j < pod->n_containers; j++) {
        const Podresources__ContainerResources *c = pod->containers[j];
        for (size_t k = 0; k < c->n_devices; k++)
            *row++ = (struct dv_kubelet_held){pod->namespace_,
                                              pod->name,
                                              c->name,
                                              c->devices[k]->resource_name,
                                              (const char *const *)c->devices[k]->device_ids,
                                              c->devices[k]->n_device_ids};
    }
    return row;
}

int dv_kubelet_messages_read_pods(const void *data, size_t size, struct dv_kubelet_pods *ret)
{
    int r;
    Podresources__ListPodResourcesResponse *m =
        read_message(&podresources__list_pod_resources_response__descriptor, data, size, &r);
    if (!m)
        return r;
    struct dv_kubelet_pods pods = {.message = m, .count = count_rows(m)};
    pods.rows = calloc(pods.count + 1, sizeof *pods.rows);
    if (!pods.rows) {
        free_message(m);
        return -ENOMEM;
    }
    struct dv_kubelet_held *row = pods.rows;
    for (size_t i = 0; i < m->n_pod_resources; i++)
        row = put_pod(m->pod_resources[i], row);
    *ret = pods;
    return 0;
}

void dv_kubelet_messages_pods_done(struct dv_kubelet_pods *pods)
{
    free_message(pods->message);
    free(pods->rows);
    *pods = (struct dv_kubelet_pods){0};
}
