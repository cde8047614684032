/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MutatingWebhookConfiguration that makes the API server ask the webhook, as YAML. One entry
 * for namespaces without the label gpu-strategy, one for each set of values that mean the same,
 * and one for values that nobody knows.
 */
#ifndef DV_WEBHOOK_MANIFEST_H
#define DV_WEBHOOK_MANIFEST_H

#include "base/err.h"
#include "base/str.h"

#define DV_WEBHOOK_STRATEGIES_MAX 32u

struct dv_webhook_manifest {
    const char *name; /* of the configuration; NULL: divvy-webhook */
    const char *namespace, *service;
    uint16_t port;         /* of the service */
    const char *ca_bundle; /* PEM; NULL: left out, for a tool that puts it in */
    const char *strategies[DV_WEBHOOK_STRATEGIES_MAX]; /* lists ("mig_whole") in use; NULL ends */
};

/* Appends it. -EINVAL with a message for a strategy that is not understood; -ENOMEM. */
int dv_webhook_manifest(const struct dv_webhook_manifest *manifest, struct dv_str *text,
                        struct dv_err *err);

#endif
