/* SPDX-License-Identifier: Apache-2.0 */
#include "account/tally.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_MAX 8192u

static int order(const struct dv_account *a, const struct dv_account *b)
{
    int r = strcmp(a->gpu, b->gpu);
    r = r ? r : strcmp(a->tenant, b->tenant);
    r = r ? r : strcmp(a->profile, b->profile);
    r = r ? r : (int)a->mode - (int)b->mode;
    r = r ? r : (int)a->tier - (int)b->tier;
    r = r ? r : (int)a->quality - (int)b->quality;
    r = r ? r : (int)a->source - (int)b->source;
    return r ? r : strcmp(a->model, b->model);
}

/* Where it is, or belongs. */
static size_t place(const struct dv_tally *t, const struct dv_account *a)
{
    size_t low = 0, high = t->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (order(&t->rows[middle].account, a) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void drop_stale(struct dv_tally *t, uint64_t now_ns)
{
    size_t kept = 0;
    for (size_t i = 0; i < t->n; i++)
        if (now_ns < t->rows[i].touched_ns + DV_TALLY_STALE_NS)
            t->rows[kept++] = t->rows[i];
    t->n = kept;
}

static int make_room(struct dv_tally *t, uint64_t now_ns)
{
    size_t max = t->max ? t->max : ROWS_MAX;
    if (t->n == max)
        drop_stale(t, now_ns);
    if (t->n == max)
        return -ENOSPC;
    if (t->n < t->room)
        return 0;
    size_t room = t->room ? 2 * t->room : 32;
    void *more = realloc(t->rows, room * sizeof *t->rows);
    if (!more)
        return -ENOMEM;
    t->rows = more;
    t->room = room;
    return 0;
}

int dv_tally_add(struct dv_tally *t, const struct dv_account *account,
                 const struct dv_charge *charge, uint64_t now_ns)
{
    size_t i = place(t, account);
    if (i == t->n || order(&t->rows[i].account, account) != 0) {
        int r = make_room(t, now_ns);
        if (r < 0) {
            t->dropped++;
            return r;
        }
        i = place(t, account);
        memmove(&t->rows[i + 1], &t->rows[i], (t->n++ - i) * sizeof *t->rows);
        t->rows[i] = (struct dv_tally_row){.account = *account};
        memset(t->rows[i].account.pod, 0, sizeof t->rows[i].account.pod);
    }
    dv_charge_add(&t->rows[i].charge, charge);
    t->rows[i].touched_ns = now_ns;
    return 0;
}

void dv_tally_done(struct dv_tally *t)
{
    free(t->rows);
    *t = (struct dv_tally){.max = t->max};
}
