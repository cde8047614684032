/* SPDX-License-Identifier: Apache-2.0 */
#include "load/load.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#define BLOCKS_PER_SM 8u /* of 256 threads: all that an SM holds at once */

/* ---- the device ----------------------------------------------------------------------------- */

static int open_device(struct dv_load *load, int64_t gpu, struct dv_err *err)
{
    const struct dv_cuda_driver *cuda = &load->cuda;
    int count = 0;
    int r = dv_cuda_check(cuda, cuda->init(0), "cuInit", err);
    if (!r)
        r = dv_cuda_check(cuda, cuda->device_count(&count), "cuDeviceGetCount", err);
    if (!r && gpu >= count)
        return dv_err_set(err, DV_CUDA_ERROR_INVALID_DEVICE,
                          "there is no GPU %d; this process sees %d", (int)gpu, count);
    if (!r)
        r = dv_cuda_check(cuda, cuda->device_get(&load->device, (int)gpu), "cuDeviceGet", err);
    if (!r)
        r = dv_cuda_check(cuda,
                          cuda->device_attribute(&load->sms, DV_CUDA_ATTR_SM_COUNT, load->device),
                          "cuDeviceGetAttribute", err);
    if (r)
        return r;
    r = dv_cuda_check(cuda, cuda->ctx_retain(&load->ctx, load->device), "cuDevicePrimaryCtxRetain",
                      err);
    load->retained = !r;
    if (!r)
        r = dv_cuda_check(cuda, cuda->ctx_set_current(load->ctx), "cuCtxSetCurrent", err);
    return r;
}

static int open_kernels(struct dv_load *load, struct dv_err *err)
{
    const struct dv_cuda_driver *cuda = &load->cuda;
    struct dv_cuda_module *module = NULL;
    int r = dv_cuda_check(cuda, cuda->module_load(&module, dv_load_ptx), "cuModuleLoadData", err);
    if (!r)
        r = dv_cuda_check(cuda, cuda->module_function(&load->spin, module, "divvy_spin"),
                          "cuModuleGetFunction", err);
    if (!r)
        r = dv_cuda_check(cuda, cuda->module_function(&load->copy, module, "divvy_copy"),
                          "cuModuleGetFunction", err);
    return r;
}

int dv_load_open(struct dv_load *ret, int64_t gpu, struct dv_err *err)
{
    struct dv_load load = {0};
    int r = dv_cuda_open(&load.cuda, err);
    if (!r)
        r = open_device(&load, gpu, err);
    if (!r)
        r = open_kernels(&load, err);
    if (r) {
        dv_load_close(&load);
        return r;
    }
    *ret = load;
    return 0;
}

/* The module goes with the context; the library stays mapped, its threads may still run. */
void dv_load_close(struct dv_load *load)
{
    if (!load || !load->retained)
        return;
    load->cuda.ctx_release(load->device);
    load->retained = false;
}

int dv_load_fail(const struct dv_ui *ui, int r, const struct dv_err *err)
{
    bool nowhere = r == -ENOENT || r == -ENOSYS || r == DV_CUDA_ERROR_NO_DEVICE ||
                   r == DV_CUDA_ERROR_INVALID_DEVICE;
    return dv_ui_fail(ui, nowhere ? DV_UI_UNAVAILABLE : DV_UI_FAILURE, "%s", err->msg);
}

unsigned dv_load_blocks(const struct dv_load *load)
{
    return (unsigned)DV_MAX(load->sms, 1) * BLOCKS_PER_SM;
}

static int launch(struct dv_load *load, struct dv_cuda_stream *stream, unsigned blocks,
                  unsigned threads, uint64_t iterations, struct dv_err *err)
{
    void *params[] = {&iterations};
    return dv_cuda_check(
        &load->cuda,
        load->cuda.launch(load->spin, blocks, 1, 1, threads, 1, 1, 0, stream, params, NULL),
        "cuLaunchKernel", err);
}

int dv_load_launch(struct dv_load *load, struct dv_cuda_stream *stream, uint64_t iterations,
                   struct dv_err *err)
{
    return launch(load, stream, dv_load_blocks(load), DV_LOAD_THREADS, iterations, err);
}

int dv_load_stream_new(struct dv_load *load, struct dv_cuda_stream **ret, struct dv_err *err)
{
    return dv_cuda_check(&load->cuda, load->cuda.stream_create(ret, DV_CUDA_STREAM_NON_BLOCKING),
                         "cuStreamCreate", err);
}

int dv_load_event_new(struct dv_load *load, bool timing, struct dv_cuda_event **ret,
                      struct dv_err *err)
{
    unsigned flags = DV_CUDA_EVENT_BLOCKING_SYNC | (timing ? 0 : DV_CUDA_EVENT_DISABLE_TIMING);
    return dv_cuda_check(&load->cuda, load->cuda.event_create(ret, flags), "cuEventCreate", err);
}

/* ---- the price of a step -------------------------------------------------------------------- */

#define CALIBRATION_KERNELS 12
#define CALIBRATION_ITERATIONS 50000 /* 50 us on a simulated GPU */

/* The least time between two events with one kernel between them. All are queued at once: what
 * stands between is the kernel, and no waiting of this process; the least of many, because others
 * on the GPU, or the wait for a lease, can only add. Twice the blocks of half the threads fill the
 * device just the same, and are another shape: who learns what launches of a shape take, as divvy's
 * governor does, is not told the wrong thing about those that follow. */
static int measure(struct dv_load *load, struct dv_cuda_stream *stream,
                   struct dv_cuda_event *events[CALIBRATION_KERNELS + 1], uint64_t iterations,
                   double *ret_ms, struct dv_err *err)
{
    const struct dv_cuda_driver *cuda = &load->cuda;
    int r = 0;
    for (int i = 0; i <= CALIBRATION_KERNELS && !r; i++) {
        if (i)
            r = launch(load, stream, dv_load_blocks(load) * 2, DV_LOAD_THREADS / 2, iterations,
                       err);
        if (!r)
            r = dv_cuda_check(cuda, cuda->event_record(events[i], stream), "cuEventRecord", err);
    }
    if (!r)
        r = dv_cuda_check(cuda, cuda->stream_synchronize(stream), "cuStreamSynchronize", err);
    double least = 1e30;
    for (int i = 0; i < CALIBRATION_KERNELS && !r; i++) {
        float ms = 0;
        r = dv_cuda_check(cuda, cuda->event_elapsed(&ms, events[i], events[i + 1]),
                          "cuEventElapsedTime", err);
        least = DV_MIN(least, (double)ms);
    }
    if (!r)
        *ret_ms = least;
    return r;
}

/* Two lengths: their difference is free of what a launch costs by itself. */
static int measure_step(struct dv_load *load, struct dv_cuda_stream *stream,
                        struct dv_cuda_event *events[CALIBRATION_KERNELS + 1], struct dv_err *err)
{
    double ms = 0, ms_long = 0;
    int r = measure(load, stream, events, CALIBRATION_ITERATIONS, &ms, err);
    if (!r)
        r = measure(load, stream, events, UINT64_C(2) * CALIBRATION_ITERATIONS, &ms_long, err);
    if (r)
        return r;
    double step = (ms_long - ms) * 1e6 / CALIBRATION_ITERATIONS;
    if (step <= 0)
        step = ms_long * 1e6 / (2.0 * CALIBRATION_ITERATIONS);
    if (step <= 0)
        return dv_err_set(err, -EIO, "the driver's events say that a kernel takes no time");
    load->ns_per_iteration = step;
    return 0;
}

int dv_load_calibrate(struct dv_load *load, struct dv_err *err)
{
    const struct dv_cuda_driver *cuda = &load->cuda;
    struct dv_cuda_event *events[CALIBRATION_KERNELS + 1] = {0};
    struct dv_cuda_stream *stream = NULL;
    int r = dv_load_stream_new(load, &stream, err);
    for (int i = 0; i <= CALIBRATION_KERNELS && !r; i++)
        r = dv_load_event_new(load, true, &events[i], err);
    if (!r)
        r = measure_step(load, stream, events, err);
    for (int i = 0; i <= CALIBRATION_KERNELS && events[i]; i++)
        cuda->event_destroy(events[i]);
    if (stream)
        cuda->stream_destroy(stream);
    return r;
}

uint64_t dv_load_iterations(const struct dv_load *load, int64_t kernel_us)
{
    double n = (double)kernel_us * 1000 / load->ns_per_iteration + 0.5;
    return n < 1 ? 1 : (uint64_t)n;
}

/* ---- time and signals ----------------------------------------------------------------------- */

static volatile sig_atomic_t stopped;

static void on_signal(int signal)
{
    stopped = 1;
}

void dv_load_catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

bool dv_load_stopped(void)
{
    return stopped;
}

uint64_t dv_load_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * DV_NS_PER_S + (uint64_t)ts.tv_nsec;
}

void dv_load_sleep_until(uint64_t ns)
{
    struct timespec ts = {(time_t)(ns / DV_NS_PER_S), (long)(ns % DV_NS_PER_S)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}
