/* SPDX-License-Identifier: Apache-2.0 */
/* Telemetry out of a Prometheus: dcgm-exporter's metrics under its own labels, or divvy's. */
#include "feed.h"
#include "model/mig.h"
#include "prometheus/prometheus.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MIB 1048576.0
#define LABELS_MAX 8u
#define RATE_MIN_S 120u /* of divvy's counters: two scrapes of the slowest kind */

struct question {
    const char *promql; /* %u: seconds of a rate */
    double scale;
    bool memory;
};

/* GPU_UTIL is absent on GPUs in MIG mode, whose instances have GR_ENGINE_ACTIVE. */
static const struct question dcgm[] = {
    {"DCGM_FI_DEV_GPU_UTIL", 1, false},
    {"DCGM_FI_PROF_GR_ENGINE_ACTIVE{GPU_I_ID!=\"\"}", 100, false},
    {"DCGM_FI_DEV_FB_USED", MIB, true},
};
/* A tenant's part of a GPU, while it holds a slice of it. */
static const struct question divvy[] = {
    {"sum by (tenant, gpu_uuid) (rate(divvy_tenant_busy_seconds_total[%us])) and "
     "sum by (tenant, gpu_uuid) (divvy_tenant_slices) > 0",
     100, false},
    {"sum by (tenant, gpu_uuid) (divvy_tenant_memory_used_bytes) and "
     "sum by (tenant, gpu_uuid) (divvy_tenant_slices) > 0",
     1, true},
};

struct reading {
    struct dv_audit_feed *feed;
    const struct question *question;
    char labels_text[512];
    const char *labels[LABELS_MAX]; /* that name a workload; n 0: the usual ones */
    size_t n_labels;
    uint32_t workload;
    double part; /* of a GPU: 1, or that of the series' MIG instance */
    bool named, asked;
    struct dv_err err;
    char name[DV_AUDIT_NAME_MAX + 1], gpu[DV_AUDIT_NAME_MAX + 1];
};

/* ---- names ---------------------------------------------------------------------------------- */

static void join(char to[DV_AUDIT_NAME_MAX + 1], const char *text)
{
    size_t n = strlen(to);
    if (*text)
        snprintf(to + n, DV_AUDIT_NAME_MAX + 1 - n, "%s%s", n ? "/" : "", text);
}

/* The first of the labels that is there. A scraped target's own label wins over the scraper's,
 * which Prometheus then renames to exported_... */
static const char *first_of(const struct dv_prometheus_labels *labels, const char *const *names,
                            size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (*dv_prometheus_label(labels, names[i]))
            return dv_prometheus_label(labels, names[i]);
    return "";
}

static void name_dcgm(struct reading *r, const struct dv_prometheus_labels *labels)
{
    static const char *const pods[] = {"exported_pod", "pod", "pod_name"};
    static const char *const spaces[] = {"exported_namespace", "namespace", "pod_namespace"};
    static const char *const containers[] = {"exported_container", "container", "container_name"};
    static const char *const uuids[] = {"UUID", "uuid", "gpu_uuid", "gpu"};
    const char *pod = first_of(labels, pods, DV_ARRAY_SIZE(pods));
    /* Without honor_labels and without a pod, `pod` is dcgm-exporter's own: then it has no
     * exported_pod while others do. It cannot be told from here; UUIDs keep GPUs apart anyway. */
    if (*pod) {
        join(r->name, first_of(labels, spaces, DV_ARRAY_SIZE(spaces)));
        join(r->name, pod);
        join(r->name, first_of(labels, containers, DV_ARRAY_SIZE(containers)));
    } else {
        join(r->name, DV_AUDIT_NOBODY);
    }
    join(r->gpu, first_of(labels, uuids, DV_ARRAY_SIZE(uuids)));
    join(r->gpu, dv_prometheus_label(labels, "GPU_I_ID"));
}

static void name_series(struct reading *r, const struct dv_prometheus_labels *labels, bool is_divvy)
{
    r->name[0] = r->gpu[0] = 0;
    for (size_t i = 0; i < r->n_labels; i++)
        join(r->name, dv_prometheus_label(labels, r->labels[i]));
    if (r->n_labels)
        return;
    if (is_divvy) {
        join(r->name, dv_prometheus_label(labels, "tenant"));
        join(r->gpu, dv_prometheus_label(labels, "gpu_uuid"));
    } else {
        name_dcgm(r, labels);
    }
}

/* An instance's part of its GPU, by its profile; 1 of whole GPUs, and where it is not said. */
static double part_of(const struct reading *r, const struct dv_prometheus_labels *labels)
{
    struct dv_mig_name name;
    if (!*dv_prometheus_label(labels, "GPU_I_ID") || !r->feed->mig_slices ||
        dv_mig_name_parse(dv_prometheus_label(labels, "GPU_I_PROFILE"), &name, NULL) < 0)
        return 1;
    return (double)DV_MIN(name.slices, r->feed->mig_slices) / (double)r->feed->mig_slices;
}

static int read_labels(const char *text, struct reading *ret, struct dv_err *err)
{
    if (text && dv_str_copy(ret->labels_text, sizeof ret->labels_text, text) < 0)
        return dv_err_set(err, -EINVAL, "--labels is too long");
    for (char *p = text ? ret->labels_text : NULL; p;) {
        char *one = strsep(&p, ",");
        if (!*one || ret->n_labels == LABELS_MAX)
            return dv_err_set(err, -EINVAL, "--labels: one to %u names, separated by commas",
                              LABELS_MAX);
        ret->labels[ret->n_labels++] = one;
    }
    return 0;
}

/* ---- samples -------------------------------------------------------------------------------- */

static int on_series(void *arg, const struct dv_prometheus_labels *labels)
{
    struct reading *r = arg;
    name_series(r, labels, r->question >= divvy && r->question < divvy + DV_ARRAY_SIZE(divvy));
    r->named = *r->name != 0;
    r->feed->series_dropped += !r->named;
    r->part = part_of(r, labels);
    int x = r->named ? dv_audit_feed_find(r->feed, r->name, r->gpu, &r->workload, &r->err) : 0;
    if (x >= 0 && r->named)
        dv_audit_part(r->feed->audit, r->workload, r->part);
    return x;
}

static int on_sample(void *arg, int64_t unix_ns, double value, bool missing)
{
    struct reading *r = arg;
    if (!r->named)
        return 0;
    if (missing) {
        r->feed->missing_values++;
        return 0;
    }
    int x =
        dv_audit_feed_to(r->feed, r->workload, r->question->memory, unix_ns,
                         value * r->question->scale * (r->question->memory ? 1 : r->part), &r->err);
    if (x < 0)
        dv_err_prefix(&r->err, "%.100s of %.100s: ", r->question->memory ? "memory" : "utilization",
                      r->name);
    return x > 0 ? 0 : x < 0 ? x : -EINTR;
}

static bool stop(void *arg)
{
    struct reading *r = arg;
    return !dv_long_run_at(&r->feed->run, r->feed->samples);
}

/* ---- asking --------------------------------------------------------------------------------- */

/* Like printf with one number, for the texts above. */
static void write_query(const struct question *q, uint64_t step_ns, struct dv_str *text)
{
    uint64_t seconds = DV_MAX(step_ns / DV_NS_PER_S, RATE_MIN_S);
    const char *at = strstr(q->promql, "%u");
    if (!at) {
        dv_str_add(text, q->promql);
        return;
    }
    dv_str_addn(text, q->promql, (size_t)(at - q->promql));
    dv_str_addf(text, "%llu%s", (unsigned long long)seconds, at + 2);
}

static int ask_all(struct dv_prometheus *p, const struct dv_audit_prometheus *how,
                   struct reading *r, struct dv_prometheus_counts *counts, struct dv_err *err)
{
    const struct question *questions = how->divvy ? divvy : dcgm;
    size_t n = how->divvy ? DV_ARRAY_SIZE(divvy) : DV_ARRAY_SIZE(dcgm);
    struct dv_audit_feed *f = r->feed;
    int64_t step = (int64_t)how->step_ns;
    int64_t to = f->to_ns < INT64_MAX ? f->to_ns : (int64_t)time(NULL) * (int64_t)DV_NS_PER_S;
    int64_t from = f->from_ns > 0 ? f->from_ns : to - (int64_t)how->range_ns;
    const struct dv_prometheus_sink sink = {r, on_series, on_sample};
    f->asked_step_ns = how->step_ns;
    f->from_ns = DV_MAX(from - from % step, 0);
    f->to_ns = to + 1;
    int x = 0;
    for (size_t i = 0; i < n && x == 0; i++) {
        dv_cleanup(dv_str_done) struct dv_str promql = {0};
        r->question = &questions[i];
        write_query(r->question, how->step_ns, &promql);
        struct dv_prometheus_query query = {dv_str_get(&promql), f->from_ns, to, how->step_ns};
        x = promql.failed ? -ENOMEM : dv_prometheus_range(p, &query, &sink, counts, err);
    }
    return x;
}

static int exit_of(int r, bool asked)
{
    return !asked && r == -EINVAL ? DV_UI_USAGE
           : r == -EACCES         ? DV_UI_PERMISSION
           : r == -ETIMEDOUT || r == -ECONNREFUSED || r == -EHOSTUNREACH || r == -EIO
               ? DV_UI_UNAVAILABLE
               : DV_UI_FAILURE;
}

static int read_token(const struct dv_audit_prometheus *how, char **ret, struct dv_err *err)
{
    const char *env = getenv("DIVVY_PROMETHEUS_TOKEN");
    if (how->token_file)
        return dv_prometheus_read_token(how->token_file, ret, err);
    if (!env || !*env)
        return 0;
    *ret = strdup(env);
    return *ret ? 0 : dv_err_set(err, -ENOMEM, "out of memory");
}

static int read_all(const struct dv_audit_prometheus *how, struct reading *r,
                    struct dv_prometheus_counts *counts, struct dv_err *err)
{
    dv_cleanup(dv_prometheus_freep) struct dv_prometheus *p = NULL;
    char *token = NULL;
    int x = read_labels(how->workload, r, err);
    x = x < 0 ? x : read_token(how, &token, err);
    struct dv_prometheus_options options = {
        .url = how->url,
        .token = token,
        .ca_file = how->ca,
        .timeout_ns = how->timeout_ns,
        .stop = stop,
        .arg = r,
    };
    x = x < 0 ? x : dv_prometheus_new(&options, &p, err);
    r->asked = x == 0;
    x = x < 0 ? x : ask_all(p, how, r, counts, err);
    free(token);
    return x;
}

int dv_audit_from_prometheus(const struct dv_ui *ui, struct dv_audit_feed *f,
                             const struct dv_audit_prometheus *how)
{
    struct reading r = {.feed = f};
    struct dv_prometheus_counts counts = {0};
    struct dv_err err = {{0}};
    dv_audit_share_gpus(f->audit);
    dv_long_run_begin(&f->run, "asking", "samples", 0);
    int x = read_all(how, &r, &counts, &err);
    dv_long_run_end(&f->run);
    f->step_corrections += counts.off_step;
    f->outside += counts.outside;
    if (counts.warning[0])
        fprintf(stderr, "divvy audit: Prometheus warns: %s\n", counts.warning);
    if (x == -EINTR) {
        f->interrupted = true;
        return DV_UI_OK;
    }
    if (x < 0)
        return dv_ui_fail(ui, exit_of(x, r.asked), "%s", r.err.msg[0] ? r.err.msg : err.msg);
    if (!counts.samples)
        return dv_ui_fail(
            ui, DV_UI_FAILURE,
            "Prometheus has no samples of %s metrics in this range; --names says whose "
            "there are",
            how->divvy ? "divvy's" : "dcgm-exporter's");
    return DV_UI_OK;
}
