/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as each kind of name that core/model reads: taken and printed back the same, or refused
 * with a message that a terminal can show. */
#include "model/claim.h"
#include "model/gpu_model.h"
#include "model/topology.h"
#include "policy/health_policy.h"
#include "policy/labels.h"

#include <stdlib.h>
#include <string.h>

static void refused(const struct dv_err *err)
{
    if (!err->msg[0])
        abort();
}

static void mig_name(const char *text)
{
    struct dv_err err = {{0}};
    struct dv_mig_name a, b;
    char buf[DV_MIG_NAME], again[DV_MIG_NAME];
    if (dv_mig_name_parse(text, &a, &err) < 0) {
        refused(&err);
        return;
    }
    if (dv_mig_name_parse(dv_mig_name_format(&a, buf), &b, &err) < 0 ||
        strcmp(buf, dv_mig_name_format(&b, again)) != 0)
        abort();
}

static void tenant(const char *text)
{
    struct dv_err err = {{0}};
    if (!dv_tenant_check_name(text, &err))
        return;
    refused(&err);
    for (const char *p = err.msg; *p; p++)
        if (*p < ' ' || *p > '~')
            abort();
}

static void selector(const char *text)
{
    static const struct dv_gpu gpu = {.uuid = "GPU-0", .model = "Tesla T4"};
    static const struct dv_device device = {.uuid = "MIG-0"};
    struct dv_err err = {{0}};
    struct dv_selector s;
    if (dv_claim_selector_parse(text, &s, &err) < 0)
        refused(&err);
    else
        dv_claim_selector_matches(&s, &gpu, &device);
}

static void link_and_address(const char *text)
{
    struct dv_err err = {{0}};
    struct dv_link link, same;
    char buf[DV_LINK_TEXT], pci[17], again[17];
    if (dv_topology_link_parse(text, &link, &err) < 0)
        refused(&err);
    else if (dv_topology_link_parse(dv_topology_link_format(link, buf), &same, &err) < 0 ||
             dv_topology_link_compare(link, same))
        abort();
    if (dv_topology_pci_parse(text, pci, &err) < 0)
        refused(&err);
    else if (dv_topology_pci_parse(pci, again, &err) < 0 || strcmp(pci, again) != 0)
        abort();
}

static bool is_edge(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Whatever it is made of, a label's value is one. */
static void label(const char *text)
{
    char out[DV_LABELS_VALUE], again[DV_LABELS_VALUE];
    dv_labels_sanitise(text, sizeof out - 1, out);
    dv_labels_sanitise(out, sizeof again - 1, again);
    size_t len = strlen(out);
    if (len >= sizeof out || strcmp(out, again) != 0 ||
        (len && (!is_edge(out[0]) || !is_edge(out[len - 1]))))
        abort();
}

static void health_switches(const char *text)
{
    struct dv_health_switches s;
    char bad[DV_HEALTH_WORD];
    dv_health_switches_read(text, text, &s, bad);
    if (strlen(bad) >= sizeof bad || s.all_off)
        abort(); /* what is enabled too is not off */
    for (uint64_t xid = 0; xid < DV_HEALTH_XIDS + 2; xid++)
        dv_health_switches_counts(&s, xid);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dv_err err = {{0}};
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = 0;
    mig_name(text);
    tenant(text);
    selector(text);
    link_and_address(text);
    label(text);
    health_switches(text);
    if (!dv_gpu_model_find(text, &err))
        refused(&err);
    free(text);
    return 0;
}
