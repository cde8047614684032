/* SPDX-License-Identifier: Apache-2.0 */
/* nvidia-smi for simulated GPUs: the command line. */
#include "smi/smi.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct options {
    const char *gpus;
    const char *query_gpu, *query_apps, *format;
    const char *persistence, *compute, *mig;
    bool list, reset, log;
    long loop_ms; /* 0 = once */
};

static int help(void)
{
    printf("NVIDIA System Management Interface, a stand-in for simulated GPUs (divvy %s)\n\n"
           "nvidia-smi [OPTION1 [ARG1]] [OPTION2 [ARG2]] ...\n\n"
           "    -h,   --help                Print usage information and exit.\n"
           "          --version             Print version information and exit.\n"
           "    -L,   --list-gpus           Display a list of GPUs.\n"
           "    -q,   --query               Display what is known of each GPU.\n"
           "    -i,   --id=                 Target GPUs: index, UUID, bus id or serial number.\n"
           "    -l,   --loop=               Repeat every so many seconds.\n"
           "    -lms, --loop-ms=            Repeat every so many milliseconds.\n"
           "          --query-gpu=          Fields of GPUs; see --help-query-gpu.\n"
           "          --query-compute-apps= Fields of processes; see --help-query-compute-apps.\n"
           "          --format=             csv[,noheader][,nounits]: for the queries.\n"
           "    -pm,  --persistence-mode=   0/DISABLED, 1/ENABLED.\n"
           "    -c,   --compute-mode=       0/DEFAULT, 2/PROHIBITED, 3/EXCLUSIVE_PROCESS.\n"
           "    -mig, --multi-instance-gpu= 0/DISABLED, 1/ENABLED.\n"
           "    -r,   --gpu-reset           Reset GPUs that nobody uses.\n\n"
           "    topo -m                     Display how GPUs are connected.\n"
           "    compute-policy              How contexts take turns; see compute-policy -h.\n"
           "    mig                         Multi Instance GPU management; see mig -h.\n",
           DV_VERSION);
    return 0;
}

static int version(void)
{
    char driver[DV_NVML_VERSION_TEXT_SIZE] = "N/A", nvml[DV_NVML_VERSION_TEXT_SIZE] = "N/A";
    int cuda = 0, r = dv_smi_open();
    if (r)
        return r;
    dv_smi.nvmlSystemGetDriverVersion(driver, sizeof(driver));
    dv_smi.nvmlSystemGetNVMLVersion(nvml, sizeof(nvml));
    dv_smi.nvmlSystemGetCudaDriverVersion_v2(&cuda);
    printf("NVIDIA-SMI version  : %s\nNVML version        : %s\nDRIVER version      : %s\n"
           "CUDA Version        : %d.%d\n",
           driver, nvml, driver, cuda / 1000, cuda % 1000 / 10);
    return 0;
}

static int wrong_option(const char *option)
{
    printf("ERROR: Option %s is not recognized. Please run 'nvidia-smi -h'.\n\n", option);
    return 255; /* as NVIDIA's */
}

const char *dv_smi_value(int argc, char **argv, int *i, const char *brief, const char *full)
{
    size_t length = strlen(full);
    if (strncmp(argv[*i], full, length) == 0 && argv[*i][length] == '=')
        return argv[*i] + length + 1;
    if (strcmp(argv[*i], full) != 0 && (!brief || strcmp(argv[*i], brief) != 0))
        return NULL;
    if (*i + 1 >= argc)
        return "";
    ++*i;
    return argv[*i] ? argv[*i] : "";
}

static bool is(const char *arg, const char *brief, const char *full)
{
    return strcmp(arg, brief) == 0 || strcmp(arg, full) == 0;
}

/* 0, or an exit code. */
static int parse_loop(const char *text, long unit_ms, struct options *o)
{
    char *end;
    long n = strtol(text, &end, 10);
    if (!*text || *end || n < 1 || n > 86400000 / unit_ms) {
        printf("Provided [-l(ms) | --loop(-ms)=] value is incorrect. Loop frequency must be "
               "greater than 0.\n");
        return DV_SMI_USAGE;
    }
    o->loop_ms = n * unit_ms;
    return 0;
}

static int parse(int argc, char **argv, struct options *o)
{
    for (int i = 1; i < argc && argv[i]; i++) {
        const char *option = argv[i], *v;
        const char **to = NULL;
        int r = 0;
        if (is(option, "-L", "--list-gpus"))
            o->list = true;
        else if (is(option, "-q", "--query"))
            o->log = true;
        else if (is(option, "-r", "--gpu-reset"))
            o->reset = true;
        else if ((v = dv_smi_value(argc, argv, &i, "-i", "--id")))
            to = &o->gpus;
        else if ((v = dv_smi_value(argc, argv, &i, NULL, "--query-gpu")))
            to = &o->query_gpu;
        else if ((v = dv_smi_value(argc, argv, &i, NULL, "--query-compute-apps")))
            to = &o->query_apps;
        else if ((v = dv_smi_value(argc, argv, &i, NULL, "--format")))
            to = &o->format;
        else if ((v = dv_smi_value(argc, argv, &i, "-pm", "--persistence-mode")))
            to = &o->persistence;
        else if ((v = dv_smi_value(argc, argv, &i, "-c", "--compute-mode")))
            to = &o->compute;
        else if ((v = dv_smi_value(argc, argv, &i, "-mig", "--multi-instance-gpu")))
            to = &o->mig;
        else if ((v = dv_smi_value(argc, argv, &i, "-lms", "--loop-ms")))
            r = parse_loop(v, 1, o);
        else if ((v = dv_smi_value(argc, argv, &i, "-l", "--loop")))
            r = parse_loop(v, 1000, o);
        else
            r = wrong_option(option);
        if (r)
            return r;
        if (to)
            *to = v;
    }
    return 0;
}

static int parse_format(const char *text, struct dv_smi_format *ret)
{
    bool csv = false;
    char *copy = strdup(text ? text : ""), *rest = NULL;
    *ret = (struct dv_smi_format){true, true};
    for (char *p = copy ? strtok_r(copy, ",", &rest) : NULL; p; p = strtok_r(NULL, ",", &rest)) {
        csv |= strcmp(p, "csv") == 0;
        if (strcmp(p, "noheader") == 0)
            ret->header = false;
        else if (strcmp(p, "nounits") == 0)
            ret->units = false;
    }
    free(copy);
    if (csv)
        return 0;
    printf("\"--format=\" switch is missing. Please run 'nvidia-smi -h' for help.\n\n");
    return DV_SMI_USAGE;
}

static int once(const struct options *o, struct dv_smi_format format)
{
    struct dv_smi_gpu gpus[DV_SMI_GPUS_MAX];
    size_t n;
    if (o->list && !o->gpus)
        return dv_smi_list_all();
    int r = dv_smi_find(o->gpus, gpus, &n);
    if (r)
        return r;
    if (o->list)
        return dv_smi_list(gpus, n);
    if (o->mig)
        return dv_smi_set_mig(gpus, n, o->mig);
    if (o->persistence)
        return dv_smi_set_persistence(gpus, n, o->persistence);
    if (o->compute)
        return dv_smi_set_compute(gpus, n, o->compute);
    if (o->reset)
        return dv_smi_reset(gpus, n);
    if (o->log)
        return dv_smi_log(gpus, n);
    if (o->query_gpu)
        return dv_smi_query_gpu(gpus, n, o->query_gpu, format);
    if (o->query_apps)
        return dv_smi_query_apps(gpus, n, o->query_apps, format);
    return dv_smi_table(gpus, n);
}

static int topology(int argc, char **argv)
{
    struct dv_smi_gpu gpus[DV_SMI_GPUS_MAX];
    size_t n;
    int r = dv_smi_open();
    if (r == 0)
        r = dv_smi_find(NULL, gpus, &n);
    return r ? r : dv_smi_topology(gpus, n, argc > 2 ? argv[2] : "");
}

int main(int argc, char **argv)
{
    struct options o = {0};
    struct dv_smi_format format = {true, true};
    if (argc > 1 && is(argv[1], "-h", "--help"))
        return help();
    if (argc > 1 && strcmp(argv[1], "--version") == 0)
        return version();
    if (argc > 1 && strcmp(argv[1], "--help-query-gpu") == 0)
        return dv_smi_help_query(false);
    if (argc > 1 && strcmp(argv[1], "--help-query-compute-apps") == 0)
        return dv_smi_help_query(true);
    if (argc > 1 && strcmp(argv[1], "mig") == 0)
        return dv_smi_mig(argc - 2, argv + 2);
    if (argc > 1 && strcmp(argv[1], "compute-policy") == 0)
        return dv_smi_policy(argc - 2, argv + 2);
    if (argc > 1 && strcmp(argv[1], "topo") == 0)
        return topology(argc, argv);
    int r = parse(argc, argv, &o);
    if (r == 0 && (o.query_gpu || o.query_apps))
        r = parse_format(o.format, &format);
    if (r == 0)
        r = dv_smi_open();
    while (r == 0) {
        r = once(&o, format);
        fflush(stdout);
        if (!o.loop_ms)
            break;
        struct timespec pause = {o.loop_ms / 1000, o.loop_ms % 1000 * 1000000};
        nanosleep(&pause, NULL);
        format.header = false; /* a loop's header stands at its top only */
    }
    return r;
}
