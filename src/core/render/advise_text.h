/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of an advice (policy/advise): its questions, what each answer leads to, and what to
 * paste.
 *
 *     dv_advise_text_question(DV_ADVISE_Q_UNTRUSTED)       "may its neighbours be strangers?"
 *     dv_advise_text_manifest(&advice, &want, &advice.best, &text);
 */
#ifndef DV_RENDER_ADVISE_TEXT_H
#define DV_RENDER_ADVISE_TEXT_H

#include "base/str.h"
#include "policy/advise/advise.h"
#include "render/output.h"

const char *dv_advise_text_question(enum dv_advise_question question);
/* What follows from the answer, where the way goes on or ends. */
const char *dv_advise_text_consequence(enum dv_advise_question question, bool yes);
/* Why a way that ends there has the answer that it has. */
const char *dv_advise_text_reason(enum dv_advise_leaf leaf);
/* "MIG device 1g.10gb", "2 whole GPUs", "25 % of a GPU, governed". */
void dv_advise_text_choice(const struct dv_advise_choice *choice, struct dv_str *text);
/* A pod's manifest, YAML, that asks for it. */
void dv_advise_text_manifest(const struct dv_advise_choice *choice, struct dv_str *text);
/* What the node has to be set to, as a layout of divvy's; nothing where no setting is needed. */
void dv_advise_text_layout(const struct dv_advise_choice *choice, struct dv_str *text);
/* The line for a machine without Kubernetes; nothing where it takes several GPUs, which a slice
 * does not have. */
void dv_advise_text_run(const struct dv_advise_want *want, const struct dv_advise_choice *choice,
                        struct dv_str *text);

/* All of it, of kind Advice. NULL when memory is out. */
struct dv_output *dv_advise_text_json(const struct dv_advise_want *want,
                                      const struct dv_advise *advice);
/* The same for people. */
void dv_advise_text_lines(const struct dv_advise_want *want, const struct dv_advise *advice,
                          struct dv_str *text);

#endif
