/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long queues' decisions take: the shapes that other schedulers publish times for, reclaim as
 * the cluster grows, allocation as workloads and queues grow 10 and 100 times.
 *
 * There is no rival in the run: KAI-Scheduler's and Kueue's times are those that they publish, of
 * whole systems (API server, etcd, binding) or in-memory cycles on other machines. The ratio says
 * what share of their time deciding could not be, not who is faster by what factor.
 *
 *     brain-queue                prints the tables
 */
#include "simulate/queue/queue_sim.h"
#include "simulate/queue/shapes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RUNS 5 /* the best of */

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * DV_NS_PER_S + (uint64_t)t.tv_nsec;
}

struct figures {
    uint64_t deciding_ns, longest_ns, verdict_ns, wall_ns;
    uint32_t decisions, evicted, moved, pending;
};

static void give_up(const char *what)
{
    fprintf(stderr, "brain-queue: %s\n", what);
    exit(1);
}

static struct figures run_once(const struct dv_queue_scenario *s)
{
    struct dv_queue_sim *sim = NULL;
    struct dv_err err = {{0}};
    uint64_t began = now_ns();
    int r = dv_queue_sim_new(s, now_ns, &sim, &err);
    while (!r)
        r = dv_queue_sim_step(sim);
    if (r < 0)
        give_up(err.msg[0] ? err.msg : "out of memory");
    uint64_t wall = now_ns() - began;
    if (dv_queue_sim_finish(sim) < 0)
        give_up("out of memory");
    const struct dv_queue_sim_result *x = dv_queue_sim_result(sim);
    struct figures f = {x->deciding_ns, x->decision.max, x->explain_ns, wall,
                        x->decisions,   x->evicted,      x->moved,      x->pending};
    dv_queue_sim_free(sim);
    return f;
}

static struct figures run(const struct dv_queue_scenario *s)
{
    struct figures best = run_once(s);
    for (int i = 1; i < RUNS; i++) {
        struct figures f = run_once(s);
        best.deciding_ns = DV_MIN(best.deciding_ns, f.deciding_ns);
        best.longest_ns = DV_MIN(best.longest_ns, f.longest_ns);
        best.verdict_ns = DV_MIN(best.verdict_ns, f.verdict_ns);
        best.wall_ns = DV_MIN(best.wall_ns, f.wall_ns);
    }
    return best;
}

/* The shapes that are about one decision, not about all. */
static bool is_one_decision(const char *name)
{
    return !strncmp(name, "reclaim", 7) || !strncmp(name, "consolidate", 11) ||
           !strncmp(name, "topology", 8);
}

static void print_shapes(void)
{
    const struct dv_queue_shape *shape;
    printf("%-19s %9s %11s %12s %12s %10s\n", "shape", "decisions", "all ms", "longest ms",
           "published s", "ratio");
    for (size_t i = 0; (shape = dv_queue_shape_at(i)) != NULL; i++) {
        struct dv_queue_scenario *s = NULL;
        if (dv_queue_shape_make(shape, &s) < 0)
            give_up("out of memory");
        struct figures f = run(s);
        uint64_t ours = is_one_decision(shape->name)       ? f.longest_ns
                        : !strncmp(shape->name, "gang", 4) ? DV_MAX(f.longest_ns, f.verdict_ns)
                                                           : f.deciding_ns;
        printf("%-19s %9u %11.3f %12.3f ", shape->name, f.decisions, (double)f.deciding_ns / 1e6,
               (double)f.longest_ns / 1e6);
        if (shape->published.who)
            printf("%12.2f %9.0fx  (%s)\n", (double)shape->published.ns / 1e9,
                   (double)shape->published.ns / (double)DV_MAX(ours, 1), shape->published.who);
        else
            printf("%12s %10s\n", "-", "-");
        dv_queue_scenario_free(s);
    }
}

/* KAI-Scheduler's ReclaimLargeJobs, seconds, at 100, 200, 500, 1000 nodes. */
static void print_reclaim(void)
{
    static const struct {
        uint32_t nodes;
        double published_s;
    } sizes[] = {{10, 0}, {100, 0.21}, {200, 0.73}, {500, 9.2}, {1000, 76.3}, {10000, 0}};
    double first = 0;
    printf("\nreclaim: nodes, running, the decision, growth against 100 nodes\n");
    for (size_t i = 0; i < DV_ARRAY_SIZE(sizes); i++) {
        struct dv_queue_scenario *s = NULL;
        if (dv_queue_shape_reclaim(sizes[i].nodes, &s) < 0)
            give_up("out of memory");
        struct figures f = run(s);
        double ms = (double)f.longest_ns / 1e6;
        first = sizes[i].nodes == 100 ? ms : first;
        printf("%6u %7u %10.3f ms", sizes[i].nodes, sizes[i].nodes * 8, ms);
        if (first > 0)
            printf(" %8.1fx", ms / first);
        else
            printf(" %9s", "-");
        if (sizes[i].published_s > 0)
            printf("   KAI-Scheduler %6.2f s (published, %.0fx of its 100 nodes), %.0fx ours",
                   sizes[i].published_s, sizes[i].published_s / 0.21,
                   sizes[i].published_s * 1000 / ms);
        printf("\n");
        dv_queue_scenario_free(s);
    }
}

static struct dv_queue_scenario *growing(uint32_t nodes, uint32_t queues, uint32_t jobs)
{
    struct dv_queue_scenario *s = dv_queue_scenario_new();
    struct dv_queue_nodes *n = s ? dv_queue_scenario_add_nodes(s) : NULL;
    if (!n)
        give_up("out of memory");
    *n = (struct dv_queue_nodes){.model = "A100-80GB", .count = nodes, .gpus = 8};
    for (uint32_t i = 0; i < queues; i++) {
        char name[DV_QUEUE_NAME];
        snprintf(name, sizeof name, "q%u", i);
        struct dv_queue_jobs *j =
            dv_queue_scenario_add_queue(s, name) ? dv_queue_scenario_add_jobs(s, name) : NULL;
        if (!j)
            give_up("out of memory");
        j->spec.queue = i;
        j->spec.request.kind = DV_FAIR_WHOLE;
        j->spec.request.gpus = 1;
        j->count = jobs / queues;
        j->every_ns = 100 * DV_NS_PER_MS;
        j->duration_ns = 60 * DV_NS_PER_S;
    }
    return s;
}

static void print_growth(void)
{
    static const struct {
        const char *what;
        uint32_t nodes, queues, jobs;
    } rows[] = {
        {"base", 100, 10, 10000},
        {"10x nodes", 1000, 10, 10000},
        {"100x nodes", 10000, 10, 10000},
        {"10x queues", 100, 100, 10000},
        {"100x queues", 100, 1000, 10000},
        {"10x workloads", 100, 10, 100000},
        {"100x workloads", 100, 10, 1000000},
    };
    double first = 0;
    printf("\nallocate: nodes, queues, workloads, microseconds per decision, growth\n");
    for (size_t i = 0; i < DV_ARRAY_SIZE(rows); i++) {
        struct dv_queue_scenario *s = growing(rows[i].nodes, rows[i].queues, rows[i].jobs);
        struct figures f = run_once(s);
        double us = (double)f.deciding_ns / 1e3 / f.decisions;
        first = i ? first : us;
        printf("%-14s %6u %6u %8u %9.3f us %7.1fx %12.0f decisions/s\n", rows[i].what,
               rows[i].nodes, rows[i].queues, rows[i].jobs, us, us / first, 1e6 / us);
        dv_queue_scenario_free(s);
    }
    printf("published: KAI-Scheduler 10 pods/s, Kueue 42 workloads/s, each with its API server\n");
}

int main(void)
{
    print_shapes();
    print_reclaim();
    print_growth();
    return 0;
}
