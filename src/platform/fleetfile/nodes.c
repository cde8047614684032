/* SPDX-License-Identifier: Apache-2.0 */
#include "fleetfile/nodes.h"

#include "base/rng.h"
#include "base/str.h"
#include "fleetfile/lines.h"
#include "model/names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum column {
    NAME,
    CPU,
    MEMORY,
    GPUS,
    MODEL,
    RACK,
    ZONE,
    GPU_MEMORY,
    MIG,
    WALL,
    NVLINK,
    NUMA,
    COLUMNS,
};

/* ---- one row -------------------------------------------------------------------------------- */

/* "0-3;4-7" or "0,1;2": the group of each GPU, -1: in none. */
static int parse_groups(const struct dv_csv *csv, size_t column, uint32_t gpus,
                        int32_t ret[DV_CLUSTER_GPUS_MAX], struct dv_err *err)
{
    const char *at = dv_csv_field(csv, column).text;
    for (uint32_t i = 0; i < DV_CLUSTER_GPUS_MAX; i++)
        ret[i] = -1;
    for (int32_t group = 0; *at; group++) {
        for (;;) {
            char *end = NULL;
            unsigned long first = strtoul(at, &end, 10), last = first;
            bool sane = *at >= '0' && *at <= '9';
            if (sane && *end == '-') {
                at = end + 1;
                last = strtoul(at, &end, 10);
                sane = *at >= '0' && *at <= '9';
            }
            if (!sane || last >= gpus || first > last)
                return dv_csv_fail(csv, column, err, -EINVAL,
                                   "not groups of this node's GPUs, as in 0-3;4-7");
            for (unsigned long i = first; i <= last; i++)
                ret[i] = group;
            at = end;
            if (*at != ',' && *at != '+')
                break;
            at++;
        }
        if (*at && *at++ != ';')
            return dv_csv_fail(csv, column, err, -EINVAL,
                               "groups of GPUs are separated by ';', as in 0-3;4-7");
    }
    return 0;
}

static int parse_topology(const struct dv_csv *csv, struct dv_cluster_node *node,
                          struct dv_topology *topology, struct dv_err *err)
{
    int32_t nvlink[DV_CLUSTER_GPUS_MAX] = {0}, numa[DV_CLUSTER_GPUS_MAX] = {0};
    if (!dv_csv_field(csv, NVLINK).len && !dv_csv_field(csv, NUMA).len)
        return 0;
    int r = parse_groups(csv, NVLINK, node->gpus, nvlink, err);
    if (!r)
        r = parse_groups(csv, NUMA, node->gpus, numa, err);
    if (r < 0)
        return r;
    dv_topology_init(topology, node->gpus);
    for (uint32_t a = 0; a < node->gpus; a++) {
        topology->numa[a] = numa[a];
        for (uint32_t b = 0; b < a; b++) {
            struct dv_link link = {.kind = DV_LINK_UNKNOWN};
            if (numa[a] >= 0 && numa[b] >= 0)
                link.kind = numa[a] == numa[b] ? DV_LINK_NODE : DV_LINK_SYS;
            if (nvlink[a] >= 0 && nvlink[a] == nvlink[b])
                link = (struct dv_link){DV_LINK_NVLINK, 1, link.kind};
            dv_topology_set(topology, a, b, link);
        }
    }
    node->topology = topology;
    return 0;
}

static int parse_wall(const struct dv_csv *csv, enum dv_wall *ret, struct dv_err *err)
{
    const char *text = dv_csv_field(csv, WALL).text;
    if (!*text || !strcmp(text, dv_device_wall_name(DV_WALL_COOPERATIVE)))
        *ret = DV_WALL_COOPERATIVE;
    else if (!strcmp(text, dv_device_wall_name(DV_WALL_DRIVER)))
        *ret = DV_WALL_DRIVER;
    else
        return dv_csv_fail(csv, WALL, err, -EINVAL,
                           "what holds a fraction is 'cooperative' or 'driver'");
    return 0;
}

static int number(const struct dv_csv *csv, size_t column, uint64_t max, uint32_t *ret,
                  struct dv_err *err)
{
    uint64_t v = 0;
    int r = dv_csv_uint64(csv, column, 0, max, &v, err);
    *ret = (uint32_t)v;
    return r;
}

static int parse_node(const struct dv_csv *csv, struct dv_cluster_node *node,
                      struct dv_topology *topology, struct dv_err *err)
{
    *node = (struct dv_cluster_node){.name = dv_csv_field(csv, NAME).text,
                                     .model = dv_csv_field(csv, MODEL).text,
                                     .rack = dv_csv_field(csv, RACK).text,
                                     .zone = dv_csv_field(csv, ZONE).text};
    static const size_t shown[] = {NAME, MODEL, RACK, ZONE};
    int r = dv_fleet_check_printable(csv, shown, DV_ARRAY_SIZE(shown), err);
    if (!r)
        r = number(csv, CPU, DV_CLUSTER_CPU_MAX, &node->cpu_milli, err);
    if (!r)
        r = number(csv, MEMORY, DV_CLUSTER_MEMORY_MAX, &node->memory_mib, err);
    if (!r)
        r = number(csv, GPUS, DV_CLUSTER_GPUS_MAX, &node->gpus, err);
    if (!r && dv_csv_field(csv, GPU_MEMORY).len)
        r = number(csv, GPU_MEMORY, DV_CLUSTER_MEMORY_MAX, &node->gpu_memory_mib, err);
    if (!r)
        r = parse_wall(csv, &node->fraction_wall, err);
    if (!r)
        r = parse_topology(csv, node, topology, err);
    const char *mig = dv_csv_field(csv, MIG).text;
    node->no_mig = !strcmp(mig, "no");
    if (!r && *mig && !node->no_mig && strcmp(mig, "yes") != 0)
        r = dv_csv_fail(csv, MIG, err, -EINVAL, "'yes' or 'no'");
    return r;
}

/* ---- the order ------------------------------------------------------------------------------ */

/* Names in the file's order; what each is sorted by comes at the end, when all are known. */
struct table {
    struct dv_names names;
    char **orders; /* of each name; NULL: not named yet */
    uint32_t listed;
    bool prefixed;
};

static void table_done(struct table *t)
{
    for (uint32_t i = 0; t->orders && i < t->names.n; i++)
        free(t->orders[i]);
    free(t->orders);
    dv_names_done(&t->names);
}

static int list_node(void *arg, const char *line, struct dv_err *err)
{
    struct table *t = arg;
    const char *dash = strchr(line, '-');
    uint32_t node = dv_names_find(&t->names, line);
    bool prefixed = node == DV_NAMES_NONE;
    if (prefixed && dash && strspn(line, "0123456789") == (size_t)(dash - line))
        node = dv_names_find(&t->names, dash + 1);
    if (node == DV_NAMES_NONE)
        return dv_err_set(err, -EINVAL,
                          "'%.80s' is no node of the node file, nor one behind a "
                          "number and '-'",
                          line);
    if (t->orders[node])
        return dv_err_set(err, -EEXIST, "'%.80s' is listed twice", line);
    if (t->listed && t->prefixed != prefixed)
        return dv_err_set(err, -EINVAL, "'%.80s': either all names have a prefix or none", line);
    char place[32];
    snprintf(place, sizeof place, "%09u", t->listed);
    t->orders[node] = strdup(prefixed ? line : place);
    t->prefixed = prefixed;
    t->listed++;
    return t->orders[node] ? 0 : dv_err_set(err, -ENOMEM, "out of memory");
}

static int read_order(struct table *t, const char *path, struct dv_err *err)
{
    int r = dv_fleet_lines(path, list_node, t, err);
    for (uint32_t i = 0; !r && i < t->names.n; i++)
        if (!t->orders[i])
            r = dv_err_set(err, -EINVAL, "%s: the node '%s' is not listed", path, t->names.v[i]);
    return r;
}

static int shuffle(struct table *t, uint64_t seed)
{
    struct dv_rng rng = {seed};
    uint32_t n = t->names.n;
    uint32_t *v = malloc(DV_MAX(n, 1) * sizeof *v);
    if (!v)
        return -ENOMEM;
    for (uint32_t i = 0; i < n; i++)
        v[i] = i;
    for (uint32_t i = n; i > 1; i--) {
        uint32_t k = (uint32_t)dv_rng_below(&rng, i), moved = v[i - 1];
        v[i - 1] = v[k];
        v[k] = moved;
    }
    int r = 0;
    for (uint32_t i = 0; !r && i < n; i++) {
        char place[32];
        snprintf(place, sizeof place, "%09u", v[i]);
        t->orders[i] = strdup(place);
        r = t->orders[i] ? 0 : -ENOMEM;
    }
    free(v);
    return r;
}

/* ---- the file ------------------------------------------------------------------------------- */

/* A shuffle must not depend on the file's order: it is over the names, sorted. */
static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Nodes as read; the cluster takes them once their order is known. */
struct rows {
    struct row {
        struct dv_cluster_node node;
        struct dv_topology *topology;
        char *strings[4];
    } * v;
    uint32_t n, capacity;
};

static void rows_done(struct rows *rows)
{
    for (uint32_t i = 0; i < rows->n; i++) {
        free(rows->v[i].topology);
        for (size_t k = 0; k < DV_ARRAY_SIZE(rows->v[i].strings); k++)
            free(rows->v[i].strings[k]);
    }
    free(rows->v);
}

static int keep(struct rows *rows, const struct dv_cluster_node *node)
{
    if (rows->n == rows->capacity) {
        uint32_t capacity = rows->capacity ? rows->capacity * 2 : 256;
        struct row *v = realloc(rows->v, capacity * sizeof *v);
        if (!v)
            return -ENOMEM;
        rows->v = v;
        rows->capacity = capacity;
    }
    struct row *row = &rows->v[rows->n++];
    *row = (struct row){.node = *node};
    const char *from[4] = {node->name, node->model, node->rack, node->zone};
    for (size_t k = 0; k < 4; k++)
        if (!(row->strings[k] = strdup(from[k])))
            return -ENOMEM;
    row->node.name = row->strings[0];
    row->node.model = row->strings[1];
    row->node.rack = row->strings[2];
    row->node.zone = row->strings[3];
    if (node->topology) {
        row->topology = malloc(sizeof *row->topology);
        if (!row->topology)
            return -ENOMEM;
        *row->topology = *node->topology;
        row->node.topology = row->topology;
    }
    return 0;
}

static int select_columns(struct dv_csv *csv, struct dv_csv_column columns[COLUMNS],
                          struct dv_err *err)
{
    bool sn = false, gpus = false;
    for (size_t i = 0; dv_csv_header(csv, i); i++) {
        sn = sn || !strcmp(dv_csv_header(csv, i), "sn");
        gpus = gpus || !strcmp(dv_csv_header(csv, i), "gpus");
    }
    const struct dv_csv_column wanted[COLUMNS] = {
        [NAME] = {sn ? "sn" : "name"},
        [CPU] = {"cpu_milli"},
        [MEMORY] = {"memory_mib"},
        [GPUS] = {gpus ? "gpus" : "gpu"},
        [MODEL] = {"model"},
        [RACK] = {"rack", .optional = true},
        [ZONE] = {"zone", .optional = true},
        [GPU_MEMORY] = {"gpu_memory_mib", .optional = true},
        [MIG] = {"mig", .optional = true},
        [WALL] = {"wall", .optional = true},
        [NVLINK] = {"nvlink", .optional = true},
        [NUMA] = {"numa", .optional = true},
    };
    memcpy(columns, wanted, sizeof wanted);
    return dv_csv_select(csv, columns, COLUMNS, err);
}

/* What the cluster itself would refuse is asked of a cluster of one, for the line's sake. */
static int check_alone(const struct dv_csv *csv, const struct dv_cluster_node *node,
                       struct dv_err *err)
{
    struct dv_err why = {{0}};
    dv_cleanup(dv_cluster_freep) struct dv_cluster *one = dv_cluster_new();
    int r = one ? dv_cluster_add(one, node, &why) : dv_err_set(&why, -ENOMEM, "out of memory");
    return r < 0 ? dv_csv_fail(csv, DV_CSV_ROW, err, r, "%s", why.msg) : 0;
}

static int read_rows(struct dv_csv *csv, struct rows *rows, struct dv_names *names,
                     struct dv_err *err)
{
    struct dv_csv_column columns[COLUMNS];
    int r = select_columns(csv, columns, err);
    while (r >= 0 && (r = dv_csv_next(csv, err)) > 0) {
        struct dv_cluster_node node;
        struct dv_topology topology;
        uint32_t number = 0;
        r = parse_node(csv, &node, &topology, err);
        if (r < 0)
            return r;
        r = check_alone(csv, &node, err);
        if (r < 0)
            return r;
        if (rows->n == DV_CLUSTER_NODES_MAX)
            return dv_csv_fail(csv, DV_CSV_ROW, err, -E2BIG, "more than %u nodes",
                               DV_CLUSTER_NODES_MAX);
        if (dv_names_add(names, node.name, &number) < 0 || keep(rows, &node) < 0)
            return dv_err_set(err, -ENOMEM, "out of memory");
        if (number != rows->n - 1)
            return dv_csv_fail(csv, NAME, err, -EEXIST, "a second node '%s'", node.name);
    }
    if (!r && !rows->n)
        return dv_csv_fail(csv, DV_CSV_ROW, err, -EINVAL, "no node");
    return r;
}

static int order_rows(struct table *t, const struct dv_fleet_nodes_order *order, struct dv_err *err)
{
    if (order->by == DV_FLEET_ORDER_NAME)
        return 0;
    t->orders = calloc(DV_MAX(t->names.n, 1), sizeof *t->orders);
    if (!t->orders)
        return dv_err_set(err, -ENOMEM, "out of memory");
    if (order->by == DV_FLEET_ORDER_FILE)
        return read_order(t, order->path, err);
    return shuffle(t, order->seed) < 0 ? dv_err_set(err, -ENOMEM, "out of memory") : 0;
}

static int build(struct rows *rows, const struct table *t, struct dv_cluster **ret,
                 struct dv_err *err)
{
    struct dv_cluster *cluster = dv_cluster_new();
    int r = cluster ? 0 : dv_err_set(err, -ENOMEM, "out of memory");
    for (uint32_t i = 0; !r && i < rows->n; i++) {
        struct dv_cluster_node *node = &rows->v[i].node;
        uint32_t number = t->orders ? dv_names_find(&t->names, node->name) : 0;
        node->order = t->orders ? t->orders[number] : NULL;
        r = dv_cluster_add(cluster, node, err);
    }
    if (!r)
        r = dv_cluster_seal(cluster, err);
    if (r < 0) {
        dv_cluster_free(cluster);
        return r;
    }
    *ret = cluster;
    return 0;
}

/* The names again, sorted: number k is the k-th by name. */
static int sort_names(struct dv_names *names)
{
    struct dv_names sorted = {0};
    char **v = malloc(DV_MAX(names->n, 1) * sizeof *v);
    int r = v ? 0 : -ENOMEM;
    if (!r && names->n) {
        memcpy(v, names->v, names->n * sizeof *v);
        qsort(v, names->n, sizeof *v, compare_names);
    }
    for (uint32_t i = 0, number = 0; !r && i < names->n; i++)
        r = dv_names_add(&sorted, v[i], &number);
    free(v);
    if (r < 0) {
        dv_names_done(&sorted);
        return r;
    }
    dv_names_done(names);
    *names = sorted;
    return 0;
}

int dv_fleet_nodes_from(struct dv_csv *csv, const struct dv_fleet_nodes_order *order,
                        struct dv_cluster **ret, struct dv_err *err)
{
    struct rows rows = {0};
    struct table t = {{0}};
    int r = read_rows(csv, &rows, &t.names, err);
    if (!r && sort_names(&t.names) < 0)
        r = dv_err_set(err, -ENOMEM, "out of memory");
    if (!r)
        r = order_rows(&t, order, err);
    if (!r)
        r = build(&rows, &t, ret, err);
    rows_done(&rows);
    table_done(&t);
    return r;
}

int dv_fleet_nodes_read(const char *path, const struct dv_fleet_nodes_order *order,
                        struct dv_cluster **ret, struct dv_err *err)
{
    dv_cleanup(dv_csv_freep) struct dv_csv *csv = NULL;
    int r = dv_csv_open(path, &csv, err);
    return r < 0 ? r : dv_fleet_nodes_from(csv, order, ret, err);
}
