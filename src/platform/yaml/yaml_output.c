/* SPDX-License-Identifier: Apache-2.0 */
#include "yaml/yaml_output.h"

#include "base/str.h"

#include <errno.h>
#include <string.h>
#include <yaml.h>

struct reader {
    yaml_parser_t parser;
    struct dv_err *err;
};

static int fail_at(struct reader *rd, const yaml_mark_t *at, const char *what)
{
    return dv_err_set(rd->err, -EINVAL, "line %zu, column %zu: %s", at->line + 1, at->column + 1,
                      what);
}

static int next(struct reader *rd, yaml_event_t *ret)
{
    if (yaml_parser_parse(&rd->parser, ret))
        return 0;
    if (rd->parser.error == YAML_MEMORY_ERROR)
        return dv_err_set(rd->err, -ENOMEM, "out of memory");
    return fail_at(rd, &rd->parser.problem_mark,
                   rd->parser.problem ? rd->parser.problem : "not YAML");
}

/* A number as JSON writes it: -?int frac? exp? */
static bool is_number(const char *p)
{
    p += *p == '-';
    size_t digits = strspn(p, "0123456789");
    if (!digits || (digits > 1 && *p == '0'))
        return false;
    p += digits;
    if (*p == '.') {
        digits = strspn(p + 1, "0123456789");
        if (!digits)
            return false;
        p += 1 + digits;
    }
    if (*p == 'e' || *p == 'E') {
        p += 1 + (p[1] == '+' || p[1] == '-');
        digits = strspn(p, "0123456789");
        if (!digits)
            return false;
        p += digits;
    }
    return !*p;
}

static int add_scalar(struct reader *rd, const yaml_event_t *event, struct dv_output_node *parent,
                      const char *key)
{
    const char *text = (const char *)event->data.scalar.value;
    bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (strlen(text) != event->data.scalar.length)
        return fail_at(rd, &event->start_mark, "a NUL byte");
    if (plain && (!*text || !strcmp(text, "null") || !strcmp(text, "~")))
        dv_output_null(parent, key);
    else if (plain && (!strcmp(text, "true") || !strcmp(text, "false")))
        dv_output_bool(parent, key, *text == 't');
    else if (plain && is_number(text))
        dv_output_number(parent, key, text);
    else
        dv_output_string(parent, key, text);
    return 0;
}

static int add_children(struct reader *rd, struct dv_output_node *to, yaml_event_type_t end);

static int add_value(struct reader *rd, const yaml_event_t *event, struct dv_output_node *parent,
                     const char *key)
{
    struct dv_output_node *to;
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        if (event->data.scalar.anchor)
            break;
        return add_scalar(rd, event, parent, key);
    case YAML_MAPPING_START_EVENT:
        if (event->data.mapping_start.anchor)
            break;
        to = dv_output_object(parent, key);
        return to ? add_children(rd, to, YAML_MAPPING_END_EVENT)
                  : dv_err_set(rd->err, -E2BIG, "it is nested too deeply");
    case YAML_SEQUENCE_START_EVENT:
        if (event->data.sequence_start.anchor)
            break;
        to = dv_output_array(parent, key);
        return to ? add_children(rd, to, YAML_SEQUENCE_END_EVENT)
                  : dv_err_set(rd->err, -E2BIG, "it is nested too deeply");
    default:
        break;
    }
    return fail_at(rd, &event->start_mark, "anchors and aliases are not read");
}

/* The value of a key, or an element. */
static int add_next(struct reader *rd, struct dv_output_node *to, const char *key)
{
    yaml_event_t event;
    int r = next(rd, &event);
    if (r < 0)
        return r;
    r = add_value(rd, &event, to, key);
    yaml_event_delete(&event);
    return r;
}

/* Recursion ends with the depth that a tree takes (DV_OUTPUT_DEPTH_MAX). */
static int add_children(struct reader *rd, struct dv_output_node *to, yaml_event_type_t end)
{
    for (;;) {
        yaml_event_t event;
        int r = next(rd, &event);
        if (r < 0)
            return r;
        bool done = event.type == end;
        if (!done && end == YAML_SEQUENCE_END_EVENT)
            r = add_value(rd, &event, to, NULL);
        else if (!done && event.type != YAML_SCALAR_EVENT)
            r = fail_at(rd, &event.start_mark, "a key that is not a word");
        else if (!done)
            r = add_next(rd, to, (const char *)event.data.scalar.value);
        yaml_event_delete(&event);
        if (r < 0 || done)
            return r;
    }
}

/* Stream and document begin before the mapping. */
static int read_document(struct reader *rd, struct dv_output_node *root)
{
    for (int i = 0; i < 3; i++) {
        yaml_event_t event;
        int r = next(rd, &event);
        if (r < 0)
            return r;
        bool wrong = i == 2 && event.type != YAML_MAPPING_START_EVENT;
        if (wrong || event.type == YAML_STREAM_END_EVENT)
            r = fail_at(rd, &event.start_mark, "not a mapping");
        yaml_event_delete(&event);
        if (r < 0)
            return r;
    }
    return add_children(rd, root, YAML_MAPPING_END_EVENT);
}

int dv_yaml_output_read(const char *text, size_t len, struct dv_output **ret, struct dv_err *err)
{
    struct reader rd = {.err = err};
    if (len > DV_YAML_OUTPUT_MAX)
        return dv_err_set(err, -E2BIG, "longer than %u MiB", DV_YAML_OUTPUT_MAX >> 20);
    struct dv_output *o = dv_output_new(NULL);
    if (!o || !yaml_parser_initialize(&rd.parser)) {
        dv_output_free(&o);
        return dv_err_set(err, -ENOMEM, "out of memory");
    }
    yaml_parser_set_input_string(&rd.parser, (const unsigned char *)text, len);
    int r = read_document(&rd, dv_output_root(o));
    yaml_parser_delete(&rd.parser);
    if (r == 0 && dv_output_failed(o))
        r = dv_err_set(err, -ENOMEM, "out of memory");
    if (r < 0)
        dv_output_free(&o);
    else
        *ret = o;
    return r;
}
