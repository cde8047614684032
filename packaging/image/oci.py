# SPDX-License-Identifier: Apache-2.0
"""OCI image archives (image-spec 1.1, in a tar as `ctr images import` and `skopeo` take them) made of
local files: no registry, no container engine. The same files give the same digest: entries are sorted,
owned by root and without times.
"""
import hashlib
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
PATH = "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


def libraries(*programs):
    """The shared libraries that these programs of this machine need, {path inside: path here}."""
    out = {}
    for program in programs:
        text = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
        for word in text.split():
            if word.startswith("/"):
                out[word] = word
    return out


def _plain(info):
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = 0
    return info


def _entry(inside, **fields):
    info = _plain(tarfile.TarInfo(inside.lstrip("/")))
    for name, value in fields.items():
        setattr(info, name, value)
    return info


def _layer(files, links, directories):
    data = io.BytesIO()
    # Large modes and sizes have one form in GNU's format; pax would add headers of its own choice.
    with tarfile.open(fileobj=data, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for d in sorted(directories):
            tar.addfile(_entry(d, type=tarfile.DIRTYPE, mode=0o1777 if d == "/tmp" else 0o755))
        for inside, source in sorted(files.items()):
            if isinstance(source, bytes):
                tar.addfile(_entry(inside, size=len(source), mode=0o644), io.BytesIO(source))
            else:
                real = source if Path(source).is_dir() else os.path.realpath(source)
                tar.add(real, arcname=inside.lstrip("/"), filter=_plain)
        for inside, target in sorted(links.items()):
            tar.addfile(_entry(inside, type=tarfile.SYMTYPE, linkname=str(target)))
    return data.getvalue()


def _blob(tar, data):
    digest = hashlib.sha256(data).hexdigest()
    tar.addfile(_entry(f"blobs/sha256/{digest}", size=len(data)), io.BytesIO(data))
    return f"sha256:{digest}"


def _json(value):
    return json.dumps(value, sort_keys=True).encode()


def write(out, name, files, links=None, directories=("/tmp",), entrypoint=(), env=(), labels=None):
    """Writes OUT, an archive of the image NAME ("example.com/divvy:1"); returns its digest.

    files: {path inside: path here, or bytes}; links: {path inside: target}. A directory here brings
    all below it, symbolic links as links.
    """
    content = _layer(files, links or {}, directories)
    with tarfile.open(out, "w", format=tarfile.GNU_FORMAT) as tar:
        layer = _blob(tar, content)
        config = _json({
            "architecture": ARCHITECTURES.get(os.uname().machine, os.uname().machine), "os": "linux",
            "config": {"Entrypoint": list(entrypoint) or None, "Env": [PATH, *env],
                       "Labels": labels or {}},
            "rootfs": {"type": "layers", "diff_ids": [layer]}})
        manifest = _json({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                       "digest": _blob(tar, config), "size": len(config)},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer,
                        "size": len(content)}]})
        digest = _blob(tar, manifest)
        index = _json({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json",
                           "digest": digest, "size": len(manifest),
                           "annotations": {"io.containerd.image.name": name}}]})
        for path, data in (("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), ("index.json", index)):
            tar.addfile(_entry(path, size=len(data)), io.BytesIO(data))
    return digest
