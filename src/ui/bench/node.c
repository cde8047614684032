/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/node.h"

#include "ask.h"
#include "base/err.h"
#include "render/json.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CALL_MS 30000
#define PAUSE_MS 100
#define START_MS 60000   /* a daemon's first look at its GPUs */
#define CHANGE_MS 120000 /* a change of layout: MIG mode takes seconds on a real card */
#define SIMULATED "a100"

static const volatile int never_stop;

static uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void pause_ms(unsigned ms)
{
    struct timespec ts = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&ts, NULL);
}

static bool is(const struct dv_output_node *o, const char *key, const char *word)
{
    return !strcmp(dv_output_text(dv_output_get(o, key), ""), word);
}

/* 0 with any answer of the daemon, which the caller gives back. One that has just started is asked
 * again until it knows its GPUs. */
static int call(struct dv_bench_node *node, const char *method, const char *path,
                struct dv_output *body, struct dv_http_reply *ret, struct dv_err *err)
{
    uint64_t deadline = now_ms() + START_MS;
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    if (body && dv_json_write(body, false, &text) < 0)
        return dv_err_set(err, -ENOMEM, "out of memory");
    for (;;) {
        int r = dv_http_client_call(node->client, method, path, body ? dv_str_get(&text) : NULL,
                                    CALL_MS, ret, err);
        if (r < 0 || !dv_ask_is_unavailable(ret, "starting") || *node->stop || now_ms() >= deadline)
            return r;
        dv_http_reply_done(ret);
        pause_ms(PAUSE_MS);
    }
}

static const char *message_of(const struct dv_http_reply *reply)
{
    return dv_output_text(dv_output_get(dv_output_root(reply->body), "message"),
                          "the daemon gave no reason");
}

/* ---- a daemon of our own ---- */

static int find_programs(struct dv_bench_node *node, struct dv_err *err)
{
    ssize_t n = readlink("/proc/self/exe", node->programs, sizeof node->programs - 1);
    if (n < 0 || (size_t)n >= sizeof node->programs - 16)
        return dv_err_set(err, -EIO, "where this program is cannot be told");
    node->programs[n] = 0;
    *strrchr(node->programs, '/') = 0;
    return 0;
}

static void exec_daemon(const struct dv_bench_node *node, const sigset_t *mask)
{
    char program[sizeof node->programs + 16], state[sizeof node->directory + 16];
    snprintf(program, sizeof program, "%s/divvyd", node->programs);
    snprintf(state, sizeof state, "%s/state", node->directory);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    sigprocmask(SIG_SETMASK, mask, NULL);
    execl(program, program, "--sim", SIMULATED, "--state", state, "--socket", node->socket,
          (char *)NULL);
    _exit(127);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    remove(path);
    return 0;
}

static void remove_directory(const struct dv_bench_node *node)
{
    nftw(node->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* Between us and the daemon stands a process that ends it when we end, however we end: the daemon
 * changes its user, and with that the kernel forgets what it should get at its parent's death. */
static void guard_daemon(const struct dv_bench_node *node, pid_t parent)
{
    sigset_t signals, before;
    int signal = 0, status = 0;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &signals, &before);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
    if (getppid() != parent)
        _exit(125);
    pid_t daemon = fork();
    if (daemon == 0)
        exec_daemon(node, &before);
    while (daemon > 0 && waitpid(daemon, &status, WNOHANG) == 0) {
        sigwait(&signals, &signal);
        if (signal == SIGTERM)
            kill(daemon, SIGTERM);
    }
    if (getppid() != parent)
        remove_directory(node);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 125);
}

static void end_daemon(struct dv_bench_node *node)
{
    uint64_t deadline = now_ms() + 10000;
    if (node->pid > 0)
        kill(node->pid, SIGTERM);
    while (node->pid > 0 && waitpid(node->pid, NULL, WNOHANG) == 0) {
        if (now_ms() > deadline)
            kill(-node->pid, SIGKILL);
        pause_ms(20);
    }
    node->pid = 0;
    if (node->directory[0])
        remove_directory(node);
    node->directory[0] = 0;
}

static int is_up(struct dv_bench_node *node, struct dv_err *err)
{
    struct dv_http_reply reply = {0};
    if (waitpid(node->pid, NULL, WNOHANG) == node->pid) {
        node->pid = 0;
        return dv_err_set(err, -EIO, "divvyd --sim %s ended at once", SIMULATED);
    }
    if (call(node, "GET", "/v1/status", NULL, &reply, NULL) < 0)
        return 0;
    const struct dv_output_node *root = dv_output_root(reply.body);
    const struct dv_output_node *gpus = dv_output_get(root, "gpus");
    bool up = is(dv_output_get(root, "driver"), "state", "ok") && gpus && gpus->children;
    dv_http_reply_done(&reply);
    return up;
}

static int start_daemon(struct dv_bench_node *node, struct dv_err *err)
{
    uint64_t deadline = now_ms() + START_MS;
    snprintf(node->directory, sizeof node->directory, "/tmp/divvy-bench-XXXXXX");
    if (!mkdtemp(node->directory)) {
        node->directory[0] = 0;
        return dv_err_set(err, -errno, "no temporary directory: %s", strerror(errno));
    }
    chmod(node->directory, 0755); /* root's daemon gives up its rights and must still get in */
    snprintf(node->socket, sizeof node->socket, "%s/divvyd.sock", node->directory);
    dv_http_client_free(&node->client);
    int r = dv_http_client_new(node->socket, &node->client, err);
    if (r < 0)
        return r;
    dv_http_client_stop_at(node->client, node->stop);
    pid_t parent = getpid();
    node->own = true;
    node->pid = fork();
    if (node->pid == 0)
        guard_daemon(node, parent);
    if (node->pid < 0)
        return dv_err_set(err, -errno, "fork: %s", strerror(errno));
    while ((r = is_up(node, err)) == 0) {
        if (*node->stop)
            return dv_err_set(err, -EINTR, "interrupted");
        if (now_ms() > deadline)
            return dv_err_set(err, -ETIMEDOUT, "the simulated node does not come up");
        pause_ms(PAUSE_MS);
    }
    return r < 0 ? r : 0;
}

/* ---- opening ---- */

static void learn(struct dv_bench_node *node, const struct dv_output_node *status)
{
    const struct dv_output_node *sim = dv_output_get(dv_output_get(status, "daemon"), "sim");
    node->simulated = sim && sim->type == DV_OUTPUT_STRING;
}

static int look_for_layouts(struct dv_bench_node *node, struct dv_err *err)
{
    struct dv_http_reply reply = {0};
    int r = call(node, "GET", "/v1/layout", NULL, &reply, err);
    if (r < 0)
        return r;
    node->layouts = reply.status == 200;
    dv_http_reply_done(&reply);
    return 0;
}

int dv_bench_node_open(struct dv_bench_node *node, const char *socket, const volatile int *stop,
                       struct dv_err *err)
{
    struct dv_http_reply reply = {0};
    *node = (struct dv_bench_node){.stop = stop};
    int r = find_programs(node, err);
    if (!r)
        r = dv_http_client_new(socket, &node->client, err);
    if (r < 0)
        return r;
    dv_http_client_stop_at(node->client, stop);
    r = call(node, "GET", "/v1/status", NULL, &reply, err);
    const char *set = getenv("DIVVY_SOCKET");
    if (r == -ECONNREFUSED && !socket && !(set && *set)) {
        r = start_daemon(node, err);
        if (!r)
            r = call(node, "GET", "/v1/status", NULL, &reply, err);
    } else {
        snprintf(node->socket, sizeof node->socket, "%s", dv_http_client_socket(node->client));
    }
    if (r < 0)
        return r;
    if (reply.status != 200)
        r = dv_err_set(err, -EIO, "%s", message_of(&reply));
    else
        learn(node, dv_output_root(reply.body));
    dv_http_reply_done(&reply);
    return r ? r : look_for_layouts(node, err);
}

void dv_bench_node_close(struct dv_bench_node *node)
{
    dv_http_client_free(&node->client);
    end_daemon(node);
    dv_str_done(&node->cut);
}

/* ---- the GPU ---- */

static struct dv_gpu gpu_of(const struct dv_output_node *g)
{
    struct dv_gpu gpu = {.index = (uint32_t)dv_output_count(dv_output_get(g, "index"), 0)};
    snprintf(gpu.uuid, sizeof gpu.uuid, "%s", dv_output_text(dv_output_get(g, "uuid"), ""));
    snprintf(gpu.model, sizeof gpu.model, "%s", dv_output_text(dv_output_get(g, "model"), ""));
    gpu.memory_bytes = dv_output_count(dv_output_get(g, "memory_bytes"), 0);
    gpu.mig_enabled = dv_output_is_true(dv_output_get(g, "mig_enabled"));
    return gpu;
}

/* How the GPU is cut, as the entry of a layout file. */
static void describe_cut(const struct dv_output_node *g, struct dv_str *text)
{
    const struct dv_output_node *devices = dv_output_get(g, "devices");
    if (!dv_output_is_true(dv_output_get(g, "mig_enabled"))) {
        dv_str_add(text, "    mode: auto\n");
        return;
    }
    dv_str_add(text, devices && devices->children ? "    mig:\n" : "    mig: []\n");
    for (const struct dv_output_node *d = devices ? devices->first : NULL; d; d = d->next)
        dv_str_addf(text, "      - {profile: \"%s\", start: %llu}\n",
                    dv_output_text(dv_output_get(d, "profile"), ""),
                    (unsigned long long)dv_output_count(dv_output_get(d, "placement_start"), 0));
}

static int choose(struct dv_bench_node *node, const struct dv_selector *selector,
                  const struct dv_output_node *gpus, struct dv_err *err)
{
    const char *holder = NULL;
    for (const struct dv_output_node *g = gpus ? gpus->first : NULL; g; g = g->next) {
        struct dv_gpu gpu = gpu_of(g);
        struct dv_device whole = {.gpu = gpu.index};
        memcpy(whole.uuid, gpu.uuid, sizeof whole.uuid);
        if (!dv_claim_selector_matches(selector, &gpu, &whole))
            continue;
        const struct dv_output_node *slices = dv_output_get(g, "slices");
        if (!slices || !slices->children) {
            node->gpu = gpu;
            dv_str_clear(&node->cut);
            describe_cut(g, &node->cut);
            return 0;
        }
        holder = dv_output_text(dv_output_get(slices->first, "tenant"), "somebody");
    }
    if (holder)
        return dv_err_set(
            err, -EBUSY,
            "GPU %s is held by tenant %.40s; the benchmark needs one that nobody holds",
            selector->text, holder);
    return dv_err_set(err, -ENOENT, "no GPU of this node matches \"%s\"", selector->text);
}

int dv_bench_node_choose(struct dv_bench_node *node, const char *selector, struct dv_err *err)
{
    struct dv_selector s;
    struct dv_http_reply reply = {0};
    int r = dv_claim_selector_parse(selector, &s, err);
    if (!r)
        r = call(node, "GET", "/v1/status", NULL, &reply, err);
    if (r < 0)
        return r;
    r = choose(node, &s, dv_output_get(dv_output_root(reply.body), "gpus"), err);
    dv_http_reply_done(&reply);
    return r;
}

int dv_bench_node_walls(struct dv_bench_node *node, struct dv_bench_walls *ret, struct dv_err *err)
{
    struct dv_http_reply reply = {0};
    *ret = (struct dv_bench_walls){0};
    int r = call(node, "GET", "/v1/slices", NULL, &reply, err);
    if (r < 0)
        return r;
    const struct dv_output_node *list = dv_output_get(dv_output_root(reply.body), "slices");
    for (const struct dv_output_node *s = list ? list->first : NULL; s; s = s->next) {
        if (dv_output_count(dv_output_get(s, "gpu_index"), UINT64_MAX) != node->gpu.index)
            continue;
        snprintf(ret->memory, sizeof ret->memory, "%s",
                 dv_output_text(dv_output_get(s, "memory_wall"), ""));
        snprintf(ret->compute, sizeof ret->compute, "%s",
                 dv_output_text(dv_output_get(s, "compute_wall"), ""));
        break;
    }
    dv_http_reply_done(&reply);
    return 0;
}

/* ---- the layout ---- */

static int errno_of(const struct dv_http_reply *reply, struct dv_err *err)
{
    int r = reply->status == 403 ? -EPERM : reply->status == 409 ? -EBUSY : -EIO;
    return dv_err_set(err, r, "%s", message_of(reply));
}

/* Until the change is through. */
static int watch(struct dv_bench_node *node, struct dv_err *err)
{
    uint64_t deadline = now_ms() + CHANGE_MS;
    for (;;) {
        struct dv_http_reply reply = {0};
        int r = call(node, "GET", "/v1/layout", NULL, &reply, err);
        if (r < 0)
            return r;
        const struct dv_output_node *root = dv_output_root(reply.body);
        bool over = is(root, "state", "settled") || is(root, "state", "none");
        if (is(root, "state", "failed"))
            r = dv_err_set(err, -EIO, "the layout did not work: %.300s",
                           dv_output_text(dv_output_get(root, "detail"), "no reason given"));
        dv_http_reply_done(&reply);
        if (r < 0 || over)
            return r;
        if (now_ms() > deadline)
            return dv_err_set(err, -ETIMEDOUT, "the layout takes longer than %d s to change",
                              CHANGE_MS / 1000);
        pause_ms(PAUSE_MS);
    }
}

static int change(struct dv_bench_node *node, const char *path, struct dv_output *body,
                  struct dv_err *err)
{
    struct dv_http_reply reply = {0};
    dv_output_string(dv_output_root(body), "when", "wait"); /* the last slices may be ending */
    dv_output_uint(dv_output_root(body), "timeout_seconds", 30);
    int r = call(node, "POST", path, body, &reply, err);
    if (r < 0)
        return r;
    if (reply.status >= 400)
        r = errno_of(&reply, err);
    dv_http_reply_done(&reply);
    return r ? r : watch(node, err);
}

/* One layout at a time is ours: the one before it is always the user's. */
static int undo(struct dv_bench_node *node, struct dv_err *err)
{
    if (!node->laid_out)
        return 0;
    dv_cleanup(dv_output_free) struct dv_output *body = dv_output_new(NULL);
    int r = change(node, "/v1/layout/undo", body, err);
    node->laid_out = r < 0;
    return r;
}

int dv_bench_node_lay_out(struct dv_bench_node *node, const char *entry, struct dv_err *err)
{
    dv_cleanup(dv_output_free) struct dv_output *body = dv_output_new(NULL);
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    if (!node->layouts)
        return dv_err_set(err, -ENOTSUP, "this daemon does not change layouts");
    int r = undo(node, err);
    if (r < 0)
        return r;
    dv_str_addf(&text, "apiVersion: divvy/v1\nkind: Layout\ngpus:\n  - gpu: %u\n%s",
                node->gpu.index, entry);
    dv_output_string(dv_output_root(body), "name", "divvy bench modes");
    dv_output_string(dv_output_root(body), "text", dv_str_get(&text));
    node->touched = true;
    node->laid_out = true; /* also when the answer is lost: then it is taken back */
    r = change(node, "/v1/layout/apply", body, err);
    if (r == -EPERM || r == -EBUSY || r == -EIO)
        node->laid_out = false; /* it was not taken, or rolled back */
    return r;
}

/* What the layout before ours did not say: a GPU without a layout stays as it is cut. */
static int restore_cut(struct dv_bench_node *node, struct dv_err *err)
{
    struct dv_http_reply reply = {0};
    dv_cleanup(dv_str_done) struct dv_str now = {0};
    int r = call(node, "GET", "/v1/status", NULL, &reply, err);
    if (r < 0)
        return r;
    const struct dv_output_node *gpus = dv_output_get(dv_output_root(reply.body), "gpus");
    for (const struct dv_output_node *g = gpus ? gpus->first : NULL; g; g = g->next)
        if (dv_output_count(dv_output_get(g, "index"), UINT64_MAX) == node->gpu.index)
            describe_cut(g, &now);
    dv_http_reply_done(&reply);
    if (!now.len || !strcmp(dv_str_get(&now), dv_str_get(&node->cut)))
        return 0;
    r = dv_bench_node_lay_out(node, dv_str_get(&node->cut), err);
    return r ? r : undo(node, err);
}

int dv_bench_node_restore(struct dv_bench_node *node, struct dv_err *err)
{
    if (node->own || !node->touched)
        return 0;
    node->stop = &never_stop;
    dv_http_client_stop_at(node->client, node->stop);
    int r = undo(node, err);
    return r ? r : restore_cut(node, err);
}
