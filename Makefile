# Two commands are enough: `make demo` and `make test`. Each does all of its own set-up.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON_FILES := quantis features models monitoring cluster jobs serve tests bench examples
RUN := .venv/bin/python

.PHONY: help demo up down test lint types unit ray web-check platform soak bench openapi lock sbom clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: .venv/product.done web/dist/index.html ## run the main job on real data and leave the platform running
	.venv/bin/quantis demo

up: .venv/product.done web/dist/index.html ## start the platform
	.venv/bin/quantis up

down: ## stop what up or demo started
	.venv/bin/quantis down

test: .venv/dev.done ## everything that every commit must pass: each part, whatever failed before it
	$(RUN) -m tests.all_parts web-check lint types unit ray platform

lint: .venv/dev.done ## style, and code that a security review would stop at
	$(RUN) -m ruff check $(PYTHON_FILES)
	$(RUN) -m ruff check --preview --select PLR0917 $(PYTHON_FILES)
	$(RUN) -m ruff format --check $(PYTHON_FILES)
	$(RUN) -m bandit -q -c pyproject.toml -r quantis features models monitoring cluster jobs serve

types: .venv/dev.done ## mypy, strict; the tests less so
	$(RUN) -m mypy $(PYTHON_FILES)

unit: .venv/dev.done debian-test ## tests that need no running platform
	OMP_NUM_THREADS=1 $(RUN) -m pytest -q -n 2 --dist loadfile -m "not ray and not soak" --ignore=tests/platform tests

ray: .venv/dev.done debian-test ## tests that start a Ray of their own
	$(RUN) -m pytest -q -m "ray and not soak" --ignore=tests/platform tests

platform: .venv/dev.done web/dist/index.html debian-test ## a short demo on a free port, and everything on top of it
	$(RUN) -m pytest -q -m "not soak" --timeout 900 tests/platform

web-check: .venv/dev.done web/node_modules/.package-lock.json ## the API's types, lint, unit tests and build of the dashboard
	$(RUN) -m serve.openapi | cmp - web/openapi.json || (echo "web/openapi.json is old: make openapi" && exit 1)
	cd web && npm run --silent check

web/node_modules/.package-lock.json: web/package-lock.json
	cd web && npm ci --no-audit --no-fund --loglevel=error
	touch $@

web/dist/index.html: web/node_modules/.package-lock.json web/index.html web/docs/index.html web/vite.config.ts \
    web/openapi.json $(shell find web/src -type f)
	cd web && npm run --silent build
	touch $@

openapi: .venv/dev.done ## write the API's description and the web client's types from it
	$(RUN) -m serve.openapi > web/openapi.json.new && mv web/openapi.json.new web/openapi.json
	cd web && npm run --silent generate

soak: .venv/dev.done ## long crash, fuzz and endurance runs
	$(RUN) -m pytest -q -s -m soak tests # each test says its counts

bench: .venv/dev.done .venv/bench.done ## figures, with peers
	$(RUN) -m bench

sbom: .venv/dev.done web/node_modules/.package-lock.json ## what is in it, as CycloneDX: build/sbom/
	@mkdir -p build/sbom
	{ echo torch==2.13.0; cat requirements/lock.txt; } | .venv/bin/cyclonedx-py requirements --pyproject pyproject.toml \
	    --output-reproducible --output-file build/sbom/python.cdx.json -
	cd web && npm sbom --sbom-format cyclonedx --omit dev > ../build/sbom/web.cdx.json

lock: ## compile the lock files from pyproject.toml
	requirements/compile.sh

.PHONY: debian-test
debian-test:
	@requirements/debian.sh test

.venv/product.done: requirements/lock.txt requirements/install.sh
	@test .venv/dev.done -nt requirements/lock.txt || requirements/install.sh lock.txt
	@touch $@

.venv/dev.done: requirements/dev.txt requirements/install.sh
	requirements/install.sh dev.txt
	@touch $@

.venv/bench.done: requirements/bench.txt requirements/install.sh
	requirements/install.sh bench.txt
	@touch $@

clean: ## remove what was built; data stays
	rm -rf .venv web/node_modules web/dist
