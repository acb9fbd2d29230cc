# hookstream: everything is set up by the targets themselves. Needs Python >= 3.11, make, and for real parts either a
# Docker engine or Java >= 17 with Maven. `make PYTHON=python3.12 test` chooses an interpreter.

VENV ?= .venv
BIN := $(VENV)/bin
UV ?= $(shell command -v uv 2>/dev/null)
COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
PYTEST_ARGS ?=
SOAK_ARGS ?=
NEMESIS_ARGS ?=
MUTANTS_ARGS ?=
# Processes that tests run in, those on real parts each with parts of its own. 0: one after the other, in this process.
TEST_PROCESSES ?= 3
# The versions that pyproject.toml claims; the tests on real parts run on the one of $(VENV), the unit tests on all that are found.
PYTHONS := 3.11 3.12 3.13
PACKAGES := schemas producers subscriptions processors
COMPILE = $(or $(UV),uv) pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-emit-find-links --no-annotate --no-header --no-emit-package hookstream
SOURCES := $(PACKAGES) tests $(wildcard benchmarks)
INSTALLED := $(VENV)/.installed
BENCH_VENV ?= build/venv-bench

.DEFAULT_GOAL := help
.PHONY: help demo test check lint types imports unit pythons compiled contract integration delivery browser screenshots cast packages soak mutants nemesis bench up down format audit docs diagrams release first-five-minutes reference lock clean
.DELETE_ON_ERROR:

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## events to endpoints in one process, nothing else needed; EXAMPLE=orders: those of examples/orders
	@$(if $(EXAMPLE),HOOKSTREAM_SCHEMA_DIR=examples/$(EXAMPLE) )$(BIN)/hookstream demo

test: check pythons compiled packages ## check, then everything on real parts (Kafka, PostgreSQL, registry, a browser)
	$(BIN)/python -m pytest tests/delivery tests/integration tests/contract tests/browser -n $(TEST_PROCESSES) --dist loadfile $(PYTEST_ARGS)

check: lint types imports unit ## lint, types, import directions, unit tests

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	@mkdir -p build/types/hookstream
	@for package in $(PACKAGES); do ln -sfn ../../../$$package build/types/hookstream/$$package; done
	$(BIN)/mypy build/types/hookstream $(filter-out $(PACKAGES),$(SOURCES))

imports: $(INSTALLED)
	$(BIN)/lint-imports --no-logo

unit: $(INSTALLED) ## pure tests, seconds in all
	$(BIN)/python -m pytest tests/unit -n $(TEST_PROCESSES) $(PYTEST_ARGS)

pythons: $(INSTALLED) ## unit tests on every other Python that is claimed and that this machine has
	@mine=$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	for version in $(PYTHONS); do \
	  [ "$$version" != "$$mine" ] || continue; \
	  python=$$(.ci/find-python $$version) || { echo "no Python $$version on this machine: not tested on it"; continue; }; \
	  $(MAKE) --no-print-directory VENV=build/venv-$$version PYTHON=$$python PYTEST_ARGS=-q unit || exit 1; \
	done

# The wheel that `make release` and the image build, unpacked: its packages come before those of the checkout.
COMPILED := build/compiled
$(COMPILED)/.built: $(INSTALLED) setup.py $(shell find $(PACKAGES) -name '*.py')
	@rm -rf $(COMPILED) build/compiled-wheel build/lib* build/temp* build/mypyc && mkdir -p $(COMPILED) # or old modules stay
	HOOKSTREAM_COMPILE=1 $(BIN)/python -m pip wheel --quiet --no-build-isolation --no-deps --wheel-dir build/compiled-wheel .
	@$(BIN)/python -m zipfile --extract build/compiled-wheel/*.whl $(COMPILED) && touch $@

compiled: $(COMPILED)/.built ## the delivery worker's tests on the compiled build, and bugs planted in compiled copies
	@PYTHONPATH=$(COMPILED) $(BIN)/hookstream --version | grep --quiet '(compiled)' || { echo "nothing is compiled" >&2; exit 1; }
	PYTHONPATH=$(COMPILED) $(BIN)/python -m pytest tests/unit/delivery tests/unit/schemas/test_event_bytes.py tests/compiled -n $(TEST_PROCESSES) $(PYTEST_ARGS)

contract: $(INSTALLED) ## one suite per Protocol, on the fake and on the real thing
	$(BIN)/python -m pytest tests/contract $(PYTEST_ARGS)

integration: $(INSTALLED) ## each part with real Kafka, PostgreSQL, registry
	$(BIN)/python -m pytest tests/integration $(PYTEST_ARGS)

delivery: $(INSTALLED) ## the whole pipeline, a file per promise and per failure
	$(BIN)/python -m pytest tests/delivery $(PYTEST_ARGS)

browser: $(INSTALLED) packages ## the portal in Chromium, on a whole deployment
	$(BIN)/python -m pytest tests/browser $(PYTEST_ARGS)

screenshots: $(INSTALLED) packages ## pictures of the portal into docs/images: light, dark, and 390 pixels wide
	$(BIN)/python -m pytest tests/browser/take_screenshots.py $(PYTEST_ARGS)

cast: $(INSTALLED) ## `hookstream lag --watch` during an outage, recorded into docs/images/lag.svg
	$(BIN)/python -m pytest tests/browser/record_lag.py $(PYTEST_ARGS)

packages: # Debian's Chromium and PHP where there is none and this is root; without them their tests fail under CI
	@.ci/install-packages

soak: $(INSTALLED) ## simulated worlds on fresh seeds for ten minutes, added to docs/soak.jsonl; SOAK_ARGS="--minutes 60"
	$(if $(wildcard $(COMPILED)/.built),PYTHONPATH=$(COMPILED) )$(BIN)/python -m tests.soak $(SOAK_ARGS)

nemesis: $(INSTALLED) ## a deployment of real parts under faults, its history judged, added to docs/nemesis.jsonl; NEMESIS_ARGS="--minutes 60"
	$(if $(wildcard $(COMPILED)/.built),PYTHONPATH=$(COMPILED) )$(BIN)/python -m tests.nemesis $(NEMESIS_ARGS)

mutants: $(INSTALLED) ## plant single bugs outside the engine, each of which its test has to find; MUTANTS_ARGS="--only ID", --list
	$(BIN)/python -m tests.mutants $(MUTANTS_ARGS)

bench: $(BENCH_VENV)/.installed ## every benchmark; `make bench-NAME` runs one, BENCH_ARGS=--quick a small one
	$(BENCH_VENV)/bin/python -m benchmarks $(if $(BENCH_ARGS),-- $(BENCH_ARGS))

bench-%: $(BENCH_VENV)/.installed
	$(BENCH_VENV)/bin/python -m benchmarks $* $(if $(BENCH_ARGS),-- $(BENCH_ARGS))

# Benchmarks have an environment of their own, of the fastest Python of the version: the image's is as fast.
$(BENCH_VENV)/.installed: $(INSTALLED)
	@version=$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	$(MAKE) --no-print-directory VENV=$(BENCH_VENV) BENCH_VENV=none PYTHON=$$(.ci/fastest-python $$version || echo $(abspath $(BIN)/python)) $@

up: .env ## Kafka, registry, PostgreSQL and every role in containers (writes .env with fresh secrets)
	$(COMPOSE) up --build --detach

down: ## stop them; their data stays in volumes
	$(COMPOSE) down

format: $(INSTALLED) ## format the code and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

audit: $(INSTALLED) ## known vulnerabilities of every locked dependency (asks the package index; fails where it cannot)
	$(BIN)/pip-audit --strict --require-hashes --disable-pip -r requirements.lock -r requirements-dev.lock

docs: $(INSTALLED) ## the documents as a site in build/docs, without a network
	$(BIN)/mkdocs build --strict --quiet

diagrams: $(INSTALLED) packages ## pictures of the documents' Mermaid diagrams, for the site (asks npm for Mermaid)
	$(BIN)/python .ci/diagrams.py

release: $(INSTALLED) ## sdist, wheels, SBOM and checksums in dist/, each wheel checked on each Python that this machine has
	$(BIN)/python .ci/release.py

first-five-minutes: $(INSTALLED) ## from `pip install` of the wheel to the first verified webhook, into docs/first-five-minutes.md
	$(BIN)/python -m benchmarks.first_five_minutes

reference: $(INSTALLED) ## write the pages of docs/ that are made from the code
	$(BIN)/python -m tests.support.reference_pages

lock: ## write requirements-dev.lock and the image's requirements.lock and requirements-build.lock anew from the ranges in pyproject.toml (needs uv)
	$(COMPILE) --extra dev --upgrade --output-file requirements-dev.lock
	$(COMPILE) --extra server --extra otel --constraint requirements-dev.lock --output-file requirements.lock
	printf '%s\n' mypy setuptools | $(subst pyproject.toml,-,$(COMPILE)) --constraint requirements-dev.lock --output-file requirements-build.lock

clean: ## remove what can be made again, but not the fetched jars in .cache
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# Secrets of this machine's own; a deployment brings its own from where it keeps them.
.env:
	@umask 077; { echo "HOOKSTREAM_SECRET_KEY=$$(head -c 32 /dev/urandom | base64)"; \
	  echo "POSTGRES_PASSWORD=$$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')"; } > $@
	@echo "wrote .env with new secrets"

# Any Python from 3.11 on: the one asked for, else the first that is new enough.
$(VENV)/pyvenv.cfg:
	@python=; for candidate in $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python); do \
	  if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "hookstream needs Python 3.11 or newer; found $$($(or $(PYTHON),python3) --version 2>&1)." >&2; \
	  echo "Install one, or name it: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; \
	fi; \
	echo "making $(VENV) with $$($$python --version)"; $$python -m venv $(VENV)

# Where uv is at hand it is quicker; pip does the same.
$(INSTALLED): requirements-dev.lock pyproject.toml $(VENV)/pyvenv.cfg
ifneq ($(UV),)
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes --requirement requirements-dev.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
else
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements-dev.lock
	PYTHONWARNINGS="ignore:Editable installation" $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
endif
	@touch $@
