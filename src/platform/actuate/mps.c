/* SPDX-License-Identifier: Apache-2.0 */
#include "actuate/mps.h"

#include "actuate/mps_daemon.h"
#include "actuate/mps_probe.h"
#include "base/str.h"
#include "sys/clock.h"
#include "sys/fd.h"
#include "sys/proc.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define START_MS 10000u
#define QUIT_S 5u /* for its clients to end, who have been told to before */
#define GONE_MS 5000u
#define TERM_MS 1000u
#define SERVERS_MAX 8
#define SOCKET_ROOM 24u /* "/control_privileged" and its NUL */

/* ---- where ---- */

int dv_mps_pipe(const char *state, const char *name, char *ret, size_t size, struct dv_err *err)
{
    int n = snprintf(ret, size, "%s/mps/%s/pipe", state, name);
    if (n > 0 && (size_t)n < size && (size_t)n + SOCKET_ROOM <= 108)
        return 0;
    return dv_err_set(err, -ENAMETOOLONG,
                      "%.60s.../mps/%s/pipe is too long for MPS: the path of a socket has 108 "
                      "bytes; give a shorter --state",
                      state, name);
}

static int prepare(const struct dv_mps_config *config, const struct dv_mps_spec *spec,
                   struct dv_mps_at *ret, struct dv_err *err)
{
    if (!config->state || config->state[0] != '/')
        return dv_err_set(err, DV_ACTUATE_NOT_SUPPORTED,
                          "MPS needs a state directory with an absolute path");
    *ret = (struct dv_mps_at){.config = config, .spec = spec};
    int r = dv_mps_pipe(config->state, spec->name, ret->pipe, sizeof ret->pipe, err);
    if (r < 0)
        return r;
    snprintf(ret->log, sizeof ret->log, "%s/mps/%s/log", config->state, spec->name);
    snprintf(ret->pipe_env, sizeof ret->pipe_env, "CUDA_MPS_PIPE_DIRECTORY=%s", ret->pipe);
    snprintf(ret->log_env, sizeof ret->log_env, "CUDA_MPS_LOG_DIRECTORY=%s", ret->log);
    snprintf(ret->device_env, sizeof ret->device_env, "CUDA_VISIBLE_DEVICES=%s", spec->device);
    size_t n = 0;
    ret->set[n++] = ret->pipe_env;
    ret->set[n++] = ret->log_env;
    ret->set[n++] = ret->device_env;
    for (size_t i = 0; config->set && config->set[i] && n + 1 < DV_TOOL_ENV_MAX; i++)
        ret->set[n++] = config->set[i];
    return 0;
}

/* One folder below an open one, ours and no link. The descriptor, or negative errno. */
static int make_below(int at, const char *name)
{
    struct stat st;
    if (mkdirat(at, name, 0755) < 0 && errno != EEXIST)
        return -errno;
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = fstat(fd, &st) < 0 ? -errno : st.st_uid != geteuid() ? -EPERM : 0;
    if (r == 0 && fchmod(fd, 0755) < 0) /* whatever the umask: clients are other users */
        r = -errno;
    if (r < 0)
        close(fd);
    return r < 0 ? r : fd;
}

static int make_folders(const struct dv_mps_at *m, struct dv_err *err)
{
    dv_cleanup(dv_fd_close) int state = open(m->config->state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    dv_cleanup(dv_fd_close) int all = state < 0 ? -errno : make_below(state, "mps");
    dv_cleanup(dv_fd_close) int own = all < 0 ? all : make_below(all, m->spec->name);
    dv_cleanup(dv_fd_close) int pipe_fd = own < 0 ? own : make_below(own, "pipe");
    dv_cleanup(dv_fd_close) int log_fd = pipe_fd < 0 ? pipe_fd : make_below(own, "log");
    if (log_fd >= 0)
        return 0;
    return dv_err_set(err, log_fd, "cannot make the folders of the MPS daemon in %s/mps/%s: %s",
                      m->config->state, m->spec->name, strerror(-log_fd));
}

/* ---- what it prints ---- */

int dv_mps_parse_pids(const char *text, int32_t *ret, uint32_t max)
{
    uint32_t n = 0;
    for (const char *p = text; *p;) {
        size_t len = strcspn(p, "\n"), digits = strspn(p, "0123456789");
        size_t rest = digits + strspn(p + digits, " \t\r");
        if (rest != len || digits > 9)
            return -EPROTO;
        if (digits && n < max)
            ret[n++] = (int32_t)strtol(p, NULL, 10);
        p += len + (p[len] == '\n');
    }
    return (int)n;
}

int dv_mps_parse_percent(const char *text, uint32_t *ret)
{
    char *end;
    size_t len = strcspn(text, "\r\n");
    if (!len || len > 16 || strspn(text, "0123456789.") != len)
        return -EPROTO;
    double v = strtod(text, &end);
    if (end != text + len || v <= 0 || v > 100)
        return -EPROTO;
    *ret = v < 1 ? 1 : (uint32_t)(v + 0.5);
    return 0;
}

enum dv_mps_server_state dv_mps_parse_state(const char *text)
{
    if (!strncmp(text, "ACTIVE", 6))
        return DV_MPS_SERVER_ACTIVE;
    if (!strncmp(text, "FAULT", 5))
        return DV_MPS_SERVER_FAULT;
    return DV_MPS_SERVER_OTHER;
}

/* ---- commands ---- */

int dv_mps_daemon_run(const struct dv_mps_at *m, const char *const *argv, const char *input,
                      uint32_t deadline_ms, char *out, int *ret_status, struct dv_err *err)
{
    struct dv_tool t = {.directory = m->config->tools,
                        .argv = argv,
                        .set = m->set,
                        .input = input,
                        .deadline_ms = deadline_ms};
    int r = dv_tool_run(&t, out, DV_MPS_OUTPUT_MAX, ret_status, err);
    return r == -ENOENT ? DV_ACTUATE_NOT_SUPPORTED : r;
}

/* Of protocol 2. 0; DV_ACTUATE_NOT_FOUND: no daemon answers; negative errno. */
static int command(const struct dv_mps_at *m, const char *line, uint32_t deadline_ms, char *out,
                   struct dv_err *err)
{
    static const char *const argv[] = {DV_MPS_CONTROL, NULL};
    char input[256];
    int status = 0;
    snprintf(input, sizeof input, "%s\n", line);
    int r = dv_mps_daemon_run(m, argv, input, deadline_ms, out, &status, err);
    if (r || !status)
        return r;
    return dv_err_set(err, DV_ACTUATE_NOT_FOUND, "no MPS daemon answers in %s", m->pipe);
}

static bool answers(const struct dv_mps_at *m, uint32_t *ret_percent)
{
    char out[DV_MPS_OUTPUT_MAX];
    uint32_t percent;
    if (m->spec->namespaces)
        return dv_mps_named_answers(m);
    if (command(m, "get_default_active_thread_percentage", DV_MPS_COMMAND_MS, out, NULL) != 0)
        return false;
    if (dv_mps_parse_percent(out, &percent) == 0)
        *ret_percent = percent;
    return true;
}

static int set_threads(const struct dv_mps_at *m, struct dv_err *err)
{
    char line[80], out[DV_MPS_OUTPUT_MAX];
    uint32_t want = m->spec->threads_percent ? m->spec->threads_percent : 100, got = 0;
    snprintf(line, sizeof line, "set_default_active_thread_percentage %u", want);
    int r = command(m, line, DV_MPS_COMMAND_MS, out, err);
    if (r)
        return r;
    if (answers(m, &got) && got == want)
        return 0;
    return dv_err_set(err, DV_ACTUATE_FAILED,
                      "the MPS daemon did not take %u %% of the threads: %.200s", want,
                      dv_tool_last_line(out));
}

/* "0G" where there is none. */
static bool has_memory_limit(const char *out)
{
    return strspn(out, "0123456789") && strtoull(out, NULL, 10) > 0;
}

static int set_memory(const struct dv_mps_at *m, struct dv_err *err)
{
    char line[80], out[DV_MPS_OUTPUT_MAX], said[DV_MPS_OUTPUT_MAX];
    uint64_t mib = m->spec->memory_bytes / DV_MIB;
    int r = command(m, "get_default_device_pinned_mem_limit 0", DV_MPS_COMMAND_MS, out, err);
    if (r)
        return r;
    if (!m->spec->memory_bytes && !has_memory_limit(out))
        return 0;
    if (m->spec->memory_bytes)
        snprintf(line, sizeof line, "set_default_device_pinned_mem_limit 0 %lluM",
                 (unsigned long long)DV_MAX(mib, 1u));
    else
        snprintf(line, sizeof line, "set_default_device_pinned_mem_limit 0 " DV_MPS_NO_LIMIT);
    r = command(m, line, DV_MPS_COMMAND_MS, said, err);
    if (r == 0)
        r = command(m, "get_default_device_pinned_mem_limit 0", DV_MPS_COMMAND_MS, out, err);
    if (r == 0 && !has_memory_limit(out))
        r = dv_err_set(err, DV_ACTUATE_FAILED,
                       "the MPS daemon did not take the memory limit: %.200s",
                       dv_tool_last_line(said[0] ? said : out));
    return r;
}

static int set_limits(const struct dv_mps_at *m, struct dv_err *err)
{
    if (m->spec->namespaces)
        return dv_mps_named_prepare(m, err);
    int r = set_threads(m, err);
    return r ? r : set_memory(m, err);
}

/* ---- who it is ---- */

/* Does this process have NAME=VALUE of ours in the environment that it was started with? */
static bool has_environment(pid_t pid, const char *entry)
{
    char path[64], text[65536];
    size_t len = 0, want = strlen(entry) + 1;
    snprintf(path, sizeof path, "/proc/%d/environ", pid);
    dv_cleanup(dv_fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    for (ssize_t n; fd >= 0 && len < sizeof text; len += (size_t)n) {
        n = read(fd, text + len, sizeof text - len);
        if (n <= 0)
            break;
    }
    for (size_t at = 0; at + want <= len; at += strnlen(text + at, len - at) + 1)
        if (!memcmp(text + at, entry, want))
            return true;
    return false;
}

static bool is_mps_process(pid_t pid)
{
    char path[64], comm[32] = "";
    snprintf(path, sizeof path, "/proc/%d/comm", pid);
    dv_cleanup(dv_fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, comm, sizeof comm - 1);
    return n > 0 && !strncmp(comm, DV_MPS_CONTROL, 15); /* the kernel keeps 15 bytes */
}

/* The daemon of this folder by its pid file, if that process is one: a pid alone may be somebody
 * else's by now. */
static bool find_daemon(const struct dv_mps_at *m, struct dv_proc_id *ret)
{
    char path[192], text[16] = "";
    snprintf(path, sizeof path, "%s/" DV_MPS_CONTROL ".pid", m->pipe);
    dv_cleanup(dv_fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    int32_t pid = 0;
    if (n <= 0 || dv_mps_parse_pids(text, &pid, 1) != 1 || pid <= 1)
        return false;
    return dv_proc_identify(pid, ret) == 0 && is_mps_process(pid) &&
           has_environment(pid, m->pipe_env) && dv_proc_alive(ret);
}

static bool await_end(const struct dv_proc_id *id, uint32_t ms)
{
    dv_cleanup(dv_fd_close) int fd = dv_proc_pidfd(id);
    struct pollfd p = {fd, POLLIN, 0};
    return fd < 0 || poll(&p, 1, (int)ms) == 1;
}

static void send_signal(const struct dv_proc_id *id, int signo)
{
    dv_cleanup(dv_fd_close) int fd = dv_proc_pidfd(id);
    if (fd >= 0)
        syscall(SYS_pidfd_send_signal, fd, signo, NULL, 0);
}

enum presence { GONE, ANSWERS, HANGS };

/* ret_id: the daemon's, where it was found. */
static enum presence look(const struct dv_mps_at *m, uint32_t *ret_percent,
                          struct dv_proc_id *ret_id)
{
    bool is_well = answers(m, ret_percent);
    bool found = find_daemon(m, ret_id);
    if (!found)
        *ret_id = (struct dv_proc_id){0};
    return is_well ? ANSWERS : found ? HANGS : GONE;
}

static bool end_by_force(const struct dv_proc_id *id)
{
    send_signal(id, SIGTERM);
    if (await_end(id, TERM_MS))
        return true;
    send_signal(id, SIGKILL);
    return await_end(id, GONE_MS);
}

/* ---- operations ---- */

static int read_server(const struct dv_mps_at *m, int32_t pid, struct dv_mps_status *s,
                       struct dv_err *err)
{
    char line[64], out[DV_MPS_OUTPUT_MAX];
    snprintf(line, sizeof line, "get_server_status %d", pid);
    int r = command(m, line, DV_MPS_COMMAND_MS, out, err);
    if (r)
        return r;
    enum dv_mps_server_state state = dv_mps_parse_state(out);
    if (s->server_state != DV_MPS_SERVER_FAULT) /* of several, the one in trouble */
        s->server_state = state;
    snprintf(line, sizeof line, "get_client_list %d", pid);
    r = command(m, line, DV_MPS_COMMAND_MS, out, err);
    int n =
        r ? r
          : dv_mps_parse_pids(out, s->clients + s->n_clients, DV_MPS_CLIENTS_MAX - s->n_clients);
    if (n > 0)
        s->n_clients += (uint32_t)n;
    return r; /* a server that is about to go may answer in words: then it has no clients */
}

static int read_status(const struct dv_mps_at *m, struct dv_mps_status *ret, struct dv_err *err)
{
    char out[DV_MPS_OUTPUT_MAX];
    int32_t servers[SERVERS_MAX];
    struct dv_proc_id id;
    *ret = (struct dv_mps_status){0};
    enum presence presence = look(m, &ret->threads_percent, &id);
    ret->up = presence == ANSWERS;
    ret->hangs = presence == HANGS;
    ret->control_pid = id.pid;
    if (!ret->up)
        return 0;
    if (m->spec->namespaces)
        return dv_mps_named_status(m, ret, err);
    int r = command(m, "get_server_list", DV_MPS_COMMAND_MS, out, err);
    if (r)
        return r;
    int n = dv_mps_parse_pids(out, servers, SERVERS_MAX);
    if (n < 0)
        return dv_err_set(err, n, "the MPS daemon's list of servers is not one: %.100s",
                          dv_tool_last_line(out));
    ret->server_pid = n ? servers[0] : 0;
    for (int i = 0; i < n && r == 0; i++)
        r = read_server(m, servers[i], ret, err);
    return r;
}

/* Returns when it listens. One server for all users where we are root and the driver has that. */
static int spawn(const struct dv_mps_at *m, bool multiuser, struct dv_err *err)
{
    const char *old[] = {DV_MPS_CONTROL, "-d", multiuser ? "-multiuser-server" : NULL, NULL};
    const char *named[] = {DV_MPS_CONTROL, "-d", "-p", "3", multiuser ? "-m" : NULL, NULL};
    char out[DV_MPS_OUTPUT_MAX];
    int status = 0;
    uint32_t unused;
    int r =
        dv_mps_daemon_run(m, m->spec->namespaces ? named : old, NULL, START_MS, out, &status, err);
    if (r)
        return r;
    for (uint64_t end = dv_clock_now() + DV_MPS_COMMAND_MS * DV_NS_PER_MS;
         !status && dv_clock_now() < end; usleep(20000))
        if (answers(m, &unused))
            return 0;
    return dv_err_set(err, DV_ACTUATE_FAILED, "the MPS daemon did not start: %.250s",
                      dv_tool_last_line(out));
}

static int start_new(const struct dv_mps_at *m, struct dv_err *err)
{
    int r = geteuid() == 0 ? spawn(m, true, err) : DV_ACTUATE_FAILED;
    return r == DV_ACTUATE_FAILED ? spawn(m, false, err) : r;
}

static int start(const struct dv_mps_at *m, struct dv_mps_status *ret, struct dv_err *err)
{
    uint32_t unused;
    struct dv_proc_id id;
    int r = make_folders(m, err);
    if (r < 0)
        return r;
    enum presence presence = look(m, &unused, &id);
    if (presence == HANGS && !end_by_force(&id))
        return dv_err_set(
            err, DV_ACTUATE_IN_USE,
            "the MPS daemon in %s does not answer, and did not end when it was killed", m->pipe);
    if (presence != ANSWERS)
        r = start_new(m, err);
    if (r == 0)
        r = set_limits(m, err);
    return r ? r : read_status(m, ret, err);
}

static void quit(const struct dv_mps_at *m)
{
    static const char *const argv[] = {DV_MPS_CONTROL, "-q", NULL};
    char line[32], out[DV_MPS_OUTPUT_MAX];
    int status;
    snprintf(line, sizeof line, "quit -t %u", QUIT_S);
    if (m->spec->namespaces)
        dv_mps_daemon_run(m, argv, NULL, (QUIT_S + 5) * 1000, out, &status, NULL);
    else
        command(m, line, (QUIT_S + 5) * 1000, out, NULL);
}

static int stop(const struct dv_mps_at *m, struct dv_err *err)
{
    struct dv_proc_id id;
    uint32_t unused;
    enum presence presence = look(m, &unused, &id);
    if (presence == ANSWERS)
        quit(m);
    bool gone = !id.pid || await_end(&id, presence == ANSWERS ? GONE_MS : 0) || end_by_force(&id);
    if (gone && !answers(m, &unused))
        return 0;
    return dv_err_set(err, DV_ACTUATE_IN_USE,
                      "the MPS daemon in %s did not end, though it was told to", m->pipe);
}

/* Servers in fault wait for their clients, whose contexts are gone, and take no others. */
static int renew(const struct dv_mps_at *m, struct dv_mps_status *ret, struct dv_err *err)
{
    char line[64], out[DV_MPS_OUTPUT_MAX];
    int32_t servers[SERVERS_MAX];
    if (m->spec->namespaces) {
        int r = dv_mps_named_renew(m, err);
        return r ? r : read_status(m, ret, err);
    }
    int r = command(m, "get_server_list", DV_MPS_COMMAND_MS, out, err);
    int n = r ? 0 : dv_mps_parse_pids(out, servers, SERVERS_MAX);
    for (int i = 0; i < n && r == 0; i++) {
        struct dv_proc_id id = {0};
        struct dv_mps_status s = {0};
        bool known = dv_proc_identify(servers[i], &id) == 0;
        if (read_server(m, servers[i], &s, NULL) || s.server_state != DV_MPS_SERVER_FAULT)
            continue;
        snprintf(line, sizeof line, "shutdown_server %d -f", servers[i]);
        r = command(m, line, DV_MPS_COMMAND_MS, out, err);
        if (known)
            await_end(&id, GONE_MS);
    }
    return r ? r : read_status(m, ret, err);
}

/* As the user of the server that is there: without multi-user mode another user's client would
 * wait for all others to leave. */
static int probe(const struct dv_mps_at *m, struct dv_mps_status *ret, struct dv_err *err)
{
    static const char *const argv[] = {"the MPS probe", NULL};
    struct dv_mps_probe p = {.libcuda = m->config->libcuda, .uid = (uid_t)-1};
    const char *set[DV_TOOL_ENV_MAX];
    char pipe_env[200];
    char out[DV_MPS_OUTPUT_MAX];
    int status = 0;
    int r = read_status(m, ret, err);
    if (r)
        return r;
    if (!ret->up)
        return dv_err_set(err, DV_ACTUATE_NOT_FOUND, "no MPS daemon answers in %s", m->pipe);
    if (ret->server_pid && geteuid() == 0)
        dv_proc_uid(ret->server_pid, &p.uid);
    memcpy(set, m->set, sizeof set);
    if (m->spec->namespaces) {
        snprintf(pipe_env, sizeof pipe_env, "%s/" DV_MPS_SERVER, m->pipe_env);
        set[0] = pipe_env;
    }
    struct dv_tool t = {.argv = argv,
                        .set = set,
                        .instead = dv_mps_probe_main,
                        .arg = &p,
                        .deadline_ms = DV_MPS_PROBE_MS};
    r = dv_tool_run(&t, out, sizeof out, &status, err);
    if (r == -ETIMEDOUT)
        return dv_err_set(err, DV_ACTUATE_FAILED,
                          "a new client got no answer from the MPS daemon within %u s",
                          DV_MPS_PROBE_MS / 1000);
    uint32_t full = status == DV_MPS_PROBE_FULL ? ret->n_clients : 0;
    if (r == 0 && status && !full)
        r = dv_err_set(err, DV_ACTUATE_FAILED, "a new client cannot use the MPS daemon: %.250s",
                       dv_tool_last_line(out));
    if (r == 0)
        r = read_status(m, ret, err);
    if (full && r == 0) /* one may have come meanwhile */
        ret->clients_max = DV_MAX(full, ret->n_clients);
    return r;
}

static int limit(const struct dv_mps_at *m, struct dv_mps_status *ret, struct dv_err *err)
{
    int r = set_limits(m, err);
    return r ? r : read_status(m, ret, err);
}

int dv_mps_run(const struct dv_mps_config *config, enum dv_mps_op op,
               const struct dv_mps_spec *spec, const char *argument, struct dv_mps_status *ret,
               struct dv_err *err)
{
    struct dv_mps_at m = {.config = config, .spec = spec};
    struct dv_mps_status status = {0};
    bool named = op == DV_MPS_NAMESPACE || op == DV_MPS_NAMESPACE_END;
    if (named && !spec->namespaces)
        return dv_err_set(err, DV_ACTUATE_NOT_SUPPORTED,
                          "a daemon of protocol 2 has no namespaces");
    int r = prepare(config, spec, &m, err);
    if (r)
        return r;
    switch (op) {
    case DV_MPS_START:
        r = start(&m, &status, err);
        break;
    case DV_MPS_STOP:
        r = stop(&m, err);
        break;
    case DV_MPS_STATUS:
        r = read_status(&m, &status, err);
        break;
    case DV_MPS_LIMIT:
        r = limit(&m, &status, err);
        break;
    case DV_MPS_PROBE:
        r = probe(&m, &status, err);
        break;
    case DV_MPS_RENEW:
        r = renew(&m, &status, err);
        break;
    case DV_MPS_NAMESPACE:
        r = dv_mps_named_namespace(&m, argument, err);
        break;
    case DV_MPS_NAMESPACE_END:
        r = dv_mps_named_namespace_end(&m, argument, err);
        break;
    default:
        r = dv_err_set(err, -EINVAL, "there is no MPS operation %u", (unsigned)op);
    }
    if (r == 0 && named)
        r = read_status(&m, &status, err);
    if (r == 0)
        *ret = status;
    return r;
}

uint32_t dv_mps_clients_of(uint32_t whole, uint32_t slices, uint32_t gpu_slices)
{
    if (!gpu_slices || slices >= gpu_slices)
        return whole;
    return whole ? DV_MAX(whole * slices / gpu_slices, 1u) : 0;
}
