# Each target is complete on a fresh machine with Python 3.11 or newer, make and a package index:
# it makes .venv, installs the versions pinned in constraints.txt and runs.

VENV := .venv
# The first of these that is new enough; `make PYTHON=/path/to/python ...` takes another.
CANDIDATES := python3.11 python3.12 python3.13 python3
NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
PYTHON ?= $(firstword $(foreach name,$(CANDIDATES),\
	$(shell $(name) $(NEW_ENOUGH) >/dev/null 2>&1 && echo $(name))))
# Pins hold for build requirements too. Quiet: an install says hundreds of lines that tell nothing.
PIP := PIP_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 \
	$(VENV)/bin/python -m pip install -qq
TORCH := $(shell sed -n 's/^torch==//p' constraints.txt)

.PHONY: help demo test lint clean

help:
	@echo "make demo   edit two public-domain portraits; the sheet goes to runs/demo"
	@echo "make test   the tests; real faces are used when FACEFACTOR_SHARED names their folder"
	@echo "make lint   ruff and mypy"
	@echo "make clean  remove .venv and the caches"

demo: $(VENV)/.installed
	$(VENV)/bin/facefactor demo --output runs/demo

test: $(VENV)/.installed-dev
	$(VENV)/bin/python -m pytest -n auto --dist loadscope

lint: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find facefactor tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, none was found;" \
		"install one or name it: make PYTHON=/path/to/python ..." >&2; exit 1; }
	@echo "making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)

# torch comes first and pinned: on Linux a plain range brings several gigabytes of CUDA. Without an
# NVIDIA GPU the build without CUDA is taken where the package index offers one.
$(VENV)/.torch: constraints.txt | $(VENV)/bin/python
	@echo "installing torch $(TORCH)"
	@if nvidia-smi -L >/dev/null 2>&1; then \
		$(PIP) "torch==$(TORCH)"; \
	elif ! $(PIP) "torch==$(TORCH)+cpu" >/dev/null 2>&1; then \
		if [ "$$(uname -s)" = Linux ]; then \
			echo "the package index offers no CPU build of torch; the ordinary one is installed," \
				"which may be large (PyTorch's install page names an index with CPU builds:" \
				"set PIP_EXTRA_INDEX_URL to it)"; \
		fi; \
		$(PIP) "torch==$(TORCH)"; \
	fi
	@touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.torch
	@echo "installing facefactor and what it needs"
	@$(PIP) -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "installing what testing, training, export, the page and a cluster need"
	@$(PIP) -e ".[train,onnx,web,cluster,test,dev]"
	@touch $@
