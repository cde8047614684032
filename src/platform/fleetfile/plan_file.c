/* SPDX-License-Identifier: Apache-2.0 */
#include "fleetfile/plan_file.h"

#include "base/str.h"
#include "base/units.h"
#include "yaml/yaml_tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PER_NODE 8

struct reader {
    const struct dv_yaml *yaml;
    struct dv_fleet *fleet;
    struct dv_err *err;
};

/* ---- numbers ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

int dv_plan_file_price(const char *text, int64_t *ret_micros, struct dv_err *err)
{
    int64_t v = 0, unit = 1000000;
    const char *p = text;
    bool ok = is_digit(*p);
    for (; ok && is_digit(*p) && v <= DV_FLEET_PRICE_MAX; p++)
        v = v * 10 + (*p - '0');
    ok = ok && v <= DV_FLEET_PRICE_MAX / 1000000;
    v *= ok ? unit : 0;
    if (ok && *p == '.')
        for (ok = is_digit(*++p); ok && is_digit(*p) && unit > 1; p++) {
            unit /= 10;
            v += unit * (*p - '0');
        }
    if (!ok || *p || v > DV_FLEET_PRICE_MAX)
        return dv_err_set(err, -EINVAL,
                          "'%.40s' is not a price: a number up to 1000000, with at most six digits "
                          "behind the point",
                          text);
    *ret_micros = v;
    return 0;
}

static bool is_nothing(const char *text)
{
    return !strcmp(text, "0") || !strcmp(text, "0%") || !strcmp(text, "0.0");
}

int dv_plan_file_headroom(const char *text, uint32_t *ret, struct dv_err *err)
{
    uint32_t v = 0;
    if (!is_nothing(text) && dv_units_parse_compute(text, &v, NULL) < 0)
        return dv_err_set(err, -EINVAL, "'%.40s' is not a share; write for example 25%%", text);
    if (v >= DV_COMPUTE_FULL)
        return dv_err_set(err, -EINVAL, "headroom is a share below 100%%, not '%.40s'", text);
    *ret = v;
    return 0;
}

/* ---- values ---- */

/* Reads a text and has it understood; what is wrong is said with the key and the place. */
static int read_value(struct reader *in, const struct dv_yaml_node *node, const char *key,
                      int (*parse)(const char *text, void *ret, struct dv_err *err), void *ret)
{
    const char *text = NULL;
    struct dv_err why = {{0}};
    if (!node)
        return 0;
    int r = dv_yaml_text(in->yaml, node, key, &text, in->err);
    if (!r && parse(text, ret, &why) < 0)
        r = dv_yaml_bad(in->yaml, node, in->err, "%s: %s", key, why.msg);
    return r;
}

static int parse_bytes(const char *text, void *ret, struct dv_err *err)
{
    return dv_units_parse_bytes(text, ret, err);
}

static int parse_compute(const char *text, void *ret, struct dv_err *err)
{
    return dv_units_parse_compute(text, ret, err);
}

/* Durations without a unit are seconds elsewhere; of a latency nobody means that. */
static int parse_latency(const char *text, void *ret, struct dv_err *err)
{
    int r = dv_units_parse_duration(text, ret, err);
    if (!r && !*(uint64_t *)ret)
        r = dv_err_set(err, -ERANGE, "a latency of 0 cannot be had");
    if (!r && is_digit(text[strlen(text) - 1]))
        r = dv_err_set(err, -EINVAL, "'%.40s' has no unit; write for example 30ms", text);
    return r;
}

static int parse_price(const char *text, void *ret, struct dv_err *err)
{
    return dv_plan_file_price(text, ret, err);
}

static int parse_headroom(const char *text, void *ret, struct dv_err *err)
{
    return dv_plan_file_headroom(text, ret, err);
}

static int parse_model(const char *text, void *ret, struct dv_err *err)
{
    const struct dv_gpu_model **model = ret;
    *model = dv_gpu_model_find(text, err);
    return *model ? 0 : -EINVAL;
}

static int parse_tier(const char *text, void *ret, struct dv_err *err)
{
    enum dv_tier tier;
    int r = dv_claim_tier_parse(text, &tier, err);
    if (!r)
        *(enum dv_tier *)ret = tier;
    return r;
}

static int parse_trust(const char *text, void *ret, struct dv_err *err)
{
    return dv_tenant_trust_parse(text, ret, err);
}

static int parse_topology(const char *text, void *ret, struct dv_err *err)
{
    return dv_fleet_topology_parse(text, ret, err);
}

static int parse_wall(const char *text, void *ret, struct dv_err *err)
{
    static const char *const names[] = {"none", "cooperative", "driver", "hardware"};
    for (uint32_t i = 0; i < DV_ARRAY_SIZE(names); i++)
        if (!strcmp(text, names[i])) {
            *(enum dv_wall *)ret = (enum dv_wall)i;
            return 0;
        }
    const char *near = dv_str_nearest(text, names, DV_ARRAY_SIZE(names));
    return dv_err_set(err, -EINVAL,
                      "no wall '%.40s'%s%s%s; there are hardware, driver, cooperative, none", text,
                      near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int read_count(struct reader *in, const struct dv_yaml_node *node, const char *key,
                      uint32_t max, uint32_t *ret)
{
    return node ? dv_yaml_integer(in->yaml, node, key, 1, max, ret, in->err) : 0;
}

static int read_flag(struct reader *in, const struct dv_yaml_node *node, const char *key, bool *ret)
{
    return node ? dv_yaml_bool(in->yaml, node, key, ret, in->err) : 0;
}

/* ---- gpus ---- */

enum { G_MODEL, G_COUNT, G_PRICE, G_PER_NODE, G_REPLICAS, G_MEMORY, G_KEYS };
static const char *const group_keys[] = {"model",    "count",    "price_per_hour",
                                         "per_node", "replicas", "memory"};

static void set_defaults(struct dv_fleet_group *g)
{
    if (!g->memory_bytes)
        g->memory_bytes = dv_gpu_model_usable(g->model);
    if (!g->per_node)
        g->per_node = PER_NODE;
    g->open = !g->count;
    if (g->open)
        g->count = DV_FLEET_CARDS_MAX;
}

static int read_group(struct reader *in, const struct dv_yaml_node *item)
{
    static const struct dv_yaml_map map = {"an entry of gpus", group_keys, G_KEYS};
    const struct dv_yaml_node *got[G_KEYS];
    struct dv_fleet_group g = {.count = 0};
    int r = dv_yaml_map_read(in->yaml, item, &map, got, in->err);
    if (!r && !got[G_MODEL])
        r = dv_yaml_bad(in->yaml, item, in->err, "model is missing, such as A100-80GB");
    r = r ? r : read_value(in, got[G_MODEL], "model", parse_model, &g.model);
    r = r ? r : read_count(in, got[G_COUNT], "count", DV_FLEET_CARDS_MAX, &g.count);
    r = r ? r : read_value(in, got[G_PRICE], "price_per_hour", parse_price, &g.micros_per_hour);
    r = r ? r : read_count(in, got[G_PER_NODE], "per_node", DV_FLEET_PER_NODE_MAX, &g.per_node);
    r = r ? r : read_count(in, got[G_REPLICAS], "replicas", DV_FLEET_SHARE_MAX, &g.slices_max);
    r = r ? r : read_value(in, got[G_MEMORY], "memory", parse_bytes, &g.memory_bytes);
    if (r < 0)
        return r;
    g.priced = got[G_PRICE] != NULL;
    set_defaults(&g);
    in->fleet->groups[in->fleet->n_groups++] = g;
    return 0;
}

/* ---- workloads ---- */

enum {
    W_NAME,
    W_COUNT,
    W_GPUS,
    W_MEMORY,
    W_COMPUTE,
    W_UTILIZATION,
    W_TRAINING,
    W_INTERACTIVE,
    W_INFERENCE,
    W_ISOLATION,
    W_TRUST,
    W_TIER,
    W_P99,
    W_TOPOLOGY,
    W_MODES,
    W_MODELS,
    W_CONTEXT,
    W_PROCESSES,
    W_HEADROOM,
    W_KEYS
};
static const char *const workload_keys[] = {
    "name",        "count",     "gpus",      "memory",    "compute", "utilization", "training",
    "interactive", "inference", "isolation", "trust",     "tier",    "p99",         "topology",
    "modes",       "models",    "context",   "processes", "headroom"};
_Static_assert(DV_ARRAY_SIZE(workload_keys) == W_KEYS, "a name for each");

static int read_name(struct reader *in, const struct dv_yaml_node *item,
                     const struct dv_yaml_node *node, char *ret)
{
    const char *text = NULL;
    struct dv_err why = {{0}};
    if (!node)
        return dv_yaml_bad(in->yaml, item, in->err, "name is missing");
    int r = dv_yaml_text(in->yaml, node, "name", &text, in->err);
    if (!r && dv_tenant_check_name(text, &why) < 0)
        r = dv_yaml_bad(in->yaml, node, in->err, "name: %s", why.msg);
    return r ? r : dv_str_copy(ret, DV_FLEET_NAME, text);
}

/* A text, or a list of texts. */
static int read_texts(struct reader *in, const struct dv_yaml_node *node, const char *key,
                      uint32_t max, int (*take)(const char *, void *, struct dv_err *), void *ret)
{
    if (!node)
        return 0;
    if (node->kind != DV_YAML_LIST)
        return read_value(in, node, key, take, ret);
    int r = dv_yaml_list(in->yaml, node, key, max, in->err);
    if (!r && !node->n)
        r = dv_yaml_bad(in->yaml, node, in->err, "%s: an empty list; leave the key out", key);
    for (uint32_t i = 0; !r && i < node->n; i++)
        r = read_value(in, node->items[i], key, take, ret);
    return r;
}

static int take_mode(const char *text, void *ret, struct dv_err *err)
{
    enum dv_fleet_mode mode;
    int r = dv_fleet_mode_parse(text, &mode, err);
    if (!r)
        *(uint32_t *)ret |= DV_FLEET_BIT(mode);
    return r;
}

static int take_model(const char *text, void *ret, struct dv_err *err)
{
    struct dv_fleet_workload *w = ret;
    return parse_model(text, &w->models[w->n_models++], err);
}

static int read_context(struct reader *in, const struct dv_yaml_node *node,
                        struct dv_fleet_workload *w)
{
    w->context_said = node != NULL;
    if (!node || dv_yaml_is(node, "included"))
        return 0;
    return read_value(in, node, "context", parse_bytes, &w->context_bytes);
}

static int read_sizes(struct reader *in, const struct dv_yaml_node *const *got,
                      struct dv_fleet_workload *w)
{
    int r = read_count(in, got[W_COUNT], "count", DV_FLEET_REPLICAS_MAX, &w->count);
    r = r ? r : read_count(in, got[W_GPUS], "gpus", DV_FLEET_GPUS_MAX, &w->gpus);
    r = r ? r : read_count(in, got[W_PROCESSES], "processes", 256, &w->processes);
    r = r ? r : read_value(in, got[W_MEMORY], "memory", parse_bytes, &w->memory_bytes);
    r = r ? r : read_value(in, got[W_COMPUTE], "compute", parse_compute, &w->compute);
    r = r ? r : read_value(in, got[W_UTILIZATION], "utilization", parse_compute, &w->busy);
    r = r ? r : read_context(in, got[W_CONTEXT], w);
    w->has_headroom = got[W_HEADROOM] != NULL;
    return r ? r : read_value(in, got[W_HEADROOM], "headroom", parse_headroom, &w->headroom);
}

static int read_kind(struct reader *in, const struct dv_yaml_node *const *got,
                     struct dv_fleet_workload *w)
{
    int r = read_flag(in, got[W_TRAINING], "training", &w->training);
    r = r ? r : read_flag(in, got[W_INTERACTIVE], "interactive", &w->interactive);
    r = r ? r : read_flag(in, got[W_INFERENCE], "inference", &w->inference);
    r = r ? r : read_value(in, got[W_ISOLATION], "isolation", parse_wall, &w->isolation);
    r = r ? r : read_value(in, got[W_TRUST], "trust", parse_trust, &w->trust);
    w->has_tier = got[W_TIER] != NULL;
    r = r ? r : read_value(in, got[W_TIER], "tier", parse_tier, &w->tier);
    r = r ? r : read_value(in, got[W_P99], "p99", parse_latency, &w->p99_ns);
    r = r ? r : read_value(in, got[W_TOPOLOGY], "topology", parse_topology, &w->topology);
    r = r ? r : read_texts(in, got[W_MODES], "modes", DV_FLEET_MODES, take_mode, &w->modes);
    return r ? r : read_texts(in, got[W_MODELS], "models", DV_FLEET_MODELS_MAX, take_model, w);
}

static int read_workload(struct reader *in, const struct dv_yaml_node *item)
{
    static const struct dv_yaml_map map = {"a workload", workload_keys, W_KEYS};
    const struct dv_yaml_node *got[W_KEYS];
    struct dv_fleet_workload w = {.count = 1, .processes = 1};
    int r = dv_yaml_map_read(in->yaml, item, &map, got, in->err);
    r = r ? r : read_name(in, item, got[W_NAME], w.name);
    r = r ? r : read_sizes(in, got, &w);
    r = r ? r : read_kind(in, got, &w);
    if (!r)
        in->fleet->workloads[in->fleet->n_workloads++] = w;
    return r;
}

/* ---- the file ---- */

enum { R_API, R_KIND, R_CURRENCY, R_HEADROOM, R_GPUS, R_WORKLOADS, R_KEYS };
static const char *const root_keys[] = {"apiVersion", "kind", "currency",
                                        "headroom",   "gpus", "workloads"};

static int check_head(struct reader *in, const struct dv_yaml_node *const *got)
{
    if (got[R_API] && !dv_yaml_is(got[R_API], "divvy/v1"))
        return dv_yaml_bad(in->yaml, got[R_API], in->err, "apiVersion: divvy/v1 is wanted");
    if (got[R_KIND] && !dv_yaml_is(got[R_KIND], "Fleet"))
        return dv_yaml_bad(in->yaml, got[R_KIND], in->err, "kind: Fleet is wanted");
    return 0;
}

static int parse_currency(const char *text, void *ret, struct dv_err *err)
{
    for (int i = 0; i < 3; i++)
        if (text[i] < 'A' || text[i] > 'Z')
            return dv_err_set(err, -EINVAL, "'%.20s' is not a currency's code, such as USD", text);
    if (text[3])
        return dv_err_set(err, -EINVAL, "'%.20s' is not a currency's code, such as USD", text);
    return dv_str_copy(ret, 4, text);
}

static int copy_workloads(const struct dv_fleet *from, struct dv_fleet *to)
{
    to->workloads = calloc(from->n_workloads, sizeof *to->workloads);
    if (!to->workloads)
        return -ENOMEM;
    memcpy(to->workloads, from->workloads, from->n_workloads * sizeof *to->workloads);
    to->n_workloads = from->n_workloads;
    to->headroom = from->headroom;
    memcpy(to->currency, from->currency, sizeof to->currency);
    return 0;
}

static int read_list(struct reader *in, const struct dv_yaml_node *root,
                     const struct dv_yaml_node *list, const char *key, uint32_t max,
                     int (*read_item)(struct reader *, const struct dv_yaml_node *))
{
    int r = dv_yaml_list_needed(in->yaml, root, list, key, max, in->err);
    for (uint32_t i = 0; !r && i < list->n; i++)
        r = read_item(in, list->items[i]);
    return r;
}

/* Where the entry that dv_fleet_check() means is, for a message. */
static const struct dv_yaml_node *entry_at(const struct dv_yaml_node *root,
                                           const struct dv_yaml_node *const *got, uint32_t entry)
{
    if (entry == DV_FLEET_WHOLE)
        return root;
    return entry < got[R_GPUS]->n ? got[R_GPUS]->items[entry]
                                  : got[R_WORKLOADS]->items[entry - got[R_GPUS]->n];
}

static int read_fleet(struct reader *in, const struct dv_yaml_node *root,
                      const struct dv_fleet *workloads)
{
    static const struct dv_yaml_map map = {"a fleet", root_keys, R_KEYS};
    const struct dv_yaml_node *got[R_KEYS];
    struct dv_err why = {{0}};
    uint32_t entry = DV_FLEET_WHOLE;
    int r = dv_yaml_map_read(in->yaml, root, &map, got, in->err);
    r = r ? r : check_head(in, got);
    r = r ? r : read_value(in, got[R_CURRENCY], "currency", parse_currency, in->fleet->currency);
    r = r ? r : read_value(in, got[R_HEADROOM], "headroom", parse_headroom, &in->fleet->headroom);
    r = r ? r : read_list(in, root, got[R_GPUS], "gpus", DV_FLEET_GROUPS_MAX, read_group);
    if (r < 0)
        return r;
    if (workloads && !got[R_WORKLOADS])
        return copy_workloads(workloads, in->fleet);
    in->fleet->workloads = calloc(DV_FLEET_WORKLOADS_MAX, sizeof *in->fleet->workloads);
    if (!in->fleet->workloads)
        return -ENOMEM;
    r = read_list(in, root, got[R_WORKLOADS], "workloads", DV_FLEET_WORKLOADS_MAX, read_workload);
    if (!r && dv_fleet_check(in->fleet, &entry, &why) < 0)
        r = dv_yaml_bad(in->yaml, entry_at(root, got, entry), in->err, "%s", why.msg);
    return r;
}

int dv_plan_file_read(const char *name, const char *text, size_t len,
                      const struct dv_fleet *workloads, struct dv_fleet **ret, struct dv_err *err)
{
    dv_cleanup(dv_yaml_freep) struct dv_yaml *yaml = NULL;
    dv_cleanup(dv_fleet_freep) struct dv_fleet *fleet = NULL;
    struct reader in = {.err = err};
    if (len > DV_PLAN_FILE_MAX)
        return dv_err_set(err, -E2BIG, "%.120s: %zu bytes; a fleet's file has at most %u", name,
                          len, DV_PLAN_FILE_MAX);
    int r = dv_yaml_parse(name, text, len, &yaml, err);
    if (r < 0)
        return r;
    if (yaml->n_roots != 1)
        return dv_err_set(err, -EINVAL, "%.120s: %s, where one fleet is wanted", name,
                          yaml->n_roots ? "several documents" : "an empty file");
    fleet = dv_fleet_new();
    if (!fleet)
        return -ENOMEM;
    in.yaml = yaml;
    in.fleet = fleet;
    r = read_fleet(&in, yaml->roots[0], workloads);
    if (!r && workloads)
        r = dv_fleet_check(fleet, NULL, err);
    if (r < 0)
        return r;
    *ret = fleet;
    fleet = NULL;
    return 0;
}

/* ---- in short ---- */

/* "H200:8@4.50"; changes the text. */
static int read_short(char *text, struct dv_fleet *fleet, struct dv_err *err)
{
    struct dv_fleet_group g = {.count = 0};
    char *price = strchr(text, '@'), *count = NULL;
    int64_t n = 0;
    if (price)
        *price++ = 0;
    count = strchr(text, ':');
    if (count)
        *count++ = 0;
    if (fleet->n_groups == DV_FLEET_GROUPS_MAX)
        return dv_err_set(err, -EINVAL, "at most %u models", DV_FLEET_GROUPS_MAX);
    int r = parse_model(text, &g.model, err);
    if (!r && count)
        r = dv_units_parse_integer(count, "the number of cards", 1, DV_FLEET_CARDS_MAX, &n, err);
    if (!r && price)
        r = dv_plan_file_price(price, &g.micros_per_hour, err);
    if (r < 0)
        return r;
    g.count = (uint32_t)n;
    g.priced = price != NULL;
    set_defaults(&g);
    fleet->groups[fleet->n_groups++] = g;
    return 0;
}

/* The next of words between commas; NULL past the last. */
static char *next_word(char **rest)
{
    char *word = *rest, *comma = word ? strchr(word, ',') : NULL;
    if (comma)
        *comma++ = 0;
    *rest = comma;
    return word;
}

int dv_plan_file_gpus(const char *text, const struct dv_fleet *workloads, struct dv_fleet **ret,
                      struct dv_err *err)
{
    dv_cleanup(dv_fleet_freep) struct dv_fleet *fleet = dv_fleet_new();
    dv_cleanup(dv_str_done) struct dv_str copy = {0};
    dv_str_add(&copy, text);
    if (!fleet || copy.failed)
        return -ENOMEM;
    char *rest = copy.data;
    int r = copy_workloads(workloads, fleet);
    char *word = r ? NULL : next_word(&rest);
    for (; !r && word; word = next_word(&rest))
        r = read_short(word, fleet, err);
    r = r ? r : dv_fleet_check(fleet, NULL, err);
    if (r < 0)
        return r;
    *ret = fleet;
    fleet = NULL;
    return 0;
}
