/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges of time as people ask for them ("FROM\nTO"): whole minutes the right way round, or refused
 * with a message. */
#include "base/when.h"

#include <stdlib.h>
#include <string.h>

#define NOW INT64_C(1795689030)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct dv_zone zone = {
        "Test/Place", 7200, 2, {{INT64_C(1774746000), 3600}, {INT64_C(1792890000), -3600}}};
    struct dv_err err = {{0}};
    int64_t from = 0, to = 0;
    char text[256];
    if (size >= sizeof text)
        return 0;
    memcpy(text, data, size);
    text[size] = 0;
    char *second = strchr(text, '\n');
    if (second)
        *second++ = 0;
    int r = dv_when_range(&zone, NOW, text, second, &from, &to, &err);
    if (r < 0 ? !err.msg[0] : from >= to || from % 60 || to % 60)
        abort();
    return 0;
}
