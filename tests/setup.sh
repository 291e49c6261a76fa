#!/bin/sh
# setup.sh GOAL... -- install through apt what these make goals need and this machine lacks.
#
# A need is a file or a command, so that a complete machine costs a few lookups and no process.
# Says what it does in one line before it does it; where it cannot (no apt, not root and no sudo),
# says which packages and which command, and fails; but what is only wanted, it goes without.

missing=
wanted=

# need PACKAGE TEST...: PACKAGE is missing unless one of the commands or files TEST... is there.
need() {
    package=$1
    shift
    for what; do
        case $what in
        /*) [ -e "$what" ] && return ;;
        *) command -v "$what" >/dev/null && return ;;
        esac
    done
    missing="$missing $package"
}

need_compiler() {
    need gcc gcc
    need libc6-dev /usr/include/stdio.h
}

need_qemu() {
    need qemu-system-x86 qemu-system-x86_64
    need xz-utils xz
}

need_uefi() {
    need ovmf /usr/share/ovmf/OVMF.fd /usr/share/qemu/OVMF.fd
    need gnu-efi /usr/include/efi/efi.h
    need mtools mcopy
}

need_clang() {
    need clang clang
    # A pattern that matches nothing stands for itself, a file that is not there.
    # Where clang comes without this package, it brings its runtimes along.
    need libclang-rt-dev /usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-x86_64.a \
        /usr/lib/clang/*/lib/linux/libclang_rt.fuzzer-x86_64.a
}

need_format() {
    need clang-format-14 clang-format-14
}

# want PACKAGE FILE...: the same for a package that nothing fails without
want() {
    package=$1
    shift
    for what; do
        [ ! -e "$what" ] || return
    done
    wanted="$wanted $package"
}

# What the native benchmark compares with; where libraries stand, tests/bench/native/native.mk knows.
want_allocators() {
    want libmimalloc-dev /usr/lib*/*/libmimalloc.so /usr/lib*/libmimalloc.so
    want libgoogle-perftools-dev /usr/lib*/*/libtcmalloc_minimal.a /usr/lib*/libtcmalloc_minimal.so
    want libjemalloc-dev /usr/lib*/*/libjemalloc.a /usr/lib*/libjemalloc.so
}

need_compiler
for goal; do
    case $goal in
    run) need_qemu; need_uefi ;;
    test) need_qemu; need_uefi; need_clang; need_format; need gdb gdb; need spin spin ;;
    stress) need_qemu; need_clang ;;
    bench) if [ -n "${HOSTED:-}" ]; then need xz-utils xz; want_allocators; else need_qemu; fi ;;
    debug) need_qemu ;;
    gdb) need gdb gdb ;;
    lint) need_uefi; need_clang; need_format ;;
    fuzz) need_clang ;;
    model) need spin spin ;;
    mutants) need_qemu; need_clang ;;
    hosted) [ -z "${SAN:-}" ] || need_clang ;;
    esac
done

missing=$(printf '%s\n' $missing | sort -u | tr '\n' ' ')
missing=${missing% }
wanted=${wanted# }
[ -n "$missing$wanted" ] || exit 0

if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null; then
    as_root=sudo
else
    as_root=none
fi
if [ "$as_root" = none ] || ! command -v apt-get >/dev/null; then
    [ -z "$wanted" ] || echo "setup: goes without $wanted: needs apt-get, and root or sudo" >&2
    [ -n "$missing" ] || exit 0
    echo "setup: missing: $missing" >&2
    echo "setup: install them, on Debian or Ubuntu as root:" \
        "apt-get install --no-install-recommends $missing" >&2
    exit 1
fi

echo "setup: installing through apt: $missing${missing:+ }$wanted" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
try() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q "$@" </dev/null >"$log" 2>&1
}
apt() {
    try "$@" && return
    cat "$log" >&2
    echo "setup: apt-get $* failed; missing: $missing" >&2
    exit 1
}
if [ -n "$missing" ]; then
    apt update
    known=
    for package in $missing; do
        if [ "$package" != libclang-rt-dev ] ||
            [ -n "$(apt-cache search --names-only '^libclang-rt-dev$')" ]; then
            known="$known $package"
        fi
    done
    [ -z "$known" ] || apt install -y --no-install-recommends $known
else
    try update
fi
for package in $wanted; do
    try install -y --no-install-recommends "$package" ||
        echo "setup: goes without $package: $(grep -m 1 '^E: ' "$log")" >&2
done
