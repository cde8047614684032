/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Static SM partitions (-S; NVIDIA's MPS documentation, CUDA 13.1): a device's SMs in chunks, and
 * clients that run only in the partition that CUDA_MPS_SM_PARTITION names. The table that lspart
 * prints and the words of sm_partition are those that public programs parse.
 */
#include "mps/daemon.h"

#include <stdio.h>
#include <string.h>

/* SMs of a chunk: 4 before Hopper, 8 from there on. */
static uint32_t chunk_sms(const struct dv_sim_device *device)
{
    return device->cc_major >= 9 ? 8 : 4;
}

static uint32_t chunks_of(const struct dv_sim_device *device)
{
    return device->sms / chunk_sms(device);
}

static uint32_t used_chunks(const struct dv_mpsd *d, uint32_t device)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < DV_MPSD_PARTITIONS_MAX; i++) {
        if (d->partition[i].number && d->partition[i].device == device)
            n += d->partition[i].chunks;
    }
    return n;
}

static uint32_t clients_of(const struct dv_mpsd *d, const struct dv_mpsd_partition *p)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < d->connections; i++) {
        const struct dv_mpsd_connection *c = d->connection[i];

        n += c && c->role == DV_MPSD_CONNECTED && c->partition == p->number;
    }
    return n;
}

/* Opaque words, as long as the driver's. */
static void make_id(uint32_t number, char ret[DV_MPSCOMMAND_PARTITION])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    memset(ret, 'A', 36);
    ret[36] = '\0';
    for (int i = 0; i < 6; i++, number >>= 6)
        ret[i] = digits[number & 63];
}

static const struct dv_mpsd_partition *find(const struct dv_mpsd *d, const char *uuid,
                                            size_t length, const char *id)
{
    for (uint32_t i = 0; i < DV_MPSD_PARTITIONS_MAX; i++) {
        const struct dv_mpsd_partition *p = &d->partition[i];
        const char *device = d->device[p->device].uuid;

        if (p->number && !strcmp(p->id, id) && strlen(device) == length &&
            !strncmp(device, uuid, length))
            return p;
    }
    return NULL;
}

const struct dv_mpsd_partition *dv_mpsd_partition_find(const struct dv_mpsd *d, const char *text)
{
    const char *slash = strchr(text, '/');

    return slash ? find(d, text, (size_t)(slash - text), slash + 1) : NULL;
}

static int wrong(const struct dv_mpsd *d, struct dv_str *out)
{
    if (d->options.partitions)
        return 0;
    dv_str_add(out, "The daemon was started without static partitioning (-S)\n");
    return 1;
}

int dv_mpsd_partition_add(struct dv_mpsd *d, const struct dv_mpscommand *q, struct dv_str *out)
{
    int device = dv_mpsd_device(d, q->device);
    uint32_t at = 0, left;
    struct dv_mpsd_partition *p;

    if (wrong(d, out))
        return 1;
    if (device < 0) {
        dv_str_addf(out, "'%s' is not one of this daemon's devices\n", q->device);
        return 1;
    }
    while (at < DV_MPSD_PARTITIONS_MAX && d->partition[at].number)
        at++;
    left = chunks_of(&d->device[device]) - used_chunks(d, (uint32_t)device);
    if (q->chunks > left || at == DV_MPSD_PARTITIONS_MAX) {
        dv_str_addf(out, "sm_partition add: %u chunks asked, %u are left of %s\n", q->chunks, left,
                    d->device[device].uuid);
        return 1;
    }
    p = &d->partition[at];
    *p = (struct dv_mpsd_partition){.number = ++d->partition_number,
                                    .device = (uint32_t)device,
                                    .chunks = q->chunks,
                                    .sms = q->chunks * chunk_sms(&d->device[device])};
    make_id(p->number, p->id);
    dv_str_addf(out, "Partition %s/%s created\n", d->device[device].uuid, p->id);
    return 0;
}

int dv_mpsd_partition_remove(struct dv_mpsd *d, const struct dv_mpscommand *q, struct dv_str *out)
{
    int device = dv_mpsd_device(d, q->device);
    const char *uuid = device < 0 ? q->device : d->device[device].uuid;
    const struct dv_mpsd_partition *p = find(d, uuid, strlen(uuid), q->partition);
    uint32_t n;

    if (wrong(d, out))
        return 1;
    if (!p) {
        dv_str_addf(out, "There is no partition %s of %s\n", q->partition, q->device);
        return 1;
    }
    n = clients_of(d, p);
    if (n) {
        dv_str_addf(out, "sm_partition rm: %u clients are in it\n", n);
        return 1;
    }
    d->partition[p - d->partition].number = 0;
    dv_str_addf(out, "Partition %s/%s removed\n", uuid, q->partition);
    return 0;
}

static void list_device(const struct dv_mpsd *d, uint32_t device, struct dv_str *out)
{
    const struct dv_sim_device *of = &d->device[device];
    uint32_t used = used_chunks(d, device), each = chunk_sms(of);

    dv_str_addf(out, "%-14.12s %-38s %-8u %-8u %-6u %-6u\n", of->uuid, "", chunks_of(of) - used,
                used, of->sms - used * each, used * each);
    for (uint32_t i = 0; i < DV_MPSD_PARTITIONS_MAX; i++) {
        const struct dv_mpsd_partition *p = &d->partition[i];

        if (p->number && p->device == device)
            dv_str_addf(out, "%-14.12s %-38s %-8s %-8u %-6s %-6u %s\n", of->uuid, p->id, "",
                        p->chunks, "", p->sms, clients_of(d, p) ? "Yes" : "No");
    }
}

int dv_mpsd_partition_list(struct dv_mpsd *d, struct dv_str *out)
{
    if (wrong(d, out))
        return 1;
    dv_str_addf(out, "%-14s %-38s %-8s %-8s %-6s %-6s %s\n", "GPU", "Partition", "free", "used",
                "free", "used", "clients");
    dv_str_addf(out, "%-14s %-38s %-8s %-8s %-6s %-6s\n", "", "", "chunks", "chunks", "SM", "SM");
    for (uint32_t i = 0; i < d->n_devices; i++)
        list_device(d, i, out);
    return 0;
}
