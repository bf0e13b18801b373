"""The desktop that comes with the product: a small Linux guest, built on the machine in seconds
at the first start.

Debian's (or Ubuntu's) own kernel and busybox on a 1 GiB disk, nothing else: it boots in a few
seconds even without KVM, has a network address, counts its boots on its disk, offers a shell and
obeys the ACPI power button. Its kernel is also what `kvm_probe.py` tries KVM with. `python -m
hyper_image.demo_guest` builds it; the launcher calls that.

    packages.py   fetches the distribution's packages and unpacks them; nothing is installed
    initramfs.py  the guest's whole root file system, as the archive the kernel unpacks
    disk.py       the bootable disk image              init.sh   the guest's first program
"""
