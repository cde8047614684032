/* SPDX-License-Identifier: Apache-2.0 */
/* Pods in the ledger: they sum to their tenants at every level, go no further than hours, are
 * forgotten when nothing speaks of them, and a ledger from before there were any goes on. */
#include "ledger_test_util.h"

#include <sys/wait.h>

#define POD_ROWS_MAX 4096 /* of a minute, as ledger.h says */

static struct dv_account pod_account(unsigned gpu, unsigned tenant, const char *pod)
{
    struct dv_account a = tenant_account(gpu, tenant);
    snprintf(a.pod, sizeof a.pod, "%s", pod);
    return a;
}

/* A minute of some pods and of what is no pod's, on both GPUs. */
static void pass_pods(struct world *w, unsigned generation)
{
    for (unsigned g = 0; g < w->gpus; g++) {
        for (unsigned i = 0; i < 3; i++) {
            char name[64];
            snprintf(name, sizeof name, "train-%u-%u", i, generation);
            struct dv_account a = pod_account(g, i % 2, i ? name : "");
            struct dv_charge c = {.busy_ns = dv_rng_below(&w->rng, 10 * DV_NS_PER_S),
                                  .wait_ns = 7,
                                  .requested_compute = 3500,
                                  .held_ns = 60 * DV_NS_PER_S};
            give(w, &a, &c);
        }
        struct dv_account own = gpu_account(g);
        give(w, &own, &(struct dv_charge){.unallocated_ns = 30 * DV_NS_PER_S});
    }
    w->now.unix_ns += 60 * SEC;
    w->now.mono_ns += 60 * DV_NS_PER_S;
    must_flush(w);
}

struct by_pod {
    struct dv_charge pods, rest;
    uint64_t coarse_pods; /* rows of pods in days */
};

static bool split_row(void *arg, const struct dv_ledger_row *row)
{
    struct by_pod *s = arg;
    bool pod = row->row.account.pod[0];
    dv_charge_add(pod ? &s->pods : &s->rest, &row->row.charge);
    s->coarse_pods += pod && row->level == DV_LEDGER_DAY;
    assert_false(row->broken);
    return true;
}

static struct by_pod read_pods(struct dv_ledger *l, enum dv_ledger_level step)
{
    struct by_pod s = {0};
    struct dv_err err = {0};
    struct dv_ledger_query q = {.to_unix = INT64_C(1) << 36, .step = step};
    if (dv_ledger_read(l, &q, split_row, &s, NULL, &err) < 0)
        fail_msg("%s", err.msg);
    return s;
}

static int64_t number(const char *path, const char *text)
{
    sqlite3 *db;
    sqlite3_stmt *st;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, text, -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return n;
}

/* The page alone, nothing of divvy. */
static void assert_auditor_agrees(const char *path)
{
    char command[400];
    const char *source = getenv("DIVVY_SOURCE");
    if (!source)
        return;
    snprintf(command, sizeof command, "python3 '%s/src/platform/store/ledger_verify_test.py' '%s'",
             source, path);
    int status = system(command);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_pods_sum_to_their_tenants(void **state)
{
    struct world *w = *state;
    struct dv_charge pods = {0};
    world_open(w);
    for (unsigned minute = 0; minute < 2 * 1440; minute++) {
        pass_pods(w, minute / 600);
        if (minute == 700) {
            world_close(w);
            world_open(w);
        }
    }
    pods = read_pods(w->l, DV_LEDGER_MINUTE).pods;
    assert_true(pods.busy_ns && !pods.unallocated_ns);
    must_roll(w);
    for (unsigned step = DV_LEDGER_MINUTE; step <= DV_LEDGER_HOUR; step++) {
        struct by_pod s = read_pods(w->l, (enum dv_ledger_level)step);
        assert_charges(&s.pods, &pods);
        dv_charge_add(&s.pods, &s.rest);
        assert_charges(&s.pods, &w->given);
    }
    struct by_pod days = read_pods(w->l, DV_LEDGER_BEST);
    assert_int_equal(days.coarse_pods, 0);
    dv_charge_add(&days.pods, &days.rest);
    assert_charges(&days.pods, &w->given);
    struct sums one = read_sums(w->l, &(struct dv_ledger_query){.to_unix = INT64_C(1) << 36,
                                                                .step = DV_LEDGER_HOUR,
                                                                .tenant = "team-1",
                                                                .pod = "train-1-2"});
    assert_string_equal(one.last.row.account.pod, "train-1-2");
    assert_int_equal(one.all.held_ns, 2 * 600 * 60 * DV_NS_PER_S);
    assert_proven(w->l);
    world_close(w);
    assert_auditor_agrees(w->path);
}

/* What counters start from knows no pods: in the file, in memory, for the writer and a reader. */
static void on_total(void *arg, const struct dv_ledger_total *t)
{
    struct dv_charge *all = arg;
    assert_string_equal(t->account.pod, "");
    all->busy_ns += t->busy_ns;
    all->wait_ns += t->wait_ns;
    all->held_ns += t->held_ns;
    all->unallocated_ns += t->unallocated_ns;
    all->requested_compute += (uint64_t)t->requested_compute;
}

static void test_totals_have_no_pods(void **state)
{
    struct world *w = *state;
    struct dv_err err = {0};
    world_open(w);
    for (unsigned i = 0; i < 5; i++)
        pass_pods(w, i);
    struct dv_account a = pod_account(0, 1, "only-in-memory");
    struct dv_ledger *reader = world_reader(w, w->path);
    struct dv_charge all = {0};
    assert_int_equal(dv_ledger_totals(reader, on_total, &all, &err), 0);
    assert_charges(&all, &w->given);
    dv_ledger_close(reader);
    give(w, &a, &(struct dv_charge){.busy_ns = 5});
    memset(&all, 0, sizeof all);
    assert_int_equal(dv_ledger_totals(w->l, on_total, &all, &err), 0);
    assert_charges(&all, &w->given);
    world_close(w);
    assert_int_equal(number(w->path, "SELECT count(*) FROM total JOIN account ON id = account"
                                     " WHERE pod <> ''"),
                     0);
}

/* A new set of pods every ten minutes for 12 days, of which 2 are kept by the hour. */
static void test_names_of_old_pods_are_forgotten(void **state)
{
    struct world *w = *state;
    struct dv_err err = {0};
    w->limits = (struct dv_ledger_limits){
        .minute_seconds = 3600, .hour_seconds = 2 * 86400, .life_seconds = 2 * 86400};
    world_open(w);
    struct dv_account noted = pod_account(0, 1, "train-1-0");
    for (unsigned minute = 0; minute < 12 * 1440; minute++) {
        struct dv_account short_lived = pod_account(0, 0, "");
        snprintf(short_lived.pod, sizeof short_lived.pod, "job-%u", minute / 60);
        if (minute % 60 == 0) /* a life, and no time */
            dv_ledger_add_life(w->l, &(struct dv_ledger_life){.event = DV_LEDGER_GRANTED,
                                                              .account = short_lived,
                                                              .unix_ns = w->now.unix_ns});
        pass_pods(w, minute / 10);
        if (minute == 5) { /* a correction is for ever, and so is whom it names */
            struct dv_ledger_delta d[2] = {{.account = noted, .busy_ns = -1},
                                           {.account = tenant_account(0, 1), .busy_ns = 1}};
            struct dv_ledger_correction c = {.block = 2,
                                             .unix_ns = w->now.unix_ns,
                                             .who = "t",
                                             .reason = "t",
                                             .deltas = d,
                                             .n = 2};
            assert_int_equal(dv_ledger_correct(w->l, &c, &err), 0);
        }
        if (minute % 120 == 0)
            must_roll(w);
    }
    must_flush(w);
    must_roll(w);
    assert_proven(w->l);
    struct sums s = read_all(w->l, DV_LEDGER_BEST);
    assert_charges(&s.all, &w->given);
    s = read_all(w->l, DV_LEDGER_MINUTE);
    assert_int_equal(s.broken, 0);
    assert_charges(&s.all, &w->given);
    world_close(w);
    /* Four accounts every ten minutes and one every hour, over three to four days; of 12 days it
     * would be 7,200. */
    int64_t pods = number(w->path, "SELECT count(*) FROM account WHERE pod <> ''");
    assert_in_range(pods, 2 * 600, 4 * 600);
    assert_int_equal(number(w->path, "SELECT count(*) FROM account WHERE pod = 'train-1-0'"), 1);
    assert_int_equal(number(w->path, "SELECT count(*) FROM account WHERE pod = 'train-2-0'"), 0);
    assert_int_equal(number(w->path, "SELECT count(*) FROM account WHERE pod = 'job-0'"), 0);
    assert_int_equal(number(w->path, "SELECT (SELECT count(*) FROM account WHERE pod <> '') -"
                                     " (SELECT count(*) FROM pod_account)"),
                     0);
    assert_auditor_agrees(w->path);
    world_open(w);
    pass_pods(w, 0); /* a name that was forgotten comes again */
    must_roll(w);
    assert_proven(w->l);
}

/* More pods than a minute has rows for: their time stays their tenant's. */
static void test_too_many_pods(void **state)
{
    struct world *w = *state;
    world_open(w);
    for (unsigned i = 0; i < 3 * POD_ROWS_MAX; i++) {
        char name[64];
        snprintf(name, sizeof name, "flood-%u", i);
        struct dv_account a = pod_account(0, 1, name);
        give(w, &a, &(struct dv_charge){.busy_ns = 1});
    }
    w->now.unix_ns += 61 * SEC;
    w->now.mono_ns += 61 * DV_NS_PER_S;
    must_flush(w);
    struct by_pod s = read_pods(w->l, DV_LEDGER_MINUTE);
    assert_int_equal(s.pods.busy_ns, POD_ROWS_MAX);
    assert_int_equal(s.rest.busy_ns, 2 * POD_ROWS_MAX);
    struct sums all = read_all(w->l, DV_LEDGER_MINUTE);
    assert_string_equal(all.last.row.account.tenant, "team-1");
    assert_int_equal(number(w->path, "SELECT count(*) FROM account WHERE tenant = '@other'"), 0);
    give(w, &(struct dv_account){.gpu = "GPU-0"}, &(struct dv_charge){.busy_ns = 1});
    assert_proven(w->l);
}

/* As version 1 left it: no column, no table, nothing of pods. */
static void make_version_1(const struct world *w)
{
    sql(w->path, "DROP INDEX note_entry_by_account; DROP INDEX life_by_account;"
                 "DROP TABLE pod_account; ALTER TABLE account DROP COLUMN pod;"
                 "PRAGMA user_version = 1");
}

static void test_a_ledger_of_before(void **state)
{
    struct world *w = *state;
    struct dv_ledger_head before, after;
    struct dv_err err = {0};
    w->limits = (struct dv_ledger_limits){.minute_seconds = 3600};
    world_open(w);
    for (unsigned minute = 0; minute < 2 * 1440; minute++) {
        pass(w, 60 * DV_NS_PER_S);
        must_flush(w);
    }
    must_roll(w);
    world_close(w);
    make_version_1(w);
    assert_auditor_agrees(w->path);

    /* A backup is read and proven as it is. */
    struct dv_ledger *reader = world_reader(w, w->path);
    struct sums s = read_all(reader, DV_LEDGER_MINUTE);
    assert_charges(&s.all, &w->given);
    assert_proven(reader);
    assert_int_equal(dv_ledger_head(reader, DV_LEDGER_DAY, &before, &err), 0);
    dv_ledger_close(reader);
    assert_int_equal(number(w->path, "PRAGMA user_version"), 1);

    /* A new start goes on with it: the same chain, and pods behind. */
    world_open(w);
    assert_int_equal(dv_ledger_head(w->l, DV_LEDGER_DAY, &after, &err), 0);
    assert_memory_equal(&before, &after, sizeof before);
    int64_t accounts = number(w->path, "SELECT count(*) FROM account");
    for (unsigned minute = 0; minute < 2 * 1440; minute++) {
        pass(w, 30 * DV_NS_PER_S);
        pass_pods(w, 1);
    }
    must_roll(w);
    assert_proven(w->l);
    s = read_all(w->l, DV_LEDGER_HOUR);
    assert_charges(&s.all, &w->given);
    assert_int_equal(s.broken, 0);
    world_close(w);
    assert_int_equal(number(w->path, "SELECT count(*) FROM account"), accounts + 4);
    assert_auditor_agrees(w->path);

    /* Whose pod it was is as proven as whose time. */
    sql(w->path, "DROP TRIGGER account_is_final;"
                 "UPDATE account SET pod = 'other' WHERE pod = 'train-1-1'");
    reader = world_reader(w, w->path);
    struct breaks b = find_breaks(reader, &(struct dv_ledger_proof){0});
    assert_true(b.of[DV_LEDGER_FAULT_HASH] > 0);
    dv_ledger_close(reader);
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_pods_sum_to_their_tenants),
        T(test_totals_have_no_pods),
        T(test_names_of_old_pods_are_forgotten),
        T(test_too_many_pods),
        T(test_a_ledger_of_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
