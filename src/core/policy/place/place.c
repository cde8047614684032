/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/place/place.h"

#include "policy/place/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_BYTES (UINT64_C(1) << 30)

const char *dv_place_lack_name(enum dv_place_lack lack)
{
    static const char *const names[DV_PLACE_LACKS] = {
        [DV_PLACE_LACK_MODEL] = "model",         [DV_PLACE_LACK_LABEL] = "label",
        [DV_PLACE_LACK_SIZE] = "size",           [DV_PLACE_LACK_CPU] = "cpu",
        [DV_PLACE_LACK_MEMORY] = "memory",       [DV_PLACE_LACK_GPU_COUNT] = "gpu_count",
        [DV_PLACE_LACK_GPU_SHARE] = "gpu_share", [DV_PLACE_LACK_GPU_MEMORY] = "gpu_memory",
        [DV_PLACE_LACK_WALL] = "wall",           [DV_PLACE_LACK_MIG] = "mig",
        [DV_PLACE_LACK_NEAR] = "near",
    };
    return (size_t)lack < DV_ARRAY_SIZE(names) ? names[lack] : "none";
}

/* ---- life ----------------------------------------------------------------------------------- */

void dv_place_free(struct dv_place *place)
{
    if (!place)
        return;
    if (place->policy->done)
        place->policy->done(place->state);
    for (uint32_t i = 0; i < place->n_kinds; i++)
        dv_place_tree_done(&place->kinds[i].tree);
    free(place->kinds);
    dv_pod_kinds_done(&place->pods);
    free(place->log);
    free(place->last);
    free(place);
}

void dv_place_freep(struct dv_place **place)
{
    dv_place_free(*place);
}

static int prepare(struct dv_place *p)
{
    p->log_size = 64;
    while (p->log_size < p->n)
        p->log_size *= 2;
    p->log = calloc(p->log_size, sizeof *p->log);
    p->last = calloc(DV_MAX(p->n, 1), sizeof *p->last);
    if (!p->log || !p->last)
        return -ENOMEM;
    uint64_t bytes = p->config.cache_bytes ? p->config.cache_bytes : CACHE_BYTES;
    uint64_t of_a_tree = p->n * sizeof(int64_t) + (uint64_t)p->log_size * sizeof(uint32_t);
    p->trees_max = (uint32_t)DV_MIN(bytes / of_a_tree, DV_PLACE_KINDS_MAX);
    return 0;
}

int dv_place_new(const struct dv_place_config *config, struct dv_place **ret, struct dv_err *err)
{
    struct dv_place *p = calloc(1, sizeof *p);
    if (!p)
        return dv_err_set(err, -ENOMEM, "out of memory");
    p->config = *config;
    p->cluster = config->cluster;
    p->policy = config->policy;
    p->n = dv_cluster_nodes(config->cluster);
    p->rng.state = config->seed;
    p->epoch = 1;
    int r = prepare(p);
    if (r < 0)
        dv_err_set(err, r, "out of memory");
    else if (p->policy->init)
        r = p->policy->init(p, &p->state, err);
    if (r < 0) {
        p->state = NULL;
        dv_place_free(p);
        return r;
    }
    *ret = p;
    return 0;
}

const struct dv_cluster *dv_place_cluster(const struct dv_place *place)
{
    return place->cluster;
}

const struct dv_popularity *dv_place_popularity(const struct dv_place *place)
{
    return place->config.popularity;
}

const void *dv_place_hint(const struct dv_place *place)
{
    return place->config.hint;
}

/* ---- kinds of pods -------------------------------------------------------------------------- */

static int grow_kinds(struct dv_place *p)
{
    uint32_t capacity = p->kinds_capacity ? p->kinds_capacity * 2 : 64;
    struct dv_place_kind *kinds = realloc(p->kinds, capacity * sizeof *kinds);
    if (!kinds)
        return -ENOMEM;
    p->kinds = kinds;
    p->kinds_capacity = capacity;
    return 0;
}

static int kind_of(struct dv_place *p, const struct dv_cluster_pod *pod, uint32_t *ret)
{
    uint32_t known = dv_pod_kinds_find(&p->pods, pod);
    if (known != DV_POD_KINDS_NONE) {
        *ret = known;
        return 0;
    }
    int r = dv_cluster_pod_check(pod, NULL);
    if (r < 0)
        return r;
    if (p->n_kinds == DV_PLACE_KINDS_MAX)
        return -E2BIG;
    if (p->n_kinds == p->kinds_capacity && grow_kinds(p) < 0)
        return -ENOMEM;
    r = dv_pod_kinds_add(&p->pods, pod);
    if (r < 0)
        return r;
    p->kinds[p->n_kinds] =
        (struct dv_place_kind){.pod = *pod, .mask = dv_cluster_spec_mask(p->cluster, pod->spec)};
    *ret = p->n_kinds++;
    return 0;
}

/* ---- keeping scores ------------------------------------------------------------------------- */

static void count(struct dv_place_kind *k, int64_t value, uint32_t by)
{
    if (value >= DV_PLACE_SCORE_MIN)
        k->fitted += by;
    else
        k->lacks[value - DV_PLACE_UNFIT] += by;
}

static void score_all(struct dv_place *p, uint32_t kind)
{
    struct dv_place_kind *k = &p->kinds[kind];
    struct dv_cluster_taking taking;
    k->fitted = 0;
    memset(k->lacks, 0, sizeof k->lacks);
    for (uint32_t i = 0; i < p->n; i++) {
        k->tree.values[i] = dv_place_value(p, kind, i, false, &taking);
        count(k, k->tree.values[i], 1);
    }
    if (!p->policy->random)
        dv_place_tree_build(p, &k->tree);
    k->seen = p->changes;
    k->epoch = p->epoch;
    k->built = true;
}

/* The nodes that changed since this kind was last asked for, each once: by its latest change. */
static void score_changed(struct dv_place *p, uint32_t kind)
{
    struct dv_place_kind *k = &p->kinds[kind];
    struct dv_cluster_taking taking;
    for (uint64_t at = k->seen; at < p->changes; at++) {
        uint32_t node = p->log[at & (p->log_size - 1)];
        if (p->last[node] != at)
            continue;
        int64_t value = dv_place_value(p, kind, node, false, &taking);
        int64_t *old = &k->tree.values[node];
        if (value == *old && !p->policy->before)
            continue;
        count(k, *old, UINT32_MAX);
        count(k, value, 1);
        *old = value;
        if (!p->policy->random)
            dv_place_tree_update(p, &k->tree, node);
    }
    k->seen = p->changes;
}

/* The tree of the kind that nobody has asked for longest goes. */
static void evict(struct dv_place *p)
{
    struct dv_place_kind *oldest = NULL;
    for (uint32_t i = 0; i < p->n_kinds; i++)
        if (p->kinds[i].built && (!oldest || p->kinds[i].asked < oldest->asked))
            oldest = &p->kinds[i];
    if (!oldest)
        return;
    dv_place_tree_done(&oldest->tree);
    oldest->built = false;
    p->n_trees--;
}

static int bring_up_to_date(struct dv_place *p, uint32_t kind)
{
    struct dv_place_kind *k = &p->kinds[kind];
    k->asked = ++p->asked;
    if (!k->built) {
        if (p->n_trees >= DV_MAX(p->trees_max, 1))
            evict(p);
        int r = dv_place_tree_init(&k->tree, p->n);
        if (r < 0)
            return r;
        p->n_trees++;
        score_all(p, kind);
    } else if (k->epoch != p->epoch || p->changes - k->seen > p->log_size) {
        score_all(p, kind);
    } else {
        score_changed(p, kind);
    }
    return 0;
}

/* ---- finding -------------------------------------------------------------------------------- */

/* What lacks most often of what others' leaving could cure; if nothing, most often at all. */
static enum dv_place_lack main_lack(const struct dv_place_kind *k)
{
    enum dv_place_lack best = DV_PLACE_LACK_CPU;
    for (int i = DV_PLACE_LACK_CPU; i < DV_PLACE_LACKS; i++)
        if (k->lacks[i] > k->lacks[best])
            best = (enum dv_place_lack)i;
    if (k->lacks[best])
        return best;
    for (int i = 0; i < DV_PLACE_LACK_CPU; i++)
        if (k->lacks[i] > k->lacks[best])
            best = (enum dv_place_lack)i;
    return best;
}

/* Any node that fits; the caller knows that there is one. */
static uint32_t draw(struct dv_place *p, const struct dv_place_kind *k)
{
    for (int tries = 0; tries < 32; tries++) {
        uint32_t node = (uint32_t)dv_rng_below(&p->rng, p->n);
        if (k->tree.values[node] >= DV_PLACE_SCORE_MIN)
            return node;
    }
    uint64_t nth = dv_rng_below(&p->rng, k->fitted);
    uint32_t node = 0;
    while (k->tree.values[node] < DV_PLACE_SCORE_MIN || nth--)
        node++;
    return node;
}

static void fill(struct dv_place *p, uint32_t kind, struct dv_place_verdict *ret)
{
    const struct dv_place_kind *k = &p->kinds[kind];
    ret->fitted = k->fitted;
    memcpy(ret->lacks, k->lacks, sizeof ret->lacks);
    ret->placed = k->fitted != 0;
    ret->node = DV_CLUSTER_NONE;
    ret->reason = DV_PLACE_LACKS;
    if (!ret->placed) {
        ret->reason = main_lack(k);
        return;
    }
    ret->node = p->policy->random ? draw(p, k) : p->n > 1 ? k->tree.winners[1] : 0;
    int64_t value = dv_place_value(p, kind, ret->node, true, &ret->taking);
    while (value < -DV_PLACE_TIER / 2) {
        value += DV_PLACE_TIER;
        ret->waste++;
    }
    ret->score = value;
}

int dv_place_find(struct dv_place *place, const struct dv_cluster_pod *pod,
                  struct dv_place_verdict *ret)
{
    uint32_t kind = 0;
    int r = kind_of(place, pod, &kind);
    if (r < 0)
        return r;
    struct dv_place_verdict verdict = {.node = DV_CLUSTER_NONE, .reason = DV_PLACE_LACK_SIZE};
    if (place->n) {
        r = bring_up_to_date(place, kind);
        if (r < 0)
            return r;
        fill(place, kind, &verdict);
    }
    *ret = verdict;
    return verdict.placed ? 0 : 1;
}

/* ---- changing ------------------------------------------------------------------------------- */

void dv_place_touch(struct dv_place *place, uint32_t node)
{
    place->log[place->changes & (place->log_size - 1)] = node;
    place->last[node] = place->changes++;
}

static void note(struct dv_place *p, uint32_t node, const struct dv_cluster_pod *pod,
                 const struct dv_cluster_taking *taking, bool taken)
{
    dv_place_touch(p, node);
    if (p->policy->changed)
        p->policy->changed(p->state, node, pod, taking, taken);
}

int dv_place_take(struct dv_place *place, uint32_t node, const struct dv_cluster_pod *pod,
                  const struct dv_cluster_taking *taking)
{
    int r = dv_cluster_take(place->cluster, node, taking);
    if (r < 0)
        return r;
    note(place, node, pod, taking, true);
    place->placements++;
    if (place->policy->refresh_every && place->placements % place->policy->refresh_every == 0)
        dv_place_refresh(place);
    return 0;
}

int dv_place_give_back(struct dv_place *place, uint32_t node, const struct dv_cluster_pod *pod,
                       const struct dv_cluster_taking *taking)
{
    int r = dv_cluster_give_back(place->cluster, node, taking);
    if (r < 0)
        return r;
    note(place, node, pod, taking, false);
    return 0;
}

void dv_place_refresh(struct dv_place *place)
{
    if (place->policy->refresh && place->policy->refresh(place->state, place))
        place->epoch++;
}

/* ---- asking --------------------------------------------------------------------------------- */

int dv_place_score(struct dv_place *place, uint32_t node, const struct dv_cluster_pod *pod,
                   int64_t *ret_score, struct dv_cluster_taking *ret_taking,
                   enum dv_place_lack *ret_lack)
{
    uint32_t kind = 0;
    int r = kind_of(place, pod, &kind);
    if (r < 0)
        return r;
    if (node >= place->n)
        return -EINVAL;
    struct dv_cluster_taking taking = {0};
    int64_t value = dv_place_value(place, kind, node, false, &taking);
    if (value < DV_PLACE_SCORE_MIN) {
        *ret_lack = (enum dv_place_lack)(value - DV_PLACE_UNFIT);
        return 1;
    }
    *ret_score = value;
    *ret_taking = taking;
    return 0;
}

size_t dv_place_terms(const struct dv_place *place, uint32_t node, const struct dv_cluster_pod *pod,
                      const struct dv_cluster_taking *taking, bool taken,
                      struct dv_place_term ret[DV_PLACE_TERMS_MAX])
{
    if (!place->policy->terms || node >= place->n)
        return 0;
    struct dv_cluster_state before = *dv_cluster_state(place->cluster, node);
    if (taken) {
        before.cpu_milli += taking->cpu_milli;
        before.memory_mib += taking->memory_mib;
        for (uint32_t i = 0; i < taking->n; i++) {
            before.gpu[taking->gpus[i]] = (uint16_t)(before.gpu[taking->gpus[i]] + taking->milli);
            before.gpu_milli += taking->milli;
        }
    }
    struct dv_place_ask ask = {
        .place = place, .node = node, .before = &before, .pod = pod, .taking = taking};
    return place->policy->terms(place->state, &ask, ret);
}

void dv_place_most(const struct dv_place *place, const struct dv_cluster_pod *pod,
                   struct dv_place_most *ret)
{
    uint64_t mask = dv_cluster_spec_mask(place->cluster, pod->spec);
    struct dv_place_most m = {0};
    for (uint32_t i = 0; i < place->n; i++) {
        const struct dv_cluster_state *s = dv_cluster_state(place->cluster, i);
        uint32_t whole = 0, enough = 0;
        m.cpu_milli = DV_MAX(m.cpu_milli, s->cpu_milli);
        m.memory_mib = DV_MAX(m.memory_mib, s->memory_mib);
        for (uint32_t g = 0; g < s->n_gpus && (mask >> s->model & 1); g++) {
            whole += s->gpu[g] == DV_CLUSTER_MILLI;
            enough += s->gpu[g] >= pod->gpu_milli;
            m.gpu_milli = DV_MAX(m.gpu_milli, s->gpu[g]);
        }
        m.gpus = DV_MAX(m.gpus, whole);
        m.gpu_count = DV_MAX(m.gpu_count, enough);
    }
    *ret = m;
}
