/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/fleet/fleet_knapsack.h"

#include "base/macros.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#define WEIGHTS 5 /* of memory against compute: 0, 1/4 .. 1 */
#define DEPTH_MAX 1100

struct densities { /* of the things from one on */
    double best[WEIGHTS];
    int64_t value; /* the largest */
};

struct search {
    struct dv_fleet_knapsack *k;
    struct densities *from; /* n + 1 */
    uint32_t *now;
    uint32_t nodes;
    bool cut_short;
};

static double weight(const struct dv_fleet_knapsack *k, int i, uint64_t memory, uint32_t compute)
{
    double of_memory = (double)i / (WEIGHTS - 1);
    return of_memory * ((double)memory / (double)k->memory) +
           (1 - of_memory) * (compute / (double)k->compute);
}

static double density(const struct dv_fleet_knapsack *k, const struct dv_fleet_thing *t, int i)
{
    double w = weight(k, i, t->memory, t->compute);
    return w > 0 ? (double)t->value / w : HUGE_VAL;
}

/* No filling with things from i on is worth more. The doubles' rounding is made up for. */
static int64_t bound(const struct search *s, uint32_t i, uint64_t memory, uint32_t compute,
                     uint32_t most)
{
    double least = (double)s->from[i].value * most;
    for (int w = 0; w < WEIGHTS; w++) {
        double room = weight(s->k, w, memory, compute);
        double v = room > 0 ? s->from[i].best[w] * room : HUGE_VAL;
        least = DV_MIN(least, v);
    }
    return s->from[i].value ? (int64_t)(least * (1 + 1e-9)) + 1 : 0;
}

static uint32_t room_for(const struct dv_fleet_thing *t, uint64_t memory, uint32_t compute,
                         uint32_t most)
{
    uint64_t n = DV_MIN((uint64_t)most, t->limit);
    if (t->memory)
        n = DV_MIN(n, memory / t->memory);
    if (t->compute)
        n = DV_MIN(n, (uint64_t)(compute / t->compute));
    return (uint32_t)n;
}

/* Things from i on; at most one level per thing. */
static void fill(struct search *s, uint32_t i, uint64_t memory, uint32_t compute, uint32_t most,
                 int64_t value)
{
    struct dv_fleet_knapsack *k = s->k;
    if (value > k->value) {
        k->value = value;
        for (uint32_t j = 0; j < k->n; j++)
            k->items[j].taken = j < i ? s->now[j] : 0;
    }
    if (i == k->n || !most || i == DEPTH_MAX)
        return;
    if (s->nodes++ >= k->steps) {
        s->cut_short = true;
        return;
    }
    const struct dv_fleet_thing *t = &k->items[i];
    for (uint32_t n = room_for(t, memory, compute, most) + 1; n-- > 0;) {
        uint64_t m = memory - n * t->memory;
        uint32_t c = compute - n * t->compute;
        int64_t v = value + n * t->value;
        if (v + bound(s, i + 1, m, c, most - n) <= k->value)
            continue;
        s->now[i] = n;
        fill(s, i + 1, m, c, most - n, v);
    }
}

/* The densest first, memory and compute weighing the same; of equals the more valuable. */
static int by_density(const void *a, const void *b)
{
    const struct dv_fleet_thing *x = a, *y = b;
    if (x->density != y->density)
        return x->density > y->density ? -1 : 1;
    if (x->value != y->value)
        return x->value > y->value ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static void sort(struct dv_fleet_knapsack *k)
{
    for (uint32_t i = 0; i < k->n; i++)
        k->items[i].density = density(k, &k->items[i], WEIGHTS / 2);
    qsort(k->items, k->n, sizeof *k->items, by_density);
}

int dv_fleet_knapsack_solve(struct dv_fleet_knapsack *k)
{
    struct search s = {.k = k};
    k->value = k->upper = 0;
    k->work = 0;
    if (!k->n)
        return 0;
    s.from = calloc(k->n + 1, sizeof *s.from);
    s.now = calloc(k->n, sizeof *s.now);
    int r = s.from && s.now ? 0 : -ENOMEM;
    if (!r) {
        sort(k);
        for (uint32_t i = k->n; i-- > 0;) {
            s.from[i] = s.from[i + 1];
            s.from[i].value = DV_MAX(s.from[i].value, k->items[i].value);
            for (int w = 0; w < WEIGHTS; w++)
                s.from[i].best[w] = DV_MAX(s.from[i].best[w], density(k, &k->items[i], w));
        }
        int64_t most = bound(&s, 0, k->memory, k->compute, k->most);
        fill(&s, 0, k->memory, k->compute, k->most, 0);
        k->upper = s.cut_short ? most : k->value;
        k->work = (uint64_t)k->n * 60 + (uint64_t)s.nodes * 60;
    }
    free(s.from);
    free(s.now);
    return r;
}
