/* SPDX-License-Identifier: Apache-2.0 */
#include "ask.h"
#include "verbs.h"

#include <stdio.h>
#include <string.h>

#define GPUS_MAX 16u /* the daemon knows no links of more */
#define NAME 16

/* The answer lists links; a matrix has a column for each GPU. */
struct matrix {
    char titles[GPUS_MAX][NAME], paths[GPUS_MAX][NAME];
    struct dv_table_column columns[GPUS_MAX + 3];
    struct dv_table view;
};

static void plan(struct matrix *m, const struct dv_output_node *gpus)
{
    size_t n = 0;
    m->columns[n++] = (struct dv_table_column){"", "gpu", .csv = "gpu"};
    for (unsigned i = 0; gpus->children <= GPUS_MAX && i < gpus->children; i++) {
        uint64_t index = dv_output_count(dv_output_get(dv_output_at(gpus, i), "index"), 0);
        snprintf(m->titles[i], NAME, "GPU%u", (unsigned)index);
        snprintf(m->paths[i], NAME, "gpu%u", (unsigned)index);
        m->columns[n++] = (struct dv_table_column){m->titles[i], m->paths[i]};
    }
    m->columns[n++] = (struct dv_table_column){"CPU AFFINITY", "cpus"};
    m->columns[n++] = (struct dv_table_column){"NUMA AFFINITY", "numa"};
    m->view = (struct dv_table){"gpus", m->columns, n};
}

static void copy(const struct dv_output_node *from, const char *key, struct dv_output_node *to,
                 const char *as)
{
    const struct dv_output_node *value = dv_output_get(from, key);
    if (value && value->type == DV_OUTPUT_STRING)
        dv_output_string(to, as, value->text);
    else if (dv_output_count(value, UINT64_MAX) != UINT64_MAX)
        dv_output_uint(to, as, dv_output_count(value, 0));
    else
        dv_output_null(to, as);
}

static void add_row(const struct dv_output_node *gpu, struct dv_output_node *list)
{
    struct dv_output_node *row = dv_output_object(list, NULL);
    const struct dv_output_node *links = dv_output_get(gpu, "links");
    char name[NAME];
    snprintf(name, sizeof name, "GPU%u", (unsigned)dv_output_count(dv_output_get(gpu, "index"), 0));
    dv_output_string(row, "gpu", name);
    name[0] = 'g', name[1] = 'p', name[2] = 'u';
    dv_output_string(row, name, "X");
    for (unsigned i = 0; links && i < links->children; i++) {
        const struct dv_output_node *l = dv_output_at(links, i);
        snprintf(name, sizeof name, "gpu%u", (unsigned)dv_output_count(dv_output_get(l, "gpu"), 0));
        copy(l, "link", row, name);
    }
    copy(gpu, "cpus", row, "cpus");
    copy(gpu, "numa", row, "numa");
}

static int run(const struct dv_ui *ui)
{
    dv_cleanup(dv_output_free) struct dv_output *o = NULL, *rows = NULL;
    int exit = dv_ask(ui, "GET", "/v1/topology", NULL, &o);
    if (exit)
        return exit;
    if (dv_ui_is(ui, "json"))
        return dv_ui_answer(ui, o, NULL, NULL, DV_UI_OK);
    const struct dv_output_node *gpus = dv_output_get(dv_output_root(o), "gpus");
    if (!gpus || gpus->type != DV_OUTPUT_ARRAY)
        return dv_ui_fail(ui, DV_UI_FAILURE, "the daemon's answer has no gpus");
    struct matrix m = {0};
    rows = dv_output_new("Topology");
    struct dv_output_node *list = dv_output_array(dv_output_root(rows), "gpus");
    plan(&m, gpus);
    for (unsigned i = 0; i < gpus->children; i++)
        add_row(dv_output_at(gpus, i), list);
    return dv_ui_answer(ui, rows, &m.view, "no GPUs", DV_UI_OK);
}

static const struct dv_ui_example examples[] = {
    {"which GPUs are near to each other", "divvy topo"},
    {"the pairs that are joined by NVLink",
     "divvy topo -o json | jq -c '.gpus[] | .index as $a | .links[] | select(.nvlinks > 0) | [$a, "
     ".gpu]'"},
};

const struct dv_ui_verb dv_verb_topo = {
    .name = "topo",
    .summary = "how the GPUs of this node are joined",
    .details = "In the words of nvidia-smi topo -m, from near to far: NV# over # NVLinks, PIX "
               "through one PCIe switch, PXB through several, PHB through a host bridge, NODE "
               "within a NUMA node, SYS across the link between NUMA nodes. A GPU in MIG mode has "
               "no NVLinks. On Kubernetes a pod with several whole GPUs gets the nearest that are "
               "free.",
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .prints = true,
    .asks_daemon = true,
    .run = run,
};
