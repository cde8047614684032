/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the ledger share: a world with virtual time and random tenants, sums. */
#ifndef DV_STORE_LEDGER_TEST_UTIL_H
#define DV_STORE_LEDGER_TEST_UTIL_H

#include "base/rng.h"
#include "store/ledger.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define T0 INT64_C(1790000040) /* a whole minute: 2026-09-21 14:14 UTC */
#define SEC ((int64_t)DV_NS_PER_S)

struct world {
    char dir[64], path[100];
    struct dv_ledger *l;
    struct dv_ledger_limits limits;
    struct dv_ledger_time now;
    struct dv_charge given; /* all that was added */
    struct dv_rng rng;
    unsigned gpus, tenants;
};

static inline int world_setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    /* In memory where that is possible: what is tested is not the disk. */
    snprintf(w->dir, sizeof w->dir, "%s/divvy-ledger-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->path, sizeof w->path, "%s/ledger.db", w->dir);
    w->now = (struct dv_ledger_time){T0 * SEC, 1000 * DV_NS_PER_S};
    w->rng.state = 42;
    w->gpus = 2;
    w->tenants = 5;
    *state = w;
    return 0;
}

static inline void world_clear(const struct world *w)
{
    DIR *d = opendir(w->dir);
    for (struct dirent *e; (e = readdir(d));)
        unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
}

static inline int world_teardown(void **state)
{
    struct world *w = *state;
    dv_ledger_close(w->l);
    world_clear(w);
    rmdir(w->dir);
    free(w);
    return 0;
}

static inline void world_open(struct world *w)
{
    struct dv_err err = {0};
    dv_cleanup(dv_str_done) struct dv_str note = {0};
    struct dv_ledger_options options = {.now = w->now, .limits = w->limits};
    assert_null(w->l);
    if (dv_ledger_open(w->dir, &options, &w->l, &note, &err) < 0)
        fail_msg("%s", err.msg);
    assert_string_equal(dv_str_get(&note), "");
}

static inline void world_close(struct world *w)
{
    dv_ledger_close(w->l);
    w->l = NULL;
}

static inline struct dv_ledger *world_reader(const struct world *w, const char *path)
{
    struct dv_err err = {0};
    dv_cleanup(dv_str_done) struct dv_str note = {0};
    struct dv_ledger *l = NULL;
    struct dv_ledger_options options = {.read_only = true, .now = w->now};
    if (dv_ledger_open(path, &options, &l, &note, &err) < 0)
        fail_msg("%s", err.msg);
    return l;
}

static inline struct dv_account tenant_account(unsigned gpu, unsigned tenant)
{
    struct dv_account a = {.mode = DV_MODE_GOVERNED,
                           .tier = tenant % 2 ? DV_TIER_LATENCY_CRITICAL : DV_TIER_BEST_EFFORT,
                           .source = DV_SOURCE_LEASES};
    snprintf(a.gpu, sizeof a.gpu, "GPU-%08u-0000-0000-0000-000000000000", gpu);
    snprintf(a.model, sizeof a.model, "NVIDIA A100-SXM4-40GB");
    snprintf(a.tenant, sizeof a.tenant, "team-%u", tenant);
    return a;
}

static inline struct dv_account gpu_account(unsigned gpu)
{
    struct dv_account a = tenant_account(gpu, 0);
    a.tenant[0] = 0;
    a.mode = DV_MODE_AUTO;
    a.tier = DV_TIER_BEST_EFFORT;
    a.source = DV_SOURCE_NONE;
    return a;
}

static inline void give(struct world *w, const struct dv_account *a, const struct dv_charge *c)
{
    assert_int_equal(dv_ledger_add(w->l, a, c), 0);
    dv_charge_add(&w->given, c);
}

/* `ns` of every GPU pass: cut at random among the tenants, the rest is nobody's. */
static inline void pass(struct world *w, uint64_t ns)
{
    for (unsigned g = 0; g < w->gpus; g++) {
        uint64_t left = ns;
        for (unsigned i = 0; i < 3; i++) {
            unsigned t = (unsigned)dv_rng_below(&w->rng, w->tenants);
            struct dv_account a = tenant_account(g, t);
            uint64_t part = dv_rng_below(&w->rng, left + 1);
            uint64_t busy = dv_rng_below(&w->rng, part + 1);
            struct dv_charge c = {.busy_ns = busy,
                                  .reserved_idle_ns = part - busy,
                                  .wait_ns = dv_rng_below(&w->rng, ns),
                                  .requested_compute = 3500 * ns,
                                  .byte_seconds = ns / 1000 * 40,
                                  .held_ns = ns};
            give(w, &a, &c);
            left -= part;
        }
        struct dv_account own = gpu_account(g);
        struct dv_charge c = {.overhead_ns = left / 3,
                              .unallocated_ns = left / 3,
                              .unhealthy_ns = left - 2 * (left / 3)};
        give(w, &own, &c);
    }
    w->now.unix_ns += (int64_t)ns;
    w->now.mono_ns += ns;
}

static inline int flush_world(struct world *w, struct dv_err *err)
{
    return dv_ledger_flush(w->l, w->now, NULL, 0, err);
}

static inline void must_flush(struct world *w)
{
    struct dv_err err = {0};
    if (flush_world(w, &err) < 0)
        fail_msg("%s", err.msg);
}

static inline void must_roll(struct world *w)
{
    struct dv_err err = {0};
    int r, n = 0;
    while ((r = dv_ledger_roll(w->l, w->now.unix_ns / SEC * SEC, &err)) > 0 && n++ < 100000)
        ;
    if (r != 0)
        fail_msg("%d %s", r, err.msg);
}

struct sums {
    struct dv_charge all;
    uint64_t broken, corrected, open, coarse, n, levels[DV_LEDGER_LEVELS];
    struct dv_ledger_row last;
};

static inline bool add_row(void *arg, const struct dv_ledger_row *row)
{
    struct sums *s = arg;
    dv_charge_add(&s->all, &row->row.charge);
    s->broken += row->broken;
    s->corrected += row->corrected;
    s->open += row->open;
    s->coarse += row->coarse;
    s->levels[row->level]++;
    s->n++;
    s->last = *row;
    return true;
}

static inline struct sums read_sums(struct dv_ledger *l, const struct dv_ledger_query *q)
{
    struct sums s = {0};
    struct dv_err err = {0};
    if (dv_ledger_read(l, q, add_row, &s, NULL, &err) < 0)
        fail_msg("%s", err.msg);
    return s;
}

static inline struct sums read_all(struct dv_ledger *l, enum dv_ledger_level step)
{
    return read_sums(
        l, &(struct dv_ledger_query){.from_unix = 0, .to_unix = INT64_C(1) << 36, .step = step});
}

static inline void assert_charges(const struct dv_charge *a, const struct dv_charge *b)
{
    assert_true(dv_charge_wall_ns(a) == dv_charge_wall_ns(b));
    assert_memory_equal(a, b, sizeof *a);
}

struct breaks {
    unsigned n, of[8];
    bool print;
    struct dv_ledger_break v[1024];
};

static inline void on_break(void *arg, const struct dv_ledger_break *b)
{
    struct breaks *s = arg;
    s->v[s->n++ % 1024] = *b;
    s->of[b->fault % 8]++;
    if (s->print)
        print_message("%s %llu: %s: %s\n", dv_ledger_chain_name(b->chain),
                      (unsigned long long)b->seq, dv_ledger_fault_name(b->fault), b->detail);
}

static inline struct breaks find_breaks(struct dv_ledger *l, struct dv_ledger_proof *ret)
{
    struct breaks b = {0};
    struct dv_err err = {0};
    if (dv_ledger_verify(l, on_break, &b, ret, &err) < 0)
        fail_msg("%s", err.msg);
    return b;
}

static inline void assert_proven(struct dv_ledger *l)
{
    struct dv_ledger_proof proof;
    struct breaks b = find_breaks(l, &proof);
    for (unsigned i = 0; i < b.n && i < 1024; i++)
        print_message("%s %llu: %s: %s\n", dv_ledger_chain_name(b.v[i].chain),
                      (unsigned long long)b.v[i].seq, dv_ledger_fault_name(b.v[i].fault),
                      b.v[i].detail);
    assert_int_equal(proof.breaks, 0);
}

static inline void sql(const char *path, const char *text)
{
    sqlite3 *db;
    char *msg = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, text, NULL, NULL, &msg) != SQLITE_OK)
        fail_msg("%s: %s", text, msg);
    sqlite3_close(db);
}

#endif
