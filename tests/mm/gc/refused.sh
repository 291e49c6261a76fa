#!/bin/sh
# refused.sh -- what is wrong with a GC_PTR does not compile, warnings or not, with either compiler;
# a list that is not its struct's GC_PTRs does not link.  The files in refused/ are one error each,
# and say in their first line by which words it is known.  accepted.c has none.  KTAP.

cd "$(dirname "$0")/../../.." || exit 1
. tests/ktap.sh
folder=tests/mm/gc/refused
out=build/gc-refused
flags="-std=gnu11 -O2 -g -I. -fno-strict-aliasing"
warnings="-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings -Werror"

# expected KIND FILE: the words behind "KIND: " in the first line
expected() {
    sed -n "1s,^/\* \($1\): \(.*\) \*/\$,\2,p" "$2"
}

# those_of KIND: the files
those_of() {
    for file in $folder/*.c; do
        [ -z "$(expected "$1" "$file")" ] || echo "$file"
    done
}

every_file_says_what_it_is() {
    for file in $folder/*.c; do
        [ "$file" = $folder/accepted.c ] || [ -n "$(expected 'refused\|lists' "$file")" ] ||
            { echo "$file does not say by which words it is known"; return 1; }
    done
}

# With warnings off, so that what is left are errors of the language.
refuses() {
    for file in $(those_of refused); do
        words=$(expected refused "$file")
        said=$($1 $flags -w -fsyntax-only "$file" 2>&1) && { echo "$file compiles"; return 1; }
        printf '%s\n' "$said" | grep -qE "error: .*($words)" ||
            { printf '%s\n' "$file: not for $words:" "$said"; return 1; }
    done
}

# What differs is all that is said, and said in one line.
refuses_lists() {
    mkdir -p "$out"
    for file in $(those_of lists); do
        words=$(expected lists "$file")
        $1 $flags $warnings -c -o "$out/$1.o" "$file" || return
        said=$(mm/gc/types.sh "$out/$1.o" 2>&1) && { echo "$file: its lists are taken"; return 1; }
        case $said in
        "$file:"[1-9]*": $words") ;;
        *) printf '%s\n' "$file: not \"$words\":" "$said"; return 1 ;;
        esac
    done
}

accepts() {
    mkdir -p "$out"
    $1 $flags $warnings -c -o "$out/$1.o" $folder/accepted.c && mm/gc/types.sh "$out/$1.o"
}

# Each type of it, though the file has them all: without debug information none is known.
says_what_it_cannot_know() {
    mkdir -p "$out"
    gcc $flags -g0 -c -o "$out/g0.o" $folder/accepted.c || return
    said=$(mm/gc/types.sh "$out/g0.o" 2>&1) && { echo "taken without debug information"; return 1; }
    [ "$(printf '%s\n' "$said" | grep -c ': no debug information')" = 3 ] ||
        { printf '%s\n' "$said"; return 1; }
}

# One wrong object among right ones, as at a link.
finds_the_one() {
    mkdir -p "$out"
    gcc $flags -c -o "$out/right.o" $folder/accepted.c || return
    gcc $flags -c -o "$out/wrong.o" $folder/list_forgotten.c || return
    gcc $flags -c -o "$out/none.o" kernel/base/sort.c || return
    mm/gc/types.sh "$out/none.o" "$out/right.o" || return
    ! mm/gc/types.sh "$out/none.o" "$out/wrong.o" "$out/right.o" 2>/dev/null
}

gcc_refuses() { refuses gcc; }
clang_refuses() { refuses clang; }
gcc_refuses_lists() { refuses_lists gcc; }
clang_refuses_lists() { refuses_lists clang; }
gcc_accepts() { accepts gcc; }
clang_accepts() { accepts clang; }

ktap gc_types every_file_says_what_it_is gcc_refuses clang_refuses gcc_refuses_lists \
    clang_refuses_lists gcc_accepts clang_accepts says_what_it_cannot_know finds_the_one
