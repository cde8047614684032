/* SPDX-License-Identifier: Apache-2.0 */
/* Stands where nvidia-cuda-mps-control would: says that MPS is not simulated, so that nobody
 * believes it to run. */
#include <stdio.h>

int main(void)
{
    fprintf(stderr, "nvidia-cuda-mps-control: MPS is not simulated in divvy " DV_VERSION
                    "; share the GPU by another mode\n");
    return 1;
}
