# make demo   set-up and the main job on a generated clip of a real face
# make test   set-up and all tests
# make check  style, types, import directions
# make soak   two minutes of everything that comes and goes: does memory, handles or shared memory grow?
# make test-gpu, make bench-gpu  on a machine with an NVIDIA GPU, with the packages of $(GPU_PYTHON): docs/gpu.md
PYTHON ?= python3
GPU_PYTHON ?= $(PYTHON)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test check soak test-gpu bench-gpu clean

demo: $(VENV)/demo.installed
	$(BIN)/python tools/make_demo_clip.py out/demo.mp4
	$(BIN)/rtau process out/demo.mp4 --out out/aus.csv --overlay out/overlay.png --overwrite
	$(BIN)/python tools/show_table.py out/aus.csv

test: $(VENV)/test.installed
	$(BIN)/python -m pytest

check: $(VENV)/test.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

soak: $(VENV)/test.installed
	$(BIN)/python -m benchmarks.stream --soak 2

test-gpu:
	$(GPU_PYTHON) -m pytest -o filterwarnings=default -m needs_gpu -rs tests/rtau/gpu/test_on_gpu.py

bench-gpu:
	$(GPU_PYTHON) -m benchmarks.gpu --write docs/gpu.md

$(VENV)/demo.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[demo]'
	@touch $@

$(VENV)/test.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[train,demo,dev]'
	@touch $@

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rtau needs Python 3.11 or newer; try make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) out
