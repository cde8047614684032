/* SPDX-License-Identifier: Apache-2.0 */
/* The layout under which the devices are what they are offered as. */
#include "policy/offers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* How the device is shared; AUTO: it is not. */
static struct dv_layout_sharing sharing_of(const struct dv_offers *o, uint32_t device)
{
    struct dv_layout_sharing s = {0};
    for (uint32_t i = 0; i < o->n_offers; i++) {
        const struct dv_offer *offer = &o->offers[i];
        for (uint32_t k = 0; offer->kind != DV_OFFER_WHOLE && k < offer->n_units; k++) {
            if (offer->units[k].device != device)
                continue;
            s.mode = offer->mode;
            s.replicas += offer->kind == DV_OFFER_REPLICA;
        }
    }
    return s;
}

/* The rule that has room for one more device like this; made where there is none. */
static struct dv_layout_rule *rule_for(struct dv_layout *l, bool mig, struct dv_layout_sharing s)
{
    for (uint32_t i = 0; i < l->n_rules; i++) {
        struct dv_layout_rule *r = &l->rules[i];
        if (!!r->profile[0] == mig && r->sharing.mode == s.mode &&
            r->sharing.replicas == s.replicas && r->n_list < DV_LAYOUT_LIST_MAX)
            return r;
    }
    if (l->n_rules == DV_LAYOUT_RULES_MAX)
        return NULL;
    struct dv_layout_rule *r = &l->rules[l->n_rules++];
    *r = (struct dv_layout_rule){.sharing = s};
    memcpy(r->profile, mig ? "*" : "", mig ? 2 : 1);
    return r;
}

static int add_device(struct dv_layout *l, const struct dv_offer_device *d,
                      struct dv_layout_sharing s, struct dv_err *err)
{
    struct dv_layout_rule *r = rule_for(l, d->mig, s);
    if (!r)
        return dv_err_set(err, -E2BIG, "the devices of this node are shared in more than %u ways",
                          DV_LAYOUT_RULES_MAX);
    void *more = realloc(r->list, (r->n_list + 1) * sizeof *r->list);
    if (!more)
        return -ENOMEM;
    r->list = more;
    memcpy(r->list[r->n_list++], d->uuid, sizeof *r->list);
    return 0;
}

static int fill(const struct dv_offers *offers, struct dv_layout *l, struct dv_err *err)
{
    l->rules = calloc(DV_LAYOUT_RULES_MAX, sizeof *l->rules);
    if (!l->rules)
        return -ENOMEM;
    l->has_sharing = true;
    for (uint32_t i = 0; i < offers->n_devices; i++) {
        struct dv_layout_sharing s = sharing_of(offers, i);
        bool none = s.mode == DV_MODE_AUTO || offers->devices[i].gone;
        int r = none ? 0 : add_device(l, &offers->devices[i], s, err);
        if (r < 0)
            return r;
    }
    return 0;
}

int dv_offers_layout(const struct dv_offers *offers, struct dv_layout **ret, struct dv_err *err)
{
    struct dv_layout *l = calloc(1, sizeof *l);
    int r = l ? fill(offers, l, err) : -ENOMEM;
    if (r < 0)
        dv_layout_free(l);
    else
        *ret = l;
    return r;
}
