/* SPDX-License-Identifier: Apache-2.0 */
/* A command inside a slice, from the claim to giving back: what 'run' and 'baseline' have in
 * common. */
#ifndef DV_UI_RUN_INSIDE_H
#define DV_UI_RUN_INSIDE_H

#include "run/claim.h"
#include "run/wish.h"

/* After a command that ran, while the claim is still held; `exit` is the command's. Returns the
 * exit status for the caller. */
typedef int dv_inside_after(const struct dv_ui *ui, const struct dv_claim *claim, int exit);

/* Claims what `body` (from dv_wish_claim()) asks, waits, runs ui->argv. `after` may be NULL. */
int dv_inside_run(const struct dv_ui *ui, const struct dv_wish *wish, struct dv_output *body,
                  dv_inside_after *after);

#endif
