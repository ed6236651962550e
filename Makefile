# `make train` and `make test` set up all they need; override the interpreter with PYTHON=python3.12.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help setup train test test-fast test-slow test-campaign test-browser test-gpu test-matrix test-slurm bench lint docs clean

FAST := tests/cli tests/methods tests/metrics

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/.done  ## create .venv with the pinned requirements (uv where it is there, else pip)

.venv/.done: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	@if command -v uv >/dev/null; then \
		uv venv --quiet --allow-existing --python $(PYTHON) .venv && \
		uv pip install --quiet --python $(BIN)/python -r requirements.txt && \
		uv pip install --quiet --python $(BIN)/python --no-deps --editable .; \
	else \
		$(PYTHON) -m venv .venv && \
		$(BIN)/python -m pip install --quiet -r requirements.txt && \
		$(BIN)/python -m pip install --quiet --no-deps --editable .; \
	fi
	@touch $@

train: setup  ## train, test and show a packed ensemble on handwritten digits
	@# images of 8x8 pixels gain nothing from more threads, and on busy cores lose much
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-2} $(BIN)/python train.py

test: setup  ## run the tests (under 8 minutes on 2 cores)
	$(BIN)/python -m pytest -n 2

test-fast: setup  ## run what needs no whole run, for each edit (about two minutes): methods, metrics, command line
	$(BIN)/python -m pytest -n 2 $(FAST)

test-slow: setup  ## run the tests that take longer: real programs, whole tables, processes that are killed
	$(BIN)/python -m pytest -n 2 -m "slow and not campaign and not browser and not slurm and not gpu and not matrix"

test-campaign: setup  ## run random faults and configurations, and what else takes very long
	$(BIN)/python -m pytest -n 2 -m campaign

test-browser: setup  ## test the page in Chromium (tests/browser/install.sh installs it)
	$(BIN)/python -m pytest -m browser

test-gpu: setup  ## test precision, compilation, forms, FSDP and waiting on a GPU
	$(BIN)/python -m pytest -m gpu

test-matrix: setup  ## try every method on every family of backbones, as docs/backbones.md says (an hour)
	$(BIN)/python -m pytest -m matrix

test-slurm: setup  ## test jobs on a SLURM (tests/slurm/install.sh installs and starts one on this machine)
	$(BIN)/python -m pytest -m slurm

bench: setup  ## measure what members cost: in each form, thin and wide, and every method (results/benchmarks; an hour)
	$(BIN)/python benchmarks/forms.py
	$(BIN)/python benchmarks/members.py

lint: setup  ## check style, the types of what is called from outside, and which room uses which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

docs: setup  ## build the documentation: site/index.html, which needs no server
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "The documentation: site/index.html"

clean:  ## remove the virtual environment, runs, sweeps and caches
	rm -rf .venv runs sweeps cache site
