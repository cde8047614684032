/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node that a benchmark runs on: the daemon's, or, where none runs, a simulated one of its own
 * for as long as the benchmark lasts; and the changes of its layout, which are taken back.
 *
 *     struct dv_bench_node node;
 *     r = dv_bench_node_open(&node, ui->socket, &stop, &err);
 *     r = dv_bench_node_choose(&node, "0", &err);                        node.gpu
 *     r = dv_bench_node_lay_out(&node, "    mode: timeslice\n    replicas: 7\n", &err);
 *     r = dv_bench_node_restore(&node, &err);
 *     dv_bench_node_close(&node);
 */
#ifndef DV_UI_BENCH_NODE_H
#define DV_UI_BENCH_NODE_H

#include "base/str.h"
#include "http/client.h"
#include "model/claim.h"

#include <sys/types.h>

#define DV_BENCH_PATH_MAX 108 /* of a Unix socket */

struct dv_bench_node {
    struct dv_http_client *client;
    const volatile int *stop;
    char socket[DV_BENCH_PATH_MAX];
    char programs[DV_BENCH_PATH_MAX + 200]; /* where divvy, divvyd and divvy-load are */
    bool simulated;
    bool own;
    pid_t pid;          /* of our own daemon */
    char directory[64]; /* of our own daemon; "": none */
    struct dv_gpu gpu;  /* the chosen one: index, uuid, model, memory, MIG */
    struct dv_str cut;  /* its MIG devices when it was chosen, as a layout file says them */
    bool layouts;       /* the daemon changes layouts */
    bool laid_out;      /* a change of ours is in force */
    bool touched;       /* there was one */
};

/* socket NULL: the usual places; only then a simulated node is started. 0; -ECONNREFUSED, -EACCES,
 * -EINTR, -EIO with a message. */
int dv_bench_node_open(struct dv_bench_node *node, const char *socket, const volatile int *stop,
                       struct dv_err *err);
/* The first GPU that the selector means and that nobody holds. -ENOENT, -EBUSY with a message. */
int dv_bench_node_choose(struct dv_bench_node *node, const char *selector, struct dv_err *err);
/* The keys of the GPU's entry of a layout file. 0; -ENOTSUP (this daemon changes no layouts),
 * -EPERM, -EBUSY, -EIO, -ETIMEDOUT, -EINTR with a message. */
int dv_bench_node_lay_out(struct dv_bench_node *node, const char *entry, struct dv_err *err);
/* The layout and the GPU's cut as they were. Works on after an interruption. */
int dv_bench_node_restore(struct dv_bench_node *node, struct dv_err *err);
void dv_bench_node_close(struct dv_bench_node *node);

/* The walls of the slices that lie on the chosen GPU; "" where there are none. 0 or a negative
 * errno. */
struct dv_bench_walls {
    char memory[16], compute[16];
};
int dv_bench_node_walls(struct dv_bench_node *node, struct dv_bench_walls *ret, struct dv_err *err);

#endif
