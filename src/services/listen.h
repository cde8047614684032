/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where scrapers ask: --listen. On the loopback anybody may; beyond it only over TLS and with a
 * token. Nothing is served there but the pages of metrics.h: over TCP the kernel does not say who
 * asks, so nobody may act.
 */
#ifndef DV_SERVICES_LISTEN_H
#define DV_SERVICES_LISTEN_H

#include "http/tcp.h"
#include "node.h"

struct dv_listen_options {
    const char *address; /* "127.0.0.1:9400"; NULL: none */
    const char *tls_cert, *tls_key, *token_file;
};

struct dv_listen;

/* Opens the socket and reads the files, which may need rights. 0, or the daemon's exit status with
 * a message: 1 failed, 2 usage, 5 the address is taken. *ret is NULL without an address. */
int dv_listen_open(const struct dv_listen_options *options, struct dv_listen **ret,
                   struct dv_err *err);
/* Serves from here on. 0, or negative errno with a message. */
int dv_listen_start(struct dv_listen *listen, struct dv_loop *loop, struct dv_node *node,
                    struct dv_err *err);
/* "127.0.0.1:9400", with the port that the kernel chose for 0. */
const char *dv_listen_address(const struct dv_listen *listen);
/* Before the node. Accepts NULL. */
void dv_listen_free(struct dv_listen *listen);

#endif
