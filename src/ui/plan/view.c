/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/view.h"

#include "account/price.h"
#include "plan/layouts.h"
#include "render/fleet_text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* With the currency's digits, rounded half up. */
static void add_money(struct dv_output_node *to, const char *key, const char *currency, bool known,
                      int64_t micros)
{
    unsigned digits = dv_currency_digits(currency);
    int64_t unit = 1000000;
    for (unsigned i = 0; i < digits; i++)
        unit /= 10;
    if (known)
        dv_output_decimal(to, key, (micros + unit / 2) / unit, digits);
    else
        dv_output_null(to, key);
}

static void add_costs(struct dv_output_node *to, const char *currency, bool known, int64_t micros)
{
    add_money(to, "cost_per_hour", currency, known, micros);
    add_money(to, "cost_per_month", currency, known, micros * DV_FLEET_HOURS_PER_MONTH);
}

static bool needed_priced(const struct dv_fleet_plan *plan)
{
    for (uint32_t s = 0; s < plan->view->n_sides; s++)
        if (plan->needed[s] && !plan->view->fleet->groups[s].priced)
            return false;
    return true;
}

/* ---- cards ---- */

static void add_slice(struct dv_output_node *list, const struct dv_fleet_plan *plan,
                      const struct dv_fleet_card *card, const struct dv_fleet_slice *s)
{
    const struct dv_fleet_device *device = &card->devices[s->device];
    struct dv_output_node *o = dv_output_object(list, NULL);
    bool nobody = s->workload == DV_FLEET_NOBODY;
    dv_output_string(o, "workload", nobody ? NULL : plan->view->fleet->workloads[s->workload].name);
    if (nobody)
        dv_output_null(o, "replica");
    else
        dv_output_uint(o, "replica", s->replica);
    dv_output_bool(o, "spare", s->spare);
    if (card->mode == DV_FLEET_MIG) {
        dv_output_string(o, "profile", dv_fleet_plan_profile(plan, card, s->device));
        dv_output_uint(o, "start", card->starts[s->device]);
    }
    dv_output_string(o, "mode",
                     device->mode == DV_FLEET_MIG ? "exclusive" : dv_fleet_mode_name(device->mode));
    dv_output_bytes(o, "memory_bytes", s->memory_bytes);
    dv_output_compute(o, "compute_permille", s->compute);
    dv_output_string(o, "wall", dv_device_wall_name(dv_fleet_rules_wall(device->mode)));
}

/* What tenants hold of a card, in thousandths; headroom is not held. */
static int64_t held_part(const struct dv_fleet_plan *plan, const struct dv_fleet_card *card,
                         bool memory)
{
    const struct dv_fleet_kind *whole = &plan->view->sides[card->side].kinds[0];
    double all = memory ? (double)whole->memory_bytes : whole->compute, held = 0;
    for (uint32_t k = 0; k < card->n_slices; k++) {
        const struct dv_fleet_slice *s = &plan->slices[card->first + k];
        if (s->workload != DV_FLEET_NOBODY && !s->spare)
            held += memory ? (double)s->memory_bytes : s->compute;
    }
    return (int64_t)(DV_MIN(held / all, 1.0) * 1000 + 0.5);
}

static void add_cards(struct dv_output_node *root, const struct dv_fleet_plan *plan)
{
    struct dv_output_node *list = dv_output_array(root, "gpus");
    for (uint32_t i = 0; i < plan->n_cards; i++) {
        const struct dv_fleet_card *card = &plan->cards[i];
        struct dv_output_node *o = dv_output_object(list, NULL);
        char node[DV_PLAN_NODE];
        dv_output_string(o, "model", plan->view->fleet->groups[card->side].model->name);
        dv_output_string(o, "node", dv_plan_layouts_node(plan, card, node));
        dv_output_uint(o, "index", card->index);
        dv_output_string(o, "mode", dv_fleet_mode_name(card->mode));
        dv_output_decimal(o, "held_compute", held_part(plan, card, false), 3);
        dv_output_decimal(o, "held_memory", held_part(plan, card, true), 3);
        struct dv_output_node *slices = dv_output_array(o, "slices");
        for (uint32_t k = 0; k < card->n_slices; k++)
            add_slice(slices, plan, card, &plan->slices[card->first + k]);
    }
}

/* Cards that are alike, in one row each. */
static struct dv_output_node *find_row(struct dv_output_node *list, const char *model,
                                       const char *mode, const char *devices, const char *holds)
{
    for (struct dv_output_node *o = list ? list->first : NULL; o; o = o->next)
        if (!strcmp(dv_output_text(dv_output_get(o, "model"), ""), model) &&
            !strcmp(dv_output_text(dv_output_get(o, "mode"), ""), mode) &&
            !strcmp(dv_output_text(dv_output_get(o, "devices"), ""), devices) &&
            !strcmp(dv_output_text(dv_output_get(o, "holds"), ""), holds))
            return o;
    return NULL;
}

static void add_alike(struct dv_output_node *root, const struct dv_fleet_plan *plan)
{
    struct dv_output_node *list = dv_output_array(root, "layouts");
    for (uint32_t i = 0; i < plan->n_cards; i++) {
        const struct dv_fleet_card *card = &plan->cards[i];
        const char *model = plan->view->fleet->groups[card->side].model->name;
        const char *mode = dv_fleet_mode_name(card->mode);
        dv_cleanup(dv_str_done) struct dv_str devices = {0};
        dv_cleanup(dv_str_done) struct dv_str holds = {0};
        dv_fleet_text_devices(plan, card, &devices);
        dv_fleet_text_holds(plan, card, &holds);
        struct dv_output_node *row =
            find_row(list, model, mode, dv_str_get(&devices), dv_str_get(&holds));
        if (row) {
            row->first->u++;
            continue;
        }
        row = dv_output_object(list, NULL);
        dv_output_uint(row, "gpus", 1);
        dv_output_string(row, "model", model);
        dv_output_string(row, "mode", mode);
        dv_output_string(row, "devices", dv_str_get(&devices));
        dv_output_string(row, "holds", dv_str_get(&holds));
    }
}

/* ---- the rest of the tree ---- */

/* In which modes each workload's slices are; freed by the caller, NULL when memory is out. */
static uint32_t *modes_used(const struct dv_fleet_plan *plan)
{
    uint32_t *used = calloc(plan->view->n_workloads, sizeof *used);
    for (uint32_t i = 0; used && i < plan->n_cards; i++) {
        const struct dv_fleet_card *card = &plan->cards[i];
        for (uint32_t k = card->first; k < card->first + card->n_slices; k++)
            if (plan->slices[k].workload != DV_FLEET_NOBODY)
                used[plan->slices[k].workload] |=
                    DV_FLEET_BIT(card->devices[plan->slices[k].device].mode);
    }
    return used;
}

static void add_modes(struct dv_output_node *o, const char *key, uint32_t modes)
{
    struct dv_output_node *list = dv_output_array(o, key);
    for (int m = 0; m < DV_FLEET_MODES; m++)
        if (modes & DV_FLEET_BIT(m))
            dv_output_string(list, NULL, dv_fleet_mode_name((enum dv_fleet_mode)m));
}

static void add_workloads(struct dv_output_node *root, const struct dv_fleet_plan *plan,
                          const uint32_t *used)
{
    const struct dv_fleet *f = plan->view->fleet;
    struct dv_output_node *list = dv_output_array(root, "workloads");
    for (uint32_t w = 0; w < f->n_workloads; w++) {
        const struct dv_fleet_choice *c = &plan->view->choices[w];
        dv_cleanup(dv_str_done) struct dv_str why = {0};
        struct dv_output_node *o = dv_output_object(list, NULL);
        dv_fleet_text_why(c, used[w], &why);
        uint64_t places = dv_fleet_places(f, &f->workloads[w]);
        dv_output_string(o, "workload", f->workloads[w].name);
        dv_output_uint(o, "count", f->workloads[w].count);
        dv_output_uint(o, "placed", f->workloads[w].count - plan->unplaced[w].replicas);
        dv_output_uint(o, "headroom_places", places - f->workloads[w].count);
        add_modes(o, "placed_in", used[w]);
        dv_output_string(o, "preferred_mode", c->modes ? dv_fleet_mode_name(c->prefer) : NULL);
        add_modes(o, "modes", c->modes);
        dv_output_string(o, "rule", dv_mode_rule_name(c->rule));
        dv_output_string(o, "why", dv_str_get(&why));
    }
}

static void add_unplaced(struct dv_output_node *root, const struct dv_fleet_plan *plan)
{
    struct dv_output_node *list = dv_output_array(root, "unplaced");
    for (uint32_t w = 0; w < plan->view->n_workloads; w++) {
        const struct dv_fleet_unplaced *u = &plan->unplaced[w];
        if (!u->replicas && !u->spares)
            continue;
        dv_cleanup(dv_str_done) struct dv_str why = {0};
        struct dv_output_node *o = dv_output_object(list, NULL);
        dv_fleet_text_lack(plan, w, &why);
        dv_output_string(o, "workload", plan->view->fleet->workloads[w].name);
        dv_output_uint(o, "count", u->replicas);
        dv_output_uint(o, "headroom_places", u->spares);
        dv_output_string(o, "reason", dv_fleet_plan_lack_name(u->lack));
        dv_output_string(o, "detail", dv_str_get(&why));
    }
}

static void add_bound(struct dv_output_node *list, const struct dv_fleet_plan *plan, uint32_t w,
                      uint32_t s)
{
    const struct dv_fleet_side *side = &plan->view->sides[s];
    struct dv_fleet_bound b;
    struct dv_output_node *o = dv_output_object(list, NULL);
    dv_fleet_fit_bound(&plan->view->fleet->workloads[w], side, &b);
    dv_output_string(o, "workload", plan->view->fleet->workloads[w].name);
    dv_output_string(o, "model", side->group->model->name);
    dv_output_uint(o, "by_memory", b.by_memory);
    dv_output_uint(o, "by_compute", b.by_compute);
    dv_output_uint(o, "fits", b.fits);
    dv_output_string(o, "binds", dv_fleet_text_binds(b.binds));
    if (b.mig_kind != DV_FLEET_NOT) {
        dv_output_string(o, "mig_profile",
                         side->geometry.profiles[side->kinds[b.mig_kind].profile].name);
        dv_output_uint(o, "mig_fits", b.mig_fits);
    } else {
        dv_output_null(o, "mig_profile");
        dv_output_uint(o, "mig_fits", 0);
    }
}

static void add_bounds(struct dv_output_node *root, const struct dv_fleet_plan *plan)
{
    struct dv_output_node *list = dv_output_array(root, "bounds");
    for (uint32_t w = 0; w < plan->view->n_workloads; w++)
        for (uint32_t s = 0; s < plan->view->n_sides; s++)
            if (!plan->view->gpus[w] && plan->view->may[(size_t)s * plan->view->n_workloads + w])
                add_bound(list, plan, w, s);
}

static void add_fleet(struct dv_output_node *root, const struct dv_fleet_plan *plan)
{
    struct dv_output_node *list = dv_output_array(root, "fleet");
    for (uint32_t s = 0; s < plan->view->n_sides; s++) {
        const struct dv_fleet_group *g = &plan->view->fleet->groups[s];
        struct dv_output_node *o = dv_output_object(list, NULL);
        dv_output_string(o, "model", g->model->name);
        if (g->open)
            dv_output_null(o, "count");
        else
            dv_output_uint(o, "count", g->count);
        dv_output_uint(o, "used", plan->used[s]);
        dv_output_uint(o, "needed", plan->needed[s]);
        if (g->priced)
            dv_output_decimal(o, "price_per_hour", g->micros_per_hour, 6);
        else
            dv_output_null(o, "price_per_hour");
        add_costs(o, plan->view->fleet->currency, g->priced, g->micros_per_hour * plan->used[s]);
    }
}

static void add_proof(struct dv_output_node *root, const struct dv_fleet_plan *plan,
                      enum dv_fleet_aim aim)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    dv_output_bool(root, "feasible", plan->feasible);
    dv_output_bool(root, "partial", plan->partial);
    if (plan->possible) {
        dv_output_uint(root, "gpus_needed", plan->needed_cards);
        if (aim == DV_FLEET_CARDS)
            dv_output_uint(root, "gpus_needed_at_least", plan->least_cards);
        else
            add_money(root, "cost_per_hour_at_least", plan->view->fleet->currency, true,
                      plan->least_cost);
        dv_output_bool(root, "proven", plan->proven);
    } else {
        dv_output_null(root, "gpus_needed");
    }
    dv_output_uint(root, "gpus_used", plan->n_cards);
    dv_fleet_text_verdict(plan, aim, &text);
    dv_output_string(root, "verdict", dv_str_get(&text));
    dv_output_compute(root, "headroom_permille", plan->view->fleet->headroom);
    dv_output_string(root, "currency", plan->view->fleet->currency);
    add_costs(root, plan->view->fleet->currency, plan->priced, plan->cost);
}

struct dv_output *dv_plan_view_tree(const struct dv_fleet_plan *plan, enum dv_fleet_aim aim,
                                    bool slices)
{
    uint32_t *used = modes_used(plan);
    struct dv_output *o = used ? dv_output_new("FleetPlan") : NULL;
    struct dv_output_node *root = dv_output_root(o);
    if (!o) {
        free(used);
        return NULL;
    }
    add_proof(root, plan, aim);
    add_fleet(root, plan);
    add_alike(root, plan);
    if (slices)
        add_cards(root, plan);
    add_unplaced(root, plan);
    add_workloads(root, plan, used);
    free(used);
    add_bounds(root, plan);
    return o;
}

/* ---- as tables ---- */

static const struct dv_table_column csv_columns[] = {
    {"", "^node", .csv = "node"},
    {"", "^index", .csv = "gpu_index"},
    {"", "^model", .csv = "model"},
    {"", "^mode", .csv = "gpu_mode"},
    {"", "profile"},
    {"", "start"},
    {"", "mode"},
    {"", "workload"},
    {"", "replica"},
    {"", "spare"},
    {"", "memory_bytes"},
    {"", "compute_permille"},
    {"", "wall"},
};
const struct dv_table dv_plan_view_csv = {"gpus.slices", csv_columns, DV_ARRAY_SIZE(csv_columns)};

static const struct dv_table_column layout_columns[] = {
    {"GPUS", "gpus", .right = true}, {"MODEL", "model"}, {"MODE", "mode"},
    {"DEVICES", "devices"},          {"HOLDS", "holds"},
};
static const struct dv_table layout_view = {"layouts", layout_columns,
                                            DV_ARRAY_SIZE(layout_columns)};

static const struct dv_table_column workload_columns[] = {
    {"WORKLOAD", "workload"},
    {"COUNT", "count", .right = true},
    {"PLACED", "placed", .right = true},
    {"IN", "placed_in"},
    {"BECAUSE", "why"},
};
static const struct dv_table workload_view = {"workloads", workload_columns,
                                              DV_ARRAY_SIZE(workload_columns)};

static const struct dv_table_column unplaced_columns[] = {
    {"NO PLACE FOR", "workload"},
    {"COUNT", "count", .right = true},
    {"HEADROOM", "headroom_places", .right = true},
    {"BECAUSE", "detail"},
};
static const struct dv_table unplaced_view = {"unplaced", unplaced_columns,
                                              DV_ARRAY_SIZE(unplaced_columns)};

static const struct dv_table_column bound_columns[] = {
    {"PER CARD", "workload"},
    {"MODEL", "model"},
    {"BY MEMORY", "by_memory", .right = true},
    {"BY COMPUTE", "by_compute", .right = true},
    {"FITS", "fits", .right = true},
    {"BINDS", "binds"},
    {"MIG", "mig_fits", .right = true},
    {"PROFILE", "mig_profile"},
};
static const struct dv_table bound_view = {"bounds", bound_columns, DV_ARRAY_SIZE(bound_columns)};

static void add_cost_line(const struct dv_output_node *root, struct dv_str *text)
{
    const struct dv_output_node *hour = dv_output_get(root, "cost_per_hour");
    const struct dv_output_node *month = dv_output_get(root, "cost_per_month");
    const char *currency = dv_output_text(dv_output_get(root, "currency"), "");
    if (!hour || hour->type == DV_OUTPUT_NULL)
        return;
    dv_str_add(text, "cost of the GPUs used: ");
    dv_value_human(hour, DV_VALUE_AUTO, text);
    dv_str_addf(text, " %s per hour, ", currency);
    dv_value_human(month, DV_VALUE_AUTO, text);
    dv_str_addf(text, " per month of %d hours\n", DV_FLEET_HOURS_PER_MONTH);
}

int dv_plan_view_write(const struct dv_ui *ui, struct dv_output *tree, struct dv_str *text)
{
    static const struct dv_table *const views[] = {&layout_view, &unplaced_view, &workload_view,
                                                   &bound_view};
    const struct dv_output_node *root = dv_output_root(tree);
    struct dv_table_style style = {.colour = ui->colour};
    int r = 0;
    dv_str_addf(text, "%s\n", dv_output_text(dv_output_get(root, "verdict"), ""));
    add_cost_line(root, text);
    for (size_t i = 0; !r && i < DV_ARRAY_SIZE(views); i++) {
        const struct dv_output_node *rows = dv_output_get(root, views[i]->rows);
        if (!rows || !rows->children)
            continue;
        dv_str_addc(text, '\n');
        r = dv_table_write(views[i], tree, style, text);
    }
    return r ? r : text->failed ? -ENOMEM : 0;
}

/* ---- as a page ---- */

static const struct dv_table_column tile_columns[] = {
    {"Feasible", "feasible"},       {"GPUs used", "gpus_used"},
    {"GPUs needed", "gpus_needed"}, {"Needed at least", "gpus_needed_at_least"},
    {"Per hour", "cost_per_hour"},  {"Per month", "cost_per_month"},
    {"Currency", "currency"},
};
static const struct dv_table tile_view = {"", tile_columns, DV_ARRAY_SIZE(tile_columns)};
static const struct dv_report_series compute_held[] = {{"held_compute", "compute held"}};
static const struct dv_report_series memory_held[] = {{"held_memory", "memory held"}};
static const char *const mode_colours[] = {"exclusive", "mig",       "mps",
                                           "governed",  "timeslice", NULL};
static const struct dv_report_part page_parts[] = {
    {DV_REPORT_TILES, .table = &tile_view},
    {DV_REPORT_MAP, "Compute",
     "A cell is a GPU, a group a node; full where tenants hold all of it.", .rows = "gpus",
     .x = "index", .by = "node", .series = compute_held, .n_series = 1, .colour = "mode",
     .colours = mode_colours},
    {DV_REPORT_MAP, "Memory", NULL, .rows = "gpus", .x = "index", .by = "node",
     .series = memory_held, .n_series = 1, .colour = "mode", .colours = mode_colours},
    {DV_REPORT_TABLE, "Cards that are alike", .table = &layout_view},
    {DV_REPORT_TABLE, "Without a place", .table = &unplaced_view},
    {DV_REPORT_TABLE, "Workloads", .table = &workload_view},
    {DV_REPORT_TABLE, "What a card holds of each alone", .table = &bound_view},
};
const struct dv_report dv_plan_view_page = {"Fleet plan", page_parts, DV_ARRAY_SIZE(page_parts)};

/* ---- fleets side by side ---- */

/* What tenants do not hold of the cards that are used, in 1/7000. */
static uint32_t free_part(const struct dv_fleet_plan *plan, bool memory)
{
    double all = 0, held = 0;
    for (uint32_t i = 0; i < plan->n_cards; i++) {
        const struct dv_fleet_card *card = &plan->cards[i];
        const struct dv_fleet_kind *whole = &plan->view->sides[card->side].kinds[0];
        double one = memory ? (double)whole->memory_bytes : whole->compute;
        all += one;
        held += one * (double)held_part(plan, card, memory) / 1000;
    }
    return all > held ? (uint32_t)((all - held) / all * DV_COMPUTE_FULL + 0.5) : 0;
}

/* Of which models the cards needed are; for a table also in words. */
static void add_models(struct dv_output_node *o, const struct dv_fleet_plan *plan)
{
    struct dv_output_node *list = dv_output_array(o, "models");
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    for (uint32_t s = 0; s < plan->view->n_sides; s++) {
        const struct dv_fleet_group *g = &plan->view->fleet->groups[s];
        struct dv_output_node *model = dv_output_object(list, NULL);
        dv_output_string(model, "model", g->model->name);
        if (g->open)
            dv_output_null(model, "gpus");
        else
            dv_output_uint(model, "gpus", g->count);
        if (plan->possible)
            dv_output_uint(model, "gpus_needed", plan->needed[s]);
        else
            dv_output_null(model, "gpus_needed");
        if (plan->possible && plan->needed[s])
            dv_str_addf(&text, "%s%u %s", text.len ? ", " : "", plan->needed[s], g->model->name);
    }
    dv_output_string(o, "needed_of", text.len ? dv_str_get(&text) : NULL);
}

void dv_plan_view_compare(struct dv_output_node *list, const char *name,
                          const struct dv_fleet_plan *plan)
{
    struct dv_output_node *o = dv_output_object(list, NULL);
    uint64_t there = 0, missing = 0;
    bool open = false;
    for (uint32_t s = 0; s < plan->view->n_sides; s++) {
        there += plan->view->fleet->groups[s].count;
        open = open || plan->view->fleet->groups[s].open;
    }
    for (uint32_t w = 0; w < plan->view->n_workloads; w++)
        missing += plan->unplaced[w].replicas + plan->unplaced[w].spares;
    dv_output_string(o, "fleet", name);
    dv_output_bool(o, "feasible", plan->feasible);
    dv_output_bool(o, "partial", plan->partial);
    if (open)
        dv_output_null(o, "gpus");
    else
        dv_output_uint(o, "gpus", there);
    if (plan->possible)
        dv_output_uint(o, "gpus_needed", plan->needed_cards);
    else
        dv_output_null(o, "gpus_needed");
    add_models(o, plan);
    dv_output_bool(o, "proven", plan->proven);
    dv_output_uint(o, "unplaced", missing);
    add_costs(o, plan->view->fleet->currency, plan->possible && needed_priced(plan),
              plan->needed_cost);
    dv_output_compute(o, "free_compute_permille", free_part(plan, false));
    dv_output_compute(o, "free_memory_permille", free_part(plan, true));
}

static const struct dv_table_column fleet_columns[] = {
    {"FLEET", "fleet"},
    {"FEASIBLE", "feasible"},
    {"GPUS", "gpus", .right = true},
    {"NEEDED", "gpus_needed", .right = true},
    {"MODELS", "needed_of"},
    {"UNPLACED", "unplaced", .right = true},
    {"PER HOUR", "cost_per_hour", .right = true},
    {"PER MONTH", "cost_per_month", .right = true},
    {"COMPUTE FREE", "free_compute_permille", .right = true},
    {"MEMORY FREE", "free_memory_permille", .right = true},
};
const struct dv_table dv_plan_view_fleets = {"fleets", fleet_columns, DV_ARRAY_SIZE(fleet_columns)};

static const struct dv_table_column fleet_csv_columns[] = {
    {"", "fleet"},
    {"", "feasible"},
    {"", "gpus"},
    {"", "gpus_needed"},
    {"", "proven"},
    {"", "unplaced"},
    {"", "cost_per_hour"},
    {"", "cost_per_month"},
    {"", "free_compute_permille"},
    {"", "free_memory_permille"},
    {"", "needed_of"},
};
const struct dv_table dv_plan_view_fleets_csv = {"fleets", fleet_csv_columns,
                                                 DV_ARRAY_SIZE(fleet_csv_columns)};

static const struct dv_report_series needed_bars[] = {{"gpus_needed", "GPUs needed"}};
static const struct dv_report_series cost_bars[] = {{"cost_per_month", "cost per month"}};
static const struct dv_report_part fleets_parts[] = {
    {DV_REPORT_BARS, "GPUs needed", .rows = "fleets", .x = "fleet", .series = needed_bars,
     .n_series = 1, .from_zero = true},
    {DV_REPORT_BARS, "Cost per month", .rows = "fleets", .x = "fleet", .series = cost_bars,
     .n_series = 1, .from_zero = true},
    {DV_REPORT_TABLE, "Fleets", .table = &dv_plan_view_fleets},
};
const struct dv_report dv_plan_view_fleets_page = {"Fleets side by side", fleets_parts,
                                                   DV_ARRAY_SIZE(fleets_parts)};
