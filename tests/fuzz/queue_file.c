/* SPDX-License-Identifier: Apache-2.0 */
/* Queue files: any text is a scenario that can be simulated, or an error with a message that
 * prints. */
#include "fleetfile/queue_file.h"

#include "simulate/queue/queue_sim.h"

#include <errno.h>
#include <stdlib.h>

#define STEPS_MAX 200 /* a small file may describe a long run */
#define WORK_MAX 2000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_message(const char *text)
{
    if (!*text)
        abort();
    for (; *text; text++)
        if (*text < ' ' || *text > '~')
            abort();
}

static bool is_small(const struct dv_queue_scenario *s)
{
    uint64_t work = 0;
    for (uint32_t i = 0; i < s->n_jobs; i++)
        work += s->jobs[i].count * (uint64_t)s->jobs[i].spec.max;
    for (uint32_t i = 0; i < s->n_nodes; i++)
        work += s->nodes[i].count;
    return work < WORK_MAX;
}

static void simulate(const struct dv_queue_scenario *s)
{
    struct dv_queue_sim *sim = NULL;
    struct dv_err err = {{0}};
    int r = dv_queue_sim_new(s, NULL, &sim, &err);
    if (r < 0 && r != -ENOMEM)
        check_message(err.msg);
    for (int i = 0; !r && i < STEPS_MAX; i++)
        r = dv_queue_sim_step(sim);
    if (r >= 0 && dv_queue_sim_finish(sim) == -EINVAL)
        abort();
    dv_queue_sim_free(sim);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dv_queue_scenario *s = NULL;
    struct dv_err err = {{0}};
    int r = dv_queue_file_read("fuzz.yaml", (const char *)data, size, &s, &err);
    if (r == -ENOMEM)
        return 0;
    if (r < 0) {
        check_message(err.msg);
        return 0;
    }
    if (is_small(s))
        simulate(s);
    dv_queue_scenario_free(s);
    return 0;
}
