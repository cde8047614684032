/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVML for one step: begin, look and change, end. Inside this room only; nvml_actuator.h is what
 * others use.
 */
#ifndef DV_ACTUATE_NVML_SESSION_H
#define DV_ACTUATE_NVML_SESSION_H

#include "abi_nvml.h"
#include "actuate/actuate.h"

#define DV_NVML_SESSION_PATH 1024u

#define DV_NVML_SESSION_CALLS(X)                                                                   \
    X(nvmlInit_v2)                                                                                 \
    X(nvmlShutdown)                                                                                \
    X(nvmlErrorString)                                                                             \
    X(nvmlDeviceGetHandleByIndex_v2)                                                               \
    X(nvmlDeviceGetHandleByUUID)                                                                   \
    X(nvmlDeviceGetUUID)                                                                           \
    X(nvmlDeviceGetMigMode)                                                                        \
    X(nvmlDeviceGetComputeMode)                                                                    \
    X(nvmlDeviceSetComputeMode)                                                                    \
    X(nvmlDeviceSetMigMode)                                                                        \
    X(nvmlDeviceGetMaxMigDeviceCount)                                                              \
    X(nvmlDeviceGetMigDeviceHandleByIndex)                                                         \
    X(nvmlDeviceGetGpuInstanceId)                                                                  \
    X(nvmlDeviceGetComputeInstanceId)                                                              \
    X(nvmlDeviceGetGpuInstances)                                                                   \
    X(nvmlDeviceGetGpuInstanceById)                                                                \
    X(nvmlDeviceGetGpuInstanceProfileInfo)                                                         \
    X(nvmlDeviceCreateGpuInstance)                                                                 \
    X(nvmlDeviceCreateGpuInstanceWithPlacement)                                                    \
    X(nvmlGpuInstanceGetInfo)                                                                      \
    X(nvmlGpuInstanceDestroy)                                                                      \
    X(nvmlGpuInstanceGetComputeInstances)                                                          \
    X(nvmlGpuInstanceGetComputeInstanceById)                                                       \
    X(nvmlGpuInstanceGetComputeInstanceProfileInfo)                                                \
    X(nvmlGpuInstanceGetComputeInstancePossiblePlacements)                                         \
    X(nvmlGpuInstanceCreateComputeInstance)                                                        \
    X(nvmlGpuInstanceCreateComputeInstanceWithPlacement)                                           \
    X(nvmlComputeInstanceGetInfo_v2)                                                               \
    X(nvmlComputeInstanceDestroy)                                                                  \
    X(nvmlDeviceSetMemoryLimits_v1)

struct dv_nvml_session {
    char library[DV_NVML_SESSION_PATH];
    void *lib; /* stays loaded between steps */
    bool begun;
#define X(name) __typeof__(&name) name;
    DV_NVML_SESSION_CALLS(X)
#undef X
};

/* Calls a function that may be missing. */
#define DV_NVML_SESSION_CALL(s, name, ...)                                                         \
    ((s)->name ? (s)->name(__VA_ARGS__) : DV_NVML_ERROR_FUNCTION_NOT_FOUND)

int dv_nvml_session_begin(struct dv_nvml_session *s, struct dv_err *err);
void dv_nvml_session_end(struct dv_nvml_session *s);
void dv_nvml_session_done(struct dv_nvml_session *s);

const char *dv_nvml_session_text(const struct dv_nvml_session *s, int rc);
/* The enum dv_actuate_status for an NVML error, with its words. */
int dv_nvml_session_failed(const struct dv_nvml_session *s, int rc, const char *what,
                           struct dv_err *err);
int dv_nvml_session_gpu(const struct dv_nvml_session *s, uint32_t index,
                        struct dv_nvml_device **ret, struct dv_err *err);

/* One step each (nvml_instances.c). */
int dv_nvml_session_create_gi(const struct dv_nvml_session *s, struct dv_nvml_device *d,
                              const struct dv_step *step, struct dv_receipt *ret,
                              struct dv_err *err);
int dv_nvml_session_destroy_gi(const struct dv_nvml_session *s, struct dv_nvml_device *d,
                               const struct dv_step *step, struct dv_err *err);
int dv_nvml_session_create_ci(const struct dv_nvml_session *s, struct dv_nvml_device *d,
                              const struct dv_step *step, struct dv_receipt *ret,
                              struct dv_err *err);
int dv_nvml_session_destroy_ci(const struct dv_nvml_session *s, struct dv_nvml_device *d,
                               const struct dv_step *step, struct dv_err *err);

#endif
