# The targets need only make and Python 3.11, 3.12 or 3.13.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
SITE = NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
FAST := not slow and not thorough and not weekly and not photos and not pretrained and not cluster

.PHONY: help venv demo test test-fast test-versions test-wheel lint format wheel lock sbom docs site bench protocol image-check release clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 15

venv: $(STAMP) ## create .venv with tltool and its development tools, with locked versions

# The environment is updated only if a lock file or pyproject.toml has changed. The build tools are
# installed first, from their own lock file, so that no package is downloaded without a lock to build
# tltool or the one dependency that has no wheel.
$(STAMP): requirements/build.txt requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import re, sys; known = re.findall(r":: (3\.\d+)", open("pyproject.toml").read()); own = "%d.%d" % sys.version_info[:2]; sys.exit(0 if own in known else "tltool needs Python %s to %s and %s is %s; name another with: make PYTHON=/path/to/python%s" % (known[0], known[-1], sys.executable, own, known[-1]))'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes -r requirements/build.txt
	$(PIP) --require-hashes --no-build-isolation -r requirements/dev.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## train, export and predict on 1797 handwritten digits
	$(BIN)/tltool demo

# Tests marked "thorough" repeat a check for one more case; they take the longest and run in CI. Those
# marked "weekly" do so for the largest networks; they run with the newest packages, see .ci/newest.
# build/test-durations.txt lists the time of each test. A test without a mark that takes more CPU time
# than the limit fails; CI allows four times as much, because its machines differ in speed and load.
test: $(STAMP) ## run the tests; with TLTOOL_THOROUGH=1 as in CI; with TLTOOL_WEEKLY=1 all
	$(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder \
	  --cpu-limit $(if $(TLTOOL_THOROUGH),40,10) --cpu-table build/test-durations.txt \
	  -m "not cluster$(if $(TLTOOL_WEEKLY),, and not weekly$(if $(TLTOOL_THOROUGH),, and not thorough))"

test-cluster: $(STAMP) ## run the tests that start workers of Ray; with TLTOOL_WEEKLY=1 all; alone, because Ray gives up on a busy machine
	$(BIN)/python -m pytest -m "cluster$(if $(TLTOOL_WEEKLY),, and not weekly)"

test-fast: $(STAMP) ## run the fast tests, which need neither pretrained weights nor real images
	$(BIN)/python -m pytest -m "$(FAST)"

test-versions: $(STAMP) ## run the tests that depend on the Python version, on all other supported versions
	$(BIN)/python .ci/python_versions.py test "$(FAST)"

test-wheel: wheel ## install the wheel with every supported Python, train, export and predict
	$(BIN)/python .ci/python_versions.py wheel

lint: $(STAMP) ## check style, syntax, types, import layers, spelling, dependencies, dead code, wording, generated docs, the site
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
	$(SITE)

format: $(STAMP) ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The lock files name everything in the image beside Debian and Python. No time is written, so that
# equal lock files give equal documents.
sbom: $(STAMP) ## write build/sbom.cdx.json (CycloneDX) and build/THIRD_PARTY_NOTICES.txt
	@mkdir -p build
	cat requirements/build.txt requirements/cpu.txt | $(BIN)/cyclonedx-py requirements - \
	  --pyproject pyproject.toml --output-reproducible --output-format JSON -o build/sbom.cdx.json
	$(BIN)/python .ci/supply_chain.py notices requirements/build.txt requirements/cpu.txt \
	  > build/THIRD_PARTY_NOTICES.txt

docs: $(STAMP) ## update the generated parts of the documentation, and execute the notebooks of the tutorials
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/run_notebooks.py

site: $(STAMP) ## build the documentation site in build/site; open build/site/index.html
	$(SITE)

wheel: $(STAMP) ## build dist/tltool-VERSION-py3-none-any.whl
	$(BIN)/python -m build --wheel --no-isolation

lock: $(STAMP) ## update the lock files to the newest versions
	for name in build cpu gpu dev; do \
	  $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
	    requirements/$$name.in -o requirements/$$name.txt || exit 1; done

bench: $(STAMP) ## compare with the usual fine-tuning in Keras (needs TLTOOL_TEST_DATA)
	$(BIN)/python benchmarks/time_to_accuracy.py

protocol: $(STAMP) ## measure whether fine-tuning earns its cost; takes hours, resumes (needs TLTOOL_TEST_DATA)
	$(BIN)/python -m benchmarks.protocol run

image-check: sbom ## build the Docker image and check that a run in it is bit-identical; takes minutes
	.ci/image_check.sh

release: $(STAMP) ## build, check and tag a release; publishes nothing (docs/develop/releasing.md)
	BIN=$(BIN) .ci/release

clean: ## delete the virtual environment, caches and build folders
	rm -rf $(VENV) .venv-3.* .venv-newest .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
