/* SPDX-License-Identifier: Apache-2.0 */
/* What a connection sees: all of the node, or, on the socket for containers, what it shows. */
#include "abi_nvml.h"
#include "abi_sim_nvml.h"
#include "server/fake.h"
#include "server/view.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define ANY DV_SIM_VIEW_ANY

static void test_all_and_parts(void **state)
{
    struct dv_simview all = {0}, part = {.limited = true};
    assert_true(dv_simview_has_gpu(&all, 7) && dv_simview_has(&all, 7, 1, 0));
    assert_int_equal(dv_simview_gpu(&all, 8, 7), 7);
    assert_int_equal(dv_simview_gpu(&all, 8, 8), ANY);
    assert_int_equal(dv_simview_nth(&all, 8), 8);
    assert_false(dv_simview_has_gpu(&part, 0));
    assert_int_equal(dv_simview_gpu(&part, 8, 0), ANY);

    dv_simview_add(&part, 5, ANY, ANY);
    dv_simview_add(&part, 2, 7, 0);
    dv_simview_add(&part, 2, 7, 0);
    assert_int_equal(part.n, 2);
    assert_int_equal(dv_simview_gpu(&part, 8, 0), 2);
    assert_int_equal(dv_simview_gpu(&part, 8, 1), 5);
    assert_int_equal(dv_simview_gpu(&part, 8, 2), ANY);
    assert_int_equal(dv_simview_nth(&part, 5), 1);
    assert_int_equal(dv_simview_nth(&part, 8), 2);
    assert_true(dv_simview_has(&part, 2, 7, 0) && dv_simview_has(&part, 2, 7, ANY));
    assert_false(dv_simview_has(&part, 2, ANY, ANY)); /* a part is not the whole */
    assert_false(dv_simview_has(&part, 5, 1, 0));     /* nor the other way round */
}

/* The others are numbered anew, as a driver does that is loaded when the GPU has gone. */
static void test_a_gpu_that_has_gone(void **state)
{
    uint32_t gone = 1u << 2;
    struct dv_simview all = {.gone = &gone}, part = {.limited = true, .gone = &gone};
    dv_simview_add(&part, 5, ANY, ANY);
    dv_simview_add(&part, 2, 7, 0);
    assert_false(dv_simview_has_gpu(&all, 2) || dv_simview_has(&all, 2, 7, 0));
    assert_false(dv_simview_has_gpu(&part, 2) || dv_simview_has(&part, 2, 7, 0));
    assert_int_equal(dv_simview_gpu(&all, 8, 2), 3);
    assert_int_equal(dv_simview_gpu(&all, 8, 7), ANY);
    assert_int_equal(dv_simview_nth(&all, 8), 7);
    assert_int_equal(dv_simview_gpu(&part, 8, 0), 5);
    assert_true(dv_simview_has_gpu(&all, 34)); /* what there never was has not gone */
    gone = 0;
    assert_true(dv_simview_has_gpu(&all, 2) && dv_simview_has(&part, 2, 7, 0));
}

static void test_there_is_an_end(void **state)
{
    struct dv_simview v = {.limited = true};
    for (uint32_t i = 0; i < 2 * DV_SIM_SHOWN_MAX; i++)
        dv_simview_add(&v, i % 16, i / 16, 0);
    assert_int_equal(v.n, DV_SIM_SHOWN_MAX);
}

/* ---- a server ---- */

static struct dv_fakenode node, inside;
static struct dv_sim_device devices[64];

static int start(void **state)
{
    node = dv_fakenode_start("apiVersion: divvy/v1\nkind: SimNode\ngpus:\n"
                             "  - {model: A100-80GB, count: 3}\n"
                             "  - {model: A100-80GB, mig: \"3g.40gb,2g.20gb\"}\n");
    inside = node;
    assert_true(snprintf(inside.socket, sizeof inside.socket, "%.40s" DV_SIM_INSIDE "/%s",
                         node.socket, DV_SIM_INSIDE_SOCKET) < (int)sizeof inside.socket);
    struct dv_fake c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
    assert_int_equal(
        dv_fake_ask(&c, DV_SIM_CUDA_DEVICES, NULL, 0, devices, 6 * sizeof *devices, NULL, NULL), 0);
    dv_fake_close(&c);
    return 0;
}

static int stop(void **state)
{
    dv_fakenode_stop(&node); /* which finds nothing left */
    return 0;
}

static void show(struct dv_fake *c, const char *path)
{
    int fd = open(path, O_PATH | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(dv_fake_ask(c, DV_SIM_SHOW, NULL, 0, NULL, 0, &fd, NULL), 0);
    close(fd);
}

static void show_device(struct dv_fake *c, const char *uuid)
{
    char path[256];
    snprintf(path, sizeof path, "%s" DV_SIM_INSIDE "/%s", node.socket, uuid);
    show(c, path);
}

static int32_t nvml(struct dv_fake *c, uint16_t op, struct dv_sim_nvml_request q, void *ret,
                    uint32_t size)
{
    snprintf(q.function, sizeof q.function, "test");
    return dv_fake_ask(c, op, &q, sizeof q, ret, size, NULL, NULL);
}

#define GPU(n) ((struct dv_sim_nvml_request){.gpu = (n), .gi = ANY, .ci = ANY})

static int32_t find(struct dv_fake *c, const char *uuid, struct dv_sim_nvml_place *ret)
{
    struct dv_sim_nvml_request q = GPU(ANY);
    snprintf(q.text, sizeof q.text, "%s", uuid);
    return nvml(c, DV_SIM_NVML_FIND, q, ret, sizeof *ret);
}

static void test_nvml_counts_what_is_shown(void **state)
{
    struct dv_fake c = dv_fake_open(&inside, DV_SIM_CLIENT_NVML);
    struct dv_sim_nvml_node n;
    struct dv_sim_nvml_device d;
    struct dv_sim_nvml_place place, migs[2];
    assert_int_equal(nvml(&c, DV_SIM_NVML_NODE, GPU(ANY), &n, sizeof n), 0);
    assert_int_equal(n.gpus, 0);
    assert_int_equal(nvml(&c, DV_SIM_NVML_DEVICE, GPU(0), &d, sizeof d),
                     DV_NVML_ERROR_INVALID_ARGUMENT);
    show_device(&c, devices[1].uuid);
    show_device(&c, devices[5].uuid);
    assert_int_equal(nvml(&c, DV_SIM_NVML_NODE, GPU(ANY), &n, sizeof n), 0);
    assert_int_equal(n.gpus, 2);
    assert_int_equal(nvml(&c, DV_SIM_NVML_DEVICE, GPU(0), &d, sizeof d), 0);
    assert_string_equal(d.uuid, devices[1].uuid);
    assert_int_equal(d.gpu, 0);
    assert_int_equal(d.minor, 1); /* the node's: /dev/nvidia1 */
    assert_int_equal(d.link[0].pcie, DV_NVML_TOPOLOGY_INTERNAL);
    assert_int_not_equal(d.link[1].pcie, DV_NVML_TOPOLOGY_INTERNAL);
    assert_int_equal(nvml(&c, DV_SIM_NVML_MIG_DEVICES, GPU(1), migs, sizeof *migs), 0);
    assert_string_equal(migs[0].uuid, devices[5].uuid);
    assert_int_equal(migs[0].gpu, 1);
    assert_int_equal(find(&c, devices[5].uuid, &place), 0);
    assert_int_equal(find(&c, devices[4].uuid, &place), DV_NVML_ERROR_NOT_FOUND);
    assert_int_equal(find(&c, devices[0].uuid, &place), DV_NVML_ERROR_NOT_FOUND);
    /* Ids can be guessed. */
    struct dv_sim_nvml_request other = {.gpu = 1, .gi = devices[4].gi_id, .ci = devices[4].ci_id};
    assert_int_equal(nvml(&c, DV_SIM_NVML_DEVICE, other, &d, sizeof d), DV_NVML_ERROR_NOT_FOUND);
    /* root in a container is not the node's */
    struct dv_sim_nvml_request set = {
        .gpu = 0, .gi = ANY, .ci = ANY, .a = DV_SIM_NVML_COMPUTE_MODE, .value = 2};
    assert_int_equal(nvml(&c, DV_SIM_NVML_SET, set, NULL, 0), DV_NVML_ERROR_NO_PERMISSION);
    dv_fake_close(&c);
}

static void test_cuda_has_what_is_shown(void **state)
{
    static struct dv_sim_device d[64];
    struct dv_fake c = dv_fake_open(&inside, DV_SIM_CLIENT_CUDA);
    struct dv_sim_ctx_create q = {.device = devices[0].id};
    struct dv_sim_ctx_created made;
    struct dv_sim_mem_info info;
    assert_int_equal(dv_fake_ask(&c, DV_SIM_CUDA_DEVICES, NULL, 0, d, 0, NULL, NULL), 0);
    assert_string_equal(d[0].uuid, "");
    show_device(&c, devices[2].uuid);
    assert_int_equal(dv_fake_ask(&c, DV_SIM_CUDA_DEVICES, NULL, 0, d, sizeof *d, NULL, NULL), 0);
    assert_string_equal(d[0].uuid, devices[2].uuid);
    assert_int_equal(
        dv_fake_ask(&c, DV_SIM_CUDA_CTX_CREATE, &q, sizeof q, &made, sizeof made, NULL, NULL), 101);
    assert_int_equal(
        dv_fake_ask(&c, DV_SIM_CUDA_MEM_INFO, &q.device, 4, &info, sizeof info, NULL, NULL), 101);
    dv_fake_ctx(&c, devices[2].id);
    dv_fake_close(&c);
}

static void test_only_the_file_itself_counts(void **state)
{
    char path[96];
    struct dv_fake c = dv_fake_open(&inside, DV_SIM_CLIENT_NVML);
    struct dv_sim_nvml_node n;
    int none = -1;
    snprintf(path, sizeof path, "%.60s/%.30s", node.directory, "GPU-mine");
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    show(&c, path);
    show(&c, "/dev/null");
    show(&c, node.directory);
    assert_int_equal(dv_fake_ask(&c, DV_SIM_SHOW, NULL, 0, NULL, 0, &none, NULL), 0);
    unlink(path);
    assert_int_equal(nvml(&c, DV_SIM_NVML_NODE, GPU(ANY), &n, sizeof n), 0);
    assert_int_equal(n.gpus, 0);
    dv_fake_close(&c);
}

/* Statistics, injection, MPS daemons. */
static void test_the_nodes_own_tools_stay_outside(void **state)
{
    static const enum dv_sim_client kinds[] = {DV_SIM_CLIENT_CONTROL, DV_SIM_CLIENT_MPS};
    for (size_t i = 0; i < 2; i++) {
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        struct dv_sim_hello hello = {DV_SIM_ABI, kinds[i]};
        struct dv_fake c = {.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)};
        memcpy(a.sun_path, inside.socket, sizeof inside.socket);
        assert_int_equal(connect(c.fd, (struct sockaddr *)&a, sizeof a), 0);
        assert_int_equal(dv_fake_ask(&c, DV_SIM_HELLO, &hello, sizeof hello, NULL, 0, NULL, NULL),
                         -EACCES);
        close(c.fd);
    }
}

static void test_outside_showing_changes_nothing(void **state)
{
    struct dv_fake c = dv_fake_open(&node, DV_SIM_CLIENT_NVML);
    struct dv_sim_nvml_node n;
    show_device(&c, devices[1].uuid);
    assert_int_equal(nvml(&c, DV_SIM_NVML_NODE, GPU(ANY), &n, sizeof n), 0);
    assert_int_equal(n.gpus, 4);
    dv_fake_close(&c);
}

int main(void)
{
    const struct CMUnitTest pure[] = {
        cmocka_unit_test(test_all_and_parts),
        cmocka_unit_test(test_a_gpu_that_has_gone),
        cmocka_unit_test(test_there_is_an_end),
    };
    const struct CMUnitTest served[] = {
        cmocka_unit_test(test_nvml_counts_what_is_shown),
        cmocka_unit_test(test_cuda_has_what_is_shown),
        cmocka_unit_test(test_only_the_file_itself_counts),
        cmocka_unit_test(test_the_nodes_own_tools_stay_outside),
        cmocka_unit_test(test_outside_showing_changes_nothing),
    };
    int r = cmocka_run_group_tests(pure, NULL, NULL);
    return r ? r : cmocka_run_group_tests(served, start, stop);
}
