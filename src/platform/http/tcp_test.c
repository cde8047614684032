/* SPDX-License-Identifier: Apache-2.0 */
#include "http/tcp.h"
#include "sys/fd.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void test_parse(void **state)
{
    static const struct {
        const char *text, *canonical;
        bool loopback;
    } good[] = {{"127.0.0.1:9400", "127.0.0.1:9400", true},
                {":9400", "127.0.0.1:9400", true},
                {"localhost:1", "127.0.0.1:1", true},
                {"127.9.9.9:0", "127.9.9.9:0", true},
                {"[::1]:9400", "[::1]:9400", true},
                {"0.0.0.0:65535", "0.0.0.0:65535", false},
                {"[::]:80", "[::]:80", false},
                {"10.1.2.3:9400", "10.1.2.3:9400", false},
                {"[::ffff:127.0.0.1]:1", "[::ffff:127.0.0.1]:1", false}};
    static const char *const bad[] = {
        "",         "9400",  "127.0.0.1",  "127.0.0.1:",  "1.2.3.4:65536",
        "::1:9400", "[::1]", "[::1]9400",  "[1.2.3.4]:1", "host:9400",
        "1.2.3:80", "[]:1",  "1.2.3.4:-1", "1.2.3.4:1x",  "[::1:1"};
    struct dv_http_address a;
    struct dv_err err;
    for (size_t i = 0; i < DV_ARRAY_SIZE(good); i++) {
        assert_int_equal(dv_http_tcp_parse(good[i].text, &a, &err), 0);
        assert_string_equal(a.text, good[i].canonical);
        assert_int_equal(a.loopback, good[i].loopback);
    }
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++) {
        err.msg[0] = 0;
        assert_int_equal(dv_http_tcp_parse(bad[i], &a, &err), -EINVAL);
        assert_true(err.msg[0]);
    }
}

static void test_listen(void **state)
{
    struct dv_http_address a;
    struct dv_err err;
    assert_int_equal(dv_http_tcp_parse("127.0.0.1:0", &a, &err), 0);
    int fd = dv_http_tcp_listen(&a, &err);
    assert_true(fd >= 0);
    assert_int_equal(dv_http_tcp_chosen(fd, &a), 0);
    assert_string_not_equal(a.text, "127.0.0.1:0");
    assert_int_equal(dv_http_tcp_listen(&a, &err), -EADDRINUSE);
    assert_non_null(strstr(err.msg, a.text));
    dv_fd_close(&fd);
}

static void test_host(void **state)
{
    static const char *const own[] = {"localhost", "LOCALHOST:9400", "127.0.0.1",  "127.0.0.1:80",
                                      "[::1]",     "[::1]:9400",     "127.1.2.3:1"};
    static const char *const foreign[] = {"",
                                          "evil.example",
                                          "localhost.evil.example",
                                          "10.0.0.1",
                                          "127.0.0.1.nip.io",
                                          "localhost:x",
                                          "[::2]:80",
                                          "[::1",
                                          "[::1]x",
                                          "127.0.0.1:",
                                          "a:b:c",
                                          "127.0.0.1:99999",
                                          "[]",
                                          ":80"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(own); i++)
        assert_true(dv_http_tcp_host_is_own(own[i]));
    for (size_t i = 0; i < DV_ARRAY_SIZE(foreign); i++)
        assert_false(dv_http_tcp_host_is_own(foreign[i]));
    assert_false(dv_http_tcp_host_is_own(NULL));
}

static void test_bearer(void **state)
{
    assert_true(dv_http_tcp_bearer_is("Bearer s3cret", "s3cret"));
    assert_true(dv_http_tcp_bearer_is("bearer   s3cret", "s3cret"));
    assert_false(dv_http_tcp_bearer_is("Bearer s3creT", "s3cret"));
    assert_false(dv_http_tcp_bearer_is("Bearer s3cret2", "s3cret"));
    assert_false(dv_http_tcp_bearer_is("Bearer ", ""));
    assert_false(dv_http_tcp_bearer_is("Basic s3cret", "s3cret"));
    assert_false(dv_http_tcp_bearer_is(NULL, "s3cret"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_parse), cmocka_unit_test(test_listen),
                                       cmocka_unit_test(test_host), cmocka_unit_test(test_bearer)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
