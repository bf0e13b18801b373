#!/bin/sh
# Makes an ordinary Linux host a hypervisor, without containers (docs/hypervisors.md). Copy the whole folder
# hyper_image to the host; nothing but Python 3.11 or newer is needed there.
#
#   sudo sh hyper_image/manual-install.sh --check     only looks
#   sudo sh hyper_image/manual-install.sh --apply     sets up what is missing
set -u
here=$(cd "$(dirname "$0")" && pwd -P) || exit 1
if [ "${here##*/}" != hyper_image ]; then
  echo "The folder of this script must be called hyper_image, not ${here##*/}: copy it under that name." >&2
  exit 1
fi
if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "Python 3.11 or newer is missing: apt-get install python3 (Debian 12, Ubuntu 24.04 or newer have it)." >&2
  exit 1
fi
# No compiled files are left in the folder: --check only looks.
PYTHONPATH=${here%/*} PYTHONDONTWRITEBYTECODE=1 exec python3 -m hyper_image.manual "$@"
