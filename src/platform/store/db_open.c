/* SPDX-License-Identifier: Apache-2.0 */
#include "db_open.h"

#include <pthread.h>

/* Else each database takes room for 20 pages when it is opened and touches all of it, of which
 * ours use a few: https://www.sqlite.org/c3ref/c_config_covering_index_scan.html,
 * SQLITE_CONFIG_PAGECACHE. Heeded only before the library is used for the first time. */
static void be_frugal(void)
{
    sqlite3_config(SQLITE_CONFIG_PAGECACHE, NULL, 0, 0);
}

int dv_db_open(const char *name, int flags, sqlite3 **ret)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, be_frugal);
    return sqlite3_open_v2(name, ret, flags, NULL);
}
