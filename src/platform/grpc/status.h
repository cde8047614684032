/* SPDX-License-Identifier: Apache-2.0 */
/* How a gRPC call ends: a code of the protocol and a message for people. */
#ifndef DV_GRPC_STATUS_H
#define DV_GRPC_STATUS_H

/* The protocol's own numbers (grpc-status). */
enum dv_grpc_code {
    DV_GRPC_OK = 0,
    DV_GRPC_CANCELLED = 1,
    DV_GRPC_UNKNOWN = 2,
    DV_GRPC_INVALID_ARGUMENT = 3,
    DV_GRPC_DEADLINE_EXCEEDED = 4,
    DV_GRPC_NOT_FOUND = 5,
    DV_GRPC_ALREADY_EXISTS = 6,
    DV_GRPC_PERMISSION_DENIED = 7,
    DV_GRPC_RESOURCE_EXHAUSTED = 8,
    DV_GRPC_FAILED_PRECONDITION = 9,
    DV_GRPC_ABORTED = 10,
    DV_GRPC_OUT_OF_RANGE = 11,
    DV_GRPC_UNIMPLEMENTED = 12,
    DV_GRPC_INTERNAL = 13,
    DV_GRPC_UNAVAILABLE = 14,
    DV_GRPC_DATA_LOSS = 15,
    DV_GRPC_UNAUTHENTICATED = 16,
};

/* Of a status message, the zero at its end included; longer ones are cut. */
#define DV_GRPC_TEXT_MAX 480

struct dv_grpc_status {
    enum dv_grpc_code code;
    char text[DV_GRPC_TEXT_MAX]; /* "" when there is nothing to say */
};

/* "UNAVAILABLE"; "UNKNOWN" for a number that the protocol does not know. */
const char *dv_grpc_status_name(enum dv_grpc_code code);

#endif
