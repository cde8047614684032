/* SPDX-License-Identifier: Apache-2.0 */
#include "walls_text.h"

#include "arm.h"

/* Of hardware, cooperative, none: the same for memory and compute. */
static const char *simple(enum dv_wall wall)
{
    switch (wall) {
    case DV_WALL_HARDWARE:
        return "the device's own edges: nothing in the process can pass them";
    case DV_WALL_COOPERATIVE:
        return "the library in the tenant's own process: it holds against mistakes, not against "
               "intent; the audit names who goes around it";
    case DV_WALL_DRIVER:
    case DV_WALL_NONE:
        break;
    }
    return "nothing";
}

const char *dv_walls_text_memory(const struct dv_node *node, const struct dv_slice *slice)
{
    if (slice->memory_wall != DV_WALL_DRIVER)
        return simple(slice->memory_wall);
    if (dv_arm_has_cgroup(node, slice))
        return "the driver limits the slice's cgroup: all processes in it together, whatever "
               "library "
               "they load; it does not hold processes that root moves out of the cgroup, nor what "
               "a "
               "service outside the slice allocates for the tenant";
    if (dv_arm_has_namespace(node, slice))
        return "the limit of the slice's MPS namespace, which no environment variable raises; it "
               "counts for each process, so that several together can hold more";
    return "the MPS daemon's default limit, an equal part: a client can lower it and not raise it, "
           "but it counts for each process, so that several together can hold more; nor does it "
           "hold processes that stay out of MPS, on a MIG device or where the compute mode lets "
           "them";
}

const char *dv_walls_text_compute(const struct dv_node *node, const struct dv_slice *slice)
{
    if (slice->compute_wall == DV_WALL_COOPERATIVE && slice->mode == DV_MODE_MPS)
        return "MPS bounds the multiprocessors of each process, but a process can stay out of MPS "
               "or "
               "change its environment: it holds against mistakes, not against intent";
    if (slice->compute_wall != DV_WALL_DRIVER)
        return simple(slice->compute_wall);
    if (dv_arm_has_namespace(node, slice))
        return "the thread percentage of the slice's MPS namespace, for each of its processes: a "
               "bound on the multiprocessors, not a reservation of them";
    return "the MPS daemon's default thread percentage, for each process: a bound on the "
           "multiprocessors, not a reservation of them";
}

const char *dv_walls_text_shared(const struct dv_slice *slice)
{
    if (slice->mode != DV_MODE_MPS)
        return NULL;
    return "whatever the walls: a fatal fault of one client takes down all clients of this MPS "
           "server, those of other tenants too, and memory bandwidth is shared";
}
