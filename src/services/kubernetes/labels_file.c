/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/labels_file.h"

#include "render/labels_text.h"
#include "sys/fd.h"
#include "sys/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RETRY_MS 1000u
#define MODE 0644

struct dv_labels_file {
    struct dv_labels_file_options options;
    char *path;
    dv_labels_file_source *source;
    void *arg;
    struct dv_loop_source *timer;
    struct dv_labels written; /* what the file has */
    bool is_written;
    bool is_there;                              /* a file of ours, be it from the one before */
    char said[sizeof((struct dv_err *)0)->msg]; /* the last problem that was logged */
    bool waits;                                 /* that is none, only not now */
};

static void say(struct dv_labels_file *f, const char *message)
{
    char path[DV_LOG_VALUE], value[DV_LOG_VALUE];
    if (!strcmp(f->said, message))
        return;
    snprintf(f->said, sizeof f->said, "%s", message);
    if (*message)
        dv_log(f->waits ? DV_LOG_INFO : DV_LOG_WARNING, "labels.file", "path=%s error=%s",
               dv_log_value(f->path, path), dv_log_value(message, value));
}

/* Is what the file has what it should have? Somebody else may have removed it. */
static bool is_current(const struct dv_labels_file *f, const struct dv_labels *labels)
{
    return f->is_written && dv_labels_equal(&f->written, labels) && access(f->path, F_OK) == 0;
}

static int write_labels(struct dv_labels_file *f, struct dv_labels *labels, struct dv_err *err)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    if (is_current(f, labels))
        return 0;
    dv_labels_text_features(labels, &text);
    if (text.failed)
        return dv_err_set(err, -ENOMEM, "out of memory");
    int r = dv_fd_replace_file(f->path, dv_str_get(&text), text.len, MODE, err);
    if (r < 0)
        return r;
    dv_labels_done(&f->written);
    f->written = *labels;
    *labels = (struct dv_labels){0};
    f->is_written = f->is_there = true;
    dv_log(DV_LOG_INFO, "labels.written", "labels=%zu", f->written.n);
    return 0;
}

void dv_labels_file_look(struct dv_labels_file *f)
{
    dv_cleanup(dv_labels_done) struct dv_labels labels = {0};
    struct dv_err err = {0};
    if (f->options.oneshot && f->is_written)
        return;
    int r = f->source(f->arg, &labels, &err);
    if (r == 0)
        r = write_labels(f, &labels, &err);
    f->waits = r == -EAGAIN;
    say(f, r < 0 ? err.msg : "");
}

static void on_timer(void *arg)
{
    struct dv_labels_file *f = arg;
    dv_labels_file_look(f);
    bool again = f->options.interval_ms && !f->options.oneshot;
    uint64_t next = !f->is_written ? RETRY_MS : again ? f->options.interval_ms : 0;
    if (next) {
        dv_loop_timer_set(f->timer, next, next);
    } else {
        dv_loop_remove(f->timer);
        f->timer = NULL;
    }
}

int dv_labels_file_new(struct dv_loop *loop, const struct dv_labels_file_options *options,
                       dv_labels_file_source *source, void *arg, struct dv_labels_file **ret,
                       struct dv_err *err)
{
    if (!options->path || !options->path[0])
        return dv_err_set(err, -EINVAL, "the file of labels has no path");
    struct dv_labels_file *f = calloc(1, sizeof *f);
    char *path = strdup(options->path);
    int r = f && path ? 0 : -ENOMEM;
    if (r == 0) {
        *f = (struct dv_labels_file){
            .options = *options, .path = path, .source = source, .arg = arg};
        r = dv_loop_timer(loop, 0, RETRY_MS, on_timer, f, &f->timer);
    }
    if (r < 0) {
        free(path);
        free(f);
        return dv_err_set(err, r, "%s: %s", options->path, strerror(-r));
    }
    *ret = f;
    return 0;
}

int dv_labels_file_follow(struct dv_labels_file *old, struct dv_loop *loop,
                          const struct dv_labels_file_options *options,
                          dv_labels_file_source *source, void *arg, struct dv_labels_file **ret,
                          struct dv_err *err)
{
    int r = dv_labels_file_new(loop, options, source, arg, ret, err);
    if (r == 0 && old && !strcmp(old->path, (*ret)->path)) {
        (*ret)->is_there = old->is_there;
        old->is_there = false;
    }
    dv_labels_file_free(old);
    return r;
}

void dv_labels_file_free(struct dv_labels_file *f)
{
    if (!f)
        return;
    bool keep = f->options.keep || f->options.oneshot || !f->options.interval_ms;
    if (f->is_there && !keep && unlink(f->path) < 0 && errno != ENOENT)
        say(f, strerror(errno));
    dv_loop_remove(f->timer);
    dv_labels_done(&f->written);
    free(f->path);
    free(f);
}

bool dv_labels_file_written(const struct dv_labels_file *f)
{
    return f->is_written;
}

const char *dv_labels_file_problem(const struct dv_labels_file *f)
{
    return f->waits ? "" : f->said;
}
