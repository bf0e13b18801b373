"""The first process inside a local host's namespaces: furnishes the private world, then is its
supervisor.

It reports to the outer process (`local.py`) through an inherited socket: once when the guests'
network is guarded and may be joined to the outside, once when the host answers, and sentences for
a person in between.
"""

from __future__ import annotations

import os
import socket

from hyper_image import private_world, services
from hyper_image.local import HOST_READY, NETWORK_READY, REPORT_FD, SAYING
from hyper_image.settings import HostSettings


def run(settings: HostSettings) -> int:
    report_fd = int(os.environ.pop(REPORT_FD))
    os.set_inheritable(report_fd, False)
    with socket.socket(fileno=report_fd) as reports:

        def report(text: str) -> None:
            try:
                reports.send(text.encode())
            except OSError:
                print(f"host {settings.id}: {text}", flush=True)

        def say(sentence: str) -> None:
            report(SAYING + sentence)

        if private_world.furnish(settings):
            report(NETWORK_READY)
        else:
            say("nft is not installed: guests reach nothing outside.")
        return services.serve(settings, say, lambda: report(HOST_READY))
