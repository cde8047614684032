/* SPDX-License-Identifier: Apache-2.0 */
#include "simulate/modes/textbook.h"

#define STRETCH_PERMILLE 180 /* of a service, for each tenant that has work under MPS */
#define SWITCH_NS (800 * DV_NS_PER_US)
#define LATE_NS (UINT64_C(1) << 62) /* far beyond every duration: an overloaded queue's end */

struct queues {
    uint32_t tenants;
    uint64_t ends[DV_ARRIVALS_TENANTS_MAX]; /* of each tenant's last request */
    uint64_t free_ns;                       /* of the one queue of time-slicing */
    uint32_t last;                          /* tenant there */
    bool used;
};

/* A request's end, by the mode's rule. */
typedef uint64_t (*rule)(struct queues *q, uint32_t tenant, uint64_t at, uint64_t service);

static uint64_t own_queue(struct queues *q, uint32_t tenant, uint64_t at, uint64_t service)
{
    q->ends[tenant] = DV_MIN(DV_MAX(at, q->ends[tenant]) + service, LATE_NS);
    return q->ends[tenant];
}

static uint64_t mig(struct queues *q, uint32_t tenant, uint64_t at, uint64_t service)
{
    return own_queue(q, tenant, at, service * q->tenants);
}

static uint64_t mps(struct queues *q, uint32_t tenant, uint64_t at, uint64_t service)
{
    uint64_t busy = 0;
    for (uint32_t t = 0; t < q->tenants; t++)
        busy += q->ends[t] > at;
    return own_queue(q, tenant, at, service + service * busy * STRETCH_PERMILLE / 1000);
}

static uint64_t timeslice(struct queues *q, uint32_t tenant, uint64_t at, uint64_t service)
{
    uint64_t start = DV_MAX(at, q->free_ns);
    if (q->used && q->last != tenant)
        start += SWITCH_NS;
    q->used = true;
    q->last = tenant;
    q->free_ns = DV_MIN(start + service, LATE_NS);
    return q->free_ns;
}

static const rule rules[DV_MODES_COUNT] = {
    [DV_MODES_MIG] = mig,
    [DV_MODES_MPS] = mps,
    [DV_MODES_TIMESLICE] = timeslice,
    [DV_MODES_EXCLUSIVE] = own_queue,
};

bool dv_textbook_has(enum dv_modes_mode mode)
{
    return rules[mode] != NULL;
}

int dv_textbook_run(struct dv_book *book, enum dv_modes_mode mode)
{
    struct queues q = {.tenants = book->load->tenants};
    struct dv_arrivals a;
    uint32_t tenant;
    uint64_t at;
    dv_arrivals_start(&a, book->load);
    while (dv_arrivals_take(&a, &tenant, &at)) {
        if (dv_book_stops(book, at))
            return 0;
        uint64_t end = rules[mode](&q, tenant, at, dv_arrivals_service(book->load, tenant));
        int r = dv_book_add(book, tenant, at, end);
        if (r < 0)
            return r;
    }
    return 0;
}
