# What is installed, and packages of it; included by the Makefile at the top. docs/packaging.md says why it is so.
#   make install   DESTDIR= PREFIX=/usr LIBDIR= PROFILE=release: everything that is shipped; dist/install.sh has further places
#   make deb rpm   into target/packages, built as the profile "dist" says: optimised, with line tables that become the packages of
#                  debug symbols. PROFILE=dev packages what `make test` has built
#   make package-sizes   makes the Debian packages and writes their sizes into target/promises/packages.json
#   make test-system   as root: packages as they are shipped, installed, used, upgraded and purged in a booted Debian of its own
#   make vendor    the sources of all dependencies into vendor/; whatever is built afterwards needs no network
#   make reproducible  two builds in two directories, whose packages must be the same to the byte: dist/reproducible.sh tells
#
# PREBUILT=1 takes the programs that are there, OFFLINE=1 forbids cargo the network.

PROFILE   ?= $(if $(filter deb rpm,$(MAKECMDGOALS)),dist,release)
BUILT     := $(abspath $(TARGET))/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
PACKAGES  ?= $(abspath $(TARGET))/packages
VERSION   := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
# Time that is written into packages: that of the last commit.
deb rpm: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)
# Everything that is in a package, and what makes its lists of contents.
SHIPPED   := cloudsnooze inventory $(PLUGINS)
CARGO_DIR := $(or $(CARGO_HOME),$(HOME)/.cargo)
VENDORED  := $(if $(wildcard vendor/config.toml),--config vendor/config.toml)
BUILD     := $(CARGO) $(VENDORED) build --locked $(if $(OFFLINE),--offline) --profile $(PROFILE) $(SHIPPED:%=-p %)
INVENTORY := $(BUILT)/inventory --offline $(VENDORED) --sbom $(BUILT)/sbom.cdx.json --licences $(BUILT)/THIRD-PARTY.txt cloudsnooze $(PLUGINS)

# What is built for others must not say where: neither in Rust's files, nor in those of the C that some libraries bring.
ifneq ($(filter dist,$(PROFILE))$(REMAP),)
MAPPED    := $(CURDIR)=/usr/src/cloudsnooze $(CARGO_DIR)=/usr/src/cargo
export RUSTFLAGS += $(MAPPED:%=--remap-path-prefix=%)
export CFLAGS += $(MAPPED:%=-ffile-prefix-map=%)
endif

.PHONY: programs install deb rpm package-sizes vendor reproducible test-system

# Where the daemon looks for plugins first is decided here, when it is built.
ifneq ($(filter-out /usr/lib /usr/lib64 /usr/local/lib,$(LIBDIR)),)
programs: export CLOUDSNOOZE_PLUGIN_DIR = $(LIBDIR)/cloudsnooze/plugins
endif
programs:
ifndef PREBUILT
	$(BUILD)
	$(INVENTORY)
endif

install: programs
	BUILT='$(BUILT)' PLUGINS='$(PLUGINS)' VERSION='$(VERSION)' DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' LIBDIR='$(LIBDIR)' dist/install.sh

deb: programs
	dist/packages.sh deb '$(BUILT)' '$(PACKAGES)'

rpm: programs
	dist/packages.sh rpm '$(BUILT)' '$(PACKAGES)'

package-sizes: setup
	$(MAKE) deb
	mkdir -p '$(TARGET)/promises'
	dist/package-sizes.sh '$(PACKAGES)' > '$(TARGET)/promises/packages.json'
	cat '$(TARGET)/promises/packages.json'

# The configuration that cargo prints is what the builds above are given.
vendor:
	mkdir -p vendor
	$(CARGO) vendor --locked --versioned-dirs vendor > vendor.toml.new
	mv vendor.toml.new vendor/config.toml

reproducible:
	dist/reproducible.sh

test-system: setup
	$(MAKE) programs PROFILE=dist
	CLOUDSNOOZE_BIN_DIR='$(abspath $(TARGET))/dist' $(CARGO) test --locked -p system -- --nocapture
