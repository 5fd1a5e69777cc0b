# The commands of the project. Each target is a script in scripts/ that can be run by itself; `make` alone lists them.
#
# One build profile serves tests, images and binaries; CARGO_TARGET_DIR is respected. What a target needs beyond the Rust
# toolchain it installs outside the tree (CORTEX_PARTS_DIR, default ~/.cache/cortex-parts). Packages of the machine itself
# and a Docker daemon are installed only after asking, or with CORTEX_INSTALL_PARTS=yes, or where CI=true.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo up test prove bench lint fmt advisories parts image compose-up compose-down kubernetes

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Build, start the mesh, ask an agent a question that needs a tool, show its history, stop
	@scripts/demo.sh

up: ## Build and run every service in one process with the example manifests (ctrl-c stops it)
	@scripts/up.sh

test: ## Every test of the workspace against real parts; TEST_ARGS go to nextest
	@scripts/test.sh $(TEST_ARGS)

prove: ## The long proofs: crashes by the thousand, soaks, fuzzing (minutes to an hour)
	@scripts/prove.sh

bench: ## The figures of docs/performance.md, measured on this machine
	@scripts/bench.sh

lint: ## Format, clippy, contracts, dependencies, scripts: everything that needs no test run
	@scripts/lint.sh

fmt: ## Format Rust and contracts in place
	@scripts/fmt.sh

advisories: ## Known vulnerabilities and yanked versions among the dependencies (needs the network)
	@scripts/advisories.sh

parts: ## Install and start what the tests need, and nothing else
	@scripts/parts/all.sh

image: ## The image cortex-prime:dev, FROM scratch, from the binary that the tests run
	@scripts/image.sh

compose-up: image ## One container per service, by deploy/compose.yaml
	@docker compose -f deploy/compose.yaml up -d --wait

compose-down: ## Stop that stack; its data stays in the volume
	@docker compose -f deploy/compose.yaml down

kubernetes: ## Validate deploy/kubernetes without a cluster
	@scripts/check-kubernetes.sh
