# One command surface. `make demo` and `make test` are all that a newcomer needs.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
ARGS   ?=
SEEDS  ?= 1000
# Many tests wait for a broker or a session to end: one process more than there are cores.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

.PHONY: setup demo test peers check bench simulate soak schemas clean

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(STAMP)

setup: $(STAMP)

demo: setup
	$(BIN)/lastseen demo $(ARGS)

test: setup
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

# Real clients for tests/peers, into .cache: two to four minutes for the first time on a machine, then seconds.
peers: setup
	$(BIN)/python -m tests.peers.install

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python -m tests.bench $(ARGS)

# Workers, log, store, sources and clock driven by one seed each; SEEDS=10000 for all of them.
simulate: setup
	$(BIN)/python -m tests.simulation --seeds $(SEEDS) $(ARGS)

# An hour of load with a fault every minute; not in CI. ARGS="--minutes 5" for a try.
soak: setup
	$(BIN)/python -m tests.soak --minutes 60 $(ARGS)

schemas: setup
	$(BIN)/python -m schemas.generate

clean:
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .lastseen
