# make demo     set up, load the data, serve the demo
# make test     set up, check everything
# make explore  ten minutes of interleavings; make mutants: which changes no test sees
# make fuzz     every parser and matcher under a fuzzer, a minute each
# make bench    what a hit costs, under web servers and called directly: most of an hour.
#               make bench BENCH=--quick is a glance
# Both need Python 3.11 or newer and make; nothing else has to be there.

PYTHON ?= python3
VENV   ?= .venv
PORT   ?= 8000
BIN    := $(VENV)/bin

.PHONY: demo test coverage explore mutants fuzz lint bench clean

demo: $(VENV)/.demo
	@$(BIN)/python -m demo_app --port $(PORT)

# Two at a time; who measures or fills the machine has it for itself afterwards. Tests stay beside
# their neighbours, who share servers with them, until one of the two has nothing left to do.
test: lint parts
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m "not alone"
	@$(BIN)/python -m pytest -m alone

# Without the tests that interrupt and fork at any moment: the tracer has a lock of its own, which
# they would leave closed behind them.
coverage: $(VENV)/.test parts
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -m "not untraced" --ignore tests/coherence
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage report --fail-under=90

# As many interleavings of the real engine as ten minutes hold, instead of those in `make test`.
explore: $(VENV)/.test parts
	@PAGEGEN_EXPLORER_SECONDS=600 $(BIN)/python -m pytest tests/explorer/test_worlds.py -rP

# Groups are law and engine. The tool is in no extra but its own: it is wanted once in a while.
MUTANTS ?= law
mutants: $(VENV)/.test
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[mutants]"
	@rm -rf mutants
	@$(BIN)/python -m tests.mutants $(MUTANTS) run --max-children 2
	@$(BIN)/python -m tests.mutants $(MUTANTS) results

# Every target for a minute, or some for longer: make fuzz TARGETS="plans paths" FUZZ_SECONDS=600.
# What it finds stands in .fuzz/, with the command that tries it again.
FUZZ_SECONDS ?= 60
fuzz: $(VENV)/.test
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[fuzz]"
	@$(BIN)/python -m tests.security.fuzz --seconds $(FUZZ_SECONDS) $(TARGETS)

lint: $(VENV)/.test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# In an environment of its own, for the tests' one has more in it than anybody would serve with.
# Without nginx and the like it says what it missed; without wrk there is nothing to measure with.
VENV_BENCH ?= .venv-bench
BENCH      ?=
bench: $(VENV_BENCH)/.bench
	@$(MAKE) --silent bench-parts || true
	@$(VENV_BENCH)/bin/python -m benchmarks.web.environments
	@$(VENV_BENCH)/bin/python -m benchmarks.web --direct --json benchmarks/results/latest.json \
		--plot benchmarks/results/latest $(BENCH)

# What forgetting a group costs, here and elsewhere: a quarter of an hour.
groups: $(VENV_BENCH)/.bench
	@$(MAKE) --silent bench-parts || true
	@$(VENV_BENCH)/bin/python -m benchmarks.web.environments
	@$(VENV_BENCH)/bin/python -m benchmarks.peers.groups $(BENCH)

# The demo under the requests of a real site, with the cache and without.
replay: $(VENV)/.test
	@$(BIN)/python -m benchmarks.replay $(BENCH)

$(VENV)/bin/python $(VENV_BENCH)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "pagegen needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	@echo "Making $(@:/bin/python=) …"
	@$(PYTHON) -m venv $(@:/bin/python=)

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml
	@echo "Installing what the demo needs …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[demo]"
	@touch $@

$(VENV)/.test: $(VENV)/bin/python pyproject.toml
	@echo "Installing what the tests need …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test]"
	@touch $@

$(VENV_BENCH)/.bench: $(VENV_BENCH)/bin/python pyproject.toml
	@echo "Installing what the benchmark needs …"
	@$(VENV_BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[bench]"
	@touch $@

# The tests run against real parts, Debian's packages: installed where that is allowed, asked for
# otherwise. CHROMIUM may be the path of a Chromium or Chrome that is there.
BENCH_PARTS := memcached:memcached redis-server:redis-server nginx:nginx varnishd:varnish wrk:wrk
TEST_PARTS  := $(BENCH_PARTS) chromium:chromium curl:curl initdb:postgresql
.PHONY: parts bench-parts
parts: NEEDED := $(TEST_PARTS)
bench-parts: NEEDED := $(BENCH_PARTS)
parts bench-parts:
	@missing=; \
	for part in $(NEEDED); do \
		[ "$$part" = chromium:chromium ] && [ -n "$$CHROMIUM" ] && continue; \
		PATH="$$PATH:/usr/sbin:$$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -n 1)" \
			command -v $${part%%:*} >/dev/null 2>&1 || missing="$$missing $${part##*:}"; \
	done; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		echo "Installing$$missing …"; \
		apt-get update -qq >/dev/null && \
		DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq $$missing >/dev/null 2>&1 \
			&& exit 0; \
	fi; \
	echo "This needs programs that are not here. Run: sudo apt-get install$$missing"; \
	exit 1

clean:
	rm -rf $(VENV) $(VENV_BENCH) $(VENV_BENCH)-* .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache .fuzz build mutants
