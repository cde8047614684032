/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fed by the meter: per account since the daemon's start, and what tenants had used before that as
 * one account without a GPU, so that a tenant's sum goes on growing over a restart.
 */
#include "books_view.h"

#include "node.h"

#include <stdlib.h>
#include <string.h>

#define ROWS_MAX 16384u

struct row {
    struct dv_account account;
    struct dv_usage used;
    uint64_t reserved_idle_ns;
};

struct dv_books {
    struct row *rows;
    size_t n, room;
};

/* Where busy time in a mode comes from (meter.c). */
static void set_source(struct dv_account *a)
{
    switch (a->mode) {
    case DV_MODE_GOVERNED:
        a->source = DV_SOURCE_LEASES;
        a->quality = DV_QUALITY_EXACT;
        break;
    case DV_MODE_EXCLUSIVE:
        a->source = DV_SOURCE_PROCESS;
        a->quality = DV_QUALITY_EXACT;
        break;
    case DV_MODE_TIMESLICE:
        a->source = DV_SOURCE_DRIVER;
        a->quality = DV_QUALITY_SAMPLED;
        break;
    default:
        a->source = DV_SOURCE_PROCESS;
        a->quality = DV_QUALITY_ESTIMATED;
        break;
    }
}

static bool account_of(const struct dv_holding *h, struct dv_account *ret)
{
    const struct dv_slice *s = dv_node_slice(h);
    const struct dv_device *d = dv_snapshot_device(h->node->snapshot, h->device_uuid);
    const struct dv_gpu *g = d ? dv_snapshot_gpu(h->node->snapshot, d->gpu) : NULL;
    if (!s || !g)
        return false;
    memset(ret, 0, sizeof *ret);
    memcpy(ret->gpu, g->uuid, sizeof ret->gpu);
    memcpy(ret->model, g->model, sizeof ret->model);
    memcpy(ret->profile, d->profile, sizeof ret->profile);
    memcpy(ret->tenant, h->claim.tenant, sizeof ret->tenant);
    ret->mode = s->mode;
    ret->tier = s->tier;
    set_source(ret);
    return true;
}

static struct row *find(struct dv_node *node, const struct dv_account *account)
{
    if (!node->books)
        node->books = calloc(1, sizeof *node->books);
    struct dv_books *b = node->books;
    for (size_t i = 0; b && i < b->n; i++)
        if (dv_account_equal(&b->rows[i].account, account))
            return &b->rows[i];
    if (!b || b->n == ROWS_MAX)
        return NULL;
    if (b->n == b->room) {
        size_t room = b->room ? 2 * b->room : 16;
        struct row *more = realloc(b->rows, room * sizeof *more);
        if (!more)
            return NULL;
        b->rows = more;
        b->room = room;
    }
    b->rows[b->n] = (struct row){.account = *account};
    return &b->rows[b->n++];
}

void dv_books_view_charge(struct dv_holding *h, const struct dv_usage *more)
{
    struct dv_account account;
    struct dv_node_tenant *t = dv_node_tenant(h->node, h->claim.tenant);
    struct row *row = t && account_of(h, &account) ? find(h->node, &account) : NULL;
    if (!row)
        return; /* it stays in the tenant's account without a GPU */
    uint64_t held = dv_usage_reserved_ns(more);
    dv_usage_add(&row->used, more);
    dv_usage_add(&t->placed, more);
    row->reserved_idle_ns += held > more->busy_ns ? held - more->busy_ns : 0;
}

static void tell(const struct dv_usage *used, struct dv_books_total *total, dv_books_on_total *cb,
                 void *arg)
{
    total->busy_ns = used->busy_ns;
    total->wait_ns = used->wait_ns;
    total->requested_ns = dv_usage_reserved_ns(used);
    total->byte_seconds = dv_usage_byte_seconds(used);
    cb(arg, total);
}

void dv_books_view_totals(const struct dv_node *node, dv_books_on_total *cb, void *arg)
{
    for (size_t i = 0; node->books && i < node->books->n; i++) {
        const struct row *r = &node->books->rows[i];
        struct dv_books_total total = {.tenant = r->account.tenant,
                                       .gpu = r->account.gpu,
                                       .profile = r->account.profile,
                                       .mode = r->account.mode,
                                       .quality = r->account.quality,
                                       .reserved_idle_ns = r->reserved_idle_ns};
        tell(&r->used, &total, cb, arg);
    }
    for (size_t i = 0; i < node->n_tenants; i++) {
        const struct dv_node_tenant *t = &node->tenants[i];
        struct dv_usage before = {.busy_ns = t->used.busy_ns - t->placed.busy_ns,
                                  .wait_ns = t->used.wait_ns - t->placed.wait_ns,
                                  .compute_ns = t->used.compute_ns - t->placed.compute_ns,
                                  .byte_ns = t->used.byte_ns - t->placed.byte_ns};
        struct dv_books_total total = {.tenant = t->name,
                                       .gpu = "",
                                       .profile = "",
                                       .mode = DV_MODE_AUTO,
                                       .quality = DV_QUALITY_ESTIMATED};
        if (before.busy_ns || before.wait_ns || before.compute_ns || before.byte_ns)
            tell(&before, &total, cb, arg);
    }
}

bool dv_books_view_gpu(const struct dv_node *node, const char *gpu_uuid, struct dv_books_gpu *ret)
{
    return false;
}

void dv_books_view_waits(const struct dv_node *node, dv_books_on_wait *cb, void *arg)
{
}

void dv_books_view_costs(const struct dv_node *node, dv_books_on_cost *cb, void *arg)
{
}

bool dv_books_view_ledger(const struct dv_node *node, struct dv_books_ledger *ret)
{
    return false;
}

void dv_books_view_free(struct dv_node *node)
{
    if (node->books)
        free(node->books->rows);
    free(node->books);
    node->books = NULL;
}
