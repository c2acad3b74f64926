# Everything works from a fresh clone with Python 3.11 or newer and make. `make help` lists the targets.

VENV    := .venv
WORKERS ?= 2
N       ?= 300
# Tried in this order; `make install PYTHON=...` uses that one or none.
PYTHON  ?= python3 python3.14 python3.13 python3.12 python3.11

PY        := $(VENV)/bin/python
DYN       := $(VENV)/bin/dyn
INSTALLED := $(VENV)/.installed
FOR_DOCS  := $(VENV)/.installed-docs
PIP       := $(PY) -m pip --disable-pip-version-check --no-input

# One BLAS thread a process: pytest's workers and the benchmarks' timings would otherwise share the cores twice.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export MKL_NUM_THREADS := 1

# What a Python must be able to do to carry the project.
SUITABLE := import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo gallery docs test test-slow test-browser lint format mutants bench clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## make .venv with the exact versions of constraints.txt

# A .venv that is broken, or whose Python is too old or gone, is made anew; any other is brought up to date.
# Wheels only: a package without one for this machine is an error at once, not an hour of compiling.
# No build isolation: the build backend is pinned with the rest.
$(INSTALLED): pyproject.toml constraints.txt
	@rm -f $@
	@if ! $(PY) -c '$(SUITABLE)' 2>/dev/null || ! $(PIP) --version >/dev/null 2>&1; then \
	    for python in $(PYTHON) none; do \
	        "$$python" -c '$(SUITABLE)' >/dev/null 2>&1 && break; \
	    done; \
	    if [ "$$python" = none ]; then \
	        echo 'make install: no Python >= 3.11 with venv and ensurepip among: $(PYTHON)' >&2; \
	        echo 'Install one, or name it: make install PYTHON=/path/to/python3' >&2; \
	        exit 1; \
	    fi; \
	    echo "Making $(VENV) with $$("$$python" --version)"; \
	    "$$python" -m venv --clear $(VENV); \
	fi
	@echo 'Installing the versions of constraints.txt into $(VENV): a minute or two the first time'
	@$(PIP) install -qq --only-binary :all: -c constraints.txt hatchling
	@$(PIP) install -qq --only-binary :all: -c constraints.txt --no-build-isolation -e '.[dev]'
	@touch $@

demo: install ## one mode by theory, then real digits, drawn to out/digits.png
	@mkdir -p out
	$(DYN) simulate --lambda-s 1 --lambda-d 0.5
	$(DYN) simulate --data digits --augment shift:1 --augment noise:0.3 --dim 8 --plot out/digits.png

gallery: install ## draw docs/gallery.md: every figure, its command and its caption
	$(PY) -m figures.gallery.catalogue docs

docs: $(FOR_DOCS) ## build the documentation site: out/docs/index.html
	$(PY) -m sphinx -q -W --keep-going -j $(WORKERS) docs out/docs

$(FOR_DOCS): $(INSTALLED)
	@echo 'Installing what the site needs into $(VENV)'
	@$(PIP) install -qq --only-binary :all: -c constraints.txt --no-build-isolation -e '.[docs]'
	@touch $@

test: lint ## lint, then every test but the slow ones
	$(PY) -m pytest -n $(WORKERS) --dist worksteal

test-slow: install ## the slow tests alone: networks trained to the end
	$(PY) -m pytest -n $(WORKERS) --dist worksteal -m slow

test-browser: install ## the tests that drive a browser alone: apt-get install chromium
	$(PY) -m pytest -m browser

lint: install ## ruff and mypy
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy

format: install ## let ruff rewrite what it can
	$(PY) -m ruff check --fix
	$(PY) -m ruff format

mutants: install ## change one token at a time, N times, and see whether a test notices: out/mutants/survivors.diff
	$(PY) tests/mutants.py -n $(N) --workers $(WORKERS)

bench: install ## run the benchmarks and renew the tables of benchmarks/README.md
	@set -e; for script in $(sort $(wildcard benchmarks/bench_*.py)); do echo "$$script"; $(PY) "$$script"; done

clean: ## remove .venv, caches and builds; results in out/ are kept
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist docs/generated
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
