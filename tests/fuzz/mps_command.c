/* SPDX-License-Identifier: Apache-2.0 */
/* A command line of nvidia-cuda-mps-control in both protocols, and the memory limits of a client's
 * environment: what is taken keeps what the header promises. */
#include "mps/v3.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_line(const char *line)
{
    struct dv_mpscommand c;
    struct dv_err err = {0};

    if (dv_mpscommand_parse(line, &c, &err) < 0) {
        if (!err.msg[0] || c.verb != DV_MPSCMD_NOTHING)
            abort();
        return;
    }
    if (c.verb > DV_MPSCMD_QUIT || c.threads > 100000 || c.bytes > UINT64_C(1) << 50 ||
        c.server > INT32_MAX || c.client > INT32_MAX || !memchr(c.device, 0, sizeof(c.device)))
        abort();
}

static void check_v3(const char *line)
{
    struct dv_mpsv3 c;
    struct dv_err err = {0};

    if (dv_mpsv3_parse(line, &c, &err) < 0) {
        if (!err.msg[0] || c.what != DV_MPSV3_NOTHING)
            abort();
        return;
    }
    if (c.what > DV_MPSV3_QUIT || c.threads > 100000 || c.bytes > UINT64_C(1) << 50 ||
        (c.name[0] && !dv_mpsv3_is_name(c.name)) || (c.server[0] && !dv_mpsv3_is_name(c.server)) ||
        !memchr(c.field, 0, sizeof(c.field)) || !memchr(c.devices, 0, sizeof(c.devices)))
        abort();
}

static void check_limits(const char *list)
{
    const char *at = list, *end = list + strlen(list);
    char device[DV_MPSCOMMAND_DEVICE];
    uint64_t bytes = 0;
    const char *before;

    do {
        before = at;
        if (dv_mpscommand_memory_entry(&at, device, &bytes) != 0)
            return;
        if (at <= before || at > end || !bytes || !memchr(device, 0, sizeof(device)))
            abort();
    } while (at < end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);

    if (!text)
        return 0;
    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    check_line(text);
    check_v3(text);
    check_limits(text);
    free(text);
    return 0;
}
