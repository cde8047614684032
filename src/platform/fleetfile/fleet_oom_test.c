/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes and pods read while each allocation in turn fails: -ENOMEM, nothing kept, nothing leaked.
 */
#include "base/testing/oom.h"
#include "fleetfile/nodes.h"
#include "fleetfile/pods.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char nodes[] = "name,cpu_milli,memory_mib,gpu,model,rack,nvlink\n"
                            "a,8000,8192,2,T4,r1,0-1\n"
                            "b,96000,393216,8,A100-80GB,r2,0-3;4-7\n";
static const char pods[] = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,creation_time,"
                           "deletion_time,topology\n"
                           "p,1000,1024,1,470,T4,0,10,\n"
                           "q,1000,1024,2,1000,T4|A100-80GB,3,,nvlink\n";

static int life(enum dv_fleet_order by)
{
    const struct dv_fleet_nodes_order order = {.by = by, .seed = 1};
    dv_cleanup(dv_csv_freep) struct dv_csv *n = NULL;
    dv_cleanup(dv_csv_freep) struct dv_csv *p = NULL;
    dv_cleanup(dv_cluster_freep) struct dv_cluster *cluster = NULL;
    dv_cleanup(dv_fleet_pods_done) struct dv_fleet_pods read = {0};
    int r = dv_csv_open_memory("nodes", nodes, sizeof nodes - 1, &n, NULL);
    r = r ? r : dv_fleet_nodes_from(n, &order, &cluster, NULL);
    if (r)
        assert_null(cluster);
    r = r ? r : dv_csv_open_memory("pods", pods, sizeof pods - 1, &p, NULL);
    r = r ? r : dv_fleet_pods_from(p, cluster, false, &read, NULL);
    if (r) {
        assert_null(read.v);
        return r;
    }
    assert_int_equal(read.n, 2);
    assert_int_equal(dv_cluster_nodes(cluster), 2);
    return 0;
}

static void memory_runs_out(void **unused)
{
    static const enum dv_fleet_order orders[] = {DV_FLEET_ORDER_NAME, DV_FLEET_ORDER_SEED};
    for (size_t i = 0; i < DV_ARRAY_SIZE(orders); i++) {
        size_t n = 0;
        bool met = true;
        while (met) {
            dv_oom_at(++n);
            int r = life(orders[i]);
            met = dv_oom_end();
            assert_int_equal(r, met ? -ENOMEM : 0);
        }
        assert_in_range(n, 20, 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(memory_runs_out)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
