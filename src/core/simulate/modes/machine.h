/* SPDX-License-Identifier: Apache-2.0 */
/* The virtual GPU under load: MIG, MPS and time-slicing (machine.c), governed (governed.c). For
 * this folder alone. */
#ifndef DV_SIMULATE_MODES_MACHINE_H
#define DV_SIMULATE_MODES_MACHINE_H

#include "engine/engine.h"
#include "simulate/modes/book.h"

/* A request's operation carries this: when the request came, whether it is its last, whose. */
static inline uint64_t dv_machine_tag(uint64_t at_ns, bool last, uint32_t tenant)
{
    return at_ns << 8 | (uint64_t)last << 7 | tenant;
}

static inline uint64_t dv_machine_tag_at(uint64_t tag)
{
    return tag >> 8;
}

static inline bool dv_machine_tag_last(uint64_t tag)
{
    return tag >> 7 & 1;
}

static inline uint32_t dv_machine_tag_tenant(uint64_t tag)
{
    return (uint32_t)(tag & 0x7f);
}

/* SMs of a share of the card, at least one. */
uint32_t dv_machine_sms(const struct dv_gpu_model *gpu, uint32_t compute);
/* The card, without partitions. 0 or -ENOMEM. */
int dv_machine_card(const struct dv_modes_config *c, uint32_t tenants, struct dv_engine **ret);
/* Switches of a partition up to until_ns over that time. */
uint64_t dv_machine_switches(struct dv_engine *e, uint32_t partition, uint64_t until_ns);

/* Each fills in what is special to its mode, the verdict included, and the book. 0 or -ENOMEM. */
int dv_machine_run(struct dv_book *book, const struct dv_modes_config *c, enum dv_modes_mode mode,
                   struct dv_modes_result *ret);
int dv_governed_run(struct dv_book *book, const struct dv_modes_config *c,
                    struct dv_modes_result *ret);

/*
 * The largest instances of which the GPU can have one for each tenant. 0; 1: not so many, and
 * *ret_limit is how many it can have of its smallest; -ENOMEM.
 */
int dv_machine_instances(const struct dv_mig_geometry *g, uint32_t tenants, uint32_t *ret_profile,
                         uint32_t *ret_limit);

#endif
