"""The certificates of a stack: put there as people do, and what is served of them."""

from __future__ import annotations

import shutil
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from hyper_image import certificates
from tests.compose.stack import HYPERVISOR, Stack
from tests.e2e.product import Api
from tests.servers import wait_until


def put(source: Path, folder: Path) -> None:
    """As people copy them: one after the other."""
    for name in certificates.NEEDED:
        (folder / name).unlink(missing_ok=True)
        shutil.copyfile(source / name, folder / name)


def make_expired(folder: Path) -> None:
    """A certificate that ended yesterday, by its own authority and with its own key."""
    certificates.make(folder, ["isard"])
    authority = x509.load_pem_x509_certificate((folder / "ca-cert.pem").read_bytes())
    key = load_pem_private_key((folder / "ca-key.pem").read_bytes(), None)
    assert isinstance(key, RSAPrivateKey | EllipticCurvePrivateKey)
    good = x509.load_pem_x509_certificate((folder / "server-cert.pem").read_bytes())
    yesterday = datetime.now(UTC) - timedelta(days=1)
    old = (
        x509.CertificateBuilder()
        .subject_name(good.subject)
        .issuer_name(authority.subject)
        .public_key(good.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(yesterday - timedelta(days=30))
        .not_valid_after(yesterday)
        .sign(key, SHA256())
    )
    (folder / "server-cert.pem").write_bytes(old.public_bytes(Encoding.PEM))


def served_certificate(stack: Stack) -> str:
    """What the portal shows, or nothing where it serves nothing."""
    try:
        return ssl.get_server_certificate(("127.0.0.1", stack.https_port), timeout=10)
    except OSError:
        return ""


def wait_served(stack: Stack, folder: Path) -> None:
    wanted = (folder / "server-cert.pem").read_text().strip()
    wait_until(lambda: served_certificate(stack).strip() == wanted, 60, "it is served", every_s=0.5)


def wait_for_check(api: Api, words: str) -> dict[str, Any]:
    """What the page of the hypervisor says of its certificates, asked anew."""
    path = f"/hypervisors/{HYPERVISOR}"
    api.call("PATCH", path, {"desired": {"state": "enabled"}})

    def look() -> dict[str, Any] | None:
        checks = api.get(path)["observed"].get("checks") or []
        return next((check for check in checks if words in str(check.get("message"))), None)

    found = wait_until(look, 60, f"checked: {words}", every_s=0.5)
    assert isinstance(found, dict)
    return found


def taken(stack: Stack) -> str:
    return stack.exec(HYPERVISOR, "cat", "/etc/pki/libvirt-spice/server-cert.pem").stdout
