/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"
#include "model/mig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct dv_mig_geometry *geometry(const char *name)
{
    const struct dv_mig_geometry *g = dv_mig_geometry_find(name);
    assert_non_null(g);
    return g;
}

static struct dv_mig_instance placed(const struct dv_mig_geometry *g, const char *name, uint32_t at)
{
    const struct dv_mig_profile *p = dv_mig_profile_find(g, name, NULL);
    assert_non_null(p);
    return (struct dv_mig_instance){(uint32_t)(p - g->profiles), at};
}

static void test_builtin_geometries_are_sane(void **state)
{
    size_t n = 0;
    for (const struct dv_mig_geometry *g; (g = dv_mig_geometry_at(n)); n++) {
        struct dv_err err = {0};
        assert_int_equal(dv_mig_geometry_check(g, &err), 0);
        assert_ptr_equal(dv_mig_geometry_find(g->name), g);
        for (uint32_t i = 0; i < g->n_profiles; i++) {
            const struct dv_mig_profile *p = &g->profiles[i];
            struct dv_mig_name name;
            assert_int_equal(dv_mig_name_parse(p->name, &name, &err), 0);
            assert_int_equal(name.slices, p->slices);
            assert_int_equal(name.media, p->media);
            assert_int_equal(name.graphics, p->graphics);
            assert_ptr_equal(dv_mig_profile_by_id(g, p->id), p);
            assert_ptr_equal(dv_mig_profile_by_nvml(g, p->nvml), p);
            assert_true((uint32_t)__builtin_popcount(p->starts) >= p->max_instances);
            if (p->memory_bytes) { /* the name is the memory, rounded up to GB or so */
                uint64_t named = name.gigabytes * DV_GIB;
                assert_true(p->memory_bytes < named);
                assert_true(p->memory_bytes > named * 85 / 100);
            }
        }
    }
    assert_true(n >= 13);
    assert_null(dv_mig_geometry_find("T4"));
}

static void test_numbers_of_the_a100(void **state)
{
    const struct dv_mig_geometry *g = geometry("A100-40GB");
    const struct dv_mig_profile *p = dv_mig_profile_find(g, "3g.20gb", NULL);
    assert_non_null(p);
    assert_int_equal(p->id, 9);
    assert_int_equal(p->nvml, 2);
    assert_int_equal(p->memory_bytes, 19968 * DV_MIB);
    assert_int_equal(p->sm, 42);
    assert_int_equal(dv_mig_compute(g, p), 3000);
    assert_ptr_equal(dv_mig_profile_find(g, "9", NULL), p);
    assert_ptr_equal(dv_mig_profile_find(g, "MIG 3g.20gb", NULL), p);
    struct dv_err err = {0};
    assert_null(dv_mig_profile_find(g, "3g.40gb", &err));
    assert_non_null(strstr(err.msg, "3g.40gb"));
    assert_non_null(strstr(err.msg, "3g.20gb (9)"));
    assert_null(dv_mig_profile_find(g, "99999999999999999999", NULL));
    assert_null(dv_mig_profile_find(g, "", NULL));
}

static void test_names(void **state)
{
    static const char *const good[] = {
        "1g.5gb",      "7g.40gb",    "1g.5gb+me",      "1c.3g.20gb", "1g.24gb-me",
        "2g.48gb+gfx", "7c.7g.80gb", "1g.24gb+me.all", "7g.141gb",   "1g.24gb+gfx+me"};
    static const char *const bad[] = {"",
                                      "g.5gb",
                                      "1g",
                                      "1g.gb",
                                      "1g.5",
                                      "1g.5gb+",
                                      "1g.5gb+foo",
                                      "1g.5gb,me",
                                      "01g.5gb",
                                      "1g.05gb",
                                      "-1g.5gb",
                                      "1g.5gb+me+me",
                                      "1g.5gb-gfx",
                                      "4c.3g.20gb",
                                      "0g.5gb",
                                      "1g.5GB",
                                      " 1g.5gb",
                                      "1g.5gb ",
                                      "1c.1g",
                                      "100g.5gb",
                                      "1g.5gb+me.al",
                                      "1c1g.5gb",
                                      "1g.10000gb",
                                      "1c.2c.3g.20gb",
                                      "1g.5gb-me+me"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(good); i++) {
        struct dv_mig_name name;
        char buf[DV_MIG_NAME];
        assert_int_equal(dv_mig_name_parse(good[i], &name, NULL), 0);
        assert_string_equal(dv_mig_name_format(&name, buf), good[i]);
    }
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++) {
        struct dv_mig_name name;
        struct dv_err err = {0};
        assert_int_equal(dv_mig_name_parse(bad[i], &name, &err), -EINVAL);
        assert_non_null(strstr(err.msg, "MIG profile"));
    }
}

/* Random text never crashes the parser, and what it takes prints back to something it takes. */
static void test_names_fuzz(void **state)
{
    static const char letters[] = "0123479cg.b+-me,all fx";
    struct dv_rng rng = {7};
    unsigned taken = 0;
    for (int i = 0; i < 300000; i++) {
        char text[24], buf[DV_MIG_NAME];
        size_t n = dv_rng_below(&rng, 12);
        for (size_t k = 0; k < n; k++)
            text[k] = letters[dv_rng_below(&rng, sizeof letters - 1)];
        text[n] = 0;
        if (i % 2) /* half of them start like a name */
            memcpy(text, "1g.5gb", DV_MIN(n, 6));
        struct dv_mig_name a, b;
        if (dv_mig_name_parse(text, &a, NULL) < 0)
            continue;
        taken++;
        assert_int_equal(dv_mig_name_parse(dv_mig_name_format(&a, buf), &b, NULL), 0);
        assert_true(a.compute == b.compute && a.slices == b.slices && a.gigabytes == b.gigabytes &&
                    a.media == b.media && a.graphics == b.graphics);
    }
    assert_true(taken > 1000);
}

static void test_rules(void **state)
{
    const struct dv_mig_geometry *g = geometry("A100-40GB");
    struct dv_mig_refusal why = {0};
    struct dv_mig_instance v[9] = {placed(g, "3g.20gb", 4), placed(g, "2g.10gb", 2),
                                   placed(g, "1g.5gb", 0), placed(g, "1g.5gb", 1)};
    assert_int_equal(dv_mig_check(g, v, 4, &why), DV_MIG_OK);
    v[3] = placed(g, "1g.5gb", 2);
    assert_int_equal(dv_mig_check(g, v, 4, &why), DV_MIG_RULE_OVERLAP);
    assert_int_equal(why.other, v[1].profile);
    assert_int_equal(why.other_start, 2);
    v[3] = placed(g, "1g.5gb", 7);
    assert_int_equal(dv_mig_check(g, v, 4, &why), DV_MIG_RULE_START);
    v[3] = placed(g, "1g.5gb", 4000000000u);
    assert_int_equal(dv_mig_check(g, v, 4, &why), DV_MIG_RULE_START);
    for (int i = 0; i < 8; i++)
        v[i] = placed(g, "1g.5gb", DV_MIG_UNPLACED);
    assert_int_equal(dv_mig_check(g, v, 7, &why), DV_MIG_OK);
    assert_int_equal(dv_mig_check(g, v, 8, &why), DV_MIG_RULE_COUNT);
    assert_int_equal(why.asked, 8);
    assert_int_equal(why.limit, 7);
    v[0] = placed(g, "4g.20gb", 0);
    v[1] = placed(g, "2g.10gb", 4);
    v[2] = placed(g, "1g.10gb", 6);
    assert_int_equal(dv_mig_check(g, v, 3, &why), DV_MIG_OK);
    v[3] = placed(g, "1g.5gb", DV_MIG_UNPLACED);
    assert_int_equal(dv_mig_check(g, v, 4, &why), DV_MIG_RULE_COMPUTE);
    v[0] = placed(g, "3g.20gb", 0);
    assert_int_equal(dv_mig_check(g, v, 4, &why), DV_MIG_RULE_MEMORY);
    assert_int_equal(why.asked, 9);
}

static void test_media_engines(void **state)
{
    struct dv_mig_refusal why = {0};
    const struct dv_mig_geometry *a30 = geometry("A30");
    struct dv_mig_instance v[3] = {placed(a30, "1g.6gb+me", 0), placed(a30, "2g.12gb+me", 2)};
    assert_int_equal(dv_mig_check(a30, v, 2, &why), DV_MIG_RULE_MEDIA);
    v[1] = placed(a30, "2g.12gb", 2);
    assert_int_equal(dv_mig_check(a30, v, 2, &why), DV_MIG_OK);

    const struct dv_mig_geometry *rtx = geometry("RTX-PRO-6000");
    v[0] = placed(rtx, "1g.24gb+me.all", 0);
    v[1] = placed(rtx, "1g.24gb-me", 3);
    v[2] = placed(rtx, "2g.48gb-me", 6);
    assert_int_equal(dv_mig_check(rtx, v, 3, &why), DV_MIG_OK);
    v[1] = placed(rtx, "1g.24gb+gfx", 3);
    assert_int_equal(dv_mig_check(rtx, v, 3, &why), DV_MIG_RULE_MEDIA);
    assert_int_equal(why.profile, v[1].profile);
    assert_int_equal(why.other, v[0].profile);
    v[1] = placed(rtx, "1g.24gb-me", 3);
    v[2] = placed(rtx, "2g.48gb+me.all", 6);
    assert_int_equal(dv_mig_check(rtx, v, 3, &why), DV_MIG_RULE_MEDIA);
}

/* Ids as the MIG user guide's listings show them. */
static void test_instance_ids(void **state)
{
    const struct dv_mig_geometry *g = geometry("A100-40GB");
    static const struct {
        const char *name;
        uint32_t start, id;
    } seen[] = {{"1g.5gb", 6, 13}, {"1g.5gb", 0, 7},  {"2g.10gb", 4, 5}, {"2g.10gb", 2, 4},
                {"3g.20gb", 4, 2}, {"4g.20gb", 0, 1}, {"7g.40gb", 0, 0}};
    for (size_t i = 0; i < DV_ARRAY_SIZE(seen); i++)
        assert_int_equal(
            dv_mig_instance_id(g, dv_mig_profile_find(g, seen[i].name, NULL), seen[i].start),
            seen[i].id);
}

static void test_compute_instances(void **state)
{
    const struct dv_mig_geometry *g = geometry("A100-40GB");
    struct dv_mig_compute_profile c[DV_MIG_COMPUTE_PROFILES_MAX];
    char buf[DV_MIG_NAME];
    const struct dv_mig_profile *p = dv_mig_profile_find(g, "4g.20gb", NULL);
    assert_int_equal(dv_mig_compute_profiles(g, p, c), 3);
    assert_string_equal(dv_mig_compute_name(p, &c[0], buf), "1c.4g.20gb");
    assert_int_equal(c[0].max_instances, 4);
    assert_int_equal(c[1].sm, 28);
    assert_int_equal(c[2].id, 3);
    assert_true(c[2].whole);
    assert_string_equal(dv_mig_compute_name(p, &c[2], buf), "4g.20gb");
    p = dv_mig_profile_find(g, "7g.40gb", NULL);
    assert_int_equal(dv_mig_compute_profiles(g, p, c), 5);
    assert_int_equal(c[4].id, 4);
    assert_int_equal(c[2].max_instances, 2);
    p = dv_mig_profile_find(g, "1g.5gb+me", NULL);
    assert_int_equal(dv_mig_compute_profiles(g, p, c), 1);
    assert_true(c[0].whole);
}

static void test_foreign_geometry(void **state)
{
    struct dv_mig_geometry g = *geometry("A100-40GB");
    struct dv_err err = {0};
    g.profiles[2].starts |= 1u << 7; /* size 2 from 7 leaves the grid */
    assert_int_equal(dv_mig_geometry_check(&g, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "1g.10gb"));
    g = *geometry("A100-40GB");
    g.grid = 40;
    assert_int_equal(dv_mig_geometry_check(&g, &err), -EINVAL);
    g = *geometry("A100-40GB");
    g.profiles[1].id = g.profiles[0].id;
    assert_int_equal(dv_mig_geometry_check(&g, &err), -EINVAL);
    g = *geometry("A100-40GB");
    memset(g.profiles[0].name, 'x', sizeof g.profiles[0].name);
    assert_int_equal(dv_mig_geometry_check(&g, &err), -EINVAL);
    g = *geometry("A100-40GB");
    g.n_profiles = 0;
    assert_int_equal(dv_mig_geometry_check(&g, &err), -EINVAL);
}

static void test_estimates_fill_gaps_only(void **state)
{
    struct dv_mig_geometry g = *geometry("B200-180GB");
    uint64_t known = g.profiles[0].memory_bytes;
    dv_mig_geometry_estimate(&g, 183359 * DV_MIB, 148);
    assert_int_equal(g.profiles[0].memory_bytes, known);
    for (uint32_t i = 0; i < g.n_profiles; i++) {
        assert_true(g.profiles[i].memory_bytes > 0);
        assert_true(g.profiles[i].memory_bytes <= 183359 * DV_MIB);
        assert_in_range(g.profiles[i].sm, 1, 148);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_builtin_geometries_are_sane),
        cmocka_unit_test(test_numbers_of_the_a100),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_names_fuzz),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_media_engines),
        cmocka_unit_test(test_instance_ids),
        cmocka_unit_test(test_compute_instances),
        cmocka_unit_test(test_foreign_geometry),
        cmocka_unit_test(test_estimates_fill_gaps_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
