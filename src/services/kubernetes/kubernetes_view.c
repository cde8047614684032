/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/kubernetes_view.h"

#include "metrics_families.h"
#include "sys/clock.h"

/* ---- answers ---- */

static void add_text(struct dv_output_node *to, const char *key, const char *text)
{
    dv_output_string(to, key, text && *text ? text : NULL);
}

static void add_time(struct dv_output_node *to, const char *key, int64_t unix_s)
{
    if (unix_s)
        dv_output_int(to, key, unix_s);
    else
        dv_output_null(to, key);
}

static int64_t unix_of(uint64_t ns)
{
    return ns ? dv_clock_unix() - (int64_t)((dv_clock_now() - ns) / DV_NS_PER_S) : 0;
}

static void add_server(struct dv_output_node *to, const struct dv_kubernetes_status *s)
{
    struct dv_output_node *o = dv_output_object(to, "api_server");
    dv_output_string(o, "state",
                     !s->server_wanted   ? "none"
                     : s->server_reached ? "connected"
                                         : "disconnected");
    add_time(o, "since_unix", unix_of(s->server_since_ns));
    add_text(o, "problem", s->server_problem);
}

static void add_config(struct dv_output_node *to, const struct dv_kubernetes_status *s)
{
    struct dv_output_node *o = dv_output_object(to, "config");
    add_text(o, "file", s->config_source);
    add_text(o, "key", s->config_key);
    dv_output_string(o, "label", s->config_label);
    add_text(o, "problem", s->config_problem[0] ? s->config_problem : s->offer_problem);
}

static void add_mig(struct dv_output_node *to, const struct dv_kubernetes_status *s)
{
    struct dv_output_node *o = dv_output_object(to, "mig");
    add_text(o, "config", s->mig_config);
    add_text(o, "state", s->mig_state);
    add_text(o, "problem", s->mig_problem);
}

static void add_resource(struct dv_output_node *list, const struct dv_kubernetes_resource *r)
{
    struct dv_output_node *o = dv_output_object(list, NULL);
    dv_output_string(o, "resource", r->plugin.resource);
    dv_output_uint(o, "units", r->plugin.units);
    dv_output_uint(o, "healthy", r->plugin.healthy);
    if (r->allocated_known)
        dv_output_uint(o, "allocated", r->allocated);
    else
        dv_output_null(o, "allocated");
    dv_output_string(o, "state", dv_device_plugin_state_name(r->plugin.state));
    add_text(o, "problem", r->plugin.why);
    add_time(o, "since_unix", unix_of(r->plugin.since_ns));
    add_time(o, "registered_unix", r->plugin.registered_unix);
    dv_output_uint(o, "allocations", r->plugin.allocations);
    dv_output_uint(o, "refusals", r->plugin.refusals);
}

void dv_kubernetes_view_add(struct dv_output_node *to, const struct dv_node *node)
{
    struct dv_kubernetes_status s;
    struct dv_kubernetes_resource r;
    int64_t registered = 0;
    dv_kubernetes_status(node->kubernetes, &s);
    dv_output_string(to, "node", s.node_name);
    add_server(to, &s);
    add_config(to, &s);
    if (s.mig_wanted)
        add_mig(to, &s);
    else
        dv_output_null(to, "mig");
    struct dv_output_node *labels = dv_output_object(to, "labels");
    dv_output_string(labels, "by", s.labels_by);
    add_text(labels, "problem", s.labels_problem);
    struct dv_output_node *cdi = dv_output_object(to, "cdi");
    dv_output_string(cdi, "directory", s.cdi_dir);
    add_text(cdi, "problem", s.cdi_problem);
    for (size_t i = 0; dv_kubernetes_resource(node->kubernetes, i, &r); i++)
        registered = DV_MAX(registered, r.plugin.registered_unix);
    add_time(to, "registered_unix", registered);
    struct dv_output_node *list = dv_output_array(to, "resources");
    for (size_t i = 0; dv_kubernetes_resource(node->kubernetes, i, &r); i++)
        add_resource(list, &r);
}

struct dv_output *dv_kubernetes_view(const struct dv_node *node)
{
    struct dv_output *o = dv_output_new("KubernetesNode");
    dv_output_bool(dv_output_root(o), "enabled", node->kubernetes != NULL);
    if (node->kubernetes)
        dv_kubernetes_view_add(dv_output_root(o), node);
    return o;
}

/* ---- metrics ---- */

static void node_sample(struct dv_openmetrics *w, enum dv_metrics_id id, uint64_t value)
{
    dv_openmetrics_family(w, &dv_metrics_families[id]);
    dv_openmetrics_sample(w);
    dv_openmetrics_uint(w, value);
}

static uint64_t figure(const struct dv_kubernetes_resource *r, enum dv_metrics_id id)
{
    switch (id) {
    case DV_METRICS_K8S_UNITS:
        return r->plugin.units;
    case DV_METRICS_K8S_HEALTHY:
        return r->plugin.healthy;
    case DV_METRICS_K8S_ALLOCATED:
        return r->allocated;
    case DV_METRICS_K8S_REGISTERED:
        return r->plugin.state == DV_KUBELET_REGISTERED || r->plugin.state == DV_KUBELET_WATCHED;
    case DV_METRICS_K8S_ALLOCATIONS:
        return r->plugin.allocations;
    default:
        return r->plugin.refusals;
    }
}

void dv_kubernetes_view_metrics(const struct dv_node *node, struct dv_openmetrics *w)
{
    struct dv_kubernetes_status s;
    struct dv_kubernetes_resource r;
    if (!node->kubernetes)
        return;
    dv_kubernetes_status(node->kubernetes, &s);
    if (s.server_wanted)
        node_sample(w, DV_METRICS_K8S_API, s.server_reached);
    node_sample(w, DV_METRICS_K8S_CONFIG, s.config_problem[0] || s.offer_problem[0]);
    for (int id = DV_METRICS_K8S_UNITS; id <= DV_METRICS_K8S_REFUSALS; id++) {
        dv_openmetrics_family(w, &dv_metrics_families[id]);
        for (size_t i = 0; dv_kubernetes_resource(node->kubernetes, i, &r); i++) {
            if (id == DV_METRICS_K8S_ALLOCATED && !r.allocated_known)
                continue;
            dv_openmetrics_sample(w);
            dv_openmetrics_label(w, "resource", r.plugin.resource);
            dv_openmetrics_uint(w, figure(&r, (enum dv_metrics_id)id));
        }
    }
}
