/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dynamic resource allocation: device classes and claims, their expressions, and the parameters of
 * NVIDIA's driver. Sources: Kubernetes' reference, resource.k8s.io; NVIDIA's DRA driver,
 * api/nvidia. com/resource/v1beta1 (strictly read).
 */
#include "internal.h"
#include "policy/gpu_request.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DRIVER "gpu.nvidia.com"

static const char *const attributes[] = {"type",           "uuid",
                                         "productName",    "brand",
                                         "architecture",   "cudaComputeCapability",
                                         "driverVersion",  "cudaDriverVersion",
                                         "addressingMode", "numaNode",
                                         "gpuModuleID",    "parentUUID",
                                         "profile",        "index",
                                         "minor",          "pcieBusID",
                                         "partition1",     "partition2",
                                         "partition4",     "partition8",
                                         "deviceID",       "vendorID"};
static const char *const capacities[] = {"memory",     "multiprocessors", "copyEngines",
                                         "decoders",   "encoders",        "jpegEngines",
                                         "ofaEngines", "shares",          "addressableMemory"};

static bool is_in(const char *word, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(list[i], word))
            return true;
    return false;
}

/* ---- expressions ---------------------------------------------------------------------------- */

/* "['x']" at p: the word, and what is behind it; NULL where there is none. */
static const char *quoted_index(const char *p, char *word, size_t size)
{
    p += strspn(p, " ");
    if (*p != '[')
        return NULL;
    p += 1 + strspn(p + 1, " ");
    if (*p != '\'' && *p != '"')
        return NULL;
    size_t n = strcspn(p + 1, "'\"");
    snprintf(word, size, "%.*s", (int)DV_MIN(n, size - 1), p + 1);
    p += 1 + n;
    p += *p != 0;
    p += strspn(p, " ");
    return *p == ']' ? p + 1 : NULL;
}

static const char *member(const char *p, char *word, size_t size)
{
    const char *q = quoted_index(p, word, size);
    if (q)
        return q;
    if (*p != '.')
        return NULL;
    size_t n = 0;
    while (isalnum((unsigned char)p[1 + n]) || p[1 + n] == '_')
        n++;
    snprintf(word, size, "%.*s", (int)DV_MIN(n, size - 1), p + 1);
    return p + 1 + n;
}

static struct dv_lint_finding *add_at(struct dv_lintfile *l, const struct dv_yaml_node *node,
                                      size_t offset, enum dv_lint_rule rule, const char *a,
                                      const char *b, const char *c, const char *d)
{
    struct dv_lint_at at = dv_lintfile_text_at(l, node);
    at = dv_lint_place(&at, node->text, offset);
    return dv_lint_add(l->report, rule, at.line, at.column, a, b, c, d);
}

/* device.attributes[...] or device.capacity[...] at `p`. */
static void judge_access(struct dv_lintfile *l, const struct dv_yaml_node *node, const char *p,
                         const char *map)
{
    bool capacity = !strcmp(map, "capacity");
    const char *const *names = capacity ? capacities : attributes;
    size_t n = capacity ? DV_ARRAY_SIZE(capacities) : DV_ARRAY_SIZE(attributes);
    char domain[96], word[96], right[256], hint[DV_LINTFILE_HINT];
    const char *rest = quoted_index(p + strlen("device.") + strlen(map), domain, sizeof domain);
    if (!rest)
        return;
    if (!strchr(domain, '.')) {
        bool is_memory = !strcmp(domain, "memory");
        snprintf(right, sizeof right,
                 is_memory ? "device.capacity[\"" DRIVER "\"].%s.compareTo(quantity(\"40Gi\")) >= 0"
                 : capacity ? "device.capacity[\"" DRIVER "\"].%s"
                            : "device.attributes[\"" DRIVER "\"].%s",
                 domain);
        add_at(l, node, (size_t)(p - node->text), DV_LINT_CEL_ATTRIBUTE, map, domain,
               is_memory && !capacity ? "; memory is a capacity, not an attribute" : "", right);
        return;
    }
    if (strcmp(domain, DRIVER) != 0 || !member(rest, word, sizeof word) || !*word ||
        is_in(word, names, n))
        return;
    const char *other =
        capacity
            ? (is_in(word, attributes, DV_ARRAY_SIZE(attributes)) ? " (it is an attribute)" : NULL)
            : (is_in(word, capacities, DV_ARRAY_SIZE(capacities)) ? " (it is a capacity)" : NULL);
    add_at(l, node, (size_t)(p - node->text), DV_LINT_CEL_UNKNOWN,
           capacity ? "capacity" : "attribute", word,
           other ? other : dv_lintfile_did_you_mean(dv_str_nearest(word, names, n), hint), NULL);
}

static void judge_expression(struct dv_lintfile *l, const struct dv_yaml_node *node)
{
    const char *text = dv_lintfile_scalar(node);
    for (const char *p = text; (p = strstr(p, "device.attributes")); p++)
        judge_access(l, node, p, "attributes");
    for (const char *p = text; (p = strstr(p, "device.capacity")); p++)
        judge_access(l, node, p, "capacity");
}

static void judge_selectors(struct dv_lintfile *l, const struct dv_yaml_node *map)
{
    const struct dv_yaml_node *list = dv_lintfile_list(map, "selectors");
    for (uint32_t i = 0; list && i < list->n; i++) {
        const struct dv_yaml_node *e = dv_lintfile_find(list->items[i], "cel/expression");
        if (e && e->kind == DV_YAML_SCALAR)
            judge_expression(l, e);
    }
}

/* ---- requests ------------------------------------------------------------------------------- */

static void judge_request(struct dv_lintfile *l, const struct dv_yaml_node *request,
                          const char *version)
{
    static const char *const inside[] = {"deviceClassName", "selectors",   "count",
                                         "allocationMode",  "adminAccess", "tolerations",
                                         "capacity"};
    bool flat = !strcmp(version, "resource.k8s.io/v1beta1");
    const struct dv_yaml_node *exactly = dv_lintfile_get(request, "exactly");
    const char *name = dv_lintfile_text(request, "name");
    char words[160], fix[160];
    judge_selectors(l, request);
    judge_selectors(l, exactly);
    const struct dv_yaml_node *list = dv_lintfile_list(request, "firstAvailable");
    for (uint32_t i = 0; list && i < list->n; i++)
        judge_selectors(l, list->items[i]);
    if (flat && exactly) {
        dv_lintfile_add(l, dv_lintfile_key(request, "exactly"), DV_LINT_DRA_EXACTLY, name,
                        "resource.k8s.io/v1beta1 has no exactly",
                        "write apiVersion: resource.k8s.io/v1", NULL);
        return;
    }
    for (size_t i = 0; !flat && i < DV_ARRAY_SIZE(inside); i++) {
        const struct dv_yaml_node *key = dv_lintfile_key(request, inside[i]);
        if (!key)
            continue;
        snprintf(words, sizeof words, "%s stands in the request itself", inside[i]);
        snprintf(fix, sizeof fix, "write it under exactly: {%s: ...}", inside[i]);
        dv_lintfile_add(l, key, DV_LINT_DRA_EXACTLY, name, words, fix, NULL);
        return; /* one is enough to say so */
    }
}

/* ---- NVIDIA's parameters -------------------------------------------------------------------- */

#define PARAMETERS "resource.nvidia.com/v1beta1"

static void complain(struct dv_lintfile *l, const struct dv_yaml_node *at, const char *words,
                     const char *fix)
{
    dv_lintfile_add(l, at, DV_LINT_DRA_PARAMETERS, words, fix, NULL, NULL);
}

static void judge_known(struct dv_lintfile *l, const struct dv_yaml_node *map, const char *what,
                        const char *const *names, size_t n)
{
    char words[200], hint[DV_LINTFILE_HINT];
    for (uint32_t i = 0; map && map->kind == DV_YAML_MAP && i < map->n; i++) {
        const struct dv_yaml_node *key = map->items[2 * i];
        if (is_in(key->text, names, n))
            continue;
        snprintf(words, sizeof words, "unknown key \"%.60s\" in %s%s", key->text, what,
                 dv_lintfile_did_you_mean(dv_str_nearest(key->text, names, n), hint));
        complain(l, key, words, "leave it out, or write the key that was meant");
    }
}

static void judge_mps(struct dv_lintfile *l, const struct dv_yaml_node *mps)
{
    static const char *const names[] = {"defaultActiveThreadPercentage",
                                        "defaultPinnedDeviceMemoryLimit",
                                        "defaultPerDevicePinnedMemoryLimit", "multiUser"};
    const struct dv_yaml_node *threads = dv_lintfile_get(mps, names[0]);
    char *end = NULL;
    judge_known(l, mps, "mpsConfig", names, DV_ARRAY_SIZE(names));
    long n = threads ? strtol(dv_lintfile_scalar(threads), &end, 10) : 0;
    if (threads && (end == dv_lintfile_scalar(threads) || *end || n < 0 || n > 100))
        complain(l, threads, "defaultActiveThreadPercentage is a whole number from 0 to 100",
                 "write one");
}

static void judge_sharing(struct dv_lintfile *l, const struct dv_yaml_node *sharing)
{
    static const char *const names[] = {"strategy", "timeSlicingConfig", "mpsConfig"};
    static const char *const intervals[] = {"Default", "Short", "Medium", "Long"};
    const struct dv_yaml_node *strategy = dv_lintfile_get(sharing, "strategy");
    const struct dv_yaml_node *turns = dv_lintfile_get(sharing, "timeSlicingConfig");
    const struct dv_yaml_node *mps = dv_lintfile_get(sharing, "mpsConfig");
    const struct dv_yaml_node *interval = dv_lintfile_get(turns, "interval");
    const char *text = dv_lintfile_scalar(strategy);
    judge_known(l, sharing, "sharing", names, DV_ARRAY_SIZE(names));
    if (strategy && strcmp(text, "TimeSlicing") != 0 && strcmp(text, "MPS") != 0)
        complain(l, strategy, "the strategy is TimeSlicing or MPS", "write one of them");
    if (!strcmp(text, "TimeSlicing") && mps)
        complain(l, dv_lintfile_key(sharing, "mpsConfig"),
                 "mpsConfig beside the strategy TimeSlicing", "use timeSlicingConfig");
    if (!strcmp(text, "MPS") && turns)
        complain(l, dv_lintfile_key(sharing, "timeSlicingConfig"),
                 "timeSlicingConfig beside the strategy MPS", "use mpsConfig");
    if (interval && !is_in(dv_lintfile_scalar(interval), intervals, DV_ARRAY_SIZE(intervals)))
        complain(l, interval, "the interval is Default, Short, Medium or Long",
                 "write one of them");
    if (mps)
        judge_mps(l, mps);
}

static void judge_parameters(struct dv_lintfile *l, const struct dv_yaml_node *p)
{
    static const char *const kinds[] = {"GpuConfig", "MigDeviceConfig", "VfioDeviceConfig",
                                        "ComputeDomainChannelConfig", "ComputeDomainDaemonConfig"};
    static const char *const names[] = {"apiVersion", "kind", "sharing"};
    const struct dv_yaml_node *version = dv_lintfile_get(p, "apiVersion");
    const struct dv_yaml_node *kind = dv_lintfile_get(p, "kind");
    const char *text = dv_lintfile_scalar(kind);
    char words[200], hint[DV_LINTFILE_HINT];
    if (!version || strcmp(dv_lintfile_scalar(version), PARAMETERS) != 0)
        complain(l, version ? version : p, "apiVersion is not " PARAMETERS,
                 "write apiVersion: " PARAMETERS);
    if (!is_in(text, kinds, DV_ARRAY_SIZE(kinds))) {
        snprintf(words, sizeof words, "there is no kind \"%.60s\"%s", text,
                 dv_lintfile_did_you_mean(dv_str_nearest(text, kinds, DV_ARRAY_SIZE(kinds)), hint));
        complain(l, kind ? kind : p, words, "write GpuConfig or MigDeviceConfig");
        return;
    }
    if (strcmp(text, "GpuConfig") != 0 && strcmp(text, "MigDeviceConfig") != 0)
        return;
    judge_known(l, p, text, names, DV_ARRAY_SIZE(names));
    judge_sharing(l, dv_lintfile_map(p, "sharing"));
}

/* `config` of a class (spec) or of a claim (spec.devices). */
static void judge_configs(struct dv_lintfile *l, const struct dv_yaml_node *owner)
{
    const struct dv_yaml_node *list = dv_lintfile_list(owner, "config");
    for (uint32_t i = 0; list && i < list->n; i++) {
        const struct dv_yaml_node *opaque = dv_lintfile_map(list->items[i], "opaque");
        const struct dv_yaml_node *parameters = dv_lintfile_map(opaque, "parameters");
        const char *driver = dv_lintfile_text(opaque, "driver");
        if (parameters && (!strcmp(driver, DRIVER) || strstr(driver, ".nvidia.com")))
            judge_parameters(l, parameters);
    }
}

void dv_lintfile_claim(struct dv_lintfile *l, const struct dv_yaml_node *object)
{
    const char *version = dv_lintfile_text(object, "apiVersion");
    bool is_template = !strcmp(dv_lintfile_text(object, "kind"), "ResourceClaimTemplate");
    const struct dv_yaml_node *spec = dv_lintfile_find(object, is_template ? "spec/spec" : "spec");
    const struct dv_yaml_node *devices = dv_lintfile_map(spec, "devices");
    const struct dv_yaml_node *requests = dv_lintfile_list(devices, "requests");
    dv_lint_in_scope(l->report);
    judge_selectors(l, spec);
    judge_configs(l, spec);
    judge_configs(l, devices);
    for (uint32_t i = 0; requests && i < requests->n; i++)
        judge_request(l, requests->items[i], version);
}
