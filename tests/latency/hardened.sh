#!/bin/sh
# Are the latency ratios inside a hardened systemd service those outside of it? Boots a Debian of its own in systemd-nspawn,
# takes turns between the same benchmark outside and inside a unit with the sandbox of a packaged daemon, and prints both.
#
# Usage: hardened.sh [LATENCY-BENCH], as root, after `cargo build --release -p latency`; about ten minutes, two more and the
# network the first time. Exit: 0 when it ran, whatever the figures are; 77 and "NOT RUN" where it cannot; 1 when a run failed.
#   BENCH_PAIRS=2   runs outside and as many inside         BENCH_ARGS="--rounds 5 --events 1000"
#   BENCH_ROOT=...  where the Debian is kept (300 MB)       BENCH_TREE=...  tree that the benchmark was built in: it compiles
#   BENCH_SUITE=... debootstrap's suite, BENCH_MIRROR=...   parts in C where it was built, and so its path has to be there too
set -eu

here=$(cd "$(dirname "$0")/../.." && pwd)
bench=${1:-${CARGO_TARGET_DIR:-$here/target}/release/latency-bench}
tree=${BENCH_TREE:-$here}
pairs=${BENCH_PAIRS:-2}
cache=${BENCH_ROOT:-${TMPDIR:-/tmp}/cloudsnooze-bench-root}
root=$cache/root
args="--scenario loaded --only floor,floor-in-round,direct,ours,ours-inline ${BENCH_ARGS:---rounds 5 --events 1000}"
unit=cloudsnooze-latency.service
nspawn="" leader=""

say() { echo "bench-hardened: $*" >&2; }
not_run() { say "================ NOT RUN: $* ================"; exit 77; }
loud() { echo "NOT MEASURABLE HERE: $*"; }
fact() { grep -q "$1" "$cache/inside.facts"; }

[ "$(id -u)" = 0 ] || not_run "only root may boot a container"
for tool in debootstrap:debootstrap systemd-nspawn:systemd-container nsenter:util-linux stress-ng:stress-ng; do
    command -v "${tool%:*}" > /dev/null || PATH="$PATH:/usr/sbin:/sbin"
    command -v "${tool%:*}" > /dev/null || not_run "${tool%:*} is missing (Debian package ${tool#*:})"
done
[ -x "$bench" ] || not_run "$bench is not built: cargo build --release -p latency"
bench=$(realpath "$bench"); mkdir -p -m 700 "$cache"
[ -O "$cache" ] || not_run "$cache belongs to another user"

# The suite of this machine, so that programs built here find their C library there.
make_root() {
    suite=${BENCH_SUITE:-$(. /etc/os-release && echo "${VERSION_CODENAME:-stable}")}
    say "making a Debian in $root (suite $suite), once"; rm -rf "$root.new"
    # shellcheck disable=SC2086 # no mirror is no argument
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,gcc,libc6-dev,stress-ng \
        "$suite" "$root.new" ${BENCH_MIRROR:-} > "$cache/debootstrap.log" 2>&1 \
        || not_run "debootstrap failed: $(tail -n 1 "$cache/debootstrap.log")"
    chroot "$root.new" useradd --system --no-create-home --shell /usr/sbin/nologin cloudsnooze
    mv "$root.new" "$root"
}

# Programs, what they compile, and the unit; anew each time. /opt is what the unit may read.
furnish() {
    rm -rf "$root/opt/latency"
    mkdir -p "$root/opt/latency/tree/tests"
    for program in "$(dirname "$bench")"/latency-*; do [ ! -x "$program" ] || cp "$program" "$root/opt/latency/"; done
    cp -R "$here/include" "$root/opt/latency/tree/"
    cp -R "$here/tests/latency" "$root/opt/latency/tree/tests/"
    # What a packaged daemon's unit has. CAP_SYS_NICE is what grants real time; RestrictRealtime=, PrivateUsers= and a
    # filter without @resources would each refuse it. tmpfs in place of yes for ProtectHome=: a tree may lie in a home.
    cat > "$root/etc/systemd/system/$unit" << END
[Service]
Type=oneshot
ExecStart=/opt/latency/latency-bench $args --out /var/lib/latency
StandardOutput=truncate:/run/latency.txt
StandardError=truncate:/run/latency.log
User=cloudsnooze
StateDirectory=latency
WorkingDirectory=/var/lib/latency
UMask=0027
AmbientCapabilities=CAP_SYS_NICE
CapabilityBoundingSet=CAP_SYS_NICE
NoNewPrivileges=yes
LimitMEMLOCK=infinity
LimitRTPRIO=20
ProtectSystem=strict
ProtectHome=tmpfs
BindReadOnlyPaths=/opt/latency/tree:$tree
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
END
    for setting in PrivateTmp PrivateDevices ProtectKernelTunables ProtectKernelModules ProtectKernelLogs ProtectControlGroups \
        ProtectClock ProtectHostname LockPersonality RestrictNamespaces RestrictSUIDSGID RemoveIPC MemoryDenyWriteExecute; do
        echo "$setting=yes" >> "$root/etc/systemd/system/$unit"
    done
}

inside() { nsenter -t "$leader" -m -u -i -n -p -C "$@"; }

# Neither registered with machined nor put into a scope, so that no system bus is needed out here. Without the capability
# nspawn forbids mlockall to everything inside, whatever the unit says; the unit does not have it.
boot() {
    systemd-nspawn -D "$root" --register=no --keep-unit --private-network --capability=CAP_IPC_LOCK --boot \
        --console=read-only > "$cache/boot.log" 2>&1 < /dev/null &
    nspawn=$!
    for _ in $(seq 60); do
        sleep 1
        kill -0 "$nspawn" 2> /dev/null || break
        leader=$(cut -d ' ' -f 1 "/proc/$nspawn/task/$nspawn/children") || continue
        [ -z "$leader" ] || ! inside systemctl -q is-active multi-user.target 2> /dev/null || return 0
    done
    not_run "systemd-nspawn does not boot here: $(tail -n 1 "$cache/boot.log" | tr -d '\r'), see $cache/boot.log"
}

end() {
    [ -z "$leader" ] || inside systemctl poweroff 2> /dev/null || true
    for _ in $(seq 20); do kill -0 "$nspawn" 2> /dev/null || return 0; sleep 1; done
    kill "$nspawn" || true
}

# What the kernel says of the running participant `latency-ours` whose parent is $1: locked KiB, sandbox, limits.
facts='for status in /proc/[0-9]*/status; do
    if grep -qs "^Name:.latency-ours$" $status && grep -qs "^PPid:.$1$" $status; then
        grep -E "^(Uid|VmLck|CapEff|NoNewPrivs|Seccomp):" $status | tr "\t\n" "  "
        sed -n "s/^Max \(locked memory\|realtime priority\)  *\([^ ]*\).*/\1: \2/p" ${status%status}limits | tr "\n" " "
        echo; break
    fi
done'

run_outside() {
    say "run $1: outside"
    mkdir -p "$cache/out"
    # shellcheck disable=SC2086 # a list of words
    (cd "$cache/out" && exec "$bench" $args --out "$cache/out" > "$cache/outside-$1.txt" 2> "$cache/outside.log") &
    running=$!
    sleep 15
    sh -c "$facts" facts "$running" > "$cache/outside.facts"
    wait "$running" || { tail "$cache/outside.log" >&2; say "FAILED outside"; exit 1; }
    cat "$cache/out/promises/latency.json" >> "$cache/outside-$1.txt"
}

run_inside() {
    say "run $1: inside"
    inside systemctl start "$unit" &
    running=$!
    sleep 15
    inside sh -c "$facts" facts "$(inside systemctl show -P MainPID "$unit")" > "$cache/inside.facts"
    wait "$running" || { inside tail /run/latency.log >&2; say "FAILED inside"; exit 1; }
    inside cat /run/latency.txt /var/lib/latency/promises/latency.json > "$cache/inside-$1.txt"
}

# Reads what each run printed: its table (name, events, p50, p99, p99.9), then the promises, one name a line. `ours` begins a
# round before it publishes, as a daemon does; floor-in-round does the same, floor does not.
tell() {
    awk -v pairs="$pairs" '
        BEGIN { split("- - p50 p99 p999", word) }
        FNR == 1 { side = FILENAME ~ /inside-[0-9]*\.txt$/ ? "inside" : "outside"; runs[side]++ }
        /^(floor-in-round|ours) / { gsub(",", ""); for (n = 3; n <= 5; n++) { if ($1 == "ours") {
            figures[side, "ours_over_in_round_" word[n], runs[side]] = $n / in_round[n]
        } else in_round[n] = $n } }
        match($0, /"[a-z0-9_]+": /) {
            name = substr($0, RSTART + 1, RLENGTH - 4); value = substr($0, RSTART + RLENGTH); sub(/,$/, "", value)
            if (name == "granted") grants[side] = value; else figures[side, name, runs[side]] = value
        }
        function summary(side, name,    n, m, swap) { # sorts; sets low, middle, high
            for (n = 1; n <= pairs; n++) { missing += !((side, name, n) in figures); sorted[n] = figures[side, name, n] + 0 }
            for (n = 2; n <= pairs; n++) for (m = n; m > 1 && sorted[m] < sorted[m - 1]; m--) {
                swap = sorted[m]; sorted[m] = sorted[m - 1]; sorted[m - 1] = swap
            }
            low = sorted[1]; high = sorted[pairs]
            middle = (sorted[int((pairs + 1) / 2)] + sorted[int(pairs / 2) + 1]) / 2
            return sprintf("%8.2f [%.2f, %.2f]", middle, low, high)
        }
        function row(name,    left, right, above) { # true when both sides are alike
            missing = 0; left = summary("outside", name); above = middle; right = summary("inside", name)
            if (missing || above <= 0) { print name "    NOT MEASURED in every run"; return 0 }
            change = 100 * (middle / above - 1)
            printf "%-28s%-28s%-28s%+6.1f %%\n", name, left, right, change
            return change <= 10 && change >= -10
        }
        END {
            printf "%-28s%-28s%-28s%s\n", "median [low, high] of runs", "    outside", "    inside", "inside"
            printf "%-28s    %-24s    %-24s\n", "granted", grants["outside"], grants["inside"]
            split("floor_p50_us floor_p99_us floor_p999_us ours_p50_us ours_p99_us ours_p999_us inline_over_direct_p99_us", plain)
            split("ratio_floor_ ours_over_in_round_", ratio)
            for (n = 1; n <= 7; n++) row(plain[n])
            for (k = 1; k <= 2; k++) for (n = 3; n <= 5; n++) if (!row(ratio[k] word[n])) far = far " " ratio[k] word[n]
            print far == "" ? "ratios: within 10 % of those outside" : "ratios: NOT within 10 % of those outside:" far
        }' "$cache"/outside-*.txt "$cache"/inside-*.txt
    echo "ours outside: $(cat "$cache/outside.facts")"
    echo "ours inside:  $(cat "$cache/inside.facts")"
    inside systemd-analyze security --no-pager "$unit" 2> /dev/null | tail -n 1 | tr -cd '[:print:]\n'
    grep -q '"granted": "SCHED_' "$cache/inside-1.txt" || loud "real time: it was refused inside"
    fact 'Seccomp: *2' || { loud "sandbox and limits: no participant was seen in it, the run was too short"; return 0; }
    fact 'VmLck: *[1-9]' || loud "locked memory: no page was locked inside; for outside see VmLck above"
    fact 'locked memory: unlimited' || loud "LimitMEMLOCK=infinity: this machine may not raise the limit"
    fact 'realtime priority: [1-9]' || loud "LimitRTPRIO=: this machine may not raise it; real time came from CAP_SYS_NICE"
}

[ -d "$root" ] || make_root
furnish
rm -f "$cache"/outside-*.txt "$cache"/inside-*.txt
trap end EXIT
trap 'exit 1' INT TERM
boot
for pair in $(seq "$pairs"); do
    # The order is turned round in each pair: what drifts hits both alike.
    if [ $((pair % 2)) = 1 ]; then run_outside "$pair"; run_inside "$pair"; else run_inside "$pair"; run_outside "$pair"; fi
done
tell
