"""What to do about each reason: one sentence for its owner, one for an administrator. Pure.

The one place for both ends: pages and REST say it (webapp/payloads.py), the terminal's report does
(engine/doctor). A reason that heals by itself says so. What a failure's message already tells
(which file, which host) is not repeated; a test holds this table against db.states.Reason.
"""

from __future__ import annotations

from typing import NamedTuple

from db.states import Reason


class Remedy(NamedTuple):
    owner: str
    administrator: str


_TELL = "Try again; if it fails once more, tell an administrator."
_START_AGAIN = "Start it again when you need it."

REMEDIES: dict[str, Remedy] = {
    Reason.INVALID_ROW: Remedy(
        "A script wrote what does not fit. An administrator can correct it.",
        "Correct the named field of the row (python -m db shell, or the page); it is looked at "
        "again at once.",
    ),
    Reason.NO_CAPACITY: Remedy(
        "It starts by itself as soon as there is room. You can call it off.",
        "Stop desktops nobody uses, raise the hypervisor's limits or add a hypervisor; it starts "
        "by itself.",
    ),
    Reason.NO_HYPERVISOR: Remedy(
        "It starts by itself once a hypervisor is online. You can call it off.",
        "Enable or mend a hypervisor of its pool: its page says which check fails.",
    ),
    Reason.DRAINED: Remedy(
        "It starts by itself as soon as a hypervisor has room. You can call it off.",
        "It starts by itself once its hypervisor is enabled again or another one has room.",
    ),
    Reason.CHECK_FAILED: Remedy(
        "An administrator has to mend the hypervisor.",
        "Do what the failed check says on the hypervisor's page; it is looked at again by itself.",
    ),
    Reason.NO_DISK_HOST: Remedy(
        "It goes on by itself once the storage is online.",
        "Enable or mend a hypervisor that does disk operations for this path of the pool.",
    ),
    Reason.NO_NETWORK: Remedy(
        "It starts by itself once a hypervisor has its network.",
        "Make the network's bridge on a hypervisor of its pool, or give the desktop another "
        "network; it starts by itself.",
    ),
    Reason.NETWORK_REFUSED: Remedy(
        "An administrator can share the network, or give it another one.",
        "Share the network with its owner, or give the desktop another one, then try again.",
    ),
    Reason.POOL_REFUSED: Remedy(
        "An administrator can share the pool with you. It goes on by itself then.",
        "Share the pool with its owner on the pool's page, or delete it and make it in another "
        "pool; it goes on by itself.",
    ),
    Reason.ADDRESS_TAKEN: Remedy(
        "It starts by itself once the other desktop is stopped.",
        "Stop the other desktop, or give one of the two another address.",
    ),
    Reason.PATH_REMOVED: Remedy(
        "An administrator can list the path again. Nothing was deleted.",
        "List the path in its pool again, or move the disks back there. Nothing was deleted.",
    ),
    Reason.PARENT_NOT_READY: Remedy(
        "It goes on by itself once that is ready.",
        "Look at what it is made from: it goes on by itself once that is ready.",
    ),
    Reason.MAKING_TEMPLATE: Remedy(
        "It can be used again as soon as that is done.",
        "Nothing to do: a wish made meanwhile is carried out afterwards.",
    ),
    Reason.DISK_MISSING: Remedy(
        "Nothing was made in its place. An administrator must look at the storage.",
        "Bring the file back from a backup to the very path named, then try again. Nothing is "
        "made in its place.",
    ),
    Reason.DISK_FAILED: Remedy(
        _TELL,
        "Read the command's answer: mostly the disk is full, or the path is read-only. Mend that, "
        "then try again; it goes on from this step.",
    ),
    Reason.WRONG_STORAGE: Remedy(
        "An administrator has to mount the right storage; then it goes on.",
        "Mount the storage that belongs on this path of that host; it is looked at again by "
        "itself. Nothing was touched.",
    ),
    Reason.START_FAILED: Remedy(
        _TELL,
        "Read what libvirt answered: a network, a device or a file it names is not on that host. "
        "Mend that, then try again.",
    ),
    Reason.STOP_FAILED: Remedy(
        "Power it off, or tell an administrator.",
        "Power it off; if that fails too, look at the QEMU process on its hypervisor.",
    ),
    Reason.HOST_UNREACHABLE: Remedy(
        "It comes back by itself when the hypervisor does.",
        "Look at the hypervisor's page: it is tried again by itself. Delete it by force only if "
        "the machine is gone for good.",
    ),
    Reason.HOST_RESTARTED: Remedy(
        _START_AGAIN, "Start it again; restart_on_failure does it alone."
    ),
    Reason.HOST_KEY_CHANGED: Remedy(
        "An administrator has to accept the hypervisor's new key.",
        "Compare the key on the machine itself (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), "
        "then accept it on the hypervisor's page.",
    ),
    Reason.HOST_KEY_UNKNOWN: Remedy(
        "An administrator has to accept the hypervisor's key.",
        "Compare the key on the machine itself (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), "
        "then accept it on the hypervisor's page.",
    ),
    Reason.LOGIN_REFUSED: Remedy(
        "An administrator has to let the engine in on the hypervisor.",
        "Add the engine's public key to authorized_keys of that user on the hypervisor.",
    ),
    Reason.FINGERPRINT_DIFFERS: Remedy(
        "An administrator has to compare the hypervisor's key.",
        "Compare the key on the machine itself (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub); "
        "nothing was sent to it. Then give its fingerprint, and the password, again.",
    ),
    Reason.PASSWORD_REFUSED: Remedy(
        "An administrator has to give the hypervisor's password again.",
        "Give the password of that user again, or add the engine's public key to authorized_keys "
        "there by hand.",
    ),
    Reason.NO_LIBVIRT: Remedy(
        "An administrator has to install libvirt on the hypervisor.",
        "Install and start libvirt on that machine, or let it do disk operations alone.",
    ),
    Reason.BAD_ENROLMENT: Remedy(
        "An administrator has to give the hypervisor's password again.",
        "Give the password again: what was sealed could not be opened by this engine.",
    ),
    Reason.ENROLMENT_FAILED: Remedy(
        "An administrator has to give the hypervisor's password again.",
        "Read the message, mend what it names on that machine, then give the password again.",
    ),
    Reason.ENROLMENT_EXPIRED: Remedy(
        "An administrator has to give the hypervisor's password again.",
        "Give the password again: it is kept for two minutes at most.",
    ),
    Reason.GUEST_CRASHED: Remedy(
        "Start it again; what was not saved is lost.",
        "Start it again. QEMU's log on the hypervisor (/var/log/libvirt/qemu) says how it ended.",
    ),
    Reason.STOPPED_UNSEEN: Remedy(_START_AGAIN, _START_AGAIN),
    Reason.DEADLINE: Remedy(
        "Try again; if it takes too long once more, tell an administrator.",
        "The hypervisor or its storage is very slow: look at its load, then try again.",
    ),
    Reason.IN_USE: Remedy(
        "It can be deleted once nothing uses it any more.",
        "Stop or delete first what the message names; then it goes on.",
    ),
    Reason.DOWNLOAD_FAILED: Remedy(
        "Look at the address, then try again.",
        "Look at the address and at the disk host's way out, then try again.",
    ),
    Reason.ADDRESS_REFUSED: Remedy(
        "Use a public address, or ask an administrator to allow this one.",
        "Use a public address, or allow its network (docs/media.md), then try again.",
    ),
    Reason.NO_SPACE: Remedy(
        "An administrator can free some space on the storage; then try again.",
        "Free some space on the path the message names, or add a path to the pool, then try again.",
    ),
    Reason.CHECKSUM_DIFFERS: Remedy(
        "Compare the checksum with the publisher's, then try again.",
        "Compare the checksum with the publisher's, then try again. Nothing of the file was kept.",
    ),
    Reason.NOT_AN_IMAGE: Remedy(
        "Look at what the address really leads to, then try again.",
        "Look at what the address really leads to, then try again. Nothing of the file was kept.",
    ),
    Reason.MEDIA_NOT_READY: Remedy(
        "It goes on by itself once the medium is there.",
        "Look at the medium's own state on the page Media; it goes on by itself.",
    ),
    Reason.MEDIA_FAILED: Remedy(
        "An administrator must look at the storage.",
        "Look at the storage; if the file is really gone, have the medium downloaded again.",
    ),
    Reason.WAITING_ITS_TURN: Remedy(
        "It begins by itself. You can call it off.",
        "It begins by itself when a download on the same hypervisor ends.",
    ),
    Reason.HARDWARE_MISSING: Remedy(
        "An administrator can install what is missing on the hypervisor.",
        "Install on the hypervisor what the message names, then check it again, or choose other "
        "hardware.",
    ),
    Reason.NOT_STOPPED: Remedy(
        "It goes on by itself once the desktop is stopped. You can cancel it.",
        "Stop the desktop, or cancel the task.",
    ),
    Reason.TARGET_GONE: Remedy(
        "Nothing is left to do.",
        "Nothing is left to do: what it was to work on was deleted.",
    ),
    Reason.WORKED_ON: Remedy(
        "It goes on by itself once the work is done or cancelled.",
        "Wait for the task, or cancel it on the page Tasks.",
    ),
}
"""Reasons that are no trouble have none: a guest shut down from inside, powered off, called off."""


def remedy_for(reason: object, *, administrator: bool) -> str | None:
    """None where there is nothing to do, and for a word we do not know."""
    found = REMEDIES.get(reason) if isinstance(reason, str) else None
    if found is None:
        return None
    return found.administrator if administrator else found.owner
