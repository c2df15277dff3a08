#!/bin/sh
# Leaves a database to HAProxy's checks again: of a machine that is gone, so that nothing has to be done when another comes in its place,
# or of one that has joined the group.
# Input: the event on standard input, SOCKET. Output: as drain.sh; members that are no databases are passed over.
set -eu
members=$(tr ',{' '\n\n' | sed -n 's/.*"member" *: *"\([^"]*\)".*/\1/p' | sort -u)
for member in $members; do
    for backend in writes reads; do
        said=$(printf 'set server %s/%s state ready\n' "$backend" "$member" | socat -t 5 - "UNIX-CONNECT:$SOCKET")
        case "$said" in '' | 'No such server.'*) ;; *) echo "$backend/$member: $said" >&2; exit 1 ;; esac
    done
done
