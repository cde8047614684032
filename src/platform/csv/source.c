/* SPDX-License-Identifier: Apache-2.0 */
#include "csv/source.h"

#include "base/macros.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define RAW_SIZE 131072u

struct dv_csv_source {
    int fd;
    const unsigned char *in; /* bytes not yet handed on */
    size_t n_in;
    bool raw_end;               /* nothing comes after `in` */
    bool started, gzip, inside; /* inside: a gzip member has begun and not ended */
    z_stream z;
    uint64_t n_read, total;
    unsigned char *raw;
};

int dv_csv_source_new(int fd, const void *data, size_t size, struct dv_csv_source **ret)
{
    struct dv_csv_source *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->fd = fd;
    if (fd < 0) {
        s->in = data;
        s->n_in = s->n_read = s->total = size;
        s->raw_end = true;
    } else {
        struct stat st;
        s->total = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
        s->raw = malloc(RAW_SIZE);
        if (!s->raw) {
            free(s); /* the descriptor stays the caller's */
            return -ENOMEM;
        }
    }
    *ret = s;
    return 0;
}

void dv_csv_source_free(struct dv_csv_source *s)
{
    if (!s)
        return;
    if (s->gzip)
        inflateEnd(&s->z);
    if (s->fd > STDIN_FILENO)
        close(s->fd);
    free(s->raw);
    free(s);
}

/* Makes `in` hold at least `want` bytes, want <= RAW_SIZE, unless the end comes first. */
static int fill(struct dv_csv_source *s, size_t want, struct dv_err *err)
{
    if (s->n_in >= want || s->raw_end)
        return 0;
    if (s->n_in)
        memmove(s->raw, s->in, s->n_in);
    s->in = s->raw;
    while (s->n_in < want) {
        ssize_t n = read(s->fd, s->raw + s->n_in, RAW_SIZE - s->n_in);
        if (n < 0)
            return dv_err_set(err, -errno, "%s", strerror(errno));
        if (!n) {
            s->raw_end = true;
            break;
        }
        s->n_in += (size_t)n;
        s->n_read += (uint64_t)n;
    }
    return 0;
}

static const struct {
    unsigned char len;
    unsigned char magic[6];
    const char *name, *todo;
} foreign[] = {
    {4, {0x28, 0xb5, 0x2f, 0xfd}, "is compressed by zstd", "zstd -dc FILE, and read '-'"},
    {6, {0xfd, '7', 'z', 'X', 'Z', 0}, "is compressed by xz", "xz -dc FILE, and read '-'"},
    {3, {'B', 'Z', 'h'}, "is compressed by bzip2", "bzip2 -dc FILE, and read '-'"},
    {4, {'P', 'K', 3, 4}, "is a zip archive", "unzip -p FILE, and read '-'"},
    {4, {'P', 'A', 'R', '1'}, "is Parquet", "write it as CSV"},
    {2, {0xff, 0xfe}, "is UTF-16", "write it as UTF-8"},
    {2, {0xfe, 0xff}, "is UTF-16", "write it as UTF-8"},
};

/* Looks at the first bytes. */
static int start(struct dv_csv_source *s, struct dv_err *err)
{
    int r = fill(s, 8, err);
    if (r < 0)
        return r;
    s->started = true;
    for (size_t i = 0; i < DV_ARRAY_SIZE(foreign); i++)
        if (s->n_in >= foreign[i].len && !memcmp(s->in, foreign[i].magic, foreign[i].len))
            return dv_err_set(err, -EINVAL, "%s, which is not read here: %s", foreign[i].name,
                              foreign[i].todo);
    if (s->n_in < 2 || s->in[0] != 0x1f || s->in[1] != 0x8b)
        return 0;
    if (inflateInit2(&s->z, 15 + 16) != Z_OK)
        return -ENOMEM;
    s->gzip = s->inside = true;
    return 0;
}

static int64_t read_plain(struct dv_csv_source *s, void *buf, size_t size, struct dv_err *err)
{
    if (!s->n_in && !s->raw_end) { /* straight into the caller's buffer */
        ssize_t n = read(s->fd, buf, size);
        if (n < 0)
            return dv_err_set(err, -errno, "%s", strerror(errno));
        s->raw_end = n == 0;
        s->n_read += (uint64_t)n;
        return n;
    }
    size_t n = DV_MIN(size, s->n_in);
    if (n)
        memcpy(buf, s->in, n);
    s->in += n;
    s->n_in -= n;
    return (int64_t)n;
}

/* After a member: another one (1), the end (0), or what does not belong there. */
static int next_member(struct dv_csv_source *s, struct dv_err *err)
{
    for (;;) { /* tape blocks are filled up with zeros */
        int r = fill(s, 2, err);
        if (r < 0)
            return r;
        if (!s->n_in)
            return 0;
        if (s->in[0])
            break;
        s->in++;
        s->n_in--;
    }
    if (s->n_in < 2 || s->in[0] != 0x1f || s->in[1] != 0x8b)
        return dv_err_set(err, -EINVAL, "the gzip data is followed by bytes that are not gzip");
    if (inflateReset(&s->z) != Z_OK)
        return dv_err_set(err, -EINVAL, "zlib: cannot start the next gzip member");
    s->inside = true;
    return 1;
}

static int64_t read_gzip(struct dv_csv_source *s, void *buf, size_t size, struct dv_err *err)
{
    s->z.next_out = buf;
    s->z.avail_out = (uInt)DV_MIN(size, (size_t)INT_MAX);
    const uInt asked = s->z.avail_out;
    while (s->z.avail_out == asked) {
        int r = s->inside ? 1 : next_member(s, err);
        if (r <= 0)
            return r;
        r = fill(s, 1, err);
        if (r < 0)
            return r;
        if (!s->n_in)
            return dv_err_set(err, -EINVAL,
                              "the gzip data ends in the middle: the file was cut; copy it again");
        s->z.next_in = (unsigned char *)s->in; /* zlib's declaration lacks a const */
        s->z.avail_in = (uInt)DV_MIN(s->n_in, (size_t)INT_MAX);
        uInt before = s->z.avail_in;
        int z = inflate(&s->z, Z_NO_FLUSH);
        s->in += before - s->z.avail_in;
        s->n_in -= before - s->z.avail_in;
        if (z == Z_MEM_ERROR)
            return -ENOMEM;
        if (z == Z_STREAM_END)
            s->inside = false;
        else if (z != Z_OK && z != Z_BUF_ERROR)
            return dv_err_set(err, -EINVAL, "the gzip data is damaged (%s); copy it again",
                              s->z.msg ? s->z.msg : "bad header");
    }
    return asked - s->z.avail_out;
}

int64_t dv_csv_source_read(struct dv_csv_source *s, void *buf, size_t size, struct dv_err *err)
{
    if (!s->started) {
        int r = start(s, err);
        if (r < 0)
            return r;
    }
    return s->gzip ? read_gzip(s, buf, size, err) : read_plain(s, buf, size, err);
}

void dv_csv_source_progress(const struct dv_csv_source *s, uint64_t *ret_read, uint64_t *ret_total)
{
    *ret_read = s->n_read - s->n_in;
    *ret_total = s->total;
}
