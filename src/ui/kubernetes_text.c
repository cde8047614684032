/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes_text.h"

#include <time.h>

static const struct dv_table_column columns[] = {
    {"RESOURCE", "resource"},
    {"UNITS", "units", .right = true},
    {"HEALTHY", "healthy", .right = true},
    {"ALLOCATED", "allocated", .right = true},
    {"KUBELET", "state"},
    {"PROBLEM", "problem"},
    {"REFUSED", "refusals", .right = true, .csv_only = true},
    {"", "allocations", .csv_only = true},
    {"", "registered_unix", .csv_only = true},
};
const struct dv_table dv_kubernetes_text_view = {"resources", columns, DV_ARRAY_SIZE(columns)};

int dv_kubernetes_text_resources(struct dv_output *o, const char *rows, bool colour,
                                 struct dv_str *text)
{
    const struct dv_table view = {rows, columns, DV_ARRAY_SIZE(columns)};
    const struct dv_table_style style = {.colour = colour, .nothing = "nothing is offered"};
    return dv_table_write(&view, o, style, text);
}

static const char *text_of(const struct dv_output_node *object, const char *key)
{
    return dv_output_text(dv_output_get(object, key), "");
}

static void add_time(const struct dv_output_node *object, const char *key, struct dv_str *text)
{
    char buf[40];
    struct tm tm;
    time_t t = (time_t)dv_output_count(dv_output_get(object, key), 0);
    if (!t || !localtime_r(&t, &tm) || !strftime(buf, sizeof buf, "%F %T", &tm))
        return;
    dv_str_addf(text, " since %s", buf);
}

static void add_problem(const struct dv_output_node *object, const char *before,
                        struct dv_str *text)
{
    const char *problem = text_of(object, "problem");
    if (!*problem)
        return;
    dv_str_add(text, before);
    dv_value_clean(problem, text);
}

static void add_config(const struct dv_output_node *node, struct dv_str *text)
{
    const struct dv_output_node *config = dv_output_get(node, "config");
    const char *key = text_of(config, "key"), *file = text_of(config, "file");
    dv_str_add(text, "configuration ");
    dv_value_clean(*key ? key : *file ? file : "none: the defaults", text);
    if (*text_of(config, "label")) {
        dv_str_add(text, ", by label ");
        dv_value_clean(text_of(config, "label"), text);
    }
    add_problem(config, "\n  ", text);
    dv_str_addc(text, '\n');
}

static void add_mig(const struct dv_output_node *node, struct dv_str *text)
{
    const struct dv_output_node *mig = dv_output_get(node, "mig");
    if (!*text_of(mig, "config"))
        return;
    dv_str_add(text, "MIG configuration ");
    dv_value_clean(text_of(mig, "config"), text);
    dv_str_add(text, ", ");
    dv_value_clean(dv_output_text(dv_output_get(mig, "state"), "not begun"), text);
    add_problem(mig, "\n  ", text);
    dv_str_addc(text, '\n');
}

void dv_kubernetes_text(const struct dv_output_node *node, struct dv_str *text)
{
    const struct dv_output_node *server = dv_output_get(node, "api_server");
    const struct dv_output_node *labels = dv_output_get(node, "labels");
    const struct dv_output_node *cdi = dv_output_get(node, "cdi");
    dv_str_add(text, "node ");
    dv_value_clean(text_of(node, "node"), text);
    dv_str_add(text, ", API server ");
    dv_value_clean(text_of(server, "state"), text);
    add_time(server, "since_unix", text);
    add_problem(server, ": ", text);
    dv_str_addc(text, '\n');
    add_config(node, text);
    add_mig(node, text);
    if (*text_of(labels, "problem"))
        add_problem(labels, "labels: ", text);
    else {
        dv_str_add(text, "labels by ");
        dv_value_clean(text_of(labels, "by"), text);
    }
    dv_str_addc(text, '\n');
    if (*text_of(cdi, "problem")) {
        add_problem(cdi, "CDI: ", text);
        dv_str_addc(text, '\n');
    }
}
