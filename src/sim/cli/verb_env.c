/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "render/json.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SOCKET, OUTPUT };

/* Quoted for a POSIX shell: nothing inside single quotes means anything but their end. */
static void print_export(const char *name, const char *value)
{
    printf("export %s='", name);
    for (const char *p = value; *p; p++) {
        if (*p == '\'')
            fputs("'\\''", stdout);
        else
            putchar(*p);
    }
    puts("'");
}

static int print_json(const struct dv_simcli_env *env)
{
    struct dv_output *o = dv_output_new("SimEnv");
    struct dv_output_node *vars = dv_output_object(dv_output_root(o), "env");
    struct dv_str text = {0};
    int r;

    for (size_t i = 0; i < DV_ARRAY_SIZE(env->var); i++)
        dv_output_string(vars, env->var[i].name, env->var[i].value);
    r = dv_json_write(o, true, &text);
    if (r == 0)
        puts(dv_str_get(&text));
    dv_str_done(&text);
    dv_output_free(&o);
    return r < 0 ? dv_simcli_fail(DV_SIMCLI_FAILED, "out of memory") : DV_SIMCLI_OK;
}

static int env_verb(const struct dv_simcli_args *args)
{
    const char *format = args->option[OUTPUT] ? args->option[OUTPUT] : "shell";
    char socket[DV_SIMCLI_PATH];
    struct dv_simcli_env env;
    struct dv_err err = {0};
    int fd, r = DV_SIMCLI_OK;

    if (strcmp(format, "shell") != 0 && strcmp(format, "json") != 0)
        return dv_simcli_fail(DV_SIMCLI_USAGE, "-o %.32s: shell or json is wanted here", format);
    if (dv_simcli_socket(args->option[SOCKET], socket, &err) < 0)
        return dv_simcli_fail(DV_SIMCLI_FAILED, "%s", err.msg);
    fd = dv_simcli_connect(socket, &err);
    if (fd < 0)
        return dv_simcli_fail(DV_SIMCLI_UNAVAILABLE, "%s", err.msg);
    close(fd);
    if (dv_simcli_env_fill(socket, &env, &err) < 0)
        return dv_simcli_fail(DV_SIMCLI_FAILED, "%s", err.msg);
    if (!strcmp(format, "json"))
        r = print_json(&env);
    else
        for (size_t i = 0; i < DV_ARRAY_SIZE(env.var); i++)
            print_export(env.var[i].name, env.var[i].value);
    dv_simcli_env_done(&env);
    return r;
}

const struct dv_simcli_verb dv_simcli_verb_env = {
    .name = "env",
    .synopsis = "[OPTION]...",
    .about = "Print the environment in which programs see the simulated GPUs",
    .examples = "  eval \"$(divvy-sim env)\"\n"
                "  divvy-sim env --socket /run/lab.sock -o json\n",
    .options = {[SOCKET] = {"--socket", "PATH", "where the node listens ($DIVVY_SIM_SOCKET)"},
                [OUTPUT] = {"-o", "shell|json", "form of the output"}},
    .run = env_verb,
};
