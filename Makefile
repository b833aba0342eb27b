# Two commands for everyone: `make demo` and `make test`. Each sets up what it needs in .venv first.

PYTHON ?= python3
BIN := .venv/bin
SET_UP := .venv/.set-up

.PHONY: demo test check format docs study benchmarks clean

demo: $(SET_UP)
	$(BIN)/limbeck demo

test: check

check: $(SET_UP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile

format: $(SET_UP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Write the generated pages of docs/ again.
docs: $(SET_UP)
	$(BIN)/python docs/generate.py

benchmarks: $(SET_UP)
	$(BIN)/python benchmarks/step.py
	$(BIN)/python benchmarks/metrics.py
	$(BIN)/python benchmarks/memory.py step
	$(BIN)/python benchmarks/memory.py replay
	$(BIN)/python benchmarks/online.py
	$(BIN)/python benchmarks/matching.py
	$(BIN)/python benchmarks/translation.py
	$(BIN)/python benchmarks/detection.py

clean:
	rm -rf .venv build dist *.egg-info

# The marker names what was installed: a change of either file sets up again.
$(SET_UP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Limbeck needs Python 3.11 or newer; this is $$($(PYTHON) --version). Try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv || { echo "making .venv failed; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip setuptools
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
