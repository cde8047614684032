/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/testing/fake_api.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* A port that nobody else is given while the server is away: it is bound here as well, and not
 * listened on. */
static void hold_port(struct fake_api *api)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    int on = 1;
    api->held = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(api->held, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    assert_int_equal(bind(api->held, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(getsockname(api->held, (struct sockaddr *)&a, &size), 0);
    api->port = ntohs(a.sin_port);
}

void fake_api_start(struct fake_api *api)
{
    int in[2], out[2];
    char number[16] = "", line[16] = "";
    if (!*api->dir) {
        snprintf(api->dir, sizeof api->dir, "/tmp/divvy-kube-XXXXXX");
        assert_non_null(mkdtemp(api->dir));
    }
    if (!api->port)
        hold_port(api);
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    snprintf(number, sizeof number, "%u", api->port);
    api->pid = fork();
    if (api->pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        execlp("python3", "python3", FAKE_API, api->dir, number, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    api->in = in[1];
    for (size_t n = 0; n < sizeof line - 1 && !strchr(line, '\n'); n++)
        assert_int_equal(read(out[0], line + n, 1), 1);
    close(out[0]);
    assert_int_equal(strtoul(line, NULL, 10), api->port);
}

void fake_api_stop(struct fake_api *api)
{
    close(api->in);
    kill(api->pid, SIGKILL);
    waitpid(api->pid, NULL, 0);
}

void fake_api_done(struct fake_api *api)
{
    char command[128];
    fake_api_stop(api);
    close(api->held);
    snprintf(command, sizeof command, "rm -r %s", api->dir);
    assert_int_equal(system(command), 0);
}

struct dv_kube_config *fake_api_config(const struct fake_api *api, const char *host, const char *ca,
                                       const char *user)
{
    char text[4096];
    struct dv_kube_config *c = NULL;
    struct dv_err err;
    int n = snprintf(text, sizeof text,
                     "current-context: x\nclusters:\n- name: c\n  cluster:\n"
                     "    server: https://%s:%u\n    certificate-authority: %s\n"
                     "users:\n- name: u\n  user: {%s}\ncontexts:\n- name: x\n"
                     "  context: {cluster: c, user: u}\n",
                     host, api->port, ca, user);
    if (dv_kube_config_parse("test", text, (size_t)n, api->dir, false, &c, &err) < 0)
        fail_msg("%s", err.msg);
    return c;
}
