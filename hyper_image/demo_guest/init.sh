#!/bin/sh
# The demo desktop's first program, and (called with a word) what the power button and the DHCP client run.
# Everything the guest keeps is on its only disk, mounted at /disk; /disk/home is the user's folder.

export PATH=/bin:/sbin:/usr/bin
DISK=/dev/vda1

lease() {   # $1: what happened; the client gives interface, ip, mask, router and dns in the environment
    [ "$1" = bound ] || [ "$1" = renew ] || return 0
    ip address flush dev "$interface"
    ip address add "$ip/${mask:-24}" dev "$interface"
    for gateway in $router; do ip route replace default via "$gateway"; done
    : > /etc/resolv.conf
    for server in $dns; do echo "nameserver $server" >> /etc/resolv.conf; done
    [ "$1" = renew ] || screen > /dev/tty1
}

end() {
    printf '\033[2J\033[10;28H\033[1;36mGood-bye! See you soon.\033[0m' > /dev/tty1
    sync
    umount /disk 2>/dev/null
    busybox poweroff -f
}

rule() { printf '\033[0;44m%80s\033[0m\n' ''; }
line() { printf '\033[1;37;44m%-80s\033[0m\n' "   ${1#.}"; }

screen() {
    address=$(ip -4 -o address show dev eth0 2>/dev/null | awk '{print $4}')
    printf '\033[2J\033[H\033[?25h'
    rule
    while read -r row; do line "$row"; done << 'LOGO' | sed "s/#/$(printf '\033[46m \033[44m')/g"
.######                             ##  ##  ##  #####   ######
.  ##     ####   ####   ## ##       ##  ##  ##  ##  ##    ##
.  ##    ##         ##  ###  #   #####  ##  ##  ##  ##    ##
.  ##     ###    #####  ##      ##  ##  ##  ##  ##  ##    ##
.  ##       ##  ##  ##  ##      ##  ##   ####   ##  ##    ##
.######  ####    #####  ##       #####    ##    #####   ######
LOGO
    rule
    printf '\033[1;33;44m%-80s\033[0m\n' '   The demo desktop: a real virtual machine, running on your hypervisor.'
    rule
    for colour in 41 43 42 46 44 45; do printf '\033[%sm%13s\033[0m' "$colour" ''; done
    printf '\n\n'
    printf '   \033[1;32mBoot number\033[0m     %s   (kept on this desktop'"'"'s own disk)\n' "$(cat /disk/boots 2>/dev/null || echo '?')"
    printf '   \033[1;32mAddress\033[0m         %s\n' "${address:-none yet}"
    printf '   \033[1;32mReady after\033[0m     %s seconds\n\n' "$(cut -d' ' -f1 /proc/uptime)"
    printf '   What you save in this folder is kept. Type \033[1mpoweroff\033[0m to shut down.\n\n'
    [ -e /run/prompt ] && printf '~ # '
}

case "$1" in
    lease) lease "$2"; exit 0 ;;
    poweroff) end; exit 0 ;;
esac

/bin/busybox mkdir -p /bin /sbin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev

if grep -q isard.probe /proc/cmdline; then
    # Only asked whether a kernel gets this far.
    echo ISARD-USERLAND-REACHED > /dev/console
    busybox poweroff -f
fi

while read -r module; do insmod "/lib/modules/$module.ko" 2>/dev/null; done < /etc/modules
hostname demo
ip link set lo up

for try in 1 2 3 4 5 6 7 8 9 10; do [ -b "$DISK" ] && break; sleep 0.1; done
if mount -t vfat "$DISK" /disk 2>/dev/null; then
    echo $(($(cat /disk/boots 2>/dev/null || echo 0) + 1)) > /disk/boots
    sync
fi
mkdir -p /disk/home

# The shell prefers its own applets, and those ask a first program of busybox's kind: so by alias.
printf '#!/bin/sh\nsync; umount /disk; exec busybox reboot -f\n' > /etc/reboot
chmod +x /etc/reboot
printf "alias poweroff='/init poweroff' halt='/init poweroff' reboot=/etc/reboot\n" > /etc/shrc

acpid
screen > /dev/tty1
[ -e /sys/class/net/eth0 ] && ip link set eth0 up && udhcpc -i eth0 -s /etc/lease -b -t 20 -T 1 -S > /dev/null 2>&1 &
grep -q console=ttyS0 /proc/cmdline && echo ISARD-DEMO-READY > /dev/ttyS0
touch /run/prompt

cd /disk/home || cd /
export HOME=/disk/home PS1='~ # ' ENV=/etc/shrc
while :; do
    setsid sh -c 'exec sh < /dev/tty1 > /dev/tty1 2>&1'
    sleep 1
done
