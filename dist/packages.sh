#!/bin/sh
# Makes packages of what has been built: packages.sh deb|rpm BUILT PACKAGES; `make deb` and `make rpm` call it. It builds nothing, and
# writes to PACKAGES and to a directory of its own only, so that the source tree stays as it is.
#   ONLY="cloudsnooze cloudsnooze-dev"   these Debian packages only
#   PACKAGE_COMPRESSION=gzip             for packages that are only made to be tested: fast
#   NO_SYMBOLS=1                         without the packages of debug symbols
set -eu

kind=$1 built=$2 packages=$3
top=$(cd "$(dirname "$0")/.." && pwd)
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$top/Cargo.toml" | head -n 1)

need() { # need COMMAND PACKAGE
    command -v "$1" > /dev/null || { echo "packages: there is no $1 (Debian package $2)" >&2; exit 1; }
}

mkdir -p "$packages"
stage=$(mktemp -d "$packages/stage.XXXXXX")
trap 'rm -rf "$stage"' EXIT

case "$kind" in
deb)
    need dh debhelper
    need dpkg-buildpackage dpkg-dev
    source=$stage/cloudsnooze-$version
    mkdir "$source"
    # The tree as it is, but a debian/ to write to.
    for entry in "$top"/*; do ln -s "$entry" "$source/"; done
    rm "$source/debian"
    cp -R "$top/debian" "$source/debian"
    cd "$source"
    # Said once and for all its tools: which packages.
    for package in ${ONLY:-}; do DH_OPTIONS="${DH_OPTIONS:-} -p$package"; done
    export DH_OPTIONS="${DH_OPTIONS:-}" DEB_BUILD_OPTIONS="${DEB_BUILD_OPTIONS:-} ${NO_SYMBOLS:+noautodbgsym}"
    PREBUILT=1 BUILT="$built" PACKAGES="$packages" dpkg-buildpackage --build=binary --no-check-builddeps --unsigned-changes \
        --unsigned-buildinfo --no-pre-clean --buildinfo-option="-u$packages" --changes-option="-u$packages" \
        --buildinfo-file="$packages/cloudsnooze_$version.buildinfo" --changes-file="$packages/cloudsnooze_$version.changes"
    ;;
rpm)
    need rpmbuild rpm
    # Without these find-debuginfo says so among other lines, and goes on: programs keep their symbols, and nobody has them to debug with.
    [ -n "${NO_SYMBOLS:-}" ] || { need find-debuginfo debugedit; need eu-strip elfutils; }
    # Times and the host's name are given, so that packages of one source are the same, whenever and wherever they are made.
    case "${PACKAGE_COMPRESSION:-}" in gzip) payload=w1.gzdio ;; *) payload=w19.zstdio ;; esac
    symbols=$([ -n "${NO_SYMBOLS:-}" ] || echo debuginfo)
    rpmbuild -bb --define "${symbols:-no_debuginfo} 1" --define "_topdir $stage/rpm" --define "_rpmdir $packages" \
        --define "_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm" --define "_binary_payload $payload" \
        --define "tree $top" --define "built $built" --define "package_version $version" --define "_buildhost reproducible" \
        --define "clamp_mtime_to_source_date_epoch 1" --define "use_source_date_epoch_as_buildtime 1" \
        "$top/dist/rpm/cloudsnooze.spec"
    [ -n "${NO_SYMBOLS:-}" ] || rpm -qlp "$packages/cloudsnooze-debuginfo-$version"-*.rpm | grep -q '/snoozed.*\.debug$' \
        || { echo "packages: the package of debug symbols has none of snoozed" >&2; exit 1; }
    ;;
*)
    echo "packages: deb or rpm, not '$kind'" >&2
    exit 2
    ;;
esac
