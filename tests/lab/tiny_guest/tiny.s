# A whole guest in one boot sector: it paints colour bars, counts its boots on the disk, echoes what is typed, moves a
# bar as sign of life and obeys the ACPI power button (i440fx and q35). Needs 8 MiB and no KVM.
# Assembled with SLOW=1 it wakes once a second instead of eighteen times: for crowds of guests.

.intel_syntax noprefix
.code16

.set PM_STATUS,   0x600         # ACPI power management registers as QEMU's firmware places them
.set PM_ENABLE,   0x602
.set PM_CONTROL,  0x604
.set POWER_BUTTON, 0x100
.set SLEEP_S5,    0x2000
.set COUNTER,     0x7e00        # sector 1 of the disk is read to here; its first word is the boot counter
.set SCREEN,      0xa000
.set WIDTH,       320
.set BAR_TOP,     WIDTH * 188
.set BAR_SIZE,    WIDTH * 8

.global start
start:
        ljmp    0, main
main:
        xor     ax, ax
        mov     ds, ax
        mov     ss, ax
        mov     sp, 0x7c00
        cld
        sti

        mov     dx, PM_ENABLE   # have the button reported
        mov     ax, POWER_BUTTON
        out     dx, ax

        xor     ax, ax
        mov     es, ax
        mov     bx, COUNTER
        mov     cx, 2           # cylinder 0, sector 2; dx: head 0 of the first hard disk
        mov     dx, 0x80
        mov     ax, 0x0201
        int     0x13
        inc     word ptr [COUNTER]
        mov     ax, 0x0301
        int     0x13

        mov     ax, 0x13        # 320 x 200 in 256 colours
        int     0x10
        mov     ax, SCREEN
        mov     es, ax
        xor     di, di
paint:                          # sixteen columns of colour, shaded downwards
        mov     ax, di
        xor     dx, dx
        mov     bx, WIDTH
        div     bx              # ax = row, dx = column
        shr     ax, 5
        mov     bl, dl
        mov     bh, dh
        shr     bx, 4
        add     bl, al
        and     bl, 31
        mov     al, bl
        add     al, 32          # the hue circle of the standard palette
        stosb
        cmp     di, WIDTH * 200
        jb      paint

        mov     si, offset greeting
say:    lodsb
        test    al, al
        jz      counted
        call    put
        jmp     say
counted:
        mov     ax, [COUNTER]
        call    put_number
        mov     al, 13
        call    put
        mov     al, 10
        call    put

.ifdef SLOW
        cli
        mov     al, 0xf9        # only the keyboard and the second controller
        out     0x21, al
        mov     al, 0xfe        # only the clock
        out     0xa1, al
        mov     ax, 0x0b
        out     0x70, al
        in      al, 0x71
        or      al, 0x10        # an interrupt each time the clock changes
        mov     ah, al
        mov     al, 0x0b
        out     0x70, al
        mov     al, ah
        out     0x71, al
        mov     al, 0x0c
        out     0x70, al
        in      al, 0x71
        sti
.endif

idle:
        hlt
        mov     dx, PM_STATUS
        in      ax, dx
        test    ah, POWER_BUTTON >> 8
        jnz     power_off
        mov     ah, 1           # a key?
        int     0x16
        jz      move_bar
        xor     ax, ax
        int     0x16
        call    put
move_bar:
        inc     byte ptr [beat]
        mov     al, [beat]
        mov     di, BAR_TOP
        mov     cx, BAR_SIZE
        rep stosb
        jmp     idle

power_off:
        mov     dx, PM_CONTROL
        mov     ax, SLEEP_S5
        out     dx, ax
        hlt
        jmp     power_off

put:    mov     ah, 0x0e        # al to the screen, white
        mov     bx, 15
        int     0x10
        ret

put_number:                     # ax in decimal
        xor     dx, dx
        mov     bx, 10
        div     bx
        push    dx
        test    ax, ax
        jz      last_digit
        call    put_number
last_digit:
        pop     ax
        add     al, '0'
        jmp     put

beat:   .byte 0
greeting:
        .asciz "\r\n IsardVDI test guest\r\n boot number "

        .org 510
        .word 0xaa55
