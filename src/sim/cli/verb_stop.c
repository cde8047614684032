/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { SOCKET };

static int stop_verb(const struct dv_simcli_args *args)
{
    char socket[DV_SIMCLI_PATH], byte;
    struct dv_err err = {0};
    int fd, r;

    if (dv_simcli_socket(args->option[SOCKET], socket, &err) < 0)
        return dv_simcli_fail(DV_SIMCLI_FAILED, "%s", err.msg);
    fd = dv_simcli_connect(socket, &err);
    if (fd < 0)
        return dv_simcli_fail(DV_SIMCLI_UNAVAILABLE, "%s", err.msg);
    r = dv_simcli_request(fd, DV_SIM_CTL_STOP, NULL, 0, NULL, NULL);
    /* It hangs up as the last thing it does. */
    while (r == 0 && read(fd, &byte, 1) > 0)
        ;
    close(fd);
    return r < 0 ? dv_simcli_fail(DV_SIMCLI_FAILED, "%s: %s", socket, strerror(-r)) : DV_SIMCLI_OK;
}

const struct dv_simcli_verb dv_simcli_verb_stop = {
    .name = "stop",
    .synopsis = "[OPTION]...",
    .about = "Stop a simulated node",
    .examples = "  divvy-sim stop\n"
                "  divvy-sim stop --socket /run/lab.sock\n",
    .options = {[SOCKET] = {"--socket", "PATH", "where it listens ($DIVVY_SIM_SOCKET)"}},
    .run = stop_verb,
};
