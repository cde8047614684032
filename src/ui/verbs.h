/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verbs of divvy, one file verb_NAME.c each, and the program made of them (divvy.c). To add a
 * verb: write its file with one struct dv_ui_verb (ui.h), declare that here, and put it into the
 * list in divvy.c (in the order of the help) and the file into meson.build. Help, manual page and
 * completions follow by themselves; the transcripts of tests/golden do not.
 *
 * To copy from: verb_queue.c asks the daemon and prints a table with -o; verb_mig.c needs no daemon
 * and has options. How a table finds its rows in the answer: render/table.h.
 */
#ifndef DV_UI_VERBS_H
#define DV_UI_VERBS_H

#include "ui.h"

extern const struct dv_ui_verb dv_verb_status, dv_verb_forget, dv_verb_topo, dv_verb_run,
    dv_verb_ps, dv_verb_kill, dv_verb_limit, dv_verb_queue, dv_verb_labels, dv_verb_explain,
    dv_verb_usage, dv_verb_doctor, dv_verb_mig_profiles, dv_verb_mig_plan, dv_verb_mig_apply,
    dv_verb_mig_assert, dv_verb_mig_export, dv_verb_mig_checkpoint, dv_verb_mig_restore,
    dv_verb_mig_generate, dv_verb_layout_show, dv_verb_layout_plan, dv_verb_layout_apply,
    dv_verb_layout_undo, dv_verb_top, dv_verb_bench_modes, dv_verb_bill, dv_verb_ledger_show,
    dv_verb_ledger_verify, dv_verb_ledger_export, dv_verb_ledger_backup, dv_verb_ledger_correct,
    dv_verb_ledger_rename, dv_verb_baseline, dv_verb_baseline_list, dv_verb_baseline_show,
    dv_verb_baseline_rm, dv_verb_admit, dv_verb_kubernetes, dv_verb_plan, dv_verb_simulate_modes,
    dv_verb_simulate_cluster, dv_verb_simulate_queue, dv_verb_mig_forecast;

/* What is asked before anything runs. */
extern const struct dv_ui_verb dv_verb_lint, dv_verb_audit, dv_verb_advise;

extern const struct dv_ui_program dv_divvy_program;

#endif
