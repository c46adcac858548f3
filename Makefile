# Everything runs in .venv, which any target makes when it is needed.
PYTHON ?= python3
BIN := .venv/bin
DEMO := build/demo

.PHONY: demo test soak check format bench clean

# The stamp is newer than what it was made from, so a second run costs nothing.
.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=24"
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

demo: .venv/installed
	$(BIN)/python -W ignore -m tests.demo $(DEMO)

test: .venv/installed
	$(BIN)/python -m pytest -n auto

# What takes minutes: many runs at once for long, folders of 200,000 files, thousands of damaged pictures.
soak: .venv/installed
	$(BIN)/python -m pytest -m soak

check: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The quick ones; the scripts' own --help says what they take at full size.
bench: .venv/installed
	for script in query_by_size filtered_query many_queries no_change indexing moved matrix_candidates startup; do \
		$(BIN)/python benchmarks/$$script.py --quick || exit; echo; \
	done

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
