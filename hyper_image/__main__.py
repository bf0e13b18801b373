"""`python -m hyper_image`: the programs of a hypervisor host by name; see the package's
docstring.
"""

from __future__ import annotations

import argparse
import sys

from hyper_image import settings


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m hyper_image", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    local = commands.add_parser("local", help="a host in namespaces of its own on this machine")
    settings.add_arguments(local)
    local.add_argument("--until-eof", action="store_true", help="stop when standard input ends")
    settings.add_arguments(commands.add_parser("inside", help="(started by local)"))
    settings.add_arguments(commands.add_parser("serve", help="the services as process 1"))
    commands.add_parser("network-guard", help="(a service)")
    stop_guests = commands.add_parser("stop-guests", help="shut all guests down")
    stop_guests.add_argument("--timeout", required=True, type=float, metavar="SECONDS")
    viewer = commands.add_parser("viewer-proxy", help="(a service)")
    viewer.add_argument("--hypervisor", required=True)
    viewer.add_argument("--host", required=True)
    viewer.add_argument("--port", required=True, type=int)
    arguments = parser.parse_args()
    return run(arguments)


def run(arguments: argparse.Namespace) -> int:
    """Each program imports only what it needs: process 1 stays small."""
    if arguments.command == "local":
        from hyper_image.local import LocalHost

        return LocalHost(settings.from_arguments(arguments), arguments.until_eof).run()
    if arguments.command == "inside":
        from hyper_image import inside

        return inside.run(settings.from_arguments(arguments))
    if arguments.command == "serve":
        from hyper_image import services

        return services.serve(settings.from_arguments(arguments), print, lambda: None)
    if arguments.command == "network-guard":
        from hyper_image.guest_network import NetworkGuard

        NetworkGuard().run()
        return 1
    if arguments.command == "stop-guests":
        from hyper_image import guests

        guests.shut_down_all(arguments.timeout)
        return 0
    from hyper_image import viewer_proxy

    return viewer_proxy.serve(arguments.hypervisor, arguments.host, arguments.port)


if __name__ == "__main__":
    sys.exit(main())
