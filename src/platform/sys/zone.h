/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system's time zone database, as a value (base/zone.h). The files are read as RFC 8536 says
 * (TZif 1 to 4, the rule at the end included); neither TZ nor libc's idea of local time is touched,
 * so that a bill of one place can be made while the daemon keeps another's time.
 *
 *     struct dv_zone *zone = malloc(sizeof *zone);
 *     r = dv_zone_load(NULL, "Europe/Berlin", zone, &err);
 */
#ifndef DV_SYS_ZONE_H
#define DV_SYS_ZONE_H

#include "base/zone.h"

/*
 * dir NULL: $TZDIR, else /usr/share/zoneinfo. "UTC" is known without any file. 0; -EINVAL: no name
 * of a zone; -ENOENT with the nearest name: no such zone, or no database; -EBADMSG: the file is
 * broken; -E2BIG; other errors of reading.
 */
int dv_zone_load(const char *dir, const char *name, struct dv_zone *ret, struct dv_err *err);

/* The bytes of a TZif file. -EBADMSG, -E2BIG with a message. */
int dv_zone_decode(const char *name, const void *data, size_t size, struct dv_zone *ret,
                   struct dv_err *err);

#endif
