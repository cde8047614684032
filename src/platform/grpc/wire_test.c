/* SPDX-License-Identifier: Apache-2.0 */
#include "grpc/wire.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Three messages ("ab", "", 300 bytes), cut into pieces of every size. */
static void test_messages_in_pieces(void **state)
{
    uint8_t bytes[3 * DV_GRPC_WIRE_HEAD + 302];
    dv_grpc_wire_head(2, bytes);
    memcpy(bytes + 5, "ab", 2);
    dv_grpc_wire_head(0, bytes + 7);
    dv_grpc_wire_head(300, bytes + 12);
    memset(bytes + 17, 'x', 300);
    for (size_t piece = 1; piece <= sizeof bytes; piece++) {
        struct dv_grpc_reader r = {0};
        size_t sizes[3], seen = 0;
        for (size_t at = 0; at < sizeof bytes; at += piece) {
            const uint8_t *p = bytes + at;
            size_t n = DV_MIN(piece, sizeof bytes - at);
            while (n) {
                int got = dv_grpc_wire_feed(&r, 300, &p, &n);
                assert_true(got >= 0);
                if (got)
                    sizes[seen++] = r.size;
                assert_int_equal(dv_grpc_wire_is_partial(&r), !got);
            }
        }
        assert_int_equal(seen, 3);
        assert_true(sizes[0] == 2 && sizes[1] == 0 && sizes[2] == 300);
        dv_grpc_wire_done(&r);
    }
}

static int feed_head(uint8_t flag, uint32_t size, size_t max, size_t *ret_capacity)
{
    struct dv_grpc_reader r = {0};
    uint8_t head[DV_GRPC_WIRE_HEAD + 1] = {0};
    dv_grpc_wire_head(size, head);
    head[0] = flag;
    const uint8_t *p = head;
    size_t n = sizeof head;
    int got = dv_grpc_wire_feed(&r, max, &p, &n);
    *ret_capacity = r.capacity;
    dv_grpc_wire_done(&r);
    return got;
}

static void test_bad_heads(void **state)
{
    size_t capacity;
    assert_int_equal(feed_head(0, 101, 100, &capacity), -EMSGSIZE);
    assert_int_equal(feed_head(0, UINT32_MAX, 100, &capacity), -EMSGSIZE);
    assert_int_equal(feed_head(1, 50, 100, &capacity), -EOPNOTSUPP);
    assert_int_equal(feed_head(2, 50, 100, &capacity), -EPROTO);
    /* Who promises much gets room for what came. */
    assert_int_equal(feed_head(0, 4 << 20, 4 << 20, &capacity), 0);
    assert_true(capacity <= 1024);
}

static void test_escapes(void **state)
{
    char out[DV_GRPC_WIRE_ESCAPED], back[DV_GRPC_TEXT_MAX], lots[2 * DV_GRPC_TEXT_MAX];
    assert_int_equal(dv_grpc_wire_escape("100% f\xc3\xbcr\n", out), 18);
    assert_string_equal(out, "100%25 f%C3%BCr%0A");
    dv_grpc_wire_unescape(out, back);
    assert_string_equal(back, "100% f\xc3\xbcr "); /* a line stays a line */
    dv_grpc_wire_unescape("a%zz%4%", back);
    assert_string_equal(back, "a%zz%4%");
    memset(lots, '%', sizeof lots - 1);
    lots[sizeof lots - 1] = 0;
    assert_true(dv_grpc_wire_escape(lots, out) < sizeof out);
    dv_grpc_wire_unescape(out, back);
    assert_int_equal(strlen(back), DV_GRPC_TEXT_MAX - 1);
    dv_grpc_wire_unescape(lots, back);
    assert_int_equal(strlen(back), DV_GRPC_TEXT_MAX - 1);
}

static void test_timeouts(void **state)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = {{"1H", 3600000}, {"2M", 120000}, {"5S", 5000},           {"99m", 99},
                {"1u", 1},       {"1n", 1},      {"1000001n", 2},        {"0S", 0},
                {"1500u", 2},    {"8m", 8},      {"99999999m", 99999999}};
    static const char *const bad[] = {"", "5", "S", "-1S", "5s", "123456789S", "5SS", " 5S", "5 S"};
    uint64_t ms;
    char text[16];
    for (size_t i = 0; i < DV_ARRAY_SIZE(good); i++) {
        assert_int_equal(dv_grpc_wire_parse_timeout(good[i].text, &ms), 0);
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++)
        assert_int_equal(dv_grpc_wire_parse_timeout(bad[i], &ms), -EINVAL);
    dv_grpc_wire_format_timeout(1500, text);
    assert_string_equal(text, "1500m");
    dv_grpc_wire_format_timeout(UINT64_MAX, text);
    assert_int_equal(dv_grpc_wire_parse_timeout(text, &ms), 0);
    assert_int_equal(ms, UINT64_C(365) * 24 * 3600 * 1000);
}

static void test_names(void **state)
{
    assert_string_equal(dv_grpc_status_name(DV_GRPC_UNAVAILABLE), "UNAVAILABLE");
    assert_string_equal(dv_grpc_status_name((enum dv_grpc_code)99), "UNKNOWN");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_in_pieces),
        cmocka_unit_test(test_bad_heads),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
