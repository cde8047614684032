/* SPDX-License-Identifier: Apache-2.0 */
#include "ask.h"
#include "verbs.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* "s-3", "c-12": slices and claims. All else is a tenant's name. */
static bool is_id(const char *word)
{
    return (word[0] == 's' || word[0] == 'c') && word[1] == '-' && word[2] &&
           strspn(word + 2, "0123456789") == strlen(word + 2);
}

static int print_lines(const struct dv_ui *ui, struct dv_output *o)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    const struct dv_output_node *lines = dv_output_get(dv_output_root(o), "lines");
    for (const struct dv_output_node *n = lines ? lines->first : NULL; n; n = n->next) {
        dv_value_clean(dv_output_text(n, ""), &text);
        dv_str_addc(&text, '\n');
    }
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
};

const struct dv_ui_verb dv_verb_explain = {
    .name = "explain",
    .args = "[SLICE|CLAIM|TENANT]",
    .summary = "why something is as it is",
    .details = "A slice: where it lies, what holds it, what it uses. A claim: what it waits for. "
               "A tenant (default: you): all of its slices and claims.",
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .max_words = 1,
    .prints = true,
    .asks_daemon = true,
    .run = run,
};
