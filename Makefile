WASM := target/wasm32-wasip1/release/keyfence.wasm

.PHONY: build
build:
	cargo build --release --lib --target wasm32-wasip1
