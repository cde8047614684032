/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Request bodies: JSON in, checked structs out. Everything is refused that is not exactly right:
 * unknown keys (with a suggestion), wrong types, numbers out of range, text that is not UTF-8.
 * Pure functions; tests/fuzz covers them.
 */
#ifndef DV_SERVICES_REQUEST_H
#define DV_SERVICES_REQUEST_H

#include "base/err.h"
#include "model/claim.h"
#include "model/workload.h"

#define DV_REQUEST_COMMAND_SIZE 256

struct dv_request_claim {
    struct dv_claim claim; /* tenant "" when not said */
    char command[DV_REQUEST_COMMAND_SIZE];
};

/* body has `size` bytes. 0, or -EINVAL with one line. */
int dv_request_claim(const char *body, size_t size, struct dv_request_claim *ret,
                     struct dv_err *err);
/* 0 in *ret_memory or *ret_compute: not said; at least one is. */
int dv_request_limit(const char *body, size_t size, uint64_t *ret_memory, uint32_t *ret_compute,
                     struct dv_err *err);
/* A layout: its file's text, and how it is to be applied. */
struct dv_request_layout {
    char name[256];  /* "" when not said */
    char config[64]; /* "" when not said */
    char *text;      /* malloc'ed; NULL when not said */
    size_t len;
    int when; /* 0 idle, 1 wait, 2 evict */
    uint64_t timeout_ns;
};
void dv_request_layout_done(struct dv_request_layout *layout);
/* needs_text: whether a file must be there (plan, apply) or must not (undo). */
int dv_request_layout(const char *body, size_t size, bool needs_text, struct dv_request_layout *ret,
                      struct dv_err *err);
/* A bill, or another question to the ledger; "": not said. */
#define DV_REQUEST_TIME_SIZE 48
struct dv_request_bill {
    char from[DV_REQUEST_TIME_SIZE], to[DV_REQUEST_TIME_SIZE], timezone[64];
    char by[16], basis[16], idle[16];
    char tenant[DV_TENANT_SIZE], gpu[DV_UUID_SIZE];
    char pod[DV_TENANT_SIZE + DV_WORKLOAD_NAME_SIZE]; /* "namespace/name" */
    char price_name[256];
    char *price_text; /* malloc'ed; NULL when not said */
    size_t price_len;
    char path[1024]; /* of a backup */
};
void dv_request_bill_done(struct dv_request_bill *bill);
int dv_request_bill(const char *body, size_t size, struct dv_request_bill *ret, struct dv_err *err);
/* An absolute path. */
int dv_request_backup(const char *body, size_t size, struct dv_request_bill *ret,
                      struct dv_err *err);
struct dv_request_correction {
    char at[DV_REQUEST_TIME_SIZE];
    char gpu[DV_UUID_SIZE]; /* or its beginning */
    char tenant[DV_TENANT_SIZE];
    char to[DV_TENANT_SIZE];            /* "": nobody, overhead */
    uint64_t busy_ns, reserved_idle_ns; /* one of them at least */
    char reason[256];
};
int dv_request_correction(const char *body, size_t size, struct dv_request_correction *ret,
                          struct dv_err *err);
struct dv_request_rename {
    char old[DV_TENANT_SIZE], new_name[DV_TENANT_SIZE];
    char from[DV_REQUEST_TIME_SIZE]; /* "": now */
};
int dv_request_rename(const char *body, size_t size, struct dv_request_rename *ret,
                      struct dv_err *err);
/* Has no control characters. */
bool dv_request_is_plain(const char *text);
/* A baseline to be kept: of which claim, under which name ("" when not said). */
int dv_request_baseline(const char *body, size_t size, uint64_t *ret_claim, char ret_name[64],
                        struct dv_err *err);
/* An empty body is SIGTERM. */
int dv_request_kill(const char *body, size_t size, int *ret_signo, struct dv_err *err);

#endif
