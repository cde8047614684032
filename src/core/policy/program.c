/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/program.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

/* Room for one more of `size` bytes. */
static bool grow(struct dv_program *p, void *array, size_t n, size_t *cap, size_t size, size_t max)
{
    if (p->error)
        return false;
    if (n >= max) {
        p->error = -E2BIG;
        return false;
    }
    if (n < *cap)
        return true;
    size_t want = *cap ? *cap * 2 : 64;
    void **at = array;
    void *more = realloc(*at, want * size);
    if (!more) {
        p->error = -ENOMEM;
        return false;
    }
    *at = more;
    *cap = want;
    return true;
}

static bool number(double v)
{
    return isfinite(v) && fabs(v) <= DV_PROGRAM_NUMBER_MAX;
}

static bool bounds(double lower, double upper)
{
    return (number(lower) || lower == -(double)INFINITY) &&
           (number(upper) || upper == (double)INFINITY);
}

uint32_t dv_program_column(struct dv_program *p, double objective, double lower, double upper,
                           bool integer)
{
    if (!grow(p, &p->columns, p->n_columns, &p->cap_columns, sizeof *p->columns,
              DV_PROGRAM_COLUMNS_MAX))
        return DV_PROGRAM_NONE;
    if (!number(objective) || !bounds(lower, upper)) {
        p->error = -EINVAL;
        return DV_PROGRAM_NONE;
    }
    p->columns[p->n_columns] = (struct dv_program_column){objective, lower, upper, integer};
    return (uint32_t)p->n_columns++;
}

uint32_t dv_program_row(struct dv_program *p, double lower, double upper)
{
    if (!grow(p, &p->rows, p->n_rows, &p->cap_rows, sizeof *p->rows, DV_PROGRAM_ROWS_MAX))
        return DV_PROGRAM_NONE;
    if (!bounds(lower, upper)) {
        p->error = -EINVAL;
        return DV_PROGRAM_NONE;
    }
    p->rows[p->n_rows] = (struct dv_program_row){lower, upper};
    return (uint32_t)p->n_rows++;
}

void dv_program_entry(struct dv_program *p, uint32_t row, uint32_t column, double value)
{
    if (p->error || value == 0)
        return;
    if (row >= p->n_rows || column >= p->n_columns || !number(value)) {
        p->error = -EINVAL;
        return;
    }
    if (grow(p, &p->entries, p->n_entries, &p->cap_entries, sizeof *p->entries,
             DV_PROGRAM_ENTRIES_MAX))
        p->entries[p->n_entries++] = (struct dv_program_entry){row, column, value};
}

void dv_program_done(struct dv_program *p)
{
    if (!p)
        return;
    free(p->columns);
    free(p->rows);
    free(p->entries);
    *p = (struct dv_program){0};
}

void dv_program_result_done(struct dv_program_result *result)
{
    if (!result)
        return;
    free(result->values);
    free(result->duals);
    *result = (struct dv_program_result){0};
}

bool dv_program_has_integers(const struct dv_program *p)
{
    for (size_t j = 0; j < p->n_columns; j++)
        if (p->columns[j].integer)
            return true;
    return false;
}

static int by_place(const void *a, const void *b)
{
    const struct dv_program_entry *x = a;
    const struct dv_program_entry *y = b;
    if (x->row != y->row)
        return x->row < y->row ? -1 : 1;
    return x->column < y->column ? -1 : x->column > y->column;
}

static int check_twice(const struct dv_program *p, struct dv_err *err)
{
    if (p->n_entries < 2)
        return 0;
    struct dv_program_entry *sorted = calloc(p->n_entries, sizeof *sorted);
    if (!sorted)
        return -ENOMEM;
    for (size_t i = 0; i < p->n_entries; i++)
        sorted[i] = p->entries[i];
    qsort(sorted, p->n_entries, sizeof *sorted, by_place);
    int r = 0;
    for (size_t i = 1; i < p->n_entries && r == 0; i++)
        if (by_place(&sorted[i - 1], &sorted[i]) == 0)
            r = dv_err_set(err, -EINVAL, "program: row %u has two numbers for column %u",
                           sorted[i].row, sorted[i].column);
    free(sorted);
    return r;
}

int dv_program_check(const struct dv_program *p, struct dv_err *err)
{
    if (p->error)
        return dv_err_set(err, p->error, "program: %s",
                          p->error == -E2BIG    ? "it has too many rows, columns or entries"
                          : p->error == -ENOMEM ? "out of memory while it was built"
                                                : "a number or an index in it is out of range");
    if (!p->n_columns)
        return dv_err_set(err, -EINVAL, "program: it has no columns");
    for (size_t j = 0; j < p->n_columns; j++)
        if (p->columns[j].lower > p->columns[j].upper)
            return dv_err_set(err, -EINVAL, "program: column %zu: lower bound %g above upper %g", j,
                              p->columns[j].lower, p->columns[j].upper);
    for (size_t i = 0; i < p->n_rows; i++)
        if (p->rows[i].lower > p->rows[i].upper)
            return dv_err_set(err, -EINVAL, "program: row %zu: lower bound %g above upper %g", i,
                              p->rows[i].lower, p->rows[i].upper);
    return check_twice(p, err);
}

const char *dv_program_status_name(enum dv_program_status status)
{
    static const char *const names[] = {
        [DV_PROGRAM_OPTIMAL] = "optimal",       [DV_PROGRAM_FEASIBLE] = "feasible",
        [DV_PROGRAM_INFEASIBLE] = "infeasible", [DV_PROGRAM_UNBOUNDED] = "unbounded",
        [DV_PROGRAM_STOPPED] = "stopped",       [DV_PROGRAM_CANCELLED] = "cancelled"};
    return (size_t)status < DV_ARRAY_SIZE(names) ? names[status] : "unknown";
}
