/* SPDX-License-Identifier: Apache-2.0 */
/* What main, which has no rights, may ask of the worker, which has them all: requests as bytes.
 * What passes has only texts that end and that cannot leave the folder of an MPS daemon or a
 * cgroup, or become an option of a tool, and numbers within their bounds. */
#include "worker/worker.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void check_text(const char *text, size_t size)
{
    must(memchr(text, 0, size));
    must(!strstr(text, "..") && text[0] != '-' && !strpbrk(text, " \t\n\r\"'`$;|&<>\\%"));
}

static void check_device(const char text[DV_UUID_SIZE])
{
    check_text(text, DV_UUID_SIZE);
    must(!text[0] || !strncmp(text, "GPU-", 4) || !strncmp(text, "MIG-", 4));
}

static void check_step(const struct dv_step *s)
{
    check_device(s->device);
    check_device(s->uuid);
    must(memchr(s->name, 0, sizeof s->name));
    must(s->gpu < DV_FACTS_GPUS_MAX && s->order < DV_PLAN_CIS_MAX && s->start < DV_MIG_GRID_MAX);
    if (s->kind == DV_STEP_MIG_MODE)
        must(s->value <= 1);
}

static void check_mps(const struct dv_worker_request *q)
{
    check_device(q->change.mps.spec.device);
    check_text(q->change.mps.spec.name, sizeof q->change.mps.spec.name);
    must(q->change.mps.spec.name[0] && !strchr(q->change.mps.spec.name, '/'));
    must(memchr(q->change.mps.argument, 0, sizeof q->change.mps.argument));
    must(!strpbrk(q->change.mps.argument, "/. \n"));
    must(q->change.mps.spec.threads_percent <= 100);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dv_worker_request q = {.magic = DV_WORKER_MAGIC};
    struct dv_err err = {0};
    if (!size)
        return 0;
    q.op = data[0] % 12; /* which of them: else few inputs would get beyond it */
    memcpy((char *)&q.change, data + 1, DV_MIN(size - 1, sizeof q.change));
    if (dv_worker_check(&q, &err) < 0) {
        must(err.msg[0]);
        return 0;
    }
    if (q.op == DV_WORKER_STEP)
        check_step(&q.change.step);
    else if (q.op == DV_WORKER_MPS)
        check_mps(&q);
    else if (q.op == DV_WORKER_MEMORY_LIMIT) {
        check_device(q.change.limit.device);
        check_text(q.change.limit.cgroup, sizeof q.change.limit.cgroup);
        must(q.change.limit.cgroup[0] && !strchr(q.change.limit.cgroup, '/'));
        const char *back = q.change.limit.back; /* the system's own name of it */
        must(memchr(back, 0, sizeof q.change.limit.back) && !strstr(back, ".."));
        must(!back[0] || back[0] == '/');
    }
    must(dv_worker_deadline_ms((enum dv_worker_op)q.op, 5000) >= 5000);
    return 0;
}
