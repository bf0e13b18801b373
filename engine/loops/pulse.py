"""Asks a host that only works on disks every few seconds whether it still answers.

Of a host that runs desktops libvirt's connection tells at once that it is gone, whatever its keeper
is doing. Here nothing does, and the keeper may be in the middle of the checks, each of which may
wait for far longer. One loop for each such unit. Started beside the unit.
"""

from __future__ import annotations

from engine.errors import EngineError
from engine.supervisor import Beat
from engine.unit import ANSWER_S, Unit

EVERY_S = 5.0
"""With ANSWER_S: a host that falls silent is noticed within ten seconds."""


class Pulse:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    def feel(self, beat: Beat) -> None:
        """The loop."""
        while beat.wait(EVERY_S):
            contact = self._unit.contact
            if contact is None or contact.silence is not None:
                continue
            try:
                self._unit.ssh.run(["true"], timeout_s=ANSWER_S)
            except EngineError as error:
                self._unit.note_silence(contact, error)
