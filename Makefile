# make compress [SOURCE=… DEST=… PROFILE=…]   install requirements, then compress (default: a sample archive)
# make test                                   install requirements, then run the tests
# make server [PORT=4200]                     start a local Prefect server with its UI, to try schedules
# make worker SOURCE=… DEST=… [CRON=…]        register the deployments with it and run those that are due
# make app [PORT=8501]                        open the window: try a scan, look through a finished run
# make proofs                                 run longer tests: training, kills, network faults, unusual files
# make torture                                inject faults for an hour or two; write docs/reliability.md
# make pythons                                install under Python 3.12 and 3.13, if present, and compress a sample
# make lint                                   check formatting, types and import directions
# make format                                 fix formatting
# make setup                                  only install, for running, testing and checking
# make clean                                  remove caches and the sample archive; `make distclean` .venv too

PROFILE ?= access
SAMPLE := $(if $(SOURCE)$(DEST),,sample)
export SOURCE DEST PROFILE PYTHON PORT CRON
# One thread per Tesseract: several pages are read at once, and more threads only slow it down.
export OMP_THREAD_LIMIT := 1
export TF_CPP_MIN_LOG_LEVEL := 2

BIN := .venv/bin
CODE := foliopress/__init__.py foliopress/__main__.py configs tasks model flows deployments app scripts benchmarks tests

.PHONY: help compress sample server worker app test proofs torture pythons lint format setup clean distclean

help:
	@sed -n 's/^# make /make /p' Makefile

compress: $(SAMPLE)
ifneq ($(SAMPLE),)
	@SOURCE=sample/source DEST=sample/compressed scripts/compress.sh
else
	@scripts/compress.sh
endif

sample:
	@scripts/setup.sh run
	@test -d sample/source || { \
		echo "Generating a sample archive of scans in sample/source"; \
		rm -rf sample/partial && $(BIN)/foliopress sample sample/partial && mv sample/partial sample/source; }

server worker:
	@scripts/prefect.sh $@

app:
	@scripts/setup.sh app
	$(BIN)/foliopress app $(if $(PORT),--port $(PORT))

test:
	@scripts/setup.sh test
	$(BIN)/python -m pytest -q -m "not slow and not long" -n 2 --dist worksteal

proofs:
	@scripts/setup.sh test
	$(BIN)/python -m pytest -q -m "long and not slow" -n 2 --dist worksteal

torture:
	@scripts/setup.sh test
	@rm -f docs/reliability.json
	FOLIOPRESS_TORTURE=1 FOLIOPRESS_RELIABILITY=docs/reliability.json \
	$(BIN)/python -m pytest -q -m promise -n 2 --dist worksteal tests; \
	code=$$?; $(BIN)/python scripts/reliability.py docs/reliability.json docs/reliability.md && exit $$code

pythons:
	@scripts/other_pythons.sh

lint:
	@scripts/setup.sh lint
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports

format:
	@scripts/setup.sh lint
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

setup:
	@scripts/setup.sh test

clean:
	rm -rf sample build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf .venv
