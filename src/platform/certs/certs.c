/* SPDX-License-Identifier: Apache-2.0 */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Authorities in the bundle beside the newest. Among them must be those of all that is served, by
 * whomever: each of many replicas may have made one. */
#define OTHERS_MAX (DV_CERTS_BUNDLE_MAX - 1)
#define EXTERNAL_TICK_S 5u

struct dv_certs {
    struct dv_certs_policy policy;
    char *folder; /* or NULL */
    char *bundle;
    struct dv_certs_pair current, next; /* next.key NULL: there is none */
    int64_t published_at;               /* when next's bundle was known to be; 0: not yet */
    int64_t wait_until; /* somebody else has prepared the next, which we shall adopt */
};

static bool is_valid(const struct dv_certs_pair *p, int64_t now)
{
    return p->key && now >= p->from && now < p->until;
}

/* The newest first, then those before it that are valid. */
static int new_bundle(const struct dv_certs *c, const char *authority, int64_t now, char **ret)
{
    struct dv_str s = {0};
    int r = 0;
    if (authority)
        dv_str_add(&s, authority);
    if (c->bundle)
        r = dv_certs_keep_valid(c->bundle, now, OTHERS_MAX + !authority, &s);
    char *bundle = dv_str_steal(&s);
    if (r < 0 || !bundle) {
        free(bundle);
        return -ENOMEM;
    }
    *ret = bundle;
    return 0;
}

static int save(struct dv_certs *c, const char *bundle, const struct dv_certs_pair *pair,
                struct dv_err *err)
{
    return c->folder ? dv_certs_save(c->folder, bundle, pair, err) : 0;
}

/* A new pair, whose authority is in the bundle. It is served at once, or is the next. */
static int make(struct dv_certs *c, int64_t now, bool at_once, struct dv_err *err)
{
    struct dv_certs_pair made = {0};
    char *bundle = NULL;
    int r = dv_certs_make(&c->policy, now, &made, err);
    if (r == 0)
        r = new_bundle(c, made.authority, now, &bundle);
    if (r == 0)
        r = save(c, bundle, at_once ? &made : NULL, err);
    if (r < 0) {
        free(bundle);
        dv_certs_pair_done(&made);
        return r;
    }
    free(c->bundle);
    c->bundle = bundle;
    dv_certs_pair_done(&c->next);
    c->published_at = 0;
    if (at_once) {
        dv_certs_pair_done(&c->current);
        c->current = made;
        c->wait_until = 0;
    } else {
        c->next = made;
    }
    return 0;
}

static int change_over(struct dv_certs *c, struct dv_err *err)
{
    int r = save(c, c->bundle, &c->next, err);
    if (r < 0)
        return r;
    dv_certs_pair_done(&c->current);
    c->current = c->next;
    c->next = (struct dv_certs_pair){0};
    return 0;
}

static int64_t part_of_life(const struct dv_certs *c, int64_t of)
{
    return c->policy.life_s / of;
}

/* Is it known to those who call, for long enough? Near the end it must do in any case; but while
 * it is certain that they do not know it, the old one is better to its last moment. */
static bool is_next_due(struct dv_certs *c, int64_t now, bool published)
{
    if (published && (!c->published_at || now < c->published_at))
        c->published_at = now;
    bool known = c->published_at && now - c->published_at >= c->policy.overlap_s;
    int64_t rest = 2 * (int64_t)dv_certs_tick_s(&c->policy);
    if (published || c->policy.unheard)
        rest = DV_MAX(rest, part_of_life(c, 12));
    return known || now >= c->current.until - rest;
}

/* All three of the folder, which somebody else keeps; or an error that says what is wrong there. */
static int load_external(const struct dv_certs *c, int64_t now, char **ret_bundle,
                         struct dv_certs_pair *ret, struct dv_err *err)
{
    struct dv_certs_pair pair = {0};
    char *bundle = NULL;
    int r = dv_certs_load(c->folder, &bundle, &pair, err);
    if (r == 0 && !(bundle && pair.certificate && pair.key))
        r = dv_err_set(err, -ENOENT, "there is no %s",
                       !bundle             ? "ca.crt"
                       : !pair.certificate ? "tls.crt"
                                           : "tls.key");
    if (r == 0)
        r = dv_certs_check(&c->policy, bundle, &pair, err);
    if (r == 0 && !is_valid(&pair, now))
        r = dv_err_set(err, -EINVAL, "tls.crt is not valid now");
    if (r < 0) {
        dv_err_prefix(err, "%s: ", c->folder);
        dv_certs_pair_done(&pair);
        free(bundle);
        return r;
    }
    *ret_bundle = bundle;
    *ret = pair;
    return 0;
}

static bool is_same(const struct dv_certs_pair *a, const struct dv_certs_pair *b)
{
    return a->key && !strcmp(a->key, b->key) && !strcmp(a->certificate, b->certificate);
}

static int tick_external(struct dv_certs *c, int64_t now, struct dv_err *err)
{
    struct dv_certs_pair pair;
    char *bundle;
    int r = load_external(c, now, &bundle, &pair, err);
    if (r < 0)
        return r;
    int event = !is_same(&c->current, &pair)                   ? DV_CERTS_RENEWED
                : !c->bundle || strcmp(c->bundle, bundle) != 0 ? DV_CERTS_PREPARED
                                                               : DV_CERTS_UNCHANGED;
    free(c->bundle);
    dv_certs_pair_done(&c->current);
    c->bundle = bundle;
    c->current = pair;
    return event;
}

int dv_certs_tick(struct dv_certs *c, int64_t now, bool published, struct dv_err *err)
{
    int r;
    if (c->policy.external)
        return tick_external(c, now, err);
    if (!is_valid(&c->current, now) && !is_valid(&c->next, now)) {
        r = make(c, now, true, err);
        return r < 0 ? r : DV_CERTS_RENEWED;
    }
    if (!is_valid(&c->current, now) ||
        (is_valid(&c->next, now) && is_next_due(c, now, published))) {
        r = change_over(c, err);
        return r < 0 ? r : DV_CERTS_SWITCHED;
    }
    if (!is_valid(&c->next, now) && now >= c->current.until - part_of_life(c, 3) &&
        now >= c->wait_until) {
        r = make(c, now, false, err);
        return r < 0 ? r : DV_CERTS_PREPARED;
    }
    return DV_CERTS_UNCHANGED;
}

/* Is what we serve newer than theirs, and trusted by who trusts their bundle? Then going back to
 * theirs would end in a certificate that runs out before the next may be served. */
static bool is_ahead(const struct dv_certs *c, const char *bundle, const struct dv_certs_pair *pair,
                     int64_t now)
{
    struct dv_certs_pair own = c->current;
    struct dv_err ignored;
    return own.certificate && own.until > pair->until && is_valid(&own, now) &&
           dv_certs_check(&c->policy, bundle, &own, &ignored) == 0;
}

/* Until when whoever made the newest authority has time to serve its certificate; 0: it is served.
 * It counts from when that was made, which all can read: a replica that starts begins no new wait,
 * and however many are gone, there is time for one more. */
static int64_t patience(const struct dv_certs *c, int64_t now)
{
    int64_t last = dv_certs_last_until(c->bundle);
    int64_t made = DV_MIN(last - c->policy.life_s, now);
    int64_t looks = 2 * (int64_t)dv_certs_tick_s(&c->policy);
    if (last <= c->current.until)
        return 0;
    return made + DV_MAX(looks, DV_MIN(part_of_life(c, 6), (c->current.until - made) / 2));
}

int dv_certs_adopt(struct dv_certs *c, const char *bundle, const char *certificate, const char *key,
                   int64_t now, struct dv_err *err)
{
    struct dv_certs_pair pair = {.certificate = strdup(certificate), .key = strdup(key)};
    char *copy = strdup(bundle);
    int r = -ENOMEM;
    if (copy && pair.certificate && pair.key)
        r = dv_certs_check(&c->policy, copy, &pair, err);
    else
        dv_err_set(err, r, "out of memory");
    if (r == 0 && !is_valid(&pair, now))
        r = dv_err_set(err, -EINVAL, "the certificate is not valid now");
    bool ahead = r == 0 && is_ahead(c, copy, &pair, now);
    if (r == 0)
        r = save(c, copy, ahead ? &c->current : &pair, err);
    if (r < 0) {
        free(copy);
        dv_certs_pair_done(&pair);
        return r;
    }
    free(c->bundle);
    c->bundle = copy;
    if (ahead) {
        dv_certs_pair_done(&pair);
    } else {
        dv_certs_pair_done(&c->current);
        c->current = pair;
    }
    c->published_at = 0;
    c->wait_until = patience(c, now);
    bool due = now >= c->current.until - part_of_life(c, 3);
    if (c->next.authority && (!due || !strstr(c->bundle, c->next.authority)))
        dv_certs_pair_done(&c->next);
    return 0;
}

/* ---- opening -------------------------------------------------------------------------------- */

static int check_policy(const struct dv_certs_policy *p, struct dv_err *err)
{
    if (!p->names[0])
        return dv_err_set(err, -EINVAL, "a certificate needs a name");
    if (p->external)
        return 0;
    if (p->life_s < DV_CERTS_LIFE_MIN || p->life_s > DV_CERTS_LIFE_MAX)
        return dv_err_set(err, -EINVAL, "a certificate's life must lie between %d s and 10 years",
                          DV_CERTS_LIFE_MIN);
    if (p->overlap_s < 0 || p->overlap_s > p->life_s / 4)
        return dv_err_set(err, -EINVAL, "the overlap is at most a quarter of the life");
    return 0;
}

/* What is in the folder, as far as it can be used. */
static int load(struct dv_certs *c, int64_t now, struct dv_err *note, struct dv_err *err)
{
    struct dv_certs_pair pair = {0};
    if (c->policy.external) {
        int event = tick_external(c, now, err);
        return event < 0 ? event : 0;
    }
    int r = c->folder ? dv_certs_load(c->folder, &c->bundle, &pair, err) : 0;
    if (r == 0 && c->bundle && pair.certificate && pair.key) {
        if (dv_certs_check(&c->policy, c->bundle, &pair, note) < 0) {
            /* the note says it */
        } else if (!is_valid(&pair, now)) {
            dv_err_set(note, 0, "tls.crt is not valid now");
        } else {
            c->current = pair;
            return 0;
        }
    }
    dv_certs_pair_done(&pair);
    return r;
}

int dv_certs_open(const struct dv_certs_policy *policy, const char *folder, int64_t now,
                  struct dv_certs **ret, struct dv_err *note, struct dv_err *err)
{
    note->msg[0] = 0;
    int r = check_policy(policy, err);
    if (r == 0 && policy->external && !folder)
        r = dv_err_set(err, -EINVAL, "external certificates need a folder");
    struct dv_certs *c = r == 0 ? calloc(1, sizeof *c) : NULL;
    if (!c)
        return r < 0 ? r : dv_err_set(err, -ENOMEM, "out of memory");
    c->policy = *policy;
    c->folder = folder ? strdup(folder) : NULL;
    r = folder && !c->folder ? dv_err_set(err, -ENOMEM, "out of memory") : load(c, now, note, err);
    if (r == 0 && !c->current.key)
        r = make(c, now, true, err);
    if (r < 0) {
        dv_certs_free(c);
        return r;
    }
    *ret = c;
    return 0;
}

void dv_certs_free(struct dv_certs *c)
{
    if (!c)
        return;
    dv_certs_pair_done(&c->current);
    dv_certs_pair_done(&c->next);
    free(c->bundle);
    free(c->folder);
    free(c);
}

const char *dv_certs_bundle(const struct dv_certs *c)
{
    return c->bundle;
}

const char *dv_certs_certificate(const struct dv_certs *c)
{
    return c->current.certificate;
}

const char *dv_certs_key(const struct dv_certs *c)
{
    return c->current.key;
}

int64_t dv_certs_until(const struct dv_certs *c)
{
    return c->current.until;
}

uint32_t dv_certs_tick_s(const struct dv_certs_policy *policy)
{
    if (policy->external)
        return EXTERNAL_TICK_S;
    return (uint32_t)DV_MAX(1, DV_MIN(60, policy->life_s / 100));
}
