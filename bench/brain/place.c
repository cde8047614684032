/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Placements per second of processor time, by policy: pods until 130 % of the cluster has been
 * asked for, fragmentation measured after each, on the published cluster's 1,213 nodes and on 10
 * and 100 times as many (with as many times more pods). Beside it the same policy looking at every
 * node for every pod, in the same run, and the published Go simulator (53 a second on two cores).
 *
 *     brain-place [DIR [TIMES_MAX]]
 *
 * DIR holds openb_node_list_gpu_node.csv and openb_pod_list_default.csv of the published trace; "-"
 * or nothing: a made-up one of its shapes.
 */
#include "fleetfile/nodes.h"
#include "fleetfile/pods.h"
#include "simulate/cluster/arrivals.h"
#include "simulate/cluster/cluster_sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define GO_RATE 53.0

/* Node shapes of the published cluster: how many, GPUs, cores, GiB, model. */
static const struct {
    uint32_t n, gpus, cores, gib;
    const char *model;
} shapes[] = {
    {549, 8, 96, 384, "G2"},     {387, 2, 104, 400, "T4"},    {17, 4, 96, 384, "T4"},
    {107, 2, 16, 120, "P100"},   {24, 2, 64, 256, "P100"},    {3, 1, 8, 60, "P100"},
    {39, 8, 128, 768, "G3"},     {21, 8, 96, 736, "V100M32"}, {9, 4, 48, 368, "V100M32"},
    {28, 4, 32, 240, "V100M16"}, {19, 1, 8, 60, "V100M16"},   {8, 8, 64, 480, "V100M16"},
    {2, 1, 128, 512, "A10"},
};

/* GPU sizes of its pods, and how many of 8,152. */
static const struct {
    uint32_t n, gpus, milli;
} sizes[] = {
    {1088, 0, 0},  {3911, 1, 1000}, {1078, 1, 810}, {750, 1, 470}, {328, 1, 320}, {253, 1, 650},
    {140, 1, 230}, {128, 1, 460},   {75, 1, 590},   {74, 1, 160},  {72, 1, 550},  {62, 1, 220},
    {47, 1, 370},  {24, 1, 110},    {19, 1, 480},   {16, 2, 1000}, {15, 4, 1000}, {44, 8, 1000},
};

struct trace {
    struct dv_cluster *cluster;
    struct dv_cluster_pod *pods;
    uint32_t n_pods;
    struct dv_fleet_pods read;
};

static void die(const char *why)
{
    fprintf(stderr, "brain-place: %s\n", why);
    exit(1);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double peak_mib(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)u.ru_maxrss / 1024;
}

/* ---- traces --------------------------------------------------------------------------------- */

static void make_nodes(struct dv_cluster *c, uint32_t times)
{
    struct dv_rng rng = {1};
    for (size_t s = 0; s < DV_ARRAY_SIZE(shapes); s++)
        for (uint32_t i = 0; i < shapes[s].n * times; i++) {
            char name[64], order[64];
            snprintf(name, sizeof name, "node-%zu-%u", s, i);
            snprintf(order, sizeof order, "%016llx", (unsigned long long)dv_rng_next(&rng));
            struct dv_cluster_node node = {.name = name,
                                           .order = order,
                                           .cpu_milli = shapes[s].cores * 1000,
                                           .memory_mib = shapes[s].gib * 1024,
                                           .gpus = shapes[s].gpus,
                                           .model = shapes[s].model};
            if (dv_cluster_add(c, &node, NULL) < 0)
                die("out of memory");
        }
}

static void make_pods(struct trace *t)
{
    static const uint32_t cores[] = {2, 4, 6, 8, 9, 10, 11, 12, 16, 32};
    struct dv_rng rng = {2};
    for (size_t s = 0; s < DV_ARRAY_SIZE(sizes); s++)
        for (uint32_t i = 0; i < sizes[s].n; i++) {
            uint32_t gpus = DV_MAX(sizes[s].gpus, 1);
            uint32_t milli = cores[dv_rng_below(&rng, sizes[s].gpus ? 8 : 10)] * 1000 * gpus;
            t->pods[t->n_pods++] = (struct dv_cluster_pod){.cpu_milli = DV_MIN(milli, 88000u),
                                                           .memory_mib = milli * 4,
                                                           .gpus = (uint8_t)sizes[s].gpus,
                                                           .gpu_milli = (uint16_t)sizes[s].milli};
        }
}

static struct dv_cluster *repeat(const struct dv_cluster *c, uint32_t times)
{
    struct dv_cluster *ret = dv_cluster_new();
    struct dv_rng rng = {1};
    for (uint32_t i = 0; i < dv_cluster_nodes(c) * times; i++) {
        const struct dv_cluster_fixed *f = dv_cluster_fixed(c, i / times);
        const struct dv_cluster_state *s = dv_cluster_state(c, i / times);
        char name[512], order[64];
        snprintf(name, sizeof name, "%.200s-%u", f->name, i % times);
        snprintf(order, sizeof order, "%016llx", (unsigned long long)dv_rng_next(&rng));
        struct dv_cluster_node node = {.name = name,
                                       .order = order,
                                       .cpu_milli = f->cpu_milli,
                                       .memory_mib = f->memory_mib,
                                       .gpus = s->n_gpus,
                                       .model = dv_cluster_model(c, s->model)};
        if (!ret || dv_cluster_add(ret, &node, NULL) < 0)
            die("out of memory");
    }
    return ret;
}

static void read_trace(struct trace *t, const char *dir, uint32_t times)
{
    char nodes[512], pods[512];
    struct dv_err err = {{0}};
    struct dv_fleet_nodes_order order = {.by = DV_FLEET_ORDER_NAME};
    struct dv_cluster *once = NULL;
    snprintf(nodes, sizeof nodes, "%.400s/openb_node_list_gpu_node.csv", dir);
    snprintf(pods, sizeof pods, "%.400s/openb_pod_list_default.csv", dir);
    if (dv_fleet_nodes_read(nodes, &order, &once, &err) < 0)
        die(err.msg);
    t->cluster = repeat(once, times);
    dv_cluster_free(once);
    if (dv_cluster_seal(t->cluster, &err) < 0 ||
        dv_fleet_pods_read(pods, t->cluster, false, &t->read, &err) < 0)
        die(err.msg);
    t->pods = t->read.v;
    t->n_pods = t->read.n;
}

static void open_trace(struct trace *t, const char *dir, uint32_t times)
{
    *t = (struct trace){.cluster = NULL};
    if (dir) {
        read_trace(t, dir, times);
        return;
    }
    t->cluster = dv_cluster_new();
    t->pods = calloc(8192, sizeof *t->pods);
    if (!t->cluster || !t->pods)
        die("out of memory");
    make_nodes(t->cluster, times);
    make_pods(t);
    if (dv_cluster_seal(t->cluster, NULL) < 0)
        die("out of memory");
}

static void close_trace(struct trace *t)
{
    if (t->pods != t->read.v)
        free(t->pods);
    dv_fleet_pods_done(&t->read);
    dv_cluster_free(t->cluster);
}

/* ---- measuring ------------------------------------------------------------------------------ */

struct measured {
    double took_s, allocated;
    uint32_t arrived;
};

static struct measured replay(const struct trace *t, const struct dv_place_policy *policy)
{
    uint32_t *arrivals = NULL, n = 0;
    uint64_t milli = dv_cluster_total(t->cluster).gpu_milli * 13 / 10;
    struct dv_cluster_sim_result r;
    if (dv_arrivals_make(t->pods, t->n_pods, milli, 42, &arrivals, &n) < 0)
        die("out of memory");
    dv_cluster_reset(t->cluster);
    struct dv_cluster_sim_config config = {.cluster = t->cluster,
                                           .policy = policy,
                                           .pods = t->pods,
                                           .n_pods = t->n_pods,
                                           .arrivals = arrivals,
                                           .n_arrivals = n,
                                           .seed = 42};
    dv_cleanup(dv_cluster_sim_freep) struct dv_cluster_sim *sim = NULL;
    double start = now_s();
    if (dv_cluster_sim_new(&config, &sim, NULL) < 0)
        die("out of memory");
    while (dv_cluster_sim_step(sim) == 0)
        ;
    double took = now_s() - start;
    dv_cluster_sim_result(sim, &r);
    free(arrivals);
    return (struct measured){took, r.points[100].allocated_percent, r.arrived};
}

/* The same decisions with nothing kept: every node is scored for every pod. Half of the cluster is
 * in use by then. Placements per second. */
static double naive(const struct trace *t, const struct dv_place_policy *policy, uint32_t n)
{
    uint32_t *arrivals = NULL, n_arrivals = 0, nodes = dv_cluster_nodes(t->cluster);
    dv_cleanup(dv_place_freep) struct dv_place *place = NULL;
    dv_cleanup(dv_popularity_freep) struct dv_popularity *known = dv_popularity_new(t->cluster);
    dv_cluster_reset(t->cluster);
    if (!known || dv_arrivals_make(t->pods, t->n_pods, 0, 42, &arrivals, &n_arrivals) < 0)
        die("out of memory");
    for (uint32_t i = 0; i < t->n_pods; i++)
        if (dv_popularity_add(known, &t->pods[i], 1) < 0)
            die("out of memory");
    struct dv_place_config config = {
        .cluster = t->cluster, .policy = policy, .popularity = known, .seed = 42};
    if (dv_place_new(&config, &place, NULL) < 0)
        die("out of memory");
    double start = 0;
    for (uint32_t i = 0; i < n_arrivals / 2 + n && i < n_arrivals; i++) {
        const struct dv_cluster_pod *pod = &t->pods[arrivals[i]];
        struct dv_place_verdict v;
        if (i == n_arrivals / 2)
            start = now_s();
        int64_t best = INT64_MIN;
        for (uint32_t node = 0; i >= n_arrivals / 2 && node < nodes; node++) {
            int64_t score = 0;
            struct dv_cluster_taking taking;
            enum dv_place_lack lack = DV_PLACE_LACKS;
            if (!dv_place_score(place, node, pod, &score, &taking, &lack) && score > best) {
                best = score;
                v.node = node;
                v.taking = taking;
            }
        }
        bool found = i >= n_arrivals / 2 ? best > INT64_MIN : !dv_place_find(place, pod, &v);
        if (found && dv_place_take(place, v.node, pod, &v.taking) < 0)
            die("out of memory");
    }
    free(arrivals);
    return n / (now_s() - start);
}

static void measure(const char *dir, const struct dv_place_policy *policy, uint32_t times_max)
{
    double last = 0;
    /* Whoever needs a second is not asked for ten times as much. */
    for (uint32_t times = 1; times <= times_max && last < 1; times *= 10) {
        struct trace t;
        open_trace(&t, dir, times);
        double beside = naive(&t, policy, DV_MAX(300 / times, 5));
        struct measured m = replay(&t, policy);
        double rate = m.arrived / m.took_s;
        printf("  %-15s %7u %8u %8.2f s %9.0f", policy->name, dv_cluster_nodes(t.cluster),
               m.arrived, m.took_s, rate);
        if (times == 1)
            printf(" %8.0fx", rate / GO_RATE);
        else
            printf(" %9s", "-");
        printf(" %8.0fx", rate / beside);
        if (last > 0)
            printf(" %7.1fx", m.took_s / last);
        else
            printf(" %8s", "-");
        printf(" %7.2f%% %7.0f MiB\n", m.allocated, peak_mib());
        fflush(stdout);
        last = m.took_s;
        close_trace(&t);
    }
}

int main(int argc, char **argv)
{
    const char *dir = argc > 1 && strcmp(argv[1], "-") != 0 ? argv[1] : NULL;
    uint32_t times_max = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 100;
    const struct dv_place_policy *policy;
    printf("place: %s; placements per second, fragmentation report included; Go: the published "
           "simulator, %.0f a second\n",
           dir ? "the published trace" : "a trace of the published shapes", GO_RATE);
    printf("  %-15s %7s %8s %10s %9s %9s %9s %8s %8s %11s\n", "policy", "nodes", "pods", "took",
           "per s", "of Go", "of naive", "for 10x", "at 100 %", "peak memory");
    for (size_t i = 0; (policy = dv_place_policy_at(i)); i++)
        measure(dir, policy, times_max);
    return 0;
}
