/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/transfer.h"

#include "sys/fd.h"

#include <curl/curl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONNECT_TIMEOUT_MS 10000L
#define IDLE_CONNECTIONS 4L
/* A peer that vanished is noticed after 30 + 3 * 10 seconds, or 30 when something was sent. */
#define KEEPALIVE_IDLE_S 30
#define KEEPALIVE_INTERVAL_S 10
#define KEEPALIVE_PROBES 3
#define UNACKNOWLEDGED_MS 30000
#define FD_PATH 32 /* "/proc/self/fd/N" */

/* A text of the configuration as a file that only we can open: libcurl takes files. */
struct memory_file {
    int fd; /* -1: none */
    char path[FD_PATH];
};

/* Which version of the token's file was read. */
struct token {
    dev_t dev;
    ino_t ino;
    struct timespec changed;
    off_t size;
    char *header; /* "Authorization: Bearer ..." or NULL */
};

struct dv_kube_pump {
    struct dv_loop *loop;
    const struct dv_kube_config *config;
    CURLM *multi;
    struct dv_loop_source *timer;
    struct memory_file ca, cert, key;
    struct token token;
    struct dv_kube_transfer *first, *last; /* that have something to tell */
};

struct dv_kube_transfer {
    struct dv_kube_pump *pump;
    CURL *easy;
    struct curl_slist *headers;
    char *body;
    struct dv_str in;
    void (*on_data)(void *arg, const struct dv_str *in);
    void (*on_done)(void *arg, const struct dv_kube_outcome *outcome);
    void *arg;
    bool is_ready, has_data, ended, too_large;
    CURLcode code;
    char message[CURL_ERROR_SIZE];
    struct dv_kube_transfer *next, *previous; /* while it is ready */
};

/* A socket of libcurl's on the loop. */
struct plug {
    struct dv_kube_pump *pump;
    int fd;
    struct dv_loop_source *source;
};

/* ---- telling -------------------------------------------------------------------------------- */

static void make_ready(struct dv_kube_pump *p, struct dv_kube_transfer *t)
{
    if (t->is_ready)
        return;
    t->is_ready = true;
    t->next = NULL;
    t->previous = p->last;
    if (p->last)
        p->last->next = t;
    else
        p->first = t;
    p->last = t;
}

static void unready(struct dv_kube_pump *p, struct dv_kube_transfer *t)
{
    if (!t->is_ready)
        return;
    t->is_ready = false;
    if (p->first == t)
        p->first = t->next;
    else
        t->previous->next = t->next;
    if (t->next)
        t->next->previous = t->previous;
    else
        p->last = t->previous;
}

static struct dv_kube_transfer *pop(struct dv_kube_pump *p)
{
    struct dv_kube_transfer *t = p->first;
    if (!t)
        return NULL;
    p->first = t->next;
    if (p->first)
        p->first->previous = NULL;
    else
        p->last = NULL;
    t->is_ready = false;
    return t;
}

static void transfer_free(struct dv_kube_transfer *t)
{
    unready(t->pump, t);
    if (t->easy) {
        curl_multi_remove_handle(t->pump->multi, t->easy);
        curl_easy_cleanup(t->easy);
    }
    curl_slist_free_all(t->headers);
    free(t->body);
    dv_str_done(&t->in);
    free(t);
}

static int errno_of(const struct dv_kube_transfer *t, bool *ret_unsent)
{
    *ret_unsent = false;
    if (t->too_large)
        return -E2BIG;
    switch (t->code) {
    case CURLE_OK:
        return 0;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
        *ret_unsent = true;
        return -EHOSTUNREACH;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
        *ret_unsent = true;
        return -EPROTO;
    case CURLE_OPERATION_TIMEDOUT:
        return -ETIMEDOUT;
    case CURLE_OUT_OF_MEMORY:
        return -ENOMEM;
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
        return -EPIPE;
    default:
        return -EPROTO;
    }
}

static void finish(struct dv_kube_transfer *t)
{
    struct dv_kube_outcome o = {.body = &t->in};
    long status = 0;
    curl_off_t after = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(t->easy, CURLINFO_RETRY_AFTER, &after);
    o.error = errno_of(t, &o.unsent);
    o.status = (unsigned)status;
    o.retry_after_s = after > 0 ? (uint32_t)DV_MIN(after, 3600) : 0;
    o.message = t->too_large  ? "the answer is larger than 8 MiB"
                : *t->message ? t->message
                              : curl_easy_strerror(t->code);
    t->on_done(t->arg, &o);
    transfer_free(t);
}

/* The callbacks may stop any transfer, also this one, and then it is not to be touched. So has_data
 * and ended are looked at in turns of their own. */
static void tell(struct dv_kube_pump *p)
{
    struct dv_kube_transfer *t;
    while ((t = pop(p))) {
        if (t->ended && t->has_data)
            make_ready(p, t);
        if (t->has_data) {
            t->has_data = false;
            t->on_data(t->arg, &t->in);
        } else if (t->ended) {
            finish(t);
        }
    }
}

static void collect(struct dv_kube_pump *p)
{
    int left;
    CURLMsg *m;
    while ((m = curl_multi_info_read(p->multi, &left))) {
        if (m->msg != CURLMSG_DONE)
            continue;
        struct dv_kube_transfer *t = NULL;
        CURLcode code = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
        t->code = code;
        t->ended = true;
        make_ready(t->pump, t);
    }
    tell(p);
}

/* ---- libcurl on the loop -------------------------------------------------------------------- */

static void on_socket_event(void *arg, unsigned events)
{
    struct plug *plug = arg;
    struct dv_kube_pump *p = plug->pump;
    int running, mask = 0;
    if (events & DV_LOOP_READABLE)
        mask |= CURL_CSELECT_IN;
    if (events & DV_LOOP_WRITABLE)
        mask |= CURL_CSELECT_OUT;
    curl_multi_socket_action(p->multi, plug->fd, mask, &running); /* may free the plug */
    collect(p);
}

static void on_timer(void *arg)
{
    struct dv_kube_pump *p = arg;
    int running;
    curl_multi_socket_action(p->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    collect(p);
}

static int curl_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct dv_kube_pump *p = arg;
    dv_loop_timer_set(p->timer, timeout_ms < 0 ? DV_NEVER : (uint64_t)timeout_ms, 0);
    return 0;
}

static void plug_free(struct plug *plug)
{
    if (plug)
        dv_loop_remove(plug->source);
    free(plug);
}

static struct plug *plug_new(struct dv_kube_pump *p, int fd, unsigned events)
{
    struct plug *plug = calloc(1, sizeof *plug);
    if (!plug)
        return NULL;
    *plug = (struct plug){.pump = p, .fd = fd};
    if (dv_loop_poll(p->loop, fd, events, on_socket_event, plug, &plug->source) < 0) {
        free(plug);
        return NULL;
    }
    return plug;
}

static int curl_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *of_socket)
{
    struct dv_kube_pump *p = arg;
    struct plug *plug = of_socket;
    if (what == CURL_POLL_REMOVE) {
        curl_multi_assign(p->multi, fd, NULL);
        plug_free(plug);
        return 0;
    }
    unsigned events = (what & CURL_POLL_IN ? DV_LOOP_READABLE : 0) |
                      (what & CURL_POLL_OUT ? DV_LOOP_WRITABLE : 0);
    if (plug)
        return dv_loop_poll_set(plug->source, events) < 0 ? -1 : 0;
    plug = plug_new(p, fd, events);
    if (!plug)
        return -1;
    curl_multi_assign(p->multi, fd, plug);
    return 0;
}

/* A watch may be silent for minutes: the kernel finds out whether the peer is still there. */
static int curl_sockopt(void *arg, curl_socket_t fd, curlsocktype purpose)
{
    int on = 1, idle = KEEPALIVE_IDLE_S, interval = KEEPALIVE_INTERVAL_S;
    int probes = KEEPALIVE_PROBES, unacknowledged = UNACKNOWLEDGED_MS;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged, sizeof unacknowledged);
    return CURL_SOCKOPT_OK;
}

static size_t curl_write(char *data, size_t size, size_t n, void *arg)
{
    struct dv_kube_transfer *t = arg;
    size_t len = size * n;
    if (t->in.len + len > DV_KUBE_BODY_MAX) {
        t->too_large = true;
        return 0;
    }
    dv_str_addn(&t->in, data, len);
    if (t->in.failed)
        return 0;
    long status = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    if (t->on_data && status == 200) {
        t->has_data = true;
        make_ready(t->pump, t);
    }
    return len;
}

/* The head of a stream has come: it is told at once, though its first bytes may take minutes. */
static size_t curl_header(char *data, size_t size, size_t n, void *arg)
{
    struct dv_kube_transfer *t = arg;
    long status = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    if (t->on_data && status == 200 && size * n <= 2) {
        t->has_data = true;
        make_ready(t->pump, t);
    }
    return size * n;
}

/* ---- the pump ------------------------------------------------------------------------------- */

static int memory_file(struct memory_file *f, const char *name, const char *text)
{
    f->fd = -1;
    size_t len = strlen(text);
    if (!len)
        return 0;
    int fd = dv_fd_memfd(name, len);
    if (fd < 0)
        return fd;
    if (pwrite(fd, text, len, 0) != (ssize_t)len) {
        int r = dv_fd_errno();
        close(fd);
        return r;
    }
    f->fd = fd;
    snprintf(f->path, sizeof f->path, "/proc/self/fd/%d", fd);
    return 0;
}

static int pump_start(struct dv_kube_pump *p)
{
    const struct dv_kube_config *c = p->config;
    int r = memory_file(&p->ca, "kube-ca", c->ca_pem);
    r = r < 0 ? r : memory_file(&p->cert, "kube-cert", c->cert_pem);
    r = r < 0 ? r : memory_file(&p->key, "kube-key", c->key_pem);
    r = r < 0 ? r : dv_loop_timer(p->loop, DV_NEVER, 0, on_timer, p, &p->timer);
    if (r < 0)
        return r;
    p->multi = curl_multi_init();
    if (!p->multi)
        return -ENOMEM;
    curl_multi_setopt(p->multi, CURLMOPT_SOCKETFUNCTION, curl_socket);
    curl_multi_setopt(p->multi, CURLMOPT_SOCKETDATA, p);
    curl_multi_setopt(p->multi, CURLMOPT_TIMERFUNCTION, curl_timer);
    curl_multi_setopt(p->multi, CURLMOPT_TIMERDATA, p);
    curl_multi_setopt(p->multi, CURLMOPT_MAXCONNECTS, IDLE_CONNECTIONS);
    return 0;
}

int dv_kube_pump_new(struct dv_loop *loop, const struct dv_kube_config *config,
                     struct dv_kube_pump **ret, struct dv_err *err)
{
    struct dv_kube_pump *p = calloc(1, sizeof *p);
    if (!p)
        return dv_err_set(err, -ENOMEM, "out of memory");
    p->loop = loop;
    p->config = config;
    p->ca.fd = p->cert.fd = p->key.fd = -1;
    int r = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? pump_start(p) : -ENOMEM;
    if (r < 0) {
        dv_kube_pump_free(p);
        return dv_err_set(err, r, "cannot start a Kubernetes client: %s", strerror(-r));
    }
    *ret = p;
    return 0;
}

void dv_kube_pump_forget_token(struct dv_kube_pump *p)
{
    if (p->token.header)
        explicit_bzero(p->token.header, strlen(p->token.header));
    free(p->token.header);
    p->token.header = NULL;
}

void dv_kube_pump_free(struct dv_kube_pump *p)
{
    if (!p)
        return;
    if (p->multi)
        curl_multi_cleanup(p->multi); /* closes connections, and so removes their plugs */
    dv_loop_remove(p->timer);
    dv_fd_close(&p->ca.fd);
    dv_fd_close(&p->cert.fd);
    dv_fd_close(&p->key.fd);
    dv_kube_pump_forget_token(p);
    free(p);
}

/* ---- the token ------------------------------------------------------------------------------ */

static int set_token(struct dv_kube_pump *p, char *text, struct dv_err *err)
{
    text[strcspn(text, "\r\n")] = 0;
    for (const char *c = text; *c; c++)
        if (*c <= ' ' || *c > '~')
            return dv_err_set(err, -EINVAL, "the token in %s holds a character that no token has",
                              p->config->token_file);
    struct dv_str s = {0};
    dv_str_addf(&s, "Authorization: Bearer %s", text);
    char *header = dv_str_steal(&s);
    if (!header)
        return dv_err_set(err, -ENOMEM, "out of memory");
    dv_kube_pump_forget_token(p);
    p->token.header = header;
    return 0;
}

static bool same_file(const struct token *t, const struct stat *st)
{
    return t->header && t->dev == st->st_dev && t->ino == st->st_ino && t->size == st->st_size &&
           t->changed.tv_sec == st->st_mtim.tv_sec && t->changed.tv_nsec == st->st_mtim.tv_nsec;
}

/* The kubelet replaces the file of a service account about every hour. */
static int read_token(struct dv_kube_pump *p, struct dv_err *err)
{
    const char *path = p->config->token_file;
    struct stat st = {0};
    char *text = NULL;
    size_t len;
    if (!*path && (!*p->config->token || p->token.header))
        return 0;
    if (*path && stat(path, &st) == 0 && same_file(&p->token, &st))
        return 0;
    int r = 0;
    if (!*path)
        text = strdup(p->config->token);
    else
        r = dv_fd_read_file(path, DV_KUBE_TOKEN_MAX, &text, &len, err);
    if (r < 0)
        return r;
    r = text ? set_token(p, text, err) : dv_err_set(err, -ENOMEM, "out of memory");
    if (r == 0 && *path) {
        p->token.dev = st.st_dev;
        p->token.ino = st.st_ino;
        p->token.size = st.st_size;
        p->token.changed = st.st_mtim;
    }
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
    return r;
}

/* ---- a transfer ----------------------------------------------------------------------------- */

static bool add_header(struct dv_kube_transfer *t, const char *header)
{
    struct curl_slist *more = curl_slist_append(t->headers, header);
    if (!more)
        return false;
    t->headers = more;
    return true;
}

static bool add_headers(struct dv_kube_transfer *t, const struct dv_kube_transfer_spec *spec)
{
    char type[96];
    bool ok = add_header(t, "Accept: application/json") && add_header(t, "Expect:");
    if (spec->body) {
        snprintf(type, sizeof type, "Content-Type: %s", spec->content_type);
        ok = ok && add_header(t, type);
    }
    if (t->pump->token.header)
        ok = ok && add_header(t, t->pump->token.header);
    return ok;
}

static void set_tls(struct dv_kube_transfer *t)
{
    const struct dv_kube_config *c = t->pump->config;
    const struct dv_kube_pump *p = t->pump;
    const char *ca = p->ca.fd >= 0 ? p->ca.path : c->ca_file;
    const char *cert = p->cert.fd >= 0 ? p->cert.path : c->cert_file;
    const char *key = p->key.fd >= 0 ? p->key.path : c->key_file;
    curl_easy_setopt(t->easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(t->easy, CURLOPT_SSL_VERIFYPEER, c->insecure ? 0L : 1L);
    curl_easy_setopt(t->easy, CURLOPT_SSL_VERIFYHOST, c->insecure ? 0L : 2L);
    if (*ca) { /* this authority and no other: not the machine's own list */
        curl_easy_setopt(t->easy, CURLOPT_CAINFO, ca);
        curl_easy_setopt(t->easy, CURLOPT_CAPATH, NULL);
    }
    if (*cert) {
        curl_easy_setopt(t->easy, CURLOPT_SSLCERT, cert);
        curl_easy_setopt(t->easy, CURLOPT_SSLKEY, key);
    }
}

static void set_options(struct dv_kube_transfer *t, const struct dv_kube_transfer_spec *spec)
{
    CURL *e = t->easy;
    curl_easy_setopt(e, CURLOPT_PRIVATE, t);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t->message);
    curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, spec->method);
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, t->headers);
    curl_easy_setopt(e, CURLOPT_USERAGENT, "divvy/" DV_VERSION);
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "https,http");
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(e, CURLOPT_PIPEWAIT, 1L); /* rather a stream than a connection of its own */
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L); /* no waiting for a resolver that hangs */
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)spec->timeout_ms);
    curl_easy_setopt(e, CURLOPT_SOCKOPTFUNCTION, curl_sockopt);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, curl_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, curl_write);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, t);
    if (t->body) {
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(t->body));
        curl_easy_setopt(e, CURLOPT_POSTFIELDS, t->body);
    }
    set_tls(t);
}

static bool transfer_begin(struct dv_kube_transfer *t, const struct dv_kube_transfer_spec *spec)
{
    dv_cleanup(dv_str_done) struct dv_str url = {0};
    dv_str_addf(&url, "%s%s", t->pump->config->server, spec->path);
    if (url.failed || (spec->body && !(t->body = strdup(spec->body))) || !add_headers(t, spec))
        return false;
    set_options(t, spec);
    if (curl_easy_setopt(t->easy, CURLOPT_URL, dv_str_get(&url)) != CURLE_OK)
        return false;
    return curl_multi_add_handle(t->pump->multi, t->easy) == CURLM_OK;
}

int dv_kube_transfer_start(struct dv_kube_pump *pump, const struct dv_kube_transfer_spec *spec,
                           struct dv_kube_transfer **ret, struct dv_err *err)
{
    int r = read_token(pump, err);
    if (r < 0)
        return r;
    struct dv_kube_transfer *t = calloc(1, sizeof *t);
    if (!t)
        return dv_err_set(err, -ENOMEM, "out of memory");
    t->pump = pump;
    t->on_data = spec->on_data;
    t->on_done = spec->on_done;
    t->arg = spec->arg;
    t->easy = curl_easy_init();
    if (!t->easy || !transfer_begin(t, spec)) {
        transfer_free(t);
        return dv_err_set(err, -ENOMEM, "out of memory");
    }
    *ret = t;
    return 0;
}

void dv_kube_transfer_stop(struct dv_kube_transfer *t)
{
    if (t)
        transfer_free(t);
}

void dv_kube_transfer_take(struct dv_kube_transfer *t, size_t n)
{
    n = DV_MIN(n, t->in.len);
    if (!n)
        return;
    t->in.len -= n;
    memmove(t->in.data, t->in.data + n, t->in.len + 1);
    if (!t->in.len && t->in.cap > 65536) /* a huge object has passed: give its room back */
        dv_str_done(&t->in);
}
