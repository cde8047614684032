/* SPDX-License-Identifier: Apache-2.0 */
/* A small machine behind NVML's calls, with and without each of them; and what is made of rows. */
#include "base/rng.h"
#include "hardware/nvml_topology.h"
#include "hardware/pci_sysfs.h"
#include "hardware/topology_facts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* GPUs 0 and 1: four NVLinks to each other. GPUs 2 and 3: three to switches, and one to a GPU that
 * this machine does not show. */
#define GPUS 4u

static int handles[GPUS];
static struct dv_nvml_device *devices[GPUS];
static uint32_t off; /* the GPU in MIG mode; GPUS: none */
static int memory_rc;
static unsigned long memory_nodes;

static uint32_t index_of(const struct dv_nvml_device *d)
{
    return (uint32_t)((const int *)(const void *)d - handles);
}

static int pci(struct dv_nvml_device *d, struct dv_nvml_pci_info *ret)
{
    *ret = (struct dv_nvml_pci_info){.domain = 1, .bus = 0x10 + index_of(d)};
    snprintf(ret->bus_id, sizeof ret->bus_id, "00000001:%02X:00.0", ret->bus);
    return DV_NVML_SUCCESS;
}

static int ancestor(struct dv_nvml_device *a, struct dv_nvml_device *b, uint32_t *ret)
{
    *ret = index_of(a) / 2 == index_of(b) / 2 ? DV_NVML_TOPOLOGY_SINGLE : DV_NVML_TOPOLOGY_SYSTEM;
    return DV_NVML_SUCCESS;
}

static int p2p(struct dv_nvml_device *a, struct dv_nvml_device *b, uint32_t what, uint32_t *ret)
{
    bool linked = index_of(a) / 2 == index_of(b) / 2;
    assert_int_equal(what, DV_NVML_P2P_NVLINK);
    *ret = linked && index_of(a) != off ? DV_NVML_P2P_OK : DV_NVML_P2P_NOT_SUPPORTED;
    return DV_NVML_SUCCESS;
}

static int link_state(struct dv_nvml_device *d, uint32_t link, uint32_t *ret)
{
    *ret = link != 4;
    return link < 6 ? DV_NVML_SUCCESS : DV_NVML_ERROR_INVALID_ARGUMENT;
}

static int far_type(struct dv_nvml_device *d, uint32_t link, uint32_t *ret)
{
    *ret = index_of(d) >= 2 && link < 3 ? DV_NVML_NVLINK_DEVICE_SWITCH : DV_NVML_NVLINK_DEVICE_GPU;
    return DV_NVML_SUCCESS;
}

static int far_end(struct dv_nvml_device *d, uint32_t link, struct dv_nvml_pci_info *ret)
{
    uint32_t i = index_of(d);
    *ret = (struct dv_nvml_pci_info){.domain = 1, .bus = i < 2 && link < 4 ? 0x11 - i : 0x77};
    return link == 5 ? DV_NVML_ERROR_UNKNOWN : DV_NVML_SUCCESS;
}

static int cpus(struct dv_nvml_device *d, uint32_t words, unsigned long *ret)
{
    memset(ret, 0, words * sizeof *ret);
    for (uint32_t i = 0; i < 200; i++) /* of GPU 1: every other one */
        if (index_of(d) == 1 ? i % 2 == 0 : i < 2 || i == 5 || i > 197)
            ret[i / 64] |= 1ul << i % 64;
    return index_of(d) == 2 ? DV_NVML_ERROR_UNKNOWN : DV_NVML_SUCCESS;
}

static int memory(struct dv_nvml_device *d, uint32_t words, unsigned long *ret, uint32_t scope)
{
    assert_int_equal(scope, DV_NVML_AFFINITY_NODE);
    memset(ret, 0, words * sizeof *ret);
    ret[0] = memory_nodes;
    return memory_rc;
}

static const struct dv_nvml_topology_calls all = {pci,     ancestor, p2p,  link_state,
                                                  far_end, far_type, cpus, memory};

static struct dv_facts_topology rows[GPUS];

static void read_rows(const struct dv_nvml_topology_calls *t, uint32_t lost,
                      struct dv_topology *ret)
{
    const struct dv_facts_topology *list[GPUS];
    for (uint32_t i = 0; i < GPUS; i++)
        devices[i] = i == lost ? NULL : (struct dv_nvml_device *)(void *)&handles[i];
    for (uint32_t i = 0; i < GPUS; i++) {
        dv_nvml_topology_read(t, devices, GPUS, i, &rows[i]);
        list[i] = i == lost ? NULL : &rows[i];
    }
    dv_topology_facts_join(list, GPUS, ret);
    assert_int_equal(dv_topology_check(ret, NULL), 0);
}

static void assert_link(const struct dv_topology *t, uint32_t a, uint32_t b, const char *expected)
{
    char buf[DV_LINK_TEXT];
    assert_string_equal(dv_topology_link_format(dv_topology_get(t, a, b), buf), expected);
}

static int set_up(void **state)
{
    off = GPUS;
    memory_rc = DV_NVML_SUCCESS;
    return 0;
}

static void test_all_calls(void **state)
{
    struct dv_topology t;
    read_rows(&all, GPUS, &t);
    assert_link(&t, 0, 1, "NV4");
    assert_int_equal(dv_topology_get(&t, 0, 1).pcie, DV_LINK_PIX);
    assert_link(&t, 2, 3, "NV3");
    assert_link(&t, 1, 2, "SYS");
    assert_int_equal(rows[0].peers[1].nvlinks, 4);
    assert_int_equal(rows[0].peers[0].nvlinks, DV_FACT_UNKNOWN32);
    assert_int_equal(rows[2].nvlinks_switch, 3);
    assert_int_equal(rows[2].peers[3].nvlinks, 0);
    assert_string_equal(rows[0].cpus, "0-1,5,198-199");
    assert_string_equal(rows[1].cpus + strlen(rows[1].cpus) - 8, ",196,198");
    assert_string_equal(rows[2].cpus, "");
}

static void test_a_gpu_in_mig_mode_has_no_nvlinks(void **state)
{
    struct dv_topology t;
    off = 3;
    read_rows(&all, GPUS, &t);
    assert_link(&t, 2, 3, "PIX");
    assert_link(&t, 0, 1, "NV4");
}

static void test_a_lost_gpu(void **state)
{
    struct dv_topology t;
    read_rows(&all, 1, &t);
    assert_link(&t, 0, 1, "?");
    assert_link(&t, 1, 3, "?");
    assert_link(&t, 2, 3, "NV3");
    assert_int_equal(rows[0].peers[1].pcie, DV_FACT_UNKNOWN32);
}

static void test_older_drivers(void **state)
{
    struct dv_topology t;
    struct dv_nvml_topology_calls some = all;
    some.link_far_type = NULL; /* switches cannot be told; GPUs can */
    read_rows(&some, GPUS, &t);
    assert_link(&t, 0, 1, "NV4");
    assert_link(&t, 2, 3, "PIX");
    some.p2p = NULL;
    some.ancestor = NULL;
    read_rows(&some, GPUS, &t);
    assert_link(&t, 0, 1, "NV4");
    assert_link(&t, 1, 2, "?");
    read_rows(&(struct dv_nvml_topology_calls){0}, GPUS, &t);
    assert_link(&t, 0, 1, "?");
    assert_int_equal(rows[0].nvlinks_switch, DV_FACT_UNKNOWN32);
}

static void test_numa(void **state)
{
    struct dv_nvml_device *d = (struct dv_nvml_device *)(void *)&handles[0];
    memory_nodes = 1ul << 5;
    assert_int_equal(dv_nvml_topology_numa(&all, d, ""), 5);
    memory_nodes = 3; /* near to both is near to none */
    assert_int_equal(dv_nvml_topology_numa(&all, d, ""), DV_FACT_UNKNOWN32);
    memory_nodes = 0;
    assert_int_equal(dv_nvml_topology_numa(&all, d, ""), DV_FACT_UNKNOWN32);
    memory_nodes = 1;
    memory_rc = DV_NVML_ERROR_GPU_IS_LOST;
    assert_int_equal(dv_nvml_topology_numa(&all, d, ""), DV_FACT_UNKNOWN32);
    memory_rc = DV_NVML_ERROR_NOT_SUPPORTED;
    assert_int_equal(dv_nvml_topology_numa(&all, d, ""), DV_FACT_UNKNOWN32);
    assert_int_equal(dv_nvml_topology_numa(&(struct dv_nvml_topology_calls){0}, d, "nonsense"),
                     DV_FACT_UNKNOWN32);
}

/* ---- Linux ---- */

static void put(const char *dir, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void test_sysfs(void **state)
{
    char root[] = "/tmp/divvy-sysfs-XXXXXX", dir[64], text[DV_FACTS_CPUS], command[64];
    assert_non_null(mkdtemp(root));
    snprintf(dir, sizeof dir, "%s/0000:c1:00.0", root);
    assert_int_equal(mkdir(dir, 0700), 0);
    put(dir, "vendor", "0x10de\n");
    put(dir, "numa_node", "3\n");
    put(dir, "local_cpulist", "48-63,176-191\n");
    assert_int_equal(dv_pci_sysfs_numa(root, "00000000:C1:00.0"), 3);
    dv_pci_sysfs_cpus(root, "00000000:C1:00.0", text);
    assert_string_equal(text, "48-63,176-191");
    static const char *const elsewhere[] = {"", "00000000:C2:00.0", "00010000:C1:00.0", "../x"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(elsewhere); i++)
        assert_int_equal(dv_pci_sysfs_numa(root, elsewhere[i]), DV_FACT_UNKNOWN32);
    put(dir, "numa_node", "-1\n");
    put(dir, "local_cpulist", "<script>\n");
    assert_int_equal(dv_pci_sysfs_numa(root, "00000000:C1:00.0"), DV_FACT_UNKNOWN32);
    dv_pci_sysfs_cpus(root, "00000000:C1:00.0", text);
    assert_string_equal(text, "");
    put(dir, "numa_node", "3\n");
    put(dir, "vendor", "0x8086\n"); /* somebody else's card where a simulated GPU is */
    assert_int_equal(dv_pci_sysfs_numa(root, "00000000:C1:00.0"), DV_FACT_UNKNOWN32);
    snprintf(command, sizeof command, "rm -r %s", root);
    assert_int_equal(system(command), 0);
}

static void put_gpu(const char *root, const char *place, const char *vendor, const char *class,
                    const char *driver)
{
    char dir[64], path[128];
    snprintf(dir, sizeof dir, "%s/%s", root, place);
    assert_int_equal(mkdir(dir, 0700), 0);
    put(dir, "vendor", vendor);
    put(dir, "class", class);
    snprintf(path, sizeof path, "%s/driver", dir);
    if (driver)
        assert_int_equal(symlink(driver, path), 0);
}

static void test_sysfs_gpus(void **state)
{
    char root[] = "/tmp/divvy-sysfs-XXXXXX", command[64], found[4][DV_GPU_PCI_SIZE];
    assert_non_null(mkdtemp(root));
    assert_int_equal(dv_pci_sysfs_gpus("/nowhere", 4, found), 0);
    put_gpu(root, "0000:c1:00.0", "0x10de\n", "0x030200\n", "../../bus/pci/drivers/nvidia");
    put_gpu(root, "0000:41:00.0", "0x10de\n", "0x030000\n", "../../bus/pci/drivers/nvidia");
    put_gpu(root, "0000:41:00.1", "0x10de\n", "0x040300\n", "../../bus/pci/drivers/snd_hda_intel");
    put_gpu(root, "0000:42:00.0", "0x10de\n", "0x068000\n",
            "../../bus/pci/drivers/nvidia-nvswitch");
    put_gpu(root, "0000:43:00.0", "0x10de\n", "0x030200\n", "../../bus/pci/drivers/vfio-pci");
    put_gpu(root, "0000:44:00.0", "0x10de\n", "0x030200\n", NULL);
    put_gpu(root, "0000:45:00.0", "0x1002\n", "0x030200\n", "../../bus/pci/drivers/amdgpu");
    put_gpu(root, "nonsense", "0x10de\n", "0x030200\n", "../../bus/pci/drivers/nvidia");
    assert_int_equal(dv_pci_sysfs_gpus(root, 4, found), 2);
    assert_string_equal(found[0], "00000000:41:00.0");
    assert_string_equal(found[1], "00000000:C1:00.0");
    assert_int_equal(dv_pci_sysfs_gpus(root, 1, found), 1);
    snprintf(command, sizeof command, "rm -r %s", root);
    assert_int_equal(system(command), 0);
}

/* ---- any rows ---- */

/* Whatever a driver says, the topology is a legal one. */
static void test_any_rows_join(void **state)
{
    static struct dv_facts_topology any[DV_TOPOLOGY_MAX];
    const struct dv_facts_topology *list[DV_FACTS_GPUS_MAX] = {NULL};
    static const uint32_t values[] = {
        0, 1, 2, 10, 20, 30, 40, 50, 60, 998, 999, UINT32_MAX - 1, UINT32_MAX};
    struct dv_rng rng = {3};
    struct dv_topology t;
    struct dv_err err;
    for (int round = 0; round < 200; round++) {
        for (uint32_t i = 0; i < DV_TOPOLOGY_MAX; i++) {
            uint32_t *words = (uint32_t *)(void *)any[i].peers;
            for (size_t k = 0; k < sizeof any[i].peers / (sizeof *words); k++)
                words[k] = values[dv_rng_below(&rng, DV_ARRAY_SIZE(values))];
            any[i].nvlinks_switch = values[dv_rng_below(&rng, DV_ARRAY_SIZE(values))];
            list[i] = dv_rng_below(&rng, 8) ? &any[i] : NULL;
        }
        uint32_t n = (uint32_t)dv_rng_below(&rng, DV_TOPOLOGY_MAX + 3);
        dv_topology_facts_join(list, n, &t);
        if (dv_topology_check(&t, &err) < 0)
            fail_msg("%s", err.msg);
        assert_int_equal(t.n, n > DV_TOPOLOGY_MAX ? 0 : n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_all_calls, set_up),
        cmocka_unit_test_setup(test_a_gpu_in_mig_mode_has_no_nvlinks, set_up),
        cmocka_unit_test_setup(test_a_lost_gpu, set_up),
        cmocka_unit_test_setup(test_older_drivers, set_up),
        cmocka_unit_test_setup(test_numa, set_up),
        cmocka_unit_test(test_sysfs),
        cmocka_unit_test(test_sysfs_gpus),
        cmocka_unit_test(test_any_rows_join),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
