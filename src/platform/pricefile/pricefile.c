/* SPDX-License-Identifier: Apache-2.0 */
#include "pricefile/pricefile.h"

#include "model/gpu_model.h"
#include "sys/zone.h"
#include "yaml/yaml_tree.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHOICES_MAX 64u

const char dv_pricefile_help[] =
    "a bill needs prices, and divvy has none of its own: give --price-file FILE. Four lines are "
    "enough (apiVersion: divvy/v1, kind: PriceList, currency: USD, prices: [{perGpuHour: 3.06}]); "
    "docs/reference/price-file.md and packaging/prices/example.yaml say more";

struct reader {
    const struct dv_yaml *yaml;
    const char *zone_dir;
    struct dv_price_list *list;
    struct dv_pricefile_info *info;
    const struct dv_yaml_node *prices, *fees;
    struct dv_err *err;
};

static void warn(struct reader *in, const struct dv_yaml_node *at, const char *fmt, ...)
    dv_printf(3, 4);

static void warn(struct reader *in, const struct dv_yaml_node *at, const char *fmt, ...)
{
    uint32_t i = in->info->n_warnings;
    va_list args;
    if (i == DV_PRICEFILE_WARNINGS_MAX)
        return;
    va_start(args, fmt);
    vsnprintf(in->info->warnings[i].text, sizeof in->info->warnings[i].text, fmt, args);
    va_end(args);
    for (char *p = in->info->warnings[i].text; *p; p++)
        if (*p < ' ' || *p > '~')
            *p = '?';
    in->info->warnings[i].line = at->line;
    in->info->n_warnings++;
}

/* ---- values ---- */

static int read_money(struct reader *in, const struct dv_yaml_node *node, const char *key,
                      int64_t *ret)
{
    const char *text;
    struct dv_err why = {{0}};
    int r = dv_yaml_text(in->yaml, node, key, &text, in->err);
    if (!r && dv_price_parse(text, ret, &why) < 0)
        r = dv_yaml_bad(in->yaml, node, in->err, "%s: %s", key, why.msg);
    return r;
}

static int read_day(struct reader *in, const struct dv_yaml_node *node, const char *key,
                    int32_t *ret)
{
    const char *text;
    struct dv_err why = {{0}};
    int r = node ? dv_yaml_text(in->yaml, node, key, &text, in->err) : 0;
    if (!r && node && dv_date_parse(text, ret, &why) < 0)
        r = dv_yaml_bad(in->yaml, node, in->err, "%s: %s", key, why.msg);
    return r;
}

static int read_span(struct reader *in, const struct dv_yaml_node *from,
                     const struct dv_yaml_node *to, struct dv_price_span *ret)
{
    *ret = (struct dv_price_span){INT32_MIN, INT32_MAX};
    int r = read_day(in, from, "from", &ret->from_day);
    r = r ? r : read_day(in, to, "to", &ret->to_day);
    if (!r && ret->from_day >= ret->to_day)
        r = dv_yaml_bad(in->yaml, to, in->err,
                        "to: %.20s is not after from; it is the first day that is not in it",
                        to->text);
    return r;
}

/* "22:00", "24:00". */
static bool scan_clock(const char **p, int32_t *ret)
{
    int h, m, n = 0;
    if (!isdigit((unsigned char)**p) || sscanf(*p, "%2d:%2d%n", &h, &m, &n) != 2 || n < 4 ||
        !isdigit((unsigned char)(*p)[n - 2]) || h > 24 || m > 59 || m < 0 || (h == 24 && m))
        return false;
    *p += n;
    *ret = h * 3600 + m * 60;
    return true;
}

static int day_of(const char **p)
{
    static const char *const names[] = {"monday", "tuesday",  "wednesday", "thursday",
                                        "friday", "saturday", "sunday"};
    size_t len = 0;
    while (isalpha((unsigned char)(*p)[len]))
        len++;
    for (int i = 0; len >= 3 && i < 7; i++)
        if (!strncasecmp(names[i], *p, len) && (len == 3 || len == strlen(names[i]))) {
            *p += len;
            return i;
        }
    return -1;
}

/* "mon", "mon-fri", "fri-mon" (over Sunday). */
static bool scan_days(const char **p, uint32_t *ret)
{
    int first = day_of(p), last = first;
    if (first >= 0 && **p == '-') {
        ++*p;
        last = day_of(p);
    }
    if (first < 0 || last < 0)
        return false;
    *ret = 0;
    for (int i = first;; i = (i + 1) % 7) {
        *ret |= 1u << i;
        if (i == last)
            return true;
    }
}

/* "mon-fri 22:00-06:00", "22:00-06:00", "sat". */
static bool scan_hours(const char *text, struct dv_price_hours *ret)
{
    const char *p = text;
    *ret = (struct dv_price_hours){DV_PRICE_DAYS_ALL, 0, 86400};
    if (isalpha((unsigned char)*p)) {
        if (!scan_days(&p, &ret->days))
            return false;
        if (!*p)
            return true;
        if (*p++ != ' ')
            return false;
    }
    return scan_clock(&p, &ret->from_s) && *p++ == '-' && scan_clock(&p, &ret->to_s) && !*p &&
           ret->from_s < 86400 && ret->from_s != ret->to_s;
}

static int read_hours_item(struct reader *in, const struct dv_yaml_node *node,
                           struct dv_price_rule *rule)
{
    const char *text;
    int r = dv_yaml_text(in->yaml, node, "hours", &text, in->err);
    if (r < 0)
        return r;
    if (rule->n_hours == DV_PRICE_HOURS_MAX)
        return dv_yaml_bad(in->yaml, node, in->err, "hours: at most %u", DV_PRICE_HOURS_MAX);
    if (!scan_hours(text, &rule->hours[rule->n_hours]))
        return dv_yaml_bad(in->yaml, node, in->err,
                           "hours: \"%.40s\"; write \"22:00-06:00\", \"mon-fri 08:00-18:00\" or "
                           "\"sat-sun\"",
                           text);
    rule->n_hours++;
    return 0;
}

static int read_hours(struct reader *in, const struct dv_yaml_node *node,
                      struct dv_price_rule *rule)
{
    if (node->kind != DV_YAML_LIST)
        return read_hours_item(in, node, rule);
    int r = dv_yaml_list(in->yaml, node, "hours", DV_PRICE_HOURS_MAX, in->err);
    if (!r && !node->n)
        r = dv_yaml_bad(in->yaml, node, in->err, "hours: an empty list; leave the key out");
    for (uint32_t i = 0; !r && i < node->n; i++)
        r = read_hours_item(in, node->items[i], rule);
    return r;
}

/* ---- what a price is of ---- */

static int read_model(struct reader *in, const struct dv_yaml_node *node, const char *text,
                      struct dv_price_rule *rule)
{
    const char *names[64], *near;
    const struct dv_gpu_model *m;
    size_t n = 0;
    if (!*text || dv_str_copy(rule->model, sizeof rule->model, text) < 0)
        return dv_yaml_bad(in->yaml, node, in->err, "model: 1 to %d letters", DV_GPU_NAME_SIZE - 1);
    if (dv_gpu_model_find(text, NULL) ||
        (!strncasecmp(text, "NVIDIA ", 7) && dv_gpu_model_find(text + 7, NULL)))
        return 0;
    for (; n < DV_ARRAY_SIZE(names) && (m = dv_gpu_model_at(n)); n++)
        names[n] = m->name;
    near = dv_str_nearest(text, names, n);
    warn(in, node,
         "model: \"%.60s\" is not in the catalogue%s%s%s; it is taken for the driver's own name of "
         "a GPU, letter by letter",
         text, near ? " (did you mean \"" : "", near ? near : "", near ? "\"?)" : "");
    return 0;
}

static int read_profile(struct reader *in, const struct dv_yaml_node *node, const char *text,
                        struct dv_price_rule *rule)
{
    struct dv_mig_name name;
    struct dv_err why = {{0}};
    if (!strcmp(text, "whole")) {
        rule->whole = true;
        return 0;
    }
    if (dv_mig_name_parse(text, &name, &why) < 0)
        return dv_yaml_bad(in->yaml, node, in->err,
                           "profile: %s; or \"whole\" for a GPU without MIG", why.msg);
    if (dv_str_copy(rule->profile, sizeof rule->profile, text) < 0)
        return dv_yaml_bad(in->yaml, node, in->err, "profile: too long");
    return 0;
}

static int read_mode(struct reader *in, const struct dv_yaml_node *node, const char *text,
                     struct dv_price_rule *rule)
{
    struct dv_err why = {{0}};
    rule->has_mode = true;
    if (!strcmp(text, "mig"))
        return dv_yaml_bad(in->yaml, node, in->err,
                           "mode: mig is said by profile (profile: 1g.10gb); the mode is how the "
                           "MIG device is shared");
    if (dv_device_mode_parse(text, &rule->mode, &why) < 0)
        return dv_yaml_bad(in->yaml, node, in->err, "mode: %s", why.msg);
    return 0;
}

static int read_tier(struct reader *in, const struct dv_yaml_node *node, const char *text,
                     struct dv_price_rule *rule)
{
    struct dv_err why = {{0}};
    rule->has_tier = true;
    if (dv_claim_tier_parse(text, &rule->tier, &why) < 0)
        return dv_yaml_bad(in->yaml, node, in->err, "tier: %s", why.msg);
    return 0;
}

static int check_tenant(struct reader *in, const struct dv_yaml_node *node, const char *text,
                        char *ret)
{
    struct dv_err why = {{0}};
    if (strcmp(text, DV_ACCOUNT_OUTSIDE) != 0 && dv_tenant_check_name(text, &why) < 0)
        return dv_yaml_bad(in->yaml, node, in->err, "tenant: %s", why.msg);
    return dv_str_copy(ret, DV_TENANT_SIZE, text);
}

static int read_tenant(struct reader *in, const struct dv_yaml_node *node, const char *text,
                       struct dv_price_rule *rule)
{
    return check_tenant(in, node, text, rule->tenant);
}

typedef int choose_fn(struct reader *in, const struct dv_yaml_node *node, const char *text,
                      struct dv_price_rule *rule);

static const struct {
    const char *key;
    choose_fn *choose;
} choices[] = {{"model", read_model},
               {"profile", read_profile},
               {"mode", read_mode},
               {"tier", read_tier},
               {"tenant", read_tenant}};

/* ---- prices ---- */

/* A key that is a list stands for as many prices; keys from k on are still open. */
static int expand(struct reader *in, const struct dv_yaml_node *item,
                  const struct dv_yaml_node *const *got, size_t k, const struct dv_price_rule *rule)
{
    if (k == DV_ARRAY_SIZE(choices)) {
        struct dv_err why = {{0}};
        int r = dv_price_add_rule(in->list, rule, &why);
        return r == -ENOMEM || !r ? r : dv_yaml_bad(in->yaml, item, in->err, "prices: %s", why.msg);
    }
    const struct dv_yaml_node *node = got[k];
    const struct dv_yaml_node *const *values = &got[k];
    uint32_t n = 1;
    if (node && node->kind == DV_YAML_LIST) {
        int r = dv_yaml_list(in->yaml, node, choices[k].key, CHOICES_MAX, in->err);
        if (!r && !node->n)
            r = dv_yaml_bad(in->yaml, node, in->err, "%s: an empty list; leave the key out",
                            choices[k].key);
        if (r < 0)
            return r;
        values = (const struct dv_yaml_node *const *)node->items;
        n = node->n;
    }
    int r = 0;
    for (uint32_t i = 0; !r && i < n; i++) {
        struct dv_price_rule one = *rule;
        const char *text;
        if (node)
            r = dv_yaml_text(in->yaml, values[i], choices[k].key, &text, in->err);
        if (node && !r)
            r = choices[k].choose(in, values[i], text, &one);
        r = r ? r : expand(in, item, got, k + 1, &one);
    }
    return r;
}

static int read_price(struct reader *in, const struct dv_yaml_node *item)
{
    static const char *const names[] = {"model",      "profile", "mode", "tier", "tenant",
                                        "perGpuHour", "from",    "to",   "hours"};
    static const struct dv_yaml_map map = {"a price", names, DV_ARRAY_SIZE(names)};
    const struct dv_yaml_node *got[DV_ARRAY_SIZE(names)];
    struct dv_price_rule rule = {.line = item->line};
    int r = dv_yaml_map_read(in->yaml, item, &map, got, in->err);
    if (!r && !got[5])
        return dv_yaml_bad(in->yaml, item, in->err,
                           "perGpuHour is missing: what an hour of the whole GPU costs");
    r = r ? r : read_money(in, got[5], "perGpuHour", &rule.micros_per_hour);
    r = r ? r : read_span(in, got[6], got[7], &rule.span);
    if (!r && got[8])
        r = read_hours(in, got[8], &rule);
    return r ? r : expand(in, item, got, 0, &rule);
}

static int read_fee(struct reader *in, const struct dv_yaml_node *item)
{
    static const char *const names[] = {"tenant", "perMonth", "from", "to"};
    static const struct dv_yaml_map map = {"a fee", names, DV_ARRAY_SIZE(names)};
    const struct dv_yaml_node *got[DV_ARRAY_SIZE(names)];
    struct dv_price_fee fee = {.line = item->line};
    const char *tenant;
    int r = dv_yaml_map_read(in->yaml, item, &map, got, in->err);
    if (!r && (!got[0] || !got[1]))
        return dv_yaml_bad(in->yaml, item, in->err, "%s is missing",
                           got[0] ? "perMonth" : "tenant");
    r = r ? r : dv_yaml_text(in->yaml, got[0], "tenant", &tenant, in->err);
    r = r ? r : check_tenant(in, got[0], tenant, fee.tenant);
    r = r ? r : read_money(in, got[1], "perMonth", &fee.micros_per_month);
    r = r ? r : read_span(in, got[2], got[3], &fee.span);
    if (r < 0)
        return r;
    struct dv_err why = {{0}};
    r = dv_price_add_fee(in->list, &fee, &why);
    return r == -ENOMEM || !r ? r : dv_yaml_bad(in->yaml, item, in->err, "fees: %s", why.msg);
}

/* ---- the file ---- */

static int read_currency(struct reader *in, const struct dv_yaml_node *root,
                         const struct dv_yaml_node *node)
{
    const char *text;
    struct dv_err why = {{0}};
    if (!node)
        return dv_yaml_bad(in->yaml, root, in->err,
                           "currency is missing: an ISO 4217 code, such as USD, EUR, JPY");
    int r = dv_yaml_text(in->yaml, node, "currency", &text, in->err);
    if (!r && dv_currency_check(text, &why) < 0)
        r = dv_yaml_bad(in->yaml, node, in->err, "currency: %s", why.msg);
    return r ? r : dv_str_copy(in->list->currency, sizeof in->list->currency, text);
}

static int read_zone(struct reader *in, const struct dv_yaml_node *node)
{
    const char *text = "UTC";
    struct dv_err why = {{0}};
    int r = node ? dv_yaml_text(in->yaml, node, "timezone", &text, in->err) : 0;
    if (r < 0)
        return r;
    r = dv_zone_load(in->zone_dir, text, &in->list->zone, &why);
    if (r < 0 && r != -ENOMEM)
        r = dv_yaml_bad(in->yaml, node, in->err, "timezone: %s", why.msg);
    return r;
}

static int check_head(struct reader *in, const struct dv_yaml_node *root,
                      const struct dv_yaml_node *api, const struct dv_yaml_node *kind)
{
    if (!api || !kind)
        return dv_yaml_bad(in->yaml, root, in->err,
                           "%s is missing; a price list begins with \"apiVersion: divvy/v1\" and "
                           "\"kind: PriceList\"",
                           api ? "kind" : "apiVersion");
    if (!dv_yaml_is(api, "divvy/v1"))
        return dv_yaml_bad(in->yaml, api, in->err,
                           "apiVersion: \"%.40s\"; this divvy reads divvy/v1",
                           api->kind == DV_YAML_SCALAR ? api->text : "");
    if (!dv_yaml_is(kind, "PriceList"))
        return dv_yaml_bad(in->yaml, kind, in->err, "kind: \"%.40s\", where PriceList is wanted",
                           kind->kind == DV_YAML_SCALAR ? kind->text : "");
    return 0;
}

static int read_items(struct reader *in, const struct dv_yaml_node *list, const char *key,
                      uint32_t max, int (*read_item)(struct reader *, const struct dv_yaml_node *))
{
    int r = list ? dv_yaml_list(in->yaml, list, key, max, in->err) : 0;
    for (uint32_t i = 0; !r && list && i < list->n; i++)
        r = read_item(in, list->items[i]);
    return r;
}

/* Where the item of that line is, for a message. */
static const struct dv_yaml_node *item_at(const struct reader *in, const struct dv_yaml_node *root,
                                          uint32_t line)
{
    const struct dv_yaml_node *lists[] = {in->prices, in->fees};
    for (size_t k = 0; line && k < DV_ARRAY_SIZE(lists); k++)
        for (uint32_t i = 0; lists[k] && i < lists[k]->n; i++)
            if (lists[k]->items[i]->line == line)
                return lists[k]->items[i];
    return root;
}

static int read_list(struct reader *in, const struct dv_yaml_node *root)
{
    static const char *const names[] = {"apiVersion", "kind",   "currency",
                                        "timezone",   "prices", "fees"};
    static const struct dv_yaml_map map = {"a price list", names, DV_ARRAY_SIZE(names)};
    const struct dv_yaml_node *got[DV_ARRAY_SIZE(names)];
    struct dv_err why = {{0}};
    uint32_t line = 0;
    int r = dv_yaml_map_read(in->yaml, root, &map, got, in->err);
    r = r ? r : check_head(in, root, got[0], got[1]);
    r = r ? r : read_currency(in, root, got[2]);
    r = r ? r : read_zone(in, got[3]);
    if (r < 0)
        return r;
    in->prices = got[4];
    in->fees = got[5];
    if (!in->prices)
        return dv_yaml_bad(in->yaml, root, in->err,
                           "prices is missing: a list, such as [{perGpuHour: 3.06}]");
    r = read_items(in, in->prices, "prices", DV_PRICE_RULES_MAX, read_price);
    r = r ? r : read_items(in, in->fees, "fees", DV_PRICE_FEES_MAX, read_fee);
    if (!r && !in->list->n_rules)
        r = dv_yaml_bad(in->yaml, in->prices, in->err, "prices: an empty list");
    if (!r && dv_price_check(in->list, &line, &why) < 0)
        r = dv_yaml_bad(in->yaml, item_at(in, root, line), in->err, "%s", why.msg);
    return r;
}

int dv_pricefile_read(const char *name, const char *text, size_t len, const char *zone_dir,
                      struct dv_price_list **ret, struct dv_pricefile_info *ret_info,
                      struct dv_err *err)
{
    dv_cleanup(dv_yaml_freep) struct dv_yaml *yaml = NULL;
    dv_cleanup(dv_price_list_freep) struct dv_price_list *list = NULL;
    struct dv_pricefile_info ignored;
    struct reader in = {.zone_dir = zone_dir, .info = ret_info ? ret_info : &ignored, .err = err};
    in.info->n_warnings = 0;
    if (len > DV_PRICEFILE_MAX)
        return dv_err_set(err, -E2BIG, "%.120s: %zu bytes; a price file has at most %u", name, len,
                          DV_PRICEFILE_MAX);
    int r = dv_yaml_parse(name, text, len, &yaml, err);
    if (r < 0)
        return r;
    if (yaml->n_roots != 1)
        return dv_err_set(err, -EINVAL, "%.120s: %s, where one price list is wanted", name,
                          yaml->n_roots ? "several documents" : "an empty file");
    list = dv_price_list_new();
    if (!list)
        return -ENOMEM;
    in.yaml = yaml;
    in.list = list;
    r = read_list(&in, yaml->roots[0]);
    if (r < 0)
        return r;
    *ret = list;
    list = NULL;
    return 0;
}

static int read_all(int fd, struct dv_str *text)
{
    char buf[16384];
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (S_ISDIR(st.st_mode))
        return -EISDIR;
    while (text->len <= DV_PRICEFILE_MAX) {
        ssize_t n = read(fd, buf, sizeof buf);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (!n)
            break;
        dv_str_addn(text, buf, (size_t)n);
    }
    return text->failed ? -ENOMEM : 0;
}

int dv_pricefile_load(const char *path, struct dv_price_list **ret,
                      struct dv_pricefile_info *ret_info, struct dv_err *err)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int r = fd < 0 ? -errno : read_all(fd, &text);
    if (fd >= 0)
        close(fd);
    if (r < 0)
        return dv_err_set(err, r, "price file %.200s: %s", path, strerror(-r));
    return dv_pricefile_read(path, dv_str_get(&text), text.len, NULL, ret, ret_info, err);
}
