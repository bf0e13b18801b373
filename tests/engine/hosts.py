"""Fixtures: one real hypervisor host for a run of tests, and what talks to it.

The host is shared, so each test works with ids of its own and a pool path of its own. Tests that
crash or freeze a host start one for themselves (`lab` of tests.lab.fixtures).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine.domain_xml.builder import DiskFile, DomainRequest, InterfaceCard, build_domain_xml
from engine.hypervisor.connection import HostConnection
from engine.hypervisor.events import DomainEvent
from engine.hypervisor.host import HostAddress
from engine.hypervisor.ssh import SshSession
from engine.settings import EngineSettings
from engine.storage.disks import DiskHost
from tests.lab import Lab, LabHost, tiny_guest

INSTALLATION = "11111111-2222-4333-8444-555555555555"


@pytest.fixture(scope="session")
def shared_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("lab")) as running:
        yield running


@pytest.fixture(scope="session")
def shared_host(shared_lab: Lab) -> LabHost:
    return shared_lab.start("h1")


def engine_settings(host: LabHost, data: Path, **changes: object) -> EngineSettings:
    """An engine whose key this host lets in."""
    settings = EngineSettings.from_environment({"ISARD_DATA": str(data)})
    return replace(settings, ssh_key=host.key_path, **changes)  # type: ignore[arg-type]


def address_of(host: LabHost) -> HostAddress:
    return HostAddress(host.id, "127.0.0.1", host.ssh_port, "root", host.host_key)


@pytest.fixture
def settings(shared_host: LabHost) -> EngineSettings:
    """The data folder is one the host sees too, and its name has what a shell would trip over."""
    folder = (
        shared_host.settings.data / f'the engine\'s "$(data) ${{HOME}} %h" {uuid.uuid4().hex[:8]}'
    )
    return engine_settings(shared_host, folder)


@pytest.fixture
def ssh(shared_host: LabHost, settings: EngineSettings) -> Iterator[SshSession]:
    session = SshSession(address_of(shared_host), settings)
    yield session
    session.close()


class Recorder:
    """Keeps what a connection calls back."""

    def __init__(self) -> None:
        self.events: list[DomainEvent] = []
        self.closings: list[str] = []

    def of(self, domain_id: str) -> list[tuple[str, str]]:
        return [(event.kind, event.detail) for event in self.events if event.uuid == domain_id]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def connection(
    shared_host: LabHost, settings: EngineSettings, recorder: Recorder
) -> Iterator[HostConnection]:
    handle = HostConnection(
        address_of(shared_host),
        settings,
        recorder.events.append,
        recorder.closings.append,
        installation=INSTALLATION,
    )
    handle.open()
    yield handle
    handle.close()


@pytest.fixture
def disks(ssh: SshSession) -> DiskHost:
    return DiskHost(ssh, INSTALLATION)


@pytest.fixture
def pool(shared_host: LabHost, disks: DiskHost) -> str:
    """A pool path of this test's own, marked."""
    path = str(shared_host.storage_root / "groups" / f"pool-{uuid.uuid4().hex[:8]}")
    disks.ensure_marker(path, "default", None)
    return path


@pytest.fixture
def tiny_base(disks: DiskHost, pool: str, settings: EngineSettings) -> str:
    """The tiny guest's disk, taken over into the pool."""
    settings.images.mkdir(parents=True, exist_ok=True)
    image = settings.images / "tiny.qcow2"
    tiny_guest.build(image)
    path = f"{pool}/{uuid.uuid4()}/disk0.qcow2"
    disks.create_from_image(path, str(image))
    return path


@pytest.fixture
def new_guest(
    disks: DiskHost, pool: str, tiny_base: str, connection: HostConnection
) -> Iterator[Callable[[], DomainRequest]]:
    """Makes the disk of a new desktop and says how it is to be started. Powered off afterwards."""
    made: list[str] = []

    def make() -> DomainRequest:
        id = str(uuid.uuid4())
        path = f"{pool}/{id}/disk0.qcow2"
        disks.create_overlay(path, tiny_base)
        made.append(id)
        return tiny_request(id, path)

    yield make
    for id in made:
        connection.destroy(id)


def tiny_request(id: str, path: str) -> DomainRequest:
    return DomainRequest(
        id=id,
        name="A tiny guest",
        spec={"memory_mib": 16},
        disks=[DiskFile("disk0", path)],
        interfaces=[InterfaceCard("default", "52:54:00:" + ":".join(_pairs(id)))],
        installation=INSTALLATION,
        revision="1",
        accelerator="qemu",
        console_password="Secret12",
    )


def tiny_xml(request: DomainRequest) -> str:
    return build_domain_xml(request)


def _pairs(id: str) -> list[str]:
    return [id[at : at + 2] for at in (0, 2, 4)]
