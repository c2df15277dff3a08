#!/bin/sh
# Are two builds of one commit the same to the byte, wherever they are made? Builds all packages of what is committed in two directories
# of different names and depths, and compares them; about an hour on two CPUs and some gigabytes. Exit: 0 the same, 1 not.
#   REPRODUCIBLE_IN=...     where it builds; default: a temporary directory, which is removed
#   REPRODUCIBLE_PROFILE=dev  a debug build of the same, which takes a third of the time
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
profile=${REPRODUCIBLE_PROFILE:-dist}
work=${REPRODUCIBLE_IN:-$(mktemp -d)}
[ -n "${REPRODUCIBLE_IN:-}" ] || trap 'rm -rf "$work"' EXIT
# Once: who commits meanwhile changes nothing.
commit=$(git -C "$top" rev-parse HEAD)
SOURCE_DATE_EPOCH=$(git -C "$top" log -1 --format=%ct "$commit")
export SOURCE_DATE_EPOCH

build() { # build DIRECTORY
    mkdir -p "$1"
    git -C "$top" archive "$commit" | tar -x -C "$1"
    (
        cd "$1"
        unset CARGO_TARGET_DIR
        make deb rpm PROFILE="$profile" REMAP=1 PACKAGES="$1/target/packages"
    ) > "$1.log" 2>&1 || { tail -n 20 "$1.log" >&2; exit 1; }
    rm -rf "$1/target/$profile" "$1/target/debug"
    (cd "$1/target/packages" && sha256sum -- *.deb *.rpm) > "$1.sums"
}

build "$work/one"
build "$work/another/place/two"
if diff "$work/one.sums" "$work/another/place/two.sums"; then
    echo "reproducible: $(wc -l < "$work/one.sums") packages are the same"
else
    echo "reproducible: the packages above differ" >&2
    exit 1
fi
