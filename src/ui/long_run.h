/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work that takes a while: a line on the terminal that says how far it is, at which rate and until
 * when, and Ctrl-C that ends it in order, with what was done until then.
 *
 *     struct dv_long_run run;
 *     dv_long_run_begin(&run, "placing", "pods", n_pods);
 *     for (i = 0; i < n_pods && dv_long_run_at(&run, i); i++) ...
 *     exit = dv_long_run_end(&run);       0, or 128 + the signal
 *
 * Nothing is shown where stderr is no terminal, nor in the first second.
 */
#ifndef DV_UI_LONG_RUN_H
#define DV_UI_LONG_RUN_H

#include "base/str.h"

struct dv_long_run {
    const char *what, *units;
    uint64_t total; /* 0: not known */
    uint64_t began_ns, said_ns;
    uint32_t skip, skipped; /* calls between two looks at the clock */
    bool terminal, shown;
};

/* Takes SIGINT and SIGTERM from here on, once for the process. */
void dv_long_run_begin(struct dv_long_run *run, const char *what, const char *units,
                       uint64_t total);
/* False: stop, somebody asked for it. Cheap enough for every step. */
bool dv_long_run_at(struct dv_long_run *run, uint64_t done);
/* Takes the line away. 0, or 128 + the signal that ended it. */
int dv_long_run_end(struct dv_long_run *run);
/* Signals end the process again, as if nothing had been begun: for what comes after long runs, and
 * before the answer is printed, so that who ends that gets no half of it for a whole. */
void dv_long_run_release(void);
/* The signal that asked to stop; 0: none. */
int dv_long_run_signal(void);

/* The line itself: "placing  42% 4,812 of 10,866 pods, 51,000/s, 1s left". elapsed > 0. */
void dv_long_run_line(const struct dv_long_run *run, uint64_t done, uint64_t elapsed_ns,
                      struct dv_str *text);

#endif
