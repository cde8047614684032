/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what a GPU is to what a layout wants it to be: the steps, in order, and who is in the way.
 * One GPU at a time: what happens on one never depends on another.
 *
 *     struct dv_plan_gpu now = {...};                      facts of the driver
 *     r = dv_layout_plan_gpu(layout, snapshot, &now, &plan, &err);
 *     if (plan.n_blockers) ... these slices must end first ...
 *     else for (i = 0; i < plan.n_steps; i++) ... actuate plan.steps[i] ...
 *
 * A plan is always from what is there now: after a crash, a failure or a change by somebody else,
 * ask again and go on from there. The plan of a GPU that is as wanted has no steps.
 *
 * Instances in use are never moved. The plan keeps as many instances as any layout of the wanted
 * set can keep, in-use ones first, so it destroys and creates the fewest (mig_change.h). Which of
 * several alike becomes which wanted one is chosen so that the fewest devices in use are shared
 * otherwise than now, then so that the fewest compute instances go.
 *
 * What is in the way (blockers), and what is not:
 *   device or MIG mode goes      every slice on it
 *   a kept device's mode         every slice that is in another mode; to AUTO nobody, for the
 *                                slices keep their mode until the last leaves
 *   fewer replicas than slices   the youngest slices, as many as are too many; more or fewer
 *                                replicas otherwise disturb nobody, what is held stays as large
 *   length of a time-slice       nobody: it holds from the next turn on
 *   pending MIG mode taken back  nobody: the mode in force stays
 *
 * A GPU has one time-slice length: that of its wanted timeslice devices that name one (DEFAULT is
 * "none named"); with none of those named it is DEFAULT, and without timeslice devices it stays.
 * On a GPU that is not managed only a rule that names a length changes it.
 */
#ifndef DV_POLICY_LAYOUT_PLAN_H
#define DV_POLICY_LAYOUT_PLAN_H

#include "model/layout.h"
#include "policy/mig_change.h"

#define DV_PLAN_CIS_MAX 8u /* compute instances of one GPU instance */
#define DV_PLAN_STEPS_MAX 64u
#define DV_PLAN_BLOCKERS_MAX 256u

/* What is on a GPU. */
struct dv_plan_instance {
    uint32_t id;      /* the driver's, of the GPU instance */
    uint32_t profile; /* index into geometry->profiles */
    uint32_t start;
    uint32_t n_ci;
    struct {
        uint32_t id, slices; /* compute slices */
        char uuid[DV_UUID_SIZE];
    } ci[DV_PLAN_CIS_MAX];
};

struct dv_plan_gpu {
    uint32_t index;
    const struct dv_mig_geometry *geometry; /* NULL: no MIG */
    bool mig_enabled, mig_pending;
    uint32_t compute_mode;       /* NVML: 0 default, 2 prohibited, 3 exclusive process */
    enum dv_timeslice timeslice; /* the driver's setting now */
    bool timeslice_known;        /* false: the driver has no such setting */
    uint32_t n_instances;
    struct dv_plan_instance instances[DV_MIG_INSTANCES_MAX];
};

/* In the order in which a plan has them. An undo of each is the plan back. */
enum dv_step_kind {
    DV_STEP_MPS_STOP,   /* device: its daemon ends; sharing: what it will be, AUTO if it goes */
    DV_STEP_CI_DESTROY, /* gi, ci, device */
    DV_STEP_GI_DESTROY, /* gi, profile, start */
    DV_STEP_MIG_MODE,   /* value: 0, 1; with the reset that the driver asks for, where it does */
    DV_STEP_GI_CREATE,  /* profile (the driver's id), start, size */
    DV_STEP_CI_CREATE,  /* start (of its GPU instance), slices, value: the compute profile's id */
    DV_STEP_TIMESLICE,  /* value: enum dv_timeslice */
    DV_STEP_SHARING,    /* device, or start and slices of one to be made: mode, replicas */
};

struct dv_step {
    enum dv_step_kind kind;
    uint32_t gpu;
    uint32_t gi, ci;      /* the driver's ids, where they exist already; else UINT32_MAX */
    uint32_t profile;     /* the driver's profile id of the GPU instance */
    uint32_t start, size; /* of the GPU instance on the memory grid; whole GPU: 0, 0. With
                             `order` this tells apart the devices of a plan */
    uint32_t slices;      /* compute slices of a compute instance */
    uint32_t order;       /* of the compute instance within its GPU instance, from 0: among those
                             wanted (CI_CREATE, SHARING), those there (MPS_STOP, CI_DESTROY) */
    uint32_t value;
    struct dv_layout_sharing sharing;
    char device[DV_UUID_SIZE]; /* where one exists; of a whole GPU to come too */
    char uuid[DV_UUID_SIZE];   /* of the GPU: its number may be another one's by then; "": any */
    char name[DV_MIG_NAME];    /* "3g.40gb", for people; "" of a whole GPU */
};

/* "destroy_instance", ...: stable, for JSON and logs. */
const char *dv_step_name(enum dv_step_kind kind);

/* A device as it will be. */
struct dv_plan_device {
    char profile[DV_MIG_NAME];
    uint32_t start, size; /* of its GPU instance */
    uint32_t order;       /* of its compute instance among the wanted ones of the GPU instance */
    uint32_t slices;
    struct dv_layout_sharing sharing;
    char uuid[DV_UUID_SIZE]; /* of one that stays; "" of one to be made */
};

/* A slice that must end before the plan can go on. */
struct dv_plan_blocker {
    uint64_t slice;
    char device[DV_UUID_SIZE];
    enum dv_step_kind because; /* the first step that it is in the way of */
};

struct dv_gpu_plan {
    /* false: no entry means this GPU; nothing is cut, its devices are shared by the rules */
    bool managed;
    bool mig; /* what it will be */
    uint32_t n_devices, n_steps, n_blockers;
    uint32_t created, destroyed, kept; /* GPU instances */
    struct dv_plan_device devices[DV_LAYOUT_DEVICES_MAX];
    struct dv_step steps[DV_PLAN_STEPS_MAX];
    struct dv_plan_blocker blockers[DV_PLAN_BLOCKERS_MAX];
};

/*
 * The layout has passed dv_layout_check() on this snapshot. Devices of the plan and blockers are
 * sorted: by start and order, by slice. 0; -EINVAL with a message: the wanted set cannot be (which
 * rule it breaks), or `now` contradicts itself; -ENOSPC: more devices, steps or blockers than fit;
 * -ENOMEM.
 */
int dv_layout_plan_gpu(const struct dv_layout *layout, const struct dv_snapshot *snapshot,
                       const struct dv_plan_gpu *now, struct dv_gpu_plan *ret, struct dv_err *err);

#endif
