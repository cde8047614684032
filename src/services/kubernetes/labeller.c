/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/labeller.h"

#include "kube/object.h"
#include "kubernetes/label_marks.h"
#include "kubernetes/labels_file.h"
#include "node_labels.h"
#include "sys/clock.h"
#include "sys/fd.h"
#include "sys/log.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RETRY_NS (5 * DV_NS_PER_S) /* after a failure */
#define AWAIT_NS DV_NS_PER_S       /* while there is nothing to say yet */
#define ABSENT_NS                                                                                  \
    (300 * DV_NS_PER_S) /* before it is asked again whether there are NodeFeatures                 \
                         */
#define FEATURE_NAME "nvidia-features-for-"
#define MACHINE_MAX 4096u

struct dv_labeller {
    struct dv_node *node;
    struct dv_labeller_options options;
    /* Of the configuration: */
    struct dv_labels_settings settings;
    struct dv_labels_resource *resources;
    char *machine;
    bool node_features, oneshot;
    char path[DV_PLUGIN_TEXT]; /* of the file; "": none is meant */
    uint64_t interval_ns;      /* DV_NEVER: none */

    enum dv_labeller_way way;
    struct dv_labels_file *file;
    struct dv_kube_call *call;      /* under way */
    struct dv_labels told, telling; /* of the NodeFeature object */
    bool is_told;                   /* by the way in force */
    bool cleared;                   /* nothing of ours is on the Node itself */
    uint64_t retry_ns;              /* after a failure; before it nothing is sent */
    uint64_t absent_until_ns;       /* no NodeFeatures here, or none for us; asked again then */
    uint64_t look_ns, generation, object_seen;
    char node_uid[64]; /* the Node's that was told of */
    char problem[400];
};

static const char *const way_names[] = {[DV_LABELLER_OFF] = "off",
                                        [DV_LABELLER_NODE_FEATURE] = "node-feature",
                                        [DV_LABELLER_FILE] = "file",
                                        [DV_LABELLER_NODE] = "node"};

const char *dv_labeller_way_name(enum dv_labeller_way way)
{
    return way_names[way];
}

enum dv_labeller_way dv_labeller_way(const struct dv_labeller *l)
{
    return l->way;
}

const char *dv_labeller_problem(const struct dv_labeller *l)
{
    return l->file ? dv_labels_file_problem(l->file) : l->problem;
}

static void complain(struct dv_labeller *l, const char *words)
{
    char value[DV_LOG_VALUE];
    if (!strcmp(l->problem, words))
        return;
    snprintf(l->problem, sizeof l->problem, "%s", words);
    if (*words)
        dv_log(DV_LOG_WARNING, "labels.failed", "way=%s detail=%s", way_names[l->way],
               dv_log_value(words, value));
}

/* ---- which way ---- */

/* Only what is written there by somebody who means it has a file: the flag has a default, and its
 * folder is there when Node Feature Discovery is, or when it was mounted for this. */
static bool file_is_meant(const char *path)
{
    struct dv_plugin_flags usual;
    char folder[DV_PLUGIN_TEXT];
    dv_plugin_flags_init(&usual);
    if (!path[0])
        return false;
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash)
        *slash = 0;
    return strcmp(path, usual.gfd.output_file) != 0 || access(folder, F_OK) == 0;
}

static enum dv_labeller_way choose(const struct dv_labeller *l)
{
    if (l->options.off)
        return DV_LABELLER_OFF;
    if (l->node_features && l->options.object && l->options.namespace && !l->absent_until_ns)
        return DV_LABELLER_NODE_FEATURE;
    if (l->path[0])
        return DV_LABELLER_FILE;
    return l->options.object ? DV_LABELLER_NODE : DV_LABELLER_OFF;
}

static int make_labels(void *arg, struct dv_labels *ret, struct dv_err *err)
{
    return dv_node_labels_make(arg, NULL, ret, err);
}

static void start_file(struct dv_labeller *l, struct dv_labels_file *old)
{
    struct dv_err err = {{0}};
    const struct dv_labels_file_options options = {
        .path = l->path,
        .interval_ms = l->interval_ns == DV_NEVER ? 0 : l->interval_ns / DV_NS_PER_MS,
        .oneshot = l->oneshot};
    if (dv_labels_file_follow(old, l->node->loop, &options, make_labels, l->node, &l->file, &err) <
        0)
        complain(l, err.msg);
}

static void take_way(struct dv_labeller *l)
{
    enum dv_labeller_way way = choose(l);
    struct dv_labels_file *old = l->file;
    dv_kube_client_cancel(l->call);
    l->file = NULL;
    l->call = NULL;
    if (way != l->way)
        dv_log(DV_LOG_INFO, "labels.way", "way=%s", way_names[way]);
    l->way = way;
    l->is_told = l->cleared = false;
    l->look_ns = 0;
    if (way == DV_LABELLER_FILE)
        start_file(l, old);
    else
        dv_labels_file_free(old);
}

/* ---- the configuration ---- */

static void read_machine(struct dv_labeller *l, const char *path)
{
    struct dv_err err;
    size_t len;
    free(l->machine);
    l->machine = NULL;
    if (l->node->config.sim)
        l->machine = strdup(DV_NODE_LABELS_SIMULATED);
    else if (dv_fd_read_file(path, MACHINE_MAX, &l->machine, &len, &err) < 0)
        l->machine = NULL;
}

void dv_labeller_configure(struct dv_labeller *l, const struct dv_plugin_config *config)
{
    const struct dv_plugin_flags *flags = &config->flags;
    read_machine(l, flags->gfd.machine_type_file);
    dv_labels_configure(config, l->resources, &l->settings);
    l->settings.machine = l->machine;
    l->settings.timestamp = flags->gfd.no_timestamp ? 0 : dv_node_labels_started(l->node);
    l->settings.present = true;
    l->node->labels = &l->settings;
    l->node_features = flags->node_feature_api;
    l->oneshot = flags->gfd.oneshot;
    l->interval_ns = DV_MAX(flags->gfd.sleep_ns, DV_NS_PER_S);
    snprintf(l->path, sizeof l->path, "%s",
             file_is_meant(flags->gfd.output_file) ? flags->gfd.output_file : "");
    l->absent_until_ns = 0;
    take_way(l);
}

/* ---- the Node ---- */

static const char *label_of(const void *arg, const char *key)
{
    return dv_node_object_label(arg, key);
}

static void on_patched(void *arg, const struct dv_kube_reply *reply)
{
    struct dv_labeller *l = arg;
    l->call = NULL;
    complain(l, reply->error ? reply->message : "");
    if (reply->error)
        l->look_ns = l->retry_ns = dv_clock_now() + RETRY_NS;
    else if (l->way == DV_LABELLER_NODE)
        l->is_told = true;
}

/* want NULL: takes what is there of ours. 0: nothing was to be done. 1: it is on its way. */
static int patch(struct dv_labeller *l, const struct dv_labels *want)
{
    dv_cleanup(dv_label_marks_done) struct dv_label_marks m = {0};
    struct dv_node_object *o = l->options.object;
    int r = dv_label_marks_make(want, label_of, o,
                                dv_node_object_annotation(o, DV_LABEL_MARKS_ANNOTATION), &m);
    if (r < 0 || (!m.n && !m.annotate))
        return r;
    const struct dv_kube_pair note = {DV_LABEL_MARKS_ANNOTATION,
                                      m.annotation.len ? dv_str_get(&m.annotation) : NULL};
    const struct dv_kube_marks marks = {m.pairs, &note, m.n, m.annotate};
    r = dv_kube_node_patch(dv_node_object_client(o), dv_node_object_name(o), &marks, on_patched, l,
                           &l->call);
    if (r < 0)
        return r;
    dv_log(DV_LOG_INFO, "labels.patch", "labels=%zu changes=%u", want ? want->n : 0, m.n);
    return 1;
}

static int tell_node(struct dv_labeller *l, const struct dv_labels *labels)
{
    if (!dv_node_object_generation(l->options.object))
        return -EAGAIN; /* what it has is not known yet */
    int r = patch(l, labels);
    l->is_told |= r == 0;
    return r;
}

/* ---- the NodeFeature object ---- */

static void on_applied(void *arg, const struct dv_kube_reply *reply)
{
    struct dv_labeller *l = arg;
    l->call = NULL;
    /* Rights are looked at before it is known whether there is such a resource. */
    if (reply->error == -ENOENT || reply->error == -EACCES) {
        char value[DV_LOG_VALUE];
        l->absent_until_ns = dv_clock_now() + ABSENT_NS;
        dv_log(reply->error == -ENOENT ? DV_LOG_INFO : DV_LOG_WARNING, "labels.no_node_features",
               "detail=%s", dv_log_value(reply->message, value));
        take_way(l);
        return;
    }
    complain(l, reply->error ? reply->message : "");
    if (reply->error) {
        l->look_ns = l->retry_ns = dv_clock_now() + RETRY_NS;
        return;
    }
    dv_labels_done(&l->told);
    l->told = l->telling;
    l->telling = (struct dv_labels){0};
    l->is_told = true;
}

/* Takes the labels. */
static int tell_node_feature(struct dv_labeller *l, struct dv_labels *labels)
{
    struct dv_node_object *o = l->options.object;
    char name[DV_KUBE_NAME + sizeof FEATURE_NAME];
    if (l->is_told && dv_labels_equal(labels, &l->told))
        return 0;
    struct dv_kube_pair *pairs = calloc(labels->n + 1, sizeof *pairs);
    if (!pairs)
        return -ENOMEM;
    for (size_t i = 0; i < labels->n; i++)
        pairs[i] = (struct dv_kube_pair){labels->list[i].key, labels->list[i].value};
    snprintf(name, sizeof name, FEATURE_NAME "%s", dv_node_object_name(o));
    int r = dv_kube_nodefeature_apply(dv_node_object_client(o), l->options.namespace, name,
                                      dv_node_object_name(o), pairs, (uint32_t)labels->n,
                                      on_applied, l, &l->call);
    free(pairs);
    if (r < 0)
        return r;
    dv_labels_done(&l->telling);
    l->telling = *labels;
    *labels = (struct dv_labels){0};
    return 1;
}

/* ---- looks ---- */

static void look(struct dv_labeller *l, uint64_t now)
{
    dv_cleanup(dv_labels_done) struct dv_labels labels = {0};
    struct dv_err err = {{0}};
    int r = dv_node_labels_make(l->node, NULL, &labels, &err);
    if (r == 0)
        r = l->way == DV_LABELLER_NODE ? tell_node(l, &labels) : tell_node_feature(l, &labels);
    if (r == -EAGAIN)
        l->look_ns = now + AWAIT_NS;
    else if (r < 0) {
        complain(l, strerror(-r));
        l->look_ns = l->retry_ns = now + RETRY_NS;
    }
}

/* Another way is in force: what is on the Node itself from before goes, once the other has worked.
 */
static void clear(struct dv_labeller *l)
{
    bool works = l->way == DV_LABELLER_NODE_FEATURE ? l->is_told : true;
    if (l->cleared || !works || !l->options.object || !dv_node_object_generation(l->options.object))
        return;
    l->cleared = patch(l, NULL) == 0;
}

/* With a Node that is deleted its NodeFeature goes too: NFD's collector takes it. */
static void look_at_node(struct dv_labeller *l)
{
    const char *uid = l->options.object ? dv_node_object_uid(l->options.object) : "";
    if (!strcmp(uid, l->node_uid))
        return;
    if (l->node_uid[0]) {
        l->is_told = false;
        l->look_ns = 0;
    }
    snprintf(l->node_uid, sizeof l->node_uid, "%s", uid);
}

void dv_labeller_tick(struct dv_labeller *l, uint64_t now, uint64_t generation)
{
    bool on_node = l->way == DV_LABELLER_NODE;
    if (l->absent_until_ns && now >= l->absent_until_ns) {
        l->absent_until_ns = 0;
        take_way(l);
    }
    if (generation != l->generation && l->file)
        dv_labels_file_look(l->file);
    if (generation != l->generation ||
        (on_node && l->object_seen != dv_node_object_generation(l->options.object)))
        l->look_ns = 0;
    l->generation = generation;
    if (on_node)
        l->object_seen = dv_node_object_generation(l->options.object);
    if (l->call || now < l->retry_ns)
        return;
    look_at_node(l);
    if (!on_node)
        clear(l);
    if (l->call || l->way == DV_LABELLER_OFF || l->file || now < l->look_ns ||
        (l->oneshot && l->is_told))
        return;
    l->look_ns = l->interval_ns == DV_NEVER ? DV_NEVER : now + l->interval_ns;
    look(l, now);
}

/* ---- life ---- */

int dv_labeller_new(struct dv_node *node, const struct dv_labeller_options *options,
                    struct dv_labeller **ret)
{
    struct dv_labeller *l = calloc(1, sizeof *l);
    if (l)
        l->resources = calloc(DV_LABELS_CONFIG_MAX, sizeof *l->resources);
    if (!l || !l->resources) {
        free(l);
        return -ENOMEM;
    }
    l->node = node;
    l->options = *options;
    *ret = l;
    return 0;
}

void dv_labeller_free(struct dv_labeller *l)
{
    if (!l)
        return;
    l->node->labels = NULL;
    dv_kube_client_cancel(l->call);
    dv_labels_file_free(l->file);
    dv_labels_done(&l->told);
    dv_labels_done(&l->telling);
    free(l->machine);
    free(l->resources);
    free(l);
}
