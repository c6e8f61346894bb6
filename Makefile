# `make play` and `make test` set up all they need in .venv; `make help` lists the rest.

VENV := .venv
PY := $(VENV)/bin/python
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)

# A window where there is a screen; else a recording.
PLAY_ARGS := $(if $(DISPLAY)$(WAYLAND_DISPLAY)$(filter Darwin,$(shell uname -s)),,--headless --record recordings --steps 300)

.DEFAULT_GOAL := help
.PHONY: help play test slow torture lint docs format bench clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' Makefile

play: $(VENV)/.installed-play ## play in the dream (without a screen: record 300 steps of it)
	$(PY) play.py $(PLAY_ARGS)

test: lint ## ruff, mypy and the fast tests
	$(PY) -m pytest -q -n auto --maxprocesses 4 --dist worksteal -m 'not slow'

slow: $(VENV)/.installed-dev ## the slow tests
	$(PY) -m pytest -q -m slow

TIMES ?= 100
DAMAGES ?= 10000
ENDS ?= 200
MINUTES ?= 60
STAGES := collect vision memory evolve ppo evaluate run
torture: $(VENV)/.installed-dev ## the long proofs of docs/reliability.md: harm, damage, violent ends, fuzzing, wear (hours)
	@for stage in $(STAGES); do for harm in kill full; do $(PY) tests/kills.py $$stage $(TIMES) 0 $$harm || exit 1; done; done
	@for stage in $(STAGES); do for harm in readonly vanish clock; do \
		$(PY) tests/kills.py $$stage $$(( ($(TIMES) + 4) / 5 )) 0 $$harm || exit 1; done; done
	@$(PY) tests/flips.py $(DAMAGES)
	@$(PY) tests/orphans.py $(ENDS)
	@$(PY) tests/fuzz.py $(MINUTES)
	@$(PY) tests/soak.py $(MINUTES)

lint: $(VENV)/.installed-dev ## ruff and mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

docs: $(VENV)/.installed-dev ## the documentation as a site, strictly, in site/
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet

format: $(VENV)/.installed-dev ## let ruff mend what it can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

bench: $(VENV)/.installed-dev ## steps a second: dream against game, CarRacing's painters
	$(PY) benchmarks/dream.py
	$(PY) benchmarks/car_racing.py

clean: ## remove .venv, caches and build products (not runs/, not recordings/)
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- setting up: once, and again when the requirements change ---

EXTRAS_play := play
EXTRAS_dev := dev

$(VENV)/.installed-%: pyproject.toml constraints.txt | $(PY)
	$(PY) -m pip install --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS_$*)]'
	@touch $@

$(PY):
	@if [ -z "$(PYTHON)" ]; then \
		echo "wm-envs needs Python 3.11 or newer, and there is none on the PATH (python3 is: $$(python3 --version 2>&1))." >&2; \
		echo "Install one, or name it: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "wm-envs needs Python 3.11 or newer: $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
