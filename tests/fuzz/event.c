/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the life of a node, eight to an event: what is applied leaves a legal snapshot, what
 * is refused changes nothing, and the queue's answers can always be carried out. */
#include "policy/queue.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS_MAX 200

static struct dv_event read_event(const uint8_t *b)
{
    struct dv_event e = {.kind = (enum dv_event_kind)(b[0] % 11), .id = b[1] % 16};
    uint32_t gpu = b[2] % 4;
    char uuid[DV_UUID_SIZE];
    snprintf(uuid, sizeof uuid, "%s-%u-%u", b[2] & 64 ? "MIG" : "GPU", gpu, b[2] >> 4 & 3);
    e.memory_bytes = b[3] * DV_GIB;
    e.compute = b[4] * 30u;
    if (e.kind == DV_EVENT_GPU_SEEN || e.kind == DV_EVENT_GPU_GONE) {
        e.gpu = (struct dv_gpu){
            .index = gpu, .mig_enabled = b[3] & 1, .health = (enum dv_gpu_health)(b[4] % 4)};
    } else if (e.kind == DV_EVENT_DEVICE_SEEN || e.kind == DV_EVENT_DEVICE_GONE) {
        e.device = (struct dv_device){.gpu = gpu,
                                      .mig = b[2] & 64,
                                      .memory_bytes = e.memory_bytes,
                                      .compute = e.compute,
                                      .layout = (enum dv_mode)(b[5] % 5)};
        memcpy(e.device.uuid, uuid, sizeof uuid);
    } else if (e.kind == DV_EVENT_CLAIM_QUEUED) {
        e.claim = (struct dv_claim){.id = e.id,
                                    .mode = (enum dv_mode)(b[5] % 5),
                                    .memory_bytes = e.memory_bytes,
                                    .compute = e.compute,
                                    .priority = (int8_t)b[6],
                                    .wait = b[7] & 1,
                                    .trust = b[7] & 2 ? DV_TRUST_UNTRUSTED : DV_TRUST_TRUSTED};
        snprintf(e.claim.tenant, sizeof e.claim.tenant, "%.1s", (const char[]){(char)b[1], 0});
    } else if (e.kind == DV_EVENT_SLICE_GRANTED) {
        e.slice = (struct dv_slice){.id = e.id,
                                    .tenant = "t",
                                    .mode = (enum dv_mode)(b[5] % 6),
                                    .memory_bytes = e.memory_bytes,
                                    .compute = e.compute};
        memcpy(e.slice.device, uuid, sizeof uuid);
    } else if (e.kind == DV_EVENT_TOPOLOGY_SEEN) {
        dv_topology_init(&e.topology, b[3]);
        dv_topology_set(&e.topology, b[4] % 16, b[5] % 16,
                        (struct dv_link){(enum dv_link_kind)(b[6] % 8), b[6] % 19u,
                                         (enum dv_link_kind)(b[3] % 8)});
        if (b[7] % 4 == 0)
            e.topology.links[b[4] % 16][b[5] % 16].nvlinks++; /* one way only */
    }
    return e;
}

static void must(int ok)
{
    if (!ok)
        abort();
}

/* Carries out what the queue says until it has nothing more to say. */
static void settle(struct dv_snapshot *s)
{
    uint64_t id = 0;
    struct dv_admission a;
    int r;
    while (!(r = dv_queue_next(s, &id, &a))) {
        struct dv_event e = {.kind = DV_EVENT_CLAIM_WITHDRAWN, .id = id};
        if (a.verdict.result == DV_VERDICT_GRANTED) {
            e.kind = DV_EVENT_SLICE_GRANTED;
            e.slice = dv_admit_slice(dv_snapshot_claim(s, id), &a, 0);
        }
        must(dv_event_apply(s, &e, NULL) == 0);
    }
    must(r == -ENOENT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dv_cleanup(dv_snapshot_freep) struct dv_snapshot *s = NULL;
    must(dv_snapshot_new(&s) == 0);
    for (size_t i = 0; i + 8 <= size && i < 8 * EVENTS_MAX; i += 8) {
        struct dv_event e = read_event(data + i);
        dv_cleanup(dv_snapshot_freep) struct dv_snapshot *before = NULL;
        struct dv_err err = {{0}};
        must(dv_snapshot_dup(s, &before) == 0);
        if (dv_event_apply(s, &e, &err) < 0)
            must(err.msg[0] && dv_snapshot_equal(s, before));
        else if (data[i] & 128)
            settle(s);
        must(dv_snapshot_check(s, NULL) == 0);
    }
    return 0;
}
