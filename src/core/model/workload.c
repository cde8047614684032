/* SPDX-License-Identifier: Apache-2.0 */
#include "model/workload.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ID_SHOWN 12 /* as container tools show it */

static int check_text(const char *what, const char *text, struct dv_err *err)
{
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            return dv_err_set(err, -EINVAL, "the %s has the byte 0x%02x", what,
                              (unsigned)(unsigned char)*p);
    return 0;
}

int dv_workload_check(const struct dv_workload *w, struct dv_err *err)
{
    const struct {
        const char *what, *text;
    } texts[] = {
        {"namespace", w->namespace},
        {"pod's name", w->pod},
        {"pod's uid", w->pod_uid},
        {"container's name", w->container},
        {"container's id", w->container_id},
        {"device's id", w->device},
        {"cgroup", w->cgroup},
    };
    int r = w->container_id[0] ? 0 : dv_err_set(err, -EINVAL, "a container without an id");
    for (size_t i = 0; r == 0 && i < DV_ARRAY_SIZE(texts); i++)
        r = check_text(texts[i].what, texts[i].text, err);
    return r;
}

void dv_workload_title(const struct dv_workload *w, char *ret, size_t size)
{
    if (w->pod[0])
        snprintf(ret, size, "%s%s%s%s%s", w->namespace, w->namespace[0] ? "/" : "", w->pod,
                 w->container[0] ? "/" : "", w->container);
    else if (w->container[0])
        snprintf(ret, size, "%s", w->container);
    else
        snprintf(ret, size, "%.*s", ID_SHOWN, w->container_id);
}
