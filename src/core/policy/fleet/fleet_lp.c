/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/fleet/fleet_lp.h"

#include "base/macros.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define SMALL 1e-9     /* of a pivot */
#define GAIN 1e-11     /* of a reduced cost, in parts of the largest dual */
#define DUALS_ANEW 100 /* steps; until then they are kept up, and rounding adds up */
#define SHAKE 1e-7     /* of the right sides, so that ties do not make it go in circles */

/* Ids of columns: below n_rows the slack or surplus of that row, then what buys a demand off, then
 * those that were added. */
struct column {
    double cost;
    uint32_t first, n; /* of entries */
};

struct dv_fleet_lp {
    uint32_t m, n, max;
    struct dv_fleet_lp_row *rows;
    struct column *columns;
    struct dv_fleet_lp_entry *entries;
    size_t n_entries, max_entries;
    uint32_t *basis; /* the column of each row */
    bool *in;        /* is a column in the basis? of 2 m + n */
    double *inverse; /* m * m, column after column: most of it is 0 for long */
    double *c;       /* costs of the basis */
    double *x;       /* of the basis */
    double *y;       /* duals */
    double *d;       /* the entering column in terms of the basis */
};

static double cost_of(const struct dv_fleet_lp *lp, uint32_t id)
{
    if (id < lp->m)
        return 0;
    return id < 2 * lp->m ? lp->rows[id - lp->m].off : lp->columns[id - 2 * lp->m].cost;
}

int dv_fleet_lp_new(const struct dv_fleet_lp_row *rows, uint32_t n, struct dv_fleet_lp **ret)
{
    struct dv_fleet_lp *lp = calloc(1, sizeof *lp);
    if (!lp)
        return -ENOMEM;
    lp->m = n;
    lp->rows = calloc(n, sizeof *lp->rows);
    lp->basis = calloc(n, sizeof *lp->basis);
    lp->in = calloc(2 * (size_t)n, sizeof *lp->in);
    lp->inverse = calloc((size_t)n * n, sizeof *lp->inverse);
    lp->c = calloc(n, sizeof *lp->c);
    lp->x = calloc(n, sizeof *lp->x);
    lp->y = calloc(n, sizeof *lp->y);
    lp->d = calloc(n, sizeof *lp->d);
    bool ok = lp->rows && lp->basis && lp->in && lp->inverse && lp->c && lp->x && lp->y && lp->d;
    if (!ok) {
        dv_fleet_lp_free(lp);
        return -ENOMEM;
    }
    memcpy(lp->rows, rows, n * sizeof *rows);
    for (uint32_t i = 0; i < n; i++) {
        lp->basis[i] = rows[i].off > 0 ? n + i : i;
        lp->in[lp->basis[i]] = true;
        lp->c[i] = rows[i].off > 0 ? rows[i].off : 0;
        lp->inverse[(size_t)i * n + i] = 1;
        lp->x[i] = rows[i].right + SHAKE * (i + 1) / n;
    }
    *ret = lp;
    return 0;
}

void dv_fleet_lp_free(struct dv_fleet_lp *lp)
{
    if (!lp)
        return;
    free(lp->rows);
    free(lp->columns);
    free(lp->entries);
    free(lp->basis);
    free(lp->in);
    free(lp->inverse);
    free(lp->c);
    free(lp->x);
    free(lp->y);
    free(lp->d);
    free(lp);
}

void dv_fleet_lp_freep(struct dv_fleet_lp **lp)
{
    dv_fleet_lp_free(*lp);
    *lp = NULL;
}

static int grow(struct dv_fleet_lp *lp, uint32_t entries)
{
    if (lp->n == lp->max) {
        uint32_t max = lp->max ? lp->max * 2 : 64;
        struct column *columns = realloc(lp->columns, max * sizeof *columns);
        if (!columns)
            return -ENOMEM;
        lp->columns = columns;
        bool *in = realloc(lp->in, (2 * (size_t)lp->m + max) * sizeof *in);
        if (!in)
            return -ENOMEM;
        lp->in = in;
        lp->max = max;
    }
    if (lp->n_entries + entries > lp->max_entries) {
        size_t max = DV_MAX(2 * lp->max_entries, lp->n_entries + entries + 64);
        struct dv_fleet_lp_entry *more = realloc(lp->entries, max * sizeof *more);
        if (!more)
            return -ENOMEM;
        lp->entries = more;
        lp->max_entries = max;
    }
    return 0;
}

int dv_fleet_lp_add(struct dv_fleet_lp *lp, double cost, const struct dv_fleet_lp_entry *entries,
                    uint32_t n)
{
    int r = grow(lp, n);
    if (r < 0)
        return r;
    if (n)
        memcpy(lp->entries + lp->n_entries, entries, n * sizeof *entries);
    lp->columns[lp->n] = (struct column){cost, (uint32_t)lp->n_entries, n};
    lp->in[2 * lp->m + lp->n] = false;
    lp->n_entries += n;
    lp->n++;
    return 0;
}

/* ---- a step ---- */

/* Anew from the basis. */
static void find_duals(struct dv_fleet_lp *lp)
{
    uint32_t m = lp->m;
    for (uint32_t j = 0; j < m; j++) {
        const double *column = &lp->inverse[(size_t)j * m];
        double y = 0;
        for (uint32_t i = 0; i < m; i++)
            y += lp->c[i] * column[i];
        lp->y[j] = y;
    }
}

static double reduced(const struct dv_fleet_lp *lp, uint32_t id)
{
    if (id < lp->m)
        return lp->rows[id].off > 0 ? lp->y[id] : -lp->y[id];
    if (id < 2 * lp->m)
        return lp->rows[id - lp->m].off - lp->y[id - lp->m];
    const struct column *c = &lp->columns[id - 2 * lp->m];
    double r = c->cost;
    for (uint32_t k = 0; k < c->n; k++)
        r -= lp->y[lp->entries[c->first + k].row] * lp->entries[c->first + k].value;
    return r;
}

/* The column that gains most, or UINT32_MAX. */
static uint32_t find_entering(const struct dv_fleet_lp *lp)
{
    double largest = 1;
    for (uint32_t i = 0; i < lp->m; i++)
        largest = DV_MAX(largest, fabs(lp->y[i]));
    double best = -GAIN * largest;
    uint32_t at = UINT32_MAX;
    for (uint32_t id = 0; id < 2 * lp->m + lp->n; id++) {
        if (lp->in[id] || (id >= lp->m && id < 2 * lp->m && !(lp->rows[id - lp->m].off > 0)))
            continue;
        double r = reduced(lp, id);
        if (r < best) {
            best = r;
            at = id;
        }
    }
    return at;
}

static void add_times(struct dv_fleet_lp *lp, uint32_t row, double value)
{
    const double *column = &lp->inverse[(size_t)row * lp->m];
    for (uint32_t i = 0; i < lp->m; i++)
        lp->d[i] += column[i] * value;
}

static void find_direction(struct dv_fleet_lp *lp, uint32_t id)
{
    memset(lp->d, 0, lp->m * sizeof *lp->d);
    if (id < lp->m) {
        add_times(lp, id, lp->rows[id].off > 0 ? -1 : 1);
    } else if (id < 2 * lp->m) {
        add_times(lp, id - lp->m, 1);
    } else {
        const struct column *c = &lp->columns[id - 2 * lp->m];
        for (uint32_t k = 0; k < c->n; k++)
            add_times(lp, lp->entries[c->first + k].row, lp->entries[c->first + k].value);
    }
}

/* The row whose column leaves, or UINT32_MAX. */
static uint32_t find_leaving(const struct dv_fleet_lp *lp)
{
    uint32_t at = UINT32_MAX;
    double least = HUGE_VAL;
    for (uint32_t i = 0; i < lp->m; i++) {
        if (lp->d[i] <= SMALL)
            continue;
        double t = DV_MAX(lp->x[i], 0.0) / lp->d[i];
        if (t < least || (t == least && lp->d[i] > lp->d[at])) {
            least = t;
            at = i;
        }
    }
    return at;
}

/* Only those columns of the inverse change that have something in the leaving row, and the duals
 * by as much. Returns how many these are. */
static uint32_t pivot(struct dv_fleet_lp *lp, uint32_t row, uint32_t id)
{
    uint32_t m = lp->m, n = 0;
    double by = lp->d[row], gain = reduced(lp, id);
    double x = DV_MAX(lp->x[row], 0.0) / by;
    for (uint32_t i = 0; i < m; i++)
        lp->x[i] -= lp->d[i] * x;
    lp->x[row] = x;
    for (uint32_t j = 0; j < m; j++) {
        double *column = &lp->inverse[(size_t)j * m];
        double f = column[row] / by;
        if (f == 0)
            continue;
        for (uint32_t i = 0; i < m; i++)
            column[i] -= lp->d[i] * f;
        column[row] = f;
        lp->y[j] += gain * f;
        n++;
    }
    lp->in[lp->basis[row]] = false;
    lp->in[id] = true;
    lp->basis[row] = id;
    lp->c[row] = cost_of(lp, id);
    return n;
}

uint64_t dv_fleet_lp_solve(struct dv_fleet_lp *lp, uint64_t work_max)
{
    uint64_t all = (uint64_t)lp->m * lp->m, each = 12 * (uint64_t)lp->m + lp->n_entries + lp->n;
    uint64_t work = all;
    uint32_t steps = 0; /* since the duals were made anew */
    find_duals(lp);
    for (; work < work_max; work += each) {
        uint32_t id = find_entering(lp);
        if (id == UINT32_MAX && !steps)
            return work;
        if (id == UINT32_MAX || steps == DUALS_ANEW) {
            find_duals(lp);
            work += all;
            steps = 0;
            continue;
        }
        find_direction(lp, id);
        uint32_t row = find_leaving(lp);
        if (row == UINT32_MAX)
            return work; /* costs are not negative: it is rounding that says there is no end */
        work += (uint64_t)lp->m * pivot(lp, row, id);
        steps++;
    }
    find_duals(lp);
    return work;
}

double dv_fleet_lp_dual(const struct dv_fleet_lp *lp, uint32_t row)
{
    return lp->y[row];
}

void dv_fleet_lp_values(const struct dv_fleet_lp *lp, double *ret)
{
    for (uint32_t i = 0; i < lp->n; i++)
        ret[i] = 0;
    for (uint32_t i = 0; i < lp->m; i++)
        if (lp->basis[i] >= 2 * lp->m)
            ret[lp->basis[i] - 2 * lp->m] = DV_MAX(lp->x[i], 0.0);
}
