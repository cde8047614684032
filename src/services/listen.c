/* SPDX-License-Identifier: Apache-2.0 */
#include "listen.h"

#include "metrics.h"
#include "sys/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXIT_USAGE 2
#define EXIT_UNAVAILABLE 5
#define FILE_MAX (256u * 1024)
#define TOKEN_MIN 16u
#define TOKEN_MAX 1024u

struct dv_listen {
    struct dv_http_address address;
    int fd; /* until the server has it */
    char *cert, *key, *token;
    struct dv_node *node;
    struct dv_http_server *server;
};

const char *dv_listen_address(const struct dv_listen *l)
{
    return l->address.text;
}

/* Secrets that others can read are none. */
static int check_secret(const char *path, const char *option, struct dv_err *err)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return dv_err_set(err, EXIT_USAGE, "%s: cannot read %s: %s", option, path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return dv_err_set(err, EXIT_USAGE, "%s: %s is no file", option, path);
    if (st.st_mode & (S_IRWXO | S_IWGRP))
        return dv_err_set(err, EXIT_USAGE,
                          "%s: others can read %s, or its group can write it; chmod 0600 %s",
                          option, path, path);
    return 0;
}

static int read_text(const char *path, const char *option, bool secret, char **ret,
                     struct dv_err *err)
{
    size_t len;
    int r = secret ? check_secret(path, option, err) : 0;
    if (r)
        return r;
    r = dv_fd_read_file(path, FILE_MAX, ret, &len, err);
    if (r < 0) {
        dv_err_prefix(err, "%s: ", option);
        return EXIT_USAGE;
    }
    return strlen(*ret) == len
               ? 0
               : dv_err_set(err, EXIT_USAGE, "%s: there is a NUL byte in %s", option, path);
}

/* One line; blanks at its end do not count. */
static int check_token(char *token, const char *path, struct dv_err *err)
{
    size_t len = strlen(token);
    while (len && strchr(" \t\r\n", token[len - 1]))
        token[--len] = 0;
    for (size_t i = 0; i < len; i++)
        if (token[i] <= ' ' || token[i] > '~')
            return dv_err_set(err, EXIT_USAGE, "--token-file: %s must have one line without blanks",
                              path);
    if (len < TOKEN_MIN || len > TOKEN_MAX)
        return dv_err_set(err, EXIT_USAGE,
                          "--token-file: the token in %s has %zu characters; %u to %u are needed",
                          path, len, TOKEN_MIN, TOKEN_MAX);
    return 0;
}

static int check_options(const struct dv_listen_options *o, const struct dv_http_address *a,
                         struct dv_err *err)
{
    if (!o->tls_cert != !o->tls_key)
        return dv_err_set(err, EXIT_USAGE, "--tls-cert and --tls-key go together");
    if (!a->loopback && (!o->tls_cert || !o->token_file))
        return dv_err_set(err, EXIT_USAGE,
                          "--listen: %s can be reached from other machines; there it needs "
                          "--tls-cert, --tls-key and --token-file",
                          a->text);
    return 0;
}

static int read_files(struct dv_listen *l, const struct dv_listen_options *o, struct dv_err *err)
{
    int r = 0;
    if (o->tls_cert)
        r = read_text(o->tls_cert, "--tls-cert", false, &l->cert, err);
    if (!r && o->tls_key)
        r = read_text(o->tls_key, "--tls-key", true, &l->key, err);
    if (!r && o->token_file)
        r = read_text(o->token_file, "--token-file", true, &l->token, err);
    return !r && l->token ? check_token(l->token, o->token_file, err) : r;
}

static int open_socket(struct dv_listen *l, struct dv_err *err)
{
    l->fd = dv_http_tcp_listen(&l->address, err);
    if (l->fd < 0) {
        dv_err_prefix(err, "--listen: ");
        return l->fd == -EADDRINUSE ? EXIT_UNAVAILABLE : 1;
    }
    int r = dv_http_tcp_chosen(l->fd, &l->address);
    return r < 0 ? dv_err_set(err, 1, "--listen: %s", strerror(-r)) : 0;
}

int dv_listen_open(const struct dv_listen_options *o, struct dv_listen **ret, struct dv_err *err)
{
    *ret = NULL;
    if (!o->address) {
        if (o->tls_cert || o->tls_key || o->token_file)
            return dv_err_set(err, EXIT_USAGE,
                              "--tls-cert, --tls-key and --token-file are for --listen");
        return 0;
    }
    struct dv_listen *l = calloc(1, sizeof *l);
    if (!l)
        return dv_err_set(err, 1, "out of memory");
    l->fd = -1;
    int r = dv_http_tcp_parse(o->address, &l->address, err);
    if (r < 0) {
        dv_err_prefix(err, "--listen: ");
        r = EXIT_USAGE;
    }
    if (!r)
        r = check_options(o, &l->address, err);
    if (!r)
        r = read_files(l, o, err);
    if (!r)
        r = open_socket(l, err);
    if (r) {
        dv_listen_free(l);
        return r;
    }
    *ret = l;
    return 0;
}

static void refuse(struct dv_http_request *rq, unsigned status, const char *text)
{
    dv_http_server_reply_as(rq, status, "text/plain; charset=utf-8", text, strlen(text));
}

/* Health is no secret: a probe has no token. */
static bool is_probe(const struct dv_http_request *rq)
{
    return !strcmp(rq->path, "/healthz") || !strcmp(rq->path, "/readyz");
}

static void on_request(void *arg, struct dv_http_request *rq)
{
    struct dv_listen *l = arg;
    if (l->address.loopback && !dv_http_tcp_host_is_own(dv_http_server_header(rq, "Host"))) {
        refuse(rq, 403, "the Host header must name the loopback: 127.0.0.1, [::1] or localhost\n");
    } else if (l->token && !is_probe(rq) &&
               !dv_http_tcp_bearer_is(dv_http_server_header(rq, "Authorization"), l->token)) {
        dv_http_server_add_header(rq, "WWW-Authenticate", "Bearer");
        refuse(rq, 401, "a token is needed: Authorization: Bearer TOKEN\n");
    } else if (!dv_metrics_answer(l->node, rq)) {
        bool api = !strncmp(rq->path, "/v1/", 4);
        refuse(rq, api ? 403 : 404,
               api ? "the API is on the Unix socket alone, where the kernel says who asks\n"
                   : "there is /metrics, /metrics/dcgm, /healthz and /readyz\n");
    }
}

int dv_listen_start(struct dv_listen *l, struct dv_loop *loop, struct dv_node *node,
                    struct dv_err *err)
{
    l->node = node;
    node->telemetry.always = true;
    int r = dv_http_server_new_tcp(loop, l->fd, l->cert, l->key, on_request, l, &l->server);
    if (r < 0)
        return dv_err_set(err, r,
                          l->cert ? "--listen: GnuTLS does not take this certificate and key"
                                  : "--listen: cannot start the server");
    l->fd = -1;
    return 0;
}

void dv_listen_free(struct dv_listen *l)
{
    if (!l)
        return;
    dv_http_server_free(l->server);
    dv_fd_close(&l->fd);
    free(l->cert);
    if (l->key)
        explicit_bzero(l->key, strlen(l->key));
    free(l->key);
    if (l->token)
        explicit_bzero(l->token, strlen(l->token));
    free(l->token);
    free(l);
}
