/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers in files and answers of other programs, by text and length. No locale has a say: the
 * decimal sign is a point. A text is taken whole or refused; blanks around it are allowed.
 * Hexadecimal, "nan" and "inf" are refused: what a missing value looks like is the caller's to say.
 */
#ifndef DV_BASE_NUMBER_H
#define DV_BASE_NUMBER_H

#include "base/macros.h"

/* "12", "-0.5", ".5", "1e9", "1.662858720e+09": the nearest double. 0; -EINVAL: not a number;
 * -ERANGE: beyond the largest double. */
int dv_number_double(const char *text, size_t len, double *ret);

/* Decimal, a sign allowed. 0; -EINVAL: not a whole number; -ERANGE: it does not fit. */
int dv_number_int64(const char *text, size_t len, int64_t *ret);
int dv_number_uint64(const char *text, size_t len, uint64_t *ret);

#endif
