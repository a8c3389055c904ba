# Two commands do all the set-up: `make demo` and `make test`. Everything they make lies in .venv and in caches.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
DEMO_RESULTS := results
SIM := contrib/playbook-sim-engine
MORE := $(filter-out $(SIM),$(patsubst %/pyproject.toml,%,$(wildcard contrib/*/pyproject.toml)))

.PHONY: demo test unit lint docs setup clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# pip is asked again only when a list of dependencies or of entry points changed, or when the clone was moved.
$(STAMP): pyproject.toml $(SIM)/pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e . -e $(SIM)
	@touch $@

$(VENV)/.stamp-dev: $(STAMP) $(MORE:=/pyproject.toml)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "pip>=25.1"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group dev $(addprefix -e ,$(MORE))
	@touch $@

demo: $(STAMP)
	@$(BIN)/playbook-kernel run --all

lint: $(VENV)/.stamp-dev
	$(BIN)/ruff check -q .
	$(BIN)/ruff format -q --check .
	$(BIN)/mypy
	@for package in $(MORE); do (cd $$package && ../../$(BIN)/mypy) || exit 1; done
	$(BIN)/lint-imports --no-cache

# The pages as a site, in build/docs; a link or heading that is not there is an error.
docs: $(VENV)/.stamp-dev
	$(BIN)/python docs/reference.py
	$(BIN)/sphinx-build -q -W --keep-going -b html docs build/docs
	@echo build/docs/index.html

# Unit tests alone: no root, no network, no packages to install.
unit: $(VENV)/.stamp-dev
	$(BIN)/pytest -q tests/kernel tests/cli

# Most tests wait, so three at once keep two cores busy.
test: $(VENV)/.stamp-dev
	$(BIN)/python -m tests.setup
	@$(MAKE) --no-print-directory lint
	@$(BIN)/pytest -q -n 3 --dist loadscope --no-loadscope-reorder || { \
	  echo "Once more, alone: what passes now fails beside others only, which is a defect too." >&2; \
	  $(BIN)/pytest -q --last-failed --last-failed-no-failures none; }

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
