/* SPDX-License-Identifier: Apache-2.0 */
#include "render/bill_html.h"

#include "account/price.h"
#include "base/units.h"
#include "render/html.h"
#include "render/value.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

struct page {
    struct dv_str *text;
    const struct dv_output_node *bill;
    const struct dv_zone *zone;
    const char *currency;
};

/* The buckets of a GPU's time; `money`: its key in the bill's waste. */
static const struct bucket {
    const char *class, *name, *key, *money;
} buckets[] = {
    {"busy", "busy", "busy_seconds", NULL},
    {"idle", "held and idle", "reserved_idle_seconds", "reserved_idle_cost_micros"},
    {"overhead", "overhead", "overhead_seconds", "overhead_cost_micros"},
    {"free", "held by nobody", "unallocated_seconds", "unallocated_cost_micros"},
    {"ill", "unhealthy", "unhealthy_seconds", "unhealthy_cost_micros"},
};

/* ---- pieces --------------------------------------------------------------------------------- */

static void add(const struct page *p, const char *html)
{
    dv_str_add(p->text, html);
}

static void add_escaped(const struct page *p, const char *v)
{
    dv_html_escape(v, p->text);
}

static void add_name(const struct page *p, const char *name)
{
    dv_html_name(name, p->text);
}

static const struct dv_output_node *field(const struct dv_output_node *object, const char *key)
{
    return dv_output_get(object, key);
}

static const char *text_of(const struct dv_output_node *object, const char *key)
{
    return dv_output_text(field(object, key), "");
}

static int64_t micros_of(const struct dv_output_node *object, const char *key)
{
    return dv_output_signed(field(object, key), 0);
}

static uint64_t ns_of(const struct dv_output_node *object, const char *key)
{
    return dv_output_ns(field(object, key), 0);
}

/* "71,481.60": digits in threes, for people. */
static void add_money(const struct page *p, int64_t micros)
{
    char buf[DV_PRICE_TEXT];
    const char *digits = dv_price_format(micros, p->currency, buf);
    if (*digits == '-') {
        add(p, "&minus;");
        digits++;
    }
    size_t whole = strcspn(digits, ".");
    for (size_t i = 0; i < whole; i++) {
        if (i && (whole - i) % 3 == 0)
            dv_str_addc(p->text, ',');
        dv_str_addc(p->text, digits[i]);
    }
    add(p, digits + whole);
}

/* Hours with two digits, in threes as money. */
static void add_hours(const struct page *p, uint64_t ns)
{
    uint64_t hundredths = ns / (36 * DV_NS_PER_S) + (ns % (36 * DV_NS_PER_S) >= 18 * DV_NS_PER_S);
    uint64_t hours = hundredths / 100;
    if (hours >= 1000)
        dv_str_addf(p->text, "%" PRIu64 ",%03" PRIu64, hours / 1000, hours % 1000);
    else
        dv_str_addf(p->text, "%" PRIu64, hours);
    dv_str_addf(p->text, ".%02" PRIu64, hundredths % 100);
}

/* Thousandths of `whole`, at most 1000. */
static uint64_t permille(uint64_t part, uint64_t whole, bool nearest)
{
    while (whole > UINT64_MAX / 2000) {
        whole >>= 1;
        part >>= 1;
    }
    part = DV_MIN(part, whole);
    return whole ? (part * 1000 + (nearest ? whole / 2 : 0)) / whole : 0;
}

static void add_percent(const struct page *p, uint64_t part, uint64_t whole)
{
    uint64_t v = permille(part, whole, true);
    if (!v && part)
        add(p, "&lt;0.1%");
    else
        dv_str_addf(p->text, "%" PRIu64 ".%" PRIu64 "%%", v / 10, v % 10);
}

static void add_segment(const struct page *p, const char *class, uint64_t part, uint64_t whole)
{
    uint64_t v = permille(part, whole, false); /* together they are never more than the strip */
    if (v)
        dv_str_addf(p->text, "<i class=%s style=\"width:%" PRIu64 ".%" PRIu64 "%%\"></i>", class,
                    v / 10, v % 10);
}

static void add_time(const struct page *p, int64_t unix_s)
{
    char buf[DV_ZONE_TEXT], local[DV_ZONE_TEXT];
    dv_zone_format(p->zone, unix_s, buf);
    memcpy(local, buf, sizeof local);
    if (strlen(local) > 16) { /* date, blank, hour and minute */
        local[10] = ' ';
        local[16] = 0;
    }
    dv_str_addf(p->text, "<time datetime=\"%s\">%s</time>", buf, local);
}

static uint64_t positive(int64_t v)
{
    return v > 0 ? (uint64_t)v : 0;
}

/* ---- the parts of the page ------------------------------------------------------------------ */

static void add_head(const struct page *p)
{
    const char *price_file = text_of(p->bill, "price_file");
    dv_html_begin("GPU bill", NULL, p->text);
    add(p, "<header>\n<h1>GPU bill");
    if (*text_of(p->bill, "tenant")) {
        add(p, " of ");
        add_name(p, text_of(p->bill, "tenant"));
    }
    add(p, "</h1>\n<p>From ");
    add_time(p, micros_of(p->bill, "from_unix"));
    add(p, " to ");
    add_time(p, micros_of(p->bill, "to_unix"));
    add(p, " (");
    add_escaped(p, *text_of(p->bill, "timezone") ? text_of(p->bill, "timezone") : "UTC");
    add(p, ")</p>\n<p class=soft>Amounts in ");
    add_escaped(p, p->currency);
    add(p, ". Charged by: ");
    add_escaped(p, text_of(p->bill, "basis"));
    add(p, "; idle time shared: ");
    add_escaped(p, text_of(p->bill, "idle"));
    if (*price_file) {
        add(p, "; prices from <code>");
        add_escaped(p, price_file);
        add(p, "</code>");
    }
    add(p, ".</p>\n</header>\n");
}

static void add_tile(const struct page *p, const char *title, int64_t micros, int64_t whole,
                     const char *of)
{
    dv_str_addf(p->text, "<div class=tile><dt>%s</dt><dd>", title);
    add_money(p, micros);
    if (whole > 0) {
        add(p, " <small>");
        add_percent(p, positive(micros), (uint64_t)whole);
        dv_str_addf(p->text, " %s</small>", of);
    }
    add(p, "</dd></div>\n");
}

static void add_totals(const struct page *p)
{
    int64_t origin = micros_of(p->bill, "origin_cost_micros");
    int64_t waste = micros_of(field(p->bill, "waste"), "total_cost_micros");
    add(p, "<dl class=tiles>\n");
    add_tile(p, "Charged to tenants", micros_of(p->bill, "total_cost_micros"), 0, "");
    add_tile(p, "Cost of the GPUs", origin, 0, "");
    add_tile(p, "Worked", origin - waste, origin, "of the cost");
    add_tile(p, "Wasted", waste, origin, "of the cost");
    add(p, "</dl>\n");
}

/* What the GPUs cost, by what they did in that time. */
static void add_waste(const struct page *p)
{
    int64_t origin = micros_of(p->bill, "origin_cost_micros");
    const struct dv_output_node *waste = field(p->bill, "waste");
    int64_t used = origin - micros_of(waste, "total_cost_micros");
    add(p, "<h2>Where the money went</h2>\n<div class=strip aria-hidden=true>");
    for (size_t i = 0; i < DV_ARRAY_SIZE(buckets); i++) {
        const struct bucket *b = &buckets[i];
        add_segment(p, b->class, positive(b->money ? micros_of(waste, b->money) : used),
                    positive(origin));
    }
    add(p, "</div>\n<table>\n<thead><tr><th>GPU time</th><th class=n>Cost</th>"
           "<th class=n>Part</th></tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < DV_ARRAY_SIZE(buckets); i++) {
        const struct bucket *b = &buckets[i];
        int64_t micros = b->money ? micros_of(waste, b->money) : used;
        dv_str_addf(p->text, "<tr><td><span class=\"key %s\"></span>%s</td><td class=n>", b->class,
                    b->name);
        add_money(p, micros);
        add(p, "</td><td class=n>");
        add_percent(p, positive(micros), positive(origin));
        add(p, "</td></tr>\n");
    }
    add(p, "</tbody>\n<tfoot><tr><th>together</th><td class=n>");
    add_money(p, origin);
    add(p, "</td><td class=n></td></tr></tfoot>\n</table>\n");
}

static int64_t most_of(const struct dv_output_node *list, const char *key)
{
    int64_t most = 0;
    for (const struct dv_output_node *n = list ? list->first : NULL; n; n = n->next)
        most = DV_MAX(most, micros_of(n, key));
    return most;
}

static void add_money_cell(const struct page *p, const struct dv_output_node *row, const char *key)
{
    add(p, "<td class=n>");
    add_money(p, micros_of(row, key));
    add(p, "</td>");
}

static void add_hours_cell(const struct page *p, const struct dv_output_node *row, const char *key)
{
    add(p, "<td class=n>");
    add_hours(p, ns_of(row, key));
    add(p, "</td>");
}

static void add_tenant(const struct page *p, const struct dv_output_node *t, int64_t most)
{
    add(p, "<tr><td>");
    add_name(p, text_of(t, "tenant"));
    add(p, "</td>");
    add_money_cell(p, t, "cost_micros");
    add(p, "<td class=bar><div class=strip aria-hidden=true>");
    add_segment(p, "busy", positive(micros_of(t, "cost_micros")), positive(most));
    add(p, "</div></td>");
    add_money_cell(p, t, "used_cost_micros");
    add_money_cell(p, t, "requested_cost_micros");
    add_money_cell(p, t, "fixed_cost_micros");
    add_money_cell(p, t, "idle_cost_micros");
    add_hours_cell(p, t, "busy_seconds");
    add_hours_cell(p, t, "requested_seconds");
    add_hours_cell(p, t, "wait_seconds");
    add(p, "<td>");
    add_escaped(p, text_of(t, "quality"));
    add(p, "</td></tr>\n");
}

static void add_tenants(const struct page *p)
{
    const struct dv_output_node *list = field(p->bill, "tenants");
    int64_t most = most_of(list, "cost_micros");
    add(p, "<h2>Tenants</h2>\n");
    if (!list || !list->first) {
        add(p, "<p>No tenant held or used a GPU in this time.</p>\n");
        return;
    }
    add(p, "<div class=wide><table>\n<thead><tr><th>Tenant</th><th class=n>Charged</th><th></th>"
           "<th class=n>if by use</th><th class=n>if by request</th><th class=n>fixed</th>"
           "<th class=n>idle share</th><th class=n>GPU hours used</th><th class=n>held</th>"
           "<th class=n>hours waited</th><th>measured</th></tr></thead>\n<tbody>\n");
    for (const struct dv_output_node *t = list->first; t; t = t->next)
        add_tenant(p, t, most);
    add(p, "</tbody>\n<tfoot><tr><th>together</th><td class=n>");
    add_money(p, micros_of(p->bill, "total_cost_micros"));
    add(p, "</td><td colspan=9></td></tr></tfoot>\n</table></div>\n");
}

static void add_gpu(const struct page *p, const struct dv_output_node *g)
{
    uint64_t wall = ns_of(g, "wall_seconds");
    int64_t price = dv_output_signed(field(g, "price_per_hour_micros"), -1);
    add(p, "<div class=gpu><p>");
    add_name(p, text_of(g, "model"));
    add(p, " <code>");
    add_escaped(p, text_of(g, "uuid"));
    add(p, "</code>: ");
    add_money(p, micros_of(g, "origin_cost_micros"));
    add(p, " for ");
    add_hours(p, wall);
    add(p, " hours");
    if (price >= 0) {
        add(p, " at ");
        add_money(p, price);
    } else {
        add(p, " at several prices");
    }
    add(p, "</p>\n<div class=strip aria-hidden=true>");
    for (size_t i = 0; i < DV_ARRAY_SIZE(buckets); i++)
        add_segment(p, buckets[i].class, ns_of(g, buckets[i].key), wall);
    add(p, "</div>\n<p class=soft>");
    bool any = false;
    for (size_t i = 0; i < DV_ARRAY_SIZE(buckets); i++) {
        uint64_t ns = ns_of(g, buckets[i].key);
        if (!ns)
            continue;
        dv_str_addf(p->text, "%s<span class=\"key %s\"></span>%s ", any ? ", " : "",
                    buckets[i].class, buckets[i].name);
        add_percent(p, ns, wall);
        any = true;
    }
    add(p, "</p></div>\n");
}

static void add_gpus(const struct page *p)
{
    const struct dv_output_node *list = field(p->bill, "gpus");
    if (!list || !list->first)
        return;
    add(p, "<h2>GPUs</h2>\n");
    for (const struct dv_output_node *g = list->first; g; g = g->next)
        add_gpu(p, g);
}

/* ---- lines ---- */

/* Shown where a line has such a thing. */
static const struct {
    const char *key, *title;
} dimensions[] = {
    {"tenant", "Tenant"}, {"pod", "Pod"},         {"model", "Model"},
    {"gpu_uuid", "GPU"},  {"profile", "Profile"}, {"mode", "Mode"},
};

#define DIMENSIONS DV_ARRAY_SIZE(dimensions)

static void look(const struct dv_output_node *list, bool ret[DIMENSIONS])
{
    for (size_t i = 0; i < DIMENSIONS; i++)
        ret[i] = false;
    for (const struct dv_output_node *n = list->first; n; n = n->next)
        for (size_t i = 0; i < DIMENSIONS; i++)
            ret[i] |= *text_of(n, dimensions[i].key) != 0;
}

static bool has_days(const struct page *p, const struct dv_output_node *list)
{
    for (const struct dv_output_node *n = list->first; n; n = n->next)
        if (micros_of(n, "from_unix") != micros_of(p->bill, "from_unix") ||
            micros_of(n, "to_unix") != micros_of(p->bill, "to_unix"))
            return true;
    return false;
}

static void add_line(const struct page *p, const struct dv_output_node *line, bool days,
                     const bool show[DIMENSIONS])
{
    char buf[DV_ZONE_TEXT];
    add(p, "<tr>");
    if (days)
        dv_str_addf(p->text, "<td class=day>%s</td>",
                    dv_date_format(dv_zone_day(p->zone, micros_of(line, "from_unix")), buf));
    for (size_t i = 0; i < DIMENSIONS; i++) {
        if (!show[i])
            continue;
        add(p, "<td>");
        add_name(p, text_of(line, dimensions[i].key));
        add(p, "</td>");
    }
    const char *kind = text_of(line, "kind");
    dv_str_addf(p->text, "<td>%s</td>",
                !strcmp(kind, "idle")  ? "share of idle time"
                : !strcmp(kind, "fee") ? "fixed price"
                                       : "time");
    add_hours_cell(p, line, "busy_seconds");
    add_hours_cell(p, line, "requested_seconds");
    add_money_cell(p, line, "cost_micros");
    add(p, "</tr>\n");
}

static void add_lines(const struct page *p)
{
    const struct dv_output_node *list = field(p->bill, "lines");
    const char *by = text_of(p->bill, "by");
    /* Lines by tenant and by GPU are what the page has already. */
    if (!list || !list->first || !strcmp(by, "tenant") || !strcmp(by, "gpu"))
        return;
    bool days = has_days(p, list);
    bool show[DIMENSIONS];
    unsigned n = 0;
    look(list, show);
    add(p, "<h2>Lines</h2>\n<div class=wide><table>\n<thead><tr>");
    if (days)
        add(p, "<th>Day</th>");
    for (size_t i = 0; i < DIMENSIONS; i++)
        if (show[i])
            dv_str_addf(p->text, "<th>%s</th>", dimensions[i].title);
    add(p, "<th>For</th><th class=n>GPU hours used</th><th class=n>held</th>"
           "<th class=n>Charged</th></tr>"
           "</thead>\n<tbody>\n");
    for (const struct dv_output_node *l = list->first; l && n < DV_BILL_HTML_LINES_MAX;
         l = l->next, n++)
        add_line(p, l, days, show);
    add(p, "</tbody>\n</table></div>\n");
    if (list->children > n)
        dv_str_addf(p->text, "<p>%u more lines are not shown; CSV has all of them.</p>\n",
                    list->children - n);
}

static void add_notes(const struct page *p)
{
    const struct dv_output_node *list = field(p->bill, "notes");
    add(p, "<h2>Notes</h2>\n<ul>\n");
    for (const struct dv_output_node *n = list ? list->first : NULL; n; n = n->next) {
        add(p, "<li>");
        add_escaped(p, dv_output_text(n, ""));
        add(p, "</li>\n");
    }
    add(p, "<li>Every instant of a GPU is in one part: busy, held and idle, overhead, held by "
           "nobody, or unhealthy. The parts sum to the time of the clock, and their costs to the "
           "cost of the GPUs.</li>\n"
           "<li>Measured: exact is timed where work is let through; sampled comes from the "
           "driver's samples; estimated is divided by a rule, since nothing measures it.</li>\n"
           "</ul>\n<footer class=soft>Made by divvy.</footer>\n");
}

int dv_bill_html_write(struct dv_output *bill, const struct dv_zone *zone, struct dv_str *text,
                       struct dv_err *err)
{
    if (dv_output_failed(bill))
        return dv_err_set(err, -ENOMEM, "out of memory");
    struct page p = {text, dv_output_root(bill), zone, ""};
    p.currency = text_of(p.bill, "currency");
    if (strcmp(text_of(p.bill, "kind"), "Bill") != 0)
        return dv_err_set(err, -EINVAL, "this is no bill");
    add_head(&p);
    add(&p, "<main>\n");
    add_totals(&p);
    add_waste(&p);
    add_tenants(&p);
    add_gpus(&p);
    add_lines(&p);
    add_notes(&p);
    add(&p, "</main>\n");
    dv_html_end(text);
    return text->failed ? dv_err_set(err, -ENOMEM, "out of memory") : 0;
}
