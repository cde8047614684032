/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several MIG layouts and a history of what was asked for: when to switch from one to another. The
 * demand is predicted (mig_demand.h); the plan for the time ahead with the least sum of unmet
 * demand and of switching is found exactly (dynamic programming over layouts and steps); its first
 * step is done, and at the next step it is planned anew with what was learnt meanwhile.
 *
 * Hysteresis: a layout is left only when the switch pays for itself while it lasts, with a margin
 * on top, and not before the last switch is `hold` steps old. So there is at most one switch in
 * `hold` steps, and noise smaller than the margin moves nothing.
 *
 * The unit of all costs is a thousandth of a compute slice for one step: demand for a profile
 * beyond what the layout has of it counts with the profile's slices; a switch with the slices of
 * what is destroyed and created for as long as they are out of use. Both are what tenants miss.
 *
 * The score is measured on the held-back end of the history, which the rates were not fitted to,
 * with decisions that know only what came before them. Beside it stand never switching, the best
 * single layout in hindsight, and the clairvoyant optimum, which knows all demand (by the same
 * dynamic programming) and which nobody can beat.
 *
 *     struct dv_mig_forecast_problem p = {...};
 *     r = dv_mig_forecast_run(&p, &f, &err);
 *     ... f->policy, f->never, f->clairvoyant; f->done[i], f->plan[i] are switches ...
 *     dv_mig_forecast_free(f);
 */
#ifndef DV_POLICY_MIG_FORECAST_H
#define DV_POLICY_MIG_FORECAST_H

#include "base/err.h"
#include "model/mig.h"
#include "policy/mig_demand.h"

#define DV_MIG_FORECAST_LAYOUTS_MAX 16u
#define DV_MIG_FORECAST_STEPS_MAX 200000u
#define DV_MIG_FORECAST_HORIZON_MAX 1000u
#define DV_MIG_FORECAST_SUPPLY_MAX 10000u /* instances of one profile */
#define DV_MIG_FORECAST_SWITCH_MAX INT64_C(1000000000000)
#define DV_MIG_FORECAST_ANY UINT32_MAX

struct dv_mig_forecast_problem {
    uint32_t n_profiles;                  /* 1..DV_MIG_PROFILES_MAX */
    uint32_t slices[DV_MIG_PROFILES_MAX]; /* compute slices of each, 1..16 */
    uint32_t n_layouts;                   /* 1..DV_MIG_FORECAST_LAYOUTS_MAX */
    uint32_t supply[DV_MIG_FORECAST_LAYOUTS_MAX][DV_MIG_PROFILES_MAX]; /* instances */
    /* From the first to the second; 0 from one to itself. */
    int64_t switching[DV_MIG_FORECAST_LAYOUTS_MAX][DV_MIG_FORECAST_LAYOUTS_MAX];
    const int32_t *demand;    /* n * n_profiles: thousandths of an instance, or UNKNOWN */
    size_t n;                 /* steps, 1..DV_MIG_FORECAST_STEPS_MAX */
    size_t held_back;         /* of these, the last; 0..n */
    uint32_t season;          /* steps, 1..DV_MIG_DEMAND_SEASON_MAX */
    uint32_t horizon;         /* steps planned ahead, 1..DV_MIG_FORECAST_HORIZON_MAX */
    uint32_t hold;            /* steps between two switches at least, 0: none */
    uint32_t margin_permille; /* on top of what a switch costs; 0..100000 */
    /* Layout in force before the held-back steps, and after the history; ANY: before them the one
     * that was best until then, after it the one that the decisions ended with. */
    uint32_t start;
};

struct dv_mig_forecast_score {
    int64_t unmet, switching;
    uint32_t switches;
    uint32_t last; /* layout at the end */
};

/* One switch and why. */
struct dv_mig_forecast_switch {
    size_t step; /* before the demand of this step; n is the first after the history */
    uint32_t from, to;
    size_t until;     /* as long as it was to last, when it was decided: a step, or */
    bool open;        /* the end of what was planned */
    int64_t gain;     /* predicted: less unmet demand until then */
    int64_t cost;     /* of this switch, and of a way back where one was planned */
    uint32_t profile; /* the one whose demand gains most... */
    int32_t demand;   /* ...and its mean predicted demand until then, thousandths */
};

struct dv_mig_forecast {
    size_t held_from; /* first held-back step */
    size_t scored;    /* held-back steps with any known demand */
    uint32_t start;   /* layout there */
    struct dv_mig_forecast_score policy, never, fixed, clairvoyant;
    uint32_t fixed_layout; /* the best single one in hindsight */
    struct dv_mig_demand_rates rates[DV_MIG_PROFILES_MAX];
    int32_t error_milli[DV_MIG_PROFILES_MAX]; /* mean absolute, when fitted */
    size_t n_done, n_plan;
    struct dv_mig_forecast_switch *done; /* in the held-back part */
    struct dv_mig_forecast_switch *plan; /* in the `horizon` steps after the history */
};

/* 0; -EINVAL, -ERANGE with a message; -ENOMEM. */
int dv_mig_forecast_run(const struct dv_mig_forecast_problem *p, struct dv_mig_forecast **ret,
                        struct dv_err *err);
void dv_mig_forecast_free(struct dv_mig_forecast *f);
static inline void dv_mig_forecast_freep(struct dv_mig_forecast **f)
{
    dv_mig_forecast_free(*f);
}

/* Demand of one step that a layout leaves unmet; what is unknown counts as none. */
int64_t dv_mig_forecast_unmet(const struct dv_mig_forecast_problem *p, uint32_t layout,
                              const int32_t *demand);

#endif
