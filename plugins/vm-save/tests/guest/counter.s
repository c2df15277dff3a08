# A guest without an operating system: counts a hundred times a second, and writes each number to the serial port.
#
# Assembled with MIB, the MiB of memory above 2 MiB that it fills at the start and looks through while it counts. The count
# lies in memory, so it goes on only where memory does; a page that is not as it was written ends the count with "bad". It
# obeys its power button.
    .code16
    .globl _start
_start:
    ljmp    $0, $begin
begin:
    cli
    xorw    %ax, %ax
    movw    %ax, %ds
    movw    %ax, %ss
    movw    $0x7c00, %sp
    # All memory in reach of %es: its limit is loaded in protected mode, and stays when that is left.
    lgdt    table
    movl    %cr0, %eax
    orb     $1, %al
    movl    %eax, %cr0
    movw    $8, %bx
    movw    %bx, %es
    andb    $0xfe, %al
    movl    %eax, %cr0
    xorw    %bx, %bx
    movw    %bx, %es
    # The timer, 100 times a second.
    movb    $0x34, %al
    outb    %al, $0x43
    movb    $(11932 & 0xff), %al
    outb    %al, $0x40
    movb    $(11932 >> 8), %al
    outb    %al, $0x40
    # Pressing the power button is to be seen in the status.
    movw    $0x602, %dx
    movw    $0x100, %ax
    outw    %ax, %dx
    sti
    # Every page holds its own address.
    movl    $FIRST, %edi
fill:
    cmpl    $LAST, %edi
    jae     again
    movl    %edi, %es:(%edi)
    addl    $4096, %edi
    jmp     fill

again:
    hlt
    movw    $0x600, %dx
    inw     %dx, %ax
    testw   $0x100, %ax
    jnz     off
    movw    $64, %cx
look:
    movl    page, %edi
    cmpl    $LAST, %edi
    jb      inside
    movl    $FIRST, %edi
    cmpl    $LAST, %edi
    jae     number
inside:
    cmpl    %edi, %es:(%edi)
    jne     bad
    addl    $4096, %edi
    movl    %edi, page
    loop    look
number:
    movl    count, %ebx
    incl    count
    movw    $8, %cx
digit:
    roll    $4, %ebx
    movb    %bl, %al
    andb    $15, %al
    addb    $0x30, %al
    cmpb    $0x3a, %al
    jb      say
    addb    $0x27, %al
say:
    call    write
    loop    digit
    movb    $10, %al
    call    write
    jmp     again

off:
    movw    $0x604, %dx
    movw    $0x2000, %ax
    outw    %ax, %dx
bad:
    movw    $word, %si
letter:
    lodsb
    testb   %al, %al
    jz      stop
    call    write
    jmp     letter
stop:
    cli
    hlt

write:
    movb    %al, %ah
    movw    $0x3fd, %dx
wait:
    inb     %dx, %al
    testb   $0x20, %al
    jz      wait
    movw    $0x3f8, %dx
    movb    %ah, %al
    outb    %al, %dx
    ret

    .equ    FIRST, 0x200000
    .equ    LAST, FIRST + MIB * 0x100000
word:
    .asciz  "bad\n"
    .balign 4
page:
    .long   FIRST
count:
    .long   0
entries:
    .quad   0
    .quad   0x00cf92000000ffff
table:
    .word   15
    .long   entries
    .org    510
    .word   0xaa55
