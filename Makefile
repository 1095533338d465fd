# Everything installs itself into .venv; SERVICE names a service's folder.
SERVICE ?= .
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock
# What a service needs beside the platform: packages, and model files that its model/Makefile makes.
REQUIREMENTS := $(wildcard $(SERVICE)/src/requirements.txt)
MAKES := $(wildcard $(SERVICE)/model/Makefile)
make_model = $(MAKE) --no-print-directory --directory $(1)/model PYTHON=$(abspath $(BIN)/python)

# How an image is built: by buildah, else by docker. With one time for all files, equal content makes equal layers anywhere.
TARGET ?= cpu
setting = $(shell sed -n 's/^$(1) *= *.\([a-z0-9-]*\).*/\1/p' $(SERVICE)/value.py)
IMAGE ?= localhost/$(call setting,username)/$(call setting,service_name):dev
COMMIT = $(shell git rev-parse HEAD 2>/dev/null)
COMMITTED = $(shell git show --no-patch --format=%cI HEAD 2>/dev/null)
BUILDAH = buildah bud --format docker --layers --jobs 2 --timestamp 315532800
BUILD = $(if $(shell command -v buildah),$(BUILDAH),docker build)
export BUILDAH_ISOLATION ?= chroot
export DOCKER_BUILDKIT ?= 1

.PHONY: help serve model index image test test-gpu test-cluster check bench bench-examples bench-render bench-rollouts soak lock clean

help:            ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/'

serve: model              ## start the service of SERVICE (default: the root) and print its curl line
	$(BIN)/monopod serve --service $(SERVICE)

model: .venv/serve        ## install the packages of SERVICE and make the files of its model/
	$(if $(REQUIREMENTS),$(PIP) --requirement $(REQUIREMENTS))
	$(if $(MAKES),$(call make_model,$(SERVICE)))

index: .venv/serve        ## build the index of SERVICE from PICTURES, a folder of <product>/<view>.jpg or <product>.jpg
	$(if $(MAKES),,$(error $(SERVICE) has no model/Makefile, so no index; name a service that has: SERVICE=examples/sku-recognition))
	$(if $(PICTURES),,$(error PICTURES is not given: make index SERVICE=$(SERVICE) PICTURES=folder))
	$(if $(REQUIREMENTS),$(PIP) --requirement $(REQUIREMENTS))
	@$(call make_model,$(SERVICE)) index PICTURES="$(if $(filter /%,$(firstword $(PICTURES))),,$(CURDIR)/)$(PICTURES)"

image:                    ## build the image of SERVICE, for TARGET cpu or gpu, and name it IMAGE; see docs/image.md
	$(BUILD) --target $(TARGET) --build-arg SERVICE=$(SERVICE) $(if $(BASE),--build-arg BASE=$(BASE)) \
		$(if $(PIP_INDEX_URL),--build-arg PIP_INDEX_URL="$(PIP_INDEX_URL)") $(OPTIONS) --tag $(IMAGE) \
		$(foreach label,revision=$(COMMIT) created=$(COMMITTED),--label org.opencontainers.image.$(label)) .

test: .venv/dev           ## every test that needs no cluster and no GPU
	$(BIN)/pytest -m "not gpu and not cluster" --numprocesses auto --maxprocesses 4 --dist loadfile

test-gpu: .venv-gpu/dev   ## the tests that need a GPU, in an environment of their own
	.venv-gpu/bin/pytest -m gpu

test-cluster: .venv/dev   ## the tests that need a Kubernetes cluster, found by KUBECONFIG; last those that load its node
	$(BIN)/pytest -m "cluster and not alone" --numprocesses 3 --dist loadfile --no-loadscope-reorder
	$(BIN)/pytest -m "cluster and alone"

check: .venv/dev          ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	for code in examples/*/src; do MYPYPATH=$$code $(BIN)/mypy $$code || exit 1; done

bench: .venv/dev          ## the server against a bare loop, figures to docs/performance.md
	$(BIN)/python -m bench

bench-examples: .venv/dev ## measure the bench lines of the examples' READMEs, and write the figures below them
	$(BIN)/python -m bench.examples

soak: .venv/dev           ## each service under load and its memory limit, then releases on KUBECONFIG under load, figures to docs/
	$(BIN)/python -m bench.soak
	$(BIN)/python -m bench.losses

bench-render: .venv/dev   ## how long it takes to check and render a thousand services
	$(BIN)/python -m bench.render

bench-rollouts: .venv/dev ## three hundred services to a simulated region of KUBECONFIG, figures to docs/reliability.md
	$(BIN)/python -m bench.rollouts

lock:                     ## write the versions that .venv holds to requirements.lock
	$(BIN)/pip freeze --exclude-editable --exclude setuptools > requirements.lock

clean:                    ## forget what was installed
	rm -rf .venv .venv-gpu

.venv/bin/pip:
	$(PYTHON) -m venv .venv

.venv-gpu/dev: pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv-gpu
	.venv-gpu/bin/pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[runtime,gpu,tools,deploy,dev]'
	@touch $@

.venv/serve: pyproject.toml requirements.lock | .venv/bin/pip
	$(PIP) --editable '.[runtime,cpu,tools]'
	@touch $@

.venv/dev: pyproject.toml requirements.lock $(wildcard examples/*/src/requirements.txt) | .venv/bin/pip
	$(PIP) --editable '.[runtime,cpu,tools,deploy,dev]' $(addprefix --requirement ,$(wildcard examples/*/src/requirements.txt))
	$(foreach example,$(patsubst %/model/Makefile,%,$(wildcard examples/*/model/Makefile)),$(call make_model,$(example)) &&) true
	@touch $@ .venv/serve
