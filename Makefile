# hypura: `make` lists what can be made.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RUN := .run
SHAPE ?= qwen3-30b-a3b
LAYERS ?=
OUT ?= $(SHAPE).gguf
SETTING ?= cpu-smoke
JOBS ?= 2
DEMO ?= demo-weights
PROTOS := $(wildcard protos/hypura/v1/*.proto)

SHELL := bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help install run test test-all sanitize test-clients test-openapi chaos bench demo-eval demo-train demo-export check protos model format clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(STAMP) ## make the virtual environment in .venv and install hypura into it

$(STAMP): pyproject.toml $(wildcard hypura_worker/llama/csrc/*)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "hypura needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	@command -v cmake >/dev/null || echo "note: no cmake found; pip will fetch one to build llama-cpp-python"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing. If llama-cpp-python has no wheel for this machine it is compiled now: about 4 minutes on 2 cores."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -e '.[dev]' >$(VENV)/install.log 2>&1 \
		& pid=$$!; while sleep 10 && kill -0 $$pid 2>/dev/null; do echo "  installing for $$SECONDS s ..."; done; \
		wait $$pid || { tail -n 40 $(VENV)/install.log; echo "Installing failed; all of it is in $(VENV)/install.log"; exit 1; }
	@touch $@

run: $(STAMP) ## see it work: the demo model talks, and a model larger than its memory is streamed
	@sh tests/newcomer.sh $(BIN) $(RUN)

test: $(STAMP) ## the quick tests, files spread over two processes: JOBS=
	$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile

sanitize: $(STAMP) ## the hook's tests in C with AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer
	$(BIN)/python -m pytest -q -m '' tests/worker/llama/test_hook.py

test-clients: $(STAMP) ## the clients people use, from PyPI and npm, against a running daemon
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,clients]'
	$(BIN)/python -m pytest -q -o addopts='-ra --strict-markers' -o filterwarnings=default -m clients tests/daemon/gateway tests/compatibility

test-openapi: $(STAMP) ## schemathesis over the gateway's OpenAPI document, with many requests a route: EXAMPLES=
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,clients]'
	OPENAPI_EXAMPLES=$(or $(EXAMPLES),25) $(BIN)/python -m pytest -q -o addopts='-ra --strict-markers' -o filterwarnings=default -o timeout=1800 tests/compatibility/test_openapi.py

chaos: $(STAMP) ## faults injected under load for 20 minutes: MINUTES= FAULTS=
	$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),20) --faults $(or $(FAULTS),200)

test-all: $(STAMP) ## all tests, the slow ones too
	$(BIN)/python -m pytest -q -m 'not clients'

check: $(STAMP) ## ruff, mypy and import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

protos: $(STAMP) ## generate the stubs of hypura.v1 from protos/, and the blocking client from the asynchronous one
	$(BIN)/python -m grpc_tools.protoc -I protos --python_out=protos --pyi_out=protos --grpc_python_out=protos $(PROTOS)
	$(BIN)/python protos/blocking_client.py

model: $(STAMP) ## write a synthetic model: make model SHAPE=qwen3-30b-a3b LAYERS=12 OUT=m.gguf
	$(BIN)/python -m tests.models --shape $(SHAPE) $(if $(LAYERS),--layers $(LAYERS)) --out $(OUT)

demo-eval: $(STAMP) ## ask the demo model its held-out exam through hypura, streamed and resident: 5 minutes
	$(BIN)/python -m tests.demo_model.demo_eval

demo-train: $(STAMP) ## train the demo model anew (PyTorch, best on a GPU): make demo-train SETTING=h200 DEMO=weights
	$(BIN)/python -m tests.demo_model.train --setting $(SETTING) --out $(DEMO)

demo-export: $(STAMP) ## quantise trained weights into the package: make demo-export DEMO=weights
	$(BIN)/python -m tests.demo_model.export --weights $(DEMO) --out hypura_daemon/models/demo/hypura-demo-18m-q4_k.gguf

bench: $(STAMP) ## measure synthetic models: docs/bench gets figures, a table and plots (FULL=1: whole models, hours; TRACES=FILES: replayed too)
	@$(BIN)/python -c 'import matplotlib' 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	$(BIN)/python -m tests.bench.suite --out docs/bench --work $(RUN)/bench $(if $(FULL),--full) $(foreach s,$(ONLY),--only $(s)) $(foreach t,$(TRACES),--trace $(t))

clean: ## remove what make made, but for the virtual environment
	rm -rf $(RUN) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
