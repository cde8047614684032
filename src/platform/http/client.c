/* SPDX-License-Identifier: Apache-2.0 */
#include "http/client.h"

#include "base/str.h"
#include "sys/proc.h"

#include <curl/curl.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_MAX (64u << 20)
#define CONNECT_TIMEOUT_MS 5000L
#define SYSTEM_SOCKET "/run/divvy/divvyd.sock"

struct dv_http_client {
    CURL *curl;
    char socket[sizeof(((struct sockaddr_un *)0)->sun_path)];
    const volatile int *stop;
    struct dv_str answer;
    bool too_large;
};

/* ---- JSON to a tree ------------------------------------------------------------------------- */

static bool convert(struct json_object *from, struct dv_output_node *parent, const char *key);

static bool convert_object(struct json_object *from, struct dv_output_node *to)
{
    json_object_object_foreach(from, key, value)
    {
        if (!convert(value, to, key))
            return false;
    }
    return to != NULL;
}

static bool convert_array(struct json_object *from, struct dv_output_node *to)
{
    size_t n = json_object_array_length(from);
    for (size_t i = 0; i < n; i++)
        if (!convert(json_object_array_get_idx(from, i), to, NULL))
            return false;
    return to != NULL;
}

static bool convert(struct json_object *from, struct dv_output_node *parent, const char *key)
{
    switch (json_object_get_type(from)) {
    case json_type_null:
        dv_output_null(parent, key);
        return true;
    case json_type_boolean:
        dv_output_bool(parent, key, json_object_get_boolean(from));
        return true;
    case json_type_int:
    case json_type_double: /* json-c keeps a double's own digits */
        dv_output_number(parent, key, json_object_to_json_string(from));
        return true;
    case json_type_string:
        if (strlen(json_object_get_string(from)) != (size_t)json_object_get_string_len(from))
            return false; /* a NUL inside */
        dv_output_string(parent, key, json_object_get_string(from));
        return true;
    case json_type_array:
        return convert_array(from, dv_output_array(parent, key));
    case json_type_object:
        return convert_object(from, dv_output_object(parent, key));
    }
    return false;
}

int dv_http_client_parse(const char *text, size_t len, struct dv_output **ret, struct dv_err *err)
{
    struct json_tokener *tokener = json_tokener_new_ex(DV_OUTPUT_DEPTH_MAX - 1);
    if (!tokener || len > ANSWER_MAX) {
        json_tokener_free(tokener);
        return dv_err_set(err, -ENOMEM, "out of memory");
    }
    struct json_object *json = json_tokener_parse_ex(tokener, text, (int)len);
    enum json_tokener_error problem = json_tokener_get_error(tokener);
    json_tokener_free(tokener);
    struct dv_output *o = NULL;
    int r = 0;
    if (problem != json_tokener_success || !json_object_is_type(json, json_type_object))
        r = dv_err_set(err, -EPROTO, "not a JSON object: %s", json_tokener_error_desc(problem));
    else if (!(o = dv_output_new(NULL)))
        r = dv_err_set(err, -ENOMEM, "out of memory");
    else if (!convert_object(json, dv_output_root(o)) || dv_output_failed(o))
        r = dv_err_set(err, -EPROTO, "a JSON object that cannot be kept");
    json_object_put(json);
    if (r < 0)
        dv_output_free(&o);
    else
        *ret = o;
    return r;
}

/* ---- the client ----------------------------------------------------------------------------- */

/* Where the daemon listens by default: api.md. A user without a daemon of their own asks the
 * system's. */
static int default_socket(char *ret, size_t size)
{
    const char *named = getenv("DIVVY_SOCKET");
    if (named && *named)
        return dv_str_copy(ret, size, named);
    struct stat st; /* in /tmp somebody else could have put one there */
    if (dv_proc_default_socket(ret, size) == 0 && stat(ret, &st) == 0 && st.st_uid == geteuid())
        return 0;
    return dv_str_copy(ret, size, SYSTEM_SOCKET);
}

static size_t on_data(char *data, size_t size, size_t n, void *arg)
{
    struct dv_http_client *client = arg;
    if (client->answer.len + size * n > ANSWER_MAX) {
        client->too_large = true;
        return 0;
    }
    dv_str_addn(&client->answer, data, size * n);
    return client->answer.failed ? 0 : size * n;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct dv_http_client *client = arg;
    return client->stop && *client->stop;
}

int dv_http_client_new(const char *socket, struct dv_http_client **ret, struct dv_err *err)
{
    struct dv_http_client *client = calloc(1, sizeof *client);
    if (!client)
        return dv_err_set(err, -ENOMEM, "out of memory");
    int r = socket ? dv_str_copy(client->socket, sizeof client->socket, socket)
                   : default_socket(client->socket, sizeof client->socket);
    if (r < 0) {
        free(client);
        return dv_err_set(err, -EINVAL, "the socket's path is longer than %zu bytes: %.60s...",
                          sizeof client->socket - 1, socket ? socket : getenv("DIVVY_SOCKET"));
    }
    client->curl = curl_easy_init();
    if (!client->curl) {
        free(client);
        return dv_err_set(err, -ENOMEM, "out of memory");
    }
    *ret = client;
    return 0;
}

void dv_http_client_free(struct dv_http_client **client)
{
    if (!client || !*client)
        return;
    curl_easy_cleanup((*client)->curl);
    dv_str_done(&(*client)->answer);
    free(*client);
    *client = NULL;
}

const char *dv_http_client_socket(const struct dv_http_client *client)
{
    return client->socket;
}

void dv_http_client_stop_at(struct dv_http_client *client, const volatile int *stop)
{
    client->stop = stop;
}

static int explain(const struct dv_http_client *client, CURLcode code, struct dv_err *err)
{
    long number = 0;
    curl_easy_getinfo(client->curl, CURLINFO_OS_ERRNO, &number);
    const char *socket = client->socket;
    /* curl does not keep the errno of a Unix socket's connect everywhere: ask the file. */
    if (code == CURLE_COULDNT_CONNECT && access(socket, F_OK) != 0)
        number = errno;
    else if (code == CURLE_COULDNT_CONNECT && access(socket, R_OK | W_OK) != 0)
        number = errno;
    if (code == CURLE_COULDNT_CONNECT && number == EACCES)
        return dv_err_set(err, -EACCES,
                          "no permission for the socket %s; ask for the group that it belongs to, "
                          "or be root",
                          socket);
    if (code == CURLE_COULDNT_CONNECT)
        return dv_err_set(err, -ECONNREFUSED,
                          "divvyd does not answer at %s (%s); is it running? 'divvy doctor' looks "
                          "closer",
                          socket, number ? strerror((int)number) : "connection refused");
    if (code == CURLE_OPERATION_TIMEDOUT)
        return dv_err_set(err, -ETIMEDOUT, "divvyd at %s did not answer in time", socket);
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return dv_err_set(err, -EINTR, "interrupted");
    if (client->too_large)
        return dv_err_set(err, -EPROTO, "the answer of %s is larger than %u MiB", socket,
                          ANSWER_MAX >> 20);
    return dv_err_set(err, -EIO, "asking divvyd at %s: %s", socket, curl_easy_strerror(code));
}

static CURLcode perform(struct dv_http_client *client, const char *method, const char *path,
                        const char *body, unsigned timeout_ms, struct curl_slist *headers)
{
    CURL *curl = client->curl;
    dv_cleanup(dv_str_done) struct dv_str url = {0};
    dv_str_addf(&url, "http://divvy%s", path);
    if (url.failed)
        return CURLE_OUT_OF_MEMORY;
    curl_easy_reset(curl); /* keeps the connection */
    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, client->socket);
    curl_easy_setopt(curl, CURLOPT_URL, dv_str_get(&url));
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, client);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, client);
    if (body)
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    return curl_easy_perform(curl);
}

int dv_http_client_call(struct dv_http_client *client, const char *method, const char *path,
                        const char *body, unsigned timeout_ms, struct dv_http_reply *ret,
                        struct dv_err *err)
{
    dv_str_clear(&client->answer);
    client->too_large = false;
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    /* curl would ask first whether a large body is welcome, and wait for an answer. */
    struct curl_slist *both = headers ? curl_slist_append(headers, "Expect:") : NULL;
    CURLcode code =
        both ? perform(client, method, path, body, timeout_ms, both) : CURLE_OUT_OF_MEMORY;
    curl_slist_free_all(headers);
    if (code != CURLE_OK)
        return explain(client, code, err);
    long status = 0;
    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
    struct dv_http_reply reply = {.status = (unsigned)status};
    int r = dv_http_client_parse(dv_str_get(&client->answer), client->answer.len, &reply.body, err);
    if (r < 0) {
        dv_err_prefix(err, "what answers at %s is not divvyd: ", client->socket);
        return r;
    }
    *ret = reply;
    return 0;
}

void dv_http_reply_done(struct dv_http_reply *reply)
{
    if (reply)
        dv_output_free(&reply->body);
}

void dv_http_client_escape(const char *text, struct dv_str *ret)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     c == '-' || c == '_' || c == '.' || c == '~';
        if (plain)
            dv_str_addc(ret, (char)c);
        else
            dv_str_addf(ret, "%%%02X", c);
    }
}
