/* SPDX-License-Identifier: Apache-2.0 */
/* Memory runs out at each allocation of an audit's life in turn: samples, figures, a plan, its
 * replay. -ENOMEM each time, and nothing leaks (which the address sanitizer sees). */
#include "base/testing/oom.h"
#include "policy/audit/audit_replay.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define S ((int64_t)DV_NS_PER_S)
#define WORKLOADS 150u /* more than the first table and list hold */

static int feed(struct dv_audit *a)
{
    for (uint32_t i = 0; i < WORKLOADS; i++) {
        char name[32];
        uint32_t w = 0;
        snprintf(name, sizeof name, "w%u", i);
        int r = dv_audit_find(a, name, "", &w);
        if (r < 0)
            return r;
        for (int64_t t = 1; t < 40; t++) {
            dv_audit_busy(a, w, t * S, t % 10 == i % 10 ? 50 : i == 7 ? 99 : 0);
            dv_audit_memory(a, w, t * S, 50e9);
        }
    }
    return 0;
}

static int replay(const struct dv_audit *a, const struct dv_audit_plan *plan,
                  const struct dv_audit_wish *wish)
{
    dv_cleanup(dv_audit_replay_freep) struct dv_audit_replay *r = NULL;
    struct dv_audit_replayed result;
    int x = dv_audit_replay_new(a, a, plan, wish, S, 40 * S, &r);
    if (x < 0) {
        assert_null(r);
        return x;
    }
    while (dv_audit_replay_slab(r))
        dv_audit_replay_busy(r, 3, 5 * S, 50);
    dv_audit_replay_done(r, &result);
    return 0;
}

static int life(void)
{
    const struct dv_audit_wish wish = {.gpu_memory_bytes = 80 * DV_GIB, .headroom = 1400};
    dv_cleanup(dv_audit_freep) struct dv_audit *a = dv_audit_new();
    dv_cleanup(dv_audit_plan_freep) struct dv_audit_plan *plan = NULL;
    int r = a ? feed(a) : -ENOMEM;
    r = r < 0 ? r : dv_audit_finish(a, &wish);
    r = r < 0 ? r : dv_audit_pack(a, &wish, &plan);
    if (r < 0)
        assert_null(plan);
    return r < 0 ? r : replay(a, plan, &wish);
}

static void test_every_allocation_fails_once(void **state)
{
    size_t n = 0;
    bool met;
    do {
        dv_oom_at(++n);
        int r = life();
        met = dv_oom_end();
        assert_int_equal(r, met ? -ENOMEM : 0);
    } while (met);
    assert_in_range(n, WORKLOADS, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
