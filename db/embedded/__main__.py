"""`python -m db.embedded --data DIR [--host 127.0.0.1] [--port 28015]`: run the server.

Prints one line when it is ready. ISARD_DB_PASSWORD, when set, becomes the password of `admin` at
each start; otherwise `admin` has none, like on a fresh RethinkDB. Ends on SIGTERM or SIGINT after
committing what is pending; any other end loses nothing that was acknowledged as hard.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import resource
import signal
import sys
from pathlib import Path

import db.embedded.terms  # noqa: F401  (fills the registry)
from db.embedded.datafile import DataFolderError, claim_folder
from db.embedded.server import Server


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m db.embedded", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data file")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=28015, help="0 takes a free one")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    sys.setrecursionlimit(20_000)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # one descriptor per connection
    password = os.environ.pop("ISARD_DB_PASSWORD", "") or None
    try:
        lock = claim_folder(options.data)
        server = Server(options.data, options.host, options.port, password)
    except DataFolderError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"Cannot listen on {options.host}:{options.port}: {error.strerror}.", file=sys.stderr)
        return 1
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    signal.signal(signal.SIGTERM, lambda *_: server.stop())
    signal.signal(signal.SIGINT, lambda *_: server.stop())
    print(f"Listening for client driver connections on port {server.port}", flush=True)
    try:
        server.run()
    finally:
        server.close()
        os.close(lock)
    return 0


if __name__ == "__main__":
    sys.exit(main())
