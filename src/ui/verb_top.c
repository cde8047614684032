/* SPDX-License-Identifier: Apache-2.0 */
/* divvy top: who keeps the GPUs busy, again and again. */
#include "ask.h"
#include "render/csv.h"
#include "render/json.h"
#include "top/sample.h"
#include "verbs.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

struct values {
    uint64_t interval;
    int64_t count;
    bool once;
};

static const struct dv_option options[] = {
    {"interval", 'n', "TIME", "time between two looks", DV_OPTION_DURATION,
     offsetof(struct values, interval), .min = 100000000, .max = INT64_C(3600000000000),
     .otherwise = "2s"},
    {"count", 'c', "N", "end after so many; 0: go on until interrupted", DV_OPTION_INTEGER,
     offsetof(struct values, count), .min = 0, .max = INT64_C(1000000000), .otherwise = "0"},
    {"once", 0, NULL, "the same as --count 1", DV_OPTION_FLAG, offsetof(struct values, once)},
};

static const struct dv_table_column gpu_columns[] = {
    {"GPU", "index", .right = true},
    {"MODEL", "model"},
    {"MODE", "mode"},
    {"HEALTH", "health", .state = true},
    {"USED", "memory_used_bytes", DV_VALUE_BYTES, .right = true},
    {"MEMORY", "memory_bytes", DV_VALUE_BYTES, .right = true},
    {"BUSY", "busy_permille", DV_VALUE_PERMILLE, .right = true},
    {"SLICES", "slices", .right = true},
    {"FAIR", "fairness", .right = true},
};
static const struct dv_table gpu_view = {"gpus", gpu_columns, DV_ARRAY_SIZE(gpu_columns)};

static const struct dv_table_column device_columns[] = {
    {"GPU", "^index", .right = true},
    {"DEVICE", "profile"},
    {"AT", "placement_start", .right = true},
    {"MODE", "mode"},
    {"USED", "memory_used_bytes", DV_VALUE_BYTES, .right = true},
    {"MEMORY", "memory_bytes", DV_VALUE_BYTES, .right = true},
    {"BUSY", "busy_permille", DV_VALUE_PERMILLE, .right = true},
    {"SLICES", "slices", .right = true},
    {"FAIR", "fairness", .right = true},
};
static const struct dv_table device_view = {"gpus.devices", device_columns,
                                            DV_ARRAY_SIZE(device_columns)};

static const struct dv_table_column slice_columns[] = {
    {"SLICE", "id"},
    {"TENANT", "tenant"},
    {"GPU", "gpu_index", .right = true},
    {"MODE", "mode"},
    {"DEVICE", "profile"},
    {"COMPUTE", "compute_permille", DV_VALUE_PERMILLE, .right = true},
    {"WALL", "compute_wall", .state = true},
    {"USED", "memory_used_bytes", DV_VALUE_BYTES, .right = true},
    {"MEMORY", "memory_bytes", DV_VALUE_BYTES, .right = true},
    {"WALL", "memory_wall", .state = true},
    {"BUSY", "busy_permille", DV_VALUE_PERMILLE, .right = true},
    {"WAITS", "wait_permille", DV_VALUE_PERMILLE, .right = true},
    {"PIDS", "pids"},
};
static const struct dv_table slice_view = {"slices", slice_columns, DV_ARRAY_SIZE(slice_columns)};

static const struct dv_table_column csv_columns[] = {
    {"", "^time_unix", .csv = "time_unix"},
    {"", "^interval_seconds", .csv = "interval_seconds"},
    {"", "gpu_index"},
    {"", "gpu_uuid"},
    {"", "id", .csv = "slice"},
    {"", "tenant"},
    {"", "mode"},
    {"", "profile"},
    {"", "compute_permille"},
    {"", "compute_wall"},
    {"", "memory_used_bytes"},
    {"", "memory_bytes"},
    {"", "memory_wall"},
    {"", "busy_permille"},
    {"", "wait_permille"},
    {"", "pids"},
};
static const struct dv_table csv_view = {"slices", csv_columns, DV_ARRAY_SIZE(csv_columns)};

/* ---- the end by a signal ---- */

static volatile sig_atomic_t stopped;

static void on_signal(int signal)
{
    stopped = 1;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

static uint64_t now_ns(clockid_t clock)
{
    struct timespec ts;
    clock_gettime(clock, &ts);
    return (uint64_t)ts.tv_sec * DV_NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* ---- the terminal ---- */

/* A picture is drawn over the last one, line by line, so that nothing flickers; lines do not wrap,
 * since a wrapped line would shift those below it. */
#define TERMINAL_BEGIN "\033[?25l\033[?7l\033[H\033[2J"
#define TERMINAL_END "\033[?7h\033[?25h"

/* Ctrl-C makes the terminal forget what is on its way to it, which may be the end of the picture:
 * while it is shown, it must not. */
static void keep_output(bool on)
{
    static struct termios before;
    static bool known;
    struct termios now;
    if (on)
        known = tcgetattr(STDOUT_FILENO, &before) == 0;
    if (!known)
        return;
    now = before;
    if (on)
        now.c_lflag |= NOFLSH;
    tcsetattr(STDOUT_FILENO, TCSANOW, &now);
}

static unsigned terminal_lines(void)
{
    struct winsize size = {0};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row < 2)
        return 24;
    return size.ws_row;
}

static int draw(const char *text)
{
    dv_cleanup(dv_str_done) struct dv_str picture = {0};
    unsigned room = terminal_lines() - 1;
    dv_str_add(&picture, "\033[H");
    for (; *text && room; room--) {
        size_t len = strcspn(text, "\n");
        dv_str_addn(&picture, text, len);
        dv_str_add(&picture, "\033[K\n");
        text += len + (text[len] == '\n');
    }
    dv_str_add(&picture, *text ? "... and more than fits here\033[K\033[J" : "\033[J");
    return picture.failed ? DV_UI_FAILURE : dv_ui_print(dv_str_get(&picture));
}

/* ---- one picture ---- */

struct top {
    const struct dv_ui *ui;
    struct dv_top_look look;
    bool terminal;
    bool printed; /* one at least */
};

static bool any_devices(struct dv_output *o)
{
    const struct dv_output_node *gpus = dv_output_get(dv_output_root(o), "gpus");
    for (const struct dv_output_node *g = gpus->first; g; g = g->next)
        if (dv_output_get(g, "devices")->children)
            return true;
    return false;
}

static int print_tables(struct top *t, struct dv_output *o)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_table_style style = {.colour = t->ui->colour, .nothing = "no GPUs"};
    int r = dv_table_write(&gpu_view, o, style, &text);
    dv_str_addc(&text, '\n');
    if (!r && any_devices(o)) {
        r = dv_table_write(&device_view, o, style, &text);
        dv_str_addc(&text, '\n');
    }
    style.nothing = "no slices: nobody holds anything";
    if (!r)
        r = dv_table_write(&slice_view, o, style, &text);
    if (!t->terminal)
        dv_str_addc(&text, '\n');
    if (r < 0 || text.failed)
        return dv_ui_fail(t->ui, DV_UI_FAILURE, "out of memory");
    return t->terminal ? draw(dv_str_get(&text)) : dv_ui_print(dv_str_get(&text));
}

/* One line per sample, or rows below one heading. */
static int print_rows(struct top *t, struct dv_output *o)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    bool json = dv_ui_is(t->ui, "json");
    int r = json ? dv_json_write(o, false, &text) : dv_csv_write(&csv_view, o, &text);
    if (r < 0)
        return dv_ui_fail(t->ui, DV_UI_FAILURE, "cannot render the answer: %s", strerror(-r));
    const char *from = dv_str_get(&text);
    if (!json && t->printed)
        from += strcspn(from, "\n") + 1;
    return dv_ui_print(from);
}

/* Asks and, where there are rates or the terminal would stay empty, prints. */
static int look(struct top *t, bool *ret_counts)
{
    dv_cleanup(dv_output_free) struct dv_output *status = NULL;
    dv_cleanup(dv_output_free) struct dv_output *slices = NULL;
    dv_cleanup(dv_output_free) struct dv_output *o = NULL;
    int exit = dv_ask(t->ui, "GET", "/v1/status", NULL, &status);
    if (!exit)
        exit = dv_ask(t->ui, "GET", "/v1/slices", NULL, &slices);
    if (exit)
        return exit;
    bool first = !t->look.taken;
    int r = dv_top_sample(&t->look, now_ns(CLOCK_REALTIME) / 1000000, dv_output_root(status),
                          dv_output_root(slices), &o);
    if (r < 0)
        return dv_ui_fail(t->ui, DV_UI_FAILURE, "%s",
                          r == -EPROTO ? "that was no answer of divvyd" : strerror(-r));
    *ret_counts = !first;
    if (first && !t->terminal)
        return DV_UI_OK;
    exit = dv_ui_is(t->ui, "table") ? print_tables(t, o) : print_rows(t, o);
    t->printed = true;
    return exit;
}

static void sleep_until(uint64_t ns)
{
    struct timespec ts = {(time_t)(ns / DV_NS_PER_S), (long)(ns % DV_NS_PER_S)};
    while (!stopped && clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
        ;
}

static int watch(struct top *t)
{
    const struct values *v = t->ui->values;
    uint64_t left = v->once ? 1 : v->count ? (uint64_t)v->count : DV_NEVER;
    uint64_t next = now_ns(CLOCK_MONOTONIC);
    for (;;) {
        bool counts = false;
        int exit = look(t, &counts);
        if (exit || (counts && !--left) || stopped)
            return stopped ? DV_UI_OK : exit;
        next = DV_MAX(next + v->interval, now_ns(CLOCK_MONOTONIC));
        sleep_until(next);
        if (stopped)
            return DV_UI_OK;
    }
}

static int run(const struct dv_ui *ui)
{
    struct top t = {.ui = ui, .terminal = isatty(STDOUT_FILENO) && dv_ui_is(ui, "table")};
    catch_signals();
    if (t.terminal) {
        keep_output(true);
        dv_ui_print(TERMINAL_BEGIN);
    }
    int exit = watch(&t);
    if (t.terminal) {
        dv_ui_print(TERMINAL_END "\n");
        keep_output(false);
    }
    dv_top_look_done(&t.look);
    return exit;
}

static const struct dv_ui_example examples[] = {
    {"what keeps the GPUs busy, from now on", "divvy top"},
    {"one measurement of ten seconds, for a script",
     "divvy top --once --interval 10s -o json | jq '.slices[] | [.tenant, .busy_permille]'"},
};

const struct dv_ui_verb dv_verb_top = {
    .name = "top",
    .summary = "who keeps the GPUs busy, live",
    .details =
        "Looks again and again, and shows what happened in between: BUSY is the part of the "
        "time that a slice kept its device at work, WAITS the part that it had work and waited "
        "for its turn. A MIG device counts in its GPU by its part of the compute.\n\n"
        "FAIR is Jain's index over what each slice with work got in proportion to its share: "
        "1.000 when all got alike, 1/n when one of n got everything. It is low, too, when some "
        "asked for less than their share.\n\n"
        "On a terminal the picture is renewed in place until Ctrl-C; elsewhere blocks follow each "
        "other. JSON is one object per line, CSV one row per slice.",
    .options = options,
    .n_options = DV_ARRAY_SIZE(options),
    .values_size = sizeof(struct values),
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .prints = true,
    .asks_daemon = true,
    .run = run,
};
