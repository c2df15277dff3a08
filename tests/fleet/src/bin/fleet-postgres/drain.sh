#!/bin/sh
# Takes databases that leave out of the balancer before anything of theirs stops: no new connections at once, the open ones end after
# GRACE seconds. In that time their clients go on, and the notices of other machines of the same zone come in.
# Input: the event on standard input, SOCKET (HAProxy's), GRACE. Output: HAProxy's complaints; exit code 1 where there were any.
set -eu
members=$(tr ',{' '\n\n' | sed -n 's/.*"member" *: *"\([^"]*\)".*/\1/p' | sort -u)
ask() { # ask COMMAND: HAProxy says nothing where all is well
    said=$(printf '%s\n' "$1" | socat -t 5 - "UNIX-CONNECT:$SOCKET")
    [ -z "$said" ] || { echo "$1: $said" >&2; exit 1; }
}
for member in $members; do
    for backend in writes reads; do ask "set server $backend/$member state drain"; done
done
sleep "$GRACE"
for member in $members; do
    for backend in writes reads; do ask "shutdown sessions server $backend/$member"; done
done
echo "drained:" $members
