/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shell scripts, as far as to know which commands stand in them: words without their quotes, what
 * is piped into what, here-documents. Loops and conditions are looked through, command
 * substitutions looked into. Nothing is expanded: "$x" stays "$x". It is not a shell: what it does
 * not understand becomes words. Source: POSIX, Shell Command Language.
 *
 *     struct dv_shell shell = {0};
 *     r = dv_shell_scan("echo quit | nvidia-cuda-mps-control", len, &shell);
 *     shell.commands[1].words[0].text, shell.commands[1].upstream == 0
 *     dv_shell_done(&shell);
 */
#ifndef DV_POLICY_LINT_LINT_SHELL_H
#define DV_POLICY_LINT_LINT_SHELL_H

#include "base/macros.h"

#include <stdbool.h>

#define DV_SHELL_COMMANDS_MAX 4096u
#define DV_SHELL_WORDS_MAX 1024u /* of one command; more are passed over */
#define DV_SHELL_DEPTH_MAX 12u   /* of substitutions */

struct dv_shell_word {
    char *text;  /* without quotes */
    size_t from; /* of the word in the source */
    /* The text stands in the source as it is, there; SIZE_MAX: it does not. */
    size_t exact;
};

struct dv_shell_command {
    struct dv_shell_word *words;
    uint32_t n, cap;
    size_t from;
    uint32_t upstream; /* whose output it reads; UINT32_MAX: nobody's */
    char *here_string; /* <<< TEXT, or NULL */
    char *output;      /* > FILE, or NULL */
    bool has_document; /* <<END: source[document_from, + document_len) */
    size_t document_from, document_len;
};

struct dv_shell {
    struct dv_shell_command *commands; /* in the order in which they begin */
    uint32_t n, cap;
    bool more; /* there are more than DV_SHELL_COMMANDS_MAX */
};

/* 0 or -ENOMEM. Any text is a script. */
int dv_shell_scan(const char *text, size_t len, struct dv_shell *ret);
void dv_shell_done(struct dv_shell *shell);

#endif
