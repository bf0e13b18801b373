# What people do with a checkout. `make help` lists it; everything it starts is kept below $ISARD_DATA (./data).

SHELL := /bin/sh
PYTHON := .venv/bin/python
SETTINGS = ISARD_DATA ISARD_HOST ISARD_WEB_PORT ISARD_DB_PORT ISARD_SSH_PORT ISARD_VIEWER_PORT
export $(SETTINGS) ISARD_ADMIN_PASSWORD
PYTEST = $(PYTHON) -m pytest

.DEFAULT_GOAL := help
.PHONY: help setup run stop status logs password purge setup-test lint format test test-compose test-long bench

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what `make run` needs (it does so by itself)
	@local/setup.sh run

run: setup ## start everything on this machine, wait until it is up, print where to go
	@$(PYTHON) -m local start

stop: ## shut the desktops down and stop all that `make run` started
	@$(PYTHON) -m local stop

status: ## what runs
	@$(PYTHON) -m local status

logs: ## follow all logs
	@$(PYTHON) -m local logs

password: ## set a new password for admin
	@$(PYTHON) -m local password

purge: ## remove the data folder (asks first; YES=1 does not)
	@$(PYTHON) -m local purge

setup-test:
	@local/setup.sh test

lint: setup-test ## style, types, and the walls between the parts
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	.venv/bin/lint-imports

format: setup-test ## put the code in our format
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

test: lint ## every check and every test but the long ones
	$(PYTEST) -m "not long"

test-compose: setup-test ## the container stack: builds every image, starts it, breaks it
	$(PYTEST) tests/compose

test-long: setup-test ## the tests that take minutes to hours
	$(PYTEST) -m long

bench: setup-test ## where the time from click to running goes
	$(PYTHON) -m tests.bench
