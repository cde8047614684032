/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"
#include "base/str.h"
#include "policy/labels.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A node of up to four GPUs; those in MIG mode have the devices that a test gives them. */
struct node {
    struct dv_snapshot s;
    struct dv_gpu gpus[4];
    struct dv_device devices[16];
    struct dv_labels_settings settings;
    struct dv_labels_driver driver;
};

static struct node n;

static int setup(void **state)
{
    n = (struct node){.driver = {"550.54.15", 12040}};
    n.s.gpus = n.gpus;
    n.s.devices = n.devices;
    return 0;
}

static struct dv_gpu *add_gpu(const char *model, bool mig)
{
    struct dv_gpu *g = &n.gpus[n.s.n_gpus];
    *g = (struct dv_gpu){.index = (uint32_t)n.s.n_gpus++,
                         .memory_bytes = 40960 * DV_MIB,
                         .cc_major = 8,
                         .pci_class = 0x0302,
                         .mig_capable = true,
                         .mig_enabled = mig};
    assert_int_equal(dv_str_copy(g->model, sizeof g->model, model), 0);
    return g;
}

static struct dv_device *add_mig(const char *profile, uint32_t slices)
{
    struct dv_device *d = &n.devices[n.s.n_devices++];
    *d = (struct dv_device){.gpu = (uint32_t)n.s.n_gpus - 1,
                            .mig = true,
                            .memory_bytes = slices * 4864 * DV_MIB,
                            .gi_slices = slices,
                            .ci_slices = slices,
                            .sm = 14 * slices,
                            .engines = {.copy = (int8_t)slices, .decoder = 1}};
    assert_int_equal(dv_str_copy(d->profile, sizeof d->profile, profile), 0);
    return d;
}

static void make(struct dv_labels *ret)
{
    assert_int_equal(dv_labels_make(&n.s, &n.driver, &n.settings, ret), 0);
    for (size_t i = 1; i < ret->n; i++)
        assert_true(strcmp(ret->list[i - 1].key, ret->list[i].key) < 0);
}

/* The labels whose key begins so, without that prefix: "count=1 memory=40960 ..." */
static void assert_labels(const char *prefix, const char *expected)
{
    dv_cleanup(dv_labels_done) struct dv_labels labels = {0};
    dv_cleanup(dv_str_done) struct dv_str got = {0};
    make(&labels);
    for (size_t i = 0; i < labels.n; i++)
        if (!strncmp(labels.list[i].key, prefix, strlen(prefix)))
            dv_str_addf(&got, "%s%s=%s", got.len ? " " : "", labels.list[i].key + strlen(prefix),
                        labels.list[i].value);
    assert_string_equal(dv_str_get(&got), expected);
}

static void share(const char *name, uint32_t replicas, enum dv_labels_sharing sharing, bool renamed)
{
    static struct dv_labels_resource r;
    r = (struct dv_labels_resource){name, replicas, sharing, renamed};
    n.settings.resources = &r;
    n.settings.n_resources = 1;
}

static void test_a_whole_gpu(void **state)
{
    add_gpu("NVIDIA A100-SXM4-40GB", false);
    n.settings.machine = "DGX A100 (920-23687)\n";
    n.settings.timestamp = 1700000000;
    assert_labels("nvidia.com/",
                  "cuda.driver-version.full=550.54.15 cuda.driver-version.major=550 "
                  "cuda.driver-version.minor=54 cuda.driver-version.revision=15 "
                  "cuda.driver.major=550 cuda.driver.minor=54 cuda.driver.rev=15 "
                  "cuda.runtime-version.full=12.4 cuda.runtime-version.major=12 "
                  "cuda.runtime-version.minor=4 cuda.runtime.major=12 cuda.runtime.minor=4 "
                  "gfd.timestamp=1700000000 gpu.compute.major=8 gpu.compute.minor=0 gpu.count=1 "
                  "gpu.family=ampere gpu.machine=DGX-A100-920-23687 gpu.memory=40960 "
                  "gpu.mode=compute gpu.product=NVIDIA-A100-SXM4-40GB gpu.replicas=1 "
                  "gpu.sharing-strategy=none mig.capable=true mps.capable=false "
                  "vgpu.present=false");
}

static void test_no_gpu(void **state)
{
    n.settings.timestamp = 1;
    assert_labels("nvidia.com/", "gfd.timestamp=1 vgpu.present=false");
}

static void test_what_is_not_known(void **state)
{
    struct dv_gpu *g = add_gpu("", false);
    g->memory_bytes = g->cc_major = g->pci_class = 0;
    g->mig_capable = false;
    n.driver = (struct dv_labels_driver){.version = "418"};
    assert_labels("nvidia.com/", "cuda.driver-version.full=418 gpu.count=1 gpu.machine=unknown "
                                 "gpu.mode=unknown gpu.product= gpu.replicas=1 "
                                 "gpu.sharing-strategy=none mig.capable=false mps.capable=false "
                                 "vgpu.present=false");
    n.driver.version = "418.40";
    assert_labels("nvidia.com/cuda.driver.", "major=418 minor=40 rev=");
}

#define GPU_40(count, product, replicas, strategy)                                                 \
    "compute.major=8 compute.minor=0 count=" count " family=ampere machine=unknown memory=40960 "  \
    "mode=compute product=" product " replicas=" replicas " sharing-strategy=" strategy

static void test_sharing(void **state)
{
    add_gpu("NVIDIA A100", false);
    add_gpu("NVIDIA A100", false);
    share("nvidia.com/gpu", 4, DV_LABELS_TIME_SLICING, false);
    assert_labels("nvidia.com/gpu.", GPU_40("2", "NVIDIA-A100-SHARED", "4", "time-slicing"));
    assert_labels("nvidia.com/mps.", "capable=false");
    share("nvidia.com/gpu", 4, DV_LABELS_MPS, true);
    assert_labels("nvidia.com/gpu.", GPU_40("2", "NVIDIA-A100", "4", "mps"));
    assert_labels("nvidia.com/mps.", "capable=true");
    share("nvidia.com/gpu", 100, DV_LABELS_GOVERNED, false);
    assert_labels("nvidia.com/gpu.", GPU_40("2", "NVIDIA-A100-SHARED", "100", "governed"));
    share("nvidia.com/gpu", 1, DV_LABELS_MPS, false);
    assert_labels("nvidia.com/gpu.", GPU_40("2", "NVIDIA-A100", "1", "none"));
    assert_labels("nvidia.com/mps.", "capable=false");
    share("nvidia.com/other", 3, DV_LABELS_TIME_SLICING, false);
    assert_labels("nvidia.com/gpu.", GPU_40("2", "NVIDIA-A100", "1", "none"));
}

/* Without a strategy a GPU in MIG mode is counted, and is nobody's resource. */
static void test_mig_none(void **state)
{
    add_gpu("NVIDIA A100", true);
    add_mig("1g.5gb", 1);
    share("nvidia.com/gpu", 2, DV_LABELS_TIME_SLICING, false);
    assert_labels("nvidia.com/gpu.", GPU_40("1", "NVIDIA-A100", "0", "none"));
    assert_labels("nvidia.com/mig", ".capable=true");
    add_gpu("NVIDIA A100", false);
    assert_labels("nvidia.com/gpu.", GPU_40("2", "NVIDIA-A100-SHARED", "2", "time-slicing"));
    share("nvidia.com/gpu", 2, DV_LABELS_MPS, false);
    assert_labels("nvidia.com/mps.", "capable=false");
}

#define INVALID                                                                                    \
    "compute.major=8 compute.minor=0 count=0 family=ampere machine=unknown memory=0 mode=compute " \
    "product=NVIDIA-A100-MIG-INVALID replicas=0 sharing-strategy="

static void test_mig_single(void **state)
{
    n.settings.mig = DV_MIG_STRATEGY_SINGLE;
    add_gpu("NVIDIA A100", false);
    assert_labels("nvidia.com/gpu.", GPU_40("1", "NVIDIA-A100", "1", "none"));
    assert_labels("nvidia.com/mig.", "capable=true strategy=single");
    n.gpus[0].mig_enabled = true;
    assert_labels("nvidia.com/gpu.", INVALID); /* no device */
    add_mig("2g.10gb", 2);
    add_mig("2g.10gb", 2);
    add_gpu("NVIDIA A100", true);
    assert_labels("nvidia.com/gpu.", INVALID); /* no device on the second */
    add_mig("2g.10gb", 2);
    assert_labels("nvidia.com/gpu.",
                  "compute.major=8 compute.minor=0 count=3 engines.copy=2 engines.decoder=1 "
                  "engines.encoder=0 engines.jpeg=0 engines.ofa=0 family=ampere machine=unknown "
                  "memory=9728 mode=compute multiprocessors=28 "
                  "product=NVIDIA-A100-MIG-2g.10gb replicas=1 sharing-strategy=none slices.ci=2 "
                  "slices.gi=2");
    share("nvidia.com/gpu", 2, DV_LABELS_TIME_SLICING, false);
    dv_cleanup(dv_labels_done) struct dv_labels labels = {0};
    make(&labels);
    assert_string_equal(dv_labels_get(&labels, "nvidia.com/gpu.product"),
                        "NVIDIA-A100-MIG-2g.10gb-SHARED");
    assert_null(dv_labels_get(&labels, "nvidia.com/mig-2g.10gb.count"));
    n.settings.n_resources = 0;
    add_mig("1g.5gb", 1); /* two profiles */
    assert_labels("nvidia.com/gpu.", INVALID);
    n.s.n_devices--;
    add_gpu("NVIDIA A100", false); /* one that is whole */
    assert_labels("nvidia.com/gpu.", INVALID);
}

static void test_mig_mixed(void **state)
{
    n.settings.mig = DV_MIG_STRATEGY_MIXED;
    add_gpu("NVIDIA A100", true);
    add_mig("1g.5gb", 1);
    add_mig("1g.5gb+me", 1);
    add_gpu("NVIDIA A100", true);
    add_mig("1g.5gb", 1);
    share("nvidia.com/mig-1g.5gb", 3, DV_LABELS_TIME_SLICING, false);
    assert_labels("nvidia.com/gpu.", GPU_40("2", "NVIDIA-A100", "0", "none"));
    assert_labels("nvidia.com/mig-1g.5gb.co", "unt=2");
    assert_labels("nvidia.com/mig-1g.5gb.p", "roduct=NVIDIA-A100-MIG-1g.5gb-SHARED");
    assert_labels("nvidia.com/mig-1g.5gb.me.",
                  "count=1 engines.copy=1 engines.decoder=1 engines.encoder=0 engines.jpeg=0 "
                  "engines.ofa=0 memory=4864 multiprocessors=14 "
                  "product=NVIDIA-A100-MIG-1g.5gb.me replicas=1 sharing-strategy=none "
                  "slices.ci=1 slices.gi=1");
    assert_labels("nvidia.com/mig.", "capable=true strategy=mixed");
}

static void test_several_models(void **state)
{
    add_gpu("Tesla T4", false)->cc_minor = 5;
    add_gpu("NVIDIA A100", false);
    add_gpu("NVIDIA A100", false);
    assert_labels("nvidia.com/gpu.", GPU_40("2", "NVIDIA-A100", "1", "none"));
    n.s.n_gpus = 2; /* as many of each: the first */
    n.gpus[0].cc_major = 7;
    assert_labels("nvidia.com/gpu.f", "amily=turing");
    n.gpus[0].mig_enabled = true; /* whole ones before those in MIG mode */
    assert_labels("nvidia.com/gpu.p", "roduct=NVIDIA-A100");
    n.gpus[0].pci_class = 0x0300;
    assert_labels("nvidia.com/gpu.mo", "de=unknown");
}

static void test_families(void **state)
{
    static const struct {
        uint32_t major, minor;
        const char *name;
    } all[] = {{6, 1, "pascal"},     {7, 0, "volta"},        {7, 5, "turing"},
               {8, 6, "ampere"},     {8, 9, "ada-lovelace"}, {9, 0, "hopper"},
               {10, 0, "blackwell"}, {12, 0, "blackwell"},   {4, 0, "undefined"},
               {99, 0, "undefined"}};
    struct dv_gpu *g = add_gpu("X", false);
    for (size_t i = 0; i < DV_ARRAY_SIZE(all); i++) {
        dv_cleanup(dv_labels_done) struct dv_labels labels = {0};
        g->cc_major = all[i].major;
        g->cc_minor = all[i].minor;
        make(&labels);
        assert_string_equal(dv_labels_get(&labels, "nvidia.com/gpu.family"), all[i].name);
    }
}

static void test_clique(void **state)
{
    struct dv_gpu *a = add_gpu("NVIDIA GB200", false), *b = add_gpu("NVIDIA GB200", false);
    assert_labels("nvidia.com/gpu.cl", "");
    strcpy(a->fabric_cluster, "00010203-0405-0607-0809-0a0b0c0d0e0f");
    a->fabric_clique = 7;
    assert_labels("nvidia.com/gpu.cl", "ique=00010203-0405-0607-0809-0a0b0c0d0e0f.7");
    strcpy(b->fabric_cluster, a->fabric_cluster);
    assert_labels("nvidia.com/gpu.cl", ""); /* they do not agree */
}

static void test_sanitise(void **state)
{
    static const char *const pairs[][2] = {
        {"a space separated string", "a-space-separated-string"},
        {"NVIDIA TITAN X (Pascal)", "NVIDIA-TITAN-X-Pascal"},
        {"  input  with   spaces ", "input-with-spaces"},
        {"some / thing /else", "some-thing-else"},
        {"as-it.is_1", "as-it.is_1"},
        {"-begins and ends._", "begins-and-ends"},
        {"\xc3\xa9t\xc3\xa9", "t"},
        {"((", ""},
    };
    char out[DV_LABELS_VALUE];
    for (size_t i = 0; i < DV_ARRAY_SIZE(pairs); i++) {
        dv_labels_sanitise(pairs[i][0], 63, out);
        assert_string_equal(out, pairs[i][1]);
    }
    dv_labels_sanitise("abc def", 4, out);
    assert_string_equal(out, "abc"); /* the blank would be its end */
}

static bool is_value(const char *v)
{
    size_t len = strlen(v);
    static const char alnum[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    char all[sizeof alnum + 3];
    snprintf(all, sizeof all, "%s-_.", alnum);
    return len < DV_LABELS_VALUE && strspn(v, all) == len &&
           (!len || (strchr(alnum, v[0]) && strchr(alnum, v[len - 1])));
}

static void random_text(struct dv_rng *rng, char *to, size_t size)
{
    static const char some[] = "abcXYZ019-_. ()+/\xff\n";
    size_t len = dv_rng_below(rng, size);
    for (size_t i = 0; i < len; i++)
        to[i] = some[dv_rng_below(rng, sizeof some - 1)];
    to[len] = 0;
}

/* Whatever a driver says, every label is one that Kubernetes takes, and none is there twice. */
static void test_any_node(void **state)
{
    struct dv_rng rng = {1};
    char machine[200], version[100];
    for (int round = 0; round < 3000; round++) {
        dv_cleanup(dv_labels_done) struct dv_labels labels = {0};
        setup(NULL);
        for (uint64_t i = dv_rng_below(&rng, 5); i; i--) {
            struct dv_gpu *g = add_gpu("", dv_rng_below(&rng, 2));
            random_text(&rng, g->model, sizeof g->model);
            for (uint64_t k = g->mig_enabled ? dv_rng_below(&rng, 4) : 0; k; k--)
                random_text(&rng, add_mig("", 1)->profile, DV_MIG_NAME);
        }
        random_text(&rng, machine, sizeof machine);
        random_text(&rng, version, sizeof version);
        n.settings.machine = machine;
        n.driver.version = version;
        n.settings.mig = (enum dv_mig_strategy)dv_rng_below(&rng, 3);
        share("nvidia.com/gpu", (uint32_t)dv_rng_below(&rng, 3), DV_LABELS_MPS, false);
        make(&labels);
        for (size_t i = 0; i < labels.n; i++) {
            assert_true(is_value(labels.list[i].value));
            assert_memory_equal(labels.list[i].key, "nvidia.com/", 11);
            assert_true(is_value(labels.list[i].key + 11));
        }
    }
}

static void test_the_suffix_is_not_cut(void **state)
{
    add_gpu("NVIDIA with a name that is longer than any label of a node may ever be", false);
    share("nvidia.com/gpu", 2, DV_LABELS_TIME_SLICING, false);
    assert_labels("nvidia.com/gpu.p",
                  "roduct=NVIDIA-with-a-name-that-is-longer-than-any-label-of-a-no-SHARED");
}

static void test_equal(void **state)
{
    dv_cleanup(dv_labels_done) struct dv_labels a = {0}, b = {0}, c = {0}, d = {0};
    add_gpu("NVIDIA A100", false);
    make(&a);
    n.settings.timestamp = 5;
    make(&b);
    n.settings.timestamp = 6;
    n.settings.present = true;
    make(&c);
    n.settings.present = false;
    n.gpus[0].memory_bytes = DV_MIB;
    make(&d);
    assert_true(dv_labels_equal(&a, &b) && dv_labels_equal(&b, &a));
    assert_false(dv_labels_equal(&b, &c));
    assert_false(dv_labels_equal(&b, &d));
    assert_false(dv_labels_equal(&(struct dv_labels){0}, &a));
    assert_null(dv_labels_get(&(struct dv_labels){0}, "x"));
}

static void test_what_a_layout_says(void **state)
{
    struct dv_labels_resource r[2];
    char names[2][DV_LABELS_RESOURCE_NAME];
    add_gpu("NVIDIA A100", false);
    for (uint32_t i = 0; i < 2; i++)
        n.devices[n.s.n_devices++] =
            (struct dv_device){.replicas = 2 + i, .layout = DV_MODE_GOVERNED};
    assert_int_equal(dv_labels_sharing_of(&n.s, DV_MIG_STRATEGY_MIXED, r, names, 2), 1);
    assert_string_equal(r[0].name, "nvidia.com/gpu");
    assert_true(r[0].replicas == 3 && r[0].sharing == DV_LABELS_GOVERNED);
    struct dv_device *d = add_mig("1g.5gb", 1);
    d->replicas = 4;
    d->layout = DV_MODE_TIMESLICE;
    assert_int_equal(dv_labels_sharing_of(&n.s, DV_MIG_STRATEGY_MIXED, r, names, 2), 2);
    assert_string_equal(r[1].name, "nvidia.com/mig-1g.5gb");
    assert_int_equal(r[1].sharing, DV_LABELS_TIME_SLICING);
    assert_int_equal(dv_labels_sharing_of(&n.s, DV_MIG_STRATEGY_NONE, r, names, 2), 1);
    assert_int_equal(dv_labels_sharing_of(&n.s, DV_MIG_STRATEGY_MIXED, r, names, 1), 1);
}

static void test_what_a_configuration_says(void **state)
{
    static struct dv_plugin_config c;
    static struct dv_labels_resource r[DV_LABELS_CONFIG_MAX];
    struct dv_plugin_share governed[] = {
        {.name = "nvidia.com/gpu", .percent = true},
        {.name = "nvidia.com/mig-1g.5gb", .n_slices = 2, .slices = {{.count = 3}, {.count = 1}}}};
    struct dv_plugin_share sliced[] = {{.name = "nvidia.com/gpu", .replicas = 9},
                                       {.name = "nvidia.com/x", .rename = "y", .replicas = 2},
                                       {.name = "nvidia.com/z", .replicas = 3}};
    struct dv_labels_settings s;
    c.flags.mig_strategy = DV_MIG_STRATEGY_MIXED;
    c.sharing[DV_PLUGIN_GOVERNED].shares = governed;
    c.sharing[DV_PLUGIN_GOVERNED].n_shares = 2;
    c.sharing[DV_PLUGIN_TIME_SLICING].shares = sliced;
    c.sharing[DV_PLUGIN_TIME_SLICING].n_shares = 3;
    dv_labels_configure(&c, r, &s);
    assert_true(s.mig == DV_MIG_STRATEGY_MIXED && s.n_resources == 4 && s.resources == r);
    assert_true(r[0].replicas == 100 && r[0].sharing == DV_LABELS_GOVERNED && r[0].renamed);
    assert_true(r[1].replicas == 4 && r[1].sharing == DV_LABELS_GOVERNED && r[1].renamed);
    assert_true(r[2].replicas == 2 && r[2].sharing == DV_LABELS_TIME_SLICING && r[2].renamed);
    assert_true(r[3].replicas == 3 && !r[3].renamed);
    c.sharing[DV_PLUGIN_TIME_SLICING].ignored = true;
    c.sharing[DV_PLUGIN_GOVERNED].rename_by_default = true;
    dv_labels_configure(&c, r, &s);
    assert_true(s.n_resources == 2 && r[0].renamed);
}

static void test_words(void **state)
{
    enum dv_mig_strategy mig;
    struct dv_err err;
    assert_int_equal(dv_labels_mig_parse("mixed", &mig, &err), 0);
    assert_string_equal(dv_labels_mig_name(mig), "mixed");
    assert_int_equal(dv_labels_mig_parse("Mixed", &mig, &err), -EINVAL);
    assert_string_equal(err.msg, "'Mixed' is no MIG strategy: none, single or mixed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_whole_gpu, setup),
        cmocka_unit_test_setup(test_no_gpu, setup),
        cmocka_unit_test_setup(test_what_is_not_known, setup),
        cmocka_unit_test_setup(test_sharing, setup),
        cmocka_unit_test_setup(test_mig_none, setup),
        cmocka_unit_test_setup(test_mig_single, setup),
        cmocka_unit_test_setup(test_mig_mixed, setup),
        cmocka_unit_test_setup(test_several_models, setup),
        cmocka_unit_test_setup(test_families, setup),
        cmocka_unit_test_setup(test_clique, setup),
        cmocka_unit_test(test_sanitise),
        cmocka_unit_test_setup(test_any_node, setup),
        cmocka_unit_test_setup(test_the_suffix_is_not_cut, setup),
        cmocka_unit_test_setup(test_equal, setup),
        cmocka_unit_test_setup(test_what_a_layout_says, setup),
        cmocka_unit_test(test_what_a_configuration_says),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
