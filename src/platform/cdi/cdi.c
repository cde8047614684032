/* SPDX-License-Identifier: Apache-2.0 */
#include "cdi/cdi.h"

#include "render/json.h"
#include "sys/fd.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- edits ---- */

static void list_done(struct dv_cdi_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct dv_cdi_list){0};
}

void dv_cdi_edits_done(struct dv_cdi_edits *e)
{
    list_done(&e->env);
    list_done(&e->hosts);
    list_done(&e->places);
    list_done(&e->nodes);
    list_done(&e->roots);
    list_done(&e->hook);
}

static bool has(const struct dv_cdi_list *list, const char *text)
{
    for (size_t i = 0; i < list->n; i++)
        if (!strcmp(list->items[i], text))
            return true;
    return false;
}

static bool add(struct dv_cdi_edits *e, struct dv_cdi_list *list, const char *text)
{
    if (!list->items)
        list->items = calloc(DV_CDI_LIST_MAX, sizeof *list->items);
    char *copy = list->items && list->n < DV_CDI_LIST_MAX ? strdup(text) : NULL;
    if (copy)
        list->items[list->n++] = copy;
    else
        e->failed = true;
    return copy != NULL;
}

void dv_cdi_env(struct dv_cdi_edits *e, const char *fmt, ...)
{
    char *line;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&line, fmt, ap);
    va_end(ap);
    if (n < 0) {
        e->failed = true;
        return;
    }
    add(e, &e->env, line);
    free(line);
}

/* Lists that belong together stay equally long. */
static void add_pair(struct dv_cdi_edits *e, struct dv_cdi_list *a, const char *x,
                     struct dv_cdi_list *b, const char *y)
{
    if (!add(e, a, x) || add(e, b, y))
        return;
    free(a->items[--a->n]);
}

void dv_cdi_mount(struct dv_cdi_edits *e, const char *host, const char *container, unsigned flags)
{
    if (has(&e->places, container))
        return;
    add_pair(e, &e->places, container, &e->hosts, host);
    if (!e->failed)
        e->mount_flags[e->places.n - 1] = flags;
}

void dv_cdi_node(struct dv_cdi_edits *e, const char *container, const char *host)
{
    if (!has(&e->nodes, container))
        add_pair(e, &e->nodes, container, &e->roots, strcmp(container, host) != 0 ? host : "");
}

void dv_cdi_hook(struct dv_cdi_edits *e, unsigned timeout_s, const char *path)
{
    const char *slash = strrchr(path, '/');
    list_done(&e->hook);
    e->hook_timeout_s = timeout_s;
    add(e, &e->hook, path);
    add(e, &e->hook, slash ? slash + 1 : path);
}

void dv_cdi_hook_argument(struct dv_cdi_edits *e, const char *text)
{
    add(e, &e->hook, text);
}

/* ---- what is valid ---- */

int dv_cdi_check_name(const char *name, struct dv_err *err)
{
    size_t n = strlen(name);
    if (!n || n > DV_CDI_NAME_MAX || !isalnum((unsigned char)name[0]) ||
        !isalnum((unsigned char)name[n - 1]))
        return dv_err_set(err, -EINVAL,
                          "a CDI device's name has 1 to %u characters, the first and the last of "
                          "them letters or digits",
                          DV_CDI_NAME_MAX);
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("_-.:", *p))
            return dv_err_set(err, -EINVAL, "a CDI device's name has the byte 0x%02x",
                              (unsigned)(unsigned char)*p);
    return 0;
}

/* VENDOR/CLASS; a class with dots would need version 0.6.0, and we have none. */
static int check_kind(const char *kind, struct dv_err *err)
{
    const char *slash = strchr(kind, '/');
    size_t n = strlen(kind);
    bool good = slash && slash != kind && slash[1] && n < NAME_MAX / 2 &&
                isalpha((unsigned char)kind[0]) && isalpha((unsigned char)slash[1]) &&
                isalnum((unsigned char)slash[-1]) && isalnum((unsigned char)kind[n - 1]);
    for (const char *p = kind; good && *p; p++)
        good = isalnum((unsigned char)*p) || (p < slash ? strchr("_-.", *p) : strchr("_-", *p)) ||
               p == slash;
    return good ? 0
                : dv_err_set(err, -EINVAL, "\"%.64s\" is no kind of CDI devices, VENDOR/CLASS",
                             kind);
}

static int check_paths(const struct dv_cdi_list *list, bool may_be_empty, struct dv_err *err)
{
    for (size_t i = 0; i < list->n; i++) {
        const char *path = list->items[i];
        if (!(may_be_empty && !*path) && (path[0] != '/' || strlen(path) >= PATH_MAX))
            return dv_err_set(err, -EINVAL, "\"%.64s\" is no absolute path", path);
    }
    return 0;
}

static int check_edits(const struct dv_cdi_edits *e, struct dv_err *err)
{
    int r = e->failed
                ? dv_err_set(err, -ENOMEM, "a CDI device has too many edits, or memory is out")
                : 0;
    for (size_t i = 0; r == 0 && i < e->env.n; i++)
        if (!strchr(e->env.items[i], '=') || e->env.items[i][0] == '=')
            r = dv_err_set(err, -EINVAL, "\"%.64s\" is no NAME=VALUE", e->env.items[i]);
    if (r == 0)
        r = check_paths(&e->hosts, false, err);
    if (r == 0)
        r = check_paths(&e->places, false, err);
    if (r == 0)
        r = check_paths(&e->nodes, false, err);
    if (r == 0)
        r = check_paths(&e->roots, true, err);
    if (r == 0 && e->hook.n && e->hook.items[0][0] != '/')
        r = dv_err_set(err, -EINVAL, "\"%.64s\" is no absolute path of a hook", e->hook.items[0]);
    if (r == 0 && !e->env.n && !e->hosts.n && !e->nodes.n && !e->hook.n)
        r = dv_err_set(err, -EINVAL, "a CDI device that edits nothing");
    return r;
}

static const char *version_of(const struct dv_cdi_device *devices, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (isdigit((unsigned char)devices[i].name[0]))
            return "0.5.0";
        for (size_t k = 0; k < devices[i].edits->roots.n; k++)
            if (devices[i].edits->roots.items[k][0])
                return "0.5.0"; /* hostPath */
    }
    return "0.3.0";
}

/* ---- text ---- */

static void put_key(struct dv_str *s, const char *key, const char *value)
{
    dv_str_addf(s, "\"%s\": ", key);
    dv_json_quote(value, s);
}

static void put_strings(struct dv_str *s, const char *indent, const char *key, char *const *items,
                        size_t n)
{
    dv_str_addf(s, "%s\"%s\": [", indent, key);
    for (size_t i = 0; i < n; i++) {
        dv_str_addf(s, "%s\n%s  ", i ? "," : "", indent);
        dv_json_quote(items[i], s);
    }
    dv_str_addf(s, "\n%s]", indent);
}

static void put_mounts(struct dv_str *s, const struct dv_cdi_edits *e)
{
    dv_str_add(s, "        \"mounts\": [");
    for (size_t i = 0; i < e->hosts.n; i++) {
        unsigned flags = e->mount_flags[i];
        dv_str_addf(s, "%s\n          {", i ? "," : "");
        put_key(s, "hostPath", e->hosts.items[i]);
        dv_str_add(s, ", ");
        put_key(s, "containerPath", e->places.items[i]);
        dv_str_addf(s,
                    ",\n           \"options\": [\"%s\", \"nosuid\", \"nodev\",%s \"rbind\", "
                    "\"rprivate\"]}",
                    flags & DV_CDI_MOUNT_WRITE ? "rw" : "ro",
                    flags & DV_CDI_MOUNT_NOEXEC ? " \"noexec\"," : "");
    }
    dv_str_add(s, "\n        ]");
}

static void put_nodes(struct dv_str *s, const struct dv_cdi_edits *e)
{
    dv_str_add(s, "        \"deviceNodes\": [");
    for (size_t i = 0; i < e->nodes.n; i++) {
        dv_str_addf(s, "%s\n          {", i ? "," : "");
        put_key(s, "path", e->nodes.items[i]);
        if (e->roots.items[i][0]) {
            dv_str_add(s, ", ");
            put_key(s, "hostPath", e->roots.items[i]);
        }
        dv_str_add(s, ", \"permissions\": \"rw\"}");
    }
    dv_str_add(s, "\n        ]");
}

static void put_hook(struct dv_str *s, const struct dv_cdi_edits *e)
{
    dv_str_add(s, "        \"hooks\": [\n          {\"hookName\": \"createRuntime\", ");
    put_key(s, "path", e->hook.items[0]);
    dv_str_addf(s, ", \"timeout\": %u,\n", e->hook_timeout_s);
    put_strings(s, "           ", "args", e->hook.items + 1, e->hook.n - 1);
    dv_str_add(s, "}\n        ]");
}

static void put_edits(struct dv_str *s, const struct dv_cdi_edits *e)
{
    const struct {
        bool there;
        void (*put)(struct dv_str *s, const struct dv_cdi_edits *e);
    } parts[] = {
        {e->nodes.n != 0, put_nodes},
        {e->hosts.n != 0, put_mounts},
        {e->hook.n != 0, put_hook},
    };
    bool any = e->env.n != 0;
    dv_str_add(s, "      \"containerEdits\": {\n");
    if (any)
        put_strings(s, "        ", "env", e->env.items, e->env.n);
    for (size_t i = 0; i < DV_ARRAY_SIZE(parts); i++) {
        if (!parts[i].there)
            continue;
        dv_str_add(s, any ? ",\n" : "");
        parts[i].put(s, e);
        any = true;
    }
    dv_str_add(s, "\n      }");
}

int dv_cdi_text(const char *kind, const struct dv_cdi_device *devices, size_t n, struct dv_str *ret,
                struct dv_err *err)
{
    int r = check_kind(kind, err);
    if (r == 0 && !n)
        r = dv_err_set(err, -EINVAL, "a CDI specification without a device");
    for (size_t i = 0; r == 0 && i < n; i++) {
        r = dv_cdi_check_name(devices[i].name, err);
        if (r == 0)
            r = check_edits(devices[i].edits, err);
    }
    if (r < 0)
        return r;
    dv_str_addf(ret, "{\n  \"cdiVersion\": \"%s\",\n  \"kind\": \"%s\",\n  \"devices\": [",
                version_of(devices, n), kind);
    for (size_t i = 0; i < n; i++) {
        dv_str_addf(ret, "%s\n    {\n      \"name\": \"%s\",\n", i ? "," : "", devices[i].name);
        put_edits(ret, devices[i].edits);
        dv_str_add(ret, "\n    }");
    }
    dv_str_add(ret, "\n  ]\n}\n");
    return ret->failed ? dv_err_set(err, -ENOMEM, "out of memory") : 0;
}

/* ---- files ---- */

static int path_of(const char *dir, const char *kind, const char *name, char *ret, size_t size,
                   struct dv_err *err)
{
    int r = check_kind(kind, err);
    if (r == 0)
        r = dv_cdi_check_name(name, err);
    if (r < 0)
        return r;
    size_t vendor = strcspn(kind, "/");
    int n =
        snprintf(ret, size, "%s/%.*s-%s_%s.json", dir, (int)vendor, kind, kind + vendor + 1, name);
    return n > 0 && (size_t)n < size ? 0 : dv_err_set(err, -ENAMETOOLONG, "%s is too long", dir);
}

static int write_all(int fd, const struct dv_str *text)
{
    for (size_t at = 0; at < text->len;) {
        ssize_t n = write(fd, text->data + at, text->len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return dv_fd_errno();
        at += (size_t)n;
    }
    return fchmod(fd, 0644) < 0 || fsync(fd) < 0 ? dv_fd_errno() : 0;
}

/* Runtimes look at every file whose name ends in .json. */
static int replace(const char *path, const struct dv_str *text, struct dv_err *err)
{
    char part[PATH_MAX + 8];
    snprintf(part, sizeof part, "%s.part", path);
    dv_cleanup(dv_fd_close) int fd =
        open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int r = fd < 0 ? dv_fd_errno() : write_all(fd, text);
    if (r == 0 && rename(part, path) < 0)
        r = dv_fd_errno();
    if (r < 0 && fd >= 0)
        unlink(part);
    return r < 0 ? dv_err_set(err, r, "cannot write %s: %s", path, strerror(-r)) : 0;
}

int dv_cdi_write(const char *dir, const char *kind, const char *name,
                 const struct dv_cdi_device *devices, size_t n, struct dv_err *err)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    char path[PATH_MAX];
    int r = path_of(dir, kind, name, path, sizeof path, err);
    if (r == 0)
        r = dv_cdi_text(kind, devices, n, &text, err);
    if (r == 0 && text.len > DV_CDI_FILE_MAX)
        r = dv_err_set(err, -E2BIG, "%s would have %zu bytes", path, text.len);
    if (r < 0)
        return r;
    if (mkdir(dir, 0755) < 0 && errno != EEXIST)
        return dv_err_set(err, dv_fd_errno(), "cannot make %s: %s", dir, strerror(errno));
    return replace(path, &text, err);
}

int dv_cdi_remove(const char *dir, const char *kind, const char *name, struct dv_err *err)
{
    char path[PATH_MAX];
    int r = path_of(dir, kind, name, path, sizeof path, err);
    if (r == 0 && unlink(path) < 0 && errno != ENOENT)
        r = dv_err_set(err, dv_fd_errno(), "cannot remove %s: %s", path, strerror(errno));
    return r;
}
