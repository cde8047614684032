/* SPDX-License-Identifier: Apache-2.0 */
#include "meter_ended.h"

#include "account/books.h"
#include "audit.h"
#include "meter.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define START_SLACK_US 2000000u /* between the start of a process and what clocks say of it */

/* ---- switching it on ---- */

#define ENABLE_TRIES_MAX 3u /* questions that the driver did not come back from */

static void on_enabled(void *arg, const struct dv_worker_reply *reply, int error)
{
    struct dv_node_gpu *g = arg;
    /* It may have waited behind the one that killed the worker, or have done so itself. */
    if (!reply && ++g->accounting_tries < ENABLE_TRIES_MAX)
        g->accounting_asked = false;
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
    bool allowed = node->config.privileged && !node->config.no_accounting;
    if (!g->facts || !allowed)
        return;
    /* MIG switches it off, and so does a driver that is loaded anew; and another GPU may have this
     * index by then: it is asked for anew afterwards. */
    if (g->facts->mig_current == 1 || g->facts->accounting == 1) {
        g->accounting_asked = false;
        g->accounting_tries = 0;
    } else if (g->facts->accounting == 0 && !g->accounting_asked) {
        g->accounting_asked = dv_hardware_link_ask(node->link, &q, on_enabled, g) == 0;
    }
}

/* ---- asking ---- */

/* The driver may notice a death later than we do: the first question waits a little, and one to
 * which it is still running is asked again. */
#define WAIT_NS (100 * DV_NS_PER_MS)
#define TRIES_MAX 10u
#define QUESTIONS_MAX 4096u
#define SAMPLE_NS (200 * DV_NS_PER_MS) /* what the samples of the next moment may count again */

struct dv_meter_question {
    struct dv_node *node;
    struct dv_ledger_checkpoint row;
    uint32_t gpu, tries;
    uint64_t started_us, due_ns;
    bool asked, living;
    struct dv_meter_question *next;
};

static struct dv_proc_id who(const struct dv_meter_question *q)
{
    return (struct dv_proc_id){q->row.pid, q->row.start};
}

/* A pid is used again: is it the process that is meant? */
static bool is_meant(const struct dv_meter_question *q, const struct dv_facts_accounted *a)
{
    return a->pid == (uint32_t)q->row.pid && (!a->is_running || q->living) &&
           a->start_us + START_SLACK_US >= q->started_us;
}

static void drop(struct dv_node *node, struct dv_meter_question *q)
{
    struct dv_meter_question **link = &node->questions;
    while (*link != q)
        link = &(*link)->next;
    *link = q->next;
    node->n_questions--;
    struct dv_proc_id id = who(q);
    if (!q->living)
        dv_meter_answered(node, q->row.claim, &id);
    free(q);
}

/* What its samples may still tell of the time before the answer: resolution, and all since the last
 * look at the GPU, however long ago that was. */
static uint64_t margin_of(const struct dv_meter_question *q, const struct dv_facts_accounted *a)
{
    if (!a->is_running)
        return a->resolution_ns;
    return a->resolution_ns + DV_MAX(SAMPLE_NS, dv_audit_unseen_ns(q->node, q->gpu));
}

static void charge(struct dv_meter_question *q, const struct dv_facts_accounted *a)
{
    struct dv_books *books = dv_meter_books(q->node);
    uint64_t margin = margin_of(q, a);
    struct dv_account payer = q->row.account;
    struct dv_proc_id id = who(q);
    if (!books || !is_meant(q, a) || a->busy_ns <= q->row.busy_ns + margin)
        return;
    uint64_t more = a->busy_ns - q->row.busy_ns - (a->is_running ? margin : 0);
    payer.source = DV_SOURCE_ACCOUNTING;
    payer.quality = DV_QUALITY_SAMPLED;
    dv_books_late(books, &payer, q->row.device, more);
    if (q->living) /* another question may follow, and its own figure counts then */
        dv_meter_was_charged(q->node, q->row.claim, &id, more);
}

static void on_accounted(void *arg, const struct dv_worker_reply *reply, int error)
{
    struct dv_meter_question *q = arg;
    const struct dv_facts_accounted *a = reply ? &reply->u.accounted : NULL;
    bool known = a && reply->status == 0;
    q->asked = false;
    if (known && a->is_running && !q->living && ++q->tries < TRIES_MAX) {
        q->due_ns = dv_clock_now() + WAIT_NS;
        return;
    }
    if (known)
        charge(q, a);
    drop(q->node, q);
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

static uint32_t gpu_by_uuid(const struct dv_node *node, const char *uuid)
{
    for (size_t i = 0; i < node->snapshot->n_gpus; i++)
        if (!strcmp(node->snapshot->gpus[i].uuid, uuid))
            return node->snapshot->gpus[i].index;
    return UINT32_MAX;
}

bool dv_meter_ended_ask(struct dv_node *node, const struct dv_meter_ended *e)
{
    uint32_t gpu = gpu_by_uuid(node, e->row.account.gpu);
    if (gpu >= DV_FACTS_GPUS_MAX || !node->gpus[gpu].facts ||
        node->gpus[gpu].facts->mig_current == 1 || node->n_questions == QUESTIONS_MAX)
        return false;
    struct dv_meter_question *q = calloc(1, sizeof *q);
    if (!q)
        return false;
    q->node = node;
    q->row = e->row;
    q->gpu = gpu;
    q->living = e->living;
    struct dv_proc_id id = who(q);
    q->started_us = started_us(&id);
    q->due_ns = e->living ? 0 : dv_clock_now() + WAIT_NS;
    q->next = node->questions;
    node->questions = q;
    node->n_questions++;
    return true;
}

void dv_meter_ended_charged(struct dv_node *node, uint64_t claim, const struct dv_proc_id *id,
                            uint64_t ns)
{
    for (struct dv_meter_question *q = node->questions; q; q = q->next)
        if (q->row.claim == claim && q->row.pid == id->pid && q->row.start == id->start)
            q->row.busy_ns += ns;
}

size_t dv_meter_ended_open(const struct dv_node *node, struct dv_ledger_checkpoint *ret)
{
    size_t n = 0;
    for (const struct dv_meter_question *q = node->questions; q; q = q->next)
        if (!q->living)
            ret[n++] = q->row;
    return n;
}

void dv_meter_ended_tick(struct dv_node *node, uint64_t now)
{
    for (struct dv_meter_question *q = node->questions, *next; q; q = next) {
        struct dv_worker_request ask = {
            .op = DV_WORKER_ACCOUNTED, .index = q->gpu, .pid = q->row.pid};
        next = q->next;
        if (q->asked || now < q->due_ns)
            continue;
        q->asked = dv_hardware_link_ask(node->link, &ask, on_accounted, q) == 0;
        if (!q->asked)
            drop(node, q);
    }
}

void dv_meter_ended_free(struct dv_node *node)
{
    while (node->questions)
        drop(node, node->questions);
}
