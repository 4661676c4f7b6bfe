# Sets itself up: `make demo` and `make test` need Python with pip and venv, nothing else.
#
# torch comes first and from the constraints, as a plain `pip install torch` may fetch gigabytes of CUDA
# packages. torchvision comes next and without its dependencies, before anything that would bring its own.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow lint bench bench-gpu bench-verdict bench-shortcuts bench-audit clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile

demo: $(VENV)/demo  ## explain two pictures, audit two models, say what was found and where the reports are
	$(BIN)/underhood demo

test: $(VENV)/dev  ## the tests, with coverage
	$(BIN)/python -m pytest -m "not slow" -n auto --dist loadfile --cov --cov-report=term:skip-covered

test-slow: $(VENV)/dev  ## the tests that take long
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/dev  ## style, types, and who may import whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/dev  ## side by side with other libraries
	$(BIN)/python -m benchmarks.run
	$(BIN)/python -m benchmarks.plot

bench-gpu: $(VENV)/dev  ## the same on a CUDA device: images per second, peak memory
	$(BIN)/python -m benchmarks.run --device cuda
	$(BIN)/python -m benchmarks.plot

bench-verdict: $(VENV)/dev  ## is the verdict right? on causes that were planted; about 20 minutes
	$(BIN)/python -m benchmarks.verdict.run
	$(BIN)/python -m benchmarks.verdict.told out/verdict/verdicts-standard.json

bench-shortcuts: $(VENV)/dev  ## are shortcuts found that were planted, and none in clean models? some two hours
	$(BIN)/python -m benchmarks.shortcuts.run
	$(BIN)/python -m benchmarks.shortcuts.told out/shortcuts/results.jsonl

bench-audit: $(VENV)/dev  ## explanations a second of an audit, beside the passes that they need; about 20 minutes
	$(BIN)/python -m benchmarks.audit --out benchmarks/AUDIT.md

clean:  ## remove the environment and everything that was made
	rm -rf $(VENV) out .coverage .coverage.* .*_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each step leaves a file in the environment, so that it is not repeated until what it depends on changes.

$(VENV)/torch: constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch
	@touch $@

$(VENV)/demo: $(VENV)/torch pyproject.toml
	$(PIP) -e ".[demo,audit]"
	@touch $@

$(VENV)/dev: $(VENV)/torch pyproject.toml
	$(PIP) --no-deps torchvision
	$(PIP) -e ".[demo,audit,ray,timm,hf,peers,browser,dev]"
	@touch $@
