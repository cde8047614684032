/* SPDX-License-Identifier: Apache-2.0 */
#include "render/gpu_request_text.h"

#include <stdio.h>

static const struct {
    enum dv_gpu_kind kind;
    const char *words, *pass;
} kinds[] = {
    {DV_GPU_KIND_WHOLE, "whole GPUs", "nvidia.com/gpu: 1"},
    {DV_GPU_KIND_MIG, "MIG devices", "nvidia.com/mig-1g.10gb: 1"},
    {DV_GPU_KIND_SHARED, "shared GPUs", "nvidia.com/gpu.shared: 1"},
    {DV_GPU_KIND_PERCENT, "governed fractions", "nvidia.com/gpu: 0.25"},
    {DV_GPU_KIND_SLICE, "governed slices", ""}, /* no mask has it */
};

static const char *words_of(enum dv_gpu_kind kind)
{
    for (size_t i = 0; i < DV_ARRAY_SIZE(kinds); i++)
        if (kinds[i].kind == kind)
            return kinds[i].words;
    return "GPUs";
}

/* "a, b or c" of what the mask has. */
static void add_kinds(uint32_t allowed, bool pass, struct dv_str *s)
{
    size_t n = (size_t)__builtin_popcount(allowed), k = 0;
    for (size_t i = 0; i < DV_ARRAY_SIZE(kinds); i++) {
        if (!(allowed & 1u << kinds[i].kind))
            continue;
        dv_str_add(s, !k ? "" : k + 1 < n ? ", " : pass ? " or " : " and ");
        dv_str_add(s, pass ? kinds[i].pass : kinds[i].words);
        k++;
    }
}

static void say_uneven(const struct dv_gpu_verdict *v, struct dv_str *s)
{
    char below[DV_QUANTITY_TEXT], above[DV_QUANTITY_TEXT];
    dv_quantity_format(v->percent * DV_QUANTITY_PERCENT, below);
    dv_quantity_format((v->percent + 1) * DV_QUANTITY_PERCENT, above);
    dv_str_add(s, " is no whole percent of a GPU; ");
    if (v->percent)
        dv_str_addf(s, "%s or ", below);
    dv_str_addf(s, "%s would pass", above);
}

static void say_more(const struct dv_gpu_verdict *v, struct dv_str *s)
{
    int64_t whole = v->nano / DV_QUANTITY_ONE;
    dv_str_addf(s,
                " is neither whole GPUs nor a fraction of one: a slice lies on one GPU; %lld or "
                "%lld, or at most 0.99, would pass",
                (long long)whole, (long long)whole + 1);
}

static void say_indivisible(const struct dv_gpu_verdict *v, struct dv_str *s)
{
    dv_str_add(s, " cannot be divided; ");
    if (v->kind == DV_GPU_KIND_SHARED)
        dv_str_add(s, "ask for whole shares, as 1, or for a fraction by nvidia.com/gpu: 0.25");
    else if (v->kind == DV_GPU_KIND_MIG)
        dv_str_add(s, "ask for a smaller profile, or for a fraction by nvidia.com/gpu: 0.25");
    else if (v->kind == DV_GPU_KIND_SLICE)
        dv_str_add(s, "ask for the whole slice, as 1, or for a fraction by nvidia.com/gpu: 0.25");
    else if (v->kind == DV_GPU_KIND_WHOLE)
        dv_str_add(s, "ask for whole ones, as 1, or for a fraction by nvidia.com/gpu: 0.25");
    else
        dv_str_add(s, "it counts percents: 25 is a quarter of a GPU");
}

static void say_not_allowed(const struct dv_gpu_verdict *v, struct dv_str *s)
{
    dv_str_addf(
        s, " asks for %s%s, and the namespace's label " DV_GPU_STRATEGY_LABEL " allows only ",
        words_of(v->kind),
        v->guessed ? " (so its name says; --resource of the webhook may say otherwise)" : "");
    add_kinds(v->allowed, false, s);
    dv_str_add(s, "; ");
    add_kinds(v->allowed, true, s);
    dv_str_add(s, " would pass");
}

static void say_no_strategy(struct dv_str *s)
{
    dv_str_add(s, ": the namespace's label " DV_GPU_STRATEGY_LABEL
                  " has a value that is not known, so that no GPU is given there; it takes ");
    for (size_t i = 0; dv_gpu_strategy_word(i); i++)
        dv_str_addf(s, "%s%s", i ? ", " : "", dv_gpu_strategy_word(i));
    dv_str_add(s, " (also with -only), several joined by _");
}

static void say_refused(const struct dv_gpu_verdict *v, struct dv_str *s)
{
    char limit[DV_QUANTITY_TEXT];
    switch (v->reason) {
    case DV_GPU_REQUEST_NEGATIVE:
        dv_str_add(s, " is negative; leave it out, or ask for 1 or for a fraction as 0.25");
        break;
    case DV_GPU_REQUEST_UNEQUAL:
        dv_str_addf(s, " under requests, %s under limits: they must be equal",
                    dv_quantity_format(v->limit, limit));
        break;
    case DV_GPU_REQUEST_NO_LIMIT:
        dv_str_add(s, " is under requests only, and Kubernetes wants the same under limits; write "
                      "it there (requests follow by themselves)");
        break;
    case DV_GPU_REQUEST_MORE_THAN_ONE:
        say_more(v, s);
        break;
    case DV_GPU_REQUEST_UNEVEN:
        say_uneven(v, s);
        break;
    case DV_GPU_REQUEST_INDIVISIBLE:
        say_indivisible(v, s);
        break;
    case DV_GPU_REQUEST_OVER_FULL:
        dv_str_add(s, " is more than one GPU has; at most 100, or nvidia.com/gpu for whole GPUs");
        break;
    case DV_GPU_REQUEST_TWICE:
        dv_str_addf(s,
                    " is a slice of one GPU, and the container asks for %s too; ask for one of "
                    "them",
                    v->other);
        break;
    case DV_GPU_REQUEST_NOT_ALLOWED:
        say_not_allowed(v, s);
        break;
    case DV_GPU_REQUEST_NO_STRATEGY:
        say_no_strategy(s);
        break;
    default:
        break;
    }
}

void dv_gpu_request_text(const struct dv_gpu_verdict *v, struct dv_str *s)
{
    char value[DV_QUANTITY_TEXT];
    if (v->result == DV_GPU_REQUEST_NONE) {
        dv_str_add(s, "no GPU");
        return;
    }
    if (v->reason == DV_GPU_REQUEST_BAD_QUANTITY) {
        dv_str_addf(s,
                    "%s: '%s' is no quantity that can be had; ask for 1 or for a fraction as "
                    "0.25",
                    v->resource, v->text);
        return;
    }
    dv_str_addf(s, "%s: %s", v->resource, dv_quantity_format(v->nano, value));
    if (v->result == DV_GPU_REQUEST_REWRITTEN)
        dv_str_addf(s,
                    " becomes " DV_GPU_RESOURCE_PERCENT ": %u, %u %% of one GPU's memory and "
                    "compute",
                    v->percent, v->percent);
    else if (v->result == DV_GPU_REQUEST_ACCEPTED)
        dv_str_addf(s, ", %s", words_of(v->kind));
    else
        say_refused(v, s);
}

void dv_gpu_request_text_warning(const struct dv_gpu_verdict *v,
                                 enum dv_gpu_request_warning warning, const char *value,
                                 struct dv_str *s)
{
    if (warning == DV_GPU_REQUEST_VISIBLE_DEVICES)
        dv_str_addf(s,
                    "NVIDIA_VISIBLE_DEVICES=%.40s stands against the GPU that the pod is given, "
                    "and may show it others: remove it",
                    value);
    else if (warning == DV_GPU_REQUEST_MPS_PERCENTAGE)
        dv_str_addf(s,
                    "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE=%.40s, but the slice is %u %% of a GPU: "
                    "remove it",
                    value, v->percent);
}
