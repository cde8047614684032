/* SPDX-License-Identifier: Apache-2.0 */
#include "render/bill_text.h"

#include <string.h>

static void add_charge(struct dv_output_node *to, const struct dv_charge *c)
{
    dv_output_seconds(to, "busy_seconds", c->busy_ns);
    dv_output_seconds(to, "reserved_idle_seconds", c->reserved_idle_ns);
    dv_output_seconds(to, "requested_seconds", c->requested_compute / DV_COMPUTE_FULL);
    dv_output_seconds(to, "wait_seconds", c->wait_ns);
    dv_output_uint(to, "memory_byte_seconds", c->byte_seconds);
}

static void add_gpu(struct dv_output_node *list, const struct dv_bill_gpu *g)
{
    struct dv_output_node *o = dv_output_object(list, NULL);
    dv_output_string(o, "uuid", g->uuid);
    dv_output_string(o, "model", g->model);
    dv_output_seconds(o, "wall_seconds", dv_charge_wall_ns(&g->charge));
    dv_output_seconds(o, "busy_seconds", g->charge.busy_ns);
    dv_output_seconds(o, "reserved_idle_seconds", g->charge.reserved_idle_ns);
    dv_output_seconds(o, "overhead_seconds", g->charge.overhead_ns);
    dv_output_seconds(o, "unallocated_seconds", g->charge.unallocated_ns);
    dv_output_seconds(o, "unhealthy_seconds", g->charge.unhealthy_ns);
    dv_output_int(o, "origin_cost_micros", g->origin_cost);
    dv_output_int(o, "used_cost_micros", g->used_cost);
    if (g->price_per_hour < 0)
        dv_output_null(o, "price_per_hour_micros");
    else
        dv_output_int(o, "price_per_hour_micros", g->price_per_hour);
}

/* {"exact": .., "sampled": .., "estimated": ..} */
static void add_qualities(struct dv_output_node *to, const struct dv_bill_tenant *t)
{
    struct dv_output_node *cost = dv_output_object(to, "used_cost_micros_by_quality");
    for (int q = 0; q <= DV_QUALITY_ESTIMATED; q++)
        dv_output_int(cost, dv_account_quality_name((enum dv_quality)q), t->used_cost_of[q]);
}

static void add_tenant(struct dv_output_node *list, const struct dv_bill_tenant *t)
{
    struct dv_output_node *o = dv_output_object(list, NULL);
    dv_output_string(o, "tenant", t->tenant);
    add_charge(o, &t->charge);
    dv_output_int(o, "used_cost_micros", t->used_cost);
    dv_output_int(o, "requested_cost_micros", t->requested_cost);
    dv_output_int(o, "fixed_cost_micros", t->fixed_cost);
    dv_output_int(o, "max_cost_micros", t->max_cost);
    dv_output_int(o, "reserved_idle_cost_micros", t->reserved_idle_cost);
    dv_output_int(o, "idle_cost_micros", t->idle_cost);
    dv_output_int(o, "cost_micros", t->cost);
    dv_output_string(o, "quality", dv_account_quality_name(t->quality));
    add_qualities(o, t);
}

static void add_waste(struct dv_output_node *to, const struct dv_bill_waste *w)
{
    dv_output_int(to, "reserved_idle_cost_micros", w->reserved_idle);
    dv_output_int(to, "overhead_cost_micros", w->overhead);
    dv_output_int(to, "unallocated_cost_micros", w->unallocated);
    dv_output_int(to, "unhealthy_cost_micros", w->unhealthy);
}

/* What the view does not tell apart is null, not empty: "" is no GPU's name. */
static void add_name(struct dv_output_node *to, const char *key, const char *name)
{
    dv_output_string(to, key, *name ? name : NULL);
}

static void add_dimensions(struct dv_output_node *o, const struct dv_bill_result *b,
                           const struct dv_bill_line *l)
{
    enum dv_bill_by by = b->query.by;
    bool all = by == DV_BILL_BY_ALL && l->kind == DV_BILL_LINE_TIME;
    bool mode = all || (by == DV_BILL_BY_MODE && l->kind == DV_BILL_LINE_TIME);
    add_name(o, "tenant", l->account.tenant);
    if (by == DV_BILL_BY_POD || by == DV_BILL_BY_ALL)
        add_name(o, "pod", l->account.pod);
    add_name(o, "gpu_uuid", l->account.gpu);
    add_name(o, "model", l->account.model);
    add_name(o, "profile", l->account.profile);
    dv_output_string(o, "mode", mode ? dv_device_mode_name(l->account.mode) : NULL);
    dv_output_string(o, "tier",
                     all && l->account.tenant[0] ? dv_claim_tier_name(l->account.tier) : NULL);
    dv_output_string(o, "quality",
                     l->charge.busy_ns ? dv_account_quality_name(l->account.quality) : NULL);
    dv_output_string(o, "source",
                     l->account.source != DV_SOURCE_NONE ? dv_account_source_name(l->account.source)
                                                         : NULL);
}

static void add_line(struct dv_output_node *list, const struct dv_bill_result *b,
                     const struct dv_bill_line *l)
{
    static const char *const kinds[] = {"time", "idle", "fee"};
    struct dv_output_node *o = dv_output_object(list, NULL);
    dv_output_string(o, "kind", kinds[l->kind]);
    dv_output_int(o, "from_unix", l->from_unix);
    dv_output_int(o, "to_unix", l->to_unix);
    add_dimensions(o, b, l);
    add_charge(o, &l->charge);
    dv_output_seconds(o, "overhead_seconds", l->charge.overhead_ns);
    dv_output_seconds(o, "unallocated_seconds", l->charge.unallocated_ns);
    dv_output_seconds(o, "unhealthy_seconds", l->charge.unhealthy_ns);
    dv_output_int(o, "used_cost_micros", l->used_cost);
    dv_output_int(o, "requested_cost_micros", l->requested_cost);
    dv_output_int(o, "fixed_cost_micros", l->fixed_cost);
    dv_output_int(o, "max_cost_micros", l->max_cost);
    dv_output_int(o, "idle_cost_micros", l->idle_cost);
    dv_output_int(o, "cost_micros", l->cost);
    dv_output_int(o, "waste_cost_micros",
                  l->waste.reserved_idle + l->waste.overhead + l->waste.unallocated +
                      l->waste.unhealthy);
    add_waste(dv_output_object(o, "waste"), &l->waste);
}

static void add_head(struct dv_output_node *root, const struct dv_bill_result *b,
                     const char *price_file)
{
    const struct dv_bill_query *q = &b->query;
    const char *zone = b->prices->zone.name;
    dv_output_string(root, "currency", b->prices->currency);
    dv_output_int(root, "from_unix", q->from_unix);
    dv_output_int(root, "to_unix", q->to_unix);
    dv_output_string(root, "timezone", *zone ? zone : "UTC");
    dv_output_string(root, "by", dv_bill_by_name(q->by));
    dv_output_string(root, "basis", dv_bill_basis_name(q->basis));
    dv_output_string(root, "idle", dv_bill_idle_name(q->idle));
    add_name(root, "tenant", q->tenant);
    add_name(root, "gpu", q->gpu);
    if (q->pod[0])
        add_name(root, "pod", q->pod);
    dv_output_string(root, "price_file", price_file);
}

static void add_totals(struct dv_output_node *root, const struct dv_bill_result *b)
{
    struct dv_output_node *waste = dv_output_object(root, "waste");
    add_waste(waste, &b->waste);
    dv_output_int(waste, "total_cost_micros", b->waste_cost);
    dv_output_int(root, "origin_cost_micros", b->origin_cost);
    dv_output_int(root, "used_cost_micros", b->used_cost);
    dv_output_int(root, "total_cost_micros", b->total_cost);
    dv_output_int(root, "others_cost_micros", b->others_cost);
    dv_output_int(root, "unshared_cost_micros", b->unshared_cost);
    dv_output_int(root, "adjustment_micros", b->adjustment);
}

struct dv_output *dv_bill_text_output(const struct dv_bill_result *bill, const char *price_file)
{
    struct dv_output *o = dv_output_new("Bill");
    struct dv_output_node *root = o ? dv_output_root(o) : NULL, *list;
    if (!o)
        return NULL;
    add_head(root, bill, price_file);
    list = dv_output_array(root, "gpus");
    for (uint32_t i = 0; i < bill->n_gpus; i++)
        add_gpu(list, &bill->gpus[i]);
    list = dv_output_array(root, "tenants");
    for (uint32_t i = 0; i < bill->n_tenants; i++)
        add_tenant(list, &bill->tenants[i]);
    list = dv_output_array(root, "lines");
    for (uint32_t i = 0; i < bill->n_lines && !dv_output_failed(o); i++)
        add_line(list, bill, &bill->lines[i]);
    add_totals(root, bill);
    list = dv_output_array(root, "notes");
    for (uint32_t i = 0; i < bill->n_notes; i++)
        dv_output_string(list, NULL, bill->notes[i]);
    return o;
}

void dv_bill_text_gap(const struct dv_price_list *prices, const struct dv_bill_gap *gap,
                      struct dv_str *text)
{
    const struct dv_account *a = &gap->account;
    char from[DV_ZONE_TEXT], to[DV_ZONE_TEXT];
    dv_str_addf(text, "no price applies to the time of %s%s on GPU %s (model \"%s\"",
                a->tenant[0] ? "tenant " : "the GPU itself", a->tenant, a->gpu, a->model);
    if (a->profile[0])
        dv_str_addf(text, ", profile %s", a->profile);
    dv_str_addf(text, ", mode %s", dv_device_mode_name(a->mode));
    if (a->tenant[0])
        dv_str_addf(text, ", tier %s", dv_claim_tier_name(a->tier));
    dv_str_addf(text, ") from %s to %s", dv_zone_format(&prices->zone, gap->from_unix, from),
                dv_zone_format(&prices->zone, gap->to_unix, to));
}
