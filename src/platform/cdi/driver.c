/* SPDX-License-Identifier: Apache-2.0 */
#include "cdi/driver.h"

#include "sys/fd.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROC_MAX 65536u

#if defined __x86_64__
#define MULTIARCH "x86_64-linux-gnu"
#elif defined __aarch64__
#define MULTIARCH "aarch64-linux-gnu"
#else
#error "which folder has libraries here?"
#endif

const char *const dv_cdi_library_folders[] = {"/usr/lib/" MULTIARCH, "/usr/lib64", NULL};

/* ---- libraries ---- */

/* "580.95.05" of ".../libcuda.so.580.95.05". */
static int release_of(const char *libcuda, char real[PATH_MAX], const char **ret,
                      struct dv_err *err)
{
    static const char name[] = "/libcuda.so.";
    const char *at = realpath(libcuda, real) ? strstr(real, name) : NULL;
    const char *release = at ? at + sizeof name - 1 : "";
    if (!isdigit((unsigned char)*release) || !strchr(release, '.'))
        return dv_err_set(err, -ENOENT, "%s does not say of which driver release it is", libcuda);
    *ret = release;
    return 0;
}

static bool is_placed_elsewhere(const char *name)
{
    return !strncmp(name, "libcuda.so", 10) || !strncmp(name, "libnvidia-ml.so", 15);
}

/* Is this name, or what it leads to, a library of the release? */
static bool is_of_release(const char *dir, const char *name, const char *release,
                          char real[PATH_MAX])
{
    char path[PATH_MAX + NAME_MAX + 2], end[NAME_MAX + 8];
    if (strncmp(name, "lib", 3) != 0 || !strstr(name, ".so"))
        return false;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    snprintf(end, sizeof end, ".so.%.*s", NAME_MAX, release);
    if (!realpath(path, real))
        return false;
    size_t n = strlen(real), m = strlen(end);
    return n > m && !strcmp(real + n - m, end);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void add_library(struct dv_cdi_edits *edits, const char *real, const char *name)
{
    char place[PATH_MAX];
    for (size_t i = 0; dv_cdi_library_folders[i]; i++) {
        snprintf(place, sizeof place, "%s/%s", dv_cdi_library_folders[i], name);
        dv_cdi_mount(edits, real, place, 0);
    }
}

int dv_cdi_driver_libraries(struct dv_cdi_edits *edits, const char *libcuda, struct dv_err *err)
{
    char cuda[PATH_MAX], dir[PATH_MAX], real[PATH_MAX];
    const char *release = "";
    struct dirent **entries;
    int r = release_of(libcuda, cuda, &release, err);
    if (r < 0)
        return r;
    snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(cuda, '/') - cuda), cuda);
    int n = scandir(dir, &entries, NULL, by_name);
    if (n < 0)
        return dv_err_set(err, dv_fd_errno(), "cannot read %s: %s", dir, strerror(errno));
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name;
        if (!is_placed_elsewhere(name) && is_of_release(dir, name, release, real))
            add_library(edits, real, name);
        free(entries[i]);
    }
    free(entries);
    return 0;
}

void dv_cdi_driver_tools(struct dv_cdi_edits *edits, const char *root)
{
    static const char *const names[] = {"nvidia-smi", "nvidia-debugdump", "nvidia-cuda-mps-control",
                                        "nvidia-cuda-mps-server"};
    char host[PATH_MAX], place[64];
    for (size_t i = 0; i < DV_ARRAY_SIZE(names); i++) {
        snprintf(host, sizeof host, "%s/usr/bin/%s", root, names[i]);
        snprintf(place, sizeof place, "/usr/bin/%s", names[i]);
        if (access(host, X_OK) == 0)
            dv_cdi_mount(edits, host, place, 0);
    }
}

/* ---- device nodes ---- */

/* The number behind "KEY:" in a file of /proc. */
static int read_number(const char *path, const char *key, uint32_t *ret, struct dv_err *err)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    size_t n = strlen(key);
    int r = dv_fd_read_file(path, PROC_MAX, &text.data, &text.len, err);
    if (r < 0)
        return r;
    for (const char *line = text.data; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        unsigned long number;
        char *end;
        if (strncmp(line, key, n) != 0 || line[n] != ':')
            continue;
        const char *p = line + n + 1 + strspn(line + n + 1, " \t");
        errno = 0;
        number = strtoul(p, &end, 10);
        if (!isdigit((unsigned char)*p) || errno || number > UINT32_MAX)
            break;
        *ret = (uint32_t)number;
        return 0;
    }
    return dv_err_set(err, -ENOENT, "%s has no number \"%s\"", path, key);
}

/* "00000000:07:00.0" is "0000:07:00.0" there, with small letters. */
static int minor_of(const char *root, const char *pci, uint32_t *ret, struct dv_err *err)
{
    char path[PATH_MAX], id[32];
    size_t n = strlen(pci), domain = strcspn(pci, ":");
    if (domain < 4 || domain > 8 || n >= sizeof id)
        return dv_err_set(err, -EINVAL, "\"%.32s\" is no PCI address", pci);
    memcpy(id, pci + domain - 4, n - domain + 5);
    for (char *p = id; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    snprintf(path, sizeof path, "%s/proc/driver/nvidia/gpus/%s/information", root, id);
    return read_number(path, "Device Minor", ret, err);
}

static void add_node(struct dv_cdi_edits *edits, const char *root, const char *node, bool must)
{
    char host[PATH_MAX];
    snprintf(host, sizeof host, "%s%s", root, node);
    if (must || access(host, F_OK) == 0)
        dv_cdi_node(edits, node, host);
}

static int add_capability(struct dv_cdi_edits *edits, const char *root, const char *what,
                          struct dv_err *err)
{
    char path[PATH_MAX], node[64];
    uint32_t minor = 0;
    snprintf(path, sizeof path, "%s/proc/driver/nvidia/capabilities/%s/access", root, what);
    int r = read_number(path, "DeviceFileMinor", &minor, err);
    if (r < 0)
        return r;
    snprintf(node, sizeof node, "/dev/nvidia-caps/nvidia-cap%u", minor);
    add_node(edits, root, node, true);
    return 0;
}

int dv_cdi_driver_nodes(struct dv_cdi_edits *edits, const char *root, const struct dv_cdi_gpu *gpu,
                        struct dv_err *err)
{
    char text[64];
    uint32_t minor = 0;
    int r = minor_of(root, gpu->pci, &minor, err);
    if (r < 0)
        return r;
    snprintf(text, sizeof text, "/dev/nvidia%u", minor);
    add_node(edits, root, text, true);
    add_node(edits, root, "/dev/nvidiactl", true);
    add_node(edits, root, "/dev/nvidia-uvm", false); /* made when it is first used */
    add_node(edits, root, "/dev/nvidia-uvm-tools", false);
    add_node(edits, root, "/dev/nvidia-modeset", false);
    if (!gpu->mig)
        return 0;
    snprintf(text, sizeof text, "gpu%u/mig/gi%u", minor, gpu->gi);
    r = add_capability(edits, root, text, err);
    snprintf(text, sizeof text, "gpu%u/mig/gi%u/ci%u", minor, gpu->gi, gpu->ci);
    return r < 0 ? r : add_capability(edits, root, text, err);
}
