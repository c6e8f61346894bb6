# `make play` and `make test` install what they need in .venv. `make help` lists all targets.

VENV := .venv
PY := $(VENV)/bin/python
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)

# Open a window if there is a display, else record a GIF.
PLAY_ARGS := $(if $(DISPLAY)$(WAYLAND_DISPLAY)$(filter Darwin,$(shell uname -s)),,--headless --record recordings --steps 300)

.DEFAULT_GOAL := help
.PHONY: help play test slow torture lint docs format site bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' Makefile

play: $(VENV)/.installed-play ## play the dream (without a display: record 300 ticks)
	$(PY) play.py $(PLAY_ARGS)

test: lint ## ruff, mypy and the fast tests
	$(PY) -m pytest -q -n auto --maxprocesses 4 --dist worksteal -m 'not slow'

slow: $(VENV)/.installed-dev ## the slow tests
	$(PY) -m pytest -q -n auto --maxprocesses 4 --dist worksteal -m slow

TIMES ?= 100
DAMAGES ?= 10000
ENDS ?= 200
MINUTES ?= 60
STAGES := collect vision memory evolve ppo evaluate fidelity publish report run
torture: $(VENV)/.installed-dev ## the long tests of docs/experiments/reliability.md: kills, full disks, damaged files, fuzzing, soak (hours)
	@for stage in $(STAGES); do for harm in kill full interrupt; do $(PY) -m tests.torture.kills $$stage $(TIMES) 0 $$harm || exit 1; done; done
	@for stage in $(STAGES); do for harm in readonly vanish clock; do \
		$(PY) -m tests.torture.kills $$stage $$(( ($(TIMES) + 4) / 5 )) 0 $$harm || exit 1; done; done
	@$(PY) -m tests.torture.flips $(DAMAGES)
	@$(PY) -m tests.torture.orphans $(ENDS)
	@$(PY) -m tests.torture.fuzz $(MINUTES)
	@$(PY) -m tests.torture.soak $(MINUTES)

lint: $(VENV)/.installed-dev ## ruff and mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

docs: $(VENV)/.installed-dev ## build the documentation in site/, with warnings as errors
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet

site: $(VENV)/.installed-dev ## the documentation with a first page that plays a dream (needs npm)
	WM_ENVS_PLAY_NOW=play-now $(MAKE) docs
	$(PY) -m training export --world takecover --web site/play-now

format: $(VENV)/.installed-dev ## let ruff fix what it can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

bench: $(VENV)/.installed-dev ## measure steps per second of the dream, the game and CarRacing's renderers
	$(PY) benchmarks/dream.py
	$(PY) benchmarks/dream.py --world takecover-paper
	$(PY) benchmarks/number_types.py
	$(PY) benchmarks/car_racing.py

clean: ## remove .venv, caches and build output (keeps runs/ and recordings/)
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- setup: runs once, and again when the requirements change ---

EXTRAS_play := play
EXTRAS_dev := dev

# pip's default torch for Linux brings gigabytes of CUDA. Without an NVIDIA GPU it comes from an index of CPU builds.
# `make TORCH_INDEX=URL` names another index, `make TORCH_INDEX=` takes pip's default.
TORCH_INDEX ?= $(shell [ "$$(uname -s)" = Linux ] && [ ! -e /dev/nvidiactl ] && ! command -v nvidia-smi >/dev/null && \
	echo https://download.pytorch.org/whl/cpu)
TORCH := $(shell grep '^torch==' constraints.txt)
PIP_INSTALL := $(PY) -m pip install --disable-pip-version-check -c constraints.txt
HAS_TORCH = $(PY) -m pip list --format=freeze 2>/dev/null | grep -qE '^$(TORCH)(\+|$$)'
ANSWERS = $(PY) -c 'import signal, urllib.request as u; signal.alarm(5); \
	u.urlopen(u.Request("$(TORCH_INDEX:/=)/torch/", headers={"User-Agent": "pip"}))' 2>/dev/null

$(VENV)/.installed-%: pyproject.toml constraints.txt | $(PY)
	@if [ -z "$(TORCH_INDEX)" ] || $(HAS_TORCH); then exit 0; fi; \
	if $(ANSWERS); then \
		echo "torch comes from $(TORCH_INDEX) (make TORCH_INDEX= takes pip's default build)."; \
		$(PIP_INSTALL) --no-deps --index-url $(TORCH_INDEX) $(TORCH) && exit 0; fi; \
	echo "No $(TORCH) from $(TORCH_INDEX): pip's default build follows, which for Linux brings CUDA."
	$(PIP_INSTALL) -e '.[$(EXTRAS_$*)]'
	@touch $@

$(PY):
	@if [ -z "$(PYTHON)" ]; then \
		echo "wm-envs needs Python 3.11 or newer, but found none on the PATH (python3 is: $$(python3 --version 2>&1))." >&2; \
		echo "Install it, or run: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "wm-envs needs Python 3.11 or newer: $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
