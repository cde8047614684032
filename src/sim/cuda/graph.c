/* SPDX-License-Identifier: Apache-2.0 */
/* Building graphs. */
#include "graph.h"

static uint64_t epoch; /* P.lock */

struct dv_cuda_graph *dv_cugraph_new_locked(void)
{
    struct dv_cuda_graph *g = dv_cuobject_new(DV_CU_GRAPH, sizeof(*g));
    if (g)
        g->end = &g->first;
    return g;
}

static void free_node(struct dv_cuda_graph_node *n)
{
    dv_cugraph_free_locked(n->op.child);
    free(n->deps);
    n->deps = NULL;
    dv_cuobject_free(n);
}

void dv_cugraph_free_locked(struct dv_cuda_graph *graph)
{
    if (!graph)
        return;
    while (graph->first) {
        struct dv_cuda_graph_node *n = graph->first;
        graph->first = n->next;
        free_node(n);
    }
    dv_cuobject_free(graph);
}

static bool all_of(const struct dv_cuda_graph *graph, struct dv_cuda_graph_node *const *nodes,
                   size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!dv_cuobject_is(nodes[i], DV_CU_NODE) || nodes[i]->graph != graph)
            return false;
    return true;
}

int dv_cugraph_add_locked(struct dv_cuda_graph *graph, struct dv_cuda_graph_node *const *deps,
                          size_t n_deps, const struct dv_cugraph_op *op,
                          struct dv_cuda_graph_node **ret)
{
    DV_CU_REQUIRE(graph->n < DV_CU_GRAPH_NODES_MAX && n_deps < DV_CU_GRAPH_NODES_MAX,
                  DV_CUDA_ERROR_OUT_OF_MEMORY);
    DV_CU_REQUIRE(all_of(graph, deps, n_deps), DV_CUDA_ERROR_INVALID_VALUE);
    struct dv_cuda_graph_node *n = dv_cuobject_new(DV_CU_NODE, sizeof(*n));
    struct dv_cuda_graph_node **copy = malloc((n_deps ? n_deps : 1) * sizeof(void *));
    if (!n || !copy) {
        dv_cuobject_free(n);
        free(copy);
        return DV_CUDA_ERROR_OUT_OF_MEMORY;
    }
    for (size_t i = 0; i < n_deps; i++) {
        copy[i] = deps[i];
        deps[i]->has_successor = true;
    }
    n->graph = graph;
    n->deps = copy;
    n->n_deps = n_deps;
    n->op = *op;
    *graph->end = n;
    graph->end = &n->next;
    graph->n++;
    if (ret)
        *ret = n;
    return 0;
}

int dv_cugraph_clone_locked(const struct dv_cuda_graph *graph, struct dv_cuda_graph **ret)
{
    struct dv_cuda_graph *g = dv_cugraph_new_locked();
    int r = g ? 0 : DV_CUDA_ERROR_OUT_OF_MEMORY;
    for (struct dv_cuda_graph_node *n = graph->first; n && r == 0; n = n->next) {
        struct dv_cugraph_op op = n->op;
        if (op.child)
            r = dv_cugraph_clone_locked(op.child, &op.child);
        if (r == 0)
            r = dv_cugraph_add_locked(g, NULL, 0, &op, &n->copy);
    }
    for (struct dv_cuda_graph_node *n = graph->first; n && r == 0; n = n->next) {
        struct dv_cuda_graph_node **list = malloc((n->n_deps + 1) * sizeof(void *));
        if (!list) {
            r = DV_CUDA_ERROR_OUT_OF_MEMORY;
            break;
        }
        for (size_t i = 0; i < n->n_deps; i++)
            list[i] = n->deps[i]->copy;
        free(n->copy->deps);
        n->copy->deps = list;
        n->copy->n_deps = n->n_deps;
        n->copy->has_successor = n->has_successor;
    }
    if (r)
        dv_cugraph_free_locked(g);
    else
        *ret = g;
    return r;
}

static bool ready(const struct dv_cuda_graph_node *n)
{
    for (size_t i = 0; i < n->n_deps; i++)
        if (n->deps[i]->mark != epoch)
            return false;
    return true;
}

/* Passes over the list until nothing new can go: one pass where nodes were made in order. */
int dv_cugraph_order_locked(struct dv_cuda_graph *graph, struct dv_cuda_graph_node ***ret)
{
    struct dv_cuda_graph_node **order = malloc((graph->n + 1) * sizeof(void *));
    DV_CU_REQUIRE(order, DV_CUDA_ERROR_OUT_OF_MEMORY);
    size_t done = 0, before;
    epoch++;
    do {
        before = done;
        for (struct dv_cuda_graph_node *n = graph->first; n; n = n->next)
            if (n->mark != epoch && ready(n)) {
                n->mark = epoch;
                order[done++] = n;
            }
    } while (done < graph->n && done > before);
    if (done < graph->n) {
        free(order);
        return DV_CUDA_ERROR_INVALID_VALUE;
    }
    *ret = order;
    return 0;
}

/* The addresses stay this process's for good, as a graph and what was made of it live apart. */
int dv_cugraph_reserve_locked(int device, uint64_t bytes, uint64_t *ret_address)
{
    DV_CU_REQUIRE(bytes, DV_CUDA_ERROR_INVALID_VALUE);
    void *at = dv_cumem_reserve(bytes, UINT64_C(2) << 20, NULL);
    DV_CU_REQUIRE(at, DV_CUDA_ERROR_OUT_OF_MEMORY);
    struct dv_cumem mem = {.address = (uintptr_t)at,
                           .bytes = bytes,
                           .kind = DV_CU_MEM_GRAPH,
                           .device = device,
                           .content = dv_cucontent_new(bytes)};
    int r = mem.content ? dv_cumem_insert_locked(&mem, NULL) : DV_CUDA_ERROR_OUT_OF_MEMORY;
    dv_cucontent_unref(mem.content);
    if (r == 0)
        *ret_address = mem.address;
    return r;
}

/* ---- graphs --------------------------------------------------------------------------------- */

static int check(const struct dv_cuda_graph *graph)
{
    return dv_cuobject_is(graph, DV_CU_GRAPH) ? 0 : DV_CUDA_ERROR_INVALID_VALUE;
}

dv_cuda_api(cuGraphCreate, struct dv_cuda_graph **ret, unsigned int flags)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret && flags == 0, DV_CUDA_ERROR_INVALID_VALUE);
    dv_cu_lock();
    *ret = dv_cugraph_new_locked();
    dv_cu_unlock();
    return *ret ? 0 : DV_CUDA_ERROR_OUT_OF_MEMORY;
}

dv_cuda_api(cuGraphDestroy, struct dv_cuda_graph *graph)
{
    DV_CU_ENTER();
    dv_cu_lock();
    int r = check(graph);
    if (r == 0)
        dv_cugraph_free_locked(graph);
    dv_cu_unlock();
    return r;
}

dv_cuda_api(cuGraphClone, struct dv_cuda_graph **ret, struct dv_cuda_graph *graph)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    dv_cu_lock();
    int r = check(graph);
    if (r == 0)
        r = dv_cugraph_clone_locked(graph, ret);
    dv_cu_unlock();
    return r;
}

static int list_nodes(struct dv_cuda_graph *graph, struct dv_cuda_graph_node **ret, size_t *ret_n,
                      bool roots)
{
    size_t n = 0;
    DV_CU_REQUIRE(ret_n, DV_CUDA_ERROR_INVALID_VALUE);
    dv_cu_lock();
    int r = check(graph);
    for (struct dv_cuda_graph_node *i = r ? NULL : graph->first; i; i = i->next) {
        if (roots && i->n_deps)
            continue;
        if (ret && n < *ret_n)
            ret[n] = i;
        n++;
    }
    dv_cu_unlock();
    if (r == 0)
        *ret_n = ret ? DV_CU_MIN(n, *ret_n) : n;
    return r;
}

dv_cuda_api(cuGraphGetNodes, struct dv_cuda_graph *graph, struct dv_cuda_graph_node **ret,
            size_t *ret_n)
{
    DV_CU_ENTER();
    return list_nodes(graph, ret, ret_n, false);
}

dv_cuda_api(cuGraphGetRootNodes, struct dv_cuda_graph *graph, struct dv_cuda_graph_node **ret,
            size_t *ret_n)
{
    DV_CU_ENTER();
    return list_nodes(graph, ret, ret_n, true);
}

/* ---- nodes ---------------------------------------------------------------------------------- */

int dv_cugraph_add_op(struct dv_cuda_graph_node **ret, struct dv_cuda_graph *graph,
                      struct dv_cuda_graph_node *const *deps, size_t n_deps,
                      const struct dv_cugraph_op *op)
{
    DV_CU_REQUIRE(ret && (deps || !n_deps), DV_CUDA_ERROR_INVALID_VALUE);
    dv_cu_lock();
    int r = check(graph);
    if (r == 0)
        r = dv_cugraph_add_locked(graph, deps, n_deps, op, ret);
    dv_cu_unlock();
    return r;
}

/* _v1 ends before kernel and context. */
int dv_cugraph_kernel_op(const struct dv_cuda_kernel_node_params *p, bool v2,
                         struct dv_cugraph_op *ret)
{
    struct dv_cuda_ctx *ctx;
    DV_CU_REQUIRE(p, DV_CUDA_ERROR_INVALID_VALUE);
    struct dv_cuda_function *f =
        p->function || !v2 ? p->function : (struct dv_cuda_function *)p->kernel;
    DV_CU_TRY(dv_cuctx_resolve(v2 ? p->context : NULL, &ctx));
    *ret = (struct dv_cugraph_op){.type = DV_CUDA_NODE_KERNEL, .ctx = ctx};
    return dv_culaunch_prepare(ctx, f, p->grid, p->block, p->shared_bytes, p->params, p->extra,
                               false, &ret->launch);
}

static int add_kernel(struct dv_cuda_graph_node **ret, struct dv_cuda_graph *graph,
                      struct dv_cuda_graph_node *const *deps, size_t n,
                      const struct dv_cuda_kernel_node_params *params, bool v2)
{
    struct dv_cugraph_op op;
    DV_CU_TRY(dv_cugraph_kernel_op(params, v2, &op));
    return dv_cugraph_add_op(ret, graph, deps, n, &op);
}

dv_cuda_api(cuGraphAddKernelNode, struct dv_cuda_graph_node **ret, struct dv_cuda_graph *graph,
            struct dv_cuda_graph_node *const *deps, size_t n,
            const struct dv_cuda_kernel_node_params *params)
{
    DV_CU_ENTER();
    return add_kernel(ret, graph, deps, n, params, false);
}

dv_cuda_api(cuGraphAddKernelNode_v2, struct dv_cuda_graph_node **ret, struct dv_cuda_graph *graph,
            struct dv_cuda_graph_node *const *deps, size_t n,
            const struct dv_cuda_kernel_node_params *params)
{
    DV_CU_ENTER();
    return add_kernel(ret, graph, deps, n, params, true);
}

dv_cuda_api(cuGraphAddMemcpyNode, struct dv_cuda_graph_node **ret, struct dv_cuda_graph *graph,
            struct dv_cuda_graph_node *const *deps, size_t n,
            const struct dv_cuda_memcpy_3d *params, struct dv_cuda_ctx *ctx)
{
    DV_CU_ENTER();
    struct dv_cugraph_op op = {.type = DV_CUDA_NODE_MEMCPY};
    DV_CU_REQUIRE(params, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_cutransfer_from_3d(params, &op.transfer));
    return dv_cugraph_add_op(ret, graph, deps, n, &op);
}

dv_cuda_api(cuGraphAddMemsetNode, struct dv_cuda_graph_node **ret, struct dv_cuda_graph *graph,
            struct dv_cuda_graph_node *const *deps, size_t n,
            const struct dv_cuda_memset_node_params *params, struct dv_cuda_ctx *ctx)
{
    DV_CU_ENTER();
    struct dv_cugraph_op op = {.type = DV_CUDA_NODE_MEMSET};
    DV_CU_REQUIRE(params, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_cutransfer_from_memset(params, &op.transfer));
    return dv_cugraph_add_op(ret, graph, deps, n, &op);
}

dv_cuda_api(cuGraphAddHostNode, struct dv_cuda_graph_node **ret, struct dv_cuda_graph *graph,
            struct dv_cuda_graph_node *const *deps, size_t n,
            const struct dv_cuda_host_node_params *params)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(params && params->fn, DV_CUDA_ERROR_INVALID_VALUE);
    struct dv_cugraph_op op = {.type = DV_CUDA_NODE_HOST, .host = *params};
    return dv_cugraph_add_op(ret, graph, deps, n, &op);
}

dv_cuda_api(cuGraphAddEmptyNode, struct dv_cuda_graph_node **ret, struct dv_cuda_graph *graph,
            struct dv_cuda_graph_node *const *deps, size_t n)
{
    DV_CU_ENTER();
    struct dv_cugraph_op op = {.type = DV_CUDA_NODE_EMPTY};
    return dv_cugraph_add_op(ret, graph, deps, n, &op);
}

static int add_event(struct dv_cuda_graph_node **ret, struct dv_cuda_graph *graph,
                     struct dv_cuda_graph_node *const *deps, size_t n, struct dv_cuda_event *event,
                     int type)
{
    DV_CU_REQUIRE(dv_cuobject_is(event, DV_CU_EVENT), DV_CUDA_ERROR_INVALID_HANDLE);
    struct dv_cugraph_op op = {.type = type, .event = event};
    return dv_cugraph_add_op(ret, graph, deps, n, &op);
}

dv_cuda_api(cuGraphAddEventRecordNode, struct dv_cuda_graph_node **ret, struct dv_cuda_graph *graph,
            struct dv_cuda_graph_node *const *deps, size_t n, struct dv_cuda_event *event)
{
    DV_CU_ENTER();
    return add_event(ret, graph, deps, n, event, DV_CUDA_NODE_RECORD_EVENT);
}

dv_cuda_api(cuGraphAddEventWaitNode, struct dv_cuda_graph_node **ret, struct dv_cuda_graph *graph,
            struct dv_cuda_graph_node *const *deps, size_t n, struct dv_cuda_event *event)
{
    DV_CU_ENTER();
    return add_event(ret, graph, deps, n, event, DV_CUDA_NODE_WAIT_EVENT);
}

static int add_child(struct dv_cuda_graph_node **ret, struct dv_cuda_graph *graph,
                     struct dv_cuda_graph_node *const *deps, size_t n,
                     const struct dv_cuda_graph *child)
{
    struct dv_cugraph_op op = {.type = DV_CUDA_NODE_GRAPH};
    DV_CU_REQUIRE(ret && (deps || !n) && child != graph, DV_CUDA_ERROR_INVALID_VALUE);
    dv_cu_lock();
    int r = check(graph);
    if (r == 0)
        r = check(child);
    if (r == 0)
        r = dv_cugraph_clone_locked(child, &op.child);
    if (r == 0) {
        r = dv_cugraph_add_locked(graph, deps, n, &op, ret);
        if (r)
            dv_cugraph_free_locked(op.child);
    }
    dv_cu_unlock();
    return r;
}

dv_cuda_api(cuGraphAddChildGraphNode, struct dv_cuda_graph_node **ret, struct dv_cuda_graph *graph,
            struct dv_cuda_graph_node *const *deps, size_t n, struct dv_cuda_graph *child)
{
    DV_CU_ENTER();
    return add_child(ret, graph, deps, n, child);
}

static int add_alloc(struct dv_cuda_graph_node **ret, struct dv_cuda_graph *graph,
                     struct dv_cuda_graph_node *const *deps, size_t n,
                     struct dv_cuda_mem_alloc_node_params *params)
{
    DV_CU_REQUIRE(params && params->bytes && params->pool.location.type == DV_CUDA_LOCATION_DEVICE,
                  DV_CUDA_ERROR_INVALID_VALUE);
    int device = params->pool.location.id;
    DV_CU_REQUIRE(dv_cudevice_get(device), DV_CUDA_ERROR_INVALID_DEVICE);
    struct dv_cugraph_op op = {
        .type = DV_CUDA_NODE_MEM_ALLOC, .bytes = params->bytes, .device = device};
    dv_cu_lock();
    int r = dv_cugraph_reserve_locked(device, params->bytes, &op.address);
    dv_cu_unlock();
    DV_CU_TRY(r);
    DV_CU_TRY(dv_cugraph_add_op(ret, graph, deps, n, &op));
    params->ret_address = op.address;
    return 0;
}

dv_cuda_api(cuGraphAddMemAllocNode, struct dv_cuda_graph_node **ret, struct dv_cuda_graph *graph,
            struct dv_cuda_graph_node *const *deps, size_t n,
            struct dv_cuda_mem_alloc_node_params *params)
{
    DV_CU_ENTER();
    return add_alloc(ret, graph, deps, n, params);
}

dv_cuda_api(cuGraphAddMemFreeNode, struct dv_cuda_graph_node **ret, struct dv_cuda_graph *graph,
            struct dv_cuda_graph_node *const *deps, size_t n, uint64_t address)
{
    DV_CU_ENTER();
    struct dv_cugraph_op op = {.type = DV_CUDA_NODE_MEM_FREE, .address = address};
    return dv_cugraph_add_op(ret, graph, deps, n, &op);
}

static int add_node(struct dv_cuda_graph_node **ret, struct dv_cuda_graph *graph,
                    struct dv_cuda_graph_node *const *deps, size_t n,
                    struct dv_cuda_graph_node_params *p)
{
    struct dv_cugraph_op op = {0};
    DV_CU_REQUIRE(p, DV_CUDA_ERROR_INVALID_VALUE);
    op.type = p->type;
    switch (p->type) {
    case DV_CUDA_NODE_KERNEL:
        return add_kernel(ret, graph, deps, n, &p->kernel, true);
    case DV_CUDA_NODE_MEMCPY:
        DV_CU_TRY(dv_cutransfer_from_3d(&p->memcpy.copy, &op.transfer));
        return dv_cugraph_add_op(ret, graph, deps, n, &op);
    case DV_CUDA_NODE_MEMSET:
        DV_CU_TRY(dv_cutransfer_from_memset(&p->memset.set, &op.transfer));
        return dv_cugraph_add_op(ret, graph, deps, n, &op);
    case DV_CUDA_NODE_HOST:
        DV_CU_REQUIRE(p->host.fn, DV_CUDA_ERROR_INVALID_VALUE);
        op.host = p->host;
        return dv_cugraph_add_op(ret, graph, deps, n, &op);
    case DV_CUDA_NODE_GRAPH:
        return add_child(ret, graph, deps, n, p->child.graph);
    case DV_CUDA_NODE_EMPTY:
        return dv_cugraph_add_op(ret, graph, deps, n, &op);
    case DV_CUDA_NODE_WAIT_EVENT:
    case DV_CUDA_NODE_RECORD_EVENT:
        return add_event(ret, graph, deps, n, p->event, p->type);
    case DV_CUDA_NODE_MEM_ALLOC:
        return add_alloc(ret, graph, deps, n, &p->alloc);
    case DV_CUDA_NODE_MEM_FREE:
        op.address = p->free_address;
        return dv_cugraph_add_op(ret, graph, deps, n, &op);
    default:
        return DV_CUDA_ERROR_NOT_SUPPORTED;
    }
}

dv_cuda_api(cuGraphAddNode, struct dv_cuda_graph_node **ret, struct dv_cuda_graph *graph,
            struct dv_cuda_graph_node *const *deps, size_t n,
            struct dv_cuda_graph_node_params *params)
{
    DV_CU_ENTER();
    return add_node(ret, graph, deps, n, params);
}

dv_cuda_api(cuGraphAddNode_v2, struct dv_cuda_graph_node **ret, struct dv_cuda_graph *graph,
            struct dv_cuda_graph_node *const *deps, const void *edges, size_t n,
            struct dv_cuda_graph_node_params *params)
{
    DV_CU_ENTER();
    return add_node(ret, graph, deps, n, params);
}

static int add_edge_locked(struct dv_cuda_graph *graph, struct dv_cuda_graph_node *from,
                           struct dv_cuda_graph_node *to)
{
    DV_CU_REQUIRE(all_of(graph, &from, 1) && all_of(graph, &to, 1) && from != to,
                  DV_CUDA_ERROR_INVALID_VALUE);
    struct dv_cuda_graph_node **deps = realloc(to->deps, (to->n_deps + 1) * sizeof(void *));
    DV_CU_REQUIRE(deps, DV_CUDA_ERROR_OUT_OF_MEMORY);
    to->deps = deps;
    deps[to->n_deps++] = from;
    from->has_successor = true;
    return 0;
}

static int add_edges(struct dv_cuda_graph *graph, struct dv_cuda_graph_node *const *from,
                     struct dv_cuda_graph_node *const *to, size_t n)
{
    DV_CU_REQUIRE((from && to) || !n, DV_CUDA_ERROR_INVALID_VALUE);
    dv_cu_lock();
    int r = check(graph);
    for (size_t i = 0; i < n && r == 0; i++)
        r = add_edge_locked(graph, from[i], to[i]);
    dv_cu_unlock();
    return r;
}

dv_cuda_api(cuGraphAddDependencies, struct dv_cuda_graph *graph,
            struct dv_cuda_graph_node *const *from, struct dv_cuda_graph_node *const *to, size_t n)
{
    DV_CU_ENTER();
    return add_edges(graph, from, to, n);
}

dv_cuda_api(cuGraphAddDependencies_v2, struct dv_cuda_graph *graph,
            struct dv_cuda_graph_node *const *from, struct dv_cuda_graph_node *const *to,
            const void *edges, size_t n)
{
    DV_CU_ENTER();
    return add_edges(graph, from, to, n);
}

dv_cuda_api(cuGraphNodeGetType, struct dv_cuda_graph_node *node, int *ret)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret && dv_cuobject_is(node, DV_CU_NODE), DV_CUDA_ERROR_INVALID_VALUE);
    *ret = node->op.type;
    return 0;
}

dv_cuda_api(cuGraphMemAllocNodeGetParams, struct dv_cuda_graph_node *node,
            struct dv_cuda_mem_alloc_node_params *ret)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret && dv_cuobject_is(node, DV_CU_NODE) &&
                      node->op.type == DV_CUDA_NODE_MEM_ALLOC,
                  DV_CUDA_ERROR_INVALID_VALUE);
    *ret = (struct dv_cuda_mem_alloc_node_params){
        .pool = {.allocation_type = DV_CUDA_ALLOCATION_PINNED,
                 .location = {DV_CUDA_LOCATION_DEVICE, node->op.device}},
        .bytes = node->op.bytes,
        .ret_address = node->op.address};
    return 0;
}

/* Shape and function; the parameters themselves are not kept. */
static int get_kernel(struct dv_cuda_graph_node *node, struct dv_cuda_kernel_node_params *ret,
                      size_t size)
{
    DV_CU_REQUIRE(ret && dv_cuobject_is(node, DV_CU_NODE) && node->op.type == DV_CUDA_NODE_KERNEL,
                  DV_CUDA_ERROR_INVALID_VALUE);
    const struct dv_culaunch *l = &node->op.launch;
    struct dv_cuda_kernel_node_params p = {
        .function = l->function, .shared_bytes = l->shared_bytes, .context = node->op.ctx};
    memcpy(p.grid, l->grid, sizeof(p.grid));
    memcpy(p.block, l->block, sizeof(p.block));
    memcpy(ret, &p, size);
    return 0;
}

dv_cuda_api(cuGraphKernelNodeGetParams, struct dv_cuda_graph_node *node,
            struct dv_cuda_kernel_node_params *ret)
{
    DV_CU_ENTER();
    return get_kernel(node, ret, offsetof(struct dv_cuda_kernel_node_params, kernel));
}

dv_cuda_api(cuGraphKernelNodeGetParams_v2, struct dv_cuda_graph_node *node,
            struct dv_cuda_kernel_node_params *ret)
{
    DV_CU_ENTER();
    return get_kernel(node, ret, sizeof(*ret));
}

static int set_kernel(struct dv_cuda_graph_node *node,
                      const struct dv_cuda_kernel_node_params *params, bool v2)
{
    struct dv_cugraph_op op;
    DV_CU_REQUIRE(dv_cuobject_is(node, DV_CU_NODE) && node->op.type == DV_CUDA_NODE_KERNEL,
                  DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_TRY(dv_cugraph_kernel_op(params, v2, &op));
    dv_cu_lock();
    node->op = op;
    dv_cu_unlock();
    return 0;
}

dv_cuda_api(cuGraphKernelNodeSetParams, struct dv_cuda_graph_node *node,
            const struct dv_cuda_kernel_node_params *params)
{
    DV_CU_ENTER();
    return set_kernel(node, params, false);
}

dv_cuda_api(cuGraphKernelNodeSetParams_v2, struct dv_cuda_graph_node *node,
            const struct dv_cuda_kernel_node_params *params)
{
    DV_CU_ENTER();
    return set_kernel(node, params, true);
}
