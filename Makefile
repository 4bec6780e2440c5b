# Two commands set everything up on a machine with Python 3.11+ and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test check lint types imports sandbox clean test-lowest

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

$(VENV)/.installed-check: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,check]'
	@touch $@

demo: $(VENV)/.installed ## install, then run the main job on the embedded sandbox
	$(BIN)/batcher demo

test: $(VENV)/.installed-test ## install what the tests need, then run them all
	$(BIN)/python -m pytest

check: lint types imports ## ruff, mypy --strict, import-linter

lint: $(VENV)/.installed-check ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-check ## mypy --strict
	$(BIN)/mypy

imports: $(VENV)/.installed-check ## import-linter: imports only go downstairs
	$(BIN)/lint-imports

sandbox: $(VENV)/.installed ## a local server of the API
	$(BIN)/batcher sandbox

clean: ## remove what was built
	rm -rf $(VENV) .venv-lowest build dist
