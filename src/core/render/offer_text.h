/* SPDX-License-Identifier: Apache-2.0 */
/* What the kubelet is told of a container's devices, in words. */
#ifndef DV_RENDER_OFFER_TEXT_H
#define DV_RENDER_OFFER_TEXT_H

#include "base/str.h"
#include "policy/offers.h"

/* Appends why it gets none ("invalid request: unknown device: ID"), as the NVIDIA device plugin
 * says it where that has such a refusal: people search for these texts. Of GRANTED, nothing. */
void dv_offer_text_refusal(const struct dv_offers *offers, const struct dv_offer *offer,
                           const struct dv_offer_answer *answer, struct dv_str *text);

#endif
