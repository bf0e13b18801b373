"""The certificates that SPICE speaks TLS with: complete, fitting each other and the host's name, in
time, and readable by QEMU.

The private key never leaves the host: there its public half is made, and compared here. Everything
only warns, because VNC through the websocket proxy works without.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
    load_ssh_public_key,
)

from engine.hypervisor.checks.visit import VIRTUALIZATION, Check, Finding, Visit, passed, warned

FOLDER = "/etc/pki/libvirt-spice"
EXPIRES_SOON = timedelta(days=30)
COPY = (
    "Copy ca-cert.pem, server-cert.pem and server-key.pem from /opt/isard/certs/default of this "
    f"installation to {FOLDER} on the host, and restart libvirt there."
)
RIGHT = (
    "Put ca-cert.pem, server-cert.pem and server-key.pem that belong together into "
    "/opt/isard/certs/default of the host: its container takes them within seconds."
)

LOOK = """
conf=/etc/libvirt/qemu.conf
value() {
  sed -n "s/^[[:space:]]*$1[[:space:]]*=[[:space:]]*\\"\\{0,1\\}\\([^\\"#]*\\).*/\\1/p" \
    "$conf" 2>/dev/null | tail -n 1
}
folder=$(value spice_tls_x509_cert_dir)
[ -n "$folder" ] || folder=$1
user=$(value user)
for name in libvirt-qemu qemu root; do [ -n "$user" ] || ! id "$name" >/dev/null 2>&1 || user=$name
done
readable=unknown
if [ "$(id -u)" = 0 ] && id "$user" >/dev/null 2>&1; then
  readable=yes
  for name in ca-cert.pem server-cert.pem server-key.pem; do
    setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups \
      test -r "$folder/$name" || readable=no
  done
fi
echo "$folder"
echo "$user"
echo "$readable"
stat -L -c %a -- "$folder/server-key.pem" 2>/dev/null || echo
value spice_tls | tr -d ' '
echo '--- problem'
cat -- "$folder/problem" 2>/dev/null
echo '--- authority'
cat -- "$folder/ca-cert.pem" 2>/dev/null
echo '--- server'
cat -- "$folder/server-cert.pem" 2>/dev/null
echo '--- key'
openssl pkey -in "$folder/server-key.pem" -pubout 2>/dev/null ||
  cat -- "$folder/server-key.pem" 2>/dev/null | ssh-keygen -y -P '' -f /dev/stdin 2>/dev/null
exit 0
"""


@dataclass(frozen=True)
class Certificates:
    """As read from a host. `key`: the public half of its private key, where it could be made."""

    folder: str
    user: str
    readable: str
    mode: str
    spice_tls: bool
    authority: str
    server: str
    key: str
    problem: str = ""
    """What a host in a container says of certificates it has not taken."""


def parse(text: str) -> Certificates:
    head, _, rest = text.partition("--- problem\n")
    problem, _, rest = rest.partition("--- authority\n")
    authority, _, rest = rest.partition("--- server\n")
    server, _, key = rest.partition("--- key\n")
    folder, user, readable, mode, spice_tls, *_ = [*head.split("\n"), "", "", "", "", ""]
    return Certificates(
        folder,
        user,
        readable,
        mode,
        spice_tls.strip() == "1",
        authority,
        server,
        key.strip(),
        problem.strip(),
    )


def check_certificates(visit: Visit) -> Finding:
    if "spice" not in visit.info["graphics"]:
        return passed("None are needed: its QEMU offers no SPICE.")
    found = parse(visit.run(LOOK, FOLDER, label=f"cat {FOLDER}/server-cert.pem").text)
    name = visit.viewer[0] if visit.viewer else visit.address.hostname
    return judge(found, name, datetime.now(UTC))


def check_spice_tls(visit: Visit) -> Finding:
    if "spice" not in visit.info["graphics"]:
        return passed("It is not needed: its QEMU offers no SPICE.")
    found = parse(visit.run(LOOK, FOLDER, label="cat /etc/libvirt/qemu.conf").text)
    if found.spice_tls:
        return passed("SPICE speaks TLS (spice_tls = 1 in qemu.conf).")
    return warned(
        "SPICE does not speak TLS.",
        "Put spice_tls = 1 into /etc/libvirt/qemu.conf on the host, once its certificates are "
        "there, and restart libvirt.",
    )


def judge(found: Certificates, name: str, now: datetime) -> Finding:
    """The first thing that is wrong. `name`: what viewers call this host by. Pure."""
    if found.problem:
        return warned(found.problem, RIGHT)
    try:
        authority = x509.load_pem_x509_certificate(found.authority.encode())
        server = x509.load_pem_x509_certificate(found.server.encode())
    except ValueError:
        return warned(f"There are no complete certificates in {found.folder}.", COPY)
    if not found.key:
        return warned(f"The key {found.folder}/server-key.pem is missing or cannot be read.", COPY)
    if _public_half(found.key) != _plain(server):
        return warned("The private key does not belong to the server's certificate.", COPY)
    try:
        server.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return warned("The server's certificate was not issued by the authority beside it.", COPY)
    left = server.not_valid_after_utc - now
    day = f"{server.not_valid_after_utc:%Y-%m-%d}"
    if left < timedelta():
        return warned(f"The server's certificate expired on {day}.", f"Make a new one. {COPY}")
    if found.readable == "no":
        return warned(
            f"QEMU's user {found.user} cannot read the certificates in {found.folder}.",
            f"chgrp {found.user} {found.folder}/*.pem and chmod 640 them on the host.",
        )
    if found.mode and int(found.mode, 8) & 0o007:
        return warned(
            f"Everybody on the host can read {found.folder}/server-key.pem (mode {found.mode}).",
            f"chmod 640 {found.folder}/server-key.pem on the host.",
        )
    if not fits(server, name):
        return warned(
            f"The certificate is not for the name {name}: viewers will refuse it.",
            f"Make one that names {name}, or set the viewer's address of this hypervisor to a name "
            "that it has.",
        )
    if left < EXPIRES_SOON:
        return warned(
            f"The server's certificate expires on {day}.", f"Make a new one before. {COPY}"
        )
    return passed(f"The certificates fit each other and {name}; valid until {day}.")


def fits(certificate: x509.Certificate, name: str) -> bool:
    """Whether the certificate names this host, as viewers compare it."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        common = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return any(str(one.value).lower() == name.lower() for one in common)
    try:
        return ipaddress.ip_address(name) in names.get_values_for_type(x509.IPAddress)
    except ValueError:
        host = name.lower()
        parent = host.partition(".")[2]
        known = {one.lower() for one in names.get_values_for_type(x509.DNSName)}
        return host in known or (bool(parent) and f"*.{parent}" in known)


def _public_half(text: str) -> bytes:
    load = load_ssh_public_key if not text.startswith("-----") else load_pem_public_key
    try:
        return load(text.encode()).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except ValueError:
        return b""


def _plain(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


CHECKS = (
    Check(
        "certificates",
        "Certificates",
        VIRTUALIZATION,
        ("libvirt",),
        check_certificates,
        COPY,
        only_warns=True,
    ),
    Check(
        "spice_tls",
        "SPICE over TLS",
        VIRTUALIZATION,
        ("libvirt",),
        check_spice_tls,
        only_warns=True,
    ),
)
