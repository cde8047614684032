/* SPDX-License-Identifier: Apache-2.0 */
#include "run/wish.h"

#include "render/value.h"
#include "sys/clock.h"

#define COMMAND_MAX 200 /* of the command line that others see in ps */

/* What people see of the command: its words, cut at COMMAND_MAX bytes between characters. */
static void describe(char **argv, struct dv_str *text)
{
    for (; *argv && text->len < COMMAND_MAX; argv++) {
        if (text->len)
            dv_str_addc(text, ' ');
        dv_value_clean(*argv, text);
    }
    if (text->failed || text->len <= COMMAND_MAX)
        return;
    size_t len = COMMAND_MAX;
    while (len && ((unsigned char)text->data[len] & 0xc0) == 0x80)
        len--;
    text->len = len;
    text->data[len] = 0;
}

struct dv_output *dv_wish_claim(const struct dv_wish *v, char **argv)
{
    dv_cleanup(dv_str_done) struct dv_str command = {0};
    describe(argv, &command);
    struct dv_output *o = dv_output_new(NULL);
    struct dv_output_node *root = dv_output_root(o);
    const struct {
        const char *key, *value;
    } texts[] = {{"tenant", v->tenant}, {"mode", v->mode}, {"tier", v->tier},
                 {"trust", v->trust},   {"gpu", v->gpu},   {"command", dv_str_get(&command)}};
    for (size_t i = 0; i < DV_ARRAY_SIZE(texts); i++)
        if (texts[i].value)
            dv_output_string(root, texts[i].key, texts[i].value);
    if (v->memory)
        dv_output_bytes(root, "memory_bytes", v->memory);
    if (v->compute)
        dv_output_uint(root, "compute", v->compute);
    if (v->priority)
        dv_output_int(root, "priority", v->priority);
    dv_output_bool(root, "wait", !v->no_wait);
    return o;
}

uint64_t dv_wish_deadline(const struct dv_wish *v)
{
    return v->wait_timeout ? dv_clock_now() + v->wait_timeout : DV_NEVER;
}
