/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events that several processes share: a page with two counters, how often the event was recorded
 * and up to which record it is complete. The page of an exported event travels as the contents of a
 * small allocation (512 bytes on the device). Publishing a record and waiting for one are done by
 * the worker, hence a record in a stream costs it a turn of that thread.
 */
#include "driver.h"

#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define HANDLE_MAGIC UINT64_C(0x5456454d49535644) /* "DVSIMEVT" */
#define PAGE_BYTES 4096
#define POLL_NS (300 * 1000)

struct shared {
    uint64_t recorded, complete;
};

struct dv_cuevent_page {
    uint32_t refs; /* the event, and gates that are still to come */
    int fd;
    struct shared *shared;
};

struct handle {
    uint64_t magic, token, pad[6];
};
_Static_assert(sizeof(struct handle) == sizeof(struct dv_cuda_ipc_handle), "ABI");

struct record {
    struct dv_cuevent_page *page;
    uint64_t number;
};

static void unref(struct dv_cuevent_page *page)
{
    if (__atomic_sub_fetch(&page->refs, 1, __ATOMIC_ACQ_REL))
        return;
    munmap(page->shared, PAGE_BYTES);
    close(page->fd);
    free(page);
}

/* Takes fd over, also on error. */
static struct dv_cuevent_page *map_page(int fd)
{
    struct dv_cuevent_page *page = calloc(1, sizeof(*page));
    void *shared = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page && shared != MAP_FAILED) {
        *page = (struct dv_cuevent_page){.refs = 1, .fd = fd, .shared = shared};
        return page;
    }
    if (shared != MAP_FAILED)
        munmap(shared, PAGE_BYTES);
    free(page);
    close(fd);
    return NULL;
}

int dv_cuipc_event_new(struct dv_cuda_event *event)
{
    int fd = memfd_create("divvy-sim-event", MFD_CLOEXEC);
    DV_CU_REQUIRE(fd >= 0, DV_CUDA_ERROR_OPERATING_SYSTEM);
    if (ftruncate(fd, PAGE_BYTES) < 0) {
        close(fd);
        return DV_CUDA_ERROR_OPERATING_SYSTEM;
    }
    event->page = map_page(fd);
    return event->page ? 0 : DV_CUDA_ERROR_OUT_OF_MEMORY;
}

void dv_cuipc_event_free_locked(struct dv_cuda_event *event)
{
    if (!event->page)
        return;
    if (event->imported)
        dv_cuprocess_call_locked(DV_SIM_CUDA_IPC_CLOSE, &event->handle, sizeof(event->handle), -1,
                                 NULL, 0, NULL, NULL);
    else
        dv_cumem_uncharge_locked(event->handle);
    unref(event->page);
    event->page = NULL;
}

/* ---- records and waits ---------------------------------------------------------------------- */

static bool complete(const struct dv_cuevent_page *page, uint64_t number)
{
    return __atomic_load_n(&page->shared->complete, __ATOMIC_ACQUIRE) >= number;
}

static void publish(void *arg)
{
    struct record *r = arg;
    uint64_t *at = &r->page->shared->complete;
    uint64_t old = __atomic_load_n(at, __ATOMIC_RELAXED);
    while (old < r->number && !__atomic_compare_exchange_n(at, &old, r->number, false,
                                                           __ATOMIC_RELEASE, __ATOMIC_RELAXED))
        continue;
    unref(r->page);
    free(r);
}

static bool reached(void *arg)
{
    const struct record *r = arg;
    return complete(r->page, r->number);
}

static int gate(struct dv_cuda_event *event, struct dv_cuda_stream *stream, uint64_t number,
                bool wait)
{
    struct record *r = malloc(sizeof(*r));
    DV_CU_REQUIRE(r, DV_CUDA_ERROR_OUT_OF_MEMORY);
    *r = (struct record){event->page, number};
    __atomic_add_fetch(&event->page->refs, 1, __ATOMIC_ACQ_REL);
    struct dv_cugate g = {.run = publish, .ready = wait ? reached : NULL, .arg = r};
    int e = dv_cuworker_gate(stream, &g);
    if (e) {
        unref(event->page);
        free(r);
    }
    return e;
}

int dv_cuipc_event_record(struct dv_cuda_event *event, struct dv_cuda_stream *stream)
{
    uint64_t number = __atomic_add_fetch(&event->page->shared->recorded, 1, __ATOMIC_ACQ_REL);
    return gate(event, stream, number, false);
}

int dv_cuipc_event_wait(struct dv_cuda_event *event, struct dv_cuda_stream *stream)
{
    uint64_t number = __atomic_load_n(&event->page->shared->recorded, __ATOMIC_ACQUIRE);
    return complete(event->page, number) ? 0 : gate(event, stream, number, true);
}

int dv_cuipc_event_query(const struct dv_cuda_event *event)
{
    uint64_t number = __atomic_load_n(&event->page->shared->recorded, __ATOMIC_ACQUIRE);
    return complete(event->page, number) ? 0 : DV_CUDA_ERROR_NOT_READY;
}

int dv_cuipc_event_synchronize(const struct dv_cuda_event *event)
{
    const struct timespec pause = {.tv_nsec = POLL_NS};
    uint64_t number = __atomic_load_n(&event->page->shared->recorded, __ATOMIC_ACQUIRE);
    while (!complete(event->page, number)) {
        DV_CU_REQUIRE(dv_cuprocess_alive(), DV_CUDA_ERROR_DEVICE_UNAVAILABLE);
        nanosleep(&pause, NULL);
    }
    return 0;
}

/* ---- handles -------------------------------------------------------------------------------- */

static int export_locked(struct dv_cuda_event *event, struct handle *ret)
{
    struct dv_sim_mem_allocated got;
    DV_CU_REQUIRE(event->page && !event->imported, DV_CUDA_ERROR_INVALID_HANDLE);
    if (!event->handle) {
        DV_CU_TRY(dv_cumem_charge_locked(event->ctx, DV_SIM_MEM_PLAIN, 1, &got));
        event->handle = got.handle;
    }
    *ret = (struct handle){.magic = HANDLE_MAGIC};
    return dv_cuprocess_call_locked(DV_SIM_CUDA_IPC_EXPORT, &event->handle, sizeof(event->handle),
                                    event->page->fd, &ret->token, sizeof(ret->token), NULL, NULL);
}

dv_cuda_api(cuIpcGetEventHandle, struct dv_cuda_ipc_handle *ret, struct dv_cuda_event *event)
{
    DV_CU_ENTER();
    struct handle h;
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(dv_cuobject_is(event, DV_CU_EVENT), DV_CUDA_ERROR_INVALID_HANDLE);
    dv_cu_lock();
    int r = export_locked(event, &h);
    dv_cu_unlock();
    if (r == 0)
        memcpy(ret, &h, sizeof(*ret));
    return r;
}

static int import(const struct handle *h, struct dv_cuevent_page **ret_page, uint64_t *ret_handle)
{
    struct dv_sim_ipc_opened got;
    int fd = -1;
    dv_cu_lock();
    int r = dv_cuprocess_call_locked(DV_SIM_CUDA_IPC_OPEN, &h->token, sizeof(h->token), -1, &got,
                                     sizeof(got), NULL, &fd);
    if (r == 0) {
        *ret_page = fd >= 0 ? map_page(fd) : NULL;
        *ret_handle = got.handle;
        if (!*ret_page) {
            dv_cuprocess_call_locked(DV_SIM_CUDA_IPC_CLOSE, &got.handle, sizeof(got.handle), -1,
                                     NULL, 0, NULL, NULL);
            r = DV_CUDA_ERROR_MAP_FAILED;
        }
    }
    dv_cu_unlock();
    return r;
}

dv_cuda_api(cuIpcOpenEventHandle, struct dv_cuda_event **ret, struct dv_cuda_ipc_handle bytes)
{
    DV_CU_ENTER();
    struct handle h;
    struct dv_cuevent_page *page;
    uint64_t handle;
    memcpy(&h, &bytes, sizeof(h));
    DV_CU_REQUIRE(ret && h.magic == HANDLE_MAGIC, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_cuevent_new(DV_CUDA_EVENT_DISABLE_TIMING, ret));
    int r = import(&h, &page, &handle);
    dv_cu_lock();
    if (r) {
        dv_cuevent_free_locked(*ret);
    } else {
        (*ret)->flags |= DV_CUDA_EVENT_INTERPROCESS;
        (*ret)->page = page;
        (*ret)->handle = handle;
        (*ret)->imported = true;
    }
    dv_cu_unlock();
    return r;
}
