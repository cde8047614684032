/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/log.h"
#include "sys/proc.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void test_identity(void **state)
{
    struct dv_proc_id me, child;
    assert_int_equal(dv_proc_identify(getpid(), &me), 0);
    assert_true(dv_proc_alive(&me));
    struct dv_proc_id other = {me.pid, me.start + 1};
    assert_false(dv_proc_alive(&other));
    assert_int_equal(dv_proc_pidfd(&other), -ESRCH);
    assert_int_equal(dv_proc_identify(0, &child), -ESRCH);

    pid_t pid = fork();
    if (!pid) {
        pause();
        _exit(0);
    }
    assert_int_equal(dv_proc_identify(pid, &child), 0);
    uint32_t distance = 9;
    assert_true(dv_proc_is_within(pid, &me, &distance));
    assert_int_equal(distance, 1);
    assert_false(dv_proc_is_within(pid, &other, NULL));
    assert_false(dv_proc_is_within(getpid(), &child, NULL));
    struct dv_proc_id list[64];
    size_t n = dv_proc_descendants(&me, list, 64);
    bool found = false;
    for (size_t i = 0; i < n; i++)
        found |= list[i].pid == pid;
    assert_true(found);

    int fd = dv_proc_pidfd(&child);
    assert_true(fd >= 0);
    kill(pid, SIGKILL);
    struct pollfd p = {fd, POLLIN, 0};
    assert_int_equal(poll(&p, 1, 10000), 1);
    assert_false(dv_proc_alive(&child)); /* a zombie is dead */
    waitpid(pid, NULL, 0);
    close(fd);
}

static void test_log_value(void **state)
{
    char buf[DV_LOG_VALUE], big[1000];
    assert_string_equal(dv_log_value("plain-1", buf), "plain-1");
    assert_string_equal(dv_log_value("", buf), "\"\"");
    assert_string_equal(dv_log_value("a b\n\"", buf), "\"a b\\x0a\\\"\"");
    memset(big, '\n', sizeof big);
    big[999] = 0;
    assert_true(strlen(dv_log_value(big, buf)) < DV_LOG_VALUE);
}

static void test_default_socket(void **state)
{
    char path[100];
    char tiny[8];
    assert_int_equal(dv_proc_default_socket(path, sizeof path), 0);
    assert_int_equal(path[0], '/');
    assert_non_null(strstr(path, "divvyd.sock"));
    assert_int_equal(dv_proc_default_socket(tiny, sizeof tiny), -ENAMETOOLONG);
}

static void test_cgroup(void **state)
{
    char text[8192], small[4];
    assert_int_equal(dv_proc_cgroup(getpid(), text, sizeof text), 0);
    assert_non_null(strstr(text, ":/"));
    assert_int_equal(dv_proc_cgroup(getpid(), small, sizeof small), -E2BIG);
    assert_int_equal(dv_proc_cgroup(0x7fffffff, text, sizeof text), -ESRCH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default_socket), cmocka_unit_test(test_cgroup),
        cmocka_unit_test(test_identity), cmocka_unit_test(test_log_value)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
