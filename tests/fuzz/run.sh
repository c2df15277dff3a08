#!/bin/sh
# Runs the targets under the coverage-guided engine, one after the other, and says what came of it.
#   tests/fuzz/run.sh [--seconds N] [--target NAME] [--keep]
# --seconds: for each target (60). --keep: afterwards corpus/NAME gets a choice of the inputs that reach all that was reached.
# Exit code 1 when a target broke; its input is then in corpus/NAME, where every `cargo test` plays it until it is mended.
set -eu
cd "$(dirname "$0")/../.."

seconds=60
only=""
keep=""
# What --keep leaves of one target besides the files with names.
kept_files_max=40
kept_bytes_max=12000
while [ $# -gt 0 ]; do
    case "$1" in
    --seconds) seconds="$2"; shift 2 ;;
    --target) only="$2"; shift 2 ;;
    --keep) keep=1; shift ;;
    *) sed -n '2,6p' "$0" >&2; exit 2 ;;
    esac
done

host=$(rustc -vV | sed -n 's/^host: //p')
# The engine's own way to see which branches an input takes; works on stable Rust, without the sanitizers of nightly.
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Cdebug-assertions"
# With the host named, build scripts and macros are built without it.
RUSTFLAGS="$(echo "$coverage" | tr -s '\n ' ' ')" ${CARGO:-cargo} build --locked --profile fuzz --target "$host" \
    -p fuzz --features libfuzzer --bin fuzz-one
output="${CARGO_TARGET_DIR:-target}"
binary="$output/$host/fuzz/fuzz-one"

table="$output/fuzz-summary.txt"
: > "$table"
broken=0
for target in ${only:-$(ls tests/fuzz/corpus)}; do
    seeds="tests/fuzz/corpus/$target"
    work="$output/fuzz-work/$target"
    mkdir -p "$work"
    log="$output/fuzz-work/$target.log"
    echo "fuzz: $target, $seconds s"
    case "$target" in elf) longest=16384 ;; control | reply) longest=2048 ;; *) longest=4096 ;; esac
    code=0
    FUZZ_TARGET="$target" nice -n 10 "$binary" "$work" "$seeds" -max_total_time="$seconds" -max_len="$longest" -timeout=10 \
        -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$seeds/" > "$log" 2>&1 || code=$?
    grep -E '^#[0-9]+.(pulse|DONE)' "$log" | tail -n 3 || true
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    peak=$(sed -n 's/^stat::peak_rss_mb: *//p' "$log")
    covered=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    crashes=0
    if [ "$code" != 0 ]; then
        crashes=1
        broken=1
        tail -n 40 "$log"
    fi
    printf '%-10s %12s %8s %10s %8s\n' "$target" "${executions:-?}" "$crashes" "${covered:-?}" "${peak:-?}" >> "$table"
    if [ -n "$keep" ] && [ "$code" = 0 ]; then
        kept="$output/fuzz-work/$target.kept"
        rm -rf "$kept"
        mkdir "$kept"
        FUZZ_TARGET="$target" nice -n 10 "$binary" -set_cover_merge=1 -max_len="$longest" "$kept" "$seeds" "$work" >> "$log" 2>&1
        # What has a name of its own was put there by hand: seeds, and inputs of faults that were mended.
        find "$seeds" -type f -regextype posix-extended -regex '.*/[0-9a-f]{40}' -delete
        # A choice of all sizes, the smallest first, until it is enough: they are part of every checkout.
        bytes=0
        step=$((1 + $(ls "$kept" | wc -l) / kept_files_max))
        for input in $(ls -Sr "$kept" | awk -v step="$step" 'NR % step == 0'); do
            bytes=$((bytes + $(wc -c < "$kept/$input")))
            [ "$bytes" -le "$kept_bytes_max" ] || break
            cp "$kept/$input" "$seeds/"
        done
    fi
done
printf '\n%-10s %12s %8s %10s %8s\n' target executions crashes "branches" "peak MB"
cat "$table"
awk '{ all += $2 } END { printf "%-10s %12d\n", "all", all }' "$table"
exit "$broken"
