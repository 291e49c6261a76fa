# awk -f layers.awk layers.txt FILE... -- print every #include that the table does not allow.
# Also refused: an include that is not from the root, and a header of a C library outside
# arch/hosted, tests/ and the UEFI loader.

function layer_of(path, i)
{
    for (i = 1; i <= layers; i++)
        if (path ~ pattern[i])
            return name[i]
    return "unknown"
}

function refuse(why)
{
    print FILENAME ":" FNR ": " $0 ": " why
    refused = 1
}

FNR == NR {
    if ($0 !~ /^#/ && NF >= 2) {
        name[++layers] = $1
        pattern[layers] = $2
        allowed[$1, $1] = 1
        for (i = 3; i <= NF; i++)
            allowed[$1, $i] = 1
    }
    next
}

FNR == 1 {
    from = layer_of(FILENAME)
    freestanding = FILENAME !~ /^(arch\/hosted|tests|boot\/uefi)\//
}

/^[ \t]*#[ \t]*include[ \t]*"/ {
    split($0, part, "\"")
    if (part[2] !~ /\//)
        refuse("not from the root")
    else if (!((from, layer_of(part[2])) in allowed))
        refuse("layer " from " does not include layer " layer_of(part[2]))
}

/^[ \t]*#[ \t]*include[ \t]*</ {
    split($0, part, /[<>]/)
    if (freestanding && part[2] !~ /^(limits|stdalign|stdarg|stdatomic|stdbool|stddef|stdint)\.h$/)
        refuse("not a freestanding header")
}

END { exit refused }
