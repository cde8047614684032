/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of offers share. */
#ifndef DV_POLICY_OFFERS_INSIDE_H
#define DV_POLICY_OFFERS_INSIDE_H

#include "policy/offers.h"

/* Resources by name, and the order of their units by id. 0 or -ENOMEM. */
int dv_offers_sort(struct dv_offers *offers);

#endif
