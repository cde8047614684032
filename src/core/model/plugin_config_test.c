/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"
#include "model/plugin_config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct dv_err err;

/* ---- flags ---- */

static void test_defaults(void **state)
{
    struct dv_plugin_flags f;
    dv_plugin_flags_init(&f);
    assert_int_equal(f.mig_strategy, DV_MIG_STRATEGY_NONE);
    assert_true(f.fail_on_init_error && f.node_feature_api);
    assert_false(f.gdrcopy || f.gds || f.mofed || f.plugin.pass_device_specs || f.imex.channel);
    assert_int_equal(f.plugin.list, DV_PLUGIN_LIST_ENVVAR);
    assert_int_equal(f.plugin.id, DV_PLUGIN_ID_UUID);
    assert_int_equal(f.plugin.policy, DV_PLUGIN_DISTRIBUTED);
    assert_string_equal(f.driver_root, "/");
    assert_string_equal(f.plugin.cdi_annotation_prefix, "cdi.k8s.io/");
    assert_string_equal(f.plugin.ctk_path, "/usr/bin/nvidia-ctk");
    assert_string_equal(f.plugin.container_driver_root, "/driver-root");
    assert_true(f.gfd.sleep_ns == 60 * DV_NS_PER_S);
    assert_string_equal(f.gfd.output_file, "/etc/kubernetes/node-feature-discovery/features.d/gfd");
    assert_string_equal(f.gfd.machine_type_file, "/sys/class/dmi/id/product_name");
}

static void test_overlay(void **state)
{
    static const struct dv_plugin_setting settings[] = {
        {"--mig-strategy", "single"},
        {"PATH", "/bin"},
        {"MIG_STRATEGY", "mixed"},
        {"FAIL_ON_INIT_ERROR", "0"},
        {"GDS_ENABLED", ""},
        {"DEVICE_LIST_STRATEGY", "envvar,cdi-cri"},
        {"GFD_SLEEP_INTERVAL", "1h30m0.5s"},
        {"OUTPUT_FILE", "/not/ours"},
        {"IMEX_CHANNEL_IDS", "0"},
        {"--gdrcopy-enabled", "true"},
    };
    struct dv_plugin_flags f;
    dv_plugin_flags_init(&f);
    f.gds = true;
    assert_int_equal(dv_plugin_flags_overlay(&f, settings, DV_ARRAY_SIZE(settings), &err), 0);
    assert_int_equal(f.mig_strategy, DV_MIG_STRATEGY_SINGLE); /* the option, in whatever order */
    assert_false(f.fail_on_init_error);
    assert_true(f.gds && f.gdrcopy && f.imex.channel);
    assert_int_equal(f.plugin.list, DV_PLUGIN_LIST_ENVVAR | DV_PLUGIN_LIST_CDI_CRI);
    assert_true(f.gfd.sleep_ns == 5400500 * DV_NS_PER_MS);
    assert_string_equal(f.gfd.output_file, "/etc/kubernetes/node-feature-discovery/features.d/gfd");
}

static void test_bad_settings(void **state)
{
    static const struct {
        struct dv_plugin_setting setting;
        const char *message;
    } bad[] = {
        {{"MIG_STRATEGY", "mix"},
         "MIG_STRATEGY: \"mix\", did you mean \"mixed\"?; one of none, single, mixed is wanted"},
        {{"--device-list-strategy", "envvar,"},
         "--device-list-strategy: \"\"; one of envvar, volume-mounts, cdi-annotations, cdi-cri is "
         "wanted"},
        {{"--gds-enabled", "yes"}, "--gds-enabled: \"yes\", where true or false is wanted"},
        {{"--mig-strateg", "none"},
         "--mig-strateg: there is no such option; did you mean \"--mig-strategy\"?"},
        {{"GFD_SLEEP_INTERVAL", "1 s"},
         "GFD_SLEEP_INTERVAL: \"1 s\", where a duration like 60s or infinite is wanted"},
        {{"GFD_SLEEP_INTERVAL", "0s"},
         "GFD_SLEEP_INTERVAL: \"0s\"; more than nothing and at most ten years are wanted, or "
         "infinite"},
        {{"GFD_SLEEP_INTERVAL", "99999999999999999999999h"},
         "GFD_SLEEP_INTERVAL: \"99999999999999999999999h\"; more than nothing and at most ten "
         "years "
         "are wanted, or infinite"},
        {{"MPS_ROOT", "/a\n"}, "MPS_ROOT: a letter that does not print"},
        {{"IMEX_CHANNEL_IDS", "1"}, "IMEX_CHANNEL_IDS: [] or [0] is wanted"},
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++) {
        struct dv_plugin_flags f, before;
        dv_plugin_flags_init(&f);
        before = f;
        assert_int_equal(dv_plugin_flags_overlay(&f, &bad[i].setting, 1, &err), -EINVAL);
        assert_string_equal(err.msg, bad[i].message);
        assert_memory_equal(&f, &before, sizeof f);
    }
}

static void test_durations(void **state)
{
    static const struct {
        const char *text;
        uint64_t ns;
    } good[] = {{"infinite", DV_NEVER},       {"1500", 1500},
                {"10ms", 10 * DV_NS_PER_MS},  {"1m", 60 * DV_NS_PER_S},
                {"1.5h", 5400 * DV_NS_PER_S}, {"2us3ns", 2003},
                {".5s", 500 * DV_NS_PER_MS},  {"0.1234567891s", 123456789}};
    static const char *const bad[] = {"", "s", ".", "1x", "-1s", "1s ", "1.2.3s"};
    const struct dv_plugin_flag *flag = NULL;
    struct dv_plugin_flags f;
    for (size_t i = 0; !flag || strcmp(flag->key, "sleepInterval") != 0; i++)
        flag = dv_plugin_flags_at(i);
    for (size_t i = 0; i < DV_ARRAY_SIZE(good); i++) {
        assert_int_equal(dv_plugin_flags_set(&f, flag, good[i].text, "x", &err), 0);
        assert_true(f.gfd.sleep_ns == good[i].ns);
    }
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++)
        assert_int_equal(dv_plugin_flags_set(&f, flag, bad[i], "x", &err), -EINVAL);
}

/* ---- names ---- */

static void test_names(void **state)
{
    char name[DV_PLUGIN_NAME], profile[DV_MIG_NAME];
    assert_int_equal(dv_plugin_config_name("gpu", false, name, &err), 0);
    assert_string_equal(name, "nvidia.com/gpu");
    assert_int_equal(dv_plugin_config_name("nvidia.com/gpu", false, name, &err), 0);
    assert_string_equal(name, "nvidia.com/gpu");
    assert_int_equal(dv_plugin_config_name("divvy.dev/gpu", true, name, &err), 0);
    assert_string_equal(name, "divvy.dev/gpu");
    assert_int_equal(dv_plugin_config_name("divvy.dev/gpu", false, name, &err), -EINVAL);
    assert_int_equal(dv_plugin_config_name("", true, name, &err), -EINVAL);
    assert_int_equal(dv_plugin_config_name("a-", true, name, &err), -EINVAL);
    assert_int_equal(dv_plugin_config_name("0123456789012345678901234567890123456789012345678912",
                                           true, name, &err),
                     0);
    assert_int_equal(strlen(name), 63);
    assert_int_equal(dv_plugin_config_name("01234567890123456789012345678901234567890123456789123",
                                           true, name, &err),
                     -EINVAL);
    assert_true(dv_plugin_config_profile("nvidia.com/mig-1g.10gb.me", profile));
    assert_string_equal(profile, "1g.10gb+me");
    dv_plugin_config_mig_name(profile, name);
    assert_string_equal(name, "nvidia.com/mig-1g.10gb.me");
    assert_false(dv_plugin_config_profile("nvidia.com/gpu", profile));
    assert_false(dv_plugin_config_profile("nvidia.com/mig-huge", profile));
}

/* What a pattern means, without thought for time. */
static bool fits(const char *pattern, const char *text)
{
    if (*pattern == '*')
        return fits(pattern + 1, text) || (*text && fits(pattern, text + 1));
    return *pattern == *text && (!*text || fits(pattern + 1, text + 1));
}

static void test_patterns(void **state)
{
    struct dv_rng rng = {3};
    assert_true(dv_plugin_config_fits("*", ""));
    assert_true(dv_plugin_config_fits("*A100*", "NVIDIA A100-SXM4-40GB"));
    assert_false(dv_plugin_config_fits("A100", "NVIDIA A100-SXM4-40GB"));
    assert_false(dv_plugin_config_fits("", "a"));
    for (int i = 0; i < 20000; i++) {
        char pattern[8] = "", text[10] = "";
        for (uint64_t k = dv_rng_below(&rng, 7); k--;)
            pattern[k] = "ab*"[dv_rng_below(&rng, 3)];
        for (uint64_t k = dv_rng_below(&rng, 9); k--;)
            text[k] = "ab"[dv_rng_below(&rng, 2)];
        assert_int_equal(dv_plugin_config_fits(pattern, text), fits(pattern, text));
    }
}

/* ---- shares and the choice of a configuration ---- */

static int add(struct dv_plugin_sharing *s, const char *list, const char **ret_device)
{
    struct dv_plugin_share share = {.name = "nvidia.com/gpu", .replicas = 2};
    if (list) {
        share.list = calloc(1, sizeof *share.list);
        share.n_list = 1;
        memcpy(share.list[0], list, strlen(list) + 1);
    }
    bool clash = dv_plugin_config_clash(s, &share, ret_device) != NULL;
    if (!clash)
        assert_int_equal(dv_plugin_config_add(s, &share), 0);
    free(share.list);
    return clash;
}

static void test_clashes(void **state)
{
    dv_cleanup(dv_plugin_config_freep) struct dv_plugin_config *c = NULL;
    const char *device = NULL;
    assert_int_equal(dv_plugin_config_new(&c), 0);
    struct dv_plugin_sharing *s = &c->sharing[DV_PLUGIN_GOVERNED];
    assert_false(add(s, "0", &device));
    assert_false(add(s, "1", &device));
    assert_true(add(s, NULL, &device));
    assert_null(device);
    assert_true(add(s, "1", &device));
    assert_string_equal(device, "1");
    for (char i = '2'; i < '2' + 62; i++) {
        char text[2] = {i, 0};
        assert_false(add(s, text, &device));
    }
    struct dv_plugin_share more = {.name = "nvidia.com/other"};
    assert_int_equal(dv_plugin_config_add(s, &more), -E2BIG);
}

static void test_slices(void **state)
{
    struct dv_plugin_share s = {.n_slices = 2,
                                .slices = {{.name = "a", .compute_share = 3500, .count = 1},
                                           {.name = "b", .compute_share = 1750, .count = 2}}};
    assert_int_equal(dv_plugin_config_check_slices(&s, &err), 0);
    s.slices[1].count = 3;
    assert_int_equal(dv_plugin_config_check_slices(&s, &err), -EINVAL);
    assert_string_equal(err.msg, "together the slices of a device ask for 125% of its compute, "
                                 "where 100% is all; lower them or their counts");
    memcpy(s.slices[1].name, "a", 2);
    assert_int_equal(dv_plugin_config_check_slices(&s, &err), -EINVAL);
    assert_string_equal(err.msg, "slice a is given twice");
}

static void test_select(void **state)
{
    static const char *const several[] = {"a100", "default", "t4"}, *const one[] = {"a100"};
    size_t i = 99;
    assert_int_equal(dv_plugin_config_select(several, 3, "t4", "a100", &i, &err), 0);
    assert_int_equal(i, 2);
    assert_int_equal(dv_plugin_config_select(several, 3, "", "a100", &i, &err), 0);
    assert_int_equal(i, 0);
    assert_int_equal(dv_plugin_config_select(several, 3, NULL, NULL, &i, &err), 0);
    assert_int_equal(i, 1);
    assert_int_equal(dv_plugin_config_select(one, 1, NULL, "", &i, &err), 0);
    assert_int_equal(i, 0);
    assert_int_equal(dv_plugin_config_select(several + 1, 0, NULL, NULL, &i, &err), 0);
    assert_int_equal(i, 0);
    static const char *const two[] = {"a", "b"};
    assert_int_equal(dv_plugin_config_select(two, 2, NULL, NULL, &i, &err), 0);
    assert_int_equal(i, 2); /* none */
    assert_int_equal(dv_plugin_config_select(several, 3, "a10", NULL, &i, &err), -ENOENT);
    assert_string_equal(err.msg, "the node's label nvidia.com/device-plugin.config names the "
                                 "configuration \"a10\", did you mean \"a100\"?; there is a100, "
                                 "default, t4");
    assert_int_equal(dv_plugin_config_select(several, 0, NULL, "x", &i, &err), -ENOENT);
    assert_string_equal(err.msg, "the default configuration's setting names the configuration "
                                 "\"x\"; there is none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),     cmocka_unit_test(test_overlay),
        cmocka_unit_test(test_bad_settings), cmocka_unit_test(test_durations),
        cmocka_unit_test(test_names),        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_clashes),      cmocka_unit_test(test_slices),
        cmocka_unit_test(test_select),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
