/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts of the specification: github.com/FinOps-Open-Cost-and-Usage-Spec/FOCUS_Spec, tag v1.2, and
 * v1.3 for the allocation and provider columns.
 *
 * Money is micros of the currency. Quantities are kept in 10^-12 GPU hours: an hour has 3600 x 10^9
 * ns, which no finite decimal divides, so a quantity is rounded there and the last row of an origin
 * charge takes what rounding left.
 */
#include "render/focus.h"

#include "render/csv.h"
#include "render/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

__extension__ typedef __int128 i128;

#define PICO INT64_C(1000000000000)
#define PICO_PER_MICRO INT64_C(1000000)
#define PICO_DIGITS 12
#define MICRO_DIGITS 6
#define NANO_DIGITS 9
#define PROVIDER "divvy"
#define SERVICE "GPU time"
#define ACCOUNT "divvy" /* all tenants of a node are sub accounts of one billing account */

enum row_kind {
    ROW_TENANT,   /* a line of the bill */
    ROW_UNUSED,   /* what no tenant is charged for on a GPU in a day */
    ROW_IDLE,     /* a tenant's share of idle time: of a GPU in a day, or of the bill */
    ROW_FIXED,    /* a tenant's fixed price */
    ROW_TAKEN_OFF /* the sum of what is not of a GPU, negative */
};

struct row {
    enum row_kind kind;
    int64_t from, to;
    const struct dv_output_node *line; /* of UNUSED: one of the same GPU; NULL: of no GPU */
    const char *tenant;                /* NULL: nobody */
    int64_t cost_micros;
    int64_t consumed_ns;
    bool quantified; /* the next two are known */
    int64_t quantity_pico;
    i128 price_pico;    /* per GPU hour, in the currency */
    int64_t ratio_pico; /* of the origin charge */
    int64_t origin_micros;
};

struct writer {
    struct dv_str *text;
    enum dv_focus_version version;
    const struct dv_output_node *bill;
    const struct dv_zone *zone;
    const char *currency, *basis, *idle;
    int64_t from, to;
    bool partial; /* one tenant's part of the bill: the origin charges are not in it */
};

static const struct dv_zone utc;

/* ---- reading the bill ----------------------------------------------------------------------- */

static const char *text_of(const struct dv_output_node *object, const char *key)
{
    return dv_output_text(dv_output_get(object, key), "");
}

static int64_t number_of(const struct dv_output_node *object, const char *key)
{
    return dv_output_signed(dv_output_get(object, key), 0);
}

static int64_t ns_of(const struct dv_output_node *object, const char *key)
{
    uint64_t ns = dv_output_ns(dv_output_get(object, key), 0);
    return ns > INT64_MAX ? INT64_MAX : (int64_t)ns;
}

static bool is_tenants(const struct dv_output_node *line)
{
    return *text_of(line, "tenant");
}

/* The GPU's price in micros per hour, or -1 where it has several. */
static int64_t price_of(const struct writer *w, const struct dv_output_node *line)
{
    const struct dv_output_node *own = dv_output_get(line, "price_per_hour_micros");
    if (own)
        return dv_output_signed(own, -1);
    const struct dv_output_node *gpus = dv_output_get(w->bill, "gpus");
    for (const struct dv_output_node *g = gpus ? gpus->first : NULL; g; g = g->next)
        if (!strcmp(text_of(g, "uuid"), text_of(line, "gpu_uuid")))
            return dv_output_signed(dv_output_get(g, "price_per_hour_micros"), -1);
    return -1;
}

static bool is_kind(const struct dv_output_node *line, const char *kind)
{
    return !strcmp(dv_output_text(dv_output_get(line, "kind"), "time"), kind);
}

/* Of a GPU's time in a day? Fees are not. */
static bool is_of_gpu(const struct dv_output_node *line)
{
    return *text_of(line, "gpu_uuid") && !is_kind(line, "fee");
}

static int64_t wall_of(const struct dv_output_node *line)
{
    static const char *const buckets[] = {"busy_seconds", "reserved_idle_seconds",
                                          "overhead_seconds", "unallocated_seconds",
                                          "unhealthy_seconds"};
    int64_t wall = 0;
    for (size_t i = 0; i < DV_ARRAY_SIZE(buckets); i++)
        wall += ns_of(line, buckets[i]);
    return is_kind(line, "time") ? wall : 0;
}

static int64_t origin_of(const struct dv_output_node *line)
{
    return is_kind(line, "time")
               ? number_of(line, "used_cost_micros") + number_of(line, "waste_cost_micros")
               : 0;
}

/* The billing period: the calendar month of the bill's time zone that `unix` lies in. */
static void period_of(const struct writer *w, int64_t unix_s, int64_t *ret_from, int64_t *ret_to)
{
    int32_t day = dv_zone_day(w->zone, unix_s);
    *ret_from = dv_zone_day_start(w->zone, dv_date_month(day));
    *ret_to = dv_zone_day_start(w->zone, dv_date_next_month(day));
}

/* ---- cells ---------------------------------------------------------------------------------- */

/* v / 10^digits; trailing zeros are left out where `trim` is set. */
static void add_decimal(i128 v, unsigned digits, bool trim, struct dv_str *text)
{
    char buf[64];
    size_t at = sizeof buf;
    bool negative = v < 0;
    bool fraction = digits > 0;
    buf[--at] = 0;
    if (negative)
        v = -v;
    for (unsigned i = 0; i < digits; i++, v /= 10) {
        if (trim && v % 10 == 0 && !buf[at])
            continue;
        buf[--at] = (char)('0' + (int)(v % 10));
    }
    fraction = fraction && buf[at];
    if (fraction)
        buf[--at] = '.';
    do
        buf[--at] = (char)('0' + (int)(v % 10));
    while (v /= 10);
    if (negative)
        buf[--at] = '-';
    dv_str_add(text, buf + at);
}

static void cell_cost(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    add_decimal(r->cost_micros, MICRO_DIGITS, false, cell);
}

static void cell_account(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    dv_str_add(cell, ACCOUNT);
}

static void cell_currency(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    dv_str_add(cell, w->currency);
}

static void add_time(int64_t unix_s, struct dv_str *cell)
{
    char buf[DV_ZONE_TEXT];
    dv_str_add(cell, dv_zone_format(&utc, unix_s, buf));
}

static void cell_period_from(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    int64_t from, to;
    period_of(w, r->from, &from, &to);
    add_time(from, cell);
}

static void cell_period_to(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    int64_t from, to;
    period_of(w, r->from, &from, &to);
    add_time(to, cell);
}

static void cell_from(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    add_time(r->from, cell);
}

static void cell_to(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    add_time(r->to, cell);
}

static void cell_category(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    dv_str_add(cell, !r->quantified ? "Adjustment" : r->kind == ROW_FIXED ? "Purchase" : "Usage");
}

static void cell_frequency(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    dv_str_add(cell, r->kind == ROW_FIXED ? "Recurring" : r->line ? "Usage-Based" : "One-Time");
}

static void cell_null(const struct writer *w, const struct row *r, struct dv_str *cell)
{
}

static void cell_description(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    const char *model = text_of(r->line, "model");
    const char *profile = text_of(r->line, "profile");
    switch (r->kind) {
    case ROW_TENANT:
        dv_str_addf(cell, "GPU time of %s on %s%s%s (%s)", r->tenant, model, *profile ? " " : "",
                    profile, text_of(r->line, "mode"));
        break;
    case ROW_UNUSED:
        dv_str_addf(cell, "Time of %s that no tenant is charged for", model);
        break;
    case ROW_FIXED:
        dv_str_addf(cell, "Fixed price of %s", r->tenant);
        break;
    case ROW_IDLE:
        dv_str_addf(cell, "Share of %s in idle GPU time (%s)", r->tenant, w->idle);
        break;
    case ROW_TAKEN_OFF:
        dv_str_add(cell, "GPU time covered by fixed prices and shares of idle time");
        break;
    }
}

static void cell_consumed(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    if (r->quantified && r->line)
        add_decimal(r->consumed_ns, NANO_DIGITS, false, cell);
}

static void cell_consumed_unit(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    if (r->quantified && r->line)
        dv_str_add(cell, "GPU-Seconds");
}

static void cell_quantity(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    if (r->quantified)
        add_decimal(r->quantity_pico, PICO_DIGITS, true, cell);
}

static void cell_unit(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    if (r->quantified)
        dv_str_add(cell, r->kind == ROW_FIXED ? "Units" : "GPU-Hours");
}

static void cell_price(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    if (r->quantified)
        add_decimal(r->price_pico, PICO_DIGITS, true, cell);
}

static void cell_pricing_category(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    if (r->quantified)
        dv_str_add(cell, "Standard");
}

static void cell_provider(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    dv_str_add(cell, PROVIDER);
}

static void cell_gpu(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    dv_str_add(cell, text_of(r->line, "gpu_uuid"));
}

static void cell_gpu_name(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    if (r->line)
        dv_str_addf(cell, "%s (%.12s)", text_of(r->line, "model"), text_of(r->line, "gpu_uuid"));
}

static void cell_gpu_type(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    if (r->line)
        dv_str_add(cell, "GPU");
}

static void cell_service_category(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    dv_str_add(cell, "Compute");
}

static void cell_service_part(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    dv_str_add(cell, "Other (Compute)");
}

static void cell_service(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    dv_str_add(cell, SERVICE);
}

/* What is sold: time of a model, or of a kind of MIG device of it. */
static void cell_sku(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    const char *profile = r->kind == ROW_TENANT ? text_of(r->line, "profile") : "";
    if (r->line)
        dv_str_addf(cell, "%s%s%s", text_of(r->line, "model"), *profile ? "/" : "", profile);
    else if (r->quantified)
        dv_str_add(cell, "fixed price");
}

static void cell_meter(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    if (r->line)
        dv_str_add(cell, SERVICE);
    else if (r->quantified)
        dv_str_add(cell, "Fixed price");
}

/* One price per model, mode, tier and tenant. */
static void cell_sku_price(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    cell_sku(w, r, cell);
    if (r->kind == ROW_TENANT)
        dv_str_addf(cell, "/%s/%s", text_of(r->line, "mode"), text_of(r->line, "tier"));
}

static void add_pair(const char *key, const char *value, struct dv_str *cell)
{
    dv_str_add(cell, cell->len > 1 ? "," : "");
    dv_json_quote(key, cell);
    dv_str_addc(cell, ':');
    dv_json_quote(value, cell);
}

static void cell_price_details(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    if (!r->line)
        return;
    dv_str_add(cell, "{\"GpuCount\":1");
    add_pair("InstanceType", text_of(r->line, "model"), cell);
    if (r->kind == ROW_TENANT && *text_of(r->line, "profile"))
        add_pair("x_MigProfile", text_of(r->line, "profile"), cell);
    if (r->kind == ROW_TENANT) {
        add_pair("x_SharingMode", text_of(r->line, "mode"), cell);
        add_pair("x_Tier", text_of(r->line, "tier"), cell);
    }
    dv_str_addc(cell, '}');
}

static void cell_tenant(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    dv_str_add(cell, r->tenant ? r->tenant : "");
}

/* Of the origin charge, so the same on all rows that it is split into. */
static void cell_tags(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    if (!r->line)
        return;
    dv_str_addc(cell, '{');
    add_pair("divvy/model", text_of(r->line, "model"), cell);
    dv_str_addc(cell, '}');
}

/* ---- 1.3: how an origin charge was split ---- */

static bool is_allocated(const struct writer *w, const struct row *r)
{
    return r->line && r->tenant && !w->partial;
}

static void cell_method(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    if (r->line && !w->partial)
        dv_str_addf(cell, "divvy-%s-idle-%s-v1", w->basis, w->idle);
}

static void cell_method_details(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    if (!r->line || w->partial)
        return;
    dv_str_add(cell, "{\"Elements\":[{\"AllocatedRatio\":");
    add_decimal(r->ratio_pico, PICO_DIGITS, true, cell);
    dv_str_add(cell, ",\"UsageUnit\":\"GPU-Seconds\",\"UsageQuantity\":");
    add_decimal(r->consumed_ns, NANO_DIGITS, true, cell);
    dv_str_add(cell, "}]}");
}

static void cell_allocated(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    static const char *const parts[] = {"mode", "profile", "tier", "source", "quality"};
    if (!is_allocated(w, r))
        return;
    dv_str_add(cell, r->tenant);
    if (r->kind == ROW_IDLE) {
        dv_str_add(cell, "/idle");
        return;
    }
    for (size_t i = 0; i < DV_ARRAY_SIZE(parts); i++)
        dv_str_addf(cell, "/%s", text_of(r->line, parts[i]));
    if (*text_of(r->line, "pod"))
        dv_str_addf(cell, "/%s", text_of(r->line, "pod"));
}

static void cell_allocated_name(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    if (!is_allocated(w, r))
        return;
    dv_str_add(cell, r->tenant);
    if (r->kind == ROW_TENANT && *text_of(r->line, "pod"))
        dv_str_addf(cell, "/%s", text_of(r->line, "pod"));
}

static void cell_allocated_tags(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    if (!is_allocated(w, r))
        return;
    dv_str_addc(cell, '{');
    add_pair("divvy/tenant", r->tenant, cell);
    if (r->kind == ROW_TENANT)
        add_pair("divvy/mode", text_of(r->line, "mode"), cell);
    if (r->kind == ROW_TENANT && *text_of(r->line, "pod"))
        add_pair("divvy/pod", text_of(r->line, "pod"), cell);
    dv_str_addc(cell, '}');
}

/* ---- divvy's own ---- */

static void cell_basis(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    dv_str_add(cell, w->basis);
}

static void cell_origin(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    if (!r->line || w->partial)
        return;
    dv_str_addf(cell, "%s/", text_of(r->line, "gpu_uuid"));
    add_time(r->from, cell);
}

static void cell_origin_cost(const struct writer *w, const struct row *r, struct dv_str *cell)
{
    if (r->line && !w->partial)
        add_decimal(r->origin_micros, MICRO_DIGITS, false, cell);
}

/* A column whose cell is a line's own value. */
static void add_own(const struct row *r, const char *key, struct dv_str *cell)
{
    if (r->kind == ROW_TENANT)
        dv_value_raw(dv_output_get(r->line, key), cell);
}

static void add_own_seconds(const struct row *r, const char *key, struct dv_str *cell)
{
    if (r->kind == ROW_TENANT)
        add_decimal(ns_of(r->line, key), NANO_DIGITS, false, cell);
}

static void add_own_cost(const struct row *r, const char *key, struct dv_str *cell)
{
    if (r->kind == ROW_TENANT)
        add_decimal(number_of(r->line, key), MICRO_DIGITS, false, cell);
}

#define OWN(name, add, key)                                                                        \
    static void name(const struct writer *w, const struct row *r, struct dv_str *cell)             \
    {                                                                                              \
        add(r, key, cell);                                                                         \
    }
OWN(cell_model, add_own, "model")
OWN(cell_mode, add_own, "mode")
OWN(cell_profile, add_own, "profile")
OWN(cell_pod, add_own, "pod")
OWN(cell_tier, add_own, "tier")
OWN(cell_quality, add_own, "quality")
OWN(cell_source, add_own, "source")
OWN(cell_bytes, add_own, "memory_byte_seconds")
OWN(cell_busy, add_own_seconds, "busy_seconds")
OWN(cell_requested, add_own_seconds, "requested_seconds")
OWN(cell_wait, add_own_seconds, "wait_seconds")
OWN(cell_used_cost, add_own_cost, "used_cost_micros")
OWN(cell_requested_cost, add_own_cost, "requested_cost_micros")
OWN(cell_max_cost, add_own_cost, "max_cost_micros")

/* ---- the columns of each version ------------------------------------------------------------ */

static const struct column {
    const char *name;
    enum dv_focus_version since;
    void (*cell)(const struct writer *w, const struct row *r, struct dv_str *cell);
} columns[] = {
    {"AllocatedMethodDetails", DV_FOCUS_1_3, cell_method_details},
    {"AllocatedMethodId", DV_FOCUS_1_3, cell_method},
    {"AllocatedResourceId", DV_FOCUS_1_3, cell_allocated},
    {"AllocatedResourceName", DV_FOCUS_1_3, cell_allocated_name},
    {"AllocatedTags", DV_FOCUS_1_3, cell_allocated_tags},
    {"BilledCost", DV_FOCUS_1_2, cell_cost},
    {"BillingAccountId", DV_FOCUS_1_2, cell_account},
    {"BillingAccountName", DV_FOCUS_1_2, cell_account},
    {"BillingCurrency", DV_FOCUS_1_2, cell_currency},
    {"BillingPeriodEnd", DV_FOCUS_1_2, cell_period_to},
    {"BillingPeriodStart", DV_FOCUS_1_2, cell_period_from},
    {"ChargeCategory", DV_FOCUS_1_2, cell_category},
    {"ChargeClass", DV_FOCUS_1_2, cell_null},
    {"ChargeDescription", DV_FOCUS_1_2, cell_description},
    {"ChargeFrequency", DV_FOCUS_1_2, cell_frequency},
    {"ChargePeriodEnd", DV_FOCUS_1_2, cell_to},
    {"ChargePeriodStart", DV_FOCUS_1_2, cell_from},
    {"ConsumedQuantity", DV_FOCUS_1_2, cell_consumed},
    {"ConsumedUnit", DV_FOCUS_1_2, cell_consumed_unit},
    {"ContractedCost", DV_FOCUS_1_2, cell_cost},
    {"EffectiveCost", DV_FOCUS_1_2, cell_cost},
    {"HostProviderName", DV_FOCUS_1_3, cell_provider},
    {"InvoiceIssuerName", DV_FOCUS_1_2, cell_provider},
    {"ListCost", DV_FOCUS_1_2, cell_cost},
    {"ListUnitPrice", DV_FOCUS_1_2, cell_price},
    {"PricingCategory", DV_FOCUS_1_2, cell_pricing_category},
    {"PricingQuantity", DV_FOCUS_1_2, cell_quantity},
    {"PricingUnit", DV_FOCUS_1_2, cell_unit},
    {"ProviderName", DV_FOCUS_1_2, cell_provider}, /* deprecated in 1.3, still mandatory there */
    {"PublisherName", DV_FOCUS_1_2, cell_provider},
    {"ResourceId", DV_FOCUS_1_2, cell_gpu},
    {"ResourceName", DV_FOCUS_1_2, cell_gpu_name},
    {"ResourceType", DV_FOCUS_1_2, cell_gpu_type},
    {"ServiceCategory", DV_FOCUS_1_2, cell_service_category},
    {"ServiceName", DV_FOCUS_1_2, cell_service},
    {"ServiceProviderName", DV_FOCUS_1_3, cell_provider},
    {"ServiceSubcategory", DV_FOCUS_1_2, cell_service_part},
    {"SkuId", DV_FOCUS_1_2, cell_sku},
    {"SkuMeter", DV_FOCUS_1_2, cell_meter},
    {"SkuPriceDetails", DV_FOCUS_1_2, cell_price_details},
    {"SkuPriceId", DV_FOCUS_1_2, cell_sku_price},
    {"SubAccountId", DV_FOCUS_1_2, cell_tenant},
    {"SubAccountName", DV_FOCUS_1_2, cell_tenant},
    {"Tags", DV_FOCUS_1_2, cell_tags},
    {"x_Basis", DV_FOCUS_1_2, cell_basis},
    {"x_BusySeconds", DV_FOCUS_1_2, cell_busy},
    {"x_GpuModel", DV_FOCUS_1_2, cell_model},
    {"x_GpuUuid", DV_FOCUS_1_2, cell_gpu},
    {"x_MaxCost", DV_FOCUS_1_2, cell_max_cost},
    {"x_MemoryByteSeconds", DV_FOCUS_1_2, cell_bytes},
    {"x_MigProfile", DV_FOCUS_1_2, cell_profile},
    {"x_OriginChargeId", DV_FOCUS_1_2, cell_origin},
    {"x_OriginCost", DV_FOCUS_1_2, cell_origin_cost},
    {"x_Pod", DV_FOCUS_1_2, cell_pod},
    {"x_Quality", DV_FOCUS_1_2, cell_quality},
    {"x_RequestedCost", DV_FOCUS_1_2, cell_requested_cost},
    {"x_RequestedSeconds", DV_FOCUS_1_2, cell_requested},
    {"x_SharingMode", DV_FOCUS_1_2, cell_mode},
    {"x_Source", DV_FOCUS_1_2, cell_source},
    {"x_Tier", DV_FOCUS_1_2, cell_tier},
    {"x_UsedCost", DV_FOCUS_1_2, cell_used_cost},
    {"x_WaitSeconds", DV_FOCUS_1_2, cell_wait},
};

/* Names are plain; a row is NULL for the heading. */
static int add_record(const struct writer *w, const struct row *r)
{
    bool first = true;
    for (size_t i = 0; i < DV_ARRAY_SIZE(columns); i++) {
        if (columns[i].since > w->version)
            continue;
        dv_cleanup(dv_str_done) struct dv_str cell = {0};
        if (!first)
            dv_str_addc(w->text, ',');
        first = false;
        if (r)
            columns[i].cell(w, r, &cell);
        else
            dv_str_add(&cell, columns[i].name);
        if (cell.failed)
            return -ENOMEM;
        dv_csv_quote(dv_str_get(&cell), w->text);
    }
    dv_str_add(w->text, "\r\n");
    return w->text->failed ? -ENOMEM : 0;
}

/* ---- an origin charge ----------------------------------------------------------------------- */

/* ns as 10^-12 hours, rounded to the nearest: ns / 3.6. */
static int64_t hours_of(int64_t ns)
{
    i128 v = (i128)(ns < 0 ? -ns : ns) * 5;
    v = (v + 9) / 18;
    return (int64_t)(ns < 0 ? -v : v);
}

/* Does price x quantity make the cost, to the micro? */
static bool makes(i128 price_pico, int64_t quantity_pico, int64_t cost_micros)
{
    i128 product = price_pico * quantity_pico / PICO;
    i128 difference = product - (i128)cost_micros * PICO_PER_MICRO;
    return difference <= PICO_PER_MICRO && difference >= -PICO_PER_MICRO;
}

/* The price list's price where it makes the cost; else what an hour came to (prices that changed
 * within the day, a basis that takes the larger of two quantities). A row for which there is no
 * such price stays without: its quantity is then not what it is charged by. */
static void set_price(const struct writer *w, struct row *r)
{
    int64_t listed = price_of(w, r->line);
    r->quantified = true;
    r->price_pico = listed >= 0 ? (i128)listed * PICO_PER_MICRO : 0;
    if (makes(r->price_pico, r->quantity_pico, r->cost_micros))
        return;
    if (!r->quantity_pico || (r->quantity_pico < 0) != (r->cost_micros < 0)) {
        r->quantified = false;
        return;
    }
    r->price_pico = (i128)r->cost_micros * PICO_PER_MICRO * PICO / r->quantity_pico;
}

static int64_t charged_ns(const struct writer *w, const struct dv_output_node *line)
{
    int64_t busy = ns_of(line, "busy_seconds"), requested = ns_of(line, "requested_seconds");
    if (!strcmp(w->basis, "requested"))
        return requested;
    return !strcmp(w->basis, "max") ? DV_MAX(busy, requested) : busy;
}

static void make_row(const struct writer *w, const struct dv_output_node *line,
                     const struct row *origin, struct row *r)
{
    *r = *origin;
    r->kind = is_kind(line, "idle") ? ROW_IDLE : ROW_TENANT;
    r->line = line;
    r->tenant = text_of(line, "tenant");
    r->cost_micros = number_of(line, "cost_micros");
    r->consumed_ns = r->kind == ROW_TENANT ? ns_of(line, "busy_seconds") : 0;
    r->quantity_pico = hours_of(charged_ns(w, line));
    r->ratio_pico = 0;
    if (!origin->origin_micros)
        return;
    r->ratio_pico = (int64_t)((i128)r->cost_micros * PICO / origin->origin_micros);
    if (r->kind == ROW_IDLE) /* as much time of the GPU as the money buys */
        r->quantity_pico =
            (int64_t)((i128)r->cost_micros * origin->quantity_pico / origin->origin_micros);
}

static bool is_empty(const struct row *r)
{
    return !r->cost_micros && !r->consumed_ns && !r->quantity_pico &&
           !ns_of(r->line, "requested_seconds") && !ns_of(r->line, "wait_seconds");
}

/* The whole of the origin charge that these lines, of one GPU in one day, are. */
static struct row origin_row(const struct dv_output_node *const *lines, size_t n)
{
    struct row r = {.kind = ROW_UNUSED,
                    .from = number_of(lines[0], "from_unix"),
                    .to = number_of(lines[0], "to_unix"),
                    .line = lines[0],
                    .ratio_pico = PICO};
    for (size_t i = 0; i < n; i++) {
        r.cost_micros += origin_of(lines[i]);
        r.consumed_ns += wall_of(lines[i]);
    }
    r.quantity_pico = hours_of(r.consumed_ns);
    r.origin_micros = r.cost_micros;
    return r;
}

/* One row per line of a tenant; the last row becomes what is left of the origin charge, or takes
 * what rounding left. Returns how many rows there are. */
static size_t split(const struct writer *w, const struct dv_output_node *const *lines, size_t n,
                    struct row *rows)
{
    const struct row origin = origin_row(lines, n);
    struct row rest = origin;
    size_t made = 0;
    for (size_t i = 0; i < n; i++) {
        struct row *r = &rows[made];
        if (!is_tenants(lines[i]))
            continue;
        make_row(w, lines[i], &origin, r);
        if (is_empty(r))
            continue;
        rest.cost_micros -= r->cost_micros;
        rest.consumed_ns -= r->consumed_ns;
        rest.quantity_pico -= r->quantity_pico;
        rest.ratio_pico -= r->ratio_pico;
        made++;
    }
    if (w->partial)
        return made;
    int64_t slack = (int64_t)made; /* what rounding can have left */
    bool nothing = made && !rest.cost_micros && !rest.consumed_ns && rest.quantity_pico <= slack &&
                   rest.quantity_pico >= -slack;
    if (nothing) {
        rows[made - 1].quantity_pico += rest.quantity_pico;
        rows[made - 1].ratio_pico += rest.ratio_pico;
    } else {
        rows[made++] = rest;
    }
    return made;
}

static int by_origin(const void *a, const void *b)
{
    const struct dv_output_node *x = *(const struct dv_output_node *const *)a;
    const struct dv_output_node *y = *(const struct dv_output_node *const *)b;
    static const char *const keys[] = {"gpu_uuid", "tenant", "pod",    "kind",   "mode",
                                       "profile",  "tier",   "source", "quality"};
    int64_t from_x = number_of(x, "from_unix"), from_y = number_of(y, "from_unix");
    int c = (from_x > from_y) - (from_x < from_y);
    for (size_t i = 0; !c && i < DV_ARRAY_SIZE(keys); i++)
        c = strcmp(text_of(x, keys[i]), text_of(y, keys[i]));
    return c;
}

static bool same_origin(const struct dv_output_node *a, const struct dv_output_node *b)
{
    return number_of(a, "from_unix") == number_of(b, "from_unix") &&
           !strcmp(text_of(a, "gpu_uuid"), text_of(b, "gpu_uuid"));
}

static int add_origins(const struct writer *w, const struct dv_output_node **lines, size_t n)
{
    struct row *rows = calloc(n + 1, sizeof *rows);
    int r = rows ? 0 : -ENOMEM;
    for (size_t i = 0, end; r == 0 && i < n; i = end) {
        for (end = i + 1; end < n && same_origin(lines[i], lines[end]);)
            end++;
        size_t made = split(w, lines + i, end - i, rows);
        for (size_t k = 0; r == 0 && k < made; k++) {
            set_price(w, &rows[k]);
            r = add_record(w, &rows[k]);
        }
    }
    free(rows);
    return r;
}

/* ---- what a bill charges beyond its lines --------------------------------------------------- */

static int add_beyond(const struct writer *w, enum row_kind kind, const char *tenant,
                      int64_t micros, int64_t *sum)
{
    if (!micros)
        return 0;
    int64_t from, to;
    period_of(w, DV_MAX(w->to - 1, w->from), &from, &to);
    struct row r = {.kind = kind,
                    .from = DV_MAX(w->from, from),
                    .to = w->to,
                    .tenant = tenant,
                    .cost_micros = micros};
    if (kind == ROW_FIXED && micros > 0) {
        r.quantified = true;
        r.quantity_pico = PICO;
        r.price_pico = (i128)micros * PICO_PER_MICRO;
    }
    *sum += micros;
    return add_record(w, &r);
}

static int64_t sum_of_lines(const struct dv_output_node *const *lines, size_t n, const char *tenant)
{
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        if (!strcmp(text_of(lines[i], "tenant"), tenant))
            sum += number_of(lines[i], "cost_micros");
    return sum;
}

static int add_beyonds(const struct writer *w, const struct dv_output_node *const *lines, size_t n)
{
    const struct dv_output_node *tenants = dv_output_get(w->bill, "tenants");
    bool fixed = !strcmp(w->basis, "fixed");
    int64_t sum = 0;
    int r = 0;
    for (const struct dv_output_node *t = tenants ? tenants->first : NULL; t && !r; t = t->next) {
        const char *tenant = text_of(t, "tenant");
        int64_t beyond = number_of(t, "cost_micros") - sum_of_lines(lines, n, tenant);
        int64_t idle = fixed ? DV_MIN(number_of(t, "idle_cost_micros"), beyond) : beyond;
        r = add_beyond(w, ROW_FIXED, tenant, beyond - idle, &sum);
        if (!r)
            r = add_beyond(w, ROW_IDLE, tenant, idle, &sum);
    }
    return r || w->partial ? r : add_beyond(w, ROW_TAKEN_OFF, NULL, -sum, &sum);
}

/* ---- the whole ------------------------------------------------------------------------------ */

int dv_focus_version_parse(const char *text, enum dv_focus_version *ret, struct dv_err *err)
{
    static const char *const names[DV_FOCUS_VERSIONS] = {"1.2", "1.3"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(names); i++) {
        if (strcmp(names[i], text) != 0)
            continue;
        *ret = (enum dv_focus_version)i;
        return 0;
    }
    return dv_err_set(err, -EINVAL, "'%.40s' is no version of FOCUS that divvy writes: 1.2, 1.3",
                      text);
}

/* The lines of GPUs, by origin charge. */
static int collect(const struct dv_output_node *list, const struct dv_output_node ***ret,
                   size_t *ret_n, struct dv_err *err)
{
    const struct dv_output_node **lines = calloc(list->children + 1, sizeof(void *));
    size_t n = 0;
    int r = 0;
    if (!lines)
        return dv_err_set(err, -ENOMEM, "out of memory");
    for (const struct dv_output_node *l = list->first; l && r == 0; l = l->next) {
        if (is_kind(l, "time") &&
            (number_of(l, "to_unix") <= number_of(l, "from_unix") || !*text_of(l, "gpu_uuid") ||
             !dv_output_get(l, "unallocated_seconds") || !dv_output_get(l, "waste_cost_micros")))
            r = dv_err_set(err, -EINVAL,
                           "a line of the bill has no time, GPU or waste: FOCUS needs the lines by "
                           "all dimensions");
        if (is_of_gpu(l))
            lines[n++] = l;
    }
    if (r < 0) {
        free(lines);
        return r;
    }
    qsort(lines, n, sizeof(void *), by_origin);
    *ret = lines;
    *ret_n = n;
    return 0;
}

int dv_focus_write(struct dv_output *bill, const struct dv_zone *zone,
                   enum dv_focus_version version, struct dv_str *text, struct dv_err *err)
{
    if (dv_output_failed(bill))
        return dv_err_set(err, -ENOMEM, "out of memory");
    const struct dv_output_node *root = dv_output_root(bill);
    const struct dv_output_node *list = dv_output_get(root, "lines");
    if (strcmp(text_of(root, "kind"), "Bill") != 0 || !list || list->type != DV_OUTPUT_ARRAY)
        return dv_err_set(err, -EINVAL, "this is no bill with lines");
    struct writer w = {text,
                       version,
                       root,
                       zone,
                       text_of(root, "currency"),
                       text_of(root, "basis"),
                       text_of(root, "idle"),
                       number_of(root, "from_unix"),
                       number_of(root, "to_unix"),
                       *text_of(root, "tenant")};
    const struct dv_output_node **lines = NULL;
    size_t n = 0;
    int r = collect(list, &lines, &n, err);
    if (r < 0)
        return r;
    r = add_record(&w, NULL);
    if (!r)
        r = add_origins(&w, lines, n);
    if (!r)
        r = add_beyonds(&w, lines, n);
    free(lines);
    return r < 0 ? dv_err_set(err, r, "out of memory") : 0;
}
