/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node file. Every key but apiVersion, kind and gpus may be left out.
 *
 *     apiVersion: divvy/v1
 *     kind: SimNode
 *     name: lab                     # file's name without directory and ending
 *     hostname: lab-1               # the name
 *     driver: "580.95.05"
 *     cuda: "13.0"                  # 11.0 .. 13.9
 *     numa: 2                       # NUMA nodes of the host, 1 .. 16
 *     cpus: 128                     # hardware threads, 1 .. 4096, split evenly among those nodes
 *     threads: 2                    # of each core, 1 .. 8
 *     mps_clients: 48               # most clients of an MPS server on one device
 *     gpu_reset: unavailable        # available: the machine can reset a GPU
 *     gpus:                         # 1 .. 16 GPUs in all
 *       - model: A100-80GB          # a name of `divvy mig profiles`
 *         count: 4                  # that many alike; not together with uuid and pci
 *         numa: 0
 *         mig: "3g.40gb,2g.20gb"    # or true, false
 *         memory: 80GiB
 *         context: 304MiB           # what one CUDA context costs
 *       - {model: T4, uuid: GPU-..., pci: "0000:07:00.0"}
 *     links:                        # later ones override earlier ones
 *       - {gpus: all, nvlinks: 12}
 *       - {gpus: [0, 1], pcie: PXB} # SYS, NODE, PHB, PXB, PIX
 *     kernels:                      # the first that matches counts
 *       - {name: "gemm*", duration: 50us, sms: 108}
 *     engine: {timeslice: 2048us, switch: 60us, slices: phase}
 */
#include "base/units.h"
#include "server/nodespec.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define KEYS_MAX 16

struct reader {
    const char *file;
    yaml_document_t doc;
    struct dv_nodespec *spec;
    struct dv_err *err;
};

/* One key of a mapping: what it is called and who reads it. */
struct key {
    const char *name;
    int (*read)(struct reader *in, const char *name, yaml_node_t *value, void *into);
};

/* ---- errors and scalars ---- */

static int bad(struct reader *in, const yaml_node_t *at, const char *fmt, ...) dv_printf(3, 4);

static int bad(struct reader *in, const yaml_node_t *at, const char *fmt, ...)
{
    char text[320];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return dv_err_set(in->err, -EINVAL, "%.120s:%zu:%zu: %s", in->file, at->start_mark.line + 1,
                      at->start_mark.column + 1, text);
}

static const char *scalar(const yaml_node_t *n)
{
    const char *text = (const char *)n->data.scalar.value;
    return n->type == YAML_SCALAR_NODE && strlen(text) == n->data.scalar.length ? text : NULL;
}

static int read_text(struct reader *in, const char *name, yaml_node_t *value, char *ret,
                     size_t size)
{
    const char *text = scalar(value);

    if (!text || !text[0])
        return bad(in, value, "%s: a text is wanted here", name);
    if (strlen(text) >= size)
        return bad(in, value, "%s: at most %zu bytes", name, size - 1);
    for (const char *p = text; *p; p++) {
        if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f)
            return bad(in, value, "%s: only printable ASCII is allowed", name);
    }
    memcpy(ret, text, strlen(text) + 1);
    return 0;
}

static int read_integer(struct reader *in, const char *name, yaml_node_t *value, int64_t min,
                        int64_t max, uint32_t *ret)
{
    const char *text = scalar(value);
    struct dv_err err = {0};
    int64_t n;

    if (!text)
        return bad(in, value, "%s: a number is wanted here", name);
    if (dv_units_parse_integer(text, name, min, max, &n, &err) < 0)
        return bad(in, value, "%s", err.msg);
    *ret = (uint32_t)n;
    return 0;
}

static int read_bytes(struct reader *in, const char *name, yaml_node_t *value, uint64_t *ret)
{
    const char *text = scalar(value);
    struct dv_err err = {0};

    if (!text)
        return bad(in, value, "%s: a size like 40GiB is wanted here", name);
    if (dv_units_parse_bytes(text, ret, &err) < 0)
        return bad(in, value, "%s: %s", name, err.msg);
    return 0;
}

static int read_duration(struct reader *in, const char *name, yaml_node_t *value, uint64_t min,
                         uint64_t max, uint64_t *ret)
{
    const char *text = scalar(value);
    struct dv_err err = {0};
    char low[DV_UNITS_TEXT], high[DV_UNITS_TEXT];
    uint64_t ns;

    if (!text)
        return bad(in, value, "%s: a duration like 50us is wanted here", name);
    if (dv_units_parse_duration(text, &ns, &err) < 0)
        return bad(in, value, "%s: %s", name, err.msg);
    if (ns < min || ns > max)
        return bad(in, value, "%s: %s is not within %s .. %s", name, text,
                   dv_units_format_duration(min, low), dv_units_format_duration(max, high));
    *ret = ns;
    return 0;
}

/* ---- mappings ---- */

static int read_pair(struct reader *in, const char *where, const struct key *keys, size_t n_keys,
                     yaml_node_pair_t *pair, void *into, uint32_t *seen)
{
    yaml_node_t *key = yaml_document_get_node(&in->doc, pair->key);
    yaml_node_t *value = yaml_document_get_node(&in->doc, pair->value);
    const char *text = scalar(key);
    const char *names[KEYS_MAX];
    const char *near;

    for (size_t i = 0; text && i < n_keys; i++) {
        if (strcmp(text, keys[i].name) != 0) {
            names[i] = keys[i].name;
            continue;
        }
        if (*seen & 1u << i)
            return bad(in, key, "%s is given twice", text);
        *seen |= 1u << i;
        return keys[i].read(in, text, value, into);
    }
    near = text ? dv_str_nearest(text, names, n_keys) : NULL;
    if (near)
        return bad(in, key, "unknown key '%.40s' in %s; did you mean '%s'?", text, where, near);
    return bad(in, key, "unknown key '%.40s' in %s", text ? text : "", where);
}

static int read_mapping(struct reader *in, const char *where, const struct key *keys, size_t n_keys,
                        yaml_node_t *map, void *into, uint32_t *ret_seen)
{
    uint32_t seen = 0;

    if (map->type != YAML_MAPPING_NODE)
        return bad(in, map, "%s: 'key: value' lines are wanted here", where);
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top;
         p++) {
        int r = read_pair(in, where, keys, n_keys, p, into, &seen);
        if (r < 0)
            return r;
    }
    *ret_seen = seen;
    return 0;
}

static int read_list(struct reader *in, const char *name, yaml_node_t *list, void *into,
                     int (*read)(struct reader *in, yaml_node_t *item, void *into))
{
    if (list->type != YAML_SEQUENCE_NODE)
        return bad(in, list, "%s: a list ('- ...') is wanted here", name);
    for (yaml_node_item_t *i = list->data.sequence.items.start; i < list->data.sequence.items.top;
         i++) {
        int r = read(in, yaml_document_get_node(&in->doc, *i), into);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- gpus ---- */

struct gpu_entry {
    const struct dv_gpu_model *model;
    uint32_t count, numa;
    bool has_pci, mig;
    struct dv_nodespec_gpu gpu;
    yaml_node_t *mig_at;
};

static int read_model(struct reader *in, const char *name, yaml_node_t *value, void *into)
{
    struct gpu_entry *e = into;
    const char *text = scalar(value);
    struct dv_err err = {0};

    e->model = text ? dv_gpu_model_find(text, &err) : NULL;
    if (!e->model)
        return bad(in, value, "%s: %s", name, text ? err.msg : "a GPU model is wanted here");
    return 0;
}

static int read_count(struct reader *in, const char *name, yaml_node_t *value, void *into)
{
    return read_integer(in, name, value, 1, DV_SIM_GPUS_MAX, &((struct gpu_entry *)into)->count);
}

static int read_gpu_numa(struct reader *in, const char *name, yaml_node_t *value, void *into)
{
    return read_integer(in, name, value, 0, DV_NODESPEC_NUMA_MAX - 1,
                        &((struct gpu_entry *)into)->numa);
}

static bool is_uuid(const char *text)
{
    static const char form[] = "GPU-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

    if (strlen(text) != sizeof(form) - 1)
        return false;
    for (size_t i = 0; form[i]; i++) {
        if (form[i] == 'x' ? !strchr("0123456789abcdef", text[i]) : text[i] != form[i])
            return false;
    }
    return true;
}

static int read_uuid(struct reader *in, const char *name, yaml_node_t *value, void *into)
{
    struct gpu_entry *e = into;
    const char *text = scalar(value);

    if (!text || !is_uuid(text))
        return bad(in, value, "%s: 'GPU-' and a UUID in small letters is wanted here", name);
    memcpy(e->gpu.uuid, text, strlen(text) + 1);
    return 0;
}

static int read_pci(struct reader *in, const char *name, yaml_node_t *value, void *into)
{
    struct gpu_entry *e = into;
    const char *text = scalar(value);
    int end = 0;

    if (!text || strspn(text, "0123456789abcdefABCDEF:.") != 12 || text[12] ||
        sscanf(text, "%4x:%2x:%2x.0%n", &e->gpu.pci_domain, &e->gpu.pci_bus, &e->gpu.pci_device,
               &end) != 3 ||
        end != 12 || e->gpu.pci_device > 0x1f)
        return bad(in, value, "%s: an address like \"0000:07:00.0\" is wanted here", name);
    e->has_pci = true;
    return 0;
}

static int read_mig(struct reader *in, const char *name, yaml_node_t *value, void *into)
{
    struct gpu_entry *e = into;
    const char *text = scalar(value);

    e->mig_at = value;
    e->mig = true;
    if (text && !strcmp(text, "true"))
        return 0;
    if (text && !strcmp(text, "false")) {
        e->mig = false;
        return 0;
    }
    return read_text(in, name, value, e->gpu.mig_layout, sizeof(e->gpu.mig_layout));
}

static int read_memory(struct reader *in, const char *name, yaml_node_t *value, void *into)
{
    return read_bytes(in, name, value, &((struct gpu_entry *)into)->gpu.memory_bytes);
}

static int read_context(struct reader *in, const char *name, yaml_node_t *value, void *into)
{
    return read_bytes(in, name, value, &((struct gpu_entry *)into)->gpu.context_bytes);
}

/* A layout names profiles of the model; whether they fit together is checked at the start. */
static int check_mig(struct reader *in, const struct gpu_entry *e)
{
    char layout[sizeof(e->gpu.mig_layout)];
    char *rest = NULL;
    struct dv_err err = {0};

    if (!e->mig)
        return 0;
    if (!e->model->mig)
        return bad(in, e->mig_at, "mig: %s has no MIG", e->model->name);
    memcpy(layout, e->gpu.mig_layout, sizeof(layout));
    for (char *p = strtok_r(layout, ",", &rest); p; p = strtok_r(NULL, ",", &rest)) {
        if (!dv_mig_profile_find(e->model->mig, p, &err))
            return bad(in, e->mig_at, "mig: %.250s", err.msg);
    }
    return 0;
}

static int check_gpu(struct reader *in, yaml_node_t *item, const struct gpu_entry *e)
{
    if (!e->model)
        return bad(in, item, "a GPU needs a model");
    if (e->count > 1 && (e->gpu.uuid[0] || e->has_pci))
        return bad(in, item, "count: GPUs with a uuid or pci address are listed one by one");
    if (e->gpu.memory_bytes &&
        e->gpu.memory_bytes <= e->model->reserved_bytes + e->model->context_bytes)
        return bad(in, item, "memory: not enough for the driver's own part and one context");
    return check_mig(in, e);
}

static int add_gpu(struct reader *in, yaml_node_t *item, const struct gpu_entry *e)
{
    struct dv_err err = {0};
    struct dv_nodespec_gpu *g;

    if (dv_nodespec_add(in->spec, e->model, &err) < 0)
        return bad(in, item, "%s", err.msg);
    g = &in->spec->gpu[in->spec->n_gpus - 1];
    g->numa = e->numa;
    g->mig = e->mig;
    memcpy(g->mig_layout, e->gpu.mig_layout, sizeof(g->mig_layout));
    memcpy(g->uuid, e->gpu.uuid, sizeof(g->uuid));
    if (e->has_pci) {
        g->pci_domain = e->gpu.pci_domain;
        g->pci_bus = e->gpu.pci_bus;
        g->pci_device = e->gpu.pci_device;
    }
    if (e->gpu.memory_bytes)
        g->memory_bytes = e->gpu.memory_bytes;
    if (e->gpu.context_bytes)
        g->context_bytes = e->gpu.context_bytes;
    return 0;
}

static int read_gpu(struct reader *in, yaml_node_t *item, void *into)
{
    static const struct key keys[] = {{"model", read_model},   {"count", read_count},
                                      {"uuid", read_uuid},     {"numa", read_gpu_numa},
                                      {"pci", read_pci},       {"mig", read_mig},
                                      {"memory", read_memory}, {"context", read_context}};
    struct gpu_entry e = {.count = 1};
    uint32_t seen = 0;
    int r = read_mapping(in, "gpus", keys, DV_ARRAY_SIZE(keys), item, &e, &seen);

    if (r == 0)
        r = check_gpu(in, item, &e);
    for (uint32_t i = 0; r == 0 && i < e.count; i++)
        r = add_gpu(in, item, &e);
    return r;
}

static int read_gpus(struct reader *in, const char *name, yaml_node_t *value, void *into)
{
    return read_list(in, name, value, NULL, read_gpu);
}

/* ---- links: kept until all GPUs are known ---- */

struct link_entry {
    uint32_t gpus; /* bits */
    bool has_nvlinks;
    uint32_t nvlinks;
    uint8_t pcie; /* 0 = not given */
};

static int read_link_gpu(struct reader *in, yaml_node_t *item, void *into)
{
    struct link_entry *e = into;
    uint32_t gpu = 0;
    int r = read_integer(in, "gpus", item, 0, (int64_t)in->spec->n_gpus - 1, &gpu);

    if (r == 0 && e->gpus & 1u << gpu)
        return bad(in, item, "gpus: %u is given twice", gpu);
    if (r == 0)
        e->gpus |= 1u << gpu;
    return r;
}

static int read_link_gpus(struct reader *in, const char *name, yaml_node_t *value, void *into)
{
    struct link_entry *e = into;
    const char *text = scalar(value);

    if (text && !strcmp(text, "all")) {
        e->gpus = (1u << in->spec->n_gpus) - 1;
        return 0;
    }
    return read_list(in, name, value, e, read_link_gpu);
}

static int read_nvlinks(struct reader *in, const char *name, yaml_node_t *value, void *into)
{
    struct link_entry *e = into;
    e->has_nvlinks = true;
    return read_integer(in, name, value, 0, 18, &e->nvlinks);
}

static int read_pcie(struct reader *in, const char *name, yaml_node_t *value, void *into)
{
    const char *text = scalar(value);

    for (uint8_t i = DV_SIMLINK_SYS; text && i < DV_SIMLINKS; i++) {
        if (!strcmp(text, dv_nodespec_link_name(i))) {
            ((struct link_entry *)into)->pcie = i;
            return 0;
        }
    }
    return bad(in, value, "%s: one of SYS, NODE, PHB, PXB, PIX is wanted here", name);
}

static int read_link(struct reader *in, yaml_node_t *item, void *into)
{
    static const struct key keys[] = {
        {"gpus", read_link_gpus}, {"nvlinks", read_nvlinks}, {"pcie", read_pcie}};
    struct link_entry e = {0};
    uint32_t seen = 0;
    int r = read_mapping(in, "links", keys, DV_ARRAY_SIZE(keys), item, &e, &seen);

    if (r < 0)
        return r;
    if (__builtin_popcount(e.gpus) < 2)
        return bad(in, item, "gpus: at least two GPUs are joined by a link");
    for (uint32_t i = 0; i < in->spec->n_gpus; i++) {
        for (uint32_t k = 0; k < in->spec->n_gpus; k++) {
            if (i == k || !(e.gpus & 1u << i) || !(e.gpus & 1u << k))
                continue;
            if (e.has_nvlinks)
                in->spec->link[i][k].nvlinks = (uint8_t)e.nvlinks;
            if (e.pcie)
                in->spec->link[i][k].pcie = e.pcie;
        }
    }
    return 0;
}

/* ---- kernels and engine ---- */

static int read_kernel_name(struct reader *in, const char *name, yaml_node_t *value, void *into)
{
    struct dv_nodespec_kernel *k = into;
    return read_text(in, name, value, k->name, sizeof(k->name));
}

static int read_kernel_duration(struct reader *in, const char *name, yaml_node_t *value, void *into)
{
    return read_duration(in, name, value, 1, 3600 * DV_NS_PER_S,
                         &((struct dv_nodespec_kernel *)into)->duration_ns);
}

static int read_kernel_sms(struct reader *in, const char *name, yaml_node_t *value, void *into)
{
    return read_integer(in, name, value, 1, 1024, &((struct dv_nodespec_kernel *)into)->sms);
}

static int read_kernel(struct reader *in, yaml_node_t *item, void *into)
{
    static const struct key keys[] = {
        {"name", read_kernel_name}, {"duration", read_kernel_duration}, {"sms", read_kernel_sms}};
    struct dv_nodespec_kernel k = {0};
    uint32_t seen = 0;
    int r;

    if (in->spec->n_kernels >= DV_NODESPEC_KERNELS_MAX)
        return bad(in, item, "kernels: at most %u", DV_NODESPEC_KERNELS_MAX);
    r = read_mapping(in, "kernels", keys, DV_ARRAY_SIZE(keys), item, &k, &seen);
    if (r < 0)
        return r;
    if (!k.name[0] || !k.duration_ns)
        return bad(in, item, "a kernel needs a name and a duration");
    in->spec->kernel[in->spec->n_kernels++] = k;
    return 0;
}

static int read_kernels(struct reader *in, const char *name, yaml_node_t *value, void *into)
{
    return read_list(in, name, value, NULL, read_kernel);
}

static int read_timeslice(struct reader *in, const char *name, yaml_node_t *value, void *into)
{
    return read_duration(in, name, value, DV_NS_PER_US, 10 * DV_NS_PER_S, &in->spec->timeslice_ns);
}

static int read_switch(struct reader *in, const char *name, yaml_node_t *value, void *into)
{
    return read_duration(in, name, value, 0, 10 * DV_NS_PER_MS, &in->spec->switch_ns);
}

static int read_slices(struct reader *in, const char *name, yaml_node_t *value, void *into)
{
    const char *text = scalar(value);

    if (text && !strcmp(text, "phase"))
        in->spec->slices = DV_NODESPEC_SLICES_PHASE;
    else if (text && !strcmp(text, "instant"))
        in->spec->slices = DV_NODESPEC_SLICES_INSTANT;
    else
        return bad(in, value, "%s: phase or instant is wanted here", name);
    return 0;
}

static int read_mps_clients(struct reader *in, const char *name, yaml_node_t *value, void *into)
{
    return read_integer(in, name, value, 1, 1024, &in->spec->mps_clients);
}

static int read_engine(struct reader *in, const char *name, yaml_node_t *value, void *into)
{
    static const struct key keys[] = {
        {"timeslice", read_timeslice}, {"switch", read_switch}, {"slices", read_slices}};
    uint32_t seen = 0;
    return read_mapping(in, name, keys, DV_ARRAY_SIZE(keys), value, NULL, &seen);
}

/* ---- the whole ---- */

struct top {
    yaml_node_t *links;
};

static int read_version(struct reader *in, const char *name, yaml_node_t *value, void *into)
{
    const char *text = scalar(value);
    return text && !strcmp(text, "divvy/v1") ? 0
                                             : bad(in, value, "%s: only divvy/v1 is known", name);
}

static int read_kind(struct reader *in, const char *name, yaml_node_t *value, void *into)
{
    const char *text = scalar(value);
    return text && !strcmp(text, "SimNode") ? 0
                                            : bad(in, value, "%s: SimNode is wanted here", name);
}

static int read_name(struct reader *in, const char *name, yaml_node_t *value, void *into)
{
    return read_text(in, name, value, in->spec->name, sizeof(in->spec->name));
}

static int read_hostname(struct reader *in, const char *name, yaml_node_t *value, void *into)
{
    return read_text(in, name, value, in->spec->hostname, sizeof(in->spec->hostname));
}

static int read_driver(struct reader *in, const char *name, yaml_node_t *value, void *into)
{
    const char *text = scalar(value);

    if (!text || !text[0] || strspn(text, "0123456789.") != strlen(text))
        return bad(in, value, "%s: a version like \"580.95.05\" is wanted here", name);
    return read_text(in, name, value, in->spec->driver, sizeof(in->spec->driver));
}

static int read_cuda(struct reader *in, const char *name, yaml_node_t *value, void *into)
{
    const char *text = scalar(value);
    uint32_t major, minor;
    int end = 0;

    if (!text || strspn(text, "0123456789.") != strlen(text) ||
        sscanf(text, "%2u.%1u%n", &major, &minor, &end) != 2 || text[end] || major < 11 ||
        major > 13)
        return bad(in, value, "%s: a version from \"11.0\" to \"13.9\" is wanted here", name);
    in->spec->cuda_version = major * 1000 + minor * 10;
    return 0;
}

static int read_numa(struct reader *in, const char *name, yaml_node_t *value, void *into)
{
    return read_integer(in, name, value, 1, DV_NODESPEC_NUMA_MAX, &in->spec->numa_nodes);
}

static int read_cpus(struct reader *in, const char *name, yaml_node_t *value, void *into)
{
    return read_integer(in, name, value, 1, 4096, &in->spec->cpus);
}

static int read_threads(struct reader *in, const char *name, yaml_node_t *value, void *into)
{
    return read_integer(in, name, value, 1, DV_NODESPEC_THREADS_MAX, &in->spec->threads);
}

static int keep_links(struct reader *in, const char *name, yaml_node_t *value, void *into)
{
    ((struct top *)into)->links = value;
    return 0;
}

static int check_node(struct reader *in, yaml_node_t *root)
{
    const struct dv_nodespec *s = in->spec;

    if (!s->n_gpus)
        return bad(in, root, "gpus: at least one GPU is wanted");
    if (s->cpus < s->numa_nodes * s->threads)
        return bad(in, root, "cpus: %u are wanted, a core of %u threads for each of %u NUMA nodes",
                   s->numa_nodes * s->threads, s->threads, s->numa_nodes);
    for (uint32_t i = 0; i < s->n_gpus; i++) {
        const struct dv_nodespec_gpu *g = &s->gpu[i];

        if (g->numa >= s->numa_nodes)
            return bad(in, root, "gpus: GPU %u is on NUMA node %u of %u (numa: N says how many)", i,
                       g->numa, s->numa_nodes);
        for (uint32_t k = 0; k < i; k++) {
            const struct dv_nodespec_gpu *o = &s->gpu[k];

            if (!strcmp(g->uuid, o->uuid))
                return bad(in, root, "gpus: GPUs %u and %u have the same uuid", k, i);
            if (g->pci_domain == o->pci_domain && g->pci_bus == o->pci_bus &&
                g->pci_device == o->pci_device)
                return bad(in, root, "gpus: GPUs %u and %u have the same pci address", k, i);
        }
    }
    return 0;
}

static int read_gpu_reset(struct reader *in, const char *name, yaml_node_t *value, void *into)
{
    const char *text = scalar(value);

    if (!text || (strcmp(text, "available") != 0 && strcmp(text, "unavailable") != 0))
        return bad(in, value, "gpu_reset: available or unavailable is wanted here");
    in->spec->no_reset = strcmp(text, "unavailable") == 0;
    return 0;
}

static int read_root(struct reader *in)
{
    static const struct key keys[] = {
        {"apiVersion", read_version}, {"kind", read_kind},
        {"name", read_name},          {"hostname", read_hostname},
        {"driver", read_driver},      {"cuda", read_cuda},
        {"numa", read_numa},          {"cpus", read_cpus},
        {"threads", read_threads},    {"gpus", read_gpus},
        {"links", keep_links},        {"kernels", read_kernels},
        {"engine", read_engine},      {"mps_clients", read_mps_clients},
        {"gpu_reset", read_gpu_reset}};
    yaml_node_t *root = yaml_document_get_root_node(&in->doc);
    struct top top = {0};
    uint32_t seen = 0;
    int r;

    if (!root)
        return dv_err_set(in->err, -EINVAL, "%.120s:1:1: the file is empty", in->file);
    r = read_mapping(in, "the node", keys, DV_ARRAY_SIZE(keys), root, &top, &seen);
    if (r < 0)
        return r;
    if (!(seen & 1))
        return bad(in, root, "apiVersion: divvy/v1 is missing");
    if (!(seen & 2))
        return bad(in, root, "kind: SimNode is missing");
    if (!(seen & 8))
        memcpy(in->spec->hostname, in->spec->name, sizeof(in->spec->hostname));
    if (top.links)
        r = read_list(in, "links", top.links, NULL, read_link);
    if (r < 0)
        return r;
    dv_nodespec_finish(in->spec);
    return check_node(in, root);
}

static void name_of_file(const char *file, char ret[64])
{
    const char *slash = strrchr(file, '/');
    const char *base = slash ? slash + 1 : file;
    size_t n = strcspn(base, ".");
    size_t at = 0;

    for (size_t i = 0; i < n && at < 63; i++) {
        if ((unsigned char)base[i] > 0x20 && (unsigned char)base[i] < 0x7f)
            ret[at++] = base[i];
    }
    ret[at] = '\0';
    if (!at)
        memcpy(ret, "node", 5);
}

static int syntax_error(struct reader *in, const yaml_parser_t *p)
{
    if (p->error == YAML_MEMORY_ERROR)
        return -ENOMEM;
    if (p->error == YAML_READER_ERROR)
        return dv_err_set(in->err, -EINVAL, "%.120s: byte %zu: %s", in->file, p->problem_offset,
                          p->problem ? p->problem : "not a text");
    return dv_err_set(in->err, -EINVAL, "%.120s:%zu:%zu: %s", in->file, p->problem_mark.line + 1,
                      p->problem_mark.column + 1, p->problem ? p->problem : "not YAML");
}

int dv_nodespec_parse(const char *file, const char *text, size_t len, struct dv_nodespec *ret,
                      struct dv_err *err)
{
    struct reader in = {.file = file, .err = err};
    yaml_parser_t parser;
    char name[64];
    int r;

    if (len > DV_NODESPEC_FILE_MAX)
        return dv_err_set(err, -E2BIG, "%.120s: a node file has at most %u bytes", file,
                          DV_NODESPEC_FILE_MAX);
    in.spec = malloc(sizeof(*in.spec));
    if (!in.spec || !yaml_parser_initialize(&parser)) {
        free(in.spec);
        return -ENOMEM;
    }
    name_of_file(file, name);
    dv_nodespec_init(in.spec, name);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    if (yaml_parser_load(&parser, &in.doc)) {
        r = read_root(&in);
        yaml_document_delete(&in.doc);
    } else {
        r = syntax_error(&in, &parser);
    }
    yaml_parser_delete(&parser);
    if (r == 0)
        *ret = *in.spec;
    free(in.spec);
    return r;
}
