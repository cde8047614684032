/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/config.h"

#include "base/base64.h"
#include "base/str.h"
#include "sys/fd.h"
#include "yaml/yaml_tree.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define SERVICE_ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount"
#define LIST_MAX 256u

struct reader {
    const struct dv_yaml *yaml;
    const char *dir;
    bool allow_insecure;
    struct dv_kube_config *to;
    struct dv_err *err;
};

static void wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

void dv_kube_config_free(struct dv_kube_config *config)
{
    if (!config)
        return;
    free(config->server);
    free(config->namespace);
    free(config->ca_file);
    free(config->ca_pem);
    free(config->cert_file);
    free(config->cert_pem);
    free(config->key_file);
    wipe(config->key_pem);
    wipe(config->token);
    free(config->token_file);
    free(config);
}

void dv_kube_config_freep(struct dv_kube_config **config)
{
    dv_kube_config_free(*config);
    *config = NULL;
}

/* Every text that was not given becomes "". */
static int complete(struct dv_kube_config *c, struct dv_err *err)
{
    char **texts[] = {&c->ca_file, &c->ca_pem, &c->cert_file,  &c->cert_pem, &c->key_file,
                      &c->key_pem, &c->token,  &c->token_file, &c->server};
    for (size_t i = 0; i < DV_ARRAY_SIZE(texts); i++)
        if (!*texts[i] && !(*texts[i] = strdup("")))
            return dv_err_set(err, -ENOMEM, "out of memory");
    if (!c->namespace && !(c->namespace = strdup("default")))
        return dv_err_set(err, -ENOMEM, "out of memory");
    return 0;
}

/* ---- in a pod ------------------------------------------------------------------------------- */

static char *join(const char *dir, const char *name)
{
    struct dv_str s = {0};
    if (*name != '/')
        dv_str_addf(&s, "%s/", dir);
    dv_str_add(&s, name);
    return dv_str_steal(&s);
}

static int read_namespace(struct dv_kube_config *c, const char *dir, struct dv_err *err)
{
    char *path = join(dir, "namespace");
    if (!path)
        return dv_err_set(err, -ENOMEM, "out of memory");
    size_t len;
    int r = dv_fd_read_file(path, 256, &c->namespace, &len, err);
    free(path);
    if (r < 0)
        return r;
    c->namespace[strcspn(c->namespace, " \r\n")] = 0;
    return 0;
}

static int fill_in_cluster(struct dv_kube_config *c, const char *dir, struct dv_err *err)
{
    const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
    if (!host || !*host || !port || !*port)
        return dv_err_set(err, -ENOENT,
                          "not inside a pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT "
                          "are not set; name a kubeconfig file");
    struct dv_str s = {0};
    dv_str_addf(&s, strchr(host, ':') ? "https://[%s]:%s" : "https://%s:%s", host, port);
    c->server = dv_str_steal(&s);
    c->ca_file = join(dir, "ca.crt");
    c->token_file = join(dir, "token");
    if (!c->server || !c->ca_file || !c->token_file)
        return dv_err_set(err, -ENOMEM, "out of memory");
    int r = read_namespace(c, dir, err);
    return r < 0 ? r : complete(c, err);
}

int dv_kube_config_in_cluster(const char *dir, struct dv_kube_config **ret, struct dv_err *err)
{
    struct dv_kube_config *c = calloc(1, sizeof *c);
    if (!c)
        return dv_err_set(err, -ENOMEM, "out of memory");
    int r = fill_in_cluster(c, dir ? dir : SERVICE_ACCOUNT, err);
    if (r < 0) {
        dv_kube_config_free(c);
        return r;
    }
    *ret = c;
    return 0;
}

/* ---- kubeconfig: values --------------------------------------------------------------------- */

/* An optional text; absent, null and "" are the same. */
static int take(struct reader *rd, const struct dv_yaml_node *map, const char *key, char **ret)
{
    const struct dv_yaml_node *node = dv_yaml_get(map, key);
    const char *text = "";
    if (!node || dv_yaml_is_null(node))
        return 0;
    int r = dv_yaml_text(rd->yaml, node, key, &text, rd->err);
    if (r < 0 || !*text)
        return r;
    for (const char *p = text; *p; p++)
        if (iscntrl((unsigned char)*p))
            return dv_yaml_bad(rd->yaml, node, rd->err, "\"%s\" holds a control character", key);
    *ret = strdup(text);
    return *ret ? 0 : dv_err_set(rd->err, -ENOMEM, "out of memory");
}

static int take_path(struct reader *rd, const struct dv_yaml_node *map, const char *key, char **ret)
{
    char *text = NULL;
    int r = take(rd, map, key, &text);
    if (r < 0 || !text)
        return r;
    *ret = join(rd->dir, text);
    free(text);
    return *ret ? 0 : dv_err_set(rd->err, -ENOMEM, "out of memory");
}

/* Base64 of a PEM text. */
static int take_pem(struct reader *rd, const struct dv_yaml_node *map, const char *key, char **ret)
{
    const struct dv_yaml_node *node = dv_yaml_get(map, key);
    if (!node || dv_yaml_is_null(node))
        return 0;
    const char *text;
    size_t len = 0;
    char *pem = NULL;
    int r = dv_yaml_text(rd->yaml, node, key, &text, rd->err);
    if (r < 0 || !*text)
        return r;
    r = dv_base64_decode(text, &pem, &len);
    if (r == -ENOMEM)
        return dv_err_set(rd->err, r, "out of memory");
    if (r < 0)
        return dv_yaml_bad(rd->yaml, node, rd->err, "\"%s\" is not base64", key);
    if (strlen(pem) != len || len > DV_KUBE_PEM_MAX || !strstr(pem, "-----BEGIN ")) {
        wipe(pem);
        return dv_yaml_bad(rd->yaml, node, rd->err,
                           "\"%s\" must be base64 of a PEM text (-----BEGIN ...) of at most %u KiB",
                           key, DV_KUBE_PEM_MAX / 1024);
    }
    *ret = pem;
    return 0;
}

/* A key that would change whom we reach or who we are, and is not known. */
static int refuse_keys(struct reader *rd, const struct dv_yaml_node *map,
                       const char *const (*keys)[2], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct dv_yaml_node *node = dv_yaml_get(map, keys[i][0]);
        if (node && !dv_yaml_is_null(node) && !dv_yaml_is(node, ""))
            return dv_yaml_bad(rd->yaml, node, rd->err, "\"%s\" is not supported: %s", keys[i][0],
                               keys[i][1]);
    }
    return 0;
}

/* ---- kubeconfig: parts ---------------------------------------------------------------------- */

/* The map under `inner` of the entry with that name in the list `list`. */
static int find(struct reader *rd, const char *list, const char *inner, const char *name,
                const struct dv_yaml_node **ret)
{
    const struct dv_yaml_node *root = rd->yaml->roots[0], *all = dv_yaml_get(root, list);
    int r = all ? dv_yaml_list(rd->yaml, all, list, LIST_MAX, rd->err) : 0;
    if (r < 0)
        return r;
    for (uint32_t i = 0; all && i < all->n; i++) {
        const struct dv_yaml_node *entry = all->items[i];
        const struct dv_yaml_node *its =
            entry->kind == DV_YAML_MAP ? dv_yaml_get(entry, "name") : NULL;
        if (!its || !dv_yaml_is(its, name))
            continue;
        const struct dv_yaml_node *found = dv_yaml_get(entry, inner);
        if (!found || found->kind != DV_YAML_MAP)
            return dv_yaml_bad(rd->yaml, entry, rd->err,
                               "the entry \"%s\" of %s lacks the map \"%s\"", name, list, inner);
        *ret = found;
        return 0;
    }
    return dv_yaml_bad(rd->yaml, all ? all : root, rd->err, "no entry named \"%s\" in \"%s\"", name,
                       list);
}

static int check_server(struct reader *rd, const struct dv_yaml_node *map, char *server)
{
    const struct dv_yaml_node *at = dv_yaml_get(map, "server");
    if (!server)
        return dv_yaml_bad(
            rd->yaml, at ? at : map, rd->err,
            "\"server\" is missing: the address of the API server, https://HOST:PORT");
    bool plain = strncmp(server, "http://", 7) == 0;
    if (strncmp(server, "https://", 8) != 0 && !(plain && rd->allow_insecure))
        return dv_yaml_bad(rd->yaml, at, rd->err, "\"server\" must begin with https://%s",
                           plain ? " (what is sent over http:// is for all to read)" : "");
    const char *host = strstr(server, "://") + 3;
    if (!*host || *host == '/' || strpbrk(host, " @?#"))
        return dv_yaml_bad(rd->yaml, at, rd->err,
                           "\"server\" must be https://HOST:PORT, "
                           "without a user, '?' or '#'");
    for (size_t n = strlen(server); server[n - 1] == '/'; n--)
        server[n - 1] = 0;
    return 0;
}

static int read_cluster(struct reader *rd, const struct dv_yaml_node *map)
{
    static const char *const refused[][2] = {
        {"proxy-url", "the API server is reached directly"},
        {"tls-server-name", "the server's certificate must name the host in \"server\""},
    };
    struct dv_kube_config *c = rd->to;
    int r = refuse_keys(rd, map, refused, DV_ARRAY_SIZE(refused));
    r = r < 0 ? r : take(rd, map, "server", &c->server);
    r = r < 0 ? r : check_server(rd, map, c->server);
    r = r < 0 ? r : take_pem(rd, map, "certificate-authority-data", &c->ca_pem);
    r = r < 0 || c->ca_pem ? r : take_path(rd, map, "certificate-authority", &c->ca_file);
    const struct dv_yaml_node *skip = dv_yaml_get(map, "insecure-skip-tls-verify");
    if (r < 0 || !skip || dv_yaml_is_null(skip))
        return r;
    r = dv_yaml_bool(rd->yaml, skip, "insecure-skip-tls-verify", &c->insecure, rd->err);
    if (r < 0 || !c->insecure || rd->allow_insecure)
        return r;
    return dv_yaml_bad(rd->yaml, skip, rd->err,
                       "\"insecure-skip-tls-verify\" lets anybody pose as the API server; name the "
                       "cluster's authority in \"certificate-authority\" instead");
}

static int read_user(struct reader *rd, const struct dv_yaml_node *map)
{
    static const char use[] = "use a client certificate, a token or a tokenFile";
    static const char *const refused[][2] = {
        {"exec", "no program is run to log in; use a client certificate, a token or a tokenFile"},
        {"auth-provider", use},
        {"username", use},
        {"password", use},
        {"as", "nobody is impersonated"},
        {"as-uid", "nobody is impersonated"},
        {"as-groups", "nobody is impersonated"},
        {"as-user-extra", "nobody is impersonated"},
    };
    struct dv_kube_config *c = rd->to;
    int r = refuse_keys(rd, map, refused, DV_ARRAY_SIZE(refused));
    r = r < 0 ? r : take_pem(rd, map, "client-certificate-data", &c->cert_pem);
    r = r < 0 || c->cert_pem ? r : take_path(rd, map, "client-certificate", &c->cert_file);
    r = r < 0 ? r : take_pem(rd, map, "client-key-data", &c->key_pem);
    r = r < 0 || c->key_pem ? r : take_path(rd, map, "client-key", &c->key_file);
    r = r < 0 ? r : take_path(rd, map, "tokenFile", &c->token_file);
    r = r < 0 || c->token_file ? r : take(rd, map, "token", &c->token);
    if (r < 0)
        return r;
    bool cert = c->cert_pem || c->cert_file, key = c->key_pem || c->key_file;
    if (cert != key)
        return dv_yaml_bad(rd->yaml, map, rd->err,
                           "a client certificate and its key go together; the "
                           "%s is missing",
                           cert ? "key" : "certificate");
    if (c->token && strlen(c->token) > DV_KUBE_TOKEN_MAX)
        return dv_yaml_bad(rd->yaml, map, rd->err, "\"token\" is longer than %u bytes",
                           DV_KUBE_TOKEN_MAX);
    return 0;
}

/* One of the names in a context. */
static int need(struct reader *rd, const struct dv_yaml_node *map, const char *key, char **ret)
{
    int r = take(rd, map, key, ret);
    if (r < 0 || *ret)
        return r;
    return dv_yaml_bad(rd->yaml, map, rd->err, "\"%s\" is missing", key);
}

static int read_context(struct reader *rd, const char *name)
{
    const struct dv_yaml_node *context = NULL, *part = NULL;
    char *cluster = NULL, *user = NULL;
    int r = find(rd, "contexts", "context", name, &context);
    r = r < 0 ? r : need(rd, context, "cluster", &cluster);
    r = r < 0 ? r : take(rd, context, "user", &user);
    r = r < 0 ? r : take(rd, context, "namespace", &rd->to->namespace);
    r = r < 0 ? r : find(rd, "clusters", "cluster", cluster, &part);
    r = r < 0 ? r : read_cluster(rd, part);
    if (user) { /* without one the server sees system:anonymous */
        r = r < 0 ? r : find(rd, "users", "user", user, &part);
        r = r < 0 ? r : read_user(rd, part);
    }
    free(cluster);
    free(user);
    return r;
}

static int read_root(struct reader *rd)
{
    if (!rd->yaml->n_roots)
        return dv_err_set(rd->err, -EINVAL,
                          "%s: the file is empty; a kubeconfig has clusters, users "
                          "and contexts",
                          rd->yaml->name);
    const struct dv_yaml_node *root = rd->yaml->roots[0];
    if (root->kind != DV_YAML_MAP || rd->yaml->n_roots > 1)
        return dv_yaml_bad(rd->yaml, root, rd->err,
                           "a kubeconfig is one map of clusters, users and "
                           "contexts");
    const struct dv_yaml_node *kind = dv_yaml_get(root, "kind");
    if (kind && !dv_yaml_is(kind, "Config"))
        return dv_yaml_bad(rd->yaml, kind, rd->err,
                           "this is no kubeconfig: \"kind\" must be Config");
    char *name = NULL;
    int r = need(rd, root, "current-context", &name);
    r = r < 0 ? r : read_context(rd, name);
    free(name);
    return r < 0 ? r : complete(rd->to, rd->err);
}

int dv_kube_config_parse(const char *name, const char *text, size_t len, const char *dir,
                         bool allow_insecure, struct dv_kube_config **ret, struct dv_err *err)
{
    dv_cleanup(dv_yaml_freep) struct dv_yaml *yaml = NULL;
    int r = dv_yaml_parse(name, text, len, &yaml, err);
    if (r < 0)
        return r;
    struct dv_kube_config *c = calloc(1, sizeof *c);
    if (!c)
        return dv_err_set(err, -ENOMEM, "out of memory");
    struct reader rd = {
        .yaml = yaml, .dir = dir, .allow_insecure = allow_insecure, .to = c, .err = err};
    r = read_root(&rd);
    if (r < 0) {
        dv_kube_config_free(c);
        return r;
    }
    *ret = c;
    return 0;
}

int dv_kube_config_read(const char *path, bool allow_insecure, struct dv_kube_config **ret,
                        struct dv_err *err)
{
    char *text = NULL;
    size_t len;
    int r = dv_fd_read_file(path, DV_YAML_SIZE_MAX, &text, &len, err);
    if (r < 0)
        return r;
    char *dir = strdup(path);
    if (!dir) {
        wipe(text);
        return dv_err_set(err, -ENOMEM, "out of memory");
    }
    char *slash = strrchr(dir, '/');
    if (slash)
        slash[slash == dir] = 0;
    r = dv_kube_config_parse(path, text, len, slash ? dir : ".", allow_insecure, ret, err);
    free(dir);
    wipe(text);
    return r;
}
