/* SPDX-License-Identifier: Apache-2.0 */
#include "lintfile/collect.h"

#include "lintfile/lintfile.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void dv_collect_done(struct dv_collect *c)
{
    for (uint32_t i = 0; i < c->n; i++)
        free(c->files[i].path);
    free(c->files);
    *c = (struct dv_collect){0};
}

static int add_file(struct dv_collect *c, const char *path, bool named, struct dv_err *err)
{
    if (c->n == DV_COLLECT_MAX)
        return dv_err_set(err, -E2BIG, "more than %u files", DV_COLLECT_MAX);
    if (c->n == c->cap) {
        uint32_t cap = c->cap ? 2 * c->cap : 32;
        void *more = realloc(c->files, cap * sizeof *c->files);
        if (!more)
            return dv_err_set(err, -ENOMEM, "out of memory");
        c->files = more;
        c->cap = cap;
    }
    char *copy = strdup(path);
    if (!copy)
        return dv_err_set(err, -ENOMEM, "out of memory");
    c->files[c->n++] = (struct dv_collect_file){copy, named};
    return 0;
}

static int add_folder(struct dv_collect *c, const char *path, unsigned depth, struct dv_err *err);

static int add_entry(struct dv_collect *c, const char *folder, const char *name, unsigned depth,
                     struct dv_err *err)
{
    dv_cleanup(dv_str_done) struct dv_str path = {0};
    size_t len = strlen(folder);
    struct stat st;
    dv_str_addf(&path, "%s%s%s", folder, len && folder[len - 1] == '/' ? "" : "/", name);
    if (path.failed)
        return dv_err_set(err, -ENOMEM, "out of memory");
    if (lstat(path.data, &st) < 0)
        return 0; /* gone since it was listed */
    if (S_ISDIR(st.st_mode))
        return add_folder(c, path.data, depth + 1, err);
    if (S_ISLNK(st.st_mode) && (stat(path.data, &st) < 0 || !S_ISREG(st.st_mode)))
        return 0;
    if (!S_ISREG(st.st_mode) || dv_lintfile_type_of(name) == DV_LINTFILE_AUTO)
        return 0;
    return add_file(c, path.data, false, err);
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int add_folder(struct dv_collect *c, const char *path, unsigned depth, struct dv_err *err)
{
    struct dirent **list;
    if (depth > DV_COLLECT_DEPTH_MAX)
        return dv_err_set(err, -E2BIG, "%.200s: folders in more than %u folders", path,
                          DV_COLLECT_DEPTH_MAX);
    int n = scandir(path, &list, visible, alphasort), r = 0;
    if (n < 0)
        return dv_err_set(err, -errno, "cannot read %.200s: %s", path, strerror(errno));
    for (int i = 0; i < n; i++) {
        r = r ? r : add_entry(c, path, list[i]->d_name, depth, err);
        free(list[i]);
    }
    free(list);
    return r;
}

int dv_collect_add(struct dv_collect *c, const char *path, struct dv_err *err)
{
    struct stat st;
    if (!strcmp(path, "-"))
        return add_file(c, path, true, err);
    if (stat(path, &st) < 0)
        return dv_err_set(err, -errno, "cannot open %.300s: %s", path, strerror(errno));
    return S_ISDIR(st.st_mode) ? add_folder(c, path, 0, err) : add_file(c, path, true, err);
}
