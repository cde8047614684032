/* SPDX-License-Identifier: Apache-2.0 */
/* fake_api.py as a child of a test. */
#ifndef DV_KUBE_FAKE_API_H
#define DV_KUBE_FAKE_API_H

#include "kube/config.h"

struct fake_api {
    char dir[64]; /* certificates, of this test alone */
    int pid, in, held;
    unsigned port; /* the same after another start, and nobody else's in between */
};

/* Fails the test where it does not start. */
void fake_api_start(struct fake_api *api);
void fake_api_stop(struct fake_api *api);
void fake_api_done(struct fake_api *api); /* stops it and removes its files */
/* For a host, an authority's file in `dir`, and what the user's map in a kubeconfig holds. */
struct dv_kube_config *fake_api_config(const struct fake_api *api, const char *host, const char *ca,
                                       const char *user);

#endif
