/* SPDX-License-Identifier: Apache-2.0 */
/* What makes pods: Jobs, Deployments and so on; and the DaemonSets of NVIDIA's own programs. */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool in_scope(const struct dv_lintfile *l)
{
    return l->report->n_objects && l->report->objects[l->report->n_objects - 1].in_scope;
}

/* ---- Jobs ----------------------------------------------------------------------------------- */

static void judge_job(struct dv_lintfile *l, const struct dv_yaml_node *job, const char *name)
{
    const struct dv_yaml_node *spec = dv_lintfile_find(job, "spec/template/spec");
    const struct dv_yaml_node *policy = dv_lintfile_get(spec, "restartPolicy");
    char says[80];
    if (!spec || dv_yaml_is(policy, "Never") || dv_yaml_is(policy, "OnFailure"))
        return;
    snprintf(says, sizeof says, policy ? ", not %.40s" : "%.0s; nothing means Always",
             dv_lintfile_scalar(policy));
    dv_lintfile_add(l, policy ? policy : spec, DV_LINT_RESTART_POLICY, name, says, NULL, NULL);
}

/* ---- selectors ------------------------------------------------------------------------------ */

static void judge_selector(struct dv_lintfile *l, const struct dv_yaml_node *object,
                           const char *name)
{
    const struct dv_yaml_node *want = dv_lintfile_find(object, "spec/selector/matchLabels");
    const struct dv_yaml_node *have = dv_lintfile_find(object, "spec/template/metadata/labels");
    for (uint32_t i = 0; want && want->kind == DV_YAML_MAP && i < want->n; i++) {
        const struct dv_yaml_node *key = want->items[2 * i], *value = want->items[2 * i + 1];
        if (strcmp(dv_lintfile_text(have, key->text), dv_lintfile_scalar(value)) != 0)
            dv_lintfile_add(l, key, DV_LINT_SELECTOR, name, key->text, dv_lintfile_scalar(value),
                            NULL);
    }
}

/* ---- affinity to pods ----------------------------------------------------------------------- */

static bool has_value(const struct dv_yaml_node *values, const char *text)
{
    for (uint32_t i = 0; values && i < values->n; i++)
        if (!strcmp(dv_lintfile_scalar(values->items[i]), text))
            return true;
    return false;
}

/* The first requirement of a label selector that these labels do not meet; NULL: none. */
static const struct dv_yaml_node *unmet(const struct dv_yaml_node *selector,
                                        const struct dv_yaml_node *labels, char *what, size_t size)
{
    const struct dv_yaml_node *match = dv_lintfile_map(selector, "matchLabels");
    const struct dv_yaml_node *list = dv_lintfile_list(selector, "matchExpressions");
    for (uint32_t i = 0; match && i < match->n; i++) {
        const char *key = match->items[2 * i]->text;
        const char *value = dv_lintfile_scalar(match->items[2 * i + 1]);
        snprintf(what, size, "%.80s=%.80s", key, value);
        if (strcmp(dv_lintfile_text(labels, key), value) != 0)
            return match->items[2 * i];
    }
    for (uint32_t i = 0; list && i < list->n; i++) {
        const struct dv_yaml_node *one = list->items[i], *key = dv_lintfile_get(one, "key");
        const char *op = dv_lintfile_text(one, "operator");
        bool there = key && dv_lintfile_get(labels, dv_lintfile_scalar(key));
        bool in = there && has_value(dv_lintfile_list(one, "values"),
                                     dv_lintfile_text(labels, dv_lintfile_scalar(key)));
        snprintf(what, size, "%.80s", dv_lintfile_scalar(key));
        if (key && ((!strcmp(op, "In") && !in) || (!strcmp(op, "Exists") && !there)))
            return key;
    }
    return NULL;
}

/* Several pods that want to be beside pods like themselves. */
static void judge_affinity(struct dv_lintfile *l, const struct dv_yaml_node *object)
{
    const struct dv_yaml_node *spec = dv_lintfile_map(object, "spec");
    const struct dv_yaml_node *terms =
        dv_lintfile_find(spec, "template/spec/affinity/podAffinity/"
                               "requiredDuringSchedulingIgnoredDuringExecution");
    const char *count = dv_lintfile_text(spec, "parallelism");
    char what[176];
    count = *count ? count : dv_lintfile_text(spec, "replicas");
    if (!terms || terms->kind != DV_YAML_LIST || strtol(count, NULL, 10) < 2)
        return;
    for (uint32_t i = 0; i < terms->n; i++) {
        const struct dv_yaml_node *at =
            unmet(dv_lintfile_get(terms->items[i], "labelSelector"),
                  dv_lintfile_find(spec, "template/metadata/labels"), what, sizeof what);
        if (at)
            dv_lintfile_add(l, at, DV_LINT_AFFINITY_NOT_GANG, what, NULL, NULL, NULL);
    }
}

void dv_lintfile_workload(struct dv_lintfile *l, const struct dv_yaml_node *object)
{
    const char *kind = dv_lintfile_text(object, "kind");
    const char *name = dv_lintfile_text(dv_lintfile_map(object, "metadata"), "name");
    if (!in_scope(l))
        return;
    if (!strcmp(kind, "Job"))
        judge_job(l, object, name);
    if (!strcmp(kind, "CronJob"))
        judge_job(l, dv_lintfile_find(object, "spec/jobTemplate"), name);
    if (!strcmp(kind, "Deployment") || !strcmp(kind, "DaemonSet") || !strcmp(kind, "StatefulSet") ||
        !strcmp(kind, "ReplicaSet"))
        judge_selector(l, object, name);
    judge_affinity(l, object);
}

/* ---- NVIDIA's programs ---------------------------------------------------------------------- */

/* Is the host's directory mounted in the container, at this path or above it? *ret_at: where it is
 * mounted instead. */
static bool mounts(const struct dv_yaml_node *spec, const struct dv_yaml_node *container,
                   const char *host, const struct dv_yaml_node **ret_at)
{
    const struct dv_yaml_node *volumes = dv_lintfile_list(spec, "volumes");
    const struct dv_yaml_node *list = dv_lintfile_list(container, "volumeMounts");
    *ret_at = NULL;
    for (uint32_t i = 0; volumes && i < volumes->n; i++) {
        const char *path = dv_lintfile_text(dv_lintfile_map(volumes->items[i], "hostPath"), "path");
        const char *name = dv_lintfile_text(volumes->items[i], "name");
        size_t n = strlen(path);
        while (n > 1 && path[n - 1] == '/')
            n--;
        if (!n || strncmp(path, host, n) != 0 || (host[n] && host[n] != '/'))
            continue;
        for (uint32_t k = 0; list && k < list->n; k++) {
            const char *at = dv_lintfile_text(list->items[k], "mountPath");
            size_t m = strlen(at);
            while (m > 1 && at[m - 1] == '/')
                m--;
            if (strcmp(dv_lintfile_text(list->items[k], "name"), name) != 0)
                continue;
            if (m == n && !strncmp(at, path, n))
                return true;
            *ret_at = dv_lintfile_get(list->items[k], "mountPath");
        }
    }
    return false;
}

static const char *variable(const struct dv_yaml_node *container, const char *name)
{
    const struct dv_yaml_node *env = dv_lintfile_list(container, "env");
    for (uint32_t i = 0; env && i < env->n; i++)
        if (!strcmp(dv_lintfile_text(env->items[i], "name"), name))
            return dv_lintfile_text(env->items[i], "value");
    return "";
}

static void judge_exporter(struct dv_lintfile *l, const struct dv_yaml_node *spec,
                           const struct dv_yaml_node *container)
{
    static const char host[] = "/var/lib/kubelet/pod-resources";
    const struct dv_yaml_node *at;
    const char *name = dv_lintfile_text(container, "name");
    char where[160] = "not mounted";
    dv_lint_in_scope(l->report);
    if (strcmp(variable(container, "DCGM_EXPORTER_KUBERNETES"), "true") != 0 ||
        mounts(spec, container, host, &at))
        return;
    if (at)
        snprintf(where, sizeof where, "mounted at %.100s", dv_lintfile_scalar(at));
    struct dv_lint_finding *f =
        dv_lintfile_add(l, at ? at : container, DV_LINT_EXPORTER_PODS, name, where, NULL, NULL);
    if (at)
        dv_lintfile_edit_scalar(l, f, at, host);
}

/* The keys of the ConfigMap of this file that is mounted where `path` lies, as a list; *ret_name:
 * its name, NULL where none is there to be asked. True: it holds the file. */
static bool holds_file(const struct dv_lintfile *l, const struct dv_yaml_node *spec,
                       const struct dv_yaml_node *container, const char *path,
                       const char **ret_name, char *keys, size_t size)
{
    const char *base = strrchr(path, '/');
    const struct dv_yaml_node *list = dv_lintfile_list(container, "volumeMounts");
    const struct dv_yaml_node *volumes = dv_lintfile_list(spec, "volumes");
    *ret_name = NULL;
    for (uint32_t i = 0; base && list && i < list->n; i++) {
        const char *at = dv_lintfile_text(list->items[i], "mountPath");
        if (strlen(at) != (size_t)(base - path) || strncmp(at, path, strlen(at)) != 0)
            continue;
        for (uint32_t k = 0; volumes && k < volumes->n; k++)
            if (!strcmp(dv_lintfile_text(volumes->items[k], "name"),
                        dv_lintfile_text(list->items[i], "name")) &&
                !dv_lintfile_list(dv_lintfile_map(volumes->items[k], "configMap"), "items"))
                *ret_name =
                    dv_lintfile_text(dv_lintfile_map(volumes->items[k], "configMap"), "name");
    }
    for (uint32_t i = 0; *ret_name && **ret_name && i < l->n_documents; i++) {
        const struct dv_yaml_node *o = l->documents[i]->n_roots ? l->documents[i]->roots[0] : NULL;
        const struct dv_yaml_node *data = dv_lintfile_map(o, "data");
        size_t used = 0;
        if (strcmp(dv_lintfile_text(o, "kind"), "ConfigMap") != 0 || !data ||
            strcmp(dv_lintfile_text(dv_lintfile_map(o, "metadata"), "name"), *ret_name) != 0)
            continue;
        keys[0] = 0;
        for (uint32_t k = 0; k < data->n && used < size; k++)
            used += (size_t)snprintf(keys + used, size - used, "%s%.60s", k ? ", " : "",
                                     data->items[2 * k]->text);
        return dv_lintfile_get(data, base + 1) != NULL;
    }
    *ret_name = NULL;
    return true;
}

/* Its own command line: "-config=FILE" and its like. */
static void judge_plugin_flag(struct dv_lintfile *l, const struct dv_yaml_node *spec,
                              const struct dv_yaml_node *container, const struct dv_yaml_node *arg)
{
    static const char *const wrong[] = {"-config", "--config"};
    const char *text = dv_lintfile_scalar(arg), *name;
    size_t n = strcspn(text, "=");
    const char *file = text[n] ? text + n + 1 : "";
    char keys[200], right[300], flag[32];
    for (size_t i = 0; i < DV_ARRAY_SIZE(wrong); i++) {
        if (strlen(wrong[i]) != n || strncmp(wrong[i], text, n) != 0)
            continue;
        snprintf(right, sizeof right, "--config-file%.250s", text + n);
        snprintf(flag, sizeof flag, "%.*s", (int)DV_MIN(n, sizeof flag - 1), text);
        dv_lintfile_edit_scalar(l,
                                dv_lintfile_add(l, arg, DV_LINT_PLUGIN_FLAG, flag,
                                                "; --config-file names the file", NULL, NULL),
                                arg, right);
    }
    if (strstr(text, "config") && *file == '/' &&
        !holds_file(l, spec, container, file, &name, keys, sizeof keys))
        dv_lintfile_add(l, arg, DV_LINT_PLUGIN_FILE, file, name, strrchr(file, '/') + 1, keys);
}

/* MIG_STRATEGY in its environment, --mig-strategy on its command line. */
static void judge_strategy(struct dv_lintfile *l, const struct dv_yaml_node *at, const char *what,
                           const char *value)
{
    enum dv_mig_strategy ignored;
    struct dv_err err = {{0}};
    if (!*value)
        return;
    if (dv_plugin_flags_mig_strategy_parse(value, &ignored, &err) < 0)
        dv_lintfile_add(l, at, DV_LINT_STRATEGY_BAD, what, err.msg, NULL, NULL);
    else if (l->strategy && !l->options->has_strategy && strcmp(l->strategy, value) != 0)
        dv_lintfile_add(l, at, DV_LINT_STRATEGY_TWICE, what, value, "migStrategy", l->strategy);
}

static void judge_strategies(struct dv_lintfile *l, const struct dv_yaml_node *container)
{
    static const char *const lists[] = {"command", "args"};
    static const char option[] = "--mig-strategy=";
    const struct dv_yaml_node *env = dv_lintfile_list(container, "env");
    for (uint32_t i = 0; env && i < env->n; i++)
        if (!strcmp(dv_lintfile_text(env->items[i], "name"), "MIG_STRATEGY"))
            judge_strategy(l, env->items[i], "MIG_STRATEGY",
                           dv_lintfile_text(env->items[i], "value"));
    for (size_t i = 0; i < DV_ARRAY_SIZE(lists); i++) {
        const struct dv_yaml_node *list = dv_lintfile_list(container, lists[i]);
        for (uint32_t k = 0; list && k < list->n; k++)
            if (!strncmp(dv_lintfile_scalar(list->items[k]), option, sizeof option - 1))
                judge_strategy(l, list->items[k], "--mig-strategy",
                               dv_lintfile_scalar(list->items[k]) + sizeof option - 1);
    }
}

static void judge_plugin(struct dv_lintfile *l, const struct dv_yaml_node *spec,
                         const struct dv_yaml_node *container)
{
    static const char *const lists[] = {"command", "args"};
    const struct dv_yaml_node *at;
    const struct dv_yaml_node *command = dv_lintfile_list(container, "command");
    const char *program = command && command->n ? dv_lintfile_scalar(command->items[0]) : "";
    const char *base = strrchr(program, '/') ? strrchr(program, '/') + 1 : program;
    dv_lint_in_scope(l->report);
    judge_strategies(l, container);
    /* The image also holds gpu-feature-discovery, config-manager and mps-control-daemon. */
    if (*base && strcmp(base, "nvidia-device-plugin") != 0)
        return;
    for (size_t i = 0; i < DV_ARRAY_SIZE(lists); i++) {
        const struct dv_yaml_node *list = dv_lintfile_list(container, lists[i]);
        for (uint32_t k = 0; list && k < list->n; k++)
            judge_plugin_flag(l, spec, container, list->items[k]);
    }
    if (!mounts(spec, container, "/var/lib/kubelet/device-plugins", &at))
        dv_lintfile_add(l, at ? at : container, DV_LINT_PLUGIN_SOCKETS,
                        dv_lintfile_text(container, "name"), NULL, NULL, NULL);
}

/* ---- scripts in containers ------------------------------------------------------------------ */

/* A daemon of one's own needs the pipe directory and /dev/shm in common with its clients. */
static void judge_own_mps(struct dv_lintfile *l, const struct dv_yaml_node *spec,
                          const struct dv_yaml_node *container, const struct dv_yaml_node *script)
{
    const struct dv_yaml_node *at;
    const char *pipe = variable(container, "CUDA_MPS_PIPE_DIRECTORY");
    bool has_pipe = mounts(spec, container, *pipe ? pipe : "/tmp/nvidia-mps", &at);
    bool has_shm = mounts(spec, container, "/dev/shm", &at) ||
                   dv_yaml_is(dv_lintfile_get(spec, "hostIPC"), "true");
    if (!strstr(dv_lintfile_scalar(script), "nvidia-cuda-mps-control -d") || (has_pipe && has_shm))
        return;
    dv_lintfile_add(l, script, DV_LINT_OWN_MPS_DAEMON,
                    has_pipe  ? "/dev/shm"
                    : has_shm ? "its pipe directory"
                              : "its pipe directory and /dev/shm",
                    NULL, NULL, NULL);
}

/* ["sh", "-c", SCRIPT], in command or in args. */
static void judge_scripts(struct dv_lintfile *l, const struct dv_yaml_node *spec,
                          const struct dv_yaml_node *container)
{
    static const char *const lists[] = {"command", "args"};
    bool shell = false, next = false;
    for (size_t i = 0; i < DV_ARRAY_SIZE(lists); i++) {
        const struct dv_yaml_node *list = dv_lintfile_list(container, lists[i]);
        for (uint32_t k = 0; list && k < list->n; k++) {
            const char *word = dv_lintfile_scalar(list->items[k]);
            const char *base = strrchr(word, '/');
            base = base ? base + 1 : word;
            if (next && *word && l->depth < DV_LINTFILE_DEPTH_MAX) {
                struct dv_lint_at at = dv_lintfile_text_at(l, list->items[k]);
                l->depth++;
                dv_lintfile_shell(l, word, strlen(word), &at);
                l->depth--;
                judge_own_mps(l, spec, container, list->items[k]);
            }
            next = shell && !next && word[0] == '-' && strchr(word, 'c') && word[1] != '-';
            shell = shell || !strcmp(base, "sh") || !strcmp(base, "bash");
        }
    }
}

void dv_lintfile_daemon(struct dv_lintfile *l, const struct dv_yaml_node *object,
                        const struct dv_yaml_node *spec)
{
    const struct dv_yaml_node *containers = dv_lintfile_list(spec, "containers");
    for (uint32_t i = 0; containers && i < containers->n; i++) {
        const struct dv_yaml_node *c = containers->items[i];
        const char *image = dv_lintfile_text(c, "image");
        if (strstr(image, "/dcgm-exporter") || !strncmp(image, "dcgm-exporter", 13))
            judge_exporter(l, spec, c);
        if (strstr(image, "/k8s-device-plugin"))
            judge_plugin(l, spec, c);
        judge_scripts(l, spec, c);
    }
    (void)object;
}
