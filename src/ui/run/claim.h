/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A claim at the daemon, from asking to giving back.
 *
 *     struct dv_claim claim = {.client = client};
 *     exit = dv_claim_ask(ui, &claim, body);          granted or queued
 *     exit = dv_claim_wait(ui, &claim, deadline);     until granted
 *     ... dv_claim_environment(&claim) ...
 *     dv_claim_give_back(&claim);
 *
 * The daemon also takes everything back when this process ends in any other way.
 */
#ifndef DV_UI_RUN_CLAIM_H
#define DV_UI_RUN_CLAIM_H

#include "http/client.h"
#include "ui.h"

#define DV_CLAIM_ID 64

struct dv_claim {
    struct dv_http_client *client;
    char id[DV_CLAIM_ID]; /* "": none at the daemon */
    uint64_t position;
    struct dv_output *answer; /* the daemon's last word: a Claim */
};

void dv_claim_done(struct dv_claim *claim);

/* Posts the claim; a daemon that has just started is given until the deadline, or until *signal is
 * other than 0, as dv_ask_call() says. 0 when it is granted or queued; 128 + *signal; else the exit
 * status, explained on stderr. */
int dv_claim_ask(const struct dv_ui *ui, struct dv_claim *claim, struct dv_output *body,
                 uint64_t deadline, const volatile int *signal);
bool dv_claim_is_granted(const struct dv_claim *claim);
/* Waits until it is granted, and says the position on stderr whenever it changes. deadline:
 * CLOCK_MONOTONIC nanoseconds, or DV_NEVER. 0; DV_UI_RUN_TIMED_OUT; 128 + *signal when that became
 * other than 0; DV_UI_RUN_FAILED. */
int dv_claim_wait(const struct dv_ui *ui, struct dv_claim *claim, uint64_t deadline,
                  const volatile int *signal);
/* Withdraws or releases; silent, because a daemon that is gone has nothing to be told. */
void dv_claim_give_back(struct dv_claim *claim);
/* The object of variables that the command needs; NULL when the daemon sent none. */
const struct dv_output_node *dv_claim_environment(const struct dv_claim *claim);

#endif
