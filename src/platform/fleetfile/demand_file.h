/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A history of demand: a CSV file (csv/csv.h) with a column `time` and one for each MIG profile,
 * how many instances were wanted then (in use and waited for).
 *
 *     time,1g.10gb,3g.40gb
 *     2026-11-01T00:00Z,3,1
 *     1793494800,4.5,
 *
 * Times are as in dv_zone_parse(); without a zone they are UTC. An empty field is not known. The
 * rows are put into steps of equal length, from a whole multiple of it on: of a step with several
 * rows the mean. Rows may come in any order; of two with one time the later one counts. A profile's
 * column may also be called as Kubernetes has it, "nvidia.com/mig-1g.10gb".
 */
#ifndef DV_FLEETFILE_DEMAND_FILE_H
#define DV_FLEETFILE_DEMAND_FILE_H

#include "model/mig.h"
#include "policy/mig_forecast.h"

#define DV_DEMAND_FILE_ROWS_MAX 2000000u
#define DV_DEMAND_FILE_NAME 64

struct dv_demand_file {
    uint32_t n_profiles;
    uint32_t profiles[DV_MIG_PROFILES_MAX]; /* index into the geometry's, ascending */
    int64_t start_unix;                     /* of the first step */
    uint64_t step_s;
    size_t n;        /* steps */
    int32_t *demand; /* n * n_profiles; as struct dv_mig_forecast_problem has it */
    uint64_t rows, duplicates, out_of_order;
    size_t gaps; /* steps without any row */
    /* Columns that are called like a MIG profile, and not like one of this GPU: they are not read.
     */
    uint32_t n_foreign;
    char foreign[DV_DEMAND_FILE_NAME]; /* the first of them; printable */
};

/* step_s: 1..31 days. path "-": the standard input. 0; -EINVAL, -ERANGE, -E2BIG, -errno of open or
 * read with a message; -ENOMEM. */
int dv_demand_file_load(const char *path, const struct dv_mig_geometry *geometry, uint64_t step_s,
                        struct dv_demand_file **ret, struct dv_err *err);
/* The same of bytes; `name` stands in messages. */
int dv_demand_file_read(const char *name, const void *data, size_t size,
                        const struct dv_mig_geometry *geometry, uint64_t step_s,
                        struct dv_demand_file **ret, struct dv_err *err);
void dv_demand_file_free(struct dv_demand_file *f);
static inline void dv_demand_file_freep(struct dv_demand_file **f)
{
    dv_demand_file_free(*f);
}

#endif
