# SPDX-License-Identifier: Apache-2.0
"""Bills as the daemon answers them, made of a few numbers: three tenants on two GPUs for three days.

The sums hold as docs/reference/api.md says; nothing of divvy's own code is used.
"""
import datetime

UUIDS = ("GPU-7a3e11d2-0000-4000-8000-000000000001", "GPU-9b3e11d2-0000-4000-8000-000000000002")
MODELS = ("NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3")
PRICES = (3060000, 4250000)  # micros per hour
DAY = 86400
BUCKETS = ("busy", "reserved_idle", "overhead", "unallocated", "unhealthy")
COSTS = ("used", "requested", "fixed", "max")
FEES = {"team-a": 90_000_000, "team-b": 0, "@outside": 0}


def start(year=2026, month=10, day=31):
    return int(datetime.datetime(year, month, day, tzinfo=datetime.timezone.utc).timestamp())


def seconds(ns):
    return ns / 10**9 if ns % 10**9 else ns // 10**9


def micros(ns, gpu):
    return (ns * PRICES[gpu] + 1800 * 10**9) // (3600 * 10**9)


# tenant, gpu, mode, profile, busy, held and idle (ns of a day), share held
SHARES = (
    ("team-a", 0, "mps", "", 21_600_123_456_789, 10_000_000_000_001, 30_000),
    ("team-b", 0, "governed", "", 7_200_000_000_007, 3_600_000_000_000, 11_000),
    ("team-a", 1, "exclusive", "1g.10gb", 12_342_857_142_857, 0, 12_342),
    ("@outside", 1, "auto", "", 1_000_000_003, 0, 0),
)
OWN = {0: (500_000_000, None, 0), 1: (250_000_001, None, 3_600_000_000_000)}


def charge(line, ns, gpu, shares):
    for bucket in BUCKETS:
        line[bucket + "_seconds"] = seconds(ns.get(bucket, 0))
    line["wall_seconds"] = seconds(sum(ns.values()))
    line["wait_seconds"] = seconds(shares.get("wait", 0))
    line["requested_seconds"] = shares.get("requested", 0)
    line["memory_byte_seconds"] = shares.get("bytes", 0)
    waste = {b: micros(ns.get(b, 0), gpu) for b in BUCKETS if b != "busy"}
    line["used_cost_micros"] = micros(ns.get("busy", 0), gpu)
    line["requested_cost_micros"] = micros(shares.get("requested", 0) * 10**9, gpu)
    line["max_cost_micros"] = max(line["used_cost_micros"], line["requested_cost_micros"])
    line["fixed_cost_micros"] = 0
    line["waste_cost_micros"] = sum(waste.values())
    for bucket, cost in waste.items():
        line[bucket + "_cost_micros"] = cost


def time_lines(first, days, basis):
    for day in range(days):
        for gpu in range(2):
            left = DAY * 10**9
            base = {"kind": "time", "from_unix": first + day * DAY,
                    "to_unix": first + (day + 1) * DAY, "gpu_uuid": UUIDS[gpu],
                    "model": MODELS[gpu], "tier": "be"}
            for tenant, on, mode, profile, busy, idle, requested in SHARES:
                if on != gpu:
                    continue
                left -= busy + idle
                line = {**base, "tenant": tenant, "mode": mode, "profile": profile,
                        "quality": "exact" if mode == "governed" else "sampled",
                        "source": "leases" if mode == "governed" else "driver"}
                charge(line, {"busy": busy, "reserved_idle": idle}, gpu,
                       {"requested": requested, "wait": 5_000_000_000, "bytes": 1 << 40})
                line["cost_micros"] = line[basis + "_cost_micros"]
                yield line
            overhead, _, unhealthy = OWN[gpu]
            line = {**base, "tenant": "", "mode": "auto", "profile": "", "quality": "exact",
                    "source": "none"}
            charge(line, {"overhead": overhead, "unhealthy": unhealthy,
                          "unallocated": left - overhead - unhealthy}, gpu, {})
            line["cost_micros"] = 0
            yield line


def idle_lines(lines, names, how):
    """Each GPU's idle time of each day among all tenants, evenly; the first take what is over."""
    for first in [line for line in lines if line["tenant"] == ""]:
        waste = sum(line["waste_cost_micros"] for line in lines
                    if (line["from_unix"], line["gpu_uuid"]) ==
                    (first["from_unix"], first["gpu_uuid"]))
        for i, name in enumerate(names if how != "none" else ()):
            part = waste // len(names) + (i < waste % len(names))
            line = {**first, "kind": "idle", "tenant": name, "mode": "auto", "idle_cost_micros": part}
            for key in line:
                if key.endswith("_seconds") or key.endswith("_cost_micros"):
                    line[key] = 0
            line.update(idle_cost_micros=part, cost_micros=part)
            yield line


def total(lines, key):
    return sum(line.get(key, 0) for line in lines)


def tenant(name, lines, basis):
    own = [line for line in lines if line["tenant"] == name]
    t = {"tenant": name, "quality": "sampled" if name != "team-b" else "exact"}
    for key in ("busy", "requested", "reserved_idle", "wait", "memory_byte"):
        t[key + "_seconds"] = round(total(own, key + "_seconds"), 9)
    t["memory_byte_seconds"] = total(own, "memory_byte_seconds")
    for key in ("used", "requested", "max", "idle"):
        t[key + "_cost_micros"] = total(own, key + "_cost_micros")
    t["fixed_cost_micros"] = FEES[name]
    t["cost_micros"] = total(own, "cost_micros") + (FEES[name] if basis == "fixed" else 0)
    return t


def gpu(i, lines):
    own = [line for line in lines if line["gpu_uuid"] == UUIDS[i]]
    g = {"uuid": UUIDS[i], "model": MODELS[i], "price_per_hour_micros": PRICES[i]}
    for key in ("wall",) + BUCKETS:
        g[key + "_seconds"] = round(total(own, key + "_seconds"), 9)
    g["origin_cost_micros"] = total(own, "used_cost_micros") + total(own, "waste_cost_micros")
    return g


def bill(basis="used", idle="none", days=3, first=None):
    """A bill by all dimensions and days, over the end of October."""
    first = start() if first is None else first
    lines = list(time_lines(first, days, basis))
    names = sorted({line["tenant"] for line in lines} - {""})
    shared = list(idle_lines(lines, names, idle))
    waste = {b + "_cost_micros": total(lines, b + "_cost_micros") for b in BUCKETS[1:]}
    waste["total_cost_micros"] = sum(waste.values())
    tenants = [tenant(name, lines + shared, basis) for name in names]
    return {"apiVersion": "divvy/v1", "kind": "Bill", "currency": "USD", "from_unix": first,
            "to_unix": first + days * DAY, "timezone": "UTC", "basis": basis, "idle": idle,
            "by": "all", "price_file": "prices.yaml", "tenant": None,
            "gpus": [gpu(i, lines) for i in range(2)], "tenants": tenants, "waste": waste,
            "lines": lines + shared,
            "origin_cost_micros": total(lines, "used_cost_micros") + waste["total_cost_micros"],
            "total_cost_micros": total(tenants, "cost_micros"),
            "notes": ["Busy time of @outside is estimated."]}
