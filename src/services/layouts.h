/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the node should have, and how it gets there. A layout comes from up to two files, one for
 * the cut and one for the sharing (model/layout.h); divvy's own file is both. What is wanted is
 * kept in the store with what was wanted before.
 *
 * Each GPU goes its own way and by itself: plan from what is there now, do the first step, look,
 * plan again, until nothing is left to do (policy/layout_plan.h). So a change that was cut short by
 * a crash, a restart or another tool goes on from wherever it is. A step that fails turns the GPU
 * round: from then on it is led back to what it was when its change began (its checkpoint). Slices
 * in the way are waited for, with their devices closed to new claims; others never notice.
 *
 *     r = dv_layouts_plan(node, &request, &ret, &err);       what would be done, whom it disturbs
 *     r = dv_layouts_apply(node, &request, &answer, &err);
 *
 * Documents in the store: "cut", "sharing" (what is wanted), "previous-cut", "previous-sharing"
 * (what undo brings back), "undo:GPU-..." (what the GPU was before the last apply),
 * "change:GPU-..." (its checkpoint, while a change is under way or after it failed),
 * "instead:GPU-..." (where an undo leads a GPU that no file means), "config" (the --config file
 * that was applied last).
 */
#ifndef DV_SERVICES_LAYOUTS_H
#define DV_SERVICES_LAYOUTS_H

#include "layoutfile/layoutfile.h"
#include "node.h"
#include "policy/layout_plan.h"

enum dv_layouts_when {
    DV_LAYOUTS_IDLE,  /* only if nobody is in the way */
    DV_LAYOUTS_WAIT,  /* when those in the way have left by themselves */
    DV_LAYOUTS_EVICT, /* those in the way are ended: SIGTERM, and SIGKILL 5 s later */
};

struct dv_layouts_request {
    char name[256];  /* of the file, for messages */
    char config[64]; /* "": none said */
    char *text;      /* NULL: undo */
    size_t len;
    enum dv_layouts_when when;
    uint64_t timeout_ns; /* to wait for those in the way; 0: for ever */
    bool patient;        /* MPS daemons that do not start are tried for ever */
};

/* Positive answers of dv_layouts_*; the message says more. */
enum dv_layouts_answer {
    DV_LAYOUTS_DONE, /* it is so already, or needed no waiting */
    DV_LAYOUTS_UNDER_WAY,
    DV_LAYOUTS_IN_USE,     /* slices are in the way, see the plans */
    DV_LAYOUTS_BUSY,       /* another change is under way, and more than waits */
    DV_LAYOUTS_WRONG,      /* the file is wrong */
    DV_LAYOUTS_INFEASIBLE, /* this node cannot have it */
    DV_LAYOUTS_NOTHING,    /* to undo */
};

enum dv_change_state {
    DV_CHANGE_SETTLED,
    DV_CHANGE_DRAINING, /* waits for slices in the way */
    DV_CHANGE_CHANGING,
    DV_CHANGE_ROLLING_BACK,
    DV_CHANGE_FAILED, /* it is as it was before, or stuck; detail says */
};

enum { DV_LAYOUTS_CUT, DV_LAYOUTS_SHARING, DV_LAYOUTS_PARTS };

/* A file as it was given. */
struct dv_layouts_source {
    char *text; /* NULL: there is none */
    size_t len;
    char name[256], config[64];
    enum dv_layoutfile_format format;
    int64_t applied_unix;
    struct dv_layout *layout;
};

struct dv_gpu_change {
    enum dv_change_state state;
    char detail[300];
    struct dv_layout *instead; /* where it is led to in place of the node's layout; NULL */
    char *checkpoint;          /* what it was when the change began, as a layout file; NULL */
    bool back;                 /* towards the checkpoint */
    bool evict, patient;
    bool asked;   /* the worker has a step or a question of ours */
    bool failing; /* a step failed; what it left is being looked at */
    bool blind;   /* the last look at the GPU failed: what is known of it is old */
    bool waiting; /* for others (slices, an MPS daemon): another layout may come in between */
    uint32_t steps, retries, looks;
    bool held;                      /* by a pod, as the kubelet said last: */
    char pods[160];                 /* "team/x and 2 more" */
    int64_t wait_unix;              /* DRAINING: since when */
    int64_t deadline_unix;          /* of deadline_ns, for people; 0: none */
    uint64_t take_ns;               /* since when it would take devices away; 0: it does not */
    uint64_t stop_ns;               /* since when an MPS daemon is asked to end; 0: none is */
    uint64_t deadline_ns, retry_ns; /* 0: none */
    struct dv_gpu_plan *plan;       /* the last */
    /* What its devices are meant to be, as of the last plan that nobody was in the way of. */
    struct dv_plan_device devices[DV_LAYOUT_DEVICES_MAX];
    uint32_t n_devices;
};

struct dv_layouts {
    struct dv_layouts_source now[DV_LAYOUTS_PARTS], before[DV_LAYOUTS_PARTS];
    bool can_undo;
    struct dv_layout merged; /* a loan from `now`: entries of the cut, rules of the sharing */
    char *undo[DV_FACTS_GPUS_MAX];
    struct dv_gpu_change gpu[DV_FACTS_GPUS_MAX];
    bool restored;       /* what the store knows has been taken */
    uint64_t generation; /* how many layouts have been applied since the start */
    char problem[400];   /* of a --config file or the stored layout; "" */
};

int dv_layouts_new(struct dv_layouts **ret);
void dv_layouts_free(struct dv_layouts *layouts);
/* After the first inventory and the restored slices: takes what is wanted from the store, and the
 * --config file where it is another than last time. */
void dv_layouts_restore(struct dv_node *node);

/* plans[i] is that of GPU i, NULL where there is no such GPU; the caller frees each with free(). */
struct dv_layouts_plans {
    struct dv_gpu_plan *plans[DV_FACTS_GPUS_MAX];
    struct dv_layoutfile_info info;
    bool changes; /* there is anything to do */
    uint32_t blockers;
};
void dv_layouts_plans_done(struct dv_layouts_plans *plans);

/* A negative errno, or enum dv_layouts_answer; DONE: *ret is set. */
int dv_layouts_plan(struct dv_node *node, const struct dv_layouts_request *request,
                    struct dv_layouts_plans *ret, struct dv_err *err);
/* The same, and the change begins. *ret is set for DONE, UNDER_WAY and IN_USE. */
int dv_layouts_apply(struct dv_node *node, const struct dv_layouts_request *request,
                     struct dv_layouts_plans *ret, struct dv_err *err);

/* ---- reconcile.c: one GPU ---- */

/* A look at the GPU has ended. fresh: its facts have come; else `why`, NULL: nobody answered. */
void dv_reconcile_seen(struct dv_node *node, uint32_t gpu, bool fresh, const char *why);
/* Deadlines, retries, and who has left meanwhile. */
void dv_reconcile_tick(struct dv_node *node, uint64_t now);
/* Begins to lead the GPU to what is wanted. patient: an MPS daemon that does not start is tried for
 * ever rather than led back from. */
void dv_reconcile_begin(struct dv_node *node, uint32_t gpu, bool evict, uint64_t deadline_ns,
                        bool patient);
/* Goes on with a change of before a restart, whose checkpoint is set. */
void dv_reconcile_resume(struct dv_node *node, uint32_t gpu, bool back);
/* What the devices of a GPU that is still are meant to be: as this layout says, NULL: as its
 * checkpoint says. */
void dv_reconcile_recall(struct dv_node *node, uint32_t gpu, const struct dv_layout *layout);
/* Where the GPU is to be: in place of the node's layout its own, where it has one. */
const struct dv_layout *dv_reconcile_wanted(const struct dv_node *node, uint32_t gpu);
/* The plan from what the GPU is now to this layout. 0 or negative errno with a message. */
int dv_reconcile_plan(struct dv_node *node, uint32_t gpu, const struct dv_layout *layout,
                      struct dv_gpu_plan *ret, struct dv_err *err);
/* What the GPU is now, as a layout file with every place named. Malloc'ed, or NULL. */
char *dv_reconcile_checkpoint(struct dv_node *node, uint32_t gpu);
/* Notes, in a device about to enter the snapshot, how the layout wants it to be shared. */
void dv_reconcile_assign(const struct dv_node *node, struct dv_device *device);
/* The time-slice setting that the device is meant to have. */
enum dv_timeslice dv_reconcile_timeslice(const struct dv_node *node,
                                         const struct dv_device *device);

/* The GPU has gone: its change goes on when it is back (dv_layouts_arrived). */
void dv_layouts_gone(struct dv_node *node, uint32_t gpu);
/* A GPU has come, or come back: after the restore it is led to what is wanted. */
void dv_layouts_arrived(struct dv_node *node, uint32_t gpu);
/* What makes a settled GPU differ from its layout (somebody else changed it): adds the steps that
 * would mend it. False: nothing. */
bool dv_layouts_differs(struct dv_node *node, uint32_t gpu, struct dv_str *text);

/* "settled", "draining", "changing", "rolling_back", "failed". */
const char *dv_layouts_state_name(enum dv_change_state state);
/* That of the node: the worst of its GPUs'. */
enum dv_change_state dv_layouts_state(const struct dv_node *node);
bool dv_layouts_any(const struct dv_node *node);
/* No change of this GPU is under way. */
bool dv_layouts_gpu_is_still(const struct dv_node *node, uint32_t gpu);

#endif
