"""An ordinary Linux host made a hypervisor, without containers: what `manual-install.sh` runs.

A table of steps (`__main__.py`), each a function that looks at one thing of the host and returns
findings; a finding that can be mended here carries its change. So `--check` and `--apply` look with
the same eyes, and a change counts only if the next look finds it. Only the standard library is
used, since the host has nothing of ours yet.

    finding.py       what was found, and what mends it
    files.py         configuration files: our own settings changed, all else kept, a copy beside
    programs.py      the packages
    libvirt.py       libvirtd, QEMU's settings, the TCP port, the guests' network
    certificates.py  what SPICE speaks TLS with
    ssh.py           may the engine log in?
    viewer.py        the viewer proxy as a service of systemd
    folders.py       where disks and media lie
    description.py   what the host says of itself: does KVM work, where is the proxy
"""
