/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the engine keeps against a look at every node: on clusters of chance, with pods of chance
 * that come and go, under every policy. The best by score from scratch is what is found; counts add
 * up; nothing is ever promised twice; what came and went leaves no trace.
 */
#include "base/rng.h"
#include "policy/place/frag.h"
#include "policy/place/place.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NODES_MAX 40
#define KINDS 24
#define STEPS 400
#define ROUNDS 6

struct running {
    uint32_t node, kind;
    struct dv_cluster_taking taking;
};

struct world {
    struct dv_rng rng;
    struct dv_cluster *cluster;
    struct dv_popularity *popularity;
    struct dv_place *place;
    const struct dv_place_policy *policy;
    struct dv_cluster_pod kinds[KINDS];
    struct running running[STEPS];
    uint32_t n;
};

static uint32_t below(struct world *w, uint32_t n)
{
    return (uint32_t)dv_rng_below(&w->rng, n);
}

static void make_cluster(struct world *w)
{
    static const char *const models[] = {"T4", "A100-80GB", "V100", "G2"};
    uint32_t n = 1 + below(w, NODES_MAX);
    w->cluster = dv_cluster_new();
    assert_non_null(w->cluster);
    for (uint32_t i = 0; i < n; i++) {
        char name[32];
        struct dv_topology t;
        snprintf(name, sizeof name, "n%u", i);
        uint32_t gpus = below(w, 3) ? 1u << below(w, 4) : 0;
        dv_topology_init(&t, gpus);
        for (uint32_t a = 0; a < gpus; a++) {
            t.numa[a] = (int32_t)(a / 2);
            for (uint32_t b = 0; b < a; b++)
                if (a / 4 == b / 4)
                    dv_topology_set(&t, a, b, (struct dv_link){DV_LINK_NVLINK, 2, DV_LINK_SYS});
        }
        struct dv_cluster_node node = {.name = name,
                                       .cpu_milli = 1000 * (1 + below(w, 64)),
                                       .memory_mib = 1024 * (1 + below(w, 128)),
                                       .gpus = gpus,
                                       .model = gpus ? models[below(w, 4)] : NULL,
                                       .rack = below(w, 2) ? "r1" : "r2",
                                       .topology = gpus ? &t : NULL,
                                       .fraction_wall =
                                           below(w, 2) ? DV_WALL_DRIVER : DV_WALL_COOPERATIVE};
        assert_int_equal(dv_cluster_add(w->cluster, &node, NULL), 0);
    }
    assert_int_equal(dv_cluster_seal(w->cluster, NULL), 0);
}

static void make_wish(struct world *w, struct dv_cluster_pod *pod)
{
    struct dv_cluster_wish wish = {0};
    if (below(w, 3))
        return;
    switch (below(w, 5)) {
    case 0:
        wish.near = below(w, 2) ? DV_CLUSTER_NEAR_NUMA : DV_CLUSTER_NEAR_NVLINK;
        wish.near_required = below(w, 2);
        break;
    case 1:
        snprintf(wish.profile, sizeof wish.profile, "%s", below(w, 2) ? "1g.10gb" : "3g.40gb");
        break;
    case 2:
        wish.any_of = true;
        wish.wall = DV_WALL_DRIVER;
        wish.gpu_memory_mib = 10240;
        break;
    case 3:
        wish.gpu_memory_mib = 1024 * (1 + below(w, 40));
        break;
    default:
        wish.rack = dv_cluster_find_label(w->cluster, "r1");
        if (wish.rack == DV_CLUSTER_NONE)
            wish.rack = 0;
    }
    assert_int_equal(dv_cluster_wish(w->cluster, &wish, &pod->wish, NULL), 0);
}

static void make_kinds(struct world *w, bool wishes)
{
    w->popularity = dv_popularity_new(w->cluster);
    assert_non_null(w->popularity);
    for (uint32_t i = 0; i < KINDS; i++) {
        struct dv_cluster_pod *pod = &w->kinds[i];
        *pod = (struct dv_cluster_pod){.cpu_milli = 500 * below(w, 20),
                                       .memory_mib = 256 * below(w, 40)};
        if (below(w, 6)) {
            bool fraction = below(w, 2);
            pod->gpus = fraction ? (uint8_t)(1 + !below(w, 8)) : (uint8_t)(1u << below(w, 4));
            pod->gpu_milli = fraction ? (uint16_t)(10 * (1 + below(w, 99))) : DV_CLUSTER_MILLI;
        }
        if (pod->gpus && !below(w, 4))
            assert_int_equal(dv_cluster_spec(w->cluster, below(w, 2) ? "T4|V100" : "A100-80GB",
                                             true, &pod->spec, NULL),
                             0);
        if (wishes)
            make_wish(w, pod);
        assert_int_equal(dv_popularity_add(w->popularity, pod, 1 + below(w, 50)), 0);
    }
}

static void open_world(struct world *w, const struct dv_place_policy *policy, uint64_t seed)
{
    memset(w, 0, sizeof *w);
    w->rng.state = seed;
    w->policy = policy;
    make_cluster(w);
    make_kinds(w, seed % 2);
    /* Every third world keeps the scores of two kinds only. */
    struct dv_place_config config = {.cluster = w->cluster,
                                     .policy = policy,
                                     .popularity = w->popularity,
                                     .seed = seed,
                                     .cache_bytes = seed % 3 ? 0 : 2 * NODES_MAX * 16};
    assert_int_equal(dv_place_new(&config, &w->place, NULL), 0);
}

static void close_world(struct world *w)
{
    dv_place_free(w->place);
    dv_popularity_free(w->popularity);
    dv_cluster_free(w->cluster);
}

/* ---- the look at every node ----------------------------------------------------------------- */

/* Score as the engine orders by it: what wastes more lies behind. */
static void check_found(struct world *w, const struct dv_cluster_pod *pod, int r,
                        const struct dv_place_verdict *v)
{
    uint32_t lacks[DV_PLACE_LACKS] = {0}, fitted = 0, best = DV_CLUSTER_NONE;
    int64_t best_score = 0, at_best = 0;
    for (uint32_t i = 0; i < dv_cluster_nodes(w->cluster); i++) {
        int64_t score = 0;
        struct dv_cluster_taking taking;
        enum dv_place_lack lack = DV_PLACE_LACKS;
        if (dv_place_score(w->place, i, pod, &score, &taking, &lack)) {
            lacks[lack]++;
            continue;
        }
        fitted++;
        if (best == DV_CLUSTER_NONE || score > best_score) {
            best = i;
            best_score = score;
        }
        if (v->placed && i == v->node)
            at_best = score;
    }
    assert_int_equal(v->fitted, fitted);
    assert_memory_equal(v->lacks, lacks, sizeof lacks);
    assert_int_equal(r, !fitted);
    assert_int_equal(v->placed, fitted != 0);
    if (!fitted) {
        assert_true(lacks[v->reason] > 0);
        return;
    }
    if (!w->policy->random)
        assert_int_equal(at_best, best_score);
    if (!w->policy->random && !w->policy->before)
        assert_int_equal(v->node, best);
}

static void come(struct world *w)
{
    struct dv_place_verdict v;
    uint32_t kind = below(w, KINDS);
    const struct dv_cluster_pod *pod = &w->kinds[kind];
    int r = dv_place_find(w->place, pod, &v);
    assert_true(r == 0 || r == 1);
    check_found(w, pod, r, &v);
    if (r || w->n == STEPS)
        return;
    assert_int_equal(dv_place_take(w->place, v.node, pod, &v.taking), 0);
    w->running[w->n++] = (struct running){v.node, kind, v.taking};
}

static void go(struct world *w)
{
    if (!w->n)
        return;
    struct running *r = &w->running[below(w, w->n)];
    assert_int_equal(dv_place_give_back(w->place, r->node, &w->kinds[r->kind], &r->taking), 0);
    *r = w->running[--w->n];
}

/* Free and taken are what there is, on every node and GPU. */
static void check_conserved(const struct world *w)
{
    for (uint32_t i = 0; i < dv_cluster_nodes(w->cluster); i++) {
        const struct dv_cluster_state *s = dv_cluster_state(w->cluster, i);
        const struct dv_cluster_fixed *f = dv_cluster_fixed(w->cluster, i);
        uint64_t cpu = s->cpu_milli, memory = s->memory_mib, sum = 0;
        uint32_t gpu[DV_CLUSTER_GPUS_MAX] = {0};
        for (uint32_t k = 0; k < w->n; k++) {
            if (w->running[k].node != i)
                continue;
            const struct dv_cluster_taking *t = &w->running[k].taking;
            cpu += t->cpu_milli;
            memory += t->memory_mib;
            for (uint32_t g = 0; g < t->n; g++)
                gpu[t->gpus[g]] += t->milli;
        }
        assert_int_equal(cpu, f->cpu_milli);
        assert_int_equal(memory, f->memory_mib);
        for (uint32_t g = 0; g < s->n_gpus; g++) {
            struct dv_mig_instance v[DV_MIG_INSTANCES_MAX];
            size_t n = dv_cluster_instances(w->cluster, i, g, v);
            assert_int_equal(s->mig >> g & 1, n > 0);
            assert_int_equal(s->gpu[g] + gpu[g], n ? 0 : DV_CLUSTER_MILLI);
            assert_int_equal(n ? dv_mig_check(f->mig, v, n, NULL) : DV_MIG_OK, DV_MIG_OK);
            sum += s->gpu[g];
        }
        assert_int_equal(sum, s->gpu_milli);
    }
}

static void what_is_kept_is_what_is(void **unused)
{
    const struct dv_place_policy *policy;
    for (size_t p = 0; (policy = dv_place_policy_at(p)); p++)
        for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
            struct world w;
            open_world(&w, policy, seed * 31 + p);
            for (int i = 0; i < STEPS; i++) {
                if (below(&w, 3))
                    come(&w);
                else
                    go(&w);
                if (i % 97 == 96) {
                    assert_int_equal(
                        dv_popularity_add(w.popularity, &w.kinds[below(&w, KINDS)], 40), 0);
                    dv_place_refresh(w.place);
                }
            }
            check_conserved(&w);
            close_world(&w);
        }
}

static void nothing_is_left_of_who_has_gone(void **unused)
{
    const struct dv_place_policy *policy;
    for (size_t p = 0; (policy = dv_place_policy_at(p)); p++) {
        struct world w;
        struct dv_cluster_state before[NODES_MAX];
        open_world(&w, policy, 100 + p);
        uint32_t n = dv_cluster_nodes(w.cluster);
        for (uint32_t i = 0; i < n; i++)
            before[i] = *dv_cluster_state(w.cluster, i);
        for (int i = 0; i < 60; i++)
            come(&w);
        while (w.n)
            go(&w);
        for (uint32_t i = 0; i < n; i++)
            assert_memory_equal(&before[i], dv_cluster_state(w.cluster, i), sizeof *before);
        close_world(&w);
    }
}

/* ---- fragmentation -------------------------------------------------------------------------- */

/* The definition, in words of frag.h. */
static double defined(const struct world *w, const uint32_t *head, int64_t n, uint64_t weight,
                      const struct dv_cluster_state *s)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const struct dv_popularity_kind *k = &w->popularity->kinds[head[i]];
        uint64_t mask = dv_cluster_spec_mask(w->cluster, k->pod.spec);
        uint32_t enough = 0, below_it = 0;
        for (uint32_t g = 0; g < s->n_gpus; g++) {
            enough += s->gpu[g] >= k->pod.gpu_milli;
            below_it += s->gpu[g] < k->pod.gpu_milli ? s->gpu[g] : 0;
        }
        bool fits = k->pod.gpus && (mask >> s->model & 1) && s->cpu_milli >= k->pod.cpu_milli &&
                    enough >= k->pod.gpus;
        sum += (double)k->count / (double)weight * (fits ? below_it : s->gpu_milli);
    }
    return sum;
}

static void fragmentation_is_what_the_definition_says(void **unused)
{
    struct world w;
    open_world(&w, dv_place_policy_find("first-fit", NULL), 6);
    dv_cleanup(dv_frag_freep) struct dv_frag *frag = NULL;
    assert_int_equal(dv_frag_new(w.popularity, DV_FRAG_TYPICAL_PERMILLE, &frag), 0);
    uint32_t *head = NULL;
    int64_t n = dv_popularity_head(w.popularity, DV_FRAG_TYPICAL_PERMILLE, &head);
    uint64_t weight = 0;
    for (int64_t i = 0; i < n; i++)
        weight += w.popularity->kinds[head[i]].count;
    assert_int_equal(dv_frag_typical(frag), n);
    assert_int_equal(dv_frag_weight(frag), weight);
    assert_true(weight * 1000 >= w.popularity->total * 950);
    struct dv_frag_sum sum;
    assert_int_equal(dv_frag_sum_init(&sum, frag, w.cluster), 0);
    for (int step = 0; step < 200; step++) {
        uint32_t node = below(&w, dv_cluster_nodes(w.cluster));
        come(&w);
        double total = 0;
        for (uint32_t i = 0; i < dv_cluster_nodes(w.cluster); i++) {
            const struct dv_cluster_state *s = dv_cluster_state(w.cluster, i);
            int64_t classes[DV_FRAG_CLASSES], of = dv_frag_of(frag, s), all = 0;
            dv_frag_classes(frag, s, classes);
            for (int k = 0; k < DV_FRAG_CLASSES; k++) {
                assert_true(classes[k] >= 0);
                all += classes[k];
            }
            assert_int_equal(all - classes[DV_FRAG_Q3], of);
            assert_int_equal(all, (int64_t)weight * s->gpu_milli);
            double wanted = defined(&w, head, n, weight, s);
            assert_true(wanted - (double)of / (double)weight < 1e-6 &&
                        (double)of / (double)weight - wanted < 1e-6);
            total += wanted;
            if (w.n && i == w.running[w.n - 1].node)
                dv_frag_sum_update(&sum, i, s);
        }
        dv_frag_sum_update(&sum, node, dv_cluster_state(w.cluster, node));
        assert_true(total - dv_frag_sum_milli(&sum) < 1e-3 &&
                    dv_frag_sum_milli(&sum) - total < 1e-3);
    }
    dv_frag_sum_done(&sum);
    free(head);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_kept_is_what_is),
        cmocka_unit_test(nothing_is_left_of_who_has_gone),
        cmocka_unit_test(fragmentation_is_what_the_definition_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
