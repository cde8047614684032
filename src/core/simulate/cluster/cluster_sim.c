/* SPDX-License-Identifier: Apache-2.0 */
#include "simulate/cluster/cluster_sim.h"

#include "simulate/cluster/internal.h"

#include <errno.h>
#include <stdlib.h>

/* ---- life ----------------------------------------------------------------------------------- */

void dv_cluster_sim_free(struct dv_cluster_sim *sim)
{
    if (!sim)
        return;
    dv_place_free(sim->place);
    dv_frag_sum_done(&sim->fragmented);
    dv_frag_free(sim->frag);
    dv_popularity_free(sim->workload);
    dv_popularity_free(sim->learnt);
    free(sim->runs);
    free(sim->first);
    free(sim->heap);
    free(sim);
}

void dv_cluster_sim_freep(struct dv_cluster_sim **sim)
{
    dv_cluster_sim_free(*sim);
}

static int check(const struct dv_cluster_sim_config *c, struct dv_err *err)
{
    for (uint32_t i = 0; i < c->n_pods; i++) {
        if (dv_cluster_pod_check(&c->pods[i], err) < 0)
            return -EINVAL;
        if (c->times && (c->times[i].deleted_s < c->times[i].created_s ||
                         c->times[i].deleted_s > DV_CLUSTER_SIM_TIME_MAX))
            return dv_err_set(err, -EINVAL, "pod %u leaves before it comes", i);
    }
    for (uint32_t i = 0; i < c->n_arrivals; i++)
        if (c->arrivals[i] >= c->n_pods)
            return dv_err_set(err, -EINVAL, "arrival %u is no pod", i);
    if (c->times && !(c->compress > 0))
        return dv_err_set(err, -EINVAL, "times are compressed by more than 0");
    return 0;
}

static int learn_workload(struct dv_cluster_sim *sim)
{
    const struct dv_cluster_sim_config *c = &sim->config;
    int r = 0;
    sim->workload = dv_popularity_new(c->cluster);
    if (c->learn_every)
        sim->learnt = dv_popularity_new(c->cluster);
    if (!sim->workload || (c->learn_every && !sim->learnt))
        return -ENOMEM;
    for (uint32_t i = 0; !r && i < c->n_pods; i++)
        r = dv_popularity_add(sim->workload, &c->pods[i], 1);
    return r;
}

static int start(struct dv_cluster_sim *sim, struct dv_err *err)
{
    const struct dv_cluster_sim_config *c = &sim->config;
    uint32_t nodes = dv_cluster_nodes(c->cluster);
    sim->runs = malloc(DV_MAX(c->n_arrivals, 1) * sizeof *sim->runs);
    sim->first = malloc(DV_MAX(nodes, 1) * sizeof *sim->first);
    sim->heap = c->times ? malloc(DV_MAX(c->n_arrivals, 1) * sizeof *sim->heap) : NULL;
    if (!sim->runs || !sim->first || (c->times && !sim->heap))
        return dv_err_set(err, -ENOMEM, "out of memory");
    for (uint32_t i = 0; i < c->n_arrivals; i++)
        sim->runs[i].node = DV_CLUSTER_NONE;
    for (uint32_t i = 0; i < nodes; i++)
        sim->first[i] = DV_CLUSTER_NONE;
    int r = learn_workload(sim);
    if (!r)
        r = dv_frag_new(sim->workload, DV_FRAG_TYPICAL_PERMILLE, &sim->frag);
    if (!r)
        r = dv_frag_sum_init(&sim->fragmented, sim->frag, c->cluster);
    if (r < 0)
        return dv_err_set(err, r, r == -E2BIG ? DV_CLUSTER_SIM_TOO_MANY : "out of memory");
    struct dv_place_config config = {.cluster = c->cluster,
                                     .policy = c->policy,
                                     .popularity = sim->learnt ? sim->learnt : sim->workload,
                                     .hint = c->hint,
                                     .seed = c->seed};
    return dv_place_new(&config, &sim->place, err);
}

int dv_cluster_sim_new(const struct dv_cluster_sim_config *config, struct dv_cluster_sim **ret,
                       struct dv_err *err)
{
    int r = check(config, err);
    if (r < 0)
        return r;
    struct dv_cluster_sim *sim = calloc(1, sizeof *sim);
    if (!sim)
        return dv_err_set(err, -ENOMEM, "out of memory");
    sim->config = *config;
    r = start(sim, err);
    if (r < 0) {
        dv_cluster_sim_free(sim);
        return r;
    }
    struct dv_cluster_sum total = dv_cluster_total(config->cluster);
    sim->result.total_gpu_milli = total.gpu_milli;
    sim->result.total_cpu_milli = total.cpu_milli;
    sim->result.total_memory_mib = total.memory_mib;
    if (config->times && config->n_arrivals)
        sim->now_s = sim->started_s =
            (double)config->times[config->arrivals[0]].created_s / config->compress;
    *ret = sim;
    return 0;
}

/* ---- who is where --------------------------------------------------------------------------- */

const struct dv_cluster_pod *dv_cluster_sim_pod(const struct dv_cluster_sim *sim, uint32_t arrival)
{
    return &sim->config.pods[sim->config.arrivals[arrival]];
}

uint32_t dv_cluster_sim_node(const struct dv_cluster_sim *sim, uint32_t arrival)
{
    return arrival < sim->config.n_arrivals ? sim->runs[arrival].node : DV_CLUSTER_NONE;
}

size_t dv_cluster_sim_terms(const struct dv_cluster_sim *sim,
                            struct dv_place_term ret[DV_PLACE_TERMS_MAX])
{
    const struct dv_place_verdict *v = &sim->last;
    if (!v->placed || !sim->next)
        return 0;
    return dv_place_terms(sim->place, v->node, dv_cluster_sim_pod(sim, sim->next - 1), &v->taking,
                          true, ret);
}

const struct dv_place_verdict *dv_cluster_sim_last(const struct dv_cluster_sim *sim)
{
    return &sim->last;
}

void dv_cluster_sim_most(const struct dv_cluster_sim *sim, uint32_t arrival,
                         struct dv_place_most *ret)
{
    dv_place_most(sim->place, dv_cluster_sim_pod(sim, arrival), ret);
}

/* What is in use by this taking: an instance by its compute, not by what its pod asked for. */
static uint64_t milli_of(const struct dv_cluster_sim *sim, uint32_t node,
                         const struct dv_cluster_taking *taking)
{
    const struct dv_mig_geometry *g = dv_cluster_fixed(sim->config.cluster, node)->mig;
    if (!taking->mig || !g)
        return (uint64_t)taking->n * taking->milli;
    uint64_t compute = dv_mig_compute(g, &g->profiles[taking->profile]);
    return taking->n * (compute * DV_CLUSTER_MILLI / DV_COMPUTE_FULL);
}

static void look_at(struct dv_cluster_sim *sim, uint32_t node, const struct dv_cluster_pod *pod,
                    const struct dv_cluster_taking *taking, bool taken)
{
    uint64_t milli = milli_of(sim, node, taking);
    struct dv_cluster_sim_result *r = &sim->result;
    r->used_gpu_milli += taken ? milli : -milli;
    r->used_cpu_milli += taken ? pod->cpu_milli : -(uint64_t)pod->cpu_milli;
    r->used_memory_mib += taken ? pod->memory_mib : -(uint64_t)pod->memory_mib;
    sim->peak_milli = DV_MAX(sim->peak_milli, r->used_gpu_milli);
    dv_frag_sum_update(&sim->fragmented, node, dv_cluster_state(sim->config.cluster, node));
}

int dv_cluster_sim_settle(struct dv_cluster_sim *sim, uint32_t arrival, uint32_t node,
                          const struct dv_cluster_taking *taking)
{
    const struct dv_cluster_pod *pod = dv_cluster_sim_pod(sim, arrival);
    int r = dv_place_take(sim->place, node, pod, taking);
    if (r < 0)
        return r;
    struct dv_cluster_run *run = &sim->runs[arrival];
    *run = (struct dv_cluster_run){
        .node = node, .next = sim->first[node], .previous = DV_CLUSTER_NONE, .taking = *taking};
    if (run->next != DV_CLUSTER_NONE)
        sim->runs[run->next].previous = arrival;
    sim->first[node] = arrival;
    look_at(sim, node, pod, taking, true);
    return 0;
}

int dv_cluster_sim_lift(struct dv_cluster_sim *sim, uint32_t arrival)
{
    const struct dv_cluster_pod *pod = dv_cluster_sim_pod(sim, arrival);
    struct dv_cluster_run *run = &sim->runs[arrival];
    uint32_t node = run->node;
    int r = dv_place_give_back(sim->place, node, pod, &run->taking);
    if (r < 0)
        return r;
    if (run->next != DV_CLUSTER_NONE)
        sim->runs[run->next].previous = run->previous;
    if (run->previous != DV_CLUSTER_NONE)
        sim->runs[run->previous].next = run->next;
    else
        sim->first[node] = run->next;
    run->node = DV_CLUSTER_NONE;
    look_at(sim, node, pod, &run->taking, false);
    return 0;
}

/* ---- time ----------------------------------------------------------------------------------- */

static bool earlier(struct dv_cluster_leave a, struct dv_cluster_leave b)
{
    return a.at_s != b.at_s ? a.at_s < b.at_s : a.arrival < b.arrival;
}

static void push(struct dv_cluster_sim *sim, struct dv_cluster_leave leave)
{
    uint32_t i = sim->n_heap++;
    for (; i && earlier(leave, sim->heap[(i - 1) / 2]); i = (i - 1) / 2)
        sim->heap[i] = sim->heap[(i - 1) / 2];
    sim->heap[i] = leave;
}

static struct dv_cluster_leave pop(struct dv_cluster_sim *sim)
{
    struct dv_cluster_leave top = sim->heap[0], last = sim->heap[--sim->n_heap];
    uint32_t i = 0;
    for (uint32_t child = 1; child < sim->n_heap; child = 2 * i + 1) {
        if (child + 1 < sim->n_heap && earlier(sim->heap[child + 1], sim->heap[child]))
            child++;
        if (!earlier(sim->heap[child], last))
            break;
        sim->heap[i] = sim->heap[child];
        i = child;
    }
    sim->heap[i] = last;
    return top;
}

static void pass(struct dv_cluster_sim *sim, double until_s)
{
    if (until_s <= sim->now_s)
        return;
    sim->area += (double)sim->result.used_gpu_milli * (until_s - sim->now_s);
    sim->now_s = until_s;
}

/* Everybody who leaves until then leaves. */
static int leave_until(struct dv_cluster_sim *sim, double until_s)
{
    while (sim->n_heap && sim->heap[0].at_s <= until_s) {
        struct dv_cluster_leave leave = pop(sim);
        pass(sim, leave.at_s);
        int r = dv_cluster_sim_lift(sim, leave.arrival);
        if (r < 0)
            return r;
        sim->result.departed++;
    }
    pass(sim, until_s);
    return 0;
}

/* ---- stepping ------------------------------------------------------------------------------- */

static int learn(struct dv_cluster_sim *sim, const struct dv_cluster_pod *pod)
{
    if (!sim->learnt)
        return 0;
    int r = dv_popularity_add(sim->learnt, pod, 1);
    if (!r && sim->next % sim->config.learn_every == 0)
        dv_place_refresh(sim->place);
    return r;
}

static int put(struct dv_cluster_sim *sim, uint32_t arrival)
{
    struct dv_place_verdict *verdict = &sim->last;
    const struct dv_cluster_pod *pod = dv_cluster_sim_pod(sim, arrival);
    int r = dv_place_find(sim->place, pod, verdict);
    if (r < 0)
        return r;
    if (!r)
        return dv_cluster_sim_settle(sim, arrival, verdict->node, &verdict->taking);
    if (sim->config.migrate)
        r = dv_cluster_sim_make_room(sim, arrival);
    if (r == 1) {
        sim->result.failures[verdict->reason]++;
        sim->result.failed++;
    }
    return r;
}

__extension__ typedef unsigned __int128 wide;

/* a / b to the nearest, half up. */
static int64_t nearest(wide a, wide b)
{
    return b ? (int64_t)((2 * a + b) / (2 * b)) : 0;
}

/* What is allocated and fragmented now, as a row of the percent that has arrived (to the nearest,
 * half to even). As published: each row of what is allocated is rounded to hundredths before the
 * mean, what is fragmented is not. */
static void record(struct dv_cluster_sim *sim)
{
    const struct dv_cluster_sim_result *r = &sim->result;
    uint64_t total = r->total_gpu_milli;
    if (!total)
        return;
    uint64_t twice = r->arrived_gpu_milli * 200 / total, left = r->arrived_gpu_milli * 200 % total;
    uint64_t percent = twice / 2;
    if (twice % 2 && (left || percent % 2))
        percent++;
    if (percent > DV_CLUSTER_SIM_PERCENT_MAX)
        return;
    sim->rows[percent].rows++;
    sim->rows[percent].allocated += nearest((wide)r->used_gpu_milli * 10000, total);
    sim->rows[percent].fragmented += sim->fragmented.total;
}

int dv_cluster_sim_step(struct dv_cluster_sim *sim)
{
    const struct dv_cluster_sim_config *c = &sim->config;
    if (sim->next == c->n_arrivals)
        return 1;
    uint32_t arrival = sim->next++;
    const struct dv_cluster_pod *pod = dv_cluster_sim_pod(sim, arrival);
    const struct dv_cluster_sim_times *t = c->times ? &c->times[c->arrivals[arrival]] : NULL;
    double created_s = t ? (double)t->created_s / c->compress : 0;
    int r = t ? leave_until(sim, created_s) : 0;
    if (!r)
        r = learn(sim, pod);
    if (!r)
        r = put(sim, arrival);
    if (r < 0)
        return r;
    sim->result.arrived++;
    sim->result.arrived_gpu_milli += (uint64_t)pod->gpus * pod->gpu_milli;
    if (!r) {
        sim->result.placed++;
        if (t)
            push(sim, (struct dv_cluster_leave){created_s + (double)(t->deleted_s - t->created_s),
                                                arrival});
    }
    record(sim);
    return 0;
}

/* ---- the result ----------------------------------------------------------------------------- */

static double percent_of(double part, double whole)
{
    return whole > 0 ? part * 100 / whole : 0;
}

void dv_cluster_sim_result(const struct dv_cluster_sim *sim, struct dv_cluster_sim_result *ret)
{
    *ret = sim->result;
    double weight = (double)dv_frag_weight(sim->frag), total = (double)ret->total_gpu_milli;
    const struct dv_cluster *cluster = sim->config.cluster;
    for (uint32_t i = 0; i < dv_cluster_nodes(cluster); i++) {
        int64_t classes[DV_FRAG_CLASSES];
        const struct dv_cluster_state *s = dv_cluster_state(cluster, i);
        dv_frag_classes(sim->frag, s, classes);
        for (int k = 0; k < DV_FRAG_CLASSES; k++)
            ret->fragmented_by[k] += (double)classes[k] / weight;
        for (uint32_t g = 0; g < s->n_gpus; g++)
            ret->idle_gpus += s->gpu[g] == DV_CLUSTER_MILLI;
    }
    ret->fragmented_milli = dv_frag_sum_milli(&sim->fragmented);
    ret->peak_allocated_percent = percent_of((double)sim->peak_milli, total);
    double span = sim->now_s - sim->started_s;
    ret->span_s = (uint64_t)span;
    ret->mean_allocated_percent = percent_of(sim->area, total * span);
    for (uint32_t i = 0; i <= DV_CLUSTER_SIM_PERCENT_MAX; i++) {
        uint32_t rows = sim->rows[i].rows;
        ret->points[i].rows = rows;
        if (!rows)
            continue;
        ret->points[i].allocated_percent = (double)sim->rows[i].allocated / 100 / rows;
        ret->points[i].fragmented_percent =
            percent_of((double)sim->rows[i].fragmented / weight / rows, total);
    }
}
