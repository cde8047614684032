/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC's own bytes, as pure functions: messages in their five-byte frames, status messages as
 * header text, timeouts. For this room and its tests.
 */
#ifndef DV_GRPC_WIRE_H
#define DV_GRPC_WIRE_H

#include "base/macros.h"
#include "grpc/status.h"

#define DV_GRPC_WIRE_HEAD 5u

/* Takes a stream of bytes apart into messages. All zero is an empty one. */
struct dv_grpc_reader {
    uint8_t head[DV_GRPC_WIRE_HEAD];
    uint32_t head_filled;
    uint8_t *data; /* the message, complete when feed() says so */
    size_t size;   /* what the head promised */
    size_t filled;
    size_t capacity; /* bytes allocated: follows what came, not what was promised */
};

/*
 * Takes bytes up to the end of one message; moves *bytes and *n. 1: a message is complete in
 * `data`, until the next call. 0: all bytes are taken, more are needed. -EMSGSIZE: the message is
 * said to be longer than `max`; -EOPNOTSUPP: it is compressed; -EPROTO: neither 0 nor 1 in the
 * compression flag; -ENOMEM. After an error the reader is of no use.
 */
int dv_grpc_wire_feed(struct dv_grpc_reader *reader, size_t max, const uint8_t **bytes, size_t *n);
/* Whether it is in the middle of a message. */
int dv_grpc_wire_is_partial(const struct dv_grpc_reader *reader);
void dv_grpc_wire_done(struct dv_grpc_reader *reader);

/* Writes the head of a message of this size. */
void dv_grpc_wire_head(size_t size, uint8_t ret[DV_GRPC_WIRE_HEAD]);

/* Of an encoded status message: each byte becomes three at most. */
#define DV_GRPC_WIRE_ESCAPED (3 * DV_GRPC_TEXT_MAX)
/* grpc-message: everything but printable ASCII, and the percent sign, as %XX. Returns its length.
 */
size_t dv_grpc_wire_escape(const char *text, char ret[DV_GRPC_WIRE_ESCAPED]);
/* The way back; what is no %XX stays as it is, what does not fit is cut, control characters become
 * blanks (it goes to a log). */
void dv_grpc_wire_unescape(const char *text, char ret[DV_GRPC_TEXT_MAX]);

/* grpc-timeout ("5S", "1500m", "20u" ...) in ms, rounded up. 0, or -EINVAL. */
int dv_grpc_wire_parse_timeout(const char *text, uint64_t *ret_ms);
/* ms as grpc-timeout; longer than a year is a year. */
void dv_grpc_wire_format_timeout(uint64_t ms, char ret[16]);

#endif
