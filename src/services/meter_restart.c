/* SPDX-License-Identifier: Apache-2.0 */
#include "meter_restart.h"

#include "meter_ended.h"

#include <stdlib.h>
#include <string.h>

#define CHECKPOINTS_MAX (2 * DV_NODE_MEMBERS_MAX)

struct dv_meter_checkpoint {
    struct dv_ledger_checkpoint row;
    bool settled; /* it has come back, or the driver has told what it ran until its end */
    bool asked;   /* while it lives */
    bool asked_end;
};

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

int dv_meter_restart_load(struct dv_node *node, struct dv_meter_restart *r, struct dv_err *err)
{
    return node->ledger ? dv_ledger_checkpoints(node->ledger, on_checkpoint, r, err) : 0;
}

static bool lives(const struct dv_meter_checkpoint *c)
{
    struct dv_proc_id id = {c->row.pid, c->row.start};
    return dv_proc_alive(&id);
}

bool dv_meter_restart_awaits(const struct dv_meter_restart *r)
{
    for (size_t i = 0; i < r->n; i++)
        if (!r->checkpoints[i].settled)
            return true;
    return false;
}

static struct dv_meter_checkpoint *find(struct dv_meter_restart *r, uint64_t claim,
                                        const struct dv_proc_id *id)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct dv_ledger_checkpoint *row = &r->checkpoints[i].row;
        if (row->claim == claim && row->pid == id->pid && row->start == id->start)
            return &r->checkpoints[i];
    }
    return NULL;
}

uint64_t dv_meter_restart_returned(struct dv_meter_restart *r, uint64_t claim,
                                   const struct dv_proc_id *id, uint64_t counter_ns,
                                   uint64_t *ret_charged_ns)
{
    struct dv_meter_checkpoint *c = find(r, claim, id);
    *ret_charged_ns = 0;
    if (!c)
        return counter_ns; /* it came after the last flush: nothing of it was charged */
    if (c->settled)
        return 0;
    c->settled = true;
    *ret_charged_ns = c->row.busy_ns;
    return counter_ns > c->row.counter_ns ? counter_ns - c->row.counter_ns : 0;
}

bool dv_meter_restart_expects(struct dv_meter_restart *r, uint64_t claim,
                              const struct dv_proc_id *id)
{
    const struct dv_meter_checkpoint *c = find(r, claim, id);
    return c && !c->settled;
}

size_t dv_meter_restart_open(const struct dv_meter_restart *r, struct dv_ledger_checkpoint *ret)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++)
        if (!r->checkpoints[i].settled)
            ret[n++] = r->checkpoints[i].row;
    return n;
}

bool dv_meter_restart_charged(struct dv_meter_restart *r, uint64_t claim,
                              const struct dv_proc_id *id, uint64_t ns)
{
    struct dv_meter_checkpoint *c = find(r, claim, id);
    if (c)
        c->row.busy_ns += ns;
    return c != NULL;
}

/* Its death may be known here before it is heard of as a member's. */
static bool is_member(const struct dv_node *node, const struct dv_ledger_checkpoint *row)
{
    for (const struct dv_member *m = node->members; m; m = m->next)
        if (m->id.pid == row->pid && m->id.start == row->start)
            return true;
    return false;
}

static bool ask(struct dv_node *node, const struct dv_meter_checkpoint *c, bool living)
{
    return dv_meter_ended_ask(node, &(struct dv_meter_ended){.row = c->row, .living = living});
}

void dv_meter_restart_settle(struct dv_node *node, struct dv_meter_restart *r)
{
    for (size_t i = 0; i < r->n; i++) {
        struct dv_meter_checkpoint *c = &r->checkpoints[i];
        bool alive = !c->settled && lives(c);
        if (alive && c->row.account.source == DV_SOURCE_DRIVER && !c->asked)
            ask(node, c, true);
        c->asked |= alive;
        if (c->settled || alive || c->asked_end || is_member(node, &c->row))
            continue;
        c->asked_end = true;
        c->settled = !ask(node, c, false);
    }
}

void dv_meter_restart_answered(struct dv_meter_restart *r, uint64_t claim,
                               const struct dv_proc_id *id)
{
    struct dv_meter_checkpoint *c = find(r, claim, id);
    if (c)
        c->settled |= c->asked_end;
}

void dv_meter_restart_done(struct dv_meter_restart *r)
{
    free(r->checkpoints);
}
