/* SPDX-License-Identifier: Apache-2.0 */
/* divvy audit: what a fleet's GPUs did, what that wasted, and what would do. Needs neither daemon
 * nor GPU. */
#include "account/price.h"
#include "audit/answer.h"
#include "audit/fleet_file.h"
#include "audit/page.h"
#include "base/when.h"
#include "pricefile/pricefile.h"
#include "render/value.h"
#include "report_file.h"
#include "verbs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct audit_values {
    const char *utilization, *memory, *columns, *scale, *memory_unit;
    const char *prometheus, *names, *labels, *token_file, *ca;
    uint64_t range, step, timeout;
    const char *ledger;
    const char *fleet;
    const char *from, *to;
    const char *price, *prices, *currency;
    int64_t hours, gpus;
    const char *gpu;
    uint64_t gpu_memory;
    uint32_t headroom;
    int64_t margin;
    const char *wall, *trust;
    bool no_replay;
    const char *html, *fleet_file;
};

#define AT(field) offsetof(struct audit_values, field)
#define DAY_NS INT64_C(86400000000000)
static const struct dv_option options[] = {
    {"utilization", 'u', "FILE", "utilization over time as CSV, plain or gzipped; '-': stdin",
     DV_OPTION_TEXT, AT(utilization)},
    {"memory", 'm', "FILE", "memory in use over time, likewise", DV_OPTION_TEXT, AT(memory)},
    {"columns", 'c', "LIST",
     "columns of the files, as time=ts,value=v,workload=pod; gpu=COLUMN tells several GPUs of a "
     "workload apart; utilization=, memory=: the value's column of that file alone",
     DV_OPTION_TEXT, AT(columns)},
    {"scale", 0, "SCALE", "of the utilization", DV_OPTION_CHOICE, AT(scale),
     .choices = "percent|ratio", .otherwise = "percent"},
    {"memory-unit", 0, "UNIT", "of the memory", DV_OPTION_CHOICE, AT(memory_unit),
     .choices = "B|KiB|MiB|GiB|MB|GB", .otherwise = "B"},
    {"prometheus", 0, "URL", "ask this Prometheus instead of reading files", DV_OPTION_TEXT,
     AT(prometheus)},
    {"range", 0, "TIME", "with --prometheus: so long back from --to", DV_OPTION_DURATION, AT(range),
     .min = (int64_t)DV_NS_PER_S, .max = 800 * DAY_NS, .otherwise = "168h"},
    {"step", 0, "TIME", "with --prometheus: distance of samples", DV_OPTION_DURATION, AT(step),
     .min = (int64_t)DV_NS_PER_S, .max = DAY_NS, .otherwise = "60s"},
    {"names", 0, "NAMES", "with --prometheus: whose metrics", DV_OPTION_CHOICE, AT(names),
     .choices = "dcgm|divvy", .otherwise = "dcgm"},
    {"labels", 0, "LIST",
     "with --prometheus: labels that name a workload; default: namespace, pod, container, or the "
     "GPU's",
     DV_OPTION_TEXT, AT(labels)},
    {"token-file", 0, "FILE", "with --prometheus: a bearer token", DV_OPTION_TEXT, AT(token_file),
     .env = "DIVVY_PROMETHEUS_TOKEN_FILE"},
    {"ca", 0, "FILE", "with --prometheus: certificates to trust, PEM", DV_OPTION_TEXT, AT(ca)},
    {"timeout", 0, "TIME", "with --prometheus: for one question", DV_OPTION_DURATION, AT(timeout),
     .min = (int64_t)DV_NS_PER_MS, .max = 3600 * (int64_t)DV_NS_PER_S, .otherwise = "60s"},
    {"ledger", 0, "FILE", "read this ledger of divvyd, a backup, instead of files", DV_OPTION_TEXT,
     AT(ledger)},
    {"fleet", 0, "LIST",
     "only reckon: groups of workloads, as training=4x4@95%,chat:inference=8x1@5%: NAME, or KIND "
     "behind a colon, says what they are (training, inference, interactive or notebook, batch)",
     DV_OPTION_TEXT, AT(fleet)},
    {"from", 0, "TIME", "nothing before this", DV_OPTION_TEXT, AT(from)},
    {"to", 0, "TIME", "nothing from this on", DV_OPTION_TEXT, AT(to)},
    {"price", 'p', "AMOUNT", "of a GPU for an hour", DV_OPTION_TEXT, AT(price)},
    {"prices", 0, "FILE", "a price file, in place of --price", DV_OPTION_TEXT, AT(prices)},
    {"currency", 0, "CODE", "of --price", DV_OPTION_TEXT, AT(currency), .otherwise = "USD"},
    {"hours", 0, "N", "of a month", DV_OPTION_INTEGER, AT(hours), 1, 744, .otherwise = "730"},
    {"gpus", 'n', "N", "that the fleet has; default: as many as were in use at once",
     DV_OPTION_INTEGER, AT(gpus), 1, 1000000},
    {"gpu", 'g', "MODEL", "the GPUs' model", DV_OPTION_TEXT, AT(gpu), .otherwise = "A100-80GB"},
    {"gpu-memory", 0, "SIZE", "what tenants can have of a GPU's memory, in place of the model's",
     DV_OPTION_BYTES, AT(gpu_memory)},
    {"headroom", 0, "SHARE", "of a shared GPU's compute that the plan leaves free",
     DV_OPTION_COMPUTE, AT(headroom), .otherwise = "20%"},
    {"memory-margin", 0, "PERCENT", "of memory on top of the peak that was seen", DV_OPTION_INTEGER,
     AT(margin), 0, 100, .otherwise = "5"},
    {"wall", 'w', "WALL", "that tenants need between each other", DV_OPTION_CHOICE, AT(wall),
     .choices = "any|driver|hardware", .otherwise = "any"},
    {"trust", 0, "TRUST", "untrusted: hardware walls", DV_OPTION_CHOICE, AT(trust),
     .choices = "trusted|untrusted", .otherwise = "trusted"},
    {"no-replay", 0, NULL, "no replay against the plan, and no samples kept for it", DV_OPTION_FLAG,
     AT(no_replay)},
    {DV_REPORT_FILE_OPTION, AT(html)},
    {"fleet-file", 0, "FILE", "also write the workloads as a file for divvy plan", DV_OPTION_TEXT,
     AT(fleet_file)},
};

/* ---- what was asked ------------------------------------------------------------------------- */

static int read_wish(const struct dv_ui *ui, struct dv_audit_wish *ret,
                     const struct dv_gpu_model **ret_model)
{
    const struct audit_values *v = ui->values;
    struct dv_err err = {{0}};
    const struct dv_gpu_model *m = dv_gpu_model_find(v->gpu, &err);
    if (!m)
        return dv_ui_fail(ui, DV_UI_USAGE, "--gpu: %s", err.msg);
    uint64_t memory = v->gpu_memory ? v->gpu_memory : dv_gpu_model_usable(m);
    if (!memory)
        return dv_ui_fail(ui, DV_UI_USAGE, "the memory of %s is not known: say --gpu-memory",
                          m->name);
    if (v->headroom >= DV_COMPUTE_FULL)
        return dv_ui_fail(ui, DV_UI_USAGE, "--headroom leaves nothing of a GPU");
    *ret = (struct dv_audit_wish){
        .gpu_memory_bytes = memory,
        .mig = m->mig,
        .wall = !strcmp(v->wall, "hardware") ? DV_WALL_HARDWARE
                : !strcmp(v->wall, "driver") ? DV_WALL_DRIVER
                                             : DV_WALL_NONE,
        .trust = !strcmp(v->trust, "untrusted") ? DV_TRUST_UNTRUSTED : DV_TRUST_TRUSTED,
        .memory_margin_permille = (uint32_t)v->margin * 10,
        .headroom = v->headroom,
    };
    *ret_model = m;
    return DV_UI_OK;
}

static int read_range(const struct dv_ui *ui, struct dv_audit_feed *f)
{
    static const struct dv_zone utc = {.n = 0};
    const struct audit_values *v = ui->values;
    const char *const texts[] = {v->from, v->to};
    int64_t *const rets[] = {&f->from_ns, &f->to_ns};
    struct dv_err err = {{0}};
    f->from_ns = 0;
    f->to_ns = INT64_MAX;
    for (size_t i = 0; i < 2; i++) {
        int64_t unix_s = 0, end = 0;
        if (!texts[i])
            continue;
        if (dv_when_parse(&utc, time(NULL), texts[i], &unix_s, &end, &err) < 0)
            return dv_ui_fail(ui, DV_UI_USAGE, "--%s: %s", i ? "to" : "from", err.msg);
        *rets[i] = unix_s * (int64_t)DV_NS_PER_S;
    }
    if (f->from_ns >= f->to_ns)
        return dv_ui_fail(ui, DV_UI_USAGE, "--from is not before --to");
    return DV_UI_OK;
}

/* The mean of a price list's prices for whole GPUs of the model over [from, to). */
static int mean_price(const struct dv_ui *ui, const struct dv_price_list *list,
                      const struct dv_gpu_model *model, int64_t from, int64_t to,
                      struct dv_audit_money *money)
{
    struct dv_account account = {.mode = DV_MODE_EXCLUSIVE};
    double sum = 0;
    if (dv_str_copy(account.model, sizeof account.model, model->product) < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "the model's name is too long");
    if (to <= from)
        to = from + 1;
    for (int64_t t = from, until; t < to; t = until) {
        const struct dv_price_rule *rule = dv_price_find(list, &account, t, &until);
        if (!rule)
            return dv_ui_fail(ui, DV_UI_FAILURE, "--prices: no price for %s in all of the time",
                              model->name);
        until = DV_MIN(until, to);
        sum += (double)rule->micros_per_hour * (double)(until - t);
    }
    money->per_hour_micros = (int64_t)(sum / (double)(to - from) + 0.5);
    return DV_UI_OK;
}

/* list stays the owner of the currency's name. */
static int read_money(const struct dv_ui *ui, struct dv_price_list **list,
                      struct dv_audit_money *ret)
{
    const struct audit_values *v = ui->values;
    struct dv_err err = {{0}};
    struct dv_pricefile_info info = {0};
    *ret = (struct dv_audit_money){-1, v->currency, v->hours, v->gpus};
    if (v->price && v->prices)
        return dv_ui_fail(ui, DV_UI_USAGE, "--price and --prices exclude each other");
    if (v->prices) {
        if (dv_pricefile_load(v->prices, list, &info, &err) < 0)
            return dv_ui_fail(ui, DV_UI_USAGE, "%s", err.msg);
        ret->currency = (*list)->currency;
        return DV_UI_OK;
    }
    if (!v->price)
        return DV_UI_OK;
    if (dv_currency_check(v->currency, &err) < 0)
        return dv_ui_fail(ui, DV_UI_USAGE, "--currency: %s", err.msg);
    if (dv_price_parse(v->price, &ret->per_hour_micros, &err) < 0)
        return dv_ui_fail(ui, DV_UI_USAGE, "--price: %s", err.msg);
    return DV_UI_OK;
}

static int check_sources(const struct dv_ui *ui)
{
    const struct audit_values *v = ui->values;
    int n = (v->utilization || v->memory) + !!v->prometheus + !!v->ledger + !!v->fleet;
    if (!n)
        return dv_ui_fail(
            ui, DV_UI_USAGE,
            "nothing to look at: --utilization FILE, --prometheus URL, --ledger FILE or "
            "--fleet LIST is needed");
    if (n > 1)
        return dv_ui_fail(ui, DV_UI_USAGE,
                          "--utilization, --prometheus, --ledger and --fleet exclude each other");
    if (v->fleet && (v->html || v->fleet_file))
        return dv_ui_fail(ui, DV_UI_USAGE,
                          "--fleet only reckons: it writes no --html and no "
                          "--fleet-file; divvy plan takes a file of such groups");
    if (v->memory && !v->utilization)
        return dv_ui_fail(ui, DV_UI_USAGE, "--memory goes with --utilization");
    if (v->memory && !strcmp(v->memory, "-") && !strcmp(v->utilization, "-"))
        return dv_ui_fail(ui, DV_UI_USAGE, "one of the two files can be the standard input");
    return DV_UI_OK;
}

/* ---- samples -------------------------------------------------------------------------------- */

static double unit_of(const char *name)
{
    static const struct {
        const char *name;
        double bytes;
    } units[] = {{"B", 1},          {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824},
                 {"MB", 1000000.0}, {"GB", 1e9}};
    for (size_t i = 0; i < DV_ARRAY_SIZE(units); i++)
        if (!strcmp(units[i].name, name))
            return units[i].bytes;
    return 1;
}

static int read_samples(const struct dv_ui *ui, struct dv_audit_feed *f)
{
    const struct audit_values *v = ui->values;
    if (v->ledger)
        return dv_audit_from_ledger(ui, f, v->ledger);
    if (v->prometheus) {
        struct dv_audit_prometheus p = {
            v->prometheus, v->range, v->step,   !strcmp(v->names, "divvy"),
            v->token_file, v->ca,    v->labels, v->timeout};
        return dv_audit_from_prometheus(ui, f, &p);
    }
    struct dv_audit_csv busy = {v->utilization, false, v->columns,
                                !strcmp(v->scale, "ratio") ? 100 : 1};
    struct dv_audit_csv memory = {v->memory, true, v->columns, unit_of(v->memory_unit)};
    int exit = dv_audit_from_csv(ui, f, &busy);
    return exit || !v->memory || f->interrupted ? exit : dv_audit_from_csv(ui, f, &memory);
}

/* ---- the answer ----------------------------------------------------------------------------- */

static int answer(const struct dv_ui *ui, const struct dv_audit_answer *a)
{
    int exit = dv_audit_answer_worth(a) ? DV_UI_PROBLEMS : DV_UI_OK;
    if (a->feed->interrupted)
        exit = 128 + dv_long_run_signal();
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    const struct audit_values *v = ui->values;
    int failed = dv_audit_page_write(ui, a, v->html);
    failed = failed ? failed : dv_audit_fleet_file_write(ui, a, v->gpu_memory > 0, v->fleet_file);
    if (failed)
        return failed;
    dv_long_run_release();
    if (dv_ui_is(ui, "table")) {
        if (dv_audit_answer_text(a, ui->colour, &text) < 0)
            return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
        int r = dv_ui_print(dv_str_get(&text));
        return r ? r : exit;
    }
    dv_cleanup(dv_output_free) struct dv_output *o = dv_audit_answer_tree(a, DV_AUDIT_ANSWER_ALL);
    if (!o)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    return dv_ui_answer(ui, o, &dv_audit_answer_view, NULL, exit);
}

/* Amounts are of 64 bits: what `hours` of so many GPUs cost has to be one. */
static int check_amount(const struct dv_ui *ui, const struct dv_audit_money *money, double hours)
{
    static const double most = 9e18; /* micros */
    if (money->per_hour_micros < 0 || hours * (double)money->per_hour_micros < most)
        return DV_UI_OK;
    return dv_ui_fail(ui, DV_UI_USAGE, "what %.0f GPU hours cost at this price is beyond counting",
                      hours);
}

/* Everything after the samples. */
static int conclude(const struct dv_ui *ui, struct dv_audit_feed *f, struct dv_audit_answer *a,
                    const struct dv_price_list *list)
{
    struct dv_err err = {{0}};
    int r = dv_audit_finish(f->audit, a->wish);
    if (r < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "%s",
                          r == -EOVERFLOW ? "more than 584 years of GPU time in all are beyond "
                                            "counting; --from and --to narrow it"
                                          : "out of memory");
    const struct dv_audit_fleet *fleet = dv_audit_fleet(f->audit);
    if (!fleet->samples)
        return dv_ui_fail(ui, DV_UI_FAILURE, "no utilization samples in what was looked at");
    int exit = list ? mean_price(ui, list, a->model, fleet->first_ns / (int64_t)DV_NS_PER_S,
                                 fleet->last_ns / (int64_t)DV_NS_PER_S, &a->money)
                    : DV_UI_OK;
    double month =
        (double)DV_MAX(a->money.gpus, (int64_t)fleet->gpus_peak) * (double)a->money.month_hours;
    exit = exit ? exit : check_amount(ui, &a->money, DV_MAX(month, (double)fleet->gpu_ns / 3.6e12));
    if (exit)
        return exit;
    a->money.withheld = a->money.per_hour_micros >= 0 && dv_audit_is_mostly_lost(fleet);
    if (a->money.withheld)
        a->money.per_hour_micros = -1;
    dv_cleanup(dv_audit_work_done) struct dv_audit_work work = {.plan = NULL};
    if (dv_audit_work_do(f, a->wish, &work, &err) < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "%s", err.msg);
    struct dv_audit_answer whole = *a;
    whole.work = &work;
    return answer(ui, &whole);
}

static int run_fleet(const struct dv_ui *ui, struct dv_audit_money *money,
                     const struct dv_price_list *list, const struct dv_audit_answer *a)
{
    const struct audit_values *v = ui->values;
    struct dv_audit_group groups[DV_AUDIT_GROUPS_MAX];
    struct dv_err err = {{0}};
    bool worth = false;
    int n = dv_audit_groups_parse(v->fleet, groups, &err);
    if (n < 0)
        return dv_ui_fail(ui, DV_UI_USAGE, "%s", err.msg);
    int64_t now = time(NULL);
    int exit = list ? mean_price(ui, list, a->model, now, now + v->hours * 3600, money) : DV_UI_OK;
    double gpus = 0;
    for (int i = 0; i < n; i++)
        gpus += (double)groups[i].count * groups[i].gpus;
    exit = exit ? exit
                : check_amount(ui, money,
                               DV_MAX(gpus, (double)money->gpus) * (double)money->month_hours);
    if (exit)
        return exit;
    dv_cleanup(dv_output_free) struct dv_output *o =
        dv_audit_groups_tree(groups, (size_t)n, money, a->wish, &worth);
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    exit = worth ? DV_UI_PROBLEMS : DV_UI_OK;
    if (!dv_ui_is(ui, "table"))
        return dv_ui_answer(ui, o, &dv_audit_groups_view, NULL, exit);
    if (dv_audit_groups_text(o, ui->colour, &text) < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    int r = dv_ui_print(dv_str_get(&text));
    return r ? r : exit;
}

static int run(const struct dv_ui *ui)
{
    const struct audit_values *v = ui->values;
    struct dv_audit_wish wish;
    struct dv_audit_feed f = {.from_ns = 0};
    struct dv_audit_answer a = {.feed = &f, .wish = &wish};
    dv_cleanup(dv_price_list_freep) struct dv_price_list *list = NULL;
    int exit = check_sources(ui);
    exit = exit ? exit : read_wish(ui, &wish, &a.model);
    if (exit || !a.model)
        return exit;
    exit = read_range(ui, &f);
    exit = exit ? exit : read_money(ui, &list, &a.money);
    if (exit)
        return exit;
    if (v->fleet)
        return run_fleet(ui, &a.money, list, &a);
    dv_cleanup(dv_audit_freep) struct dv_audit *audit = dv_audit_new();
    dv_cleanup(dv_spool_freep) struct dv_spool *spool = v->no_replay ? NULL : dv_spool_new();
    if (!audit || (!spool && !v->no_replay))
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    f.mig_slices = a.model->mig ? a.model->mig->slices : 7; /* of others the usual one */
    f.audit = audit;
    f.spool = spool;
    exit = read_samples(ui, &f);
    return exit ? exit : conclude(ui, &f, &a, list);
}

static const struct dv_ui_example examples[] = {
    {"a trace of utilization and memory, with a price",
     "divvy audit --utilization duty.csv.gz --memory memory.csv.gz --columns "
     "time=timestamp_anon,value=value,workload=container_ip --price 3.06"},
    {"what nvidia-smi logged (--query-gpu=timestamp,uuid,utilization.gpu,memory.used)",
     "divvy audit -u smi.csv -m smi.csv -c "
     "'time=timestamp,workload=uuid,utilization=utilization.gpu "
     "[%],memory=memory.used [MiB]'"},
    {"the last month in a Prometheus that scrapes dcgm-exporter",
     "divvy audit --prometheus https://prometheus.example --range 720h --step 1m --price 3.06"},
    {"reckon on the back of an envelope",
     "divvy audit --fleet training=4x4@95%,inference=12x1@15%,notebook=8x1@5% --gpus 32 --price "
     "3.06"},
};

const struct dv_ui_verb dv_verb_audit = {
    .name = "audit",
    .summary = "how busy GPUs were, what that wasted, and how many would do",
    .details =
        "Reads telemetry from CSV files, a Prometheus or divvyd's ledger, and says of each "
        "workload "
        "how busy it was, what kind of workload that makes it, and how it should hold a GPU. From "
        "that follows a plan: how many GPUs would do. The trace is replayed against the plan, and "
        "against a plan made of its first half alone, to say how often anybody would have waited.\n"
        "\n"
        "Ends with 3 when the plan needs fewer GPUs than were in use (with --fleet: when more than "
        "30 % of the GPU time is idle). Ctrl-C ends the reading; the answer is then of what was "
        "read, and the exit status is 130.",
    .options = options,
    .n_options = DV_ARRAY_SIZE(options),
    .values_size = sizeof(struct audit_values),
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .prints = true,
    .run = run,
};
