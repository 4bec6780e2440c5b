# Two commands set everything up on a machine with Python 3.11+ and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOWEST := .venv-lowest
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
PYTHON_IS_NEW_ENOUGH := $(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else \
	"batcher needs Python 3.11 or later, and $(PYTHON) is older; name another: make PYTHON=python3.12 demo")'

.DEFAULT_GOAL := help
.PHONY: help demo test test-one coverage test-browser test-ray check check-deploy lint types imports diagram tables frames pictures test-lowest bench bench-quick sandbox clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(BIN)/python:
	@$(PYTHON_IS_NEW_ENOUGH)
	$(PYTHON) -m venv $(VENV)

# Dependency groups need pip 25.1, which the venv of Python 3.11 does not have.
$(VENV)/.pip: | $(BIN)/python
	$(BIN)/python $(PIP_INSTALL) --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python $(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed $(VENV)/.pip
	$(BIN)/python $(PIP_INSTALL) --editable . --group test
	@touch $@

$(VENV)/.installed-coverage: $(VENV)/.installed-test
	$(BIN)/python $(PIP_INSTALL) --editable . --group test --group coverage
	@touch $@

$(VENV)/.installed-check: $(VENV)/.installed-test
	$(BIN)/python $(PIP_INSTALL) --editable . --group test --group check
	@touch $@

$(VENV)/.installed-browser: $(VENV)/.installed-test
	$(BIN)/python $(PIP_INSTALL) --editable . --group test --group browser
	@touch $@

$(VENV)/.installed-ray: $(VENV)/.installed-test
	$(BIN)/python $(PIP_INSTALL) --editable '.[ray]' --group test
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed $(VENV)/.pip
	$(BIN)/python $(PIP_INSTALL) --editable . --group bench
	@touch $@

$(LOWEST)/.installed: pyproject.toml tests/tools/lowest.py
	@$(PYTHON_IS_NEW_ENOUGH)
	$(PYTHON) -m venv --clear $(LOWEST)
	$(PYTHON) -m tests.tools.lowest > $(LOWEST)/lowest.txt
	$(LOWEST)/bin/python $(PIP_INSTALL) --requirement $(LOWEST)/lowest.txt --editable .
	@touch $@

demo: $(VENV)/.installed ## install, then run the main job on the embedded sandbox
	$(BIN)/batcher demo
	@echo
	@echo "From here on, in this terminal and in each new one: source $(BIN)/activate"
	@echo "Then, for a folder of your own pictures:           batcher init"

test: $(VENV)/.installed-test ## install what the tests need, then run them all
	$(BIN)/python -m pytest

test-one: $(VENV)/.installed-test ## some of the tests: make test-one T='tests/ledger -k merge'
	$(BIN)/python -m pytest -x $(T)

coverage: $(VENV)/.installed-coverage ## the branches that `make test` passes through, and those that it does not
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

test-browser: $(VENV)/.installed-browser ## the report and the live page in headless Chromium (Debian: chromium chromium-driver)
	$(BIN)/python -m pytest -m browser tests/browser

test-ray: $(VENV)/.installed-ray ## bytes through a Ray cluster of this machine, whose workers and nodes are killed (five minutes)
	$(BIN)/python tests/storage/ray/alone.py $(BIN)/python -m pytest -m ray tests/storage/ray

check: lint types imports ## ruff, mypy --strict, import-linter

lint: $(VENV)/.installed-check ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-check ## mypy --strict
	$(BIN)/mypy

imports: $(VENV)/.installed-check ## import-linter: imports only go downstairs
	$(BIN)/lint-imports

check-deploy: $(VENV)/.installed-check ## lint examples/deploy; needs the system's shellcheck and systemd-analyze
	$(BIN)/python -m tests.tools.check_deploy

diagram: $(VENV)/.installed ## draw the states in CONTRIBUTING.md anew, from the code
	$(BIN)/python -m tests.tools.diagram

tables: $(VENV)/.installed-test ## draw the tables of options, events and faults in examples/ anew, from the code
	$(BIN)/python -m tests.tools.tables

frames: $(VENV)/.installed-test ## draw the terminal of a run in tests/progress/frames anew
	$(BIN)/python -m tests.tools.golden

pictures: $(VENV)/.installed-browser ## draw the pictures of README.md anew (Debian: chromium chromium-driver)
	$(BIN)/python -m tests.tools.drawings

test-lowest: $(LOWEST)/.installed ## the tests on the oldest versions that pyproject.toml declares
	$(LOWEST)/bin/python -m pytest

bench: $(VENV)/.installed-bench ## every figure, beside what a user would run today (an hour)
	$(BIN)/python -m tests.bench --json tests/bench/results.json --pictures tests/bench/pictures

bench-quick: $(VENV)/.installed-bench ## the same, fewer and smaller (two minutes)
	$(BIN)/python -m tests.bench --quick

sandbox: $(VENV)/.installed ## a local server of the API
	$(BIN)/batcher sandbox

clean: ## remove what was built
	rm -rf $(VENV) $(LOWEST) build dist
