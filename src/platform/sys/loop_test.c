/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/loop.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct seen {
    struct dv_loop *loop;
    struct dv_loop_source *watch, *timer, *signal;
    int fd, reads, ticks, signals;
};

static void on_read(void *arg)
{
    struct seen *s = arg;
    char c;
    assert_int_equal(read(s->fd, &c, 1), 1);
    s->reads++;
    dv_loop_remove(s->watch); /* from its own callback */
    kill(getpid(), SIGUSR1);
}

static void on_tick(void *arg)
{
    struct seen *s = arg;
    s->ticks++;
}

static void on_usr1(void *arg)
{
    struct seen *s = arg;
    s->signals++;
    if (!s->ticks) {
        kill(getpid(), SIGUSR1);
        return;
    }
    dv_loop_stop(s->loop);
}

static void test_sources(void **state)
{
    struct seen s = {0};
    int p[2];
    assert_int_equal(pipe(p), 0);
    s.fd = p[0];
    assert_int_equal(dv_loop_new(&s.loop), 0);
    assert_int_equal(dv_loop_watch(s.loop, p[0], on_read, &s, &s.watch), 0);
    assert_int_equal(dv_loop_timer(s.loop, 1, 1, on_tick, &s, &s.timer), 0);
    assert_int_equal(dv_loop_signal(s.loop, SIGUSR1, on_usr1, &s, &s.signal), 0);
    assert_int_equal(write(p[1], "xy", 2), 2);
    assert_int_equal(dv_loop_run(s.loop), 0);
    assert_int_equal(s.reads, 1);
    assert_true(s.ticks > 0);
    dv_loop_remove(s.timer);
    dv_loop_free(s.loop); /* the signal source goes with it */
    close(p[0]);
    close(p[1]);
}

struct polled {
    struct dv_loop *loop;
    struct dv_loop_source *poll;
    int fd;
    unsigned seen[3], n;
};

/* Writable at once; then asks for reading only; then the other end hangs up. */
static void on_events(void *arg, unsigned events)
{
    struct polled *p = arg;
    p->seen[p->n++] = events;
    if (p->n == 1) {
        assert_int_equal(dv_loop_poll_set(p->poll, DV_LOOP_READABLE), 0);
        assert_int_equal(write(p->fd, "x", 1), 1);
    } else if (p->n == 2) {
        assert_int_equal(dv_loop_poll_set(p->poll, DV_LOOP_WRITABLE | DV_LOOP_READABLE), 0);
        close(p->fd);
    } else {
        dv_loop_remove(p->poll);
        dv_loop_stop(p->loop);
    }
}

static void test_poll(void **state)
{
    struct polled p = {0};
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    p.fd = pair[1];
    assert_int_equal(dv_loop_new(&p.loop), 0);
    assert_int_equal(dv_loop_poll(p.loop, pair[0], DV_LOOP_WRITABLE, on_events, &p, &p.poll), 0);
    assert_int_equal(dv_loop_run(p.loop), 0);
    assert_int_equal(p.seen[0], DV_LOOP_WRITABLE);
    assert_int_equal(p.seen[1], DV_LOOP_READABLE);
    assert_int_equal(p.seen[2], DV_LOOP_READABLE | DV_LOOP_WRITABLE);
    dv_loop_free(p.loop);
    close(pair[0]);
}

static void on_never(void *arg)
{
}

/* What is still open at the end is freed, also when a stop has been asked for that no run has seen
 * (LeakSanitizer counts). */
static void test_free_after_stop(void **state)
{
    struct dv_loop *loop;
    struct dv_loop_source *timer;
    assert_int_equal(dv_loop_new(&loop), 0);
    assert_int_equal(dv_loop_timer(loop, 1000, 0, on_never, NULL, &timer), 0);
    dv_loop_stop(loop);
    dv_loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sources), cmocka_unit_test(test_poll),
                                       cmocka_unit_test(test_free_after_stop)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
