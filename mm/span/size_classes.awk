# awk -f mm/span/size_classes.awk > mm/span/size_class_table.h -- Go's size classes, from their rule.
#
# The rule (Go, mksizeclasses): go through the sizes in steps of the alignment that a size shall
# have; give each the smallest span, in granules, whose tail is at most 1/8 of it; where the next
# size fits as many slots into as many granules, it replaces the one before; at the end let every
# class grow to the largest multiple of 128 that leaves its slots and granules as they are.
#
# What differs from Go is said in the columns: a class with more than 64 slots keeps the bitmap of
# its free slots at the end of the span, so it has `slots`, not `raw` of them.

function floor(x) { return int(x) }

function alignment(size) {
    if (size >= 2048) return 256
    if (size >= 128) {                 # an eighth of the power of two below, 16 at least
        for (power = 128; power * 2 <= size; power *= 2) ;
        return power / 8
    }
    return size >= 32 ? 16 : 8
}

function span_bytes(size,   bytes) {
    for (bytes = GRANULE; bytes % size > bytes / 8; bytes += GRANULE) ;
    return bytes
}

# Slots that leave room for a bitmap of themselves in whole words.
function slots_with_map(size, bytes,   n) {
    n = floor(bytes / size)
    while (n > 64 && n * size + floor((n + 63) / 64) * 8 > bytes)
        n--
    return n
}

function max_waste(class,   raw) {
    raw = floor(bytes_of[class] / size_of[class])
    return ((size_of[class] - size_of[class - 1] - 1) * raw + bytes_of[class] % size_of[class]) \
           / bytes_of[class]
}

# The class of every size, in steps of 8: ranges of a table.
function lookup(name,   class, first, last) {
    printf "\n#define %s(X) \\\n", name
    first = 1
    for (class = 1; class <= classes; class++) {
        if (size_of[class] == 24)
            continue
        last = size_of[class] / 8
        printf "    X(%4d, %4d, %2d)%s\n", first, last, class, class < classes ? " \\" : ""
        first = last + 1
    }
}

BEGIN {
    GRANULE = 8192
    MAX = 32768

    for (size = 8; size <= MAX; size += alignment(size)) {
        bytes = span_bytes(size)
        same = classes > 0 && bytes == bytes_of[classes] && \
               floor(bytes / size) == floor(bytes / size_of[classes])
        if (!same)
            classes++
        size_of[classes] = size
        bytes_of[classes] = bytes
    }
    for (class = 1; class <= classes; class++) {
        size = floor(bytes_of[class] / floor(bytes_of[class] / size_of[class]))
        size -= size % 128
        if (size > size_of[class])
            size_of[class] = size
    }

    print "/*"
    print " * The size classes.  Written by mm/span/size_classes.awk (its head has the rule); checked"
    print " * against the rule and against Go's figures by tests/mm/span/test_size_classes.c."
    print " *"
    print " * X(class, bytes of a slot, granules of a span, slots in it)"
    print " * then: slots without the bitmap, tail behind these in bytes, largest part of a span wasted"
    print " */"
    print "#pragma once"
    print ""
    print "/* clang-format off */"
    print "#define SIZE_CLASS_COUNT " classes + 1
    print "#define SIZE_CLASS_MAX_BYTES " MAX
    print ""
    print "#define SIZE_CLASS_TABLE(X) \\"
    for (class = 1; class <= classes; class++) {
        size = size_of[class]
        bytes = bytes_of[class]
        printf "    X(%2d, %5d, %2d, %4d) /* %4d %4d %6.2f%% */%s\n", class, size, bytes / GRANULE, \
               slots_with_map(size, bytes), \
               floor(bytes / size), bytes % size, 100 * max_waste(class), class < classes ? " \\" : ""
    }
    print ""
    print "/*"
    print " * X(first, last, class): the class of (bytes + 7) / 8, for objects that are 16-byte aligned"
    print " * from 16 bytes up, so never that of 24 bytes."
    print " */"
    lookup("SIZE_CLASS_RANGES")
    print "/* clang-format on */"
}
