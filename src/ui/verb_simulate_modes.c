/* SPDX-License-Identifier: Apache-2.0 */
/* divvy simulate modes: latency under MIG, MPS, time-slicing and leases. Needs no daemon, no GPU.
 */
#include "fleetfile/arrivals_file.h"
#include "long_run.h"
#include "modes_view.h"
#include "report_file.h"
#include "verbs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(DV_MODES_TENANT_NAME == DV_ARRIVALS_FILE_NAME, "names are handed on as they are");

/* By default. */
#define TENANTS 7
#define RPS_MILLI 12000

struct values {
    const char *arrivals, *hostile, *model, *gpu, *modes, *html;
    int64_t tenants, seed;
    uint64_t rps_milli, service_ns, duration_ns, kernel_ns, timeslice_ns, switch_ns;
    uint32_t width, mps_limit;
};

static const struct dv_option options[] = {
    {"arrivals", 'a', "CSV", "recorded requests: columns tenant and arrival_s (- is stdin)",
     DV_OPTION_TEXT, offsetof(struct values, arrivals)},
    {"tenants", 't', "N", "this many tenants with Poisson arrivals", DV_OPTION_INTEGER,
     offsetof(struct values, tenants), 1, DV_ARRIVALS_TENANTS_MAX, .otherwise = "7"},
    {"rps", 'r', "R", "requests per second of each tenant", DV_OPTION_MILLI,
     offsetof(struct values, rps_milli), 1, INT64_C(10000000000), .otherwise = "12"},
    {"service", 's', "TIME", "what one request takes on the whole card, alone", DV_OPTION_DURATION,
     offsetof(struct values, service_ns), DV_NS_PER_US, DV_ARRIVALS_SERVICE_MAX,
     .otherwise = "10ms"},
    {"hostile", 0, "T:Sx:Rx",
     "tenant T's requests take S times the service, and come R times as often (T alone: 10x:2x)",
     DV_OPTION_TEXT, offsetof(struct values, hostile)},
    {"duration", 'd', "TIME", "what ends later is not served", DV_OPTION_DURATION,
     offsetof(struct values, duration_ns), DV_NS_PER_MS, DV_ARRIVALS_DURATION_MAX,
     .otherwise = "60s"},
    {"seed", 0, "N", "of the random arrivals", DV_OPTION_INTEGER, offsetof(struct values, seed), 0,
     INT64_MAX, .otherwise = "1"},
    {"model", 'm', "MODEL", "the virtual GPU, or the textbook's queueing rules", DV_OPTION_CHOICE,
     offsetof(struct values, model), .choices = "engine|textbook", .otherwise = "engine"},
    {"gpu", 'g', "MODEL", "which card the virtual GPU is", DV_OPTION_TEXT,
     offsetof(struct values, gpu), .otherwise = "A100-80GB"},
    {"modes", 0, "LIST", "only these: mig, mps, timeslice, governed, exclusive", DV_OPTION_TEXT,
     offsetof(struct values, modes)},
    {"width", 0, "SHARE", "how much of the card a request can fill", DV_OPTION_COMPUTE,
     offsetof(struct values, width), .otherwise = "100%"},
    {"mps-limit", 0, "SHARE", "most that an MPS client may use", DV_OPTION_COMPUTE,
     offsetof(struct values, mps_limit), .otherwise = "100%"},
    {"kernel", 0, "TIME", "length of the kernels that a request is made of", DV_OPTION_DURATION,
     offsetof(struct values, kernel_ns), DV_NS_PER_US, 10 * DV_NS_PER_S, .otherwise = "1ms"},
    {"timeslice", 0, "TIME", "length of the hardware's turns", DV_OPTION_DURATION,
     offsetof(struct values, timeslice_ns), DV_NS_PER_US, 10 * DV_NS_PER_S, .otherwise = "2.048ms"},
    {"switch", 0, "TIME", "what a change of turns costs", DV_OPTION_DURATION,
     offsetof(struct values, switch_ns), 0, 10 * DV_NS_PER_MS, .otherwise = "60us"},
    {DV_REPORT_FILE_OPTION, offsetof(struct values, html)},
};

/* ---- what is asked -------------------------------------------------------------------------- */

struct asked {
    struct dv_arrivals_load load;
    struct dv_modes_config config;
    struct dv_arrivals_file *file;
    bool modes[DV_MODES_COUNT];
};

static int read_modes(const struct dv_ui *ui, const char *list, bool ret[DV_MODES_COUNT])
{
    const char *names[DV_MODES_COUNT];
    for (uint32_t m = 0; m < DV_MODES_COUNT; m++) {
        names[m] = dv_modes_name(m);
        ret[m] = !list;
    }
    while (list && *list) {
        char word[32] = "";
        size_t len = strcspn(list, ",");
        uint32_t m = 0;
        if (len < sizeof word)
            memcpy(word, list, len);
        while (m < DV_MODES_COUNT && strcmp(word, names[m]) != 0)
            m++;
        if (m == DV_MODES_COUNT) {
            const char *near = dv_str_nearest(word, names, DV_MODES_COUNT);
            return dv_ui_fail(ui, DV_UI_USAGE, "--modes: no mode '%.*s'%s%s%s", (int)len, list,
                              near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
        }
        ret[m] = true;
        list += len + (list[len] == ',');
    }
    return DV_UI_OK;
}

/* "10x", "2.5": thousandths. */
static bool read_factor(const char *text, size_t len, uint64_t *ret)
{
    char word[24] = "", *end;
    if (len && text[len - 1] == 'x')
        len--;
    if (!len || len >= sizeof word || strspn(text, "0123456789.") < len)
        return false;
    memcpy(word, text, len);
    double v = strtod(word, &end);
    if (*end || v < 0.001 || v > (double)DV_ARRIVALS_FACTOR_MAX / 1000)
        return false;
    *ret = (uint64_t)(v * 1000 + 0.5);
    return true;
}

static bool find_tenant(const struct asked *a, const char *name, size_t len, uint32_t *ret)
{
    char word[DV_ARRIVALS_FILE_NAME] = "", number[16];
    if (!len || len >= sizeof word)
        return false;
    memcpy(word, name, len);
    for (uint32_t t = 0; t < a->load.tenants; t++) {
        snprintf(number, sizeof number, "%u", t);
        if (!strcmp(word, a->file ? a->file->names[t] : number)) {
            *ret = t;
            return true;
        }
    }
    return false;
}

static int read_hostile(const struct dv_ui *ui, const char *text, struct asked *a)
{
    struct dv_arrivals_load *l = &a->load;
    size_t name = strlen(text), first = 0;
    const char *factors = NULL;
    l->has_hostile = true;
    l->hostile_service_milli = 10000;
    l->hostile_rate_milli = 2000;
    /* The factors are the last two parts: a tenant's name may have colons. */
    const char *second = strrchr(text, ':');
    if (second) {
        factors = second;
        while (factors > text && factors[-1] != ':')
            factors--;
        first = (size_t)(second - factors);
        if (factors == text || !read_factor(factors, first, &l->hostile_service_milli) ||
            !read_factor(second + 1, strlen(second + 1), &l->hostile_rate_milli))
            return dv_ui_fail(ui, DV_UI_USAGE,
                              "--hostile: '%s' is not TENANT:SERVICEx:RATEx, as in 1:10x:2x, with "
                              "factors of 0.001x to 1000x",
                              text);
        name = (size_t)(factors - text) - 1;
    }
    if (find_tenant(a, text, name, &l->hostile))
        return DV_UI_OK;
    if (a->file)
        return dv_ui_fail(ui, DV_UI_USAGE,
                          "--hostile: no tenant '%.*s' in the file; its first is '%s'", (int)name,
                          text, a->file->names[0]);
    return dv_ui_fail(ui, DV_UI_USAGE, "--hostile: no tenant '%.*s'; they are numbered 0 to %u",
                      (int)name, text, l->tenants - 1);
}

static int read_load(const struct dv_ui *ui, struct asked *a)
{
    const struct values *v = ui->values;
    struct dv_err err = {{0}};
    a->load = (struct dv_arrivals_load){
        .tenants = (uint32_t)v->tenants,
        .duration_ns = v->duration_ns,
        .service_ns = v->service_ns,
        .rate_milli = v->rps_milli,
        .seed = (uint64_t)v->seed,
    };
    if (v->arrivals && (v->tenants != TENANTS || v->rps_milli != RPS_MILLI))
        return dv_ui_fail(ui, DV_UI_USAGE,
                          "--tenants and --rps make random requests; --arrivals has recorded ones");
    int r = v->arrivals ? dv_arrivals_file_load(v->arrivals, &a->file, &err) : 0;
    if (r < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "%s", err.msg);
    if (a->file) {
        a->load.tenants = a->file->tenants;
        a->load.recorded = a->file->recorded;
    }
    int exit = v->hostile ? read_hostile(ui, v->hostile, a) : DV_UI_OK;
    if (exit == DV_UI_OK && dv_arrivals_check(&a->load, &err) < 0)
        exit = dv_ui_fail(ui, DV_UI_USAGE, "%s", err.msg);
    return exit;
}

/* Is all of the virtual GPU as it is by default? */
static bool is_plain(const struct dv_modes_config *c)
{
    struct dv_modes_config plain;
    dv_modes_config_default(&plain);
    return c->gpu == plain.gpu && c->width == plain.width && c->mps_limit == plain.mps_limit &&
           c->kernel_ns == plain.kernel_ns && c->timeslice_ns == plain.timeslice_ns &&
           c->switch_ns == plain.switch_ns;
}

static int read_config(const struct dv_ui *ui, struct asked *a)
{
    const struct values *v = ui->values;
    struct dv_err err = {{0}};
    dv_modes_config_default(&a->config);
    a->config.model = strcmp(v->model, "textbook") ? DV_MODES_ENGINE : DV_MODES_TEXTBOOK;
    a->config.gpu = dv_gpu_model_find(v->gpu, &err);
    if (!a->config.gpu)
        return dv_ui_fail(ui, DV_UI_USAGE, "%s", err.msg);
    a->config.width = v->width;
    a->config.mps_limit = v->mps_limit;
    a->config.kernel_ns = v->kernel_ns;
    a->config.timeslice_ns = v->timeslice_ns;
    a->config.switch_ns = v->switch_ns;
    if (dv_modes_config_check(&a->config, &err) < 0)
        return dv_ui_fail(ui, DV_UI_USAGE, "%s", err.msg);
    if (a->config.model == DV_MODES_TEXTBOOK && !is_plain(&a->config))
        return dv_ui_fail(ui, DV_UI_USAGE,
                          "--model textbook knows no GPU: --gpu, --width, --mps-limit, --kernel, "
                          "--timeslice and --switch are the engine's");
    return DV_UI_OK;
}

/* ---- the run -------------------------------------------------------------------------------- */

struct progress {
    struct dv_long_run run;
    double requests_per_ns;
};

static bool look(void *ctx, uint64_t simulated_ns)
{
    struct progress *p = ctx;
    return dv_long_run_at(&p->run, (uint64_t)((double)simulated_ns * p->requests_per_ns));
}

static int run_once(const struct dv_arrivals_load *load, const struct dv_modes_config *config,
                    enum dv_modes_mode mode, struct dv_modes_result *ret)
{
    uint64_t expected = dv_arrivals_expected(load);
    struct progress p = {.requests_per_ns = (double)expected / (double)load->duration_ns};
    const struct dv_modes_watch watch = {look, &p};
    dv_long_run_begin(&p.run, dv_modes_name(mode), "requests", expected);
    int r = dv_modes_run(load, config, mode, &watch, ret);
    dv_long_run_end(&p.run);
    return r;
}

static int run_mode(const struct asked *a, enum dv_modes_mode mode, struct dv_modes_view *view)
{
    int r = run_once(&a->load, &a->config, mode, &view->results[view->n]);
    if (r < 0)
        return r;
    view->n++;
    if (!a->load.has_hostile || dv_long_run_signal())
        return 0;
    struct dv_arrivals_load calm = a->load;
    calm.hostile_service_milli = calm.hostile_rate_milli = 1000;
    r = run_once(&calm, &a->config, mode, &view->calm[view->n_calm]);
    view->n_calm += r == 0;
    return r;
}

static int run_all(const struct dv_ui *ui, const struct asked *a, struct dv_modes_view *view)
{
    int r = 0;
    for (uint32_t m = 0; m < DV_MODES_COUNT && r == 0 && !dv_long_run_signal(); m++)
        if (a->modes[m])
            r = run_mode(a, m, view);
    view->interrupted = dv_long_run_signal() != 0;
    return r < 0 ? dv_ui_fail(ui, DV_UI_FAILURE, "out of memory") : DV_UI_OK;
}

static int answer(const struct dv_ui *ui, const struct asked *a, const struct dv_modes_view *view)
{
    dv_cleanup(dv_output_free) struct dv_output *o = dv_output_new("ModeSimulation");
    dv_modes_view_add(view, dv_output_root(o));
    const struct values *v = ui->values;
    bool hostile = a->load.has_hostile;
    int failed =
        dv_report_file_write(ui, hostile ? &dv_modes_report_hostile : &dv_modes_report, o, v->html);
    int exit = failed;
    if (dv_long_run_signal())
        exit = dv_ui_fail(ui, DV_UI_RUN_SIGNAL + dv_long_run_signal(),
                          "stopped before the end: what was simulated so far");
    dv_long_run_release();
    return dv_ui_answer(ui, o, hostile ? &dv_modes_table_hostile : &dv_modes_table, NULL, exit);
}

static int run(const struct dv_ui *ui)
{
    const struct values *v = ui->values;
    struct asked a = {.file = NULL};
    struct dv_modes_view *view = calloc(1, sizeof *view);
    if (!view)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    int exit = read_config(ui, &a);
    if (exit == DV_UI_OK)
        exit = read_modes(ui, v->modes, a.modes);
    if (!v->modes && a.config.model == DV_MODES_TEXTBOOK)
        a.modes[DV_MODES_GOVERNED] = false; /* which has no rule there */
    if (exit == DV_UI_OK)
        exit = read_load(ui, &a);
    if (exit == DV_UI_OK) {
        view->load = &a.load;
        view->config = &a.config;
        view->names = a.file ? a.file->names : NULL;
        exit = run_all(ui, &a, view);
    }
    if (exit == DV_UI_OK)
        exit = answer(ui, &a, view);
    dv_arrivals_file_free(a.file);
    free(view);
    return exit;
}

static const struct dv_ui_example examples[] = {
    {"seven tenants with 12 requests a second each, on an A100",
     "divvy simulate modes --tenants 7 --rps 12 --service 10ms --duration 60s"},
    {"recorded requests, by the textbook's rules, for a script",
     "divvy simulate modes --arrivals arrivals.csv --model textbook -o json"},
    {"what a tenant with ten times the service and twice the rate does to the others",
     "divvy simulate modes --tenants 7 --rps 8 --hostile 1:10x:2x"},
};

const struct dv_ui_verb dv_verb_simulate_modes = {
    .name = "simulate modes",
    .summary = "how long requests take under MIG, MPS, time-slicing and leases",
    .details =
        "The same requests run through each way of sharing one card. Latency is from a request's "
        "arrival to its end. By default the card is the virtual GPU that divvy-sim presents, in "
        "virtual time; with --model textbook it is a set of queueing rules. Exclusive gives each "
        "tenant a card of its own: what the others are to be measured against.\n\n"
        "With --hostile the table has the 99th percentile of the other tenants, and what it is "
        "when all behave alike. Interrupted, it prints what it has.",
    .options = options,
    .n_options = DV_ARRAY_SIZE(options),
    .values_size = sizeof(struct values),
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .prints = true,
    .run = run,
};
