/* SPDX-License-Identifier: Apache-2.0 */
/* Offers of small nodes by hand; then random configurations, nodes and requests, of which what
 * must always hold is asked. */
#include "base/rng.h"
#include "base/str.h"
#include "policy/offers.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ROUNDS 3000
#define GIB DV_GIB

/* ---- nodes and configurations ---- */

static struct dv_gpu gpus[DV_GPUS_MAX];
static struct dv_device devices[DV_DEVICES_MAX];
static struct dv_snapshot node = {.gpus = gpus, .devices = devices};
static struct dv_plugin_config *config;
static struct dv_offers *offers;
static struct dv_err err;

static void add_gpu(uint32_t index, const char *model, bool mig)
{
    struct dv_gpu *g = &gpus[node.n_gpus++];
    *g = (struct dv_gpu){.index = index,
                         .numa = index < 4 ? 0 : 1,
                         .mig_enabled = mig,
                         .health = DV_GPU_HEALTH_OK,
                         .mps_clients = 48};
    snprintf(g->uuid, sizeof g->uuid, "GPU-%08x-0000-0000-0000-000000000000", index);
    snprintf(g->model, sizeof g->model, "%s", model);
    if (mig)
        return;
    struct dv_device *d = &devices[node.n_devices++];
    *d = (struct dv_device){.gpu = index, .memory_bytes = 80 * GIB, .compute = DV_COMPUTE_FULL};
    memcpy(d->uuid, g->uuid, sizeof d->uuid);
}

/* On the GPU that was added last. */
static void add_mig(const char *profile, uint32_t start, uint64_t gib, uint32_t sevenths)
{
    const struct dv_gpu *g = &gpus[node.n_gpus - 1];
    struct dv_device *d = &devices[node.n_devices++];
    *d = (struct dv_device){.gpu = g->index,
                            .mig = true,
                            .placement_start = start,
                            .memory_bytes = gib * GIB,
                            .compute = sevenths * 1000};
    snprintf(d->uuid, sizeof d->uuid, "MIG-%08x-000%u-0000-0000-000000000000", g->index, start);
    snprintf(d->profile, sizeof d->profile, "%s", profile);
}

static int set_up(void **state)
{
    node.n_gpus = node.n_devices = 0;
    dv_topology_init(&node.topology, 0);
    offers = NULL;
    return dv_plugin_config_new(&config);
}

static int tear_down(void **state)
{
    dv_plugin_config_free(config);
    dv_offers_free(offers);
    return 0;
}

static void share(enum dv_plugin_section section, struct dv_plugin_share s, const char *list)
{
    if (list)
        s.list = calloc(8, sizeof *s.list);
    for (const char *at = list; s.list && *at; at += *at == ',') {
        size_t len = strcspn(at, ",");
        memcpy(s.list[s.n_list++], at, len);
        at += len;
    }
    if (!s.name[0])
        memcpy(s.name, "nvidia.com/gpu", 15);
    config->sharing[section].given = true;
    assert_int_equal(dv_plugin_config_add(&config->sharing[section], &s), 0);
}

static void make(void)
{
    dv_offers_free(offers);
    offers = NULL;
    if (dv_offers_make(config, &node, &offers, &err) < 0)
        fail_msg("%s", err.msg);
}

static void assert_refused(const char *message)
{
    struct dv_offers *none = NULL;
    err.msg[0] = 0;
    assert_int_equal(dv_offers_make(config, &node, &none, &err), -EINVAL);
    assert_null(none);
    assert_string_equal(err.msg, message);
}

/* "name mode n first-id", one a line. */
static void assert_offers(const char *expected)
{
    dv_cleanup(dv_str_done) struct dv_str s = {0};
    make();
    for (uint32_t i = 0; i < offers->n_offers; i++) {
        const struct dv_offer *o = &offers->offers[i];
        dv_str_addf(&s, "%s %s %u %s\n", o->name, dv_device_mode_name(o->mode), o->n_units,
                    o->units[0].id);
    }
    assert_string_equal(dv_str_get(&s), expected);
}

/* ---- names ---- */

static void test_whole(void **state)
{
    add_gpu(0, "NVIDIA A100-SXM4-80GB", false);
    add_gpu(1, "NVIDIA A100-SXM4-80GB", false);
    assert_offers("nvidia.com/gpu exclusive 2 GPU-00000000-0000-0000-0000-000000000000\n");
    assert_false(offers->offers[0].fail_above_one);
    config->flags.plugin.id = DV_PLUGIN_ID_INDEX;
    assert_offers("nvidia.com/gpu exclusive 2 0\n");
    node.n_gpus = node.n_devices = 0;
    assert_offers("");
}

static void test_patterns(void **state)
{
    static const struct dv_plugin_pattern gpu = {"*A100*", "nvidia.com/a100"};
    static const struct dv_plugin_pattern mig = {"1g.*", "nvidia.com/small"};
    config->gpus[config->n_gpus++] = gpu;
    config->mig[config->n_mig++] = mig;
    config->flags.mig_strategy = DV_MIG_STRATEGY_MIXED;
    config->flags.plugin.id = DV_PLUGIN_ID_INDEX;
    add_gpu(0, "NVIDIA A100-SXM4-80GB", false);
    add_gpu(1, "NVIDIA H100 80GB HBM3", false);
    add_gpu(2, "NVIDIA A100-SXM4-80GB", true);
    add_mig("1g.10gb+me", 0, 10, 1);
    add_mig("2g.20gb", 2, 20, 2);
    assert_offers("nvidia.com/a100 exclusive 1 0\n"
                  "nvidia.com/gpu exclusive 1 1\n"
                  "nvidia.com/mig-2g.20gb exclusive 1 2:1\n"
                  "nvidia.com/small exclusive 1 2:0\n");
    /* A pattern is for the whole of a name. */
    memcpy(config->gpus[0].pattern, "A100", 5);
    assert_offers("nvidia.com/gpu exclusive 2 0\n"
                  "nvidia.com/mig-2g.20gb exclusive 1 2:1\n"
                  "nvidia.com/small exclusive 1 2:0\n");
}

static void test_mig_strategies(void **state)
{
    config->flags.plugin.id = DV_PLUGIN_ID_INDEX;
    add_gpu(0, "A100", true);
    add_mig("3g.40gb", 0, 40, 3);
    add_mig("3g.40gb", 4, 40, 3);
    assert_offers("");
    config->flags.mig_strategy = DV_MIG_STRATEGY_SINGLE;
    assert_offers("nvidia.com/gpu exclusive 2 0:0\n");
    config->flags.mig_strategy = DV_MIG_STRATEGY_MIXED;
    memcpy(devices[0].profile, "3g.40gb+me", 11);
    assert_offers("nvidia.com/mig-3g.40gb exclusive 1 0:1\n"
                  "nvidia.com/mig-3g.40gb.me exclusive 1 0:0\n");
    config->flags.mig_strategy = DV_MIG_STRATEGY_SINGLE;
    assert_refused("migStrategy single: the node has MIG devices of two profiles (3g.40gb+me on "
                   "GPU 0, 3g.40gb on GPU 0); cut all alike, or use mixed");
    add_gpu(1, "A100", false);
    assert_refused("migStrategy single: MIG is on on some GPUs of this node and off on others (GPU "
                   "0 is on, GPU 1 is off); cut all alike, or use mixed");
}

static void test_replicas(void **state)
{
    add_gpu(0, "A100", false);
    add_gpu(1, "A100", false);
    config->flags.plugin.id = DV_PLUGIN_ID_INDEX;
    share(DV_PLUGIN_TIME_SLICING, (struct dv_plugin_share){.replicas = 4}, NULL);
    assert_offers("nvidia.com/gpu timeslice 8 0::0\n");
    assert_int_equal(offers->offers[0].units[0].memory_bytes, 20 * GIB);
    assert_int_equal(offers->offers[0].units[0].compute, 1750);
    assert_string_equal(offers->offers[0].units[7].id, "1::3");
    config->sharing[DV_PLUGIN_TIME_SLICING].rename_by_default = true;
    assert_offers("nvidia.com/gpu.shared timeslice 8 0::0\n");
    memcpy(config->sharing[DV_PLUGIN_TIME_SLICING].shares[0].rename, "nvidia.com/quarter", 19);
    assert_offers("nvidia.com/quarter timeslice 8 0::0\n");
    config->sharing[DV_PLUGIN_TIME_SLICING].ignored = true;
    assert_offers("nvidia.com/gpu exclusive 2 0\n");
}

static void test_different_gpus_shared_differently(void **state)
{
    for (uint32_t i = 0; i < 4; i++)
        add_gpu(i, "A100", false);
    config->flags.plugin.id = DV_PLUGIN_ID_INDEX;
    config->sharing[DV_PLUGIN_TIME_SLICING].rename_by_default = true;
    share(DV_PLUGIN_TIME_SLICING, (struct dv_plugin_share){.replicas = 2}, "0");
    share(DV_PLUGIN_TIME_SLICING, (struct dv_plugin_share){.replicas = 8}, gpus[1].uuid);
    share(DV_PLUGIN_GOVERNED, (struct dv_plugin_share){.percent = true}, "2,7");
    assert_offers("divvy.dev/gpu-percent governed 100 2::p0\n"
                  "nvidia.com/gpu exclusive 1 3\n"
                  "nvidia.com/gpu.shared timeslice 10 0::0\n");
    /* Without a name of their own the shares would be whole GPUs to their users. */
    config->sharing[DV_PLUGIN_TIME_SLICING].rename_by_default = false;
    assert_refused("nvidia.com/gpu would be shares (timeslice, tier be) on one device and whole "
                   "devices (exclusive, tier be) on another; give one of them a rename, or set "
                   "renameByDefault: true");
}

static void test_devices_by_number(void **state)
{
    for (uint32_t i = 0; i < 3; i++)
        add_gpu(i, "A100", false);
    config->flags.plugin.id = DV_PLUGIN_ID_INDEX;
    config->sharing[DV_PLUGIN_MPS].rename_by_default = true;
    share(DV_PLUGIN_MPS, (struct dv_plugin_share){.replicas = 48, .count = 2}, NULL);
    assert_offers("nvidia.com/gpu exclusive 1 2\nnvidia.com/gpu.shared mps 96 0::0\n");
    config->sharing[DV_PLUGIN_MPS].shares[0].replicas = 49;
    assert_refused("nvidia.com/gpu: 49 replicas by MPS, and the daemon of "
                   "GPU-00000000-0000-0000-0000-000000000000 takes 48 clients; lower replicas");
    config->sharing[DV_PLUGIN_MPS].shares[0].replicas = 1;
    assert_offers("nvidia.com/gpu exclusive 3 0\n");
}

static const struct dv_plugin_share sliced = {
    .n_slices = 2,
    .slices = {{"small", "", 10 * GIB, 0, 1750, DV_TIER_BEST_EFFORT, 2},
               {"large", "nvidia.com/half", 0, 3500, 3500, DV_TIER_LATENCY_CRITICAL, 1}}};

static void test_slices(void **state)
{
    add_gpu(0, "A100", false);
    share(DV_PLUGIN_GOVERNED, sliced, NULL);
    config->sharing[DV_PLUGIN_GOVERNED].rename_by_default = true;
    assert_offers(
        "nvidia.com/gpu-small governed 2 GPU-00000000-0000-0000-0000-000000000000::small.0\n"
        "nvidia.com/half governed 1 GPU-00000000-0000-0000-0000-000000000000::large.0\n");
    assert_int_equal(offers->offers[0].units[1].memory_bytes, 10 * GIB);
    assert_int_equal(offers->offers[1].units[0].memory_bytes, 40 * GIB);
    assert_int_equal(offers->offers[1].units[0].compute, 3500);
    assert_int_equal(offers->offers[1].tier, DV_TIER_LATENCY_CRITICAL);
    assert_true(offers->offers[0].fail_above_one);
    devices[0].memory_bytes = 24 * GIB;
    assert_refused("nvidia.com/gpu: the slices of a device ask for 32.0 GiB together, and "
                   "GPU-00000000-0000-0000-0000-000000000000 has 24.0 GiB; lower them or their "
                   "counts");
}

static void test_percent_of_mig(void **state)
{
    static const char *const ids[] = {"0:0::p0", "0:0::p99", "0:0::p7"};
    struct dv_offer_answer a;
    add_gpu(0, "A30", true);
    add_mig("1g.6gb", 0, 6, 1);
    devices[0].compute = 1750;
    config->flags.mig_strategy = DV_MIG_STRATEGY_MIXED;
    config->flags.plugin.id = DV_PLUGIN_ID_INDEX;
    share(DV_PLUGIN_GOVERNED,
          (struct dv_plugin_share){.percent = true, .name = "nvidia.com/mig-1g.6gb"}, NULL);
    assert_offers("divvy.dev/mig-1g.6gb-percent governed 100 0:0::p0\n");
    assert_int_equal(dv_offers_allocate(offers, &offers->offers[0], ids, 3, &a), 0);
    assert_int_equal(a.refusal, DV_OFFER_GRANTED);
    assert_int_equal(a.grants[0].compute, 52); /* 3% of 1750, not 3 times 17 */
}

static void test_health(void **state)
{
    add_gpu(0, "A100", true);
    add_mig("1g.10gb", 0, 10, 1);
    add_mig("1g.10gb", 1, 10, 1);
    add_gpu(1, "A100", false);
    config->flags.mig_strategy = DV_MIG_STRATEGY_MIXED;
    gpus[0].health = DV_GPU_HEALTH_FAILED;
    gpus[1].health = DV_GPU_HEALTH_DEGRADED;
    make();
    assert_false(offers->devices[0].healthy || offers->devices[1].healthy);
    assert_true(offers->devices[2].healthy);
    gpus[0].health = DV_GPU_HEALTH_UNKNOWN; /* nobody answers for it */
    make();
    assert_false(offers->devices[0].healthy || offers->devices[1].healthy);
    devices[2].draining = true;
    gpus[0].health = DV_GPU_HEALTH_OK;
    make();
    assert_true(offers->devices[0].healthy && offers->devices[1].healthy);
    assert_false(offers->devices[2].healthy);
}

/* ---- ids ---- */

static void test_ids(void **state)
{
    static const char *const good[] = {"GPU-1",      "0",          "0:1",
                                       "0::3",       "0:1::3",     "GPU-1::p0",
                                       "GPU-1::p99", "0::small.0", "MIG-1::a-b.7"};
    static const char *const bad[] = {"",       "::1",   "0::",       "0::p",
                                      "0::01",  "0::x",  "0::.1",     "0::a.",
                                      "0::p1.", "0::-1", "0::123456", "0::abcdefghijklmnopq.1"};
    struct dv_offer_id id;
    char text[DV_OFFERS_ID];
    for (size_t i = 0; i < DV_ARRAY_SIZE(good); i++) {
        assert_int_equal(dv_offers_id_parse(good[i], &id), 0);
        assert_int_equal(dv_offers_id_format(&id, text), 0);
        assert_string_equal(text, good[i]);
    }
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++)
        assert_int_equal(dv_offers_id_parse(bad[i], &id), -EINVAL);
}

/* ---- preferred allocation ---- */

static void assert_preferred(const char *available, const char *must, uint32_t size,
                             const char *expected)
{
    static char words[2][1024];
    const char *lists[2][128], *got[128];
    size_t n[2] = {0, 0};
    dv_cleanup(dv_str_done) struct dv_str s = {0};
    snprintf(words[0], sizeof words[0], "%s", available);
    snprintf(words[1], sizeof words[1], "%s", must);
    for (int i = 0; i < 2; i++) {
        char *rest = words[i];
        for (char *w; (w = strsep(&rest, " "));)
            if (*w)
                lists[i][n[i]++] = w;
    }
    struct dv_offer_request q = {lists[0], n[0], lists[1], n[1], size};
    err.msg[0] = 0;
    if (dv_offers_prefer(offers, &offers->offers[0], &q, &node.topology, got, &err) < 0)
        dv_str_add(&s, err.msg);
    else
        for (uint32_t i = 0; i < size; i++)
            dv_str_addf(&s, "%s%s", i ? " " : "", got[i]);
    assert_string_equal(dv_str_get(&s), expected);
}

/* Two groups of four GPUs on two sockets; in a group all are joined by NVLink, 0-3 and 1-2 by
 * twice as many, as in a DGX-1. */
static void test_prefer_gpus(void **state)
{
    dv_topology_init(&node.topology, 8);
    for (uint32_t i = 0; i < 8; i++) {
        add_gpu(i, "V100", false);
        for (uint32_t k = 0; k < i; k++)
            dv_topology_set(&node.topology, i, k,
                            i / 4 != k / 4
                                ? (struct dv_link){DV_LINK_SYS, 0}
                                : (struct dv_link){DV_LINK_NVLINK, i % 4 + k % 4 == 3 ? 2 : 1});
    }
    config->flags.plugin.id = DV_PLUGIN_ID_INDEX;
    make();
    assert_preferred("0 1 2 3 4 5 6 7", "", 2, "0 3");
    assert_preferred("0 1 2 3 4 5 6 7", "", 4, "0 1 2 3");
    assert_preferred("0 1 2 3 4 5 6 7", "5", 2, "5 6");
    assert_preferred("0 1 2 4 5 6 7", "", 4, "4 5 6 7");
    /* One alone: not from the four that are whole, and not of a pair. */
    assert_preferred("0 1 2 4 5 6 7", "", 1, "0");
    assert_preferred("0 5", "", 2, "0 5");
    assert_preferred("0 1", "", 0, "");
    assert_preferred("0 1", "", 3, "nvidia.com/gpu: 3 are asked for, and 2 are to be had");
    assert_preferred("0", "9", 1, "nvidia.com/gpu: must have 9, which is unknown");
    assert_preferred("0 1", "1 1", 2, "nvidia.com/gpu: must have 1, which is given twice");
    assert_preferred("0 1", "0 1", 1, "nvidia.com/gpu: 2 must be among 1");
    assert_preferred("0 0 9", "", 2, "nvidia.com/gpu: 2 are asked for, and 1 are to be had");
}

/* Eight GPUs behind NVSwitches, every other two (0 and 4, 1 and 5...) on one PCIe switch: as many
 * NVLinks to each, so that PCIe decides, as it does in a DGX A100. */
static void test_prefer_behind_nvswitch(void **state)
{
    dv_topology_init(&node.topology, 8);
    for (uint32_t i = 0; i < 8; i++) {
        add_gpu(i, "A100", false);
        for (uint32_t k = 0; k < i; k++)
            dv_topology_set(
                &node.topology, i, k,
                (struct dv_link){DV_LINK_NVLINK, 12, i % 4 == k % 4 ? DV_LINK_PXB : DV_LINK_SYS});
    }
    config->flags.plugin.id = DV_PLUGIN_ID_INDEX;
    make();
    assert_preferred("0 1 2 3 4 5 6 7", "", 2, "0 4");
    assert_preferred("1 2 3 4 6 7", "", 2, "2 6");
    assert_preferred("0 1 2 3 4 5 6 7", "3", 4, "3 0 4 7");
    assert_preferred("0 1 2 5", "", 1, "0"); /* not of the pair that is whole */
}

/* Nothing known but NUMA nodes. */
static void test_prefer_numa(void **state)
{
    for (uint32_t i = 0; i < 8; i++)
        add_gpu(i, "T4", false);
    config->flags.plugin.id = DV_PLUGIN_ID_INDEX;
    make();
    assert_preferred("0 3 4 5 6", "", 2, "0 3");
    assert_preferred("0 3 4 5 6", "", 3, "4 5 6");
}

static void test_prefer_shares(void **state)
{
    for (uint32_t i = 0; i < 3; i++)
        add_gpu(i, "T4", false);
    config->flags.plugin.id = DV_PLUGIN_ID_INDEX;
    share(DV_PLUGIN_TIME_SLICING, (struct dv_plugin_share){.replicas = 3}, NULL);
    make();
    assert_preferred("0::1 0::2 1::0 1::1 1::2 2::0", "", 1, "1::0");
    assert_preferred("0::1 0::2 1::0 1::1 1::2 2::0", "", 2, "1::0 0::1");
    assert_preferred("0::1 0::2 1::0 1::1 1::2 2::0", "1::2", 3, "1::2 0::1 2::0");
    assert_preferred("0::1 0::2 1::0 1::1 1::2", "", 3, "1::0 0::1 1::1");
    config->flags.plugin.policy = DV_PLUGIN_PACKED;
    make();
    assert_preferred("0::1 0::2 1::0 1::1 1::2 2::0", "", 1, "2::0");
    assert_preferred("0::1 0::2 1::0 1::1 1::2 2::0", "", 3, "2::0 0::1 1::0");
}

static void test_prefer_mig(void **state)
{
    for (uint32_t i = 0; i < 2; i++) {
        add_gpu(i, "A100", true);
        for (uint32_t k = 0; k < 3; k++)
            add_mig("2g.20gb", 2 * k, 20, 2);
    }
    config->flags.plugin.id = DV_PLUGIN_ID_INDEX;
    config->flags.mig_strategy = DV_MIG_STRATEGY_SINGLE;
    make();
    assert_preferred("0:1 0:2 1:0 1:1 1:2", "", 2, "1:0 0:1");
    config->flags.plugin.policy = DV_PLUGIN_PACKED;
    make();
    assert_preferred("0:1 0:2 1:0 1:1 1:2", "", 3, "0:1 0:2 1:0");
}

static void test_prefer_percent(void **state)
{
    add_gpu(0, "A100", false);
    add_gpu(1, "A100", false);
    config->flags.plugin.id = DV_PLUGIN_ID_INDEX;
    share(DV_PLUGIN_GOVERNED, (struct dv_plugin_share){.percent = true}, NULL);
    make();
    /* Best fit: where the least is left over. */
    assert_preferred("0::p1 0::p2 0::p3 0::p4 1::p7 1::p8 1::p9", "", 3, "1::p7 1::p8 1::p9");
    assert_preferred("0::p1 0::p2 0::p3 0::p4 1::p7 1::p8 1::p9", "", 4, "0::p1 0::p2 0::p3 0::p4");
    assert_preferred("0::p1 0::p2 0::p3 0::p4 1::p7 1::p8 1::p9", "0::p3", 2, "0::p3 0::p1");
    assert_preferred(
        "0::p1 0::p2 1::p7", "", 3,
        "divvy.dev/gpu-percent: 3% of one GPU are asked for, and the most that one has "
        "free is 2%");
    assert_preferred("0::p1 1::p7 1::p1", "0::p1 1::p7", 3,
                     "divvy.dev/gpu-percent: the tokens that must be in lie on 2 GPUs, and a "
                     "fraction is of one");
}

/* ---- what a container gets ---- */

static void test_allocate(void **state)
{
    static const char *const ids[] = {"1::0", "0::1", "1::2"}, *const no[] = {"0::0", "2::0"};
    static const char *const twice[] = {"0::0", "0::0"};
    static struct dv_offer_answer a;
    add_gpu(0, "A100", false);
    add_gpu(1, "A100", false);
    config->flags.plugin.id = DV_PLUGIN_ID_INDEX;
    share(DV_PLUGIN_TIME_SLICING, (struct dv_plugin_share){.replicas = 4}, NULL);
    make();
    assert_int_equal(dv_offers_allocate(offers, &offers->offers[0], ids, 3, &a), 0);
    assert_int_equal(a.refusal, DV_OFFER_GRANTED);
    assert_int_equal(a.n, 2);
    assert_int_equal(a.grants[0].device, 0);
    assert_int_equal(a.grants[1].units, 2);
    assert_int_equal(a.grants[1].memory_bytes, 40 * GIB);
    assert_int_equal(a.grants[1].compute, 3500);
    dv_offers_allocate(offers, &offers->offers[0], no, 2, &a);
    assert_int_equal(a.refusal, DV_OFFER_UNKNOWN_ID);
    assert_string_equal(a.id, "2::0");
    dv_offers_allocate(offers, &offers->offers[0], twice, 2, &a);
    assert_int_equal(a.refusal, DV_OFFER_TWICE);
    config->sharing[DV_PLUGIN_TIME_SLICING].fail_above_one = true;
    make();
    dv_offers_allocate(offers, &offers->offers[0], ids, 3, &a);
    assert_int_equal(a.refusal, DV_OFFER_ABOVE_ONE);
    assert_int_equal(a.asked, 3);
    dv_offers_allocate(offers, &offers->offers[0], ids, 1, &a);
    assert_int_equal(a.refusal, DV_OFFER_GRANTED);
    dv_offers_allocate(offers, &offers->offers[0], NULL, 0, &a);
    assert_int_equal(a.refusal, DV_OFFER_GRANTED);
    assert_int_equal(a.n, 0);
}

static void test_allocate_percent(void **state)
{
    static const char *const ids[] = {"1::p0", "0::p1"};
    static char names[100][DV_OFFERS_ID];
    const char *all[100];
    static struct dv_offer_answer a;
    add_gpu(0, "A100", false);
    add_gpu(1, "A100", false);
    devices[0].memory_bytes = 85899345999;
    config->flags.plugin.id = DV_PLUGIN_ID_INDEX;
    share(DV_PLUGIN_GOVERNED, (struct dv_plugin_share){.percent = true}, NULL);
    make();
    dv_offers_allocate(offers, &offers->offers[0], ids, 2, &a);
    assert_int_equal(a.refusal, DV_OFFER_SEVERAL_GPUS);
    for (int i = 0; i < 100; i++) {
        snprintf(names[i], sizeof names[i], "0::p%d", i);
        all[i] = names[i];
    }
    dv_offers_allocate(offers, &offers->offers[0], all, 100, &a);
    assert_int_equal(a.refusal, DV_OFFER_GRANTED);
    assert_int_equal(a.grants[0].memory_bytes, 85899345999);
    assert_int_equal(a.grants[0].compute, DV_COMPUTE_FULL);
}

/* ---- layout and changes ---- */

static void test_layout(void **state)
{
    dv_cleanup(dv_layout_freep) struct dv_layout *l = NULL;
    for (uint32_t i = 0; i < 4; i++)
        add_gpu(i, "A100", false);
    config->sharing[DV_PLUGIN_TIME_SLICING].rename_by_default = true;
    share(DV_PLUGIN_TIME_SLICING, (struct dv_plugin_share){.replicas = 2}, "0,2");
    share(DV_PLUGIN_GOVERNED, sliced, "1");
    make();
    assert_int_equal(dv_offers_layout(offers, &l, &err), 0);
    assert_int_equal(l->n_rules, 2);
    static const enum dv_mode modes[] = {DV_MODE_TIMESLICE, DV_MODE_GOVERNED, DV_MODE_TIMESLICE,
                                         DV_MODE_AUTO};
    for (uint32_t i = 0; i < 4; i++) {
        struct dv_layout_sharing s = dv_layout_rule_for(l, &node, &devices[i]);
        assert_int_equal(s.mode, modes[i]);
        assert_int_equal(s.replicas, modes[i] == DV_MODE_TIMESLICE ? 2 : 0);
    }
}

static void test_diff(void **state)
{
    static struct dv_offers_diff d;
    add_gpu(0, "A100", false);
    make();
    dv_offers_diff(NULL, offers, &d);
    assert_int_equal(d.n, 1);
    assert_int_equal(d.changes[0].change, DV_OFFER_APPEARS);
    dv_cleanup(dv_offers_freep) struct dv_offers *before = offers;
    offers = NULL;
    make();
    dv_offers_diff(before, offers, &d);
    assert_int_equal(d.changes[0].change, DV_OFFER_SAME);
    gpus[0].health = DV_GPU_HEALTH_FAILED;
    make();
    dv_offers_diff(before, offers, &d);
    assert_int_equal(d.changes[0].change, DV_OFFER_CHANGES);
    share(DV_PLUGIN_GOVERNED, sliced, NULL);
    make();
    dv_offers_diff(before, offers, &d);
    assert_int_equal(d.n, 3);
    assert_string_equal(d.changes[0].name, "nvidia.com/gpu");
    assert_int_equal(d.changes[0].change, DV_OFFER_VANISHES);
    assert_string_equal(d.changes[2].name, "nvidia.com/half");
    assert_int_equal(d.changes[2].change, DV_OFFER_APPEARS);
}

/* ---- at random ---- */

static void random_node(struct dv_rng *rng)
{
    uint32_t n = (uint32_t)dv_rng_below(rng, 7);
    for (uint32_t i = 0; i < n; i++) {
        bool mig = dv_rng_below(rng, 3) == 0;
        add_gpu(i, dv_rng_below(rng, 2) ? "A100" : "H100", mig);
        gpus[i].health = dv_rng_below(rng, 5) ? DV_GPU_HEALTH_OK : DV_GPU_HEALTH_FAILED;
        for (uint32_t k = (uint32_t)dv_rng_below(rng, 4); mig && k; k--)
            add_mig("2g.20gb", 6 - 2 * k, 20, 2);
    }
    dv_topology_init(&node.topology, n);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < i; k++)
            dv_topology_set(&node.topology, i, k,
                            (struct dv_link){(enum dv_link_kind)dv_rng_below(rng, DV_LINK_SELF),
                                             (uint32_t)dv_rng_below(rng, 4)});
}

static void random_config(struct dv_rng *rng)
{
    config->flags.mig_strategy = (uint32_t)dv_rng_below(rng, 3);
    config->flags.plugin.id = (uint32_t)dv_rng_below(rng, 2);
    config->flags.plugin.policy = (uint32_t)dv_rng_below(rng, 2);
    for (int s = 0; s < DV_PLUGIN_SECTIONS; s++) {
        config->sharing[s].rename_by_default = dv_rng_below(rng, 4);
        config->sharing[s].fail_above_one = dv_rng_below(rng, 2);
        for (uint64_t n = dv_rng_below(rng, 3); n; n--) {
            struct dv_plugin_share x = {.replicas = 1 + (uint32_t)dv_rng_below(rng, 5)};
            if (s == DV_PLUGIN_GOVERNED && dv_rng_below(rng, 2))
                x = dv_rng_below(rng, 2) ? sliced : (struct dv_plugin_share){.percent = true};
            if (dv_rng_below(rng, 2))
                memcpy(x.name, "nvidia.com/mig-2g.20gb", 23);
            x.count = (uint32_t)dv_rng_below(rng, 3);
            share((enum dv_plugin_section)s, x,
                  x.count                ? NULL
                  : dv_rng_below(rng, 2) ? "0,2,1:0"
                                         : NULL);
        }
    }
}

static void check_units(void)
{
    const struct dv_offer *found;
    for (uint32_t i = 0; i < offers->n_offers; i++) {
        const struct dv_offer *o = &offers->offers[i];
        assert_true(o->n_units && strlen(o->name) <= 63);
        assert_true(!i || strcmp(offers->offers[i - 1].name, o->name) < 0);
        assert_ptr_equal(dv_offers_find(offers, o->name), o);
        for (uint32_t k = 0; k < o->n_units; k++) {
            const struct dv_offer_unit *u = &o->units[k];
            struct dv_offer_id id;
            char text[DV_OFFERS_ID];
            assert_true(!k || o->units[k - 1].device <= u->device);
            assert_int_equal(dv_offers_id_parse(u->id, &id), 0);
            assert_int_equal(id.kind, o->kind);
            assert_string_equal(id.device, offers->devices[u->device].name);
            assert_int_equal(dv_offers_id_format(&id, text), 0);
            assert_string_equal(text, u->id);
            /* The first resource that has the id is this one, so no other has it. */
            assert_ptr_equal(dv_offers_search(offers, u->id, &found), u);
            assert_ptr_equal(found, o);
            assert_true(u->memory_bytes && u->compute);
        }
    }
}

/* What is offered of a device never adds up to more than the device. */
static void check_sums(void)
{
    for (uint32_t d = 0; d < offers->n_devices; d++) {
        uint64_t memory = 0, compute = 0;
        for (uint32_t i = 0; i < offers->n_offers; i++) {
            for (uint32_t k = 0; k < offers->offers[i].n_units; k++) {
                const struct dv_offer_unit *u = &offers->offers[i].units[k];
                memory += u->device == d ? u->memory_bytes : 0;
                compute += u->device == d ? u->compute : 0;
            }
        }
        assert_true(memory && memory <= offers->devices[d].memory_bytes);
        assert_true(compute <= offers->devices[d].compute);
    }
}

static void check_spread(const struct dv_offer *o, const bool *available, const char *const *got,
                         uint32_t n, uint32_t n_must)
{
    uint32_t on[DV_GPUS_MAX] = {0}, left[DV_GPUS_MAX] = {0};
    for (uint32_t i = 0; i < o->n_units; i++)
        left[offers->devices[o->units[i].device].gpu] += available[i];
    for (uint32_t i = 0; i < n; i++) {
        uint32_t gpu = offers->devices[dv_offers_unit(o, got[i])->device].gpu;
        on[gpu]++;
        left[gpu] -= available[dv_offers_unit(o, got[i]) - o->units];
    }
    for (uint32_t a = n_must ? DV_GPUS_MAX : 0; a < DV_GPUS_MAX; a++)
        for (uint32_t b = 0; on[a] > 1 && b < DV_GPUS_MAX; b++)
            assert_true(on[b] || !left[b]); /* nobody has two while another could give one */
}

static void check_preferred(struct dv_rng *rng, const struct dv_offer *o)
{
    static const char *available[1024], *must[8], *got[1024], *again[1024];
    static bool free_units[1024], seen[1024];
    struct dv_offer_request q = {available, 0, must, 0, 0};
    for (uint32_t i = 0; i < o->n_units; i++) {
        seen[i] = false;
        free_units[i] = dv_rng_below(rng, 3);
        if (free_units[i])
            available[q.n_available++] = o->units[i].id;
    }
    if (!q.n_available)
        return;
    if (!dv_rng_below(rng, 3))
        must[q.n_must++] = available[dv_rng_below(rng, q.n_available)];
    q.size = (uint32_t)(1 + dv_rng_below(rng, DV_MIN(q.n_available, 12u)));
    int r = dv_offers_prefer(offers, o, &q, &node.topology, got, &err);
    if (r < 0) {
        assert_int_equal(o->kind, DV_OFFER_PERCENT); /* on no one GPU */
        return;
    }
    assert_int_equal(dv_offers_prefer(offers, o, &q, &node.topology, again, &err), 0);
    for (uint32_t i = 0; i < q.size; i++) {
        const struct dv_offer_unit *u = dv_offers_unit(o, got[i]);
        assert_non_null(u);
        assert_true(free_units[u - o->units] && !seen[u - o->units]);
        seen[u - o->units] = true;
        assert_string_equal(got[i], again[i]);
        if (i < q.n_must)
            assert_string_equal(got[i], must[i]);
    }
    if (o->kind == DV_OFFER_REPLICA || o->kind == DV_OFFER_SLICE)
        check_spread(o, free_units, got, q.size, (uint32_t)q.n_must);
    static struct dv_offer_answer a;
    assert_int_equal(dv_offers_allocate(offers, o, got, q.size, &a), 0);
    assert_true(a.refusal == DV_OFFER_GRANTED ||
                (a.refusal == DV_OFFER_ABOVE_ONE && o->fail_above_one && q.size > 1));
}

static void test_at_random(void **state)
{
    struct dv_rng rng = {42};
    uint32_t made = 0;
    for (int round = 0; round < ROUNDS; round++) {
        static struct dv_offers_diff d;
        dv_plugin_config_free(config);
        set_up(NULL);
        random_node(&rng);
        random_config(&rng);
        dv_cleanup(dv_offers_freep) struct dv_offers *twin = NULL;
        if (dv_offers_make(config, &node, &offers, &err) < 0)
            continue;
        made++;
        assert_int_equal(dv_offers_make(config, &node, &twin, &err), 0);
        dv_offers_diff(twin, offers, &d);
        for (uint32_t i = 0; i < d.n; i++)
            assert_int_equal(d.changes[i].change, DV_OFFER_SAME);
        check_units();
        check_sums();
        for (uint32_t i = 0; i < offers->n_offers; i++)
            check_preferred(&rng, &offers->offers[i]);
        dv_offers_free(offers);
        offers = NULL;
    }
    assert_true(made > ROUNDS / 4);
}

/* A set is the best: against every other of its size, by pairs. */
static void test_best_set(void **state)
{
    struct dv_rng rng = {7};
    static const uint32_t weight[] = {0, 10, 20, 30, 40, 50, 100, 0};
    for (int round = 0; round < 100; round++) {
        const char *available[6], *got[6];
        uint32_t near[6][6], most = 0, have = 0, size = 2 + (uint32_t)dv_rng_below(&rng, 3);
        node.n_gpus = node.n_devices = 0;
        dv_topology_init(&node.topology, 6);
        for (uint32_t i = 0; i < 6; i++) {
            add_gpu(i, "A100", false);
            gpus[i].numa = -1;
            for (uint32_t k = 0; k < i; k++) {
                struct dv_link link = {(enum dv_link_kind)dv_rng_below(&rng, DV_LINK_SELF), 1};
                dv_topology_set(&node.topology, i, k, link);
                near[i][k] = near[k][i] = weight[link.kind];
            }
        }
        make();
        for (uint32_t i = 0; i < 6; i++)
            available[i] = offers->offers[0].units[i].id;
        struct dv_offer_request q = {available, 6, NULL, 0, size};
        assert_int_equal(
            dv_offers_prefer(offers, &offers->offers[0], &q, &node.topology, got, &err), 0);
        for (uint32_t set = 0; set < 64; set++) {
            uint32_t sum = 0, mine = 0;
            for (uint32_t i = 0; i < size; i++)
                mine |= 1u << dv_offers_unit(&offers->offers[0], got[i])->device;
            for (uint32_t i = 0; i < 6; i++)
                for (uint32_t k = 0; k < i; k++)
                    sum += set >> i & set >> k & 1 ? near[i][k] : 0;
            if ((uint32_t)__builtin_popcount(set) == size)
                most = DV_MAX(most, sum);
            if (set == mine)
                have = sum;
        }
        assert_int_equal(have, most);
    }
}

/* More GPUs than every set of is tried: two of 32 pairs, each pair on its own NUMA node. */
static void test_many_gpus(void **state)
{
    const char *available[64], *got[64];
    for (uint32_t i = 0; i < 64; i++) {
        add_gpu(i, "A100", false);
        gpus[i].numa = (int32_t)(i * 7 % 16);
    }
    make();
    for (uint32_t i = 0; i < 64; i++)
        available[i] = offers->offers[0].units[i].id;
    struct dv_offer_request q = {available, 64, NULL, 0, 4};
    assert_int_equal(dv_offers_prefer(offers, &offers->offers[0], &q, &node.topology, got, &err),
                     0);
    for (uint32_t i = 1; i < 4; i++)
        assert_int_equal(offers->devices[dv_offers_unit(&offers->offers[0], got[i])->device].numa,
                         offers->devices[dv_offers_unit(&offers->offers[0], got[0])->device].numa);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_whole),
        TEST(test_patterns),
        TEST(test_mig_strategies),
        TEST(test_replicas),
        TEST(test_different_gpus_shared_differently),
        TEST(test_devices_by_number),
        TEST(test_slices),
        TEST(test_percent_of_mig),
        TEST(test_health),
        TEST(test_ids),
        TEST(test_prefer_gpus),
        TEST(test_prefer_behind_nvswitch),
        TEST(test_prefer_numa),
        TEST(test_prefer_shares),
        TEST(test_prefer_mig),
        TEST(test_prefer_percent),
        TEST(test_allocate),
        TEST(test_allocate_percent),
        TEST(test_layout),
        TEST(test_diff),
        TEST(test_at_random),
        TEST(test_best_set),
        TEST(test_many_gpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
