"""The engine's key pair for one-time passwords: webapp and scripts seal with the public half, which
table `engine` publishes; only the engine can open what they sealed.

The private half is made at the engine's first start and kept beside its SSH key, for its owner
alone. A box names the host it is for, so a row whose address somebody changes afterwards sends no
password anywhere else. Used by engine/reconcilers/enrolment.py and engine/loops/enrolments.py.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, SealedBox
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from db.logs import get_logger
from db.rowcheck import FINGERPRINT, HOSTNAME, USER_NAME, Slug
from db.states import Reason
from engine.errors import Terminal

log = get_logger(__name__)

SEALED_MAX_BYTES = 8192


class Order(BaseModel):
    """What is in a box. `trust`: what to do with a host key that is neither accepted nor named by
    its fingerprint: `ask` a person, or take it at `first_use`.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    hypervisor: Slug
    hostname: Annotated[str, StringConstraints(pattern=HOSTNAME)]
    port: int = Field(ge=1, le=65535)
    user: Annotated[str, StringConstraints(pattern=USER_NAME)]
    password: str = Field(default="", max_length=1024, repr=False)
    """Empty where the host is said to know the engine's key already."""
    fingerprint: Annotated[str, StringConstraints(pattern=FINGERPRINT)] | None = None
    trust: Literal["ask", "first_use"] = "ask"


@dataclass(frozen=True)
class EnrolmentKey:
    _private: PrivateKey

    @staticmethod
    def keep(file: Path) -> EnrolmentKey:
        """The key in `file`, made there if there is none. Nothing lasting is sealed for it, so one
        that cannot be read is made anew, and a folder that cannot be written costs its durability
        alone.
        """
        try:
            kept = _read(file)
            if kept is None:
                _write(file, bytes(PrivateKey.generate()))
                kept = _read(file)
        except OSError as error:
            log.warning("enrolment_key_not_kept", file=str(file), error=str(error))
            kept = None
        return EnrolmentKey(kept or PrivateKey.generate())

    @property
    def public(self) -> str:
        return base64.b64encode(bytes(self._private.public_key)).decode()

    def open(self, sealed: object) -> Order:
        """Raises Terminal(BadEnrolment); what was in the box is in no message."""
        try:
            if not isinstance(sealed, bytes) or len(sealed) > SEALED_MAX_BYTES:
                raise ValueError
            value = json.loads(SealedBox(self._private).decrypt(sealed))
        except (CryptoError, ValueError, TypeError, binascii.Error):
            raise Terminal(
                Reason.BAD_ENROLMENT,
                "The password was not sealed for this engine. Give it again.",
            ) from None
        try:
            return Order.model_validate(value)
        except ValidationError as error:
            field = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
            raise Terminal(
                Reason.BAD_ENROLMENT,
                f"The sealed order is not as it must be: look at its field {field or 'all'!r}.",
            ) from None


def _read(file: Path) -> PrivateKey | None:
    try:
        return PrivateKey(base64.b64decode(file.read_bytes().strip(), validate=True))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, CryptoError):
        log.warning("enrolment_key_is_none", file=str(file))
        file.unlink(missing_ok=True)
        return None


def _write(file: Path, key: bytes) -> None:
    """Whole or not at all; of two engines that start at once, the first one's stays."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = file.with_name(f".new-{file.name}-{secrets.token_hex(8)}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as written:
            written.write(base64.b64encode(key) + b"\n")
            written.flush()
            os.fsync(written.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(unfinished, file)
    finally:
        unfinished.unlink()
