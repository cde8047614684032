/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory runs out at the first, the second, the third... allocation, ours or the YAML library's,
 * while each of the formats is read and written. Each time it is -ENOMEM, nothing is handed out,
 * and nothing leaks (which the address sanitizer sees).
 */
#include "base/testing/oom.h"
#include "layoutfile/layoutfile.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const texts[] = {
    "apiVersion: divvy/v1\nkind: Layout\ngpus:\n"
    "- {gpu: [0, 1, 2], mig: [&x 3g.40gb, {profile: *x, start: 4}]}\n- {gpu: all, mode: auto}\n"
    "sharing: [{devices: mig, mode: mps, only: [0, 1]}, {devices: whole, mode: auto}]\n",
    "version: v1\nmig-configs:\n  a:\n  - {devices: [0, 1, 2], mig-enabled: true, mig-devices: "
    "{1g.5gb: 2}}\n",
    "kind: ConfigMap\ndata:\n  a: |\n    version: v1\n    flags: {migStrategy: single}\n"
    "    sharing:\n      timeSlicing:\n        resources:\n"
    "        - {name: gpu, replicas: 4, devices: [0, 1]}\n"
    "      governed:\n        resources:\n"
    "        - {name: gpu, percent: true, devices: [2]}\n"
    "        - {name: gpu, slices: [{name: a, memory: 1%, compute: 1}], devices: [3]}\n",
};

static int plugin_life(const char *text, enum dv_layoutfile_format format)
{
    dv_cleanup(dv_plugin_config_freep) struct dv_plugin_config *c = NULL;
    struct dv_layoutfile_info info;
    struct dv_err err = {{0}};
    if (format != DV_LAYOUTFILE_DEVICE_PLUGIN)
        return 0;
    int r = dv_layoutfile_read_plugin("f.yaml", text, strlen(text), NULL, &c, &info, &err);
    assert_string_equal(err.msg, "");
    return r;
}

static int life(const char *text)
{
    static char names[DV_LAYOUTFILE_CONFIGS_MAX][64];
    dv_cleanup(dv_layout_freep) struct dv_layout *l = NULL;
    dv_cleanup(dv_str_done) struct dv_str out = {0};
    struct dv_layoutfile_info info;
    struct dv_err err = {{0}};
    int r = dv_layoutfile_configs("f.yaml", text, strlen(text), names, &err);
    r = r < 0 ? r : dv_layoutfile_read("f.yaml", text, strlen(text), NULL, &l, &info, &err);
    if (r < 0) {
        assert_null(l);
        assert_string_equal(err.msg, "");
        return r;
    }
    dv_layoutfile_write(l, &out);
    return out.failed ? -ENOMEM : plugin_life(text, info.format);
}

static void test_every_allocation_fails_once(void **state)
{
    for (size_t i = 0; i < DV_ARRAY_SIZE(texts); i++) {
        size_t n = 1;
        for (;; n++) {
            dv_oom_at(n);
            int r = life(texts[i]);
            if (!dv_oom_end()) {
                assert_int_equal(r, 0);
                break;
            }
            assert_int_equal(r, -ENOMEM);
        }
        assert_in_range(n, 30, 1000); /* it did try them */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
