#!/bin/sh
# Builds the C and C++ exhibits of one minor version from their sources, with the headers of this tree, for its opening day:
# `tests/abi/museum/build.sh 1.N`. Never again afterwards: an exhibit is what was built then.
set -eu

cd "$(dirname "$0")/$1"
include=../../../../include
strict="-Wall -Wextra -Wpedantic -Werror -fvisibility=hidden -fPIC -O2 -I$include"
# No build id, no note of the compiler's: nothing in the file but what runs.
link="-shared -s -Wl,-z,defs,-z,now,-z,relro,-z,noexecstack,-z,nodelete,--build-id=none,--as-needed"

build() { # build NAME SOURCE COMPILER STANDARD FLAGS...
    name=$1 source=$2 compiler=$3 standard=$4
    shift 4
    # shellcheck disable=SC2086 # lists of words
    "$compiler" -std="$standard" $strict -DNAME="\"$name\"" "$@" "$source" -o "$name.so" $link
}

build services-gcc services.c gcc c99
build services-clang services.c clang c99
build realtime-gcc lanes.c gcc c99 -DCAPS=SNOOZE_CAP_REALTIME
build async-gcc lanes.c gcc c99 -DCAPS=SNOOZE_CAP_ASYNC -pthread
build layer-gcc layer.cpp g++ c++17
build layer-clang layer.cpp clang++ c++17
for library in *.so; do
    glibc=$(objdump -T "$library" | grep -o 'GLIBC_2[0-9.]*' | sort -V | tail -1)
    echo "$(sha256sum "$library") $(stat -c %s "$library") bytes, $glibc"
done
