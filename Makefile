# Everything starts here: `make demo` and `make test` do the whole set-up themselves (see tools/setup_env.py).
#
#   PYTHON=python3.12         Python that makes .venv (3.10 or newer)
#   VENV=folder               another place than .venv
#   TORCH_INDEX_URL=…         index with another build of torch (e.g. CPU only: 1 GB instead of 6)
#   DENSE_PYTHON=python       an environment of your own (already activated, or a path): nothing is installed into it
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
export VENV
unexport PYTHONPATH

ifdef DENSE_PYTHON
PY := $(DENSE_PYTHON)
SETUP := $(PYTHON) tools/setup_env.py --check $(DENSE_PYTHON)
else
PY := $(VENV)/bin/python
SETUP := $(PYTHON) tools/setup_env.py
endif

# One thread per test worker: more would only make the workers wait for each other.
TEST := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) --dist loadfile -q

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-words eval-world test test-slow test-long fuzz lint docs bench wheel try-wheel doctor clean clean-all

help: ## this list
	@echo "make …"
	@sed -n 's/^\([a-z-]*\):.*## /  \1|/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{ printf "%-12s %s\n", $$1, $$2 }'

setup: ## make or repair .venv: pinned packages, Detectron2, operators (a few minutes; instant the second time)
	@$(SETUP)

demo: setup ## segment and track a made-up video, or yours: make demo INPUT=video.mp4
	@$(PY) -m dense demo-world $(if $(INPUT),--input "$(INPUT)")

demo-words: setup ## find words in made-up pictures: make demo-words WORDS="striped triangle, red disc"
	@$(PY) -m dense demo-words $(if $(WORDS),--words "$(WORDS)")

eval-world: setup ## score the weights of this repository on the procedural world
	@$(PY) -m dense eval-world

test: setup ## all tests that need neither minutes nor a GPU
	@$(TEST) -m "not slow and not gpu" $(ARGS)

test-slow: setup ## the tests that need minutes
	@$(TEST) -m "slow and not gpu" $(ARGS)

test-long: setup ## kill a training run 100 times, continue it, compare with one that was never stopped
	@OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(PY) tools/try_resume.py --times 100

fuzz: setup ## every reader gets 1,000 damaged and hostile files; a table (ARGS="--reader yaml --inputs 50")
	@OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(PY) tests/fuzz --jobs $(WORKERS) $(ARGS)

lint: setup ## ruff, floors of the house, sizes, repeated code, types
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) tools/lint_sizes.py
	@$(PY) tools/lint_repeats.py
	@$(PY) -c "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())" --no-cache --no-logo
	@$(PY) -m mypy

docs: setup ## this documentation as pages in build/site; a warning is an error
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet --clean
	@echo "build/site/index.html"

bench: setup ## time our parts beside their peers
	@$(PY) -m benchmarks $(ARGS)

wheel: setup ## dist/*.whl
	@$(PY) -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -w dist .
	@ls -t dist/*.whl | head -n 1

try-wheel: wheel ## the wheel in an empty environment, and in this one instead of the checkout
	@$(PY) tools/try_wheel.py

doctor: setup ## what is installed, what is missing, how to mend it
	@$(PY) -m dense.doctor

clean: ## remove what was built; the next call builds it again
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis $(VENV)/.dense-setup.json
	find dense projects tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
	find dense -name '*.so' -delete

clean-all: clean ## … and the whole environment
	rm -rf $(VENV)
