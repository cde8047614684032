/* SPDX-License-Identifier: Apache-2.0 */
#include "feed.h"

#include <errno.h>

#define LOOK_EVERY 4096u /* samples between looks at Ctrl-C */

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
        f->memory_max = DV_MAX(f->memory_max, *value);
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
        if (!dv_long_run_at(&f->run, f->run.total ? f->done : f->samples)) {
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
