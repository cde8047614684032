/* SPDX-License-Identifier: Apache-2.0 */
#include "fleetfile/pods.h"

#include "base/str.h"
#include "fleetfile/lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum column {
    NAME,
    CPU,
    MEMORY,
    GPUS,
    MILLI,
    SPEC,
    CREATED,
    DELETED,
    TOPOLOGY,
    MIG,
    ANY_OF,
    WALL,
    GPU_MEMORY,
    RACK,
    ZONE,
    COLUMNS,
};

static const struct dv_csv_column columns[COLUMNS] = {
    [NAME] = {"name"},
    [CPU] = {"cpu_milli"},
    [MEMORY] = {"memory_mib"},
    [GPUS] = {"num_gpu"},
    [MILLI] = {"gpu_milli"},
    [SPEC] = {"gpu_spec", .optional = true},
    [CREATED] = {"creation_time", .optional = true},
    [DELETED] = {"deletion_time", .optional = true},
    [TOPOLOGY] = {"topology", .optional = true},
    [MIG] = {"mig", .optional = true},
    [ANY_OF] = {"any_of", .optional = true},
    [WALL] = {"wall", .optional = true},
    [GPU_MEMORY] = {"gpu_memory_mib", .optional = true},
    [RACK] = {"rack", .optional = true},
    [ZONE] = {"zone", .optional = true},
};

void dv_fleet_pods_done(struct dv_fleet_pods *pods)
{
    free(pods->v);
    free(pods->times);
    dv_names_done(&pods->names);
    *pods = (struct dv_fleet_pods){0};
}

/* ---- wishes --------------------------------------------------------------------------------- */

static int parse_near(const struct dv_csv *csv, struct dv_cluster_wish *wish, struct dv_err *err)
{
    static const char *const words[] = {"numa", "nvlink", "prefer-numa", "prefer-nvlink"};
    const char *text = dv_csv_field(csv, TOPOLOGY).text;
    if (!*text)
        return 0;
    size_t i = 0;
    while (i < DV_ARRAY_SIZE(words) && strcmp(text, words[i]) != 0)
        i++;
    if (i == DV_ARRAY_SIZE(words))
        return dv_csv_fail(csv, TOPOLOGY, err, -EINVAL,
                           "one of numa, nvlink, prefer-numa, prefer-nvlink");
    wish->near = i % 2 ? DV_CLUSTER_NEAR_NVLINK : DV_CLUSTER_NEAR_NUMA;
    wish->near_required = i < 2;
    return 0;
}

static int parse_wall(const struct dv_csv *csv, struct dv_cluster_wish *wish, struct dv_err *err)
{
    const char *text = dv_csv_field(csv, WALL).text;
    if (!*text)
        return 0;
    for (int i = DV_WALL_NONE; i <= DV_WALL_HARDWARE; i++)
        if (!strcmp(text, dv_device_wall_name((enum dv_wall)i))) {
            wish->wall = (enum dv_wall)i;
            return 0;
        }
    return dv_csv_fail(csv, WALL, err, -EINVAL, "one of none, cooperative, driver, hardware");
}

static int parse_label(const struct dv_csv *csv, size_t column, const struct dv_cluster *cluster,
                       uint32_t *ret, struct dv_err *err)
{
    const char *text = dv_csv_field(csv, column).text;
    if (!*text)
        return 0;
    *ret = dv_cluster_find_label(cluster, text);
    return *ret == DV_CLUSTER_NONE
               ? dv_csv_fail(csv, column, err, -EINVAL, "no node is labelled '%.80s'", text)
               : 0;
}

/* Can a GPU of the cluster be cut into this profile? */
static int check_profile(const struct dv_csv *csv, const struct dv_cluster *cluster,
                         const char *profile, struct dv_err *err)
{
    const char *names[DV_CLUSTER_MODELS_MAX * DV_MIG_PROFILES_MAX];
    size_t n = 0;
    for (uint32_t m = 0; m < dv_cluster_models(cluster); m++) {
        const struct dv_gpu_model *model = dv_gpu_model_find(dv_cluster_model(cluster, m), NULL);
        if (!model || !model->mig)
            continue;
        if (dv_mig_profile_find(model->mig, profile, NULL))
            return 0;
        for (uint32_t p = 0; p < model->mig->n_profiles; p++)
            names[n++] = model->mig->profiles[p].name;
    }
    const char *near = dv_str_nearest(profile, names, n);
    return dv_csv_fail(csv, MIG, err, -EINVAL, "no node's GPUs have the MIG profile '%s'%s%s%s",
                       profile, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int parse_wish(const struct dv_csv *csv, struct dv_cluster *cluster, bool unknown_models,
                      uint16_t *ret, struct dv_err *err)
{
    struct dv_cluster_wish wish = {0};
    struct dv_err why = {{0}};
    uint64_t memory = 0;
    int r = parse_near(csv, &wish, err);
    if (!r)
        r = parse_wall(csv, &wish, err);
    if (!r && dv_csv_field(csv, GPU_MEMORY).len)
        r = dv_csv_uint64(csv, GPU_MEMORY, 0, DV_CLUSTER_MEMORY_MAX, &memory, err);
    if (!r)
        r = parse_label(csv, RACK, cluster, &wish.rack, err);
    if (!r)
        r = parse_label(csv, ZONE, cluster, &wish.zone, err);
    const char *any_of = dv_csv_field(csv, ANY_OF).text;
    if (!r && *any_of && strcmp(any_of, "yes") != 0 && strcmp(any_of, "no") != 0)
        r = dv_csv_fail(csv, ANY_OF, err, -EINVAL, "'yes' or 'no'");
    if (!r && dv_str_copy(wish.profile, sizeof wish.profile, dv_csv_field(csv, MIG).text) < 0)
        r = dv_csv_fail(csv, MIG, err, -EINVAL, "not a MIG profile, as in 1g.10gb");
    if (r < 0)
        return r;
    wish.any_of = !strcmp(any_of, "yes");
    wish.gpu_memory_mib = (uint32_t)memory;
    r = dv_cluster_wish(cluster, &wish, ret, &why);
    if (r < 0)
        return dv_csv_fail(csv, *wish.profile ? MIG : DV_CSV_ROW, err, r, "%s", why.msg);
    return *wish.profile && !unknown_models ? check_profile(csv, cluster, wish.profile, err) : 0;
}

/* ---- one row -------------------------------------------------------------------------------- */

static int parse_sizes(const struct dv_csv *csv, struct dv_cluster_pod *pod, struct dv_err *err)
{
    uint64_t cpu = 0, memory = 0, gpus = 0, milli = 0;
    int r = dv_csv_uint64(csv, CPU, 0, DV_CLUSTER_CPU_MAX, &cpu, err);
    if (!r)
        r = dv_csv_uint64(csv, MEMORY, 0, DV_CLUSTER_MEMORY_MAX, &memory, err);
    if (!r)
        r = dv_csv_uint64(csv, GPUS, 0, DV_CLUSTER_GPUS_MAX, &gpus, err);
    if (!r)
        r = dv_csv_uint64(csv, MILLI, 0, DV_CLUSTER_MILLI, &milli, err);
    if (r < 0)
        return r;
    if (!gpus && milli)
        return dv_csv_fail(csv, MILLI, err, -EINVAL, "%u milli of a GPU, but num_gpu is 0",
                           (unsigned)milli);
    if (gpus && !milli)
        return dv_csv_fail(csv, MILLI, err, -EINVAL,
                           "0 milli of each of %u GPUs; a whole GPU has 1000", (unsigned)gpus);
    *pod = (struct dv_cluster_pod){.cpu_milli = (uint32_t)cpu,
                                   .memory_mib = (uint32_t)memory,
                                   .gpus = (uint8_t)gpus,
                                   .gpu_milli = (uint16_t)milli};
    return 0;
}

static int parse_pod(const struct dv_csv *csv, struct dv_cluster *cluster, bool unknown_models,
                     struct dv_cluster_pod *pod, struct dv_err *err)
{
    struct dv_err why = {{0}};
    int r = parse_sizes(csv, pod, err);
    if (!r)
        r = parse_wish(csv, cluster, unknown_models, &pod->wish, err);
    if (r < 0)
        return r;
    r = dv_cluster_spec(cluster, dv_csv_field(csv, SPEC).text, unknown_models, &pod->spec, &why);
    return r < 0 ? dv_csv_fail(csv, SPEC, err, r == -ENOENT ? -EINVAL : r, "%s", why.msg) : 0;
}

static int parse_times(const struct dv_csv *csv, struct dv_fleet_pods *pods, struct dv_err *err)
{
    int64_t created = 0, deleted = DV_FLEET_TIME_MAX;
    if (!pods->times)
        return 0;
    int r = dv_csv_int64(csv, CREATED, 0, DV_FLEET_TIME_MAX, &created, err);
    if (!r && dv_csv_field(csv, DELETED).len) /* empty: it stays */
        r = dv_csv_int64(csv, DELETED, 0, DV_FLEET_TIME_MAX, &deleted, err);
    if (!r && deleted < created)
        r = dv_csv_fail(csv, DELETED, err, -EINVAL, "it goes before it comes (creation_time %lld)",
                        (long long)created);
    pods->times[pods->n].created_s = (uint64_t)created;
    pods->times[pods->n].deleted_s = (uint64_t)deleted;
    return r;
}

static int reserve(struct dv_fleet_pods *pods, bool with_times)
{
    if (pods->n < pods->capacity)
        return 0;
    uint32_t capacity = pods->capacity ? pods->capacity * 2 : 1024;
    void *v = realloc(pods->v, capacity * sizeof *pods->v);
    if (!v)
        return -ENOMEM;
    pods->v = v;
    if (with_times) {
        void *times = realloc(pods->times, capacity * sizeof *pods->times);
        if (!times)
            return -ENOMEM;
        pods->times = times;
    }
    pods->capacity = capacity;
    return 0;
}

/* ---- the file ------------------------------------------------------------------------------- */

static int read_pods(struct dv_csv *csv, struct dv_cluster *cluster, bool unknown_models,
                     struct dv_fleet_pods *pods, struct dv_err *err)
{
    static const size_t shown[] = {NAME, SPEC, MIG, RACK, ZONE};
    int r = dv_csv_select(csv, columns, COLUMNS, err);
    bool times = r >= 0 && dv_csv_has(csv, CREATED) && dv_csv_has(csv, DELETED);
    while (r >= 0 && (r = dv_csv_next(csv, err)) > 0) {
        uint32_t number = 0;
        if (pods->n == DV_FLEET_PODS_MAX)
            return dv_csv_fail(csv, DV_CSV_ROW, err, -E2BIG, "more than %u pods",
                               DV_FLEET_PODS_MAX);
        r = dv_fleet_check_printable(csv, shown, DV_ARRAY_SIZE(shown), err);
        if (r < 0)
            return r;
        const char *name = dv_csv_field(csv, NAME).text;
        if (!*name || strlen(name) >= DV_CLUSTER_NAME_SIZE)
            return dv_csv_fail(csv, NAME, err, -EINVAL, "a pod's name has 1 to %d letters",
                               DV_CLUSTER_NAME_SIZE - 1);
        if (reserve(pods, times) < 0 || dv_names_add(&pods->names, name, &number) < 0)
            return dv_err_set(err, -ENOMEM, "out of memory");
        if (number != pods->n)
            return dv_csv_fail(csv, NAME, err, -EEXIST, "a second pod '%s'", name);
        r = parse_pod(csv, cluster, unknown_models, &pods->v[pods->n], err);
        if (!r)
            r = parse_times(csv, pods, err);
        if (r < 0)
            return r;
        pods->n++;
    }
    if (!r && !pods->n)
        return dv_csv_fail(csv, DV_CSV_ROW, err, -EINVAL, "no pod");
    return r;
}

int dv_fleet_pods_from(struct dv_csv *csv, struct dv_cluster *cluster, bool unknown_models,
                       struct dv_fleet_pods *pods, struct dv_err *err)
{
    int r = read_pods(csv, cluster, unknown_models, pods, err);
    if (r < 0)
        dv_fleet_pods_done(pods);
    return r;
}

int dv_fleet_pods_read(const char *path, struct dv_cluster *cluster, bool unknown_models,
                       struct dv_fleet_pods *pods, struct dv_err *err)
{
    dv_cleanup(dv_csv_freep) struct dv_csv *csv = NULL;
    int r = dv_csv_open(path, &csv, err);
    return r < 0 ? r : dv_fleet_pods_from(csv, cluster, unknown_models, pods, err);
}

/* ---- arrivals ------------------------------------------------------------------------------- */

struct arrivals {
    const struct dv_fleet_pods *pods;
    uint32_t *v, n, capacity;
};

/* "pod-tuned-17" is a copy of "pod". */
static uint32_t find_original(const struct dv_names *names, const char *line)
{
    static const char mark[] = "-tuned-";
    char name[DV_CLUSTER_NAME_SIZE];
    const char *at = strstr(line, mark);
    if (!at || (size_t)(at - line) >= sizeof name)
        return DV_NAMES_NONE;
    const char *number = at + strlen(mark);
    if (!*number || number[strspn(number, "0123456789")])
        return DV_NAMES_NONE;
    memcpy(name, line, (size_t)(at - line));
    name[at - line] = '\0';
    return dv_names_find(names, name);
}

static int arrive(void *arg, const char *line, struct dv_err *err)
{
    struct arrivals *a = arg;
    uint32_t pod = dv_names_find(&a->pods->names, line);
    if (pod == DV_NAMES_NONE)
        pod = find_original(&a->pods->names, line);
    if (pod == DV_NAMES_NONE)
        return dv_err_set(err, -EINVAL, "'%.80s' is no pod of the pod file", line);
    if (a->n == a->capacity) {
        uint32_t capacity = a->capacity ? a->capacity * 2 : 1024;
        uint32_t *v = realloc(a->v, capacity * sizeof *v);
        if (!v)
            return dv_err_set(err, -ENOMEM, "out of memory");
        a->v = v;
        a->capacity = capacity;
    }
    a->v[a->n++] = pod;
    return 0;
}

int dv_fleet_arrivals_read(const char *path, const struct dv_fleet_pods *pods, uint32_t **ret,
                           uint32_t *ret_n, struct dv_err *err)
{
    struct arrivals a = {.pods = pods};
    int r = dv_fleet_lines(path, arrive, &a, err);
    if (!r && !a.n)
        r = dv_err_set(err, -EINVAL, "%s: no pod", path);
    if (r < 0) {
        free(a.v);
        return r;
    }
    *ret = a.v;
    *ret_n = a.n;
    return 0;
}
