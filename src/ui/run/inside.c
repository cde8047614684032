/* SPDX-License-Identifier: Apache-2.0 */
#include "run/inside.h"

#include "run/child.h"

#include <errno.h>

static int run(const struct dv_ui *ui, struct dv_claim *claim, struct dv_child *child,
               dv_inside_after *after)
{
    struct dv_err err = {{0}};
    if (dv_child_environment(dv_claim_environment(claim), &err) < 0)
        return dv_ui_fail(ui, DV_UI_RUN_FAILED, "%s", err.msg);
    int exit = dv_child_run(child, ui->argv, &err);
    if (err.msg[0])
        return dv_ui_fail(ui, exit, "%s", err.msg);
    return after ? after(ui, claim, exit) : exit;
}

int dv_inside_run(const struct dv_ui *ui, const struct dv_wish *wish, struct dv_output *body,
                  dv_inside_after *after)
{
    struct dv_err err = {{0}};
    struct dv_child child;
    dv_cleanup(dv_http_client_free) struct dv_http_client *client = NULL;
    dv_cleanup(dv_claim_done) struct dv_claim claim = {0};
    uint64_t deadline = dv_wish_deadline(wish);
    int r = dv_http_client_new(ui->socket, &client, &err);
    if (!r)
        r = dv_child_prepare(&child, &err);
    if (r < 0)
        return dv_ui_fail(ui, r == -EINVAL ? DV_UI_USAGE : DV_UI_RUN_FAILED, "%s", err.msg);
    claim.client = client;
    int exit = dv_claim_ask(ui, &claim, body, deadline, dv_child_signal());
    dv_http_client_stop_at(client, dv_child_signal());
    if (!exit)
        exit = dv_claim_wait(ui, &claim, deadline, dv_child_signal());
    if (!exit)
        exit = run(ui, &claim, &child, after);
    dv_claim_give_back(&claim);
    return exit;
}
