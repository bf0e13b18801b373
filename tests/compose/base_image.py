"""The image that our Dockerfiles build on, made on this machine: no registry of images is asked.

A minimal Debian 12 from the distribution's archive, as the official image is one. Where this
machine trusts authorities of its own, or tells pip where to look, so does the image: what can be
installed here can be installed in a build.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.compose.docker_engine import DockerEngine

NAME = "isardvdi-test-base:bookworm"
SUITE = "bookworm"
TIMEOUT_S = 900.0
LEFT_OUT = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*")
"""As in the official slim image."""
OF_THIS_MACHINE = ("etc/ssl/certs/ca-certificates.crt", "etc/pip.conf")


def ensure(engine: DockerEngine) -> str:
    """The image's name. It is made once for each engine's folder."""
    if engine.run("image", "inspect", NAME, check=False).returncode == 0:
        return NAME
    folder = engine.folder / "base"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    archive = folder / "base.tar"
    subprocess.run(
        [
            *("mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates"),
            *(f"--dpkgopt=path-exclude={place}" for place in LEFT_OUT),
            "--dpkgopt=path-include=/usr/share/doc/*/copyright",
            *(SUITE, str(archive), *mirrors()),
        ],
        check=True,
        capture_output=True,
        timeout=TIMEOUT_S,
    )
    engine.run("import", str(archive), "isardvdi-test-debian:bookworm", timeout_s=TIMEOUT_S)
    archive.unlink()
    lines = ["FROM isardvdi-test-debian:bookworm"]
    for name in OF_THIS_MACHINE:
        source = Path("/", name)
        if source.exists():
            shutil.copy(source, folder / source.name)
            lines.append(f"COPY {source.name} /{name}")
    (folder / "Dockerfile").write_text("\n".join(lines) + "\n")
    engine.run("build", "-t", NAME, str(folder), timeout_s=TIMEOUT_S)
    return NAME


def mirrors() -> list[str]:
    """The archive this machine uses, if it says so; otherwise mmdebstrap's own choice."""
    for file in sorted(Path("/etc/apt/sources.list.d").glob("*.sources")):
        for line in file.read_text().splitlines():
            if line.startswith("URIs:"):
                return [line.split()[1]]
    return []
