/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon.h"

#include "api.h"
#include "costs.h"
#include "hardware/capture.h"
#include "hardware/nvml.h"
#include "hardware/replay.h"
#include "keep.h"
#include "layoutfile/layoutfile.h"
#include "pricefile/pricefile.h"
#include "sys/clock.h"
#include "sys/fd.h"
#include "sys/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXIT_USAGE 2
#define EXIT_NOT_PERMITTED 4
#define EXIT_UNAVAILABLE 5
#define RT_PRIORITY 10u
#define SIM_START_MS 30000
#define TRIM_FIRST_MS 5000u /* what the start took */
#define TRIM_MS 60000u
#define LARGE_BLOCK (256 * 1024) /* is given back to the kernel when it is freed */
#define TENANT_FOLDER ".tenant"  /* behind the API socket's path: */
#define TENANT_NAME "/sock"      /* what is in it */
#define LOCK_TRIES 40            /* of 50 ms: the helpers of a killed daemon may still be ending */

struct daemon {
    const struct dv_daemon_options *options;
    char socket[108], tenant_socket[120], state[PATH_MAX], lib[PATH_MAX], bin[PATH_MAX];
    char sim_socket[PATH_MAX + 16], sim_text[PATH_MAX + 24];
    char libcuda[PATH_MAX], libnvml[PATH_MAX];
    char tools[PATH_MAX]; /* where nvidia-smi is; "": on PATH */
    char *layout;         /* the --config file's text */
    char *prices;         /* the --prices file's text */
    struct dv_costs *costs;
    bool privileged; /* it was started by root: the worker is root */
    uid_t uid;
    gid_t gid;
    struct dv_keeper keeper, mps_keeper;
    int lock_fd, api_fd, tenant_fd;
    pid_t sim_pid;
    struct dv_loop *loop;
    struct dv_store *store;
    struct dv_ledger *ledger;
    struct dv_lease *lease; /* the node's, once there is one */
    struct dv_node *node;
    struct dv_listen *listen;         /* NULL: none asked for */
    struct dv_kubernetes *kubernetes; /* likewise */
};

static int fail(int status, const char *fmt, ...) dv_printf(2, 3);
static int fail(int status, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("divvyd: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    return status;
}

/* ---- where things are ---- */

static bool join(char *buf, size_t size, const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    if (n + m >= size)
        return false;
    memcpy(buf, a, n + 1);
    memcpy(buf + n, b, m + 1);
    return true;
}

static int make_directory(const char *path, mode_t mode)
{
    char part[PATH_MAX];
    if (!join(part, sizeof part, path, ""))
        return -ENAMETOOLONG;
    for (char *p = part + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = 0;
        if (mkdir(part, 0755) < 0 && errno != EEXIST)
            return -errno;
        *p = '/';
    }
    if (mkdir(part, mode) < 0 && errno != EEXIST)
        return -errno;
    return 0;
}

static void default_places(struct daemon *d)
{
    const char *home = getenv("HOME");
    if (d->options->socket)
        join(d->socket, sizeof d->socket, d->options->socket, "");
    else if (dv_proc_default_socket(d->socket, sizeof d->socket) < 0)
        d->socket[0] = 0;
    if (d->options->state)
        join(d->state, sizeof d->state, d->options->state, "");
    else if (geteuid() == 0 || !home)
        join(d->state, sizeof d->state, "/var/lib/divvy", "");
    else
        join(d->state, sizeof d->state, home, "/.local/state/divvy");
}

/* BIN/../lib/divvy, or where DIVVY_LIBDIR says. */
static int find_libraries(struct daemon *d)
{
    char near[PATH_MAX + 32];
    const char *env = getenv("DIVVY_LIBDIR");
    int r = dv_proc_program_dir(d->bin, sizeof d->bin);
    if (r < 0)
        return fail(1, "cannot find my own program: %s", strerror(-r));
    snprintf(near, sizeof near, "%s/../lib/divvy", d->bin);
    if (!realpath(env && *env ? env : near, d->lib))
        join(d->lib, sizeof d->lib, env && *env ? env : near, "");
    return 0;
}

/* dir/name, if that is a readable file. */
static bool try_driver(char *buf, size_t size, const char *dir, size_t dir_len, const char *name)
{
    int n = snprintf(buf, size, "%.*s/%s", (int)dir_len, dir, name);
    return dir_len && dir[0] == '/' && n > 0 && (size_t)n < size && access(buf, R_OK) == 0;
}

/*
 * The driver's library by absolute path, so that a stand-in on the search path is not it: where the
 * loader looks (LD_LIBRARY_PATH), then where drivers are installed. "" when it is nowhere.
 */
static void find_driver(char *buf, size_t size, const char *override, const char *name)
{
    static const char *const dirs[] = {"/usr/lib/x86_64-linux-gnu",
                                       "/usr/lib/aarch64-linux-gnu",
                                       "/usr/lib64",
                                       "/usr/lib",
                                       "/lib/x86_64-linux-gnu",
                                       "/usr/local/nvidia/lib64",
                                       "/usr/local/cuda/compat",
                                       "/usr/lib/wsl/lib",
                                       "/run/opengl-driver/lib"};
    const char *env = getenv(override), *path = getenv("LD_LIBRARY_PATH");
    if (env && *env) {
        join(buf, size, env, "");
        return;
    }
    for (size_t len; path && *path; path += len + (path[len] == ':')) {
        len = strcspn(path, ":");
        if (try_driver(buf, size, path, len, name))
            return;
    }
    for (size_t i = 0; i < DV_ARRAY_SIZE(dirs); i++)
        if (try_driver(buf, size, dirs[i], strlen(dirs[i]), name))
            return;
    buf[0] = 0;
}

/* Tenants get their libraries from where the host has them. */
static int give_to_host(struct daemon *d)
{
    char lib[PATH_MAX];
    struct dv_err err;
    int r = make_directory(d->state, 0711);
    if (r < 0)
        return fail(1, "cannot make the state directory %s: %s", d->state, strerror(-r));
    if (dv_kubernetes_prepare(d->lib, d->state, lib, sizeof lib, &err) < 0)
        return fail(1, "%s", err.msg);
    memcpy(d->lib, lib, sizeof lib);
    return 0;
}

static int find_places(struct daemon *d)
{
    const char *sim = d->options->sim;
    default_places(d);
    int status = find_libraries(d);
    if (status == 0 && d->options->kubernetes.on)
        status = give_to_host(d);
    if (status)
        return status;
    if (!join(d->tenant_socket, sizeof d->tenant_socket, d->socket, TENANT_FOLDER TENANT_NAME) ||
        strlen(d->tenant_socket) >= 108 || !d->socket[0] ||
        (d->options->socket && strlen(d->options->socket) >= sizeof d->socket))
        return fail(EXIT_USAGE, "--socket: the path must have 1 to 95 bytes");
    if (!sim) {
        find_driver(d->libcuda, sizeof d->libcuda, "DIVVY_LIBCUDA", "libcuda.so.1");
        find_driver(d->libnvml, sizeof d->libnvml, "DIVVY_LIBNVML", "libnvidia-ml.so.1");
        if (!d->libcuda[0])
            dv_log(DV_LOG_WARNING, "driver.no_libcuda",
                   "problem=\"no libcuda.so.1 was found\" remedy=\"install the driver, or name the "
                   "file in DIVVY_LIBCUDA\"");
        return 0;
    }
    join(d->libcuda, sizeof d->libcuda, d->lib, "/sim/libcuda.so.1");
    join(d->libnvml, sizeof d->libnvml, d->lib, "/sim/libnvidia-ml.so.1");
    join(d->tools, sizeof d->tools, d->lib, "/sim/bin");
    if (!strncmp(sim, "unix:", 5))
        join(d->sim_socket, sizeof d->sim_socket, sim + 5, "");
    else
        join(d->sim_socket, sizeof d->sim_socket, d->state, "/sim.sock");
    join(d->sim_text, sizeof d->sim_text, "unix:", d->sim_socket);
    return 0;
}

/* Read before rights are given up; what it says is judged once the GPUs are known. */
static int read_config(struct daemon *d)
{
    struct dv_err err;
    size_t len;
    if (!d->options->config)
        return 0;
    int r = dv_fd_read_file(d->options->config, DV_LAYOUTFILE_MAX, &d->layout, &len, &err);
    if (r < 0)
        return fail(r == -ENOMEM ? 1 : EXIT_USAGE, "--config: %s", err.msg);
    if (strlen(d->layout) != len)
        return fail(EXIT_USAGE, "--config: %s: there is a NUL byte in it", d->options->config);
    struct dv_layoutfile_info *info = calloc(1, sizeof *info);
    struct dv_layout *layout = NULL;
    r = info ? dv_layoutfile_read(d->options->config, d->layout, len, NULL, &layout, info, &err)
             : dv_err_set(&err, -ENOMEM, "out of memory");
    free(info);
    dv_layout_free(layout);
    return r < 0 ? fail(r == -ENOMEM ? 1 : EXIT_USAGE, "--config: %s", err.msg) : 0;
}

static int read_prices(struct daemon *d)
{
    struct dv_err err;
    size_t len;
    if (!d->options->prices)
        return 0;
    int r = dv_fd_read_file(d->options->prices, DV_PRICEFILE_MAX, &d->prices, &len, &err);
    if (r < 0)
        return fail(r == -ENOMEM ? 1 : EXIT_USAGE, "--prices: %s", err.msg);
    struct dv_pricefile_info *info = calloc(1, sizeof *info);
    struct dv_price_list *list = NULL;
    r = info ? dv_pricefile_read(d->options->prices, d->prices, len, NULL, &list, info, &err)
             : dv_err_set(&err, -ENOMEM, "out of memory");
    free(info);
    if (r < 0)
        return fail(r == -ENOMEM ? 1 : EXIT_USAGE, "--prices: %s", err.msg);
    d->costs = dv_costs_new(list);
    return d->costs ? 0 : fail(1, "out of memory");
}

/* ---- who to be ---- */

static int find_user(struct daemon *d)
{
    const char *name = d->options->user;
    d->uid = geteuid();
    d->gid = getegid();
    d->privileged = d->uid == 0;
    if (d->uid != 0 && d->options->kubernetes.on)
        return fail(EXIT_NOT_PERMITTED, "--kubernetes: only root can talk to the kubelet");
    if (d->uid != 0) {
        if (name)
            return fail(EXIT_USAGE, "--user: only root can become another user");
        return 0;
    }
    /* The kubelet's directories are root's, and it empties them; so main stays root there, without
     * any of root's capabilities (ADR 13). */
    if (d->options->kubernetes.on)
        return name ? fail(EXIT_USAGE, "--user: with --kubernetes it is root without capabilities")
                    : 0;
    if (name && dv_proc_user_id(name, &d->uid, &d->gid) < 0)
        return fail(EXIT_USAGE, "--user: there is no user '%.64s'", name);
    if (!name && dv_proc_user_id("divvy", &d->uid, &d->gid) < 0 &&
        dv_proc_user_id("nobody", &d->uid, &d->gid) < 0)
        return fail(1, "there is neither a user 'divvy' nor 'nobody'; name one by --user");
    return 0;
}

/* ---- directories ---- */

static void give(const struct daemon *d, const char *name)
{
    char path[PATH_MAX + 32];
    snprintf(path, sizeof path, "%s%s", d->state, name);
    /* lchown: a link that somebody put there is not followed. */
    if (geteuid() == 0 && lchown(path, d->uid, d->gid) < 0 && errno != ENOENT)
        dv_log(DV_LOG_WARNING, "state.owner", "path=%s error=%s", path, strerror(errno));
}

static int take_state(struct daemon *d)
{
    static const char *const files[] = {
        "",           "/lock",          "/divvyd.db",     "/divvyd.db-wal", "/divvyd.db-shm",
        "/ledger.db", "/ledger.db-wal", "/ledger.db-shm", "/sim.sock",      "/sim.sock.inside",
        "/doors"};
    char path[PATH_MAX + 32];
    int r = make_directory(d->state, 0711);
    if (r < 0)
        return fail(1, "cannot make the state directory %s: %s", d->state, strerror(-r));
    snprintf(path, sizeof path, "%s/lock", d->state);
    d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (d->lock_fd < 0)
        return fail(1, "cannot open %s: %s", path, strerror(errno));
    for (int i = 0; flock(d->lock_fd, LOCK_EX | LOCK_NB) < 0; i++) {
        if (errno != EWOULDBLOCK || i == LOCK_TRIES)
            return fail(EXIT_UNAVAILABLE, "another divvyd uses the state directory %s", d->state);
        usleep(50000);
    }
    for (size_t i = 0; i < DV_ARRAY_SIZE(files); i++)
        give(d, files[i]);
    return 0;
}

static int listen_on_sockets(struct daemon *d)
{
    struct dv_err err;
    char dir[sizeof d->socket];
    join(dir, sizeof dir, d->socket, "");
    char *slash = strrchr(dir, '/');
    if (slash && slash != dir) {
        *slash = 0;
        int r = make_directory(dir, 0755);
        if (r < 0)
            return fail(1, "cannot make the directory %s: %s", dir, strerror(-r));
        struct stat st; /* in /tmp somebody else could have been there first */
        if (!d->options->socket && (lstat(dir, &st) < 0 || st.st_uid != geteuid()))
            return fail(1, "%s is not a directory of mine; give --socket PATH", dir);
    }
    /*
     * Containers get the folder mounted, not the socket: so they find the socket of the daemon's
     * next run too. Nothing else is in it, the daemon's API above all.
     */
    join(dir, sizeof dir, d->socket, TENANT_FOLDER);
    if (unlink(dir) == 0) /* a socket of an earlier version */
        dv_log(DV_LOG_INFO, "socket.moved", "path=%s", dir);
    int made = make_directory(dir, 0755);
    if (made < 0)
        return fail(1, "cannot make the directory %s: %s", dir, strerror(-made));
    /* Anybody may ask; who may what is decided by the peer's credentials. */
    d->api_fd = dv_fd_listen(d->socket, SOCK_STREAM, 0666, &err);
    if (d->api_fd >= 0)
        d->tenant_fd = dv_fd_listen(d->tenant_socket, SOCK_SEQPACKET, 0666, &err);
    if (d->api_fd < 0 || d->tenant_fd < 0)
        return fail(d->api_fd == -EADDRINUSE ? EXIT_UNAVAILABLE : 1, "%s", err.msg);
    return 0;
}

/* ---- the simulator ---- */

/* An unknown or broken node is refused before anything is made for it; divvy-sim says why. */
static int check_node(const struct daemon *d)
{
    char program[PATH_MAX + 16];
    int status;
    if (!d->options->sim || !strncmp(d->options->sim, "unix:", 5))
        return 0;
    snprintf(program, sizeof program, "%s/divvy-sim", d->bin);
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        if (null < 0 || dup2(null, STDOUT_FILENO) < 0)
            _exit(1);
        execl(program, "divvy-sim", "show", d->options->sim, (char *)NULL);
        fprintf(stderr, "divvyd: cannot start %s: %s\n", program, strerror(errno));
        _exit(1);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0)
        return fail(1, "cannot look at the node: %s", strerror(errno));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static void become_simulator(const struct daemon *d, int ready, pid_t parent)
{
    char program[PATH_MAX + 16], fd[16];
    snprintf(program, sizeof program, "%s/divvy-sim", d->bin);
    snprintf(fd, sizeof fd, "%d", ready);
    signal(SIGINT, SIG_IGN); /* a terminal's Ctrl-C: main ends it */
    if (geteuid() == 0 && dv_proc_become_nice(d->uid, d->gid, NULL) < 0)
        _exit(1);
    dv_proc_no_new_privileges();
    dv_fd_set_cloexec(ready, false);
    if (dv_proc_die_with_parent(SIGTERM, parent) < 0)
        _exit(1);
    execl(program, "divvy-sim", "start", d->options->sim, "--foreground", "--socket", d->sim_socket,
          "--ready-fd", fd, (char *)NULL);
    fprintf(stderr, "divvyd: cannot start %s: %s\n", program, strerror(errno));
    _exit(1);
}

/* Its own complaint is on stderr already; its exit status is ours then. */
static int await_simulator(struct daemon *d, int ready)
{
    char c;
    int status;
    struct pollfd p = {ready, POLLIN, 0};
    int n = poll(&p, 1, SIM_START_MS);
    if (n > 0 && read(ready, &c, 1) == 1)
        return 0;
    if (n == 0) {
        kill(d->sim_pid, SIGKILL);
        waitpid(d->sim_pid, &status, 0);
        d->sim_pid = 0;
        return fail(1, "divvy-sim did not start within %d s", SIM_START_MS / 1000);
    }
    waitpid(d->sim_pid, &status, 0);
    d->sim_pid = 0;
    return WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : 1;
}

static int start_simulator(struct daemon *d)
{
    int p[2];
    if (!d->options->sim || !strncmp(d->options->sim, "unix:", 5))
        return 0;
    if (strlen(d->sim_socket) >= 108)
        return fail(1, "--state: the path is too long to put the simulator's socket there");
    if (pipe2(p, O_CLOEXEC) < 0)
        return fail(1, "cannot make a pipe: %s", strerror(errno));
    unlink(d->sim_socket); /* the lock is ours, so its last owner has ended */
    pid_t parent = getpid();
    d->sim_pid = fork();
    if (d->sim_pid == 0) {
        close(p[0]);
        become_simulator(d, p[1], parent);
    }
    close(p[1]);
    int status =
        d->sim_pid < 0 ? fail(1, "cannot fork: %s", strerror(errno)) : await_simulator(d, p[0]);
    close(p[0]);
    return status;
}

static void stop_simulator(struct daemon *d)
{
    if (d->sim_pid <= 0)
        return;
    kill(d->sim_pid, SIGTERM);
    for (int i = 0; i < 40; i++) {
        if (waitpid(d->sim_pid, NULL, WNOHANG) != 0)
            return;
        usleep(50000);
    }
    kill(d->sim_pid, SIGKILL);
    waitpid(d->sim_pid, NULL, 0);
}

/* ---- running ---- */

static void on_stop(void *arg)
{
    struct daemon *d = arg;
    dv_log(DV_LOG_INFO, "daemon.stopping", "slices_stay=true");
    dv_loop_stop(d->loop);
}

static void on_child(void *arg)
{
    struct daemon *d = arg;
    int status;
    if (d->sim_pid > 0 && waitpid(d->sim_pid, &status, WNOHANG) == d->sim_pid) {
        dv_log(DV_LOG_ERROR, "simulator.ended", "status=%d", status);
        d->sim_pid = 0;
    }
}

static int open_store(struct daemon *d, char note[300], char problem[300])
{
    struct dv_err err;
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    char value[DV_LOG_VALUE];
    int r = dv_store_open(d->state, &d->store, &text, &err);
    if (r == -EPROTONOSUPPORT)
        return fail(1, "%s", err.msg);
    if (r < 0) {
        dv_log(DV_LOG_ERROR, "store.failed", "detail=%s", dv_log_value(err.msg, value));
        snprintf(problem, 300, "%.299s", err.msg);
    }
    if (text.len) {
        dv_log(DV_LOG_WARNING, "store.corrupt", "detail=%s",
               dv_log_value(dv_str_get(&text), value));
        snprintf(note, 300, "%.299s", dv_str_get(&text));
    }
    return 0;
}

static int open_ledger(struct daemon *d, char problem[300])
{
    struct dv_err err;
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct timespec t;
    char value[DV_LOG_VALUE];
    clock_gettime(CLOCK_REALTIME, &t);
    struct dv_ledger_options options = {
        .now = {(int64_t)t.tv_sec * (int64_t)DV_NS_PER_S + t.tv_nsec, dv_clock_now()}};
    int r = dv_ledger_open(d->state, &options, &d->ledger, &text, &err);
    if (r == -EPROTONOSUPPORT)
        return fail(1, "%s", err.msg);
    if (r < 0) {
        dv_log(DV_LOG_ERROR, "ledger.failed", "detail=%s", dv_log_value(err.msg, value));
        snprintf(problem, 300, "%.299s", err.msg);
    }
    if (text.len)
        dv_log(DV_LOG_WARNING, "ledger.corrupt", "detail=%s",
               dv_log_value(dv_str_get(&text), value));
    return 0;
}

static int make_node(struct daemon *d)
{
    const struct dv_daemon_options *o = d->options;
    struct dv_err err;
    char note[300] = "", problem[300] = "";
    uid_t operator_uid = (uid_t)-1;
    gid_t unused;
    if (o->operator&& dv_proc_user_id(o->operator, & operator_uid, &unused) < 0)
        return fail(EXIT_USAGE, "--operator: there is no user '%.64s'", o->operator);
    char ledger_problem[300] = "";
    int status = open_store(d, note, problem);
    if (status == 0)
        status = open_ledger(d, ledger_problem);
    if (status)
        return status;
    struct dv_node_config config = {
        .sim = o->sim ? d->sim_text : NULL,
        .sim_socket = o->sim ? d->sim_socket : NULL,
        .libcuda = d->libcuda,
        .libnvml = d->libnvml,
        .lib_dir = d->lib,
        .api_socket = d->socket,
        .tenant_socket = d->tenant_socket,
        .state_dir = d->state,
        .mps_shm = o->kubernetes.mps_shm,
        .layout_name = o->config,
        .layout_text = d->layout,
        .prices_name = o->prices,
        .prices_text = d->prices,
        .intruder = o->intruder,
        .no_accounting = o->no_accounting,
        .privileged = d->privileged,
        .operator_uid = operator_uid,
        .nvml_timeout_ms = o->nvml_timeout_ms,
        .dcgm_hostname = o->dcgm_hostname,
        .health_disable = getenv("DP_DISABLE_HEALTHCHECKS"),
        .health_enable = getenv("DP_ENABLE_HEALTHCHECKS"),
    };
    int r = dv_node_new(d->loop, &config, &d->keeper, &d->mps_keeper, d->lease, d->store, d->ledger,
                        d->tenant_fd, &d->node, &err);
    d->lease = NULL;
    if (r < 0)
        return fail(1, "%s", err.msg);
    d->node->costs = d->costs;
    memcpy(d->node->note, note, sizeof note);
    memcpy(d->node->store_problem, problem, sizeof problem);
    memcpy(d->node->ledger_problem, ledger_problem, sizeof ledger_problem);
    r = dv_http_server_new(d->loop, d->api_fd, dv_api_handle, d->node, &d->node->http);
    if (r < 0)
        return fail(1, "cannot start the API: %s", strerror(-r));
    dv_http_server_allow_large(d->node->http, "/v1/layout");
    dv_http_server_allow_large(d->node->http, "/v1/bill");
    dv_http_server_allow_large(d->node->http, "/v1/containers");
    d->api_fd = -1;
    if (d->listen && dv_listen_start(d->listen, d->loop, d->node, &err) < 0)
        return fail(EXIT_USAGE, "%s", err.msg);
    if (o->kubernetes.on && dv_kubernetes_new(d->node, &o->kubernetes, &d->kubernetes, &err) < 0)
        return fail(EXIT_USAGE, "%s", err.msg);
    return 0;
}

/* What reading a configuration or a plan took, and nobody needs now. */
static void on_trim(void *arg)
{
    malloc_trim(0);
}

static int serve(struct daemon *d)
{
    struct dv_loop_source *sources[4];
    int r = dv_loop_new(&d->loop);
    if (r < 0)
        return fail(1, "cannot make the event loop: %s", strerror(-r));
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    r = dv_loop_signal(d->loop, SIGTERM, on_stop, d, &sources[0]);
    if (r == 0)
        r = dv_loop_signal(d->loop, SIGINT, on_stop, d, &sources[1]);
    if (r == 0)
        r = dv_loop_signal(d->loop, SIGCHLD, on_child, d, &sources[2]);
    if (r == 0)
        r = dv_loop_timer(d->loop, TRIM_FIRST_MS, TRIM_MS, on_trim, NULL, &sources[3]);
    if (r < 0)
        return fail(1, "cannot watch signals: %s", strerror(-r));
    int status = make_node(d);
    if (status)
        return status;
    dv_log(DV_LOG_INFO, "daemon.started", "version=%s pid=%d socket=%s state=%s sim=%s listen=%s",
           DV_VERSION, (int)getpid(), d->socket, d->state, d->options->sim ? d->sim_text : "-",
           d->listen ? dv_listen_address(d->listen) : "-");
    if (d->options->ready_fd >= 0) {
        if (write(d->options->ready_fd, "\n", 1) < 0)
            dv_log(DV_LOG_WARNING, "daemon.ready", "error=%s", strerror(errno));
        close(d->options->ready_fd);
    }
    r = dv_loop_run(d->loop);
    return r < 0 ? fail(1, "the event loop failed: %s", strerror(-r)) : 0;
}

static int open_listener(struct daemon *d)
{
    struct dv_err err;
    int status = dv_listen_open(&d->options->listen, &d->listen, &err);
    return status ? fail(status, "%s", err.msg) : 0;
}

/* What needs rights, then the end of rights. */
static int prepare(struct daemon *d)
{
    struct dv_err err;
    struct dv_keeper_config config = {.name = "divvyd-hardware",
                                      .library = d->libnvml,
                                      .replay = d->options->replay,
                                      .sim_socket = d->options->sim ? d->sim_socket : NULL,
                                      .libcuda = d->libcuda,
                                      .tools = d->tools,
                                      .state_dir = d->state};
    struct rlimit files;
    if (dv_keeper_start(&config, &d->keeper, &err) < 0)
        return fail(1, "%s", err.msg);
    config.name = "divvyd-mps"; /* what does not answer there holds up nothing here: ADR 1 */
    if (dv_keeper_start(&config, &d->mps_keeper, &err) < 0)
        return fail(1, "%s", err.msg);
    umask(022);
    int status = check_node(d);
    if (status == 0)
        status = open_listener(d);
    if (status == 0)
        status = take_state(d);
    if (status == 0)
        status = start_simulator(d);
    if (status == 0)
        status = listen_on_sockets(d);
    if (status)
        return status;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) { /* six descriptors for each process of a tenant */
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    /* The thread asks for its priority while that is allowed; it keeps it. */
    int r = dv_lease_new(RT_PRIORITY, &d->lease);
    if (r < 0)
        return fail(1, "cannot start the arbiter: %s", strerror(-r));
    umask(077);
    if (d->options->kubernetes.on && dv_proc_drop_capabilities(&err) < 0)
        return fail(1, "%s", err.msg);
    if (geteuid() == 0 && d->uid != 0 && dv_proc_become(d->uid, d->gid, &err) < 0)
        return fail(1, "%s", err.msg);
    dv_proc_no_new_privileges();
    return 0;
}

static void finish(struct daemon *d)
{
    dv_kubernetes_free(d->kubernetes);
    dv_listen_free(d->listen);
    dv_node_free(d->node);
    dv_lease_free(d->lease);
    dv_store_close(d->store);
    dv_ledger_close(d->ledger);
    dv_loop_free(d->loop);
    if (d->tenant_fd >= 0)
        unlink(d->tenant_socket); /* where the directory is still ours to write */
    if (d->tenant_fd >= 0 || d->api_fd >= 0)
        unlink(d->socket);
    dv_fd_close(&d->api_fd);
    dv_fd_close(&d->tenant_fd);
    dv_keeper_stop(&d->mps_keeper); /* first: it was forked with the other's socket open */
    dv_keeper_stop(&d->keeper);
    stop_simulator(d);
    dv_fd_close(&d->lock_fd);
}

int dv_daemon_run(const struct dv_daemon_options *options)
{
    struct daemon *d = calloc(1, sizeof *d);
    if (!d)
        return fail(1, "out of memory");
    /* glibc raises this bound after the first large block that is freed, and from then on keeps
     * what a page of metrics took. */
    mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK);
    d->options = options;
    d->keeper.sock = d->mps_keeper.sock = d->lock_fd = d->api_fd = d->tenant_fd = -1;
    int status = find_places(d);
    if (status == 0)
        status = read_config(d);
    if (status == 0)
        status = read_prices(d);
    if (status == 0)
        status = find_user(d);
    if (status == 0)
        status = prepare(d);
    if (status == 0)
        status = serve(d);
    finish(d);
    free(d->layout);
    free(d->prices);
    dv_costs_free(d->costs);
    free(d);
    return status;
}

/* ---- capture ---- */

static int write_capture(const char *path, const struct dv_str *text)
{
    FILE *f = strcmp(path, "-") ? fopen(path, "we") : stdout;
    if (!f)
        return fail(1, "cannot write %s: %s", path, strerror(errno));
    fputs(dv_str_get(text), f);
    bool failed = ferror(f) || (f == stdout ? fflush(f) : fclose(f));
    return failed ? fail(1, "cannot write %s: %s", path, strerror(errno)) : 0;
}

int dv_daemon_capture(const struct dv_daemon_options *options, const char *path)
{
    struct daemon *d = calloc(1, sizeof *d);
    struct dv_hardware *hw = NULL;
    struct dv_capture *capture = NULL;
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_err err = {0};
    if (!d)
        return fail(1, "out of memory");
    d->options = options;
    int status = find_places(d);
    if (status == 0 && options->sim && strncmp(options->sim, "unix:", 5) != 0)
        status = fail(EXIT_USAGE, "--capture takes a simulated node that runs: --sim unix:PATH");
    if (status == 0) {
        if (options->sim)
            setenv("DIVVY_SIM_SOCKET", d->sim_socket, 1);
        int r = dv_hardware_nvml_new(d->libnvml, &hw, &err);
        if (r == 0)
            r = dv_capture_take(hw, &capture, &err);
        if (r == 0)
            dv_capture_print(capture, &text);
        status = r == 0 ? write_capture(path, &text)
                        : fail(dv_hardware_is_absent(r) ? EXIT_UNAVAILABLE : 1, "%s", err.msg);
    }
    dv_capture_free(capture);
    dv_hardware_free(hw);
    free(d);
    return status;
}
