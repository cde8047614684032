/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/unit_holders.h"

#include "kubelet/pod_resources.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS 5000u
#define SETTLE_NS (10 * DV_NS_PER_S)

struct dv_unit_holders {
    struct dv_kubelet_pod_resources *client;
    struct dv_unit_holder *rows; /* their texts are in `texts` */
    size_t n;
    char *texts;
    uint64_t ask_ns, generation;
    uint64_t asked_ns, as_of_ns; /* the question under way, that of the rows */
    uint64_t settled_ns;         /* when a kubelet that was away knows its pods again */
    bool asking, known, told, away;
};

static void forget(struct dv_unit_holders *h)
{
    free(h->rows);
    free(h->texts);
    h->rows = NULL;
    h->texts = NULL;
    h->n = 0;
    h->known = false;
}

/* Appends a text, where there is room to; returns where it is from the buffer's start. */
static const char *keep(char **at, const char *text)
{
    size_t size = strlen(text) + 1;
    char *to = *at;
    memcpy(to, text, size);
    *at += size;
    return to;
}

static size_t size_of(const struct dv_kubelet_held *rows, size_t count, size_t *ret_n)
{
    size_t size = 1;
    *ret_n = 0;
    for (size_t i = 0; i < count; i++) {
        size += strlen(rows[i].pod_namespace) + strlen(rows[i].pod) + strlen(rows[i].container) +
                strlen(rows[i].resource) + 4;
        for (size_t k = 0; k < rows[i].id_count; k++)
            size += strlen(rows[i].ids[k]) + 1;
        *ret_n += rows[i].id_count;
    }
    return size;
}

static void take(struct dv_unit_holders *h, const struct dv_kubelet_held *rows, size_t count)
{
    size_t n, size = size_of(rows, count, &n);
    char *at = h->texts = malloc(size);
    h->rows = calloc(n + 1, sizeof *h->rows);
    if (!h->texts || !h->rows) {
        forget(h);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        struct dv_unit_holder row = {keep(&at, rows[i].pod_namespace), keep(&at, rows[i].pod),
                                     keep(&at, rows[i].container), keep(&at, rows[i].resource),
                                     NULL};
        for (size_t k = 0; k < rows[i].id_count && h->n < DV_UNIT_HOLDERS_MAX; k++) {
            row.id = keep(&at, rows[i].ids[k]);
            h->rows[h->n++] = row;
        }
    }
    h->known = true;
}

/* Whether the kubelet answers. One that starts does before it knows its pods. */
static void see(struct dv_unit_holders *h, bool answers, uint64_t now)
{
    if (answers && h->away)
        h->settled_ns = now + SETTLE_NS;
    h->away = !answers;
}

static void on_list(void *arg, int r, const struct dv_kubelet_held *rows, size_t count,
                    const struct dv_err *err)
{
    struct dv_unit_holders *h = arg;
    char value[DV_LOG_VALUE];
    h->asking = false;
    h->generation++;
    forget(h);
    h->as_of_ns = h->asked_ns;
    see(h, r == 0, dv_clock_now());
    if (r == 0)
        take(h, rows, count);
    else if (!h->told)
        dv_log(DV_LOG_INFO, "kubelet.no_pod_resources", "detail=%s", dv_log_value(err->msg, value));
    h->told = r < 0;
}

void dv_unit_holders_tick(struct dv_unit_holders *h, uint64_t now)
{
    struct dv_err err = {{0}};
    if (h->asking || now < h->ask_ns)
        return;
    h->ask_ns = now + DV_UNIT_HOLDERS_NS;
    h->asked_ns = now;
    int r = dv_kubelet_pod_resources_list(h->client, TIMEOUT_MS, on_list, h, &err);
    h->asking = r == 0;
    if (r < 0) {
        h->generation++;
        see(h, false, now);
        forget(h); /* without a kubelet nobody knows */
    }
}

void dv_unit_holders_refresh(struct dv_unit_holders *h)
{
    h->ask_ns = 0;
}

uint64_t dv_unit_holders_generation(const struct dv_unit_holders *h)
{
    return h->generation;
}

bool dv_unit_holders_known(const struct dv_unit_holders *h)
{
    return h->known;
}

bool dv_unit_holders_as_of(const struct dv_unit_holders *h, uint64_t when)
{
    return h->known && h->as_of_ns >= when;
}

bool dv_unit_holders_settled(const struct dv_unit_holders *h)
{
    return h->known && h->as_of_ns >= h->settled_ns;
}

const struct dv_unit_holder *dv_unit_holders_at(const struct dv_unit_holders *h, size_t i)
{
    return i < h->n ? &h->rows[i] : NULL;
}

uint32_t dv_unit_holders_count(const struct dv_unit_holders *h, const char *resource)
{
    uint32_t n = 0;
    for (size_t i = 0; i < h->n; i++)
        n += !strcmp(h->rows[i].resource, resource);
    return n;
}

/* ---- life ---- */

int dv_unit_holders_new(struct dv_loop *loop, const char *path, struct dv_unit_holders **ret,
                        struct dv_err *err)
{
    struct dv_unit_holders *h = calloc(1, sizeof *h);
    if (!h)
        return dv_err_set(err, -ENOMEM, "out of memory");
    int r = dv_kubelet_pod_resources_new(loop, path, &h->client, err);
    if (r < 0) {
        free(h);
        return r;
    }
    *ret = h;
    return 0;
}

void dv_unit_holders_free(struct dv_unit_holders *h)
{
    if (!h)
        return;
    dv_kubelet_pod_resources_free(h->client);
    forget(h);
    free(h);
}
