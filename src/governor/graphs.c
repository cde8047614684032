/* SPDX-License-Identifier: Apache-2.0 */
#include "graphs.h"

#include "abi_cuda.h"
#include "charge.h"
#include "governor.h"
#include "view.h"

static void node_added(void *graph, uint64_t bytes)
{
    uint64_t rounded = dv_charge_round(bytes);
    struct dv_ledger *l = dv_charge_lock();
    struct dv_ledger_entry *there = dv_ledger_find(l, DV_SPACE_GRAPH, (uint64_t)graph);
    struct dv_ledger_entry e = {.key = (uint64_t)graph, .space = DV_SPACE_GRAPH, .size = rounded};
    if (there)
        there->size += rounded;
    else
        (void)dv_ledger_put(l, &e);
    dv_charge_unlock();
}

static uint64_t nodes_bytes(void *graph)
{
    struct dv_ledger *l = dv_charge_lock();
    struct dv_ledger_entry *e = dv_ledger_find(l, DV_SPACE_GRAPH, (uint64_t)graph);
    uint64_t bytes = e ? e->size : 0;
    dv_charge_unlock();
    return bytes;
}

void dv_graphs_captured_alloc(void *stream, uint64_t bytes)
{
    int status;
    void *graph = NULL;
    if (!DV_ORIGINAL(cuStreamGetCaptureInfo_v2)(stream, &status, NULL, &graph, NULL, NULL) && graph)
        node_added(graph, bytes);
}

int dv_on_graph_alloc_node(unsigned original, void **ret, void *graph, const void *before,
                           size_t count, void *params)
{
    int r = DV_ORIGINAL_AS(cuGraphAddMemAllocNode, original)(ret, graph, before, count, params);
    if (!r)
        node_added(graph, ((const struct dv_cuda_mem_alloc_node_params *)params)->bytes);
    return r;
}

static void any_node_added(void *graph, const struct dv_cuda_graph_node_params *p)
{
    if (p->type == DV_CUDA_NODE_MEM_ALLOC)
        node_added(graph, p->alloc.bytes);
    if (p->type == DV_CUDA_NODE_GRAPH && nodes_bytes(p->child.graph))
        node_added(graph, nodes_bytes(p->child.graph));
}

int dv_on_graph_node(unsigned original, void **ret, void *graph, const void *before, size_t count,
                     void *params)
{
    int r = DV_ORIGINAL_AS(cuGraphAddNode, original)(ret, graph, before, count, params);
    if (!r)
        any_node_added(graph, params);
    return r;
}

int dv_on_graph_node_v2(unsigned original, void **ret, void *graph, const void *before,
                        const void *edges, size_t count, void *params)
{
    int r = DV_ORIGINAL_AS(cuGraphAddNode_v2, original)(ret, graph, before, edges, count, params);
    if (!r)
        any_node_added(graph, params);
    return r;
}

int dv_on_graph_clone(unsigned original, void **ret, void *graph)
{
    int r = DV_ORIGINAL_AS(cuGraphClone, original)(ret, graph);
    if (!r && nodes_bytes(graph))
        node_added(*ret, nodes_bytes(graph));
    return r;
}

int dv_on_graph_destroy(unsigned original, void *graph)
{
    struct dv_charge c;
    dv_charge_take(&c, DV_SPACE_GRAPH, (uint64_t)graph);
    return dv_charge_drop(&c, DV_ORIGINAL_AS(cuGraphDestroy, original)(graph));
}

/* ---- executable graphs ---- */

static int instantiated(struct dv_charge *c, int r, void **ret)
{
    if (r || c->bytes == 0)
        return r ? dv_charge_cancel(c, r) : 0;
    return dv_charge_commit(c, DV_SPACE_EXEC, (uint64_t)*ret);
}

int dv_on_instantiate_log(unsigned original, void **ret, void *graph, void **ret_node, char *log,
                          size_t size)
{
    struct dv_charge c;
    int r = dv_charge_reserve(&c, nodes_bytes(graph));
    if (r)
        return r;
    r = DV_ORIGINAL_AS(cuGraphInstantiate, original)(ret, graph, ret_node, log, size);
    return instantiated(&c, r, ret);
}

int dv_on_instantiate_flags(unsigned original, void **ret, void *graph, uint64_t flags)
{
    struct dv_charge c;
    int r = dv_charge_reserve(&c, nodes_bytes(graph));
    if (r)
        return r;
    r = DV_ORIGINAL_AS(cuGraphInstantiateWithFlags, original)(ret, graph, flags);
    return instantiated(&c, r, ret);
}

int dv_on_instantiate_params(unsigned original, void **ret, void *graph, void *params)
{
    struct dv_charge c;
    int r = dv_charge_reserve(&c, nodes_bytes(graph));
    if (r)
        return r;
    r = DV_ORIGINAL_AS(cuGraphInstantiateWithParams, original)(ret, graph, params);
    return instantiated(&c, r, ret);
}

/* The driver keeps the memory of a graph cached after its end: it has to let go of that before the
 * charge does. */
int dv_on_exec_destroy(unsigned original, void *exec)
{
    struct dv_charge c;
    dv_charge_take(&c, DV_SPACE_EXEC, (uint64_t)exec);
    int r = DV_ORIGINAL_AS(cuGraphExecDestroy, original)(exec);
    if (!r && c.taken)
        (void)DV_ORIGINAL(cuDeviceGraphMemTrim)(dv_view_device());
    return dv_charge_drop(&c, r);
}
