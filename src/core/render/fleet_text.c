/* SPDX-License-Identifier: Apache-2.0 */
#include "render/fleet_text.h"

#include "account/price.h"
#include "base/units.h"

#include <inttypes.h>

_Static_assert(DV_MODE_TIGHT_NS / DV_NS_PER_MS == 50, "what the words below say");

const char *dv_fleet_text_rule(enum dv_mode_rule rule)
{
    static const char *const words[] = {
        [DV_MODE_RULE_WHOLE] = "asks for whole GPUs",
        [DV_MODE_RULE_TRAINING] = "training fills a card and runs for long: a card of its own",
        [DV_MODE_RULE_UNTRUSTED] = "untrusted: hardware walls only",
        [DV_MODE_RULE_HARDWARE] = "isolation: hardware is MIG or a card of its own",
        [DV_MODE_RULE_DRIVER] = "isolation: driver is MPS in equal parts or better",
        [DV_MODE_RULE_TAIL] = "a p99 below 50 ms leaves no time for other tenants' turns",
        [DV_MODE_RULE_SERVES] = "serves requests: runs beside others at the same time",
        [DV_MODE_RULE_CRITICAL] = "latency-critical: shares that are enforced, or better",
        [DV_MODE_RULE_COOPERATIVE] = "isolation: cooperative is an enforced share or better",
        [DV_MODE_RULE_INTERACTIVE] = "interactive: mostly idle, so turns on a shared card",
        [DV_MODE_RULE_BEST_EFFORT] = "best-effort: takes what others leave",
        [DV_MODE_RULE_SHARE] = "a part of a card, with memory and compute enforced",
    };
    return rule < DV_ARRAY_SIZE(words) ? words[rule] : "unknown";
}

void dv_fleet_text_why(const struct dv_fleet_choice *choice, uint32_t used, struct dv_str *text)
{
    dv_str_add(text, dv_fleet_text_rule(choice->rule));
    if (used & ~DV_FLEET_BIT(choice->prefer))
        dv_str_addf(text, "; rather %s", dv_fleet_mode_name(choice->prefer));
}

static void add_modes(uint32_t modes, struct dv_str *text)
{
    const char *separator = "";
    for (int m = 0; m < DV_FLEET_MODES; m++)
        if (modes & DV_FLEET_BIT(m)) {
            dv_str_addf(text, "%s%s", separator, dv_fleet_mode_name((enum dv_fleet_mode)m));
            separator = ", ";
        }
}

static void add_mode_lack(const struct dv_fleet_plan *plan, uint32_t workload, struct dv_str *text)
{
    const struct dv_fleet_choice *c = &plan->view->choices[workload];
    dv_str_add(text, "it takes only ");
    add_modes(plan->view->fleet->workloads[workload].modes, text);
    dv_str_addf(text, ", but %s: ", dv_fleet_text_rule(c->rule));
    add_modes(c->allowed, text);
}

static void add_size_lack(const struct dv_fleet_plan *plan, uint32_t workload, struct dv_str *text)
{
    const struct dv_fleet_unplaced *u = &plan->unplaced[workload];
    const struct dv_fleet_workload *w = &plan->view->fleet->workloads[workload];
    const struct dv_fleet_side *side = &plan->view->sides[u->side];
    char memory[DV_UNITS_TEXT], compute[DV_UNITS_TEXT], most[DV_UNITS_TEXT], all[DV_UNITS_TEXT];
    uint32_t modes = plan->view->choices[workload].modes;
    if (!u->memory_bytes) {
        dv_str_addf(text, "no card here can be cut by MIG, and it may not be in another mode");
        return;
    }
    dv_str_addf(text, "one needs %s",
                w->memory_bytes ? dv_units_format_bytes(w->memory_bytes, memory) : "a share");
    if (w->compute)
        dv_str_addf(text, " and %s of the compute", dv_units_format_compute(w->compute, compute));
    dv_str_addf(text, "; the largest device that it may be on (%s) has %s and %s",
                side->group->model->name, dv_units_format_bytes(u->memory_bytes, most),
                dv_units_format_compute(u->compute, all));
    if (!(modes & ~(DV_FLEET_BIT(DV_FLEET_MPS) | DV_FLEET_BIT(DV_FLEET_GOVERNED) |
                    DV_FLEET_BIT(DV_FLEET_TIMESLICE))))
        dv_str_add(text, ", of which each process' context takes a part");
}

static void add_cards_lack(const struct dv_fleet_plan *plan, uint32_t workload, struct dv_str *text)
{
    const char *separator = ", all of it needs ";
    uint64_t there = 0;
    bool all = true;
    for (uint32_t s = 0; s < plan->view->n_sides; s++) {
        bool fits = dv_fleet_plan_fits(plan->view, workload, s);
        there += fits ? plan->view->fleet->groups[s].count : 0;
        all = all && fits;
    }
    dv_str_addf(text, "the cards %sare used up: there are %" PRIu64, all ? "" : "that it fits on ",
                there);
    if (!plan->possible)
        return;
    if (plan->view->n_sides == 1) {
        dv_str_addf(text, "%s%" PRIu64, separator, plan->needed_cards);
        return;
    }
    for (uint32_t s = 0; s < plan->view->n_sides; s++) {
        const struct dv_fleet_group *g = &plan->view->fleet->groups[s];
        if (plan->needed[s] <= g->count)
            continue;
        dv_str_addf(text, "%s%u %s (there are %u)", separator, plan->needed[s], g->model->name,
                    g->count);
        separator = ", ";
    }
}

/* Of each model how many; nothing where there is only one. */
static void add_needed(const struct dv_fleet_plan *plan, struct dv_str *text)
{
    const char *separator = " (";
    for (uint32_t s = 0; plan->view->n_sides > 1 && s < plan->view->n_sides; s++) {
        if (!plan->needed[s])
            continue;
        dv_str_addf(text, "%s%u %s", separator, plan->needed[s],
                    plan->view->fleet->groups[s].model->name);
        separator = ", ";
    }
    if (*separator == ',')
        dv_str_add(text, ")");
}

void dv_fleet_text_lack(const struct dv_fleet_plan *plan, uint32_t workload, struct dv_str *text)
{
    const struct dv_fleet_workload *w = &plan->view->fleet->workloads[workload];
    switch (plan->unplaced[workload].lack) {
    case DV_FLEET_LACK_NOTHING:
        break;
    case DV_FLEET_LACK_MODE:
        add_mode_lack(plan, workload, text);
        break;
    case DV_FLEET_LACK_MODEL:
        dv_str_add(text, w->topology == DV_FLEET_NVLINK && !w->n_models
                             ? "no model here has NVLink"
                             : "no card here is of a model that it may run on");
        break;
    case DV_FLEET_LACK_SIZE:
        add_size_lack(plan, workload, text);
        break;
    case DV_FLEET_LACK_NODE:
        dv_str_addf(text, "no node has %u cards free", plan->view->gpus[workload]);
        break;
    case DV_FLEET_LACK_CARDS:
        add_cards_lack(plan, workload, text);
        break;
    }
}

void dv_fleet_text_devices(const struct dv_fleet_plan *plan, const struct dv_fleet_card *card,
                           struct dv_str *text)
{
    if (card->mode != DV_FLEET_MIG) {
        dv_str_add(text, "whole");
        return;
    }
    for (uint32_t d = 0, n = 0; d < card->n_devices; d += n) {
        const struct dv_fleet_device *device = &card->devices[d];
        for (n = 1; d + n < card->n_devices && card->devices[d + n].kind == device->kind &&
                    card->devices[d + n].mode == device->mode;)
            n++;
        dv_str_addf(text, "%s%ux %s", d ? ", " : "", n, dv_fleet_plan_profile(plan, card, d));
        if (device->mode != DV_FLEET_MIG)
            dv_str_addf(text, " %s", dv_fleet_mode_name(device->mode));
    }
}

void dv_fleet_text_holds(const struct dv_fleet_plan *plan, const struct dv_fleet_card *card,
                         struct dv_str *text)
{
    const struct dv_fleet_slice *slices = plan->slices + card->first;
    uint32_t free = 0, spare = 0;
    const char *separator = "";
    for (uint32_t i = 0; i < card->n_slices; i++) {
        bool seen = slices[i].workload == DV_FLEET_NOBODY;
        uint32_t n = 0;
        free += seen;
        spare += slices[i].spare;
        for (uint32_t k = 0; !seen && k < i; k++)
            seen = slices[k].workload == slices[i].workload;
        for (uint32_t k = i; !seen && k < card->n_slices; k++)
            n += slices[k].workload == slices[i].workload;
        if (!seen) {
            dv_str_addf(text, "%s%u %s", separator, n,
                        plan->view->fleet->workloads[slices[i].workload].name);
            separator = ", ";
        }
    }
    if (spare)
        dv_str_addf(text, " (%u for headroom)", spare);
    if (free)
        dv_str_addf(text, "%s%u free", separator, free);
}

const char *dv_fleet_text_binds(enum dv_fleet_binds binds)
{
    static const char *const names[] = {
        [DV_FLEET_MEMORY] = "memory", [DV_FLEET_COMPUTE] = "compute", [DV_FLEET_SLICES] = "slices"};
    return binds < DV_ARRAY_SIZE(names) ? names[binds] : "unknown";
}

static void add_gap(const struct dv_fleet_plan *plan, struct dv_str *text)
{
    const char *currency = plan->view->fleet->currency;
    int digits = (int)dv_currency_digits(currency);
    dv_str_addf(text, "no plan costs less than %.*f %s per hour (gap %.*f)", digits,
                (double)plan->least_cost / 1e6, currency, digits,
                (double)(plan->needed_cost - plan->least_cost) / 1e6);
}

static void add_least(const struct dv_fleet_plan *plan, enum dv_fleet_aim aim, struct dv_str *text)
{
    const char *least = aim == DV_FLEET_COST ? "the cheapest" : "the fewest";
    if (plan->proven)
        dv_str_addf(text, "%s that hold all (proven)", least);
    else if (aim == DV_FLEET_COST)
        add_gap(plan, text);
    else
        dv_str_addf(text, "at least %" PRIu64 " are needed (gap %" PRIu64 ")", plan->least_cards,
                    plan->needed_cards - plan->least_cards);
}

static bool all_run(const struct dv_fleet_plan *plan)
{
    for (uint32_t w = 0; w < plan->view->n_workloads; w++)
        if (plan->unplaced[w].replicas)
            return false;
    return true;
}

/* Do some of them find no node, though there are cards enough? */
static bool nodes_lack(const struct dv_fleet_plan *plan)
{
    bool lacks = false;
    for (uint32_t w = 0; w < plan->view->n_workloads; w++)
        lacks = lacks || plan->unplaced[w].lack == DV_FLEET_LACK_NODE;
    for (uint32_t s = 0; lacks && s < plan->view->n_sides; s++)
        lacks = plan->needed[s] <= plan->view->fleet->groups[s].count;
    return lacks;
}

/* Is there a workload that no card holds, however many there are? */
static bool some_fits_none(const struct dv_fleet_plan *plan)
{
    for (uint32_t w = 0; w < plan->view->n_workloads; w++)
        if (plan->unplaced[w].lack && plan->unplaced[w].lack != DV_FLEET_LACK_CARDS)
            return true;
    return false;
}

void dv_fleet_text_verdict(const struct dv_fleet_plan *plan, enum dv_fleet_aim aim,
                           struct dv_str *text)
{
    if (plan->partial && !plan->feasible) {
        dv_str_add(text, "interrupted: no plan that holds all of it was found so far");
        return;
    }
    if (plan->partial)
        dv_str_add(text, "interrupted, the best so far: ");
    if (plan->feasible) {
        dv_str_addf(text, "feasible: %u GPU%s, ", plan->n_cards, plan->n_cards == 1 ? "" : "s");
        add_least(plan, aim, text);
    } else if (!plan->possible && some_fits_none(plan)) {
        dv_str_add(text, "infeasible: some of it fits none of these models");
    } else if (!plan->possible) {
        dv_str_addf(text,
                    "infeasible: not even %u GPUs of each model, the most that are reckoned with, "
                    "hold all of it",
                    DV_FLEET_CARDS_MAX);
    } else if (nodes_lack(plan)) {
        dv_str_addf(text,
                    "infeasible: there are cards enough (all of it takes %" PRIu64
                    "), but no node has as many free at once as one replica asks for",
                    plan->needed_cards);
    } else {
        dv_str_addf(text, "infeasible%s: all of it needs %" PRIu64 " GPU%s",
                    plan->proven_infeasible ? " (proven)" : "", plan->needed_cards,
                    plan->needed_cards == 1 ? "" : "s");
        add_needed(plan, text);
        dv_str_add(text, ", ");
        add_least(plan, aim, text);
        if (all_run(plan))
            dv_str_add(text, "; all of it runs here, but without all of the headroom");
    }
}
