PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: install quickstart test check lint format slow clean

install: $(VENV)/.installed  ## make .venv with the tested versions and this package in it

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip setuptools -c constraints.txt
	# torch first: the pinned build, or else a later package would bring its own choice
	$(BIN)/python -m pip install --quiet torch -c constraints.txt
	$(BIN)/python -m pip install --quiet -e ".[dev]" -c constraints.txt
	touch $@

quickstart: install  ## tokenizer, pretraining, fine-tuning and predictions on the data that ships, in four minutes
	$(BIN)/electra-plus quickstart

# tiny models gain nothing from a second thread, but a great deal from a second process; what a file makes once stays in one
test: install lint  ## lint, format and the default tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n logical --dist loadfile

check: test

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

slow: install  ## the tests that the default run leaves out: slow, several processes, package index
	$(BIN)/python -m pip install --quiet -e ".[quantize]" -c constraints.txt
	$(BIN)/python -m pytest -q -m "slow or network or multiprocess"

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache
