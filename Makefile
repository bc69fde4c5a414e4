# Everything here needs Python 3.11 or later and make, nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help venv demo test test-fast lint format lock docs bench clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

venv: $(STAMP) ## the virtual environment with tltool and its tools

$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"tltool needs Python 3.11 or later, this is {v.major}.{v.minor}; say which with: make PYTHON=/path/to/python3")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## the main job on 1797 handwritten digits, start to end
	$(BIN)/tltool demo

test: $(STAMP) ## all tests
	$(BIN)/python -m pytest

test-fast: $(STAMP) ## the tests that need neither weights nor photos and take no time
	$(BIN)/python -m pytest -m "not slow and not photos and not pretrained"

lint: $(STAMP) ## ruff, mypy, layers, spelling, dependencies, dead code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/typos
	$(BIN)/deptry tltool
	$(BIN)/vulture
	$(BIN)/python docs/generate.py --check

format: $(STAMP) ## put the code into the house's form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP) ## write the generated parts of the documentation anew
	$(BIN)/python docs/generate.py

lock: $(STAMP) ## resolve the requirements anew
	for name in cpu gpu dev; do \
	  $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
	    requirements/$$name.in -o requirements/$$name.txt || exit 1; done

bench: $(STAMP) ## measure against the usual way (needs TLTOOL_TEST_DATA)
	$(BIN)/python benchmarks/time_to_accuracy.py

clean: ## remove the environment and what tools leave behind
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
