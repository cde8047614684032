# SPDX-License-Identifier: Apache-2.0
"""Images made of local files, as OCI archives: there is no registry."""
import hashlib
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

from . import paths

IMAGES = paths.STATE / "images"


def add(tar, inside, source):
    """A file or directory of this machine; symbolic links stay links."""
    tar.add(source, arcname=inside.lstrip("/"), filter=plain)


def plain(info):
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = 0
    return info


def layer(files, links, directories):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for d in directories:
            info = plain(tarfile.TarInfo(d.lstrip("/")))
            info.type, info.mode = tarfile.DIRTYPE, 0o1777 if d == "/tmp" else 0o755
            tar.addfile(info)
        for inside, source in sorted(files.items()):
            add(tar, inside, os.path.realpath(source) if not Path(source).is_dir() else source)
        for inside, target in sorted(links.items()):
            info = plain(tarfile.TarInfo(inside.lstrip("/")))
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return data.getvalue()


def blob(tar, data):
    digest = hashlib.sha256(data).hexdigest()
    info = plain(tarfile.TarInfo(f"blobs/sha256/{digest}"))
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
    return f"sha256:{digest}"


def make(name, files, links=None, directories=("/tmp",), entrypoint=(), env=()):
    """An archive of the image NAME ("divvy.test/x:1") with these files {path inside: path here}."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    out = IMAGES / (name.replace("/", "_").replace(":", "_") + ".tar")
    content = layer(files, links or {}, directories)
    with tarfile.open(out, "w") as tar:
        diff = blob(tar, content)
        config = json.dumps({
            "architecture": "amd64", "os": "linux",
            "config": {"Entrypoint": list(entrypoint) or None,
                       "Env": ["PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", *env]},
            "rootfs": {"type": "layers", "diff_ids": [diff]}}).encode()
        manifest = json.dumps({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                       "digest": blob(tar, config), "size": len(config)},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": diff,
                        "size": len(content)}]}).encode()
        index = json.dumps({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json",
                           "digest": blob(tar, manifest), "size": len(manifest),
                           "annotations": {"io.containerd.image.name": name}}]}).encode()
        for path, data in (("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), ("index.json", index)):
            info = plain(tarfile.TarInfo(path))
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out


def pause():
    """The program that holds a pod's namespaces."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    program = IMAGES / "pause"
    subprocess.run(["gcc", "-O2", "-static", "-o", program, paths.HERE / "images" / "pause.c"],
                   check=True)
    return make("divvy.test/pause:1", {"/pause": program}, entrypoint=["/pause"])


def libraries(*programs):
    """The shared libraries that these programs of this machine need, {path inside: path here}."""
    out = {}
    for program in programs:
        text = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
        for word in text.split():
            if word.startswith("/"):
                out[word] = word
    return out
