/* SPDX-License-Identifier: Apache-2.0 */
/* Pods, wherever they stand: what their containers ask of GPUs, and what they say beside it. */
#include "internal.h"
#include "model/plugin_config.h"
#include "policy/gpu_request.h"
#include "policy/lint/lint_kube.h"
#include "policy/lint/lint_mig.h"
#include "render/gpu_request_text.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ASKS_MAX 32
#define NODE_GPUS_MAX 16

struct pod {
    const struct dv_yaml_node *object, *meta, *spec;
    const struct dv_gpu_model *model;
    uint32_t allowed;  /* by the namespace */
    char training[80]; /* what looks like training; "": nothing */
    uint32_t n;        /* containers that ask for any */
};

struct container {
    const struct pod *pod;
    const struct dv_yaml_node *node, *resources;
    const char *name;
    struct dv_gpu_ask asks[ASKS_MAX];
    const struct dv_yaml_node *at[ASKS_MAX]; /* the key of each */
    const struct dv_yaml_node *value[ASKS_MAX];
    size_t n;
    int64_t gpus; /* how many devices it gets, in all; for CUDA_VISIBLE_DEVICES */
};

/* ---- resources ------------------------------------------------------------------------------ */

/* A governed slice's name is whatever somebody gave it. */
static bool is_gpu_name(const char *resource)
{
    enum dv_gpu_kind kind = dv_gpu_request_kind(resource);
    return kind != DV_GPU_KIND_NONE && kind != DV_GPU_KIND_SLICE;
}

static void collect(struct container *c, const char *list, bool limits)
{
    const struct dv_yaml_node *map = dv_lintfile_map(c->resources, list);
    for (uint32_t i = 0; map && i < map->n; i++) {
        const struct dv_yaml_node *key = map->items[2 * i], *value = map->items[2 * i + 1];
        size_t k = 0;
        if (!is_gpu_name(key->text) || value->kind != DV_YAML_SCALAR)
            continue;
        while (k < c->n && strcmp(c->asks[k].resource, key->text) != 0)
            k++;
        if (k == ASKS_MAX)
            return;
        if (k == c->n) {
            c->asks[c->n] = (struct dv_gpu_ask){.resource = key->text};
            c->at[c->n] = key;
            c->value[c->n++] = value;
        }
        if (limits)
            c->asks[k].limit = value->text;
        else
            c->asks[k].request = value->text;
    }
}

/* Only GPUs stand under requests, and nothing under limits: then one word is wrong. */
static bool may_rename(const struct container *c)
{
    const struct dv_yaml_node *requests = dv_lintfile_map(c->resources, "requests");
    for (uint32_t i = 0; requests && i < requests->n; i++)
        if (!is_gpu_name(requests->items[2 * i]->text))
            return false;
    return requests && !dv_lintfile_get(c->resources, "limits");
}

/* The line of a request, once more above the first line of limits. */
static void copy_to_limits(struct dv_lintfile *l, struct dv_lint_finding *f,
                           const struct dv_yaml_node *first, const char *resource,
                           const char *amount)
{
    struct dv_lint_at at = dv_lintfile_at(l, first);
    dv_cleanup(dv_str_done) struct dv_str line = {0};
    if (at.pinned || at.line == l->at.line)
        return;
    dv_str_addf(&line, "%s: \"%s\"\n%*s", resource, amount, (int)at.column - 1, "");
    l->failed = l->failed || line.failed;
    dv_lint_edit(l->report, f, at.line, at.column, "", dv_str_get(&line));
}

static void mend_limit(struct dv_lintfile *l, struct dv_lint_finding *f, const struct container *c,
                       size_t i)
{
    const struct dv_yaml_node *limits = dv_lintfile_map(c->resources, "limits");
    const struct dv_yaml_node *requests = dv_lintfile_key(c->resources, "requests");
    bool block = limits && limits->n && limits->items[0]->line > requests->line &&
                 limits->items[0]->column > requests->column;
    /* A block map's first key may also stand above `requests`. */
    const struct dv_yaml_node *head = dv_lintfile_key(c->resources, "limits");
    block = block || (limits && limits->n && head && limits->items[0]->line > head->line);
    if (may_rename(c))
        dv_lintfile_edit_scalar(l, f, requests, "limits");
    else if (block)
        copy_to_limits(l, f, limits->items[0], c->asks[i].resource, c->asks[i].request);
}

static void add_verdict(struct dv_lintfile *l, const struct container *c, size_t i,
                        const struct dv_gpu_verdict *v)
{
    const char *resource = c->asks[i].resource;
    const char *amount = c->asks[i].limit ? c->asks[i].limit : c->asks[i].request;
    dv_cleanup(dv_str_done) struct dv_str words = {0};
    struct dv_lint_finding *f;
    char percent[64];
    if (v->result == DV_GPU_REQUEST_REWRITTEN) {
        snprintf(percent, sizeof percent, DV_GPU_RESOURCE_PERCENT ": %u", v->percent);
        dv_lintfile_add(l, c->at[i], DV_LINT_FRACTION, resource, amount, percent, NULL);
        return;
    }
    if (v->result != DV_GPU_REQUEST_REFUSED)
        return;
    if (v->reason == DV_GPU_REQUEST_NO_LIMIT) {
        f = dv_lintfile_add(l, c->at[i], DV_LINT_NO_LIMIT, resource, amount, NULL, NULL);
        mend_limit(l, f, c, i);
        return;
    }
    dv_gpu_request_text(v, &words);
    l->failed = l->failed || words.failed;
    dv_lintfile_add(l, c->at[i],
                    v->reason == DV_GPU_REQUEST_UNEQUAL ? DV_LINT_UNEQUAL
                    : v->reason == DV_GPU_REQUEST_NOT_ALLOWED ||
                            v->reason == DV_GPU_REQUEST_NO_STRATEGY
                        ? DV_LINT_NOT_ALLOWED
                        : DV_LINT_BAD_QUANTITY,
                    dv_str_get(&words), NULL, NULL, NULL);
}

/* ---- what a name promises ------------------------------------------------------------------- */

/* "nvidia.com/mig-1g.10gb.shared" is of the profile 1g.10gb. */
static bool profile_of(const char *resource, char ret[DV_MIG_NAME])
{
    char name[DV_PLUGIN_NAME];
    size_t len = strlen(resource);
    if (len > 7 && !strcmp(resource + len - 7, ".shared"))
        len -= 7;
    if (len >= sizeof name || strncmp(resource, "nvidia.com/mig-", 15) != 0)
        return false;
    snprintf(name, sizeof name, "%.*s", (int)len, resource);
    if (!dv_plugin_config_profile(name, ret))
        snprintf(ret, DV_MIG_NAME, "%.*s", DV_MIG_NAME - 1, name + 15);
    return true;
}

static void judge_profile(struct dv_lintfile *l, const struct container *c, size_t i)
{
    const char *resource = c->asks[i].resource, *near = NULL;
    const struct dv_gpu_model *model = c->pod->model;
    char profile[DV_MIG_NAME], hint[DV_LINTFILE_HINT];
    if (!profile_of(resource, profile))
        return;
    if (model && !model->mig) {
        dv_lintfile_add(l, c->at[i], DV_LINT_NO_MIG_CARD, resource, model->name, NULL, NULL);
        return;
    }
    if (l->strategy && strcmp(l->strategy, "mixed") != 0)
        dv_lintfile_add(l, c->at[i], DV_LINT_MIG_NAME_STRATEGY, resource, l->strategy,
                        strcmp(l->strategy, "single") ? "" : "; it is nvidia.com/gpu", NULL);
    if (dv_lint_mig_profile(profile, model, &near))
        return;
    struct dv_lint_finding *f =
        dv_lintfile_add(l, c->at[i], DV_LINT_NO_PROFILE, resource, profile,
                        model ? model->name : "any GPU", dv_lintfile_did_you_mean(near, hint));
    /* Only the case of the letters is wrong: that is what was meant. */
    char lower[DV_MIG_NAME], right[DV_PLUGIN_NAME];
    for (size_t k = 0; k < sizeof lower; k++)
        lower[k] = (char)tolower((unsigned char)profile[k]);
    if (strcmp(lower, profile) != 0 && dv_lint_mig_profile(lower, model, &near)) {
        snprintf(right, sizeof right, "nvidia.com/mig-%s", lower);
        if (strlen(right) == strlen(resource))
            dv_lintfile_edit_scalar(l, f, c->at[i], right);
    }
}

static void judge_kind(struct dv_lintfile *l, struct container *c, size_t i,
                       const struct dv_gpu_verdict *v)
{
    const struct pod *p = c->pod;
    const char *resource = c->asks[i].resource;
    enum dv_gpu_kind kind = dv_gpu_request_kind(resource);
    char count[32];
    int64_t n = v->nano / DV_QUANTITY_ONE;
    snprintf(count, sizeof count, "%lld", (long long)n);
    judge_profile(l, c, i);
    if (kind == DV_GPU_KIND_SHARED && n > 1)
        dv_lintfile_add(l, c->at[i], DV_LINT_SHARES_ABOVE_ONE, resource, count, NULL, NULL);
    bool shared = kind == DV_GPU_KIND_SHARED || v->kind == DV_GPU_KIND_PERCENT;
    bool small = v->kind != DV_GPU_KIND_PERCENT || v->percent < 100;
    if (shared && small && v->nano > 0 && p->training[0])
        dv_lintfile_add(l, c->at[i], DV_LINT_TRAINING_SHARED, p->training, resource, NULL, NULL);
    if (kind == DV_GPU_KIND_WHOLE && n > NODE_GPUS_MAX)
        dv_lintfile_add(l, c->at[i], DV_LINT_MANY_GPUS, resource, count, NULL, NULL);
    else if (kind == DV_GPU_KIND_WHOLE && n > 1)
        dv_lintfile_add(l, c->at[i], DV_LINT_TOPOLOGY, count, NULL, NULL, NULL);
    c->gpus += kind == DV_GPU_KIND_PERCENT || v->kind == DV_GPU_KIND_PERCENT ? v->nano > 0 : n;
}

/* Names that are nobody's. */
static void judge_strangers(struct dv_lintfile *l, const struct container *c, const char *list)
{
    const struct dv_yaml_node *map = dv_lintfile_map(c->resources, list);
    for (uint32_t i = 0; map && i < map->n; i++) {
        const char *name = map->items[2 * i]->text;
        const char *hint = is_gpu_name(name) ? NULL : dv_lint_kube_resource_hint(name);
        if (hint)
            dv_lintfile_add(l, map->items[2 * i], DV_LINT_UNKNOWN_RESOURCE, name, hint, NULL, NULL);
    }
}

static void judge_asks(struct dv_lintfile *l, struct container *c)
{
    struct dv_gpu_verdict v;
    bool refused = false;
    collect(c, "requests", false);
    collect(c, "limits", true);
    for (size_t i = 0; i < c->n; i++) {
        dv_gpu_request_judge(&c->asks[i], 1, c->pod->allowed, &v);
        add_verdict(l, c, i, &v);
        judge_kind(l, c, i, &v);
        refused = refused || v.result == DV_GPU_REQUEST_REFUSED;
        if (v.result != DV_GPU_REQUEST_NONE)
            dv_lint_in_scope(l->report);
    }
    dv_gpu_request_judge(c->asks, c->n, c->pod->allowed, &v);
    if (!refused && v.result == DV_GPU_REQUEST_REFUSED)
        add_verdict(l, c, v.index, &v);
    judge_strangers(l, c, "requests");
    judge_strangers(l, c, "limits");
}

/* ---- a container ---------------------------------------------------------------------------- */

/* How many GPUs CUDA sees of n by "0,1": those before the first index that is not there. Whether
 * there is one. */
static bool is_beyond(const char *value, int64_t n, uint32_t *ret_seen)
{
    bool beyond = false;
    *ret_seen = 0;
    for (const char *p = value; *p;) {
        char *end;
        long index = strtol(p, &end, 10);
        if (end == p || index < 0 || (*end && *end != ','))
            return false; /* a UUID, or nothing that is known here */
        beyond = beyond || index >= n;
        *ret_seen += !beyond;
        p = end + (*end == ',');
    }
    return beyond;
}

static void judge_variable(struct dv_lintfile *l, const struct container *c,
                           const struct dv_gpu_verdict *v, const struct dv_yaml_node *one)
{
    const struct dv_yaml_node *value = dv_lintfile_get(one, "value");
    const char *name = dv_lintfile_text(one, "name"), *text = dv_lintfile_scalar(value);
    char n[32], seen[32];
    uint32_t first = 0;
    if (!value)
        return;
    switch (dv_gpu_request_env(v, name, text)) {
    case DV_GPU_REQUEST_VISIBLE_DEVICES:
        dv_lintfile_add(l, value, DV_LINT_VISIBLE_DEVICES, text, NULL, NULL, NULL);
        break;
    case DV_GPU_REQUEST_MPS_PERCENTAGE:
        snprintf(n, sizeof n, "%u", v->percent);
        dv_lintfile_add(l, value, DV_LINT_MPS_PERCENTAGE, text, n, NULL, NULL);
        break;
    case DV_GPU_REQUEST_QUIET:
        break;
    }
    if (c->gpus > 0 && !strcmp(name, "CUDA_VISIBLE_DEVICES") && is_beyond(text, c->gpus, &first)) {
        snprintf(n, sizeof n, "%lld GPU%s", (long long)c->gpus, c->gpus > 1 ? "s" : "");
        snprintf(seen, sizeof seen, first ? "only the first %u" : "none", first);
        dv_lintfile_add(l, value, DV_LINT_CUDA_VISIBLE, text, n, seen, NULL);
    }
}

static void judge_environment(struct dv_lintfile *l, const struct container *c)
{
    const struct dv_yaml_node *env = dv_lintfile_list(c->node, "env");
    struct dv_gpu_verdict v;
    dv_gpu_request_judge(c->asks, c->n, DV_GPU_REQUEST_ANY, &v);
    for (uint32_t i = 0; env && i < env->n; i++)
        judge_variable(l, c, &v, env->items[i]);
    const struct dv_yaml_node *privileged =
        dv_lintfile_get(dv_lintfile_map(c->node, "securityContext"), "privileged");
    bool is_true = false;
    struct dv_err err;
    if (c->gpus > 0 && privileged &&
        dv_yaml_bool(l->yaml, privileged, "privileged", &is_true, &err) == 0 && is_true)
        dv_lintfile_add(l, privileged, DV_LINT_PRIVILEGED, c->name, NULL, NULL, NULL);
}

static void judge_claims(struct dv_lintfile *l, const struct container *c)
{
    const struct dv_yaml_node *claims = dv_lintfile_list(c->resources, "claims");
    const struct dv_yaml_node *have = dv_lintfile_list(c->pod->spec, "resourceClaims");
    const char *names[64];
    char hint[DV_LINTFILE_HINT];
    size_t n = 0;
    for (uint32_t i = 0; have && i < have->n && n < DV_ARRAY_SIZE(names); i++)
        names[n++] = dv_lintfile_text(have->items[i], "name");
    for (uint32_t i = 0; claims && i < claims->n; i++) {
        const char *name = dv_lintfile_text(claims->items[i], "name");
        size_t k = 0;
        dv_lint_in_scope(l->report);
        while (k < n && strcmp(names[k], name) != 0)
            k++;
        if (k == n && c->pod->spec)
            dv_lintfile_add(l, claims->items[i], DV_LINT_CLAIM_NAME, c->name, name,
                            dv_lintfile_did_you_mean(dv_str_nearest(name, names, n), hint), NULL);
    }
}

static void judge_container(struct dv_lintfile *l, struct pod *pod, const struct dv_yaml_node *node)
{
    struct container c = {.pod = pod,
                          .node = node,
                          .resources = dv_lintfile_map(node, "resources"),
                          .name = dv_lintfile_text(node, "name")};
    judge_asks(l, &c);
    judge_environment(l, &c);
    judge_claims(l, &c);
    pod->n += c.n > 0;
}

/* ---- a pod ---------------------------------------------------------------------------------- */

/* Does a word of these look like training? It is kept. */
static void look_at(struct pod *p, const char *what, const char *text)
{
    if (!p->training[0] && dv_lint_kube_is_training(text))
        snprintf(p->training, sizeof p->training, "%s \"%.40s\"", what, text);
}

static void look_at_list(struct pod *p, const char *what, const struct dv_yaml_node *list)
{
    for (uint32_t i = 0; list && i < list->n; i++)
        look_at(p, what, dv_lintfile_scalar(list->items[i]));
}

/* Kubeflow's kinds of jobs; TrainJob says it itself. */
static void look_at_kind(struct pod *p)
{
    static const char *const kinds[] = {"PyTorchJob", "TFJob",     "MPIJob", "XGBoostJob",
                                        "MXJob",      "PaddleJob", "JAXJob"};
    const char *kind = dv_lintfile_text(p->object, "kind");
    look_at(p, "kind", kind);
    for (size_t i = 0; !p->training[0] && i < DV_ARRAY_SIZE(kinds); i++)
        if (!strcmp(kind, kinds[i]))
            snprintf(p->training, sizeof p->training, "kind \"%s\"", kind);
}

static void find_training(struct pod *p)
{
    const struct dv_yaml_node *containers = dv_lintfile_list(p->spec, "containers");
    const struct dv_yaml_node *labels = dv_lintfile_map(p->meta, "labels");
    look_at_kind(p);
    look_at(p, "name", dv_lintfile_text(dv_lintfile_map(p->object, "metadata"), "name"));
    for (uint32_t i = 0; labels && i < labels->n; i++)
        look_at(p, "label", dv_lintfile_scalar(labels->items[2 * i + 1]));
    for (uint32_t i = 0; containers && i < containers->n; i++) {
        const struct dv_yaml_node *c = containers->items[i];
        look_at(p, "container", dv_lintfile_text(c, "name"));
        look_at(p, "image", dv_lintfile_text(c, "image"));
        look_at_list(p, "command", dv_lintfile_list(c, "command"));
        look_at_list(p, "argument", dv_lintfile_list(c, "args"));
    }
}

static void judge_node_label(struct dv_lintfile *l, const struct dv_yaml_node *at, const char *key)
{
    const char *near = NULL;
    char hint[DV_LINTFILE_HINT];
    if (dv_lint_kube_node_label(key, &near))
        return;
    struct dv_lint_finding *f = dv_lintfile_add(l, at, DV_LINT_NODE_LABEL, key,
                                                dv_lintfile_did_you_mean(near, hint), NULL, NULL);
    if (!strcmp(key, "nvidia.com/gpu"))
        dv_lintfile_edit_scalar(l, f, at, "nvidia.com/gpu.present");
}

static void judge_terms(struct dv_lintfile *l, const struct dv_yaml_node *terms)
{
    for (uint32_t i = 0; terms && i < terms->n; i++) {
        const struct dv_yaml_node *term = terms->items[i];
        const struct dv_yaml_node *preference = dv_lintfile_map(term, "preference");
        const struct dv_yaml_node *list =
            dv_lintfile_list(preference ? preference : term, "matchExpressions");
        for (uint32_t k = 0; list && k < list->n; k++) {
            const struct dv_yaml_node *key = dv_lintfile_get(list->items[k], "key");
            if (key)
                judge_node_label(l, key, dv_lintfile_scalar(key));
        }
    }
}

static void judge_nodes(struct dv_lintfile *l, const struct pod *p)
{
    const struct dv_yaml_node *selector = dv_lintfile_map(p->spec, "nodeSelector");
    const struct dv_yaml_node *affinity = dv_lintfile_find(p->spec, "affinity/nodeAffinity");
    for (uint32_t i = 0; selector && i < selector->n; i++)
        judge_node_label(l, selector->items[2 * i], selector->items[2 * i]->text);
    judge_terms(l, dv_lintfile_list(
                       dv_lintfile_map(affinity, "requiredDuringSchedulingIgnoredDuringExecution"),
                       "nodeSelectorTerms"));
    judge_terms(l, dv_lintfile_list(affinity, "preferredDuringSchedulingIgnoredDuringExecution"));
}

/* By the file's own Namespace. */
static uint32_t allowed_in(const struct dv_lintfile *l, const char *namespace)
{
    uint32_t allowed = DV_GPU_REQUEST_ANY;
    for (uint32_t i = 0; *namespace && i < l->n_documents; i++) {
        const struct dv_yaml_node *o = l->documents[i]->n_roots ? l->documents[i]->roots[0] : NULL;
        const struct dv_yaml_node *meta = dv_lintfile_map(o, "metadata");
        const char *label =
            dv_lintfile_text(dv_lintfile_map(meta, "labels"), DV_GPU_STRATEGY_LABEL);
        if (!strcmp(dv_lintfile_text(o, "kind"), "Namespace") &&
            !strcmp(dv_lintfile_text(meta, "name"), namespace) &&
            dv_gpu_strategy_parse(label, &allowed) < 0)
            allowed = DV_GPU_REQUEST_ANY; /* said at the Namespace itself */
    }
    return allowed;
}

/* spec.resources, where an indentation is missing. */
static void judge_pod_resources(struct dv_lintfile *l, const struct pod *p)
{
    static const char *const lists[] = {"limits", "requests"};
    const struct dv_yaml_node *resources = dv_lintfile_map(p->spec, "resources");
    for (size_t k = 0; k < DV_ARRAY_SIZE(lists); k++) {
        const struct dv_yaml_node *map = dv_lintfile_map(resources, lists[k]);
        for (uint32_t i = 0; map && i < map->n; i++)
            if (dv_gpu_request_kind(map->items[2 * i]->text) != DV_GPU_KIND_NONE)
                dv_lintfile_add(l, map->items[2 * i], DV_LINT_GPU_OF_POD, map->items[2 * i]->text,
                                NULL, NULL, NULL);
    }
}

static void judge_pod(struct dv_lintfile *l, const struct dv_yaml_node *object,
                      const struct dv_yaml_node *pod)
{
    static const char *const lists[] = {"initContainers", "containers"};
    struct pod p = {.object = object,
                    .meta = dv_lintfile_map(pod, "metadata"),
                    .spec = dv_lintfile_map(pod, "spec")};
    p.model = dv_lintfile_model(l, p.spec);
    p.allowed = allowed_in(l, dv_lintfile_text(dv_lintfile_map(object, "metadata"), "namespace"));
    find_training(&p);
    for (size_t i = 0; i < DV_ARRAY_SIZE(lists); i++) {
        const struct dv_yaml_node *list = dv_lintfile_list(p.spec, lists[i]);
        for (uint32_t k = 0; list && k < list->n; k++)
            judge_container(l, &p, list->items[k]);
    }
    judge_pod_resources(l, &p);
    judge_nodes(l, &p);
    dv_lintfile_daemon(l, object, p.spec);
}

/* Does this map have a pod's spec? */
static bool has_pod(const struct dv_yaml_node *map)
{
    const struct dv_yaml_node *list = dv_lintfile_list(dv_lintfile_map(map, "spec"), "containers");
    return list && list->n && list->items[0]->kind == DV_YAML_MAP;
}

/* One container without a pod around it, as in Argo's templates and KServe's models. */
static bool asks_for_gpus(const struct dv_yaml_node *map)
{
    static const char *const lists[] = {"limits", "requests"};
    const struct dv_yaml_node *resources = dv_lintfile_map(map, "resources");
    for (size_t k = 0; k < DV_ARRAY_SIZE(lists); k++) {
        const struct dv_yaml_node *list = dv_lintfile_map(resources, lists[k]);
        for (uint32_t i = 0; list && i < list->n; i++)
            if (is_gpu_name(list->items[2 * i]->text))
                return true;
    }
    return false;
}

static void judge_alone(struct dv_lintfile *l, const struct dv_yaml_node *object,
                        const struct dv_yaml_node *node)
{
    struct pod p = {.object = object};
    p.model = dv_lintfile_model(l, NULL);
    p.allowed = allowed_in(l, dv_lintfile_text(dv_lintfile_map(object, "metadata"), "namespace"));
    find_training(&p);
    judge_container(l, &p, node);
}

static void each_pod(struct dv_lintfile *l, const struct dv_yaml_node *object,
                     const struct dv_yaml_node *node)
{
    uint32_t n = node->kind == DV_YAML_MAP ? 2 * node->n : node->n;
    if (node->kind == DV_YAML_SCALAR)
        return;
    if (node->kind == DV_YAML_MAP && has_pod(node)) {
        judge_pod(l, object, node);
        return;
    }
    if (node->kind == DV_YAML_MAP && asks_for_gpus(node)) {
        judge_alone(l, object, node);
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        each_pod(l, object, node->items[i]);
}

/* Also in objects of kinds that are not known here: PyTorchJob, RayCluster, a Rollout. */
void dv_lintfile_pods(struct dv_lintfile *l, const struct dv_yaml_node *object)
{
    each_pod(l, object, object);
}

void dv_lintfile_resources(struct dv_lintfile *l, const struct dv_yaml_node *fragment)
{
    struct pod p = {.object = fragment, .allowed = DV_GPU_REQUEST_ANY};
    p.model = dv_lintfile_model(l, NULL);
    judge_container(l, &p, fragment);
}
