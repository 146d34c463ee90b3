# `make run` for a gateway on 127.0.0.1:10000, `make test` for all tests. Both build what they need.
# ENVOY_BIN or ENVOY_VERSION choose an Envoy (see envoy/fetch), POLICY another policy.

POLICY ?= envoy/policy.json
TARGET := wasm32-wasip1

# What Envoy loads: the filter, its configuration with the policy, and for containers the addresses
# that there differ.
.PHONY: build
build: wasm reload
	@sed -e 's/127.0.0.1, port_value: 10000/"::", ipv4_compat: true, port_value: 10000/' \
		-e 's/127.0.0.1, port_value: 10001/upstream, port_value: 10001/' envoy/envoy.yaml >target/gateway/envoy.yaml
	@sed 's/127.0.0.1, /"::", ipv4_compat: true, /' envoy/upstream.yaml >target/gateway/upstream.yaml

.PHONY: wasm
wasm:
	@test -d "$$(rustc --print target-libdir --target $(TARGET))" || rustup target add $(TARGET)
	cargo build --release --lib --target $(TARGET)

# Puts the policy in force at once in a running gateway. It is moved into place, for that is what
# Envoy watches for.
.PHONY: reload
reload:
	@mkdir -p target/gateway
	@sed -e '/^POLICY$$/{r $(POLICY)' -e 'd;}' envoy/filter.json >target/gateway/filter.json.new
	@mv target/gateway/filter.json.new target/gateway/filter.json

# Downloads the pinned Envoy, unless there is one; prints where it is.
.PHONY: envoy
envoy:
	@envoy/fetch

.PHONY: run
run: build
	@envoy=$$(envoy/fetch) && cat envoy/try.txt && exec "$$envoy" --disable-hot-restart --log-level warning \
		--config-path envoy/envoy.yaml --config-yaml "$$(cat envoy/upstream.yaml)"

.PHONY: test
test: build
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	cargo clippy --lib --target $(TARGET) -- -D warnings
	envoy=$$(envoy/fetch) && ENVOY_BIN=$$envoy cargo test
	@$(MAKE) --no-print-directory test-compose

# An image of Envoy, where none can be pulled: ENVOY_IMAGE=keyfence-envoy:local
.PHONY: envoy-image
envoy-image:
	@envoy/image

.PHONY: test-compose
test-compose: build
	@if docker info >/dev/null 2>&1; \
	then image=$${ENVOY_IMAGE:-$$(envoy/image)} && ENVOY_IMAGE=$$image cargo test --test compose -- --ignored; \
	else echo "test-compose: skipped, for no Docker engine answers."; fi
