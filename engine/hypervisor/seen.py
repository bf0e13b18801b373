"""What a host says about one domain, read from its own XML and state. Pure.

The metadata element is how a domain of ours is told from others: it carries the installation's id
and the revision of the row it was started from (written by engine.domain_xml.builder). Called by
engine.hypervisor.connection.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

from engine.domain_xml.domain import METADATA_URI

STATES: dict[int, str] = {
    0: "nostate",
    1: "running",
    2: "blocked",
    3: "paused",
    4: "shutdown",
    5: "shutoff",
    6: "crashed",
    7: "pmsuspended",
}
"""VIR_DOMAIN_* in libvirt's own words; `shutdown` is being shut down and still active."""

ACTIVE = frozenset({"running", "blocked", "paused", "shutdown", "pmsuspended"})

DRIVES = "./devices/disk[@device='cdrom']"


@dataclass(frozen=True)
class SeenDomain:
    """`installation` is None where it carries no metadata of ours (somebody's own domain)."""

    uuid: str
    state: str
    installation: str | None
    revision: str | None = None
    vnc_port: int | None = None
    spice_port: int | None = None
    disks: tuple[str, ...] = ()
    """Paths of its disk files, as libvirt has them open or would open them."""
    name: str = ""
    macs: tuple[str, ...] = ()
    drives: tuple[str | None, ...] = ()
    """What is in each of its drives for ISO images; None where it is empty."""

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE


def read_domain(xml: str, state: int) -> SeenDomain:
    """From the host's XML of the domain. Raises ValueError for what is none."""
    try:
        root = ElementTree.fromstring(xml)  # noqa: S314 (libvirt's own answer)
    except ElementTree.ParseError as error:
        raise ValueError(f"libvirt's domain XML cannot be read: {error}") from error
    mark = root.find(f"./metadata/{{{METADATA_URI}}}domain")
    return SeenDomain(
        uuid=(root.findtext("./uuid") or "").strip().lower(),
        state=STATES.get(state, "nostate"),
        installation=mark.get("installation") if mark is not None else None,
        revision=mark.get("revision") if mark is not None else None,
        vnc_port=_port(root, "vnc"),
        spice_port=_port(root, "spice"),
        disks=tuple(
            source.attrib["file"]
            for source in root.iterfind("./devices/disk[@device='disk']/source[@file]")
        ),
        name=(root.findtext("./name") or "").strip(),
        macs=tuple(
            card.attrib["address"] for card in root.iterfind("./devices/interface/mac[@address]")
        ),
        drives=tuple(file_in(drive) for drive in root.iterfind(DRIVES)),
    )


def file_in(drive: ElementTree.Element) -> str | None:
    source = drive.find("source")
    return None if source is None else source.get("file")


def _port(root: ElementTree.Element, kind: str) -> int | None:
    graphics = root.find(f"./devices/graphics[@type='{kind}']")
    if graphics is None:
        return None
    port = int(graphics.get("port") or -1)
    return port if port > 0 else None
