/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nvidia-cuda-mps-control for simulated GPUs: own code, on the PATH only inside a simulated
 * environment. With -d or -f it is the daemon; else it takes commands from its standard input to
 * the daemon of CUDA_MPS_PIPE_DIRECTORY. Options, commands and what is printed follow NVIDIA's
 * documentation of MPS and its man page (driver 580).
 */
#include "mps/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const char *directory(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

/* Where protocol 3 has its sockets when nobody says so. */
static const char *pipes_of(uint32_t protocol)
{
    return directory(DV_MPS_PIPE_ENV,
                     protocol == 3 && geteuid() == 0 ? DV_MPS_PIPE_V3 : DV_MPS_PIPE_DEFAULT);
}

static int usage(FILE *to, int status)
{
    fprintf(to,
            "nvidia-cuda-mps-control [-d | -f] [-M]: a stand-in for simulated GPUs (divvy %s)\n\n"
            "    -d                        Start the daemon in the background.\n"
            "    -f                        Start the daemon in the foreground.\n"
            "    -M, -multiuser-server     One server for all users.\n"
            "    -p, --protocol <2|3>      3: named servers and namespaces (driver 615 on).\n"
            "    -q, --quit                End the daemon and its servers.\n"
            "    -S, --static-partitioning Clients run in static SM partitions (driver 590 on).\n"
            "    -v                        Print the version.\n"
            "    -h                        Print this.\n\n"
            "Without -d and -f, commands are read from standard input; 'help' lists them.\n",
            DV_VERSION);
    return status;
}

/* ---- the daemon ---- */

/* The path from the root: a daemon leaves the directory that it was started in. NULL: no memory, or
 * that directory is gone. */
static char *absolute(const char *path)
{
    char *here = path[0] == '/' ? NULL : getcwd(NULL, 0);
    char *joined = NULL;

    if (path[0] == '/')
        return strdup(path);
    if (here && asprintf(&joined, "%s/%s", here, path) < 0)
        joined = NULL;
    free(here);
    return joined;
}

/* Directories, and the node's socket for the servers. */
static bool make_absolute(struct dv_mpsd_options *o)
{
    const char *socket_path = getenv(DV_SIM_SOCKET_ENV);
    char *node;
    int r;

    o->pipes = absolute(o->pipes);
    o->logs = absolute(o->logs);
    if (!o->pipes || !o->logs)
        return false;
    if (!socket_path || !*socket_path)
        return true;
    node = absolute(socket_path);
    r = node ? setenv(DV_SIM_SOCKET_ENV, node, 1) : -1;
    free(node);
    return r == 0;
}

static int run(const struct dv_mpsd_options *o, int report)
{
    struct dv_mpsd *d;
    struct dv_err err = {0};
    int r = dv_mpsd_new(o, &d, &err);

    if (r < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    if (report >= 0) {
        if (write(report, "", 1) < 0)
            fprintf(stderr, "nvidia-cuda-mps-control: who started it is gone\n");
        close(report);
        fflush(NULL);
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        for (int fd = 0; null >= 0 && fd < 3; fd++)
            dup2(null, fd);
        close(null);
    }
    r = dv_mpsd_run(d);
    dv_mpsd_free(d);
    return r < 0;
}

/* Returns when the daemon listens, or cannot. */
static int run_in_background(const struct dv_mpsd_options *o)
{
    int up[2];
    char byte;
    pid_t pid;

    if (pipe2(up, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
        fprintf(stderr, "nvidia-cuda-mps-control: %s\n", strerror(errno));
        return 1;
    }
    if (pid > 0) {
        close(up[1]);
        return read(up[0], &byte, 1) == 1 ? 0 : 1;
    }
    close(up[0]);
    setsid();
    if (chdir("/") < 0)
        return 1;
    return run(o, up[1]);
}

/* ---- commands ---- */

static int connect_at(const char *pipes)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int n = snprintf(a.sun_path, sizeof(a.sun_path), "%s/control", pipes);
    int fd = -1;

    if ((size_t)n < sizeof(a.sun_path))
        fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Of either protocol: whoever asks follows the daemon's. */
static int connect_daemon(void)
{
    int fd = connect_at(pipes_of(2));

    if (fd < 0)
        fd = connect_at(pipes_of(3));
    if (fd < 0)
        fprintf(stderr, "Cannot find MPS control daemon process\n");
    return fd;
}

/* Prints the answer. Its status, or -1: the daemon is gone. */
static int ask(int fd, const char *line)
{
    static char text[DV_MPS_TEXT_MAX + 1];
    struct dv_mps_message m = {
        .magic = DV_MPS_MAGIC, .kind = DV_MPS_COMMAND, .size = (uint32_t)strlen(line)};
    struct iovec iov[2] = {{&m, sizeof(m)}, {(void *)(uintptr_t)line, m.size}};
    struct msghdr h = {.msg_iov = iov, .msg_iovlen = m.size ? 2 : 1};
    ssize_t n;

    if (sendmsg(fd, &h, MSG_NOSIGNAL) < 0)
        return -1;
    iov[1] = (struct iovec){text, DV_MPS_TEXT_MAX};
    h.msg_iovlen = 2;
    do {
        n = recvmsg(fd, &h, 0);
    } while (n < 0 && errno == EINTR);
    if (n < (ssize_t)sizeof(m) || m.magic != DV_MPS_MAGIC)
        return -1;
    text[n - (ssize_t)sizeof(m)] = '\0';
    fputs(text, stdout);
    fflush(stdout);
    return m.status;
}

/* What a command from standard input comes to is in what it prints; the exit status says only
 * whether there was a daemon. */
static int take_commands(void)
{
    char line[DV_MPSCOMMAND_LINE_MAX];
    int fd = connect_daemon(), r = 0;

    if (fd < 0)
        return 1;
    while (r >= 0 && fgets(line, sizeof(line), stdin)) {
        size_t n = strcspn(line, "\n");

        if (!line[n] && n == sizeof(line) - 1) {
            fprintf(stderr, "a command has at most %zu bytes\n", sizeof(line) - 2);
            close(fd);
            return 1;
        }
        line[n] = '\0';
        r = ask(fd, line);
        if (strncmp(line + strspn(line, " \t"), "quit", 4) == 0)
            break;
    }
    close(fd);
    if (r < 0)
        fprintf(stderr, "The MPS control daemon is gone\n");
    return r < 0;
}

/* One command from the command line, as protocol 3 has it: its status is the exit status. */
static int take_words(char **words, int n)
{
    dv_cleanup(dv_str_done) struct dv_str line = {0};
    int fd, r;

    for (int i = 0; i < n; i++)
        dv_str_addf(&line, "%s%s", i ? " " : "", words[i]);
    if (line.failed || line.len >= DV_MPSCOMMAND_LINE_MAX) {
        fprintf(stderr, "a command has at most %u bytes\n", DV_MPSCOMMAND_LINE_MAX - 1);
        return 1;
    }
    fd = connect_daemon();
    if (fd < 0)
        return 1;
    r = ask(fd, dv_str_get(&line));
    close(fd);
    if (r < 0)
        fprintf(stderr, "The MPS control daemon is gone\n");
    return r != 0;
}

static bool is(const char *word, const char *brief, const char *full)
{
    return !strcmp(word, brief) || !strcmp(word, full);
}

struct asked {
    struct dv_mpsd_options daemon;
    bool background, quit, help, version;
    int words; /* where a command begins in argv; 0 = none */
};

/* False: an option that there is not. */
static bool parse(int argc, char **argv, struct asked *ret)
{
    for (int i = 1; i < argc && !ret->words; i++) {
        const char *word = argv[i];

        if (is(word, "-d", "--daemon"))
            ret->background = true;
        else if (is(word, "-f", "--foreground"))
            ret->daemon.foreground = true;
        else if (is(word, "-M", "-multiuser-server") || is(word, "-m", "--multiuser"))
            ret->daemon.multiuser = true;
        else if (is(word, "-S", "--static-partitioning"))
            ret->daemon.partitions = true;
        else if (is(word, "-h", "--help"))
            ret->help = true;
        else if (is(word, "-v", "--version"))
            ret->version = true;
        else if (is(word, "-q", "--quit"))
            ret->quit = true;
        else if (is(word, "-p", "--protocol") && i + 1 < argc &&
                 (!strcmp(argv[i + 1], "2") || !strcmp(argv[i + 1], "3")))
            ret->daemon.protocol = (uint32_t)(argv[++i][0] - '0');
        else if (word[0] != '-')
            ret->words = i;
        else
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    static struct asked asked = {.daemon = {.protocol = 2}};
    const char *protocol = getenv("CUDA_MPS_PROTOCOL_VERSION");
    char quit[] = "quit", *quit_words[] = {quit};

    if (!parse(argc, argv, &asked))
        return usage(stderr, 1);
    if (protocol && (!strcmp(protocol, "2") || !strcmp(protocol, "3")))
        asked.daemon.protocol = (uint32_t)(protocol[0] - '0');
    asked.daemon.pipes = pipes_of(asked.daemon.protocol);
    asked.daemon.logs = directory(DV_MPS_LOG_ENV, DV_MPS_LOG_DEFAULT);
    if (asked.help)
        return usage(stdout, 0);
    if (asked.version)
        return printf("CUDA MPS Control of divvy %s, for simulated GPUs\n", DV_VERSION) < 0;
    if ((asked.daemon.foreground || asked.background) && !make_absolute(&asked.daemon)) {
        fprintf(stderr, "nvidia-cuda-mps-control: the working directory is gone\n");
        return 1;
    }
    if (asked.daemon.foreground)
        return run(&asked.daemon, -1);
    if (asked.background)
        return run_in_background(&asked.daemon);
    if (asked.quit)
        return take_words(quit_words, 1);
    return asked.words ? take_words(argv + asked.words, argc - asked.words) : take_commands();
}
