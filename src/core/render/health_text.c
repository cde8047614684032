/* SPDX-License-Identifier: Apache-2.0 */
#include "render/health_text.h"

#include "base/units.h"

#include <inttypes.h>

static void add_cause(const struct dv_health_verdict *v, struct dv_str *text)
{
    switch (v->cause) {
    case DV_HEALTH_NONE:
        break;
    case DV_HEALTH_NOT_SEEN:
        dv_str_add(text, "the driver has not been asked yet");
        break;
    case DV_HEALTH_LINKS_DOWN:
        dv_str_addf(text, "%" PRIu64 " of its NVLinks went down", v->n);
        break;
    case DV_HEALTH_ECC:
        dv_str_addf(text, "%" PRIu64 " memory error%s could not be corrected", v->n,
                    v->n == 1 ? "" : "s");
        break;
    case DV_HEALTH_XID:
    case DV_HEALTH_XID_RESET:
        dv_str_addf(text, "XID %" PRIu64, v->n);
        break;
    case DV_HEALTH_PAGES_PENDING:
        dv_str_add(text, "bad pages of memory are to be retired");
        break;
    case DV_HEALTH_ROWS_PENDING:
        dv_str_add(text, "bad rows of memory are to be replaced");
        break;
    case DV_HEALTH_ROWS_FAILED:
        dv_str_add(text, "bad rows of memory could not be replaced");
        break;
    case DV_HEALTH_LOST:
        dv_str_add(text, "the GPU is lost or needs a reset");
        break;
    case DV_HEALTH_DRIVER:
        dv_str_add(text, "the driver does not answer");
        break;
    }
}

static void add_remedy(const struct dv_health_verdict *v, struct dv_str *text)
{
    bool said = v->cause == DV_HEALTH_LOST || v->cause == DV_HEALTH_DRIVER;
    if (v->remedy == DV_HEALTH_TIME)
        dv_str_addf(text, "; over, held out for %" PRIu64 " s", v->hold_ns / DV_NS_PER_S);
    else if (v->remedy == DV_HEALTH_RESET && !said)
        dv_str_add(text, "; until the GPU is reset");
    else if (v->remedy == DV_HEALTH_REPLACE)
        dv_str_add(text, "; the card is to be replaced");
}

void dv_health_text(const struct dv_health_verdict *verdict, struct dv_str *text)
{
    add_cause(verdict, text);
    add_remedy(verdict, text);
}
