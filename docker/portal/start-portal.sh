#!/bin/sh
# Serves once the certificates can be served with; until then says what is wrong with them, and looks again.
set -eu

CERTS=/etc/isard-portal/certs
SHOWN=/opt/isard/certs/default
LOOK_EVERY_S=3

problem() {
    for name in server-cert.pem server-key.pem; do
        [ -e "$CERTS/$name" ] || { echo "$SHOWN/$name is missing."; return; }
        [ -r "$CERTS/$name" ] || { echo "$SHOWN/$name cannot be read."; return; }
    done
    certificate=$(openssl x509 -in "$CERTS/server-cert.pem" -noout -pubkey 2>/dev/null) \
        || { echo "$SHOWN/server-cert.pem is no certificate in PEM form."; return; }
    key=$(openssl pkey -in "$CERTS/server-key.pem" -passin pass: -pubout 2>/dev/null) \
        || { echo "$SHOWN/server-key.pem is no private key in PEM form without a passphrase."; return; }
    [ "$certificate" = "$key" ] || echo "$SHOWN/server-key.pem does not belong to server-cert.pem."
}

said=
while wrong=$(problem); [ -n "$wrong" ]; do
    [ "$wrong" = "$said" ] || echo "No pages are served: $wrong Put the right file there; this goes on by itself." >&2
    said=$wrong
    sleep "$LOOK_EVERY_S"
done
openssl x509 -in "$CERTS/server-cert.pem" -noout -checkend 0 > /dev/null \
    || echo "The certificate in $SHOWN has expired: browsers will warn until it is replaced." >&2

port=${ISARD_HTTPS_PORT:-443}
[ "$port" = 443 ] && suffix= || suffix=:$port
sed "s/@HTTPS_PORT@/$suffix/" /etc/isard-portal/nginx.conf > /run/nginx.conf
exec nginx -c /run/nginx.conf -g 'daemon off;'
