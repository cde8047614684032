/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base64.h"
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define API_VERSION "admission.k8s.io/v1"
#define UID_MAX 256u
/* Kubernetes cuts a warning after 256 characters and all of them after 4096. */
#define WARNINGS_MAX 16u
#define MESSAGE_MAX 2000u

/* ---- the question --------------------------------------------------------------------------- */

static int read_request(struct json_object *review, struct json_object **ret_request,
                        struct dv_err *err)
{
    struct json_object *request = dv_admission_member(review, "request", json_type_object);
    const char *uid = dv_admission_string(request, "uid");
    if (strcmp(dv_admission_string(review, "apiVersion"), API_VERSION) != 0 ||
        strcmp(dv_admission_string(review, "kind"), "AdmissionReview") != 0)
        return dv_err_set(err, -EINVAL, "not an AdmissionReview of " API_VERSION);
    if (!request)
        return dv_err_set(err, -EINVAL, "the AdmissionReview has no request");
    if (!*uid || strlen(uid) > UID_MAX)
        return dv_err_set(err, -EINVAL, "request.uid is missing, or longer than %u", UID_MAX);
    *ret_request = request;
    return 0;
}

static void describe(struct json_object *request, struct json_object *object, char *ret,
                     size_t size)
{
    const char *name = dv_admission_string(request, "name");
    if (!*name)
        name = dv_admission_string(dv_admission_member(object, "metadata", json_type_object),
                                   "generateName");
    snprintf(ret, size, "%.60s %.64s/%.253s", dv_admission_string(object, "kind"),
             dv_admission_string(request, "namespace"), name);
    dv_admission_clean(ret);
}

/* ---- an update of what was refused already -------------------------------------------------- */

static bool has_refusal(const struct dv_admission *a, const char *text)
{
    for (uint32_t i = 0; i < a->n_findings; i++)
        if (a->findings[i].level == DV_ADMISSION_REFUSAL && !strcmp(a->findings[i].text, text))
            return true;
    return false;
}

static bool was_so_before(const struct dv_admission *now, const struct dv_admission *before)
{
    if (now->n_findings == DV_ADMISSION_FINDINGS_MAX)
        return false; /* there may be more that were not kept */
    for (uint32_t i = 0; i < now->n_findings; i++)
        if (now->findings[i].level == DV_ADMISSION_REFUSAL &&
            !has_refusal(before, now->findings[i].text))
            return false;
    return true;
}

static int forgive(struct json_object *request, const struct dv_admission_rules *rules,
                   struct dv_admission *a)
{
    struct json_object *old = dv_admission_member(request, "oldObject", json_type_object);
    if (a->result != DV_ADMISSION_REFUSED || !old ||
        strcmp(dv_admission_string(request, "operation"), "UPDATE") != 0)
        return 0;
    dv_cleanup(dv_admission_free) struct dv_admission *before = calloc(1, sizeof *before);
    int r = before ? dv_admission_judge(old, rules, before) : -ENOMEM;
    if (r < 0 || !was_so_before(a, before))
        return r;
    for (uint32_t i = 0; i < a->n_findings; i++)
        if (a->findings[i].level == DV_ADMISSION_REFUSAL)
            a->findings[i].level = DV_ADMISSION_WARNING;
    a->result = DV_ADMISSION_ACCEPTED;
    a->warned = true;
    return 0;
}

/* ---- the answer ----------------------------------------------------------------------------- */

/* Adds what was made, and frees it when that fails. */
static bool put(struct json_object *object, const char *key, struct json_object *value)
{
    if (value && json_object_object_add(object, key, value) == 0)
        return true;
    json_object_put(value);
    return false;
}

static bool put_string(struct json_object *object, const char *key, const char *text)
{
    return put(object, key, json_object_new_string(text));
}

static bool put_patch(struct json_object *response, const char *patch)
{
    dv_cleanup(dv_str_done) struct dv_str s = {0};
    dv_base64_add(patch, strlen(patch), &s);
    return !s.failed && put_string(response, "patchType", "JSONPatch") &&
           put_string(response, "patch", dv_str_get(&s));
}

static bool put_warnings(struct json_object *response, const struct dv_admission *a)
{
    struct json_object *list = json_object_new_array();
    uint32_t n = 0;
    for (uint32_t i = 0; list && i < a->n_findings && n < WARNINGS_MAX; i++) {
        if (a->findings[i].level != DV_ADMISSION_WARNING)
            continue;
        struct json_object *text = json_object_new_string(a->findings[i].text);
        if (!text || json_object_array_add(list, text) < 0) {
            json_object_put(text);
            json_object_put(list);
            return false;
        }
        n++;
    }
    return put(response, "warnings", list);
}

static void say_refusals(const struct dv_admission *a, struct dv_str *s)
{
    for (uint32_t i = 0; i < a->n_findings && s->len < MESSAGE_MAX; i++)
        if (a->findings[i].level == DV_ADMISSION_REFUSAL)
            dv_str_addf(s, "%s%s", s->len ? "; " : "", a->findings[i].text);
}

static bool put_refusal(struct json_object *response, const char *message)
{
    struct json_object *status = json_object_new_object();
    return put(response, "status", status) && put_string(status, "reason", "Invalid") &&
           put(status, "code", json_object_new_int(422)) && put_string(status, "message", message);
}

static bool fill(struct json_object *response, const char *uid, const struct dv_admission *a,
                 struct dv_admission_answer *ret)
{
    dv_cleanup(dv_str_done) struct dv_str message = {0};
    bool refused = a->result == DV_ADMISSION_REFUSED;
    bool ok = put_string(response, "uid", uid) &&
              put(response, "allowed", json_object_new_boolean(!refused));
    if (ok && a->patch)
        ok = put_patch(response, a->patch);
    if (ok && a->warned)
        ok = put_warnings(response, a);
    if (refused)
        say_refusals(a, &message);
    snprintf(ret->reason, sizeof ret->reason, "%s", dv_str_get(&message));
    return ok && !message.failed && (!refused || put_refusal(response, dv_str_get(&message)));
}

static int answer(const char *uid, const struct dv_admission *a, struct dv_admission_answer *ret)
{
    struct json_object *review = json_object_new_object(), *response = json_object_new_object();
    bool ok = review && put_string(review, "apiVersion", API_VERSION) &&
              put_string(review, "kind", "AdmissionReview");
    if (!ok)
        json_object_put(response);
    ok = ok && put(review, "response", response) && fill(response, uid, a, ret);
    const char *text = ok ? json_object_to_json_string_ext(
                                review, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)
                          : NULL;
    ret->body = text ? strdup(text) : NULL;
    json_object_put(review);
    return ret->body ? 0 : -ENOMEM;
}

static int review_one(struct json_object *review, const struct dv_admission_rules *rules,
                      struct dv_admission_answer *ret, struct dv_err *err)
{
    struct json_object *request = NULL;
    int r = read_request(review, &request, err);
    if (r < 0)
        return r;
    struct json_object *object = dv_admission_member(request, "object", json_type_object);
    struct dv_admission *a = calloc(1, sizeof *a);
    describe(request, object, ret->subject, sizeof ret->subject);
    r = !a ? -ENOMEM : object ? dv_admission_judge(object, rules, a) : 0;
    if (r == 0)
        r = forgive(request, rules, a);
    if (r == 0)
        r = answer(dv_admission_string(request, "uid"), a, ret);
    if (r == 0) {
        ret->result = a->result;
        ret->warned = a->warned;
    }
    dv_admission_free(&a);
    return r;
}

int dv_admission_review(const char *body, size_t len, const struct dv_admission_rules *rules,
                        struct dv_admission_answer *ret, struct dv_err *err)
{
    struct dv_admission_answer made = {0};
    struct json_object *review = NULL;
    int r = dv_admission_parse(body, len, &review, err);
    if (r < 0)
        return r;
    r = review_one(review, rules, &made, err);
    json_object_put(review);
    if (r == -ENOMEM)
        dv_err_set(err, r, "out of memory");
    if (r == 0)
        *ret = made;
    return r;
}

void dv_admission_answer_done(struct dv_admission_answer *answer)
{
    free(answer->body);
    answer->body = NULL;
}
