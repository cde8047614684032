/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the daemon remembers over its own death: claims and slices with their owners and processes,
 * and for whom each tenant waited. SQLite, one file STATE/divvyd.db, WAL, STRICT tables,
 * user_version.
 *
 *     r = dv_store_open("/var/lib/divvy", &store, &note, &err);
 *     dv_store_load(store, on_claim, on_process, self, &err);
 *     dv_store_put_claim(store, &row, &err);
 *
 * A file that is no database any more is kept as divvyd.db.corrupt-TIME and never deleted; the
 * daemon starts afresh and `note` says so. A file of a newer divvy is refused. Errors: -ENOSPC
 * (disk full), -EROFS, -EIO ...; the caller goes on without and shows it.
 */
#ifndef DV_STORE_STORE_H
#define DV_STORE_STORE_H

#include "account/usage.h"
#include "base/str.h"
#include "model/slice.h"
#include "model/workload.h"
#include "sys/proc.h"

#define DV_STORE_COMMAND_SIZE 256

struct dv_store;

/* A claim, waiting or granted, and whose it is. */
struct dv_store_claim {
    struct dv_claim claim;
    bool granted;
    struct dv_slice slice; /* when granted */
    struct dv_proc_id owner;
    uint32_t uid;
    int64_t since_unix;
    char command[DV_STORE_COMMAND_SIZE];
    struct dv_workload workload; /* container_id "": none */
};

/* `note` gets one line when something had to be put aside; it stays empty otherwise. */
int dv_store_open(const char *dir, struct dv_store **ret, struct dv_str *note, struct dv_err *err);
void dv_store_close(struct dv_store *store);

typedef void dv_store_on_claim(void *arg, const struct dv_store_claim *row);
typedef void dv_store_on_process(void *arg, uint64_t claim, const struct dv_proc_id *process);

/* Everything, claims before processes. Claims of an earlier boot of the machine are left out:
 * their owners are gone, whatever pids say now. */
int dv_store_load(struct dv_store *store, dv_store_on_claim *on_claim,
                  dv_store_on_process *on_process, void *arg, struct dv_err *err);
/* The lowest id that was never given out; ids are not used twice. */
int dv_store_next_id(struct dv_store *store, uint64_t *ret, struct dv_err *err);

/* Several changes as one. */
int dv_store_begin(struct dv_store *store, struct dv_err *err);
int dv_store_commit(struct dv_store *store, struct dv_err *err);
void dv_store_rollback(struct dv_store *store);

/* Insert or replace; each is safe to repeat. */
int dv_store_put_claim(struct dv_store *store, const struct dv_store_claim *row,
                       struct dv_err *err);
/* With its processes. */
int dv_store_drop_claim(struct dv_store *store, uint64_t id, struct dv_err *err);
/* Drops all claims and processes: before a complete rewrite, within a transaction. */
int dv_store_drop_all_claims(struct dv_store *store, struct dv_err *err);
int dv_store_put_process(struct dv_store *store, uint64_t claim, const struct dv_proc_id *process,
                         struct dv_err *err);
int dv_store_drop_process(struct dv_store *store, uint64_t claim, const struct dv_proc_id *process,
                          struct dv_err *err);

/*
 * Texts that are kept as they are, by name: layout files, and what GPUs were before a change that
 * is under way. Each write is a transaction of its own, or part of the one that is open.
 */
#define DV_STORE_KEY_SIZE 128
struct dv_store_document {
    char key[DV_STORE_KEY_SIZE];
    char name[256]; /* the file it came from */
    char config[64];
    int64_t unix_time;
    const char *text; /* a loan for the call */
    size_t len;
};
typedef void dv_store_on_document(void *arg, const struct dv_store_document *document);
int dv_store_put_document(struct dv_store *store, const struct dv_store_document *document,
                          struct dv_err *err);
int dv_store_drop_document(struct dv_store *store, const char *key, struct dv_err *err);
/* All of them, by key. */
int dv_store_load_documents(struct dv_store *store, dv_store_on_document *on_document, void *arg,
                            struct dv_err *err);

/* Where a tenant's time went, one figure a row. */
struct dv_store_wait {
    char tenant[DV_TENANT_SIZE];
    char holder[DV_TENANT_SIZE]; /* "" where the kind has none */
    char kind[16];               /* turn, queue: it waited for holder; held, run, lost */
    uint64_t ns;
    int64_t since_unix; /* when the row began */
};
typedef void dv_store_on_wait(void *arg, const struct dv_store_wait *row);
int dv_store_put_wait(struct dv_store *store, const struct dv_store_wait *row, struct dv_err *err);
int dv_store_load_waits(struct dv_store *store, dv_store_on_wait *on_wait, void *arg,
                        struct dv_err *err);

/* What a workload did when it ran alone (`divvy baseline`), by tenant and name. */
#define DV_STORE_BASELINE_NAME 64
struct dv_store_baseline {
    char tenant[DV_TENANT_SIZE];
    char name[DV_STORE_BASELINE_NAME];
    char command[DV_STORE_COMMAND_SIZE];
    char model[DV_GPU_NAME_SIZE]; /* the GPU's product name */
    char profile[DV_MIG_NAME];    /* of a MIG device; "" on a whole GPU */
    enum dv_mode mode;
    uint64_t memory_bytes;
    uint32_t compute;
    int64_t unix_time;
    uint64_t launches;
    uint64_t wall_ns; /* in which a process of it used the GPU */
    uint64_t busy_ns; /* GPU time */
    uint64_t wait_ns; /* its launches waited for their turns */
};
typedef void dv_store_on_baseline(void *arg, const struct dv_store_baseline *row);
int dv_store_put_baseline(struct dv_store *store, const struct dv_store_baseline *row,
                          struct dv_err *err);
/* tenant NULL: of all; name NULL: all names. In order. */
int dv_store_load_baselines(struct dv_store *store, const char *tenant, const char *name,
                            dv_store_on_baseline *on_baseline, void *arg, struct dv_err *err);
int dv_store_drop_baseline(struct dv_store *store, const char *tenant, const char *name,
                           struct dv_err *err);

#endif
