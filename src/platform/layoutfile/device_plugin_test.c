/* SPDX-License-Identifier: Apache-2.0 */
#include "layoutfile/layoutfile.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct dv_layoutfile_info info;
static struct dv_err err;

static struct dv_layout *read_config(const char *text, const char *config)
{
    struct dv_layout *layout = NULL;
    memset(&info, 0, sizeof info);
    int r = dv_layoutfile_read("f.yaml", text, strlen(text), config, &layout, &info, &err);
    if (r < 0)
        fail_msg("%d: %s", r, err.msg);
    assert_int_equal(info.format, DV_LAYOUTFILE_DEVICE_PLUGIN);
    assert_true(layout->has_sharing && !layout->has_cut);
    assert_int_equal(layout->n_entries, 0);
    return layout;
}

static void assert_rule(const struct dv_layout_rule *r, const char *profile, enum dv_mode mode,
                        uint32_t replicas)
{
    assert_string_equal(r->profile, profile);
    assert_int_equal(r->sharing.mode, mode);
    assert_int_equal(r->sharing.replicas, replicas);
}

static void assert_warnings(const char *const *list, size_t n)
{
    for (size_t i = 0; i < DV_MIN(n, info.n_warnings); i++) {
        char text[300];
        snprintf(text, sizeof text, "%u: %s", info.warnings[i].line, info.warnings[i].text);
        assert_string_equal(text, list[i]);
    }
    assert_int_equal(info.n_warnings, n);
}

#define CLEAN "    renameByDefault: true\n    failRequestsGreaterThanOne: true\n    resources:\n"
#define TURNS "version: v1\nsharing:\n  timeSlicing:\n" CLEAN

static void test_time_slicing(void **state)
{
    dv_cleanup(dv_layout_freep) struct dv_layout *l =
        read_config(TURNS "    - name: nvidia.com/gpu\n"
                          "      replicas: 4\n",
                    NULL);
    assert_int_equal(l->n_rules, 1);
    assert_rule(&l->rules[0], "", DV_MODE_TIMESLICE, 4);
    assert_int_equal(l->rules[0].line, 7);
    assert_int_equal(l->rules[0].count, 0);
    assert_warnings(NULL, 0);
}

static void test_mig_resources(void **state)
{
    dv_cleanup(dv_layout_freep) struct dv_layout *l =
        read_config("version: v1\n"
                    "flags: {migStrategy: mixed}\n"
                    "sharing:\n"
                    "  mps:\n" CLEAN "    - {name: mig-1g.10gb.me, replicas: 2}\n"
                    "    - {name: nvidia.com/mig-1g.24gb-me, replicas: 3, devices: 2}\n"
                    "    - {name: gpu, replicas: 8, devices: [0, \"1\", GPU-1234]}\n",
                    NULL);
    assert_int_equal(l->n_rules, 3);
    assert_rule(&l->rules[0], "1g.10gb+me", DV_MODE_MPS, 2);
    assert_rule(&l->rules[1], "1g.24gb-me", DV_MODE_MPS, 3);
    assert_int_equal(l->rules[1].count, 2);
    assert_rule(&l->rules[2], "", DV_MODE_MPS, 8);
    assert_int_equal(l->rules[2].n_list, 3);
    assert_string_equal(l->rules[2].list[1], "1");
    assert_warnings(NULL, 0);
}

static void test_single_strategy(void **state)
{
    dv_cleanup(dv_layout_freep) struct dv_layout *l =
        read_config("flags: {migStrategy: single}\nsharing:\n  timeSlicing:\n" CLEAN
                    "    - {name: nvidia.com/gpu, replicas: 2, devices: [\"0:1\"]}\n",
                    NULL);
    assert_int_equal(l->n_rules, 2);
    assert_rule(&l->rules[0], "", DV_MODE_TIMESLICE, 2);
    assert_rule(&l->rules[1], "*", DV_MODE_TIMESLICE, 2);
    assert_string_equal(l->rules[1].list[0], "0:1");
}

static void test_mps_wins(void **state)
{
    dv_cleanup(dv_layout_freep) struct dv_layout *l =
        read_config("version: v1\nsharing:\n"
                    "  timeSlicing:\n" CLEAN "    - {name: nvidia.com/gpu, replicas: 4}\n"
                    "  mps:\n" CLEAN "    - {name: nvidia.com/gpu, replicas: 10}\n",
                    NULL);
    static const char *const warnings[] = {"4: timeSlicing: mps is given too, and it alone counts"};
    assert_int_equal(l->n_rules, 1);
    assert_rule(&l->rules[0], "", DV_MODE_MPS, 10);
    assert_warnings(warnings, 1);
}

static void test_no_sharing(void **state)
{
    dv_cleanup(dv_layout_freep) struct dv_layout *l = read_config("version: v1\n", NULL);
    assert_int_equal(l->n_rules, 0);
    dv_cleanup(dv_layout_freep) struct dv_layout *none =
        read_config("{\"version\": \"v1\", \"flags\": {\"migStrategy\": \"none\"}, \"sharing\": "
                    "null}",
                    NULL);
    assert_int_equal(none->n_rules, 0);
    assert_warnings(NULL, 0);
}

static void test_warnings(void **state)
{
    static const char *const warnings[] = {
        "10: replicas: 1 is read as not shared: leave sharing out",
        "12: rename: it matters under Kubernetes only; the layout does not use it",
        "13: replicas: 8 are more than the 2 to 4 that suit time-slicing: turns are long, and all "
        "contexts share one memory",
        "11: name: nvidia.com/mig-1g.10gb exists under migStrategy mixed only, and here it is "
        "none; divvy shares these MIG devices all the same",
        "14: name: nvidia.com/a100 is a name that resources gives; the layout knows "
        "nvidia.com/gpu and nvidia.com/mig-PROFILE, so nothing is shared by this",
        "6: renameByDefault is false: shares keep the name nvidia.com/gpu, which people take for a "
        "whole GPU; set it to true",
        "7: failRequestsGreaterThanOne is false: a request of 2 may get two shares of one GPU; set "
        "it to true",
    };
    dv_cleanup(dv_layout_freep) struct dv_layout *l =
        read_config("version: v1\n"
                    "resources:\n"
                    "  gpus: [{pattern: \"*A100*\", name: a100}]\n"
                    "sharing:\n"
                    "  timeSlicing:\n"
                    "    renameByDefault: false\n"
                    "    failRequestsGreaterThanOne: false\n"
                    "    resources:\n"
                    "    - name: nvidia.com/gpu\n"
                    "      replicas: 1\n"
                    "    - name: nvidia.com/mig-1g.10gb\n"
                    "      rename: small\n"
                    "      replicas: 8\n"
                    "    - {name: nvidia.com/a100, replicas: 2}\n",
                    NULL);
    assert_int_equal(l->n_rules, 1);
    assert_rule(&l->rules[0], "1g.10gb", DV_MODE_TIMESLICE, 8);
    assert_int_equal(info.n_warnings, 8);
    assert_int_equal(info.warnings[0].line, 3);
    assert_string_equal(info.warnings[0].text,
                        "resources: names of devices matter under Kubernetes only; the layout does "
                        "not use them");
    memmove(&info.warnings[0], &info.warnings[1], 7 * sizeof info.warnings[0]);
    info.n_warnings--;
    assert_warnings(warnings, DV_ARRAY_SIZE(warnings));
}

static void test_too_many_warnings(void **state)
{
    char text[8192];
    size_t n = (size_t)snprintf(text, sizeof text, TURNS);
    for (int i = 1; i < 20; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "    - {name: mig-1g.%dgb, replicas: 1}\n",
                              i);
    dv_cleanup(dv_layout_freep) struct dv_layout *l = read_config(text, NULL);
    assert_int_equal(l->n_rules, 0);
    assert_int_equal(info.n_warnings, DV_LAYOUTFILE_WARNINGS_MAX);
    assert_string_equal(info.warnings[DV_LAYOUTFILE_WARNINGS_MAX - 1].text,
                        "there are more warnings; mend these first");
}

static void test_flags(void **state)
{
    dv_cleanup(dv_layout_freep) struct dv_layout *l =
        read_config("version: v1\n"
                    "flags:\n"
                    "  migStrategy: mixed\n"
                    "  failOnInitError: false\n"
                    "  mpsRoot: /run/nvidia/mps\n"
                    "  nvidiaDriverRoot: /\n"
                    "  nvidiaDevRoot: /\n"
                    "  gdrcopyEnabled: no\n"
                    "  gdsEnabled: false\n"
                    "  mofedEnabled: false\n"
                    "  useNodeFeatureAPI: true\n"
                    "  deviceDiscoveryStrategy: nvml\n"
                    "  plugin:\n"
                    "    passDeviceSpecs: true\n"
                    "    deviceListStrategy: [envvar, cdi-cri]\n"
                    "    deviceIDStrategy: index\n"
                    "    cdiAnnotationPrefix: cdi.k8s.io/\n"
                    "    nvidiaCTKPath: /usr/bin/nvidia-ctk\n"
                    "    containerDriverRoot: /driver-root\n"
                    "    sharedDevicesAllocationPolicy: packed\n"
                    "  gfd:\n"
                    "    oneshot: false\n"
                    "    noTimestamp: false\n"
                    "    sleepInterval: 1m30s\n"
                    "    outputFile: /tmp/gfd\n"
                    "    machineTypeFile: /sys/class/dmi/id/product_name\n"
                    "imex: {channelIDs: [0], required: true}\n",
                    NULL);
    assert_int_equal(l->n_rules, 0);
    assert_warnings(NULL, 0);
}

#define ONE(key) TURNS "    - {name: nvidia.com/gpu, " key "}\n"

static void test_bad(void **state)
{
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"version: v2\nsharing: {}\n", "f.yaml:1:10: version: \"v2\", where v1 is wanted"},
        {"sharing: []\n", "f.yaml:1:10: sharing: a list, where \"key: value\" lines are wanted"},
        {"sharing: {timeslicing: {}}\n",
         "f.yaml:1:11: unknown key \"timeslicing\" in sharing; did you mean \"timeSlicing\"?"},
        {"sharing: {timeSlicing: {replicas: 4}}\n",
         "f.yaml:1:25: unknown key \"replicas\" in sharing.timeSlicing: it belongs to a resource; "
         "write resources: [{name: nvidia.com/gpu, replicas: N}] under sharing.timeSlicing or "
         "sharing.mps"},
        {"sharing: {timeSlicing: {}}\n",
         "f.yaml:1:24: sharing.timeSlicing: resources is missing; write resources: [{name: "
         "nvidia.com/gpu, replicas: 4}]"},
        {"sharing: {mps: {resources: []}}\n",
         "f.yaml:1:28: sharing.mps: resources is missing; write resources: [{name: nvidia.com/gpu, "
         "replicas: 4}]"},
        {"sharing: {}\nmigStrategy: mixed\n",
         "f.yaml:2:1: unknown key \"migStrategy\" in a device plugin's configuration: it belongs "
         "under flags"},
        {"flags: {migStrategy: mix}\n", "f.yaml:1:22: migStrategy: \"mix\", did you mean "
                                        "\"mixed\"?; one of none, single, mixed is "
                                        "wanted"},
        {"flags: {failOnInitError: 1}\n",
         "f.yaml:1:26: failOnInitError: \"1\", where true or false is wanted"},
        {"flags: {plugin: {deviceListStrategy: [envvar, cdi]}}\n",
         "f.yaml:1:47: deviceListStrategy: \"cdi\"; one of envvar, volume-mounts, cdi-annotations, "
         "cdi-cri is wanted"},
        {"flags: {gfd: {sleepInterval: soon}}\n",
         "f.yaml:1:30: sleepInterval: \"soon\", where a duration like 60s or infinite is wanted"},
        {"flags: {passDeviceSpecs: true}\n",
         "f.yaml:1:9: unknown key \"passDeviceSpecs\" in flags: it belongs under flags.plugin"},
        {"imex: {channelIDs: [1]}\n", "f.yaml:1:20: channelIDs: [] or [0] is wanted"},
        {"resources: {gpus: [{pattern: x}]}\nsharing: {}\n", "f.yaml:1:20: name is missing"},
        {ONE("replicas: 0"), "f.yaml:7:40: replicas: 0; 2 or more share a device, and one that is "
                             "not shared is left out of sharing"},
        {ONE("replicas: -2"), "f.yaml:7:40: replicas: -2; 2 or more share a device, and one that "
                              "is not shared is left out of sharing"},
        {ONE("replicas: many"),
         "f.yaml:7:40: replicas: \"many\", where a number from 1 to 256 is wanted"},
        {ONE("replicas: 4.5"),
         "f.yaml:7:40: replicas: \"4.5\", where a number from 1 to 256 is wanted"},
        {ONE("replicas: 257"),
         "f.yaml:7:40: replicas: \"257\", where a number from 1 to 256 is wanted"},
        {ONE("devices: all"), "f.yaml:7:7: replicas: how many share each device is missing"},
        {ONE("replicas: 2, devices: 0"),
         "f.yaml:7:52: devices: \"0\", where a number from 1 to 512 is wanted"},
        {ONE("replicas: 2, devices: some"),
         "f.yaml:7:52: devices: all, a number or a list like [0, \"0:1\", GPU-...] is wanted"},
        {ONE("replicas: 2, devices: [GPU]"),
         "f.yaml:7:53: devices: \"GPU\" is no device; one is 0 (a GPU), \"0:1\" (a MIG device of "
         "it) or a UUID (GPU-..., MIG-...)"},
        {ONE("replicas: 2, memoryLimit: 8Gi"),
         "f.yaml:7:43: unknown key \"memoryLimit\" in a shared resource: a resource has name, "
         "rename, devices and replicas, and each MPS client gets the device's memory divided by "
         "the replicas; a tenant that wants another amount asks for it (divvy run --memory)"},
        {ONE("replicas: 2, rename: A"),
         "f.yaml:7:51: rename: \"A\" is no resource's name; small letters, digits, '-' and '.' "
         "are, like nvidia.com/gpu"},
        {TURNS "    - {replicas: 2}\n",
         "f.yaml:7:7: name: nvidia.com/gpu or nvidia.com/mig-PROFILE is missing"},
        {TURNS "    - {name: nvidia.com/gpus, replicas: 2}\n",
         "f.yaml:7:14: name: there is no resource nvidia.com/gpus; did you mean "
         "\"nvidia.com/gpu\"?; nvidia.com/gpu and nvidia.com/mig-PROFILE are there"},
        {TURNS "    - {name: nvidia.com/gpu, replicas: 2}\n    - {name: gpu, replicas: 3}\n",
         "f.yaml:8:7: name: nvidia.com/gpu is given twice; the first is in line 7"},
    };
    size_t wrong = 0;
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++) {
        struct dv_layout *l = NULL;
        err.msg[0] = 0;
        int r =
            dv_layoutfile_read("f.yaml", bad[i].text, strlen(bad[i].text), NULL, &l, &info, &err);
        if (r != -EINVAL || strcmp(err.msg, bad[i].message) != 0) {
            print_message("%d, %s\n  is, wanted is\n%s\n", r, err.msg, bad[i].message);
            wrong++;
        }
        dv_layout_free(l);
    }
    assert_int_equal(wrong, 0);
}

/* ---- inside a ConfigMap ---- */

#define MAP_HEAD "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\ndata:\n"

static const char map[] = MAP_HEAD "  # for inference\n"
                                   "  slices: |\n"
                                   "    version: v1\n"
                                   "    sharing:\n"
                                   "      timeSlicing:\n"
                                   "        renameByDefault: true\n"
                                   "        failRequestsGreaterThanOne: true\n"
                                   "        resources:\n"
                                   "        - name: nvidia.com/gpu\n"
                                   "          replicas: 4\n"
                                   "  folded: >\n"
                                   "    version: v3\n"
                                   "  wrong: |-\n"
                                   "\n"
                                   "      version: v1\n"
                                   "      sharing: 3\n"
                                   "  broken: |\n"
                                   "    a: [\n"
                                   "  parted: |\n"
                                   "    version: v1\n"
                                   "    mig-configs:\n"
                                   "      off: [{devices: all, mig-enabled: false}]\n";

static void test_config_map(void **state)
{
    static char names[DV_LAYOUTFILE_CONFIGS_MAX][64];
    static const char *const expected[] = {"slices", "folded", "wrong", "broken", "off"};
    static const struct {
        const char *config, *message;
    } bad[] = {
        {"folded", "f.yaml:16:11: in line 1 of this text: version: \"v3\", where v1 is wanted"},
        {"wrong", "f.yaml:21:16: sharing: \"3\", where \"key: value\" lines are wanted"},
        {"broken", "f.yaml:24:5: this is no YAML: did not find expected node content, while "
                   "parsing a flow node"},
    };
    assert_int_equal(dv_layoutfile_configs("f.yaml", map, strlen(map), names, &err), 5);
    for (size_t i = 0; i < DV_ARRAY_SIZE(expected); i++)
        assert_string_equal(names[i], expected[i]);
    dv_cleanup(dv_layout_freep) struct dv_layout *l = read_config(map, "slices");
    assert_string_equal(info.config, "slices");
    assert_int_equal(l->rules[0].line, 14);
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++) {
        struct dv_layout *none = NULL;
        assert_int_equal(
            dv_layoutfile_read("f.yaml", map, strlen(map), bad[i].config, &none, &info, &err),
            -EINVAL);
        assert_string_equal(err.msg, bad[i].message);
    }
    struct dv_layout *off = NULL;
    assert_int_equal(dv_layoutfile_read("f.yaml", map, strlen(map), "off", &off, &info, &err), 0);
    assert_int_equal(info.format, DV_LAYOUTFILE_MIG_PARTED);
    assert_int_equal(off->entries[0].line, 27);
    dv_layout_free(off);
}

static void test_config_map_bad(void **state)
{
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"kind: ConfigMap\n",
         "f.yaml:1:1: data: a ConfigMap with at least one configuration is wanted"},
        {"kind: ConfigMap\ndata: {}\n",
         "f.yaml:2:7: data: a ConfigMap with at least one configuration is wanted"},
        {"kind: ConfigMap\ndata:\n  a:\n    version: v1\n",
         "f.yaml:4:5: a: a map, where the text of a configuration is wanted (\"a: |\")"},
        {"kind: ConfigMap\ndate: {}\n",
         "f.yaml:2:1: unknown key \"date\" in a ConfigMap; did you mean \"data\"?"},
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++) {
        struct dv_layout *l = NULL;
        assert_int_equal(
            dv_layoutfile_read("f.yaml", bad[i].text, strlen(bad[i].text), NULL, &l, &info, &err),
            -EINVAL);
        assert_string_equal(err.msg, bad[i].message);
    }
}

static void test_beside_other_objects(void **state)
{
    static const char text[] = MAP_HEAD "  any: |\n    version: v1\n---\n"
                                        "apiVersion: apps/v1\nkind: DaemonSet\n";
    static const char *const warnings[] = {
        "9: 1 part of this file is something else than a layout, and passed over"};
    dv_cleanup(dv_layout_freep) struct dv_layout *l = read_config(text, NULL);
    assert_int_equal(l->n_rules, 0);
    assert_string_equal(info.config, "any");
    assert_warnings(warnings, 1);
}

static void test_beside_hooks(void **state)
{
    static char names[DV_LAYOUTFILE_CONFIGS_MAX][64];
    static const char text[] = MAP_HEAD "  any: |\n    version: v1\n"
                                        "  hooks.yaml: |\n    version: v1\n    hooks: {}\n";
    static const char *const warnings[] = {
        "8: 1 part of this file is something else than a layout, and passed over"};
    assert_int_equal(dv_layoutfile_configs("f.yaml", text, strlen(text), names, &err), 1);
    dv_cleanup(dv_layout_freep) struct dv_layout *l = read_config(text, NULL);
    assert_int_equal(l->n_rules, 0);
    assert_warnings(warnings, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time_slicing),
        cmocka_unit_test(test_mig_resources),
        cmocka_unit_test(test_single_strategy),
        cmocka_unit_test(test_mps_wins),
        cmocka_unit_test(test_no_sharing),
        cmocka_unit_test(test_warnings),
        cmocka_unit_test(test_too_many_warnings),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_config_map),
        cmocka_unit_test(test_config_map_bad),
        cmocka_unit_test(test_beside_other_objects),
        cmocka_unit_test(test_beside_hooks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
