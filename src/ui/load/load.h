/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the verbs of divvy-load share: a device with its context, kernels and their price, a clock,
 * and the end by a signal.
 *
 *     dv_cleanup(dv_load_close) struct dv_load load = {0};
 *     r = dv_load_open(&load, gpu, &err);
 *     dv_load_calibrate(&load, &err);
 *     r = dv_load_launch(&load, stream, dv_load_iterations(&load, 500), &err);
 *
 * The kernel divvy_spin runs a given number of dependent steps in every thread and fills the
 * device, whatever its size. How long a step takes is measured once at the start; on a simulated
 * GPU it is one nanosecond. Results: 0, a CUresult (positive), negative errno.
 */
#ifndef DV_UI_LOAD_LOAD_H
#define DV_UI_LOAD_LOAD_H

#include "cuda/driver.h"
#include "ui.h"

struct dv_load {
    struct dv_cuda_driver cuda;
    int device;
    int sms;
    bool retained;
    struct dv_cuda_ctx *ctx;
    struct dv_cuda_function *spin, *copy;
    double ns_per_iteration; /* alone, measured */
};

/* The driver, the device of that ordinal, its primary context and the kernels. */
int dv_load_open(struct dv_load *ret, int64_t gpu, struct dv_err *err);
/* Frees what was opened; fine after a failed open. */
void dv_load_close(struct dv_load *load);
/* The words of an error for the caller's exit: DV_UI_UNAVAILABLE without a driver or device. */
int dv_load_fail(const struct dv_ui *ui, int r, const struct dv_err *err);

int dv_load_calibrate(struct dv_load *load, struct dv_err *err);
/* Iterations that take so long, at least one. */
uint64_t dv_load_iterations(const struct dv_load *load, int64_t kernel_us);
int dv_load_launch(struct dv_load *load, struct dv_cuda_stream *stream, uint64_t iterations,
                   struct dv_err *err);
/* Blocks and threads per block of a launch that fills the device. */
unsigned dv_load_blocks(const struct dv_load *load);
#define DV_LOAD_THREADS 256u

int dv_load_stream_new(struct dv_load *load, struct dv_cuda_stream **ret, struct dv_err *err);
/* timing: false for events that are only waited for. Waiters sleep, they do not spin. */
int dv_load_event_new(struct dv_load *load, bool timing, struct dv_cuda_event **ret,
                      struct dv_err *err);

/* CLOCK_MONOTONIC, nanoseconds. */
uint64_t dv_load_now(void);
/* Returns at the time, or at a signal. */
void dv_load_sleep_until(uint64_t ns);
/* SIGINT, SIGTERM and SIGHUP end the work early but regularly: what was done is reported. */
void dv_load_catch_signals(void);
bool dv_load_stopped(void);

/* Nearest-rank percentile of sorted values, permille in 1..1000; 0 when there are none. */
uint64_t dv_load_percentile(const uint64_t *sorted, size_t n, unsigned permille);

/* Sizes in which memory is asked: what a call of the API takes for `bytes`. */
struct dv_load_shape {
    size_t width, height, depth; /* elements of 16 bytes for arrays; bytes x rows when pitched */
};
#define DV_LOAD_ELEMENT 16u
/* At least `bytes`, in rows as CUDA allows them; false when it fits no array of this kind. */
bool dv_load_shape_pitch(uint64_t bytes, struct dv_load_shape *ret);
bool dv_load_shape_2d(uint64_t bytes, struct dv_load_shape *ret);
bool dv_load_shape_3d(uint64_t bytes, struct dv_load_shape *ret);

extern const char dv_load_ptx[];
extern const struct dv_ui_verb dv_load_verb_spin, dv_load_verb_copy, dv_load_verb_alloc,
    dv_load_verb_infer, dv_load_verb_leak;
extern const struct dv_ui_program dv_load_program;

#endif
