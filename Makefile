# Every target works in a fresh clone: it needs Python 3.11, make and a package registry.
VENV ?= .venv
DATA_DIR ?= var
HOST ?= 127.0.0.1
PORT ?= 8000
BIN := $(VENV)/bin
MANAGE = WORKQUEUE_DATA_DIR=$(abspath $(DATA_DIR)) SECRET_KEY="$$(cat $(DATA_DIR)/secret_key)" $(BIN)/python manage.py

CHECKING = SECRET_KEY=check WORKQUEUE_DATA_DIR=$(VENV)/check

.PHONY: help run demo test check screenshots chaos restarts stateful schemathesis storm simulation bench recovery manage format clean
.DELETE_ON_ERROR:

help:
	@echo "make run     start the server on http://$(HOST):$(PORT) (SQLite under $(DATA_DIR)/)"
	@echo "make demo    workers, real tasks, one worker killed half-way; ends by itself"
	@echo "make test    all tests, on SQLite and on real PostgreSQL and Redis"
	@echo "make check   formatting, lint, types, import layers, migrations"
	@echo "make format  mends what of these can be mended by a program"
	@echo "make screenshots  the pictures in docs/images, made anew by the browser's tests"
	@echo "make chaos   five minutes of faults, an audit; outages and silences as long as is promised"
	@echo "make restarts  a thousand restarts of servers and workers at random moments, and what became of every task"
	@echo "make stateful  a thousand random lives of a queue against a model of the contract, on both databases"
	@echo "make schemathesis  thousands of requests made up from the OpenAPI document, valid and not, to a real server"
	@echo "make storm   a million operations on the same few rows at once, on PostgreSQL"
	@echo "make simulation   50000 seeded schedules of crashes and losses (SIMULATION_SCHEDULES=n SIMULATION_FIRST=n)"
	@echo 'make bench   benchmarks: ratios measured in one run, 45 minutes (ARGS="--quick": minutes; ARGS="--help")'
	@echo "make recovery   how soon work goes on after something dies, each time beside its limit"
	@echo 'make manage ARGS="create_api_key me --role producer"    any command of manage.py'
	@echo "make clean   removes the environments, and all that is kept under $(DATA_DIR)/"

run: $(VENV)/runtime $(DATA_DIR)/secret_key
	@$(MANAGE) migrate --verbosity 0
	@echo 'Keys:  make manage ARGS="create_api_key NAME --role producer|worker|operator"'
	@echo 'Admin: make manage ARGS="createsuperuser"   then   http://$(HOST):$(PORT)/admin/'
	@$(MANAGE) serve --host $(HOST) --port $(PORT)

demo: $(VENV)/runtime
	@$(BIN)/python examples/demo.py

test: $(VENV)/development
	@status=0; \
	for database in sqlite postgresql; do \
		echo "Tests on $$database:"; \
		$(BIN)/python -m pytest -n auto --dist worksteal -q --durations=15 --database=$$database $(ARGS) || \
			{ [ $$? = 5 ] && [ -n "$(ARGS)" ]; } || status=1; \
	done; \
	exit $$status

check: $(VENV)/development
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(CHECKING) $(BIN)/mypy
	@$(CHECKING) $(BIN)/python -W error manage.py makemigrations --check --dry-run
	@$(CHECKING) $(BIN)/python -W error manage.py check --fail-level WARNING

screenshots: $(VENV)/development
	@SCREENSHOTS=1 $(BIN)/python -m pytest -q --database=postgresql tests/browser -k pictures $(ARGS)

chaos: $(VENV)/development
	@CHAOS_SECONDS=300 $(BIN)/python -m pytest -q --database=postgresql --long \
		tests/chaos tests/acceptance/test_recovery.py tests/acceptance/test_outages.py $(ARGS)

restarts: $(VENV)/development
	@RESTARTS=$${RESTARTS:-1000} $(BIN)/python -m pytest -q --database=postgresql tests/acceptance/test_restarts.py $(ARGS)
	@RESTARTS=$${RESTARTS:-100} $(BIN)/python -m pytest -q --database=sqlite tests/acceptance/test_restarts.py $(ARGS)

stateful: $(VENV)/development
	@STATEFUL_EXAMPLES=1000 STATEFUL_STEPS=50 $(BIN)/python -m pytest -q --database=sqlite tests/stateful $(ARGS)
	@STATEFUL_EXAMPLES=300 STATEFUL_STEPS=50 $(BIN)/python -m pytest -q --database=postgresql tests/stateful $(ARGS)

schemathesis: $(VENV)/development
	@SCHEMATHESIS_EXAMPLES=$${SCHEMATHESIS_EXAMPLES:-300} $(BIN)/python -m pytest -q --database=postgresql \
		tests/acceptance/test_schemathesis.py $(ARGS)

storm: $(VENV)/development
	@STORM_OPERATIONS=1000000 $(BIN)/python -m pytest -q -s --database=postgresql tests/concurrency/test_storm.py $(ARGS)

simulation: $(VENV)/development
	@SIMULATION_SCHEDULES=$${SIMULATION_SCHEDULES:-50000} SIMULATION_SMALL=$${SIMULATION_SMALL:-20} \
		$(BIN)/python -m pytest -n auto -q tests/simulation $(ARGS)

bench: $(VENV)/runtime $(VENV)-bench/installed
	@$(VENV)-bench/bin/python -m benchmarks.run --python $(abspath $(BIN)/python) $(ARGS)

recovery: $(VENV)/development
	@$(BIN)/python -m benchmarks.recovery

manage: $(VENV)/runtime $(DATA_DIR)/secret_key
	@$(MANAGE) $(ARGS)

format: $(VENV)/development
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(VENV)-bench $(DATA_DIR)

$(DATA_DIR)/secret_key: | $(VENV)/runtime
	@mkdir -p $(DATA_DIR)
	@umask 077; $(BIN)/python -c "import secrets; print(secrets.token_urlsafe(50))" > $@

$(VENV)/runtime: requirements.txt
	@.ci/venv $(VENV) requirements.txt
	@touch $@

$(VENV)/development: requirements-dev.txt requirements.txt benchmarks/requirements-load.txt
	@.ci/venv $(VENV) requirements-dev.txt
	@touch $@ $(VENV)/runtime

# Of its own: the server's has nothing of the load or of the other queues in it.
$(VENV)-bench/installed: benchmarks/requirements.txt benchmarks/requirements-load.txt
	@.ci/venv $(VENV)-bench benchmarks/requirements.txt
	@touch $@
