/* SPDX-License-Identifier: Apache-2.0 */
/* What stays on offer of GPUs that have gone. */
#include "base/str.h"
#include "policy/offers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct dv_gpu gpus[8];
static struct dv_device devices[16];
static struct dv_snapshot node = {.gpus = gpus, .devices = devices};
static struct dv_plugin_config *config;
static struct dv_offers *before, *after;

/* GPUs by letter, at 0, 1, ... in that order; a capital one is in MIG mode, with two devices. */
static struct dv_offers *make(const char *letters)
{
    struct dv_offers *ret = NULL;
    struct dv_err err = {{0}};
    node.n_gpus = node.n_devices = 0;
    for (uint32_t i = 0; letters[i]; i++) {
        bool mig = letters[i] < 'a';
        struct dv_gpu *g = &gpus[node.n_gpus++];
        *g =
            (struct dv_gpu){.index = i, .numa = -1, .mig_enabled = mig, .health = DV_GPU_HEALTH_OK};
        snprintf(g->uuid, sizeof g->uuid, "GPU-%c", letters[i] | 32);
        for (uint32_t k = 0; k < (mig ? 2u : 1u); k++) {
            struct dv_device *d = &devices[node.n_devices++];
            *d = (struct dv_device){.gpu = i,
                                    .mig = mig,
                                    .placement_start = k,
                                    .memory_bytes = 80 * DV_GIB,
                                    .compute = DV_COMPUTE_FULL};
            snprintf(d->uuid, sizeof d->uuid, mig ? "MIG-%c%u" : "GPU-%c", letters[i] | 32, k);
            snprintf(d->profile, sizeof d->profile, "%s", mig ? "1g.10gb" : "");
        }
    }
    if (dv_offers_make(config, &node, &ret, &err) < 0)
        fail_msg("%s", err.msg);
    return ret;
}

static int set_up(void **state)
{
    before = after = NULL;
    int r = dv_plugin_config_new(&config);
    config->flags.mig_strategy = DV_MIG_STRATEGY_MIXED;
    return r;
}

static int tear_down(void **state)
{
    dv_plugin_config_free(config);
    dv_offers_free(before);
    dv_offers_free(after);
    return 0;
}

static bool has_gone(const void *letters, const char *gpu_uuid)
{
    return strchr(letters, gpu_uuid[4]) != NULL;
}

static void keep(const char *was, const char *is, const char *gone)
{
    dv_offers_free(before);
    dv_offers_free(after);
    before = make(was);
    after = make(is);
    assert_int_equal(dv_offers_keep(after, before, has_gone, gone), 0);
}

/* "name: id id!", one resource a line; what is not healthy has a mark. */
static void check(const char *expected)
{
    dv_cleanup(dv_str_done) struct dv_str s = {0};
    for (uint32_t i = 0; i < after->n_offers; i++) {
        const struct dv_offer *o = &after->offers[i];
        dv_str_addf(&s, "%s:", o->name);
        for (uint32_t k = 0; k < o->n_units; k++) {
            const struct dv_offer_device *d = &after->devices[o->units[k].device];
            assert_true(d->gone == !d->healthy);
            assert_ptr_equal(dv_offers_unit(o, o->units[k].id), &o->units[k]);
            dv_str_addf(&s, " %s%s", o->units[k].id, d->healthy ? "" : "!");
        }
        dv_str_addc(&s, '\n');
    }
    assert_string_equal(dv_str_get(&s), expected);
}

static void test_units_stay(void **state)
{
    keep("abcd", "abd", "c");
    check("nvidia.com/gpu: GPU-a GPU-b GPU-d GPU-c!\n");
    keep("abcd", "abd", ""); /* it was taken off, and is not missed */
    check("nvidia.com/gpu: GPU-a GPU-b GPU-d\n");
    keep("abcd", "abcd", "c"); /* it is there */
    check("nvidia.com/gpu: GPU-a GPU-b GPU-c GPU-d\n");
    keep("a", "", "a"); /* the last of its kind */
    check("nvidia.com/gpu: GPU-a!\n");
    keep("aB", "a", "b");
    check("nvidia.com/gpu: GPU-a\nnvidia.com/mig-1g.10gb: MIG-b0! MIG-b1!\n");
}

/* Once more from what was kept, as with every look. */
static void test_again(void **state)
{
    keep("abcd", "abd", "c");
    dv_offers_free(before);
    before = after;
    after = make("ab");
    assert_int_equal(dv_offers_keep(after, before, has_gone, "cd"), 0);
    check("nvidia.com/gpu: GPU-a GPU-b GPU-d! GPU-c!\n");
    dv_offers_free(before);
    before = after;
    after = make("abcd");
    assert_int_equal(dv_offers_keep(after, before, has_gone, ""), 0);
    check("nvidia.com/gpu: GPU-a GPU-b GPU-c GPU-d\n");
}

static void test_shares(void **state)
{
    struct dv_plugin_share share = {.name = "nvidia.com/gpu", .replicas = 2};
    struct dv_layout *layout = NULL;
    struct dv_err err = {{0}};
    assert_int_equal(dv_plugin_config_add(&config->sharing[DV_PLUGIN_TIME_SLICING], &share), 0);
    config->sharing[DV_PLUGIN_TIME_SLICING].given = true;
    keep("ab", "a", "b");
    assert_int_equal(after->n_offers, 1);
    assert_int_equal(after->offers[0].n_units, 4);
    assert_int_equal(dv_offers_layout(after, &layout, &err), 0);
    assert_int_equal(layout->rules[0].n_list, 1); /* nothing is to be done about b */
    dv_layout_free(layout);
}

/* By index an id is another's by now, and the last one nobody's that is missing. */
static void test_by_index(void **state)
{
    config->flags.plugin.id = DV_PLUGIN_ID_INDEX;
    keep("abcd", "abd", "c");
    check("nvidia.com/gpu: 0 1 2\n");
    keep("abcd", "abc", "d");
    check("nvidia.com/gpu: 0 1 2 3!\n");
}

static void test_nothing_of_it_is_granted(void **state)
{
    static const char *const ids[] = {"GPU-a", "GPU-c"};
    struct dv_offer_answer *answer = calloc(1, sizeof *answer);
    assert_non_null(answer);
    keep("abc", "ab", "c");
    assert_int_equal(dv_offers_allocate(after, &after->offers[0], ids, 2, answer), 0);
    assert_int_equal(answer->refusal, DV_OFFER_UNKNOWN_ID);
    assert_string_equal(answer->id, "GPU-c");
    free(answer);
}

/* The same message is not sent twice; that it has gone is one. */
static void test_what_changes(void **state)
{
    struct dv_offers_diff *diff = calloc(1, sizeof *diff);
    assert_non_null(diff);
    keep("abc", "ab", "c");
    dv_offers_diff(before, after, diff);
    assert_int_equal(diff->n, 1);
    assert_int_equal(diff->changes[0].change, DV_OFFER_CHANGES);
    struct dv_offers *next = make("ab");
    assert_int_equal(dv_offers_keep(next, after, has_gone, "c"), 0);
    dv_offers_diff(after, next, diff);
    assert_int_equal(diff->changes[0].change, DV_OFFER_SAME);
    dv_offers_free(next);
    free(diff);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_units_stay, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shares, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_by_index, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_of_it_is_granted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_changes, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
