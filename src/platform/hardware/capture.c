/* SPDX-License-Identifier: Apache-2.0 */
#include "hardware/capture.h"

#include "hardware/topology_facts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * One table per record says which keys it has; printing and reading follow the same table, so that
 * they cannot differ.
 */
enum field_type {
    TEXT,
    NUMBER32,
    NUMBER64,
    SIGNED8,
    BOOLEAN,
};

struct field {
    const char *key;
    enum field_type type;
    size_t offset, size;
};

#define FIELD(s, member, type)                                                                     \
    {                                                                                              \
#member, type, offsetof(struct s, member), sizeof(((struct s *)0)->member)                 \
    }
#define NAMED(s, key, member, type)                                                                \
    {                                                                                              \
        key, type, offsetof(struct s, member), sizeof(((struct s *)0)->member)                     \
    }

static const struct field driver_fields[] = {FIELD(dv_facts_driver, version, TEXT),
                                             FIELD(dv_facts_driver, cuda, NUMBER32),
                                             FIELD(dv_facts_driver, gpus, NUMBER32),
                                             {0}};

static const struct field gpu_fields[] = {
    FIELD(dv_facts_gpu, uuid, TEXT),
    FIELD(dv_facts_gpu, model, TEXT),
    FIELD(dv_facts_gpu, pci, TEXT),
    FIELD(dv_facts_gpu, pci_device_id, NUMBER32),
    FIELD(dv_facts_gpu, pci_subsystem_id, NUMBER32),
    FIELD(dv_facts_gpu, cc_major, NUMBER32),
    FIELD(dv_facts_gpu, cc_minor, NUMBER32),
    FIELD(dv_facts_gpu, compute_mode, NUMBER32),
    FIELD(dv_facts_gpu, mig_current, NUMBER32),
    FIELD(dv_facts_gpu, mig_pending, NUMBER32),
    FIELD(dv_facts_gpu, numa, NUMBER32),
    FIELD(dv_facts_gpu, power_limit_mw, NUMBER32),
    FIELD(dv_facts_gpu, lost, NUMBER32),
    FIELD(dv_facts_gpu, memory_limits, NUMBER32),
    FIELD(dv_facts_gpu, persistence, NUMBER32),
    FIELD(dv_facts_gpu, remap_pending, NUMBER32),
    FIELD(dv_facts_gpu, remap_failed, NUMBER32),
    FIELD(dv_facts_gpu, pages_pending, NUMBER32),
    FIELD(dv_facts_gpu, nvlinks_up, NUMBER32),
    FIELD(dv_facts_gpu, pci_class, NUMBER32),
    FIELD(dv_facts_gpu, vgpu, NUMBER32),
    FIELD(dv_facts_gpu, fabric_cluster, TEXT),
    FIELD(dv_facts_gpu, fabric_clique, NUMBER32),
    FIELD(dv_facts_gpu, timeslice, NUMBER32),
    FIELD(dv_facts_gpu, accounting, NUMBER32),
    FIELD(dv_facts_gpu, memory_bytes, NUMBER64),
    FIELD(dv_facts_gpu, memory_reserved_bytes, NUMBER64),
    FIELD(dv_facts_gpu, ecc_uncorrected, NUMBER64),
    FIELD(dv_facts_gpu, energy_mj, NUMBER64),
    NAMED(dv_facts_gpu, "mig_grid", geometry.grid, NUMBER32),
    NAMED(dv_facts_gpu, "mig_slices", geometry.slices, NUMBER32),
    {0}};

static const struct field profile_fields[] = {
    FIELD(dv_mig_profile, name, TEXT),
    FIELD(dv_mig_profile, id, NUMBER32),
    FIELD(dv_mig_profile, nvml, NUMBER32),
    FIELD(dv_mig_profile, slices, NUMBER32),
    FIELD(dv_mig_profile, size, NUMBER32),
    FIELD(dv_mig_profile, starts, NUMBER32),
    FIELD(dv_mig_profile, max_instances, NUMBER32),
    FIELD(dv_mig_profile, memory_bytes, NUMBER64),
    FIELD(dv_mig_profile, sm, NUMBER32),
    FIELD(dv_mig_profile, media, NUMBER32),
    FIELD(dv_mig_profile, graphics, BOOLEAN),
    NAMED(dv_mig_profile, "copy", engines.copy, SIGNED8),
    NAMED(dv_mig_profile, "decoder", engines.decoder, SIGNED8),
    NAMED(dv_mig_profile, "encoder", engines.encoder, SIGNED8),
    NAMED(dv_mig_profile, "jpeg", engines.jpeg, SIGNED8),
    NAMED(dv_mig_profile, "ofa", engines.ofa, SIGNED8),
    {0}};

static const struct field mig_fields[] = {FIELD(dv_facts_mig, uuid, TEXT),
                                          FIELD(dv_facts_mig, profile, TEXT),
                                          FIELD(dv_facts_mig, gi, NUMBER32),
                                          FIELD(dv_facts_mig, ci, NUMBER32),
                                          FIELD(dv_facts_mig, start, NUMBER32),
                                          FIELD(dv_facts_mig, size, NUMBER32),
                                          FIELD(dv_facts_mig, gi_slices, NUMBER32),
                                          FIELD(dv_facts_mig, ci_slices, NUMBER32),
                                          FIELD(dv_facts_mig, ci_profile, NUMBER32),
                                          FIELD(dv_facts_mig, ci_start, NUMBER32),
                                          FIELD(dv_facts_mig, sm, NUMBER32),
                                          FIELD(dv_facts_mig, copy, NUMBER32),
                                          FIELD(dv_facts_mig, decoder, NUMBER32),
                                          FIELD(dv_facts_mig, encoder, NUMBER32),
                                          FIELD(dv_facts_mig, jpeg, NUMBER32),
                                          FIELD(dv_facts_mig, ofa, NUMBER32),
                                          FIELD(dv_facts_mig, memory_bytes, NUMBER64),
                                          {0}};

static const struct field gi_fields[] = {FIELD(dv_facts_gi, id, NUMBER32),
                                         FIELD(dv_facts_gi, profile, NUMBER32),
                                         FIELD(dv_facts_gi, start, NUMBER32),
                                         FIELD(dv_facts_gi, size, NUMBER32),
                                         {0}};

static const struct field topology_fields[] = {
    FIELD(dv_facts_topology, nvlinks_switch, NUMBER32), FIELD(dv_facts_topology, cpus, TEXT), {0}};

static const struct field peer_fields[] = {FIELD(dv_facts_peer, pcie, NUMBER32),
                                           FIELD(dv_facts_peer, nvlinks, NUMBER32),
                                           FIELD(dv_facts_peer, nvlink_p2p, NUMBER32),
                                           {0}};

static const struct field sample_fields[] = {FIELD(dv_facts_sample, memory_used_bytes, NUMBER64),
                                             FIELD(dv_facts_sample, memory_free_bytes, NUMBER64),
                                             FIELD(dv_facts_sample, gpu_percent, NUMBER32),
                                             FIELD(dv_facts_sample, lost, NUMBER32),
                                             FIELD(dv_facts_sample, processes_known, NUMBER32),
                                             FIELD(dv_facts_sample, utilization_known, NUMBER32),
                                             {0}};

static const struct field process_fields[] = {FIELD(dv_facts_process, pid, NUMBER32),
                                              FIELD(dv_facts_process, gi, NUMBER32),
                                              FIELD(dv_facts_process, ci, NUMBER32),
                                              FIELD(dv_facts_process, memory_bytes, NUMBER64),
                                              {0}};

static const struct field utilization_fields[] = {FIELD(dv_facts_utilization, pid, NUMBER32),
                                                  FIELD(dv_facts_utilization, sm_percent, NUMBER32),
                                                  FIELD(dv_facts_utilization, time_us, NUMBER64),
                                                  {0}};

/* ---- printing ---- */

static void print_text(struct dv_str *s, const char *key, const char *value)
{
    if (!*value)
        return;
    bool quote = strpbrk(value, " \t\"\\") != NULL;
    dv_str_addf(s, " %s=%s", key, quote ? "\"" : "");
    for (const char *p = value; *p; p++) {
        if (*p == '"' || *p == '\\')
            dv_str_addc(s, '\\');
        dv_str_addc(s, (unsigned char)*p < ' ' ? '?' : *p);
    }
    if (quote)
        dv_str_addc(s, '"');
}

static void print_field(struct dv_str *s, const struct field *f, const void *record)
{
    const char *at = (const char *)record + f->offset;
    uint32_t u32;
    uint64_t u64;
    switch (f->type) {
    case TEXT:
        print_text(s, f->key, at);
        break;
    case NUMBER32:
        memcpy(&u32, at, sizeof u32);
        if (u32 != DV_FACT_UNKNOWN32)
            dv_str_addf(s, " %s=%u", f->key, u32);
        break;
    case NUMBER64:
        memcpy(&u64, at, sizeof u64);
        if (u64 != DV_FACT_UNKNOWN)
            dv_str_addf(s, " %s=%llu", f->key, (unsigned long long)u64);
        break;
    case SIGNED8:
        if (*(const int8_t *)at != DV_MIG_UNKNOWN)
            dv_str_addf(s, " %s=%d", f->key, *(const int8_t *)at);
        break;
    case BOOLEAN:
        dv_str_addf(s, " %s=%d", f->key, *(const bool *)at);
        break;
    }
}

static void print_record(struct dv_str *s, const char *kind, int gpu, const struct field *fields,
                         const void *record)
{
    dv_str_add(s, kind);
    if (gpu >= 0)
        dv_str_addf(s, " %s=%d", fields == gpu_fields ? "index" : "gpu", gpu);
    for (const struct field *f = fields; f->key; f++)
        print_field(s, f, record);
    dv_str_addc(s, '\n');
}

static bool is_known(const void *record, const struct field *fields)
{
    for (const struct field *f = fields; f->key; f++) {
        const unsigned char *at = (const unsigned char *)record + f->offset;
        uint32_t u32;
        memcpy(&u32, at, sizeof u32);
        if (f->type == TEXT ? *at : u32 != DV_FACT_UNKNOWN32)
            return true;
    }
    return false;
}

/* Nothing of a node that was captured before there were such records. */
static void print_topology(const struct dv_facts_topology *t, int i, struct dv_str *s)
{
    if (is_known(t, topology_fields))
        print_record(s, "topology", i, topology_fields, t);
    for (int k = 0; k < (int)DV_FACTS_GPUS_MAX; k++) {
        if (!is_known(&t->peers[k], peer_fields))
            continue;
        dv_str_addf(s, "peer gpu=%d to=%d", i, k);
        for (const struct field *f = peer_fields; f->key; f++)
            print_field(s, f, &t->peers[k]);
        dv_str_addc(s, '\n');
    }
}

static void print_gpu(const struct dv_facts_gpu *g, const struct dv_facts_sample *sample, int i,
                      struct dv_str *s)
{
    print_record(s, "gpu", i, gpu_fields, g);
    for (uint32_t k = 0; k < g->geometry.n_profiles; k++)
        print_record(s, "profile", i, profile_fields, &g->geometry.profiles[k]);
    for (uint32_t k = 0; g->n_gi != DV_FACT_UNKNOWN32 && k < g->n_gi; k++)
        print_record(s, "gi", i, gi_fields, &g->gi[k]);
    for (uint32_t k = 0; k < g->n_mig; k++)
        print_record(s, "mig", i, mig_fields, &g->mig[k]);
    print_record(s, "sample", i, sample_fields, sample);
    for (uint32_t k = 0; k < sample->n_processes; k++)
        print_record(s, "process", i, process_fields, &sample->processes[k]);
    for (uint32_t k = 0; k < sample->n_utilization; k++)
        print_record(s, "utilization", i, utilization_fields, &sample->utilization[k]);
}

void dv_capture_print(const struct dv_capture *c, struct dv_str *s)
{
    dv_str_add(s, "divvy-capture 1\n");
    print_record(s, "driver", -1, driver_fields, &c->driver);
    for (uint32_t i = 0; i < c->driver.gpus; i++) {
        print_gpu(&c->gpus[i], &c->samples[i], (int)i, s);
        print_topology(&c->topology[i], (int)i, s);
    }
}

/* ---- reading ---- */

static void forget(const struct field *fields, void *record)
{
    for (const struct field *f = fields; f->key; f++)
        memset((char *)record + f->offset, f->type == TEXT || f->type == BOOLEAN ? 0 : 0xff,
               f->size);
}

static int store(const struct field *f, void *record, const char *value, struct dv_err *err)
{
    char *at = (char *)record + f->offset;
    if (f->type == TEXT) {
        int r = dv_str_copy(at, f->size, value);
        return r < 0 ? dv_err_set(err, -EINVAL, "%s is too long", f->key) : 0;
    }
    char *end;
    errno = 0;
    unsigned long long v = strtoull(value, &end, 10);
    unsigned long long max = f->type == NUMBER64   ? UINT64_MAX
                             : f->type == NUMBER32 ? UINT32_MAX
                             : f->type == SIGNED8  ? INT8_MAX
                                                   : 1;
    if (*value < '0' || *value > '9' || *end || errno || v > max)
        return dv_err_set(err, -EINVAL, "%s='%.40s' is not a number in its range", f->key, value);
    if (f->type == NUMBER64)
        memcpy(at, &(uint64_t){v}, 8);
    else if (f->type == NUMBER32)
        memcpy(at, &(uint32_t){(uint32_t)v}, 4);
    else if (f->type == SIGNED8)
        *(int8_t *)at = (int8_t)v;
    else
        *(bool *)at = v == 1;
    return 0;
}

/* Cuts the next `key=value` out of *line; 0 at the end of the line, 1 when there is one. */
static int next_pair(char **line, char **ret_key, char **ret_value, struct dv_err *err)
{
    char *p = *line + strspn(*line, " \t");
    if (!*p)
        return 0;
    *ret_key = p;
    p += strcspn(p, "= \t");
    if (*p != '=') {
        dv_err_set(err, -EINVAL, "expected key=value at '%.40s'", *ret_key);
        return -EINVAL;
    }
    *p++ = 0;
    if (*p != '"') {
        *ret_value = p;
        p += strcspn(p, " \t");
        *line = *p ? p + 1 : p;
        *p = 0;
        return 1;
    }
    char *out = *ret_value = ++p;
    for (; *p && *p != '"'; p++) {
        if (*p == '\\' && p[1])
            p++;
        *out++ = *p;
    }
    if (!*p) {
        dv_err_set(err, -EINVAL, "the quote of %s does not end", *ret_key);
        return -EINVAL;
    }
    *line = p + 1;
    *out = 0;
    return 1;
}

static int read_pairs(char *line, const struct field *fields, void *record, struct dv_err *err)
{
    char *key, *value;
    int r;
    forget(fields, record);
    while ((r = next_pair(&line, &key, &value, err)) > 0) {
        const struct field *f = fields;
        while (f->key && strcmp(f->key, key) != 0)
            f++;
        if (!f->key)
            return dv_err_set(err, -EINVAL, "unknown key '%.40s'", key);
        r = store(f, record, value, err);
        if (r < 0)
            return r;
    }
    return r;
}

/* The record's place in the capture, by kind and GPU. */
static int locate(struct dv_capture *c, const char *kind, uint32_t gpu,
                  const struct field **ret_fields, void **ret_record)
{
    struct dv_facts_gpu *g = &c->gpus[gpu];
    struct dv_facts_sample *s = &c->samples[gpu];
    if (!strcmp(kind, "gpu"))
        *ret_fields = gpu_fields, *ret_record = g;
    else if (!strcmp(kind, "topology"))
        *ret_fields = topology_fields, *ret_record = &c->topology[gpu];
    else if (!strcmp(kind, "sample"))
        *ret_fields = sample_fields, *ret_record = s;
    else if (!strcmp(kind, "profile") && g->geometry.n_profiles < DV_MIG_PROFILES_MAX)
        *ret_fields = profile_fields, *ret_record = &g->geometry.profiles[g->geometry.n_profiles++];
    else if (!strcmp(kind, "mig") && g->n_mig < DV_FACTS_MIG_MAX)
        *ret_fields = mig_fields, *ret_record = &g->mig[g->n_mig++];
    else if (!strcmp(kind, "gi") && g->n_gi < DV_FACTS_MIG_MAX)
        *ret_fields = gi_fields, *ret_record = &g->gi[g->n_gi++];
    else if (!strcmp(kind, "process") && s->n_processes < DV_FACTS_PROCESSES_MAX)
        *ret_fields = process_fields, *ret_record = &s->processes[s->n_processes++];
    else if (!strcmp(kind, "utilization") && s->n_utilization < DV_FACTS_PROCESSES_MAX)
        *ret_fields = utilization_fields, *ret_record = &s->utilization[s->n_utilization++];
    else
        return -EINVAL;
    return 0;
}

/* "gpu=3": which record it is. */
static int read_gpu_number(const char *kind, const char *key, char **line, uint32_t *ret,
                           struct dv_err *err)
{
    char *found, *value, *end;
    int r = next_pair(line, &found, &value, err);
    if (r < 0)
        return r;
    if (!r || strcmp(found, key) != 0)
        return dv_err_set(err, -EINVAL, "'%.40s' must name its GPU first", kind);
    unsigned long gpu = strtoul(value, &end, 10);
    if (!*value || *end || gpu >= DV_FACTS_GPUS_MAX)
        return dv_err_set(err, -EINVAL, "'%.40s' is no GPU number below %u", value,
                          DV_FACTS_GPUS_MAX);
    *ret = (uint32_t)gpu;
    return 0;
}

static int read_line(struct dv_capture *c, char *line, struct dv_err *err)
{
    char *kind = line;
    uint32_t gpu = 0, peer = 0;
    const struct field *fields;
    void *record;
    line += strcspn(line, " \t");
    if (*line)
        *line++ = 0;
    if (!strcmp(kind, "driver"))
        return read_pairs(line, driver_fields, &c->driver, err);
    int r = read_gpu_number(kind, strcmp(kind, "gpu") ? "gpu" : "index", &line, &gpu, err);
    if (r < 0)
        return r;
    if (!strcmp(kind, "peer")) {
        r = read_gpu_number(kind, "to", &line, &peer, err);
        return r < 0 ? r : read_pairs(line, peer_fields, &c->topology[gpu].peers[peer], err);
    }
    r = locate(c, kind, gpu, &fields, &record);
    if (r < 0)
        return dv_err_set(err, r, "unknown or too many records of kind '%.40s'", kind);
    r = read_pairs(line, fields, record, err);
    if (fields == gpu_fields)
        c->gpus[gpu].index = gpu;
    return r;
}

static int read_lines(struct dv_capture *c, char *text, struct dv_err *err)
{
    unsigned number = 0;
    for (char *line = text, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        number++;
        int r = 0;
        if (number == 1)
            r = strcmp(line, "divvy-capture 1")
                    ? dv_err_set(err, -EINVAL, "expected 'divvy-capture 1'")
                    : 0;
        else if (*line && *line != '#')
            r = read_line(c, line, err);
        if (r < 0) {
            dv_err_prefix(err, "line %u: ", number);
            return r;
        }
    }
    if (c->driver.gpus > DV_FACTS_GPUS_MAX)
        return dv_err_set(err, -EINVAL, "at most %u GPUs are possible", DV_FACTS_GPUS_MAX);
    return 0;
}

int dv_capture_parse(const char *text, struct dv_capture **ret, struct dv_err *err)
{
    if (strlen(text) > DV_MIB)
        return dv_err_set(err, -EINVAL, "a capture has at most 1 MiB");
    struct dv_capture *c = calloc(1, sizeof *c);
    char *copy = strdup(text);
    for (uint32_t i = 0; c && i < DV_FACTS_GPUS_MAX; i++)
        dv_topology_facts_forget(&c->topology[i], i);
    int r = c && copy ? read_lines(c, copy, err) : dv_err_set(err, -ENOMEM, "out of memory");
    free(copy);
    if (r < 0) {
        free(c);
        return r;
    }
    *ret = c;
    return 0;
}

/* A lost GPU, or an older driver, says nothing of its links. */
static int take_topology(struct dv_hardware *hw, uint32_t i, struct dv_facts_topology *ret,
                         struct dv_err *err)
{
    int r = dv_hardware_topology(hw, i, ret, err);
    if (r > 0)
        dv_topology_facts_forget(ret, i);
    return r < 0 ? r : 0;
}

int dv_capture_take(struct dv_hardware *hw, struct dv_capture **ret, struct dv_err *err)
{
    struct dv_capture *c = calloc(1, sizeof *c);
    if (!c)
        return dv_err_set(err, -ENOMEM, "out of memory");
    int r = dv_hardware_driver(hw, &c->driver, err);
    if (!r && c->driver.gpus > DV_FACTS_GPUS_MAX)
        c->driver.gpus = DV_FACTS_GPUS_MAX;
    for (uint32_t i = 0; !r && i < c->driver.gpus; i++) {
        r = dv_hardware_gpu(hw, i, &c->gpus[i], err);
        if (!r)
            r = dv_hardware_sample(hw, i, 0, &c->samples[i], err);
        if (!r)
            r = take_topology(hw, i, &c->topology[i], err);
    }
    if (r) {
        free(c);
        return r;
    }
    *ret = c;
    return 0;
}

void dv_capture_free(struct dv_capture *capture)
{
    free(capture);
}
