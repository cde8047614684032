/* SPDX-License-Identifier: Apache-2.0 */
/* Doors of containers: what they lead to, and that one who leaves takes nobody else's way. */
#include "actuate/mps_daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static char state[32];
static char door[DV_MPS_DOOR_SIZE], door_path[PATH_MAX];

static void in_state(char path[PATH_MAX], const char *below)
{
    snprintf(path, PATH_MAX, "%s/%s", state, below);
}

static void folder(const char *below)
{
    char path[PATH_MAX];
    in_state(path, below);
    assert_int_equal(mkdir(path, 0755), 0);
}

/* A namespace with a socket that listens, and things that are no way in. */
static int make_space(const char *below)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char path[PATH_MAX];
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    folder(below);
    snprintf(a.sun_path, sizeof a.sun_path, "%s/%.60s/control", state, below);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 1), 0);
    snprintf(path, sizeof path, "%s/%.60s/a-folder", state, below);
    assert_int_equal(mkdir(path, 0755), 0);
    snprintf(path, sizeof path, "%s/%.60s/a-link", state, below);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    return fd;
}

static int make(void **s)
{
    struct dv_err err;
    snprintf(state, sizeof state, "/tmp/divvy-door-XXXXXX");
    assert_non_null(mkdtemp(state));
    folder("mps");
    folder("mps/g0");
    folder("mps/g0/pipe");
    folder("mps/g0/pipe/0");
    dv_mps_door_name("GPU-1::3", door);
    assert_int_equal(dv_mps_door_make(state, door, door_path, sizeof door_path, &err), 0);
    return 0;
}

static int clean(void **s)
{
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", state);
    return system(command);
}

static int change(const char *space, bool put)
{
    struct dv_mps_config config = {.state = state};
    struct dv_mps_spec spec = {.name = "g0", .namespaces = 1};
    struct dv_mps_at m = {.config = &config, .spec = &spec};
    struct dv_err err;
    memcpy(spec.door, door, sizeof door);
    return dv_mps_door_change(&m, space, put, &err);
}

static bool leads_to(int listening)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(a.sun_path, sizeof a.sun_path, "%.80s/control", door_path);
    bool came = connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
    int other = came ? accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC) : -1;
    close(fd);
    if (other >= 0)
        close(other);
    return other >= 0;
}

static bool has(const char *name)
{
    char path[PATH_MAX];
    struct stat st;
    snprintf(path, sizeof path, "%.100s/%s", door_path, name);
    return lstat(path, &st) == 0;
}

static void test_a_name_for_each_unit(void **s)
{
    char other[DV_MPS_DOOR_SIZE], same[DV_MPS_DOOR_SIZE];
    dv_mps_door_name("GPU-1::4", other);
    dv_mps_door_name("GPU-1::3", same);
    assert_string_not_equal(door, other);
    assert_string_equal(door, same);
    assert_int_equal(strlen(door), DV_MPS_DOOR_SIZE - 3);
}

static void test_the_way_is_the_last_ones(void **s)
{
    int first = make_space("mps/g0/pipe/0/s_1"), second = make_space("mps/g0/pipe/0/s_2");
    struct stat st;
    fcntl(first, F_SETFL, O_NONBLOCK);
    fcntl(second, F_SETFL, O_NONBLOCK);
    assert_int_equal(stat(door_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0755); /* tenants are other users */
    assert_int_equal(change("s_1", true), 0);
    assert_int_equal(change("s_1", true), 0);
    assert_true(leads_to(first));
    assert_false(has("a-folder") || has("a-link"));
    assert_int_equal(change("s_2", true), 0);
    assert_true(leads_to(second));
    assert_int_equal(change("s_1", false), 0);
    assert_true(leads_to(second));
    assert_int_equal(change("s_2", false), 0);
    assert_false(has("control"));
    close(first);
    close(second);
}

static void test_what_is_not_there(void **s)
{
    assert_int_equal(change("s_9", false), 0);
    assert_int_equal(change("s_9", true), -ENOENT);
    rmdir(door_path); /* nobody is to come by it */
    assert_int_equal(change("s_1", true), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_name_for_each_unit),
        cmocka_unit_test(test_the_way_is_the_last_ones),
        cmocka_unit_test(test_what_is_not_there),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
