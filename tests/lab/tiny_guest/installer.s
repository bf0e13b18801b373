# An installer of one sector for an ISO image (El Torito, no emulation): the system to install is the next sector of the
# image, which the BIOS has loaded right behind. It is written onto the first disk, and the machine powers off.

.intel_syntax noprefix
.code16

.set PM_CONTROL, 0x604          # as in tiny.s
.set SLEEP_S5,   0x2000
.set SYSTEM,     0x7e00         # where the sector to install is

.global start
start:
        ljmp    0, main
main:
        xor     ax, ax
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     sp, 0x7c00
        cld
        sti
        mov     bx, SYSTEM
        mov     cx, 1           # cylinder 0, sector 1; dx: head 0 of the first hard disk
        mov     dx, 0x80
        mov     ax, 0x0301
        int     0x13
        jc      stay            # nothing was installed: stay, so that it is seen
        mov     dx, PM_CONTROL
        mov     ax, SLEEP_S5
        out     dx, ax
stay:
        hlt
        jmp     stay

        .org    512
