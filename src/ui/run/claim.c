/* SPDX-License-Identifier: Apache-2.0 */
#include "run/claim.h"

#include "ask.h"
#include "render/json.h"
#include "render/value.h"
#include "sys/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define WAIT_MS 5000u
#define GIVE_BACK_MS 5000u
#define RESTART_MS 100 /* between questions to a daemon that is restarted */
/* An answer may come so much later than the wait that was asked for. */
#define GRACE_MS 10000u
#define RETRIES_MAX                                                                                \
    30 /* a second apart: a daemon that restarts keeps the claim's process alive                   \
        */

void dv_claim_done(struct dv_claim *claim)
{
    if (claim)
        dv_output_free(&claim->answer);
}

static const struct dv_output_node *get(const struct dv_claim *claim, const char *key)
{
    return claim->answer ? dv_output_get(dv_output_root(claim->answer), key) : NULL;
}

bool dv_claim_is_granted(const struct dv_claim *claim)
{
    return !strcmp(dv_output_text(get(claim, "state"), ""), "granted");
}

static bool is_queued(const struct dv_claim *claim)
{
    return !strcmp(dv_output_text(get(claim, "state"), ""), "queued");
}

const struct dv_output_node *dv_claim_environment(const struct dv_claim *claim)
{
    return dv_output_get(get(claim, "slice"), "env");
}

static int refuse(const struct dv_ui *ui, const struct dv_output_node *answer)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    dv_value_clean(dv_ask_message(answer), &text);
    return dv_ui_fail(ui, DV_UI_RUN_FAILED, "%s", dv_str_get(&text));
}

/* Takes over an answer of the daemon: a Claim or an Error. */
static int take(const struct dv_ui *ui, struct dv_claim *claim, struct dv_http_reply *reply)
{
    dv_output_free(&claim->answer);
    claim->answer = reply->body;
    if (reply->status >= 400 || !(is_queued(claim) || dv_claim_is_granted(claim))) {
        claim->id[0] = 0;
        int exit = refuse(ui, dv_output_root(claim->answer));
        /* What the caller wrote wrongly is misuse, as for every verb. */
        return reply->status == 400 ? DV_UI_USAGE : exit;
    }
    const char *id = dv_output_text(get(claim, "id"), "");
    if (!*id || dv_str_copy(claim->id, sizeof claim->id, id) < 0)
        return dv_ui_fail(ui, DV_UI_RUN_FAILED, "the daemon's answer has no claim");
    return 0;
}

int dv_claim_ask(const struct dv_ui *ui, struct dv_claim *claim, struct dv_output *body,
                 uint64_t deadline, const volatile int *signal)
{
    struct dv_ask_until until = {deadline, signal};
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_http_reply reply = {0};
    struct dv_err err = {{0}};
    if (dv_json_write(body, false, &text) < 0)
        return dv_ui_fail(ui, DV_UI_RUN_FAILED, "out of memory");
    int r = dv_ask_call(ui, claim->client, "POST", "/v1/claims", dv_str_get(&text), &until, &reply,
                        &err);
    if (r < 0)
        return dv_ui_fail(ui, DV_UI_RUN_FAILED, "%s", err.msg);
    if (reply.status == 503 && *signal) {
        dv_http_reply_done(&reply);
        return DV_UI_RUN_SIGNAL + *signal;
    }
    bool late = reply.status == 503 && dv_clock_now() >= deadline;
    int exit = take(ui, claim, &reply);
    return late ? DV_UI_RUN_TIMED_OUT : exit;
}

static void say_position(const struct dv_ui *ui, struct dv_claim *claim)
{
    uint64_t position = dv_output_count(get(claim, "position"), 0);
    if (position == claim->position)
        return;
    claim->position = position;
    if (!position) /* it has its slice, whose walls are being raised */
        return;
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    dv_value_clean(dv_ask_message(dv_output_root(claim->answer)), &text);
    fprintf(stderr, "%s %s: waiting as %s, position %" PRIu64 ": %s\n", ui->program->name,
            ui->verb->name, claim->id, position, dv_str_get(&text));
}

static int poll_once(const struct dv_ui *ui, struct dv_claim *claim, uint64_t wait_ms,
                     struct dv_err *err, int *ret_exit)
{
    static const struct timespec pause = {0, RESTART_MS * DV_NS_PER_MS};
    struct dv_http_reply reply = {0};
    dv_cleanup(dv_str_done) struct dv_str path = {0};
    dv_str_add(&path, "/v1/claims/");
    dv_http_client_escape(claim->id, &path);
    dv_str_addf(&path, "?wait_ms=%" PRIu64 "&seen=queued:%" PRIu64, wait_ms, claim->position);
    int r = dv_http_client_call(claim->client, "GET", dv_str_get(&path), NULL,
                                (unsigned)wait_ms + GRACE_MS, &reply, err);
    if (!r &&
        (dv_ask_is_unavailable(&reply, "starting") || dv_ask_is_unavailable(&reply, "stopping"))) {
        /* It is restarted, and knows who waits as soon as it knows its GPUs. */
        dv_http_reply_done(&reply);
        nanosleep(&pause, NULL);
    } else if (!r) {
        *ret_exit = take(ui, claim, &reply);
    }
    return r;
}

int dv_claim_wait(const struct dv_ui *ui, struct dv_claim *claim, uint64_t deadline,
                  const volatile int *signal)
{
    struct dv_err err = {{0}};
    unsigned failures = 0;
    while (!*signal && !dv_claim_is_granted(claim)) {
        say_position(ui, claim);
        uint64_t now = dv_clock_now();
        if (now >= deadline)
            return dv_ui_fail(ui, DV_UI_RUN_TIMED_OUT, "no slice in time; the claim is withdrawn");
        uint64_t left_ms = deadline == DV_NEVER ? WAIT_MS : (deadline - now) / DV_NS_PER_MS + 1;
        int exit = 0;
        int r = poll_once(ui, claim, DV_MIN(left_ms, WAIT_MS), &err, &exit);
        if (exit)
            return exit;
        failures = r < 0 && r != -EINTR ? failures + 1 : 0;
        if (failures > RETRIES_MAX)
            return dv_ui_fail(ui, DV_UI_RUN_FAILED, "%s", err.msg);
        struct timespec pause = {1, 0};
        if (failures)
            nanosleep(&pause, NULL);
    }
    return *signal ? DV_UI_RUN_SIGNAL + *signal : 0;
}

void dv_claim_give_back(struct dv_claim *claim)
{
    struct dv_http_reply reply = {0};
    char path[sizeof "/v1/claims/" + DV_CLAIM_ID * 3];
    if (!claim->id[0])
        return;
    dv_cleanup(dv_str_done) struct dv_str id = {0};
    dv_http_client_escape(claim->id, &id);
    snprintf(path, sizeof path, "/v1/claims/%s", dv_str_get(&id));
    dv_http_client_stop_at(claim->client, NULL); /* a second Ctrl-C must not keep the slice */
    if (dv_http_client_call(claim->client, "DELETE", path, NULL, GIVE_BACK_MS, &reply, NULL) == 0)
        dv_http_reply_done(&reply);
    claim->id[0] = 0;
}
