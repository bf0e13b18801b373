#!/bin/sh
# The web side: first what the database must hold (waits for it, upgrades it, fills an empty one), then serve.
set -eu
python -m local.stack seed
exec python -m webapp
