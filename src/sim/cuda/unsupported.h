/* SPDX-License-Identifier: Apache-2.0 */
/* What a generated entry point does that the simulated driver does not have. */
#ifndef DV_SIM_CUDA_UNSUPPORTED_H
#define DV_SIM_CUDA_UNSUPPORTED_H

#include "abi_cuda.h"

#define DV_CU_UNSUPPORTED(name)                                                                    \
    __attribute__((visibility("default"))) int name(void);                                         \
    int name(void)                                                                                 \
    {                                                                                              \
        return DV_CUDA_ERROR_NOT_SUPPORTED;                                                        \
    }

#endif
