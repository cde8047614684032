/* SPDX-License-Identifier: Apache-2.0 */
#include "mps/v3.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void lines(void **state)
{
    struct dv_mpscommand c;
    struct dv_err err = {0};

    assert_int_equal(dv_mpscommand_parse("  \t", &c, &err), 0);
    assert_int_equal(c.verb, DV_MPSCMD_NOTHING);
    assert_int_equal(dv_mpscommand_parse("get_server_list\r\n", &c, &err), 0);
    assert_int_equal(c.verb, DV_MPSCMD_GET_SERVER_LIST);
    assert_int_equal(dv_mpscommand_parse("set_device_pinned_mem_limit 4711 1 500M", &c, &err), 0);
    assert_int_equal(c.verb, DV_MPSCMD_SET_MEMORY);
    assert_int_equal(c.server, 4711);
    assert_string_equal(c.device, "1");
    assert_int_equal(c.bytes, 500 * DV_MIB);
    assert_int_equal(dv_mpscommand_parse("terminate_client 1 2", &c, &err), 0);
    assert_int_equal(c.client, 2);
    assert_int_equal(dv_mpscommand_parse("sm_partition add GPU-1 7", &c, &err), 0);
    assert_int_equal(c.verb, DV_MPSCMD_PARTITION_ADD);
    assert_int_equal(c.chunks, 7);
    assert_int_equal(dv_mpscommand_parse("sm_partition rm GPU-1 BAAA", &c, &err), 0);
    assert_string_equal(c.partition, "BAAA");
    assert_int_equal(dv_mpscommand_parse("start_server -uid 0", &c, &err), 0);
    assert_int_equal(c.uid, 0);
    assert_int_equal(dv_mpscommand_parse("quit", &c, &err), 0);
    assert_false(c.has_timeout);
    assert_int_equal(dv_mpscommand_parse("quit -t 0", &c, &err), 0);
    assert_true(c.has_timeout);
    assert_int_equal(dv_mpscommand_parse("shutdown_server 9 -f", &c, &err), 0);
    assert_true(c.force);
    assert_int_equal(dv_mpscommand_parse("ps", &c, &err), 0);
    assert_int_equal(c.server, 0);
    assert_int_equal(dv_mpscommand_parse("ps -p 12", &c, &err), 0);
    assert_int_equal(c.server, 12);
}

static void wrong_lines(void **state)
{
    static const struct {
        const char *line, *says;
    } all[] = {
        {"get_servers", "Unrecognized command: get_servers"},
        {"get_server_list 1", "get_server_list: '1' is too much"},
        {"get_client_list", "get_client_list: a server's PID is missing"},
        {"get_client_list 0", "get_client_list: '0' is not a server's PID"},
        {"get_client_list 99999999999", "'99999999999' is not a server's PID"},
        {"sm_partition add GPU-1 0", "'0' is not a number of chunks"},
        {"sm_partition drop GPU-1", "Unrecognized command: sm_partition"},
        {"quit -x", "quit: '-x' is not an option here; -t is"},
        {"quit -t", "quit: a timeout in seconds is missing"},
        {"shutdown_server 4 now", "'now' is not -f"},
        {"start_server", "start_server: -uid is missing"},
        {"set_default_active_thread_percentage 0", "'0' is not a percentage above 0 and up to 100"},
        {"set_default_device_pinned_mem_limit 0 1T", "'1T' is not a size such as 2G or 500M"},
        {"set_default_client_priority 2", "'2' is not a priority"},
    };

    for (size_t i = 0; i < DV_ARRAY_SIZE(all); i++) {
        struct dv_mpscommand c;
        struct dv_err err = {0};

        assert_true(dv_mpscommand_parse(all[i].line, &c, &err) < 0);
        assert_non_null(strstr(err.msg, all[i].says));
    }
}

static void values(void **state)
{
    static const char *const bad_threads[] = {"", "-1", "100.1", "1e2", "5.", ".5", "1000", "0.0"};
    static const char *const bad_bytes[] = {"", "1", "G", "1K", "1GiB", "0G", "-1G", "9999999999G"};
    uint32_t threads;
    uint64_t bytes;

    assert_int_equal(dv_mpscommand_threads("100", &threads), 0);
    assert_int_equal(threads, 100000);
    assert_int_equal(dv_mpscommand_threads("33.3339", &threads), 0);
    assert_int_equal(threads, 33333);
    assert_int_equal(dv_mpscommand_bytes("512mb", &bytes), 0);
    assert_int_equal(bytes, 512 * DV_MIB);
    assert_int_equal(dv_mpscommand_bytes("2G", &bytes), 0);
    assert_int_equal(bytes, 2 * DV_GIB);
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad_threads); i++)
        assert_true(dv_mpscommand_threads(bad_threads[i], &threads) < 0);
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad_bytes); i++)
        assert_true(dv_mpscommand_bytes(bad_bytes[i], &bytes) < 0);
}

static void printed(void **state)
{
    dv_cleanup(dv_str_done) struct dv_str s = {0};

    dv_mpscommand_add_bytes(&s, 0);
    dv_str_addc(&s, ' ');
    dv_mpscommand_add_bytes(&s, 4606 * DV_MIB);
    dv_str_addc(&s, ' ');
    dv_mpscommand_add_bytes(&s, 512 * DV_MIB);
    dv_str_addc(&s, ' ');
    dv_mpscommand_add_threads(&s, 12500);
    assert_string_equal(dv_str_get(&s), "0G 4G 512M 12.5");
}

static void memory_lists(void **state)
{
    const char *at = "0=1G,GPU-1=512MB";
    char device[DV_MPSCOMMAND_DEVICE];
    uint64_t bytes;

    assert_int_equal(dv_mpscommand_memory_entry(&at, device, &bytes), 0);
    assert_string_equal(device, "0");
    assert_int_equal(bytes, DV_GIB);
    assert_int_equal(dv_mpscommand_memory_entry(&at, device, &bytes), 0);
    assert_string_equal(device, "GPU-1");
    assert_int_equal(dv_mpscommand_memory_entry(&at, device, &bytes), 1);
    at = "0:1G";
    assert_true(dv_mpscommand_memory_entry(&at, device, &bytes) < 0);
    at = "=1G";
    assert_true(dv_mpscommand_memory_entry(&at, device, &bytes) < 0);
}

static void protocol_3(void **state)
{
    struct dv_mpsv3 c;
    struct dv_err err = {0};
    dv_cleanup(dv_str_done) struct dv_str s = {0};

    assert_int_equal(dv_mpsv3_parse("namespace set batch --server=training "
                                    "pinned-memory-limit=1024K --active-thread-percentage=25",
                                    &c, &err),
                     0);
    assert_int_equal(c.what, DV_MPSV3_NAMESPACE_SET);
    assert_string_equal(c.name, "batch");
    assert_string_equal(c.server, "training");
    assert_int_equal(c.bytes, DV_MIB);
    assert_int_equal(c.threads, 25000);
    assert_int_equal(c.has, DV_MPSV3_HAS_MEMORY | DV_MPSV3_HAS_THREADS);
    assert_int_equal(dv_mpsv3_parse("server create --uid=1000 --allowed-devices=0,1", &c, &err), 0);
    assert_string_equal(c.devices, "0,1");
    assert_int_equal(dv_mpsv3_parse("namespace get a b pinned-memory-limit", &c, &err), 0);
    assert_string_equal(c.server, "b");
    assert_string_equal(c.field, "pinned-memory-limit");
    assert_int_equal(dv_mpsv3_parse("server list --format=csv,noheader", &c, &err), 0);
    assert_true(c.csv && !c.header);
    assert_int_equal(dv_mpsv3_parse("quit", &c, &err), 0);
    assert_int_equal(c.what, DV_MPSV3_QUIT);
    dv_mpsv3_add_bytes(&s, 3 * DV_GIB / 2);
    dv_mpsv3_add_bytes(&s, 0);
    assert_string_equal(dv_str_get(&s), "1536M-");
}

static void wrong_protocol_3(void **state)
{
    static const struct {
        const char *line, *says;
    } all[] = {
        {"serve create a", "Unrecognized module: serve"},
        {"server make a", "'make' is not one of its verbs"},
        {"sm-partition list", "sm-partition is not simulated"},
        {"server create control", "'control' is not a name"},
        {"server create a b", "'b' is too much"},
        {"server create", "a name or --uid=N is missing"},
        {"server list --force", "--force is not an option here; options: format"},
        {"server delete a --force=1", "--force takes no value"},
        {"server set a", "one of these is missing"},
        {"namespace create a", "--server=NAME is missing"},
        {"namespace create a --server", "--server=VALUE is wanted here"},
        {"namespace get a b", "a field is missing"},
        {"namespace set a --server=b --client-priority=2", "'2' is not a priority"},
        {"server list --format=json", "'json' is not a format"},
    };

    for (size_t i = 0; i < DV_ARRAY_SIZE(all); i++) {
        struct dv_mpsv3 c;
        struct dv_err err = {0};

        assert_true(dv_mpsv3_parse(all[i].line, &c, &err) < 0);
        assert_non_null(strstr(err.msg, all[i].says));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines),
        cmocka_unit_test(wrong_lines),
        cmocka_unit_test(values),
        cmocka_unit_test(printed),
        cmocka_unit_test(memory_lists),
        cmocka_unit_test(protocol_3),
        cmocka_unit_test(wrong_protocol_3),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
