/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP/2 connection on a Unix socket with gRPC streams on it: nghttp2's session, the socket,
 * the framing. Server and client of this room are made of it; it is nobody else's.
 *
 * Whoever submits something (a message, a reset) only notes it: bytes are sent and received, and
 * callbacks made, from the loop alone. So no callback comes out of a call into this file but
 * `closed`, out of dv_grpc_link_free().
 */
#ifndef DV_GRPC_LINK_H
#define DV_GRPC_LINK_H

#include "grpc/wire.h"
#include "sys/loop.h"

#include <nghttp2/nghttp2.h>
#include <stdbool.h>

/* Names and values of one stream's headers. */
#define DV_GRPC_LINK_HEADERS_MAX 16384u
#define DV_GRPC_LINK_STREAMS_MAX 64u
/* Why a stream closed, where HTTP/2 has no number for it: the connection did. */
#define DV_GRPC_LINK_LOST UINT32_MAX

struct dv_grpc_link;

/* A frame ready to be sent. */
struct dv_grpc_frame {
    uint8_t *data; /* NULL: none */
    size_t size;
};

/* The first member of the owner's own struct, whose memory is the owner's. */
struct dv_grpc_stream {
    struct dv_grpc_link *link; /* NULL: not open, or closed */
    struct dv_grpc_stream *prev, *next;
    int32_t id;
    struct dv_grpc_reader in;
    size_t in_max;
    uint32_t header_bytes;
    bool remote_ended, deaf; /* deaf: what comes is dropped */
    struct dv_grpc_frame out, newest;
    size_t out_sent;
    bool out_last; /* the stream ends when these are sent */
};

struct dv_grpc_link_ops {
    /* Server: a request begins; NULL refuses it. */
    struct dv_grpc_stream *(*opened)(void *owner);
    void (*header)(struct dv_grpc_stream *stream, const char *name, const char *value);
    void (*headers_end)(struct dv_grpc_stream *stream);
    /* A loan until the stream's next message, the end of the stream, or release_input(). */
    void (*message)(struct dv_grpc_stream *stream, const uint8_t *data, size_t size);
    /* No message can be read from here on: what dv_grpc_wire_feed() says, or -ENOBUFS. */
    void (*unreadable)(struct dv_grpc_stream *stream, int r);
    /* The peer sends nothing more. */
    void (*remote_end)(struct dv_grpc_stream *stream);
    /* The trailers with which a server ends a stream; NULL for a client. 0 or nghttp2's error. */
    int (*submit_trailers)(struct dv_grpc_stream *stream);
    /* The stream is out of the link and the memory is the owner's again; with HTTP/2's reason, or
     * DV_GRPC_LINK_LOST. */
    void (*closed)(struct dv_grpc_stream *stream, uint32_t http2_code);
    /* Client: the server takes no new streams (GOAWAY). */
    void (*draining)(void *owner, struct dv_grpc_link *link);
    /* The connection is lost; its streams were closed before, the link is freed after. */
    void (*gone)(void *owner, struct dv_grpc_link *link);
};

struct dv_grpc_link_config {
    struct dv_loop *loop;
    const struct dv_grpc_link_ops *ops;
    void *owner;
    size_t *buffered; /* bytes of half-received messages, over all links that share this count */
    size_t buffered_max;
    bool server;
};

/* Takes fd, on failure too. 0 or negative errno. */
int dv_grpc_link_new(const struct dv_grpc_link_config *config, int fd, struct dv_grpc_link **ret);
/* From within its own callbacks, too. Streams are closed, `gone` is not called. Accepts NULL. */
void dv_grpc_link_free(struct dv_grpc_link *link);
nghttp2_session *dv_grpc_link_session(struct dv_grpc_link *link);
bool dv_grpc_link_has_streams(const struct dv_grpc_link *link);

/* To be sent with the loop's next turn; for whoever submitted to the session. */
void dv_grpc_link_wake(struct dv_grpc_link *link);
/* Puts a stream that the client has just submitted into the link. */
void dv_grpc_link_add(struct dv_grpc_link *link, struct dv_grpc_stream *stream, int32_t id);
/* For the submit functions of nghttp2. */
nghttp2_data_provider dv_grpc_link_source(void);

/* A message in its frame, from malloc; data NULL: out of memory. */
struct dv_grpc_frame dv_grpc_link_frame(const void *message, size_t size);
/* Takes the frame; one that waits still unsent is replaced by it. */
void dv_grpc_link_send(struct dv_grpc_stream *stream, struct dv_grpc_frame frame);
/* Nothing more comes from our side; `drop` what waits unsent. */
void dv_grpc_link_finish(struct dv_grpc_stream *stream, bool drop);
/* Ends it with RST_STREAM and takes it out of the link; no callback. */
void dv_grpc_link_reset(struct dv_grpc_stream *stream, uint32_t http2_code);
/* Takes a stream that the peer has ended out of the link; no callback. */
void dv_grpc_link_forget(struct dv_grpc_stream *stream);
void dv_grpc_link_release_input(struct dv_grpc_stream *stream);
/* Frees what a stream holds that is out of its link. */
void dv_grpc_link_stream_done(struct dv_grpc_stream *stream);

#endif
