/* SPDX-License-Identifier: Apache-2.0 */
#include "actuate/nvml_actuator.h"

#include "actuate/memory_limit.h"
#include "actuate/mps.h"
#include "actuate/nvml_session.h"
#include "actuate/tool.h"
#include "sys/fd.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define TOOL_MS 10000u
#define RESET_MS 45000u
#define OUTPUT_MAX 16384u

struct nvml_actuator {
    struct dv_actuator base;
    struct dv_nvml_session nvml;
    char tools[DV_NVML_SESSION_PATH], state[DV_NVML_SESSION_PATH], libcuda[DV_NVML_SESSION_PATH];
    char ld[DV_NVML_SESSION_PATH + 32];
    const char *set[2]; /* of the tools' environment */
    bool no_resets;
};

#define SELF(a) ((struct nvml_actuator *)(void *)(a))

static int smi(struct nvml_actuator *self, const char *const *argv, uint32_t deadline_ms, char *out,
               int *ret_status, struct dv_err *err)
{
    struct dv_tool t = {
        .directory = self->tools, .argv = argv, .set = self->set, .deadline_ms = deadline_ms};
    return dv_tool_run(&t, out, OUTPUT_MAX, ret_status, err);
}

/* ---- MIG mode ---- */

/* By the driver's tool: NVML's public part has no reset. The GPU must not be open here. */
static int reset(struct nvml_actuator *self, const char *uuid, struct dv_err *err)
{
    const char *const argv[] = {"nvidia-smi", "--gpu-reset", "-i", uuid, NULL};
    char out[OUTPUT_MAX];
    int status = 0;
    int r = smi(self, argv, RESET_MS, out, &status, err);
    if (r == 0 && status == 0)
        return 0;
    if (r == 0)
        dv_err_set(err, 0, "%.300s", dv_tool_last_line(out));
    dv_err_prefix(err, "MIG mode waits for a reset of the GPU, which failed: ");
    return DV_ACTUATE_NEEDS_RESET;
}

/* What could not be made effective is taken back, so that nothing waits for the next reset. */
static int take_back(struct nvml_actuator *self, struct dv_nvml_device *d, uint32_t current)
{
    uint32_t activation = 0, now = 0, pending = 0;
    self->nvml.nvmlDeviceSetMigMode(d, current, &activation);
    int rc = self->nvml.nvmlDeviceGetMigMode(d, &now, &pending);
    return rc == DV_NVML_SUCCESS && pending == current;
}

static int refused(struct nvml_actuator *self, struct dv_nvml_device *d, uint32_t current,
                   uint32_t activation, struct dv_err *err)
{
    bool undone = take_back(self, d, current);
    const char *rest = undone ? "" : "; the new mode stays pending until the GPU is reset";
    if (activation == DV_NVML_ERROR_IN_USE)
        return dv_err_set(err, DV_ACTUATE_IN_USE,
                          "MIG mode cannot change while a process uses the GPU%s", rest);
    return dv_err_set(err, DV_ACTUATE_FAILED, "the driver did not change MIG mode: %s (NVML %u)%s",
                      dv_nvml_session_text(&self->nvml, (int)activation), activation, rest);
}

static int reset_for_mode(struct nvml_actuator *self, const struct dv_step *step,
                          struct dv_nvml_device *d, struct dv_receipt *ret, struct dv_err *err)
{
    char uuid[DV_UUID_SIZE];
    uint32_t current, pending;
    if (self->no_resets)
        return dv_err_set(err, DV_ACTUATE_NEEDS_RESET,
                          "MIG mode is pending until the GPU is reset, which is not allowed here");
    int rc = self->nvml.nvmlDeviceGetUUID(d, uuid, sizeof uuid);
    if (rc != DV_NVML_SUCCESS)
        return dv_nvml_session_failed(&self->nvml, rc, "reading the GPU's UUID", err);
    dv_nvml_session_end(&self->nvml);
    int r = reset(self, uuid, err);
    int again = dv_nvml_session_begin(&self->nvml, r ? NULL : err);
    if (r || again)
        return r ? r : again;
    r = dv_nvml_session_gpu(&self->nvml, step->gpu, &d, err);
    if (r)
        return r;
    rc = self->nvml.nvmlDeviceGetMigMode(d, &current, &pending);
    if (rc != DV_NVML_SUCCESS)
        return dv_nvml_session_failed(&self->nvml, rc, "reading MIG mode after the reset", err);
    if (current != step->value)
        return dv_err_set(err, DV_ACTUATE_NEEDS_RESET,
                          "MIG mode is still pending after a reset of the GPU");
    ret->reset = 1;
    return 0;
}

static int mig_mode(struct nvml_actuator *self, const struct dv_step *step,
                    struct dv_nvml_device *d, struct dv_receipt *ret, struct dv_err *err)
{
    uint32_t current = 0, pending = 0, activation = 0;
    if (!self->nvml.nvmlDeviceGetMigMode || !self->nvml.nvmlDeviceSetMigMode)
        return dv_err_set(err, DV_ACTUATE_NOT_SUPPORTED, "this driver knows no MIG");
    int rc = self->nvml.nvmlDeviceGetMigMode(d, &current, &pending);
    if (rc != DV_NVML_SUCCESS)
        return dv_nvml_session_failed(&self->nvml, rc, "reading MIG mode", err);
    if (current == step->value && pending == step->value)
        return 0;
    rc = self->nvml.nvmlDeviceSetMigMode(d, step->value, &activation);
    if (rc != DV_NVML_SUCCESS)
        return dv_nvml_session_failed(&self->nvml, rc, "changing MIG mode", err);
    uint32_t before = current;
    rc = self->nvml.nvmlDeviceGetMigMode(d, &current, &pending);
    if (rc != DV_NVML_SUCCESS)
        return dv_nvml_session_failed(&self->nvml, rc, "reading MIG mode", err);
    if (current == step->value)
        return 0;
    if (activation == DV_NVML_SUCCESS || activation == DV_NVML_ERROR_RESET_REQUIRED)
        return reset_for_mode(self, step, d, ret, err);
    return refused(self, d, before, activation, err);
}

/* ---- time-slices ---- */

static int set_timeslice(struct nvml_actuator *self, const struct dv_step *step,
                         struct dv_nvml_device *d, struct dv_err *err)
{
    char uuid[DV_UUID_SIZE], set[32], out[OUTPUT_MAX];
    const char *const argv[] = {"nvidia-smi", "compute-policy", "-i", uuid, set, NULL};
    int status = 0;
    int rc = self->nvml.nvmlDeviceGetUUID(d, uuid, sizeof uuid);
    if (rc != DV_NVML_SUCCESS)
        return dv_nvml_session_failed(&self->nvml, rc, "reading the GPU's UUID", err);
    snprintf(set, sizeof set, "--set-timeslice=%u", step->value);
    int r = smi(self, argv, TOOL_MS, out, &status, err);
    if (r == -ENOENT)
        return DV_ACTUATE_NOT_SUPPORTED;
    if (r || !status)
        return r;
    const char *why = dv_tool_last_line(out);
    enum dv_actuate_status result = strcasestr(why, "not supported") ? DV_ACTUATE_NOT_SUPPORTED
                                    : strcasestr(why, "permission")  ? DV_ACTUATE_NOT_PERMITTED
                                                                     : DV_ACTUATE_FAILED;
    return dv_err_set(err, result, "nvidia-smi did not set the time-slice: %.300s", why);
}

/* The last word of a table's row, without its frame. */
static uint32_t timeslice_word(const char *row, size_t len)
{
    while (len && !isalnum((unsigned char)row[len - 1]))
        len--;
    size_t start = len;
    while (start && isalpha((unsigned char)row[start - 1]))
        start--;
    for (uint32_t t = DV_TIMESLICE_DEFAULT; t <= DV_TIMESLICE_LONG; t++) {
        const char *name = dv_device_timeslice_name((enum dv_timeslice)t);
        if (strlen(name) == len - start && !strncasecmp(row + start, name, len - start))
            return t;
    }
    return DV_TIMESLICE_UNKNOWN;
}

uint32_t dv_nvml_actuator_parse_timeslices(const char *text, uint32_t *ret, uint32_t max)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < max; i++)
        ret[i] = DV_TIMESLICE_UNKNOWN;
    for (const char *row = text; *row;) {
        size_t len = strcspn(row, "\n");
        const char *p = row + strspn(row, "| \t");
        char line[160];
        snprintf(line, sizeof line, "%.*s", (int)DV_MIN(len, sizeof line - 1), row);
        if (p < row + len && isdigit((unsigned char)*p) && strcasestr(line, "timeslice")) {
            unsigned long gpu = strtoul(p, NULL, 10);
            uint32_t t = timeslice_word(row, len);
            if (gpu < max && t != DV_TIMESLICE_UNKNOWN) {
                ret[gpu] = t;
                found++;
            }
        }
        row += len + (row[len] == '\n');
    }
    return found;
}

int dv_nvml_actuator_timeslices(struct dv_actuator *a, uint32_t *ret, uint32_t max,
                                struct dv_err *err)
{
    static const char *const argv[] = {"nvidia-smi", "compute-policy", "--list", NULL};
    char out[OUTPUT_MAX];
    int status = 0;
    int r = smi(SELF(a), argv, TOOL_MS, out, &status, err); /* the first one may wake GPUs up */
    if (r == 0 && status)
        r = dv_err_set(err, -EOPNOTSUPP, "nvidia-smi lists no compute policies: %.300s",
                       dv_tool_last_line(out));
    if (r == 0)
        dv_nvml_actuator_parse_timeslices(out, ret, max);
    return r;
}

/* ---- the vtable ---- */

static int check(const struct dv_step *step, struct dv_err *err)
{
    uint32_t most = step->kind == DV_STEP_MIG_MODE    ? 1
                    : step->kind == DV_STEP_TIMESLICE ? DV_TIMESLICE_LONG
                                                      : UINT32_MAX;
    if (step->value > most)
        return dv_err_set(err, -EINVAL, "%u is no value for this step; at most %u", step->value,
                          most);
    return 0;
}

/* GPUs are numbered anew when one has fallen off the bus. */
static int check_uuid(const struct nvml_actuator *self, struct dv_nvml_device *d,
                      const struct dv_step *step, struct dv_err *err)
{
    char uuid[DV_UUID_SIZE];
    int rc = step->uuid[0] ? self->nvml.nvmlDeviceGetUUID(d, uuid, sizeof uuid) : DV_NVML_SUCCESS;
    if (rc != DV_NVML_SUCCESS)
        return dv_nvml_session_failed(&self->nvml, rc, "reading the GPU's UUID", err);
    if (step->uuid[0] && strcmp(uuid, step->uuid) != 0)
        return dv_err_set(err, DV_ACTUATE_NOT_FOUND, "GPU %u is another one now", step->gpu);
    return 0;
}

static int on_gpu(struct nvml_actuator *self, const struct dv_step *step, struct dv_receipt *ret,
                  struct dv_err *err)
{
    struct dv_nvml_device *d;
    int r = dv_nvml_session_gpu(&self->nvml, step->gpu, &d, err);
    if (!r)
        r = check_uuid(self, d, step, err);
    if (r)
        return r;
    switch (step->kind) {
    case DV_STEP_MIG_MODE:
        return mig_mode(self, step, d, ret, err);
    case DV_STEP_GI_CREATE:
        return dv_nvml_session_create_gi(&self->nvml, d, step, ret, err);
    case DV_STEP_GI_DESTROY:
        return dv_nvml_session_destroy_gi(&self->nvml, d, step, err);
    case DV_STEP_CI_CREATE:
        return dv_nvml_session_create_ci(&self->nvml, d, step, ret, err);
    case DV_STEP_CI_DESTROY:
        return dv_nvml_session_destroy_ci(&self->nvml, d, step, err);
    case DV_STEP_TIMESLICE:
        return set_timeslice(self, step, d, err);
    default:
        return dv_err_set(err, -EINVAL, "there is no step of kind %u", (unsigned)step->kind);
    }
}

static int nvml_step(struct dv_actuator *a, const struct dv_step *step, struct dv_receipt *ret,
                     struct dv_err *err)
{
    struct nvml_actuator *self = SELF(a);
    struct dv_receipt receipt = {.gi = UINT32_MAX, .ci = UINT32_MAX};
    int r = check(step, err);
    /* The driver knows nothing of how a device is shared; MPS daemons are started and stopped by
     * name (dv_actuate_mps), which a step does not have. */
    bool driver = step->kind != DV_STEP_SHARING && step->kind != DV_STEP_MPS_STOP;
    if (r == 0 && driver) {
        r = dv_nvml_session_begin(&self->nvml, err);
        if (r == 0)
            r = on_gpu(self, step, &receipt, err);
        dv_nvml_session_end(&self->nvml);
    }
    if (r == 0)
        *ret = receipt;
    return r;
}

/* Keeps others off the GPU, or lets them on it again. A file beside the daemon's folders says that
 * the mode is ours to take back, also after a crash. */
static int set_alone(struct nvml_actuator *self, const struct dv_mps_spec *spec, bool alone,
                     struct dv_err *err)
{
    char mark[DV_NVML_SESSION_PATH + 64];
    struct dv_nvml_device *d;
    uint32_t mode = 0;
    snprintf(mark, sizeof mark, "%s/mps/%s/alone", self->state, spec->name);
    if (alone == (access(mark, F_OK) == 0))
        return 0;
    int r = dv_nvml_session_begin(&self->nvml, err);
    if (r)
        return r;
    int rc = DV_NVML_SESSION_CALL(&self->nvml, nvmlDeviceGetHandleByUUID, spec->device, &d);
    if (rc == DV_NVML_SUCCESS)
        rc = DV_NVML_SESSION_CALL(&self->nvml, nvmlDeviceGetComputeMode, d, &mode);
    bool there = mode == DV_NVML_COMPUTE_EXCLUSIVE_PROCESS; /* somebody else's wish, when alone */
    if (rc == DV_NVML_SUCCESS && alone && !there) {
        dv_cleanup(dv_fd_close) int fd = open(mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        r = fd < 0 ? dv_err_set(err, -errno, "cannot write %s: %s", mark, strerror(errno)) : 0;
    }
    if (rc == DV_NVML_SUCCESS && r == 0 && alone != there)
        rc = DV_NVML_SESSION_CALL(&self->nvml, nvmlDeviceSetComputeMode, d,
                                  alone ? DV_NVML_COMPUTE_EXCLUSIVE_PROCESS
                                        : DV_NVML_COMPUTE_DEFAULT);
    if ((alone && rc != DV_NVML_SUCCESS) || (!alone && rc == DV_NVML_SUCCESS))
        unlink(mark);
    if (rc != DV_NVML_SUCCESS && rc != DV_NVML_ERROR_NOT_SUPPORTED)
        r = dv_nvml_session_failed(&self->nvml, rc, "setting the compute mode", err);
    dv_nvml_session_end(&self->nvml);
    return r;
}

static int nvml_mps(struct dv_actuator *a, enum dv_mps_op op, const struct dv_mps_spec *spec,
                    const char *argument, struct dv_mps_status *ret, struct dv_err *err)
{
    struct nvml_actuator *self = SELF(a);
    struct dv_mps_config config = {
        .tools = self->tools, .state = self->state, .libcuda = self->libcuda, .set = self->set};
    int r = dv_mps_run(&config, op, spec, argument, ret, err);
    if (r == 0 && (op == DV_MPS_START || op == DV_MPS_LIMIT || op == DV_MPS_STOP))
        r = set_alone(self, spec, op != DV_MPS_STOP && spec->alone, err);
    return r;
}

static int nvml_memory_limit(struct dv_actuator *a, const struct dv_memory_limit *limit,
                             struct dv_err *err)
{
    struct nvml_actuator *self = SELF(a);
    int r = dv_nvml_session_begin(&self->nvml, err);
    if (r == 0)
        r = dv_memory_limit_set(&self->nvml, self->state, limit, err);
    dv_nvml_session_end(&self->nvml);
    return r;
}

static void nvml_free(struct dv_actuator *a)
{
    struct nvml_actuator *self = SELF(a);
    dv_nvml_session_done(&self->nvml);
    free(self);
}

static const struct dv_actuator_ops ops = {nvml_free, nvml_step, nvml_mps, nvml_memory_limit};

static bool copy(char *dst, size_t size, const char *src)
{
    int n = snprintf(dst, size, "%s", src ? src : "");
    return n >= 0 && (size_t)n < size;
}

int dv_nvml_actuator_new(const struct dv_actuator_config *config, struct dv_actuator **ret,
                         struct dv_err *err)
{
    struct nvml_actuator *self = calloc(1, sizeof *self);
    if (!self)
        return dv_err_set(err, -ENOMEM, "out of memory");
    if (!copy(self->nvml.library, sizeof self->nvml.library, config->library) ||
        !copy(self->tools, sizeof self->tools, config->tools) ||
        !copy(self->state, sizeof self->state, config->state) ||
        !copy(self->libcuda, sizeof self->libcuda, config->libcuda)) {
        free(self);
        return dv_err_set(err, -ENAMETOOLONG, "a path of the driver's files is too long");
    }
    const char *slash = strrchr(self->nvml.library, '/');
    if (self->tools[0] && slash) {
        snprintf(self->ld, sizeof self->ld, "LD_LIBRARY_PATH=%.*s",
                 (int)(slash - self->nvml.library), self->nvml.library);
        self->set[0] = self->ld;
    }
    self->no_resets = config->no_resets;
    self->base.ops = &ops;
    *ret = &self->base;
    return 0;
}
