# SPDX-License-Identifier: Apache-2.0
"""The images of the tests' pods. How an archive is written: packaging/image/oci.py."""
import subprocess
import sys

from . import paths

sys.path.insert(0, str(paths.SOURCE / "packaging" / "image"))
from oci import libraries, write  # noqa: E402,F401

IMAGES = paths.STATE / "images"


def make(name, files, links=None, directories=("/tmp",), entrypoint=(), env=()):
    """An archive of the image NAME ("divvy.test/x:1") with these files {path inside: path here}."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    out = IMAGES / (name.replace("/", "_").replace(":", "_") + ".tar")
    write(out, name, files, links, directories, entrypoint, env)
    return out


def pause():
    """The program that holds a pod's namespaces."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    program = IMAGES / "pause"
    subprocess.run(["gcc", "-O2", "-static", "-o", program, paths.HERE / "images" / "pause.c"],
                   check=True)
    return make("divvy.test/pause:1", {"/pause": program}, entrypoint=["/pause"])
