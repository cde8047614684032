/* SPDX-License-Identifier: Apache-2.0 */
/* PTX text: names, parameters and block limits of .entry, names and sizes of .global. */
#include "abi_cuda.h"
#include "image.h"

#include <string.h>

/* A word is a run of letters, digits and _ $ % . ; anything else that is not blank, a comment or
 * a string is a token of one character. */
struct token {
    const char *text;
    size_t length; /* 0 = the end */
};

struct reader {
    const char *at, *end;
    struct token token;
};

static bool in_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '$' || c == '%' || c == '.';
}

static const char *find(const char *at, const char *end, const char *what)
{
    size_t n = strlen(what);
    for (; (size_t)(end - at) >= n; at++)
        if (memcmp(at, what, n) == 0)
            return at + n;
    return end;
}

static void skip_blank(struct reader *r)
{
    while (r->at < r->end) {
        char c = *r->at, d = r->at + 1 < r->end ? r->at[1] : '\0';
        if (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\0')
            r->at++;
        else if (c == '/' && d == '/')
            r->at = find(r->at, r->end, "\n");
        else if (c == '/' && d == '*')
            r->at = find(r->at + 2, r->end, "*/");
        else if (c == '"')
            r->at = find(r->at + 1, r->end, "\"");
        else
            return;
    }
}

static bool next(struct reader *r)
{
    skip_blank(r);
    const char *start = r->at;
    while (r->at < r->end && in_word(*r->at))
        r->at++;
    if (r->at == start && r->at < r->end)
        r->at++;
    r->token = (struct token){start, (size_t)(r->at - start)};
    return r->token.length > 0;
}

static bool is(const struct reader *r, const char *word)
{
    return r->token.length == strlen(word) && memcmp(r->token.text, word, r->token.length) == 0;
}

static bool number(const struct token *t, uint64_t *ret)
{
    uint64_t v = 0, base = 10;
    size_t i = 0;
    if (t->length > 2 && t->text[0] == '0' && (t->text[1] | 0x20) == 'x') {
        base = 16;
        i = 2;
    }
    for (; i < t->length; i++) {
        char c = t->text[i] | 0x20;
        uint64_t digit;
        if (t->text[i] >= '0' && t->text[i] <= '9')
            digit = (uint64_t)(t->text[i] - '0');
        else if (base == 16 && c >= 'a' && c <= 'f')
            digit = (uint64_t)(c - 'a') + 10;
        else if ((t->text[i] == 'U' || t->text[i] == 'u') && i > 0 && i + 1 == t->length)
            break;
        else
            return false;
        if (v > DV_CUIMAGE_GLOBAL_MAX)
            return false;
        v = v * base + digit;
    }
    *ret = v;
    return t->length > 0;
}

/* Bytes of a fundamental type, 0 = not one. */
static uint32_t type_bytes(const struct token *t)
{
    static const struct {
        const char *name;
        uint32_t bytes;
    } types[] = {{".b8", 1},      {".u8", 1},  {".s8", 1},    {".b16", 2},    {".u16", 2},
                 {".s16", 2},     {".f16", 2}, {".bf16", 2},  {".b32", 4},    {".u32", 4},
                 {".s32", 4},     {".f32", 4}, {".f16x2", 4}, {".b64", 8},    {".u64", 8},
                 {".s64", 8},     {".f64", 8}, {".b128", 16}, {".texref", 8}, {".samplerref", 8},
                 {".surfref", 8}, {".pred", 1}};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (strlen(types[i].name) == t->length && memcmp(types[i].name, t->text, t->length) == 0)
            return types[i].bytes;
    return 0;
}

/* A declared thing: what stands between a state space and "," ";" ")" or "=". */
struct declared {
    struct token name;
    uint64_t bytes;
    uint32_t alignment;
};

/* Array dimensions behind a name: "[4][N]". "[]" counts as nothing. False: malformed. */
static bool read_dimensions(struct reader *r, uint64_t *bytes)
{
    while (is(r, "[")) {
        uint64_t n = 0;
        if (!next(r))
            return false;
        if (!is(r, "]")) {
            if (!number(&r->token, &n) || !next(r) || !is(r, "]"))
                return false;
        }
        if (n && *bytes > DV_CUIMAGE_GLOBAL_MAX / n)
            return false;
        *bytes *= n;
        next(r);
    }
    return true;
}

/* From the token after the state space; leaves the token behind the declaration. */
static bool read_declared(struct reader *r, struct declared *ret)
{
    uint64_t element = 0, vector = 1, n = 0;
    *ret = (struct declared){.alignment = 0};
    for (; r->token.length && r->token.text[0] == '.'; next(r)) {
        uint32_t bytes = type_bytes(&r->token);
        if (is(r, ".align")) {
            if (!next(r) || !number(&r->token, &n) || n == 0 || n > 4096)
                return false;
            if (!element)
                ret->alignment = (uint32_t)n;
        } else if (is(r, ".v2")) {
            vector = 2;
        } else if (is(r, ".v4")) {
            vector = 4;
        } else if (is(r, ".ptr")) {
            /* says where a pointer points; its own size is that of the type before */
        } else if (bytes && !element) {
            element = bytes;
        }
    }
    if (!element || !r->token.length || !in_word(r->token.text[0]) ||
        r->token.length > DV_CUIMAGE_NAME_MAX)
        return false;
    ret->name = r->token;
    ret->bytes = element * vector;
    if (!ret->alignment)
        ret->alignment = (uint32_t)ret->bytes;
    next(r);
    return read_dimensions(r, &ret->bytes);
}

static bool read_params(struct reader *r, struct dv_cuimage_entry *entry)
{
    entry->params_known = true;
    if (!is(r, "("))
        return true;
    next(r);
    while (!is(r, ")")) {
        struct declared d;
        if (!is(r, ".param") || !next(r) || !read_declared(r, &d) || d.bytes > UINT32_MAX ||
            !dv_cuimage_add_param(entry, (uint32_t)d.bytes, d.alignment))
            return false;
        if (is(r, ","))
            next(r);
        else if (!is(r, ")"))
            return false;
    }
    return next(r);
}

/* ".maxntid 256, 1, 1": the product. */
static bool read_threads(struct reader *r, struct dv_cuimage_entry *entry)
{
    uint64_t product = 1, n;
    do {
        if (!next(r) || !number(&r->token, &n) || n > 1024)
            return false;
        product *= n ? n : 1;
        next(r);
    } while (is(r, ",") && product <= 1024);
    entry->max_threads = (uint32_t)product;
    return product <= 1024;
}

static bool read_entry(struct reader *r, struct dv_cuimage *image)
{
    if (!next(r) || r->token.length > DV_CUIMAGE_NAME_MAX || !in_word(r->token.text[0]))
        return false;
    struct dv_cuimage_entry *e = dv_cuimage_add_entry(image, r->token.text, r->token.length);
    if (!e)
        return false;
    next(r);
    if (!read_params(r, e))
        return false;
    while (r->token.length && !is(r, "{") && !is(r, ";")) {
        if (is(r, ".maxntid") || is(r, ".reqntid")) {
            if (!read_threads(r, e))
                return false;
        } else {
            next(r);
        }
    }
    return r->token.length > 0;
}

/* Over "{ ... }", nested; the present token is the opening brace. */
static bool skip_block(struct reader *r)
{
    size_t depth = 0;
    do {
        depth += is(r, "{");
        depth -= is(r, "}");
        if (depth == 0)
            return true;
    } while (next(r));
    return false;
}

static bool read_global(struct reader *r, struct dv_cuimage *image, bool is_extern)
{
    do {
        struct declared d;
        if (!next(r) || !read_declared(r, &d))
            return false;
        if (!is_extern && !dv_cuimage_add_global(image, d.name.text, d.name.length, d.bytes))
            return false;
        if (is(r, "=")) {
            if (!next(r) || (is(r, "{") && !skip_block(r)))
                return false;
            while (r->token.length && !is(r, ";") && !is(r, ","))
                next(r);
        }
    } while (is(r, ","));
    return is(r, ";");
}

int dv_cuptx_read(const char *text, size_t size, struct dv_cuimage *image)
{
    struct reader r = {.at = text, .end = text + size};
    bool version = false, is_extern = false;
    while (next(&r)) {
        bool good = true;
        if (is(&r, ".version"))
            version = true;
        else if (is(&r, ".entry"))
            good = read_entry(&r, image);
        else if (is(&r, ".global") || is(&r, ".const"))
            good = read_global(&r, image, is_extern);
        if (!good)
            return DV_CUDA_ERROR_INVALID_PTX;
        if (is(&r, "{") && !skip_block(&r))
            return DV_CUDA_ERROR_INVALID_PTX;
        is_extern = is(&r, ".extern");
    }
    return version ? 0 : DV_CUDA_ERROR_INVALID_PTX;
}
