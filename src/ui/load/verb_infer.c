/* SPDX-License-Identifier: Apache-2.0 */
/* divvy-load infer: requests that arrive at random times, and how long they took. */
#include "base/rng.h"
#include "load/load.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SAMPLES_MAX 10000000
#define LISTED_MAX 1000000 /* with --latencies: each becomes two nodes of the answer */
#define IN_FLIGHT 64

struct values {
    int64_t gpu, service_us, seed, steps, sms;
    bool gate, latencies;
    uint64_t rps; /* thousandths */
    uint64_t seconds;
};

static const struct dv_option options[] = {
    {"rps", 'r', "R", "requests per second on average", DV_OPTION_MILLI,
     offsetof(struct values, rps), .min = 1, .max = 1000000000, .otherwise = "100"},
    {"service-us", 'u', "U", "GPU time of a request in microseconds", DV_OPTION_INTEGER,
     offsetof(struct values, service_us), .min = 1, .max = 60000000, .otherwise = "1000"},
    {"seconds", 's', "S", "how long", DV_OPTION_DURATION, offsetof(struct values, seconds),
     .min = 1000000, .max = INT64_C(31536000000000000), .otherwise = "10s"},
    {"seed", 0, "N", "of the arrivals: the same seed, the same times", DV_OPTION_INTEGER,
     offsetof(struct values, seed), .min = 0, .max = INT64_MAX, .otherwise = "1"},
    {"steps", 0, "N", "work of a request in steps of the kernel, rather than measured (see below)",
     DV_OPTION_INTEGER, offsetof(struct values, steps), .min = 0, .max = INT64_C(1000000000000),
     .otherwise = "0"},
    {"sms", 0, "N", "multiprocessors that --steps are for; a device with fewer takes more steps",
     DV_OPTION_INTEGER, offsetof(struct values, sms), .min = 0, .max = 1024, .otherwise = "0"},
    {"gate", 0, NULL, "say \"ready\" on the standard error, and start when the standard input ends",
     DV_OPTION_FLAG, offsetof(struct values, gate)},
    {"latencies", 0, NULL, "list every request's arrival and latency (JSON only)", DV_OPTION_FLAG,
     offsetof(struct values, latencies)},
    {"gpu", 'g', "N", "which GPU, as CUDA counts those that it sees", DV_OPTION_INTEGER,
     offsetof(struct values, gpu), .min = 0, .max = 63, .otherwise = "0"},
};

struct request {
    uint64_t arrival_ns; /* after the start, as drawn; not when this process got to it */
    struct dv_cuda_event *event;
};

struct sample {
    uint64_t arrival_ns, latency_ns;
};

struct work {
    struct dv_load load;
    const struct values *v;
    struct dv_rng rng;
    struct dv_cuda_stream *stream;
    struct dv_cuda_event *start_event;
    uint64_t steps, sms; /* a request's work: so many steps on so many multiprocessors */
    uint64_t iterations; /* steps of this device */
    uint64_t start_ns;
    struct request ring[IN_FLIGHT + 1]; /* one more: the last completed, the next one's reference */
    uint64_t launched, completed;
    double reference_ns; /* when the last completed request was done, after the start */
    struct dv_cuda_event *reference;
    double arrival_ns; /* of the next request */
    uint64_t offered;
    struct sample *samples; /* in the order of arrival, which is that of the stream */
    size_t cap;
};

/* The same work on what this device has: on fewer multiprocessors each does more steps, as it would
 * in several waves of blocks; on more, some stay empty. */
static void spread(struct work *w)
{
    uint64_t have = (uint64_t)DV_MAX(w->load.sms, 1);
    w->iterations = w->sms > have ? (w->steps * w->sms + have / 2) / have : w->steps;
    w->load.sms = (int)DV_MIN(have, w->sms);
}

static int prepare(struct work *w, struct dv_err *err)
{
    int r = w->v->steps ? 0 : dv_load_calibrate(&w->load, err);
    if (r)
        return r;
    w->steps = w->v->steps ? (uint64_t)w->v->steps : dv_load_iterations(&w->load, w->v->service_us);
    w->sms = w->v->sms ? (uint64_t)w->v->sms : (uint64_t)DV_MAX(w->load.sms, 1);
    spread(w);
    r = dv_load_stream_new(&w->load, &w->stream, err);
    for (int i = 0; i <= IN_FLIGHT && !r; i++)
        r = dv_load_event_new(&w->load, true, &w->ring[i].event, err);
    if (!r)
        r = dv_load_event_new(&w->load, true, &w->start_event, err);
    return r;
}

static void release(struct work *w)
{
    const struct dv_cuda_driver *cuda = &w->load.cuda;
    for (int i = 0; i <= IN_FLIGHT && w->ring[i].event; i++)
        cuda->event_destroy(w->ring[i].event);
    if (w->start_event)
        cuda->event_destroy(w->start_event);
    if (w->stream)
        cuda->stream_destroy(w->stream);
    dv_load_close(&w->load);
}

/* Ties the GPU's clock to ours: an event on an idle stream, and the time right after it. */
static int start(struct work *w, struct dv_err *err)
{
    const struct dv_cuda_driver *cuda = &w->load.cuda;
    int r =
        dv_cuda_check(cuda, cuda->event_record(w->start_event, w->stream), "cuEventRecord", err);
    w->start_ns = dv_load_now();
    if (!r)
        r = dv_cuda_check(cuda, cuda->event_synchronize(w->start_event), "cuEventSynchronize", err);
    w->reference = w->start_event;
    return r;
}

static int add_sample(struct work *w, struct sample sample, struct dv_err *err)
{
    if (w->completed == w->cap) {
        size_t cap = w->cap ? w->cap * 2 : 1024;
        struct sample *samples = reallocarray(w->samples, cap, sizeof *samples);
        if (!samples)
            return dv_err_set(err, -ENOMEM, "out of memory");
        w->samples = samples;
        w->cap = cap;
    }
    w->samples[w->completed++] = sample;
    return 0;
}

/* The oldest request in flight is done: its time by the GPU's clock, from the one done before it,
 * because an event's float of milliseconds is exact only over short spans. */
static int complete(struct work *w, struct dv_err *err)
{
    const struct dv_cuda_driver *cuda = &w->load.cuda;
    const struct request *request = &w->ring[w->completed % (IN_FLIGHT + 1)];
    float ms = 0;
    int r = dv_cuda_check(cuda, cuda->event_elapsed(&ms, w->reference, request->event),
                          "cuEventElapsedTime", err);
    if (r)
        return r;
    w->reference_ns += (double)ms * 1e6;
    w->reference = request->event;
    double latency = w->reference_ns - (double)request->arrival_ns;
    struct sample sample = {request->arrival_ns, latency > 0 ? (uint64_t)latency : 0};
    return add_sample(w, sample, err);
}

static int reap(struct work *w, bool wait, struct dv_err *err)
{
    const struct dv_cuda_driver *cuda = &w->load.cuda;
    while (w->completed < w->launched) {
        struct dv_cuda_event *event = w->ring[w->completed % (IN_FLIGHT + 1)].event;
        int r = wait ? cuda->event_synchronize(event) : cuda->event_query(event);
        if (r == DV_CUDA_ERROR_NOT_READY)
            return 0;
        r = dv_cuda_check(cuda, r, "cuEventQuery", err);
        if (!r)
            r = complete(w, err);
        if (r)
            return r;
        wait = false;
    }
    return 0;
}

static int launch(struct work *w, struct dv_err *err)
{
    struct request *request = &w->ring[w->launched % (IN_FLIGHT + 1)];
    request->arrival_ns = (uint64_t)w->arrival_ns;
    int r = dv_load_launch(&w->load, w->stream, w->iterations, err);
    if (!r)
        r = dv_cuda_check(&w->load.cuda, w->load.cuda.event_record(request->event, w->stream),
                          "cuEventRecord", err);
    w->launched += !r;
    return r;
}

static void draw_next(struct work *w)
{
    w->arrival_ns += dv_rng_exponential(&w->rng, 1e12 / (double)w->v->rps);
}

/* Open loop: a request is counted from when it arrived, also when the queue was full then. What
 * has arrived and not been launched when the time is up was offered and not served. */
static int serve(struct work *w, struct dv_err *err)
{
    int r = start(w, err);
    draw_next(w);
    while (!r && !dv_load_stopped() && w->arrival_ns < (double)w->v->seconds) {
        uint64_t now = dv_load_now();
        if (now >= w->start_ns + w->v->seconds)
            break;
        if (w->launched - w->completed == IN_FLIGHT) {
            r = reap(w, true, err);
            continue;
        }
        uint64_t due = w->start_ns + (uint64_t)w->arrival_ns;
        if (now < due) {
            r = reap(w, false, err);
            dv_load_sleep_until(due);
            continue;
        }
        w->offered++;
        r = launch(w, err);
        draw_next(w);
    }
    while (!r && w->completed < w->launched)
        r = reap(w, true, err);
    for (; !r && !dv_load_stopped() && w->arrival_ns < (double)w->v->seconds; draw_next(w))
        w->offered++;
    return r;
}

static int compare(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Others prepare as well: who starts the load starts all of them at once. */
static void wait_at_the_gate(void)
{
    char word[64];
    fputs("ready\n", stderr);
    while (!dv_load_stopped()) {
        struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
        if (poll(&p, 1, -1) < 0)
            continue; /* a signal: the flag tells */
        if (read(STDIN_FILENO, word, sizeof word) <= 0)
            return;
    }
}

static void add_ms(struct dv_output_node *root, const char *key, uint64_t ns)
{
    dv_output_decimal(root, key, (int64_t)ns, 6);
}

static const struct dv_table_column columns[] = {
    {"OFFERED", "offered", .right = true},
    {"SERVED", "served", .right = true},
    {"P50", "p50_ms", .right = true, .suffix = " ms"},
    {"P99", "p99_ms", .right = true, .suffix = " ms"},
    {"WAIT P99", "wait_p99_ms", .right = true, .suffix = " ms"},
};
static const struct dv_table view = {"", columns, DV_ARRAY_SIZE(columns)};

static void list_samples(struct dv_output_node *root, const struct work *w)
{
    dv_output_uint(root, "steps", w->steps);
    dv_output_uint(root, "sms", w->sms);
    struct dv_output_node *arrivals = dv_output_array(root, "arrivals_ms");
    struct dv_output_node *latencies = dv_output_array(root, "latencies_ms");
    for (uint64_t i = 0; i < w->completed; i++) {
        add_ms(arrivals, NULL, w->samples[i].arrival_ns);
        add_ms(latencies, NULL, w->samples[i].latency_ns);
    }
}

static int report(const struct dv_ui *ui, struct work *w)
{
    size_t n = w->completed;
    uint64_t *sorted = calloc(n + 1, sizeof *sorted);
    if (!sorted)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    for (size_t i = 0; i < n; i++)
        sorted[i] = w->samples[i].latency_ns;
    qsort(sorted, n, sizeof *sorted, compare);
    uint64_t p50 = dv_load_percentile(sorted, n, 500), p99 = dv_load_percentile(sorted, n, 990);
    uint64_t service = w->v->steps ? (uint64_t)w->v->service_us * 1000
                                   : (uint64_t)((double)w->iterations * w->load.ns_per_iteration);
    free(sorted);
    dv_cleanup(dv_output_free) struct dv_output *o = dv_output_new(NULL);
    struct dv_output_node *root = dv_output_root(o);
    dv_output_uint(root, "offered", w->offered);
    dv_output_uint(root, "served", n);
    add_ms(root, "p50_ms", p50);
    add_ms(root, "p99_ms", p99);
    add_ms(root, "wait_p99_ms", p99 > service ? p99 - service : 0);
    if (w->v->latencies)
        list_samples(root, w);
    return dv_ui_answer(ui, o, &view, NULL, DV_UI_OK);
}

static int run(const struct dv_ui *ui)
{
    struct dv_err err = {{0}};
    struct work w = {.v = ui->values};
    w.rng.state = (uint64_t)w.v->seed;
    double expected = (double)w.v->rps / 1000 * ((double)w.v->seconds / 1e9);
    int max = w.v->latencies ? LISTED_MAX : SAMPLES_MAX;
    if (expected > max)
        return dv_ui_fail(ui, DV_UI_USAGE,
                          "--rps times --seconds is %.0f requests; the limit is %d", expected, max);
    dv_load_catch_signals();
    int r = dv_load_open(&w.load, w.v->gpu, &err);
    if (!r)
        r = prepare(&w, &err);
    if (!r && w.v->gate)
        wait_at_the_gate();
    if (!r)
        r = serve(&w, &err);
    int exit = r ? dv_load_fail(ui, r, &err) : report(ui, &w);
    if (w.load.retained)
        release(&w);
    free(w.samples);
    return exit;
}

static const struct dv_ui_example examples[] = {
    {"200 requests a second of 2 ms each, for a minute",
     "divvy-load infer --rps 200 --service-us 2000 --seconds 60"},
};

const struct dv_ui_verb dv_load_verb_infer = {
    .name = "infer",
    .summary = "serve requests that arrive at random, and measure how long they take",
    .details = "Arrivals are Poisson and do not wait for answers (open loop): a request's time "
               "counts from its arrival, whatever stood before it. One stream, in order. The "
               "wait is that time without the request's own GPU time.\n\n"
               "What a step takes is measured before the start, on the device as it is then. For "
               "the same work on a part of a GPU, take steps and sms from the answer of "
               "--latencies on the whole: --service-us is then the time that it took there.",
    .options = options,
    .n_options = DV_ARRAY_SIZE(options),
    .values_size = sizeof(struct values),
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .prints = true,
    .run = run,
};
