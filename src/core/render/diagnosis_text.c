/* SPDX-License-Identifier: Apache-2.0 */
#include "render/diagnosis_text.h"

#include "base/units.h"
#include "base/zone.h"
#include "policy/xid.h"

#include <inttypes.h>
#include <string.h>

/* In braces: an operand of the finding; {meaning} and {advice} are those of the XID {n}. */
static const struct words {
    const char *subject, *problem, *cause, *remedy, *command; /* NULL: none */
} words[DV_TROUBLE_COUNT] = {
    [DV_TROUBLE_DAEMON_CLOSED] = {"divvyd", "{detail}",
                                  "the socket's owner and mode do not let this user in",
                                  "join the group of the socket, or ask as root"},
    [DV_TROUBLE_DAEMON_NOT_STARTED] =
        {"divvyd", "{detail}", "there is no socket: no daemon was started with it",
         "start it; or, without a GPU: divvyd --sim dgx-a100; or name another socket with --socket",
         "systemctl start divvyd"},
    [DV_TROUBLE_DAEMON_DIED] =
        {"divvyd", "{detail}", "the socket is there but nobody listens: the daemon has died",
         "'systemctl status divvyd' tells why; start it again: slices and running work are taken "
         "over",
         "systemctl restart divvyd"},
    [DV_TROUBLE_DAEMON_STRANGE] =
        {"divvyd", "{detail}",
         "something answers there that does not speak divvyd's API, or too slowly",
         "check --socket and $DIVVY_SOCKET"},
    [DV_TROUBLE_DAEMON_REFUSES] = {"divvyd", "{detail}"},
    [DV_TROUBLE_NOT_INSTALLED] = {"governor", "{detail} is missing",
                                  "divvy is not installed completely",
                                  "install it again, or set DIVVY_LIBDIR to its lib/divvy"},
    [DV_TROUBLE_NO_DEVICE_NODE] =
        {"driver", "there is no /dev/nvidiactl", "no NVIDIA driver is loaded on this machine",
         "fine with a simulated node (divvyd --sim); else install and load NVIDIA's driver"},
    [DV_TROUBLE_DEVICE_NODE_CLOSED] =
        {"driver", "no permission for /dev/nvidiactl", "{detail}",
         "processes of this user cannot use the GPUs; check the device's group"},
    [DV_TROUBLE_MPS_STALE] =
        {"mps", "{detail} is what is left of an MPS control daemon that has ended",
         "CUDA programs that find the folder want to be clients of that daemon, and fail or hang",
         "remove it, or start the daemon again; divvy's own are elsewhere (STATE/mps)",
         "rm -r \"$(printenv CUDA_MPS_PIPE_DIRECTORY || echo /tmp/nvidia-mps)\""},

    [DV_TROUBLE_KEEPER_GONE] =
        {"daemon", "the process that starts divvyd's workers is gone",
         "somebody killed it; leases go on, but the hardware is no longer watched",
         "restart divvyd: slices and running work stay", "systemctl restart divvyd"},
    [DV_TROUBLE_DRIVER_MISSING] =
        {"driver", "no NVIDIA driver answers", "{detail}",
         "install the driver; divvyd looks again by itself. To try divvy without a GPU: divvyd "
         "--sim a100"},
    [DV_TROUBLE_DRIVER_NOT_LOADED] =
        {"driver", "the driver's kernel module is not loaded", "{detail}",
         "load it; divvyd looks again by itself. Where that fails, the kernel's log (dmesg) says "
         "why: often a new kernel for which the module was not built",
         "modprobe nvidia"},
    [DV_TROUBLE_DRIVER_MISMATCH] =
        {"driver", "the driver's library and its kernel module are of different versions",
         "the driver was updated while the old module stayed loaded: {detail}",
         "end what uses the GPUs and load the module that is installed; a reboot does it too",
         "modprobe -r nvidia_uvm nvidia_drm nvidia_modeset nvidia && modprobe nvidia"},
    [DV_TROUBLE_DRIVER_WEDGED] =
        {"driver", "the driver does not answer in time", "{detail}",
         "look at the kernel's log (dmesg) for NVRM and Xid lines; divvyd goes on with a new "
         "worker as soon as the driver answers. Running work is not touched"},
    [DV_TROUBLE_DRIVER_FAILED] = {"driver", "the driver answers with errors", "{detail}",
                                  "see what nvidia-smi says, and the kernel's log (dmesg)"},
    [DV_TROUBLE_LIBCUDA_MISSING] =
        {"driver", "the driver's libcuda.so.1 was not found",
         "it lies neither on the loader's path nor where drivers are installed; no program can "
         "use CUDA inside a slice",
         "install it (Debian: libcuda1), or start divvyd with DIVVY_LIBCUDA=PATH",
         "apt-get install libcuda1"},

    [DV_TROUBLE_GPU_LOST] =
        {"gpu {gpu}", "the GPU ({detail}) does not answer: it fell off the bus, or needs a reset",
         "power, heat, a cable or seat, or the card itself; the kernel's log (dmesg) has the XID",
         "what ran on it is lost, and nothing new is placed on it. Reset it; where the reset "
         "fails, switch the machine off and on",
         "nvidia-smi --gpu-reset -i {gpu}"},
    [DV_TROUBLE_GPU_MISSING] =
        {"gpu {device}", "the driver has not counted it {since}; it was GPU {gpu}: {detail}",
         "it fell off the bus before the driver was loaded last, or was taken out, unbound or "
         "drained; where another has its index now, that one is well",
         "see whether 'lspci' lists its address, and the kernel's log (dmesg); switch the machine "
         "off and on, and look at power, heat and the card's seat. It leaves this list when the "
         "driver counts it again or another card is in its place; if it is gone for good: divvy "
         "forget {device}"},
    [DV_TROUBLE_XID_FATAL] =
        {"gpu {gpu}", "XID {n}: {meaning}", "the hardware or the driver's firmware failed",
         "nothing new is placed on it. {advice}. divvyd forgets the error when it is restarted",
         "nvidia-smi --gpu-reset -i {gpu} && systemctl restart divvyd"},
    [DV_TROUBLE_XID_CONTAINED] =
        {"gpu {gpu}", "XID {n}: {meaning}",
         "the hardware failed in a place that the driver could fence off; the GPU works on",
         "{advice}", "nvidia-smi --gpu-reset -i {gpu}"},
    [DV_TROUBLE_XID_APPLICATION] = {"gpu {gpu}", "XID {n}: {meaning}",
                                    "a program's fault, nearly always; the GPU is well",
                                    "{advice}"},
    [DV_TROUBLE_XID_OTHER] = {"gpu {gpu}", "XID {n}: {meaning}",
                              "the driver reported an error that divvy has no words for",
                              "see NVIDIA's XID catalogue for this number: "
                              "https://docs.nvidia.com/deploy/xid-errors"},
    [DV_TROUBLE_XID_CLEANUP] =
        {"gpu {gpu}", "XID {n}: {meaning}",
         "it follows when work is ended, or after another error; the GPU is well", "{advice}"},
    [DV_TROUBLE_ROWS_FAILED] =
        {"gpu {gpu}", "the memory has bad rows that could not be replaced",
         "its spare rows are used up, or the replacing failed",
         "move what runs there elsewhere and have the card replaced; 'nvidia-smi -q -d "
         "ROW_REMAPPER' has the counts"},
    [DV_TROUBLE_ROWS_PENDING] =
        {"gpu {gpu}", "bad rows of memory wait to be replaced",
         "errors that could not be corrected were found there; a reset puts spare rows in their "
         "place",
         "drain the GPU when that suits, and reset it", "nvidia-smi --gpu-reset -i {gpu}"},
    [DV_TROUBLE_LINKS_DOWN] =
        {"gpu {gpu}", "{n} of its NVLinks went down",
         "a cable, a switch or the GPU at the other end; the driver may have taken them out of use",
         "work over several GPUs is slower, or fails; 'nvidia-smi nvlink -s' lists the links, and "
         "a "
         "reset of the GPUs may bring them up"},
    [DV_TROUBLE_HELD_OUT] =
        {"gpu {gpu}", "nothing new is placed on it for another {n} s", "{detail}",
         "nothing: it comes back by itself when the driver answers for it after that time. Each "
         "fault that follows within an hour doubles the time, up to an hour"},
    [DV_TROUBLE_PROHIBITED] = {"gpu {gpu}",
                               "the compute mode is PROHIBITED: no program can use the GPU",
                               "somebody set it (nvidia-smi -c)", "set it back",
                               "nvidia-smi -i {gpu} -c DEFAULT"},
    [DV_TROUBLE_ONE_PROCESS] =
        {"gpu {gpu}", "the compute mode is EXCLUSIVE_PROCESS: a second program is refused",
         "somebody set it (nvidia-smi -c), as guides to MPS advise, and no MPS daemon runs here",
         "set it back, or give the GPU to one tenant or to MPS by a layout (mode: exclusive, mps)",
         "nvidia-smi -i {gpu} -c DEFAULT"},
    [DV_TROUBLE_MIG_PENDING] =
        {"gpu {gpu}", "a change of MIG mode has waited {since} for a reset of the GPU",
         "the mode was changed while something used the GPU, or where it takes a reset or reboot",
         "end what uses the GPU ({users}), then reset it", "nvidia-smi --gpu-reset -i {gpu}"},
    [DV_TROUBLE_MIG_EMPTY] =
        {"gpu {gpu}", "MIG mode is on, but there are no instances: nothing can run on the GPU",
         "MIG mode alone makes none; they also go with every reset and reboot",
         "make one of the whole GPU as below; or as a layout says ('divvy layout apply FILE'), "
         "which lasts; or switch the mode off (nvidia-smi -i {gpu} -mig 0)",
         "nvidia-smi mig -i {gpu} -cgi 0 -C"},
    [DV_TROUBLE_GI_EMPTY] = {"gpu {gpu}",
                             "GPU instance {n} has no compute instance: nothing can run in it",
                             "it was made without one (nvidia-smi mig -cgi without -C)",
                             "make one that takes it whole",
                             "nvidia-smi mig -i {gpu} -gi {n} -cci"},
    [DV_TROUBLE_MEMORY_GHOST] =
        {"gpu {gpu}", "{bytes} of memory are in use, but no process is listed",
         "a process that the driver does not show to us (another container or virtual machine), "
         "or one that ended and left it",
         "'fuser -v /dev/nvidia*' lists who has the GPUs open: end them; if nobody has, reset the "
         "GPU",
         "nvidia-smi --gpu-reset -i {gpu}"},
    [DV_TROUBLE_PERSISTENCE_OFF] =
        {"gpu {gpu}", "persistence mode is off",
         "the driver lets go of an idle GPU: the next program waits for it, and settings that "
         "were made are lost",
         "switch it on; nvidia-persistenced does so at every start", "nvidia-smi -i {gpu} -pm 1"},

    [DV_TROUBLE_LAYOUT_FAILED] =
        {"layout", "{where} is not as the layout wants it", "{detail}",
         "mend that and apply the layout again, or go back to the one before", "divvy layout undo"},
    [DV_TROUBLE_LAYOUT_DIFFERS] = {"layout", "{where} is not as the layout left it",
                                   "something other than divvy changed it; {detail}",
                                   "apply the layout again, or one that says what is there; divvy "
                                   "does nothing by itself, for "
                                   "whoever changed it may need it",
                                   "divvy layout show"},
    [DV_TROUBLE_LAYOUT_WAITS] =
        {"layout", "a change of {where} has waited {since} for {others}",
         "the slice holds what is to go or to be shared otherwise",
         "it goes on by itself when that ends. To hurry, end it; to give up: divvy layout undo",
         "divvy kill s-{slice}"},
    [DV_TROUBLE_LAYOUT_AWAITS_POD] =
        {"layout", "a change of {where} has waited {since} for pod {detail}",
         "by the kubelet's account the pod has what is to go. It holds no slice, so that neither "
         "'divvy kill' nor --evict ends it",
         "it goes on by itself when the pod is gone. To hurry, delete the pod ('kubectl delete "
         "pod'); what the label nvidia.com/mig.config has asked for evicts pods where the node's "
         "annotation divvy.dev/mig.evict is true. To give up: divvy layout undo"},
    [DV_TROUBLE_MPS_DOWN] = {"mps", "the MPS daemon of {device} is down", "{detail}",
                             "divvyd tries again by itself; claims for the device wait meanwhile"},
    [DV_TROUBLE_MPS_FAULT] =
        {"mps", "MPS on {device} has failed", "{detail}",
         "divvyd has put it right by itself; who was taken down must start again. What may take "
         "others along belongs on a MIG device or in governed mode"},
    [DV_TROUBLE_REPLICAS_TIGHT] =
        {"gpu {gpu}", "{n} parts of {device} are {bytes} each: too little to work in",
         "every process needs a context of its own, which takes memory before any program does",
         "a layout with fewer replicas (divvy layout plan FILE says what that changes)"},
    [DV_TROUBLE_TURNS_UNFAIR] =
        {"slice s-{slice}", "{tenant} runs {n} processes on {device}, which is time-sliced",
         "the driver gives a turn to every process, not to every tenant: this one gets {n} turns "
         "for one of the others",
         "share the device by mode governed or mps, or run one process; 'divvy ps' lists them"},

    [DV_TROUBLE_PLUGIN_WAITS] =
        {"kubernetes", "not registered with the kubelet: {detail}",
         "the kubelet is down or refuses, or its directory is another one; pods that ask for these "
         "resources stay Pending",
         "see whether the kubelet runs, and whether --kubelet-dir (the chart's kubeletDir) is its "
         "directory; divvyd registers by itself as soon as it is there",
         "systemctl status kubelet"},
    [DV_TROUBLE_PLUGIN_LOST] =
        {"kubernetes", "the kubelet no longer watches {detail}",
         "another device plugin has registered the same resource, or the kubelet is stuck",
         "two device plugins must not offer one resource of a node: take the other one away. "
         "divvyd registers again by itself after a minute",
         "kubectl get daemonsets --all-namespaces"},
    [DV_TROUBLE_CONFIG_REFUSED] =
        {"kubernetes", "{detail}",
         "the device plugin configuration that this node should have is wrong, or is not there; "
         "the last good one stays in force",
         "mend it, or the node's label nvidia.com/device-plugin.config; divvyd looks every second "
         "(the kubelet brings a changed ConfigMap within about a minute)"},
    [DV_TROUBLE_CONFIG_NOT_OFFERED] =
        {"kubernetes", "{detail}",
         "the device plugin configuration in force asks for what these GPUs cannot be",
         "mend it, or choose another by the node's label nvidia.com/device-plugin.config"},
    [DV_TROUBLE_MIG_LABEL] =
        {"kubernetes", "{detail}",
         "the node's label nvidia.com/mig.config names what is not there or cannot be had here; "
         "the GPUs stay as they are",
         "set the label to one of the configurations; 'divvy layout plan FILE --config NAME' says "
         "what one would change"},
    [DV_TROUBLE_CDI_CLOSED] =
        {"kubernetes", "CDI specifications cannot be written: {detail}",
         "the directory is somebody else's, or mounted read-only; containers with shares do not "
         "start",
         "make it writable, or name another with --cdi-dir that the container runtime reads"},
    [DV_TROUBLE_API_AWAY] =
        {"kubernetes", "the API server is not reached: {detail}",
         "the server, the network, or the rights of the service account",
         "pods get their GPUs all the same; labels, events and changes by label wait until it is "
         "there"},
    [DV_TROUBLE_LABELS_UNWRITTEN] =
        {"kubernetes", "the node's labels are not as they should be: {detail}",
         "they could not be written",
         "see the rights of the service account, or of the file's folder; divvyd tries again by "
         "itself. 'divvy labels' prints them"},

    [DV_TROUBLE_STATE_UNWRITTEN] =
        {"state", "the state cannot be written", "{detail}",
         "make room on the disk or make it writable; divvyd writes everything again by itself. "
         "Until then a restart of the daemon forgets what is new"},
    [DV_TROUBLE_STATE_ASIDE] = {"state", "the state was put aside at the start", "{detail}",
                                "slices and usage from before are in the file that was kept"},
    [DV_TROUBLE_NOT_REALTIME] =
        {"daemon", "the arbiter runs as an ordinary thread", "SCHED_FIFO is not allowed here",
         "allow it (systemd: LimitRTPRIO=10) for shares that are exact on a loaded machine"},
};

#define RESET_ADVICE "Drain it and reset it"

static const char *part_of(enum dv_trouble trouble, enum dv_diagnosis_part part)
{
    const struct words *w = &words[trouble];
    switch (part) {
    case DV_DIAGNOSIS_SUBJECT:
        return w->subject;
    case DV_DIAGNOSIS_PROBLEM:
        return w->problem;
    case DV_DIAGNOSIS_CAUSE:
        return w->cause;
    case DV_DIAGNOSIS_REMEDY:
        return w->remedy;
    case DV_DIAGNOSIS_COMMAND:
        return w->command;
    case DV_DIAGNOSIS_PARTS:
        break;
    }
    return NULL;
}

static const struct xid_words {
    uint64_t xid;
    const char *meaning, *advice;
} xids[] = {
    {13, "a kernel did something illegal (out of bounds, misaligned, no such instruction)",
     "whose it was has ended with an error: run it under compute-sanitizer. On many programs of "
     "one GPU and no other: test the GPU (dcgmi diag -r 3)"},
    {31, "a program used an address that is not mapped",
     "whose it was has ended with an error: run it under compute-sanitizer"},
    {43, "the GPU ended a program's work after a fault", "nothing; the program has the error"},
    {45, "the GPU cleared away the work of a program that ended or was ended", "nothing"},
    {48, "an error in memory that could not be corrected (double bit)", RESET_ADVICE},
    {62, "an internal controller of the GPU has halted", RESET_ADVICE},
    {63, "a bad row of memory was marked to be replaced",
     "the row is replaced at the next reset: drain the GPU when that suits, and reset it"},
    {64, "a bad row of memory could not be replaced",
     RESET_ADVICE "; if it comes back, replace the card"},
    {74, "a link to another GPU or a switch failed (NVLink)",
     RESET_ADVICE "; if it comes back, have the connection looked at"},
    {79, "the GPU has fallen off the bus",
     "Switch the machine off and on; look at power, heat and the card's seat"},
    {92, "many errors in memory, all corrected", "keep an eye on it: it often comes before XID 48"},
    {94, "an error in memory ended one program; the others were spared",
     "start the program again; drain the GPU when that suits, and reset it"},
    {95, "an error in memory may have hit every program on the GPU",
     RESET_ADVICE ", then start all of them again"},
    {119, "the GPU's system processor (GSP) does not answer",
     RESET_ADVICE "; if it comes back, update the driver"},
    {120, "the GPU's system processor (GSP) has failed",
     RESET_ADVICE "; if it comes back, update the driver"},
};

static const struct xid_words *xid_words(uint64_t xid)
{
    static const struct xid_words unknown = {0, "an error of the driver", "look it up"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(xids); i++)
        if (xids[i].xid == xid)
            return &xids[i];
    return &unknown;
}

/* ---- operands ------------------------------------------------------------------------------- */

static void add_others(const struct dv_diagnosis_finding *f, struct dv_str *text)
{
    dv_str_addf(text, "s-%" PRIu64 " of %s", f->slice, f->tenant);
    if (f->detail[0])
        dv_str_addf(text, " (%s)", f->detail);
    if (f->n > 1)
        dv_str_addf(text, " and %" PRIu64 " more", f->n - 1);
}

static void add_since(int64_t since_unix, struct dv_str *text)
{
    char buf[DV_ZONE_TEXT];
    static const struct dv_zone utc;
    if (since_unix > 0)
        dv_str_addf(text, "since %s", dv_zone_format(&utc, since_unix, buf));
    else
        dv_str_add(text, "for a while");
}

static void add_operand(const struct dv_diagnosis_finding *f, const char *name, size_t len,
                        struct dv_str *text)
{
    char buf[DV_UNITS_TEXT];
#define IS(word) (len == sizeof(word) - 1 && !strncmp(name, word, len))
    if (IS("gpu"))
        dv_str_addf(text, "%" PRIu32, f->gpu);
    else if (IS("where") && f->gpu == DV_DIAGNOSE_UNKNOWN)
        dv_str_add(text, "the node");
    else if (IS("where"))
        dv_str_addf(text, "GPU %" PRIu32, f->gpu);
    else if (IS("device"))
        dv_str_add(text, f->device);
    else if (IS("slice"))
        dv_str_addf(text, "%" PRIu64, f->slice);
    else if (IS("n"))
        dv_str_addf(text, "%" PRIu64, f->n);
    else if (IS("bytes"))
        dv_str_add(text, dv_units_format_bytes(f->bytes, buf));
    else if (IS("tenant"))
        dv_str_add(text, f->tenant);
    else if (IS("detail"))
        dv_str_add(text, f->detail);
    else if (IS("others"))
        add_others(f, text);
    else if (IS("since"))
        add_since(f->since_unix, text);
    else if (IS("users"))
        dv_str_add(text, f->detail[0] ? f->detail : "'divvy status' says who");
    else if (IS("meaning"))
        dv_str_add(text, xid_words(f->n)->meaning);
    else if (IS("advice"))
        dv_str_add(text, xid_words(f->n)->advice);
#undef IS
}

bool dv_diagnosis_text(const struct dv_diagnosis_finding *f, enum dv_diagnosis_part part,
                       struct dv_str *text)
{
    const char *p = f->trouble < DV_TROUBLE_COUNT ? part_of(f->trouble, part) : NULL;
    size_t before = text->len;
    while (p && *p) {
        size_t plain = strcspn(p, "{");
        dv_str_addn(text, p, plain);
        p += plain;
        if (!*p)
            break;
        size_t len = strcspn(p + 1, "}");
        add_operand(f, p + 1, len, text);
        p += len + 2;
    }
    return text->len > before;
}

void dv_diagnosis_text_add(struct dv_output_node *list, const struct dv_diagnosis_finding *f)
{
    static const char *const keys[] = {"subject", "problem", "cause", "remedy", "command"};
    struct dv_output_node *o = dv_output_object(list, NULL);
    dv_output_string(o, "code", dv_diagnose_name(f->trouble));
    dv_output_string(o, "severity", dv_diagnose_severity_name(dv_diagnose_severity(f->trouble)));
    for (int part = 0; part < DV_DIAGNOSIS_PARTS; part++) {
        dv_cleanup(dv_str_done) struct dv_str text = {0};
        bool has = dv_diagnosis_text(f, (enum dv_diagnosis_part)part, &text);
        dv_output_string(o, keys[part], has ? dv_str_get(&text) : NULL);
    }
}

/* ---- the reference page --------------------------------------------------------------------- */

/* Operands in capitals, as the help of a command has them. */
static void add_cell(const char *text, struct dv_str *out)
{
    bool operand = false;
    for (; text && *text; text++) {
        if (*text == '{' || *text == '}')
            operand = *text == '{';
        else if (*text == '|')
            dv_str_add(out, "\\|");
        else
            dv_str_addc(out, operand && *text >= 'a' && *text <= 'z' ? (char)(*text - 'a' + 'A')
                                                                     : *text);
    }
}

static void add_trouble(enum dv_trouble trouble, struct dv_str *out)
{
    dv_str_addf(out, "| `%s` | %s | ", dv_diagnose_name(trouble),
                dv_diagnose_severity_name(dv_diagnose_severity(trouble)));
    for (int part = DV_DIAGNOSIS_PROBLEM; part < DV_DIAGNOSIS_COMMAND; part++) {
        add_cell(part_of(trouble, (enum dv_diagnosis_part)part), out);
        dv_str_add(out, " | ");
    }
    const char *command = words[trouble].command;
    dv_str_add(out, command ? "`" : "");
    add_cell(command, out);
    dv_str_add(out, command ? "` |\n" : "|\n");
}

void dv_diagnosis_text_tables(struct dv_str *out)
{
    dv_str_add(out, "| code | severity | problem | cause | what to do | command |\n"
                    "|---|---|---|---|---|---|\n");
    for (int trouble = 0; trouble < DV_TROUBLE_COUNT; trouble++)
        add_trouble((enum dv_trouble)trouble, out);
    dv_str_add(out, "\n| XID | meaning | what to do |\n|---|---|---|\n");
    for (size_t i = 0; i < DV_ARRAY_SIZE(xids); i++)
        dv_str_addf(out, "| %" PRIu64 " | %s | %s |\n", xids[i].xid, xids[i].meaning,
                    xids[i].advice);
}
