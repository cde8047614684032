/* SPDX-License-Identifier: Apache-2.0 */
#include "bill_view.h"

#include "account/price.h"
#include "render/value.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define MONEY(title, path)                                                                         \
    {                                                                                              \
        title, path, DV_VALUE_MONEY, .right = true                                                 \
    }
#define TIME(title, path)                                                                          \
    {                                                                                              \
        title, path, DV_VALUE_SECONDS, .right = true                                               \
    }

static const struct dv_table_column tenant_columns[] = {
    {"TENANT", "tenant"},
    MONEY("CHARGED", "cost_micros"),
    MONEY("BY USE", "used_cost_micros"),
    MONEY("BY REQUEST", "requested_cost_micros"),
    MONEY("LARGER", "max_cost_micros"),
    MONEY("FIXED", "fixed_cost_micros"),
    MONEY("IDLE SHARE", "idle_cost_micros"),
    TIME("BUSY", "busy_seconds"),
    TIME("REQUESTED", "requested_seconds"),
    TIME("WAITED", "wait_seconds"),
    {"RESERVED IDLE", "reserved_idle_seconds", DV_VALUE_SECONDS, .csv_only = true},
    {"MEMORY BYTE SECONDS", "memory_byte_seconds", .csv_only = true},
    {"QUALITY", "quality"},
};
static const struct dv_table tenant_view = {"tenants", tenant_columns,
                                            DV_ARRAY_SIZE(tenant_columns)};

static const struct dv_table_column gpu_columns[] = {
    {"GPU", "uuid"},
    {"MODEL", "model"},
    MONEY("COST", "origin_cost_micros"),
    MONEY("PER HOUR", "price_per_hour_micros"),
    TIME("TIME", "wall_seconds"),
    TIME("BUSY", "busy_seconds"),
    TIME("HELD IDLE", "reserved_idle_seconds"),
    TIME("OVERHEAD", "overhead_seconds"),
    TIME("NOT HELD", "unallocated_seconds"),
    TIME("UNHEALTHY", "unhealthy_seconds"),
};
static const struct dv_table gpu_view = {"gpus", gpu_columns, DV_ARRAY_SIZE(gpu_columns)};

#define LINE_COLUMNS                                                                               \
    MONEY("CHARGED", "cost_micros"), MONEY("BY USE", "used_cost_micros"),                          \
        MONEY("BY REQUEST", "requested_cost_micros"), MONEY("WASTED", "waste_cost_micros"),        \
        TIME("BUSY", "busy_seconds"), TIME("REQUESTED", "requested_seconds"),                      \
        TIME("WAITED", "wait_seconds"),                                                            \
    {                                                                                              \
        "QUALITY", "quality"                                                                       \
    }

static const struct dv_table_column pod_columns[] = {
    {"FOR", "kind"},
    {"TENANT", "tenant"},
    {"POD", "pod"},
    LINE_COLUMNS,
};
static const struct dv_table pod_view = {"lines", pod_columns, DV_ARRAY_SIZE(pod_columns)};

static const struct dv_table_column mode_columns[] = {
    {"FOR", "kind"},
    {"MODE", "mode"},
    {"PROFILE", "profile"},
    LINE_COLUMNS,
};
static const struct dv_table mode_view = {"lines", mode_columns, DV_ARRAY_SIZE(mode_columns)};

static const struct dv_table_column day_columns[] = {
    {"DAY", "day"},
    {"FROM", "from_unix", .csv_only = true},
    {"TO", "to_unix", .csv_only = true},
    {"FOR", "kind"},
    LINE_COLUMNS,
};
static const struct dv_table day_view = {"lines", day_columns, DV_ARRAY_SIZE(day_columns)};

const struct dv_table *dv_bill_view(const char *by)
{
    return !by || !strcmp(by, "tenant") ? &tenant_view
           : !strcmp(by, "gpu")         ? &gpu_view
           : !strcmp(by, "mode")        ? &mode_view
           : !strcmp(by, "pod")         ? &pod_view
                                        : &day_view;
}

/* ---- usage ---------------------------------------------------------------------------------- */

#define USAGE_COLUMNS                                                                              \
    TIME("BUSY", "busy_seconds"), TIME("WAITED", "wait_seconds"),                                  \
        TIME("RESERVED", "reserved_seconds"),                                                      \
        {"MEMORY BYTE SECONDS", "memory_byte_seconds", .right = true},                             \
        TIME("IDLE", "reserved_idle_seconds"),                                                     \
    {                                                                                              \
        "QUALITY", "quality"                                                                       \
    }

static const struct dv_table_column usage_tenant_columns[] = {
    {"TENANT", "tenant"},
    USAGE_COLUMNS,
};
static const struct dv_table_column usage_gpu_columns[] = {
    {"GPU", "gpu_uuid"},
    {"MODEL", "model"},
    USAGE_COLUMNS,
    TIME("OVERHEAD", "overhead_seconds"),
    TIME("NOT HELD", "unallocated_seconds"),
    TIME("UNHEALTHY", "unhealthy_seconds"),
};
static const struct dv_table_column usage_pod_columns[] = {
    {"TENANT", "tenant"},
    {"POD", "pod"},
    USAGE_COLUMNS,
};
static const struct dv_table_column usage_mode_columns[] = {
    {"MODE", "mode"},
    {"PROFILE", "profile"},
    USAGE_COLUMNS,
};
static const struct dv_table_column usage_day_columns[] = {
    {"DAY", "day"},
    {"FROM", "from_unix", .csv_only = true},
    {"TO", "to_unix", .csv_only = true},
    USAGE_COLUMNS,
};

const struct dv_table *dv_usage_view(const char *by)
{
    static const struct dv_table tenants = {"tenants", usage_tenant_columns,
                                            DV_ARRAY_SIZE(usage_tenant_columns)};
    static const struct dv_table gpus = {"lines", usage_gpu_columns,
                                         DV_ARRAY_SIZE(usage_gpu_columns)};
    static const struct dv_table pods = {"lines", usage_pod_columns,
                                         DV_ARRAY_SIZE(usage_pod_columns)};
    static const struct dv_table modes = {"lines", usage_mode_columns,
                                          DV_ARRAY_SIZE(usage_mode_columns)};
    static const struct dv_table days = {"lines", usage_day_columns,
                                         DV_ARRAY_SIZE(usage_day_columns)};
    return !by || !strcmp(by, "tenant") ? &tenants
           : !strcmp(by, "gpu")         ? &gpus
           : !strcmp(by, "mode")        ? &modes
           : !strcmp(by, "pod")         ? &pods
                                        : &days;
}

void dv_bill_view_days(struct dv_output *o, const struct dv_zone *zone)
{
    const struct dv_output_node *lines = dv_output_get(dv_output_root(o), "lines");
    for (struct dv_output_node *n = lines ? lines->first : NULL; n; n = n->next) {
        char buf[DV_ZONE_TEXT];
        int64_t from = dv_output_signed(dv_output_get(n, "from_unix"), 0);
        dv_output_string(n, "day", dv_date_format(dv_zone_day(zone, from), buf));
    }
}

/* ---- for people ----------------------------------------------------------------------------- */

static const char *text_of(const struct dv_output_node *o, const char *key)
{
    return dv_output_text(dv_output_get(o, key), "");
}

static void add_clean(const struct dv_output_node *o, const char *key, struct dv_str *text)
{
    dv_value_clean(text_of(o, key), text);
}

static void add_head(const struct dv_output_node *bill, const struct dv_zone *zone,
                     struct dv_str *text)
{
    char from[DV_ZONE_TEXT], to[DV_ZONE_TEXT];
    dv_zone_format(zone, dv_output_signed(dv_output_get(bill, "from_unix"), 0), from);
    dv_zone_format(zone, dv_output_signed(dv_output_get(bill, "to_unix"), 0), to);
    dv_str_addf(text, "%s to %s, in ", from, to);
    add_clean(bill, "currency", text);
    dv_str_add(text, ", by ");
    add_clean(bill, "basis", text);
    dv_str_add(text, ", idle time shared: ");
    add_clean(bill, "idle", text);
    dv_str_add(text, "\n\n");
}

static void add_amount(const struct dv_output_node *o, const char *key, const char *what,
                       int64_t whole, struct dv_str *text)
{
    dv_cleanup(dv_str_done) struct dv_str money = {0};
    const struct dv_output_node *n = dv_output_get(o, key);
    int64_t micros = dv_output_signed(n, 0);
    dv_value_human(n, DV_VALUE_MONEY, &money);
    dv_str_addf(text, "%-16s %14s", what, dv_str_get(&money));
    if (whole > 0 && micros >= 0) {
        uint64_t permille =
            (uint64_t)(((dv_u128)(uint64_t)micros * 1000 + (uint64_t)whole / 2) / (uint64_t)whole);
        dv_str_addf(text, "  %3" PRIu64 ".%" PRIu64 "%%", permille / 10, permille % 10);
    }
    dv_str_addc(text, '\n');
}

static void add_sums(const struct dv_output_node *bill, struct dv_str *text)
{
    const struct dv_output_node *waste = dv_output_get(bill, "waste");
    int64_t origin = dv_output_signed(dv_output_get(bill, "origin_cost_micros"), 0);
    dv_str_addc(text, '\n');
    add_amount(bill, "total_cost_micros", "charged", 0, text);
    add_amount(bill, "origin_cost_micros", "the GPUs cost", 0, text);
    add_amount(waste, "total_cost_micros", "wasted", origin, text);
    add_amount(waste, "reserved_idle_cost_micros", "  held and idle", origin, text);
    add_amount(waste, "overhead_cost_micros", "  overhead", origin, text);
    add_amount(waste, "unallocated_cost_micros", "  held by nobody", origin, text);
    add_amount(waste, "unhealthy_cost_micros", "  unhealthy", origin, text);
}

int dv_bill_view_write(const struct dv_ui *ui, struct dv_output *bill, const struct dv_zone *zone,
                       const char *by, struct dv_str *text)
{
    const struct dv_output_node *root = dv_output_root(bill);
    add_head(root, zone, text);
    int r = dv_table_write(
        dv_bill_view(by), bill,
        (struct dv_table_style){.colour = ui->colour, .nothing = "nobody held or used a GPU"},
        text);
    if (r < 0)
        return r;
    add_sums(root, text);
    const struct dv_output_node *notes = dv_output_get(root, "notes");
    for (const struct dv_output_node *n = notes ? notes->first : NULL; n; n = n->next) {
        dv_str_add(text, n == notes->first ? "\nnote: " : "note: ");
        dv_value_clean(dv_output_text(n, ""), text);
        dv_str_addc(text, '\n');
    }
    return text->failed ? -ENOMEM : 0;
}
