/* SPDX-License-Identifier: Apache-2.0 */
/* One watch on the kubelet's device plugin directory (inotify), for all plugins in it. For this
 * room; who only needs one finds its life in plugin.h. */
#ifndef DV_KUBELET_DIR_H
#define DV_KUBELET_DIR_H

#include "kubelet/plugin.h"

#define DV_KUBELET_DIR_PATH_MAX 108

/* A member of the one who is told. */
struct dv_kubelet_dir_user {
    struct dv_kubelet_dir_user *prev, *next;
    /* Something was added or removed; `fresh`: kubelet.sock was, or may have been, made anew. Must
     * not leave() or call back to the outside. */
    void (*changed)(struct dv_kubelet_dir_user *user, bool fresh);
};

void dv_kubelet_dir_join(struct dv_kubelet_dir *dir, struct dv_kubelet_dir_user *user);
void dv_kubelet_dir_leave(struct dv_kubelet_dir *dir, struct dv_kubelet_dir_user *user);
struct dv_loop *dv_kubelet_dir_loop(const struct dv_kubelet_dir *dir);
/* DIR/name. 0, -ENAMETOOLONG with a message. */
int dv_kubelet_dir_path(const struct dv_kubelet_dir *dir, const char *name,
                        char ret[DV_KUBELET_DIR_PATH_MAX], struct dv_err *err);
/* A registration of ours was cut off, which this kubelet may find yet: until there is another
 * kubelet, no socket of before may be registered again. */
void dv_kubelet_dir_cut_off(struct dv_kubelet_dir *dir);
bool dv_kubelet_dir_is_cut_off(const struct dv_kubelet_dir *dir);
/* A number for the name of a socket, from 1 on, each once. */
uint32_t dv_kubelet_dir_turn(struct dv_kubelet_dir *dir);

#endif
