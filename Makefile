# What a person runs: `make demo`, `make test`, `make bench`. Everything here can be run again safely.
SHELL := /bin/bash
CARGO ?= cargo
MAREA := target/release/marea
# Debian packages that the machine itself needs; the machines that Marea makes have their own.
PACKAGES := systemd-container mmdebstrap openssh-client iproute2 zstd curl python3-venv
# An sshd for the tests of SSH, which start their own on loopback; installing it starts none. A shell that needs no
# library, for an image that holds nothing else. Real BMCs; environments for Python packages.
TEST_PACKAGES := openssh-server busybox-static openipmi ipmitool iputils-ping openssl python3-venv \
	redis-server nats-server rabbitmq-server prometheus

.PHONY: build setup setup-test bundle demo test lint bench clean-demo

build: ## the programs
	$(CARGO) build --release

setup: ## what the machine must have (Debian; needs root, installs only what is missing)
	@$(call install,$(PACKAGES))

setup-test: setup
	@$(call install,$(TEST_PACKAGES))

# No service is started by an installation: /usr/sbin/policy-rc.d says so while it runs, unless the machine has its own.
define install
missing=; for p in $(1); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
[ -z "$$missing" ] && exit 0; \
[ "$$(id -u)" = 0 ] || { echo "marea: not root, so these packages are not installed:$$missing" >&2; exit 0; }; \
policy=/usr/sbin/policy-rc.d; \
[ -e $$policy ] || { printf '#!/bin/sh\nexit 101\n' > $$policy; chmod 755 $$policy; trap 'rm -f '$$policy EXIT; }; \
apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null
endef

bundle: build setup ## binaries and images, pinned, cached by content
	$(MAREA) bundle build

demo: bundle $(if $(filter ipmi,$(POWER)),setup-test) ## from nothing to a function on a machine that was off, and that machine off again
	tests/demo.sh

clean-demo: ## remove all that the demo made
	tests/demo.sh down

test: setup-test ## every test; those that need root say so when they are skipped
	$(CARGO) test --no-fail-fast

lint: ## format, lints, docs
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps

bench: bundle ## figures, and docs/benchmarks.md
	$(CARGO) bench --bench figures
