/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/label_marks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX DV_LABEL_MARKS_PREFIX
#define TIMESTAMP PREFIX "gfd.timestamp"
#define PRESENT PREFIX "gpu.present"
#define TAKEN_MAX DV_KUBE_MARKS_MAX /* keys of an annotation that are looked at */

static void add(struct dv_label_marks *m, const char *key, const char *value)
{
    m->pairs[m->n++] = (struct dv_kube_pair){key, value};
}

static void annotate(struct dv_label_marks *m, const char *key)
{
    if (strncmp(key, PREFIX, sizeof PREFIX - 1) != 0 || !strcmp(key, PRESENT))
        return;
    dv_str_addf(&m->annotation, "%s%s", m->annotation.len ? "," : "", key + sizeof PREFIX - 1);
}

/* True: something other than the timestamp. */
static bool give(struct dv_label_marks *m, const struct dv_labels *want,
                 dv_label_marks_lookup *lookup, const void *arg)
{
    bool matters = false;
    for (size_t i = 0; want && i < want->n; i++) {
        const struct dv_label *l = &want->list[i];
        const char *now = lookup(arg, l->key);
        annotate(m, l->key);
        if (now && !strcmp(now, l->value))
            continue;
        matters |= !now || strcmp(l->key, TIMESTAMP) != 0;
        add(m, l->key, l->value);
    }
    return matters;
}

/* True: one of ours is there and should not be. */
static bool take(struct dv_label_marks *m, const struct dv_labels *want,
                 dv_label_marks_lookup *lookup, const void *arg)
{
    bool any = false;
    char *at = m->keys, *rest;
    for (char *key = strtok_r(at, "\n", &rest); key; key = strtok_r(NULL, "\n", &rest)) {
        if ((want && dv_labels_get(want, key)) || !strcmp(key, PRESENT) || !lookup(arg, key))
            continue;
        add(m, key, NULL);
        any = true;
    }
    return any;
}

/* The annotation's keys, whole, one a line. Returns how many; -ENOMEM. */
static int read_keys(struct dv_label_marks *m, const char *annotation)
{
    dv_cleanup(dv_str_done) struct dv_str keys = {0};
    int n = 0;
    while (annotation && *annotation && n < (int)TAKEN_MAX) {
        size_t len = strcspn(annotation, ",");
        if (len && len < DV_LABELS_KEY && !memchr(annotation, '\n', len)) {
            dv_str_add(&keys, PREFIX);
            dv_str_addn(&keys, annotation, len);
            dv_str_addc(&keys, '\n');
            n++;
        }
        annotation += len + (annotation[len] == ',');
    }
    if (keys.failed)
        return -ENOMEM;
    m->keys = keys.len ? dv_str_steal(&keys) : NULL;
    return n;
}

int dv_label_marks_make(const struct dv_labels *want, dv_label_marks_lookup *lookup,
                        const void *arg, const char *annotation, struct dv_label_marks *ret)
{
    struct dv_label_marks m = {0};
    int n = read_keys(&m, annotation);
    if (n >= 0)
        m.pairs = calloc((want ? want->n : 0) + (size_t)n + 1, sizeof *m.pairs);
    if (m.pairs) {
        bool matters = give(&m, want, lookup, arg);
        if (m.keys)
            matters |= take(&m, want, lookup, arg);
        m.annotate = strcmp(dv_str_get(&m.annotation), annotation ? annotation : "") != 0;
        if (!matters && !m.annotate)
            m.n = 0;
    }
    if (!m.pairs || m.annotation.failed) {
        dv_label_marks_done(&m);
        return -ENOMEM;
    }
    *ret = m;
    return 0;
}

void dv_label_marks_done(struct dv_label_marks *m)
{
    free(m->pairs);
    free(m->keys);
    dv_str_done(&m->annotation);
}
