"""`python -m webapp`: serves pages, API and live updates; with a command, manages people and rows.

gevent's patches come first, before anything else is imported: every socket and lock after that is
cooperative. SIGTERM stops it cleanly: no new requests, a few seconds for those under way.
"""

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402

from webapp.cli import main  # noqa: E402

sys.exit(main())
