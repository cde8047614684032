/* SPDX-License-Identifier: Apache-2.0 */
#include "abi_reservation.h"
#include "actuate/governor.h"
#include "sys/fd.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static const struct dv_governor_spec spec = {
    .slice_id = "s-1",
    .tenant = "ann",
    .device_uuid = "GPU-1",
    .libcuda = "/lib/libcuda.so.1",
    .libnvml = "/lib/libnvidia-ml.so.1",
    .memory_bytes = 1000,
    .compute = 700,
    .compute_cap = 7000,
};

/* What a tenant can do with the descriptors that it gets. */
static void test_walls(void **state)
{
    struct dv_governor_slice slice;
    struct dv_governor_slot slot;
    struct dv_governor_arbiter arbiter;
    int pair[2], fds[8];
    uint32_t count = 8;
    struct dv_tenant_message m;
    assert_int_equal(dv_governor_slice_new(&spec, &slice), 0);
    assert_int_equal(dv_governor_slot_new(3, &slice, &slot), 0);
    assert_int_equal(dv_governor_arbiter_new(&arbiter), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    assert_int_equal(dv_governor_welcome(pair[0], &slice, &slot, &arbiter, 9, 77), 0);
    assert_int_equal(dv_fd_receive(pair[1], &m, sizeof m, fds, &count), sizeof m);
    assert_int_equal(count, DV_FD_COUNT);
    assert_int_equal(m.type, DV_MSG_WELCOME);
    assert_int_equal(m.slot, 9);
    assert_int_equal(m.process, 3);
    assert_null(dv_fd_map(fds[DV_FD_SLICE], sizeof(struct dv_slice_page), true));
    assert_null(dv_fd_map(fds[DV_FD_ARBITER], sizeof(struct dv_arbiter_page), true));
    struct dv_slot_page *mine = dv_fd_map(fds[DV_FD_SLOT], sizeof *mine, true);
    assert_non_null(mine);
    assert_int_equal(dv_governor_slot_seal(&slot), 0);
    assert_null(dv_fd_map(fds[DV_FD_SLOT], sizeof *mine, true));
    struct dv_reservation_page *r = dv_fd_map(fds[DV_FD_RESERVATION], sizeof *r, true);
    assert_non_null(r);

    assert_int_equal(dv_reservation_change(r, mine, 3, 600, 1000), 0);
    assert_int_equal(dv_reservation_change(r, mine, 3, 600, 1000), 1);
    assert_int_equal(dv_governor_slice_reserved(&slice), 600);
    assert_int_equal(dv_governor_slot_held(&slot, &slice), 600);
    assert_int_equal(dv_governor_slot_end(&slot, &slice), 600);
    assert_int_equal(dv_governor_slot_end(&slot, &slice), 0); /* twice is once */
    assert_int_equal(dv_governor_slice_reserved(&slice), 0);

    struct dv_slice_page *view = dv_fd_map(fds[DV_FD_SLICE], sizeof *view, false);
    dv_governor_slice_limit(&slice, 2000, 1400, 7000);
    assert_int_equal(view->memory_limit_bytes, 2000);
    assert_int_equal(view->seq, 2);
    dv_governor_slice_end(&slice);
    dv_governor_slice_end(&slice);
    assert_int_equal(view->state, DV_SLICE_ENDED);
    dv_governor_arbiter_end(&arbiter);
    munmap(view, sizeof *view);
    munmap(r, sizeof *r);
    munmap(mine, sizeof *mine);
    for (uint32_t i = 0; i < count; i++)
        close(fds[i]);
    close(pair[0]);
    close(pair[1]);
}

static void test_refused(void **state)
{
    struct dv_governor_slice slice;
    struct dv_governor_spec bad = spec;
    char name[100];
    memset(name, 'x', sizeof name);
    name[99] = 0;
    bad.tenant = name;
    assert_int_equal(dv_governor_slice_new(&bad, &slice), -ENAMETOOLONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_walls),
                                       cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
