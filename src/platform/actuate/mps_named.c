/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MPS protocol 3 (driver 615): one command a run of the tool, "MODULE VERB WORDS --KEY=VALUE",
 * whose status is the exit status; lists as CSV. A daemon has one named server here, and a
 * namespace for each slice.
 */
#include "actuate/mps_daemon.h"
#include "sys/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CSV "--format=csv,noheader"
static const char of_server[] = "--server=" DV_MPS_SERVER;
#define WORDS_MAX 7
#define DEFAULT_BYTES (512 * DV_MIB)

/* 0; DV_ACTUATE_FAILED with the daemon's words where it refused; negative errno. */
static int command(const struct dv_mps_at *m, const char *const words[WORDS_MAX], char *out,
                   struct dv_err *err)
{
    const char *argv[WORDS_MAX + 2] = {DV_MPS_CONTROL};
    int status = 0;
    for (size_t i = 0; i < WORDS_MAX && words[i]; i++)
        argv[i + 1] = words[i];
    int r = dv_mps_daemon_run(m, argv, NULL, DV_MPS_COMMAND_MS, out, &status, err);
    if (r || !status)
        return r;
    return dv_err_set(err, DV_ACTUATE_FAILED, "the MPS daemon refused '%s %s': %.250s", words[0],
                      words[1], dv_tool_last_line(out));
}

bool dv_mps_named_answers(const struct dv_mps_at *m)
{
    char out[DV_MPS_OUTPUT_MAX];
    return command(m, (const char *const[WORDS_MAX]){"server", "list", CSV}, out, NULL) == 0;
}

/* The row of a list whose first cell is `name`, or NULL. */
static const char *find_row(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (const char *row = list; *row;) {
        if (!strncmp(row, name, n) && (row[n] == ',' || row[n] == '\n' || !row[n]))
            return row;
        row += strcspn(row, "\n");
        row += *row == '\n';
    }
    return NULL;
}

/* Cell number `at` of a row, cut out; "" where there is none. */
static void cell(const char *row, uint32_t at, char *ret, size_t size)
{
    size_t len = strcspn(row, ",\n");
    for (; at && row[len] == ','; at--) {
        row += len + 1;
        len = strcspn(row, ",\n");
    }
    snprintf(ret, size, "%.*s", at ? 0 : (int)DV_MIN(len, size - 1), row);
}

static int set_limits(const struct dv_mps_at *m, const char *name, struct dv_err *err)
{
    char threads[48], memory[64], out[DV_MPS_OUTPUT_MAX];
    const char *limit = memory;
    uint32_t percent = m->spec->threads_percent ? m->spec->threads_percent : 100;
    snprintf(threads, sizeof threads, "--active-thread-percentage=%u", percent);
    int r = command(m,
                    (const char *const[WORDS_MAX]){"namespace", "get", name, DV_MPS_SERVER,
                                                   "pinned-memory-limit"},
                    out, err);
    if (r)
        return r;
    if (m->spec->memory_bytes)
        snprintf(memory, sizeof memory, "--pinned-memory-limit=%lluM",
                 (unsigned long long)DV_MAX(m->spec->memory_bytes / DV_MIB, 1u));
    else if (strtoull(out, NULL, 10))
        limit = "--pinned-memory-limit=" DV_MPS_NO_LIMIT;
    else
        limit = NULL;
    return command(
        m, (const char *const[WORDS_MAX]){"namespace", "set", name, of_server, threads, limit}, out,
        err);
}

/* Where the spec has no limits for whoever has no namespace, that is nobody's place: next to
 * nothing can be had there, enough for the probe. */
static int close_default(const struct dv_mps_at *m, struct dv_err *err)
{
    struct dv_mps_spec spec = *m->spec;
    struct dv_mps_at little = *m;
    little.spec = &spec;
    if (!spec.threads_percent)
        spec.threads_percent = 1;
    if (!spec.memory_bytes)
        spec.memory_bytes = DEFAULT_BYTES;
    return set_limits(&little, "default", err);
}

int dv_mps_named_prepare(const struct dv_mps_at *m, struct dv_err *err)
{
    char out[DV_MPS_OUTPUT_MAX];
    int r = command(m, (const char *const[WORDS_MAX]){"server", "list", CSV}, out, err);
    if (!r && !find_row(out, DV_MPS_SERVER))
        r = command(m, (const char *const[WORDS_MAX]){"server", "create", DV_MPS_SERVER}, out, err);
    return r ? r : close_default(m, err);
}

static enum dv_mps_server_state state_of(const char *word)
{
    if (!strcmp(word, "Ready"))
        return DV_MPS_SERVER_ACTIVE;
    if (!strcmp(word, "Fault"))
        return DV_MPS_SERVER_FAULT;
    return strcmp(word, "Stopped") != 0 ? DV_MPS_SERVER_OTHER : DV_MPS_NO_SERVER;
}

static int32_t pid_of(const char *text)
{
    int32_t pid = 0;
    return dv_mps_parse_pids(text, &pid, 1) == 1 ? pid : 0;
}

int dv_mps_named_status(const struct dv_mps_at *m, struct dv_mps_status *s, struct dv_err *err)
{
    char out[DV_MPS_OUTPUT_MAX], word[64];
    int r =
        command(m, (const char *const[WORDS_MAX]){"server", "list", DV_MPS_SERVER, CSV}, out, err);
    const char *row = r ? NULL : find_row(out, DV_MPS_SERVER);
    if (!row)
        return r;
    cell(row, 2, word, sizeof word);
    s->server_pid = pid_of(word);
    cell(row, 3, word, sizeof word);
    s->server_state = state_of(word);
    r = command(m,
                (const char *const[WORDS_MAX]){"namespace", "get", "default", DV_MPS_SERVER,
                                               "active-thread-percentage"},
                out, err);
    if (!r)
        dv_mps_parse_percent(out, &s->threads_percent);
    if (!r)
        r = command(m, (const char *const[WORDS_MAX]){"client", "list", of_server, CSV}, out, err);
    for (row = r ? "" : out; *row && s->n_clients < DV_MPS_CLIENTS_MAX;) {
        cell(row, 0, word, sizeof word);
        if (pid_of(word) > 0)
            s->clients[s->n_clients++] = pid_of(word);
        row += strcspn(row, "\n");
        row += *row == '\n';
    }
    return r;
}

/* A server that goes takes its namespaces along, so the clients are told one by one. */
int dv_mps_named_renew(const struct dv_mps_at *m, struct dv_err *err)
{
    char out[DV_MPS_OUTPUT_MAX], pid[16];
    struct dv_mps_status s = {0};
    int r = dv_mps_named_status(m, &s, err);
    for (uint32_t i = 0; !r && s.server_state == DV_MPS_SERVER_FAULT && i < s.n_clients; i++) {
        snprintf(pid, sizeof pid, "%d", s.clients[i]);
        command(m, (const char *const[WORDS_MAX]){"client", "terminate", pid}, out, NULL);
    }
    return r;
}

#define SPACE_MAX 64u

/* A name as the driver takes it. */
static int driver_name(const char *name, char ret[SPACE_MAX + 1], struct dv_err *err)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-");
    if (!n || name[n] || n > SPACE_MAX)
        return dv_err_set(err, -EINVAL,
                          "a namespace is named by lowercase letters, digits and underscores");
    for (size_t i = 0; i <= n; i++)
        ret[i] = name[i] == '-' ? '_' : name[i];
    return 0;
}

int dv_mps_namespace_pipe(const char *state, const char *name, const char *space, char *ret,
                          size_t size, struct dv_err *err)
{
    char pipe[128], own[SPACE_MAX + 1];
    int r = driver_name(space, own, err);
    if (!r)
        r = dv_mps_pipe(state, name, pipe, sizeof pipe, err);
    if (r)
        return r;
    int n = snprintf(ret, size, "%s/" DV_MPS_SERVER "/%s", pipe, own);
    if (n > 0 && (size_t)n < size && (size_t)n + sizeof "/control" <= 108)
        return 0;
    return dv_err_set(err, -ENAMETOOLONG,
                      "the socket of namespace %s in %s would have too long a path; give a "
                      "shorter --state",
                      own, pipe);
}

static int check_name(const struct dv_mps_at *m, const char *name, char ret[SPACE_MAX + 1],
                      struct dv_err *err)
{
    char path[256];
    int r = dv_mps_namespace_pipe(m->config->state, m->spec->name, name, path, sizeof path, err);
    return r ? r : driver_name(name, ret, err);
}

static int is_there(const struct dv_mps_at *m, const char *name, bool *ret, struct dv_err *err)
{
    char out[DV_MPS_OUTPUT_MAX];
    int r =
        command(m, (const char *const[WORDS_MAX]){"namespace", "list", of_server, CSV}, out, err);
    *ret = !r && find_row(out, name);
    return r;
}

/* Other users cannot come in, whose names are easy to guess. */
static int give_to(const struct dv_mps_at *m, const char *name, struct dv_err *err)
{
    char path[256];
    int r = dv_mps_namespace_pipe(m->config->state, m->spec->name, name, path, sizeof path, err);
    if (r)
        return r;
    dv_cleanup(dv_fd_close) int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fchmod(fd, 0700) < 0 ||
        (geteuid() == 0 && fchown(fd, m->spec->uid, (gid_t)-1) < 0))
        return dv_err_set(err, -errno, "cannot give %s to user %u: %s", path, m->spec->uid,
                          strerror(errno));
    return 0;
}

int dv_mps_named_namespace(const struct dv_mps_at *m, const char *space, struct dv_err *err)
{
    char out[DV_MPS_OUTPUT_MAX], name[SPACE_MAX + 1];
    bool there = false;
    int r = check_name(m, space, name, err);
    if (!r)
        r = is_there(m, name, &there, err);
    if (!r && !there)
        r = command(m, (const char *const[WORDS_MAX]){"namespace", "create", name, of_server}, out,
                    err);
    if (!r)
        r = set_limits(m, name, err); /* before anybody can come */
    if (!r)
        r = give_to(m, name, err);
    return r ? r : dv_mps_door_change(m, name, true, err);
}

int dv_mps_named_namespace_end(const struct dv_mps_at *m, const char *space, struct dv_err *err)
{
    char out[DV_MPS_OUTPUT_MAX], name[SPACE_MAX + 1];
    bool there = false;
    int r = check_name(m, space, name, err);
    if (!r)
        r = is_there(m, name, &there, err);
    if (!r && there)
        r = dv_mps_door_change(m, name, false, err);
    if (!r && there)
        r = command(
            m, (const char *const[WORDS_MAX]){"namespace", "delete", name, of_server, "--force"},
            out, err);
    return r;
}
