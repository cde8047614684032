/* SPDX-License-Identifier: Apache-2.0 */
#include "base/units.h"
#include "cli/cli.h"
#include "render/json.h"
#include "render/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SOCKET, OUTPUT, ENDED };

static struct dv_output_node *add_gpu(struct dv_output_node *gpus, uint32_t index,
                                      const struct dv_sim_stats *st)
{
    struct dv_output_node *g = dv_output_object(gpus, NULL);
    struct dv_output_node *list;

    dv_output_uint(g, "index", index);
    dv_output_string(g, "uuid", st->uuid);
    dv_output_string(g, "model", st->name);
    dv_output_bool(g, "mig_enabled", st->mig_enabled != 0);
    dv_output_bytes(g, "memory_total_bytes", st->memory_total_bytes);
    dv_output_bytes(g, "memory_used_bytes", st->memory_used_bytes);
    dv_output_bytes(g, "memory_high_water_bytes", st->memory_high_water_bytes);
    dv_output_uint(g, "now_ns", st->now_ns);
    dv_output_uint(g, "busy_ns", st->busy_ns);
    dv_output_uint(g, "switch_ns", st->switch_ns);
    dv_output_uint(g, "idle_ns", st->idle_ns);
    list = dv_output_array(g, "processes");
    for (uint32_t i = 0; i < st->processes; i++) {
        struct dv_output_node *p = dv_output_object(list, NULL);

        dv_output_uint(p, "pid", st->process[i].pid);
        dv_output_bytes(p, "memory_used_bytes", st->process[i].memory_used_bytes);
        dv_output_bytes(p, "memory_high_water_bytes", st->process[i].memory_high_water_bytes);
        dv_output_uint(p, "executed_ns", st->process[i].executed_ns);
        dv_output_uint(p, "sm_ns", st->process[i].sm_ns);
        dv_output_seconds(p, "executed_seconds", st->process[i].executed_ns);
        dv_output_string(p, "mps",
                         st->process[i].mps == DV_SIM_MPS_IS_SERVER   ? "server"
                         : st->process[i].mps == DV_SIM_MPS_IS_CLIENT ? "client"
                                                                      : "none");
    }
    return g;
}

static void add_life(struct dv_output_node *list, const struct dv_sim_life *life)
{
    struct dv_output_node *p = dv_output_object(list, NULL);

    dv_output_uint(p, "sequence", life->sequence);
    dv_output_uint(p, "pid", life->pid);
    dv_output_bool(p, "accounted", life->accounted != 0);
    dv_output_uint(p, "start_time", life->start_time);
    dv_output_uint(p, "started_unix_us", life->started_us);
    dv_output_seconds(p, "lived_seconds", life->end_ns - life->first_ns);
    dv_output_seconds(p, "executed_seconds", life->executed_ns);
    dv_output_seconds(p, "sm_seconds", life->sm_ns);
    dv_output_uint(p, "executed_ns", life->executed_ns);
    dv_output_bytes(p, "memory_high_water_bytes", life->memory_high_water_bytes);
}

/* Those that had ended when the first page was asked for: more may end meanwhile. */
static int add_ended(int fd, uint32_t gpu, struct dv_output_node *g)
{
    struct dv_output_node *list = dv_output_array(g, "ended");
    struct dv_sim_ended_ask q = {.gpu = gpu};
    struct dv_sim_ended *page = malloc(sizeof(*page));
    uint64_t last = UINT64_MAX;
    int r = page ? 0 : -1;

    while (r == 0 && q.after < last) {
        uint32_t size = sizeof(*page);

        r = dv_simcli_request(fd, DV_SIM_CTL_ENDED, &q, sizeof(q), page, &size);
        if (r == 0 && (size != sizeof(*page) || page->lives > DV_SIM_ENDED_PAGE))
            r = -1;
        if (r < 0 || !page->lives)
            break;
        last = DV_MIN(last, page->last);
        for (uint32_t i = 0; i < page->lives; i++)
            add_life(list, &page->life[i]);
        q.after = page->life[page->lives - 1].sequence;
    }
    free(page);
    return r;
}

static int collect(int fd, bool ended, struct dv_output *o)
{
    struct dv_output_node *root = dv_output_root(o), *gpus = NULL;
    struct dv_sim_stats *st = malloc(sizeof(*st));
    int r = st ? 0 : -1;

    for (uint32_t i = 0, n = 1; r == 0 && i < n; i++) {
        uint32_t size = sizeof(*st);

        r = dv_simcli_request(fd, DV_SIM_CTL_STATS, &i, sizeof(i), st, &size);
        if (r == 0 && size != sizeof(*st))
            r = -1;
        if (r < 0)
            break;
        n = st->gpus;
        if (i == 0) {
            dv_output_string(root, "node", st->node);
            dv_output_uint(root, "clients", st->clients);
            dv_output_uint(root, "deaths", st->deaths);
            dv_output_uint(root, "death_slowest_ns", st->death_slowest_ns);
            gpus = dv_output_array(root, "gpus");
        }
        struct dv_output_node *g = add_gpu(gpus, i, st);
        if (ended)
            r = add_ended(fd, i, g);
    }
    free(st);
    return r;
}

static int write_ended(struct dv_output *o, struct dv_str *text)
{
    static const struct dv_table_column columns[] = {
        {.title = "GPU", .path = "^index", .right = true},
        {.title = "ENDED", .path = "pid", .right = true},
        {.title = "MOST", .path = "memory_high_water_bytes", .right = true},
        {.title = "GPU TIME", .path = "executed_seconds", .right = true},
        {.title = "LIVED", .path = "lived_seconds", .right = true},
        {.title = "ACCOUNTED", .path = "accounted"},
    };
    static const struct dv_table table = {
        .rows = "gpus.ended", .columns = columns, .n = DV_ARRAY_SIZE(columns)};

    dv_str_addc(text, '\n');
    return dv_table_write(&table, o, (struct dv_table_style){.nothing = "none has ended"}, text);
}

static int write_tables(struct dv_output *o, bool ended, struct dv_str *text)
{
    static const struct dv_table_column gpu_columns[] = {
        {.title = "GPU", .path = "index", .right = true},
        {.title = "MODEL", .path = "model"},
        {.title = "MIG", .path = "mig_enabled"},
        {.title = "MEMORY", .path = "memory_total_bytes", .right = true},
        {.title = "USED", .path = "memory_used_bytes", .right = true},
        {.title = "MOST", .path = "memory_high_water_bytes", .right = true},
        {.title = "UUID", .path = "uuid"},
    };
    static const struct dv_table_column process_columns[] = {
        {.title = "GPU", .path = "^index", .right = true},
        {.title = "PID", .path = "pid", .right = true},
        {.title = "USED", .path = "memory_used_bytes", .right = true},
        {.title = "MOST", .path = "memory_high_water_bytes", .right = true},
        {.title = "GPU TIME", .path = "executed_seconds", .right = true},
        {.title = "MPS", .path = "mps"},
    };
    static const struct dv_table gpus = {
        .rows = "gpus", .columns = gpu_columns, .n = DV_ARRAY_SIZE(gpu_columns)};
    static const struct dv_table processes = {
        .rows = "gpus.processes", .columns = process_columns, .n = DV_ARRAY_SIZE(process_columns)};
    int r = dv_table_write(&gpus, o, (struct dv_table_style){0}, text);

    dv_str_addc(text, '\n');
    if (r == 0)
        r = dv_table_write(&processes, o, (struct dv_table_style){.nothing = "no processes"}, text);
    return r == 0 && ended ? write_ended(o, text) : r;
}

static int print(struct dv_output *o, bool json, bool ended)
{
    struct dv_str text = {0};
    int r = json ? dv_json_write(o, true, &text) : write_tables(o, ended, &text);

    if (r == 0) {
        fputs(dv_str_get(&text), stdout);
        if (json)
            putchar('\n');
    }
    dv_str_done(&text);
    return r < 0 ? dv_simcli_fail(DV_SIMCLI_FAILED, "out of memory") : DV_SIMCLI_OK;
}

static int status_verb(const struct dv_simcli_args *args)
{
    const char *format = args->option[OUTPUT] ? args->option[OUTPUT] : "table";
    char socket[DV_SIMCLI_PATH];
    struct dv_output *o;
    struct dv_err err = {0};
    int fd, r;

    if (strcmp(format, "table") != 0 && strcmp(format, "json") != 0)
        return dv_simcli_fail(DV_SIMCLI_USAGE, "-o %.32s: table or json is wanted here", format);
    if (dv_simcli_socket(args->option[SOCKET], socket, &err) < 0)
        return dv_simcli_fail(DV_SIMCLI_FAILED, "%s", err.msg);
    fd = dv_simcli_connect(socket, &err);
    if (fd < 0)
        return dv_simcli_fail(DV_SIMCLI_UNAVAILABLE, "%s", err.msg);
    o = dv_output_new("SimStatus");
    if (collect(fd, args->option[ENDED], o) < 0)
        r = dv_simcli_fail(DV_SIMCLI_FAILED, "%s: the server does not answer", socket);
    else
        r = print(o, !strcmp(format, "json"), args->option[ENDED]);
    dv_output_free(&o);
    close(fd);
    return r;
}

const struct dv_simcli_verb dv_simcli_verb_status = {
    .name = "status",
    .synopsis = "[OPTION]...",
    .about = "Print what the simulated hardware itself knows: the truth for tests and audits",
    .examples = "  divvy-sim status\n"
                "  divvy-sim status -o json | jq '.gpus[0].memory_high_water_bytes'\n",
    .options = {[SOCKET] = {"--socket", "PATH", "where the node listens ($DIVVY_SIM_SOCKET)"},
                [OUTPUT] = {"-o", "table|json", "form of the output"},
                [ENDED] = {"--ended", NULL, "with the processes that have ended"}},
    .run = status_verb,
};
