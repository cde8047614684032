/* SPDX-License-Identifier: Apache-2.0 */
#include "layout_change.h"

#include "ask.h"
#include "layout_view.h"
#include "render/json.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PAUSE_MS 300
#define WAITS_MIN 4     /* looks: what takes less (a kubelet's answer, say) is not told */
#define RETRIES_MAX 100 /* with the pause: half a minute; a daemon that restarts takes less */

struct watch {
    const struct dv_ui *ui;
    struct dv_http_client *client;
    struct dv_output *layout; /* the last answer */
    bool rolled_back;
    bool bounded, waited; /* there is a --timeout; a wait has been told */
    unsigned waits;       /* looks in a row that found it waiting */
    struct dv_str said, sources;
};

static volatile int interrupted; /* the signal; 0: none */

static void on_signal(int signal)
{
    interrupted = signal;
}

struct signals {
    struct sigaction interrupt, terminate; /* as they were */
};

static void catch_signals(struct signals *ret)
{
    struct sigaction action = {.sa_handler = on_signal};
    interrupted = 0;
    sigaction(SIGINT, &action, &ret->interrupt);
    sigaction(SIGTERM, &action, &ret->terminate);
}

static void release_signals(const struct signals *signals)
{
    sigaction(SIGINT, &signals->interrupt, NULL);
    sigaction(SIGTERM, &signals->terminate, NULL);
}

static const struct dv_output_node *root_of(const struct watch *w)
{
    return dv_output_root(w->layout);
}

static bool is(const struct dv_output_node *o, const char *key, const char *word)
{
    return !strcmp(dv_output_text(dv_output_get(o, key), ""), word);
}

static bool is_over(const struct dv_output_node *layout)
{
    return is(layout, "state", "settled") || is(layout, "state", "failed") ||
           is(layout, "state", "none");
}

static bool is_rolling_back(const struct dv_output_node *layout)
{
    const struct dv_output_node *gpus = dv_output_get(layout, "gpus");
    if (is(layout, "state", "rolling_back"))
        return true;
    for (const struct dv_output_node *g = gpus ? gpus->first : NULL; g; g = g->next)
        if (is(g, "state", "rolling_back"))
            return true;
    return false;
}

/* Which files the layout is from: another set of them is another layout. */
static void note_sources(const struct dv_output_node *layout, struct dv_str *text)
{
    static const char *const keys[] = {"part", "name", "config", "applied_unix"};
    const struct dv_output_node *list = dv_output_get(layout, "sources");
    for (const struct dv_output_node *s = list ? list->first : NULL; s; s = s->next)
        for (size_t i = 0; i < DV_ARRAY_SIZE(keys); i++) {
            dv_value_raw(dv_output_get(s, keys[i]), text);
            dv_str_addc(text, '\n');
        }
}

/* ---- what is said --------------------------------------------------------------------------- */

/* A change that waits may do so for ever: who watches it from a script is told, too. */
static void add_wait(struct watch *w, struct dv_str *text)
{
    dv_cleanup(dv_str_done) struct dv_str waits = {0};
    bool any = dv_layout_view_waits(root_of(w), &waits);
    w->waits = any ? w->waits + 1 : 0;
    if (any && w->waits < WAITS_MIN)
        dv_str_add(text, dv_str_get(&w->said)); /* not yet */
    else if (any)
        dv_str_add(text, dv_str_get(&waits));
    else if (w->waited)
        dv_str_add(text, "nothing is in the way any more\n");
}

static void say_progress(struct watch *w)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0}, progress = {0};
    add_wait(w, &text);
    dv_layout_view_progress(root_of(w), &progress);
    const char *now = dv_str_get(isatty(STDERR_FILENO) ? &progress : &text);
    if (strcmp(now, dv_str_get(&w->said)) != 0)
        fputs(now, stderr);
    if (w->waits >= WAITS_MIN && !w->waited && !w->bounded)
        fputs("it waits for as long as that takes; Ctrl-C ends the watching only, 'divvy layout "
              "undo' takes the change back\n",
              stderr);
    w->waited |= w->waits >= WAITS_MIN;
    struct dv_str said = {0};
    dv_str_add(&said, now);
    dv_str_done(&w->said);
    w->said = said;
}

/* Why it did not come to be: the layout's own words, else those of the GPUs. */
static int say_failure(const struct watch *w)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    const char *detail = dv_output_text(dv_output_get(root_of(w), "detail"), "");
    const struct dv_output_node *gpus = dv_output_get(root_of(w), "gpus");
    if (*detail)
        dv_value_clean(detail, &text);
    for (const struct dv_output_node *g = gpus ? gpus->first : NULL; g && !*detail; g = g->next) {
        const char *own = dv_output_text(dv_output_get(g, "detail"), "");
        if (!*own)
            continue;
        dv_str_add(&text, text.len ? "; GPU " : "GPU ");
        dv_value_human(dv_output_get(g, "index"), DV_VALUE_AUTO, &text);
        dv_str_add(&text, ": ");
        dv_value_clean(own, &text);
    }
    return dv_ui_fail(w->ui, DV_UI_FAILURE, "%s%s%s",
                      w->rolled_back ? "it did not work and was rolled back" : "it did not work",
                      text.len ? ": " : "", dv_str_get(&text));
}

static int say_interrupted(const struct watch *w)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    bool waits = dv_layout_view_waits(root_of(w), &text);
    int exit =
        dv_ui_fail(w->ui, DV_UI_RUN_SIGNAL + interrupted,
                   "no longer watching; the change goes on%s: 'divvy layout show' says how far it "
                   "is, 'divvy layout undo' takes it back",
                   waits ? " when nothing is in the way" : "");
    if (waits)
        fputs(dv_str_get(&text), stderr);
    return exit;
}

static int say_in_use(const struct dv_ui *ui, const struct dv_output_node *answer)
{
    const struct dv_output_node *blockers = dv_output_get(answer, "blockers");
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    dv_value_clean(dv_ask_message(answer), &text);
    int exit = dv_ui_fail(ui, DV_UI_FAILURE, "%s", dv_str_get(&text));
    dv_str_clear(&text);
    dv_layout_view_blockers(blockers, NULL, "  ", &text);
    fputs(dv_str_get(&text), stderr);
    fputs("nothing was changed\n", stderr);
    return exit;
}

/* ---- watching ------------------------------------------------------------------------------- */

static int look(struct watch *w, struct dv_err *err)
{
    struct dv_http_reply reply = {0};
    int r =
        dv_http_client_call(w->client, "GET", "/v1/layout", NULL, DV_ASK_TIMEOUT_MS, &reply, err);
    if (r < 0)
        return r;
    if (reply.status >= 400) {
        dv_err_set(err, -EIO, "%s", dv_ask_message(dv_output_root(reply.body)));
        dv_http_reply_done(&reply);
        return -EIO;
    }
    dv_output_free(&w->layout);
    w->layout = reply.body;
    return 0;
}

static int judge(const struct watch *w)
{
    dv_cleanup(dv_str_done) struct dv_str sources = {0};
    note_sources(root_of(w), &sources);
    if (strcmp(dv_str_get(&sources), dv_str_get(&w->sources)) != 0)
        return dv_ui_fail(w->ui, DV_UI_FAILURE,
                          "another layout took its place meanwhile; see 'divvy layout show'");
    if (w->rolled_back || is(root_of(w), "state", "failed"))
        return say_failure(w);
    return DV_UI_OK;
}

static int watch(struct watch *w)
{
    struct timespec pause = {0, PAUSE_MS * 1000000L};
    struct dv_err err = {{0}};
    unsigned failures = 0;
    while (!is_over(root_of(w))) {
        w->rolled_back |= is_rolling_back(root_of(w));
        say_progress(w);
        nanosleep(&pause, NULL);
        int r = interrupted ? -EINTR : look(w, &err);
        if (interrupted)
            return say_interrupted(w);
        failures = r < 0 ? failures + 1 : 0;
        if (failures > RETRIES_MAX)
            return dv_ui_fail(w->ui, DV_UI_UNAVAILABLE,
                              "what became of the change is not known: %s", err.msg);
    }
    return judge(w);
}

static int watch_from(const struct dv_ui *ui, struct dv_http_client *client,
                      const struct dv_layout_change *change, struct dv_output *answer,
                      struct dv_output **ret)
{
    struct watch w = {
        .ui = ui, .client = client, .layout = answer, .bounded = change->timeout != 0};
    note_sources(root_of(&w), &w.sources);
    int exit = watch(&w);
    dv_str_done(&w.said);
    dv_str_done(&w.sources);
    *ret = w.layout;
    return exit;
}

/* ---- asking --------------------------------------------------------------------------------- */

int dv_layout_change_check(const struct dv_ui *ui, const struct dv_layout_change *change)
{
    if (change->wait && change->evict)
        return dv_ui_fail(ui, DV_UI_USAGE, "--wait and --evict exclude each other");
    if (change->timeout && !change->wait && !change->evict)
        return dv_ui_fail(ui, DV_UI_USAGE,
                          "--timeout needs --wait or --evict: without them nothing is awaited");
    return DV_UI_OK;
}

/* No answer: the daemon may have taken the change all the same. */
static int say_unanswered(const struct dv_ui *ui, int r, const struct dv_err *err)
{
    static const char *const look = "'divvy layout show' says whether the change was taken";
    if (r == -EINTR)
        return dv_ui_fail(ui, DV_UI_RUN_SIGNAL + interrupted,
                          "interrupted before the daemon answered; %s", look);
    if (r == -ETIMEDOUT || r == -EIO || r == -EPROTO)
        return dv_ui_fail(ui, dv_ask_exit(r), "%s; %s", err->msg, look);
    return dv_ui_fail(ui, dv_ask_exit(r), "%s", err->msg);
}

static int send_change(const struct dv_ui *ui, struct dv_http_client *client, const char *path,
                       struct dv_output *body, struct dv_http_reply *ret)
{
    const struct dv_ask_until until = {DV_NEVER, &interrupted};
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_err err = {{0}};
    if (dv_json_write(body, false, &text) < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    int r = dv_ask_call(ui, client, "POST", path, dv_str_get(&text), &until, ret, &err);
    if (r < 0)
        return say_unanswered(ui, r, &err);
    if (ret->status != 503 || !interrupted)
        return DV_UI_OK;
    dv_http_reply_done(ret);
    return dv_ui_fail(ui, DV_UI_RUN_SIGNAL + interrupted,
                      "interrupted before the daemon knew its GPUs; nothing was changed");
}

static int change_and_watch(const struct dv_ui *ui, struct dv_http_client *client, const char *path,
                            struct dv_output *body, const struct dv_layout_change *change,
                            struct dv_output **ret)
{
    struct dv_http_reply reply = {0};
    int exit = send_change(ui, client, path, body, &reply);
    if (exit)
        return exit;
    const struct dv_output_node *answer = dv_output_root(reply.body);
    if (reply.status == 409 && is(answer, "reason", "in_use")) {
        *ret = reply.body;
        return say_in_use(ui, answer);
    }
    if (reply.status >= 400)
        return dv_ask_refused(ui, &reply);
    if (change->no_watch) {
        *ret = reply.body;
        return DV_UI_OK;
    }
    return watch_from(ui, client, change, reply.body, ret);
}

int dv_layout_change_run(const struct dv_ui *ui, const char *path, struct dv_output *body,
                         const struct dv_layout_change *change, struct dv_output **ret)
{
    dv_cleanup(dv_http_client_free) struct dv_http_client *client = NULL;
    struct dv_output_node *root = dv_output_root(body);
    struct dv_err err = {{0}};
    struct signals before;
    int exit = dv_layout_change_check(ui, change);
    if (exit)
        return exit;
    dv_output_string(root, "when", change->evict ? "evict" : change->wait ? "wait" : "idle");
    if (change->timeout)
        dv_output_uint(root, "timeout_seconds", (change->timeout + DV_NS_PER_S - 1) / DV_NS_PER_S);
    int r = dv_http_client_new(ui->socket, &client, &err);
    if (r < 0)
        return dv_ui_fail(ui, dv_ask_exit(r), "%s", err.msg);
    catch_signals(&before);
    dv_http_client_stop_at(client, &interrupted);
    exit = change_and_watch(ui, client, path, body, change, ret);
    release_signals(&before);
    return exit;
}
