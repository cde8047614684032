/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon as a whole: processes, rights, directories, sockets; then the loop. What main() calls.
 *
 * Order of a start, each step before the rights that it needs are given up:
 * keeper, lock on the state directory, simulator, sockets, arbiter thread, user, store, loop.
 */
#ifndef DV_SERVICES_DAEMON_H
#define DV_SERVICES_DAEMON_H

#include "kubernetes/kubernetes.h"
#include "listen.h"

struct dv_daemon_options {
    const char *sim;      /* node, file, "unix:PATH"; NULL: the machine's GPUs */
    const char *socket;   /* NULL: the default */
    const char *state;    /* NULL: the default */
    const char *user;     /* to become, as root; NULL: divvy, else nobody */
    const char *operator; /* user who may name other tenants; NULL */
    const char *config;   /* a layout file; NULL */
    const char *prices;   /* a price file; NULL */
    const char *replay;   /* a capture to answer from, for tests; NULL */
    struct dv_listen_options listen;
    struct dv_kubernetes_options kubernetes;
    enum dv_dcgm_hostname dcgm_hostname;
    enum dv_intruder_policy intruder;
    bool no_accounting; /* the driver's accounting mode stays as it is */
    uint32_t nvml_timeout_ms;
    int ready_fd; /* gets one line when requests are answered; -1 */
};

/* Until SIGTERM or SIGINT. Returns the exit status; what went wrong is on stderr, one line. */
int dv_daemon_run(const struct dv_daemon_options *options);
/* Writes what the hardware says to a file ("-": stdout). Returns the exit status. */
int dv_daemon_capture(const struct dv_daemon_options *options, const char *path);

#endif
