"""The accounts of a private host: root without a password, and the unprivileged users of its
services.

A host in namespaces gets its own passwd, group and shadow. Nobody of the machine can be logged in
to through its sshd, and root is neither locked (which sshd refuses, as on Ubuntu) nor reachable
by any password. The service users exist even where the distribution's package that would create
them is not installed. Users the machine already has keep their numbers. Used by
`private_world.py`; a container has its image's accounts instead.
"""

from __future__ import annotations

from dataclasses import dataclass

QEMU_USER = "libvirt-qemu"
DNSMASQ_USER = "libvirt-dnsmasq"
VIEWER_USER = "isard-viewer"
TPM_USER = "tss"
"""Whom libvirt runs the TPM emulator as."""
HOME = "/etc/isard/home"


@dataclass(frozen=True)
class ServiceUser:
    """Numbers are used only if the machine has no such user."""

    name: str
    uid: int
    supplementary: tuple[str, ...] = ()


SERVICE_USERS = (
    ServiceUser(QEMU_USER, 64055, ("kvm",)),
    ServiceUser(DNSMASQ_USER, 64056),
    ServiceUser(VIEWER_USER, 64057),
    ServiceUser("sshd", 64058),
    ServiceUser(TPM_USER, 64060),
)
FIRST_PERSON_UID = 1000
LAST_PERSON_UID = 59999
KVM_GID = 64059


@dataclass(frozen=True)
class AccountFiles:
    passwd: str
    group: str
    shadow: str


def private_accounts(machine_passwd: str, machine_group: str) -> AccountFiles:
    """The private host's account files, from the text of the machine's. Pure."""
    users = system_lines(machine_passwd, FIRST_PERSON_UID)
    groups = system_lines(machine_group, FIRST_PERSON_UID)
    users["root"] = f"root:x:0:0:root:{HOME}:/bin/sh"
    groups.setdefault("root", "root:x:0:")
    groups.setdefault("kvm", f"kvm:x:{KVM_GID}:")
    for user in SERVICE_USERS:
        if user.name not in users:
            groups.setdefault(user.name, f"{user.name}:x:{user.uid}:")
            gid = groups[user.name].split(":")[2]
            users[user.name] = f"{user.name}:x:{user.uid}:{gid}::/nonexistent:/usr/sbin/nologin"
        for group in user.supplementary:
            groups[group] = with_member(groups[group], user.name)
    return AccountFiles(
        passwd="".join(line + "\n" for line in users.values()),
        group="".join(line + "\n" for line in groups.values()),
        shadow="".join(f"{name}:*:19000:0:99999:7:::\n" for name in users),
    )


def system_lines(text: str, first_person: int) -> dict[str, str]:
    """The lines of the system's own users (or groups) by name."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) < 4 or not fields[2].isdigit():
            continue
        if first_person <= int(fields[2]) <= LAST_PERSON_UID:
            continue
        found.setdefault(fields[0], line)
    return found


def with_member(group_line: str, user: str) -> str:
    head, _, members = group_line.rpartition(":")
    names = [name for name in members.split(",") if name]
    return group_line if user in names else f"{head}:{','.join([*names, user])}"
