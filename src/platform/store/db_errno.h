/* SPDX-License-Identifier: Apache-2.0 */
/* What SQLite's result codes mean as an errno. */
#ifndef DV_DB_ERRNO_H
#define DV_DB_ERRNO_H

/* Negative errno of a primary or extended code; -EIO for what has no better one. */
int dv_db_errno(int code);

#endif
