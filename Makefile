# Everything starts from these few words; each target sets up what it needs first.
PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: help setup test demo recompute docs clean

help:
	@echo 'make setup      system packages, .venv, this package (idempotent; every other target runs it)'
	@echo 'make test       lint, types, tests'
	@echo 'make demo       the whole loop on silicon with real DFT, results in demo-output/'
	@echo 'make recompute  every number of demo-output/summary.json again, from the stored nodes alone'
	@echo 'make docs       the documentation as HTML in build/docs'
	@echo 'make clean      remove .venv, caches, the demo profile and its results'

setup:
	@PYTHON='$(PYTHON)' scripts/setup.sh

test: setup
	$(BIN)/ruff check src tests examples benchmarks scripts
	$(BIN)/mypy --strict src
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

demo: setup
	$(BIN)/python -W ignore examples/silicon/demo.py

recompute: setup
	$(BIN)/python examples/silicon/recompute.py

docs: setup
	$(BIN)/python -m pip install --quiet 'sphinx>=7' 'myst-parser>=3'
	$(BIN)/python -m sphinx -W -q docs build/docs
	@echo 'open build/docs/index.html'

clean:
	scripts/clean.sh
