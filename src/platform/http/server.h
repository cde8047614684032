/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 on a listening Unix socket, inside the caller's event loop (libmicrohttpd). One handler
 * gets every request; it answers at once, or keeps the request and answers later (long poll).
 *
 *     static void handle(void *arg, struct dv_http_request *rq)
 *     {
 *         if (!strcmp(rq->path, "/v1/status"))
 *             dv_http_server_reply(rq, 200, json, strlen(json));
 *     }
 *     dv_http_server_new(loop, fd, handle, self, &server);
 *
 * Bounds: DV_HTTP_BODY_MAX bytes of body, DV_HTTP_BODY_LARGE_MAX under the paths of
 * dv_http_server_allow_large(), of which DV_HTTP_LARGE_MAX at a time in all and
 * DV_HTTP_LARGE_USER_MAX of one user other than root (what is beyond is dropped, and the handler is
 * told; far beyond, the line is cut), 36 KiB of headers,
 * DV_HTTP_CONNECTIONS_MAX connections, DV_HTTP_CONNECTIONS_USER_MAX of one user other than root
 * (more are hung up on, so that nobody shuts the others out), 10 s of silence. Who calls is what
 * the kernel says (SO_PEERCRED), never what the request says.
 *
 * The same over TCP, where the kernel knows nobody: `remote` is true, `uid` is nobody's, and it is
 * the handler who decides what such a caller may see. There: DV_HTTP_REMOTE_MAX connections,
 * DV_HTTP_REMOTE_ADDRESS_MAX of one address, bodies are dropped, and whoever has not asked and been
 * answered within DV_HTTP_REMOTE_MS is hung up on, however busy it seems. With a certificate the
 * line is TLS (GnuTLS, 1.2 and up). A server that others call by its name again and again, as
 * Kubernetes does a webhook, allows bodies: then an idle line is kept for DV_HTTP_REMOTE_IDLE_MS,
 * longer than such callers keep theirs.
 */
#ifndef DV_HTTP_SERVER_H
#define DV_HTTP_SERVER_H

#include "sys/loop.h"

#include <stdbool.h>
#include <sys/types.h>

#define DV_HTTP_BODY_MAX 65536u
/* A layout file of 512 KiB as a JSON string: escapes at most double it. */
#define DV_HTTP_BODY_LARGE_MAX (1024u * 1024 + 65536)
#define DV_HTTP_LARGE_PATHS_MAX 4u
#define DV_HTTP_LARGE_MAX 8u
#define DV_HTTP_LARGE_USER_MAX 2u
#define DV_HTTP_CONNECTIONS_MAX 1024u
#define DV_HTTP_CONNECTIONS_USER_MAX 320u
#define DV_HTTP_REMOTE_MAX 64u
#define DV_HTTP_REMOTE_ADDRESS_MAX 32u
#define DV_HTTP_REMOTE_MS 30000u
#define DV_HTTP_REMOTE_IDLE_MS 120000u

struct dv_http_server;

struct dv_http_request {
    const char *method, *path;
    const char *body; /* NUL-terminated after body_size bytes */
    size_t body_size;
    bool body_too_long; /* then body is empty */
    bool too_busy;      /* too many large bodies at a time; then body is empty too */
    bool remote;        /* over TCP: pid 0, uid and gid -1 */
    pid_t pid;
    uid_t uid;
    gid_t gid;
};

typedef void dv_http_handler(void *arg, struct dv_http_request *rq);

/* Takes `fd`, closes it at the end. 0 or negative errno. */
int dv_http_server_new(struct dv_loop *loop, int fd, dv_http_handler *handler, void *arg,
                       struct dv_http_server **ret);
/* A listening TCP socket; certificate and key as PEM text, or both NULL for plain HTTP. The texts
 * are copied. -EINVAL when GnuTLS does not take them. */
int dv_http_server_new_tcp(struct dv_loop *loop, int fd, const char *certificate, const char *key,
                           dv_http_handler *handler, void *arg, struct dv_http_server **ret);
/* From the next handshake on, others than at the start; connections that there are stay. The texts
 * are copied. -EINVAL when GnuTLS does not take them, or there were none at the start. */
int dv_http_server_set_certificate(struct dv_http_server *server, const char *certificate,
                                   const char *key);
/* Of a TCP server: bodies up to `max` bytes are kept; those above DV_HTTP_BODY_MAX,
 * DV_HTTP_LARGE_MAX at a time. Before anybody calls. */
void dv_http_server_allow_bodies(struct dv_http_server *server, size_t max);
/* Requests that still wait for an answer get 503, and so do those that come meanwhile: the handler
 * is not called any more. */
void dv_http_server_free(struct dv_http_server *server);

/* Bodies of requests for `path`, or below it, may be large too. At most DV_HTTP_LARGE_PATHS_MAX
 * paths; borrowed. */
void dv_http_server_allow_large(struct dv_http_server *server, const char *path);

/* A query parameter's value, decoded, or NULL. A loan until the reply. */
const char *dv_http_server_query(struct dv_http_request *rq, const char *name);
/* A header's value, or NULL. A loan until the reply. */
const char *dv_http_server_header(struct dv_http_request *rq, const char *name);
/* A header of the answer to come; before the reply. */
void dv_http_server_add_header(struct dv_http_request *rq, const char *name, const char *value);
/* Answers, exactly once, now or later, with a body of this media type, which is copied. The request
 * is gone after. */
void dv_http_server_reply_as(struct dv_http_request *rq, unsigned status, const char *type,
                             const char *body, size_t size);
/* The same with a body from malloc, which the server takes and frees: for large ones. */
void dv_http_server_reply_take(struct dv_http_request *rq, unsigned status, const char *type,
                               char *body, size_t size);
/* The first with JSON. */
void dv_http_server_reply(struct dv_http_request *rq, unsigned status, const char *body,
                          size_t size);

#endif
