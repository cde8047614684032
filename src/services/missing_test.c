/* SPDX-License-Identifier: Apache-2.0 */
/* Who is missing, how long, and what is remembered. With a driver: tests/e2e/missing_test.py. */
#include "missing.h"
#include "strangers.h"
#include "sys/log.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];
static struct dv_node *node;
static const char *sim, *sim_socket;

/* A daemon that starts: it knows what the store knows. */
static void begin(void)
{
    dv_cleanup(dv_str_done) struct dv_str note = {0};
    struct dv_err err = {0};
    node = calloc(1, sizeof *node);
    assert_non_null(node);
    node->config = (struct dv_node_config){.sim = sim, .sim_socket = sim_socket, .state_dir = dir};
    assert_int_equal(dv_snapshot_new(&node->snapshot), 0);
    assert_int_equal(dv_store_open(dir, &node->store, &note, &err), 0);
}

static void end(void)
{
    dv_missing_free(node);
    dv_strangers_free(node);
    dv_store_close(node->store);
    dv_snapshot_free(node->snapshot);
    free(node);
}

static void restart(void)
{
    end();
    begin();
}

static int set_up(void **state)
{
    sim = sim_socket = NULL;
    snprintf(dir, sizeof dir, "/tmp/divvy-missing-XXXXXX");
    return mkdtemp(dir) ? (begin(), 0) : -1;
}

static int tear_down(void **state)
{
    char command[96];
    end();
    snprintf(command, sizeof command, "rm -r %s", dir);
    return system(command);
}

static void apply(enum dv_event_kind kind, const struct dv_gpu *gpu)
{
    struct dv_event e = {.kind = kind, .gpu = *gpu};
    struct dv_err err = {0};
    assert_int_equal(dv_event_apply(node->snapshot, &e, &err), 0);
}

/* A look that finds these: "abc" are GPU-a, GPU-b and GPU-c, each at the address of its letter;
 * "A" is another card at the address of a, "?" one that does not say what it is. */
static void look_only(const char *letters)
{
    while (node->snapshot->n_gpus)
        apply(DV_EVENT_GPU_GONE, &(struct dv_gpu){.index = node->snapshot->gpus[0].index});
    node->driver.gpus = (uint32_t)strlen(letters);
    for (uint32_t i = 0; letters[i]; i++) {
        struct dv_gpu g = {.index = i, .numa = -1, .health = DV_GPU_HEALTH_OK};
        if (letters[i] == '?')
            continue;
        snprintf(g.uuid, sizeof g.uuid, "GPU-%c", letters[i]);
        snprintf(g.model, sizeof g.model, "NVIDIA A100 80GB");
        snprintf(g.pci_bus_id, sizeof g.pci_bus_id, "00000000:%02X:00.0", letters[i] & 31);
        if (letters[i] == 'c') {
            g.health = DV_GPU_HEALTH_FAILED;
            snprintf(g.health_detail, sizeof g.health_detail, "XID 79; until it is reset");
        }
        apply(DV_EVENT_GPU_SEEN, &g);
    }
}

static void tick(void)
{
    dv_missing_load(node);
    dv_strangers_tick(node);
    dv_missing_tick(node);
}

static void look(const char *letters)
{
    look_only(letters);
    tick();
}

/* The letters of those that are told. */
static void check(const char *letters)
{
    size_t n = strlen(letters);
    for (size_t i = 0; i < n; i++) {
        const struct dv_missing_gpu *m = dv_missing_at(node, i);
        assert_non_null(m);
        assert_int_equal(m->gpu.uuid[4], letters[i]);
        assert_true(m->since_unix > 0);
    }
    assert_null(dv_missing_at(node, n));
}

static void test_it_goes_and_comes_back(void **state)
{
    look("abcd");
    check("");
    look("abd"); /* the others are numbered anew */
    check("");   /* maybe the driver is just being loaded */
    assert_true(dv_missing_has(node, "GPU-c") && dv_missing_is_open(node));
    look("abd");
    check("c");
    assert_false(dv_missing_is_open(node));
    const struct dv_missing_gpu *m = dv_missing_at(node, 0);
    assert_int_equal(m->gpu.index, 2);
    assert_string_equal(m->gpu.pci_bus_id, "00000000:03:00.0");
    assert_string_equal(m->gpu.model, "NVIDIA A100 80GB");
    assert_true(m->seen);
    assert_int_equal(m->gpu.health, DV_GPU_HEALTH_FAILED);
    assert_string_equal(m->gpu.health_detail, "XID 79; until it is reset");
    look("abcd");
    check("");
    assert_false(dv_missing_has(node, "GPU-c"));
    look("");
    look("");
    check("abcd");
}

/* It falls ill between two looks. */
static void test_its_last_state(void **state)
{
    look("ab");
    struct dv_gpu b = *dv_snapshot_gpu(node->snapshot, 1);
    b.health = DV_GPU_HEALTH_FAILED;
    snprintf(b.health_detail, sizeof b.health_detail, "lost");
    dv_missing_note(node, &b);
    look("a");
    look("a");
    check("b");
    assert_int_equal(dv_missing_at(node, 0)->gpu.health, DV_GPU_HEALTH_FAILED);
    assert_string_equal(dv_missing_at(node, 0)->gpu.health_detail, "lost");
}

static void test_it_is_remembered(void **state)
{
    look("abcd");
    look("abd");
    look("abd");
    int64_t since = dv_missing_at(node, 0)->since_unix;
    for (int i = 0; i < 2; i++) {
        restart();
        look("abd");
        check("c");
        const struct dv_missing_gpu *m = dv_missing_at(node, 0);
        assert_int_equal(m->since_unix, since);
        assert_int_equal(m->gpu.index, 2);
        assert_int_equal(m->gpu.health, DV_GPU_HEALTH_FAILED);
        assert_string_equal(m->gpu.health_detail, "XID 79; until it is reset");
        assert_string_equal(m->gpu.model, "NVIDIA A100 80GB");
    }
    restart();
    look("abcd");
    check("");
    restart();
    look("abcd");
    look("abcd");
    check("");
}

/* While no daemon ran: who it was is known, how it was is not. */
static void test_it_goes_between_two_daemons(void **state)
{
    look("abcd");
    restart();
    look("abd");
    look("abd");
    check("c");
    assert_int_equal(dv_missing_at(node, 0)->gpu.index, 2);
    assert_false(dv_missing_at(node, 0)->seen);
    restart();
    look("abd");
    check("c");
    assert_false(dv_missing_at(node, 0)->seen);
}

static void test_the_card_is_replaced(void **state)
{
    look("abcd");
    look("abCd");
    look("abCd");
    check("");
    look("abd");
    look("abd");
    check("C");
    look("abcd");
    check("");
}

static void move(uint32_t index, char letter)
{
    struct dv_gpu g = *dv_snapshot_gpu(node->snapshot, index);
    snprintf(g.pci_bus_id, sizeof g.pci_bus_id, "00000000:%02X:00.0", letter & 31);
    apply(DV_EVENT_GPU_SEEN, &g);
}

/* Where a card does not come up, the firmware may give its address to the next. */
static void test_addresses_are_given_anew(void **state)
{
    look("abcd");
    for (int i = 0; i < 3; i++) {
        if (i < 2)
            restart();
        dv_missing_load(node);
        look_only("abd");
        move(2, 'c');
        tick();
        tick();
        check("c");
    }
    restart();
    look("abcd");
    look("ab");
    look("ab");
    check("cd");
    look_only("abc"); /* in the place of d */
    move(2, 'd');
    tick();
    check("d");
    look("abD"); /* a new one at the address of both */
    look("abD");
    check("");
}

static void test_a_look_that_is_not_complete(void **state)
{
    look("abcd");
    look_only("abd");
    assert_false(dv_missing_has(node, "GPU-c"));
    assert_true(dv_missing_is_doubtful(node, "GPU-c"));
    assert_false(dv_missing_is_doubtful(node, "GPU-d"));
    look_only("abcd");
    assert_false(dv_missing_is_doubtful(node, "GPU-c"));
    look_only("ab?"); /* c or d */
    tick();
    assert_true(dv_missing_is_doubtful(node, "GPU-c") && dv_missing_is_doubtful(node, "GPU-d"));
    look("abd");
    assert_false(dv_missing_is_doubtful(node, "GPU-c"));
    assert_true(dv_missing_has(node, "GPU-c"));
}

/* A driver that names its GPUs anew each time, and not where they are. */
static void test_too_many(void **state)
{
    for (unsigned i = 0; i < 200; i++) {
        struct dv_gpu g = {.numa = -1};
        look_only("");
        snprintf(g.uuid, sizeof g.uuid, "GPU-%u", i);
        apply(DV_EVENT_GPU_SEEN, &g);
        node->driver.gpus = 1;
        tick();
        tick();
    }
    for (int i = 0; i < 2; i++) {
        size_t n = 0;
        while (dv_missing_at(node, n))
            n++;
        assert_int_equal(n, DV_FACTS_GPUS_MAX);
        assert_string_equal(dv_missing_at(node, 0)->gpu.uuid, "GPU-167");
        assert_string_equal(dv_missing_at(node, n - 1)->gpu.uuid, "GPU-198");
        restart();
        dv_missing_load(node);
    }
}

static void test_it_is_forgotten(void **state)
{
    look("abcd");
    look("abd");
    look("abd");
    assert_int_equal(dv_missing_forget(node, "GPU-a"), -ENOENT);
    assert_int_equal(dv_missing_forget(node, "GPU-c"), 0);
    assert_int_equal(dv_missing_forget(node, "GPU-c"), -ENOENT);
    look("abd");
    check("");
    restart();
    look("abd");
    look("abd");
    check("");
}

/* One that is counted and does not say who it is may be the one that is not found. */
static void test_strangers(void **state)
{
    look("abcd");
    restart();
    look("ab?");
    look("ab?");
    check("");
    assert_string_equal(dv_strangers_gpu(node, 2)->uuid, "");
    look("abd");
    look("abd");
    check("c");
    restart();
    look("a?d"); /* what is missing is missing: this is another */
    assert_string_equal(dv_strangers_gpu(node, 1)->uuid, "GPU-b");
    look("a?d");
    check("c");
    restart();
    look("a??d"); /* it is counted again, and lost */
    check("");
    assert_string_equal(dv_strangers_gpu(node, 1)->uuid, "GPU-b");
    assert_string_equal(dv_strangers_gpu(node, 2)->uuid, "GPU-c");
}

/* A simulated driver has other GPUs, and so has the next one that the daemon starts itself. */
static void test_another_driver(void **state)
{
    char own[96];
    look("ab");
    sim = "unix:/run/gpus.sock";
    sim_socket = "/run/gpus.sock";
    restart();
    look("cd");
    look("cd");
    check("");
    restart();
    look("c");
    look("c");
    check("d");
    snprintf(own, sizeof own, "%s/sim.sock", dir);
    sim_socket = own;
    for (int i = 0; i < 2; i++) {
        restart();
        look(i ? "e" : "efg");
        look(i ? "e" : "efg");
        check("");
    }
    look("");
    look("");
    check("e");
    restart(); /* `own` ends with this function */
    sim_socket = NULL;
}

static void test_damage(void **state)
{
    static const char *const texts[] = {
        "",
        "\n",
        "GPU-c",
        "GPU-c\n",
        "GPU-c\t\t\t\t\t\t\n",
        "x\t\t0\t0\tok\tm\td\n",
        "GPU-c\t\t32\t1\tok\tm\td\n",
        "GPU-c\t\t0\t-1\tok\tm\td\n",
        "GPU-c\t\t0\t99999999999999999999\tok\tm\td\n",
        "GPU-c\t\t0\t1\tfine\tm\td\n",
        "GPU-c\t00000000:00000000000000000000000000000000\t0\t1\tok\tm\td\n",
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(texts); i++) {
        struct dv_store_document d = {
            .key = "gpus-missing", .text = texts[i], .len = strlen(texts[i])};
        struct dv_err err = {0};
        assert_int_equal(dv_store_put_document(node->store, &d, &err), 0);
        restart();
        look("ab");
        check("");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_it_goes_and_comes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_its_last_state, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_it_is_remembered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_it_goes_between_two_daemons, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_card_is_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_addresses_are_given_anew, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_look_that_is_not_complete, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_too_many, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_it_is_forgotten, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_strangers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_another_driver, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damage, set_up, tear_down),
    };
    dv_log_set_level(DV_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
