/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a node offers to the kubelet: the device plugin's configuration and the devices that are
 * there become resources, each a list of units that the kubelet counts, picks and hands back.
 *
 *     dv_cleanup(dv_offers_freep) struct dv_offers *offers = NULL;
 *     r = dv_offers_make(config, snapshot, &offers, &err);
 *     const struct dv_offer *o = dv_offers_find(offers, "nvidia.com/gpu.shared");
 *     r = dv_offers_prefer(offers, o, &request, &snapshot->topology, picked, &err);
 *     r = dv_offers_allocate(offers, o, ids, n, &answer);
 *
 * A unit's id says what it is. UUID here is the device's, or with deviceIDStrategy index "0" for a
 * GPU and "0:1" for a MIG device of it:
 *
 *     UUID              the device itself
 *     UUID::3           one of `replicas` equal parts
 *     UUID::p42         one of 100 percent tokens, all alike
 *     UUID::small.0     a named slice
 *
 * Source of names, suffixes and of what is picked: NVIDIA/k8s-device-plugin v0.20.0 (api/config/v1,
 * internal/rm); where this does otherwise, a comment says why.
 */
#ifndef DV_POLICY_OFFERS_H
#define DV_POLICY_OFFERS_H

#include "model/plugin_config.h"
#include "model/snapshot.h"

#define DV_OFFERS_ID 64u           /* a unit's id with its NUL */
#define DV_OFFERS_MAX 256u         /* resources of a node */
#define DV_OFFERS_UNITS_MAX 32768u /* of one resource: its list stays below 2 MiB on the wire */

enum dv_offer_kind {
    DV_OFFER_WHOLE,   /* GPUs or MIG devices, unshared */
    DV_OFFER_REPLICA, /* equal parts */
    DV_OFFER_PERCENT, /* percent tokens; all of a request lie on one device */
    DV_OFFER_SLICE,   /* named slices */
};

/* An id taken apart. */
struct dv_offer_id {
    enum dv_offer_kind kind;
    char device[DV_OFFERS_ID]; /* what stands before "::" */
    char slice[DV_PLUGIN_SLICE_NAME];
    uint32_t n; /* 0 of WHOLE */
};

/* A device of the node that some resource offers. */
struct dv_offer_device {
    char uuid[DV_UUID_SIZE];
    char name[DV_OFFERS_ID]; /* in ids: the UUID or the index */
    uint32_t gpu;            /* index of its GPU */
    char gpu_uuid[DV_UUID_SIZE];
    bool mig;
    bool gone;    /* its GPU is not there any more (dv_offers_keep): none of it is granted */
    bool healthy; /* its GPU is well (health_policy.h), and the device is not about to go */
    int32_t numa; /* -1: unknown */
    uint64_t memory_bytes;
    uint32_t compute; /* 1/7000 GPU */
};

/* The slice that a unit stands for is a part of its device. */
struct dv_offer_unit {
    char id[DV_OFFERS_ID];
    uint32_t device; /* index into offers->devices */
    uint64_t memory_bytes;
    uint32_t compute; /* 1/7000 GPU; of a percent token rounded down, see dv_offers_allocate() */
};

struct dv_offer {
    char name[DV_PLUGIN_NAME]; /* of the resource: "nvidia.com/gpu" */
    enum dv_offer_kind kind;
    enum dv_mode mode; /* EXCLUSIVE of WHOLE */
    enum dv_tier tier;
    bool fail_above_one;         /* more than one unit in a request is refused */
    bool packed;                 /* shared units go where most are taken, else where fewest are */
    struct dv_offer_unit *units; /* by device and number */
    uint32_t n_units;
    uint32_t *by_id; /* indices of units in the order of their ids */
};

struct dv_offers {
    struct dv_offer_device *devices; /* in the snapshot's order; those that are offered */
    uint32_t n_devices;
    struct dv_offer *offers; /* by name */
    uint32_t n_offers;
};

/*
 * 0, -ENOMEM, or -EINVAL with a message: migStrategy single on GPUs that are cut in different ways,
 * one name for two things (whole GPUs and shares, shares of two modes), slices that a device has no
 * room for, more MPS replicas than its daemon takes clients. Devices that a share lists and that
 * are not there are passed over, since one configuration serves many nodes.
 */
int dv_offers_make(const struct dv_plugin_config *config, const struct dv_snapshot *snapshot,
                   struct dv_offers **ret, struct dv_err *err);
void dv_offers_free(struct dv_offers *offers);
void dv_offers_freep(struct dv_offers **offers);

/*
 * What `before` offers of GPUs that have gone stays on offer, as units that are not healthy: the
 * kubelet counts them on as the node's, and gives them to nobody. An id that is another unit's by
 * now (deviceIDStrategy index) is that one's, and a resource that is something else by now does
 * not get what it was. 0 or -ENOMEM.
 */
typedef bool dv_offers_has_gone(const void *arg, const char *gpu_uuid);
int dv_offers_keep(struct dv_offers *offers, const struct dv_offers *before,
                   dv_offers_has_gone *has_gone, const void *arg);

/* By the resource's name; NULL where there is none. */
const struct dv_offer *dv_offers_find(const struct dv_offers *offers, const char *name);
/* By a unit's id; NULL where there is none. */
const struct dv_offer_unit *dv_offers_unit(const struct dv_offer *offer, const char *id);
/* The same over all resources; *ret_offer is that of the unit. */
const struct dv_offer_unit *dv_offers_search(const struct dv_offers *offers, const char *id,
                                             const struct dv_offer **ret_offer);

/* 0, or -EINVAL. */
int dv_offers_id_parse(const char *id, struct dv_offer_id *ret);
/* -ENAMETOOLONG when it does not fit. */
int dv_offers_id_format(const struct dv_offer_id *id, char ret[DV_OFFERS_ID]);

/* ---- which units to take (the kubelet's GetPreferredAllocation) ---- */

struct dv_offer_request {
    const char *const *available; /* ids, with or without those that must be in */
    size_t n_available;
    const char *const *must; /* ids that the answer must have */
    size_t n_must;
    uint32_t size; /* of the answer */
};

/*
 * Fills ret[0 ... size), pointers to the ids in `offer`, those of `must` first.
 *
 *   whole GPUs      the set with the nearest links among its GPUs; of equals the one that leaves
 *                   the nearest links among the others. Every set is tried where they are at most
 *                   20,000, else GPUs are added one by one.
 *   MIG devices     one by one from the GPU with the fewest taken (packed: the most).
 *   shares          one by one, from a GPU of which this answer has fewest (so that two shares lie
 *                   on two GPUs when they can: two on one have no more power than one), and then
 *                   from one with the fewest taken (packed: the most).
 *   percent tokens  all on the one device that has enough and the fewest more.
 *
 * 0, -ENOMEM, or -EINVAL with a message: not enough of them, none device with enough tokens, ids of
 * `must` that are not there.
 */
int dv_offers_prefer(const struct dv_offers *offers, const struct dv_offer *offer,
                     const struct dv_offer_request *request, const struct dv_topology *topology,
                     const char **ret, struct dv_err *err);

/* ---- what a container gets (the kubelet's Allocate) ---- */

enum dv_offer_refusal {
    DV_OFFER_GRANTED,
    DV_OFFER_UNKNOWN_ID,   /* [id] */
    DV_OFFER_ABOVE_ONE,    /* a shared resource, and [asked] units of it */
    DV_OFFER_SEVERAL_GPUS, /* [asked] percent tokens on [n] devices */
    DV_OFFER_TWICE,        /* [id] is asked for twice */
};

struct dv_offer_grant {
    uint32_t device; /* index into offers->devices */
    uint32_t units;
    uint64_t memory_bytes; /* of all its units together */
    uint32_t compute;      /* 1/7000 GPU */
};

/* Its words are in render/offer_text.h. */
struct dv_offer_answer {
    enum dv_offer_refusal refusal;
    char id[DV_OFFERS_ID]; /* shortened where it is longer */
    uint32_t asked;
    struct dv_offer_grant grants[DV_DEVICES_MAX]; /* by device; also of SEVERAL_GPUS */
    uint32_t n;
};

/* Percent tokens are added up before they are rounded: 100 of them are the whole device. 0, or
 * -ENOMEM. */
int dv_offers_allocate(const struct dv_offers *offers, const struct dv_offer *offer,
                       const char *const *ids, size_t n, struct dv_offer_answer *ret);

/* ---- how the devices must be shared for it ---- */

/* The part `sharing` of a layout that gives each shared device its mode (and its number of equal
 * parts), by UUID; unshared devices have no rule. Unlike the rules that dv_layoutfile_read() makes
 * of the same file it knows names that `resources` gives. 0, -ENOMEM, or -E2BIG with a message. */
int dv_offers_layout(const struct dv_offers *offers, struct dv_layout **ret, struct dv_err *err);

/* ---- what changed ---- */

enum dv_offer_change {
    DV_OFFER_SAME,
    DV_OFFER_APPEARS,
    DV_OFFER_CHANGES, /* its units, their health or NUMA nodes, its flags: one message to the
                         kubelet, the socket stays */
    DV_OFFER_VANISHES,
};

struct dv_offers_diff {
    uint32_t n; /* by name */
    struct {
        const char *name; /* a loan from one of the two */
        enum dv_offer_change change;
    } changes[2 * DV_OFFERS_MAX];
};

/* before NULL: there was nothing. SAME resources are listed too. */
void dv_offers_diff(const struct dv_offers *before, const struct dv_offers *after,
                    struct dv_offers_diff *ret);

#endif
