"""The memory this process has, read often: how a query that eats it up is found (see `Env`)."""

from __future__ import annotations

import os
from typing import Final

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_STATM: Final = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)


def resident_bytes() -> int:
    return int(os.pread(_STATM, 96, 0).split(maxsplit=2)[1]) * _PAGE
