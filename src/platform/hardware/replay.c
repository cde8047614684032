/* SPDX-License-Identifier: Apache-2.0 */
#include "hardware/replay.h"

#include "hardware/capture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct replay {
    struct dv_hardware hw;
    struct dv_capture *capture;
};

static void replay_free(struct dv_hardware *hw)
{
    struct replay *self = (struct replay *)hw;
    dv_capture_free(self->capture);
    free(self);
}

static int replay_driver(struct dv_hardware *hw, struct dv_facts_driver *ret, struct dv_err *err)
{
    *ret = ((struct replay *)hw)->capture->driver;
    return 0;
}

static int known(struct replay *self, uint32_t index, struct dv_err *err)
{
    if (index < self->capture->driver.gpus)
        return 0;
    return dv_err_set(err, DV_HARDWARE_FAILED, "the capture has no GPU %u", index);
}

static int replay_gpu(struct dv_hardware *hw, uint32_t index, struct dv_facts_gpu *ret,
                      struct dv_err *err)
{
    struct replay *self = (struct replay *)hw;
    int r = known(self, index, err);
    if (!r)
        *ret = self->capture->gpus[index];
    return r;
}

static int replay_topology(struct dv_hardware *hw, uint32_t index, struct dv_facts_topology *ret,
                           struct dv_err *err)
{
    struct replay *self = (struct replay *)hw;
    int r = known(self, index, err);
    if (!r)
        *ret = self->capture->topology[index];
    return r;
}

static int replay_sample(struct dv_hardware *hw, uint32_t index, uint64_t since_us,
                         struct dv_facts_sample *ret, struct dv_err *err)
{
    struct replay *self = (struct replay *)hw;
    int r = known(self, index, err);
    if (!r)
        *ret = self->capture->samples[index];
    return r;
}

/* Captures have none. */
static int replay_telemetry(struct dv_hardware *hw, uint32_t index, struct dv_facts_telemetry *ret,
                            struct dv_err *err)
{
    dv_hardware_telemetry_forget(ret);
    return known((struct replay *)hw, index, err);
}

static int replay_events(struct dv_hardware *hw, struct dv_facts_event *ret, uint32_t max,
                         uint32_t *ret_count, struct dv_err *err)
{
    *ret_count = 0;
    return 0;
}

static int replay_account(struct dv_hardware *hw, uint32_t index, bool on, struct dv_err *err)
{
    return dv_err_set(err, DV_HARDWARE_NOT_SUPPORTED, "a captured node cannot be changed");
}

static int replay_accounted(struct dv_hardware *hw, uint32_t index, uint32_t pid,
                            struct dv_facts_accounted *ret, struct dv_err *err)
{
    return dv_err_set(err, DV_HARDWARE_NOT_SUPPORTED, "a capture has no lives of processes");
}

static const struct dv_hardware_ops ops = {replay_free,     replay_driver,  replay_gpu,
                                           replay_topology, replay_sample,  replay_telemetry,
                                           replay_events,   replay_account, replay_accounted};

static int read_file(const char *path, struct dv_str *ret, struct dv_err *err)
{
    char buf[4096];
    FILE *f = fopen(path, "re");
    if (!f)
        return dv_err_set(err, -errno, "cannot read %s: %s", path, strerror(errno));
    for (size_t n; (n = fread(buf, 1, sizeof buf, f)) && ret->len <= DV_MIB;)
        dv_str_addn(ret, buf, n);
    int r = ferror(f) ? dv_err_set(err, -EIO, "cannot read %s", path) : 0;
    fclose(f);
    return ret->failed ? dv_err_set(err, -ENOMEM, "out of memory") : r;
}

int dv_hardware_replay_new(const char *path, struct dv_hardware **ret, struct dv_err *err)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    int r = read_file(path, &text, err);
    if (r < 0)
        return r;
    struct replay *self = calloc(1, sizeof *self);
    if (!self)
        return dv_err_set(err, -ENOMEM, "out of memory");
    r = dv_capture_parse(dv_str_get(&text), &self->capture, err);
    if (r < 0) {
        dv_err_prefix(err, "%s: ", path);
        free(self);
        return r;
    }
    self->hw.ops = &ops;
    *ret = &self->hw;
    return 0;
}
