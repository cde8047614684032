/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/device_plugin.h"

#include "kubernetes/allocation.h"
#include "kubernetes/cdi_files.h"
#include "kubernetes/containers.h"
#include "kubernetes/edits.h"
#include "layouts.h"
#include "missing.h"
#include "mps.h"
#include "render/offer_text.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUND_WAIT_NS (2 * DV_NS_PER_S) /* a look takes milliseconds, unless the driver is slow */
#define CHECK_NS DV_NS_PER_S            /* what no event tells is looked at so often */
#define LAYOUT_RETRY_NS (10 * DV_NS_PER_S)
#define LAYOUT_NAME "device plugin configuration"

/* One resource's plugin. */
struct server {
    struct dv_device_plugin *owner;
    char resource[DV_PLUGIN_NAME];
    struct dv_kubelet_plugin *plugin;
    enum dv_kubelet_plugin_state state;
    char why[200];
    uint64_t since_ns;
    int64_t registered_unix;
    bool warned; /* that it lasts */
    bool due;    /* its list has not been made yet */
    uint64_t allocations, refusals;
    struct server *next;
};

struct dv_device_plugin {
    struct dv_node *node;
    struct dv_device_plugin_options options;
    struct dv_kubelet_dir *dir;
    struct dv_cdi_files *files;
    struct dv_offers *offers;
    struct server *servers;              /* by resource */
    uint64_t settings_seen, layout_seen; /* generations of the settings: offered, applied */
    uint64_t offered;                    /* generation of the settings that `offers` are made of */
    uint64_t check_ns, generation;
    uint64_t layout_ns;       /* not applied before */
    char problem[480];        /* why it cannot be offered, */
    char layout_problem[480]; /* or the GPUs not be shared so */
};

/* ---- what the kubelet asks ---- */

static const struct dv_offer *offer_of(const struct server *s)
{
    return s->owner->offers ? dv_offers_find(s->owner->offers, s->resource) : NULL;
}

/* NULL and the call is refused, or the units' answer, to be freed. */
static struct dv_offer_answer *grant(struct server *s, struct dv_kubelet_call *call,
                                     const struct dv_offer *offer, const struct dv_kubelet_ids *ids)
{
    dv_cleanup(dv_str_done) struct dv_str words = {0};
    struct dv_offer_answer *answer = calloc(1, sizeof *answer);
    const struct dv_offers *offers = s->owner->offers;
    int r = answer ? dv_offers_allocate(offers, offer, ids->ids, ids->count, answer) : -ENOMEM;
    if (r == 0 && answer->refusal == DV_OFFER_GRANTED)
        return answer;
    s->refusals++;
    if (r == 0) {
        dv_offer_text_refusal(offers, offer, answer, &words);
        dv_log(DV_LOG_WARNING, "allocate.refused", "resource=%s reason=\"%s\"", s->resource,
               dv_str_get(&words));
        dv_kubelet_plugin_refuse(call, DV_GRPC_INVALID_ARGUMENT, "%s", dv_str_get(&words));
    } else {
        dv_kubelet_plugin_refuse(call, DV_GRPC_RESOURCE_EXHAUSTED, "out of memory");
    }
    free(answer);
    return NULL;
}

/* passDeviceSpecs: the nodes of the devices and those that all have, as far as this host has them.
 */
static int pass_nodes(const struct dv_device_plugin *p, const struct dv_offer_answer *answer,
                      const struct dv_plugin_flags *flags, struct dv_allocation *ret)
{
    dv_cleanup(dv_cdi_edits_done) struct dv_cdi_edits edits = {0};
    const char *root = flags->dev_root[0] ? flags->dev_root : flags->driver_root;
    struct dv_err err;
    for (uint32_t i = 0; i < answer->n; i++) {
        const struct dv_device *d = dv_snapshot_device(
            p->node->snapshot, p->offers->devices[answer->grants[i].device].uuid);
        const struct dv_gpu *gpu = d ? dv_snapshot_gpu(p->node->snapshot, d->gpu) : NULL;
        const struct dv_cdi_gpu at = {gpu ? gpu->pci_bus_id : "", d && d->mig, d ? d->gi : 0,
                                      d ? d->ci : 0};
        if (gpu) /* a simulated GPU has none */
            dv_cdi_driver_nodes(&edits, p->options.driver_root, &at, &err);
    }
    return edits.failed ? -ENOMEM
                        : dv_allocation_nodes(ret, root, (const char *const *)edits.nodes.items,
                                              edits.nodes.n);
}

/* One container's part. False: the call has been refused. */
static bool allocate(struct server *s, struct dv_kubelet_call *call, const struct dv_offer *offer,
                     const struct dv_kubelet_ids *ids, struct dv_allocation *ret)
{
    struct dv_device_plugin *p = s->owner;
    const struct dv_plugin_flags *flags = &dv_settings_config(p->options.settings)->flags;
    char name[DV_CDI_FILES_NAME];
    struct dv_err err = {{0}};
    bool cdi = dv_allocation_by_cdi(flags, offer);
    struct dv_offer_answer *answer = grant(s, call, offer, ids);
    if (!answer)
        return false;
    int r = cdi ? dv_cdi_files_put(p->files, s->resource, ids, name, &err) : 0;
    if (r == 0)
        r = dv_allocation_make(flags, p->offers, offer, answer, cdi ? name : NULL, ret);
    if (r == 0 && flags->plugin.pass_device_specs)
        r = pass_nodes(p, answer, flags, ret);
    free(answer);
    if (r < 0) {
        s->refusals++;
        dv_kubelet_plugin_refuse(call, r == -EAGAIN ? DV_GRPC_UNAVAILABLE : DV_GRPC_INTERNAL, "%s",
                                 err.msg[0] ? err.msg : strerror(-r));
    }
    return r == 0;
}

static void on_allocate(void *arg, struct dv_kubelet_call *call,
                        const struct dv_kubelet_ids *containers, size_t count)
{
    struct server *s = arg;
    const struct dv_offer *offer = offer_of(s);
    struct dv_allocation *made = calloc(count ? count : 1, sizeof *made);
    struct dv_kubelet_container *out = calloc(count ? count : 1, sizeof *out);
    size_t n = 0;
    if (!offer || !made || !out) {
        dv_kubelet_plugin_refuse(call, offer ? DV_GRPC_RESOURCE_EXHAUSTED : DV_GRPC_NOT_FOUND, "%s",
                                 offer ? "out of memory" : "this resource is no longer offered");
    } else {
        while (n < count && allocate(s, call, offer, &containers[n], &made[n])) {
            out[n] = made[n].container;
            n++;
        }
        if (n == count) {
            s->allocations++;
            dv_kubelet_plugin_allocated(call, out, count);
        }
    }
    for (size_t i = 0; i < n; i++)
        dv_allocation_done(&made[i]);
    free(made);
    free(out);
}

static void on_prefer(void *arg, struct dv_kubelet_call *call,
                      const struct dv_kubelet_choice *containers, size_t count)
{
    struct server *s = arg;
    const struct dv_offer *offer = offer_of(s);
    struct dv_kubelet_ids *out = calloc(count, sizeof *out);
    struct dv_err err = {{0}};
    int r = !out ? -ENOMEM : offer ? 0 : -ENOENT;
    if (r == -ENOENT)
        dv_err_set(&err, r, "it is no longer offered");
    for (size_t i = 0; r == 0 && i < count; i++) {
        const struct dv_kubelet_choice *c = &containers[i];
        const struct dv_offer_request request = {c->available.ids, c->available.count, c->must.ids,
                                                 c->must.count, (uint32_t)c->size};
        const char **picked = NULL;
        if (c->size < 0 || (uint32_t)c->size > offer->n_units)
            r = dv_err_set(&err, -EINVAL, "%d of %u are asked for", c->size, offer->n_units);
        else if (!(picked = calloc((size_t)c->size + 1, sizeof *picked)))
            r = -ENOMEM;
        else
            r = dv_offers_prefer(s->owner->offers, offer, &request,
                                 &s->owner->node->snapshot->topology, picked, &err);
        out[i] = (struct dv_kubelet_ids){picked, r == 0 ? (size_t)c->size : 0};
    }
    /* An answer of no units leaves the choice to the kubelet; an error would fail the pod. */
    if (r == 0)
        dv_kubelet_plugin_preferred(call, out, count);
    else
        dv_kubelet_plugin_refuse(
            call, r == -ENOMEM ? DV_GRPC_RESOURCE_EXHAUSTED : DV_GRPC_FAILED_PRECONDITION, "%s",
            r == -ENOMEM ? "out of memory" : err.msg);
    for (size_t i = 0; out && i < count; i++)
        free((void *)out[i].ids);
    free(out);
}

const char *dv_device_plugin_state_name(enum dv_kubelet_plugin_state state)
{
    static const char *const names[] = {[DV_KUBELET_WAITING] = "waiting",
                                        [DV_KUBELET_REGISTERED] = "registered",
                                        [DV_KUBELET_WATCHED] = "watched",
                                        [DV_KUBELET_LOST] = "lost"};
    return names[state];
}

static void log_state(const struct server *s, enum dv_log_level level, const char *event)
{
    char value[DV_LOG_VALUE];
    dv_log(level, event, "resource=%s state=%s why=%s", s->resource,
           dv_device_plugin_state_name(s->state), dv_log_value(s->why, value));
}

/* A kubelet that restarts loses everything for a moment: what lasts is a warning (watch_states). */
static void on_state(void *arg, enum dv_kubelet_plugin_state state, const char *why)
{
    struct server *s = arg;
    if (s->state != state || !s->since_ns)
        s->since_ns = dv_clock_now();
    if (state == DV_KUBELET_REGISTERED)
        s->registered_unix = dv_clock_unix();
    s->state = state;
    snprintf(s->why, sizeof s->why, "%s", why ? why : "");
    log_state(s, DV_LOG_INFO, "plugin.state");
}

static void watch_states(struct dv_device_plugin *p, uint64_t now)
{
    for (struct server *s = p->servers; s; s = s->next) {
        bool away = s->state == DV_KUBELET_WAITING || s->state == DV_KUBELET_LOST;
        bool lasts = away && now - s->since_ns >= DV_DEVICE_PLUGIN_PATIENCE_NS;
        if (lasts && !s->warned)
            log_state(s, DV_LOG_WARNING, "plugin.away");
        s->warned = lasts;
    }
}

/* ---- a resource comes, changes and goes ---- */

static struct server **place_of(struct dv_device_plugin *p, const char *resource)
{
    struct server **at = &p->servers;
    while (*at && strcmp((*at)->resource, resource) < 0)
        at = &(*at)->next;
    return at;
}

static void remove_server(struct server **at)
{
    struct server *s = *at;
    *at = s->next;
    dv_kubelet_plugin_free(s->plugin);
    dv_log(DV_LOG_INFO, "resource.gone", "resource=%s", s->resource);
    free(s);
}

static int add_server(struct dv_device_plugin *p, struct server **at, const char *resource,
                      struct dv_err *err)
{
    static const struct dv_kubelet_plugin_ops ops = {on_allocate, on_prefer, NULL, on_state};
    struct server *s = calloc(1, sizeof *s);
    char endpoint[DV_PLUGIN_NAME + 16];
    if (!s) {
        dv_err_set(err, -ENOMEM, "out of memory");
        return -ENOMEM;
    }
    s->owner = p;
    s->due = true;
    s->since_ns = dv_clock_now();
    snprintf(s->resource, sizeof s->resource, "%s", resource);
    snprintf(endpoint, sizeof endpoint, "divvy-%s.sock", resource);
    for (char *c = endpoint; *c; c++)
        if (*c == '/')
            *c = '_';
    const struct dv_kubelet_plugin_config config = {resource, endpoint, &ops, s};
    int r = dv_kubelet_plugin_new(p->dir, &config, &s->plugin, err);
    if (r != 0) {
        free(s);
        return r;
    }
    s->next = *at;
    *at = s;
    return 0;
}

static int offer_units(struct server *s, const struct dv_offers *offers,
                       const struct dv_offer *offer, struct dv_err *err)
{
    struct dv_kubelet_device *list = calloc(offer->n_units ? offer->n_units : 1, sizeof *list);
    int64_t *numa = calloc(offers->n_devices ? offers->n_devices : 1, sizeof *numa);
    uint32_t healthy = 0;
    int r = list && numa ? 0 : -ENOMEM;
    if (r < 0)
        dv_err_set(err, r, "out of memory");
    for (uint32_t i = 0; r == 0 && i < offer->n_units; i++) {
        const struct dv_offer_unit *u = &offer->units[i];
        const struct dv_offer_device *d = &offers->devices[u->device];
        numa[u->device] = d->numa;
        list[i] = (struct dv_kubelet_device){u->id, &numa[u->device], d->numa >= 0, d->healthy};
        healthy += d->healthy;
    }
    if (r == 0)
        r = dv_kubelet_plugin_offer(s->plugin, list, offer->n_units, err);
    if (r == 0)
        dv_log(DV_LOG_INFO, "resource.offered", "resource=%s units=%u healthy=%u", s->resource,
               offer->n_units, healthy);
    free(list);
    free(numa);
    return r;
}

static int follow_one(struct dv_device_plugin *p, const char *name, bool changed,
                      struct dv_err *err)
{
    struct server **at = place_of(p, name);
    bool there = *at && !strcmp((*at)->resource, name);
    const struct dv_offer *offer = dv_offers_find(p->offers, name);
    if (!offer) {
        if (there)
            remove_server(at);
        return 0;
    }
    int r = there ? 0 : add_server(p, at, name, err);
    if (r == 0 && (changed || (*at)->due)) {
        r = offer_units(*at, p->offers, offer, err);
        (*at)->due = r != 0;
    }
    return r;
}

/* One that cannot be served keeps none of the others: what has changed is told but once. */
static int follow(struct dv_device_plugin *p, const struct dv_offers_diff *diff, struct dv_err *err)
{
    int r = 0;
    for (uint32_t i = 0; i < diff->n; i++) {
        struct dv_err own = {{0}};
        int one =
            follow_one(p, diff->changes[i].name, diff->changes[i].change != DV_OFFER_SAME, &own);
        if (one != 0 && r == 0) {
            r = one;
            *err = own;
        }
    }
    return r;
}

/* ---- what is offered ---- */

static void complain(struct dv_device_plugin *p, char problem[480], const char *words)
{
    char value[DV_LOG_VALUE];
    if (!strcmp(problem, words))
        return;
    snprintf(problem, 480, "%s", words);
    p->generation++;
    if (words[0])
        dv_log(DV_LOG_WARNING, "plugin.problem", "detail=%s", dv_log_value(words, value));
}

/* Nobody is sent to a GPU that is on its way to another layout, or to an MPS daemon that is not
 * there: pods wait then, and would fail at Allocate. */
static void hold_back(const struct dv_node *node, struct dv_offers *offers)
{
    for (uint32_t i = 0; i < offers->n_devices; i++) {
        struct dv_offer_device *o = &offers->devices[i];
        const struct dv_device *d = dv_snapshot_device(node->snapshot, o->uuid);
        if (!dv_layouts_gpu_is_still(node, o->gpu) ||
            (d && d->layout == DV_MODE_MPS && !dv_mps_is_up(node, d->uuid)))
            o->healthy = false;
    }
}

static bool has_gone(const void *arg, const char *gpu_uuid)
{
    return dv_missing_has(arg, gpu_uuid) || dv_missing_is_doubtful(arg, gpu_uuid);
}

/* Of a GPU that is missing the kubelet keeps its units, until another configuration is offered. */
static int keep_missing(struct dv_device_plugin *p, struct dv_offers *offers)
{
    uint64_t generation = dv_settings_generation(p->options.settings);
    bool same = p->offers && p->offered == generation;
    p->offered = generation;
    return same ? dv_offers_keep(offers, p->offers, has_gone, p->node) : 0;
}

static void refresh(struct dv_device_plugin *p)
{
    const struct dv_plugin_config *config = dv_settings_config(p->options.settings);
    struct dv_offers_diff *diff = calloc(1, sizeof *diff);
    struct dv_offers *offers = NULL;
    struct dv_err err = {{0}};
    int r = diff ? dv_offers_make(config, p->node->snapshot, &offers, &err) : -ENOMEM;
    if (r == 0) {
        hold_back(p->node, offers);
        r = keep_missing(p, offers);
    }
    if (r != 0) {
        complain(p, p->problem, r != -ENOMEM ? err.msg : "out of memory");
        dv_offers_free(offers);
        free(diff);
        return;
    }
    dv_offers_diff(p->offers, offers, diff);
    struct dv_offers *before = p->offers;
    p->offers = offers;
    for (uint32_t i = 0; i < diff->n; i++)
        p->generation += diff->changes[i].change != DV_OFFER_SAME;
    r = follow(p, diff, &err);
    complain(p, p->problem, r < 0 ? err.msg : "");
    dv_cdi_files_restore(p->files);
    dv_offers_free(before);
    free(diff);
}

/* The sharing of the configuration becomes the node's, once per configuration: what an operator
 * applies by hand later stays until the next. */
static void apply_layout(struct dv_device_plugin *p, uint64_t now)
{
    dv_cleanup(dv_layout_freep) struct dv_layout *layout = NULL;
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_layouts_request request = {
        .name = LAYOUT_NAME, .when = DV_LAYOUTS_WAIT, .patient = true};
    struct dv_layouts_plans *plans = calloc(1, sizeof *plans);
    struct dv_err err = {{0}};
    int r = plans ? dv_offers_layout(p->offers, &layout, &err) : -ENOMEM;
    if (r == 0) {
        dv_layoutfile_write(layout, &text);
        request.text = text.failed ? NULL : text.data;
        request.len = text.len;
        r = request.text ? dv_layouts_apply(p->node, &request, plans, &err) : -ENOMEM;
    }
    if (r == DV_LAYOUTS_BUSY || r == -EAGAIN) {
        free(plans); /* comes again with the next check */
        return;
    }
    if (r >= 0)
        p->layout_seen = dv_settings_generation(p->options.settings);
    p->layout_ns = r < 0 ? now + LAYOUT_RETRY_NS : 0; /* it could not be kept, say */
    bool bad = r < 0 || r == DV_LAYOUTS_WRONG || r == DV_LAYOUTS_INFEASIBLE;
    complain(p, p->layout_problem, !bad ? "" : err.msg[0] ? err.msg : "out of memory");
    if (plans)
        dv_layouts_plans_done(plans);
    free(plans);
}

void dv_device_plugin_hurry(struct dv_device_plugin *p)
{
    p->check_ns = 0;
}

void dv_device_plugin_tick(struct dv_device_plugin *p, uint64_t now)
{
    uint64_t generation = dv_settings_generation(p->options.settings);
    if (!p->node->ready || (now < p->check_ns && generation == p->settings_seen))
        return;
    if (p->node->inventory_asked && now - p->node->inventory_ns < ROUND_WAIT_NS)
        return; /* in the middle of a look: indices may be in the course of being given anew */
    p->check_ns = now + CHECK_NS;
    watch_states(p, now);
    if (generation != p->settings_seen)
        p->layout_ns = 0;
    p->settings_seen = generation;
    refresh(p);
    if (p->offers && p->layout_seen != generation && now >= p->layout_ns)
        apply_layout(p, now);
}

/* ---- whose are these ids ---- */

static int resolve_into(const struct dv_offers *offers, const struct dv_offer *offer,
                        const struct dv_container_request *request,
                        const struct dv_offer_answer *answer, struct dv_container_grant *ret,
                        size_t *ret_n, struct dv_err *err)
{
    if (answer->n > DV_CONTAINERS_GRANTS_MAX)
        return dv_err_set(err, -EINVAL, "%u devices; a container has at most %u", answer->n,
                          DV_CONTAINERS_GRANTS_MAX);
    for (uint32_t i = 0; i < answer->n; i++) {
        const struct dv_offer_grant *g = &answer->grants[i];
        struct dv_container_grant *to = &ret[i];
        *to = (struct dv_container_grant){.mode = offer->mode};
        snprintf(to->device, sizeof to->device, "%s", offers->devices[g->device].uuid);
        for (size_t k = 0; k < request->n_devices && !to->id[0]; k++) {
            const struct dv_offer_unit *u = dv_offers_unit(offer, request->devices[k]);
            if (u && u->device == g->device)
                snprintf(to->id, sizeof to->id, "%s", u->id);
        }
        /* Turns have no wall: who fits into the memory together is their own affair, as with
         * NVIDIA's plugin. Who wants a cap has governed shares. */
        if (offer->kind == DV_OFFER_WHOLE || offer->mode == DV_MODE_TIMESLICE)
            continue;
        to->memory_bytes = g->memory_bytes;
        to->compute = g->compute;
    }
    *ret_n = answer->n;
    return 0;
}

static int resolve(void *arg, const struct dv_container_request *request,
                   struct dv_container_grant *ret, size_t *ret_n, struct dv_err *err)
{
    dv_cleanup(dv_str_done) struct dv_str words = {0};
    const struct dv_device_plugin *p = arg;
    if (!p->offers && !p->problem[0]) /* just started: what was offered is offered again soon */
        return dv_err_set(err, -EAGAIN, "what this node offers is not known yet");
    const struct dv_offer *offer = p->offers ? dv_offers_find(p->offers, request->resource) : NULL;
    if (!offer)
        return dv_err_set(err, -ENOENT, "%.64s is not offered on this node", request->resource);
    struct dv_offer_answer *answer = calloc(1, sizeof *answer);
    const char **ids = calloc(request->n_devices ? request->n_devices : 1, sizeof *ids);
    for (size_t i = 0; ids && i < request->n_devices; i++)
        ids[i] = request->devices[i];
    int r = answer && ids ? dv_offers_allocate(p->offers, offer, ids, request->n_devices, answer)
                          : -ENOMEM;
    if (r < 0)
        dv_err_set(err, r, "out of memory");
    else if (answer->refusal == DV_OFFER_GRANTED)
        r = resolve_into(p->offers, offer, request, answer, ret, ret_n, err);
    else {
        dv_offer_text_refusal(p->offers, offer, answer, &words);
        r = dv_err_set(err, -ENOENT, "%s", dv_str_get(&words));
    }
    free(answer);
    free(ids);
    return r;
}

/* ---- life ---- */

int dv_device_plugin_new(struct dv_node *node, const struct dv_device_plugin_options *options,
                         struct dv_device_plugin **ret, struct dv_err *err)
{
    struct dv_device_plugin *p = calloc(1, sizeof *p);
    if (!p)
        return dv_err_set(err, -ENOMEM, "out of memory");
    p->node = node;
    p->options = *options;
    int r = dv_kubelet_dir_new(node->loop, options->directory, &p->dir, err);
    if (r == 0 &&
        (r = dv_cdi_files_new(node, options->cdi_dir, node->config.state_dir, &p->files)) < 0)
        dv_err_set(err, r, "%s: %s", options->cdi_dir, strerror(-r));
    if (r < 0) {
        dv_kubelet_dir_free(p->dir);
        free(p);
        return r;
    }
    dv_containers_set_resolver(node, resolve, p);
    *ret = p;
    return 0;
}

void dv_device_plugin_free(struct dv_device_plugin *p)
{
    if (!p)
        return;
    dv_containers_set_resolver(p->node, NULL, NULL);
    while (p->servers)
        remove_server(&p->servers);
    dv_kubelet_dir_free(p->dir);
    dv_cdi_files_free(p->files);
    dv_offers_free(p->offers);
    free(p);
}

const struct dv_offers *dv_device_plugin_offers(const struct dv_device_plugin *p)
{
    return p->offers;
}

const char *dv_device_plugin_problem(const struct dv_device_plugin *p)
{
    return p->problem[0] ? p->problem : p->layout_problem;
}

uint64_t dv_device_plugin_generation(const struct dv_device_plugin *p)
{
    return p->generation;
}

bool dv_device_plugin_row(const struct dv_device_plugin *p, size_t i,
                          struct dv_device_plugin_row *ret)
{
    const struct server *s = p->servers;
    while (s && i--)
        s = s->next;
    if (!s)
        return false;
    *ret = (struct dv_device_plugin_row){.resource = s->resource,
                                         .state = s->state,
                                         .why = s->why,
                                         .since_ns = s->since_ns,
                                         .registered_unix = s->registered_unix,
                                         .allocations = s->allocations,
                                         .refusals = s->refusals};
    const struct dv_offer *offer = offer_of(s);
    for (uint32_t k = 0; offer && k < offer->n_units; k++) {
        ret->units++;
        ret->healthy += p->offers->devices[offer->units[k].device].healthy;
    }
    return true;
}
