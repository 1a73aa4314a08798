# Everything a person or a machine does with this repository. `make` alone lists it.
# Needs Rust (rustup reads the version from Cargo.toml's rust-version), Python 3 and a C compiler.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# The data folder; tests find the models in it.
DATA ?= data
export ATTUNE_MODELS_DIR ?= $(abspath $(DATA))/models

CARGO ?= cargo
# The six real servers, each by its own script; SERVERS="redis kafka" is a part of them.
SERVERS_ALL = docker/servers/all
# One set of packages for the demo and the tests, so that cargo builds every dependency once.
ATTUNE = $(CARGO) run --quiet --locked --package attune -- --data $(DATA)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build the attune binary with the profile that demo and tests share
	@echo "building attune (the first time takes minutes)"
	$(CARGO) build --locked --package attune

.PHONY: models
models: build ## fetch the models, the labelled sentences, the films and the logs of a shop, checked by sha256, into data/models
	@$(ATTUNE) models pull

.PHONY: demo
demo: models ## start a server and walk through it; ONCE=1 ends after the walk, STORES=real is on the six real servers
	@$(if $(filter real,$(STORES)),$(SERVERS_ALL) start && eval "$$($(SERVERS_ALL) stores)" && )$(ATTUNE) demo $(if $(ONCE),--once)

.PHONY: test
test: models ## run all tests
	$(CARGO) test --locked --workspace

.PHONY: services
services: ## install and start the six real servers, without Docker (SERVERS="redis kafka" for some of them)
	@$(SERVERS_ALL) start

.PHONY: services-stop
services-stop: ## stop them; their data stays
	@$(SERVERS_ALL) stop

.PHONY: test-services
test-services: ## run all tests, those that need the real servers too; fails when one is missing
	@$(SERVERS_ALL) status
	@eval "$$($(SERVERS_ALL) env)" && $(CARGO) test --locked --workspace

.PHONY: lint
lint: ## formatting and clippy, warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

.PHONY: release
release: ## the binary to install or to measure: target/release/attune
	$(CARGO) build --locked --release --package attune

# The GPU. The first two need none: the compiler comes from pip, and the emulated GPU needs a C++ compiler.
NVRTC = LD_LIBRARY_PATH="$$(kernels/cuda/nvrtc.sh $(1))$${LD_LIBRARY_PATH:+:$$LD_LIBRARY_PATH}"
GPU_CHECK = $(CARGO) run --locked --package attune-inference --bin attune-gpu-check --

.PHONY: test-cuda-compile
test-cuda-compile: ## compile every GPU kernel for every generation of cards, with NVRTC from pip
	$(call NVRTC,13) ATTUNE_NEEDS_NVRTC=1 $(CARGO) test --locked --package attune --package attune-kernels --lib cuda::nvrtc -- $(ARGS)

.PHONY: cuda-ptx
cuda-ptx: ## make the embedded PTX again, after a change to a kernel
	$(call NVRTC,12) python3 kernels/cuda/embed.py

.PHONY: test-gpu
test-gpu: ## on a GPU: every kernel, the engine, and a card that fails, into attune-gpu-check.json
	$(GPU_CHECK) --no-times

.PHONY: bench-gpu
bench-gpu: ## on a GPU: the same and how fast it is
	$(GPU_CHECK)
