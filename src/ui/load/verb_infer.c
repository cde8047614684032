/* SPDX-License-Identifier: Apache-2.0 */
/* divvy-load infer: requests that arrive at random times, and how long they took. */
#include "base/rng.h"
#include "load/load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLES_MAX 10000000
#define IN_FLIGHT 64

struct values {
    int64_t gpu, service_us, seed;
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
    {"gpu", 'g', "N", "which GPU, as CUDA counts those that it sees", DV_OPTION_INTEGER,
     offsetof(struct values, gpu), .min = 0, .max = 63, .otherwise = "0"},
};

struct request {
    uint64_t arrival_ns; /* after the start, as drawn; not when this process got to it */
    struct dv_cuda_event *event;
};

struct work {
    struct dv_load load;
    const struct values *v;
    struct dv_rng rng;
    struct dv_cuda_stream *stream;
    struct dv_cuda_event *start_event;
    uint64_t iterations;
    uint64_t start_ns;
    struct request ring[IN_FLIGHT + 1]; /* one more: the last completed, the next one's reference */
    uint64_t launched, completed;
    double reference_ns; /* when the last completed request was done, after the start */
    struct dv_cuda_event *reference;
    double arrival_ns; /* of the next request */
    uint64_t offered;
    uint64_t *latencies;
    size_t cap;
};

static int prepare(struct work *w, struct dv_err *err)
{
    int r = dv_load_calibrate(&w->load, err);
    if (r)
        return r;
    w->iterations = dv_load_iterations(&w->load, w->v->service_us);
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

static int add_sample(struct work *w, uint64_t latency_ns, struct dv_err *err)
{
    if (w->completed == w->cap) {
        size_t cap = w->cap ? w->cap * 2 : 1024;
        uint64_t *latencies = reallocarray(w->latencies, cap, sizeof *latencies);
        if (!latencies)
            return dv_err_set(err, -ENOMEM, "out of memory");
        w->latencies = latencies;
        w->cap = cap;
    }
    w->latencies[w->completed++] = latency_ns;
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
    return add_sample(w, latency > 0 ? (uint64_t)latency : 0, err);
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

static int report(const struct dv_ui *ui, struct work *w)
{
    size_t n = w->completed;
    if (n)
        qsort(w->latencies, n, sizeof *w->latencies, compare);
    uint64_t p99 = dv_load_percentile(w->latencies, n, 990);
    uint64_t service = (uint64_t)((double)w->iterations * w->load.ns_per_iteration);
    dv_cleanup(dv_output_free) struct dv_output *o = dv_output_new(NULL);
    struct dv_output_node *root = dv_output_root(o);
    dv_output_uint(root, "offered", w->offered);
    dv_output_uint(root, "served", n);
    add_ms(root, "p50_ms", dv_load_percentile(w->latencies, n, 500));
    add_ms(root, "p99_ms", p99);
    add_ms(root, "wait_p99_ms", p99 > service ? p99 - service : 0);
    return dv_ui_answer(ui, o, &view, NULL, DV_UI_OK);
}

static int run(const struct dv_ui *ui)
{
    struct dv_err err = {{0}};
    struct work w = {.v = ui->values};
    w.rng.state = (uint64_t)w.v->seed;
    double expected = (double)w.v->rps / 1000 * ((double)w.v->seconds / 1e9);
    if (expected > SAMPLES_MAX)
        return dv_ui_fail(ui, DV_UI_USAGE,
                          "--rps times --seconds is %.0f requests; the limit is %d", expected,
                          SAMPLES_MAX);
    dv_load_catch_signals();
    int r = dv_load_open(&w.load, w.v->gpu, &err);
    if (!r)
        r = prepare(&w, &err);
    if (!r)
        r = serve(&w, &err);
    int exit = r ? dv_load_fail(ui, r, &err) : report(ui, &w);
    if (w.load.retained)
        release(&w);
    free(w.latencies);
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
               "wait is that time without the request's own GPU time.",
    .options = options,
    .n_options = DV_ARRAY_SIZE(options),
    .values_size = sizeof(struct values),
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .prints = true,
    .run = run,
};
