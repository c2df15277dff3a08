#!/bin/sh
# How many lines of the ABI, the daemon, the crates of the fleet and of insight and the SDK run in their own tests, by LLVM's
# instrumentation; the end-to-end tests, which run the built programs, are not counted. Writes what llvm-cov exports into the file
# that is named, a table onto the screen.
# Test modules that stand in a file of the code count as lines of it: llvm-cov cannot tell them apart.
set -eu

to=${1:?coverage: which file is to be written?}
cd "$(dirname "$0")/.."
target=$(pwd)/target/coverage
raw="$target/raw"

tool() { # tool NAME: rustup's own, or the newest of the system
    own=$(find "$(rustc --print sysroot)" -name "$1" -path '*/bin/*' 2>/dev/null | head -n 1)
    [ -n "$own" ] || own=$(ls /usr/bin/"$1"-[0-9]* 2>/dev/null | sort -t- -k3 -n | tail -n 1)
    [ -n "$own" ] || own=$(command -v "$1" || true)
    [ -n "$own" ] || { echo "coverage: $1 is missing (Debian: llvm-19; rustup: component llvm-tools)" >&2; exit 1; }
    echo "$own"
}
profdata=$(tool llvm-profdata)
cov=$(tool llvm-cov)

rm -rf "$raw"
mkdir -p "$raw"
export CARGO_TARGET_DIR="$target" CARGO_INCREMENTAL=0 RUSTFLAGS="-C instrument-coverage"
# Of each program at most four files, which processes add to: thousands of them run.
export LLVM_PROFILE_FILE="$raw/%4m.profraw"
crates="-p cloudsnooze-abi -p cloudsnooze-core -p cloudsnooze -p cloudsnooze-fleet -p cloudsnooze-insight -p cloudsnooze-plugin"
# shellcheck disable=SC2086
${CARGO:-cargo} test --locked $crates --no-run --message-format=json > "$target/built.json"
# shellcheck disable=SC2086
${CARGO:-cargo} test --locked $crates
objects=$(sed -n 's/.*"executable":"\([^"]*\)".*/-object \1/p' "$target/built.json" | sort -u)
"$profdata" merge -sparse "$raw"/*.profraw -o "$target/all.profdata"
ours='(/\.cargo/|/rustc/|/target/|/tests/|/tests\.rs$|/examples/|/build\.rs$)'
# shellcheck disable=SC2086
"$cov" report $objects -instr-profile="$target/all.profdata" -ignore-filename-regex="$ours" | tail -n 3
# shellcheck disable=SC2086
"$cov" export $objects -instr-profile="$target/all.profdata" -ignore-filename-regex="$ours" -summary-only > "$to"
