/* SPDX-License-Identifier: Apache-2.0 */
#include "fleetfile/queue_file.h"

#include "base/str.h"
#include "base/units.h"
#include "model/gpu_model.h"
#include "yaml/yaml_tree.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_MAX DV_QUEUE_JOBS_MAX
#define GPUS_MAX UINT64_C(100000000)
#define PRIORITY_MAX 1000000

struct reader {
    const struct dv_yaml *yaml;
    struct dv_queue_scenario *s;
    struct dv_err *err;
    uint64_t instances; /* of all workloads so far */
};

typedef const struct dv_yaml_node *node_t;

/* ---- values --------------------------------------------------------------------------------- */

static int read_duration(struct reader *in, const struct dv_yaml_node *node, const char *key,
                         uint64_t *ret)
{
    const char *text;
    struct dv_err why = {{0}};
    int r = node ? dv_yaml_text(in->yaml, node, key, &text, in->err) : 0;
    if (!r && node && dv_units_parse_duration(text, ret, &why) < 0)
        r = dv_yaml_bad(in->yaml, node, in->err, "%s: %s", key, why.msg);
    return r;
}

/* "24h", or "off", which is DV_NEVER. */
static int read_duration_or_off(struct reader *in, const struct dv_yaml_node *node, const char *key,
                                uint64_t *ret)
{
    if (!node || !dv_yaml_is(node, "off"))
        return read_duration(in, node, key, ret);
    *ret = DV_NEVER;
    return 0;
}

/* A count of GPUs, "16" or "2.5", in 1/7000, rounded to the nearest. */
static bool scan_gpus(const char *text, uint64_t *ret)
{
    uint64_t whole = 0, part = 0, scale = 1;
    const char *p = text;
    if (!isdigit((unsigned char)*p))
        return false;
    for (; isdigit((unsigned char)*p) && whole <= GPUS_MAX; p++)
        whole = whole * 10 + (uint64_t)(*p - '0');
    if (*p == '.') {
        p++;
        if (!isdigit((unsigned char)*p))
            return false;
        for (; isdigit((unsigned char)*p) && scale < 1000000; p++) {
            part = part * 10 + (uint64_t)(*p - '0');
            scale *= 10;
        }
    }
    if (*p || whole > GPUS_MAX)
        return false;
    *ret = whole * DV_COMPUTE_FULL + (part * DV_COMPUTE_FULL + scale / 2) / scale;
    return true;
}

static int read_gpus(struct reader *in, const struct dv_yaml_node *node, const char *key,
                     uint64_t *ret)
{
    const char *text;
    int r = node ? dv_yaml_text(in->yaml, node, key, &text, in->err) : 0;
    if (!r && node && !scan_gpus(text, ret))
        r = dv_yaml_bad(in->yaml, node, in->err,
                        "%s: \"%.40s\" is not a number of GPUs; write 16 or 2.5", key, text);
    return r;
}

static int read_integer(struct reader *in, const struct dv_yaml_node *node, const char *key,
                        uint32_t min, uint32_t max, uint32_t *ret)
{
    return node ? dv_yaml_integer(in->yaml, node, key, min, max, ret, in->err) : 0;
}

static int read_priority(struct reader *in, const struct dv_yaml_node *node, int32_t *ret)
{
    const char *text;
    int64_t v = 0;
    struct dv_err why = {{0}};
    int r = node ? dv_yaml_text(in->yaml, node, "priority", &text, in->err) : 0;
    if (!r && node &&
        dv_units_parse_integer(text, "priority", -PRIORITY_MAX, PRIORITY_MAX, &v, &why) < 0)
        r = dv_yaml_bad(in->yaml, node, in->err, "%s", why.msg);
    if (!r && node)
        *ret = (int32_t)v;
    return r;
}

static int read_bool(struct reader *in, const struct dv_yaml_node *node, const char *key, bool *ret)
{
    return node ? dv_yaml_bool(in->yaml, node, key, ret, in->err) : 0;
}

/* 1 to size - 1 bytes. */
static int read_name(struct reader *in, const struct dv_yaml_node *node, const char *key, char *ret,
                     size_t size)
{
    const char *text;
    int r = dv_yaml_text(in->yaml, node, key, &text, in->err);
    if (!r && (!*text || dv_str_copy(ret, size, text) < 0))
        r = dv_yaml_bad(in->yaml, node, in->err, "%s: 1 to %zu letters", key, size - 1);
    return r;
}

static int missing(struct reader *in, const struct dv_yaml_node *at, const char *what,
                   const char *example)
{
    return dv_yaml_bad(in->yaml, at, in->err, "%s is missing, as in %s", what, example);
}

/* ---- settings ------------------------------------------------------------------------------- */

static int read_pull(struct reader *in, const struct dv_yaml_node *node, uint32_t *ret)
{
    const char *text;
    uint64_t units = 0;
    int r = node ? dv_yaml_text(in->yaml, node, "pull", &text, in->err) : 0;
    if (r || !node)
        return r;
    if (!scan_gpus(text, &units) || units > (uint64_t)DV_FAIR_PULL_MAX / 1000 * DV_COMPUTE_FULL)
        return dv_yaml_bad(in->yaml, node, in->err, "pull: a number from 0 to %u",
                           DV_FAIR_PULL_MAX / 1000);
    *ret = (uint32_t)((units * 1000 + DV_COMPUTE_FULL / 2) / DV_COMPUTE_FULL);
    return 0;
}

static int read_settings(struct reader *in, const struct dv_yaml_node *node)
{
    static const char *const names[] = {"half_life",   "pull",           "share_period", "patience",
                                        "restart",     "backfill_depth", "preempt",      "reclaim",
                                        "consolidate", "grace",          "until"};
    static const struct dv_yaml_map map = {"settings", names, DV_ARRAY_SIZE(names)};
    const struct dv_yaml_node *got[DV_ARRAY_SIZE(names)];
    struct dv_fair_config *c = &in->s->config;
    bool preempt = true, reclaim = true, consolidate = true;
    if (!node)
        return 0;
    int r = dv_yaml_map_read(in->yaml, node, &map, got, in->err);
    r = r ? r : read_duration(in, got[0], "half_life", &c->half_life_ns);
    r = r ? r : read_pull(in, got[1], &c->pull_milli);
    r = r ? r : read_duration(in, got[2], "share_period", &c->share_period_ns);
    r = r ? r : read_duration_or_off(in, got[3], "patience", &c->patience_ns);
    r = r ? r : read_duration(in, got[4], "restart", &c->restart_ns);
    r = r ? r : read_integer(in, got[5], "backfill_depth", 0, 1000000, &c->depth);
    r = r ? r : read_bool(in, got[6], "preempt", &preempt);
    r = r ? r : read_bool(in, got[7], "reclaim", &reclaim);
    r = r ? r : read_bool(in, got[8], "consolidate", &consolidate);
    r = r ? r : read_duration(in, got[9], "grace", &in->s->grace_ns);
    r = r ? r : read_duration(in, got[10], "until", &in->s->until_ns);
    c->no_preempt = !preempt;
    c->no_reclaim = !reclaim;
    c->no_consolidate = !consolidate;
    return r;
}

/* ---- nodes ---------------------------------------------------------------------------------- */

/* A model of the catalogue by its own name, so that aliases are one model. */
static int read_model(struct reader *in, const struct dv_yaml_node *node, const char *key,
                      char ret[DV_FAIR_MODEL_SIZE])
{
    const char *text;
    struct dv_err why = {{0}};
    int r = dv_yaml_text(in->yaml, node, key, &text, in->err);
    if (r < 0)
        return r;
    const struct dv_gpu_model *m = dv_gpu_model_find(text, &why);
    if (!m)
        return dv_yaml_bad(in->yaml, node, in->err, "%s: %s", key, why.msg);
    dv_str_copy(ret, DV_FAIR_MODEL_SIZE, m->name);
    return 0;
}

static int read_nodes(struct reader *in, const struct dv_yaml_node *node)
{
    static const char *const names[] = {"count", "model", "gpus", "rack", "rack_size"};
    static const struct dv_yaml_map map = {"nodes", names, DV_ARRAY_SIZE(names)};
    const struct dv_yaml_node *got[DV_ARRAY_SIZE(names)];
    int r = dv_yaml_map_read(in->yaml, node, &map, got, in->err);
    if (!r && !got[1])
        r = missing(in, node, "model", "{count: 4, model: A100-80GB, gpus: 8}");
    struct dv_queue_nodes *n = r ? NULL : dv_queue_scenario_add_nodes(in->s);
    if (r || !n)
        return r ? r : -ENOMEM;
    n->count = 1;
    n->gpus = 8;
    r = read_integer(in, got[0], "count", 1, DV_FAIR_NODES_MAX, &n->count);
    r = r ? r : read_model(in, got[1], "model", n->model);
    r = r ? r : read_integer(in, got[2], "gpus", 1, DV_FAIR_NODE_GPUS_MAX, &n->gpus);
    r = r ? r : read_integer(in, got[3], "rack", 0, DV_FAIR_CLASSES_MAX - 1, &n->rack);
    r = r ? r : read_integer(in, got[4], "rack_size", 1, DV_FAIR_NODES_MAX, &n->rack_size);
    if (!r && n->rack_size && n->rack + (n->count - 1) / n->rack_size >= DV_FAIR_CLASSES_MAX)
        r = dv_yaml_bad(in->yaml, node, in->err, "nodes: racks beyond %u", DV_FAIR_CLASSES_MAX - 1);
    return r;
}

/* ---- queues --------------------------------------------------------------------------------- */

static int find_queue(const struct dv_queue_scenario *s, const char *name)
{
    for (uint32_t i = 0; i < s->n_queues; i++)
        if (!strcmp(s->queues[i].name, name))
            return (int)i;
    return -1;
}

static int read_queue(struct reader *in, const struct dv_yaml_node *node, uint32_t parent,
                      uint32_t depth)
{
    static const char *const names[] = {"name",     "guarantee",   "limit", "weight",
                                        "priority", "min_runtime", "queues"};
    static const struct dv_yaml_map map = {"a queue", names, DV_ARRAY_SIZE(names)};
    const struct dv_yaml_node *got[DV_ARRAY_SIZE(names)];
    char name[DV_QUEUE_NAME];
    int r = dv_yaml_map_read(in->yaml, node, &map, got, in->err);
    if (!r && !got[0])
        r = missing(in, node, "name", "{name: research, guarantee: 16}");
    r = r ? r : read_name(in, got[0], "name", name, sizeof name);
    if (!r && find_queue(in->s, name) >= 0)
        r = dv_yaml_bad(in->yaml, got[0], in->err, "name: there is a queue \"%s\" already", name);
    if (!r && depth >= DV_FAIR_DEPTH_MAX)
        r = dv_yaml_bad(in->yaml, node, in->err, "queues: nested more than %u deep",
                        DV_FAIR_DEPTH_MAX - 1);
    struct dv_queue_def *q = r ? NULL : dv_queue_scenario_add_queue(in->s, name);
    if (r || !q)
        return r ? r : -ENOMEM;
    uint32_t self = in->s->n_queues;
    q->conf.parent = parent;
    r = read_gpus(in, got[1], "guarantee", &q->conf.guarantee);
    r = r ? r : read_gpus(in, got[2], "limit", &q->conf.limit);
    r = r ? r : read_integer(in, got[3], "weight", 0, DV_FAIR_QUEUE_WEIGHT_MAX, &q->conf.weight);
    r = r ? r : read_priority(in, got[4], &q->conf.priority);
    r = r ? r : read_duration(in, got[5], "min_runtime", &q->conf.min_runtime_ns);
    if (!r && q->conf.guarantee > q->conf.limit)
        r = dv_yaml_bad(in->yaml, got[2], in->err, "limit: below the guarantee");
    r = r || !got[6] ? r : dv_yaml_list(in->yaml, got[6], "queues", DV_FAIR_QUEUES_MAX, in->err);
    for (uint32_t i = 0; !r && got[6] && i < got[6]->n; i++)
        r = read_queue(in, got[6]->items[i], self, depth + 1);
    return r;
}

/* ---- workloads ------------------------------------------------------------------------------ */

static int read_queue_name(struct reader *in, const struct dv_yaml_node *node, uint32_t *ret)
{
    const char *text;
    int r = dv_yaml_text(in->yaml, node, "queue", &text, in->err);
    int i = r ? -1 : find_queue(in->s, text);
    if (r || i >= 0) {
        *ret = (uint32_t)i;
        return r;
    }
    const char **names = calloc(in->s->n_queues + 1, sizeof *names);
    if (!names)
        return -ENOMEM;
    for (uint32_t k = 0; k < in->s->n_queues; k++)
        names[k] = in->s->queues[k].name;
    const char *near = dv_str_nearest(text, names, in->s->n_queues);
    r = dv_yaml_bad(in->yaml, node, in->err, "queue: there is no \"%.60s\"%s%s%s", text,
                    near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    free(names);
    return r;
}

static bool is_leaf(const struct dv_queue_scenario *s, uint32_t queue)
{
    for (uint32_t i = 0; i < s->n_queues; i++)
        if (s->queues[i].conf.parent == queue + 1)
            return false;
    return true;
}

/* 4, or {min: 2, max: 8}. */
static int read_members(struct reader *in, const struct dv_yaml_node *node,
                        struct dv_fair_spec *spec)
{
    static const char *const names[] = {"min", "max"};
    static const struct dv_yaml_map map = {"members", names, DV_ARRAY_SIZE(names)};
    const struct dv_yaml_node *got[DV_ARRAY_SIZE(names)];
    if (!node)
        return 0;
    if (node->kind != DV_YAML_MAP) {
        int r = read_integer(in, node, "members", 1, DV_FAIR_MEMBERS_MAX, &spec->min);
        spec->max = spec->min;
        return r;
    }
    int r = dv_yaml_map_read(in->yaml, node, &map, got, in->err);
    if (!r && !got[1])
        r = missing(in, node, "max", "members: {min: 2, max: 8}");
    r = r ? r : read_integer(in, got[0], "min", 1, DV_FAIR_MEMBERS_MAX, &spec->min);
    r = r ? r : read_integer(in, got[1], "max", 1, DV_FAIR_MEMBERS_MAX, &spec->max);
    if (!r && spec->min > spec->max)
        r = dv_yaml_bad(in->yaml, got[1], in->err, "max: below min");
    return r;
}

static int read_profile(struct reader *in, const struct dv_yaml_node *node,
                        struct dv_fair_request *request)
{
    const char *text;
    struct dv_mig_name parsed;
    struct dv_err why = {{0}};
    int r = dv_yaml_text(in->yaml, node, "profile", &text, in->err);
    if (!r && (dv_mig_name_parse(text, &parsed, &why) < 0 ||
               dv_str_copy(request->profile, sizeof request->profile, text) < 0))
        r = dv_yaml_bad(in->yaml, node, in->err, "profile: %s", why.msg);
    return r;
}

/* One of gpus, fraction, profile. */
static int read_size(struct reader *in, const struct dv_yaml_node *at, node_t gpus, node_t fraction,
                     node_t profile, struct dv_fair_request *request)
{
    const char *text;
    struct dv_err why = {{0}};
    if ((gpus != NULL) + (fraction != NULL) + (profile != NULL) > 1)
        return dv_yaml_bad(in->yaml, at, in->err,
                           "a member asks for one of gpus, fraction and profile");
    request->kind = fraction ? DV_FAIR_FRACTION : profile ? DV_FAIR_MIG : DV_FAIR_WHOLE;
    if (profile)
        return read_profile(in, profile, request);
    if (!fraction) {
        request->gpus = 1;
        return read_integer(in, gpus, "gpus", 1, DV_FAIR_NODE_GPUS_MAX, &request->gpus);
    }
    int r = dv_yaml_text(in->yaml, fraction, "fraction", &text, in->err);
    if (!r && dv_units_parse_compute(text, &request->compute, &why) < 0)
        r = dv_yaml_bad(in->yaml, fraction, in->err, "fraction: %s", why.msg);
    return r;
}

static int read_models(struct reader *in, const struct dv_yaml_node *node, uint64_t *ret)
{
    int r = node ? dv_yaml_list(in->yaml, node, "models", DV_FAIR_MODELS_MAX, in->err) : 0;
    for (uint32_t i = 0; !r && node && i < node->n; i++) {
        char name[DV_FAIR_MODEL_SIZE];
        uint32_t bit;
        r = read_model(in, node->items[i], "models", name);
        if (r < 0)
            return r;
        r = dv_queue_scenario_model(in->s, name, &bit);
        if (r == -E2BIG)
            return dv_yaml_bad(in->yaml, node, in->err, "models: more than %u", DV_FAIR_MODELS_MAX);
        if (!r)
            *ret |= UINT64_C(1) << bit;
    }
    return r;
}

enum key {
    NAME,
    QUEUE,
    COUNT,
    EVERY,
    ARRIVAL,
    DURATION,
    ESTIMATE,
    PRIORITY,
    PREEMPTIBLE,
    MOVABLE,
    GPUS,
    FRACTION,
    PROFILE,
    MEMBERS,
    ONE_RACK,
    MODELS,
    KEYS
};
static const char *const keys[KEYS] = {
    "name",        "queue",   "count", "every",    "arrival", "duration", "estimate", "priority",
    "preemptible", "movable", "gpus",  "fraction", "profile", "members",  "one_rack", "models"};

static int read_times(struct reader *in, node_t node, node_t const *got, struct dv_queue_jobs *j)
{
    int r = read_integer(in, got[COUNT], "count", 1, COUNT_MAX, &j->count);
    r = r ? r : read_duration(in, got[EVERY], "every", &j->every_ns);
    r = r ? r : read_duration(in, got[ARRIVAL], "arrival", &j->arrival_ns);
    r = r ? r : read_duration(in, got[DURATION], "duration", &j->duration_ns);
    r = r ? r : read_duration(in, got[ESTIMATE], "estimate", &j->spec.estimate_ns);
    in->instances += j->count;
    if (!r && in->instances > DV_QUEUE_JOBS_MAX)
        r = dv_yaml_bad(in->yaml, node, in->err, "workloads: more than %u in all",
                        DV_QUEUE_JOBS_MAX);
    return r;
}

static int read_workload(struct reader *in, const struct dv_yaml_node *node)
{
    static const struct dv_yaml_map map = {"a workload", keys, KEYS};
    const struct dv_yaml_node *got[KEYS];
    const char *example = "{name: train, queue: research, gpus: 8, duration: 2h}";
    char name[DV_QUEUE_NAME];
    int r = dv_yaml_map_read(in->yaml, node, &map, got, in->err);
    for (uint32_t i = 0; !r && i < KEYS; i++)
        if ((i == NAME || i == QUEUE || i == DURATION) && !got[i])
            r = missing(in, node, keys[i], example);
    r = r ? r : read_name(in, got[NAME], "name", name, sizeof name);
    struct dv_queue_jobs *j = r ? NULL : dv_queue_scenario_add_jobs(in->s, name);
    if (r || !j)
        return r ? r : -ENOMEM;
    j->line = node->line;
    r = read_queue_name(in, got[QUEUE], &j->spec.queue);
    if (!r && !is_leaf(in->s, j->spec.queue))
        r = dv_yaml_bad(in->yaml, got[QUEUE], in->err,
                        "queue: \"%s\" has queues below it; workloads go into those",
                        in->s->queues[j->spec.queue].name);
    r = r ? r : read_times(in, node, got, j);
    r = r ? r : read_priority(in, got[PRIORITY], &j->spec.priority);
    r = r ? r : read_bool(in, got[PREEMPTIBLE], "preemptible", &j->spec.preemptible);
    r = r ? r : read_bool(in, got[MOVABLE], "movable", &j->spec.movable);
    r = r ? r : read_bool(in, got[ONE_RACK], "one_rack", &j->spec.request.one_rack);
    r = r ? r : read_members(in, got[MEMBERS], &j->spec);
    r = r ? r : read_size(in, node, got[GPUS], got[FRACTION], got[PROFILE], &j->spec.request);
    return r ? r : read_models(in, got[MODELS], &j->spec.request.models);
}

/* ---- the file ------------------------------------------------------------------------------- */

static int check_head(struct reader *in, const struct dv_yaml_node *root, node_t api, node_t kind)
{
    if (!api || !kind)
        return missing(in, root, api ? "kind" : "apiVersion",
                       api ? "kind: QueueScenario" : "apiVersion: divvy/v1");
    if (!dv_yaml_is(api, "divvy/v1"))
        return dv_yaml_bad(in->yaml, api, in->err, "apiVersion: this divvy reads divvy/v1");
    if (!dv_yaml_is(kind, "QueueScenario"))
        return dv_yaml_bad(in->yaml, kind, in->err, "kind: QueueScenario is wanted here");
    return 0;
}

static int read_queue_item(struct reader *in, const struct dv_yaml_node *node)
{
    return read_queue(in, node, 0, 1);
}

static int read_items(struct reader *in, const struct dv_yaml_node *root,
                      const struct dv_yaml_node *list, const char *key, uint32_t max,
                      int (*read_item)(struct reader *, const struct dv_yaml_node *))
{
    int r = dv_yaml_list_needed(in->yaml, root, list, key, max, in->err);
    for (uint32_t i = 0; !r && i < list->n; i++)
        r = read_item(in, list->items[i]);
    return r;
}

static int read_scenario(struct reader *in, const struct dv_yaml_node *root)
{
    static const char *const names[] = {"apiVersion", "kind",   "name",     "settings",
                                        "nodes",      "queues", "workloads"};
    static const struct dv_yaml_map map = {"a queue scenario", names, DV_ARRAY_SIZE(names)};
    const struct dv_yaml_node *got[DV_ARRAY_SIZE(names)];
    int r = dv_yaml_map_read(in->yaml, root, &map, got, in->err);
    r = r ? r : check_head(in, root, got[0], got[1]);
    r = r || !got[2] ? r : read_name(in, got[2], "name", in->s->name, sizeof in->s->name);
    r = r ? r : read_settings(in, got[3]);
    r = r ? r : read_items(in, root, got[4], "nodes", DV_QUEUE_GROUPS_MAX, read_nodes);
    r = r ? r : read_items(in, root, got[5], "queues", DV_FAIR_QUEUES_MAX, read_queue_item);
    return r ? r : read_items(in, root, got[6], "workloads", DV_QUEUE_JOBS_MAX, read_workload);
}

int dv_queue_file_read(const char *name, const char *text, size_t len,
                       struct dv_queue_scenario **ret, struct dv_err *err)
{
    dv_cleanup(dv_yaml_freep) struct dv_yaml *yaml = NULL;
    dv_cleanup(dv_queue_scenario_freep) struct dv_queue_scenario *s = NULL;
    int r = dv_yaml_parse(name, text, len, &yaml, err);
    if (r < 0)
        return r;
    if (yaml->n_roots != 1)
        return dv_err_set(err, -EINVAL, "%s: one document is wanted, there are %u", name,
                          yaml->n_roots);
    s = dv_queue_scenario_new();
    if (!s)
        return -ENOMEM;
    struct reader in = {.yaml = yaml, .s = s, .err = err};
    r = read_scenario(&in, yaml->roots[0]);
    if (r < 0)
        return r;
    *ret = s;
    s = NULL;
    return 0;
}
