/* SPDX-License-Identifier: Apache-2.0 */
/* divvy-controller: what divvy does for a whole cluster. Flags only; the rest is webhook/. */
#include "base/units.h"
#include "certs/certs.h"
#include "sys/fd.h"
#include "sys/log.h"
#include "webhook/cluster.h"
#include "webhook/manifest.h"
#include "webhook/webhook.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXIT_USAGE 2
#define EXIT_UNAVAILABLE 5
#define LIFE_S (90 * INT64_C(86400))

static const char help[] =
    "divvy-controller does what divvy needs once per cluster of Kubernetes.\n"
    "\n"
    "usage: divvy-controller webhook [options]\n"
    "\n"
    "webhook: the admission webhook. nvidia.com/gpu: \"0.25\" becomes a governed slice; a\n"
    "namespace's label gpu-strategy says which GPUs may be asked for there.\n"
    "\n"
    "  --listen ADDR:PORT   where to serve HTTPS (default 0.0.0.0:8443; port 0: any free one)\n"
    "  --service NS/NAME    the Service in front of it (default divvy-system/divvy-webhook):\n"
    "                       the certificate is for NAME.NS.svc\n"
    "  --tls-dir DIR        where ca.crt, tls.crt and tls.key are kept; they are made and renewed\n"
    "                       by themselves (default: nowhere; new ones at every start)\n"
    "  --tls-from DIR       somebody else keeps these three there (cert-manager): they are read\n"
    "                       again when they change\n"
    "  --secret NS/NAME     a Secret where they are kept instead, shared by all replicas\n"
    "  --configuration NAME the MutatingWebhookConfiguration whose caBundle is kept right\n"
    "  --kubeconfig FILE    who asks the API server for these two (default: the pod's own\n"
    "                       service account)\n"
    "  --tls-life TIME      how long a certificate is valid (default 2160h, 90 days); the next is\n"
    "                       made after two thirds\n"
    "  --ready-fd N         write a line with the address to this descriptor once it serves\n"
    "  --print-ca           print DIR/ca.crt, whom the API server must trust, and end\n"
    "  --print-manifest     print the MutatingWebhookConfiguration (called divvy-webhook, or as\n"
    "                       --configuration says), and end; with a DIR it has the caBundle\n"
    "  --service-port N     the Service's port in it (default 443)\n"
    "  --strategy VALUE     a list of words that namespaces here have as gpu-strategy\n"
    "                       (mig_whole); for --print-manifest; may be repeated\n"
    "  --resource NAME=MODE what is behind a name that a device plugin's configuration gives:\n"
    "                       nvidia.com/gpu-a100=whole; whole, mig, shared or governed; several\n"
    "                       with commas between them; may be repeated\n"
    "  --help, --version\n"
    "\n"
    "example: divvy-controller webhook --listen 127.0.0.1:8443 --tls-dir /tmp/webhook &\n"
    "         divvy-controller webhook --tls-dir /tmp/webhook --print-manifest | kubectl apply -f "
    "-\n";

enum {
    LISTEN = 1000,
    SECRET,
    CONFIGURATION,
    KUBECONFIG,
    SERVICE,
    TLS_DIR,
    TLS_FROM,
    TLS_LIFE,
    READY,
    PRINT_CA,
    PRINT_MANIFEST,
    SERVICE_PORT,
    STRATEGY,
    RESOURCE,
    HELP,
    VERSION
};

static const struct option options[] = {
    {"listen", required_argument, NULL, LISTEN},
    {"service", required_argument, NULL, SERVICE},
    {"tls-dir", required_argument, NULL, TLS_DIR},
    {"tls-from", required_argument, NULL, TLS_FROM},
    {"secret", required_argument, NULL, SECRET},
    {"configuration", required_argument, NULL, CONFIGURATION},
    {"kubeconfig", required_argument, NULL, KUBECONFIG},
    {"tls-life", required_argument, NULL, TLS_LIFE},
    {"ready-fd", required_argument, NULL, READY},
    {"print-ca", no_argument, NULL, PRINT_CA},
    {"print-manifest", no_argument, NULL, PRINT_MANIFEST},
    {"service-port", required_argument, NULL, SERVICE_PORT},
    {"strategy", required_argument, NULL, STRATEGY},
    {"resource", required_argument, NULL, RESOURCE},
    {"help", no_argument, NULL, HELP},
    {"version", no_argument, NULL, VERSION},
    {0},
};

struct values {
    struct dv_webhook_options webhook;
    struct dv_webhook_cluster_options cluster;
    struct dv_webhook_manifest manifest;
    char *service, *secret; /* NS, a zero byte, NAME */
    size_t n_strategies, n_resources;
    int ready_fd;
    bool print_ca, print_manifest;
};

static int usage(const char *message)
{
    fprintf(stderr, "divvy-controller: %s; see divvy-controller --help\n", message);
    return EXIT_USAGE;
}

static int fail(int status, const char *message)
{
    fprintf(stderr, "divvy-controller: %s\n", message);
    return status;
}

/* NAMESPACE/NAME in two. */
static int split(const char *text, const char *what, char **copy, const char **ret_namespace,
                 const char **ret_name)
{
    char message[64];
    free(*copy);
    *copy = strdup(text);
    char *slash = *copy ? strchr(*copy, '/') : NULL;
    snprintf(message, sizeof message, "%s must be NAMESPACE/NAME", what);
    if (!slash || slash == *copy || !slash[1] || strlen(text) > 253)
        return usage(message);
    *slash = 0;
    *ret_namespace = *copy;
    *ret_name = slash + 1;
    return 0;
}

static int parse_service(const char *text, struct values *v)
{
    struct dv_err err;
    int status = split(text, "--service", &v->service, &v->webhook.namespace, &v->webhook.service);
    if (status)
        return status;
    v->manifest.namespace = v->webhook.namespace;
    v->manifest.service = v->webhook.service;
    return dv_webhook_check_names(v->webhook.namespace, v->webhook.service, &err) < 0
               ? usage(err.msg)
               : 0;
}

static int parse_life(const char *text, struct values *v)
{
    struct dv_err err;
    uint64_t ns;
    if (dv_units_parse_duration(text, &ns, &err) < 0)
        return usage(err.msg);
    v->webhook.life_s = (int64_t)(ns / DV_NS_PER_S);
    return v->webhook.life_s < 10 ? usage("--tls-life must be at least 10s") : 0;
}

static int set_folder(const char *folder, bool external, struct values *v)
{
    if (v->webhook.tls_dir && v->webhook.tls_external != external)
        return usage("--tls-dir and --tls-from exclude each other");
    v->webhook.tls_dir = folder;
    v->webhook.tls_external = external;
    return 0;
}

static int parse_number(const char *text, const char *what, int64_t min, int64_t *ret)
{
    struct dv_err err;
    return dv_units_parse_integer(text, what, min, 65535, ret, &err) < 0 ? usage(err.msg) : 0;
}

static int add_strategy(const char *text, struct values *v)
{
    if (v->n_strategies == DV_WEBHOOK_STRATEGIES_MAX)
        return usage("too many --strategy");
    v->manifest.strategies[v->n_strategies++] = text;
    return 0;
}

static int add_resource(const char *text, struct values *v)
{
    if (v->n_resources == DV_WEBHOOK_RESOURCES_MAX)
        return usage("too many --resource");
    v->webhook.resources[v->n_resources++] = text;
    return 0;
}

/* Returns -1 to go on, else the exit status. */
static int take(int option, char **argv, struct values *v)
{
    int64_t n = 0;
    int status = 0;
    char message[128];
    switch (option) {
    case LISTEN:
        v->webhook.listen = optarg;
        break;
    case SERVICE:
        status = parse_service(optarg, v);
        break;
    case TLS_DIR:
        status = set_folder(optarg, false, v);
        break;
    case TLS_FROM:
        status = set_folder(optarg, true, v);
        break;
    case SECRET:
        status = split(optarg, "--secret", &v->secret, &v->cluster.namespace, &v->cluster.secret);
        break;
    case CONFIGURATION:
        v->cluster.configuration = optarg;
        break;
    case KUBECONFIG:
        v->cluster.kubeconfig = optarg;
        break;
    case TLS_LIFE:
        status = parse_life(optarg, v);
        break;
    case READY:
        status = parse_number(optarg, "--ready-fd", 0, &n);
        v->ready_fd = (int)n;
        break;
    case PRINT_CA:
        v->print_ca = true;
        break;
    case PRINT_MANIFEST:
        v->print_manifest = true;
        break;
    case SERVICE_PORT:
        status = parse_number(optarg, "--service-port", 1, &n);
        v->manifest.port = (uint16_t)n;
        break;
    case STRATEGY:
        status = add_strategy(optarg, v);
        break;
    case RESOURCE:
        status = add_resource(optarg, v);
        break;
    case HELP:
        fputs(help, stdout);
        return 0;
    case VERSION:
        puts("divvy-controller " DV_VERSION);
        return 0;
    default:
        snprintf(message, sizeof message, "unknown option or missing value at '%.60s'",
                 argv[optind - 1]);
        status = usage(message);
    }
    return status ? status : -1;
}

static int parse(int argc, char **argv, struct values *v)
{
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        int status = take(c, argv, v);
        if (status >= 0)
            return status;
    }
    if (optind + 1 != argc || strcmp(argv[optind], "webhook") != 0)
        return usage(optind < argc && !strcmp(argv[optind], "webhook") ? "it takes one command"
                                                                       : "the command is webhook");
    if (v->cluster.secret && v->webhook.tls_dir)
        return usage("--secret excludes --tls-dir and --tls-from");
    if (v->cluster.kubeconfig && !v->cluster.secret && !v->cluster.configuration)
        return usage("--kubeconfig is for --secret and --configuration");
    if (v->print_ca && !v->webhook.tls_dir)
        return usage("--print-ca needs --tls-dir or --tls-from");
    return -1;
}

/* ---- printing ------------------------------------------------------------------------------- */

static int print(const char *text)
{
    fputs(text, stdout);
    return fflush(stdout) ? fail(1, "cannot write") : 0;
}

static int print_ca(const struct values *v)
{
    struct dv_err err;
    char *bundle;
    int r = dv_certs_read_bundle(v->webhook.tls_dir, &bundle, &err);
    if (r < 0)
        return fail(r == -ENOENT ? EXIT_UNAVAILABLE : 1, err.msg);
    int status = print(bundle);
    free(bundle);
    return status;
}

static int print_manifest(struct values *v)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_err err;
    char *bundle = NULL;
    int r = v->webhook.tls_dir ? dv_certs_read_bundle(v->webhook.tls_dir, &bundle, &err) : 0;
    if (r < 0)
        return fail(r == -ENOENT ? EXIT_UNAVAILABLE : 1, err.msg);
    v->manifest.ca_bundle = bundle;
    v->manifest.name = v->cluster.configuration;
    r = dv_webhook_manifest(&v->manifest, &text, &err);
    free(bundle);
    return r == 0 ? print(dv_str_get(&text)) : fail(r == -EINVAL ? EXIT_USAGE : 1, err.msg);
}

/* ---- serving -------------------------------------------------------------------------------- */

static void on_stop(void *arg)
{
    dv_loop_stop(arg);
}

static void say_ready(const struct values *v, const struct dv_webhook *w)
{
    dv_log(DV_LOG_INFO, "webhook.started", "version=%s pid=%d listen=%s service=%s/%s tls_dir=%s",
           DV_VERSION, (int)getpid(), dv_webhook_address(w), v->webhook.namespace,
           v->webhook.service, v->webhook.tls_dir ? v->webhook.tls_dir : "-");
    if (v->ready_fd < 0)
        return;
    if (dprintf(v->ready_fd, "%s\n", dv_webhook_address(w)) < 0)
        dv_log(DV_LOG_WARNING, "webhook.ready", "error=%s", strerror(errno));
    close(v->ready_fd);
}

struct parts {
    struct dv_loop_source *sources[2];
    struct dv_webhook_cluster *cluster; /* or NULL: all by files */
    struct dv_webhook *webhook;
};

static int start(struct dv_loop *loop, struct values *v, struct parts *p, struct dv_err *err)
{
    int r = dv_loop_signal(loop, SIGTERM, on_stop, loop, &p->sources[0]);
    if (r == 0)
        r = dv_loop_signal(loop, SIGINT, on_stop, loop, &p->sources[1]);
    if (r == 0 && (v->cluster.secret || v->cluster.configuration)) {
        /* Where certificates live for seconds only, in tests, a minute is too long: it must be
         * well below the time from publishing to serving, a twelfth of the life. */
        if (v->webhook.life_s < 48 * 60)
            v->cluster.every_ms = (uint32_t)(v->webhook.life_s * 1000 / 48);
        v->cluster.external = v->webhook.tls_external;
        r = dv_webhook_cluster_new(loop, &v->cluster, &p->cluster, err);
        v->webhook.publish = dv_webhook_cluster_changed;
        v->webhook.publish_arg = p->cluster;
    }
    if (r == 0)
        r = dv_webhook_new(loop, &v->webhook, &p->webhook, err);
    if (r == 0 && p->cluster)
        r = dv_webhook_cluster_start(p->cluster, p->webhook, err);
    return r;
}

static int run(struct dv_loop *loop, struct values *v)
{
    struct parts p = {0};
    struct dv_err err = {{0}};
    signal(SIGPIPE, SIG_IGN);
    int r = start(loop, v, &p, &err);
    if (r == 0) {
        say_ready(v, p.webhook);
        r = dv_loop_run(loop);
    }
    dv_webhook_cluster_free(p.cluster);
    dv_webhook_free(p.webhook);
    dv_loop_remove(p.sources[0]);
    dv_loop_remove(p.sources[1]);
    if (r == 0)
        return 0;
    return fail(r == -EINVAL       ? EXIT_USAGE
                : r == -EADDRINUSE ? EXIT_UNAVAILABLE
                                   : 1,
                err.msg[0] ? err.msg : strerror(-r));
}

static int serve(struct values *v)
{
    struct dv_loop *loop;
    int r = dv_loop_new(&loop);
    if (r < 0)
        return fail(1, strerror(-r));
    int status = run(loop, v);
    dv_loop_free(loop);
    return status;
}

int main(int argc, char **argv)
{
    struct values v = {
        .webhook = {.listen = "0.0.0.0:8443",
                    .namespace = "divvy-system",
                    .service = "divvy-webhook",
                    .life_s = LIFE_S},
        .manifest = {.namespace = "divvy-system", .service = "divvy-webhook", .port = 443},
        .ready_fd = -1,
    };
    int status = parse(argc, argv, &v);
    if (status < 0)
        status = v.print_ca ? print_ca(&v) : v.print_manifest ? print_manifest(&v) : serve(&v);
    free(v.service);
    free(v.secret);
    return status;
}
