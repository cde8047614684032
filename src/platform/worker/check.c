/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/worker.h"

#include <errno.h>
#include <string.h>

#define FACTS_LONG_MS 15000u /* a tool of the driver is run */
#define STEP_MS 75000u       /* with a reset of the GPU */
#define MPS_MS 60000u        /* a daemon that has to be ended by force, or a probe that hangs */

#define PROFILE_MAX 4096u /* of the driver's profile ids; known ones end below 100 */
#define INSTANCE_MAX 255u /* of the driver's instance ids */

uint32_t dv_worker_deadline_ms(enum dv_worker_op op, uint32_t facts_ms)
{
    switch (op) {
    case DV_WORKER_TIMESLICES:
        return DV_MAX(facts_ms, FACTS_LONG_MS);
    case DV_WORKER_STEP:
        return DV_MAX(facts_ms, STEP_MS);
    case DV_WORKER_MPS:
        return DV_MAX(facts_ms, MPS_MS);
    default:
        return facts_ms;
    }
}

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Ends within its size, and has only letters, digits and `also`. */
static int check_text(const char *what, const char *text, size_t size, const char *also,
                      struct dv_err *err)
{
    size_t n = strnlen(text, size);
    if (n == size)
        return dv_err_set(err, -EINVAL, "%s does not end", what);
    if (text[0] == '-')
        return dv_err_set(err, -EINVAL, "%s begins like an option", what);
    for (size_t i = 0; i < n; i++)
        if (!is_alnum(text[i]) && !strchr(also, text[i]))
            return dv_err_set(err, -EINVAL, "%s has a character that does not belong there", what);
    return 0;
}

static int check_number(const char *what, uint32_t value, uint32_t max, bool may_be_none,
                        struct dv_err *err)
{
    if (value <= max || (may_be_none && value == UINT32_MAX))
        return 0;
    return dv_err_set(err, -EINVAL, "%s is %u, at most %u is possible", what, value, max);
}

/* "GPU-..." or "MIG-...", or "" where that is allowed. */
static int check_device(const char text[DV_UUID_SIZE], bool may_be_empty, struct dv_err *err)
{
    int r = check_text("device", text, DV_UUID_SIZE, "-/", err);
    if (r || (may_be_empty && !text[0]))
        return r;
    if (strncmp(text, "GPU-", 4) != 0 && strncmp(text, "MIG-", 4) != 0)
        return dv_err_set(err, -EINVAL, "device is no UUID of a GPU or MIG device");
    return 0;
}

static int check_sharing(const struct dv_layout_sharing *s, struct dv_err *err)
{
    int r = check_number("mode", s->mode, DV_MODE_GOVERNED, false, err);
    if (!r)
        r = check_number("replicas", s->replicas, DV_LAYOUT_REPLICAS_MAX, false, err);
    return r ? r : check_number("timeslice", s->timeslice, DV_TIMESLICE_LONG, false, err);
}

static int check_step(const struct dv_step *s, struct dv_err *err)
{
    bool destroys = s->kind == DV_STEP_CI_DESTROY || s->kind == DV_STEP_GI_DESTROY;
    const struct {
        const char *what;
        uint32_t value, max;
        bool may_be_none;
    } numbers[] = {
        {"kind", s->kind, DV_STEP_SHARING, false},
        {"gpu", s->gpu, DV_FACTS_GPUS_MAX - 1, false},
        {"gi", s->gi, INSTANCE_MAX, !destroys},
        {"ci", s->ci, INSTANCE_MAX, s->kind != DV_STEP_CI_DESTROY},
        {"profile", s->profile, PROFILE_MAX, s->kind != DV_STEP_GI_CREATE},
        {"start", s->start, DV_MIG_GRID_MAX - 1, false},
        {"size", s->size, DV_MIG_GRID_MAX, false},
        {"slices", s->slices, DV_MIG_GRID_MAX, false},
        {"order", s->order, DV_PLAN_CIS_MAX - 1, false},
        {"value", s->value, s->kind == DV_STEP_MIG_MODE ? 1 : PROFILE_MAX, false},
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(numbers); i++) {
        int r = check_number(numbers[i].what, numbers[i].value, numbers[i].max,
                             numbers[i].may_be_none, err);
        if (r)
            return r;
    }
    int r = check_sharing(&s->sharing, err);
    if (!r)
        r = check_device(s->device, true, err);
    if (!r)
        r = check_device(s->uuid, true, err);
    return r ? r : check_text("name", s->name, sizeof s->name, ".+,-", err);
}

static int check_mps(const struct dv_worker_request *q, struct dv_err *err)
{
    const struct dv_mps_spec *spec = &q->change.mps.spec;
    int r = check_device(spec->device, false, err);
    if (!r)
        r = check_text("name", spec->name, sizeof spec->name, "", err);
    for (const char *p = spec->name; !r && *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            r = dv_err_set(err, -EINVAL, "name has a character that does not belong there");
    if (!r && !spec->name[0])
        r = dv_err_set(err, -EINVAL, "an MPS daemon needs a name");
    if (!r && (q->change.mps.op < DV_MPS_START || q->change.mps.op > DV_MPS_RENEW))
        r = dv_err_set(err, -EINVAL, "there is no MPS operation %u", q->change.mps.op);
    if (!r)
        r = check_number("threads_percent", spec->threads_percent, 100, false, err);
    if (!r)
        r = check_number("namespaces", spec->namespaces, 1, false, err);
    if (!r)
        r = check_number("alone", spec->alone, spec->device[0] == 'G', false, err);
    if (!r)
        r = check_text("door", spec->door, sizeof spec->door, "", err);
    if (!r)
        r = check_text("argument", q->change.mps.argument, DV_WORKER_ARGUMENT, "-_", err);
    if (!r && (q->change.mps.op == DV_MPS_NAMESPACE || q->change.mps.op == DV_MPS_NAMESPACE_END) &&
        !q->change.mps.argument[0])
        r = dv_err_set(err, -EINVAL, "a namespace needs a name");
    return r;
}

static int check_limit(const struct dv_memory_limit *l, struct dv_err *err)
{
    int r = check_device(l->device, false, err);
    if (!r)
        r = check_text("cgroup", l->cgroup, sizeof l->cgroup, "-", err);
    if (!r && !l->cgroup[0])
        r = dv_err_set(err, -EINVAL, "a limit needs the name of a cgroup");
    size_t len = strnlen(l->back, sizeof l->back);
    if (!r && (len == sizeof l->back || (len && l->back[0] != '/') || strstr(l->back, "..")))
        r = dv_err_set(err, -EINVAL, "back is no path of a cgroup");
    if (!r && l->sweep > 1)
        r = dv_err_set(err, -EINVAL, "sweep is %u, 0 or 1 expected", l->sweep);
    if (!r && (l->own > 1 || (l->own && len < 2)))
        r = dv_err_set(err, -EINVAL, "own is %u, of the cgroup \"%.64s\"", l->own, l->back);
    if (!r && l->own && !l->pid && l->bytes != UINT64_MAX)
        r = dv_err_set(err, -EINVAL, "a container's cgroup without its process");
    if (!r && (l->pid < 0 || l->pid == 1 || (l->pid && !l->start)))
        r = dv_err_set(err, -EINVAL, "pid %d is nobody that can be moved", l->pid);
    return r;
}

int dv_worker_check(const struct dv_worker_request *q, struct dv_err *err)
{
    switch (q->op) {
    case DV_WORKER_STEP:
        return check_step(&q->change.step, err);
    case DV_WORKER_MPS:
        return check_mps(q, err);
    case DV_WORKER_MEMORY_LIMIT:
        return check_limit(&q->change.limit, err);
    case DV_WORKER_ACCOUNTING:
        return check_number("accounting", q->change.accounting, 1, false, err);
    case DV_WORKER_ACCOUNTED:
        return q->pid > 0 ? 0 : dv_err_set(err, -EINVAL, "pid %d is no process", q->pid);
    default:
        return 0; /* facts: a GPU that is not there is the driver's to say */
    }
}
