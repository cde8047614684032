/* SPDX-License-Identifier: Apache-2.0 */
#include "option.h"

#include "base/str.h"
#include "base/units.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NAMES_MAX 64
#define TEXT_MAX_LEN 4096
#define MILLI_FRACTION 3

struct parser {
    const struct dv_option_group *groups;
    size_t n_groups;
    int argc;
    char **argv;
    int at; /* the word being read */
    struct dv_err *err;
};

/* An option and where its value goes. */
struct found {
    const struct dv_option *option;
    char *value;
};

/* ---- values --------------------------------------------------------------------------------- */

static int parse_text(const char *text, const char **ret, struct dv_err *err)
{
    size_t len = strnlen(text, TEXT_MAX_LEN + 1);
    if (!len)
        return dv_err_set(err, -EINVAL, "the value is empty");
    if (len > TEXT_MAX_LEN)
        return dv_err_set(err, -ERANGE, "the value is longer than %d bytes", TEXT_MAX_LEN);
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return dv_err_set(err, -EINVAL, "the value has a control character (byte 0x%02x)",
                              (unsigned char)*p);
    *ret = text;
    return 0;
}

static int parse_choice(const struct dv_option *o, const char *text, const char **ret,
                        struct dv_err *err)
{
    size_t len = strlen(text);
    for (const char *p = o->choices; *p;) {
        size_t n = strcspn(p, "|");
        if (n == len && !strncmp(p, text, n)) {
            *ret = text;
            return 0;
        }
        p += n + (p[n] == '|');
    }
    return dv_err_set(err, -EINVAL, "'%.40s' is not one of %s", text, o->choices);
}

static int parse_milli(const struct dv_option *o, const char *text, uint64_t *ret,
                       struct dv_err *err)
{
    uint64_t v = 0;
    int fraction = -1; /* digits after the point, once there is one */
    int digits = 0;
    for (const char *p = text; *p; p++) {
        if (*p == '.' && fraction < 0 && digits) {
            fraction = 0;
            continue;
        }
        if (*p < '0' || *p > '9' || ++digits > 15 || (fraction >= 0 && ++fraction > MILLI_FRACTION))
            return dv_err_set(err, -EINVAL,
                              "'%.40s' is not a number with at most %d digits after the point",
                              text, MILLI_FRACTION);
        v = v * 10 + (uint64_t)(*p - '0');
    }
    if (!digits || !fraction)
        return dv_err_set(err, -EINVAL, "'%.40s' is not a number", text);
    for (int i = fraction < 0 ? 0 : fraction; i < MILLI_FRACTION; i++)
        v *= 10;
    if (v < (uint64_t)o->min || v > (uint64_t)o->max)
        return dv_err_set(err, -ERANGE, "'%.40s' is not between %g and %g", text,
                          (double)o->min / 1000, (double)o->max / 1000);
    *ret = v;
    return 0;
}

static int parse_duration(const struct dv_option *o, const char *text, uint64_t *ret,
                          struct dv_err *err)
{
    uint64_t ns = 0;
    int r = dv_units_parse_duration(text, &ns, err);
    if (r < 0)
        return r;
    char low[DV_UNITS_TEXT], high[DV_UNITS_TEXT];
    if (o->max && (ns < (uint64_t)o->min || ns > (uint64_t)o->max))
        return dv_err_set(err, -ERANGE, "'%.40s' is not between %s and %s", text,
                          dv_units_format_duration((uint64_t)o->min, low),
                          dv_units_format_duration((uint64_t)o->max, high));
    *ret = ns;
    return 0;
}

/* The value is copied to its place only when it is right. */
static int parse_value(const struct dv_option *o, const char *text, char *to, struct dv_err *err)
{
    const char *word = NULL;
    uint64_t u64 = 0;
    uint32_t u32 = 0;
    char name[64];
    int r = 0;
    switch (o->type) {
    case DV_OPTION_FLAG:
        *(bool *)to = true;
        return 0;
    case DV_OPTION_TEXT:
        r = parse_text(text, &word, err);
        break;
    case DV_OPTION_CHOICE:
        r = parse_choice(o, text, &word, err);
        break;
    case DV_OPTION_BYTES:
        r = dv_units_parse_bytes(text, &u64, err);
        break;
    case DV_OPTION_COMPUTE:
        r = dv_units_parse_compute(text, &u32, err);
        break;
    case DV_OPTION_DURATION:
        r = parse_duration(o, text, &u64, err);
        break;
    case DV_OPTION_MILLI:
        r = parse_milli(o, text, &u64, err);
        break;
    case DV_OPTION_INTEGER:
        snprintf(name, sizeof name, "--%s", o->name);
        return dv_units_parse_integer(text, name, o->min, o->max, (int64_t *)to, err);
    }
    if (r < 0) {
        dv_err_prefix(err, "--%s: ", o->name);
        return r;
    }
    if (word)
        *(const char **)to = word;
    else if (o->type == DV_OPTION_COMPUTE)
        *(uint32_t *)to = u32;
    else
        *(uint64_t *)to = u64;
    return 0;
}

/* ---- names ---------------------------------------------------------------------------------- */

static struct found find(const struct parser *p, const char *name, size_t len, char letter)
{
    for (size_t g = 0; g < p->n_groups; g++) {
        const struct dv_option_group *group = &p->groups[g];
        for (size_t i = 0; i < group->n; i++) {
            const struct dv_option *o = &group->options[i];
            if (name ? strlen(o->name) == len && !strncmp(o->name, name, len)
                     : o->letter && o->letter == letter)
                return (struct found){o, (char *)group->values + o->offset};
        }
    }
    return (struct found){0};
}

static int unknown(const struct parser *p, const char *name, size_t len)
{
    const char *names[NAMES_MAX];
    size_t n = 0;
    for (size_t g = 0; g < p->n_groups; g++)
        for (size_t i = 0; i < p->groups[g].n && n < NAMES_MAX; i++)
            names[n++] = p->groups[g].options[i].name;
    char word[64] = "";
    if (len < sizeof word) {
        memcpy(word, name, len);
        word[len] = 0;
    }
    const char *near = dv_str_nearest(word, names, n);
    if (near)
        return dv_err_set(p->err, -EINVAL, "unknown option '--%s'; did you mean '--%s'?", word,
                          near);
    return dv_err_set(p->err, -EINVAL, "unknown option '--%.*s'", (int)DV_MIN(len, 60), name);
}

/* ---- words ---------------------------------------------------------------------------------- */

static int take(struct parser *p, struct found f, const char *inline_value)
{
    const char *text = inline_value;
    if (f.option->type == DV_OPTION_FLAG && inline_value)
        return dv_err_set(p->err, -EINVAL, "option '--%s' takes no value", f.option->name);
    if (f.option->type != DV_OPTION_FLAG && !text) {
        if (p->at + 1 >= p->argc)
            return dv_err_set(p->err, -EINVAL, "option '--%s' needs a value (%s)", f.option->name,
                              f.option->arg);
        text = p->argv[++p->at];
    }
    return parse_value(f.option, text, f.value, p->err);
}

static int take_long(struct parser *p, const char *word)
{
    size_t len = strcspn(word, "=");
    struct found f = find(p, word, len, 0);
    if (!f.option)
        return unknown(p, word, len);
    return take(p, f, word[len] ? word + len + 1 : NULL);
}

/* "-w", "-o json", "-ojson", "-wo json": flags may be run together. */
static int take_letters(struct parser *p, const char *letters)
{
    for (; *letters; letters++) {
        struct found f = find(p, NULL, 0, *letters);
        if (!f.option)
            return dv_err_set(p->err, -EINVAL, "unknown option '-%c'", *letters);
        bool flag = f.option->type == DV_OPTION_FLAG;
        int r = take(p, f, !flag && letters[1] ? letters + 1 : NULL);
        if (r < 0 || !flag)
            return r;
    }
    return 0;
}

static int parse_truth(const char *text, bool *ret, struct dv_err *err)
{
    static const char *const yes[] = {"true", "1", "yes"}, *const no[] = {"false", "0", "no"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(yes); i++)
        if (!strcasecmp(text, yes[i]) || !strcasecmp(text, no[i])) {
            *ret = !strcasecmp(text, yes[i]);
            return 0;
        }
    return dv_err_set(err, -EINVAL, "'%.40s' is neither true nor false", text);
}

/* 1: taken from the environment; 0: not there. */
static int take_environment(const struct dv_option *o, char *to, struct dv_err *err)
{
    const char *text = o->env ? getenv(o->env) : NULL;
    if (!text || !*text)
        return 0;
    int r = o->type == DV_OPTION_FLAG ? parse_truth(text, (bool *)to, err)
                                      : parse_value(o, text, to, err);
    if (r < 0)
        dv_err_prefix(err, "$%s: ", o->env);
    return r < 0 ? r : 1;
}

static int set_defaults(const struct dv_option_group *groups, size_t n_groups, struct dv_err *err)
{
    for (size_t g = 0; g < n_groups; g++)
        for (size_t i = 0; i < groups[g].n; i++) {
            const struct dv_option *o = &groups[g].options[i];
            char *to = (char *)groups[g].values + o->offset;
            int r = take_environment(o, to, err);
            if (r == 0 && o->otherwise)
                r = parse_value(o, o->otherwise, to, err);
            if (r < 0)
                return r;
        }
    return 0;
}

int dv_option_parse(const struct dv_option_group *groups, size_t n_groups, bool stop_at_word,
                    int argc, char **argv, int *ret_words, struct dv_err *err)
{
    struct parser p = {groups, n_groups, argc, argv, 0, err};
    int words = 0;
    int r = set_defaults(groups, n_groups, err);
    for (; r == 0 && p.at < argc; p.at++) {
        char *word = argv[p.at];
        bool ends = !strcmp(word, "--");
        if (ends || (stop_at_word && (word[0] != '-' || !word[1]))) {
            for (p.at += ends; p.at < argc; p.at++)
                argv[words++] = argv[p.at];
            break;
        }
        if (word[0] != '-' || !word[1])
            argv[words++] = word;
        else if (word[1] == '-')
            r = take_long(&p, word + 2);
        else
            r = take_letters(&p, word + 1);
    }
    if (r < 0)
        return r;
    *ret_words = words;
    return 0;
}
