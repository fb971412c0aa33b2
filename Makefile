# `make book` builds the book, `make test` checks it; both need only python3 and make.

PYTHON3 := python3
PORT    := 8000
BIN     := .venv/bin
READY   := .venv/.ready
UV      := .tools/bin/uv

# uv takes the first Python 3.11 to 3.13 it finds here and downloads none; `make book UV_PYTHON=3.12` picks one.
export UV_PYTHON_DOWNLOADS    := never
export UV_PROJECT_ENVIRONMENT := .venv
export UV_HTTP_TIMEOUT        := 300
unexport VIRTUAL_ENV

# Where it is set, as in many container images, every process compiles PyTorch's sources anew, for seconds.
unexport PYTHONDONTWRITEBYTECODE

# records-gpu runs from a plain checkout, with the python3 that has torch if there is no .venv.
# WHEELS is a folder of wheels that this Python lacks; ARGS is passed on to `fcn train`.
DATA    ?= $(FCN_DATA)
WEIGHTS ?= $(FCN_WEIGHTS)
MINUTES ?= 25
GPU_PYTHON ?= $(if $(wildcard $(READY)),$(BIN)/python,$(PYTHON3))
TARGET  := _build/wheels

# Two at a time, because each alone leaves a core idle for a part of the time.
BESIDE := --no-print-directory --jobs=2

.PHONY: help setup book smoke notebooks site pdf serve test tests lint types nightly test-install test-lowest paper records-gpu clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

setup: $(READY) ## create the environment .venv from uv.lock

# In the other chapters, smoke does no more than what `make test` runs and compares.
EXPERIMENTS := 06 07 08 09 10 11 14 15

book: $(READY) ## check the committed notebooks, smoke-test the chapters' experiments, build the site
	$(BIN)/python book/build.py check
	@$(MAKE) $(BESIDE) smoke site

smoke: $(READY)
	$(BIN)/python book/build.py execute --preset smoke $(EXPERIMENTS:%=--only %)

notebooks: $(READY) ## run every chapter and replace the committed notebooks
	$(BIN)/python book/build.py notebooks

site: $(READY) ## build the site from the committed notebooks
	$(BIN)/jupyter-book build book --config _config.yml --path-output . --all -W --keep-going -q
	$(BIN)/python book/build.py links
	@echo "The book: $(CURDIR)/_build/html/index.html (or: make serve)"

pdf: $(READY) ## print the book with Chromium into _build/book.pdf
	$(BIN)/python book/build.py pdf

serve: ## serve the site locally, PORT=8000
	@test -f _build/html/index.html || { echo "No site yet: run 'make book' first." >&2; exit 1; }
	@echo "http://127.0.0.1:$(PORT) (Ctrl-C to stop)"
	@$(PYTHON3) -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

test: export OMP_NUM_THREADS := 1
test: $(READY) ## lint, import order, types, tests, and every chapter rerun and compared
	@$(MAKE) $(BESIDE) lint types tests

tests: $(READY)
	$(BIN)/python -m pytest --nbval -n 3 --dist loadfile --no-loadscope-reorder tests book

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(READY)
	$(BIN)/mypy

test-install: export UV_OFFLINE := 0
test-install: $(READY) ## install the wheel for each Python 3.11 to 3.13 on PATH; downloads its packages
	$(BIN)/python -m pytest -q tests/core/test_install.py

# The lower bounds in pyproject.toml, in an environment of their own.
LOWEST := _build/lowest
test-lowest: export OMP_NUM_THREADS := 1
test-lowest: $(READY) ## run the tests of the package's core with the lowest versions that it supports
	@mkdir -p $(LOWEST)
	$(UV) pip compile --quiet --resolution lowest-direct --python $(BIN)/python --extra book --extra export --extra formats \
	    --group test --no-header --no-annotate --output-file $(LOWEST)/requirements.txt pyproject.toml
	$(UV) venv --quiet --clear --python $(BIN)/python $(LOWEST)/.venv
	$(UV) pip install --quiet --python $(LOWEST)/.venv --requirements $(LOWEST)/requirements.txt --editable . --no-deps
	$(LOWEST)/.venv/bin/python -m pytest -q tests/core

nightly: $(READY) ## damaged files and killed runs by the hundred; rewrites the figures in the book
	FCN_NIGHTLY=results/reliability.json $(BIN)/python -m pytest -q tests/replication/test_mutants.py tests/replication/test_kills.py
	$(BIN)/python tests/replication/nightly.py

paper: $(READY) ## run the whole paper as a graph: DRY=1 prints it; TARGETS=, CONFIG=, PROFILE= (workflow/README.md)
	$(BIN)/snakemake $(TARGETS) --workflow-profile workflow/profiles/$(or $(PROFILE),laptop) \
	    $(if $(DRY),--dry-run --quiet host) $(if $(CONFIG),--config $(CONFIG))

# In the order of worth. The race and the benchmark take about five of the MINUTES; tests need pytest.
records-gpu: export PYTHONPATH := $(TARGET):$(PYTHONPATH)
records-gpu: export FCN_WEIGHTS := $(WEIGHTS)
records-gpu: ## on a GPU: its tests, the speedrun, the paper's schedules, the benchmark: DATA=, WEIGHTS=, MINUTES=25
	@test -n "$(DATA)" || { echo "Name the data: make records-gpu DATA=folder WEIGHTS=folder MINUTES=25" >&2; exit 2; }
	$(if $(WHEELS),$(GPU_PYTHON) -m pip install --quiet --no-index --no-deps --upgrade --target $(TARGET) $(WHEELS)/*.whl)
	-$(GPU_PYTHON) -m pytest -q tests/training/test_gpu.py -k gpu
	$(GPU_PYTHON) -m fcn train speedrun --seed 10 --seeds 5 --minutes 3 --data "$(DATA)" $(ARGS)
	$(GPU_PYTHON) -m fcn train --by-worth --minutes $$(($(MINUTES) > 5 ? $(MINUTES) - 5 : 1)) --data "$(DATA)" $(ARGS)
	$(GPU_PYTHON) -m fcn benchmark --device cuda --save results

clean: ## remove build and test leftovers; the environment stays
	rm -rf _build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find book data_scripts fcn tests workflow -name __pycache__ -prune -exec rm -rf {} +

# Repeated only when the lock or the project file changes. Building matplotlib's font cache now keeps its notice
# out of the first chapter that runs.
$(READY): pyproject.toml uv.lock | $(UV)
	@$(UV) python find >/dev/null 2>&1 || \
	    { echo "No Python 3.11, 3.12 or 3.13 found here: install one of them and run make again." >&2; exit 1; }
	$(UV) sync --locked --extra workflow
	@$(BIN)/python -c 'import matplotlib.font_manager' 2>/dev/null
	@touch $@

# Debian's python3 cannot create an environment with pip until python3-venv is installed; its own pip will do, too.
$(UV):
	@if $(PYTHON3) -m venv --clear .tools >/dev/null 2>&1; then pip=".tools/bin/python -m pip"; \
	elif $(PYTHON3) -m venv --clear --without-pip .tools 2>/dev/null && $(PYTHON3) -m pip --version >/dev/null 2>&1; \
	    then pip="$(PYTHON3) -m pip --python .tools/bin/python"; \
	else echo "$(PYTHON3) cannot create an environment: install venv (Debian, Ubuntu: apt install python3-venv)." >&2; exit 1; fi; \
	$$pip install --quiet --disable-pip-version-check uv==0.13.9
