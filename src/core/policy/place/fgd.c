/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fragmentation gradient descent (Weng et al., USENIX ATC 2023): the pod goes where it makes
 * fragmentation grow least, as the published scheduler scores it: int(100 * sigmoid(x / 1000)), x
 * the milli by which the node's fragmentation falls.
 *
 * x is kept as an integer until the last step, so no order of summation plays into the score.
 */
#include "policy/place/frag.h"
#include "policy/place/internal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define LEVELS 100

struct fgd {
    struct dv_frag *frag;
    int64_t *before;            /* F of each node */
    bool *known;                /* is it up to date? */
    int64_t levels[LEVELS + 1]; /* the least x times the weight that has this score */
};

static int level(double x, int64_t weight)
{
    return (int)(100 * (1 / (1 + exp(-(x / (double)weight) / 1000))));
}

/* The score only grows with x: the least x of each is found by halving. A fall or growth is at
 * most all of a node's GPUs. */
static void find_levels(struct fgd *f)
{
    int64_t weight = dv_frag_weight(f->frag);
    int64_t most = weight * (int64_t)(DV_CLUSTER_GPUS_MAX * DV_CLUSTER_MILLI) + 1;
    for (int score = 0; score <= LEVELS; score++) {
        int64_t low = -most, high = most;
        while (low < high) {
            int64_t middle = low + (high - low) / 2;
            if (level((double)middle, weight) >= score)
                high = middle;
            else
                low = middle + 1;
        }
        f->levels[score] = low;
    }
}

static int look_up(const struct fgd *f, int64_t x)
{
    int low = 0, high = LEVELS;
    while (low < high) {
        int middle = (low + high + 1) / 2;
        if (f->levels[middle] <= x)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

static int measure(struct fgd *f, const struct dv_place *place)
{
    struct dv_frag *frag = NULL;
    const struct dv_popularity *popularity = dv_place_popularity(place);
    dv_cleanup(dv_popularity_freep) struct dv_popularity *nothing = NULL;
    if (!popularity) {
        nothing = dv_popularity_new(dv_place_cluster(place));
        if (!nothing)
            return -ENOMEM;
        popularity = nothing;
    }
    int r = dv_frag_new(popularity, DV_FRAG_TYPICAL_PERMILLE, &frag);
    if (r < 0)
        return r;
    dv_frag_free(f->frag);
    f->frag = frag;
    find_levels(f);
    for (uint32_t i = 0; i < dv_cluster_nodes(dv_place_cluster(place)); i++)
        f->known[i] = false;
    return 0;
}

static void fgd_done(void *state)
{
    struct fgd *f = state;
    if (!f)
        return;
    dv_frag_free(f->frag);
    free(f->before);
    free(f->known);
    free(f);
}

static int fgd_init(const struct dv_place *place, void **ret_state, struct dv_err *err)
{
    uint32_t n = DV_MAX(dv_cluster_nodes(dv_place_cluster(place)), 1);
    struct fgd *f = calloc(1, sizeof *f);
    if (!f)
        return dv_err_set(err, -ENOMEM, "out of memory");
    f->before = calloc(n, sizeof *f->before);
    f->known = calloc(n, sizeof *f->known);
    int r = f->before && f->known ? measure(f, place) : -ENOMEM;
    if (r < 0) {
        fgd_done(f);
        return dv_err_set(err, r, r == -E2BIG ? "too many kinds of typical pods" : "out of memory");
    }
    *ret_state = f;
    return 0;
}

static int64_t fgd_score(void *state, const struct dv_place_ask *ask)
{
    struct fgd *f = state;
    struct dv_cluster_state after;
    if (!f->known[ask->node]) {
        f->before[ask->node] = dv_frag_of(f->frag, ask->before);
        f->known[ask->node] = true;
    }
    dv_cluster_after(ask->before, ask->taking, &after);
    return look_up(f, f->before[ask->node] - dv_frag_of(f->frag, &after));
}

static void fgd_changed(void *state, uint32_t node, const struct dv_cluster_pod *pod,
                        const struct dv_cluster_taking *taking, bool taken)
{
    struct fgd *f = state;
    f->known[node] = false;
}

/* When memory is short the measure stays as it was. */
static bool fgd_refresh(void *state, struct dv_place *place)
{
    return measure(state, place) == 0;
}

const struct dv_place_policy dv_place_fgd = {
    .name = "fgd",
    .summary = "where fragmentation grows least (fragmentation gradient descent, ATC 2023)",
    .gpu = DV_PLACE_GPU_BEST,
    .init = fgd_init,
    .done = fgd_done,
    .score = fgd_score,
    .changed = fgd_changed,
    .refresh = fgd_refresh,
};
