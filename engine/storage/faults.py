"""What a failed storage command means: a person's sentence, and whether waiting can help. Pure.

The programs' own exit statuses come first, then what qemu-img said. Called by engine.storage.disks.
"""

from __future__ import annotations

from db.states import Reason
from engine.errors import CommandFailed, EngineError, Terminal, Transient, WrongStorage
from engine.storage import programs, template_programs


def foreign(where: str) -> WrongStorage:
    return WrongStorage(f"{where} belongs to another installation. Nothing was touched.")


def explain(error: CommandFailed, where: str, step: str) -> EngineError:
    """`where`: the pool's path and its host, as people read it."""

    def terminal(reason: Reason, message: str) -> Terminal:
        return Terminal(reason, message, step=step, command=error.command, answer=error.answer)

    def transient(reason: Reason, message: str, retry_after_s: float | None = None) -> Transient:
        return Transient(
            reason,
            message,
            step=step,
            command=error.command,
            answer=error.answer,
            retry_after_s=retry_after_s,
        )

    status = error.exit_status
    if status == programs.NOT_MOUNTED:
        return WrongStorage(
            f"The storage {where} is not mounted: its marker is not there. Mount it; "
            "nothing was touched."
        )
    if status == programs.FOREIGN:
        return foreign(where)
    if status == programs.NOT_EMPTY:
        return WrongStorage(
            f"{where} holds disks but no marker of this installation. If they are its own, "
            "restore the marker; if not, choose an empty folder.",
            answer=error.answer,
        )
    if status == programs.ODD_FOLDER:
        return terminal(Reason.DISK_FAILED, f"The desktop's folder in {where} is a link.")
    if status == programs.NO_BACKING:
        return terminal(Reason.DISK_MISSING, f"The disk to build upon is not there in {where}.")
    if status == template_programs.TAKEN:
        return terminal(
            Reason.DISK_FAILED,
            f"There is a file in the template's place in {where} already, and it is another one.",
        )
    if status == template_programs.NOT_THE_SAME:
        return transient(
            Reason.DISK_FAILED,
            f"The desktop's disk in {where} is not the one the template was made of: "
            "somebody replaced it meanwhile. Nothing was overwritten.",
            60.0,
        )
    if status == programs.IN_USE or "lock" in error.answer:
        return transient(Reason.IN_USE, f"The disk in {where} is in use by another process.", 5.0)
    if "No space left on device" in error.answer:
        return transient(Reason.NO_SPACE, f"There is no free space left in {where}.", 60.0)
    return transient(Reason.DISK_FAILED, f"The disk operation in {where} failed: {error.message}")
