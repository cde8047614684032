/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/audit_pack.h"

#include "policy/audit/audit_judge.h"
#include "policy/audit/first_fit.h"
#include "policy/mig_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PERCENT (DV_COMPUTE_FULL / 100)
#define LEVELS_MAX 104u /* percents of compute, or MIG profiles; whole words of them */
_Static_assert(LEVELS_MAX > DV_MIG_PROFILES_MAX, "a level for each profile");

/* A GPU while it is packed. */
struct open_gpu {
    uint32_t place;   /* among those of its kind */
    uint64_t memory;  /* shared: held */
    uint32_t compute; /* shared: held; MIG: compute slices */
    uint32_t n;       /* workloads on it now */
    uint32_t pieces;  /* MIG: of the memory grid */
    struct dv_mig_instance instances[DV_MIG_INSTANCES_MAX];
    uint32_t owners[DV_MIG_INSTANCES_MAX];
};

struct item {
    int64_t start_ns, end_ns;
    double size; /* the larger of its shares of memory and compute */
    uint32_t workload;
};

/* GPUs that are shared alike, in the order in which they were opened, and the room that each has.
 */
struct kind {
    struct dv_first_fit room;
    uint32_t *gpus;
    uint32_t n, cap;
};
enum { KIND_WHOLE, KIND_MIG, KIND_MPS, KIND_GOVERNED, KINDS };

struct packing {
    const struct dv_audit *audit;
    const struct dv_audit_wish *wish;
    struct dv_audit_plan *plan;
    struct open_gpu *gpus;
    uint32_t cap;
    struct kind kinds[KINDS];
    /* The shares of compute that are asked for of shared GPUs, ascending, and which one a whole
     * percent is. */
    uint32_t shares[LEVELS_MAX], n_shares;
    uint8_t share_of[101];
    /* Held by all workloads that are there now, for the bound. */
    uint64_t memory[5];
    uint64_t compute[5], pieces[5];
    uint32_t whole;
};

/* ---- one workload on one GPU ---------------------------------------------------------------- */

static bool is_whole(enum dv_audit_how how)
{
    return how == DV_AUDIT_KEEP || how == DV_AUDIT_EXCLUSIVE;
}

static int fits_mig(const struct packing *k, struct open_gpu *g, const struct dv_audit_workload *w,
                    uint32_t *ret_start)
{
    const struct dv_mig_geometry *geometry = k->wish->mig;
    const struct dv_mig_profile *p = &geometry->profiles[w->profile];
    if (g->n == DV_MIG_INSTANCES_MAX || g->compute + p->slices > geometry->slices ||
        g->pieces + p->size > geometry->grid)
        return 0;
    struct dv_mig_instance want = {w->profile, DV_MIG_UNPLACED};
    struct dv_mig_plan found;
    int r = dv_mig_plan_find(geometry, g->instances, g->n, &want, 1, &found);
    if (r < 0 || found.rule != DV_MIG_OK)
        return r;
    *ret_start = found.instances[0].start;
    return 1;
}

/* Of a GPU of the workload's kind. 1: it fits, 0: it does not. */
static int fits(const struct packing *k, uint32_t gpu, const struct dv_audit_workload *w,
                uint32_t *ret_start)
{
    struct open_gpu *g = &k->gpus[gpu];
    if (is_whole(w->how))
        return !g->n;
    if (w->how == DV_AUDIT_MIG)
        return fits_mig(k, g, w, ret_start);
    return !g->n || (g->n < DV_AUDIT_TENANTS_MAX &&
                     g->memory + w->memory_bytes <= k->wish->gpu_memory_bytes &&
                     g->compute + w->compute <= DV_COMPUTE_FULL - k->wish->headroom);
}

static double filled(const struct packing *k, const struct open_gpu *g, enum dv_audit_how how)
{
    if (is_whole(how))
        return 1;
    double memory = (double)g->memory / (double)k->wish->gpu_memory_bytes;
    double compute = g->compute / (double)DV_COMPUTE_FULL;
    if (how == DV_AUDIT_MIG) {
        memory = g->pieces / (double)k->wish->mig->grid;
        compute = g->compute / (double)k->wish->mig->slices;
    }
    return DV_MAX(memory, compute);
}

static void put(struct packing *k, uint32_t gpu, uint32_t workload, uint32_t start)
{
    const struct dv_audit_workload *w = dv_audit_at(k->audit, workload);
    struct open_gpu *g = &k->gpus[gpu];
    k->plan->gpu_of[workload] = gpu;
    if (w->how == DV_AUDIT_MIG) {
        const struct dv_mig_profile *p = &k->wish->mig->profiles[w->profile];
        g->instances[g->n] = (struct dv_mig_instance){w->profile, start};
        g->owners[g->n] = workload;
        g->compute += p->slices;
        g->pieces += p->size;
    } else if (!is_whole(w->how)) {
        g->memory += w->memory_bytes;
        g->compute += w->compute;
    }
    g->n++;
    struct dv_audit_gpu *of_plan = &k->plan->gpus[gpu];
    of_plan->workloads++;
    of_plan->workloads_peak = DV_MAX(of_plan->workloads_peak, g->n);
    of_plan->filled_peak = DV_MAX(of_plan->filled_peak, filled(k, g, w->how));
}

static void take_away(struct packing *k, uint32_t workload)
{
    const struct dv_audit_workload *w = dv_audit_at(k->audit, workload);
    struct open_gpu *g = &k->gpus[k->plan->gpu_of[workload]];
    g->n--;
    if (w->how == DV_AUDIT_MIG) {
        const struct dv_mig_profile *p = &k->wish->mig->profiles[w->profile];
        uint32_t i = 0;
        while (g->owners[i] != workload)
            i++;
        g->instances[i] = g->instances[g->n];
        g->owners[i] = g->owners[g->n];
        g->compute -= p->slices;
        g->pieces -= p->size;
    } else if (!is_whole(w->how)) {
        g->memory -= w->memory_bytes;
        g->compute -= w->compute;
    }
}

/* ---- the first GPU with room ------------------------------------------------------------------
 * What a GPU offers is never less than it has; fits() then says whether it is enough. */

static struct kind *kind_of(struct packing *k, enum dv_audit_how how)
{
    static const uint8_t kinds[] = {[DV_AUDIT_KEEP] = KIND_WHOLE,
                                    [DV_AUDIT_EXCLUSIVE] = KIND_WHOLE,
                                    [DV_AUDIT_MIG] = KIND_MIG,
                                    [DV_AUDIT_MPS] = KIND_MPS,
                                    [DV_AUDIT_GOVERNED] = KIND_GOVERNED};
    return &k->kinds[kinds[how]];
}

static bool is_shared(enum dv_audit_how how)
{
    return how == DV_AUDIT_MPS || how == DV_AUDIT_GOVERNED;
}

/* One more than in whole units, so that 0 is less than any. */
static uint16_t units_of(uint64_t bytes)
{
    return (uint16_t)(DV_MIN(bytes / DV_AUDIT_MEMORY_UNIT, (uint64_t)UINT16_MAX - 1) + 1);
}

/* By profile or, on a shared GPU, by share of compute: the memory beside so much compute. */
static void offers_of(const struct packing *k, uint32_t gpu, uint32_t levels,
                      uint16_t ret[LEVELS_MAX])
{
    const struct open_gpu *g = &k->gpus[gpu];
    enum dv_audit_how how = k->plan->gpus[gpu].how;
    bool all = how == DV_AUDIT_MIG || !g->n, none = is_whole(how) || g->n == DV_AUDIT_TENANTS_MAX;
    uint32_t compute = DV_COMPUTE_FULL - k->wish->headroom, i = 0;
    uint16_t memory = all ? UINT16_MAX : units_of(k->wish->gpu_memory_bytes - g->memory);
    compute -= DV_MIN(g->compute, compute);
    for (; i < levels && (all || (!none && i < k->n_shares && k->shares[i] <= compute)); i++)
        ret[i] = memory;
    for (; i < levels; i++)
        ret[i] = 0;
}

/* After the GPU has another workload, or one less. Of MIG GPUs that have another one, what they no
 * longer have room for comes out when it is asked for. */
static int tell_room(struct packing *k, uint32_t gpu)
{
    uint16_t offers[LEVELS_MAX];
    struct dv_first_fit *room = &kind_of(k, k->plan->gpus[gpu].how)->room;
    offers_of(k, gpu, room->width, offers);
    return dv_first_fit_set(room, k->gpus[gpu].place, offers);
}

/* The level that a workload asks on, and how much there. */
static uint32_t level_of(const struct packing *k, const struct dv_audit_workload *w,
                         uint16_t *ret_need)
{
    *ret_need = is_shared(w->how) ? units_of(w->memory_bytes) : 1;
    return is_shared(w->how)  ? k->share_of[w->compute / PERCENT]
           : is_whole(w->how) ? 0
                              : w->profile;
}

/* The first GPU of its kind that takes the workload, or DV_AUDIT_NONE. 0; -ENOMEM. */
static int find_gpu(struct packing *k, const struct dv_audit_workload *w, uint32_t *ret_start,
                    uint32_t *ret)
{
    struct kind *kind = kind_of(k, w->how);
    uint16_t need;
    uint32_t level = level_of(k, w, &need);
    uint32_t at = dv_first_fit_next(&kind->room, 0, level, need);
    *ret = DV_AUDIT_NONE;
    while (at != DV_FIRST_FIT_NONE) {
        int r = fits(k, kind->gpus[at], w, ret_start);
        if (r < 0)
            return r;
        if (r) {
            *ret = kind->gpus[at];
            return 0;
        }
        if (w->how == DV_AUDIT_MIG)
            dv_first_fit_lower(&kind->room, at, level, 0);
        at = dv_first_fit_next(&kind->room, at + 1, level, need);
    }
    return 0;
}

static int make_room(struct packing *k, struct kind *kind)
{
    struct dv_audit_plan *plan = k->plan;
    if (plan->n_gpus == k->cap) {
        uint32_t cap = k->cap ? k->cap * 2 : 64;
        struct dv_audit_gpu *more = realloc(plan->gpus, cap * sizeof *more);
        if (!more)
            return -ENOMEM;
        plan->gpus = more;
        struct open_gpu *gpus = realloc(k->gpus, cap * sizeof *gpus);
        if (!gpus)
            return -ENOMEM;
        k->gpus = gpus;
        k->cap = cap;
    }
    if (kind->n == kind->cap) {
        uint32_t cap = kind->cap ? kind->cap * 2 : 64;
        uint32_t *gpus = realloc(kind->gpus, cap * sizeof *gpus);
        if (!gpus)
            return -ENOMEM;
        kind->gpus = gpus;
        kind->cap = cap;
    }
    return 0;
}

static int open_another(struct packing *k, enum dv_audit_how how)
{
    struct dv_audit_plan *plan = k->plan;
    struct kind *kind = kind_of(k, how);
    int r = make_room(k, kind);
    if (r < 0)
        return r;
    k->gpus[plan->n_gpus] = (struct open_gpu){.place = kind->n};
    kind->gpus[kind->n++] = plan->n_gpus;
    plan->gpus[plan->n_gpus++] = (struct dv_audit_gpu){.how = how};
    plan->by_how[how]++;
    return 0;
}

static int place(struct packing *k, uint32_t workload)
{
    const struct dv_audit_workload *w = dv_audit_at(k->audit, workload);
    uint32_t start = 0, gpu = 0;
    int r = find_gpu(k, w, &start, &gpu);
    if (r == 0 && gpu == DV_AUDIT_NONE) {
        gpu = k->plan->n_gpus;
        r = open_another(k, w->how);
        if (r == 0 && w->how == DV_AUDIT_MIG)
            r = fits(k, gpu, w, &start); /* where an empty GPU has it */
    }
    if (r < 0)
        return r;
    put(k, gpu, workload, start);
    bool opened = k->plan->gpus[gpu].workloads == 1;
    return w->how != DV_AUDIT_MIG || opened ? tell_room(k, gpu) : 0;
}

/* ---- the bound ------------------------------------------------------------------------------ */

static uint64_t ceil_div(uint64_t a, uint64_t b)
{
    return (a + b - 1) / b;
}

static void count_held(struct packing *k, uint32_t workload, bool comes)
{
    const struct dv_audit_workload *w = dv_audit_at(k->audit, workload);
    uint64_t memory = w->memory_bytes, compute = w->compute, pieces = 0;
    if (w->how == DV_AUDIT_MIG) {
        compute = k->wish->mig->profiles[w->profile].slices;
        pieces = k->wish->mig->profiles[w->profile].size;
    }
    k->whole += is_whole(w->how) ? (comes ? 1u : UINT32_MAX) : 0;
    k->memory[w->how] += comes ? memory : 0 - memory;
    k->compute[w->how] += comes ? compute : 0 - compute;
    k->pieces[w->how] += comes ? pieces : 0 - pieces;
}

static void raise_bound(struct packing *k)
{
    uint64_t least = k->whole, by_memory = 0, by_compute = 0;
    for (enum dv_audit_how how = DV_AUDIT_MPS; how <= DV_AUDIT_GOVERNED; how++) {
        uint64_t m = ceil_div(k->memory[how], k->wish->gpu_memory_bytes);
        uint64_t c = ceil_div(k->compute[how], DV_COMPUTE_FULL - k->wish->headroom);
        by_memory += m;
        by_compute += c;
        least += DV_MAX(m, c);
    }
    if (k->wish->mig)
        least += DV_MAX(ceil_div(k->compute[DV_AUDIT_MIG], k->wish->mig->slices),
                        ceil_div(k->pieces[DV_AUDIT_MIG], k->wish->mig->grid));
    if (least > k->plan->gpus_at_least) {
        k->plan->gpus_at_least = (uint32_t)least;
        k->plan->memory_binds = by_memory > by_compute;
        k->plan->compute_binds = by_compute > by_memory;
    }
}

/* ---- in order of time ----------------------------------------------------------------------- */

static int by_start(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    if (x->start_ns != y->start_ns)
        return x->start_ns < y->start_ns ? -1 : 1;
    if (x->size != y->size)
        return x->size > y->size ? -1 : 1;
    return (x->workload > y->workload) - (x->workload < y->workload);
}

static int by_end(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    if (x->end_ns != y->end_ns)
        return x->end_ns < y->end_ns ? -1 : 1;
    return (x->workload > y->workload) - (x->workload < y->workload);
}

static size_t make_items(const struct packing *k, struct item *items)
{
    size_t n = 0;
    for (uint32_t i = 0; i < k->plan->n_workloads; i++) {
        const struct dv_audit_workload *w = dv_audit_at(k->audit, i);
        k->plan->gpu_of[i] = DV_AUDIT_NONE;
        if (!w->series.busy_times.n || dv_audit_is_nobody(w))
            continue;
        double memory = (double)w->memory_bytes / (double)k->wish->gpu_memory_bytes;
        double compute = (double)w->compute / (DV_COMPUTE_FULL - k->wish->headroom);
        items[n++] = (struct item){w->series.busy_times.first_ns, w->series.busy_times.last_ns,
                                   is_whole(w->how) ? 2 : DV_MAX(memory, compute), i};
    }
    return n;
}

/* Levels for the shares that there are, so that no more of them are kept than that. */
static void list_shares(struct packing *k)
{
    bool asked[101] = {false};
    for (uint32_t i = 0; i < k->plan->n_workloads; i++) {
        const struct dv_audit_workload *w = dv_audit_at(k->audit, i);
        if (w->series.busy_times.n && is_shared(w->how))
            asked[w->compute / PERCENT] = true;
    }
    for (uint32_t p = 0; p < DV_ARRAY_SIZE(asked); p++) {
        k->share_of[p] = (uint8_t)k->n_shares;
        if (asked[p])
            k->shares[k->n_shares++] = p * PERCENT;
    }
    dv_first_fit_init(&k->kinds[KIND_WHOLE].room, 1);
    dv_first_fit_init(&k->kinds[KIND_MIG].room, k->wish->mig ? k->wish->mig->n_profiles : 1);
    dv_first_fit_init(&k->kinds[KIND_MPS].room, DV_MAX(k->n_shares, 1));
    dv_first_fit_init(&k->kinds[KIND_GOVERNED].room, DV_MAX(k->n_shares, 1));
}

static int pack_all(struct packing *k, struct item *starts, struct item *ends)
{
    size_t n = make_items(k, starts), gone = 0;
    memcpy(ends, starts, n * sizeof *ends);
    qsort(starts, n, sizeof *starts, by_start);
    qsort(ends, n, sizeof *ends, by_end);
    list_shares(k);
    for (size_t i = 0; i < n; i++) {
        int r = 0;
        for (; r == 0 && ends[gone].end_ns < starts[i].start_ns; gone++) {
            take_away(k, ends[gone].workload);
            count_held(k, ends[gone].workload, false);
            r = tell_room(k, k->plan->gpu_of[ends[gone].workload]);
        }
        r = r < 0 ? r : place(k, starts[i].workload);
        if (r < 0)
            return r;
        count_held(k, starts[i].workload, true);
        if (i + 1 == n || starts[i + 1].start_ns != starts[i].start_ns)
            raise_bound(k);
    }
    return 0;
}

int dv_audit_pack(const struct dv_audit *a, const struct dv_audit_wish *wish,
                  struct dv_audit_plan **ret)
{
    struct dv_audit_plan *plan = calloc(1, sizeof *plan);
    if (!plan)
        return -ENOMEM;
    struct packing k = {.audit = a, .wish = wish, .plan = plan};
    plan->n_workloads = dv_audit_count(a);
    plan->gpu_of = calloc((size_t)plan->n_workloads + 1, sizeof *plan->gpu_of);
    struct item *items = calloc(2 * (size_t)plan->n_workloads + 1, sizeof *items);
    int r = plan->gpu_of && items ? pack_all(&k, items, items + plan->n_workloads) : -ENOMEM;
    free(items);
    free(k.gpus);
    for (size_t i = 0; i < KINDS; i++) {
        dv_first_fit_done(&k.kinds[i].room);
        free(k.kinds[i].gpus);
    }
    if (r < 0)
        dv_audit_plan_free(plan);
    else
        *ret = plan;
    return r;
}

void dv_audit_plan_free(struct dv_audit_plan *plan)
{
    if (!plan)
        return;
    free(plan->gpu_of);
    free(plan->gpus);
    free(plan);
}
