/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTPS exchanges on an event loop: libcurl's types and codes stop here. Private to the room;
 * others use kube/client.h and kube/watch.h.
 *
 * Every callback is made from the loop, never from inside a call of libcurl or of this file, so it
 * may start and stop any transfer. No thread is made here; libcurl makes one for the time that it
 * takes to look up a name, so that the loop does not wait for the resolver (none for an address in
 * numbers, which is what a pod has).
 */
#ifndef DV_KUBE_TRANSFER_H
#define DV_KUBE_TRANSFER_H

#include "base/str.h"
#include "kube/config.h"
#include "sys/loop.h"

#define DV_KUBE_BODY_MAX (8u << 20) /* bytes of an answer, of a line of a watch */

struct dv_kube_pump; /* all transfers of a client */
struct dv_kube_transfer;

/* How it went; lent to on_done. */
struct dv_kube_outcome {
    int error;              /* 0: the server has answered, whatever it said; -EHOSTUNREACH (no
                               connection), -EPROTO (TLS, HTTP), -ETIMEDOUT, -E2BIG, -EPIPE (cut off
                               in the middle), -ENOMEM */
    unsigned status;        /* of HTTP; 0: no answer */
    bool unsent;            /* the server cannot have seen the request */
    uint32_t retry_after_s; /* what the server asked for; 0: nothing */
    const char *message;    /* when error is not 0 */
    const struct dv_str *body;
};

struct dv_kube_transfer_spec {
    const char *method; /* "GET" */
    const char *path;
    const char *content_type; /* of the body; or NULL */
    const char *body;         /* copied; or NULL */
    uint32_t timeout_ms;      /* for the whole */
    /* A stream's bytes: *in is all that was not taken yet. The callee takes from its front with
     * dv_kube_transfer_take(); more than DV_KUBE_BODY_MAX left ends the transfer with -E2BIG.
     * Called with an empty one when the answer's head has come. NULL: the body is kept for on_done.
     * An answer other than 200 is always kept. */
    void (*on_data)(void *arg, const struct dv_str *in);
    /* Once; the transfer is freed when it returns. Not after dv_kube_transfer_stop(). */
    void (*on_done)(void *arg, const struct dv_kube_outcome *outcome);
    void *arg;
};

/* The config is lent until the pump is freed. */
int dv_kube_pump_new(struct dv_loop *loop, const struct dv_kube_config *config,
                     struct dv_kube_pump **ret, struct dv_err *err);
/* All transfers must have ended or been stopped. Accepts NULL. */
void dv_kube_pump_free(struct dv_kube_pump *pump);
/* The token is to be read anew before the next transfer: the server did not take it. */
void dv_kube_pump_forget_token(struct dv_kube_pump *pump);

/* 0, -ENOMEM, or what reading the token file gave. */
int dv_kube_transfer_start(struct dv_kube_pump *pump, const struct dv_kube_transfer_spec *spec,
                           struct dv_kube_transfer **ret, struct dv_err *err);
/* Ends it without a callback. Accepts NULL. */
void dv_kube_transfer_stop(struct dv_kube_transfer *transfer);
void dv_kube_transfer_take(struct dv_kube_transfer *transfer, size_t n);

#endif
