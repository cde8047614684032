/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/settings.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define SHARED(n)                                                                                  \
    "version: v1\nsharing:\n  timeSlicing:\n    renameByDefault: true\n    "                       \
    "failRequestsGreaterThanOne: true\n    resources:\n    - name: nvidia.com/gpu\n      "         \
    "replicas: " #n "\n"

struct world {
    char dir[64];
    struct dv_settings *settings;
};

static const char *path_of(const struct world *w, const char *name)
{
    static char path[160];
    snprintf(path, sizeof path, "%s/%s", w->dir, name);
    return path;
}

/* As the kubelet and a careful writer do: the old file is there until the new one is whole. */
static void put(const struct world *w, const char *name, const char *text)
{
    char tmp[160];
    snprintf(tmp, sizeof tmp, "%s/.new", w->dir);
    FILE *f = fopen(tmp, "we");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(0, fclose(f));
    assert_int_equal(0, rename(tmp, path_of(w, name)));
}

static void start(struct world *w, const struct dv_settings_options *options)
{
    struct dv_err err;
    assert_int_equal(0, dv_settings_new(options, &w->settings, &err));
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    snprintf(w->dir, sizeof w->dir, "/tmp/divvy-settings-XXXXXX");
    *state = w;
    return mkdtemp(w->dir) ? 0 : -1;
}

static int teardown(void **state)
{
    struct world *w = *state;
    char command[100];
    dv_settings_free(w->settings);
    snprintf(command, sizeof command, "rm -rf %s", w->dir);
    int r = system(command);
    free(w);
    return r;
}

static uint32_t replicas(const struct world *w)
{
    const struct dv_plugin_sharing *s =
        &dv_settings_config(w->settings)->sharing[DV_PLUGIN_TIME_SLICING];
    return s->n_shares ? s->shares[0].replicas : 0;
}

static void a_node_without_a_file_has_the_defaults(void **state)
{
    struct world *w = *state;
    start(w, &(struct dv_settings_options){0});
    assert_false(dv_settings_look(w->settings));
    assert_int_equal(0, replicas(w));
    assert_int_equal(1, dv_settings_generation(w->settings));
    assert_string_equal("", dv_settings_problem(w->settings));
}

static void options_and_variables_go_over_the_file(void **state)
{
    struct world *w = *state;
    const struct dv_plugin_setting over[] = {{"MIG_STRATEGY", "mixed"}, {"HOME", "/"}};
    put(w, "c.yaml", "version: v1\nflags: {migStrategy: single, failOnInitError: false}\n");
    char path[160];
    snprintf(path, sizeof path, "%s", path_of(w, "c.yaml"));
    start(w, &(struct dv_settings_options){.path = path, .over = over, .n_over = 2});
    assert_int_equal(DV_MIG_STRATEGY_MIXED, dv_settings_config(w->settings)->flags.mig_strategy);
    assert_true(dv_settings_look(w->settings));
    assert_int_equal(DV_MIG_STRATEGY_MIXED, dv_settings_config(w->settings)->flags.mig_strategy);
    assert_false(dv_settings_config(w->settings)->flags.fail_on_init_error);
}

static void a_cluster_policy_goes_over_the_file_and_below_options(void **state)
{
    struct world *w = *state;
    const struct dv_plugin_setting over[] = {{"MIG_STRATEGY", "none"}};
    const struct dv_settings_policy mixed = {true, DV_MIG_STRATEGY_MIXED, NULL, NULL};
    put(w, "c.yaml", "version: v1\nflags: {migStrategy: single}\n");
    char path[160];
    snprintf(path, sizeof path, "%s", path_of(w, "c.yaml"));
    for (size_t n_over = 0; n_over < 2; n_over++) {
        start(w, &(struct dv_settings_options){.path = path, .over = over, .n_over = n_over});
        assert_true(dv_settings_look(w->settings));
        dv_settings_policy(w->settings, &mixed);
        assert_true(dv_settings_look(w->settings));
        assert_int_equal(n_over ? DV_MIG_STRATEGY_NONE : DV_MIG_STRATEGY_MIXED,
                         dv_settings_config(w->settings)->flags.mig_strategy);
        dv_settings_policy(w->settings, &mixed);
        assert_false(dv_settings_look(w->settings)); /* the same words again */
        dv_settings_policy(w->settings, &(struct dv_settings_policy){0});
        assert_true(dv_settings_look(w->settings));
        assert_int_equal(n_over ? DV_MIG_STRATEGY_NONE : DV_MIG_STRATEGY_SINGLE,
                         dv_settings_config(w->settings)->flags.mig_strategy);
        dv_settings_free(w->settings);
        w->settings = NULL;
    }
}

static void a_wrong_variable_is_an_error_at_the_start(void **state)
{
    (void)state;
    const struct dv_plugin_setting over[] = {{"MIG_STRATEGY", "mixd"}};
    struct dv_settings *s = NULL;
    struct dv_err err;
    assert_int_equal(
        -EINVAL,
        dv_settings_new(&(struct dv_settings_options){.over = over, .n_over = 1}, &s, &err));
    assert_non_null(strstr(err.msg, "MIG_STRATEGY"));
}

static void a_change_is_seen_and_nothing_else(void **state)
{
    struct world *w = *state;
    put(w, "c.yaml", SHARED(4));
    char path[160];
    snprintf(path, sizeof path, "%s", path_of(w, "c.yaml"));
    start(w, &(struct dv_settings_options){.path = path});
    assert_true(dv_settings_look(w->settings));
    assert_int_equal(4, replicas(w));
    assert_false(dv_settings_look(w->settings));
    put(w, "c.yaml", SHARED(3));
    assert_true(dv_settings_look(w->settings));
    assert_int_equal(3, replicas(w));
    assert_false(dv_settings_look(w->settings));
}

static void what_is_wrong_leaves_the_last_good_in_force(void **state)
{
    struct world *w = *state;
    put(w, "c.yaml", SHARED(4));
    char path[160];
    snprintf(path, sizeof path, "%s", path_of(w, "c.yaml"));
    start(w, &(struct dv_settings_options){.path = path});
    assert_true(dv_settings_look(w->settings));
    uint64_t generation = dv_settings_generation(w->settings);

    put(w, "c.yaml", "version: v1\nsharing:\n  timeSlicin:\n    resources: []\n");
    assert_true(dv_settings_look(w->settings));
    assert_int_equal(4, replicas(w));
    assert_int_equal(generation, dv_settings_generation(w->settings));
    assert_non_null(strstr(dv_settings_problem(w->settings), ":3:"));
    assert_non_null(strstr(dv_settings_problem(w->settings), "timeSlicing"));
    assert_false(dv_settings_look(w->settings)); /* said once */

    assert_int_equal(0, unlink(path));
    assert_true(dv_settings_look(w->settings));
    assert_int_equal(4, replicas(w));
    assert_false(dv_settings_look(w->settings));

    put(w, "c.yaml", SHARED(2));
    assert_true(dv_settings_look(w->settings));
    assert_int_equal(2, replicas(w));
    assert_string_equal("", dv_settings_problem(w->settings));
}

static void a_file_cut_short_is_read_again_when_it_is_whole(void **state)
{
    struct world *w = *state;
    char path[160];
    put(w, "c.yaml", "version: v1\nsharing: {timeSlicing: {resources: [{name: nvidia.com/g");
    snprintf(path, sizeof path, "%s", path_of(w, "c.yaml"));
    start(w, &(struct dv_settings_options){.path = path});
    assert_true(dv_settings_look(w->settings));
    assert_string_not_equal("", dv_settings_problem(w->settings));
    FILE *f = fopen(path, "ae"); /* the same inode */
    assert_non_null(f);
    fputs("pu, replicas: 4}]}}\n", f);
    assert_int_equal(0, fclose(f));
    assert_true(dv_settings_look(w->settings));
    assert_int_equal(4, replicas(w));
}

static void the_label_chooses_among_named_ones(void **state)
{
    struct world *w = *state;
    put(w, "default", SHARED(2));
    put(w, "t4", SHARED(4));
    start(w, &(struct dv_settings_options){.path = w->dir});
    assert_true(dv_settings_look(w->settings));
    assert_int_equal(2, replicas(w));
    dv_settings_label(w->settings, "t4");
    assert_true(dv_settings_look(w->settings));
    assert_int_equal(4, replicas(w));
    dv_settings_label(w->settings, "t5");
    assert_true(dv_settings_look(w->settings));
    assert_int_equal(4, replicas(w));
    assert_non_null(strstr(dv_settings_problem(w->settings), "t5"));
    dv_settings_label(w->settings, NULL);
    assert_true(dv_settings_look(w->settings));
    assert_int_equal(2, replicas(w));
    assert_string_equal("", dv_settings_problem(w->settings));
}

/* An agent that is started while the file is wrong goes on with what was in force. */
static void the_last_good_one_outlives_a_restart(void **state)
{
    struct world *w = *state;
    char path[160], kept[160];
    snprintf(path, sizeof path, "%s", path_of(w, "c.yaml"));
    snprintf(kept, sizeof kept, "%s", path_of(w, "kept"));
    const struct dv_settings_options options = {.path = path, .kept = kept};
    put(w, "c.yaml", SHARED(4));
    start(w, &options);
    assert_true(dv_settings_look(w->settings));
    put(w, "c.yaml", "version: v2\n");
    assert_true(dv_settings_look(w->settings));
    for (int gone = 0; gone < 2; gone++) {
        dv_settings_free(w->settings);
        start(w, &options);
        assert_true(dv_settings_look(w->settings));
        assert_int_equal(4, replicas(w));
        assert_string_equal(path, dv_settings_source(w->settings));
        assert_non_null(strstr(dv_settings_problem(w->settings), gone ? "No such" : "c.yaml:1:"));
        assert_false(dv_settings_look(w->settings)); /* the same again */
        assert_int_equal(0, gone ? 0 : unlink(path));
    }
    put(w, "c.yaml", SHARED(2));
    assert_true(dv_settings_look(w->settings));
    assert_int_equal(2, replicas(w));
    put(w, "kept", "no line, no text");
    put(w, "c.yaml", "version: v2\n");
    dv_settings_free(w->settings);
    start(w, &options);
    assert_true(dv_settings_look(w->settings));
    assert_int_equal(0, replicas(w));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_node_without_a_file_has_the_defaults),
        T(options_and_variables_go_over_the_file),
        T(a_cluster_policy_goes_over_the_file_and_below_options),
        T(a_wrong_variable_is_an_error_at_the_start),
        T(a_change_is_seen_and_nothing_else),
        T(what_is_wrong_leaves_the_last_good_in_force),
        T(a_file_cut_short_is_read_again_when_it_is_whole),
        T(the_last_good_one_outlives_a_restart),
        T(the_label_chooses_among_named_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
