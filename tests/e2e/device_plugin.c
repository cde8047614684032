/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device plugin for device_plugin_test.py: one resource in DIR, told what to do by lines.
 *
 *     device_plugin DIR RESOURCE ENDPOINT
 *     offer N SICK      N devices "gpu-0000"..., of which number SICK is unhealthy (-1: none)
 *     pods PATH         the kubelet's pod resources at PATH
 *     end
 *
 * Says what happens in lines of its own. Allocate is answered 5 ms later, so that many are under
 * way at a time; the id "refuse" is refused, "never" is never answered.
 */
#include "kubelet/plugin.h"
#include "kubelet/pod_resources.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct plugin {
    struct dv_loop *loop;
    struct dv_kubelet_dir *dir;
    struct dv_kubelet_plugin *plugin;
    struct dv_kubelet_pod_resources *pods;
    struct dv_kubelet_call *kept;
};

struct later {
    struct dv_loop_source *timer;
    struct dv_kubelet_call *call;
    char id[DV_KUBELET_ID_MAX + 1];
};

static void answer(void *arg)
{
    struct later *l = arg;
    char name[128];
    const char *cdi[] = {name};
    const struct dv_kubelet_pair envs[] = {{"DEVICE", l->id}, {"EMPTY", ""}};
    const struct dv_kubelet_mount mount = {"/in", "/out", true};
    const struct dv_kubelet_device_node node = {"/dev/in", "/dev/out", "rw"};
    const struct dv_kubelet_pair annotation = {"divvy.dev/id", l->id};
    const struct dv_kubelet_container container = {envs, 2,           &mount, 1,       &node,
                                                   1,    &annotation, 1,      {cdi, 1}};
    snprintf(name, sizeof name, "divvy.dev/slice=%s", l->id);
    dv_kubelet_plugin_allocated(l->call, &container, 1);
    dv_loop_remove(l->timer);
    free(l);
}

static void allocate(void *arg, struct dv_kubelet_call *call,
                     const struct dv_kubelet_ids *containers, size_t count)
{
    struct plugin *p = arg;
    const char *id = count && containers[0].count ? containers[0].ids[0] : "";
    struct later *l;
    if (!strcmp(id, "never")) {
        p->kept = call;
        return;
    }
    if (!strcmp(id, "refuse")) {
        dv_kubelet_plugin_refuse(call, DV_GRPC_FAILED_PRECONDITION,
                                 "GPU 3 is sick: 100%% \xc3\xbc");
        return;
    }
    l = calloc(1, sizeof *l);
    if (!l || dv_loop_timer(p->loop, 5, 0, answer, l, &l->timer) < 0)
        abort();
    l->call = call;
    snprintf(l->id, sizeof l->id, "%.63s", id);
}

static void prefer(void *arg, struct dv_kubelet_call *call,
                   const struct dv_kubelet_choice *containers, size_t count)
{
    struct dv_kubelet_ids last = {0};
    if (count && containers[0].size <= (int)containers[0].available.count)
        last = (struct dv_kubelet_ids){containers[0].available.ids + containers[0].available.count -
                                           containers[0].size,
                                       (size_t)containers[0].size};
    dv_kubelet_plugin_preferred(call, &last, 1);
}

static void pre_start(void *arg, struct dv_kubelet_call *call, struct dv_kubelet_ids devices)
{
    printf("start %zu %s\n", devices.count, devices.count ? devices.ids[0] : "");
    dv_kubelet_plugin_started(call);
}

static void on_state(void *arg, enum dv_kubelet_plugin_state state, const char *why)
{
    static const char *const names[] = {"waiting", "registered", "watched", "lost"};
    printf("state %s %s\n", names[state], why);
}

static void offer(struct plugin *p, int n, int sick)
{
    static char ids[DV_KUBELET_DEVICES_MAX][16];
    static struct dv_kubelet_device devices[DV_KUBELET_DEVICES_MAX];
    static const int64_t numa[] = {0, 1};
    struct dv_err err = {{0}};
    for (int i = 0; i < n; i++) {
        snprintf(ids[i], sizeof ids[i], "gpu-%04d", i);
        devices[i] = (struct dv_kubelet_device){ids[i], numa + i % 2, 1, i != sick};
    }
    if (dv_kubelet_plugin_offer(p->plugin, devices, (size_t)n, &err) < 0)
        printf("error %s\n", err.msg);
}

static void on_pods(void *arg, int r, const struct dv_kubelet_held *rows, size_t count,
                    const struct dv_err *err)
{
    size_t ids = 0;
    for (size_t i = 0; i < count; i++)
        ids += rows[i].id_count;
    if (r < 0)
        printf("pods error %s\n", err->msg);
    else if (count)
        printf("pods %zu %zu %s/%s/%s %s\n", count, ids, rows[count - 1].pod_namespace,
               rows[count - 1].pod, rows[count - 1].container, rows[count - 1].resource);
    else
        printf("pods 0\n");
}

static void ask_pods(struct plugin *p, const char *path)
{
    struct dv_err err = {{0}};
    if ((!p->pods && dv_kubelet_pod_resources_new(p->loop, path, &p->pods, &err) < 0) ||
        dv_kubelet_pod_resources_list(p->pods, 10000, on_pods, p, &err) < 0)
        printf("pods error %s\n", err.msg);
}

static void follow(struct plugin *p, const char *line)
{
    int n, sick;
    if (sscanf(line, "offer %d %d", &n, &sick) == 2)
        offer(p, n, sick);
    else if (!strncmp(line, "pods ", 5))
        ask_pods(p, line + 5);
    else
        dv_loop_stop(p->loop);
}

/* Few and short: they come whole, one or more at a time. */
static void on_lines(void *arg)
{
    struct plugin *p = arg;
    char lines[1024], *rest = lines, *line;
    ssize_t got = read(STDIN_FILENO, lines, sizeof lines - 1);
    lines[got > 0 ? got : 0] = 0;
    if (got <= 0)
        dv_loop_stop(p->loop);
    while ((line = strsep(&rest, "\n")))
        if (*line)
            follow(p, line);
}

int main(int argc, char **argv)
{
    static const struct dv_kubelet_plugin_ops ops = {allocate, prefer, pre_start, on_state};
    struct plugin p = {0};
    struct dv_loop_source *input;
    struct dv_err err = {{0}};
    if (argc != 4)
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    const struct dv_kubelet_plugin_config config = {argv[2], argv[3], &ops, &p};
    if (dv_loop_new(&p.loop) < 0 || dv_loop_watch(p.loop, STDIN_FILENO, on_lines, &p, &input) < 0 ||
        dv_kubelet_dir_new(p.loop, argv[1], &p.dir, &err) < 0 ||
        dv_kubelet_plugin_new(p.dir, &config, &p.plugin, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    dv_loop_run(p.loop);
    dv_kubelet_pod_resources_free(p.pods);
    dv_kubelet_plugin_free(p.plugin);
    dv_kubelet_dir_free(p.dir);
    if (p.kept) /* nobody listens any more */
        dv_kubelet_plugin_refuse(p.kept, DV_GRPC_CANCELLED, "the end");
    dv_loop_free(p.loop);
    return 0;
}
