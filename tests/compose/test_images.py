"""What is in our images, and what must not be."""

from __future__ import annotations

import sys

import pytest

from tests.compose.docker_engine import DockerEngine

LIMITS_MB = {"isard-app": 250, "isard-hypervisor": 400, "isard-portal": 120}
OFFICIAL_BASE_MB = 75
"""debian:bookworm-slim, on which our images are built elsewhere; the tests' own base is larger."""
FORBIDDEN_PROGRAMS = ("gcc", "cc", "g++", "make", "npm", "node", "git", "pip", "pip3")

MUST_NOT_BE = {
    "keys of hosts or people": "ls /etc/ssh/ssh_host_*_key /root/.ssh/* /etc/isard/* 2>/dev/null",
    "caches": "find /var/lib/apt/lists /var/cache/apt /root/.cache -type f 2>/dev/null",
    "private keys": "grep -rlE -- '-----BEGIN ([A-Z]+ )?PRIVATE KEY' /etc /opt /root 2>/dev/null",
    "what is ours alone": "ls -d /usr/lib/isardvdi/.[a-z]* /usr/lib/isardvdi/tests 2>/dev/null",
}


def size_mb_of(engine: DockerEngine, image: str) -> float:
    return int(engine.run("image", "inspect", "-f", "{{.Size}}", image).stdout) / 1e6


def sh(engine: DockerEngine, image: str, line: str) -> str:
    """A shell line in a container of this image that is nothing but its files."""
    return engine.run(
        *("run", "--rm", "--network", "none", "--user", "root", "--entrypoint", "sh"),
        *(image, "-c", line),
    ).stdout


@pytest.mark.parametrize("name", list(LIMITS_MB))
def test_an_image_is_small_and_holds_nothing_but_the_program(
    engine: DockerEngine,
    variables: dict[str, str],
    name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    image = f"{variables['ISARD_IMAGES']}{name}:{variables['ISARD_VERSION']}"
    own_mb = size_mb_of(engine, image) - size_mb_of(engine, variables["ISARD_BASE_IMAGE"])
    size_mb = own_mb + OFFICIAL_BASE_MB
    with capsys.disabled():
        sys.stdout.write(f"\n{name}: {size_mb:.0f} MB\n")
    assert size_mb < LIMITS_MB[name]
    programs = " ".join(FORBIDDEN_PROGRAMS)
    assert sh(engine, image, f"for p in {programs}; do command -v $p; done; true") == ""
    for what, where in MUST_NOT_BE.items():
        assert sh(engine, image, f"{where}; true").split() == [], what
    # No account opens with a password, least of all an empty or a known one.
    hashes = [line.split(":")[1] for line in sh(engine, image, "cat /etc/shadow").splitlines()]
    assert [one for one in hashes if one.strip("!*")] == []
    history = engine.run("history", "--no-trunc", "--format", "{{.CreatedBy}}", image).stdout
    assert "PASSWORD=" not in history
