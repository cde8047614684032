/* SPDX-License-Identifier: Apache-2.0 */
#include "layout_view.h"

#include "render/value.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const struct dv_output_node *get(const struct dv_output_node *o, const char *key)
{
    return dv_output_get(o, key);
}

static const char *text_of(const struct dv_output_node *o, const char *key)
{
    return dv_output_text(get(o, key), "");
}

static uint64_t count_of(const struct dv_output_node *o, const char *key)
{
    return dv_output_count(get(o, key), 0);
}

static const struct dv_output_node *first(const struct dv_output_node *o, const char *key)
{
    const struct dv_output_node *list = get(o, key);
    return list && list->type == DV_OUTPUT_ARRAY ? list->first : NULL;
}

/* "destroy_instance" as words. */
static void add_words(const char *name, struct dv_str *text)
{
    dv_cleanup(dv_str_done) struct dv_str words = {0};
    for (; *name; name++)
        dv_str_addc(&words, *name == '_' ? ' ' : *name);
    dv_value_clean(dv_str_get(&words), text);
}

static void add_time(const struct dv_output_node *unix_time, struct dv_str *text)
{
    time_t t = (time_t)dv_output_count(unix_time, 0);
    struct tm tm;
    char buf[40];
    if (unix_time && gmtime_r(&t, &tm) && strftime(buf, sizeof buf, "%Y-%m-%d %H:%M:%S UTC", &tm))
        dv_str_add(text, buf);
}

static bool is_settled(const struct dv_output_node *gpu)
{
    const char *state = text_of(gpu, "state");
    return !*state || !strcmp(state, "settled");
}

/* ---- who is in the way, and what goes on ---------------------------------------------------- */

static void add_gpu(const struct dv_output_node *index, struct dv_str *text)
{
    dv_str_add(text, "GPU ");
    dv_value_human(index, DV_VALUE_AUTO, text);
}

static void add_pids(const struct dv_output_node *pids, struct dv_str *text)
{
    if (!pids || pids->type != DV_OUTPUT_ARRAY || !pids->first)
        return;
    dv_str_add(text, pids->first->next ? ", pids " : ", pid ");
    dv_value_human(pids, DV_VALUE_AUTO, text);
}

void dv_layout_view_blockers(const struct dv_output_node *list, const struct dv_output_node *gpu,
                             const char *indent, struct dv_str *text)
{
    const struct dv_output_node *b = list && list->type == DV_OUTPUT_ARRAY ? list->first : NULL;
    for (; b; b = b->next) {
        dv_str_add(text, indent);
        add_gpu(gpu ? gpu : get(b, "gpu"), text);
        dv_str_add(text, ": ");
        dv_value_clean(text_of(b, "slice"), text);
        dv_str_add(text, " of ");
        dv_value_clean(text_of(b, "tenant"), text);
        dv_str_add(text, " on ");
        dv_value_clean(text_of(b, "device"), text);
        dv_str_add(text, " (");
        add_words(text_of(b, "because"), text);
        dv_str_addc(text, ')');
        add_pids(get(b, "pids"), text);
        dv_str_addc(text, '\n');
    }
}

static void add_awaited(const struct dv_output_node *gpu, struct dv_str *text)
{
    const char *separator = ": waits for ";
    for (const struct dv_output_node *b = first(gpu, "blockers"); b; b = b->next) {
        dv_str_add(text, separator);
        dv_value_clean(text_of(b, "slice"), text);
        dv_str_add(text, " of ");
        dv_value_clean(text_of(b, "tenant"), text);
        separator = ", ";
    }
}

static void add_progress(const struct dv_output_node *gpu, struct dv_str *text)
{
    add_gpu(get(gpu, "index"), text);
    dv_str_addc(text, ' ');
    add_words(text_of(gpu, "state"), text);
    if (*text_of(gpu, "detail") && !first(gpu, "blockers")) {
        dv_str_add(text, ": ");
        dv_value_clean(text_of(gpu, "detail"), text);
    }
    add_awaited(gpu, text);
    const struct dv_output_node *deadline = get(gpu, "deadline_unix");
    if (deadline && deadline->type != DV_OUTPUT_NULL) {
        dv_str_add(text, ", until ");
        add_time(deadline, text);
    }
    dv_str_addc(text, '\n');
}

void dv_layout_view_progress(const struct dv_output_node *layout, struct dv_str *text)
{
    for (const struct dv_output_node *gpu = first(layout, "gpus"); gpu; gpu = gpu->next)
        if (!is_settled(gpu))
            add_progress(gpu, text);
}

bool dv_layout_view_waits(const struct dv_output_node *layout, struct dv_str *text)
{
    size_t before = text->len;
    for (const struct dv_output_node *gpu = first(layout, "gpus"); gpu; gpu = gpu->next)
        if (!strcmp(text_of(gpu, "state"), "draining"))
            add_progress(gpu, text);
    return text->len > before;
}

/* ---- show ----------------------------------------------------------------------------------- */

static const struct dv_table_column show_columns[] = {
    {"GPU", "^index", .right = true},
    {"MODEL", "^model"},
    {"MANAGED", "^managed"},
    {"STATE", "^state", .state = true},
    {"DEVICE", "profile"},
    {"AT", "placement_start", .right = true},
    {"WANTED", "layout_mode"},
    {"MODE", "mode"},
    {"REPLICAS", "replicas", .right = true},
    {"SLICES", "slices", .right = true},
    {"MEMORY", "memory_bytes", DV_VALUE_BYTES, .right = true},
    {"UUID", "uuid"},
};
static const struct dv_table show_view = {"gpus.devices", show_columns, DV_ARRAY_SIZE(show_columns),
                                          .keep_empty = true};

static const struct dv_table_column show_csv_columns[] = {
    {"", "^index", .csv = "gpu_index"},
    {"", "^uuid", .csv = "gpu_uuid"},
    {"", "^model", .csv = "gpu_model"},
    {"", "^managed", .csv = "gpu_managed"},
    {"", "^state", .csv = "gpu_state"},
    {"", "^mig_enabled", .csv = "gpu_mig_enabled"},
    {"", "^mig_pending", .csv = "gpu_mig_pending"},
    {"", "uuid", .csv = "device_uuid"},
    {"", "profile"},
    {"", "placement_start"},
    {"", "placement_size"},
    {"", "memory_bytes"},
    {"", "layout_mode"},
    {"", "mode"},
    {"", "replicas"},
    {"", "timeslice"},
    {"", "draining"},
    {"", "mps_up"},
    {"", "slices"},
};
static const struct dv_table show_csv = {"gpus.devices", show_csv_columns,
                                         DV_ARRAY_SIZE(show_csv_columns), .keep_empty = true};

static void add_source(const struct dv_output_node *source, struct dv_str *text)
{
    const char *part = text_of(source, "part");
    dv_str_add(text, "  ");
    if (!strcmp(part, "both"))
        dv_str_add(text, "cut and sharing");
    else
        add_words(part, text);
    dv_str_add(text, " from ");
    dv_value_clean(text_of(source, "name"), text);
    dv_str_add(text, " (");
    dv_value_clean(text_of(source, "format"), text);
    if (*text_of(source, "config")) {
        dv_str_add(text, ", config ");
        dv_value_clean(text_of(source, "config"), text);
    }
    dv_str_addc(text, ')');
    if (count_of(source, "applied_unix")) {
        dv_str_add(text, ", since ");
        add_time(get(source, "applied_unix"), text);
    }
    dv_str_addc(text, '\n');
}

static void add_heading(const struct dv_output_node *root, struct dv_str *text)
{
    const char *state = text_of(root, "state");
    if (!strcmp(state, "none")) {
        dv_str_add(text, "no layout: each device is shared as its first tenant asks\n");
    } else {
        dv_str_add(text, "layout ");
        add_words(state, text);
        if (*text_of(root, "detail")) {
            dv_str_add(text, ": ");
            dv_value_clean(text_of(root, "detail"), text);
        }
        dv_str_addc(text, '\n');
    }
    for (const struct dv_output_node *s = first(root, "sources"); s; s = s->next)
        add_source(s, text);
    dv_str_addc(text, '\n');
}

/* What the table has no column for. */
static void add_remarks(const struct dv_output_node *root, struct dv_str *text)
{
    size_t before = text->len;
    dv_str_addc(text, '\n');
    dv_layout_view_progress(root, text);
    for (const struct dv_output_node *gpu = first(root, "gpus"); gpu; gpu = gpu->next) {
        if (dv_output_is_true(get(gpu, "mig_pending"))) {
            add_gpu(get(gpu, "index"), text);
            dv_str_add(text, ": a change of MIG mode waits for a reset of the GPU\n");
        }
        const struct dv_output_node *blockers = get(gpu, "blockers");
        if (blockers && blockers->children) {
            dv_str_add(text, "in the way:\n");
            dv_layout_view_blockers(blockers, get(gpu, "index"), "  ", text);
        }
    }
    if (text->len == before + 1 && !text->failed) {
        text->len = before;
        text->data[before] = 0;
    }
}

int dv_layout_view_show(const struct dv_ui *ui, struct dv_output *o, int exit)
{
    if (!dv_ui_is(ui, "table"))
        return dv_ui_answer(ui, o, &show_csv, NULL, exit);
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_table_style style = {.colour = ui->colour, .nothing = "no GPUs"};
    add_heading(dv_output_root(o), &text);
    int r = dv_table_write(&show_view, o, style, &text);
    add_remarks(dv_output_root(o), &text);
    if (r < 0 || text.failed)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    r = dv_ui_print(dv_str_get(&text));
    return r ? r : exit;
}

/* ---- plan ----------------------------------------------------------------------------------- */

static const struct dv_table_column plan_columns[] = {
    {"GPU", "^index", .right = true, .csv = "gpu_index"},
    {"STEP", "number", .right = true, .csv = "number"},
    {"ACTION", "action"},
    {"TEXT", "text"},
    {"DEVICE", "device"},
};
static const struct dv_table plan_view = {"gpus.steps", plan_columns, DV_ARRAY_SIZE(plan_columns)};

static void add_number(uint64_t n, const char *verb, const char **separator, struct dv_str *text)
{
    if (!n)
        return;
    dv_str_addf(text, "%s%" PRIu64 " %s", *separator, n, verb);
    *separator = ", ";
}

static void add_outcome(const struct dv_output_node *gpu, struct dv_str *text)
{
    const char *separator = ": instances: ";
    const char *before = separator;
    add_number(count_of(gpu, "destroyed"), "destroyed", &separator, text);
    add_number(count_of(gpu, "created"), "created", &separator, text);
    add_number(count_of(gpu, "kept"), "kept", &separator, text);
    if (separator == before)
        dv_str_addc(text, ':');
}

/* GPUs without steps, in one line; nodes have many. */
static void add_others(const struct dv_output_node *root, bool managed, const char *before,
                       struct dv_str *text)
{
    bool any = false;
    for (const struct dv_output_node *gpu = first(root, "gpus"); gpu; gpu = gpu->next) {
        if (first(gpu, "steps") || dv_output_is_true(get(gpu, "managed")) != managed)
            continue;
        dv_str_add(text, any ? ", " : before);
        dv_value_human(get(gpu, "index"), DV_VALUE_AUTO, text);
        any = true;
    }
    if (any)
        dv_str_addc(text, '\n');
}

static void add_device(const struct dv_output_node *d, struct dv_str *text)
{
    const char *profile = text_of(d, "profile");
    if (*profile) {
        dv_value_clean(profile, text);
        const struct dv_output_node *start = get(d, "placement_start");
        if (start && start->type != DV_OUTPUT_NULL)
            dv_str_addf(text, " at %" PRIu64, dv_output_count(start, 0));
    } else {
        dv_str_add(text, "whole GPU");
    }
    dv_str_addc(text, ' ');
    dv_value_clean(text_of(d, "mode"), text);
    if (count_of(d, "replicas"))
        dv_str_addf(text, " x%" PRIu64, count_of(d, "replicas"));
    if (dv_output_is_true(get(d, "stays")))
        dv_str_add(text, " (stays)");
}

static void add_gpu_plan(const struct dv_output_node *gpu, struct dv_str *text)
{
    add_gpu(get(gpu, "index"), text);
    dv_str_add(text, " (");
    dv_value_clean(text_of(gpu, "model"), text);
    dv_str_addc(text, ')');
    add_outcome(gpu, text);
    dv_str_addc(text, '\n');
    for (const struct dv_output_node *s = first(gpu, "steps"); s; s = s->next) {
        dv_str_addf(text, "  %2" PRIu64 ". ", count_of(s, "number"));
        dv_value_clean(text_of(s, "text"), text);
        dv_str_addc(text, '\n');
    }
    const char *separator = "  then: ";
    for (const struct dv_output_node *d = first(gpu, "devices"); d; d = d->next) {
        dv_str_add(text, separator);
        add_device(d, text);
        separator = ", ";
    }
    if (first(gpu, "devices"))
        dv_str_addc(text, '\n');
    if (first(gpu, "blockers")) {
        dv_str_add(text, "  in the way:\n");
        dv_layout_view_blockers(get(gpu, "blockers"), get(gpu, "index"), "    ", text);
    }
}

static void say_warnings(const struct dv_output_node *root)
{
    for (const struct dv_output_node *w = first(root, "warnings"); w; w = w->next) {
        dv_cleanup(dv_str_done) struct dv_str text = {0};
        dv_value_clean(text_of(root, "name"), &text);
        if (count_of(w, "line"))
            dv_str_addf(&text, ":%" PRIu64, count_of(w, "line"));
        dv_str_add(&text, ": ");
        dv_value_clean(text_of(w, "text"), &text);
        fprintf(stderr, "%s\n", dv_str_get(&text));
    }
}

int dv_layout_view_plan(const struct dv_ui *ui, struct dv_output *o, int exit)
{
    const struct dv_output_node *root = dv_output_root(o);
    say_warnings(root);
    if (!dv_ui_is(ui, "table"))
        return dv_ui_answer(ui, o, &plan_view, NULL, exit);
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    for (const struct dv_output_node *gpu = first(root, "gpus"); gpu; gpu = gpu->next)
        if (first(gpu, "steps"))
            add_gpu_plan(gpu, &text);
    add_others(root, true, "as wanted already: GPU ", &text);
    add_others(root, false, "not in the layout, stays: GPU ", &text);
    if (!dv_output_is_true(get(root, "changes")))
        dv_str_add(&text, "nothing to do\n");
    if (text.failed)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    int r = dv_ui_print(dv_str_get(&text));
    return r ? r : exit;
}
