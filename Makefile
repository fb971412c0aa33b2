# `make book` builds the book, `make test` proves it; both start from nothing but python3 and make.

PYTHON3 := python3
PORT    := 8000
BIN     := .venv/bin
READY   := .venv/.ready
UV      := .tools/bin/uv

# uv takes the first Python 3.11 to 3.13 it finds here and downloads none; `make book UV_PYTHON=3.12` names one.
export UV_PYTHON_DOWNLOADS    := never
export UV_PROJECT_ENVIRONMENT := .venv
export UV_HTTP_TIMEOUT        := 300
unexport VIRTUAL_ENV

# Records on a GPU: from a plain checkout, by the python3 that has torch where there is no .venv. WHEELS is a folder of
# wheels that it lacks, ARGS what else fcn.gpu takes.
DATA    ?= $(FCN_DATA)
WEIGHTS ?= $(FCN_WEIGHTS)
MINUTES ?= 25
GPU_PYTHON ?= $(if $(wildcard $(READY)),$(BIN)/python,$(PYTHON3))

.PHONY: help setup book notebooks site serve test records-gpu clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

setup: $(READY) ## make the environment .venv from uv.lock

book: $(READY) ## run every chapter, check the committed notebooks, build the site
	$(BIN)/python book/build.py check
	$(BIN)/python book/build.py execute
	@$(MAKE) --no-print-directory site

notebooks: $(READY) ## run every chapter and replace the committed notebooks
	$(BIN)/python book/build.py notebooks

site: $(READY) ## build the site from the committed notebooks
	$(BIN)/jupyter-book build book --config _config.yml --path-output . --all -W --keep-going -q
	$(BIN)/python book/links.py _build/html
	@echo "The book: $(CURDIR)/_build/html/index.html (or: make serve)"

serve: ## show the site on this machine, PORT=8000
	@test -f _build/html/index.html || { echo "No site yet: run 'make book' first." >&2; exit 1; }
	@echo "http://127.0.0.1:$(PORT) (Ctrl-C ends it)"
	@$(PYTHON3) -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

test: export OMP_NUM_THREADS := 1
test: $(READY) ## lint, types, tests, and every chapter run again and compared
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2
	$(BIN)/python book/build.py compare

records-gpu: export PYTHONPATH := $(subst $(eval ) ,:,$(strip $(wildcard $(WHEELS)/*.whl) $(PYTHONPATH)))
records-gpu: ## record the paper's schedules on a GPU: DATA=, WEIGHTS=, MINUTES=25
	@test -n "$(DATA)" || { echo "Name the data: make records-gpu DATA=folder WEIGHTS=folder MINUTES=25" >&2; exit 2; }
	$(GPU_PYTHON) -m fcn.gpu records --data "$(DATA)" $(if $(WEIGHTS),--weights "$(WEIGHTS)") --minutes $(MINUTES) $(ARGS)

clean: ## remove what builds and tests left behind; the environment stays
	rm -rf _build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find book fcn tests -name __pycache__ -prune -exec rm -rf {} +

# Done again only when the lock or the project file changes. Finding the fonts now keeps matplotlib's notice about it
# out of the first chapter that is run.
$(READY): pyproject.toml uv.lock | $(UV)
	@$(UV) python find >/dev/null 2>&1 || \
	    { echo "No Python 3.11, 3.12 or 3.13 found here: install one of them and run make again." >&2; exit 1; }
	$(UV) sync --locked --extra book
	@$(BIN)/python -c 'import matplotlib.font_manager' 2>/dev/null
	@touch $@

# Debian's python3 makes no environment with pip in it until python3-venv is installed; its pip, if there, will do too.
$(UV):
	@if $(PYTHON3) -m venv --clear .tools >/dev/null 2>&1; then pip=".tools/bin/python -m pip"; \
	elif $(PYTHON3) -m venv --clear --without-pip .tools 2>/dev/null && $(PYTHON3) -m pip --version >/dev/null 2>&1; \
	    then pip="$(PYTHON3) -m pip --python .tools/bin/python"; \
	else echo "$(PYTHON3) cannot make an environment: install venv (Debian, Ubuntu: apt install python3-venv)." >&2; exit 1; fi; \
	$$pip install --quiet --disable-pip-version-check uv==0.13.9
