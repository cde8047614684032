/* SPDX-License-Identifier: Apache-2.0 */
/* divvy-load leak: works like a program that forgets to free memory: kernels, and every tenth of a
 * second a piece more. */
#include "load/load.h"

#include <stdlib.h>

#define STEP_NS UINT64_C(100000000)
#define STEPS_PER_SECOND 10u
#define SECONDS_MAX 86400u /* bounds the list of pieces */

struct values {
    int64_t gpu, kernel_us;
    uint64_t rate, first, seconds;
};

static const struct dv_option options[] = {
    {"rate", 'r', "SIZE", "how much more memory every second", DV_OPTION_BYTES,
     offsetof(struct values, rate), .otherwise = "64MiB"},
    {"first", 0, "SIZE", "take so much at the start", DV_OPTION_BYTES,
     offsetof(struct values, first)},
    {"seconds", 's', "S", "how long", DV_OPTION_DURATION, offsetof(struct values, seconds),
     .min = 1000000, .max = SECONDS_MAX * INT64_C(1000000000), .otherwise = "10s"},
    {"kernel-us", 'k', "N",
     "the work of every tenth of a second, in microseconds alone on the device", DV_OPTION_INTEGER,
     offsetof(struct values, kernel_us), .min = 1, .max = 100000, .otherwise = "40000"},
    {"gpu", 'g', "N", "which GPU, as CUDA counts those that it sees", DV_OPTION_INTEGER,
     offsetof(struct values, gpu), .min = 0, .max = 63, .otherwise = "0"},
};

struct work {
    struct dv_load load;
    const struct values *v;
    struct dv_cuda_stream *stream;
    uint64_t *pieces; /* addresses */
    size_t n;
    uint64_t bytes;
};

static int take(struct work *w, uint64_t bytes, struct dv_err *err)
{
    if (!bytes)
        return 0;
    int r = dv_cuda_check(&w->load.cuda, w->load.cuda.mem_alloc(&w->pieces[w->n], bytes),
                          "cuMemAlloc", err);
    if (r)
        return r;
    w->n++;
    w->bytes += bytes;
    return 0;
}

static int prepare(struct work *w, struct dv_err *err)
{
    int r = dv_load_stream_new(&w->load, &w->stream, err);
    if (!r)
        r = dv_load_calibrate(&w->load, err);
    return r ? r : take(w, w->v->first, err);
}

/* What is due by the clock, so that a slow step does not slow the leak. */
static int leak(struct work *w, struct dv_err *err)
{
    uint64_t iterations = dv_load_iterations(&w->load, w->v->kernel_us);
    uint64_t piece = w->v->rate / STEPS_PER_SECOND;
    uint64_t start = dv_load_now();
    uint64_t steps = w->v->seconds / STEP_NS;
    int r = 0;
    for (uint64_t i = 0; i < steps && !r && !dv_load_stopped(); i++) {
        r = take(w, piece, err);
        if (!r)
            r = dv_load_launch(&w->load, w->stream, iterations, err);
        if (!r)
            r = dv_cuda_check(&w->load.cuda, w->load.cuda.stream_synchronize(w->stream),
                              "cuStreamSynchronize", err);
        if (!r)
            dv_load_sleep_until(start + (i + 1) * STEP_NS);
    }
    return r;
}

static void release(struct work *w)
{
    while (w->n)
        w->load.cuda.mem_free(w->pieces[--w->n]);
    if (w->stream)
        w->load.cuda.stream_destroy(w->stream);
    dv_load_close(&w->load);
    free(w->pieces);
}

static const struct dv_table_column columns[] = {
    {"RESULT", "result"},
    {"HELD", "allocated_bytes", DV_VALUE_BYTES, .right = true},
};
static const struct dv_table view = {"", columns, DV_ARRAY_SIZE(columns)};

static int report(const struct dv_ui *ui, const struct work *w, bool full)
{
    dv_cleanup(dv_output_free) struct dv_output *o = dv_output_new(NULL);
    struct dv_output_node *root = dv_output_root(o);
    dv_output_string(root, "result", full ? "out_of_memory" : "ok");
    dv_output_bytes(root, "allocated_bytes", w->bytes);
    return dv_ui_answer(ui, o, &view, NULL, full ? DV_UI_FAILURE : DV_UI_OK);
}

static int run(const struct dv_ui *ui)
{
    struct dv_err err = {{0}};
    struct work w = {.v = ui->values};
    w.pieces = calloc(w.v->seconds / STEP_NS + 1, sizeof *w.pieces);
    if (!w.pieces)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    dv_load_catch_signals();
    int r = dv_load_open(&w.load, w.v->gpu, &err);
    if (!r)
        r = prepare(&w, &err);
    if (!r)
        r = leak(&w, &err);
    bool full = r == DV_CUDA_ERROR_OUT_OF_MEMORY;
    int exit = r && !full ? dv_load_fail(ui, r, &err) : report(ui, &w, full);
    release(&w);
    return exit;
}

static const struct dv_ui_example examples[] = {
    {"a tenant whose memory grows, for the alert DivvyTenantMemoryLeak",
     "divvy run --tenant leo --memory 8GiB -- divvy-load leak --rate 64MiB --seconds 120"},
};

const struct dv_ui_verb dv_load_verb_leak = {
    .name = "leak",
    .summary = "work, and hold more memory every second",
    .details =
        "A kernel and a piece of memory every tenth of a second; nothing is given back before "
        "the end. Ends with 1 when no more memory was given.",
    .options = options,
    .n_options = DV_ARRAY_SIZE(options),
    .values_size = sizeof(struct values),
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .prints = true,
    .run = run,
};
