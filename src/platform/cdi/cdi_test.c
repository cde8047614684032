/* SPDX-License-Identifier: Apache-2.0 */
#include "cdi/cdi.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define KIND "divvy.dev/slice"

static void fill(struct dv_cdi_edits *e)
{
    dv_cdi_env(e, "NVIDIA_VISIBLE_DEVICES=%s", "void");
    dv_cdi_env(e, "QUOTED=a\"b");
    dv_cdi_node(e, "/dev/nvidia0", "/dev/nvidia0");
    dv_cdi_node(e, "/dev/nvidia0", "/dev/nvidia0");
    dv_cdi_mount(e, "/opt/divvy/standin/libcuda.so.1", "/usr/lib64/libcuda.so.1", 0);
    dv_cdi_mount(e, "/other", "/usr/lib64/libcuda.so.1", 0); /* the place is taken */
    dv_cdi_mount(e, "/run/divvy/t", "/run/divvy/tenant", DV_CDI_MOUNT_NOEXEC);
    dv_cdi_hook(e, 30, "/opt/divvy/divvy-hook");
    dv_cdi_hook_argument(e, "--resource");
    dv_cdi_hook_argument(e, "nvidia.com/gpu");
}

static void test_text(void **state)
{
    static const char golden[] =
        "{\n"
        "  \"cdiVersion\": \"0.3.0\",\n"
        "  \"kind\": \"divvy.dev/slice\",\n"
        "  \"devices\": [\n"
        "    {\n"
        "      \"name\": \"alloc-1\",\n"
        "      \"containerEdits\": {\n"
        "        \"env\": [\n"
        "          \"NVIDIA_VISIBLE_DEVICES=void\",\n"
        "          \"QUOTED=a\\\"b\"\n"
        "        ],\n"
        "        \"deviceNodes\": [\n"
        "          {\"path\": \"/dev/nvidia0\", \"permissions\": \"rw\"}\n"
        "        ],\n"
        "        \"mounts\": [\n"
        "          {\"hostPath\": \"/opt/divvy/standin/libcuda.so.1\", \"containerPath\": "
        "\"/usr/lib64/libcuda.so.1\",\n"
        "           \"options\": [\"ro\", \"nosuid\", \"nodev\", \"rbind\", \"rprivate\"]},\n"
        "          {\"hostPath\": \"/run/divvy/t\", \"containerPath\": \"/run/divvy/tenant\",\n"
        "           \"options\": [\"ro\", \"nosuid\", \"nodev\", \"noexec\", \"rbind\", "
        "\"rprivate\"]}\n"
        "        ],\n"
        "        \"hooks\": [\n"
        "          {\"hookName\": \"createRuntime\", \"path\": \"/opt/divvy/divvy-hook\", "
        "\"timeout\": 30,\n"
        "           \"args\": [\n"
        "             \"divvy-hook\",\n"
        "             \"--resource\",\n"
        "             \"nvidia.com/gpu\"\n"
        "           ]}\n"
        "        ]\n"
        "      }\n"
        "    }\n"
        "  ]\n"
        "}\n";
    dv_cleanup(dv_cdi_edits_done) struct dv_cdi_edits e = {0};
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_cdi_device d = {"alloc-1", &e};
    struct dv_err err = {0};
    fill(&e);
    assert_int_equal(dv_cdi_text(KIND, &d, 1, &text, &err), 0);
    assert_string_equal(dv_str_get(&text), golden);
}

static const char *version(const char *name, const struct dv_cdi_edits *e)
{
    static char ret[16];
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_cdi_device d = {name, e};
    assert_int_equal(dv_cdi_text(KIND, &d, 1, &text, NULL), 0);
    assert_int_equal(sscanf(dv_str_get(&text), "{ \"cdiVersion\": \"%15[0-9.]", ret), 1);
    return ret;
}

static void test_the_lowest_version(void **state)
{
    dv_cleanup(dv_cdi_edits_done) struct dv_cdi_edits e = {0};
    dv_cdi_node(&e, "/dev/nvidia0", "/dev/nvidia0");
    assert_string_equal(version("a", &e), "0.3.0");
    assert_string_equal(version("0", &e), "0.5.0");
    dv_cdi_node(&e, "/dev/nvidia1", "/driver/dev/nvidia1");
    assert_string_equal(version("a", &e), "0.5.0");
}

static void bad(const char *kind, const char *name, const struct dv_cdi_edits *e, int error)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_cdi_device d = {name, e};
    struct dv_err err = {0};
    assert_int_equal(dv_cdi_text(kind, &d, 1, &text, &err), error);
    assert_true(err.msg[0]);
}

static void test_what_is_none(void **state)
{
    static const char *const names[] = {"", "-a", "a-", "a b", "a/b", "../a", "a\n", ".a"};
    static const char *const kinds[] = {"", "a", "/b", "a/", "a/b/c", "a/b.c", "1a/b", "a b/c"};
    dv_cleanup(dv_cdi_edits_done) struct dv_cdi_edits good = {0}, none = {0}, path = {0};
    dv_cleanup(dv_cdi_edits_done) struct dv_cdi_edits env = {0}, many = {0};
    char longer[DV_CDI_NAME_MAX + 2];
    dv_cdi_env(&good, "A=b");
    for (size_t i = 0; i < DV_ARRAY_SIZE(names); i++)
        bad(KIND, names[i], &good, -EINVAL);
    for (size_t i = 0; i < DV_ARRAY_SIZE(kinds); i++)
        bad(kinds[i], "a", &good, -EINVAL);
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    bad(KIND, longer, &good, -EINVAL);
    bad(KIND, "a", &none, -EINVAL);
    dv_cdi_mount(&path, "relative", "/x", 0);
    bad(KIND, "a", &path, -EINVAL);
    dv_cdi_env(&env, "none");
    bad(KIND, "a", &env, -EINVAL);
    for (unsigned i = 0; i <= DV_CDI_LIST_MAX; i++)
        dv_cdi_env(&many, "A%u=b", i);
    bad(KIND, "a", &many, -ENOMEM);
    assert_int_equal(dv_cdi_text(KIND, NULL, 0, NULL, NULL), -EINVAL);
}

static size_t files_in(const char *dir)
{
    size_t n = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void test_files(void **state)
{
    char top[] = "/tmp/divvy-cdi-XXXXXX", dir[64], path[128];
    dv_cleanup(dv_cdi_edits_done) struct dv_cdi_edits e = {0};
    struct dv_cdi_device d = {"alloc-1", &e};
    struct dv_err err = {0};
    struct stat st;
    fill(&e);
    assert_non_null(mkdtemp(top));
    snprintf(dir, sizeof dir, "%s/cdi", top);
    assert_int_equal(dv_cdi_write(dir, KIND, "alloc-1", &d, 1, &err), 0);
    assert_int_equal(dv_cdi_write(dir, KIND, "alloc-1", &d, 1, &err), 0);
    snprintf(path, sizeof path, "%s/divvy.dev-slice_alloc-1.json", dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0644);
    assert_int_equal(files_in(dir), 1);
    assert_int_equal(dv_cdi_write(dir, KIND, "../alloc", &d, 1, &err), -EINVAL);
    assert_int_equal(dv_cdi_remove(dir, KIND, "alloc-1", &err), 0);
    assert_int_equal(dv_cdi_remove(dir, KIND, "alloc-1", &err), 0);
    assert_int_equal(files_in(dir), 0);
    rmdir(dir);
    assert_int_equal(rmdir(top), 0);
    assert_int_equal(dv_cdi_write("/proc/none/such", KIND, "a", &d, 1, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "/proc/none/such"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_the_lowest_version),
        cmocka_unit_test(test_what_is_none),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
