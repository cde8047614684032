/* SPDX-License-Identifier: Apache-2.0 */
/* What an API server may write: JSON, quantities, base64. */
#include "base/base64.h"
#include "kube/json.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_base64(const char *text)
{
    char *bytes = NULL, *again = NULL;
    size_t n, m;
    if (dv_base64_decode(text, &bytes, &n) < 0)
        return;
    struct dv_str s = {0};
    dv_base64_add(bytes, n, &s);
    if (dv_base64_decode(dv_str_get(&s), &again, &m) < 0 || m != n || memcmp(bytes, again, n) != 0)
        abort();
    dv_str_done(&s);
    free(bytes);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t v;
    struct json_object *o = dv_kube_json_parse((const char *)data, size);
    const char *words = dv_kube_json_text(o, "metadata", "name", NULL);
    if (!words || dv_kube_json_int(o, "code", NULL) != dv_kube_json_int(o, "code", NULL))
        abort();
    (void)dv_kube_json_item(dv_kube_json_at(o, "items", NULL), 0);
    json_object_put(o);
    char *text = strndup((const char *)data, size);
    if (!text)
        return 0;
    if (dv_kube_json_quantity(text, &v) == 0 && v < 0)
        abort();
    check_base64(text);
    free(text);
    return 0;
}
