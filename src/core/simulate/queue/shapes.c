/* SPDX-License-Identifier: Apache-2.0 */
#include "simulate/queue/shapes.h"

#include "base/str.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define GPU ((uint64_t)DV_COMPUTE_FULL)
#define S DV_NS_PER_S
#define HOUR (3600 * S)

#define KAI_SCALE                                                                                  \
    "500 simulated nodes, API server included; KAI-Scheduler docs/scale-tests, 2026-07"
#define KAI_BENCH "one cycle in memory, Ultra 7 165H; KAI-Scheduler's ReclaimLargeJobs benchmark"
#define KUEUE "the whole run, API server included; Kueue's performance tests"

static const struct dv_queue_shape shapes[] = {
    {"allocate-10x50", "50 one-GPU workloads on 10 nodes", {NULL, 0, NULL}},
    {"allocate-50x200", "200 one-GPU workloads on 50 nodes", {NULL, 0, NULL}},
    {"allocate-100x500",
     "500 one-GPU workloads on 100 nodes",
     {"KAI-Scheduler", 183 * DV_NS_PER_MS,
      "one cycle in memory, Ultra 7 165H; of which about "
      "100 ms whatever the size"}},
    {"allocate-4000x500",
     "4,000 one-GPU workloads on 500 nodes",
     {"KAI-Scheduler", 398 * S, "all 4,000 pods placed; " KAI_SCALE}},
    {"gang-unschedulable",
     "a gang of 10 x 8 GPUs on 500 full nodes",
     {"KAI-Scheduler", UINT64_C(249500) * DV_NS_PER_MS, "until it is said; " KAI_SCALE}},
    {"topology-512",
     "a gang of 512 GPUs in one of 5 racks, 500 nodes",
     {"KAI-Scheduler", UINT64_C(48700) * DV_NS_PER_MS, "until it is placed; " KAI_SCALE}},
    {"reclaim-single",
     "one GPU reclaimed on 500 full nodes",
     {"KAI-Scheduler", UINT64_C(13900) * DV_NS_PER_MS, "until it is placed; " KAI_SCALE}},
    {"reclaim-100",
     "a gang of 10 x 8 GPUs reclaims from 800 workloads on 100 nodes",
     {"KAI-Scheduler", 210 * DV_NS_PER_MS, KAI_BENCH}},
    {"reclaim-200",
     "a gang of 20 x 8 GPUs reclaims from 1,600 workloads on 200 nodes",
     {"KAI-Scheduler", 730 * DV_NS_PER_MS, KAI_BENCH}},
    {"reclaim-500",
     "a gang of 50 x 8 GPUs reclaims from 4,000 workloads on 500 nodes",
     {"KAI-Scheduler", 9200 * DV_NS_PER_MS, KAI_BENCH}},
    {"reclaim-1000",
     "a gang of 100 x 8 GPUs reclaims from 8,000 workloads on 1,000 nodes",
     {"KAI-Scheduler", 76300 * DV_NS_PER_MS, KAI_BENCH}},
    {"consolidate-410",
     "410 workloads move so that a gang of 410 x 8 GPUs fits on 820 half-full nodes",
     {"KAI-Scheduler", 456 * S, "410 pods moved; " KAI_SCALE}},
    {"kueue-15000x30", "15,000 workloads in 30 queues of 5 cohorts", {"Kueue", 351 * S, KUEUE}},
    {"kueue-50000x1000",
     "50,000 workloads in 1,000 queues of 10 cohorts",
     {"Kueue", 1179 * S, KUEUE}},
    {"fair-week",
     "two teams, one of which was idle for three days, with a half-life of a day",
     {NULL, 0, NULL}},
};

const struct dv_queue_shape *dv_queue_shape_at(size_t i)
{
    return i < DV_ARRAY_SIZE(shapes) ? &shapes[i] : NULL;
}

const struct dv_queue_shape *dv_queue_shape_find(const char *name, struct dv_err *err)
{
    const char *names[DV_ARRAY_SIZE(shapes)];
    dv_cleanup(dv_str_done) struct dv_str all = {0};
    for (size_t i = 0; i < DV_ARRAY_SIZE(shapes); i++) {
        names[i] = shapes[i].name;
        dv_str_addf(&all, "%s%s", i ? ", " : "", shapes[i].name);
        if (!strcmp(name, shapes[i].name))
            return &shapes[i];
    }
    const char *near = dv_str_nearest(name, names, DV_ARRAY_SIZE(shapes));
    dv_err_set(err, -ENOENT, "unknown shape '%.40s'%s%s%s; there are %s", name,
               near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "",
               dv_str_get(&all));
    return NULL;
}

/* ---- parts ---------------------------------------------------------------------------------- */

static bool add_nodes(struct dv_queue_scenario *s, uint32_t count, uint32_t rack_size)
{
    struct dv_queue_nodes *n = dv_queue_scenario_add_nodes(s);
    if (!n)
        return false;
    dv_str_copy(n->model, sizeof n->model, "A100-80GB");
    n->count = count;
    n->gpus = 8;
    n->rack_size = rack_size;
    return true;
}

/* Returns the queue's index + 1, as `parent` wants it; 0 when memory is out. */
static uint32_t add_queue(struct dv_queue_scenario *s, const char *name, uint32_t parent,
                          uint64_t gpus)
{
    struct dv_queue_def *q = dv_queue_scenario_add_queue(s, name);
    if (!q)
        return 0;
    q->conf.parent = parent;
    q->conf.guarantee = gpus * GPU;
    return s->n_queues;
}

static struct dv_queue_jobs *add_jobs(struct dv_queue_scenario *s, const char *name, uint32_t queue,
                                      uint32_t count, uint32_t members, uint32_t gpus)
{
    struct dv_queue_jobs *j = dv_queue_scenario_add_jobs(s, name);
    if (!j)
        return NULL;
    j->spec.queue = queue - 1;
    j->spec.request.kind = DV_FAIR_WHOLE;
    j->spec.request.gpus = gpus;
    j->spec.min = j->spec.max = members;
    j->count = count;
    j->duration_ns = HOUR;
    return j;
}

/* ---- shapes --------------------------------------------------------------------------------- */

static bool make_allocate(struct dv_queue_scenario *s, uint32_t nodes, uint32_t jobs)
{
    bool ok = add_nodes(s, nodes, 0);
    for (uint32_t d = 0; ok && d < 2; d++) {
        char name[DV_QUEUE_NAME];
        snprintf(name, sizeof name, "department-%u", d);
        uint32_t parent = add_queue(s, name, 0, (uint64_t)nodes * 4);
        for (uint32_t i = 0; parent && i < 2; i++) {
            snprintf(name, sizeof name, "queue-%u", 2 * d + i);
            uint32_t q = add_queue(s, name, parent, (uint64_t)nodes * 2);
            ok = q && add_jobs(s, name, q, jobs / 4 + (2 * d + i < jobs % 4), 1, 1);
        }
        ok = ok && parent;
    }
    return ok;
}

static bool make_full(struct dv_queue_scenario *s, uint32_t nodes, uint32_t rack_size)
{
    uint32_t q;
    return add_nodes(s, nodes, rack_size) && (q = add_queue(s, "others", 0, 0)) &&
           add_jobs(s, "running", q, nodes * 8, 1, 1);
}

static bool make_reclaim(struct dv_queue_scenario *s, uint32_t nodes, uint32_t members,
                         uint32_t gpus)
{
    uint32_t q = make_full(s, nodes, 0) ? add_queue(s, "owner", 0, (uint64_t)nodes * 8) : 0;
    struct dv_queue_jobs *j = q ? add_jobs(s, "gang", q, 1, members, gpus) : NULL;
    s->until_ns = 601 * S;
    s->config.share_period_ns = 0;
    if (j)
        j->arrival_ns = 600 * S;
    return j != NULL;
}

static bool make_unschedulable(struct dv_queue_scenario *s)
{
    struct dv_queue_jobs *j = make_full(s, 500, 0) ? add_jobs(s, "gang", 1, 1, 10, 8) : NULL;
    s->until_ns = 601 * S;
    if (j)
        j->arrival_ns = 600 * S;
    return j != NULL;
}

static bool make_topology(struct dv_queue_scenario *s)
{
    uint32_t q = add_nodes(s, 500, 100) ? add_queue(s, "training", 0, 0) : 0;
    struct dv_queue_jobs *j = q ? add_jobs(s, "gang", q, 1, 512, 1) : NULL;
    if (j)
        j->spec.request.one_rack = true;
    return j != NULL;
}

/* Two workloads of 4 GPUs on each node, of which one ends after a second. */
static bool make_consolidate(struct dv_queue_scenario *s)
{
    uint32_t q = add_nodes(s, 820, 0) ? add_queue(s, "training", 0, 0) : 0;
    bool ok = q;
    for (uint32_t i = 0; ok && i < 820; i++) {
        struct dv_queue_jobs *a = add_jobs(s, "stays", q, 1, 1, 4);
        struct dv_queue_jobs *b = a ? add_jobs(s, "ends", q, 1, 1, 4) : NULL;
        if (b)
            b->duration_ns = S;
        ok = b;
    }
    struct dv_queue_jobs *j = ok ? add_jobs(s, "gang", q, 1, 410, 8) : NULL;
    s->until_ns = 601 * S;
    if (j)
        j->arrival_ns = 600 * S;
    return j != NULL;
}

/* As Kueue's generator.yaml has it: classes of a workload, by queue. */
struct class
{
    const char *name;
    uint32_t count, gpus;
    uint64_t every_ms, runs_ms;
    int32_t priority;
};

static bool make_kueue(struct dv_queue_scenario *s, uint32_t cohorts, uint32_t queues,
                       const struct class *classes)
{
    bool ok = add_nodes(s, cohorts * queues * 20 / 8, 0);
    for (uint32_t c = 0; ok && c < cohorts; c++) {
        char name[DV_QUEUE_NAME];
        snprintf(name, sizeof name, "cohort-%u", c);
        uint32_t parent = add_queue(s, name, 0, (uint64_t)queues * 20);
        if (!parent)
            return false;
        s->queues[parent - 1].conf.limit = (uint64_t)queues * 20 * GPU;
        for (uint32_t i = 0; ok && i < queues; i++) {
            snprintf(name, sizeof name, "cq-%u-%u", c, i);
            uint32_t q = add_queue(s, name, parent, 20);
            if (!q)
                return false;
            s->queues[q - 1].conf.limit = 120 * GPU;
            for (uint32_t k = 0; ok && k < 3; k++) {
                struct dv_queue_jobs *j =
                    add_jobs(s, classes[k].name, q, classes[k].count, classes[k].gpus, 1);
                ok = j;
                if (!ok)
                    break;
                j->spec.priority = classes[k].priority;
                j->every_ns = classes[k].every_ms * DV_NS_PER_MS;
                j->duration_ns = classes[k].runs_ms * DV_NS_PER_MS;
            }
        }
    }
    return ok;
}

static bool make_week(struct dv_queue_scenario *s)
{
    uint32_t a = add_nodes(s, 2, 0) ? add_queue(s, "busy", 0, 0) : 0;
    uint32_t b = a ? add_queue(s, "idle-till-thursday", 0, 0) : 0;
    struct dv_queue_jobs *x = b ? add_jobs(s, "busy", a, 6000, 1, 1) : NULL;
    struct dv_queue_jobs *y = x ? add_jobs(s, "late", b, 3000, 1, 1) : NULL;
    if (!y)
        return false;
    s->config.half_life_ns = 24 * HOUR;
    s->config.share_period_ns = 60 * S;
    s->config.no_reclaim = true;
    s->config.patience_ns = DV_NEVER;
    s->until_ns = 7 * 24 * HOUR;
    y->arrival_ns = 3 * 24 * HOUR;
    return true;
}

static const struct class kueue_baseline[] = {{"small", 350, 1, 100, 200, 50},
                                              {"medium", 100, 5, 500, 500, 100},
                                              {"large", 50, 20, 1200, 1000, 200}};
static const struct class kueue_large[] = {
    {"small", 34, 1, 20, 50, 50}, {"medium", 11, 5, 50, 100, 100}, {"large", 5, 20, 200, 200, 200}};

static bool make(const char *name, struct dv_queue_scenario *s)
{
    uint32_t jobs, nodes;
    if (sscanf(name, "allocate-%ux%u", &nodes, &jobs) == 2)
        return nodes == 4000 ? make_allocate(s, jobs, nodes) : make_allocate(s, nodes, jobs);
    if (sscanf(name, "reclaim-%u", &nodes) == 1)
        return make_reclaim(s, nodes, nodes / 10, 8);
    if (!strcmp(name, "reclaim-single"))
        return make_reclaim(s, 500, 1, 1);
    if (!strcmp(name, "gang-unschedulable"))
        return make_unschedulable(s);
    if (!strcmp(name, "topology-512"))
        return make_topology(s);
    if (!strcmp(name, "consolidate-410"))
        return make_consolidate(s);
    if (!strcmp(name, "kueue-15000x30"))
        return make_kueue(s, 5, 6, kueue_baseline);
    if (!strcmp(name, "kueue-50000x1000"))
        return make_kueue(s, 10, 100, kueue_large);
    return make_week(s);
}

static int finish(bool ok, struct dv_queue_scenario *s, const char *name,
                  struct dv_queue_scenario **ret)
{
    if (!ok) {
        dv_queue_scenario_free(s);
        return -ENOMEM;
    }
    dv_str_copy(s->name, sizeof s->name, name);
    *ret = s;
    return 0;
}

int dv_queue_shape_make(const struct dv_queue_shape *shape, struct dv_queue_scenario **ret)
{
    struct dv_queue_scenario *s = dv_queue_scenario_new();
    return finish(s && make(shape->name, s), s, shape->name, ret);
}

int dv_queue_shape_reclaim(uint32_t nodes, struct dv_queue_scenario **ret)
{
    struct dv_queue_scenario *s = dv_queue_scenario_new();
    return finish(s && make_reclaim(s, nodes, DV_MAX(nodes / 10, 1), 8), s, "reclaim", ret);
}
