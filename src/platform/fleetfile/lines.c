/* SPDX-License-Identifier: Apache-2.0 */
#include "fleetfile/lines.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static void close_file(FILE **f)
{
    if (*f)
        (void)fclose(*f);
}

static bool is_printable(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 127)
            return false;
    return true;
}

int dv_fleet_check_printable(const struct dv_csv *csv, const size_t *columns, size_t n,
                             struct dv_err *err)
{
    for (size_t i = 0; i < n; i++)
        if (!is_printable(dv_csv_field(csv, columns[i]).text))
            return dv_csv_fail(csv, columns[i], err, -EINVAL, "control characters");
    return 0;
}

/* The line's text without its end; NULL: too long, or bytes in it that no name has. */
static char *trim(char *line, bool last)
{
    size_t len = strlen(line);
    if (!len || (line[len - 1] != '\n' && !last))
        return NULL;
    while (len && strchr(" \t\r\n", line[len - 1]))
        line[--len] = '\0';
    if (!is_printable(line))
        return NULL;
    return line + strspn(line, " \t");
}

int dv_fleet_lines(const char *path, int (*visit)(void *arg, const char *line, struct dv_err *err),
                   void *arg, struct dv_err *err)
{
    char line[DV_FLEET_LINE_MAX + 1];
    dv_cleanup(close_file) FILE *f = fopen(path, "re");
    if (!f)
        return dv_err_set(err, -errno, "%s: %s", path, strerror(errno));
    for (uint32_t n = 1; fgets(line, sizeof line, f); n++) {
        char *text = trim(line, feof(f));
        if (!text || n > DV_FLEET_LINES_MAX)
            return dv_err_set(err, -EINVAL, "%s:%u: %s", path, n,
                              text ? "too many lines" : "not a line of text with a name");
        int r = *text ? visit(arg, text, err) : 0;
        if (r < 0) {
            dv_err_prefix(err, "%s:%u: ", path, n);
            return r;
        }
    }
    int error = errno; /* of the last fgets(), if it is one */
    if (ferror(f))
        return dv_err_set(err, -error, "%s: %s", path, strerror(error));
    return 0;
}
