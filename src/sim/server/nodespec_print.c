/* SPDX-License-Identifier: Apache-2.0 */
#include "server/nodespec.h"

#include <stdio.h>

static void print_text(struct dv_str *out, const char *key, const char *value)
{
    dv_str_addf(out, "%s: \"", key);
    for (const char *p = value; *p; p++) {
        if (*p == '"' || *p == '\\')
            dv_str_addc(out, '\\');
        dv_str_addc(out, *p);
    }
    dv_str_add(out, "\"\n");
}

/* Exact, in the largest unit that divides it. */
static void print_bytes(struct dv_str *out, const char *key, uint64_t bytes)
{
    if (bytes % DV_GIB == 0)
        dv_str_addf(out, "%s: %lluGiB\n", key, (unsigned long long)(bytes / DV_GIB));
    else if (bytes % DV_MIB == 0)
        dv_str_addf(out, "%s: %lluMiB\n", key, (unsigned long long)(bytes / DV_MIB));
    else
        dv_str_addf(out, "%s: %llu\n", key, (unsigned long long)bytes);
}

static void print_duration(struct dv_str *out, const char *key, uint64_t ns)
{
    if (ns % DV_NS_PER_US == 0)
        dv_str_addf(out, "%s: %lluus\n", key, (unsigned long long)(ns / DV_NS_PER_US));
    else
        dv_str_addf(out, "%s: %lluns\n", key, (unsigned long long)ns);
}

static void print_gpu(struct dv_str *out, const struct dv_nodespec_gpu *g)
{
    dv_str_addf(out, "  - model: %s\n    uuid: %s\n", g->model->name, g->uuid);
    dv_str_addf(out, "    pci: \"%04x:%02x:%02x.0\"\n    numa: %u\n", g->pci_domain, g->pci_bus,
                g->pci_device, g->numa);
    if (g->mig_layout[0])
        print_text(out, "    mig", g->mig_layout);
    else
        dv_str_addf(out, "    mig: %s\n", g->mig ? "true" : "false");
    print_bytes(out, "    memory", g->memory_bytes);
    print_bytes(out, "    context", g->context_bytes);
}

/* The number of NVLinks that most pairs have is said once, for all. */
static uint8_t common_nvlinks(const struct dv_nodespec *spec)
{
    uint32_t count[256] = {0};
    uint8_t best = 0;

    for (uint32_t i = 0; i < spec->n_gpus; i++) {
        for (uint32_t k = i + 1; k < spec->n_gpus; k++)
            count[spec->link[i][k].nvlinks]++;
    }
    for (uint32_t n = 0; n < 256; n++) {
        if (count[n] > count[best])
            best = (uint8_t)n;
    }
    return best;
}

static void print_links(struct dv_str *out, const struct dv_nodespec *spec)
{
    uint8_t nvlinks = common_nvlinks(spec);

    if (spec->n_gpus < 2)
        return;
    dv_str_addf(out, "links:\n  - {gpus: all, nvlinks: %u}\n", nvlinks);
    for (uint32_t i = 0; i < spec->n_gpus; i++) {
        for (uint32_t k = i + 1; k < spec->n_gpus; k++) {
            struct dv_simlink_pair l = spec->link[i][k];
            bool same = spec->gpu[i].numa == spec->gpu[k].numa;

            if (l.nvlinks == nvlinks && l.pcie == (same ? DV_SIMLINK_NODE : DV_SIMLINK_SYS))
                continue;
            dv_str_addf(out, "  - {gpus: [%u, %u], nvlinks: %u, pcie: %s}\n", i, k, l.nvlinks,
                        dv_nodespec_link_name(l.pcie));
        }
    }
}

void dv_nodespec_print(const struct dv_nodespec *spec, struct dv_str *out)
{
    dv_str_add(out, "apiVersion: divvy/v1\nkind: SimNode\n");
    print_text(out, "name", spec->name);
    print_text(out, "hostname", spec->hostname);
    print_text(out, "driver", spec->driver);
    dv_str_addf(out, "cuda: \"%u.%u\"\n", spec->cuda_version / 1000,
                spec->cuda_version % 1000 / 10);
    dv_str_addf(out, "numa: %u\ncpus: %u\nthreads: %u\n", spec->numa_nodes, spec->cpus,
                spec->threads);
    if (spec->mps_clients)
        dv_str_addf(out, "mps_clients: %u\n", spec->mps_clients);
    dv_str_addf(out, "gpu_reset: %s\n", spec->no_reset ? "unavailable" : "available");
    dv_str_add(out, "gpus:\n");
    for (uint32_t i = 0; i < spec->n_gpus; i++)
        print_gpu(out, &spec->gpu[i]);
    print_links(out, spec);
    if (spec->n_kernels)
        dv_str_add(out, "kernels:\n");
    for (uint32_t i = 0; i < spec->n_kernels; i++) {
        print_text(out, "  - name", spec->kernel[i].name);
        print_duration(out, "    duration", spec->kernel[i].duration_ns);
        if (spec->kernel[i].sms)
            dv_str_addf(out, "    sms: %u\n", spec->kernel[i].sms);
    }
    dv_str_add(out, "engine:\n");
    print_duration(out, "  timeslice", spec->timeslice_ns);
    print_duration(out, "  switch", spec->switch_ns);
    dv_str_addf(out, "  slices: %s\n",
                spec->slices == DV_NODESPEC_SLICES_INSTANT ? "instant" : "phase");
}
