/* SPDX-License-Identifier: Apache-2.0 */
#include "model/plugin_flags.h"

#include "base/str.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DURATION_MAX (UINT64_C(3650) * 86400 * DV_NS_PER_S)
#define OPTION_MAX 48u /* letters of an option's name */

static const char *const mig_strategies[] = {"none", "single", "mixed", NULL};
static const char *const discoveries[] = {"auto", "nvml", "tegra", "vfio", NULL};
static const char *const lists[] = {"envvar", "volume-mounts", "cdi-annotations", "cdi-cri", NULL};
static const char *const ids[] = {"uuid", "index", NULL};
static const char *const policies[] = {"distributed", "packed", NULL};

#define AT(member) offsetof(struct dv_plugin_flags, member)
#define TOP DV_PLUGIN_GROUP_FLAGS
#define PLUGIN DV_PLUGIN_GROUP_PLUGIN
#define GFD DV_PLUGIN_GROUP_GFD
#define IMEX DV_PLUGIN_GROUP_IMEX
#define BOOL DV_PLUGIN_BOOL
#define STRING DV_PLUGIN_STRING
#define CHOICE DV_PLUGIN_CHOICE

static const struct dv_plugin_flag table[] = {
    {TOP, "migStrategy", "mig-strategy", "GFD_MIG_STRATEGY", CHOICE, AT(mig_strategy),
     mig_strategies, "none"},
    {TOP, "failOnInitError", "fail-on-init-error", "GFD_FAIL_ON_INIT_ERROR", BOOL,
     AT(fail_on_init_error), NULL, "true"},
    {TOP, "mpsRoot", "mps-root", NULL, STRING, AT(mps_root), NULL, ""},
    {TOP, "nvidiaDriverRoot", "nvidia-driver-root", NULL, STRING, AT(driver_root), NULL, "/"},
    {TOP, "nvidiaDevRoot", "nvidia-dev-root", NULL, STRING, AT(dev_root), NULL, ""},
    {TOP, "gdrcopyEnabled", "gdrcopy-enabled", NULL, BOOL, AT(gdrcopy), NULL, "false"},
    {TOP, "gdsEnabled", "gds-enabled", NULL, BOOL, AT(gds), NULL, "false"},
    {TOP, "mofedEnabled", "mofed-enabled", NULL, BOOL, AT(mofed), NULL, "false"},
    {TOP, "useNodeFeatureAPI", "use-node-feature-api", "GFD_USE_NODE_FEATURE_API", BOOL,
     AT(node_feature_api), NULL, "true"},
    {TOP, "deviceDiscoveryStrategy", "device-discovery-strategy", NULL, CHOICE, AT(discovery),
     discoveries, "auto"},
    {PLUGIN, "passDeviceSpecs", "pass-device-specs", NULL, BOOL, AT(plugin.pass_device_specs), NULL,
     "false"},
    {PLUGIN, "deviceListStrategy", "device-list-strategy", NULL, DV_PLUGIN_CHOICES, AT(plugin.list),
     lists, "envvar"},
    {PLUGIN, "deviceIDStrategy", "device-id-strategy", NULL, CHOICE, AT(plugin.id), ids, "uuid"},
    {PLUGIN, "cdiAnnotationPrefix", "cdi-annotation-prefix", NULL, STRING,
     AT(plugin.cdi_annotation_prefix), NULL, "cdi.k8s.io/"},
    {PLUGIN, "nvidiaCTKPath", "nvidia-ctk-path", "NVIDIA_CDI_HOOK_PATH", STRING,
     AT(plugin.ctk_path), NULL, "/usr/bin/nvidia-ctk"},
    {PLUGIN, "containerDriverRoot", "container-driver-root", "DRIVER_ROOT_CTR_PATH", STRING,
     AT(plugin.container_driver_root), NULL, "/driver-root"},
    {PLUGIN, "sharedDevicesAllocationPolicy", "shared-devices-allocation-policy", NULL, CHOICE,
     AT(plugin.policy), policies, "distributed"},
    {GFD, "oneshot", "oneshot", "GFD_ONESHOT", BOOL, AT(gfd.oneshot), NULL, "false"},
    {GFD, "noTimestamp", "no-timestamp", "GFD_NO_TIMESTAMP", BOOL, AT(gfd.no_timestamp), NULL,
     "false"},
    {GFD, "sleepInterval", "sleep-interval", "GFD_SLEEP_INTERVAL", DV_PLUGIN_DURATION,
     AT(gfd.sleep_ns), NULL, "60s"},
    {GFD, "outputFile", "output-file", "GFD_OUTPUT_FILE", STRING, AT(gfd.output_file), NULL,
     "/etc/kubernetes/node-feature-discovery/features.d/gfd"},
    {GFD, "machineTypeFile", "machine-type-file", "GFD_MACHINE_TYPE_FILE", STRING,
     AT(gfd.machine_type_file), NULL, "/sys/class/dmi/id/product_name"},
    {IMEX, "channelIDs", "imex-channel-ids", NULL, DV_PLUGIN_CHANNELS, AT(imex.channel), NULL, ""},
    {IMEX, "required", "imex-required", NULL, BOOL, AT(imex.required), NULL, "false"},
};

const struct dv_plugin_flag *dv_plugin_flags_at(size_t i)
{
    return i < DV_ARRAY_SIZE(table) ? &table[i] : NULL;
}

/* ---- values ---- */

static int parse_choice(const char *text, const char *const *choices, const char *what,
                        uint32_t *ret, struct dv_err *err)
{
    char list[120] = "";
    size_t n = 0, used = 0;
    for (; choices[n]; n++) {
        if (!strcmp(choices[n], text)) {
            *ret = (uint32_t)n;
            return 0;
        }
        used +=
            (size_t)snprintf(list + used, sizeof list - used, "%s%s", n ? ", " : "", choices[n]);
    }
    const char *near = dv_str_nearest(text, choices, n);
    return dv_err_set(err, -EINVAL, "%s: \"%.40s\"%s%s%s; one of %s is wanted", what, text,
                      near ? ", did you mean \"" : "", near ? near : "", near ? "\"?" : "", list);
}

static int parse_choices(const char *text, const char *const *choices, const char *what,
                         uint32_t *ret, struct dv_err *err)
{
    uint32_t bits = 0, one = 0;
    for (;;) {
        char word[64];
        size_t len = strcspn(text, ",");
        snprintf(word, sizeof word, "%.*s", (int)DV_MIN(len, sizeof word - 1), text);
        int r = parse_choice(word, choices, what, &one, err);
        if (r < 0)
            return r;
        bits |= 1u << one;
        if (!text[len])
            break;
        text += len + 1;
    }
    *ret = bits;
    return 0;
}

/* As Go's strconv.ParseBool takes it, which reads the original's variables. */
static int parse_bool(const char *text, const char *what, bool *ret, struct dv_err *err)
{
    static const char *const words[] = {"1", "t", "T", "TRUE",  "true",  "True",
                                        "0", "f", "F", "FALSE", "false", "False"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(words); i++) {
        if (!strcmp(words[i], text)) {
            *ret = i < DV_ARRAY_SIZE(words) / 2;
            return 0;
        }
    }
    return dv_err_set(err, -EINVAL, "%s: \"%.40s\", where true or false is wanted", what, text);
}

/* One "1.5h" of a duration; NULL where there is none. Past the bound it saturates. */
static const char *duration_part(const char *text, uint64_t *sum)
{
    static const struct {
        const char *name;
        uint64_t ns;
    } units[] = {{"ns", 1},          {"us", DV_NS_PER_US},    {"ms", DV_NS_PER_MS},
                 {"s", DV_NS_PER_S}, {"m", 60 * DV_NS_PER_S}, {"h", 3600 * DV_NS_PER_S}};
    uint64_t whole = 0, fraction = 0, scale = 1;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++)
        whole = whole > DURATION_MAX ? whole : whole * 10 + (uint64_t)(*p - '0');
    size_t digits = (size_t)(p - text);
    if (*p == '.') {
        for (p++; *p >= '0' && *p <= '9'; p++, digits++) {
            if (scale < DV_NS_PER_S) {
                fraction = fraction * 10 + (uint64_t)(*p - '0');
                scale *= 10;
            }
        }
    }
    for (size_t i = 0; digits && i < DV_ARRAY_SIZE(units); i++) {
        size_t len = strlen(units[i].name);
        /* "m" is not the beginning of "ms". */
        if (strncmp(p, units[i].name, len) != 0 || (p[len] >= 'a' && p[len] <= 'z'))
            continue;
        uint64_t most = DURATION_MAX / units[i].ns;
        uint64_t part = (uint64_t)((unsigned __int128)fraction * units[i].ns / scale);
        *sum += whole > most ? DURATION_MAX + 1 : whole * units[i].ns + part;
        *sum = DV_MIN(*sum, DURATION_MAX + 1);
        return p + len;
    }
    return NULL;
}

/* "infinite", "90s", "1h30m", or a number of nanoseconds, as Go writes durations. */
static int parse_duration(const char *text, const char *what, uint64_t *ret, struct dv_err *err)
{
    uint64_t sum = 0;
    const char *p = *text ? text : NULL;
    char bare[32];
    if (!strcmp(text, "infinite")) {
        *ret = DV_NEVER;
        return 0;
    }
    if (*text && strspn(text, "0123456789") == strlen(text) && strlen(text) < sizeof bare - 2) {
        snprintf(bare, sizeof bare, "%sns", text);
        p = bare;
    }
    while (p && *p)
        p = duration_part(p, &sum);
    if (!p)
        return dv_err_set(err, -EINVAL,
                          "%s: \"%.40s\", where a duration like 60s or infinite is wanted", what,
                          text);
    if (!sum || sum > DURATION_MAX)
        return dv_err_set(err, -EINVAL,
                          "%s: \"%.40s\"; more than nothing and at most ten years are wanted, or "
                          "infinite",
                          what, text);
    *ret = sum;
    return 0;
}

static int parse_text(const char *text, const char *what, char *ret, struct dv_err *err)
{
    for (const char *p = text; *p; p++)
        if (*p < ' ' || *p > '~')
            return dv_err_set(err, -EINVAL, "%s: a letter that does not print", what);
    if (strlen(text) >= DV_PLUGIN_TEXT)
        return dv_err_set(err, -EINVAL, "%s: at most %d letters", what, DV_PLUGIN_TEXT - 1);
    memset(ret, 0, DV_PLUGIN_TEXT); /* so that equal flags are equal bytes */
    return dv_str_copy(ret, DV_PLUGIN_TEXT, text);
}

static int parse_channels(const char *text, const char *what, bool *ret, struct dv_err *err)
{
    bool none = !*text || !strcmp(text, "[]");
    if (!none && strcmp(text, "0") != 0 && strcmp(text, "[0]") != 0)
        return dv_err_set(err, -EINVAL, "%s: [] or [0] is wanted", what);
    *ret = !none;
    return 0;
}

int dv_plugin_flags_set(struct dv_plugin_flags *flags, const struct dv_plugin_flag *flag,
                        const char *text, const char *what, struct dv_err *err)
{
    void *at = (char *)flags + flag->offset;
    switch (flag->type) {
    case DV_PLUGIN_BOOL:
        return parse_bool(text, what, at, err);
    case DV_PLUGIN_STRING:
        return parse_text(text, what, at, err);
    case DV_PLUGIN_CHOICE:
        return parse_choice(text, flag->choices, what, at, err);
    case DV_PLUGIN_CHOICES:
        return parse_choices(text, flag->choices, what, at, err);
    case DV_PLUGIN_DURATION:
        return parse_duration(text, what, at, err);
    case DV_PLUGIN_CHANNELS:
        return parse_channels(text, what, at, err);
    }
    return 0;
}

void dv_plugin_flags_init(struct dv_plugin_flags *flags)
{
    memset(flags, 0, sizeof *flags);
    for (size_t i = 0; i < DV_ARRAY_SIZE(table); i++)
        dv_plugin_flags_set(flags, &table[i], table[i].fallback, table[i].key, NULL);
}

/* ---- from outside the file ---- */

/* MIG_STRATEGY is mig-strategy's. */
static bool is_variable(const char *name, const struct dv_plugin_flag *flag)
{
    size_t i = 0;
    if (flag->also && !strcmp(name, flag->also))
        return true;
    if (flag->group == DV_PLUGIN_GROUP_GFD)
        return false; /* "OUTPUT_FILE" may be anybody's: the original has the prefix only */
    for (; name[i] && flag->option[i]; i++) {
        char c = flag->option[i];
        char upper = c == '-' ? '_' : (char)(c - 'a' + 'A');
        if (name[i] != upper)
            return false;
    }
    return !name[i] && !flag->option[i];
}

static const struct dv_plugin_flag *find(const char *name)
{
    bool option = !strncmp(name, "--", 2);
    for (size_t i = 0; i < DV_ARRAY_SIZE(table); i++)
        if (option ? !strcmp(name + 2, table[i].option) : is_variable(name, &table[i]))
            return &table[i];
    return NULL;
}

static int unknown_option(const char *name, struct dv_err *err)
{
    const char *names[DV_ARRAY_SIZE(table)];
    char word[OPTION_MAX];
    for (size_t i = 0; i < DV_ARRAY_SIZE(table); i++)
        names[i] = table[i].option;
    snprintf(word, sizeof word, "%s", name + 2);
    const char *near = dv_str_nearest(word, names, DV_ARRAY_SIZE(table));
    return dv_err_set(err, -EINVAL, "--%s: there is no such option%s%s%s", word,
                      near ? "; did you mean \"--" : "", near ? near : "", near ? "\"?" : "");
}

int dv_plugin_flags_overlay(struct dv_plugin_flags *flags, const struct dv_plugin_setting *settings,
                            size_t n, struct dv_err *err)
{
    struct dv_plugin_flags next = *flags;
    for (int options = 0; options < 2; options++) {
        for (size_t i = 0; i < n; i++) {
            const struct dv_plugin_setting *s = &settings[i];
            bool option = !strncmp(s->name, "--", 2);
            const struct dv_plugin_flag *flag = option == options ? find(s->name) : NULL;
            if (option && options && !flag)
                return unknown_option(s->name, err);
            if (!flag || (!option && !*s->value))
                continue;
            int r = dv_plugin_flags_set(&next, flag, s->value, s->name, err);
            if (r < 0)
                return r;
        }
    }
    *flags = next;
    return 0;
}

/* ---- names ---- */

const char *dv_plugin_flags_mig_strategy_name(enum dv_mig_strategy strategy)
{
    return mig_strategies[strategy];
}

int dv_plugin_flags_mig_strategy_parse(const char *text, enum dv_mig_strategy *ret,
                                       struct dv_err *err)
{
    uint32_t n = 0;
    int r = parse_choice(text, mig_strategies, "strategy", &n, err);
    if (!r)
        *ret = (enum dv_mig_strategy)n;
    return r;
}
