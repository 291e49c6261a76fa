#!/bin/sh
# lint.sh -- what compilers do not check: layers, conditionals, format, length, words.  KTAP.

cd "$(dirname "$0")/../.." || exit 1
. tests/ktap.sh

sources=$(find boot arch kernel mm tests -name '*.[chS]' ! -path 'tests/lint/refused/*' | sort)
c_sources=$(printf '%s\n' $sources | grep '\.[ch]$')
all_files=$(find . -type f ! -path './.git/*' ! -path './build/*' ! -name '*.xz')

# Nothing printed: nothing found.
finds_nothing() {
    ! "$@" | grep .
}

layers() {
    awk -f tests/lint/layers.awk tests/lint/layers.txt $sources
}

layers_refuses_bad_includes() {
    cd tests/lint/refused || return
    refused=$(awk -f ../layers.awk ../layers.txt mm/page/layers.c | cut -d: -f2 | tr '\n' ' ')
    [ "$refused" = "2 3 4 5 " ] || { echo "refused only lines $refused"; return 1; }
}

# mm/ is configured by `if (CONFIG_X)`; its headers are guarded by #pragma once.
conditionals() {
    grep -nE '^[[:space:]]*#[[:space:]]*(if|ifdef|ifndef|elif)\>' "$@"
}

mm_has_no_conditionals() {
    finds_nothing conditionals $(printf '%s\n' $sources | grep '^mm/')
}

conditionals_are_refused() {
    conditionals tests/lint/refused/mm/page/conditional.c
}

size_classes_are_their_rule() {
    awk -f mm/span/size_classes.awk | cmp - mm/span/size_class_table.h
}

format() {
    clang-format-14 --dry-run -Werror $c_sources
}

too_long() {
    wc -l $sources | awk '$1 > 450 && $2 != "total" { print $2 ": " $1 " lines, at most 450" }'
}

length() {
    finds_nothing too_long
}

# Paths of one machine, hosts of package registries.
local_words() {
    grep -nIE '(^|[^[:alnum:]._])/(home|root|work)/|https?://[^ ]*/(debian|ubuntu)|://registry[.]' \
        $all_files | grep -v '^\./tests/lint/lint\.sh:'
}

words() {
    finds_nothing local_words
}

ktap lint layers layers_refuses_bad_includes mm_has_no_conditionals conditionals_are_refused \
    size_classes_are_their_rule format length words
