"""Copy what the browser loads from node_modules into static/vendor: `python -m webapp.vendor`.

There is no build step: the packages are served as they are published (ES modules, fonts), only at
paths that do not change with the package manager. The list below is all that is served, so nothing
else of a package ever becomes public. Run after `npm ci` by whoever installs (make, the image). The
copy is made beside the old one and swapped in, so a server that runs meanwhile is not disturbed.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SERVED = {
    "@novnc/novnc/core": "novnc/core",
    "@novnc/novnc/vendor": "novnc/vendor",
    "@novnc/novnc/LICENSE.txt": "novnc/LICENSE.txt",
    "socket.io-client/dist/socket.io.esm.min.js": "socket.io.esm.min.js",
    "@fontsource-variable/instrument-sans/files/instrument-sans-latin-wght-normal.woff2": (
        "instrument-sans-latin.woff2"
    ),
    "@fontsource-variable/instrument-sans/files/instrument-sans-latin-ext-wght-normal.woff2": (
        "instrument-sans-latin-ext.woff2"
    ),
    "@fontsource-variable/instrument-sans/LICENSE": "instrument-sans-LICENSE",
}
"""Path in node_modules -> path in static/vendor."""


def copy_vendor(modules: Path, target: Path) -> None:
    """Make `target` hold exactly what SERVED lists. Raises FileNotFoundError naming what is
    missing.
    """
    fresh = target.with_name(f".{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    for source_name, served_name in SERVED.items():
        source, served = modules / source_name, fresh / served_name
        served.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, served)
        else:
            shutil.copyfile(source, served)
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)


if __name__ == "__main__":
    try:
        copy_vendor(HERE / "node_modules", HERE / "static" / "vendor")
    except FileNotFoundError as error:
        sys.exit(f"{error.filename} is missing: run `npm ci` in {HERE} first")
