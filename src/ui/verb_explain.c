/* SPDX-License-Identifier: Apache-2.0 */
#include "ask.h"
#include "verbs.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* "s-3", "c-12": slices and claims. All else is a tenant's name. */
static bool is_id(const char *word)
{
    return (word[0] == 's' || word[0] == 'c') && word[1] == '-' && word[2] &&
           strspn(word + 2, "0123456789") == strlen(word + 2);
}

static const struct dv_table_column time_columns[] = {
    {"TIME", "what"},
    {"FOR", "holder"},
    {"SPENT", "seconds", DV_VALUE_SECONDS, .right = true},
    {"SHARE", "permille", DV_VALUE_PERMILLE, .right = true},
};
static const struct dv_table time_view = {"time", time_columns, DV_ARRAY_SIZE(time_columns)};
static const struct dv_table_column queue_columns[] = {
    {"QUEUED FOR", "holder"},
    {"WAITED", "seconds", DV_VALUE_SECONDS, .right = true},
    {"SHARE", "permille", DV_VALUE_PERMILLE, .right = true},
};
static const struct dv_table queue_view = {"queue", queue_columns, DV_ARRAY_SIZE(queue_columns)};

/* "12.0s held in slices since 2026-11-27 01:02:03 UTC:" and the table; nothing without rows. */
static void add_time(struct dv_output *o, const char *whole, const char *words,
                     const struct dv_table *view, struct dv_str *text)
{
    const struct dv_output_node *root = dv_output_root(o), *list = dv_output_get(root, view->rows);
    time_t since = (time_t)dv_output_signed(dv_output_get(root, "since_unix"), 0);
    char when[32] = "?";
    struct tm tm;
    if (!list || !list->first)
        return;
    if (gmtime_r(&since, &tm))
        strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S UTC", &tm);
    dv_str_addc(text, '\n');
    dv_value_human(dv_output_get(root, whole), DV_VALUE_SECONDS, text);
    dv_str_addf(text, " %s since %s:\n", words, when);
    dv_table_write(view, o, (struct dv_table_style){.indent = "  "}, text);
}

static int print_lines(const struct dv_ui *ui, struct dv_output *o)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    const struct dv_output_node *lines = dv_output_get(dv_output_root(o), "lines");
    for (const struct dv_output_node *n = lines ? lines->first : NULL; n; n = n->next) {
        dv_value_clean(dv_output_text(n, ""), &text);
        dv_str_addc(&text, '\n');
    }
    add_time(o, "held_seconds", "held in slices", &time_view, &text);
    add_time(o, "queued_seconds", "in the queue", &queue_view, &text);
    return dv_ui_print(dv_str_get(&text));
}

static const struct dv_table_column columns[] = {{"SUBJECT", "subject"}, {"LINES", "lines"}};
static const struct dv_table view = {"", columns, DV_ARRAY_SIZE(columns)};

static int run(const struct dv_ui *ui)
{
    dv_cleanup(dv_output_free) struct dv_output *o = NULL;
    const char *word = ui->argv[0];
    const struct passwd *user = word ? NULL : getpwuid(geteuid());
    if (!word && !user)
        return dv_ui_fail(ui, DV_UI_USAGE, "say which slice, claim or tenant");
    bool id = word && is_id(word);
    char *path = NULL;
    if (dv_ask_path(id ? "/v1/explain?id=" : "/v1/explain?tenant=", word ? word : user->pw_name, "",
                    &path) < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    int exit = dv_ask(ui, "GET", path, NULL, &o);
    free(path);
    if (exit)
        return exit;
    return dv_ui_is(ui, "table") ? print_lines(ui, o) : dv_ui_answer(ui, o, &view, NULL, DV_UI_OK);
}

static const struct dv_ui_example examples[] = {
    {"why a claim waits", "divvy explain c-7"},
    {"what holds a slice inside its limits", "divvy explain s-3"},
    {"where a tenant's time went, for a script", "divvy explain ann -o json"},
};

const struct dv_ui_verb dv_verb_explain = {
    .name = "explain",
    .args = "[SLICE|CLAIM|TENANT]",
    .summary = "why something is as it is, and where its time went",
    .details =
        "A slice: where it lies, what holds it, what it uses. A claim: what it waits for. "
        "A tenant (default: you): all of its slices and claims. Of simulated ones 'divvy simulate "
        "queue' and 'divvy simulate cluster' have --explain.\n\n"
        "Then where the time went for which slices were held: running is GPU time charged, "
        "waiting is for turns, by the tenant that had the device meanwhile ((nobody): its own "
        "cap, or leases were off), overhead is what its own turns lost in hand-overs while others "
        "waited, idle is the rest: it had nothing to run. And for whom its claims stood in the "
        "queue. A workload with a baseline ('divvy baseline') is compared with it.",
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .max_words = 1,
    .prints = true,
    .asks_daemon = true,
    .run = run,
};
