/* SPDX-License-Identifier: Apache-2.0 */
/* Code images as a program hands them to cuModuleLoadData: PTX, cubins, fat binaries. */
#include "image.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dv_cuimage image;
    uint8_t *exact = malloc(size ? size : 1); /* so that a byte too far is seen */
    if (!exact)
        return 0;
    memcpy(exact, data, size);
    if (dv_cuimage_read(exact, size, &image) == 0)
        dv_cuimage_done(&image);
    free(exact);
    return 0;
}
