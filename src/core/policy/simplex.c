/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/simplex.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define TINY 1e-9
#define STUCK 50     /* pivots without progress before Bland's rule */
#define ASK_EVERY 64 /* pivots */

/* Columns: the program's, one slack per row, the right-hand side. The last line is the objective's:
 * what one unit of a column adds, then minus the objective. */
struct tableau {
    uint32_t rows, width, slack; /* slack: index of the first slack */
    double *cells;               /* (rows + 1) x width */
    uint32_t *basis;             /* of each row: which column it holds */
};

static double *line(const struct tableau *t, uint32_t row)
{
    return t->cells + (size_t)row * t->width;
}

static bool suits(const struct dv_program *p)
{
    uint64_t width = p->n_columns + p->n_rows + 1;
    if ((p->n_rows + 1) * width > DV_SIMPLEX_CELLS_MAX)
        return false;
    for (size_t j = 0; j < p->n_columns; j++)
        if (p->columns[j].integer || p->columns[j].lower != 0 || isfinite(p->columns[j].upper))
            return false;
    for (size_t i = 0; i < p->n_rows; i++)
        if (isfinite(p->rows[i].lower) || !(p->rows[i].upper >= 0) || !isfinite(p->rows[i].upper))
            return false;
    return true;
}

static void tableau_done(struct tableau *t)
{
    free(t->cells);
    free(t->basis);
}

static int tableau_init(struct tableau *t, const struct dv_program *p)
{
    *t = (struct tableau){.rows = (uint32_t)p->n_rows, .slack = (uint32_t)p->n_columns};
    t->width = t->rows + t->slack + 1;
    t->cells = calloc((size_t)(t->rows + 1) * t->width, sizeof *t->cells);
    t->basis = calloc((size_t)t->rows + 1, sizeof *t->basis);
    if (!t->cells || !t->basis) {
        tableau_done(t);
        return -ENOMEM;
    }
    for (size_t k = 0; k < p->n_entries; k++)
        line(t, p->entries[k].row)[p->entries[k].column] = p->entries[k].value;
    for (uint32_t i = 0; i < t->rows; i++) {
        line(t, i)[t->slack + i] = 1;
        line(t, i)[t->width - 1] = p->rows[i].upper;
        t->basis[i] = t->slack + i;
    }
    for (size_t j = 0; j < p->n_columns; j++)
        line(t, t->rows)[j] = p->maximize ? p->columns[j].objective : -p->columns[j].objective;
    return 0;
}

/* The column that gains most, or with `first` the first that gains; t->width: none does. */
static uint32_t entering(const struct tableau *t, bool first)
{
    const double *gain = line(t, t->rows);
    uint32_t best = t->width;
    for (uint32_t j = 0; j + 1 < t->width; j++)
        if (gain[j] > TINY && (best == t->width || gain[j] > gain[best])) {
            best = j;
            if (first)
                break;
        }
    return best;
}

/* The row that limits it first, of equals the lowest column in the basis; t->rows: none. */
static uint32_t leaving(const struct tableau *t, uint32_t column)
{
    uint32_t best = t->rows;
    double least = 0;
    for (uint32_t i = 0; i < t->rows; i++) {
        double by = line(t, i)[column];
        if (by <= TINY)
            continue;
        double ratio = line(t, i)[t->width - 1] / by;
        if (best == t->rows || ratio < least - TINY ||
            (ratio <= least + TINY && t->basis[i] < t->basis[best])) {
            best = i;
            least = ratio;
        }
    }
    return best;
}

static void pivot(struct tableau *t, uint32_t row, uint32_t column)
{
    double *from = line(t, row);
    double by = from[column];
    for (uint32_t j = 0; j < t->width; j++)
        from[j] /= by;
    from[column] = 1;
    for (uint32_t i = 0; i <= t->rows; i++) {
        double *to = line(t, i);
        double times = to[column];
        if (i == row || times == 0)
            continue;
        for (uint32_t j = 0; j < t->width; j++)
            to[j] -= times * from[j];
        to[column] = 0;
    }
    t->basis[row] = column;
}

static enum dv_program_status run(struct tableau *t, const struct dv_program_limits *limits)
{
    double last = 0;
    for (uint32_t pivots = 0, stuck = 0;; pivots++) {
        if (limits && limits->cancelled && pivots % ASK_EVERY == 0 &&
            limits->cancelled(limits->cancelled_arg))
            return DV_PROGRAM_CANCELLED;
        uint32_t column = entering(t, stuck > STUCK);
        if (column == t->width)
            return DV_PROGRAM_OPTIMAL;
        uint32_t row = leaving(t, column);
        if (row == t->rows)
            return DV_PROGRAM_UNBOUNDED;
        pivot(t, row, column);
        double now = -line(t, t->rows)[t->width - 1];
        stuck = now > last + TINY ? 0 : stuck + 1;
        last = now;
    }
}

static int answer(const struct tableau *t, const struct dv_program *p,
                  struct dv_program_result *ret)
{
    double *values = calloc(p->n_columns, sizeof *values);
    double *duals = calloc(p->n_rows + 1, sizeof *duals);
    if (!values || !duals) {
        free(values);
        free(duals);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < t->rows; i++)
        if (t->basis[i] < t->slack)
            values[t->basis[i]] = line(t, i)[t->width - 1];
    for (uint32_t i = 0; i < t->rows; i++) {
        double price = -line(t, t->rows)[t->slack + i];
        duals[i] = p->maximize ? price : -price;
    }
    *ret = (struct dv_program_result){.values = values, .duals = duals};
    for (size_t j = 0; j < p->n_columns; j++)
        ret->objective += p->columns[j].objective * values[j];
    ret->bound = ret->objective;
    return 0;
}

int dv_simplex_solve(void *arg, const struct dv_program *p, const struct dv_program_limits *limits,
                     struct dv_program_result *ret, struct dv_err *err)
{
    int r = dv_program_check(p, err);
    if (r != 0)
        return r;
    if (!suits(p))
        return dv_err_set(err, -EOPNOTSUPP,
                          "program: too large, or of another shape than the small solver takes");
    struct tableau t;
    r = tableau_init(&t, p);
    if (r != 0)
        return r;
    struct dv_program_result result = {.status = run(&t, limits)};
    if (result.status == DV_PROGRAM_OPTIMAL)
        r = answer(&t, p, &result);
    tableau_done(&t);
    if (r == 0)
        *ret = result;
    return r;
}
