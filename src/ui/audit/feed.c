/* SPDX-License-Identifier: Apache-2.0 */
#include "feed.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOOK_EVERY 4096u /* samples between looks at the clock and at Ctrl-C */

static volatile sig_atomic_t stop;

static void on_interrupt(int signal)
{
    stop = 1;
}

void dv_audit_feed_catch(void)
{
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

bool dv_audit_feed_interrupted(void)
{
    return stop;
}

void dv_audit_feed_progress(struct dv_audit_feed *f, const char *what)
{
    struct timespec now;
    if (!f->show || clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        return;
    int64_t ms = now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
    if (ms - f->shown_ms < 200)
        return;
    f->shown_ms = ms;
    fprintf(stderr, "\r\033[Kdivvy audit: %s", what);
    if (f->total)
        fprintf(stderr, ", %u %%",
                (unsigned)(DV_MIN(f->done, f->total) * 100.0 / (double)f->total));
    if (f->samples)
        fprintf(stderr, ", %llu samples", (unsigned long long)f->samples);
    fflush(stderr);
}

void dv_audit_feed_progress_end(struct dv_audit_feed *f)
{
    if (f->show && f->shown_ms)
        fputs("\r\033[K", stderr);
    f->shown_ms = 0;
}

int dv_audit_feed_find(struct dv_audit_feed *f, const char *workload, const char *gpu,
                       uint32_t *ret, struct dv_err *err)
{
    int r = dv_audit_find(f->audit, workload, gpu, ret);
    if (r == -EINVAL)
        return dv_err_set(err, r, "a workload's name has 1 to %u bytes", DV_AUDIT_NAME_MAX);
    if (r == -E2BIG)
        return dv_err_set(err, r, "more than %u workloads; is this the column that names them?",
                          DV_AUDIT_WORKLOADS_MAX);
    return r < 0 ? dv_err_set(err, r, "out of memory") : 0;
}

static int check(struct dv_audit_feed *f, bool memory, int64_t unix_ns, double *value,
                 struct dv_err *err)
{
    if (memory) {
        if (*value < 0 || *value > DV_AUDIT_MEMORY_MAX)
            return dv_err_set(err, -ERANGE, "%g bytes of memory: not between 0 and 2^50", *value);
    } else {
        if (*value < 0 || *value > DV_AUDIT_BUSY_MAX)
            return dv_err_set(err, -ERANGE,
                              "a utilization of %g %%; is it in percent? (--scale says)", *value);
        f->busy_max = DV_MAX(f->busy_max, *value);
        f->clamped += *value > 100;
        *value = DV_MIN(*value, 100);
    }
    return 0;
}

int dv_audit_feed_to(struct dv_audit_feed *f, uint32_t workload, bool memory, int64_t unix_ns,
                     double value, struct dv_err *err)
{
    if (++f->samples % LOOK_EVERY == 0) {
        dv_audit_feed_progress(f, "reading");
        if (stop) {
            f->interrupted = true;
            return 0;
        }
    }
    if (unix_ns < f->from_ns || unix_ns >= f->to_ns) {
        f->outside++;
        return 1;
    }
    int r = check(f, memory, unix_ns, &value, err);
    if (r < 0)
        return r;
    enum dv_audit_add added = memory ? dv_audit_memory(f->audit, workload, unix_ns, value)
                                     : dv_audit_busy(f->audit, workload, unix_ns, value);
    if (added > DV_AUDIT_ADDED_OUT_OF_ORDER || !f->spool || f->spool_err.msg[0])
        return 1;
    struct dv_spool_sample kept = {unix_ns, workload & INT32_MAX, memory, (float)value};
    dv_spool_add(f->spool, kept, &f->spool_err);
    return 1;
}

int dv_audit_feed_sample(struct dv_audit_feed *f, const char *workload, const char *gpu,
                         bool memory, int64_t unix_ns, double value, struct dv_err *err)
{
    uint32_t w = 0;
    if (unix_ns < f->from_ns || unix_ns >= f->to_ns) { /* not even a workload of this audit */
        f->samples++;
        f->outside++;
        return 1;
    }
    int r = dv_audit_feed_find(f, workload, gpu, &w, err);
    return r < 0 ? r : dv_audit_feed_to(f, w, memory, unix_ns, value, err);
}
