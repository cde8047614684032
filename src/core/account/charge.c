/* SPDX-License-Identifier: Apache-2.0 */
#include "account/charge.h"

#include <string.h>

const char *dv_account_quality_name(enum dv_quality quality)
{
    static const char *const names[] = {"exact", "sampled", "estimated"};
    return (size_t)quality < DV_ARRAY_SIZE(names) ? names[quality] : "unknown";
}

const char *dv_account_source_name(enum dv_source source)
{
    static const char *const names[] = {"none", "leases", "process", "driver", "accounting"};
    return (size_t)source < DV_ARRAY_SIZE(names) ? names[source] : "unknown";
}

bool dv_account_equal(const struct dv_account *a, const struct dv_account *b)
{
    return a->mode == b->mode && a->tier == b->tier && a->source == b->source &&
           a->quality == b->quality && !strcmp(a->gpu, b->gpu) && !strcmp(a->tenant, b->tenant) &&
           !strcmp(a->pod, b->pod) && !strcmp(a->profile, b->profile) &&
           !strcmp(a->model, b->model);
}

void dv_charge_add(struct dv_charge *charge, const struct dv_charge *more)
{
    charge->busy_ns += more->busy_ns;
    charge->overhead_ns += more->overhead_ns;
    charge->reserved_idle_ns += more->reserved_idle_ns;
    charge->unallocated_ns += more->unallocated_ns;
    charge->unhealthy_ns += more->unhealthy_ns;
    charge->wait_ns += more->wait_ns;
    charge->requested_compute += more->requested_compute;
    charge->byte_seconds += more->byte_seconds;
    charge->held_ns += more->held_ns;
}

uint64_t dv_charge_wall_ns(const struct dv_charge *charge)
{
    return charge->busy_ns + charge->overhead_ns + charge->reserved_idle_ns +
           charge->unallocated_ns + charge->unhealthy_ns;
}
