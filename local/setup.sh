#!/bin/sh
# Everything a machine needs before Python can take over: system packages, the virtual environment, front-end packages.
#
#   local/setup.sh run     what the product needs          local/setup.sh test    and what checking it needs
#
# Each step is done only when something changed. Packages are installed without recommendations, nothing is upgraded,
# and no service of the distribution is left enabled or running that was not before.

set -eu

purpose=${1:-run}
PATH=$PATH:/usr/sbin:/sbin  # programs of the system are looked for, whoever asks
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*"; }
fail() { printf '%s\n' "$*" >&2; exit 1; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# What it is for -> the Debian or Ubuntu package. A word before the colon is a program: where it is there already,
# however it came there, the package is not wanted.
PACKAGES='
python3:python3 python3-venv python3-dev gcc:gcc libc6-dev pkg-config:pkg-config libvirt-dev
libvirtd:libvirt-daemon libvirt-daemon-driver-qemu virsh:libvirt-clients dnsmasq:dnsmasq-base
qemu-system-x86_64:qemu-system-x86 qemu-img:qemu-utils ovmf swtpm:swtpm swtpm_setup:swtpm-tools curl:curl
/usr/sbin/sshd:openssh-server ssh:openssh-client ip:iproute2 nft:nftables iptables:iptables
curl:curl slirp4netns:slirp4netns unshare:util-linux mount:mount setpriv:util-linux openssl:openssl ps:procps
ca-certificates node:nodejs npm:npm
'
TEST_PACKAGES='as:binutils strace:strace chromium:chromium git:git make:make
dockerd:docker.io docker-compose:docker-compose docker-registry:docker-registry mmdebstrap:mmdebstrap'
# Packages only some releases have, taken where they exist.
EXTRAS='libvirt-daemon-log libvirt-daemon-driver-network libvirt-daemon-driver-nwfilter qemu-system-modules-spice zstd'
TEST_EXTRAS='docker-cli'
UNITS='^(docker|containerd|libvirt|virt(lockd|logd|qemud|networkd|stored|secretd|nodedevd|nwfilterd|interfaced|proxyd)|ssh|dnsmasq|nftables)'

is_installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

missing_packages() {
    for wanted in "$@"; do
        program=${wanted%%:*} package=${wanted##*:}
        is_installed "$package" && continue
        [ "$program" != "$wanted" ] && command -v "$program" > /dev/null && continue
        printf '%s ' "$package"
    done
}

available() {
    for package in "$@"; do
        is_installed "$package" && continue
        apt-cache show --no-all-versions "$package" > /dev/null 2>&1 && printf '%s ' "$package"
    done
    return 0
}

# Of libvirt, each a package of its own in some releases.
has_drivers() {
    for driver in qemu network nwfilter; do
        ls /usr/lib/*/libvirt/connection-driver/libvirt_driver_$driver.so > /dev/null 2>&1 || return 1
    done
}

# There may be no systemd before (in a container), and it may have come along with a package.
enabled_units() { systemctl list-unit-files --no-legend --state=enabled 2> /dev/null | awk '{print $1}' | sort; }

install_packages() {
    say "Installing packages: $*"
    before=$(mktemp) log=$(mktemp) policy=
    enabled_units > "$before"
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        # Debian's way of saying that installing must not start anything; 101: not allowed.
        printf '#!/bin/sh\nexit 101\n' | as_root tee /usr/sbin/policy-rc.d > /dev/null
        as_root chmod 755 /usr/sbin/policy-rc.d
        policy=/usr/sbin/policy-rc.d
        trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT INT TERM
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends --no-upgrade \
        -o Dpkg::Use-Pty=0 "$@" > "$log" 2>&1 < /dev/null || { tail -n 30 "$log" >&2; fail "apt-get failed."; }
    if [ -n "$policy" ]; then as_root rm -f "$policy"; trap - EXIT INT TERM; fi
    for unit in $(enabled_units | comm -13 "$before" - | grep -E "$UNITS" || true); do
        as_root systemctl disable -q "$unit" > /dev/null 2>&1 || true
    done
    rm -f "$before" "$log"
}

system_packages() {
    wanted=$PACKAGES extras=$EXTRAS
    [ "$purpose" = run ] || wanted="$wanted $TEST_PACKAGES" extras="$extras $TEST_EXTRAS"
    # shellcheck disable=SC2086  # words on purpose
    missing=$(missing_packages $wanted)
    if [ -z "$missing" ] && command -v virtlogd > /dev/null && has_drivers &&
        { [ "$purpose" = run ] || command -v docker > /dev/null; }; then return; fi
    command -v apt-get > /dev/null || fail "This needs Debian 12 or 13 or Ubuntu 24.04 (apt-get), or: $missing"
    [ "$(id -u)" = 0 ] || command -v sudo > /dev/null || fail "Installing packages needs root or sudo."
    as_root apt-get update -q > /dev/null < /dev/null
    # shellcheck disable=SC2046,SC2086
    install_packages $missing $(available $extras)
}

digest() { cat "$@" | sha256sum | cut -d' ' -f1; }

virtual_environment() {
    requirements=requirements.txt
    [ "$purpose" = run ] || requirements=requirements-dev.txt
    version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    case $version in
        3.1[1-9]) ;;
        *) fail "Python 3.11 or later is needed; this machine has $version (Debian 12, Ubuntu 24.04 or later)." ;;
    esac
    [ -x .venv/bin/python ] || python3 -m venv .venv
    stamp=.venv/.installed
    now="$version $(digest requirements.txt requirements-dev.txt)"
    case $(cat "$stamp" 2>/dev/null) in
        "test $now" | "$purpose $now") return ;;  # what the checks need includes what the product needs
    esac
    say "Installing Python packages (once; libvirt's is compiled)…"
    rm -f "$stamp"
    .venv/bin/python -m pip install -q --disable-pip-version-check --no-input -r "$requirements" < /dev/null
    printf '%s %s' "$purpose" "$now" > "$stamp"
}

front_end() {
    stamp=webapp/node_modules/.installed
    now=$(digest webapp/package-lock.json webapp/vendor.py)
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$now" ] && [ -d webapp/static/vendor ]; then return; fi
    say "Installing front-end packages…"
    (cd webapp && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error < /dev/null > /dev/null)
    .venv/bin/python -m webapp.vendor
    printf '%s' "$now" > "$stamp"
}

system_packages
virtual_environment
front_end
