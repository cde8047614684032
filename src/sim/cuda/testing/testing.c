/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include <stdlib.h>
#include <unistd.h>

const char dv_cutest_ptx[] = ".version 7.0\n.target sm_70\n.address_size 64\n"
                             ".visible .entry divvy_spin(.param .u64 iterations) { ret; }\n"
                             ".visible .entry divvy_copy(.param .u64 to, .param .u64 from, "
                             ".param .u64 bytes) { ret; }\n"
                             ".visible .entry divvy_fault() { ret; }\n"
                             ".visible .entry plain(.param .u32 n) { ret; }\n"
                             ".visible .global .align 4 .b8 table[4096];\n";

struct dv_fakenode dv_cutest_start(const char *node)
{
    struct dv_fakenode n = dv_fakenode_start(node);
    setenv(DV_SIM_SOCKET_ENV, n.socket, 1);
    unsetenv("CUDA_VISIBLE_DEVICES");
    return n;
}

uint64_t dv_cutest_used(const struct dv_fakenode *node)
{
    const struct dv_sim_stats *s = dv_fake_stats(node, 0);
    for (uint32_t i = 0; i < s->processes; i++)
        if (s->process[i].pid == (uint32_t)getpid())
            return s->process[i].memory_used_bytes;
    return 0;
}
