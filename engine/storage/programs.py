"""The shell programs that make and remove disk files on a disk host. Constant texts: values come as
"$1", "$2" …

Several steps in one round trip, and each step safe to be cut off and done again. A file is made
under a name of its own in its final folder, brought to disk, and published with `ln`, which fails
where the name exists: nothing is ever overwritten. Every program first proves, by the marker, that
the storage it would work on is this installation's. The exit statuses below 128 and above 80 are
ours. Used by engine.storage.disks; work_programs.py has those of long work, template_programs.py of
templates.
"""

from __future__ import annotations

CREATED_WITH = "isard"
"""The `$0` of our programs, as a process list on the host shows it."""

NOT_MOUNTED = 81
FOREIGN = 82
ODD_FOLDER = 83
NOT_THERE = 84
NO_BACKING = 85
IN_USE = 86
NOT_EMPTY = 87
OUTSIDE = 88
NO_ROOM = 93

_PROVE = """
mark=$pool/.isard-storage.json
[ -f "$mark" ] || exit 81
marked=
while IFS= read -r line || [ -n "$line" ]; do marked=$marked$line; done <"$mark"
case $marked in *"\\"installation\\": \\"$installation\\""*) ;; *) exit 82 ;; esac
"""

PLACE = (
    """
pool=$1 domain=$2 disk=$3 installation=$4; shift 4
"""
    + _PROVE
    + """
folder=$pool/$domain
final=$folder/$disk.qcow2
[ ! -h "$folder" ] || exit 83
"""
)
"""Takes POOL-PATH DOMAIN DISK INSTALLATION off the arguments, and proves the storage."""

LOOK = (
    PLACE
    + """
[ -f "$final" ] || exit 84
exec "$@"
"""
)
"""… INFO-COMMAND"""

MAKE = (
    PLACE
    + """
lock=$1 new=$2 backing=$3 grow=$4 need=$5 answer=$6; shift 6
umask 077
give_up() {
  rm -f -- "$new" "$folder/.nvram.part"
  rmdir -- "$folder" 2>/dev/null
  [ -e "$final" ] || rm -f -- "$lock"
  exit "$1"
}
for left in "$folder/.$disk".*.part; do
  [ "$left" = "$folder/.$disk.*.part" ] || rm -f -- "$left" || exit
done
if [ ! -e "$final" ] && [ ! -h "$final" ]; then
  [ -z "$backing" ] || [ -f "$backing" ] || give_up 85
  [ -d "$folder" ] || mkdir -m 0711 -- "$folder" || give_up "$?"
  if [ -n "$need" ]; then
    free=$(df --output=avail -B1 -- "$folder" | tail -n 1) || give_up "$?"
    [ "$free" -ge "$need" ] || { printf '%s\\n' "$free" >&2; give_up 93; }
  fi
  "$@" || give_up "$?"
  [ -z "$grow" ] || qemu-img resize -q -f qcow2 "$new" "$grow" || give_up "$?"
  [ "$answer" != info ] || sync -- "$new" || give_up "$?"
  below=${backing%/*}/nvram.fd part=$folder/.nvram.part
  if [ -n "$backing" ] && [ -f "$below" ] && [ ! -h "$below" ] && [ ! -e "$folder/nvram.fd" ]; then
    cp -- "$below" "$part" && sync -- "$part" && mv -fT -- "$part" "$folder/nvram.fd" ||
      give_up "$?"
  fi
  ln -T -- "$new" "$final" 2>/dev/null || [ -f "$final" ] || give_up "$?"
  [ -z "$answer" ] || rm -f -- "$new"
fi
[ -n "$answer" ] || exit 0
sync -- "$folder"
[ "$answer" = info ] || exec head -c "$answer" -- "$final"
exec qemu-img info -f qcow2 -U --output=json -- "$final"
"""
)
"""… LOCK NEW BACKING-OR-EMPTY GROW-TO-OR-EMPTY BYTES-NEEDED-OR-EMPTY ANSWER MAKE-COMMAND…

Answers with what qemu-img says of the file where it was copied (ANSWER is "info"), or with its
first ANSWER bytes where it was created. Where ANSWER is empty it ends with the file published: what
comes then is done by MAKE_ALIKE. Where UEFI's variables lie beside BACKING the new disk begins with
a copy of them, unless it has some. A hundred desktops are made by this at once, so what the shell
can do itself starts no program, and what `qemu-img create` has brought to disk itself before it
ends (`convert` does not) is not brought there again."""

MAKE_ALIKE = (
    """
pool=$1 installation=$2 locks=$3 backing=$4 answer=$5 wanted=$6; shift 6
"""
    + _PROVE
    + """
make() (
"""
    + MAKE
    + """
)
find_place() {
  token=${1##*/} name=${1%/*}
  domain=${name%/*} disk=${name#*/}
  lock=$locks/$domain.$disk folder=$pool/$domain
  new=$folder/.$disk.$token.part final=$folder/$disk.qcow2
}
for_all() {
  which=$1; shift
  for one in $wanted; do find_place "$one"; eval 'set -- "$@" "$'"$which"'"'; done
  "$@"
}
at=3 locked=
for one in $wanted; do
  find_place "$one"
  { eval 'command exec '"$at"'>>"$lock"'; } 2>/dev/null || exit 73
  flock -n "$at" && [ "$lock" -ef "/proc/self/fd/$at" ] && locked="$locked $one"
  at=$((at + 1))
done
wanted=$locked
for_all folder mkdir -m 0711 -- 2>/dev/null
made=
for one in $wanted; do
  find_place "$one"
  make "$pool" "$domain" "$disk" "$installation" "$lock" "$new" "$backing" "" "" "" "$@" "$new" &&
    made="$made $one"
done
wanted=$made
[ -n "$made" ] && for_all new rm -f -- && for_all folder sync -- || exit
printf '%s\\n' "$made"
for_all final exec head -q -c "$answer" --
"""
)
"""POOL-PATH INSTALLATION LOCKS-FOLDER BACKING ANSWER WANTED MAKE-COMMAND-WITHOUT-NEW…
WANTED: DOMAIN/DISK/TOKEN of each, with blanks between.

Several, each as MAKE makes it, with what can be done for all by one process done by one. Answers
with a line that tells which of WANTED are there now, and with the first ANSWER bytes of each. One
whose lock is held, or that fails, is left out. The locks are taken before anything is done and held
to the end, so that a command which an engine left behind never comes to a disk that the next engine
has made and removed meanwhile."""

DELETE = (
    PLACE
    + """
lock=$1
rm -f -- "$folder/.$disk".*.part "$folder/.$disk.unpacked" "$folder/.$disk.next"
rm -f -- "$folder/.nvram.part"
if [ -e "$final" ] || [ -h "$final" ]; then
  if answer=$(qemu-img info -f qcow2 -- "$final" 2>&1); then :; else
    case $answer in *lock*) printf '%s\\n' "$answer" >&2; exit 86 ;; esac
  fi
  rm -f -- "$final" || exit
  echo removed
fi
if [ -d "$folder" ]; then
  [ -n "$(find "$folder" -name '*.qcow2' -print -quit)" ] || rm -f -- "$folder/nvram.fd"
  rmdir -- "$folder" 2>/dev/null
  sync -- "$pool"
fi
rm -f -- "$lock"
exit 0
"""
)
"""… LOCK"""

MARK = """
pool=$1 marker=$2 installation=$3 locks=$4 may_make=$5
mark=$pool/.isard-storage.json
if [ ! -f "$mark" ]; then
  [ "$may_make" = yes ] || { [ "$may_make" = there ] && [ -d "$pool" ]; } || exit 81
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
if [ "$may_make" != no ] && grep -qF -- "\\"installation\\": \\"$installation\\"" "$mark"; then
  [ -d "$locks" ] || mkdir -p -m 0700 -- "$locks" || exit
fi
exec cat -- "$mark"
"""
"""POOL-PATH MARKER INSTALLATION LOCKS-FOLDER MAY-MAKE(yes|there|keep|no); there: only in a folder
that exists.
"""

EXAMINE = """
source=$1 head=$2 at=$3 bytes=$4; shift 4
real=$(readlink -e -- "$source") && [ -f "$real" ] || exit 84
inside=
for root in "$@"; do
  root=$(readlink -e -- "$root") || continue
  case $real in "$root"/*) inside=yes ;; esac
done
[ -n "$inside" ] || exit 88
printf '%s\\n' "$real"
stat -c %s -- "$real" || exit
head -c "$head" -- "$real" | base64 -w 0
echo
dd if="$real" bs=4096 skip="$((at / 4096))" count="$((bytes / 4096))" 2>/dev/null | base64 -w 0
echo
"""
"""SOURCE HEAD-BYTES VOLUME-AT VOLUME-BYTES ALLOWED-ROOT…

The path it really has, its size and its first bytes: no other program reads it before these are
judged."""

LIST = """
[ -f "$1/.isard-storage.json" ] || exit 81
exec find "$1" -mindepth 2 -maxdepth 2 -type f -name '*.qcow2' -printf '%P\\0'
"""
"""POOL-PATH"""
