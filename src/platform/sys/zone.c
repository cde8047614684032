/* SPDX-License-Identifier: Apache-2.0 */
/* Source: RFC 8536, The Time Zone Information Format, sections 3 to 3.3; POSIX.1-2017, XBD 8.3
 * (TZ).
 */
#include "sys/zone.h"

#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX 65536u
#define HEADER 44u
#define NAMES_MAX 2048u
#define DAY_S 86400
#define EARLIEST (-2 * DAY_S) /* what was before 1970 is nobody's bill */

/* ---- the file ---- */

struct counts {
    uint32_t isut, isstd, leap, time, type, chars;
};

struct reader {
    const unsigned char *p;
    size_t left;
    struct dv_zone *zone;
    struct dv_err *err;
};

static int broken(const struct reader *in, const char *what)
{
    return dv_err_set(in->err, -EBADMSG, "time zone %s: the file is broken: %s", in->zone->name,
                      what);
}

static uint32_t be32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t be64(const unsigned char *p)
{
    return (int64_t)((uint64_t)be32(p) << 32 | be32(p + 4));
}

static void skip(struct reader *in, size_t n)
{
    in->p += n;
    in->left -= n;
}

static int read_header(struct reader *in, struct counts *ret, int *ret_version)
{
    if (in->left < HEADER || memcmp(in->p, "TZif", 4) != 0)
        return broken(in, "no TZif header");
    *ret_version = in->p[4] ? in->p[4] - '0' : 1;
    *ret = (struct counts){be32(in->p + 20), be32(in->p + 24), be32(in->p + 28),
                           be32(in->p + 32), be32(in->p + 36), be32(in->p + 40)};
    if (ret->isut > FILE_MAX || ret->isstd > FILE_MAX || ret->leap > FILE_MAX ||
        ret->time > FILE_MAX || ret->type > FILE_MAX || ret->chars > FILE_MAX)
        return broken(in, "counts beyond its size");
    skip(in, HEADER);
    return 0;
}

static size_t block_size(const struct counts *c, size_t width)
{
    return c->time * (width + 1) + c->type * 6 + c->chars + c->leap * (width + 4) + c->isstd +
           c->isut;
}

/* Appends a change; one that changes nothing is left out, one at the same instant replaces. */
static int add_change(struct reader *in, int64_t at, int32_t offset)
{
    struct dv_zone *z = in->zone;
    if (at <= EARLIEST) {
        z->first_offset = offset;
        return 0;
    }
    if (z->n && z->changes[z->n - 1].at >= at)
        z->n--;
    int32_t before = z->n ? z->changes[z->n - 1].offset : z->first_offset;
    if (offset == before)
        return 0;
    if (z->n == DV_ZONE_CHANGES_MAX)
        return dv_err_set(in->err, -E2BIG, "time zone %s: more than %u changes", z->name,
                          DV_ZONE_CHANGES_MAX);
    z->changes[z->n++] = (struct dv_zone_change){at, offset};
    return 0;
}

static int read_block(struct reader *in, const struct counts *c, size_t width, int64_t *ret_last)
{
    if (in->left < block_size(c, width))
        return broken(in, "it ends too early");
    if (!c->type)
        return broken(in, "no local time type");
    if (c->leap)
        return dv_err_set(in->err, -EBADMSG,
                          "time zone %s counts leap seconds; take the one without \"right/\"",
                          in->zone->name);
    const unsigned char *times = in->p, *kinds = times + c->time * width;
    const unsigned char *types = kinds + c->time;
    int64_t last = INT64_MIN;
    in->zone->first_offset = (int32_t)be32(types);
    for (uint32_t i = 0; i < c->time; i++) {
        int64_t at = width == 8 ? be64(times + i * 8) : (int32_t)be32(times + i * 4);
        if (kinds[i] >= c->type || (i && at <= last))
            return broken(in, "changes out of order or of no type");
        last = at;
        int r = add_change(in, at, (int32_t)be32(types + kinds[i] * 6u));
        if (r < 0)
            return r;
    }
    skip(in, block_size(c, width));
    *ret_last = last;
    return 0;
}

/* ---- the rule for all years after: a POSIX TZ string ---- */

struct rule_day {
    char kind; /* 'J', '0' or 'M' */
    int32_t a, week, weekday;
    int32_t second;
};

struct rule {
    bool has_dst;
    int32_t std, dst; /* seconds east */
    struct rule_day start, end;
};

static bool scan_number(const char **p, int32_t max, int32_t *ret)
{
    int32_t v = 0;
    const char *from = *p;
    for (; **p >= '0' && **p <= '9' && *p - from < 4; (*p)++)
        v = v * 10 + (**p - '0');
    *ret = v;
    return *p > from && v <= max;
}

static bool scan_name(const char **p)
{
    const char *from = *p;
    if (**p == '<') {
        *p += strcspn(*p, ">");
        return *(*p)++ == '>';
    }
    while ((**p >= 'A' && **p <= 'Z') || (**p >= 'a' && **p <= 'z'))
        (*p)++;
    return *p - from >= 3;
}

/* [+-]hh[:mm[:ss]] in seconds. */
static bool scan_time(const char **p, int32_t *ret)
{
    int32_t h, m = 0, s = 0, sign = 1;
    if (**p == '+' || **p == '-')
        sign = *(*p)++ == '-' ? -1 : 1;
    if (!scan_number(p, 167, &h))
        return false;
    if (**p == ':' && ((*p)++, !scan_number(p, 59, &m)))
        return false;
    if (**p == ':' && ((*p)++, !scan_number(p, 59, &s)))
        return false;
    *ret = sign * (h * 3600 + m * 60 + s);
    return true;
}

static bool scan_day(const char **p, struct rule_day *ret)
{
    bool ok;
    *ret = (struct rule_day){.kind = '0', .second = 7200};
    if (*(*p)++ != ',')
        return false;
    if (**p == 'M' || **p == 'J')
        ret->kind = *(*p)++;
    if (ret->kind == 'M')
        ok = scan_number(p, 12, &ret->a) && ret->a && *(*p)++ == '.' &&
             scan_number(p, 5, &ret->week) && ret->week && *(*p)++ == '.' &&
             scan_number(p, 6, &ret->weekday);
    else
        ok = scan_number(p, 365, &ret->a);
    if (ok && **p == '/' && ((*p)++, !scan_time(p, &ret->second)))
        return false;
    return ok;
}

static bool scan_rule(const char *p, struct rule *ret)
{
    int32_t west;
    *ret = (struct rule){0};
    if (!scan_name(&p) || !scan_time(&p, &west))
        return false;
    ret->std = -west;
    if (!*p)
        return true;
    ret->has_dst = true;
    ret->dst = ret->std + 3600;
    if (!scan_name(&p))
        return false;
    if (*p && *p != ',') {
        if (!scan_time(&p, &west))
            return false;
        ret->dst = -west;
    }
    return scan_day(&p, &ret->start) && scan_day(&p, &ret->end) && !*p;
}

/* Local seconds since 1970 at which the rule's day of that year comes. */
static int64_t rule_instant(const struct rule_day *r, int32_t year)
{
    int32_t first = dv_date_days((struct dv_date){year, 1, 1});
    int32_t day = first + r->a;
    bool leap = dv_date_days((struct dv_date){year + 1, 1, 1}) - first == 366;
    if (r->kind == 'J') /* 1..365, February 29 is never counted */
        day = first + r->a - 1 + (leap && r->a >= 60);
    if (r->kind == 'M') {
        int32_t month = dv_date_days((struct dv_date){year, r->a, 1});
        int32_t next = dv_date_next_month(month);
        int32_t sunday_based = (int32_t)((dv_date_weekday(month) + 1) % 7);
        day = month + (r->weekday - sunday_based + 7) % 7 + (r->week - 1) * 7;
        while (day >= next)
            day -= 7;
    }
    return (int64_t)day * DAY_S + r->second;
}

static int add_rule(struct reader *in, const char *text, int64_t last)
{
    struct rule rule;
    int r = 0;
    if (!scan_rule(text, &rule))
        return broken(in, "the rule at its end");
    if (!rule.has_dst)
        return last == INT64_MIN ? 0 : add_change(in, last > 0 ? last + 1 : 1, rule.std);
    int32_t year = last > 0 ? dv_date_of((int32_t)(last / DAY_S)).year : DV_ZONE_YEAR_MIN;
    for (; !r && year <= DV_ZONE_YEAR_MAX; year++) {
        int64_t start = rule_instant(&rule.start, year) - rule.std;
        int64_t end = rule_instant(&rule.end, year) - rule.dst;
        bool north = start <= end;
        int64_t first = north ? start : end, second = north ? end : start;
        if (first > last)
            r = add_change(in, first, north ? rule.dst : rule.std);
        if (!r && second > last)
            r = add_change(in, second, north ? rule.std : rule.dst);
    }
    return r;
}

static int read_footer(struct reader *in, int64_t last)
{
    char text[128];
    const unsigned char *end = in->left ? memchr(in->p + 1, '\n', in->left - 1) : NULL;
    if (!end || *in->p != '\n' || (size_t)(end - in->p) > sizeof text)
        return broken(in, "no rule at its end");
    size_t len = (size_t)(end - in->p) - 1;
    memcpy(text, in->p + 1, len);
    text[len] = 0;
    return len ? add_rule(in, text, last) : 0;
}

int dv_zone_decode(const char *name, const void *data, size_t size, struct dv_zone *ret,
                   struct dv_err *err)
{
    struct counts c = {0};
    int version = 0;
    int64_t last = INT64_MIN;
    struct reader in = {data, size, ret, err};
    memset(ret, 0, sizeof *ret);
    if (dv_str_copy(ret->name, sizeof ret->name, name) < 0)
        return dv_err_set(err, -EINVAL, "a time zone's name has at most %d letters",
                          DV_ZONE_NAME - 1);
    if (size > FILE_MAX)
        return dv_err_set(err, -E2BIG, "time zone %s: a file of %zu bytes", name, size);
    int r = read_header(&in, &c, &version);
    if (!r && version >= 2) {
        if (in.left < block_size(&c, 4))
            return broken(&in, "it ends too early");
        skip(&in, block_size(&c, 4));
        r = read_header(&in, &c, &version);
        r = r ? r : read_block(&in, &c, 8, &last);
        r = r ? r : read_footer(&in, last);
    } else if (!r) {
        r = read_block(&in, &c, 4, &last);
    }
    return r ? r : dv_zone_check(ret, err) < 0 ? -EBADMSG : 0;
}

/* ---- the database ---- */

struct names {
    uint32_t n;
    char *names[NAMES_MAX];
};

static void collect(struct names *names, const char *dir, const char *under, int depth)
{
    dv_cleanup(dv_str_done) struct dv_str path = {0};
    dv_str_addf(&path, "%s/%s", dir, under);
    DIR *d = path.failed ? NULL : opendir(path.data);
    for (struct dirent *e; d && (e = readdir(d)) && names->n < NAMES_MAX;) {
        dv_cleanup(dv_str_done) struct dv_str name = {0};
        if (!strcmp(e->d_name, "posix") || !strcmp(e->d_name, "right") || e->d_name[0] < 'A' ||
            e->d_name[0] > 'Z') /* tables, and two copies of everything */
            continue;
        dv_str_addf(&name, "%s%s%s", under, *under ? "/" : "", e->d_name);
        if (e->d_type == DT_DIR && depth)
            collect(names, dir, dv_str_get(&name), depth - 1);
        else if (e->d_type != DT_DIR && !name.failed)
            names->names[names->n++] = dv_str_steal(&name);
    }
    if (d)
        closedir(d);
}

/* The nearest whole name, else the zone whose town is nearest: "Berlin". */
static const char *nearest(const struct names *names, const char *name)
{
    const char *near = dv_str_nearest(name, (const char *const *)names->names, names->n);
    const char **towns = near || !names->n ? NULL : calloc(names->n, sizeof *towns);
    if (!towns)
        return near;
    for (uint32_t i = 0; i < names->n; i++) {
        const char *slash = strrchr(names->names[i], '/');
        towns[i] = slash ? slash + 1 : names->names[i];
    }
    const char *town = dv_str_nearest(name, towns, names->n);
    for (uint32_t i = 0; town && i < names->n; i++)
        if (towns[i] == town)
            near = names->names[i];
    free(towns);
    return near;
}

static int not_there(const char *dir, const char *name, struct dv_err *err)
{
    struct names *names = calloc(1, sizeof *names);
    if (!names)
        return -ENOMEM;
    collect(names, dir, "", 2);
    const char *near = nearest(names, name);
    if (!names->n)
        dv_err_set(err, 0,
                   "no time zone database in %.200s (package tzdata); only UTC is known without",
                   dir);
    else
        dv_err_set(err, 0, "unknown time zone \"%s\"%s%s%s", name, near ? "; did you mean \"" : "",
                   near ? near : "; names are such as Europe/Berlin, America/New_York, UTC",
                   near ? "\"?" : "");
    for (uint32_t i = 0; i < names->n; i++)
        free(names->names[i]);
    free(names);
    return -ENOENT;
}

static int check_name(const char *name, struct dv_err *err)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                  "_+-/.";
    size_t len = strlen(name);
    if (!len || len >= DV_ZONE_NAME || strspn(name, letters) != len || name[0] == '/' ||
        name[0] == '.' || strstr(name, "..") || strstr(name, "//") || name[len - 1] == '/')
        return dv_err_set(err, -EINVAL,
                          "this is no time zone's name; they are such as Europe/Berlin, "
                          "America/New_York, UTC");
    return 0;
}

static int read_file(const char *path, unsigned char **ret, size_t *ret_size)
{
    int r = 0;
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    unsigned char *data = malloc(FILE_MAX + 1);
    size_t size = 0;
    if (!data)
        r = -ENOMEM;
    else if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        r = -ENOENT;
    while (!r && size <= FILE_MAX) {
        ssize_t n = read(fd, data + size, FILE_MAX + 1 - size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            r = -errno;
        if (n <= 0)
            break;
        size += (size_t)n;
    }
    close(fd);
    if (r < 0) {
        free(data);
        return r;
    }
    *ret = data;
    *ret_size = size;
    return 0;
}

int dv_zone_load(const char *dir, const char *name, struct dv_zone *ret, struct dv_err *err)
{
    dv_cleanup(dv_str_done) struct dv_str path = {0};
    unsigned char *data = NULL;
    size_t size = 0;
    int r = check_name(name, err);
    if (r < 0)
        return r;
    memset(ret, 0, sizeof *ret);
    if (!strcmp(name, "UTC") || !strcmp(name, "Etc/UTC"))
        return dv_str_copy(ret->name, sizeof ret->name, name);
    if (!dir)
        dir = getenv("TZDIR");
    if (!dir || !*dir)
        dir = "/usr/share/zoneinfo";
    dv_str_addf(&path, "%s/%s", dir, name);
    if (path.failed)
        return -ENOMEM;
    r = read_file(path.data, &data, &size);
    if (r == -ENOENT || r == -ENOTDIR)
        return not_there(dir, name, err);
    if (r < 0)
        return dv_err_set(err, r, "time zone %s: %s: %s", name, path.data, strerror(-r));
    r = dv_zone_decode(name, data, size, ret, err);
    free(data);
    return r;
}
