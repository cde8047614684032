/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's directory for containers (abi_sim_show.h): SOCKET.inside with a socket of its own
 * and a file for each device that can be had. Files of an earlier server there are kept, since
 * containers that live on have them mounted.
 */
#include "server/server.h"
#include "server/state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int make_directory(const char *path)
{
    struct stat st;
    int fd;

    if (mkdir(path, 0755) < 0 && errno != EEXIST)
        return -errno;
    fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0 || st.st_uid != geteuid() || fchmod(fd, 0755) < 0) {
        close(fd);
        return -EPERM;
    }
    return fd;
}

/* By the directory's descriptor: a socket's path has 108 bytes, which the server's own may use up.
 */
static int listen_inside(struct dv_simserver *s)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};

    snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/" DV_SIM_INSIDE_SOCKET, s->inside);
    unlinkat(s->inside, DV_SIM_INSIDE_SOCKET, 0); /* nobody listens: the server's own was free */
    s->limited = (struct dv_simsource){
        .fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
        .ready = dv_simclients_accept};
    if (s->limited.fd < 0 || bind(s->limited.fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
        chmod(a.sun_path, 0666) < 0 || listen(s->limited.fd, 128) < 0)
        return -errno;
    return dv_simserver_watch(s, &s->limited, EPOLLIN);
}

void dv_siminside_add(struct dv_simserver *s, const char *uuid)
{
    int fd = s->inside < 0
                 ? -1
                 : openat(s->inside, uuid, O_RDONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0444);

    if (fd >= 0)
        close(fd);
}

void dv_siminside_remove(struct dv_simserver *s, const char *uuid)
{
    if (s->inside >= 0)
        unlinkat(s->inside, uuid, 0);
}

int dv_siminside_open(struct dv_simserver *s, struct dv_err *err)
{
    char path[sizeof(s->socket) + sizeof(DV_SIM_INSIDE)];
    int r;

    snprintf(path, sizeof(path), "%s" DV_SIM_INSIDE, s->socket);
    r = s->inside = make_directory(path);
    if (r >= 0)
        r = listen_inside(s);
    if (r < 0)
        return dv_err_set(err, r, "%s: %s", path, strerror(-r));
    for (uint32_t i = 0; i < s->node.n_gpus; i++)
        for (uint32_t k = 0; k < DV_SIM_GPUS_MAX; k++)
            if (s->card[i].place[k].used)
                dv_siminside_add(s, s->card[i].place[k].uuid);
    return 0;
}

void dv_simserver_clear(const char *socket)
{
    char path[PATH_MAX];
    int fd;
    DIR *dir;

    if (snprintf(path, sizeof(path), "%s" DV_SIM_INSIDE, socket) >= (int)sizeof(path))
        return;
    fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    dir = fd < 0 ? NULL : fdopendir(fd);
    for (struct dirent *e; dir && (e = readdir(dir));)
        unlinkat(fd, e->d_name, 0); /* "." and ".." are none of its business */
    if (dir)
        closedir(dir);
    rmdir(path);
}

void dv_siminside_close(struct dv_simserver *s)
{
    dv_simserver_drop(s, &s->limited);
    if (s->inside < 0)
        return;
    close(s->inside);
    s->inside = -1;
    dv_simserver_clear(s->socket);
}

/* A file is what it is, under whatever name. */
void dv_siminside_show(struct dv_simserver *s, struct dv_simview *view, int fd)
{
    struct stat shown, own;

    if (fd < 0 || fstat(fd, &shown) < 0 || !S_ISREG(shown.st_mode))
        return;
    for (uint32_t i = 0; i < s->node.n_gpus; i++) {
        for (uint32_t k = 0; k < DV_SIM_GPUS_MAX; k++) {
            const struct dv_simplace *p = &s->card[i].place[k];

            if (p->used && fstatat(s->inside, p->uuid, &own, AT_SYMLINK_NOFOLLOW) == 0 &&
                own.st_dev == shown.st_dev && own.st_ino == shown.st_ino)
                dv_simview_add(view, i, p->gi_id, p->ci_id);
        }
    }
}
