/* SPDX-License-Identifier: Apache-2.0 */
/* The kubelet's messages: any bytes are one, whose ids and names can be read, or none. The first
 * byte says which. */
#include "kubelet/messages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t use_ids(const struct dv_kubelet_ids *ids)
{
    size_t n = 0;
    for (size_t i = 0; i < ids->count; i++)
        n += strlen(ids->ids[i]);
    return n;
}

static void use_request(struct dv_kubelet_request *request, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < request->count; i++) {
        if (request->ids)
            n += use_ids(&request->ids[i]);
        if (request->choices)
            n += use_ids(&request->choices[i].available) + use_ids(&request->choices[i].must);
    }
    if (n > size)
        abort();
    dv_kubelet_messages_request_done(request);
}

static void use_pods(struct dv_kubelet_pods *pods)
{
    for (size_t i = 0; i < pods->count; i++) {
        const struct dv_kubelet_held *row = &pods->rows[i];
        struct dv_kubelet_ids ids = {row->ids, row->id_count};
        if (use_ids(&ids) + strlen(row->pod) + strlen(row->pod_namespace) + strlen(row->container) +
                strlen(row->resource) ==
            SIZE_MAX)
            abort();
    }
    dv_kubelet_messages_pods_done(pods);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dv_kubelet_request request = {0};
    struct dv_kubelet_pods pods = {0};
    if (!size)
        return 0;
    int r, which = data[0] % 4;
    if (which == 0)
        r = dv_kubelet_messages_read_allocate(data + 1, size - 1, &request);
    else if (which == 1)
        r = dv_kubelet_messages_read_prefer(data + 1, size - 1, &request);
    else if (which == 2)
        r = dv_kubelet_messages_read_pre_start(data + 1, size - 1, &request);
    else
        r = dv_kubelet_messages_read_pods(data + 1, size - 1, &pods);
    if (r && r != -EBADMSG && r != -ENOMEM)
        abort();
    if (!r && which < 3)
        use_request(&request, size);
    else if (!r)
        use_pods(&pods);
    return 0;
}
