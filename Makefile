# Every target makes what it needs: the environment .venv, from the locked versions.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
SOURCES = actors protocol store tests settings.py parts.py administration.py server.py
PIP = .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes

.PHONY: help run test check simulate faults bench bench-timelines clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

run: .venv/run ## start the server on http://127.0.0.1:8080 with its data in ./data (WORKERS=2, ARGS="--port 9000" for more)
	@exec .venv/bin/python server.py $(if $(WORKERS),--workers $(WORKERS)) $(ARGS)

# In two processes; the one that has no more tests takes some of the other's. Dozens of servers are started, so that it
# pays to keep the compiled sources even where the environment says not to.
test: .venv/dev ## run the tests, but for the long ones (ARGS="-k embedded" for some, ARGS="-m long" for those)
	PYTHONDONTWRITEBYTECODE= .venv/bin/python -m pytest --numprocesses 2 --dist worksteal -m "not long" $(ARGS)

check: .venv/dev ## check format, style, types and which part imports which
	.venv/bin/ruff format --check $(SOURCES)
	.venv/bin/ruff check $(SOURCES)
	.venv/bin/mypy
	.venv/bin/python -m pytest -q tests/test_arrows.py

faults: .venv/dev ## kill, stop, cut and restart parts of a cluster under load (ARGS="--seconds 300")
	.venv/bin/python -m tests.faults $(ARGS)

simulate: .venv/dev ## run the cluster on a seeded loop in virtual time (SEEDS=1000 seeds, or SEED=17 with its trace)
	.venv/bin/python -m tests.simulation $(if $(SEED),--seed $(SEED),$(if $(SEEDS),--seeds $(SEEDS))) $(ARGS)

# Not the environment's, where some systems keep another.
NAME =
bench: .venv/dev ## measure this machine, beside what else there is (NAME=writes for one benchmark, ARGS="--rounds 1")
	.venv/bin/python -m tests.bench $(NAME) $(ARGS)

bench-timelines: .venv/dev ## measure push, pull, hybrid and adaptive timelines side by side (ARGS="--people 5000 --seconds 20")
	.venv/bin/python -m tests.bench timelines $(ARGS)

clean: ## remove the environment and the caches; ./data stays
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis tests/sdk/node_modules
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Plaudit needs Python 3.11 or newer; none was found. Name one: make PYTHON=/path/to/python3" >&2; exit 2; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; exit 2; }

.venv/run: requirements.lock | .venv/bin/python
	@echo "Installing what Plaudit needs into .venv; this is done once, and takes a minute or two …"
	@$(PIP) -r requirements.lock
	@touch $@

# The versions of both locks are the same; this one adds the tools.
.venv/dev: requirements-dev.lock | .venv/bin/python
	@echo "Installing what Plaudit and its tests need into .venv; this is done once, and takes a minute or two …"
	@$(PIP) -r requirements-dev.lock
	@touch $@
