"""TLS certificates of one installation: an authority of its own and a server certificate, made
with openssl.

They lie in `<data>/certs/default` under the names libvirt wants for SPICE (the same names and
folder, `/opt/isard/certs/default`, in containers), so replacing them by one's own is copying
three files. What is there is never replaced here. `what_is_wrong` judges whoever's they are.
"""

from __future__ import annotations

import ipaddress
import subprocess
import tempfile
from pathlib import Path

from hyper_image.asking import NOT_INSTALLED, ask

NAMES = ("ca-cert.pem", "ca-key.pem", "server-cert.pem", "server-key.pem")
NEEDED = ("ca-cert.pem", "server-cert.pem", "server-key.pem")
AUTHORITY_DAYS, SERVER_DAYS = "7300", "3650"
SUBJECT = "/O=IsardVDI/CN={}"
TOOL_TIMEOUT_S = 60.0
EXPIRED = "server-cert.pem has expired"


def ensure(folder: Path, hosts: list[str]) -> None:
    """Make what is missing, for these names and addresses and for this machine's loopback."""
    if all((folder / name).exists() for name in NEEDED):
        return
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        make(Path(made), [*hosts, "localhost", "127.0.0.1"])
        for name in NAMES:
            (Path(made) / name).replace(folder / name)


def make(folder: Path, hosts: list[str]) -> None:
    elliptic = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    names = ",".join(dict.fromkeys(alternative_name(host) for host in hosts))
    extensions = folder / "server.ext"
    extensions.write_text(
        f"basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
        f"extendedKeyUsage=serverAuth\nsubjectAltName={names}\n"
    )
    openssl(
        folder,
        *("req", "-x509", *elliptic, "-days", AUTHORITY_DAYS, "-subj", SUBJECT.format("authority")),
        *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        *("-keyout", "ca-key.pem", "-out", "ca-cert.pem"),
    )
    openssl(
        folder,
        *("req", *elliptic, "-subj", SUBJECT.format(hosts[0])),
        *("-keyout", "server-key.pem", "-out", "server.csr"),
    )
    openssl(
        folder,
        *("x509", "-req", "-in", "server.csr", "-days", SERVER_DAYS, "-extfile", extensions.name),
        *(
            "-CA",
            "ca-cert.pem",
            "-CAkey",
            "ca-key.pem",
            "-CAcreateserial",
            "-out",
            "server-cert.pem",
        ),
    )
    for name in NAMES:
        (folder / name).chmod(0o600 if name.endswith("-key.pem") else 0o644)


def what_is_wrong(folder: Path) -> str:
    """The first thing, as the end of a sentence, or nothing."""
    return what_is_broken(folder) or ("" if is_valid_for(folder, 0) else EXPIRED)


def what_is_broken(folder: Path) -> str:
    """The first thing that keeps them from being used at all, or nothing. Time is not judged."""
    lacking = [name for name in NEEDED if not (folder / name).is_file()]
    if lacking:
        return f"no {', '.join(lacking)}"
    authority, server, key = (str(folder / name) for name in NEEDED)
    of_certificate = ask("openssl", "x509", "-in", server, "-noout", "-pubkey")
    if of_certificate.returncode == NOT_INSTALLED:
        return "openssl is needed to look at them"
    if of_certificate.returncode != 0:
        return "server-cert.pem is no certificate"
    # An empty passphrase: a key that wants another is refused, instead of asking the terminal.
    of_key = ask("openssl", "pkey", "-in", key, "-pubout", "-passin", "pass:")
    if of_key.returncode != 0:
        return "server-key.pem is no key, has a passphrase, or cannot be read"
    if of_key.stdout != of_certificate.stdout:
        return "server-key.pem does not belong to server-cert.pem"
    # A certificate may come with those between it and the authority.
    chain = ("-no_check_time", "-CAfile", authority, "-untrusted", server)
    if ask("openssl", "verify", *chain, server).returncode != 0:
        return "server-cert.pem was not issued by ca-cert.pem"
    return ""


def is_valid_for(folder: Path, seconds: int) -> bool:
    server = str(folder / "server-cert.pem")
    return (
        ask("openssl", "x509", "-in", server, "-noout", "-checkend", f"{seconds}").returncode == 0
    )


def alternative_name(host: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(host)}"
    except ValueError:
        return f"DNS:{host}"


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(
        ["openssl", *arguments],
        cwd=folder,
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TOOL_TIMEOUT_S,
    )
