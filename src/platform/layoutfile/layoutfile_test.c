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
    err.msg[0] = 0;
    int r = dv_layoutfile_read("f.yaml", text, strlen(text), config, &layout, &info, &err);
    if (r < 0)
        fail_msg("%d: %s", r, err.msg);
    return layout;
}

static struct dv_layout *read_good(const char *text)
{
    struct dv_layout *layout = read_config(text, NULL);
    if (info.n_warnings)
        fail_msg("line %u: %s", info.warnings[0].line, info.warnings[0].text);
    return layout;
}

struct bad {
    const char *text, *message;
};

static void assert_bad(const struct bad *list, size_t n)
{
    size_t wrong = 0;
    for (size_t i = 0; i < n; i++) {
        struct dv_layout *layout = NULL;
        err.msg[0] = 0;
        int r = dv_layoutfile_read("f.yaml", list[i].text, strlen(list[i].text), NULL, &layout,
                                   &info, &err);
        if (r != -EINVAL)
            fail_msg("%d of:\n%s", r, list[i].text);
        if (strcmp(err.msg, list[i].message) != 0) {
            print_message("%s\n  is, wanted is\n%s\n", err.msg, list[i].message);
            wrong++;
        }
        assert_null(layout);
    }
    assert_int_equal(wrong, 0);
}

static void assert_device(const struct dv_layout_device *d, const char *profile, uint32_t start,
                          enum dv_mode mode, uint32_t replicas)
{
    assert_string_equal(d->profile, profile);
    assert_int_equal(d->start, start);
    assert_int_equal(d->sharing.mode, mode);
    assert_int_equal(d->sharing.replicas, replicas);
}

/* ---- divvy's own ---- */

#define OWN "apiVersion: divvy/v1\nkind: Layout\n"
#define FREE DV_MIG_UNPLACED

static void test_own(void **state)
{
    dv_cleanup(dv_layout_freep) struct dv_layout *l =
        read_good(OWN "gpus:\n"
                      "  - gpu: 0\n"
                      "    mig:\n"
                      "      - {profile: 3g.40gb, mode: exclusive, start: 4}\n"
                      "      - profile: 1c.3g.40gb\n"
                      "        count: 3\n"
                      "        mode: mps\n"
                      "        replicas: 4\n"
                      "      - 1g.10gb\n"
                      "  - gpu: [1, GPU-12345678]\n"
                      "    mig: []\n"
                      "  - gpu: A100-80GB\n"
                      "    mode: timeslice\n"
                      "    replicas: 4\n"
                      "    timeslice: short\n"
                      "  - gpu: all\n"
                      "    mode: auto\n");
    assert_int_equal(info.format, DV_LAYOUTFILE_DIVVY);
    assert_string_equal(info.config, "");
    assert_true(l->has_cut && l->has_sharing);
    assert_int_equal(l->n_entries, 5);
    const struct dv_layout_gpu *e = l->entries;
    assert_int_equal(e[0].line, 4);
    assert_int_equal(e[0].rank, 2);
    assert_int_equal(e[0].gpus.kind, DV_SELECTOR_INDEX);
    assert_int_equal(e[0].n_devices, 5);
    assert_device(&e[0].devices[0], "3g.40gb", 4, DV_MODE_EXCLUSIVE, 0);
    for (int i = 1; i < 4; i++)
        assert_device(&e[0].devices[i], "1c.3g.40gb", FREE, DV_MODE_MPS, 4);
    assert_device(&e[0].devices[4], "1g.10gb", FREE, DV_MODE_AUTO, 0);
    assert_int_equal(e[1].gpus.index, 1);
    assert_string_equal(e[2].gpus.text, "GPU-12345678");
    assert_int_equal(e[2].rank, 2);
    assert_true(dv_layout_is_mig(&e[2]));
    assert_int_equal(e[3].gpus.kind, DV_SELECTOR_MODEL);
    assert_int_equal(e[3].rank, 1);
    assert_device(&e[3].devices[0], "", FREE, DV_MODE_TIMESLICE, 4);
    assert_int_equal(e[3].devices[0].sharing.timeslice, DV_TIMESLICE_SHORT);
    assert_int_equal(e[4].gpus.kind, DV_SELECTOR_ANY);
    assert_int_equal(e[4].rank, 0);
    assert_false(e[4].capable_only);
}

static void test_own_json(void **state)
{
    dv_cleanup(dv_layout_freep) struct dv_layout *l = read_good(
        "{\"apiVersion\": \"divvy/v1\", \"kind\": \"Layout\",\n"
        "\t\"gpus\":[{\"gpu\":0,\"mig\":[\"1g.5gb\"]},\n"
        "\t{\"gpu\":\"all\",\"mode\":\"governed\"}],\n"
        "\t\"sharing\":[{\"devices\":\"mig\",\"first\":2,\"mode\":\"mps\",\"replicas\":3}]}\n");
    assert_int_equal(l->n_entries, 2);
    assert_int_equal(l->entries[1].devices[0].sharing.mode, DV_MODE_GOVERNED);
    assert_int_equal(l->n_rules, 1);
    assert_string_equal(l->rules[0].profile, "*");
    assert_int_equal(l->rules[0].count, 2);
}

static void test_own_parts(void **state)
{
    dv_cleanup(dv_layout_freep) struct dv_layout *l =
        read_good(OWN "part: sharing\n"
                      "sharing:\n"
                      "  - devices: whole\n"
                      "    only: [0, \"1\", GPU-1234]\n"
                      "    mode: timeslice\n"
                      "  - {devices: 1g.5gb+me, mode: mps}\n");
    assert_false(l->has_cut);
    assert_true(l->has_sharing);
    assert_int_equal(l->rules[0].n_list, 3);
    assert_string_equal(l->rules[0].list[2], "GPU-1234");
    assert_string_equal(l->rules[1].profile, "1g.5gb+me");
}

static void test_own_bad(void **state)
{
    static const struct bad bad[] = {
        {OWN, "f.yaml:1:1: gpus is missing: the list of what each GPU should be"},
        {"gpus: []\n", "f.yaml:1:1: apiVersion: divvy/v1 is missing"},
        {"apiVersion: divvy/v1\ngpus: []\n", "f.yaml:1:1: kind: Layout is missing"},
        {"apiVersion: divvy/v2\nkind: Layout\ngpus: []\n",
         "f.yaml:1:13: apiVersion: \"divvy/v2\"; this divvy reads divvy/v1"},
        {"apiVersion: divvy/v1\nkind: SimNode\ngpus: []\n",
         "f.yaml:2:7: kind: \"SimNode\", where Layout is wanted"},
        {OWN "gpu: []\n", "f.yaml:3:1: unknown key \"gpu\" in a layout; did you mean \"gpus\"?"},
        {OWN "gpus: 3\n", "f.yaml:3:7: gpus: \"3\", where a list is wanted"},
        {OWN "gpus:\n- 3\n",
         "f.yaml:4:3: an entry of gpus: \"3\", where \"key: value\" lines are wanted"},
        {OWN "gpus:\n- mode: auto\n",
         "f.yaml:4:3: gpu is missing: an index, a UUID, a model, all, or a list of those"},
        {OWN "gpus:\n- gpu: 0\n",
         "f.yaml:4:3: an entry wants mode (auto, exclusive, mps, timeslice, governed) or mig"},
        {OWN "gpus:\n- gpu: 0\n  mig:\n",
         "f.yaml:5:3: mig: it has no value; give one or leave the key out"},
        {OWN "gpus:\n- gpu: 0\n  mod: auto\n",
         "f.yaml:5:3: unknown key \"mod\" in an entry of gpus; did you mean \"mode\"?"},
        {OWN "gpus:\n- gpu: 0\n  mode: mig\n",
         "f.yaml:5:9: mode: mig is said by the key mig, with the list of its devices"},
        {OWN "gpus:\n- gpu: 0\n  mode: mps\n  mig: []\n",
         "f.yaml:6:8: mig: together with mode, replicas or timeslice; of a GPU in MIG mode each "
         "MIG device has its own"},
        {OWN "gpus:\n- gpu: 0\n  mode: mps\n  replicas: 0\n",
         "f.yaml:6:13: replicas: 0 is not shared; give 2 or more, or say mode: exclusive"},
        {OWN "gpus:\n- gpu: 0\n  mode: mps\n  replicas: 1\n",
         "f.yaml:6:13: replicas: 1 is not shared; give 2 or more, or say mode: exclusive"},
        {OWN "gpus:\n- gpu: 0\n  mode: mps\n  replicas: 300\n",
         "f.yaml:6:13: replicas: \"300\", where a number from 2 to 256 is wanted"},
        {OWN "gpus:\n- gpu: 0\n  mode: mps\n  replicas: \"4\"\n",
         "f.yaml:6:13: replicas: \"4\" is a text; a number has no quotes"},
        {OWN "gpus:\n- gpu: 0\n  mode: exclusive\n  replicas: 4\n",
         "f.yaml:6:13: replicas: of a device in mode exclusive; mps, timeslice and governed have "
         "replicas"},
        {OWN "gpus:\n- gpu: 0\n  mode: mps\n  timeslice: long\n",
         "f.yaml:6:14: timeslice: of a device in mode mps; say mode: timeslice or leave it out"},
        {OWN "gpus:\n- gpu: 0\n  mode: auto\n- gpu: [1, 0]\n  mode: auto\n",
         "f.yaml:6:12: gpu: 0 is claimed by two entries, here and in line 4; keep one"},
        {OWN "gpus:\n- gpu: all\n  mode: auto\n- gpu: any\n  mode: auto\n",
         "f.yaml:6:8: gpu: all is claimed by two entries, here and in line 4; keep one"},
        {OWN "gpus:\n- gpu: []\n  mode: auto\n",
         "f.yaml:4:8: gpu: an empty list; name at least one GPU"},
        {OWN "gpus:\n- gpu: 99\n  mode: auto\n",
         "f.yaml:4:8: gpu: GPU index: '99' is not between 0 and 63"},
        {OWN "gpus:\n- gpu: MIG-12345678\n  mode: auto\n",
         "f.yaml:4:8: gpu: MIG-12345678 is a MIG device; an entry is about a GPU"},
        {OWN "gpus:\n- gpu: 0\n  mode: auto\n  mode: mps\n",
         "f.yaml:6:3: mode is given twice; the first is in line 5"},
        {OWN "gpus:\n- gpu: 0\n  mig: [3g]\n",
         "f.yaml:5:9: mig: \"3g\" is not a MIG profile's name; one looks like 3g.20gb, 1g.5gb+me "
         "or 1c.3g.20gb"},
        {OWN "gpus:\n- gpu: 0\n  mig: [{mode: mps}]\n",
         "f.yaml:5:9: profile is missing; `divvy mig profiles` lists what there is"},
        {OWN "gpus:\n- gpu: 0\n  mig: [{profile: 1g.5gb, start: 0, count: 2}]\n",
         "f.yaml:5:44: count: 2 instances cannot all start at 0; list them one by one"},
        {OWN "gpus:\n- gpu: 0\n  mig: [{profile: 1g.5gb, count: 16}, 1g.5gb]\n",
         "f.yaml:5:39: more than 16 MIG devices; a GPU never has so many"},
        {OWN "gpus:\n- gpu: 0\n  mig: [{profile: 1g.5gb, count: 0}]\n",
         "f.yaml:5:34: count: \"0\", where a number from 1 to 16 is wanted"},
        {OWN "gpus:\n- gpu: 0\n  boards: [20B0]\n  mode: auto\n",
         "f.yaml:5:12: boards: \"20B0\" is no board; one looks like 0x20B010DE (device and vendor) "
         "or 0x20B010DE:0x146310DE (and its subsystem)"},
        {OWN "part: cut\nsharing: []\n", "f.yaml:4:10: sharing: in a file about the cut only"},
        {OWN "part: sharing\ngpus: []\n", "f.yaml:4:7: gpus: in a file about sharing only"},
        {OWN "part: all\ngpus: []\n", "f.yaml:3:7: part: one of cut, sharing, both is wanted"},
        {OWN "sharing:\n- mode: mps\n",
         "f.yaml:4:3: devices: whole, mig or a MIG profile is missing"},
        {OWN "sharing:\n- devices: gpu\n  mode: mps\n",
         "f.yaml:4:12: devices: \"gpu\", where whole (GPUs), mig (every MIG device) or a MIG "
         "profile is wanted"},
        {OWN "sharing:\n- {devices: mig, mode: mps, first: 1, only: [0]}\n",
         "f.yaml:4:36: first: together with only; keep one"},
        {OWN "sharing:\n- {devices: mig, mode: mps, only: [x]}\n",
         "f.yaml:4:36: only: \"x\" is no device; one is 0 (a GPU), \"0:1\" (a MIG device of it) or "
         "a UUID (GPU-..., MIG-...)"},
        {OWN "gpus: [\n", "f.yaml:4:1: this is no YAML: did not find expected node content, while "
                          "parsing a flow node"},
    };
    assert_bad(bad, DV_ARRAY_SIZE(bad));
}

/* The words of a mode or a time-slice that is none are the model's. */
static void test_own_unknown_words(void **state)
{
    static const char *const texts[][2] = {
        {OWN "gpus:\n- gpu: 0\n  mode: shared\n", "f.yaml:5:9: mode: unknown mode \"shared\""},
        {OWN "gpus:\n- gpu: 0\n  mode: timeslice\n  timeslice: lung\n",
         "f.yaml:6:14: timeslice: unknown time-slice \"lung\", did you mean \"long\"?"}};
    for (size_t i = 0; i < DV_ARRAY_SIZE(texts); i++) {
        struct dv_layout *l = NULL;
        assert_int_equal(
            dv_layoutfile_read("f.yaml", texts[i][0], strlen(texts[i][0]), NULL, &l, &info, &err),
            -EINVAL);
        err.msg[strlen(texts[i][1])] = 0;
        assert_string_equal(err.msg, texts[i][1]);
    }
}

/* As mig-parted, which only looks whether an index is in the list. */
static void test_parted_takes_a_gpu_twice_for_once(void **state)
{
    dv_cleanup(dv_layout_freep) struct dv_layout *l = read_config(
        "version: v1\nmig-configs:\n  a:\n  - {devices: [0, 1, 0], mig-enabled: false}\n", "a");
    assert_int_equal(l->n_entries, 2);
    assert_int_equal(info.n_warnings, 1);
    assert_int_equal(info.warnings[0].line, 4);
    assert_string_equal(info.warnings[0].text, "devices: 0 is given twice");
}

static void test_own_warns_of_models(void **state)
{
    dv_cleanup(dv_layout_freep) struct dv_layout *l =
        read_config(OWN "gpus:\n- gpu: al\n  mode: auto\n", NULL);
    assert_int_equal(l->n_entries, 1);
    assert_int_equal(info.n_warnings, 1);
    assert_int_equal(info.warnings[0].line, 4);
    assert_string_equal(info.warnings[0].text,
                        "gpu: no known model is called \"al\"; the entry means GPUs whose driver "
                        "gives exactly this name");
}

/* ---- mig-parted ---- */

#define PARTED "version: v1\nmig-configs:\n"

static void test_mig_parted(void **state)
{
    static const char text[] = PARTED "  all-disabled:\n"
                                      "  - devices: all\n"
                                      "    mig-enabled: false\n"
                                      "  custom:\n"
                                      "  - device-filter: \"0x20B010DE\"\n"
                                      "    devices: all\n"
                                      "    mig-enabled: true\n"
                                      "    mig-devices: {}\n"
                                      "  - device-filter: [\"0x233010DE\", 0x20B210DE:0x146310DE]\n"
                                      "    devices: [0,2]\n"
                                      "    mig-enabled: true\n"
                                      "    mig-devices:\n"
                                      "      1g.10gb+me: 1\n"
                                      "      \"2g.20gb\": 2\n"
                                      "      3g.40gb: 0\n";
    dv_cleanup(dv_layout_freep) struct dv_layout *off = read_config(text, "all-disabled");
    assert_int_equal(info.format, DV_LAYOUTFILE_MIG_PARTED);
    assert_string_equal(info.config, "all-disabled");
    assert_true(off->has_cut && !off->has_sharing);
    assert_int_equal(off->n_entries, 1);
    assert_true(off->entries[0].capable_only);
    assert_device(&off->entries[0].devices[0], "", FREE, DV_MODE_AUTO, 0);
    dv_cleanup(dv_layout_freep) struct dv_layout *l = read_config(text, "custom");
    assert_int_equal(l->n_entries, 3);
    const struct dv_layout_gpu *e = l->entries;
    assert_int_equal(e[0].rank, 0);
    assert_int_equal(e[0].n_devices, 0);
    assert_int_equal(e[0].n_filters, 1);
    assert_int_equal(e[0].filters[0].device, 0x20B010DE);
    assert_int_equal(e[0].filters[0].subsystem, 0);
    assert_int_equal(e[2].rank, 1);
    assert_int_equal(e[2].gpus.index, 2);
    assert_false(e[2].capable_only);
    assert_int_equal(e[2].line, 11);
    assert_int_equal(e[2].filters[1].subsystem, 0x146310DE);
    assert_int_equal(e[2].n_devices, 3);
    assert_device(&e[2].devices[0], "1g.10gb+me", FREE, DV_MODE_AUTO, 0);
    assert_device(&e[2].devices[2], "2g.20gb", FREE, DV_MODE_AUTO, 0);
    assert_int_equal(info.n_warnings, 0);
}

static void test_choosing(void **state)
{
    static const char text[] = PARTED "  one:\n  - {devices: all, mig-enabled: false}\n"
                                      "  two:\n  - {devices: all, mig-enabled: false}\n";
    static char names[DV_LAYOUTFILE_CONFIGS_MAX][64];
    struct dv_layout *l = NULL;
    assert_int_equal(dv_layoutfile_configs("f.yaml", text, strlen(text), names, &err), 2);
    assert_string_equal(names[0], "one");
    assert_string_equal(names[1], "two");
    assert_int_equal(dv_layoutfile_read("f.yaml", text, strlen(text), NULL, &l, &info, &err),
                     -EINVAL);
    assert_string_equal(err.msg, "f.yaml: it has 2 configurations, name one of them: one, two");
    assert_int_equal(dv_layoutfile_read("f.yaml", text, strlen(text), "to", &l, &info, &err),
                     -ENOENT);
    assert_string_equal(err.msg, "f.yaml: there is no configuration \"to\"; it has one, two");
    static const char own[] = OWN "gpus: []\n";
    assert_int_equal(dv_layoutfile_configs("f.yaml", own, strlen(own), names, &err), 0);
    assert_int_equal(dv_layoutfile_read("f.yaml", own, strlen(own), "x", &l, &info, &err), -ENOENT);
    assert_string_equal(err.msg, "f.yaml: there is no configuration \"x\": this file has no "
                                 "configurations; leave the name out");
    assert_null(l);
}

static void test_mig_parted_bad(void **state)
{
    static const struct bad bad[] = {
        {"mig-configs:\n  a: []\n", "f.yaml:1:1: version: it is missing, where v1 is wanted"},
        {"version: v2\nmig-configs:\n  a: []\n",
         "f.yaml:1:10: version: \"v2\", where v1 is wanted"},
        {"version: v1\nmig-configs: {}\n",
         "f.yaml:2:14: mig-configs: a map with at least one configuration is wanted"},
        {"version: v1\nmig-config:\n  a: []\n",
         "f.yaml:2:1: unknown key \"mig-config\" in a mig-parted file; did you mean "
         "\"mig-configs\"?"},
        {PARTED "  a: []\n", "f.yaml:3:6: a: an empty list; give it an entry"},
        {PARTED "  a:\n  - devices: all\n", "f.yaml:4:5: mig-enabled: true or false is missing"},
        {PARTED "  a:\n  - mig-enabled: true\n",
         "f.yaml:4:5: devices: all, or a list of indices like [0, 1] is missing"},
        {PARTED "  a:\n  - {devices: all, mig-enabled: true}\n",
         "f.yaml:4:5: mig-devices is missing, and mig-enabled is true; {} means none"},
        {PARTED "  a:\n  - {devices: all, mig-enabled: false, mig-devices: {1g.5gb: 1}}\n",
         "f.yaml:4:53: mig-devices: MIG devices, but mig-enabled is false; set it to true or leave "
         "them out"},
        {PARTED "  a:\n  - {devices: all, mig-enabled: true, mig-devices: {1g.5gb: 0}}\n",
         "f.yaml:4:52: mig-devices: every count is 0; give one a count, or say {} for MIG mode "
         "without devices"},
        {PARTED "  a:\n  - {devices: all, mig-enabled: true, mig-devices: {1g.5gb: -1}}\n",
         "f.yaml:4:61: 1g.5gb: \"-1\", where a number from 0 to 1000 is wanted"},
        {PARTED "  a:\n  - {devices: all, mig-enabled: true, mig-devices: {1g.5gb: 17}}\n",
         "f.yaml:4:53: more than 16 MIG devices; a GPU never has so many"},
        {PARTED "  a:\n  - {devices: all, mig-enabled: true, mig-devices: {1g5gb: 1}}\n",
         "f.yaml:4:53: mig-devices: \"1g5gb\" is not a MIG profile's name; one looks like 3g.20gb, "
         "1g.5gb+me or 1c.3g.20gb"},
        {PARTED "  a:\n  - {devices: 0, mig-enabled: false}\n",
         "f.yaml:4:15: devices: \"0\", where all or a list of indices like [0, 1] is wanted"},
        {PARTED "  a:\n  - {devices: [64], mig-enabled: false}\n",
         "f.yaml:4:16: devices: \"64\", where a number from 0 to 63 is wanted"},
        {PARTED "  a:\n  - {device: all, mig-enabled: false}\n",
         "f.yaml:4:6: unknown key \"device\" in an entry of mig-configs; did you mean "
         "\"devices\"?"},
        {PARTED "  a:\n  - {devices: all, mig-enabled: \"no\"}\n",
         "f.yaml:4:33: mig-enabled: \"no\", where true or false is wanted"},
    };
    assert_bad(bad, DV_ARRAY_SIZE(bad));
}

/* A mistake in a configuration that nobody asked for counts too, as with mig-parted. */
static void test_mig_parted_reads_all(void **state)
{
    static const char text[] = PARTED "  a:\n  - {devices: all, mig-enabled: false}\n"
                                      "  b:\n  - {devices: all}\n";
    struct dv_layout *l = NULL;
    assert_int_equal(dv_layoutfile_read("f.yaml", text, strlen(text), "a", &l, &info, &err),
                     -EINVAL);
    assert_string_equal(err.msg, "f.yaml:6:5: mig-enabled: true or false is missing");
}

/* ---- what is no layout ---- */

static void test_unknown(void **state)
{
    static const struct bad bad[] = {
        {"", "f.yaml:1:1: the file is empty"},
        {"# nothing\n---\n", "f.yaml:1:1: the file is empty"},
        {"hello\n",
         "f.yaml:1:1: this is no layout but \"hello\"; wanted is divvy's (apiVersion: divvy/v1, "
         "kind: Layout), mig-parted's (version: v1, mig-configs) or the device plugin's (version: "
         "v1, sharing)"},
        {"resources:\n  limits: {nvidia.com/mig-1g.10gb: 1}\n",
         "f.yaml:1:1: this is no layout: its keys are resources; wanted is divvy's (apiVersion: "
         "divvy/v1, kind: Layout), mig-parted's (version: v1, mig-configs) or the device plugin's "
         "(version: v1, sharing)"},
        {"apiVersion: v2\nversion: 1.0.0\nmps: {}\n",
         "f.yaml:1:1: this is no layout: its keys are apiVersion, version, mps; wanted is divvy's "
         "(apiVersion: divvy/v1, kind: Layout), mig-parted's (version: v1, mig-configs) or the "
         "device plugin's (version: v1, sharing)"},
        {"version: v1\nhooks: {}\n",
         "f.yaml:1:1: this is no layout: its keys are version, hooks; wanted is divvy's "
         "(apiVersion: divvy/v1, kind: Layout), mig-parted's (version: v1, mig-configs) or the "
         "device plugin's (version: v1, sharing)"},
        {"apiVersion: v1\nkind: Pod\n",
         "f.yaml:1:1: this is no layout but of kind \"Pod\"; wanted is divvy's (apiVersion: "
         "divvy/v1, kind: Layout), mig-parted's (version: v1, mig-configs) or the device plugin's "
         "(version: v1, sharing)"},
        {OWN "gpus: []\n---\n" OWN "gpus: []\n",
         "f.yaml:5:1: a second layout in one file; keep one layout in each"},
    };
    assert_bad(bad, DV_ARRAY_SIZE(bad));
}

static void test_too_large(void **state)
{
    static char text[DV_LAYOUTFILE_MAX + 1];
    struct dv_layout *l = NULL;
    memset(text, '#', sizeof text);
    assert_int_equal(dv_layoutfile_read("f.yaml", text, sizeof text, NULL, &l, &info, &err),
                     -E2BIG);
    assert_string_equal(err.msg, "f.yaml: 524289 bytes; a layout has at most 524288");
    assert_int_equal(dv_layoutfile_read("f.yaml", text, sizeof text - 1, NULL, &l, &info, &err),
                     -EINVAL);
}

/* Letters that do not print never reach a terminal by way of a message. */
static void test_hostile_text(void **state)
{
    static const char text[] = OWN "gpus:\n- gpu: \"a\\x1b[31m\xc3\xa9\"\n  mode: auto\n";
    struct dv_layout *l = NULL;
    assert_int_equal(dv_layoutfile_read("f.yaml", text, strlen(text), NULL, &l, &info, &err),
                     -EINVAL);
    for (const char *p = err.msg; *p; p++)
        assert_in_range(*p, ' ', '~');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own),
        cmocka_unit_test(test_own_json),
        cmocka_unit_test(test_own_parts),
        cmocka_unit_test(test_own_bad),
        cmocka_unit_test(test_own_unknown_words),
        cmocka_unit_test(test_own_warns_of_models),
        cmocka_unit_test(test_parted_takes_a_gpu_twice_for_once),
        cmocka_unit_test(test_mig_parted),
        cmocka_unit_test(test_choosing),
        cmocka_unit_test(test_mig_parted_bad),
        cmocka_unit_test(test_mig_parted_reads_all),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_hostile_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
