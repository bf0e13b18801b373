"""The shell programs that fetch, look at and remove media on a disk host. Constant texts: values
come as "$1", "$2" …

Written like engine.storage.programs, whose exit statuses they share: each first proves, by the
marker, that the storage is this installation's; each is safe to be cut off and done again. A
download goes on where its file ends as long as the note beside it says that it is of the same
content. Used by engine.storage.downloads alone.
"""

from __future__ import annotations

CURL_SAID = 90
"""curl failed: its own exit status is the last line of the output, `curl N`."""
BEGIN_AGAIN = 91
"""The server cannot go on in the middle. What was fetched is gone."""
TOO_LARGE = 92

MEDIA_PLACE = """
pool=$1 media=$2 installation=$3; shift 3
mark=$pool/.isard-storage.json
[ -f "$mark" ] || exit 81
grep -qF -- "\\"installation\\": \\"$installation\\"" "$mark" || exit 82
folder=$pool/$media
part=$folder/.$media.part
note=$folder/.$media.note
[ ! -h "$folder" ] || exit 83
size_of() { stat -c %s -- "$1" 2>/dev/null || echo 0; }
"""

ASK = """
"$@"
status=$?
printf '\\ncurl %s\\n' "$status"
exit 0
"""
"""CURL-COMMAND…, with its configuration on standard input; under no lock, it touches no file"""

LOOK = (
    MEDIA_PLACE
    + """
for extension in iso img qcow2 vmdk vdi ova; do
  [ -f "$folder/$media.$extension" ] || continue
  printf '%s %s\\n' "$extension" "$(size_of "$folder/$media.$extension")"
  exit 0
done
exit 84
"""
)

WEIGH = (
    MEDIA_PLACE
    + """
[ -d "$folder" ] || exit 84
exec du -sb -- "$folder"
"""
)

ROOM = (
    MEDIA_PLACE
    + """
df -B1 --output=avail,size -- "$pool" || exit
size_of "$part"
"""
)

FETCH = (
    MEDIA_PLACE
    + """
tag=$1 size=$2 limit=$3; shift 3
config=$ISARD_INPUT; unset ISARD_INPUT
umask 077
[ -d "$folder" ] || mkdir -m 0711 -- "$folder" || exit
if [ "$(cat -- "$note" 2>/dev/null)" != "$tag" ]; then
  rm -f -- "$part"
  printf '%s\\n' "$tag" >"$note" || exit
fi
if [ "$size" -ge 0 ] && [ "$(size_of "$part")" -gt "$size" ]; then rm -f -- "$part"; fi
if [ "$size" -lt 0 ] || [ ! -f "$part" ] || [ "$(size_of "$part")" -lt "$size" ]; then
  printf '%s\\n' "$config" | "$@" --output "$part" &
  job=$!
  while kill -0 "$job" 2>/dev/null; do
    now=$(size_of "$part")
    printf '%s\\n' "$now"
    # Others write there too, so what was free at the beginning says little.
    free=$(df -B1 --output=avail -- "$pool" | tail -n 1)
    if [ "$now" -gt "$limit" ] || [ "${free:-0}" -lt 134217728 ]; then
      kill "$job"; wait "$job"
      rm -f -- "$part"
      exit 92
    fi
    sleep 0.3
  done
  wait "$job"
  status=$?
  # 22: where no size was told, all of it may be here already and nothing left to send.
  if [ "$status" = 33 ] || { [ "$status" = 22 ] && [ "$size" -lt 0 ] && [ -s "$part" ]; }; then
    rm -f -- "$part"
    exit 91
  fi
  if [ "$status" != 0 ]; then printf 'curl %s\\n' "$status"; exit 90; fi
fi
printf '%s\\n' "$(size_of "$part")"
exit 0
"""
)
"""… TAG SIZE-OR-MINUS-1 LIMIT CURL-COMMAND…"""

EXAMINE = (
    MEDIA_PLACE
    + """
[ -f "$part" ] || exit 84
sync -- "$part"
size_of "$part"
sha256sum <"$part" | cut -d ' ' -f 1
head -c "$1" -- "$part" | base64 -w 0
echo
dd if="$part" bs=4096 skip="$(($2 / 4096))" count="$(($3 / 4096))" 2>/dev/null | base64 -w 0
echo
"""
)
"""… HEAD-BYTES VOLUME-AT VOLUME-BYTES"""

INFO = (
    MEDIA_PLACE
    + """
[ -f "$part" ] || exit 84
exec prlimit --as=4294967296 --cpu=30 qemu-img info -f "$1" --output=json -- "$part"
"""
)
"""… FORMAT; in little memory and time, because the image is a stranger's"""

PUBLISH = (
    MEDIA_PLACE
    + """
final=$folder/$media.$1
if [ ! -e "$final" ]; then
  [ -f "$part" ] || exit 84
  chmod 0644 -- "$part" && sync -- "$part" || exit
  ln -T -- "$part" "$final" || exit
fi
rm -f -- "$part" "$note"
sync -- "$folder"
"""
)
"""… EXTENSION"""

DELIVER = (
    MEDIA_PLACE
    + """
extension=$1 size=$2; shift 2
config=$ISARD_INPUT; unset ISARD_INPUT
file=$folder/$media.$extension
[ ! -h "$file" ] || exit 83
[ -f "$file" ] && [ "$(size_of "$file")" = "$size" ] || exit 84
printf '%s\\n' "$config" | "$@" --upload-file "$file" &
job=$!
while kill -0 "$job" 2>/dev/null; do
  # How far curl has read: it tells nobody else.
  for open in /proc/"$job"/fd/*; do
    [ "$open" -ef "$file" ] || continue
    while read -r key value; do
      [ "$key" = pos: ] && printf '%s\\n' "$value"
    done <"/proc/$job/fdinfo/${open##*/}"
  done 2>/dev/null
  sleep 0.5
done
wait "$job"
status=$?
if [ "$status" != 0 ]; then printf 'curl %s\\n' "$status"; exit 90; fi
exit 0
"""
)
"""… EXTENSION SIZE CURL-COMMAND…"""

DESCRIBE = (
    MEDIA_PLACE
    + """
file=$folder/$media.ova
[ ! -h "$file" ] || exit 83
[ -f "$file" ] || exit 84
names=$(timeout 10 tar -tf "$file" 2>/dev/null | head -n 100)
member=$(printf '%s\\n' "$names" | grep -m 1 '\\.ovf$')
if [ -n "$member" ]; then
  timeout 10 tar -xOf "$file" --occurrence=1 -- "$member" 2>/dev/null | head -c "$1" | base64 -w 0
fi
printf '\\n%s\\n' "$names"
"""
)
"""… BYTES-AT-MOST. The OVF in an archive, to standard output alone, and the names in it. An archive
that tar cannot read has neither.
"""

CLEAR = (
    MEDIA_PLACE
    + """
lock=$1
if [ -d "$folder" ]; then
  rm -f -- "$part" "$note" || exit
  for extension in iso img qcow2 vmdk vdi ova; do
    rm -f -- "$folder/$media.$extension" || exit
  done
  rm -rf -- "$folder/.$media.stage"
  rmdir -- "$folder" 2>/dev/null
  sync -- "$pool"
fi
rm -f -- "$lock"
exit 0
"""
)
"""… LOCK"""

FORGET_PART = (
    MEDIA_PLACE
    + """
rm -f -- "$part" "$note"
rmdir -- "$folder" 2>/dev/null
exit 0
"""
)
