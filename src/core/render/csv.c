/* SPDX-License-Identifier: Apache-2.0 */
#include "render/csv.h"

#include <errno.h>
#include <string.h>

struct writer {
    const struct dv_table *view;
    struct dv_str *text, cell;
};

void dv_csv_quote(const char *v, struct dv_str *text)
{
    size_t len = strlen(v);
    bool blank = len && (v[0] == ' ' || v[len - 1] == ' ');
    if (!blank && !strpbrk(v, ",\"\r\n")) {
        dv_str_add(text, v);
        return;
    }
    dv_str_addc(text, '"');
    for (; *v; v++) {
        if (*v == '"')
            dv_str_addc(text, '"');
        dv_str_addc(text, *v);
    }
    dv_str_addc(text, '"');
}

static int add_row(const struct dv_output_node *row, bool outer, void *arg)
{
    struct writer *w = arg;
    for (size_t i = 0; i < w->view->n; i++) {
        dv_str_clear(&w->cell);
        dv_value_raw(dv_table_cell(&w->view->columns[i], row, outer), &w->cell);
        if (w->cell.failed)
            return -ENOMEM;
        if (i)
            dv_str_addc(w->text, ',');
        dv_csv_quote(dv_str_get(&w->cell), w->text);
    }
    dv_str_add(w->text, "\r\n");
    return w->text->failed ? -ENOMEM : 0;
}

static void add_heading(const struct dv_table *view, struct dv_str *text)
{
    for (size_t i = 0; i < view->n; i++) {
        const struct dv_table_column *column = &view->columns[i];
        if (i)
            dv_str_addc(text, ',');
        dv_csv_quote(column->csv ? column->csv : column->path, text);
    }
    dv_str_add(text, "\r\n");
}

int dv_csv_write(const struct dv_table *view, struct dv_output *o, struct dv_str *text)
{
    if (dv_output_failed(o))
        return -ENOMEM;
    struct writer w = {.view = view, .text = text};
    add_heading(view, text);
    int r = dv_table_rows(view, o, add_row, &w);
    dv_str_done(&w.cell);
    return r ? r : text->failed ? -ENOMEM : 0;
}
