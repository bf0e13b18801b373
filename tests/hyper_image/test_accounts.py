"""The accounts of a private host, from the text of a machine's."""

from __future__ import annotations

from hyper_image import accounts

PASSWD = """\
root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
libvirt-qemu:x:771:772::/var/lib/libvirt:/usr/sbin/nologin
anna:x:1000:1000:Anna,,,:/home/anna:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""
GROUP = """\
root:x:0:
kvm:x:106:anna
libvirt-qemu:x:772:
anna:x:1000:
nogroup:x:65534:
"""


def named(text: str) -> dict[str, list[str]]:
    return {line.split(":")[0]: line.split(":") for line in text.splitlines()}


def test_people_of_the_machine_are_not_there_and_its_system_users_are() -> None:
    users = named(accounts.private_accounts(PASSWD, GROUP).passwd)
    assert "anna" not in users
    assert {"root", "daemon", "nobody"} <= set(users)


def test_service_users_are_added_and_those_of_the_machine_keep_their_numbers() -> None:
    files = accounts.private_accounts(PASSWD, GROUP)
    users, groups = named(files.passwd), named(files.group)
    assert users[accounts.QEMU_USER][2] == "771"
    for user in accounts.SERVICE_USERS:
        assert user.name in users
    assert users[accounts.VIEWER_USER][3] == groups[accounts.VIEWER_USER][2]
    assert accounts.QEMU_USER in groups["kvm"][3].split(",")


def test_root_is_neither_locked_nor_has_anybody_a_password() -> None:
    shadow = named(accounts.private_accounts(PASSWD, GROUP).shadow)
    assert {fields[1] for fields in shadow.values()} == {"*"}


def test_a_machine_without_any_of_it_gets_all_of_it() -> None:
    files = accounts.private_accounts("", "")
    assert set(named(files.passwd)) == {"root", *(user.name for user in accounts.SERVICE_USERS)}
    assert "kvm" in named(files.group)
