/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queries of Prometheus: which metrics they name, with which labels, and what they do with them. It
 * is a scanner, not a parser: brackets and strings must be closed, everything else is taken as it
 * comes. Source: Prometheus' documentation, "Querying basics", "Operators", "Functions".
 *
 *     dv_lint_query(report, &at, "avg_over_time(DCGM_FI_DEV_GPU_UTIL[1h]) < 20", n,
 *                   DV_LINT_QUERY_ALERT);
 */
#ifndef DV_POLICY_LINT_LINT_QUERY_H
#define DV_POLICY_LINT_LINT_QUERY_H

#include "policy/lint/lint.h"

enum dv_lint_query {
    DV_LINT_QUERY_ALONE, /* a query, a recording rule, a panel */
    DV_LINT_QUERY_ALERT,
};

/* Findings, and that the object is in scope where the query is of GPUs. */
void dv_lint_query(struct dv_lint_report *report, const struct dv_lint_at *at, const char *text,
                   size_t len, enum dv_lint_query kind);
/* Is it a duration as Prometheus writes them: "5m", "1h30m", "0"? */
bool dv_lint_query_is_duration(const char *text);
/* The names of metrics in any text (a URL, a command's word): only those are judged. */
void dv_lint_query_names(struct dv_lint_report *report, const struct dv_lint_at *at,
                         const char *text, size_t len);
/* How much of a text of several queries is the first one, with what follows it up to the next; each
 * begins on a line of its own. */
size_t dv_lint_query_length(const char *text, size_t len);

#endif
