/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVML requests to the simulator, well formed and not, on a node of an A100 and a T4. The input:
 * records of an operation, where it goes (GPU, instances) and its arguments. Records from 0xf0 on
 * make it a container's connection and show it a device. After each request the MIG layout must be
 * one that the hardware accepts, and the reply must keep to its bounds.
 */
#include "abi_sim_nvml.h"
#include "server/mig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECORDS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *at;
    size_t left;
};

static uint8_t take(struct input *in)
{
    if (!in->left)
        return 0;
    in->left--;
    return *in->at++;
}

/* A small number, now and then "none", seldom a huge one. */
static uint32_t number(struct input *in)
{
    uint8_t byte = take(in);

    if (byte == 0xff)
        return DV_SIM_NVML_NONE;
    return byte == 0xfe ? 0x80000000u + take(in) : byte;
}

static void require(int holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "fuzz: %s\n", what);
    abort();
}

static struct dv_simnode *make_node(void)
{
    static const char *const models[] = {"A100-40GB", "T4"};
    static struct dv_mig_geometry geometry;
    static struct dv_simnode node;

    memset(&node, 0, sizeof(node));
    node.n_gpus = DV_ARRAY_SIZE(models);
    node.numa_nodes = 1;
    node.cpus = 8;
    node.now_ns = 1;
    for (uint32_t i = 0; i < node.n_gpus; i++) {
        struct dv_simgpu *g = &node.gpu[i];
        g->index = i;
        g->model = dv_gpu_model_find(models[i], NULL);
        snprintf(g->uuid, sizeof(g->uuid), "GPU-%u", i);
        if (g->model->mig) {
            geometry = *g->model->mig;
            dv_mig_geometry_estimate(&geometry, g->model->memory_bytes, g->model->sm);
            g->mig = &geometry;
        }
    }
    return &node;
}

/* What only who has the node to himself may do. */
static int changes(uint16_t op)
{
    return op == DV_SIM_NVML_SET || op == DV_SIM_NVML_SET_MIG || op == DV_SIM_NVML_RESET ||
           op == DV_SIM_NVML_GI_CREATE || op == DV_SIM_NVML_GI_DESTROY ||
           op == DV_SIM_NVML_CI_CREATE || op == DV_SIM_NVML_CI_DESTROY ||
           op == DV_SIM_NVML_LIMITS_SET || op == DV_SIM_NVML_ACCOUNTING_CLEAR;
}

/* From here on it is a container's connection, which sees this device (and those of before). */
static void show(struct dv_simclient *client, struct input *in)
{
    uint32_t gpu = take(in) % 2, gi = number(in), ci = number(in);

    client->view.limited = true;
    dv_simview_add(&client->view, gpu, gi, gi == DV_SIM_NVML_NONE ? gi : ci);
}

static void one(struct dv_simnode *node, struct dv_simclient *client, struct input *in)
{
    static struct dv_simreply reply;
    struct {
        struct dv_sim_nvml_request request;
        union {
            struct dv_sim_nvml_wait wait;
            struct dv_sim_nvml_limits limits;
        };
    } q = {0};
    uint8_t what = take(in);
    uint16_t op = (uint16_t)(DV_SIM_OP_NVML + what % 33);
    bool limits = op == DV_SIM_NVML_LIMITS_SET || op == DV_SIM_NVML_LIMITS_GET;
    uint32_t size = sizeof(q.request);
    struct dv_mig_instance have[DV_MIG_INSTANCES_MAX];

    if (what >= 0xf0) {
        show(client, in);
        return;
    }
    q.request.gpu = number(in);
    q.request.gi = number(in);
    q.request.ci = number(in);
    q.request.a = number(in);
    q.request.b = number(in);
    q.request.c = number(in);
    q.request.value = number(in);
    for (size_t i = 0; i < 4; i++)
        q.request.text[i] = (char)take(in);
    if (limits) {
        memcpy(q.limits.cgroup, "/sys/fs/cgroup", 14);
        for (size_t i = 14; i < 20; i++)
            q.limits.cgroup[i] = (char)take(in);
        q.limits.soft_bytes = number(in);
        q.limits.hard_bytes = number(in);
        size += sizeof(q.limits);
    } else if (op == DV_SIM_NVML_EVENTS_WAIT) {
        q.wait.after = number(in);
        q.wait.timeout_ms = number(in);
        q.wait.types[0] = take(in);
        size += sizeof(q.wait);
    }
    if (take(in) == 0xff)
        size -= take(in) % 16;
    memset(&reply, 0, offsetof(struct dv_simreply, data));
    int r = dv_simnvml_handle(node, client, op, &q, size, &reply);
    require(r <= DV_SIM_AGAIN, "an answer that is none");
    require(reply.size <= sizeof(reply.data), "a reply beyond its bounds");
    require(r != 0 || reply.status == DV_NVML_SUCCESS || reply.size == 0, "an error with payload");
    require(r != 0 || !client->view.limited || !changes(op) || reply.status != DV_NVML_SUCCESS,
            "a container changed the node");
    for (uint32_t i = 0; i < node->n_gpus; i++) {
        size_t n = dv_simmig_instances(&node->gpu[i], have);
        require(n == 0 || node->gpu[i].mig_current, "instances without MIG mode");
        require(!node->gpu[i].mig || dv_mig_check(node->gpu[i].mig, have, n, NULL) == DV_MIG_OK,
                "a layout that no hardware has");
    }
    node->now_ns += DV_NS_PER_MS;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct dv_simnode *node = make_node();
    struct dv_simclient client = {.kind = DV_SIM_CLIENT_NVML};

    for (size_t i = 0; i < RECORDS_MAX && in.left; i++)
        one(node, &client, &in);
    dv_simnvml_client_gone(node, &client);
    return 0;
}
