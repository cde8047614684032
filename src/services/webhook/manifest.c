/* SPDX-License-Identifier: Apache-2.0 */
#include "webhook/manifest.h"

#include "base/base64.h"
#include "policy/gpu_request.h"
#include "webhook/webhook.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CONFIGURATION "divvy-webhook"
#define VALUES_MAX 64u
#define VALUE_SIZE 64

/*
 * Which objects: those of whose containers one asks for what may be a GPU: all that a device plugin
 * can call one, so that names can be declared (--resource) without a change here. It runs inside
 * the API server, for every pod and workload of the cluster. There it may cost 1,000,000 units; a
 * container with 20 resources that are no GPUs costs less than 220.
 */
#define ASKS(list)                                                                                 \
    "(has(c.resources." list ") && c.resources." list ".exists(k, k.startsWith('nvidia.com/') "    \
    "|| k.startsWith('divvy.dev/')))"
static const char condition[] =
    "[request.kind.kind == 'Pod' ? object.spec\n"
    "            : request.kind.kind == 'PodTemplate' ? object.template.spec\n"
    "            : request.kind.kind == 'CronJob' ? object.spec.jobTemplate.spec.template.spec\n"
    "            : object.spec.template.spec]\n"
    "          .exists(s, (s.containers + (has(s.initContainers) ? s.initContainers : []))\n"
    "          .exists(c, has(c.resources) &&\n"
    "          (" ASKS("limits") "\n"
                                 "          || " ASKS("requests") ")))\n";

static const struct {
    const char *group, *version, *resources;
} rules[] = {
    {"''", "v1", "[pods, replicationcontrollers, podtemplates]"},
    {"apps", "v1", "[deployments, statefulsets, daemonsets, replicasets]"},
    {"batch", "v1", "[jobs, cronjobs]"},
};

/* Every value that has an entry, and what it allows. */
struct values {
    char text[VALUES_MAX][VALUE_SIZE];
    uint32_t allowed[VALUES_MAX];
    size_t n;
};

static void add_value(struct values *v, const char *text, uint32_t allowed)
{
    for (size_t i = 0; i < v->n; i++)
        if (!strcmp(v->text[i], text))
            return;
    if (v->n == VALUES_MAX)
        return;
    snprintf(v->text[v->n], VALUE_SIZE, "%s", text);
    v->allowed[v->n++] = allowed;
}

static int find_values(const struct dv_webhook_manifest *m, struct values *v, struct dv_err *err)
{
    uint32_t allowed;
    for (size_t i = 0; dv_gpu_strategy_word(i); i++) {
        char only[VALUE_SIZE];
        snprintf(only, sizeof only, "%s-only", dv_gpu_strategy_word(i));
        dv_gpu_strategy_parse(only, &allowed);
        add_value(v, dv_gpu_strategy_word(i), allowed);
        add_value(v, only, allowed);
        if (allowed == DV_GPU_REQUEST_ANY)
            add_value(v, "", allowed); /* a label without a value */
    }
    for (size_t i = 0; i < DV_WEBHOOK_STRATEGIES_MAX && m->strategies[i]; i++) {
        if (strlen(m->strategies[i]) >= VALUE_SIZE || !*m->strategies[i] ||
            dv_gpu_strategy_parse(m->strategies[i], &allowed) < 0)
            return dv_err_set(err, -EINVAL,
                              "'%.80s' is no value of the label " DV_GPU_STRATEGY_LABEL,
                              m->strategies[i]);
        add_value(v, m->strategies[i], allowed);
    }
    return 0;
}

static void add_rules(struct dv_str *s)
{
    dv_str_add(s, "  rules:\n");
    for (size_t i = 0; i < DV_ARRAY_SIZE(rules); i++)
        dv_str_addf(s,
                    "  - apiGroups: [%s]\n"
                    "    apiVersions: [%s]\n"
                    "    operations: [CREATE, UPDATE]\n"
                    "    resources: %s\n"
                    "    scope: Namespaced\n",
                    rules[i].group, rules[i].version, rules[i].resources);
}

static void add_client(const struct dv_webhook_manifest *m, const char *path, struct dv_str *s)
{
    dv_str_addf(s,
                "  clientConfig:\n"
                "    service:\n"
                "      namespace: %s\n"
                "      name: %s\n"
                "      port: %u\n"
                "      path: " DV_WEBHOOK_PATH "%s%s\n",
                m->namespace, m->service, m->port, *path ? "/" : "", path);
    if (!m->ca_bundle)
        return;
    dv_str_add(s, "    caBundle: ");
    dv_base64_add(m->ca_bundle, strlen(m->ca_bundle), s);
    dv_str_addc(s, '\n');
}

/* One entry up to its namespaces; the expressions about the label follow. */
static void begin_entry(const struct dv_webhook_manifest *m, const char *name, const char *path,
                        struct dv_str *s)
{
    dv_str_addf(s, "- name: %s.webhook.divvy.dev\n", name);
    dv_str_add(s, "  admissionReviewVersions: [v1]\n"
                  "  sideEffects: None\n"
                  "  timeoutSeconds: 5\n"
                  "  # Without the webhook nobody is held up: a fraction is then refused by the\n"
                  "  # API server itself (\"must be an integer\").\n"
                  "  failurePolicy: Ignore\n"
                  "  matchPolicy: Equivalent\n"
                  "  reinvocationPolicy: IfNeeded\n");
    add_client(m, path, s);
    add_rules(s);
    dv_str_add(s, "  matchConditions:\n"
                  "  - name: asks-for-gpus\n"
                  "    expression: >-\n"
                  "          ");
    dv_str_add(s, condition);
    dv_str_add(s, "  namespaceSelector:\n"
                  "    matchExpressions:\n"
                  "    - {key: kubernetes.io/metadata.name, operator: NotIn, values: "
                  "[kube-system]}\n");
}

static void add_label(const char *operator, const char * values, struct dv_str *s)
{
    dv_str_addf(s, "    - {key: " DV_GPU_STRATEGY_LABEL ", operator: %s%s%s%s}\n",
                   operator, * values ? ", values: [" : "", values, *values ? "]" : "");
}

static void add_text(const char *value, struct dv_str *list)
{
    dv_str_addf(list, "%s%s", list->len ? ", " : "", *value ? value : "''");
}

/* The values that allow the same as the i-th, if that is the first of them. */
static bool same_values(const struct values *v, size_t i, struct dv_str *ret)
{
    for (size_t k = 0; k < i; k++)
        if (v->allowed[k] == v->allowed[i])
            return false;
    for (size_t k = i; k < v->n; k++)
        if (v->allowed[k] == v->allowed[i])
            add_text(v->text[k], ret);
    return true;
}

/* A value as part of a DNS name, and as a path, where Kubernetes takes '.' and no '_'. */
static void entry_names(const char *value, char name[VALUE_SIZE], char path[VALUE_SIZE])
{
    snprintf(name, VALUE_SIZE, "%s", value);
    snprintf(path, VALUE_SIZE, "%s", value);
    for (size_t i = 0; value[i]; i++) {
        bool joint = value[i] == '_' || value[i] == '.';
        name[i] = joint ? '-' : value[i];
        path[i] = joint ? '.' : value[i];
    }
}

int dv_webhook_manifest(const struct dv_webhook_manifest *m, struct dv_str *s, struct dv_err *err)
{
    struct values v = {.n = 0};
    dv_cleanup(dv_str_done) struct dv_str all = {0};
    int r = find_values(m, &v, err);
    if (r < 0)
        return r;
    dv_str_add(s, "# Made by divvy-controller webhook --print-manifest.\n"
                  "apiVersion: admissionregistration.k8s.io/v1\n"
                  "kind: MutatingWebhookConfiguration\n"
                  "metadata:\n");
    dv_str_addf(s, "  name: %s\nwebhooks:\n", m->name ? m->name : CONFIGURATION);
    begin_entry(m, "unlabelled", "", s);
    add_label("DoesNotExist", "", s);
    for (size_t i = 0; i < v.n; i++) {
        dv_cleanup(dv_str_done) struct dv_str same = {0};
        char name[VALUE_SIZE], path[VALUE_SIZE];
        add_text(v.text[i], &all);
        if (!same_values(&v, i, &same))
            continue;
        entry_names(v.text[i], name, path);
        begin_entry(m, name, path, s);
        add_label("In", dv_str_get(&same), s);
    }
    begin_entry(m, "unknown", "unknown", s);
    add_label("Exists", "", s);
    add_label("NotIn", dv_str_get(&all), s);
    return s->failed || all.failed ? dv_err_set(err, -ENOMEM, "out of memory") : 0;
}
