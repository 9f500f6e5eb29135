# Two commands matter: `make run` and `make test`. `make help` lists the rest.
# Each sets up what it needs: .venv with the pinned packages, front-end assets, migrations.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

BIN := .venv/bin
PY := $(BIN)/python
FLASK := $(BIN)/flask --app wsgi
COMPOSE ?= docker compose
# Its own project, so that these servers and those of a deployment on the same machine never meet.
SERVICES := PUBLIC_URL=http://127.0.0.1:8000 ADMIN_EMAIL=nobody@example.org $(COMPOSE) --project-name holdfast-dev \
  --file docker-compose.yml --file deploy/services.yml
IMAGE ?= holdfast
# Two cores are common on build machines; `make test JOBS=8` uses more, `JOBS=0` runs in one process.
JOBS ?= 2
# What to run, and how: make test TESTS=tests/test_files_upload.py ARGS=-x
TESTS ?=
ARGS ?=
PYTEST := $(PY) -m pytest $(TESTS) $(ARGS)
WORDS := $(shell find templates static/css static/js translations \( -name '*.html' -o -name '*.css' -o -name '*.js' -o -name '*.po' \) 2>/dev/null)
SOURCES := webapp tasks samples wsgi.py assets.py

.PHONY: help
help: ## List these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-18s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# Run ------------------------------------------------------------------------------------------------------------------

.PHONY: run
run: .venv/.runs static/vendor/.built ## Start the vault at http://127.0.0.1:8000 (HOST, PORT, and the URLs of servers, if any)
	@exec $(PY) -m tasks.serve

.PHONY: seed
seed: .venv/.tests ## Make a demo workspace of several users (FROM=dir takes the files from there)
	@$(FLASK) db upgrade
	@$(FLASK) seed $(if $(FROM),--from "$(FROM)")

.PHONY: reset
reset: .venv/.runs ## Delete all data of the configured database and store, then migrate
	@$(FLASK) reset

.PHONY: migrate
migrate: .venv/.runs ## Bring the database to the newest revision
	@$(FLASK) db upgrade

.PHONY: revert
revert: .venv/.runs ## Take the newest revision back
	@$(FLASK) db downgrade

.PHONY: migration
migration: .venv/.runs ## Write a revision from the models: make migration m="add tags"
	@test -n "$(m)" || { echo 'Say what it does: make migration m="add tags"' >&2; exit 2; }
	@$(FLASK) db migrate -m "$(m)"

.PHONY: migration-status
migration-status: .venv/.runs ## Show the database's revision and those still to come
	@$(FLASK) db current
	@$(FLASK) db history --indicate-current

# Prove ----------------------------------------------------------------------------------------------------------------

.PHONY: test
test: .venv/.tests static/vendor/.built ## Run every test but chaos (REQUIRE_SERVICES=1 forbids skips; TESTS=, ARGS=, JOBS=)
	@$(PYTEST) -n $(JOBS) --dist loadfile

.PHONY: e2e
e2e: .venv/.tests static/vendor/.built ## Run the browser tests alone
	@$(PYTEST) -m browser

.PHONY: chaos
chaos: .venv/.tests static/vendor/.built ## Run the long fault tests and print what they saw (CHAOS_SEED=, CHAOS_SECONDS=600, TESTS=)
	@$(PYTEST) -m chaos --capture=no

.PHONY: coverage
coverage: .venv/.tests static/vendor/.built ## Run the tests and fail under 85 % of lines (report in htmlcov/)
	@rm -rf var/coverage && mkdir -p var/coverage
	@$(PY) -m coverage run -m pytest $(TESTS) $(ARGS) -n $(JOBS) --dist loadfile
	@$(PY) -m coverage combine --quiet
	@$(PY) -m coverage html --quiet --fail-under=0
	@$(PY) -m coverage report

.PHONY: bench
bench: .venv/.tests static/vendor/.built ## Measure speed as ratios against a bare probe, as JSON
	@$(PY) -m bench $(ARGS)

.PHONY: screenshots
screenshots: .venv/.tests static/vendor/.built ## Photograph every page: light, dark, desktop, tablet, phone
	@$(PY) -m tests.screenshots $(ARGS)

.PHONY: lint
lint: format-check ## Check style, import directions, templates, dependencies and security
	@$(BIN)/lint-imports --no-logo --cache-dir var/import-linter
	@$(BIN)/djlint templates --lint --quiet
	@$(BIN)/deptry .
	@$(BIN)/bandit --quiet --configfile pyproject.toml --severity-level medium --recursive $(SOURCES)

.PHONY: types
types: .venv/.tests ## Check types strictly
	@$(BIN)/mypy webapp tasks samples wsgi.py assets.py

.PHONY: format
format: .venv/.tests ## Format the Python code and mend what can be mended
	@$(BIN)/ruff check --fix --quiet || true
	@$(BIN)/ruff format

.PHONY: format-check
format-check: .venv/.tests ## Check style and format of the Python code
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check --quiet || { $(BIN)/ruff format --diff; exit 1; }

# Deploy ---------------------------------------------------------------------------------------------------------------

.PHONY: secrets
secrets: ## Make the secrets of the compose file in deploy/secrets/ (never overwrites one)
	@python3 deploy/make_secrets.py

.PHONY: services-up
services-up: secrets ## Start PostgreSQL, Redis and RabbitMQ for development, on 127.0.0.1
	@$(SERVICES) up --detach --wait postgres redis rabbitmq
	@sed -n 's/^# use: //p' deploy/services.yml

.PHONY: services-down
services-down: ## Stop them; their data stays
	@$(SERVICES) down

.PHONY: services-logs
services-logs: ## Follow their logs
	@$(SERVICES) logs --follow --tail 100

.PHONY: image
image: ## Build the image that serves web, worker and relay
	@docker build --tag $(IMAGE) .

.PHONY: image-run
image-run: ## Run the image on the embedded default at http://127.0.0.1:8000, data in the volume `holdfast`
	@docker run --rm --interactive --read-only --tmpfs /tmp --volume holdfast:/var/lib/holdfast \
	  --publish 127.0.0.1:$${PORT:-8000}:8000 --env HOST=0.0.0.0 --env APP_ENV=development $(IMAGE) python -m tasks.serve

.PHONY: lock
lock: .venv/.tests ## Pin the newest versions of requirements*.in in requirements*.txt (ARGS="--upgrade-package flask")
	@for name in requirements requirements-dev; do \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url \
	    $(or $(ARGS),--upgrade) $$name.in --output-file $$name.txt; \
	done

.PHONY: clean
clean: ## Remove what tools left; data under var/ that the vault wrote stays
	@rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis htmlcov static/vendor node_modules var/coverage var/import-linter
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

# Set-up: a stamp is renewed when what it was made from is newer, so a second start does nothing --------------------------

.venv/bin/python:
	@for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "Making .venv with $$($$python --version)"; \
	    $$python -m venv .venv || { echo 'On Debian: apt-get install python3-venv' >&2; rm -rf .venv; exit 1; }; exit 0; \
	  fi; \
	done; \
	echo 'Python 3.11 or newer is needed (PYTHON=/path/to/python3 names it)' >&2; exit 1

# uv installs in seconds; pip takes over where only pip knows the way to its index.
define install
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements-dev.txt uv 2>/dev/null \
	  && $(BIN)/uv pip sync --quiet --python $(PY) $(1) \
	  || $(BIN)/pip install --quiet --disable-pip-version-check --requirement $(1)
endef

.venv/.runs: requirements.txt | .venv/bin/python
	@echo 'Installing packages'
	$(call install,$(if $(wildcard .venv/.tests),requirements-dev.txt,requirements.txt))
	@touch $@

# A superset: whoever has it can run, too.
.venv/.tests: requirements.txt requirements-dev.txt | .venv/bin/python
	@echo 'Installing packages for development'
	$(call install,requirements-dev.txt)
	@touch .venv/.runs $@

# Templates and scripts say which icons and styles are kept.
static/vendor/.built: assets.py package.json package-lock.json $(WORDS) | .venv/.runs
	@$(PY) assets.py
	@touch $@
