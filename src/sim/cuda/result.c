/* SPDX-License-Identifier: Apache-2.0 */
/* The names and meanings of results. */
#include "driver.h"

struct result {
    int number;
    const char *name, *meaning;
};

#define ROW(name, number, meaning) {number, "CUDA_" #name, meaning},
static const struct result results[] = {DV_CUDA_RESULTS(ROW)};
#undef ROW

static const struct result *find(int number)
{
    for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++)
        if (results[i].number == number)
            return &results[i];
    return NULL;
}

dv_cuda_api(cuGetErrorName, int error, const char **ret)
{
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    const struct result *r = find(error);
    *ret = r ? r->name : NULL;
    return r ? 0 : DV_CUDA_ERROR_INVALID_VALUE;
}

dv_cuda_api(cuGetErrorString, int error, const char **ret)
{
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    const struct result *r = find(error);
    *ret = r ? r->meaning : NULL;
    return r ? 0 : DV_CUDA_ERROR_INVALID_VALUE;
}
