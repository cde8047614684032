/* SPDX-License-Identifier: Apache-2.0 */
#include "account/split.h"
#include "account/usage.h"
#include "base/rng.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static uint64_t total(const struct dv_split_gpu *g)
{
    uint64_t sum = g->ret_unallocated_ns + g->ret_unhealthy_ns;
    for (size_t i = 0; i < g->n_devices; i++) {
        const struct dv_split_device *d = &g->devices[i];
        sum += d->ret_overhead_ns + d->ret_unallocated_ns;
        for (size_t k = 0; k < d->n_slices; k++)
            sum += d->slices[k].ret_busy_ns + d->slices[k].ret_idle_ns;
    }
    return sum;
}

static void split(struct dv_split_gpu *g, struct dv_split_device *d, uint64_t wall)
{
    g->devices = d;
    g->n_devices = 1;
    assert_int_equal(dv_split(g, wall), 0);
    assert_int_equal(total(g), wall);
}

static void idle_time_goes_to_shares_and_the_rest_to_nobody(void **state)
{
    struct dv_split_slice s[2] = {{.share = 1750, .busy_ns = 400}, {.share = 3500}};
    struct dv_split_device d = {.compute = 7000, .slices = s, .n_slices = 2, .busy_ns = 0};
    struct dv_split_gpu g = {0};
    split(&g, &d, 1000);
    assert_int_equal(s[0].ret_busy_ns, 400);
    assert_int_equal(s[0].ret_idle_ns, 150);
    assert_int_equal(s[1].ret_busy_ns, 0);
    assert_int_equal(s[1].ret_idle_ns, 300);
    assert_int_equal(d.ret_unallocated_ns, 150);
}

/* A quarter is held and all is used: all of it is the user's, and nobody's reserve. */
static void borrowed_time_is_the_borrowers(void **state)
{
    struct dv_split_slice s[2] = {{.share = 1750, .busy_ns = 1000}, {.share = 5250}};
    struct dv_split_device d = {.compute = 7000, .slices = s, .n_slices = 2};
    struct dv_split_gpu g = {0};
    split(&g, &d, 1000);
    assert_int_equal(s[0].ret_busy_ns, 1000);
    assert_int_equal(s[1].ret_idle_ns, 0);
}

static void a_second_of_1g_is_a_seventh(void **state)
{
    struct dv_split_slice one = {.share = 1000, .busy_ns = 7000}, three = {.share = 3000};
    struct dv_split_device d[2] = {{.compute = 1000, .slices = &one, .n_slices = 1},
                                   {.compute = 3000, .slices = &three, .n_slices = 1}};
    struct dv_split_gpu g = {.devices = d, .n_devices = 2};
    assert_int_equal(dv_split(&g, 7000), 0);
    assert_int_equal(one.ret_busy_ns, 1000);
    assert_int_equal(three.ret_idle_ns, 3000);
    assert_int_equal(g.ret_unallocated_ns, 3000); /* no instance covers it */
    assert_int_equal(total(&g), 7000);
}

static void what_does_not_fit_is_carried_and_a_claim_beyond_it_is_cut(void **state)
{
    struct dv_split_slice s[2] = {{.share = 3500, .busy_ns = 900, .carry_max_ns = 160},
                                  {.share = 3500, .busy_ns = 300, .carry_max_ns = 160}};
    struct dv_split_device d = {.compute = 7000, .slices = s, .n_slices = 2};
    struct dv_split_gpu g = {0};
    split(&g, &d, 1000);
    assert_int_equal(s[0].ret_busy_ns, 750);
    assert_int_equal(s[0].carry_ns, 150);
    assert_int_equal(s[1].carry_ns, 50);
    assert_int_equal(d.ret_cut_ns, 0);
    s[0].busy_ns = s[1].busy_ns = 0;
    split(&g, &d, 1000);
    assert_int_equal(s[0].ret_busy_ns + s[1].ret_busy_ns, 200);
    assert_int_equal(s[0].carry_ns + s[1].carry_ns, 0);
    s[0].busy_ns = 2000;
    split(&g, &d, 1000);
    assert_int_equal(s[0].carry_ns, 160);
    assert_int_equal(d.ret_cut_ns, 840);
}

static void overhead_gives_way_to_what_ran(void **state)
{
    struct dv_split_slice s = {.share = 7000, .busy_ns = 800};
    struct dv_split_device d = {.compute = 7000, .overhead_ns = 150, .slices = &s, .n_slices = 1};
    struct dv_split_gpu g = {0};
    split(&g, &d, 1000);
    assert_int_equal(d.ret_overhead_ns, 150);
    assert_int_equal(s.ret_idle_ns, 50);
    d.overhead_ns = 500;
    split(&g, &d, 1000);
    assert_int_equal(s.ret_busy_ns, 800);
    assert_int_equal(d.ret_overhead_ns, 200);
}

static void a_sick_gpu_is_unhealthy_but_for_what_ran(void **state)
{
    struct dv_split_slice s = {.share = 3000, .busy_ns = 100};
    struct dv_split_device d = {.compute = 7000, .overhead_ns = 50, .slices = &s, .n_slices = 1};
    struct dv_split_gpu g = {.unhealthy = true};
    split(&g, &d, 1000);
    assert_int_equal(s.ret_busy_ns, 100);
    assert_int_equal(s.ret_idle_ns, 0);
    assert_int_equal(g.ret_unhealthy_ns, 900);
}

/* One always, the other a tenth of the time, on the same SMs: 0.9 + 0.1 / 2 and 0.1 / 2. */
static void overlap_is_split_by_the_sms_held(void **state)
{
    struct dv_split_slice s[2] = {{.share = 3500, .sms = 1, .busy_ns = 1000000},
                                  {.share = 3500, .sms = 1, .busy_ns = 100000}};
    struct dv_split_device d = {
        .compute = 7000, .overlaps = true, .busy_ns = DV_SPLIT_UNKNOWN, .slices = s, .n_slices = 2};
    struct dv_split_gpu g = {0};
    split(&g, &d, 1000000);
    assert_in_range(s[0].ret_busy_ns, 949990, 950010);
    assert_in_range(s[1].ret_busy_ns, 49990, 50010);
    s[1].busy_ns = 1000000; /* both always: two to one */
    s[0].sms = 66;
    s[1].sms = 33;
    split(&g, &d, 1000000);
    assert_in_range(s[0].ret_busy_ns, 666650, 666680);
    assert_in_range(s[1].ret_busy_ns, 333320, 333350);
    s[0].busy_ns = s[1].busy_ns = 300000; /* the device says: they never overlapped */
    d.busy_ns = 600000;
    split(&g, &d, 1000000);
    assert_int_equal(s[0].ret_busy_ns + s[1].ret_busy_ns, 600000);
    d.busy_ns = 100; /* the device cannot have run for less than one of them */
    split(&g, &d, 1000000);
    assert_int_equal(s[0].ret_busy_ns + s[1].ret_busy_ns, 300000);
}

static void wrong_input_is_refused(void **state)
{
    struct dv_split_device d[2] = {{.compute = 4000}, {.compute = 3001}};
    struct dv_split_gpu g = {.devices = d, .n_devices = 2};
    assert_int_equal(dv_split(&g, 1000), -EINVAL);
    d[1].compute = 0;
    assert_int_equal(dv_split(&g, 1000), -EINVAL);
    g.n_devices = DV_SPLIT_DEVICES_MAX + 1;
    assert_int_equal(dv_split(&g, 1000), -EINVAL);
}

static void apportion_sums_and_is_less_than_one_off(void **state)
{
    struct dv_rng rng = {7};
    for (int round = 0; round < 20000; round++) {
        uint64_t w[12], part[12], sum = 0, given = 0;
        size_t n = 1 + dv_rng_below(&rng, 12);
        uint64_t total_ns = dv_rng_next(&rng) >> dv_rng_below(&rng, 64);
        for (size_t i = 0; i < n; i++) {
            w[i] = dv_rng_below(&rng, 3) ? dv_rng_below(&rng, 1000000) : 0;
            sum += w[i];
        }
        dv_split_apportion(total_ns, w, n, part);
        for (size_t i = 0; i < n; i++) {
            given += part[i];
            if (!sum)
                continue;
            uint64_t exact = (uint64_t)((dv_u128)total_ns * w[i] / sum);
            assert_in_range(part[i], exact ? exact - 1 : 0, exact + 1);
            assert_true(w[i] || !part[i]);
        }
        assert_true(given == total_ns);
    }
}

#define DEVICES 4
#define SLICES 6

/* Random lives: whatever is claimed, the parts sum to the interval, nobody gets more than claimed,
 * and what is claimed is given, carried or said to be cut. */
static void random_lives_conserve(void **state)
{
    struct dv_rng rng = {4};
    for (int round = 0; round < 3000; round++) {
        struct dv_split_slice s[DEVICES][SLICES] = {0};
        struct dv_split_device d[DEVICES] = {0};
        struct dv_split_gpu g = {.devices = d};
        uint32_t left = 7000;
        g.n_devices = dv_rng_below(&rng, DEVICES + 1);
        for (size_t i = 0; i < g.n_devices; i++) {
            d[i].compute = 1 + (uint32_t)dv_rng_below(&rng, left - (DEVICES - i));
            left -= d[i].compute;
            d[i].slices = s[i];
            d[i].n_slices = dv_rng_below(&rng, SLICES + 1);
            d[i].overlaps = dv_rng_below(&rng, 2);
            for (size_t k = 0; k < SLICES; k++)
                s[i][k].carry_max_ns = dv_rng_below(&rng, 2000);
        }
        for (int step = 0; step < 10; step++) {
            uint64_t wall = dv_rng_below(&rng, 1000000), claimed[DEVICES] = {0};
            g.unhealthy = !dv_rng_below(&rng, 8);
            for (size_t i = 0; i < g.n_devices; i++) {
                d[i].busy_ns =
                    dv_rng_below(&rng, 2) ? DV_SPLIT_UNKNOWN : dv_rng_below(&rng, wall + 1);
                d[i].overhead_ns = dv_rng_below(&rng, wall + 1);
                for (size_t k = 0; k < d[i].n_slices; k++) {
                    s[i][k].share = (uint32_t)dv_rng_below(&rng, 7001);
                    s[i][k].sms = (uint32_t)dv_rng_below(&rng, 133);
                    s[i][k].busy_ns = dv_rng_below(&rng, 4) ? dv_rng_below(&rng, wall + 1) : 0;
                    claimed[i] += s[i][k].busy_ns + s[i][k].carry_ns;
                }
            }
            assert_int_equal(dv_split(&g, wall), 0);
            assert_true(total(&g) == wall);
            for (size_t i = 0; i < g.n_devices; i++) {
                uint64_t given = 0, carried = 0;
                for (size_t k = 0; k < d[i].n_slices; k++) {
                    given += s[i][k].ret_busy_ns;
                    carried += s[i][k].carry_ns;
                    assert_true(s[i][k].carry_ns <= s[i][k].carry_max_ns);
                }
                assert_true(carried + d[i].ret_cut_ns <= claimed[i]);
                uint64_t device_ns = claimed[i] - carried - d[i].ret_cut_ns;
                uint64_t most = device_ns * d[i].compute / 7000;
                assert_true(given <= most + SLICES + 2);
                if (!d[i].overlaps)
                    assert_true(given + SLICES + 2 >= most);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_time_goes_to_shares_and_the_rest_to_nobody),
        cmocka_unit_test(borrowed_time_is_the_borrowers),
        cmocka_unit_test(a_second_of_1g_is_a_seventh),
        cmocka_unit_test(what_does_not_fit_is_carried_and_a_claim_beyond_it_is_cut),
        cmocka_unit_test(overhead_gives_way_to_what_ran),
        cmocka_unit_test(a_sick_gpu_is_unhealthy_but_for_what_ran),
        cmocka_unit_test(overlap_is_split_by_the_sms_held),
        cmocka_unit_test(wrong_input_is_refused),
        cmocka_unit_test(apportion_sums_and_is_less_than_one_off),
        cmocka_unit_test(random_lives_conserve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
