/* SPDX-License-Identifier: Apache-2.0 */
/* A fleet by its figures alone: so many workloads of so many GPUs, so busy on average. */
#include "answer.h"
#include "base/number.h"
#include "base/units.h"
#include "policy/fleet/fleet.h"
#include "render/audit_text.h"
#include "render/value.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define IDLE_WORTH 30.0 /* percent: more idle than the headroom that fleets should keep */

/* ---- "training=4x4@95%,..." ----------------------------------------------------------------- */

static int read_count(const char *text, const char *what, uint32_t *ret, struct dv_err *err)
{
    int64_t v = 0;
    int r = dv_units_parse_integer(text, what, 1, 1000000, &v, err);
    if (r == 0)
        *ret = (uint32_t)v;
    return r;
}

static int read_busy(char *text, uint32_t *ret_milli, struct dv_err *err)
{
    double v = 0;
    size_t n = strlen(text);
    if (n && text[n - 1] == '%')
        n--;
    if (dv_number_double(text, n, &v) < 0 || v < 0 || v > 100)
        return dv_err_set(err, -EINVAL, "'%.20s' is not a utilization between 0%% and 100%%", text);
    *ret_milli = (uint32_t)lround(v * 1000);
    return 0;
}

/* The kind is behind a colon, or the name itself; else it is not known. */
static int read_kind(const char *name, struct dv_audit_group *ret, struct dv_err *err)
{
    static const char *const kinds[] = {"training", "inference", "interactive", "notebook",
                                        "batch"};
    const char *colon = strrchr(name, ':');
    if (dv_audit_group_kind(colon ? colon + 1 : name, &ret->kind) || !colon)
        return 0;
    const char *near = dv_str_nearest(colon + 1, kinds, DV_ARRAY_SIZE(kinds));
    return dv_err_set(err, -EINVAL,
                      "no kind '%.40s'%s%s%s; there are training, inference, interactive "
                      "(notebook), batch",
                      colon + 1, near ? ", did you mean '" : "", near ? near : "",
                      near ? "'?" : "");
}

static int read_group(char *text, struct dv_audit_group *ret, struct dv_err *err)
{
    char *equals = strchr(text, '='), *at = equals ? strchr(equals, '@') : NULL;
    if (!at || equals == text)
        return dv_err_set(err, -EINVAL,
                          "'%.60s' is not NAME[:KIND]=COUNTxGPUS@BUSY%%, as training=4x4@95%%",
                          text);
    *equals = *at = 0;
    char *count = equals + 1, *times = strchr(count, 'x');
    *ret = (struct dv_audit_group){.gpus = 1};
    if (dv_str_copy(ret->name, sizeof ret->name, text) < 0)
        return dv_err_set(err, -EINVAL, "the name '%.20s...' is too long", text);
    if (times)
        *times = 0;
    int r = read_kind(text, ret, err);
    r = r < 0 ? r : read_count(count, "workloads", &ret->count, err);
    r = r < 0 || !times ? r : read_count(times + 1, "GPUs of each", &ret->gpus, err);
    return r < 0 ? r : read_busy(at + 1, &ret->busy_milli, err);
}

int dv_audit_groups_parse(const char *text, struct dv_audit_group ret[DV_AUDIT_GROUPS_MAX],
                          struct dv_err *err)
{
    char copy[4096];
    int n = 0;
    if (dv_str_copy(copy, sizeof copy, text) < 0)
        return dv_err_set(err, -E2BIG, "--fleet is too long");
    for (char *p = copy; p; n++) {
        char *one = strsep(&p, ",");
        if (n == (int)DV_AUDIT_GROUPS_MAX)
            return dv_err_set(err, -E2BIG, "--fleet: more than %u groups", DV_AUDIT_GROUPS_MAX);
        int r = read_group(one, &ret[n], err);
        if (r < 0) {
            dv_err_prefix(err, "--fleet: ");
            return r;
        }
    }
    return n;
}

/* ---- the answer ----------------------------------------------------------------------------- */

static void add_group(struct dv_output_node *list, const struct dv_audit_group *g,
                      const struct dv_audit_wish *wish)
{
    struct dv_audit_choice c;
    struct dv_output_node *row = dv_output_object(list, NULL);
    dv_cleanup(dv_str_done) struct dv_str reason = {0};
    dv_audit_group_judge(g, wish, &c);
    dv_output_string(row, "workload", g->name);
    dv_output_uint(row, "count", g->count);
    dv_output_uint(row, "gpus", g->gpus);
    dv_output_decimal(row, "mean_busy_percent", g->busy_milli, 3);
    dv_output_string(row, "mode", dv_fleet_mode_name((enum dv_fleet_mode)c.mode));
    dv_output_string(row, "profile",
                     c.mode == DV_SHARING_MIG ? wish->mig->profiles[c.profile].name : NULL);
    dv_output_string(row, "why", dv_audit_text_name(c.why));
    dv_audit_text_group(g, &c, &reason);
    dv_output_string(row, "reason", dv_str_get(&reason));
}

/* By compute alone: nothing is known of memory. */
static void add_plan(struct dv_output_node *root, const struct dv_audit_group *groups, size_t n,
                     const struct dv_audit_money *money, const struct dv_audit_wish *wish,
                     uint64_t gpus)
{
    uint64_t needed = dv_audit_group_gpus(groups, n, wish);
    uint64_t saved = gpus > needed ? gpus - needed : 0;
    struct dv_output_node *plan = dv_output_object(root, "plan");
    dv_output_uint(plan, "gpus_at_least", needed);
    dv_output_uint(plan, "saved_gpus", saved);
    if (money->per_hour_micros < 0)
        dv_output_null(plan, "saved_per_month_micros");
    else
        dv_output_int(plan, "saved_per_month_micros",
                      (int64_t)saved * money->month_hours * money->per_hour_micros);
    dv_output_string(plan, "binds", "compute");
}

static void add_money(struct dv_output_node *to, const char *key, const struct dv_audit_money *m,
                      double hours)
{
    if (m->per_hour_micros < 0)
        dv_output_null(to, key);
    else
        dv_output_int(to, key, llround((double)m->per_hour_micros * hours));
}

struct dv_output *dv_audit_groups_tree(const struct dv_audit_group *groups, size_t n,
                                       const struct dv_audit_money *money,
                                       const struct dv_audit_wish *wish, bool *ret_worth)
{
    uint64_t workloads = 0, asked = 0;
    double busy = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t gpus = (uint64_t)groups[i].count * groups[i].gpus;
        workloads += groups[i].count;
        asked += gpus;
        busy += (double)gpus * groups[i].busy_milli / 1000;
    }
    uint64_t gpus = money->gpus > 0 ? (uint64_t)money->gpus : asked;
    /* GPUs that nobody asks for are idle; of more asked than there are, all are in use in turn. */
    double mean = busy / (double)DV_MAX(asked, gpus),
           hours = (double)gpus * (double)money->month_hours;
    *ret_worth = 100 - mean > IDLE_WORTH;
    struct dv_output *o = dv_output_new("Audit");
    struct dv_output_node *root = dv_output_root(o);
    dv_output_uint(root, "workloads", workloads);
    dv_output_uint(root, "samples", 0);
    dv_output_decimal(root, "mean_busy_percent", llround(mean * 10000), 4);
    dv_output_null(root, "idle_sample_percent");
    dv_output_string(root, "currency", money->per_hour_micros < 0 ? NULL : money->currency);
    dv_output_bool(root, "worth_acting", *ret_worth);
    struct dv_output_node *fleet = dv_output_object(root, "fleet");
    dv_output_uint(fleet, "gpus", gpus);
    dv_output_uint(fleet, "gpus_asked", asked);
    struct dv_output_node *waste = dv_output_object(root, "waste");
    if (money->per_hour_micros < 0)
        dv_output_null(waste, "price_per_hour_micros");
    else
        dv_output_int(waste, "price_per_hour_micros", money->per_hour_micros);
    dv_output_uint(waste, "month_hours", (uint64_t)money->month_hours);
    add_money(waste, "cost_per_month_micros", money, hours);
    add_money(waste, "waste_per_month_micros", money, hours * (1 - mean / 100));
    dv_output_decimal(waste, "waste_percent", llround((100 - mean) * 100), 2);
    add_plan(root, groups, n, money, wish, gpus);
    struct dv_output_node *list = dv_output_array(root, "recommendations");
    for (size_t i = 0; i < n; i++)
        add_group(list, &groups[i], wish);
    return o;
}

static const struct dv_table_column columns[] = {
    {"WORKLOADS", "workload"},
    {"COUNT", "count", .right = true},
    {"GPUS EACH", "gpus", .right = true},
    {"BUSY %", "mean_busy_percent", .right = true},
    {"MODE", "mode"},
    {"PROFILE", "profile", .csv_only = true},
    {"WHY", "reason"},
};
const struct dv_table dv_audit_groups_view = {"recommendations", columns, DV_ARRAY_SIZE(columns)};

int dv_audit_groups_text(struct dv_output *o, bool colour, struct dv_str *text)
{
    struct dv_output_node *root = dv_output_root(o);
    const struct dv_output_node *waste = dv_output_get(root, "waste");
    const struct dv_output_node *fleet = dv_output_get(root, "fleet");
    const char *currency = dv_output_text(dv_output_get(root, "currency"), NULL);
    dv_value_human(dv_output_get(fleet, "gpus_asked"), DV_VALUE_AUTO, text);
    dv_str_add(text, " GPUs asked of ");
    dv_value_human(dv_output_get(fleet, "gpus"), DV_VALUE_AUTO, text);
    dv_str_add(text, ", busy ");
    dv_value_human(dv_output_get(root, "mean_busy_percent"), DV_VALUE_AUTO, text);
    dv_str_add(text, " % on average\n");
    if (currency) {
        dv_str_add(text, "a month costs ");
        dv_value_human(dv_output_get(waste, "cost_per_month_micros"), DV_VALUE_MONEY, text);
        dv_str_addf(text, " %s, wasted ", currency);
        dv_value_human(dv_output_get(waste, "waste_per_month_micros"), DV_VALUE_MONEY, text);
        dv_str_addc(text, '\n');
    }
    const struct dv_output_node *plan = dv_output_get(root, "plan");
    dv_str_add(text, "by compute alone ");
    dv_value_human(dv_output_get(plan, "gpus_at_least"), DV_VALUE_AUTO, text);
    dv_str_add(text, " GPUs would do (memory is not known)\n\n");
    int r =
        dv_table_write(&dv_audit_groups_view, o, (struct dv_table_style){.colour = colour}, text);
    return r < 0 ? r : text->failed ? -ENOMEM : 0;
}
