/* SPDX-License-Identifier: Apache-2.0 */
#include "spool.h"

#include "base/macros.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST 4096u

struct dv_spool {
    struct dv_spool_sample *samples;
    size_t n, cap;
    int fd; /* -1: all are in memory */
    int failed;
    uint64_t in_file;
};

struct dv_spool *dv_spool_new(void)
{
    struct dv_spool *s = calloc(1, sizeof *s);
    if (s)
        s->fd = -1;
    return s;
}

void dv_spool_free(struct dv_spool *s)
{
    if (!s)
        return;
    if (s->fd >= 0)
        close(s->fd);
    free(s->samples);
    free(s);
}

static int open_file(struct dv_spool *s, struct dv_err *err)
{
    const char *dir = getenv("TMPDIR");
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/divvy-audit-XXXXXX", dir && *dir ? dir : "/tmp");
    if (n < 0 || (size_t)n >= sizeof path)
        return dv_err_set(err, -ENAMETOOLONG, "TMPDIR is too long");
    s->fd = mkostemp(path, O_CLOEXEC);
    if (s->fd < 0)
        return dv_err_set(err, -errno, "%.200s: %s", path, strerror(errno));
    unlink(path);
    return 0;
}

static int write_out(struct dv_spool *s, struct dv_err *err)
{
    int r = s->fd < 0 ? open_file(s, err) : 0;
    const char *p = (const char *)s->samples;
    size_t left = s->n * sizeof *s->samples;
    while (r == 0 && left) {
        ssize_t n = write(s->fd, p, left);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            r = dv_err_set(err, -errno, "the samples' file in $TMPDIR: %s", strerror(errno));
        else
            p += n, left -= (size_t)n;
    }
    s->in_file += r == 0 ? s->n : 0;
    s->n = 0;
    return r;
}

static int make_room(struct dv_spool *s, struct dv_err *err)
{
    if (s->cap == DV_SPOOL_IN_MEMORY)
        return write_out(s, err);
    size_t cap = s->cap ? s->cap * 2 : FIRST;
    struct dv_spool_sample *more = realloc(s->samples, cap * sizeof *more);
    if (!more)
        return dv_err_set(err, -ENOMEM, "out of memory");
    s->samples = more;
    s->cap = cap;
    return 0;
}

int dv_spool_add(struct dv_spool *s, struct dv_spool_sample sample, struct dv_err *err)
{
    if (s->n == s->cap && !s->failed)
        s->failed = make_room(s, err);
    if (s->failed)
        return s->failed;
    s->samples[s->n++] = sample;
    return 0;
}

static int walk_file(struct dv_spool *s, dv_spool_on_samples *on_samples, void *arg,
                     struct dv_err *err)
{
    int r = s->n ? write_out(s, err) : 0;
    uint64_t at = 0;
    while (r == 0 && at < s->in_file) {
        size_t want = (size_t)DV_MIN(s->in_file - at, (uint64_t)FIRST) * sizeof *s->samples,
               have = 0;
        while (have < want) {
            ssize_t n = pread(s->fd, (char *)s->samples + have, want - have,
                              (off_t)(at * sizeof *s->samples + have));
            if (n < 0 && errno == EINTR)
                continue;
            if (n <= 0)
                return dv_err_set(err, n < 0 ? -errno : -EIO, "the samples' file in $TMPDIR: %s",
                                  n < 0 ? strerror(errno) : "it was cut");
            have += (size_t)n;
        }
        at += want / sizeof *s->samples;
        if (!on_samples(arg, s->samples, want / sizeof *s->samples))
            return 0;
    }
    return r;
}

int dv_spool_walk(struct dv_spool *s, dv_spool_on_samples *on_samples, void *arg,
                  struct dv_err *err)
{
    if (s->failed)
        return dv_err_set(err, s->failed, "the samples were not kept");
    if (s->fd >= 0)
        return walk_file(s, on_samples, arg, err);
    for (size_t at = 0; at < s->n; at += FIRST)
        if (!on_samples(arg, s->samples + at, DV_MIN(s->n - at, (size_t)FIRST)))
            break;
    return 0;
}
