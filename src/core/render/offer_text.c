/* SPDX-License-Identifier: Apache-2.0 */
#include "render/offer_text.h"

#define SHOWN 4u /* GPUs that a message names */

static void add_gpus(const struct dv_offers *offers, const struct dv_offer_answer *answer,
                     struct dv_str *text)
{
    for (uint32_t i = 0; i < answer->n && i < SHOWN; i++)
        dv_str_addf(text, "%s%u of %s", i ? ", " : "", answer->grants[i].units,
                    offers->devices[answer->grants[i].device].uuid);
    if (answer->n > SHOWN)
        dv_str_add(text, ", ...");
}

void dv_offer_text_refusal(const struct dv_offers *offers, const struct dv_offer *offer,
                           const struct dv_offer_answer *answer, struct dv_str *text)
{
    switch (answer->refusal) {
    case DV_OFFER_GRANTED:
        break;
    case DV_OFFER_UNKNOWN_ID:
        dv_str_addf(text, "invalid request: unknown device: %s", answer->id);
        break;
    case DV_OFFER_ABOVE_ONE:
        dv_str_addf(text,
                    "invalid request: maximum request size for shared resources is 1; found %u",
                    answer->asked);
        break;
    case DV_OFFER_SEVERAL_GPUS:
        dv_str_addf(text, "invalid request: %u of %s lie on %u GPUs (", answer->asked, offer->name,
                    answer->n);
        add_gpus(offers, answer, text);
        dv_str_add(text, "), and a fraction is of one GPU; ask for no more than one has free");
        break;
    case DV_OFFER_TWICE:
        dv_str_addf(text, "invalid request: device asked for twice: %s", answer->id);
        break;
    }
}
