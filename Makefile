# Every target sets itself up: Python 3.11 or later and make are all that is needed.
PYTHON ?= python3
# Folder with tinyshakespeare/input.txt and names/names.txt, for bench-text, bench-serve and bench-events, and fashion-mnist/, for bench-image;
# without it, the demo texts, made-up sentences and icons.
DATA ?=
# More options for them, as BENCH="--texts chat --seeds 1" or BENCH="--sets icons-32 --small 100".
BENCH ?=
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo dev test test-slow lint check format bench-text bench-image bench-export bench-fuzz bench-serve bench-events bench-drift bench-loop docs clean

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

$(BIN)/python:
	@echo "setting up: making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -c 'import sys; sys.exit("bowerbird needs Python 3.11 or later; try: make PYTHON=python3.11") if sys.version_info < (3, 11) else 0'
	@$(PYTHON) -m venv $(VENV)

# Torch first and by itself: its CPU build is pinned, and nothing that follows may move it.
$(VENV)/.torch: $(BIN)/python
	@echo "setting up: installing torch"
	@$(BIN)/python -m pip install --quiet "torch>=2.13,<2.14"
	@touch $@

$(VENV)/.demo: pyproject.toml $(VENV)/.torch
	@echo "setting up: installing bowerbird with what the demo needs"
	@$(BIN)/python -m pip install --quiet -e '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.torch
	@echo "setting up: installing bowerbird with what its development needs"
	@$(BIN)/python -m pip install --quiet -e '.[dev]'
	@touch $@

demo: $(VENV)/.demo ## real data in, a trained, evaluated, published model out, in minutes
	@$(BIN)/bowerbird demo

dev: $(VENV)/.dev ## set up for development
	@echo "ready: $(BIN)/bowerbird, $(BIN)/pytest"

test: $(VENV)/.dev ## run the test suite
	@$(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: $(VENV)/.dev ## run the tests that take minutes
	@$(BIN)/python -m pytest -m slow

lint: $(VENV)/.dev ## check format, lint and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

check: lint test ## format, lint, types, import layers, docs, then tests

format: $(VENV)/.dev ## put the code into its one form
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench-text: $(VENV)/.dev ## compare the text models with baselines at equal time (hours; it can be stopped and goes on)
	@$(BIN)/python benchmarks/text.py $(if $(DATA),--data "$(DATA)") $(BENCH)

bench-image: $(VENV)/.dev ## compare the image models with baselines at equal time (hours; it can be stopped and goes on)
	@$(BIN)/python benchmarks/image.py $(if $(DATA),--data "$(DATA)") $(BENCH)

bench-export: $(VENV)/.dev ## prove every export format against our own networks, and what fewer bits cost
	@$(BIN)/python benchmarks/export.py $(BENCH)

bench-fuzz: $(VENV)/.dev ## have every reader read ten thousand damaged files, and count what becomes of them
	@$(BIN)/python benchmarks/fuzz.py $(BENCH)

bench-serve: $(VENV)/.dev ## load the server beside a plain one of transformers; BENCH="exact" and others check what is claimed
	@$(BIN)/python benchmarks/serve.py $(BENCH) $(if $(DATA),--data "$(DATA)")

bench-events: $(VENV)/.dev ## measure what recording every request costs, in tokens a second
	@$(BIN)/python benchmarks/events.py $(BENCH) $(if $(DATA),--data "$(DATA)")

bench-drift: $(VENV)/.dev ## count false alarms, and requests until the alarm when traffic changes
	@$(BIN)/python benchmarks/drift.py $(BENCH)

bench-loop: $(VENV)/.dev ## go round the whole loop: drift, update, promoted, rolled back, promoted again
	@$(BIN)/python benchmarks/loop.py $(BENCH)

docs: $(VENV)/.dev ## write the parts of the docs that are made from the code
	@$(BIN)/python docs/generate.py

clean: ## remove what make made
	@rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
