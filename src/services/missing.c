/* SPDX-License-Identifier: Apache-2.0 */
#include "missing.h"

#include "base/number.h"
#include "strangers.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY "gpus-missing"
#define FIELDS 7u /* of a line of the document */

struct dv_missing {
    struct dv_missing_gpu gone[DV_FACTS_GPUS_MAX];
    uint32_t n;
    struct dv_gpu last[DV_FACTS_GPUS_MAX]; /* those of the last look; uuid "": none */
    bool seen;                             /* `last` is of a look, not of the store */
    struct dv_str written;
};

/* ---- who they are ---- */

const struct dv_missing_gpu *dv_missing_at(const struct dv_node *node, size_t i)
{
    const struct dv_missing *m = node->missing;
    for (uint32_t k = 0; m && k < m->n; k++)
        if (m->gone[k].looks >= DV_MISSING_LOOKS && !i--)
            return &m->gone[k];
    return NULL;
}

static struct dv_missing_gpu *find(const struct dv_node *node, const char *uuid)
{
    struct dv_missing *m = node->missing;
    for (uint32_t i = 0; m && i < m->n; i++)
        if (!strcmp(m->gone[i].gpu.uuid, uuid))
            return &m->gone[i];
    return NULL;
}

bool dv_missing_has(const struct dv_node *node, const char *uuid)
{
    return find(node, uuid) != NULL;
}

bool dv_missing_is_open(const struct dv_node *node)
{
    const struct dv_missing *m = node->missing;
    for (uint32_t i = 0; m && i < m->n; i++)
        if (m->gone[i].looks < DV_MISSING_LOOKS)
            return true;
    return false;
}

static void drop(struct dv_missing *m, struct dv_missing_gpu *g, const char *why)
{
    size_t at = (size_t)(g - m->gone);
    dv_log(DV_LOG_INFO, "gpu.counted", "uuid=%s was=%u why=%s", g->gpu.uuid, g->gpu.index, why);
    memmove(g, g + 1, (m->n - at - 1) * sizeof *g);
    m->n--;
}

/* ---- the store ---- */

static bool read_number(const char *text, int64_t max, int64_t *ret)
{
    return dv_number_int64(text, strlen(text), ret) == 0 && *ret >= 0 && *ret <= max;
}

static bool read_health(const char *text, struct dv_missing_gpu *ret)
{
    static const enum dv_gpu_health all[] = {DV_GPU_HEALTH_OK, DV_GPU_HEALTH_DEGRADED,
                                             DV_GPU_HEALTH_FAILED, DV_GPU_HEALTH_UNKNOWN};
    ret->seen = *text != '-';
    for (size_t i = 0; ret->seen && i < DV_ARRAY_SIZE(all); i++) {
        ret->gpu.health = all[i];
        if (!strcmp(text, dv_gpu_health_name(all[i])))
            return true;
    }
    return !ret->seen;
}

/* uuid, address, index, since, health, model, detail; between them tabs. */
static bool read_line(char *line, struct dv_missing_gpu *ret)
{
    char *field[FIELDS] = {line};
    int64_t index;
    for (uint32_t i = 1; i < FIELDS; i++) {
        char *tab = strchr(field[i - 1], '\t');
        if (!tab)
            return false;
        *tab = 0;
        field[i] = tab + 1;
    }
    *ret = (struct dv_missing_gpu){.looks = DV_MISSING_LOOKS};
    struct dv_gpu *g = &ret->gpu;
    if (strncmp(field[0], "GPU-", 4) != 0 ||
        !read_number(field[2], DV_FACTS_GPUS_MAX - 1, &index) ||
        !read_number(field[3], INT64_MAX, &ret->since_unix) || !read_health(field[4], ret))
        return false;
    g->index = (uint32_t)index;
    return dv_str_copy(g->uuid, sizeof g->uuid, field[0]) >= 0 &&
           dv_str_copy(g->pci_bus_id, sizeof g->pci_bus_id, field[1]) >= 0 &&
           dv_str_copy(g->model, sizeof g->model, field[5]) >= 0 &&
           dv_str_copy(g->health_detail, sizeof g->health_detail, field[6]) >= 0;
}

static void on_document(void *arg, const struct dv_store_document *d)
{
    struct dv_node *node = arg;
    struct dv_missing *m = node->missing;
    if (strcmp(d->key, KEY) != 0 || !dv_strangers_is_ours(node, d))
        return;
    dv_str_addn(&m->written, d->text, d->len);
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    dv_str_addn(&text, d->text, d->len);
    for (char *line = text.data, *end; line && (end = strchr(line, '\n')); line = end + 1) {
        struct dv_missing_gpu g;
        *end = 0;
        if (m->n < DV_FACTS_GPUS_MAX && read_line(line, &g) && !find(node, g.gpu.uuid))
            m->gone[m->n++] = g;
    }
}

static void add_field(const char *text, struct dv_str *to)
{
    for (; *text; text++) /* none has a tab but by mistake */
        dv_str_addc(to, *text == '\t' || *text == '\n' ? ' ' : *text);
}

static void save(struct dv_node *node)
{
    struct dv_missing *m = node->missing;
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_err err = {0};
    for (uint32_t i = 0; i < m->n; i++) {
        const struct dv_missing_gpu *g = &m->gone[i];
        dv_str_addf(&text, "%s\t%s\t%u\t%" PRId64 "\t%s\t", g->gpu.uuid, g->gpu.pci_bus_id,
                    g->gpu.index, g->since_unix, g->seen ? dv_gpu_health_name(g->gpu.health) : "-");
        add_field(g->gpu.model, &text);
        dv_str_addc(&text, '\t');
        add_field(g->gpu.health_detail, &text);
        dv_str_addc(&text, '\n');
    }
    if (!node->store || text.failed || !strcmp(dv_str_get(&text), dv_str_get(&m->written)))
        return;
    struct dv_store_document d = {.key = KEY, .text = dv_str_get(&text), .len = text.len};
    snprintf(d.name, sizeof d.name, "%s", dv_strangers_driver(node));
    if (dv_store_put_document(node->store, &d, &err) < 0)
        return; /* tried again with the next look; what is wrong the slices' rows say */
    dv_str_clear(&m->written);
    dv_str_add(&m->written, dv_str_get(&text));
}

void dv_missing_load(struct dv_node *node)
{
    struct dv_err err = {0};
    if (node->missing || !(node->missing = calloc(1, sizeof *node->missing)))
        return; /* without memory: with the next look */
    if (node->store)
        dv_store_load_documents(node->store, on_document, node, &err);
    struct dv_gpu was;
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX && dv_strangers_before(node, i, &was); i++)
        node->missing->last[i] = was;
}

/* ---- a look ---- */

void dv_missing_note(struct dv_node *node, const struct dv_gpu *gpu)
{
    struct dv_missing *m = node->missing;
    for (uint32_t i = 0; m && gpu->uuid[0] && i < DV_FACTS_GPUS_MAX; i++) {
        if (strcmp(m->last[i].uuid, gpu->uuid) != 0)
            continue;
        m->last[i].health = gpu->health;
        memcpy(m->last[i].health_detail, gpu->health_detail, sizeof gpu->health_detail);
    }
}

/* Whose UUID and address the driver says at this index; false: nobody is there. */
static bool is_at(const struct dv_node *node, uint32_t index, struct dv_gpu *ret)
{
    const struct dv_facts_gpu *f = node->gpus[index].facts;
    const struct dv_gpu *gpu = dv_strangers_gpu(node, index);
    if (index >= node->driver.gpus || !gpu)
        return false;
    *ret = *gpu;
    if (gpu != node->gpus[index].stranger && node->gpus[index].present && f && f->uuid[0]) {
        /* The snapshot may lag behind: what somebody holds stays there. */
        memcpy(ret->uuid, f->uuid, sizeof ret->uuid);
        memcpy(ret->pci_bus_id, f->pci, sizeof ret->pci_bus_id);
    }
    return true;
}

/* Who is there; false: there is one of whom it is not known which it is. */
static bool list(const struct dv_node *node, struct dv_gpu ret[DV_FACTS_GPUS_MAX])
{
    bool known = true;
    memset(ret, 0, DV_FACTS_GPUS_MAX * sizeof *ret);
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++)
        known &= !is_at(node, i, &ret[i]) || ret[i].uuid[0];
    return known;
}

static bool is_there(const struct dv_gpu *now, const char *uuid)
{
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++)
        if (!strcmp(now[i].uuid, uuid))
            return true;
    return false;
}

/* A card that was not there before has its address, "00000000:3B:00.0". One that was has moved:
 * the firmware may number buses anew where a card does not come up, and replaces nobody. */
static bool is_replaced(const struct dv_node *node, const struct dv_gpu *now,
                        const struct dv_gpu *was)
{
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++)
        if (was->pci_bus_id[0] && now[i].uuid[0] && !strcmp(now[i].pci_bus_id, was->pci_bus_id))
            return !is_there(node->missing->last, now[i].uuid) &&
                   !dv_missing_has(node, now[i].uuid);
    return false;
}

static void return_some(struct dv_node *node, const struct dv_gpu *now)
{
    struct dv_missing *m = node->missing;
    for (uint32_t i = m->n; i-- > 0;) /* while it is known who of `now` was missing */
        if (!is_there(now, m->gone[i].gpu.uuid) && is_replaced(node, now, &m->gone[i].gpu))
            drop(m, &m->gone[i], "replaced");
    for (uint32_t i = m->n; i-- > 0;)
        if (is_there(now, m->gone[i].gpu.uuid))
            drop(m, &m->gone[i], "back");
}

static void miss(struct dv_node *node, const struct dv_gpu *now)
{
    struct dv_missing *m = node->missing;
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++) {
        const struct dv_gpu *was = &m->last[i];
        if (!was->uuid[0] || is_there(now, was->uuid) || is_replaced(node, now, was) ||
            find(node, was->uuid))
            continue;
        if (m->n == DV_FACTS_GPUS_MAX) /* who is missed now matters more than the first of them */
            drop(m, &m->gone[0], "too-many");
        m->gone[m->n++] =
            (struct dv_missing_gpu){.gpu = *was, .seen = m->seen, .since_unix = dv_clock_unix()};
    }
    for (uint32_t i = 0; i < m->n; i++)
        if (m->gone[i].looks < DV_MISSING_LOOKS && ++m->gone[i].looks == DV_MISSING_LOOKS)
            dv_log(DV_LOG_WARNING, "gpu.missing", "uuid=%s was=%u pci=%s", m->gone[i].gpu.uuid,
                   m->gone[i].gpu.index, m->gone[i].gpu.pci_bus_id);
}

bool dv_missing_is_doubtful(const struct dv_node *node, const char *uuid)
{
    const struct dv_missing *m = node->missing;
    struct dv_gpu now;
    if (!m || !is_there(m->last, uuid))
        return false;
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++)
        if (is_at(node, i, &now) && !strcmp(now.uuid, uuid))
            return false;
    return true;
}

void dv_missing_tick(struct dv_node *node)
{
    struct dv_missing *m = node->missing;
    struct dv_gpu *now = m ? calloc(DV_FACTS_GPUS_MAX, sizeof *now) : NULL;
    if (!now)
        return;
    bool known = list(node, now);
    return_some(node, now);
    if (known) { /* else it may be one of those that are not found */
        miss(node, now);
        memcpy(m->last, now, sizeof m->last);
        m->seen = true;
    }
    free(now);
    save(node);
}

int dv_missing_forget(struct dv_node *node, const char *uuid)
{
    struct dv_missing_gpu *g = find(node, uuid);
    if (!g)
        return -ENOENT;
    drop(node->missing, g, "forgotten");
    save(node);
    return 0;
}

void dv_missing_free(struct dv_node *node)
{
    if (node->missing)
        dv_str_done(&node->missing->written);
    free(node->missing);
    node->missing = NULL;
}
