/* SPDX-License-Identifier: Apache-2.0 */
/* nvidia-smi and nvidia-cuda-mps-control. */
#include "policy/lint/lint_command_internal.h"
#include "policy/lint/lint_mig.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SET_MAX 64

struct option {
    const char *name, *other; /* "-i", "--id" */
    bool value;
};

static const struct option smi_options[] = {
    {"-h", "--help", false},
    {"-L", "--list-gpus", false},
    {"-B", "--list-excluded-gpus", false},
    {"--version", NULL, false},
    {"-q", "--query", false},
    {"-a", NULL, false},
    {"-u", "--unit", false},
    {"-i", "--id", true},
    {"-f", "--filename", true},
    {"-x", "--xml-format", false},
    {"--dtd", NULL, false},
    {"-d", "--display", true},
    {"-l", "--loop", true},
    {"-lms", "--loop-ms", true},
    {"--format", NULL, true},
    {"-pm", "--persistence-mode", true},
    {"-e", "--ecc-config", true},
    {"-p", "--reset-ecc-errors", true},
    {"-c", "--compute-mode", true},
    {"--gom", NULL, true},
    {"-r", "--gpu-reset", false},
    {"-vm", "--virt-mode", true},
    {"-lgc", "--lock-gpu-clocks", true},
    {"-m", "--mode", true},
    {"-rgc", "--reset-gpu-clocks", false},
    {"-lmc", "--lock-memory-clocks", true},
    {"-rmc", "--reset-memory-clocks", false},
    {"-lmcd", "--lock-memory-clocks-deferred", true},
    {"-rmcd", "--reset-memory-clocks-deferred", false},
    {"-ac", "--applications-clocks", true},
    {"-rac", "--reset-applications-clocks", false},
    {"-acp", "--applications-clocks-permission", true},
    {"-pl", "--power-limit", true},
    {"-sc", "--scope", true},
    {"-cc", "--cuda-clocks", true},
    {"-am", "--accounting-mode", true},
    {"-caa", "--clear-accounted-apps", false},
    {"--auto-boost-default", NULL, true},
    {"--auto-boost-permission", NULL, true},
    {"-mig", "--multi-instance-gpu", true},
    {"-gtt", "--gpu-target-temp", true},
    {"-t", "--toggle-led", true},
    {"-dm", "--driver-model", true},
    {"-fdm", "--force-driver-model", true},
    {"--debug", NULL, true},
    {"-shn", "--set-hostname", true},
    {"-ghn", "--get-hostname", false},
    {"-ebnr", "--extended-board-name-reset", false},
    {"--help-query-gpu", NULL, false},
};
static const struct option mig_options[] = {
    {"-h", "--help", false},
    {"-i", "--id", true},
    {"-gi", "--gpu-instance-id", true},
    {"-ci", "--compute-instance-id", true},
    {"-lgip", "--list-gpu-instance-profiles", false},
    {"-lgipp", "--list-gpu-instance-possible-placements", false},
    {"-C", "--default-compute-instance", false},
    {"-cgi", "--create-gpu-instance", true},
    {"-dgi", "--destroy-gpu-instance", false},
    {"-lgi", "--list-gpu-instances", false},
    {"-lcip", "--list-compute-instance-profiles", false},
    {"-lcipp", "--list-compute-instance-possible-placements", false},
    {"-cci", "--create-compute-instance", true},
    {"-dci", "--destroy-compute-instance", false},
    {"-lci", "--list-compute-instances", false},
};
/* Commands with options of their own, which are not judged. */
static const char *const smi_commands[] = {"topo",
                                           "drain",
                                           "nvlink",
                                           "clocks",
                                           "encodersessions",
                                           "fbcsessions",
                                           "vgpu",
                                           "dmon",
                                           "pmon",
                                           "daemon",
                                           "replay",
                                           "stats",
                                           "boost-slider",
                                           "power-hint",
                                           "conf-compute",
                                           "compute-policy",
                                           "c2c",
                                           "power-smoothing",
                                           "power-profiles",
                                           "memory-limits",
                                           "prm",
                                           "pci",
                                           "gpm",
                                           "rusd",
                                           "inforom",
                                           "fabric"};

static bool is_option(const struct option *o, const char *text, size_t len)
{
    return (strlen(o->name) == len && !strncmp(o->name, text, len)) ||
           (o->other && strlen(o->other) == len && !strncmp(o->other, text, len));
}

static const struct option *find_option(const struct option *list, size_t n, const char *word)
{
    size_t len = strcspn(word, "=");
    for (size_t i = 0; i < n; i++)
        if (is_option(&list[i], word, len))
            return &list[i];
    return NULL;
}

/* What somebody means by an option that is not there. */
static void judge_unknown(struct dv_lint_run *run, const struct dv_shell_word *w,
                          const struct option *list, size_t n)
{
    static const char *const meant[][3] = {
        {"-cip", ": instances are made by its command mig",
         "nvidia-smi mig -i GPU -cgi PROFILES -C"},
        {"-cgi", ": instances are made by its command mig",
         "nvidia-smi mig -i GPU -cgi PROFILES -C"},
        {"-mps", ": MPS is a daemon of its own, and limits are its commands",
         "nvidia-smi -i GPU -c EXCLUSIVE_PROCESS, then nvidia-cuda-mps-control -d; limits by "
         "`echo \"set_default_device_pinned_mem_limit 0 8G\" | nvidia-cuda-mps-control`"},
        {"--mig", "", "nvidia-smi -i GPU -mig 1"},
        {"--enable-mig", "", "nvidia-smi -i GPU -mig 1"},
    };
    const char *names[128], *near;
    char hint[80];
    size_t k = 0;
    for (size_t i = 0; i < DV_ARRAY_SIZE(meant); i++)
        if (!strcmp(meant[i][0], w->text)) {
            dv_lint_command_add(run, w, DV_LINT_SMI_OPTION, w->text, meant[i][1], meant[i][2],
                                NULL);
            return;
        }
    for (size_t i = 0; i < n && k + 2 < DV_ARRAY_SIZE(names); i++) {
        names[k++] = list[i].name;
        if (list[i].other)
            names[k++] = list[i].other;
    }
    near = strlen(w->text) > 3 ? dv_str_nearest(w->text, names, k) : NULL;
    dv_lint_command_add(run, w, DV_LINT_SMI_OPTION, w->text,
                        dv_lint_command_hint(near, hint, sizeof hint),
                        "nvidia-smi --help lists its options", NULL);
}

/* ---- values --------------------------------------------------------------------------------- */

static bool is_in(const char *word, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(list[i], word))
            return true;
    return false;
}

static void judge_value(struct dv_lint_run *run, const struct dv_shell_word *w, const char *option,
                        const char *value)
{
    static const char *const migs[] = {"0", "1", "ENABLED", "DISABLED"};
    static const char *const modes[] = {
        "0", "1", "2", "3", "DEFAULT", "EXCLUSIVE_THREAD", "PROHIBITED", "EXCLUSIVE_PROCESS"};
    if (!dv_lint_command_is_literal(value))
        return;
    if (!strcmp(option, "-mig") && !is_in(value, migs, DV_ARRAY_SIZE(migs)))
        dv_lint_command_add(run, w, DV_LINT_SMI_VALUE, option, value, "MIG mode is 0 or 1",
                            "write 1 to switch it on, 0 to switch it off");
    if (!strcmp(option, "-c") && !is_in(value, modes, DV_ARRAY_SIZE(modes)))
        dv_lint_command_add(run, w, DV_LINT_SMI_VALUE, option, value,
                            "there is no such compute mode",
                            "write DEFAULT, EXCLUSIVE_PROCESS or PROHIBITED");
}

/* --query-gpu=FIELDS: what looks like a slip of a field that everybody uses. */
static void judge_fields(struct dv_lint_run *run, const struct dv_shell_word *w)
{
    static const char *const fields[] = {"timestamp",
                                         "driver_version",
                                         "count",
                                         "name",
                                         "gpu_name",
                                         "serial",
                                         "uuid",
                                         "gpu_uuid",
                                         "index",
                                         "pci.bus_id",
                                         "memory.total",
                                         "memory.used",
                                         "memory.free",
                                         "memory.reserved",
                                         "utilization.gpu",
                                         "utilization.memory",
                                         "temperature.gpu",
                                         "temperature.memory",
                                         "power.draw",
                                         "power.limit",
                                         "clocks.sm",
                                         "clocks.mem",
                                         "clocks.gr",
                                         "compute_mode",
                                         "mig.mode.current",
                                         "mig.mode.pending",
                                         "persistence_mode",
                                         "pstate",
                                         "fan.speed",
                                         "ecc.mode.current",
                                         "compute_cap",
                                         "pcie.link.gen.current",
                                         "pcie.link.width.current",
                                         "display_mode",
                                         "display_active",
                                         "vbios_version",
                                         "gpu_bus_id",
                                         "power.draw.instant",
                                         "power.draw.average",
                                         "clocks.max.sm",
                                         "clocks.max.mem",
                                         "accounting.mode"};
    const char *value = strchr(w->text, '=');
    char field[64], hint[80];
    if (strncmp(w->text, "--query-gpu=", 12) != 0)
        return;
    for (const char *p = value + 1; *p;) {
        size_t n = strcspn(p, ",");
        snprintf(field, sizeof field, "%.*s", (int)DV_MIN(n, sizeof field - 1), p);
        const char *word = field + strspn(field, " ");
        const char *near =
            is_in(word, fields, DV_ARRAY_SIZE(fields)) || !dv_lint_command_is_literal(word)
                ? NULL
                : dv_str_nearest(word, fields, DV_ARRAY_SIZE(fields));
        /* A longer name with the same beginning is another field. */
        if (near && strncmp(near, word, strlen(near)) != 0)
            dv_lint_command_add(run, w, DV_LINT_SMI_FIELD, "gpu", word,
                                dv_lint_command_hint(near, hint, sizeof hint), NULL);
        p += n + (p[n] == ',');
    }
}

/* ---- nvidia-smi mig ------------------------------------------------------------------------- */

/* "19,3g.40gb:4,MIG 1g.10gb": names apart; 0: something has to be expanded first. */
static size_t split_set(const char *value, char buf[SET_MAX][DV_MIG_NAME],
                        const char *names[SET_MAX])
{
    size_t n = 0;
    if (!dv_lint_command_is_literal(value))
        return 0;
    for (const char *p = value; *p && n < SET_MAX;) {
        size_t len = strcspn(p, ",");
        const char *q = !strncmp(p, "MIG ", 4) ? p + 4 : p;
        size_t name = DV_MIN(strcspn(q, ",:"), (size_t)DV_MIG_NAME - 1);
        snprintf(buf[n], DV_MIG_NAME, "%.*s", (int)name, q);
        if (buf[n][0]) {
            names[n] = buf[n];
            n++;
        }
        p += len + (p[len] == ',');
    }
    return n;
}

static bool is_number(const char *text)
{
    return *text && text[strspn(text, "0123456789")] == 0;
}

static bool judge_profiles(struct dv_lint_run *run, const struct dv_shell_word *w,
                           const char *const *names, size_t n)
{
    const struct dv_gpu_model *model = run->script->gpu;
    char hint[80];
    const char *near = NULL;
    for (size_t i = 0; i < n; i++) {
        bool known = is_number(names[i])
                         ? dv_lint_mig_id((uint32_t)strtoul(names[i], NULL, 10), model)
                         : dv_lint_mig_profile(names[i], model, &near);
        if (known)
            continue;
        dv_lint_command_add(run, w, DV_LINT_NO_PROFILE, "-cgi", names[i],
                            model ? model->name : "any GPU",
                            dv_lint_command_hint(near, hint, sizeof hint));
        return false;
    }
    return true;
}

static void judge_set(struct dv_lint_run *run, const struct dv_shell_word *w, const char *value)
{
    char buf[SET_MAX][DV_MIG_NAME];
    const char *names[SET_MAX];
    const struct dv_gpu_model *model = run->script->gpu;
    dv_cleanup(dv_str_done) struct dv_str why = {0};
    struct dv_lint_mig_answer a;
    size_t n = split_set(value, buf, names);
    if (!n)
        return;
    if (model && !model->mig) {
        dv_lint_command_add(run, w, DV_LINT_NO_MIG_CARD, "nvidia-smi mig -cgi", model->name, NULL,
                            NULL);
        return;
    }
    if (!judge_profiles(run, w, names, n))
        return;
    if (dv_lint_mig_set(names, n, model, &a) < 0) {
        run->failed = true;
        return;
    }
    if (a.result == DV_LINT_MIG_FITS)
        return;
    dv_lint_mig_text(&a, &why);
    run->failed = run->failed || why.failed;
    dv_lint_command_add(run, w, DV_LINT_MIG_SET, value, dv_str_get(&why),
                        is_number(names[0])
                            ? "ids are names, not counts (nvidia-smi mig -lgip lists them; a 1g is "
                              "19); divvy mig plan says what fits"
                            : "ask for what fits (divvy mig plan --gpu MODEL --want LIST)",
                        NULL);
}

struct mig_call {
    bool creates, computes, destroys, with_compute, named, device;
    const struct dv_shell_word *create, *destroy;
};

static void on_mig_option(struct dv_lint_run *run, struct mig_call *call, const struct option *o,
                          const struct dv_shell_word *w, const struct dv_shell_word *value)
{
    const char *text = strchr(w->text, '=') ? strchr(w->text, '=') + 1 : value ? value->text : "";
    if (!strcmp(o->name, "-cgi")) {
        call->creates = true;
        call->create = w;
        judge_set(run, value ? value : w, text);
    }
    call->computes = call->computes || !strcmp(o->name, "-cci");
    call->with_compute = call->with_compute || !strcmp(o->name, "-C");
    call->named = call->named || !strcmp(o->name, "-gi") || !strcmp(o->name, "-ci");
    call->device = call->device || !strcmp(o->name, "-i");
    if (!strcmp(o->name, "-dgi") || !strcmp(o->name, "-dci")) {
        call->destroys = true;
        call->destroy = w;
    }
}

static void judge_mig(struct dv_lint_run *run, const struct dv_lint_words *w)
{
    struct mig_call call = {0};
    for (uint32_t i = 2; i < w->n; i++) {
        const struct dv_shell_word *word = &w->words[i];
        const struct option *o = find_option(mig_options, DV_ARRAY_SIZE(mig_options), word->text);
        bool own = o && o->value && !strchr(word->text, '=');
        if (word->text[0] != '-' || !dv_lint_command_is_literal(word->text))
            continue;
        if (!o) {
            judge_unknown(run, word, mig_options, DV_ARRAY_SIZE(mig_options));
            continue;
        }
        on_mig_option(run, &call, o, word, own && i + 1 < w->n ? &w->words[i + 1] : NULL);
        i += own;
    }
    if (call.computes)
        run->bare = false;
    if (call.creates && !call.with_compute) {
        run->bare = true;
        run->bare_at = dv_lint_command_at(run, call.create);
    }
    if (call.destroys && !call.named)
        dv_lint_command_add(run, call.destroy, DV_LINT_LIVE_DESTROY,
                            call.destroy->text[1] == 'd' ? call.destroy->text : "-dgi",
                            call.device ? "the GPU" : "every GPU", NULL, NULL);
}

/* ---- nvidia-smi ----------------------------------------------------------------------------- */

/* --query-gpus: a slip of a query that there is. What is like none is perhaps a newer one. */
static void judge_query(struct dv_lint_run *run, const struct dv_shell_word *w)
{
    static const char *const queries[] = {
        "--query-gpu",
        "--query-supported-clocks",
        "--query-compute-apps",
        "--query-accounted-apps",
        "--query-retired-pages",
        "--query-remapped-rows",
        "--help-query-gpu",
        "--help-query-supported-clocks",
        "--help-query-compute-apps",
        "--help-query-accounted-apps",
        "--help-query-retired-pages",
        "--help-query-remapped-rows",
    };
    char name[40], hint[80];
    size_t len = strcspn(w->text, "=");
    if (len >= sizeof name)
        return;
    snprintf(name, sizeof name, "%.*s", (int)len, w->text);
    if (!dv_lint_command_is_literal(name) || is_in(name, queries, DV_ARRAY_SIZE(queries)))
        return;
    const char *near = dv_str_nearest(name, queries, DV_ARRAY_SIZE(queries));
    if (near)
        dv_lint_command_add(run, w, DV_LINT_SMI_OPTION, name,
                            dv_lint_command_hint(near, hint, sizeof hint),
                            "nvidia-smi --help lists its options", NULL);
}

void dv_lint_command_smi(struct dv_lint_run *run, const struct dv_lint_words *w)
{
    const struct dv_shell_word *mode = NULL;
    const struct dv_gpu_model *model = run->script->gpu;
    bool device = false;
    dv_lint_in_scope(run->script->report);
    if (w->n > 1 && !strcmp(w->words[1].text, "mig")) {
        judge_mig(run, w);
        return;
    }
    if (w->n > 1 && is_in(w->words[1].text, smi_commands, DV_ARRAY_SIZE(smi_commands)))
        return;
    for (uint32_t i = 1; i < w->n; i++) {
        const struct dv_shell_word *word = &w->words[i];
        const struct option *o = find_option(smi_options, DV_ARRAY_SIZE(smi_options), word->text);
        const char *equals = strchr(word->text, '=');
        bool query =
            !strncmp(word->text, "--query-", 8) || !strncmp(word->text, "--help-query", 12);
        if (!strcmp(word->text, "mig")) { /* what follows are its options */
            dv_lint_command_add(run, word, DV_LINT_SMI_ORDER, NULL, NULL, NULL, NULL);
            return;
        }
        if (word->text[0] != '-' || (!query && !dv_lint_command_is_literal(word->text)))
            continue;
        if (query) {
            judge_query(run, word);
            judge_fields(run, word);
        } else if (!o) {
            judge_unknown(run, word, smi_options, DV_ARRAY_SIZE(smi_options));
        }
        if (!strcmp(word->text, "-cip") && i + 1 < w->n)
            judge_set(run, &w->words[i + 1], w->words[i + 1].text);
        if (!o)
            continue;
        device = device || !strcmp(o->name, "-i");
        mode = !strcmp(o->name, "-mig") ? word : mode;
        bool own = o->value && !equals && i + 1 < w->n;
        if (own || equals)
            judge_value(run, word, o->name, equals ? equals + 1 : w->words[i + 1].text);
        i += own;
    }
    if (mode && model && !model->mig)
        dv_lint_command_add(run, mode, DV_LINT_NO_MIG_CARD, "nvidia-smi -mig", model->name, NULL,
                            NULL);
    else if (mode && !device)
        dv_lint_command_add(run, mode, DV_LINT_EVERY_GPU, "nvidia-smi -mig", NULL, NULL, NULL);
}

/* ---- nvidia-cuda-mps-control ---------------------------------------------------------------- */

/* What each takes: p a PID, % a percentage, d a device, m an amount of memory, y a priority, * any;
 * what stands behind | may be left out. */
static const struct {
    const char *name, *takes, *form;
} mps_commands[] = {
    {"get_server_list", "", "get_server_list"},
    {"get_server_status", "p", "get_server_status PID"},
    {"start_server", "**|**", "start_server -uid UID"},
    {"shutdown_server", "p|*", "shutdown_server PID [-f]"},
    {"get_client_list", "p", "get_client_list PID"},
    {"get_device_client_list", "|p", "get_device_client_list [PID]"},
    {"ps", "|**", "ps [-p PID]"},
    {"terminate_client", "pp", "terminate_client SERVER_PID CLIENT_PID"},
    {"get_default_active_thread_percentage", "", "get_default_active_thread_percentage"},
    {"set_default_active_thread_percentage", "%", "set_default_active_thread_percentage PERCENT"},
    {"get_active_thread_percentage", "p", "get_active_thread_percentage PID"},
    {"set_active_thread_percentage", "p%", "set_active_thread_percentage PID PERCENT"},
    {"get_server_active_thread_percentage", "p", "get_active_thread_percentage PID"},
    {"get_default_device_pinned_mem_limit", "d", "get_default_device_pinned_mem_limit DEVICE"},
    {"set_default_device_pinned_mem_limit", "dm", "set_default_device_pinned_mem_limit DEVICE 8G"},
    {"get_device_pinned_mem_limit", "pd", "get_device_pinned_mem_limit PID DEVICE"},
    {"set_device_pinned_mem_limit", "pdm", "set_device_pinned_mem_limit PID DEVICE 8G"},
    {"get_default_client_priority", "", "get_default_client_priority"},
    {"set_default_client_priority", "y", "set_default_client_priority 0"},
    {"sm_partition", "***|*", "sm_partition add DEVICE CHUNKS"},
    {"lspart", "", "lspart"},
    {"server", "*|**********", "server list"},
    {"client", "*|**********", "client list --all"},
    {"namespace", "*|**********", "namespace list"},
    {"help", "", "help"},
    {"quit", "|**", "quit [-t SECONDS]"},
};

static const char *value_fault(char what, const char *value)
{
    char *end;
    double n = strtod(value, &end);
    if (!dv_lint_command_is_literal(value) || what == '*' || what == 'd')
        return NULL;
    if (what == 'p')
        return is_number(value) ? NULL : "a PID is wanted";
    if (what == '%')
        return end != value && !*end && n > 0 && n <= 100
                   ? NULL
                   : "a percentage above 0 and up to 100 is wanted";
    if (what == 'm')
        return end != value && n > 0 && (!strcmp(end, "G") || !strcmp(end, "M") || !*end)
                   ? NULL
                   : "an amount like 8G or 500M is wanted";
    return !strcmp(value, "0") || !strcmp(value, "1") ? NULL : "0 (normal) or 1 (below) is wanted";
}

static void judge_mps_words(struct dv_lint_run *run, const struct dv_shell_word *at,
                            char *const *words, size_t n)
{
    const char *names[DV_ARRAY_SIZE(mps_commands)], *fault = NULL;
    char hint[96];
    size_t i = 0, at_least;
    for (size_t k = 0; k < DV_ARRAY_SIZE(mps_commands); k++)
        names[k] = mps_commands[k].name;
    if (!n || !dv_lint_command_is_literal(words[0]))
        return;
    while (i < DV_ARRAY_SIZE(names) && strcmp(names[i], words[0]) != 0)
        i++;
    if (i == DV_ARRAY_SIZE(names)) {
        dv_lint_command_add(
            run, at, DV_LINT_MPS_COMMAND, words[0],
            dv_lint_command_hint(dv_str_nearest(words[0], names, DV_ARRAY_SIZE(names)), hint,
                                 sizeof hint),
            NULL, NULL);
        return;
    }
    const char *takes = mps_commands[i].takes;
    at_least = strcspn(takes, "|");
    if (n - 1 < at_least)
        fault = "something is missing";
    size_t k = 1;
    for (const char *p = takes; !fault && k < n && *p; p++)
        if (*p != '|')
            fault = value_fault(*p, words[k++]);
    if (!fault && k < n)
        fault = "there is too much behind it";
    if (fault)
        dv_lint_command_add(run, at, DV_LINT_MPS_VALUE, words[0], fault, mps_commands[i].form,
                            NULL);
}

/* One command a line; "\n" as two letters, as printf takes it, is a line's end too. */
static void judge_mps_text(struct dv_lint_run *run, const struct dv_shell_word *at,
                           const char *text, size_t len)
{
    dv_cleanup(dv_str_done) struct dv_str copy = {0};
    dv_str_addn(&copy, text, len);
    for (size_t i = 0; i + 1 < copy.len; i++)
        if (copy.data[i] == '\\' && copy.data[i + 1] == 'n')
            copy.data[i] = copy.data[i + 1] = '\n';
    if (copy.failed)
        run->failed = true;
    for (char *rest = copy.data, *line; rest && (line = strsep(&rest, "\n"));) {
        char *words[16];
        size_t n = 0;
        for (char *word; line && (word = strsep(&line, " \t\r"));)
            if (*word && n < DV_ARRAY_SIZE(words))
                words[n++] = word;
        judge_mps_words(run, at, words, n);
    }
}

/* What echo or printf says to it. */
static void judge_mps_input(struct dv_lint_run *run, const struct dv_shell_word *at)
{
    const struct dv_shell_command *c = &run->shell->commands[run->index];
    const struct dv_shell_command *up =
        c->upstream < run->shell->n ? &run->shell->commands[c->upstream] : NULL;
    dv_cleanup(dv_str_done) struct dv_str said = {0};
    if (c->here_string)
        judge_mps_text(run, at, c->here_string, strlen(c->here_string));
    if (c->has_document)
        judge_mps_text(run, at, run->text + c->document_from, c->document_len);
    if (!up || !up->n ||
        (strcmp(up->words[0].text, "echo") != 0 && strcmp(up->words[0].text, "printf") != 0))
        return;
    for (uint32_t i = 1; i < up->n; i++)
        if (!(i == 1 && up->words[i].text[0] == '-'))
            dv_str_addf(&said, "%s%s", said.len ? " " : "", up->words[i].text);
    run->failed = run->failed || said.failed;
    judge_mps_text(run, up->n > 1 ? &up->words[1] : at, dv_str_get(&said), said.len);
}

void dv_lint_command_mps(struct dv_lint_run *run, const struct dv_lint_words *w)
{
    static const struct option options[] = {
        {"-d", NULL, false},
        {"-f", NULL, false},
        {"-p", "--protocol", true},
        {"-S", "--static-partitioning", false},
        {"-a", NULL, true},
        {"-m", "--multiuser", false},
        {"-q", NULL, false},
        {"-h", "--help", false},
        {"-multiuser-server", "--multiuser-server", false},
        {"-v", "--version", false},
    };
    const char *names[DV_ARRAY_SIZE(mps_commands)];
    char fix[160];
    dv_lint_in_scope(run->script->report);
    for (uint32_t i = 1; i < w->n; i++) {
        const struct dv_shell_word *word = &w->words[i];
        const struct option *o = find_option(options, DV_ARRAY_SIZE(options), word->text);
        if (word->text[0] == '-' && dv_lint_command_is_literal(word->text) && !o) {
            /* What stands behind it is perhaps half of a command's name. */
            const char *last = w->words[w->n - 1].text, *near = NULL;
            for (size_t k = 0; k < DV_ARRAY_SIZE(names); k++)
                if (strlen(last) > 5 && strstr(mps_commands[k].name, last) && !near)
                    near = mps_commands[k].form;
            snprintf(fix, sizeof fix, "write `echo \"%s\" | nvidia-cuda-mps-control`",
                     near ? near : "get_server_list");
            dv_lint_command_add(run, word, DV_LINT_MPS_OPTION, word->text, fix, NULL, NULL);
            return;
        }
        i += o && o->value && !strchr(word->text, '=');
    }
    judge_mps_input(run, &w->words[0]);
}
