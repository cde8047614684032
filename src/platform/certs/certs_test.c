/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"
#include "certs/certs.h"
#include "sys/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define NOW INT64_C(1800000000)
#define DAY INT64_C(86400)
#define NAME "divvy-webhook.divvy-system.svc"

static const struct dv_certs_policy policy = {
    .names = {NAME, "localhost"}, .life_s = 90 * DAY, .overlap_s = 3600};

/* Would a caller with this bundle, at this time, take this certificate? */
static bool is_trusted(const char *bundle, const char *certificate, int64_t now)
{
    gnutls_x509_crt_t cas[16], crt[1];
    gnutls_datum_t a = {(unsigned char *)bundle, (unsigned)strlen(bundle)},
                   b = {(unsigned char *)certificate, (unsigned)strlen(certificate)};
    unsigned n = 16, one = 1, status = 1;
    assert_true(gnutls_x509_crt_list_import(cas, &n, &a, GNUTLS_X509_FMT_PEM, 0) > 0);
    assert_int_equal(gnutls_x509_crt_list_import(crt, &one, &b, GNUTLS_X509_FMT_PEM, 0), 1);
    assert_int_equal(gnutls_x509_crt_list_verify(crt, 1, cas, n, NULL, 0,
                                                 GNUTLS_VERIFY_DISABLE_TIME_CHECKS, &status),
                     0);
    bool valid = gnutls_x509_crt_get_activation_time(crt[0]) <= now &&
                 gnutls_x509_crt_get_expiration_time(crt[0]) > now;
    assert_true(gnutls_x509_crt_check_hostname(crt[0], NAME));
    assert_true(gnutls_x509_crt_check_hostname(crt[0], "localhost"));
    assert_false(gnutls_x509_crt_check_hostname(crt[0], "example.org"));
    for (unsigned i = 0; i < n; i++)
        gnutls_x509_crt_deinit(cas[i]);
    gnutls_x509_crt_deinit(crt[0]);
    return valid && status == 0;
}

static struct dv_certs *open_at(const char *folder, int64_t now, const char *note)
{
    struct dv_certs *c = NULL;
    struct dv_err said, err = {{0}};
    if (dv_certs_open(&policy, folder, now, &c, &said, &err) < 0)
        fail_msg("%s", err.msg);
    assert_string_equal(said.msg, note);
    assert_true(is_trusted(dv_certs_bundle(c), dv_certs_certificate(c), now));
    return c;
}

static int tick(struct dv_certs *c, int64_t now, bool published)
{
    struct dv_err err = {{0}};
    int r = dv_certs_tick(c, now, published, &err);
    if (r < 0)
        fail_msg("%s", err.msg);
    return r;
}

/* Over years, a caller whose bundle is as old as the overlap allows never sees a stranger. */
static void test_years(void **state)
{
    struct dv_certs *c = open_at(NULL, NOW, "");
    char *known = strdup(dv_certs_bundle(c));
    int prepared = 0, switched = 0;
    for (int64_t now = NOW; now < NOW + 3 * 365 * DAY; now += 1800) {
        int event = tick(c, now, true);
        if (event == DV_CERTS_SWITCHED)
            switched++;
        assert_int_not_equal(event, DV_CERTS_RENEWED);
        if (event == DV_CERTS_SWITCHED || now % (10 * DAY) == 0)
            assert_true(is_trusted(known, dv_certs_certificate(c), now));
        if (event == DV_CERTS_PREPARED) {
            prepared++;
            assert_true(is_trusted(dv_certs_bundle(c), dv_certs_certificate(c), now));
        } else if (!prepared || strcmp(known, dv_certs_bundle(c)) != 0) {
            free(known); /* half an hour late */
            known = strdup(dv_certs_bundle(c));
        }
        assert_true(dv_certs_until(c) > now + 29 * DAY);
    }
    assert_true(prepared >= 17 && prepared <= 19);
    assert_true(switched == prepared || switched == prepared - 1);
    assert_true(strlen(dv_certs_bundle(c)) < 4 * 1000);
    free(known);
    dv_certs_free(c);
}

/* While nobody publishes, the old certificate is served as long as it can be. */
static void test_unpublished(void **state)
{
    struct dv_certs *c = open_at(NULL, NOW, "");
    char *first = strdup(dv_certs_certificate(c));
    assert_int_equal(tick(c, NOW + 59 * DAY, false), DV_CERTS_UNCHANGED);
    assert_int_equal(tick(c, NOW + 60 * DAY, false), DV_CERTS_PREPARED);
    assert_string_equal(dv_certs_certificate(c), first);
    assert_int_equal(tick(c, NOW + 70 * DAY, false), DV_CERTS_UNCHANGED);
    assert_int_equal(tick(c, NOW + 71 * DAY, true), DV_CERTS_UNCHANGED); /* the overlap */
    assert_int_equal(tick(c, NOW + 71 * DAY + 3600, true), DV_CERTS_SWITCHED);
    assert_string_not_equal(dv_certs_certificate(c), first);
    assert_true(is_trusted(dv_certs_bundle(c), first, NOW + 71 * DAY)); /* another replica's */
    dv_certs_free(c);
    c = open_at(NULL, NOW, "");
    assert_int_equal(tick(c, NOW + 60 * DAY, false), DV_CERTS_PREPARED);
    assert_int_equal(tick(c, NOW + 83 * DAY, false), DV_CERTS_UNCHANGED);
    assert_int_equal(tick(c, NOW + 90 * DAY - 121, false), DV_CERTS_UNCHANGED);
    assert_int_equal(tick(c, NOW + 90 * DAY - 120, false), DV_CERTS_SWITCHED);
    dv_certs_free(c);
    free(first);
}

/* Nobody says when it is published: there is a quarter of a life for it. */
static void test_unheard(void **state)
{
    struct dv_certs_policy unheard = policy;
    struct dv_certs *c = NULL;
    struct dv_err note, err;
    unheard.unheard = true;
    assert_int_equal(dv_certs_open(&unheard, NULL, NOW, &c, &note, &err), 0);
    assert_int_equal(tick(c, NOW + 60 * DAY, false), DV_CERTS_PREPARED);
    assert_int_equal(tick(c, NOW + 82 * DAY, false), DV_CERTS_UNCHANGED);
    assert_int_equal(tick(c, NOW + 83 * DAY, false), DV_CERTS_SWITCHED);
    dv_certs_free(c);
}

static void test_jumps(void **state)
{
    struct dv_rng rng = {3};
    struct dv_certs *c = open_at(NULL, NOW, "");
    assert_int_equal(tick(c, NOW - 1800, true), DV_CERTS_UNCHANGED); /* clocks differ */
    assert_int_equal(tick(c, NOW - 10 * DAY, true), DV_CERTS_RENEWED);
    assert_int_equal(tick(c, NOW + 1000 * DAY, true), DV_CERTS_RENEWED);
    for (int i = 0; i < 300; i++) {
        int64_t now = NOW + (int64_t)dv_rng_below(&rng, 400) * DAY;
        tick(c, now, dv_rng_below(&rng, 2));
        assert_true(is_trusted(dv_certs_bundle(c), dv_certs_certificate(c), now));
    }
    dv_certs_free(c);
}

/* Two that share: what one makes, the other takes. */
static void test_adopt(void **state)
{
    struct dv_certs *a = open_at(NULL, NOW, ""), *b = open_at(NULL, NOW, "");
    struct dv_err err = {{0}};
    assert_int_equal(
        dv_certs_adopt(b, dv_certs_bundle(a), dv_certs_certificate(a), dv_certs_key(a), NOW, &err),
        0);
    assert_string_equal(dv_certs_certificate(b), dv_certs_certificate(a));
    assert_int_equal(tick(a, NOW + 60 * DAY, false), DV_CERTS_PREPARED);
    assert_int_equal(tick(b, NOW + 60 * DAY, false), DV_CERTS_PREPARED);
    /* b was later: a's next is dropped, and that of b waited for; b's is late, and a makes another
     * beside it, which stays */
    assert_int_equal(dv_certs_adopt(a, dv_certs_bundle(b), dv_certs_certificate(b), dv_certs_key(b),
                                    NOW + 60 * DAY, &err),
                     0);
    assert_int_equal(tick(a, NOW + 60 * DAY, false), DV_CERTS_UNCHANGED);
    assert_int_equal(tick(a, NOW + 75 * DAY - 1, true), DV_CERTS_UNCHANGED);
    assert_int_equal(tick(a, NOW + 75 * DAY, false), DV_CERTS_PREPARED);
    assert_int_equal(dv_certs_adopt(b, dv_certs_bundle(a), dv_certs_certificate(a), dv_certs_key(a),
                                    NOW + 75 * DAY, &err),
                     0);
    assert_int_equal(tick(b, NOW + 75 * DAY, false), DV_CERTS_UNCHANGED);
    assert_int_equal(tick(b, NOW + 76 * DAY, true), DV_CERTS_UNCHANGED);
    assert_int_equal(tick(b, NOW + 77 * DAY, true), DV_CERTS_SWITCHED);
    assert_true(is_trusted(dv_certs_bundle(a), dv_certs_certificate(b), NOW + 77 * DAY));
    /* b does not go back to what a has from before: it would run out before the next is due */
    char *newer = strdup(dv_certs_certificate(b));
    assert_string_not_equal(newer, dv_certs_certificate(a));
    assert_int_equal(dv_certs_adopt(b, dv_certs_bundle(a), dv_certs_certificate(a), dv_certs_key(a),
                                    NOW + 77 * DAY, &err),
                     0);
    assert_string_equal(dv_certs_certificate(b), newer);
    assert_string_equal(dv_certs_bundle(b), dv_certs_bundle(a));
    free(newer);
    /* what is no pair is not taken */
    assert_int_equal(dv_certs_adopt(a, dv_certs_bundle(b), dv_certs_certificate(b), dv_certs_key(a),
                                    NOW + 77 * DAY, &err),
                     -EINVAL);
    assert_int_equal(dv_certs_adopt(a, "", "", "", NOW, &err), -EINVAL);
    /* a's next is for nothing now: b's has just begun */
    assert_int_equal(dv_certs_adopt(a, dv_certs_bundle(b), dv_certs_certificate(b), dv_certs_key(b),
                                    NOW + 77 * DAY, &err),
                     0);
    assert_int_equal(tick(a, NOW + 78 * DAY, true), DV_CERTS_UNCHANGED);
    assert_int_equal(tick(a, NOW + 79 * DAY, true), DV_CERTS_UNCHANGED);
    assert_string_equal(dv_certs_certificate(a), dv_certs_certificate(b));
    dv_certs_free(a);
    dv_certs_free(b);
}

#define MANY 12

/* Many that prepare at the same moment: who serves, and whoever served before, stays trusted; and
 * from the next time on it is one of them who does it for all. */
static void test_many(void **state)
{
    struct dv_certs *all[MANY];
    struct dv_err err = {{0}};
    for (size_t i = 0; i < MANY; i++)
        all[i] = open_at(NULL, NOW, "");
    char *served = strdup(dv_certs_certificate(all[MANY - 1]));
    for (size_t i = 0; i + 1 < MANY; i++) { /* nobody knows that another has made one already */
        assert_int_equal(dv_certs_adopt(all[i], dv_certs_bundle(all[MANY - 1]), served,
                                        dv_certs_key(all[MANY - 1]), NOW, &err),
                         0);
        assert_int_equal(tick(all[i], NOW + 60 * DAY, false), DV_CERTS_PREPARED);
    }
    /* Each in its turn hears of those before it, and finds no one who does something: the worst. */
    for (size_t i = 1; i + 1 < MANY; i++) {
        assert_int_equal(dv_certs_adopt(all[i], dv_certs_bundle(all[i - 1]), served,
                                        dv_certs_key(all[i - 1]), NOW + 60 * DAY, &err),
                         0);
        assert_int_equal(tick(all[i], NOW + 60 * DAY, false), DV_CERTS_UNCHANGED);
        assert_int_equal(tick(all[i], NOW + 75 * DAY, false), DV_CERTS_PREPARED);
        assert_true(is_trusted(dv_certs_bundle(all[i]), served, NOW + 75 * DAY));
    }
    for (size_t i = 0; i < MANY; i++)
        dv_certs_free(all[i]);
    free(served);
}

/* Who made the next is gone, and so, sooner or later, is everybody who waits for it: a replica that
 * starts waits from when it was made, not from its own start. */
static void test_restarts(void **state)
{
    struct dv_err err = {{0}};
    struct dv_certs *first = open_at(NULL, NOW, ""), *last = first;
    char *served = strdup(dv_certs_certificate(first)), *key = strdup(dv_certs_key(first));
    char *bundle = NULL;
    int64_t made[3] = {0}; /* each ends before what it has made is served */
    int n = 0;
    for (int64_t now = NOW; n < 3 && now < NOW + 90 * DAY; now += 3600) {
        if ((now - NOW) % DAY == 0) {
            free(bundle);
            bundle = strdup(dv_certs_bundle(last));
            dv_certs_free(last);
            last = open_at(NULL, now, "");
            assert_int_equal(dv_certs_adopt(last, bundle, served, key, now, &err), 0);
        }
        if (tick(last, now, false) == DV_CERTS_PREPARED)
            made[n++] = now;
    }
    assert_int_equal(n, 3);
    assert_int_equal(made[0], NOW + 60 * DAY);
    assert_int_equal(made[1], NOW + 75 * DAY);
    assert_int_equal(made[2], NOW + 82 * DAY + DAY / 2);
    assert_true(is_trusted(dv_certs_bundle(last), served, made[2]));
    dv_certs_free(last);
    free(bundle);
    free(served);
    free(key);
}

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void remove_folder(const char *folder)
{
    static const char *const names[] = {"ca.crt", "tls.crt", "tls.key"};
    char path[256];
    for (size_t i = 0; i < DV_ARRAY_SIZE(names); i++) {
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        assert_int_equal(stat(path, &st), 0);
        if (st.st_mode & 077)
            fail_msg("%s is open to others", path);
        unlink(path);
    }
    assert_int_equal(rmdir(folder), 0); /* nothing else was left there */
}

static void test_folder(void **state)
{
    char parent[] = "/tmp/divvy-certs.XXXXXX", folder[64];
    struct dv_err err;
    char *bundle = NULL, *serving, *other_key;
    assert_non_null(mkdtemp(parent));
    snprintf(folder, sizeof folder, "%s/tls", parent);
    assert_int_equal(dv_certs_read_bundle(folder, &bundle, &err), -ENOENT);
    struct dv_certs *c = open_at(folder, NOW, "");
    serving = strdup(dv_certs_certificate(c));
    other_key = strdup(dv_certs_key(c));
    dv_certs_free(c);

    c = open_at(folder, NOW + 50 * DAY, ""); /* the same */
    assert_string_equal(dv_certs_certificate(c), serving);
    assert_int_equal(tick(c, NOW + 60 * DAY, true), DV_CERTS_PREPARED);
    assert_int_equal(dv_certs_read_bundle(folder, &bundle, &err), 0);
    assert_string_equal(bundle, dv_certs_bundle(c)); /* both */
    free(bundle);
    dv_certs_free(c);

    c = open_at(folder, NOW + 60 * DAY, ""); /* the next one's key is lost, and made again */
    assert_int_equal(tick(c, NOW + 60 * DAY, true), DV_CERTS_PREPARED);
    assert_int_equal(tick(c, NOW + 60 * DAY + 1, true), DV_CERTS_UNCHANGED);
    assert_int_equal(tick(c, NOW + 61 * DAY, true), DV_CERTS_SWITCHED);
    dv_certs_free(c);

    write_file(folder, "tls.key", other_key); /* killed between two files */
    c = open_at(folder, NOW + 61 * DAY, "tls.key is not the key of tls.crt");
    assert_true(is_trusted(dv_certs_bundle(c), serving, NOW + 61 * DAY));
    dv_certs_free(c);
    write_file(folder, "tls.crt", "nonsense");
    dv_certs_free(open_at(folder, NOW + 61 * DAY, "tls.crt does not read"));
    dv_certs_free(open_at(folder, NOW + 500 * DAY, "tls.crt is not valid now"));
    write_file(folder, "ca.crt", "nonsense");
    dv_certs_free(open_at(folder, NOW + 500 * DAY, "tls.crt is signed by nobody in ca.crt"));

    struct dv_certs_policy elsewhere = policy;
    elsewhere.names[0] = "x.y.svc";
    c = NULL;
    struct dv_err note;
    assert_int_equal(dv_certs_open(&elsewhere, folder, NOW + 500 * DAY, &c, &note, &err), 0);
    assert_string_equal(note.msg, "tls.crt is not for x.y.svc");
    dv_certs_free(c);
    remove_folder(folder);
    assert_int_equal(rmdir(parent), 0);
    free(serving);
    free(other_key);
}

static void put_all(const char *folder, const struct dv_certs *c)
{
    write_file(folder, "ca.crt", dv_certs_bundle(c));
    write_file(folder, "tls.crt", dv_certs_certificate(c));
    write_file(folder, "tls.key", dv_certs_key(c));
}

/* Somebody else keeps the folder: nothing is written there, and what is wrong there is not served.
 */
static void test_external(void **state)
{
    char folder[] = "/tmp/divvy-certs.XXXXXX", path[64];
    const struct dv_certs_policy external = {.names = {NAME}, .external = true};
    struct dv_certs *theirs = open_at(NULL, NOW, ""), *c = NULL;
    struct dv_err note, err = {{0}};
    assert_non_null(mkdtemp(folder));
    assert_int_equal(umask(077), 022);
    assert_int_equal(dv_certs_open(&external, folder, NOW, &c, &note, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "there is no ca.crt"));
    put_all(folder, theirs);
    assert_int_equal(dv_certs_open(&external, folder, NOW + 91 * DAY, &c, &note, &err), -EINVAL);
    assert_int_equal(dv_certs_open(&external, folder, NOW, &c, &note, &err), 0);
    assert_string_equal(dv_certs_certificate(c), dv_certs_certificate(theirs));
    assert_string_equal(dv_certs_bundle(c), dv_certs_bundle(theirs));
    assert_int_equal(tick(c, NOW + 80 * DAY, true), DV_CERTS_UNCHANGED);

    assert_int_equal(tick(theirs, NOW + 80 * DAY, true), DV_CERTS_PREPARED);
    put_all(folder, theirs);
    assert_int_equal(tick(c, NOW + 80 * DAY, true), DV_CERTS_PREPARED); /* another bundle */
    char *old = strdup(dv_certs_certificate(c));
    assert_int_equal(tick(theirs, NOW + 88 * DAY, true), DV_CERTS_SWITCHED);
    write_file(folder, "tls.crt", dv_certs_certificate(theirs)); /* half of it */
    assert_int_equal(dv_certs_tick(c, NOW + 88 * DAY, true, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "tls.key is not the key of tls.crt"));
    assert_string_equal(dv_certs_certificate(c), old);
    put_all(folder, theirs);
    assert_int_equal(tick(c, NOW + 88 * DAY, true), DV_CERTS_RENEWED);
    assert_string_equal(dv_certs_certificate(c), dv_certs_certificate(theirs));
    snprintf(path, sizeof path, "%s/tls.key", folder);
    unlink(path);
    assert_int_equal(dv_certs_tick(c, NOW + 88 * DAY, true, &err), -ENOENT);
    put_all(folder, theirs);
    assert_int_equal(tick(c, NOW + 88 * DAY, true), DV_CERTS_UNCHANGED);
    assert_int_equal(dv_certs_tick_s(&external), 5);
    remove_folder(folder);
    dv_certs_free(c);
    dv_certs_free(theirs);
    free(old);
    umask(022);
}

static void test_refused(void **state)
{
    struct dv_certs_policy bad[] = {policy, policy, policy};
    struct dv_certs *c;
    struct dv_err note, err;
    bad[0].names[0] = NULL;
    bad[1].life_s = 1;
    bad[2].overlap_s = policy.life_s;
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++)
        assert_int_equal(dv_certs_open(&bad[i], NULL, NOW, &c, &note, &err), -EINVAL);
    assert_int_equal(dv_certs_open(&policy, "/proc/nowhere", NOW, &c, &note, &err), -ENOENT);
    assert_int_equal(dv_certs_tick_s(&policy), 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_years),   cmocka_unit_test(test_unpublished),
        cmocka_unit_test(test_jumps),   cmocka_unit_test(test_folder),
        cmocka_unit_test(test_adopt),   cmocka_unit_test(test_external),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_many),
        cmocka_unit_test(test_unheard), cmocka_unit_test(test_restarts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
