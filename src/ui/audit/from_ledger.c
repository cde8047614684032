/* SPDX-License-Identifier: Apache-2.0 */
/*
 * divvyd's own ledger as telemetry. A minute in which a tenant held a slice is a sample: how much
 * of the time for which it held one its work ran, and the memory that it held. Hours and days,
 * which the ledger keeps when minutes are gone, become as many minutes of the same value as a slice
 * was held.
 */
#include "feed.h"
#include "store/ledger.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MINUTE_S 60
#define UNIX_MAX INT64_C(4000000000)

/* What a block has of one workload: its accounts differ in mode, tier and source. */
struct held {
    uint64_t busy_ns, held_ns, byte_seconds;
    bool touched;
};

struct reading {
    struct dv_audit_feed *feed;
    int64_t from_unix, to_unix; /* the block */
    struct held *held;          /* by workload */
    uint32_t cap;
    uint32_t *touched;
    uint32_t n_touched, touched_cap;
    int r;
    struct dv_err err;
};

static int emit(struct reading *r, uint32_t workload, const struct held *h)
{
    uint64_t block_ns = (uint64_t)(r->to_unix - r->from_unix) * DV_NS_PER_S;
    uint64_t held = h->held_ns ? h->held_ns : block_ns;
    uint64_t minute_ns = MINUTE_S * DV_NS_PER_S;
    uint64_t minutes = DV_MIN(DV_MAX((held + minute_ns / 2) / minute_ns, 1), block_ns / minute_ns);
    double busy = DV_MIN((double)h->busy_ns / (double)held * 100, 100);
    double memory = (double)h->byte_seconds / ((double)held / (double)DV_NS_PER_S);
    for (uint64_t i = 0; i < DV_MAX(minutes, 1); i++) {
        int64_t at = (r->from_unix + (int64_t)i * MINUTE_S) * (int64_t)DV_NS_PER_S;
        int x = dv_audit_feed_to(r->feed, workload, false, at, busy, &r->err);
        if (x > 0 && h->byte_seconds)
            x = dv_audit_feed_to(r->feed, workload, true, at, memory, &r->err);
        if (x <= 0)
            return x;
    }
    return 1;
}

/* The block is over. 1: go on. */
static int end_block(struct reading *r)
{
    int x = 1;
    for (uint32_t i = 0; i < r->n_touched && x > 0; i++)
        x = emit(r, r->touched[i], &r->held[r->touched[i]]);
    for (uint32_t i = 0; i < r->n_touched; i++)
        r->held[r->touched[i]] = (struct held){0};
    r->n_touched = 0;
    return x;
}

static int make_room(struct reading *r, uint32_t workload)
{
    if (workload >= r->cap) {
        uint32_t cap = DV_MAX(workload + 1, r->cap * 2);
        struct held *more = realloc(r->held, cap * sizeof *more);
        if (!more)
            return -ENOMEM;
        memset(more + r->cap, 0, (cap - r->cap) * sizeof *more);
        r->held = more;
        r->cap = cap;
    }
    if (r->n_touched == r->touched_cap) {
        uint32_t cap = r->touched_cap ? r->touched_cap * 2 : 64;
        uint32_t *more = realloc(r->touched, cap * sizeof *more);
        if (!more)
            return -ENOMEM;
        r->touched = more;
        r->touched_cap = cap;
    }
    return 0;
}

static int add_row(struct reading *r, const struct dv_ledger_row *row)
{
    const struct dv_account *a = &row->row.account;
    const struct dv_charge *c = &row->row.charge;
    char name[DV_AUDIT_NAME_MAX + 1];
    uint32_t w = 0;
    if (!*a->tenant || row->broken || row->row.to_unix <= row->row.from_unix)
        return 1;
    if (r->from_unix != row->row.from_unix || r->to_unix != row->row.to_unix) {
        int x = end_block(r);
        if (x <= 0)
            return x;
        r->from_unix = row->row.from_unix;
        r->to_unix = row->row.to_unix;
    }
    snprintf(name, sizeof name, "%s%s%.150s", a->tenant, *a->pod ? "/" : "", a->pod);
    int x = dv_audit_feed_find(r->feed, name, a->gpu, &w, &r->err);
    x = x < 0 ? x : make_room(r, w);
    if (x < 0)
        return x;
    struct held *h = &r->held[w];
    if (!h->touched)
        r->touched[r->n_touched++] = w;
    h->touched = true;
    h->busy_ns += c->busy_ns;
    h->held_ns += c->held_ns;
    h->byte_seconds += c->byte_seconds;
    return 1;
}

static bool on_row(void *arg, const struct dv_ledger_row *row)
{
    struct reading *r = arg;
    r->r = add_row(r, row);
    return r->r > 0;
}

int dv_audit_from_ledger(const struct dv_ui *ui, struct dv_audit_feed *f, const char *path)
{
    dv_cleanup(dv_str_done) struct dv_str note = {0};
    struct dv_ledger_options options = {.read_only = true};
    struct dv_ledger *ledger = NULL;
    struct reading reading = {.feed = f, .r = 1};
    struct dv_err err = {{0}};
    options.now.unix_ns = (int64_t)time(NULL) * (int64_t)DV_NS_PER_S;
    int r = dv_ledger_open(path, &options, &ledger, &note, &err);
    if (r < 0)
        return dv_ui_fail(ui, r == -EACCES ? DV_UI_PERMISSION : DV_UI_FAILURE, "%s", err.msg);
    struct dv_ledger_query query = {
        .from_unix = f->from_ns / (int64_t)DV_NS_PER_S,
        .to_unix = DV_MIN(f->to_ns / (int64_t)DV_NS_PER_S, UNIX_MAX),
        .step = DV_LEDGER_MINUTE,
        .renamed = true,
    };
    dv_audit_share_gpus(f->audit);
    dv_long_run_begin(&f->run, "reading", "samples", 0);
    r = dv_ledger_read(ledger, &query, on_row, &reading, NULL, &err);
    if (r >= 0 && reading.r > 0)
        reading.r = end_block(&reading);
    dv_ledger_close(ledger);
    dv_long_run_end(&f->run);
    free(reading.held);
    free(reading.touched);
    if (r < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "%s", err.msg);
    if (reading.r < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "%s",
                          reading.r == -ENOMEM ? "out of memory" : reading.err.msg);
    return DV_UI_OK;
}
