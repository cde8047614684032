/* SPDX-License-Identifier: Apache-2.0 */
#include "api_layout.h"

#include "layouts_view.h"
#include "request.h"
#include "sys/log.h"
#include "view.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_SIZE 64

/* What a request makes on its way; too large for the stack. */
struct work {
    struct dv_layouts_request q;
    struct dv_layouts_plans plans;
};

static struct work *start(struct dv_http_request *rq, bool needs_text)
{
    struct dv_request_layout parsed;
    struct dv_err err;
    struct work *w = calloc(1, sizeof *w);
    if (!w) {
        dv_view_reply_error(rq, 500, 1, "memory", "the daemon is out of memory");
        return NULL;
    }
    if (dv_request_layout(rq->body, rq->body_size, needs_text, &parsed, &err) < 0) {
        dv_view_reply_error(rq, 400, 2, "bad_request", err.msg);
        free(w);
        return NULL;
    }
    memcpy(w->q.name, parsed.name, sizeof w->q.name);
    memcpy(w->q.config, parsed.config, sizeof w->q.config);
    if (!w->q.name[0])
        snprintf(w->q.name, sizeof w->q.name, "the layout");
    w->q.text = parsed.text;
    w->q.len = parsed.len;
    w->q.when = (enum dv_layouts_when)parsed.when;
    w->q.timeout_ns = parsed.timeout_ns;
    return w;
}

static void finish(struct work *w)
{
    dv_layouts_plans_done(&w->plans);
    free(w->q.text);
    free(w);
}

static void reply_in_use(struct dv_node *node, struct dv_http_request *rq, const struct work *w,
                         const char *message)
{
    struct dv_output *o = dv_output_new("Error");
    struct dv_output_node *root = dv_output_root(o);
    dv_output_string(root, "reason", "in_use");
    dv_output_string(root, "message", message);
    dv_output_int(root, "exit_code", 1);
    dv_layouts_view_blockers(root, node, &w->plans);
    dv_view_reply(rq, 409, o);
}

static void reply_failure(struct dv_node *node, struct dv_http_request *rq, const struct work *w,
                          int r, const char *message)
{
    switch (r) {
    case DV_LAYOUTS_IN_USE:
        reply_in_use(node, rq, w, message);
        return;
    case DV_LAYOUTS_BUSY:
        dv_view_reply_error(rq, 409, 1, "busy", message);
        return;
    case DV_LAYOUTS_NOTHING:
        dv_view_reply_error(rq, 409, 1, "nothing", message);
        return;
    case DV_LAYOUTS_WRONG:
        dv_view_reply_error(rq, 400, 2, "bad_layout", message);
        return;
    case DV_LAYOUTS_INFEASIBLE:
        dv_view_reply_error(rq, 409, 3, "infeasible", message);
        return;
    case -EAGAIN:
        dv_view_reply_unavailable(node, rq, message);
        return;
    default:
        dv_view_reply_error(rq, 500, 1, "failed", message);
    }
}

void dv_api_layout_get(struct dv_node *node, struct dv_http_request *rq)
{
    dv_view_reply(rq, 200, dv_layouts_view(node));
}

static void plan(struct dv_node *node, struct dv_http_request *rq, bool assertion)
{
    struct dv_err err = {0};
    struct work *w = start(rq, true);
    if (!w)
        return;
    int r = dv_layouts_plan(node, &w->q, &w->plans, &err);
    if (r)
        reply_failure(node, rq, w, r, err.msg);
    else
        dv_view_reply(rq, 200,
                      assertion ? dv_layouts_view_assert(node, &w->plans)
                                : dv_layouts_view_plan(node, &w->q, &w->plans));
    finish(w);
}

void dv_api_layout_plan(struct dv_node *node, struct dv_http_request *rq)
{
    plan(node, rq, false);
}

void dv_api_layout_assert(struct dv_node *node, struct dv_http_request *rq)
{
    plan(node, rq, true);
}

static void change(struct dv_node *node, struct dv_http_request *rq, bool permitted, bool undo)
{
    struct dv_err err = {0};
    if (!permitted) {
        dv_view_reply_error(rq, 403, 4, "not_permitted",
                            "only root and operators may change the layout");
        return;
    }
    struct work *w = start(rq, !undo);
    if (!w)
        return;
    int r = dv_layouts_apply(node, &w->q, &w->plans, &err);
    if (r == DV_LAYOUTS_DONE || r == DV_LAYOUTS_UNDER_WAY)
        dv_view_reply(rq, r == DV_LAYOUTS_DONE ? 200 : 202, dv_layouts_view(node));
    else
        reply_failure(node, rq, w, r, err.msg);
    finish(w);
}

void dv_api_layout_apply(struct dv_node *node, struct dv_http_request *rq, bool permitted)
{
    change(node, rq, permitted, false);
}

void dv_api_layout_undo(struct dv_node *node, struct dv_http_request *rq, bool permitted)
{
    change(node, rq, permitted, true);
}

static bool is_name(const char *text)
{
    size_t n = strlen(text);
    return n && n < CONFIG_SIZE &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

void dv_api_layout_export(struct dv_node *node, struct dv_http_request *rq)
{
    const char *config = dv_http_server_query(rq, "config");
    if (config && !is_name(config))
        dv_view_reply_error(rq, 400, 2, "bad_request",
                            "config: a name of letters, digits, '.', '_' and '-' expected");
    else
        dv_view_reply(rq, 200, dv_layouts_view_export(node, config ? config : "current"));
}

void dv_api_layout_generate(struct dv_node *node, struct dv_http_request *rq)
{
    dv_view_reply(rq, 200, dv_layouts_view_generate(node));
}
