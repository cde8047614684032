/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the daemon's answer: refused, or a tree that prints as JSON which reads back to the
 * same text. */
#include "base/str.h"
#include "http/client.h"
#include "render/json.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dv_cleanup(dv_output_free) struct dv_output *o = NULL;
    dv_cleanup(dv_output_free) struct dv_output *again = NULL;
    dv_cleanup(dv_str_done) struct dv_str first = {0};
    dv_cleanup(dv_str_done) struct dv_str second = {0};
    if (dv_http_client_parse((const char *)data, size, &o, NULL) < 0)
        return 0;
    if (dv_json_write(o, false, &first) < 0 ||
        dv_http_client_parse(first.data, first.len, &again, NULL) < 0 ||
        dv_json_write(again, false, &second) < 0 || strcmp(first.data, second.data) != 0)
        abort();
    return 0;
}
