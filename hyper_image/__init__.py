"""The services of one hypervisor host: libvirtd, virtlogd, sshd and the viewer proxy under one
small supervisor.

The same programs run in two places. On the local machine `python -m hyper_image local` puts them
into namespaces of their own (mounts, processes, names, network), so nothing of the machine is
touched. In a container, or on a host given wholly to desktops, `python -m hyper_image serve` runs
them as they are, on the ordinary paths. Both are reached exactly as any other hypervisor: over
SSH with a pinned host key. `engine/` knows nothing of this folder.

    local.py          outside: opens the namespaces, joins them to the network, waits, stops
    private_world.py  inside, first: mounts, accounts, host name, guests' network
    services.py       inside, then: the supervisor (also process 1 of the namespace or container)
    configuration.py  what is written to /etc/libvirt, /etc/ssh, /etc/isard
    guest_network.py  the guests' NAT network and what they may not reach
    kvm_probe.py      does KVM really work here?
    guests.py         shut all guests down
    viewer_proxy.py   websockets to consoles
    tickets.py        who may see which console
    certificates.py   TLS certificates: made, and judged
    asking.py         commands that only look
    spice_certificates.py  those that SPICE uses, taken when people put them there
    demo_guest/       the desktop that comes with the product
    manual/           an ordinary host made a hypervisor (`manual-install.sh`)
"""
