# Voltyard. `make` alone prints what there is; `make demo` and `make test` work on a bare machine with
# Python >= 3.11, git and make.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
PYTEST := $(BIN)/pytest -q
STATIC_PATHS := src scripts tests $(wildcard migrations)

# The first Python that is new enough; name another with `make PYTHON=python3.13 …`.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	if command -v $$python >/dev/null 2>&1 \
	&& $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$python; break; fi; done)

define ready
	@test -n "$(PYTHON)" || { echo "Voltyard needs Python 3.11 or newer and found none on PATH; install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) scripts/set_up.py $(1)
endef

.PHONY: help setup ready-run ready-test fmt lint types test check ci integration transcripts world anomaly \
	e2e fuzz bench run demo scale migration openapi problems docs locks clean

help:
	@awk '/^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z0-9-]+:.*## / {split($$0, part, ":.*## "); printf "  make %-13s %s\n", part[1], part[2]}' $(MAKEFILE_LIST)
	@echo

ready-run:
	$(call ready,run)

ready-test:
	$(call ready,test)

##@ Start here
setup: ## everything into .venv, and the portal's bundle; quick when nothing changed
	$(call ready,dev)

demo: ready-run ## a server with a simulated world; prints the address and three log-ins
	@$(BIN)/voltyard demo

run: ready-run ## the server on the embedded default
	@$(BIN)/voltyard serve

scale: setup ## PostgreSQL, NATS and one process per role on this machine
	@$(BIN)/python scripts/scale.py

##@ Before a commit
fmt: setup ## format, and mend what a machine can mend
	@$(BIN)/ruff format -q $(STATIC_PATHS)
	@$(BIN)/ruff check -q --fix $(STATIC_PATHS)

lint: setup ## ruff, import contracts, the house rules
	@$(BIN)/ruff check -q $(STATIC_PATHS)
	@$(BIN)/ruff format -q --check $(STATIC_PATHS)
	@$(BIN)/lint-imports --no-logo
	@$(PYTEST) tests/unit/test_house.py

types: setup ## mypy, strict
	@$(BIN)/mypy

# What runs on both databases runs on SQLite only here; `make test` runs both.
check: setup ## lint, types, contracts, unit tests; under a minute
	@$(BIN)/ruff check -q $(STATIC_PATHS)
	@$(BIN)/ruff format -q --check $(STATIC_PATHS)
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(PYTEST) -n 2 -k 'not postgres' $(wildcard tests/unit tests/transcripts)

##@ Tests
test: ready-test ## every test of the project; what continuous integration calls
	@$(BIN)/ruff check -q $(STATIC_PATHS)
	@$(BIN)/ruff format -q --check $(STATIC_PATHS)
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(PYTEST) -n 2 --dist loadfile tests

ci: test ## another name for it

integration: ready-test ## one contract suite, each implementation: databases, buses
	@$(PYTEST) tests/integration

transcripts: setup ## conversations, replayed line by line
	@$(PYTEST) tests/transcripts

world: setup ## 10,000 seeded conversations of each kind; SEED=… replays one
	@$(if $(SEED),VOLTYARD_WORLD_SEED=$(SEED),VOLTYARD_WORLD_COUNT=10000) $(PYTEST) $(if $(SEED),,-n 2) tests/world

anomaly: setup ## databases locked, buses gone, clocks jumping
	@$(PYTEST) tests/anomaly

e2e: ready-test ## the real process, sockets and a browser
	@$(PYTEST) tests/e2e

fuzz: setup ## what a peer may send, for SECONDS=600; SEED=… mutates without looking at coverage
	@SECONDS=$(or $(SECONDS),600) SEED=$(SEED) $(BIN)/python -m tests.fuzz

bench: setup ## ratios against baselines measured in the same run
	@$(BIN)/python -m tests.bench

##@ Made files
migration: setup ## m="what changes": a new migration from the difference between tables and migrations
	@test -n '$(m)' || { echo 'Say what changes: make migration m="cards get a note"' >&2; exit 1; }
	@$(BIN)/alembic -c migrations/alembic.ini revision --autogenerate -m '$(m)'

openapi: setup ## docs/openapi.json from the code
	@$(BIN)/python scripts/write_docs.py

problems: setup ## docs/problems.md from the docstrings of the errors
	@$(BIN)/python scripts/write_docs.py

docs: openapi problems ## both

# Each lock agrees with those before it. No annotations and no addresses: a diff shows versions only.
COMPILE := $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --no-header
locks: setup ## requirements/*.lock anew from *.in; U=--upgrade for newer versions
	@cd requirements && for task in 'runtime.in' '-c runtime.lock build.in' 'node.in' \
		'-c runtime.lock -c build.lock dev.in'; do \
		name=$${task##* }; ../$(COMPILE) $(U) $$task -o $${name%.in}.lock; done
	@$(MAKE) setup

clean: ## everything that was made: environment, bundles, caches, demo data
	rm -rf .venv .tools tests/e2e/ocpp_rpc/node_modules .demo .scale .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis \
		.coverage htmlcov dist build frontend/node_modules src/voltyard/portal/static
	find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
