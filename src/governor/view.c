/* SPDX-License-Identifier: Apache-2.0 */
#include "view.h"

#include "abi_cuda.h"
#include "charge.h"
#include "governor.h"
#include "wire.h"

#include <ctype.h>
#include <string.h>

static int device_number = -1; /* found once; -1 = not yet */

/* ---- the device ---- */

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : isxdigit((unsigned char)c) ? tolower(c) - 'a' + 10 : -1;
}

/* "GPU-8-4-4-4-12 hexadecimal digits", the same after "MIG-". */
static bool parse_uuid(const char *text, struct dv_cuda_uuid *ret)
{
    const char *p = strchr(text, '-');
    if (!p)
        return false;
    p++;
    for (unsigned i = 0; i < sizeof ret->bytes; i++) {
        p += *p == '-';
        int high = digit(p[0]);
        int low = high < 0 ? -1 : digit(p[1]);
        if (low < 0)
            return false;
        ret->bytes[i] = (uint8_t)(high << 4 | low);
        p += 2;
    }
    return !*p;
}

static bool has_uuid(int device, const struct dv_cuda_uuid *want)
{
    struct dv_cuda_uuid u;
    if (!DV_ORIGINAL(cuDeviceGetUuid_v2)(&u, device) && !memcmp(&u, want, sizeof u))
        return true; /* of a MIG device its own, else the GPU's */
    return !DV_ORIGINAL(cuDeviceGetUuid)(&u, device) && !memcmp(&u, want, sizeof u);
}

int dv_view_device(void)
{
    int known = __atomic_load_n(&device_number, __ATOMIC_RELAXED);
    struct dv_cuda_uuid want;
    int count = 0;
    if (known >= 0)
        return known;
    if (!parse_uuid(dv_wire_current()->slice->device_uuid, &want) ||
        DV_ORIGINAL(cuDeviceGetCount)(&count))
        return -1;
    for (int i = 0; i < count; i++) {
        int device;
        if (DV_ORIGINAL(cuDeviceGet)(&device, i) || !has_uuid(device, &want))
            continue;
        __atomic_store_n(&device_number, device, __ATOMIC_RELAXED);
        return device;
    }
    return -1;
}

void dv_view_forked(void)
{
    device_number = -1;
}

int dv_view_check(int device)
{
    int own = dv_view_device();
    if (own < 0)
        return DV_CUDA_ERROR_NO_DEVICE;
    return device == own ? 0 : DV_CUDA_ERROR_INVALID_DEVICE;
}

int dv_on_init(unsigned original, uint32_t flags)
{
    int r = DV_ORIGINAL_AS(cuInit, original)(flags);
    if (!r)
        dv_start_used();
    if (!r && dv_view_device() < 0)
        return DV_CUDA_ERROR_NO_DEVICE;
    return r;
}

int dv_on_device_count(unsigned original, int *ret_count)
{
    int count;
    int r = DV_ORIGINAL_AS(cuDeviceGetCount, original)(ret_count ? &count : NULL);
    if (!r && ret_count)
        *ret_count = dv_view_device() >= 0;
    return r;
}

int dv_on_device_get(unsigned original, int *ret_device, int ordinal)
{
    int own = dv_view_device();
    if (own < 0) /* before cuInit, or hidden by the environment: the driver says what is wrong */
        return DV_ORIGINAL_AS(cuDeviceGet, original)(ret_device, INT32_MAX);
    if (!ret_device)
        return DV_CUDA_ERROR_INVALID_VALUE;
    if (ordinal != 0)
        return DV_CUDA_ERROR_INVALID_DEVICE;
    *ret_device = own;
    return 0;
}

int dv_on_device_by_bus(unsigned original, int *ret_device, const char *bus_id)
{
    int device;
    int r = DV_ORIGINAL_AS(cuDeviceGetByPCIBusId, original)(&device, bus_id);
    if (!r)
        r = dv_view_check(device);
    if (!r)
        *ret_device = device;
    return r;
}

/* ---- its size ---- */

static void slice_memory(uint64_t *ret_free, uint64_t *ret_total)
{
    uint64_t used, limit;
    dv_charge_slice(&used, &limit);
    *ret_total = limit;
    *ret_free = used < limit ? limit - used : 0;
}

int dv_on_mem_info(unsigned original, size_t *ret_free, size_t *ret_total)
{
    size_t device_free, device_total;
    int r = DV_ORIGINAL_AS(cuMemGetInfo_v2, original)(&device_free, &device_total);
    if (r)
        return r;
    uint64_t free_bytes, total;
    slice_memory(&free_bytes, &total);
    if (ret_free)
        *ret_free = free_bytes < device_free ? free_bytes : device_free;
    if (ret_total)
        *ret_total = total < device_total ? total : device_total;
    return 0;
}

static uint32_t clamp(uint64_t n)
{
    return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

int dv_on_mem_info_32(unsigned original, uint32_t *ret_free, uint32_t *ret_total)
{
    uint64_t free_bytes, total;
    int r = DV_ORIGINAL_AS(cuMemGetInfo, original)(ret_free, ret_total);
    if (r)
        return r;
    slice_memory(&free_bytes, &total);
    *ret_free = clamp(free_bytes);
    *ret_total = clamp(total);
    return 0;
}

int dv_on_total_mem(unsigned original, size_t *ret_bytes, int device)
{
    int r = DV_ORIGINAL_AS(cuDeviceTotalMem_v2, original)(ret_bytes, device);
    if (!r)
        r = dv_view_check(device);
    if (r)
        return r;
    uint64_t free_bytes, total;
    slice_memory(&free_bytes, &total);
    if (total < *ret_bytes)
        *ret_bytes = total;
    return 0;
}

int dv_on_total_mem_32(unsigned original, uint32_t *ret_bytes, int device)
{
    int r = DV_ORIGINAL_AS(cuDeviceTotalMem, original)(ret_bytes, device);
    if (r)
        return r;
    uint64_t free_bytes, total;
    slice_memory(&free_bytes, &total);
    *ret_bytes = clamp(total);
    return 0;
}
