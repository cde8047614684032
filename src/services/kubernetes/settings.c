/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/settings.h"

#include "base/str.h"
#include "sys/fd.h"
#include "sys/log.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_SIZE 254 /* a ConfigMap's key has at most 253 letters */

/* What tells that a file is another than it was. */
struct signature {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
};

struct dv_settings {
    struct dv_settings_options options;
    char label[NAME_SIZE];
    bool label_set;
    bool has_strategy; /* what a ClusterPolicy says */
    enum dv_mig_strategy strategy;
    char policy_path[PATH_MAX]; /* "": the options' */
    char policy_chosen[NAME_SIZE];
    bool policy_is_new;

    struct dv_plugin_config *config;
    struct dv_layoutfile_info info;
    char *text;
    char source[PATH_MAX];
    uint64_t generation;
    bool good; /* one was read, or it was seen that there is none to recall */

    char seen[PATH_MAX]; /* the file that was looked at last, good or not */
    struct signature signature;
    struct dv_err problem;
};

/* ---- life ---- */

int dv_settings_new(const struct dv_settings_options *options, struct dv_settings **ret,
                    struct dv_err *err)
{
    struct dv_settings *s = calloc(1, sizeof *s);
    if (!s)
        return dv_err_set(err, -ENOMEM, "out of memory");
    s->options = *options;
    int r = dv_plugin_config_new(&s->config);
    if (r == 0)
        r = dv_plugin_flags_overlay(&s->config->flags, options->over, options->n_over, err);
    else
        dv_err_set(err, r, "out of memory");
    if (r < 0) {
        dv_settings_free(s);
        return r;
    }
    s->generation = 1;
    *ret = s;
    return 0;
}

void dv_settings_free(struct dv_settings *s)
{
    if (!s)
        return;
    dv_plugin_config_free(s->config);
    free(s->text);
    free(s);
}

void dv_settings_label(struct dv_settings *s, const char *label)
{
    s->label_set = label != NULL;
    snprintf(s->label, sizeof s->label, "%s", label ? label : "");
}

void dv_settings_policy(struct dv_settings *s, const struct dv_settings_policy *p)
{
    const char *path = p->path ? p->path : "", *chosen = p->path && p->chosen ? p->chosen : "";
    s->policy_is_new |= s->has_strategy != p->has_mig_strategy || s->strategy != p->mig_strategy;
    s->has_strategy = p->has_mig_strategy;
    s->strategy = p->mig_strategy;
    snprintf(s->policy_path, sizeof s->policy_path, "%s", path);
    snprintf(s->policy_chosen, sizeof s->policy_chosen, "%s", chosen);
}

/* ---- which file ---- */

static const char *path_of(const struct dv_settings *s)
{
    return s->policy_path[0] ? s->policy_path : s->options.path;
}

static const char *chosen_of(const struct dv_settings *s)
{
    return !s->policy_path[0] ? s->options.chosen : s->policy_chosen[0] ? s->policy_chosen : NULL;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Names that begin with a dot are not keys: that is how the kubelet's own links are called. */
static int list_names(const char *path, char (*names)[NAME_SIZE], size_t *ret_n, struct dv_err *err)
{
    DIR *dir = opendir(path);
    size_t n = 0;
    if (!dir)
        return dv_err_set(err, -errno, "%s: %s", path, strerror(errno));
    for (struct dirent *e; (e = readdir(dir)) && n < DV_SETTINGS_NAMES_MAX;)
        if (e->d_name[0] != '.' && strlen(e->d_name) < NAME_SIZE)
            memcpy(names[n++], e->d_name, strlen(e->d_name) + 1);
    closedir(dir);
    qsort(names, n, NAME_SIZE, by_name);
    *ret_n = n;
    return 0;
}

/* The file in force, "" for the defaults. */
static int choose_in(const struct dv_settings *s, char (*names)[NAME_SIZE], char ret[PATH_MAX],
                     struct dv_err *err)
{
    const char *list[DV_SETTINGS_NAMES_MAX];
    size_t n = 0, at = 0;
    int r = list_names(path_of(s), names, &n, err);
    if (r != 0)
        return r;
    for (size_t i = 0; i < n; i++)
        list[i] = names[i];
    r = dv_plugin_config_select(list, n, s->label_set ? s->label : NULL, chosen_of(s), &at, err);
    if (r != 0)
        return r;
    ret[0] = 0;
    if (at < n && snprintf(ret, PATH_MAX, "%s/%s", path_of(s), list[at]) >= PATH_MAX)
        return dv_err_set(err, -ENAMETOOLONG, "%s: the path is too long", path_of(s));
    return 0;
}

static int choose(const struct dv_settings *s, char ret[PATH_MAX], struct dv_err *err)
{
    const char *path = path_of(s);
    struct stat st;
    ret[0] = 0;
    if (!path)
        return 0;
    if (stat(path, &st) < 0)
        return dv_err_set(err, -errno, "%s: %s", path, strerror(errno));
    if (!S_ISDIR(st.st_mode)) {
        snprintf(ret, PATH_MAX, "%s", path);
        return 0;
    }
    char(*names)[NAME_SIZE] = calloc(DV_SETTINGS_NAMES_MAX, NAME_SIZE);
    int r = names ? choose_in(s, names, ret, err) : dv_err_set(err, -ENOMEM, "out of memory");
    free(names);
    return r;
}

bool dv_settings_is_by_label(const struct dv_settings *s)
{
    struct stat st;
    const char *path = path_of(s);
    return path && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool sign(const char *path, struct signature *ret)
{
    struct stat st;
    *ret = (struct signature){0};
    if (!path[0] || stat(path, &st) < 0)
        return false;
    *ret = (struct signature){st.st_dev, st.st_ino, st.st_size, st.st_mtim};
    return true;
}

/* ---- reading ---- */

/* The strategy of the ClusterPolicy, then what was said to this program. */
static int overlay(const struct dv_settings *s, struct dv_plugin_flags *flags, struct dv_err *err)
{
    if (s->has_strategy)
        flags->mig_strategy = s->strategy;
    return dv_plugin_flags_overlay(flags, s->options.over, s->options.n_over, err);
}

static int read_config(const struct dv_settings *s, const char *path, char **ret_text,
                       struct dv_plugin_config **ret, struct dv_layoutfile_info *info,
                       struct dv_err *err)
{
    size_t len = 0;
    int r;
    *ret_text = NULL;
    *ret = NULL;
    if (path[0]) {
        r = dv_fd_read_file(path, DV_LAYOUTFILE_MAX, ret_text, &len, err);
        if (r == 0)
            r = dv_layoutfile_read_plugin(path, *ret_text, len, NULL, ret, info, err);
    } else {
        r = dv_plugin_config_new(ret);
    }
    if (r == 0)
        r = overlay(s, &(*ret)->flags, err);
    if (r == 0)
        return 0;
    dv_plugin_config_free(*ret);
    free(*ret_text);
    return r;
}

/* True: it is other words than before. */
static bool complain(struct dv_settings *s, const char *words)
{
    if (!strcmp(s->problem.msg, words))
        return false;
    snprintf(s->problem.msg, sizeof s->problem.msg, "%s", words);
    return true;
}

/* The file has the name of the configuration's, then its text. */
static void keep(const struct dv_settings *s)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_err err = {{0}};
    char value[DV_LOG_VALUE];
    if (!s->options.kept)
        return;
    if (!s->source[0]) {
        unlink(s->options.kept);
        return;
    }
    dv_str_addf(&text, "%s\n", s->source);
    dv_str_add(&text, dv_settings_text(s));
    if (text.failed ||
        dv_fd_replace_file(s->options.kept, dv_str_get(&text), text.len, 0600, &err) < 0)
        dv_log(DV_LOG_WARNING, "config.not_kept", "detail=%s",
               dv_log_value(text.failed ? "out of memory" : err.msg, value));
}

static void put(struct dv_settings *s, const char *path, struct dv_plugin_config *config,
                char *text, const struct dv_layoutfile_info *info)
{
    dv_plugin_config_free(s->config);
    free(s->text);
    s->config = config;
    s->text = text;
    s->info = *info;
    snprintf(s->source, sizeof s->source, "%s", path);
    s->generation++;
    s->problem.msg[0] = 0;
    s->good = true;
    keep(s);
}

/* At a start the file may be wrong already: then what was in force before goes on. */
static void recall(struct dv_settings *s)
{
    struct dv_layoutfile_info *info;
    struct dv_plugin_config *config = NULL;
    struct dv_err err;
    char path[PATH_MAX], *all = NULL, *text = NULL;
    size_t len = 0;
    if (s->good)
        return;
    s->good = true;
    if (!s->options.kept ||
        dv_fd_read_file(s->options.kept, DV_LAYOUTFILE_MAX + PATH_MAX, &all, &len, &err) < 0)
        return;
    size_t n = strcspn(all, "\n");
    info = calloc(1, sizeof *info);
    if (info && n && n < sizeof path && n < len && (text = strdup(all + n + 1))) {
        snprintf(path, sizeof path, "%.*s", (int)n, all);
        if (dv_layoutfile_read_plugin(path, text, strlen(text), NULL, &config, info, &err) == 0 &&
            overlay(s, &config->flags, &err) == 0) {
            put(s, path, config, text, info);
            config = NULL;
            text = NULL;
        }
    }
    dv_plugin_config_free(config);
    free(text);
    free(info);
    free(all);
}

bool dv_settings_look(struct dv_settings *s)
{
    char path[PATH_MAX];
    struct signature signature;
    struct dv_err err = {{0}};
    struct dv_layoutfile_info *info;
    struct dv_plugin_config *config;
    char *text;
    if (choose(s, path, &err) < 0) {
        recall(s);
        s->seen[0] = 0; /* whatever comes then is news */
        return complain(s, err.msg);
    }
    bool there = sign(path, &signature);
    bool news = s->policy_is_new;
    s->policy_is_new = false;
    if (!news && !strcmp(path, s->seen) && !memcmp(&signature, &s->signature, sizeof signature) &&
        (there || !path[0]))
        return false;
    s->signature = signature;
    snprintf(s->seen, sizeof s->seen, "%s", path);
    info = calloc(1, sizeof *info);
    if (!info)
        return complain(s, "out of memory");
    if (read_config(s, path, &text, &config, info, &err) != 0) {
        free(info);
        recall(s);
        return complain(s, err.msg);
    }
    /* A node that has no file has had the defaults from its start. */
    bool same = !news && !path[0] && !s->source[0] && !s->problem.msg[0];
    put(s, path, config, text, info);
    free(info);
    if (same)
        s->generation--;
    return !same;
}

/* ---- what is in force ---- */

const struct dv_plugin_config *dv_settings_config(const struct dv_settings *s)
{
    return s->config;
}

const char *dv_settings_text(const struct dv_settings *s)
{
    return s->text ? s->text : "";
}

const char *dv_settings_source(const struct dv_settings *s)
{
    return s->source;
}

uint64_t dv_settings_generation(const struct dv_settings *s)
{
    return s->generation;
}

const char *dv_settings_problem(const struct dv_settings *s)
{
    return s->problem.msg;
}

const struct dv_layoutfile_info *dv_settings_info(const struct dv_settings *s)
{
    return &s->info;
}
