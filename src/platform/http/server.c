/* SPDX-License-Identifier: Apache-2.0 */
#include "http/server.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define HEADERS_MAX (32u * 1024)
#define SILENCE_MAX_S 10u
#define DRAIN_MAX (2u * DV_HTTP_BODY_LARGE_MAX) /* of a body too long; then the line is cut */

struct request {
    struct dv_http_request rq; /* first: what the handler sees */
    struct dv_http_server *server;
    struct MHD_Connection *connection;
    struct request *next, **link; /* among those that wait */
    struct request *next_large;
    char *body;
    size_t size, seen;
    bool large; /* counted among those */
    bool handled, suspended, answered;
    unsigned status;
    struct MHD_Response *response;
    char method[16];
    char *path;
};

/* One connection, while it lasts. */
struct peer {
    uid_t uid;
    struct peer *next, **link;
};

struct dv_http_server {
    struct MHD_Daemon *daemon;
    struct dv_loop_source *watch, *timer;
    dv_http_handler *handler;
    void *arg;
    struct request *waiting;
    struct peer *peers;
    const char *large_paths[DV_HTTP_LARGE_PATHS_MAX];
    size_t n_large_paths;
    struct request *larges; /* with bodies above DV_HTTP_BODY_MAX */
};

/* ---- driving libmicrohttpd ---- */

static void run(void *arg)
{
    struct dv_http_server *s = arg;
    MHD_UNSIGNED_LONG_LONG ms;
    MHD_run(s->daemon);
    if (MHD_get_timeout(s->daemon, &ms) == MHD_YES)
        dv_loop_timer_set(s->timer, ms, 0);
}

/* ---- connections ---- */

static bool is_crowded(const struct dv_http_server *s, uid_t uid)
{
    unsigned n = 0;
    for (const struct peer *p = s->peers; p; p = p->next)
        n += p->uid == uid;
    return uid && n >= DV_HTTP_CONNECTIONS_USER_MAX;
}

static struct peer *peer_new(struct dv_http_server *s, int fd)
{
    struct ucred cred;
    socklen_t size = sizeof cred;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0 || is_crowded(s, cred.uid))
        return NULL;
    struct peer *p = malloc(sizeof *p);
    if (!p)
        return NULL;
    *p = (struct peer){cred.uid, s->peers, &s->peers};
    if (p->next)
        p->next->link = &p->next;
    s->peers = p;
    return p;
}

static void peer_free(struct peer *p)
{
    if (!p)
        return;
    *p->link = p->next;
    if (p->next)
        p->next->link = p->link;
    free(p);
}

/* libmicrohttpd's own bounds know addresses, not users. What is shut down it closes itself. */
static void on_connection(void *arg, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        peer_free(*context);
        *context = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    *context = info ? peer_new(arg, info->connect_fd) : NULL;
    if (info && !*context)
        shutdown(info->connect_fd, SHUT_RDWR);
}

/* ---- requests ---- */

static void unlink_waiting(struct request *r)
{
    if (!r->link)
        return;
    *r->link = r->next;
    if (r->next)
        r->next->link = r->link;
    r->link = NULL;
}

static void link_waiting(struct request *r)
{
    struct dv_http_server *s = r->server;
    r->next = s->waiting;
    r->link = &s->waiting;
    if (r->next)
        r->next->link = &r->next;
    s->waiting = r;
}

static struct request *request_new(struct dv_http_server *s, struct MHD_Connection *connection,
                                   const char *url, const char *method)
{
    struct request *r = calloc(1, sizeof *r);
    struct ucred cred;
    socklen_t size = sizeof cred;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (!r || !info || strlen(method) >= sizeof r->method ||
        getsockopt(info->connect_fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0 ||
        !(r->path = strdup(url))) {
        free(r);
        return NULL;
    }
    r->server = s;
    r->connection = connection;
    snprintf(r->method, sizeof r->method, "%s", method);
    r->rq = (struct dv_http_request){.method = r->method,
                                     .path = r->path,
                                     .body = "",
                                     .pid = cred.pid,
                                     .uid = cred.uid,
                                     .gid = cred.gid};
    return r;
}

/* ---- bodies ---- */

static bool may_be_large(const struct request *r)
{
    for (size_t i = 0; i < r->server->n_large_paths; i++) {
        const char *path = r->server->large_paths[i];
        size_t len = strlen(path);
        if (!strncmp(r->path, path, len) && (!r->path[len] || r->path[len] == '/'))
            return true;
    }
    return false;
}

static void large_end(struct request *r)
{
    struct request **at = &r->server->larges;
    while (*at && *at != r)
        at = &(*at)->next_large;
    if (*at)
        *at = r->next_large;
    r->large = false;
}

/* Memory for large bodies is bounded as a whole, and nobody takes all of it. */
static bool large_begin(struct request *r)
{
    unsigned n = 0, own = 0;
    for (const struct request *o = r->server->larges; o; o = o->next_large) {
        n++;
        own += o->rq.uid == r->rq.uid;
    }
    if (n >= DV_HTTP_LARGE_MAX || (r->rq.uid && own >= DV_HTTP_LARGE_USER_MAX))
        return false;
    r->next_large = r->server->larges;
    r->server->larges = r;
    r->large = true;
    return true;
}

static void request_free(struct request *r)
{
    unlink_waiting(r);
    large_end(r);
    if (r->response)
        MHD_destroy_response(r->response);
    free(r->body);
    free(r->path);
    free(r);
}

static enum MHD_Result drop_body(struct request *r)
{
    free(r->body);
    r->body = NULL;
    r->size = 0;
    large_end(r);
    return MHD_YES;
}

/* Keeps the body up to its bound; what is beyond is read and dropped, up to another bound. */
static enum MHD_Result take_body(struct request *r, const char *data, size_t size)
{
    size_t max = may_be_large(r) ? DV_HTTP_BODY_LARGE_MAX : DV_HTTP_BODY_MAX;
    r->seen += size;
    if (r->seen > DRAIN_MAX)
        return MHD_NO;
    if (r->rq.too_busy)
        return MHD_YES;
    if (r->seen > max) {
        r->rq.body_too_long = true;
        return drop_body(r);
    }
    if (r->seen > DV_HTTP_BODY_MAX && !r->large && !large_begin(r)) {
        r->rq.too_busy = true;
        return drop_body(r);
    }
    char *bigger = realloc(r->body, r->size + size + 1);
    if (!bigger)
        return MHD_NO;
    memcpy(bigger + r->size, data, size);
    r->body = bigger;
    r->size += size;
    r->body[r->size] = 0;
    return MHD_YES;
}

static enum MHD_Result send_answer(struct request *r)
{
    unlink_waiting(r);
    return r->response ? MHD_queue_response(r->connection, r->status, r->response) : MHD_NO;
}

static enum MHD_Result handle(struct request *r)
{
    r->handled = true;
    if (r->body) {
        r->rq.body = r->body;
        r->rq.body_size = r->size;
    }
    r->server->handler(r->server->arg, &r->rq);
    if (r->answered)
        return send_answer(r);
    link_waiting(r);
    r->suspended = true;
    MHD_suspend_connection(r->connection);
    return MHD_YES;
}

static enum MHD_Result on_access(void *arg, struct MHD_Connection *connection, const char *url,
                                 const char *method, const char *version, const char *data,
                                 size_t *size, void **state)
{
    struct request *r = *state;
    if (!r) {
        *state = request_new(arg, connection, url, method);
        return *state ? MHD_YES : MHD_NO;
    }
    if (*size) {
        size_t n = *size;
        *size = 0;
        return take_body(r, data, n);
    }
    return r->handled ? send_answer(r) : handle(r);
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode why)
{
    if (*state)
        request_free(*state);
    *state = NULL;
}

const char *dv_http_server_query(struct dv_http_request *rq, const char *name)
{
    struct request *r = (struct request *)rq;
    return MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, name);
}

void dv_http_server_reply(struct dv_http_request *rq, unsigned status, const char *body,
                          size_t size)
{
    struct request *r = (struct request *)rq;
    if (r->answered)
        return;
    r->answered = true;
    r->status = status;
    r->response = MHD_create_response_from_buffer(size, (void *)body, MHD_RESPMEM_MUST_COPY);
    if (r->response)
        MHD_add_response_header(r->response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
    if (r->suspended) {
        r->suspended = false;
        MHD_resume_connection(r->connection);
        dv_loop_timer_set(r->server->timer, 0, 0); /* not from inside the caller's work */
    }
}

int dv_http_server_new(struct dv_loop *loop, int fd, dv_http_handler *handler, void *arg,
                       struct dv_http_server **ret)
{
    struct dv_http_server *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->handler = handler;
    s->arg = arg;
    s->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_access, s,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, s, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)DV_HTTP_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADERS_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)SILENCE_MAX_S, MHD_OPTION_END);
    const union MHD_DaemonInfo *info =
        s->daemon ? MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    int r = info ? 0 : -EIO;
    if (r == 0)
        r = dv_loop_timer(loop, 0, 0, run, s, &s->timer);
    if (r == 0)
        r = dv_loop_watch(loop, info->epoll_fd, run, s, &s->watch);
    if (r < 0) {
        dv_http_server_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

void dv_http_server_allow_large(struct dv_http_server *s, const char *path)
{
    if (s->n_large_paths < DV_HTTP_LARGE_PATHS_MAX)
        s->large_paths[s->n_large_paths++] = path;
}

void dv_http_server_free(struct dv_http_server *s)
{
    static const char body[] = "{\"apiVersion\":\"divvy/v1\",\"kind\":\"Error\",\"reason\":"
                               "\"stopping\",\"message\":\"the daemon is stopping\","
                               "\"exit_code\":5}";
    if (!s)
        return;
    if (s->daemon) {
        for (struct request *r = s->waiting, *next; r; r = next) {
            next = r->next;
            dv_http_server_reply(&r->rq, 503, body, sizeof body - 1);
        }
        MHD_run(s->daemon);
        MHD_run(s->daemon);
    }
    dv_loop_remove(s->watch);
    dv_loop_remove(s->timer);
    if (s->daemon)
        MHD_stop_daemon(s->daemon);
    free(s);
}
