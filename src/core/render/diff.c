/* SPDX-License-Identifier: Apache-2.0 */
#include "render/diff.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define AROUND 3

struct line {
    const char *text;
    size_t len; /* with its newline, where it has one */
};

struct side {
    struct line *lines;
    int n;
    bool *changed; /* of each line: taken out, or put in */
};

static int split(const char *text, size_t len, struct side *ret)
{
    size_t n = 1;
    for (size_t i = 0; i < len; i++)
        n += text[i] == '\n';
    ret->lines = calloc(n, sizeof *ret->lines);
    ret->changed = calloc(n, sizeof *ret->changed);
    if (!ret->lines || !ret->changed)
        return -ENOMEM;
    for (const char *p = text, *end = text + len; p < end;) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        stop = stop ? stop + 1 : end;
        ret->lines[ret->n++] = (struct line){p, (size_t)(stop - p)};
        p = stop;
    }
    return 0;
}

static bool same(const struct line *a, const struct line *b)
{
    return a->len == b->len && !memcmp(a->text, b->text, a->len);
}

/* How far the furthest path of each diagonal k reaches (x), after each number of changes. */
struct trace {
    int *v; /* (max + 1) rows of 2 max + 1 */
    int max, width;
};

static int *at(const struct trace *t, int d, int k)
{
    return &t->v[(size_t)d * (size_t)t->width + (size_t)(k + t->max)];
}

/* Does the path of d changes on diagonal k come from k + 1 (a line put in)? */
static bool from_above(const struct trace *t, int d, int k)
{
    return k == -d || (k != d && *at(t, d - 1, k - 1) < *at(t, d - 1, k + 1));
}

static int start_of(const struct trace *t, int d, int k)
{
    if (!d)
        return 0;
    return from_above(t, d, k) ? *at(t, d - 1, k + 1) : *at(t, d - 1, k - 1) + 1;
}

/* Returns the fewest changes, or -1 where they are more than t->max. */
static int search(const struct side *a, const struct side *b, const struct trace *t)
{
    for (int d = 0; d <= t->max; d++)
        for (int k = -d; k <= d; k += 2) {
            int x = start_of(t, d, k);
            while (x < a->n && x - k >= 0 && x - k < b->n && same(&a->lines[x], &b->lines[x - k]))
                x++;
            *at(t, d, k) = x;
            if (x >= a->n && x - k >= b->n)
                return d;
        }
    return -1;
}

static void walk_back(struct side *a, struct side *b, const struct trace *t, int d)
{
    int k = a->n - b->n;
    for (; d > 0; d--) {
        int x = start_of(t, d, k);
        bool put_in = from_above(t, d, k);
        if (put_in && x - k - 1 >= 0 && x - k - 1 < b->n)
            b->changed[x - k - 1] = true;
        else if (!put_in && x - 1 >= 0 && x - 1 < a->n)
            a->changed[x - 1] = true;
        k += put_in ? 1 : -1;
    }
}

static int mark(struct side *a, struct side *b)
{
    struct trace t = {.max = DV_MIN(a->n + b->n, DV_DIFF_CHANGES_MAX)};
    int d = -1;
    /* Few changes are the rule: rows grow with what is needed. */
    for (int max = DV_MIN(16, t.max); d < 0; max = DV_MIN(4 * max, DV_DIFF_CHANGES_MAX)) {
        t.max = DV_MIN(max, a->n + b->n);
        t.width = 2 * t.max + 1;
        t.v = calloc(((size_t)t.max + 1) * (size_t)t.width, sizeof *t.v);
        if (!t.v)
            return -ENOMEM;
        d = search(a, b, &t);
        if (d >= 0)
            walk_back(a, b, &t, d);
        free(t.v);
        if (d < 0 && (t.max >= DV_DIFF_CHANGES_MAX || t.max == a->n + b->n))
            break;
    }
    for (int i = 0; d < 0 && i < a->n; i++)
        a->changed[i] = true;
    for (int i = 0; d < 0 && i < b->n; i++)
        b->changed[i] = true;
    return 0;
}

static void add_line(struct dv_str *text, char sign, const struct line *line)
{
    dv_str_addc(text, sign);
    dv_str_addn(text, line->text, line->len);
    if (!line->len || line->text[line->len - 1] != '\n')
        dv_str_add(text, "\n\\ No newline at end of file\n");
}

/* From x, y to the end of the changes that are near each other. */
static void end_of_hunk(const struct side *a, const struct side *b, int *x, int *y)
{
    int quiet = 0;
    while (*x < a->n || *y < b->n) {
        if (*x < a->n && a->changed[*x]) {
            ++*x;
            quiet = 0;
        } else if (*y < b->n && b->changed[*y]) {
            ++*y;
            quiet = 0;
        } else if (quiet++ == 2 * AROUND) {
            quiet--;
            break;
        } else {
            ++*x;
            ++*y;
        }
    }
    int back = DV_MAX(quiet - AROUND, 0);
    *x -= back;
    *y -= back;
}

static void add_hunk(const struct side *a, const struct side *b, int x, int y, int x_end, int y_end,
                     struct dv_str *text)
{
    dv_str_addf(text, "@@ -%d,%d +%d,%d @@\n", x_end > x ? x + 1 : x, x_end - x,
                y_end > y ? y + 1 : y, y_end - y);
    while (x < x_end || y < y_end) {
        if (x < x_end && a->changed[x])
            add_line(text, '-', &a->lines[x++]);
        else if (y < y_end && b->changed[y])
            add_line(text, '+', &b->lines[y++]);
        else {
            add_line(text, ' ', &a->lines[x++]);
            y++;
        }
    }
}

static void write_hunks(const struct side *a, const struct side *b, struct dv_str *text)
{
    int x = 0, y = 0;
    while (x < a->n || y < b->n) {
        bool changed = (x < a->n && a->changed[x]) || (y < b->n && b->changed[y]);
        if (!changed) {
            x++;
            y++;
            continue;
        }
        int back = DV_MIN(AROUND, DV_MIN(x, y));
        int x_end = x, y_end = y;
        end_of_hunk(a, b, &x_end, &y_end);
        add_hunk(a, b, x - back, y - back, x_end, y_end, text);
        x = x_end;
        y = y_end;
    }
}

int dv_diff_write(const char *before_name, const char *before, size_t before_len,
                  const char *after_name, const char *after, size_t after_len, struct dv_str *text)
{
    struct side a = {0}, b = {0};
    if (before_len == after_len && !memcmp(before, after, after_len))
        return 0;
    int r = split(before, before_len, &a);
    r = r ? r : split(after, after_len, &b);
    r = r ? r : mark(&a, &b);
    if (!r) {
        dv_str_addf(text, "--- %s\n+++ %s\n", before_name, after_name);
        write_hunks(&a, &b, text);
    }
    free(a.lines);
    free(a.changed);
    free(b.lines);
    free(b.changed);
    return r ? r : text->failed ? -ENOMEM : 0;
}
