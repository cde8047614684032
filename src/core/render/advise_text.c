/* SPDX-License-Identifier: Apache-2.0 */
#include "render/advise_text.h"

#include "base/units.h"

#include <string.h>

_Static_assert(DV_MODE_TIGHT_NS / DV_NS_PER_MS == 50, "what the words below say");

static const struct {
    const char *question, *yes, *no;
} questions[DV_ADVISE_QUESTIONS] = {
    [DV_ADVISE_Q_SEVERAL] =
        {"does one workload need several GPUs?",
         "whole GPUs, close to each other: slices of two cards cannot be joined",
         "a part of a GPU may do"},
    [DV_ADVISE_Q_TRAINING] = {"does it train?",
                              "whole GPUs: it is busy for hours and fills the memory",
                              "it need not have the card to itself for that"},
    [DV_ADVISE_Q_TOO_LARGE] = {"does it need more memory than a GPU has?", "several whole GPUs",
                               "one GPU holds it"},
    [DV_ADVISE_Q_UNTRUSTED] = {"may it do harm to its neighbours, or they to it?",
                               "only hardware walls hold strangers apart",
                               "a wall that the driver or a library keeps may do"},
    [DV_ADVISE_Q_HAS_PROFILE] = {"has the GPU a MIG profile that holds it?",
                                 "a MIG device: memory, caches and compute of its own",
                                 "no MIG here, or no profile below the whole GPU is large enough"},
    [DV_ADVISE_Q_TIGHT] = {"has it a latency below 50 ms to keep?",
                           "one turn of somebody else would be a large part of it: compute of its "
                           "own",
                           "others may have their turns in between"},
    [DV_ADVISE_Q_LARGE] = {"does it take more than half of a GPU?",
                           "nothing of its size fits beside it, so sharing gains little",
                           "several fit on one GPU"},
    [DV_ADVISE_Q_INFERENCE] = {"does it serve requests?",
                               "many small kernels, which run beside each other",
                               "it takes the time that it gets"},
    [DV_ADVISE_Q_LATENCY] = {"has it a latency to keep?",
                             "a share that is enforced, and its turn first: tier lc",
                             "it may wait for others now and then"},
    [DV_ADVISE_Q_INTERACTIVE] = {"is somebody sitting in front of it?",
                                 "it is idle most of the time: turns on a shared card",
                                 "a batch: it takes what time there is"},
};

static const char *const reasons[DV_ADVISE_LEAVES] = {
    [DV_ADVISE_L_SEVERAL] = "several GPUs are had whole or not at all",
    [DV_ADVISE_L_TRAINING] = "training gets whole GPUs",
    [DV_ADVISE_L_TOO_LARGE] = "its memory needs more than one GPU",
    [DV_ADVISE_L_STRANGER_WHOLE] =
        "strangers get hardware walls, and here only a GPU of one's own has them",
    [DV_ADVISE_L_STRANGER_MIG] = "strangers get hardware walls: a MIG device has them",
    [DV_ADVISE_L_TIGHT_WHOLE] =
        "so low a latency takes compute of its own, and here only a whole GPU has it",
    [DV_ADVISE_L_TIGHT_MIG] = "in a MIG device its tail does not move, whatever others do",
    [DV_ADVISE_L_LARGE] = "it fills more than half of the card",
    [DV_ADVISE_L_INFERENCE] =
        "among those who trust each other MPS runs small kernels at the same time",
    [DV_ADVISE_L_LATENCY] = "its turn comes first, and its share is enforced",
    [DV_ADVISE_L_INTERACTIVE] =
        "a notebook thinks longer than it computes: whoever computes has the card",
    [DV_ADVISE_L_BATCH] = "it can use whatever time is left, and its memory has a ceiling",
};

const char *dv_advise_text_question(enum dv_advise_question question)
{
    return questions[question].question;
}

const char *dv_advise_text_consequence(enum dv_advise_question question, bool yes)
{
    return yes ? questions[question].yes : questions[question].no;
}

const char *dv_advise_text_reason(enum dv_advise_leaf leaf)
{
    return reasons[leaf];
}

/* ---- what to paste -------------------------------------------------------------------------- */

void dv_advise_text_choice(const struct dv_advise_choice *c, struct dv_str *text)
{
    switch (c->mode) {
    case DV_ADVISE_NONE:
        dv_str_add(text, "nothing else");
        break;
    case DV_ADVISE_TIMESLICE:
        dv_str_addf(text, "time-slices, %u to a GPU", c->per_gpu);
        break;
    case DV_ADVISE_GOVERNED:
        dv_str_addf(text, "%u %% of a GPU, governed", c->percent);
        break;
    case DV_ADVISE_MPS:
        dv_str_addf(text, "MPS, %u to a GPU", c->per_gpu);
        break;
    case DV_ADVISE_MIG:
        dv_str_addf(text, "a MIG device %s, %u to a GPU", c->profile->name, c->per_gpu);
        break;
    case DV_ADVISE_EXCLUSIVE:
        if (c->gpus == 1)
            dv_str_add(text, "a whole GPU");
        else
            dv_str_addf(text, "%u whole GPUs", c->gpus);
        break;
    }
}

/* '+' may not stand in a resource's name. */
static void add_resource(const struct dv_advise_choice *c, struct dv_str *text)
{
    if (c->mode == DV_ADVISE_MIG) {
        dv_str_add(text, "nvidia.com/mig-");
        for (const char *p = c->profile->name; *p; p++)
            dv_str_addc(text, *p == '+' ? '.' : *p);
        dv_str_add(text, ": 1");
    } else if (c->mode == DV_ADVISE_GOVERNED) {
        dv_str_addf(text, "divvy.dev/gpu-percent: %u", c->percent);
    } else if (c->mode == DV_ADVISE_EXCLUSIVE) {
        dv_str_addf(text, "nvidia.com/gpu: %u", c->gpus);
    } else {
        dv_str_add(text, "nvidia.com/gpu.shared: 1");
    }
}

void dv_advise_text_manifest(const struct dv_advise_choice *c, struct dv_str *text)
{
    if (c->mode == DV_ADVISE_NONE)
        return;
    dv_str_add(text, "apiVersion: v1\n"
                     "kind: Pod\n"
                     "metadata:\n"
                     "  name: my-workload\n"
                     "spec:\n"
                     "  containers:\n"
                     "    - name: main\n"
                     "      image: IMAGE\n"
                     "      resources:\n"
                     "        limits:\n"
                     "          ");
    add_resource(c, text);
    dv_str_addc(text, '\n');
}

void dv_advise_text_layout(const struct dv_advise_choice *c, struct dv_str *text)
{
    if (c->mode == DV_ADVISE_MIG)
        dv_str_addf(
            text,
            "apiVersion: divvy/v1\nkind: Layout\ngpus:\n  - gpu: all\n    mig:\n      - profile: "
            "%s\n        count: %u\n",
            c->profile->name, c->per_gpu);
    else if (c->mode == DV_ADVISE_MPS || c->mode == DV_ADVISE_TIMESLICE)
        dv_str_addf(text,
                    "version: v1\nsharing:\n  %s:\n    renameByDefault: true\n"
                    "    failRequestsGreaterThanOne: true\n    resources:\n"
                    "      - name: nvidia.com/gpu\n        replicas: %u\n",
                    c->mode == DV_ADVISE_MPS ? "mps" : "timeSlicing", DV_MAX(c->per_gpu, 2));
}

void dv_advise_text_run(const struct dv_advise_want *want, const struct dv_advise_choice *c,
                        struct dv_str *text)
{
    static const char *const modes[DV_ADVISE_MODES] = {"",    "timeslice", "governed",
                                                       "mps", "exclusive", "exclusive"};
    char buf[DV_UNITS_TEXT];
    if (c->mode == DV_ADVISE_NONE || c->gpus > 1)
        return;
    dv_str_addf(text, "divvy run --mode %s", modes[c->mode]);
    bool shared = c->mode != DV_ADVISE_EXCLUSIVE;
    if (shared && want->memory_bytes && want->memory_bytes % DV_GIB == 0)
        dv_str_addf(text, " --memory %lluGiB", (unsigned long long)(want->memory_bytes / DV_GIB));
    else if (shared && want->memory_bytes)
        dv_str_addf(text, " --memory %lluMiB",
                    (unsigned long long)((want->memory_bytes + DV_MIB - 1) / DV_MIB));
    if (c->mode == DV_ADVISE_GOVERNED)
        dv_str_addf(text, " --compute %u%%", c->percent);
    else if (shared && want->compute)
        dv_str_addf(text, " --compute %s", dv_units_format_compute(want->compute, buf));
    if (want->p99_ns && c->mode == DV_ADVISE_GOVERNED)
        dv_str_add(text, " --tier lc");
    if (want->untrusted)
        dv_str_add(text, " --trust untrusted");
    dv_str_add(text, " -- COMMAND");
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static void add_text(struct dv_output_node *to, const char *key, struct dv_str *text)
{
    if (text->len)
        dv_output_string(to, key, dv_str_get(text));
    else
        dv_output_null(to, key);
}

static void add_choice(struct dv_output_node *root, const char *key,
                       const struct dv_advise_want *want, const struct dv_advise_choice *c)
{
    dv_cleanup(dv_str_done) struct dv_str what = {0}, manifest = {0}, node = {0}, run = {0};
    if (c->mode == DV_ADVISE_NONE) {
        dv_output_null(root, key);
        return;
    }
    struct dv_output_node *o = dv_output_object(root, key);
    dv_advise_text_choice(c, &what);
    dv_advise_text_manifest(c, &manifest);
    dv_advise_text_layout(c, &node);
    dv_advise_text_run(want, c, &run);
    dv_output_string(o, "mode", dv_advise_mode_name(c->mode));
    dv_output_string(o, "what", dv_str_get(&what));
    dv_output_string(o, "profile", c->profile ? c->profile->name : NULL);
    dv_output_string(o, "memory_wall", dv_device_wall_name(c->memory_wall));
    dv_output_string(o, "compute_wall", dv_device_wall_name(c->compute_wall));
    dv_output_uint(o, "gpus_per_workload", c->gpus);
    dv_output_uint(o, "workloads_per_gpu", c->per_gpu);
    dv_output_uint(o, "gpus_needed", c->gpus_needed);
    if (c->percent)
        dv_output_uint(o, "percent", c->percent);
    add_text(o, "manifest", &manifest);
    add_text(o, "node_setting", &node);
    add_text(o, "run", &run);
}

struct dv_output *dv_advise_text_json(const struct dv_advise_want *want, const struct dv_advise *a)
{
    struct dv_output *o = dv_output_new("Advice");
    struct dv_output_node *root = dv_output_root(o);
    dv_output_string(root, "gpu", a->gpu->name);
    dv_output_bool(root, "gpu_assumed", a->gpu_assumed);
    dv_output_string(root, "mode", dv_advise_mode_name(a->best.mode));
    dv_output_string(root, "because", dv_advise_leaf_name(a->leaf));
    dv_output_string(root, "reason", dv_advise_text_reason(a->leaf));
    dv_output_bool(root, "tenants_fit", !a->too_many);
    add_choice(root, "recommended", want, &a->best);
    add_choice(root, "runner_up", want, &a->second);
    struct dv_output_node *list = dv_output_array(root, "path");
    for (uint32_t i = 0; i < a->n_steps; i++) {
        struct dv_output_node *row = dv_output_object(list, NULL);
        dv_output_string(row, "id", dv_advise_question_name(a->steps[i].question));
        dv_output_string(row, "question", dv_advise_text_question(a->steps[i].question));
        dv_output_string(row, "answer", a->steps[i].yes ? "yes" : "no");
        dv_output_string(row, "consequence",
                         dv_advise_text_consequence(a->steps[i].question, a->steps[i].yes));
    }
    return o;
}

/* ---- for people ----------------------------------------------------------------------------- */

static void add_line(struct dv_str *text, const char *what, const struct dv_advise_choice *c)
{
    dv_str_addf(text, "%s", what);
    dv_advise_text_choice(c, text);
    if (c->mode != DV_ADVISE_NONE)
        dv_str_addf(text, " (walls: memory %s, compute %s; %u GPU%s needed)",
                    dv_device_wall_name(c->memory_wall), dv_device_wall_name(c->compute_wall),
                    c->gpus_needed, c->gpus_needed == 1 ? "" : "s");
    dv_str_addc(text, '\n');
}

/* Each line behind four blanks. */
static void add_block(struct dv_str *text, const char *title, const struct dv_str *block)
{
    if (!block->len)
        return;
    dv_str_addf(text, "\n%s\n", title);
    for (const char *p = dv_str_get(block); *p;) {
        size_t n = strcspn(p, "\n");
        dv_str_addf(text, "    %.*s\n", (int)n, p);
        p += n + (p[n] == '\n');
    }
}

void dv_advise_text_lines(const struct dv_advise_want *want, const struct dv_advise *a,
                          struct dv_str *text)
{
    dv_cleanup(dv_str_done) struct dv_str manifest = {0}, node = {0}, run = {0};
    add_line(text, "recommended: ", &a->best);
    dv_str_addf(text, "    since %s\n", dv_advise_text_reason(a->leaf));
    add_line(text, "runner-up: ", &a->second);
    dv_str_addf(text, "on: %s%s\n", a->gpu->name,
                a->gpu_assumed ? " (assumed; --gpu MODEL names another)" : "");
    if (a->too_many)
        dv_str_addf(text, "%u tenants do not fit on one GPU this way: %u do\n", want->tenants,
                    a->best.per_gpu);
    dv_str_add(text, "\nthe way there:\n");
    for (uint32_t i = 0; i < a->n_steps; i++) {
        enum dv_advise_question q = a->steps[i].question;
        bool yes = a->steps[i].yes;
        dv_str_addf(text, "    %s %s: %s\n", dv_advise_text_question(q), yes ? "yes" : "no",
                    dv_advise_text_consequence(q, yes));
    }
    dv_advise_text_manifest(&a->best, &manifest);
    dv_advise_text_layout(&a->best, &node);
    dv_advise_text_run(want, &a->best, &run);
    add_block(text, "on Kubernetes:", &manifest);
    add_block(text, "the node's setting:", &node);
    add_block(text, "without Kubernetes:", &run);
}
