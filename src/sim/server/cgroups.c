/* SPDX-License-Identifier: Apache-2.0 */
#include "server/cgroups.h"

#include "abi_nvml.h"
#include "base/macros.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* ---- cgroups ---- */

/* How long the beginning of `path` is that is the mount point of its file system. */
static size_t mount_length(const char *path, dev_t device)
{
    char at[DV_SIM_CGROUP_SIZE];
    size_t length = strlen(path);

    dv_str_copy(at, sizeof(at), path);
    while (length > 1) {
        char *slash = strrchr(at, '/');
        struct stat st;

        if (!slash || slash == at)
            return length;
        *slash = '\0';
        if (stat(at, &st) < 0 || st.st_dev != device)
            return length;
        length = (size_t)(slash - at);
    }
    return length;
}

/* Which cgroup a directory is: what /proc/PID/cgroup calls it, and its identity. */
static int resolve(const char *path, char ret[DV_SIM_CGROUP_SIZE], uint64_t *ret_inode)
{
    char clean[DV_SIM_CGROUP_SIZE];
    size_t length = strlen(path);
    struct statfs fs;
    struct stat st;

    while (length > 1 && path[length - 1] == '/')
        length--;
    if (path[0] != '/' || length >= sizeof(clean))
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    memcpy(clean, path, length);
    clean[length] = '\0';
    if (stat(clean, &st) < 0)
        return errno == ENOENT ? DV_NVML_ERROR_NOT_FOUND : DV_NVML_ERROR_INVALID_ARGUMENT;
    if (statfs(clean, &fs) < 0 || fs.f_type != CGROUP2_SUPER_MAGIC || !S_ISDIR(st.st_mode))
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    length = mount_length(clean, st.st_dev);
    if (!clean[length])
        return DV_NVML_ERROR_INVALID_ARGUMENT; /* the root: all that there is, not a part of it */
    dv_str_copy(ret, DV_SIM_CGROUP_SIZE, clean + length);
    *ret_inode = st.st_ino;
    return DV_NVML_SUCCESS;
}

/* The cgroup of a process; "" where that is not known. */
static void cgroup_of(pid_t pid, char ret[DV_SIM_CGROUP_SIZE])
{
    char name[64], text[4096], *line;
    ssize_t n;
    int fd;

    ret[0] = '\0';
    if (pid <= 0)
        return;
    snprintf(name, sizeof(name), "/proc/%d/cgroup", (int)pid);
    fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    line = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
    if (!line)
        return;
    line = strchr(line, '/');
    if (!line || strcspn(line, "\n") >= DV_SIM_CGROUP_SIZE)
        return;
    line[strcspn(line, "\n")] = '\0';
    dv_str_copy(ret, DV_SIM_CGROUP_SIZE, line);
}

static bool within(const char *cgroup, const char *top)
{
    size_t n = strlen(top);

    return strncmp(cgroup, top, n) == 0 && (!cgroup[n] || cgroup[n] == '/');
}

/* ---- limits ---- */

/* Forgets the limits of cgroups that are no more. */
static void prune(struct dv_simnode *node)
{
    for (uint32_t i = 0; i < node->n_limits;) {
        struct stat st;

        if (stat(node->limit[i].path, &st) == 0 && st.st_ino == node->limit[i].inode)
            i++;
        else
            node->limit[i] = node->limit[--node->n_limits];
    }
}

static struct dv_simlimit *find(struct dv_simnode *node, uint32_t gpu, const char *cgroup)
{
    for (uint32_t i = 0; i < node->n_limits; i++) {
        if (node->limit[i].gpu == gpu && strcmp(node->limit[i].cgroup, cgroup) == 0)
            return &node->limit[i];
    }
    return NULL;
}

static uint64_t used_in(const struct dv_simnode *node, uint32_t gpu, const char *cgroup)
{
    uint64_t used = 0;

    for (uint32_t i = 0; i < DV_SIM_PROCESSES_MAX; i++) {
        const struct dv_simproc *p = node->processes[i];
        char at[DV_SIM_CGROUP_SIZE];

        if (!p || !p->gpu[gpu].used_bytes)
            continue;
        cgroup_of(p->pid, at);
        if (within(at, cgroup))
            used += p->gpu[gpu].used_bytes;
    }
    return used;
}

int dv_simcgroups_set(struct dv_simnode *node, uint32_t gpu, const char *path, uint64_t soft,
                      uint64_t hard)
{
    char cgroup[DV_SIM_CGROUP_SIZE];
    struct dv_simlimit *limit;
    uint64_t inode;
    int r = resolve(path, cgroup, &inode);

    if (r != DV_NVML_SUCCESS)
        return r;
    if (soft > hard)
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    prune(node);
    limit = find(node, gpu, cgroup);
    if (!soft && hard == UINT64_MAX) {
        if (limit)
            *limit = node->limit[--node->n_limits];
        return DV_NVML_SUCCESS;
    }
    if (!limit) {
        if (node->n_limits == DV_SIM_LIMITS_MAX)
            return DV_NVML_ERROR_INSUFFICIENT_RESOURCES;
        limit = &node->limit[node->n_limits++];
    }
    *limit = (struct dv_simlimit){.gpu = gpu, .inode = inode, .soft = soft, .hard = hard};
    dv_str_copy(limit->path, sizeof(limit->path), path);
    dv_str_copy(limit->cgroup, sizeof(limit->cgroup), cgroup);
    return DV_NVML_SUCCESS;
}

int dv_simcgroups_get(struct dv_simnode *node, uint32_t gpu, const char *path,
                      struct dv_simcgroups_state *ret)
{
    char cgroup[DV_SIM_CGROUP_SIZE];
    const struct dv_simlimit *limit;
    uint64_t inode;
    int r = resolve(path, cgroup, &inode);

    if (r != DV_NVML_SUCCESS)
        return r;
    prune(node);
    limit = find(node, gpu, cgroup);
    *ret = (struct dv_simcgroups_state){.soft = limit ? limit->soft : 0,
                                        .hard = limit ? limit->hard : UINT64_MAX,
                                        .used = used_in(node, gpu, cgroup)};
    return DV_NVML_SUCCESS;
}

/* A limit above this one that the process is not in either: it speaks for what is below it. */
static bool covered(const struct dv_simnode *node, const struct dv_simlimit *limit, const char *me)
{
    for (uint32_t i = 0; i < node->n_limits; i++) {
        const struct dv_simlimit *above = &node->limit[i];

        if (above != limit && above->gpu == limit->gpu && above->soft &&
            !within(me, above->cgroup) && within(limit->cgroup, above->cgroup))
            return true;
    }
    return false;
}

bool dv_simcgroups_allow(struct dv_simnode *node, const struct dv_simproc *process, uint32_t gpu,
                         uint64_t bytes, uint64_t free_bytes)
{
    char me[DV_SIM_CGROUP_SIZE];
    uint64_t kept = 0; /* for those who were promised it */

    if (!node->n_limits)
        return true;
    prune(node);
    cgroup_of(process->pid, me);
    for (uint32_t i = 0; i < node->n_limits; i++) {
        const struct dv_simlimit *l = &node->limit[i];
        uint64_t used;

        if (l->gpu != gpu)
            continue;
        used = used_in(node, gpu, l->cgroup);
        if (within(me, l->cgroup)) {
            if (bytes > l->hard || used > l->hard - bytes)
                return false;
        } else if (used < l->soft && !covered(node, l, me)) {
            kept += l->soft - used;
        }
    }
    return bytes <= free_bytes && kept <= free_bytes - bytes;
}

bool dv_simcgroups_view(struct dv_simnode *node, pid_t pid, uint32_t gpu, struct dv_simmem *memory)
{
    char me[DV_SIM_CGROUP_SIZE];
    const struct dv_simlimit *tightest = NULL;
    uint64_t used, left, free_bytes;

    if (!node->n_limits)
        return false;
    prune(node);
    cgroup_of(pid, me);
    for (uint32_t i = 0; i < node->n_limits; i++) {
        const struct dv_simlimit *l = &node->limit[i];

        if (l->gpu == gpu && within(me, l->cgroup) && (!tightest || l->hard < tightest->hard))
            tightest = l;
    }
    if (!tightest || tightest->hard >= memory->total_bytes)
        return false;
    used = used_in(node, gpu, tightest->cgroup);
    left = tightest->hard - DV_MIN(used, tightest->hard);
    free_bytes = memory->total_bytes - memory->reserved_bytes - memory->used_bytes;
    memory->total_bytes = tightest->hard;
    memory->reserved_bytes = 0;
    memory->used_bytes = tightest->hard - DV_MIN(left, free_bytes);
    return true;
}
