/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies and fills. A transfer takes the time of a copy engine (or of the SMs, for fills) and
 * moves its bytes: at the end of a synchronous copy; when it is submitted, for others, which
 * is a legal order as a stream can only wait for what was submitted before; and behind
 * host functions that are still to come, when there are any.
 */
#include "driver.h"

#define BOUNCE 65536

/* ---- bytes ---------------------------------------------------------------------------------- */

struct place { /* n bytes of memory: contents, or host memory that is not ours */
    struct dv_cucontent *content;
    uint64_t offset;
    uint8_t *host;
    uint64_t n;
};

static struct place place_of(uint64_t address, uint64_t n)
{
    struct dv_cumem *m = dv_cumem_find_locked(address);
    if (m && m->content)
        return (struct place){.content = m->content,
                              .offset = m->content_offset + (address - m->address),
                              .n = DV_CU_MIN(n, m->bytes - (address - m->address))};
    if (m) /* reserved addresses: nothing there */
        return (struct place){.n = DV_CU_MIN(n, m->bytes - (address - m->address))};
    return (struct place){.host = (uint8_t *)(uintptr_t)address, .n = n};
}

/* Between contents, or from reserved addresses. What reads as zeros is not written out, so that
 * copying memory that was never written costs nothing. */
static void move(const struct place *dst, const struct place *src, uint64_t n)
{
    uint8_t bounce[BOUNCE];
    for (uint64_t at = 0; at < n && dst->content;) {
        uint64_t part = DV_CU_MIN(n - at, sizeof(bounce));
        if (src->content && dv_cucontent_kept(src->content, src->offset + at, part)) {
            dv_cucontent_read(src->content, src->offset + at, bounce, part);
            dv_cucontent_write(dst->content, dst->offset + at, bounce, part);
        } else {
            dv_cucontent_fill(dst->content, dst->offset + at, 0, 1, part);
        }
        at += part;
    }
}

static void copy_places(const struct place *dst, const struct place *src, uint64_t n)
{
    if (dst->host && src->host)
        memmove(dst->host, src->host, n);
    else if (dst->host && src->content)
        dv_cucontent_read(src->content, src->offset, dst->host, n);
    else if (dst->host)
        memset(dst->host, 0, n);
    else if (dst->content && src->host)
        dv_cucontent_write(dst->content, dst->offset, src->host, n);
    else
        move(dst, src, n);
}

void dv_cucopy_bytes_locked(uint64_t dst, uint64_t src, uint64_t n)
{
    while (n) {
        struct place d = place_of(dst, n), s = place_of(src, n);
        uint64_t part = DV_CU_MIN(d.n, s.n);
        copy_places(&d, &s, part);
        dst += part;
        src += part;
        n -= part;
    }
}

void dv_cucopy_fill_locked(uint64_t dst, uint32_t value, uint32_t element, uint64_t n)
{
    while (n) {
        struct place d = place_of(dst, n);
        if (d.content)
            dv_cucontent_fill(d.content, d.offset, value, element, d.n);
        dst += d.n;
        n -= d.n;
    }
}

/* ---- transfers ------------------------------------------------------------------------------ */

static struct place row_of(const struct dv_cuda_array *array, uint64_t array_offset,
                           uint64_t address, uint64_t at, uint64_t n)
{
    if (!array)
        return place_of(address + at, n);
    return (struct place){
        .content = array->content, .offset = array->content_offset + array_offset + at, .n = n};
}

static void move_rows_locked(const struct dv_cutransfer *t)
{
    for (uint64_t z = 0; z < t->depth; z++)
        for (uint64_t y = 0; y < t->height; y++) {
            uint64_t to = z * t->dst.slice + y * t->dst.pitch;
            uint64_t from = z * t->src.slice + y * t->src.pitch;
            if (t->fill) {
                dv_cucopy_fill_locked(t->dst.address + to, t->value, t->element, t->width);
            } else if (!t->dst.array && !t->src.array) {
                dv_cucopy_bytes_locked(t->dst.address + to, t->src.address + from, t->width);
            } else {
                struct place d =
                    row_of(t->dst.array, t->dst.array_offset, t->dst.address, to, t->width);
                struct place s =
                    row_of(t->src.array, t->src.array_offset, t->src.address, from, t->width);
                copy_places(&d, &s, DV_CU_MIN(d.n, s.n));
            }
        }
}

static void move_now(const struct dv_cutransfer *t)
{
    dv_cu_lock();
    move_rows_locked(t);
    dv_cu_unlock();
}

static void move_later(void *arg)
{
    move_now(arg);
    free(arg);
}

static bool on_device_locked(uint64_t address, const struct dv_cuda_array *array)
{
    if (array)
        return true;
    struct dv_cumem *m = dv_cumem_find_locked(address);
    return m && m->kind != DV_CU_MEM_HOST && m->kind != DV_CU_MEM_REGISTERED;
}

static uint64_t direction(const struct dv_cutransfer *t)
{
    if (t->fill)
        return DV_SIM_COPY_FILL;
    dv_cu_lock();
    bool to = on_device_locked(t->dst.address, t->dst.array);
    bool from = on_device_locked(t->src.address, t->src.array);
    dv_cu_unlock();
    return to && from ? DV_SIM_COPY_D2D : to ? DV_SIM_COPY_H2D : DV_SIM_COPY_D2H;
}

static int gate_move(struct dv_cuda_stream *stream, const struct dv_cutransfer *t)
{
    struct dv_cutransfer *copy = malloc(sizeof(*copy));
    DV_CU_REQUIRE(copy, DV_CUDA_ERROR_OUT_OF_MEMORY);
    *copy = *t;
    int r = dv_cuworker_gate(stream, &(struct dv_cugate){.run = move_later, .arg = copy});
    if (r)
        free(copy);
    return r;
}

int dv_cutransfer_submit(struct dv_cuda_stream *stream, const struct dv_cutransfer *t, bool wait)
{
    uint64_t bytes = t->width * t->height * t->depth, number;
    if (!bytes)
        return 0;
    DV_CU_TRY(dv_curing_submit(stream, DV_SIM_CMD_COPY, bytes, direction(t), &number));
    if (wait)
        DV_CU_TRY(dv_curing_wait(stream, number));
    else if (__atomic_load_n(&P.gates, __ATOMIC_ACQUIRE))
        return gate_move(stream, t);
    move_now(t);
    return 0;
}

/* The last byte of a side is inside of the memory that the first is in; memory that is not ours is
 * the caller's host memory, where that is allowed. */
static int check_side_locked(uint64_t address, uint64_t bytes, bool host_allowed)
{
    struct dv_cumem *m = dv_cumem_find_locked(address);
    if (!m)
        return host_allowed && address ? 0 : DV_CUDA_ERROR_INVALID_VALUE;
    while (m && m->bytes - (address - m->address) < bytes) {
        bytes -= m->bytes - (address - m->address);
        address = m->address + m->bytes;
        m = dv_cumem_find_locked(address);
    }
    return m ? 0 : DV_CUDA_ERROR_INVALID_VALUE;
}

int dv_cutransfer_check(const struct dv_cutransfer *t, bool dst_host, bool src_host)
{
    if (!t->width || !t->height || !t->depth)
        return 0;
    uint64_t rows = t->height - 1, slices = t->depth - 1;
    int r = 0;
    dv_cu_lock();
    if (!t->dst.array)
        r = check_side_locked(t->dst.address,
                              slices * t->dst.slice + rows * t->dst.pitch + t->width, dst_host);
    if (r == 0 && !t->fill && !t->src.array)
        r = check_side_locked(t->src.address,
                              slices * t->src.slice + rows * t->src.pitch + t->width, src_host);
    dv_cu_unlock();
    return r;
}

int dv_cutransfer_do(struct dv_cuda_stream *stream, const struct dv_cutransfer *t, bool wait)
{
    if (DV_CU_LIKELY(!dv_cucapture_active(stream)))
        return dv_cutransfer_submit(stream, t, wait);
    if (wait)
        return dv_cucapture_forbid(stream);
    bool captured;
    struct dv_cugraph_op op = {.type = t->fill ? DV_CUDA_NODE_MEMSET : DV_CUDA_NODE_MEMCPY,
                               .transfer = *t};
    return dv_cucapture_op(stream, &op, &captured, NULL);
}

/* ---- linear copies -------------------------------------------------------------------------- */

enum end {
    DEVICE, /* must be memory of ours */
    HOST,   /* the caller's memory, ours too */
};

static int copy(uint64_t dst, enum end dst_end, uint64_t src, enum end src_end, uint64_t n,
                struct dv_cuda_stream *handle, bool per_thread, bool wait)
{
    struct dv_cuda_stream *s;
    struct dv_cutransfer t = {
        .dst.address = dst, .src.address = src, .width = n, .height = 1, .depth = 1};
    DV_CU_TRY(dv_custream_resolve(handle, per_thread, &s));
    DV_CU_TRY(dv_cutransfer_check(&t, dst_end == HOST, src_end == HOST));
    return dv_cutransfer_do(s, &t, wait);
}

#define AT(pointer) ((uint64_t)(uintptr_t)(pointer))

dv_cuda_api(cuMemcpyHtoD, uint32_t dst, const void *src, unsigned int n)
{
    DV_CU_ENTER();
    return copy(dst, DEVICE, AT(src), HOST, n, NULL, false, true);
}

dv_cuda_api(cuMemcpyDtoH, void *dst, uint32_t src, unsigned int n)
{
    DV_CU_ENTER();
    return copy(AT(dst), HOST, src, DEVICE, n, NULL, false, true);
}

dv_cuda_api(cuMemcpyDtoD, uint32_t dst, uint32_t src, unsigned int n)
{
    DV_CU_ENTER();
    return copy(dst, DEVICE, src, DEVICE, n, NULL, false, false);
}

dv_cuda_api(cuMemcpyHtoDAsync, uint32_t dst, const void *src, unsigned int n,
            struct dv_cuda_stream *stream)
{
    DV_CU_ENTER();
    return copy(dst, DEVICE, AT(src), HOST, n, stream, false, false);
}

dv_cuda_api(cuMemcpyDtoHAsync, void *dst, uint32_t src, unsigned int n,
            struct dv_cuda_stream *stream)
{
    DV_CU_ENTER();
    return copy(AT(dst), HOST, src, DEVICE, n, stream, false, false);
}

dv_cuda_api(cuMemcpyDtoDAsync, uint32_t dst, uint32_t src, unsigned int n,
            struct dv_cuda_stream *stream)
{
    DV_CU_ENTER();
    return copy(dst, DEVICE, src, DEVICE, n, stream, false, false);
}

dv_cuda_api_both(cuMemcpyHtoD_v2, _ptds, (uint64_t dst, const void *src, size_t n),
                 copy(dst, DEVICE, AT(src), HOST, n, NULL, per_thread, true));
dv_cuda_api_both(cuMemcpyDtoH_v2, _ptds, (void *dst, uint64_t src, size_t n),
                 copy(AT(dst), HOST, src, DEVICE, n, NULL, per_thread, true));
dv_cuda_api_both(cuMemcpyDtoD_v2, _ptds, (uint64_t dst, uint64_t src, size_t n),
                 copy(dst, DEVICE, src, DEVICE, n, NULL, per_thread, false));
dv_cuda_api_both(cuMemcpy, _ptds, (uint64_t dst, uint64_t src, size_t n),
                 copy(dst, HOST, src, HOST, n, NULL, per_thread, true));
dv_cuda_api_both(cuMemcpyHtoDAsync_v2, _ptsz,
                 (uint64_t dst, const void *src, size_t n, struct dv_cuda_stream *stream),
                 copy(dst, DEVICE, AT(src), HOST, n, stream, per_thread, false));
dv_cuda_api_both(cuMemcpyDtoHAsync_v2, _ptsz,
                 (void *dst, uint64_t src, size_t n, struct dv_cuda_stream *stream),
                 copy(AT(dst), HOST, src, DEVICE, n, stream, per_thread, false));
dv_cuda_api_both(cuMemcpyDtoDAsync_v2, _ptsz,
                 (uint64_t dst, uint64_t src, size_t n, struct dv_cuda_stream *stream),
                 copy(dst, DEVICE, src, DEVICE, n, stream, per_thread, false));
dv_cuda_api_both(cuMemcpyAsync, _ptsz,
                 (uint64_t dst, uint64_t src, size_t n, struct dv_cuda_stream *stream),
                 copy(dst, HOST, src, HOST, n, stream, per_thread, false));
dv_cuda_api_both(cuMemcpyPeer, _ptds,
                 (uint64_t dst, struct dv_cuda_ctx *dst_ctx, uint64_t src,
                  struct dv_cuda_ctx *src_ctx, size_t n),
                 copy(dst, DEVICE, src, DEVICE, n, NULL, per_thread, true));
dv_cuda_api_both(cuMemcpyPeerAsync, _ptsz,
                 (uint64_t dst, struct dv_cuda_ctx *dst_ctx, uint64_t src,
                  struct dv_cuda_ctx *src_ctx, size_t n, struct dv_cuda_stream *stream),
                 copy(dst, DEVICE, src, DEVICE, n, stream, per_thread, false));
