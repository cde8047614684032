/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/lint/lint_shell.h"

#include "base/str.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOBODY UINT32_MAX
#define PENDING_MAX 16

struct scanner {
    const char *text;
    size_t len, at;
    struct dv_shell *shell;
    unsigned depth;
    struct pending { /* here-documents whose lines are still to come */
        uint32_t command;
        char *end;
        bool strip;
    } pending[PENDING_MAX];
    unsigned n_pending;
    bool in_ticks; /* a '`' ends the list in hand */
    bool failed;
};

/* ---- what is kept --------------------------------------------------------------------------- */

static struct dv_shell_command *begin_command(struct scanner *s, size_t from, uint32_t upstream)
{
    struct dv_shell *shell = s->shell;
    if (shell->n == DV_SHELL_COMMANDS_MAX) {
        shell->more = true;
        return NULL;
    }
    if (shell->n == shell->cap) {
        uint32_t cap = shell->cap ? 2 * shell->cap : 16;
        void *more = realloc(shell->commands, cap * sizeof *shell->commands);
        if (!more) {
            s->failed = true;
            return NULL;
        }
        shell->commands = more;
        shell->cap = cap;
    }
    struct dv_shell_command *c = &shell->commands[shell->n++];
    *c = (struct dv_shell_command){.from = from, .upstream = upstream};
    return c;
}

/* Takes the text. */
static void add_word(struct scanner *s, uint32_t command, char *text, size_t from, size_t exact)
{
    struct dv_shell_command *c = command < s->shell->n ? &s->shell->commands[command] : NULL;
    if (!c || !text || c->n == DV_SHELL_WORDS_MAX) {
        free(text);
        return;
    }
    if (c->n == c->cap) {
        uint32_t cap = c->cap ? 2 * c->cap : 8;
        void *more = realloc(c->words, cap * sizeof *c->words);
        if (!more) {
            s->failed = true;
            free(text);
            return;
        }
        c->words = more;
        c->cap = cap;
    }
    c->words[c->n++] = (struct dv_shell_word){text, from, exact};
}

void dv_shell_done(struct dv_shell *shell)
{
    for (uint32_t i = 0; i < shell->n; i++) {
        struct dv_shell_command *c = &shell->commands[i];
        for (uint32_t k = 0; k < c->n; k++)
            free(c->words[k].text);
        free(c->words);
        free(c->here_string);
        free(c->output);
    }
    free(shell->commands);
    *shell = (struct dv_shell){0};
}

/* ---- words ---------------------------------------------------------------------------------- */

static void parse_list(struct scanner *s, char stop);

static char look(const struct scanner *s, size_t ahead)
{
    return s->at + ahead < s->len ? s->text[s->at + ahead] : 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static bool ends_word(char c)
{
    return is_blank(c) || c == '\n' || strchr(";&|()<>", c);
}

/* "$(...)", "`...`", "${...}", "$((...))": kept as it stands; what is inside is looked into. */
static void scan_substitution(struct scanner *s, struct dv_str *text)
{
    size_t from = s->at;
    bool deep = s->depth + 1 >= DV_SHELL_DEPTH_MAX;
    if (look(s, 0) == '`' && !deep) {
        s->at++;
        parse_list(s, '`');
    } else if (look(s, 1) == '(' && look(s, 2) == '(') {
        const char *end = memmem(s->text + s->at, s->len - s->at, "))", 2);
        s->at = end ? (size_t)(end - s->text) + 2 : s->len;
    } else if (look(s, 1) == '(' && !deep) {
        s->at += 2;
        parse_list(s, ')');
    } else if (look(s, 1) == '{') {
        const char *end = memchr(s->text + s->at, '}', s->len - s->at);
        s->at = end ? (size_t)(end - s->text) + 1 : s->len;
    } else {
        s->at++;
    }
    dv_str_addn(text, s->text + from, s->at - from);
}

static void scan_double(struct scanner *s, struct dv_str *text)
{
    for (s->at++; s->at < s->len && s->text[s->at] != '"';) {
        char c = s->text[s->at];
        if (c == '\\' && s->at + 1 < s->len) {
            char escaped = s->text[s->at + 1];
            if (!strchr("\"\\$`\n", escaped))
                dv_str_addc(text, c);
            if (escaped != '\n')
                dv_str_addc(text, escaped);
            s->at += 2;
        } else if (c == '`' || (c == '$' && strchr("({", look(s, 1)) && look(s, 1))) {
            scan_substitution(s, text);
        } else {
            dv_str_addc(text, c);
            s->at++;
        }
    }
    s->at += s->at < s->len;
}

static void scan_single(struct scanner *s, struct dv_str *text)
{
    const char *from = s->text + s->at + 1, *end = memchr(from, '\'', s->len - s->at - 1);
    size_t n = end ? (size_t)(end - from) : s->len - s->at - 1;
    dv_str_addn(text, from, n);
    s->at = end ? s->at + n + 2 : s->len;
}

/* NULL: out of memory. *ret_exact as in struct dv_shell_word. */
static char *scan_word(struct scanner *s, size_t *ret_exact)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    size_t from = s->at;
    char first = s->text[s->at];
    while (s->at < s->len && !ends_word(s->text[s->at])) {
        char c = s->text[s->at];
        if (c == '`' && s->in_ticks)
            break;
        if (c == '"') {
            scan_double(s, &text);
        } else if (c == '\'') {
            scan_single(s, &text);
        } else if (c == '\\' && s->at + 1 < s->len) {
            if (s->text[s->at + 1] != '\n')
                dv_str_addc(&text, s->text[s->at + 1]);
            s->at += 2;
        } else if (c == '`' || (c == '$' && strchr("({", look(s, 1)) && look(s, 1))) {
            scan_substitution(s, &text);
        } else {
            dv_str_addc(&text, c);
            s->at++;
        }
    }
    size_t start = from + (first == '"' || first == '\'');
    bool exact = text.len && start + text.len <= s->len && text.len + 2 >= s->at - from &&
                 !memcmp(s->text + start, dv_str_get(&text), text.len);
    *ret_exact = exact ? start : SIZE_MAX;
    s->failed = s->failed || text.failed;
    return text.failed ? NULL : text.len ? dv_str_steal(&text) : strdup("");
}

/* ---- redirections --------------------------------------------------------------------------- */

static void skip_blanks(struct scanner *s)
{
    while (s->at < s->len &&
           (is_blank(s->text[s->at]) || (s->text[s->at] == '\\' && look(s, 1) == '\n')))
        s->at += s->text[s->at] == '\\' ? 2 : 1;
}

static void add_pending(struct scanner *s, uint32_t command, char *end, bool strip)
{
    if (s->n_pending == PENDING_MAX || !end) {
        free(end);
        return;
    }
    s->pending[s->n_pending++] = (struct pending){command, end, strip};
}

/* At '<' or '>' (or "&>"). */
static void scan_redirection(struct scanner *s, uint32_t command)
{
    size_t exact, skip = s->text[s->at] == '&';
    char sign = look(s, skip);
    bool document = sign == '<' && look(s, 1) == '<', string = document && look(s, 2) == '<';
    bool strip = document && !string && look(s, 2) == '-';
    s->at += skip + 1;
    if (look(s, 0) == '(' && !document) {
        s->at++;
        if (s->depth + 1 < DV_SHELL_DEPTH_MAX)
            parse_list(s, ')');
        return;
    }
    s->at += string ? 2 : strip ? 2 : document;
    while (!document && s->at < s->len && strchr("<>&|", s->text[s->at]))
        s->at++;
    skip_blanks(s);
    if (s->at >= s->len || ends_word(s->text[s->at]))
        return;
    char *word = scan_word(s, &exact);
    struct dv_shell_command *c = command < s->shell->n ? &s->shell->commands[command] : NULL;
    if (document && !string) {
        add_pending(s, command, word, strip);
    } else if (c && string && !c->here_string) {
        c->here_string = word;
    } else if (c && sign == '>' && !c->output) {
        c->output = word;
    } else {
        free(word);
    }
}

/* Behind a newline: the lines of the here-documents that were announced in it. */
static void read_documents(struct scanner *s)
{
    for (unsigned i = 0; i < s->n_pending; i++) {
        struct pending *p = &s->pending[i];
        size_t from = s->at, end = s->len, length = strlen(p->end);
        while (s->at < s->len) {
            const char *line = s->text + s->at, *stop = memchr(line, '\n', s->len - s->at);
            size_t n = stop ? (size_t)(stop - line) : s->len - s->at;
            size_t tabs = 0;
            while (p->strip && tabs < n && line[tabs] == '\t')
                tabs++;
            bool last = n - tabs == length && !memcmp(line + tabs, p->end, length);
            if (last)
                end = s->at;
            s->at += n + (stop != NULL);
            if (last)
                break;
        }
        if (p->command < s->shell->n && !s->shell->commands[p->command].has_document) {
            struct dv_shell_command *c = &s->shell->commands[p->command];
            c->has_document = true;
            c->document_from = from;
            c->document_len = end - from;
        }
        free(p->end);
    }
    s->n_pending = 0;
}

/* ---- commands ------------------------------------------------------------------------------- */

/* Words before a command that are none. */
static bool is_reserved(const char *word)
{
    static const char *const words[] = {"if",   "then", "elif", "else", "while", "until", "do",
                                        "done", "fi",   "esac", "{",    "}",     "!"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(words); i++)
        if (!strcmp(words[i], word))
            return true;
    return false;
}

/* What begins with these has no command in it before the next separator. */
static bool is_header(const char *word)
{
    static const char *const words[] = {"for", "select", "case", "function"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(words); i++)
        if (!strcmp(words[i], word))
            return true;
    return false;
}

static bool is_assignment(const char *word)
{
    const char *p = word;
    while (isalnum((unsigned char)*p) || *p == '_')
        p++;
    return p > word && !isdigit((unsigned char)*word) && (*p == '=' || (*p == '+' && p[1] == '='));
}

struct line {
    uint32_t command;  /* in hand; NOBODY: none has begun */
    uint32_t upstream; /* of the next one */
    bool header;
};

static void on_word(struct scanner *s, struct line *l)
{
    size_t from = s->at, exact;
    /* "2>file": the number belongs to the redirection. */
    size_t digits = 0;
    while (isdigit((unsigned char)look(s, digits)))
        digits++;
    if (digits && (look(s, digits) == '<' || look(s, digits) == '>')) {
        s->at += digits;
        return;
    }
    char *word = scan_word(s, &exact);
    if (s->at == from) { /* nothing that is known: one byte on */
        s->at++;
        free(word);
        return;
    }
    if (l->command == NOBODY && word) {
        l->header = l->header || is_header(word);
        if (l->header || is_reserved(word) || is_assignment(word)) {
            free(word);
            return;
        }
        uint32_t next = s->shell->n;
        if (begin_command(s, from, l->upstream))
            l->command = next;
    }
    add_word(s, l->command, word, from, exact);
}

static void end_command(struct line *l, bool pipe)
{
    l->upstream = pipe ? l->command : NOBODY;
    l->command = NOBODY;
    l->header = false;
}

/* One sign that is part of no word; false: it ends the list. */
static bool on_sign(struct scanner *s, struct line *l, char stop)
{
    char c = s->text[s->at];
    if (c == '<' || c == '>' || (c == '&' && look(s, 1) == '>')) {
        scan_redirection(s, l->command);
        return true;
    }
    s->at++;
    if (c == '|') {
        bool either = look(s, 0) == '|';
        s->at += either || look(s, 0) == '&';
        end_command(l, !either);
        return true;
    }
    end_command(l, false);
    if (c == '\n')
        read_documents(s);
    return !(stop && c == stop);
}

static void parse_list(struct scanner *s, char stop)
{
    struct line l = {.command = NOBODY, .upstream = NOBODY};
    unsigned open = 0;
    bool was_in_ticks = s->in_ticks;
    s->in_ticks = stop == '`';
    s->depth++;
    while (s->at < s->len) {
        char c = s->text[s->at];
        bool last = stop && c == stop && !(stop == ')' && open);
        if (c == '#' && (!s->at || ends_word(s->text[s->at - 1]))) {
            const char *end = memchr(s->text + s->at, '\n', s->len - s->at);
            s->at = end ? (size_t)(end - s->text) : s->len;
        } else if (is_blank(c) || (c == '\\' && look(s, 1) == '\n')) {
            skip_blanks(s);
        } else if (c == '`' && stop == '`') {
            s->at++;
            break;
        } else if (ends_word(c)) {
            open += c == '(';
            open -= c == ')' && open;
            if (!on_sign(s, &l, last ? stop : 0))
                break;
        } else {
            on_word(s, &l);
        }
    }
    s->depth--;
    s->in_ticks = was_in_ticks;
}

int dv_shell_scan(const char *text, size_t len, struct dv_shell *ret)
{
    struct scanner s = {.text = text, .len = len, .shell = ret};
    *ret = (struct dv_shell){0};
    parse_list(&s, 0);
    read_documents(&s);
    if (s.failed) {
        dv_shell_done(ret);
        return -ENOMEM;
    }
    return 0;
}
