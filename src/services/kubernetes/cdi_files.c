/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/cdi_files.h"

#include "kubernetes/allocated.h"
#include "kubernetes/edits.h"
#include "sys/fd.h"
#include "sys/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MEMORY_FILE "allocations"
#define MEMORY_MAX (8u * 1024 * 1024)

struct dv_cdi_files {
    struct dv_node *node;
    char dir[PATH_MAX], memory[PATH_MAX];
    struct dv_allocated_list list; /* `written`: since the start */
};

/* ---- files ---- */

static int write_file(struct dv_cdi_files *f, struct dv_allocated *a, struct dv_err *err)
{
    dv_cleanup(dv_container_request_done) struct dv_container_request request = {{0}};
    dv_cleanup(dv_cdi_edits_done) struct dv_cdi_edits edits = {0};
    const struct dv_cdi_device device = {a->name, &edits};
    snprintf(request.resource, sizeof request.resource, "%s", a->resource);
    request.devices = calloc(a->n ? a->n : 1, sizeof *request.devices);
    if (!request.devices)
        return dv_err_set(err, -ENOMEM, "out of memory");
    for (; request.n_devices < a->n; request.n_devices++)
        snprintf(request.devices[request.n_devices], sizeof *request.devices, "%s",
                 a->units[request.n_devices]);
    int r = dv_edits_of(f->node, &request, &edits, err);
    if (r == 0)
        r = dv_cdi_write(f->dir, DV_EDITS_KIND, a->name, &device, 1, err);
    a->written = r == 0;
    return r;
}

static void remove_file(struct dv_cdi_files *f, const struct dv_allocated *a)
{
    struct dv_err err;
    char value[DV_LOG_VALUE];
    if (dv_cdi_remove(f->dir, DV_EDITS_KIND, a->name, &err) < 0)
        dv_log(DV_LOG_WARNING, "cdi.left", "detail=%s", dv_log_value(err.msg, value));
}

/* ---- memory ---- */

/* One line for each: the resource, then its units, with blanks between, which neither can have. */
static void remember(struct dv_cdi_files *f)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    char temporary[PATH_MAX + 8];
    for (size_t i = 0; i < f->list.n; i++) {
        dv_str_addf(&text, "%s", f->list.all[i].resource);
        for (size_t k = 0; k < f->list.all[i].n; k++)
            dv_str_addf(&text, " %s", f->list.all[i].units[k]);
        dv_str_addf(&text, "\n");
    }
    snprintf(temporary, sizeof temporary, "%s.new", f->memory);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool done = fd >= 0 && !text.failed &&
                write(fd, dv_str_get(&text), text.len) == (ssize_t)text.len && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    if (!done || rename(temporary, f->memory) < 0)
        dv_log(DV_LOG_WARNING, "allocations.not_written", "path=%s error=%s", f->memory,
               strerror(errno));
}

/* What cannot be read is what a kubelet will ask for again, or a runtime will miss. */
static void recall_line(struct dv_cdi_files *f, char *line)
{
    const char **units = calloc(strlen(line) / 2 + 1, sizeof *units);
    struct dv_allocated a;
    char *rest, *resource = strtok_r(line, " ", &rest);
    size_t n = 0;
    for (char *u; units && resource && (u = strtok_r(NULL, " ", &rest));)
        units[n++] = u;
    if (n && dv_allocated_make(resource, units, n, &a) == 0)
        dv_allocated_add(&f->list, &a);
    free(units);
}

static void recall(struct dv_cdi_files *f)
{
    struct dv_err err;
    char *text, *rest;
    size_t len;
    if (dv_fd_read_file(f->memory, MEMORY_MAX, &text, &len, &err) < 0)
        return;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        recall_line(f, line);
    free(text);
}

/* ---- use ---- */

static void drop_old(struct dv_cdi_files *f)
{
    struct dv_allocated *old;
    while ((old = dv_allocated_surplus(&f->list))) {
        remove_file(f, old);
        dv_allocated_remove(&f->list, old);
    }
}

int dv_cdi_files_put(struct dv_cdi_files *f, const char *resource,
                     const struct dv_kubelet_ids *units, char ret_name[DV_CDI_FILES_NAME],
                     struct dv_err *err)
{
    struct dv_allocated a;
    if (dv_allocated_make(resource, units->ids, units->count, &a) < 0)
        return dv_err_set(err, -ENOMEM, "out of memory");
    int r = write_file(f, &a, err);
    if (r < 0) {
        dv_allocated_done(&a);
        return r;
    }
    snprintf(ret_name, DV_CDI_FILES_NAME, DV_EDITS_KIND "=%s", a.name);
    if (dv_allocated_add(&f->list, &a) < 0)
        return dv_err_set(err, -ENOMEM, "out of memory");
    drop_old(f);
    remember(f);
    return 0;
}

void dv_cdi_files_restore(struct dv_cdi_files *f)
{
    struct dv_err err;
    char value[DV_LOG_VALUE];
    for (size_t i = 0; i < f->list.n; i++) {
        int r = f->list.all[i].written ? 0 : write_file(f, &f->list.all[i], &err);
        if (r < 0 && r != -EAGAIN && r != -ENOENT)
            dv_log(DV_LOG_WARNING, "cdi.not_written", "resource=%s detail=%s",
                   f->list.all[i].resource, dv_log_value(err.msg, value));
    }
}

/* ---- life ---- */

int dv_cdi_files_new(struct dv_node *node, const char *dir, const char *state,
                     struct dv_cdi_files **ret)
{
    struct dv_cdi_files *f = calloc(1, sizeof *f);
    if (!f)
        return -ENOMEM;
    f->node = node;
    snprintf(f->dir, sizeof f->dir, "%s", dir);
    if (snprintf(f->memory, sizeof f->memory, "%s/" MEMORY_FILE, state) >= (int)sizeof f->memory) {
        free(f);
        return -ENAMETOOLONG;
    }
    recall(f);
    *ret = f;
    return 0;
}

void dv_cdi_files_free(struct dv_cdi_files *f)
{
    if (!f)
        return;
    dv_allocated_list_done(&f->list);
    free(f);
}
