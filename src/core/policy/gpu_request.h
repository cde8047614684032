/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a container of Kubernetes asks of GPUs, and what is made of it at admission: left alone,
 * rewritten ("nvidia.com/gpu: 0.25" becomes 25 of the node's percent tokens), or refused. It
 * carries no sentence; the words are in render/gpu_request_text.h.
 *
 *     struct dv_gpu_ask asks[] = {{.resource = "nvidia.com/gpu", .request = "250m",
 *                                  .limit = "250m"}};
 *     dv_gpu_request_judge(asks, 1, DV_GPU_REQUEST_ANY, &v);
 *     v.result == DV_GPU_REQUEST_REWRITTEN, v.percent == 25
 *
 * Nothing is rounded: a fraction that is no whole percent is refused, and the verdict has the two
 * that would pass.
 *
 * Source: Kubernetes' API conventions and reference, "Quantity" (the grammar of quantities) and
 * "Extended resources" (whole numbers, requests equal to limits).
 */
#ifndef DV_POLICY_GPU_REQUEST_H
#define DV_POLICY_GPU_REQUEST_H

#include "base/err.h"

#include <stdbool.h>

#define DV_GPU_RESOURCE "nvidia.com/gpu"
#define DV_GPU_RESOURCE_PERCENT "divvy.dev/gpu-percent"
#define DV_GPU_RESOURCE_SIZE 320 /* a name of Kubernetes: 253 + '/' + 63, and the end */

/* What a resource's name stands for, as far as it goes by its form. A mask of `1u << kind` says
 * what a namespace may ask for. */
enum dv_gpu_kind {
    DV_GPU_KIND_NONE,    /* no GPU, or none that is known here */
    DV_GPU_KIND_WHOLE,   /* nvidia.com/gpu */
    DV_GPU_KIND_SHARED,  /* nvidia.com/gpu.shared and other *.shared: MPS, time-slices */
    DV_GPU_KIND_MIG,     /* nvidia.com/mig-* */
    DV_GPU_KIND_PERCENT, /* divvy.dev/gpu-percent: governed */
    DV_GPU_KIND_SLICE, /* nvidia.com/gpu-NAME, divvy.dev/NAME: governed too; its bit is PERCENT's */
};
enum dv_gpu_kind dv_gpu_request_kind(const char *resource);

/* ---- quantities ----------------------------------------------------------------------------- */

#define DV_QUANTITY_ONE INT64_C(1000000000) /* quantities are counted in 1/10^9 */
#define DV_QUANTITY_PERCENT (DV_QUANTITY_ONE / 100)

/* "1", "0.25", "250m", "25e-2", "1Ki", "-1", exactly. 0; -EINVAL (no quantity); -ERANGE (finer than
 * 1/10^9, or more than 10^9). */
int dv_quantity_parse(const char *text, int64_t *ret_nano);
#define DV_QUANTITY_TEXT 32
/* "0.25". Returns buf. */
const char *dv_quantity_format(int64_t nano, char buf[DV_QUANTITY_TEXT]);

/* ---- a namespace's rule ----------------------------------------------------------------------
 *
 * The label gpu-strategy of a namespace: words joined by '_' or '.', each with or without "-only":
 * any; whole or exclusive; mig; shared, timeslice, timeslicing or time-slicing (all of them allow
 * governed slices too: turns with walls); mps; governed or fraction. "mig-only", "whole_mig".
 */
#define DV_GPU_STRATEGY_LABEL "gpu-strategy"
#define DV_GPU_REQUEST_ANY                                                                         \
    (1u << DV_GPU_KIND_WHOLE | 1u << DV_GPU_KIND_SHARED | 1u << DV_GPU_KIND_MIG |                  \
     1u << DV_GPU_KIND_PERCENT)

/* NULL and "": any. -EINVAL for a value that has another word in it. */
int dv_gpu_strategy_parse(const char *label, uint32_t *ret_allowed);
/* All values of one word, for a namespace selector; NULL after the last. */
const char *dv_gpu_strategy_word(size_t i);

/* ---- a container ---------------------------------------------------------------------------- */

struct dv_gpu_ask {
    const char *resource;
    const char *request, *limit; /* as written; NULL: not given */
    enum dv_gpu_kind kind;       /* as declared (policy/gpu_names.h); NONE: as the name says */
};

enum dv_gpu_request_result {
    DV_GPU_REQUEST_NONE, /* no GPU */
    DV_GPU_REQUEST_ACCEPTED,
    DV_GPU_REQUEST_REWRITTEN, /* [percent]; the ask is `index` */
    DV_GPU_REQUEST_REFUSED,
};

/* In brackets: the operands that are set, beside `resource` and `index`. */
enum dv_gpu_request_reason {
    DV_GPU_REQUEST_FINE,
    DV_GPU_REQUEST_BAD_QUANTITY,  /* [text] */
    DV_GPU_REQUEST_NEGATIVE,      /* [nano] */
    DV_GPU_REQUEST_UNEQUAL,       /* request and limit [nano: request, limit] */
    DV_GPU_REQUEST_NO_LIMIT,      /* only a request of what cannot be overcommitted [nano] */
    DV_GPU_REQUEST_MORE_THAN_ONE, /* and not whole [nano] */
    DV_GPU_REQUEST_UNEVEN,        /* no whole percent [nano, percent: below, 0 for none] */
    DV_GPU_REQUEST_INDIVISIBLE,   /* a fraction of what has none [nano, kind] */
    DV_GPU_REQUEST_OVER_FULL,     /* more than 100 percent [nano] */
    DV_GPU_REQUEST_TWICE,         /* a slice beside others or other GPUs [other] */
    DV_GPU_REQUEST_NOT_ALLOWED,   /* in this namespace [kind, allowed] */
    DV_GPU_REQUEST_NO_STRATEGY,   /* nothing is: its label is not understood */
};

struct dv_gpu_verdict {
    enum dv_gpu_request_result result;
    enum dv_gpu_request_reason reason;
    enum dv_gpu_kind kind; /* of the resource; a fraction of a whole GPU is PERCENT */
    bool guessed;          /* a slice by its name alone, which may be something else's */
    size_t index;          /* of the ask that is meant */
    uint32_t percent;      /* of one GPU; 0: no slice */
    uint32_t allowed;
    int64_t nano, limit;
    char resource[DV_GPU_RESOURCE_SIZE];
    char other[DV_GPU_RESOURCE_SIZE];
    char text[64]; /* cut */
};

/* `allowed` 0: the namespace's label is not understood, so that no GPU is had there. Asks for
 * nothing (0) do not count. */
void dv_gpu_request_judge(const struct dv_gpu_ask *asks, size_t n, uint32_t allowed,
                          struct dv_gpu_verdict *ret);

/* ---- its environment ------------------------------------------------------------------------ */

enum dv_gpu_request_warning {
    DV_GPU_REQUEST_QUIET,
    DV_GPU_REQUEST_VISIBLE_DEVICES, /* NVIDIA_VISIBLE_DEVICES stands against the assignment */
    DV_GPU_REQUEST_MPS_PERCENTAGE,  /* CUDA_MPS_ACTIVE_THREAD_PERCENTAGE says something else */
};
/* value NULL: it comes from elsewhere and is not known. */
enum dv_gpu_request_warning dv_gpu_request_env(const struct dv_gpu_verdict *verdict,
                                               const char *name, const char *value);

#endif
