/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the ledger costs: flushes, sealed rows per second and bytes per row against plain INSERTs of
 * the same figures into one table in the same run, a month's bill, the size of a year.
 *
 * Time is virtual. The year is scaled: a month by the hour is built, a tenant holding slices on 4
 * of the 64 GPUs at a time, and its bytes per row are taken for the rows of a year. The bill is
 * read of the worst month: all 200 tenants on all 64 GPUs on every day.
 *
 *     ledger [DIR]               a folder on the disk to measure; default: the current one
 */
#include "store/ledger.h"

#include "base/rng.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define GPUS 64
#define TENANTS 200
#define GPUS_PER_TENANT 4
#define T0 INT64_C(1788220800) /* 2026-09-01 */

static struct dv_rng rng = {.state = 1};
static char dir[400];

/* Of this thread: what others do with the processor does not count. */
static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void die(const char *what, const struct dv_err *err)
{
    fprintf(stderr, "%s: %s\n", what, err ? err->msg : "failed");
    exit(1);
}

static struct dv_account account(unsigned gpu, unsigned tenant)
{
    struct dv_account a = {.mode = DV_MODE_GOVERNED, .source = DV_SOURCE_LEASES};
    snprintf(a.gpu, sizeof a.gpu, "GPU-%08x-1111-2222-3333-444455556666", gpu * 2654435761u);
    snprintf(a.model, sizeof a.model, "NVIDIA H100 80GB HBM3");
    if (tenant < TENANTS)
        snprintf(a.tenant, sizeof a.tenant, "team-%03u", tenant);
    else
        a.source = DV_SOURCE_NONE;
    return a;
}

static struct dv_charge charge(uint64_t ns)
{
    uint64_t held = ns / 2 + dv_rng_below(&rng, ns / 2), busy = dv_rng_below(&rng, held / 4);
    return (struct dv_charge){.busy_ns = busy,
                              .reserved_idle_ns = held / 4 - busy,
                              .wait_ns = dv_rng_below(&rng, busy + 1),
                              .requested_compute = held / 4 * 7000,
                              .byte_seconds = held / DV_NS_PER_S * 20 * DV_GIB,
                              .held_ns = held};
}

struct run {
    struct dv_ledger *l;
    struct dv_ledger_time now;
    unsigned per_tenant;
};

static void start(struct run *r, const char *name, unsigned per_tenant)
{
    struct dv_err err = {0};
    struct dv_str note = {0};
    char path[500];
    r->now = (struct dv_ledger_time){T0 * (int64_t)DV_NS_PER_S, DV_NS_PER_S};
    r->per_tenant = per_tenant;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    struct dv_ledger_options options = {.now = r->now};
    if (dv_ledger_open(path, &options, &r->l, &note, &err) < 0)
        die("open", &err);
}

static size_t fill(struct run *r, uint64_t ns)
{
    size_t n = 0;
    for (unsigned t = 0; t < TENANTS; t++)
        for (unsigned i = 0; i < r->per_tenant; i++, n++) {
            struct dv_account a = account((t * 7 + i) % GPUS, t);
            struct dv_charge c = charge(ns);
            dv_ledger_add(r->l, &a, &c);
        }
    for (unsigned g = 0; g < GPUS; g++, n++) {
        struct dv_account a = account(g, TENANTS);
        struct dv_charge c = {.overhead_ns = dv_rng_below(&rng, ns / 10), .unallocated_ns = ns / 5};
        dv_ledger_add(r->l, &a, &c);
    }
    r->now.unix_ns += (int64_t)ns;
    r->now.mono_ns += ns;
    return n;
}

static double flush(struct run *r)
{
    struct dv_err err = {0};
    double t = seconds();
    if (dv_ledger_flush(r->l, r->now, NULL, 0, &err) < 0)
        die("flush", &err);
    return seconds() - t;
}

/* Returns the longest call, in processor time. */
static double roll(struct run *r, double *ret_total)
{
    struct dv_err err = {0};
    double longest = 0;
    int code;
    do {
        double t = cpu_seconds();
        code = dv_ledger_roll(r->l, r->now.unix_ns, &err);
        t = cpu_seconds() - t;
        longest = t > longest ? t : longest;
        *ret_total += t;
    } while (code > 0);
    if (code < 0)
        die("roll", &err);
    return longest;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure_flush(unsigned per_tenant)
{
    struct run r;
    double v[60];
    size_t n = 0;
    start(&r, per_tenant > GPUS_PER_TENANT ? "flush2.db" : "flush.db", per_tenant);
    for (size_t i = 0; i < DV_ARRAY_SIZE(v); i++) {
        n = fill(&r, 1900 * DV_NS_PER_MS);
        v[i] = flush(&r);
    }
    qsort(v, DV_ARRAY_SIZE(v), sizeof *v, by_value);
    printf("  %6zu rows of the open minute   p50 %7.2f ms   max %7.2f ms (the minute is sealed)\n",
           n, 1e3 * v[DV_ARRAY_SIZE(v) / 2], 1e3 * v[DV_ARRAY_SIZE(v) - 1]);
    dv_ledger_close(r.l);
}

/* ---- sealed rows against plain INSERTs ---- */

static double plain_inserts(size_t minutes, size_t rows, uint64_t *ret_bytes)
{
    sqlite3 *db;
    sqlite3_stmt *st;
    char path[500];
    struct stat info;
    snprintf(path, sizeof path, "%s/plain.db", dir);
    if (sqlite3_open(path, &db) != SQLITE_OK ||
        sqlite3_exec(db,
                     "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                     "CREATE TABLE plain (at INTEGER, account INTEGER, a INTEGER, b INTEGER,"
                     " c INTEGER, d INTEGER, e INTEGER, f INTEGER, g INTEGER, h INTEGER, i INTEGER)"
                     " STRICT",
                     NULL, NULL, NULL) != SQLITE_OK)
        die("plain", NULL);
    sqlite3_prepare_v2(db, "INSERT INTO plain VALUES (?,?,?,?,?,?,?,?,?,?,?)", -1, &st, NULL);
    double t = seconds();
    for (size_t m = 0; m < minutes; m++) {
        sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);
        for (size_t i = 0; i < rows; i++) {
            struct dv_charge c = charge(60 * DV_NS_PER_S);
            const uint64_t figures[] = {c.busy_ns, 0,         c.reserved_idle_ns,  0,
                                        0,         c.wait_ns, c.requested_compute, c.byte_seconds,
                                        c.held_ns};
            sqlite3_bind_int64(st, 1, T0 + (int64_t)m * 60);
            sqlite3_bind_int64(st, 2, (int64_t)i + 1);
            for (int k = 0; k < 9; k++)
                sqlite3_bind_int64(st, 3 + k, (int64_t)figures[k]);
            sqlite3_step(st);
            sqlite3_reset(st);
        }
        if (sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
            die("plain", NULL);
    }
    t = seconds() - t;
    sqlite3_finalize(st);
    sqlite3_close(db);
    *ret_bytes = stat(path, &info) == 0 ? (uint64_t)info.st_size : 0;
    return t;
}

static void measure_rows(void)
{
    enum { MINUTES = 200 };
    struct run r;
    size_t rows = 0;
    uint64_t plain_bytes;
    double t = 0;
    start(&r, "rows.db", GPUS_PER_TENANT);
    for (int m = 0; m < MINUTES; m++) {
        rows = fill(&r, 60 * DV_NS_PER_S);
        t += flush(&r);
    }
    struct dv_ledger_stats stats;
    dv_ledger_close(r.l);
    start(&r, "rows.db", GPUS_PER_TENANT); /* the log is in the file now */
    dv_ledger_stats(r.l, &stats);
    double n = (double)rows * MINUTES, plain = plain_inserts(MINUTES, rows, &plain_bytes);
    printf("  sealed minutes of %zu rows      %9.0f rows/s  %5.1f bytes a row\n", rows, n / t,
           (double)stats.file_bytes / n);
    printf("  plain INSERT, no chain          %9.0f rows/s  %5.1f bytes a row\n", n / plain,
           (double)plain_bytes / n);
    printf("  ratio                           %9.2f         %5.2f\n", plain / t,
           (double)stats.file_bytes / (double)plain_bytes);
    dv_ledger_close(r.l);
}

/* ---- the year, the bill ---- */

static void measure_year(void)
{
    struct run r;
    double longest = 0, roll_total = 0;
    start(&r, "month.db", GPUS_PER_TENANT);
    for (int h = 0; h < 31 * 24; h++) {
        fill(&r, 3600 * DV_NS_PER_S);
        flush(&r);
        double one = roll(&r, &roll_total);
        longest = one > longest ? one : longest;
    }
    dv_ledger_close(r.l);
    start(&r, "month.db", GPUS_PER_TENANT);
    struct dv_ledger_stats stats;
    dv_ledger_stats(r.l, &stats);
    /* Pages of dropped minutes are free for the next ones; they count for nobody. */
    double rows = 0, hour_rows = 365.0 * 24 * (TENANTS * GPUS_PER_TENANT + GPUS), all;
    for (unsigned i = 0; i < DV_LEDGER_LEVELS; i++)
        rows += (double)stats.rows[i];
    double bytes = (double)stats.file_bytes / rows;
    all = hour_rows + hour_rows / 24 + 1e6;
    printf("  a month by the hour: %.0f rows kept, %.1f MB, %.1f bytes a row; rolling %.1f s of "
           "CPU, longest "
           "call %.1f ms\n",
           rows, (double)stats.file_bytes / 1e6, bytes, roll_total, 1e3 * longest);
    printf("  a year (%.1f million rows, minutes at their budget): %.2f GB; all budgets full: %.2f "
           "GB; "
           "target 2 GB\n",
           all / 1e6, all * bytes / 1e9, (16e6 * bytes + 0.5e6 * 140) / 1e9);
    dv_ledger_close(r.l);
}

struct bill {
    uint64_t rows, busy[TENANTS + 1];
};

static bool bill_row(void *arg, const struct dv_ledger_row *row)
{
    struct bill *b = arg;
    unsigned t = TENANTS;
    sscanf(row->row.account.tenant, "team-%u", &t);
    b->busy[t % (TENANTS + 1)] += row->row.charge.busy_ns;
    b->rows++;
    return true;
}

static void measure_bill(void)
{
    struct run r;
    struct dv_err err = {0};
    struct bill bill = {0};
    double unused = 0, longest = 0;
    start(&r, "bill.db", GPUS);
    for (int d = 0; d < 32; d++) {
        fill(&r, 86400 * DV_NS_PER_S);
        flush(&r);
        double one = roll(&r, &unused);
        longest = one > longest ? one : longest;
    }
    struct dv_ledger_query q = {
        .from_unix = T0, .to_unix = T0 + 31 * 86400, .step = DV_LEDGER_BEST};
    double t = seconds();
    if (dv_ledger_read(r.l, &q, bill_row, &bill, NULL, &err) < 0)
        die("read", &err);
    t = seconds() - t;
    printf(
        "  a month's bill, 64 GPUs x 200 tenants, %llu rows, hashes checked: %.0f ms (target 1 s); "
        "longest roll %.0f ms\n",
        (unsigned long long)bill.rows, 1e3 * t, 1e3 * longest);
    struct dv_ledger_proof proof;
    t = seconds();
    if (dv_ledger_verify(r.l, NULL, NULL, &proof, &err) < 0)
        die("verify", &err);
    t = seconds() - t;
    printf("  verify: %llu rows in %.2f s, %llu breaks\n", (unsigned long long)proof.rows, t,
           (unsigned long long)proof.breaks);
    dv_ledger_close(r.l);
}

static void clear(void)
{
    static const char *const names[] = {"flush", "flush2", "rows", "plain", "month", "bill"};
    static const char *const ends[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(names); i++)
        for (size_t k = 0; k < DV_ARRAY_SIZE(ends); k++) {
            char path[500];
            snprintf(path, sizeof path, "%s/%s.db%s", dir, names[i], ends[k]);
            unlink(path);
        }
    rmdir(dir);
}

int main(int argc, char **argv)
{
    snprintf(dir, sizeof dir, "%s/divvy-ledger-bench-XXXXXX", argc > 1 ? argv[1] : ".");
    if (!mkdtemp(dir)) {
        perror(dir);
        return 1;
    }
    printf("ledger, %d GPUs, %d tenants, every flush synced\n", GPUS, TENANTS);
    measure_flush(GPUS_PER_TENANT);
    measure_flush(GPUS);
    measure_rows();
    measure_year();
    measure_bill();
    clear();
    return 0;
}
