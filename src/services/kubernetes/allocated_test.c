/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/allocated.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GPU "nvidia.com/gpu"

/* Units by their letters: "AB" are A and B. Returns the name. */
static const char *add(struct dv_allocated_list *l, const char *letters)
{
    char texts[8][2];
    const char *units[8];
    struct dv_allocated a;
    size_t n = strlen(letters);
    assert_true(n <= 8);
    for (size_t i = 0; i < n; i++) {
        snprintf(texts[i], sizeof texts[i], "%c", letters[i]);
        units[i] = texts[i];
    }
    assert_int_equal(0, dv_allocated_make(GPU, units, n, &a));
    assert_int_equal(0, dv_allocated_add(l, &a));
    return l->all[l->n - 1].name;
}

static void the_order_of_units_does_not_matter(void **state)
{
    (void)state;
    struct dv_allocated_list l = {0};
    char name[DV_ALLOCATED_NAME];
    snprintf(name, sizeof name, "%s", add(&l, "ABC"));
    assert_string_equal(name, add(&l, "CAB"));
    assert_int_equal(1, l.n);
    assert_string_not_equal(name, add(&l, "AB"));
    dv_allocated_list_done(&l);
}

/* Of a pod: two for the init container, one of them for each of the others. */
static void what_an_init_container_has_stays_when_others_get_parts_of_it(void **state)
{
    (void)state;
    struct dv_allocated_list l = {0};
    char name[DV_ALLOCATED_NAME];
    snprintf(name, sizeof name, "%s", add(&l, "AB"));
    add(&l, "A");
    add(&l, "B");
    assert_int_equal(3, l.n);
    assert_string_equal(name, l.all[0].name);
    assert_true(l.all[0].old && !l.all[1].old && !l.all[2].old);
    add(&l, "AB"); /* the next pod */
    assert_int_equal(3, l.n);
    assert_true(l.all[0].old && l.all[1].old && !l.all[2].old);
    dv_allocated_list_done(&l);
}

static void the_oldest_of_too_many_go(void **state)
{
    (void)state;
    struct dv_allocated_list l = {0};
    struct dv_allocated *old;
    char number[16];
    const char *units[] = {"same", number};
    add(&l, "Z"); /* never had by anybody else */
    for (int i = 0; i < 1000; i++) {
        struct dv_allocated a;
        snprintf(number, sizeof number, "%d", i);
        assert_int_equal(0, dv_allocated_make(GPU, units, 2, &a));
        assert_int_equal(0, dv_allocated_add(&l, &a));
        while ((old = dv_allocated_surplus(&l)))
            dv_allocated_remove(&l, old);
        assert_true(l.n <= DV_ALLOCATED_OLD_MAX + 2);
    }
    assert_int_equal(DV_ALLOCATED_OLD_MAX + 2, l.n);
    assert_string_equal("Z", l.all[0].units[0]);
    snprintf(number, sizeof number, "%u", 999 - DV_ALLOCATED_OLD_MAX);
    assert_string_equal(number, l.all[1].units[0]);
    dv_allocated_list_done(&l);
}

/* Devices that are no longer there (MIG, cut anew) are nobody's any more, and never become old. */
static void a_full_list_takes_the_next_one(void **state)
{
    (void)state;
    struct dv_allocated_list l = {.all = calloc(DV_ALLOCATED_MAX, sizeof *l.all)};
    struct dv_allocated *old;
    char number[16];
    const char *unit = number;
    assert_non_null(l.all);
    for (; l.n < DV_ALLOCATED_MAX - 1; l.n++) {
        snprintf(number, sizeof number, "%zu", l.n);
        assert_int_equal(0, dv_allocated_make(GPU, &unit, 1, &l.all[l.n]));
    }
    for (int i = 0; i < 2; i++) {
        add(&l, i ? "B" : "A");
        while ((old = dv_allocated_surplus(&l)))
            dv_allocated_remove(&l, old);
        assert_int_equal(DV_ALLOCATED_MAX - 1, l.n);
    }
    assert_string_equal("2", l.all[0].units[0]);
    assert_string_equal("A", l.all[l.n - 2].units[0]);
    dv_allocated_list_done(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_order_of_units_does_not_matter),
        cmocka_unit_test(what_an_init_container_has_stays_when_others_get_parts_of_it),
        cmocka_unit_test(the_oldest_of_too_many_go),
        cmocka_unit_test(a_full_list_takes_the_next_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
