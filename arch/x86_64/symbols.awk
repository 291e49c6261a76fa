# The functions of a linked kernel image, as assembly for the next link; symbols.c reads them.
#
#   nm -n IMAGE | awk -f symbols.awk
#
# Functions by address; the linker script's marks are left out, and of several names of one address
# all but the first.  The end mark is the end of the last code, rounded up to a page.

BEGIN { count = 0 }

$3 == "__text_end" || $3 == "__boot_text_end" { end = $1 }

$2 !~ /^[tTwW]$/ || $3 ~ /^__[a-z_]*_(start|end)$/ || $1 == last { next }

{
    last = address[count] = $1
    name[count++] = $3
}

END {
    base = "0xffffffff80000000"
    print "        .section .symbols.index, \"a\", @progbits"
    print "        .balign 8"
    for (i = 0; i < count; i++)
        printf "        .long   0x%s - %s, .Lname%d - .Lnames\n", address[i], base, i
    if (count > 0)
        printf "        .long   0x%s - %s, 0\n", end, base
    print "        .section .symbols.names, \"a\", @progbits"
    print ".Lnames:"
    for (i = 0; i < count; i++)
        printf ".Lname%d: .asciz  \"%s\"\n", i, name[i]
    print "        .section .note.GNU-stack, \"\", @progbits"
}
