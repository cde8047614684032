/* SPDX-License-Identifier: Apache-2.0 */
#include "model/gpu_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_find(void **state)
{
    struct dv_err err = {0};
    const struct dv_gpu_model *m = dv_gpu_model_find("a100", &err);
    assert_non_null(m);
    assert_string_equal(m->name, "A100-40GB");
    assert_ptr_equal(dv_gpu_model_find("NVIDIA A100-SXM4-40GB", &err), m);
    assert_ptr_equal(dv_gpu_model_find("a100-sxm4-40gb", &err), m);
    assert_ptr_equal(dv_gpu_model_by_pci(0x20B0), m);
    assert_null(dv_gpu_model_by_pci(0xFFFF));
    assert_null(dv_gpu_model_find("H100-80GBB", &err));
    assert_non_null(strstr(err.msg, "did you mean \"H100-80GB\"?"));
    assert_null(dv_gpu_model_find("", &err));
    assert_null(dv_gpu_model_find(" ", &err));
    assert_null(dv_gpu_model_find("A100 A100-SXM4-40GB", &err));
}

/* No text names two models, and the figures of each entry go together. */
static void test_catalogue(void **state)
{
    size_t n = 0;
    for (const struct dv_gpu_model *m; (m = dv_gpu_model_at(n)); n++) {
        struct dv_err err = {0};
        assert_ptr_equal(dv_gpu_model_find(m->name, &err), m);
        assert_ptr_equal(dv_gpu_model_find(m->product, &err), m);
        assert_ptr_equal(dv_gpu_model_by_pci(m->pci_device_id), m);
        char text[256];
        assert_true(strlen(m->aliases) < sizeof text);
        strcpy(text, m->aliases);
        for (char *save = NULL, *a = strtok_r(text, " ", &save); a; a = strtok_r(NULL, " ", &save))
            assert_ptr_equal(dv_gpu_model_find(a, &err), m);
        assert_string_not_equal(dv_gpu_model_arch_name(m->arch), "unknown");
        if (m->mig)
            assert_string_equal(m->mig->name, m->name);
        if (!m->memory_bytes)
            continue;
        assert_true(dv_gpu_model_usable(m) > m->memory_bytes * 97 / 100);
        assert_true(m->context_bytes < m->memory_bytes / 20);
        assert_in_range(m->sm, 1, 256);
        assert_true(m->idle_power_mw < m->power_limit_mw);
        for (uint32_t i = 0; m->mig && i < m->mig->n_profiles; i++) {
            assert_true(m->mig->profiles[i].memory_bytes <= m->memory_bytes);
            assert_true(m->mig->profiles[i].sm <= m->sm);
        }
    }
    assert_true(n >= 13);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_catalogue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
