/* SPDX-License-Identifier: Apache-2.0 */
/* What comes from the net before anybody is known: an Accept, a Host, an Authorization header; and
 * an address, and a label's value: any bytes make a line that ends once and has its quotes escaped.
 */
#include "http/tcp.h"
#include "render/openmetrics.h"

#include <stdlib.h>
#include <string.h>

static void check_label(const char *value)
{
    static const struct dv_metric_family family = {"x", DV_METRIC_GAUGE, NULL, "X."};
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_openmetrics w = {.out = &text};
    dv_openmetrics_family(&w, &family);
    dv_openmetrics_sample(&w);
    size_t start = text.len;
    dv_openmetrics_label(&w, "l", value);
    dv_openmetrics_uint(&w, 1);
    const char *line = dv_str_get(&text) + start, *p = line + strlen("{l=\"");
    for (; *p && *p != '"'; p++)
        if (*p == '\\' && !strchr("\\\"n", *++p))
            abort();
    if (strcmp(p, "\"} 1\n") != 0 || strchr(line, '\n') != line + strlen(line) - 1)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dv_http_address a, b;
    struct dv_err err;
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = 0;
    dv_openmetrics_accept(text);
    dv_http_tcp_bearer_is(text, "0123456789abcdef");
    bool own = dv_http_tcp_host_is_own(text);
    if (dv_http_tcp_parse(text, &a, &err) == 0) {
        /* What it prints is what it reads; and what is the loopback here is so as a Host too. */
        if (dv_http_tcp_parse(a.text, &b, &err) < 0 || strcmp(a.text, b.text) != 0 ||
            a.loopback != b.loopback || dv_http_tcp_host_is_own(a.text) != a.loopback)
            abort();
        if (own && !a.loopback)
            abort();
    }
    check_label(text);
    free(text);
    return 0;
}
