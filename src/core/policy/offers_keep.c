/* SPDX-License-Identifier: Apache-2.0 */
/* Units of GPUs that are not there any more. */
#include "policy/offers.h"
#include "policy/offers_inside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct keeper {
    struct dv_offers *offers;
    const struct dv_offers *before;
    dv_offers_has_gone *has_gone;
    const void *arg;
    uint32_t at[DV_DEVICES_MAX]; /* of a device of `before`: 1 + its place in `offers` */
};

/* Places for all devices that may have to be kept. */
static int make_room(struct keeper *k)
{
    size_t n = DV_MIN((size_t)k->offers->n_devices + k->before->n_devices, (size_t)DV_DEVICES_MAX);
    void *more = realloc(k->offers->devices, DV_MAX(n, (size_t)1) * sizeof *k->offers->devices);
    if (!more)
        return -ENOMEM;
    k->offers->devices = more;
    return 0;
}

/* The device, entered when the first of its units is kept. False: there is no room. */
static bool enter(struct keeper *k, uint32_t device, uint32_t *ret)
{
    struct dv_offers *o = k->offers;
    if (!k->at[device]) {
        if (o->n_devices == DV_DEVICES_MAX)
            return false;
        struct dv_offer_device *d = &o->devices[o->n_devices++];
        *d = k->before->devices[device];
        d->healthy = false;
        d->gone = true;
        k->at[device] = o->n_devices;
    }
    *ret = k->at[device] - 1;
    return true;
}

static bool is_kept(const struct keeper *k, const struct dv_offer *to,
                    const struct dv_offer_unit *u)
{
    return k->has_gone(k->arg, k->before->devices[u->device].gpu_uuid) &&
           !(to && to->by_id && dv_offers_unit(to, u->id));
}

/* The resource in `offers`, made where there is none. NULL, and *ret_r: memory, or it cannot be. */
static struct dv_offer *offer_for(struct keeper *k, const struct dv_offer *was, int *ret_r)
{
    struct dv_offers *o = k->offers;
    *ret_r = 0;
    for (uint32_t i = 0; i < o->n_offers; i++)
        if (!strcmp(o->offers[i].name, was->name))
            return o->offers[i].kind == was->kind && o->offers[i].mode == was->mode ? &o->offers[i]
                                                                                    : NULL;
    if (o->n_offers == DV_OFFERS_MAX)
        return NULL;
    struct dv_offer *more = realloc(o->offers, (o->n_offers + 1) * sizeof *more);
    if (!more) {
        *ret_r = -ENOMEM;
        return NULL;
    }
    o->offers = more;
    struct dv_offer *made = &more[o->n_offers++];
    *made = *was;
    made->units = NULL;
    made->by_id = NULL;
    made->n_units = 0;
    return made;
}

static int keep_offer(struct keeper *k, const struct dv_offer *was)
{
    uint32_t n = 0, device;
    int r;
    for (uint32_t i = 0; i < was->n_units; i++)
        n += is_kept(k, dv_offers_find(k->offers, was->name), &was->units[i]);
    struct dv_offer *to = n ? offer_for(k, was, &r) : NULL;
    if (!to)
        return n ? r : 0;
    n = DV_MIN(n, DV_OFFERS_UNITS_MAX - to->n_units);
    struct dv_offer_unit *units = realloc(to->units, (to->n_units + n + 1) * sizeof *units);
    if (!units)
        return -ENOMEM;
    to->units = units;
    uint32_t end = to->n_units + n, at = to->n_units;
    for (uint32_t i = 0; i < was->n_units && at < end; i++) {
        if (!is_kept(k, to, &was->units[i]) || !enter(k, was->units[i].device, &device))
            continue;
        units[at] = was->units[i];
        units[at++].device = device;
    }
    to->n_units = at;
    return 0;
}

/* Of those made for nothing: there was no room for their devices. */
static void drop_empty(struct dv_offers *o)
{
    for (uint32_t i = o->n_offers; i-- > 0;) {
        if (o->offers[i].n_units)
            continue;
        free(o->offers[i].units);
        free(o->offers[i].by_id);
        o->n_offers--;
        memmove(&o->offers[i], &o->offers[i + 1], (o->n_offers - i) * sizeof o->offers[0]);
    }
}

int dv_offers_keep(struct dv_offers *offers, const struct dv_offers *before,
                   dv_offers_has_gone *has_gone, const void *arg)
{
    struct keeper *k = calloc(1, sizeof *k);
    if (!k)
        return -ENOMEM;
    k->offers = offers;
    k->before = before;
    k->has_gone = has_gone;
    k->arg = arg;
    int r = make_room(k);
    for (uint32_t i = 0; r == 0 && i < before->n_offers; i++)
        r = keep_offer(k, &before->offers[i]);
    drop_empty(offers);
    free(k);
    return r ? r : dv_offers_sort(offers);
}
