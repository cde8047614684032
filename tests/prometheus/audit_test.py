#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""audit_test DIVVY [lies|real]: `divvy audit --prometheus` against a server that lies, and against Debian's
Prometheus over a block that promtool made (77, skipped, without it)."""
import collections
import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

DIVVY = sys.argv[1]
END = 1760000400  # a multiple of the steps here
LIMIT = 11000     # what a Prometheus gives of a series


def audit(url, *args, env=None, expect=(0, 3)):
    done = subprocess.run([DIVVY, "audit", "--prometheus", url, "--to", str(END), "-o", "json", *args],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                          timeout=120, env={**os.environ, "DIVVY_PROMETHEUS_TOKEN": "", **(env or {})})
    assert done.returncode in expect, (done.returncode, done.stderr, done.stdout[:300])
    return (json.loads(done.stdout) if done.stdout else None), done.stderr


# ---- a server that does what a test says ----

class Server:
    def __init__(self, answer, tls=None):
        outer = self
        self.asked, self.headers = [], []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):  # pylint: disable=invalid-name
                path, _, query = self.path.partition("?")
                q = dict(urllib.parse.parse_qsl(query))
                outer.asked.append((path, q))
                outer.headers.append(dict(self.headers))
                answer(self, q)

            def say(self, body, status=200, kind="application/json", length=None, **headers):
                body = body if isinstance(body, bytes) else body.encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body) if length is None else length))
                for key, value in headers.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(body)
                if length is not None:
                    self.close_connection = True

            def log_message(self, *args):  # pylint: disable=arguments-differ
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        scheme = "http"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
            scheme = "https"
        self.url = f"{scheme}://127.0.0.1:{self.http.server_address[1]}"
        self.http.handle_error = lambda *args: None  # clients that hang up are what is tested
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.http.shutdown()
        self.http.server_close()


def matrix(series, **more):
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": [
        {"metric": m, "values": v} for m, v in series]}, **more})


def grid(q, step=None, shift=0):
    t, end, step = float(q["start"]), float(q["end"]), step or float(q["step"])
    while t <= end:
        yield t + shift
        t += step


def pod(name):
    return {"UUID": "GPU-" + name, "namespace": "ns", "pod": name, "container": "c"}


def honest(handler, q, shift=0, step=None, value=lambda t: "20"):
    name = q["query"].split("{")[0]
    if name == "DCGM_FI_DEV_GPU_UTIL":
        handler.say(matrix([(pod("a"), [[t, value(t)] for t in grid(q, step, shift)])]))
    elif name == "DCGM_FI_DEV_FB_USED":
        handler.say(matrix([(pod("a"), [[t, "2048"] for t in grid(q)])]))
    else:
        handler.say(matrix([]))


def test_honest():
    with Server(honest) as s:
        a, _ = audit(s.url + "/", "--range", "2h", "--step", "60s")
        assert a["samples"] == 121 and a["mean_busy_percent"] == 20 and a["step_seconds"] == 60, a
        row = a["recommendations"][0]
        assert row["workload"] == "ns/a/c" and row["gpu"] == "GPU-a", row
        assert row["peak_memory_bytes"] == 2 << 30
        assert {p for p, _ in s.asked} == {"/api/v1/query_range"}
        assert "Authorization" not in s.headers[0]
        assert a["data_quality"]["step_corrections"] == 0 and not a["notes"]


def test_mig():
    """Instances are parts of one GPU: seven of 1g, half busy, are one GPU, half busy, and not seven."""
    def instance(i, profile):
        return {**pod("p%d" % i), "UUID": "GPU-m", "GPU_I_ID": str(i), **({"GPU_I_PROFILE": profile} if profile else {})}

    def fleet(profiles):
        def answer(handler, q):
            name = q["query"].split("{")[0]
            v = {"DCGM_FI_PROF_GR_ENGINE_ACTIVE": "0.5", "DCGM_FI_DEV_FB_USED": "4096"}.get(name)
            handler.say(matrix([(instance(i, p), [[t, v] for t in grid(q)]) for i, p in enumerate(profiles)] if v else []))
        return answer

    with Server(fleet(["1g.10gb"] * 7)) as s:
        a, _ = audit(s.url, "--range", "24h", "--step", "5m", "--price", "7")
        assert a["workloads"] == 7 and a["fleet"]["gpus_peak"] == 1, a["fleet"]
        assert abs(a["waste"]["waste_percent"] - 50) < 0.01, a["waste"]
        assert abs(a["mean_busy_percent"] - 50 / 7) < 0.01
        assert a["plan"]["gpus_needed"] == 1, a["plan"]
        row = a["recommendations"][0]
        assert row["gpu"] == "GPU-m/0" and abs(row["mean_busy_percent"] - 50 / 7) < 0.01, row
        assert abs(sum(r["waste_cost_micros"] for r in a["recommendations"]) - a["waste"]["waste_cost_micros"]) < 10
    # One of three slices alone: four sevenths of the GPU were nobody's.
    with Server(fleet(["3g.40gb"])) as s:
        a, _ = audit(s.url, "--range", "24h", "--step", "5m", "--price", "7")
        assert a["fleet"]["gpus_peak"] == 1 and abs(a["waste"]["waste_percent"] - (100 - 150 / 7)) < 0.01, a["waste"]
    # Of a card of four slices.
    with Server(fleet(["1g.6gb"] * 4)) as s:
        a, _ = audit(s.url, "--range", "24h", "--step", "5m", "--gpu", "A30")
        assert abs(a["waste"]["waste_percent"] - 50) < 0.01, a["waste"]


def test_pieces():
    """A month at a minute: no piece asks for more than a Prometheus gives, and none overlap."""
    with Server(honest) as s:
        a, _ = audit(s.url, "--range", "720h", "--step", "1m", "--no-replay")
        assert a["samples"] == 30 * 1440 + 1, a["samples"]
        assert a["data_quality"]["duplicates"] == 0
        for _, q in s.asked:
            assert (float(q["end"]) - float(q["start"])) / float(q["step"]) + 1 <= LIMIT, q


def test_token_and_labels():
    with Server(honest) as s:
        a, _ = audit(s.url, "--range", "1h", "--labels", "namespace,pod",
                     env={"DIVVY_PROMETHEUS_TOKEN": "s3cret"})
        assert a["recommendations"][0]["workload"] == "ns/a"
        assert all(h["Authorization"] == "Bearer s3cret" for h in s.headers)
        with tempfile.NamedTemporaryFile("w") as f:
            f.write("from-a-file\n")
            f.flush()
            audit(s.url, "--range", "1h", "--token-file", f.name)
        assert s.headers[-1]["Authorization"] == "Bearer from-a-file"


def test_divvy_names():
    def answer(handler, q):
        m = {"tenant": "alice", "gpu_uuid": "GPU-1"}
        busy = "divvy_tenant_busy_seconds_total" in q["query"]
        assert not busy or "[300s]" in q["query"], q
        handler.say(matrix([(m, [[t, "0.5" if busy else "1e9"] for t in grid(q)])]))
    with Server(answer) as s:
        a, _ = audit(s.url, "--range", "10h", "--step", "5m", "--names", "divvy")
        assert a["mean_busy_percent"] == 50 and a["recommendations"][0]["workload"] == "alice", a


def test_lies_about_its_step():
    # Other times than the steps: taken as they are, and counted.
    with Server(lambda h, q: honest(h, q, shift=7)) as s:
        a, _ = audit(s.url, "--range", "1h")
        assert a["data_quality"]["step_corrections"] == 60, a["data_quality"]
        assert a["data_quality"]["outside_range"] == 1 and a["step_seconds"] == 60
    # A coarser step: what it is comes out.
    with Server(lambda h, q: honest(h, q, step=300)) as s:
        a, _ = audit(s.url, "--range", "10h")
        assert a["step_seconds"] == 300 and a["samples"] == 121
        assert a["notes"] == ["asked for a sample every 1m 00s, and got one every 5m 00s: what is shorter is not "
                              "seen"], a["notes"]
    # A finer one, without end: refused.
    with Server(lambda h, q: honest(h, q, step=1)) as s:
        _, err = audit(s.url, "--range", "1h", expect=(1,))
        assert "does not keep to the step" in err, err
    # Another range than asked for.
    with Server(lambda h, q: honest(h, q, shift=-86400)) as s:
        _, err = audit(s.url, "--range", "1h", expect=(1,))
        assert "no utilization samples" in err, err


def test_values():
    values = ["NaN", "+Inf", "12", "104", "7"]
    with Server(lambda h, q: honest(h, q, value=lambda t: values[int(t / 60) % 5])) as s:
        a, _ = audit(s.url, "--range", "5h")
        assert a["data_quality"]["missing_values"] == 121, a["data_quality"]
        assert a["data_quality"]["over_100_percent"] > 50
    with Server(lambda h, q: honest(h, q, value=lambda t: "-1")) as s:
        _, err = audit(s.url, "--range", "1h", expect=(1,))
        assert "utilization of ns/a/c: a utilization of -1 %" in err, err


def test_warnings():
    with Server(lambda h, q: h.say(matrix([(pod("a"), [[t, "1"] for t in grid(q)])],
                                          warnings=["store is down"]))) as s:
        _, err = audit(s.url, "--range", "1h")
        assert "Prometheus warns: store is down" in err, err


def slow(handler, q):
    time.sleep(3)


def test_refusals():
    bad = json.dumps({"status": "error", "errorType": "bad_data", "error": "unknown function"})
    cases = [
        (lambda h, q: h.say(bad, 400), 1, "answers 400: unknown function"),
        (lambda h, q: h.say(bad, 200), 1, "unknown function"),
        (lambda h, q: h.say("no", 401), 4, "it wants a token"),
        (lambda h, q: h.say("no", 403), 4, "answers 403"),
        (lambda h, q: h.say("", 404), 1, "no Prometheus API under this URL"),
        (lambda h, q: h.say("", 302, Location="http://127.0.0.1:1/"), 1, "a redirect"),
        (lambda h, q: h.say("<html>Bad Gateway</html>", 502, "text/html"), 1,
         "answers 502: <html>Bad Gateway</html>"),
        (lambda h, q: h.say("<html>hello", 200, "text/html"), 1, "not JSON at byte 1"),
        (lambda h, q: h.say('{"status":"success"}'), 1, "no result in it"),
        (lambda h, q: h.say(matrix([]).replace("matrix", "vector")), 1, "resultType is not matrix"),
        (lambda h, q: h.say(matrix([])[:40]), 1, "it ends in the middle"),
        (lambda h, q: h.say(matrix([])[:40], length=5000), 5, "127.0.0.1"),
        (lambda h, q: h.say(matrix([])), 1, "has no samples of dcgm-exporter's"),
        (lambda h, q: h.say(b"\x00" * 100), 1, "not JSON"),
        (slow, 5, "no whole answer within 1 s"),
    ]
    for answer, status, words in cases:
        with Server(answer) as s:
            _, err = audit(s.url, "--range", "1h", "--timeout", "1s" if answer is slow else "60s",
                           expect=(status,))
            assert words in err, (words, err)
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    _, err = audit(f"http://me:secret@127.0.0.1:{port}", expect=(5,))
    assert "secret" not in err and str(port) in err, err


def test_tls():
    with tempfile.TemporaryDirectory() as folder:
        cert, key = folder + "/cert.pem", folder + "/key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key,
                        "-out", cert, "-days", "2", "-subj", "/CN=test", "-addext",
                        "subjectAltName=IP:127.0.0.1"], check=True, stderr=subprocess.DEVNULL)
        with Server(honest, tls=(cert, key)) as s:
            _, err = audit(s.url, "--range", "1h", expect=(5,))
            assert "certificate" in err.lower(), err
            assert not s.asked
            a, _ = audit(s.url, "--range", "1h", "--ca", cert)
            assert a["samples"] == 61


# ---- the real one ----

def write_metrics(path):
    """Six hours of three pods and a GPU of nobody, one a minute; returns what was written."""
    values = collections.defaultdict(list)
    samples = collections.defaultdict(list)
    for minute in range(361):
        t = END - 21600 + 60 * minute
        for i, name in enumerate(("train", "serve", "note", "")):
            busy = {"train": 95, "serve": 10 + minute % 7, "note": 30 if minute % 40 == 3 else 0,
                    "": 0}[name]
            values[name].append(busy)
            labels = f'gpu="{i}",UUID="GPU-{i}"' + (
                f',namespace="team",pod="{name}",container="main"' if name else "")
            samples["DCGM_FI_DEV_GPU_UTIL"].append(f"{{{labels}}} {busy} {t}")
            samples["DCGM_FI_DEV_FB_USED"].append(f"{{{labels}}} {4096 + i} {t}")
    for minute in range(361):  # divvy's own: half a GPU, and one that is given back after three hours
        t = END - 21600 + 60 * minute
        for tenant, busy, held in (("alice", 30 * minute, 1), ("bob", 6 * min(minute, 180),
                                                                minute < 180)):
            labels = f'{{tenant="{tenant}",gpu_uuid="GPU-0",mode="governed"}}'
            samples["divvy_tenant_busy_seconds_total"].append(f"{labels} {busy} {t}")
            samples["divvy_tenant_slices"].append(f"{labels} {int(held)} {t}")
            samples["divvy_tenant_memory_used_bytes"].append(f"{labels} {int(held) << 30} {t}")
    with open(path, "w", encoding="utf-8") as f:
        for name, rows in samples.items():
            kind = "counter" if name.endswith("_total") else "gauge"
            f.write(f"# TYPE {name.removesuffix('_total')} {kind}\n")
            f.writelines(name + row + "\n" for row in sorted(rows, key=lambda r: r.split("}")[0]))
        f.write("# EOF\n")
    return values


def test_real():
    if not shutil.which("promtool") or not shutil.which("prometheus"):
        print("skipped: no prometheus")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        values = write_metrics(folder + "/metrics.txt")
        subprocess.run(["promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet",
                        folder + "/metrics.txt", folder + "/data"], check=True,
                       stdout=subprocess.DEVNULL)
        with open(folder + "/prometheus.yml", "w", encoding="utf-8"):
            pass
        with socket.create_server(("127.0.0.1", 0)) as s:
            port = s.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        with open(folder + "/log", "wb") as log, subprocess.Popen(
                ["prometheus", "--config.file", folder + "/prometheus.yml", "--storage.tsdb.path",
                 folder + "/data", "--storage.tsdb.retention.time", "100y",
                 "--web.listen-address", f"127.0.0.1:{port}"], stdout=log, stderr=log) as p:
            try:
                return ask_real(url, values)
            finally:
                p.terminate()
                p.wait()


def ask_real(url, values):
    for _ in range(1200):
        try:
            urllib.request.urlopen(url + "/-/ready", timeout=5).close()
            break
        except OSError:
            time.sleep(0.1)
    a, _ = audit(url, "--range", "6h", "--step", "60s", "--price", "1")
    every = [v for s in values.values() for v in s]
    assert a["samples"] == len(every) == 4 * 361, a["samples"]
    assert abs(a["mean_busy_percent"] - sum(every) / len(every)) < 1e-3, a["mean_busy_percent"]
    q = a["data_quality"]
    assert not any(q[k] for k in ("step_corrections", "duplicates", "gaps", "outside_range")), q
    rows = {r["workload"]: r for r in a["recommendations"]}
    assert set(rows) == {"team/train/main", "team/serve/main", "team/note/main", "(nobody)"}
    classes = {w: r["class"] for w, r in rows.items()}
    assert classes == {"team/train/main": "training", "team/serve/main": "steady",
                       "team/note/main": "idle", "(nobody)": "idle"}, classes
    assert rows["team/serve/main"]["peak_memory_bytes"] == 4097 << 20
    # Fewer samples at a larger step; the same means where the values allow.
    b, _ = audit(url, "--range", "6h", "--step", "10m")
    assert b["step_seconds"] == 600 and b["samples"] == 4 * 37, b["samples"]
    c, _ = audit(url, "--range", "6h", "--step", "60s", "--names", "divvy")
    rows = {r["workload"]: r for r in c["recommendations"]}
    assert set(rows) == {"alice", "bob"}, rows
    assert abs(rows["alice"]["mean_busy_percent"] - 50) < 0.5, rows["alice"]
    assert abs(rows["bob"]["mean_busy_percent"] - 10) < 0.5, rows["bob"]
    assert 175 <= rows["bob"]["samples"] <= 185 and rows["bob"]["peak_memory_bytes"] == 1 << 30
    # What it refuses, in its own words.
    _, err = audit(url + "/prefix", expect=(1,))
    assert "404" in err, err
    return 0


def main():
    if sys.argv[2:] == ["real"]:
        return test_real()
    for name, test in sorted(globals().items()):
        if name.startswith("test_") and name != "test_real":
            test()
            print("ok", name)
    return 0


sys.exit(main())
