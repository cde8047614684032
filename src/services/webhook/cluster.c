/* SPDX-License-Identifier: Apache-2.0 */
#include "webhook/cluster.h"

#include "base/str.h"
#include "certs/certs.h"
#include "kube/client.h"
#include "kube/object.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EVERY_MS 60000u
#define SOON_MS 1000u /* after somebody else was faster */
#define N_KEYS 3

static const char *const keys[N_KEYS] = {"ca.crt", "tls.crt", "tls.key"};

struct dv_webhook_cluster {
    struct dv_webhook_cluster_options options;
    struct dv_loop *loop;
    struct dv_loop_source *timer;
    struct dv_kube_config *config;
    struct dv_kube_client *client;
    struct dv_webhook *webhook;
    const struct dv_certs *certs;
    /* What the Secret had when we last agreed with it, and what is on its way there: the three
     * texts one after the other, or NULL. */
    char *seen, *putting;
    char *replaced; /* which bundle was in the configuration before that of somebody else's files */
    uint64_t changes, sent,
        told; /* of our certificates; as of when the bundle was sent, and known */
    bool busy, again;
    int failing; /* the error that was logged */
};

static void look(struct dv_webhook_cluster *c);

/* ---- texts ---------------------------------------------------------------------------------- */

static void forget(char **text)
{
    if (*text)
        explicit_bzero(*text, strlen(*text));
    free(*text);
    *text = NULL;
}

static void ours(const struct dv_webhook_cluster *c, const char *ret[N_KEYS])
{
    ret[0] = dv_certs_bundle(c->certs);
    ret[1] = dv_certs_certificate(c->certs);
    ret[2] = dv_certs_key(c->certs);
}

static char *join(const char *const texts[N_KEYS])
{
    struct dv_str s = {0};
    for (size_t i = 0; i < N_KEYS; i++)
        dv_str_add(&s, texts[i]);
    return dv_str_steal(&s);
}

/* False when one is missing: a Secret that is new, or not ours. */
static bool read_secret(const struct dv_kube_secret *secret, const char *ret[N_KEYS])
{
    for (size_t k = 0; k < N_KEYS; k++) {
        ret[k] = NULL;
        for (uint32_t i = 0; secret && i < secret->n; i++)
            if (!strcmp(secret->entries[i].key, keys[k]) && secret->entries[i].len)
                ret[k] = secret->entries[i].data;
        if (!ret[k])
            return false;
    }
    return true;
}

/* ---- a round: the Secret, then the configuration -------------------------------------------- */

static void end(struct dv_webhook_cluster *c, int error, const char *message)
{
    char value[DV_LOG_VALUE];
    bool late = error == -ESTALE || error == -EEXIST;
    if (error && !late && error != c->failing)
        dv_log(DV_LOG_WARNING, "webhook.cluster", "error=%s", dv_log_value(message, value));
    if (!error && c->failing)
        dv_log(DV_LOG_INFO, "webhook.cluster", "event=recovered");
    if (!late)
        c->failing = error;
    c->busy = false;
    if (late || c->again)
        dv_loop_timer_set(c->timer, late ? SOON_MS : 0, c->options.every_ms);
    c->again = false;
}

static void on_configured(void *arg, const struct dv_kube_reply *reply)
{
    struct dv_webhook_cluster *c = arg;
    if (!reply->error)
        c->told = c->sent;
    if (!reply->error && c->sent == c->changes)
        dv_webhook_published(c->webhook);
    end(c, reply->error, reply->message);
}

static void configure(struct dv_webhook_cluster *c)
{
    if (!c->options.configuration) {
        end(c, 0, "");
        return;
    }
    c->sent = c->changes;
    int r = dv_kube_webhook_set_ca(c->client, c->options.configuration, dv_certs_bundle(c->certs),
                                   c->options.external && c->told == c->changes,
                                   c->options.external ? &c->replaced : NULL, on_configured, c);
    if (r < 0)
        end(c, r, strerror(-r));
}

static void on_put(void *arg, const struct dv_kube_reply *reply)
{
    struct dv_webhook_cluster *c = arg;
    if (reply->error) {
        forget(&c->putting);
        end(c, reply->error, reply->message);
        return;
    }
    forget(&c->seen);
    c->seen = c->putting;
    c->putting = NULL;
    configure(c);
}

static void put(struct dv_webhook_cluster *c, const struct dv_kube_secret *old)
{
    const char *texts[N_KEYS];
    struct dv_kube_secret_entry entries[N_KEYS];
    struct dv_kube_secret secret = {.n = N_KEYS, .entries = entries};
    ours(c, texts);
    for (size_t i = 0; i < N_KEYS; i++)
        entries[i] = (struct dv_kube_secret_entry){keys[i], texts[i], strlen(texts[i])};
    snprintf(secret.namespace, sizeof secret.namespace, "%s", c->options.namespace);
    snprintf(secret.name, sizeof secret.name, "%s", c->options.secret);
    if (old) {
        memcpy(secret.type, old->type, sizeof secret.type);
        memcpy(secret.version, old->version, sizeof secret.version);
    }
    c->putting = join(texts);
    int r = c->putting ? dv_kube_secret_put(c->client, &secret, on_put, c, NULL) : -ENOMEM;
    if (r < 0) {
        forget(&c->putting);
        end(c, r, strerror(-r));
    }
}

/* What somebody else has written. True: it is ours now. */
static bool adopt(struct dv_webhook_cluster *c, const char *const texts[N_KEYS])
{
    struct dv_err err = {{0}};
    char value[DV_LOG_VALUE];
    if (dv_webhook_adopt(c->webhook, texts[0], texts[1], texts[2], &err) == 0) {
        c->changes++;
        dv_log(DV_LOG_INFO, "webhook.certificate", "event=taken_over secret=%s/%s",
               c->options.namespace, c->options.secret);
        return true;
    }
    dv_log(DV_LOG_WARNING, "webhook.certificate", "event=replaced secret=%s/%s reason=%s",
           c->options.namespace, c->options.secret, dv_log_value(err.msg, value));
    return false;
}

static void on_secret(void *arg, const struct dv_kube_reply *reply,
                      const struct dv_kube_secret *secret)
{
    struct dv_webhook_cluster *c = arg;
    const char *there[N_KEYS], *own[N_KEYS];
    if (!secret && reply->error != -ENOENT) {
        end(c, reply->error, reply->message);
        return;
    }
    ours(c, own);
    bool whole = read_secret(secret, there);
    char *theirs = whole ? join(there) : NULL, *mine = join(own);
    bool same = theirs && mine && !strcmp(theirs, mine);
    bool news = theirs && !same && (!c->seen || strcmp(theirs, c->seen) != 0);
    bool agreed = same || (news && adopt(c, there));
    if (agreed) {
        forget(&c->seen);
        c->seen = theirs;
        theirs = NULL;
    }
    forget(&theirs);
    forget(&mine);
    if (agreed)
        configure(c);
    else
        put(c, secret);
}

static void look(struct dv_webhook_cluster *c)
{
    if (c->busy) {
        c->again = true;
        return;
    }
    c->busy = true;
    if (!c->options.secret) {
        configure(c);
        return;
    }
    int r = dv_kube_secret_get(c->client, c->options.namespace, c->options.secret, on_secret, c);
    if (r < 0)
        end(c, r, strerror(-r));
}

static void on_timer(void *arg)
{
    look(arg);
}

/* ---- life ----------------------------------------------------------------------------------- */

void dv_webhook_cluster_changed(void *arg, const struct dv_certs *certs)
{
    struct dv_webhook_cluster *c = arg;
    c->certs = certs;
    c->changes++;
    if (c->webhook)
        look(c);
}

int dv_webhook_cluster_new(struct dv_loop *loop, const struct dv_webhook_cluster_options *options,
                           struct dv_webhook_cluster **ret, struct dv_err *err)
{
    struct dv_webhook_cluster *c = calloc(1, sizeof *c);
    if (!c)
        return dv_err_set(err, -ENOMEM, "out of memory");
    c->options = *options;
    c->options.every_ms = options->every_ms ? options->every_ms : EVERY_MS;
    c->loop = loop;
    int r = options->kubeconfig ? dv_kube_config_read(options->kubeconfig, false, &c->config, err)
                                : dv_kube_config_in_cluster(NULL, &c->config, err);
    if (r == 0)
        r = dv_kube_client_new(loop, c->config, dv_clock_now() ^ (uint64_t)getpid(), &c->client,
                               err);
    if (r < 0) {
        dv_webhook_cluster_free(c);
        return r;
    }
    *ret = c;
    return 0;
}

int dv_webhook_cluster_start(struct dv_webhook_cluster *c, struct dv_webhook *webhook,
                             struct dv_err *err)
{
    int r =
        dv_loop_timer(c->loop, c->options.every_ms, c->options.every_ms, on_timer, c, &c->timer);
    if (r < 0)
        return dv_err_set(err, r, "cannot start a timer: %s", strerror(-r));
    c->webhook = webhook;
    look(c);
    return 0;
}

void dv_webhook_cluster_free(struct dv_webhook_cluster *c)
{
    if (!c)
        return;
    dv_kube_client_free(c->client);
    dv_kube_config_free(c->config);
    dv_loop_remove(c->timer);
    forget(&c->seen);
    forget(&c->putting);
    free(c->replaced);
    free(c);
}
