/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of a tree (render/output.h) as an aligned text table for people, or as CSV (render/csv.h)
 * for scripts: one choice of rows and columns serves both.
 *
 *     static const struct dv_table_column columns[] = {
 *         {"GPU", "^index", .right = true, .csv = "gpu_index"}, {"SLICE", "id"},
 *         {"MEMORY", "memory_bytes", DV_VALUE_BYTES, .right = true},
 *     };
 *     static const struct dv_table view = {"gpus.slices", columns, DV_ARRAY_SIZE(columns)};
 *     r = dv_table_write(&view, o, (struct dv_table_style){.colour = true}, &text);
 *
 * `rows` names an array of objects; "a.b" takes the arrays b of all objects of a (where a is an
 * object, its b); "" is the whole answer as one row. A column's path is a key, "key.key" inside the
 * row, and "^" in front for each step outwards.
 */
#ifndef DV_RENDER_TABLE_H
#define DV_RENDER_TABLE_H

#include "render/value.h"

#define DV_TABLE_COLUMNS_MAX 24

struct dv_table_column {
    const char *title;
    const char *path;
    enum dv_value_as as;
    bool right;         /* numbers */
    bool state;         /* coloured by its word: ok green, degraded yellow, failed red */
    const char *suffix; /* put after a value that is known */
    const char *csv;    /* its name in CSV; NULL: the path */
    bool csv_only;
};

struct dv_table {
    const char *rows;
    const struct dv_table_column *columns;
    size_t n;
    bool keep_empty; /* with "a.b": a row for an object of a whose b is empty */
};

struct dv_table_style {
    bool colour;         /* the caller knows the terminal and NO_COLOR */
    const char *indent;  /* before each line; NULL: nothing */
    const char *nothing; /* said when there are no rows; NULL: the heading alone */
};

/* Appends. 0, -ENOMEM, -E2BIG (more columns than DV_TABLE_COLUMNS_MAX). */
int dv_table_write(const struct dv_table *view, struct dv_output *o, struct dv_table_style style,
                   struct dv_str *text);

/* For other renderers: calls visit for each row; a result other than 0 ends the walk and is
 * returned. The row is an object of the innermost array, or of the outer one (keep_empty); whether
 * it is there after the visit, dv_output_stays() says. -ENOMEM when a row could not be made. */
int dv_table_rows(const struct dv_table *view, struct dv_output *o,
                  int (*visit)(const struct dv_output_node *row, bool outer, void *arg), void *arg);
/* The value of a column in a row, or NULL. */
const struct dv_output_node *dv_table_cell(const struct dv_table_column *column,
                                           const struct dv_output_node *row, bool outer);

#endif
