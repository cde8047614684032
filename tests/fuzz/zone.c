/* SPDX-License-Identifier: Apache-2.0 */
/* Time zone files: any bytes are a zone in order or an error; a zone's days tile time. */
#include "sys/zone.h"

#include <errno.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct dv_zone z;
    struct dv_err err = {{0}};
    int r = dv_zone_decode("X", data, size, &z, &err);
    if (r < 0) {
        if (!err.msg[0])
            abort();
        return 0;
    }
    if (dv_zone_check(&z, NULL) < 0)
        abort();
    for (int32_t day = 20000; day < 20400; day++)
        if (dv_zone_day_start(&z, day) > dv_zone_day_start(&z, day + 1))
            abort();
    return 0;
}
