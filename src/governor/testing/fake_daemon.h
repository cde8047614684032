/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's side of the handshake for the governor's tests: one slice on one device, pages as
 * abi_tenant.h wants them, leases switched off (or handed out one by one by the test). A thread of
 * the test program; what its tenants leave behind is repaired as the daemon would.
 *
 *     struct dv_fake_daemon *d = dv_fake_daemon_start(&(struct dv_fake_daemon_config){
 *         .limit = UINT64_C(1) << 30, .libcuda = path, .uuid = "GPU-1111..."});
 *     ... setenv has been done for DIVVY_TENANT_SOCKET ...
 *     d->reservation->word.bytes == 0
 *     dv_fake_daemon_stop(d);
 */
#ifndef DV_GOVERNOR_FAKE_DAEMON_H
#define DV_GOVERNOR_FAKE_DAEMON_H

#include "abi_tenant.h"

#include <pthread.h>
#include <stdbool.h>

#define DV_FAKE_UUID "GPU-11111111-1111-1111-1111-111111111111"

struct dv_fake_daemon_config {
    uint64_t limit, context_bytes, module_bytes;
    const char *libcuda, *libnvml, *uuid;
    const char *path; /* of the socket; NULL = a new directory, told by the environment */
    bool (*still_there)(uint32_t pid); /* NULL, or: does the driver still hold memory for it? */
    int refuse;                        /* an errno: every HELLO is refused with it */
};

struct dv_fake_tenant {
    int socket; /* -1 = free */
    int slot_fd;
    uint32_t pid;
    struct dv_slot_page *page;
    bool welcomed, dead;
};

struct dv_fake_daemon {
    struct dv_fake_daemon_config config;
    struct dv_slice_page *slice;
    struct dv_reservation_page *reservation;
    struct dv_arbiter_page *arbiter;
    int slice_fd, reservation_fd, arbiter_fd, event_fd, listener, quit[2];
    uint64_t repair_seq;
    char directory[64], path[96];
    struct dv_fake_tenant tenant[DV_TENANT_SLICE_PROCESSES_MAX]; /* by process; slot = process-1 */
    uint32_t deaths, hellos;
    bool silent;       /* no heartbeat */
    uint64_t ahead_ns; /* heartbeats are so far ahead: nobody takes a late one for none */
    pthread_t thread;
};

/* Exits the test program when it cannot. */
struct dv_fake_daemon *dv_fake_daemon_start(const struct dv_fake_daemon_config *config);
void dv_fake_daemon_limit(struct dv_fake_daemon *d, uint64_t limit, uint32_t state);
/* What an arbiter would say: who holds, who is next, until when; wakes whom it concerns. */
void dv_fake_daemon_turn(struct dv_fake_daemon *d, uint64_t turn, uint64_t next,
                         uint64_t deadline_ns);
/* Dies: hangs up and repairs nothing. */
void dv_fake_daemon_stop(struct dv_fake_daemon *d);

#endif
