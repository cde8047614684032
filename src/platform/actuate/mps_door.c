/* SPDX-License-Identifier: Apache-2.0 */
/* How containers come into a namespace: mps.h. Links, not mounts: nothing has to be propagated into
 * anybody's mount namespace, and a socket is its inode, whatever its path. */
#include "actuate/mps_daemon.h"
#include "sys/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DOORS "doors"
#define ENTRIES_MAX 32u /* of a namespace's folder: a socket, perhaps its locks */

void dv_mps_door_name(const char *unit, char ret[DV_MPS_DOOR_SIZE])
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (const char *p = unit; *p; p++)
        hash = (hash ^ (unsigned char)*p) * UINT64_C(0x100000001b3);
    snprintf(ret, DV_MPS_DOOR_SIZE, "d%016llx", (unsigned long long)hash);
}

static int make(int at, const char *name, mode_t mode)
{
    if (mkdirat(at, name, mode) < 0 && errno != EEXIST)
        return -errno;
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int r = fd < 0 ? -errno : fchmod(fd, mode) < 0 ? -errno : 0; /* whatever the umask */
    if (r < 0 && fd >= 0)
        close(fd);
    return r < 0 ? r : fd;
}

int dv_mps_door_make(const char *state, const char *door, char *ret, size_t size,
                     struct dv_err *err)
{
    dv_cleanup(dv_fd_close) int at = open(state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    dv_cleanup(dv_fd_close) int doors = at < 0 ? -errno : make(at, DOORS, 0700);
    dv_cleanup(dv_fd_close) int own = doors < 0 ? doors : make(doors, door, 0755);
    int n = snprintf(ret, size, "%s/" DOORS "/%s", state, door);
    if (own >= 0 && n > 0 && (size_t)n < size)
        return 0;
    int r = own < 0 ? own : -ENAMETOOLONG;
    return dv_err_set(err, r, "cannot make %s/" DOORS "/%s for a container's way to MPS: %s", state,
                      door, strerror(-r));
}

/* The door's folder; -ENOENT: nobody has made it. */
static int open_door(const struct dv_mps_at *m)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/" DOORS, m->config->state) >= (int)sizeof path)
        return -ENAMETOOLONG;
    dv_cleanup(dv_fd_close) int doors = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (doors < 0)
        return -errno;
    int fd = openat(doors, m->spec->door, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* One entry of the namespace's folder: puts it into the door, or takes it out of there, unless it
 * is another namespace's by now. */
static int change(int space, int door, const char *name, bool put)
{
    struct stat st, old;
    if (fstatat(space, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || S_ISDIR(st.st_mode) ||
        S_ISLNK(st.st_mode))
        return 0;
    bool there = fstatat(door, name, &old, AT_SYMLINK_NOFOLLOW) == 0;
    bool same = there && old.st_dev == st.st_dev && old.st_ino == st.st_ino;
    if (put == same)
        return 0;
    if (there && unlinkat(door, name, 0) < 0)
        return -errno;
    return put && linkat(space, name, door, name, 0) < 0 ? -errno : 0;
}

static int change_all(const char *path, int door, bool put)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    unsigned n = 0;
    int r = dir ? 0 : -errno;
    if (!dir) {
        dv_fd_close(&fd);
        return r;
    }
    for (struct dirent *e; r == 0 && n < ENTRIES_MAX && (e = readdir(dir)); n++)
        r = change(fd, door, e->d_name, put);
    closedir(dir);
    return r;
}

int dv_mps_door_change(const struct dv_mps_at *m, const char *space, bool put, struct dv_err *err)
{
    char path[256];
    if (!m->spec->door[0])
        return 0;
    int r = dv_mps_namespace_pipe(m->config->state, m->spec->name, space, path, sizeof path, err);
    if (r)
        return r;
    dv_cleanup(dv_fd_close) int door = open_door(m);
    r = door < 0 ? door : change_all(path, door, put);
    if (r == 0 || door == -ENOENT || (r == -ENOENT && !put))
        return 0;
    return dv_err_set(err, r, "cannot lead a container into %s: %s", path, strerror(-r));
}
