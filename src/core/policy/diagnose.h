/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wrong with a node: facts in, findings out. A finding names its trouble and the operands;
 * the words, with the command that mends it, are in render/diagnosis_text.h. What is fine, or as
 * the layout wants it, makes no finding.
 *
 *     struct dv_diagnose_facts facts = {.driver = DV_DIAGNOSE_DRIVER_OK, .snapshot = snapshot};
 *     dv_diagnose(&facts, &diagnosis);
 *     for (i = 0; i < diagnosis.n; i++) ... diagnosis.findings[i] ...
 */
#ifndef DV_POLICY_DIAGNOSE_H
#define DV_POLICY_DIAGNOSE_H

#include "model/snapshot.h"

#define DV_DIAGNOSE_UNKNOWN UINT32_MAX
#define DV_DIAGNOSE_GIS_MAX 16u
#define DV_DIAGNOSE_DETAIL 480u
#define DV_DIAGNOSE_MAX 256u

enum dv_severity {
    DV_SEVERITY_NOTE, /* can stay */
    DV_SEVERITY_WARNING,
    DV_SEVERITY_ERROR,
};

/* In the order in which people see them. In brackets: the operands that are set. */
enum dv_trouble {
    /* Seen from the command line, without a daemon: */
    DV_TROUBLE_DAEMON_CLOSED,      /* its socket does not let us in [detail] */
    DV_TROUBLE_DAEMON_NOT_STARTED, /* [detail] */
    DV_TROUBLE_DAEMON_DIED,        /* [detail] */
    DV_TROUBLE_DAEMON_STRANGE,     /* what answers is no divvyd [detail] */
    DV_TROUBLE_DAEMON_REFUSES,     /* it answers an error [detail] */
    DV_TROUBLE_NOT_INSTALLED,      /* [detail: the file] */
    DV_TROUBLE_NO_DEVICE_NODE,
    DV_TROUBLE_DEVICE_NODE_CLOSED, /* [detail] */
    DV_TROUBLE_MPS_STALE,          /* [detail: the folder] */

    DV_TROUBLE_KEEPER_GONE,
    DV_TROUBLE_DRIVER_MISSING,    /* [detail] */
    DV_TROUBLE_DRIVER_NOT_LOADED, /* [detail] */
    DV_TROUBLE_DRIVER_MISMATCH,   /* [detail] */
    DV_TROUBLE_DRIVER_WEDGED,     /* [detail] */
    DV_TROUBLE_DRIVER_FAILED,     /* [detail] */
    DV_TROUBLE_LIBCUDA_MISSING,

    DV_TROUBLE_GPU_LOST,      /* [gpu, detail: which card, and where] */
    DV_TROUBLE_GPU_MISSING,   /* [gpu: its index then, device: its UUID, since, detail: which card,
                                 where, how it was] */
    DV_TROUBLE_XID_FATAL,     /* [gpu, n: the XID] */
    DV_TROUBLE_XID_CONTAINED, /* [gpu, n] */
    DV_TROUBLE_XID_APPLICATION, /* [gpu, n] */
    DV_TROUBLE_XID_OTHER,       /* [gpu, n] */
    DV_TROUBLE_XID_CLEANUP,     /* [gpu, n] */
    DV_TROUBLE_ROWS_FAILED,     /* [gpu] */
    DV_TROUBLE_ROWS_PENDING,    /* [gpu] */
    DV_TROUBLE_LINKS_DOWN,      /* [gpu, n: NVLinks] */
    DV_TROUBLE_HELD_OUT,        /* [gpu, n: seconds, detail: why] */
    DV_TROUBLE_PROHIBITED,      /* [gpu] compute mode */
    DV_TROUBLE_ONE_PROCESS,     /* [gpu] compute mode, where the device is to be shared */
    DV_TROUBLE_MIG_PENDING,     /* [gpu, since, detail: who uses it] */
    DV_TROUBLE_MIG_EMPTY,       /* [gpu] */
    DV_TROUBLE_GI_EMPTY,        /* [gpu, n: the GPU instance's id] */
    DV_TROUBLE_MEMORY_GHOST,    /* [gpu, bytes] */
    DV_TROUBLE_PERSISTENCE_OFF, /* [gpu] */

    DV_TROUBLE_LAYOUT_FAILED,     /* [gpu, detail] */
    DV_TROUBLE_LAYOUT_DIFFERS,    /* [gpu, detail: what mending takes] */
    DV_TROUBLE_LAYOUT_WAITS,      /* [gpu, since, slice, tenant, detail: of which pod and processes,
                                     n: how many are in the way] */
    DV_TROUBLE_LAYOUT_AWAITS_POD, /* [gpu, since, detail: which] */
    DV_TROUBLE_MPS_DOWN,          /* [gpu, device, detail] */
    DV_TROUBLE_MPS_FAULT,         /* [gpu, device, detail: what happened, and whom it took down] */
    DV_TROUBLE_REPLICAS_TIGHT,    /* [gpu, device, n: replicas, bytes: of one] */
    DV_TROUBLE_TURNS_UNFAIR,      /* [gpu, device, slice, tenant, n: processes] */

    DV_TROUBLE_PLUGIN_WAITS,       /* [detail: resources, and what is in the way] */
    DV_TROUBLE_PLUGIN_LOST,        /* [detail: resources] */
    DV_TROUBLE_CONFIG_REFUSED,     /* [detail] */
    DV_TROUBLE_CONFIG_NOT_OFFERED, /* [detail] */
    DV_TROUBLE_MIG_LABEL,          /* [detail] */
    DV_TROUBLE_CDI_CLOSED,         /* [detail] */
    DV_TROUBLE_API_AWAY,           /* [detail] */
    DV_TROUBLE_LABELS_UNWRITTEN,   /* [detail] */

    DV_TROUBLE_STATE_UNWRITTEN, /* [detail] */
    DV_TROUBLE_STATE_ASIDE,     /* [detail] */
    DV_TROUBLE_NOT_REALTIME,
    DV_TROUBLE_COUNT,
};

struct dv_diagnosis_finding {
    enum dv_trouble trouble;
    uint32_t gpu; /* unknown: about none */
    char device[DV_UUID_SIZE];
    uint64_t slice, n, bytes;
    int64_t since_unix; /* 0: unknown */
    char tenant[DV_TENANT_SIZE];
    char detail[DV_DIAGNOSE_DETAIL]; /* words of others */
};

struct dv_diagnosis {
    uint32_t n;
    bool more; /* there would have been more than fit */
    struct dv_diagnosis_finding findings[DV_DIAGNOSE_MAX];
};

enum dv_diagnose_driver {
    DV_DIAGNOSE_DRIVER_OK,
    DV_DIAGNOSE_DRIVER_STARTING,
    DV_DIAGNOSE_DRIVER_ALONE, /* nobody asks it any more */
    DV_DIAGNOSE_DRIVER_MISSING,
    DV_DIAGNOSE_DRIVER_NOT_LOADED,
    DV_DIAGNOSE_DRIVER_MISMATCH,
    DV_DIAGNOSE_DRIVER_WEDGED,
    DV_DIAGNOSE_DRIVER_FAILED,
};

/* What is known of a GPU of the snapshot beyond it. Numbers may be unknown. */
struct dv_diagnose_gpu {
    uint32_t index;
    bool lost;
    const char *place;              /* lost: which card and where, for people; NULL: unknown */
    uint64_t xid;                   /* the last that still counts; 0: none */
    uint32_t compute_mode;          /* NVML: 0 default, 2 prohibited, 3 exclusive process */
    uint32_t persistence;           /* 0, 1 */
    bool rows_pending, rows_failed; /* of memory, to be replaced by spare ones at a reset */
    uint32_t links_down;            /* NVLinks that were up before */
    uint32_t held_out_s;            /* a fault is over, and nothing new comes yet; 0: not so */
    const char *held_out;           /* why */
    bool mig_pending;               /* a change of MIG mode waits for a reset */
    int64_t mig_pending_unix;       /* since when; 0: unknown */
    const char *users;              /* processes on it, for people; NULL: none that is known */
    bool empty_wanted;              /* the layout wants MIG mode without instances, or is at work */
    uint32_t n_gi;
    struct {
        uint32_t id;
        bool has_ci;
    } gi[DV_DIAGNOSE_GIS_MAX];
    uint64_t ghost_bytes; /* in use for a while although no process is listed; 0: none */
};

/* A GPU that was there and that the driver no longer counts. */
struct dv_diagnose_missing {
    uint32_t index; /* that it had */
    const char *uuid;
    const char *card; /* which, where, and how it was, for people */
    int64_t since_unix;
};

struct dv_diagnose_layout { /* of one GPU that is not settled, or is not as it was settled */
    uint32_t gpu;           /* unknown: the layout as a whole */
    bool failed, differs;
    const char *detail; /* NULL, "": none */
    int64_t since_unix; /* when it began to wait; 0: it does not */
    uint32_t n_blockers;
    uint64_t slice; /* the first of them */
    const char *tenant;
    const char *holder; /* the pod and processes of that slice, for people; NULL: unknown */
    const char *pods;   /* that have what is to go and hold no slice; NULL: none */
};

struct dv_diagnose_mps { /* of one device that is to be shared by MPS */
    const char *device;
    const char *problem; /* why it does not come up; NULL, "": it does */
    const char *fault;   /* the last, while it counts; NULL, "": none */
};

/* A slice on a time-sliced device, with others, whose processes each get a turn. */
struct dv_diagnose_crowd {
    const char *device, *tenant;
    uint64_t slice;
    uint32_t processes;
};

/* Of a node in a Kubernetes cluster; NULL, "": nothing is wrong there. */
struct dv_diagnose_kubernetes {
    const char *waiting; /* resources that the kubelet does not have for longer than it restarts */
    const char *lost;    /* ... whose list it has dropped */
    const char *config, *offer, *mig, *cdi, *server, *labels;
};

struct dv_diagnose_facts {
    enum dv_diagnose_driver driver;
    const char *driver_detail;
    bool libcuda_missing;
    const struct dv_snapshot *snapshot; /* may be NULL */
    const struct dv_diagnose_gpu *gpus;
    uint32_t n_gpus;
    const struct dv_diagnose_missing *missing;
    uint32_t n_missing;
    const struct dv_diagnose_layout *layout;
    uint32_t n_layout;
    const struct dv_diagnose_mps *mps;
    uint32_t n_mps;
    const struct dv_diagnose_crowd *crowds;
    uint32_t n_crowds;
    struct dv_diagnose_kubernetes kubernetes;
    const char *state_problem, *state_note; /* NULL, "": none */
    bool not_realtime;
};

/* Sorted by trouble, then by GPU. */
void dv_diagnose(const struct dv_diagnose_facts *facts, struct dv_diagnosis *ret);

/* "mig_empty", ...: stable, for JSON. */
const char *dv_diagnose_name(enum dv_trouble trouble);
enum dv_severity dv_diagnose_severity(enum dv_trouble trouble);
/* "note", "warning", "error". */
const char *dv_diagnose_severity_name(enum dv_severity severity);

#endif
