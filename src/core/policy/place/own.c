/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/place/own.h"

#include "policy/place/internal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SCORE_UNIT                                                                                 \
    1073741824.0         /* costs are compared in 2^-30 GPU: what is less is no difference         \
                          */
#define REFRESH_EVERY 20 /* placements */
/* Scarcity and prices change as the cluster fills. New ones void all scores, so the old ones stay
 * until one of them is off by this, as a natural logarithm. */
#define SCARCITY_OFF 0.5
#define PRICE_OFF 0.2
#define SCARCITY_NONE 1e-4 /* below, differences do not count */
#define PRICE_NONE 1e-3
/* Where pods leave, places for many GPUs are wanted again and again, and are lost for long once
 * single pods lie on them: how much more they count, by how few are free now, and by how few there
 * would be in the empty cluster. */
#define CHURN_NOW 4.0
#define CHURN_EVER 12.0
/* Where less of them is asked for, enough places come back by themselves. */
#define KEPT_FROM 0.2
#define PRICE_ROUNDS 60
/* Of a model of which next to nothing is left. It keeps scores in their bounds: 16 GPUs at this
 * price are 2^19 GPUs. */
#define PRICE_MAX 32768.0
/* What has been learnt is read again once there is this much more of it. */
#define LEARN_MORE 1.1

struct own_node {
    struct dv_own_rest rest;
    double sum; /* dv_own_terms_sum() */
    uint64_t changed;
    uint32_t cpu_milli, memory_mib; /* of pods without GPUs: taken still when the others go */
};

/* Where the pods of a class go: parts of each model, which sum to 1. */
struct spread {
    double part[DV_OWN_CLASSES_MAX][DV_CLUSTER_MODELS_MAX];
};

struct own {
    struct dv_own_world world;
    struct dv_program_solver solver;
    const struct dv_cluster *cluster;
    struct own_node *nodes;
    struct spread *spread; /* for find_prices() */
    uint32_t n;
    uint64_t changes;
    int64_t worth[DV_CLUSTER_MODELS_MAX]; /* sums over the nodes of each model */
    int64_t all_worth;
    uint64_t hosts[DV_OWN_SHAPES_MAX]; /* GPUs in places for this shape */
    uint64_t total_milli;
    uint64_t built[DV_OWN_SHAPES_MAX];
    double
        kept[DV_OWN_SHAPES_MAX]; /* places for it that come back, by how scarce they always are */
    uint64_t learnt;             /* popularity->total when it was read */
    uint64_t come, gone;         /* GPU milli, lately: halved whenever a cluster has come */
};

/* ---- sums over the cluster ------------------------------------------------------------------ */

/* times: 1 puts the node's share into the sums, -1 takes it out. */
static void sum_node(struct own *own, uint32_t node, int times)
{
    const struct dv_own_rest *rest = &own->nodes[node].rest;
    own->worth[dv_cluster_state(own->cluster, node)->model] += times * rest->worth;
    own->all_worth += times * rest->worth;
    for (uint32_t i = 0; i < own->world.demand.n_shapes; i++) {
        const struct dv_own_shape *shape = &own->world.demand.shapes[i];
        uint64_t gpus = (uint64_t)shape->gpus * dv_own_hosts(shape, rest);
        own->hosts[i] += times > 0 ? gpus : -gpus;
    }
}

static double sum_of(const struct own *own, const struct dv_own_rest *rest)
{
    struct dv_own_terms terms;
    dv_own_terms_of(&own->world, rest, &terms);
    return dv_own_terms_sum(&own->world, &terms);
}

static void look_at(struct own *own, uint32_t node)
{
    struct own_node *n = &own->nodes[node];
    dv_own_rest_of(&own->world, dv_cluster_state(own->cluster, node), &n->rest);
    n->sum = sum_of(own, &n->rest);
}

static void look_at_all(struct own *own)
{
    memset(own->worth, 0, sizeof own->worth);
    memset(own->hosts, 0, sizeof own->hosts);
    own->all_worth = 0;
    for (uint32_t i = 0; i < own->n; i++) {
        look_at(own, i);
        sum_node(own, i, 1);
    }
}

static uint32_t changed_by(uint32_t value, uint32_t by, bool more)
{
    return more ? value + by : value - DV_MIN(value, by);
}

static void own_changed(void *state, uint32_t node, const struct dv_cluster_pod *pod,
                        const struct dv_cluster_taking *taking, bool taken)
{
    struct own *own = state;
    sum_node(own, node, -1);
    look_at(own, node);
    sum_node(own, node, 1);
    struct own_node *n = &own->nodes[node];
    n->changed = ++own->changes;
    if (!taking->n) {
        n->cpu_milli = changed_by(n->cpu_milli, taking->cpu_milli, taken);
        n->memory_mib = changed_by(n->memory_mib, taking->memory_mib, taken);
    }
    uint64_t milli = (uint64_t)taking->n * (taking->mig ? DV_CLUSTER_MILLI : taking->milli);
    *(taken ? &own->come : &own->gone) += milli;
    if (own->come > own->total_milli) {
        own->come /= 2;
        own->gone /= 2;
    }
}

/* ---- scarcity and prices -------------------------------------------------------------------- */

/* The GPUs that a shape will ask for, if what is free is asked for as always, over the GPUs that
 * there is a place for it on. Squared: little while there are plenty. */
static double churn(const struct own *own)
{
    return own->come ? DV_MIN((double)own->gone / (double)own->come, 1) : 0;
}

/* How much of the empty cluster's places for a shape it always asks for. */
static double ever(const struct own *own, uint32_t shape)
{
    double want =
        own->world.demand.shapes[shape].share * (double)own->total_milli / DV_CLUSTER_MILLI;
    return own->built[shape] ? DV_MIN(want / (double)own->built[shape], 1) : 0;
}

/* Of shapes that are wanted so much in the empty cluster that places have to come back. */
static void find_kept(const struct own *own, double ret[DV_OWN_SHAPES_MAX])
{
    for (uint32_t i = 0; i < own->world.demand.n_shapes; i++) {
        double e = DV_MAX(ever(own, i) - KEPT_FROM, 0);
        ret[i] = churn(own) * CHURN_EVER * e * e;
    }
}

static void find_scarcity(const struct own *own, double ret[DV_OWN_SHAPES_MAX])
{
    double free_gpus = (double)own->all_worth / DV_OWN_UNIT;
    double all = (double)own->total_milli / DV_CLUSTER_MILLI;
    free_gpus += churn(own) * DV_MAX(all - free_gpus, 0);
    for (uint32_t i = 0; i < own->world.demand.n_shapes; i++) {
        double want = own->world.demand.shapes[i].share * free_gpus;
        double q = own->hosts[i] ? DV_MIN(want / (double)own->hosts[i], 1) : 1;
        double e = ever(own, i);
        ret[i] = q * q + churn(own) * (CHURN_NOW * q * q + CHURN_EVER * e * e);
    }
}

static void normalise(double *part, uint32_t models)
{
    double sum = 0;
    for (uint32_t m = 0; m < models; m++)
        sum += part[m];
    for (uint32_t m = 0; m < models && sum > 0; m++)
        part[m] /= sum;
}

static void loads_of(const struct own *own, const struct spread *s, uint32_t models, double *ret)
{
    const struct dv_own_demand *d = &own->world.demand;
    memset(ret, 0, models * sizeof *ret);
    for (uint32_t c = 0; c < d->n_classes; c++)
        for (uint32_t m = 0; m < models; m++)
            ret[m] += s->part[c][m] * d->classes[c].share * (double)own->all_worth;
}

/* Demand of the classes over what is free, per model, as even as the classes allow. Squared. */
static void find_prices(const struct own *own, double ret[DV_CLUSTER_MODELS_MAX])
{
    const struct dv_own_demand *d = &own->world.demand;
    uint32_t models = dv_cluster_models(own->cluster);
    memset(ret, 0, DV_CLUSTER_MODELS_MAX * sizeof *ret);
    if (!d->n_classes)
        return;
    struct spread *s = own->spread;
    double loads[DV_CLUSTER_MODELS_MAX];
    for (uint32_t c = 0; c < d->n_classes; c++) {
        for (uint32_t m = 0; m < models; m++)
            s->part[c][m] = d->classes[c].models >> m & 1 ? (double)own->worth[m] : 0;
        normalise(s->part[c], models);
    }
    for (int round = 1; round < PRICE_ROUNDS; round++) {
        loads_of(own, s, models, loads);
        for (uint32_t m = 0; m < models; m++)
            if (loads[m] > 0)
                loads[m] = sqrt((double)DV_MAX(own->worth[m], 1) / loads[m]);
        for (uint32_t c = 0; c < d->n_classes; c++) {
            for (uint32_t m = 0; m < models; m++)
                s->part[c][m] *= loads[m];
            normalise(s->part[c], models);
        }
    }
    loads_of(own, s, models, loads);
    for (uint32_t m = 0; m < models; m++) {
        double q = own->worth[m] > 0 ? loads[m] / (double)own->worth[m] : 0;
        ret[m] = DV_MIN(q * q, PRICE_MAX);
    }
}

static bool off(const double *now, const double *used, uint32_t n, double none, double by)
{
    for (uint32_t i = 0; i < n; i++)
        if (fabs(log((now[i] + none) / (used[i] + none))) > by)
            return true;
    return false;
}

/* ---- life ----------------------------------------------------------------------------------- */

static void own_done(void *state)
{
    struct own *own = state;
    if (!own)
        return;
    free(own->nodes);
    free(own->spread);
    free(own);
}

/* With new values of all kinds: scarcity and prices as they are now. */
static void begin(struct own *own)
{
    memset(own->built, 0, sizeof own->built);
    for (uint32_t i = 0; i < own->n; i++) {
        const struct dv_cluster_state *s = dv_cluster_state(own->cluster, i);
        const struct dv_cluster_fixed *f = dv_cluster_fixed(own->cluster, i);
        struct dv_own_rest rest = {
            .cpu_milli = f->cpu_milli, .memory_mib = f->memory_mib, .whole = s->n_gpus};
        for (uint32_t k = 0; k < own->world.demand.n_shapes; k++)
            own->built[k] += (uint64_t)own->world.demand.shapes[k].gpus *
                             dv_own_hosts(&own->world.demand.shapes[k], &rest);
    }
    find_kept(own, own->kept);
    look_at_all(own);
    find_scarcity(own, own->world.scarcity);
    find_prices(own, own->world.prices);
    look_at_all(own);
}

static int read_world(struct own *own, const struct dv_popularity *popularity, struct dv_err *err)
{
    struct dv_own_world *world = malloc(sizeof *world);
    if (!world)
        return -ENOMEM;
    int r = dv_own_world_read(world, popularity, own->cluster, &own->solver, err);
    if (r == 0) {
        own->world = *world;
        own->learnt = popularity ? popularity->total : 0;
        begin(own);
    }
    free(world);
    return r;
}

static int own_init(const struct dv_place *place, void **ret_state, struct dv_err *err)
{
    struct own *own = calloc(1, sizeof *own);
    if (!own)
        return dv_err_set(err, -ENOMEM, "out of memory");
    const struct dv_own_hint *hint = dv_place_hint(place);
    if (hint)
        own->solver = hint->solver;
    own->cluster = dv_place_cluster(place);
    own->n = dv_cluster_nodes(own->cluster);
    own->total_milli = dv_cluster_total(own->cluster).gpu_milli;
    own->nodes = calloc((size_t)own->n + 1, sizeof *own->nodes);
    own->spread = calloc(1, sizeof *own->spread);
    int r = own->nodes && own->spread ? read_world(own, dv_place_popularity(place), err) : -ENOMEM;
    if (r < 0) {
        own_done(own);
        return r == -ENOMEM ? dv_err_set(err, r, "out of memory") : r;
    }
    *ret_state = own;
    return 0;
}

/* Only nodes with several free GPUs can be a place for pods of many. */
static void touch_reserves(struct own *own, struct dv_place *place)
{
    for (uint32_t i = 0; i < own->n; i++) {
        struct own_node *n = &own->nodes[i];
        if (n->rest.whole < 2)
            continue;
        n->sum = sum_of(own, &n->rest);
        dv_place_touch(place, i);
    }
}

/* Without memory for new numbers the old ones do. */
static bool own_refresh(void *state, struct dv_place *place)
{
    struct own *own = state;
    struct dv_own_world *w = &own->world;
    const struct dv_popularity *popularity = dv_place_popularity(place);
    if (popularity && ((double)popularity->total > (double)own->learnt * LEARN_MORE ||
                       popularity->total < own->learnt))
        return read_world(own, popularity, NULL) == 0;
    double scarcity[DV_OWN_SHAPES_MAX] = {0}, prices[DV_CLUSTER_MODELS_MAX] = {0};
    double kept[DV_OWN_SHAPES_MAX] = {0};
    uint32_t models = dv_cluster_models(own->cluster);
    find_scarcity(own, scarcity);
    find_prices(own, prices);
    find_kept(own, kept);
    if (off(prices, w->prices, models, PRICE_NONE, PRICE_OFF) ||
        off(kept, own->kept, w->demand.n_shapes, SCARCITY_NONE, SCARCITY_OFF)) {
        memcpy(own->kept, kept, sizeof kept);
        memcpy(w->scarcity, scarcity, sizeof scarcity);
        memcpy(w->prices, prices, sizeof prices);
        look_at_all(own);
        return true;
    }
    if (off(scarcity, w->scarcity, w->demand.n_shapes, SCARCITY_NONE, SCARCITY_OFF)) {
        memcpy(w->scarcity, scarcity, sizeof scarcity);
        touch_reserves(own, place);
    }
    return false;
}

/* ---- one placement -------------------------------------------------------------------------- */

/* Makes of the node's rest what would be left; what the cut loses on the GPUs, in 1/DV_OWN_UNIT. */
static int64_t cut(const struct own *own, const struct dv_place_ask *ask, struct dv_own_rest *after)
{
    const struct dv_own_values *v = &own->world.values;
    const struct dv_cluster_taking *t = ask->taking;
    int64_t lost = 0;
    after->cpu_milli -= t->cpu_milli;
    after->memory_mib -= t->memory_mib;
    for (uint32_t i = 0; i < t->n; i++) {
        uint16_t had = ask->before->gpu[t->gpus[i]];
        /* A GPU that is cut into MIG instances has nothing left for fractions. */
        uint16_t has = t->mig ? 0 : (uint16_t)(had - t->milli);
        int64_t less = v->rest[had] - v->rest[has];
        after->worth -= less;
        after->whole = (uint8_t)(after->whole - (had == DV_CLUSTER_MILLI));
        after->open = (uint8_t)(after->open + (v->rest[has] > 0) -
                                (had != DV_CLUSTER_MILLI && v->rest[had] > 0));
        lost += less - (t->mig ? 0 : v->size[t->milli]);
    }
    return lost;
}

static double size_of(const struct dv_cluster_taking *t)
{
    return t->mig ? t->n : (double)t->n * t->milli / DV_CLUSTER_MILLI;
}

/* Places on the node that come back when its pods with GPUs have gone, while those without stay.
 * Who has room for the pods with more CPU counts for those with less as well, since all levels
 * lose. */
static double places_kept(const struct own *own, uint32_t node, uint32_t cpu_milli,
                          uint32_t memory_mib)
{
    const struct dv_own_demand *d = &own->world.demand;
    const struct dv_cluster_fixed *f = dv_cluster_fixed(own->cluster, node);
    struct dv_own_rest rest = {.whole = dv_cluster_state(own->cluster, node)->n_gpus};
    rest.cpu_milli = changed_by(f->cpu_milli, cpu_milli, false);
    rest.memory_mib = changed_by(f->memory_mib, memory_mib, false);
    double sum = 0;
    for (uint32_t i = 0; i < d->n_shapes; i++)
        if (own->kept[i] > 0)
            sum += own->kept[i] * d->shapes[i].gpus * dv_own_hosts(&d->shapes[i], &rest);
    return sum;
}

/* What a pod without GPUs takes of these. */
static double kept_lost(const struct own *own, const struct dv_place_ask *ask)
{
    const struct own_node *n = &own->nodes[ask->node];
    const struct dv_cluster_taking *t = ask->taking;
    if (t->n)
        return 0;
    return places_kept(own, ask->node, n->cpu_milli, n->memory_mib) -
           places_kept(own, ask->node, n->cpu_milli + t->cpu_milli, n->memory_mib + t->memory_mib);
}

static int64_t own_score(void *state, const struct dv_place_ask *ask)
{
    const struct own *own = state;
    const struct dv_own_weights *k = &own->world.weights;
    struct dv_own_rest after = own->nodes[ask->node].rest;
    double lost = (double)cut(own, ask, &after) / DV_OWN_UNIT;
    double cost = lost + sum_of(own, &after) - own->nodes[ask->node].sum +
                  own->world.prices[ask->before->model] * size_of(ask->taking) +
                  k->stranded * k->reserve * kept_lost(own, ask);
    return -(int64_t)llrint(cost * SCORE_UNIT);
}

/* ---- who is first of equals ----------------------------------------------------------------- */

static int order(int64_t a, int64_t b)
{
    return a < b ? -1 : a > b;
}

static void sorted(const struct dv_cluster_state *s, uint16_t ret[DV_CLUSTER_GPUS_MAX])
{
    for (uint32_t i = 0; i < s->n_gpus; i++) {
        uint32_t at = i;
        for (; at > 0 && ret[at - 1] > s->gpu[i]; at--)
            ret[at] = ret[at - 1];
        ret[at] = s->gpu[i];
    }
}

static int order_gpus(const struct dv_cluster_state *a, const struct dv_cluster_state *b)
{
    uint16_t x[DV_CLUSTER_GPUS_MAX], y[DV_CLUSTER_GPUS_MAX];
    if (a->n_gpus != b->n_gpus)
        return order(a->n_gpus, b->n_gpus);
    sorted(a, x);
    sorted(b, y);
    return memcmp(x, y, a->n_gpus * sizeof x[0]);
}

static int order_states(const struct dv_cluster_state *a, const struct dv_cluster_state *b)
{
    if (!memcmp(a, b, sizeof *a))
        return 0;
    int by = order(a->gpu_milli, b->gpu_milli);
    by = by ? by : order(a->model, b->model);
    by = by ? by : order(a->cpu_milli, b->cpu_milli);
    by = by ? by : order(a->memory_mib, b->memory_mib);
    return by ? by : order_gpus(a, b);
}

/* Least free of GPUs, CPU, memory; then what the nodes are made of; then the one that nobody has
 * touched for longer. What is left are nodes that nothing tells apart. */
static bool own_before(const void *state, const struct dv_place *place, uint32_t a, uint32_t b)
{
    const struct own *own = state;
    int by = order_states(dv_cluster_state(own->cluster, a), dv_cluster_state(own->cluster, b));
    if (by)
        return by < 0;
    const struct dv_cluster_fixed *f = dv_cluster_fixed(own->cluster, a);
    const struct dv_cluster_fixed *g = dv_cluster_fixed(own->cluster, b);
    by = order(f->cpu_milli, g->cpu_milli);
    by = by ? by : order(f->memory_mib, g->memory_mib);
    return by ? by < 0 : own->nodes[a].changed < own->nodes[b].changed;
}

/* ---- reasons -------------------------------------------------------------------------------- */

static int64_t micro(double gpus)
{
    return llrint(gpus * 1e6);
}

static size_t own_terms(const void *state, const struct dv_place_ask *ask,
                        struct dv_place_term *ret)
{
    const struct own *own = state;
    const struct dv_own_weights *k = &own->world.weights;
    struct dv_own_rest rest;
    struct dv_own_terms was, is;
    dv_own_rest_of(&own->world, ask->before, &rest);
    dv_own_terms_of(&own->world, &rest, &was);
    double lost = (double)cut(own, ask, &rest) / DV_OWN_UNIT;
    dv_own_terms_of(&own->world, &rest, &is);
    const struct dv_place_term terms[] = {
        {"pattern", micro(lost)},
        {"stranded", micro(k->stranded * (is.stranded - was.stranded))},
        {"gradient", micro(k->stranded * k->gradient * (is.gradient - was.gradient))},
        {"reserve",
         micro(k->stranded * k->reserve * (was.reserve - is.reserve + kept_lost(own, ask)))},
        {"open", micro(k->open * (is.open - was.open))},
        {"price", micro(own->world.prices[ask->before->model] * size_of(ask->taking))},
    };
    memcpy(ret, terms, sizeof terms);
    return DV_ARRAY_SIZE(terms);
}

const struct dv_place_policy dv_place_own = {
    .name = "divvy",
    .summary = "where it costs least of what will be needed later: the default",
    .gpu = DV_PLACE_GPU_BEST,
    .refresh_every = REFRESH_EVERY,
    .init = own_init,
    .done = own_done,
    .score = own_score,
    .before = own_before,
    .changed = own_changed,
    .refresh = own_refresh,
    .terms = own_terms,
};
