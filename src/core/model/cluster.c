/* SPDX-License-Identifier: Apache-2.0 */
#include "model/cluster.h"

#include "base/str.h"
#include "model/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The MIG instances of one GPU, packed: most nodes never have any. */
struct cut {
    uint8_t n;
    struct {
        uint8_t profile, start;
    } v[DV_MIG_INSTANCES_MAX];
};

struct dv_cluster {
    uint32_t n, capacity;
    struct dv_cluster_state *states;
    struct dv_cluster_fixed *fixed;
    char **orders;     /* until sealed: what each node is sorted by */
    struct cut **cuts; /* per node; NULL until its first instance, then one per GPU */
    uint32_t *by_name; /* nodes sorted by name, once sealed */
    bool sealed;
    struct dv_names models, labels, specs;
    uint64_t *masks; /* of the specs */
    struct dv_cluster_wish *wishes;
    uint32_t n_wishes;
};

struct dv_cluster *dv_cluster_new(void)
{
    struct dv_cluster *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->masks = calloc(DV_CLUSTER_SPECS_MAX, sizeof *c->masks);
    c->wishes = calloc(1, sizeof *c->wishes);
    uint32_t none = 0;
    if (!c->masks || !c->wishes || dv_names_add(&c->specs, "", &none) < 0 ||
        dv_names_add(&c->labels, "", &none) < 0) {
        dv_cluster_free(c);
        return NULL;
    }
    c->masks[0] = UINT64_MAX;
    c->n_wishes = 1;
    return c;
}

void dv_cluster_free(struct dv_cluster *cluster)
{
    if (!cluster)
        return;
    for (uint32_t i = 0; i < cluster->n; i++) {
        free((void *)cluster->fixed[i].name);
        free((void *)cluster->fixed[i].topology);
        if (cluster->orders)
            free(cluster->orders[i]);
        free(cluster->cuts[i]);
    }
    free(cluster->states);
    free(cluster->fixed);
    free(cluster->orders);
    free(cluster->cuts);
    free(cluster->by_name);
    free(cluster->masks);
    free(cluster->wishes);
    dv_names_done(&cluster->models);
    dv_names_done(&cluster->labels);
    dv_names_done(&cluster->specs);
    free(cluster);
}

void dv_cluster_freep(struct dv_cluster **cluster)
{
    dv_cluster_free(*cluster);
}

/* ---- building ------------------------------------------------------------------------------- */

static int grow_array(void **array, size_t capacity, size_t size)
{
    void *larger = realloc(*array, capacity * size);
    if (!larger)
        return -ENOMEM;
    *array = larger;
    return 0;
}

static int reserve(struct dv_cluster *c)
{
    if (c->n < c->capacity)
        return 0;
    uint32_t capacity = c->capacity ? c->capacity * 2 : 64;
    if (grow_array((void **)&c->states, capacity, sizeof *c->states) < 0 ||
        grow_array((void **)&c->fixed, capacity, sizeof *c->fixed) < 0 ||
        grow_array((void **)&c->orders, capacity, sizeof *c->orders) < 0 ||
        grow_array((void **)&c->cuts, capacity, sizeof(struct cut *)) < 0)
        return -ENOMEM;
    c->capacity = capacity;
    return 0;
}

static int check_node(const struct dv_cluster *c, const struct dv_cluster_node *node,
                      struct dv_err *err)
{
    if (!node->name || !*node->name)
        return dv_err_set(err, -EINVAL, "a node without a name");
    if (strlen(node->name) >= DV_CLUSTER_NAME_SIZE ||
        (node->order && strlen(node->order) >= DV_CLUSTER_NAME_SIZE))
        return dv_err_set(err, -ENAMETOOLONG, "a node's name has at most %d letters",
                          DV_CLUSTER_NAME_SIZE - 1);
    if (c->sealed || c->n == DV_CLUSTER_NODES_MAX)
        return dv_err_set(err, -E2BIG, "a cluster has at most %u nodes", DV_CLUSTER_NODES_MAX);
    if (node->cpu_milli > DV_CLUSTER_CPU_MAX || node->memory_mib > DV_CLUSTER_MEMORY_MAX)
        return dv_err_set(err, -EINVAL, "%s: at most %u milli-CPU and %u MiB", node->name,
                          DV_CLUSTER_CPU_MAX, DV_CLUSTER_MEMORY_MAX);
    if (node->gpus > DV_CLUSTER_GPUS_MAX)
        return dv_err_set(err, -EINVAL, "%s: %u GPUs; a node has at most %u", node->name,
                          node->gpus, DV_CLUSTER_GPUS_MAX);
    if (node->gpus && (!node->model || !*node->model))
        return dv_err_set(err, -EINVAL, "%s: %u GPUs of no model", node->name, node->gpus);
    if (node->topology && node->topology->n != node->gpus)
        return dv_err_set(err, -EINVAL, "%s: a topology of %u GPUs for %u", node->name,
                          node->topology->n, node->gpus);
    return 0;
}

static int number_of_model(struct dv_cluster *c, const struct dv_cluster_node *node, uint8_t *ret,
                           struct dv_err *err)
{
    uint32_t model = 0;
    *ret = 0;
    if (!node->gpus)
        return 0;
    if (strchr(node->model, '|'))
        return dv_err_set(err, -EINVAL, "%s: '|' in the GPU model '%s'", node->name, node->model);
    if (c->models.n == DV_CLUSTER_MODELS_MAX &&
        dv_names_find(&c->models, node->model) == DV_NAMES_NONE)
        return dv_err_set(err, -E2BIG, "%s: at most %u GPU models in one cluster", node->name,
                          DV_CLUSTER_MODELS_MAX);
    int r = dv_names_add(&c->models, node->model, &model);
    *ret = (uint8_t)model;
    return r;
}

static int number_of_label(struct dv_cluster *c, const char *label, uint32_t *ret)
{
    *ret = 0;
    return label && *label ? dv_names_add(&c->labels, label, ret) : 0;
}

static struct dv_cluster_state empty_state(const struct dv_cluster_fixed *f, uint32_t gpus,
                                           uint8_t model)
{
    struct dv_cluster_state s = {.cpu_milli = f->cpu_milli,
                                 .memory_mib = f->memory_mib,
                                 .gpu_milli = gpus * DV_CLUSTER_MILLI,
                                 .n_gpus = (uint8_t)gpus,
                                 .model = model};
    for (uint32_t i = 0; i < gpus; i++)
        s.gpu[i] = DV_CLUSTER_MILLI;
    return s;
}

static int copy_strings(const struct dv_cluster_node *node, struct dv_cluster_fixed *f,
                        char **ret_order)
{
    struct dv_topology *topology = NULL;
    char *name = strdup(node->name);
    char *order = strdup(node->order ? node->order : node->name);
    if (node->topology) {
        topology = malloc(sizeof *topology);
        if (topology)
            *topology = *node->topology;
    }
    if (!name || !order || (node->topology && !topology)) {
        free(name);
        free(order);
        free(topology);
        return -ENOMEM;
    }
    f->name = name;
    f->topology = topology;
    *ret_order = order;
    return 0;
}

int dv_cluster_add(struct dv_cluster *cluster, const struct dv_cluster_node *node,
                   struct dv_err *err)
{
    uint8_t model = 0;
    int r = check_node(cluster, node, err);
    if (!r)
        r = number_of_model(cluster, node, &model, err);
    if (r < 0 && r != -ENOMEM)
        return r;
    const struct dv_gpu_model *known = node->gpus ? dv_gpu_model_find(node->model, NULL) : NULL;
    struct dv_cluster_fixed f = {
        .cpu_milli = node->cpu_milli,
        .memory_mib = node->memory_mib,
        .added = cluster->n,
        .fraction_wall = DV_MAX(node->fraction_wall, DV_WALL_COOPERATIVE),
        .gpu_memory_mib = node->gpu_memory_mib,
        .mig = known && !node->no_mig ? known->mig : NULL,
    };
    if (known && !f.gpu_memory_mib)
        f.gpu_memory_mib = (uint32_t)(known->memory_bytes / DV_MIB);
    char *order = NULL;
    if (r < 0 || reserve(cluster) < 0 || number_of_label(cluster, node->rack, &f.rack) < 0 ||
        number_of_label(cluster, node->zone, &f.zone) < 0 || copy_strings(node, &f, &order) < 0)
        return dv_err_set(err, -ENOMEM, "out of memory");
    cluster->fixed[cluster->n] = f;
    cluster->states[cluster->n] = empty_state(&f, node->gpus, model);
    cluster->orders[cluster->n] = order;
    cluster->cuts[cluster->n] = NULL;
    cluster->n++;
    return 0;
}

/* ---- sealing -------------------------------------------------------------------------------- */

static int compare_order(const void *a, const void *b, void *names)
{
    char *const *v = names;
    return strcmp(v[*(const uint32_t *)a], v[*(const uint32_t *)b]);
}

static int compare_name(const void *a, const void *b, void *fixed)
{
    const struct dv_cluster_fixed *f = fixed;
    return strcmp(f[*(const uint32_t *)a].name, f[*(const uint32_t *)b].name);
}

/* Numbers the models by name, so that nothing depends on who came first. */
static void sort_models(struct dv_cluster *c)
{
    uint8_t to[DV_CLUSTER_MODELS_MAX];
    if (!c->models.n)
        return;
    for (uint32_t i = 0; i < c->models.n; i++) {
        to[i] = 0;
        for (uint32_t k = 0; k < c->models.n; k++)
            if (strcmp(c->models.v[k], c->models.v[i]) < 0)
                to[i]++;
    }
    for (uint32_t i = 0; i < c->n; i++)
        if (c->states[i].n_gpus)
            c->states[i].model = to[c->states[i].model];
    struct dv_names old = c->models;
    char *sorted[DV_CLUSTER_MODELS_MAX];
    for (uint32_t i = 0; i < old.n; i++)
        sorted[to[i]] = old.v[i];
    if (old.n)
        memcpy(old.v, sorted, old.n * sizeof *sorted);
    /* The table finds by number: it has to follow. */
    for (uint32_t i = 0; i < old.n_slots; i++)
        if (old.slots[i])
            old.slots[i] = to[old.slots[i] - 1] + 1u;
}

/* The nodes in the order of `permutation`. */
static int permute(struct dv_cluster *c, const uint32_t *permutation)
{
    struct dv_cluster_state *states = calloc(c->n, sizeof *states);
    struct dv_cluster_fixed *fixed = calloc(c->n, sizeof *fixed);
    if (!states || !fixed) {
        free(states);
        free(fixed);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < c->n; i++) {
        states[i] = c->states[permutation[i]];
        fixed[i] = c->fixed[permutation[i]];
        free(c->orders[i]);
    }
    free(c->states);
    free(c->fixed);
    free(c->orders);
    c->states = states;
    c->fixed = fixed;
    c->orders = NULL;
    return 0;
}

static int seal(struct dv_cluster *c, uint32_t *v, struct dv_err *err)
{
    for (uint32_t i = 0; i < c->n; i++)
        v[i] = i;
    qsort_r(v, c->n, sizeof *v, compare_name, c->fixed);
    for (uint32_t i = 1; i < c->n; i++)
        if (!strcmp(c->fixed[v[i - 1]].name, c->fixed[v[i]].name))
            return dv_err_set(err, -EEXIST, "two nodes are called %s", c->fixed[v[i]].name);
    qsort_r(v, c->n, sizeof *v, compare_order, c->orders);
    for (uint32_t i = 1; i < c->n; i++)
        if (!strcmp(c->orders[v[i - 1]], c->orders[v[i]]))
            return dv_err_set(err, -EEXIST, "two nodes have the place %s", c->orders[v[i]]);
    if (permute(c, v) < 0)
        return dv_err_set(err, -ENOMEM, "out of memory");
    for (uint32_t i = 0; i < c->n; i++)
        v[i] = i;
    qsort_r(v, c->n, sizeof *v, compare_name, c->fixed);
    return 0;
}

int dv_cluster_seal(struct dv_cluster *cluster, struct dv_err *err)
{
    if (cluster->sealed || !cluster->n) {
        cluster->sealed = true;
        return 0;
    }
    uint32_t *v = malloc(cluster->n * sizeof *v);
    if (!v)
        return dv_err_set(err, -ENOMEM, "out of memory");
    int r = seal(cluster, v, err);
    if (r < 0) {
        free(v);
        return r;
    }
    cluster->by_name = v;
    cluster->sealed = true;
    sort_models(cluster);
    return 0;
}

void dv_cluster_reset(struct dv_cluster *cluster)
{
    for (uint32_t i = 0; i < cluster->n; i++) {
        struct dv_cluster_state *s = &cluster->states[i];
        *s = empty_state(&cluster->fixed[i], s->n_gpus, s->model);
        free(cluster->cuts[i]);
        cluster->cuts[i] = NULL;
    }
}

/* ---- looking -------------------------------------------------------------------------------- */

uint32_t dv_cluster_nodes(const struct dv_cluster *cluster)
{
    return cluster->n;
}

const struct dv_cluster_state *dv_cluster_state(const struct dv_cluster *cluster, uint32_t node)
{
    return &cluster->states[node];
}

const struct dv_cluster_fixed *dv_cluster_fixed(const struct dv_cluster *cluster, uint32_t node)
{
    return &cluster->fixed[node];
}

uint32_t dv_cluster_find(const struct dv_cluster *cluster, const char *name)
{
    uint32_t low = 0, high = cluster->by_name ? cluster->n : 0;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int r = strcmp(cluster->fixed[cluster->by_name[middle]].name, name);
        if (!r)
            return cluster->by_name[middle];
        if (r < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return DV_CLUSTER_NONE;
}

struct dv_cluster_sum dv_cluster_total(const struct dv_cluster *cluster)
{
    struct dv_cluster_sum sum = {0};
    for (uint32_t i = 0; i < cluster->n; i++) {
        sum.cpu_milli += cluster->fixed[i].cpu_milli;
        sum.memory_mib += cluster->fixed[i].memory_mib;
        sum.gpus += cluster->states[i].n_gpus;
    }
    sum.gpu_milli = sum.gpus * DV_CLUSTER_MILLI;
    return sum;
}

struct dv_cluster_sum dv_cluster_free_now(const struct dv_cluster *cluster)
{
    struct dv_cluster_sum sum = {0};
    for (uint32_t i = 0; i < cluster->n; i++) {
        const struct dv_cluster_state *s = &cluster->states[i];
        sum.cpu_milli += s->cpu_milli;
        sum.memory_mib += s->memory_mib;
        sum.gpu_milli += s->gpu_milli;
        for (uint32_t g = 0; g < s->n_gpus; g++)
            sum.gpus += s->gpu[g] == DV_CLUSTER_MILLI;
    }
    return sum;
}

const char *dv_cluster_model(const struct dv_cluster *cluster, uint32_t model)
{
    return model < cluster->models.n ? cluster->models.v[model] : NULL;
}

uint32_t dv_cluster_models(const struct dv_cluster *cluster)
{
    return cluster->models.n;
}

const char *dv_cluster_label(const struct dv_cluster *cluster, uint32_t label)
{
    return label < cluster->labels.n ? cluster->labels.v[label] : NULL;
}

uint32_t dv_cluster_find_label(const struct dv_cluster *cluster, const char *name)
{
    return dv_names_find(&cluster->labels, name);
}

/* ---- what pods ask for ---------------------------------------------------------------------- */

/* One of the models of a spec: sets its bit. */
static int allow(const struct dv_cluster *c, const char *name, bool lax, uint64_t *mask,
                 struct dv_err *err)
{
    uint32_t model = dv_names_find(&c->models, name);
    if (model != DV_NAMES_NONE) {
        *mask |= UINT64_C(1) << model;
        return 0;
    }
    if (lax)
        return 0;
    const char *near = dv_str_nearest(name, (const char *const *)c->models.v, c->models.n);
    return dv_err_set(err, -ENOENT, "no node has the GPU model '%s'%s%s%s", name,
                      near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int parse_spec(const struct dv_cluster *c, const char *text, bool lax, uint64_t *ret,
                      struct dv_err *err)
{
    char name[DV_CLUSTER_NAME_SIZE];
    *ret = 0;
    for (const char *at = text;;) {
        size_t len = strcspn(at, "|");
        if (!len || len >= sizeof name)
            return dv_err_set(err, -EINVAL,
                              "'%s' is not a list of GPU models; models are joined by '|'", text);
        memcpy(name, at, len);
        name[len] = '\0';
        int r = allow(c, name, lax, ret, err);
        if (r < 0)
            return r;
        if (!at[len])
            return 0;
        at += len + 1;
    }
}

int dv_cluster_spec(struct dv_cluster *cluster, const char *text, bool lax, uint16_t *ret,
                    struct dv_err *err)
{
    uint32_t known = dv_names_find(&cluster->specs, text);
    if (known == DV_NAMES_NONE) {
        uint64_t mask = 0;
        int r = parse_spec(cluster, text, lax, &mask, err);
        if (r < 0)
            return r;
        if (cluster->specs.n == DV_CLUSTER_SPECS_MAX)
            return dv_err_set(err, -E2BIG, "at most %u different lists of GPU models",
                              DV_CLUSTER_SPECS_MAX);
        if (dv_names_add(&cluster->specs, text, &known) < 0)
            return dv_err_set(err, -ENOMEM, "out of memory");
        cluster->masks[known] = mask;
    }
    *ret = (uint16_t)known;
    return 0;
}

const char *dv_cluster_spec_text(const struct dv_cluster *cluster, uint16_t spec)
{
    return spec < cluster->specs.n ? cluster->specs.v[spec] : "";
}

uint64_t dv_cluster_spec_mask(const struct dv_cluster *cluster, uint16_t spec)
{
    return cluster->masks[spec];
}

static bool same_wish(const struct dv_cluster_wish *a, const struct dv_cluster_wish *b)
{
    return a->near == b->near && a->near_required == b->near_required && a->any_of == b->any_of &&
           a->wall == b->wall && a->gpu_memory_mib == b->gpu_memory_mib && a->rack == b->rack &&
           a->zone == b->zone && !strcmp(a->profile, b->profile);
}

int dv_cluster_wish(struct dv_cluster *cluster, const struct dv_cluster_wish *wish, uint16_t *ret,
                    struct dv_err *err)
{
    struct dv_mig_name name;
    if (memchr(wish->profile, '\0', sizeof wish->profile) == NULL ||
        (*wish->profile && dv_mig_name_parse(wish->profile, &name, err) < 0))
        return -EINVAL;
    if (wish->any_of && *wish->profile)
        return dv_err_set(err, -EINVAL, "a MIG profile and any_of exclude each other");
    for (uint32_t i = 0; i < cluster->n_wishes; i++)
        if (same_wish(wish, &cluster->wishes[i])) {
            *ret = (uint16_t)i;
            return 0;
        }
    if (cluster->n_wishes == DV_CLUSTER_WISHES_MAX)
        return dv_err_set(err, -E2BIG, "at most %u different wishes", DV_CLUSTER_WISHES_MAX);
    if (grow_array((void **)&cluster->wishes, cluster->n_wishes + 1u, sizeof *wish) < 0)
        return dv_err_set(err, -ENOMEM, "out of memory");
    cluster->wishes[cluster->n_wishes] = *wish;
    *ret = (uint16_t)cluster->n_wishes++;
    return 0;
}

const struct dv_cluster_wish *dv_cluster_wish_at(const struct dv_cluster *cluster, uint16_t wish)
{
    return &cluster->wishes[wish < cluster->n_wishes ? wish : 0];
}

int dv_cluster_pod_check(const struct dv_cluster_pod *pod, struct dv_err *err)
{
    if (pod->cpu_milli > DV_CLUSTER_CPU_MAX || pod->memory_mib > DV_CLUSTER_MEMORY_MAX)
        return dv_err_set(err, -EINVAL, "%u milli-CPU and %u MiB are more than a node can have",
                          pod->cpu_milli, pod->memory_mib);
    if (pod->gpus > DV_CLUSTER_GPUS_MAX)
        return dv_err_set(err, -EINVAL, "%u GPUs; a node has at most %u", pod->gpus,
                          DV_CLUSTER_GPUS_MAX);
    if (pod->gpu_milli > DV_CLUSTER_MILLI)
        return dv_err_set(err, -EINVAL, "%u milli of one GPU, which has %u", pod->gpu_milli,
                          DV_CLUSTER_MILLI);
    if (!pod->gpus != !pod->gpu_milli)
        return dv_err_set(err, -EINVAL, "%u milli of each of %u GPUs", pod->gpu_milli, pod->gpus);
    return 0;
}

/* ---- taking and giving back ----------------------------------------------------------------- */

size_t dv_cluster_instances(const struct dv_cluster *cluster, uint32_t node, uint32_t gpu,
                            struct dv_mig_instance ret[DV_MIG_INSTANCES_MAX])
{
    if (!cluster->cuts[node] || gpu >= cluster->states[node].n_gpus)
        return 0;
    const struct cut *cut = &cluster->cuts[node][gpu];
    for (uint32_t i = 0; i < cut->n; i++)
        ret[i] = (struct dv_mig_instance){cut->v[i].profile, cut->v[i].start};
    return cut->n;
}

/* GPUs that are there, each once? */
static bool names_gpus(const struct dv_cluster_state *s, const struct dv_cluster_taking *t)
{
    uint32_t seen = 0;
    if (t->n > DV_CLUSTER_GPUS_MAX || t->milli > DV_CLUSTER_MILLI || (t->n && !t->milli != t->mig))
        return false;
    for (uint32_t i = 0; i < t->n; i++) {
        if (t->gpus[i] >= s->n_gpus || (seen >> t->gpus[i] & 1))
            return false;
        seen |= 1u << t->gpus[i];
    }
    return true;
}

static bool is_cut(const struct dv_cluster_state *s, uint32_t gpu)
{
    return s->mig >> gpu & 1;
}

/* May this instance join those that are on the GPU? */
static bool has_room(const struct dv_cluster *c, uint32_t node, uint32_t gpu, uint8_t profile,
                     uint8_t start)
{
    struct dv_mig_instance v[DV_MIG_INSTANCES_MAX + 1];
    size_t n = dv_cluster_instances(c, node, gpu, v);
    if (!is_cut(&c->states[node], gpu) && c->states[node].gpu[gpu] != DV_CLUSTER_MILLI)
        return false;
    v[n] = (struct dv_mig_instance){profile, start};
    return dv_mig_check(c->fixed[node].mig, v, n + 1, NULL) == DV_MIG_OK;
}

static int check_taking(struct dv_cluster *c, uint32_t node, const struct dv_cluster_taking *t)
{
    const struct dv_cluster_state *s = &c->states[node];
    const struct dv_mig_geometry *g = c->fixed[node].mig;
    if (!names_gpus(s, t) || (t->mig && (!g || t->profile >= g->n_profiles)))
        return -EINVAL;
    if (t->cpu_milli > s->cpu_milli || t->memory_mib > s->memory_mib)
        return -ENOSPC;
    for (uint32_t i = 0; i < t->n; i++)
        if (t->mig ? !has_room(c, node, t->gpus[i], t->profile, t->starts[i])
                   : s->gpu[t->gpus[i]] < t->milli)
            return -ENOSPC;
    if (t->mig && !c->cuts[node]) {
        c->cuts[node] = calloc(s->n_gpus, sizeof *c->cuts[node]);
        if (!c->cuts[node])
            return -ENOMEM;
    }
    return 0;
}

void dv_cluster_after(const struct dv_cluster_state *state, const struct dv_cluster_taking *taking,
                      struct dv_cluster_state *ret)
{
    *ret = *state;
    ret->cpu_milli -= taking->cpu_milli;
    ret->memory_mib -= taking->memory_mib;
    for (uint32_t i = 0; i < taking->n; i++) {
        uint32_t gpu = taking->gpus[i];
        uint16_t milli = taking->mig ? ret->gpu[gpu] : taking->milli;
        ret->gpu[gpu] = (uint16_t)(ret->gpu[gpu] - milli);
        ret->gpu_milli -= milli;
        if (taking->mig)
            ret->mig = (uint16_t)(ret->mig | 1u << gpu);
    }
}

int dv_cluster_take(struct dv_cluster *cluster, uint32_t node,
                    const struct dv_cluster_taking *taking)
{
    if (node >= cluster->n)
        return -EINVAL;
    int r = check_taking(cluster, node, taking);
    if (r < 0)
        return r;
    struct dv_cluster_state after;
    dv_cluster_after(&cluster->states[node], taking, &after);
    cluster->states[node] = after;
    for (uint32_t i = 0; taking->mig && i < taking->n; i++) {
        struct cut *cut = &cluster->cuts[node][taking->gpus[i]];
        cut->v[cut->n].profile = taking->profile;
        cut->v[cut->n++].start = taking->starts[i];
    }
    return 0;
}

static uint32_t find_instance(const struct cut *cut, uint8_t profile, uint8_t start)
{
    uint32_t i = 0;
    while (i < cut->n && (cut->v[i].profile != profile || cut->v[i].start != start))
        i++;
    return i;
}

static bool was_taken(const struct dv_cluster *c, uint32_t node, const struct dv_cluster_taking *t)
{
    const struct dv_cluster_state *s = &c->states[node];
    const struct dv_cluster_fixed *f = &c->fixed[node];
    if (!names_gpus(s, t) || t->cpu_milli > f->cpu_milli - s->cpu_milli ||
        t->memory_mib > f->memory_mib - s->memory_mib)
        return false;
    for (uint32_t i = 0; i < t->n; i++) {
        uint32_t gpu = t->gpus[i];
        if (t->mig != is_cut(s, gpu))
            return false;
        if (!t->mig && s->gpu[gpu] + t->milli > DV_CLUSTER_MILLI)
            return false;
        if (t->mig &&
            find_instance(&c->cuts[node][gpu], t->profile, t->starts[i]) == c->cuts[node][gpu].n)
            return false;
    }
    return true;
}

/* One instance goes; with the last of them the GPU is whole again. */
static void remove_instance(struct dv_cluster *c, uint32_t node, uint32_t gpu, uint8_t profile,
                            uint8_t start)
{
    struct dv_cluster_state *s = &c->states[node];
    struct cut *cut = &c->cuts[node][gpu];
    cut->v[find_instance(cut, profile, start)] = cut->v[cut->n - 1];
    cut->n--;
    if (cut->n)
        return;
    s->mig = (uint16_t)(s->mig & ~(1u << gpu));
    s->gpu[gpu] = DV_CLUSTER_MILLI;
    s->gpu_milli += DV_CLUSTER_MILLI;
}

int dv_cluster_give_back(struct dv_cluster *cluster, uint32_t node,
                         const struct dv_cluster_taking *taking)
{
    if (node >= cluster->n || !was_taken(cluster, node, taking))
        return -EINVAL;
    struct dv_cluster_state *s = &cluster->states[node];
    s->cpu_milli += taking->cpu_milli;
    s->memory_mib += taking->memory_mib;
    for (uint32_t i = 0; i < taking->n; i++) {
        uint32_t gpu = taking->gpus[i];
        if (taking->mig) {
            remove_instance(cluster, node, gpu, taking->profile, taking->starts[i]);
        } else {
            s->gpu[gpu] = (uint16_t)(s->gpu[gpu] + taking->milli);
            s->gpu_milli += taking->milli;
        }
    }
    return 0;
}
