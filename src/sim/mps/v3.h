/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands of MPS protocol 3, "MODULE VERB [WORD...] [--key=value...] [--flag...]" (NVIDIA's MPS
 * documentation, release 615):
 *
 *     struct dv_mpsv3 c;
 *     dv_mpsv3_parse("namespace set batch --server=training --pinned-memory-limit=4G", &c, &err);
 *
 * Pure: no I/O.
 */
#ifndef DV_SIM_MPS_V3_H
#define DV_SIM_MPS_V3_H

#include "mps/command.h"

#define DV_MPSV3_NAME 65u /* lowercase letters, digits and underscores, up to 64 */
#define DV_MPSV3_LIST 1024u

enum dv_mpsv3_what {
    DV_MPSV3_NOTHING = 0,
    DV_MPSV3_SERVER_CREATE,
    DV_MPSV3_SERVER_DELETE,
    DV_MPSV3_SERVER_LIST,
    DV_MPSV3_SERVER_SET,
    DV_MPSV3_SERVER_GET,
    DV_MPSV3_NAMESPACE_CREATE,
    DV_MPSV3_NAMESPACE_DELETE,
    DV_MPSV3_NAMESPACE_LIST,
    DV_MPSV3_NAMESPACE_SET,
    DV_MPSV3_NAMESPACE_GET,
    DV_MPSV3_CLIENT_LIST,
    DV_MPSV3_CLIENT_GET,
    DV_MPSV3_CLIENT_TERMINATE,
    DV_MPSV3_DEVICE_LIST,
    DV_MPSV3_QUIT,
};

/* What has been said. */
enum {
    DV_MPSV3_HAS_UID = 1,
    DV_MPSV3_HAS_MEMORY = 2,
    DV_MPSV3_HAS_THREADS = 4,
    DV_MPSV3_HAS_PRIORITY = 8,
};

struct dv_mpsv3 {
    enum dv_mpsv3_what what;
    uint32_t has;
    char name[DV_MPSV3_NAME];   /* of the server or namespace, or empty */
    char server[DV_MPSV3_NAME]; /* of a namespace, or to filter by */
    char field[32];
    uint32_t pid;
    uint32_t uid;
    uint64_t bytes;
    uint32_t threads; /* thousandths of a percent */
    int32_t priority;
    bool force, all, csv, header;
    char devices[DV_MPSV3_LIST]; /* comma-separated, empty = all */
};

/* 0, or -EINVAL with what is wrong. */
int dv_mpsv3_parse(const char *line, struct dv_mpsv3 *ret, struct dv_err *err);
bool dv_mpsv3_is_name(const char *text);
/* "4G", "512M", "1024K": the largest unit that says it exactly; "-" for 0. */
void dv_mpsv3_add_bytes(struct dv_str *out, uint64_t bytes);

#endif
