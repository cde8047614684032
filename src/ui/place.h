/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where this program's libraries are: $DIVVY_LIBDIR, else ../lib/divvy beside the directory of
 * the program itself, so that an installation can lie anywhere.
 *
 *     char path[DV_PLACE_MAX];
 *     r = dv_place_library("standin/libcuda.so.1", path);
 */
#ifndef DV_UI_PLACE_H
#define DV_UI_PLACE_H

#include "base/macros.h"

#define DV_PLACE_MAX 4096

/* 0, -ENAMETOOLONG, or a negative errno of readlink; ret is "" after an error. */
int dv_place_library(const char *name, char ret[DV_PLACE_MAX]);

#endif
