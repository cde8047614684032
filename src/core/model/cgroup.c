/* SPDX-License-Identifier: Apache-2.0 */
#include "model/cgroup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ID_DIGITS 64 /* what runtimes generate */
#define UID_DASHED 36
#define UID_HASH 32 /* of a static pod: a hash of its manifest */

const char *dv_cgroup_runtime_name(enum dv_cgroup_runtime runtime)
{
    static const char *const names[] = {"unknown", "containerd", "cri-o", "docker", "podman"};
    return (unsigned)runtime < DV_ARRAY_SIZE(names) ? names[runtime] : names[0];
}

/* A part of a path, or of a line: not terminated. */
struct part {
    const char *at;
    size_t len;
};

static bool is_hex(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(p[i] >= '0' && p[i] <= '9') && !(p[i] >= 'a' && p[i] <= 'f'))
            return false;
    return true;
}

static bool strip_end(struct part *p, const char *end)
{
    size_t n = strlen(end);
    if (p->len < n || memcmp(p->at + p->len - n, end, n) != 0)
        return false;
    p->len -= n;
    return true;
}

static bool strip_start(struct part *p, const char *start)
{
    size_t n = strlen(start);
    if (p->len < n || memcmp(p->at, start, n) != 0)
        return false;
    p->at += n;
    p->len -= n;
    return true;
}

/* ---- pods ---- */

static bool is_uid(const char *p, size_t n)
{
    if (n == UID_HASH)
        return is_hex(p, n);
    if (n != UID_DASHED)
        return false;
    for (size_t i = 0; i < n; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? p[i] != '-' && p[i] != '_' : !is_hex(p + i, 1))
            return false;
    }
    return true;
}

/* "podUID", or "ANYTHING-podUID.slice" with '_' for '-'. */
static bool pod_of(struct part p, char ret[DV_CGROUP_POD_UID_SIZE])
{
    if (strip_end(&p, ".slice")) {
        size_t at = p.len;
        while (at > 0 && (at < 4 || memcmp(p.at + at - 4, "-pod", 4) != 0))
            at--;
        p.at += at ? at - 3 : 0;
        p.len -= at ? at - 3 : 0;
    }
    if (!strip_start(&p, "pod") || !is_uid(p.at, p.len))
        return false;
    for (size_t i = 0; i < p.len; i++)
        ret[i] = p.at[i] == '_' ? '-' : p.at[i];
    ret[p.len] = 0;
    return true;
}

/* ---- containers ---- */

static bool take_id(struct part p, struct dv_cgroup_container *ret)
{
    if (p.len != ID_DIGITS || !is_hex(p.at, p.len))
        return false;
    memcpy(ret->id, p.at, p.len);
    ret->id[p.len] = 0;
    return true;
}

static bool container_of(struct part p, struct dv_cgroup_container *ret)
{
    static const struct {
        const char *prefix;
        enum dv_cgroup_runtime runtime;
    } names[] = {
        {"cri-containerd-", DV_CGROUP_CONTAINERD},
        {"crio-", DV_CGROUP_CRIO},
        {"docker-", DV_CGROUP_DOCKER},
        {"libpod-", DV_CGROUP_PODMAN},
    };
    strip_end(&p, ".scope");
    for (size_t i = 0; i < DV_ARRAY_SIZE(names); i++) {
        struct part rest = p;
        if (!strip_start(&rest, names[i].prefix))
            continue;
        ret->runtime = names[i].runtime;
        return take_id(rest, ret);
    }
    ret->runtime = DV_CGROUP_UNKNOWN;
    return take_id(p, ret);
}

/* "SLICE:cri-containerd:ID": containerd, told the systemd driver's path by a kubelet and using
 * cgroupfs itself. */
static bool colons_of(struct part p, struct dv_cgroup_container *ret)
{
    const char *first = memchr(p.at, ':', p.len);
    size_t before = first ? (size_t)(first - p.at) : 0;
    struct part rest = {first, p.len - before};
    if (!first || !strip_start(&rest, ":cri-containerd:") || !take_id(rest, ret))
        return false;
    ret->runtime = DV_CGROUP_CONTAINERD;
    pod_of((struct part){p.at, before}, ret->pod_uid);
    return true;
}

/* Walks from the end of the path to its beginning; false at its end. */
static bool previous(const char *path, size_t *len, struct part *ret)
{
    while (*len && path[*len - 1] == '/')
        --*len;
    if (!*len)
        return false;
    size_t start = *len;
    while (start && path[start - 1] != '/')
        start--;
    *ret = (struct part){path + start, *len - start};
    *len = start;
    return true;
}

static bool parse(struct part path, struct dv_cgroup_container *ret)
{
    struct dv_cgroup_container c = {0};
    struct part p;
    size_t len = path.len;
    bool found = false;
    while (!found && previous(path.at, &len, &p))
        found = colons_of(p, &c) || container_of(p, &c);
    while (found && !c.pod_uid[0] && previous(path.at, &len, &p))
        if (pod_of(p, c.pod_uid))
            break;
    if (found)
        *ret = c;
    return found;
}

bool dv_cgroup_parse(const char *path, struct dv_cgroup_container *ret)
{
    return parse((struct part){path, strlen(path)}, ret);
}

/* ---- the text of /proc/PID/cgroup ---- */

/* Moves *text behind its next line; false at the end. A line that is none is passed over. */
static bool next_line(const char **text, struct part *ret_controllers, struct part *ret_path)
{
    while (**text) {
        const char *line = *text, *end = line + strcspn(line, "\n");
        *text = end + (*end == '\n');
        const char *one = memchr(line, ':', (size_t)(end - line));
        const char *two = one ? memchr(one + 1, ':', (size_t)(end - one - 1)) : NULL;
        if (!two || two[1] != '/')
            continue;
        *ret_controllers = (struct part){one + 1, (size_t)(two - one - 1)};
        *ret_path = (struct part){two + 1, (size_t)(end - two - 1)};
        return true;
    }
    return false;
}

bool dv_cgroup_find(const char *text, struct dv_cgroup_container *ret)
{
    struct part controllers, path;
    while (next_line(&text, &controllers, &path))
        if (parse(path, ret))
            return true;
    return false;
}

/* "ID", "ID.scope", "ANYTHING-ID.scope", "ANYTHING-ID", "ANYTHING:ID". */
static bool carries(struct part p, const char *id)
{
    strip_end(&p, ".scope");
    if (!strip_end(&p, id))
        return false;
    return !p.len || p.at[p.len - 1] == '-' || p.at[p.len - 1] == ':';
}

/* The length of the path up to the outermost part that carries the id; 0: none does. */
static size_t upto(struct part path, const char *id)
{
    struct part p;
    size_t len = path.len, found = 0;
    while (previous(path.at, &len, &p))
        if (carries(p, id))
            found = len + p.len;
    return found;
}

int dv_cgroup_of(const char *text, const char *container, char ret[DV_CGROUP_GROUP_SIZE])
{
    struct part controllers, path;
    if (!*container)
        return -ENOENT;
    while (next_line(&text, &controllers, &path)) {
        size_t len = upto(path, container);
        if (!len)
            continue;
        if (controllers.len + 1 + len >= DV_CGROUP_GROUP_SIZE)
            return -ENAMETOOLONG;
        snprintf(ret, DV_CGROUP_GROUP_SIZE, "%.*s:%.*s", (int)controllers.len, controllers.at,
                 (int)len, path.at);
        return 0;
    }
    return -ENOENT;
}

bool dv_cgroup_is_within(const char *text, const char *group)
{
    const char *colon = strchr(group, ':');
    struct part controllers, path;
    if (!colon || !colon[1])
        return false;
    while (next_line(&text, &controllers, &path)) {
        size_t n = (size_t)(colon - group);
        if (controllers.len != n || memcmp(controllers.at, group, n) != 0)
            continue;
        return strip_start(&path, colon + 1) && (!path.len || path.at[0] == '/');
    }
    return false;
}
