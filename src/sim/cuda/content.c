/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes behind device memory. Only what is written is kept, in chunks of 2 MiB, while the process's
 * budget lasts ($DIVVY_SIM_CONTENT_BYTES, 256 MiB by default); a chunk that is not kept reads as
 * zeros. Under P.lock.
 */
#include "driver.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define CHUNK (UINT64_C(2) << 20)

struct dv_cucontent *dv_cucontent_new(uint64_t bytes)
{
    struct dv_cucontent *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->refs = 1;
    c->fd = -1;
    c->bytes = bytes;
    return c;
}

struct dv_cucontent *dv_cucontent_wrap(void *base, uint64_t bytes, int fd, bool borrowed)
{
    struct dv_cucontent *c = dv_cucontent_new(bytes);
    if (!c)
        return NULL;
    c->base = base;
    c->fd = fd;
    c->direct = true;
    c->borrowed = borrowed;
    return c;
}

void dv_cucontent_ref(struct dv_cucontent *content)
{
    content->refs++;
}

static uint64_t chunks(const struct dv_cucontent *c)
{
    return (c->bytes + CHUNK - 1) / CHUNK;
}

static bool kept(const struct dv_cucontent *c, uint64_t chunk)
{
    return c->direct || (c->kept && (c->kept[chunk / 8] >> (chunk % 8) & 1));
}

void dv_cucontent_unref(struct dv_cucontent *content)
{
    if (!content || --content->refs)
        return;
    for (uint64_t i = 0; content->kept && i < chunks(content); i++)
        if (kept(content, i) && !content->direct)
            P.content_left += CHUNK;
    if (content->base && !content->borrowed)
        munmap(content->base, content->bytes);
    if (content->fd >= 0)
        close(content->fd);
    free(content->kept);
    free(content);
}

static bool make_base(struct dv_cucontent *c)
{
    if (c->base)
        return true;
    c->kept = calloc(1, chunks(c) / 8 + 1);
    void *base = mmap(NULL, c->bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (c->kept && base != MAP_FAILED) {
        c->base = base;
        return true;
    }
    if (base != MAP_FAILED)
        munmap(base, c->bytes);
    free(c->kept);
    c->kept = NULL;
    return false;
}

/* Is the chunk kept, or can it be from now on? */
static bool keep(struct dv_cucontent *c, uint64_t chunk)
{
    if (!c->direct && !make_base(c))
        return false;
    if (kept(c, chunk))
        return true;
    if (P.content_left < CHUNK)
        return false;
    P.content_left -= CHUNK;
    c->kept[chunk / 8] |= (uint8_t)(1u << (chunk % 8));
    return true;
}

static uint64_t in_chunk(uint64_t offset, uint64_t n)
{
    return DV_CU_MIN(n, CHUNK - offset % CHUNK);
}

static uint64_t clip(const struct dv_cucontent *c, uint64_t offset, uint64_t n)
{
    return offset >= c->bytes ? 0 : DV_CU_MIN(n, c->bytes - offset);
}

bool dv_cucontent_kept(const struct dv_cucontent *c, uint64_t offset, uint64_t n)
{
    for (uint64_t i = offset / CHUNK; n && i <= (offset + n - 1) / CHUNK; i++)
        if (i < chunks(c) && kept(c, i))
            return true;
    return false;
}

void dv_cucontent_write(struct dv_cucontent *c, uint64_t offset, const void *from, uint64_t n)
{
    const uint8_t *p = from;
    for (n = clip(c, offset, n); n;) {
        uint64_t part = in_chunk(offset, n);
        if (keep(c, offset / CHUNK))
            memmove(c->base + offset, p, part);
        offset += part;
        p += part;
        n -= part;
    }
}

void dv_cucontent_read(struct dv_cucontent *c, uint64_t offset, void *to, uint64_t n)
{
    uint8_t *p = to;
    for (n = clip(c, offset, n); n;) {
        uint64_t part = in_chunk(offset, n);
        if (kept(c, offset / CHUNK))
            memmove(p, c->base + offset, part);
        else
            memset(p, 0, part);
        offset += part;
        p += part;
        n -= part;
    }
}

static void fill(uint8_t *to, uint64_t phase, uint32_t value, uint32_t element, uint64_t n)
{
    uint8_t bytes[4];
    memcpy(bytes, &value, sizeof(bytes));
    if (element == 1) {
        memset(to, bytes[0], n);
        return;
    }
    for (uint64_t i = 0; i < n; i++)
        to[i] = bytes[(phase + i) % element];
}

void dv_cucontent_fill(struct dv_cucontent *c, uint64_t offset, uint32_t value, uint32_t element,
                       uint64_t n)
{
    uint64_t start = offset;
    for (n = clip(c, offset, n); n;) {
        uint64_t part = in_chunk(offset, n);
        if (value == 0 ? kept(c, offset / CHUNK) : keep(c, offset / CHUNK))
            fill(c->base + offset, (offset - start) % element, value, element, part);
        offset += part;
        n -= part;
    }
}

/* Copies what is kept into a new memfd, chunk by chunk. */
static bool write_out(const struct dv_cucontent *c, int fd)
{
    for (uint64_t i = 0; c->base && i < chunks(c); i++) {
        uint64_t offset = i * CHUNK, n = clip(c, offset, CHUNK);
        while (kept(c, i) && n) {
            ssize_t w = pwrite(fd, c->base + offset, n, (off_t)offset);
            if (w <= 0)
                return false;
            offset += (uint64_t)w;
            n -= (uint64_t)w;
        }
    }
    return true;
}

int dv_cucontent_share(struct dv_cucontent *c, uint64_t extra)
{
    if (c->fd >= 0 || c->borrowed)
        return c->fd;
    int fd = memfd_create("divvy-sim-memory", MFD_CLOEXEC);
    if (fd < 0)
        return -1;
    void *base = MAP_FAILED;
    if (ftruncate(fd, (off_t)(c->bytes + extra)) == 0 && write_out(c, fd))
        base = mmap(c->direct ? c->base : NULL, c->bytes, PROT_READ | PROT_WRITE,
                    MAP_SHARED | (c->direct ? MAP_FIXED : 0), fd, 0);
    if (base == MAP_FAILED) {
        close(fd);
        return -1;
    }
    if (c->base && !c->direct)
        munmap(c->base, c->bytes);
    c->base = base;
    c->fd = fd;
    c->direct = true; /* the others write where we do not see it: all of it counts */
    return fd;
}
