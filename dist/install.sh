#!/bin/sh
# Puts everything that is shipped into its place below DESTDIR: `make install` calls it, and packages split what it has put there.
# It builds nothing. Inputs: variables of the environment, below; the programs and plugins in BUILT. Must never write outside of
# DESTDIR, nor depend on the machine, its time or its user's umask.
set -eu

cd "$(dirname "$0")/.."
built=${BUILT:?the directory of the built programs, as target/release}
destdir=${DESTDIR:-}
prefix=${PREFIX:-/usr}
bin=${BINDIR:-$prefix/bin}
sbin=${SBINDIR:-$prefix/sbin}
lib=${LIBDIR:-$prefix/lib}
libexec=${LIBEXECDIR:-$prefix/libexec}
etc=${SYSCONFDIR:-/etc}
share=${DATADIR:-$prefix/share}
man=${MANDIR:-$share/man}
doc=${DOCDIR:-$share/doc}/cloudsnooze
python=${PYTHONDIR:-$prefix/lib/python3/dist-packages}
units=${UNITDIR:-$prefix/lib/systemd/system}
sysusers=${SYSUSERSDIR:-$prefix/lib/sysusers.d}
tmpfiles=${TMPFILESDIR:-$prefix/lib/tmpfiles.d}
# Where libraries are loaded from, and where plugins lie that are the same on every architecture.
plugins=$lib/cloudsnooze/plugins
scripts=$prefix/lib/cloudsnooze/plugins
version=${VERSION:?the version}
umask 022

put() { # put MODE FROM TO
    install -D -m "$1" "$2" "$destdir$3"
}

each() { # each MODE DIRECTORY FILE...
    mode=$1 directory=$2
    shift 2
    for file in "$@"; do put "$mode" "$file" "$directory/${file##*/}"; done
}

filled() { # filled FROM TO: with places and version filled in
    install -d "$destdir${2%/*}"
    sed -e "s|@PREFIX@|$prefix|g; s|@LIBDIR@|$lib|g; s|@VERSION@|$version|g" \
        -e "s|/usr/sbin/snoozed|$sbin/snoozed|g; s|/usr/bin/snooze|$bin/snooze|g" "$1" > "$destdir$2"
    chmod 644 "$destdir$2"
}

put 755 "$built/snoozed" "$sbin/snoozed"
put 755 "$built/snooze" "$bin/snooze"
put 755 "$built/snooze-plugin-host" "$libexec/cloudsnooze/snooze-plugin-host"
for name in ${PLUGINS:?the plugins, by name}; do
    put 644 "$built/lib$(echo "$name" | tr - _).so" "$plugins/$name.so"
done

# Plugins in Python, and what they are written with.
put 644 plugins/celery-drain/celery_drain.py "$scripts/celery_drain.py"
install -d "$destdir$scripts"
sed 's|"/opt/celery-drain/bin/python3"|"/usr/bin/python3"|' plugins/celery-drain/celery-drain.plugin.json \
    > "$destdir$scripts/celery-drain.plugin.json"
chmod 644 "$destdir$scripts/celery-drain.plugin.json"
each 644 "$python/cloudsnooze" plugins/python/src/cloudsnooze/*.py plugins/python/src/cloudsnooze/py.typed

# The service.
filled daemon/dist/systemd/cloudsnooze.service "$units/cloudsnooze.service"
put 644 daemon/dist/systemd/cloudsnooze.sysusers "$sysusers/cloudsnooze.conf"
put 644 daemon/dist/systemd/cloudsnooze.tmpfiles "$tmpfiles/cloudsnooze.conf"
put 644 daemon/dist/cloudsnooze.json "$etc/cloudsnooze/cloudsnooze.json"
put 644 daemon/dist/config.schema.json "$share/cloudsnooze/config.schema.json"
each 644 "$doc/dropins" daemon/dist/systemd/dropins/*
each 644 "$share/polkit-1/rules.d" daemon/dist/polkit/*.rules
put 644 dist/prometheus/alerts.yml "$share/cloudsnooze/prometheus/alerts.yml"
put 644 dist/grafana/cloudsnooze.json "$share/cloudsnooze/grafana/cloudsnooze.json"

# For people.
for page in daemon/dist/man/*.[1-8]; do put 644 "$page" "$man/man${page##*.}/${page##*/}"; done
put 644 daemon/dist/completions/snooze.bash "$share/bash-completion/completions/snooze"
put 644 daemon/dist/completions/_snooze "$share/zsh/${ZSH_COMPLETIONS:-vendor-completions}/_snooze"
put 644 daemon/dist/completions/snooze.fish "$share/fish/vendor_completions.d/snooze.fish"
each 644 "$doc" README.md CHANGELOG.md LICENSE
for readme in plugins/*/README.md; do
    name=${readme#plugins/} name=${name%/README.md}
    case " $PLUGINS celery-drain " in *" $name "*) put 644 "$readme" "$doc/plugins/$name.md" ;; esac
done
# What is built in: names, versions, licences. Made beside the programs; a build without them is not for others.
for file in sbom.cdx.json THIRD-PARTY.txt; do
    if [ -f "$built/$file" ]; then put 644 "$built/$file" "$doc/$file"; fi
done

# For authors of plugins.
each 644 "$prefix/include/cloudsnooze" include/cloudsnooze/*
filled include/cloudsnooze.pc.in "$lib/pkgconfig/cloudsnooze.pc"
filled include/CloudSnoozeConfig.cmake.in "$lib/cmake/CloudSnooze/CloudSnoozeConfig.cmake"
filled include/CloudSnoozeConfigVersion.cmake.in "$lib/cmake/CloudSnooze/CloudSnoozeConfigVersion.cmake"
for example in c-examples/*; do each 644 "$doc/examples/${example##*/}" "$example"/*; done
