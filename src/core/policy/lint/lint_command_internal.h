/* SPDX-License-Identifier: Apache-2.0 */
/* What the judges of commands share. For this folder only. */
#ifndef DV_POLICY_LINT_LINT_COMMAND_INTERNAL_H
#define DV_POLICY_LINT_LINT_COMMAND_INTERNAL_H

#include "policy/lint/lint_command.h"
#include "policy/lint/lint_shell.h"

/* One script under way. */
struct dv_lint_run {
    const struct dv_lint_script *script;
    const char *text;
    const struct dv_shell *shell;
    uint32_t index; /* of the command in hand */
    /* GPU instances that were made without compute instances, until some are made. */
    bool bare;
    struct dv_lint_at bare_at;
    bool has_top;
    struct dv_lint_at top_at;
    bool failed; /* out of memory */
};

/* The words of a command from its name on. */
struct dv_lint_words {
    const struct dv_shell_word *words;
    uint32_t n;
};

/* Where a word is. */
struct dv_lint_at dv_lint_command_at(const struct dv_lint_run *run, const struct dv_shell_word *w);
struct dv_lint_finding *dv_lint_command_add(struct dv_lint_run *run, const struct dv_shell_word *w,
                                            enum dv_lint_rule rule, const char *a, const char *b,
                                            const char *c, const char *d);
void dv_lint_command_smi(struct dv_lint_run *run, const struct dv_lint_words *w);
void dv_lint_command_mps(struct dv_lint_run *run, const struct dv_lint_words *w);
void dv_lint_command_kubectl(struct dv_lint_run *run, const struct dv_lint_words *w);
void dv_lint_command_helm(struct dv_lint_run *run, const struct dv_lint_words *w);
/* A command inside another: kubectl exec POD -- COMMAND. */
void dv_lint_command_words(struct dv_lint_run *run, const struct dv_shell_word *words, uint32_t n);
/* Nothing in it has to be expanded first. */
bool dv_lint_command_is_literal(const char *text);
/* " (did you mean x?)", or "". Returns buf. */
const char *dv_lint_command_hint(const char *near, char *buf, size_t size);

#endif
