# `make train` and `make test` need nothing before them: each first sets up what is missing, in .venv and the cache folder.

PYTHON ?= python3
DEVICE ?= cpu
ARGS ?=
export TANDEM_CACHE ?= $(HOME)/.cache/tandem

VENV := $(CURDIR)/.venv
REQUIREMENTS := requirements-$(DEVICE).txt
ifeq ($(wildcard $(REQUIREMENTS)),)
$(error DEVICE=$(DEVICE): there is no $(REQUIREMENTS); use DEVICE=cpu or DEVICE=gpu)
endif
# The list for CPUs is complete and leaves packages out on purpose; the one for GPUs names what pip resolves the rest from.
PIP_FLAGS_cpu := --no-deps
# A change of the list or of pyproject.toml installs again.
INSTALLED := $(VENV)/.installed-$(firstword $(shell cat $(REQUIREMENTS) pyproject.toml | cksum))

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
# torch looks for ninja on the path when it compiles an operator.
export PATH := $(VENV)/bin:$(PATH)
# The tests' files stay in the clone too, those of each pytest in a folder of its own: append its name, as in $(PYTEST)/fast.
PYTEST := python -m pytest --basetemp=.pytest_tmp
PARALLEL := --numprocesses=logical --dist=worksteal
# A program with engines takes all cores, but often waits for one process. Lint and the other tests run beside the tests with
# engines, on all cores but one. At the end the report of those with engines is printed; they are interrupted when lint fails or
# the tests in front are interrupted. Without `set -m` a process in the background ignores SIGINT.
BESIDE := --numprocesses=$(shell nproc --ignore=1) --dist=worksteal
define LINT_AND_TESTS
mkdir -p .pytest_tmp; \
set -m; \
$(PYTEST)/engines --durations=10 -m "$(strip engines $(SELECTED))" < /dev/null > .pytest_tmp/engines.log 2>&1 & engines=$$!; \
set +m; \
trap 'if kill -INT $$engines 2> /dev/null; then wait $$engines || :; fi' EXIT; \
$(MAKE) --no-print-directory lint; \
echo "== Tests without engines"; \
$(PYTEST)/quick $(BESIDE) --durations=10 -m "$(strip not engines $(SELECTED))" || failed=$$?; \
if [ $${failed:-0} = 2 ]; then exit 2; fi; \
echo "== Tests with engines"; \
wait $$engines || failed=1; \
cat .pytest_tmp/engines.log; \
exit $${failed:-0}
endef

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup train test test-fast test-all lint docs gpu-check check-gpu-requirements clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-24s%s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "PYTHON=python3.11 chooses the interpreter, DEVICE=gpu the packages; TANDEM_CACHE=FOLDER moves the cache."

setup: $(INSTALLED)  ## create .venv, build the offline base model
	@echo "== The base model, built once and kept in $(TANDEM_CACHE)"
	@python -m tools.warmup

train: setup  ## train a senior with the defaults, or with ARGS="steps=20 schedule=solo"
	@echo "== Training"
	@python launch/train.py $(ARGS)

test: SELECTED := and not slow
test: setup  ## lint, and every test that takes seconds
	@$(LINT_AND_TESTS)

test-fast: setup  ## quick tests without vLLM, Ray and DeepSpeed, with few examples of each property
	@echo "== Fast tests"
	@mkdir -p .pytest_tmp
	@$(PYTEST)/fast $(PARALLEL) -m "not slow and not engines and not seconds" --hypothesis-profile=fast

test-all: setup  ## lint, and all tests, the slow ones too
	@$(LINT_AND_TESTS)

lint: $(INSTALLED)  ## ruff, types, import contracts
	@echo "== Lint"
	@ruff check
	@ruff format --check
	@echo "== Types"
	@mypy
	@echo "== Import contracts"
	@lint-imports

docs: $(INSTALLED)  ## build the documentation in site/; a broken link is an error
	@python -m tools.config_reference
	@python -m tools.sizing_reference
	@NO_MKDOCS_2_WARNING=1 python -m mkdocs build --strict --quiet
	@echo "site/index.html"

gpu-check: setup  ## run on a GPU what tests on CPUs cannot show; needs DEVICE=gpu, and skips what needs a GPU without
	@python launch/gpu_check.py $(ARGS)

check-gpu-requirements: $(VENV)/bin/pip  ## show that requirements-gpu.txt resolves, installing nothing
	@echo "== Resolving requirements-gpu.txt, a minute or two"
	@pip install -q -q --dry-run --ignore-installed -r requirements-gpu.txt
	@echo "requirements-gpu.txt resolves"

clean:  ## remove .venv and what the tools left here; runs/ and the cache folder stay
	rm -rf $(VENV) site build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .pytest_tmp .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

$(INSTALLED): | $(VENV)/bin/pip
	@echo "== Installing the $$(grep -c '^[^#]*==' $(REQUIREMENTS)) packages of $(REQUIREMENTS) in .venv, 4 GB on a disk, about two minutes"
	@tools/install.sh $(VENV) $(REQUIREMENTS) $(PIP_FLAGS_$(DEVICE))
	@pip install -q -q --no-deps --no-build-isolation -e .
	@rm -f $(VENV)/.installed-*
	@touch $@

$(VENV)/bin/pip:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || \
		{ echo "$(PYTHON) is not Python 3.11 or newer: install one and name it, as in make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 2; }
	@test -e "$$($(PYTHON) -c "import sysconfig; print(sysconfig.get_path('include'))")/Python.h" || \
		{ echo "$(PYTHON) has no Python.h: install its headers (python3-dev); torch.compile and DeepSpeed's operators need them" >&2; exit 2; }
	@command -v "$${CXX:-c++}" >/dev/null || \
		{ echo "no C++ compiler '$${CXX:-c++}': install one (g++) or name it in CXX; torch.compile and DeepSpeed's operators need it" >&2; exit 2; }
	@echo "== Creating .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
