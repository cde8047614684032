/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protocol 3: servers with names, each with a default namespace and others. A client's namespace is
 * the one whose socket it was given: $PIPE/SERVER/NAMESPACE/control; $PIPE/SERVER/control leads to
 * the default one, $PIPE/control to a server of the client's user.
 */
#include "mps/daemon.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CU_MPS_CONNECTION_FAILED 805

uint32_t dv_mpsd_named_find(const struct dv_mpsd *d, const char *name)
{
    for (uint32_t i = 0; i < DV_MPSD_NAMED_MAX; i++) {
        if (d->named[i].name[0] && !strcmp(d->named[i].name, name))
            return i;
    }
    return DV_MPSD_NONE;
}

uint32_t dv_mpsd_named_find_space(const struct dv_mpsd_named *n, const char *name)
{
    for (uint32_t i = 0; i < DV_MPSD_NAMESPACES_MAX; i++) {
        if (n->space[i].name[0] && !strcmp(n->space[i].name, name))
            return i;
    }
    return DV_MPSD_NONE;
}

struct dv_mpsd_server *dv_mpsd_named_server(struct dv_mpsd *d, uint32_t named)
{
    for (uint32_t i = 0; i < DV_SIM_MPS_SERVERS_MAX; i++) {
        if (d->server[i].state != DV_MPSD_FREE && d->server[i].named == named)
            return &d->server[i];
    }
    return NULL;
}

static void path_of(const struct dv_mpsd_named *n, const struct dv_mpsd_namespace *space,
                    char ret[192])
{
    snprintf(ret, 192, "%s%s%s/control", n->name, space ? "/" : "", space ? space->name : "");
}

/* ---- namespaces ---- */

static int open_space(const struct dv_mpsd *d, const struct dv_mpsd_named *n,
                      struct dv_mpsd_namespace *space, const char *name, struct dv_err *err)
{
    char path[192];

    *space = (struct dv_mpsd_namespace){.threads = DV_SIM_MPS_WHOLE, .listening = -1};
    memcpy(space->name, name, strlen(name) + 1);
    path_of(n, space, path);
    space->listening = dv_mpsd_listen(d, path, err);
    if (space->listening >= 0)
        return 0;
    space->name[0] = '\0';
    return space->listening;
}

static void close_space(const struct dv_mpsd *d, const struct dv_mpsd_named *n,
                        struct dv_mpsd_namespace *space)
{
    char path[192];

    if (!space->name[0])
        return;
    path_of(n, space, path);
    dv_mpsd_unlisten(d, path, space->listening);
    space->name[0] = '\0';
}

int dv_mpsd_named_add_space(struct dv_mpsd *d, uint32_t named, const char *name, struct dv_err *err)
{
    struct dv_mpsd_named *n = &d->named[named];

    if (dv_mpsd_named_find_space(n, name) != DV_MPSD_NONE)
        return dv_err_set(err, -EEXIST, "server %s has a namespace %s", n->name, name);
    for (uint32_t i = 0; i < DV_MPSD_NAMESPACES_MAX; i++) {
        if (!n->space[i].name[0])
            return open_space(d, n, &n->space[i], name, err);
    }
    return dv_err_set(err, -ENOSPC, "a server has at most %u namespaces", DV_MPSD_NAMESPACES_MAX);
}

/* Those who came through a socket that is gone belong nowhere. */
static void forget(struct dv_mpsd *d, uint32_t named, uint32_t space)
{
    for (uint32_t i = 0; i < d->connections; i++) {
        struct dv_mpsd_connection *c = d->connection[i];

        if (!c || c->named != named || (space != DV_MPSD_NONE && c->space != space))
            continue;
        c->named = DV_MPSD_NONE;
        if (c->role != DV_MPSD_WAITS)
            continue;
        c->role = DV_MPSD_NEW;
        dv_mpsd_reply(d, c, DV_MPS_CLIENT, CU_MPS_CONNECTION_FAILED, "");
    }
}

void dv_mpsd_named_remove_space(struct dv_mpsd *d, uint32_t named, uint32_t space)
{
    forget(d, named, space);
    close_space(d, &d->named[named], &d->named[named].space[space]);
}

/* ---- servers ---- */

static int choose_devices(const struct dv_mpsd *d, struct dv_mpsd_named *n, const char *list,
                          struct dv_err *err)
{
    char copy[DV_MPSV3_LIST];
    char *rest = NULL;

    n->all_devices = !*list;
    for (uint32_t i = 0; !*list && i < d->n_devices; i++)
        n->device[n->n_devices++] = i;
    if (dv_str_copy(copy, sizeof(copy), list) < 0)
        return dv_err_set(err, -EINVAL, "the list of devices is too long");
    for (char *word = strtok_r(copy, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
        int index = dv_mpsd_device(d, word);

        if (index < 0)
            return dv_err_set(err, -ENOENT, "'%.64s' is not one of this daemon's %u devices", word,
                              d->n_devices);
        for (uint32_t i = 0; i < n->n_devices; i++) {
            if (n->device[i] == (uint32_t)index)
                return dv_err_set(err, -EINVAL, "'%.64s' is listed twice", word);
        }
        n->device[n->n_devices++] = (uint32_t)index;
    }
    return n->n_devices ? 0 : dv_err_set(err, -EINVAL, "a server needs a device");
}

int dv_mpsd_named_add(struct dv_mpsd *d, const char *name, uid_t uid, const char *devices,
                      uint32_t *ret, struct dv_err *err)
{
    struct dv_mpsd_named *n;
    char path[192];
    uint32_t at = 0;
    int r;

    if (dv_mpsd_named_find(d, name) != DV_MPSD_NONE)
        return dv_err_set(err, -EEXIST, "there is a server %s", name);
    while (at < DV_MPSD_NAMED_MAX && d->named[at].name[0])
        at++;
    if (at == DV_MPSD_NAMED_MAX)
        return dv_err_set(err, -ENOSPC, "there are %u servers, the most", DV_MPSD_NAMED_MAX);
    n = &d->named[at];
    *n = (struct dv_mpsd_named){.uid = uid, .listening = -1};
    r = choose_devices(d, n, devices, err);
    if (r < 0)
        return r;
    memcpy(n->name, name, strlen(name) + 1);
    path_of(n, NULL, path);
    n->listening = dv_mpsd_listen(d, path, err);
    r = n->listening < 0 ? n->listening : open_space(d, n, &n->space[0], "default", err);
    if (r < 0) {
        dv_mpsd_named_remove(d, at);
        return r;
    }
    *ret = at;
    return 0;
}

void dv_mpsd_named_remove(struct dv_mpsd *d, uint32_t named)
{
    struct dv_mpsd_named *n = &d->named[named];
    char path[192];

    if (!n->name[0])
        return;
    forget(d, named, DV_MPSD_NONE);
    for (uint32_t i = 0; i < DV_SIM_MPS_SERVERS_MAX; i++) {
        if (d->server[i].state == DV_MPSD_FREE || d->server[i].named != named)
            continue;
        d->server[i].named = DV_MPSD_NONE;
        dv_mpsd_server_drain(d, &d->server[i], true);
    }
    for (uint32_t i = 0; i < DV_MPSD_NAMESPACES_MAX; i++)
        close_space(d, n, &n->space[i]);
    path_of(n, NULL, path);
    dv_mpsd_unlisten(d, path, n->listening);
    n->name[0] = '\0';
}

int dv_mpsd_named_route(struct dv_mpsd *d, struct dv_mpsd_connection *c)
{
    char name[DV_MPSV3_NAME];
    struct dv_err err = {0};
    int r;

    if (c->named != DV_MPSD_NONE)
        return 0;
    c->space = 0;
    for (uint32_t i = 0; i < DV_MPSD_NAMED_MAX && c->named == DV_MPSD_NONE; i++) {
        if (d->named[i].name[0] && (d->named[i].uid == c->uid || d->options.multiuser))
            c->named = i;
    }
    if (c->named != DV_MPSD_NONE)
        return 0;
    snprintf(name, sizeof(name), "uid_%u", c->uid);
    r = dv_mpsd_named_add(d, name, d->options.multiuser ? geteuid() : c->uid, "", &c->named, &err);
    if (r < 0)
        dv_mpslog_write(&d->control_log, "Client %d: %s", (int)c->pid, err.msg);
    return r;
}
