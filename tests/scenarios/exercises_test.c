/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exercises that practitioners set each other about sharing GPUs, answered by what divvy decides
 * with: admission, MIG planning, the parts of a device, the memory of the virtual GPU. (The waste
 * of a fleet in money is in core/account/bill_test.c, the hostile tenant in share_test.c.)
 */
#include "engine/memory.h"
#include "model/gpu_model.h"
#include "policy/admit.h"
#include "policy/mig_plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define GPUS 8
#define DEVICES 64
#define SLICES 160

struct node {
    struct dv_gpu gpus[GPUS];
    struct dv_device devices[DEVICES];
    struct dv_slice slices[SLICES];
    struct dv_snapshot s;
};

static struct dv_device *add_device(struct node *n, uint32_t gpu, uint64_t bytes, uint32_t compute,
                                    enum dv_mode layout, uint32_t replicas)
{
    struct dv_device *d = &n->devices[n->s.n_devices];
    *d = (struct dv_device){.gpu = gpu,
                            .memory_bytes = bytes,
                            .compute = compute,
                            .layout = layout,
                            .mode = layout,
                            .replicas = replicas};
    snprintf(d->uuid, DV_UUID_SIZE, "DEV-%08zu", (size_t)n->s.n_devices);
    n->s.n_devices++;
    n->s.devices = n->devices;
    n->s.slices = n->slices;
    return d;
}

static void add_gpu(struct node *n, const struct dv_gpu_model *m)
{
    struct dv_gpu *g = &n->gpus[n->s.n_gpus];
    *g = (struct dv_gpu){.index = (uint32_t)n->s.n_gpus,
                         .usable_bytes = dv_gpu_model_usable(m),
                         .context_bytes = m->context_bytes,
                         .health = DV_GPU_HEALTH_OK};
    snprintf(g->uuid, DV_UUID_SIZE, "GPU-%08zu", (size_t)n->s.n_gpus);
    snprintf(g->model, DV_GPU_NAME_SIZE, "%s", m->product);
    n->s.n_gpus++;
    n->s.gpus = n->gpus;
}

static void add_whole_gpus(struct node *n, const char *model, uint32_t count, enum dv_mode layout,
                           uint32_t replicas)
{
    const struct dv_gpu_model *m = dv_gpu_model_find(model, NULL);
    assert_non_null(m);
    for (uint32_t i = 0; i < count; i++) {
        add_gpu(n, m);
        add_device(n, i, dv_gpu_model_usable(m), DV_COMPUTE_FULL, layout, replicas);
    }
}

/* Claims alike, one after the other, until one has to wait. Returns how many were let in. */
static uint32_t fill(struct node *n, struct dv_claim claim, struct dv_verdict *ret)
{
    uint32_t granted = 0;
    for (;; granted++) {
        struct dv_admission a;
        claim.id = n->s.n_slices + 1;
        claim.wait = true;
        snprintf(claim.gpu.text, sizeof claim.gpu.text, "any");
        snprintf(claim.tenant, sizeof claim.tenant, "t%u", (unsigned)claim.id);
        dv_admit_claim(&n->s, &claim, &a);
        *ret = a.verdict;
        if (a.verdict.result != DV_VERDICT_GRANTED)
            return granted;
        assert_in_range(n->s.n_slices, 0, SLICES - 1);
        n->slices[n->s.n_slices++] = dv_admit_slice(&claim, &a, 0);
        for (uint32_t i = 0; i < n->s.n_devices; i++)
            if (!strcmp(n->devices[i].uuid, a.device))
                n->devices[i].mode = a.mode;
    }
}

static const struct dv_mig_geometry *cut(const char *model, const char *list,
                                         struct dv_mig_plan *ret)
{
    const struct dv_gpu_model *m = dv_gpu_model_find(model, NULL);
    struct dv_mig_instance want[64];
    int n = dv_mig_plan_parse(m->mig, list, want, NULL);
    assert_true(n > 0);
    assert_int_equal(dv_mig_plan_find(m->mig, NULL, 0, want, (size_t)n, ret), 0);
    return m->mig;
}

/*
 * The packing bound n <= min(memory, compute). Replicas of 6 GB (2 GB of INT8 weights, 4 GB of
 * cache) that use 12 % of an 80 GB A100: memory has room for 13, compute for 8, compute binds.
 * Seven MIG instances of 10 GB hold 7.
 */
static void test_packing_bound(void **state)
{
    static struct node n;
    struct dv_verdict why;
    struct dv_claim replica = {
        .mode = DV_MODE_GOVERNED, .memory_bytes = 6 * DV_GIB, .compute = 840};
    memset(&n, 0, sizeof n);
    add_whole_gpus(&n, "A100-80GB", 1, DV_MODE_AUTO, 0);
    assert_int_equal(fill(&n, replica, &why), 8);
    assert_int_equal(why.reason, DV_REASON_NO_COMPUTE);
    memset(&n, 0, sizeof n);
    add_whole_gpus(&n, "A100-80GB", 1, DV_MODE_AUTO, 0);
    replica.compute = 70; /* as if compute were no matter */
    assert_int_equal(fill(&n, replica, &why), 13);
    assert_int_equal(why.reason, DV_REASON_NO_MEMORY);

    struct dv_mig_plan plan;
    struct dv_err err = {{0}};
    const struct dv_mig_geometry *g = cut("A100-80GB", "7x1g.10gb", &plan);
    const struct dv_mig_profile *p = dv_mig_profile_find(g, "1g.10gb", &err);
    assert_int_equal(plan.rule, DV_MIG_OK);
    assert_in_range(p->memory_bytes, 6 * DV_GIB, 12 * DV_GIB - 1); /* one replica each, not two */
    cut("A100-80GB", "8x1g.10gb", &plan);
    assert_int_not_equal(plan.rule, DV_MIG_OK);
}

/*
 * 120 students, 8 A100s. A whole card each serves 8 at once, so all have had theirs after 15 turns;
 * 15 time-slices per card take all of them together; 1g.10gb instances serve 56 at once.
 */
static void test_course(void **state)
{
    enum { STUDENTS = 120 };
    static struct node n;
    struct dv_verdict why;
    struct dv_mig_plan plan;
    memset(&n, 0, sizeof n);
    add_whole_gpus(&n, "A100-80GB", GPUS, DV_MODE_AUTO, 0);
    uint32_t whole = fill(&n, (struct dv_claim){.mode = DV_MODE_EXCLUSIVE}, &why);
    assert_int_equal(whole, 8);
    assert_int_equal(why.result, DV_VERDICT_QUEUED);
    assert_int_equal((STUDENTS + whole - 1) / whole, 15);

    memset(&n, 0, sizeof n);
    add_whole_gpus(&n, "A100-80GB", GPUS, DV_MODE_TIMESLICE, 15);
    assert_int_equal(fill(&n, (struct dv_claim){.mode = DV_MODE_TIMESLICE}, &why), STUDENTS);
    assert_int_equal(why.reason, DV_REASON_FULL);
    assert_in_range(n.slices[0].memory_bytes, 5 * DV_GIB, 6 * DV_GIB);

    memset(&n, 0, sizeof n);
    const struct dv_gpu_model *m = dv_gpu_model_find("A100-80GB", NULL);
    const struct dv_mig_geometry *g = cut("A100-80GB", "7x1g.10gb", &plan);
    for (uint32_t gpu = 0; gpu < GPUS; gpu++) {
        add_gpu(&n, m);
        for (uint32_t i = 0; i < plan.n; i++) {
            const struct dv_mig_profile *p = &g->profiles[plan.instances[i].profile];
            struct dv_device *d =
                add_device(&n, gpu, p->memory_bytes, DV_COMPUTE_FULL / g->slices * p->slices,
                           DV_MODE_EXCLUSIVE, 0);
            d->mig = true;
            snprintf(d->profile, sizeof d->profile, "%s", p->name);
        }
    }
    assert_int_equal(fill(&n, (struct dv_claim){.mode = DV_MODE_EXCLUSIVE}, &why), 56);
    assert_int_equal(why.result, DV_VERDICT_QUEUED);
}

/*
 * A T4 of 16 GB in 8 time-slices with 7 tenants: about 2 GB each is safe. The eighth, who wants
 * more than there is, gets an error; the others live on.
 */
static void test_t4(void **state)
{
    static struct node n;
    struct dv_verdict why;
    struct dv_memory *memory = NULL;
    struct dv_memory_usage usage;
    uint64_t ids[7], id;
    memset(&n, 0, sizeof n);
    add_whole_gpus(&n, "T4", 1, DV_MODE_TIMESLICE, 8);
    struct dv_device_part part = dv_device_part(&n.devices[0], 8);
    assert_in_range(part.memory_bytes, 1700 * DV_MIB, 2048 * DV_MIB);
    assert_true(8 * part.memory_bytes <= n.devices[0].memory_bytes);
    assert_int_equal(fill(&n, (struct dv_claim){.mode = DV_MODE_TIMESLICE}, &why), 8);
    n.s.n_slices = 7;
    /* Said beforehand, it is not let in: what it asks for is not there. */
    assert_int_equal(
        fill(&n, (struct dv_claim){.mode = DV_MODE_TIMESLICE, .memory_bytes = 4 * DV_GIB}, &why),
        0);
    assert_int_equal(why.result, DV_VERDICT_QUEUED);
    assert_int_equal(why.reason, DV_REASON_NO_MEMORY);
    /* Not said, its allocation fails, in its process alone. */
    struct dv_memory_config config = {
        .capacity = n.devices[0].memory_bytes, .allocations_max = 64, .owners_max = 64};
    assert_int_equal(dv_memory_new(&config, &memory), 0);
    for (uint64_t i = 0; i < 7; i++)
        assert_int_equal(dv_memory_alloc(memory, 0, i, part.memory_bytes / 2, &ids[i]), 0);
    for (uint64_t i = 0; i < 7; i++) /* they have not yet taken all that they may */
        assert_int_equal(dv_memory_alloc(memory, 0, i, part.memory_bytes / 4, &id), 0);
    assert_int_equal(dv_memory_alloc(memory, 0, 7, 6 * DV_GIB, &id), DV_MEMORY_FULL);
    for (uint64_t i = 0; i < 7; i++) {
        dv_memory_owner(memory, i, &usage);
        assert_int_equal(usage.count, 2);
        assert_int_equal(dv_memory_alloc(memory, 0, i, part.memory_bytes / 8, &id), 0);
        assert_int_equal(dv_memory_release(memory, i, ids[i]), 0);
    }
    dv_memory_free(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packing_bound),
        cmocka_unit_test(test_course),
        cmocka_unit_test(test_t4),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
