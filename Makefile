PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

# All but packages' own files, whose public names are imported on first use.
MODULES = $(subst /,.,$(basename $(wildcard $(patsubst %,%/[a-z]*.py,theory theory/* ssd_models ssd_models/*))))

.PHONY: help demo test check docs bench figures clean

help:
	@echo "make demo     set up, then derive, train and sample on built-in letters (runs/demo); trains three minutes"
	@echo "make test     set up, then lint, check types and run every test"
	@echo "make docs     build the API reference from the docstrings (build/docs)"
	@echo "make bench    print the performance table and write it to runs/bench, about five minutes"
	@echo "make figures  draw what lies in figures/ again, about two minutes"
	@echo "make clean    remove the environment and all caches"

# The stamp is younger than pyproject.toml exactly while the environment fits it.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12 ..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@

demo: $(VENV)/.installed
	$(BIN)/ssd demo -o runs/demo

# One process a core, each of one thread: the slowest files, the notebooks, come first.
test: check docs
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder

check: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(VENV)/.installed
	$(BIN)/pdoc --docformat numpy --math -o build/docs $(MODULES)

bench: $(VENV)/.installed
	$(BIN)/ssd bench all -o runs/bench

figures: $(VENV)/.installed
	set -e; for script in $(filter-out figures/style.py figures/measured.py,$(wildcard figures/*.py)); do \
		echo $$script; $(BIN)/python $$script; done

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache
