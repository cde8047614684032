/* SPDX-License-Identifier: Apache-2.0 */
#include "bill_source.h"

#include "ask.h"
#include "billing/billing.h"
#include "layout_file.h"
#include "pricefile/pricefile.h"
#include "sys/zone.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- the file of a ledger ------------------------------------------------------------------- */

static int exit_of(int r)
{
    return r == -EINVAL || r == -E2BIG   ? DV_UI_USAGE
           : r == -EACCES || r == -EPERM ? DV_UI_PERMISSION
                                         : DV_UI_FAILURE;
}

static int open_ledger(const struct dv_ui *ui, const char *path, struct dv_ledger **ret)
{
    dv_cleanup(dv_str_done) struct dv_str note = {0};
    struct dv_ledger_options options = {.read_only = true};
    struct dv_err err = {{0}};
    options.now.unix_ns = (int64_t)time(NULL) * (int64_t)DV_NS_PER_S;
    int r = dv_ledger_open(path, &options, ret, &note, &err);
    return r < 0 ? dv_ui_fail(ui, exit_of(r), "%s", err.msg) : DV_UI_OK;
}

static struct dv_billing_query query_of(const struct dv_bill_source *s)
{
    return (struct dv_billing_query){
        .now_unix = time(NULL),
        .from = s->from,
        .to = s->to,
        .timezone = s->timezone,
        .by = s->by,
        .basis = s->basis,
        .idle = s->idle,
        .tenant = s->tenant,
        .gpu = s->gpu,
        .pod = s->pod,
    };
}

typedef int maker(struct dv_ledger *ledger, const struct dv_billing_query *query,
                  struct dv_output **ret, struct dv_err *err);

static int from_file(const struct dv_ui *ui, const struct dv_bill_source *s,
                     const struct dv_billing_query *query, maker *make, struct dv_output **ret)
{
    struct dv_ledger *ledger = NULL;
    struct dv_err err = {{0}};
    int exit = open_ledger(ui, s->ledger, &ledger);
    if (exit)
        return exit;
    int r = make(ledger, query, ret, &err);
    dv_ledger_close(ledger);
    return r < 0 ? dv_ui_fail(ui, exit_of(r), "%s", err.msg) : DV_UI_OK;
}

/* ---- the daemon ----------------------------------------------------------------------------- */

static void add_query(struct dv_str *path, const char *key, const char *value)
{
    if (!value)
        return;
    dv_str_addf(path, "%c%s=", strchr(dv_str_get(path), '?') ? '&' : '?', key);
    dv_http_client_escape(value, path);
}

static int get(const struct dv_ui *ui, const char *path, const struct dv_bill_source *s,
               struct dv_output **ret)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    dv_str_add(&text, path);
    add_query(&text, "from", s->from);
    add_query(&text, "to", s->to);
    add_query(&text, "timezone", s->timezone);
    add_query(&text, "by", s->by);
    add_query(&text, "tenant", s->tenant);
    add_query(&text, "gpu", s->gpu);
    add_query(&text, "pod", s->pod);
    if (text.failed)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    return dv_ask(ui, "GET", dv_str_get(&text), NULL, ret);
}

static void add_text(struct dv_output_node *body, const char *key, const char *value)
{
    if (value)
        dv_output_string(body, key, value);
}

static struct dv_output *bill_body(const struct dv_bill_source *s, const char *price_text)
{
    struct dv_output *o = dv_output_new(NULL);
    struct dv_output_node *body = dv_output_root(o);
    add_text(body, "from", s->from);
    add_text(body, "to", s->to);
    add_text(body, "timezone", s->timezone);
    add_text(body, "by", s->by);
    add_text(body, "basis", s->basis);
    add_text(body, "idle", s->idle);
    add_text(body, "tenant", s->tenant);
    add_text(body, "gpu", s->gpu);
    add_text(body, "pod", s->pod);
    add_text(body, "price_name", price_text ? s->price_file : NULL);
    add_text(body, "price_text", price_text);
    return o;
}

/* ---- answers -------------------------------------------------------------------------------- */

int dv_bill_source_bill(const struct dv_ui *ui, const struct dv_bill_source *s,
                        struct dv_output **ret)
{
    dv_cleanup(dv_str_done) struct dv_str prices = {0};
    dv_cleanup(dv_output_free) struct dv_output *body = NULL;
    struct dv_err err = {{0}};
    if (s->ledger && !s->price_file)
        return dv_ui_fail(ui, DV_UI_USAGE, "%s", dv_pricefile_help);
    if (s->price_file && dv_layout_file_read(s->price_file, &prices, &err) < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "%s", err.msg);
    if (s->ledger) {
        struct dv_billing_query query = query_of(s);
        query.price_name = s->price_file;
        query.price_text = dv_str_get(&prices);
        query.price_len = prices.len;
        return from_file(ui, s, &query, dv_billing_bill, ret);
    }
    body = bill_body(s, s->price_file ? dv_str_get(&prices) : NULL);
    return dv_ask(ui, "POST", "/v1/bill", body, ret);
}

int dv_bill_source_usage(const struct dv_ui *ui, const struct dv_bill_source *s,
                         struct dv_output **ret)
{
    struct dv_billing_query query = query_of(s);
    return s->ledger ? from_file(ui, s, &query, dv_billing_usage, ret)
                     : get(ui, "/v1/usage", s, ret);
}

int dv_bill_source_rows(const struct dv_ui *ui, const struct dv_bill_source *s,
                        struct dv_output **ret)
{
    struct dv_billing_query query = query_of(s);
    return s->ledger ? from_file(ui, s, &query, dv_billing_rows, ret)
                     : get(ui, "/v1/ledger/rows", s, ret);
}

int dv_bill_source_show(const struct dv_ui *ui, const char *path, bool verify,
                        struct dv_output **ret)
{
    struct dv_ledger *ledger = NULL;
    struct dv_err err = {{0}};
    if (!path)
        return dv_ask(ui, "GET", verify ? "/v1/ledger?verify=1" : "/v1/ledger", NULL, ret);
    int exit = open_ledger(ui, path, &ledger);
    if (exit)
        return exit;
    int r = dv_billing_show(ledger, verify, ret, &err);
    dv_ledger_close(ledger);
    return r < 0 ? dv_ui_fail(ui, exit_of(r), "%s", err.msg) : DV_UI_OK;
}

void dv_bill_source_zone(const struct dv_ui *ui, struct dv_output *answer, struct dv_zone *ret)
{
    const char *name = dv_output_text(dv_output_get(dv_output_root(answer), "timezone"), "");
    struct dv_err err = {{0}};
    memset(ret, 0, sizeof *ret);
    if (*name && dv_zone_load(NULL, name, ret, &err) < 0) {
        memset(ret, 0, sizeof *ret);
        fprintf(stderr, "%s %s: times are shown in UTC: %s\n", ui->program->name, ui->verb->name,
                err.msg);
    }
}
