# Everything needs `make` and Python 3.11 or newer; each target makes the virtual environment itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=
WORKERS ?= 2

.PHONY: run demo test lint proof soak bench eval eval-embedded clean

run: $(READY)            ## bring the whole system up on simulated sites (ARGS="--sites 48 --speed 10")
	@$(BIN)/cellwatt up $(ARGS)

demo: $(READY)           ## one evening peak, from forecast to report, without a screen (ARGS="--json demo.json")
	@$(BIN)/cellwatt demo $(ARGS)

test: $(READY) services lint  ## every check in its small form
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup -m "not proof and not e2e and not browser" $(ARGS)
	$(BIN)/pytest -m "(e2e or browser) and not proof" $(ARGS)

lint: $(READY)           ## style, types, imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

proof: $(READY) services ## the full forms of the proofs and every benchmark; writes benchmarks/results.json
	@status=0; \
	$(BIN)/cellwatt bench all --json benchmarks/results.json $(ARGS) || status=1; \
	$(BIN)/pytest -m proof; case $$? in 0) ;; 5) echo "no test is marked proof" ;; *) status=1 ;; esac; \
	exit $$status

bench: $(READY) services ## one benchmark: make bench NAME=dispatch
	$(BIN)/cellwatt bench $(NAME) $(ARGS)

soak: $(READY) services  ## long runs: a gateway's hour twice, two thousand gateways, a fleet cut off for a day
	$(BIN)/cellwatt bench all --only edge-hour,gateway-hour,edge-many,edge-cut --json benchmarks/results.json $(ARGS)

eval: $(READY)           ## score the agent on the committed cases
	$(BIN)/cellwatt eval agent $(ARGS)

eval-embedded: $(READY)  ## score the embedded model, and attack it: 15 minutes on two idle cores; fetches 1.1 GB once
	@$(BIN)/cellwatt llm install
	$(BIN)/cellwatt llm serve $(BIN)/cellwatt eval agent --model embedded --results benchmarks/results.json $(ARGS)
	$(BIN)/cellwatt llm serve $(BIN)/cellwatt eval attacks --model embedded --results benchmarks/results.json $(ARGS)

# As root this installs mosquitto (and chromium for the browser tests); otherwise it says what is missing.
.PHONY: services
services:
	@sh deploy/install-services.sh

$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing what the project needs (about two minutes, 1.5 GB)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[cloud,dev]'
	@touch $(READY)

clean:                   ## forget the virtual environment and the local installation
	rm -rf $(VENV) .cellwatt
