/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the simulated libcuda.so.1: its objects, and what its files call of each other.
 *
 *     process.c      connection, init, fork, injected errors; mps.c: MPS client
 *     ring.c         work page: submit and wait
 *     object.c       handles that may be stale but never wild
 *     result.c       names of results
 *     symbols.c      table of names; lookup.c uses it
 *     device.c       devices and attributes; visible.c: which ones
 *     context.c      contexts
 *     stream.c       streams; worker.c: host functions, waits; event.c: events
 *     value.c        streams that wait for a value in memory, or write one
 *     module.c       modules, libraries; function.c: functions
 *     image.c        names and sizes in PTX (ptx.c) and cubin
 *     launch.c       launches and what a kernel costs
 *     graph.c        graphs; graph_exec.c: instantiated ones; capture.c: recorded ones
 *     memory.c       plain, managed, host memory; memory_info.c: what is known of it
 *     pool.c         asynchronous pools
 *     vmm.c          cuMemCreate and so on
 *     array.c        arrays and mipmaps
 *     copy.c         copies; copy_nd.c: of rows, slices and arrays, and fills
 *     content.c      bytes behind device memory
 *     ipc.c          handles for other processes; ipc_event.c: of events
 *
 * To add a call: its line in src/abi/abi_cuda_names.def (whatever is exported is there), its
 * function with dv_cuda_api here, its prototype and a case in testing/; then
 * `ninja -C BUILD cuda-coverage` writes docs/reference/cuda-coverage.md anew.
 *
 * Locks: P.lock guards all objects and the control socket; P.ring guards the ring, and of a stream
 * what is said to be the ring's. Order: lock, then ring. No callback runs under either. Functions
 * named *_locked expect P.lock to be held. The launch path takes only P.ring.
 *
 * All results are CUresults (int, 0 = success). Bytes, nanoseconds.
 */
#ifndef DV_SIM_CUDA_DRIVER_H
#define DV_SIM_CUDA_DRIVER_H

#include "abi_cuda.h"
#include "abi_sim.h"
#include "image.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define dv_cuda_api(name, ...)                                                                     \
    __attribute__((visibility("default"))) int name(__VA_ARGS__);                                  \
    int name(__VA_ARGS__)

/* An entry point and its per-thread-default-stream variant; `expression` may use `per_thread`. */
#define dv_cuda_api_both(name, suffix, parameters, expression)                                     \
    __attribute__((visibility("default"))) int name parameters;                                    \
    __attribute__((visibility("default"))) int name##suffix parameters;                            \
    int name parameters                                                                            \
    {                                                                                              \
        const bool per_thread = false;                                                             \
        (void)per_thread;                                                                          \
        DV_CU_ENTER();                                                                             \
        return (expression);                                                                       \
    }                                                                                              \
    int name##suffix parameters                                                                    \
    {                                                                                              \
        const bool per_thread = true;                                                              \
        (void)per_thread;                                                                          \
        DV_CU_ENTER();                                                                             \
        return (expression);                                                                       \
    }                                                                                              \
    _Static_assert(1, "takes a semicolon")

#define DV_CU_MIN(a, b) ((a) < (b) ? (a) : (b))
#define DV_CU_MAX(a, b) ((a) > (b) ? (a) : (b))
#define DV_CU_LIKELY(x) __builtin_expect(!!(x), 1)

/* Leaves the calling function with what is wrong, if something is. */
#define DV_CU_TRY(call)                                                                            \
    do {                                                                                           \
        int try_ = (call);                                                                         \
        if (!DV_CU_LIKELY(try_ == 0))                                                              \
            return try_;                                                                           \
    } while (0)
/* First line of an entry point: initialised, server alive, no error injected. */
#define DV_CU_ENTER() DV_CU_TRY(dv_cuprocess_enter(__func__))
#define DV_CU_REQUIRE(condition, error)                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return (error);                                                                        \
    } while (0)

/* ---- handles -------------------------------------------------------------------------------- */

enum dv_cutype {
    DV_CU_CTX = 1,
    DV_CU_STREAM,
    DV_CU_EVENT,
    DV_CU_MODULE,
    DV_CU_LIBRARY,
    DV_CU_FUNCTION, /* cuLibraryGetKernel's handles too */
    DV_CU_POOL,
    DV_CU_ARRAY,
    DV_CU_MIPMAP,
    DV_CU_PHYSICAL, /* of cuMemCreate */
    DV_CU_GRAPH,
    DV_CU_NODE,
    DV_CU_EXEC,
    DV_CU_TYPES,
};

/* The head of everything that a caller holds a handle of. Objects are recycled within their type
 * and never given back, so that a stale handle can be looked at safely. */
struct dv_cuobject {
    uint32_t live; /* DV_CU_LIVE | type, 0 = dead */
    uint32_t type;
    struct dv_cuobject *next; /* free list */
};
#define DV_CU_LIVE 0x44560000u

void *dv_cuobject_new(enum dv_cutype type, size_t bytes); /* zeroed; NULL = no memory */
void dv_cuobject_free(void *object);
static inline bool dv_cuobject_is(const void *object, enum dv_cutype type)
{
    const struct dv_cuobject *o = object;
    return (uintptr_t)object > 4096 && ((uintptr_t)object & 7) == 0 &&
           __atomic_load_n(&o->live, __ATOMIC_RELAXED) == (DV_CU_LIVE | type);
}

/* ---- process -------------------------------------------------------------------------------- */

#define DV_CU_DEVICES 64

struct dv_cudevice {
    struct dv_sim_device info;
    uint32_t server_index;
    struct dv_cuda_ctx *primary;
    uint32_t primary_refs, primary_flags;
    struct dv_cuda_pool *default_pool, *current_pool;
    uint64_t graph_used, graph_high;
};

enum dv_custate {
    DV_CU_NEW = 0,
    DV_CU_READY,
    DV_CU_FORKED, /* a child of an initialised process */
    DV_CU_LOST,   /* the server is gone */
};

struct dv_cumem;

struct dv_cuprocess {
    uint32_t state; /* enum dv_custate, atomic */
    uint32_t driver_version;
    int n_devices;
    int socket, kick;
    int mps; /* connection to an MPS control daemon, -1 = not its client */
    struct dv_sim_work *work;
    size_t work_size;
    pthread_mutex_t lock, ring;
    struct dv_cudevice device[DV_CU_DEVICES];
    struct dv_cumem *memory; /* tree by address */
    struct dv_cuda_ctx *contexts;
    struct dv_cuda_module *modules;
    struct dv_cuda_array *arrays;
    uint64_t ids;         /* contexts, captures, buffers */
    uint64_t head;        /* the ring's: commands written */
    uint32_t gates;       /* atomic: host functions and waits not yet over */
    uint32_t pools_dirty; /* atomic: a pool may hold more than its threshold */
    uint32_t captures;    /* atomic: captures under way */
    uint32_t event_next, events_free;
    uint64_t content_left; /* bytes of contents that may still be kept */
};

extern struct dv_cuprocess dv_cuprocess_this;
#define P dv_cuprocess_this

int dv_cuprocess_enter_slow(const char *name);
static inline int dv_cuprocess_enter(const char *name)
{
    if (DV_CU_LIKELY(__atomic_load_n(&P.state, __ATOMIC_ACQUIRE) == DV_CU_READY &&
                     __atomic_load_n(&P.work->injections, __ATOMIC_RELAXED) == 0))
        return 0;
    return dv_cuprocess_enter_slow(name);
}

/* One request and its reply, under P.lock. `in` and `ret` may be NULL; the reply must have exactly
 * ret_size bytes unless ret_got is given (then at most that). fd_in: sent along, or -1. ret_fd:
 * what came along, -1 = nothing. Returns the server's status, or DEVICE_UNAVAILABLE. */
int dv_cuprocess_call_locked(uint16_t op, const void *in, uint32_t in_size, int fd_in, void *ret,
                             uint32_t ret_size, uint32_t *ret_got, int *ret_fd);
int dv_cuprocess_call(uint16_t op, const void *in, uint32_t in_size, void *ret, uint32_t ret_size);
/* mps.c: becomes the client of the MPS control daemon, if one answers. 0 also without. */
int dv_cumps_join(void);
bool dv_cuprocess_alive(void); /* looks whether the server hung up */
void dv_cuprocess_lost(void);
static inline void dv_cu_lock(void)
{
    pthread_mutex_lock(&P.lock);
}
static inline void dv_cu_unlock(void)
{
    pthread_mutex_unlock(&P.lock);
}

/* symbols.c: what cuGetProcAddress means by this name; enum dv_cuda_symbol_status. */
int dv_cusymbols_find(const char *name, int version, uint64_t flags, void **ret);

/* device.c: after the device list came; keeps what CUDA_VISIBLE_DEVICES allows. */
void dv_cudevice_select(const struct dv_sim_device *all, uint32_t n, const char *visible);
struct dv_cudevice *dv_cudevice_get(int device); /* NULL = no such device */

/* ---- contexts and streams ------------------------------------------------------------------- */

struct dv_cugraph_capture;

enum dv_custream_kind {
    DV_CU_STREAM_LEGACY,
    DV_CU_STREAM_THREAD,
    DV_CU_STREAM_PLAIN,
};

struct dv_cuwaiter { /* on the stack of a thread that sleeps */
    uint64_t number;
    struct dv_cuwaiter *next;
};

struct dv_cuda_stream {
    struct dv_cuobject object;
    struct dv_cuda_ctx *ctx;
    struct dv_cuda_stream *next; /* in the context */
    uint32_t index;              /* in the work page */
    uint32_t flags;
    int32_t priority;
    enum dv_custream_kind kind;
    bool blocking; /* orders with the legacy stream */
    uint64_t id;
    /* The ring's: */
    uint64_t submitted;
    uint64_t seen_legacy;                    /* has waited for the legacy stream up to there */
    uint64_t merged;                         /* the legacy stream has waited for it up to there */
    uint32_t event;                          /* its private event; 0 = none yet */
    uint64_t event_generation, event_number; /* recorded behind this command */
    struct dv_cuwaiter *waiters;
    struct dv_cugraph_capture *capture; /* written under P.lock */
    struct dv_cuda_graph_node **deps;   /* of the next captured operation */
    size_t n_deps;
};

struct dv_cuda_ctx {
    struct dv_cuobject object;
    struct dv_cuda_ctx *next;
    int device;
    uint32_t server; /* the server's number */
    uint32_t flags, api_version;
    bool primary;
    uint64_t id;
    size_t limit[DV_CUDA_LIMIT_COUNT];
    uint64_t heap_handle; /* what a larger device heap costs; 0 = nothing */
    uint64_t peers;       /* bit per device: peer access is enabled */
    struct dv_cuda_stream *legacy;
    struct dv_cuda_stream *streams; /* all, the legacy one too; head read by the ring */
    struct dv_cuda_stream *helper;  /* where gates are opened; NULL = none yet */
    struct dv_cuda_event *events;
    int32_t cache_config, shared_config;
};

/* The calling thread's context; INVALID_CONTEXT without one, CONTEXT_IS_DESTROYED for a dead one,
 * or its sticky error. */
int dv_cuctx_current(struct dv_cuda_ctx **ret);
int dv_cuctx_error(const struct dv_cuda_ctx *ctx);
int dv_cuctx_resolve(struct dv_cuda_ctx *maybe, struct dv_cuda_ctx **ret); /* NULL = current */
int dv_cuctx_synchronize(struct dv_cuda_ctx *ctx);
void dv_cuctx_set(struct dv_cuda_ctx *ctx); /* of a driver's own thread */

/* What a stream argument means. `per_thread`: the symbol was a _ptsz or _ptds one. */
int dv_custream_resolve(struct dv_cuda_stream *handle, bool per_thread,
                        struct dv_cuda_stream **ret);
int dv_custream_new(struct dv_cuda_ctx *ctx, uint32_t flags, int32_t priority,
                    enum dv_custream_kind kind, struct dv_cuda_stream **ret);
void dv_custream_free_locked(struct dv_cuda_stream *stream, bool tell_server);
int dv_custream_synchronize(struct dv_cuda_stream *stream);
int dv_custream_host(struct dv_cuda_stream *stream, const struct dv_cuda_host_node_params *host);

/* ---- the ring ------------------------------------------------------------------------------- */

/* Puts a command at the end of the stream, behind what the legacy stream's rules ask for. */
int dv_curing_submit(struct dv_cuda_stream *stream, uint32_t op, uint64_t a, uint64_t b,
                     uint64_t *ret_number);
/* Until the stream has completed `number`, or all that it has now (DV_CU_ALL). */
#define DV_CU_ALL UINT64_MAX
int dv_curing_wait(struct dv_cuda_stream *stream, uint64_t number);
/* 0, NOT_READY, or the context's error. */
int dv_curing_query(struct dv_cuda_stream *stream, uint64_t number);
/* A RECORD with the event's next generation. */
int dv_curing_record(struct dv_cuda_stream *stream, uint32_t event, uint64_t *ret_generation,
                     uint64_t *ret_number);
bool dv_curing_recorded(uint32_t event, uint64_t generation); /* that record is complete */
/* Sleeps until it is: for events whose stream is gone, as it looks only every millisecond. */
int dv_curing_wait_event(uint32_t event, uint64_t generation);
/* Numbers of the page's events; with P.ring held. */
uint32_t dv_curing_event_new(void); /* 0 = none left */
void dv_curing_event_free(uint32_t event);
uint64_t dv_curing_generation(uint32_t event); /* the next one of this event; the ring's lock */

/* ---- events --------------------------------------------------------------------------------- */

struct dv_cuda_event {
    struct dv_cuobject object;
    struct dv_cuda_ctx *ctx;
    struct dv_cuda_event *next, **link; /* in the context's list; link points at what points here */
    uint32_t flags;
    uint32_t index;                /* in the work page */
    uint64_t generation;           /* of the last record; 0 = never recorded */
    struct dv_cuda_stream *stream; /* where, and behind which command */
    uint64_t stream_id, number;
    struct dv_cuevent_page *page; /* of an interprocess event, else NULL */
    uint64_t handle;              /* the server's, once exported or imported */
    bool imported;
    uint64_t capture_id; /* recorded in this capture; 0 = not in one */
    struct dv_cuda_graph_node **deps;
    size_t n_deps;
};

int dv_cuevent_new(unsigned int flags, struct dv_cuda_event **ret);
void dv_cuevent_free_locked(struct dv_cuda_event *event);
int dv_cuevent_record(struct dv_cuda_event *event, struct dv_cuda_stream *stream);
int dv_cuevent_wait(struct dv_cuda_event *event, struct dv_cuda_stream *stream);

/* ipc_event.c: of events with a page. */
int dv_cuipc_event_new(struct dv_cuda_event *event);
void dv_cuipc_event_free_locked(struct dv_cuda_event *event);
int dv_cuipc_event_record(struct dv_cuda_event *event, struct dv_cuda_stream *stream);
int dv_cuipc_event_wait(struct dv_cuda_event *event, struct dv_cuda_stream *stream);
int dv_cuipc_event_query(const struct dv_cuda_event *event);
int dv_cuipc_event_synchronize(const struct dv_cuda_event *event);

/* ---- worker: what the host does in the middle of a stream ------------------------------------ */

struct dv_cugate {
    void (*run)(void *arg);   /* called without locks; frees arg */
    bool (*ready)(void *arg); /* polled until true before run; NULL = at once */
    void *arg;
};
/* Behind all that the stream has: `run` on the worker thread; what follows in the stream waits for
 * its return. On error nothing has happened. */
int dv_cuworker_gate(struct dv_cuda_stream *stream, const struct dv_cugate *gate);

/* ---- modules and launches -------------------------------------------------------------------- */

enum dv_curule {                       /* what a kernel costs */
                 DV_CU_RULE_FIXED = 0, /* work_ns */
                 DV_CU_RULE_SPIN,      /* divvy_spin: 1 ns per iteration */
                 DV_CU_RULE_COPY,      /* divvy_copy: bytes at the memory's bandwidth */
                 DV_CU_RULE_FAULT,     /* divvy_fault: touches an address that is not there */
};

struct dv_cuda_module {
    struct dv_cuobject object;
    struct dv_cuda_ctx *ctx;
    struct dv_cuda_module *next; /* of P.modules */
    struct dv_cuda_library *library;
    struct dv_cuimage *image;
    bool own_image;
    uint64_t handle, address;
    struct dv_cuda_function *functions;
};

/* A kernel in a module of a context, or (module NULL) in a library of no context. */
struct dv_cuda_function {
    struct dv_cuobject object;
    struct dv_cuda_module *module;
    struct dv_cuda_library *library;
    struct dv_cuda_function *next;
    char name[DV_CUIMAGE_NAME_MAX + 1];
    const struct dv_cuimage_entry *entry; /* NULL = nothing known of its parameters */
    enum dv_curule rule;
    uint64_t work_ns;
    uint32_t sms; /* said by the node file; 0 = by the grid */
    int attribute[DV_CUDA_FUNC_ATTRIBUTES];
};

struct dv_culaunch { /* a kernel launch, made ready */
    struct dv_cuda_function *function;
    uint32_t grid[3], block[3];
    uint32_t shared_bytes;
    uint64_t work_ns;
    uint32_t sms;
    uint64_t copy_dst, copy_src, copy_bytes; /* divvy_copy */
};

/* Checks a launch and works out what it costs on ctx's device. */
int dv_culaunch_prepare(struct dv_cuda_ctx *ctx, struct dv_cuda_function *function,
                        const uint32_t grid[3], const uint32_t block[3], uint32_t shared_bytes,
                        void **params, void **extra, bool cooperative, struct dv_culaunch *ret);
int dv_culaunch_submit(struct dv_cuda_stream *stream, const struct dv_culaunch *launch);
/* The function itself, or that of a library's kernel in ctx (loading it there). */
int dv_cumodule_resolve(struct dv_cuda_ctx *ctx, struct dv_cuda_function *function,
                        struct dv_cuda_function **ret);
void dv_cumodule_free_all_locked(struct dv_cuda_ctx *ctx);

/* ---- memory --------------------------------------------------------------------------------- */

/* Bytes behind memory. Kept by chunks while the process's budget lasts; a chunk that is not kept
 * reads as zeros. Counted references: every mapping of it, and its allocation. */
struct dv_cucontent {
    uint32_t refs;
    int fd; /* -1 = private to this process */
    uint64_t bytes;
    uint8_t *base; /* NULL until something is written */
    uint8_t *kept; /* bit per chunk; NULL with `direct` */
    bool direct;   /* all of it is real memory: managed, host, shared */
    bool borrowed; /* base belongs to the caller */
};

enum dv_cumem_kind {
    DV_CU_MEM_DEVICE,
    DV_CU_MEM_MANAGED,
    DV_CU_MEM_HOST,
    DV_CU_MEM_REGISTERED,
    DV_CU_MEM_POOL,
    DV_CU_MEM_RESERVED, /* addresses only: cuMemAddressReserve */
    DV_CU_MEM_MAPPED,   /* cuMemMap */
    DV_CU_MEM_IPC,
    DV_CU_MEM_GLOBAL, /* a module's variable */
    DV_CU_MEM_GRAPH,  /* addresses of a graph's allocation node */
};

struct dv_cumem {
    uint64_t address, bytes; /* as asked for */
    struct dv_cumem *left, *right;
    uint32_t rank;
    enum dv_cumem_kind kind;
    int device;
    struct dv_cuda_ctx *ctx; /* NULL = of no context */
    uint64_t handle;         /* the server's; 0 = none */
    uint64_t content_offset;
    struct dv_cucontent *content;
    void *owner; /* pool, physical allocation or segment */
    uint64_t id;
    uint32_t flags;
};

struct dv_cumem *dv_cumem_find_locked(uint64_t address); /* the record that covers it, or NULL */
struct dv_cumem *dv_cumem_next_locked(uint64_t address); /* the first at or above it */
int dv_cumem_insert_locked(const struct dv_cumem *mem, struct dv_cumem **ret);
void dv_cumem_remove_locked(struct dv_cumem *mem); /* unlinks and frees the record */
/* Charges the server; OUT_OF_MEMORY only after pools gave back what they do not use. */
int dv_cumem_charge_locked(struct dv_cuda_ctx *ctx, enum dv_sim_mem_kind kind, uint64_t bytes,
                           struct dv_sim_mem_allocated *ret);
void dv_cumem_uncharge_locked(uint64_t handle);
void dv_cumem_free_all_locked(struct dv_cuda_ctx *ctx); /* what the context leaves behind */
int dv_cumem_free(uint64_t address);
/* A piece of this process's address space that nothing else has; NULL = none left. */
void *dv_cumem_reserve(uint64_t bytes, uint64_t alignment, void *hint);

struct dv_cucontent *dv_cucontent_new(uint64_t bytes);
struct dv_cucontent *dv_cucontent_wrap(void *base, uint64_t bytes, int fd, bool borrowed);
void dv_cucontent_ref(struct dv_cucontent *content);
void dv_cucontent_unref(struct dv_cucontent *content);
void dv_cucontent_write(struct dv_cucontent *c, uint64_t offset, const void *from, uint64_t n);
bool dv_cucontent_kept(const struct dv_cucontent *c, uint64_t offset, uint64_t n); /* any of it */
void dv_cucontent_read(struct dv_cucontent *c, uint64_t offset, void *to, uint64_t n);
void dv_cucontent_fill(struct dv_cucontent *c, uint64_t offset, uint32_t value, uint32_t element,
                       uint64_t n);
/* Turns it into a memfd that others can map, with `extra` bytes behind it; the fd stays the
 * content's. -1 = impossible. */
int dv_cucontent_share(struct dv_cucontent *c, uint64_t extra);

/* Bytes between addresses, device or host, whatever they are; P.lock held. */
void dv_cucopy_bytes_locked(uint64_t dst, uint64_t src, uint64_t n);
void dv_cucopy_fill_locked(uint64_t dst, uint32_t value, uint32_t element, uint64_t n);

/* A copy or a fill, also as a graph's node: rows and slices of bytes. */
struct dv_cutransfer {
    bool fill;
    uint32_t value, element;
    struct {
        uint64_t address; /* of the first byte; device or host */
        uint64_t pitch, slice;
        struct dv_cuda_array *array; /* instead of an address */
        uint64_t array_offset;
    } dst, src;
    uint64_t width, height, depth; /* bytes, rows, slices */
};
int dv_cutransfer_submit(struct dv_cuda_stream *stream, const struct dv_cutransfer *t,
                         bool synchronous);
/* Converts and checks; shared by copies and graph nodes. */
int dv_cutransfer_from_3d(const struct dv_cuda_memcpy_3d *copy, struct dv_cutransfer *ret);
int dv_cutransfer_from_memset(const struct dv_cuda_memset_node_params *params,
                              struct dv_cutransfer *ret);
/* Are both sides memory that can be read and written so far? */
int dv_cutransfer_check(const struct dv_cutransfer *t, bool dst_host, bool src_host);
/* Captures it if the stream captures, else submits it. */
int dv_cutransfer_do(struct dv_cuda_stream *stream, const struct dv_cutransfer *t, bool wait);

struct dv_cuda_array {
    struct dv_cuobject object;
    struct dv_cuda_ctx *ctx;
    struct dv_cuda_array_3d_descriptor descriptor;
    uint64_t handle;
    struct dv_cucontent *content;
    struct dv_cuda_array *next; /* of P.arrays */
    uint64_t content_offset, pitch, slice, bytes;
    bool level; /* belongs to a mipmapped array */
};
void dv_cuarray_free_all_locked(struct dv_cuda_ctx *ctx);

void dv_cupool_trim_device_locked(int device, bool all); /* all: also below the threshold */
void dv_cupool_sync(void); /* a synchronisation: unused memory above the threshold goes back */
const struct dv_cuda_pool *dv_cupool_of(const struct dv_cumem *mem);
void dv_cupool_free_locked(struct dv_cumem *mem);
void dv_cupool_context_gone_locked(struct dv_cuda_ctx *ctx); /* and what it has charged */
int dv_cupool_alloc(struct dv_cuda_ctx *ctx, struct dv_cuda_pool *pool, uint64_t bytes,
                    uint64_t *ret_address);
void dv_cuvmm_unmap_locked(struct dv_cumem *mem);

/* ---- graphs --------------------------------------------------------------------------------- */

/* What a captured operation or a graph node does. */
struct dv_cugraph_op {
    int type; /* enum dv_cuda_node_type */
    struct dv_culaunch launch;
    struct dv_cutransfer transfer;
    struct dv_cuda_host_node_params host;
    struct dv_cuda_event *event;
    struct dv_cuda_graph *child;
    struct dv_cuda_ctx *ctx;
    uint64_t address, bytes; /* allocation nodes */
    int device;
};
/* If the stream captures: adds op to its graph, *ret_captured = true. */
int dv_cucapture_op(struct dv_cuda_stream *stream, const struct dv_cugraph_op *op,
                    bool *ret_captured, struct dv_cuda_graph_node **ret_node);
static inline bool dv_cucapture_active(const struct dv_cuda_stream *stream)
{
    return __atomic_load_n(&stream->capture, __ATOMIC_ACQUIRE) != NULL;
}
/* A call that a capture forbids on this stream: the capture is invalid from now on. */
int dv_cucapture_forbid(struct dv_cuda_stream *stream);
/* A call that global captures forbid everywhere (cuMemAlloc and the like); 0 = fine. */
int dv_cucapture_unsafe(void);
int dv_cucapture_alloc(struct dv_cuda_stream *stream, int device, uint64_t bytes,
                       uint64_t *ret_address);
int dv_cucapture_free(struct dv_cuda_stream *stream, uint64_t address);
int dv_cucapture_event_record(struct dv_cuda_event *event, struct dv_cuda_stream *stream,
                              unsigned int flags);
int dv_cucapture_event_wait(struct dv_cuda_event *event, struct dv_cuda_stream *stream,
                            unsigned int flags, bool *ret_captured);

#endif
