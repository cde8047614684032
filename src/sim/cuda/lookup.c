/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuGetProcAddress of both binary interfaces, and cuGetExportTable.
 *
 * A name that is not found: v1 answers NOT_FOUND; v2 says why in *ret_status and succeeds, or
 * answers NOT_FOUND where the caller gave no place for the status. None needs cuInit, as cudart
 * looks names up first. Private export tables are not simulated: NOT_FOUND, whatever the UUID, so
 * that a program on cudart fails at its first call instead of in the middle.
 */
#include "driver.h"

static int look_up(const char *name, void **ret, int version, uint64_t flags, int *ret_status)
{
    DV_CU_REQUIRE(name && ret && version >= 0 && flags <= DV_CUDA_PROC_PER_THREAD_STREAM,
                  DV_CUDA_ERROR_INVALID_VALUE);
    if (P.driver_version && version > (int)P.driver_version)
        version = (int)P.driver_version;
    int status = dv_cusymbols_find(name, version, flags, ret);
    if (ret_status)
        *ret_status = status;
    return status == DV_CUDA_SYMBOL_FOUND || ret_status ? 0 : DV_CUDA_ERROR_NOT_FOUND;
}

dv_cuda_api(cuGetProcAddress, const char *name, void **ret, int version, uint64_t flags)
{
    return look_up(name, ret, version, flags, NULL);
}

dv_cuda_api(cuGetProcAddress_v2, const char *name, void **ret, int version, uint64_t flags,
            int *ret_status)
{
    return look_up(name, ret, version, flags, ret_status);
}

dv_cuda_api(cuGetProcAddress_v2_ptsz, const char *name, void **ret, int version, uint64_t flags,
            int *ret_status)
{
    if (flags == DV_CUDA_PROC_DEFAULT)
        flags = DV_CUDA_PROC_PER_THREAD_STREAM;
    return look_up(name, ret, version, flags, ret_status);
}

dv_cuda_api(cuGetExportTable, const void **ret, const struct dv_cuda_uuid *id)
{
    DV_CU_REQUIRE(ret && id, DV_CUDA_ERROR_INVALID_VALUE);
    *ret = NULL;
    return DV_CUDA_ERROR_NOT_FOUND;
}
