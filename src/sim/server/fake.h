/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests: a server in a child process, and clients that speak the protocol by hand.
 *
 *     struct dv_fakenode n = dv_fakenode_start("a100");
 *     struct dv_fake c = dv_fake_open(&n, DV_SIM_CLIENT_CUDA);
 *
 * Whatever fails ends the test by cmocka's assertions; the server ends when the test program does,
 * however it does.
 */
#ifndef DV_SIM_SERVER_FAKE_H
#define DV_SIM_SERVER_FAKE_H

#include "abi_sim.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct dv_fakenode {
    char directory[64];
    char socket[80];
    int lifeline;
    pid_t pid;
};

/* A built-in node, or the text of a node file (it has a newline). */
struct dv_fakenode dv_fakenode_start(const char *node);
void dv_fakenode_stop(struct dv_fakenode *n);

struct dv_fake {
    int fd, kick;
    struct dv_sim_work *work;
    uint64_t number[DV_SIM_STREAMS_MAX];
};

struct dv_fake dv_fake_open(const struct dv_fakenode *n, enum dv_sim_client kind);
void dv_fake_close(struct dv_fake *c);
/* Returns the status. fd, ret_fd may be NULL or hold -1. `ret` has room for ret_size bytes, of
 * which that many must come; 0 = whatever comes. INT32_MIN: the server hung up. */
int32_t dv_fake_ask(struct dv_fake *c, uint16_t op, const void *data, uint32_t size, void *ret,
                    uint32_t ret_size, const int *fd, int *ret_fd);

/* A context on a device; returns its number and default stream. */
struct dv_sim_ctx_created dv_fake_ctx(struct dv_fake *c, uint32_t device);
/* Writes a command and kicks. Returns its number in the stream. */
uint64_t dv_fake_command(struct dv_fake *c, uint32_t stream, uint32_t op, uint64_t a, uint64_t b);
/* The same at a given time of submission. */
uint64_t dv_fake_command_at(struct dv_fake *c, uint64_t submit_ns, uint32_t stream, uint32_t op,
                            uint64_t a, uint64_t b);
/* Sleeps until command `number` is complete, as a driver does. False: the session is closed, or it
 * did not happen within 20 s. */
bool dv_fake_await(struct dv_fake *c, uint32_t stream, uint64_t number);
/* Waits (20 s at most) until the server has taken all commands. */
bool dv_fake_taken(struct dv_fake *c);

/* The truth about a GPU. */
struct dv_sim_stats *dv_fake_stats(const struct dv_fakenode *n, uint32_t gpu);
uint64_t dv_fake_now(void);

#endif
