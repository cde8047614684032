/* SPDX-License-Identifier: Apache-2.0 */
/* What is written: exact texts, and that reading gives back what was written. */
#include "base/rng.h"
#include "layoutfile/layoutfile.h"
#include "model/gpu_model.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct dv_layoutfile_info info;
static struct dv_err err;

static struct dv_layout *read_text(const char *text, const char *config)
{
    struct dv_layout *l = NULL;
    int r = dv_layoutfile_read("f.yaml", text, strlen(text), config, &l, &info, &err);
    if (r < 0)
        fail_msg("%d: %s\n%s", r, err.msg, text);
    return l;
}

static void assert_written(const char *text, const char *config, const char *expected)
{
    dv_cleanup(dv_layout_freep) struct dv_layout *l = read_text(text, config);
    dv_cleanup(dv_str_done) struct dv_str out = {0};
    dv_layoutfile_write(l, &out);
    assert_string_equal(dv_str_get(&out), expected);
}

static void test_write(void **state)
{
    static const char text[] = "apiVersion: divvy/v1\n"
                               "kind: Layout\n"
                               "gpus:\n"
                               "  - gpu: 0\n"
                               "    mig:\n"
                               "      - {profile: 3g.40gb, start: 4, mode: exclusive}\n"
                               "      - {profile: 1c.3g.40gb, count: 3, mode: mps, replicas: 4}\n"
                               "      - {profile: \"1g.24gb+me,gfx\", mode: auto}\n"
                               "  - gpu: GPU-12345678\n"
                               "    mig: []\n"
                               "  - gpu: \"NVIDIA A100-SXM4-80GB\"\n"
                               "    mode: timeslice\n"
                               "    replicas: 4\n"
                               "    timeslice: short\n"
                               "  - gpu: all\n"
                               "    boards: [\"0x20B010DE\", \"0x20B010DE:0x146310DE\"]\n"
                               "    capableOnly: true\n"
                               "    rank: 7\n"
                               "    mode: governed\n"
                               "sharing:\n"
                               "  - devices: whole\n"
                               "    only: [\"0\", \"GPU-1234\"]\n"
                               "    mode: timeslice\n"
                               "    timeslice: long\n"
                               "  - devices: mig\n"
                               "    first: 3\n"
                               "    mode: exclusive\n";
    assert_written(text, NULL, text);
}

static void test_write_of_other_formats(void **state)
{
    assert_written("version: v1\nmig-configs:\n  x:\n"
                   "  - {devices: all, mig-enabled: false}\n"
                   "  - {devices: [1], mig-enabled: true, mig-devices: {1g.5gb: 2, 2g.10gb: 1}}\n",
                   "x",
                   "apiVersion: divvy/v1\nkind: Layout\npart: cut\ngpus:\n"
                   "  - gpu: all\n    capableOnly: true\n    mode: auto\n"
                   "  - gpu: 1\n    rank: 1\n    mig:\n"
                   "      - {profile: 1g.5gb, count: 2, mode: auto}\n"
                   "      - {profile: 2g.10gb, mode: auto}\n");
    assert_written("version: v1\nsharing:\n  mps:\n    resources:\n"
                   "    - {name: nvidia.com/gpu, replicas: 3}\n",
                   NULL,
                   "apiVersion: divvy/v1\nkind: Layout\npart: sharing\nsharing:\n"
                   "  - devices: whole\n    mode: mps\n    replicas: 3\n");
    assert_written("version: v1\n", NULL,
                   "apiVersion: divvy/v1\nkind: Layout\npart: sharing\nsharing: []\n");
}

/* ---- read(write(x)) == x ---- */

static struct dv_rng rng = {.state = 20261126};

static uint32_t below(uint32_t n)
{
    return (uint32_t)dv_rng_below(&rng, n);
}

static struct dv_layout_sharing random_sharing(void)
{
    struct dv_layout_sharing s = {.mode = (enum dv_mode)below(5)};
    bool many = s.mode == DV_MODE_MPS || s.mode == DV_MODE_TIMESLICE || s.mode == DV_MODE_GOVERNED;
    if (many && below(2))
        s.replicas = 2 + below(DV_LAYOUT_REPLICAS_MAX - 1);
    if (s.mode == DV_MODE_TIMESLICE)
        s.timeslice = (enum dv_timeslice)below(4);
    return s;
}

static void random_profile(char ret[DV_MIG_NAME])
{
    struct dv_mig_name name = {
        .slices = 1 + below(7), .gigabytes = 1 + below(300), .media = (enum dv_mig_media)below(4)};
    if (!below(3))
        name.compute = 1 + below(name.slices);
    if (name.media != DV_MIG_MEDIA_NONE)
        name.graphics = !below(4);
    dv_mig_name_format(&name, ret);
}

/* No two GPUs of one layout are named alike. */
static struct dv_selector random_selector(uint32_t i)
{
    struct dv_selector s = {.text = "all"};
    switch (below(i ? 3 : 4)) {
    case 0:
        s.kind = DV_SELECTOR_INDEX;
        s.index = i % DV_GPUS_MAX;
        snprintf(s.text, sizeof s.text, "%u", s.index);
        break;
    case 1:
        s.kind = DV_SELECTOR_UUID;
        snprintf(s.text, sizeof s.text, "GPU-%08x-ab", i);
        break;
    case 2:
        s.kind = DV_SELECTOR_MODEL;
        snprintf(s.text, sizeof s.text, "%s%u", below(2) ? "Model: \"x\" \\#" : "null", i);
        break;
    default:
        break;
    }
    return s;
}

static void random_entry(struct dv_layout_gpu *e, uint32_t i)
{
    *e = (struct dv_layout_gpu){.gpus = random_selector(i), .capable_only = below(2)};
    e->rank = below(2) ? below(500) : e->gpus.kind == DV_SELECTOR_ANY ? 0 : 2;
    if (!below(3))
        e->n_filters = 1 + below(4);
    for (uint32_t k = 0; k < e->n_filters; k++)
        e->filters[k] = (struct dv_layout_filter){
            .device = 1 + (uint32_t)(dv_rng_next(&rng) >> 33),
            .subsystem = below(2) ? 1 + (uint32_t)(dv_rng_next(&rng) >> 33) : 0};
    if (!below(3)) {
        e->n_devices = 1;
        e->devices[0].start = DV_MIG_UNPLACED;
        e->devices[0].sharing = random_sharing();
        return;
    }
    e->n_devices = below(DV_LAYOUT_DEVICES_MAX + 1);
    for (uint32_t k = 0; k < e->n_devices; k++) {
        struct dv_layout_device *d = &e->devices[k];
        if (k && below(2)) {
            *d = d[-1]; /* runs of the same */
            continue;
        }
        random_profile(d->profile);
        d->start = below(2) ? below(DV_MIG_GRID_MAX) : DV_MIG_UNPLACED;
        d->sharing = random_sharing();
    }
}

static void random_rule(struct dv_layout_rule *r)
{
    *r = (struct dv_layout_rule){.sharing = random_sharing()};
    if (below(3) == 0)
        memcpy(r->profile, "*", 2);
    else if (below(2))
        random_profile(r->profile);
    if (below(3) == 0) {
        r->count = 1 + below(100);
        return;
    }
    if (below(2))
        return;
    r->n_list = 1 + below(DV_LAYOUT_LIST_MAX);
    r->list = calloc(r->n_list, sizeof *r->list);
    assert_non_null(r->list);
    for (uint32_t k = 0; k < r->n_list; k++)
        snprintf(r->list[k], sizeof r->list[k],
                 below(2)   ? "%u"
                 : below(2) ? "%u:3"
                 : below(2) ? "MIG-GPU-%08x/1/0"
                            : "GPU-%08x",
                 k);
}

static struct dv_layout *random_layout(void)
{
    struct dv_layout *l = calloc(1, sizeof *l);
    assert_non_null(l);
    uint32_t part = below(3);
    l->has_cut = part != 1;
    l->has_sharing = part != 2;
    l->n_entries = l->has_cut ? below(DV_GPUS_MAX) : 0;
    l->n_rules = l->has_sharing ? below(20) : 0;
    l->entries = calloc(l->n_entries + 1, sizeof *l->entries);
    l->rules = calloc(l->n_rules + 1, sizeof *l->rules);
    assert_non_null(l->entries);
    assert_non_null(l->rules);
    for (uint32_t i = 0; i < l->n_entries; i++)
        random_entry(&l->entries[i], i);
    for (uint32_t i = 0; i < l->n_rules; i++)
        random_rule(&l->rules[i]);
    return l;
}

/* Padding is zero on both sides, so that whole structs compare; lines are not part of it. */
static void assert_equal(const struct dv_layout *a, struct dv_layout *b)
{
    assert_int_equal(a->has_cut, b->has_cut);
    assert_int_equal(a->has_sharing, b->has_sharing);
    assert_int_equal(a->n_entries, b->n_entries);
    assert_int_equal(a->n_rules, b->n_rules);
    for (uint32_t i = 0; i < a->n_entries; i++) {
        const struct dv_layout_gpu *x = &a->entries[i];
        const struct dv_layout_gpu *y = &b->entries[i];
        assert_true(y->line > 0);
        assert_int_equal(x->gpus.kind, y->gpus.kind);
        assert_int_equal(x->gpus.index, y->gpus.index);
        assert_string_equal(x->gpus.text, y->gpus.text);
        assert_int_equal(x->n_filters, y->n_filters);
        assert_memory_equal(x->filters, y->filters, x->n_filters * sizeof x->filters[0]);
        assert_int_equal(x->capable_only, y->capable_only);
        assert_int_equal(x->rank, y->rank);
        assert_int_equal(x->n_devices, y->n_devices);
        for (uint32_t k = 0; k < x->n_devices; k++) {
            assert_string_equal(x->devices[k].profile, y->devices[k].profile);
            assert_int_equal(x->devices[k].start, y->devices[k].start);
            assert_memory_equal(&x->devices[k].sharing, &y->devices[k].sharing,
                                sizeof x->devices[k].sharing);
        }
    }
    for (uint32_t i = 0; i < a->n_rules; i++) {
        const struct dv_layout_rule *x = &a->rules[i], *y = &b->rules[i];
        assert_string_equal(x->profile, y->profile);
        assert_int_equal(x->count, y->count);
        assert_int_equal(x->n_list, y->n_list);
        for (uint32_t k = 0; k < x->n_list; k++)
            assert_string_equal(x->list[k], y->list[k]);
        assert_memory_equal(&x->sharing, &y->sharing, sizeof x->sharing);
    }
}

static void test_round_trip(void **state)
{
    for (int i = 0; i < 300; i++) {
        struct dv_layout *x = random_layout();
        struct dv_str out = {0};
        dv_layoutfile_write(x, &out);
        struct dv_layout *y = read_text(dv_str_get(&out), NULL);
        assert_equal(x, y);
        dv_layout_free(x);
        dv_layout_free(y);
        dv_str_done(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write),
        cmocka_unit_test(test_write_of_other_formats),
        cmocka_unit_test(test_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
