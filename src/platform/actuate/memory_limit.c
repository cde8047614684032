/* SPDX-License-Identifier: Apache-2.0 */
#include "actuate/memory_limit.h"

#include "sys/fd.h"
#include "sys/proc.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOUNTS_MAX (1u << 20)

struct place {
    char mount[PATH_MAX - 64];
    char all[PATH_MAX - 40]; /* MOUNT/divvy-NNNNNNNN */
    char own[PATH_MAX];      /* MOUNT/divvy-NNNNNNNN/s-7 */
};

void dv_memory_limit_folder(const char *state, char ret[16])
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (const char *c = state; *c; c++)
        hash = (hash ^ (uint8_t)*c) * 16777619u;
    snprintf(ret, 16, "divvy-%08x", hash);
}

int dv_memory_limit_mount(const char *mounts, char *ret, size_t size)
{
    for (const char *line = mounts; *line;) {
        size_t len = strcspn(line, "\n");
        const char *path = memchr(line, ' ', len);
        const char *type = path ? memchr(path + 1, ' ', len - (size_t)(path + 1 - line)) : NULL;
        size_t n = type ? (size_t)(type - path) - 1 : 0;
        /* A path with a backslash has escaped blanks: nobody mounts cgroups there. */
        if (type && !strncmp(type + 1, "cgroup2 ", 8) && n && n < size &&
            !memchr(path + 1, '\\', n)) {
            memcpy(ret, path + 1, n);
            ret[n] = 0;
            return 0;
        }
        line += len + (line[len] == '\n');
    }
    return -ENOENT;
}

static int find_mount(char *ret, size_t size, struct dv_err *err)
{
    char *text = calloc(1, MOUNTS_MAX + 1);
    size_t len = 0;
    if (!text)
        return dv_err_set(err, -ENOMEM, "out of memory");
    dv_cleanup(dv_fd_close) int fd = open("/proc/self/mounts", O_RDONLY | O_CLOEXEC);
    for (ssize_t n; fd >= 0 && len < MOUNTS_MAX; len += (size_t)n) {
        n = read(fd, text + len, MOUNTS_MAX - len);
        if (n <= 0)
            break;
    }
    int r = dv_memory_limit_mount(text, ret, size);
    free(text);
    return r == 0 ? 0
                  : dv_err_set(err, DV_ACTUATE_NOT_SUPPORTED,
                               "no cgroup hierarchy of version 2 is mounted here");
}

/* Where the kernel has the controller that drivers use, it counts only in groups for which it is
 * switched on. What cannot be done shows when a limit is set. */
static void enable(const char *cgroup)
{
    char path[PATH_MAX + DV_CGROUP_SIZE + 32];
    snprintf(path, sizeof path, "%s/cgroup.subtree_control", cgroup);
    dv_cleanup(dv_fd_close) int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, "+dmem\n", 6) < 0)
        return;
}

static int make(const char *path, struct dv_err *err)
{
    if (mkdir(path, 0755) == 0 || errno == EEXIST)
        return 0;
    int status =
        errno == EACCES || errno == EPERM || errno == EROFS ? DV_ACTUATE_NOT_PERMITTED : -errno;
    return dv_err_set(err, status, "cannot make the cgroup %s: %s", path, strerror(errno));
}

/* The process stays the one that was meant while it is moved: its pid is looked at before and
 * after, and a process that ended meanwhile is an error, whoever was moved with its pid. */
static int move(const char *cgroup, const struct dv_memory_limit *l, struct dv_err *err)
{
    char path[PATH_MAX + 80], text[16];
    struct dv_proc_id id = {l->pid, l->start};
    dv_cleanup(dv_fd_close) int pidfd = dv_proc_pidfd(&id);
    if (pidfd < 0)
        return dv_err_set(err, DV_ACTUATE_NOT_FOUND, "process %d has ended", l->pid);
    snprintf(path, sizeof path, "%s/cgroup.procs", cgroup);
    int n = snprintf(text, sizeof text, "%d\n", l->pid);
    dv_cleanup(dv_fd_close) int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, (size_t)n) != n)
        return dv_err_set(err, errno == ESRCH ? DV_ACTUATE_NOT_FOUND : -errno,
                          "cannot move process %d into %s: %s", l->pid, cgroup, strerror(errno));
    return dv_proc_alive(&id)
               ? 0
               : dv_err_set(err, DV_ACTUATE_NOT_FOUND, "process %d has ended", l->pid);
}

static int set(const struct dv_nvml_session *s, const struct dv_memory_limit *l, const char *cgroup,
               struct dv_err *err)
{
    struct dv_nvml_device *d;
    struct dv_nvml_set_memory_limits limits = {cgroup, 0, l->bytes};
    int rc = DV_NVML_SESSION_CALL(s, nvmlDeviceGetHandleByUUID, l->device, &d);
    if (rc != DV_NVML_SUCCESS)
        return dv_nvml_session_failed(s, rc, "finding the GPU", err);
    rc = DV_NVML_SESSION_CALL(s, nvmlDeviceSetMemoryLimits_v1, d, &limits);
    if (rc == DV_NVML_ERROR_FUNCTION_NOT_FOUND)
        return dv_err_set(err, DV_ACTUATE_NOT_SUPPORTED,
                          "this driver has no memory limits; they came with 615");
    return rc ? dv_nvml_session_failed(s, rc, "limiting memory", err) : 0;
}

int dv_memory_limit_cgroup_of(int32_t pid, char ret[DV_CGROUP_SIZE])
{
    char path[64], line[DV_CGROUP_SIZE + 16];
    int r = -ENOENT;
    snprintf(path, sizeof path, "/proc/%d/cgroup", pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return -errno;
    while (r < 0 && fgets(line, sizeof line, f)) {
        size_t len = strcspn(line, "\n");
        if (strncmp(line, "0::/", 4) != 0 || line[len] != '\n' || len - 3 >= DV_CGROUP_SIZE)
            continue;
        line[len] = 0;
        memcpy(ret, line + 3, len - 2);
        r = 0;
    }
    fclose(f);
    return r;
}

/* Somebody who lets go of a slice and lives on is not to stay behind its wall. Whoever else is in
 * the cgroup stays. */
static void move_back(const struct dv_memory_limit *l, const struct place *p)
{
    struct dv_memory_limit who = *l;
    char now[DV_CGROUP_SIZE], to[PATH_MAX];
    size_t n = strlen(p->mount);
    if (!l->pid || dv_memory_limit_cgroup_of(l->pid, now) < 0 || strcmp(now, p->own + n) != 0)
        return;
    snprintf(to, sizeof to, "%s%s", p->mount, l->back);
    if (!l->back[0] || move(to, &who, NULL) != 0)
        move(p->mount, &who, NULL);
}

/* Removing a cgroup clears its limits on every GPU. Whoever is in it still has outlived his slice:
 * he keeps what he has and gets nothing more. */
static int end(const struct dv_nvml_session *s, const struct dv_memory_limit *l,
               const struct place *p, struct dv_err *err)
{
    struct dv_memory_limit none = *l;
    const char *cgroup = p->own;
    move_back(l, p);
    if (rmdir(cgroup) == 0 || errno == ENOENT)
        return 0;
    if (errno != EBUSY)
        return dv_err_set(err, -errno, "cannot remove the cgroup %s: %s", cgroup, strerror(errno));
    none.bytes = 0;
    int r = set(s, &none, cgroup, err);
    return r ? r
             : dv_err_set(err, DV_ACTUATE_IN_USE,
                          "processes that outlived their slice are in the cgroup %s", cgroup);
}

/* What an earlier run has left. */
static void sweep(const char *all)
{
    DIR *dir = opendir(all);
    if (!dir)
        return;
    for (struct dirent *e; (e = readdir(dir));)
        if (e->d_type == DT_DIR && e->d_name[0] != '.')
            unlinkat(dirfd(dir), e->d_name, AT_REMOVEDIR);
    closedir(dir);
    rmdir(all);
}

int dv_memory_limit_path(const char *state, char *ret, size_t size, struct dv_err *err)
{
    char mount[PATH_MAX - 64], folder[16];
    int r = find_mount(mount, sizeof mount, err);
    if (r)
        return r;
    dv_memory_limit_folder(state, folder);
    int n = snprintf(ret, size, "%s/%s", mount, folder);
    return n > 0 && (size_t)n < size ? 0 : dv_err_set(err, -ENAMETOOLONG, "%s is too long", mount);
}

static int find_place(const char *state, const struct dv_memory_limit *l, struct place *ret,
                      struct dv_err *err)
{
    char folder[16];
    if (strncmp(l->device, "GPU-", 4) != 0)
        return dv_err_set(err, DV_ACTUATE_NOT_SUPPORTED,
                          "the driver limits memory on whole GPUs only, not on MIG devices");
    if (geteuid() != 0)
        return dv_err_set(err, DV_ACTUATE_NOT_PERMITTED, "memory limits need root");
    int r = find_mount(ret->mount, sizeof ret->mount, err);
    if (r)
        return r;
    dv_memory_limit_folder(state, folder);
    snprintf(ret->all, sizeof ret->all, "%s/%s", ret->mount, folder);
    snprintf(ret->own, sizeof ret->own, "%s/%.31s", ret->all, l->cgroup);
    return 0;
}

/* ---- a container's own cgroup ---- */

/* On the way down to it; the top of the hierarchy first. */
static void enable_above(char *path, size_t mount)
{
    for (char *p = path + mount; *p; p++) {
        if (*p != '/')
            continue;
        *p = 0;
        enable(path);
        *p = '/';
    }
}

static bool is_populated(const char *cgroup)
{
    char path[PATH_MAX + DV_CGROUP_SIZE + 32], line[64];
    bool populated = false;
    snprintf(path, sizeof path, "%s/cgroup.events", cgroup);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        populated |= !strcmp(line, "populated 1\n");
    if (f)
        fclose(f);
    return populated;
}

/* It is the runtime's to remove, and its limits go with it. */
static int end_own(const struct dv_nvml_session *s, const struct dv_memory_limit *l,
                   const char *cgroup, struct dv_err *err)
{
    struct dv_memory_limit last = *l;
    bool outlived = is_populated(cgroup);
    if (access(cgroup, F_OK) < 0)
        return 0;
    last.bytes = outlived ? 0 : UINT64_MAX;
    int r = set(s, &last, cgroup, err);
    if (r)
        return access(cgroup, F_OK) < 0 ? 0 : r; /* just now */
    return outlived ? dv_err_set(err, DV_ACTUATE_IN_USE,
                                 "processes that outlived their slice are in the cgroup %s", cgroup)
                    : 0;
}

static int set_own(const struct dv_nvml_session *s, const struct dv_memory_limit *l,
                   const struct place *p, struct dv_err *err)
{
    char now[DV_CGROUP_SIZE], cgroup[PATH_MAX + DV_CGROUP_SIZE];
    struct dv_proc_id id = {l->pid, l->start};
    size_t n = strlen(l->back), mount = strlen(p->mount);
    snprintf(cgroup, sizeof cgroup, "%s%s", p->mount, l->back);
    if (l->bytes == UINT64_MAX)
        return end_own(s, l, cgroup, err);
    if (dv_memory_limit_cgroup_of(l->pid, now) < 0 || !dv_proc_alive(&id))
        return dv_err_set(err, DV_ACTUATE_NOT_FOUND, "process %d has ended", l->pid);
    if (strncmp(now, l->back, n) != 0 || (now[n] && now[n] != '/'))
        return dv_err_set(err, DV_ACTUATE_NOT_PERMITTED, "process %d is not in the cgroup %s",
                          l->pid, l->back);
    enable_above(cgroup, mount);
    return set(s, l, cgroup, err);
}

int dv_memory_limit_set(const struct dv_nvml_session *s, const char *state,
                        const struct dv_memory_limit *l, struct dv_err *err)
{
    struct place p;
    int r = find_place(state, l, &p, err);
    if (r)
        return r;
    if (l->own)
        return set_own(s, l, &p, err);
    if (l->sweep)
        sweep(p.all);
    if (l->bytes == UINT64_MAX) {
        r = end(s, l, &p, err);
        if (!r)
            rmdir(p.all); /* the last one */
        return r;
    }
    bool fresh = access(p.own, F_OK) < 0;
    r = make(p.all, err);
    if (r)
        return r;
    enable(p.mount);
    enable(p.all);
    r = make(p.own, err);
    if (!r)
        r = set(s, l, p.own, err); /* before anybody is in it */
    if (!r && l->pid)
        r = move(p.own, l, err);
    if (r && fresh)
        rmdir(p.own); /* what was not there before; not while somebody is in it */
    if (r)
        rmdir(p.all);
    return r;
}
