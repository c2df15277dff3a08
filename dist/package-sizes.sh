#!/bin/sh
# Sizes of the Debian packages in a directory, as JSON in MB: each by its name, and all together; those of debug symbols are left out.
set -eu

packages=${1:?package-sizes: which directory?}
cd "$packages"
ls -- *.deb > /dev/null 2>&1 || { echo "package-sizes: there is no .deb in $packages (make deb makes them)" >&2; exit 1; }
for file in *.deb; do
    case "$file" in *-dbgsym_*) continue ;; esac
    printf '%s %s\n' "${file%%_*}" "$(stat -c %s "$file")"
done | awk '
    { mb = $2 / 1e6; all += mb; lines = lines (NR > 1 ? ",\n" : "") sprintf("    \"%s\": %.3f", $1, mb) }
    END { printf "{\n  \"debs_mb\": {\n%s\n  },\n  \"all_debs_mb\": %.3f\n}\n", lines, all }'
