# make quickstart: set up and run the main job on real faces.   make test: set up and pass the checks CI runs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: quickstart test docs slow clean

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "orthodrome needs Python 3.11 or newer; try: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

quickstart: $(VENV)/ready
	$(BIN)/orthodrome quickstart

test: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadfile

slow: $(VENV)/ready
	$(BIN)/pytest -m slow

docs: $(VENV)/ready
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) site build dist
