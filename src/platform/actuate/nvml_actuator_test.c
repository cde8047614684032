/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Argument: the NVML of fake_resetting_nvml.c. What the driver's tools are made to do: resets,
 * deadlines, bounded output; and reading what they print. Steps on simulated GPUs:
 * tests/e2e/worker_steps_test.c.
 */
#include "actuate/memory_limit.h"
#include "actuate/mps.h"
#include "actuate/nvml_actuator.h"
#include "actuate/tool.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const char *library;
static char dir[] = "/tmp/divvy-tools-XXXXXX", gpu_state[64];

static void write_file(const char *name, const char *text, mode_t mode)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(chmod(path, mode), 0);
}

static void tool(const char *name, const char *script)
{
    char text[1024];
    snprintf(text, sizeof text, "#!/bin/sh\n%s\n", script);
    write_file(name, text, 0700);
}

static int start(void **state)
{
    assert_non_null(mkdtemp(dir));
    snprintf(gpu_state, sizeof gpu_state, "%s/gpu", dir);
    setenv("FAKE_GPU_STATE", gpu_state, 1);
    return 0;
}

static int stop(void **state)
{
    static const char *const names[] = {"gpu", "gpu.open", "nvidia-smi", "tool", "mark"};
    char path[128];
    for (size_t i = 0; i < DV_ARRAY_SIZE(names); i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    return rmdir(dir);
}

/* ---- resets ---- */

static int set_mode(bool no_resets, struct dv_receipt *ret, struct dv_err *err)
{
    struct dv_actuator_config config = {
        .library = library, .tools = dir, .state = dir, .no_resets = no_resets};
    struct dv_step s = {.kind = DV_STEP_MIG_MODE, .value = 1, .uuid = "GPU-resetting"};
    struct dv_actuator *a;
    assert_int_equal(dv_nvml_actuator_new(&config, &a, err), 0);
    int r = dv_actuate_step(a, &s, ret, err);
    dv_actuator_free(a);
    return r;
}

static void assert_state(const char *want)
{
    char text[8] = "";
    FILE *f = fopen(gpu_state, "re");
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof text, f));
    fclose(f);
    assert_string_equal(text, want);
}

static void test_reset(void **state)
{
    struct dv_receipt r = {0};
    struct dv_err err = {{0}};
    write_file("gpu", "00", 0600);
    assert_int_equal(set_mode(true, &r, &err), DV_ACTUATE_NEEDS_RESET);
    assert_non_null(strstr(err.msg, "not allowed"));
    assert_state("01");
    tool("nvidia-smi", "echo 'GPU is held by somebody'; exit 3");
    assert_int_equal(set_mode(false, &r, &err), DV_ACTUATE_NEEDS_RESET);
    assert_non_null(strstr(err.msg, "GPU is held by somebody"));
    tool("nvidia-smi", "[ \"$1 $2 $3\" = '--gpu-reset -i GPU-resetting' ] || exit 2\n"
                       "[ -e \"$FAKE_GPU_STATE.open\" ] && { echo 'In use'; exit 19; }\n"
                       "printf 11 >\"$FAKE_GPU_STATE\"");
    assert_int_equal(set_mode(false, &r, &err), 0);
    assert_int_equal(r.reset, 1);
    assert_state("11");
    assert_int_equal(set_mode(false, &r, &err), 0); /* again: no reset */
    assert_int_equal(r.reset, 0);
    write_file("gpu", "00", 0600);
    tool("nvidia-smi", "exit 0"); /* says yes and does nothing */
    assert_int_equal(set_mode(false, &r, &err), DV_ACTUATE_NEEDS_RESET);
    assert_non_null(strstr(err.msg, "still pending"));
}

/* GPU 0 is not the one that the plan was made for: nothing is done to it. */
static void test_other_gpu(void **state)
{
    struct dv_actuator_config config = {.library = library, .tools = dir, .state = dir};
    struct dv_step s = {.kind = DV_STEP_MIG_MODE, .value = 1, .uuid = "GPU-that-was-here"};
    struct dv_receipt r = {0};
    struct dv_err err = {{0}};
    struct dv_actuator *a;
    write_file("gpu", "00", 0600);
    assert_int_equal(dv_nvml_actuator_new(&config, &a, &err), 0);
    assert_int_equal(dv_actuate_step(a, &s, &r, &err), DV_ACTUATE_NOT_FOUND);
    assert_non_null(strstr(err.msg, "another one now"));
    dv_actuator_free(a);
    assert_state("00");
}

static void test_no_tool(void **state)
{
    struct dv_receipt r = {0};
    struct dv_err err = {{0}};
    char path[128];
    snprintf(path, sizeof path, "%s/nvidia-smi", dir);
    unlink(path);
    write_file("gpu", "00", 0600);
    assert_int_equal(set_mode(false, &r, &err), DV_ACTUATE_NEEDS_RESET);
    assert_non_null(strstr(err.msg, "there is no nvidia-smi in "));
}

/* ---- tools ---- */

static int run(const char *script, const char *input, uint32_t ms, char *out, size_t size,
               int *status, struct dv_err *err)
{
    const char *const argv[] = {"tool", "one", "two words", NULL};
    const char *const set[] = {"HOME=/nowhere", "DIVVY_TOOL_TEST=yes", NULL};
    struct dv_tool t = {
        .directory = dir, .argv = argv, .set = set, .input = input, .deadline_ms = ms};
    tool("tool", script);
    return dv_tool_run(&t, out, size, status, err);
}

static void test_tool(void **state)
{
    char out[64];
    int status = -1;
    struct dv_err err = {{0}};
    assert_int_equal(run("echo \"$#,$2,$HOME,$DIVVY_TOOL_TEST\"; cat; echo bad >&2; exit 7", "in\n",
                         20000, out, sizeof out, &status, &err),
                     0);
    assert_int_equal(status, 7);
    assert_string_equal(out, "2,two words,/nowhere,yes\nin\nbad\n");
    assert_string_equal(dv_tool_last_line(out), "bad");
    /* More than fits: the first of it is kept, and the tool is not held up. */
    assert_int_equal(run("i=0; while [ $i -lt 20000 ]; do echo line; i=$((i+1)); done", NULL, 60000,
                         out, sizeof out, &status, &err),
                     0);
    assert_int_equal(status, 0);
    assert_int_equal(strlen(out), sizeof out - 1);
    assert_int_equal(run("kill -9 $$", NULL, 20000, out, sizeof out, &status, &err), 0);
    assert_int_equal(status, 137);
    assert_string_equal(dv_tool_last_line(out), "no output");
}

static void test_tool_deadline(void **state)
{
    char out[64];
    int status = -1;
    struct dv_err err = {{0}};
    assert_int_equal(run("echo begun; exec sleep 600", NULL, 300, out, sizeof out, &status, &err),
                     -ETIMEDOUT);
    assert_string_equal(err.msg, "tool did not end within 1 s and was killed");
    /* One that leaves a daemon with its output open is done when it ends itself. */
    assert_int_equal(run("sleep 3 & echo up", NULL, 60000, out, sizeof out, &status, &err), 0);
    assert_string_equal(out, "up\n");
}

/* ---- what they print ---- */

static void test_timeslices(void **state)
{
    uint32_t t[3];
    const char *text = "+-------------------------------------+\n"
                       "| GPU compute policies:               |\n"
                       "| GPU     Name             Value      |\n"
                       "|=====================================|\n"
                       "|   0     Timeslice        Default    |\n"
                       "|   2     Timeslice        Long       |\n"
                       "|   9     Timeslice        Short      |\n"
                       "|   1     Timeslice        Forever    |\n";
    assert_int_equal(dv_nvml_actuator_parse_timeslices(text, t, 3), 2);
    assert_int_equal(t[0], DV_TIMESLICE_DEFAULT);
    assert_int_equal(t[1], DV_TIMESLICE_UNKNOWN);
    assert_int_equal(t[2], DV_TIMESLICE_LONG);
    assert_int_equal(dv_nvml_actuator_parse_timeslices("", t, 3), 0);
    assert_int_equal(t[0], DV_TIMESLICE_UNKNOWN);
}

/* GPUs that nobody uses take their time. */
static void test_slow_timeslices(void **state)
{
    struct dv_actuator_config config = {.library = library, .tools = dir, .state = dir};
    struct dv_err err = {{0}};
    struct dv_actuator *a;
    uint32_t t[1] = {DV_TIMESLICE_UNKNOWN};
    tool("nvidia-smi", "sleep 3; echo '|   0     Timeslice        Long       |'");
    assert_int_equal(dv_nvml_actuator_new(&config, &a, &err), 0);
    assert_int_equal(dv_nvml_actuator_timeslices(a, t, 1, &err), 0);
    assert_int_equal(t[0], DV_TIMESLICE_LONG);
    dv_actuator_free(a);
}

static void test_mps_answers(void **state)
{
    int32_t pids[2];
    uint32_t percent;
    assert_int_equal(dv_mps_parse_pids("12\n34\n", pids, 2), 2);
    assert_int_equal(pids[1], 34);
    assert_int_equal(dv_mps_parse_pids("1\n2\n3\n", pids, 2), 2);
    assert_int_equal(dv_mps_parse_pids("", pids, 2), 0);
    assert_int_equal(dv_mps_parse_pids("12 or so\n", pids, 2), -EPROTO);
    assert_int_equal(dv_mps_parse_pids("99999999999\n", pids, 2), -EPROTO);
    assert_int_equal(dv_mps_parse_percent("50.0\n", &percent), 0);
    assert_int_equal(percent, 50);
    assert_int_equal(dv_mps_parse_percent("0.4\n", &percent), 0);
    assert_int_equal(percent, 1);
    assert_int_equal(dv_mps_parse_percent("101.0\n", &percent), -EPROTO);
    assert_int_equal(dv_mps_parse_percent("1e1\n", &percent), -EPROTO);
    assert_int_equal(dv_mps_parse_percent("", &percent), -EPROTO);
    assert_int_equal(dv_mps_parse_state("ACTIVE\n"), DV_MPS_SERVER_ACTIVE);
    assert_int_equal(dv_mps_parse_state("FAULT\n"), DV_MPS_SERVER_FAULT);
    assert_int_equal(dv_mps_parse_state("INITIALIZING\n"), DV_MPS_SERVER_OTHER);
    assert_int_equal(dv_mps_clients_of(48, 7, 7), 48);
    assert_int_equal(dv_mps_clients_of(48, 3, 7), 20);
    assert_int_equal(dv_mps_clients_of(0, 3, 7), 0);
}

static void test_mps_path(void **state)
{
    char path[256], deep[100];
    struct dv_err err = {{0}};
    assert_int_equal(dv_mps_pipe("/var/lib/divvy", "g0i3c0", path, sizeof path, &err), 0);
    assert_string_equal(path, "/var/lib/divvy/mps/g0i3c0/pipe");
    assert_int_equal(dv_mps_namespace_pipe("/var/lib/divvy", "g0", "s-7", path, sizeof path, &err),
                     0);
    assert_string_equal(path, "/var/lib/divvy/mps/g0/pipe/0/s_7");
    assert_int_equal(dv_mps_namespace_pipe("/var/lib/divvy", "g0", "../s", path, sizeof path, &err),
                     -EINVAL);
    memset(deep, 'd', sizeof deep - 1);
    deep[0] = '/';
    deep[sizeof deep - 1] = 0;
    assert_int_equal(dv_mps_pipe(deep, "g0", path, sizeof path, &err), -ENAMETOOLONG);
    assert_non_null(strstr(err.msg, "give a shorter --state"));
}

static void test_mounts(void **state)
{
    char path[32];
    const char *both = "cgroup /sys/fs/cgroup/memory cgroup rw 0 0\n"
                       "cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n";
    assert_int_equal(dv_memory_limit_mount(both, path, sizeof path), 0);
    assert_string_equal(path, "/sys/fs/cgroup/unified");
    assert_int_equal(dv_memory_limit_mount("x /a cgroup2x rw 0 0\nodd\n", path, sizeof path),
                     -ENOENT);
    assert_int_equal(dv_memory_limit_mount(both, path, 8), -ENOENT);
    char one[16], other[16];
    dv_memory_limit_folder("", one);
    assert_string_equal(one, "divvy-811c9dc5");
    dv_memory_limit_folder("/var/lib/divvy", one);
    dv_memory_limit_folder("/var/lib/divvz", other);
    assert_string_not_equal(one, other);
    assert_int_equal(strlen(other), 14);
}

int main(int argc, char **argv)
{
    library = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reset),           cmocka_unit_test(test_other_gpu),
        cmocka_unit_test(test_no_tool),         cmocka_unit_test(test_tool),
        cmocka_unit_test(test_tool_deadline),   cmocka_unit_test(test_timeslices),
        cmocka_unit_test(test_slow_timeslices), cmocka_unit_test(test_mps_answers),
        cmocka_unit_test(test_mps_path),        cmocka_unit_test(test_mounts)};
    return cmocka_run_group_tests(tests, start, stop);
}
