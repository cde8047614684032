/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/kept_label.h"

#include "base/str.h"
#include "sys/fd.h"
#include "sys/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_value(const char *text)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
    return strlen(text) < DV_KEPT_LABEL_SIZE && !text[strspn(text, letters)];
}

void dv_kept_label_read(struct dv_kept_label *label, const char *path)
{
    struct dv_err err;
    char *text = NULL;
    size_t len = 0;
    *label = (struct dv_kept_label){0};
    snprintf(label->path, sizeof label->path, "%s", path);
    if (dv_fd_read_file(path, DV_KEPT_LABEL_SIZE, &text, &len, &err) < 0)
        return;
    if (len && text[len - 1] == '\n' && strlen(text) == len) {
        text[len - 1] = 0;
        label->known = is_value(text) && dv_str_copy(label->value, sizeof label->value, text) == 0;
    }
    free(text);
}

void dv_kept_label_put(struct dv_kept_label *label, const char *value)
{
    const char *text = value && is_value(value) ? value : "";
    struct dv_err err = {{0}};
    char line[DV_KEPT_LABEL_SIZE + 1], words[DV_LOG_VALUE];
    if (label->known && !strcmp(label->value, text))
        return;
    snprintf(label->value, sizeof label->value, "%s", text);
    label->known = true;
    snprintf(line, sizeof line, "%s\n", text);
    if (dv_fd_replace_file(label->path, line, strlen(line), 0644, &err) < 0)
        dv_log(DV_LOG_WARNING, "config.label_not_kept", "detail=%s", dv_log_value(err.msg, words));
}
