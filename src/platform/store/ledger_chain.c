/* SPDX-License-Identifier: Apache-2.0 */
/* Canonical bytes and their SHA-256: docs/reference/ledger.md, which must say the same. */
#include "ledger_impl.h"

#include <endian.h>
#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>

/* Collects some bytes before it hashes them: a call per number would cost more than the hash. */
struct hasher {
    gnutls_hash_hd_t handle;
    uint8_t buf[4096];
    size_t n;
};

static int begin(struct hasher *h, const char tag[16])
{
    if (gnutls_hash_init(&h->handle, GNUTLS_DIG_SHA256) < 0)
        return -EIO;
    memcpy(h->buf, tag, 16);
    h->n = 16;
    return 0;
}

static void add_bytes(struct hasher *h, const void *data, size_t size)
{
    if (h->n + size > sizeof h->buf) {
        gnutls_hash(h->handle, h->buf, h->n);
        h->n = 0;
    }
    if (size > sizeof h->buf) {
        gnutls_hash(h->handle, data, size);
        return;
    }
    memcpy(h->buf + h->n, data, size);
    h->n += size;
}

static void add_number(struct hasher *h, uint64_t value)
{
    uint64_t big = htobe64(value);
    add_bytes(h, &big, sizeof big);
}

static void add_text(struct hasher *h, const char *text)
{
    size_t n = strlen(text);
    add_number(h, n);
    add_bytes(h, text, n);
}

static void add_charge(struct hasher *h, const struct dv_charge *charge)
{
    uint64_t figures[N_CHARGE];
    dv_ledger_chain_figures(charge, figures);
    for (size_t i = 0; i < N_CHARGE; i++)
        figures[i] = htobe64(figures[i]);
    add_bytes(h, figures, sizeof figures);
}

static int end(struct hasher *h, uint8_t ret[HASH])
{
    gnutls_hash(h->handle, h->buf, h->n);
    gnutls_hash_deinit(h->handle, ret);
    return 0;
}

void dv_ledger_chain_figures(const struct dv_charge *c, uint64_t ret[N_CHARGE])
{
    const uint64_t figures[N_CHARGE] = {c->busy_ns,           c->overhead_ns,  c->reserved_idle_ns,
                                        c->unallocated_ns,    c->unhealthy_ns, c->wait_ns,
                                        c->requested_compute, c->byte_seconds, c->held_ns};
    memcpy(ret, figures, sizeof figures);
}

void dv_ledger_chain_charge(const uint64_t f[N_CHARGE], struct dv_charge *ret)
{
    *ret = (struct dv_charge){.busy_ns = f[0],
                              .overhead_ns = f[1],
                              .reserved_idle_ns = f[2],
                              .unallocated_ns = f[3],
                              .unhealthy_ns = f[4],
                              .wait_ns = f[5],
                              .requested_compute = f[6],
                              .byte_seconds = f[7],
                              .held_ns = f[8]};
}

int dv_ledger_chain_account(const struct dv_account *a, uint8_t ret[HASH])
{
    struct hasher h;
    /* Without a pod it is what it was before there were pods. */
    if (begin(&h, a->pod[0] ? "divvy.account.2\0" : "divvy.account.1\0") < 0)
        return -EIO;
    add_text(&h, a->gpu);
    add_text(&h, a->model);
    add_text(&h, a->profile);
    add_text(&h, a->tenant);
    add_number(&h, (uint64_t)a->mode);
    add_number(&h, (uint64_t)a->tier);
    add_number(&h, (uint64_t)a->source);
    add_number(&h, (uint64_t)a->quality);
    if (a->pod[0])
        add_text(&h, a->pod);
    return end(&h, ret);
}

int dv_ledger_chain_genesis(const struct dv_ledger *l, unsigned chain, uint8_t ret[HASH])
{
    struct hasher h;
    if (begin(&h, "divvy.ledger.1\0") < 0)
        return -EIO;
    add_bytes(&h, l->id, sizeof l->id);
    add_number(&h, chain);
    return end(&h, ret);
}

int dv_ledger_chain_block(const struct ledger_block *b, const struct ledger_entry *entries,
                          const uint8_t *const *digests, uint8_t ret[HASH])
{
    struct hasher h;
    if (begin(&h, "divvy.block.1\0\0") < 0)
        return -EIO;
    const uint64_t numbers[] = {b->level,
                                b->seq,
                                (uint64_t)b->from,
                                (uint64_t)b->to,
                                (uint64_t)b->begin_ns,
                                (uint64_t)b->end_ns,
                                b->wall_ns,
                                b->age_ns,
                                (uint64_t)b->step_ns,
                                b->first,
                                b->last,
                                b->first_minute,
                                b->last_minute,
                                b->faults};
    for (size_t i = 0; i < DV_ARRAY_SIZE(numbers); i++)
        add_number(&h, numbers[i]);
    add_bytes(&h, b->finer, HASH);
    add_number(&h, b->lives);
    add_bytes(&h, b->lives_hash, HASH);
    add_number(&h, b->notes);
    add_bytes(&h, b->notes_hash, HASH);
    add_bytes(&h, b->prev, HASH);
    add_number(&h, b->rows);
    for (uint64_t i = 0; i < b->rows; i++) {
        add_bytes(&h, digests[i], HASH);
        add_charge(&h, &entries[i].charge);
    }
    return end(&h, ret);
}

int dv_ledger_chain_life(const struct dv_ledger_life *life, const uint8_t account[HASH],
                         const uint8_t prev[HASH], uint8_t ret[HASH])
{
    struct hasher h;
    if (begin(&h, "divvy.life.1\0\0\0") < 0)
        return -EIO;
    add_number(&h, life->seq);
    add_number(&h, (uint64_t)life->event);
    add_number(&h, life->claim);
    add_bytes(&h, account, HASH);
    add_number(&h, life->memory_bytes);
    add_number(&h, life->compute);
    add_number(&h, (uint64_t)life->unix_ns);
    add_number(&h, life->busy_ns);
    add_number(&h, life->wait_ns);
    add_number(&h, life->requested_compute);
    add_number(&h, life->byte_seconds);
    add_bytes(&h, prev, HASH);
    return end(&h, ret);
}

int dv_ledger_chain_note(const struct dv_ledger_note *note, const struct ledger_delta *deltas,
                         size_t n, const uint8_t prev[HASH], uint8_t ret[HASH])
{
    struct hasher h;
    if (begin(&h, "divvy.note.1\0\0\0") < 0)
        return -EIO;
    add_number(&h, note->seq);
    add_number(&h, (uint64_t)note->kind);
    add_number(&h, (uint64_t)note->unix_ns);
    add_number(&h, note->level);
    add_number(&h, note->block);
    add_number(&h, (uint64_t)note->from_unix);
    add_text(&h, note->old);
    add_text(&h, note->new_name);
    add_text(&h, note->who);
    add_text(&h, note->reason);
    add_number(&h, n);
    for (size_t i = 0; i < n; i++) {
        add_bytes(&h, deltas[i].account, HASH);
        add_charge(&h, &deltas[i].delta);
    }
    add_bytes(&h, prev, HASH);
    return end(&h, ret);
}
