"""Guests' networks on real hosts: who may use which, where it is there, and nobody forges anything.

What a guest could send is sent from network namespaces that are plugged into the host's bridges as
a guest's card is, and bound to the same filters: a guest that forges is easier made so than booted.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

from db.connection import r
from db.defaults import EVERYBODY, NOBODY
from engine.hypervisor.networks import ask_agent, bridge_of, ensure_filter, read_leases
from engine.networks import OWN_ADDRESSES, OWN_CARD, lacks_of, read_network
from hyper_image.demo_guest import __main__ as demo_guest
from tests.engine.world import World
from tests.lab import LabHost, wait_until
from tests.lab.networks import Network, plug_in

PORT = 8000
BOOT_TIMEOUT_S = 90.0


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World(hosts=("h1", "h2")) as world:
        world.template = world.add_template()
        yield world


@pytest.fixture
def desktops(world: World) -> Iterator[Callable[..., str]]:
    """Makes a desktop with these cards, and deletes it afterwards."""
    made: list[str] = []

    def make(*cards: dict[str, Any], **more: Any) -> str:
        spec = {"vcpus": 1, "memory_mib": 16, "interfaces": list(cards)}
        made.append(world.add_desktop(world.template, spec=spec, **more))
        return made[-1]

    yield make
    for one in made:
        world.wish(one, "deleted", force=True)
    for one in made:
        world.wait_gone(one)
    others = r.table("interfaces").filter(r.row["id"].ne("default"))
    world.database.run(others.delete())


def add_network(world: World, name: str, **row: Any) -> None:
    full = {"id": name, "name": name.title(), "allowed": EVERYBODY, **row}
    world.database.run(r.table("interfaces").insert(full, conflict="replace"))


def card_of(host: LabHost, desktop: str) -> tuple[str, str]:
    """(port, bridge) of the guest's card, as the host has it."""
    rows = host.exec(["virsh", "-q", "domiflist", desktop]).stdout.split()
    port = rows[0]
    master = Path("/sys/class/net") / port / "master"
    return port, host.exec(["readlink", str(master)]).stdout.strip().rpartition("/")[2]


def test_a_card_keeps_its_address_and_is_bound_to_the_filter(
    world: World, desktops: Callable[..., str]
) -> None:
    one = desktops({"id": "default"}, placement={"forced_hypervisor": "h1"})
    world.wish(one, "started")
    mac = world.wait_for(one, "started")["interfaces"][0]["mac"]
    host = world.hosts["h1"]
    port, bridge = card_of(host, one)
    assert bridge == "guests0"
    assert port in host.exec(["virsh", "-q", "nwfilter-binding-list"]).stdout
    xml = host.exec(["virsh", "dumpxml", one]).stdout
    assert f"<mac address='{mac}'/>" in xml
    assert f"<filterref filter='{OWN_ADDRESSES}'>" in xml
    world.wish(one, "stopped", force=True)
    world.wait_for(one, "stopped")
    world.wish(one, "started")
    assert world.wait_for(one, "started")["interfaces"][0]["mac"] == mac


def test_an_isolated_network_is_made_at_the_first_start_and_ends_with_its_row(
    world: World, desktops: Callable[..., str]
) -> None:
    add_network(world, "lab", kind="isolated")
    place = {"forced_hypervisor": "h1"}
    pair = [desktops({"id": "lab"}, placement=place) for _ in range(2)]
    for one in pair:
        world.wish(one, "started")
    host = world.hosts["h1"]
    for one in pair:
        world.wait_for(one, "started")
        assert card_of(host, one)[1] == bridge_of("isard-lab")
    with Network(inside=host) as ana, Network(inside=host) as ben:
        bridge = bridge_of("isard-lab")
        plug_in(ana, host, "10.88.0.5/24", None, bridge=bridge, port="vnet885")
        plug_in(ben, host, "10.88.0.6/24", None, bridge=bridge, port="vnet886")
        ben.serve(PORT, "ben")
        wait_until(lambda: ana.ask("10.88.0.6", PORT) == "ben", 20)
        assert "inet" not in host.exec(["ip", "address", "show", bridge]).stdout
    theirs = str(uuid.uuid4())
    xml = f"<network><name>isard-theirs</name><uuid>{theirs}</uuid></network>"
    host.exec(["virsh", "net-create", "/dev/stdin"], input=xml)
    world.database.run(r.table("interfaces").get("lab").delete())
    assert "isard-lab" in networks_of(host), "guests are on it"
    for one in pair:
        world.wish(one, "stopped", force=True)
    world.wait_until(lambda: "isard-lab" not in networks_of(host), "it is ended")
    assert "isard-theirs" in networks_of(host), "what is not ours is not touched"
    add_network(world, "theirs", kind="isolated")
    refused = desktops({"id": "theirs"}, placement=place)
    world.wish(refused, "started")
    assert "not this installation's" in world.wait_failure(refused, "InUse")["message"]
    host.exec(["virsh", "net-destroy", "isard-theirs"])


def networks_of(host: LabHost) -> list[str]:
    return host.exec(["virsh", "-q", "net-list", "--name"]).stdout.split()


def test_a_desktop_goes_where_its_bridge_is_and_waits_where_there_is_none(
    world: World, desktops: Callable[..., str]
) -> None:
    add_network(world, "house", kind="bridge", bridge="br7")
    one = desktops({"id": "house"}, placement={"favourite_hypervisor": "h1"})
    world.wish(one, "started")
    seen = world.wait_for(one, "stopped", reason="NoNetwork")
    assert "h1 has no bridge 'br7'" in seen["message"]
    for command in (["link", "add", "br7", "type", "bridge"], ["link", "set", "br7", "up"]):
        world.hosts["h2"].exec(["ip", *command])
    world.wait_for(one, "started", hypervisor="h2")
    assert card_of(world.hosts["h2"], one)[1] == "br7"


def test_a_network_that_is_not_shared_with_the_owner_is_refused_to_a_scripts_row(
    world: World, desktops: Callable[..., str]
) -> None:
    add_network(world, "staff", network="default", allowed=NOBODY)
    one = desktops({"id": "staff"})
    world.wish(one, "started")
    seen = world.wait_for(one, "stopped", reason="NetworkRefused")
    assert "'Staff'" in seen["message"]
    share = {"allowed": {**NOBODY, "groups": ["class-1a"]}}
    world.database.run(r.table("interfaces").get("staff").update(share))
    world.wait_for(one, "started")
    add_network(world, "odd", kind="wormhole")
    for name in ("odd", "nowhere"):
        other = desktops({"id": name})
        world.wish(other, "started")
        seen = world.wait_for(other, "stopped", reason="NoNetwork")
        assert name in seen["message"]


def test_two_running_desktops_never_have_the_same_hardware_address(
    world: World, desktops: Callable[..., str]
) -> None:
    card = {"id": "default", "mac": "52:54:00:77:77:77"}
    first, second = desktops(card), desktops(card)
    world.wish(first, "started")
    world.wait_for(first, "started")
    world.wish(second, "started")
    seen = world.wait_for(second, "stopped", reason="AddressTaken")
    assert "52:54:00:77:77:77" in seen["message"]
    world.wish(first, "stopped", force=True)
    world.wait_for(second, "started")


@pytest.fixture
def connection(world: World) -> Iterator[libvirt.virConnect]:
    with libvirt.open(world.hosts["h1"].libvirt_uri) as connection:
        yield connection


@pytest.fixture
def guest(world: World) -> Iterator[Network]:
    """As a guest on the bridge of h1, with somebody beside it who answers."""
    host = world.hosts["h1"]
    with Network(inside=host) as guest, Network(inside=host) as other:
        plug_in(guest, host, "10.181.1.5/20", None, port=port_of(guest))
        plug_in(other, host, "10.181.1.6/20", None, port=port_of(other))
        other.serve(PORT, "other")
        wait_until(lambda: reaches(guest), 20)
        yield guest


def reaches(guest: Network, timeout_s: float = 3.0) -> bool:
    guest.run("ip", "neigh", "flush", "all")
    return guest.ask("10.181.1.6", PORT, timeout_s) == "other"


def bind(connection: libvirt.virConnect, guest: Network, filter_name: str) -> None:
    """What libvirt does with a guest's card; its address is given instead of learnt."""
    ensure_filter(connection, filter_name)
    ensure_filter(connection, filter_name)
    mac, host_side = mac_of(guest), port_of(guest)
    connection.nwfilterBindingCreateXML(
        f"<filterbinding><owner><name>x</name><uuid>{uuid.uuid4()}</uuid></owner>"
        f"<portdev name='{host_side}'/><mac address='{mac}'/><filterref filter='{filter_name}'>"
        "<parameter name='IP' value='10.181.1.5'/></filterref></filterbinding>"
    )


def mac_of(guest: Network) -> str:
    return str(json.loads(guest.run("ip", "-j", "link", "show", "eth0"))[0]["address"])


def port_of(guest: Network) -> str:
    """Of its own each time: a port lives a little longer than the network at its other end."""
    return f"vnet{guest.pid}"


def set_address(guest: Network, address: str) -> None:
    guest.run("ip", "address", "flush", "dev", "eth0")
    guest.run("ip", "address", "add", f"{address}/20", "dev", "eth0")


def test_a_guest_that_forges_an_address_reaches_nobody(
    connection: libvirt.virConnect, guest: Network
) -> None:
    set_address(guest, "10.181.1.9")
    assert reaches(guest), "without the filter it does"
    set_address(guest, "10.181.1.5")
    bind(connection, guest, OWN_ADDRESSES)
    assert reaches(guest), "as itself it does"
    set_address(guest, "10.181.1.9")
    assert not reaches(guest, 1.0)
    set_address(guest, "10.181.1.5")
    own = mac_of(guest)
    guest.run("ip", "link", "set", "eth0", "address", "52:54:00:66:66:66")
    assert not reaches(guest, 1.0)
    guest.run("ip", "link", "set", "eth0", "address", own)
    assert reaches(guest), "it was the forgery that was stopped"


def test_where_any_address_may_be_used_the_hardware_address_is_still_its_own(
    connection: libvirt.virConnect, guest: Network
) -> None:
    bind(connection, guest, OWN_CARD)
    set_address(guest, "10.181.1.9")
    assert reaches(guest)
    guest.run("ip", "link", "set", "eth0", "address", "52:54:00:66:66:66")
    assert not reaches(guest, 1.0)


def test_a_linux_guest_gets_an_address_through_the_filter_and_it_is_shown(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    built = tmp_path_factory.mktemp("demo")
    demo_guest.build(world.data / "images" / "demo", built / "cache")
    image = str(world.data / "images" / "demo" / "demo.qcow2")
    template = world.add_domain("template", {"image": image})
    world.wait_for(template, "stopped")
    spec = {"vcpus": 1, "memory_mib": 96, "interfaces": [{"id": "default"}]}
    one = world.add_desktop(template, spec=spec)
    world.wish(one, "started")
    world.wait_for(one, "started")

    def address() -> str:
        return str(world.observed(one)["interfaces"][0].get("address") or "")

    world.wait_until(address, "its address is shown", BOOT_TIMEOUT_S)
    assert address().startswith("10.181.")
    world.wish(one, "stopped", force=True)
    world.wait_for(one, "stopped")
    assert not address(), "a guest that is down has none"
    world.wish(one, "deleted")
    world.wait_gone(one)


def test_a_guest_is_asked_through_its_agent_where_nobody_lent_it_an_address() -> None:
    """On libvirt's own test driver, whose guest answers; one that is not there answers nothing."""
    with libvirt.open("test:///default") as pretended:
        (domain,) = pretended.listAllDomains()
        found = ask_agent(pretended, domain.UUIDString())
        assert found == {"aa:bb:cc:dd:ee:ff": "192.168.122.3"}
        assert ask_agent(pretended, str(uuid.uuid4())) == {}
        assert read_leases(pretended) == {}, "a network that lends none is no error"


def test_what_a_row_means_and_what_a_host_lacks_of_it() -> None:
    rows: list[dict[str, Any]] = [
        {"id": "default"},
        {"id": "nat2", "network": "second"},
        {"id": "house", "kind": "bridge", "bridge": "br0", "model": "e1000"},
        {"id": "lab", "kind": "isolated"},
        {"id": "free", "kind": "isolated", "addresses": "any"},
        {"id": "bad", "kind": "bridge"},
    ]
    read = {row["id"]: read_network(row) for row in rows}
    shown = {
        name: (one.kind, one.source, one.model, one.filter, one.learns)
        for name, one in read.items()
        if not isinstance(one, str)
    }
    assert shown == {
        "default": ("network", "default", "virtio", OWN_ADDRESSES, "dhcp"),
        "nat2": ("network", "second", "virtio", OWN_ADDRESSES, "dhcp"),
        "house": ("bridge", "br0", "e1000", OWN_ADDRESSES, "dhcp"),
        "lab": ("network", "isard-lab", "virtio", OWN_ADDRESSES, "any"),
        "free": ("network", "isard-free", "virtio", OWN_CARD, None),
    }
    assert "bridge" in str(read["bad"])
    assert lacks_of(rows, {"default"}, {"br1"}) == {
        "nat2": "no running libvirt network 'second'",
        "house": "no bridge 'br0'",
    }
    assert lacks_of(rows, None, None) == {}
