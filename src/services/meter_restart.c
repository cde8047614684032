/* SPDX-License-Identifier: Apache-2.0 */
#include "meter_restart.h"

#include "account/books.h"
#include "meter.h"
#include "meter_ended.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOST_MAX 1024u
#define CHECKPOINTS_MAX (2 * DV_NODE_MEMBERS_MAX)

/* Who pays, and where it ran. */
struct payer {
    struct dv_account account;
    char device[DV_UUID_SIZE];
    uint32_t gpu;
};

struct dv_meter_checkpoint {
    struct dv_ledger_checkpoint row;
    bool settled; /* it has come back, or the driver has told what it ran until its end */
    bool asked;   /* while it lives */
    bool asked_end;
    bool known;
    struct payer payer; /* where known */
};

struct dv_meter_lost_claim {
    uint64_t claim;
    struct payer payer;
};

void dv_meter_restart_lost(struct dv_node *node, struct dv_meter_restart *r,
                           const struct dv_store_claim *row)
{
    const struct dv_device *d = dv_snapshot_device(node->snapshot, row->slice.device);
    const struct dv_gpu *g = d ? dv_snapshot_gpu(node->snapshot, d->gpu) : NULL;
    if (!row->granted || !g || r->n_lost == LOST_MAX)
        return;
    struct dv_meter_lost_claim *more = realloc(r->lost, (r->n_lost + 1) * sizeof *more);
    if (!more)
        return;
    r->lost = more;
    struct dv_meter_lost_claim *l = &more[r->n_lost++];
    *l = (struct dv_meter_lost_claim){.claim = row->claim.id, .payer.gpu = d->gpu};
    struct dv_account *a = &l->payer.account;
    a->mode = row->slice.mode;
    a->tier = row->slice.tier;
    a->source = a->mode == DV_MODE_TIMESLICE && !d->mig ? DV_SOURCE_DRIVER : DV_SOURCE_PROCESS;
    dv_str_copy(a->gpu, sizeof a->gpu, g->uuid);
    dv_str_copy(a->model, sizeof a->model, g->model);
    dv_str_copy(a->profile, sizeof a->profile, d->profile);
    dv_str_copy(a->tenant, sizeof a->tenant, row->slice.tenant);
    dv_str_copy(l->payer.device, sizeof l->payer.device, d->uuid);
}

static void on_checkpoint(void *arg, const struct dv_ledger_checkpoint *row)
{
    struct dv_meter_restart *r = arg;
    if (r->n == CHECKPOINTS_MAX)
        return;
    struct dv_meter_checkpoint *more = realloc(r->checkpoints, (r->n + 1) * sizeof *more);
    if (!more)
        return;
    r->checkpoints = more;
    more[r->n++] = (struct dv_meter_checkpoint){.row = *row};
}

static void find_payer(struct dv_node *node, const struct dv_meter_restart *r,
                       struct dv_meter_checkpoint *c)
{
    const struct dv_holding *h = dv_node_holding(node, c->row.claim);
    if (h && dv_books_account(dv_meter_books(node), c->row.claim, &c->payer.account) == 0) {
        c->known = true;
        c->payer.gpu = dv_node_gpu_of(node, h->device_uuid);
        memcpy(c->payer.device, h->device_uuid, sizeof c->payer.device);
    }
    for (size_t i = 0; !c->known && i < r->n_lost; i++) {
        if (r->lost[i].claim != c->row.claim)
            continue;
        c->known = true;
        c->payer = r->lost[i].payer;
    }
}

int dv_meter_restart_load(struct dv_node *node, struct dv_meter_restart *r, struct dv_err *err)
{
    int result = node->ledger ? dv_ledger_checkpoints(node->ledger, on_checkpoint, r, err) : 0;
    for (size_t i = 0; i < r->n; i++)
        find_payer(node, r, &r->checkpoints[i]);
    free(r->lost);
    r->lost = NULL;
    r->n_lost = 0;
    return result;
}

static bool lives(const struct dv_meter_checkpoint *c)
{
    struct dv_proc_id id = {c->row.pid, c->row.start};
    return dv_proc_alive(&id);
}

bool dv_meter_restart_awaits(const struct dv_meter_restart *r)
{
    for (size_t i = 0; i < r->n; i++)
        if (!r->checkpoints[i].settled && r->checkpoints[i].known)
            return true;
    return false;
}

uint64_t dv_meter_restart_returned(struct dv_meter_restart *r, uint64_t claim,
                                   const struct dv_proc_id *id, uint64_t counter_ns,
                                   uint64_t *ret_charged_ns)
{
    *ret_charged_ns = 0;
    for (size_t i = 0; i < r->n; i++) {
        struct dv_meter_checkpoint *c = &r->checkpoints[i];
        if (c->row.claim != claim || c->row.pid != id->pid || c->row.start != id->start)
            continue;
        if (c->settled)
            return 0;
        c->settled = true;
        *ret_charged_ns = c->row.busy_ns;
        return counter_ns > c->row.counter_ns ? counter_ns - c->row.counter_ns : 0;
    }
    return counter_ns; /* it came after the last flush: nothing of it was charged */
}

size_t dv_meter_restart_open(const struct dv_meter_restart *r, struct dv_ledger_checkpoint *ret)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++)
        if (!r->checkpoints[i].settled && r->checkpoints[i].known)
            ret[n++] = r->checkpoints[i].row;
    return n;
}

void dv_meter_restart_charged(struct dv_meter_restart *r, uint64_t claim,
                              const struct dv_proc_id *id, uint64_t ns)
{
    for (size_t i = 0; i < r->n; i++) {
        struct dv_meter_checkpoint *c = &r->checkpoints[i];
        if (c->row.claim == claim && c->row.pid == id->pid && c->row.start == id->start)
            c->row.busy_ns += ns;
    }
}

static bool ask(struct dv_node *node, const struct dv_meter_checkpoint *c, bool living)
{
    struct dv_meter_ended q = {.id = {c->row.pid, c->row.start},
                               .claim = c->row.claim,
                               .gpu = c->payer.gpu,
                               .living = living,
                               .account = &c->payer.account,
                               .device = c->payer.device,
                               .charged_ns = c->row.busy_ns};
    return dv_meter_ended_ask(node, &q);
}

void dv_meter_restart_settle(struct dv_node *node, struct dv_meter_restart *r)
{
    for (size_t i = 0; i < r->n; i++) {
        struct dv_meter_checkpoint *c = &r->checkpoints[i];
        bool alive = !c->settled && c->known && lives(c);
        bool sampled = c->payer.account.source == DV_SOURCE_DRIVER;
        if (alive && sampled && !c->asked)
            ask(node, c, true);
        c->asked |= alive;
        if (c->settled || alive || c->asked_end)
            continue;
        c->asked_end = true;
        if (!c->known || !ask(node, c, false))
            c->settled = true;
    }
}

void dv_meter_restart_answered(struct dv_meter_restart *r, uint64_t claim,
                               const struct dv_proc_id *id)
{
    for (size_t i = 0; i < r->n; i++) {
        struct dv_meter_checkpoint *c = &r->checkpoints[i];
        if (c->row.claim == claim && c->row.pid == id->pid && c->row.start == id->start)
            c->settled |= c->asked_end;
    }
}

void dv_meter_restart_done(struct dv_meter_restart *r)
{
    free(r->checkpoints);
    free(r->lost);
}
