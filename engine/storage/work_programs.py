"""The shell programs of the work on disks. Constant texts: values come as "$1", "$2" …

A new file is made under a name of its own beside its final one, and nothing else changes; a program
of its own then publishes it, so between the two the engine compares, asks its lease, and writes
down what it is about to do. Each is safe to be cut off and done again. Used by engine.storage.work
alone; engine.storage.programs has the others and the common beginning.
"""

from __future__ import annotations

from engine.storage.media_programs import MEDIA_PLACE
from engine.storage.programs import PLACE

NO_SPACE = 89
STALE = 90
EXISTS = 91
TOO_LARGE = 93

COPY = (
    PLACE
    + """
lock=$1 new=$2 need=$3; shift 3
umask 077
give_up() {
  rm -f -- "$new"
  rmdir -- "$folder" 2>/dev/null
  [ -e "$final" ] || rm -f -- "$lock"
  exit "$1"
}
[ -d "$folder" ] || mkdir -m 0711 -- "$folder" || give_up "$?"
rm -f -- "$folder/.$disk".*.part
free=$(df --output=avail -B1 -- "$folder" | tail -n 1) || give_up "$?"
[ "$free" -ge "$need" ] || { printf '%s\\n' "$free" >&2; give_up 89; }
"$@" || give_up "$?"
sync -- "$new" || give_up "$?"
exec qemu-img info -f qcow2 --output=json -- "$new"
"""
)
"""… LOCK NEW BYTES-NEEDED MAKE-COMMAND…"""

REPLACE = (
    PLACE
    + """
new=$1
[ -f "$final" ] || exit 84
if [ -f "$new" ]; then
  answer=$(qemu-img info -f qcow2 -- "$final" 2>&1) ||
    case $answer in *lock*) printf '%s\\n' "$answer" >&2; exit 86 ;; esac
  if [ -n "$(find "$final" -newer "$new")" ]; then rm -f -- "$new"; exit 90; fi
  mv -fT -- "$new" "$final" || exit
  sync -- "$folder"
fi
exec qemu-img info -f qcow2 -U --output=json -- "$final"
"""
)
"""… NEW. Done again it finds NEW gone and says what is there. A disk that was written to since the
copy was made is not replaced: the copy goes.
"""

PUBLISH = (
    PLACE
    + """
new=$1 beside=$2
umask 077
if [ -f "$beside/nvram.fd" ] && [ ! -e "$folder/nvram.fd" ]; then
  cp -- "$beside/nvram.fd" "$folder/.nvram.part" && sync -- "$folder/.nvram.part" || exit
  mv -fT -- "$folder/.nvram.part" "$folder/nvram.fd" || exit
fi
ln -T -- "$new" "$final" || exit 91
rm -f -- "$new"
sync -- "$folder"
exec qemu-img info -f qcow2 -U --output=json -- "$final"
"""
)
"""… NEW FOLDER-OF-THE-ORIGINAL-OR-EMPTY. UEFI's variables go with the disks."""

DISCARD = (
    PLACE
    + """
rm -f -- "$folder/.$disk".*.part "$folder/.$disk.unpacked" "$folder/.nvram.part"
rmdir -- "$folder" 2>/dev/null
exit 0
"""
)

REBASE = (
    PLACE
    + """
backing=$1; shift
[ -f "$final" ] || exit 84
[ -f "$backing" ] || exit 85
"$@" || exit
sync -- "$final"
exec qemu-img info -f qcow2 -U --output=json -- "$final"
"""
)
"""… BACKING COMMAND…: refused by qemu-img itself while anybody has the disk open."""

TOUCH = (
    PLACE
    + """
[ -f "$final" ] || exit 84
exec "$@"
"""
)
"""… COMMAND that changes nothing but the disk itself"""

PROBE = """
[ -f "$1" ] && [ ! -h "$1" ] || exit 84
stat -c %s -- "$1" || exit
head -c "$2" -- "$1" | base64 -w 0
echo
dd if="$1" bs=4096 skip="$(($3 / 4096))" count="$(($4 / 4096))" 2>/dev/null | base64 -w 0
echo
"""
"""PATH HEAD-BYTES VOLUME-AT VOLUME-BYTES"""

MEMBERS = """
[ -f "$1" ] && [ ! -h "$1" ] || exit 84
tar -tf "$1" | head -n 100
"""
"""PATH"""

UNPACK = (
    PLACE
    + """
lock=$1 unpacked=$2 need=$3 archive=$4 member=$5
umask 077
[ -d "$folder" ] || mkdir -m 0711 -- "$folder" || exit
rm -f -- "$unpacked"
free=$(df --output=avail -B1 -- "$folder" | tail -n 1) || exit
[ "$free" -ge "$need" ] || { printf '%s\\n' "$free" >&2; exit 89; }
status=$(
  {
    { tar -xOf "$archive" --occurrence=1 -- "$member"; echo "$?" >&3; } |
      head -c "$((need + 1))" >"$unpacked"
  } 3>&1
) || status=$?
if [ "$(stat -c %s -- "$unpacked")" -gt "$need" ]; then rm -f -- "$unpacked"; exit 93; fi
[ "$status" = 0 ] || { rm -f -- "$unpacked"; exit 92; }
sync -- "$unpacked"
"""
)
"""… LOCK UNPACKED BYTES-NEEDED ARCHIVE MEMBER

A member may be written down as mostly holes, and would fill the storage from a few bytes: it is cut
where it becomes larger than what was asked room for."""

_ROOM = """
umask 077
[ -d "$folder" ] || mkdir -m 0711 -- "$folder" || exit
free=$(df --output=avail -B1 -- "$folder" | tail -n 1) || exit
[ "$free" -ge "$need" ] || { printf '%s\\n' "$free" >&2; exit 89; }
stage=$folder/.$media.stage
"""

EXPORT = (
    MEDIA_PLACE
    + "need=$1; shift\n"
    + _ROOM
    + """
rm -f -- "$part"
"$@" || { status=$?; rm -f -- "$part"; exit "$status"; }
sync -- "$part"
"""
)
"""… BYTES-NEEDED COMMAND…"""

STAGE = (
    MEDIA_PLACE
    + "need=$1 name=$2; shift 2\n"
    + _ROOM
    + """
[ -d "$stage" ] || mkdir -- "$stage" || exit
rm -f -- "$stage/$name"
"$@" "$stage/$name" || exit
stat -c ' %s' -- "$stage/$name"
"""
)
"""… BYTES-NEEDED NAME COMMAND…, which is given the file's path"""

PACK = (
    MEDIA_PLACE
    + "need=$1 format=$2 ovf=$3; shift 3\n"
    + _ROOM
    + """
printf '%s' "$ovf" >"$stage/machine.ovf" || exit
rm -f -- "$part"
tar --format="$format" --owner=0 --group=0 -cf "$part" -C "$stage" machine.ovf "$@" || exit
rm -rf -- "$stage"
sync -- "$part"
"""
)
"""… BYTES-NEEDED FORMAT OVF NAME…"""

WITHDRAW = (
    MEDIA_PLACE
    + """
rm -f -- "$part"
rm -rf -- "$folder/.$media.stage"
rmdir -- "$folder" 2>/dev/null
exit 0
"""
)
