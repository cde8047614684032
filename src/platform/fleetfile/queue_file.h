/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `divvy simulate queue` is asked (docs/reference/queue-file.md), YAML or JSON:
 *
 *     apiVersion: divvy/v1
 *     kind: QueueScenario
 *     nodes: [{count: 4, model: A100-80GB, gpus: 8}]
 *     queues:
 *       - {name: research, guarantee: 16, weight: 2}
 *     workloads:
 *       - {name: train, queue: research, count: 3, gpus: 8, members: 2, duration: 2h}
 *
 *     dv_cleanup(dv_queue_scenario_freep) struct dv_queue_scenario *scenario = NULL;
 *     r = dv_queue_file_read("queues.yaml", text, len, &scenario, &err);
 *
 * Unknown keys, queues and profiles are errors with the nearest known one; messages name file,
 * line, column and key.
 */
#ifndef DV_FLEETFILE_QUEUE_FILE_H
#define DV_FLEETFILE_QUEUE_FILE_H

#include "simulate/queue/scenario.h"

#define DV_QUEUE_FILE_MAX 1048576u

/* 0; -EINVAL, -E2BIG with a message; -ENOMEM. */
int dv_queue_file_read(const char *name, const char *text, size_t len,
                       struct dv_queue_scenario **ret, struct dv_err *err);

#endif
