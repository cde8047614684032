/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP for a server that the world may see: the address to listen on, and the two questions to ask
 * of each request there, as pure functions.
 *
 *     struct dv_http_address at;
 *     r = dv_http_tcp_parse("127.0.0.1:9400", &at, &err);
 *     fd = dv_http_tcp_listen(&at, &err);              // for dv_http_server_new_tcp()
 *     ok = dv_http_tcp_host_is_own(dv_http_server_header(rq, "Host"))
 *
 * Addresses are numbers; only "localhost" is a name, and means 127.0.0.1.
 */
#ifndef DV_HTTP_TCP_H
#define DV_HTTP_TCP_H

#include "base/err.h"

#include <netinet/in.h>
#include <stdbool.h>

struct dv_http_address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } at;
    socklen_t size;
    bool loopback; /* nobody else's machine can reach it */
    char text[64]; /* "127.0.0.1:9400", "[::1]:9400" */
};

/* "ADDR:PORT", "[ADDR6]:PORT", or ":PORT" for 127.0.0.1. 0, or -EINVAL with a message. */
int dv_http_tcp_parse(const char *text, struct dv_http_address *ret, struct dv_err *err);
/* A listening socket, or negative errno with a message: -EADDRINUSE, -EACCES, -EADDRNOTAVAIL ... */
int dv_http_tcp_listen(const struct dv_http_address *address, struct dv_err *err);
/* With port 0: which one the kernel chose. Changes address->text too. 0 or negative errno. */
int dv_http_tcp_chosen(int fd, struct dv_http_address *address);

/*
 * Does the Host header name this machine by itself: an address of the loopback, or localhost, with
 * any port? A page of the web that has its own name point here (DNS rebinding) sends that name.
 * NULL: no.
 */
bool dv_http_tcp_host_is_own(const char *host);
/* Is the Authorization header "Bearer TOKEN", with this token? Takes as long for any token of the
 * same length. */
bool dv_http_tcp_bearer_is(const char *authorization, const char *token);

#endif
