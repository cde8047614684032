/* SPDX-License-Identifier: Apache-2.0 */
#include "ask.h"
#include "bill_source.h"
#include "render/json.h"
#include "verbs.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LEDGER_OPTION(at)                                                                          \
    {                                                                                              \
        "ledger", 0, "FILE", "this ledger, a backup, without a daemon", DV_OPTION_TEXT, (at)       \
    }

struct file_values {
    const char *ledger;
};
static const struct dv_option file_options[] = {
    LEDGER_OPTION(offsetof(struct file_values, ledger)),
};

/* ---- show, verify --------------------------------------------------------------------------- */

static const struct dv_table_column chain_columns[] = {
    {"CHAIN", "chain"},
    {"NEWEST", "seq", .right = true},
    {"BLOCKS", "blocks", .right = true},
    {"ROWS", "rows", .right = true},
    {"HASH", "hash"},
};
static const struct dv_table chain_view = {"chains", chain_columns, DV_ARRAY_SIZE(chain_columns)};

static const struct dv_table_column note_columns[] = {
    {"NOTE", "seq", .right = true},    {"KIND", "kind"}, {"WHO", "who"}, {"LEVEL", "level"},
    {"BLOCK", "block", .right = true}, {"OLD", "old"},   {"NEW", "new"}, {"REASON", "reason"},
};
static const struct dv_table note_view = {"notes", note_columns, DV_ARRAY_SIZE(note_columns)};

static int run_show(const struct dv_ui *ui)
{
    const struct file_values *v = ui->values;
    dv_cleanup(dv_output_free) struct dv_output *o = NULL;
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    int exit = dv_bill_source_show(ui, v->ledger, false, &o);
    if (exit || !dv_ui_is(ui, "table"))
        return exit ? exit : dv_ui_answer(ui, o, &chain_view, NULL, DV_UI_OK);
    const struct dv_output_node *root = dv_output_root(o);
    dv_value_human(dv_output_get(root, "path"), DV_VALUE_AUTO, &text);
    dv_str_add(&text, ", ");
    dv_value_human(dv_output_get(root, "file_bytes"), DV_VALUE_BYTES, &text);
    dv_str_add(&text, "\n\n");
    struct dv_table_style style = {.colour = ui->colour};
    int r = dv_table_write(&chain_view, o, style, &text);
    if (r == 0 && dv_output_at(dv_output_get(root, "notes"), 0)) {
        dv_str_addc(&text, '\n');
        r = dv_table_write(&note_view, o, style, &text);
    }
    return r < 0 ? dv_ui_fail(ui, DV_UI_FAILURE, "out of memory") : dv_ui_print(dv_str_get(&text));
}

static const struct dv_ui_example show_examples[] = {
    {"write down the newest hashes: they prove later that nothing was rewritten",
     "divvy ledger show -o json > heads.json"},
};

const struct dv_ui_verb dv_verb_ledger_show = {
    .name = "ledger show",
    .summary = "what the ledger keeps, its newest hashes, corrections and renames",
    .details = "The ledger is the record of what every GPU nanosecond went to. Its blocks are "
               "chained by hashes: who keeps a hash can prove later that nothing before it was "
               "changed.",
    .options = file_options,
    .n_options = DV_ARRAY_SIZE(file_options),
    .values_size = sizeof(struct file_values),
    .examples = show_examples,
    .n_examples = DV_ARRAY_SIZE(show_examples),
    .prints = true,
    .asks_daemon = true,
    .run = run_show,
};

static const struct dv_table_column break_columns[] = {
    {"CHAIN", "chain"}, {"BLOCK", "seq", .right = true},
    {"FROM", "from"},   {"TO", "to"},
    {"FAULT", "fault"}, {"DETAIL", "detail"},
};
static const struct dv_table break_view = {"breaks", break_columns, DV_ARRAY_SIZE(break_columns)};

static int run_verify(const struct dv_ui *ui)
{
    const struct file_values *v = ui->values;
    dv_cleanup(dv_output_free) struct dv_output *o = NULL;
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    int exit = dv_bill_source_show(ui, v->ledger, true, &o);
    if (exit)
        return exit;
    const struct dv_output_node *proof = dv_output_get(dv_output_root(o), "proof");
    uint64_t breaks = dv_output_count(dv_output_get(proof, "breaks"), UINT64_MAX);
    if (breaks == UINT64_MAX)
        return dv_ui_fail(ui, DV_UI_FAILURE, "the answer has no proof in it");
    int end = breaks ? DV_UI_PROBLEMS : DV_UI_OK;
    if (!dv_ui_is(ui, "table"))
        return dv_ui_answer(ui, o, &break_view, NULL, end);
    static const char *const keys[] = {"blocks", "rows", "lives", "notes"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(keys); i++) {
        dv_value_raw(dv_output_get(proof, keys[i]), &text);
        dv_str_addf(&text, " %s%s", keys[i], i + 1 < DV_ARRAY_SIZE(keys) ? ", " : ": ");
    }
    dv_str_addf(&text, breaks ? "broken at %llu place%s\n\n" : "the chain is whole\n",
                (unsigned long long)breaks, breaks > 1 ? "s" : "");
    int r = breaks ? dv_table_write(&break_view, o, (struct dv_table_style){.colour = ui->colour},
                                    &text)
                   : 0;
    if (r < 0 || text.failed)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    exit = dv_ui_print(dv_str_get(&text));
    return exit ? exit : end;
}

static const struct dv_ui_example verify_examples[] = {
    {"every night", "divvy ledger verify || mail -s 'ledger broken' root"},
};

const struct dv_ui_verb dv_verb_ledger_verify = {
    .name = "ledger verify",
    .summary = "prove that nothing in the ledger was changed or is missing",
    .details = "Walks all chains and compares each block with its hash, its rows and the blocks it "
               "is made of. Ends with 3 and says where when something is broken; what can be read "
               "stays in bills, with a note.",
    .options = file_options,
    .n_options = DV_ARRAY_SIZE(file_options),
    .values_size = sizeof(struct file_values),
    .examples = verify_examples,
    .n_examples = DV_ARRAY_SIZE(verify_examples),
    .prints = true,
    .asks_daemon = true,
    .run = run_verify,
};

/* ---- export --------------------------------------------------------------------------------- */

#define AT(field) offsetof(struct dv_bill_source, field)
static const struct dv_option export_options[] = {
    {"from", 0, "TIME", "where it begins; default: this month", DV_OPTION_TEXT, AT(from)},
    {"to", 0, "TIME", "where it ends, itself not in it; default: now", DV_OPTION_TEXT, AT(to)},
    {"tenant", 0, "TENANT", "this tenant alone", DV_OPTION_TEXT, AT(tenant)},
    {"pod", 0, "NAMESPACE/POD", "this pod alone", DV_OPTION_TEXT, AT(pod)},
    {"gpu", 0, "UUID", "this GPU alone", DV_OPTION_TEXT, AT(gpu)},
    LEDGER_OPTION(AT(ledger)),
};

static const struct dv_table_column row_columns[] = {
    {"FROM", "from_unix", .right = true},
    {"TO", "to_unix", .right = true},
    {"LEVEL", "level"},
    {"BLOCK", "block", .right = true},
    {"TENANT", "tenant"},
    {"POD", "pod"},
    {"GPU", "gpu_uuid"},
    {"MODEL", "model"},
    {"PROFILE", "profile"},
    {"MODE", "mode"},
    {"TIER", "tier"},
    {"QUALITY", "quality"},
    {"SOURCE", "source"},
    {"BUSY", "busy_seconds", .right = true},
    {"OVERHEAD", "overhead_seconds", .right = true},
    {"IDLE", "reserved_idle_seconds", .right = true},
    {"NOT HELD", "unallocated_seconds", .right = true},
    {"UNHEALTHY", "unhealthy_seconds", .right = true},
    {"WAITED", "wait_seconds", .right = true},
    {"RESERVED", "reserved_seconds", .right = true},
    {"MEMORY BYTE SECONDS", "memory_byte_seconds", .right = true},
    {"HELD", "held_seconds", .right = true},
    {"OPEN", "open"},
    {"CORRECTED", "corrected"},
    {"BROKEN", "broken"},
};
static const struct dv_table row_view = {"rows", row_columns, DV_ARRAY_SIZE(row_columns)};

static int run_export(const struct dv_ui *ui)
{
    dv_cleanup(dv_output_free) struct dv_output *o = NULL;
    struct dv_ui as = *ui;
    int exit = dv_bill_source_rows(ui, ui->values, &o);
    if (!ui->format_given)
        as.format = "csv";
    return exit ? exit : dv_ui_answer(&as, o, &row_view, "nothing in this time", DV_UI_OK);
}

static const struct dv_ui_example export_examples[] = {
    {"last month's rows for a spreadsheet", "divvy ledger export --from last-month > rows.csv"},
};

const struct dv_ui_verb dv_verb_ledger_export = {
    .name = "ledger export",
    .summary = "the ledger's rows, as CSV unless -o says otherwise",
    .details = "Each charge of the time once: in days where only days are kept, else in hours, "
               "else in minutes; what is not sealed yet is marked open. Only operators and root "
               "see all tenants.",
    .options = export_options,
    .n_options = DV_ARRAY_SIZE(export_options),
    .values_size = sizeof(struct dv_bill_source),
    .examples = export_examples,
    .n_examples = DV_ARRAY_SIZE(export_examples),
    .prints = true,
    .asks_daemon = true,
    .run = run_export,
};

/* ---- backup --------------------------------------------------------------------------------- */

/* The daemon has a directory of its own: paths are sent whole. */
static int absolute(const char *path, struct dv_str *ret)
{
    char cwd[PATH_MAX];
    if (*path != '/' && !getcwd(cwd, sizeof cwd))
        return -1;
    if (*path != '/')
        dv_str_addf(ret, "%s/", cwd);
    dv_str_add(ret, path);
    return ret->failed ? -1 : 0;
}

static int run_backup(const struct dv_ui *ui)
{
    dv_cleanup(dv_output_free) struct dv_output *body = dv_output_new(NULL);
    dv_cleanup(dv_output_free) struct dv_output *o = NULL;
    dv_cleanup(dv_str_done) struct dv_str path = {0};
    if (absolute(ui->argv[0], &path) < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "the path is too long");
    dv_output_string(dv_output_root(body), "path", dv_str_get(&path));
    int exit = dv_ask(ui, "POST", "/v1/ledger/backup", body, &o);
    if (exit)
        return exit;
    dv_str_clear(&path);
    dv_value_human(dv_output_get(dv_output_root(o), "path"), DV_VALUE_AUTO, &path);
    dv_str_add(&path, ": ");
    dv_value_human(dv_output_get(dv_output_root(o), "file_bytes"), DV_VALUE_BYTES, &path);
    dv_str_addc(&path, '\n');
    return dv_ui_print(dv_str_get(&path));
}

static const struct dv_ui_example backup_examples[] = {
    {"a copy of the ledger while it is written", "divvy ledger backup /backup/ledger.db"},
};

const struct dv_ui_verb dv_verb_ledger_backup = {
    .name = "ledger backup",
    .args = "FILE",
    .summary = "copy the ledger, whole and consistent, while it is written",
    .details = "The daemon writes FILE, which must not be there yet. Bills are made of it as of "
               "the ledger itself: 'divvy bill --ledger FILE'. Operators and root only.",
    .examples = backup_examples,
    .n_examples = DV_ARRAY_SIZE(backup_examples),
    .min_words = 1,
    .max_words = 1,
    .asks_daemon = true,
    .run = run_backup,
};

/* ---- correct, rename ------------------------------------------------------------------------ */

struct correct_values {
    const char *at, *gpu, *tenant, *to, *reason;
    uint64_t busy_ns, idle_ns;
};

#define IN(field) offsetof(struct correct_values, field)
#define DAY_NS INT64_C(86400000000000)
static const struct dv_option correct_options[] = {
    {"at", 0, "TIME", "from when on it is wrong; UTC unless it says so", DV_OPTION_TEXT, IN(at)},
    {"gpu", 0, "UUID", "the GPU", DV_OPTION_TEXT, IN(gpu)},
    {"tenant", 0, "TENANT", "whose time is too much", DV_OPTION_TEXT, IN(tenant)},
    {"to", 0, "TENANT", "whose it is; default: nobody's, overhead", DV_OPTION_TEXT, IN(to)},
    {"busy", 0, "TIME", "so much busy time", DV_OPTION_DURATION, IN(busy_ns), .min = 1,
     .max = DAY_NS},
    {"reserved-idle", 0, "TIME", "so much of what it held idle", DV_OPTION_DURATION, IN(idle_ns),
     .min = 1, .max = DAY_NS},
    {"reason", 0, "TEXT", "why, for the record", DV_OPTION_TEXT, IN(reason)},
};

static int run_correct(const struct dv_ui *ui)
{
    const struct correct_values *v = ui->values;
    const char *missing = !v->at       ? "--at"
                          : !v->gpu    ? "--gpu"
                          : !v->tenant ? "--tenant"
                          : !v->reason ? "--reason"
                                       : NULL;
    if (missing)
        return dv_ui_fail(ui, DV_UI_USAGE, "%s is missing", missing);
    if (!v->busy_ns && !v->idle_ns)
        return dv_ui_fail(ui, DV_UI_USAGE, "say how much: --busy or --reserved-idle");
    dv_cleanup(dv_output_free) struct dv_output *body = dv_output_new(NULL);
    dv_cleanup(dv_output_free) struct dv_output *o = NULL;
    struct dv_output_node *root = dv_output_root(body);
    dv_output_string(root, "at", v->at);
    dv_output_string(root, "gpu", v->gpu);
    dv_output_string(root, "tenant", v->tenant);
    if (v->to)
        dv_output_string(root, "to", v->to);
    dv_output_uint(root, "busy_ns", v->busy_ns);
    dv_output_uint(root, "reserved_idle_ns", v->idle_ns);
    dv_output_string(root, "reason", v->reason);
    int exit = dv_ask(ui, "POST", "/v1/ledger/correction", body, &o);
    if (exit)
        return exit;
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    const struct dv_output_node *answer = dv_output_root(o);
    uint64_t blocks = dv_output_count(dv_output_get(answer, "blocks"), 1);
    dv_str_addf(&text, "corrected in %llu block%s, the first is ", (unsigned long long)blocks,
                blocks == 1 ? "" : "s");
    dv_value_human(dv_output_get(answer, "level"), DV_VALUE_AUTO, &text);
    dv_str_addc(&text, ' ');
    dv_value_human(dv_output_get(answer, "block"), DV_VALUE_AUTO, &text);
    dv_str_addc(&text, '\n');
    return dv_ui_print(dv_str_get(&text));
}

static const struct dv_ui_example correct_examples[] = {
    {"ten minutes were charged to ann that were bob's",
     "divvy ledger correct --at 2026-11-26T10:30 --gpu GPU-7a3e11d2 --tenant ann --to bob --busy "
     "10m --reason 'ticket 4711'"},
};

const struct dv_ui_verb dv_verb_ledger_correct = {
    .name = "ledger correct",
    .summary = "move time from one tenant to another, with a reason",
    .details = "The ledger is never changed: a correction is an entry of its own that bills add "
               "in. It takes the time from the blocks of the day from --at on, the finest that are "
               "kept. Operators and root only.",
    .options = correct_options,
    .n_options = DV_ARRAY_SIZE(correct_options),
    .values_size = sizeof(struct correct_values),
    .examples = correct_examples,
    .n_examples = DV_ARRAY_SIZE(correct_examples),
    .asks_daemon = true,
    .run = run_correct,
};

struct rename_values {
    const char *from;
};
static const struct dv_option rename_options[] = {
    {"from", 0, "TIME", "since when; default: now", DV_OPTION_TEXT,
     offsetof(struct rename_values, from)},
};

static int run_rename(const struct dv_ui *ui)
{
    const struct rename_values *v = ui->values;
    dv_cleanup(dv_output_free) struct dv_output *body = dv_output_new(NULL);
    dv_cleanup(dv_output_free) struct dv_output *o = NULL;
    struct dv_output_node *root = dv_output_root(body);
    dv_output_string(root, "old", ui->argv[0]);
    dv_output_string(root, "new", ui->argv[1]);
    if (v->from)
        dv_output_string(root, "from", v->from);
    int exit = dv_ask(ui, "POST", "/v1/ledger/rename", body, &o);
    return exit ? exit : dv_ui_print("renamed\n");
}

static const struct dv_ui_example rename_examples[] = {
    {"team-a is called research now", "divvy ledger rename team-a research"},
};

const struct dv_ui_verb dv_verb_ledger_rename = {
    .name = "ledger rename",
    .args = "OLD NEW",
    .summary = "a tenant has another name from now on: one tenant in bills",
    .details = "What was charged under the old name stays as it was written; bills and usage show "
               "it under the new one. Operators and root only.",
    .options = rename_options,
    .n_options = DV_ARRAY_SIZE(rename_options),
    .values_size = sizeof(struct rename_values),
    .examples = rename_examples,
    .n_examples = DV_ARRAY_SIZE(rename_examples),
    .min_words = 2,
    .max_words = 2,
    .asks_daemon = true,
    .run = run_rename,
};
