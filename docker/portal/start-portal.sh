#!/bin/sh
# Serves once the certificates can be served with; until then says what is wrong with them, and looks again. A
# certificate replaced later is taken by itself, where it is good; the one before is served on where it is not.
set -eu

CERTS=/etc/isard-portal/certs
SHOWN=/opt/isard/certs/default
LOOK_EVERY_S=3
EXPIRY_EVERY=1200

problem() {
    for name in server-cert.pem server-key.pem; do
        file=$CERTS/$name
        if [ -L "$file" ] && [ ! -e "$file" ]; then
            echo "$SHOWN/$name is a link to $(readlink "$file"), which is not seen here: a copy is needed."
            return
        fi
        [ -e "$file" ] || { echo "$SHOWN/$name is missing."; return; }
        [ -f "$file" ] && head -c 1 "$file" > /dev/null 2>&1 || { echo "$SHOWN/$name cannot be read."; return; }
    done
    certificate=$(openssl x509 -in "$CERTS/server-cert.pem" -noout -pubkey 2>/dev/null) \
        || { echo "$SHOWN/server-cert.pem is no certificate in PEM form."; return; }
    key=$(openssl pkey -in "$CERTS/server-key.pem" -passin pass: -pubout 2>/dev/null) \
        || { echo "$SHOWN/server-key.pem is no private key in PEM form without a passphrase."; return; }
    [ "$certificate" = "$key" ] || echo "$SHOWN/server-key.pem does not belong to server-cert.pem."
}

tell_expiry() {
    openssl x509 -in "$CERTS/server-cert.pem" -noout -checkend 0 > /dev/null 2>&1 \
        || echo "The certificate in $SHOWN has expired: browsers warn until it is replaced." >&2
}

stamp() { stat -L -c '%i %s %y' "$CERTS/server-cert.pem" "$CERTS/server-key.pem" 2>&1 || true; }

# $1: the stamp of what is served. A change counts when it has stood still for one look: two files are not replaced at
# the same moment.
follow() {
    judged=$1 before=$1 looks=0
    while sleep "$LOOK_EVERY_S"; do
        looks=$((looks + 1))
        now=$(stamp)
        if [ "$now" != "$judged" ] && [ "$now" = "$before" ]; then
            judged=$now
            wrong=$(problem)
            if [ -n "$wrong" ]; then
                echo "The new certificate is not served: $wrong Put the right file there; the one before serves on." >&2
            else
                kill -HUP 1
                echo "The certificate in $SHOWN was replaced: the new one is served."
                looks=$EXPIRY_EVERY
            fi
        fi
        before=$now
        if [ "$looks" -ge "$EXPIRY_EVERY" ]; then
            looks=0
            tell_expiry
        fi
    done
}

trap 'exit 0' QUIT TERM
said=
while wrong=$(problem); [ -n "$wrong" ]; do
    [ "$wrong" = "$said" ] || echo "No pages are served: $wrong Put the right file there; this goes on by itself." >&2
    said=$wrong
    sleep "$LOOK_EVERY_S"
done
served=$(stamp)
tell_expiry

port=${ISARD_HTTPS_PORT:-443}
[ "$port" = 443 ] && suffix= || suffix=:$port
sed "s/@HTTPS_PORT@/$suffix/" /etc/isard-portal/nginx.conf > /run/nginx.conf
# nginx becomes the first process of the container; the loop ends with it.
follow "$served" &
exec nginx -c /run/nginx.conf -g 'daemon off;'
