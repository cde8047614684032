/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The divvy-sim server: one process and one thread that own a simulated node.
 *
 *     struct dv_simserver *server;
 *     r = dv_simserver_new(&spec, &(struct dv_simserver_options){.socket = path}, &server, &err);
 *     r = dv_simserver_run(server);       until DV_SIM_CTL_STOP, SIGTERM or SIGINT
 *     dv_simserver_free(server);
 */
#ifndef DV_SIM_SERVER_SERVER_H
#define DV_SIM_SERVER_SERVER_H

#include "server/nodespec.h"

struct dv_simserver;

struct dv_simserver_options {
    const char *socket; /* path; its directory must exist */
    int parent_fd;      /* the server ends when this hangs up; -1 = none. It becomes the server's */
    bool signals;       /* blocks SIGTERM and SIGINT of the calling thread, and ends on them */
    bool realtime;      /* asks for SCHED_FIFO, goes on without */
};

/*
 * Makes the node and listens: clients may connect from here on. A socket file that nobody listens
 * on is replaced; one that a living server owns is -EADDRINUSE. -EACCES, -ENAMETOOLONG, -ENOENT,
 * -EINVAL (the spec's MIG layout does not fit) and others: always with a message.
 */
int dv_simserver_new(const struct dv_nodespec *spec, const struct dv_simserver_options *options,
                     struct dv_simserver **ret, struct dv_err *err);
/* 0 when told to stop, or negative errno. */
int dv_simserver_run(struct dv_simserver *server);
/* One turn of its loop, for those who bring their own: does what is due and serves who has asked;
 * `wait`: until somebody does or something is due. How many events there were, or negative errno.
 */
int dv_simserver_turn(struct dv_simserver *server, bool wait);
void dv_simserver_free(struct dv_simserver *server);
/* Removes what a server that was killed has left beside its socket (abi_sim_show.h). */
void dv_simserver_clear(const char *socket);

#endif
