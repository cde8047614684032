/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One MPS control daemon per device that is shared by MPS: started when the layout or a claim asks
 * for it, looked after, started again when it dies, stopped when the last has left and no layout
 * keeps it. A device takes claims (dv_device.mps_up) once a real client connection has worked.
 *
 * A daemon outlives divvyd: a restart finds it by its folder STATE/mps/NAME and takes it over.
 *
 * A fatal fault of one client takes down all clients of that server (NVIDIA's MPS guide); who they
 * were is remembered and said: the log, doctor, explain.
 */
#ifndef DV_SERVICES_MPS_H
#define DV_SERVICES_MPS_H

#include "actuate/actuate.h"
#include "node.h"
#include "render/output.h"

#define DV_MPS_DAEMONS_MAX 128u

enum dv_mps_state {
    DV_MPS_DOWN,
    DV_MPS_STARTING,
    DV_MPS_UP,
    DV_MPS_STOPPING,
};

struct dv_mps_daemon {
    struct dv_mps_spec spec; /* device, name, limits in force */
    enum dv_mps_state state;
    bool asked;     /* the worker has a question of ours */
    bool held_down; /* a change of layout wants it stopped */
    uint32_t failures, restarts;
    uint64_t next_ns; /* not before */
    struct dv_mps_status status;
    bool faulty;       /* the last look found the server in fault */
    uint64_t fault_ns; /* of the last fault, or loss of the daemon; 0: none */
    char fault[300];   /* what happened, and whom it took down */
    char problem[240]; /* why it does not start; "" */
};

struct dv_mps {
    struct dv_mps_daemon daemons[DV_MPS_DAEMONS_MAX];
    uint32_t n;
    bool looked;                  /* for daemons of before a restart */
    bool awaited[DV_DEVICES_MAX]; /* snapshot devices that a claim waits for */
};

int dv_mps_new(struct dv_mps **ret);
void dv_mps_free(struct dv_mps *mps);
void dv_mps_tick(struct dv_node *node, uint64_t now);
bool dv_mps_is_up(const struct dv_node *node, const char *device);
/* Makes it end; true when it has. Its clients must have left. */
bool dv_mps_stop(struct dv_node *node, const char *device);
/* It may run again, if anything wants it: the change that stopped it goes on without. */
void dv_mps_allow(struct dv_node *node, const char *device);
/* Is this process part of one of our daemons? */
bool dv_mps_is_ours(const struct dv_node *node, const struct dv_proc_id *id);
/* What a client of the slice needs in its environment. */
void dv_mps_environment(const struct dv_node *node, const struct dv_slice *slice,
                        struct dv_output_node *env);
/* NULL: none. */
const struct dv_mps_daemon *dv_mps_find(const struct dv_node *node, const char *device);
/* The daemon of a device as requests name it, without limits; also before we know one (a slice may
 * end right after a restart). */
void dv_mps_name(const struct dv_node *node, const struct dv_device *device,
                 struct dv_mps_spec *ret);

#endif
