/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tree of winners: each inner place holds the better node of the two below. A change of one
 * node's value climbs from its leaf until somebody else wins as before.
 */
#include "policy/place/internal.h"

#include <errno.h>
#include <stdlib.h>

int dv_place_tree_init(struct dv_place_tree *tree, uint32_t n)
{
    uint32_t leaves = 1;
    while (leaves < n)
        leaves *= 2;
    *tree = (struct dv_place_tree){.n = n, .leaves = leaves};
    tree->values = malloc(n * sizeof *tree->values);
    tree->winners = malloc((size_t)leaves * sizeof *tree->winners);
    if (tree->values && tree->winners)
        return 0;
    dv_place_tree_done(tree);
    return -ENOMEM;
}

void dv_place_tree_done(struct dv_place_tree *tree)
{
    free(tree->values);
    free(tree->winners);
    *tree = (struct dv_place_tree){0};
}

bool dv_place_better(const struct dv_place *place, const int64_t *values, uint32_t a, uint32_t b)
{
    if (values[a] != values[b])
        return values[a] > values[b];
    if (place->policy->before && values[a] >= DV_PLACE_SCORE_MIN) {
        if (place->policy->before(place->state, place, a, b))
            return true;
        if (place->policy->before(place->state, place, b, a))
            return false;
    }
    return a < b;
}

/* Who stands at this place; at or beyond tree->n: nobody. */
static uint32_t at(const struct dv_place_tree *tree, uint32_t i)
{
    return i < tree->leaves ? tree->winners[i] : i - tree->leaves;
}

static uint32_t play(const struct dv_place *place, const struct dv_place_tree *tree, uint32_t i)
{
    uint32_t a = at(tree, 2 * i), b = at(tree, 2 * i + 1);
    if (b >= tree->n)
        return a;
    return dv_place_better(place, tree->values, a, b) ? a : b;
}

void dv_place_tree_build(const struct dv_place *place, struct dv_place_tree *tree)
{
    for (uint32_t i = tree->leaves - 1; i >= 1; i--)
        tree->winners[i] = play(place, tree, i);
}

void dv_place_tree_update(const struct dv_place *place, struct dv_place_tree *tree, uint32_t node)
{
    for (uint32_t i = (tree->leaves + node) / 2; i >= 1; i /= 2) {
        uint32_t winner = play(place, tree, i);
        if (winner == tree->winners[i] && winner != node)
            return;
        tree->winners[i] = winner;
    }
}
