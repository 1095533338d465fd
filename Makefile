# Everything installs itself into .venv; SERVICE names a service's folder.
SERVICE ?= .
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock

.PHONY: help serve test test-gpu test-cluster check bench bench-render lock clean

help:            ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/'

serve: .venv/serve        ## start the service of SERVICE (default: the root) and print its curl line
	$(BIN)/monopod serve --service $(SERVICE)

test: .venv/dev           ## every test that needs no cluster and no GPU
	$(BIN)/pytest -m "not gpu and not cluster"

test-gpu: .venv-gpu/dev   ## the tests that need a GPU, in an environment of their own
	.venv-gpu/bin/pytest -m gpu

test-cluster: .venv/dev   ## the tests that need a Kubernetes cluster, found by KUBECONFIG
	$(BIN)/pytest -m cluster

check: .venv/dev          ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/dev          ## the server against a bare loop, figures to docs/performance.md
	$(BIN)/python -m bench

bench-render: .venv/dev   ## how long it takes to check and render a thousand services
	$(BIN)/python -m bench.render

lock:                     ## write the versions that .venv holds to requirements.lock
	$(BIN)/pip freeze --exclude-editable --exclude setuptools > requirements.lock

clean:                    ## forget what was installed
	rm -rf .venv .venv-gpu

.venv/bin/pip:
	$(PYTHON) -m venv .venv

.venv-gpu/dev: pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv-gpu
	.venv-gpu/bin/pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[runtime,gpu,deploy,dev]'
	@touch $@

.venv/serve: pyproject.toml requirements.lock | .venv/bin/pip
	$(PIP) --editable '.[runtime,cpu]'
	@touch $@

.venv/dev: pyproject.toml requirements.lock | .venv/bin/pip
	$(PIP) --editable '.[runtime,cpu,deploy,dev]'
	@touch $@ .venv/serve
