/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that graphs allocate when they are launched. The sum of a graph's allocation nodes, added
 * by hand or by capture, is charged to each executable graph made of it, for as long as that lives.
 */
#ifndef DV_GOVERNOR_GRAPHS_H
#define DV_GOVERNOR_GRAPHS_H

#include <stdint.h>

/* An allocation on a capturing stream became a node of the graph that is being captured. */
void dv_graphs_captured_alloc(void *stream, uint64_t bytes);

#endif
