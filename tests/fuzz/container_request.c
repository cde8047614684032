/* SPDX-License-Identifier: Apache-2.0 */
/* What a hook may send about a container: what passes names devices, a process and a tenant, and no
 * text of it or message about it carries control characters. Likewise the kernel's text about a
 * process's cgroups, which holds what people call their groups. */
#include "kubernetes/container_request.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_plain(const char *text)
{
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            abort();
}

static void check_cgroups(const uint8_t *data, size_t size)
{
    struct dv_cgroup_container c;
    char group[DV_CGROUP_GROUP_SIZE];
    char *text = malloc(size + 1);
    if (!text)
        return;
    memcpy(text, data, size);
    text[size] = 0;
    if (dv_cgroup_find(text, &c)) {
        if (strlen(c.id) != 64 || (c.pod_uid[0] && strlen(c.pod_uid) < 32))
            abort();
        /* Whose group it is, is in it. */
        if (dv_cgroup_of(text, c.id, group) == 0 && !strchr(group, ':'))
            abort();
    }
    dv_cgroup_parse(text, &c);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dv_container_request q;
    struct dv_err err = {0};
    int r = dv_container_request_parse((const char *)data, size, &q, &err);
    check_cgroups(data, size);
    if (r < 0) {
        if (!err.msg[0])
            abort();
        check_plain(err.msg);
        return 0;
    }
    if (!q.n_devices || q.pid < 2 || !q.resource[0] || dv_tenant_check_name(q.tenant, &err) < 0 ||
        dv_workload_check(&q.workload, &err) < 0 || q.compute > DV_COMPUTE_FULL)
        abort();
    for (size_t i = 0; i < q.n_devices; i++) {
        if (!q.devices[i][0])
            abort();
        check_plain(q.devices[i]);
    }
    dv_container_request_done(&q);
    return 0;
}
