"""The shell programs that turn a desktop's disk into a template's. Constant texts, as in
programs.py.

Until the point of no return nothing that a desktop needs is changed: the template's file is a
second name of the desktop's (or a copy), and the desktop's new overlay waits beside its disk under
a name nobody reads. SWITCH alone changes the desktop, by one rename, and only after it has seen
that the template's file is there and that nobody has the disk open. Used by
engine.storage.templates alone.
"""

from __future__ import annotations

from engine.storage.programs import PLACE

NOT_LINKED = 89
TAKEN = 90
NOT_THE_SAME = 91

SURVEY = """
stat -c %d -- "$1" "$2" || exit
exec df -B1 --output=avail -- "$2"
"""
"""SOURCE POOL-PATH: their devices, and the free bytes of the second"""

ASK = (
    PLACE
    + """
shift
[ -f "$final" ] || exit 84
exec "$@"
"""
)
"""LOCK COMMAND…: a question about the disk itself, which waits for whoever works on it."""

LINK = (
    PLACE
    + """
lock=$1 source=$2
give_up() {
  rmdir -- "$folder" 2>/dev/null
  rm -f -- "$lock"
  exit "$1"
}
[ -f "$source" ] || give_up 84
if [ -e "$final" ] || [ -h "$final" ]; then
  [ "$final" -ef "$source" ] || exit 90
else
  [ -d "$folder" ] || mkdir -m 0711 -- "$folder" || give_up "$?"
  ln -T -- "$source" "$final" || give_up 89
fi
sync -- "$folder"
"""
)
"""In the template's place: LOCK SOURCE"""

COPY_VARIABLES = (
    PLACE
    + """
variables=${2%/*}/nvram.fd part=$folder/.nvram.part
[ ! -h "$variables" ] || exit 83
if [ -f "$variables" ]; then
  umask 077
  cp -- "$variables" "$part" && sync -- "$part" || { status=$?; rm -f -- "$part"; exit "$status"; }
  mv -fT -- "$part" "$folder/nvram.fd" || exit
  sync -- "$folder"
fi
"""
)
"""In the template's place, before the point of no return: LOCK SOURCE. A copy, as QEMU writes the
desktop's own in place."""

LAY_OVER = (
    PLACE
    + """
new=$folder/.$disk.next template=$2; shift 2
umask 077
[ -f "$template" ] || exit 85
rm -f -- "$new"
"$@" || { status=$?; rm -f -- "$new"; exit "$status"; }
sync -- "$new"
"""
)
"""In the desktop's place: LOCK TEMPLATE MAKE-COMMAND…"""

SWITCH = (
    PLACE
    + """
new=$folder/.$disk.next template=$2 copied=$3
if [ -f "$new" ]; then
  [ -f "$template" ] || exit 85
  if [ -e "$final" ]; then
    if answer=$(qemu-img info -f qcow2 -- "$final" 2>&1); then :; else
      case $answer in *lock*) printf '%s\\n' "$answer" >&2; exit 86 ;; esac
    fi
    if [ "$copied" = yes ]; then
      if head -c 65536 -- "$final" | grep -aqF -e "$template"; then rm -f -- "$new"; exit 91; fi
    else
      [ "$final" -ef "$template" ] || exit 91
    fi
  fi
  mv -fT -- "$new" "$final" || exit
  sync -- "$folder"
fi
exec qemu-img info -f qcow2 -U --output=json -- "$final"
"""
)
"""In the desktop's place: LOCK TEMPLATE COPIED(yes|no)

Where another engine was quicker, the disk stands upon the template already and may hold what was
written since: it stays, and the overlay laid a second time goes."""

DROP = (
    PLACE
    + """
lock=$1
rm -f -- "$folder/.$disk".*.part "$folder/.nvram.part" "$final"
[ -n "$(find "$folder" -name '*.qcow2' -print -quit 2>/dev/null)" ] || rm -f -- "$folder/nvram.fd"
rmdir -- "$folder" 2>/dev/null
sync -- "$pool"
rm -f -- "$lock"
exit 0
"""
)
"""In the template's place, before the point of no return: LOCK. A disk with other disks beside it
leaves the folder to them.
"""

DROP_OVERLAY = (
    PLACE
    + """
rm -f -- "$folder/.$disk.next"
"""
)
"""In the desktop's place."""
