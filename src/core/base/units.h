/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people write and read: sizes, shares, durations. Inside, all are integers: bytes,
 * 1/7000 GPU, nanoseconds.
 *
 * GiB, Gi and G+i are 2^30; GB and G are 10^9; a bare number is bytes. "25%", "250‰", "250m",
 * "2/7" and "0.25" are shares of one GPU. A text is taken whole or refused: signs, blanks in the
 * middle, hexadecimal, NaN and values out of range are errors with a message.
 */
#ifndef DV_BASE_UNITS_H
#define DV_BASE_UNITS_H

#include "base/err.h"

/* 1 byte .. 2^50 bytes. A fraction is allowed ("1.5GiB"); the result is rounded down to a byte.
 * 0, -EINVAL (not a size), -ERANGE (zero or too large). */
int dv_units_parse_bytes(const char *text, uint64_t *ret_bytes, struct dv_err *err);

/* 1 .. 7000 in units of 1/7000 GPU, rounded to the nearest. 0, -EINVAL, -ERANGE. */
int dv_units_parse_compute(const char *text, uint32_t *ret_compute, struct dv_err *err);

/* "90", "90s", "1.5h", "250ms", "5us", "10ns", "3m": nanoseconds; a bare number is seconds.
 * 0 is allowed; at most 10 years. 0, -EINVAL, -ERANGE. */
int dv_units_parse_duration(const char *text, uint64_t *ret_ns, struct dv_err *err);

/* A decimal integer in [min, max]. `what` names it in the message. 0, -EINVAL, -ERANGE. */
int dv_units_parse_integer(const char *text, const char *what, int64_t min, int64_t max,
                           int64_t *ret, struct dv_err *err);

#define DV_UNITS_TEXT 32
/* "10.0 GiB", "512 B": three significant digits at most, binary units. Returns buf. */
const char *dv_units_format_bytes(uint64_t bytes, char buf[DV_UNITS_TEXT]);
/* "25%", "14.3%". Returns buf. */
const char *dv_units_format_compute(uint32_t compute, char buf[DV_UNITS_TEXT]);
/* "1h 02m", "3.20s", "250us". Returns buf. */
const char *dv_units_format_duration(uint64_t ns, char buf[DV_UNITS_TEXT]);

/* 1/7000 GPU to thousandths, rounded to the nearest; for people and JSON's compute_permille. */
uint32_t dv_units_permille(uint32_t compute);

#endif
