/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instantiated graphs: the operations in order, child graphs in line. Memory of allocation nodes is
 * charged when the graph is instantiated and given back with the executable graph; that is sooner
 * than on hardware, where the first launch does it.
 */
#include "graph.h"

struct step {
    struct dv_cugraph_op op;
    const struct dv_cuda_graph_node *node; /* it came from; may be gone */
    uint64_t handle;                       /* of an allocation's charge */
};

struct dv_cuda_graph_exec {
    struct dv_cuobject object;
    struct step *steps;
    size_t n, capacity;
    uint64_t flags;
};

/* ---- making them ---------------------------------------------------------------------------- */

static int add_step(struct dv_cuda_graph_exec *e, const struct dv_cuda_graph_node *node)
{
    DV_CU_REQUIRE(e->n < DV_CU_GRAPH_NODES_MAX, DV_CUDA_ERROR_OUT_OF_MEMORY);
    if (e->n == e->capacity) {
        size_t capacity = e->capacity ? 2 * e->capacity : 16;
        struct step *steps = realloc(e->steps, capacity * sizeof(*steps));
        DV_CU_REQUIRE(steps, DV_CUDA_ERROR_OUT_OF_MEMORY);
        e->steps = steps;
        e->capacity = capacity;
    }
    e->steps[e->n++] = (struct step){.op = node->op, .node = node};
    return 0;
}

static int flatten_locked(struct dv_cuda_graph_exec *e, struct dv_cuda_graph *graph, int depth)
{
    struct dv_cuda_graph_node **order;
    DV_CU_REQUIRE(depth < DV_CU_GRAPH_DEPTH_MAX, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_cugraph_order_locked(graph, &order));
    int r = 0;
    for (size_t i = 0; i < graph->n && r == 0; i++)
        r = order[i]->op.child ? flatten_locked(e, order[i]->op.child, depth + 1)
                               : add_step(e, order[i]);
    free(order);
    return r;
}

static struct dv_cuda_ctx *context_on_locked(int device)
{
    for (struct dv_cuda_ctx *c = P.contexts; c; c = c->next)
        if (c->device == device)
            return c;
    return NULL;
}

static int charge_locked(struct dv_cuda_graph_exec *e)
{
    for (size_t i = 0; i < e->n; i++) {
        struct step *s = &e->steps[i];
        struct dv_sim_mem_allocated got;
        if (s->op.type != DV_CUDA_NODE_MEM_ALLOC)
            continue;
        struct dv_cuda_ctx *ctx = context_on_locked(s->op.device);
        DV_CU_REQUIRE(ctx, DV_CUDA_ERROR_INVALID_CONTEXT);
        DV_CU_TRY(dv_cumem_charge_locked(ctx, DV_SIM_MEM_POOL, s->op.bytes, &got));
        s->handle = got.handle;
        struct dv_cudevice *d = &P.device[s->op.device];
        d->graph_used += s->op.bytes;
        d->graph_high = DV_CU_MAX(d->graph_high, d->graph_used);
    }
    return 0;
}

static void free_exec_locked(struct dv_cuda_graph_exec *e)
{
    for (size_t i = 0; i < e->n; i++) {
        if (e->steps[i].handle)
            P.device[e->steps[i].op.device].graph_used -= e->steps[i].op.bytes;
        dv_cumem_uncharge_locked(e->steps[i].handle);
    }
    free(e->steps);
    e->steps = NULL;
    dv_cuobject_free(e);
}

static int instantiate(struct dv_cuda_graph_exec **ret, struct dv_cuda_graph *graph, uint64_t flags)
{
    DV_CU_REQUIRE(ret && !(flags & ~UINT64_C(15)), DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(!(flags & 4), DV_CUDA_ERROR_NOT_SUPPORTED); /* launch from the device */
    dv_cu_lock();
    struct dv_cuda_graph_exec *e = NULL;
    int r = DV_CUDA_ERROR_INVALID_VALUE;
    if (dv_cuobject_is(graph, DV_CU_GRAPH)) {
        e = dv_cuobject_new(DV_CU_EXEC, sizeof(*e));
        r = e ? flatten_locked(e, graph, 0) : DV_CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (r == 0)
        r = charge_locked(e);
    if (r == 0) {
        e->flags = flags;
        *ret = e;
    } else if (e) {
        free_exec_locked(e);
    }
    dv_cu_unlock();
    return r;
}

static int instantiate_logged(struct dv_cuda_graph_exec **ret, struct dv_cuda_graph *graph,
                              struct dv_cuda_graph_node **ret_node, char *log, size_t log_size)
{
    if (ret_node)
        *ret_node = NULL;
    if (log && log_size)
        log[0] = '\0';
    return instantiate(ret, graph, 0);
}

dv_cuda_api(cuGraphInstantiate, struct dv_cuda_graph_exec **ret, struct dv_cuda_graph *graph,
            struct dv_cuda_graph_node **ret_node, char *log, size_t log_size)
{
    DV_CU_ENTER();
    return instantiate_logged(ret, graph, ret_node, log, log_size);
}

dv_cuda_api(cuGraphInstantiate_v2, struct dv_cuda_graph_exec **ret, struct dv_cuda_graph *graph,
            struct dv_cuda_graph_node **ret_node, char *log, size_t log_size)
{
    DV_CU_ENTER();
    return instantiate_logged(ret, graph, ret_node, log, log_size);
}

dv_cuda_api(cuGraphInstantiateWithFlags, struct dv_cuda_graph_exec **ret,
            struct dv_cuda_graph *graph, unsigned long long flags)
{
    DV_CU_ENTER();
    return instantiate(ret, graph, flags);
}

static int instantiate_params(struct dv_cuda_graph_exec **ret, struct dv_cuda_graph *graph,
                              struct dv_cuda_graph_instantiate_params *params)
{
    DV_CU_REQUIRE(params, DV_CUDA_ERROR_INVALID_VALUE);
    int r = instantiate(ret, graph, params->flags);
    params->error_node = NULL;
    params->result = r ? 1 : 0;
    return r;
}

dv_cuda_api_both(cuGraphInstantiateWithParams, _ptsz,
                 (struct dv_cuda_graph_exec * *ret, struct dv_cuda_graph *graph,
                  struct dv_cuda_graph_instantiate_params *params),
                 instantiate_params(ret, graph, params));

dv_cuda_api(cuGraphExecDestroy, struct dv_cuda_graph_exec *exec)
{
    DV_CU_ENTER();
    dv_cu_lock();
    bool valid = dv_cuobject_is(exec, DV_CU_EXEC);
    if (valid)
        free_exec_locked(exec);
    dv_cu_unlock();
    return valid ? 0 : DV_CUDA_ERROR_INVALID_VALUE;
}

dv_cuda_api(cuGraphExecGetFlags, struct dv_cuda_graph_exec *exec, unsigned long long *ret)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret && dv_cuobject_is(exec, DV_CU_EXEC), DV_CUDA_ERROR_INVALID_VALUE);
    *ret = exec->flags;
    return 0;
}

/* ---- running them --------------------------------------------------------------------------- */

static int run_step(struct dv_cuda_stream *stream, const struct dv_cugraph_op *op)
{
    switch (op->type) {
    case DV_CUDA_NODE_KERNEL:
        DV_CU_REQUIRE(op->launch.function->module &&
                          op->launch.function->module->ctx == stream->ctx,
                      DV_CUDA_ERROR_INVALID_CONTEXT);
        return dv_culaunch_submit(stream, &op->launch);
    case DV_CUDA_NODE_MEMCPY:
    case DV_CUDA_NODE_MEMSET:
        return dv_cutransfer_submit(stream, &op->transfer, false);
    case DV_CUDA_NODE_HOST:
        return dv_custream_host(stream, &op->host);
    case DV_CUDA_NODE_RECORD_EVENT:
        DV_CU_REQUIRE(dv_cuobject_is(op->event, DV_CU_EVENT), DV_CUDA_ERROR_INVALID_HANDLE);
        return dv_cuevent_record(op->event, stream);
    case DV_CUDA_NODE_WAIT_EVENT:
        DV_CU_REQUIRE(dv_cuobject_is(op->event, DV_CU_EVENT), DV_CUDA_ERROR_INVALID_HANDLE);
        return dv_cuevent_wait(op->event, stream);
    default:
        return 0;
    }
}

static int capture_launch(struct dv_cuda_stream *stream, const struct dv_cuda_graph_exec *exec)
{
    bool captured;
    for (size_t i = 0; i < exec->n; i++)
        DV_CU_TRY(dv_cucapture_op(stream, &exec->steps[i].op, &captured, NULL));
    return 0;
}

static int launch(struct dv_cuda_graph_exec *exec, struct dv_cuda_stream *handle, bool per_thread)
{
    struct dv_cuda_stream *s;
    DV_CU_REQUIRE(dv_cuobject_is(exec, DV_CU_EXEC), DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_custream_resolve(handle, per_thread, &s));
    if (dv_cucapture_active(s))
        return capture_launch(s, exec);
    for (size_t i = 0; i < exec->n; i++)
        DV_CU_TRY(run_step(s, &exec->steps[i].op));
    return exec->n ? 0 : dv_curing_submit(s, DV_SIM_CMD_MARK, 0, 0, NULL);
}

dv_cuda_api_both(cuGraphLaunch, _ptsz,
                 (struct dv_cuda_graph_exec * exec, struct dv_cuda_stream *stream),
                 launch(exec, stream, per_thread));

static int upload(struct dv_cuda_graph_exec *exec, struct dv_cuda_stream *handle, bool per_thread)
{
    struct dv_cuda_stream *s;
    DV_CU_REQUIRE(dv_cuobject_is(exec, DV_CU_EXEC), DV_CUDA_ERROR_INVALID_VALUE);
    return dv_custream_resolve(handle, per_thread, &s);
}

dv_cuda_api_both(cuGraphUpload, _ptsz,
                 (struct dv_cuda_graph_exec * exec, struct dv_cuda_stream *stream),
                 upload(exec, stream, per_thread));

/* ---- changing them -------------------------------------------------------------------------- */

/* The same types in the same order, and no memory of its own: else it is another graph. */
static int compare(const struct dv_cuda_graph_exec *a, const struct dv_cuda_graph_exec *b)
{
    if (a->n != b->n)
        return DV_CUDA_UPDATE_TOPOLOGY_CHANGED;
    for (size_t i = 0; i < a->n; i++) {
        if (a->steps[i].op.type != b->steps[i].op.type)
            return DV_CUDA_UPDATE_NODE_TYPE_CHANGED;
        if (a->steps[i].op.type == DV_CUDA_NODE_MEM_ALLOC)
            return DV_CUDA_UPDATE_NOT_SUPPORTED;
    }
    return DV_CUDA_UPDATE_SUCCESS;
}

static int update(struct dv_cuda_graph_exec *exec, struct dv_cuda_graph *graph, int *ret_result)
{
    struct dv_cuda_graph_exec fresh = {0};
    DV_CU_REQUIRE(dv_cuobject_is(exec, DV_CU_EXEC) && dv_cuobject_is(graph, DV_CU_GRAPH),
                  DV_CUDA_ERROR_INVALID_VALUE);
    dv_cu_lock();
    int r = flatten_locked(&fresh, graph, 0);
    *ret_result = r ? DV_CUDA_UPDATE_ERROR : compare(exec, &fresh);
    if (*ret_result == DV_CUDA_UPDATE_SUCCESS) {
        struct step *old = exec->steps;
        exec->steps = fresh.steps;
        exec->capacity = fresh.capacity;
        fresh.steps = old;
    }
    dv_cu_unlock();
    free(fresh.steps);
    return *ret_result ? DV_CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE : 0;
}

dv_cuda_api(cuGraphExecUpdate, struct dv_cuda_graph_exec *exec, struct dv_cuda_graph *graph,
            struct dv_cuda_graph_node **ret_node, int *ret_result)
{
    DV_CU_ENTER();
    int result = DV_CUDA_UPDATE_ERROR;
    int r = update(exec, graph, &result);
    if (ret_node)
        *ret_node = NULL;
    if (ret_result)
        *ret_result = result;
    return r;
}

dv_cuda_api(cuGraphExecUpdate_v2, struct dv_cuda_graph_exec *exec, struct dv_cuda_graph *graph,
            struct dv_cuda_graph_update_info *ret)
{
    DV_CU_ENTER();
    int result = DV_CUDA_UPDATE_ERROR;
    int r = update(exec, graph, &result);
    if (ret)
        *ret = (struct dv_cuda_graph_update_info){.result = result};
    return r;
}

static int set_kernel(struct dv_cuda_graph_exec *exec, const struct dv_cuda_graph_node *node,
                      const struct dv_cuda_kernel_node_params *params, bool v2)
{
    struct dv_cugraph_op op;
    DV_CU_REQUIRE(dv_cuobject_is(exec, DV_CU_EXEC), DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_cugraph_kernel_op(params, v2, &op));
    for (size_t i = 0; i < exec->n; i++)
        if (exec->steps[i].node == node && exec->steps[i].op.type == DV_CUDA_NODE_KERNEL) {
            exec->steps[i].op = op;
            return 0;
        }
    return DV_CUDA_ERROR_INVALID_VALUE;
}

dv_cuda_api(cuGraphExecKernelNodeSetParams, struct dv_cuda_graph_exec *exec,
            struct dv_cuda_graph_node *node, const struct dv_cuda_kernel_node_params *params)
{
    DV_CU_ENTER();
    return set_kernel(exec, node, params, false);
}

dv_cuda_api(cuGraphExecKernelNodeSetParams_v2, struct dv_cuda_graph_exec *exec,
            struct dv_cuda_graph_node *node, const struct dv_cuda_kernel_node_params *params)
{
    DV_CU_ENTER();
    return set_kernel(exec, node, params, true);
}

/* ---- memory of graphs ----------------------------------------------------------------------- */

/* 0 used, 1 used high, 2 reserved, 3 reserved high: what is reserved is used here. */
dv_cuda_api(cuDeviceGetGraphMemAttribute, int device, int attribute, void *ret)
{
    DV_CU_ENTER();
    struct dv_cudevice *d = dv_cudevice_get(device);
    DV_CU_REQUIRE(d, DV_CUDA_ERROR_INVALID_DEVICE);
    DV_CU_REQUIRE(ret && attribute >= 0 && attribute <= 3, DV_CUDA_ERROR_INVALID_VALUE);
    dv_cu_lock();
    memcpy(ret, attribute % 2 ? &d->graph_high : &d->graph_used, sizeof(uint64_t));
    dv_cu_unlock();
    return 0;
}

dv_cuda_api(cuDeviceSetGraphMemAttribute, int device, int attribute, void *value)
{
    DV_CU_ENTER();
    struct dv_cudevice *d = dv_cudevice_get(device);
    DV_CU_REQUIRE(d, DV_CUDA_ERROR_INVALID_DEVICE);
    DV_CU_REQUIRE(value && (attribute == 1 || attribute == 3), DV_CUDA_ERROR_INVALID_VALUE);
    dv_cu_lock();
    d->graph_high = d->graph_used;
    dv_cu_unlock();
    return 0;
}

dv_cuda_api(cuDeviceGraphMemTrim, int device)
{
    DV_CU_ENTER();
    return dv_cudevice_get(device) ? 0 : DV_CUDA_ERROR_INVALID_DEVICE;
}
