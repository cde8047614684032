/* SPDX-License-Identifier: Apache-2.0 */
#include "long_run.h"

#include "sys/clock.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define QUIET_NS DV_NS_PER_S          /* who is done by then is not worth a line */
#define EVERY_NS (100 * DV_NS_PER_MS) /* between two lines */
#define SKIP_MAX 65536u

static volatile sig_atomic_t asked_to_stop;

static void on_signal(int number)
{
    asked_to_stop = number;
}

int dv_long_run_signal(void)
{
    return asked_to_stop;
}

void dv_long_run_begin(struct dv_long_run *run, const char *what, const char *units, uint64_t total)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    *run = (struct dv_long_run){.what = what, .units = units, .total = total};
    run->began_ns = dv_clock_now();
    run->terminal = isatty(STDERR_FILENO);
}

void dv_long_run_release(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* 4,812: digits in threes. */
static void add_count(uint64_t v, struct dv_str *text)
{
    if (v >= 1000) {
        add_count(v / 1000, text);
        dv_str_addf(text, ",%03" PRIu64, v % 1000);
    } else {
        dv_str_addf(text, "%" PRIu64, v);
    }
}

static void add_left(uint64_t s, struct dv_str *text)
{
    if (s >= 3600)
        dv_str_addf(text, ", %" PRIu64 "h%02" PRIu64 "m left", s / 3600, s % 3600 / 60);
    else if (s >= 60)
        dv_str_addf(text, ", %" PRIu64 "m%02" PRIu64 "s left", s / 60, s % 60);
    else
        dv_str_addf(text, ", %" PRIu64 "s left", s);
}

void dv_long_run_line(const struct dv_long_run *run, uint64_t done, uint64_t elapsed_ns,
                      struct dv_str *text)
{
    double rate = (double)done / ((double)elapsed_ns / 1e9);
    dv_str_addf(text, "%s  ", run->what);
    if (run->total) {
        done = DV_MIN(done, run->total);
        dv_str_addf(text, "%.0f%% ", (double)done / (double)run->total * 100);
    }
    add_count(done, text);
    if (run->total) {
        dv_str_add(text, " of ");
        add_count(run->total, text);
    }
    dv_str_addf(text, " %s, ", run->units);
    add_count(rate < 1e18 ? (uint64_t)rate : UINT64_MAX, text);
    dv_str_add(text, "/s");
    double left = run->total && rate > 0 ? (double)(run->total - done) / rate : 0;
    if (run->total && rate > 0 && left < 1e9)
        add_left((uint64_t)(left + 0.999), text);
}

static void show(struct dv_long_run *run, uint64_t done, uint64_t now)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    dv_long_run_line(run, done, DV_MAX(now - run->began_ns, UINT64_C(1)), &text);
    fprintf(stderr, "\r\033[K%s", dv_str_get(&text));
    fflush(stderr);
    run->shown = true;
    run->said_ns = now;
}

bool dv_long_run_at(struct dv_long_run *run, uint64_t done)
{
    if (run->terminal && ++run->skipped > run->skip) {
        uint64_t now = dv_clock_now(), last = DV_MAX(run->said_ns, run->began_ns);
        /* The clock costs more than many a step: look so often that it is about 100 times a line.
         */
        if (now - last < EVERY_NS / 100 && run->skip < SKIP_MAX)
            run->skip = 2 * run->skip + 1;
        else if (now - last > EVERY_NS && run->skip)
            run->skip /= 2;
        run->skipped = 0;
        if (now - run->began_ns >= QUIET_NS && now - last >= EVERY_NS)
            show(run, done, now);
    }
    return !asked_to_stop;
}

int dv_long_run_end(struct dv_long_run *run)
{
    if (run->shown) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
    }
    run->shown = false;
    return asked_to_stop ? 128 + asked_to_stop : 0;
}
