/* SPDX-License-Identifier: Apache-2.0 */
/* divvy-load alloc: asks for memory by one of the driver's calls and says what it got. */
#include "load/load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PIECES_MAX 1048576

struct values {
    int64_t gpu;
    uint64_t bytes, chunk, hold;
    const char *api;
};

static const struct dv_option options[] = {
    {"bytes", 'b', "SIZE", "how much in all; needed", DV_OPTION_BYTES,
     offsetof(struct values, bytes)},
    {"api", 'a', "CALL", "by which call", DV_OPTION_CHOICE, offsetof(struct values, api),
     .choices = "cuMemAlloc|cuMemAllocPitch|cuMemAllocManaged|cuMemAllocAsync|"
                "cuMemAllocFromPoolAsync|cuMemCreate|cuArrayCreate|cuArray3DCreate",
     .otherwise = "cuMemAlloc"},
    {"chunk", 0, "SIZE", "in pieces of this size (default: one piece)", DV_OPTION_BYTES,
     offsetof(struct values, chunk)},
    {"hold", 0, "S", "keep it for so long after the answer is printed", DV_OPTION_DURATION,
     offsetof(struct values, hold), .otherwise = "0"},
    {"gpu", 'g', "N", "which GPU, as CUDA counts those that it sees", DV_OPTION_INTEGER,
     offsetof(struct values, gpu), .min = 0, .max = 63, .otherwise = "0"},
};

/* What a call gave: an address, a handle or an array. */
union piece {
    uint64_t number;
    struct dv_cuda_array *array;
};

struct work {
    struct dv_load load;
    const struct values *v;
    const struct method *method;
    struct dv_cuda_stream *stream;
    struct dv_cuda_pool *pool;
    union piece *pieces;
    size_t n;
    uint64_t bytes;
};

struct method {
    const char *api;
    /* CUresult */
    int (*take)(struct work *w, uint64_t bytes, union piece *ret);
    void (*give)(struct work *w, union piece piece);
};

/* ---- the calls ------------------------------------------------------------------------------ */

static int take_plain(struct work *w, uint64_t bytes, union piece *ret)
{
    return w->load.cuda.mem_alloc(&ret->number, bytes);
}

static void give_plain(struct work *w, union piece piece)
{
    w->load.cuda.mem_free(piece.number);
}

static int take_pitch(struct work *w, uint64_t bytes, union piece *ret)
{
    struct dv_load_shape s;
    size_t pitch = 0;
    if (!w->load.cuda.mem_alloc_pitch || !dv_load_shape_pitch(bytes, &s))
        return DV_CUDA_ERROR_NOT_SUPPORTED;
    return w->load.cuda.mem_alloc_pitch(&ret->number, &pitch, s.width, s.height, DV_LOAD_ELEMENT);
}

static int take_managed(struct work *w, uint64_t bytes, union piece *ret)
{
    if (!w->load.cuda.mem_alloc_managed)
        return DV_CUDA_ERROR_NOT_SUPPORTED;
    return w->load.cuda.mem_alloc_managed(&ret->number, bytes, DV_CUDA_MEM_ATTACH_GLOBAL);
}

static int take_async(struct work *w, uint64_t bytes, union piece *ret)
{
    if (!w->load.cuda.mem_alloc_async)
        return DV_CUDA_ERROR_NOT_SUPPORTED;
    int r = w->load.cuda.mem_alloc_async(&ret->number, bytes, w->stream);
    return r ? r : w->load.cuda.stream_synchronize(w->stream);
}

static void give_async(struct work *w, union piece piece)
{
    w->load.cuda.mem_free_async(piece.number, w->stream);
}

static int take_pool(struct work *w, uint64_t bytes, union piece *ret)
{
    const struct dv_cuda_driver *cuda = &w->load.cuda;
    struct dv_cuda_pool_props props = {
        .allocation_type = DV_CUDA_ALLOCATION_PINNED,
        .location = {DV_CUDA_LOCATION_DEVICE, w->load.device},
    };
    if (!cuda->pool_create || !cuda->pool_alloc_async)
        return DV_CUDA_ERROR_NOT_SUPPORTED;
    int r = w->pool ? 0 : cuda->pool_create(&w->pool, &props);
    if (!r)
        r = cuda->pool_alloc_async(&ret->number, bytes, w->pool, w->stream);
    return r ? r : cuda->stream_synchronize(w->stream);
}

static int take_vmm(struct work *w, uint64_t bytes, union piece *ret)
{
    const struct dv_cuda_driver *cuda = &w->load.cuda;
    struct dv_cuda_allocation_prop prop = {
        .type = DV_CUDA_ALLOCATION_PINNED,
        .location = {DV_CUDA_LOCATION_DEVICE, w->load.device},
    };
    size_t granularity = 0;
    if (!cuda->mem_create || !cuda->mem_granularity)
        return DV_CUDA_ERROR_NOT_SUPPORTED;
    int r = cuda->mem_granularity(&granularity, &prop, 0);
    if (r)
        return r;
    granularity = DV_MAX(granularity, 1);
    uint64_t whole = (bytes + granularity - 1) / granularity * granularity;
    return cuda->mem_create(&ret->number, whole, &prop, 0);
}

static void give_vmm(struct work *w, union piece piece)
{
    w->load.cuda.mem_release(piece.number);
}

static int take_array(struct work *w, uint64_t bytes, union piece *ret)
{
    struct dv_load_shape s;
    if (!w->load.cuda.array_create)
        return DV_CUDA_ERROR_NOT_SUPPORTED;
    if (!dv_load_shape_2d(bytes, &s))
        return DV_CUDA_ERROR_INVALID_VALUE;
    struct dv_cuda_array_descriptor descriptor = {s.width, s.height, DV_CUDA_FORMAT_FLOAT, 4};
    return w->load.cuda.array_create(&ret->array, &descriptor);
}

static int take_array_3d(struct work *w, uint64_t bytes, union piece *ret)
{
    struct dv_load_shape s;
    if (!w->load.cuda.array_3d_create)
        return DV_CUDA_ERROR_NOT_SUPPORTED;
    if (!dv_load_shape_3d(bytes, &s))
        return DV_CUDA_ERROR_INVALID_VALUE;
    struct dv_cuda_array_3d_descriptor descriptor = {
        s.width, s.height, s.depth, DV_CUDA_FORMAT_FLOAT, 4, 0,
    };
    return w->load.cuda.array_3d_create(&ret->array, &descriptor);
}

static void give_array(struct work *w, union piece piece)
{
    w->load.cuda.array_destroy(piece.array);
}

static const struct method methods[] = {
    {"cuMemAlloc", take_plain, give_plain},
    {"cuMemAllocPitch", take_pitch, give_plain},
    {"cuMemAllocManaged", take_managed, give_plain},
    {"cuMemAllocAsync", take_async, give_async},
    {"cuMemAllocFromPoolAsync", take_pool, give_async},
    {"cuMemCreate", take_vmm, give_vmm},
    {"cuArrayCreate", take_array, give_array},
    {"cuArray3DCreate", take_array_3d, give_array},
};

/* ---- the work ------------------------------------------------------------------------------- */

static int take_all(struct work *w, struct dv_err *err)
{
    uint64_t left = w->v->bytes;
    uint64_t chunk = w->v->chunk ? w->v->chunk : left;
    while (left && !dv_load_stopped()) {
        uint64_t bytes = DV_MIN(left, chunk);
        int r = w->method->take(w, bytes, &w->pieces[w->n]);
        if (r)
            return dv_cuda_check(&w->load.cuda, r, w->v->api, err);
        w->n++;
        w->bytes += bytes;
        left -= bytes;
    }
    return 0;
}

static void release(struct work *w)
{
    while (w->n)
        w->method->give(w, w->pieces[--w->n]);
    if (w->stream) {
        w->load.cuda.stream_synchronize(w->stream);
        w->load.cuda.stream_destroy(w->stream);
    }
    if (w->pool)
        w->load.cuda.pool_destroy(w->pool);
    dv_load_close(&w->load);
    free(w->pieces);
}

static const struct dv_table_column columns[] = {
    {"RESULT", "result"},
    {"API", "api"},
    {"ASKED", "bytes", DV_VALUE_BYTES, .right = true},
    {"GOT", "allocated_bytes", DV_VALUE_BYTES, .right = true},
    {"CUDA ERROR", "cuda_error", .right = true},
};
static const struct dv_table view = {"", columns, DV_ARRAY_SIZE(columns)};

static int report(const struct dv_ui *ui, const struct work *w, int cuda_error)
{
    const char *result = !cuda_error                                 ? "ok"
                         : cuda_error == DV_CUDA_ERROR_OUT_OF_MEMORY ? "out_of_memory"
                                                                     : "error";
    dv_cleanup(dv_output_free) struct dv_output *o = dv_output_new(NULL);
    struct dv_output_node *root = dv_output_root(o);
    dv_output_string(root, "result", result);
    if (cuda_error)
        dv_output_int(root, "cuda_error", cuda_error);
    if (!dv_ui_is(ui, "json")) { /* the JSON is what acceptance tests compare: no more than that */
        dv_output_string(root, "api", w->v->api);
        dv_output_bytes(root, "bytes", w->v->bytes);
        dv_output_bytes(root, "allocated_bytes", w->bytes);
    }
    return dv_ui_answer(ui, o, &view, NULL, cuda_error ? DV_UI_FAILURE : DV_UI_OK);
}

static int run(const struct dv_ui *ui)
{
    struct dv_err err = {{0}};
    struct work w = {.v = ui->values};
    if (!w.v->bytes)
        return dv_ui_fail(ui, DV_UI_USAGE, "--bytes SIZE is missing");
    uint64_t pieces = w.v->chunk ? w.v->bytes / w.v->chunk + 1 : 1;
    if (pieces > PIECES_MAX)
        return dv_ui_fail(ui, DV_UI_USAGE, "--chunk is too small: more than %d pieces", PIECES_MAX);
    for (size_t i = 0; i < DV_ARRAY_SIZE(methods); i++)
        if (!strcmp(methods[i].api, w.v->api))
            w.method = &methods[i];
    w.pieces = calloc(pieces, sizeof *w.pieces);
    if (!w.pieces || !w.method)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    dv_load_catch_signals();
    int r = dv_load_open(&w.load, w.v->gpu, &err);
    bool opened = !r;
    if (!r)
        r = dv_load_stream_new(&w.load, &w.stream, &err);
    if (!r)
        r = take_all(&w, &err);
    /* A context that does not fit is out of memory like any other. */
    int exit =
        opened || r == DV_CUDA_ERROR_OUT_OF_MEMORY ? report(ui, &w, r) : dv_load_fail(ui, r, &err);
    if (opened && r && r != DV_CUDA_ERROR_OUT_OF_MEMORY)
        dv_load_fail(ui, r, &err);
    if (!r && w.v->hold && !dv_load_stopped())
        dv_load_sleep_until(dv_load_now() + w.v->hold);
    release(&w);
    return exit;
}

static const struct dv_ui_example examples[] = {
    {"see the cap of a slice hold", "divvy run --memory 10GiB -- divvy-load alloc --bytes 11GiB"},
    {"hold 4 GiB in pieces for a minute",
     "divvy-load alloc --bytes 4GiB --chunk 256MiB --hold 60s"},
};

const struct dv_ui_verb dv_load_verb_alloc = {
    .name = "alloc",
    .summary = "allocate device memory and say whether it was given",
    .details = "Ends with 0 when all was given and with 1 when it was not; the answer then has "
               "CUDA's error number, 2 for out of memory. Array calls take at most 64 GiB per "
               "piece.",
    .options = options,
    .n_options = DV_ARRAY_SIZE(options),
    .values_size = sizeof(struct values),
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .prints = true,
    .run = run,
};
