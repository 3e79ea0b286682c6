# make demo   set-up and the main job on a generated clip of a real face
# make test   set-up and all tests
# make check  style, types, import directions
# make soak   two minutes of everything that comes and goes: does memory, handles or shared memory grow?
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test check soak clean

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
