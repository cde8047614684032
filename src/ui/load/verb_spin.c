/* SPDX-License-Identifier: Apache-2.0 */
/* divvy-load spin: kernels of one length, back to back. */
#include "load/load.h"

#include <stdlib.h>

#define STREAMS_MAX 64
#define GRAPH_MAX 4096
/* Queued ahead per stream: enough that the GPU never waits for this process, little enough that
 * the end comes soon after the time is up. */
#define AHEAD_US 4000
#define AHEAD_MAX 256
#define BATCH_US 50              /* short kernels share an event: so many microseconds of them */
#define RING_MAX (AHEAD_MAX + 1) /* and the last one done, from which a gap is measured */

struct values {
    int64_t gpu, kernel_us, streams, graph;
    uint64_t seconds, memory;
    bool sync_each, report_gaps;
};

static const struct dv_option options[] = {
    {"kernel-us", 'k', "N", "length of a kernel in microseconds, alone on the device",
     DV_OPTION_INTEGER, offsetof(struct values, kernel_us), .min = 1, .max = 60000000,
     .otherwise = "500"},
    {"seconds", 's', "S", "how long", DV_OPTION_DURATION, offsetof(struct values, seconds),
     .min = 1000000, .max = INT64_C(31536000000000000), .otherwise = "10s"},
    {"streams", 0, "N", "spread the kernels over N streams", DV_OPTION_INTEGER,
     offsetof(struct values, streams), .min = 1, .max = STREAMS_MAX, .otherwise = "1"},
    {"sync-each", 0, NULL, "wait for each kernel before the next", DV_OPTION_FLAG,
     offsetof(struct values, sync_each)},
    {"graph", 0, "N", "launch graphs of N kernels each; 0: single kernels", DV_OPTION_INTEGER,
     offsetof(struct values, graph), .min = 0, .max = GRAPH_MAX, .otherwise = "0"},
    {"report-gaps", 0, NULL, "also say the longest time between two kernels of a stream",
     DV_OPTION_FLAG, offsetof(struct values, report_gaps)},
    {"memory", 'm', "SIZE", "device memory to hold meanwhile", DV_OPTION_BYTES,
     offsetof(struct values, memory)},
    {"gpu", 'g', "N", "which GPU, as CUDA counts those that it sees", DV_OPTION_INTEGER,
     offsetof(struct values, gpu), .min = 0, .max = 63, .otherwise = "0"},
};

/* One stream and the events of what is queued on it, a ring. */
struct lane {
    struct dv_cuda_stream *stream;
    struct dv_cuda_event *events[RING_MAX];
    uint64_t queued; /* ever */
};

struct work {
    struct dv_load load;
    const struct values *v;
    struct lane *lanes;
    struct dv_cuda_graph *graph;
    struct dv_cuda_graph_exec *exec;
    uint64_t iterations;
    uint64_t memory;   /* address; 0: none */
    unsigned batch;    /* kernels, or graphs, per event */
    unsigned ahead;    /* batches queued on a stream at most */
    unsigned ring;     /* events of a stream, ahead + 1 */
    double longest_ms; /* from the end of one kernel or graph to the end of the next */
    uint64_t kernels;
};

static int make_graph(struct work *w, struct dv_err *err)
{
    const struct dv_cuda_driver *cuda = &w->load.cuda;
    if (!dv_cuda_has(cuda->graph_create && cuda->graph_add_kernel && cuda->graph_instantiate &&
                         cuda->graph_launch,
                     "graph calls", err))
        return DV_CUDA_ERROR_NOT_SUPPORTED;
    int r = dv_cuda_check(cuda, cuda->graph_create(&w->graph, 0), "cuGraphCreate", err);
    void *params[] = {&w->iterations};
    struct dv_cuda_kernel_node_params node = {
        .function = w->load.spin,
        .grid = {dv_load_blocks(&w->load), 1, 1},
        .block = {DV_LOAD_THREADS, 1, 1},
        .params = params,
    };
    struct dv_cuda_graph_node *last = NULL;
    for (int64_t i = 0; i < w->v->graph && !r; i++) {
        struct dv_cuda_graph_node *next = NULL;
        r = dv_cuda_check(
            cuda, cuda->graph_add_kernel(&next, w->graph, last ? &last : NULL, last ? 1 : 0, &node),
            "cuGraphAddKernelNode", err);
        last = next;
    }
    if (!r)
        r = dv_cuda_check(cuda, cuda->graph_instantiate(&w->exec, w->graph, 0),
                          "cuGraphInstantiateWithFlags", err);
    return r;
}

static int prepare(struct work *w, struct dv_err *err)
{
    const struct dv_cuda_driver *cuda = &w->load.cuda;
    int r = w->v->memory
                ? dv_cuda_check(cuda, cuda->mem_alloc(&w->memory, w->v->memory), "cuMemAlloc", err)
                : 0;
    if (!r)
        r = dv_load_calibrate(&w->load, err);
    if (r)
        return r;
    w->iterations = dv_load_iterations(&w->load, w->v->kernel_us);
    int64_t unit_us = w->v->kernel_us * DV_MAX(w->v->graph, 1);
    w->batch = w->v->sync_each ? 1 : (unsigned)DV_MAX(BATCH_US / unit_us, 1);
    unit_us *= w->batch;
    int64_t ahead = AHEAD_US / unit_us;
    w->ahead = (unsigned)DV_MIN(DV_MAX(ahead, 2), AHEAD_MAX);
    w->ring = w->ahead + 1;
    for (int64_t i = 0; i < w->v->streams && !r; i++) {
        r = dv_load_stream_new(&w->load, &w->lanes[i].stream, err);
        for (unsigned k = 0; k < w->ring && !r; k++)
            r = dv_load_event_new(&w->load, w->v->report_gaps, &w->lanes[i].events[k], err);
    }
    if (!r && w->v->graph)
        r = make_graph(w, err);
    return r;
}

static void release(struct work *w)
{
    const struct dv_cuda_driver *cuda = &w->load.cuda;
    for (int64_t i = 0; w->load.retained && i < w->v->streams; i++) {
        for (unsigned k = 0; k < w->ring && w->lanes[i].events[k]; k++)
            cuda->event_destroy(w->lanes[i].events[k]);
        if (w->lanes[i].stream)
            cuda->stream_destroy(w->lanes[i].stream);
    }
    if (w->exec)
        cuda->graph_exec_destroy(w->exec);
    if (w->graph)
        cuda->graph_destroy(w->graph);
    if (w->memory)
        cuda->mem_free(w->memory);
    dv_load_close(&w->load);
    free(w->lanes);
}

/* Number n of this stream and the one before it are done: the time between their ends. */
static int look_at_gap(struct work *w, const struct lane *lane, uint64_t n, struct dv_err *err)
{
    float ms = 0;
    if (!w->v->report_gaps || !n)
        return 0;
    int r =
        w->load.cuda.event_elapsed(&ms, lane->events[(n - 1) % w->ring], lane->events[n % w->ring]);
    w->longest_ms = DV_MAX(w->longest_ms, (double)ms);
    return dv_cuda_check(&w->load.cuda, r, "cuEventElapsedTime", err);
}

/* Waits until there is room for one more on this stream. */
static int make_room(struct work *w, const struct lane *lane, struct dv_err *err)
{
    if (lane->queued < w->ahead)
        return 0;
    uint64_t oldest = lane->queued - w->ahead;
    int r =
        dv_cuda_check(&w->load.cuda, w->load.cuda.event_synchronize(lane->events[oldest % w->ring]),
                      "cuEventSynchronize", err);
    return r ? r : look_at_gap(w, lane, oldest, err);
}

/* Queues one batch; waits first when enough is queued on this stream. */
static int submit(struct work *w, struct lane *lane, struct dv_err *err)
{
    const struct dv_cuda_driver *cuda = &w->load.cuda;
    int r = make_room(w, lane, err);
    for (unsigned i = 0; i < w->batch && !r; i++)
        r = w->exec ? dv_cuda_check(cuda, cuda->graph_launch(w->exec, lane->stream),
                                    "cuGraphLaunch", err)
                    : dv_load_launch(&w->load, lane->stream, w->iterations, err);
    if (!r)
        r = dv_cuda_check(cuda,
                          cuda->event_record(lane->events[lane->queued % w->ring], lane->stream),
                          "cuEventRecord", err);
    if (!r && w->v->sync_each)
        r = dv_cuda_check(cuda, cuda->stream_synchronize(lane->stream), "cuStreamSynchronize", err);
    if (r)
        return r;
    lane->queued++;
    w->kernels += (uint64_t)DV_MAX(w->v->graph, 1) * w->batch;
    return 0;
}

/* All is done: the gaps among what was still queued. */
static int look_at_rest(struct work *w, struct dv_err *err)
{
    int r = 0;
    for (int64_t i = 0; i < w->v->streams; i++) {
        const struct lane *lane = &w->lanes[i];
        uint64_t first = lane->queued > w->ahead ? lane->queued - w->ahead : 0;
        for (uint64_t n = first; n < lane->queued && !r; n++)
            r = look_at_gap(w, lane, n, err);
    }
    return r;
}

static int spin(struct work *w, uint64_t *ret_elapsed_ns, struct dv_err *err)
{
    uint64_t start = dv_load_now();
    uint64_t until = start + w->v->seconds;
    int64_t next = 0;
    int r = 0;
    while (!r && !dv_load_stopped() && dv_load_now() < until) {
        r = submit(w, &w->lanes[next], err);
        next = (next + 1) % w->v->streams;
    }
    if (!r)
        r = dv_cuda_check(&w->load.cuda, w->load.cuda.ctx_synchronize(), "cuCtxSynchronize", err);
    if (!r)
        *ret_elapsed_ns = dv_load_now() - start;
    return r ? r : look_at_rest(w, err);
}

static const struct dv_table_column columns[] = {
    {"KERNELS", "kernels", .right = true},
    {"BUSY", "busy_seconds", DV_VALUE_SECONDS, .right = true},
    {"ELAPSED", "elapsed_seconds", DV_VALUE_SECONDS, .right = true},
    {"SHARE", "busy_permille", DV_VALUE_PERMILLE, .right = true},
    {"LONGEST GAP", "longest_gap_seconds", DV_VALUE_SECONDS, .right = true},
};
static const struct dv_table view = {"", columns, DV_ARRAY_SIZE(columns)};

/* The longest time without a kernel of a stream running, beside what one takes. */
static void add_gap(struct dv_output_node *root, const struct work *w)
{
    double own_ms =
        (double)w->iterations * w->load.ns_per_iteration * (double)DV_MAX(w->v->graph, 1) / 1e6;
    double gap_ms = DV_MAX(w->longest_ms - own_ms, 0);
    dv_output_seconds(root, "longest_gap_seconds", (uint64_t)(gap_ms * 1e6));
}

static int report(const struct dv_ui *ui, const struct work *w, uint64_t elapsed_ns)
{
    double busy = (double)w->kernels * (double)w->iterations * w->load.ns_per_iteration;
    uint64_t busy_ns = (uint64_t)(busy + 0.5);
    dv_cleanup(dv_output_free) struct dv_output *o = dv_output_new(NULL);
    struct dv_output_node *root = dv_output_root(o);
    dv_output_uint(root, "kernels", w->kernels);
    dv_output_seconds(root, "busy_seconds", busy_ns);
    dv_output_seconds(root, "elapsed_seconds", elapsed_ns);
    if (w->v->report_gaps)
        add_gap(root, w);
    if (!dv_ui_is(ui, "json"))
        dv_output_uint(root, "busy_permille",
                       elapsed_ns ? (uint64_t)(busy * 1000 / (double)elapsed_ns + 0.5) : 0);
    return dv_ui_answer(ui, o, &view, NULL, DV_UI_OK);
}

static int run(const struct dv_ui *ui)
{
    struct dv_err err = {{0}};
    struct work w = {.v = ui->values};
    w.lanes = calloc((size_t)w.v->streams, sizeof *w.lanes);
    if (!w.lanes)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    dv_load_catch_signals();
    uint64_t elapsed_ns = 0;
    int r = dv_load_open(&w.load, w.v->gpu, &err);
    if (!r)
        r = prepare(&w, &err);
    if (!r)
        r = spin(&w, &elapsed_ns, &err);
    int exit = r ? dv_load_fail(ui, r, &err) : report(ui, &w, elapsed_ns);
    release(&w);
    return exit;
}

static const struct dv_ui_example examples[] = {
    {"keep a GPU busy for a minute with kernels of half a millisecond",
     "divvy-load spin --kernel-us 500 --seconds 60"},
    {"what half a GPU does, for a script",
     "divvy run --compute 50% -- divvy-load spin --seconds 10 -o json"},
};

const struct dv_ui_verb dv_load_verb_spin = {
    .name = "spin",
    .summary = "run kernels of one length, back to back",
    .details = "busy_seconds is the GPU time of the kernels: their number times what one takes "
               "alone on the device, which is measured by events at the start. Time in which "
               "others had the GPU is therefore not in it, and busy over elapsed is the share.",
    .options = options,
    .n_options = DV_ARRAY_SIZE(options),
    .values_size = sizeof(struct values),
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .prints = true,
    .run = run,
};
