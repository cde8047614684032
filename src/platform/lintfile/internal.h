/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share. For this room only. */
#ifndef DV_LINTFILE_INTERNAL_H
#define DV_LINTFILE_INTERNAL_H

#include "lintfile/lintfile.h"
#include "yaml/yaml_tree.h"

/* One text under way: a file, or a part of it that is read by itself. */
struct dv_lintfile {
    const char *name;
    const struct dv_lintfile_options *options;
    struct dv_lint_report *report;
    /* What the file's other documents say, for those that depend on it. */
    struct dv_yaml *const *documents;
    uint32_t n_documents;
    bool of_gpus;         /* it names GPUs somewhere: what they depend on is judged too */
    const char *strategy; /* the name of the MIG strategy; NULL: nothing says it */
    /* The document under way, and where it begins in the file. */
    const struct dv_yaml *yaml;
    struct dv_lint_at at;
    uint32_t depth; /* of scripts inside manifests inside scripts */
    bool failed;    /* out of memory */
};

#define DV_LINTFILE_DEPTH_MAX 4u

/* ---- nodes ---- */

/* The value of a key, if the map is one; takes NULL. */
const struct dv_yaml_node *dv_lintfile_get(const struct dv_yaml_node *map, const char *key);
/* By keys joined by '/': "spec/template/spec". */
const struct dv_yaml_node *dv_lintfile_find(const struct dv_yaml_node *map, const char *path);
/* The same, if it is a map, or a list. */
const struct dv_yaml_node *dv_lintfile_map(const struct dv_yaml_node *map, const char *key);
const struct dv_yaml_node *dv_lintfile_list(const struct dv_yaml_node *map, const char *key);
/* The node of the key itself, or NULL. */
const struct dv_yaml_node *dv_lintfile_key(const struct dv_yaml_node *map, const char *key);
/* A scalar's text, or "". */
const char *dv_lintfile_text(const struct dv_yaml_node *map, const char *key);
const char *dv_lintfile_scalar(const struct dv_yaml_node *node);
/* Calls for every map of the tree, outermost first. */
void dv_lintfile_each_map(struct dv_lintfile *l, const struct dv_yaml_node *node,
                          void (*fn)(struct dv_lintfile *l, const struct dv_yaml_node *map));

/* ---- findings ---- */

struct dv_lint_at dv_lintfile_at(const struct dv_lintfile *l, const struct dv_yaml_node *node);
/* Where the text of a scalar begins, for what reads it further. */
struct dv_lint_at dv_lintfile_text_at(const struct dv_lintfile *l, const struct dv_yaml_node *node);
struct dv_lint_finding *dv_lintfile_add(struct dv_lintfile *l, const struct dv_yaml_node *at,
                                        enum dv_lint_rule rule, const char *a, const char *b,
                                        const char *c, const char *d);
/* A scalar gets another text, in the quotes that it has. */
void dv_lintfile_edit_scalar(struct dv_lintfile *l, struct dv_lint_finding *f,
                             const struct dv_yaml_node *scalar, const char *after);
/* A complaint "FILE:LINE:COL: words" of another reader about the document, as a finding. Nothing
 * where something is found in that line already. */
void dv_lintfile_complain(struct dv_lintfile *l, enum dv_lint_rule rule, const char *message);
/* Is there a finding that is no note at this line already? */
bool dv_lintfile_is_said(const struct dv_lintfile *l, uint32_t line);
/* " (did you mean \"x\"?)", or "". Returns buf. */
#define DV_LINTFILE_HINT 160
const char *dv_lintfile_did_you_mean(const char *near, char buf[DV_LINTFILE_HINT]);

/* ---- what the file is about ---- */

/* The GPU model that counts for a pod: the caller's, else that of its node selector. */
const struct dv_gpu_model *dv_lintfile_model(const struct dv_lintfile *l,
                                             const struct dv_yaml_node *pod_spec);
/* ---- the judges: each takes what is of its kind in a document ---- */

void dv_lintfile_document(struct dv_lintfile *l, const struct dv_yaml_node *root);
void dv_lintfile_pods(struct dv_lintfile *l, const struct dv_yaml_node *object);
void dv_lintfile_resources(struct dv_lintfile *l, const struct dv_yaml_node *fragment);
void dv_lintfile_workload(struct dv_lintfile *l, const struct dv_yaml_node *object);
/* What a DaemonSet of NVIDIA's own programs gets wrong. */
void dv_lintfile_daemon(struct dv_lintfile *l, const struct dv_yaml_node *object,
                        const struct dv_yaml_node *pod_spec);
void dv_lintfile_api(struct dv_lintfile *l, const struct dv_yaml_node *object);
void dv_lintfile_quota(struct dv_lintfile *l, const struct dv_yaml_node *object);
void dv_lintfile_budget(struct dv_lintfile *l, const struct dv_yaml_node *object);
void dv_lintfile_kubelet(struct dv_lintfile *l, const struct dv_yaml_node *object);
void dv_lintfile_claim(struct dv_lintfile *l, const struct dv_yaml_node *object);
/* root: of a plugin's configuration, of mig-parted's file. */
void dv_lintfile_plugin(struct dv_lintfile *l, const struct dv_yaml_node *root);
void dv_lintfile_mig_parted(struct dv_lintfile *l, const struct dv_yaml_node *root);
/* at: what has the keys mig and devicePlugin. */
void dv_lintfile_operator(struct dv_lintfile *l, const struct dv_yaml_node *at);
/* Values of a chart; `chart` as in policy/lint/lint_kube.h. sure: it is this chart, and not only
 * like it, so that a value that it does not have is one. */
void dv_lintfile_values(struct dv_lintfile *l, const struct dv_yaml_node *values, int chart,
                        bool sure);
void dv_lintfile_own(struct dv_lintfile *l, const struct dv_yaml_node *root);
/* Rule groups: what has the key groups. */
void dv_lintfile_rules(struct dv_lintfile *l, const struct dv_yaml_node *root);
void dv_lintfile_dashboard(struct dv_lintfile *l, const struct dv_yaml_node *root);

/* ---- texts that are no trees ---- */

/* A scalar's text as a tree of its own: `inner` becomes `l` with the place of that text. NULL, and
 * a finding, where it cannot be read; the caller frees what it gets. */
struct dv_yaml *dv_lintfile_inner(struct dv_lintfile *l, const struct dv_yaml_node *scalar,
                                  struct dv_lintfile *inner);

/* YAML in a text whose first character is at `at`: documents, one after the other. */
void dv_lintfile_yaml(struct dv_lintfile *l, const char *text, size_t len,
                      const struct dv_lint_at *at);
void dv_lintfile_shell(struct dv_lintfile *l, const char *text, size_t len,
                       const struct dv_lint_at *at);
void dv_lintfile_promql(struct dv_lintfile *l, const char *text, size_t len,
                        const struct dv_lint_at *at);

#endif
