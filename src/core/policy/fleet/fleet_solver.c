/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/fleet/fleet_solver.h"

#include <errno.h>
#include <math.h>

/* A search that finds nothing better by then rarely does; nodes repeat, time is for the worst. */
#define NODES_MAX 4000
#define TIME_MAX (10 * DV_NS_PER_S)

/* The workload's first item of the pattern stands for all of them: a row once per column. */
static bool is_first(const struct dv_fleet_pattern *p, uint32_t item)
{
    for (uint32_t i = 0; i < item; i++)
        if (p->items[i].workload == p->items[item].workload)
            return false;
    return true;
}

/* Costs in cards, so that a solver's tolerances mean something. */
static void add_pattern(const struct dv_fleet_choose *c, uint32_t at, struct dv_program *program)
{
    const struct dv_fleet_pattern *p = &c->patterns[at];
    double cost = (double)(c->costs[p->side] * p->cards + dv_fleet_price_dislikes(c->view, p));
    uint64_t times = c->rooms[p->side] / p->cards;
    double most = (double)times;
    uint32_t x = dv_program_column(program, cost / (double)DV_FLEET_UNIT, 0, most, true);
    for (uint32_t i = 0; i < p->n_items; i++)
        if (is_first(p, i))
            dv_program_entry(program, p->items[i].workload, x,
                             (double)dv_fleet_pattern_count(p, p->items[i].workload));
    dv_program_entry(program, c->view->n_workloads + p->side, x, (double)p->cards);
}

static void state(const struct dv_fleet_choose *c, struct dv_program *program)
{
    for (uint32_t w = 0; w < c->view->n_workloads; w++)
        dv_program_row(program, (double)c->places[w], INFINITY);
    for (uint32_t s = 0; s < c->view->n_sides; s++)
        dv_program_row(program, -INFINITY, (double)c->rooms[s]);
    for (uint32_t i = 0; i < c->n; i++)
        add_pattern(c, i, program);
    for (uint32_t w = 0; w < c->view->n_workloads; w++) {
        double cost = (double)c->offs[w] / (double)DV_FLEET_UNIT;
        uint32_t u = dv_program_column(program, cost, 0, (double)c->places[w], true);
        dv_program_entry(program, w, u, 1);
    }
}

int dv_fleet_solver_choose(const struct dv_fleet_choose *choose,
                           const struct dv_program_solver *solver, uint32_t *ret, bool *ret_solved,
                           bool *ret_optimal)
{
    dv_cleanup(dv_program_done) struct dv_program program = {.maximize = false};
    struct dv_program_limits limits = {.nodes = NODES_MAX,
                                       .time_ns = TIME_MAX,
                                       .gap = choose->gap,
                                       .cancelled = choose->cancelled,
                                       .cancelled_arg = choose->cancelled_arg};
    struct dv_program_result result = {0};
    struct dv_err err = {{0}};
    state(choose, &program);
    int r = program.error == -ENOMEM ? -ENOMEM
                                     : solver->solve(solver->arg, &program, &limits, &result, &err);
    *ret_solved = !r && result.values;
    *ret_optimal = *ret_solved && result.status == DV_PROGRAM_OPTIMAL;
    for (uint32_t i = 0; *ret_solved && i < choose->n; i++)
        ret[i] = (uint32_t)(result.values[i] + 0.5);
    dv_program_result_done(&result);
    return r == -ENOMEM ? r : 0;
}
