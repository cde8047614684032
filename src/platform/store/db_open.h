/* SPDX-License-Identifier: Apache-2.0 */
/* The one way in which this room opens a database. */
#ifndef DV_DB_OPEN_H
#define DV_DB_OPEN_H

#include <sqlite3.h>

/* As sqlite3_open_v2, whose handle is to be closed also where it fails. */
int dv_db_open(const char *name, int flags, sqlite3 **ret);

#endif
