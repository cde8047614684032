/* SPDX-License-Identifier: Apache-2.0 */
#include "actuate/governor.h"

#include "abi_reservation.h"
#include "base/str.h"
#include "sys/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

/* A memfd with a writable mapping. */
static int make_page(const char *name, size_t size, int *ret_fd, void **ret_page)
{
    int fd = dv_fd_memfd(name, size);
    if (fd < 0)
        return fd;
    void *page = dv_fd_map(fd, size, true);
    if (!page) {
        int r = dv_fd_errno();
        close(fd);
        return r;
    }
    *ret_fd = fd;
    *ret_page = page;
    return 0;
}

static int copy_texts(struct dv_slice_page *p, const struct dv_governor_spec *spec)
{
    int r = dv_str_copy(p->slice_id, sizeof p->slice_id, spec->slice_id);
    if (r == 0)
        r = dv_str_copy(p->tenant, sizeof p->tenant, spec->tenant);
    if (r == 0)
        r = dv_str_copy(p->device_uuid, sizeof p->device_uuid, spec->device_uuid);
    if (r == 0)
        r = dv_str_copy(p->libcuda, sizeof p->libcuda, spec->libcuda);
    if (r == 0)
        r = dv_str_copy(p->libnvml, sizeof p->libnvml, spec->libnvml);
    return r;
}

int dv_governor_slice_new(const struct dv_governor_spec *spec, struct dv_governor_slice *ret)
{
    struct dv_governor_slice s = {.slice_fd = -1, .reservation_fd = -1};
    void *page = NULL;
    int r = make_page("divvy-slice", sizeof *s.page, &s.slice_fd, &page);
    if (r < 0)
        return r;
    s.page = page;
    r = make_page("divvy-reservation", sizeof *s.reservation, &s.reservation_fd, &page);
    if (r == 0) {
        s.reservation = page;
        r = copy_texts(s.page, spec);
    }
    /* Every process of the slice writes the reservation page, always; nobody may seal it. */
    if (r == 0 && fcntl(s.reservation_fd, F_ADD_SEALS, F_SEAL_SEAL) < 0)
        r = -errno;
    if (r == 0)
        r = dv_fd_seal_writes(s.slice_fd);
    if (r < 0) {
        dv_governor_slice_end(&s);
        return r;
    }
    s.reservation->abi = DV_TENANT_ABI;
    s.reservation->magic = DV_TENANT_MAGIC_RESERVATION;
    s.page->state = DV_SLICE_LIVE;
    s.page->memory_limit_bytes = spec->memory_bytes;
    s.page->compute = spec->compute;
    s.page->compute_cap = spec->compute_cap;
    s.page->tier = spec->tier;
    s.page->flags = spec->flags;
    s.page->context_bytes = spec->context_bytes;
    s.page->module_bytes = spec->module_bytes;
    s.page->abi = DV_TENANT_ABI;
    s.page->magic = DV_TENANT_MAGIC_SLICE;
    *ret = s;
    return 0;
}

void dv_governor_slice_end(struct dv_governor_slice *s)
{
    if (s->page)
        __atomic_store_n(&s->page->state, DV_SLICE_ENDED, __ATOMIC_RELEASE);
    dv_governor_slice_drop(s);
}

void dv_governor_slice_drop(struct dv_governor_slice *s)
{
    if (s->page)
        munmap(s->page, sizeof *s->page);
    if (s->reservation)
        munmap(s->reservation, sizeof *s->reservation);
    s->page = NULL;
    s->reservation = NULL;
    dv_fd_close(&s->slice_fd);
    dv_fd_close(&s->reservation_fd);
}

void dv_governor_slice_limit(struct dv_governor_slice *s, uint64_t memory_bytes, uint32_t compute,
                             uint32_t compute_cap)
{
    struct dv_slice_page *p = s->page;
    __atomic_add_fetch(&p->seq, 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&p->memory_limit_bytes, memory_bytes, __ATOMIC_RELAXED);
    __atomic_store_n(&p->compute, compute, __ATOMIC_RELAXED);
    __atomic_store_n(&p->compute_cap, compute_cap, __ATOMIC_RELAXED);
    __atomic_add_fetch(&p->seq, 1, __ATOMIC_SEQ_CST);
}

void dv_governor_slice_set_context(struct dv_governor_slice *s, uint64_t context_bytes)
{
    __atomic_add_fetch(&s->page->seq, 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&s->page->context_bytes, context_bytes, __ATOMIC_RELAXED);
    __atomic_add_fetch(&s->page->seq, 1, __ATOMIC_SEQ_CST);
}

uint64_t dv_governor_slice_reserved(const struct dv_governor_slice *s)
{
    return s->reservation ? __atomic_load_n(&s->reservation->word.bytes, __ATOMIC_ACQUIRE) : 0;
}

int dv_governor_slot_new(uint32_t process, struct dv_governor_slice *slice,
                         struct dv_governor_slot *ret)
{
    struct dv_governor_slot s = {.fd = -1, .event_fd = -1, .process = process};
    void *page = NULL;
    int r = make_page("divvy-slot", sizeof *s.page, &s.fd, &page);
    if (r < 0)
        return r;
    s.page = page;
    s.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s.event_fd < 0) {
        r = -errno;
        munmap(s.page, sizeof *s.page);
        dv_fd_close(&s.fd);
        return r;
    }
    dv_reservation_adopt(slice->reservation, s.page, process);
    s.page->abi = DV_TENANT_ABI;
    s.page->magic = DV_TENANT_MAGIC_SLOT;
    *ret = s;
    return 0;
}

int dv_governor_slot_seal(struct dv_governor_slot *slot)
{
    return dv_fd_seal_writes(slot->fd);
}

uint64_t dv_governor_slot_held(const struct dv_governor_slot *slot, struct dv_governor_slice *slice)
{
    return dv_reservation_held(slice->reservation, slot->page, slot->process);
}

uint64_t dv_governor_slot_end(struct dv_governor_slot *s, struct dv_governor_slice *slice)
{
    uint64_t held = 0;
    if (!s->page)
        return 0;
    if (slice->reservation)
        held = dv_reservation_repair(slice->reservation, s->page, s->process, &slice->repair_seq);
    dv_governor_slot_drop(s);
    return held;
}

void dv_governor_slot_drop(struct dv_governor_slot *s)
{
    if (s->page)
        munmap(s->page, sizeof *s->page);
    s->page = NULL;
    dv_fd_close(&s->fd);
    dv_fd_close(&s->event_fd);
}

int dv_governor_arbiter_new(struct dv_governor_arbiter *ret)
{
    struct dv_governor_arbiter a = {.fd = -1};
    void *page = NULL;
    int r = make_page("divvy-arbiter", sizeof *a.page, &a.fd, &page);
    if (r < 0)
        return r;
    a.page = page;
    r = dv_fd_seal_writes(a.fd);
    if (r < 0) {
        dv_governor_arbiter_end(&a);
        return r;
    }
    a.page->abi = DV_TENANT_ABI;
    a.page->magic = DV_TENANT_MAGIC_ARBITER;
    *ret = a;
    return 0;
}

void dv_governor_arbiter_end(struct dv_governor_arbiter *a)
{
    if (a->page)
        munmap(a->page, sizeof *a->page);
    a->page = NULL;
    dv_fd_close(&a->fd);
}

/* ---- messages ---- */

static struct dv_tenant_message message(uint32_t type, uint32_t slot)
{
    return (struct dv_tenant_message){
        .magic = DV_TENANT_MAGIC_MESSAGE, .abi = DV_TENANT_ABI, .type = type, .slot = slot};
}

int dv_governor_welcome(int sock, const struct dv_governor_slice *slice,
                        const struct dv_governor_slot *slot,
                        const struct dv_governor_arbiter *arbiter, uint32_t slot_index, pid_t pid)
{
    struct dv_tenant_message m = message(DV_MSG_WELCOME, slot_index);
    int fds[DV_FD_COUNT];
    fds[DV_FD_SLICE] = slice->slice_fd;
    fds[DV_FD_RESERVATION] = slice->reservation_fd;
    fds[DV_FD_SLOT] = slot->fd;
    fds[DV_FD_ARBITER] = arbiter->fd;
    fds[DV_FD_EVENT] = slot->event_fd;
    m.process = slot->process;
    m.status = (uint32_t)pid;
    return dv_fd_send(sock, &m, sizeof m, fds, DV_FD_COUNT);
}

int dv_governor_refuse(int sock, int error, const char *why)
{
    struct dv_tenant_message m = message(DV_MSG_REFUSED, 0);
    m.status = (uint32_t)(error < 0 ? -error : error);
    snprintf(m.text, sizeof m.text, "%s", why);
    return dv_fd_send(sock, &m, sizeof m, NULL, 0);
}

int dv_governor_go(int sock, uint32_t slot_index)
{
    struct dv_tenant_message m = message(DV_MSG_GO, slot_index);
    return dv_fd_send(sock, &m, sizeof m, NULL, 0);
}

int dv_governor_peer(int sock, uint32_t slot_index, const struct dv_governor_slot *peer,
                     uint32_t process, pid_t pid)
{
    struct dv_tenant_message m = message(DV_MSG_PEER, slot_index);
    m.process = process;
    m.status = process ? (uint32_t)pid : 0;
    return dv_fd_send(sock, &m, sizeof m, &peer->fd, 1);
}

int dv_governor_peer_gone(int sock, uint32_t slot_index)
{
    struct dv_tenant_message m = message(DV_MSG_PEER_GONE, slot_index);
    return dv_fd_send(sock, &m, sizeof m, NULL, 0);
}
