#!/bin/sh
# Hands over when the primary has stopped: the first replica that has all of its log is promoted, the others follow it. Replicas that leave
# too have stopped before, as the group's order says, and do not answer: where none does, there is nobody to hand over to.
# Input: DATA (the data directory), BIN (PostgreSQL's programs), PEERS ("name=host:port ..."), PGUSER and PGPASSWORD for an account that
# may, FOLLOW (how replicas log in to the new primary). Output: what was done; exit code 1 where it could not be.
set -eu
control=$("$BIN/pg_controldata" -D "$DATA")
field() { printf '%s\n' "$control" | sed -n "s/^$1: *//p"; }
[ "$(field 'Database cluster state')" = 'shut down' ] || { echo "the primary has not stopped in order" >&2; exit 1; }
end=$(field 'Latest checkpoint location')
ask() { # ask NAME=HOST:PORT STATEMENT...: each a transaction of its own
    at=${1#*=}
    shift
    for statement in "$@"; do
        PGCONNECT_TIMEOUT=2 psql -XAtqw -h "${at%:*}" -p "${at##*:}" -d postgres -c "$statement" || return 1
    done
}
heir='' answered=''
for peer in $PEERS; do
    has=$(ask "$peer" "SELECT pg_is_in_recovery()
        AND greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) > '$end'") || continue
    answered="$answered $peer"
    [ -n "$heir" ] || [ "$has" != t ] || heir=$peer
done
[ -n "$answered" ] || { echo "no replica stays: nothing to hand over"; exit 0; }
[ -n "$heir" ] || { echo "no replica has everything up to $end:$answered" >&2; exit 1; }
[ "$(ask "$heir" 'SELECT pg_promote(true, 10)')" = t ] || { echo "$heir was not promoted" >&2; exit 1; }
for peer in $answered; do
    [ "$peer" != "$heir" ] || continue
    at=${heir#*=}
    follow="ALTER SYSTEM SET primary_conninfo = '$FOLLOW host=${at%:*} port=${at##*:} application_name=${peer%%=*}'"
    ask "$peer" "$follow" 'SELECT pg_reload_conf()' >/dev/null
done
echo "${heir%%=*} is the primary"
