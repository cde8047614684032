/* SPDX-License-Identifier: Apache-2.0 */
/* Life of the library, the machine, and the finding of devices. */
#include "nvml/handles.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int nvmlInit(void)
{
    return dv_nvclient_init(__func__);
}

int nvmlInit_v2(void)
{
    return dv_nvclient_init(__func__);
}

int nvmlInitWithFlags(uint32_t flags)
{
    return dv_nvclient_init(__func__);
}

int nvmlShutdown(void)
{
    return dv_nvclient_shutdown();
}

const char *nvmlErrorString(int result)
{
    static const char *const text[] = {
        [DV_NVML_SUCCESS] = "Success",
        [DV_NVML_ERROR_UNINITIALIZED] = "Uninitialized",
        [DV_NVML_ERROR_INVALID_ARGUMENT] = "Invalid Argument",
        [DV_NVML_ERROR_NOT_SUPPORTED] = "Not Supported",
        [DV_NVML_ERROR_NO_PERMISSION] = "Insufficient Permissions",
        [DV_NVML_ERROR_ALREADY_INITIALIZED] = "Already Initialized",
        [DV_NVML_ERROR_NOT_FOUND] = "Not Found",
        [DV_NVML_ERROR_INSUFFICIENT_SIZE] = "Insufficient Size",
        [DV_NVML_ERROR_INSUFFICIENT_POWER] = "Insufficient External Power",
        [DV_NVML_ERROR_DRIVER_NOT_LOADED] = "Driver Not Loaded",
        [DV_NVML_ERROR_TIMEOUT] = "Timeout",
        [DV_NVML_ERROR_IRQ_ISSUE] = "Interrupt Request Issue",
        [DV_NVML_ERROR_LIBRARY_NOT_FOUND] = "NVML Shared Library Not Found",
        [DV_NVML_ERROR_FUNCTION_NOT_FOUND] = "Function Not Found",
        [DV_NVML_ERROR_CORRUPTED_INFOROM] = "Corrupted infoROM",
        [DV_NVML_ERROR_GPU_IS_LOST] = "GPU is lost",
        [DV_NVML_ERROR_RESET_REQUIRED] = "GPU requires restart",
        [DV_NVML_ERROR_OPERATING_SYSTEM] = "The operating system has blocked the request.",
        [DV_NVML_ERROR_LIB_RM_VERSION_MISMATCH] = "RM has detected an NVML/RM version mismatch.",
        [DV_NVML_ERROR_IN_USE] = "In use by another client",
        [DV_NVML_ERROR_MEMORY] = "Insufficient Memory",
        [DV_NVML_ERROR_NO_DATA] = "No data",
        [DV_NVML_ERROR_VGPU_ECC_NOT_SUPPORTED] =
            ("The requested vgpu operation is not available on "
             "target device, because ECC is enabled"),
        [DV_NVML_ERROR_INSUFFICIENT_RESOURCES] = "Insufficient Resources",
        [DV_NVML_ERROR_FREQ_NOT_SUPPORTED] = "Frequency Not Supported",
        [DV_NVML_ERROR_ARGUMENT_VERSION_MISMATCH] = "Argument Version Mismatch",
        [DV_NVML_ERROR_DEPRECATED] = "Deprecated",
        [DV_NVML_ERROR_NOT_READY] = "Not Ready",
        [DV_NVML_ERROR_GPU_NOT_FOUND] = "GPU Not Found",
        [DV_NVML_ERROR_INVALID_STATE] = "Invalid State",
        [DV_NVML_ERROR_RESET_TYPE_NOT_SUPPORTED] = "Reset Type Not Supported",
    };
    if (result < 0 || (size_t)result >= sizeof(text) / sizeof(text[0]))
        return "Unknown Error";
    return text[result];
}

/* ---- the machine ------------------------------------------------------------------------------
 */

static int ask_node(const char *function, struct dv_sim_nvml_node *ret)
{
    struct dv_sim_nvml_request q =
        dv_nvclient_request(DV_SIM_NVML_NONE, DV_SIM_NVML_NONE, DV_SIM_NVML_NONE);
    return dv_nvclient_call(function, DV_SIM_NVML_NODE, &q, ret, sizeof(*ret), NULL);
}

int nvmlSystemGetDriverVersion(char *version, uint32_t length)
{
    struct dv_sim_nvml_node node;
    int r = ask_node(__func__, &node);
    return r ? r : dv_nvhandles_text(version, length, node.driver_version);
}

int nvmlSystemGetNVMLVersion(char *version, uint32_t length)
{
    struct dv_sim_nvml_node node;
    int r = ask_node(__func__, &node);
    return r ? r : dv_nvhandles_text(version, length, node.nvml_version);
}

/* These two answer before nvmlInit too, as the real ones do; not without a driver. */
int nvmlSystemGetCudaDriverVersion_v2(int *version)
{
    struct dv_sim_nvml_node node;
    if (!version)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    int r = dv_nvclient_init(__func__);
    if (r != DV_NVML_SUCCESS)
        return r;
    r = ask_node(__func__, &node);
    if (r == DV_NVML_SUCCESS)
        *version = (int)node.cuda_version;
    dv_nvclient_shutdown();
    return r;
}

int nvmlSystemGetCudaDriverVersion(int *version)
{
    return nvmlSystemGetCudaDriverVersion_v2(version);
}

int nvmlSystemGetDriverBranch(struct dv_nvml_driver_branch *branch, uint32_t length)
{
    int r = dv_nvclient_ready();
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!branch || branch->version != DV_NVML_VERSION(dv_nvml_driver_branch, 1))
        return branch ? DV_NVML_ERROR_ARGUMENT_VERSION_MISMATCH : DV_NVML_ERROR_INVALID_ARGUMENT;
    char name[DV_NVML_VERSION_TEXT_SIZE];
    const char *version = dv_nvclient_node()->driver_version;
    snprintf(name, sizeof(name), "r%.*s_00", (int)strcspn(version, "."), version);
    return dv_nvhandles_text(branch->branch, length, name);
}

int nvmlSystemGetHicVersion(uint32_t *count, void *entries)
{
    int r = dv_nvclient_ready();
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!count)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    *count = 0;
    return DV_NVML_SUCCESS;
}

int nvmlUnitGetCount(uint32_t *count)
{
    return nvmlSystemGetHicVersion(count, NULL);
}

/* First what the simulation knows, then what the machine says. */
int nvmlSystemGetProcessName(uint32_t pid, char *name, uint32_t length)
{
    char text[256] = "", path[32];
    struct dv_sim_nvml_request q =
        dv_nvclient_request(DV_SIM_NVML_NONE, DV_SIM_NVML_NONE, DV_SIM_NVML_NONE);
    size_t got;
    q.a = pid;
    int r = dv_nvclient_call(__func__, DV_SIM_NVML_PROCESS_NAME, &q, text, sizeof(text) - 1, &got);
    if (r == DV_NVML_ERROR_NOT_FOUND) {
        snprintf(path, sizeof(path), "/proc/%u/cmdline", pid);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return r;
        ssize_t n = read(fd, text, sizeof(text) - 1);
        close(fd);
        if (n <= 0)
            return r;
        r = DV_NVML_SUCCESS;
    }
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!name || !length)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    snprintf(name, length, "%s", text); /* cut to fit, as documented */
    return DV_NVML_SUCCESS;
}

/* ---- finding devices --------------------------------------------------------------------------
 */

static int device_count(const char *function, uint32_t *count)
{
    struct dv_sim_nvml_node node;
    int r = ask_node(function, &node);
    if (r != DV_NVML_SUCCESS)
        return r;
    if (!count)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    *count = node.gpus;
    return DV_NVML_SUCCESS;
}

int nvmlDeviceGetCount(uint32_t *count)
{
    return device_count(__func__, count);
}

int nvmlDeviceGetCount_v2(uint32_t *count)
{
    return device_count(__func__, count);
}

static int by_index(const char *function, uint32_t index, struct dv_nvml_device **ret)
{
    struct dv_nv_place place;
    struct dv_nvml_device *device = dv_nvhandles_gpu(index);
    if (!ret)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    int r = dv_nvhandles_check(function, device, &place);
    if (r == DV_NVML_SUCCESS)
        *ret = device;
    return r;
}

int nvmlDeviceGetHandleByIndex(uint32_t index, struct dv_nvml_device **device)
{
    return by_index(__func__, index, device);
}

int nvmlDeviceGetHandleByIndex_v2(uint32_t index, struct dv_nvml_device **device)
{
    return by_index(__func__, index, device);
}

static int by_text(const char *function, enum dv_sim_nvml_key key, const char *text,
                   struct dv_nvml_device **ret)
{
    struct dv_sim_nvml_request q =
        dv_nvclient_request(DV_SIM_NVML_NONE, DV_SIM_NVML_NONE, DV_SIM_NVML_NONE);
    struct dv_sim_nvml_place p;
    if (!text || !ret)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    snprintf(q.text, sizeof(q.text), "%s", text);
    q.a = key;
    int r = dv_nvclient_call(function, DV_SIM_NVML_FIND, &q, &p, sizeof(p), NULL);
    if (r != DV_NVML_SUCCESS)
        return r;
    *ret = p.gi == DV_SIM_NVML_NONE ? dv_nvhandles_gpu(p.gpu) : dv_nvhandles_mig(p.gpu, p.gi, p.ci);
    return *ret ? DV_NVML_SUCCESS : DV_NVML_ERROR_NOT_FOUND;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, struct dv_nvml_device **device)
{
    return by_text(__func__, DV_SIM_NVML_KEY_UUID, uuid, device);
}

int nvmlDeviceGetHandleByUUIDV(const struct dv_nvml_uuid *uuid, struct dv_nvml_device **device)
{
    if (!uuid)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    if (uuid->version != DV_NVML_VERSION(dv_nvml_uuid, 1))
        return DV_NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    char text[48] = "";
    const uint8_t *b = uuid->value.bytes;
    if (uuid->type == 1)
        snprintf(text, sizeof(text), "%.41s", uuid->value.text);
    else if (uuid->type == 2)
        snprintf(text, sizeof(text),
                 "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
                 b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
                 b[14], b[15]);
    else
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    return by_text(__func__, DV_SIM_NVML_KEY_UUID, text, device);
}

int nvmlDeviceGetHandleBySerial(const char *serial, struct dv_nvml_device **device)
{
    return by_text(__func__, DV_SIM_NVML_KEY_SERIAL, serial, device);
}

int nvmlDeviceGetHandleByPciBusId(const char *bus_id, struct dv_nvml_device **device)
{
    return by_text(__func__, DV_SIM_NVML_KEY_BUS, bus_id, device);
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, struct dv_nvml_device **device)
{
    return by_text(__func__, DV_SIM_NVML_KEY_BUS, bus_id, device);
}
