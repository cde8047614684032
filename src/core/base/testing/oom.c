/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing/oom.h"

static size_t countdown; /* until the one that fails; 0: none does */
static bool met;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);

void dv_oom_at(size_t n)
{
    met = false;
    countdown = n;
}

bool dv_oom_met(void)
{
    return met;
}

bool dv_oom_end(void)
{
    countdown = 0;
    return met;
}

bool dv_oom_fails(void)
{
    if (!countdown || --countdown)
        return false;
    met = true;
    return true;
}

void *dv_oom_malloc(size_t size)
{
    return dv_oom_fails() ? NULL : __real_malloc(size);
}

void *dv_oom_calloc(size_t n, size_t size)
{
    return dv_oom_fails() ? NULL : __real_calloc(n, size);
}

void *dv_oom_realloc(void *old, size_t size)
{
    return dv_oom_fails() ? NULL : __real_realloc(old, size);
}

void *__wrap_malloc(size_t size)
{
    return dv_oom_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return dv_oom_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return dv_oom_realloc(old, size);
}
