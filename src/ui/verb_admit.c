/* SPDX-License-Identifier: Apache-2.0 */
/*
 * divvy admit: what admission would make of manifests, without a cluster: the code that
 * `divvy-controller webhook` runs.
 */
#include "admission/admission.h"
#include "layout_file.h"
#include "policy/gpu_names.h"
#include "render/json.h"
#include "verbs.h"
#include "yaml/yaml_output.h"
#include "yaml/yaml_tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct values {
    const char *strategy, *resources, *print;
};

static const struct dv_option options[] = {
    {"namespace-strategy", 's', "VALUE",
     "the namespace's label gpu-strategy (mig-only, whole_mig, ...); default: that of a Namespace "
     "in FILE",
     DV_OPTION_TEXT, offsetof(struct values, strategy)},
    {"resource", 0, "NAME=MODE,...",
     "what is behind names that a device plugin's configuration gives (nvidia.com/gpu-a100=whole); "
     "MODE is whole, mig, shared or governed; default: as far as the name says",
     DV_OPTION_TEXT, offsetof(struct values, resources)},
    {"print", 'p', "WHAT", "what a table is too long for", DV_OPTION_CHOICE,
     offsetof(struct values, print), .choices = "verdicts|manifest|patch", .otherwise = "verdicts"},
};

/* One call. */
struct admit {
    const struct dv_ui *ui;
    const struct values *v;
    struct dv_gpu_names names;
    const struct dv_yaml *yaml;
    struct dv_output_node *objects; /* of the answer */
    struct dv_str manifest;         /* or the patches: --print */
    bool refused;
};

static const char *text_at(const struct dv_yaml_node *map, const char *key)
{
    const struct dv_yaml_node *n = map && map->kind == DV_YAML_MAP ? dv_yaml_get(map, key) : NULL;
    return n && n->kind == DV_YAML_SCALAR ? n->text : "";
}

static const struct dv_yaml_node *map_at(const struct dv_yaml_node *map, const char *key)
{
    const struct dv_yaml_node *n = map && map->kind == DV_YAML_MAP ? dv_yaml_get(map, key) : NULL;
    return n && n->kind == DV_YAML_MAP ? n : NULL;
}

/* ---- namespaces that stand in the file ------------------------------------------------------ */

static const char *strategy_of(const struct admit *a, const struct dv_yaml_node *object)
{
    const char *name = text_at(map_at(object, "metadata"), "namespace");
    if (a->v->strategy)
        return a->v->strategy;
    for (uint32_t i = 0; *name && i < a->yaml->n_roots; i++) {
        const struct dv_yaml_node *meta = map_at(a->yaml->roots[i], "metadata");
        if (!strcmp(text_at(a->yaml->roots[i], "kind"), "Namespace") &&
            !strcmp(text_at(meta, "name"), name))
            return text_at(map_at(meta, "labels"), DV_GPU_STRATEGY_LABEL);
    }
    return NULL;
}

/* ---- where a finding is --------------------------------------------------------------------- */

static void unescape(char *step)
{
    char *to = step;
    for (const char *p = step; *p; p++, to++)
        *to = *p == '~' && (p[1] == '0' || p[1] == '1') ? (*++p == '1' ? '/' : '~') : *p;
    *to = 0;
}

/* The node that a JSON pointer leads to, or the last one on the way. */
static const struct dv_yaml_node *follow(const struct dv_yaml_node *at, const char *pointer)
{
    char *copy = strdup(pointer), *rest = copy;
    for (char *step; copy && (step = strsep(&rest, "/"));) {
        const struct dv_yaml_node *next = NULL;
        if (!*step)
            continue;
        unescape(step);
        if (at->kind == DV_YAML_MAP)
            next = dv_yaml_get(at, step);
        else if (at->kind == DV_YAML_LIST && strtoul(step, NULL, 10) < at->n)
            next = at->items[strtoul(step, NULL, 10)];
        if (!next)
            break;
        at = next;
    }
    free(copy);
    return at;
}

/* ---- one object ----------------------------------------------------------------------------- */

static void add_findings(struct dv_output_node *row, const struct dv_yaml_node *object,
                         const struct dv_admission *found)
{
    static const char *const levels[] = {"note", "warning", "refusal"};
    struct dv_output_node *list = dv_output_array(row, "findings");
    for (uint32_t i = 0; i < found->n_findings; i++) {
        const struct dv_admission_finding *f = &found->findings[i];
        const struct dv_yaml_node *at = follow(object, f->path);
        struct dv_output_node *one = dv_output_object(list, NULL);
        dv_output_string(one, "level", levels[f->level]);
        dv_output_string(one, "path", f->path);
        dv_output_uint(one, "line", at->line);
        dv_output_uint(one, "column", at->column);
        dv_output_string(one, "text", f->text);
    }
}

static const char *verdict_of(const struct dv_admission *found)
{
    bool warned = found->warned && found->result == DV_ADMISSION_ACCEPTED;
    return warned ? "warned" : dv_admission_result_name(found->result);
}

/* JSON is YAML, and so can be applied as it is. */
static void print_object(struct admit *a, const char *json)
{
    if (a->manifest.len)
        dv_str_add(&a->manifest, "---\n");
    dv_str_add(&a->manifest, json);
    dv_str_addc(&a->manifest, '\n');
}

static void add_object(struct admit *a, const struct dv_yaml_node *object,
                       const struct dv_admission *found)
{
    struct dv_output_node *row = dv_output_object(a->objects, NULL);
    const struct dv_yaml_node *meta = map_at(object, "metadata");
    dv_output_string(row, "kind", text_at(object, "kind"));
    dv_output_string(row, "namespace", text_at(meta, "namespace"));
    dv_output_string(row, "name", text_at(meta, *text_at(meta, "name") ? "name" : "generateName"));
    dv_output_string(row, "verdict", verdict_of(found));
    add_findings(row, object, found);
    dv_output_string(row, "patch", found->patch);
    if (!strcmp(a->v->print, "patch") && found->patch)
        print_object(a, found->patch);
    if (!strcmp(a->v->print, "manifest") && found->object)
        print_object(a, found->object);
    a->refused = a->refused || found->result == DV_ADMISSION_REFUSED;
}

static int admit_object(struct admit *a, const struct dv_yaml_node *object, struct dv_err *err)
{
    dv_cleanup(dv_output_free) struct dv_output *tree = NULL;
    dv_cleanup(dv_str_done) struct dv_str json = {0};
    dv_cleanup(dv_admission_free) struct dv_admission *found = NULL;
    struct dv_admission_rules rules = {strategy_of(a, object), &a->names};
    if (object->kind != DV_YAML_MAP || !*text_at(object, "kind"))
        return dv_yaml_bad(a->yaml, object, err,
                           "an object of Kubernetes is wanted, with apiVersion and kind");
    int r = dv_yaml_output_node(a->yaml->name, object, &tree, err);
    if (r == 0)
        r = dv_json_write(tree, false, &json);
    if (r == 0)
        r = dv_admission_object(dv_str_get(&json), json.len, &rules, &found, err);
    if (r == 0)
        add_object(a, object, found);
    return r;
}

static int admit_all(struct admit *a, struct dv_err *err)
{
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < a->yaml->n_roots; i++) {
        const struct dv_yaml_node *root = a->yaml->roots[i];
        const struct dv_yaml_node *items =
            !strcmp(text_at(root, "kind"), "List") ? dv_yaml_get(root, "items") : NULL;
        if (!items || items->kind != DV_YAML_LIST)
            r = admit_object(a, root, err);
        for (uint32_t k = 0; r == 0 && items && items->kind == DV_YAML_LIST && k < items->n; k++)
            r = admit_object(a, items->items[k], err);
    }
    return r;
}

/* ---- the answer ----------------------------------------------------------------------------- */

static void add_place(const struct admit *a, const struct dv_output_node *finding,
                      struct dv_str *text)
{
    dv_str_add(text, "    ");
    dv_value_clean(a->yaml->name, text);
    dv_str_addf(text,
                ":%llu: ", (unsigned long long)dv_output_count(dv_output_get(finding, "line"), 0));
    if (!strcmp(dv_output_text(dv_output_get(finding, "level"), ""), "warning"))
        dv_str_add(text, "warning: ");
    dv_value_clean(dv_output_text(dv_output_get(finding, "text"), ""), text);
    dv_str_addc(text, '\n');
}

/* Sentences, not columns. */
static void add_lines(const struct admit *a, struct dv_str *text)
{
    for (const struct dv_output_node *n = a->objects->first; n; n = n->next) {
        const char *namespace = dv_output_text(dv_output_get(n, "namespace"), "");
        const char *verdict = dv_output_text(dv_output_get(n, "verdict"), "");
        dv_value_clean(dv_output_text(dv_output_get(n, "kind"), ""), text);
        dv_str_addc(text, ' ');
        dv_value_clean(namespace, text);
        dv_str_add(text, *namespace ? "/" : "");
        dv_value_clean(dv_output_text(dv_output_get(n, "name"), ""), text);
        dv_str_addf(text, ": %s\n", !strcmp(verdict, "none") ? "no GPU" : verdict);
        const struct dv_output_node *list = dv_output_get(n, "findings");
        for (const struct dv_output_node *f = list ? list->first : NULL; f; f = f->next)
            add_place(a, f, text);
    }
}

static const struct dv_table_column columns[] = {
    {"KIND", "^kind", .csv = "kind"},
    {"NAMESPACE", "^namespace", .csv = "namespace"},
    {"NAME", "^name", .csv = "name"},
    {"VERDICT", "^verdict", .csv = "verdict"},
    {"LEVEL", "level"},
    {"LINE", "line", .right = true},
    {"TEXT", "text"},
};
static const struct dv_table view = {"objects.findings", columns, DV_ARRAY_SIZE(columns)};

static int answer(struct admit *a, struct dv_output *o)
{
    int exit = a->refused ? DV_UI_FAILURE : DV_UI_OK;
    bool verdicts = !strcmp(a->v->print, "verdicts");
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    if (!dv_ui_is(a->ui, "table") && verdicts)
        return dv_ui_answer(a->ui, o, &view, NULL, exit);
    if (dv_output_failed(o) || a->manifest.failed)
        return dv_ui_fail(a->ui, DV_UI_FAILURE, "out of memory");
    add_lines(a, &text);
    if (text.failed)
        return dv_ui_fail(a->ui, DV_UI_FAILURE, "out of memory");
    if (!verdicts)
        fputs(dv_str_get(&text), stderr);
    int r = dv_ui_print(dv_str_get(verdicts ? &text : &a->manifest));
    return r ? r : exit;
}

static int run(const struct dv_ui *ui)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    dv_cleanup(dv_yaml_freep) struct dv_yaml *yaml = NULL;
    dv_cleanup(dv_output_free) struct dv_output *o = dv_output_new("Admission");
    struct admit a = {.ui = ui,
                      .v = ui->values,
                      .objects = o ? dv_output_array(dv_output_root(o), "objects") : NULL};
    struct dv_err err = {{0}};
    const char *path = ui->argv[0];
    if (!a.objects)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    if (a.v->resources && dv_gpu_names_add(&a.names, a.v->resources, &err) < 0)
        return dv_ui_fail(ui, DV_UI_USAGE, "--resource: %s", err.msg);
    if (dv_layout_file_read(path, &text, &err) < 0 ||
        dv_yaml_parse(!strcmp(path, "-") ? "standard input" : path, dv_str_get(&text), text.len,
                      &yaml, &err) < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "%s", err.msg);
    a.yaml = yaml;
    int r = admit_all(&a, &err);
    int exit = r < 0 ? dv_ui_fail(ui, DV_UI_FAILURE, "%s", err.msg[0] ? err.msg : strerror(-r))
                     : answer(&a, o);
    dv_str_done(&a.manifest);
    return exit;
}

static const struct dv_ui_example examples[] = {
    {"would the cluster take this, and what would it make of it", "divvy admit pod.yaml"},
    {"the same in a namespace with the label gpu-strategy: mig-only",
     "divvy admit pod.yaml --namespace-strategy mig-only"},
    {"rewrite where there is no webhook", "divvy admit -p manifest pod.yaml | kubectl apply -f -"},
};

const struct dv_ui_verb dv_verb_admit = {
    .name = "admit",
    .args = "FILE",
    .summary = "what admission on Kubernetes makes of the GPUs in manifests",
    .details = "Says of each object in FILE (- is the standard input) whether it is accepted, "
               "rewritten (nvidia.com/gpu: 0.25 becomes a governed slice), warned of or refused, "
               "as 'divvy-controller webhook' would, and why; needs no cluster. --print manifest "
               "and --print patch print the objects, or the JSON patches, and the verdicts on the "
               "standard error. Ends with 1 when something is refused.",
    .options = options,
    .n_options = DV_ARRAY_SIZE(options),
    .values_size = sizeof(struct values),
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .min_words = 1,
    .max_words = 1,
    .prints = true,
    .run = run,
};
