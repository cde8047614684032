/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layouts against a driver that fails: the services of divvyd on a link that answers from a dry
 * actuator instead of a worker process. The answer to each question in turn is an error, is lost
 * before or after the step was done, or never comes because the daemon dies there and begins anew
 * with its store. However it goes: the GPU ends as it was or as it is wanted, and says which.
 */
#include "actuate/dry_actuator.h"
#include "inventory.h"
#include "layouts.h"
#include "mps.h"
#include "sys/log.h"

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define QUESTIONS 256u
#define ROUNDS 2000
#define LATER (UINT64_MAX / 2) /* every pause is over */

enum fault {
    NONE,
    ERROR,       /* the driver says no */
    DIE_BEFORE,  /* the worker dies, nothing was done */
    DIE_AFTER,   /* it was done */
    BLIND,       /* the driver does not say what the GPU is now */
    BLIND_DEATH, /* the worker dies when it is asked that */
    RESTART,     /* the daemon dies with the question unanswered */
    FAULTS
};

static const char *const fault_names[FAULTS] = {
    "none", "error", "death before", "death after", "blind", "blind death", "restart"};

struct question {
    struct dv_worker_request request;
    dv_hardware_link_reply *cb;
    void *arg;
};

static struct {
    struct question queue[QUESTIONS];
    uint32_t first, count;
    struct dv_actuator *gpus;
    bool mps[QUESTIONS]; /* daemons that run, by a hash of their device */
    bool mps_broken;
    uint32_t late; /* rounds that an MPS daemon takes to end: MPS has a worker of its own */
    enum fault fault;
    uint32_t at, asked; /* the fault comes with question number `at` of steps and looks */
    bool struck;
} wire;

static struct dv_node *node;
static char directory[64];

/* ---- the link ---- */

int dv_hardware_link_new(struct dv_loop *loop, const struct dv_keeper *keeper, uint32_t deadline_ms,
                         dv_loop_callback *on_state, void *arg, struct dv_hardware_link **ret)
{
    return -ENOSYS;
}

void dv_hardware_link_free(struct dv_hardware_link *l)
{
    for (; wire.count; wire.count--) { /* whoever asked has something allocated */
        struct question q = wire.queue[wire.first];
        wire.first = (wire.first + 1) % QUESTIONS;
        if (q.arg != node)
            free(q.arg);
    }
}

int dv_hardware_link_ask(struct dv_hardware_link *l, const struct dv_worker_request *request,
                         dv_hardware_link_reply *cb, void *arg)
{
    struct dv_err err = {0};
    if (dv_worker_check(request, &err))
        fail_msg("a question that the worker refuses: %s", err.msg);
    if (wire.count == QUESTIONS)
        return -ENOBUFS;
    wire.queue[(wire.first + wire.count++) % QUESTIONS] = (struct question){*request, cb, arg};
    return 0;
}

enum dv_hardware_link_state dv_hardware_link_state(const struct dv_hardware_link *l)
{
    return DV_HARDWARE_LINK_OK;
}

uint32_t dv_hardware_link_replaced(const struct dv_hardware_link *l)
{
    return 0;
}

/* ---- a GPU as facts ---- */

static void fill_mig(const struct dv_plan_gpu *now, const struct dv_plan_instance *gi, uint32_t k,
                     struct dv_facts_mig *m)
{
    const struct dv_mig_profile *p = &now->geometry->profiles[gi->profile];
    struct dv_mig_compute_profile c[DV_MIG_COMPUTE_PROFILES_MAX];
    size_t n = dv_mig_compute_profiles(now->geometry, p, c);
    *m = (struct dv_facts_mig){.gi = gi->id,
                               .ci = gi->ci[k].id,
                               .start = gi->start,
                               .size = p->size,
                               .gi_slices = p->slices,
                               .ci_slices = gi->ci[k].slices,
                               .memory_bytes = 8 * DV_GIB};
    memcpy(m->uuid, gi->ci[k].uuid, sizeof m->uuid);
    for (size_t i = 0; i < n; i++)
        if (c[i].slices == gi->ci[k].slices)
            dv_mig_compute_name(p, &c[i], m->profile);
}

static void fill_facts(uint32_t index, struct dv_facts_gpu *f)
{
    static struct dv_plan_gpu now;
    dv_dry_actuator_gpu(wire.gpus, index, &now);
    *f = (struct dv_facts_gpu){.index = index,
                               .cc_major = 8,
                               .pci_device_id = DV_FACT_UNKNOWN32,
                               .pci_subsystem_id = DV_FACT_UNKNOWN32,
                               .mig_current = now.mig_enabled,
                               .mig_pending = now.mig_pending,
                               .timeslice = now.timeslice,
                               .memory_bytes = 80 * DV_GIB,
                               .memory_reserved_bytes = 0,
                               .geometry = *now.geometry};
    snprintf(f->uuid, sizeof f->uuid, "%s", dv_dry_actuator_uuid(wire.gpus, index));
    snprintf(f->model, sizeof f->model, "dry");
    for (uint32_t i = 0; i < now.n_instances; i++) {
        const struct dv_plan_instance *gi = &now.instances[i];
        const struct dv_mig_profile *p = &now.geometry->profiles[gi->profile];
        f->gi[f->n_gi++] = (struct dv_facts_gi){gi->id, p->id, gi->start, p->size};
        for (uint32_t k = 0; k < gi->n_ci; k++)
            fill_mig(&now, gi, k, &f->mig[f->n_mig++]);
    }
}

/* ---- the worker ---- */

/* By which a daemon is found after a restart. */
static void make_folder(const char *name)
{
    static const char *const parts[] = {"", "/pipe"};
    char path[128];
    snprintf(path, sizeof path, "%s/mps", directory);
    mkdir(path, 0700);
    for (size_t i = 0; i < DV_ARRAY_SIZE(parts); i++) {
        snprintf(path, sizeof path, "%s/mps/%s%s", directory, name, parts[i]);
        mkdir(path, 0700);
    }
}

static void answer_mps(const struct dv_worker_request *q, struct dv_worker_reply *a)
{
    bool *up = &wire.mps[q->change.mps.spec.name[1] - '0'];
    if (q->change.mps.op == DV_MPS_START && wire.mps_broken) {
        a->status = DV_ACTUATE_FAILED;
        snprintf(a->message, sizeof a->message, "no daemon here");
        return;
    }
    if (q->change.mps.op == DV_MPS_START) {
        make_folder(q->change.mps.spec.name);
        *up = true;
    }
    if (q->change.mps.op == DV_MPS_STOP)
        *up = false;
    a->u.mps.up = *up;
}

static bool strikes(const struct dv_worker_request *q)
{
    bool look = q->op == DV_WORKER_GPU;
    bool wants_look = wire.fault == BLIND || wire.fault == BLIND_DEATH;
    bool counts = wire.fault == RESTART ? look || q->op == DV_WORKER_STEP || q->op == DV_WORKER_MPS
                  : wants_look          ? look
                                        : q->op == DV_WORKER_STEP;
    if (wire.fault == NONE || wire.struck || !counts)
        return false;
    wire.struck = wire.asked++ == wire.at;
    return wire.struck;
}

/* 0, or what befell the worker. */
static int answer(const struct dv_worker_request *q, struct dv_worker_reply *a)
{
    bool now = strikes(q);
    struct dv_err err = {0};
    *a = (struct dv_worker_reply){.op = q->op};
    switch (q->op) {
    case DV_WORKER_GPU:
        if (now && wire.fault == BLIND)
            a->status = DV_HARDWARE_FAILED;
        fill_facts(q->index, &a->u.gpu);
        return now && wire.fault == BLIND_DEATH ? -EPIPE : 0;
    case DV_WORKER_STEP:
        if (q->change.step.kind == DV_STEP_MIG_MODE && wire.mps[q->index])
            fail_msg("MIG mode changes under an MPS daemon");
        if (now)
            dv_dry_actuator_fail(wire.gpus, 0,
                                 wire.fault == ERROR        ? DV_DRY_ERROR
                                 : wire.fault == DIE_BEFORE ? DV_DRY_DIE_BEFORE
                                                            : DV_DRY_DIE_AFTER);
        a->status = dv_actuate_step(wire.gpus, &q->change.step, &a->u.receipt, &err);
        snprintf(a->message, sizeof a->message, "%.199s", err.msg);
        return a->status < 0 ? a->status : 0;
    case DV_WORKER_MPS:
        answer_mps(q, a);
        return 0;
    default:
        return 0;
    }
}

/* False: the daemon died. */
static bool answer_all(void)
{
    static struct dv_worker_reply a;
    for (uint32_t put_off = 0; wire.count > put_off;) {
        struct question q = wire.queue[wire.first];
        if (q.request.op == DV_WORKER_MPS && q.request.change.mps.op == DV_MPS_STOP && wire.late) {
            wire.late--;
            put_off++;
            wire.queue[(wire.first + wire.count) % QUESTIONS] = q;
            wire.first = (wire.first + 1) % QUESTIONS;
            continue;
        }
        if (wire.fault == RESTART && strikes(&q.request))
            return false;
        wire.first = (wire.first + 1) % QUESTIONS;
        wire.count--;
        int error = answer(&q.request, &a);
        q.cb(q.arg, error ? NULL : &a, error);
    }
    return true;
}

/* ---- the daemon ---- */

static void end_daemon(void)
{
    dv_hardware_link_free(NULL);
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++)
        free(node->gpus[i].facts);
    dv_store_close(node->store);
    dv_snapshot_free(node->snapshot);
    dv_layouts_free(node->layouts);
    dv_mps_free(node->mps);
    free(node);
    node = NULL;
}

static void on_first(void *arg, const struct dv_worker_reply *reply, int error)
{
}

/* As far as its first inventory. */
static void start_daemon(void)
{
    struct dv_err err = {0};
    dv_cleanup(dv_str_done) struct dv_str note = {0};
    node = calloc(1, sizeof *node);
    assert_non_null(node);
    node->config.state_dir = directory;
    assert_int_equal(dv_store_open(directory, &node->store, &note, &err), 0);
    assert_int_equal(dv_snapshot_new(&node->snapshot), 0);
    assert_int_equal(dv_layouts_new(&node->layouts), 0);
    assert_int_equal(dv_mps_new(&node->mps), 0);
    node->driver.gpus = 2;
    node->ready = true;
    enum fault later = wire.fault;
    wire.fault = NONE;
    for (uint32_t i = 0; i < 2; i++)
        assert_int_equal(dv_inventory_look(node, i), 0);
    assert_int_equal(dv_hardware_link_ask(NULL, &(struct dv_worker_request){.op = DV_WORKER_EVENTS},
                                          on_first, node),
                     0);
    answer_all();
    wire.fault = later;
    dv_layouts_restore(node);
}

static void run(void)
{
    for (int i = 0; i < ROUNDS; i++) {
        if (!answer_all()) {
            end_daemon();
            start_daemon();
            continue;
        }
        dv_mps_tick(node, LATER);
        dv_reconcile_tick(node, LATER);
        if (!wire.count && dv_layouts_gpu_is_still(node, 0) && dv_layouts_gpu_is_still(node, 1))
            return;
        if (node->layouts->gpu[0].state == DV_CHANGE_DRAINING && !wire.count)
            return;
    }
    fail_msg("it does not end: %s", node->layouts->gpu[0].detail);
}

static int apply(const char *text, enum dv_layouts_when when)
{
    struct dv_layouts_plans *plans = calloc(1, sizeof *plans);
    struct dv_layouts_request *q = calloc(1, sizeof *q);
    struct dv_err err = {0};
    assert_true(plans && q);
    snprintf(q->name, sizeof q->name, "test.yaml");
    q->text = (char *)(uintptr_t)text;
    q->len = text ? strlen(text) : 0;
    q->when = when;
    int r = dv_layouts_apply(node, q, plans, &err);
    if (r != DV_LAYOUTS_DONE && r != DV_LAYOUTS_UNDER_WAY && r != DV_LAYOUTS_IN_USE)
        fail_msg("apply: %d %s", r, err.msg);
    dv_layouts_plans_done(plans);
    free(plans);
    free(q);
    return r;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* "mig 1g.10gb:governed/0" and so on for each device of GPU 0, sorted; where they lie is free. */
static void shape(char ret[600])
{
    char one[DV_LAYOUT_DEVICES_MAX][64];
    size_t n = 0, len = 0;
    for (size_t i = 0; i < node->snapshot->n_devices && n < DV_LAYOUT_DEVICES_MAX; i++) {
        const struct dv_device *d = &node->snapshot->devices[i];
        if (d->gpu == 0)
            snprintf(one[n++], 64, " %.31s:%s/%u", d->profile, dv_device_mode_name(d->layout),
                     d->replicas);
    }
    qsort(one, n, sizeof one[0], by_text);
    bool mig = dv_snapshot_gpu(node->snapshot, 0)->mig_enabled;
    len = (size_t)snprintf(ret, 600, mig ? "mig" : "whole");
    for (size_t i = 0; i < n && len < 530; i++)
        len += (size_t)snprintf(ret + len, 600 - len, "%s", one[i]);
}

static void begin(void)
{
    memset(&wire, 0, sizeof wire);
    snprintf(directory, sizeof directory, "/tmp/divvy-reconcile-XXXXXX");
    assert_non_null(mkdtemp(directory));
    assert_int_equal(dv_dry_actuator_new(dv_mig_geometry_find("A100-80GB"), 2, &wire.gpus), 0);
    start_daemon();
    run();
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    return remove(path);
}

static void finish(void)
{
    end_daemon();
    dv_actuator_free(wire.gpus);
    assert_int_equal(nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static enum dv_change_state state_of(uint32_t gpu)
{
    return node->layouts->gpu[gpu].state;
}

/* ---- the changes ---- */

#define LAYOUT(what) "apiVersion: divvy/v1\nkind: Layout\ngpus:\n  - " what "\n"

static const struct {
    const char *name, *from, *to;
} changes[] = {
    {"whole to MIG", LAYOUT("{gpu: 0, mode: governed}"),
     LAYOUT("{gpu: 0, mig: [1g.10gb, {profile: 3g.40gb, mode: governed}]}")},
    {"MIG to MIG", LAYOUT("{gpu: 0, mig: [1g.10gb, 3g.40gb]}"),
     LAYOUT("{gpu: 0, mig: [{profile: 1g.10gb, mode: exclusive}, 2g.20gb, 2g.20gb]}")},
    {"compute instances", LAYOUT("{gpu: 0, mig: [3g.40gb]}"),
     LAYOUT("{gpu: 0, mig: [1c.3g.40gb, {profile: 2c.3g.40gb, mode: governed}]}")},
    {"MIG to whole", LAYOUT("{gpu: 0, mig: [1g.10gb, 1c.3g.40gb]}"),
     LAYOUT("{gpu: 0, mode: exclusive}")},
    {"governed to MPS", LAYOUT("{gpu: 0, mode: governed}"),
     LAYOUT("{gpu: 0, mode: mps, replicas: 4}")},
    {"MPS to time-slices", LAYOUT("{gpu: 0, mode: mps}"),
     LAYOUT("{gpu: 0, mode: timeslice, replicas: 3, timeslice: short}")},
    {"MPS to MIG with MPS inside", LAYOUT("{gpu: 0, mode: mps}"),
     LAYOUT("{gpu: 0, mig: [{profile: 3g.40gb, mode: mps, replicas: 2}]}")},
};

/* Without a fault: what it looks like, before and after. */
static void learn(size_t i, char ret_old[600], char ret_new[600])
{
    begin();
    apply(changes[i].from, DV_LAYOUTS_IDLE);
    run();
    assert_int_equal(state_of(0), DV_CHANGE_SETTLED);
    shape(ret_old);
    apply(changes[i].to, DV_LAYOUTS_IDLE);
    run();
    assert_int_equal(state_of(0), DV_CHANGE_SETTLED);
    shape(ret_new);
    assert_string_not_equal(ret_old, ret_new);
    finish();
}

/* undo: it is the way back by undo that is struck. False: the change had no question number `at`.
 */
static bool one(size_t i, enum fault fault, uint32_t at, bool undo, const char *old,
                const char *new)
{
    char end[600];
    begin();
    apply(undo ? changes[i].to : changes[i].from, DV_LAYOUTS_IDLE);
    run();
    if (undo) {
        apply(changes[i].from, DV_LAYOUTS_IDLE);
        run();
    }
    wire.fault = fault;
    wire.at = at;
    apply(undo ? NULL : changes[i].to, DV_LAYOUTS_IDLE);
    run();
    shape(end);
    bool failed = state_of(0) == DV_CHANGE_FAILED;
    if ((state_of(0) != DV_CHANGE_SETTLED && !failed) || strcmp(end, failed ? old : new) != 0 ||
        (failed && fault != ERROR) || state_of(1) != DV_CHANGE_SETTLED)
        fail_msg("%s, %s at %u%s: %s, \"%s\": %s", changes[i].name, fault_names[fault], at,
                 undo ? ", undone" : "", dv_layouts_state_name(state_of(0)), end,
                 node->layouts->gpu[0].detail);
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    if (dv_layouts_differs(node, 0, &text))
        fail_msg("%s", dv_str_get(&text));
    bool struck = wire.struck;
    /* Whatever happened, it can be asked for again. */
    wire.fault = NONE;
    apply(changes[i].to, DV_LAYOUTS_IDLE);
    run();
    shape(end);
    assert_string_equal(end, new);
    finish();
    return struck;
}

static void test_every_question(void **state)
{
    char old[600], new[600];
    for (size_t i = 0; i < DV_ARRAY_SIZE(changes); i++) {
        learn(i, old, new);
        for (int fault = ERROR; fault < FAULTS; fault++)
            for (int undo = 0; undo < 2; undo++) {
                uint32_t at = 0;
                while (one(i, (enum fault)fault, at, undo, old, new))
                    at++;
                assert_true(at < 64);
            }
    }
}

/* An error, and on the way back another: it stops there, and an apply gets it out. */
static void test_way_back(void **state)
{
    for (uint32_t at = 0; at < 3; at++) {
        begin();
        apply(changes[0].from, DV_LAYOUTS_IDLE);
        run();
        wire.fault = ERROR;
        wire.at = at;
        apply(changes[0].to, DV_LAYOUTS_IDLE);
        while (!wire.struck || state_of(0) != DV_CHANGE_ROLLING_BACK) {
            if (dv_layouts_gpu_is_still(node, 0))
                break;
            struct question q = wire.queue[wire.first];
            static struct dv_worker_reply a;
            wire.first = (wire.first + 1) % QUESTIONS;
            wire.count--;
            q.cb(q.arg, answer(&q.request, &a) ? NULL : &a, 0);
        }
        wire.struck = false;
        wire.asked = 0;
        wire.at = 0;
        run();
        assert_int_equal(state_of(0), DV_CHANGE_FAILED);
        assert_string_not_equal(node->layouts->gpu[0].detail, "");
        wire.fault = RESTART; /* a restart in the middle of nothing tries the way back again */
        wire.struck = false;
        end_daemon();
        wire.fault = NONE;
        start_daemon();
        run();
        char end[600];
        shape(end);
        assert_string_equal(end, "whole :governed/0");
        assert_int_equal(state_of(0), DV_CHANGE_FAILED);
        apply(changes[0].to, DV_LAYOUTS_IDLE);
        run();
        assert_int_equal(state_of(0), DV_CHANGE_SETTLED);
        finish();
    }
}

/* Nothing is done to a GPU, and nobody is let onto it, while an MPS daemon of it still ends. */
static void test_mps_that_ends_late(void **state)
{
    for (int shared = 0; shared < 2; shared++) {
        begin();
        apply(changes[6].from, DV_LAYOUTS_IDLE);
        run();
        assert_true(wire.mps[0]);
        wire.late = 20;
        apply(shared ? changes[5].to : changes[1].from, DV_LAYOUTS_IDLE);
        run();
        assert_false(wire.mps[0]);
        assert_int_equal(wire.late, 0);
        assert_int_equal(state_of(0), DV_CHANGE_SETTLED);
        finish();
    }
}

static void test_mps_that_never_starts(void **state)
{
    char end[600];
    begin();
    apply(changes[4].from, DV_LAYOUTS_IDLE);
    run();
    wire.mps_broken = true;
    apply(changes[4].to, DV_LAYOUTS_IDLE);
    run();
    shape(end);
    assert_string_equal(end, "whole :governed/0");
    assert_int_equal(state_of(0), DV_CHANGE_FAILED);
    assert_non_null(strstr(node->layouts->gpu[0].detail, "no daemon here"));
    finish();
}

static void grant(const char *device, uint64_t id)
{
    struct dv_event e = {.kind = DV_EVENT_SLICE_GRANTED,
                         .slice = {.id = id,
                                   .mode = DV_MODE_GOVERNED,
                                   .memory_bytes = DV_GIB,
                                   .compute = 100,
                                   .memory_wall = DV_WALL_COOPERATIVE,
                                   .compute_wall = DV_WALL_COOPERATIVE}};
    snprintf(e.slice.tenant, sizeof e.slice.tenant, "ann");
    snprintf(e.slice.device, sizeof e.slice.device, "%s", device);
    assert_int_equal(dv_node_apply(node, &e), 0);
}

static void release(uint64_t id)
{
    struct dv_event e = {.kind = DV_EVENT_SLICE_RELEASED, .id = id};
    assert_int_equal(dv_node_apply(node, &e), 0);
}

/* Somebody in the way: it waits; given up, it is as before; or they leave, and it goes on. */
static void test_waits(void **state)
{
    char old[600], end[600];
    begin();
    apply(changes[0].from, DV_LAYOUTS_IDLE);
    run();
    shape(old);
    const char *uuid = dv_dry_actuator_uuid(wire.gpus, 0);
    grant(uuid, 7);
    uint64_t generation = node->layouts->generation;
    assert_int_equal(apply(changes[0].to, DV_LAYOUTS_IDLE), DV_LAYOUTS_IN_USE);
    assert_int_equal(node->layouts->generation, generation);
    assert_int_equal(apply(changes[0].to, DV_LAYOUTS_WAIT), DV_LAYOUTS_UNDER_WAY);
    run();
    assert_int_equal(state_of(0), DV_CHANGE_DRAINING);
    assert_true(dv_snapshot_device(node->snapshot, uuid)->draining);
    assert_int_equal(dv_dry_actuator_steps(wire.gpus), 0);
    assert_int_equal(apply(NULL, DV_LAYOUTS_IDLE), DV_LAYOUTS_DONE); /* given up */
    shape(end);
    assert_string_equal(end, old);
    assert_false(dv_snapshot_device(node->snapshot, uuid)->draining);
    apply(changes[0].to, DV_LAYOUTS_WAIT);
    run();
    release(7);
    run();
    assert_int_equal(state_of(0), DV_CHANGE_SETTLED);
    assert_true(dv_snapshot_gpu(node->snapshot, 0)->mig_enabled);
    finish();
}

/* It goes in the middle of a change: the node is not busy for ever; it comes back: it goes on. */
static void test_gpu_that_goes(void **state)
{
    begin();
    apply(LAYOUT("{gpu: 1, mode: governed}"), DV_LAYOUTS_IDLE);
    run();
    apply(LAYOUT("{gpu: 1, mig: [3g.40gb, 3g.40gb]}"), DV_LAYOUTS_IDLE);
    assert_int_equal(state_of(1), DV_CHANGE_CHANGING);
    dv_layouts_gone(node, 1);
    assert_int_equal(dv_layouts_state(node), DV_CHANGE_SETTLED);
    answer_all(); /* the step that was under way */
    assert_int_equal(apply(LAYOUT("{gpu: 0, mode: governed}"), DV_LAYOUTS_IDLE), DV_LAYOUTS_DONE);
    finish();

    begin();
    apply(LAYOUT("{gpu: 1, mig: [3g.40gb, 3g.40gb]}"), DV_LAYOUTS_IDLE);
    dv_layouts_gone(node, 1);
    answer_all();
    assert_int_equal(state_of(1), DV_CHANGE_SETTLED);
    dv_layouts_arrived(node, 1);
    run();
    assert_int_equal(state_of(1), DV_CHANGE_SETTLED);
    struct dv_plan_gpu now;
    dv_dry_actuator_gpu(wire.gpus, 1, &now);
    assert_int_equal(now.n_instances, 2);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_question),
        cmocka_unit_test(test_way_back),
        cmocka_unit_test(test_mps_that_never_starts),
        cmocka_unit_test(test_mps_that_ends_late),
        cmocka_unit_test(test_waits),
        cmocka_unit_test(test_gpu_that_goes),
    };
    dv_log_set_level(DV_LOG_ERROR); /* there are failures by the thousand */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
