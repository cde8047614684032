/* SPDX-License-Identifier: Apache-2.0 */
#include "simulate/queue/queue_sim.h"

#include "model/gpu_model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

typedef unsigned __int128 u128;

enum stage {
    COMING = DV_QUEUE_SIM_COMING,
    PENDING = DV_QUEUE_SIM_PENDING_STAGE,
    RUNNING = DV_QUEUE_SIM_RUNNING,
    ENDED = DV_QUEUE_SIM_ENDED,
    REFUSED = DV_QUEUE_SIM_REFUSED,
};

/* One instance of a group of jobs. */
struct job {
    uint32_t group, instance, handle;
    uint8_t stage;
    bool started;
    uint32_t members;  /* now running */
    uint32_t version;  /* of its end: older events in the heap mean nothing */
    uint64_t first_ns; /* of waiting: when it came */
    uint64_t since_ns; /* when it came, was evicted */
    uint64_t at_ns;    /* of the last change of `left` */
    u128 left;         /* work: nanoseconds times members */
};

enum what { ENDS, GONE };

struct event {
    uint64_t at_ns, seq;
    uint32_t job, version;
    enum what what;
};

struct samples {
    uint64_t *v;
    size_t n, room;
};

/* Of one queue, while the clock runs. */
struct book {
    uint64_t held, at_ns;
    u128 held_unit_ns, bucket_start; /* bucket_start: held_unit_ns at the start of the bucket */
    struct samples waits;
};

struct dv_queue_sim {
    const struct dv_queue_scenario *scenario;
    uint64_t (*clock)(void);
    struct dv_fair *f;
    struct job *jobs; /* by the time of their coming */
    uint32_t n_jobs, next_job;
    uint32_t *job_of; /* by handle */
    struct event *heap;
    size_t n_heap, room_heap;
    uint64_t seq, now_ns;
    struct book *books;
    struct dv_queue_sim_queue *queues;
    struct samples waits, decisions;
    uint64_t bucket_end_ns;
    struct dv_queue_sim_pending explained[DV_QUEUE_SIM_PENDING], turned_down[DV_QUEUE_SIM_PENDING];
    struct dv_queue_sim_result result;
};

static uint64_t read_clock(const struct dv_queue_sim *s)
{
    return s->clock ? s->clock() : 0;
}

/* ---- samples -------------------------------------------------------------------------------- */

static int add_sample(struct samples *s, uint64_t v)
{
    if (s->n == s->room) {
        size_t room = s->room ? 2 * s->room : 64;
        uint64_t *more = realloc(s->v, room * sizeof *more);
        if (!more)
            return -ENOMEM;
        s->v = more;
        s->room = room;
    }
    s->v[s->n++] = v;
    return 0;
}

static int by_size(const void *x, const void *y)
{
    uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;
    return a < b ? -1 : a > b;
}

/* The smallest sample that so many per cent are not above. */
static uint64_t percentile(const struct samples *s, uint64_t percent)
{
    return s->n ? s->v[(s->n * percent + 99) / 100 - 1] : 0;
}

static struct dv_queue_sim_times times_of(struct samples *s)
{
    struct dv_queue_sim_times t = {.n = s->n};
    if (s->n)
        qsort(s->v, s->n, sizeof *s->v, by_size);
    for (size_t i = 0; i < s->n; i++)
        t.sum += s->v[i];
    t.p50 = percentile(s, 50);
    t.p99 = percentile(s, 99);
    t.max = percentile(s, 100);
    return t;
}

/* ---- events --------------------------------------------------------------------------------- */

static bool sooner(const struct event *a, const struct event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->seq < b->seq;
}

static int push(struct dv_queue_sim *s, uint64_t at_ns, uint32_t job, enum what what)
{
    if (s->n_heap == s->room_heap) {
        size_t room = s->room_heap ? 2 * s->room_heap : 64;
        struct event *more = realloc(s->heap, room * sizeof *more);
        if (!more)
            return -ENOMEM;
        s->heap = more;
        s->room_heap = room;
    }
    struct event e = {at_ns, s->seq++, job, s->jobs[job].version, what};
    size_t i = s->n_heap++;
    for (; i && sooner(&e, &s->heap[(i - 1) / 2]); i = (i - 1) / 2)
        s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = e;
    return 0;
}

static struct event pop(struct dv_queue_sim *s)
{
    struct event top = s->heap[0], last = s->heap[--s->n_heap];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= s->n_heap)
            break;
        if (child + 1 < s->n_heap && sooner(&s->heap[child + 1], &s->heap[child]))
            child++;
        if (!sooner(&s->heap[child], &last))
            break;
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = last;
    return top;
}

/* ---- building ------------------------------------------------------------------------------- */

static int by_arrival(const void *x, const void *y)
{
    const struct job *a = x, *b = y;
    if (a->first_ns != b->first_ns)
        return a->first_ns < b->first_ns ? -1 : 1;
    if (a->group != b->group)
        return a->group < b->group ? -1 : 1;
    return a->instance < b->instance ? -1 : a->instance > b->instance;
}

static int list_jobs(struct dv_queue_sim *s, struct dv_err *err)
{
    const struct dv_queue_scenario *c = s->scenario;
    uint64_t n = 0;
    for (uint32_t i = 0; i < c->n_jobs; i++)
        n += c->jobs[i].count;
    if (n > DV_QUEUE_JOBS_MAX)
        return dv_err_set(err, -E2BIG, "more than %u workloads", DV_QUEUE_JOBS_MAX);
    s->jobs = calloc(n + 1, sizeof *s->jobs);
    s->job_of = calloc(n + 1, sizeof *s->job_of);
    if (!s->jobs || !s->job_of)
        return -ENOMEM;
    for (uint32_t i = 0; i < c->n_jobs; i++)
        for (uint32_t k = 0; k < c->jobs[i].count; k++) {
            u128 at = c->jobs[i].arrival_ns + (u128)k * c->jobs[i].every_ns;
            s->jobs[s->n_jobs++] =
                (struct job){.group = i,
                             .instance = k,
                             .first_ns = at < DV_NEVER / 2 ? (uint64_t)at : DV_NEVER / 2};
        }
    qsort(s->jobs, s->n_jobs, sizeof *s->jobs, by_arrival);
    return 0;
}

static int build_nodes(struct dv_queue_sim *s, struct dv_err *err)
{
    const struct dv_queue_scenario *c = s->scenario;
    uint32_t model, node;
    int r = 0;
    /* Models that requests name come first, so that their bits are the pool's. */
    for (uint32_t i = 0; !r && i < c->n_models; i++) {
        const struct dv_gpu_model *m = dv_gpu_model_find(c->models[i], NULL);
        r = dv_fair_model(s->f, c->models[i], m ? m->mig : NULL, &model);
    }
    for (uint32_t i = 0; !r && i < c->n_nodes; i++) {
        const struct dv_queue_nodes *n = &c->nodes[i];
        const struct dv_gpu_model *m = dv_gpu_model_find(n->model, NULL);
        r = dv_fair_model(s->f, n->model, m ? m->mig : NULL, &model);
        for (uint32_t k = 0; !r && k < n->count; k++)
            r = dv_fair_add_node(s->f, model, n->rack + (n->rack_size ? k / n->rack_size : 0),
                                 n->gpus, &node);
    }
    if (r == -E2BIG)
        dv_err_set(err, r, "too many nodes, racks or models");
    else if (r == -EINVAL)
        dv_err_set(err, r, "a node has 1 to %u GPUs", DV_FAIR_NODE_GPUS_MAX);
    return r;
}

static int build_queues(struct dv_queue_sim *s, struct dv_err *err)
{
    const struct dv_queue_scenario *c = s->scenario;
    s->books = calloc(c->n_queues + 1, sizeof *s->books);
    s->queues = calloc(c->n_queues + 1, sizeof *s->queues);
    if (!s->books || !s->queues)
        return -ENOMEM;
    for (uint32_t i = 0; i < c->n_queues; i++) {
        uint32_t q;
        s->queues[i].parent = c->queues[i].conf.parent;
        int r = dv_fair_add_queue(s->f, &c->queues[i].conf, &q);
        if (r == -ENOMEM)
            return r;
        if (r < 0)
            return dv_err_set(
                err, r, "queue %s: nested too deep, or guarantee above limit, or out of range",
                c->queues[i].name);
    }
    return 0;
}

int dv_queue_sim_new(const struct dv_queue_scenario *scenario, uint64_t (*clock)(void),
                     struct dv_queue_sim **ret, struct dv_err *err)
{
    struct dv_queue_sim *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->scenario = scenario;
    s->clock = clock;
    s->result.bucket_ns = s->bucket_end_ns = DV_NS_PER_MS;
    s->result.buckets = 1;
    s->f = dv_fair_new(&scenario->config);
    int r = s->f ? build_nodes(s, err) : -ENOMEM;
    r = r ? r : build_queues(s, err);
    r = r ? r : list_jobs(s, err);
    if (r) {
        dv_queue_sim_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

void dv_queue_sim_free(struct dv_queue_sim *sim)
{
    if (!sim)
        return;
    for (uint32_t i = 0; sim->books && i < sim->scenario->n_queues; i++)
        free(sim->books[i].waits.v);
    dv_fair_free(sim->f);
    free(sim->jobs);
    free(sim->job_of);
    free(sim->heap);
    free(sim->books);
    free(sim->queues);
    free(sim->waits.v);
    free(sim->decisions.v);
    free(sim);
}

void dv_queue_sim_freep(struct dv_queue_sim **sim)
{
    dv_queue_sim_free(*sim);
    *sim = NULL;
}

/* ---- books ---------------------------------------------------------------------------------- */

static void settle_book(struct book *b, uint64_t now_ns)
{
    b->held_unit_ns += (u128)b->held * (now_ns - b->at_ns);
    b->at_ns = now_ns;
}

/* A queue (from 1) and all above it hold something else now. */
static void held_changed(struct dv_queue_sim *s, uint32_t queue)
{
    for (uint32_t i = queue; i; i = s->queues[i - 1].parent) {
        struct dv_fair_view view;
        dv_fair_look(s->f, i, s->now_ns, &view);
        settle_book(&s->books[i - 1], s->now_ns);
        s->books[i - 1].held = view.held;
    }
}

static void close_bucket(struct dv_queue_sim *s, uint64_t at_ns)
{
    uint32_t b = s->result.buckets - 1;
    uint64_t start = b * s->result.bucket_ns;
    for (uint32_t i = 0; i < s->scenario->n_queues; i++) {
        struct dv_fair_view view;
        struct book *book = &s->books[i];
        settle_book(book, at_ns);
        dv_fair_look(s->f, i + 1, s->now_ns, &view);
        s->queues[i].held[b] =
            at_ns > start ? (uint64_t)((book->held_unit_ns - book->bucket_start) / (at_ns - start))
                          : 0;
        s->queues[i].share[b] = view.share;
    }
}

static void open_bucket(struct dv_queue_sim *s)
{
    for (uint32_t i = 0; i < s->scenario->n_queues; i++)
        s->books[i].bucket_start = s->books[i].held_unit_ns;
    if (s->result.buckets < DV_QUEUE_SIM_BUCKETS) {
        s->result.buckets++;
        return;
    }
    /* Full: two become one. */
    for (uint32_t i = 0; i < s->scenario->n_queues; i++)
        for (uint32_t b = 0; b < DV_QUEUE_SIM_BUCKETS / 2; b++) {
            struct dv_queue_sim_queue *q = &s->queues[i];
            q->held[b] = (q->held[2 * b] + q->held[2 * b + 1]) / 2;
            q->share[b] = q->share[2 * b + 1];
        }
    s->result.buckets = DV_QUEUE_SIM_BUCKETS / 2 + 1;
    s->result.bucket_ns *= 2;
}

static void advance(struct dv_queue_sim *s, uint64_t now_ns)
{
    while (s->bucket_end_ns <= now_ns) {
        close_bucket(s, s->bucket_end_ns);
        open_bucket(s);
        s->bucket_end_ns = s->result.buckets * s->result.bucket_ns;
    }
    s->now_ns = now_ns;
}

/* ---- what happens ---------------------------------------------------------------------------- */

static uint32_t queue_of(const struct dv_queue_sim *s, const struct job *j)
{
    return s->scenario->jobs[j->group].spec.queue + 1;
}

static int come(struct dv_queue_sim *s, uint32_t i)
{
    struct job *j = &s->jobs[i];
    const struct dv_queue_jobs *group = &s->scenario->jobs[j->group];
    struct dv_fair_spec spec = group->spec;
    struct dv_fair_verdict verdict;
    spec.queue++;
    spec.id = i;
    int r = dv_fair_submit(s->f, &spec, s->now_ns, &j->handle, &verdict);
    if (r < 0)
        return r;
    for (uint32_t q = queue_of(s, j); q; q = s->queues[q - 1].parent) {
        s->queues[q - 1].submitted++;
        s->queues[q - 1].refused += r == DV_FAIR_REFUSED;
    }
    s->result.submitted++;
    s->result.refused += r == DV_FAIR_REFUSED;
    if (r && s->result.n_turned_down < DV_QUEUE_SIM_PENDING)
        s->turned_down[s->result.n_turned_down++] = (struct dv_queue_sim_pending){
            .jobs = j->group, .instance = j->instance, .other_jobs = NONE, .verdict = verdict};
    j->stage = r == DV_FAIR_REFUSED ? REFUSED : PENDING;
    j->since_ns = s->now_ns;
    j->left = (u128)group->duration_ns * group->spec.max;
    if (!r)
        s->job_of[j->handle] = i;
    return 0;
}

/* The work done since the last change counts; the end is when the rest will be done. */
static int plan_end(struct dv_queue_sim *s, uint32_t i, uint32_t members)
{
    struct job *j = &s->jobs[i];
    u128 done = (u128)(s->now_ns - j->at_ns) * j->members;
    j->left -= done < j->left ? done : j->left;
    j->at_ns = s->now_ns;
    j->members = members;
    j->version++;
    u128 rest = (j->left + members - 1) / members;
    return push(s, rest < DV_NEVER / 2 ? s->now_ns + (uint64_t)rest : DV_NEVER / 2, i, ENDS);
}

/* It starts, from the beginning. */
static int begin(struct dv_queue_sim *s, uint32_t i)
{
    struct job *j = &s->jobs[i];
    const struct dv_queue_jobs *group = &s->scenario->jobs[j->group];
    uint32_t n;
    int r = 0;
    dv_fair_places(s->f, j->handle, &n);
    j->stage = RUNNING;
    j->members = 0;
    j->at_ns = s->now_ns;
    j->left = (u128)group->duration_ns * group->spec.max;
    if (!j->started) {
        j->started = true;
        s->result.started++;
        r = add_sample(&s->waits, s->now_ns - j->first_ns);
        for (uint32_t q = queue_of(s, j); !r && q; q = s->queues[q - 1].parent) {
            s->queues[q - 1].started++;
            r = add_sample(&s->books[q - 1].waits, s->now_ns - j->first_ns);
        }
    }
    return r ? r : plan_end(s, i, n);
}

static int go(struct dv_queue_sim *s, uint32_t i)
{
    uint32_t handle = s->jobs[i].handle;
    if (s->scenario->grace_ns)
        return push(s, s->now_ns + s->scenario->grace_ns, i, GONE);
    dv_fair_gone(s->f, handle, s->now_ns);
    return 0;
}

static int lose(struct dv_queue_sim *s, const struct dv_fair_victim *v)
{
    uint32_t i = s->job_of[v->workload], n;
    struct job *j = &s->jobs[i];
    int r;
    held_changed(s, queue_of(s, j));
    s->result.reclaims += v->reclaimed;
    if (v->all) {
        j->stage = PENDING;
        j->since_ns = s->now_ns;
        j->version++;
        s->result.evicted++;
        for (uint32_t q = queue_of(s, j); q; q = s->queues[q - 1].parent)
            s->queues[q - 1].evicted++;
        return go(s, i);
    }
    s->result.shrunk++;
    dv_fair_places(s->f, v->workload, &n);
    r = plan_end(s, i, n);
    return r ? r : go(s, i);
}

/* The workload of a move starts anew once, however many of its members move. */
static int move(struct dv_queue_sim *s, const struct dv_fair_decision *d, uint32_t k)
{
    uint32_t i = s->job_of[d->moves[k].workload];
    s->result.moved++;
    for (uint32_t q = queue_of(s, &s->jobs[i]); q; q = s->queues[q - 1].parent)
        s->queues[q - 1].moved++;
    for (uint32_t before = 0; before < k; before++)
        if (d->moves[before].workload == d->moves[k].workload)
            return 0;
    int r = begin(s, i);
    return r ? r : go(s, i);
}

static int follow(struct dv_queue_sim *s, const struct dv_fair_decision *d)
{
    uint32_t i = s->job_of[d->workload], n;
    int r = 0;
    held_changed(s, queue_of(s, &s->jobs[i]));
    s->result.decisions++;
    s->result.backfilled += d->backfilled;
    s->result.lost_unit_ms += d->cost_unit_ms;
    for (uint32_t k = 0; !r && k < d->n_victims; k++)
        r = lose(s, &d->victims[k]);
    for (uint32_t k = 0; !r && k < d->n_moves; k++)
        r = move(s, d, k);
    if (r < 0)
        return r;
    if (d->kind == DV_FAIR_GROW) {
        s->result.grown++;
        dv_fair_places(s->f, d->workload, &n);
        return plan_end(s, i, n);
    }
    /* STARTING: it begins when the last one is gone. */
    if (dv_fair_state(s->f, d->workload) == DV_FAIR_STARTING)
        return 0;
    return begin(s, i);
}

static int decide(struct dv_queue_sim *s)
{
    for (;;) {
        struct dv_fair_decision d;
        uint64_t before = read_clock(s);
        int r = dv_fair_next(s->f, s->now_ns, &d);
        uint64_t took = read_clock(s) - before;
        s->result.deciding_ns += took;
        if (r == -ENOENT)
            return 0;
        r = r ? r : add_sample(&s->decisions, took);
        r = r ? r : follow(s, &d);
        if (r < 0)
            return r;
    }
}

/* Those who waited for others to be gone. */
static int begin_waiting(struct dv_queue_sim *s)
{
    int r = 0;
    for (uint32_t h = 0; !r && h < dv_fair_workloads(s->f); h++) {
        struct job *j = &s->jobs[s->job_of[h]];
        if (dv_fair_state(s->f, h) == DV_FAIR_RUNNING && j->handle == h && j->stage == PENDING)
            r = begin(s, s->job_of[h]);
    }
    return r;
}

/* An end that was planned before the workload was evicted or changed its size. */
static bool is_stale(const struct dv_queue_sim *s, const struct event *e)
{
    const struct job *j = &s->jobs[e->job];
    return e->what == ENDS && (e->version != j->version || j->stage != RUNNING);
}

static int happen(struct dv_queue_sim *s, const struct event *e)
{
    struct job *j = &s->jobs[e->job];
    if (e->what == GONE) {
        if (j->stage == ENDED)
            return 0;
        dv_fair_gone(s->f, j->handle, s->now_ns);
        return begin_waiting(s);
    }
    if (is_stale(s, e))
        return 0;
    uint32_t queue = queue_of(s, j);
    dv_fair_ended(s->f, j->handle, s->now_ns);
    j->stage = ENDED;
    s->result.ended++;
    for (uint32_t q = queue; q; q = s->queues[q - 1].parent)
        s->queues[q - 1].ended++;
    held_changed(s, queue);
    return 0;
}

int dv_queue_sim_step(struct dv_queue_sim *sim)
{
    struct dv_queue_sim *s = sim;
    while (s->n_heap && is_stale(s, &s->heap[0]))
        pop(s);
    uint64_t at = dv_fair_next_time(s->f, s->now_ns);
    bool busy = s->n_heap || s->next_job < s->n_jobs;
    if (s->next_job < s->n_jobs)
        at = DV_MIN(at, s->jobs[s->next_job].first_ns);
    if (s->n_heap)
        at = DV_MIN(at, s->heap[0].at_ns);
    /* Where nothing runs, comes or goes, time alone changes nothing that matters. */
    if (!busy || at > s->scenario->until_ns || at >= DV_NEVER / 2) {
        if (busy && s->scenario->until_ns < DV_NEVER / 2)
            advance(s, DV_MAX(s->scenario->until_ns, s->now_ns));
        return 1;
    }
    int r = 0;
    advance(s, DV_MAX(at, s->now_ns));
    while (!r && s->n_heap && s->heap[0].at_ns <= s->now_ns) {
        struct event e = pop(s);
        r = happen(s, &e);
    }
    while (!r && s->next_job < s->n_jobs && s->jobs[s->next_job].first_ns <= s->now_ns)
        r = come(s, s->next_job++);
    return r ? r : decide(s);
}

uint32_t dv_queue_sim_done(const struct dv_queue_sim *sim, uint32_t *ret_all)
{
    *ret_all = sim->n_jobs;
    return sim->result.ended + sim->result.refused;
}

/* ---- the answer -------------------------------------------------------------------------------
 */

static int explain(struct dv_queue_sim *s, uint32_t i, struct dv_queue_sim_pending *ret)
{
    struct job *j = &s->jobs[i];
    struct dv_queue_sim_pending p = {.jobs = j->group,
                                     .instance = j->instance,
                                     .waited_ns = j->stage == PENDING ? s->now_ns - j->since_ns : 0,
                                     .other_jobs = NONE};
    uint64_t before = read_clock(s);
    int r = dv_fair_explain(s->f, j->handle, s->now_ns, &p.verdict);
    s->result.explain_ns = DV_MAX(s->result.explain_ns, read_clock(s) - before);
    if (r < 0)
        return r;
    if (p.verdict.other != DV_FAIR_NONE) {
        const struct job *other = &s->jobs[s->job_of[p.verdict.other]];
        p.other_jobs = other->group;
        p.other_instance = other->instance;
    }
    *ret = p;
    return 0;
}

/* The instances of a group are alike, and so is why they were refused. */
static bool refusal_of(const struct dv_queue_sim *s, uint32_t group,
                       struct dv_queue_sim_pending *ret)
{
    for (uint32_t i = 0; i < s->result.n_turned_down; i++)
        if (s->turned_down[i].jobs == group) {
            ret->verdict = s->turned_down[i].verdict;
            return true;
        }
    return false;
}

int dv_queue_sim_explain(struct dv_queue_sim *sim, uint32_t jobs, uint32_t instance,
                         struct dv_queue_sim_about *ret)
{
    uint32_t i = 0;
    while (i < sim->n_jobs && (sim->jobs[i].group != jobs || sim->jobs[i].instance != instance))
        i++;
    if (i == sim->n_jobs)
        return -ENOENT;
    const struct job *j = &sim->jobs[i];
    struct dv_queue_sim_about about = {
        .stage = (enum dv_queue_sim_stage)j->stage,
        .comes_ns = j->first_ns,
        .judged = j->stage == PENDING || j->stage == RUNNING,
        .answer = {.jobs = jobs, .instance = instance, .other_jobs = NONE},
    };
    int r = about.judged ? explain(sim, i, &about.answer) : 0;
    if (about.stage == DV_QUEUE_SIM_REFUSED)
        about.judged = refusal_of(sim, jobs, &about.answer);
    if (r == 0)
        *ret = about;
    return r;
}

static int count_stages(struct dv_queue_sim *s)
{
    int r = 0;
    s->result.pending = s->result.running = s->result.n_explained = 0;
    for (uint32_t i = 0; i < s->next_job; i++) {
        struct job *j = &s->jobs[i];
        s->result.running += j->stage == RUNNING;
        if (j->stage != PENDING)
            continue;
        s->result.pending++;
        for (uint32_t q = queue_of(s, j); q; q = s->queues[q - 1].parent) {
            struct dv_queue_sim_queue *at = &s->queues[q - 1];
            at->pending++;
            at->longest_pending_ns = DV_MAX(at->longest_pending_ns, s->now_ns - j->since_ns);
        }
        if (!r && s->result.n_explained < DV_QUEUE_SIM_PENDING)
            r = explain(s, i, &s->explained[s->result.n_explained]);
        s->result.n_explained += !r && s->result.n_explained < DV_QUEUE_SIM_PENDING;
    }
    return r;
}

int dv_queue_sim_finish(struct dv_queue_sim *sim)
{
    struct dv_queue_sim *s = sim;
    close_bucket(s, s->now_ns);
    s->result.held_unit_ns = 0;
    for (uint32_t i = 0; i < s->scenario->n_queues; i++) {
        s->queues[i].pending = 0;
        s->queues[i].longest_pending_ns = 0;
        s->queues[i].waits = times_of(&s->books[i].waits);
        s->queues[i].held_unit_ns = s->books[i].held_unit_ns;
        if (!s->queues[i].parent)
            s->result.held_unit_ns += s->books[i].held_unit_ns;
    }
    s->result.now_ns = s->now_ns;
    s->result.capacity = dv_fair_capacity(s->f);
    s->result.waits = times_of(&s->waits);
    s->result.decision = times_of(&s->decisions);
    s->result.queues = s->queues;
    s->result.explained = s->explained;
    s->result.turned_down = s->turned_down;
    return count_stages(s);
}

const struct dv_queue_sim_result *dv_queue_sim_result(const struct dv_queue_sim *sim)
{
    return &sim->result;
}
