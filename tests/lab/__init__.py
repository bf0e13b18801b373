"""Real hypervisor hosts and guests for tests, on one machine, as root, without Docker and without
KVM.

    from tests.lab import Lab, tiny_guest

    with Lab(tmp_path) as lab:     # or the fixtures lab, lab_host of tests/lab/fixtures.py
        host = lab.start("h1")                 # ~0.5 s; many at once; uplink=True: guests reach out
        host.ssh_port, host.viewer_port, host.host_key, host.known_hosts_line, host.key_path
        host.storage_root           # <data>/storage with bases, templates, groups, media
        host.libvirt_uri                            # for libvirt.open, key and host key checked
        image = tiny_guest.build(host.storage_root / "templates" / "tiny.qcow2")
        disk = host.make_disk(image, "desk1")  # qcow2 overlay in storage/groups
        connection.createXML(tiny_guest.domain_xml("desk1", disk))
        host.exec(["virsh", "list"])           # a command inside the host, not over SSH
        host.restart_libvirtd()                # guests go on
        host.freeze(); host.thaw()             # sshd and libvirtd stand still: a dead link
        host.crash(); host = lab.restart(host)  # power cut; the same host again on the same ports
        host.stop()                            # guests by ACPI, then everything

The guest needs binutils (as, ld); its picture is there within a second, and `shutdown` works
within one. `build(path, slow=True)` is for crowds. Logs are in `host.log`; the host ends with the
test's process whatever happens.
"""

from tests.lab.host import Lab, LabHost, free_ports, wait_until

__all__ = ["Lab", "LabHost", "free_ports", "wait_until"]
