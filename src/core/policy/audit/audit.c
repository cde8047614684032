/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/audit.h"

#include "policy/audit/audit_judge.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    struct dv_audit_workload w;
    uint64_t hash;
    uint32_t next;   /* that was asked for after this one: traces repeat themselves */
    uint32_t beside; /* another one on the same GPU; UINT32_MAX: the last */
    char text[];     /* the name, a NUL, the GPU, a NUL */
};

struct dv_audit {
    struct entry **entries;
    uint32_t n, cap, last;
    uint32_t *table; /* open addressing: index + 1; 0 is free */
    uint32_t table_size;
    bool share_gpus;
    uint64_t duplicates, conflicts, late;
    struct dv_audit_fleet fleet;
};

struct dv_audit *dv_audit_new(void)
{
    return calloc(1, sizeof(struct dv_audit));
}

void dv_audit_free(struct dv_audit *a)
{
    if (!a)
        return;
    for (uint32_t i = 0; i < a->n; i++)
        free(a->entries[i]);
    free(a->entries);
    free(a->table);
    free(a);
}

/* ---- workloads by name ---------------------------------------------------------------------- */

/* FNV-1a (Fowler, Noll, Vo), over both texts with their ends. */
static uint64_t hash_of(const char *name, const char *gpu)
{
    uint64_t h = UINT64_C(14695981039346656037);
    const char *const texts[] = {name, gpu};
    for (size_t i = 0; i < 2; i++) {
        for (const char *p = texts[i]; *p; p++)
            h = (h ^ (unsigned char)*p) * UINT64_C(1099511628211);
        h *= UINT64_C(1099511628211);
    }
    return h ^ h >> 32;
}

/* Where it is, or the free place where it would be. */
static uint32_t seek(const struct dv_audit *a, uint64_t hash, const char *name, const char *gpu)
{
    uint32_t mask = a->table_size - 1, i = (uint32_t)hash & mask;
    for (; a->table[i]; i = (i + 1) & mask) {
        const struct entry *e = a->entries[a->table[i] - 1];
        if (e->hash == hash && !strcmp(e->w.name, name) && !strcmp(e->w.gpu, gpu))
            break;
    }
    return i;
}

static int grow(struct dv_audit *a)
{
    if (a->n == a->cap) {
        uint32_t cap = a->cap ? a->cap * 2 : 64;
        struct entry **more = realloc(a->entries, cap * sizeof(struct entry *));
        if (!more)
            return -ENOMEM;
        a->entries = more;
        a->cap = cap;
    }
    if (a->table && a->table_size > 2 * a->n)
        return 0;
    uint32_t size = a->table_size ? a->table_size * 2 : 256;
    uint32_t *table = calloc(size, sizeof *table);
    if (!table)
        return -ENOMEM;
    free(a->table);
    a->table = table;
    a->table_size = size;
    for (uint32_t i = 0; i < a->n; i++)
        table[seek(a, a->entries[i]->hash, a->entries[i]->w.name, a->entries[i]->w.gpu)] = i + 1;
    return 0;
}

static int add_entry(struct dv_audit *a, uint64_t hash, const char *name, const char *gpu)
{
    size_t n = strlen(name) + 1, m = strlen(gpu) + 1;
    if (n == 1 || n > DV_AUDIT_NAME_MAX + 1 || m > DV_AUDIT_NAME_MAX + 1)
        return -EINVAL;
    if (a->n == DV_AUDIT_WORKLOADS_MAX)
        return -E2BIG;
    int r = grow(a);
    if (r < 0)
        return r;
    struct entry *e = calloc(1, sizeof *e + n + m);
    if (!e)
        return -ENOMEM;
    memcpy(e->text, name, n);
    memcpy(e->text + n, gpu, m);
    e->hash = hash;
    e->w.name = e->text;
    e->w.gpu = e->text + n;
    e->w.part = 1;
    a->entries[a->n++] = e;
    a->table[seek(a, hash, name, gpu)] = a->n;
    return 0;
}

int dv_audit_find(struct dv_audit *a, const char *name, const char *gpu, uint32_t *ret)
{
    const struct entry *guess = a->n ? a->entries[a->entries[a->last]->next] : NULL;
    if (guess && !strcmp(guess->w.name, name) && !strcmp(guess->w.gpu, gpu)) {
        *ret = a->last = a->entries[a->last]->next;
        return 0;
    }
    uint64_t hash = hash_of(name, gpu);
    uint32_t at = a->table ? a->table[seek(a, hash, name, gpu)] : 0;
    if (!at) {
        int r = add_entry(a, hash, name, gpu);
        if (r < 0)
            return r;
        at = a->n;
    }
    a->entries[a->last]->next = at - 1;
    *ret = a->last = at - 1;
    return 0;
}

uint32_t dv_audit_count(const struct dv_audit *a)
{
    return a->n;
}

const struct dv_audit_workload *dv_audit_at(const struct dv_audit *a, uint32_t i)
{
    return i < a->n ? &a->entries[i]->w : NULL;
}

const struct dv_audit_fleet *dv_audit_fleet(const struct dv_audit *a)
{
    return &a->fleet;
}

/* ---- samples -------------------------------------------------------------------------------- */

static enum dv_audit_add count(struct dv_audit *a, enum dv_audit_add added)
{
    a->duplicates += added == DV_AUDIT_DUPLICATE || added == DV_AUDIT_CONFLICT;
    a->conflicts += added == DV_AUDIT_CONFLICT;
    a->late += added == DV_AUDIT_LATE;
    return added;
}

enum dv_audit_add dv_audit_busy(struct dv_audit *a, uint32_t workload, int64_t unix_ns,
                                double percent)
{
    return count(a, dv_audit_series_busy(&a->entries[workload]->w.series, unix_ns, percent));
}

enum dv_audit_add dv_audit_memory(struct dv_audit *a, uint32_t workload, int64_t unix_ns,
                                  double bytes)
{
    return count(a, dv_audit_series_memory(&a->entries[workload]->w.series, unix_ns, bytes));
}

/* ---- figures -------------------------------------------------------------------------------- */

/* The step that most samples came at: that of the workload in the middle, by samples, would be
 * dearer to find; the longest series' is as good. */
static uint64_t common_step(const struct dv_audit *a)
{
    uint64_t best = 0, step = 0;
    for (uint32_t i = 0; i < a->n; i++) {
        const struct dv_audit_times *t = &a->entries[i]->w.series.busy_times;
        struct dv_audit_spacing spacing;
        if (t->n <= best)
            continue;
        dv_audit_series_spacing(t, &spacing);
        if (!spacing.step_ns)
            continue;
        best = t->n;
        step = spacing.step_ns;
    }
    return step;
}

static void figures(struct dv_audit_workload *w, uint64_t common)
{
    const struct dv_audit_series *s = &w->series;
    double n = (double)s->busy_times.n;
    dv_audit_series_spacing(&s->busy_times, &w->spacing);
    if (!w->spacing.step_ns)
        w->spacing.step_ns = common;
    w->memory_mean = s->memory_times.n ? s->memory_sum / (double)s->memory_times.n : 0;
    if (!s->busy_times.n)
        return;
    w->mean_percent = s->busy_sum / n;
    double variance = s->busy_squares / n - w->mean_percent * w->mean_percent;
    w->deviation = variance > 0 ? sqrt(variance) : 0;
    w->p95_percent = DV_MIN(dv_audit_series_quantile(s, 0.95), s->busy_peak);
    w->idle_share = (double)s->idle / n;
    w->covered_ns = s->busy_times.n * w->spacing.step_ns;
}

/* ---- GPUs in use ---------------------------------------------------------------------------- */

/* When a GPU is in use without a break. */
struct use {
    const char *gpu; /* NULL: of one workload alone */
    int64_t start_ns, end_ns;
    uint64_t covered_ns;     /* by its workloads' samples, all together */
    double busy_ns, idle_ns; /* idle: of the parts that they held */
    uint32_t first, last;    /* its workloads, a list */
};

/* By the names up to a '/': what is behind it is an instance of the GPU. */
static int compare_gpus(const char *a, const char *b)
{
    size_t n = strcspn(a, "/"), m = strcspn(b, "/");
    int c = memcmp(a, b, DV_MIN(n, m));
    return c ? c : (n > m) - (n < m);
}

static int by_gpu(const void *a, const void *b)
{
    const struct use *x = a, *y = b;
    int c = x->gpu && y->gpu ? compare_gpus(x->gpu, y->gpu) : (x->gpu != NULL) - (y->gpu != NULL);
    return c ? c : (x->start_ns > y->start_ns) - (x->start_ns < y->start_ns);
}

/* Uses of one GPU that meet become one. */
static size_t merge_uses(const struct dv_audit *a, struct use *uses, size_t n)
{
    size_t kept = 0;
    qsort(uses, n, sizeof *uses, by_gpu);
    for (size_t i = 0; i < n; i++) {
        struct use *before = kept ? &uses[kept - 1] : NULL;
        if (before && before->gpu && uses[i].gpu && !compare_gpus(before->gpu, uses[i].gpu) &&
            uses[i].start_ns <= before->end_ns) {
            before->end_ns = DV_MAX(before->end_ns, uses[i].end_ns);
            before->covered_ns += uses[i].covered_ns;
            before->busy_ns += uses[i].busy_ns;
            before->idle_ns += uses[i].idle_ns;
            a->entries[before->last]->beside = uses[i].first;
            before->last = uses[i].last;
        } else {
            uses[kept++] = uses[i];
        }
    }
    return kept;
}

static size_t list_uses(const struct dv_audit *a, struct use *uses)
{
    size_t n = 0;
    for (uint32_t i = 0; i < a->n; i++) {
        struct dv_audit_workload *w = &a->entries[i]->w;
        const struct dv_audit_times *t = &w->series.busy_times;
        w->wasted_ns = (double)w->covered_ns * DV_MAX(w->part - w->mean_percent / 100, 0.0);
        a->entries[i]->beside = UINT32_MAX;
        if (t->n)
            uses[n++] = (struct use){.gpu = a->share_gpus && *w->gpu ? w->gpu : NULL,
                                     .start_ns = t->first_ns,
                                     .end_ns = t->last_ns,
                                     .covered_ns = w->covered_ns,
                                     .busy_ns = (double)w->covered_ns * w->mean_percent / 100,
                                     .idle_ns = w->wasted_ns,
                                     .first = i,
                                     .last = i};
    }
    return a->share_gpus ? merge_uses(a, uses, n) : n;
}

static int by_time(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* How many of them there are at once, at most. */
static uint32_t find_peak(int64_t *starts, int64_t *ends, size_t n)
{
    size_t peak = 0, gone = 0;
    qsort(starts, n, sizeof *starts, by_time);
    qsort(ends, n, sizeof *ends, by_time);
    for (size_t i = 0; i < n; i++) {
        while (ends[gone] < starts[i])
            gone++;
        peak = DV_MAX(peak, i + 1 - gone);
    }
    return (uint32_t)peak;
}

/* No more was wasted on a GPU than it was idle, whatever its workloads left idle of it. */
static void share_waste(const struct dv_audit *a, const struct use *use, double held_ns)
{
    double wasted = DV_MAX(held_ns - use->busy_ns, 0.0);
    if (wasted >= use->idle_ns)
        return;
    for (uint32_t i = use->first; i != UINT32_MAX; i = a->entries[i]->beside)
        a->entries[i]->w.wasted_ns *= wasted / use->idle_ns;
}

/* How many GPUs were in use at once, and for how long in all. */
static int find_use(const struct dv_audit *a, struct dv_audit_fleet *f)
{
    struct use *uses = calloc((size_t)a->n + 1, sizeof *uses);
    int64_t *starts = calloc(2 * (size_t)a->n + 1, sizeof *starts);
    bool beyond = false;
    if (uses && starts) {
        size_t n = list_uses(a, uses);
        int64_t *ends = starts + n;
        for (size_t i = 0; i < n; i++) {
            uint64_t length = (uint64_t)(uses[i].end_ns - uses[i].start_ns) + f->step_ns;
            starts[i] = uses[i].start_ns;
            ends[i] = uses[i].end_ns;
            uint64_t held = uses[i].gpu ? DV_MIN(uses[i].covered_ns, length) : uses[i].covered_ns;
            beyond = beyond || __builtin_add_overflow(f->gpu_ns, held, &f->gpu_ns);
            f->busy_ns += DV_MIN(uses[i].busy_ns, (double)held);
            f->overfull += uses[i].busy_ns > (double)held * 1.01;
            share_waste(a, &uses[i], (double)held);
        }
        f->gpus_peak = find_peak(starts, ends, n);
    }
    int r = !uses || !starts ? -ENOMEM : beyond ? -EOVERFLOW : 0;
    free(uses);
    free(starts);
    return r;
}

void dv_audit_part(struct dv_audit *a, uint32_t workload, double part)
{
    a->entries[workload]->w.part = part;
}

void dv_audit_share_gpus(struct dv_audit *a)
{
    a->share_gpus = true;
}

/* ---- the whole ------------------------------------------------------------------------------ */

static void add_to_fleet(struct dv_audit_fleet *f, const struct dv_audit_workload *w,
                         double *percent_sum)
{
    const struct dv_audit_series *s = &w->series;
    f->memory_samples += s->memory_times.n;
    f->out_of_order += s->busy_times.out_of_order + s->memory_times.out_of_order;
    f->backwards += s->busy_times.backwards || s->memory_times.backwards;
    if (!s->busy_times.n) {
        f->memory_only++;
        return;
    }
    f->first_ns =
        f->workloads ? DV_MIN(f->first_ns, s->busy_times.first_ns) : s->busy_times.first_ns;
    f->last_ns = f->workloads ? DV_MAX(f->last_ns, s->busy_times.last_ns) : s->busy_times.last_ns;
    f->workloads++;
    f->samples += s->busy_times.n;
    f->idle_samples += s->idle;
    f->gaps += w->spacing.gaps;
    f->missing += w->spacing.missing;
    f->by_class[w->class]++;
    *percent_sum += s->busy_sum;
}

int dv_audit_finish(struct dv_audit *a, const struct dv_audit_wish *wish)
{
    struct dv_audit_fleet f = {.step_ns = common_step(a),
                               .duplicates = a->duplicates,
                               .conflicts = a->conflicts,
                               .late = a->late};
    double percent_sum = 0;
    for (uint32_t i = 0; i < a->n; i++) {
        struct dv_audit_workload *w = &a->entries[i]->w;
        figures(w, f.step_ns);
        dv_audit_judge(w, wish);
        add_to_fleet(&f, w, &percent_sum);
    }
    f.mean_percent = f.samples ? percent_sum / (double)f.samples : 0;
    int r = find_use(a, &f);
    if (r < 0)
        return r;
    double span = (double)(f.last_ns - f.first_ns) + (double)f.step_ns;
    f.gpus_mean = span > 0 ? (double)f.gpu_ns / span : f.workloads;
    f.busy_ns = DV_MIN(f.busy_ns, (double)f.gpu_ns); /* a double's sum is rounded */
    a->fleet = f;
    return 0;
}
