# Works with GNU make 3.81 (macOS) and newer.

.DEFAULT_GOAL := help
SHELL := /bin/sh
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
UV_VERSION := 0.13.9

# Checked in the recipe that needs it, so that `make help` and `make clean` work without any.
PYTHON ?=
ARGS ?=

.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: install
install: $(INSTALLED) ## Make .venv with exactly the locked packages

.PHONY: run
# exec: the service gets Ctrl-C and SIGTERM itself, with no shell in between that would die first.
run: $(INSTALLED) ## Start the service (settings: .env.example)
	@exec $(BIN)/eventstore serve $(ARGS)

.PHONY: test
# One more than there are cores, at most four: a third of the tests' time is waiting.
# Whoever forbids Python to keep what it has compiled would have hundreds of processes compile all anew.
test: export PYTHONDONTWRITEBYTECODE =
TEST_PROCESSES = $(shell $(BIN)/python -c 'import os; print(min((os.cpu_count() or 1) + 1, 4))')
test: $(INSTALLED) ## Run the tests (ARGS='-k feed -x' goes to pytest)
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist=worksteal $(ARGS)

.PHONY: check
check: $(INSTALLED) ## Lint, format, types, import rules, models against the migrated schema
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/python -m mypy --strict app tests bench
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m tests.check_schema

.PHONY: bench
bench: $(INSTALLED) ## Measure (ARGS=--help shows what)
	$(BIN)/python -m bench $(ARGS)

.PHONY: lock
# uv comes into a throw-away environment: the lock must not depend on the packages that it locks.
# The second lock takes its versions from the first, so an image runs what the tests ran.
lock: ## Solve the locks again (ARGS=--upgrade takes newer versions)
	@set -e; \
	$(FIND_PYTHON) \
	dir=`mktemp -d "$${TMPDIR:-/tmp}/eventstore-lock.XXXXXX"`; \
	trap 'rm -rf "$$dir"' EXIT; trap 'exit 130' INT; trap 'exit 143' TERM; \
	"$$python" -m venv "$$dir"; \
	"$$dir/bin/python" -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION); \
	set -- --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --no-annotate --custom-compile-command 'make lock' --group build; \
	"$$dir/bin/uv" pip compile "$$@" --all-extras $(ARGS) \
	  --output-file requirements.lock pyproject.toml; \
	"$$dir/bin/uv" pip compile "$$@" --constraint requirements.lock \
	  --output-file requirements-runtime.lock pyproject.toml

.PHONY: clean
clean: ## Remove .venv and caches (the events in .data stay)
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache \
	  .import_linter_cache .hypothesis .schemathesis
	find . -name .data -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# Sets $$python. A Python without ensurepip (Debian ships it as a package of its own) could make
# an environment only without pip, so it does not count, and is named when nothing else is found.
FIND_PYTHON = \
	python=; without_pip=; given='$(PYTHON)'; \
	for candidate in $${given:-python3.14 python3.13 python3.12 python3.11 python3}; do \
	  "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	    || continue; \
	  if "$$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1; \
	  then python=$$candidate; break; else without_pip=$${without_pip:-$$candidate}; fi; \
	done; \
	if test -z "$$python" && test -n "$$without_pip"; then \
	  echo "error: $$without_pip has no ensurepip module: install it (Debian and Ubuntu: apt-get install python3-venv)" >&2; exit 1; \
	elif test -z "$$python"; then \
	  echo "error: no Python 3.11 or newer found$${given:+ as $$given}: install one or name it with PYTHON=/path/to/python3" >&2; exit 1; \
	fi;

# The stamp is a copy of the lock that was installed. It goes first and comes back last: where it is
# missing (an install was interrupted) or differs, the environment is made from nothing, so that
# nothing stays in it that the lock no longer has.
$(INSTALLED): requirements.lock pyproject.toml
	@set -e; \
	pip="$(BIN)/python -m pip --disable-pip-version-check --quiet"; \
	if cmp -s requirements.lock $@ && $$pip --version >/dev/null 2>&1; then \
	  rm -f $@; \
	else \
	  rm -f $@; \
	  $(FIND_PYTHON) \
	  echo "Making $(VENV) with `$$python --version` (takes about a minute)"; \
	  "$$python" -m venv --clear $(VENV); \
	  $$pip install --require-hashes -r requirements.lock; \
	fi; \
	$$pip install --no-deps --no-build-isolation --editable .; \
	cp requirements.lock $@
