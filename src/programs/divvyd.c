/* SPDX-License-Identifier: Apache-2.0 */
/* divvyd: the agent that shares the GPUs of a node. Flags only; the rest is services/daemon.h. */
#include "base/units.h"
#include "daemon.h"
#include "metrics.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "divvyd shares the GPUs of this machine among tenants.\n"
    "\n"
    "usage: divvyd [options]\n"
    "\n"
    "  --sim NODE           share a simulated node: a built-in (a100, dgx-a100, ...; see\n"
    "                       divvy-sim nodes), a YAML file, or unix:PATH to join one that runs\n"
    "  --socket PATH        where to listen (default /run/divvy/divvyd.sock as root, else\n"
    "                       $XDG_RUNTIME_DIR/divvy/divvyd.sock)\n"
    "  --state DIR          where to keep the books (default /var/lib/divvy as root, else\n"
    "                       ~/.local/state/divvy)\n"
    "  --config FILE        the layout that the node should have: divvy's own file, mig-parted's "
    "or\n"
    "                       the NVIDIA device plugin's; applied when it is another than last time\n"
    "  --prices FILE        what GPU time costs: the price file of bills that name none\n"
    "  --user NAME          as root: whom to become (default divvy, else nobody)\n"
    "  --operator NAME      a user who may act for any tenant, as root may\n"
    "  --intruder WHAT      a process that uses a shared GPU without leases is always named;\n"
    "                       open: leases are off meanwhile, so that it gets 1/n and not half\n"
    "                       (default); report: nothing else; kill: it is ended\n"
    "  --listen ADDR:PORT   serve /metrics, /metrics/dcgm, /healthz and /readyz there over HTTP\n"
    "                       (127.0.0.1:9400, [::1]:9400; port 0: any free one; default: nowhere).\n"
    "                       Addresses that other machines can reach need the next three\n"
    "  --tls-cert FILE      certificates in PEM, and\n"
    "  --tls-key FILE       their key, for HTTPS\n"
    "  --token-file FILE    who scrapes must send this token: Authorization: Bearer TOKEN\n"
    "  --dcgm-hostname WHAT the label of the machine on /metrics/dcgm: hostname (default), "
    "Hostname\n"
    "                       (as before dcgm-exporter 4.6.0), both or none\n"
    "  --no-accounting      leave the driver's accounting mode as it is; else it is switched on "
    "where\n"
    "                       root may, for what short processes used\n"
    "  --nvml-timeout TIME  when a call into the driver counts as wedged (default 5s)\n"
    "  --kubernetes         be this node's device plugin, config manager, MIG manager and feature\n"
    "                       discovery (divvyd(8) under KUBERNETES); as root. With it:\n"
    "    --node-name NAME     the node (default $NODE_NAME, else the machine's name)\n"
    "    --kubeconfig FILE    who to be (default: the pod's service account; none: no API server)\n"
    "    --plugin-config PATH the NVIDIA device plugin's configuration: a file, or a directory of\n"
    "                         named ones as a ConfigMap is mounted (default $CONFIG_FILE)\n"
    "    --plugin-default KEY which of them nodes without the label "
    "nvidia.com/device-plugin.config\n"
    "                         have (default $DEFAULT_CONFIG, else \"default\", or the only one)\n"
    "    --cluster-policy     the GPU Operator's ClusterPolicy counts, too: its MIG strategy and "
    "the\n"
    "                         ConfigMap that it names (default $CLUSTER_POLICY)\n"
    "    --mig-config FILE    mig-parted's configurations, chosen by the label "
    "nvidia.com/mig.config\n"
    "    --mig-default NAME   which of them nodes without that label have (default "
    "$DEFAULT_MIG_CONFIG)\n"
    "    --kubelet-dir DIR    default /var/lib/kubelet\n"
    "    --cdi-dir DIR        where CDI specifications go (default /var/run/cdi)\n"
    "    --driver-root DIR    where the host's root is seen from here (default /)\n"
    "    --mps-shm DIR        the host's path of what is /dev/shm here (default /dev/shm): "
    "clients\n"
    "                         of MPS in containers get it as theirs\n"
    "                         and the device plugin's own flags: --mig-strategy and so on\n"
    "  --foreground         stay in the foreground (always so; for scripts that say it)\n"
    "  --ready-fd N         write a line to this descriptor once requests are answered\n"
    "  --capture FILE       write what the driver says to FILE (- for stdout), and end\n"
    "  --replay FILE        show the node of such a file; nothing can run on it\n"
    "  --help, --version\n"
    "\n"
    "example: divvyd --sim a100 --socket /tmp/d.sock --state /tmp/d.state &\n"
    "         divvy --socket /tmp/d.sock status\n";

enum {
    SIM = 1000,
    SOCKET,
    STATE,
    CONFIG,
    PRICES,
    NO_ACCOUNTING,
    USER,
    OPERATOR,
    INTRUDER,
    TIMEOUT,
    LISTEN,
    TLS_CERT,
    TLS_KEY,
    TOKEN_FILE,
    DCGM_HOSTNAME,
    KUBERNETES,
    CLUSTER_POLICY,
    NODE_NAME,
    KUBECONFIG,
    PLUGIN_CONFIG,
    PLUGIN_DEFAULT,
    MIG_CONFIG,
    MIG_DEFAULT,
    KUBELET_DIR,
    CDI_DIR,
    DRIVER_ROOT,
    MPS_SHM,
    FOREGROUND,
    READY,
    CAPTURE,
    REPLAY,
    HELP,
    VERSION
};

static const struct option options[] = {
    {"sim", required_argument, NULL, SIM},
    {"socket", required_argument, NULL, SOCKET},
    {"state", required_argument, NULL, STATE},
    {"config", required_argument, NULL, CONFIG},
    {"prices", required_argument, NULL, PRICES},
    {"no-accounting", no_argument, NULL, NO_ACCOUNTING},
    {"user", required_argument, NULL, USER},
    {"operator", required_argument, NULL, OPERATOR},
    {"intruder", required_argument, NULL, INTRUDER},
    {"nvml-timeout", required_argument, NULL, TIMEOUT},
    {"listen", required_argument, NULL, LISTEN},
    {"tls-cert", required_argument, NULL, TLS_CERT},
    {"tls-key", required_argument, NULL, TLS_KEY},
    {"token-file", required_argument, NULL, TOKEN_FILE},
    {"dcgm-hostname", required_argument, NULL, DCGM_HOSTNAME},
    {"kubernetes", no_argument, NULL, KUBERNETES},
    {"cluster-policy", no_argument, NULL, CLUSTER_POLICY},
    {"node-name", required_argument, NULL, NODE_NAME},
    {"kubeconfig", required_argument, NULL, KUBECONFIG},
    {"plugin-config", required_argument, NULL, PLUGIN_CONFIG},
    {"plugin-default", required_argument, NULL, PLUGIN_DEFAULT},
    {"mig-config", required_argument, NULL, MIG_CONFIG},
    {"mig-default", required_argument, NULL, MIG_DEFAULT},
    {"kubelet-dir", required_argument, NULL, KUBELET_DIR},
    {"cdi-dir", required_argument, NULL, CDI_DIR},
    {"driver-root", required_argument, NULL, DRIVER_ROOT},
    {"mps-shm", required_argument, NULL, MPS_SHM},
    {"foreground", no_argument, NULL, FOREGROUND},
    {"ready-fd", required_argument, NULL, READY},
    {"capture", required_argument, NULL, CAPTURE},
    {"replay", required_argument, NULL, REPLAY},
    {"help", no_argument, NULL, HELP},
    {"version", no_argument, NULL, VERSION},
    {0},
};

/* Of the device plugin's flags, which are options here too; then variables of the environment. */
#define PLUGIN_FLAG 2000
#define PLUGIN_FLAGS_MAX 40u
#define SETTINGS_MAX 1024u

static struct option all_options[DV_ARRAY_SIZE(options) + PLUGIN_FLAGS_MAX];
static char flag_names[PLUGIN_FLAGS_MAX][52]; /* "--mig-strategy" */
static struct dv_plugin_setting settings[SETTINGS_MAX];
static size_t n_settings;

/* Switches may stand alone, as in Go: --gds-enabled, --gds-enabled=false. */
static void make_options(void)
{
    size_t n = DV_ARRAY_SIZE(options) - 1;
    memcpy(all_options, options, sizeof options);
    for (size_t i = 0; i < PLUGIN_FLAGS_MAX; i++) {
        const struct dv_plugin_flag *f = dv_plugin_flags_at(i);
        if (!f)
            break;
        snprintf(flag_names[i], sizeof flag_names[i], "--%s", f->option);
        all_options[n++] = (struct option){
            f->option, f->type == DV_PLUGIN_BOOL ? optional_argument : required_argument, NULL,
            PLUGIN_FLAG + (int)i};
    }
    all_options[n] = (struct option){0};
}

static void add_flag(int c)
{
    if (n_settings < SETTINGS_MAX)
        settings[n_settings++] =
            (struct dv_plugin_setting){flag_names[c - PLUGIN_FLAG], optarg ? optarg : "true"};
}

static void add_environment(void)
{
    static char names[SETTINGS_MAX][52];
    for (char **e = environ; *e; e++) {
        size_t len = strcspn(*e, "=");
        if (!(*e)[len] || len >= sizeof names[0] || n_settings == SETTINGS_MAX)
            continue; /* none of the flags has a longer name */
        memcpy(names[n_settings], *e, len);
        names[n_settings][len] = 0;
        settings[n_settings] = (struct dv_plugin_setting){names[n_settings], *e + len + 1};
        n_settings++;
    }
}

static int usage(const char *message)
{
    fprintf(stderr, "divvyd: %s; see divvyd --help\n", message);
    return 2;
}

static int parse_intruder(const char *text, enum dv_intruder_policy *ret)
{
    if (!strcmp(text, "open"))
        *ret = DV_INTRUDER_OPEN;
    else if (!strcmp(text, "report"))
        *ret = DV_INTRUDER_REPORT;
    else if (!strcmp(text, "kill"))
        *ret = DV_INTRUDER_KILL;
    else
        return usage("--intruder must be open, report or kill");
    return 0;
}

static int parse_timeout(const char *text, uint32_t *ret_ms)
{
    struct dv_err err;
    uint64_t ns;
    if (dv_units_parse_duration(text, &ns, &err) < 0)
        return usage(err.msg);
    if (ns < 10 * DV_NS_PER_MS || ns > 600 * DV_NS_PER_S)
        return usage("--nvml-timeout must lie between 10ms and 10m");
    *ret_ms = (uint32_t)(ns / DV_NS_PER_MS);
    return 0;
}

static int parse_hostname(const char *text, enum dv_dcgm_hostname *ret)
{
    if (dv_metrics_dcgm_hostname_parse(text, ret) < 0)
        return usage("--dcgm-hostname must be hostname, Hostname, both or none");
    return 0;
}

static int parse_fd(const char *text, int *ret)
{
    struct dv_err err;
    int64_t fd;
    if (dv_units_parse_integer(text, "--ready-fd", 0, 65535, &fd, &err) < 0)
        return usage(err.msg);
    *ret = (int)fd;
    return 0;
}

/* True: it was one of them. */
static bool parse_kubernetes(int c, struct dv_kubernetes_options *k)
{
    const char **text[] = {&k->node_name,   &k->kubeconfig, &k->plugin_config, &k->plugin_chosen,
                           &k->mig_config,  &k->mig_chosen, &k->kubelet_dir,   &k->cdi_dir,
                           &k->driver_root, &k->mps_shm};
    if (c == KUBERNETES)
        k->on = true;
    else if (c == CLUSTER_POLICY)
        k->cluster_policy = true;
    else if (c >= NODE_NAME && c <= MPS_SHM)
        *text[c - NODE_NAME] = optarg;
    else if (c >= PLUGIN_FLAG)
        add_flag(c);
    else
        return false;
    return true;
}

/* As Go reads a boolean. */
static bool is_off(const char *text)
{
    static const char *const words[] = {"false", "False", "FALSE", "f", "F", "0"};
    for (size_t i = 0; text && i < DV_ARRAY_SIZE(words); i++)
        if (!strcmp(text, words[i]))
            return true;
    return false;
}

/* What only --kubernetes gives a meaning is not taken without it. */
static int finish_kubernetes(struct dv_kubernetes_options *k)
{
    if (!k->on && (k->node_name || k->kubeconfig || k->plugin_config || k->plugin_chosen ||
                   k->mig_config || k->mig_chosen || k->kubelet_dir || k->cdi_dir ||
                   k->driver_root || k->mps_shm || k->cluster_policy || n_settings))
        return usage("options of --kubernetes need --kubernetes");
    if (!k->on)
        return -1;
    add_environment();
    if (!k->node_name)
        k->node_name = getenv("NODE_NAME");
    if (!k->plugin_config)
        k->plugin_config = getenv("CONFIG_FILE");
    if (!k->plugin_chosen)
        k->plugin_chosen = getenv("DEFAULT_CONFIG");
    if (!k->mig_chosen)
        k->mig_chosen = getenv("DEFAULT_MIG_CONFIG");
    if (k->plugin_config && !*k->plugin_config)
        k->plugin_config = NULL;
    const char *policy = getenv("CLUSTER_POLICY");
    k->cluster_policy |= policy && *policy && !is_off(policy);
    k->no_labels = is_off(getenv("GFD_ENABLED"));
    k->pod_namespace = getenv("POD_NAMESPACE");
    k->over = settings;
    k->n_over = n_settings;
    return -1;
}

/* Returns -1 to go on, else the exit status. */
static int parse(int argc, char **argv, struct dv_daemon_options *o, const char **capture)
{
    int status = 0;
    opterr = 0;
    make_options();
    for (int c; status == 0 && (c = getopt_long(argc, argv, "", all_options, NULL)) != -1;) {
        if (parse_kubernetes(c, &o->kubernetes))
            continue;
        switch (c) {
        case SIM:
            o->sim = optarg;
            break;
        case SOCKET:
            o->socket = optarg;
            break;
        case STATE:
            o->state = optarg;
            break;
        case CONFIG:
            o->config = optarg;
            break;
        case NO_ACCOUNTING:
            o->no_accounting = true;
            break;
        case PRICES:
            o->prices = optarg;
            break;
        case USER:
            o->user = optarg;
            break;
        case OPERATOR:
            o->operator= optarg;
            break;
        case INTRUDER:
            status = parse_intruder(optarg, &o->intruder);
            break;
        case TIMEOUT:
            status = parse_timeout(optarg, &o->nvml_timeout_ms);
            break;
        case LISTEN:
            o->listen.address = optarg;
            break;
        case TLS_CERT:
            o->listen.tls_cert = optarg;
            break;
        case TLS_KEY:
            o->listen.tls_key = optarg;
            break;
        case TOKEN_FILE:
            o->listen.token_file = optarg;
            break;
        case DCGM_HOSTNAME:
            status = parse_hostname(optarg, &o->dcgm_hostname);
            break;
        case FOREGROUND:
            break;
        case READY:
            status = parse_fd(optarg, &o->ready_fd);
            break;
        case CAPTURE:
            *capture = optarg;
            break;
        case REPLAY:
            o->replay = optarg;
            break;
        case HELP:
            fputs(help, stdout);
            return 0;
        case VERSION:
            puts("divvyd " DV_VERSION);
            return 0;
        default: {
            char message[128];
            snprintf(message, sizeof message, "unknown option or missing value at '%.60s'",
                     argv[optind - 1]);
            return usage(message);
        }
        }
    }
    if (status)
        return status;
    if (optind < argc)
        return usage("it takes no arguments besides options");
    return finish_kubernetes(&o->kubernetes);
}

int main(int argc, char **argv)
{
    struct dv_daemon_options o = {.nvml_timeout_ms = 5000, .ready_fd = -1};
    const char *capture = NULL;
    int status = parse(argc, argv, &o, &capture);
    if (status >= 0)
        return status;
    return capture ? dv_daemon_capture(&o, capture) : dv_daemon_run(&o);
}
