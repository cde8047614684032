/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/cluster_policy.h"

#include "base/str.h"
#include "kube/object.h"
#include "kube/policy.h"
#include "layoutfile/cluster_policy.h"
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

#define KEY_SIZE 254 /* a ConfigMap's key has at most 253 letters */

struct dv_policy {
    struct dv_kube_client *client;
    const char *namespace;
    dv_policy_changed *changed;
    void *arg;
    char dir[PATH_MAX], config_dir[PATH_MAX + 8], file[PATH_MAX + 16];
    struct dv_kube_policy_watch *watch;
    struct dv_kube_configmap_watch *map;
    char map_name[DV_CLUSTER_POLICY_NAME]; /* whose keys are in config_dir; "": nobody's */
    char watched[DV_CLUSTER_POLICY_NAME];  /* which ConfigMap `map` is about */
    struct dv_cluster_policy policy;       /* all zero: there is none */
    char settings_chosen[DV_CLUSTER_POLICY_NAME];
    struct dv_settings_policy settings;
    char wrong[480], missing[480];
};

/* ---- files ---- */

static void problem(char ret[480], const struct dv_err *err)
{
    char value[DV_LOG_VALUE];
    if (strcmp(ret, err->msg) != 0)
        dv_log(DV_LOG_ERROR, "cluster_policy.problem", "detail=%s", dv_log_value(err->msg, value));
    snprintf(ret, 480, "%.479s", err->msg);
}

static void make_dirs(const struct dv_policy *p)
{
    if ((mkdir(p->dir, 0755) < 0 && errno != EEXIST) ||
        (mkdir(p->config_dir, 0755) < 0 && errno != EEXIST))
        dv_log(DV_LOG_WARNING, "cluster_policy.not_kept", "path=%s error=%s", p->dir,
               strerror(errno));
}

static bool is_same(const char *path, const char *text)
{
    char *was = NULL;
    size_t len = 0;
    bool same = dv_fd_read_file(path, DV_LAYOUTFILE_MAX, &was, &len, NULL) == 0 &&
                len == strlen(text) && !memcmp(was, text, len);
    free(was);
    return same;
}

/* Only what is another, so that nobody reads the same anew. */
static void keep(const char *path, const char *text)
{
    struct dv_err err = {{0}};
    char value[DV_LOG_VALUE];
    if (!is_same(path, text) && dv_fd_replace_file(path, text, strlen(text), 0644, &err) < 0)
        dv_log(DV_LOG_WARNING, "cluster_policy.not_kept", "detail=%s",
               dv_log_value(err.msg, value));
}

/* Names are the server's, but paths are ours. */
static bool is_key(const char *key)
{
    return key[0] && key[0] != '.' && strlen(key) < KEY_SIZE && !strchr(key, '/');
}

static bool has_key(const struct dv_kube_pair *pairs, uint32_t n, const char *key)
{
    for (uint32_t i = 0; i < n; i++)
        if (!strcmp(pairs[i].key, key))
            return true;
    return false;
}

static void drop_others(const struct dv_policy *p, const struct dv_kube_pair *pairs, uint32_t n)
{
    DIR *dir = opendir(p->config_dir);
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (is_key(e->d_name) && !has_key(pairs, n, e->d_name))
            unlinkat(dirfd(dir), e->d_name, 0);
    if (dir)
        closedir(dir);
}

static void keep_keys(const struct dv_policy *p, const struct dv_kube_pair *pairs, uint32_t n)
{
    char path[PATH_MAX + KEY_SIZE + 16];
    make_dirs(p);
    for (uint32_t i = 0; i < n; i++) {
        if (!is_key(pairs[i].key))
            continue;
        snprintf(path, sizeof path, "%s/%s", p->config_dir, pairs[i].key);
        keep(path, pairs[i].value ? pairs[i].value : "");
    }
    drop_others(p, pairs, n);
}

/* ---- what it says ---- */

static void settle(struct dv_policy *p)
{
    const struct dv_cluster_policy *c = &p->policy;
    p->settings = (struct dv_settings_policy){.has_mig_strategy = c->has_mig_strategy,
                                              .mig_strategy = c->mig_strategy};
    /* Another ConfigMap counts once it is here. */
    if (c->config_name[0] && p->map_name[0]) {
        if (!strcmp(c->config_name, p->map_name))
            memcpy(p->settings_chosen, c->config_default, sizeof p->settings_chosen);
        p->settings.path = p->config_dir;
        p->settings.chosen = p->settings_chosen[0] ? p->settings_chosen : NULL;
    }
}

static void on_map(void *arg, bool there, const struct dv_kube_pair *pairs, uint32_t n)
{
    struct dv_policy *p = arg;
    struct dv_err err = {{0}};
    p->missing[0] = 0;
    if (there) {
        keep_keys(p, pairs, n);
        memcpy(p->map_name, p->watched, sizeof p->map_name);
    } else {
        dv_err_set(&err, -ENOENT, "ClusterPolicy: there is no ConfigMap %.120s in namespace %.60s",
                   p->watched, p->namespace);
        problem(p->missing, &err);
    }
    settle(p);
    p->changed(p->arg);
}

static void watch_map(struct dv_policy *p)
{
    const char *name = p->policy.config_name;
    if (!strcmp(p->watched, name))
        return;
    dv_kube_configmap_watch_free(p->map);
    p->map = NULL;
    p->watched[0] = 0;
    p->missing[0] = 0;
    if (!name[0] || !p->client)
        return;
    if (dv_kube_configmap_watch(p->client, p->namespace, name, on_map, p, &p->map) == 0)
        memcpy(p->watched, name, sizeof p->watched);
    else
        snprintf(p->missing, sizeof p->missing, "out of memory");
}

static int take(struct dv_policy *p, const char *name, const char *text, size_t len)
{
    char what[300];
    struct dv_err err = {{0}};
    struct dv_cluster_policy c = {0};
    snprintf(what, sizeof what, "ClusterPolicy %.250s", name);
    int r = dv_cluster_policy_read(what, text, len, &c, &err);
    if (r < 0) {
        problem(p->wrong, &err);
        return r;
    }
    p->wrong[0] = 0;
    p->policy = c;
    return 0;
}

static void on_policy(void *arg, const char *name, const char *text, size_t len)
{
    struct dv_policy *p = arg;
    if (!text) {
        p->policy = (struct dv_cluster_policy){0};
        p->wrong[0] = p->map_name[0] = 0;
        unlink(p->file);
        drop_others(p, NULL, 0);
    } else if (take(p, name, text, len) == 0) {
        make_dirs(p);
        keep(p->file, text);
        dv_log(DV_LOG_INFO, "cluster_policy.read", "name=%s mig_strategy=%s config=%s default=%s",
               name,
               p->policy.has_mig_strategy
                   ? dv_plugin_flags_mig_strategy_name(p->policy.mig_strategy)
                   : "-",
               p->policy.config_name[0] ? p->policy.config_name : "-",
               p->policy.config_default[0] ? p->policy.config_default : "-");
    }
    watch_map(p);
    settle(p);
    p->changed(p->arg);
}

/* ---- life ---- */

static void read_kept(struct dv_policy *p)
{
    char *text = NULL;
    size_t len = 0;
    if (dv_fd_read_file(p->file, DV_LAYOUTFILE_MAX, &text, &len, NULL) < 0)
        return;
    if (take(p, "of before", text, len) == 0 && p->policy.config_name[0] &&
        access(p->config_dir, R_OK | X_OK) == 0)
        memcpy(p->map_name, p->policy.config_name, sizeof p->map_name);
    free(text);
    watch_map(p);
    settle(p);
}

int dv_policy_new(struct dv_kube_client *client, const char *namespace, const char *state,
                  dv_policy_changed *changed, void *arg, struct dv_policy **ret)
{
    struct dv_policy *p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    p->client = client;
    p->namespace = namespace;
    p->changed = changed;
    p->arg = arg;
    snprintf(p->dir, sizeof p->dir, "%.4000s/cluster-policy", state);
    snprintf(p->config_dir, sizeof p->config_dir, "%.4080s/config", p->dir);
    snprintf(p->file, sizeof p->file, "%.4080s/policy.json", p->dir);
    read_kept(p);
    int r = client ? dv_kube_policy_watch(client, on_policy, p, &p->watch) : 0;
    if (r < 0) {
        dv_policy_free(p);
        return r;
    }
    *ret = p;
    return 0;
}

void dv_policy_free(struct dv_policy *p)
{
    if (!p)
        return;
    dv_kube_configmap_watch_free(p->map);
    dv_kube_policy_watch_free(p->watch);
    free(p);
}

const struct dv_settings_policy *dv_policy_settings(const struct dv_policy *p)
{
    return &p->settings;
}

const char *dv_policy_problem(const struct dv_policy *p)
{
    return p->wrong[0] ? p->wrong : p->missing;
}
