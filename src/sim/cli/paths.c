/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int dv_simcli_libdir(char ret[DV_SIMCLI_PATH])
{
    const char *given = getenv("DIVVY_LIBDIR");
    char exe[PATH_MAX];
    ssize_t n;
    char *slash;

    if (given && given[0])
        return snprintf(ret, DV_SIMCLI_PATH, "%s", given) < DV_SIMCLI_PATH ? 0 : -ENAMETOOLONG;
    n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    if (n < 0)
        return -errno;
    exe[n] = '\0';
    for (int up = 0; up < 2; up++) {
        slash = strrchr(exe, '/');
        if (!slash)
            return -ENOENT;
        *slash = '\0';
    }
    return snprintf(ret, DV_SIMCLI_PATH, "%s/lib/divvy", exe) < DV_SIMCLI_PATH ? 0 : -ENAMETOOLONG;
}

/* A directory that is the user's alone: a socket in one that others may write could be theirs. */
static int own_directory(const char *path, struct dv_err *err)
{
    struct stat st;

    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return dv_err_set(err, -errno, "%s: %s", path, strerror(errno));
    if (lstat(path, &st) < 0)
        return dv_err_set(err, -errno, "%s: %s", path, strerror(errno));
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || st.st_mode & (S_IWGRP | S_IWOTH))
        return dv_err_set(err, -EPERM, "%s: not a directory of yours alone; give --socket PATH",
                          path);
    return 0;
}

int dv_simcli_socket(const char *given, char ret[DV_SIMCLI_PATH], struct dv_err *err)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    char directory[512];
    int r;

    if (!given)
        given = getenv(DV_SIM_SOCKET_ENV);
    if (given && given[0]) {
        if (snprintf(ret, DV_SIMCLI_PATH, "%s", given) >= DV_SIMCLI_PATH)
            return dv_err_set(err, -ENAMETOOLONG, "the socket's path is too long");
        return 0;
    }
    if (runtime && runtime[0] == '/' && strlen(runtime) < 400)
        snprintf(directory, sizeof(directory), "%s/divvy-sim", runtime);
    else
        snprintf(directory, sizeof(directory), "/tmp/divvy-sim-%u", (unsigned)geteuid());
    r = own_directory(directory, err);
    if (r < 0)
        return r;
    snprintf(ret, DV_SIMCLI_PATH, "%s/sim.sock", directory);
    return 0;
}

/* ---- the environment of programs ---- */

static char *prepend(const char *first, const char *name, const char *otherwise)
{
    const char *old = getenv(name);
    char *value;

    if (!old || !old[0])
        old = otherwise;
    if (asprintf(&value, "%s%s%s", first, old ? ":" : "", old ? old : "") < 0)
        return NULL;
    return value;
}

int dv_simcli_env_fill(const char *socket, struct dv_simcli_env *ret, struct dv_err *err)
{
    char libdir[DV_SIMCLI_PATH], sim[DV_SIMCLI_PATH + 8], bin[DV_SIMCLI_PATH + 12];
    char *absolute = realpath(socket, NULL);
    int r = dv_simcli_libdir(libdir);

    if (r < 0) {
        free(absolute);
        return dv_err_set(err, r, "cannot tell where divvy's libraries are: %s", strerror(-r));
    }
    snprintf(sim, sizeof(sim), "%s/sim", libdir);
    snprintf(bin, sizeof(bin), "%s/bin", sim);
    *ret = (struct dv_simcli_env){{{DV_SIM_SOCKET_ENV, absolute ? absolute : strdup(socket)},
                                   {"LD_LIBRARY_PATH", prepend(sim, "LD_LIBRARY_PATH", NULL)},
                                   {"PATH", prepend(bin, "PATH", "/usr/local/bin:/usr/bin:/bin")}}};
    for (size_t i = 0; i < DV_ARRAY_SIZE(ret->var); i++) {
        if (!ret->var[i].value) {
            dv_simcli_env_done(ret);
            return dv_err_set(err, -ENOMEM, "out of memory");
        }
    }
    return 0;
}

void dv_simcli_env_done(struct dv_simcli_env *env)
{
    for (size_t i = 0; i < DV_ARRAY_SIZE(env->var); i++) {
        free(env->var[i].value);
        env->var[i].value = NULL;
    }
}
