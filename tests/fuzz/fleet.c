/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes and pods as CSV: the text before a line "--" is nodes, what follows is pods. What is read
 * is sound: every pod can be asked for, and what is found can be taken and given back.
 */
#include "fleetfile/nodes.h"
#include "fleetfile/pods.h"
#include "policy/place/place.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PODS 32u

static void check_message(const char *text)
{
    if (!*text)
        abort();
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 127)
            abort();
}

static void try_pods(struct dv_cluster *c, const struct dv_fleet_pods *pods, uint8_t which)
{
    size_t n = 0;
    while (dv_place_policy_at(n))
        n++;
    struct dv_place_config config = {.cluster = c, .policy = dv_place_policy_at(n ? which % n : 0)};
    dv_cleanup(dv_place_freep) struct dv_place *place = NULL;
    if (dv_place_new(&config, &place, NULL) < 0)
        return;
    struct dv_cluster_sum before = dv_cluster_free_now(c);
    struct dv_place_verdict v[PODS];
    uint32_t placed[PODS], count = 0;
    for (uint32_t i = 0; i < pods->n && i < PODS; i++) {
        int r = dv_place_find(place, &pods->v[i], &v[count]);
        if (r < 0)
            abort();
        if (r)
            continue;
        if (dv_place_take(place, v[count].node, &pods->v[i], &v[count].taking) < 0)
            abort();
        placed[count++] = i;
    }
    for (uint32_t i = 0; i < count; i++)
        if (dv_place_give_back(place, v[i].node, &pods->v[placed[i]], &v[i].taking) < 0)
            abort();
    struct dv_cluster_sum after = dv_cluster_free_now(c);
    if (memcmp(&before, &after, sizeof before) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dv_err err = {{0}};
    struct dv_fleet_nodes_order order = {.by = DV_FLEET_ORDER_SEED, .seed = size};
    dv_cleanup(dv_csv_freep) struct dv_csv *nodes = NULL;
    dv_cleanup(dv_csv_freep) struct dv_csv *pods = NULL;
    dv_cleanup(dv_cluster_freep) struct dv_cluster *cluster = NULL;
    dv_cleanup(dv_fleet_pods_done) struct dv_fleet_pods read = {0};
    const uint8_t *mark = memmem(data, size, "\n--\n", 4);
    size_t first = mark ? (size_t)(mark - data) : size, rest = mark ? first + 4 : size;
    if (dv_csv_open_memory("nodes", data, first, &nodes, &err) < 0 ||
        dv_fleet_nodes_from(nodes, &order, &cluster, &err) < 0 ||
        dv_csv_open_memory("pods", data + rest, size - rest, &pods, &err) < 0 ||
        dv_fleet_pods_from(pods, cluster, size % 2, &read, &err) < 0) {
        check_message(err.msg);
        return 0;
    }
    try_pods(cluster, &read, data[size - 1]);
    return 0;
}
