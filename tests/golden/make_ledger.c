/* SPDX-License-Identifier: Apache-2.0 */
/*
 * make_ledger FILE [UNIX]: a ledger of five days, always the same: 2026-10-30 to 2026-11-03 UTC, or
 * from that time on; two GPUs, two tenants and somebody outside of all slices. Each hour is one
 * block. The sums of each GPU's hour are an hour, to the nanosecond.
 */
#include "store/ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST INT64_C(1793318400) /* 2026-10-30T00:00:00Z */
#define HOURS 120
#define HOUR_NS (3600 * DV_NS_PER_S)
#define GPU_0 "GPU-7a3e11d2-0000-4000-8000-000000000001"
#define GPU_1 "GPU-9b3e11d2-0000-4000-8000-000000000002"
#define A100 "NVIDIA A100-SXM4-80GB"
#define H100 "NVIDIA H100 80GB HBM3"

static void check(int r, const struct dv_err *err)
{
    if (r >= 0)
        return;
    fprintf(stderr, "make_ledger: %s\n", err->msg);
    exit(1);
}

static void add(struct dv_ledger *ledger, struct dv_account account, struct dv_charge charge)
{
    if (dv_ledger_add(ledger, &account, &charge) < 0)
        exit(1);
}

/* An A100 shared by two tenants, with a third of a second between them lost. */
static void add_shared(struct dv_ledger *ledger, int hour)
{
    uint64_t busy_a = (uint64_t)(hour % 24) * 100 * DV_NS_PER_S + 123456789;
    uint64_t busy_b = 600 * DV_NS_PER_S + 7, idle_b = 300 * DV_NS_PER_S;
    uint64_t over = 333333333;
    struct dv_account a = {GPU_0,
                           A100,
                           "",
                           DV_MODE_GOVERNED,
                           "team-a",
                           DV_TIER_BEST_EFFORT,
                           DV_SOURCE_LEASES,
                           DV_QUALITY_EXACT};
    struct dv_account b = a, own = a;
    memcpy(b.tenant, "team-b", sizeof "team-b");
    snprintf(b.pod, sizeof b.pod, "train-%d", hour / 48); /* a new one every other day */
    own.tenant[0] = 0;
    own.source = DV_SOURCE_NONE;
    add(ledger, a,
        (struct dv_charge){.busy_ns = busy_a,
                           .wait_ns = 5 * DV_NS_PER_S,
                           .requested_compute = HOUR_NS * 3500,
                           .byte_seconds = 3600 * 10 * DV_GIB,
                           .held_ns = HOUR_NS});
    add(ledger, b,
        (struct dv_charge){.busy_ns = busy_b,
                           .reserved_idle_ns = idle_b,
                           .requested_compute = HOUR_NS * 1750,
                           .byte_seconds = 3600 * 5 * DV_GIB,
                           .held_ns = HOUR_NS});
    add(ledger, own,
        (struct dv_charge){.overhead_ns = over,
                           .unallocated_ns = HOUR_NS - busy_a - busy_b - idle_b - over});
}

/* An H100 cut by MIG: a seventh of it is team-a's; it is sick in the second day's first hours. */
static void add_cut(struct dv_ledger *ledger, int hour)
{
    uint64_t seventh = HOUR_NS / 7, sick = hour >= 24 && hour < 27 ? HOUR_NS / 2 : 0;
    struct dv_account a = {GPU_1,
                           H100,
                           "1g.10gb",
                           DV_MODE_EXCLUSIVE,
                           "team-a",
                           DV_TIER_BEST_EFFORT,
                           DV_SOURCE_DRIVER,
                           DV_QUALITY_SAMPLED};
    struct dv_account out = {GPU_1,
                             H100,
                             "",
                             DV_MODE_AUTO,
                             DV_ACCOUNT_OUTSIDE,
                             DV_TIER_BEST_EFFORT,
                             DV_SOURCE_DRIVER,
                             DV_QUALITY_ESTIMATED};
    struct dv_account own = {
        GPU_1, H100, "", DV_MODE_AUTO, "", DV_TIER_BEST_EFFORT, DV_SOURCE_NONE, DV_QUALITY_EXACT};
    add(ledger, a,
        (struct dv_charge){.busy_ns = seventh / 2,
                           .reserved_idle_ns = seventh - seventh / 2,
                           .requested_compute = HOUR_NS * 1000,
                           .byte_seconds = 3600 * 10 * DV_GIB,
                           .held_ns = HOUR_NS});
    add(ledger, out, (struct dv_charge){.busy_ns = 1000000003});
    add(ledger, own,
        (struct dv_charge){.unhealthy_ns = sick,
                           .unallocated_ns = HOUR_NS - seventh - 1000000003 - sick});
}

int main(int argc, char **argv)
{
    int64_t first = argc > 2 ? atoll(argv[2]) : FIRST;
    struct dv_ledger_options options = {
        .now = {first * (int64_t)DV_NS_PER_S, 1},
        .limits = {.minute_seconds = UINT64_C(31536000), .hour_seconds = UINT64_C(31536000)}};
    struct dv_ledger *ledger = NULL;
    struct dv_str note = {0};
    struct dv_err err = {{0}};
    if (argc != 2 && argc != 3)
        return 2;
    check(dv_ledger_open(argv[1], &options, &ledger, &note, &err), &err);
    for (int hour = 0; hour < HOURS; hour++) {
        struct dv_ledger_time now = {(first + (hour + 1) * INT64_C(3600)) * (int64_t)DV_NS_PER_S,
                                     1 + (uint64_t)(hour + 1) * HOUR_NS};
        add_shared(ledger, hour);
        add_cut(ledger, hour);
        check(dv_ledger_flush(ledger, now, NULL, 0, &err), &err);
        int r;
        while ((r = dv_ledger_roll(ledger, now.unix_ns, &err)) > 0)
            ;
        check(r, &err);
    }
    dv_ledger_close(ledger);
    dv_str_done(&note);
    return 0;
}
