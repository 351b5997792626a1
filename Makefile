# Two commands do everything on a fresh machine: make demo, make test.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= demo
JOBS ?= 2

.PHONY: help install demo test lint slow clean

help:
	@echo "make demo   make an environment and run the whole path on head phantoms (folder $(DEMO))"
	@echo "make test   make an environment and run the checks and the whole fast suite, in $(JOBS) processes"
	@echo "make slow   run the slow tests too"

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10) and 'Python 3.10 or newer is needed: make PYTHON=python3.12 ...')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,cluster,tracking]'
	@touch $@

demo: install
	$(BIN)/skullgan demo --out $(DEMO) --overwrite $(DEMO_OPTIONS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

test: lint
	$(BIN)/python -m pytest -m "not slow" -n $(JOBS) --dist worksteal

slow: install
	$(BIN)/python -m pytest

clean:
	rm -rf $(VENV) build dist *.egg-info
