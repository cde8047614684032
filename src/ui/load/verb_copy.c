/* SPDX-License-Identifier: Apache-2.0 */
/* divvy-load copy: copies of one size, back to back. */
#include "load/load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define AHEAD 4

struct values {
    int64_t gpu;
    uint64_t bytes, seconds;
    const char *direction;
};

static const struct dv_option options[] = {
    {"bytes", 'b', "SIZE", "size of a copy", DV_OPTION_BYTES, offsetof(struct values, bytes),
     .otherwise = "64MiB"},
    {"seconds", 's', "S", "how long", DV_OPTION_DURATION, offsetof(struct values, seconds),
     .min = 1000000, .max = INT64_C(31536000000000000), .otherwise = "10s"},
    {"direction", 'd', "WAY",
     "host to device, device to host, within the device, or there by a kernel", DV_OPTION_CHOICE,
     offsetof(struct values, direction), .choices = "h2d|d2h|d2d|kernel", .otherwise = "h2d"},
    {"gpu", 'g', "N", "which GPU, as CUDA counts those that it sees", DV_OPTION_INTEGER,
     offsetof(struct values, gpu), .min = 0, .max = 63, .otherwise = "0"},
};

struct work {
    struct dv_load load;
    const struct values *v;
    struct dv_cuda_stream *stream;
    struct dv_cuda_event *events[AHEAD];
    uint64_t device[2];
    void *host;
    uint64_t copies;
    uint64_t rounded; /* bytes of a copy by the kernel: whole steps of 16 */
};

static bool is(const struct work *w, const char *direction)
{
    return !strcmp(w->v->direction, direction);
}

static int prepare(struct work *w, struct dv_err *err)
{
    const struct dv_cuda_driver *cuda = &w->load.cuda;
    bool inside = is(w, "d2d") || is(w, "kernel");
    if (!dv_cuda_has(cuda->host_alloc && cuda->copy_h2d && cuda->copy_d2h && cuda->copy_d2d,
                     "asynchronous copies", err))
        return DV_CUDA_ERROR_NOT_SUPPORTED;
    int r = dv_load_stream_new(&w->load, &w->stream, err);
    for (int i = 0; i < AHEAD && !r; i++)
        r = dv_load_event_new(&w->load, false, &w->events[i], err);
    for (int i = 0; i < 1 + inside && !r; i++)
        r = dv_cuda_check(cuda, cuda->mem_alloc(&w->device[i], w->rounded), "cuMemAlloc", err);
    if (!r && !inside)
        r = dv_cuda_check(cuda, cuda->host_alloc(&w->host, w->v->bytes), "cuMemAllocHost", err);
    return r;
}

static void release(struct work *w)
{
    const struct dv_cuda_driver *cuda = &w->load.cuda;
    for (int i = 0; i < AHEAD && w->events[i]; i++)
        cuda->event_destroy(w->events[i]);
    for (int i = 0; i < 2; i++)
        if (w->device[i])
            cuda->mem_free(w->device[i]);
    if (w->host)
        cuda->host_free(w->host);
    if (w->stream)
        cuda->stream_destroy(w->stream);
    dv_load_close(&w->load);
}

static int submit(struct work *w, struct dv_err *err)
{
    const struct dv_cuda_driver *cuda = &w->load.cuda;
    uint64_t bytes = w->v->bytes;
    if (is(w, "h2d"))
        return dv_cuda_check(cuda, cuda->copy_h2d(w->device[0], w->host, bytes, w->stream),
                             "cuMemcpyHtoDAsync", err);
    if (is(w, "d2h"))
        return dv_cuda_check(cuda, cuda->copy_d2h(w->host, w->device[0], bytes, w->stream),
                             "cuMemcpyDtoHAsync", err);
    if (is(w, "d2d"))
        return dv_cuda_check(cuda, cuda->copy_d2d(w->device[1], w->device[0], bytes, w->stream),
                             "cuMemcpyDtoDAsync", err);
    void *params[] = {&w->device[1], &w->device[0], &w->rounded};
    return dv_cuda_check(cuda,
                         cuda->launch(w->load.copy, dv_load_blocks(&w->load), 1, 1, DV_LOAD_THREADS,
                                      1, 1, 0, w->stream, params, NULL),
                         "cuLaunchKernel", err);
}

static int copy(struct work *w, uint64_t *ret_elapsed_ns, struct dv_err *err)
{
    const struct dv_cuda_driver *cuda = &w->load.cuda;
    uint64_t start = dv_load_now();
    int r = 0;
    while (!r && !dv_load_stopped() && dv_load_now() < start + w->v->seconds) {
        struct dv_cuda_event *event = w->events[w->copies % AHEAD];
        if (w->copies >= AHEAD)
            r = dv_cuda_check(cuda, cuda->event_synchronize(event), "cuEventSynchronize", err);
        if (!r)
            r = submit(w, err);
        if (!r)
            r = dv_cuda_check(cuda, cuda->event_record(event, w->stream), "cuEventRecord", err);
        w->copies += !r;
    }
    if (!r)
        r = dv_cuda_check(cuda, cuda->stream_synchronize(w->stream), "cuStreamSynchronize", err);
    if (!r)
        *ret_elapsed_ns = dv_load_now() - start;
    return r;
}

static const struct dv_table_column columns[] = {
    {"COPIES", "copies", .right = true},
    {"BYTES", "bytes", DV_VALUE_BYTES, .right = true},
    {"ELAPSED", "elapsed_seconds", DV_VALUE_SECONDS, .right = true},
    {"RATE", "bytes_per_second", DV_VALUE_BYTES, .right = true, .suffix = "/s"},
};
static const struct dv_table view = {"", columns, DV_ARRAY_SIZE(columns)};

static int report(const struct dv_ui *ui, const struct work *w, uint64_t elapsed_ns)
{
    uint64_t bytes = w->copies * w->v->bytes;
    dv_cleanup(dv_output_free) struct dv_output *o = dv_output_new(NULL);
    struct dv_output_node *root = dv_output_root(o);
    dv_output_uint(root, "copies", w->copies);
    dv_output_bytes(root, "bytes", bytes);
    dv_output_seconds(root, "elapsed_seconds", elapsed_ns);
    double rate = elapsed_ns ? (double)bytes * 1e9 / (double)elapsed_ns : 0;
    dv_output_bytes(root, "bytes_per_second", (uint64_t)(rate + 0.5));
    return dv_ui_answer(ui, o, &view, NULL, DV_UI_OK);
}

static int run(const struct dv_ui *ui)
{
    struct dv_err err = {{0}};
    struct work w = {.v = ui->values};
    w.rounded = (w.v->bytes + 15) / 16 * 16;
    dv_load_catch_signals();
    uint64_t elapsed_ns = 0;
    int r = dv_load_open(&w.load, w.v->gpu, &err);
    if (!r)
        r = prepare(&w, &err);
    if (!r)
        r = copy(&w, &elapsed_ns, &err);
    int exit = r ? dv_load_fail(ui, r, &err) : report(ui, &w, elapsed_ns);
    if (w.load.retained)
        release(&w);
    return exit;
}

static const struct dv_ui_example examples[] = {
    {"how fast host memory reaches the GPU", "divvy-load copy --bytes 256MiB --direction h2d"},
};

const struct dv_ui_verb dv_load_verb_copy = {
    .name = "copy",
    .summary = "copy memory, back to back",
    .options = options,
    .n_options = DV_ARRAY_SIZE(options),
    .values_size = sizeof(struct values),
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .prints = true,
    .run = run,
};
