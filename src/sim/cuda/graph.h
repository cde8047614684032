/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Graphs, between graph.c (building), graph_exec.c (running) and capture.c. A graph is a list of
 * nodes with what each must come after. Running one puts its nodes into one stream, one after the
 * other in an order that its edges allow: branches do not overlap on the simulated device.
 */
#ifndef DV_SIM_CUDA_GRAPH_H
#define DV_SIM_CUDA_GRAPH_H

#include "driver.h"

#define DV_CU_GRAPH_NODES_MAX (1u << 20)
#define DV_CU_GRAPH_DEPTH_MAX 16 /* graphs within graphs */

struct dv_cuda_graph_node {
    struct dv_cuobject object;
    struct dv_cuda_graph *graph;
    struct dv_cuda_graph_node *next; /* in order of creation */
    struct dv_cuda_graph_node **deps;
    size_t n_deps;
    struct dv_cugraph_op op;
    bool has_successor;
    uint64_t mark;
    struct dv_cuda_graph_node *copy; /* while a graph is being cloned */
};

struct dv_cuda_graph {
    struct dv_cuobject object;
    struct dv_cuda_graph_node *first, **end;
    size_t n;
};

/* All with P.lock held. Nodes named in deps must be of this graph. */
struct dv_cuda_graph *dv_cugraph_new_locked(void);
void dv_cugraph_free_locked(struct dv_cuda_graph *graph);
int dv_cugraph_add_locked(struct dv_cuda_graph *graph, struct dv_cuda_graph_node *const *deps,
                          size_t n_deps, const struct dv_cugraph_op *op,
                          struct dv_cuda_graph_node **ret);
int dv_cugraph_clone_locked(const struct dv_cuda_graph *graph, struct dv_cuda_graph **ret);
/* The nodes in an order that edges allow; free() *ret. INVALID_VALUE: they go in a circle. */
int dv_cugraph_order_locked(struct dv_cuda_graph *graph, struct dv_cuda_graph_node ***ret);
/* Addresses for an allocation node; memory comes behind them when the graph is instantiated. */
int dv_cugraph_reserve_locked(int device, uint64_t bytes, uint64_t *ret_address);
int dv_cugraph_kernel_op(const struct dv_cuda_kernel_node_params *params, bool v2,
                         struct dv_cugraph_op *ret);
int dv_cugraph_add_op(struct dv_cuda_graph_node **ret, struct dv_cuda_graph *graph,
                      struct dv_cuda_graph_node *const *deps, size_t n_deps,
                      const struct dv_cugraph_op *op);

#endif
