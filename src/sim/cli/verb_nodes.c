/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "server/nodespec.h"

#include <stdio.h>
#include <stdlib.h>

static int nodes_verb(const struct dv_simcli_args *args)
{
    const char *name, *about;

    for (size_t i = 0; (name = dv_nodespec_builtin(i, &about)); i++)
        printf("%-10s %s\n", name, about);
    return DV_SIMCLI_OK;
}

static int show_verb(const struct dv_simcli_args *args)
{
    struct dv_nodespec *spec = malloc(sizeof(*spec));
    struct dv_str text = {0};
    struct dv_err err = {0};
    int r = DV_SIMCLI_OK;

    if (!spec)
        return dv_simcli_fail(DV_SIMCLI_FAILED, "out of memory");
    if (dv_nodespec_load(args->word[0], spec, &err) < 0) {
        r = dv_simcli_fail(DV_SIMCLI_USAGE, "%s", err.msg);
    } else {
        dv_nodespec_print(spec, &text);
        fputs(dv_str_get(&text), stdout);
    }
    dv_str_done(&text);
    free(spec);
    return r;
}

const struct dv_simcli_verb dv_simcli_verb_nodes = {
    .name = "nodes",
    .synopsis = "",
    .about = "List the built-in nodes",
    .examples = "  divvy-sim nodes\n",
    .run = nodes_verb,
};

const struct dv_simcli_verb dv_simcli_verb_show = {
    .name = "show",
    .synopsis = "NODE",
    .about = "Print a node as a YAML file: a start for one of your own",
    .examples = "  divvy-sim show dgx-a100 > lab.yaml\n"
                "  divvy-sim show lab.yaml              checks the file\n",
    .words_min = 1,
    .words_max = 1,
    .run = show_verb,
};
