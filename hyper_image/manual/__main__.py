"""`manual-install.sh --check` looks at a host, `--apply` also mends it; see the package's word.

Each line is `ok`, `missing` or `warning`: what, and what to do. `--apply` shows each change before
it is made, and looks again afterwards. The exit code is 0 if all is well, 1 if something is left
to do, 2 if it was called wrongly.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from hyper_image.manual import certificates, description, folders, libvirt, programs, ssh, viewer
from hyper_image.manual.finding import CannotChange, Finding, Options

Step = Callable[[Options], list[Finding]]

STEPS: tuple[Step, ...] = (
    programs.look_at_programs,
    programs.look_at_qemu_kvm,
    folders.look_at_folders,
    certificates.look_at_certificates,
    libvirt.look_at_service,
    libvirt.look_at_settings,
    libvirt.look_at_tcp_port,
    libvirt.look_at_network,
    ssh.look_at_ssh,
    viewer.look_at_viewer,
    description.look_at_description,
)
"""In the order of mending: what a step needs comes before it."""
NEXT = (
    "This host is ready: add it in the web interface under Hypervisors, or with /add-hypervisor.sh."
)


def main(arguments: list[str]) -> int:
    parser = make_parser()
    told = parser.parse_args(arguments)
    if not told.check and not told.apply:
        parser.print_usage(sys.stderr)
        return 2
    if told.close_tcp and not told.apply:
        parser.error("--close-tcp changes something: give it with --apply")
    if os.geteuid() != 0:
        print("Run this as root: others cannot see all of it.", file=sys.stderr)
        return 1
    os.umask(0o022)
    os.environ.update(PATH=programs.SYSTEM_PATH, LC_ALL="C")
    options = Options(
        packages=not told.no_packages,
        close_tcp=told.close_tcp,
        viewer_port=told.viewer_port or description.told_port(),
    )
    left, changes = run(options, told.apply)
    if told.apply:
        print(f"Changes made: {changes}." if changes else "Nothing was changed.")
    print(f"Left to do: {left}." if left else NEXT)
    return 1 if left else 0


def run(options: Options, is_to_change: bool) -> tuple[int, int]:
    """How many findings are left, and how many changes were made."""
    left = changes = 0
    for step in STEPS:
        findings = step(options)
        if is_to_change and any(finding.change for finding in findings):
            changes += mend(findings)
            findings = step(options)
        for finding in findings:
            print(finding.line, flush=True)
            left += finding.state != "ok"
    return left, changes


def mend(findings: list[Finding]) -> int:
    """Make the changes of one step; one that fails keeps none of the others from being made."""
    made = 0
    for finding in findings:
        if finding.change is None:
            continue
        print(f"change: {finding.change.what}", flush=True)
        try:
            finding.change.make()
            made += 1
        except (CannotChange, OSError) as error:
            print(f"failed: {error}", flush=True)
    return made


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="manual-install.sh", description="Makes an ordinary Linux host a hypervisor."
    )
    doing = parser.add_mutually_exclusive_group()
    doing.add_argument("--check", action="store_true", help="only look")
    doing.add_argument("--apply", action="store_true", help="set up what is missing")
    parser.add_argument("--close-tcp", action="store_true", help="close libvirt's TCP port")
    parser.add_argument("--no-packages", action="store_true", help="install nothing from outside")
    parser.add_argument("--viewer-port", type=port_number, help="of the viewer proxy (6080)")
    return parser


def port_number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:6]) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is no port")
    return int(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
