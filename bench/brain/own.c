/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a decision of the policy "divvy" costs: microseconds of processor time per arriving pod and
 * placements per second, beside fragmentation gradient descent on the same pods in the same run;
 * with the popularity known, while it is learnt, and with pods that leave; on 1,213 nodes and on
 * ten times as many. And its size values: the cutting stock program, by sizes.
 *
 *     brain-own [TIMES_MAX]
 */
#include "base/rng.h"
#include "policy/place/own_values.h"
#include "simulate/cluster/arrivals.h"
#include "simulate/cluster/cluster_sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define PODS 2000 /* the workload: what they are drawn from */

static void die(const char *why)
{
    fprintf(stderr, "brain-own: %s\n", why);
    exit(1);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* In the proportions of the published cluster (Weng et al., USENIX ATC 2023), and of its pods. */
static struct dv_cluster *make_cluster(uint32_t nodes)
{
    static const struct dv_cluster_node shapes[] = {
        {.cpu_milli = 96000, .memory_mib = 393216, .gpus = 8, .model = "G2"},
        {.cpu_milli = 104000, .memory_mib = 409600, .gpus = 2, .model = "T4"},
        {.cpu_milli = 16000, .memory_mib = 122880, .gpus = 2, .model = "P100"},
        {.cpu_milli = 128000, .memory_mib = 786432, .gpus = 8, .model = "G3"}};
    static const uint8_t of[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 3};
    struct dv_cluster *c = dv_cluster_new();
    for (uint32_t i = 0; c && i < nodes; i++) {
        char name[32];
        snprintf(name, sizeof name, "n%07u", i * 7919 % nodes);
        struct dv_cluster_node node = shapes[of[i % sizeof of]];
        node.name = name;
        if (dv_cluster_add(c, &node, NULL) < 0)
            die("out of memory");
    }
    if (!c || dv_cluster_seal(c, NULL) < 0)
        die("out of memory");
    return c;
}

static void make_pods(struct dv_cluster_pod *pods, struct dv_rng *rng)
{
    static const struct {
        uint32_t per_mille, gpus, milli;
    } sizes[] = {{133, 0, 0},  {480, 1, 1000}, {132, 1, 810}, {92, 1, 470},
                 {40, 1, 320}, {31, 1, 650},   {33, 1, 230},  {20, 1, 590},
                 {30, 1, 160}, {2, 2, 1000},   {2, 4, 1000},  {5, 8, 1000}};
    static const uint32_t cores[] = {3, 4, 6, 8, 12, 16, 18};
    for (uint32_t i = 0; i < PODS; i++) {
        uint32_t at = (uint32_t)dv_rng_below(rng, 1000), s = 0;
        while (at >= sizes[s].per_mille)
            at -= sizes[s++].per_mille;
        uint32_t cpu = cores[dv_rng_below(rng, 7)] * 1000;
        pods[i] = (struct dv_cluster_pod){.cpu_milli = cpu * DV_MAX(sizes[s].gpus, 1) * 2 /
                                                       (sizes[s].gpus > 1 ? 3 : 2),
                                          .memory_mib = cpu * 4,
                                          .gpus = (uint8_t)sizes[s].gpus,
                                          .gpu_milli = (uint16_t)sizes[s].milli};
    }
}

enum how { KNOWN, LEARNT, LEAVING };

struct load {
    struct dv_cluster *cluster;
    struct dv_cluster_pod *pods; /* of each arrival its own: pods that leave do so each by itself */
    struct dv_cluster_sim_times *times;
    uint32_t *arrivals, n;
};

static void make_load(struct load *l, uint32_t nodes)
{
    static struct dv_cluster_pod workload[PODS];
    struct dv_rng rng = {42};
    uint32_t *drawn = NULL;
    l->cluster = make_cluster(nodes);
    make_pods(workload, &rng);
    if (dv_arrivals_make(workload, PODS, dv_cluster_total(l->cluster).gpu_milli * 13 / 10, 42,
                         &drawn, &l->n) < 0)
        die("out of memory");
    l->pods = calloc(l->n, sizeof *l->pods);
    l->times = calloc(l->n, sizeof *l->times);
    l->arrivals = calloc(l->n, sizeof *l->arrivals);
    if (!l->pods || !l->times || !l->arrivals)
        die("out of memory");
    for (uint32_t i = 0; i < l->n; i++) {
        l->pods[i] = workload[drawn[i]];
        l->times[i].created_s = i;
        l->times[i].deleted_s = i + 1 + (uint64_t)dv_rng_exponential(&rng, l->n / 2.0);
        l->arrivals[i] = i;
    }
    free(drawn);
}

static double run(const struct load *l, const char *policy, enum how how, double *ret_percent)
{
    struct dv_cluster_sim *sim = NULL;
    struct dv_cluster_sim_result result;
    struct dv_cluster_sim_config config = {.cluster = l->cluster,
                                           .policy = dv_place_policy_find(policy, NULL),
                                           .pods = l->pods,
                                           .n_pods = l->n,
                                           .arrivals = l->arrivals,
                                           .n_arrivals = l->n,
                                           .times = how == LEAVING ? l->times : NULL,
                                           .compress = 1,
                                           .learn_every = how == LEARNT ? 20 : 0};
    dv_cluster_reset(l->cluster);
    if (dv_cluster_sim_new(&config, &sim, NULL) < 0)
        die("out of memory");
    double started = now_s();
    int r = 0;
    while ((r = dv_cluster_sim_step(sim)) == 0)
        ;
    if (r < 0)
        die("a step failed");
    double took = now_s() - started;
    dv_cluster_sim_result(sim, &result);
    *ret_percent = 100.0 * (double)result.used_gpu_milli / (double)result.total_gpu_milli;
    dv_cluster_sim_free(sim);
    return took * 1e6 / l->n;
}

static void decisions(uint32_t nodes)
{
    static const char *const words[] = {"known", "learnt", "pods leave"};
    struct load l;
    make_load(&l, nodes);
    for (int how = KNOWN; how <= LEAVING; how++) {
        double ours_percent, theirs_percent;
        double theirs = run(&l, "fgd", (enum how)how, &theirs_percent);
        double ours = run(&l, "divvy", (enum how)how, &ours_percent);
        printf("  %-11s %7u %8u  %8.2f %9.0f  %8.2f %9.0f  %6.1fx  %8.2f%% %8.2f%%\n", words[how],
               nodes, l.n, ours, 1e6 / ours, theirs, 1e6 / theirs, ours / theirs, ours_percent,
               theirs_percent);
    }
    free(l.pods);
    free(l.times);
    free(l.arrivals);
    dv_cluster_free(l.cluster);
}

static void values(uint32_t sizes)
{
    struct dv_rng rng = {7};
    struct dv_popularity *p = dv_popularity_new(NULL);
    for (uint32_t i = 0; p && i < sizes; i++) {
        struct dv_cluster_pod pod = {.gpus = 1, .gpu_milli = (uint16_t)(1000 - i * 900 / sizes)};
        if (dv_popularity_add(p, &pod, 1 + dv_rng_below(&rng, 500)) < 0)
            die("out of memory");
    }
    static struct dv_own_values v;
    double started = now_s();
    if (!p || dv_own_values_solve(p, NULL, &v, NULL) < 0)
        die("no size values");
    printf("  %3u sizes: %8.2f ms\n", sizes, (now_s() - started) * 1e3);
    dv_popularity_free(p);
}

int main(int argc, char **argv)
{
    long times_max = argc > 1 ? strtol(argv[1], NULL, 10) : 10;
    printf("own: a decision of 'divvy' and of 'fgd', fragmentation report included, processor "
           "time\n  %-11s %7s %8s  %8s %9s  %8s %9s  %7s  %9s %9s\n",
           "popularity", "nodes", "pods", "divvy us", "per s", "fgd us", "per s", "ratio",
           "allocated", "fgd");
    for (uint32_t times = 1; times <= times_max && times <= 100; times *= 10)
        decisions(1213 * times);
    printf("own: size values, once per distribution (while learning: each time there is a tenth "
           "more to learn from)\n");
    for (uint32_t sizes = 4; sizes <= 64; sizes *= 4)
        values(sizes);
    return 0;
}
