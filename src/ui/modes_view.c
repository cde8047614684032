/* SPDX-License-Identifier: Apache-2.0 */
#include "modes_view.h"

#include "base/str.h"
#include "simulate/modes/latency.h"

#include <stdio.h>

/* Milliseconds with two decimals, as such tables are printed; exact in seconds beside it. */
static void add_ms(struct dv_output_node *row, const char *key, uint64_t ns)
{
    dv_output_decimal(row, key, (int64_t)((ns + 5000) / 10000), 2);
}

static void add_figures(struct dv_output_node *row, const struct dv_modes_figures *f)
{
    dv_output_uint(row, "offered", f->offered);
    dv_output_uint(row, "served", f->served);
    if (f->served) {
        add_ms(row, "p50_ms", f->p50_ns);
        add_ms(row, "p99_ms", f->p99_ns);
        add_ms(row, "max_ms", f->max_ns);
    } else {
        dv_output_null(row, "p50_ms");
        dv_output_null(row, "p99_ms");
        dv_output_null(row, "max_ms");
    }
    dv_output_seconds(row, "p50_seconds", f->p50_ns);
    dv_output_seconds(row, "p99_seconds", f->p99_ns);
    dv_output_bool(row, "exact", f->exact);
    if (!f->exact)
        dv_output_uint(row, "error_permille", DV_LATENCY_ERROR_PERMILLE);
}

static void add_tenant_name(const struct dv_modes_view *v, struct dv_output_node *row, uint32_t t)
{
    char number[16];
    snprintf(number, sizeof number, "%u", t);
    dv_output_string(row, "tenant", v->names ? v->names[t] : number);
}

static void add_reason(const struct dv_modes_view *v, const struct dv_modes_result *r,
                       struct dv_output_node *row)
{
    dv_cleanup(dv_str_done) struct dv_str s = {0};
    switch (r->verdict) {
    case DV_MODES_OK:
        return;
    case DV_MODES_NO_MIG:
        dv_str_addf(&s, "%s has no MIG", v->config->gpu->name);
        break;
    case DV_MODES_TOO_MANY:
        dv_str_addf(&s, "%u tenants, and %s has at most %u MIG instances", v->load->tenants,
                    v->config->gpu->name, r->limit);
        break;
    case DV_MODES_NOT_MODELLED:
        dv_str_addf(&s, "the textbook has no rule for it");
        break;
    }
    dv_output_string(row, "reason", dv_str_get(&s));
}

/* p99 of those who behave, beside what it is when all do. */
static void add_others(const struct dv_modes_view *v, uint32_t i, struct dv_output_node *row)
{
    const struct dv_modes_figures *f = &v->results[i].others;
    struct dv_output_node *others = dv_output_object(row, "well_behaved");
    add_figures(others, f);
    if (i >= v->n_calm || !v->calm[i].complete)
        return;
    /* 0: none of them was served. */
    uint64_t calm = v->calm[i].others.p99_ns;
    if (calm)
        add_ms(others, "p99_without_hostile_ms", calm);
    if (calm && f->p99_ns)
        dv_output_decimal(others, "p99_ratio",
                          (int64_t)((double)f->p99_ns / (double)calm * 1000 + 0.5), 3);
}

static void add_engine(const struct dv_modes_view *v, const struct dv_modes_result *r,
                       struct dv_output_node *row)
{
    if (r->mode == DV_MODES_EXCLUSIVE)
        return;
    dv_output_decimal(row, "switch_percent", (int64_t)(r->switch_ppm / 100), 2);
    if (r->mode == DV_MODES_MIG) {
        dv_output_string(row, "mig_profile", v->config->gpu->mig->profiles[r->mig_profile].name);
        dv_output_uint(row, "instance_sm", r->instance_sm);
    }
    if (r->mode == DV_MODES_GOVERNED)
        dv_output_uint(row, "leases", r->leases);
}

static void add_tenants(const struct dv_modes_view *v, const struct dv_modes_result *r,
                        struct dv_output_node *row)
{
    struct dv_output_node *list = dv_output_array(row, "tenants");
    for (uint32_t t = 0; t < v->load->tenants; t++) {
        struct dv_output_node *tenant = dv_output_object(list, NULL);
        add_tenant_name(v, tenant, t);
        add_figures(tenant, &r->tenants[t]);
    }
}

static void add_distribution(const struct dv_modes_result *r, struct dv_output_node *row)
{
    struct dv_output_node *list = dv_output_array(row, "distribution");
    for (uint32_t i = 0; r->all.served && i < DV_MODES_CURVE; i++) {
        struct dv_output_node *point = dv_output_object(list, NULL);
        dv_output_decimal(point, "percentile", dv_modes_curve_permille[i], 1);
        add_ms(point, "ms", r->curve_ns[i]);
    }
}

static void add_mode(const struct dv_modes_view *v, uint32_t i, struct dv_output_node *list)
{
    const struct dv_modes_result *r = &v->results[i];
    struct dv_output_node *row = dv_output_object(list, NULL);
    dv_output_string(row, "mode", dv_modes_name(r->mode));
    dv_output_bool(row, "possible", r->verdict == DV_MODES_OK);
    add_reason(v, r, row);
    if (r->verdict != DV_MODES_OK)
        return;
    add_figures(row, &r->all);
    dv_output_bool(row, "complete", r->complete);
    dv_output_seconds(row, "simulated_seconds", r->until_ns);
    dv_output_uint(row, "cards", r->cards);
    dv_output_decimal(row, "utilization_percent", (int64_t)(r->work_ppm / 100), 2);
    if (v->config->model == DV_MODES_ENGINE)
        add_engine(v, r, row);
    if (v->load->has_hostile)
        add_others(v, i, row);
    add_distribution(r, row);
    add_tenants(v, r, row);
}

static void add_hostile(const struct dv_modes_view *v, struct dv_output_node *root)
{
    struct dv_output_node *hostile = dv_output_object(root, "hostile");
    add_tenant_name(v, hostile, v->load->hostile);
    dv_output_decimal(hostile, "service_factor", (int64_t)v->load->hostile_service_milli, 3);
    dv_output_decimal(hostile, "rate_factor", (int64_t)v->load->hostile_rate_milli, 3);
}

static void add_load(const struct dv_modes_view *v, struct dv_output_node *root)
{
    const struct dv_arrivals_load *load = v->load;
    bool engine = v->config->model == DV_MODES_ENGINE;
    dv_output_string(root, "model", engine ? "engine" : "textbook");
    dv_output_string(root, "gpu", engine ? v->config->gpu->name : NULL);
    dv_output_uint(root, "tenants", load->tenants);
    dv_output_seconds(root, "duration_seconds", load->duration_ns);
    dv_output_seconds(root, "service_seconds", load->service_ns);
    if (!load->recorded) {
        dv_output_decimal(root, "requests_per_second", (int64_t)load->rate_milli, 3);
        dv_output_uint(root, "seed", load->seed);
    }
    if (load->has_hostile)
        add_hostile(v, root);
}

void dv_modes_view_add(const struct dv_modes_view *v, struct dv_output_node *root)
{
    uint64_t offered = 0;
    bool complete = !v->interrupted;
    for (uint32_t i = 0; i < v->n; i++) {
        offered = DV_MAX(offered, v->results[i].all.offered);
        complete = complete && v->results[i].complete;
    }
    dv_output_uint(root, "offered", offered);
    dv_output_bool(root, "partial", !complete);
    add_load(v, root);
    struct dv_output_node *list = dv_output_array(root, "modes");
    for (uint32_t i = 0; i < v->n; i++)
        add_mode(v, i, list);
}

#define COMMON                                                                                     \
    {"MODE", "mode"}, {"OFFERED", "offered", .right = true}, {"SERVED", "served", .right = true},  \
        {"P50 MS", "p50_ms", .right = true},                                                       \
    {                                                                                              \
        "P99 MS", "p99_ms", .right = true                                                          \
    }
#define END                                                                                        \
    {"MAX MS", "max_ms", .right = true},                                                           \
        {"BUSY", "utilization_percent", .right = true, .suffix = "%"},                             \
        {"CARDS", "cards", .right = true},                                                         \
    {                                                                                              \
        "WHY NOT", "reason"                                                                        \
    }

static const struct dv_table_column columns[] = {COMMON, END};
static const struct dv_table_column hostile_columns[] = {
    COMMON,
    {"OTHERS' P99", "well_behaved.p99_ms", .right = true},
    {"WITHOUT IT", "well_behaved.p99_without_hostile_ms", .right = true},
    {"RATIO", "well_behaved.p99_ratio", .right = true},
    END,
};
const struct dv_table dv_modes_table = {"modes", columns, DV_ARRAY_SIZE(columns)};
const struct dv_table dv_modes_table_hostile = {"modes", hostile_columns,
                                                DV_ARRAY_SIZE(hostile_columns)};

/* ---- the page ------------------------------------------------------------------------------- */

static const struct dv_table_column tenant_columns[] = {
    {"MODE", "^mode"},
    {"TENANT", "tenant"},
    {"OFFERED", "offered", .right = true},
    {"SERVED", "served", .right = true},
    {"P50 MS", "p50_ms", .right = true},
    {"P99 MS", "p99_ms", .right = true},
};
static const struct dv_table tenant_table = {"modes.tenants", tenant_columns,
                                             DV_ARRAY_SIZE(tenant_columns)};
static const struct dv_report_series curve[] = {{"percentile", "requests served, %"}};
static const struct dv_report_series p99[] = {{"p99_ms", "99th percentile, ms"}};
static const struct dv_report_series others_p99[] = {{"well_behaved.p99_ms", "of the others, ms"}};

static const struct dv_report_part parts[] = {
    {DV_REPORT_TABLE, "The modes", .table = &dv_modes_table},
    {DV_REPORT_LINES, "Latency", "How many requests took how long, or less.",
     .rows = "modes.distribution", .x = "ms", .x_title = "latency, ms", .y_title = "requests, %",
     .series = curve, .n_series = DV_ARRAY_SIZE(curve), .by = "^mode", .from_zero = true,
     .log_x = true},
    {DV_REPORT_BARS, "99th percentile, ms", .rows = "modes", .x = "mode", .series = p99,
     .n_series = DV_ARRAY_SIZE(p99)},
    {DV_REPORT_TABLE, "Tenant by tenant", .table = &tenant_table},
};
static const struct dv_report_part hostile_parts[] = {
    {DV_REPORT_TABLE, "The modes", .table = &dv_modes_table_hostile},
    {DV_REPORT_BARS, "99th percentile of the other tenants, ms", .rows = "modes", .x = "mode",
     .series = others_p99, .n_series = DV_ARRAY_SIZE(others_p99)},
    {DV_REPORT_LINES, "Latency", "How many requests of all tenants took how long, or less.",
     .rows = "modes.distribution", .x = "ms", .x_title = "latency, ms", .y_title = "requests, %",
     .series = curve, .n_series = DV_ARRAY_SIZE(curve), .by = "^mode", .from_zero = true,
     .log_x = true},
    {DV_REPORT_TABLE, "Tenant by tenant", .table = &tenant_table},
};
static const char title[] = "Latency by sharing mode";
const struct dv_report dv_modes_report = {title, parts, DV_ARRAY_SIZE(parts)};
const struct dv_report dv_modes_report_hostile = {title, hostile_parts,
                                                  DV_ARRAY_SIZE(hostile_parts)};
