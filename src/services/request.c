/* SPDX-License-Identifier: Apache-2.0 */
#include "request.h"

#include "base/str.h"
#include "json_body.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY_MAX (INT64_C(1) << 50)

bool dv_request_is_plain(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return false;
    return true;
}

/* For people to see: what is too much is cut, what moves cursors is replaced. */
static int get_command(struct json_object *o, char ret[DV_REQUEST_COMMAND_SIZE], struct dv_err *err)
{
    struct json_object *v;
    if (!json_object_object_get_ex(o, "command", &v))
        return 0;
    if (!json_object_is_type(v, json_type_string))
        return dv_err_set(err, -EINVAL, "command must be a string");
    const char *text = json_object_get_string(v);
    size_t n = DV_MIN((size_t)json_object_get_string_len(v), DV_REQUEST_COMMAND_SIZE - 1u);
    for (size_t i = 0; i < n; i++)
        ret[i] = (unsigned char)text[i] < ' ' || text[i] == 0x7f ? ' ' : text[i];
    ret[n] = 0;
    return 0;
}

/* ---- a claim ---- */

static int get_words(struct json_object *o, struct dv_claim *c, struct dv_err *err)
{
    char mode[32] = "auto", tier[16] = "be", trust[16] = "trusted", gpu[DV_UUID_SIZE] = "any";
    int r = dv_json_body_text(o, "mode", mode, sizeof mode, err);
    if (r == 0)
        r = dv_device_mode_parse(mode, &c->mode, err);
    if (r == 0)
        r = dv_json_body_text(o, "tier", tier, sizeof tier, err);
    if (r == 0)
        r = dv_claim_tier_parse(tier, &c->tier, err);
    if (r == 0 && c->tier != DV_TIER_BEST_EFFORT)
        r = dv_err_set(err, -EINVAL, "tier 'lc' is not there yet; use 'be'");
    if (r == 0)
        r = dv_json_body_text(o, "trust", trust, sizeof trust, err);
    if (r == 0)
        r = dv_tenant_trust_parse(trust, &c->trust, err);
    if (r == 0)
        r = dv_json_body_text(o, "gpu", gpu, sizeof gpu, err);
    if (r == 0)
        r = dv_claim_selector_parse(gpu, &c->gpu, err);
    return r;
}

int dv_request_claim(const char *body, size_t size, struct dv_request_claim *ret,
                     struct dv_err *err)
{
    static const char *const keys[] = {"tenant",   "mode",    "memory_bytes", "compute",
                                       "priority", "tier",    "trust",        "gpu",
                                       "wait",     "command", "alone"};
    dv_cleanup(dv_json_body_put) struct json_object *o = NULL;
    struct dv_request_claim q = {.claim = {.wait = true}};
    int64_t memory = 0, compute = 0, priority = 0;
    int r = dv_json_body_parse(body, size, &o, err);
    if (r == 0)
        r = dv_json_body_check_keys(o, keys, DV_ARRAY_SIZE(keys), err);
    if (r == 0)
        r = dv_json_body_text(o, "tenant", q.claim.tenant, sizeof q.claim.tenant, err);
    if (r == 0 && (q.claim.tenant[0] || json_object_object_get(o, "tenant")))
        r = dv_tenant_check_name(q.claim.tenant, err);
    if (r == 0)
        r = dv_json_body_integer(o, "memory_bytes", 1, MEMORY_MAX, &memory, err);
    if (r == 0)
        r = dv_json_body_integer(o, "compute", 1, DV_COMPUTE_FULL, &compute, err);
    if (r == 0)
        r = dv_json_body_integer(o, "priority", DV_PRIORITY_MIN, DV_PRIORITY_MAX, &priority, err);
    if (r == 0)
        r = get_words(o, &q.claim, err);
    if (r == 0)
        r = dv_json_body_bool(o, "wait", &q.claim.wait, err);
    if (r == 0)
        r = dv_json_body_bool(o, "alone", &q.claim.alone, err);
    if (r == 0)
        r = get_command(o, q.command, err);
    if (r < 0)
        return r;
    q.claim.memory_bytes = (uint64_t)memory;
    q.claim.compute = (uint32_t)compute;
    q.claim.priority = (int32_t)priority;
    *ret = q;
    return 0;
}

int dv_request_limit(const char *body, size_t size, uint64_t *ret_memory, uint32_t *ret_compute,
                     struct dv_err *err)
{
    static const char *const keys[] = {"memory_bytes", "compute"};
    dv_cleanup(dv_json_body_put) struct json_object *o = NULL;
    int64_t memory = 0, compute = 0;
    int r = dv_json_body_parse(body, size, &o, err);
    if (r == 0)
        r = dv_json_body_check_keys(o, keys, DV_ARRAY_SIZE(keys), err);
    if (r == 0)
        r = dv_json_body_integer(o, "memory_bytes", 1, MEMORY_MAX, &memory, err);
    if (r == 0)
        r = dv_json_body_integer(o, "compute", 1, DV_COMPUTE_FULL, &compute, err);
    if (r == 0 && !memory && !compute)
        r = dv_err_set(err, -EINVAL, "say memory_bytes or compute, or both");
    if (r < 0)
        return r;
    *ret_memory = (uint64_t)memory;
    *ret_compute = (uint32_t)compute;
    return 0;
}

void dv_request_layout_done(struct dv_request_layout *layout)
{
    free(layout->text);
    layout->text = NULL;
}

static int get_file(struct json_object *o, struct dv_request_layout *q, struct dv_err *err)
{
    struct json_object *v;
    if (!json_object_object_get_ex(o, "text", &v))
        return dv_err_set(err, -EINVAL, "text is missing: what the file holds");
    if (!json_object_is_type(v, json_type_string))
        return dv_err_set(err, -EINVAL, "text must be a string");
    q->len = (size_t)json_object_get_string_len(v);
    q->text = malloc(q->len + 1);
    if (!q->text)
        return dv_err_set(err, -ENOMEM, "out of memory");
    memcpy(q->text, json_object_get_string(v), q->len);
    q->text[q->len] = 0;
    return 0;
}

static int get_when(struct json_object *o, int *ret, struct dv_err *err)
{
    static const char *const whens[] = {"idle", "wait", "evict"};
    char when[16] = "idle";
    int r = dv_json_body_text(o, "when", when, sizeof when, err);
    for (size_t i = 0; r == 0 && i < DV_ARRAY_SIZE(whens); i++) {
        if (strcmp(whens[i], when) != 0)
            continue;
        *ret = (int)i;
        return 0;
    }
    return r < 0 ? r : dv_err_set(err, -EINVAL, "when must be idle, wait or evict");
}

#define TIMEOUT_MAX_S (30 * 24 * 3600)

int dv_request_layout(const char *body, size_t size, bool needs_text, struct dv_request_layout *ret,
                      struct dv_err *err)
{
    static const char *const keys[] = {"when", "timeout_seconds", "name", "config", "text"};
    dv_cleanup(dv_json_body_put) struct json_object *o = NULL;
    dv_cleanup(dv_request_layout_done) struct dv_request_layout q = {0};
    int64_t seconds = 0;
    int r = size || needs_text ? dv_json_body_parse(body, size, &o, err) : 0;
    if (r == 0 && o)
        r = dv_json_body_check_keys(o, keys, needs_text ? DV_ARRAY_SIZE(keys) : 2, err);
    if (r == 0 && o)
        r = dv_json_body_text(o, "name", q.name, sizeof q.name, err);
    if (r == 0 && o)
        r = dv_json_body_text(o, "config", q.config, sizeof q.config, err);
    if (r == 0 && o)
        r = get_when(o, &q.when, err);
    if (r == 0 && o)
        r = dv_json_body_integer(o, "timeout_seconds", 0, TIMEOUT_MAX_S, &seconds, err);
    if (r == 0 && needs_text)
        r = get_file(o, &q, err);
    if (r < 0)
        return r;
    q.timeout_ns = (uint64_t)seconds * DV_NS_PER_S;
    *ret = q;
    q.text = NULL; /* handed on */
    return 0;
}

/* ---- bills and the ledger ---- */

void dv_request_bill_done(struct dv_request_bill *bill)
{
    free(bill->price_text);
    bill->price_text = NULL;
}

struct text_field {
    const char *key;
    char *to;
    size_t size;
};

static int get_texts(struct json_object *o, const struct text_field *fields, size_t n,
                     struct dv_err *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = dv_json_body_text(o, fields[i].key, fields[i].to, fields[i].size, err);
    return r;
}

static int get_prices(struct json_object *o, struct dv_request_bill *q, struct dv_err *err)
{
    struct json_object *v;
    if (!json_object_object_get_ex(o, "price_text", &v))
        return 0;
    if (!json_object_is_type(v, json_type_string))
        return dv_err_set(err, -EINVAL, "price_text must be a string");
    q->price_len = (size_t)json_object_get_string_len(v);
    q->price_text = malloc(q->price_len + 1);
    if (!q->price_text)
        return dv_err_set(err, -ENOMEM, "out of memory");
    memcpy(q->price_text, json_object_get_string(v), q->price_len);
    q->price_text[q->price_len] = 0;
    return 0;
}

int dv_request_bill(const char *body, size_t size, struct dv_request_bill *ret, struct dv_err *err)
{
    static const char *const keys[] = {"from",  "to",         "timezone",  "by",
                                       "basis", "idle",       "tenant",    "gpu",
                                       "pod",   "price_name", "price_text"};
    dv_cleanup(dv_json_body_put) struct json_object *o = NULL;
    dv_cleanup(dv_request_bill_done) struct dv_request_bill q = {{0}};
    const struct text_field fields[] = {
        {"from", q.from, sizeof q.from},
        {"to", q.to, sizeof q.to},
        {"by", q.by, sizeof q.by},
        {"timezone", q.timezone, sizeof q.timezone},
        {"basis", q.basis, sizeof q.basis},
        {"idle", q.idle, sizeof q.idle},
        {"tenant", q.tenant, sizeof q.tenant},
        {"gpu", q.gpu, sizeof q.gpu},
        {"pod", q.pod, sizeof q.pod},
        {"price_name", q.price_name, sizeof q.price_name},
    };
    int r = size ? dv_json_body_parse(body, size, &o, err) : 0;
    if (r == 0 && o)
        r = dv_json_body_check_keys(o, keys, DV_ARRAY_SIZE(keys), err);
    if (r == 0 && o)
        r = get_texts(o, fields, DV_ARRAY_SIZE(fields), err);
    if (r == 0 && o)
        r = get_prices(o, &q, err);
    if (r < 0)
        return r;
    *ret = q;
    q.price_text = NULL; /* handed on */
    return 0;
}

int dv_request_backup(const char *body, size_t size, struct dv_request_bill *ret,
                      struct dv_err *err)
{
    static const char *const keys[] = {"path"};
    dv_cleanup(dv_json_body_put) struct json_object *o = NULL;
    struct dv_request_bill q = {{0}};
    int r = dv_json_body_parse(body, size, &o, err);
    if (r == 0)
        r = dv_json_body_check_keys(o, keys, DV_ARRAY_SIZE(keys), err);
    if (r == 0)
        r = dv_json_body_text(o, "path", q.path, sizeof q.path, err);
    if (r == 0 && q.path[0] != '/')
        r = dv_err_set(err, -EINVAL, "path must be an absolute path");
    if (r == 0)
        *ret = q;
    return r;
}

static int get_correction(struct json_object *o, struct dv_request_correction *q,
                          struct dv_err *err)
{
    const struct text_field fields[] = {
        {"at", q->at, sizeof q->at},
        {"gpu", q->gpu, sizeof q->gpu},
        {"tenant", q->tenant, sizeof q->tenant},
        {"to", q->to, sizeof q->to},
        {"reason", q->reason, sizeof q->reason},
    };
    int64_t busy = 0, idle = 0;
    int r = get_texts(o, fields, DV_ARRAY_SIZE(fields), err);
    if (r == 0)
        r = dv_json_body_integer(o, "busy_ns", 0, INT64_C(86400000000000), &busy, err);
    if (r == 0)
        r = dv_json_body_integer(o, "reserved_idle_ns", 0, INT64_C(86400000000000), &idle, err);
    q->busy_ns = (uint64_t)busy;
    q->reserved_idle_ns = (uint64_t)idle;
    return r;
}

#define GPU_LETTERS_MIN 8

int dv_request_correction(const char *body, size_t size, struct dv_request_correction *ret,
                          struct dv_err *err)
{
    static const char *const keys[] = {
        "at", "gpu", "tenant", "to", "busy_ns", "reserved_idle_ns", "reason"};
    dv_cleanup(dv_json_body_put) struct json_object *o = NULL;
    struct dv_request_correction q = {{0}};
    int r = dv_json_body_parse(body, size, &o, err);
    if (r == 0)
        r = dv_json_body_check_keys(o, keys, DV_ARRAY_SIZE(keys), err);
    if (r == 0)
        r = get_correction(o, &q, err);
    if (r == 0 && (!q.at[0] || !q.tenant[0] || !q.reason[0]))
        r = dv_err_set(err, -EINVAL, "say at, gpu, tenant and reason");
    if (r == 0 && strlen(q.gpu) < GPU_LETTERS_MIN)
        r = dv_err_set(err, -EINVAL, "gpu must be a UUID, or the first %d letters of one at least",
                       GPU_LETTERS_MIN);
    if (r == 0 && !q.busy_ns && !q.reserved_idle_ns)
        r = dv_err_set(err, -EINVAL, "say how much: busy_ns or reserved_idle_ns");
    if (r == 0 && q.to[0])
        r = dv_tenant_check_name(q.to, err);
    if (r == 0 && !strcmp(q.to, q.tenant))
        r = dv_err_set(err, -EINVAL, "to is the tenant itself");
    if (r == 0)
        *ret = q;
    return r;
}

int dv_request_rename(const char *body, size_t size, struct dv_request_rename *ret,
                      struct dv_err *err)
{
    static const char *const keys[] = {"old", "new", "from"};
    dv_cleanup(dv_json_body_put) struct json_object *o = NULL;
    struct dv_request_rename q = {{0}};
    const struct text_field fields[] = {
        {"old", q.old, sizeof q.old},
        {"new", q.new_name, sizeof q.new_name},
        {"from", q.from, sizeof q.from},
    };
    int r = dv_json_body_parse(body, size, &o, err);
    if (r == 0)
        r = dv_json_body_check_keys(o, keys, DV_ARRAY_SIZE(keys), err);
    if (r == 0)
        r = get_texts(o, fields, DV_ARRAY_SIZE(fields), err);
    if (r == 0)
        r = dv_tenant_check_name(q.old, err);
    if (r == 0)
        r = dv_tenant_check_name(q.new_name, err);
    if (r == 0 && !strcmp(q.old, q.new_name))
        r = dv_err_set(err, -EINVAL, "old and new are the same name");
    if (r == 0)
        *ret = q;
    return r;
}

int dv_request_kill(const char *body, size_t size, int *ret_signo, struct dv_err *err)
{
    static const char *const keys[] = {"signal"};
    dv_cleanup(dv_json_body_put) struct json_object *o = NULL;
    int64_t signo = SIGTERM;
    int r = size ? dv_json_body_parse(body, size, &o, err) : 0;
    if (r == 0 && o)
        r = dv_json_body_check_keys(o, keys, DV_ARRAY_SIZE(keys), err);
    if (r == 0 && o)
        r = dv_json_body_integer(o, "signal", 1, SIGRTMAX, &signo, err);
    if (r < 0)
        return r;
    *ret_signo = (int)signo;
    return 0;
}

int dv_request_baseline(const char *body, size_t size, uint64_t *ret_claim, char ret_name[64],
                        struct dv_err *err)
{
    static const char *const keys[] = {"claim", "name"};
    dv_cleanup(dv_json_body_put) struct json_object *o = NULL;
    char claim[64] = "", name[64] = "";
    int r = dv_json_body_parse(body, size, &o, err);
    if (r == 0)
        r = dv_json_body_check_keys(o, keys, DV_ARRAY_SIZE(keys), err);
    if (r == 0)
        r = dv_json_body_text(o, "claim", claim, sizeof claim, err);
    if (r == 0)
        r = dv_json_body_text(o, "name", name, sizeof name, err);
    if (r < 0)
        return r;
    const char *digits =
        (claim[0] == 'c' || claim[0] == 's') && claim[1] == '-' ? claim + 2 : claim;
    size_t n = strspn(digits, "0123456789");
    if (!n || digits[n] || n > 18 || digits[0] == '0')
        return dv_err_set(err, -EINVAL, "claim must name a claim or slice, as c-7");
    *ret_claim = strtoull(digits, NULL, 10);
    memcpy(ret_name, name, sizeof name);
    return 0;
}
