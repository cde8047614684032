/* SPDX-License-Identifier: Apache-2.0 */
/* The table of divvy's verbs. */
#include "verbs.h"

/* In the order of the help. */
static const struct dv_ui_verb *const verbs[] = {
    /* clang-format off */
    &dv_verb_status,
    &dv_verb_topo,
    &dv_verb_run,
    &dv_verb_ps,
    &dv_verb_top,
    &dv_verb_kill,
    &dv_verb_limit,
    &dv_verb_queue,
    &dv_verb_explain,
    &dv_verb_usage,
    &dv_verb_bill,
    &dv_verb_ledger_show,
    &dv_verb_ledger_verify,
    &dv_verb_ledger_export,
    &dv_verb_ledger_backup,
    &dv_verb_ledger_correct,
    &dv_verb_ledger_rename,
    &dv_verb_baseline,
    &dv_verb_baseline_list,
    &dv_verb_baseline_show,
    &dv_verb_baseline_rm,
    &dv_verb_doctor,
    &dv_verb_forget,
    &dv_verb_labels,
    &dv_verb_kubernetes,
    &dv_verb_layout_show,
    &dv_verb_layout_plan,
    &dv_verb_layout_apply,
    &dv_verb_layout_undo,
    &dv_verb_mig_profiles,
    &dv_verb_mig_plan,
    &dv_verb_mig_forecast,
    &dv_verb_mig_apply,
    &dv_verb_mig_assert,
    &dv_verb_mig_export,
    &dv_verb_mig_checkpoint,
    &dv_verb_mig_restore,
    &dv_verb_mig_generate,
    &dv_verb_plan,
    &dv_verb_admit,
    &dv_verb_audit,
    &dv_verb_lint,
    &dv_verb_advise,
    &dv_verb_simulate_cluster,
    &dv_verb_simulate_modes,
    &dv_verb_simulate_queue,
    &dv_verb_bench_modes,
    &dv_verb_help,
    &dv_verb_completion,
    /* clang-format on */
};

static const struct dv_ui_entry environment[] = {
    {"DIVVY_SOCKET", "The daemon's socket, where --socket does not name it."},
    {"DIVVY_LIBDIR", "Where divvy's libraries are; default: lib/divvy beside the program's bin."},
    {"MIG_PARTED_*", "The mig commands read mig-parted's variables where an option is missing."},
    {"NO_COLOR", "When set and not empty: no colours."},
    {0},
};

static const struct dv_ui_entry files[] = {
    {"/run/divvy/divvyd.sock", "The socket of the daemon that root runs."},
    {"$XDG_RUNTIME_DIR/divvy/divvyd.sock", "The socket of a user's own daemon; it is preferred."},
    {0},
};

static const struct dv_ui_entry exit_status[] = {
    {"0", "Done."},
    {"1", "It failed, or the policy refused it."},
    {"2", "Misuse: an unknown command, option or a value out of range."},
    {"3", "doctor or lint found problems, ledger verify a broken chain; what mig plan, layout "
          "plan or plan was asked is infeasible."},
    {"4", "Not permitted."},
    {"5", "No daemon, or the hardware does not answer."},
    {"124", "run, baseline: no slice within --wait-timeout."},
    {"125", "run, baseline: divvy itself failed, the claim was refused, or nothing was kept."},
    {"126", "run, baseline: the command cannot be executed."},
    {"127", "run, baseline: the command was not found."},
    {"128+N",
     "run, baseline: the command was ended by signal N. layout, mig: no longer watched after it; "
     "simulate: the answer is what it had by then."},
    {0},
};

static const struct dv_ui_entry see_also[] = {
    {"divvy-load", "1"}, {"divvy-sim", "1"}, {"divvyd", "8"}, {0}};

const struct dv_ui_program dv_divvy_program = {
    .name = "divvy",
    .summary = "share NVIDIA GPUs among tenants, each inside its slice",
    .details = "divvy cuts GPUs into slices of memory and compute that several tenants hold at "
               "once. This is its command line; the work is done by the daemon on the node. "
               "Data goes to the standard output, everything else to the standard error. JSON is "
               "one object with apiVersion and kind, and has units in its keys.\n\n"
               "Sizes are written as 10GiB (2^30) or 10GB (10^9), shares of a GPU as 25%, 0.25 or "
               "2/7, times as 30s, 1.5h or 250ms.",
    .verbs = verbs,
    .n_verbs = DV_ARRAY_SIZE(verbs),
    .environment = environment,
    .files = files,
    .exit_status = exit_status,
    .see_also = see_also,
};
