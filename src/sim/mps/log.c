/* SPDX-License-Identifier: Apache-2.0 */
#include "mps/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int dv_mpslog_open(struct dv_mpslog *log, const char *directory, const char *name)
{
    char path[512];

    if (mkdir(directory, 0755) < 0 && errno != EEXIST)
        return -errno;
    if ((size_t)snprintf(path, sizeof(path), "%s/%s", directory, name) >= sizeof(path))
        return -ENAMETOOLONG;
    log->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    return log->fd < 0 ? -errno : 0;
}

void dv_mpslog_write(const struct dv_mpslog *log, const char *fmt, ...)
{
    char line[1200], when[32], text[1024];
    struct timespec t;
    struct tm tm;
    int n;

    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    clock_gettime(CLOCK_REALTIME, &t);
    strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", localtime_r(&t.tv_sec, &tm));
    n = snprintf(line, sizeof(line), "[%s.%03ld %s %5d] %s\n", when, t.tv_nsec / 1000000,
                 log->party, (int)getpid(), text);
    n = DV_MIN(n, (int)sizeof(line) - 1);
    /* A log that cannot be written to is no reason to fail. */
    if (log->fd >= 0 && write(log->fd, line, (size_t)n) < 0)
        return;
    if (log->echo)
        fputs(line, stderr);
}
