/* SPDX-License-Identifier: Apache-2.0 */
#include "server/nodespec.h"

#include "base/rng.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DRIVER "580.95.05"
#define CUDA_VERSION 13000

/* ---- built-in nodes ---- */

struct builtin_gpu {
    const char *model;
    uint32_t count;
};

struct builtin {
    const char *name;
    const char *about;
    const char *driver; /* NULL: DRIVER, with CUDA_VERSION */
    uint32_t cuda_version;
    struct builtin_gpu gpu[6];
    uint32_t numa_nodes, cpus, threads; /* threads of a core; 0: 1 */
    uint8_t numa[DV_SIM_GPUS_MAX];      /* node of each GPU; all 0: split evenly, in order */
    uint8_t nvlinks;                    /* between any two; through NVSwitches on the HGX boards */
    bool pairs;                         /* GPUs 2i and 2i + 1 sit behind common PCIe switches */
    uint8_t bus[DV_SIM_GPUS_MAX];
};

/* PCI buses, NUMA nodes and CPUs of the DGX and HGX systems are those that public `nvidia-smi topo`
 * listings show; a DGX A100 has four NUMA nodes per socket (NPS4). */
static const struct builtin builtins[] = {
    {.name = "dgx-a100",
     .about = "8x A100-SXM4-80GB, NVSwitch (NV12), 8 NUMA nodes",
     .gpu = {{"A100-80GB", 8}},
     .numa_nodes = 8,
     .numa = {3, 3, 1, 1, 7, 7, 5, 5},
     .cpus = 256,
     .threads = 2,
     .nvlinks = 12,
     .pairs = true,
     .bus = {0x07, 0x0f, 0x47, 0x4e, 0x87, 0x90, 0xb7, 0xbd}},
    {.name = "dgx-h100",
     .about = "8x H100-SXM5-80GB, NVSwitch (NV18), 2 NUMA nodes",
     .gpu = {{"H100-80GB", 8}},
     .numa_nodes = 2,
     .cpus = 224,
     .threads = 2,
     .nvlinks = 18,
     .bus = {0x1b, 0x43, 0x52, 0x61, 0x9d, 0xc3, 0xd1, 0xdf}},
    {.name = "hgx-h200",
     .about = "8x H200-SXM-141GB, NVSwitch (NV18), 2 NUMA nodes",
     .gpu = {{"H200-141GB", 8}},
     .numa_nodes = 2,
     .cpus = 192,
     .threads = 2,
     .nvlinks = 18,
     .bus = {0x1b, 0x43, 0x52, 0x61, 0x9d, 0xc3, 0xd1, 0xdf}},
    {.name = "a30x4",
     .about = "4x A30 on PCIe, 2 NUMA nodes",
     .gpu = {{"A30", 4}},
     .numa_nodes = 2,
     .cpus = 64,
     .bus = {0x17, 0x65, 0xca, 0xe3}},
    {.name = "t4x4",
     .about = "4x T4 on PCIe, 1 NUMA node",
     .gpu = {{"T4", 4}},
     .numa_nodes = 1,
     .cpus = 48,
     .bus = {0x00, 0x00, 0x00, 0x00}},
    {.name = "mixed",
     .about = "A100-80GB, H100-80GB, A30, L40S, V100-32GB, T4: one of each",
     .gpu =
         {{"A100-80GB", 1}, {"H100-80GB", 1}, {"A30", 1}, {"L40S", 1}, {"V100-32GB", 1}, {"T4", 1}},
     .numa_nodes = 2,
     .cpus = 128,
     .bus = {0x07, 0x1b, 0x47, 0x87, 0x90, 0xb7}},
    {.name = "a100",
     .about = "1x A100-SXM4-80GB",
     .gpu = {{"A100-80GB", 1}},
     .numa_nodes = 1,
     .cpus = 32,
     .bus = {0x07}},
    {.name = "h100-r615",
     .about = "1x H100-SXM5-80GB, driver 615: memory limits by cgroup",
     .driver = "615.71",
     .cuda_version = 13040,
     .gpu = {{"H100-80GB", 1}},
     .numa_nodes = 1,
     .cpus = 32,
     .bus = {0x1b}},
};

const char *dv_nodespec_builtin(size_t i, const char **ret_about)
{
    if (i >= DV_ARRAY_SIZE(builtins))
        return NULL;
    if (ret_about)
        *ret_about = builtins[i].about;
    return builtins[i].name;
}

const char *dv_nodespec_link_name(uint32_t link)
{
    static const char *const names[DV_SIMLINKS] = {"X", "SYS", "NODE", "PHB", "PXB", "PIX"};
    return link < DV_SIMLINKS ? names[link] : NULL;
}

/* ---- UUIDs ---- */

static uint64_t hash_text(uint64_t h, const char *text)
{
    /* FNV-1a; the words are kept apart by hashing their terminating NUL too. */
    for (const char *p = text;; p++) {
        h = (h ^ (uint8_t)*p) * UINT64_C(0x100000001b3);
        if (!*p)
            return h;
    }
}

void dv_nodespec_uuid(const char *prefix, const char *node, const char *words,
                      char ret[DV_SIM_UUID_SIZE])
{
    struct dv_rng rng = {hash_text(hash_text(UINT64_C(0xcbf29ce484222325), node), words)};
    uint64_t a = dv_rng_next(&rng), b = dv_rng_next(&rng);

    snprintf(ret, DV_SIM_UUID_SIZE, "%s%08x-%04x-%04x-%04x-%012llx", prefix, (uint32_t)(a >> 32),
             (uint32_t)(a >> 16) & 0xffff, (uint32_t)(a & 0x0fff) | 0x4000,
             (uint32_t)(b >> 48 & 0x3fff) | 0x8000,
             (unsigned long long)(b & UINT64_C(0xffffffffffff)));
}

/* ---- building ---- */

void dv_nodespec_init(struct dv_nodespec *spec, const char *name)
{
    *spec = (struct dv_nodespec){
        .cuda_version = CUDA_VERSION,
        .numa_nodes = 1,
        .cpus = 32,
        .threads = 1,
        .timeslice_ns = 2048 * DV_NS_PER_US, /* the driver's default slice */
        .switch_ns = 60 * DV_NS_PER_US,
        .slices = DV_NODESPEC_SLICES_PHASE,
    };
    snprintf(spec->name, sizeof(spec->name), "%s", name);
    snprintf(spec->hostname, sizeof(spec->hostname), "%s", name);
    snprintf(spec->driver, sizeof(spec->driver), "%s", DRIVER);
}

int dv_nodespec_add(struct dv_nodespec *spec, const struct dv_gpu_model *model, struct dv_err *err)
{
    struct dv_nodespec_gpu *g;

    if (spec->n_gpus >= DV_SIM_GPUS_MAX)
        return dv_err_set(err, -ENOSPC, "a node has at most %u GPUs", DV_SIM_GPUS_MAX);
    if (!model->memory_bytes || !model->sm)
        return dv_err_set(err, -EINVAL,
                          "%s can be planned for but not simulated: its figures are not public",
                          model->name);
    g = &spec->gpu[spec->n_gpus];
    *g = (struct dv_nodespec_gpu){
        .model = model,
        .pci_bus = 0x07 + 0x10 * spec->n_gpus,
        .memory_bytes = model->memory_bytes,
        .context_bytes = model->context_bytes,
    };
    spec->n_gpus++;
    return 0;
}

static uint8_t default_link(const struct dv_nodespec *spec, uint32_t i, uint32_t k)
{
    return spec->gpu[i].numa == spec->gpu[k].numa ? DV_SIMLINK_NODE : DV_SIMLINK_SYS;
}

void dv_nodespec_finish(struct dv_nodespec *spec)
{
    for (uint32_t i = 0; i < spec->n_gpus; i++) {
        char words[16];

        snprintf(words, sizeof(words), "%u", i);
        if (!spec->gpu[i].uuid[0])
            dv_nodespec_uuid("GPU-", spec->name, words, spec->gpu[i].uuid);
        for (uint32_t k = 0; k < spec->n_gpus; k++) {
            if (i == k)
                spec->link[i][k] = (struct dv_simlink_pair){DV_SIMLINK_SELF, 0};
            else if (spec->link[i][k].pcie == DV_SIMLINK_SELF)
                spec->link[i][k].pcie = default_link(spec, i, k);
        }
    }
}

static int build(const struct builtin *b, struct dv_nodespec *spec, struct dv_err *err)
{
    bool numa_given = false;

    dv_nodespec_init(spec, b->name);
    spec->numa_nodes = b->numa_nodes;
    spec->cpus = b->cpus;
    spec->threads = b->threads ? b->threads : 1;
    for (uint32_t i = 0; i < DV_SIM_GPUS_MAX; i++)
        numa_given |= b->numa[i] != 0;
    if (b->driver) {
        snprintf(spec->driver, sizeof(spec->driver), "%s", b->driver);
        spec->cuda_version = b->cuda_version;
    }
    for (uint32_t i = 0; i < DV_ARRAY_SIZE(b->gpu) && b->gpu[i].count; i++) {
        const struct dv_gpu_model *model = dv_gpu_model_find(b->gpu[i].model, err);

        for (uint32_t n = 0; n < b->gpu[i].count; n++) {
            int r = model ? dv_nodespec_add(spec, model, err) : -ENOENT;
            if (r < 0)
                return r;
        }
    }
    for (uint32_t i = 0; i < spec->n_gpus; i++) {
        spec->gpu[i].numa = numa_given ? b->numa[i] : i * b->numa_nodes / spec->n_gpus;
        spec->gpu[i].pci_bus = b->bus[i];
        spec->gpu[i].pci_device = b->bus[i] ? 0 : 0x1b + i; /* T4 clouds: one bus, many slots */
        for (uint32_t k = 0; k < spec->n_gpus; k++) {
            spec->link[i][k].nvlinks = i == k ? 0 : b->nvlinks;
            if (b->pairs && i != k && i / 2 == k / 2)
                spec->link[i][k].pcie = DV_SIMLINK_PXB;
            else if (i != k && !b->bus[i])
                spec->link[i][k].pcie = DV_SIMLINK_PHB;
        }
    }
    dv_nodespec_finish(spec);
    return 0;
}

/* ---- loading ---- */

static bool is_path(const char *node)
{
    const char *dot = strrchr(node, '.');
    return strchr(node, '/') || (dot && (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml")));
}

static int load_file(const char *path, struct dv_nodespec *ret, struct dv_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    char *text;
    ssize_t n;
    int r;

    if (fd < 0)
        return dv_err_set(err, -errno, "%s: %s", path, strerror(errno));
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return dv_err_set(err, -EINVAL, "%s: not a regular file", path);
    }
    text = malloc(DV_NODESPEC_FILE_MAX + 1);
    if (!text) {
        close(fd);
        return -ENOMEM;
    }
    n = read(fd, text, DV_NODESPEC_FILE_MAX + 1);
    r = n < 0 ? dv_err_set(err, -errno, "%s: %s", path, strerror(errno))
              : dv_nodespec_parse(path, text, (size_t)n, ret, err);
    free(text);
    close(fd);
    return r;
}

int dv_nodespec_load(const char *node, struct dv_nodespec *ret, struct dv_err *err)
{
    const char *names[DV_ARRAY_SIZE(builtins)];
    const char *near;

    if (is_path(node))
        return load_file(node, ret, err);
    for (size_t i = 0; i < DV_ARRAY_SIZE(builtins); i++) {
        if (!strcmp(builtins[i].name, node)) {
            struct dv_nodespec *spec = malloc(sizeof(*spec));
            int r = spec ? build(&builtins[i], spec, err) : -ENOMEM;

            if (r == 0)
                *ret = *spec;
            free(spec);
            return r;
        }
        names[i] = builtins[i].name;
    }
    near = dv_str_nearest(node, names, DV_ARRAY_SIZE(builtins));
    if (near)
        return dv_err_set(err, -ENOENT, "no simulated node '%.64s'; did you mean '%s'?", node,
                          near);
    return dv_err_set(
        err, -ENOENT,
        "no simulated node '%.64s': 'divvy-sim nodes' lists the built-in ones, a file "
        "needs a '/' or ends in .yaml",
        node);
}
