# The two commands to know are `make demo` and `make test`; `make help` lists the others.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEERS := .venv-bench
PORT ?= 4200
ARGS ?=
# One worker more than there are cores, because tests that start servers wait for them most of the time.
WORKERS = $(shell $(PYTHON) -c 'import os; print(os.cpu_count() + 1)')
THOROUGHLY = $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadgroup --hypothesis-profile thorough

# What a run also needs if a setting names it: the driver of PostgreSQL, the client of object storage, Dask.
DRIVER := $(VENV)/installed$(if $(filter postgresql%,$(DATABASE_URL)),-postgresql)
DRIVER += $(if $(filter s3://%,$(LANDING_PATH) $(PUBLISH_PATH)),$(VENV)/installed-s3)
DRIVER += $(if $(strip $(DASK_SCHEDULER)),$(VENV)/installed-dask)

.DEFAULT_GOAL := help
.PHONY: help demo up run self-check repair explore publish postgresql s3 dask test test-all test-rest test-ui torture check bench format samples docs lock clean

help: ## List these commands
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-10s %s\n", $$1, $$2 }'

# Only a DATABASE_URL on the command line counts: the demo must not use the database of the environment. It is exported,
# because whatever is in a recipe's line is also in the list of processes.
demo: export DATABASE_URL := $(if $(filter command line,$(origin DATABASE_URL)),$(DATABASE_URL),sqlite:///./demo.db)
demo: export LANDING_PATH := data/samples
demo: export SOURCES_PATH := data/sources.yaml
demo: export RULES_PATH := data/rules.yaml
demo: $(DRIVER) ## Run the hourly job once on the sample events, into ./demo.db (or DATABASE_URL=…)
	@$(BIN)/python -m flows.hourly

up: $(DRIVER) ## Run Prefect's server, the deployments and a worker, at http://127.0.0.1:4200 (PORT=…)
	@exec $(BIN)/python -m flows.up --port $(PORT)

run: $(DRIVER) ## Run the hourly job once, as the settings say (environment or .env)
	@$(BIN)/python -m flows.hourly

self-check: $(DRIVER) ## Check that the database keeps every promise; it is only read
	@$(BIN)/python -m flows.check

repair: $(DRIVER) ## Rebuild views and indexes that are missing or changed, then check; no row is touched
	@$(BIN)/python -m flows.check --repair

explore: $(VENV)/installed-explore $(DRIVER) ## Open the database in the browser, read-only, at http://127.0.0.1:8001
	@$(BIN)/python -m src.marketing_messaging_service.exploring

publish: $(DRIVER) ## Write a consistent copy and Parquet of every table and view into data/published
	@$(BIN)/python -m flows.publish

postgresql: $(VENV)/installed-postgresql ## Install the driver of PostgreSQL, for a DATABASE_URL that names such a database

s3: $(VENV)/installed-s3 ## Install the client of object storage, for a LANDING_PATH or PUBLISH_PATH of s3://…

dask: $(VENV)/installed-dask ## Install Dask, for a DASK_SCHEDULER on whose workers many files are staged at once

# Where it is set, as in many images of containers, each of the many processes that tests start would compile all anew.
test test-all test-rest test-ui: export PYTHONDONTWRITEBYTECODE :=

test: $(VENV)/installed-dev ## Run the tests that are quick and need no server, in about three minutes (ARGS="-k rules -x")
	@$(BIN)/python -m pytest --numprocesses auto --dist worksteal $(ARGS)

test-all: $(VENV)/installed-dev ## Run all tests but those with a browser, in less than half an hour
	@$(THOROUGHLY) -m "not ui" $(ARGS)

test-rest: $(VENV)/installed-dev ## Run what make test leaves out of make test-all
	@$(THOROUGHLY) -m "(server or slow or hypothesis) and not ui" $(ARGS)

test-ui: $(VENV)/installed-ui ## Run the tests that drive a browser
	@$(BIN)/python -m pytest tests/end_to_end -m ui $(ARGS)

check: $(VENV)/installed-dev ## Lint, format check, type check, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

torture: $(VENV)/installed-dev ## Kill, crowd, starve and deceive the pipeline for some ten minutes
	@$(BIN)/python -m tests.torture

bench: $(VENV)/installed-dev $(PEERS)/installed ## Measure speed and memory, as ratios to the floor and the usual ways (three quarters of an hour)
	@$(BIN)/python -m benchmarks --json benchmarks/results.json
	@$(BIN)/python -m benchmarks.tables

format: $(VENV)/installed-dev ## Format the code and fix what the linter can
	@$(BIN)/ruff check --fix .; found=$$?; $(BIN)/ruff format . && exit $$found

samples: $(VENV)/installed ## Write data/samples again
	@$(BIN)/python data/generate_samples.py

docs: $(VENV)/installed ## Write what is generated: the dictionary, the pictures, the schema of rules.yaml
	@$(BIN)/python -m src.marketing_messaging_service.dictionary
	@$(BIN)/python -m flows.rules schema > data/rules.schema.json

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-header --upgrade

lock: $(VENV)/installed-dev ## Lock the newest versions that pyproject.toml allows, for every Python from 3.11 on
	@$(LOCK) pyproject.toml --output-file requirements.lock
	@for group in dask dev explore postgresql s3 ui; do \
		$(LOCK) --group $$group --constraint requirements.lock --output-file requirements-$$group.lock || exit 1; done
	@$(LOCK) --group peers --output-file benchmarks/requirements-peers.lock

clean: ## Remove the virtual environment, caches and the demo's database
	rm -rf $(VENV) $(PEERS) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache demo.db*

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/installed: requirements.lock | $(VENV)/bin/python
	@echo "Installing into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@touch $@

$(VENV)/installed-dev: requirements-dev.lock $(VENV)/installed
	@echo "Installing the test tools into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.lock
	@touch $@

$(VENV)/installed-explore: requirements-explore.lock $(VENV)/installed
	@echo "Installing Datasette into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-explore.lock
	@touch $@

$(VENV)/installed-postgresql: requirements-postgresql.lock $(VENV)/installed
	@echo "Installing PostgreSQL's driver into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-postgresql.lock
	@touch $@

$(VENV)/installed-s3: requirements-s3.lock $(VENV)/installed
	@echo "Installing the client of object storage into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-s3.lock
	@touch $@

$(VENV)/installed-dask: requirements-dask.lock $(VENV)/installed
	@echo "Installing Dask into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dask.lock
	@touch $@

$(VENV)/installed-ui: requirements-ui.lock $(VENV)/installed-dev
	@echo "Installing Playwright into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-ui.lock
	@touch $@

$(PEERS)/installed: benchmarks/requirements-peers.lock | $(VENV)/bin/python
	@echo "Installing what ours is measured beside into $(PEERS) …"
	@$(BIN)/python -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements-peers.lock
	@touch $@
