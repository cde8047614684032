/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Baselines: what a workload does when it is alone on its device (`divvy baseline`), kept by tenant
 * and name, and what the same workload does now, beside others.
 *
 * A name is that of the command's program (train.py), or was given. A slice is compared with the
 * baseline of its tenant that has the same command line, else the same name.
 */
#ifndef DV_SERVICES_BASELINES_H
#define DV_SERVICES_BASELINES_H

#include "account/pace.h"
#include "node.h"
#include "render/output.h"

#define DV_BASELINES_TENANT_MAX 256u /* of one tenant */
#define DV_BASELINES_MAX 4096u

/* 1 to 63 of the characters A-Z a-z 0-9 . _ : @ + -, the first of them a letter, a digit or '_'.
 * 0, or -EINVAL with a message. */
int dv_baselines_check_name(const char *name, struct dv_err *err);
/* What a command line is called: its program without directories, made a name; of Python the
 * script. */
void dv_baselines_name(const char *command, char ret[DV_STORE_BASELINE_NAME]);

/* Keeps what the slice did until now; name "": by its command. 0; -EBUSY it was not alone; -ENODATA
 * nothing was launched; -ENOSPC too many; -ENOENT no store; others of the store. */
int dv_baselines_record(struct dv_holding *holding, const char *name, struct dv_store_baseline *ret,
                        struct dv_err *err);
/* 0, -ENOENT, or of the store. */
int dv_baselines_drop(struct dv_node *node, const char *tenant, const char *name,
                      struct dv_err *err);

/* What a slice did until now, as a pace. */
void dv_baselines_pace(struct dv_holding *holding, struct dv_pace *ret);
bool dv_baselines_find(struct dv_node *node, const struct dv_holding *holding,
                       struct dv_store_baseline *ret);

struct dv_output *dv_baselines_view(const struct dv_store_baseline *baseline);
/* tenant, name: NULL means all. */
struct dv_output *dv_baselines_list(struct dv_node *node, const char *tenant, const char *name,
                                    struct dv_err *err);
/* Adds how the slice does beside its baseline, to `list` and in words to `lines`; nothing when it
 * has none. */
void dv_baselines_explain(struct dv_holding *holding, struct dv_output_node *list,
                          struct dv_output_node *lines);

#endif
