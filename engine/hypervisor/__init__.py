"""All that talks to a hypervisor host: libvirt over SSH, and SSH itself. The only folder that
imports them.
"""
