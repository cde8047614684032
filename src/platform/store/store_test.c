/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "store/store.h"

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
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

struct seen {
    char dir[40];
    struct dv_store_claim claims[8];
    struct dv_proc_id process;
    size_t n_claims, n_processes;
};

static void on_claim(void *arg, const struct dv_store_claim *row)
{
    struct seen *s = arg;
    s->claims[s->n_claims++ % 8] = *row;
}

static void on_process(void *arg, uint64_t claim, const struct dv_proc_id *process)
{
    struct seen *s = arg;
    s->n_processes++;
    s->process = *process;
}

static int setup(void **state)
{
    struct seen *s = calloc(1, sizeof *s);
    strcpy(s->dir, "/tmp/divvy-store-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct seen *s = *state;
    DIR *d = opendir(s->dir);
    for (struct dirent *e; (e = readdir(d));)
        unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
    rmdir(s->dir);
    free(s);
    return 0;
}

static struct dv_store *open_store(struct seen *s, const char *expected_note)
{
    struct dv_store *store = NULL;
    struct dv_err err = {0};
    dv_cleanup(dv_str_done) struct dv_str note = {0};
    if (dv_store_open(s->dir, &store, &note, &err) < 0)
        fail_msg("%s", err.msg);
    if (!expected_note)
        assert_string_equal(dv_str_get(&note), "");
    else
        assert_non_null(strstr(dv_str_get(&note), expected_note));
    return store;
}

static void load(struct seen *s, struct dv_store *store)
{
    struct dv_err err;
    s->n_claims = s->n_processes = 0;
    assert_int_equal(dv_store_load(store, on_claim, on_process, s, &err), 0);
}

static struct dv_store_claim sample(uint64_t id)
{
    struct dv_store_claim row = {
        .claim = {.id = id,
                  .tenant = "ann",
                  .mode = DV_MODE_GOVERNED,
                  .memory_bytes = 1ull << 40,
                  .compute = 3500,
                  .priority = -7,
                  .trust = DV_TRUST_UNTRUSTED,
                  .gpu = {.kind = DV_SELECTOR_UUID, .index = 3, .text = "GPU-12345678"},
                  .wait = true,
                  .alone = true,
                  .since_ns = 99},
        .granted = true,
        .slice = {.id = id,
                  .tenant = "ann",
                  .device = "GPU-1",
                  .mode = DV_MODE_GOVERNED,
                  .memory_bytes = 10,
                  .compute = 20,
                  .priority = -7,
                  .trust = DV_TRUST_UNTRUSTED,
                  .memory_wall = DV_WALL_COOPERATIVE,
                  .compute_wall = DV_WALL_COOPERATIVE,
                  .alone = true,
                  .since_ns = 101},
        .owner = {4711, 123456789},
        .uid = 1000,
        .since_unix = 1700000000,
        .command = "python3 'x'",
    };
    return row;
}

static void test_round_trip(void **state)
{
    struct seen *s = *state;
    struct dv_err err;
    struct dv_store *store = open_store(s, NULL);
    struct dv_store_claim row = sample(7), other = sample(8);
    struct dv_proc_id process = {12, 34};
    uint64_t next;
    row.workload = (struct dv_workload){.namespace = "team-a",
                                        .pod = "train-0",
                                        .pod_uid = "3f2a9b6c",
                                        .container = "main",
                                        .container_id = "0123",
                                        .device = "GPU-1::p0",
                                        .cgroup = "memory:/kubepods/0123"};
    memcpy(row.slice.pod, row.workload.pod, sizeof row.slice.pod); /* not kept twice */
    assert_int_equal(dv_store_begin(store, &err), 0);
    assert_int_equal(dv_store_put_claim(store, &row, &err), 0);
    assert_int_equal(dv_store_put_claim(store, &row, &err), 0);
    assert_int_equal(dv_store_put_claim(store, &other, &err), 0);
    assert_int_equal(dv_store_put_process(store, 7, &process, &err), 0);
    assert_int_equal(dv_store_commit(store, &err), 0);
    dv_store_close(store);

    store = open_store(s, NULL);
    load(s, store);
    assert_int_equal(s->n_claims, 2);
    assert_string_equal(s->claims[1].workload.container_id, ""); /* no container's */
    assert_memory_equal(&s->claims[0].workload, &row.workload, sizeof row.workload);
    assert_memory_equal(&s->claims[0].claim, &row.claim, sizeof row.claim);
    assert_memory_equal(&s->claims[0].slice, &row.slice, sizeof row.slice);
    assert_string_equal(s->claims[0].command, row.command);
    assert_int_equal(s->claims[0].owner.start, row.owner.start);
    assert_int_equal(s->claims[0].uid, 1000);
    assert_int_equal(s->process.pid, 12);
    assert_int_equal(dv_store_drop_claim(store, 7, &err), 0);
    assert_int_equal(dv_store_drop_claim(store, 7, &err), 0);
    assert_int_equal(dv_store_drop_claim(store, 8, &err), 0);
    load(s, store);
    assert_int_equal(s->n_claims + s->n_processes, 0);
    assert_int_equal(dv_store_next_id(store, &next, &err), 0);
    assert_int_equal(next, 9); /* an id is not used twice */
    dv_store_close(store);
}

static void overwrite(struct seen *s, const char *name, const char *text)
{
    char path[100];
    snprintf(path, sizeof path, "%s/%s", s->dir, name);
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    for (int i = 0; i < 500; i++)
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void on_document(void *arg, const struct dv_store_document *d)
{
    struct dv_str *all = arg;
    dv_str_addf(all, "%s|%s|%s|%lld|%s;", d->key, d->name, d->config, (long long)d->unix_time,
                d->text);
    assert_int_equal(d->len, strlen(d->text));
}

static void test_documents(void **state)
{
    struct seen *s = *state;
    struct dv_err err;
    dv_cleanup(dv_str_done) struct dv_str note = {0}, all = {0};
    struct dv_store *store;
    assert_int_equal(dv_store_open(s->dir, &store, &note, &err), 0);
    struct dv_store_document d = {
        .key = "cut", .name = "a.yaml", .config = "all", .unix_time = 7, .text = "x: 'y'\n"};
    assert_int_equal(dv_store_put_document(store, &d, &err), 0);
    d.text = "z";
    assert_int_equal(dv_store_put_document(store, &d, &err), 0);
    strcpy(d.key, "change:GPU-1");
    assert_int_equal(dv_store_put_document(store, &d, &err), 0);
    dv_store_close(store);
    assert_int_equal(dv_store_open(s->dir, &store, &note, &err), 0);
    assert_int_equal(dv_store_load_documents(store, on_document, &all, &err), 0);
    assert_string_equal(dv_str_get(&all), "change:GPU-1|a.yaml|all|7|z;cut|a.yaml|all|7|z;");
    assert_int_equal(dv_store_drop_document(store, "cut", &err), 0);
    assert_int_equal(dv_store_drop_document(store, "cut", &err), 0);
    dv_str_clear(&all);
    assert_int_equal(dv_store_load_documents(store, on_document, &all, &err), 0);
    assert_string_equal(dv_str_get(&all), "change:GPU-1|a.yaml|all|7|z;");
    dv_store_close(store);
}

static void test_corrupt(void **state)
{
    struct seen *s = *state;
    struct dv_err err;
    struct dv_store *store = open_store(s, NULL);
    struct dv_store_claim row = sample(1);
    assert_int_equal(dv_store_put_claim(store, &row, &err), 0);
    dv_store_close(store);
    overwrite(s, "divvyd.db", "this is not a database\n");
    store = open_store(s, "was corrupt and is kept as");
    load(s, store);
    assert_int_equal(s->n_claims, 0);
    assert_int_equal(dv_store_put_claim(store, &row, &err), 0);
    dv_store_close(store);
    int kept = 0;
    DIR *d = opendir(s->dir);
    for (struct dirent *e; (e = readdir(d));)
        kept += strstr(e->d_name, ".corrupt-") != NULL;
    closedir(d);
    assert_int_equal(kept, 1);
}

static void test_newer(void **state)
{
    struct seen *s = *state;
    char path[100];
    sqlite3 *db;
    struct dv_err err;
    dv_cleanup(dv_str_done) struct dv_str note = {0};
    dv_store_close(open_store(s, NULL));
    snprintf(path, sizeof path, "%s/divvyd.db", s->dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    struct dv_store *store = NULL;
    assert_int_equal(dv_store_open(s->dir, &store, &note, &err), -EPROTONOSUPPORT);
    assert_non_null(strstr(err.msg, "newer divvy"));
}

static void on_wait(void *arg, const struct dv_store_wait *w)
{
    dv_str_addf(arg, "%s|%s|%s|%llu|%lld;", w->tenant, w->holder, w->kind,
                (unsigned long long)w->ns, (long long)w->since_unix);
}

static void on_baseline(void *arg, const struct dv_store_baseline *b)
{
    dv_str_addf(arg, "%s|%s|%s|%s|%s|%d|%llu|%u|%lld|%llu|%llu|%llu|%llu;", b->tenant, b->name,
                b->command, b->model, b->profile, (int)b->mode, (unsigned long long)b->memory_bytes,
                b->compute, (long long)b->unix_time, (unsigned long long)b->launches,
                (unsigned long long)b->wall_ns, (unsigned long long)b->busy_ns,
                (unsigned long long)b->wait_ns);
}

static void test_waits_and_baselines(void **state)
{
    struct seen *s = *state;
    struct dv_err err;
    dv_cleanup(dv_str_done) struct dv_str all = {0};
    struct dv_store *store = open_store(s, NULL);
    struct dv_store_wait w = {"ann", "bob", "turn", 5, 7};
    assert_int_equal(dv_store_put_wait(store, &w, &err), 0);
    w.ns = 1ull << 62;
    assert_int_equal(dv_store_put_wait(store, &w, &err), 0);
    strcpy(w.kind, "queue");
    assert_int_equal(dv_store_put_wait(store, &w, &err), 0);
    struct dv_store_baseline b = {
        "ann", "train", "train.py 'x'", "A100", "1g.10gb", DV_MODE_GOVERNED, 10, 20, 30, 40, 50,
        60,    70};
    assert_int_equal(dv_store_put_baseline(store, &b, &err), 0);
    strcpy(b.name, "serve");
    assert_int_equal(dv_store_put_baseline(store, &b, &err), 0);
    b.launches = 41;
    assert_int_equal(dv_store_put_baseline(store, &b, &err), 0);
    dv_store_close(store);
    store = open_store(s, NULL);
    assert_int_equal(dv_store_load_waits(store, on_wait, &all, &err), 0);
    assert_string_equal(dv_str_get(&all), "ann|bob|queue|4611686018427387904|7;"
                                          "ann|bob|turn|4611686018427387904|7;");
    dv_str_clear(&all);
    assert_int_equal(dv_store_load_baselines(store, "ann", NULL, on_baseline, &all, &err), 0);
    assert_string_equal(dv_str_get(&all),
                        "ann|serve|train.py 'x'|A100|1g.10gb|4|10|20|30|41|50|60|70;"
                        "ann|train|train.py 'x'|A100|1g.10gb|4|10|20|30|40|50|60|70;");
    assert_int_equal(dv_store_drop_baseline(store, "ann", "train", &err), 0);
    dv_str_clear(&all);
    assert_int_equal(dv_store_load_baselines(store, NULL, "train", on_baseline, &all, &err), 0);
    assert_string_equal(dv_str_get(&all), "");
    dv_store_close(store);
}

/* The schema as it was in version 2; what such a file has in it stays. */
static void test_version_2(void **state)
{
    static const char old[] =
        "CREATE TABLE tenants (name TEXT PRIMARY KEY, busy_ns INTEGER NOT NULL,"
        " wait_ns INTEGER NOT NULL, compute_ns TEXT NOT NULL, byte_ns TEXT NOT NULL) STRICT;"
        "CREATE TABLE claims (id INTEGER PRIMARY KEY, boot TEXT NOT NULL, tenant TEXT NOT NULL,"
        " mode INTEGER NOT NULL, memory_bytes INTEGER NOT NULL, compute INTEGER NOT NULL,"
        " priority INTEGER NOT NULL, tier INTEGER NOT NULL, trust INTEGER NOT NULL,"
        " selector INTEGER NOT NULL, selector_index INTEGER NOT NULL, selector_text TEXT NOT NULL,"
        " wait INTEGER NOT NULL, since_ns INTEGER NOT NULL, since_unix INTEGER NOT NULL,"
        " owner_pid INTEGER NOT NULL, owner_start INTEGER NOT NULL, uid INTEGER NOT NULL,"
        " command TEXT NOT NULL, granted INTEGER NOT NULL, device TEXT NOT NULL,"
        " slice_mode INTEGER NOT NULL, slice_memory_bytes INTEGER NOT NULL,"
        " slice_compute INTEGER NOT NULL, memory_wall INTEGER NOT NULL,"
        " compute_wall INTEGER NOT NULL, slice_since_ns INTEGER NOT NULL) STRICT;"
        "CREATE TABLE processes (claim INTEGER NOT NULL, pid INTEGER NOT NULL,"
        " start INTEGER NOT NULL, PRIMARY KEY (claim, pid, start)) STRICT, WITHOUT ROWID;"
        "CREATE TABLE ids (one INTEGER PRIMARY KEY CHECK (one = 1), next INTEGER NOT NULL) STRICT;"
        "INSERT INTO ids VALUES (1, 9);"
        "CREATE TABLE documents (key TEXT PRIMARY KEY, name TEXT NOT NULL, config TEXT NOT NULL,"
        " unix_time INTEGER NOT NULL, text TEXT NOT NULL) STRICT, WITHOUT ROWID;"
        "INSERT INTO tenants VALUES ('ann', 5, 6, '7', '8');"
        "INSERT INTO claims VALUES (8, 'BOOT', 'ann', 4, 10, 20, -7, 0, 0, 0, 0, 'any', 1, 99,"
        " 1700000000, 4711, 123, 1000, 'train', 1, 'GPU-1', 4, 10, 20, 1, 1, 101);"
        "INSERT INTO processes VALUES (8, 12, 34);"
        "INSERT INTO documents VALUES ('layout', 'a.yaml', 'all', 7, 'x');"
        "PRAGMA user_version = 2;";
    struct seen *s = *state;
    char path[100], boot[40] = "", *sql = NULL;
    sqlite3 *db;
    struct dv_err err;
    dv_cleanup(dv_str_done) struct dv_str all = {0};
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%39s", boot), 1);
    fclose(f);
    snprintf(path, sizeof path, "%s/divvyd.db", s->dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, old, NULL, NULL, NULL), SQLITE_OK);
    sql = sqlite3_mprintf("UPDATE claims SET boot = %Q", boot);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_free(sql);
    sqlite3_close(db);

    uint64_t next;
    struct dv_store *store = open_store(s, NULL);
    load(s, store);
    assert_int_equal(s->n_claims, 1);
    assert_int_equal(s->claims[0].slice.since_ns, 101);
    assert_false(s->claims[0].claim.alone);
    assert_false(s->claims[0].slice.alone);
    assert_int_equal(s->n_processes, 1);
    assert_int_equal(dv_store_next_id(store, &next, &err), 0);
    assert_int_equal(next, 9);
    assert_int_equal(dv_store_load_documents(store, on_document, &all, &err), 0);
    assert_string_equal(dv_str_get(&all), "layout|a.yaml|all|7|x;");
    struct dv_store_claim row = sample(9);
    assert_int_equal(dv_store_put_claim(store, &row, &err), 0);
    struct dv_store_wait w = {"ann", "bob", "turn", 5, 7};
    assert_int_equal(dv_store_put_wait(store, &w, &err), 0);
    dv_store_close(store);
    store = open_store(s, NULL);
    load(s, store);
    assert_int_equal(s->n_claims, 2);
    assert_true(s->claims[1].claim.alone);
    dv_store_close(store);
}

/* A disk that takes no more: an error, and everything is there again once it does. */
static void test_full(void **state)
{
    struct seen *s = *state;
    struct dv_err err = {0};
    struct dv_store *store = open_store(s, NULL);
    struct rlimit old, small = {0, 0};
    struct dv_store_claim row = sample(1);
    assert_int_equal(dv_store_put_claim(store, &row, &err), 0);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small.rlim_max = old.rlim_max;
    setrlimit(RLIMIT_FSIZE, &small);
    int r = dv_store_begin(store, &err);
    for (uint64_t id = 2; r == 0 && id < 2000; id++) {
        row = sample(id);
        r = dv_store_put_claim(store, &row, &err);
    }
    if (r == 0)
        r = dv_store_commit(store, &err);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_true(r < 0);
    assert_true(err.msg[0]);
    dv_store_rollback(store);
    load(s, store);
    assert_int_equal(s->n_claims, 1);
    assert_int_equal(dv_store_put_claim(store, &row, &err), 0);
    dv_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_documents, setup, teardown),
        cmocka_unit_test_setup_teardown(test_waits_and_baselines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_version_2, setup, teardown),
        cmocka_unit_test_setup_teardown(test_corrupt, setup, teardown),
        cmocka_unit_test_setup_teardown(test_newer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
