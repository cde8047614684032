/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MIG geometry: which GPU instances a GPU can be cut into, and where each may lie.
 *
 * A GPU's memory is a grid of `grid` equal pieces; an instance covers `size` neighbouring pieces
 * from one of a few legal starts, and takes `slices` of the GPU's compute slices. On an A100 a
 * 3g.20gb covers 4 of 8 pieces from 0 or 4, and takes 3 of 7 compute slices. Two instances can
 * live together when their pieces do not overlap, no profile is used more than `max_instances`
 * times, the compute slices suffice, and the media engines are not promised twice.
 *
 *     const struct dv_mig_geometry *g = dv_mig_geometry_find("A100-40GB");
 *     const struct dv_mig_profile *p = dv_mig_profile_find(g, "3g.20gb", &err);
 *
 * Geometries of boards whose placements are public are built in (mig_profiles.def); a geometry of
 * a real GPU is filled in from NVML by the caller and checked with dv_mig_geometry_check(). All
 * functions take the geometry, none takes a model's name.
 *
 * Three numbers name a profile and must not be mixed up: `name` ("3g.20gb"), `id` (what
 * `nvidia-smi mig -lgip` prints and nvmlDeviceCreateGpuInstance takes: 9) and `nvml` (the
 * NVML_GPU_INSTANCE_PROFILE_* argument of nvmlDeviceGetGpuInstanceProfileInfo: 2).
 */
#ifndef DV_MODEL_MIG_H
#define DV_MODEL_MIG_H

#include "base/err.h"

#include <stdbool.h>

#define DV_MIG_NAME 32          /* a profile's name with its NUL */
#define DV_MIG_GRID_MAX 16      /* pieces of memory; the largest known board has 12 */
#define DV_MIG_PROFILES_MAX 24  /* NVML knows 18 */
#define DV_MIG_INSTANCES_MAX 16 /* every instance covers at least one piece */
#define DV_MIG_UNKNOWN (-1)     /* an engine count that no public source gives */

/* What a profile's name adds to its size; NVML's nvmlGpuInstanceProfileInfo_v3 says the same. */
enum dv_mig_media {
    DV_MIG_MEDIA_DEFAULT, /* the profile's share, or none on boards with few engines */
    DV_MIG_MEDIA_ONE,     /* "+me": with the engines of which a GPU has one (OFA, JPEG) */
    DV_MIG_MEDIA_ALL,     /* "+me.all": all engines of the GPU; the others get none */
    DV_MIG_MEDIA_NONE,    /* "-me": none at all */
};

struct dv_mig_engines { /* DV_MIG_UNKNOWN where no source gives the number */
    int8_t copy, decoder, encoder, jpeg, ofa;
};

struct dv_mig_profile {
    char name[DV_MIG_NAME]; /* "1g.5gb+me" */
    uint32_t id;
    uint32_t nvml;
    uint32_t slices;        /* compute slices, 1 .. geometry.slices */
    uint32_t size;          /* pieces of the memory grid, 1 .. geometry.grid */
    uint32_t starts;        /* bit s is set when an instance may start at piece s */
    uint32_t max_instances; /* per GPU, with nothing else on it */
    uint64_t memory_bytes;  /* 0: unknown */
    uint32_t sm;            /* multiprocessors; 0: unknown */
    enum dv_mig_media media;
    bool graphics; /* "+gfx" */
    struct dv_mig_engines engines;
};

struct dv_mig_geometry {
    const char *name; /* "A100-40GB"; NULL for one read from a driver */
    uint32_t grid;
    uint32_t slices;
    uint32_t n_profiles;
    struct dv_mig_profile profiles[DV_MIG_PROFILES_MAX];
};

/* One instance on a GPU. `start` is DV_MIG_UNPLACED while nobody has chosen a place. */
#define DV_MIG_UNPLACED UINT32_MAX
struct dv_mig_instance {
    uint32_t profile; /* index into geometry.profiles */
    uint32_t start;
};

/* Which rule a set of instances breaks. */
enum dv_mig_rule {
    DV_MIG_OK,
    DV_MIG_RULE_COUNT,     /* asked > limit instances of `profile` */
    DV_MIG_RULE_COMPUTE,   /* asked > limit compute slices in all */
    DV_MIG_RULE_MEMORY,    /* asked > limit pieces of the memory grid in all */
    DV_MIG_RULE_MEDIA,     /* `profile` and `other` both claim the same media engines */
    DV_MIG_RULE_START,     /* `profile` may not start at `start` */
    DV_MIG_RULE_OVERLAP,   /* `profile` at `start` overlaps `other` at `other_start` */
    DV_MIG_RULE_PLACEMENT, /* the sums fit, but no legal start is left for `profile` */
};

struct dv_mig_refusal {
    enum dv_mig_rule rule;
    uint32_t profile; /* index; what could not be had */
    uint32_t other;   /* index; what stands in its way */
    uint32_t start, other_start;
    uint32_t asked, limit;
};

/* The built-in geometries as objects, for tables (gpu_models.def); others use the functions. */
#define GEOMETRY(ident, ...) extern const struct dv_mig_geometry dv_mig_geometry_##ident;
#include "model/mig_profiles.def"
#undef GEOMETRY

/* The built-in geometry of that name, exactly as in mig_profiles.def, or NULL. */
const struct dv_mig_geometry *dv_mig_geometry_find(const char *name);
/* The built-in geometries, in the order of mig_profiles.def. NULL past the end. */
const struct dv_mig_geometry *dv_mig_geometry_at(size_t i);

/* Is this geometry sane? 0, or -EINVAL with a message that names the profile and the field. To be
 * called on whatever a driver said before anything else here sees it. */
int dv_mig_geometry_check(const struct dv_mig_geometry *geometry, struct dv_err *err);

/* Fills in memory and multiprocessors that no source gives, in proportion to the whole GPU (memory
 * by pieces, rounded down to 128 MiB as drivers do; multiprocessors by compute slices). For
 * simulated GPUs only: nobody should take the result for a fact. */
void dv_mig_geometry_estimate(struct dv_mig_geometry *geometry, uint64_t memory_bytes, uint32_t sm);

/*
 * A name taken apart: "2c.3g.20gb+me" is compute 2, slices 3, gigabytes 20, media ONE. Without a
 * "Nc." part compute is 0: the whole instance. The grammar is
 *     [N "c."] N "g." N "gb" [ ("+" | "-") attribute { ("," | "+") attribute } ]
 * with attributes me, me.all, gfx after "+" and me after "-", as NVIDIA writes them.
 */
struct dv_mig_name {
    uint32_t compute;   /* 0: no compute instance named */
    uint32_t slices;    /* 1 .. 99 */
    uint32_t gigabytes; /* 1 .. 9999 */
    enum dv_mig_media media;
    bool graphics;
};

/* 0, or -EINVAL with a message. Case matters, as it does to nvidia-smi. */
int dv_mig_name_parse(const char *text, struct dv_mig_name *ret, struct dv_err *err);
/* Writes the canonical text. Returns buf. */
const char *dv_mig_name_format(const struct dv_mig_name *name, char buf[DV_MIG_NAME]);

/* A profile by its name ("3g.20gb") or its numeric id ("9"). NULL with a message that lists what
 * there is. "MIG 3g.20gb" is taken too: that is how nvidia-smi prints it. */
const struct dv_mig_profile *dv_mig_profile_find(const struct dv_mig_geometry *geometry,
                                                 const char *text, struct dv_err *err);
/* By `id` or by `nvml`; NULL where the geometry has none. */
const struct dv_mig_profile *dv_mig_profile_by_id(const struct dv_mig_geometry *geometry,
                                                  uint32_t id);
const struct dv_mig_profile *dv_mig_profile_by_nvml(const struct dv_mig_geometry *geometry,
                                                    uint32_t nvml);
/* Does the profile hold any media engine? Decided by the engine counts where they are known, by
 * the name elsewhere. */
bool dv_mig_profile_has_media(const struct dv_mig_profile *profile);

/* The pieces that an instance covers, as a bit mask. */
uint32_t dv_mig_mask(const struct dv_mig_profile *profile, uint32_t start);
/* The id that drivers since r470 give to a GPU instance: its place in the binary tree of the grid
 * (7g is 0, the halves 1 and 2, the quarters 3 to 6, the eighths 7 to 14; seen in the MIG user
 * guide's listings). */
uint32_t dv_mig_instance_id(const struct dv_mig_geometry *geometry,
                            const struct dv_mig_profile *profile, uint32_t start);
/* An instance's compute in 1/7000 of its GPU. */
uint32_t dv_mig_compute(const struct dv_mig_geometry *geometry,
                        const struct dv_mig_profile *profile);

/*
 * May these placed instances live together? DV_MIG_OK, or the first rule that is broken; what and
 * by how much goes to *ret, which may be NULL. Instances without a place are counted but not laid
 * out (for that see policy/mig_plan.h). n is at most DV_MIG_INSTANCES_MAX + 1 for a useful
 * answer; more always breaks a rule.
 */
enum dv_mig_rule dv_mig_check(const struct dv_mig_geometry *geometry,
                              const struct dv_mig_instance *instances, size_t n,
                              struct dv_mig_refusal *ret);

/*
 * Compute instances: how one GPU instance's compute slices are divided again. nvidia-smi numbers
 * their profiles like NVML's NVML_COMPUTE_INSTANCE_PROFILE_* (1c is 0, 2c is 1, 3c is 2, 4c is 3,
 * 7c is 4); a `*` marks the default, which takes the whole GPU instance.
 */
struct dv_mig_compute_profile {
    uint32_t id;            /* of nvidia-smi and NVML alike */
    uint32_t slices;        /* compute slices */
    uint32_t max_instances; /* in one GPU instance */
    uint32_t sm;            /* 0: unknown */
    bool whole;             /* the default: named like the GPU instance, without "Nc." */
};

#define DV_MIG_COMPUTE_PROFILES_MAX 8
/* The compute profiles that a GPU instance offers, smallest first. Returns how many. */
size_t dv_mig_compute_profiles(const struct dv_mig_geometry *geometry,
                               const struct dv_mig_profile *profile,
                               struct dv_mig_compute_profile ret[DV_MIG_COMPUTE_PROFILES_MAX]);
/* "1c.3g.20gb", or "3g.20gb" for the default. Returns buf. */
const char *dv_mig_compute_name(const struct dv_mig_profile *profile,
                                const struct dv_mig_compute_profile *compute,
                                char buf[DV_MIG_NAME]);

#endif
