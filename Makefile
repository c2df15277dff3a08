# The front door, for people and for distribution packagers. Real logic lives in cargo and in tests/.
#   make demo      a real interruption notice, read over HTTP, ends in real actions (about 15 s after the build);
#                  PROVIDER=azure takes that cloud's, over its own protocol; aws, azure, gcp, alibaba, tencent
#   make test      everything, on real servers; installs what is missing when run as root on Debian
#   make bench     how long from an event to its handler: ours, the floor of this machine and rivals, side by side, under
#                  four kinds of load, some minutes; BENCH="--quick" takes one, BENCH="--help" tells the rest
#   make promises  every number that docs/PROMISES.md promises, measured on this machine, some four hours; PROMISES="--only footprint"
#                  takes some of them, PROMISES=--judge judges what was measured before
#   make bench-poll  what the daemon costs while nothing happens, at four intervals; make footprint: its size, memory and start
#   make bench-notices  how soon a notice is seen after it stands in the metadata, for every provider, and what watching costs a
#                  day, some three minutes; NOTICES="--notices 50 --cost 0" takes less, NOTICES="--help" tells the rest
#   make bench-insight DATA=directory  how well interruptions are foreseen, on public data that the models were not shown (docs/insight.md
#                  says which, and where they are from); INSIGHT="--json"
#   make bench-policies DATA=directory  what policies, saves and price caps are worth on public data, next to what is published
#   make bench-history  ten million events of history in a file and in PostgreSQL: how fast they come in, how long each view takes, what
#                  snooze insight needs to say what they mean, how much room they take; EVENTS=1000000 HISTORY="--on sqlite" takes less,
#                  HISTORY="--help" tells the rest
#   make coverage  how many lines of the ABI, the daemon, the crates of the fleet and of insight and the SDK run in their own tests
#   make endurance  a million events through the daemon as it is shipped: threads, descriptors, memory and history stay as they
#                  are; ENDURANCE_EVENTS says how many
#   make bench-hardened  as root: the same inside a hardened systemd unit and outside of it, in a Debian of its own
#   make soak      the fault campaign: thousands of interruptions with faults drawn from a seed; INTERRUPTIONS=2000 SOAK="--seed 7"
#   make test-data-safety  writers hammer MariaDB, PostgreSQL and Redis, which are flushed at a notice and killed at its deadline; programs
#                  are saved, killed and resumed: nothing may be lost; ROUNDS=100 SAFETY="--only postgres", SAFETY="--help" tells the rest
#   make test-fleet  as root: 56 members on three real NATS servers, in network namespaces, through every fault; order is kept,
#                  nothing is done twice, everybody acts in time; FLEET="--runs 21 --only split", FLEET="--help" tells the rest
#   make test-fleet-postgres  PostgreSQL, two replicas and HAProxy: one of them goes, or all, round after round, some 15 minutes; the
#                  balancer is drained first, nothing acknowledged is lost; FLEET="--rounds 3 --early", FLEET="--help" tells the rest
#   make bench-fleet  as root: how long an event takes to 1,000 members, next to bare clients of the same servers; FLEET="--rounds 1"
#   make bench-fleet-cost  what belonging to a group costs a daemon: memory, CPU, connections, and how soon a handler begins after the
#                  group has told of an event; COST="--help" tells the rest
#   make fuzz      throws what strangers can write at the code that reads it, a minute for each target; FUZZ="--seconds 600
#                  --target reply" looks longer at one; what breaks becomes a test
#   make check     formatting, lints, generated files
#   make install, make deb, make rpm, make vendor: dist/packaging.mk tells

CARGO   ?= cargo
PREFIX  ?= /usr
INTERRUPTIONS ?= 2000
ROUNDS  ?= 100
LIBDIR  ?= $(PREFIX)/lib
DESTDIR ?=
ENDURANCE_EVENTS ?= 1000000
EVENTS  ?= 10000000
TARGET  ?= $(or $(CARGO_TARGET_DIR),target)
PLUGINS := mysql-flusher postgres-flusher redis-flusher sqlite-flusher app-checkpointer signal-checkpointer exec \
           notify-apps fleet-turn slack-notifier webhook-notifier email-notifier sync-filesystems fs-freeze stop-units finish \
           verify-state vm-save state-uploader aws-lifecycle aws-queue aws-deregister container-stop slurm-requeue
# With Celery where tests/setup.sh could install it; any other says what does not run.
CELERY_PYTHON = $(or $(wildcard $(TARGET)/celery/bin/python3),python3)
# Those whose effect is shown round after round.
SAFETY_PLUGINS := mysql-flusher postgres-flusher redis-flusher signal-checkpointer
# Those that the demo plays with: no more is built for it.
DEMO_PLUGINS := mysql-flusher app-checkpointer slack-notifier
# The cloud it plays, and those it can play: a wrong one is to be told before minutes of building.
PROVIDER ?= aws
PROVIDERS := aws azure gcp alibaba tencent

# Everything that the promises' commands build in the profile "release".
MEASURED := cloudsnooze first-byte history-bench latency promises soak data-safety $(SAFETY_PLUGINS) \
            fleet-faults fleet-turn notify-apps exec
# Builds these packages, unless PREBUILT=1 says that they are there.
release = $(if $(PREBUILT),,$(CARGO) build --locked --release $(1:%=-p %))

.PHONY: all demo demo-provider test test-data-safety promises footprint bench bench-hardened bench-history bench-insight \
        bench-fleet bench-fleet-cost bench-notices bench-policies bench-poll coverage soak endurance fuzz check generate build \
        test-fleet test-fleet-postgres \
        setup setup-demo setup-bench setup-coverage setup-fleet setup-fuzz setup-safety clean

all: build

setup:
	tests/setup.sh test

setup-demo:
	tests/setup.sh demo

setup-bench:
	tests/setup.sh bench

setup-fuzz:
	tests/setup.sh fuzz

setup-safety:
	tests/setup.sh safety

setup-coverage:
	tests/setup.sh coverage

setup-fleet:
	tests/setup.sh fleet

build:
	$(CARGO) build --locked --release --workspace

demo-provider:
	$(if $(filter $(PROVIDERS),$(PROVIDER)),,$(error PROVIDER=$(PROVIDER): no such cloud; it is one of $(PROVIDERS)))

demo: demo-provider setup-demo
	$(call release,cloudsnooze harness $(DEMO_PLUGINS))
	$(TARGET)/release/snooze-demo --provider $(PROVIDER)

test: setup
	$(CARGO) build --locked --workspace --all-targets
	$(CARGO) test --locked --workspace --no-fail-fast
	cd plugins/python && python3 -m unittest discover -s tests
	$(CELERY_PYTHON) -m unittest discover -s plugins/celery-drain/tests

bench: setup-bench
	$(call release,latency cloudsnooze first-byte)
	$(TARGET)/release/latency-bench $(BENCH)

coverage: setup-coverage
	mkdir -p $(TARGET)/promises
	CARGO="$(CARGO)" tests/coverage.sh $(abspath $(TARGET))/promises/coverage.json

endurance: setup
	$(call release,cloudsnooze)
	CLOUDSNOOZE_ENDURANCE_EVENTS=$(ENDURANCE_EVENTS) \
	    $(CARGO) test --locked --release -p e2e --test endurance -- --nocapture

bench-hardened: setup-bench
	$(call release,latency)
	tests/latency/hardened.sh $(TARGET)/release/latency-bench

bench-poll: setup-bench
	$(call release,latency cloudsnooze)
	$(TARGET)/release/poll-bench

# What is measured is what is packaged.
footprint: setup-bench
	$(MAKE) programs PROFILE=dist
	$(call release,promises)
	CLOUDSNOOZE_BIN_DIR='$(abspath $(TARGET))/dist' $(TARGET)/release/footprint

# The commands of the promises are makes of their own. Each set of packages has features of its own, for which cargo builds anew what they
# share: where all are measured, all is built before, once.
promises: setup-bench
	$(call release,$(if $(PROMISES),promises,$(MEASURED)))
	$(if $(PROMISES),,$(MAKE) programs PROFILE=dist)
	$(if $(PROMISES),,PREBUILT=1) $(TARGET)/release/promises $(PROMISES)

bench-history: setup
	$(call release,history-bench cloudsnooze)
	$(TARGET)/release/history-bench --events $(EVENTS) $(HISTORY)

bench-notices: setup-bench
	$(call release,latency cloudsnooze)
	$(TARGET)/release/notice-bench $(NOTICES)

# Needs nothing but the data, which are not in this repository.
bench-insight:
	$(if $(DATA),,$(error DATA=directory of the public data sets is needed; docs/insight.md says which, and where they are from))
	$(call release,insight-bench)
	$(TARGET)/release/insight-bench --data $(DATA) $(INSIGHT)

bench-policies:
	$(if $(DATA),,$(error DATA=directory of the public data sets is needed; docs/insight.md says which, and where they are from))
	$(call release,policy-bench)
	$(TARGET)/release/policy-bench --data $(DATA)

soak: setup
	$(call release,cloudsnooze soak)
	$(TARGET)/release/soak --interruptions $(INTERRUPTIONS) $(SOAK)

test-data-safety: setup-safety
	$(call release,cloudsnooze data-safety $(SAFETY_PLUGINS))
	$(TARGET)/release/data-safety --rounds $(ROUNDS) $(SAFETY)

# The first has to find something: members that obey deposed leaders. It shows that the second looks.
test-fleet: setup-fleet
	$(call release,fleet-faults)
	$(TARGET)/release/fleet-faults --without-fencing --only stale-leader --runs 3 --seed 1; test $$? = 1
	$(TARGET)/release/fleet-faults $(FLEET)

# Here too the first has to find something: databases that do not wait for their turn.
test-fleet-postgres: setup-fleet
	$(call release,fleet-faults cloudsnooze fleet-turn postgres-flusher exec)
	$(TARGET)/release/fleet-postgres --without-turn --only zone --rounds 1 --seed 1; test $$? = 1
	$(TARGET)/release/fleet-postgres $(FLEET)

bench-fleet: setup-fleet
	$(call release,fleet-faults)
	$(TARGET)/release/fleet-propagation $(FLEET)

# Memory is mostly pages of the program's file: here too what is measured is what is packaged.
bench-fleet-cost: setup-fleet
	$(MAKE) programs PROFILE=dist
	$(call release,fleet-faults)
	CLOUDSNOOZE_BIN_DIR='$(abspath $(TARGET))/dist' $(TARGET)/release/fleet-cost $(COST)

fuzz: setup-fuzz
	CARGO="$(CARGO)" tests/fuzz/run.sh $(FUZZ)

check: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) run --locked -q -p xtask -- check

generate:
	$(CARGO) run -q -p xtask -- generate

include dist/packaging.mk

clean:
	$(CARGO) clean
