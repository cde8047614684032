/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/cdi_files.h"

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
#define ALLOCATIONS_MAX 16384u

struct allocation {
    char name[24];  /* of the device and its file */
    char *resource; /* owns the units' texts too */
    char **units;
    size_t n;
    bool written; /* since the start */
};

struct dv_cdi_files {
    struct dv_node *node;
    char dir[PATH_MAX], memory[PATH_MAX];
    struct allocation *all;
    size_t n;
};

/* ---- allocations ---- */

static void allocation_done(struct allocation *a)
{
    for (size_t i = 0; a->units && i < a->n; i++)
        free(a->units[i]);
    free(a->units);
    free(a->resource);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* FNV-1a over the resource and the sorted units: the same again whatever order they come in. */
static void make_name(struct allocation *a)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i <= a->n; i++) {
        const char *text = i ? a->units[i - 1] : a->resource;
        for (size_t k = 0; k <= strlen(text); k++)
            hash = (hash ^ (unsigned char)text[k]) * UINT64_C(0x100000001b3);
    }
    snprintf(a->name, sizeof a->name, "a%016llx", (unsigned long long)hash);
}

static int allocation_make(const char *resource, const char *const *units, size_t n,
                           struct allocation *ret)
{
    struct allocation a = {.resource = strdup(resource),
                           .units = calloc(n ? n : 1, sizeof(char *))};
    bool whole = a.resource && a.units;
    for (a.n = 0; whole && a.n < n; a.n++)
        whole = (a.units[a.n] = strdup(units[a.n])) != NULL;
    if (!whole) {
        allocation_done(&a);
        return -ENOMEM;
    }
    qsort(a.units, a.n, sizeof *a.units, by_text);
    make_name(&a);
    *ret = a;
    return 0;
}

static bool share_a_unit(const struct allocation *a, const struct allocation *b)
{
    for (size_t i = 0, k = 0; i < a->n && k < b->n;) {
        int order = strcmp(a->units[i], b->units[k]);
        if (order == 0)
            return true;
        if (order < 0)
            i++;
        else
            k++;
    }
    return false;
}

/* ---- files ---- */

static int write_file(struct dv_cdi_files *f, struct allocation *a, struct dv_err *err)
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

static void remove_file(struct dv_cdi_files *f, const struct allocation *a)
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
    for (size_t i = 0; i < f->n; i++) {
        dv_str_addf(&text, "%s", f->all[i].resource);
        for (size_t k = 0; k < f->all[i].n; k++)
            dv_str_addf(&text, " %s", f->all[i].units[k]);
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

static int add(struct dv_cdi_files *f, struct allocation *a)
{
    struct allocation *more =
        f->n < ALLOCATIONS_MAX ? realloc(f->all, (f->n + 1) * sizeof *more) : NULL;
    if (!more)
        return -ENOMEM;
    f->all = more;
    f->all[f->n++] = *a;
    return 0;
}

/* What cannot be read is what a kubelet will ask for again, or a runtime will miss. */
static void recall_line(struct dv_cdi_files *f, char *line)
{
    const char **units = calloc(strlen(line) / 2 + 1, sizeof *units);
    struct allocation a;
    char *rest, *resource = strtok_r(line, " ", &rest);
    size_t n = 0;
    for (char *u; units && resource && (u = strtok_r(NULL, " ", &rest));)
        units[n++] = u;
    if (n && allocation_make(resource, units, n, &a) == 0 && add(f, &a) < 0)
        allocation_done(&a);
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

int dv_cdi_files_put(struct dv_cdi_files *f, const char *resource,
                     const struct dv_kubelet_ids *units, char ret_name[DV_CDI_FILES_NAME],
                     struct dv_err *err)
{
    struct allocation a;
    size_t kept = 0;
    if (allocation_make(resource, units->ids, units->count, &a) < 0)
        return dv_err_set(err, -ENOMEM, "out of memory");
    int r = write_file(f, &a, err);
    if (r < 0) {
        allocation_done(&a);
        return r;
    }
    for (size_t i = 0; i < f->n; i++) {
        if (!share_a_unit(&f->all[i], &a)) {
            f->all[kept++] = f->all[i];
            continue;
        }
        if (strcmp(f->all[i].name, a.name) != 0)
            remove_file(f, &f->all[i]);
        allocation_done(&f->all[i]);
    }
    f->n = kept;
    snprintf(ret_name, DV_CDI_FILES_NAME, DV_EDITS_KIND "=%s", a.name);
    if (add(f, &a) < 0) {
        allocation_done(&a);
        return dv_err_set(err, -ENOMEM, "out of memory");
    }
    remember(f);
    return 0;
}

void dv_cdi_files_restore(struct dv_cdi_files *f)
{
    struct dv_err err;
    char value[DV_LOG_VALUE];
    for (size_t i = 0; i < f->n; i++) {
        int r = f->all[i].written ? 0 : write_file(f, &f->all[i], &err);
        if (r < 0 && r != -EAGAIN && r != -ENOENT)
            dv_log(DV_LOG_WARNING, "cdi.not_written", "resource=%s detail=%s", f->all[i].resource,
                   dv_log_value(err.msg, value));
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
    for (size_t i = 0; i < f->n; i++)
        allocation_done(&f->all[i]);
    free(f->all);
    free(f);
}
