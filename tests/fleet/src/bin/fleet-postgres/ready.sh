#!/bin/sh
# Takes a database back into the balancer: one that has joined the group, or one that stays after all. Whether it gets anything is up to
# HAProxy's checks. Input: the event on standard input, SOCKET. Output: as drain.sh; members that are no databases are passed over.
set -eu
members=$(tr ',{' '\n\n' | sed -n 's/.*"member" *: *"\([^"]*\)".*/\1/p' | sort -u)
for member in $members; do
    for backend in writes reads; do
        said=$(printf 'set server %s/%s state ready\n' "$backend" "$member" | socat -t 5 - "UNIX-CONNECT:$SOCKET")
        case "$said" in '' | 'No such server.'*) ;; *) echo "$backend/$member: $said" >&2; exit 1 ;; esac
    done
done
