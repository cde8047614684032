/* SPDX-License-Identifier: Apache-2.0 */
#include "billing/billing.h"

#include "account/bill.h"
#include "base/when.h"
#include "pricefile/pricefile.h"
#include "render/bill_text.h"
#include "sys/zone.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Everything one answer needs on its way. */
struct work {
    struct dv_price_list *prices;
    struct dv_pricefile_info *info;
    struct dv_zone zone; /* the one that is shown */
    struct dv_bill_query query;
    struct dv_bill *bill;
    struct dv_bill_result result;
    uint64_t broken, coarse;
    bool days; /* some of it is kept by the day alone, where pods are not told apart */
    int64_t first_unix, last_unix; /* where the ledger's rows begin and end */
    struct dv_err *err;
    int r; /* of adding rows */
};

static void done(struct work *w)
{
    dv_bill_free(w->bill);
    dv_price_list_free(w->prices);
    free(w->info);
}

/* ---- what is asked -------------------------------------------------------------------------- */

static int set_zone(struct work *w, const struct dv_billing_query *q)
{
    if (!q->timezone) {
        w->zone = w->prices->zone;
        return 0;
    }
    int r = dv_zone_load(NULL, q->timezone, &w->zone, w->err);
    if (r == -ENOENT || r == -EINVAL)
        return -EINVAL;
    if (r < 0)
        return r;
    w->prices->zone = w->zone; /* days and months are those of the zone that was asked for */
    return 0;
}

/* "namespace/name": the tenant is the namespace, whether or not it is said again. */
static int set_pod(struct work *w, const char *text)
{
    struct dv_bill_query *to = &w->query;
    const char *slash = strchr(text, '/');
    char tenant[DV_TENANT_SIZE];
    if (!slash || !slash[1] || strchr(slash + 1, '/') || slash - text >= (int)sizeof tenant ||
        dv_str_copy(to->pod, sizeof to->pod, slash + 1) < 0)
        return dv_err_set(w->err, -EINVAL,
                          "'%.80s' is no pod: its namespace and its name, as in team-a/train-0",
                          text);
    memcpy(tenant, text, (size_t)(slash - text));
    tenant[slash - text] = 0;
    if (to->tenant[0] && strcmp(to->tenant, tenant) != 0)
        return dv_err_set(w->err, -EINVAL, "pod '%.80s' is not one of tenant '%s'", text,
                          to->tenant);
    memcpy(to->tenant, tenant, sizeof tenant);
    return dv_tenant_check_name(to->tenant, w->err);
}

static int set_names(struct work *w, const struct dv_billing_query *q)
{
    struct dv_bill_query *to = &w->query;
    int r = 0;
    if (q->by)
        r = dv_bill_by_parse(q->by, &to->by, w->err);
    if (r == 0 && q->basis)
        r = dv_bill_basis_parse(q->basis, &to->basis, w->err);
    if (r == 0 && q->idle)
        r = dv_bill_idle_parse(q->idle, &to->idle, w->err);
    if (r == 0 && q->tenant && strcmp(q->tenant, DV_ACCOUNT_OUTSIDE) != 0)
        r = dv_tenant_check_name(q->tenant, w->err);
    if (r == 0 && q->tenant && dv_str_copy(to->tenant, sizeof to->tenant, q->tenant) < 0)
        r = dv_err_set(w->err, -EINVAL, "the tenant's name is too long");
    if (r == 0 && q->gpu &&
        (strlen(q->gpu) < 8 || dv_str_copy(to->gpu, sizeof to->gpu, q->gpu) < 0))
        r = dv_err_set(w->err, -EINVAL,
                       "'%.60s' is no GPU: a UUID or the first 8 letters of one at least", q->gpu);
    return r == 0 && q->pod ? set_pod(w, q->pod) : r;
}

static int prepare(struct work *w, const struct dv_billing_query *q)
{
    int r = set_zone(w, q);
    if (r == 0)
        r = set_names(w, q);
    if (r == 0)
        r = dv_when_range(&w->zone, q->now_unix, q->from, q->to, &w->query.from_unix,
                          &w->query.to_unix, w->err);
    return r == -ERANGE ? -EINVAL : r;
}

/* ---- reading -------------------------------------------------------------------------------- */

static bool on_row(void *arg, const struct dv_ledger_row *row)
{
    struct work *w = arg;
    w->broken += row->broken;
    w->coarse += row->coarse;
    w->days |= row->level == DV_LEDGER_DAY;
    if (!w->last_unix || row->row.from_unix < w->first_unix)
        w->first_unix = row->row.from_unix;
    w->last_unix = DV_MAX(w->last_unix, row->row.to_unix);
    w->r = dv_bill_add(w->bill, &row->row, w->err);
    return w->r == 0;
}

/* Hours are as coarse as a bill can take: days of the ledger are UTC, a bill's are local. */
static int read_rows(struct dv_ledger *ledger, struct work *w)
{
    struct dv_ledger_query q = {.from_unix = w->query.from_unix,
                                .to_unix = w->query.to_unix,
                                .step = DV_LEDGER_HOUR,
                                .renamed = true};
    int r = dv_bill_new(w->prices, &w->query, &w->bill, w->err);
    if (r == 0)
        r = dv_ledger_read(ledger, &q, on_row, w, NULL, w->err);
    if (r == 0)
        r = w->r;
    return r < 0 ? r : dv_bill_finish(w->bill, &w->result, w->err);
}

#define GAP_S 120 /* so far the open minute may lag */

/* What of the time that was asked for is not there. */
static void add_gap_notes(const struct work *w, int64_t now_unix, struct dv_output_node *notes)
{
    char text[120], when[DV_ZONE_TEXT];
    int64_t end = DV_MIN(w->query.to_unix, now_unix);
    if (!w->last_unix)
        return;
    if (w->first_unix > w->query.from_unix) {
        snprintf(text, sizeof text, "The ledger has nothing of this time before %s.",
                 dv_zone_format(&w->zone, w->first_unix, when));
        dv_output_string(notes, NULL, text);
    }
    if (w->last_unix + GAP_S < end) {
        snprintf(text, sizeof text, "The ledger has nothing of this time after %s.",
                 dv_zone_format(&w->zone, w->last_unix, when));
        dv_output_string(notes, NULL, text);
    }
}

static void add_ledger_notes(const struct work *w, int64_t now_unix, struct dv_output *o)
{
    struct dv_output_node *root = dv_output_root(o);
    const struct dv_output_node *found = dv_output_get(root, "notes");
    /* The tree is ours; what reading gives is const for everyone else. */
    struct dv_output_node *notes = (struct dv_output_node *)found;
    if (!notes)
        notes = dv_output_array(root, "notes");
    add_gap_notes(w, now_unix, notes);
    if (w->broken)
        dv_output_string(notes, NULL,
                         "The ledger's chain is broken within this time: 'divvy ledger verify' "
                         "says where; what can be read is in the bill.");
    if (w->coarse)
        dv_output_string(notes, NULL,
                         "The ledger keeps no finer rows for a part of this time; they were cut by "
                         "time.");
    if (w->days &&
        (w->query.pod[0] || w->query.by == DV_BILL_BY_POD || w->query.by == DV_BILL_BY_ALL))
        dv_output_string(notes, NULL,
                         "The ledger keeps days alone for a part of this time, and days do not "
                         "tell pods apart.");
    for (uint32_t i = 0; w->info && i < w->info->n_warnings; i++)
        dv_output_string(notes, NULL, w->info->warnings[i].text);
}

/* What is left for somebody who may see one tenant alone: its part, as if there were no others. */
static void hide_others(struct work *w)
{
    struct dv_bill_result *b = &w->result;
    b->n_gpus = 0;
    b->waste = (struct dv_bill_waste){0};
    b->used_cost = 0;
    for (uint32_t i = 0; i < b->n_tenants; i++) {
        b->waste.reserved_idle += b->tenants[i].reserved_idle_cost;
        b->used_cost += b->tenants[i].used_cost;
    }
    b->waste_cost = b->waste.reserved_idle;
    b->origin_cost = b->used_cost + b->waste_cost;
    b->others_cost = b->unshared_cost = b->adjustment = 0;
}

int dv_billing_bill(struct dv_ledger *ledger, const struct dv_billing_query *q,
                    struct dv_output **ret, struct dv_err *err)
{
    dv_cleanup(done) struct work w = {.err = err};
    if (!q->price_text)
        return dv_err_set(err, -EINVAL, "%s", dv_pricefile_help);
    w.info = calloc(1, sizeof *w.info);
    if (!w.info)
        return dv_err_set(err, -ENOMEM, "out of memory");
    int r = dv_pricefile_read(q->price_name ? q->price_name : "the price file", q->price_text,
                              q->price_len, NULL, &w.prices, w.info, err);
    if (r == -E2BIG)
        r = -EINVAL;
    if (r == 0)
        r = prepare(&w, q);
    if (r == 0)
        r = read_rows(ledger, &w);
    if (r < 0)
        return r;
    if (q->own_gpus_only)
        hide_others(&w);
    struct dv_output *o = dv_bill_text_output(&w.result, q->price_name);
    if (o)
        add_ledger_notes(&w, q->now_unix, o);
    if (!o || dv_output_failed(o)) {
        dv_output_free(&o);
        return dv_err_set(err, -ENOMEM, "out of memory");
    }
    *ret = o;
    return 0;
}

/* ---- usage: a bill without money ------------------------------------------------------------ */

static int free_of_charge(struct work *w)
{
    struct dv_price_rule rule = {.span = {INT32_MIN, INT32_MAX}};
    w->prices = dv_price_list_new();
    if (!w->prices)
        return dv_err_set(w->err, -ENOMEM, "out of memory");
    memcpy(w->prices->currency, "USD", 4); /* any: no money is shown */
    return dv_price_add_rule(w->prices, &rule, w->err);
}

static void add_charge(struct dv_output_node *o, const struct dv_charge *c)
{
    dv_output_seconds(o, "busy_seconds", c->busy_ns);
    dv_output_seconds(o, "wait_seconds", c->wait_ns);
    dv_output_seconds(o, "reserved_seconds", c->requested_compute / DV_COMPUTE_FULL);
    dv_output_uint(o, "memory_byte_seconds", c->byte_seconds);
    dv_output_seconds(o, "reserved_idle_seconds", c->reserved_idle_ns);
    dv_output_seconds(o, "held_seconds", c->held_ns);
}

static void add_buckets(struct dv_output_node *o, const struct dv_charge *c)
{
    dv_output_seconds(o, "overhead_seconds", c->overhead_ns);
    dv_output_seconds(o, "unallocated_seconds", c->unallocated_ns);
    dv_output_seconds(o, "unhealthy_seconds", c->unhealthy_ns);
}

static void add_text(struct dv_output_node *o, const char *key, const char *v)
{
    dv_output_string(o, key, *v ? v : NULL);
}

static void add_line(struct dv_output_node *list, const struct dv_bill_line *l, enum dv_bill_by by)
{
    struct dv_output_node *o = dv_output_object(list, NULL);
    dv_output_int(o, "from_unix", l->from_unix);
    dv_output_int(o, "to_unix", l->to_unix);
    add_text(o, "tenant", l->account.tenant);
    if (by == DV_BILL_BY_POD || by == DV_BILL_BY_ALL)
        add_text(o, "pod", l->account.pod);
    add_text(o, "gpu_uuid", l->account.gpu);
    add_text(o, "model", l->account.model);
    add_text(o, "profile", l->account.profile);
    bool has_mode = by == DV_BILL_BY_MODE || by == DV_BILL_BY_ALL;
    dv_output_string(o, "mode", has_mode ? dv_device_mode_name(l->account.mode) : NULL);
    dv_output_string(o, "quality", dv_account_quality_name(l->account.quality));
    add_charge(o, &l->charge);
    add_buckets(o, &l->charge);
}

static struct dv_output *usage_tree(const struct work *w, const struct dv_billing_query *q)
{
    const struct dv_bill_result *b = &w->result;
    struct dv_output *o = dv_output_new("Usage");
    struct dv_output_node *root = dv_output_root(o);
    dv_output_int(root, "from_unix", w->query.from_unix);
    dv_output_int(root, "to_unix", w->query.to_unix);
    dv_output_string(root, "timezone", w->zone.name[0] ? w->zone.name : "UTC");
    dv_output_string(root, "by", dv_bill_by_name(w->query.by));
    struct dv_output_node *list = dv_output_array(root, "tenants");
    for (uint32_t i = 0; i < b->n_tenants; i++) {
        struct dv_output_node *t = dv_output_object(list, NULL);
        dv_output_string(t, "tenant", b->tenants[i].tenant);
        add_charge(t, &b->tenants[i].charge);
        dv_output_string(t, "quality", dv_account_quality_name(b->tenants[i].quality));
    }
    list = q->own_gpus_only ? NULL : dv_output_array(root, "gpus");
    for (uint32_t i = 0; list && i < b->n_gpus; i++) {
        struct dv_output_node *g = dv_output_object(list, NULL);
        dv_output_string(g, "uuid", b->gpus[i].uuid);
        dv_output_string(g, "model", b->gpus[i].model);
        dv_output_seconds(g, "wall_seconds", dv_charge_wall_ns(&b->gpus[i].charge));
        add_charge(g, &b->gpus[i].charge);
        add_buckets(g, &b->gpus[i].charge);
    }
    list = q->by ? dv_output_array(root, "lines") : NULL;
    for (uint32_t i = 0; list && i < b->n_lines; i++)
        if (b->lines[i].kind == DV_BILL_LINE_TIME)
            add_line(list, &b->lines[i], w->query.by);
    add_ledger_notes(w, q->now_unix, o);
    return o;
}

int dv_billing_usage(struct dv_ledger *ledger, const struct dv_billing_query *q,
                     struct dv_output **ret, struct dv_err *err)
{
    dv_cleanup(done) struct work w = {.err = err};
    int r = free_of_charge(&w);
    if (r == 0)
        r = prepare(&w, q);
    if (r == 0)
        r = read_rows(ledger, &w);
    if (r < 0)
        return r;
    struct dv_output *o = usage_tree(&w, q);
    if (!o || dv_output_failed(o)) {
        dv_output_free(&o);
        return dv_err_set(err, -ENOMEM, "out of memory");
    }
    *ret = o;
    return 0;
}

/* ---- rows ----------------------------------------------------------------------------------- */

struct rows {
    struct dv_output_node *list;
    uint32_t n;
};

static bool add_row(void *arg, const struct dv_ledger_row *row)
{
    struct rows *rows = arg;
    const struct dv_account *a = &row->row.account;
    if (rows->n++ >= DV_BILLING_ROWS_MAX)
        return false;
    struct dv_output_node *o = dv_output_object(rows->list, NULL);
    dv_output_int(o, "from_unix", row->row.from_unix);
    dv_output_int(o, "to_unix", row->row.to_unix);
    dv_output_string(o, "level", dv_ledger_chain_name(row->level));
    dv_output_uint(o, "block", row->block);
    dv_output_string(o, "tenant", a->tenant);
    dv_output_string(o, "pod", a->pod);
    dv_output_string(o, "gpu_uuid", a->gpu);
    dv_output_string(o, "model", a->model);
    dv_output_string(o, "profile", a->profile);
    dv_output_string(o, "mode", dv_device_mode_name(a->mode));
    dv_output_string(o, "tier", dv_claim_tier_name(a->tier));
    dv_output_string(o, "quality", dv_account_quality_name(a->quality));
    dv_output_string(o, "source", dv_account_source_name(a->source));
    add_charge(o, &row->row.charge);
    add_buckets(o, &row->row.charge);
    dv_output_bool(o, "open", row->open);
    dv_output_bool(o, "corrected", row->corrected);
    dv_output_bool(o, "broken", row->broken);
    return true;
}

int dv_billing_rows(struct dv_ledger *ledger, const struct dv_billing_query *q,
                    struct dv_output **ret, struct dv_err *err)
{
    dv_cleanup(done) struct work w = {.err = err};
    int r = free_of_charge(&w);
    if (r == 0)
        r = prepare(&w, q);
    if (r < 0)
        return r;
    struct dv_output *o = dv_output_new("LedgerRows");
    struct dv_output_node *root = dv_output_root(o);
    dv_output_int(root, "from_unix", w.query.from_unix);
    dv_output_int(root, "to_unix", w.query.to_unix);
    struct rows rows = {dv_output_array(root, "rows"), 0};
    struct dv_ledger_query query = {.from_unix = w.query.from_unix,
                                    .to_unix = w.query.to_unix,
                                    .step = DV_LEDGER_MINUTE,
                                    .tenant = w.query.tenant[0] ? w.query.tenant : NULL,
                                    .gpu = q->gpu,
                                    .pod = w.query.pod[0] ? w.query.pod : NULL};
    r = dv_ledger_read(ledger, &query, add_row, &rows, NULL, err);
    if (r == 0 && rows.n > DV_BILLING_ROWS_MAX)
        r = dv_err_set(err, -E2BIG, "there are more than %u rows; ask for a shorter time",
                       DV_BILLING_ROWS_MAX);
    if (r == 0 && dv_output_failed(o))
        r = dv_err_set(err, -ENOMEM, "out of memory");
    if (r < 0)
        dv_output_free(&o);
    else
        *ret = o;
    return r;
}

/* ---- show, verify --------------------------------------------------------------------------- */

static const struct dv_zone utc;

static void add_utc(struct dv_output_node *o, const char *key, int64_t unix_s)
{
    char buf[DV_ZONE_TEXT];
    dv_output_string(o, key, unix_s ? dv_zone_format(&utc, unix_s, buf) : NULL);
}

static void add_break(void *list, const struct dv_ledger_break *b)
{
    struct dv_output_node *o = dv_output_object(list, NULL);
    dv_output_string(o, "chain", dv_ledger_chain_name(b->chain));
    dv_output_uint(o, "seq", b->seq);
    dv_output_int(o, "from_unix", b->from_unix);
    dv_output_int(o, "to_unix", b->to_unix);
    add_utc(o, "from", b->from_unix);
    add_utc(o, "to", b->to_unix);
    dv_output_string(o, "fault", dv_ledger_fault_name(b->fault));
    dv_output_string(o, "detail", b->detail);
}

static void add_note(void *list, const struct dv_ledger_note *n)
{
    static const char *const kinds[] = {"correction", "rename", "pruned"};
    struct dv_output_node *o = dv_output_object(list, NULL);
    dv_output_uint(o, "seq", n->seq);
    dv_output_string(o, "kind", kinds[n->kind]);
    dv_output_int(o, "at_unix", n->unix_ns / (int64_t)DV_NS_PER_S);
    add_utc(o, "at", n->unix_ns / (int64_t)DV_NS_PER_S);
    if (n->kind == DV_LEDGER_RENAME) {
        dv_output_string(o, "old", n->old);
        dv_output_string(o, "new", n->new_name);
        dv_output_int(o, "from_unix", n->from_unix);
    } else {
        dv_output_string(o, "level", dv_ledger_chain_name(n->level));
        dv_output_uint(o, "block", n->block);
    }
    dv_output_string(o, "who", n->who[0] ? n->who : NULL);
    dv_output_string(o, "reason", n->reason[0] ? n->reason : NULL);
}

static int add_chains(struct dv_ledger *ledger, const struct dv_ledger_stats *s,
                      struct dv_output_node *root, struct dv_err *err)
{
    struct dv_output_node *list = dv_output_array(root, "chains");
    for (unsigned i = 0; i < DV_LEDGER_CHAINS; i++) {
        struct dv_ledger_head head;
        char hex[2 * DV_LEDGER_HASH_SIZE + 1] = "";
        int r = dv_ledger_head(ledger, i, &head, err);
        if (r < 0)
            return r;
        for (size_t k = 0; k < DV_LEDGER_HASH_SIZE; k++) {
            static const char digits[] = "0123456789abcdef";
            hex[2 * k] = digits[head.hash[k] >> 4];
            hex[2 * k + 1] = digits[head.hash[k] & 15];
        }
        struct dv_output_node *o = dv_output_object(list, NULL);
        dv_output_string(o, "chain", dv_ledger_chain_name(i));
        dv_output_uint(o, "seq", head.seq);
        dv_output_string(o, "hash", head.seq ? hex : NULL);
        if (i < DV_LEDGER_LEVELS) {
            dv_output_uint(o, "blocks", s->blocks[i]);
            dv_output_uint(o, "rows", s->rows[i]);
        }
    }
    return 0;
}

static int add_proof(struct dv_ledger *ledger, struct dv_output_node *root, struct dv_err *err)
{
    struct dv_ledger_proof proof = {0};
    struct dv_output_node *list = dv_output_array(root, "breaks");
    int r = dv_ledger_verify(ledger, add_break, list, &proof, err);
    if (r < 0)
        return r;
    struct dv_output_node *o = dv_output_object(root, "proof");
    dv_output_uint(o, "blocks", proof.blocks);
    dv_output_uint(o, "rows", proof.rows);
    dv_output_uint(o, "lives", proof.lives);
    dv_output_uint(o, "notes", proof.notes);
    dv_output_uint(o, "breaks", proof.breaks);
    return 0;
}

int dv_billing_show(struct dv_ledger *ledger, bool verify, struct dv_output **ret,
                    struct dv_err *err)
{
    struct dv_ledger_stats s;
    struct dv_output *o = dv_output_new("Ledger");
    struct dv_output_node *root = dv_output_root(o);
    dv_ledger_stats(ledger, &s);
    dv_output_string(root, "path", dv_ledger_path(ledger));
    dv_output_bytes(root, "file_bytes", s.file_bytes);
    int r = add_chains(ledger, &s, root, err);
    if (r == 0)
        r = dv_ledger_notes(ledger, add_note, dv_output_array(root, "notes"), err);
    if (r == 0 && verify)
        r = add_proof(ledger, root, err);
    if (r == 0 && dv_output_failed(o))
        r = dv_err_set(err, -ENOMEM, "out of memory");
    if (r < 0)
        dv_output_free(&o);
    else
        *ret = o;
    return r;
}
