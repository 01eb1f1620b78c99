# One door. `make demo` and `make test` work in a fresh clone with Python 3.11 or 3.12, pip and make.
PYTHON ?= $(shell for p in python3.12 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3,11) <= sys.version_info[:2] <= (3,12))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
ARGS ?=
CASES ?= 100000
ROUNDS ?= 20
RESPONSES ?= 100000
SEED ?=
FUZZ ?= 20

.PHONY: $(shell sed -nE 's/^([a-z-]+):.*/\1/p' $(firstword $(MAKEFILE_LIST)))

help: ## what can be done here
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 22

setup: .venv/.ready ## a virtual environment with everything, at .venv

.venv/.ready: requirements-dev.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Tocsin needs Python 3.11 or 3.12 (Bytewax has no wheel past 3.12); name one with PYTHON=/path/to/python3.12" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup ## sample feedback through everything, live (ARGS="--seconds 15" ends by itself)
	@$(BIN)/tocsin demo $(ARGS)

test: setup ## the tests
	$(BIN)/python -m tests.halves $(ARGS)

test-kafka: setup ## the Kafka tests, against an Apache Kafka that they start; fetches its jars, and a JVM where there is none
	$(BIN)/python -m tests.kafka.parts
	$(BIN)/pytest -m kafka $(ARGS)

test-watch: setup ## rules, dashboards and alerts against Prometheus and Alertmanager, fetched from Debian, on a live Tocsin
	$(BIN)/python -m tests.watch.parts
	$(BIN)/pytest tests/watch -m 'watch or not watch' $(ARGS)

check: setup ## ruff, mypy strict, the architecture test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest tests/test_architecture.py

check-kubernetes: ## deploy/kubernetes against the schemas of the Kubernetes API; fetches a validator into build/
	@test -x build/kubernetes/bin/kubernetes-validate || { $(PYTHON) -m venv build/kubernetes && build/kubernetes/bin/pip install -q --disable-pip-version-check kubernetes-validate==1.37.0; }
	build/kubernetes/bin/kubernetes-validate --strict $(filter-out %/kustomization.yaml %/tocsin.yaml,$(wildcard deploy/kubernetes/*.yaml))

fuzz: fuzz-door ## hostile input: decoders, rule files and the door FUZZ times as hard as the tests do, and schemathesis on the door's own page
	FUZZ=$(FUZZ) $(BIN)/pytest -n 2 tests/feedback/test_decode.py tests/rules/test_hostile.py tests/flows/test_capture_fuzz.py

fuzz-door: setup ## schemathesis, fetched into build/, on the door's OpenAPI page
	@test -x build/fuzz/bin/schemathesis || { $(PYTHON) -m venv build/fuzz && build/fuzz/bin/pip install -q --disable-pip-version-check schemathesis==4.32.5; }
	$(BIN)/python -m tests.openapi_fuzz --examples $$((10 * $(FUZZ)))

storm: setup ## kill -9 engine, deliveries and Redis under load, ROUNDS times; nothing lost, nothing double (SEED=n repeats a plan)
	$(BIN)/python -m tests.storm --rounds $(ROUNDS) $(if $(SEED),--seed $(SEED))

storm-kafka: setup ## the same with responses by Apache Kafka, whose broker is killed too
	$(BIN)/python -m tests.kafka.parts
	$(BIN)/python -m tests.storm --kafka --rounds $(ROUNDS) $(if $(SEED),--seed $(SEED))

bench-latency: setup ## arrival to readable in Redis, beside CASES open cases
	$(BIN)/python -m benchmarks.bench_latency --cases $(CASES) $(ARGS)

bench-clocks: setup ## 100,000 clocks due in one second beside CASES armed ones, and how late each is called
	$(BIN)/python -m benchmarks.bench_clocks --cases $(CASES) $(ARGS)

bench-resume: setup ## kill -9 with CASES open cases: time to the first event, memory a case, a clean stop
	$(BIN)/python -m benchmarks.bench_resume --cases $(CASES) $(ARGS)

bench-peers: setup ## the same job in Quix Streams, Faust, PyFlink, plain Bytewax and ours, on Apache Kafka
	$(BIN)/python -m benchmarks.bench_peers $(ARGS)

bench-scale: setup ## one engine process and two on Apache Kafka, beside one and two bare scoring loops
	$(BIN)/python -m benchmarks.bench_scale $(ARGS)

bench-deliveries: setup ## 10,000 events waiting, half of the endpoints hanging: what that costs the others
	$(BIN)/python -m benchmarks.bench_deliveries $(ARGS)

bench-ingest: setup ## HTTP to readable in Redis, beside a bare server that only appends
	$(BIN)/python -m benchmarks.bench_ingest $(ARGS)

bench-throughput: setup ## responses a second on one core, as a share of bare vaderSentiment
	$(BIN)/python -m benchmarks.bench_throughput

bench-replay: setup ## responses a second of virtual time, as a share of bare vaderSentiment
	$(BIN)/python -m benchmarks.bench_replay --responses $(RESPONSES)

bench-quality: setup ## how often the reading is right, and its cost, on the CSVs of DATA
	$(BIN)/python -m benchmarks.bench_quality "$(DATA)" $(ARGS)

bench-spikes: setup ## what it costs to watch themes for change, as a share of vaderSentiment
	$(BIN)/python -m benchmarks.bench_spikes

bench-rules: setup ## a response judged by 10, 100 and 1,000 rules; a step of a window beside 100,000 live keys
	$(BIN)/python -m benchmarks.bench_rules

bench: setup ## every benchmark that needs no data and no other engine
	@for b in $(filter-out %/bench_quality.py %/bench_peers.py %/bench_scale.py,$(wildcard benchmarks/bench_*.py)); do echo "== $$b"; $(BIN)/python -m benchmarks.$$(basename $$b .py) || exit 1; done

LOCKED = build/lock/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade pyproject.toml -

build/lock/bin/uv:
	$(PYTHON) -m venv build/lock && build/lock/bin/pip install -q --disable-pip-version-check uv==0.13.9

lock: build/lock/bin/uv ## resolve the dependencies afresh, with hashes: requirements.lock to run, requirements-dev.lock for everything
	echo 'setuptools>=77' | $(LOCKED) --extra dev -o requirements-dev.lock
	echo 'setuptools>=77' | $(LOCKED) -c requirements-dev.lock -o requirements.lock

audit: ## ask the Python advisory database about every locked package; needs a network that reaches pypi.org
	@test -x build/audit/bin/pip-audit || { $(PYTHON) -m venv build/audit && build/audit/bin/pip install -q --disable-pip-version-check pip-audit==2.10.1; }
	build/audit/bin/pip-audit --strict --disable-pip --require-hashes -r requirements-dev.lock

pin: setup ## digests for the base images of docker-compose.yml and deploy/, from their registries
	$(BIN)/python deploy/pin.py

clean: ## remove what the targets made
	rm -rf .venv .tocsin .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
