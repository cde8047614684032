/* SPDX-License-Identifier: Apache-2.0 */
#include "http/server.h"

#include "http/tls.h"
#include "sys/clock.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Of a connection, headers and all. libmicrohttpd maps what is above 32 KiB, so it goes back to the
 * kernel with the connection; below, a burst of clients leaves the heap large for good. */
#define MEMORY_MAX (36u * 1024)
#define SILENCE_MAX_S 10u
#define WATCHDOG_MS 1000u
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
    struct {
        const char *name;
        char value[64];
    } header[2];
    unsigned n_headers;
    struct MHD_Response *response;
    char method[16];
    char *path;
};

/* One connection, while it lasts. */
struct peer {
    uid_t uid;
    int fd;
    uint64_t deadline_ns; /* of a remote one: until then it has asked, or been answered */
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
    bool stopping;          /* the handler is not called any more */
    bool remote;
    size_t remote_body_max; /* 0: bodies are dropped */
    struct dv_http_tls *tls;
    struct dv_loop_source *watchdog;
};

/* ---- driving libmicrohttpd ---- */

/* Handshakes happen inside MHD_run() alone, and GnuTLS does not say for whom. */
static _Thread_local const struct dv_http_server *running;

static int on_handshake(gnutls_session_t session, const struct gnutls_cert_retr_st *info,
                        gnutls_pcert_st **certs, unsigned *n, gnutls_ocsp_data_st **ocsp,
                        unsigned *n_ocsp, gnutls_privkey_t *key, unsigned *flags)
{
    *ocsp = NULL;
    *n_ocsp = 0;
    *flags |= GNUTLS_CERT_RETR_DEINIT_ALL;
    return running && running->tls ? dv_http_tls_copy(running->tls, certs, n, key) : -1;
}

static void run_daemon(struct dv_http_server *s)
{
    running = s;
    MHD_run(s->daemon);
    running = NULL;
}

static void run(void *arg)
{
    struct dv_http_server *s = arg;
    MHD_UNSIGNED_LONG_LONG ms;
    run_daemon(s);
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

/* Nobody of this machine, as far as the kernel knows. */
static const struct ucred nobody = {0, (uid_t)-1, (gid_t)-1};

static int credentials(const struct dv_http_server *s, int fd, struct ucred *ret)
{
    socklen_t size = sizeof *ret;
    *ret = nobody;
    return s->remote ? 0 : getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ret, &size);
}

static uint64_t after(uint64_t ms)
{
    return dv_clock_now() + ms * DV_NS_PER_MS;
}

static struct peer *peer_new(struct dv_http_server *s, int fd)
{
    struct ucred cred;
    if (credentials(s, fd, &cred) < 0 || (!s->remote && is_crowded(s, cred.uid)))
        return NULL;
    struct peer *p = malloc(sizeof *p);
    if (!p)
        return NULL;
    *p = (struct peer){cred.uid, fd, after(DV_HTTP_REMOTE_MS), s->peers, &s->peers};
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

static struct peer *peer_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
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
    const struct dv_http_server *s = arg;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (s->remote_body_max)
        MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT,
                                  DV_HTTP_REMOTE_IDLE_MS / 1000);
    *context = info ? peer_new(arg, info->connect_fd) : NULL;
    if (info && !*context)
        shutdown(info->connect_fd, SHUT_RDWR);
}

/* libmicrohttpd's time limit counts silence: one byte every few seconds would hold a connection for
 * ever. */
static void end_slow(void *arg)
{
    struct dv_http_server *s = arg;
    uint64_t now = dv_clock_now();
    for (const struct peer *p = s->peers; p; p = p->next)
        if (now > p->deadline_ns)
            shutdown(p->fd, SHUT_RDWR);
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
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (!r || !info || strlen(method) >= sizeof r->method ||
        credentials(s, info->connect_fd, &cred) < 0 || !(r->path = strdup(url))) {
        free(r);
        return NULL;
    }
    struct peer *peer = peer_of(connection);
    if (peer && s->remote_body_max) /* it may have been silent for longer than it may ask */
        peer->deadline_ns = after(DV_HTTP_REMOTE_MS);
    r->server = s;
    r->connection = connection;
    snprintf(r->method, sizeof r->method, "%s", method);
    r->rq = (struct dv_http_request){.method = r->method,
                                     .path = r->path,
                                     .body = "",
                                     .remote = s->remote,
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
    bool crowded = !r->rq.remote && r->rq.uid && own >= DV_HTTP_LARGE_USER_MAX;
    if (n >= DV_HTTP_LARGE_MAX || crowded)
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

static size_t body_max(const struct request *r)
{
    return r->server->remote ? r->server->remote_body_max
           : may_be_large(r) ? DV_HTTP_BODY_LARGE_MAX
                             : DV_HTTP_BODY_MAX;
}

/* Keeps the body up to its bound; what is beyond is read and dropped, up to another bound. */
static enum MHD_Result take_body(struct request *r, const char *data, size_t size)
{
    size_t max = body_max(r);
    r->seen += size;
    if (r->server->remote && !max) /* nothing there takes one */
        return r->seen > DV_HTTP_BODY_MAX ? MHD_NO : MHD_YES;
    if (r->seen > DV_MAX(DRAIN_MAX, 2 * max))
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

static void answer_stopping(struct request *r)
{
    static const char body[] = "{\"apiVersion\":\"divvy/v1\",\"kind\":\"Error\",\"reason\":"
                               "\"stopping\",\"message\":\"the daemon is stopping\","
                               "\"exit_code\":5}";
    dv_http_server_reply(&r->rq, 503, body, sizeof body - 1);
}

static enum MHD_Result handle(struct request *r)
{
    r->handled = true;
    if (r->body) {
        r->rq.body = r->body;
        r->rq.body_size = r->size;
    }
    if (r->server->stopping)
        answer_stopping(r);
    else
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
    const struct dv_http_server *s = arg;
    struct peer *peer = peer_of(connection);
    if (peer)
        peer->deadline_ns = after(s->remote_body_max ? DV_HTTP_REMOTE_IDLE_MS : DV_HTTP_REMOTE_MS);
    if (*state)
        request_free(*state);
    *state = NULL;
}

const char *dv_http_server_query(struct dv_http_request *rq, const char *name)
{
    struct request *r = (struct request *)rq;
    return MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, name);
}

const char *dv_http_server_header(struct dv_http_request *rq, const char *name)
{
    struct request *r = (struct request *)rq;
    return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

void dv_http_server_add_header(struct dv_http_request *rq, const char *name, const char *value)
{
    struct request *r = (struct request *)rq;
    if (r->n_headers == sizeof r->header / sizeof r->header[0])
        return;
    r->header[r->n_headers].name = name;
    snprintf(r->header[r->n_headers++].value, sizeof r->header[0].value, "%s", value);
}

static void reply(struct dv_http_request *rq, unsigned status, const char *type, void *body,
                  size_t size, enum MHD_ResponseMemoryMode mode)
{
    struct request *r = (struct request *)rq;
    if (r->answered) {
        if (mode == MHD_RESPMEM_MUST_FREE)
            free(body);
        return;
    }
    r->answered = true;
    r->status = status;
    r->response = MHD_create_response_from_buffer(size, body, mode);
    if (r->response) {
        MHD_add_response_header(r->response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
        for (unsigned i = 0; i < r->n_headers; i++)
            MHD_add_response_header(r->response, r->header[i].name, r->header[i].value);
    } else if (mode == MHD_RESPMEM_MUST_FREE) {
        free(body);
    }
    if (r->suspended) {
        r->suspended = false;
        MHD_resume_connection(r->connection);
        dv_loop_timer_set(r->server->timer, 0, 0); /* not from inside the caller's work */
    }
}

void dv_http_server_reply_as(struct dv_http_request *rq, unsigned status, const char *type,
                             const char *body, size_t size)
{
    reply(rq, status, type, (void *)body, size, MHD_RESPMEM_MUST_COPY);
}

void dv_http_server_reply_take(struct dv_http_request *rq, unsigned status, const char *type,
                               char *body, size_t size)
{
    reply(rq, status, type, body, size, MHD_RESPMEM_MUST_FREE);
}

void dv_http_server_reply(struct dv_http_request *rq, unsigned status, const char *body,
                          size_t size)
{
    dv_http_server_reply_as(rq, status, "application/json", body, size);
}

#define FLAGS (MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME)

static struct MHD_Daemon *start_local(struct dv_http_server *s, int fd)
{
    return MHD_start_daemon(FLAGS, 0, NULL, NULL, on_access, s, MHD_OPTION_LISTEN_SOCKET, fd,
                            MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,
                            MHD_OPTION_NOTIFY_CONNECTION, on_connection, s,
                            MHD_OPTION_CONNECTION_LIMIT, (unsigned)DV_HTTP_CONNECTIONS_MAX,
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_MAX,
                            MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)SILENCE_MAX_S, MHD_OPTION_END);
}

static struct MHD_Daemon *start_remote(struct dv_http_server *s, int fd)
{
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_CERT_CALLBACK2, 0, (void *)on_handshake},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, "NORMAL:-VERS-TLS1.0:-VERS-TLS1.1"},
        {MHD_OPTION_END, 0, NULL},
    };
    return MHD_start_daemon(
        FLAGS | (s->tls ? MHD_USE_TLS : 0), 0, NULL, NULL, on_access, s, MHD_OPTION_LISTEN_SOCKET,
        fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, s, MHD_OPTION_CONNECTION_LIMIT, (unsigned)DV_HTTP_REMOTE_MAX,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)DV_HTTP_REMOTE_ADDRESS_MAX,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)SILENCE_MAX_S, MHD_OPTION_ARRAY, s->tls ? tls : &tls[DV_ARRAY_SIZE(tls) - 1],
        MHD_OPTION_END);
}

/* Takes s->daemon. */
static int start(struct dv_loop *loop, struct dv_http_server *s, struct dv_http_server **ret)
{
    const union MHD_DaemonInfo *info =
        s->daemon ? MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    int r = info ? 0 : s->remote ? -EINVAL : -EIO;
    if (r == 0)
        r = dv_loop_timer(loop, 0, 0, run, s, &s->timer);
    if (r == 0)
        r = dv_loop_watch(loop, info->epoll_fd, run, s, &s->watch);
    if (r == 0 && s->remote)
        r = dv_loop_timer(loop, WATCHDOG_MS, WATCHDOG_MS, end_slow, s, &s->watchdog);
    if (r < 0) {
        dv_http_server_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

int dv_http_server_new(struct dv_loop *loop, int fd, dv_http_handler *handler, void *arg,
                       struct dv_http_server **ret)
{
    struct dv_http_server *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->handler = handler;
    s->arg = arg;
    s->daemon = start_local(s, fd);
    return start(loop, s, ret);
}

int dv_http_server_new_tcp(struct dv_loop *loop, int fd, const char *certificate, const char *key,
                           dv_http_handler *handler, void *arg, struct dv_http_server **ret)
{
    struct dv_http_server *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->handler = handler;
    s->arg = arg;
    s->remote = true;
    int r = certificate ? dv_http_tls_new(certificate, key, &s->tls) : 0;
    if (r < 0) {
        dv_http_server_free(s);
        return r;
    }
    s->daemon = start_remote(s, fd);
    return start(loop, s, ret);
}

int dv_http_server_set_certificate(struct dv_http_server *s, const char *certificate,
                                   const char *key)
{
    struct dv_http_tls *tls = NULL;
    int r = s->tls ? dv_http_tls_new(certificate, key, &tls) : -EINVAL;
    if (r < 0)
        return r;
    dv_http_tls_free(s->tls);
    s->tls = tls;
    return 0;
}

void dv_http_server_allow_bodies(struct dv_http_server *s, size_t max)
{
    s->remote_body_max = max;
}

void dv_http_server_allow_large(struct dv_http_server *s, const char *path)
{
    if (s->n_large_paths < DV_HTTP_LARGE_PATHS_MAX)
        s->large_paths[s->n_large_paths++] = path;
}

void dv_http_server_free(struct dv_http_server *s)
{
    if (!s)
        return;
    s->stopping = true;
    if (s->daemon) {
        for (struct request *r = s->waiting, *next; r; r = next) {
            next = r->next;
            answer_stopping(r);
        }
        run_daemon(s);
        run_daemon(s);
    }
    dv_loop_remove(s->watch);
    dv_loop_remove(s->timer);
    dv_loop_remove(s->watchdog);
    if (s->daemon)
        MHD_stop_daemon(s->daemon);
    dv_http_tls_free(s->tls);
    free(s);
}
