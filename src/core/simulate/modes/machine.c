/* SPDX-License-Identifier: Apache-2.0 */
#include "simulate/modes/machine.h"

#include "policy/mig_plan.h"

#include <errno.h>

#define AHEAD                                                                                      \
    2 /* requests of a tenant that the engine knows: what follows starts without a gap             \
       */

uint32_t dv_machine_sms(const struct dv_gpu_model *gpu, uint32_t compute)
{
    uint64_t sms = ((uint64_t)gpu->sm * compute + DV_COMPUTE_FULL / 2) / DV_COMPUTE_FULL;
    return (uint32_t)DV_MAX(sms, 1);
}

int dv_machine_card(const struct dv_modes_config *c, uint32_t tenants, struct dv_engine **ret)
{
    struct dv_engine_config e;
    dv_engine_config_default(&e);
    e.sm_total = c->gpu->sm;
    e.timeslice_ns = c->timeslice_ns;
    e.switch_ns = c->switch_ns;
    e.contexts_max = e.streams_max = tenants;
    return dv_engine_new(&e, ret);
}

uint64_t dv_machine_switches(struct dv_engine *e, uint32_t partition, uint64_t until_ns)
{
    struct dv_engine_partition_stats s;
    if (!until_ns || dv_engine_partition_stats(e, until_ns, partition, &s) < 0)
        return 0;
    return (uint64_t)((double)s.switch_ns / (double)until_ns * 1e6);
}

/* ---- instances ---- */

/* How many of the profile an empty GPU takes, at most as many as can be planned; or -ENOMEM. */
static int count_fitting(const struct dv_mig_geometry *g, uint32_t profile)
{
    struct dv_mig_instance want[DV_MIG_INSTANCES_MAX];
    struct dv_mig_plan plan;
    for (uint32_t n = 0; n < DV_MIG_INSTANCES_MAX; n++) {
        want[n] = (struct dv_mig_instance){profile, DV_MIG_UNPLACED};
        int r = dv_mig_plan_find(g, NULL, 0, want, n + 1, &plan);
        if (r < 0 || plan.rule != DV_MIG_OK)
            return r < 0 ? r : (int)n;
    }
    return DV_MIG_INSTANCES_MAX;
}

static bool is_plain(const struct dv_mig_profile *p)
{
    return p->media == DV_MIG_MEDIA_DEFAULT && !p->graphics;
}

static bool is_larger(const struct dv_mig_profile *a, const struct dv_mig_profile *b)
{
    return a->slices != b->slices ? a->slices > b->slices : a->size > b->size;
}

int dv_machine_instances(const struct dv_mig_geometry *g, uint32_t tenants, uint32_t *ret_profile,
                         uint32_t *ret_limit)
{
    bool found = false;
    uint32_t limit = 0, best = 0;
    for (uint32_t i = 0; i < g->n_profiles; i++) {
        int n = is_plain(&g->profiles[i]) ? count_fitting(g, i) : 0;
        if (n < 0)
            return n;
        limit = DV_MAX(limit, (uint32_t)n);
        if ((uint32_t)n < tenants || (found && !is_larger(&g->profiles[i], &g->profiles[best])))
            continue;
        best = i;
        found = true;
    }
    *ret_limit = limit;
    *ret_profile = best;
    return found ? 0 : 1;
}

/* ---- the run ---- */

struct run {
    struct dv_book *book;
    struct dv_engine *engine;
    struct dv_arrivals arrivals;
    uint32_t streams[DV_ARRIVALS_TENANTS_MAX];
    uint32_t sm_demand;
};

static int submit_next(struct run *r, uint32_t tenant)
{
    uint64_t at;
    if (!dv_arrivals_next(&r->arrivals, tenant, &at))
        return 0;
    struct dv_engine_op op = {.kind = DV_ENGINE_KERNEL,
                              .sm_demand = r->sm_demand,
                              .work_ns = dv_arrivals_service(r->book->load, tenant)};
    return dv_engine_submit(r->engine, r->streams[tenant], &op, at,
                            dv_machine_tag(at, true, tenant), NULL);
}

static int add_tenants(struct run *r, const uint32_t *partitions, uint32_t n_partitions,
                       uint64_t group, uint32_t limit)
{
    int error = 0;
    for (uint32_t t = 0; t < r->book->load->tenants && error == 0; t++) {
        struct dv_engine_context_spec spec = {.partition = partitions[t % n_partitions],
                                              .mps_group = group,
                                              .sm_limit = limit,
                                              .owner = t};
        uint32_t context = 0;
        error = dv_engine_context_add(r->engine, 0, &spec, &context);
        if (error == 0)
            error = dv_engine_stream_add(r->engine, context, &r->streams[t]);
        for (int i = 0; i < AHEAD && error == 0; i++)
            error = submit_next(r, t);
    }
    return error;
}

static int loop(struct run *r)
{
    uint64_t duration = r->book->load->duration_ns;
    for (;;) {
        uint64_t now = dv_engine_next(r->engine);
        struct dv_engine_completion c;
        if (now >= duration)
            return 0;
        dv_engine_advance(r->engine, now);
        while (dv_engine_pop(r->engine, &c)) {
            uint32_t tenant = dv_machine_tag_tenant(c.tag);
            int error = dv_book_add(r->book, tenant, dv_machine_tag_at(c.tag), c.end_ns);
            if (error == 0)
                error = submit_next(r, tenant);
            if (error < 0)
                return error;
        }
        /* Not only when a request ends: from one to the next there may be very many turns. */
        if (dv_book_stops(r->book, now))
            return 0;
    }
}

/* SMs of an instance; where no source gives them, in proportion. */
static uint32_t instance_sms(const struct dv_gpu_model *gpu, uint32_t profile)
{
    struct dv_mig_geometry g = *gpu->mig;
    dv_mig_geometry_estimate(&g, gpu->memory_bytes, gpu->sm);
    return DV_MIN(DV_MAX(g.profiles[profile].sm, 1), gpu->sm);
}

static void read_stats(struct run *r, const struct dv_modes_config *c, const uint32_t *partitions,
                       uint32_t n, struct dv_modes_result *ret)
{
    uint64_t until = r->book->until_ns;
    double busy = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct dv_engine_partition_stats s;
        if (dv_engine_partition_stats(r->engine, until, partitions[i], &s) == 0)
            busy += (double)s.busy_sm_ns;
    }
    if (until)
        ret->work_ppm = (uint64_t)(busy / ((double)until * c->gpu->sm) * 1e6 + 0.5);
    ret->switch_ppm = n == 1 ? dv_machine_switches(r->engine, partitions[0], until) : 0;
}

/* MIG: which instances. 0; 1: the verdict says why not; -ENOMEM. */
static int cut(const struct dv_modes_config *c, uint32_t tenants, struct dv_modes_result *ret)
{
    if (!c->gpu->mig) {
        ret->verdict = DV_MODES_NO_MIG;
        return 1;
    }
    int r = dv_machine_instances(c->gpu->mig, tenants, &ret->mig_profile, &ret->limit);
    if (r > 0)
        ret->verdict = DV_MODES_TOO_MANY;
    if (r == 0)
        ret->instance_sm = instance_sms(c->gpu, ret->mig_profile);
    return r;
}

int dv_machine_run(struct dv_book *book, const struct dv_modes_config *c, enum dv_modes_mode mode,
                   struct dv_modes_result *ret)
{
    struct run r = {.book = book, .sm_demand = dv_machine_sms(c->gpu, c->width)};
    uint32_t tenants = book->load->tenants, partitions[DV_MIG_INSTANCES_MAX] = {0};
    bool mig = mode == DV_MODES_MIG, mps = mode == DV_MODES_MPS;
    int error = mig ? cut(c, tenants, ret) : 0;
    if (error)
        return DV_MIN(error, 0);
    uint32_t n = mig ? tenants : 1;
    uint32_t limit =
        mps && c->mps_limit < DV_COMPUTE_FULL ? dv_machine_sms(c->gpu, c->mps_limit) : 0;
    error = dv_machine_card(c, tenants, &r.engine);
    for (uint32_t i = 0; i < n && error == 0; i++)
        error = dv_engine_partition_add(r.engine, 0, mig ? ret->instance_sm : c->gpu->sm,
                                        &partitions[i]);
    dv_arrivals_start(&r.arrivals, book->load);
    if (error == 0)
        error = add_tenants(&r, partitions, n, mps, limit);
    if (error == 0)
        error = loop(&r);
    if (error == 0)
        read_stats(&r, c, partitions, n, ret);
    dv_engine_free(r.engine);
    return error;
}
