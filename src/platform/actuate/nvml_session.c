/* SPDX-License-Identifier: Apache-2.0 */
#include "actuate/nvml_session.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

static int load(struct dv_nvml_session *s, struct dv_err *err)
{
    if (s->lib)
        return 0;
    s->lib = dlopen(s->library, RTLD_NOW | RTLD_LOCAL);
    if (!s->lib) {
        const char *why = dlerror();
        return dv_err_set(err, DV_ACTUATE_NOT_SUPPORTED, "no NVIDIA driver here: %s",
                          why ? why : s->library);
    }
#define X(name) s->name = (__typeof__(&name))dlsym(s->lib, #name);
    DV_NVML_SESSION_CALLS(X)
#undef X
    return 0;
}

int dv_nvml_session_begin(struct dv_nvml_session *s, struct dv_err *err)
{
    int r = load(s, err);
    if (r)
        return r;
    int rc = DV_NVML_SESSION_CALL(s, nvmlInit_v2);
    if (rc != DV_NVML_SUCCESS)
        return dv_nvml_session_failed(s, rc, "the NVIDIA driver does not start", err);
    s->begun = true;
    return 0;
}

void dv_nvml_session_end(struct dv_nvml_session *s)
{
    if (s->begun)
        DV_NVML_SESSION_CALL(s, nvmlShutdown);
    s->begun = false;
}

void dv_nvml_session_done(struct dv_nvml_session *s)
{
    dv_nvml_session_end(s);
    if (s->lib)
        dlclose(s->lib);
    s->lib = NULL;
}

const char *dv_nvml_session_text(const struct dv_nvml_session *s, int rc)
{
    const char *text = s->nvmlErrorString ? s->nvmlErrorString(rc) : NULL;
    return text ? text : "unknown error";
}

static enum dv_actuate_status status_of(int rc)
{
    switch (rc) {
    case DV_NVML_ERROR_IN_USE:
        return DV_ACTUATE_IN_USE;
    case DV_NVML_ERROR_INSUFFICIENT_RESOURCES:
        return DV_ACTUATE_NO_ROOM;
    case DV_NVML_ERROR_NOT_FOUND:
    case DV_NVML_ERROR_GPU_NOT_FOUND:
        return DV_ACTUATE_NOT_FOUND;
    case DV_NVML_ERROR_NO_PERMISSION:
        return DV_ACTUATE_NOT_PERMITTED;
    case DV_NVML_ERROR_NOT_SUPPORTED:
    case DV_NVML_ERROR_FUNCTION_NOT_FOUND:
        return DV_ACTUATE_NOT_SUPPORTED;
    case DV_NVML_ERROR_RESET_REQUIRED:
        return DV_ACTUATE_NEEDS_RESET;
    default:
        return DV_ACTUATE_FAILED;
    }
}

int dv_nvml_session_failed(const struct dv_nvml_session *s, int rc, const char *what,
                           struct dv_err *err)
{
    return dv_err_set(err, status_of(rc), "%s: %s (NVML %d)", what, dv_nvml_session_text(s, rc),
                      rc);
}

int dv_nvml_session_gpu(const struct dv_nvml_session *s, uint32_t index,
                        struct dv_nvml_device **ret, struct dv_err *err)
{
    int rc = DV_NVML_SESSION_CALL(s, nvmlDeviceGetHandleByIndex_v2, index, ret);
    if (rc == DV_NVML_ERROR_INVALID_ARGUMENT)
        return dv_err_set(err, DV_ACTUATE_NOT_FOUND, "there is no GPU %u", index);
    return rc ? dv_nvml_session_failed(s, rc, "finding the GPU", err) : 0;
}
