/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes as the kernel knows them. A process is named by its pid and its start time: a pid alone
 * may have been given to somebody else meanwhile (proc(5), field 22 of /proc/PID/stat).
 *
 *     struct dv_proc_id owner;
 *     if (dv_proc_identify(pid, &owner) == 0 && dv_proc_is_within(child, &owner)) ...
 */
#ifndef DV_SYS_PROC_H
#define DV_SYS_PROC_H

#include "base/err.h"

#include <stdbool.h>
#include <sys/types.h>

struct dv_proc_id {
    pid_t pid;
    uint64_t start; /* clock ticks since boot; 0 = nobody */
};

/* Who has this pid now. -ESRCH when nobody. A zombie is dead. */
int dv_proc_identify(pid_t pid, struct dv_proc_id *ret);
bool dv_proc_alive(const struct dv_proc_id *id);
/* A descriptor that becomes readable when the process has ended; -ESRCH when it has already, or
 * when the pid belongs to another process by now. */
int dv_proc_pidfd(const struct dv_proc_id *id);
pid_t dv_proc_parent(pid_t pid);
/* Whether pid is `top` or a descendant of it; ret_distance (may be NULL): generations between. */
bool dv_proc_is_within(pid_t pid, const struct dv_proc_id *top, uint32_t *ret_distance);
/* The descendants of `top`, without itself; at most `max`. Returns how many. */
size_t dv_proc_descendants(const struct dv_proc_id *top, struct dv_proc_id *ret, size_t max);
/* The text of /proc/PID/cgroup (model/cgroup.h). 0; -ESRCH; -E2BIG when it does not fit. */
int dv_proc_cgroup(pid_t pid, char *ret, size_t size);
/* The effective user of a process. */
int dv_proc_uid(pid_t pid, uid_t *ret);

/* The user's login name, or the number in decimal. */
void dv_proc_user_name(uid_t uid, char *buf, size_t size);
/* 0, -ENOENT. */
int dv_proc_user_id(const char *name, uid_t *ret_uid, gid_t *ret_gid);

/* ---- this process ---- */

/*
 * Where the daemon of the calling user listens unless it is told otherwise: root's in /run/divvy,
 * a user's own in $XDG_RUNTIME_DIR/divvy, or without that variable in /tmp/divvy-UID. 0,
 * -ENAMETOOLONG.
 */
int dv_proc_default_socket(char *ret, size_t size);

/* Which run of the machine this is: the kernel's word, "" when it does not say. */
#define DV_PROC_BOOT_ID 40
void dv_proc_boot_id(char ret[DV_PROC_BOOT_ID]);

/* Absolute directory of the running program; 0 or negative errno. */
int dv_proc_program_dir(char *buf, size_t size);
/* No setuid program that is started from here gains rights. */
int dv_proc_no_new_privileges(void);
/* Becomes that user for good: supplementary groups, group, user, and no capability is left. Checks
 * that there is no way back. */
int dv_proc_become(uid_t uid, gid_t gid, struct dv_err *err);
/* The same just before exec; the program may still ask for SCHED_FIFO (it keeps CAP_SYS_NICE, as
 * an ambient capability: capabilities(7)). */
int dv_proc_become_nice(uid_t uid, gid_t gid, struct dv_err *err);
/* Gives up every capability, also for what is started from here; the user stays. */
int dv_proc_drop_capabilities(struct dv_err *err);
/* SCHED_FIFO at this priority for the calling thread; -EPERM where not allowed. Children and new
 * threads do not inherit it. */
int dv_proc_realtime(uint32_t priority);
/* The kernel sends `signo` to this process when its parent dies; -ESRCH when it has died already
 * (`parent` is who it should be). */
int dv_proc_die_with_parent(int signo, pid_t parent);

#endif
