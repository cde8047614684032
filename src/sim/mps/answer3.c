/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of protocol 3. */
#include "mps/daemon.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int fail(struct dv_str *out, const char *fmt, ...) dv_printf(2, 3);

static int fail(struct dv_str *out, const char *fmt, ...)
{
    char text[600];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    dv_str_addf(out, "%s\n", text);
    return 1;
}

/* ---- rows ---- */

#define CELL 160

struct row {
    char cell[8][CELL];
    size_t n;
};

static void add_cell(struct row *row, const char *fmt, ...) dv_printf(2, 3);

static void add_cell(struct row *row, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(row->cell[row->n++], CELL, fmt, ap);
    va_end(ap);
}

static void print_row(const struct dv_mpsv3 *q, const struct row *row, struct dv_str *out)
{
    for (size_t i = 0; i < row->n; i++)
        dv_str_addf(out, q->csv || i + 1 == row->n ? "%s%s" : "%-16s%s", row->cell[i],
                    i + 1 == row->n ? "\n"
                    : q->csv        ? ","
                                    : " ");
}

static void print_head(const struct dv_mpsv3 *q, const char *const *names, size_t n,
                       struct dv_str *out)
{
    struct row row = {.n = 0};

    for (size_t i = 0; i < n; i++)
        add_cell(&row, "%s", names[i]);
    for (size_t i = 0; i < n && !q->csv; i++) {
        for (char *c = row.cell[i]; *c; c++)
            *c = (char)(*c >= 'a' && *c <= 'z' ? *c - 32 : *c);
    }
    if (q->header)
        print_row(q, &row, out);
}

/* One cell by its column's name. */
static int print_field(const struct row *row, const char *const *names, const char *field,
                       struct dv_str *out)
{
    for (size_t i = 0; i < row->n; i++) {
        if (!strcmp(names[i], field)) {
            dv_str_addf(out, "%s\n", row->cell[i]);
            return 0;
        }
    }
    return fail(out, "'%s' is not a field here", field);
}

/* ---- what servers, namespaces and clients say ---- */

static struct dv_sim_mps_status state; /* of the server asked last: too large for the stack */

static const char *state_name(struct dv_mpsd *d, const struct dv_mpsd_server *s)
{
    if (!s)
        return "Stopped";
    if (s->state == DV_MPSD_STARTING || dv_mpsd_status(d, s, &state) != 0)
        return "Starting";
    return state.state == DV_SIM_MPS_FAULT ? "Fault" : "Ready";
}

static const char *const server_columns[] = {
    "name", "uid", "pid", "status", "pipe-directory", "allowed-devices", "context-ids"};

static void describe_server(struct dv_mpsd *d, uint32_t named, struct row *row)
{
    const struct dv_mpsd_named *n = &d->named[named];
    const struct dv_mpsd_server *s = dv_mpsd_named_server(d, named);
    dv_cleanup(dv_str_done) struct dv_str devices = {0};

    for (uint32_t i = 0; i < n->n_devices; i++)
        dv_str_addf(&devices, "%s%s", i ? ";" : "", d->device[n->device[i]].uuid);
    add_cell(row, "%s", n->name);
    add_cell(row, "%u", n->uid);
    add_cell(row, "%d", s ? (int)s->pid : 0);
    add_cell(row, "%s", state_name(d, s));
    add_cell(row, "%s/%s", d->options.pipes, n->name);
    add_cell(row, "%s", n->all_devices ? "all" : dv_str_get(&devices));
    add_cell(row, "-");
}

static const char *const space_columns[] = {"name",
                                            "server",
                                            "server-status",
                                            "pinned-memory-limit",
                                            "active-thread-percentage",
                                            "client-priority",
                                            "pipe-directory"};

static void describe_space(struct dv_mpsd *d, uint32_t named, uint32_t space, struct row *row)
{
    const struct dv_mpsd_named *n = &d->named[named];
    const struct dv_mpsd_namespace *s = &n->space[space];
    dv_cleanup(dv_str_done) struct dv_str text = {0};

    add_cell(row, "%s", s->name);
    add_cell(row, "%s", n->name);
    add_cell(row, "%s", state_name(d, dv_mpsd_named_server(d, named)));
    dv_mpsv3_add_bytes(&text, s->bytes);
    add_cell(row, "%s", dv_str_get(&text));
    if (s->threads % 1000)
        add_cell(row, "%u.%03u", s->threads / 1000, s->threads % 1000);
    else
        add_cell(row, "%u", s->threads / 1000);
    add_cell(row, "%d", s->priority);
    add_cell(row, "%s/%s/%s", d->options.pipes, n->name, s->name);
}

static const char *const client_columns[] = {"pid",      "server", "device", "maws-ns",
                                             "linux-ns", "pci-id", "cmd"};

static const struct dv_mpsd_connection *connection_of(const struct dv_mpsd *d, uint32_t pid)
{
    for (uint32_t i = 0; i < d->connections; i++) {
        const struct dv_mpsd_connection *c = d->connection[i];

        if (c && c->role == DV_MPSD_CONNECTED && c->pid == (pid_t)pid)
            return c;
    }
    return NULL;
}

/* A client on the first device that it has a context on. */
static void describe_client(const struct dv_mpsd *d, const struct dv_mpsd_server *s, uint32_t pid,
                            uint32_t devices, struct row *row)
{
    const struct dv_mpsd_named *n = &d->named[s->named];
    const struct dv_mpsd_connection *c = connection_of(d, pid);
    uint32_t at = devices ? (uint32_t)__builtin_ctz(devices) : 0;
    const struct dv_sim_device *device = &d->device[s->device[at]];
    char command[64];

    dv_mpsd_command_of(pid, command);
    add_cell(row, "%u", pid);
    add_cell(row, "%s", n->name);
    add_cell(row, "%u", at);
    add_cell(row, "%s", c && c->named != DV_MPSD_NONE ? n->space[c->space].name : "-");
    add_cell(row, "%llu", (unsigned long long)dv_mpsd_pid_namespace_of(pid));
    add_cell(row, "%08X:%02X:%02X.0", device->pci_domain, device->pci_bus, device->pci_device);
    add_cell(row, "%s", command);
}

/* ---- lists ---- */

static int list_servers(struct dv_mpsd *d, const struct dv_mpsv3 *q, struct dv_str *out)
{
    print_head(q, server_columns, DV_ARRAY_SIZE(server_columns), out);
    for (uint32_t i = 0; i < DV_MPSD_NAMED_MAX; i++) {
        struct row row = {.n = 0};

        if (!d->named[i].name[0] || (q->name[0] && strcmp(d->named[i].name, q->name) != 0))
            continue;
        describe_server(d, i, &row);
        print_row(q, &row, out);
    }
    return 0;
}

static int list_spaces(struct dv_mpsd *d, const struct dv_mpsv3 *q, struct dv_str *out)
{
    print_head(q, space_columns, DV_ARRAY_SIZE(space_columns), out);
    for (uint32_t i = 0; i < DV_MPSD_NAMED_MAX * DV_MPSD_NAMESPACES_MAX; i++) {
        const struct dv_mpsd_named *n = &d->named[i / DV_MPSD_NAMESPACES_MAX];
        const struct dv_mpsd_namespace *s = &n->space[i % DV_MPSD_NAMESPACES_MAX];
        struct row row = {.n = 0};

        if (!n->name[0] || !s->name[0] || (q->name[0] && strcmp(s->name, q->name) != 0) ||
            (q->server[0] && strcmp(n->name, q->server) != 0))
            continue;
        describe_space(d, i / DV_MPSD_NAMESPACES_MAX, i % DV_MPSD_NAMESPACES_MAX, &row);
        print_row(q, &row, out);
    }
    return 0;
}

/* Clients of all servers, or of one; as the documentation's example: five columns. */
static int list_clients(struct dv_mpsd *d, const struct dv_mpsv3 *q, struct dv_str *out)
{
    static const char *const names[] = {"pid", "server", "device", "namespace", "command"};

    print_head(q, names, DV_ARRAY_SIZE(names), out);
    for (uint32_t i = 0; i < DV_SIM_MPS_SERVERS_MAX; i++) {
        const struct dv_mpsd_server *s = &d->server[i];

        if (s->state == DV_MPSD_FREE || s->named == DV_MPSD_NONE ||
            (q->server[0] && strcmp(d->named[s->named].name, q->server) != 0) ||
            dv_mpsd_status(d, s, &state) != 0)
            continue;
        for (uint32_t k = 0; k < state.clients; k++) {
            struct row row = {.n = 0};

            describe_client(d, s, state.client[k].pid, state.client[k].devices, &row);
            memcpy(row.cell[4], row.cell[6], CELL);
            row.n = DV_ARRAY_SIZE(names);
            print_row(q, &row, out);
        }
    }
    return 0;
}

static int list_devices(struct dv_mpsd *d, const struct dv_mpsv3 *q, struct dv_str *out)
{
    static const char *const names[] = {"ordinal",     "server", "pci id",
                                        "device uuid", "name",   "total sms"};

    print_head(q, names, DV_ARRAY_SIZE(names), out);
    for (uint32_t i = 0; i < DV_MPSD_NAMED_MAX; i++) {
        const struct dv_mpsd_named *n = &d->named[i];

        if (!n->name[0] || (q->server[0] && strcmp(n->name, q->server) != 0))
            continue;
        for (uint32_t k = 0; k < n->n_devices; k++) {
            const struct dv_sim_device *device = &d->device[n->device[k]];
            struct row row = {.n = 0};

            add_cell(&row, "%u", k);
            add_cell(&row, "%s", n->name);
            add_cell(&row, "%08X:%02X:%02X.0", device->pci_domain, device->pci_bus,
                     device->pci_device);
            add_cell(&row, "%s", device->uuid);
            add_cell(&row, "%s", device->name);
            add_cell(&row, "%u", device->sms);
            print_row(q, &row, out);
        }
    }
    return 0;
}

/* ---- changes ---- */

static int create_server(struct dv_mpsd *d, uid_t asker, const struct dv_mpsv3 *q,
                         struct dv_str *out)
{
    uid_t uid = q->has & DV_MPSV3_HAS_UID ? q->uid : asker;
    char name[DV_MPSV3_NAME];
    struct dv_err err = {0};
    uint32_t named;
    int r;

    if (d->options.multiuser && uid != geteuid())
        return fail(out, "server create: in multiuser mode --uid=%u is the only one", geteuid());
    if (geteuid() != 0 && uid != geteuid())
        return fail(out, "server create: only root starts servers of other users");
    if (q->name[0])
        memcpy(name, q->name, sizeof(name));
    else
        snprintf(name, sizeof(name), "uid_%u", uid);
    r = dv_mpsd_named_add(d, name, uid, q->devices, &named, &err);
    if (r < 0)
        return fail(out, "server create: %s", err.msg);
    r = dv_mpsd_server_start(d, uid, named);
    if (r == 0)
        return 0;
    dv_mpsd_named_remove(d, named);
    return fail(out, "server create: %s", strerror(-r));
}

static int terminate(struct dv_mpsd *d, const struct dv_mpsd_server *s, uint32_t pid)
{
    struct dv_sim_mps_terminate t = {(uint32_t)s->pid, pid};
    int r = dv_mpsnode_request(d->node, DV_SIM_MPS_TERMINATE, &t, sizeof(t), NULL, NULL);

    if (r == -EPIPE)
        d->lost = true;
    return r;
}

static int delete_server(struct dv_mpsd *d, uint32_t named, const struct dv_mpsv3 *q,
                         struct dv_str *out)
{
    const struct dv_mpsd_server *s = dv_mpsd_named_server(d, named);

    if (s && !q->force && dv_mpsd_status(d, s, &state) == 0 && state.clients)
        return fail(out, "server delete: %s has %u clients; --force ends them", q->name,
                    state.clients);
    dv_mpsd_named_remove(d, named);
    return 0;
}

/* The clients of a namespace; with `end`, they end. */
static uint32_t count_clients(struct dv_mpsd *d, uint32_t named, uint32_t space, bool end)
{
    const struct dv_mpsd_server *s = dv_mpsd_named_server(d, named);
    uint32_t n = 0;

    if (!s || dv_mpsd_status(d, s, &state) != 0)
        return 0;
    for (uint32_t i = 0; i < state.clients; i++) {
        const struct dv_mpsd_connection *c = connection_of(d, state.client[i].pid);

        if (!c || c->named != named || c->space != space)
            continue;
        n++;
        if (end)
            terminate(d, s, state.client[i].pid);
    }
    return n;
}

static int delete_space(struct dv_mpsd *d, uint32_t named, uint32_t space, const struct dv_mpsv3 *q,
                        struct dv_str *out)
{
    uint32_t n;

    if (space == 0)
        return fail(out, "namespace delete: a server keeps its default namespace");
    n = count_clients(d, named, space, q->force);
    if (n && !q->force)
        return fail(out, "namespace delete: %s has %u clients; --force ends them", q->name, n);
    dv_mpsd_named_remove_space(d, named, space);
    return 0;
}

/* For clients that come from now on. */
static int set_limits(struct dv_mpsd_namespace *space, const struct dv_mpsv3 *q)
{
    if (q->has & DV_MPSV3_HAS_MEMORY)
        space->bytes = q->bytes;
    if (q->has & DV_MPSV3_HAS_THREADS)
        space->threads = q->threads;
    if (q->has & DV_MPSV3_HAS_PRIORITY)
        space->priority = q->priority;
    return 0;
}

static int of_client(struct dv_mpsd *d, const struct dv_mpsv3 *q, struct dv_str *out)
{
    for (uint32_t i = 0; i < DV_SIM_MPS_SERVERS_MAX; i++) {
        const struct dv_mpsd_server *s = &d->server[i];
        struct row row = {.n = 0};

        if (s->state == DV_MPSD_FREE || s->named == DV_MPSD_NONE ||
            dv_mpsd_status(d, s, &state) != 0)
            continue;
        for (uint32_t k = 0; k < state.clients; k++) {
            if (state.client[k].pid != q->pid)
                continue;
            if (q->what == DV_MPSV3_CLIENT_TERMINATE)
                return terminate(d, s, q->pid) == 0
                           ? 0
                           : fail(out, "client terminate: %u cannot be ended", q->pid);
            describe_client(d, s, q->pid, state.client[k].devices, &row);
            return print_field(&row, client_columns, q->field, out);
        }
    }
    return fail(out, "there is no client %u", q->pid);
}

/* ---- commands ---- */

static int of_server(struct dv_mpsd *d, uint32_t named, const struct dv_mpsv3 *q,
                     struct dv_str *out)
{
    struct row row = {.n = 0};

    switch (q->what) {
    case DV_MPSV3_SERVER_DELETE:
        return delete_server(d, named, q, out);
    case DV_MPSV3_SERVER_SET:
        return set_limits(&d->named[named].space[0], q);
    default: /* GET */
        describe_server(d, named, &row);
        return print_field(&row, server_columns, q->field, out);
    }
}

static int of_space(struct dv_mpsd *d, const struct dv_mpsv3 *q, struct dv_str *out)
{
    uint32_t named = dv_mpsd_named_find(d, q->server), space;
    struct row row = {.n = 0};
    struct dv_err err = {0};

    if (named == DV_MPSD_NONE)
        return fail(out, "there is no server %s", q->server);
    if (q->what == DV_MPSV3_NAMESPACE_CREATE)
        return dv_mpsd_named_add_space(d, named, q->name, &err) < 0
                   ? fail(out, "namespace create: %s", err.msg)
                   : 0;
    space = dv_mpsd_named_find_space(&d->named[named], q->name);
    if (space == DV_MPSD_NONE)
        return fail(out, "server %s has no namespace %s", q->server, q->name);
    if (q->what == DV_MPSV3_NAMESPACE_DELETE)
        return delete_space(d, named, space, q, out);
    if (q->what == DV_MPSV3_NAMESPACE_SET)
        return set_limits(&d->named[named].space[space], q);
    describe_space(d, named, space, &row);
    return print_field(&row, space_columns, q->field, out);
}

static int quit(struct dv_mpsd *d)
{
    d->quitting = true;
    for (uint32_t i = 0; i < DV_SIM_MPS_SERVERS_MAX; i++) {
        if (d->server[i].state != DV_MPSD_FREE)
            dv_mpsd_server_drain(d, &d->server[i], true);
    }
    return 2;
}

int dv_mpsd_answer3(struct dv_mpsd *d, uid_t uid, const char *line, struct dv_str *out)
{
    struct dv_mpsv3 q;
    struct dv_err err = {0};
    uint32_t named;

    if (dv_mpsv3_parse(line, &q, &err) < 0)
        return fail(out, "%s", err.msg);
    if (q.what != DV_MPSV3_NOTHING)
        dv_mpslog_write(&d->control_log, "Cmd:%s", line);
    switch (q.what) {
    case DV_MPSV3_NOTHING:
        return 0;
    case DV_MPSV3_QUIT:
        return quit(d);
    case DV_MPSV3_SERVER_CREATE:
        return create_server(d, uid, &q, out);
    case DV_MPSV3_SERVER_LIST:
        return list_servers(d, &q, out);
    case DV_MPSV3_NAMESPACE_LIST:
        return list_spaces(d, &q, out);
    case DV_MPSV3_CLIENT_LIST:
        return list_clients(d, &q, out);
    case DV_MPSV3_DEVICE_LIST:
        return list_devices(d, &q, out);
    case DV_MPSV3_CLIENT_GET:
    case DV_MPSV3_CLIENT_TERMINATE:
        return of_client(d, &q, out);
    case DV_MPSV3_SERVER_DELETE:
    case DV_MPSV3_SERVER_SET:
    case DV_MPSV3_SERVER_GET:
        named = dv_mpsd_named_find(d, q.name);
        return named == DV_MPSD_NONE ? fail(out, "there is no server %s", q.name)
                                     : of_server(d, named, &q, out);
    default:
        return of_space(d, &q, out);
    }
}
