#!/bin/sh
# The embedded database of a small installation. Its password comes from the file that every program reads.
set -eu
ISARD_DB_PASSWORD=$(cat "$ISARD_DB_PASSWORD_FILE")
export ISARD_DB_PASSWORD
exec python -m db.embedded --data /opt/isard/database --host 0.0.0.0 --port 28015
