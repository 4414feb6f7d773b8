# The way in: `make demo` and `make test` do all of their own set-up. The logic is in scripts/.

.DEFAULT_GOAL := help
SHELL := bash
.NOTPARALLEL:
# A jobserver that reaches cargo half-open makes it complain: cargo counts the cores itself.
unexport MAKEFLAGS

# rustup puts itself here; a shell that was open before does not know yet.
export PATH := $(PATH):$(HOME)/.cargo/bin
# Outside the checkout, so that clones share what is built and a fresh one starts warm.
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/marquee/target
# Arguments for what a target runs.
ARGS ?=
# How long `soak` plays.
SECONDS ?= 600

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@printf '\n'; printf '  %s\n' 'ARGS="…"          arguments for demo, demo-once, bench, peers, fuzz and players' \
	  'SECONDS, FIRST    how long soak plays, and from which seed on' \
	  'MARQUEE_DATA      folder with waterloo-sqoe4/ and ml-latest-small/, for the tests on real data' \
	  'CARGO_TARGET_DIR  where cargo builds, now $(CARGO_TARGET_DIR)'

.PHONY: demo
demo: ## build and run the whole loop with simulated viewers, until Ctrl-C
	@scripts/demo.sh $(ARGS)

.PHONY: demo-once
demo-once: ## the same for one round, with a summary at the end
	@scripts/demo.sh --once $(ARGS)

.PHONY: test
test: ## everything that must pass: format, lints, tests, oracles, dependencies
	@scripts/checks.sh

.PHONY: soak
soak: ## play random worlds of processes and faults on the streaming runtime for SECONDS (600)
	@MARQUEE_SOAK_SECONDS=$(SECONDS) MARQUEE_SOAK_FIRST=$(or $(FIRST),$(shell date +%s)000) \
	  cargo test --profile demo -p marquee-soak --test soak --locked -- --nocapture

.PHONY: build
build: ## build the binary and print its path
	@scripts/build.sh

.PHONY: setup-test
setup-test: ## only what `test` needs on this machine: system packages, .venv and Kafka
	@scripts/checks.sh packages python kafka

.PHONY: web
web: ## build the web app anew into platform-api/dashboards/web/dist (needs Node)
	@scripts/web.sh build

.PHONY: sdk
sdk: ## build the package for web players anew into platform-api/sdk-web/dist (needs Node)
	@scripts/sdk.sh build

.PHONY: kafka-tls
kafka-tls: ## test the log in Kafka over TLS and SCRAM, with an OpenSSL that is built for it (minutes the first time)
	@scripts/checks.sh kafka tls

.PHONY: players
players: ## compare sessions of real players with what happened, and write docs/cmcd.md's tables (needs Node, Chromium, FFmpeg)
	@scripts/players.sh write $(ARGS)

.PHONY: screenshots
screenshots: ## write the pictures of the README anew (needs Node, Chromium and FFmpeg)
	@scripts/web.sh screenshots

.PHONY: fuzz
fuzz: ## fuzz what reads bytes from outside: ARGS="SECONDS [TARGET…]", 10 s each by default
	@scripts/fuzz.sh $(ARGS)

.PHONY: lint
lint: ## check format and lints
	@scripts/checks.sh format clippy

.PHONY: fmt
fmt: ## format the Rust code
	@cargo fmt --all

.PHONY: audit
audit: ## check licences, advisories and sources of the dependencies (needs cargo-deny)
	@cargo deny --locked check

.PHONY: generate
generate: ## write the generated files anew
	@UPDATE_GENERATED=1 cargo test -p marquee-it --locked tidy

.PHONY: bench
bench: ## measure the streaming path in both record formats: JSON on stdout
	@scripts/bench.sh $(ARGS)

.PHONY: peers
peers: ## measure Marquee beside Apache Flink and DuckDB, on the same file (needs Java and Python 3.11 or 3.12)
	@scripts/peers.sh $(ARGS)

.PHONY: doc
doc: ## build the API documentation
	@cargo doc --workspace --no-deps --locked

.PHONY: clean-home
clean-home: ## remove ./marquee-data, after asking
	@scripts/clean-home.sh
