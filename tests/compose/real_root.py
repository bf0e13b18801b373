"""`python -m tests.compose.real_root PROGRAM …` in a new mount namespace: the program with the root
that we have as the namespace's own, also where that is a chroot. `docker exec` enters the mounts of
a container, and would find itself outside of it otherwise.
"""

from __future__ import annotations

import os
import sys

from hyper_image.namespaces import make_root_real

if __name__ == "__main__":
    make_root_real()
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 (the tests' own words)
