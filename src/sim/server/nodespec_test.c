/* SPDX-License-Identifier: Apache-2.0 */
#include "server/nodespec.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEAD "apiVersion: divvy/v1\nkind: SimNode\n"

static struct dv_nodespec spec, again;

static int parse(const char *text, struct dv_err *err)
{
    memset(err, 0, sizeof(*err));
    return dv_nodespec_parse("lab.yaml", text, strlen(text), &spec, err);
}

static void test_builtins_survive_print_and_parse(void **state)
{
    const char *name;

    for (size_t i = 0; (name = dv_nodespec_builtin(i, NULL)); i++) {
        struct dv_str first = {0}, second = {0};
        struct dv_err err = {0};

        assert_int_equal(dv_nodespec_load(name, &spec, &err), 0);
        dv_nodespec_print(&spec, &first);
        if (dv_nodespec_parse("x", first.data, first.len, &again, &err) < 0)
            fail_msg("%s: %s\n%s", name, err.msg, first.data);
        dv_nodespec_print(&again, &second);
        assert_string_equal(first.data, second.data);
        assert_memory_equal(spec.link, again.link, sizeof(spec.link));
        assert_memory_equal(spec.gpu, again.gpu, sizeof(spec.gpu));
        dv_str_done(&first);
        dv_str_done(&second);
    }
}

static void test_builtins_are_what_their_names_say(void **state)
{
    struct dv_err err = {0};

    assert_int_equal(dv_nodespec_load("dgx-a100", &spec, &err), 0);
    assert_int_equal(spec.n_gpus, 8);
    assert_string_equal(spec.gpu[0].model->product, "NVIDIA A100-SXM4-80GB");
    assert_int_equal(spec.numa_nodes, 8);
    static const uint32_t numa[] = {3, 3, 1, 1, 7, 7, 5, 5};
    for (uint32_t i = 0; i < 8; i++)
        assert_int_equal(spec.gpu[i].numa, numa[i]);
    assert_int_equal(spec.threads, 2);
    assert_int_equal(spec.link[0][7].nvlinks, 12);
    assert_int_equal(spec.link[0][7].pcie, DV_SIMLINK_SYS);
    assert_int_equal(spec.link[0][1].pcie, DV_SIMLINK_PXB);
    assert_int_equal(spec.link[2][2].pcie, DV_SIMLINK_SELF);
    assert_int_equal(dv_nodespec_load("dgx-h100", &spec, &err), 0);
    assert_int_equal(spec.gpu[3].numa, 0);
    assert_int_equal(spec.gpu[4].numa, 1);
    assert_int_equal(spec.link[4][7].pcie, DV_SIMLINK_NODE);
    assert_int_equal(spec.link[4][7].nvlinks, 18);
    assert_int_equal(dv_nodespec_load("t4x4", &spec, &err), 0);
    assert_int_equal(spec.n_gpus, 4);
    assert_int_equal(spec.link[0][1].nvlinks, 0);
    assert_null(spec.gpu[0].model->mig);
}

static void test_uuids_repeat_and_differ(void **state)
{
    struct dv_err err = {0};
    char first[DV_SIM_UUID_SIZE];

    assert_int_equal(dv_nodespec_load("dgx-a100", &spec, &err), 0);
    memcpy(first, spec.gpu[0].uuid, sizeof(first));
    assert_int_equal(dv_nodespec_load("dgx-a100", &spec, &err), 0);
    assert_string_equal(first, spec.gpu[0].uuid);
    for (uint32_t i = 0; i < spec.n_gpus; i++) {
        for (uint32_t k = 0; k < i; k++)
            assert_string_not_equal(spec.gpu[i].uuid, spec.gpu[k].uuid);
    }
    assert_int_equal(dv_nodespec_load("dgx-h100", &spec, &err), 0);
    assert_string_not_equal(first, spec.gpu[0].uuid);
}

static void test_a_file_of_all_keys(void **state)
{
    static const char text[] =
        HEAD "name: lab\nhostname: lab-1\ngpu_reset: unavailable\ndriver: \"570.1.2\"\ncuda: "
             "\"12.8\"\nnuma: 2\ncpus: 64\nthreads: 2\n"
             "links:\n  - {gpus: all, nvlinks: 4}\n  - {gpus: [0, 2], nvlinks: 0, pcie: PIX}\n"
             "gpus:\n"
             "  - {model: A100-80GB, count: 2, numa: 1, mig: \"3g.40gb,2g.20gb\"}\n"
             "  - model: T4\n    uuid: GPU-00000000-1111-2222-3333-444444444444\n"
             "    pci: \"0001:3b:02.0\"\n    memory: 8GiB\n    context: 100MiB\n"
             "kernels:\n  - {name: \"gemm*\", duration: 50us, sms: 108}\n"
             "engine: {timeslice: 1ms, switch: 0, slices: instant}\n";
    struct dv_err err;

    if (parse(text, &err) < 0)
        fail_msg("%s", err.msg);
    assert_string_equal(spec.name, "lab");
    assert_string_equal(spec.hostname, "lab-1");
    assert_string_equal(spec.driver, "570.1.2");
    assert_true(spec.no_reset);
    assert_int_equal(spec.cuda_version, 12080);
    assert_int_equal(spec.n_gpus, 3);
    assert_true(spec.gpu[1].mig);
    assert_string_equal(spec.gpu[1].mig_layout, "3g.40gb,2g.20gb");
    assert_int_equal(spec.threads, 2);
    assert_int_equal(spec.gpu[1].numa, 1);
    assert_string_equal(spec.gpu[2].uuid, "GPU-00000000-1111-2222-3333-444444444444");
    assert_int_equal(spec.gpu[2].pci_domain, 1);
    assert_int_equal(spec.gpu[2].pci_bus, 0x3b);
    assert_int_equal(spec.gpu[2].pci_device, 2);
    assert_int_equal(spec.gpu[2].memory_bytes, 8 * DV_GIB);
    assert_int_equal(spec.gpu[2].context_bytes, 100 * DV_MIB);
    assert_int_equal(spec.link[0][1].nvlinks, 4);
    assert_int_equal(spec.link[0][1].pcie, DV_SIMLINK_NODE);
    assert_int_equal(spec.link[2][0].nvlinks, 0);
    assert_int_equal(spec.link[2][0].pcie, DV_SIMLINK_PIX);
    assert_int_equal(spec.link[2][1].pcie, DV_SIMLINK_SYS);
    assert_int_equal(spec.n_kernels, 1);
    assert_int_equal(spec.kernel[0].duration_ns, 50000);
    assert_int_equal(spec.timeslice_ns, 1000000);
    assert_int_equal(spec.switch_ns, 0);
    assert_int_equal(spec.slices, DV_NODESPEC_SLICES_INSTANT);
}

static const struct {
    const char *text;
    const char *message; /* the whole of it */
} wrong[] = {
    {"", "lab.yaml:1:1: the file is empty"},
    {"[1]", "lab.yaml:1:1: the node: 'key: value' lines are wanted here"},
    {"a: [", "lab.yaml:2:1: did not find expected node content"},
    {"kind: SimNode\ngpus: []", "lab.yaml:1:1: apiVersion: divvy/v1 is missing"},
    {"apiVersion: divvy/v1\ngpus: []", "lab.yaml:1:1: kind: SimNode is missing"},
    {"apiVersion: v2", "lab.yaml:1:13: apiVersion: only divvy/v1 is known"},
    {HEAD "kind: SimNode", "lab.yaml:3:1: kind is given twice"},
    {HEAD "gpu: []", "lab.yaml:3:1: unknown key 'gpu' in the node; did you mean 'gpus'?"},
    {HEAD "gpus: []", "lab.yaml:1:1: gpus: at least one GPU is wanted"},
    {HEAD "gpus: 8", "lab.yaml:3:7: gpus: a list ('- ...') is wanted here"},
    {HEAD "gpus:\n  - modell: T4",
     "lab.yaml:4:5: unknown key 'modell' in gpus; did you mean 'model'?"},
    {HEAD "gpus:\n  - {count: 1}", "lab.yaml:4:5: a GPU needs a model"},
    {HEAD "gpus:\n  - {model: T4, count: 17}",
     "lab.yaml:4:24: count: '17' is not between 1 and 16"},
    {HEAD "gpus:\n  - {model: T4, mig: true}", "lab.yaml:4:22: mig: T4 has no MIG"},
    {HEAD "gpus:\n  - {model: T4, numa: 1}",
     "lab.yaml:1:1: gpus: GPU 0 is on NUMA node 1 of 1 (numa: N says how many)"},
    {HEAD "numa: 2\ncpus: 7\nthreads: 4\ngpus:\n  - {model: T4}",
     "lab.yaml:1:1: cpus: 8 are wanted, a core of 4 threads for each of 2 NUMA nodes"},
    {HEAD "gpus:\n  - {model: T4, pci: \"07:00\"}",
     "lab.yaml:4:22: pci: an address like \"0000:07:00.0\" is wanted here"},
    {HEAD "gpus:\n  - {model: T4, uuid: 7}",
     "lab.yaml:4:23: uuid: 'GPU-' and a UUID in small letters is wanted here"},
    {HEAD "gpus:\n  - {model: T4, memory: 100MiB}",
     "lab.yaml:4:5: memory: not enough for the driver's own part and one context"},
    {HEAD "gpus:\n  - {model: T4, count: 2, pci: \"0000:07:00.0\"}",
     "lab.yaml:4:5: count: GPUs with a uuid or pci address are listed one by one"},
    {HEAD "gpus:\n  - {model: T4}\nlinks:\n  - {gpus: [0, 1], nvlinks: 2}",
     "lab.yaml:6:16: gpus: '1' is not between 0 and 0"},
    {HEAD "gpus:\n  - {model: T4}\nkernels:\n  - {name: x, duration: 2h}",
     "lab.yaml:6:25: duration: 2h is not within 1ns .. 1h 00m"},
    {HEAD "gpus:\n  - {model: T4}\nengine: {slices: both}",
     "lab.yaml:5:18: slices: phase or instant is wanted here"},
    {HEAD "cuda: 14.0", "lab.yaml:3:7: cuda: a version from \"11.0\" to \"13.9\" is wanted here"},
    {HEAD "hostname: \"a\\tb\"", "lab.yaml:3:11: hostname: only printable ASCII is allowed"},
    {HEAD "hostname: {a: b}", "lab.yaml:3:11: hostname: a text is wanted here"},
};

static void test_errors_name_line_and_column(void **state)
{
    for (size_t i = 0; i < DV_ARRAY_SIZE(wrong); i++) {
        struct dv_err err;

        assert_int_equal(parse(wrong[i].text, &err), -EINVAL);
        if (strcmp(err.msg, wrong[i].message))
            print_error("%zu: want %s\n", i, wrong[i].message);
        assert_string_equal(err.msg, wrong[i].message);
    }
}

static void test_wrong_models_and_profiles_are_explained(void **state)
{
    struct dv_err err;

    assert_int_equal(parse(HEAD "gpus:\n  - {model: A1000}", &err), -EINVAL);
    assert_non_null(strstr(err.msg, "lab.yaml:4:13: model: "));
    assert_int_equal(parse(HEAD "gpus:\n  - {model: A100-80GB, mig: 9g.90gb}", &err), -EINVAL);
    assert_non_null(strstr(err.msg, "lab.yaml:4:29: mig: "));
    assert_int_equal(parse(HEAD "gpus:\n  - {model: GH200-144GB}", &err), -EINVAL);
    assert_non_null(strstr(err.msg, "not public"));
}

static void test_unknown_nodes_get_a_suggestion(void **state)
{
    struct dv_err err = {0};

    assert_int_equal(dv_nodespec_load("dgx-a1000", &spec, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "dgx-a100"));
    assert_int_equal(dv_nodespec_load("./nothing.yaml", &spec, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "./nothing.yaml"));
    assert_int_equal(dv_nodespec_load("/", &spec, &err), -EINVAL);
}

static void test_a_file_has_a_bound(void **state)
{
    char *text = malloc(DV_NODESPEC_FILE_MAX + 2);
    struct dv_err err = {0};

    memset(text, ' ', DV_NODESPEC_FILE_MAX + 2);
    assert_int_equal(dv_nodespec_parse("big", text, DV_NODESPEC_FILE_MAX + 1, &spec, &err), -E2BIG);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_builtins_survive_print_and_parse),
        cmocka_unit_test(test_builtins_are_what_their_names_say),
        cmocka_unit_test(test_uuids_repeat_and_differ),
        cmocka_unit_test(test_a_file_of_all_keys),
        cmocka_unit_test(test_errors_name_line_and_column),
        cmocka_unit_test(test_wrong_models_and_profiles_are_explained),
        cmocka_unit_test(test_unknown_nodes_get_a_suggestion),
        cmocka_unit_test(test_a_file_has_a_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
