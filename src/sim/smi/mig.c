/* SPDX-License-Identifier: Apache-2.0 */
/* nvidia-smi mig: profiles, placements, instances. */
#include "smi/smi.h"

#include <stdlib.h>
#include <string.h>

#define INSTANCES_MAX 64u
#define WIDE "+-------------------------------------------------------------------------------+\n"

struct options {
    enum { NOTHING, LGIP, LGIPP, LGI, CGI, DGI, LCIP, LCIPP, LCI, CCI, DCI } verb;
    const char *list;    /* of profiles */
    const char *gi, *ci; /* ids, comma-separated; NULL = all */
    const char *gpus;
    bool with_compute;
};

/* ---- small things -----------------------------------------------------------------------------
 */

static bool listed(const char *ids, uint32_t id)
{
    if (!ids)
        return true;
    for (const char *p = ids; *p; p += strcspn(p, ","), p += *p == ',')
        if (strtoul(p, NULL, 10) == id)
            return true;
    return false;
}

static int gi_profile(const struct dv_smi_gpu *g, uint32_t profile,
                      struct dv_nvml_gi_profile_info_v2 *ret)
{
    *ret = (struct dv_nvml_gi_profile_info_v2){.version =
                                                   DV_NVML_VERSION(dv_nvml_gi_profile_info_v2, 2)};
    return dv_smi.nvmlDeviceGetGpuInstanceProfileInfoV(g->device, profile, ret);
}

static int ci_profile(struct dv_nvml_gpu_instance *gi, uint32_t profile,
                      struct dv_nvml_ci_profile_info_v2 *ret)
{
    *ret = (struct dv_nvml_ci_profile_info_v2){.version =
                                                   DV_NVML_VERSION(dv_nvml_ci_profile_info_v2, 2)};
    return dv_smi.nvmlGpuInstanceGetComputeInstanceProfileInfoV(gi, profile,
                                                                DV_NVML_CI_ENGINE_SHARED, ret);
}

/* The profiles of a GPU in lgip's order: by memory and slices, as the numbers of NVML do not go. */
static int by_size(const void *a, const void *b)
{
    const struct dv_nvml_gi_profile_info_v2 *x = a, *y = b;
    if (x->slice_count != y->slice_count)
        return x->slice_count < y->slice_count ? -1 : 1;
    if (x->memory_size_mb != y->memory_size_mb)
        return x->memory_size_mb < y->memory_size_mb ? -1 : 1;
    return strcmp(x->name, y->name);
}

static size_t gi_profiles(const struct dv_smi_gpu *g,
                          struct dv_nvml_gi_profile_info_v2 ret[DV_NVML_GI_PROFILE_COUNT])
{
    size_t n = 0;
    for (uint32_t p = 0; p < DV_NVML_GI_PROFILE_COUNT; p++)
        if (gi_profile(g, p, &ret[n]) == DV_NVML_SUCCESS)
            n++;
    qsort(ret, n, sizeof(ret[0]), by_size);
    return n;
}

/* The GPU instances, by profile in lgip's order, then by id. */
static size_t instances(const struct dv_smi_gpu *g, struct dv_nvml_gpu_instance *ret[INSTANCES_MAX])
{
    struct dv_nvml_gi_profile_info_v2 p[DV_NVML_GI_PROFILE_COUNT];
    size_t n_p = gi_profiles(g, p), n = 0;
    for (size_t i = 0; i < n_p; i++) {
        struct dv_nvml_gpu_instance *some[INSTANCES_MAX];
        uint32_t count = INSTANCES_MAX;
        if (dv_smi.nvmlDeviceGetGpuInstances(g->device, p[i].id, some, &count))
            continue;
        for (uint32_t k = 0; k < count && n < INSTANCES_MAX; k++)
            ret[n++] = some[k];
    }
    return n;
}

static void gi_name(const struct dv_smi_gpu *g, uint32_t id, char to[DV_NVML_NAME_V2_SIZE])
{
    struct dv_nvml_gi_profile_info_v2 p[DV_NVML_GI_PROFILE_COUNT];
    size_t n = gi_profiles(g, p);
    snprintf(to, DV_NVML_NAME_V2_SIZE, "N/A");
    for (size_t i = 0; i < n; i++)
        if (p[i].id == id)
            memcpy(to, p[i].name, DV_NVML_NAME_V2_SIZE);
}

/* ---- lists of GPU instances -------------------------------------------------------------------
 */

static void list_gi_profiles(const struct dv_smi_gpu *g)
{
    struct dv_nvml_gi_profile_info_v2 p[DV_NVML_GI_PROFILE_COUNT];
    size_t n = gi_profiles(g, p);
    for (size_t i = 0; i < n; i++) {
        uint32_t free_count = 0;
        dv_smi.nvmlDeviceGetGpuInstanceRemainingCapacity(g->device, p[i].id, &free_count);
        char count[16], memory[32];
        snprintf(count, sizeof(count), "%u/%u", free_count, p[i].instance_count);
        snprintf(memory, sizeof(memory), "%.2f", (double)p[i].memory_size_mb / 1024);
        printf("|%4u  %-18s %3u     %-9s  %-9s  %-4s%5u%6u%6u   |\n", g->index, p[i].name, p[i].id,
               count, memory, p[i].is_p2p_supported ? "Yes" : "No", p[i].multiprocessor_count,
               p[i].decoder_count, p[i].encoder_count);
        printf("|%66u%6u%6u   |\n" WIDE, p[i].copy_engine_count, p[i].jpeg_count, p[i].ofa_count);
    }
}

static void print_gi_profiles_head(void)
{
    printf(WIDE
           "| GPU instance profiles:                                                        |\n"
           "| GPU   Name               ID    Instances   Memory     P2P    SM    DEC   ENC  |\n"
           "|                                Free/Total   GiB              CE    JPEG  OFA  |\n"
           "|===============================================================================|\n");
}

static void list_placements(const struct dv_smi_gpu *g)
{
    struct dv_nvml_gi_profile_info_v2 p[DV_NVML_GI_PROFILE_COUNT];
    size_t n = gi_profiles(g, p);
    for (size_t i = 0; i < n; i++) {
        struct dv_nvml_placement at[INSTANCES_MAX];
        uint32_t count = INSTANCES_MAX;
        if (dv_smi.nvmlDeviceGetGpuInstancePossiblePlacements_v2(g->device, p[i].id, at, &count) ||
            !count)
            continue;
        printf("GPU %2u Profile ID %2u Placement%s: ", g->index, p[i].id, count > 1 ? "s" : " ");
        for (uint32_t k = 0; k < count; k++)
            printf("%s%u", k ? "," : "{", at[k].start);
        printf("}:%u\n", at[0].size);
    }
}

static bool list_instances(const struct dv_smi_gpu *g, bool first)
{
    struct dv_nvml_gpu_instance *gi[INSTANCES_MAX];
    size_t n = instances(g, gi);
    static const char line[] = "+---------------------------------------------------------+\n";
    for (size_t i = 0; i < n; i++) {
        struct dv_nvml_gi_info info;
        char name[DV_NVML_NAME_V2_SIZE];
        if (dv_smi.nvmlGpuInstanceGetInfo(gi[i], &info))
            continue;
        if (first)
            printf("%s"
                   "| GPU instances:                                          |\n"
                   "| GPU   Name               Profile  Instance   Placement  |\n"
                   "|                            ID       ID       Start:Size |\n"
                   "|=========================================================|\n",
                   line);
        first = false;
        gi_name(g, info.profile_id, name);
        printf("|%4u  %-18s %4u     %4u       %4u:%-4u  |\n%s", g->index, name, info.profile_id,
               info.id, info.placement.start, info.placement.size, line);
    }
    return n > 0;
}

/* ---- compute instances ------------------------------------------------------------------------
 */

static void list_ci_profiles_of(const struct dv_smi_gpu *g, struct dv_nvml_gpu_instance *gi,
                                bool *first)
{
    static const char line[] =
        "+--------------------------------------------------------------------"
        "------------------+\n";
    struct dv_nvml_gi_info info;
    struct dv_nvml_ci_profile_info_v2 p;
    if (dv_smi.nvmlGpuInstanceGetInfo(gi, &info))
        return;
    for (uint32_t c = 0; c < DV_NVML_CI_PROFILE_COUNT; c++) {
        uint32_t free_count = 0;
        char count[16];
        if (ci_profile(gi, c, &p))
            continue;
        if (*first)
            printf("%s"
                   "| Compute instance profiles:                                                   "
                   "        |\n"
                   "| GPU     GPU       Name             Profile  Instances   Exclusive       "
                   "Shared       |\n"
                   "|       Instance                       ID     Free/Total     SM       DEC   "
                   "ENC   OFA  |\n"
                   "|         ID                                                          CE    "
                   "JPEG       |\n"
                   "|=============================================================================="
                   "========|\n",
                   line);
        *first = false;
        dv_smi.nvmlGpuInstanceGetComputeInstanceRemainingCapacity(gi, c, &free_count);
        /* The star marks the profile that takes the whole GPU instance. */
        snprintf(count, sizeof(count), "%u/%u", free_count, p.instance_count);
        printf("|%4u%7u       %-16s%6u%-5s%4s%13u%9u%6u%6u   |\n", g->index, info.id, p.name, p.id,
               strchr(p.name, 'c') ? "" : "*", count, p.multiprocessor_count,
               p.shared_decoder_count, p.shared_encoder_count, p.shared_ofa_count);
        printf("|%71u%6u         |\n%s", p.shared_copy_engine_count, p.shared_jpeg_count, line);
    }
}

static void list_ci_placements_of(const struct dv_smi_gpu *g, struct dv_nvml_gpu_instance *gi)
{
    struct dv_nvml_gi_info info;
    if (dv_smi.nvmlGpuInstanceGetInfo(gi, &info))
        return;
    for (uint32_t c = 0; c < DV_NVML_CI_PROFILE_COUNT; c++) {
        struct dv_nvml_placement at[INSTANCES_MAX];
        uint32_t count = INSTANCES_MAX;
        if (dv_smi.nvmlGpuInstanceGetComputeInstancePossiblePlacements(gi, c, at, &count) || !count)
            continue;
        printf("GPU %2u GPU Instance ID %2u Profile ID %2u Placement%s: ", g->index, info.id, c,
               count > 1 ? "s" : " ");
        for (uint32_t k = 0; k < count; k++)
            printf("%s%u", k ? "," : "{", at[k].start);
        printf("}:%u\n", at[0].size);
    }
}

static size_t compute_instances(struct dv_nvml_gpu_instance *gi,
                                struct dv_nvml_compute_instance *ret[INSTANCES_MAX])
{
    size_t n = 0;
    for (uint32_t c = 0; c < DV_NVML_CI_PROFILE_COUNT; c++) {
        struct dv_nvml_compute_instance *some[INSTANCES_MAX];
        uint32_t count = INSTANCES_MAX;
        if (dv_smi.nvmlGpuInstanceGetComputeInstances(gi, c, some, &count))
            continue;
        for (uint32_t k = 0; k < count && n < INSTANCES_MAX; k++)
            ret[n++] = some[k];
    }
    return n;
}

static bool list_compute_of(const struct dv_smi_gpu *g, struct dv_nvml_gpu_instance *gi,
                            bool *first)
{
    static const char line[] =
        "+--------------------------------------------------------------------+\n";
    struct dv_nvml_compute_instance *ci[INSTANCES_MAX];
    struct dv_nvml_gi_info info = {0};
    size_t n = compute_instances(gi, ci);
    dv_smi.nvmlGpuInstanceGetInfo(gi, &info);
    for (size_t i = 0; i < n; i++) {
        struct dv_nvml_ci_info c;
        struct dv_nvml_ci_profile_info_v2 p = {.name = "N/A"};
        if (dv_smi.nvmlComputeInstanceGetInfo_v2(ci[i], &c))
            continue;
        ci_profile(gi, c.profile_id, &p);
        if (*first)
            printf("%s"
                   "| Compute instances:                                                 |\n"
                   "| GPU     GPU       Name             Profile   Instance   Placement  |\n"
                   "|       Instance                       ID        ID       Start:Size |\n"
                   "|         ID                                                         |\n"
                   "|====================================================================|\n",
                   line);
        *first = false;
        printf("|%4u%7u       %-18s%4u%10u%11u:%-4u  |\n%s", g->index, info.id, p.name,
               c.profile_id, c.id, c.placement.start, c.placement.size, line);
    }
    return n > 0;
}

/* ---- creation ---------------------------------------------------------------------------------
 */

/* "9", "3g.20gb", "MIG 3g.20gb", each with an optional ":START". false: not a profile. */
static bool find_gi_profile(const struct dv_smi_gpu *g, const char *text,
                            struct dv_nvml_gi_profile_info_v2 *ret, long *start)
{
    struct dv_nvml_gi_profile_info_v2 p[DV_NVML_GI_PROFILE_COUNT];
    size_t n = gi_profiles(g, p);
    char name[DV_NVML_NAME_V2_SIZE], *colon, *end;
    snprintf(name, sizeof(name), "%s", strncmp(text, "MIG ", 4) ? text : text + 4);
    *start = -1;
    colon = strchr(name, ':');
    if (colon) {
        *colon++ = '\0';
        *start = strtol(colon, &end, 10);
        if (!*colon || *end || *start < 0 || *start > 63)
            return false;
    }
    unsigned long id = strtoul(name, &end, 10);
    bool is_id = *name && !*end;
    for (size_t i = 0; i < n; i++) {
        if (is_id ? p[i].id == id : strcmp(dv_smi_after_mig(p[i].name), name) == 0) {
            *ret = p[i];
            return true;
        }
    }
    return false;
}

static int create_compute(const struct dv_smi_gpu *g, struct dv_nvml_gpu_instance *gi,
                          uint32_t gi_id, uint32_t profile)
{
    struct dv_nvml_compute_instance *ci;
    struct dv_nvml_ci_info info = {0};
    struct dv_nvml_ci_profile_info_v2 p = {.name = "N/A"};
    int r = dv_smi.nvmlGpuInstanceCreateComputeInstance(gi, profile, &ci);
    if (r) {
        printf("Unable to create a compute instance on GPU %2u GPU instance ID %2u using profile "
               "%u: %s\n",
               g->index, gi_id, profile, dv_smi.nvmlErrorString(r));
        return r;
    }
    dv_smi.nvmlComputeInstanceGetInfo_v2(ci, &info);
    ci_profile(gi, profile, &p);
    printf("Successfully created compute instance ID %2u on GPU %2u GPU instance ID %2u using "
           "profile %s (ID %2u)\n",
           info.id, g->index, gi_id, p.name, profile);
    return 0;
}

/* The compute profile that takes the whole GPU instance: the one with no "Nc." in its name. */
static int whole_profile(struct dv_nvml_gpu_instance *gi, uint32_t *ret)
{
    struct dv_nvml_ci_profile_info_v2 p;
    for (uint32_t c = 0; c < DV_NVML_CI_PROFILE_COUNT; c++) {
        if (ci_profile(gi, c, &p) == DV_NVML_SUCCESS && !strchr(p.name, 'c')) {
            *ret = c;
            return DV_NVML_SUCCESS;
        }
    }
    return DV_NVML_ERROR_NOT_FOUND;
}

static int create_one(const struct dv_smi_gpu *g, const char *text, bool with_compute)
{
    struct dv_nvml_gi_profile_info_v2 p;
    struct dv_nvml_gpu_instance *gi;
    struct dv_nvml_gi_info info = {0};
    uint32_t whole;
    long start;
    if (!find_gi_profile(g, text, &p, &start)) {
        printf("Unable to create a GPU instance on GPU %2u using profile %s: Invalid Argument\n",
               g->index, text);
        return DV_NVML_ERROR_INVALID_ARGUMENT;
    }
    int r;
    if (start < 0) {
        r = dv_smi.nvmlDeviceCreateGpuInstance(g->device, p.id, &gi);
    } else {
        struct dv_nvml_placement all[INSTANCES_MAX], at = {(uint32_t)start, 0};
        uint32_t count = INSTANCES_MAX;
        r = dv_smi.nvmlDeviceGetGpuInstancePossiblePlacements_v2(g->device, p.id, all, &count);
        at.size = r == 0 && count ? all[0].size : 0;
        if (r == 0)
            r = dv_smi.nvmlDeviceCreateGpuInstanceWithPlacement(g->device, p.id, &at, &gi);
    }
    if (r) {
        printf("Unable to create a GPU instance on GPU %2u using profile %s: %s\n", g->index, text,
               dv_smi.nvmlErrorString(r));
        return r;
    }
    dv_smi.nvmlGpuInstanceGetInfo(gi, &info);
    printf("Successfully created GPU instance ID %2u on GPU %2u using profile %s (ID %2u)\n",
           info.id, g->index, p.name, p.id);
    if (!with_compute)
        return 0;
    r = whole_profile(gi, &whole);
    return r ? r : create_compute(g, gi, info.id, whole);
}

static int create_gis(const struct dv_smi_gpu *g, const struct options *o)
{
    char *copy = strdup(o->list), *rest = NULL;
    int r = 0;
    for (char *p = copy ? strtok_r(copy, ",", &rest) : NULL; p && r == 0;
         p = strtok_r(NULL, ",", &rest))
        r = create_one(g, p, o->with_compute);
    free(copy);
    if (r)
        printf("Failed to create GPU instances: %s\n", dv_smi.nvmlErrorString(r));
    return r;
}

/* A compute profile by number, "1c.3g.20gb" or "1c". */
static int find_ci_profile(struct dv_nvml_gpu_instance *gi, const char *text, uint32_t *ret)
{
    struct dv_nvml_ci_profile_info_v2 p;
    char *end;
    unsigned long id = strtoul(text, &end, 10);
    size_t length = strlen(text);
    for (uint32_t c = 0; c < DV_NVML_CI_PROFILE_COUNT; c++) {
        if (ci_profile(gi, c, &p))
            continue;
        const char *name = dv_smi_after_mig(p.name);
        bool begins = length && text[length - 1] == 'c' && !strncmp(name, text, length) &&
                      name[length] == '.';
        if ((*text && !*end && id == c) || strcmp(name, text) == 0 || begins) {
            *ret = c;
            return DV_NVML_SUCCESS;
        }
    }
    return DV_NVML_ERROR_INVALID_ARGUMENT;
}

static int create_cis_of(const struct dv_smi_gpu *g, struct dv_nvml_gpu_instance *gi,
                         uint32_t gi_id, const char *list)
{
    char *copy = strdup(list ? list : ""), *rest = NULL;
    uint32_t profile = 0;
    int r = 0;
    if (!list) {
        r = whole_profile(gi, &profile);
        r = r ? r : create_compute(g, gi, gi_id, profile);
    }
    for (char *p = copy ? strtok_r(copy, ",", &rest) : NULL; p && r == 0;
         p = strtok_r(NULL, ",", &rest)) {
        r = find_ci_profile(gi, p, &profile);
        if (r)
            printf("Unable to create a compute instance on GPU %2u GPU instance ID %2u using "
                   "profile %s: %s\n",
                   g->index, gi_id, p, dv_smi.nvmlErrorString(r));
        else
            r = create_compute(g, gi, gi_id, profile);
    }
    free(copy);
    return r;
}

/* ---- destruction ------------------------------------------------------------------------------
 */

static int destroy_gi(const struct dv_smi_gpu *g, struct dv_nvml_gpu_instance *gi, uint32_t id)
{
    int r = dv_smi.nvmlGpuInstanceDestroy(gi);
    if (r)
        printf("Unable to destroy GPU instance ID %2u from GPU %2u: %s\n", id, g->index,
               dv_smi.nvmlErrorString(r));
    else
        printf("Successfully destroyed GPU instance ID %2u from GPU %2u\n", id, g->index);
    return r;
}

static int destroy_cis_of(const struct dv_smi_gpu *g, struct dv_nvml_gpu_instance *gi,
                          uint32_t gi_id, const char *ids, size_t *done)
{
    struct dv_nvml_compute_instance *ci[INSTANCES_MAX];
    size_t n = compute_instances(gi, ci);
    for (size_t i = 0; i < n; i++) {
        struct dv_nvml_ci_info info = {0};
        if (dv_smi.nvmlComputeInstanceGetInfo_v2(ci[i], &info) || !listed(ids, info.id))
            continue;
        int r = dv_smi.nvmlComputeInstanceDestroy(ci[i]);
        ++*done;
        if (r) {
            printf("Unable to destroy compute instance ID %2u from GPU %2u GPU instance ID %2u: "
                   "%s\n",
                   info.id, g->index, gi_id, dv_smi.nvmlErrorString(r));
            return r;
        }
        printf("Successfully destroyed compute instance ID %2u from GPU %2u GPU instance ID %2u\n",
               info.id, g->index, gi_id);
    }
    return 0;
}

/* ---- verbs ------------------------------------------------------------------------------------
 */

/* One verb on each chosen GPU instance of a GPU. *met counts those, *done what was found there. */
static int each_instance(const struct dv_smi_gpu *g, const struct options *o, bool *first,
                         size_t *met, size_t *done)
{
    struct dv_nvml_gpu_instance *gi[INSTANCES_MAX];
    size_t n = instances(g, gi);
    int r = 0;
    for (size_t i = 0; i < n && r == 0; i++) {
        struct dv_nvml_gi_info info = {0};
        if (dv_smi.nvmlGpuInstanceGetInfo(gi[i], &info) || !listed(o->gi, info.id))
            continue;
        ++*met;
        switch (o->verb) {
        case LCIP:
            list_ci_profiles_of(g, gi[i], first);
            ++*done;
            break;
        case LCIPP:
            list_ci_placements_of(g, gi[i]);
            ++*done;
            break;
        case LCI:
            *done += list_compute_of(g, gi[i], first);
            break;
        case CCI:
            r = create_cis_of(g, gi[i], info.id, o->list);
            ++*done;
            break;
        case DCI:
            r = destroy_cis_of(g, gi[i], info.id, o->ci, done);
            break;
        case DGI:
            r = destroy_gi(g, gi[i], info.id);
            ++*done;
            break;
        default:
            break;
        }
    }
    return r;
}

/* What a verb of `each_instance` says when it found nothing, and when it failed. */
static int conclude(const struct options *o, size_t met, size_t done, int r)
{
    static const struct {
        const char *none, *failed;
    } text[] = {
        [LGI] = {"GPU instances", NULL},
        [DGI] = {"GPU instances", "destroy GPU instances"},
        [LCIP] = {"compute instance profiles", NULL},
        [LCIPP] = {"compute instance profiles", NULL},
        [LCI] = {"compute instances", NULL},
        [CCI] = {"GPU instances", "create compute instances"},
        [DCI] = {"compute instances", "destroy compute instances"},
    };
    if (r && text[o->verb].failed)
        printf("Failed to %s: %s\n", text[o->verb].failed, dv_smi.nvmlErrorString(r));
    if (!r && !done) {
        printf("No %s found: Not Found\n",
               o->verb == DCI && !met ? "GPU instances" : text[o->verb].none);
        return DV_NVML_ERROR_NOT_FOUND;
    }
    return r;
}

static int run(const struct options *o, const struct dv_smi_gpu *gpus, size_t n)
{
    bool first = true;
    size_t met = 0, done = 0;
    int r = 0;
    if (o->verb == LGIP)
        print_gi_profiles_head();
    for (size_t i = 0; i < n && r == 0; i++) {
        switch (o->verb) {
        case LGIP:
            list_gi_profiles(&gpus[i]);
            done++;
            break;
        case LGIPP:
            list_placements(&gpus[i]);
            done++;
            break;
        case LGI:
            if (list_instances(&gpus[i], first)) {
                first = false;
                done++;
            }
            break;
        case CGI:
            r = create_gis(&gpus[i], o);
            done++;
            break;
        default:
            r = each_instance(&gpus[i], o, &first, &met, &done);
        }
    }
    return o->verb == CGI || o->verb == LGIP || o->verb == LGIPP ? r : conclude(o, met, done, r);
}

static int usage(const char *what)
{
    if (what)
        printf("Option \"%s\" is not recognized.\n", what);
    else
        printf("Invalid combination of input arguments. Please run 'nvidia-smi mig -h' for "
               "help.\n\n");
    return DV_SMI_USAGE;
}

static int help(void)
{
    printf("    mig -- Multi Instance GPU management.\n\n"
           "    Usage: nvidia-smi mig [options]\n\n"
           "    -h   | --help                                 This text\n"
           "    -i   | --id ID,...                            GPUs by index, UUID or bus id\n"
           "    -gi  | --gpu-instance-id ID,...               GPU instances\n"
           "    -ci  | --compute-instance-id ID,...           Compute instances\n"
           "    -lgip | --list-gpu-instance-profiles\n"
           "    -lgipp | --list-gpu-instance-possible-placements\n"
           "    -C   | --default-compute-instance             With -cgi: a compute instance too\n"
           "    -cgi | --create-gpu-instance PROFILE[:START],...  By id or name\n"
           "    -dgi | --destroy-gpu-instance\n"
           "    -lgi | --list-gpu-instances\n"
           "    -lcip | --list-compute-instance-profiles\n"
           "    -lcipp | --list-compute-instance-possible-placements\n"
           "    -cci | --create-compute-instance [PROFILE,...]\n"
           "    -dci | --destroy-compute-instance\n"
           "    -lci | --list-compute-instances\n");
    return 0;
}

static bool is(const char *arg, const char *brief, const char *full)
{
    return strcmp(arg, brief) == 0 || strcmp(arg, full) == 0;
}

static int verb_of(const char *arg)
{
    static const struct {
        const char *brief, *full;
        int verb;
    } verbs[] = {
        {"-lgip", "--list-gpu-instance-profiles", LGIP},
        {"-lgipp", "--list-gpu-instance-possible-placements", LGIPP},
        {"-lgi", "--list-gpu-instances", LGI},
        {"-cgi", "--create-gpu-instance", CGI},
        {"-dgi", "--destroy-gpu-instance", DGI},
        {"-lcip", "--list-compute-instance-profiles", LCIP},
        {"-lcipp", "--list-compute-instance-possible-placements", LCIPP},
        {"-lci", "--list-compute-instances", LCI},
        {"-cci", "--create-compute-instance", CCI},
        {"-dci", "--destroy-compute-instance", DCI},
    };
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
        if (is(arg, verbs[i].brief, verbs[i].full))
            return verbs[i].verb;
    return NOTHING;
}

/* 0, or an exit code. */
static int parse(int argc, char **argv, struct options *o)
{
    for (int i = 0; i < argc && argv[i]; i++) {
        const char *next = i + 1 < argc ? argv[i + 1] : NULL;
        int verb = verb_of(argv[i]);
        if (verb != NOTHING) {
            if (o->verb != NOTHING)
                return usage(NULL);
            o->verb = verb;
            bool takes = (verb == CGI || verb == CCI) && next && next[0] != '-';
            if (verb == CGI && !takes) {
                printf("Option \"%s\" is missing its value.\n", argv[i]);
                return DV_SMI_USAGE;
            }
            if (takes)
                o->list = argv[++i];
        } else if (is(argv[i], "-C", "--default-compute-instance")) {
            o->with_compute = true;
        } else if (is(argv[i], "-gi", "--gpu-instance-id") && next) {
            o->gi = argv[++i];
        } else if (is(argv[i], "-ci", "--compute-instance-id") && next) {
            o->ci = argv[++i];
        } else if (is(argv[i], "-i", "--id") && next) {
            o->gpus = argv[++i];
        } else {
            return usage(argv[i]);
        }
    }
    return o->verb == NOTHING || (o->with_compute && o->verb != CGI) ? usage(NULL) : 0;
}

int dv_smi_mig(int argc, char **argv)
{
    struct options o = {0};
    struct dv_smi_gpu gpus[DV_SMI_GPUS_MAX];
    size_t n = 0, n_mig = 0, capable = 0;
    if (argc == 0 || is(argv[0], "-h", "--help"))
        return help();
    int r = parse(argc, argv, &o);
    if (r == 0)
        r = dv_smi_open();
    if (r == 0)
        r = dv_smi_find(o.gpus, gpus, &n);
    if (r)
        return r;
    for (size_t i = 0; i < n; i++) {
        uint32_t current = 0, pending;
        if (dv_smi.nvmlDeviceGetMigMode(gpus[i].device, &current, &pending))
            continue;
        capable++;
        if (current)
            gpus[n_mig++] = gpus[i];
    }
    if (n_mig == 0) {
        printf("No MIG-%s devices found.\n", capable ? "enabled" : "supported");
        return DV_NVML_ERROR_NOT_FOUND;
    }
    return run(&o, gpus, n_mig);
}
