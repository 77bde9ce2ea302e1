# One environment of its own under .venv; every target builds it first when it is missing or out of date.
PYTHON ?= python3
SECONDS_DEFAULT = 180
BIN = .venv/bin
STAMP = .venv/.stamp

.DEFAULT_GOAL := help
.PHONY: help demo test swarm score targets soak bench-core bench-drivers bench-metrics bench-site test-systemd lint lock clean

help:
	@echo "make demo [SECONDS=180]   watch a simulated site follow its surplus; ends with report.json and report.html"
	@echo "make test                 the whole test suite"
	@echo "make swarm [SEEDS=20] [FIRST_SEED=1] [HARSH=1] [CONTINUE=1]   the control core against simulated physics in virtual time, one site per seed"
	@echo "make score [DAYS=n or dates] [TRACE=file.csv] [ONLY=ours]   the control on real regulation days, scored beside its baselines; hours"
	@echo "make targets [SEEDS=n] [ONLY=steps,shed]   first movement, activation, sheds, caps, ramps on 1,000 miners, 20 seeds; half an hour"
	@echo "make soak [HOURS=1]       the daemon with 300 simulated miners and faults: does it stay as it is?"
	@echo "make bench-core [SIZES=100,...,20000]   how long one step of the core takes, and what it remembers; a minute"
	@echo "make bench-drivers [MINERS=1000] [ROUNDS=5]   a mixed fleet to sleep: ours, pyasic, by hand; about eight minutes"
	@echo "make bench-metrics [MINERS=10000]   what a scrape costs the loop, with prometheus-client beside it; two minutes"
	@echo "make bench-site [MINERS=2000] [MINUTES=10]   the whole daemon beside real sockets: cycles, latency, sheds; half an hour"
	@echo "make test-systemd         the installed service under a real systemd, in a container; as root, about four minutes"
	@echo "make lint                 style, types and layer contracts"
	@echo "make lock                 pin the dependencies again"
	@echo "make clean                remove what was built here"

$(STAMP): pyproject.toml requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "curtaild needs Python 3.11 or newer; name one with PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "python3 -m venv failed. On Debian and Ubuntu: sudo apt-get install python3-venv"; rm -rf .venv; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@# As pip does with all else: the suite starts hundreds of processes, each of which would compile it anew.
	@$(BIN)/python -m compileall -q controller drivers simulators
	@touch $(STAMP)

# SECONDS on the command line sets the length. (A shell's own SECONDS is not exported, so it never leaks in.)
demo: $(STAMP)
	$(BIN)/curtaild-sim demo --seconds $(or $(SECONDS),$(SECONDS_DEFAULT)) --report report.json

test: $(STAMP)
	$(BIN)/python -m tests.rig.streams

swarm: $(STAMP)
	$(BIN)/python -m tests.rig.swarm --seeds $(or $(SEEDS),20) --first-seed $(or $(FIRST_SEED),1) $(if $(HARSH),--harsh) $(if $(CONTINUE),--continue)

# All 24 days beside six baselines take hours on two cores; DAYS=3 is a first look.
score: $(STAMP)
	$(BIN)/python -m tests.rig.score $(if $(DAYS),--days $(DAYS)) $(if $(TRACE),--trace $(TRACE)) $(if $(ONLY),--only $(ONLY))

targets: $(STAMP)
	$(BIN)/python -m tests.rig.targets $(if $(SEEDS),--seeds $(SEEDS)) $(if $(ONLY),--only $(ONLY))

soak: $(STAMP)
	$(BIN)/python -m tests.bench.soak --hours $(or $(HOURS),1)

bench-core: $(STAMP)
	$(BIN)/python -m tests.bench.bench_core $(if $(SIZES),--sizes $(SIZES))

bench-drivers: $(STAMP)
	$(BIN)/python -m tests.bench.bench_drivers --miners $(or $(MINERS),1000) --rounds $(or $(ROUNDS),5)

bench-metrics: $(STAMP)
	$(BIN)/python -m tests.bench.bench_metrics --miners $(or $(MINERS),10000) --rounds $(or $(ROUNDS),20)

bench-site: $(STAMP)
	$(BIN)/python -m tests.bench.bench_site --miners $(or $(MINERS),2000) --minutes $(or $(MINUTES),10)

# Three to five minutes, and a Debian of 260 MB under build/nspawn that is built once.
test-systemd: $(STAMP)
	$(BIN)/python -m tests.nspawn

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock: $(STAMP)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --extra dev pyproject.toml -o requirements/dev.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml -o requirements/run.txt
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header - -o requirements/build.txt

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
