/* SPDX-License-Identifier: Apache-2.0 */
/* The device plugin's configuration as the node agent reads it. What a layout takes of it is in
 * device_plugin_test.c. */
#include "layoutfile/layoutfile.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct dv_layoutfile_info info;
static struct dv_err err;

static struct dv_plugin_config *read_config(const char *text, const char *key)
{
    struct dv_plugin_config *c = NULL;
    memset(&info, 0, sizeof info);
    int r = dv_layoutfile_read_plugin("f.yaml", text, strlen(text), key, &c, &info, &err);
    if (r < 0)
        fail_msg("%d: %s", r, err.msg);
    return c;
}

static void test_everything(void **state)
{
    dv_cleanup(dv_plugin_config_freep) struct dv_plugin_config *c =
        read_config("version: v1\n"
                    "flags:\n"
                    "  migStrategy: mixed\n"
                    "  failOnInitError: false\n"
                    "  nvidiaDriverRoot: /run/nvidia/driver\n"
                    "  plugin:\n"
                    "    deviceListStrategy: [envvar, cdi-cri]\n"
                    "    deviceIDStrategy: index\n"
                    "    sharedDevicesAllocationPolicy: packed\n"
                    "  gfd: {sleepInterval: infinite, noTimestamp: true}\n"
                    "resources:\n"
                    "  gpus: [{pattern: \"*A100*\", name: a100}]\n"
                    "  mig: [{pattern: 1g.*, name: nvidia.com/small}]\n"
                    "sharing:\n"
                    "  timeSlicing:\n"
                    "    renameByDefault: true\n"
                    "    failRequestsGreaterThanOne: true\n"
                    "    resources:\n"
                    "    - {name: a100, rename: a100-turns, devices: 2, replicas: 4}\n"
                    "  governed:\n"
                    "    renameByDefault: true\n"
                    "    resources:\n"
                    "    - {name: nvidia.com/gpu, devices: [0], percent: true}\n"
                    "    - {name: nvidia.com/gpu, devices: [1, 2], replicas: 3}\n"
                    "    - name: nvidia.com/small\n"
                    "      slices:\n"
                    "      - {name: s, memory: 2Gi, compute: 25%, tier: lc}\n"
                    "      - {name: l, rename: divvy.dev/large, memory: 37.5%, compute: 37.5, "
                    "count: 2}\n"
                    "imex: {channelIDs: [0], required: true}\n",
                    NULL);
    assert_int_equal(info.n_warnings, 0);
    assert_int_equal(c->flags.mig_strategy, DV_MIG_STRATEGY_MIXED);
    assert_false(c->flags.fail_on_init_error);
    assert_string_equal(c->flags.driver_root, "/run/nvidia/driver");
    assert_int_equal(c->flags.plugin.list, DV_PLUGIN_LIST_ENVVAR | DV_PLUGIN_LIST_CDI_CRI);
    assert_int_equal(c->flags.plugin.id, DV_PLUGIN_ID_INDEX);
    assert_int_equal(c->flags.plugin.policy, DV_PLUGIN_PACKED);
    assert_true(c->flags.gfd.sleep_ns == DV_NEVER && c->flags.gfd.no_timestamp);
    assert_true(c->flags.imex.channel && c->flags.imex.required);
    assert_string_equal(c->gpus[0].pattern, "*A100*");
    assert_string_equal(c->gpus[0].name, "nvidia.com/a100");
    assert_string_equal(c->mig[0].name, "nvidia.com/small");
    const struct dv_plugin_sharing *turns = &c->sharing[DV_PLUGIN_TIME_SLICING];
    assert_true(turns->given && turns->rename_by_default && turns->fail_above_one);
    assert_string_equal(turns->shares[0].rename, "nvidia.com/a100-turns");
    assert_int_equal(turns->shares[0].count, 2);
    assert_int_equal(turns->shares[0].replicas, 4);
    assert_false(c->sharing[DV_PLUGIN_MPS].given);
    const struct dv_plugin_sharing *governed = &c->sharing[DV_PLUGIN_GOVERNED];
    assert_int_equal(governed->n_shares, 3);
    assert_true(governed->fail_above_one && governed->shares[0].percent);
    assert_int_equal(governed->shares[1].n_list, 2);
    assert_int_equal(governed->shares[2].line, 25);
    const struct dv_plugin_slice *s = governed->shares[2].slices;
    assert_true(s[0].memory_bytes == 2 * DV_GIB);
    assert_int_equal(s[0].compute_share, 1750);
    assert_int_equal(s[0].tier, DV_TIER_LATENCY_CRITICAL);
    assert_int_equal(s[0].count, 1);
    assert_string_equal(s[1].rename, "divvy.dev/large");
    assert_int_equal(s[1].memory_share, 2625);
    assert_int_equal(s[1].compute_share, 2625);
}

static void test_defaults(void **state)
{
    dv_cleanup(dv_plugin_config_freep) struct dv_plugin_config *c =
        read_config("version: v1\n", NULL);
    dv_cleanup(dv_plugin_config_freep) struct dv_plugin_config *fresh = NULL;
    assert_int_equal(dv_plugin_config_new(&fresh), 0);
    assert_memory_equal(c, fresh, sizeof *c);
}

/* A layout takes the governed section too. */
static void test_layout(void **state)
{
    static const char text[] = "sharing:\n"
                               "  governed:\n"
                               "    resources:\n"
                               "    - {name: gpu, devices: [0], percent: true}\n"
                               "    - {name: gpu, devices: [1], replicas: 2, rename: half}\n";
    dv_cleanup(dv_layout_freep) struct dv_layout *l = NULL;
    assert_int_equal(dv_layoutfile_read("f.yaml", text, strlen(text), NULL, &l, &info, &err), 0);
    assert_int_equal(l->n_rules, 2);
    assert_int_equal(l->rules[0].sharing.mode, DV_MODE_GOVERNED);
    assert_int_equal(l->rules[0].sharing.replicas, 0);
    assert_string_equal(l->rules[0].list[0], "0");
    assert_int_equal(l->rules[1].sharing.replicas, 2);
    assert_int_equal(info.n_warnings, 1);
    assert_string_equal(info.warnings[0].text,
                        "rename: it matters under Kubernetes only; the layout does not use it");
}

static void test_warnings(void **state)
{
    dv_cleanup(dv_plugin_config_freep) struct dv_plugin_config *c =
        read_config("sharing:\n"
                    "  mps:\n"
                    "    renameByDefault: true\n"
                    "    resources: [{name: gpu, replicas: 2}]\n"
                    "  timeSlicing:\n"
                    "    resources: [{name: gpu, replicas: 9}]\n"
                    "  governed:\n"
                    "    resources: [{name: gpu, percent: true}]\n",
                    NULL);
    assert_true(c->sharing[DV_PLUGIN_TIME_SLICING].ignored);
    assert_int_equal(info.n_warnings, 2);
    assert_string_equal(info.warnings[0].text,
                        "name: nvidia.com/gpu shares all its devices in sharing.governed already, "
                        "which counts before sharing.mps");
    assert_int_equal(info.warnings[0].line, 4);
    assert_string_equal(info.warnings[1].text,
                        "timeSlicing: mps is given too, and it alone counts");
}

static void test_config_map(void **state)
{
    static const char text[] = "apiVersion: v1\nkind: ConfigMap\ndata:\n"
                               "  a: |\n    version: v1\n"
                               "  b: |\n    flags: {migStrategy: single}\n"
                               "  c: |\n    version: v1\n    mig-configs: {x: []}\n";
    dv_cleanup(dv_plugin_config_freep) struct dv_plugin_config *c = read_config(text, "b");
    struct dv_plugin_config *none = NULL;
    assert_int_equal(c->flags.mig_strategy, DV_MIG_STRATEGY_SINGLE);
    assert_int_equal(
        dv_layoutfile_read_plugin("f.yaml", text, strlen(text), "x", &none, &info, &err), -EINVAL);
    assert_string_equal(err.msg, "f.yaml:9:5: this is no configuration of the device plugin "
                                 "(version: v1, sharing)");
    assert_int_equal(
        dv_layoutfile_read_plugin("f.yaml", text, strlen(text), "d", &none, &info, &err), -ENOENT);
}

#define GOVERNED "sharing:\n  governed:\n    resources:\n"
#define ONE(keys) GOVERNED "    - {name: gpu, " keys "}\n"
#define SLICE(keys) ONE("slices: [{" keys "}]")
#define LONG "a123456789012345678901234567890123456789"

static void test_bad(void **state)
{
    static const struct {
        const char *text, *message;
    } bad[] = {
        {ONE("devices: all"), "f.yaml:4:7: replicas: N, percent: true or slices: [...] is missing"},
        {ONE("percent: false"),
         "f.yaml:4:7: replicas: N, percent: true or slices: [...] is missing"},
        {ONE("percent: true, replicas: 2"),
         "f.yaml:4:7: of replicas, percent and slices one alone is wanted"},
        {ONE("percent: 25"), "f.yaml:4:28: percent: \"25\", where true or false is wanted"},
        {ONE("slices: []"),
         "f.yaml:4:27: slices: at least one is wanted, like {name: small, memory: "
         "10Gi, compute: 25%}"},
        {ONE("memory: 10Gi, replicas: 2"),
         "f.yaml:4:19: unknown key \"memory\" in a shared resource: it belongs to a slice of "
         "sharing.governed"},
        {ONE("replica: 2"),
         "f.yaml:4:19: unknown key \"replica\" in a shared resource; did you mean "
         "\"replicas\"?"},
        {SLICE("name: a, memory: 1Gi"),
         "f.yaml:4:28: compute is missing; a slice is like {name: small, memory: 10Gi, compute: "
         "25%}"},
        {SLICE("name: A, memory: 1Gi, compute: 1"),
         "f.yaml:4:35: name: \"A\" is no slice's name; 1 to 16 small letters, digits and '-' are, "
         "like small"},
        {SLICE("name: a, memory: 1Gi, compute: 101%"),
         "f.yaml:4:60: compute: \"101%\", where a percentage of the device from 1% to 100% is "
         "wanted, like 25%"},
        {SLICE("name: a, memory: lots, compute: 1"),
         "f.yaml:4:46: memory: 'lots' is not a size; write for example 10GiB or 500MB"},
        {SLICE("name: a, memory: 10, compute: 1"),
         "f.yaml:4:46: memory: \"10\" is less than 1 MiB; write a size like 10Gi or a percentage "
         "like 25%"},
        {SLICE("name: a, memory: 60%, compute: 1, count: 2"),
         "f.yaml:4:27: slices: together the slices of a device ask for 120% of its memory, where "
         "100% is all; lower them or their counts"},
        {SLICE("name: a, memory: 1%, compute: 1, count: 0"),
         "f.yaml:4:69: count: \"0\", where a number from 1 to 100 is wanted"},
        {SLICE("name: a, memory: 1%, compute: 1, tier: gold"), "f.yaml:4:68: tier: "},
        {GOVERNED "    - {name: gpu, devices: [0], percent: true}\n"
                  "    - {name: gpu, devices: [1, 0], replicas: 2}\n",
         "f.yaml:5:7: name: nvidia.com/gpu is given twice for device 0; the first is in line 4"},
        {GOVERNED "    - {name: gpu, devices: [0], percent: true}\n"
                  "    - {name: gpu, replicas: 2}\n",
         "f.yaml:5:7: name: nvidia.com/gpu is given twice; the first is in line 4"},
        {ONE("rename: " LONG ", slices: [{name: a123456789012, memory: 1%, compute: 1}]"),
         "f.yaml:4:85: name: the resource would be nvidia.com/" LONG
         "-a123456789012, and its name has at most 63 letters; give the slice a rename"},
        {"sharing: {timeSlicing: {resources: [{name: gpu, percent: true}]}}\n",
         "f.yaml:1:49: unknown key \"percent\" in a shared resource: it belongs to a resource of "
         "sharing.governed"},
        {"flags: {plugin: {nvidiaCTKPath: \"\\u0001\"}}\n",
         "f.yaml:1:33: nvidiaCTKPath: a letter that does not print"},
        {"resources: {gpus: [{pattern: \"\", name: a}]}\nflags: {}\n",
         "f.yaml:1:30: pattern: 1 to 95 letters are wanted, like \"*A100*\""},
        {"apiVersion: divvy/v1\nkind: Layout\ngpus: []\n",
         "f.yaml:1:1: this is no configuration of the device plugin (version: v1, sharing)"},
        {"{\"sharing\": {\"governed\": {\"resources\": [{\"name\": \"gpu\", \"replicas\": 0}]}}}",
         "f.yaml:1:69: replicas: 0; 2 or more share a device, and one that is not shared is left "
         "out "
         "of sharing"},
    };
    size_t wrong = 0;
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++) {
        struct dv_plugin_config *c = NULL;
        err.msg[0] = 0;
        int r = dv_layoutfile_read_plugin("f.yaml", bad[i].text, strlen(bad[i].text), NULL, &c,
                                          &info, &err);
        size_t len = strlen(bad[i].message);
        bool open = bad[i].message[len - 1] == ' '; /* its end is another room's */
        if (r != -EINVAL ||
            (open ? strncmp(err.msg, bad[i].message, len) : strcmp(err.msg, bad[i].message)) != 0) {
            print_message("%d, %s\n  is, wanted is\n%s\n", r, err.msg, bad[i].message);
            wrong++;
        }
        dv_plugin_config_free(c);
    }
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything), cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_layout),     cmocka_unit_test(test_warnings),
        cmocka_unit_test(test_config_map), cmocka_unit_test(test_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
