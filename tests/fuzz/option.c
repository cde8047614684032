/* SPDX-License-Identifier: Apache-2.0 */
/* Any words on the command line: parsed or refused with a message, and never more words than came.
 * The input is the words, separated by newlines. */
#include "option.h"

#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 64

struct values {
    bool flag;
    const char *text, *choice;
    uint64_t bytes, duration, milli;
    uint32_t compute;
    int64_t integer;
};

static const struct dv_option options[] = {
    {"flag", 'f', NULL, "", DV_OPTION_FLAG, offsetof(struct values, flag)},
    {"text", 't', "T", "", DV_OPTION_TEXT, offsetof(struct values, text)},
    {"choice", 'o', "C", "", DV_OPTION_CHOICE, offsetof(struct values, choice),
     .choices = "table|json|csv", .otherwise = "table"},
    {"bytes", 'b', "S", "", DV_OPTION_BYTES, offsetof(struct values, bytes)},
    {"duration", 'd', "D", "", DV_OPTION_DURATION, offsetof(struct values, duration), .min = 1,
     .max = 1000000000},
    {"milli", 'm', "M", "", DV_OPTION_MILLI, offsetof(struct values, milli), .min = 1,
     .max = 1000000},
    {"compute", 'c', "C", "", DV_OPTION_COMPUTE, offsetof(struct values, compute)},
    {"integer", 'i', "N", "", DV_OPTION_INTEGER, offsetof(struct values, integer), .min = -9,
     .max = 9},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    char *argv[WORDS_MAX + 1];
    int argc = 0;
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = 0;
    for (char *word = text; word && argc < WORDS_MAX;) {
        char *next = strchr(word, '\n');
        if (next)
            *next++ = 0;
        argv[argc++] = word;
        word = next;
    }
    for (int stop = 0; stop < 2; stop++) {
        struct values v = {0};
        struct dv_option_group group = {options, DV_ARRAY_SIZE(options), &v};
        struct dv_err err = {{0}};
        int words = 0;
        int r = dv_option_parse(&group, 1, stop, argc, argv, &words, &err);
        if (r == 0 ? words > argc || v.integer > 9 || v.milli > 1000000 : !err.msg[0])
            abort();
    }
    free(text);
    return 0;
}
