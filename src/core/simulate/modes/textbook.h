/* SPDX-License-Identifier: Apache-2.0 */
/* The queueing rules; for this folder alone. */
#ifndef DV_SIMULATE_MODES_TEXTBOOK_H
#define DV_SIMULATE_MODES_TEXTBOOK_H

#include "simulate/modes/book.h"

/* Is there a rule? There is none for GOVERNED. */
bool dv_textbook_has(enum dv_modes_mode mode);
/* 0 or -ENOMEM. */
int dv_textbook_run(struct dv_book *book, enum dv_modes_mode mode);

#endif
