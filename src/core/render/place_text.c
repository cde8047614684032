/* SPDX-License-Identifier: Apache-2.0 */
#include "render/place_text.h"

#include "base/units.h"

#include <string.h>

/* 12000 -> "12", 1500 -> "1.5", 250 -> "0.25". */
static void add_milli(struct dv_str *s, uint32_t milli)
{
    uint32_t rest = milli % 1000, digits = 3;
    while (digits && rest % 10 == 0) {
        rest /= 10;
        digits--;
    }
    if (digits)
        dv_str_addf(s, "%u.%0*u", milli / 1000, (int)digits, rest);
    else
        dv_str_addf(s, "%u", milli / 1000);
}

static void add_memory(struct dv_str *s, uint32_t mib)
{
    char text[DV_UNITS_TEXT];
    dv_str_add(s, dv_units_format_bytes(mib * DV_MIB, text));
}

static void add_cpu(const struct dv_cluster_pod *pod, const struct dv_place_most *most,
                    struct dv_str *s)
{
    dv_str_add(s, " (asked ");
    add_milli(s, pod->cpu_milli);
    dv_str_add(s, " cores, at most ");
    add_milli(s, most->cpu_milli);
    dv_str_add(s, " free on one node)");
}

static void add_node_memory(const struct dv_cluster_pod *pod, const struct dv_place_most *most,
                            struct dv_str *s)
{
    dv_str_add(s, " (asked ");
    add_memory(s, pod->memory_mib);
    dv_str_add(s, ", at most ");
    add_memory(s, most->memory_mib);
    dv_str_add(s, " free on one node)");
}

static void add_share(const struct dv_cluster_pod *pod, const struct dv_place_most *most,
                      struct dv_str *s)
{
    dv_str_add(s, " (asked ");
    add_milli(s, pod->gpu_milli);
    dv_str_addf(s, " of %u GPU%s, ", pod->gpus, pod->gpus == 1 ? "" : "s");
    if (pod->gpus == 1) {
        dv_str_add(s, "at most ");
        add_milli(s, most->gpu_milli);
        dv_str_add(s, " free on one)");
    } else {
        dv_str_addf(s, "at most %u with that much free on one node)", most->gpu_count);
    }
}

/* Of the nodes with a model and labels that would do, those with less than is asked: of what, and
 * the most that one of them has in all. */
struct sizes {
    uint32_t cpu_milli, memory_mib, gpus;
    bool short_cpu, short_memory, short_gpus;
};

static void note_short(uint32_t has, uint32_t asked, bool *ret_short, uint32_t *ret_most)
{
    if (has >= asked)
        return;
    *ret_short = true;
    *ret_most = DV_MAX(*ret_most, has);
}

static void note_size(const struct dv_cluster *cluster, const struct dv_cluster_pod *pod,
                      uint32_t node, struct sizes *sizes)
{
    const struct dv_cluster_wish *wish = dv_cluster_wish_at(cluster, pod->wish);
    const struct dv_cluster_fixed *f = dv_cluster_fixed(cluster, node);
    const struct dv_cluster_state *state = dv_cluster_state(cluster, node);
    uint64_t mask = dv_cluster_spec_mask(cluster, pod->spec);
    if ((pod->gpus && (!state->n_gpus || !(mask >> state->model & 1))) ||
        (wish->rack && wish->rack != f->rack) || (wish->zone && wish->zone != f->zone))
        return;
    note_short(f->cpu_milli, pod->cpu_milli, &sizes->short_cpu, &sizes->cpu_milli);
    note_short(f->memory_mib, pod->memory_mib, &sizes->short_memory, &sizes->memory_mib);
    note_short(state->n_gpus, pod->gpus, &sizes->short_gpus, &sizes->gpus);
}

static void add_size(const struct dv_cluster *cluster, const struct dv_cluster_pod *pod,
                     struct dv_str *s)
{
    struct sizes sizes = {0};
    const char *before = ": ";
    dv_str_add(s, "are too small even when empty");
    for (uint32_t i = 0; i < dv_cluster_nodes(cluster); i++)
        note_size(cluster, pod, i, &sizes);
    if (sizes.short_cpu) {
        dv_str_addf(s, "%sCPU (asked ", before);
        add_milli(s, pod->cpu_milli);
        dv_str_add(s, " cores, at most ");
        add_milli(s, sizes.cpu_milli);
        dv_str_add(s, " on one of them)");
        before = ", ";
    }
    if (sizes.short_memory) {
        dv_str_addf(s, "%smemory (asked ", before);
        add_memory(s, pod->memory_mib);
        dv_str_add(s, ", at most ");
        add_memory(s, sizes.memory_mib);
        dv_str_add(s, " on one of them)");
        before = ", ";
    }
    if (sizes.short_gpus)
        dv_str_addf(s, "%sGPUs (asked %u, at most %u on one of them)", before, pod->gpus,
                    sizes.gpus);
}

static void add_lack(const struct dv_cluster *cluster, const struct dv_cluster_pod *pod,
                     enum dv_place_lack lack, const struct dv_place_most *most, struct dv_str *s)
{
    const struct dv_cluster_wish *wish = dv_cluster_wish_at(cluster, pod->wish);
    switch (lack) {
    case DV_PLACE_LACK_MODEL:
        dv_str_addf(s, "have no GPU of a model that would do%s%s%s", pod->spec ? " (" : "",
                    dv_cluster_spec_text(cluster, pod->spec), pod->spec ? ")" : "");
        break;
    case DV_PLACE_LACK_LABEL:
        dv_str_addf(s, "are not in %s%s%s", dv_cluster_label(cluster, wish->rack),
                    wish->rack && wish->zone ? ", " : "", dv_cluster_label(cluster, wish->zone));
        break;
    case DV_PLACE_LACK_SIZE:
        add_size(cluster, pod, s);
        break;
    case DV_PLACE_LACK_CPU:
        dv_str_add(s, "lack CPU");
        add_cpu(pod, most, s);
        break;
    case DV_PLACE_LACK_MEMORY:
        dv_str_add(s, "lack memory");
        add_node_memory(pod, most, s);
        break;
    case DV_PLACE_LACK_GPU_COUNT:
        dv_str_addf(s, "lack whole GPUs (asked %u, at most %u free on one node)", pod->gpus,
                    most->gpus);
        break;
    case DV_PLACE_LACK_GPU_SHARE:
        dv_str_add(s, "lack room on a GPU");
        add_share(pod, most, s);
        break;
    case DV_PLACE_LACK_GPU_MEMORY:
        dv_str_add(s, "have GPUs with less memory (asked ");
        add_memory(s, wish->gpu_memory_mib);
        dv_str_add(s, ")");
        break;
    case DV_PLACE_LACK_WALL:
        dv_str_addf(s, "have no wall as strong (asked %s)", dv_device_wall_name(wish->wall));
        break;
    case DV_PLACE_LACK_MIG:
        dv_str_addf(s, "lack room for a MIG instance%s%s", *wish->profile ? " " : "",
                    wish->profile);
        break;
    case DV_PLACE_LACK_NEAR:
        dv_str_addf(s, "have the GPUs, but not %s",
                    wish->near == DV_CLUSTER_NEAR_NUMA ? "on one NUMA node" : "joined by NVLinks");
        break;
    case DV_PLACE_LACKS:
        break;
    }
}

static void add_placed(const struct dv_cluster *cluster, const struct dv_place_verdict *v,
                       struct dv_str *s)
{
    const struct dv_cluster_fixed *f = dv_cluster_fixed(cluster, v->node);
    dv_str_addf(s, "node %s", f->name);
    for (uint32_t i = 0; i < v->taking.n; i++)
        dv_str_addf(s, "%s%u",
                    i                 ? ", "
                    : v->taking.n > 1 ? ", GPUs "
                                      : ", GPU ",
                    v->taking.gpus[i]);
    if (v->taking.mig && f->mig)
        dv_str_addf(s, " (%s)", f->mig->profiles[v->taking.profile].name);
    dv_str_addf(s, "; it would have fitted on %u of %u nodes", v->fitted,
                dv_cluster_nodes(cluster));
}

void dv_place_text(const struct dv_cluster *cluster, const struct dv_cluster_pod *pod,
                   const struct dv_place_verdict *verdict, const struct dv_place_most *most,
                   struct dv_str *text)
{
    if (verdict->placed) {
        add_placed(cluster, verdict, text);
        return;
    }
    dv_str_addf(text, "on none of %u nodes", dv_cluster_nodes(cluster));
    bool said[DV_PLACE_LACKS] = {false};
    for (const char *before = ": ";; before = ", ") { /* what lacks most often first */
        int best = DV_PLACE_LACKS;
        for (int i = 0; i < DV_PLACE_LACKS; i++)
            if (!said[i] && verdict->lacks[i] &&
                (best == DV_PLACE_LACKS || verdict->lacks[i] > verdict->lacks[best]))
                best = i;
        if (best == DV_PLACE_LACKS)
            return;
        said[best] = true;
        dv_str_addf(text, "%s%u ", before, verdict->lacks[best]);
        add_lack(cluster, pod, (enum dv_place_lack)best, most, text);
    }
}

static const char *term_words(const char *name)
{
    static const struct {
        const char *name, *words;
    } terms[] = {
        {"pattern", "of its GPU that nobody will fit into"},
        {"stranded", "of GPUs left without CPU or memory"},
        {"gradient", "for CPU and memory at all"},
        {"reserve", "of places for many GPUs"},
        {"open", "for GPUs begun (less than 0: filled up)"},
        {"price", "for the model, which others depend on"},
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(terms); i++)
        if (!strcmp(name, terms[i].name))
            return terms[i].words;
    return name;
}

void dv_place_terms_text(const struct dv_place_term *terms, size_t n, struct dv_str *text)
{
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += terms[i].micro;
    if (n)
        dv_str_addf(text, "; it costs %.6f GPU there", (double)sum / 1e6);
    const char *before = ": ";
    for (size_t i = 0; i < n; i++) {
        if (!terms[i].micro)
            continue;
        dv_str_addf(text, "%s%.6f %s", before, (double)terms[i].micro / 1e6,
                    term_words(terms[i].name));
        before = ", ";
    }
}
