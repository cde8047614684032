/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "base/units.h"
#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Those from XID to RESET_HIGH_WATER say what; one of them at a time. */
enum {
    GPU,
    XID,
    NVML_ERROR,
    NVML_HANG,
    CUDA_ERROR,
    CLEAR,
    FAULT,
    LEAK,
    ECC,
    REMAP_FAILURE,
    GONE,
    RESET,
    RESET_HIGH_WATER,
    SOCKET
};

/* "FUNCTION=NUMBER[:TIMES]" into name, a, b. 0 or an exit status. */
static int parse_call(const char *option, const char *text, struct dv_sim_inject *j)
{
    char number[32];
    const char *equals = strchr(text, '=');
    const char *colon = equals ? strchr(equals, ':') : NULL;
    size_t len = equals ? (size_t)(equals - text) : 0;
    size_t digits = !equals ? 0 : colon ? (size_t)(colon - equals - 1) : strlen(equals + 1);
    struct dv_err err = {0};
    int64_t n;

    if (!len || len >= sizeof(j->name) || !digits || digits >= sizeof(number))
        return dv_simcli_fail(DV_SIMCLI_USAGE, "%s %.64s: FUNCTION=NUMBER[:TIMES] is wanted here",
                              option, text);
    memcpy(j->name, text, len);
    memcpy(number, equals + 1, digits);
    number[digits] = '\0';
    if (dv_units_parse_integer(number, option, 0, UINT32_MAX, &n, &err) < 0)
        return dv_simcli_fail(DV_SIMCLI_USAGE, "%s", err.msg);
    j->a = (uint64_t)n;
    if (!colon)
        return 0;
    if (dv_units_parse_integer(colon + 1, option, 1, UINT32_MAX, &n, &err) < 0)
        return dv_simcli_fail(DV_SIMCLI_USAGE, "%s", err.msg);
    j->b = (uint64_t)n;
    return 0;
}

static int parse_number(const char *option, const char *text, int64_t max, uint64_t *ret)
{
    struct dv_err err = {0};
    int64_t n;

    if (dv_units_parse_integer(text, option, 0, max, &n, &err) < 0)
        return dv_simcli_fail(DV_SIMCLI_USAGE, "%s", err.msg);
    *ret = (uint64_t)n;
    return 0;
}

static int parse_bytes(const char *option, const char *text, uint64_t *ret)
{
    struct dv_err err = {0};

    return dv_units_parse_bytes(text, ret, &err) < 0
               ? dv_simcli_fail(DV_SIMCLI_USAGE, "%s: %s", option, err.msg)
               : 0;
}

/* These happen to one GPU. */
static bool needs_gpu(uint32_t kind)
{
    return kind == DV_SIM_INJECT_XID || kind == DV_SIM_INJECT_LEAK || kind == DV_SIM_INJECT_ECC ||
           kind == DV_SIM_INJECT_REMAP_FAILURE || kind == DV_SIM_INJECT_GONE ||
           kind == DV_SIM_INJECT_RESET || kind == UINT32_MAX;
}

static int parse(const struct dv_simcli_args *args, struct dv_sim_inject *j)
{
    static const uint32_t kinds[] = {[XID] = DV_SIM_INJECT_XID,
                                     [NVML_ERROR] = DV_SIM_INJECT_NVML_ERROR,
                                     [NVML_HANG] = DV_SIM_INJECT_NVML_HANG,
                                     [CUDA_ERROR] = DV_SIM_INJECT_CUDA_ERROR,
                                     [CLEAR] = DV_SIM_INJECT_CLEAR,
                                     [FAULT] = DV_SIM_INJECT_FAULT,
                                     [LEAK] = DV_SIM_INJECT_LEAK,
                                     [ECC] = DV_SIM_INJECT_ECC,
                                     [REMAP_FAILURE] = DV_SIM_INJECT_REMAP_FAILURE,
                                     [GONE] = DV_SIM_INJECT_GONE,
                                     [RESET] = DV_SIM_INJECT_RESET};
    uint64_t gpu = UINT32_MAX;
    int r = 0;

    for (int i = XID; i <= RESET_HIGH_WATER; i++) {
        if (!args->option[i])
            continue;
        if (j->kind)
            return dv_simcli_fail(DV_SIMCLI_USAGE, "one injection at a time");
        if (i == RESET_HIGH_WATER)
            j->kind = UINT32_MAX;
        else
            j->kind = kinds[i];
        if (i == XID)
            r = parse_number("--xid", args->option[i], 1000, &j->a);
        else if (i == FAULT)
            r = parse_number("--fault", args->option[i], INT32_MAX, &j->a);
        else if (i == ECC)
            r = parse_number("--ecc", args->option[i], 1000000, &j->a);
        else if (i == LEAK)
            r = parse_bytes("--leak", args->option[i], &j->a);
        else if (i < CLEAR)
            r = parse_call(dv_simcli_verb_inject.options[i].name, args->option[i], j);
        if (r)
            return r;
    }
    if (!j->kind)
        return dv_simcli_fail(DV_SIMCLI_USAGE,
                              "what is to be injected? see 'divvy-sim inject --help'");
    if (args->option[GPU])
        r = parse_number("--gpu", args->option[GPU], DV_SIM_GPUS_MAX - 1, &gpu);
    j->gpu = (uint32_t)gpu;
    if (r == 0 && gpu == UINT32_MAX && needs_gpu(j->kind))
        return dv_simcli_fail(DV_SIMCLI_USAGE, "--gpu N is wanted with this");
    return r;
}

static int inject_verb(const struct dv_simcli_args *args)
{
    struct dv_sim_inject j = {0};
    char socket[DV_SIMCLI_PATH];
    struct dv_err err = {0};
    int fd, r = parse(args, &j);

    if (r)
        return r;
    if (dv_simcli_socket(args->option[SOCKET], socket, &err) < 0)
        return dv_simcli_fail(DV_SIMCLI_FAILED, "%s", err.msg);
    fd = dv_simcli_connect(socket, &err);
    if (fd < 0)
        return dv_simcli_fail(DV_SIMCLI_UNAVAILABLE, "%s", err.msg);
    if (j.kind == UINT32_MAX)
        r = dv_simcli_request(fd, DV_SIM_CTL_RESET_HIGH_WATER, &j.gpu, sizeof(j.gpu), NULL, NULL);
    else
        r = dv_simcli_request(fd, DV_SIM_CTL_INJECT, &j, sizeof(j), NULL, NULL);
    close(fd);
    if (r == -ENODEV)
        return dv_simcli_fail(DV_SIMCLI_USAGE, "the node has no GPU %u", j.gpu);
    if (r == -ESRCH)
        return dv_simcli_fail(DV_SIMCLI_FAILED, "process %" PRIu64 " has no context to fail", j.a);
    if (r == -ENOBUFS)
        return dv_simcli_fail(DV_SIMCLI_FAILED, "GPU %u has not so much free memory", j.gpu);
    if (r == -EOPNOTSUPP)
        return dv_simcli_fail(DV_SIMCLI_FAILED, "GPU %u has no such thing", j.gpu);
    if (r == -ENOSPC)
        return dv_simcli_fail(DV_SIMCLI_FAILED, "too many injections; --clear forgets them");
    return r < 0 ? dv_simcli_fail(DV_SIMCLI_FAILED, "%s: %s", socket, strerror(-r)) : DV_SIMCLI_OK;
}

const struct dv_simcli_verb dv_simcli_verb_inject = {
    .name = "inject",
    .synopsis = "[--gpu N] WHAT [OPTION]...",
    .about = "Make a simulated GPU or its driver fail",
    .more = "CODE is NVIDIA's number: an nvmlReturn_t or a CUresult. Without TIMES it stays until\n"
            "--clear. XID 79 takes the GPU off the bus until --clear.",
    .examples = "  divvy-sim inject --gpu 0 --xid 79\n"
                "  divvy-sim inject --gpu 1 --nvml-error nvmlDeviceGetMemoryInfo=999:3\n"
                "  divvy-sim inject --nvml-hang '*=0'         every NVML call, for ever\n"
                "  divvy-sim inject --cuda-error cuMemAlloc_v2=2:1\n"
                "  divvy-sim inject --fault 4711              an illegal address in that process\n"
                "  divvy-sim inject --gpu 0 --leak 3GiB       used, and no process listed with it\n"
                "  divvy-sim inject --gpu 0 --reset           as after a reboot\n"
                "  divvy-sim inject --clear\n",
    .options = {[GPU] = {"--gpu", "N", "only this GPU (default: all)"},
                [XID] = {"--xid", "N", "an XID event"},
                [NVML_ERROR] = {"--nvml-error", "FUNC=CODE[:TIMES]", "what an NVML call answers"},
                [NVML_HANG] = {"--nvml-hang", "FUNC=MS", "how long one takes; 0: for ever"},
                [CUDA_ERROR] = {"--cuda-error", "FUNC=CODE[:TIMES]", "what a CUDA call answers"},
                [CLEAR] = {"--clear", NULL, "forget all injections"},
                [FAULT] = {"--fault", "PID", "an illegal address in a process' kernels"},
                [LEAK] = {"--leak", "BYTES", "memory that is used by nobody"},
                [ECC] = {"--ecc", "N", "uncorrectable memory errors: XID 48, rows to remap"},
                [REMAP_FAILURE] = {"--remap-failure", NULL, "no row is left to remap to"},
                [GONE] = {"--gone", NULL,
                          "no driver counts the GPU any more, until --reset, --clear"},
                [RESET] = {"--reset", NULL, "the GPU comes up anew, as after a reboot"},
                [RESET_HIGH_WATER] = {"--reset-high-water", NULL,
                                      "measure the most memory used from here on"},
                [SOCKET] = {"--socket", "PATH", "where the node listens ($DIVVY_SIM_SOCKET)"}},
    .run = inject_verb,
};
