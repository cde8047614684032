/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/kubernetes.h"

#include "kubernetes/cluster_policy.h"
#include "kubernetes/containers.h"
#include "kubernetes/health_report.h"
#include "kubernetes/host_files.h"
#include "kubernetes/kept_label.h"
#include "kubernetes/labeller.h"
#include "kubernetes/mig_label.h"
#include "kubernetes/node_object.h"
#include "kubernetes/pod_holds.h"
#include "kubernetes/pods.h"
#include "kubernetes/unit_holders.h"
#include "mps.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TICK_MS 250u       /* files are looked at so often */
#define START_MS 20u       /* until the kubelet has something */
#define HOST_FILES "/host" /* below the state directory */
#define LABEL_FILE "config-label"
#define CONFIG_FILE "config-in-force"
#define KUBELET_WAIT_NS (6 * DV_NS_PER_S) /* for its account of who has what */
/* So long an agent waits for the label that chooses its configuration when it has never heard of
 * its Node, and when it has: what other nodes have, or had been in force, would change GPUs and be
 * taken back at once. */
#define LABEL_WAIT_NS (10 * DV_NS_PER_S)
#define LABEL_CHECK_NS (3 * DV_NS_PER_S)

struct dv_kubernetes {
    struct dv_node *node;
    struct dv_kubernetes_options options;
    char node_name[256];
    char plugin_dir[PATH_MAX], kept_config[PATH_MAX];
    struct dv_settings *settings;
    struct dv_device_plugin *plugin;
    struct dv_unit_holders *holders;
    struct dv_node_object *object;   /* NULL: no API server */
    struct dv_mig_label *mig;        /* NULL: no configurations */
    struct dv_health_report *health; /* NULL: nobody to tell */
    struct dv_policy *policy;        /* NULL: not asked for */
    struct dv_labeller *labeller;
    uint64_t labelled; /* generation of the settings that it has */
    struct dv_loop_source *timer;
    struct dv_kept_label label; /* DV_SETTINGS_LABEL */
    uint64_t label_until_ns;    /* so long it is waited for */
    uint64_t labels_seen, told_generation;
    uint64_t told_fault_ns; /* of MPS, the last that was told */
    char told_problem[480], told_offer[480], told_policy[480];
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
    dv_kept_label_put(&k->label, dv_node_object_label(k->object, DV_SETTINGS_LABEL));
    dv_settings_label(k->settings, k->label.value);
}

static bool awaits_label(const struct dv_kubernetes *k, uint64_t now)
{
    return k->object && !k->labels_seen && now < k->label_until_ns &&
           dv_settings_is_by_label(k->settings);
}

/* Before anybody asks for labels again: the old configuration is gone. */
static void follow_config(struct dv_kubernetes *k)
{
    if (k->labelled == dv_settings_generation(k->settings))
        return;
    k->labelled = dv_settings_generation(k->settings);
    dv_labeller_configure(k->labeller, dv_settings_config(k->settings));
}

/* Each pod learns what happened, not who else was there. */
static void tell_victims(struct dv_kubernetes *k, const struct dv_mps_daemon *m)
{
    for (uint32_t i = 0; i < m->n_victims; i++) {
        const struct dv_workload *w = dv_containers_workload(k->node, m->victims[i].slice);
        if (w && w->pod[0])
            dv_node_object_pod_event(k->object, w->namespace, w->pod, w->pod_uid, true, "MPSFault",
                                     "taken down by a failure of MPS on device %s: %.*s. What ran "
                                     "must start again",
                                     m->spec.device, (int)m->fault_cause_len, m->fault);
    }
}

static void tell_mps_faults(struct dv_kubernetes *k)
{
    const struct dv_mps *mps = k->node->mps;
    uint64_t told = k->told_fault_ns;
    for (uint32_t i = 0; i < mps->n; i++) {
        const struct dv_mps_daemon *m = &mps->daemons[i];
        if (m->fault_ns <= told)
            continue;
        k->told_fault_ns = DV_MAX(k->told_fault_ns, m->fault_ns);
        dv_node_object_event(k->object, true, "MPSFault", "device %s: %s", m->spec.device,
                             m->fault);
        tell_victims(k, m);
    }
}

static void on_tick(void *arg)
{
    struct dv_kubernetes *k = arg;
    uint64_t now = dv_clock_now();
    look_at_labels(k);
    if (awaits_label(k, now)) {
        dv_unit_holders_tick(k->holders, now); /* a change of before the restart may want to know */
        return;
    }
    if (dv_settings_look(k->settings))
        tell_config(k);
    follow_config(k);
    dv_device_plugin_tick(k->plugin, now);
    dv_unit_holders_tick(k->holders, now);
    dv_labeller_tick(k->labeller, now, dv_device_plugin_generation(k->plugin));
    if (k->health)
        dv_health_report_tick(k->health, now, dv_device_plugin_offers(k->plugin));
    if (k->policy)
        tell_problem(k, k->told_policy, dv_policy_problem(k->policy), "InvalidClusterPolicy");
    tell_problem(k, k->told_offer, dv_device_plugin_problem(k->plugin), "ConfigNotOffered");
    if (k->mig)
        dv_mig_label_tick(k->mig, now);
    if (k->object)
        tell_mps_faults(k);
    if (!dv_device_plugin_offers(k->plugin))
        dv_loop_timer_set(k->timer, START_MS, TICK_MS);
}

static void on_node_changed(void *arg)
{
    struct dv_kubernetes *k = arg;
    dv_loop_timer_set(k->timer, 0, TICK_MS);
}

/* ---- life ---- */

static int find_node_name(struct dv_kubernetes *k, struct dv_err *err)
{
    if (k->options.node_name && *k->options.node_name) {
        snprintf(k->node_name, sizeof k->node_name, "%s", k->options.node_name);
        return 0;
    }
    return gethostname(k->node_name, sizeof k->node_name - 1) == 0
               ? 0
               : dv_err_set(err, -errno, "the machine has no name: %s", strerror(errno));
}

static int start_object(struct dv_kubernetes *k, struct dv_err *err)
{
    const char *file = k->options.kubeconfig;
    if (file && !strcmp(file, "none"))
        return 0;
    int r =
        dv_node_object_new(k->node->loop, k->node_name, file, on_node_changed, k, &k->object, err);
    if (r == 0 && (dv_health_report_new(k->node, k->object, k->holders, &k->health) < 0 ||
                   dv_pods_new(dv_node_object_client(k->object), k->node_name, &k->node->pods) < 0))
        r = dv_err_set(err, -ENOMEM, "out of memory");
    if (r == 0 && k->options.mig_config &&
        dv_mig_label_new(k->node, k->object, k->options.mig_config, k->options.mig_chosen,
                         &k->mig) < 0)
        r = dv_err_set(err, -ENOMEM, "out of memory");
    return r;
}

static void on_policy(void *arg)
{
    struct dv_kubernetes *k = arg;
    dv_settings_policy(k->settings, dv_policy_settings(k->policy));
    dv_loop_timer_set(k->timer, 0, TICK_MS);
}

static const char *pod_namespace(const struct dv_kubernetes *k)
{
    const char *said = k->options.pod_namespace;
    return !k->object || (said && *said)
               ? said
               : dv_kube_client_config(dv_node_object_client(k->object))->namespace;
}

/* As the server said it last. */
static void start_label(struct dv_kubernetes *k)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/" LABEL_FILE, k->node->config.state_dir);
    dv_kept_label_read(&k->label, path);
    k->label_until_ns = dv_clock_now() + (k->label.known ? LABEL_CHECK_NS : LABEL_WAIT_NS);
    if (k->object && k->label.known)
        dv_settings_label(k->settings, k->label.value);
}

static int start_policy(struct dv_kubernetes *k, struct dv_err *err)
{
    if (!k->options.cluster_policy)
        return 0;
    struct dv_kube_client *client = k->object ? dv_node_object_client(k->object) : NULL;
    if (dv_policy_new(client, pod_namespace(k), k->node->config.state_dir, on_policy, k,
                      &k->policy) < 0)
        return dv_err_set(err, -ENOMEM, "out of memory");
    dv_settings_policy(k->settings, dv_policy_settings(k->policy));
    return 0;
}

static const char *cdi_dir(const struct dv_kubernetes *k)
{
    return k->options.cdi_dir ? k->options.cdi_dir : "/var/run/cdi";
}

static const char *kubelet_dir(const struct dv_kubernetes *k)
{
    return k->options.kubelet_dir ? k->options.kubelet_dir : "/var/lib/kubelet";
}

static int start_holders(struct dv_kubernetes *k, struct dv_err *err)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/pod-resources/kubelet.sock", kubelet_dir(k));
    return dv_unit_holders_new(k->node->loop, path, &k->holders, err);
}

static int start_labeller(struct dv_kubernetes *k, struct dv_err *err)
{
    const struct dv_labeller_options options = {k->options.no_labels, k->object, pod_namespace(k)};
    if (dv_labeller_new(k->node, &options, &k->labeller) < 0)
        return dv_err_set(err, -ENOMEM, "out of memory");
    follow_config(k);
    return 0;
}

static int start_plugin(struct dv_kubernetes *k, struct dv_err *err)
{
    const struct dv_kubernetes_options *o = &k->options;
    snprintf(k->kept_config, sizeof k->kept_config, "%s/" CONFIG_FILE, k->node->config.state_dir);
    const struct dv_settings_options settings = {o->plugin_config, o->plugin_chosen, o->over,
                                                 o->n_over, k->kept_config};
    int r = dv_settings_new(&settings, &k->settings, err);
    if (r < 0)
        return r;
    snprintf(k->plugin_dir, sizeof k->plugin_dir, "%s/device-plugins", kubelet_dir(k));
    const struct dv_device_plugin_options options = {.directory = k->plugin_dir,
                                                     .settings = k->settings,
                                                     .cdi_dir = cdi_dir(k),
                                                     .driver_root =
                                                         o->driver_root ? o->driver_root : ""};
    return dv_device_plugin_new(k->node, &options, &k->plugin, err);
}

/* A directory that the kubelet has made for the pod is root's alone; clients of MPS are others. */
static void open_shm(const struct dv_kubernetes_options *o)
{
    if (o->mps_shm && strcmp(o->mps_shm, "/dev/shm") != 0 && chmod("/dev/shm", 01777) < 0)
        dv_log(DV_LOG_WARNING, "mps.shm", "path=/dev/shm error=%s", strerror(errno));
}

int dv_kubernetes_new(struct dv_node *node, const struct dv_kubernetes_options *options,
                      struct dv_kubernetes **ret, struct dv_err *err)
{
    struct dv_kubernetes *k = calloc(1, sizeof *k);
    if (!k)
        return dv_err_set(err, -ENOMEM, "out of memory");
    k->node = node;
    k->options = *options;
    open_shm(options);
    k->told_generation = 1; /* the defaults are nothing to tell */
    int r = find_node_name(k, err);
    if (r == 0)
        r = start_plugin(k, err);
    if (r == 0)
        r = start_holders(k, err);
    if (r == 0)
        r = start_object(k, err);
    if (r == 0)
        start_label(k);
    if (r == 0)
        r = start_policy(k, err);
    if (r == 0)
        r = start_labeller(k, err);
    if (r == 0)
        r = dv_loop_timer(node->loop, 1, TICK_MS, on_tick, k, &k->timer);
    if (r < 0) {
        if (!err->msg[0])
            dv_err_set(err, r, "%s", strerror(-r));
        dv_kubernetes_free(k);
        return r;
    }
    node->kubernetes = k;
    *ret = k;
    return 0;
}

void dv_kubernetes_free(struct dv_kubernetes *k)
{
    if (!k)
        return;
    k->node->kubernetes = NULL;
    dv_loop_remove(k->timer);
    dv_labeller_free(k->labeller);
    dv_health_report_free(k->health);
    dv_mig_label_free(k->mig);
    dv_policy_free(k->policy);
    dv_unit_holders_free(k->holders);
    dv_device_plugin_free(k->plugin);
    dv_pods_free(k->node->pods);
    k->node->pods = NULL;
    dv_node_object_free(k->object);
    dv_settings_free(k->settings);
    free(k);
}

/* ---- who is in the way ---- */

bool dv_kubernetes_hold(const struct dv_kubernetes *k, uint32_t gpu, const struct dv_gpu_plan *plan,
                        size_t *at, struct dv_workload *ret)
{
    const struct dv_pod_holds where = {.snapshot = k->node->snapshot,
                                       .offers = dv_device_plugin_offers(k->plugin),
                                       .holders = k->holders,
                                       .pods = k->node->pods,
                                       .gpu = gpu};
    return dv_pod_holds_next(&where, plan, at, ret);
}

/* "team/x and 2 more". The kubelet's account has a pod's units side by side. */
static void name_holders(const struct dv_kubernetes *k, uint32_t gpu,
                         const struct dv_gpu_plan *plan, char *ret, size_t size)
{
    struct dv_workload pod, last = {{0}};
    uint32_t n = 0;
    for (size_t at = 0; dv_kubernetes_hold(k, gpu, plan, &at, &pod); last = pod) {
        if (!strcmp(pod.namespace, last.namespace) && !strcmp(pod.pod, last.pod))
            continue;
        if (!n++)
            snprintf(ret, size, "%s/%s", pod.namespace, pod.pod);
    }
    size_t len = strlen(ret);
    if (n > 1)
        snprintf(ret + len, size - len, " and %u more", n - 1);
}

int dv_kubernetes_held(struct dv_kubernetes *k, uint32_t gpu, const struct dv_gpu_plan *plan,
                       uint64_t since_ns, char *ret_who, size_t size)
{
    struct dv_workload pod;
    uint64_t now = dv_clock_now();
    size_t at = 0;
    /* Until something is offered an id that is an index says nothing. */
    bool readable = dv_device_plugin_offers(k->plugin) != NULL;
    uint64_t from = readable ? since_ns : DV_MAX(since_ns, k->label_until_ns);
    if (!readable || !dv_unit_holders_as_of(k->holders, since_ns)) {
        if (now >= from + KUBELET_WAIT_NS)
            return -ETIMEDOUT;
        /* First the kubelet hears that nothing is to be placed there, then it is asked. */
        dv_device_plugin_hurry(k->plugin);
        dv_unit_holders_refresh(k->holders);
        dv_loop_timer_set(k->timer, 0, TICK_MS);
        return -EAGAIN;
    }
    bool held = dv_kubernetes_hold(k, gpu, plan, &at, &pod);
    bool settled = dv_unit_holders_settled(k->holders);
    if (!held && settled)
        return 0;
    if (!dv_unit_holders_as_of(k->holders, now - DV_NS_PER_S))
        dv_unit_holders_refresh(k->holders);
    if (!held)
        return -EAGAIN;
    name_holders(k, gpu, plan, ret_who, size);
    return 1;
}

/* ---- how it stands ---- */

static void read_server(const struct dv_kubernetes *k, struct dv_kubernetes_status *s)
{
    s->server_problem = "";
    if (!k->object)
        return;
    s->server_wanted = true;
    s->server_problem = dv_node_object_problem(k->object);
    s->server_reached = !s->server_problem[0];
    s->server_since_ns = dv_node_object_since(k->object);
}

/* The file's name, where it is one of a directory. */
static void read_key(const char *source, const char *dir, char *ret, size_t size)
{
    size_t len = dir ? strlen(dir) : 0;
    if (len && !strncmp(source, dir, len) && source[len] == '/')
        snprintf(ret, size, "%s", source + len + 1);
}

static void read_config(const struct dv_kubernetes *k, struct dv_kubernetes_status *s)
{
    const struct dv_settings_policy *policy = k->policy ? dv_policy_settings(k->policy) : NULL;
    s->config_source = dv_settings_source(k->settings);
    read_key(s->config_source, policy && policy->path ? policy->path : k->options.plugin_config,
             s->config_key, sizeof s->config_key);
    s->config_label = k->object && k->label.value[0] ? k->label.value : NULL;
    s->config_problem = dv_settings_problem(k->settings);
    if (!s->config_problem[0] && k->policy)
        s->config_problem = dv_policy_problem(k->policy);
    s->offer_problem = dv_device_plugin_problem(k->plugin);
}

/* The directory is made when it is needed; until then the one above counts. */
static void check_cdi(struct dv_kubernetes_status *s)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", s->cdi_dir);
    while (access(path, F_OK) < 0 && errno == ENOENT) {
        char *slash = strrchr(path, '/');
        if (!slash || slash == path)
            break;
        *slash = 0;
    }
    if (access(path, W_OK | X_OK) < 0)
        snprintf(s->cdi_problem, sizeof s->cdi_problem, "%.300s: %s", path, strerror(errno));
}

void dv_kubernetes_status(const struct dv_kubernetes *k, struct dv_kubernetes_status *ret)
{
    *ret = (struct dv_kubernetes_status){.mig_wanted = k->mig != NULL,
                                         .mig_config = k->mig ? dv_mig_label_config(k->mig) : "",
                                         .mig_state = k->mig ? dv_mig_label_state(k->mig) : "",
                                         .mig_problem = k->mig ? dv_mig_label_problem(k->mig) : "",
                                         .labels_by =
                                             dv_labeller_way_name(dv_labeller_way(k->labeller)),
                                         .labels_problem = dv_labeller_problem(k->labeller),
                                         .cdi_dir = cdi_dir(k)};
    memcpy(ret->node_name, k->node_name, sizeof ret->node_name);
    read_server(k, ret);
    read_config(k, ret);
    check_cdi(ret);
}

bool dv_kubernetes_resource(const struct dv_kubernetes *k, size_t i,
                            struct dv_kubernetes_resource *ret)
{
    struct dv_device_plugin_row row;
    if (!dv_device_plugin_row(k->plugin, i, &row))
        return false;
    bool away = row.state == DV_KUBELET_WAITING || row.state == DV_KUBELET_LOST;
    bool known = dv_unit_holders_known(k->holders);
    *ret = (struct dv_kubernetes_resource){
        .plugin = row,
        .away = away && dv_clock_now() - row.since_ns >= DV_DEVICE_PLUGIN_PATIENCE_NS,
        .allocated_known = known,
        .allocated = known ? dv_unit_holders_count(k->holders, row.resource) : 0};
    return true;
}
