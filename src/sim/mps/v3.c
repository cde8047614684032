/* SPDX-License-Identifier: Apache-2.0 */
#include "mps/v3.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A command: its words (N a name, n one that may be missing, S a server's name, F a field, P a pid)
 * and the options that it takes. */
static const struct form {
    const char *module, *verb, *words, *options;
    enum dv_mpsv3_what what;
} forms[] = {
    {"server", "create", "n", "uid allowed-devices locality-domains", DV_MPSV3_SERVER_CREATE},
    {"server", "delete", "N", "force", DV_MPSV3_SERVER_DELETE},
    {"server", "list", "n", "format", DV_MPSV3_SERVER_LIST},
    {"server", "set", "N",
     "pinned-memory-limit active-thread-percentage client-priority locality-domains",
     DV_MPSV3_SERVER_SET},
    {"server", "get", "NF", "", DV_MPSV3_SERVER_GET},
    {"namespace", "create", "N", "server", DV_MPSV3_NAMESPACE_CREATE},
    {"namespace", "delete", "N", "server force", DV_MPSV3_NAMESPACE_DELETE},
    {"namespace", "list", "n", "server format", DV_MPSV3_NAMESPACE_LIST},
    {"namespace", "set", "N", "server pinned-memory-limit active-thread-percentage client-priority",
     DV_MPSV3_NAMESPACE_SET},
    {"namespace", "get", "NSF", "", DV_MPSV3_NAMESPACE_GET},
    {"client", "list", "", "server all format", DV_MPSV3_CLIENT_LIST},
    {"client", "get", "PF", "", DV_MPSV3_CLIENT_GET},
    {"client", "terminate", "P", "", DV_MPSV3_CLIENT_TERMINATE},
    {"device", "list", "", "server format", DV_MPSV3_DEVICE_LIST},
    {"quit", "", "", "", DV_MPSV3_QUIT},
};

static const char *const not_simulated[] = {"sm-partition", "feature", "memacct", "context-share"};

bool dv_mpsv3_is_name(const char *text)
{
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_");
    /* A socket of that name lies in the same directory. */
    return n && !text[n] && n < DV_MPSV3_NAME && strcmp(text, "control") != 0;
}

void dv_mpsv3_add_bytes(struct dv_str *out, uint64_t bytes)
{
    if (!bytes)
        dv_str_addc(out, '-');
    else if (bytes % DV_GIB == 0)
        dv_str_addf(out, "%lluG", (unsigned long long)(bytes >> 30));
    else if (bytes % DV_MIB == 0)
        dv_str_addf(out, "%lluM", (unsigned long long)(bytes >> 20));
    else
        dv_str_addf(out, "%lluK", (unsigned long long)(bytes >> 10));
}

/* ---- values ---- */

static int bad(struct dv_err *err, const char *text, const char *what)
{
    return dv_err_set(err, -EINVAL, "'%.64s' is not %s", text, what);
}

static int read_number(const char *text, const char *what, uint64_t max, uint64_t *ret,
                       struct dv_err *err)
{
    size_t n = strspn(text, "0123456789");

    *ret = 0;
    if (!n || text[n] || n > 18)
        return bad(err, text, what);
    *ret = strtoull(text, NULL, 10);
    return *ret > max ? bad(err, text, what) : 0;
}

static int read_name(const char *text, char ret[DV_MPSV3_NAME], struct dv_err *err)
{
    if (!dv_mpsv3_is_name(text))
        return bad(err, text, "a name: lowercase letters, digits and underscores, up to 64");
    memcpy(ret, text, strlen(text) + 1);
    return 0;
}

static int read_bytes(const char *text, uint64_t *ret, struct dv_err *err)
{
    size_t n = strspn(text, "0123456789");

    if (n && n <= 12 && (text[n] & ~0x20) == 'K' && !text[n + 1] && strtoull(text, NULL, 10)) {
        *ret = strtoull(text, NULL, 10) << 10;
        return 0;
    }
    return dv_mpscommand_bytes(text, ret) == 0 ? 0 : bad(err, text, "a size such as 4G or 512M");
}

static int read_format(const char *text, struct dv_mpsv3 *ret, struct dv_err *err)
{
    size_t n = strcspn(text, ",");

    ret->csv = n == 3 && strncmp(text, "csv", 3) == 0;
    ret->header = !text[n];
    if ((!ret->csv && (n != 5 || strncmp(text, "table", 5) != 0)) ||
        (text[n] && strcmp(text + n, ",noheader") != 0))
        return bad(err, text, "a format: table or csv, and ,noheader");
    return 0;
}

static int read_limit(const char *key, const char *value, struct dv_mpsv3 *ret, struct dv_err *err)
{
    uint64_t number = 0;
    int r;

    if (!strcmp(key, "pinned-memory-limit")) {
        ret->has |= DV_MPSV3_HAS_MEMORY;
        return read_bytes(value, &ret->bytes, err);
    }
    if (!strcmp(key, "active-thread-percentage")) {
        ret->has |= DV_MPSV3_HAS_THREADS;
        return dv_mpscommand_threads(value, &ret->threads) == 0 && ret->threads >= 1000
                   ? 0
                   : bad(err, value, "a percentage from 1 to 100");
    }
    r = read_number(value, "a priority (0 normal, 1 below normal)", 1, &number, err);
    if (r < 0)
        return r;
    ret->has |= DV_MPSV3_HAS_PRIORITY;
    ret->priority = (int32_t)number;
    return 0;
}

/* ---- options ---- */

static int read_option(const char *key, const char *value, struct dv_mpsv3 *ret, struct dv_err *err)
{
    uint64_t number = 0;
    int r;

    if (!strcmp(key, "server"))
        return read_name(value, ret->server, err);
    if (!strcmp(key, "format"))
        return read_format(value, ret, err);
    if (!strcmp(key, "allowed-devices"))
        return *value && dv_str_copy(ret->devices, sizeof(ret->devices), value) == 0
                   ? 0
                   : bad(err, value, "a list of devices");
    if (!strcmp(key, "locality-domains"))
        return strcmp(value, "false") == 0
                   ? 0
                   : dv_err_set(err, -EINVAL, "locality domains are not simulated");
    if (strcmp(key, "uid") != 0)
        return read_limit(key, value, ret, err);
    r = read_number(value, "a user id", UINT32_MAX - 1, &number, err);
    ret->uid = r < 0 ? 0 : (uint32_t)number;
    ret->has |= DV_MPSV3_HAS_UID;
    return r;
}

/* Is the word in the list, which separates by blanks? */
static bool is_listed(const char *list, const char *word)
{
    size_t n = strlen(word);

    for (const char *at = list; n && (at = strstr(at, word)); at += n) {
        if ((at == list || at[-1] == ' ') && (!at[n] || at[n] == ' '))
            return true;
    }
    return false;
}

/* "--key=value", "key=value" or "--flag". */
static int take_option(const struct form *form, char *word, struct dv_mpsv3 *ret,
                       struct dv_err *err)
{
    char *key = strncmp(word, "--", 2) == 0 ? word + 2 : word;
    char *value = strchr(key, '=');

    if (value)
        *value++ = '\0';
    if (!is_listed(form->options, key))
        return dv_err_set(err, -EINVAL, "--%.64s is not an option here%s%s", key,
                          *form->options ? "; options: " : "", form->options);
    if (!strcmp(key, "force") || !strcmp(key, "all")) {
        if (value)
            return dv_err_set(err, -EINVAL, "--%s takes no value", key);
        ret->force |= key[0] == 'f';
        ret->all |= key[0] == 'a';
        return 0;
    }
    return value ? read_option(key, value, ret, err)
                 : dv_err_set(err, -EINVAL, "--%s=VALUE is wanted here", key);
}

static int take_word(char take, const char *word, struct dv_mpsv3 *ret, struct dv_err *err)
{
    uint64_t pid = 0;

    switch (take) {
    case 'N':
    case 'n':
        return read_name(word, ret->name, err);
    case 'S':
        return read_name(word, ret->server, err);
    case 'F':
        return dv_str_copy(ret->field, sizeof(ret->field), word) == 0 ? 0
                                                                      : bad(err, word, "a field");
    case 'P':
        if (read_number(word, "a client's PID", INT32_MAX, &pid, err) < 0 || !pid)
            return bad(err, word, "a client's PID");
        ret->pid = (uint32_t)pid;
        return 0;
    default:
        return dv_err_set(err, -EINVAL, "'%.64s' is too much", word);
    }
}

/* ---- lines ---- */

static int find(const char *module, const char *verb, const struct form **ret, struct dv_err *err)
{
    bool known = false;

    for (size_t i = 0; i < DV_ARRAY_SIZE(not_simulated); i++) {
        if (!strcmp(module, not_simulated[i]))
            return dv_err_set(err, -EINVAL, "%s is not simulated", module);
    }
    for (size_t i = 0; i < DV_ARRAY_SIZE(forms); i++) {
        if (strcmp(forms[i].module, module) != 0)
            continue;
        known = true;
        if (strcmp(forms[i].verb, verb) != 0)
            continue;
        *ret = &forms[i];
        return 0;
    }
    if (known)
        return dv_err_set(err, -EINVAL, "%s: '%.64s' is not one of its verbs", module, verb);
    return dv_err_set(err, -EINVAL,
                      "Unrecognized module: %.64s; server, namespace, client and device are there",
                      module);
}

static int take_rest(const struct form *form, char **rest, struct dv_mpsv3 *ret, struct dv_err *err)
{
    const char *take = form->words;
    char *word;
    int r;

    while ((word = strtok_r(NULL, " \t\r\n", rest))) {
        if (word[0] == '-' || strchr(word, '=')) {
            r = take_option(form, word, ret, err);
        } else {
            r = take_word(*take, word, ret, err);
            take += *take != '\0';
        }
        if (r < 0)
            return r;
    }
    if (*take && *take != 'n')
        return dv_err_set(err, -EINVAL, "%s is missing",
                          *take == 'F'   ? "a field"
                          : *take == 'P' ? "a client's PID"
                                         : "a name");
    if (form->module[0] == 'n' && form->what != DV_MPSV3_NAMESPACE_LIST && !ret->server[0])
        return dv_err_set(err, -EINVAL, "--server=NAME is missing");
    if ((form->what == DV_MPSV3_NAMESPACE_SET || form->what == DV_MPSV3_SERVER_SET) && !ret->has)
        return dv_err_set(err, -EINVAL, "one of these is missing: %s", form->options);
    if (form->what == DV_MPSV3_SERVER_CREATE && !ret->name[0] && !(ret->has & DV_MPSV3_HAS_UID))
        return dv_err_set(err, -EINVAL, "a name or --uid=N is missing");
    return 0;
}

int dv_mpsv3_parse(const char *line, struct dv_mpsv3 *ret, struct dv_err *err)
{
    char copy[DV_MPSCOMMAND_LINE_MAX];
    char *rest = NULL, *module, *verb;
    const struct form *form = NULL;
    int r;

    *ret = (struct dv_mpsv3){.header = true};
    if (strlen(line) >= sizeof(copy))
        return dv_err_set(err, -EINVAL, "a command has at most %zu bytes", sizeof(copy) - 1);
    memcpy(copy, line, strlen(line) + 1);
    module = strtok_r(copy, " \t\r\n", &rest);
    if (!module)
        return 0;
    verb = strcmp(module, "quit") != 0 ? strtok_r(NULL, " \t\r\n", &rest) : NULL;
    r = find(module, verb ? verb : "", &form, err);
    if (r < 0 || !form)
        return r;
    r = take_rest(form, &rest, ret, err);
    if (r < 0) {
        dv_err_prefix(err, "%s %s: ", form->module, form->verb);
        return r;
    }
    ret->what = form->what;
    return 0;
}
