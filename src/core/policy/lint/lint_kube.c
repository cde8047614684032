/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/lint/lint_kube.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- API versions --------------------------------------------------------------------------- */

/* What was once served, and is not. `gone`: the release that took it away; NULL: a beta that is off
 * by default. */
struct old {
    const char *version, *gone;
    bool drop_in;
};
#define OLD_MAX 5
static const struct {
    const char *kind, *right, *since;
    struct old old[OLD_MAX];
} apis[] = {
    {"Pod", "v1", NULL, {{0}}},
    {"PodTemplate", "v1", NULL, {{0}}},
    {"Service", "v1", NULL, {{0}}},
    {"ConfigMap", "v1", NULL, {{0}}},
    {"Namespace", "v1", NULL, {{0}}},
    {"Node", "v1", NULL, {{0}}},
    {"ResourceQuota", "v1", NULL, {{0}}},
    {"LimitRange", "v1", NULL, {{0}}},
    {"ReplicationController", "v1", NULL, {{0}}},
    {"Deployment",
     "apps/v1",
     NULL,
     {{"extensions/v1beta1", "1.16", false},
      {"apps/v1beta1", "1.16", false},
      {"apps/v1beta2", "1.16", true}}},
    {"DaemonSet",
     "apps/v1",
     NULL,
     {{"extensions/v1beta1", "1.16", false}, {"apps/v1beta2", "1.16", true}}},
    {"ReplicaSet",
     "apps/v1",
     NULL,
     {{"extensions/v1beta1", "1.16", false},
      {"apps/v1beta1", "1.16", false},
      {"apps/v1beta2", "1.16", true}}},
    {"StatefulSet",
     "apps/v1",
     NULL,
     {{"apps/v1beta1", "1.16", false}, {"apps/v1beta2", "1.16", true}}},
    {"Job", "batch/v1", NULL, {{0}}},
    {"CronJob",
     "batch/v1",
     NULL,
     {{"batch/v1beta1", "1.25", true}, {"batch/v2alpha1", "1.21", true}}},
    {"PodDisruptionBudget", "policy/v1", NULL, {{"policy/v1beta1", "1.25", true}}},
    {"PriorityClass",
     "scheduling.k8s.io/v1",
     NULL,
     {{"scheduling.k8s.io/v1beta1", "1.22", true}, {"scheduling.k8s.io/v1alpha1", "1.17", true}}},
    {"RuntimeClass", "node.k8s.io/v1", NULL, {{"node.k8s.io/v1beta1", "1.25", true}}},
    {"HorizontalPodAutoscaler",
     "autoscaling/v2",
     NULL,
     {{"autoscaling/v2beta1", "1.25", false}, {"autoscaling/v2beta2", "1.26", true}}},
    {"DeviceClass",
     "resource.k8s.io/v1",
     "1.34",
     {{"resource.k8s.io/v1alpha3", "1.33", true},
      {"resource.k8s.io/v1beta1", NULL, false},
      {"resource.k8s.io/v1beta2", NULL, true}}},
    {"ResourceClaim",
     "resource.k8s.io/v1",
     "1.34",
     {{"resource.k8s.io/v1alpha2", "1.31", false},
      {"resource.k8s.io/v1alpha3", "1.33", false},
      {"resource.k8s.io/v1beta1", NULL, false},
      {"resource.k8s.io/v1beta2", NULL, true}}},
    {"ResourceClaimTemplate",
     "resource.k8s.io/v1",
     "1.34",
     {{"resource.k8s.io/v1alpha2", "1.31", false},
      {"resource.k8s.io/v1alpha3", "1.33", false},
      {"resource.k8s.io/v1beta1", NULL, false},
      {"resource.k8s.io/v1beta2", NULL, true}}},
    {"ResourceSlice",
     "resource.k8s.io/v1",
     "1.34",
     {{"resource.k8s.io/v1alpha3", "1.33", false},
      {"resource.k8s.io/v1beta1", NULL, false},
      {"resource.k8s.io/v1beta2", NULL, true}}},
    {"ClusterPolicy", "nvidia.com/v1", NULL, {{0}}},
    {"HelmChart", "helm.cattle.io/v1", NULL, {{0}}},
    {"PrometheusRule", "monitoring.coreos.com/v1", NULL, {{0}}},
    {"KubeletConfiguration", "kubelet.config.k8s.io/v1beta1", NULL, {{0}}},
};

/* Other people's kinds of the same name: Flux has a HelmChart, Kyverno a ClusterPolicy, Volcano a
 * Job. Only groups that these kinds could be mistaken to have are judged. */
static bool is_foreign_group(const char *version)
{
    static const char *const mistaken[] = {"extensions", "helm.sh", "core"};
    size_t len = strcspn(version, "/");
    if (!version[len])
        return false; /* the core group: v1 */
    for (size_t i = 0; i < DV_ARRAY_SIZE(apis); i++) {
        size_t n = strcspn(apis[i].right, "/");
        if (apis[i].right[n] && n == len && !strncmp(apis[i].right, version, n))
            return false;
    }
    for (size_t i = 0; i < DV_ARRAY_SIZE(mistaken); i++)
        if (strlen(mistaken[i]) == len && !strncmp(mistaken[i], version, len))
            return false;
    return true;
}

struct dv_lint_api_answer dv_lint_kube_api(const char *version, const char *kind)
{
    struct dv_lint_api_answer a = {.result = DV_LINT_VERSION_FINE};
    for (size_t i = 0; i < DV_ARRAY_SIZE(apis); i++) {
        if (strcmp(apis[i].kind, kind) != 0 || !strcmp(apis[i].right, version) ||
            is_foreign_group(version))
            continue;
        a = (struct dv_lint_api_answer){DV_LINT_VERSION_NEVER, apis[i].right, NULL, true};
        for (size_t k = 0; k < OLD_MAX && apis[i].old[k].version; k++) {
            const struct old *o = &apis[i].old[k];
            if (strcmp(o->version, version) != 0)
                continue;
            a.result = o->gone ? DV_LINT_VERSION_REMOVED : DV_LINT_VERSION_OLD;
            a.since = o->gone ? o->gone : apis[i].since;
            a.drop_in = o->drop_in;
        }
        /* autoscaling/v1 is served beside v2. */
        if (!strcmp(version, "autoscaling/v1"))
            a.result = DV_LINT_VERSION_FINE;
    }
    return a;
}

/* ---- labels --------------------------------------------------------------------------------- */

#define NVIDIA "nvidia.com/"
#define IS_NVIDIA(key) (!strncmp(key, NVIDIA, sizeof NVIDIA - 1))

static const char *const node_labels[] = {
    NVIDIA "gpu.present",
    NVIDIA "gpu.product",
    NVIDIA "gpu.count",
    NVIDIA "gpu.memory",
    NVIDIA "gpu.family",
    NVIDIA "gpu.machine",
    NVIDIA "gpu.mode",
    NVIDIA "gpu.clique",
    NVIDIA "gpu.replicas",
    NVIDIA "gpu.compute.major",
    NVIDIA "gpu.compute.minor",
    NVIDIA "gpu.sharing-strategy",
    NVIDIA "mig.capable",
    NVIDIA "mig.strategy",
    NVIDIA "mig.config",
    NVIDIA "mig.config.state",
    NVIDIA "mps.capable",
    NVIDIA "device-plugin.config",
    NVIDIA "vgpu.present",
    NVIDIA "gfd.timestamp",
    NVIDIA "gpu.workload.config",
    NVIDIA "gpu.nvsm.present",
    NVIDIA "gpu-driver-upgrade-state",
};
static const char *const label_families[] = {
    NVIDIA "gpu.deploy.",
    NVIDIA "cuda.",
    NVIDIA "vgpu.",
    NVIDIA "mig-",
    NVIDIA "gpu.engines.",
    NVIDIA "gpu.slices.",
    NVIDIA "gpu.multiprocessors",
    NVIDIA "gpu-driver",
    NVIDIA "gpu.imex",
};
static const char *const followed[] = {
    NVIDIA "mig.config",  NVIDIA "device-plugin.config", NVIDIA "gpu.workload.config",
    NVIDIA "gpu.present", NVIDIA "mps.capable",
};

static bool is_in(const char *key, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(key, list[i]))
            return true;
    return false;
}

bool dv_lint_kube_node_label(const char *key, const char **ret_near)
{
    *ret_near = NULL;
    if (!IS_NVIDIA(key) || is_in(key, node_labels, DV_ARRAY_SIZE(node_labels)))
        return true;
    for (size_t i = 0; i < DV_ARRAY_SIZE(label_families); i++)
        if (!strncmp(key, label_families[i], strlen(label_families[i])))
            return true;
    *ret_near = strcmp(key, NVIDIA "gpu") != 0
                    ? dv_str_nearest(key, node_labels, DV_ARRAY_SIZE(node_labels))
                    : NVIDIA "gpu.present";
    return false;
}

bool dv_lint_kube_followed_label(const char *key, const char **ret_near)
{
    *ret_near = NULL;
    if (!IS_NVIDIA(key) || is_in(key, followed, DV_ARRAY_SIZE(followed)) ||
        !strncmp(key, NVIDIA "gpu.deploy.", sizeof NVIDIA "gpu.deploy." - 1))
        return true;
    *ret_near = dv_str_nearest(key, followed, DV_ARRAY_SIZE(followed));
    return false;
}

/* ---- resources ------------------------------------------------------------------------------ */

const char *dv_lint_kube_resource_hint(const char *resource)
{
    static const struct {
        const char *name, *hint;
    } known[] = {
        {"nvidia.com/gpumem", " (HAMi's; with divvy: a fraction of nvidia.com/gpu)"},
        {"nvidia.com/gpumem-percentage", " (HAMi's; with divvy: a fraction of nvidia.com/gpu)"},
        {"nvidia.com/gpucores", " (HAMi's; with divvy: a fraction of nvidia.com/gpu)"},
        {"nvidia.com/priority", " (HAMi's)"},
        {"nvidia.com/vgpu", " (vGPU's)"},
        {"alpha.kubernetes.io/nvidia-gpu", " (gone since Kubernetes 1.11; it is nvidia.com/gpu)"},
        {"aliyun.com/gpu-mem", " (Alibaba's gpushare)"},
        {"tencent.com/vcuda-core", " (Tencent's gpu-manager)"},
        {"nvidia/gpu", "; did you mean nvidia.com/gpu?"},
        {"nvidia-gpu", "; did you mean nvidia.com/gpu?"},
        {"gpu", "; did you mean nvidia.com/gpu?"},
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(known); i++)
        if (!strcasecmp(known[i].name, resource))
            return known[i].hint;
    if (!strcasecmp(resource, "nvidia.com/gpu"))
        return "; names are in small letters: nvidia.com/gpu";
    if (!strncasecmp(resource, "nvidia.com/mig", 14))
        return "; MIG devices are nvidia.com/mig-1g.10gb and so on";
    if (!strncmp(resource, "nvidia.com/gpu", 14))
        return resource[14] == '.' ? NULL
                                   : "; did you mean nvidia.com/gpu or nvidia.com/gpu.shared?";
    return NULL;
}

/* ---- charts --------------------------------------------------------------------------------- */

/* Tops of values; "config:" ends a list of what is below it. */
static const char *const plugin_values[] = {
    "legacyDaemonsetAPI",
    "compatWithCPUManager",
    "migStrategy",
    "failOnInitError",
    "deviceListStrategy",
    "deviceIDStrategy",
    "nvidiaDriverRoot",
    "nvidiaDevRoot",
    "gdrcopyEnabled",
    "gdsEnabled",
    "mofedEnabled",
    "deviceDiscoveryStrategy",
    "passDeviceSpecs",
    "nameOverride",
    "fullnameOverride",
    "namespaceOverride",
    "selectorLabelsOverride",
    "allowDefaultNamespace",
    "imagePullSecrets",
    "image",
    "updateStrategy",
    "podAnnotations",
    "podSecurityContext",
    "securityContext",
    "resources",
    "nodeSelector",
    "affinity",
    "tolerations",
    "priorityClassName",
    "runtimeClassName",
    "gfd",
    "nfd",
    "mps",
    "cdi",
    "config",
    "global",
    "devicePlugin",
    "podLabels",
    "serviceAccount",
    "nvidiaCTKPath",
    "containerDriverRoot",
    "extraEnv",
    "sharedDevicesAllocationPolicy",
    "imex",
    "hostNetwork",
};
static const char *const plugin_config[] = {"map", "name", "default", "fallbackStrategies"};
static const char *const operator_values[] = {
    "platform",
    "nfd",
    "psa",
    "cdi",
    "sandboxWorkloads",
    "hostPaths",
    "daemonsets",
    "validator",
    "operator",
    "mig",
    "driver",
    "toolkit",
    "devicePlugin",
    "dcgm",
    "dcgmExporter",
    "gfd",
    "migManager",
    "nodeStatusExporter",
    "gds",
    "gdrcopy",
    "vgpuManager",
    "vgpuDeviceManager",
    "vfioManager",
    "kataManager",
    "sandboxDevicePlugin",
    "ccManager",
    "node-feature-discovery",
    "global",
    "extraObjects",
    "kataSandboxDevicePlugin",
    "fabricManager",
    "dra",
    "draDriver",
};
static const char *const operator_config[] = {"name", "default", "create", "data"};

enum dv_lint_chart dv_lint_kube_chart(const char *chart)
{
    const char *base = strrchr(chart, '/');
    base = base ? base + 1 : chart;
    if (!strncmp(base, "nvidia-device-plugin", 20) || !strncmp(base, "k8s-device-plugin", 17))
        return DV_LINT_CHART_PLUGIN;
    return !strncmp(base, "gpu-operator", 12) ? DV_LINT_CHART_OPERATOR : DV_LINT_CHART_NONE;
}

const char *dv_lint_kube_chart_name(enum dv_lint_chart chart)
{
    static const char *const names[] = {"", "nvidia-device-plugin", "gpu-operator"};
    return names[chart];
}

/* Where a value is that somebody puts elsewhere. */
static const char *plugin_hint(const char *path)
{
    static const char *const moved[][2] = {
        {"migStrategy", " (it is a top-level value)"},
        {"failOnInitError", " (it is a top-level value)"},
        {"deviceListStrategy", " (it is a top-level value)"},
        {"deviceIDStrategy", " (it is a top-level value)"},
        {"strategy", " (migStrategy is the plugin's; mig.strategy is the GPU Operator's)"},
        {"driver", " (that is the GPU Operator's)"},
        {"config", " (config is a top-level value: {name, map, default})"},
    };
    const char *last = strrchr(path, '.');
    last = last ? last + 1 : path;
    for (size_t i = 0; i < DV_ARRAY_SIZE(moved); i++)
        if (!strcmp(last, moved[i][0]))
            return moved[i][1];
    return "";
}

bool dv_lint_kube_chart_value(enum dv_lint_chart chart, const char *path, const char **ret_hint)
{
    bool plugin = chart == DV_LINT_CHART_PLUGIN;
    const char *const *tops = plugin ? plugin_values : operator_values;
    size_t n = plugin ? DV_ARRAY_SIZE(plugin_values) : DV_ARRAY_SIZE(operator_values);
    const char *below = plugin ? "config." : "devicePlugin.config.";
    char first[64];
    size_t len = strcspn(path, ".[");
    *ret_hint = plugin ? plugin_hint(path) : "";
    snprintf(first, sizeof first, "%.*s", (int)DV_MIN(len, sizeof first - 1), path);
    if (chart == DV_LINT_CHART_NONE)
        return true;
    if (!is_in(first, tops, n))
        return false;
    if (plugin && !strncmp(path, "devicePlugin.", 13))
        return !strcmp(path, "devicePlugin.enabled");
    if (strncmp(path, below, strlen(below)) != 0)
        return true;
    const char *key = path + strlen(below);
    snprintf(first, sizeof first, "%.*s", (int)DV_MIN(strcspn(key, ".["), sizeof first - 1), key);
    return plugin ? is_in(first, plugin_config, DV_ARRAY_SIZE(plugin_config))
                  : is_in(first, operator_config, DV_ARRAY_SIZE(operator_config));
}

/* ---- training ------------------------------------------------------------------------------- */

bool dv_lint_kube_is_training(const char *text)
{
    static const char *const signs[] = {"train",     "finetune",   "fine-tun",
                                        "pretrain",  "torchrun",   "accelerate launch",
                                        "deepspeed", "horovodrun", "torch.distributed"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(signs); i++)
        for (const char *p = text; (p = strcasestr(p, signs[i])); p++) {
            /* "constraint", "restrain", "train-ticket" apart: a word has to begin here. */
            bool begins = p == text || !isalpha((unsigned char)p[-1]);
            bool pre = p - text >= 3 && !strncasecmp(p - 3, "pre", 3);
            bool done = !i && !strncasecmp(p, "trained", 7); /* a trained model is served */
            if ((begins || pre) && !done)
                return true;
        }
    return false;
}
