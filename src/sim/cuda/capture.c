/* SPDX-License-Identifier: Apache-2.0 */
/* Capturing streams into graphs. */
#include "graph.h"

#define WAIT_EXTERNAL 1 /* flag of waits and records: a node, not an edge */

struct dv_cugraph_capture {
    struct dv_cugraph_capture *next;
    uint64_t id;
    struct dv_cuda_graph *graph;
    struct dv_cuda_stream *origin;
    pthread_t thread;
    int mode;
    bool invalid, own_graph;
};

static struct dv_cugraph_capture *captures; /* P.lock */
static __thread int thread_mode = DV_CUDA_CAPTURE_MODE_GLOBAL;

static struct dv_cugraph_capture *by_id(uint64_t id)
{
    struct dv_cugraph_capture *c = captures;
    while (c && c->id != id)
        c = c->next;
    return c;
}

static void set_capture(struct dv_cuda_stream *s, struct dv_cugraph_capture *c)
{
    __atomic_store_n(&s->capture, c, __ATOMIC_RELEASE);
}

/* The stream's next operation comes after these; `keep`: and after what it had. */
static int set_deps(struct dv_cuda_stream *s, struct dv_cuda_graph_node *const *deps, size_t n,
                    bool keep)
{
    size_t have = keep ? s->n_deps : 0;
    struct dv_cuda_graph_node **list = malloc((have + n + 1) * sizeof(void *));
    DV_CU_REQUIRE(list, DV_CUDA_ERROR_OUT_OF_MEMORY);
    if (have)
        memcpy(list, s->deps, have * sizeof(void *));
    for (size_t i = 0; i < n; i++) {
        bool known = false;
        for (size_t k = 0; k < have && !known; k++)
            known = list[k] == deps[i];
        if (!known)
            list[have++] = deps[i];
    }
    free(s->deps);
    s->deps = list;
    s->n_deps = have;
    return 0;
}

/* ---- what streams do ------------------------------------------------------------------------ */

static int add_op_locked(struct dv_cuda_stream *s, const struct dv_cugraph_op *op,
                         struct dv_cuda_graph_node **ret)
{
    struct dv_cuda_graph_node *n;
    DV_CU_REQUIRE(!s->capture->invalid, DV_CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    DV_CU_TRY(dv_cugraph_add_locked(s->capture->graph, s->deps, s->n_deps, op, &n));
    if (ret)
        *ret = n;
    return set_deps(s, &n, 1, false);
}

int dv_cucapture_op(struct dv_cuda_stream *stream, const struct dv_cugraph_op *op,
                    bool *ret_captured, struct dv_cuda_graph_node **ret_node)
{
    *ret_captured = false;
    if (!dv_cucapture_active(stream))
        return 0;
    dv_cu_lock();
    int r = 0;
    if (stream->capture) {
        *ret_captured = true;
        r = add_op_locked(stream, op, ret_node);
    }
    dv_cu_unlock();
    return r;
}

int dv_cucapture_forbid(struct dv_cuda_stream *stream)
{
    dv_cu_lock();
    if (stream->capture)
        stream->capture->invalid = true;
    dv_cu_unlock();
    return DV_CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

int dv_cucapture_unsafe(void)
{
    if (DV_CU_LIKELY(!__atomic_load_n(&P.captures, __ATOMIC_ACQUIRE)) ||
        thread_mode == DV_CUDA_CAPTURE_MODE_RELAXED)
        return 0;
    int r = 0;
    dv_cu_lock();
    for (struct dv_cugraph_capture *c = captures; c; c = c->next) {
        bool mine = pthread_equal(c->thread, pthread_self());
        if ((c->mode == DV_CUDA_CAPTURE_MODE_GLOBAL &&
             (mine || thread_mode == DV_CUDA_CAPTURE_MODE_GLOBAL)) ||
            (c->mode == DV_CUDA_CAPTURE_MODE_THREAD_LOCAL && mine)) {
            c->invalid = true;
            r = DV_CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
        }
    }
    dv_cu_unlock();
    return r;
}

int dv_cucapture_alloc(struct dv_cuda_stream *stream, int device, uint64_t bytes,
                       uint64_t *ret_address)
{
    struct dv_cugraph_op op = {.type = DV_CUDA_NODE_MEM_ALLOC, .bytes = bytes, .device = device};
    bool captured;
    dv_cu_lock();
    int r = dv_cugraph_reserve_locked(device, bytes, &op.address);
    dv_cu_unlock();
    DV_CU_TRY(r);
    DV_CU_TRY(dv_cucapture_op(stream, &op, &captured, NULL));
    *ret_address = op.address;
    return 0;
}

int dv_cucapture_free(struct dv_cuda_stream *stream, uint64_t address)
{
    struct dv_cugraph_op op = {.type = DV_CUDA_NODE_MEM_FREE, .address = address};
    bool captured;
    return dv_cucapture_op(stream, &op, &captured, NULL);
}

/* ---- events --------------------------------------------------------------------------------- */

static int remember_locked(struct dv_cuda_event *e, const struct dv_cuda_stream *s)
{
    struct dv_cuda_graph_node **deps = malloc((s->n_deps + 1) * sizeof(void *));
    DV_CU_REQUIRE(deps, DV_CUDA_ERROR_OUT_OF_MEMORY);
    if (s->n_deps)
        memcpy(deps, s->deps, s->n_deps * sizeof(void *));
    free(e->deps);
    e->deps = deps;
    e->n_deps = s->n_deps;
    e->capture_id = s->capture->id;
    return 0;
}

int dv_cucapture_event_record(struct dv_cuda_event *event, struct dv_cuda_stream *stream,
                              unsigned int flags)
{
    struct dv_cugraph_op op = {.type = DV_CUDA_NODE_RECORD_EVENT, .event = event};
    int r = DV_CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    dv_cu_lock();
    if (stream->capture && !stream->capture->invalid)
        r = flags & WAIT_EXTERNAL ? add_op_locked(stream, &op, NULL)
                                  : remember_locked(event, stream);
    dv_cu_unlock();
    return r;
}

/* A captured event: the waiting stream joins the capture, or gets an edge more. */
static int join_locked(struct dv_cuda_event *e, struct dv_cuda_stream *s)
{
    struct dv_cugraph_capture *c = by_id(e->capture_id);
    DV_CU_REQUIRE(c && s->kind != DV_CU_STREAM_LEGACY, DV_CUDA_ERROR_CAPTURED_EVENT);
    if (s->capture && s->capture != c) {
        s->capture->invalid = c->invalid = true;
        return DV_CUDA_ERROR_STREAM_CAPTURE_MERGE;
    }
    DV_CU_REQUIRE(!c->invalid, DV_CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    DV_CU_TRY(set_deps(s, e->deps, e->n_deps, s->capture == c));
    set_capture(s, c);
    return 0;
}

static int wait_locked(struct dv_cuda_event *e, struct dv_cuda_stream *s, unsigned int flags)
{
    struct dv_cugraph_op op = {.type = DV_CUDA_NODE_WAIT_EVENT, .event = e};
    if (e->capture_id)
        return join_locked(e, s);
    if (flags & WAIT_EXTERNAL)
        return add_op_locked(s, &op, NULL);
    s->capture->invalid = true;
    return DV_CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
}

int dv_cucapture_event_wait(struct dv_cuda_event *event, struct dv_cuda_stream *stream,
                            unsigned int flags, bool *ret_captured)
{
    *ret_captured = false;
    if (!event->capture_id && !dv_cucapture_active(stream))
        return 0;
    dv_cu_lock();
    *ret_captured = true;
    int r = wait_locked(event, stream, flags);
    dv_cu_unlock();
    return r;
}

/* ---- begin and end -------------------------------------------------------------------------- */

static int begin_locked(struct dv_cuda_stream *s, int mode, struct dv_cuda_graph *graph,
                        struct dv_cuda_graph_node *const *deps, size_t n)
{
    DV_CU_REQUIRE(!s->capture, DV_CUDA_ERROR_ILLEGAL_STATE);
    struct dv_cugraph_capture *c = calloc(1, sizeof(*c));
    struct dv_cuda_graph *g = graph ? graph : dv_cugraph_new_locked();
    if (!c || !g || set_deps(s, deps, n, false)) {
        free(c);
        if (!graph)
            dv_cugraph_free_locked(g);
        return DV_CUDA_ERROR_OUT_OF_MEMORY;
    }
    c->id = ++P.ids;
    c->graph = g;
    c->own_graph = !graph;
    c->origin = s;
    c->mode = mode;
    c->thread = pthread_self();
    c->next = captures;
    captures = c;
    set_capture(s, c);
    __atomic_add_fetch(&P.captures, 1, __ATOMIC_ACQ_REL);
    return 0;
}

static int begin(struct dv_cuda_stream *handle, int mode, struct dv_cuda_graph *graph,
                 struct dv_cuda_graph_node *const *deps, size_t n, bool per_thread)
{
    struct dv_cuda_stream *s;
    DV_CU_REQUIRE(mode >= 0 && mode <= DV_CUDA_CAPTURE_MODE_RELAXED && (deps || !n),
                  DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_custream_resolve(handle, per_thread, &s));
    DV_CU_REQUIRE(s->kind != DV_CU_STREAM_LEGACY, DV_CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    dv_cu_lock();
    int r = begin_locked(s, mode, graph, deps, n);
    dv_cu_unlock();
    return r;
}

static int begin_to_graph(struct dv_cuda_stream *handle, struct dv_cuda_graph *graph,
                          struct dv_cuda_graph_node *const *deps, size_t n, int mode,
                          bool per_thread)
{
    DV_CU_REQUIRE(dv_cuobject_is(graph, DV_CU_GRAPH), DV_CUDA_ERROR_INVALID_VALUE);
    return begin(handle, mode, graph, deps, n, per_thread);
}

dv_cuda_api_both(cuStreamBeginCapture, _ptsz, (struct dv_cuda_stream * stream),
                 begin(stream, DV_CUDA_CAPTURE_MODE_GLOBAL, NULL, NULL, 0, per_thread));
dv_cuda_api_both(cuStreamBeginCapture_v2, _ptsz, (struct dv_cuda_stream * stream, int mode),
                 begin(stream, mode, NULL, NULL, 0, per_thread));
dv_cuda_api_both(cuStreamBeginCaptureToGraph, _ptsz,
                 (struct dv_cuda_stream * stream, struct dv_cuda_graph *graph,
                  struct dv_cuda_graph_node *const *deps, const void *edges, size_t n, int mode),
                 begin_to_graph(stream, graph, deps, n, mode, per_thread));

/* Every end of the graph must be among what the origin's next operation would come after. */
static bool all_joined(const struct dv_cugraph_capture *c)
{
    for (const struct dv_cuda_graph_node *n = c->graph->first; n; n = n->next) {
        bool found = n->has_successor;
        for (size_t i = 0; i < c->origin->n_deps && !found; i++)
            found = c->origin->deps[i] == n;
        if (!found)
            return false;
    }
    return true;
}

static void forget_locked(struct dv_cugraph_capture *c)
{
    for (struct dv_cuda_ctx *ctx = P.contexts; ctx; ctx = ctx->next)
        for (struct dv_cuda_stream *s = ctx->streams; s; s = s->next)
            if (s->capture == c) {
                set_capture(s, NULL);
                free(s->deps);
                s->deps = NULL;
                s->n_deps = 0;
            }
    for (struct dv_cugraph_capture **p = &captures; *p; p = &(*p)->next)
        if (*p == c) {
            *p = c->next;
            break;
        }
    __atomic_sub_fetch(&P.captures, 1, __ATOMIC_ACQ_REL);
    free(c);
}

static int end_locked(struct dv_cuda_stream *s, struct dv_cuda_graph **ret)
{
    struct dv_cugraph_capture *c = s->capture;
    DV_CU_REQUIRE(c, DV_CUDA_ERROR_ILLEGAL_STATE);
    DV_CU_REQUIRE(c->origin == s, DV_CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
    DV_CU_REQUIRE(c->mode == DV_CUDA_CAPTURE_MODE_RELAXED ||
                      pthread_equal(c->thread, pthread_self()),
                  DV_CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
    int r = 0;
    if (c->invalid)
        r = DV_CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    else if (c->own_graph && !all_joined(c))
        r = DV_CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
    *ret = r ? NULL : c->graph;
    if (r && c->own_graph)
        dv_cugraph_free_locked(c->graph);
    forget_locked(c);
    return r;
}

static int end(struct dv_cuda_stream *handle, struct dv_cuda_graph **ret, bool per_thread)
{
    struct dv_cuda_stream *s;
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_custream_resolve(handle, per_thread, &s));
    dv_cu_lock();
    int r = end_locked(s, ret);
    dv_cu_unlock();
    return r;
}

dv_cuda_api_both(cuStreamEndCapture, _ptsz,
                 (struct dv_cuda_stream * stream, struct dv_cuda_graph **ret),
                 end(stream, ret, per_thread));

/* ---- asking --------------------------------------------------------------------------------- */

struct info {
    int status;
    uint64_t id;
    struct dv_cuda_graph *graph;
    struct dv_cuda_graph_node **deps;
    size_t n_deps;
};

static int get_info(struct dv_cuda_stream *handle, bool per_thread, struct info *ret)
{
    struct dv_cuda_stream *s;
    *ret = (struct info){.status = DV_CUDA_CAPTURE_NONE};
    DV_CU_TRY(dv_custream_resolve(handle, per_thread, &s));
    dv_cu_lock();
    const struct dv_cugraph_capture *c = s->capture;
    if (c)
        *ret = (struct info){.status =
                                 c->invalid ? DV_CUDA_CAPTURE_INVALIDATED : DV_CUDA_CAPTURE_ACTIVE,
                             .id = c->id,
                             .graph = c->graph,
                             .deps = s->deps,
                             .n_deps = s->n_deps};
    dv_cu_unlock();
    return 0;
}

static int is_capturing(struct dv_cuda_stream *handle, int *ret, bool per_thread)
{
    struct info i;
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(get_info(handle, per_thread, &i));
    *ret = i.status;
    return 0;
}

dv_cuda_api_both(cuStreamIsCapturing, _ptsz, (struct dv_cuda_stream * stream, int *ret),
                 is_capturing(stream, ret, per_thread));

static int capture_info(struct dv_cuda_stream *handle, int *ret_status, uint64_t *ret_id,
                        struct dv_cuda_graph **ret_graph,
                        struct dv_cuda_graph_node *const **ret_deps, const void **ret_edges,
                        size_t *ret_n, bool per_thread)
{
    struct info i;
    DV_CU_REQUIRE(ret_status, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(get_info(handle, per_thread, &i));
    *ret_status = i.status;
    if (i.status != DV_CUDA_CAPTURE_ACTIVE)
        return 0;
    if (ret_id)
        *ret_id = i.id;
    if (ret_graph)
        *ret_graph = i.graph;
    if (ret_deps)
        *ret_deps = i.deps;
    if (ret_edges)
        *ret_edges = NULL;
    if (ret_n)
        *ret_n = i.n_deps;
    return 0;
}

dv_cuda_api_both(cuStreamGetCaptureInfo, _ptsz,
                 (struct dv_cuda_stream * stream, int *ret_status, uint64_t *ret_id),
                 capture_info(stream, ret_status, ret_id, NULL, NULL, NULL, NULL, per_thread));
dv_cuda_api_both(cuStreamGetCaptureInfo_v2, _ptsz,
                 (struct dv_cuda_stream * stream, int *ret_status, uint64_t *ret_id,
                  struct dv_cuda_graph **ret_graph, struct dv_cuda_graph_node *const **ret_deps,
                  size_t *ret_n),
                 capture_info(stream, ret_status, ret_id, ret_graph, ret_deps, NULL, ret_n,
                              per_thread));
dv_cuda_api_both(cuStreamGetCaptureInfo_v3, _ptsz,
                 (struct dv_cuda_stream * stream, int *ret_status, uint64_t *ret_id,
                  struct dv_cuda_graph **ret_graph, struct dv_cuda_graph_node *const **ret_deps,
                  const void **ret_edges, size_t *ret_n),
                 capture_info(stream, ret_status, ret_id, ret_graph, ret_deps, ret_edges, ret_n,
                              per_thread));

static int update_deps(struct dv_cuda_stream *handle, struct dv_cuda_graph_node *const *deps,
                       size_t n, unsigned int flags, bool per_thread)
{
    struct dv_cuda_stream *s;
    DV_CU_REQUIRE(flags <= 1 && (deps || !n), DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_custream_resolve(handle, per_thread, &s));
    dv_cu_lock();
    int r = s->capture ? set_deps(s, deps, n, flags == 0) : DV_CUDA_ERROR_ILLEGAL_STATE;
    dv_cu_unlock();
    return r;
}

dv_cuda_api_both(cuStreamUpdateCaptureDependencies, _ptsz,
                 (struct dv_cuda_stream * stream, struct dv_cuda_graph_node *const *deps, size_t n,
                  unsigned int flags),
                 update_deps(stream, deps, n, flags, per_thread));
dv_cuda_api_both(cuStreamUpdateCaptureDependencies_v2, _ptsz,
                 (struct dv_cuda_stream * stream, struct dv_cuda_graph_node *const *deps,
                  const void *edges, size_t n, unsigned int flags),
                 update_deps(stream, deps, n, flags, per_thread));

dv_cuda_api(cuThreadExchangeStreamCaptureMode, int *mode)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(mode && *mode >= 0 && *mode <= DV_CUDA_CAPTURE_MODE_RELAXED,
                  DV_CUDA_ERROR_INVALID_VALUE);
    int old = thread_mode;
    thread_mode = *mode;
    *mode = old;
    return 0;
}
