/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names that the real library exports and the simulated one does not do: they are there, so
 * that programs that link them start, and say so.
 */
#include "nvml/client.h"

/* Declared without parameters: whatever the caller passes is not looked at. */
#define NVML_NAME(name)                                                                            \
    __attribute__((visibility("default"))) int name(void);                                         \
    int name(void)                                                                                 \
    {                                                                                              \
        int r = dv_nvclient_ready();                                                               \
        return r ? r : DV_NVML_ERROR_NOT_SUPPORTED;                                                \
    }
#include "abi_nvml_names.def"
