/* SPDX-License-Identifier: Apache-2.0 */
/* divvy advise: which way of sharing suits a workload. Needs neither daemon nor GPU. */
#include "base/units.h"
#include "render/advise_text.h"
#include "verbs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define LATENCY_MAX (UINT64_C(86400) * DV_NS_PER_S)

struct values {
    uint64_t memory;
    const char *p99;
    uint32_t compute;
    bool training, interactive, inference;
    const char *trust, *gpu;
    int64_t tenants, gpus, count;
};

#define AT(field) offsetof(struct values, field)
static const struct dv_option options[] = {
    {"memory", 'm', "SIZE",
     "GPU memory of one workload, its CUDA context included (300 to 500 MiB)", DV_OPTION_BYTES,
     AT(memory)},
    {"compute", 'c', "SHARE", "share of a GPU's compute that it needs", DV_OPTION_COMPUTE,
     AT(compute)},
    {"training", 0, NULL, "it trains", DV_OPTION_FLAG, AT(training)},
    {"inference", 0, NULL, "it serves requests", DV_OPTION_FLAG, AT(inference)},
    {"interactive", 0, NULL, "somebody sits in front of it (a notebook)", DV_OPTION_FLAG,
     AT(interactive)},
    {"p99", 0, "TIME", "the latency that it has to keep, as 30ms", DV_OPTION_TEXT, AT(p99)},
    {"trust", 0, "TRUST", "whether it and its neighbours may be strangers", DV_OPTION_CHOICE,
     AT(trust), .choices = "trusted|untrusted"},
    {"tenants", 0, "N", "how many have to share one GPU", DV_OPTION_INTEGER, AT(tenants), .min = 1,
     .max = 100000},
    {"gpus", 0, "N", "GPUs of one workload", DV_OPTION_INTEGER, AT(gpus), .min = 1, .max = 100000},
    {"count", 'n', "N", "how many such workloads there are", DV_OPTION_INTEGER, AT(count), .min = 1,
     .max = 1000000},
    {"gpu", 'g', "MODEL", "what the GPUs are; default: " DV_ADVISE_GPU, DV_OPTION_TEXT, AT(gpu)},
};

/* Bare numbers are bytes and seconds, which nobody means here. */
static int check_memory(uint64_t bytes, struct dv_err *err)
{
    if (!bytes || bytes >= DV_MIB)
        return 0;
    return dv_err_set(err, -EINVAL, "%llu bytes are less than a MiB; write for example 10GB",
                      (unsigned long long)bytes);
}

static int read_memory(const char *text, void *to, struct dv_err *err)
{
    uint64_t *bytes = &((struct dv_advise_want *)to)->memory_bytes;
    int r = dv_units_parse_bytes(text, bytes, err);
    return r ? r : check_memory(*bytes, err);
}

static int read_p99(const char *text, void *to, struct dv_err *err)
{
    uint64_t *ns = &((struct dv_advise_want *)to)->p99_ns;
    int r = dv_units_parse_duration(text, ns, err);
    if (!r && text[strlen(text) - 1] >= '0' && text[strlen(text) - 1] <= '9')
        r = dv_err_set(err, -EINVAL, "'%.40s' has no unit; write for example 30ms", text);
    if (!r && (*ns < DV_NS_PER_US || *ns > LATENCY_MAX))
        r = dv_err_set(err, -ERANGE, "'%.40s' is not between 1us and 24h", text);
    return r;
}

static int read_options(const struct dv_ui *ui, struct dv_advise_want *want)
{
    const struct values *v = ui->values;
    struct dv_err err = {{0}};
    if (v->training + v->inference + v->interactive > 1)
        return dv_ui_fail(ui, DV_UI_USAGE,
                          "one of --training, --inference and --interactive; a workload that is "
                          "several has the stricter one");
    *want = (struct dv_advise_want){
        .kind = v->training      ? DV_ADVISE_TRAINING
                : v->inference   ? DV_ADVISE_INFERENCE
                : v->interactive ? DV_ADVISE_INTERACTIVE
                                 : DV_ADVISE_BATCH,
        .memory_bytes = v->memory,
        .compute = v->compute,
        .untrusted = v->trust && !strcmp(v->trust, "untrusted"),
        .tenants = (uint32_t)v->tenants,
        .gpus = (uint32_t)v->gpus,
        .count = (uint32_t)v->count,
    };
    if (v->p99 && read_p99(v->p99, want, &err) < 0)
        return dv_ui_fail(ui, DV_UI_USAGE, "--p99: %s", err.msg);
    if (check_memory(v->memory, &err) < 0)
        return dv_ui_fail(ui, DV_UI_USAGE, "--memory: %s", err.msg);
    if (v->gpu && !(want->gpu = dv_gpu_model_find(v->gpu, &err)))
        return dv_ui_fail(ui, DV_UI_USAGE, "--gpu: %s", err.msg);
    return DV_UI_OK;
}

static bool is_empty(const struct values *v)
{
    return !v->memory && !v->compute && !v->p99 && !v->training && !v->inference &&
           !v->interactive && !v->trust && !v->gpu && !v->tenants && !v->gpus && !v->count;
}

/* ---- asked one after the other -------------------------------------------------------------- */

/* A line without its newline; NULL at the end of the input. An empty one keeps what is. */
static char *answer_to(const char *question, char buf[128])
{
    fprintf(stderr, "%s ", question);
    if (!fgets(buf, 128, stdin))
        return NULL;
    if (!strchr(buf, '\n'))
        for (int c; (c = getchar()) != EOF && c != '\n';)
            ;
    buf[strcspn(buf, "\r\n")] = 0;
    return buf;
}

/* Asks until the answer can be read. False: the input has ended. */
static bool ask(const char *question, int (*read)(const char *text, void *to, struct dv_err *err),
                void *to)
{
    char buf[128], *text;
    while ((text = answer_to(question, buf))) {
        struct dv_err err = {{0}};
        if (!*text || read(text, to, &err) == 0)
            return true;
        fprintf(stderr, "    %s\n", err.msg);
    }
    return false;
}

static int read_gpu(const char *text, void *to, struct dv_err *err)
{
    const struct dv_gpu_model *m = dv_gpu_model_find(text, err);
    if (m)
        ((struct dv_advise_want *)to)->gpu = m;
    return m ? 0 : -1;
}

static int read_kind(const char *text, void *to, struct dv_err *err)
{
    static const char *const names[] = {"batch", "training", "inference", "interactive"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(names); i++)
        if (!strncasecmp(text, names[i], strlen(text)) && strlen(text) >= 2) {
            ((struct dv_advise_want *)to)->kind = (enum dv_advise_kind)i;
            return 0;
        }
    return dv_err_set(err, -1, "training, inference, interactive or batch");
}

static int read_compute(const char *text, void *to, struct dv_err *err)
{
    return dv_units_parse_compute(text, &((struct dv_advise_want *)to)->compute, err);
}

static int read_trust(const char *text, void *to, struct dv_err *err)
{
    bool yes = !strncasecmp(text, "y", 1), no = !strncasecmp(text, "n", 1);
    if (yes || no)
        ((struct dv_advise_want *)to)->untrusted = yes;
    return yes || no ? 0 : dv_err_set(err, -1, "yes or no");
}

static int read_number(const char *text, uint32_t *to, struct dv_err *err)
{
    int64_t n;
    int r = dv_units_parse_integer(text, "it", 1, 100000, &n, err);
    if (r == 0)
        *to = (uint32_t)n;
    return r;
}

static int read_gpus(const char *text, void *to, struct dv_err *err)
{
    return read_number(text, &((struct dv_advise_want *)to)->gpus, err);
}

static int read_tenants(const char *text, void *to, struct dv_err *err)
{
    return read_number(text, &((struct dv_advise_want *)to)->tenants, err);
}

static bool ask_all(struct dv_advise_want *want)
{
    static const struct {
        const char *question;
        int (*read)(const char *text, void *to, struct dv_err *err);
    } list[] = {
        {"What are the GPUs? [" DV_ADVISE_GPU "]", read_gpu},
        {"What is it: training, inference, interactive or batch? [batch]", read_kind},
        {"How many GPUs does one need? [1]", read_gpus},
        {"How much GPU memory? [unknown]", read_memory},
        {"What share of a GPU's compute (25%)? [unknown]", read_compute},
        {"May its neighbours be strangers? [no]", read_trust},
        {"Which latency has it to keep (p99, 30ms)? [none]", read_p99},
        {"How many have to share one GPU? [unknown]", read_tenants},
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(list); i++)
        if (!ask(list[i].question, list[i].read, want))
            return false;
    fputc('\n', stderr);
    return true;
}

/* ---- the answer ----------------------------------------------------------------------------- */

static const struct dv_table_column columns[] = {
    {"QUESTION", "question"},
    {"ANSWER", "answer"},
    {"CONSEQUENCE", "consequence"},
    {"MODE", "^mode", .csv = "mode"},
};
static const struct dv_table view = {"path", columns, DV_ARRAY_SIZE(columns)};

static int run(const struct dv_ui *ui)
{
    struct dv_advise_want want = {0};
    struct dv_advise advice;
    int exit = read_options(ui, &want);
    if (exit)
        return exit;
    bool empty = is_empty(ui->values), terminal = isatty(STDIN_FILENO);
    if (empty && !terminal)
        return dv_ui_fail(ui, DV_UI_USAGE,
                          "say something of the workload (--memory 10GiB --inference ...); '%s %s "
                          "--help' explains",
                          ui->program->name, ui->verb->name);
    if (empty && !ask_all(&want))
        return dv_ui_fail(ui, DV_UI_FAILURE, "the questions were not answered");
    dv_advise(&want, &advice);
    int answered = advice.too_many ? DV_UI_PROBLEMS : DV_UI_OK;
    if (!dv_ui_is(ui, "table")) {
        dv_cleanup(dv_output_free) struct dv_output *o = dv_advise_text_json(&want, &advice);
        return dv_ui_answer(ui, o, &view, NULL, answered);
    }
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    dv_advise_text_lines(&want, &advice, &text);
    if (text.failed)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    exit = dv_ui_print(dv_str_get(&text));
    return exit ? exit : answered;
}

static const struct dv_ui_example examples[] = {
    {"thirty notebooks", "divvy advise --interactive --memory 2GiB --count 30 --gpu A100-80GB"},
    {"a model for somebody else's customers",
     "divvy advise --inference --memory 8GiB --p99 30ms --trust untrusted"},
    {"asked one after the other", "divvy advise"},
};

const struct dv_ui_verb dv_verb_advise = {
    .name = "advise",
    .summary = "which way of sharing a GPU suits a workload, and why",
    .details =
        "Goes through a tree of questions, from what cannot be had otherwise (several GPUs, "
        "training, strangers) to what is a matter of taste, and prints the mode, the runner-up, "
        "the walls that the workload gets, the way there, and what to paste. An untrusted workload "
        "is never advised to anything but hardware walls; asking for more never gives a weaker "
        "wall. Without options, and on a terminal, the questions are asked. It knows one workload "
        "alone: what a fleet needs is divvy plan's to say. Ends with 3 where --tenants "
        "do not fit.",
    .options = options,
    .n_options = DV_ARRAY_SIZE(options),
    .values_size = sizeof(struct values),
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .max_words = 0,
    .prints = true,
    .run = run,
};
