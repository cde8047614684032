/* SPDX-License-Identifier: Apache-2.0 */
#include "solver/cbc.h"

#include <coin/Cbc_C_Interface.h>
#include <coin/Clp_C_Interface.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The program by columns, as the solvers want it. */
struct matrix {
    CoinBigIndex *start; /* n_columns + 1 */
    int *row;
    double *value;
    double *collb, *colub, *objective, *rowlb, *rowub;
};

static void matrix_done(struct matrix *m)
{
    free(m->start);
    free(m->row);
    free(m->value);
    free(m->collb);
    free(m->colub);
    free(m->objective);
    free(m->rowlb);
    free(m->rowub);
}

static void fill(const struct dv_program *p, struct matrix *m, double sign)
{
    for (size_t i = 0; i < p->n_entries; i++)
        m->start[p->entries[i].column + 1]++;
    for (size_t j = 0; j < p->n_columns; j++)
        m->start[j + 1] += m->start[j];
    for (size_t i = 0; i < p->n_entries; i++) {
        CoinBigIndex at = m->start[p->entries[i].column]++;
        m->row[at] = (int)p->entries[i].row;
        m->value[at] = p->entries[i].value;
    }
    for (size_t j = p->n_columns; j > 0; j--) /* each start went on to its end: back by one */
        m->start[j] = m->start[j - 1];
    m->start[0] = 0;
    for (size_t j = 0; j < p->n_columns; j++) {
        m->collb[j] = p->columns[j].lower;
        m->colub[j] = p->columns[j].upper;
        m->objective[j] = sign * p->columns[j].objective;
    }
    for (size_t i = 0; i < p->n_rows; i++) {
        m->rowlb[i] = p->rows[i].lower;
        m->rowub[i] = p->rows[i].upper;
    }
}

/* The solvers minimise: `sign` is -1 for a program that maximises. */
static int matrix_init(const struct dv_program *p, struct matrix *m, double sign)
{
    *m = (struct matrix){.start = calloc(p->n_columns + 1, sizeof *m->start),
                         .row = calloc(p->n_entries + 1, sizeof *m->row),
                         .value = calloc(p->n_entries + 1, sizeof *m->value),
                         .collb = calloc(p->n_columns, sizeof *m->collb),
                         .colub = calloc(p->n_columns, sizeof *m->colub),
                         .objective = calloc(p->n_columns, sizeof *m->objective),
                         .rowlb = calloc(p->n_rows + 1, sizeof *m->rowlb),
                         .rowub = calloc(p->n_rows + 1, sizeof *m->rowub)};
    if (!m->start || !m->row || !m->value || !m->collb || !m->colub || !m->objective || !m->rowlb ||
        !m->rowub) {
        matrix_done(m);
        return -ENOMEM;
    }
    fill(p, m, sign);
    return 0;
}

static double objective_of(const struct dv_program *p, const double *values)
{
    double sum = 0;
    for (size_t j = 0; j < p->n_columns; j++)
        sum += p->columns[j].objective * values[j];
    return sum;
}

static int linear(const struct dv_program *p, const struct dv_program_limits *limits,
                  const struct matrix *m, double sign, double *values, double *duals,
                  struct dv_program_result *ret)
{
    Clp_Simplex *lp = Clp_newModel();
    if (!lp)
        return -ENOMEM;
    Clp_setLogLevel(lp, 0);
    Clp_loadProblem(lp, (int)p->n_columns, (int)p->n_rows, m->start, m->row, m->value, m->collb,
                    m->colub, m->objective, m->rowlb, m->rowub);
    if (limits->time_ns)
        Clp_setMaximumSeconds(lp, (double)limits->time_ns / 1e9);
    Clp_initialSolve(lp);
    int r = 0;
    if (Clp_isProvenOptimal(lp)) {
        memcpy(values, Clp_getColSolution(lp), p->n_columns * sizeof *values);
        const double *price = Clp_getRowPrice(lp);
        for (size_t i = 0; i < p->n_rows; i++)
            duals[i] = sign * price[i];
        *ret = (struct dv_program_result){DV_PROGRAM_OPTIMAL, objective_of(p, values), 0, values,
                                          duals};
        ret->bound = ret->objective;
    } else if (Clp_isProvenPrimalInfeasible(lp)) {
        ret->status = DV_PROGRAM_INFEASIBLE;
    } else if (Clp_isProvenDualInfeasible(lp)) {
        ret->status = DV_PROGRAM_UNBOUNDED;
    } else if (Clp_status(lp) == 3) {
        ret->status = DV_PROGRAM_STOPPED;
    } else {
        r = -EIO;
    }
    Clp_deleteModel(lp);
    return r;
}

static void parameters(Cbc_Model *model, const struct dv_program_limits *limits)
{
    char text[32];
    Cbc_setLogLevel(model, 0);
    Cbc_setParameter(model, "timeMode", "elapsed");
    Cbc_setParameter(model, "threads", "0"); /* one: the same answer every time */
    if (limits->time_ns) {
        snprintf(text, sizeof text, "%.3f", (double)limits->time_ns / 1e9);
        Cbc_setParameter(model, "sec", text);
    }
    if (limits->nodes) {
        snprintf(text, sizeof text, "%u", DV_MIN(limits->nodes, (uint32_t)INT32_MAX));
        Cbc_setParameter(model, "maxNodes", text);
    }
    snprintf(text, sizeof text, "%.9g", limits->gap);
    Cbc_setParameter(model, "ratioGap", text);
    if (limits->gap <= 0) {
        Cbc_setParameter(model, "allowableGap", "0");
    }
}

static void take(const struct dv_program *p, const double *found, double *values)
{
    for (size_t j = 0; j < p->n_columns; j++)
        values[j] = p->columns[j].integer ? round(found[j]) : found[j];
}

static int integers(const struct dv_program *p, const struct dv_program_limits *limits,
                    const struct matrix *m, double sign, double *values,
                    struct dv_program_result *ret)
{
    Cbc_Model *model = Cbc_newModel();
    if (!model)
        return -ENOMEM;
    Cbc_loadProblem(model, (int)p->n_columns, (int)p->n_rows, m->start, m->row, m->value, m->collb,
                    m->colub, m->objective, m->rowlb, m->rowub);
    for (size_t j = 0; j < p->n_columns; j++)
        if (p->columns[j].integer)
            Cbc_setInteger(model, (int)j);
    parameters(model, limits);
    Cbc_solve(model);
    int r = 0;
    const double *found = Cbc_bestSolution(model);
    if (Cbc_secondaryStatus(model) == 7 || Cbc_isContinuousUnbounded(model)) {
        ret->status = DV_PROGRAM_UNBOUNDED;
    } else if (Cbc_isProvenInfeasible(model)) {
        ret->status = DV_PROGRAM_INFEASIBLE;
    } else if (found) {
        take(p, found, values);
        ret->status = Cbc_isProvenOptimal(model) ? DV_PROGRAM_OPTIMAL : DV_PROGRAM_FEASIBLE;
        ret->objective = objective_of(p, values);
        ret->bound = sign * Cbc_getBestPossibleObjValue(model);
        ret->values = values;
        /* Proven within the gap: what was found is what there is to say of a proof without one. */
        if (ret->status == DV_PROGRAM_OPTIMAL && limits->gap <= 0)
            ret->bound = ret->objective;
    } else if (Cbc_status(model) == 1) {
        ret->status = DV_PROGRAM_STOPPED;
    } else {
        r = -EIO;
    }
    Cbc_deleteModel(model);
    return r;
}

int dv_solver_cbc(const struct dv_program *p, const struct dv_program_limits *limits,
                  double *values, double *duals, struct dv_program_result *ret)
{
    struct matrix m;
    double sign = p->maximize ? -1 : 1;
    int r = matrix_init(p, &m, sign);
    if (r < 0)
        return r;
    *ret = (struct dv_program_result){0};
    r = dv_program_has_integers(p) ? integers(p, limits, &m, sign, values, ret)
                                   : linear(p, limits, &m, sign, values, duals, ret);
    matrix_done(&m);
    return r;
}

const char *dv_solver_cbc_version(void)
{
    return Cbc_getVersion();
}
