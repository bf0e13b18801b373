"""Disk files: where they lie (paths), what qemu-img is told (qemu_img) and doing it on a disk host
(disks).
"""
