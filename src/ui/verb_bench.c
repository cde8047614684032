/* SPDX-License-Identifier: Apache-2.0 */
/* divvy bench modes: the same load under every way to share a GPU, side by side. */
#include "ask.h"
#include "bench/crew.h"
#include "bench/figures.h"
#include "bench/node.h"
#include "model/gpu_model.h"
#include "verbs.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define READY_MS 60000 /* a slice, a context and its modules, for all tenants */
#define LATE_MS 120000 /* requests in flight after the window: under overload the queue drains */
#define REQUESTS_MAX 1000000.0 /* of one tenant: what divvy-load lists */

enum mode { MODE_EXCLUSIVE, MODE_MIG, MODE_MPS, MODE_TIMESLICE, MODE_GOVERNED, MODES };

static const char *const mode_names[MODES] = {"exclusive", "mig", "mps", "timeslice", "governed"};

struct values {
    int64_t tenants;
    uint64_t rate, service, seconds;
    const char *gpu, *modes;
    bool mig;
};

static const struct dv_option options[] = {
    {"tenants", 'n', "N", "how many share the GPU", DV_OPTION_INTEGER,
     offsetof(struct values, tenants), .min = 1, .max = DV_BENCH_CREW_MAX, .otherwise = "7"},
    {"rate", 'r', "R", "requests per second of each", DV_OPTION_MILLI,
     offsetof(struct values, rate), .min = 1, .max = 100000000, .otherwise = "12"},
    {"service", 'u', "TIME", "time of a request on the whole GPU, alone", DV_OPTION_DURATION,
     offsetof(struct values, service), .min = 1000, .max = INT64_C(60000000000),
     .otherwise = "10ms"},
    {"seconds", 's', "TIME", "how long each mode is measured", DV_OPTION_DURATION,
     offsetof(struct values, seconds), .min = 100000000, .max = INT64_C(3600000000000),
     .otherwise = "20s"},
    {"modes", 'm', "LIST", "which: exclusive,mig,mps,timeslice,governed", DV_OPTION_TEXT,
     offsetof(struct values, modes), .otherwise = "exclusive,mig,mps,timeslice,governed"},
    {"gpu", 'g', "GPU", "which: an index, a UUID or its beginning, a model, any", DV_OPTION_TEXT,
     offsetof(struct values, gpu), .otherwise = "any"},
    {"mig", 0, NULL, "let it change MIG mode and MIG devices of a real GPU", DV_OPTION_FLAG,
     offsetof(struct values, mig)},
};

enum safety { SAFETY_UNKNOWN, SAFETY_NO, SAFETY_YES };

struct result {
    enum mode mode;
    uint32_t tenants;
    struct dv_bench_figures figures;
    struct dv_bench_walls walls;
    enum safety memory;
    char skipped[512]; /* why; "": it was measured */
};

struct bench {
    const struct dv_ui *ui;
    const struct values *v;
    struct dv_bench_node node;
    bool modes[MODES];
    uint64_t steps, sms; /* of a request on the whole GPU */
    struct result results[MODES];
    size_t n;
    bool failed;       /* a mode that should have worked */
    bool named;        /* this user may name tenants */
    const char *doing; /* for the progress line */
    time_t until;      /* the end of the measurement */
    long said;         /* seconds left when that was last said */
};

/* ---- progress and interruption ---- */

static volatile int stopped; /* the signal */

static void on_signal(int signal)
{
    stopped = signal;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

static void say_progress(const char *mode, const char *what)
{
    if (!isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "\r\033[K%s%s%s", mode, *what ? ": " : "", what);
    fflush(stderr);
}

/* ---- options ---- */

static int read_modes(struct bench *b)
{
    char word[32];
    for (const char *at = b->v->modes; *at;) {
        size_t len = strcspn(at, ","), i;
        snprintf(word, sizeof word, "%.*s", (int)DV_MIN(len, sizeof word - 1), at);
        for (i = 0; i < MODES && strcmp(mode_names[i], word) != 0;)
            i++;
        if (i == MODES) {
            const char *near = dv_str_nearest(word, mode_names, MODES);
            return dv_ui_fail(b->ui, DV_UI_USAGE, "--modes: no mode \"%s\"%s%s%s", word,
                              near ? "; did you mean \"" : "", near ? near : "",
                              near ? "\"?"
                                   : "; there are exclusive, mig, mps, timeslice, governed");
        }
        b->modes[i] = true;
        at += len + (at[len] == ',');
    }
    double requests = (double)b->v->rate / 1000 * ((double)b->v->seconds / 1e9);
    if (requests > REQUESTS_MAX)
        return dv_ui_fail(b->ui, DV_UI_USAGE,
                          "--rate times --seconds is %.0f requests a tenant; the limit is %.0f",
                          requests, REQUESTS_MAX);
    return DV_UI_OK;
}

/* ---- the layout of a mode ---- */

/* The largest profile of which n fit; NULL where there is none. */
static const struct dv_mig_profile *profile_for(const struct dv_gpu_model *model, uint32_t n)
{
    const struct dv_mig_profile *best = NULL;
    const struct dv_mig_geometry *g = model ? model->mig : NULL;
    for (uint32_t i = 0; g && i < g->n_profiles; i++) {
        const struct dv_mig_profile *p = &g->profiles[i];
        struct dv_mig_instance instances[DV_MIG_INSTANCES_MAX];
        struct dv_mig_refusal why;
        for (uint32_t k = 0; k < n && k < DV_MIG_INSTANCES_MAX; k++)
            instances[k] = (struct dv_mig_instance){i, DV_MIG_UNPLACED};
        if (n > DV_MIG_INSTANCES_MAX || strpbrk(p->name, "+-") ||
            dv_mig_check(g, instances, n, &why))
            continue;
        if (!best || p->slices > best->slices ||
            (p->slices == best->slices && p->size > best->size))
            best = p;
    }
    return best;
}

static int refuse(struct result *result, const char *why)
{
    snprintf(result->skipped, sizeof result->skipped, "%s", why);
    return -ENOTSUP;
}

/* The entry of the layout file. 0, or -ENOTSUP with the reason in result->skipped. */
static int entry_for(const struct bench *b, enum mode mode, uint32_t n, struct dv_str *text,
                     struct result *result)
{
    struct dv_err err = {{0}};
    if (mode == MODE_EXCLUSIVE || n == 1)
        dv_str_addf(text, "    mode: %s\n", mode == MODE_EXCLUSIVE ? "exclusive" : "auto");
    else if (mode != MODE_MIG)
        dv_str_addf(text, "    mode: %s\n    replicas: %u\n", mode_names[mode], n);
    if (mode != MODE_MIG)
        return 0;
    const struct dv_gpu_model *model = dv_gpu_model_find(b->node.gpu.model, &err);
    const struct dv_mig_profile *p = profile_for(model, n);
    if (!model || !model->mig)
        return refuse(result, "this GPU cannot do MIG");
    if (!p) {
        snprintf(result->skipped, sizeof result->skipped,
                 "%u MIG devices do not fit on a GPU of this model", n);
        return -ENOTSUP;
    }
    dv_str_clear(text);
    dv_str_addf(text, "    mig:\n      - {profile: \"%s\", count: %u, mode: exclusive}\n", p->name,
                n);
    return 0;
}

static bool changes_mig(const struct bench *b, enum mode mode)
{
    return b->node.gpu.mig_enabled || mode == MODE_MIG;
}

/* Lays the GPU out, or finds that the mode can do without, or says why not. */
static int lay_out(struct bench *b, enum mode mode, uint32_t n, struct result *result)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_err err = {{0}};
    int r = entry_for(b, mode, n, &text, result);
    if (r < 0)
        return r;
    if (changes_mig(b, mode) && !b->node.simulated && !b->v->mig)
        return refuse(result, "MIG of a real GPU changes only with --mig");
    if (!b->node.layouts && changes_mig(b, mode))
        return refuse(result, "this daemon does not change layouts");
    if (!b->node.layouts && mode == MODE_TIMESLICE && n > DV_DEVICE_TIMESLICES)
        return refuse(result, "without a layout a GPU has 4 time-slices; see --tenants");
    if (!b->node.layouts)
        return 0;
    say_progress(mode_names[mode], "laying out the GPU");
    r = dv_bench_node_lay_out(&b->node, dv_str_get(&text), &err);
    if (r < 0) {
        b->failed |= r != -EINTR;
        snprintf(result->skipped, sizeof result->skipped, "%s", err.msg);
    }
    return r;
}

/* ---- commands ---- */

#define WORDS_MAX 48
#define WORD_MAX 320

struct command {
    char words[WORDS_MAX][WORD_MAX];
    char *argv[WORDS_MAX + 1];
    size_t n;
};

static void add_word(struct command *c, const char *fmt, ...) dv_printf(2, 3);
static void add_word(struct command *c, const char *fmt, ...)
{
    va_list ap;
    if (c->n == WORDS_MAX)
        return;
    va_start(ap, fmt);
    vsnprintf(c->words[c->n], WORD_MAX, fmt, ap);
    va_end(ap);
    c->argv[c->n] = c->words[c->n];
    c->argv[++c->n] = NULL;
}

static void add_words(struct command *c, const char *const *words)
{
    for (; *words; words++)
        add_word(c, "%s", *words);
}

/* divvy run ... -- divvy-load */
static void begin(const struct bench *b, struct command *c, enum mode mode, uint32_t n, uint32_t i)
{
    *c = (struct command){0};
    add_word(c, "%s/divvy", b->node.programs);
    add_words(c, (const char *const[]){"run", "--socket", b->node.socket, "--mode",
                                       mode == MODE_MIG ? "exclusive" : mode_names[mode], NULL});
    add_word(c, "--gpu");
    add_word(c, "%u", b->node.gpu.index);
    if (b->named) {
        add_word(c, "--tenant");
        add_word(c, "bench-%u", i + 1);
    }
    if (!b->node.layouts && (mode == MODE_GOVERNED || mode == MODE_MPS)) {
        add_word(c, "--compute");
        add_word(c, "1/%u", n);
    }
    add_word(c, "--");
    add_word(c, "%s/divvy-load", b->node.programs);
}

static void infer(const struct bench *b, struct command *c, uint32_t seed, uint64_t seconds_ns)
{
    add_words(c,
              (const char *const[]){"infer", "--latencies", "--gate", "-o", "json", "--rps", NULL});
    add_word(c, "%llu.%03llu", (unsigned long long)(b->v->rate / 1000),
             (unsigned long long)(b->v->rate % 1000));
    add_word(c, "--service-us");
    add_word(c, "%llu", (unsigned long long)(b->v->service / 1000));
    add_word(c, "--seconds");
    add_word(c, "%llums", (unsigned long long)(seconds_ns / 1000000));
    add_word(c, "--seed");
    add_word(c, "%u", seed);
    if (!b->steps)
        return;
    add_word(c, "--steps");
    add_word(c, "%llu", (unsigned long long)b->steps);
    add_word(c, "--sms");
    add_word(c, "%llu", (unsigned long long)b->sms);
}

static int parse(const struct dv_bench_member *m, struct dv_output **ret, struct dv_err *err)
{
    bool ended = WIFEXITED(m->status) && (WEXITSTATUS(m->status) == 0 || m->output.len);
    if (!ended || !m->output.len)
        return dv_err_set(err, -EIO, "%s", m->line[0] ? m->line : "a tenant did not end well");
    return dv_http_client_parse(dv_str_get((struct dv_str *)&m->output), m->output.len, ret, err);
}

/* ---- phases of a mode ---- */

static void tick(void *arg)
{
    struct bench *b = arg;
    char text[64] = "measuring";
    long left = (long)(b->until - time(NULL));
    if (left == b->said)
        return;
    b->said = left;
    if (left > 0)
        snprintf(text, sizeof text, "measuring, %ld s left", left);
    say_progress(b->doing, text);
}

/* All tenants at once; what each answered goes to `use`. */
static int run_crew(struct bench *b, struct command *commands, uint32_t n, uint64_t seconds_ns,
                    struct dv_bench_walls *walls,
                    int (*use)(void *arg, const struct dv_output_node *answer), void *arg,
                    struct dv_err *err)
{
    static struct dv_bench_crew crew; /* large; one at a time */
    int r = dv_bench_crew_init(&crew, &stopped);
    for (uint32_t i = 0; i < n && !r; i++)
        r = dv_bench_crew_add(&crew, commands[i].argv, err);
    if (!r)
        r = dv_bench_crew_ready(&crew, READY_MS, err);
    if (!r && walls)
        r = dv_bench_node_walls(&b->node, walls, err);
    if (!r) {
        b->until = time(NULL) + (time_t)((seconds_ns + DV_NS_PER_S - 1) / DV_NS_PER_S);
        b->said = -1;
        dv_bench_crew_go(&crew);
        r = dv_bench_crew_wait(&crew, (unsigned)(seconds_ns / 1000000) + LATE_MS, tick, b, err);
    }
    for (uint32_t i = 0; i < n && !r; i++) {
        dv_cleanup(dv_output_free) struct dv_output *o = NULL;
        r = parse(&crew.members[i], &o, err);
        if (!r)
            r = use(arg, dv_output_root(o));
        if (r == -EPROTO)
            dv_err_set(err, r, "that was no answer of divvy-load");
    }
    dv_bench_crew_done(&crew);
    return r;
}

static int use_figures(void *arg, const struct dv_output_node *answer)
{
    return dv_bench_figures_add(arg, answer);
}

static int use_work(void *arg, const struct dv_output_node *answer)
{
    struct bench *b = arg;
    b->steps = dv_output_count(dv_output_get(answer, "steps"), 0);
    b->sms = dv_output_count(dv_output_get(answer, "sms"), 0);
    return b->steps && b->sms ? 0 : -EPROTO;
}

/* How many steps a request has: measured by one tenant alone on the whole GPU, so that every tenant
 * does the same work, whatever part it holds. */
static int measure_work(struct bench *b, struct dv_err *err)
{
    struct result unused = {0};
    static struct command c;
    int r = lay_out(b, MODE_EXCLUSIVE, 1, &unused);
    if (r < 0)
        return dv_err_set(err, r, "%s", unused.skipped);
    say_progress("divvy bench", "measuring the work of a request");
    b->doing = "divvy bench";
    begin(b, &c, MODE_EXCLUSIVE, 1, 0);
    infer(b, &c, 1, 1000000);
    return run_crew(b, &c, 1, 0, NULL, use_work, b, err);
}

static int use_safety(void *arg, const struct dv_output_node *answer)
{
    enum safety *ret = arg;
    const char *word = dv_output_text(dv_output_get(answer, "result"), "");
    *ret = !strcmp(word, "ok") ? SAFETY_NO : !strcmp(word, "out_of_memory") ? SAFETY_YES : *ret;
    return 0;
}

/* One tenant asks for twice its part, while the rest of the device is free: does anything stop it?
 */
static int test_memory(struct bench *b, struct result *result, struct dv_err *err)
{
    static struct dv_bench_crew crew;
    static struct command c;
    begin(b, &c, result->mode, result->tenants, 0);
    add_words(&c, (const char *const[]){"alloc", "-o", "json", "--bytes", NULL});
    add_word(&c, "%llu", 2ULL * (b->node.gpu.memory_bytes / result->tenants));
    say_progress(mode_names[result->mode], "asking for more memory than it has");
    int r = dv_bench_crew_init(&crew, &stopped);
    if (!r)
        r = dv_bench_crew_add(&crew, c.argv, err);
    if (!r)
        dv_bench_crew_go(&crew);
    if (!r)
        r = dv_bench_crew_wait(&crew, READY_MS, NULL, NULL, err);
    dv_cleanup(dv_output_free) struct dv_output *o = NULL;
    if (!r)
        r = parse(&crew.members[0], &o, err);
    if (!r)
        r = use_safety(&result->memory, dv_output_root(o));
    dv_bench_crew_done(&crew);
    return r;
}

static int measure(struct bench *b, struct result *result, struct dv_err *err)
{
    uint32_t n = result->tenants;
    struct command *commands = calloc(n, sizeof *commands);
    if (!commands)
        return dv_err_set(err, -ENOMEM, "out of memory");
    for (uint32_t i = 0; i < n; i++) {
        begin(b, &commands[i], result->mode, n, i);
        infer(b, &commands[i], i + 1, b->v->seconds);
    }
    b->doing = mode_names[result->mode];
    say_progress(b->doing, "starting the tenants");
    result->figures.window_ns = b->v->seconds;
    int r =
        run_crew(b, commands, n, b->v->seconds, &result->walls, use_figures, &result->figures, err);
    free(commands);
    if (!r)
        r = test_memory(b, result, err);
    dv_bench_figures_close(&result->figures);
    return r;
}

/* 0, or -EINTR: what else goes wrong is said in the result. */
static int run_mode(struct bench *b, enum mode mode)
{
    struct result *result = &b->results[b->n++];
    struct dv_err err = {{0}};
    *result = (struct result){.mode = mode, .tenants = (uint32_t)b->v->tenants};
    if (mode == MODE_EXCLUSIVE)
        result->tenants = 1;
    int r = lay_out(b, mode, result->tenants, result);
    if (r < 0)
        return r == -EINTR ? r : 0;
    r = measure(b, result, &err);
    if (r < 0 && r != -EINTR) {
        snprintf(result->skipped, sizeof result->skipped, "%s", err.msg);
        b->failed = true;
    }
    return r == -EINTR ? r : 0;
}

/* ---- the answer ---- */

static void add_ms(struct dv_output_node *o, const char *key, const struct result *r,
                   unsigned permille)
{
    if (r->figures.served)
        dv_output_decimal(o, key,
                          (int64_t)dv_bench_figures_percentile(&r->figures, permille) / 1000, 3);
    else
        dv_output_null(o, key);
}

static void add_result(struct dv_output_node *list, const struct result *r)
{
    struct dv_output_node *o = dv_output_object(list, NULL);
    dv_output_string(o, "mode", mode_names[r->mode]);
    dv_output_uint(o, "tenants", r->tenants);
    dv_output_uint(o, "asked", r->figures.asked);
    dv_output_uint(o, "served", r->figures.served);
    add_ms(o, "p50_ms", r, 500);
    add_ms(o, "p99_ms", r, 990);
    dv_output_decimal(
        o, "throughput_rps",
        (int64_t)((double)r->figures.served * 1e12 / (double)r->figures.window_ns + 0.5), 3);
    if (r->memory == SAFETY_UNKNOWN)
        dv_output_null(o, "memory_safe");
    else
        dv_output_bool(o, "memory_safe", r->memory == SAFETY_YES);
    dv_output_string(o, "memory_wall", r->walls.memory);
    dv_output_string(o, "compute_wall", r->walls.compute);
}

static struct dv_output *describe(const struct bench *b)
{
    struct dv_output *o = dv_output_new("ModeBench");
    struct dv_output_node *root = dv_output_root(o);
    dv_output_bool(root, "simulated", b->node.simulated);
    struct dv_output_node *gpu = dv_output_object(root, "gpu");
    dv_output_uint(gpu, "index", b->node.gpu.index);
    dv_output_string(gpu, "uuid", b->node.gpu.uuid);
    dv_output_string(gpu, "model", b->node.gpu.model);
    dv_output_int(root, "tenants", b->v->tenants);
    dv_output_decimal(root, "rate_rps", (int64_t)b->v->rate, 3);
    dv_output_decimal(root, "service_ms", (int64_t)b->v->service / 1000, 3);
    dv_output_seconds(root, "window_seconds", b->v->seconds);
    struct dv_output_node *modes = dv_output_array(root, "modes");
    for (size_t i = 0; i < b->n; i++)
        if (!b->results[i].skipped[0])
            add_result(modes, &b->results[i]);
    struct dv_output_node *skipped = dv_output_array(root, "skipped");
    for (size_t i = 0; i < b->n; i++) {
        if (!b->results[i].skipped[0])
            continue;
        struct dv_output_node *s = dv_output_object(skipped, NULL);
        dv_output_string(s, "mode", mode_names[b->results[i].mode]);
        dv_output_string(s, "reason", b->results[i].skipped);
    }
    return o;
}

static const struct dv_table_column columns[] = {
    {"MODE", "mode"},
    {"TENANTS", "tenants", .right = true},
    {"SERVED", "served", .right = true},
    {"OF", "asked", .right = true},
    {"P50", "p50_ms", .right = true, .suffix = " ms"},
    {"P99", "p99_ms", .right = true, .suffix = " ms"},
    {"PER SECOND", "throughput_rps", .right = true},
    {"MEMORY SAFE", "memory_safe"},
    {"MEMORY WALL", "memory_wall", .state = true},
    {"COMPUTE WALL", "compute_wall", .state = true},
};
static const struct dv_table view = {"modes", columns, DV_ARRAY_SIZE(columns)};

static int answer(const struct bench *b)
{
    dv_cleanup(dv_output_free) struct dv_output *o = describe(b);
    for (size_t i = 0; i < b->n; i++)
        if (b->results[i].skipped[0])
            dv_ui_fail(b->ui, 0, "%s was not measured: %s", mode_names[b->results[i].mode],
                       b->results[i].skipped);
    return dv_ui_answer(b->ui, o, &view, "no mode could be measured",
                        b->failed ? DV_UI_FAILURE : DV_UI_OK);
}

/* ---- all of it ---- */

static int run_modes(struct bench *b, struct dv_err *err)
{
    int r = dv_bench_node_choose(&b->node, b->v->gpu, err);
    if (!r)
        r = measure_work(b, err);
    for (enum mode m = 0; m < MODES && !r; m++)
        if (b->modes[m])
            r = run_mode(b, m);
    return r;
}

static int run(const struct dv_ui *ui)
{
    static struct bench b;
    struct dv_err err = {{0}}, undone = {{0}};
    b = (struct bench){.ui = ui, .v = ui->values};
    int exit = read_modes(&b);
    if (exit)
        return exit;
    catch_signals();
    int r = dv_bench_node_open(&b.node, ui->socket, &stopped, &err);
    b.named = b.node.own || geteuid() == 0;
    if (!r && b.node.own)
        fprintf(stderr,
                "divvy bench modes: no daemon runs here; this is a simulated %s of its "
                "own\n",
                "A100");
    if (!r)
        r = run_modes(&b, &err);
    say_progress("", "");
    int back = dv_bench_node_restore(&b.node, &undone);
    dv_bench_node_close(&b.node);
    if (stopped)
        exit = DV_UI_RUN_SIGNAL + stopped;
    else if (r < 0)
        exit = dv_ui_fail(ui, dv_ask_exit(r), "%s", err.msg);
    else
        exit = answer(&b);
    if (back < 0)
        exit =
            dv_ui_fail(ui, DV_UI_FAILURE,
                       "the layout could not be taken back: %s; see divvy layout show", undone.msg);
    for (size_t i = 0; i < b.n; i++)
        dv_bench_figures_done(&b.results[i].figures);
    return exit;
}

static const struct dv_ui_example examples[] = {
    {"seven tenants on whatever is there, or on a simulated A100", "divvy bench modes"},
    {"two modes on GPU 1, with longer requests",
     "divvy bench modes --gpu 1 --modes mps,governed --service 50ms --rate 2"},
    {"the tail of each mode, for a script",
     "divvy bench modes -o json | jq '.modes[] | [.mode, .p99_ms]'"},
};

const struct dv_ui_verb dv_verb_bench_modes = {
    .name = "bench modes",
    .summary = "the same load under every way to share a GPU, side by side",
    .details =
        "Lays one GPU out for each mode in turn, and lets tenants serve requests on it that arrive "
        "at random (Poisson, the same arrivals in every mode). A request counts from its arrival, "
        "and as served when it ends in time; P50 and P99 are over the requests of all tenants. "
        "Every request is the same work: --service is what it takes on the whole GPU, alone. "
        "exclusive is one tenant alone on the whole GPU, for comparison.\n\n"
        "MEMORY SAFE says whether one tenant was stopped when it asked for twice its part of the "
        "memory while nobody else was there.\n\n"
        "Where no daemon runs, and none is named, it starts a simulated node of its own. On a "
        "daemon's node it takes a GPU that nobody holds, and puts back the layout afterwards, also "
        "after Ctrl-C. MIG of a real GPU changes only with --mig. While a layout of the node is "
        "in force, claims on the other GPUs do not see it until the end.",
    .options = options,
    .n_options = DV_ARRAY_SIZE(options),
    .values_size = sizeof(struct values),
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .prints = true,
    .asks_daemon = true,
    .run = run,
};
