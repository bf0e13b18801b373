"""What the tests of this folder use: a shared real host, and what talks to it."""

from tests.engine.hosts import (  # noqa: F401 (fixtures)
    connection,
    disks,
    new_guest,
    pool,
    recorder,
    settings,
    shared_host,
    shared_lab,
    ssh,
    tiny_base,
)
from tests.lab.fixtures import lab  # noqa: F401
