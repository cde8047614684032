/* SPDX-License-Identifier: Apache-2.0 */
#include "ask.h"
#include "kubernetes_text.h"
#include "verbs.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

struct values {
    bool watch;
    uint64_t interval;
};

static const struct dv_option options[] = {
    {"watch", 'w', NULL, "show it again and again until interrupted", DV_OPTION_FLAG,
     offsetof(struct values, watch)},
    {"interval", 'n', "TIME", "time between two looks of --watch", DV_OPTION_DURATION,
     offsetof(struct values, interval), .min = 100000000, .max = INT64_C(3600000000000),
     .otherwise = "1s"},
};

static const struct dv_table_column gpu_columns[] = {
    {"GPU", "index", .right = true},
    {"MODEL", "model"},
    {"MODE", "mode"},
    {"HEALTH", "health", .state = true},
    {"USED", "memory_used_bytes", DV_VALUE_BYTES, .right = true},
    {"MEMORY", "memory_bytes", DV_VALUE_BYTES, .right = true},
    {"MIG", "mig_enabled"},
    {"UUID", "uuid"},
};
static const struct dv_table gpu_view = {"gpus", gpu_columns, DV_ARRAY_SIZE(gpu_columns)};

static const struct dv_table_column slice_columns[] = {
    {"GPU", "^index", .right = true, .csv = "gpu_index"},
    {"SLICE", "id", .csv = "slice"},
    {"TENANT", "tenant"},
    {"MODE", "mode"},
    {"COMPUTE", "compute_permille", DV_VALUE_PERMILLE, .right = true},
    {"WALL", "compute_wall", .state = true},
    {"USED", "memory_used_bytes", DV_VALUE_BYTES, .right = true},
    {"MEMORY", "memory_bytes", DV_VALUE_BYTES, .right = true},
    {"WALL", "memory_wall", .state = true},
    {"PROFILE", "profile"},
    {"PIDS", "pids"},
};
static const struct dv_table slice_view = {"gpus.slices", slice_columns,
                                           DV_ARRAY_SIZE(slice_columns)};

/* For scripts: one row per slice, and one for each GPU without any. */
static const struct dv_table_column csv_columns[] = {
    {"", "^index", .csv = "gpu_index"},
    {"", "^uuid", .csv = "gpu_uuid"},
    {"", "^model", .csv = "gpu_model"},
    {"", "^memory_bytes", .csv = "gpu_memory_bytes"},
    {"", "^memory_used_bytes", .csv = "gpu_memory_used_bytes"},
    {"", "^mode", .csv = "gpu_mode"},
    {"", "^health", .csv = "gpu_health"},
    {"", "id", .csv = "slice"},
    {"", "tenant"},
    {"", "memory_bytes"},
    {"", "memory_used_bytes"},
    {"", "compute_permille"},
    {"", "memory_wall"},
    {"", "compute_wall"},
    {"", "profile"},
    {"", "placement_start"},
    {"", "pids"},
};
static const struct dv_table csv_view = {"gpus.slices", csv_columns, DV_ARRAY_SIZE(csv_columns),
                                         .keep_empty = true};

static void add_heading(const struct dv_output_node *root, struct dv_str *text)
{
    const struct dv_output_node *driver = dv_output_get(root, "driver");
    const struct dv_output_node *daemon = dv_output_get(root, "daemon");
    const char *state = dv_output_text(dv_output_get(driver, "state"), "unknown");
    const char *detail = dv_output_text(dv_output_get(driver, "detail"), "");
    dv_str_add(text, "driver ");
    dv_value_clean(state, text);
    const struct dv_output_node *version = dv_output_get(driver, "version");
    if (version && version->type == DV_OUTPUT_STRING) {
        dv_str_addc(text, ' ');
        dv_value_human(version, DV_VALUE_AUTO, text);
    }
    if (*detail) {
        dv_str_add(text, ": ");
        dv_value_clean(detail, text);
    }
    const struct dv_output_node *sim = dv_output_get(daemon, "sim");
    if (sim && sim->type == DV_OUTPUT_STRING) {
        dv_str_add(text, ", simulated ");
        dv_value_human(sim, DV_VALUE_AUTO, text);
    }
    const struct dv_output_node *up = dv_output_get(daemon, "uptime_seconds");
    if (up) {
        dv_str_add(text, ", divvyd up ");
        dv_value_human(up, DV_VALUE_SECONDS, text);
    }
    dv_str_add(text, "\n\n");
}

/* GPUs that the driver no longer counts are no rows: they have no index. */
static void add_missing(const struct dv_output_node *root, struct dv_str *text)
{
    const struct dv_output_node *list = dv_output_get(root, "missing_gpus");
    bool any = false;
    for (const struct dv_output_node *m = list ? list->first : NULL; m; m = m->next, any = true) {
        const char *health = dv_output_text(dv_output_get(m, "last_health"), "");
        dv_str_add(text, any ? "" : "\n");
        dv_str_add(text, "missing: ");
        dv_value_clean(dv_output_text(dv_output_get(m, "uuid"), ""), text);
        dv_str_add(text, " (");
        dv_value_clean(dv_output_text(dv_output_get(m, "model"), "unknown model"), text);
        dv_str_add(text, "), which was GPU ");
        dv_value_human(dv_output_get(m, "last_index"), DV_VALUE_AUTO, text);
        if (*health) {
            dv_str_add(text, ", ");
            dv_value_clean(health, text);
        }
        dv_str_add(text, ": the driver no longer counts it; see 'divvy doctor'\n");
    }
}

static int print_tables(const struct dv_ui *ui, struct dv_output *o)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_table_style style = {.colour = ui->colour, .nothing = "no GPUs"};
    add_heading(dv_output_root(o), &text);
    int r = dv_table_write(&gpu_view, o, style, &text);
    add_missing(dv_output_root(o), &text);
    dv_str_addc(&text, '\n');
    style.nothing = "no slices: nobody holds anything";
    if (!r)
        r = dv_table_write(&slice_view, o, style, &text);
    const struct dv_output_node *kubernetes = dv_output_get(dv_output_root(o), "kubernetes");
    if (!r && kubernetes) {
        dv_str_addc(&text, '\n');
        dv_kubernetes_text(kubernetes, &text);
        dv_str_addc(&text, '\n');
        r = dv_kubernetes_text_resources(o, "kubernetes.resources", ui->colour, &text);
    }
    if (r < 0 || text.failed)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    return dv_ui_print(dv_str_get(&text));
}

static int show(const struct dv_ui *ui)
{
    dv_cleanup(dv_output_free) struct dv_output *o = NULL;
    int exit = dv_ask(ui, "GET", "/v1/status", NULL, &o);
    if (exit)
        return exit;
    if (dv_ui_is(ui, "table"))
        return print_tables(ui, o);
    return dv_ui_answer(ui, o, &csv_view, NULL, DV_UI_OK);
}

static int run(const struct dv_ui *ui)
{
    const struct values *v = ui->values;
    int exit = DV_UI_OK;
    for (;;) {
        if (v->watch && isatty(STDOUT_FILENO) && dv_ui_is(ui, "table"))
            exit = dv_ui_print("\033[H\033[2J");
        if (!exit)
            exit = show(ui);
        if (exit || !v->watch)
            return exit;
        struct timespec pause = {(time_t)(v->interval / DV_NS_PER_S),
                                 (long)(v->interval % DV_NS_PER_S)};
        nanosleep(&pause, NULL);
    }
}

static const struct dv_ui_example examples[] = {
    {"who holds what, now and from now on", "divvy status --watch"},
    {"memory in use per GPU, for a script",
     "divvy status -o json | jq '.gpus[] | [.index, .memory_used_bytes]'"},
};

const struct dv_ui_verb dv_verb_status = {
    .name = "status",
    .summary = "the GPUs of this node and who holds what",
    .details = "A wall is what holds a tenant inside its slice: hardware (MIG), driver, "
               "cooperative (divvy's library in the tenant's process; a tenant that works at it "
               "gets past), or none.",
    .options = options,
    .n_options = DV_ARRAY_SIZE(options),
    .values_size = sizeof(struct values),
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .prints = true,
    .asks_daemon = true,
    .run = run,
};
