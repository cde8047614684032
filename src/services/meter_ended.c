/* SPDX-License-Identifier: Apache-2.0 */
#include "meter_ended.h"

#include "account/books.h"
#include "meter.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define START_SLACK_US 2000000u /* between the start of a process and what clocks say of it */

/* ---- switching it on ---- */

static void on_enabled(void *arg, const struct dv_worker_reply *reply, int error)
{
    if (!reply || !reply->status)
        return;
    dv_log(DV_LOG_INFO, "accounting.off",
           "detail=\"the driver keeps no accounts of processes; what "
           "short ones used is not seen\"");
}

void dv_meter_ended_enable(struct dv_node *node, uint32_t gpu)
{
    struct dv_node_gpu *g = &node->gpus[gpu];
    struct dv_worker_request q = {.op = DV_WORKER_ACCOUNTING, .index = gpu, .change.accounting = 1};
    if (node->config.no_accounting || !node->config.privileged || !g->facts ||
        g->accounting_asked || g->facts->accounting != 0 || g->facts->mig_current == 1)
        return;
    g->accounting_asked = dv_hardware_link_ask(node->link, &q, on_enabled, node) == 0;
}

/* ---- asking ---- */

struct question {
    struct dv_node *node;
    struct dv_account account;
    char device[DV_UUID_SIZE];
    struct dv_proc_id id;
    uint64_t charged_ns, started_us;
};

/* A pid is used again: is it the process that is meant? */
static bool is_meant(const struct question *q, const struct dv_facts_accounted *a)
{
    return a->pid == (uint32_t)q->id.pid && !a->is_running &&
           a->start_us + START_SLACK_US >= q->started_us;
}

static void on_accounted(void *arg, const struct dv_worker_reply *reply, int error)
{
    struct question *q = arg;
    const struct dv_facts_accounted *a = reply ? &reply->u.accounted : NULL;
    struct dv_books *books = dv_meter_books(q->node);
    if (a && reply->status == 0 && books && is_meant(q, a) &&
        a->busy_ns > q->charged_ns + a->resolution_ns)
        dv_books_late(books, &q->account, q->device, a->busy_ns - q->charged_ns);
    free(q);
}

/* Clock ticks since the boot, as microseconds since 1970. */
static uint64_t started_us(const struct dv_proc_id *id)
{
    uint64_t ticks = (uint64_t)sysconf(_SC_CLK_TCK);
    struct timespec up;
    clock_gettime(CLOCK_BOOTTIME, &up);
    uint64_t now_us = (uint64_t)up.tv_sec * 1000000 + (uint64_t)up.tv_nsec / 1000;
    uint64_t age_us = now_us - DV_MIN(now_us, id->start * 1000000 / ticks);
    return dv_clock_unix_us() - DV_MIN(dv_clock_unix_us(), age_us);
}

void dv_meter_ended_ask(struct dv_node *node, uint32_t gpu, const struct dv_proc_id *id,
                        const struct dv_account *account, const char *device, uint64_t charged_ns)
{
    struct dv_worker_request ask = {.op = DV_WORKER_ACCOUNTED, .index = gpu, .pid = id->pid};
    if (gpu >= DV_FACTS_GPUS_MAX || !node->gpus[gpu].facts ||
        node->gpus[gpu].facts->mig_current == 1)
        return;
    struct question *q = calloc(1, sizeof *q);
    if (!q)
        return;
    *q = (struct question){.node = node,
                           .account = *account,
                           .id = *id,
                           .charged_ns = charged_ns,
                           .started_us = started_us(id)};
    q->account.source = DV_SOURCE_ACCOUNTING;
    q->account.quality = DV_QUALITY_SAMPLED;
    if (dv_str_copy(q->device, sizeof q->device, device) < 0 ||
        dv_hardware_link_ask(node->link, &ask, on_accounted, q) < 0)
        free(q);
}
