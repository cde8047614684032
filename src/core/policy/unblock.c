/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/unblock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* One device, and who would have to leave it. */
struct search {
    const struct dv_snapshot *s;
    const struct dv_claim *claim;
    struct dv_held *held; /* of each device, as it is */
    bool *barred;         /* all but the one that is looked at */
    const struct dv_slice **on;
    bool *leaves;
    size_t n, device;
};

static void search_done(struct search *x)
{
    free(x->held);
    free(x->barred);
    free(x->on);
    free(x->leaves);
}

static int search_init(struct search *x)
{
    x->held = calloc(x->s->n_devices + 1, sizeof *x->held);
    x->barred = calloc(x->s->n_devices + 1, sizeof *x->barred);
    x->on = calloc(x->s->n_slices + 1, sizeof(void *));
    x->leaves = calloc(x->s->n_slices + 1, sizeof *x->leaves);
    if (!x->held || !x->barred || !x->on || !x->leaves)
        return -ENOMEM;
    for (size_t i = 0; i < x->s->n_devices; i++) {
        x->held[i] = dv_snapshot_held(x->s, x->s->devices[i].uuid);
        x->barred[i] = true;
    }
    return 0;
}

static bool passes(const struct search *x, const struct dv_snapshot *s, const struct dv_held *held)
{
    struct dv_admission a;
    dv_admit_claim_except(s, x->claim, &(struct dv_admit_view){held, x->barred}, &a);
    return a.verdict.result == DV_VERDICT_GRANTED ||
           (a.verdict.result == DV_VERDICT_QUEUED && a.verdict.reason == DV_REASON_PREPARING);
}

/* Would there be room without those marked, some of whom stay? */
static bool some_suffice(struct search *x)
{
    struct dv_held *h = &x->held[x->device], before = *h;
    for (size_t i = 0; i < x->n; i++) {
        if (!x->leaves[i])
            continue;
        h->memory_bytes -= x->on[i]->memory_bytes;
        h->compute -= x->on[i]->compute;
        h->slices--;
        h->alone = h->alone && !x->on[i]->alone;
    }
    bool ok = passes(x, x->s, x->held);
    *h = before;
    return ok;
}

/* Without any of them: the device may then take another mode. 1, 0, -ENOMEM. */
static int all_suffice(struct search *x)
{
    dv_cleanup(dv_snapshot_freep) struct dv_snapshot *without = NULL;
    int r = dv_snapshot_dup(x->s, &without);
    for (size_t i = 0; r == 0 && i < x->n; i++) {
        struct dv_event e = {.kind = DV_EVENT_SLICE_RELEASED, .id = x->on[i]->id};
        r = dv_event_apply(without, &e, NULL);
    }
    return r ? r : passes(x, without, NULL);
}

static int by_size(const void *a, const void *b)
{
    const struct dv_slice *x = *(const struct dv_slice *const *)a;
    const struct dv_slice *y = *(const struct dv_slice *const *)b;
    if (x->memory_bytes != y->memory_bytes)
        return x->memory_bytes < y->memory_bytes ? -1 : 1;
    if (x->compute != y->compute)
        return x->compute < y->compute ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static void take_device(struct search *x, size_t device)
{
    x->device = device;
    x->n = 0;
    for (size_t i = 0; i < x->s->n_slices; i++)
        if (!strcmp(x->s->slices[i].device, x->s->devices[device].uuid))
            x->on[x->n++] = &x->s->slices[i];
    qsort(x->on, x->n, sizeof(void *), by_size);
    memset(x->leaves, 0, (x->n + 1) * sizeof *x->leaves);
}

/* Marks who has to leave the device, small ones first in `on`. 1: they suffice; 0: nobody would;
 * -ENOMEM. */
static int mark(struct search *x)
{
    if (some_suffice(x))
        return 1;
    for (size_t i = 0; i < x->n; i++) {
        x->leaves[i] = true;
        if (some_suffice(x))
            return 1;
        x->leaves[i] = false;
    }
    size_t left = x->n;
    bool enough = false;
    while (left > 0 && !enough) {
        x->leaves[--left] = true;
        enough = some_suffice(x);
    }
    int r = enough ? 1 : x->n ? all_suffice(x) : 0;
    for (size_t i = left; r > 0 && i < x->n; i++) { /* who was taken for nothing stays */
        x->leaves[i] = false;
        x->leaves[i] = !some_suffice(x);
    }
    return r;
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void write_down(const struct search *x, struct dv_unblock *ret)
{
    *ret = (struct dv_unblock){0};
    memcpy(ret->device, x->s->devices[x->device].uuid, sizeof ret->device);
    for (size_t i = 0; i < x->n; i++) {
        if (!x->leaves[i])
            continue;
        if (ret->n < DV_UNBLOCK_MAX)
            ret->slices[ret->n] = x->on[i]->id;
        ret->n++;
        ret->memory_bytes += x->on[i]->memory_bytes;
    }
    qsort(ret->slices, DV_MIN(ret->n, (uint32_t)DV_UNBLOCK_MAX), sizeof *ret->slices, by_id);
}

/* 0, -ENOENT, -ENOMEM. */
static int find(struct search *x, struct dv_unblock *ret)
{
    struct dv_unblock best = {0};
    bool any = false;
    int r = search_init(x);
    for (size_t d = 0; r >= 0 && d < x->s->n_devices; d++) {
        struct dv_unblock u;
        take_device(x, d);
        x->barred[d] = false;
        r = mark(x);
        x->barred[d] = true;
        if (r <= 0)
            continue;
        write_down(x, &u);
        if (!any || u.n < best.n || (u.n == best.n && u.memory_bytes < best.memory_bytes))
            best = u;
        any = true;
    }
    if (r >= 0 && any)
        *ret = best;
    return r < 0 ? r : any ? 0 : -ENOENT;
}

int dv_unblock_find(const struct dv_snapshot *snapshot, uint64_t claim, struct dv_unblock *ret)
{
    struct search x = {snapshot, dv_snapshot_claim(snapshot, claim)};
    int r = x.claim ? find(&x, ret) : -ENOENT;
    search_done(&x);
    return r;
}
