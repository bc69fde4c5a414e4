# Everything here needs Python 3.11, 3.12 or 3.13 and make, nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
FAST := not slow and not thorough and not photos and not pretrained

.PHONY: help venv demo test test-fast test-versions lint format wheel lock docs bench image-check clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

venv: $(STAMP) ## the virtual environment with tltool and its tools, from the lock

# One environment for everything; it is touched again only when a lock or pyproject.toml changes.
# The build tools come first and from their own lock, so that nothing unlocked is fetched to build
# the one dependency without a wheel, or tltool.
$(STAMP): requirements/build.txt requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import re, sys; known = re.findall(r":: (3\.\d+)", open("pyproject.toml").read()); own = "%d.%d" % sys.version_info[:2]; sys.exit(0 if own in known else "tltool needs Python %s to %s and %s is %s; name another with: make PYTHON=/path/to/python%s" % (known[0], known[-1], sys.executable, own, known[-1]))'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes -r requirements/build.txt
	$(PIP) --require-hashes --no-build-isolation -r requirements/dev.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## the main job on 1797 handwritten digits, start to end
	$(BIN)/tltool demo

# What shows the same once more for another case takes longest: CI asks for it. What each test took
# is in build/test-durations.txt.
test: $(STAMP) ## the tests; with TLTOOL_THOROUGH=1 all of them, as in CI
	$(BIN)/python -m pytest -n 2 --dist loadgroup --cpu-limit 10 --cpu-table build/test-durations.txt \
	  $(if $(TLTOOL_THOROUGH),,-m "not thorough")

test-fast: $(STAMP) ## the tests that need neither weights nor photos and take no time
	$(BIN)/python -m pytest -m "$(FAST)"

test-versions: $(STAMP) ## what depends on Python itself, on every other version that pyproject.toml names
	$(BIN)/python .ci/python_versions.py test "$(FAST)"

lint: $(STAMP) ## syntax of every Python version, form, types, layers, spelling, dependencies, dead code, generated docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python .ci/python_versions.py compile
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/typos
	$(BIN)/deptry tltool
	$(BIN)/vulture
	[ ! -x $(BIN)/hadolint ] || $(BIN)/hadolint Dockerfile
	$(BIN)/python docs/words.py
	$(BIN)/python docs/generate.py --check

format: $(STAMP) ## put the code into the house's form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP) ## write the generated parts of the documentation anew
	$(BIN)/python docs/generate.py

wheel: $(STAMP) ## dist/tltool-VERSION-py3-none-any.whl
	$(BIN)/python -m build --wheel --no-isolation

lock: $(STAMP) ## resolve the requirements anew
	for name in build cpu gpu dev; do \
	  $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
	    requirements/$$name.in -o requirements/$$name.txt || exit 1; done

bench: $(STAMP) ## measure against the usual way (needs TLTOOL_TEST_DATA)
	$(BIN)/python benchmarks/time_to_accuracy.py

image-check: ## build the image and check that a run in it is bit-identical; takes minutes
	.ci/image_check.sh

clean: ## remove the environment and what tools leave behind
	rm -rf $(VENV) .venv-3.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
