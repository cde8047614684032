/* SPDX-License-Identifier: Apache-2.0 */
/* divvy mig profiles, divvy mig plan: what a GPU can be cut into. Need neither daemon nor GPU. */
#include "mig_node_view.h"
#include "model/gpu_model.h"
#include "policy/mig_change.h"
#include "render/verdict_text.h"
#include "verbs.h"

#include <errno.h>
#include <string.h>

#define LIST_MAX 64

/* ---- profiles ------------------------------------------------------------------------------- */

struct profiles_values {
    const char *gpu;
};

static const struct dv_option profiles_options[] = {
    {"gpu", 'g', "MODEL", "only this model (A100-80GB, H100, ...); default: all with MIG",
     DV_OPTION_TEXT, offsetof(struct profiles_values, gpu)},
};

static void add_profile(struct dv_output_node *list, const struct dv_mig_profile *p)
{
    struct dv_output_node *row = dv_output_object(list, NULL);
    dv_output_string(row, "profile", p->name);
    dv_output_uint(row, "profile_id", p->id);
    dv_output_uint(row, "compute_slices", p->slices);
    dv_output_uint(row, "size", p->size);
    if (p->memory_bytes)
        dv_output_bytes(row, "memory_bytes", p->memory_bytes);
    else
        dv_output_null(row, "memory_bytes");
    dv_output_uint(row, "max_instances", p->max_instances);
    struct dv_output_node *starts = dv_output_array(row, "starts");
    for (uint32_t s = 0; s < DV_MIG_GRID_MAX; s++)
        if (p->starts & (1u << s))
            dv_output_uint(starts, NULL, s);
}

static void add_model(struct dv_output_node *list, const struct dv_gpu_model *m)
{
    struct dv_output_node *gpu = dv_output_object(list, NULL);
    dv_output_string(gpu, "gpu", m->name);
    dv_output_string(gpu, "product", m->product);
    dv_output_uint(gpu, "compute_slices", m->mig ? m->mig->slices : 0);
    dv_output_uint(gpu, "memory_slices", m->mig ? m->mig->grid : 0);
    struct dv_output_node *profiles = dv_output_array(gpu, "profiles");
    for (uint32_t i = 0; m->mig && i < m->mig->n_profiles; i++)
        add_profile(profiles, &m->mig->profiles[i]);
}

static const struct dv_table_column profile_columns[] = {
    {"GPU", "^gpu", .csv = "gpu"},           {"PROFILE", "profile"},
    {"ID", "profile_id", .right = true},     {"COMPUTE", "compute_slices", .right = true},
    {"SIZE", "size", .right = true},         {"MEMORY", "memory_bytes", .right = true},
    {"MAX", "max_instances", .right = true}, {"STARTS", "starts"},
};
static const struct dv_table profile_view = {"gpus.profiles", profile_columns,
                                             DV_ARRAY_SIZE(profile_columns)};

static int run_profiles(const struct dv_ui *ui)
{
    const struct profiles_values *v = ui->values;
    struct dv_err err = {{0}};
    const struct dv_gpu_model *one = v->gpu ? dv_gpu_model_find(v->gpu, &err) : NULL;
    if (v->gpu && !one)
        return dv_ui_fail(ui, DV_UI_USAGE, "%s", err.msg);
    dv_cleanup(dv_output_free) struct dv_output *o = dv_output_new("MigProfiles");
    struct dv_output_node *gpus = dv_output_array(dv_output_root(o), "gpus");
    const struct dv_gpu_model *m = one;
    for (size_t i = 0; one ? i < 1 : (m = dv_gpu_model_at(i)) != NULL; i++)
        if (one || m->mig)
            add_model(gpus, m);
    dv_cleanup(dv_str_done) struct dv_str nothing = {0};
    dv_str_addf(&nothing, "%s has no MIG", one ? one->name : "no GPU");
    return dv_ui_answer(ui, o, &profile_view, dv_str_get(&nothing), DV_UI_OK);
}

static const struct dv_ui_example profiles_examples[] = {
    {"what an H100 can be cut into", "divvy mig profiles --gpu H100"},
};

const struct dv_ui_verb dv_verb_mig_profiles = {
    .name = "mig profiles",
    .summary = "the MIG profiles of GPU models",
    .details = "SIZE and STARTS count memory slices: an instance covers SIZE neighbouring slices "
               "from one of its STARTS. COMPUTE counts compute slices.",
    .options = profiles_options,
    .n_options = DV_ARRAY_SIZE(profiles_options),
    .values_size = sizeof(struct profiles_values),
    .examples = profiles_examples,
    .n_examples = DV_ARRAY_SIZE(profiles_examples),
    .prints = true,
    .run = run_profiles,
};

/* ---- plan ----------------------------------------------------------------------------------- */

struct plan_values {
    const char *gpu, *have, *want, *in_use;
    bool change;
};

static const struct dv_option plan_options[] = {
    {"gpu", 'g', "MODEL", "the GPU's model; needed", DV_OPTION_TEXT,
     offsetof(struct plan_values, gpu)},
    {"have", 0, "LIST", "instances that are there and stay, as 3g.40gb@4,1g.10gb@0", DV_OPTION_TEXT,
     offsetof(struct plan_values, have)},
    {"want", 'w', "LIST", "instances to add, as 3g.40gb,2x1g.10gb; needed", DV_OPTION_TEXT,
     offsetof(struct plan_values, want)},
    {"change", 0, NULL, "from --have to --want, with the fewest destroyed and created",
     DV_OPTION_FLAG, offsetof(struct plan_values, change)},
    {"in-use", 0, "LIST",
     "with --change: those of --have that are in use; they stay, or are waited for", DV_OPTION_TEXT,
     offsetof(struct plan_values, in_use)},
};

struct plan {
    const struct dv_gpu_model *model;
    struct dv_mig_instance have[LIST_MAX], want[LIST_MAX];
    struct dv_mig_have from[LIST_MAX]; /* `have` for a change */
    int n_have, n_want;
    struct dv_mig_plan found;
};

/* The change's view of `have`, and which of it is in use. */
static int read_change(const struct dv_ui *ui, const char *in_use, struct plan *plan)
{
    const struct dv_mig_geometry *g = plan->model->mig;
    struct dv_mig_instance used[LIST_MAX];
    struct dv_err err = {{0}};
    int n = in_use ? dv_mig_plan_parse(g, in_use, used, &err) : 0;
    if (n < 0)
        return dv_ui_fail(ui, DV_UI_USAGE, "--in-use: %s", err.msg);
    for (int i = 0; i < plan->n_have; i++) {
        plan->from[i] =
            (struct dv_mig_have){.profile = plan->have[i].profile, .start = plan->have[i].start};
        if (plan->have[i].start == DV_MIG_UNPLACED)
            return dv_ui_fail(ui, DV_UI_USAGE,
                              "--have: with --change each instance needs its start, as in %s@0",
                              g->profiles[plan->have[i].profile].name);
    }
    for (int k = 0; k < n; k++) {
        int i = 0;
        while (i < plan->n_have &&
               (plan->from[i].profile != used[k].profile || plan->from[i].start != used[k].start))
            i++;
        if (i == plan->n_have)
            return dv_ui_fail(ui, DV_UI_USAGE,
                              "--in-use: %s is not in --have; name profile and start as there",
                              g->profiles[used[k].profile].name);
        plan->from[i].in_use = true;
    }
    return DV_UI_OK;
}

/* Reads the options; an exit status other than DV_UI_OK has been explained. */
static int read_plan(const struct dv_ui *ui, struct plan *ret)
{
    const struct plan_values *v = ui->values;
    struct dv_err err = {{0}};
    if (!v->gpu || !v->want) {
        dv_ui_fail(ui, DV_UI_USAGE, "--%s is missing", v->gpu ? "want LIST" : "gpu MODEL");
        return DV_UI_USAGE;
    }
    ret->model = dv_gpu_model_find(v->gpu, &err);
    if (!ret->model) {
        dv_ui_fail(ui, DV_UI_USAGE, "%s", err.msg);
        return DV_UI_USAGE;
    }
    if (!ret->model->mig)
        return DV_UI_OK;
    ret->n_have = v->have ? dv_mig_plan_parse(ret->model->mig, v->have, ret->have, &err) : 0;
    if (ret->n_have < 0)
        return dv_ui_fail(ui, DV_UI_USAGE, "--have: %s", err.msg);
    ret->n_want = dv_mig_plan_parse(ret->model->mig, v->want, ret->want, &err);
    if (ret->n_want < 0)
        return dv_ui_fail(ui, DV_UI_USAGE, "--want: %s", err.msg);
    if (v->in_use && !v->change)
        return dv_ui_fail(ui, DV_UI_USAGE, "--in-use goes with --change");
    return v->change ? read_change(ui, v->in_use, ret) : DV_UI_OK;
}

static void add_instances(const struct plan *plan, struct dv_output_node *root)
{
    struct dv_output_node *list = dv_output_array(root, "instances");
    for (uint32_t i = 0; i < plan->found.n; i++) {
        const struct dv_mig_instance *instance = &plan->found.instances[i];
        const struct dv_mig_profile *profile = &plan->model->mig->profiles[instance->profile];
        struct dv_output_node *row = dv_output_object(list, NULL);
        dv_output_string(row, "profile", profile->name);
        dv_output_uint(row, "start", instance->start);
        dv_output_uint(row, "size", profile->size);
    }
}

static void add_reason(const struct plan *plan, struct dv_output_node *root, struct dv_str *reason)
{
    if (!plan->model->mig) {
        dv_str_addf(reason, "%s has no MIG", plan->model->name);
        dv_output_string(root, "rule", "no_mig");
    } else {
        dv_verdict_text_mig(plan->model->mig, &plan->found, reason);
        dv_output_string(root, "rule", dv_verdict_text_rule(plan->found.rule));
    }
    dv_output_string(root, "reason", dv_str_get(reason));
    if (plan->model->mig)
        dv_output_bool(root, "fits_if_moved", plan->found.fits_if_moved);
}

static const struct dv_table_column plan_columns[] = {
    {"PROFILE", "profile"},
    {"START", "start", .right = true},
    {"SIZE", "size", .right = true},
};
static const struct dv_table plan_view = {"instances", plan_columns, DV_ARRAY_SIZE(plan_columns)};

/* ---- plan --change -------------------------------------------------------------------------- */

static void add_move(const struct plan *plan, struct dv_output_node *list, uint32_t profile,
                     uint32_t start, const char *action, bool in_use)
{
    struct dv_output_node *row = dv_output_object(list, NULL);
    dv_output_string(row, "profile", plan->model->mig->profiles[profile].name);
    dv_output_uint(row, "start", start);
    dv_output_uint(row, "size", plan->model->mig->profiles[profile].size);
    dv_output_string(row, "action", action);
    dv_output_bool(row, "in_use", in_use);
}

static const struct dv_table_column change_columns[] = {
    {"PROFILE", "profile"},
    {"START", "start", .right = true},
    {"SIZE", "size", .right = true},
    {"ACTION", "action"},
    {"IN USE", "in_use"},
};
static const struct dv_table change_view = {"instances", change_columns,
                                            DV_ARRAY_SIZE(change_columns)};

static void add_change(const struct plan *plan, const struct dv_mig_change *change,
                       struct dv_output_node *root)
{
    dv_output_uint(root, "kept", change->n - change->created);
    dv_output_uint(root, "destroyed", change->destroyed);
    dv_output_uint(root, "created", change->created);
    dv_output_uint(root, "in_use_in_the_way", change->blocked);
    struct dv_output_node *list = dv_output_array(root, "instances");
    for (int i = 0; i < plan->n_have; i++)
        if (change->goes[i])
            add_move(plan, list, plan->from[i].profile, plan->from[i].start,
                     plan->from[i].in_use ? "wait" : "destroy", plan->from[i].in_use);
    for (uint32_t i = 0; i < change->n; i++) {
        uint32_t from = change->instances[i].from;
        bool is_new = from == DV_MIG_CHANGE_NEW;
        add_move(plan, list, plan->want[i].profile, change->instances[i].start,
                 is_new ? "create" : "keep", !is_new && plan->from[from].in_use);
    }
}

static int run_change(const struct dv_ui *ui, struct plan *plan)
{
    struct dv_mig_change change = {.n = 0};
    const struct dv_mig_geometry *g = plan->model->mig;
    int r = dv_mig_change_find(g, plan->from, (size_t)plan->n_have, plan->want,
                               (size_t)plan->n_want, &change);
    if (r == -EINVAL)
        return dv_ui_fail(ui, DV_UI_USAGE,
                          plan->n_want > (int)DV_MIG_INSTANCES_MAX
                              ? "--want: no GPU has so many instances"
                              : "--have: no GPU of this model can have these instances together");
    if (r < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    dv_cleanup(dv_str_done) struct dv_str reason = {0};
    dv_cleanup(dv_output_free) struct dv_output *o = dv_output_new("MigChange");
    struct dv_output_node *root = dv_output_root(o);
    dv_output_string(root, "gpu", plan->model->name);
    dv_output_bool(root, "feasible", !change.rule);
    if (!change.rule) {
        add_change(plan, &change, root);
        return dv_ui_answer(ui, o, &change_view, "nothing is there and nothing is wanted",
                            dv_mig_node_blocked(ui, change.blocked));
    }
    dv_verdict_text_refusal(g, &change.refusal, &reason);
    dv_output_string(root, "rule", dv_verdict_text_rule(change.rule));
    dv_output_string(root, "reason", dv_str_get(&reason));
    dv_ui_fail(ui, DV_UI_PROBLEMS, "infeasible: %s", dv_str_get(&reason));
    return dv_ui_is(ui, "json") ? dv_ui_answer(ui, o, &change_view, NULL, DV_UI_PROBLEMS)
                                : DV_UI_PROBLEMS;
}

static int run_plan(const struct dv_ui *ui)
{
    const struct plan_values *v = ui->values;
    struct plan plan = {0};
    if (v->change && v->have && strchr(v->have, '/')) {
        struct dv_err err = {{0}};
        const struct dv_gpu_model *model = dv_gpu_model_find(v->gpu ? v->gpu : "", &err);
        if (model && model->mig && v->want)
            return dv_mig_node_answer(ui, model, v->have, v->in_use, v->want);
    }
    int exit = read_plan(ui, &plan);
    if (exit != DV_UI_OK)
        return exit;
    const struct dv_mig_geometry *geometry = plan.model->mig;
    if (geometry && v->change)
        return run_change(ui, &plan);
    if (geometry && dv_mig_plan_find(geometry, plan.have, (size_t)plan.n_have, plan.want,
                                     (size_t)plan.n_want, &plan.found) < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    bool feasible = geometry && plan.found.rule == DV_MIG_OK;
    dv_cleanup(dv_str_done) struct dv_str reason = {0};
    dv_cleanup(dv_output_free) struct dv_output *o = dv_output_new("MigPlan");
    struct dv_output_node *root = dv_output_root(o);
    dv_output_string(root, "gpu", plan.model->name);
    dv_output_bool(root, "feasible", feasible);
    if (feasible)
        add_instances(&plan, root);
    else
        add_reason(&plan, root, &reason);
    if (!feasible)
        dv_ui_fail(ui, DV_UI_PROBLEMS, "infeasible: %s", dv_str_get(&reason));
    if (!feasible && !dv_ui_is(ui, "json"))
        return DV_UI_PROBLEMS;
    return dv_ui_answer(ui, o, &plan_view, NULL, feasible ? DV_UI_OK : DV_UI_PROBLEMS);
}

static const struct dv_ui_example plan_examples[] = {
    {"where three instances lie on an A100",
     "divvy mig plan --gpu A100-80GB --want 3g.40gb,2g.20gb,1g.10gb"},
    {"is there room beside what is there, for a script",
     "divvy mig plan --gpu A100-80GB --have 3g.40gb@4 --want 4g.40gb -o json"},
    {"what would have to go, and what stays, on the way to another layout",
     "divvy mig plan --gpu A100-80GB --change --have 1g.10gb@0,1g.10gb@4 --in-use 1g.10gb@4 "
     "--want 3g.40gb,1g.10gb"},
    {"the same over three GPUs, a '/' between them: which GPU gets what",
     "divvy mig plan --gpu A100-80GB --change --have 1g.10gb@0,1g.10gb@4/3g.40gb@4/ "
     "--in-use 1g.10gb@4 --want 2x3g.40gb,4x1g.10gb"},
};

const struct dv_ui_verb dv_verb_mig_plan = {
    .name = "mig plan",
    .summary = "whether MIG instances fit on a GPU, and where",
    .details = "Exact: every set that the hardware accepts gets its places, every other is "
               "refused with the rule that it breaks (exit status 3). LIST names profiles, or "
               "their ids, separated by commas: 3g.40gb, 3g.40gb@4 for a place, 2x1g.10gb for "
               "several. With --change, --want is all that there shall be: the fewest in use "
               "are in the way (nothing is destroyed under a tenant: they are waited for, exit "
               "status 3), and of these ways the one that destroys and creates fewest; with "
               "several GPUs in --have, of all of them together.",
    .options = plan_options,
    .n_options = DV_ARRAY_SIZE(plan_options),
    .values_size = sizeof(struct plan_values),
    .examples = plan_examples,
    .n_examples = DV_ARRAY_SIZE(plan_examples),
    .prints = true,
    .run = run_plan,
};
