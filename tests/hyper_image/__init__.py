"""Tests of the hypervisor host on real parts: namespaces, libvirtd, sshd, QEMU and the viewer
proxy.
"""
