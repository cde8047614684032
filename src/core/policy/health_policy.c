/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/health_policy.h"

#include "policy/xid.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FLAPS_MAX 16u /* further doubling changes nothing */

const char *dv_health_cause_name(enum dv_health_cause cause)
{
    static const char *const names[] = {
        [DV_HEALTH_NONE] = "none",
        [DV_HEALTH_NOT_SEEN] = "not_seen",
        [DV_HEALTH_LINKS_DOWN] = "links_down",
        [DV_HEALTH_ECC] = "memory_errors",
        [DV_HEALTH_XID] = "xid",
        [DV_HEALTH_PAGES_PENDING] = "memory_pages_pending",
        [DV_HEALTH_ROWS_PENDING] = "memory_rows_pending",
        [DV_HEALTH_XID_RESET] = "xid",
        [DV_HEALTH_ROWS_FAILED] = "memory_rows_failed",
        [DV_HEALTH_LOST] = "gpu_lost",
        [DV_HEALTH_DRIVER] = "driver",
    };
    return cause < DV_ARRAY_SIZE(names) ? names[cause] : "none";
}

const char *dv_health_remedy_name(enum dv_health_remedy remedy)
{
    static const char *const names[] = {
        [DV_HEALTH_NOTHING] = "none",  [DV_HEALTH_TIME] = "time",
        [DV_HEALTH_RESET] = "reset",   [DV_HEALTH_REPLACE] = "replacement",
        [DV_HEALTH_ANSWER] = "driver", [DV_HEALTH_LINKS] = "links",
    };
    return remedy < DV_ARRAY_SIZE(names) ? names[remedy] : "none";
}

/* ---- switches ------------------------------------------------------------------------------- */

static void set_bit(uint64_t *bits, uint64_t i)
{
    bits[i / 64] |= UINT64_C(1) << i % 64;
}

static bool has_bit(const uint64_t *bits, uint64_t i)
{
    return i < DV_HEALTH_XIDS && (bits[i / 64] >> i % 64 & 1);
}

/* The next word of a list, without blanks around it. NULL at the end. */
static const char *next_word(const char **at, size_t *ret_len)
{
    const char *word = *at;
    if (!word || !*word)
        return NULL;
    size_t len = strcspn(word, ",");
    *at = word + len + (word[len] == ',');
    while (len && (*word == ' ' || *word == '\t')) {
        word++;
        len--;
    }
    while (len && (word[len - 1] == ' ' || word[len - 1] == '\t'))
        len--;
    *ret_len = len;
    return word;
}

static bool is_word(const char *word, size_t len, const char *is)
{
    return len == strlen(is) && !strncasecmp(word, is, len);
}

static bool read_number(const char *word, size_t len, uint64_t *ret)
{
    uint64_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (word[i] < '0' || word[i] > '9' || n > UINT32_MAX)
            return false;
        n = n * 10 + (uint64_t)(word[i] - '0');
    }
    *ret = n;
    return len > 0;
}

static void read_list(const char *list, uint64_t *bits, bool *ret_xids, bool *ret_all,
                      char bad[DV_HEALTH_WORD])
{
    const char *word;
    size_t len = 0;
    while ((word = next_word(&list, &len))) {
        uint64_t n;
        bool all = is_word(word, len, "all");
        *ret_all |= all;
        *ret_xids |= all || is_word(word, len, "xids");
        if (all || is_word(word, len, "xids") || !len)
            continue;
        if (read_number(word, len, &n) && n < DV_HEALTH_XIDS)
            set_bit(bits, n);
        else if (!bad[0])
            snprintf(bad, DV_HEALTH_WORD, "%.*s", (int)DV_MIN(len, DV_HEALTH_WORD - 1), word);
    }
}

void dv_health_switches_read(const char *disable, const char *enable,
                             struct dv_health_switches *ret, char bad[DV_HEALTH_WORD])
{
    static const uint64_t programs[] = {13, 31, 43, 45, 68, 109};
    struct dv_health_switches s = {0};
    bool all = false;
    bad[0] = 0;
    for (size_t i = 0; i < DV_ARRAY_SIZE(programs); i++)
        set_bit(s.ignored, programs[i]);
    read_list(disable, s.ignored, &s.xids_off, &s.all_off, bad);
    read_list(enable, s.enabled, &s.xids_on, &all, bad);
    s.all_off &= !all;
    *ret = s;
}

bool dv_health_switches_counts(const struct dv_health_switches *switches, uint64_t xid)
{
    if (switches->xids_on || has_bit(switches->enabled, xid))
        return true;
    return !switches->xids_off && !has_bit(switches->ignored, xid);
}

/* ---- verdicts ------------------------------------------------------------------------------- */

struct fault {
    enum dv_gpu_health health;
    enum dv_health_cause cause;
    enum dv_health_remedy remedy;
    uint64_t n;
};

static uint32_t links_down(const struct dv_health *h)
{
    return h->facts.links_up == DV_HEALTH_UNKNOWN32 ? 0 : h->links_most - h->facts.links_up;
}

/* The worst of those that stand. */
static struct fault standing(const struct dv_health *h)
{
    const struct dv_health_facts *f = &h->facts;
    if (h->driver != DV_HEALTH_DRIVER_ANSWERS)
        return (struct fault){DV_GPU_HEALTH_UNKNOWN, DV_HEALTH_DRIVER, DV_HEALTH_ANSWER, 0};
    if (f->lost)
        return (struct fault){DV_GPU_HEALTH_FAILED, DV_HEALTH_LOST, DV_HEALTH_RESET, 0};
    if (f->rows_failed == 1)
        return (struct fault){DV_GPU_HEALTH_FAILED, DV_HEALTH_ROWS_FAILED, DV_HEALTH_REPLACE, 0};
    if (h->reset_xid)
        return (struct fault){DV_GPU_HEALTH_FAILED, DV_HEALTH_XID_RESET, DV_HEALTH_RESET,
                              h->reset_xid};
    if (f->rows_pending == 1)
        return (struct fault){DV_GPU_HEALTH_FAILED, DV_HEALTH_ROWS_PENDING, DV_HEALTH_RESET, 0};
    if (f->pages_pending == 1)
        return (struct fault){DV_GPU_HEALTH_FAILED, DV_HEALTH_PAGES_PENDING, DV_HEALTH_RESET, 0};
    if (links_down(h))
        return (struct fault){DV_GPU_HEALTH_DEGRADED, DV_HEALTH_LINKS_DOWN, DV_HEALTH_LINKS,
                              links_down(h)};
    return (struct fault){DV_GPU_HEALTH_OK, DV_HEALTH_NONE, DV_HEALTH_NOTHING, 0};
}

static uint64_t hold(const struct dv_health *h)
{
    uint32_t doublings = h->soft ? h->flaps : h->flaps - 1;
    if (!h->soft && !h->flaps)
        return 0;
    return DV_MIN(DV_HEALTH_HOLD_NS << doublings, DV_HEALTH_HOLD_MAX_NS);
}

/* A sign of illness. */
static void fall_ill(struct dv_health *h, uint64_t now)
{
    h->bad_ns = now;
    if (h->bad)
        return;
    bool again = h->well_ns && now - h->well_ns < DV_HEALTH_FLAP_NS;
    h->flaps = again ? DV_MIN(h->flaps + 1, FLAPS_MAX) : 0;
    h->bad = true;
    h->soft = false;
    h->verdict.since_ns = now;
}

static void show(struct dv_health *h, const struct fault *f)
{
    struct dv_health_verdict *v = &h->verdict;
    v->health = f->health;
    v->cause = f->cause;
    v->remedy = f->remedy;
    v->n = f->n;
    v->until_ns = v->hold_ns = 0;
}

/* Nothing stands any more; the cause is still named. */
static void show_hold(struct dv_health *h)
{
    struct dv_health_verdict *v = &h->verdict;
    v->health = DV_GPU_HEALTH_FAILED;
    v->remedy = DV_HEALTH_TIME;
    v->hold_ns = hold(h);
    v->until_ns = h->bad_ns + v->hold_ns;
}

/* probe: the driver has just answered for the GPU. */
static void judge(struct dv_health *h, uint64_t now, bool probe)
{
    struct fault f = standing(h);
    bool silent = h->verdict.cause == DV_HEALTH_DRIVER;
    if (f.cause == DV_HEALTH_DRIVER) { /* which says nothing about the GPU: no illness of its own */
        if (!silent)
            h->verdict.since_ns = now;
        show(h, &f);
        return;
    }
    if (!dv_health_is_well(f.health)) {
        fall_ill(h, now);
        show(h, &f);
        return;
    }
    if (silent && !probe && !h->bad)
        return;
    if (h->bad && (!probe || now - h->bad_ns < hold(h))) {
        show_hold(h);
        return;
    }
    bool changes = h->bad || h->verdict.health != f.health;
    if (h->bad)
        h->well_ns = now;
    h->bad = h->soft = false;
    show(h, &f);
    if (changes)
        h->verdict.since_ns = now;
}

/* A fault that is over when it has happened. What stands, or is worse, is what is shown. */
static void strike(struct dv_health *h, uint64_t now, enum dv_health_cause cause, uint64_t n)
{
    bool first = !h->bad;
    fall_ill(h, now);
    h->soft = true;
    h->soft_ns = now;
    if (!dv_health_is_well(standing(h).health))
        return;
    if (first || cause >= h->verdict.cause) {
        h->verdict.cause = cause;
        h->verdict.n = n;
    }
    show_hold(h);
}

/* ---- what happens --------------------------------------------------------------------------- */

void dv_health_init(struct dv_health *h, uint64_t now_ns)
{
    *h = (struct dv_health){.verdict = {.health = DV_GPU_HEALTH_UNKNOWN,
                                        .cause = DV_HEALTH_NOT_SEEN,
                                        .remedy = DV_HEALTH_ANSWER,
                                        .since_ns = now_ns}};
    h->facts = (struct dv_health_facts){.links_up = DV_HEALTH_UNKNOWN32,
                                        .ecc_uncorrected = DV_HEALTH_UNKNOWN,
                                        .energy_mj = DV_HEALTH_UNKNOWN};
}

void dv_health_xid(struct dv_health *h, const struct dv_health_switches *switches, uint64_t now_ns,
                   uint64_t xid, uint64_t energy_mj)
{
    if (!xid || !dv_health_switches_counts(switches, xid))
        return;
    if (!dv_xid_needs_reset(xid)) {
        strike(h, now_ns, DV_HEALTH_XID, xid);
        return;
    }
    h->reset_xid = xid;
    h->reset_xid_ns = now_ns;
    h->reset_xid_energy_mj = energy_mj;
    judge(h, now_ns, false);
}

void dv_health_lost(struct dv_health *h, uint64_t now_ns)
{
    h->facts.lost = true;
    h->lost_ns = now_ns;
    judge(h, now_ns, false);
}

void dv_health_driver(struct dv_health *h, uint64_t now_ns, enum dv_health_driver driver)
{
    bool loaded = h->driver == DV_HEALTH_DRIVER_UNLOADED && driver == DV_HEALTH_DRIVER_ANSWERS;
    h->driver = driver;
    if (loaded)
        h->reset_xid = 0;
    if (h->seen || driver != DV_HEALTH_DRIVER_ANSWERS)
        judge(h, now_ns, false);
}

static bool fell(uint64_t from, uint64_t to)
{
    return from != DV_HEALTH_UNKNOWN && to != DV_HEALTH_UNKNOWN && to < from;
}

static bool memory_was_mended(const struct dv_health_facts *was, const struct dv_health_facts *is)
{
    return (was->rows_pending == 1 && is->rows_pending == 0) ||
           (was->pages_pending == 1 && is->pages_pending == 0);
}

/* Nothing but a start of the GPU does any of this. */
static bool has_started_anew(const struct dv_health_facts *was, const struct dv_health_facts *is)
{
    return (was->lost && !is->lost) || memory_was_mended(was, is) ||
           fell(was->ecc_uncorrected, is->ecc_uncorrected) || fell(was->energy_mj, is->energy_mj);
}

/* An XID that came between two observations may have come after the start that they show: it
 * stands, unless the start is seen by what such an XID itself leaves behind. */
static bool mends_xid(const struct dv_health *h, const struct dv_health_facts *is)
{
    bool memory =
        h->reset_xid == 48 || h->reset_xid == 64 || h->reset_xid == 94 || h->reset_xid == 95;
    return h->seen_ns > h->reset_xid_ns || (h->facts.lost && h->lost_ns >= h->reset_xid_ns) ||
           (memory && memory_was_mended(&h->facts, is));
}

static void without_memory_and_links(struct dv_health_facts *f)
{
    f->rows_pending = f->rows_failed = f->pages_pending = 0;
    f->links_up = DV_HEALTH_UNKNOWN32;
}

/* A GPU that is lost says nothing else: what was known of it stays. */
static void take(struct dv_health *h, const struct dv_health_switches *switches, uint64_t now,
                 const struct dv_health_facts *facts)
{
    struct dv_health_facts is = *facts;
    uint64_t errors = 0;
    if (is.lost) {
        h->facts.lost = true;
        h->lost_ns = now;
        return;
    }
    if (switches->all_off)
        without_memory_and_links(&is);
    if (is.energy_mj == DV_HEALTH_UNKNOWN)
        is.energy_mj = h->facts.energy_mj; /* not read just now: it may have fallen meanwhile */
    bool after_xid = h->reset_xid && fell(h->reset_xid_energy_mj, is.energy_mj);
    h->restarted = h->seen && (after_xid || has_started_anew(&h->facts, &is));
    if (h->restarted && (after_xid || mends_xid(h, &is)))
        h->reset_xid = 0;
    if (h->restarted && h->soft_ns <= h->seen_ns)
        h->soft = false; /* what was over before needs no time of its own any more */
    if (h->restarted)
        h->links_most = 0;
    if (h->seen && !switches->all_off && is.ecc_uncorrected != DV_HEALTH_UNKNOWN &&
        h->facts.ecc_uncorrected != DV_HEALTH_UNKNOWN &&
        is.ecc_uncorrected > h->facts.ecc_uncorrected)
        errors = is.ecc_uncorrected - h->facts.ecc_uncorrected;
    if (is.links_up != DV_HEALTH_UNKNOWN32)
        h->links_most = DV_MAX(h->links_most, is.links_up);
    h->facts = is;
    if (errors)
        strike(h, now, DV_HEALTH_ECC, errors);
}

void dv_health_observe(struct dv_health *h, const struct dv_health_switches *switches,
                       uint64_t now_ns, const struct dv_health_facts *facts)
{
    h->restarted = false;
    h->driver = DV_HEALTH_DRIVER_ANSWERS;
    take(h, switches, now_ns, facts);
    h->seen = true;
    h->seen_ns = now_ns;
    judge(h, now_ns, true);
}
