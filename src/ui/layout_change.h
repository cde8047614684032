/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks the daemon for a change of the layout, and watches until it is through. The change belongs
 * to the daemon: Ctrl-C ends the watching only, and before the daemon's answer it is said that
 * nobody knows whether it was taken. For whom it waits is said on stderr, and again whenever that
 * changes; on a terminal so is all progress.
 *
 *     static const struct dv_option options[] = {
 *         DV_LAYOUT_CHANGE_OPTIONS(offsetof(struct values, change)),
 *     };
 *     exit = dv_layout_change_run(ui, "/v1/layout/apply", body, &v->change, &answer);
 */
#ifndef DV_UI_LAYOUT_CHANGE_H
#define DV_UI_LAYOUT_CHANGE_H

#include "ui.h"

struct dv_layout_change {
    bool wait, evict, no_watch;
    uint64_t timeout; /* ns; 0: none */
};

#define DV_LAYOUT_CHANGE_OPTIONS(base)                                                             \
    {"wait",         0,                                                                            \
     NULL,           "wait until what is in the way has ended; nothing new is placed there",       \
     DV_OPTION_FLAG, (base) + offsetof(struct dv_layout_change, wait)},                            \
        {"evict",        0,                                                                        \
         NULL,           "end the slices in the way; pods without one are waited for",             \
         DV_OPTION_FLAG, (base) + offsetof(struct dv_layout_change, evict)},                       \
        {"timeout",                                                                                \
         0,                                                                                        \
         "TIME",                                                                                   \
         "with --wait, --evict: give up after so long, and leave the GPUs as they are",            \
         DV_OPTION_DURATION,                                                                       \
         (base) + offsetof(struct dv_layout_change, timeout),                                      \
         .min = 1000000000,                                                                        \
         .max = INT64_C(604800000000000)},                                                         \
    {                                                                                              \
        "no-watch", 0, NULL, "return at once, and let the change go on", DV_OPTION_FLAG,           \
            (base) + offsetof(struct dv_layout_change, no_watch)                                   \
    }

/* Do the options go together? DV_UI_OK, or DV_UI_USAGE after saying why not. */
int dv_layout_change_check(const struct dv_ui *ui, const struct dv_layout_change *change);

/* Adds "when" and "timeout_seconds" to body and sends it. What goes wrong is said on stderr, with
 * who is in the way. Returns the exit status; *ret is the last Layout, or the daemon's error, or
 * NULL. */
int dv_layout_change_run(const struct dv_ui *ui, const char *path, struct dv_output *body,
                         const struct dv_layout_change *change, struct dv_output **ret);

#endif
