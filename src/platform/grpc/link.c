/* SPDX-License-Identifier: Apache-2.0 */
#include "grpc/link.h"

#include "sys/fd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

/* What the peer may send before we have read it, per stream and per connection. */
#define WINDOW (1 << 18)
/* Bytes read per turn of the loop, so that one peer does not keep the others waiting. */
#define TURN_MAX 65536u
#define OUT_SIZE 8192u

struct dv_grpc_link {
    struct dv_grpc_link_config config;
    int fd;
    nghttp2_session *session;
    struct dv_loop_source *watch;
    struct dv_grpc_stream *streams;
    bool busy, doomed;
    bool wants_writing;   /* the watch is called when the socket can be written to */
    const uint8_t *chunk; /* of nghttp2: serialized, not yet in `out` */
    size_t chunk_size;
    size_t out_sent, out_size;
    uint8_t out[OUT_SIZE];
};

nghttp2_session *dv_grpc_link_session(struct dv_grpc_link *link)
{
    return link->session;
}

bool dv_grpc_link_has_streams(const struct dv_grpc_link *link)
{
    return link->streams;
}

/* ---- streams ---- */

static struct dv_grpc_stream *find(struct dv_grpc_link *link, int32_t id)
{
    return nghttp2_session_get_stream_user_data(link->session, id);
}

void dv_grpc_link_add(struct dv_grpc_link *link, struct dv_grpc_stream *stream, int32_t id)
{
    stream->link = link;
    stream->id = id;
    DL_APPEND(link->streams, stream);
    dv_grpc_link_wake(link);
}

/* The session knows it no longer, so that nothing that is still to come finds freed memory. */
static void detach(struct dv_grpc_stream *s)
{
    struct dv_grpc_link *link = s->link;
    nghttp2_session_set_stream_user_data(link->session, s->id, NULL);
    dv_grpc_link_release_input(s);
    DL_DELETE(link->streams, s);
    s->link = NULL;
}

static void close_stream(struct dv_grpc_stream *s, uint32_t code)
{
    const struct dv_grpc_link_ops *ops = s->link->config.ops;
    detach(s);
    ops->closed(s, code);
}

static void close_streams(struct dv_grpc_link *link)
{
    while (link->streams)
        close_stream(link->streams, DV_GRPC_LINK_LOST);
}

void dv_grpc_link_release_input(struct dv_grpc_stream *s)
{
    if (s->link)
        *s->link->config.buffered -= s->in.capacity;
    dv_grpc_wire_done(&s->in);
}

void dv_grpc_link_stream_done(struct dv_grpc_stream *s)
{
    dv_grpc_wire_done(&s->in);
    free(s->out.data);
    free(s->newest.data);
    s->out = s->newest = (struct dv_grpc_frame){0};
}

void dv_grpc_link_reset(struct dv_grpc_stream *s, uint32_t code)
{
    struct dv_grpc_link *link = s->link;
    if (!link)
        return;
    nghttp2_submit_rst_stream(link->session, NGHTTP2_FLAG_NONE, s->id, code);
    detach(s);
    dv_grpc_link_wake(link);
}

void dv_grpc_link_forget(struct dv_grpc_stream *s)
{
    if (s->link)
        detach(s);
}

/* ---- sending ---- */

struct dv_grpc_frame dv_grpc_link_frame(const void *message, size_t size)
{
    struct dv_grpc_frame frame = {malloc(DV_GRPC_WIRE_HEAD + size), DV_GRPC_WIRE_HEAD + size};
    if (!frame.data)
        return frame;
    dv_grpc_wire_head(size, frame.data);
    if (size)
        memcpy(frame.data + DV_GRPC_WIRE_HEAD, message, size);
    return frame;
}

static void resume(struct dv_grpc_stream *s)
{
    if (!s->link)
        return;
    /* Fails when it was not waiting, which is as well. */
    nghttp2_session_resume_data(s->link->session, s->id);
    dv_grpc_link_wake(s->link);
}

void dv_grpc_link_send(struct dv_grpc_stream *s, struct dv_grpc_frame frame)
{
    free(s->newest.data);
    s->newest = frame;
    resume(s);
}

void dv_grpc_link_finish(struct dv_grpc_stream *s, bool drop)
{
    if (drop) {
        free(s->newest.data);
        s->newest = (struct dv_grpc_frame){0};
    }
    s->out_last = true;
    resume(s);
}

static ssize_t end_data(struct dv_grpc_link *link, struct dv_grpc_stream *s, uint32_t *flags,
                        size_t n)
{
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (!link->config.ops->submit_trailers)
        return (ssize_t)n;
    *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    return link->config.ops->submit_trailers(s) ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
                                                : (ssize_t)n;
}

/* nghttp2 has room for `length` bytes of this stream's data: it keeps to the peer's windows. */
static ssize_t give_data(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length,
                         uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct dv_grpc_link *link = user;
    struct dv_grpc_stream *s = find(link, id);
    if (!s)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (s->out_sent == s->out.size && s->newest.data) {
        free(s->out.data);
        s->out = s->newest;
        s->newest = (struct dv_grpc_frame){0};
        s->out_sent = 0;
    }
    size_t n = DV_MIN(length, s->out.size - s->out_sent);
    if (n)
        memcpy(buf, s->out.data + s->out_sent, n);
    s->out_sent += n;
    if (s->out_sent < s->out.size || s->newest.data)
        return (ssize_t)n;
    free(s->out.data); /* a stream that waits for its next message holds none */
    s->out = (struct dv_grpc_frame){0};
    s->out_sent = 0;
    if (s->out_last)
        return end_data(link, s, flags, n);
    return n ? (ssize_t)n : NGHTTP2_ERR_DEFERRED;
}

nghttp2_data_provider dv_grpc_link_source(void)
{
    return (nghttp2_data_provider){.read_callback = give_data};
}

static int refill(struct dv_grpc_link *link)
{
    link->out_sent = link->out_size = 0;
    while (link->out_size < OUT_SIZE) {
        if (!link->chunk_size) {
            ssize_t n = nghttp2_session_mem_send(link->session, &link->chunk);
            if (n < 0)
                return n == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO;
            if (!n)
                return 0;
            link->chunk_size = (size_t)n;
        }
        size_t n = DV_MIN(link->chunk_size, OUT_SIZE - link->out_size);
        memcpy(link->out + link->out_size, link->chunk, n);
        link->out_size += n;
        link->chunk += n;
        link->chunk_size -= n;
    }
    return 0;
}

static int want_writing(struct dv_grpc_link *link, bool on)
{
    if (link->wants_writing == on)
        return 0;
    link->wants_writing = on;
    return dv_loop_poll_set(link->watch, DV_LOOP_READABLE | (on ? DV_LOOP_WRITABLE : 0));
}

/* As much as the socket takes: a peer that does not read makes nothing pile up here. */
static int transmit(struct dv_grpc_link *link)
{
    for (;;) {
        int r = link->out_sent == link->out_size ? refill(link) : 0;
        if (r < 0 || link->doomed)
            return r;
        if (!link->out_size)
            return want_writing(link, false);
        ssize_t n = send(link->fd, link->out + link->out_sent, link->out_size - link->out_sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            return want_writing(link, true);
        if (n < 0 && errno != EINTR)
            return dv_fd_errno();
        link->out_sent += n > 0 ? (size_t)n : 0;
    }
}

void dv_grpc_link_wake(struct dv_grpc_link *link)
{
    if (!link->busy && !link->doomed)
        want_writing(link, true);
}

/* ---- receiving ---- */

static int receive(struct dv_grpc_link *link)
{
    uint8_t buf[16384];
    for (size_t total = 0; total < TURN_MAX && !link->doomed;) {
        ssize_t n = recv(link->fd, buf, sizeof buf, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? 0 : dv_fd_errno();
        if (!n)
            return -ECONNRESET;
        total += (size_t)n;
        ssize_t used = nghttp2_session_mem_recv(link->session, buf, (size_t)n);
        if (used < 0)
            return used == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO;
    }
    return 0;
}

static int on_begin(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct dv_grpc_link *link = user;
    if (link->doomed)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct dv_grpc_stream *s = link->config.ops->opened(link->config.owner);
    if (!s)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    dv_grpc_link_add(link, s, frame->hd.stream_id);
    nghttp2_session_set_stream_user_data(session, s->id, s);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *user)
{
    struct dv_grpc_link *link = user;
    struct dv_grpc_stream *s = link->doomed ? NULL : find(link, frame->hd.stream_id);
    if (link->doomed)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (!s)
        return 0;
    /* 32 as in SETTINGS_MAX_HEADER_LIST_SIZE: what an entry costs (RFC 9113, 6.5.2). */
    s->header_bytes += (uint32_t)DV_MIN(name_size + value_size + 32, (size_t)1 << 20);
    if (s->header_bytes > DV_GRPC_LINK_HEADERS_MAX)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (!s->deaf)
        link->config.ops->header(s, (const char *)name, (const char *)value);
    return link->doomed ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static void fail_reading(struct dv_grpc_stream *s, int r)
{
    s->deaf = true;
    dv_grpc_link_release_input(s);
    s->link->config.ops->unreadable(s, r);
}

/* One message, or as far as the bytes go. */
static void feed(struct dv_grpc_link *link, struct dv_grpc_stream *s, const uint8_t **data,
                 size_t *size)
{
    size_t before = s->in.capacity;
    int r = dv_grpc_wire_feed(&s->in, s->in_max, data, size);
    *link->config.buffered += s->in.capacity - before;
    if (r >= 0 && *link->config.buffered > link->config.buffered_max)
        r = -ENOBUFS;
    if (r < 0)
        fail_reading(s, r);
    else if (r)
        link->config.ops->message(s, s->in.data, s->in.size);
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t size, void *user)
{
    struct dv_grpc_link *link = user;
    while (size && !link->doomed) {
        /* Looked up for each message: the callback may have ended the stream. */
        struct dv_grpc_stream *s = find(link, id);
        if (!s || s->deaf)
            return 0;
        feed(link, s, &data, &size);
    }
    return link->doomed ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static void handle_end(struct dv_grpc_link *link, const nghttp2_frame *frame)
{
    struct dv_grpc_stream *s = find(link, frame->hd.stream_id);
    if (s && frame->hd.type == NGHTTP2_HEADERS && !s->deaf)
        link->config.ops->headers_end(s);
    s = link->doomed ? NULL : find(link, frame->hd.stream_id);
    if (!s || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return;
    s->remote_ended = true;
    if (!s->deaf)
        link->config.ops->remote_end(s);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct dv_grpc_link *link = user;
    if (link->doomed)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA)
        handle_end(link, frame);
    else if (frame->hd.type == NGHTTP2_GOAWAY && link->config.ops->draining)
        link->config.ops->draining(link->config.owner, link);
    return link->doomed ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

/* A server that has answered does not want the rest of the question. */
static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct dv_grpc_link *link = user;
    struct dv_grpc_stream *s = find(link, frame->hd.stream_id);
    bool ends = (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
                frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (s && ends && link->config.server && !s->remote_ended)
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_NO_ERROR);
    return 0;
}

/* A request that the session could not even begin, since the peer takes no more. */
static int on_frame_not_sent(nghttp2_session *session, const nghttp2_frame *frame, int error,
                             void *user)
{
    struct dv_grpc_link *link = user;
    struct dv_grpc_stream *s;
    if (link->doomed || frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    DL_FOREACH(link->streams, s)
    {
        if (s->id != frame->hd.stream_id)
            continue;
        close_stream(s, NGHTTP2_REFUSED_STREAM);
        return 0;
    }
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    struct dv_grpc_link *link = user;
    struct dv_grpc_stream *s = link->doomed ? NULL : find(link, id);
    if (s)
        close_stream(s, code);
    return 0;
}

/* ---- its life ---- */

static void bury(struct dv_grpc_link *link)
{
    dv_loop_remove(link->watch);
    nghttp2_session_del(link->session);
    dv_fd_close(&link->fd);
    free(link);
}

void dv_grpc_link_free(struct dv_grpc_link *link)
{
    if (!link)
        return;
    link->doomed = true;
    close_streams(link);
    if (!link->busy)
        bury(link);
}

static void lose(struct dv_grpc_link *link)
{
    link->busy = true;
    close_streams(link);
    if (!link->doomed)
        link->config.ops->gone(link->config.owner, link);
    bury(link);
}

static void on_ready(void *arg, unsigned events)
{
    struct dv_grpc_link *link = arg;
    link->busy = true;
    int r = receive(link);
    if (r >= 0 && !link->doomed)
        r = transmit(link);
    bool over = !nghttp2_session_want_read(link->session) &&
                !nghttp2_session_want_write(link->session) && link->out_sent == link->out_size;
    link->busy = false;
    if (link->doomed)
        bury(link);
    else if (r < 0 || over)
        lose(link);
}

static int make_session(struct dv_grpc_link *link)
{
    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks))
        return -ENOMEM;
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, on_frame_not_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    int r = link->config.server ? nghttp2_session_server_new(&link->session, callbacks, link)
                                : nghttp2_session_client_new(&link->session, callbacks, link);
    nghttp2_session_callbacks_del(callbacks);
    return r ? -ENOMEM : 0;
}

static int submit_settings(nghttp2_session *session)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, DV_GRPC_LINK_STREAMS_MAX},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, DV_GRPC_LINK_HEADERS_MAX},
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
    };
    if (nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, DV_ARRAY_SIZE(settings)) ||
        nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, WINDOW))
        return -ENOMEM;
    return 0;
}

int dv_grpc_link_new(const struct dv_grpc_link_config *config, int fd, struct dv_grpc_link **ret)
{
    struct dv_grpc_link *link = calloc(1, sizeof *link);
    if (!link) {
        close(fd);
        return -ENOMEM;
    }
    link->config = *config;
    link->fd = fd;
    int r = make_session(link);
    if (r >= 0)
        r = submit_settings(link->session);
    if (r >= 0)
        r = dv_loop_poll(config->loop, fd, DV_LOOP_READABLE, on_ready, link, &link->watch);
    if (r < 0) {
        bury(link);
        return r;
    }
    dv_grpc_link_wake(link);
    *ret = link;
    return 0;
}
