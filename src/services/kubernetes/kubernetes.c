/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/kubernetes.h"

#include "kubernetes/device_plugin.h"
#include "kubernetes/edits.h"
#include "kubernetes/host_files.h"
#include "kubernetes/mig_label.h"
#include "kubernetes/node_object.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TICK_MS 250u
#define LOOK_NS DV_NS_PER_S /* files are looked at so often */
#define HOST_FILES "/host"  /* below the state directory */

struct dv_kubernetes {
    struct dv_node *node;
    struct dv_kubernetes_options options;
    char plugin_dir[PATH_MAX];
    struct dv_settings *settings;
    struct dv_device_plugin *plugin;
    struct dv_node_object *object; /* NULL: no API server */
    struct dv_mig_label *mig;      /* NULL: no configurations */
    struct dv_loop_source *timer;
    uint64_t look_ns, labels_seen, told_generation;
    char told_problem[480], told_offer[480];
};

int dv_kubernetes_prepare(const char *lib, const char *state, char *ret_lib, size_t size,
                          struct dv_err *err)
{
    if (snprintf(ret_lib, size, "%s" HOST_FILES, state) >= (int)size)
        return dv_err_set(err, -ENAMETOOLONG, "%s: the path is too long", state);
    return dv_host_files_copy(lib, ret_lib, err);
}

/* ---- the configuration in force ---- */

/* Problems are the node's events; that they are over is told too. */
static void tell_problem(struct dv_kubernetes *k, char told[480], const char *now,
                         const char *reason)
{
    if (!strcmp(told, now))
        return;
    if (k->object && now[0])
        dv_node_object_event(k->object, true, reason, "%s", now);
    snprintf(told, 480, "%s", now);
}

static void tell_config(struct dv_kubernetes *k)
{
    const char *source = dv_settings_source(k->settings);
    char value[DV_LOG_VALUE];
    tell_problem(k, k->told_problem, dv_settings_problem(k->settings), "InvalidConfig");
    if (dv_settings_problem(k->settings)[0])
        dv_log(DV_LOG_ERROR, "config.refused", "detail=%s",
               dv_log_value(dv_settings_problem(k->settings), value));
    if (dv_settings_generation(k->settings) == k->told_generation)
        return;
    k->told_generation = dv_settings_generation(k->settings);
    dv_log(DV_LOG_INFO, "config.in_force", "file=%s", *source ? source : "-");
    const struct dv_layoutfile_info *info = dv_settings_info(k->settings);
    for (uint32_t i = 0; i < info->n_warnings && i < DV_LAYOUTFILE_WARNINGS_MAX; i++)
        dv_log(DV_LOG_WARNING, "config.warning", "file=%s line=%u detail=%s", source,
               info->warnings[i].line, dv_log_value(info->warnings[i].text, value));
    if (k->object && *source)
        dv_node_object_event(k->object, false, "ConfigApplied", "%s", source);
}

static void look_at_labels(struct dv_kubernetes *k)
{
    uint64_t generation = k->object ? dv_node_object_generation(k->object) : 0;
    if (generation == k->labels_seen)
        return;
    k->labels_seen = generation;
    dv_settings_label(k->settings, dv_node_object_label(k->object, DV_SETTINGS_LABEL));
    k->look_ns = 0;
}

static void on_tick(void *arg)
{
    struct dv_kubernetes *k = arg;
    uint64_t now = dv_clock_now();
    look_at_labels(k);
    if (now >= k->look_ns) {
        k->look_ns = now + LOOK_NS;
        if (dv_settings_look(k->settings))
            tell_config(k);
    }
    dv_device_plugin_tick(k->plugin, now);
    tell_problem(k, k->told_offer, dv_device_plugin_problem(k->plugin), "ConfigNotOffered");
    if (k->mig)
        dv_mig_label_tick(k->mig, now);
}

/* ---- life ---- */

static int find_node_name(struct dv_kubernetes *k, char ret[256], struct dv_err *err)
{
    if (k->options.node_name && *k->options.node_name) {
        snprintf(ret, 256, "%s", k->options.node_name);
        return 0;
    }
    return gethostname(ret, 256) == 0
               ? 0
               : dv_err_set(err, -errno, "the machine has no name: %s", strerror(errno));
}

static int start_object(struct dv_kubernetes *k, struct dv_err *err)
{
    const char *file = k->options.kubeconfig;
    char name[256];
    if (file && !strcmp(file, "none"))
        return 0;
    int r = find_node_name(k, name, err);
    if (r == 0)
        r = dv_node_object_new(k->node->loop, name, file, &k->object, err);
    if (r == 0 && k->options.mig_config &&
        dv_mig_label_new(k->node, k->object, k->options.mig_config, &k->mig) < 0)
        r = dv_err_set(err, -ENOMEM, "out of memory");
    return r;
}

static int start_plugin(struct dv_kubernetes *k, struct dv_err *err)
{
    const struct dv_kubernetes_options *o = &k->options;
    const struct dv_settings_options settings = {o->plugin_config, o->plugin_chosen, o->over,
                                                 o->n_over};
    int r = dv_settings_new(&settings, &k->settings, err);
    if (r < 0)
        return r;
    snprintf(k->plugin_dir, sizeof k->plugin_dir, "%s/device-plugins",
             o->kubelet_dir ? o->kubelet_dir : "/var/lib/kubelet");
    const struct dv_device_plugin_options options = {
        .directory = k->plugin_dir,
        .settings = k->settings,
        .cdi_dir = o->cdi_dir ? o->cdi_dir : "/var/run/cdi",
        .driver_root = o->driver_root ? o->driver_root : ""};
    return dv_device_plugin_new(k->node, &options, &k->plugin, err);
}

int dv_kubernetes_new(struct dv_node *node, const struct dv_kubernetes_options *options,
                      struct dv_kubernetes **ret, struct dv_err *err)
{
    struct dv_kubernetes *k = calloc(1, sizeof *k);
    if (!k)
        return dv_err_set(err, -ENOMEM, "out of memory");
    k->node = node;
    k->options = *options;
    k->told_generation = 1; /* the defaults are nothing to tell */
    int r = start_plugin(k, err);
    if (r == 0)
        r = start_object(k, err);
    if (r == 0)
        r = dv_loop_timer(node->loop, 1, TICK_MS, on_tick, k, &k->timer);
    if (r < 0) {
        if (!err->msg[0])
            dv_err_set(err, r, "%s", strerror(-r));
        dv_kubernetes_free(k);
        return r;
    }
    *ret = k;
    return 0;
}

void dv_kubernetes_free(struct dv_kubernetes *k)
{
    if (!k)
        return;
    dv_loop_remove(k->timer);
    dv_mig_label_free(k->mig);
    dv_device_plugin_free(k->plugin);
    dv_node_object_free(k->object);
    dv_settings_free(k->settings);
    free(k);
}
