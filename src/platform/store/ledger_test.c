/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger's sums, its time, its corrections: what it says when nothing is wrong with the disk.
 */
#include "ledger_test_util.h"

#include <sys/wait.h>

static struct sums read_between(struct dv_ledger *l, int64_t from, int64_t to,
                                enum dv_ledger_level step)
{
    return read_sums(l, &(struct dv_ledger_query){.from_unix = from, .to_unix = to, .step = step});
}

static void test_round_trip(void **state)
{
    struct world *w = *state;
    struct dv_account a = tenant_account(3, 1);
    struct dv_charge c = {1, 2, 3, 4, 5, 6, UINT64_C(600000000000000000), 8, 9};
    snprintf(a.profile, sizeof a.profile, "1g.5gb");
    a.quality = DV_QUALITY_SAMPLED;
    world_open(w);
    give(w, &a, &c);
    give(w, &a, &c);
    w->now.unix_ns += 2 * SEC;
    w->now.mono_ns += 2 * DV_NS_PER_S;
    must_flush(w);
    struct sums s = read_all(w->l, DV_LEDGER_BEST);
    assert_int_equal(s.n, 1);
    assert_true(s.last.open);
    assert_true(dv_account_equal(&s.last.row.account, &a));
    assert_charges(&s.all, &w->given);
    assert_int_equal(s.last.row.from_unix, T0);
    assert_int_equal(s.last.row.to_unix, T0 + 60);

    /* Another process reads the same, and the next one seals what this one left. */
    struct dv_ledger *reader = world_reader(w, w->dir);
    s = read_all(reader, DV_LEDGER_BEST);
    assert_int_equal(s.open, 1);
    assert_charges(&s.all, &w->given);
    world_close(w);
    world_open(w);
    s = read_all(reader, DV_LEDGER_BEST);
    assert_int_equal(s.open, 0);
    assert_charges(&s.all, &w->given);
    dv_ledger_close(reader);
    s = read_all(w->l, DV_LEDGER_BEST);
    assert_int_equal(s.n, 1);
    assert_false(s.last.open || s.last.broken || s.last.coarse);
    assert_int_equal(s.last.block, 1);
    assert_true(dv_account_equal(&s.last.row.account, &a));
    assert_charges(&s.all, &w->given);
    assert_proven(w->l);
}

/* What was added sums to what is read, at every step, through flushes, hours, days and pruning,
 * and cut at any time: nothing is lost or counted twice where two intervals meet. */
static void test_conservation(void **state)
{
    struct world *w = *state;
    w->limits = (struct dv_ledger_limits){.minute_seconds = 3 * 3600, .hour_seconds = 40 * 3600};
    world_open(w);
    for (int minute = 0; minute < 5 * 1440; minute++) {
        for (unsigned i = 0, n = 1 + (unsigned)dv_rng_below(&w->rng, 2); i < n; i++) {
            pass(w, 60 * DV_NS_PER_S / n);
            if (dv_rng_below(&w->rng, 3))
                must_flush(w);
        }
        if (dv_rng_below(&w->rng, 40) == 0)
            must_roll(w);
        if (dv_rng_below(&w->rng, 900) == 0) { /* in order, or not */
            must_flush(w);
            world_close(w);
            world_open(w);
        }
        if (minute % 977)
            continue;
        for (unsigned step = 0; step < DV_LEDGER_LEVELS; step++) {
            struct sums s = read_all(w->l, (enum dv_ledger_level)step);
            assert_charges(&s.all, &w->given);
            int64_t cut = T0 + (int64_t)dv_rng_below(&w->rng, 5 * 86400);
            struct sums before = read_between(w->l, 0, cut, (enum dv_ledger_level)step);
            struct sums after =
                read_between(w->l, cut, INT64_C(1) << 36, (enum dv_ledger_level)step);
            dv_charge_add(&before.all, &after.all);
            assert_charges(&before.all, &w->given);
            assert_int_equal(s.broken, 0);
        }
    }
    must_flush(w);
    must_roll(w);
    struct dv_ledger_stats stats;
    dv_ledger_stats(w->l, &stats);
    assert_in_range(stats.blocks[DV_LEDGER_DAY], 5, 5);
    assert_true(stats.blocks[DV_LEDGER_HOUR] < 72);
    assert_true(stats.blocks[DV_LEDGER_MINUTE] < 6 * 60);
    assert_in_range(stats.sealed[DV_LEDGER_MINUTE], 4000, 5 * 1440); /* late flushes: longer ones */
    struct sums s = read_all(w->l, DV_LEDGER_MINUTE);
    assert_true(s.levels[0] && s.levels[1] && s.levels[2]);
    assert_charges(&s.all, &w->given);
    /* A GPU's buckets sum to the clock on the wall. */
    assert_int_equal(dv_charge_wall_ns(&s.all), w->gpus * (uint64_t)(w->now.unix_ns - T0 * SEC));
    assert_proven(w->l);
    world_close(w);
    struct dv_ledger *reader = world_reader(w, w->path);
    assert_proven(reader);
    s = read_all(reader, DV_LEDGER_BEST);
    assert_charges(&s.all, &w->given);
    dv_ledger_close(reader);
}

/* A day in the interval comes as a day, its edges as hours and minutes. */
static void test_levels(void **state)
{
    struct world *w = *state;
    w->limits.minute_seconds = 10 * 86400;
    world_open(w);
    for (int i = 0; i < 3 * 1440; i++) {
        pass(w, 60 * DV_NS_PER_S);
        must_flush(w);
    }
    must_roll(w);
    int64_t midnight = T0 - T0 % 86400 + 86400;
    struct sums s = read_between(w->l, midnight, midnight + 86400, DV_LEDGER_BEST);
    assert_int_equal(s.levels[DV_LEDGER_HOUR] + s.levels[DV_LEDGER_MINUTE], 0);
    assert_int_equal(dv_charge_wall_ns(&s.all), 2 * 86400 * DV_NS_PER_S);
    s = read_between(w->l, midnight, midnight + 86400, DV_LEDGER_HOUR);
    assert_int_equal(s.levels[DV_LEDGER_DAY] + s.levels[DV_LEDGER_MINUTE], 0);
    assert_int_equal(dv_charge_wall_ns(&s.all), 2 * 86400 * DV_NS_PER_S);
    s = read_between(w->l, midnight - 3660, midnight + 86400 + 60, DV_LEDGER_BEST);
    assert_true(s.levels[DV_LEDGER_DAY] && s.levels[DV_LEDGER_HOUR] && s.levels[DV_LEDGER_MINUTE]);
    assert_int_equal(dv_charge_wall_ns(&s.all), 2 * (86400 + 3720) * DV_NS_PER_S);
    s = read_sums(w->l, &(struct dv_ledger_query){.from_unix = midnight,
                                                  .to_unix = midnight + 86400,
                                                  .gpu = s.last.row.account.gpu});
    assert_int_equal(dv_charge_wall_ns(&s.all), 86400 * DV_NS_PER_S);
    struct dv_err err = {0};
    struct dv_ledger_query wrong = {.from_unix = 5, .to_unix = 4};
    assert_int_equal(dv_ledger_read(w->l, &wrong, add_row, &s, NULL, &err), -EINVAL);
}

/* The clock is set back a day, on again, back by minutes: every charge is there once, under the
 * time that was then, and blocks stay in the order of their numbers. */
static void test_clock_steps(void **state)
{
    static const int64_t steps[] = {
        -86400, 86400, -600, 90, 3 * 86400, -3 * 86400, 20 * 365 * 86400, -20 * 365 * 86400};
    struct world *w = *state;
    w->limits = (struct dv_ledger_limits){.minute_seconds = 6 * 3600, .hour_seconds = 4 * 86400};
    world_open(w);
    for (size_t i = 0; i < DV_ARRAY_SIZE(steps); i++) {
        for (int n = 0; n < 400; n++) {
            pass(w, 30 * DV_NS_PER_S);
            must_flush(w);
        }
        w->now.unix_ns += steps[i] * SEC;
        if (i % 2)
            must_roll(w);
    }
    for (int n = 0; n < 200; n++) {
        pass(w, 30 * DV_NS_PER_S);
        must_flush(w);
    }
    must_roll(w);
    for (unsigned step = 0; step < DV_LEDGER_LEVELS; step++) {
        struct sums s = read_all(w->l, (enum dv_ledger_level)step);
        assert_charges(&s.all, &w->given);
    }
    assert_proven(w->l);
    world_close(w);
    sqlite3 *db;
    sqlite3_stmt *st;
    int64_t seen = 0, wall = 0;
    assert_int_equal(sqlite3_open(w->path, &db), SQLITE_OK);
    sqlite3_prepare_v2(db, "SELECT sum(step_ns <> 0), sum(wall_ns) FROM block WHERE level = 2", -1,
                       &st, NULL);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    seen = sqlite3_column_int64(st, 0);
    wall = sqlite3_column_int64(st, 1);
    sqlite3_finalize(st);
    sqlite3_close(db);
    assert_true(seen >= 4);
    assert_true(wall > 0);
}

/* A flush that is repeated, or whose answer was lost, changes nothing. */
static void test_twice(void **state)
{
    struct world *w = *state;
    struct dv_ledger_checkpoint c = {.claim = 7, .pid = 4711, .start = 99, .counter_ns = 1000};
    struct dv_err err = {0};
    world_open(w);
    for (int i = 0; i < 200; i++) {
        pass(w, 13 * DV_NS_PER_S);
        c.busy_ns = (uint64_t)i;
        for (unsigned n = 0; n <= dv_rng_below(&w->rng, 3); n++)
            assert_int_equal(dv_ledger_flush(w->l, w->now, &c, 1, &err), 0);
        struct sums s = read_all(w->l, DV_LEDGER_MINUTE);
        assert_charges(&s.all, &w->given);
    }
    world_close(w);
    world_open(w);
    world_close(w);
    world_open(w);
    struct sums s = read_all(w->l, DV_LEDGER_MINUTE);
    assert_charges(&s.all, &w->given);
    assert_proven(w->l);
}

static void on_checkpoint(void *arg, const struct dv_ledger_checkpoint *c)
{
    uint64_t *sum = arg;
    sum[0]++;
    sum[1] = c->busy_ns;
}

static void test_checkpoints(void **state)
{
    struct world *w = *state;
    struct dv_err err;
    struct dv_ledger_checkpoint c[2] = {{1, 2, 3, 4, 5}, {1, 9, 3, 4, 77}};
    uint64_t sum[2] = {0};
    world_open(w);
    assert_int_equal(dv_ledger_flush(w->l, w->now, c, 2, &err), 0);
    assert_int_equal(dv_ledger_flush(w->l, w->now, c + 1, 1, &err), 0);
    world_close(w);
    world_open(w);
    assert_int_equal(dv_ledger_checkpoints(w->l, on_checkpoint, sum, &err), 0);
    assert_int_equal(sum[0], 1);
    assert_int_equal(sum[1], 77);
}

static void on_total(void *arg, const struct dv_ledger_total *t)
{
    struct dv_ledger_total *sum = arg;
    sum->busy_ns += t->busy_ns;
    sum->overhead_ns += t->overhead_ns;
    sum->reserved_idle_ns += t->reserved_idle_ns;
    sum->unallocated_ns += t->unallocated_ns;
    sum->unhealthy_ns += t->unhealthy_ns;
    sum->wait_ns += t->wait_ns;
    sum->held_ns += t->held_ns;
    sum->requested_compute += t->requested_compute;
    sum->byte_seconds += t->byte_seconds;
}

static void assert_totals(struct dv_ledger *l, const struct dv_ledger_total *expected)
{
    struct dv_ledger_total sum = {0};
    struct dv_err err = {0};
    if (dv_ledger_totals(l, on_total, &sum, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(sum.busy_ns, expected->busy_ns);
    assert_int_equal(sum.wait_ns, expected->wait_ns);
    assert_int_equal(sum.held_ns, expected->held_ns);
    assert_int_equal(sum.unallocated_ns, expected->unallocated_ns);
    assert_int_equal(sum.overhead_ns, expected->overhead_ns);
    assert_true(sum.requested_compute == expected->requested_compute);
    assert_true(sum.byte_seconds == expected->byte_seconds);
}

/* Counters go on from there after a restart, whatever has been dropped; sums need 128 bits. */
static void test_totals(void **state)
{
    struct world *w = *state;
    struct dv_ledger_total sum = {0};
    struct dv_account a = tenant_account(0, 0);
    w->limits = (struct dv_ledger_limits){
        .minute_seconds = 60, .hour_seconds = 3600, .day_seconds = 86400, .minute_rows = 1};
    world_open(w);
    for (int i = 0; i < 6 * 24; i++) {
        struct dv_charge c = {.busy_ns = 3600 * DV_NS_PER_S,
                              .wait_ns = 7,
                              .held_ns = 11,
                              .requested_compute = UINT64_C(100000000000000123),
                              .byte_seconds = (UINT64_C(1) << 56) + 12345};
        on_total(&sum, &(struct dv_ledger_total){.busy_ns = c.busy_ns,
                                                 .wait_ns = 7,
                                                 .held_ns = 11,
                                                 .requested_compute = c.requested_compute,
                                                 .byte_seconds = c.byte_seconds});
        give(w, &a, &c);
        w->now.unix_ns += 3600 * SEC;
        w->now.mono_ns += 3600 * DV_NS_PER_S;
        if (i % 5)
            must_flush(w);
        assert_totals(w->l, &sum);
        must_roll(w);
    }
    must_flush(w);
    struct dv_ledger_stats stats;
    dv_ledger_stats(w->l, &stats);
    assert_true(stats.blocks[DV_LEDGER_DAY] < 5);
    struct dv_ledger *reader = world_reader(w, w->dir);
    assert_totals(reader, &sum);
    dv_ledger_close(reader);
    assert_proven(w->l);
    world_close(w);
    world_open(w);
    assert_totals(w->l, &sum);
}

/* ---- corrections, renames, lives ---- */

static void test_corrections(void **state)
{
    struct world *w = *state;
    struct dv_err err = {0};
    enum dv_ledger_level level;
    uint64_t block;
    w->limits = (struct dv_ledger_limits){.minute_seconds = 7200};
    world_open(w);
    struct dv_account a = tenant_account(0, 0), b = tenant_account(0, 1), x = tenant_account(0, 2);
    struct dv_charge c = {.busy_ns = 40 * DV_NS_PER_S, .wait_ns = 5},
                     d = {.busy_ns = 20 * DV_NS_PER_S};
    for (int i = 0; i < 26 * 60; i++) {
        give(w, &a, &c);
        give(w, &b, &d);
        w->now.unix_ns += 60 * SEC;
        w->now.mono_ns += 60 * DV_NS_PER_S;
        must_flush(w);
    }
    assert_int_equal(dv_ledger_find_block(w->l, T0 + 65, &level, &block, &err), 0);
    assert_int_equal(level, DV_LEDGER_MINUTE);
    assert_int_equal(block, 2);
    struct dv_ledger_delta deltas[2] = {{.account = a, .busy_ns = -30 * SEC, .wait_ns = -5},
                                        {.account = x, .busy_ns = 30 * SEC}};
    struct dv_ledger_correction fix = {.level = level,
                                       .block = block,
                                       .unix_ns = w->now.unix_ns,
                                       .who = "ops",
                                       .reason = "wrong owner",
                                       .deltas = deltas,
                                       .n = 2};
    assert_int_equal(dv_ledger_correct(w->l, &fix, &err), 0);
    assert_int_equal(dv_ledger_correct(w->l, &fix, &err), 0); /* the same again */
    fix.unix_ns++;
    assert_int_equal(dv_ledger_correct(w->l, &fix, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "negative"));
    fix.unix_ns++;
    deltas[1].busy_ns = 29 * SEC;
    assert_int_equal(dv_ledger_correct(w->l, &fix, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "sum to zero"));
    deltas[1].busy_ns = 30 * SEC;
    fix.block = 99999;
    assert_int_equal(dv_ledger_correct(w->l, &fix, &err), -EINVAL);
    fix.reason = "";
    assert_int_equal(dv_ledger_correct(w->l, &fix, &err), -EINVAL);

    w->given.wait_ns -= 5;
    struct sums s = read_all(w->l, DV_LEDGER_MINUTE);
    assert_int_equal(s.corrected, 2);
    assert_charges(&s.all, &w->given);
    must_roll(w); /* the minute is gone; the correction is not */
    struct dv_ledger_stats stats;
    dv_ledger_stats(w->l, &stats);
    assert_true(stats.blocks[DV_LEDGER_MINUTE] < 300);
    struct dv_ledger_query q = {
        .from_unix = 0, .to_unix = INT64_C(1) << 36, .step = DV_LEDGER_BEST, .tenant = "team-2"};
    s = read_sums(w->l, &q);
    assert_int_equal(s.n, 1);
    assert_int_equal(s.last.level, DV_LEDGER_DAY);
    assert_int_equal(s.all.busy_ns, 30 * DV_NS_PER_S);
    q.step = DV_LEDGER_MINUTE;
    s = read_sums(w->l, &q);
    assert_int_equal(s.last.level, DV_LEDGER_HOUR);
    assert_int_equal(s.all.busy_ns, 30 * DV_NS_PER_S);
    for (unsigned step = 0; step < DV_LEDGER_LEVELS; step++) {
        s = read_all(w->l, (enum dv_ledger_level)step);
        assert_charges(&s.all, &w->given);
    }
    /* What is no minute any more is corrected as an hour. A day would do less than it could. */
    assert_int_equal(dv_ledger_find_block(w->l, T0 + 65, &level, &block, &err), 0);
    assert_int_equal(level, DV_LEDGER_HOUR);
    fix = (struct dv_ledger_correction){
        .level = DV_LEDGER_DAY, .block = 1, .who = "ops", .reason = "x", .deltas = deltas, .n = 2};
    deltas[0].wait_ns = 0;
    assert_int_equal(dv_ledger_correct(w->l, &fix, &err), -EINVAL);
    fix.level = level;
    fix.block = block;
    assert_int_equal(dv_ledger_correct(w->l, &fix, &err), 0);
    s = read_sums(w->l, &q);
    assert_int_equal(s.all.busy_ns, 60 * DV_NS_PER_S);
    assert_proven(w->l);
}

static void test_renames(void **state)
{
    struct world *w = *state;
    struct dv_err err = {0};
    struct dv_account a = tenant_account(0, 0);
    struct dv_charge c = {.busy_ns = 60 * DV_NS_PER_S};
    world_open(w);
    for (int i = 0; i < 30; i++) {
        dv_str_copy(a.tenant, sizeof a.tenant, i < 10 ? "old" : i < 20 ? "middle" : "new");
        give(w, &a, &c);
        w->now.unix_ns += 60 * SEC;
        w->now.mono_ns += 60 * DV_NS_PER_S;
        must_flush(w);
        if (i == 9)
            assert_int_equal(
                dv_ledger_rename(w->l, "old", "middle", T0 + 600, "ops", w->now.unix_ns, &err), 0);
        if (i == 19)
            assert_int_equal(
                dv_ledger_rename(w->l, "middle", "new", T0 + 1200, "ops", w->now.unix_ns, &err), 0);
    }
    /* Somebody else takes the old name: not the same tenant. */
    dv_str_copy(a.tenant, sizeof a.tenant, "old");
    give(w, &a, &c);
    must_flush(w);
    struct dv_ledger_query q = {.from_unix = 0,
                                .to_unix = INT64_C(1) << 36,
                                .step = DV_LEDGER_BEST,
                                .tenant = "new",
                                .renamed = true};
    assert_int_equal(read_sums(w->l, &q).all.busy_ns, 1800 * DV_NS_PER_S);
    q.tenant = "old";
    assert_int_equal(read_sums(w->l, &q).all.busy_ns, 60 * DV_NS_PER_S);
    q.renamed = false; /* as it was written */
    assert_int_equal(read_sums(w->l, &q).all.busy_ns, 660 * DV_NS_PER_S);
    assert_int_equal(dv_ledger_rename(w->l, "x", "x", 0, "ops", 0, &err), -EINVAL);
    assert_proven(w->l);
}

static bool count_life(void *arg, const struct dv_ledger_life *life)
{
    struct dv_ledger_life *last = arg;
    uint64_t n = last->claim;
    *last = *life;
    last->claim = n + 1;
    return true;
}

static void test_lives(void **state)
{
    struct world *w = *state;
    struct dv_err err = {0};
    struct dv_ledger_life life = {.event = DV_LEDGER_GRANTED,
                                  .claim = 5,
                                  .account = tenant_account(1, 1),
                                  .memory_bytes = 1 << 30,
                                  .compute = 3500},
                          seen = {0};
    w->limits = (struct dv_ledger_limits){.minute_rows = 1, .hour_rows = 1, .life_rows = 100};
    world_open(w);
    for (int i = 0; i < 4 * 24; i++) {
        pass(w, 3600 * DV_NS_PER_S);
        life.unix_ns = w->now.unix_ns;
        life.event = i % 2 ? DV_LEDGER_RELEASED : DV_LEDGER_GRANTED;
        life.busy_ns = (uint64_t)i;
        for (int n = 0; n < 2; n++)
            assert_int_equal(dv_ledger_add_life(w->l, &life), 0);
        must_flush(w);
        must_roll(w);
    }
    assert_int_equal(dv_ledger_lives(w->l, 0, INT64_C(1) << 36, "team-1", count_life, &seen, &err),
                     0);
    assert_in_range(seen.claim, 60, 160); /* whole days are dropped */
    assert_int_equal(seen.seq, 192);
    assert_int_equal(seen.busy_ns, 95);
    assert_true(dv_account_equal(&seen.account, &life.account));
    memset(&seen, 0, sizeof seen);
    assert_int_equal(dv_ledger_lives(w->l, 0, INT64_C(1) << 36, "nobody", count_life, &seen, &err),
                     0);
    assert_int_equal(seen.claim, 0);
    assert_proven(w->l);
    world_close(w);
    sql(w->path, "DROP TRIGGER life_is_final; UPDATE life SET busy = 1 WHERE seq = 190");
    world_open(w);
    struct dv_ledger_proof proof;
    struct breaks b = find_breaks(w->l, &proof);
    assert_int_equal(b.n, 1);
    assert_int_equal(b.v[0].chain, DV_LEDGER_LIVES);
    assert_int_equal(b.v[0].seq, 190);
}

/* ---- copies ---- */

static void test_backup(void **state)
{
    struct world *w = *state;
    struct dv_err err = {0};
    char path[200];
    struct dv_ledger_backup *backup = NULL;
    world_open(w);
    for (int i = 0; i < 1500; i++) {
        pass(w, 60 * DV_NS_PER_S);
        must_flush(w);
    }
    must_roll(w);
    snprintf(path, sizeof path, "%s/copy.db", w->dir);
    assert_int_equal(dv_ledger_backup_begin(w->l, path, &backup, &err), 0);
    int r, steps = 0;
    while ((r = dv_ledger_backup_step(backup, 10, &err)) == 1) {
        assert_int_equal(access(path, F_OK), -1); /* not under its name before it is whole */
        pass(w, 60 * DV_NS_PER_S);
        must_flush(w);
        assert_true(steps++ < 10000);
    }
    assert_int_equal(r, 0);
    assert_true(steps > 5);
    dv_ledger_backup_end(backup);
    struct sums live = read_all(w->l, DV_LEDGER_BEST);
    struct dv_ledger *copy = world_reader(w, path);
    struct sums s = read_all(copy, DV_LEDGER_BEST);
    assert_charges(&s.all, &live.all);
    assert_proven(copy);
    dv_ledger_close(copy);
    assert_int_equal(dv_ledger_backup_begin(w->l, path, &backup, &err), -EEXIST);
    assert_int_equal(access(path, F_OK), 0);
    /* One that is given up leaves nothing. */
    strcat(path, "2");
    assert_int_equal(dv_ledger_backup_begin(w->l, path, &backup, &err), 0);
    assert_int_equal(dv_ledger_backup_step(backup, 1, &err), 1);
    dv_ledger_backup_end(backup);
    assert_int_equal(access(path, F_OK), -1);
    strcat(path, ".part");
    assert_int_equal(access(path, F_OK), -1);
}

/* Somebody else, in another language, from the page alone: verify.py. */
static void test_other_eyes(void **state)
{
    struct world *w = *state;
    struct dv_err err = {0};
    w->limits = (struct dv_ledger_limits){
        .minute_seconds = 3600, .hour_seconds = 86400, .day_rows = 30, .life_rows = 10};
    world_open(w);
    struct dv_ledger_life life = {.claim = 5, .account = tenant_account(1, 1)};
    for (int i = 0; i < 9 * 48; i++) {
        pass(w, 1800 * DV_NS_PER_S);
        dv_ledger_add_life(w->l, &life);
        must_flush(w);
        must_roll(w);
    }
    enum dv_ledger_level level;
    uint64_t block;
    assert_int_equal(dv_ledger_find_block(w->l, w->now.unix_ns / SEC - 1000, &level, &block, &err),
                     0);
    struct dv_ledger_delta delta = {.account = tenant_account(1, 1), .wait_ns = 17};
    struct dv_ledger_correction fix = {.level = level,
                                       .block = block,
                                       .who = "ops",
                                       .reason = "caf\xc3\xa9",
                                       .deltas = &delta,
                                       .n = 1};
    assert_int_equal(dv_ledger_correct(w->l, &fix, &err), 0);
    assert_int_equal(dv_ledger_rename(w->l, "a", "b", T0, "ops", 5, &err), 0);
    pass(w, 1800 * DV_NS_PER_S);
    must_flush(w);
    assert_proven(w->l);
    world_close(w);
    char command[400];
    const char *source = getenv("DIVVY_SOURCE");
    if (!source)
        skip();
    snprintf(command, sizeof command, "python3 '%s/src/platform/store/ledger_verify_test.py' '%s'",
             source, w->path);
    assert_int_equal(system(command), 0);
    sql(w->path, "DROP TRIGGER entry_is_final; UPDATE entry SET wait = wait + 1 WHERE level = 1"
                 " AND block = (SELECT max(block) FROM entry WHERE level = 1)");
    strcat(command, " >/dev/null");
    assert_int_equal(WEXITSTATUS(system(command)), 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        T(test_round_trip), T(test_conservation), T(test_levels), T(test_clock_steps),
        T(test_twice),      T(test_checkpoints),  T(test_totals), T(test_corrections),
        T(test_renames),    T(test_lives),        T(test_backup), T(test_other_eyes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
