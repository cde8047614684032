/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/health_report.h"

#include "kube/json.h"
#include "missing.h"
#include "strangers.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 360u                     /* of a condition, before "and N more" */
#define HOLDERS_WAIT_NS (6 * DV_NS_PER_S) /* for the kubelet's answer about who has a GPU */
#define NAME_SIZE 128
#define MESSAGE_SIZE 320
#define UIDS_MAX 64u /* pods that are asked about at a time */

/* What has been told of a GPU. */
struct told {
    char uuid[DV_UUID_SIZE]; /* indices are given anew when a GPU has gone */
    bool sick;
    int64_t since_unix;
    char detail[DV_GPU_DETAIL_SIZE];
    /* Its pods are told when the kubelet has answered: */
    bool pods_due;
    uint64_t holders_generation, until_ns;
};

/* A pod whose uid is asked for, so that people find its event. */
struct uid_question {
    struct dv_health_report *owner;
    char namespace[64], pod[DV_WORKLOAD_NAME_SIZE];
    char message[MESSAGE_SIZE];
    struct dv_kube_call *call;
    struct uid_question *next;
};

struct dv_health_report {
    struct dv_node *node;
    struct dv_node_object *object;
    struct dv_unit_holders *holders;
    struct told told[DV_FACTS_GPUS_MAX];
    struct told missing[DV_FACTS_GPUS_MAX]; /* those that are missed; uuid "": a free place */
    struct uid_question *questions;
    uint32_t n_questions;
};

/* ---- words ---- */

static const char *detail_of(const struct dv_gpu *gpu)
{
    return gpu->health_detail[0] ? gpu->health_detail : dv_gpu_health_name(gpu->health);
}

/* "3 (GPU-...)", "3 (at PCI 00000000:3B:00.0)", "3". */
static const char *name_of(const struct dv_gpu *gpu, char ret[NAME_SIZE])
{
    if (gpu->uuid[0])
        snprintf(ret, NAME_SIZE, "%u (%s)", gpu->index, gpu->uuid);
    else if (gpu->pci_bus_id[0])
        snprintf(ret, NAME_SIZE, "%u (at PCI %s)", gpu->index, gpu->pci_bus_id);
    else
        snprintf(ret, NAME_SIZE, "%u", gpu->index);
    return ret;
}

/* "GPU-... (GPU 3 before)" */
static const char *missing_name(const struct dv_gpu *gpu, char ret[NAME_SIZE])
{
    snprintf(ret, NAME_SIZE, "%.90s (GPU %u before)", gpu->uuid, gpu->index);
    return ret;
}

#define NOT_COUNTED "the driver no longer counts it"

struct list {
    struct dv_str *text;
    size_t start;
    uint32_t sick, left_out;
};

static void add_sick(struct list *l, const char *what, const char *name, const char *detail)
{
    l->sick++;
    if (l->text->len - l->start > TEXT_MAX)
        l->left_out++;
    else
        dv_str_addf(l->text, "%s%s%s: %s", l->text->len > l->start ? ", " : "", what, name, detail);
}

/* One that somebody holds a part of stays in the snapshot when it is counted no more. */
static const struct dv_gpu *gpu_at(const struct dv_node *node, uint32_t index)
{
    const struct dv_gpu *gpu = dv_strangers_gpu(node, index);
    return gpu && gpu->uuid[0] && dv_missing_has(node, gpu->uuid) ? NULL : gpu;
}

uint32_t dv_health_report_text(const struct dv_node *node, struct dv_str *text)
{
    struct list l = {text, text->len, 0, 0};
    const struct dv_missing_gpu *m;
    uint32_t n = 0;
    char name[NAME_SIZE];
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++) {
        const struct dv_gpu *gpu = gpu_at(node, i);
        n += gpu != NULL;
        if (gpu && !dv_health_is_well(gpu->health))
            add_sick(&l, "GPU ", name_of(gpu, name), detail_of(gpu));
    }
    for (size_t i = 0; (m = dv_missing_at(node, i)); i++)
        add_sick(&l, "", missing_name(&m->gpu, name), NOT_COUNTED);
    if (l.left_out)
        dv_str_addf(text, " and %u more", l.left_out);
    if (!l.sick)
        dv_str_addf(text, "%u GPU%s well", n, n == 1 ? " is" : "s are");
    return l.sick;
}

/* ---- pods ---- */

static void remove_question(struct uid_question *q)
{
    struct dv_health_report *r = q->owner;
    for (struct uid_question **at = &r->questions; *at; at = &(*at)->next) {
        if (*at == q) {
            *at = q->next;
            r->n_questions--;
            break;
        }
    }
    free(q);
}

static void on_pod(void *arg, const struct dv_kube_reply *reply)
{
    struct uid_question *q = arg;
    const char *uid = dv_kube_json_text(reply->body, "metadata", "uid", NULL);
    if (!reply->error && uid && *uid)
        dv_node_object_pod_event(q->owner->object, q->namespace, q->pod, uid, true, "GpuUnhealthy",
                                 "%s", q->message);
    remove_question(q);
}

static void ask_for_uid(struct dv_health_report *r, const struct dv_unit_holder *h,
                        const char *message)
{
    dv_cleanup(dv_str_done) struct dv_str path = {0};
    struct uid_question *q = r->n_questions < UIDS_MAX ? calloc(1, sizeof *q) : NULL;
    if (!q)
        return;
    q->owner = r;
    snprintf(q->namespace, sizeof q->namespace, "%s", h->namespace);
    snprintf(q->pod, sizeof q->pod, "%s", h->pod);
    snprintf(q->message, sizeof q->message, "%s", message);
    dv_str_add(&path, "/api/v1/namespaces/");
    dv_kube_client_escape(h->namespace, &path);
    dv_str_add(&path, "/pods/");
    dv_kube_client_escape(h->pod, &path);
    const struct dv_kube_request request = {.verb = DV_KUBE_GET, .path = dv_str_get(&path)};
    if (path.failed ||
        dv_kube_client_call(dv_node_object_client(r->object), &request, on_pod, q, &q->call) < 0) {
        free(q);
        return;
    }
    q->next = r->questions;
    r->questions = q;
    r->n_questions++;
}

static bool is_pod(const struct dv_workload *w, const char *namespace, const char *pod)
{
    return w && w->pod[0] && !strcmp(w->namespace, namespace) && !strcmp(w->pod, pod);
}

/* Which GPU: by its UUID, which stays the same; of one without, its index. */
struct which {
    uint32_t index;
    const char *uuid;
};

static bool is_of(const struct dv_offer_device *d, const struct which *gpu)
{
    return gpu->uuid[0] ? !strcmp(d->gpu_uuid, gpu->uuid) : d->gpu == gpu->index;
}

static bool is_on(const struct dv_offers *offers, const struct dv_unit_holder *h,
                  const struct which *gpu)
{
    const struct dv_offer *offer = offers ? dv_offers_find(offers, h->resource) : NULL;
    const struct dv_offer_unit *unit = offer ? dv_offers_unit(offer, h->id) : NULL;
    return unit && is_of(&offers->devices[unit->device], gpu);
}

/* Is the slice on it? */
static bool has_part(const struct dv_health_report *r, const struct dv_holding *h,
                     const struct which *gpu, const struct dv_offers *offers)
{
    if (h->state == DV_HOLDING_QUEUED)
        return false;
    for (uint32_t i = 0; offers && i < offers->n_devices; i++)
        if (!strcmp(offers->devices[i].uuid, h->device_uuid))
            return is_of(&offers->devices[i], gpu);
    uint32_t index = dv_node_gpu_of(r->node, h->device_uuid);
    const struct dv_gpu *its = dv_snapshot_gpu(r->node->snapshot, index);
    return its && (gpu->uuid[0] ? !strcmp(its->uuid, gpu->uuid) : index == gpu->index);
}

/* Does a slice on the GPU speak for that pod already? */
static bool has_slice(const struct dv_health_report *r, const struct which *gpu,
                      const struct dv_offers *offers, const struct dv_unit_holder *u)
{
    for (const struct dv_holding *h = r->node->holdings; h; h = h->next)
        if (is_pod(h->workload, u->namespace, u->pod) && has_part(r, h, gpu, offers))
            return true;
    return false;
}

static bool is_asked(const struct dv_health_report *r, const struct dv_unit_holder *h,
                     const char *message)
{
    for (const struct uid_question *q = r->questions; q; q = q->next)
        if (!strcmp(q->namespace, h->namespace) && !strcmp(q->pod, h->pod) &&
            !strcmp(q->message, message))
            return true;
    return false;
}

static void tell_pods(struct dv_health_report *r, const struct which *gpu, const char *message,
                      const struct dv_offers *offers)
{
    const struct dv_unit_holder *u;
    for (const struct dv_holding *h = r->node->holdings; h; h = h->next)
        if (h->workload && h->workload->pod[0] && has_part(r, h, gpu, offers))
            dv_node_object_pod_event(r->object, h->workload->namespace, h->workload->pod,
                                     h->workload->pod_uid, true, "GpuUnhealthy", "%s", message);
    for (size_t i = 0; (u = dv_unit_holders_at(r->holders, i)); i++)
        if (is_on(offers, u, gpu) && !has_slice(r, gpu, offers, u) && !is_asked(r, u, message))
            ask_for_uid(r, u, message);
}

/* ---- GPUs ---- */

/* what: "GPU 3 (GPU-...)" */
static void falls_ill(struct dv_health_report *r, const char *what, const char *detail,
                      struct told *t, uint64_t now)
{
    dv_node_object_event(r->object, true, "GpuUnhealthy", "%s: %s", what, detail);
    t->since_unix = dv_clock_unix();
    t->pods_due = true;
    t->holders_generation = dv_unit_holders_generation(r->holders);
    t->until_ns = now + HOLDERS_WAIT_NS;
    dv_unit_holders_refresh(r->holders);
}

static void is_well_again(struct dv_health_report *r, const char *what, struct told *t)
{
    int64_t lasted = DV_MAX(dv_clock_unix() - t->since_unix, INT64_C(0));
    t->pods_due = false;
    dv_node_object_event(r->object, false, "GpuRecovered", "%s is well again, after %lld s: %s",
                         what, (long long)lasted, t->detail);
}

/* When the kubelet has answered who has it, or does not. */
static void tell_pods_when_due(struct dv_health_report *r, struct told *t, const struct which *gpu,
                               const char *what, uint64_t now, const struct dv_offers *offers)
{
    char message[MESSAGE_SIZE];
    if (!t->pods_due ||
        (dv_unit_holders_generation(r->holders) == t->holders_generation && now < t->until_ns))
        return;
    t->pods_due = false;
    snprintf(message, sizeof message, "%s, of which this pod has a part: %s", what, t->detail);
    tell_pods(r, gpu, message, offers);
}

static void look_at(struct dv_health_report *r, const struct dv_gpu *gpu, uint64_t now,
                    const struct dv_offers *offers)
{
    struct told *t = &r->told[gpu->index];
    bool sick = !dv_health_is_well(gpu->health);
    char what[NAME_SIZE + 4], name[NAME_SIZE];
    snprintf(what, sizeof what, "GPU %s", name_of(gpu, name));
    if (t->uuid[0] && gpu->uuid[0] && strcmp(t->uuid, gpu->uuid) != 0)
        *t = (struct told){.sick = false}; /* another has its index: nothing is told of this one */
    if (gpu->uuid[0])
        memcpy(t->uuid, gpu->uuid, sizeof t->uuid);
    if (sick && !t->sick)
        falls_ill(r, what, detail_of(gpu), t, now);
    else if (!sick && t->sick)
        is_well_again(r, what, t);
    t->sick = sick;
    if (sick)
        snprintf(t->detail, sizeof t->detail, "%s", detail_of(gpu));
    tell_pods_when_due(r, t, &(struct which){gpu->index, gpu->uuid}, what, now, offers);
}

/* ---- GPUs that are missing ---- */

static struct told *place_of(struct dv_health_report *r, const char *uuid)
{
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++)
        if (!strcmp(r->missing[i].uuid, uuid))
            return &r->missing[i];
    return NULL;
}

/* What was told of it while it was there is done with: it is told that it is missing. */
static void forget_index(struct dv_health_report *r, const char *uuid)
{
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++)
        if (!strcmp(r->told[i].uuid, uuid))
            r->told[i] = (struct told){.sick = false};
}

static void look_at_missing(struct dv_health_report *r, const struct dv_gpu *gpu, uint64_t now,
                            const struct dv_offers *offers)
{
    struct told *t = place_of(r, gpu->uuid);
    char name[NAME_SIZE];
    missing_name(gpu, name);
    if (!t && (t = place_of(r, ""))) {
        forget_index(r, gpu->uuid);
        memcpy(t->uuid, gpu->uuid, sizeof t->uuid);
        snprintf(t->detail, sizeof t->detail, NOT_COUNTED);
        falls_ill(r, name, t->detail, t, now);
    }
    if (t)
        tell_pods_when_due(r, t, &(struct which){gpu->index, gpu->uuid}, name, now, offers);
}

static const struct dv_gpu *find_gpu(const struct dv_node *node, const char *uuid)
{
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++) {
        const struct dv_gpu *gpu = dv_strangers_gpu(node, i);
        if (gpu && !strcmp(gpu->uuid, uuid))
            return gpu;
    }
    return NULL;
}

/* Back and well is worth an event; back and sick has its own; replaced and forgotten are known to
 * whoever did it. */
static void look_at_found(struct dv_health_report *r)
{
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++) {
        struct told *t = &r->missing[i];
        char what[NAME_SIZE + 4], name[NAME_SIZE];
        if (!t->uuid[0] || dv_missing_has(r->node, t->uuid))
            continue;
        const struct dv_gpu *gpu = find_gpu(r->node, t->uuid);
        if (gpu && dv_health_is_well(gpu->health)) {
            snprintf(what, sizeof what, "GPU %s", name_of(gpu, name));
            is_well_again(r, what, t);
        }
        *t = (struct told){.sick = false};
    }
}

void dv_health_report_tick(struct dv_health_report *r, uint64_t now, const struct dv_offers *offers)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    const struct dv_missing_gpu *m;
    if (!r->node->ready)
        return;
    for (size_t i = 0; (m = dv_missing_at(r->node, i)); i++)
        look_at_missing(r, &m->gpu, now, offers);
    look_at_found(r);
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++) {
        const struct dv_gpu *gpu = gpu_at(r->node, i);
        if (gpu && (gpu == r->node->gpus[i].stranger ||
                    r->node->gpus[i].health.verdict.cause != DV_HEALTH_NOT_SEEN))
            look_at(r, gpu, now, offers);
    }
    uint32_t sick = dv_health_report_text(r->node, &text);
    if (!text.failed && !dv_missing_is_open(r->node)) /* else it stays what it is, for a look */
        dv_node_object_condition(r->object, DV_HEALTH_REPORT_CONDITION, !sick,
                                 sick ? "GPUUnhealthy" : "AllGPUsHealthy", dv_str_get(&text));
}

/* ---- life ---- */

int dv_health_report_new(struct dv_node *node, struct dv_node_object *object,
                         struct dv_unit_holders *holders, struct dv_health_report **ret)
{
    struct dv_health_report *r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    r->node = node;
    r->object = object;
    r->holders = holders;
    *ret = r;
    return 0;
}

void dv_health_report_free(struct dv_health_report *r)
{
    if (!r)
        return;
    for (struct uid_question *next, *q = r->questions; q; q = next) {
        next = q->next;
        dv_kube_client_cancel(q->call);
        free(q);
    }
    free(r);
}
