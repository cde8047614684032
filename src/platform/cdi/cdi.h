/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CDI specifications: files from which a container runtime learns what a device of a kind means: an
 * environment, files to be mounted, device nodes, programs to be called. Written whole or not at
 * all, mode 0644; the runtime reads them, so nothing in them is secret.
 *
 *     dv_cleanup(dv_cdi_edits_done) struct dv_cdi_edits e = {0};
 *     dv_cdi_env(&e, "NVIDIA_VISIBLE_DEVICES=void");
 *     dv_cdi_mount(&e, "/opt/divvy/lib.so", "/usr/lib64/lib.so", DV_CDI_MOUNT_NOEXEC);
 *     struct dv_cdi_device d = {"alloc-1", e};
 *     r = dv_cdi_write("/var/run/cdi", "divvy.dev/slice", "alloc-1", &d, 1, &err);
 *
 * Adding never fails loudly: what did not find memory is remembered, and writing answers -ENOMEM.
 *
 * Source: the Container Device Interface specification, versions 0.3.0 to 1.1.0; the version
 * written is the lowest that has what is used.
 */
#ifndef DV_CDI_CDI_H
#define DV_CDI_CDI_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>

#define DV_CDI_LIST_MAX 1024u /* mounts, or nodes, ... of one device */
#define DV_CDI_NAME_MAX 128u  /* bytes of a device's name */
#define DV_CDI_FILE_MAX 4194304u

struct dv_cdi_list { /* of strings, each malloc'ed */
    char **items;
    size_t n;
};

enum dv_cdi_mount_flags {
    DV_CDI_MOUNT_NOEXEC = 1, /* a socket */
    DV_CDI_MOUNT_WRITE = 2,  /* else read-only */
};

/* Read-only to everyone but cdi.c; zeroed is empty. */
struct dv_cdi_edits {
    struct dv_cdi_list env;    /* NAME=VALUE */
    struct dv_cdi_list hosts;  /* mounts: the paths on the host, */
    struct dv_cdi_list places; /* in the container, */
    unsigned mount_flags[DV_CDI_LIST_MAX];
    struct dv_cdi_list nodes; /* of /dev, in the container; */
    struct dv_cdi_list roots; /* on the host where they lie elsewhere; else "" */
    struct dv_cdi_list hook;  /* the program to call, and its arguments; the first is its name */
    unsigned hook_timeout_s;
    bool failed;
};

void dv_cdi_edits_done(struct dv_cdi_edits *edits);
void dv_cdi_env(struct dv_cdi_edits *edits, const char *fmt, ...) dv_printf(2, 3);
/* A second mount at the same place in the container is left out. */
void dv_cdi_mount(struct dv_cdi_edits *edits, const char *host, const char *container,
                  unsigned flags);
/* A device node, readable and writable in the container; twice is once. */
void dv_cdi_node(struct dv_cdi_edits *edits, const char *container, const char *host);
/* One hook of the stage createRuntime: on the host, as root, before the container's own program.
 * First its path, then its arguments. */
void dv_cdi_hook(struct dv_cdi_edits *edits, unsigned timeout_s, const char *path);
void dv_cdi_hook_argument(struct dv_cdi_edits *edits, const char *text);

struct dv_cdi_device {
    const char *name;
    const struct dv_cdi_edits *edits;
};

/* Letters, digits and "_-.:", first and last a letter or digit, at most DV_CDI_NAME_MAX. 0, or
 * -EINVAL with a message. */
int dv_cdi_check_name(const char *name, struct dv_err *err);
/* The file's text, ending with a newline. `kind` is VENDOR/CLASS. 0; -EINVAL with a message, a name
 * or a path is none; -ENOMEM. */
int dv_cdi_text(const char *kind, const struct dv_cdi_device *devices, size_t n, struct dv_str *ret,
                struct dv_err *err);
/* DIR/VENDOR-CLASS_NAME.json, which a runtime sees whole or not at all. Makes DIR. Negative errno
 * with a message. */
int dv_cdi_write(const char *dir, const char *kind, const char *name,
                 const struct dv_cdi_device *devices, size_t n, struct dv_err *err);
/* 0 also when there is none. */
int dv_cdi_remove(const char *dir, const char *kind, const char *name, struct dv_err *err);

#endif
