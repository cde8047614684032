/* SPDX-License-Identifier: Apache-2.0 */
#include "simulate/queue/scenario.h"

#include "base/str.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct dv_queue_scenario *dv_queue_scenario_new(void)
{
    struct dv_queue_scenario *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->config = dv_fair_defaults;
    s->until_ns = DV_NEVER;
    return s;
}

void dv_queue_scenario_free(struct dv_queue_scenario *scenario)
{
    if (!scenario)
        return;
    free(scenario->nodes);
    free(scenario->queues);
    free(scenario->jobs);
    free(scenario->models);
    free(scenario);
}

void dv_queue_scenario_freep(struct dv_queue_scenario **scenario)
{
    dv_queue_scenario_free(*scenario);
    *scenario = NULL;
}

/* One more of an array that doubles: its size is the next power of two. */
static void *one_more(void **array, uint32_t *n, uint32_t max, size_t size)
{
    if (*n == max)
        return NULL;
    if (!(*n & (*n - 1))) {
        void *more = realloc(*array, (*n ? 2 * (size_t)*n : 1) * size);
        if (!more)
            return NULL;
        *array = more;
    }
    void *last = (char *)*array + (size_t)(*n)++ * size;
    memset(last, 0, size);
    return last;
}

struct dv_queue_nodes *dv_queue_scenario_add_nodes(struct dv_queue_scenario *s)
{
    return one_more((void **)&s->nodes, &s->n_nodes, DV_QUEUE_GROUPS_MAX, sizeof *s->nodes);
}

struct dv_queue_def *dv_queue_scenario_add_queue(struct dv_queue_scenario *s, const char *name)
{
    struct dv_queue_def *q =
        one_more((void **)&s->queues, &s->n_queues, DV_FAIR_QUEUES_MAX - 1, sizeof *q);
    if (!q)
        return NULL;
    q->conf.limit = DV_FAIR_UNLIMITED;
    q->conf.weight = 1;
    dv_str_copy(q->name, sizeof q->name, name);
    return q;
}

struct dv_queue_jobs *dv_queue_scenario_add_jobs(struct dv_queue_scenario *s, const char *name)
{
    struct dv_queue_jobs *j = one_more((void **)&s->jobs, &s->n_jobs, DV_QUEUE_JOBS_MAX, sizeof *j);
    if (!j)
        return NULL;
    j->count = 1;
    j->spec.preemptible = j->spec.movable = true;
    j->spec.min = j->spec.max = 1;
    dv_str_copy(j->name, sizeof j->name, name);
    return j;
}

int dv_queue_scenario_model(struct dv_queue_scenario *s, const char *name, uint32_t *ret_bit)
{
    for (uint32_t i = 0; i < s->n_models; i++)
        if (!strcmp(s->models[i], name)) {
            *ret_bit = i;
            return 0;
        }
    if (s->n_models == DV_FAIR_MODELS_MAX)
        return -E2BIG;
    char(*more)[DV_FAIR_MODEL_SIZE] =
        one_more((void **)&s->models, &s->n_models, DV_FAIR_MODELS_MAX, sizeof *more);
    if (!more)
        return -ENOMEM;
    dv_str_copy(*more, sizeof *more, name);
    *ret_bit = s->n_models - 1;
    return 0;
}
