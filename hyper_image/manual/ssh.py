"""May the engine log in? sshd runs, answers, and lets root in by key.

Who may log in is the administrator's to decide, so sshd's configuration is only judged; a service
that does not run is started.
"""

from __future__ import annotations

import socket

from hyper_image.asking import ask
from hyper_image.manual.finding import Change, Finding, Options, do, has_systemd, missing, ok
from hyper_image.manual.programs import find

ROOT_BY_KEY = ("yes", "prohibit-password", "without-password")
ROOT_LOGIN = "PermitRootLogin prohibit-password"
GREETING_TIMEOUT_S = 5.0
FALLBACK = "22"


def look_at_ssh(_options: Options) -> list[Finding]:
    program = find("sshd")
    if program is None:
        return [missing("sshd", "apt-get install openssh-server")]
    configuration = (program, "-T", "-C", "user=root,host=engine,addr=192.0.2.1")
    told = ask(*configuration)
    if told.returncode != 0 and greets(int(FALLBACK)):
        # Where systemd starts it by the first connection, what it needs to look is there only now.
        told = ask(*configuration)
    facts: dict[str, list[str]] = {}
    for line in told.stdout.splitlines():
        key, _space, value = line.partition(" ")
        facts.setdefault(key, []).append(value)
    port = int(facts.get("port", [FALLBACK])[0])
    findings = [look_at_port(port)]
    if told.returncode != 0:
        said = (told.stderr.strip().splitlines() or ["no reason given"])[-1]
        todo = "start it, or mend its configuration (sshd -t)"
        return [*findings, missing(f"sshd's configuration cannot be read: {said}", todo)]
    login = facts.get("permitrootlogin", [""])[0]
    by_key = facts.get("pubkeyauthentication", [""])[0]
    if login not in ROOT_BY_KEY or by_key != "yes":
        todo = (
            f"put {ROOT_LOGIN} and PubkeyAuthentication yes into /etc/ssh/sshd_config and reload "
            "sshd; or use another user, who must be in the group libvirt and may use sudo without "
            "a password"
        )
        found = f"PermitRootLogin {login}, PubkeyAuthentication {by_key}"
        return [*findings, missing(f"root may not log in by key ({found})", todo)]
    return [*findings, ok("root may log in by key")]


def look_at_port(port: int) -> Finding:
    if greets(port):
        return ok(f"sshd answers at port {port}")
    todo = "systemctl enable --now ssh"
    change = Change(todo, lambda: do(*todo.split())) if has_systemd() else None
    return missing(f"sshd does not answer at port {port}", todo, change)


def greets(port: int) -> bool:
    try:
        with socket.create_connection(("localhost", port), GREETING_TIMEOUT_S) as client:
            return client.recv(4, socket.MSG_WAITALL) == b"SSH-"
    except OSError:
        return False
