/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bill while it is made. For this room only.
 *
 *     rows -> bill.c: cut at range, days, prices -> cells of open days
 *          -> bill_settle.c: a complete day's cells in whole micros -> gpus, tenants, lines
 *          -> bill_finish.c: fees, idle time, totals
 *
 * Names are numbers inside: indices into gpus, tenants (0 is the GPU's own, ""), pods (0 is none)
 * and kinds.
 */
#ifndef DV_ACCOUNT_BILL_INTERNAL_H
#define DV_ACCOUNT_BILL_INTERNAL_H

#include "account/bill.h"

#define DV_BILL_CUTS_MAX 40u     /* of one row: its days and the two ends of the range */
#define DV_BILL_ANY UINT32_MAX   /* of a line's key: not told apart */
#define DV_BILL_NO_DAY INT32_MIN /* of a line's key: the whole range */

/* A hash table from keys that lie elsewhere to their indices there. */
struct dv_bill_index {
    struct dv_bill_slot {
        uint32_t hash, number; /* number: index + 1; 0: free */
    } * slots;
    uint32_t cap, n;
};
/* Walks the slots of a hash: *at starts at 0. The next candidate's index, or UINT32_MAX. */
uint32_t dv_bill_index_next(const struct dv_bill_index *index, uint32_t hash, uint32_t *at);
/* 0 or -ENOMEM. */
int dv_bill_index_put(struct dv_bill_index *index, uint32_t hash, uint32_t i);
void dv_bill_index_clear(struct dv_bill_index *index);
uint32_t dv_bill_hash(uint32_t seed, const void *data, size_t size);
/* An array of n elements with room for one more, moved if need be; NULL when memory is out. */
void *dv_bill_grow(void *array, uint32_t n, uint32_t *cap, size_t size);

enum { BUSY, RESERVED, OVERHEAD, UNALLOCATED, UNHEALTHY, BUCKETS };

struct dv_bill_kind { /* what of an account is neither gpu nor tenant */
    char model[DV_GPU_NAME_SIZE];
    char profile[DV_MIG_NAME];
    enum dv_mode mode;
    enum dv_tier tier;
};

struct dv_bill_pod {
    char pod[DV_WORKLOAD_NAME_SIZE];
};

struct dv_bill_key {
    uint32_t gpu, tenant, kind;
    uint32_t pod; /* its name: with the tenant it is one */
    uint32_t source, quality;
    int32_t day;
    uint32_t line_kind; /* of a line */
};

struct dv_bill_cell { /* an account's local day */
    struct dv_bill_key key;
    struct dv_charge charge;
    dv_u128 cost[BUCKETS]; /* ns x micros per hour */
    dv_u128 requested;     /* 1/7000 ns x micros per hour */
    int64_t micros[BUCKETS], requested_micros, max_micros;
};

struct dv_bill_day {
    int32_t day;
    int64_t from, to;
    uint32_t n, cap;
    struct dv_bill_cell *cells;
    struct dv_bill_index index;
};

struct dv_bill_price { /* of a tenant's kind, as long as it holds */
    uint32_t tenant, kind;
    int64_t from, until;
    const struct dv_price_rule *rule;
};

struct dv_bill_gpu_state {
    int64_t from, to; /* the rows' interval that cut[] is about */
    uint64_t cut[DV_BILL_CUTS_MAX];
    dv_u128 carry; /* less than a micro */
    bool priced;
};

struct dv_bill {
    const struct dv_price_list *prices;
    struct dv_bill_query query;
    struct dv_bill_gpu *gpus;
    struct dv_bill_gpu_state *gpu_states; /* beside gpus */
    struct dv_bill_tenant *tenants;
    dv_u128 *requested_carry; /* beside tenants */
    struct dv_bill_kind *kinds;
    struct dv_bill_pod *pods;
    struct dv_bill_price *price_cache;
    struct dv_bill_day *days;
    struct dv_bill_line *lines;
    struct dv_bill_key *line_keys; /* beside lines */
    uint32_t n_gpus, n_tenants, n_kinds, n_pods, n_price_cache, n_days, n_lines;
    uint32_t cap_gpus, cap_gpu_states, cap_tenants, cap_carries, cap_kinds, cap_pods,
        cap_price_cache, cap_days, cap_lines, cap_line_keys;
    struct dv_bill_index gpu_index, tenant_index, kind_index, pod_index, price_index, line_index;
    uint32_t n_cells;         /* of the open days */
    int64_t first_end;        /* when the first of the open days ends */
    int64_t day_from, day_to; /* the local day looked up last */
    int32_t day;
    struct dv_bill_gap gaps[DV_BILL_GAPS_MAX];
    uint64_t n_gaps;
    uint64_t pods_folded; /* days or lines of pods that found no room */
    bool finished;
};

int dv_bill_gpu_find(struct dv_bill *bill, const char *uuid, const char *model, uint32_t *ret,
                     struct dv_err *err);
int dv_bill_tenant_find(struct dv_bill *bill, const char *name, uint32_t *ret, struct dv_err *err);
/* A pod for which there is no room is none: *ret 0. */
int dv_bill_pod_find(struct dv_bill *bill, const char *name, uint32_t *ret);
int dv_bill_kind_find(struct dv_bill *bill, const struct dv_bill_kind *kind, uint32_t *ret,
                      struct dv_err *err);
/* The local day that the instant is in; days tile time even where a clock goes back over midnight.
 */
void dv_bill_find_day(struct dv_bill *bill, int64_t unix_s);

/* Is this tenant's part shown? */
bool dv_bill_shown(const struct dv_bill *bill, uint32_t tenant);
/* What a view does not tell apart is taken out of the key; the line is made if need be. */
int dv_bill_line_find(struct dv_bill *bill, struct dv_bill_key key, struct dv_bill_line **ret,
                      struct dv_err *err);

/* Days that end at or before the instant are rounded and added up. */
int dv_bill_settle(struct dv_bill *bill, int64_t until, struct dv_err *err);

#endif
