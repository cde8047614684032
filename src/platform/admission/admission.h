/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kubernetes' admission: what an object asks of GPUs (policy/gpu_request.h) and what is made of it,
 * as a JSON patch. Objects are those with a pod in them: Pod, PodTemplate, ReplicationController,
 * Deployment, StatefulSet, DaemonSet, ReplicaSet, Job, CronJob; all others are left alone.
 *
 *     dv_cleanup(dv_admission_free) struct dv_admission *a = NULL;
 *     struct dv_admission_rules rules = {.strategy = "mig-only"};
 *     r = dv_admission_object(json, len, &rules, &a, &err);
 *     a->result == DV_ADMISSION_REFUSED, a->findings[0].text
 *
 * A rewritten container's own words are kept in the annotation DV_ADMISSION_ORIGINAL of its pod
 * (template): {"CONTAINER": {"limits": {"nvidia.com/gpu": "250m"}, "requests": {...}}}. It also
 * tells whose percents these are: `kubectl apply` merges the manifest's fraction into an object
 * that has our percents, and then the fraction counts, and the percents are made anew. What is
 * rewritten once is not changed again.
 *
 * Bounded: DV_ADMISSION_MAX bytes, 64 levels, DV_ADMISSION_FINDINGS_MAX findings. Types of json-c
 * stop here.
 * Sources: Kubernetes' reference (admission.k8s.io/v1), RFC 6901, RFC 6902.
 */
#ifndef DV_ADMISSION_ADMISSION_H
#define DV_ADMISSION_ADMISSION_H

#include "base/err.h"

#include <stdbool.h>

#define DV_ADMISSION_MAX (3u << 20)
#define DV_ADMISSION_FINDINGS_MAX 256u
#define DV_ADMISSION_ORIGINAL "divvy.dev/original-resources"

enum dv_admission_result {
    DV_ADMISSION_NONE,     /* nothing of GPUs in it */
    DV_ADMISSION_ACCEPTED, /* as it is */
    DV_ADMISSION_REWRITTEN,
    DV_ADMISSION_REFUSED,
};
#define DV_ADMISSION_RESULTS 4u
/* "none", "accepted", ... */
const char *dv_admission_result_name(enum dv_admission_result result);

enum dv_admission_level {
    DV_ADMISSION_NOTE, /* what a container is given */
    DV_ADMISSION_WARNING,
    DV_ADMISSION_REFUSAL,
};

struct dv_admission_finding {
    enum dv_admission_level level;
    char *path; /* a JSON pointer into the object: what it is about */
    char *text; /* "container \"worker\": nvidia.com/gpu: 0.125 is no ...", printable */
};

struct dv_admission {
    enum dv_admission_result result;
    bool warned;
    char *patch;  /* JSON, an array of operations; NULL: nothing to change */
    char *object; /* JSON, after the patch; NULL from a review, and when refused */
    struct dv_admission_finding *findings;
    uint32_t n_findings;
};

struct dv_gpu_names;

/* By what is judged; borrowed. */
struct dv_admission_rules {
    const char *strategy; /* the value of the namespace's label gpu-strategy; NULL: none */
    const struct dv_gpu_names *names; /* what is declared of resources' names; NULL: nothing */
};

/* 0; -EINVAL (not an object of JSON), -E2BIG, with a message; -ENOMEM. */
int dv_admission_object(const char *json, size_t len, const struct dv_admission_rules *rules,
                        struct dv_admission **ret, struct dv_err *err);
void dv_admission_free(struct dv_admission **a);

struct dv_admission_answer {
    char *body; /* an AdmissionReview, JSON, from malloc */
    enum dv_admission_result result;
    bool warned;
    char subject[400]; /* "Deployment team-a/web", printable */
    char reason[400];  /* of a refusal, cut */
};

/*
 * An AdmissionReview of admission.k8s.io/v1, answered. An update of what was refused already, by
 * the same words, passes with a warning: a rule that came later stops nobody from scaling down,
 * or from deleting, what runs. Errors as above; -EINVAL also for what is no such review.
 */
int dv_admission_review(const char *body, size_t len, const struct dv_admission_rules *rules,
                        struct dv_admission_answer *ret, struct dv_err *err);
void dv_admission_answer_done(struct dv_admission_answer *answer);

#endif
