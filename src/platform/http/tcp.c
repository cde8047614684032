/* SPDX-License-Identifier: Apache-2.0 */
#include "http/tcp.h"

#include "sys/fd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 64

static bool parse_port(const char *text, uint16_t *ret)
{
    uint32_t n = 0;
    size_t len = strlen(text);
    if (!len || len > 5)
        return false;
    for (const char *p = text; *p; p++) {
        if (*p < '0' || *p > '9')
            return false;
        n = n * 10 + (uint32_t)(*p - '0');
    }
    *ret = (uint16_t)n;
    return n <= 65535;
}

static void describe(struct dv_http_address *a)
{
    char host[INET6_ADDRSTRLEN] = "";
    bool v6 = a->at.any.sa_family == AF_INET6;
    if (v6)
        inet_ntop(AF_INET6, &a->at.v6.sin6_addr, host, sizeof host);
    else
        inet_ntop(AF_INET, &a->at.v4.sin_addr, host, sizeof host);
    snprintf(a->text, sizeof a->text, v6 ? "[%s]:%u" : "%s:%u", host,
             ntohs(v6 ? a->at.v6.sin6_port : a->at.v4.sin_port));
}

static bool is_loopback4(struct in_addr a)
{
    return ntohl(a.s_addr) >> 24 == 127;
}

static bool parse_host(const char *host, uint16_t port, struct dv_http_address *a)
{
    if (!*host || !strcmp(host, "localhost"))
        host = "127.0.0.1";
    if (inet_pton(AF_INET, host, &a->at.v4.sin_addr) == 1) {
        a->at.v4.sin_family = AF_INET;
        a->at.v4.sin_port = htons(port);
        a->size = sizeof a->at.v4;
        a->loopback = is_loopback4(a->at.v4.sin_addr);
        return true;
    }
    if (inet_pton(AF_INET6, host, &a->at.v6.sin6_addr) != 1)
        return false;
    a->at.v6.sin6_family = AF_INET6;
    a->at.v6.sin6_port = htons(port);
    a->size = sizeof a->at.v6;
    a->loopback = IN6_IS_ADDR_LOOPBACK(&a->at.v6.sin6_addr);
    return true;
}

int dv_http_tcp_parse(const char *text, struct dv_http_address *ret, struct dv_err *err)
{
    struct dv_http_address a = {0};
    char host[INET6_ADDRSTRLEN + 2];
    const char *colon = strrchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : sizeof host;
    uint16_t port;
    if (len >= sizeof host || !parse_port(colon + 1, &port))
        return dv_err_set(err, -EINVAL,
                          "'%.60s' is no ADDR:PORT, such as 127.0.0.1:9400 or [::1]:9400", text);
    bool brackets = len >= 2 && text[0] == '[' && text[len - 1] == ']';
    memcpy(host, text + brackets, len - 2 * brackets);
    host[len - 2 * brackets] = 0;
    if (!brackets && strchr(host, ':'))
        return dv_err_set(err, -EINVAL, "an IPv6 address stands in brackets: [%s]:%s", host,
                          colon + 1);
    if (!parse_host(host, port, &a) || (brackets && a.at.any.sa_family != AF_INET6))
        return dv_err_set(err, -EINVAL, "'%s' is no IP address; names are not looked up", host);
    describe(&a);
    *ret = a;
    return 0;
}

int dv_http_tcp_listen(const struct dv_http_address *a, struct dv_err *err)
{
    int one = 1;
    int fd = socket(a->at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return dv_err_set(err, dv_fd_errno(), "cannot make a socket: %s", strerror(errno));
    /* Connections of the last daemon that still fade away do not count; another listener does. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (a->at.any.sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(fd, &a->at.any, a->size) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int r = dv_fd_errno();
    close(fd);
    if (r == -EADDRINUSE)
        return dv_err_set(err, r, "something else listens on %s already", a->text);
    return dv_err_set(err, r, "cannot listen on %s: %s", a->text, strerror(-r));
}

int dv_http_tcp_chosen(int fd, struct dv_http_address *address)
{
    socklen_t size = sizeof address->at;
    if (getsockname(fd, &address->at.any, &size) < 0)
        return dv_fd_errno();
    describe(address);
    return 0;
}

bool dv_http_tcp_host_is_own(const char *host)
{
    char name[INET6_ADDRSTRLEN + 2];
    struct in_addr v4;
    struct in6_addr v6;
    if (!host)
        return false;
    const char *end = host[0] == '[' ? strchr(host, ']') : strchr(host, ':');
    size_t len = end ? (size_t)(end - host) : strlen(host);
    bool brackets = host[0] == '[';
    uint16_t port;
    if ((brackets && !end) || len - brackets >= sizeof name || len == brackets)
        return false;
    const char *rest = end ? end + brackets : "";
    if (*rest && (*rest != ':' || !parse_port(rest + 1, &port)))
        return false;
    memcpy(name, host + brackets, len - brackets);
    name[len - brackets] = 0;
    if (brackets)
        return inet_pton(AF_INET6, name, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
    return !strcasecmp(name, "localhost") ||
           (inet_pton(AF_INET, name, &v4) == 1 && is_loopback4(v4));
}

bool dv_http_tcp_bearer_is(const char *authorization, const char *token)
{
    static const char scheme[] = "Bearer ";
    size_t len = strlen(token);
    unsigned differs = 0;
    if (!authorization || strncasecmp(authorization, scheme, sizeof scheme - 1) != 0)
        return false;
    const char *given = authorization + sizeof scheme - 1;
    given += strspn(given, " ");
    if (!len || strlen(given) != len)
        return false;
    for (size_t i = 0; i < len; i++)
        differs |= (unsigned char)(given[i] ^ token[i]);
    return !differs;
}
