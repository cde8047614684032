/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Price files (docs/reference/price-file.md), YAML or JSON:
 *
 *     apiVersion: divvy/v1
 *     kind: PriceList
 *     currency: USD
 *     timezone: Europe/Berlin
 *     prices:
 *       - perGpuHour: 3.06
 *         model: A100-80GB
 *     fees:
 *       - {tenant: team-a, perMonth: 1000}
 *
 *     dv_cleanup(dv_price_list_freep) struct dv_price_list *prices = NULL;
 *     r = dv_pricefile_read("prices.yaml", text, len, NULL, &prices, &info, &err);
 *
 * Unknown keys are errors with the nearest known one; messages name file, line, column and key.
 */
#ifndef DV_PRICEFILE_PRICEFILE_H
#define DV_PRICEFILE_PRICEFILE_H

#include "account/price.h"
#include "base/str.h"

#define DV_PRICEFILE_MAX 524288u
#define DV_PRICEFILE_WARNINGS_MAX 16u

struct dv_pricefile_info {
    uint32_t n_warnings; /* legal, but not what its author may think */
    struct {
        uint32_t line;
        char text[240];
    } warnings[DV_PRICEFILE_WARNINGS_MAX];
};

/*
 * zone_dir: as in dv_zone_load(); NULL: the system's database. 0; -EINVAL, -E2BIG with a message;
 * -ENOMEM. What is returned has passed dv_price_check().
 */
int dv_pricefile_read(const char *name, const char *text, size_t len, const char *zone_dir,
                      struct dv_price_list **ret, struct dv_pricefile_info *ret_info,
                      struct dv_err *err);

/* The same of a file. Errors of open and read are passed on with a message that names the file. */
int dv_pricefile_load(const char *path, struct dv_price_list **ret,
                      struct dv_pricefile_info *ret_info, struct dv_err *err);

/* What a bill without a price file says: where one is looked for and how to write one. */
extern const char dv_pricefile_help[];

#endif
