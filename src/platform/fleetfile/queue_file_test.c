/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing/oom.h"
#include "fleetfile/queue_file.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEAD "apiVersion: divvy/v1\nkind: QueueScenario\n"
#define NODES "nodes: [{count: 2, model: a100-80gb}]\n"
#define QUEUES                                                                                     \
    "queues:\n- name: dept\n  guarantee: 8\n  queues:\n  - {name: a, guarantee: 2.5, weight: 3}\n" \
    "  - {name: b, limit: 4, min_runtime: 10m, priority: -1}\n"
#define JOBS                                                                                       \
    "workloads:\n- {name: train, queue: a, count: 3, every: 5m, gpus: 8, members: {min: 1, max: "  \
    "2}, "                                                                                         \
    "duration: 2h, estimate: 3h, one_rack: true}\n- {name: serve, queue: b, profile: 1g.10gb, "    \
    "members: 4, duration: 1h, preemptible: false, models: [A100-80GB, H100]}\n- {name: nb, "      \
    "queue: "                                                                                      \
    "b, fraction: 25%, duration: 30, priority: 7}\n"

static int read(const char *text, struct dv_queue_scenario **ret, struct dv_err *err)
{
    return dv_queue_file_read("q.yaml", text, strlen(text), ret, err);
}

static void test_whole(void **state)
{
    struct dv_queue_scenario *s = NULL;
    struct dv_err err = {{0}};
    int r = read(HEAD "name: two\nsettings: {half_life: 1d, pull: 0.5, patience: off, grace: 30s, "
                      "reclaim: false, until: 1d}\n" NODES QUEUES JOBS,
                 &s, &err);
    if (r)
        fail_msg("%s", err.msg);
    assert_string_equal(s->name, "two");
    assert_int_equal(s->config.half_life_ns, 86400 * DV_NS_PER_S);
    assert_int_equal(s->config.pull_milli, 500);
    assert_true(s->config.patience_ns == DV_NEVER);
    assert_true(s->config.no_reclaim && !s->config.no_preempt);
    assert_int_equal(s->grace_ns, 30 * DV_NS_PER_S);
    assert_string_equal(s->nodes[0].model, "A100-80GB");
    assert_int_equal(s->nodes[0].gpus, 8);
    assert_int_equal(s->n_queues, 3);
    assert_int_equal(s->queues[1].conf.parent, 1);
    assert_int_equal(s->queues[1].conf.guarantee, 17500);
    assert_int_equal(s->queues[2].conf.limit, 28000);
    assert_int_equal(s->queues[2].conf.priority, -1);
    assert_int_equal(s->n_jobs, 3);
    assert_int_equal(s->jobs[0].spec.queue, 1);
    assert_int_equal(s->jobs[0].spec.max, 2);
    assert_true(s->jobs[0].spec.request.one_rack);
    assert_int_equal(s->jobs[1].spec.request.kind, DV_FAIR_MIG);
    assert_int_equal(s->jobs[1].spec.request.models, 3);
    assert_false(s->jobs[1].spec.preemptible);
    assert_int_equal(s->jobs[2].spec.request.compute, 1750);
    assert_int_equal(s->jobs[2].spec.priority, 7);
    dv_queue_scenario_free(s);
}

static void refused(const char *text, const char *expected)
{
    struct dv_queue_scenario *s = NULL;
    struct dv_err err = {{0}};
    assert_int_equal(read(text, &s, &err), -EINVAL);
    assert_null(s);
    if (!strstr(err.msg, expected))
        fail_msg("\"%s\" is not in \"%s\"", expected, err.msg);
}

#define WITH(job) HEAD NODES "queues: [{name: a}]\nworkloads:\n- {name: x, queue: a, " job "}\n"

static void test_refused(void **state)
{
    refused("kind: QueueScenario\n", "q.yaml:1:1: apiVersion is missing");
    refused("apiVersion: divvy/v1\nkind: PriceList\n", "q.yaml:2:7: kind: QueueScenario is wanted");
    refused(HEAD NODES, "queues is missing");
    refused(HEAD "nodes: []\n", "nodes: an empty list");
    refused(HEAD "nodes: [{model: A100-80GB, gpu: 8}]\n", "\"gpus\"");
    refused(HEAD "nodes: [{model: A100-90GB}]\n", "q.yaml:3:17: model: ");
    refused(HEAD "nodes: [{model: T4, gpus: 17}]\n", "q.yaml:3:27: gpus");
    refused(HEAD NODES "queues: [{name: a}, {name: a}]\n", "there is a queue \"a\" already");
    refused(HEAD NODES "queues: [{name: a, guarantee: 8, limit: 4}]\n", "below the guarantee");
    refused(HEAD NODES "queues: [{name: a, guarantee: -8}]\n", "not a number of GPUs");
    refused(HEAD NODES QUEUES "workloads: [{name: x, queue: dept, duration: 1}]\n",
            "has queues below it");
    refused(HEAD NODES QUEUES "workloads: [{name: x, queue: detp, duration: 1}]\n",
            "did you mean \"dept\"?");
    refused(WITH("gpus: 8"), "duration is missing");
    refused(WITH("duration: 1h, gpus: 1, fraction: 0.5"), "one of gpus, fraction and profile");
    refused(WITH("duration: 1h, fraction: 1.5"), "fraction: ");
    refused(WITH("duration: 1h, profile: 1g10gb"), "profile: ");
    refused(WITH("duration: soon"), "duration: ");
    refused(WITH("duration: 1h, members: {min: 4, max: 2}"), "max: below min");
    refused(WITH("duration: 1h, count: 2000000"), "count");
    refused(WITH("duration: 1h, gpu: 2"), "\"gpus\"");
}

static void test_memory_runs_out(void **state)
{
    size_t n = 0;
    bool met;
    do {
        struct dv_queue_scenario *s = NULL;
        struct dv_err err = {{0}};
        dv_oom_at(++n);
        int r = read(HEAD NODES QUEUES JOBS, &s, &err);
        met = dv_oom_end();
        assert_int_equal(r, met ? -ENOMEM : 0);
        dv_queue_scenario_free(s);
    } while (met);
    assert_in_range(n, 30, 2000);
}

/* ---- the examples of docs/reference/queue-file.md ---- */

static char page[1 << 16];

/* The text between the fence that follows `from` and its end; cuts the page there. */
static char *block(char *from)
{
    char *start = strchr(strstr(from, "```"), '\n') + 1, *end = strstr(start, "\n```");
    end[1] = 0;
    return start;
}

static void test_page(void **state)
{
    char path[4096];
    const char *source = getenv("DIVVY_SOURCE");
    snprintf(path, sizeof path, "%s/docs/reference/queue-file.md", source ? source : ".");
    FILE *f = fopen(path, "r");
    if (!f)
        fail_msg("%s is not there", path);
    page[fread(page, 1, sizeof page - 1, f)] = 0;
    fclose(f);
    char *bad = strstr(page, "```yaml refused");
    char *message = strstr(bad + 3, "```\n\n```\n");
    char *says = block(message + 4), *wrong = block(bad), *good = block(page);
    struct dv_queue_scenario *s = NULL;
    struct dv_err err = {{0}};
    assert_int_equal(dv_queue_file_read("queues.yaml", good, strlen(good), &s, &err), 0);
    assert_int_equal(s->n_jobs, 5);
    dv_queue_scenario_free(s);
    assert_int_equal(dv_queue_file_read("queues.yaml", wrong, strlen(wrong), &s, &err), -EINVAL);
    says[strlen(says) - 1] = 0;
    assert_string_equal(err.msg, says);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_memory_runs_out),
        cmocka_unit_test(test_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
