# make demo | test | lint | web | bench | peers | docs | clean        PYTHON=python3.13 chooses another Python for a new .venv

PYTHON ?= python3
PIP = PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/python -m pip install --quiet --only-binary=:all: -c constraints.txt

.PHONY: demo test lint web bench peers docs clean

demo: .venv/.ready
	@.venv/bin/isthmus demo

test: lint
	@.venv/bin/python -m pytest -n 2

lint: .venv/.ready
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/lint-imports --no-cache
	@.venv/bin/mypy

# the page of `isthmus explore`, which is kept built: only who changes web/ needs Node (20 or later) and npm
web:
	@cd web && npm ci --no-audit --no-fund --silent && npm run --silent check && npm test --silent && npm run --silent build

bench: .venv/.ready .venv-peers/.ready
	@.venv/bin/python -m benchmarks

# what the speed of training is measured against, in an environment of its own (2 GB)
peers: .venv-peers/.ready

docs: .venv/.docs
	@.venv/bin/python -m sphinx -q -W --keep-going docs docs/_build/html
	@echo "docs/_build/html/index.html"

clean:
	rm -rf .venv .venv-peers build dist docs/_build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is made only after everything is installed, so a broken or interrupted install is tried again.
.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null || \
		{ echo "isthmus needs Python 3.11 to 3.14, and $(PYTHON) says: $$($(PYTHON) --version 2>&1)." \
		"Name another: make PYTHON=python3.13 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "installing into .venv (the first time takes some minutes: PyTorch is large)"
	@$(PYTHON) -m venv .venv
	@$(PIP) -e ".[dev]"
	@touch $@

.venv/.docs: .venv/.ready
	@$(PIP) -e ".[docs]"
	@touch $@

.venv-peers/.ready: benchmarks/peers.txt
	@$(PYTHON) -m venv .venv-peers
	@PIP_DISABLE_PIP_VERSION_CHECK=1 .venv-peers/bin/python -m pip install --quiet -r benchmarks/peers.txt
	@touch $@
