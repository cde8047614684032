/* SPDX-License-Identifier: Apache-2.0 */
/* What a run of one mode writes down. For this folder alone. */
#ifndef DV_SIMULATE_MODES_BOOK_H
#define DV_SIMULATE_MODES_BOOK_H

#include "simulate/modes/latency.h"
#include "simulate/modes/modes.h"

#define DV_BOOK_EXACT_MAX (UINT64_C(1) << 21) /* latencies kept one by one, of all tenants */

struct dv_book {
    const struct dv_arrivals_load *load;
    const struct dv_modes_watch *watch;
    struct dv_latency tenants[DV_ARRIVALS_TENANTS_MAX];
    uint64_t events; /* dv_book_stops() was asked so often */
    double work_ns;  /* of the whole card, of requests served */
    bool stopped;
    uint64_t until_ns;
};

void dv_book_init(struct dv_book *b, const struct dv_arrivals_load *load,
                  const struct dv_modes_watch *watch);
void dv_book_done(struct dv_book *b);
/* A request came at at_ns and ended, or will end, at end_ns. 0 or -ENOMEM. */
int dv_book_add(struct dv_book *b, uint32_t tenant, uint64_t at_ns, uint64_t end_ns);
/* To be asked at every event, for nothing else ends a run early. Asks the watch now and then; true:
 * stop. */
bool dv_book_stops(struct dv_book *b, uint64_t now_ns);
/* Fills in the figures. 0 or -ENOMEM. */
int dv_book_close(struct dv_book *b, struct dv_modes_result *ret);

#endif
