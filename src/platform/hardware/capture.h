/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A captured node: its facts as text, one record per line, `kind key=value ...`. Made by
 * `divvyd --capture FILE`, read by the replay back end and by people who look into a report.
 *
 *     divvy-capture 1
 *     driver version=550.54.15 cuda=12040 gpus=1
 *     gpu index=0 uuid=GPU-... model="NVIDIA A100-SXM4-40GB" ...
 *     profile gpu=0 name=3g.20gb id=9 ...
 *     mig gpu=0 uuid=MIG-... ...
 *     topology gpu=0 nvlinks_switch=12 cpus=48-63,176-191
 *     peer gpu=0 to=1 pcie=20 nvlinks=0 nvlink_p2p=0
 *     sample gpu=0 memory_used_bytes=...
 *     process gpu=0 pid=4711 memory_bytes=...
 *
 * A key that is missing is unknown. Text in quotes has \" and \\. At most 1 MiB.
 */
#ifndef DV_HARDWARE_CAPTURE_H
#define DV_HARDWARE_CAPTURE_H

#include "base/str.h"
#include "hardware/hardware.h"

struct dv_capture {
    struct dv_facts_driver driver;
    struct dv_facts_gpu gpus[DV_FACTS_GPUS_MAX];
    struct dv_facts_topology topology[DV_FACTS_GPUS_MAX];
    struct dv_facts_sample samples[DV_FACTS_GPUS_MAX];
};

/* Appends the capture's text. */
void dv_capture_print(const struct dv_capture *capture, struct dv_str *ret);
/* -EINVAL with a message that has the line's number; -ENOMEM. The caller frees. */
int dv_capture_parse(const char *text, struct dv_capture **ret, struct dv_err *err);
/* Asks a back end for everything. */
int dv_capture_take(struct dv_hardware *hw, struct dv_capture **ret, struct dv_err *err);
void dv_capture_free(struct dv_capture *capture);

#endif
