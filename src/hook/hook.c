/* SPDX-License-Identifier: Apache-2.0 */
/*
 * divvy-hook: what a container runtime calls just before it starts a container that has a slice
 * (OCI hook, stage createRuntime; the call stands in a CDI specification that divvyd writes). It
 * hands the runtime's word of the container to divvyd and waits for the answer: exit 0, the slice
 * is there and its walls are up; else the reason on standard error, and the container does not
 * start.
 *
 * Runs as root on the host, in front of every start: so it is one static file that needs libc
 * alone, parses nothing that it can pass on, and bounds what it reads. While divvyd is away (being
 * updated) it tries again until its time is up.
 */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define STATE_MAX (1024u * 1024)
#define DEVICES_MAX (64u * 1024) /* of the list, as text */
#define ANSWER_MAX (64u * 1024)
#define MESSAGE_MAX 1024
#define RETRY_MS 100
#define TIMEOUT_MAX_MS 600000u
#define DEFAULT_SOCKET "/run/divvy/divvyd.sock"
#define USAGE 2

struct hook {
    const char *socket, *resource, *devices, *mode, *memory, *compute;
    uint64_t deadline_ms;
    uint32_t timeout_ms;
    char *body;
    size_t body_len;
    char answer[ANSWER_MAX + 1];
    size_t answer_len;
};

static const char help[] =
    "usage: divvy-hook --resource NAME --device ID[,ID...] [--socket PATH] [--timeout TIME]\n"
    "                  [--mode MODE [--memory-bytes N] [--compute N]] < OCI-STATE\n"
    "\n"
    "An OCI hook of the stage createRuntime: asks divvyd for a container's slice, and exits with "
    "0\n"
    "once it is there. TIME: 20s (the default), 500ms. Without --mode divvyd knows what the "
    "device\n"
    "stands for; --compute is in 1/7000 GPU.\n";

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int fail(const char *what, const char *detail)
{
    fprintf(stderr, "divvy-hook: %s%s%s\n", what, *detail ? ": " : "", detail);
    return 1;
}

/* ---- the question ---- */

/* What goes into JSON as it is. */
static bool is_plain(const char *text, size_t max)
{
    size_t n = strlen(text);
    for (const char *p = text; *p; p++)
        if (*p <= ' ' || *p > '~' || *p == '"' || *p == '\\')
            return false;
    return n && n <= max;
}

static bool is_number(const char *text)
{
    return *text >= '1' && *text <= '9' && strlen(text) <= 18 &&
           strspn(text, "0123456789") == strlen(text);
}

static int parse_timeout(const char *text, uint32_t *ret_ms)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    uint32_t unit = !strcmp(end, "ms") ? 1 : !strcmp(end, "s") ? 1000 : 0;
    if (*text < '1' || *text > '9' || !unit || n > TIMEOUT_MAX_MS / unit)
        return -1;
    *ret_ms = (uint32_t)n * unit;
    return 0;
}

/* Whoever pipes more is no container runtime. */
static int read_state(char **ret, size_t *ret_len)
{
    char *text = malloc(STATE_MAX + 1);
    size_t len = 0;
    ssize_t n = 1;
    while (text && len <= STATE_MAX && n > 0) {
        n = read(STDIN_FILENO, text + len, STATE_MAX + 1 - len);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n > 0)
            len += (size_t)n;
    }
    if (text && n >= 0 && len && len <= STATE_MAX) {
        *ret = text;
        *ret_len = len;
        return 0;
    }
    free(text);
    return fail("cannot read the container's state from the standard input",
                !text   ? "out of memory"
                : n < 0 ? strerror(errno)
                : len   ? "it is longer than 1 MiB"
                        : "it is empty");
}

static void write_devices(FILE *f, const char *devices)
{
    fputs(",\"devices\":[\"", f);
    for (const char *p = devices; *p; p++) {
        if (*p == ',')
            fputs("\",\"", f);
        else
            fputc(*p, f);
    }
    fputs("\"]", f);
}

/* The state stands last and as it came: divvyd reads it, and nobody else. */
static int make_body(struct hook *h)
{
    char *state = NULL;
    size_t len = 0;
    if (read_state(&state, &len))
        return 1;
    FILE *f = open_memstream(&h->body, &h->body_len);
    if (f) {
        fprintf(f, "{\"resource\":\"%s\"", h->resource);
        write_devices(f, h->devices);
        if (h->mode)
            fprintf(f, ",\"mode\":\"%s\"", h->mode);
        if (h->memory)
            fprintf(f, ",\"memory_bytes\":%s", h->memory);
        if (h->compute)
            fprintf(f, ",\"compute\":%s", h->compute);
        fputs(",\"state\":", f);
        fwrite(state, 1, len, f);
        fputc('}', f);
    }
    free(state);
    return f && !fclose(f) ? 0 : fail("out of memory", "");
}

/* ---- asking ---- */

static int send_all(int fd, const char *data, size_t size)
{
    while (size) {
        ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -errno;
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

static int receive_all(struct hook *h, int fd)
{
    h->answer_len = 0;
    for (;;) {
        ssize_t n = recv(fd, h->answer + h->answer_len, ANSWER_MAX - h->answer_len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        h->answer_len += (size_t)n;
        if (!n || h->answer_len == ANSWER_MAX)
            break;
    }
    h->answer[h->answer_len] = 0;
    return h->answer_len ? 0 : -ECONNRESET;
}

static int connect_to(const char *path, uint64_t left_ms)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct timeval limit = {(time_t)(left_ms / 1000), (suseconds_t)(left_ms % 1000) * 1000};
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) ||
        connect(fd, (struct sockaddr *)&a, sizeof a)) {
        int r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

/* One try. 0 with an answer; negative errno: nobody, or nothing that could be used. */
static int ask(struct hook *h, uint64_t left_ms)
{
    char head[160];
    int n = snprintf(head, sizeof head,
                     "POST /v1/containers HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                     "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                     h->body_len);
    int fd = connect_to(h->socket, left_ms);
    if (fd < 0)
        return fd;
    int r = send_all(fd, head, (size_t)n);
    if (!r)
        r = send_all(fd, h->body, h->body_len);
    /* A server that has said no before it read all is still heard. */
    int heard = receive_all(h, fd);
    close(fd);
    return heard ? (r ? r : heard) : 0;
}

/* ---- the answer ---- */

static int status_of(const struct hook *h)
{
    int status;
    return sscanf(h->answer, "HTTP/1.%*1[01] %3d", &status) == 1 ? status : 0;
}

/* The text of "message" in divvyd's answer, for a terminal. */
static void message_of(const struct hook *h, char ret[MESSAGE_MAX])
{
    static const char key[] = "\"message\":\"";
    const char *p = strstr(h->answer, key);
    size_t n = 0;
    for (p = p ? p + sizeof key - 1 : ""; *p && *p != '"' && n < MESSAGE_MAX - 1; p++) {
        bool escaped = *p == '\\' && p[1];
        p += escaped;
        ret[n++] = (unsigned char)*p < ' ' || *p == 0x7f ? '?' : escaped && *p == 'n' ? ' ' : *p;
    }
    ret[n] = 0;
}

static int finish(const struct hook *h, int status)
{
    char message[MESSAGE_MAX];
    if (status == 200)
        return 0;
    message_of(h, message);
    return fail(message[0] ? message : "divvyd gave an answer that is none", "");
}

/* 503: it is starting, or its hardware does not answer yet. */
static int ask_until(struct hook *h)
{
    for (;;) {
        uint64_t now = now_ms(); /* a pause may have been longer than asked for; 0 is no bound */
        int r = ask(h, now < h->deadline_ms ? h->deadline_ms - now : 1);
        int status = r ? 0 : status_of(h);
        if (status && status != 503)
            return finish(h, status);
        now = now_ms();
        if (now + RETRY_MS < h->deadline_ms) {
            usleep(RETRY_MS * 1000);
            continue;
        }
        if (status)
            return finish(h, status);
        fprintf(stderr, "divvy-hook: divvyd does not answer on %s: %s\n", h->socket,
                strerror(r ? -r : EPROTO));
        return 1;
    }
}

/* ---- options ---- */

enum { SOCKET = 1, RESOURCE, DEVICE, MODE, MEMORY, COMPUTE, TIMEOUT, HELP, VERSION };

static const struct option options[] = {
    {"socket", required_argument, NULL, SOCKET},
    {"resource", required_argument, NULL, RESOURCE},
    {"device", required_argument, NULL, DEVICE},
    {"mode", required_argument, NULL, MODE},
    {"memory-bytes", required_argument, NULL, MEMORY},
    {"compute", required_argument, NULL, COMPUTE},
    {"timeout", required_argument, NULL, TIMEOUT},
    {"help", no_argument, NULL, HELP},
    {"version", no_argument, NULL, VERSION},
    {0},
};

static int usage(const char *message)
{
    fprintf(stderr, "divvy-hook: %s; see divvy-hook --help\n", message);
    return USAGE;
}

static int check(const struct hook *h)
{
    struct sockaddr_un a;
    if (!h->resource || !is_plain(h->resource, 127))
        return usage("--resource must be a name, such as nvidia.com/gpu");
    if (!h->devices || !is_plain(h->devices, DEVICES_MAX))
        return usage("--device must be a list of ids, with commas between");
    if (h->mode && !is_plain(h->mode, 31))
        return usage("--mode must be the name of a mode");
    if ((h->memory && !is_number(h->memory)) || (h->compute && !is_number(h->compute)))
        return usage("--memory-bytes and --compute must be numbers from 1");
    if (!*h->socket || strlen(h->socket) >= sizeof a.sun_path)
        return usage("--socket must be a path of at most 107 bytes");
    return 0;
}

/* Returns -1 to go on, else the exit status. */
static int parse(int argc, char **argv, struct hook *h)
{
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == SOCKET)
            h->socket = optarg;
        else if (c == RESOURCE)
            h->resource = optarg;
        else if (c == DEVICE)
            h->devices = optarg;
        else if (c == MODE)
            h->mode = optarg;
        else if (c == MEMORY)
            h->memory = optarg;
        else if (c == COMPUTE)
            h->compute = optarg;
        else if (c == TIMEOUT && parse_timeout(optarg, &h->timeout_ms))
            return usage("--timeout must be a time from 1ms to 600s");
        else if (c == HELP || c == VERSION)
            return fputs(c == HELP ? help : "divvy-hook " DV_VERSION "\n", stdout) < 0;
        else if (c != TIMEOUT)
            return usage("an option is unknown or has no value");
    }
    if (optind < argc)
        return usage("it takes no arguments besides options");
    int status = check(h);
    return status ? status : -1;
}

int main(int argc, char **argv)
{
    static struct hook h = {.socket = DEFAULT_SOCKET, .timeout_ms = 20000};
    int status = parse(argc, argv, &h);
    if (status >= 0)
        return status;
    h.deadline_ms = now_ms() + h.timeout_ms;
    return make_body(&h) ? 1 : ask_until(&h);
}
