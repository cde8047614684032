/* SPDX-License-Identifier: Apache-2.0 */
#include "internal.h"
#include "policy/gpu_names.h"
#include "render/gpu_request_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One object under way. */
struct judging {
    struct dv_admission *a;
    struct dv_admission_edit edit;
    const struct dv_gpu_names *names;
    uint32_t allowed;
    struct json_object *noted;    /* the annotation as it was, or NULL */
    struct json_object *original; /* as it shall be */
    struct dv_str path;           /* of what is looked at */
    bool failed;
};

/* One container. */
struct container {
    struct json_object *json, *resources;
    const char *name;
    struct json_object *note; /* its entry in the annotation, or NULL */
    bool ours;                /* its percents were written here */
    struct dv_gpu_ask *asks;
    size_t n;
    struct dv_gpu_verdict verdict;
};

static const char *const lists[] = {"requests", "limits"};

/* ---- where the pod is ----------------------------------------------------------------------- */

#define STEPS_MAX 5

static const struct {
    const char *group, *kind;
    const char *steps[STEPS_MAX]; /* to what has the pod's metadata and spec */
} kinds[] = {
    {"", "Pod", {NULL}},
    {"", "PodTemplate", {"template"}},
    {"", "ReplicationController", {"spec", "template"}},
    {"apps", "Deployment", {"spec", "template"}},
    {"apps", "StatefulSet", {"spec", "template"}},
    {"apps", "DaemonSet", {"spec", "template"}},
    {"apps", "ReplicaSet", {"spec", "template"}},
    {"batch", "Job", {"spec", "template"}},
    {"batch", "CronJob", {"spec", "jobTemplate", "spec", "template"}},
};

static bool is_of_group(const char *api_version, const char *group)
{
    size_t len = strlen(group);
    return len ? !strncmp(api_version, group, len) && api_version[len] == '/'
               : *api_version && !strchr(api_version, '/');
}

/* The pod or template, and its pointer in j->path; NULL: there is none. */
static struct json_object *find_pod(struct judging *j, struct json_object *object)
{
    const char *version = dv_admission_string(object, "apiVersion"),
               *kind = dv_admission_string(object, "kind");
    for (size_t i = 0; i < DV_ARRAY_SIZE(kinds); i++) {
        if (strcmp(kind, kinds[i].kind) != 0 || !is_of_group(version, kinds[i].group))
            continue;
        for (const char *const *step = kinds[i].steps; *step && object; step++) {
            dv_admission_pointer_add(&j->path, *step);
            object = dv_admission_member(object, *step, json_type_object);
        }
        return object;
    }
    return NULL;
}

/* j->path with one more step; back() takes it away again. */
static size_t into(struct judging *j, const char *key)
{
    size_t len = j->path.len;
    dv_admission_pointer_add(&j->path, key);
    return len;
}

static void back(struct judging *j, size_t len)
{
    if (j->path.failed)
        j->failed = true;
    else if (j->path.data)
        j->path.data[j->path.len = len] = 0;
}

/* ---- findings ------------------------------------------------------------------------------- */

/* Takes what is in `text`. */
static void add_finding(struct judging *j, enum dv_admission_level level, const char *key,
                        struct dv_str *text)
{
    struct dv_admission *a = j->a;
    if (a->n_findings == DV_ADMISSION_FINDINGS_MAX)
        return;
    if (!a->findings)
        a->findings = calloc(DV_ADMISSION_FINDINGS_MAX, sizeof *a->findings);
    size_t len = into(j, key);
    char *path = strdup(dv_str_get(&j->path)), *line = dv_str_steal(text);
    back(j, len);
    if (!a->findings || !path || !line) {
        free(path);
        free(line);
        j->failed = true;
        return;
    }
    dv_admission_clean(path);
    dv_admission_clean(line);
    a->findings[a->n_findings++] = (struct dv_admission_finding){level, path, line};
}

static void begin_line(const struct container *c, struct dv_str *text)
{
    dv_str_addf(text, "container \"%.63s\": ", c->name);
}

static void add_verdict(struct judging *j, const struct container *c)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    if (c->verdict.result == DV_GPU_REQUEST_NONE)
        return;
    begin_line(c, &text);
    dv_gpu_request_text(&c->verdict, &text);
    add_finding(
        j, c->verdict.result == DV_GPU_REQUEST_REFUSED ? DV_ADMISSION_REFUSAL : DV_ADMISSION_NOTE,
        "resources", &text);
}

static void warn_of_environment(struct judging *j, const struct container *c)
{
    struct json_object *env = dv_admission_member(c->json, "env", json_type_array);
    size_t n = env ? json_object_array_length(env) : 0;
    for (size_t i = 0; i < n; i++) {
        struct json_object *one = json_object_array_get_idx(env, i);
        const char *value =
            json_object_get_string(dv_admission_member(one, "value", json_type_string));
        enum dv_gpu_request_warning warning =
            dv_gpu_request_env(&c->verdict, dv_admission_string(one, "name"), value);
        if (warning == DV_GPU_REQUEST_QUIET)
            continue;
        dv_cleanup(dv_str_done) struct dv_str text = {0};
        begin_line(c, &text);
        dv_gpu_request_text_warning(&c->verdict, warning, value, &text);
        char index[24];
        snprintf(index, sizeof index, "%zu", i);
        size_t len = into(j, "env");
        add_finding(j, DV_ADMISSION_WARNING, index, &text);
        back(j, len);
        j->a->warned = true;
    }
}

/* ---- what a container asks ------------------------------------------------------------------ */

static const char *quantity(struct json_object *list, const char *resource)
{
    struct json_object *v = NULL;
    if (list)
        json_object_object_get_ex(list, resource, &v);
    return v ? json_object_get_string(v) : NULL;
}

/* asks of one list that are not there yet. */
static void add_asks(const struct judging *j, struct container *c, struct json_object *list,
                     struct json_object *other)
{
    if (!list)
        return;
    json_object_object_foreach(list, resource, value)
    {
        bool there = false;
        for (size_t i = 0; i < c->n; i++)
            there = there || !strcmp(c->asks[i].resource, resource);
        if (there || !value || dv_gpu_names_kind(j->names, resource) == DV_GPU_KIND_NONE)
            continue;
        c->asks[c->n++] = (struct dv_gpu_ask){.resource = resource,
                                              .request = quantity(list, resource),
                                              .limit = quantity(other, resource),
                                              .kind = dv_gpu_names_declared(j->names, resource)};
    }
}

static int read_asks(const struct judging *j, struct container *c)
{
    struct json_object *requests = dv_admission_member(c->resources, lists[0], json_type_object),
                       *limits = dv_admission_member(c->resources, lists[1], json_type_object);
    size_t max = (requests ? (size_t)json_object_object_length(requests) : 0) +
                 (limits ? (size_t)json_object_object_length(limits) : 0);
    c->asks = calloc(max + 1, sizeof *c->asks);
    if (!c->asks)
        return -ENOMEM;
    add_asks(j, c, requests, limits);
    size_t both = c->n;
    add_asks(j, c, limits, NULL);
    for (size_t i = both; i < c->n; i++) {
        c->asks[i].limit = c->asks[i].request;
        c->asks[i].request = NULL;
    }
    return 0;
}

/* What a note's own words would become: percents, or 0. */
static uint32_t percent_of_note(struct json_object *note)
{
    struct dv_gpu_verdict v;
    struct dv_gpu_ask ask = {
        .resource = DV_GPU_RESOURCE,
        .request = quantity(dv_admission_member(note, lists[0], json_type_object), DV_GPU_RESOURCE),
        .limit = quantity(dv_admission_member(note, lists[1], json_type_object), DV_GPU_RESOURCE)};
    dv_gpu_request_judge(&ask, 1, DV_GPU_REQUEST_ANY, &v);
    return v.result == DV_GPU_REQUEST_REWRITTEN ? v.percent : 0;
}

/* Does it say something that stands in the way of percents? nvidia.com/gpu: 0 does: it is what
 * somebody writes in the place of a fraction. */
static bool is_said(const struct dv_gpu_ask *ask)
{
    struct dv_gpu_verdict v;
    dv_gpu_request_judge(ask, 1, DV_GPU_REQUEST_ANY, &v);
    return !strcmp(ask->resource, DV_GPU_RESOURCE) ||
           (strcmp(ask->resource, DV_GPU_RESOURCE_PERCENT) != 0 && v.result != DV_GPU_REQUEST_NONE);
}

/* The percents of an earlier rewriting go when the container says something else by now. */
static void drop_ours(struct container *c)
{
    size_t at = c->n;
    bool other = false;
    for (size_t i = 0; i < c->n; i++) {
        if (!strcmp(c->asks[i].resource, DV_GPU_RESOURCE_PERCENT))
            at = i;
        other = other || is_said(&c->asks[i]);
    }
    uint32_t percent = c->note && at < c->n ? percent_of_note(c->note) : 0;
    struct dv_gpu_verdict v;
    if (!percent)
        return;
    dv_gpu_request_judge(&c->asks[at], 1, DV_GPU_REQUEST_ANY, &v);
    c->ours = v.percent == percent;
    if (c->ours && other) {
        memmove(&c->asks[at], &c->asks[at + 1], (c->n - at - 1) * sizeof *c->asks);
        c->n--;
    }
}

/* ---- rewriting ------------------------------------------------------------------------------ */

static void add_copy(struct json_object *to, struct json_object *resources, const char *list)
{
    const char *value =
        quantity(dv_admission_member(resources, list, json_type_object), DV_GPU_RESOURCE);
    struct json_object *o = value ? json_object_new_object() : NULL;
    if (!o)
        return;
    json_object_object_add(o, DV_GPU_RESOURCE, json_object_new_string(value));
    json_object_object_add(to, list, o);
}

/* The container's own words, or those of the time before when they come to the same: a new text
 * would make new pods of an old template. */
static void note_original(struct judging *j, const struct container *c)
{
    struct json_object *note = NULL;
    if (c->note && percent_of_note(c->note) == c->verdict.percent) {
        note = json_object_get(c->note);
    } else if ((note = json_object_new_object())) {
        add_copy(note, c->resources, lists[1]);
        add_copy(note, c->resources, lists[0]);
    }
    if (!note || json_object_object_add(j->original, c->name, note) < 0) {
        json_object_put(note);
        j->failed = true;
    }
}

/* One of requests and limits: what was is taken out, percents (0: none) put in. */
static void rewrite_list(struct judging *j, const struct container *c, const char *name,
                         uint32_t percent)
{
    char text[16];
    struct json_object *list = dv_admission_member(c->resources, name, json_type_object);
    if (!list && percent)
        dv_admission_edit_set(&j->edit, dv_str_get(&j->path), c->resources, name,
                              json_object_new_object());
    list = dv_admission_member(c->resources, name, json_type_object);
    if (!list)
        return;
    snprintf(text, sizeof text, "%u", percent);
    size_t len = into(j, name);
    const char *at = dv_str_get(&j->path), *have = quantity(list, DV_GPU_RESOURCE_PERCENT);
    if (percent && json_object_object_get_ex(list, DV_GPU_RESOURCE, NULL))
        dv_admission_edit_remove(&j->edit, at, list, DV_GPU_RESOURCE);
    if (!percent && have)
        dv_admission_edit_remove(&j->edit, at, list, DV_GPU_RESOURCE_PERCENT);
    else if (percent && (!have || strcmp(have, text) != 0))
        dv_admission_edit_set(&j->edit, at, list, DV_GPU_RESOURCE_PERCENT,
                              json_object_new_string(text));
    back(j, len);
}

static void rewrite(struct judging *j, const struct container *c, uint32_t percent)
{
    size_t len = into(j, "resources");
    for (size_t i = 0; i < DV_ARRAY_SIZE(lists); i++)
        rewrite_list(j, c, lists[i], percent);
    back(j, len);
}

/* After the verdict: what becomes of the container and of its note. */
static void settle(struct judging *j, const struct container *c)
{
    enum dv_gpu_request_result result = c->verdict.result;
    bool same =
        c->ours && result == DV_GPU_REQUEST_ACCEPTED && c->verdict.kind == DV_GPU_KIND_PERCENT;
    if (result == DV_GPU_REQUEST_REWRITTEN || same)
        note_original(j, c);
    if (result == DV_GPU_REQUEST_REWRITTEN)
        rewrite(j, c, c->verdict.percent);
    else if (c->ours && !same && result != DV_GPU_REQUEST_REFUSED)
        rewrite(j, c, 0);
}

static void judge_container(struct judging *j, struct json_object *json)
{
    struct container c = {.json = json,
                          .resources = dv_admission_member(json, "resources", json_type_object),
                          .name = dv_admission_string(json, "name")};
    c.note = dv_admission_member(j->noted, c.name, json_type_object);
    if (!c.resources)
        return;
    if (read_asks(j, &c) < 0) {
        j->failed = true;
        return;
    }
    drop_ours(&c);
    dv_gpu_request_judge(c.asks, c.n, j->allowed, &c.verdict);
    add_verdict(j, &c);
    warn_of_environment(j, &c);
    settle(j, &c);
    j->a->result = DV_MAX(j->a->result, (enum dv_admission_result)c.verdict.result);
    free(c.asks);
}

static void judge_list(struct judging *j, struct json_object *spec, const char *name)
{
    struct json_object *list = dv_admission_member(spec, name, json_type_array);
    size_t n = list ? json_object_array_length(list) : 0, len = into(j, name);
    for (size_t i = 0; i < n; i++) {
        char index[24];
        snprintf(index, sizeof index, "%zu", i);
        size_t inner = into(j, index);
        judge_container(j, json_object_array_get_idx(list, i));
        back(j, inner);
    }
    back(j, len);
}

/* ---- the annotation ------------------------------------------------------------------------- */

static struct json_object *read_note(struct json_object *pod)
{
    struct json_object *meta = dv_admission_member(pod, "metadata", json_type_object);
    struct json_object *all = dv_admission_member(meta, "annotations", json_type_object);
    const char *text = dv_admission_string(all, DV_ADMISSION_ORIGINAL);
    struct json_object *note = NULL;
    dv_admission_parse(text, strlen(text), &note, NULL);
    return note;
}

/* The object under this key, made where it is missing. */
static struct json_object *need(struct judging *j, struct json_object *object, const char *key)
{
    if (!dv_admission_member(object, key, json_type_object))
        dv_admission_edit_set(&j->edit, dv_str_get(&j->path), object, key,
                              json_object_new_object());
    into(j, key);
    return dv_admission_member(object, key, json_type_object);
}

static void write_note(struct judging *j, struct json_object *pod)
{
    bool any = json_object_object_length(j->original) > 0;
    if (any ? j->noted && json_object_equal(j->noted, j->original) : !j->noted)
        return;
    size_t len = j->path.len;
    struct json_object *meta = need(j, pod, "metadata");
    struct json_object *all = meta ? need(j, meta, "annotations") : NULL;
    if (!all)
        j->failed = true;
    else if (any)
        dv_admission_edit_set(
            &j->edit, dv_str_get(&j->path), all, DV_ADMISSION_ORIGINAL,
            json_object_new_string(json_object_to_json_string_ext(
                j->original, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)));
    else
        dv_admission_edit_remove(&j->edit, dv_str_get(&j->path), all, DV_ADMISSION_ORIGINAL);
    back(j, len);
}

/* ---- the object ----------------------------------------------------------------------------- */

static int finish(struct judging *j)
{
    struct dv_admission *a = j->a;
    bool refused = a->result == DV_ADMISSION_REFUSED;
    if (!refused && j->edit.ops) {
        const char *text = json_object_to_json_string_ext(
            j->edit.ops, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
        a->patch = text ? strdup(text) : NULL;
        a->result = DV_ADMISSION_REWRITTEN;
        j->failed = j->failed || !a->patch;
    }
    return j->failed || j->edit.failed || j->path.failed ? -ENOMEM : 0;
}

int dv_admission_judge(struct json_object *object, const struct dv_admission_rules *rules,
                       struct dv_admission *a)
{
    struct judging j = {.a = a, .names = rules->names, .original = json_object_new_object()};
    struct json_object *pod = find_pod(&j, object);
    struct json_object *spec = dv_admission_member(pod, "spec", json_type_object);
    if (dv_gpu_strategy_parse(rules->strategy, &j.allowed) < 0)
        j.allowed = 0;
    if (spec && j.original) {
        size_t len = into(&j, "spec");
        j.noted = read_note(pod);
        judge_list(&j, spec, "initContainers");
        judge_list(&j, spec, "containers");
        back(&j, len);
        write_note(&j, pod);
    }
    j.failed = j.failed || !j.original;
    int r = finish(&j);
    json_object_put(j.noted);
    json_object_put(j.original);
    json_object_put(j.edit.ops);
    dv_str_done(&j.path);
    return r;
}

int dv_admission_object(const char *json, size_t len, const struct dv_admission_rules *rules,
                        struct dv_admission **ret, struct dv_err *err)
{
    struct json_object *object = NULL;
    struct dv_admission *a = NULL;
    int r = dv_admission_parse(json, len, &object, err);
    if (r < 0)
        return r;
    a = calloc(1, sizeof *a);
    r = a ? dv_admission_judge(object, rules, a) : -ENOMEM;
    if (r == 0 && a->result != DV_ADMISSION_REFUSED) {
        const char *text = json_object_to_json_string_ext(
            object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
        a->object = text ? strdup(text) : NULL;
        r = a->object ? 0 : -ENOMEM;
    }
    json_object_put(object);
    if (r < 0) {
        dv_admission_free(&a);
        return dv_err_set(err, r, "out of memory");
    }
    *ret = a;
    return 0;
}

void dv_admission_free(struct dv_admission **a)
{
    if (!*a)
        return;
    for (uint32_t i = 0; i < (*a)->n_findings; i++) {
        free((*a)->findings[i].path);
        free((*a)->findings[i].text);
    }
    free((*a)->findings);
    free((*a)->patch);
    free((*a)->object);
    free(*a);
    *a = NULL;
}

const char *dv_admission_result_name(enum dv_admission_result result)
{
    static const char *const names[] = {"none", "accepted", "rewritten", "refused"};
    return names[result];
}
