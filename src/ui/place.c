/* SPDX-License-Identifier: Apache-2.0 */
#include "place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int dv_place_library(const char *name, char ret[DV_PLACE_MAX])
{
    char self[DV_PLACE_MAX];
    const char *set = getenv("DIVVY_LIBDIR");
    ret[0] = 0;
    int n;
    if (set && *set) {
        n = snprintf(ret, DV_PLACE_MAX, "%s/%s", set, name);
    } else {
        ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
        if (len < 0)
            return -errno;
        self[len] = 0;
        for (int up = 0; up < 2; up++) {
            char *slash = strrchr(self, '/');
            if (slash)
                *slash = 0;
        }
        n = snprintf(ret, DV_PLACE_MAX, "%s/lib/divvy/%s", self, name);
    }
    if (n < 0 || n >= DV_PLACE_MAX) {
        ret[0] = 0;
        return -ENAMETOOLONG;
    }
    return 0;
}
