# Everything runs in .venv, which `make setup` creates and keeps up to date.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
# Where pip gets torch, for example TORCH_PIP_ARGS="--index-url URL" for an index of CPU builds.
TORCH_PIP_ARGS ?=
# Extra arguments for pytest, the fault suite or the benchmarks, for example ARGS="-k merge -x".
ARGS ?=
# They may select no test in one of the parts; pytest then exits with 5.
CHOSEN = $(if $(ARGS),|| [ $$? -eq 5 ])
FAULT ?=

# Two processes, each with a cluster of its own: tests that wait run beside tests that compute. A
# group (tests/ray/conftest.py) stays in one process, because its tests share jobs.
CLUSTER_TESTS = $(BIN)/pytest -n 2 --dist loadgroup $(wildcard tests/local tests/ray tests/faults)

BIN := .venv/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check
EDITABLE := --no-build-isolation --config-settings editable_mode=strict
# Strict mode links each file, so the project is reinstalled when a file is added or removed.
FILES := $(shell find agent dashboards exporters tui -type f \
    \( -name '*.py' -o -name '*.json' -o -name '*.tcss' -o -name 'page.*' -o -name '*.yml' -o -name py.typed \))
LINKED := build/.linked-$(firstword $(shell printf '%s\n' $(sort $(FILES)) | cksum))
# One setup at a time.
LOCKED := flock .venv

.PHONY: help setup system-packages format lint schema causes-page metrics-page versions-page dashboards docs test \
    test-unit test-ray compat matrix faults screenshots bench demo clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  \033[1m%-16s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(LINKED) ## Create .venv with all dependencies; instant when up to date.
	@:

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 10) else \
	    "Python 3.10 or newer is needed: make PYTHON=python3.12 ...")'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "Installing python3-venv" \
	    && apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null; }
	$(PYTHON) -m venv .venv

.venv/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into .venv: torch, then the rest (minutes the first time)"
	@$(LOCKED) $(PIP) install --upgrade pip setuptools
	@$(LOCKED) $(PIP) install --constraint constraints.txt $(TORCH_PIP_ARGS) torch
	@$(LOCKED) $(PIP) install --constraint constraints.txt --group dev $(EDITABLE) --editable '.[all]'
	@touch $@

$(LINKED): .venv/.installed
	@$(LOCKED) $(PIP) install --no-deps $(EDITABLE) --editable .
	@rm -f build/.linked-*
	@touch $@

system-packages:
	@missing=(); for pair in tmux:tmux ip:iproute2 gcc:gcc g++:g++ promtool:prometheus mpirun:openmpi-bin; do \
	    command -v "$${pair%%:*}" >/dev/null || missing+=("$${pair##*:}"); done; \
	if [ $${#missing[@]} -gt 0 ]; then \
	    if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	        echo "Installing $${missing[*]}"; \
	        apt-get update -qq; \
	        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$${missing[@]}" >/dev/null; \
	    else \
	        echo "Missing: $${missing[*]}; the tests that need them are skipped" >&2; \
	    fi; \
	fi
	@# Not every distribution has it as a package.
	@command -v chromium >/dev/null || { \
	    [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "Installing chromium" && apt-get update -qq && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	} || echo "Missing: chromium; the tests that need it are skipped" >&2

format: setup ## Format the code and apply ruff's fixes.
	$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format --quiet

lint: setup ## Check style, types and the import layers.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy | sed -E 's#^build/__editable__[^/]*/dsray_inspect/##'
	$(BIN)/lint-imports --no-logo

schema: setup ## Generate docs/snapshot.schema.json and docs/diff.schema.json from their records.
	$(BIN)/python -m dsray_inspect.agent.schema > docs/snapshot.schema.json
	$(BIN)/python -m dsray_inspect.agent.schema diff > docs/diff.schema.json

causes-page: setup ## Generate docs/causes.md from the table of causes.
	$(BIN)/python -m dsray_inspect.agent.causes_page > docs/causes.md

metrics-page: setup ## Generate docs/metrics.md from the catalogue of metrics.
	$(BIN)/python -m dsray_inspect.exporters.metrics_page > docs/metrics.md

versions-page: setup ## Generate docs/versions.md from the known gaps and what `make matrix` ran.
	$(BIN)/python -m tests.matrix.page > docs/versions.md

dashboards: setup ## Generate dashboards/grafana/*.json.
	$(BIN)/python -m dsray_inspect.dashboards.build

test: setup system-packages ## Run all tests, the quick ones first.
	$(BIN)/pytest -n 2 tests/unit tests/compat $(wildcard tests/browser tests/promql tests/tui) $(ARGS) $(CHOSEN)
	$(CLUSTER_TESTS) $(ARGS) $(CHOSEN)

test-unit: setup ## Run the unit tests, which need no cluster (seconds).
	$(BIN)/pytest -n 2 tests/unit tests/compat $(ARGS)

test-ray: setup system-packages ## Run the tests on real Ray clusters, with the CI share of the fault suite.
	$(CLUSTER_TESTS) $(ARGS)

compat: setup ## Look up in other releases what we know of them: make compat RAY=2.46.0 DEEPSPEED=0.16.9 TORCH=2.11.0.
	$(BIN)/python -m tests.compat $(if $(RAY),ray==$(RAY)) $(if $(DEEPSPEED),deepspeed==$(DEEPSPEED)) \
	    $(if $(TORCH),torch==$(TORCH)) $(ARGS)

matrix: setup ## Run one scenario on a cluster of each set of versions, or of CELLS="2.46.0/v1 2.44.1" (10 minutes each).
	$(BIN)/python -m tests.matrix $(CELLS)

faults: setup ## Run the whole fault suite and score dsray-inspect (about 40 minutes on 2 cores).
	$(BIN)/python -m tests.faults $(ARGS)

docs: setup ## Generate the examples of the README and docs from recordings.
	$(BIN)/python -m tests.docs

screenshots: setup ## Generate the manual's pictures from a recorded incident; one needs Chromium.
	$(BIN)/python -m tests.tui.screenshots
	$(BIN)/python -m tests.browser.screenshots

bench: setup ## Run the benchmarks against py-spy, `ray stack`, TraceML and a bare `ray.init`.
	$(BIN)/python -m tests.bench $(ARGS)

demo: setup ## Start a two-rank job and watch it; FAULT=hang makes one rank block.
	@$(BIN)/dsray-inspect demo $(if $(FAULT),--fault $(FAULT)) $(ARGS)

clean: ## Remove build outputs and caches, but keep .venv.
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find agent dashboards exporters tests tui -name __pycache__ -type d -prune -exec rm -rf {} +
