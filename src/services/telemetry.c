/* SPDX-License-Identifier: Apache-2.0 */
#include "telemetry.h"

#include "node.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <stdlib.h>
#include <string.h>

#define BUSY_NS (2 * DV_NS_PER_S) /* between two rounds while slices are held */
#define IDLE_NS (5 * DV_NS_PER_S)
#define WANTED_NS (600 * DV_NS_PER_S) /* after a scrape, without a listener for them */
#define STALE_NS (15 * DV_NS_PER_S)   /* figures older than that are not shown */
#define REST_FIRST_NS (30 * DV_NS_PER_S)
#define REST_MAX_NS (600 * DV_NS_PER_S)

struct asked {
    struct dv_node *node;
    uint32_t gpu;
};

static void drop_facts(struct dv_telemetry *t)
{
    free(t->facts);
    t->facts = NULL;
}

static void take(struct dv_telemetry *t, const struct dv_facts_telemetry *facts, uint64_t now)
{
    if (!t->facts)
        t->facts = malloc(sizeof *t->facts);
    if (!t->facts)
        return;
    *t->facts = *facts;
    t->facts->n_gi = DV_MIN(t->facts->n_gi, DV_FACTS_MIG_MAX);
    t->got_ns = now;
}

/* The question may be what wedged the worker, or only have waited behind that one. */
static void rest(struct dv_node *node, uint64_t now)
{
    struct dv_telemetry_state *s = &node->telemetry;
    if (now < s->rest_ns)
        return;
    s->rest_for = s->rest_for ? DV_MIN(s->rest_for * 2, REST_MAX_NS) : REST_FIRST_NS;
    s->rest_ns = now + s->rest_for;
}

static void on_telemetry(void *arg, const struct dv_worker_reply *reply, int error)
{
    struct asked *asked = arg;
    struct dv_node *node = asked->node;
    struct dv_telemetry *t = &node->gpus[asked->gpu].telemetry;
    uint64_t now = dv_clock_now();
    free(asked);
    t->asking = false;
    t->failed = !reply || reply->status != 0;
    t->took_ns = now - t->asked_ns;
    if (t->failed)
        drop_facts(t);
    else
        take(t, &reply->u.telemetry, now);
    if (error)
        rest(node, now);
    else
        node->telemetry.rest_for = 0;
}

static void ask(struct dv_node *node, uint32_t gpu, uint64_t now)
{
    struct dv_telemetry *t = &node->gpus[gpu].telemetry;
    struct dv_worker_request q = {.op = DV_WORKER_TELEMETRY, .index = gpu};
    struct asked *asked = malloc(sizeof *asked);
    if (!asked)
        return;
    *asked = (struct asked){node, gpu};
    t->asking = true;
    t->asked_ns = now;
    if (dv_hardware_link_ask(node->link, &q, on_telemetry, asked) < 0) {
        t->asking = false;
        free(asked);
    }
}

static bool is_wanted(const struct dv_telemetry_state *s, uint64_t now)
{
    return s->always || (s->wanted_ns && now - s->wanted_ns < WANTED_NS);
}

/* One GPU at a time, the one that has waited longest: the worker has more urgent questions to
 * answer between them. */
void dv_telemetry_tick(struct dv_node *node, uint64_t now)
{
    uint64_t pause = node->snapshot->n_slices ? BUSY_NS : IDLE_NS;
    uint32_t next = UINT32_MAX;
    if (!node->ready || node->driver_status || !is_wanted(&node->telemetry, now) ||
        now < node->telemetry.rest_ns)
        return;
    for (uint32_t i = 0; i < node->driver.gpus; i++) {
        const struct dv_telemetry *t = &node->gpus[i].telemetry;
        if (!node->gpus[i].present || (t->asked_ns && now - t->asked_ns < pause - pause / 20))
            continue;
        if (t->asking)
            return;
        if (next == UINT32_MAX || t->asked_ns < node->gpus[next].telemetry.asked_ns)
            next = i;
    }
    if (next != UINT32_MAX)
        ask(node, next, now);
}

void dv_telemetry_want(struct dv_node *node, uint64_t now)
{
    node->telemetry.wanted_ns = now;
}

void dv_telemetry_sampled(struct dv_node *node, uint32_t gpu, bool answered)
{
    node->gpus[gpu].telemetry.sampled_ns = answered ? dv_clock_now() : 0;
    if (!answered)
        drop_facts(&node->gpus[gpu].telemetry);
}

void dv_telemetry_driver_failed(struct dv_node *node)
{
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++)
        dv_telemetry_sampled(node, i, false);
}

void dv_telemetry_xid(struct dv_node *node, uint32_t gpu, uint64_t xid)
{
    struct dv_telemetry *t = &node->gpus[gpu].telemetry;
    uint32_t i = 0;
    t->last_xid = xid;
    while (i < t->n_xids && t->xids[i].xid != xid)
        i++;
    if (i == DV_TELEMETRY_XIDS_MAX) { /* the last place is everything else's */
        t->xids[--i].xid = 0;
    } else if (i == t->n_xids) {
        t->xids[i].xid = xid;
        t->xids[i].count = 0;
        t->n_xids++;
    }
    t->xids[i].count++;
}

void dv_telemetry_free(struct dv_node *node)
{
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++)
        drop_facts(&node->gpus[i].telemetry);
}

bool dv_telemetry_answers(const struct dv_node *node, uint32_t gpu)
{
    const struct dv_node_gpu *g = &node->gpus[gpu];
    /* A question may also wait long behind another one: a step on a GPU takes a minute. */
    return !node->driver_status && g->present && !g->lost && g->sampled &&
           g->telemetry.sampled_ns && dv_clock_now() - g->telemetry.sampled_ns < STALE_NS;
}

bool dv_telemetry_complete(const struct dv_node *node, uint32_t gpu)
{
    const struct dv_telemetry *t = &node->gpus[gpu].telemetry;
    return dv_telemetry_answers(node, gpu) && !t->failed &&
           (!t->facts || (!t->facts->failures && !t->facts->lost));
}

const struct dv_facts_telemetry *dv_telemetry_facts(const struct dv_node *node, uint32_t gpu)
{
    const struct dv_telemetry *t = &node->gpus[gpu].telemetry;
    bool shown = dv_telemetry_answers(node, gpu) && t->facts && !t->facts->lost &&
                 dv_clock_now() - t->got_ns < STALE_NS;
    return shown ? t->facts : NULL;
}
