/* SPDX-License-Identifier: Apache-2.0 */
/* The policy "divvy": what it prefers, by hand, and what has to hold whatever comes. */
#include "base/rng.h"
#include "policy/place/own.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct world {
    struct dv_cluster *cluster;
    struct dv_popularity *popularity;
    struct dv_place *place;
};

static void open_world(struct world *w, const struct dv_cluster_node *nodes, size_t n)
{
    *w = (struct world){.cluster = dv_cluster_new()};
    assert_non_null(w->cluster);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(dv_cluster_add(w->cluster, &nodes[i], NULL), 0);
    assert_int_equal(dv_cluster_seal(w->cluster, NULL), 0);
    w->popularity = dv_popularity_new(w->cluster);
    assert_non_null(w->popularity);
}

static void know(struct world *w, struct dv_cluster_pod pod, uint64_t count)
{
    assert_int_equal(dv_popularity_add(w->popularity, &pod, count), 0);
}

static void begin(struct world *w)
{
    struct dv_place_config config = {.cluster = w->cluster,
                                     .policy = dv_place_policy_find("divvy", NULL),
                                     .popularity = w->popularity};
    assert_int_equal(dv_place_new(&config, &w->place, NULL), 0);
}

static void close_world(struct world *w)
{
    dv_place_freep(&w->place);
    dv_popularity_freep(&w->popularity);
    dv_cluster_freep(&w->cluster);
}

/* The name of the node where the pod was put. */
static const char *put(struct world *w, struct dv_cluster_pod pod)
{
    struct dv_place_verdict v;
    int r = dv_place_find(w->place, &pod, &v);
    assert_true(r >= 0);
    if (r > 0)
        return "nowhere";
    assert_int_equal(dv_place_take(w->place, v.node, &pod, &v.taking), 0);
    return dv_cluster_fixed(w->cluster, v.node)->name;
}

static const struct dv_cluster_pod p470 = {1000, 1000, 1, 470, 0, 0};
static const struct dv_cluster_pod p320 = {1000, 1000, 1, 320, 0, 0};
static const struct dv_cluster_pod whole = {1000, 1000, 1, 1000, 0, 0};
static const struct dv_cluster_pod eight = {60000, 8000, 8, 1000, 0, 0};

static void is_the_default(void **state)
{
    assert_string_equal(dv_place_policy_at(0)->name, "divvy");
}

static void like_goes_to_like(void **state)
{
    struct dv_cluster_node nodes[] = {
        {.name = "n", .cpu_milli = 96000, .memory_mib = 96000, .gpus = 4, .model = "G2"}};
    struct world w;
    open_world(&w, nodes, 1);
    know(&w, p470, 10);
    know(&w, p320, 10);
    begin(&w);
    put(&w, p470);
    put(&w, p320); /* not into the 530 beside the 470, where it would waste a sixth */
    put(&w, p470);
    put(&w, p320);
    put(&w, p320);
    const struct dv_cluster_state *s = dv_cluster_state(w.cluster, 0);
    uint16_t left[4] = {0};
    memcpy(left, s->gpu, sizeof left);
    assert_int_equal(left[0] + left[1] + left[2] + left[3], 60 + 40 + 2000);
    assert_true((left[0] == 60 && left[1] == 40) || (left[0] == 40 && left[1] == 60));
    close_world(&w);
}

/* A pod without GPUs takes the CPU that no GPU needs. */
static void cpu_where_it_strands_nothing(void **state)
{
    struct dv_cluster_node nodes[] = {
        {.name = "a", .cpu_milli = 16000, .memory_mib = 96000, .gpus = 8, .model = "G2"},
        {.name = "b", .cpu_milli = 104000, .memory_mib = 96000, .gpus = 2, .model = "T4"}};
    struct world w;
    open_world(&w, nodes, 2);
    know(&w, whole, 10);
    begin(&w);
    assert_string_equal(put(&w, (struct dv_cluster_pod){.cpu_milli = 10000}), "b");
    close_world(&w);
}

/* A node that is full of 60 cores beside 8 GPUs has 20 cores that no GPU needs. Who takes them
 * stays when the GPUs come back, and then there is no room for 75: no matter, unless pods do leave.
 */
static void cpu_where_places_come_back(void **state)
{
    static const struct dv_cluster_pod heavy = {75000, 8000, 8, 1000, 0, 0};
    struct dv_cluster_node nodes[] = {
        {.name = "big", .cpu_milli = 80000, .memory_mib = 96000, .gpus = 8, .model = "G2"},
        {.name = "small", .cpu_milli = 70000, .memory_mib = 96000, .gpus = 2, .model = "T4"}};
    for (int rounds = 0; rounds <= 60; rounds += 60) {
        struct world w;
        struct dv_place_verdict v;
        open_world(&w, nodes, 2);
        know(&w, eight, 10);
        know(&w, heavy, 10);
        begin(&w);
        for (int i = 0; i < rounds; i++) {
            assert_int_equal(dv_place_find(w.place, &eight, &v), 0);
            assert_int_equal(dv_place_take(w.place, v.node, &eight, &v.taking), 0);
            assert_int_equal(dv_place_give_back(w.place, v.node, &eight, &v.taking), 0);
        }
        assert_string_equal(put(&w, eight), "big");
        assert_string_equal(put(&w, whole), "small");
        assert_string_equal(put(&w, whole), "small");
        assert_string_equal(put(&w, (struct dv_cluster_pod){.cpu_milli = 15000}),
                            rounds ? "small" : "big");
        close_world(&w);
    }
}

static void empty_nodes_are_kept_for_those_who_need_them(void **state)
{
    struct dv_cluster_node nodes[] = {
        {.name = "a", .cpu_milli = 96000, .memory_mib = 96000, .gpus = 8, .model = "G2"},
        {.name = "b", .cpu_milli = 96000, .memory_mib = 96000, .gpus = 8, .model = "G2"}};
    struct world w;
    open_world(&w, nodes, 2);
    know(&w, whole, 10);
    know(&w, eight, 10);
    begin(&w);
    const char *first = put(&w, whole);
    for (int i = 0; i < 7; i++)
        assert_string_equal(put(&w, whole), first);
    assert_string_not_equal(put(&w, eight), "nowhere");
    close_world(&w);
}

/* Two nodes in the same state, with other pods on them: by their history, whatever their names. */
static void of_equals_the_one_that_changed_longer_ago(void **state)
{
    static const struct dv_cluster_pod half = {1000, 1000, 1, 500, 0, 0};
    for (int turn = 0; turn < 2; turn++) {
        struct dv_cluster_node nodes[] = {
            {.name = "a", .cpu_milli = 96000, .memory_mib = 96000, .gpus = 1, .model = "T4"},
            {.name = "b", .cpu_milli = 96000, .memory_mib = 96000, .gpus = 1, .model = "T4"}};
        struct world w;
        struct dv_place_verdict at[4], last;
        open_world(&w, nodes, 2);
        know(&w, half, 10);
        begin(&w);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(dv_place_find(w.place, &half, &at[i]), 0);
            assert_int_equal(dv_place_take(w.place, at[i].node, &half, &at[i].taking), 0);
        }
        assert_int_equal(at[0].node, at[1].node);
        assert_int_equal(at[2].node, at[3].node);
        int first = turn ? 2 : 0, second = turn ? 0 : 2;
        assert_int_equal(dv_place_give_back(w.place, at[first].node, &half, &at[first].taking), 0);
        assert_int_equal(dv_place_give_back(w.place, at[second].node, &half, &at[second].taking),
                         0);
        assert_int_equal(dv_place_find(w.place, &half, &last), 0);
        assert_int_equal(last.node, at[first].node);
        close_world(&w);
    }
}

static void models_are_kept_for_those_who_run_on_nothing_else(void **state)
{
    struct dv_cluster_node nodes[] = {
        {.name = "a", .cpu_milli = 96000, .memory_mib = 96000, .gpus = 4, .model = "A10"},
        {.name = "b", .cpu_milli = 96000, .memory_mib = 96000, .gpus = 4, .model = "T4"}};
    struct world w;
    open_world(&w, nodes, 2);
    struct dv_cluster_pod pinned = whole;
    assert_int_equal(dv_cluster_spec(w.cluster, "A10", false, &pinned.spec, NULL), 0);
    know(&w, whole, 10);
    know(&w, pinned, 10);
    begin(&w);
    for (int i = 0; i < 4; i++)
        assert_string_equal(put(&w, whole), "b");
    for (int i = 0; i < 4; i++)
        assert_string_equal(put(&w, pinned), "a");
    close_world(&w);
}

/* The terms of a rest, by hand: 2 GPUs and the CPU of exactly two with a deviation of 0.32 * mean
 * * sqrt(2): stranded = 0.32 * sqrt(2) / sqrt(2 pi). */
static void terms_by_hand(void **state)
{
    static struct dv_own_world w;
    dv_cleanup(dv_popularity_freep) struct dv_popularity *p = dv_popularity_new(NULL);
    struct dv_cluster_pod pod = {.cpu_milli = 10000, .gpus = 1, .gpu_milli = 1000};
    assert_int_equal(dv_popularity_add(p, &pod, 1), 0);
    assert_int_equal(dv_own_world_read(&w, p, NULL, NULL, NULL), 0);
    assert_true(fabs(w.demand.cpu_per_gpu - 10000) < 1e-9);
    struct dv_own_rest rest = {.worth = 2 * DV_OWN_UNIT, .cpu_milli = 20000, .whole = 2};
    struct dv_own_terms t;
    dv_own_terms_of(&w, &rest, &t);
    assert_true(fabs(t.stranded - 0.32 * sqrt(2) / sqrt(2 * M_PI)) < 1e-4);
    assert_true(fabs(t.gradient - 2 * exp(-1 / 0.276)) < 1e-9);
    rest.cpu_milli = 0; /* both are stranded, and the gradient is at its end */
    dv_own_terms_of(&w, &rest, &t);
    assert_true(fabs(t.stranded - 2) < 1e-3);
    assert_true(fabs(t.gradient - 2) < 1e-9);
    rest.cpu_milli = 200000; /* plenty */
    dv_own_terms_of(&w, &rest, &t);
    assert_true(t.stranded < 1e-9 && t.gradient < 1e-9);
    rest = (struct dv_own_rest){.cpu_milli = 5000};
    dv_own_terms_of(&w, &rest, &t);
    assert_true(t.stranded == 0 && t.gradient == 0 && t.open == 0 && t.reserve == 0);
}

static void shapes_by_hand(void **state)
{
    struct dv_own_demand d;
    dv_cleanup(dv_popularity_freep) struct dv_popularity *p = dv_popularity_new(NULL);
    struct dv_cluster_pod pods[] = {
        {.cpu_milli = 8000, .memory_mib = 100, .gpus = 1, .gpu_milli = 500}, /* 50 GPUs */
        {.cpu_milli = 64000, .memory_mib = 800, .gpus = 8, .gpu_milli = 1000},
        {.cpu_milli = 120000, .memory_mib = 800, .gpus = 8, .gpu_milli = 1000},
        {.cpu_milli = 20000, .memory_mib = 800, .gpus = 2, .gpu_milli = 1000}};
    static const uint64_t counts[] = {100, 3, 1, 9};
    for (size_t i = 0; i < DV_ARRAY_SIZE(pods); i++)
        assert_int_equal(dv_popularity_add(p, &pods[i], counts[i]), 0);
    assert_int_equal(dv_own_demand_read(p, NULL, &d), 0);
    assert_int_equal(d.n_shapes, 3); /* 2 GPUs; 8 with 64 and with 120 cores: of 100 GPUs */
    assert_true(fabs(d.shapes[0].share - 0.50) < 1e-9);
    assert_int_equal(d.shapes[1].cpu_milli, 64000);
    assert_true(fabs(d.shapes[1].share - 0.32) < 1e-9);
    assert_int_equal(d.shapes[2].cpu_milli, 120000);
    assert_true(fabs(d.shapes[2].share - 0.08) < 1e-9);
    struct dv_own_rest rest = {.cpu_milli = 96000, .memory_mib = 1000, .whole = 8};
    assert_int_equal(dv_own_hosts(&d.shapes[0], &rest), 1); /* memory for one */
    rest.memory_mib = 100000;
    assert_int_equal(dv_own_hosts(&d.shapes[0], &rest), 4);
    assert_int_equal(dv_own_hosts(&d.shapes[1], &rest), 1);
    assert_int_equal(dv_own_hosts(&d.shapes[2], &rest), 0);
    assert_true(fabs(d.cpu_per_gpu - (100 * 8000 + 3 * 64000 + 120000 + 180000) / 100.0) < 1e-9);
}

/* ---- whatever comes ---- */

#define NODES 40
#define PODS 25
#define ARRIVALS 600

struct story {
    struct dv_cluster_node nodes[NODES];
    struct dv_cluster_pod pods[PODS];
    uint64_t counts[PODS];
    const char *specs[PODS];
    uint32_t arrivals[ARRIVALS];
    bool leaves[ARRIVALS]; /* before this arrival, one that is there leaves */
};

static void tell(struct story *s, uint64_t seed)
{
    static const char *const models[] = {"A10", "T4", "V100"};
    static const char *const specs[] = {"", "", "", "T4", "A10|V100"};
    static const uint16_t sizes[] = {1000, 1000, 810, 470, 320, 650, 230, 100};
    struct dv_rng rng = {seed};
    memset(s, 0, sizeof *s);
    for (int i = 0; i < NODES; i++) {
        uint32_t shape = (uint32_t)dv_rng_below(&rng, 4);
        s->nodes[i] = (struct dv_cluster_node){.cpu_milli = 32000 << (shape / 2),
                                               .memory_mib = 65536,
                                               .gpus = shape ? 1u << shape : 0,
                                               .model = shape ? models[shape - 1] : NULL,
                                               .no_mig = true};
    }
    for (int i = 0; i < PODS; i++) {
        uint8_t gpus = (uint8_t)(dv_rng_below(&rng, 8) == 0 ? 1 << dv_rng_below(&rng, 4)
                                                            : dv_rng_below(&rng, 8) != 0);
        s->pods[i] =
            (struct dv_cluster_pod){.cpu_milli = 500 * (1 + (uint32_t)dv_rng_below(&rng, 30)),
                                    .memory_mib = 512 * (1 + (uint32_t)dv_rng_below(&rng, 20)),
                                    .gpus = gpus,
                                    .gpu_milli = gpus == 0  ? 0
                                                 : gpus > 1 ? 1000
                                                            : sizes[dv_rng_below(&rng, 8)]};
        s->specs[i] = gpus ? specs[dv_rng_below(&rng, DV_ARRAY_SIZE(specs))] : "";
        s->counts[i] = 1 + dv_rng_below(&rng, 50);
    }
    for (int i = 0; i < ARRIVALS; i++) {
        s->arrivals[i] = (uint32_t)dv_rng_below(&rng, PODS);
        s->leaves[i] = i > ARRIVALS / 2 && dv_rng_below(&rng, 3) == 0;
    }
}

struct outcome {
    int64_t scores[ARRIVALS]; /* INT64_MIN: nowhere */
    uint64_t milli;
};

struct held {
    uint32_t node;
    struct dv_cluster_pod pod;
    struct dv_cluster_taking taking;
};

/* Is the verdict what a look at every node from scratch finds? */
static void check_best(struct world *w, const struct dv_cluster_pod *pod,
                       const struct dv_place_verdict *v)
{
    for (uint32_t i = 0; i < NODES; i++) {
        int64_t score = 0;
        struct dv_cluster_taking taking;
        enum dv_place_lack lack;
        if (dv_place_score(w->place, i, pod, &score, &taking, &lack) != 0)
            continue;
        assert_true(score <= v->score);
        if (i == v->node)
            assert_true(score == v->score);
    }
    struct dv_place_term terms[DV_PLACE_TERMS_MAX];
    int64_t cost = 0;
    assert_int_equal(dv_place_terms(w->place, v->node, pod, &v->taking, false, terms), 6);
    for (int i = 0; i < 6; i++)
        cost += terms[i].micro;
    assert_true(llabs(cost - llrint((double)-v->score / 1073.741824)) <= 4);
}

/* One story on a cluster whose nodes are named by `names`. */
static void play(const struct story *s, uint64_t names, struct outcome *ret)
{
    struct dv_cluster_node nodes[NODES];
    char text[NODES][32];
    struct dv_rng rng = {names};
    for (int i = 0; i < NODES; i++) {
        nodes[i] = s->nodes[i];
        snprintf(text[i], sizeof text[i], "%016llx", (unsigned long long)dv_rng_next(&rng));
        nodes[i].name = text[i];
    }
    struct world w;
    open_world(&w, nodes, NODES);
    struct dv_cluster_pod pods[PODS];
    for (int i = 0; i < PODS; i++) {
        pods[i] = s->pods[i];
        assert_int_equal(dv_cluster_spec(w.cluster, s->specs[i], true, &pods[i].spec, NULL), 0);
        know(&w, pods[i], s->counts[i]);
    }
    begin(&w);
    static struct held held[ARRIVALS];
    size_t n = 0;
    ret->milli = 0;
    for (int i = 0; i < ARRIVALS; i++) {
        if (s->leaves[i] && n) {
            struct held *gone = &held[(size_t)i * 7919 % n];
            assert_int_equal(dv_place_give_back(w.place, gone->node, &gone->pod, &gone->taking), 0);
            memmove(gone, gone + 1, (size_t)(&held[--n] - gone) * sizeof *gone);
        }
        struct dv_place_verdict v;
        const struct dv_cluster_pod *pod = &pods[s->arrivals[i]];
        ret->scores[i] = INT64_MIN;
        if (dv_place_find(w.place, pod, &v) != 0)
            continue;
        if (i % 16 == 0)
            check_best(&w, pod, &v);
        ret->scores[i] = v.score;
        assert_int_equal(dv_place_take(w.place, v.node, pod, &v.taking), 0);
        held[n++] = (struct held){v.node, *pod, v.taking};
        ret->milli += (uint64_t)pod->gpus * pod->gpu_milli;
    }
    while (n--)
        assert_int_equal(dv_place_give_back(w.place, held[n].node, &held[n].pod, &held[n].taking),
                         0);
    struct dv_cluster_sum all = dv_cluster_total(w.cluster);
    struct dv_cluster_sum left = dv_cluster_free_now(w.cluster);
    assert_memory_equal(&all, &left, sizeof all);
    close_world(&w);
}

/* Of a model that many are bound to next to nothing is left: its price is high and has an end. */
static void a_model_runs_out(void **state)
{
    enum { PLENTY = 4096 };
    static char names[PLENTY][8];
    static struct dv_cluster_node nodes[PLENTY + 1];
    for (int i = 0; i < PLENTY; i++) {
        snprintf(names[i], sizeof names[i], "a%d", i);
        nodes[i] = (struct dv_cluster_node){
            .name = names[i], .cpu_milli = 64000, .memory_mib = 64000, .gpus = 16, .model = "A"};
    }
    nodes[PLENTY] = (struct dv_cluster_node){
        .name = "b", .cpu_milli = 64000, .memory_mib = 64000, .gpus = 1, .model = "B"};
    struct world w;
    struct dv_cluster_pod bound = {10, 10, 1, 10, 0, 0};
    open_world(&w, nodes, PLENTY + 1);
    assert_int_equal(dv_cluster_spec(w.cluster, "B", false, &bound.spec, NULL), 0);
    know(&w, bound, 100);
    know(&w, p470, 1);
    begin(&w);
    for (int i = 0; i < 100; i++) {
        struct dv_place_verdict v;
        assert_int_equal(dv_place_find(w.place, &bound, &v), 0);
        assert_int_equal(v.waste, 0);
        assert_in_range(v.score + (INT64_C(1) << 50), 0, INT64_C(1) << 51);
        assert_int_equal(dv_place_take(w.place, v.node, &bound, &v.taking), 0);
    }
    assert_string_equal(put(&w, bound), "nowhere");
    close_world(&w);
}

static void names_do_not_matter(void **state)
{
    static struct story s;
    static struct outcome first, other;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        tell(&s, seed);
        play(&s, 1, &first);
        assert_true(first.milli > 0);
        for (uint64_t names = 2; names <= 4; names++) {
            play(&s, names, &other);
            assert_memory_equal(first.scores, other.scores, sizeof first.scores);
            assert_int_equal(first.milli, other.milli);
        }
    }
}

/* Knows nothing, and then what has come. */
static void learns(void **state)
{
    struct dv_cluster_node nodes[] = {
        {.name = "n", .cpu_milli = 96000, .memory_mib = 96000, .gpus = 4, .model = "G2"}};
    struct world w;
    open_world(&w, nodes, 1);
    begin(&w);
    struct dv_place_verdict before, after;
    put(&w, p470);
    assert_int_equal(dv_place_find(w.place, &p320, &before), 0);
    for (int i = 0; i < 20; i++) {
        know(&w, p470, 1);
        know(&w, p320, 1);
    }
    dv_place_refresh(w.place);
    assert_int_equal(dv_place_find(w.place, &p320, &after), 0);
    assert_int_not_equal(before.score, after.score);
    assert_int_not_equal(after.taking.gpus[0], 0); /* now it knows what fits beside 470 */
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_the_default),
        cmocka_unit_test(like_goes_to_like),
        cmocka_unit_test(cpu_where_it_strands_nothing),
        cmocka_unit_test(cpu_where_places_come_back),
        cmocka_unit_test(empty_nodes_are_kept_for_those_who_need_them),
        cmocka_unit_test(of_equals_the_one_that_changed_longer_ago),
        cmocka_unit_test(models_are_kept_for_those_who_run_on_nothing_else),
        cmocka_unit_test(terms_by_hand),
        cmocka_unit_test(shapes_by_hand),
        cmocka_unit_test(a_model_runs_out),
        cmocka_unit_test(names_do_not_matter),
        cmocka_unit_test(learns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
