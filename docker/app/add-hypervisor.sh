#!/bin/sh
# Adds a hypervisor (docs/hypervisors.md). All is told by the environment; HYPERVISOR and PASSWORD are needed:
#
#   docker exec -e HYPERVISOR=<IP|DNS> -e PASSWORD=<its password> isard-app bash -c '/add-hypervisor.sh'
#
#   PORT         of its SSH server (22)          ID           its name in IsardVDI (its address)
#   USER         who logs in (root)              KINDS        hypervisor, disk_operations or both (both)
#   FINGERPRINT  of its host key, if known       POOL         one, or several with commas (default)
#                                                VIEWER       HOST[:PORT] where browsers reach its screens
#
# The password goes on through a pipe: it is in no command line, and in the environment of nothing started from here.
set -u
password=${PASSWORD-}
unset PASSWORD

# Outside the image: from a checkout, with the data folder of `make run`.
here=$(cd "$(dirname "$0")" && pwd)
if [ -d "$here/../../webapp" ]; then
  cd "$here/../.." || exit 1
  [ ! -d .venv/bin ] || PATH=$PWD/.venv/bin:$PATH
  if [ -z "${ISARD_DB_PASSWORD-}${ISARD_DB_PASSWORD_FILE-}" ] && [ -r "${ISARD_DATA:-data}/secrets/db_password" ]; then
    ISARD_DB_PASSWORD_FILE=${ISARD_DATA:-data}/secrets/db_password
    export ISARD_DB_PASSWORD_FILE
  fi
fi

# A user named by docker exec -e USER=…; what a login sets by itself is not meant.
[ "${USER-}" != "$(id -un 2>/dev/null)" ] || USER=root

python=$(command -v python || command -v python3)
printf '%s' "$password" | "$python" -m webapp hypervisor add --password-stdin \
  --hostname="${HYPERVISOR-}" --port="${PORT:-22}" --user="${USER:-root}" --kinds="${KINDS-}" --pool="${POOL-}" \
  --viewer="${VIEWER-}" --fingerprint="${FINGERPRINT-}" -- "${ID-}"
