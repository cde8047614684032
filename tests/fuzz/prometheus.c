/* SPDX-License-Identifier: Apache-2.0 */
/* Answers to range queries: any bytes are samples, or an error that prints; in one piece or in many
 * it is the same. */
#include "prometheus/matrix.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    uint64_t series, samples, labels;
};

static int on_series(void *arg, const struct dv_prometheus_labels *labels)
{
    struct seen *s = arg;
    s->series++;
    if (labels->n > DV_PROMETHEUS_LABELS_MAX)
        abort();
    for (uint32_t i = 0; i < labels->n; i++)
        s->labels += strlen(labels->at[i].name) + strlen(labels->at[i].value) + 1;
    return 0;
}

static int on_sample(void *arg, int64_t unix_ns, double value, bool missing)
{
    struct seen *s = arg;
    if (!s->series || value - value != 0 || (missing && value != 0))
        abort();
    s->samples++;
    return 0;
}

static int read_all(const uint8_t *data, size_t size, size_t piece, struct seen *seen)
{
    const struct dv_prometheus_sink sink = {seen, on_series, on_sample};
    struct dv_matrix *m = dv_matrix_new(&sink);
    struct dv_err err = {{0}};
    int r = m ? 0 : -ENOMEM;
    for (size_t at = 0; r == 0 && at < size; at += piece)
        r = dv_matrix_feed(m, (const char *)data + at, piece < size - at ? piece : size - at, &err);
    r = r ? r : dv_matrix_end(m, &err);
    if (r < 0 && r != -ENOMEM && !*err.msg)
        abort();
    for (const char *p = err.msg; *p; p++)
        if (*p < ' ' || *p > '~')
            abort();
    dv_matrix_free(m);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen whole = {0}, pieces = {0};
    int r = read_all(data, size, size ? size : 1, &whole);
    if (read_all(data, size, 3, &pieces) != r || memcmp(&whole, &pieces, sizeof whole) != 0)
        abort();
    return 0;
}
