/* SPDX-License-Identifier: Apache-2.0 */
/* Node files: any text is a node or an error; a node survives print and parse. */
#include "server/nodespec.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct dv_nodespec spec, again;
    struct dv_str first = {0}, second = {0};
    struct dv_err err = {0};

    if (dv_nodespec_parse("fuzz.yaml", (const char *)data, size, &spec, &err) < 0) {
        if (!err.msg[0])
            abort();
        return 0;
    }
    dv_nodespec_print(&spec, &first);
    if (dv_nodespec_parse("fuzz.yaml", first.data, first.len, &again, &err) < 0)
        abort();
    dv_nodespec_print(&again, &second);
    if (strcmp(first.data, second.data))
        abort();
    dv_str_done(&first);
    dv_str_done(&second);
    return 0;
}
