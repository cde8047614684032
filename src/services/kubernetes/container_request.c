/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/container_request.h"

#include "base/str.h"
#include "json_body.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY_MAX (INT64_C(1) << 50)
#define PID_MAX (1 << 22) /* PID_MAX_LIMIT of Linux */
#define TENANT_NOBODY "container"

void dv_container_request_done(struct dv_container_request *q)
{
    free(q->devices);
    q->devices = NULL;
}

/* ---- devices ---- */

/* They come from a file that divvy has written: what is in them is plain. */
static bool is_name(const char *text)
{
    for (; *text; text++)
        if (*text <= ' ' || *text > '~')
            return false;
    return true;
}

static int get_device(struct json_object *v, char ret[DV_WORKLOAD_DEVICE_SIZE], struct dv_err *err)
{
    const char *text = json_object_is_type(v, json_type_string) ? json_object_get_string(v) : "";
    if (!*text || strlen(text) != (size_t)json_object_get_string_len(v) || !is_name(text) ||
        dv_str_copy(ret, DV_WORKLOAD_DEVICE_SIZE, text) < 0)
        return dv_err_set(err, -EINVAL,
                          "each of devices must be a name of 1 to %d printable characters",
                          DV_WORKLOAD_DEVICE_SIZE - 1);
    return 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

static int check_twice(const struct dv_container_request *q, struct dv_err *err)
{
    size_t n = q->n_devices, size = sizeof *q->devices;
    char(*sorted)[DV_WORKLOAD_DEVICE_SIZE] = malloc(n * size);
    int r = 0;
    if (!sorted)
        return dv_err_set(err, -ENOMEM, "out of memory");
    memcpy(sorted, q->devices, n * size);
    qsort(sorted, n, size, by_text);
    for (size_t i = 1; r == 0 && i < n; i++)
        if (!strcmp(sorted[i - 1], sorted[i]))
            r = dv_err_set(err, -EINVAL, "device %s is named twice", sorted[i]);
    free(sorted);
    return r;
}

static int get_devices(struct json_object *o, struct dv_container_request *q, struct dv_err *err)
{
    struct json_object *list = json_object_object_get(o, "devices");
    size_t n = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
    if (!n || n > DV_CONTAINER_DEVICES_MAX)
        return dv_err_set(err, -EINVAL, "devices must be a list of 1 to %u names",
                          DV_CONTAINER_DEVICES_MAX);
    q->devices = calloc(n, sizeof *q->devices);
    if (!q->devices)
        return dv_err_set(err, -ENOMEM, "out of memory");
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = get_device(json_object_array_get_idx(list, i), q->devices[i], err);
    q->n_devices = n;
    return r < 0 ? r : check_twice(q, err);
}

static int get_sizes(struct json_object *o, struct dv_container_request *q, struct dv_err *err)
{
    int64_t memory = 0, compute = 0;
    char mode[32] = "auto";
    int r = dv_json_body_text(o, "mode", mode, sizeof mode, err);
    if (r == 0)
        r = dv_device_mode_parse(mode, &q->mode, err);
    if (r == 0)
        r = dv_json_body_integer(o, "memory_bytes", 1, MEMORY_MAX, &memory, err);
    if (r == 0)
        r = dv_json_body_integer(o, "compute", 1, DV_COMPUTE_FULL, &compute, err);
    q->explicit_mode = json_object_object_get(o, "mode") != NULL;
    q->memory_bytes = (uint64_t)memory;
    q->compute = (uint32_t)compute;
    if (r == 0 && !q->explicit_mode && (memory || compute))
        r = dv_err_set(err, -EINVAL, "memory_bytes and compute need a mode");
    return r;
}

/* ---- the state ---- */

/* Of several runtimes' names for one thing the first that is there counts. */
#define NAMES_MAX 2
static int get_annotation(struct json_object *annotations, const char *const names[NAMES_MAX],
                          char *ret, size_t size, struct dv_err *err)
{
    struct json_object *v;
    for (size_t i = 0; annotations && i < NAMES_MAX && names[i]; i++)
        if (json_object_object_get_ex(annotations, names[i], &v))
            return dv_json_body_text(annotations, names[i], ret, size, err);
    return 0;
}

static int get_identity(struct json_object *annotations, struct dv_container_request *q,
                        struct dv_err *err)
{
    static const char *const ns[] = {"io.kubernetes.cri.sandbox-namespace",
                                     "io.kubernetes.pod.namespace"};
    static const char *const pod[] = {"io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"};
    static const char *const uid[] = {"io.kubernetes.cri.sandbox-uid", "io.kubernetes.pod.uid"};
    static const char *const container[] = {"io.kubernetes.cri.container-name",
                                            "io.kubernetes.container.name"};
    static const char *const tenant[] = {"divvy.dev/tenant", NULL};
    struct dv_workload *w = &q->workload;
    memcpy(q->tenant, TENANT_NOBODY, sizeof TENANT_NOBODY);
    int r = get_annotation(annotations, ns, w->namespace, sizeof w->namespace, err);
    if (r == 0)
        r = get_annotation(annotations, pod, w->pod, sizeof w->pod, err);
    if (r == 0)
        r = get_annotation(annotations, uid, w->pod_uid, sizeof w->pod_uid, err);
    if (r == 0)
        r = get_annotation(annotations, container, w->container, sizeof w->container, err);
    if (r == 0 && !w->namespace[0])
        r = get_annotation(annotations, tenant, q->tenant, sizeof q->tenant, err);
    if (r == 0 && w->namespace[0])
        memcpy(q->tenant, w->namespace, sizeof w->namespace);
    return r < 0 ? r : dv_tenant_check_name(q->tenant, err);
}

/* A pod's sandbox runs nothing: a device for it is a mistake in somebody's configuration. */
static int check_type(struct json_object *annotations, struct dv_err *err)
{
    static const char *const names[] = {"io.kubernetes.cri.container-type",
                                        "io.kubernetes.cri-o.ContainerType"};
    char type[32] = "container";
    int r = get_annotation(annotations, names, type, sizeof type, err);
    if (r == 0 && strcmp(type, "container") != 0)
        r = dv_err_set(err, -EINVAL, "this is a pod's %s, not one of its containers", type);
    return r;
}

static int get_state(struct json_object *o, struct dv_container_request *q, struct dv_err *err)
{
    struct json_object *state = json_object_object_get(o, "state");
    struct json_object *annotations;
    int64_t pid = 0;
    if (!json_object_is_type(state, json_type_object))
        return dv_err_set(err, -EINVAL, "state must be the OCI state of a container, an object");
    if (json_object_object_get_ex(state, "annotations", &annotations) && annotations &&
        !json_object_is_type(annotations, json_type_object))
        return dv_err_set(err, -EINVAL, "the state's annotations must be an object");
    int r = dv_json_body_text(state, "id", q->workload.container_id,
                              sizeof q->workload.container_id, err);
    if (r == 0 && !q->workload.container_id[0])
        r = dv_err_set(err, -EINVAL, "the state has no id of a container");
    if (r == 0)
        r = dv_json_body_integer(state, "pid", 0, PID_MAX, &pid, err);
    if (r == 0 && pid < 2)
        r = dv_err_set(err, -EINVAL,
                       "the state has no pid of a container's process; the hook belongs to the "
                       "stage createRuntime");
    if (r == 0)
        r = check_type(annotations, err);
    if (r == 0)
        r = get_identity(annotations, q, err);
    q->pid = (pid_t)pid;
    return r < 0 ? r : dv_workload_check(&q->workload, err);
}

/* What both bodies have, of an object that has been parsed. */
static int get_wanted(struct json_object *o, struct dv_container_request *q, struct dv_err *err)
{
    int r = dv_json_body_text(o, "resource", q->resource, sizeof q->resource, err);
    if (r == 0 && (!q->resource[0] || !is_name(q->resource)))
        r = dv_err_set(err, -EINVAL, "resource must be a name, such as nvidia.com/gpu");
    if (r == 0)
        r = get_devices(o, q, err);
    return r < 0 ? r : get_sizes(o, q, err);
}

int dv_container_request_parse(const char *body, size_t size, struct dv_container_request *ret,
                               struct dv_err *err)
{
    static const char *const keys[] = {"resource", "devices",      "state",
                                       "mode",     "memory_bytes", "compute"};
    dv_cleanup(dv_json_body_put) struct json_object *o = NULL;
    struct dv_container_request q = {{0}};
    int r = dv_json_body_parse(body, size, &o, err);
    if (r == 0)
        r = dv_json_body_check_keys(o, keys, DV_ARRAY_SIZE(keys), err);
    if (r == 0)
        r = get_wanted(o, &q, err);
    if (r == 0)
        r = get_state(o, &q, err);
    if (r < 0)
        dv_container_request_done(&q);
    else
        *ret = q;
    return r;
}

int dv_container_request_parse_device(const char *body, size_t size, char ret_name[128],
                                      struct dv_container_request *ret, struct dv_err *err)
{
    static const char *const keys[] = {"resource", "devices",      "name",
                                       "mode",     "memory_bytes", "compute"};
    dv_cleanup(dv_json_body_put) struct json_object *o = NULL;
    struct dv_container_request q = {{0}};
    ret_name[0] = 0;
    int r = dv_json_body_parse(body, size, &o, err);
    if (r == 0)
        r = dv_json_body_check_keys(o, keys, DV_ARRAY_SIZE(keys), err);
    if (r == 0)
        r = dv_json_body_text(o, "name", ret_name, 128, err);
    if (r == 0)
        r = get_wanted(o, &q, err);
    if (r < 0)
        dv_container_request_done(&q);
    else
        *ret = q;
    return r;
}
