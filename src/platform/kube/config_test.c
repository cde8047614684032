/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct dv_err err;

#define CLUSTER "clusters:\n- name: c\n  cluster:\n    server: https://k8s:6443/\n"
#define USER "users:\n- name: u\n  user:\n    token: abc\n"
#define CONTEXT "contexts:\n- name: x\n  context:\n    cluster: c\n    user: u\n"
#define HEAD "apiVersion: v1\nkind: Config\ncurrent-context: x\n"
/* "-----BEGIN X-----\n" */
#define PEM "LS0tLS1CRUdJTiBYLS0tLS0K"

static struct dv_kube_config *parse(const char *text, bool insecure)
{
    struct dv_kube_config *c = NULL;
    err.msg[0] = 0;
    if (dv_kube_config_parse("f", text, strlen(text), "/etc/k", insecure, &c, &err) < 0)
        fail_msg("%s", err.msg);
    return c;
}

static void assert_bad(const char *text, const char *message)
{
    struct dv_kube_config *c = NULL;
    err.msg[0] = 0;
    assert_int_equal(dv_kube_config_parse("f", text, strlen(text), "/etc/k", false, &c, &err),
                     -EINVAL);
    assert_null(c);
    assert_string_equal(err.msg, message);
}

static void test_token(void **state)
{
    dv_cleanup(dv_kube_config_freep) struct dv_kube_config *c =
        parse(HEAD CLUSTER USER CONTEXT "preferences: {}\n", false);
    assert_string_equal(c->server, "https://k8s:6443");
    assert_string_equal(c->token, "abc");
    assert_string_equal(c->namespace, "default");
    assert_string_equal(c->ca_file, "");
    assert_string_equal(c->cert_pem, "");
    assert_false(c->insecure);
}

static void test_certificates(void **state)
{
    dv_cleanup(dv_kube_config_freep) struct dv_kube_config *c =
        parse(HEAD "clusters:\n- name: other\n  cluster: {server: 'https://no'}\n"
                   "- name: c\n  cluster:\n    server: https://[::1]:6443\n"
                   "    certificate-authority: pki/ca.crt\n"
                   "users:\n- name: u\n  user:\n    client-certificate-data: " PEM
                   "\n    client-key: /abs/key\n    tokenFile: t\n    token: unused\n"
                   "contexts:\n- name: x\n  context: {cluster: c, user: u, namespace: gpu}\n",
              false);
    assert_string_equal(c->server, "https://[::1]:6443");
    assert_string_equal(c->ca_file, "/etc/k/pki/ca.crt");
    assert_string_equal(c->cert_pem, "-----BEGIN X-----\n");
    assert_string_equal(c->cert_file, "");
    assert_string_equal(c->key_file, "/abs/key");
    assert_string_equal(c->token_file, "/etc/k/t");
    assert_string_equal(c->token, "");
    assert_string_equal(c->namespace, "gpu");
}

static void test_insecure(void **state)
{
    static const char text[] =
        HEAD "clusters:\n- name: c\n  cluster:\n    server: http://k8s:8080\n"
             "    insecure-skip-tls-verify: true\n" USER CONTEXT;
    dv_cleanup(dv_kube_config_freep) struct dv_kube_config *c = parse(text, true);
    assert_true(c->insecure);
    assert_bad(text,
               "f:7:13: \"server\" must begin with https:// (what is sent over http:// is for "
               "all to read)");
    assert_bad(HEAD "clusters:\n- name: c\n  cluster:\n    server: https://k8s:8080\n"
                    "    insecure-skip-tls-verify: true\n" USER CONTEXT,
               "f:8:31: \"insecure-skip-tls-verify\" lets anybody pose as the API server; name the "
               "cluster's authority in \"certificate-authority\" instead");
}

static void test_bad(void **state)
{
    assert_bad("", "f: the file is empty; a kubeconfig has clusters, users and contexts");
    assert_bad("- a\n", "f:1:1: a kubeconfig is one map of clusters, users and contexts");
    assert_bad("kind: Pod\n", "f:1:7: this is no kubeconfig: \"kind\" must be Config");
    assert_bad("kind: Config\n", "f:1:1: \"current-context\" is missing");
    assert_bad("current-context: y\n" CONTEXT, "f:3:1: no entry named \"y\" in \"contexts\"");
    assert_bad("current-context: x\n", "f:1:1: no entry named \"x\" in \"contexts\"");
    assert_bad(HEAD CONTEXT, "f:1:1: no entry named \"c\" in \"clusters\"");
    assert_bad(HEAD CONTEXT CLUSTER, "f:1:1: no entry named \"u\" in \"users\"");
    assert_bad(HEAD CONTEXT "clusters:\n- name: c\n",
               "f:10:3: the entry \"c\" of clusters lacks the map \"cluster\"");
    assert_bad(HEAD CONTEXT "clusters:\n- name: c\n  cluster: {}\n",
               "f:11:12: \"server\" is missing: the address of the API server, https://HOST:PORT");
    assert_bad(HEAD CONTEXT "clusters:\n- name: c\n  cluster: {server: 'https://u@h'}\n",
               "f:11:21: \"server\" must be https://HOST:PORT, without a user, '?' or '#'");
    assert_bad(HEAD CONTEXT
               "clusters:\n- name: c\n  cluster: {server: 'https://h', proxy-url: p}\n",
               "f:11:45: \"proxy-url\" is not supported: the API server is reached directly");
    assert_bad(HEAD CONTEXT "clusters:\n- name: c\n  cluster: {server: 'https://h', "
                            "certificate-authority-data: '!'}\n",
               "f:11:62: \"certificate-authority-data\" is not base64");
    assert_bad(HEAD CONTEXT "clusters:\n- name: c\n  cluster: {server: 'https://h', "
                            "certificate-authority-data: 'QUJD'}\n",
               "f:11:62: \"certificate-authority-data\" must be base64 of a PEM text (-----BEGIN "
               "...) of at most 256 KiB");
    assert_bad(HEAD CONTEXT CLUSTER "users:\n- name: u\n  user:\n    exec: {command: aws}\n",
               "f:16:11: \"exec\" is not supported: no program is run to log in; use a client "
               "certificate, a token or a tokenFile");
    assert_bad(HEAD CONTEXT CLUSTER "users:\n- name: u\n  user:\n    as: root\n",
               "f:16:9: \"as\" is not supported: nobody is impersonated");
    assert_bad(HEAD CONTEXT CLUSTER "users:\n- name: u\n  user:\n    client-key: k\n",
               "f:16:5: a client certificate and its key go together; the certificate is missing");
    assert_bad(HEAD CONTEXT CLUSTER "users:\n- name: u\n  user:\n    token: \"a\\nb\"\n",
               "f:16:12: \"token\" holds a control character");
    assert_bad(HEAD CONTEXT CLUSTER "users: 7\n", "f:13:8: users: \"7\", where a list is wanted");
}

static void put(const char *dir, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void test_in_cluster(void **state)
{
    char dir[] = "/tmp/divvy-kube-XXXXXX";
    struct dv_kube_config *c = NULL;
    unsetenv("KUBERNETES_SERVICE_HOST");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(dv_kube_config_in_cluster(dir, &c, &err), -ENOENT);
    assert_string_equal(err.msg, "not inside a pod: KUBERNETES_SERVICE_HOST and "
                                 "KUBERNETES_SERVICE_PORT are not set; name a kubeconfig file");
    setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
    setenv("KUBERNETES_SERVICE_PORT", "443", 1);
    assert_int_equal(dv_kube_config_in_cluster(dir, &c, &err), -ENOENT); /* no namespace file */
    put(dir, "namespace", "gpu-operator\n");
    assert_int_equal(dv_kube_config_in_cluster(dir, &c, &err), 0);
    assert_string_equal(c->server, "https://[fd00::1]:443");
    assert_string_equal(c->namespace, "gpu-operator");
    assert_string_equal(c->token_file + strlen(dir), "/token");
    dv_kube_config_freep(&c);
    /* A kubeconfig from a file: paths are from its folder. */
    put(dir, "config", HEAD CLUSTER CONTEXT "users:\n- name: u\n  user: {tokenFile: token}\n");
    char path[64];
    snprintf(path, sizeof path, "%s/config", dir);
    assert_int_equal(dv_kube_config_read(path, false, &c, &err), 0);
    snprintf(path, sizeof path, "%s/token", dir);
    assert_string_equal(c->token_file, path);
    dv_kube_config_freep(&c);
    snprintf(path, sizeof path, "%s/namespace", dir);
    unlink(path);
    snprintf(path, sizeof path, "%s/config", dir);
    unlink(path);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_token),      cmocka_unit_test(test_certificates),
        cmocka_unit_test(test_insecure),   cmocka_unit_test(test_bad),
        cmocka_unit_test(test_in_cluster),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
