/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static enum dv_log_level log_level = DV_LOG_INFO;
static bool log_times;

void dv_log_set_level(enum dv_log_level level)
{
    log_level = level;
}

void dv_log_timestamps(bool on)
{
    log_times = on;
}

const char *dv_log_value(const char *value, char buf[DV_LOG_VALUE])
{
    bool quote = !*value;
    for (const unsigned char *p = (const unsigned char *)value; *p; p++)
        quote |= *p <= ' ' || *p == '"' || *p == '\\' || *p == '=' || *p == 0x7f;
    size_t n = 0;
    if (quote)
        buf[n++] = '"';
    for (const unsigned char *p = (const unsigned char *)value; *p && n < DV_LOG_VALUE - 8; p++) {
        if (*p < ' ' || *p == 0x7f)
            n += (size_t)snprintf(buf + n, DV_LOG_VALUE - n, "\\x%02x", *p);
        else {
            if (*p == '"' || *p == '\\')
                buf[n++] = '\\';
            buf[n++] = (char)*p;
        }
    }
    if (quote)
        buf[n++] = '"';
    buf[n] = 0;
    return buf;
}

void dv_log(enum dv_log_level level, const char *event, const char *fmt, ...)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    char line[2048];
    size_t n = 0;
    if (level > log_level)
        return;
    if (log_times) {
        struct timespec ts;
        struct tm tm;
        clock_gettime(CLOCK_REALTIME, &ts);
        gmtime_r(&ts.tv_sec, &tm);
        n = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &tm);
        n += (size_t)snprintf(line + n, sizeof line - n, ".%03ldZ ", ts.tv_nsec / 1000000);
    }
    n += (size_t)snprintf(line + n, sizeof line - n, "%s %s ", names[level], event);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line + n, sizeof line - n - 1, fmt, ap);
    va_end(ap);
    n = strlen(line);
    line[n++] = '\n';
    /* One write per line: lines of several processes do not mix. A lost log line is no failure. */
    if (write(STDERR_FILENO, line, n) < 0)
        return;
}
