/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where an audit's samples come from: CSV files, a Prometheus, a ledger. Each of them hands its
 * samples to the feed, which checks values, counts what is missing, gives them to the audit and
 * keeps them for the replay.
 */
#ifndef DV_UI_AUDIT_FEED_H
#define DV_UI_AUDIT_FEED_H

#include "long_run.h"
#include "policy/audit/audit.h"
#include "spool.h"
#include "ui.h"

struct dv_audit_feed {
    struct dv_audit *audit;
    struct dv_spool *spool;    /* NULL: nothing is kept */
    int64_t from_ns, to_ns;    /* [from, to) is looked at */
    uint64_t samples;          /* that were given, with those that were not counted */
    uint64_t missing_values;   /* empty, NaN, N/A */
    uint64_t outside;          /* of [from, to) */
    uint64_t clamped;          /* more than 100 % busy */
    double busy_max;           /* of all values */
    double memory_max;         /* likewise, bytes */
    uint32_t mig_slices;       /* compute slices of a GPU of this fleet that is cut */
    uint64_t asked_step_ns;    /* of a Prometheus; 0: nobody was asked */
    uint64_t step_corrections; /* answers of a Prometheus that did not keep to the step */
    uint64_t series_dropped;   /* of a Prometheus: without a label to name them by */
    bool interrupted;
    struct dv_err spool_err; /* why the samples could not be kept; "" */
    struct dv_long_run run;
    uint64_t done; /* of run.total, where that is known */
};

#define DV_AUDIT_BUSY_MAX 1000.0   /* percent: more is a wrong scale */
#define DV_AUDIT_MEMORY_MAX 1.1e15 /* bytes: 2^50 */

/* 1: taken (or counted as what it is), 0: interrupted; -ENOMEM, -E2BIG, -ERANGE with a message that
 * does not say where. gpu "" where series are not told apart by GPU. */
int dv_audit_feed_sample(struct dv_audit_feed *f, const char *workload, const char *gpu,
                         bool memory, int64_t unix_ns, double value, struct dv_err *err);
/* Many of one workload: find it once. */
int dv_audit_feed_find(struct dv_audit_feed *f, const char *workload, const char *gpu,
                       uint32_t *ret, struct dv_err *err);
int dv_audit_feed_to(struct dv_audit_feed *f, uint32_t workload, bool memory, int64_t unix_ns,
                     double value, struct dv_err *err);

/* ---- CSV ------------------------------------------------------------------------------------ */

struct dv_audit_csv {
    const char *path;
    bool memory;
    const char *columns; /* "time=a,value=b,workload=c,gpu=d"; NULL: those names themselves */
    double scale;        /* what a value is times this: percent, or bytes */
};
/* 0 or an exit status, after a message on stderr. */
int dv_audit_from_csv(const struct dv_ui *ui, struct dv_audit_feed *f,
                      const struct dv_audit_csv *csv);

/* ---- the ledger ----------------------------------------------------------------------------- */

int dv_audit_from_ledger(const struct dv_ui *ui, struct dv_audit_feed *f, const char *path);

/* ---- Prometheus ----------------------------------------------------------------------------- */

struct dv_audit_prometheus {
    const char *url;
    uint64_t range_ns, step_ns;
    bool divvy; /* divvy's own metrics, else DCGM's */
    const char *token_file, *ca;
    const char *workload; /* labels that name one, separated by commas; NULL: the usual ones */
    uint64_t timeout_ns;
};
int dv_audit_from_prometheus(const struct dv_ui *ui, struct dv_audit_feed *f,
                             const struct dv_audit_prometheus *p);

#endif
