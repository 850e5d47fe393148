# Every target sets up .venv by itself; python3 (>= 3.11) and make are all that must be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/.cache/jax

.PHONY: demo test test-slow test-all soak lint format bench docs clean

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "jaxrec needs Python >= 3.11; set PYTHON=python3.12, say")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements.txt pyproject.toml setup.py | $(BIN)/python
	$(BIN)/pip install -q -r requirements.txt
	$(BIN)/pip install -q --no-deps -e .
	touch $@

$(VENV)/.docs: requirements-docs.txt $(VENV)/.run
	$(BIN)/pip install -q -r requirements-docs.txt
	touch $@

$(VENV)/.dev: requirements-dev.txt requirements-docs.txt $(VENV)/.run
	$(BIN)/pip install -q -r requirements-dev.txt
	touch $@

demo: $(VENV)/.run
	$(BIN)/python -m launch.compare configs/studies/demo_study.py --show 1

PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: $(VENV)/.dev
	$(PYTEST) -m "not slow and not long and not soak" $(TESTS)

test-slow: $(VENV)/.dev
	$(PYTEST) -m "slow and not long and not soak" $(TESTS)

test-all: $(VENV)/.dev
	$(PYTEST) -m "not soak" $(TESTS)

soak: $(VENV)/.dev
	$(PYTEST) -m soak $(TESTS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.run

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) .cache build *.egg-info
