/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/pods.h"

#include "base/str.h"
#include "model/tenant.h"
#include "sys/proc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CGROUPS_MAX 16384u /* of the text of /proc/PID/cgroup */

struct row {
    struct dv_workload w;
    bool finished; /* its pod has ended for good */
};

struct dv_pods {
    struct dv_kube_pod_watch *watch;
    struct row *rows; /* of each pod: itself, then its containers that have an id */
    size_t n, cap;
};

static void forget(struct dv_pods *pods, const char *uid)
{
    size_t kept = 0;
    for (size_t i = 0; i < pods->n; i++) {
        if (!strcmp(pods->rows[i].w.pod_uid, uid))
            continue;
        if (kept != i)
            pods->rows[kept] = pods->rows[i];
        kept++;
    }
    pods->n = kept;
}

static struct row *new_row(struct dv_pods *pods)
{
    if (pods->n == pods->cap) {
        size_t cap = pods->cap ? 2 * pods->cap : 64;
        struct row *more = cap > DV_PODS_MAX ? NULL : realloc(pods->rows, cap * sizeof *more);
        if (!more)
            return NULL;
        pods->rows = more;
        pods->cap = cap;
    }
    return &pods->rows[pods->n];
}

/* What does not fit, or is no tenant's name, is passed over: nothing is charged to it. */
static void add(struct dv_pods *pods, const struct dv_kube_pod *pod, const char *container,
                const char *id)
{
    struct row *row = new_row(pods);
    struct dv_workload *w = row ? &row->w : NULL;
    if (!w)
        return;
    memset(row, 0, sizeof *row);
    row->finished =
        pod->phase && (!strcmp(pod->phase, "Succeeded") || !strcmp(pod->phase, "Failed"));
    if (dv_tenant_check_name(pod->namespace, NULL) == 0 &&
        dv_str_copy(w->namespace, sizeof w->namespace, pod->namespace) == 0 &&
        dv_str_copy(w->pod, sizeof w->pod, pod->name) == 0 &&
        dv_str_copy(w->pod_uid, sizeof w->pod_uid, pod->uid) == 0 &&
        dv_str_copy(w->container, sizeof w->container, container) == 0 &&
        dv_str_copy(w->container_id, sizeof w->container_id, id) == 0)
        pods->n++;
}

void dv_pods_change(struct dv_pods *pods, enum dv_kube_change change, const struct dv_kube_pod *pod)
{
    if (change == DV_KUBE_SYNCED)
        return;
    forget(pods, pod->uid);
    if (change == DV_KUBE_DELETED)
        return;
    add(pods, pod, "", "");
    for (uint32_t i = 0; i < pod->n_containers; i++)
        if (*pod->containers[i].id)
            add(pods, pod, pod->containers[i].name, pod->containers[i].id);
}

static void on_pod(void *arg, enum dv_kube_change change, const struct dv_kube_pod *pod)
{
    dv_pods_change(arg, change, pod);
}

int dv_pods_new(struct dv_kube_client *client, const char *node, struct dv_pods **ret)
{
    struct dv_pods *pods = calloc(1, sizeof *pods);
    if (!pods)
        return -ENOMEM;
    const struct dv_kube_pod_spec spec = {.node = node, .cb = on_pod, .arg = pods};
    int r = client ? dv_kube_pod_watch(client, &spec, &pods->watch) : 0;
    if (r < 0) {
        dv_pods_free(pods);
        return r;
    }
    *ret = pods;
    return 0;
}

void dv_pods_free(struct dv_pods *pods)
{
    if (!pods)
        return;
    dv_kube_pod_watch_free(pods->watch);
    free(pods->rows);
    free(pods);
}

const struct dv_workload *dv_pods_in_cgroup(const struct dv_pods *pods, const char *text)
{
    struct dv_cgroup_container in;
    const struct dv_workload *pod = NULL;
    if (!dv_cgroup_find(text, &in))
        return NULL;
    for (size_t i = 0; i < pods->n; i++) {
        const struct dv_workload *w = &pods->rows[i].w;
        if (w->container_id[0] && !strcmp(w->container_id, in.id))
            return w;
        if (in.pod_uid[0] && !w->container_id[0] && !strcmp(w->pod_uid, in.pod_uid))
            pod = w;
    }
    return pod;
}

const struct dv_workload *dv_pods_find(const struct dv_pods *pods, const char *namespace,
                                       const char *pod, bool *ret_finished)
{
    for (size_t i = 0; pods && i < pods->n; i++) {
        const struct row *row = &pods->rows[i];
        if (row->w.container_id[0] || strcmp(row->w.namespace, namespace) != 0 ||
            strcmp(row->w.pod, pod) != 0)
            continue;
        *ret_finished = row->finished;
        return &row->w;
    }
    return NULL;
}

const struct dv_workload *dv_pods_of(const struct dv_pods *pods, pid_t pid)
{
    static char text[CGROUPS_MAX];
    if (!pods || dv_proc_cgroup(pid, text, sizeof text) < 0)
        return NULL;
    return dv_pods_in_cgroup(pods, text);
}
