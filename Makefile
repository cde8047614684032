# SPDX-License-Identifier: Apache-2.0
# A short front for Meson. `make help` lists what there is.
BUILD ?= build
PREFIX ?= /usr/local
MESON_FLAGS ?=
JOBS ?= $(shell nproc)
STAGE = $(BUILD)/stage
# Programs find what is theirs by where they lie, so what is staged can be copied anywhere: the build
# knows one prefix, `make install` another.
CONFIGURED = /usr/local

.PHONY: help all build deps demo test test-kubernetes cluster-up cluster-down test-asan test-tsan test-sanitizers test-clang install portable image bench lint format clean
help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

all: build

deps: ## install the Debian packages that building and testing need (asks for sudo)
	@tools/deps

$(BUILD)/build.ninja:
	@tools/deps build
	meson setup $(BUILD) --prefix $(CONFIGURED) $(MESON_FLAGS)

build: $(BUILD)/build.ninja ## compile everything
	@tools/deps build
	ninja -C $(BUILD) -j$(JOBS)

$(STAGE): build
	@meson install -C $(BUILD) --no-rebuild --quiet --destdir stage

demo: build $(STAGE) ## tenants share eight simulated A100s in every mode; ends with their bill
	@DIVVY_BIN=$(CURDIR)/$(STAGE)$(CONFIGURED)/bin tools/demo

test: build ## all tests; ends with "N passed, N failed"
	@tools/deps test
	@tools/run-tests $(BUILD)

# Root and minutes: the cluster's programs are compiled once and cached (~/.cache/divvy/kubernetes).
test-kubernetes: build $(STAGE) ## tests on a real cluster, made here; ends with "N passed, N failed"
	@tools/deps kubernetes
	@DIVVY_STAGE=$(CURDIR)/$(STAGE)$(CONFIGURED) tests/kubernetes/run $(TESTS)

cluster-up: ## a Kubernetes cluster on this machine, one node (NODES=N for more); needs root
	@tools/deps kubernetes
	@tests/kubernetes/ctl up $(NODES)

cluster-down: ## remove it, with all its data
	@tests/kubernetes/ctl down

# Leaks count in our own programs; the libraries under them keep what they like.
test-asan: deps ## unit tests and scenarios with AddressSanitizer and UBSan
	@test -f $(BUILD)-asan/build.ninja || meson setup $(BUILD)-asan -Db_sanitize=address,undefined -Db_lundef=false
	ninja -C $(BUILD)-asan -j$(JOBS)
	@tools/run-tests $(BUILD)-asan --suite unit --suite golden --suite scenarios --suite fuzz --suite sanitize

test-tsan: deps ## tests with threads under ThreadSanitizer
	@test -f $(BUILD)-tsan/build.ninja || meson setup $(BUILD)-tsan -Db_sanitize=thread -Db_lundef=false
	ninja -C $(BUILD)-tsan -j$(JOBS)
	@tools/run-tests $(BUILD)-tsan --suite unit --suite sanitize

test-sanitizers: test-asan test-tsan

test-clang: deps ## compile with clang, without warnings
	@test -f $(BUILD)-clang/build.ninja || CC=clang meson setup $(BUILD)-clang
	ninja -C $(BUILD)-clang -j$(JOBS)

install: build $(STAGE) ## install below DESTDIR, PREFIX
	mkdir -p "$(DESTDIR)$(PREFIX)"
	cp -dR --preserve=mode,links,timestamps $(STAGE)$(CONFIGURED)/. "$(DESTDIR)$(PREFIX)/"
	sed -i 's#$(CONFIGURED)/bin#$(PREFIX)/bin#' "$(DESTDIR)$(PREFIX)/lib/systemd/system/divvyd.service"

portable: build $(STAGE) ## build/divvy-VERSION-ARCH.tar.gz with its libraries, for machines without packages
	@tools/portable $(BUILD) $(STAGE)$(CONFIGURED)

image: build $(STAGE) ## build/divvy-image.tar, the container image (OCI), made of local files
	@packaging/image/build $(BUILD)/divvy-image.tar --stage $(STAGE)$(CONFIGURED)

bench: build $(STAGE) ## measure; prints ratios against a baseline of the same run
	@DIVVY_BIN=$(CURDIR)/$(STAGE)$(CONFIGURED)/bin DIVVY_LIBDIR=$(CURDIR)/$(STAGE)$(CONFIGURED)/lib/divvy bench/run $(BUILD)

lint: deps $(BUILD)/build.ninja ## clang-format, clang-tidy, rooms, style, man pages
	@tools/lint $(BUILD)

format: ## clang-format the tree
	@git ls-files '*.c' '*.h' | xargs clang-format -i

clean: ## remove the build directories
	rm -rf $(BUILD) $(BUILD)-asan $(BUILD)-tsan $(BUILD)-clang
