/* SPDX-License-Identifier: Apache-2.0 */
/* Event sets: a list of what is wanted, and the number of the last event seen. The server holds a
 * wait until an event comes or its time is over. */
#include "nvml/handles.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SUPPORTED                                                                                  \
    (DV_NVML_EVENT_SINGLE_BIT_ECC | DV_NVML_EVENT_DOUBLE_BIT_ECC | DV_NVML_EVENT_PSTATE |          \
     DV_NVML_EVENT_XID | DV_NVML_EVENT_CLOCK)
#define MAGIC 0x544E5645u
/* The server holds a wait no longer than this; the library asks again. */
#define ONE_WAIT_MS 60000u

struct dv_nvml_event_set {
    uint32_t magic;
    pthread_mutex_t lock;
    struct dv_sim_nvml_wait wait; /* `after` and `types` */
};

static bool is_set(const struct dv_nvml_event_set *set)
{
    return set && set->magic == MAGIC;
}

int nvmlEventSetCreate(struct dv_nvml_event_set **set)
{
    struct dv_sim_nvml_request q =
        dv_nvclient_request(DV_SIM_NVML_NONE, DV_SIM_NVML_NONE, DV_SIM_NVML_NONE);
    uint64_t head;
    if (!set)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    int r = dv_nvclient_call(__func__, DV_SIM_NVML_EVENTS_HEAD, &q, &head, sizeof(head), NULL);
    if (r != DV_NVML_SUCCESS)
        return r;
    struct dv_nvml_event_set *s = calloc(1, sizeof(*s));
    if (!s)
        return DV_NVML_ERROR_MEMORY;
    s->magic = MAGIC;
    pthread_mutex_init(&s->lock, NULL);
    s->wait.after = head;
    *set = s;
    return DV_NVML_SUCCESS;
}

int nvmlEventSetFree(struct dv_nvml_event_set *set)
{
    if (!is_set(set))
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    pthread_mutex_destroy(&set->lock);
    set->magic = 0;
    free(set);
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetSupportedEventTypes(struct dv_nvml_device *device, uint64_t *types)
{
    struct dv_nv_place p;
    int r = dv_nvhandles_check(__func__, device, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!types)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    *types = SUPPORTED;
    return DV_NVML_SUCCESS;
}

/* Events of a MIG device are its GPU's: they say which instance they are of. */
int nvmlDeviceRegisterEvents(struct dv_nvml_device *device, uint64_t types,
                             struct dv_nvml_event_set *set)
{
    struct dv_nv_place p;
    if (!is_set(set))
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    int r = dv_nvhandles_check(__func__, device, &p);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (types & ~SUPPORTED)
        return DV_NVML_ERROR_NOT_SUPPORTED;
    pthread_mutex_lock(&set->lock);
    set->wait.types[p.gpu] |= types;
    pthread_mutex_unlock(&set->lock);
    return DV_NVML_SUCCESS;
}

static int wait_once(const char *function, struct dv_nvml_event_set *set, uint32_t timeout_ms,
                     struct dv_sim_nvml_event *ret)
{
    struct dv_sim_nvml_request q =
        dv_nvclient_request(DV_SIM_NVML_NONE, DV_SIM_NVML_NONE, DV_SIM_NVML_NONE);
    pthread_mutex_lock(&set->lock);
    struct dv_sim_nvml_wait wait = set->wait;
    pthread_mutex_unlock(&set->lock);
    wait.timeout_ms = timeout_ms;
    int r = dv_nvclient_wait(function, &q, &wait, ret);
    if (r != DV_NVML_SUCCESS)
        return r;
    pthread_mutex_lock(&set->lock);
    if (ret->sequence > set->wait.after)
        set->wait.after = ret->sequence;
    pthread_mutex_unlock(&set->lock);
    return DV_NVML_SUCCESS;
}

static int wait_for(const char *function, struct dv_nvml_event_set *set, const void *data,
                    uint32_t timeout_ms, struct dv_sim_nvml_event *ret)
{
    if (!is_set(set) || !data)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    for (;;) {
        uint32_t part = timeout_ms < ONE_WAIT_MS ? timeout_ms : ONE_WAIT_MS;
        int r = wait_once(function, set, part, ret);
        if (r != DV_NVML_ERROR_TIMEOUT || part == timeout_ms)
            return r;
        timeout_ms -= part;
    }
}

int nvmlEventSetWait_v2(struct dv_nvml_event_set *set, struct dv_nvml_event_data *data,
                        uint32_t timeout_ms)
{
    struct dv_sim_nvml_event e;
    int r = wait_for(__func__, set, data, timeout_ms, &e);
    if (r == DV_NVML_SUCCESS)
        *data = (struct dv_nvml_event_data){.device = dv_nvhandles_gpu(e.gpu),
                                            .type = e.type,
                                            .data = e.data,
                                            .gpu_instance_id = e.gi,
                                            .compute_instance_id = e.ci};
    return r;
}

int nvmlEventSetWait(struct dv_nvml_event_set *set, struct dv_nvml_event_data_v1 *data,
                     uint32_t timeout_ms)
{
    struct dv_sim_nvml_event e;
    int r = wait_for(__func__, set, data, timeout_ms, &e);
    if (r == DV_NVML_SUCCESS)
        *data = (struct dv_nvml_event_data_v1){
            .device = dv_nvhandles_gpu(e.gpu), .type = e.type, .data = e.data};
    return r;
}
