/* SPDX-License-Identifier: Apache-2.0 */
/* The table of divvy-load's verbs. */
#include "load/load.h"

static const struct dv_ui_verb *const verbs[] = {
    &dv_load_verb_spin, &dv_load_verb_copy, &dv_load_verb_alloc, &dv_load_verb_infer,
    &dv_load_verb_leak, &dv_verb_help,      &dv_verb_completion,
};

static const struct dv_ui_entry exit_status[] = {
    {"0", "Done."},
    {"1", "A call of CUDA failed; for alloc and leak: the memory was not given."},
    {"2", "Misuse: an unknown command, option or a value out of range."},
    {"5", "No CUDA driver or no such GPU."},
    {0},
};

static const struct dv_ui_entry see_also[] = {{"divvy", "1"}, {"divvy-sim", "1"}, {0}};

const struct dv_ui_program dv_load_program = {
    .name = "divvy-load",
    .summary = "load for GPUs, for trying out and for acceptance tests",
    .details = "Work on the CUDA driver's interface: kernels, copies, allocations, and requests as "
               "an inference server gets them. The kernels are embedded as PTX, so that the same "
               "program runs on a real and on a simulated GPU. SIGINT and SIGTERM end the work "
               "early; what was done until then is reported.",
    .verbs = verbs,
    .n_verbs = DV_ARRAY_SIZE(verbs),
    .exit_status = exit_status,
    .see_also = see_also,
};
