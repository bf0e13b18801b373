"""What guests may reach: with real packets, on a pretend machine with something outside it."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network

import pytest

from hyper_image import guest_network
from tests.lab import Lab, LabHost, wait_until
from tests.lab.networks import Network, join, plug_in, serve_on

MACHINE, OUTSIDE = "198.51.100.10", "198.51.100.20"
PORT = 8000


@pytest.fixture
def machine() -> Iterator[Network]:
    """A machine's network, cabled to another's."""
    with Network() as network, Network() as outside:
        join(network, f"{MACHINE}/24", outside, f"{OUTSIDE}/24")
        outside.serve(PORT, "outside")
        network.serve(PORT, "the machine")
        yield network


@pytest.fixture
def host(lab: Lab, machine: Network) -> LabHost:
    """A host on that machine."""
    return lab.start("h1", uplink=True, prefix=machine.enter)


@pytest.fixture
def guest(host: LabHost) -> Iterator[Network]:
    with Network(inside=host) as network:
        plug_in(network, host, "10.181.1.5/20", guest_network.GATEWAY)
        yield network


def test_a_guest_reaches_the_world(guest: Network) -> None:
    wait_until(lambda: guest.ask(OUTSIDE, PORT) == "outside", 20)


def test_a_guest_reaches_neither_the_machine_nor_the_host(
    machine: Network, host: LabHost, guest: Network
) -> None:
    wait_until(lambda: guest.ask(OUTSIDE, PORT) == "outside", 20)
    assert machine.ask(MACHINE, PORT) == "the machine"
    for address in (MACHINE, "127.0.0.1", "10.0.2.2", guest_network.GATEWAY, "0.0.0.0"):
        assert "no answer" in guest.ask(address, PORT, timeout_s=1), address
    for port in (22, host.ssh_port, host.viewer_port, 16509):
        assert "no answer" in guest.ask(guest_network.GATEWAY, port, timeout_s=1)
        assert "no answer" in guest.ask(MACHINE, port, timeout_s=1)


def test_an_address_the_machine_gets_later_is_forbidden_too(
    machine: Network, host: LabHost, guest: Network
) -> None:
    wait_until(lambda: guest.ask(OUTSIDE, PORT) == "outside", 20)
    machine.run("ip", "address", "add", "198.51.100.77/24", "dev", "cable0")
    assert machine.ask("198.51.100.77", PORT) == "the machine"
    wait_until(lambda: "198.51.100.77" in forbidden(host), 20)
    assert "no answer" in guest.ask("198.51.100.77", PORT, timeout_s=1)


def test_a_guest_is_answered_by_the_hosts_name_server(guest: Network) -> None:
    """Asked for what it knows by itself: its version."""
    header, question = "123401000001000000000000", "0776657273696f6e0462696e640000100003"
    program = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(10);"
        f"s.sendto(bytes.fromhex('{header + question}'), ('{guest_network.GATEWAY}', 53));"
        "print(s.recv(512))"
    )
    assert "dnsmasq" in guest.run("python3", "-c", program)


def test_the_machines_network_is_as_it_was(lab: Lab, machine: Network) -> None:
    before = picture(machine)
    host = lab.start("h1", uplink=True, prefix=machine.enter)
    assert picture(machine) == before
    host.stop()
    assert picture(machine) == before


def test_without_a_way_out_guests_are_alone(lab_host: LabHost) -> None:
    with Network(inside=lab_host) as guest:
        plug_in(guest, lab_host, "10.181.1.5/20", guest_network.GATEWAY)
        assert "no answer" in guest.ask("198.51.100.20", PORT, timeout_s=1)


def test_on_any_other_bridge_too_a_guest_does_not_reach_the_host(lab_host: LabHost) -> None:
    """Told from whatever else is on that bridge by its port, which libvirt names."""
    lab_host.exec(["ip", "link", "add", "br7", "type", "bridge"])
    lab_host.exec(["ip", "address", "add", "10.77.0.1/24", "dev", "br7"])
    lab_host.exec(["ip", "link", "set", "br7", "up"])
    with (
        Network(inside=lab_host) as guest,
        Network(inside=lab_host) as machine,
        serve_on(lab_host, PORT, "the host"),
    ):
        plug_in(guest, lab_host, "10.77.0.5/24", "10.77.0.1", bridge="br7", port="vnet77")
        plug_in(machine, lab_host, "10.77.0.6/24", "10.77.0.1", bridge="br7", port="other77")
        machine.serve(PORT, "the machine beside it")
        wait_until(lambda: guest.ask("10.77.0.6", PORT) == "the machine beside it", 20)
        wait_until(lambda: machine.ask("10.77.0.1", PORT) == "the host", 20)
        for address in ("10.77.0.1", guest_network.GATEWAY):
            assert "no answer" in guest.ask(address, PORT, timeout_s=1), address


def test_every_local_route_of_the_machine_counts_as_its_own() -> None:
    routes: list[dict[str, object]] = [
        {"type": "local", "dst": "127.0.0.0/8"},
        {"type": "local", "dst": "192.168.7.5"},
        {"type": "broadcast", "dst": "192.168.7.255"},
    ]
    assert guest_network.local_networks(routes) == [
        IPv4Network("127.0.0.0/8"),
        IPv4Network("192.168.7.5/32"),
        IPv4Network("192.168.7.255/32"),
    ]


def forbidden(host: LabHost) -> str:
    return host.exec(["nft", "list", "set", "inet", "isard", "machine"]).stdout


def picture(network: Network) -> list[str]:
    """Everything a hypervisor could have changed."""
    return [
        network.run("ip", "-br", "link"),
        network.run("ip", "-4", "address"),
        network.run("ip", "-4", "route", "show", "table", "all"),
        network.run("nft", "list", "ruleset"),
        network.run("sysctl", "net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding"),
    ]
