/* SPDX-License-Identifier: Apache-2.0 */
/* The answer of divvy simulate queue (docs/reference/queue-file.md). */
#ifndef DV_UI_SIMULATE_QUEUE_VIEW_H
#define DV_UI_SIMULATE_QUEUE_VIEW_H

#include "simulate/queue/queue_sim.h"
#include "simulate/queue/shapes.h"
#include "ui.h"

struct dv_simulate_queue_view {
    const struct dv_queue_scenario *scenario;
    const struct dv_queue_sim_result *result;
    const struct dv_queue_published *published; /* or NULL */
    bool partial;
    const struct dv_queue_sim_about *about; /* who was asked about, or NULL */
    const char *html;                       /* a file for the page, or NULL */
};

/* Returns the exit status. */
int dv_simulate_queue_answer(const struct dv_ui *ui, const struct dv_simulate_queue_view *view);

#endif
