/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the generated wrappers (hooks_gen.c, from hooks.def) are made of: one include for all of it.
 */
#ifndef DV_GOVERNOR_WRAP_H
#define DV_GOVERNOR_WRAP_H

#include "abi_cuda.h"
#include "charge.h"
#include "compute.h"
#include "governor.h"
#include "sizes.h"
#include "view.h"

#endif
