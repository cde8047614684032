/* SPDX-License-Identifier: Apache-2.0 */
#include "hardware/pci_sysfs.h"

#include "base/str.h"
#include "base/units.h"
#include "sys/fd.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One line without its end; false where there is no such file, or a longer one. */
static bool read_line(const char *root, const char *pci, const char *name, char *ret, size_t size)
{
    char path[512], *text;
    size_t len;
    int n = snprintf(path, sizeof path, "%s/%s/%s", root, pci, name);
    if (n < 0 || (size_t)n >= sizeof path ||
        dv_fd_read_file(path, DV_FACTS_CPUS, &text, &len, NULL) < 0)
        return false;
    text[strcspn(text, "\n")] = 0;
    bool ok = dv_str_copy(ret, size, text) >= 0;
    free(text);
    return ok;
}

/* Linux writes "0000:07:00.0" where NVML has "00000000:07:00.0". A simulated GPU's address may be
 * somebody else's on this machine. */
static bool find(const char *root, const char *pci, char ret[static 16])
{
    char vendor[16];
    unsigned domain, bus, device, function;
    if (sscanf(pci, "%8x:%2x:%2x.%1x", &domain, &bus, &device, &function) != 4 || domain > 0xffff)
        return false;
    snprintf(ret, 16, "%04x:%02x:%02x.%x", domain, bus & 0xff, device & 0xff, function & 0xf);
    return read_line(root, ret, "vendor", vendor, sizeof vendor) && !strcmp(vendor, "0x10de");
}

uint32_t dv_pci_sysfs_numa(const char *root, const char *pci)
{
    char place[16], text[16];
    int64_t node;
    if (!find(root, pci, place) || !read_line(root, place, "numa_node", text, sizeof text) ||
        dv_units_parse_integer(text, "numa_node", 0, INT16_MAX, &node, NULL) < 0)
        return DV_FACT_UNKNOWN32; /* -1: this machine has none */
    return (uint32_t)node;
}

void dv_pci_sysfs_cpus(const char *root, const char *pci, char ret[static DV_FACTS_CPUS])
{
    char place[16];
    if (!find(root, pci, place) || !read_line(root, place, "local_cpulist", ret, DV_FACTS_CPUS) ||
        strspn(ret, "0123456789,-") != strlen(ret))
        ret[0] = 0;
}

/* Driven by "nvidia", a display controller of NVIDIA's? vfio-pci may have others. */
static bool is_gpu(const char *root, const char *place)
{
    char text[16], path[512], driver[256];
    int n = snprintf(path, sizeof path, "%s/%s/driver", root, place);
    if (n < 0 || (size_t)n >= sizeof path || !read_line(root, place, "vendor", text, sizeof text) ||
        strcmp(text, "0x10de") != 0 || !read_line(root, place, "class", text, sizeof text) ||
        strncmp(text, "0x03", 4) != 0)
        return false;
    ssize_t len = readlink(path, driver, sizeof driver - 1);
    if (len < 0)
        return false;
    driver[len] = 0;
    const char *slash = strrchr(driver, '/');
    return !strcmp(slash ? slash + 1 : driver, "nvidia");
}

static int by_place(const void *a, const void *b)
{
    return strcmp(a, b);
}

size_t dv_pci_sysfs_gpus(const char *root, size_t max, char (*ret)[DV_GPU_PCI_SIZE])
{
    unsigned domain, bus, device, function;
    size_t n = 0;
    DIR *dir = opendir(root);
    for (struct dirent *e; dir && n < max && (e = readdir(dir));)
        if (sscanf(e->d_name, "%8x:%2x:%2x.%1x", &domain, &bus, &device, &function) == 4 &&
            is_gpu(root, e->d_name))
            snprintf(ret[n++], DV_GPU_PCI_SIZE, "%08X:%02X:%02X.%X", domain, bus, device, function);
    if (dir)
        closedir(dir);
    if (n)
        qsort(ret, n, sizeof *ret, by_place);
    return n;
}
