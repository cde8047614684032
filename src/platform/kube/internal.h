/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share and others do not see. */
#ifndef DV_KUBE_INTERNAL_H
#define DV_KUBE_INTERNAL_H

#include "base/rng.h"
#include "kube/client.h"
#include "kube/transfer.h"
#include "render/output.h"

struct dv_loop *dv_kube_client_loop(struct dv_kube_client *client);
struct dv_kube_pump *dv_kube_client_pump(struct dv_kube_client *client);
struct dv_rng *dv_kube_client_rng(struct dv_kube_client *client);
/* Every exchange that ended, also those of watches; of a watch also that the server sends. */
void dv_kube_client_note(struct dv_kube_client *client, const struct dv_kube_outcome *outcome);
/* Fills a reply: error, words, body; the body must be put (json_object_put). */
void dv_kube_client_read(const struct dv_kube_outcome *outcome, const char *what,
                         struct dv_kube_reply *ret);
/* The pause before try number `tries` (from 1): first * 2^(tries-1), at most cap, and of that a
 * random part between a half and all. */
uint64_t dv_kube_client_pause_ms(struct dv_rng *rng, uint32_t tries, uint64_t first, uint64_t cap);
/* The same call, its body given as a tree, which is freed in any case. */
int dv_kube_client_send(struct dv_kube_client *client, struct dv_kube_request *request,
                        struct dv_output **body, dv_kube_callback *cb, void *arg,
                        struct dv_kube_call **ret);
/* "/api/v1/namespaces/NS/pods/NAME": formats, each %s percent-encoded. -ENOMEM. */
int dv_kube_client_path(struct dv_str *ret, const char *fmt, ...) dv_printf(2, 3);

#endif
