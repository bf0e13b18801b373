"""The shell programs that make and remove disk files on a disk host. Constant texts: values come as
"$1", "$2" …

Several steps in one round trip, and each step safe to be cut off and done again. A file is made
under a name of its own in its final folder, brought to disk, and published with `ln`, which fails
where the name exists: nothing is ever overwritten. Every program first proves, by the marker, that
the storage it would work on is this installation's. The exit statuses below 128 and above 80 are
ours. Used by engine.storage.disks alone.
"""

from __future__ import annotations

NOT_MOUNTED = 81
FOREIGN = 82
ODD_FOLDER = 83
NOT_THERE = 84
NO_BACKING = 85
IN_USE = 86
NOT_EMPTY = 87
OUTSIDE = 88

_PLACE = """
pool=$1 domain=$2 disk=$3 installation=$4; shift 4
mark=$pool/.isard-storage.json
[ -f "$mark" ] || exit 81
grep -qF -- "\\"installation\\": \\"$installation\\"" "$mark" || exit 82
folder=$pool/$domain
final=$folder/$disk.qcow2
[ ! -h "$folder" ] || exit 83
"""

LOOK = (
    _PLACE
    + """
[ -f "$final" ] || exit 84
exec "$@"
"""
)
"""… INFO-COMMAND"""

MAKE = (
    _PLACE
    + """
new=$1 backing=$2 grow=$3; shift 3
umask 077
if [ ! -e "$final" ] && [ ! -h "$final" ]; then
  [ -z "$backing" ] || [ -f "$backing" ] || exit 85
  [ -d "$folder" ] || mkdir -m 0711 -- "$folder" || exit
  rm -f -- "$folder/.$disk".*.part
  "$@" && { [ -z "$grow" ] || qemu-img resize -q -f qcow2 "$new" "$grow"; } && sync -- "$new"
  status=$?
  if [ "$status" = 0 ]; then
    ln -T -- "$new" "$final" 2>/dev/null || [ -f "$final" ]
    status=$?
  fi
  rm -f -- "$new"
  if [ "$status" != 0 ]; then rmdir -- "$folder" 2>/dev/null; exit "$status"; fi
  sync -- "$folder"
fi
exec qemu-img info -U --output=json -- "$final"
"""
)
"""… NEW BACKING-OR-EMPTY GROW-TO-OR-EMPTY MAKE-COMMAND…"""

DELETE = (
    _PLACE
    + """
lock=$1
rm -f -- "$folder/.$disk".*.part
if [ -e "$final" ] || [ -h "$final" ]; then
  if answer=$(qemu-img info -- "$final" 2>&1); then :; else
    case $answer in *lock*) printf '%s\\n' "$answer" >&2; exit 86 ;; esac
  fi
  rm -f -- "$final" || exit
  echo removed
fi
if [ -d "$folder" ]; then rmdir -- "$folder" 2>/dev/null; sync -- "$pool"; fi
rm -f -- "$lock"
exit 0
"""
)
"""… LOCK"""

MARK = """
pool=$1 marker=$2 may_make=$3
mark=$pool/.isard-storage.json
if [ ! -f "$mark" ]; then
  [ "$may_make" = yes ] || exit 81
  mkdir -p -- "$pool" || exit
  found=$(find "$pool" -maxdepth 3 -name '*.qcow2' -print -quit) || exit
  [ -z "$found" ] || { printf '%s\\n' "$found" >&2; exit 87; }
  new=$pool/.isard-storage.$$.part
  printf '%s\\n' "$marker" >"$new" && sync -- "$new" || exit
  ln -T -- "$new" "$mark" 2>/dev/null || [ -f "$mark" ]
  status=$?
  rm -f -- "$new"
  [ "$status" = 0 ] || exit "$status"
  sync -- "$pool"
fi
[ "$may_make" = no ] || [ -d "$pool/.isard-locks" ] || mkdir -m 0700 -- "$pool/.isard-locks" || exit
exec cat -- "$mark"
"""
"""POOL-PATH MARKER MAY-MAKE(yes|keep|no)"""

EXAMINE = """
source=$1; shift
real=$(readlink -e -- "$source") && [ -f "$real" ] || exit 84
inside=
for root in "$@"; do
  root=$(readlink -e -- "$root") || continue
  case $real in "$root"/*) inside=yes ;; esac
done
[ -n "$inside" ] || exit 88
printf '%s\\n' "$real"
exec qemu-img info -U --output=json -- "$real"
"""
"""SOURCE ALLOWED-ROOT…"""

LIST = """
[ -f "$1/.isard-storage.json" ] || exit 81
exec find "$1" -mindepth 2 -maxdepth 2 -type f -name '*.qcow2' -printf '%P\\0'
"""
"""POOL-PATH"""
