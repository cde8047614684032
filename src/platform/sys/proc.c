/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/proc.h"

#include "base/str.h"
#include "sys/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct stat_fields {
    char state;
    pid_t parent;
    uint64_t start;
};

static int read_stat(pid_t pid, struct stat_fields *ret)
{
    char path[64], buf[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? -ESRCH : dv_fd_errno();
    ssize_t n = read(fd, buf, sizeof buf - 1);
    int r = n < 0 ? dv_fd_errno() : 0;
    close(fd);
    if (r < 0)
        return r;
    buf[n] = 0;
    /* The command's name stands in parentheses and may hold anything, parentheses included. */
    char *p = strrchr(buf, ')');
    int parent;
    unsigned long long start;
    if (!p || sscanf(p + 1,
                     " %c %d %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
                     "%llu",
                     &ret->state, &parent, &start) != 3)
        return -EIO;
    ret->parent = parent;
    ret->start = start;
    return 0;
}

int dv_proc_identify(pid_t pid, struct dv_proc_id *ret)
{
    struct stat_fields f;
    if (pid <= 0)
        return -ESRCH;
    int r = read_stat(pid, &f);
    if (r < 0)
        return r;
    if (f.state == 'Z' || f.state == 'X')
        return -ESRCH;
    *ret = (struct dv_proc_id){pid, f.start};
    return 0;
}

bool dv_proc_alive(const struct dv_proc_id *id)
{
    struct dv_proc_id now;
    return id->start && dv_proc_identify(id->pid, &now) == 0 && now.start == id->start;
}

int dv_proc_pidfd(const struct dv_proc_id *id)
{
    int fd = (int)syscall(SYS_pidfd_open, id->pid, 0);
    if (fd < 0)
        return -errno;
    if (!dv_proc_alive(id)) {
        close(fd);
        return -ESRCH;
    }
    return fd;
}

pid_t dv_proc_parent(pid_t pid)
{
    struct stat_fields f;
    return read_stat(pid, &f) < 0 ? 0 : f.parent;
}

#define GENERATIONS_MAX 1024u

bool dv_proc_is_within(pid_t pid, const struct dv_proc_id *top, uint32_t *ret_distance)
{
    struct stat_fields f;
    for (uint32_t i = 0; i < GENERATIONS_MAX && pid > 0; i++) {
        if (read_stat(pid, &f) < 0)
            return false;
        if (pid == top->pid) {
            if (f.start == top->start && ret_distance)
                *ret_distance = i;
            return f.start == top->start;
        }
        pid = f.parent;
    }
    return false;
}

size_t dv_proc_descendants(const struct dv_proc_id *top, struct dv_proc_id *ret, size_t max)
{
    size_t n = 0;
    DIR *dir = opendir("/proc");
    if (!dir)
        return 0;
    for (struct dirent *e; n < max && (e = readdir(dir));) {
        char *end;
        long pid = strtol(e->d_name, &end, 10);
        if (*end || pid <= 0 || pid == top->pid)
            continue;
        struct dv_proc_id id;
        if (dv_proc_identify((pid_t)pid, &id) == 0 && dv_proc_is_within((pid_t)pid, top, NULL))
            ret[n++] = id;
    }
    closedir(dir);
    return n;
}

int dv_proc_cgroup(pid_t pid, char *ret, size_t size)
{
    char path[64];
    size_t len = 0;
    ssize_t n = 1;
    snprintf(path, sizeof path, "/proc/%d/cgroup", (int)pid);
    dv_cleanup(dv_fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? -ESRCH : dv_fd_errno();
    while (len < size && n > 0) {
        n = read(fd, ret + len, size - len);
        if (n < 0)
            return dv_fd_errno();
        len += (size_t)n;
    }
    if (len == size)
        return -E2BIG;
    ret[len] = 0;
    return 0;
}

int dv_proc_uid(pid_t pid, uid_t *ret)
{
    char path[64];
    struct stat st;
    snprintf(path, sizeof path, "/proc/%d", (int)pid);
    if (stat(path, &st) < 0)
        return errno == ENOENT ? -ESRCH : -errno;
    *ret = st.st_uid;
    return 0;
}

void dv_proc_user_name(uid_t uid, char *buf, size_t size)
{
    struct passwd pw, *found = NULL;
    char store[4096];
    if (getpwuid_r(uid, &pw, store, sizeof store, &found) == 0 && found &&
        dv_str_copy(buf, size, found->pw_name) == 0)
        return;
    snprintf(buf, size, "%u", (unsigned)uid);
}

int dv_proc_user_id(const char *name, uid_t *ret_uid, gid_t *ret_gid)
{
    struct passwd pw, *found = NULL;
    char store[4096];
    if (getpwnam_r(name, &pw, store, sizeof store, &found) != 0 || !found)
        return -ENOENT;
    *ret_uid = found->pw_uid;
    *ret_gid = found->pw_gid;
    return 0;
}

int dv_proc_program_dir(char *buf, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", buf, size);
    if (n < 0)
        return -errno;
    if ((size_t)n >= size)
        return -ENAMETOOLONG;
    buf[n] = 0;
    char *slash = strrchr(buf, '/');
    if (!slash)
        return -ENOENT;
    *slash = 0;
    return 0;
}

int dv_proc_no_new_privileges(void)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

int dv_proc_become(uid_t uid, gid_t gid, struct dv_err *err)
{
    if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
        return dv_err_set(err, -errno, "cannot become user %u: %s", (unsigned)uid, strerror(errno));
    if (uid && setresuid(0, 0, 0) == 0)
        return dv_err_set(err, -EPERM, "root's rights came back after they were given up");
    return 0;
}

int dv_proc_become_nice(uid_t uid, gid_t gid, struct dv_err *err)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct caps[2] = {{0}};
    uint32_t nice = 1u << CAP_SYS_NICE;
    prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
    int r = dv_proc_become(uid, gid, err);
    if (r < 0)
        return r;
    caps[0].effective = caps[0].permitted = caps[0].inheritable = nice;
    /* Where even this is not to be had, it runs as an ordinary program. */
    if (syscall(SYS_capset, &header, caps) == 0) {
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_NICE, 0, 0);
    } else {
        caps[0].effective = caps[0].permitted = caps[0].inheritable = 0;
        syscall(SYS_capset, &header, caps);
    }
    return 0;
}

int dv_proc_drop_capabilities(struct dv_err *err)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    /* So that no program that it starts as root gets them back. */
    for (int c = 0; prctl(PR_CAPBSET_READ, c, 0, 0, 0) >= 0; c++)
        prctl(PR_CAPBSET_DROP, c, 0, 0, 0);
    if (syscall(SYS_capset, &header, none) < 0)
        return dv_err_set(err, -errno, "cannot give up capabilities: %s", strerror(errno));
    return 0;
}

int dv_proc_realtime(uint32_t priority)
{
    struct sched_param p = {.sched_priority = (int)priority};
    return sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &p) < 0 ? -errno : 0;
}

int dv_proc_die_with_parent(int signo, pid_t parent)
{
    if (prctl(PR_SET_PDEATHSIG, signo, 0, 0, 0) < 0)
        return -errno;
    return getppid() == parent ? 0 : -ESRCH;
}

int dv_proc_default_socket(char *ret, size_t size)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    int n;
    if (geteuid() == 0)
        n = snprintf(ret, size, "/run/divvy/divvyd.sock");
    else if (runtime && *runtime == '/')
        n = snprintf(ret, size, "%s/divvy/divvyd.sock", runtime);
    else
        n = snprintf(ret, size, "/tmp/divvy-%u/divvyd.sock", (unsigned)geteuid());
    return n > 0 && (size_t)n < size ? 0 : -ENAMETOOLONG;
}

void dv_proc_boot_id(char ret[DV_PROC_BOOT_ID])
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, ret, DV_PROC_BOOT_ID - 1);
    if (fd >= 0)
        close(fd);
    ret[n > 0 ? n : 0] = 0;
    ret[strcspn(ret, "\n")] = 0;
}
