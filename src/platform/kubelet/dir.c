/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/dir.h"

#include "base/str.h"
#include "sys/fd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>
#include <utlist.h>

/* How often we look whether a directory is there, or there again. */
#define LOOK_MS 1000

struct dv_kubelet_dir {
    struct dv_loop *loop;
    struct dv_loop_source *watch, *look;
    struct dv_kubelet_dir_user *users;
    bool cut_off;
    uint32_t turn;
    int fd;         /* inotify's */
    int descriptor; /* of the directory in it; -1: not watched */
    char path[DV_KUBELET_DIR_PATH_MAX];
};

static void tell(struct dv_kubelet_dir *dir, bool fresh)
{
    struct dv_kubelet_dir_user *user;
    dir->cut_off &= !fresh;
    DL_FOREACH(dir->users, user)
    user->changed(user, fresh);
}

/* False, with errno, when there is nothing to watch. */
static bool begin(struct dv_kubelet_dir *dir)
{
    dir->descriptor = inotify_add_watch(dir->fd, dir->path,
                                        IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_MOVED_FROM |
                                            IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR);
    return dir->descriptor >= 0;
}

static void on_look(void *arg)
{
    struct dv_kubelet_dir *dir = arg;
    if (begin(dir)) {
        tell(dir, true); /* it may have come with everything in it */
        return;
    }
    bool is_there = errno != ENOENT;
    dv_loop_timer_set(dir->look, LOOK_MS, 0);
    if (is_there) /* the node has no watch to spare: what was removed is seen by looking */
        tell(dir, false);
}

/* Another may be at that path now, or later. */
static void lose(struct dv_kubelet_dir *dir)
{
    if (dir->descriptor >= 0)
        inotify_rm_watch(dir->fd, dir->descriptor); /* -EINVAL when it went by itself */
    dir->descriptor = -1;
    dv_loop_timer_set(dir->look, 0, 0);
}

/* What one event says: *fresh and *lost are set where it means that. */
static bool read_event(const struct dv_kubelet_dir *dir, const struct inotify_event *event,
                       bool *fresh, bool *lost)
{
    bool ours = event->wd == dir->descriptor;
    if (event->mask & IN_Q_OVERFLOW)
        *fresh = true;
    if (ours && event->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT))
        *lost = true;
    if (ours && event->len && event->mask & (IN_CREATE | IN_MOVED_TO) &&
        !strcmp(event->name, "kubelet.sock"))
        *fresh = true;
    return ours || *fresh;
}

static void on_events(void *arg)
{
    struct dv_kubelet_dir *dir = arg;
    union {
        struct inotify_event align;
        char bytes[4096];
    } buf;
    bool changed = false, fresh = false, lost = false;
    ssize_t n;
    while ((n = read(dir->fd, buf.bytes, sizeof buf.bytes)) > 0) {
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *event = (const void *)(buf.bytes + at);
            changed |= read_event(dir, event, &fresh, &lost);
            at += (ssize_t)(sizeof *event + event->len);
        }
    }
    if (lost)
        lose(dir);
    if (changed)
        tell(dir, fresh);
}

void dv_kubelet_dir_join(struct dv_kubelet_dir *dir, struct dv_kubelet_dir_user *user)
{
    DL_APPEND(dir->users, user);
}

void dv_kubelet_dir_leave(struct dv_kubelet_dir *dir, struct dv_kubelet_dir_user *user)
{
    DL_DELETE(dir->users, user);
}

struct dv_loop *dv_kubelet_dir_loop(const struct dv_kubelet_dir *dir)
{
    return dir->loop;
}

int dv_kubelet_dir_path(const struct dv_kubelet_dir *dir, const char *name,
                        char ret[DV_KUBELET_DIR_PATH_MAX], struct dv_err *err)
{
    int n = snprintf(ret, DV_KUBELET_DIR_PATH_MAX, "%s/%s", dir->path, name);
    if (n < DV_KUBELET_DIR_PATH_MAX)
        return 0;
    return dv_err_set(err, -ENAMETOOLONG, "%s/%.80s: a socket's path has at most %d bytes",
                      dir->path, name, DV_KUBELET_DIR_PATH_MAX - 1);
}

void dv_kubelet_dir_cut_off(struct dv_kubelet_dir *dir)
{
    dir->cut_off = true;
}

bool dv_kubelet_dir_is_cut_off(const struct dv_kubelet_dir *dir)
{
    return dir->cut_off;
}

uint32_t dv_kubelet_dir_turn(struct dv_kubelet_dir *dir)
{
    return ++dir->turn;
}

static int set_up(struct dv_kubelet_dir *dir)
{
    dir->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (dir->fd < 0)
        return dv_fd_errno();
    int r = dv_loop_watch(dir->loop, dir->fd, on_events, dir, &dir->watch);
    if (r < 0)
        return r;
    return dv_loop_timer(dir->loop, begin(dir) ? DV_NEVER / 2 : LOOK_MS, 0, on_look, dir,
                         &dir->look);
}

int dv_kubelet_dir_new(struct dv_loop *loop, const char *path, struct dv_kubelet_dir **ret,
                       struct dv_err *err)
{
    struct dv_kubelet_dir *dir = calloc(1, sizeof *dir);
    if (!dir)
        return dv_err_set(err, -ENOMEM, "out of memory");
    dir->loop = loop;
    dir->fd = dir->descriptor = -1;
    int r = dv_str_copy(dir->path, sizeof dir->path, path);
    if (r >= 0)
        r = set_up(dir);
    if (r < 0) {
        dv_kubelet_dir_free(dir);
        return dv_err_set(err, r, "cannot watch %.200s: %s", path, strerror(-r));
    }
    *ret = dir;
    return 0;
}

void dv_kubelet_dir_free(struct dv_kubelet_dir *dir)
{
    if (!dir)
        return;
    dv_loop_remove(dir->watch);
    dv_loop_remove(dir->look);
    dv_fd_close(&dir->fd);
    free(dir);
}
