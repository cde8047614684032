/* SPDX-License-Identifier: Apache-2.0 */
#include "grpc/status.h"

#include "base/macros.h"

static const char *const names[] = {
    [DV_GRPC_OK] = "OK",
    [DV_GRPC_CANCELLED] = "CANCELLED",
    [DV_GRPC_UNKNOWN] = "UNKNOWN",
    [DV_GRPC_INVALID_ARGUMENT] = "INVALID_ARGUMENT",
    [DV_GRPC_DEADLINE_EXCEEDED] = "DEADLINE_EXCEEDED",
    [DV_GRPC_NOT_FOUND] = "NOT_FOUND",
    [DV_GRPC_ALREADY_EXISTS] = "ALREADY_EXISTS",
    [DV_GRPC_PERMISSION_DENIED] = "PERMISSION_DENIED",
    [DV_GRPC_RESOURCE_EXHAUSTED] = "RESOURCE_EXHAUSTED",
    [DV_GRPC_FAILED_PRECONDITION] = "FAILED_PRECONDITION",
    [DV_GRPC_ABORTED] = "ABORTED",
    [DV_GRPC_OUT_OF_RANGE] = "OUT_OF_RANGE",
    [DV_GRPC_UNIMPLEMENTED] = "UNIMPLEMENTED",
    [DV_GRPC_INTERNAL] = "INTERNAL",
    [DV_GRPC_UNAVAILABLE] = "UNAVAILABLE",
    [DV_GRPC_DATA_LOSS] = "DATA_LOSS",
    [DV_GRPC_UNAUTHENTICATED] = "UNAUTHENTICATED",
};

const char *dv_grpc_status_name(enum dv_grpc_code code)
{
    return (unsigned)code < DV_ARRAY_SIZE(names) ? names[code] : "UNKNOWN";
}
