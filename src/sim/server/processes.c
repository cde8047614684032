/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/engine.h"
#include "engine/memory.h"
#include "server/accounting.h"
#include "server/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static void read_name(pid_t pid, char ret[256])
{
    char path[64];
    ssize_t n;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
    n = readlink(path, ret, 255);
    if (n > 0) {
        ret[n] = '\0';
        return;
    }
    snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? 0 : read(fd, ret, 255);
    if (fd >= 0)
        close(fd);
    ret[n > 0 ? n : 0] = '\0';
    ret[strcspn(ret, "\n")] = '\0';
}

/* Field 22, counted after the ")" that ends the name, which may hold anything. */
static uint64_t read_start_time(pid_t pid)
{
    char path[64], text[1024];
    unsigned long long start = 0;
    const char *p;
    ssize_t n;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    p = strrchr(text, ')');
    if (!p || sscanf(p + 1,
                     " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d "
                     "%*d %*d %llu",
                     &start) != 1)
        return 0;
    return start;
}

static void died(struct dv_simserver *s, struct dv_simsource *source, uint32_t events)
{
    dv_simprocesses_end(s, source->owner);
}

static void release(struct dv_simproc *p)
{
    struct dv_simpid *pid = p->server;

    if (pid)
        free(pid->block);
    free(pid);
    free(p->gpu);
    free(p);
}

static struct dv_simproc *make(const struct dv_simserver *s, pid_t pid, uid_t uid)
{
    struct dv_simproc *p = calloc(1, sizeof(*p));
    struct dv_simpid *priv = calloc(1, sizeof(*priv));

    if (!p || !priv) {
        free(p);
        free(priv);
        return NULL;
    }
    p->server = priv;
    p->gpu = calloc(s->node.n_gpus, sizeof(*p->gpu));
    if (!p->gpu) {
        release(p);
        return NULL;
    }
    priv->blocks_free = DV_SIM_NONE;
    priv->pidfd.fd = -1;
    p->pid = pid;
    p->uid = uid;
    p->start_time = read_start_time(pid);
    read_name(pid, p->name);
    return p;
}

/* The death of a process is known by its pidfd, not by its socket alone: a child may hold that
 * open. pid 0 is a process of a name space that is not seen from here: only its socket tells. */
static int watch(struct dv_simserver *s, struct dv_simproc *p)
{
    struct dv_simpid *priv = p->server;

    if (p->pid <= 0)
        return 0;
    priv->pidfd = (struct dv_simsource){.ready = died, .owner = p};
    priv->pidfd.fd = (int)syscall(SYS_pidfd_open, p->pid, 0);
    if (priv->pidfd.fd < 0)
        return -errno;
    return dv_simserver_watch(s, &priv->pidfd, EPOLLIN);
}

int dv_simprocesses_get(struct dv_simserver *s, pid_t pid, uid_t uid, struct dv_simproc **ret)
{
    struct dv_simproc *p = pid > 0 ? dv_simnode_process(&s->node, pid) : NULL;
    uint32_t at = 0;
    int r;

    if (p) {
        *ret = p;
        return 0;
    }
    while (at < DV_SIM_PROCESSES_MAX && s->node.processes[at])
        at++;
    if (at == DV_SIM_PROCESSES_MAX)
        return -ENOSPC;
    p = make(s, pid, uid);
    if (!p)
        return -ENOMEM;
    r = watch(s, p);
    if (r < 0) {
        dv_simserver_drop(s, &((struct dv_simpid *)p->server)->pidfd);
        release(p);
        return r;
    }
    s->node.processes[at] = p;
    *ret = p;
    return 0;
}

static bool holds_something(const struct dv_simserver *s, const struct dv_simproc *p)
{
    for (uint32_t i = 0; i < s->node.n_gpus; i++) {
        if (p->gpu[i].contexts)
            return true;
    }
    return false;
}

static void end_sessions(struct dv_simserver *s, struct dv_simpid *priv)
{
    while (priv->sessions) {
        struct dv_simclientconn *c = priv->sessions->client;

        dv_simsessions_end(s, priv->sessions);
        if (c)
            dv_simclients_drop(s, c);
    }
}

void dv_simprocesses_end(struct dv_simserver *s, struct dv_simproc *p)
{
    struct dv_simpid *priv = p->server;
    uint64_t start_ns = dv_simserver_clock(), took_ns;
    bool held = holds_something(s, p);
    uint32_t at = 0;

    while (at < DV_SIM_PROCESSES_MAX && s->node.processes[at] != p)
        at++;
    if (at == DV_SIM_PROCESSES_MAX)
        return; /* ended already */
    s->node.processes[at] = NULL;
    dv_simmps_process_gone(s, p);
    end_sessions(s, priv);
    dv_simmemory_ctx_gone(s, p, DV_SIM_NONE);
    dv_simcards_process_gone(s, p);
    dv_simaccounting_end(&s->node, p);
    dv_simserver_drop(s, &priv->pidfd);
    s->process_graveyard[s->n_process_graveyard++] = p;
    if (!held)
        return;
    took_ns = dv_simserver_clock() - start_ns;
    s->deaths++;
    s->death_slowest_ns = DV_MAX(s->death_slowest_ns, took_ns);
}

void dv_simprocesses_bury(struct dv_simserver *s)
{
    while (s->n_process_graveyard)
        release(s->process_graveyard[--s->n_process_graveyard]);
}

/* ---- contexts ---- */

static bool used_by_another(const struct dv_simserver *s, const struct dv_simproc *me, uint32_t gpu)
{
    for (uint32_t i = 0; i < DV_SIM_PROCESSES_MAX; i++) {
        const struct dv_simproc *p = s->node.processes[i];

        if (p && p != me && p->gpu[gpu].contexts && !dv_simmps_together(p, me))
            return true;
    }
    return false;
}

/* NVML's compute modes: 2 prohibited, 3 exclusive process. */
static uint32_t check_mode(const struct dv_simserver *s, const struct dv_simproc *p, uint32_t gpu)
{
    uint32_t mode = s->node.gpu[gpu].compute_mode;

    if (s->node.gpu[gpu].lost || mode == 2 || (mode == 3 && used_by_another(s, p, gpu)))
        return DV_SIMCU_DEVICE_UNAVAILABLE;
    return DV_SIMCU_OK;
}

static void count(struct dv_simserver *s, struct dv_simproc *p, const struct dv_simctx *c, int by)
{
    struct dv_simci *ci = dv_simnode_ci(&s->node, c->gpu, c->gi_id, c->ci_id);

    p->gpu[c->gpu].contexts += (uint32_t)by;
    if (ci)
        ci->contexts += (uint32_t)by;
}

/* The engine's part of a context and its default stream. */
static uint32_t add_to_engine(struct dv_simserver *s, struct dv_simsession *ss,
                              const struct dv_simplace *place, uint32_t ctx)
{
    struct dv_simctx *c = &ss->process->ctx[ctx];
    struct dv_engine *engine = s->node.gpu[c->gpu].engine;
    struct dv_engine_context_spec spec = {.partition = place->partition,
                                          .owner = (uint64_t)ss->process->pid,
                                          .mps_group = dv_simmps_group(ss->process),
                                          .sm_limit = dv_simmps_sms(ss->process, place->sm)};
    uint32_t r;

    if (dv_engine_context_add(engine, s->node.now_ns, &spec, &c->engine_context) < 0)
        return DV_SIMCU_OUT_OF_MEMORY;
    r = dv_simsessions_stream_add(s, ss, ctx, &c->stream);
    if (r)
        dv_engine_context_kill(engine, s->node.now_ns, c->engine_context);
    return r;
}

/* What the context itself costs. */
static uint32_t take_overhead(struct dv_simserver *s, struct dv_simproc *p, uint32_t ctx)
{
    struct dv_simctx *c = &p->ctx[ctx];
    uint64_t bytes = dv_memory_round(dv_simmps_context_bytes(s, p, c->gpu));

    if (!dv_simmps_take(p, c, bytes))
        return DV_SIMCU_OUT_OF_MEMORY;
    if (dv_simcards_take(s, p, ctx, bytes, &c->overhead_id, &c->overhead_bytes) == 0)
        return DV_SIMCU_OK;
    dv_simmps_give(p, c, bytes);
    return DV_SIMCU_OUT_OF_MEMORY;
}

static void give_overhead(struct dv_simserver *s, struct dv_simproc *p, uint32_t ctx)
{
    struct dv_simctx *c = &p->ctx[ctx];

    if (!c->overhead_bytes)
        return;
    dv_simmps_give(p, c, c->overhead_bytes);
    dv_simcards_give(s, p, ctx, c->overhead_id, c->overhead_bytes);
    c->overhead_bytes = 0;
}

uint32_t dv_simprocesses_ctx_add(struct dv_simserver *s, struct dv_simsession *ss, uint32_t gpu,
                                 uint32_t gi, uint32_t ci, uint32_t *ret_ctx)
{
    const struct dv_simplace *place = dv_simcards_place(s, gpu, gi, ci);
    struct dv_simproc *p = ss->process;
    struct dv_simctx *c;
    uint32_t index = 0, r;

    if (!place)
        return DV_SIMCU_INVALID_DEVICE;
    r = check_mode(s, p, gpu);
    if (!r)
        r = dv_simmps_may_add(s, p, gpu, gi, ci);
    if (r)
        return r;
    while (index < DV_SIM_CONTEXTS_MAX && p->ctx[index].used)
        index++;
    if (index == DV_SIM_CONTEXTS_MAX)
        return DV_SIMCU_OUT_OF_MEMORY;
    c = &p->ctx[index];
    *c = (struct dv_simctx){.gpu = gpu, .gi_id = gi, .ci_id = ci, .session = ss};
    r = take_overhead(s, p, index);
    if (!r)
        r = add_to_engine(s, ss, place, index);
    if (r) {
        give_overhead(s, p, index);
        return r;
    }
    c->used = true;
    count(s, p, c, 1);
    dv_simaccounting_begin(&s->node, p, gpu);
    dv_simmps_changed(s, p);
    *ret_ctx = index;
    return DV_SIMCU_OK;
}

static void end_streams(struct dv_simserver *s, struct dv_simsession *ss, uint32_t ctx,
                        uint32_t error)
{
    for (uint32_t i = 1; i < DV_SIM_STREAMS_MAX; i++) {
        if (ss->stream[i].used && ss->stream[i].ctx == ctx)
            dv_simsessions_stream_end(s, ss, i, error);
    }
}

void dv_simprocesses_ctx_fault(struct dv_simserver *s, struct dv_simproc *p, uint32_t ctx,
                               uint32_t error)
{
    struct dv_simctx *c = &p->ctx[ctx];

    if (c->error)
        return;
    c->error = error;
    dv_simcards_retire_ctx(s, p, ctx);
    end_streams(s, c->session, ctx, error);
    dv_simmps_changed(s, p);
    dv_simmps_faulted(s, p, ctx, error);
}

void dv_simprocesses_ctx_remove(struct dv_simserver *s, struct dv_simproc *p, uint32_t ctx)
{
    struct dv_simctx *c = &p->ctx[ctx];

    if (!c->error)
        dv_simcards_retire_ctx(s, p, ctx);
    end_streams(s, c->session, ctx, 0);
    dv_simmemory_ctx_gone(s, p, ctx);
    give_overhead(s, p, ctx);
    count(s, p, c, -1);
    c->used = false;
    dv_simmps_changed(s, p);
}
