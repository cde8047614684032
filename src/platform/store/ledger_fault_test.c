/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger when something is wrong: kills, full disks, lost answers, damage, other people's
 * files. */
#include "ledger_test_util.h"

#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* Under sanitizers everything takes ten times as long: rounds that differ by chance alone are
 * fewer. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define ROUNDS(many, few) (few)
#else
#define ROUNDS(many, few) (many)
#endif

/* ---- SQLite that fails on demand (linked with --wrap) ---- */

static struct {
    struct dv_rng rng;
    uint64_t one_in; /* a step in so many fails; 0: none */
    bool lose_answers;
    unsigned failed, lost;
} trouble;

int __real_sqlite3_step(sqlite3_stmt *st);
int __wrap_sqlite3_step(sqlite3_stmt *st);

int __wrap_sqlite3_step(sqlite3_stmt *st)
{
    if (trouble.one_in && dv_rng_below(&trouble.rng, trouble.one_in) == 0) {
        trouble.failed++;
        return SQLITE_IOERR;
    }
    bool commit = trouble.lose_answers && !strcmp(sqlite3_sql(st), "COMMIT");
    int code = __real_sqlite3_step(st);
    if (commit && code == SQLITE_DONE && dv_rng_below(&trouble.rng, 3) == 0) {
        trouble.lost++; /* it is done, and nobody is told */
        return SQLITE_IOERR;
    }
    return code;
}

/* Statements fail anywhere, commits lose their answers: nothing is lost, nothing is there twice. */
static void test_failing_statements(void **state)
{
    struct world *w = *state;
    struct dv_err err;
    w->limits =
        (struct dv_ledger_limits){.minute_seconds = 3600, .hour_seconds = 86400, .life_rows = 50};
    world_open(w);
    unsigned bad = 0;
    for (int i = 0; i < ROUNDS(4, 2) * 24 * 12; i++) {
        pass(w, 300 * DV_NS_PER_S);
        struct dv_ledger_life life = {.claim = (uint64_t)i, .account = tenant_account(0, 1)};
        if (i % 7 == 0)
            dv_ledger_add_life(w->l, &life);
        trouble.one_in = i % 5 ? 2000 : 20;
        trouble.lose_answers = true;
        bad += flush_world(w, &err) < 0;
        for (int n = 0; n < 20; n++)
            dv_ledger_roll(w->l, w->now.unix_ns, &err);
        trouble.one_in = 0;
        trouble.lose_answers = false;
        if (i % 97)
            continue;
        struct sums s = read_all(w->l, DV_LEDGER_BEST);
        assert_charges(&s.all, &w->given);
    }
    must_flush(w);
    must_roll(w);
    assert_true(bad > 20 && trouble.failed > 20 && trouble.lost > 20);
    assert_proven(w->l);
    world_close(w);
    world_open(w);
    struct sums s = read_all(w->l, DV_LEDGER_BEST);
    assert_charges(&s.all, &w->given);
    assert_int_equal(s.broken, 0);
}

/* ---- kill -9 ---- */

struct shared {
    struct dv_charge done, tried; /* of the last flush that returned 0; of the one under way */
    uint64_t n_done, n_tried;
};

static void child(struct world *w, struct shared *shared)
{
    struct dv_err err = {0};
    world_open(w);
    for (uint64_t n = shared->n_done + 1;; n++) {
        pass(w, dv_rng_below(&w->rng, 25) * DV_NS_PER_S + 1);
        struct dv_ledger_checkpoint c = {.claim = 1, .pid = 1, .busy_ns = n};
        shared->tried = w->given;
        shared->n_tried = n;
        __sync_synchronize();
        if (dv_ledger_flush(w->l, w->now, &c, 1, &err) < 0)
            _exit(1);
        shared->done = w->given;
        __sync_synchronize();
        shared->n_done = n;
        if (n % 3 == 0 && dv_ledger_roll(w->l, w->now.unix_ns, &err) < 0)
            _exit(2);
    }
}

static void on_checkpoint(void *arg, const struct dv_ledger_checkpoint *c)
{
    *(uint64_t *)arg = c->busy_ns;
}

static void after_kill(struct world *w, struct shared *shared)
{
    struct dv_err err;
    uint64_t n = 0;
    world_open(w);
    assert_int_equal(dv_ledger_checkpoints(w->l, on_checkpoint, &n, &err), 0);
    struct sums s = read_all(w->l, DV_LEDGER_MINUTE);
    /* The flush that was under way is there whole, or not at all; its checkpoint with it. */
    assert_true(n >= shared->n_done && n <= shared->n_tried);
    if (n == shared->n_done && memcmp(&s.all, &shared->tried, sizeof s.all))
        assert_charges(&s.all, &shared->done);
    else
        assert_charges(&s.all, &shared->tried);
    assert_proven(w->l);
    w->given = s.all;
    shared->done = s.all;
    shared->n_done = n;
    world_close(w);
}

static void test_kill(void **state)
{
    struct world *w = *state;
    struct shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    w->limits = (struct dv_ledger_limits){.minute_seconds = 600, .hour_seconds = 7200};
    /* More of them, and longer ones, where a flush takes long. */
    for (unsigned round = 0; round < 40 || (shared->n_done <= 100 && round < 400); round++) {
        w->rng.state = round;
        pid_t pid = fork();
        if (pid == 0)
            child(w, shared);
        struct dv_rng rng = {.state = round * UINT64_C(77) + 1};
        usleep((useconds_t)(500 + dv_rng_below(&rng, 60000 * (1 + round / 40))));
        kill(pid, SIGKILL);
        int status;
        waitpid(pid, &status, 0);
        assert_true(WIFSIGNALED(status));
        after_kill(w, shared);
        /* The world goes on where the child was. */
        w->now.unix_ns += (int64_t)(shared->n_tried + 1) * 12 * SEC;
        w->now.mono_ns += (shared->n_tried + 1) * 12 * DV_NS_PER_S;
    }
    assert_true(shared->n_done > 100);
    munmap(shared, sizeof *shared);
}

/* ---- full disks ---- */

/* An hour that cannot be written, then it can: 60 minutes, each once. */
static void hour_without_disk(struct world *w, void (*fill)(struct world *),
                              void (*drain)(struct world *))
{
    struct dv_err err = {0};
    struct dv_ledger_stats before, stats;
    for (int i = 0; i < 100; i++) {
        pass(w, 6 * DV_NS_PER_S);
        must_flush(w);
    }
    dv_ledger_stats(w->l, &before);
    fill(w);
    int failed = 0;
    for (int i = 0; i < 600; i++) {
        pass(w, 6 * DV_NS_PER_S);
        failed += flush_world(w, &err) < 0;
    }
    dv_ledger_stats(w->l, &stats);
    struct sums s = read_all(w->l, DV_LEDGER_MINUTE); /* readings go on */
    drain(w);
    assert_charges(&s.all, &w->given);
    assert_true(failed > 300);
    assert_non_null(strstr(err.msg, "ledger.db"));
    assert_false(stats.up);
    assert_true(stats.pending_blocks > 30);
    must_flush(w);
    dv_ledger_stats(w->l, &stats);
    assert_true(stats.up);
    assert_int_equal(stats.pending_blocks, 0);
    assert_int_equal(stats.sealed[DV_LEDGER_MINUTE], before.sealed[DV_LEDGER_MINUTE] + 60);
    must_roll(w);
    s = read_all(w->l, DV_LEDGER_BEST);
    assert_charges(&s.all, &w->given);
    assert_proven(w->l);
    world_close(w);
    world_open(w);
    s = read_all(w->l, DV_LEDGER_BEST);
    assert_charges(&s.all, &w->given);
}

static struct rlimit old_limit;

static void limit_files(struct world *w)
{
    struct rlimit small = {0, 0};
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old_limit);
    small.rlim_max = old_limit.rlim_max;
    setrlimit(RLIMIT_FSIZE, &small);
}

static void free_files(struct world *w)
{
    setrlimit(RLIMIT_FSIZE, &old_limit);
}

static void test_unwritable(void **state)
{
    world_open(*state);
    hour_without_disk(*state, limit_files, free_files);
}

static void fill_disk(struct world *w)
{
    char path[120], block[4096] = {1};
    snprintf(path, sizeof path, "%s/filler", w->dir);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    while (write(fd, block, sizeof block) > 0)
        ;
    close(fd);
}

static void drain_disk(struct world *w)
{
    char path[120];
    snprintf(path, sizeof path, "%s/filler", w->dir);
    unlink(path);
}

static void test_full_disk(void **state)
{
    struct world *w = *state;
    if (mount("divvy-test", w->dir, "tmpfs", 0, "size=4m") < 0)
        skip(); /* not root */
    world_open(w);
    hour_without_disk(w, fill_disk, drain_disk);
}

static int unmount_teardown(void **state)
{
    struct world *w = *state;
    world_close(w);
    umount2(w->dir, MNT_DETACH);
    return world_teardown(state);
}

/* Days without a disk: memory is bounded, minutes become hours, nothing is lost. */
static void test_pending_bound(void **state)
{
    struct world *w = *state;
    struct dv_err err;
    struct dv_ledger_stats stats;
    w->limits = (struct dv_ledger_limits){.pending_blocks = 30, .pending_rows = 400};
    world_open(w);
    pass(w, DV_NS_PER_S);
    must_flush(w);
    limit_files(w);
    for (int i = 0; i < ROUNDS(3 * 1440, 720); i++) {
        pass(w, 60 * DV_NS_PER_S);
        assert_true(flush_world(w, &err) < 0);
        dv_ledger_stats(w->l, &stats);
        assert_true(stats.pending_blocks <= 30 && stats.pending_rows <= 450);
    }
    for (int i = 0; i < 40000; i++)
        dv_ledger_add_life(w->l, &(struct dv_ledger_life){.claim = 1});
    free_files(w);
    dv_ledger_stats(w->l, &stats);
    assert_int_equal(stats.lives_lost, 40000 - 16384);
    must_flush(w);
    pass(w, DV_NS_PER_S);
    must_flush(w);
    must_roll(w);
    struct sums s = read_all(w->l, DV_LEDGER_BEST);
    assert_charges(&s.all, &w->given);
    assert_int_equal(s.last.row.to_unix > T0, 1);
    assert_proven(w->l);
}

/* ---- other files ---- */

static void write_file(const char *path, const void *data, size_t size)
{
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, data, size), size);
    close(fd);
}

static size_t read_file(const char *path, void *data, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, data, size);
    close(fd);
    assert_true(n >= 0);
    return (size_t)n;
}

static int try_open(struct world *w, bool read_only, struct dv_str *note, struct dv_err *err)
{
    struct dv_ledger_options options = {.read_only = read_only, .now = w->now};
    return dv_ledger_open(w->dir, &options, &w->l, note, err);
}

static void test_newer(void **state)
{
    struct world *w = *state;
    struct dv_err err = {0};
    dv_cleanup(dv_str_done) struct dv_str note = {0};
    assert_int_equal(try_open(w, true, &note, &err), -ENOENT);
    world_open(w);
    world_close(w);
    sql(w->path, "PRAGMA user_version = 99");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(try_open(w, i, &note, &err), -EPROTONOSUPPORT);
        assert_non_null(strstr(err.msg, "newer divvy"));
        assert_non_null(strstr(err.msg, "start that one"));
        assert_non_null(strstr(err.msg, w->path));
    }
    assert_string_equal(dv_str_get(&note), "");
    assert_int_equal(access(w->path, F_OK), 0);
}

static unsigned aside(struct world *w)
{
    unsigned n = 0;
    DIR *d = opendir(w->dir);
    for (struct dirent *e; (e = readdir(d));)
        n += strstr(e->d_name, "ledger.db.corrupt-") != NULL && !strstr(e->d_name, "-wal") &&
             !strstr(e->d_name, "-shm");
    closedir(d);
    return n;
}

static void test_no_ledger(void **state)
{
    struct world *w = *state;
    struct dv_err err = {0};
    static const char text[8192] = "this is not a database, but it is long enough to be one";
    for (unsigned i = 0; i < 3; i++) {
        dv_cleanup(dv_str_done) struct dv_str note = {0};
        unlink(w->path);
        if (i == 0)
            write_file(w->path, text, sizeof text);
        else if (i == 1)
            sql(w->path, "CREATE TABLE somebody_elses (x)");
        else
            sql(w->path, "PRAGMA application_id = 1685485153; PRAGMA user_version = 1;"
                         "CREATE TABLE block (x)");
        assert_int_equal(try_open(w, true, &note, &err), -EBADMSG);
        assert_int_equal(aside(w), i);
        assert_int_equal(try_open(w, false, &note, &err), 0);
        assert_non_null(strstr(dv_str_get(&note), "is kept as"));
        assert_int_equal(aside(w), i + 1);
        w->given = (struct dv_charge){0};
        pass(w, DV_NS_PER_S);
        must_flush(w);
        struct sums s = read_all(w->l, DV_LEDGER_BEST);
        assert_charges(&s.all, &w->given);
        world_close(w);
    }
}

/* The file is damaged while it is used: what is in memory goes to a new one. */
static void test_put_aside(void **state)
{
    struct world *w = *state;
    struct dv_err err = {0};
    dv_cleanup(dv_str_done) struct dv_str note = {0};
    world_open(w);
    pass(w, 30 * DV_NS_PER_S);
    must_flush(w);
    sql(w->path, "DROP TABLE open_entry");
    for (int i = 0; i < 5; i++) {
        pass(w, 60 * DV_NS_PER_S);
        dv_ledger_add_life(w->l, &(struct dv_ledger_life){.claim = 3});
        assert_int_equal(flush_world(w, &err), -EBADMSG);
    }
    assert_int_equal(dv_ledger_put_aside(w->l, &note, &err), 0);
    assert_int_equal(aside(w), 1);
    must_flush(w);
    struct sums s = read_all(w->l, DV_LEDGER_BEST);
    assert_charges(&s.all, &w->given);
    assert_proven(w->l);
}

static void test_two_writers(void **state)
{
    struct world *w = *state;
    struct dv_err err = {0};
    world_open(w);
    pass(w, DV_NS_PER_S);
    must_flush(w);
    struct dv_ledger *first = w->l;
    w->l = NULL;
    w->given = (struct dv_charge){0};
    world_open(w);
    pass(w, DV_NS_PER_S);
    must_flush(w);
    assert_int_equal(dv_ledger_flush(first, w->now, NULL, 0, &err), -EBUSY);
    assert_non_null(strstr(err.msg, "another divvyd"));
    dv_ledger_close(first);
    assert_proven(w->l);
}

/* ---- tampering ---- */

#define UNLOCK                                                                                     \
    "DROP TRIGGER entry_is_final; DROP TRIGGER block_is_final; DROP TRIGGER account_is_final;"     \
    "DROP TRIGGER note_is_final; DROP TRIGGER note_entry_is_final;"

struct attack {
    const char *name, *sql;
    unsigned chain;
    uint64_t seq;
    enum dv_ledger_fault fault;
    bool rows_broken;
};

static const struct attack attacks[] = {
    {"a figure", "UPDATE entry SET busy = busy + 1 WHERE level = 0 AND block = 100 AND account = 2",
     0, 100, DV_LEDGER_FAULT_HASH, true},
    {"a row gone", "DELETE FROM entry WHERE level = 0 AND block = 100 AND account = 2", 0, 100,
     DV_LEDGER_FAULT_MISSING, true},
    {"a block gone",
     "DELETE FROM entry WHERE level = 0 AND block = 100;"
     "DELETE FROM block WHERE level = 0 AND seq = 100",
     0, 101, DV_LEDGER_FAULT_MISSING, true},
    {"two swapped",
     "UPDATE block SET seq = -1 WHERE level = 0 AND seq = 100;"
     "UPDATE block SET seq = 100 WHERE level = 0 AND seq = 101;"
     "UPDATE block SET seq = 101 WHERE level = 0 AND seq = -1;"
     "UPDATE entry SET block = -1 WHERE level = 0 AND block = 100;"
     "UPDATE entry SET block = 100 WHERE level = 0 AND block = 101;"
     "UPDATE entry SET block = 101 WHERE level = 0 AND block = -1",
     0, 100, DV_LEDGER_FAULT_LINK, true},
    {"a time", "UPDATE block SET from_unix = from_unix + 60 WHERE level = 1 AND seq = 3", 1, 3,
     DV_LEDGER_FAULT_HASH, true},
    {"an hour's figure", "UPDATE entry SET wait = 0 WHERE level = 1 AND block = 3", 1, 3,
     DV_LEDGER_FAULT_SUMS, true},
    {"the end cut off", "DELETE FROM block WHERE level = 0 AND seq > 30", 0, 31,
     DV_LEDGER_FAULT_MISSING, false},
    {"a tenant's name", "UPDATE account SET tenant = 'rich' WHERE tenant = 'team-1'", 0, 100,
     DV_LEDGER_FAULT_HASH, true},
    {"a note", "UPDATE note SET reason = 'none'", 4, 1, DV_LEDGER_FAULT_HASH, false},
    {"a correction", "UPDATE note_entry SET busy = 2 * busy", 4, 1, DV_LEDGER_FAULT_HASH, false},
    {"no note", "DELETE FROM note; DELETE FROM note_entry", 4, 2, DV_LEDGER_FAULT_MISSING, false},
    {"more dropped", "UPDATE chain SET pruned = 100 WHERE chain = 0", 0, 101, DV_LEDGER_FAULT_LINK,
     false},
    {"another ledger", "UPDATE ledger SET id = zeroblob(16)", 0, 1, DV_LEDGER_FAULT_LINK, false},
};

static void build_small(struct world *w, int minutes)
{
    struct dv_err err = {0};
    world_open(w);
    for (int i = 0; i < minutes; i++) {
        pass(w, 60 * DV_NS_PER_S);
        must_flush(w);
        if (i != 50)
            continue;
        struct dv_ledger_delta d[2] = {
            {.account = gpu_account(0), .busy_ns = 1, .unhealthy_ns = -1},
            {.account = tenant_account(0, 1), .wait_ns = 1}};
        struct dv_ledger_correction fix = {
            .level = 0, .block = 20, .who = "ops", .reason = "why", .deltas = d, .n = 2};
        if (dv_ledger_correct(w->l, &fix, &err) < 0)
            fail_msg("%s", err.msg);
        for (int n = 0; n < 20; n++)
            dv_ledger_add_life(w->l, &(struct dv_ledger_life){.claim = 3});
        assert_int_equal(dv_ledger_rename(w->l, "team-3", "team-three", T0 + 3600, "ops", 1, &err),
                         0);
    }
    must_roll(w);
    assert_proven(w->l);
    world_close(w);
}

static void test_tampering(void **state)
{
    struct world *w = *state;
    static uint8_t file[8 << 20];
    build_small(w, 400);
    size_t size = read_file(w->path, file, sizeof file);
    for (size_t i = 0; i < DV_ARRAY_SIZE(attacks); i++) {
        const struct attack *a = &attacks[i];
        struct dv_ledger_proof proof;
        char text[1200];
        world_clear(w);
        write_file(w->path, file, size);
        snprintf(text, sizeof text, UNLOCK "%s", a->sql);
        sql(w->path, text);
        struct dv_ledger *l = world_reader(w, w->dir);
        struct breaks b = find_breaks(l, &proof);
        bool found = false;
        for (unsigned n = 0; n < b.n && n < 1024; n++)
            found |= b.v[n].chain == a->chain && b.v[n].seq == a->seq && b.v[n].fault == a->fault;
        if (!found || !proof.breaks) {
            b.print = true;
            for (unsigned n = 0; n < b.n && n < 1024; n++)
                on_break(&(struct breaks){.print = true}, &b.v[n]);
            fail_msg("%s: not located, %llu breaks", a->name, (unsigned long long)proof.breaks);
        }
        /* What is whole is read as before; what is not says so. */
        struct sums s = read_all(l, a->chain == 1 ? DV_LEDGER_HOUR : DV_LEDGER_MINUTE);
        assert_true(s.n > 20);
        if (a->rows_broken)
            assert_true(s.broken > 0);
        if (a->rows_broken && a->chain < 2 && strcmp(a->name, "a tenant's name") != 0)
            assert_true(s.broken < s.n / 2);
        dv_ledger_close(l);
    }
}

/* A minute that was tampered with before its hour was made: the hour says so for ever. */
static void test_tampered_before_roll(void **state)
{
    struct world *w = *state;
    w->limits = (struct dv_ledger_limits){.minute_rows = 1};
    world_open(w);
    for (int i = 0; i < 60; i++) {
        pass(w, 60 * DV_NS_PER_S);
        must_flush(w);
    }
    world_close(w);
    sql(w->path, "DROP TRIGGER entry_is_final; UPDATE entry SET busy = 1 WHERE block = 10");
    world_open(w);
    for (int i = 0; i < 120; i++) {
        pass(w, 60 * DV_NS_PER_S);
        must_flush(w);
    }
    must_roll(w);
    struct dv_ledger_stats stats;
    dv_ledger_stats(w->l, &stats);
    assert_true(stats.blocks[DV_LEDGER_MINUTE] < 100);
    struct sums s = read_all(w->l, DV_LEDGER_BEST);
    assert_true(s.levels[DV_LEDGER_HOUR] > 0);
    assert_true(s.broken > 0 && s.broken < s.n);
}

/* ---- damage ---- */

static bool ignore_life(void *arg, const struct dv_ledger_life *life)
{
    return true;
}

static void ignore_total(void *arg, const struct dv_ledger_total *t)
{
}

static void ignore_note(void *arg, const struct dv_ledger_note *note)
{
}

static void use_everything(struct world *w, struct dv_ledger *l)
{
    struct dv_err err;
    struct dv_ledger_stats stats;
    struct dv_ledger_proof proof;
    struct breaks b = {0};
    uint64_t block;
    enum dv_ledger_level level;
    dv_ledger_verify(l, on_break, &b, &proof, &err);
    for (unsigned step = 0; step < DV_LEDGER_LEVELS; step++) {
        struct sums s = {0};
        struct dv_ledger_query q = {.to_unix = INT64_C(1) << 36, .step = step, .renamed = true};
        dv_ledger_read(l, &q, add_row, &s, NULL, &err);
    }
    dv_ledger_lives(l, 0, INT64_MAX, NULL, ignore_life, NULL, &err);
    dv_ledger_totals(l, ignore_total, NULL, &err);
    dv_ledger_notes(l, ignore_note, NULL, &err);
    dv_ledger_find_block(l, T0 + 600, &level, &block, &err);
    dv_ledger_stats(l, &stats);
}

static void test_flipped_bytes(void **state)
{
    struct world *w = *state;
    static uint8_t file[8 << 20], copy[8 << 20];
    struct dv_rng rng = {.state = 4711};
    unsigned opened = 0, noticed = 0;
    build_small(w, 150);
    size_t size = read_file(w->path, file, sizeof file);
    const unsigned rounds = ROUNDS(300, 80);
    for (unsigned i = 0; i < rounds; i++) {
        struct dv_err err = {0};
        dv_cleanup(dv_str_done) struct dv_str note = {0};
        memcpy(copy, file, size);
        for (uint64_t n = dv_rng_below(&rng, 3) ? 1 : 30; n > 0; n--)
            copy[dv_rng_below(&rng, i % 4 ? size : 4096)] ^= (uint8_t)(1 << dv_rng_below(&rng, 8));
        world_clear(w);
        write_file(w->path, copy, size);
        if (try_open(w, true, &note, &err) == 0) {
            struct breaks b = {0};
            struct dv_ledger_proof proof;
            opened++;
            use_everything(w, w->l);
            noticed += dv_ledger_verify(w->l, on_break, &b, &proof, &err) < 0 || proof.breaks > 0;
            world_close(w);
        }
        if (try_open(w, false, &note, &err) == 0) {
            for (int n = 0; n < 5; n++) {
                pass(w, 60 * DV_NS_PER_S);
                dv_ledger_add_life(w->l, &(struct dv_ledger_life){.claim = 3});
                flush_world(w, &err);
                dv_ledger_roll(w->l, w->now.unix_ns, &err);
            }
            use_everything(w, w->l);
            world_close(w);
        }
    }
    print_message("%zu bytes, %u times damaged: %u opened, %u of them noticed\n", size, rounds,
                  opened, noticed);
    assert_true(opened > rounds / 2);
    assert_true(noticed > opened / 4); /* the rest lies in pages, or bytes, that hold nothing */
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        T(test_failing_statements),
        T(test_kill),
        T(test_unwritable),
        cmocka_unit_test_setup_teardown(test_full_disk, world_setup, unmount_teardown),
        T(test_pending_bound),
        T(test_newer),
        T(test_no_ledger),
        T(test_put_aside),
        T(test_two_writers),
        T(test_tampering),
        T(test_tampered_before_roll),
        T(test_flipped_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
