/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An audit's samples per second and its memory, as samples grow 10 and 100 times: in the process
 * (what the figures cost), and through files by `divvy audit` (what reading costs), plain and
 * gzipped. Beside them, in the same run: wc -l and gzip -dc | wc -l, the floor for anything that
 * reads every line, and Python's csv module adding up means.
 *
 * Then the plan alone, as workloads grow 10 and 100 times: beside it the same first fit by looking
 * at one GPU after the other, and sorting as many workloads by their size, the floor for anything
 * that takes the largest first.
 *
 *     brain-audit [DIVVY [ROWS]]      default: no files; 10,000,000 rows
 */
#include "csv/csv.h"
#include "policy/audit/audit_replay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WORKLOADS 1000u
#define START_S INT64_C(1700000000)
#define STEP_S 15

static void die(const char *why)
{
    fprintf(stderr, "brain-audit: %s\n", why);
    exit(1);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double peak_mib(int who)
{
    struct rusage u;
    getrusage(who, &u);
    return (double)u.ru_maxrss / 1024;
}

/* Busy percent of workload w at sample i: endpoints, bursts, notebooks, a training in ten. */
static double busy_of(uint32_t w, uint64_t i)
{
    uint64_t x = (i * 2654435761u + w * 40503u) >> 7;
    switch (w % 10) {
    case 0:
        return 85 + (double)(x % 15);
    case 1:
    case 2:
        return 10 + (double)(x % 10);
    case 3:
    case 4:
    case 5:
        return x % 200 ? 0 : 5;
    default:
        return x % 4 ? 0 : (double)(x % 70);
    }
}

/* ---- in the process ------------------------------------------------------------------------- */

static void in_process(uint64_t samples)
{
    const struct dv_audit_wish wish = {.gpu_memory_bytes = 80 * DV_GIB,
                                       .memory_margin_permille = 50,
                                       .headroom = DV_COMPUTE_FULL / 5};
    struct dv_audit *a = dv_audit_new();
    struct dv_audit_plan *plan = NULL;
    uint32_t index[WORKLOADS] = {0};
    for (uint32_t w = 0; a && w < WORKLOADS; w++) {
        char name[32];
        snprintf(name, sizeof name, "workload-%u", w);
        if (dv_audit_find(a, name, "", &index[w]) < 0)
            die("out of memory");
    }
    double t = now_s();
    for (uint64_t i = 0; i < samples / 2 / WORKLOADS; i++) {
        int64_t at = (START_S + (int64_t)i * STEP_S) * (int64_t)DV_NS_PER_S;
        for (uint32_t w = 0; w < WORKLOADS; w++) {
            dv_audit_busy(a, index[w], at, busy_of(w, i));
            dv_audit_memory(a, index[w], at, (double)((w % 7 + 1 + i % 3) * 4 * DV_GIB));
        }
    }
    double fed = now_s() - t;
    t = now_s();
    if (dv_audit_finish(a, &wish) < 0 || dv_audit_pack(a, &wish, &plan) < 0)
        die("out of memory");
    double planned = now_s() - t;
    printf(
        "in the process     %12llu %9.2f s %12.0f %9.0f MiB   %u GPUs of %u, planned in %.1f ms\n",
        (unsigned long long)samples, fed, (double)samples / fed, peak_mib(RUSAGE_SELF),
        plan->n_gpus, WORKLOADS, planned * 1e3);
    dv_audit_plan_free(plan);
    dv_audit_free(a);
}

/* ---- the plan alone ------------------------------------------------------------------------- */

static const struct dv_audit_wish pack_wish = {.gpu_memory_bytes = 80 * DV_GIB,
                                               .headroom = DV_COMPUTE_FULL / 5};

/* n workloads that are there at the same time, 32 samples each; one in 20 trains. */
static struct dv_audit *fleet_of(uint32_t n)
{
    struct dv_audit *a = dv_audit_new();
    for (uint32_t w = 0; a && w < n; w++) {
        char name[32];
        uint32_t i = 0, x = w * 2654435761u >> 8;
        double busy = w % 20 ? 1 + x % 40 : 95;
        snprintf(name, sizeof name, "workload-%u", w);
        if (dv_audit_find(a, name, "", &i) < 0)
            die("out of memory");
        for (int64_t k = 0; k < 32; k++) {
            int64_t at = (START_S + k * STEP_S) * (int64_t)DV_NS_PER_S;
            dv_audit_busy(a, i, at, w % 20 && w % 3 && k % 3 ? 0 : busy);
            dv_audit_memory(a, i, at, (double)(1 + x % 37) / 2 * 1e9);
        }
    }
    if (!a || dv_audit_finish(a, &pack_wish) < 0)
        die("out of memory");
    return a;
}

struct sized {
    double size;
    uint32_t workload;
};

static int by_size(const void *a, const void *b)
{
    const struct sized *x = a, *y = b;
    if (x->size != y->size)
        return x->size > y->size ? -1 : 1;
    return (x->workload > y->workload) - (x->workload < y->workload);
}

static void sort_by_size(const struct dv_audit *a, struct sized *order)
{
    for (uint32_t i = 0; i < dv_audit_count(a); i++) {
        const struct dv_audit_workload *w = dv_audit_at(a, i);
        double memory = (double)w->memory_bytes / (double)pack_wish.gpu_memory_bytes;
        double compute = (double)w->compute / (DV_COMPUTE_FULL - pack_wish.headroom);
        order[i] = (struct sized){w->how <= DV_AUDIT_EXCLUSIVE ? 2 : DV_MAX(memory, compute), i};
    }
    qsort(order, dv_audit_count(a), sizeof *order, by_size);
}

/* First fit, each GPU looked at in turn; how many there are in the end. */
static uint32_t look_at_each(const struct dv_audit *a, const struct sized *order)
{
    struct seen {
        enum dv_audit_how how;
        uint32_t n, compute;
        uint64_t memory;
    } *gpus = calloc(dv_audit_count(a), sizeof *gpus);
    uint32_t n = 0;
    for (uint32_t i = 0; gpus && i < dv_audit_count(a); i++) {
        const struct dv_audit_workload *w = dv_audit_at(a, order[i].workload);
        uint32_t g = 0;
        while (g < n && (gpus[g].how != w->how || w->how <= DV_AUDIT_EXCLUSIVE ||
                         gpus[g].n == DV_AUDIT_TENANTS_MAX ||
                         gpus[g].memory + w->memory_bytes > pack_wish.gpu_memory_bytes ||
                         gpus[g].compute + w->compute > DV_COMPUTE_FULL - pack_wish.headroom))
            g++;
        if (g == n)
            gpus[n++].how = w->how;
        gpus[g].n++;
        gpus[g].memory += w->memory_bytes;
        gpus[g].compute += w->compute;
    }
    free(gpus);
    return n;
}

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

#define BEST_OF 5

/* Processor time, the least of several. */
static void pack_alone(uint32_t n)
{
    struct dv_audit *a = fleet_of(n);
    struct dv_audit_plan *plan = NULL;
    struct sized *order = calloc(n, sizeof *order);
    double packed = 1e9, sorted = 1e9;
    if (!order)
        die("out of memory");
    for (int i = 0; i < BEST_OF; i++) {
        dv_audit_plan_free(plan);
        double t = cpu_s();
        if (dv_audit_pack(a, &pack_wish, &plan) < 0)
            die("out of memory");
        packed = DV_MIN(packed, cpu_s() - t);
        t = cpu_s();
        sort_by_size(a, order);
        sorted = DV_MIN(sorted, cpu_s() - t);
    }
    double t = cpu_s();
    uint32_t gpus = look_at_each(a, order);
    double looked = cpu_s() - t + sorted;
    if (gpus != plan->n_gpus)
        die("the plan is not that of first fit");
    printf("%-18s %12u %9.2f ms %9.0f ns each %8u GPUs   %.1f x its floor; one GPU after the "
           "other %.2f ms, %.1f x as long\n",
           "the plan alone", n, packed * 1e3, packed * 1e9 / n, gpus, packed / sorted, looked * 1e3,
           looked / packed);
    dv_audit_plan_free(plan);
    dv_audit_free(a);
    free(order);
}

/* ---- through files -------------------------------------------------------------------------- */

static void write_file(const char *path, uint64_t rows)
{
    FILE *f = fopen(path, "w");
    if (!f)
        die("cannot write in $TMPDIR");
    fputs("time,value,workload\n", f);
    for (uint64_t i = 0; i < rows; i++) {
        uint32_t w = (uint32_t)(i % WORKLOADS);
        uint64_t sample = i / WORKLOADS;
        fprintf(f, "%lld,%.2f,0123456789abcdef-%04u\n",
                (long long)(START_S + (int64_t)sample * STEP_S), busy_of(w, sample), w);
    }
    if (fclose(f) != 0)
        die("cannot write in $TMPDIR");
}

/* Runs a command; its time and its peak memory. Exit 3 is an audit that found waste. */
static double run(const char *command, double *ret_mib)
{
    double t = now_s();
    pid_t pid = fork();
    struct rusage u = {0};
    int status = 0;
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    if (pid < 0 || wait4(pid, &status, 0, &u) < 0)
        die("cannot run a command");
    if (!WIFEXITED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 3))
        return -1;
    if (ret_mib)
        *ret_mib = (double)u.ru_maxrss / 1024;
    return now_s() - t;
}

static void print_run(const char *what, uint64_t rows, double s, double mib, double bytes,
                      double floor_s)
{
    if (s < 0) {
        printf("%-18s %12s\n", what, "not to be had");
        return;
    }
    printf("%-18s %12llu %9.2f s %12.0f %9.0f MiB %7.0f MB/s", what, (unsigned long long)rows, s,
           (double)rows / s, mib, bytes / s / 1e6);
    if (floor_s > 0)
        printf("   %.1f x its floor", s / floor_s);
    putchar('\n');
}

/* The reader alone: rows with three numbers looked at. */
static void read_alone(const char *path, uint64_t rows, double bytes)
{
    static const struct dv_csv_column columns[] = {{"time"}, {"value"}, {"workload"}};
    struct dv_csv *csv = NULL;
    struct dv_err err = {{0}};
    double v = 0, sum = 0, t = now_s();
    int r = dv_csv_open(path, &csv, &err);
    r = r < 0 ? r : dv_csv_select(csv, columns, 3, &err);
    while (r >= 0 && (r = dv_csv_next(csv, &err)) > 0)
        if (dv_csv_double(csv, 1, 0, 100, &v, &err) == 0)
            sum += v;
    dv_csv_free(csv);
    if (r < 0)
        die(err.msg);
    if (sum < 0)
        die("a sum below zero");
    print_run("csv rows alone", rows, now_s() - t, peak_mib(RUSAGE_SELF), bytes, 0);
}

static void through_files(const char *divvy, uint64_t rows)
{
    char dir[] = "/tmp/brain-audit-XXXXXX", path[128], command[1024];
    struct stat st = {0};
    double mib = 0;
    if (!mkdtemp(dir))
        die("cannot make a folder in /tmp");
    snprintf(path, sizeof path, "%s/t.csv", dir);
    write_file(path, rows);
    if (stat(path, &st) < 0)
        die("cannot look at the file");
    double bytes = (double)st.st_size;
    snprintf(command, sizeof command, "wc -l <%s >/dev/null", path);
    run(command, NULL); /* into the page cache */
    double floor_s = run(command, &mib);
    print_run("wc -l", rows, floor_s, mib, bytes, 0);
    read_alone(path, rows, bytes);
    snprintf(command, sizeof command, "%s audit -u %s --no-replay -o json >/dev/null", divvy, path);
    double s = run(command, &mib);
    print_run("divvy audit", rows, s, mib, bytes, floor_s);
    snprintf(command, sizeof command, "%s audit -u %s -o json >/dev/null", divvy, path);
    s = run(command, &mib);
    print_run("  with replay", rows, s, mib, bytes, floor_s);
    snprintf(command, sizeof command,
             "head -n %llu %s | python3 -c 'import csv, sys, collections\n"
             "n = collections.Counter(); s = collections.Counter(); idle = 0\n"
             "for r in csv.DictReader(sys.stdin):\n"
             "    v = float(r[\"value\"]); float(r[\"time\"]); n[r[\"workload\"]] += 1\n"
             "    s[r[\"workload\"]] += v; idle += v == 0\n'",
             (unsigned long long)rows / 10 + 1, path);
    double python = run(command, &mib);
    print_run("python csv, a 10th", rows / 10, python, mib, bytes / 10, 0);
    snprintf(command, sizeof command, "gzip -1 %s", path);
    if (run(command, NULL) < 0)
        die("gzip is missing");
    snprintf(command, sizeof command, "gzip -dc %s.gz | wc -l >/dev/null", path);
    floor_s = run(command, &mib);
    print_run("gzip -dc | wc -l", rows, floor_s, mib, bytes, 0);
    snprintf(command, sizeof command, "%s audit -u %s.gz --no-replay -o json >/dev/null", divvy,
             path);
    double packed = run(command, &mib);
    print_run("divvy audit of .gz", rows, packed, mib, bytes, floor_s);
    if (python > 0 && s > 0)
        printf("\ndivvy audit with replay against Python's csv: %.0f times the rows per second\n",
               python * 10 / s);
    snprintf(command, sizeof command, "rm -r %s", dir);
    run(command, NULL);
}

int main(int argc, char **argv)
{
    uint64_t rows = argc > 2 ? strtoull(argv[2], NULL, 10) : 10000000;
    printf("%-18s %12s %11s %12s %13s\n", "", "samples", "time", "samples/s", "peak memory");
    for (uint64_t n = 1000000; n <= 100000000; n *= 10)
        in_process(n);
    if (argc > 1)
        through_files(argv[1], rows);
    putchar('\n');
    for (uint32_t n = DV_AUDIT_WORKLOADS_MAX / 100; n <= DV_AUDIT_WORKLOADS_MAX; n *= 10)
        pack_alone(n);
    return 0;
}
