/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocations of processes: handles, addresses, and sharing among processes. What fits where is
 * core/engine's memory.h, kept per card in cards.c. A handle is the slot of a process's table in
 * its low half and the slot's generation in its high half.
 */
#include "engine/memory.h"

#include "server/state.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* Where no mmap of an ordinary process lands. */
#define ADDRESS_BASE (UINT64_C(1) << 40)
#define ADDRESS_END (UINT64_C(15) << 40)
#define ADDRESS_CLASS_MIN 21 /* 2 MiB: each allocation begins a page of its own */

/* ---- addresses: powers of two, so that one given back fits the next of its size ---- */

static uint32_t class_of(uint64_t bytes)
{
    uint32_t c = ADDRESS_CLASS_MIN;

    while (c < 47 && (UINT64_C(1) << c) < bytes)
        c++;
    return c;
}

static uint64_t address_take(struct dv_simserver *s, uint64_t bytes)
{
    uint32_t class = class_of(bytes);
    struct dv_simaddresses *free_list = &s->addresses[class];
    uint64_t size = UINT64_C(1) << class;
    uint64_t address;

    if (free_list->n)
        return free_list->address[--free_list->n];
    address = (DV_MAX(s->address_next, ADDRESS_BASE) + size - 1) & ~(size - 1);
    if (address + size > ADDRESS_END)
        return 0;
    s->address_next = address + size;
    return address;
}

static void address_give(struct dv_simserver *s, uint64_t address, uint64_t bytes)
{
    struct dv_simaddresses *l = &s->addresses[class_of(bytes)];

    if (l->n == l->capacity) {
        size_t capacity = l->capacity ? 2 * l->capacity : 64;
        uint64_t *grown = realloc(l->address, capacity * sizeof(*grown));

        if (!grown)
            return; /* this address is not used again: there are many */
        l->address = grown;
        l->capacity = capacity;
    }
    l->address[l->n++] = address;
}

/* ---- the table of a process ---- */

static uint32_t block_new(struct dv_simpid *pid)
{
    uint32_t i = pid->blocks_free;

    if (i != DV_SIM_NONE) {
        pid->blocks_free = pid->block[i].ctx;
        return i;
    }
    if (pid->blocks_end == pid->blocks_capacity) {
        uint32_t capacity = pid->blocks_capacity ? 2 * pid->blocks_capacity : 64;
        struct dv_simblock *grown;

        if (capacity > DV_SIM_BLOCKS_MAX)
            return DV_SIM_NONE;
        grown = realloc(pid->block, capacity * sizeof(*grown));
        if (!grown)
            return DV_SIM_NONE;
        pid->block = grown;
        pid->blocks_capacity = capacity;
    }
    i = pid->blocks_end++;
    pid->block[i] = (struct dv_simblock){0};
    return i;
}

static uint64_t block_fill(struct dv_simpid *pid, uint32_t index, struct dv_simblock b)
{
    b.generation = pid->block[index].generation + 1;
    b.used = true;
    pid->block[index] = b;
    return (uint64_t)b.generation << 32 | index;
}

static void block_drop(struct dv_simpid *pid, uint32_t index)
{
    pid->block[index].used = false;
    pid->block[index].ctx = pid->blocks_free;
    pid->blocks_free = index;
}

static struct dv_simblock *block_find(const struct dv_simpid *pid, uint64_t handle)
{
    uint32_t index = (uint32_t)handle;
    struct dv_simblock *b = index < pid->blocks_end ? &pid->block[index] : NULL;

    return b && b->used && b->generation == handle >> 32 ? b : NULL;
}

/* ---- tokens ---- */

static void token_drop(struct dv_simserver *s, uint64_t token)
{
    for (uint32_t i = 0; i < s->n_tokens; i++) {
        if (s->token[i].token != token)
            continue;
        if (s->token[i].fd >= 0)
            close(s->token[i].fd);
        s->token[i] = s->token[--s->n_tokens];
        return;
    }
}

static bool token_room(struct dv_simserver *s)
{
    uint32_t capacity = s->tokens_capacity ? 2 * s->tokens_capacity : 16;
    struct dv_simtoken *grown;

    if (s->n_tokens < s->tokens_capacity)
        return true;
    if (capacity > DV_SIM_TOKENS_MAX)
        return false;
    grown = realloc(s->token, capacity * sizeof(*grown));
    if (!grown)
        return false;
    s->token = grown;
    s->tokens_capacity = capacity;
    return true;
}

/* ---- what processes ask for ---- */

/* Managed memory can leave the device, and no MPS limit counts it. */
static uint64_t counted(uint32_t kind, uint64_t bytes)
{
    return kind == DV_SIM_MEM_MANAGED ? 0 : bytes;
}

static uint32_t take_block(struct dv_simserver *s, struct dv_simproc *p,
                           const struct dv_sim_mem_alloc *request, struct dv_sim_mem_allocated *ret)
{
    struct dv_simpid *pid = p->server;
    struct dv_simblock b = {.ctx = request->ctx, .kind = (uint8_t)request->kind};
    uint32_t index = block_new(pid);

    if (index == DV_SIM_NONE)
        return DV_SIMCU_OUT_OF_MEMORY;
    b.address = address_take(s, request->bytes);
    if (!b.address ||
        dv_simcards_take(s, p, request->ctx, request->bytes, &b.memory_id, &b.bytes)) {
        if (b.address)
            address_give(s, b.address, request->bytes);
        block_drop(pid, index);
        return DV_SIMCU_OUT_OF_MEMORY;
    }
    /* The class of the rounded size is the same: addresses come in powers of two from 2 MiB on. */
    ret->handle = block_fill(pid, index, b);
    ret->address = b.address;
    ret->charged_bytes = b.bytes;
    return DV_SIMCU_OK;
}

uint32_t dv_simmemory_alloc(struct dv_simserver *s, struct dv_simsession *ss,
                            const struct dv_sim_mem_alloc *request,
                            struct dv_sim_mem_allocated *ret)
{
    struct dv_simproc *p = ss->process;
    uint64_t bytes = counted(request->kind, dv_memory_round(request->bytes));
    uint32_t r;

    if (!request->bytes || request->kind > DV_SIM_MEM_MODULE)
        return DV_SIMCU_INVALID_VALUE;
    if (!dv_simmps_take(p, &p->ctx[request->ctx], bytes))
        return DV_SIMCU_OUT_OF_MEMORY;
    r = take_block(s, p, request, ret);
    if (r)
        dv_simmps_give(p, &p->ctx[request->ctx], bytes);
    return r;
}

static void block_free(struct dv_simserver *s, struct dv_simproc *p, uint32_t index)
{
    struct dv_simpid *pid = p->server;
    struct dv_simblock *b = &pid->block[index];

    if (b->token)
        token_drop(s, b->token);
    if (!b->imported) {
        dv_simmps_give(p, &p->ctx[b->ctx], counted(b->kind, b->bytes));
        dv_simcards_give(s, p, b->ctx, b->memory_id, b->bytes);
        address_give(s, b->address, b->bytes);
    }
    block_drop(pid, index);
}

static uint32_t drop(struct dv_simserver *s, struct dv_simproc *p, uint64_t handle, bool imported)
{
    const struct dv_simblock *b = block_find(p->server, handle);

    if (!b || b->imported != imported)
        return DV_SIMCU_INVALID_HANDLE;
    block_free(s, p, (uint32_t)handle);
    return DV_SIMCU_OK;
}

uint32_t dv_simmemory_free(struct dv_simserver *s, struct dv_simproc *p, uint64_t handle)
{
    return drop(s, p, handle, false);
}

uint32_t dv_simmemory_close(struct dv_simserver *s, struct dv_simproc *p, uint64_t handle)
{
    return drop(s, p, handle, true);
}

uint32_t dv_simmemory_export(struct dv_simserver *s, struct dv_simproc *p, uint64_t handle, int fd,
                             uint64_t *ret_token)
{
    struct dv_simblock *b = block_find(p->server, handle);

    if (!b || b->imported)
        return DV_SIMCU_INVALID_VALUE;
    if (b->token) { /* exported before: the same memory, the same token */
        if (fd >= 0)
            close(fd);
        *ret_token = b->token;
        return DV_SIMCU_OK;
    }
    if (!token_room(s))
        return DV_SIMCU_OUT_OF_MEMORY;
    b->token = ++s->next_token;
    s->token[s->n_tokens++] =
        (struct dv_simtoken){.token = b->token, .process = p, .block = (uint32_t)handle, .fd = fd};
    *ret_token = b->token;
    return DV_SIMCU_OK;
}

uint32_t dv_simmemory_open(struct dv_simserver *s, struct dv_simproc *p, uint64_t token,
                           struct dv_sim_ipc_opened *ret, int *ret_fd)
{
    for (uint32_t i = 0; i < s->n_tokens; i++) {
        const struct dv_simtoken *t = &s->token[i];
        struct dv_simblock b;
        uint32_t index;

        if (t->token != token)
            continue;
        if (t->process == p)
            return DV_SIMCU_INVALID_CONTEXT; /* as the driver: not within the exporter */
        b = ((struct dv_simpid *)t->process->server)->block[t->block];
        index = block_new(p->server);
        if (index == DV_SIM_NONE)
            return DV_SIMCU_OUT_OF_MEMORY;
        b.token = 0;
        b.imported = true;
        b.ctx = DV_SIM_NONE;
        ret->handle = block_fill(p->server, index, b);
        ret->address = b.address;
        ret->bytes = b.bytes;
        *ret_fd = t->fd;
        return DV_SIMCU_OK;
    }
    return DV_SIMCU_INVALID_HANDLE;
}

void dv_simmemory_ctx_gone(struct dv_simserver *s, struct dv_simproc *p, uint32_t ctx)
{
    const struct dv_simpid *pid = p->server;

    for (uint32_t i = 0; i < pid->blocks_end; i++) {
        if (pid->block[i].used && (ctx == DV_SIM_NONE || pid->block[i].ctx == ctx))
            block_free(s, p, i);
    }
}

void dv_simmemory_done(struct dv_simserver *s)
{
    while (s->n_tokens)
        token_drop(s, s->token[0].token);
    free(s->token);
    for (size_t i = 0; i < DV_ARRAY_SIZE(s->addresses); i++)
        free(s->addresses[i].address);
}
