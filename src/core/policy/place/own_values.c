/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/place/own_values.h"

#include "policy/simplex.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FULL DV_CLUSTER_MILLI
#define CAPACITY 1000.0   /* GPUs in the program: only shares matter */
#define GAIN 1e-7         /* a pattern must gain this much to be added */
#define PATTERNS_MAX 1000 /* column generation ends in some tens */

struct sizes {
    uint32_t n;
    uint16_t milli[DV_OWN_SIZES_MAX]; /* ascending */
    double demand[DV_OWN_SIZES_MAX];  /* how many come while CAPACITY GPUs are asked for */
};

/* The master program: how often each pattern is cut. */
struct stock {
    struct sizes sizes;
    struct dv_program program; /* row 0: the GPUs; row 1 + i: the demand for size i */
    double price;              /* of a GPU */
    double worth[DV_OWN_SIZES_MAX];
};

/* ---- what comes ---- */

static void count_sizes(const struct dv_popularity *p, uint64_t ret[FULL + 1])
{
    memset(ret, 0, (FULL + 1) * sizeof *ret);
    for (uint32_t i = 0; p && i < p->n; i++) {
        const struct dv_cluster_pod *pod = &p->kinds[i].pod;
        if (pod->gpus && pod->gpu_milli <= FULL)
            ret[pod->gpu_milli] += p->kinds[i].count * pod->gpus;
    }
}

/* The least asked for goes, until few enough are left; of equals the smallest. */
static void drop_rare(uint64_t counts[FULL + 1])
{
    for (;;) {
        uint32_t n = 0, rarest = 0;
        for (uint32_t m = 1; m <= FULL; m++) {
            if (!counts[m])
                continue;
            n++;
            if (!rarest || counts[m] < counts[rarest])
                rarest = m;
        }
        if (n <= DV_OWN_SIZES_MAX)
            return;
        counts[rarest] = 0;
    }
}

static void scale(const uint64_t counts[FULL + 1], struct sizes *ret)
{
    double total = 0;
    ret->n = 0;
    for (uint32_t m = 1; m <= FULL; m++)
        total += (double)counts[m] * m / FULL;
    for (uint32_t m = 1; m <= FULL; m++)
        if (counts[m]) {
            ret->milli[ret->n] = (uint16_t)m;
            ret->demand[ret->n++] = (double)counts[m] * CAPACITY / total;
        }
}

/* ---- column generation ---- */

static void add_pattern(struct stock *s, const uint32_t times[DV_OWN_SIZES_MAX])
{
    double served = 0;
    for (uint32_t i = 0; i < s->sizes.n; i++)
        served += (double)times[i] * s->sizes.milli[i] / FULL;
    uint32_t column = dv_program_column(&s->program, served, 0, INFINITY, false);
    dv_program_entry(&s->program, 0, column, 1);
    for (uint32_t i = 0; i < s->sizes.n; i++)
        dv_program_entry(&s->program, 1 + i, column, times[i]);
}

static void begin(struct stock *s)
{
    s->program.maximize = true;
    dv_program_row(&s->program, -INFINITY, CAPACITY);
    for (uint32_t i = 0; i < s->sizes.n; i++)
        dv_program_row(&s->program, -INFINITY, s->sizes.demand[i]);
    for (uint32_t i = 0; i < s->sizes.n; i++) {
        uint32_t times[DV_OWN_SIZES_MAX] = {0};
        times[i] = FULL / s->sizes.milli[i];
        add_pattern(s, times);
    }
}

/* The pattern worth most at these prices; its worth. */
static double best_pattern(const struct stock *s, uint32_t ret[DV_OWN_SIZES_MAX])
{
    double best[FULL + 1];
    uint32_t pick[FULL + 1];
    best[0] = 0;
    pick[0] = UINT32_MAX;
    for (uint32_t r = 1; r <= FULL; r++) {
        best[r] = best[r - 1];
        pick[r] = UINT32_MAX;
        for (uint32_t i = 0; i < s->sizes.n && s->sizes.milli[i] <= r; i++) {
            double with = best[r - s->sizes.milli[i]] + s->worth[i];
            if (with > best[r] + 1e-12) {
                best[r] = with;
                pick[r] = i;
            }
        }
    }
    memset(ret, 0, DV_OWN_SIZES_MAX * sizeof *ret);
    for (uint32_t r = FULL; r > 0;) {
        if (pick[r] == UINT32_MAX) {
            r--;
        } else {
            ret[pick[r]]++;
            r -= s->sizes.milli[pick[r]];
        }
    }
    return best[FULL];
}

static int solve_once(struct stock *s, const struct dv_program_solver *solver, double *ret_served,
                      struct dv_err *err)
{
    dv_cleanup(dv_program_result_done) struct dv_program_result result = {0};
    int r = solver->solve(solver->arg, &s->program, NULL, &result, err);
    if (r != 0)
        return r;
    if (result.status != DV_PROGRAM_OPTIMAL || !result.duals)
        return dv_err_set(err, -EIO, "size values: the solver says %s",
                          dv_program_status_name(result.status));
    s->price = result.duals[0];
    /* Serving a size brings its milli, less what its demand's limit costs. */
    for (uint32_t i = 0; i < s->sizes.n; i++)
        s->worth[i] = DV_MAX((double)s->sizes.milli[i] / FULL - result.duals[1 + i], 0);
    *ret_served = result.objective / CAPACITY;
    return 0;
}

static int generate(struct stock *s, const struct dv_program_solver *solver, double *ret_served,
                    struct dv_err *err)
{
    begin(s);
    for (int i = 0; i < PATTERNS_MAX; i++) {
        int r = solve_once(s, solver, ret_served, err);
        if (r != 0)
            return r;
        uint32_t times[DV_OWN_SIZES_MAX];
        if (best_pattern(s, times) <= s->price + GAIN)
            return 0;
        add_pattern(s, times);
    }
    return 0;
}

/* ---- values ---- */

void dv_own_values_rest(struct dv_own_values *values)
{
    values->rest[0] = 0;
    uint16_t sizes[FULL];
    uint32_t n = 0;
    for (uint32_t m = 1; m <= FULL; m++)
        if (values->size[m] > 0)
            sizes[n++] = (uint16_t)m;
    for (uint32_t r = 1; r <= FULL; r++) {
        values->rest[r] = values->rest[r - 1];
        for (uint32_t i = 0; i < n && sizes[i] <= r; i++)
            values->rest[r] =
                DV_MAX(values->rest[r], values->rest[r - sizes[i]] + values->size[sizes[i]]);
    }
    for (uint32_t m = 1; m <= FULL; m++)
        if (!values->size[m])
            values->size[m] = values->rest[m];
}

static void linear_values(struct dv_own_values *ret)
{
    for (uint32_t m = 0; m <= FULL; m++)
        ret->rest[m] = ret->size[m] = (int32_t)((uint64_t)m * DV_OWN_UNIT / FULL);
    ret->served = 1;
}

static void take_values(const struct stock *s, struct dv_own_values *ret)
{
    memset(ret->size, 0, sizeof ret->size);
    for (uint32_t i = 0; i < s->sizes.n; i++) {
        double v = s->price > GAIN ? s->worth[i] / s->price : 0;
        ret->size[s->sizes.milli[i]] = (int32_t)lround(DV_MIN(v, 1) * DV_OWN_UNIT);
    }
    ret->size[FULL] = DV_OWN_UNIT;
    dv_own_values_rest(ret);
    /* Rounding may add up to a little more than a whole GPU. */
    for (uint32_t m = 0; m <= FULL; m++)
        ret->rest[m] = DV_MIN(ret->rest[m], DV_OWN_UNIT);
}

int dv_own_values_solve(const struct dv_popularity *popularity,
                        const struct dv_program_solver *solver, struct dv_own_values *ret,
                        struct dv_err *err)
{
    static const struct dv_program_solver small = {.solve = dv_simplex_solve};
    uint64_t counts[FULL + 1];
    struct stock s = {0};
    count_sizes(popularity, counts);
    drop_rare(counts);
    scale(counts, &s.sizes);
    if (!s.sizes.n) {
        linear_values(ret);
        return 0;
    }
    struct dv_own_values values = {0};
    int r = generate(&s, solver && solver->solve ? solver : &small, &values.served, err);
    if (r == 0) {
        take_values(&s, &values);
        *ret = values;
    }
    dv_program_done(&s.program);
    return r;
}
