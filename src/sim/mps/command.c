/* SPDX-License-Identifier: Apache-2.0 */
#include "mps/command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_MAX (UINT64_C(1) << 50)

/* What a command takes: S the pid of a server, s the same or nothing, C the pid of a client, % a
 * percentage, D a device, M bytes, Y a priority; F "-f" or nothing, P "-p PID" or nothing, T "-t
 * SECONDS" or nothing, U "-uid UID"; K chunks, I the id of a static partition. */
static const struct form {
    const char *name, *takes, *help;
    enum dv_mpscommand_verb verb;
} forms[] = {
    {"get_server_list", "", "", DV_MPSCMD_GET_SERVER_LIST},
    {"get_server_status", "S", "<PID>", DV_MPSCMD_GET_SERVER_STATUS},
    {"start_server", "U", "-uid <UID>", DV_MPSCMD_START_SERVER},
    {"shutdown_server", "SF", "<PID> [-f]", DV_MPSCMD_SHUTDOWN_SERVER},
    {"get_client_list", "S", "<PID>", DV_MPSCMD_GET_CLIENT_LIST},
    {"get_device_client_list", "s", "[<PID>]", DV_MPSCMD_GET_DEVICE_CLIENT_LIST},
    {"ps", "P", "[-p <PID>]", DV_MPSCMD_PS},
    {"terminate_client", "SC", "<server PID> <client PID>", DV_MPSCMD_TERMINATE_CLIENT},
    {"get_default_active_thread_percentage", "", "", DV_MPSCMD_GET_DEFAULT_THREADS},
    {"set_default_active_thread_percentage", "%", "<percentage>", DV_MPSCMD_SET_DEFAULT_THREADS},
    {"get_active_thread_percentage", "S", "<PID>", DV_MPSCMD_GET_THREADS},
    {"set_active_thread_percentage", "S%", "<PID> <percentage>", DV_MPSCMD_SET_THREADS},
    {"get_default_device_pinned_mem_limit", "D", "<dev>", DV_MPSCMD_GET_DEFAULT_MEMORY},
    {"set_default_device_pinned_mem_limit", "DM", "<dev> <value>", DV_MPSCMD_SET_DEFAULT_MEMORY},
    {"get_device_pinned_mem_limit", "SD", "<PID> <dev>", DV_MPSCMD_GET_MEMORY},
    {"set_device_pinned_mem_limit", "SDM", "<PID> <dev> <value>", DV_MPSCMD_SET_MEMORY},
    {"get_default_client_priority", "", "", DV_MPSCMD_GET_DEFAULT_PRIORITY},
    {"set_default_client_priority", "Y", "<0|1>", DV_MPSCMD_SET_DEFAULT_PRIORITY},
    {"sm_partition add", "DK", "<device UUID> <chunks>", DV_MPSCMD_PARTITION_ADD},
    {"sm_partition rm", "DI", "<device UUID> <partition>", DV_MPSCMD_PARTITION_REMOVE},
    {"lspart", "", "", DV_MPSCMD_PARTITION_LIST},
    {"help", "", "", DV_MPSCMD_HELP},
    {"quit", "T", "[-t <timeout>]", DV_MPSCMD_QUIT},
};

/* ---- values ---- */

/* Digits and nothing else, in [min, max]. */
static int parse_uint(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
    size_t n = strspn(text, "0123456789");
    unsigned long long v;

    if (!n || text[n] || n > 18)
        return -EINVAL;
    v = strtoull(text, NULL, 10);
    if (v < min || v > max)
        return -EINVAL;
    *ret = v;
    return 0;
}

int dv_mpscommand_threads(const char *text, uint32_t *ret)
{
    size_t whole = strspn(text, "0123456789"), part;
    uint32_t value = 0, unit = 100;

    if (!whole || whole > 3)
        return -EINVAL;
    for (size_t i = 0; i < whole; i++)
        value = value * 10 + (uint32_t)(text[i] - '0') * 1000;
    if (text[whole]) {
        const char *digits = text + whole + 1;

        part = strspn(digits, "0123456789");
        if (text[whole] != '.' || !part || digits[part])
            return -EINVAL;
        for (size_t i = 0; i < part && unit; i++, unit /= 10)
            value += (uint32_t)(digits[i] - '0') * unit;
    }
    if (!value || value > 100000)
        return -EINVAL;
    *ret = value;
    return 0;
}

int dv_mpscommand_bytes(const char *text, uint64_t *ret)
{
    size_t n = strspn(text, "0123456789");
    char unit = n ? (char)(text[n] & ~0x20) : 0;
    unsigned int shift = unit == 'G' ? 30 : 20;
    uint64_t v;

    if (!n || n > 12 || (unit != 'G' && unit != 'M'))
        return -EINVAL;
    if (text[n + 1] && ((text[n + 1] & ~0x20) != 'B' || text[n + 2]))
        return -EINVAL;
    v = strtoull(text, NULL, 10);
    if (!v || v > BYTES_MAX >> shift)
        return -EINVAL;
    *ret = v << shift;
    return 0;
}

void dv_mpscommand_add_bytes(struct dv_str *out, uint64_t bytes)
{
    if (bytes >> 30 || !bytes)
        dv_str_addf(out, "%lluG", (unsigned long long)(bytes >> 30));
    else
        dv_str_addf(out, "%lluM", (unsigned long long)(bytes >> 20));
}

void dv_mpscommand_add_threads(struct dv_str *out, uint32_t threads)
{
    dv_str_addf(out, "%u.%u", threads / 1000, threads % 1000 / 100);
}

int dv_mpscommand_memory_entry(const char **at, char ret_device[DV_MPSCOMMAND_DEVICE],
                               uint64_t *ret_bytes)
{
    char value[32];
    size_t key, length;

    *at += strspn(*at, ", \t");
    if (!**at)
        return 1;
    key = strcspn(*at, "=,");
    if (!key || key >= DV_MPSCOMMAND_DEVICE || (*at)[key] != '=')
        return -EINVAL;
    length = strcspn(*at + key + 1, ", \t");
    if (length >= sizeof(value))
        return -EINVAL;
    memcpy(ret_device, *at, key);
    ret_device[key] = '\0';
    memcpy(value, *at + key + 1, length);
    value[length] = '\0';
    *at += key + 1 + length;
    return dv_mpscommand_bytes(value, ret_bytes);
}

/* ---- lines ---- */

/* The next word of the line, which loses it; NULL at its end. */
static char *next_word(char **rest)
{
    return strtok_r(NULL, " \t\r\n", rest);
}

static int bad(struct dv_err *err, const char *what, const char *word)
{
    if (!word)
        return dv_err_set(err, -EINVAL, "%s is missing", what);
    return dv_err_set(err, -EINVAL, "'%.64s' is not %s", word, what);
}

static int read_pid(const char *what, const char *word, uint32_t *ret, struct dv_err *err)
{
    uint64_t pid;

    if (!word || parse_uint(word, 1, INT32_MAX, &pid) < 0)
        return bad(err, what, word);
    *ret = (uint32_t)pid;
    return 0;
}

/* "-p PID" and the like: 1 when the option is not there. */
static int read_option(const char *option, const char *what, uint64_t max, char **rest,
                       uint64_t *ret, struct dv_err *err)
{
    const char *word = next_word(rest);

    if (!word)
        return 1;
    if (strcmp(word, option) != 0)
        return dv_err_set(err, -EINVAL, "'%.64s' is not an option here; %s is", word, option);
    word = next_word(rest);
    return word && parse_uint(word, 0, max, ret) == 0 ? 0 : bad(err, what, word);
}

static int read_switches(char take, char **rest, struct dv_mpscommand *ret, struct dv_err *err)
{
    const char *word;
    uint64_t value = 0;
    int r;

    switch (take) {
    case 'F':
        word = next_word(rest);
        ret->force = word && !strcmp(word, "-f");
        return word && !ret->force ? bad(err, "-f", word) : 0;
    case 'P':
        r = read_option("-p", "a server's PID", INT32_MAX, rest, &value, err);
        ret->server = (uint32_t)value;
        return r < 0 ? r : 0;
    case 'T':
        r = read_option("-t", "a timeout in seconds", 86400 * 365, rest, &value, err);
        ret->has_timeout = r == 0;
        ret->timeout_s = (uint32_t)value;
        return r < 0 ? r : 0;
    default: /* U */
        r = read_option("-uid", "a user id", UINT32_MAX - 1, rest, &value, err);
        ret->uid = (uint32_t)value;
        return r == 1 ? bad(err, "-uid", NULL) : r;
    }
}

static int read_value(char take, char **rest, struct dv_mpscommand *ret, struct dv_err *err)
{
    const char *word = next_word(rest);
    uint64_t value;

    switch (take) {
    case 's':
        return word ? read_pid("a server's PID", word, &ret->server, err) : 0;
    case 'S':
        return read_pid("a server's PID", word, &ret->server, err);
    case 'C':
        return read_pid("a client's PID", word, &ret->client, err);
    case '%':
        return word && dv_mpscommand_threads(word, &ret->threads) == 0
                   ? 0
                   : bad(err, "a percentage above 0 and up to 100", word);
    case 'M':
        return word && dv_mpscommand_bytes(word, &ret->bytes) == 0
                   ? 0
                   : bad(err, "a size such as 2G or 500M", word);
    case 'Y':
        if (!word || parse_uint(word, 0, 1, &value) < 0)
            return bad(err, "a priority (0 normal, 1 below normal)", word);
        ret->priority = (int32_t)value;
        return 0;
    case 'K':
        if (!word || parse_uint(word, 1, 1024, &value) < 0)
            return bad(err, "a number of chunks", word);
        ret->chunks = (uint32_t)value;
        return 0;
    case 'I':
        return word && dv_str_copy(ret->partition, sizeof(ret->partition), word) == 0
                   ? 0
                   : bad(err, "a partition", word);
    default: /* D */
        if (!word || strlen(word) >= sizeof(ret->device))
            return bad(err, "a device", word);
        memcpy(ret->device, word, strlen(word) + 1);
        return 0;
    }
}

static const struct form *find(const char *name)
{
    for (size_t i = 0; i < DV_ARRAY_SIZE(forms); i++) {
        if (!strcmp(forms[i].name, name))
            return &forms[i];
    }
    return NULL;
}

/* The one command of two words. */
static const struct form *find_partition(const char *verb)
{
    if (verb && !strcmp(verb, "add"))
        return find("sm_partition add");
    return verb && !strcmp(verb, "rm") ? find("sm_partition rm") : NULL;
}

int dv_mpscommand_parse(const char *line, struct dv_mpscommand *ret, struct dv_err *err)
{
    char copy[DV_MPSCOMMAND_LINE_MAX];
    char *rest = NULL, *word;
    const struct form *form;
    int r = 0;

    *ret = (struct dv_mpscommand){0};
    if (strlen(line) >= sizeof(copy))
        return dv_err_set(err, -EINVAL, "a command has at most %zu bytes", sizeof(copy) - 1);
    memcpy(copy, line, strlen(line) + 1);
    word = strtok_r(copy, " \t\r\n", &rest);
    if (!word)
        return 0;
    form = !strcmp(word, "sm_partition") ? find_partition(next_word(&rest)) : find(word);
    if (!form)
        return dv_err_set(err, -EINVAL, "Unrecognized command: %.64s", word);
    for (const char *take = form->takes; *take && r == 0; take++)
        r = strchr("FPTU", *take) ? read_switches(*take, &rest, ret, err)
                                  : read_value(*take, &rest, ret, err);
    word = r == 0 ? next_word(&rest) : NULL;
    if (word)
        r = dv_err_set(err, -EINVAL, "'%.64s' is too much", word);
    if (r < 0) {
        dv_err_prefix(err, "%s: ", form->name);
        return r;
    }
    ret->verb = form->verb;
    return 0;
}

void dv_mpscommand_help(struct dv_str *out)
{
    for (size_t i = 0; i < DV_ARRAY_SIZE(forms); i++)
        dv_str_addf(out, "%s%s%s\n", forms[i].name, *forms[i].help ? " " : "", forms[i].help);
}
