# Each target installs what it needs into .venv. SERVICE names a service's folder.
SERVICE ?= .
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock
# A service may need packages of its own, and model files that its model/Makefile makes.
REQUIREMENTS := $(wildcard $(SERVICE)/src/requirements.txt)
MAKES := $(wildcard $(SERVICE)/model/Makefile)
make_model = $(MAKE) --no-print-directory --directory $(1)/model PYTHON=$(abspath $(BIN)/python)

# Ruff reads only the service's own files in src/ and tests/service/. The platform's code is checked where it changes.
OWN_TESTS = $(SERVICE)/src $(wildcard $(SERVICE)/tests/service)
OWN_CODE = $(OWN_TESTS) --exclude src/serving,src/monopod.py
# Images are built by buildah, or else by docker. All files get the same time, so that equal content makes equal layers anywhere.
TARGET ?= cpu
setting = $(shell sed -n 's/^$(1) *= *.\([a-z0-9-]*\).*/\1/p' $(SERVICE)/value.py)
relay-image: IMAGE = localhost/monopod/relay:dev
IMAGE ?= localhost/$(call setting,username)/$(call setting,service_name):dev
# A service's own Dockerfile, where it has one, is built upon the platform's image, which keeps a name of its own then.
OWN_DOCKERFILE = $(wildcard $(SERVICE)/service.Dockerfile)
PLATFORM_IMAGE = $(IMAGE)$(if $(OWN_DOCKERFILE),-platform)
COMMIT = $(shell git rev-parse HEAD 2>/dev/null)$(if $(shell git status --porcelain 2>/dev/null),-dirty)
COMMITTED = $(shell git show --no-patch --format=%cI HEAD 2>/dev/null)
BUILDAH = buildah bud --format docker --layers --jobs 2 --timestamp 315532800
BUILD = $(if $(shell command -v buildah),$(BUILDAH),docker build)
PUSH = $(if $(shell command -v buildah),buildah push $(if $(filter localhost:% 127.%,$(IMAGE)),--tls-verify=false),docker push)
# The builder's context: a service's own folder, and no tests or keys in it. $(1): the Dockerfile's name in the shell's $folder.
ignore = sed 's,^!examples$$,&\n!$(SERVICE:.=examples),' .dockerignore >"$$folder/$(1).dockerignore"
build_own = cp $(OWN_DOCKERFILE) "$$folder" && $(call ignore,service.Dockerfile) \
	&& $(BUILD) --file "$$folder/service.Dockerfile" --build-arg PLATFORM_IMAGE=$(PLATFORM_IMAGE) --tag $(IMAGE) $(SERVICE)
export BUILDAH_ISOLATION ?= chroot
export DOCKER_BUILDKIT ?= 1

.PHONY: help serve model index image own-image relay-image push test test-service format test-gpu test-offline test-cluster check bench bench-peers \
	bench-pods bench-spent bench-offline bench-autoscaling bench-examples bench-render bench-rollouts bench-canary bench-moving soak pipeline dashboards lock clean

help:            ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/'

serve: model              ## start the service of SERVICE (default: the root), on PORT and ADMIN_PORT, and print its curl line
	$(BIN)/monopod serve --service $(SERVICE) $(if $(PORT),--port $(PORT)) $(if $(ADMIN_PORT),--admin-port $(ADMIN_PORT))

model: .venv/serve        ## install the packages of SERVICE and make the files of its model/
	$(if $(REQUIREMENTS),$(PIP) --requirement $(REQUIREMENTS))
	$(if $(MAKES),$(call make_model,$(SERVICE)))

index: .venv/serve        ## build the index of SERVICE from PICTURES, a folder of <product>/<view>.jpg or <product>.jpg
	$(if $(MAKES),,$(error $(SERVICE) has no model/Makefile, so no index; name a service that has: SERVICE=examples/sku-recognition))
	$(if $(PICTURES),,$(error PICTURES is not given: make index SERVICE=$(SERVICE) PICTURES=folder))
	$(if $(REQUIREMENTS),$(PIP) --requirement $(REQUIREMENTS))
	@$(call make_model,$(SERVICE)) index PICTURES="$(if $(filter /%,$(firstword $(PICTURES))),,$(CURDIR)/)$(PICTURES)"

image:                    ## build the image of SERVICE, for TARGET cpu or gpu, and name it IMAGE; see docs/image.md
	$(if $(wildcard $(SERVICE)/value.py),,$(error $(SERVICE) holds no value.py: SERVICE names a service's folder))
	$(if $(filter cpu gpu,$(TARGET)),,$(error TARGET is $(TARGET): name cpu or gpu))
	folder=$$(mktemp -d) && trap 'rm -r "$$folder"' EXIT && cp Dockerfile "$$folder" && $(call ignore,Dockerfile) \
		&& $(BUILD) --file "$$folder/Dockerfile" --build-arg TARGET=$(TARGET) --build-arg SERVICE=$(SERVICE) $(if $(BASE),--build-arg BASE=$(BASE)) \
		$(if $(PIP_INDEX_URL),--build-arg PIP_INDEX_URL="$(PIP_INDEX_URL)") $(OPTIONS) --tag $(PLATFORM_IMAGE) \
		$(foreach label,revision=$(COMMIT) created=$(COMMITTED),--label org.opencontainers.image.$(label)) . \
		$(if $(OWN_DOCKERFILE),&& $(build_own))

own-image:                ## build service.Dockerfile of SERVICE upon PLATFORM_IMAGE, and name it IMAGE
	$(if $(OWN_DOCKERFILE),,$(error $(SERVICE) holds no service.Dockerfile))
	folder=$$(mktemp -d) && trap 'rm -r "$$folder"' EXIT && $(build_own)

relay-image:              ## build the image of the relay, and name it IMAGE; see docs/alerting.md
	$(BUILD) --file relay/Dockerfile $(if $(BASE),--build-arg BASE=$(BASE)) $(if $(PIP_INDEX_URL),--build-arg PIP_INDEX_URL="$(PIP_INDEX_URL)") \
		$(OPTIONS) --tag $(IMAGE) $(foreach label,revision=$(COMMIT) created=$(COMMITTED),--label org.opencontainers.image.$(label)) .

push:                     ## push the image named IMAGE to its registry; `monopod deploy --image` then takes it
	$(if $(filter localhost/%,$(IMAGE)),$(error $(IMAGE) names no registry: make push IMAGE=registry.example.com/like/demo:1))
	$(PUSH) $(OPTIONS) $(IMAGE)

test: .venv/dev           ## every test that needs no cluster, no broker and no GPU
	$(BIN)/pytest -m "not gpu and not cluster and not offline and not soak" --numprocesses 3 --dist loadfile \
		--no-loadscope-reorder

test-service: model .venv/test   ## the tests of SERVICE alone, in seconds, and lint and format of its code
	$(if $(wildcard $(SERVICE)/src/test_*.py),,$(error $(SERVICE)/src holds no test_*.py: write one as docs/service.md shows))
	$(BIN)/ruff check $(OWN_CODE) || { echo "cure: make format SERVICE=$(SERVICE), and by hand what it leaves"; exit 1; }
	$(BIN)/ruff format --check $(OWN_CODE) || { echo "cure: make format SERVICE=$(SERVICE)"; exit 1; }
	$(BIN)/pytest $(OWN_TESTS)

format: .venv/test        ## write the code of SERVICE as ruff formats it, imports in order
	$(BIN)/ruff check --select I --fix $(OWN_CODE)
	$(BIN)/ruff format $(OWN_CODE)

test-gpu: .venv-gpu/dev   ## the tests that need a GPU, in an environment of their own
	.venv-gpu/bin/pytest -m gpu

test-offline: .venv/dev   ## the tests that need a Kafka broker, found by MONOPOD_TEST_KAFKA
	$(BIN)/pytest tests -m "offline and not soak" --numprocesses 5 --dist loadfile --no-loadscope-reorder

test-cluster: .venv/dev   ## the tests that need a Kubernetes cluster, found as docs/deploy.md says; last those that load its node
	$(BIN)/pytest tests -m "cluster and not by_gateway and not alone and not soak" --numprocesses 4 --dist loadfile --no-loadscope-reorder
	$(BIN)/pytest tests -m "cluster and by_gateway and not soak" --numprocesses 2 --dist loadgroup
	$(BIN)/pytest tests -m "cluster and alone and not soak"

check: .venv/dev          ## lint, format, types, queries, what releases announce, and the Chinese pages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest --quiet tests/conf/observe/test_the_queries.py tests/conf/rules/test_platform_queries.py
	PYTHONPATH=src:. $(BIN)/python ci/compatible.py
	$(BIN)/python ci/translations.py
	for code in examples/*/src; do MYPYPATH=$$code $(BIN)/mypy $$code || exit 1; done

bench: .venv/dev          ## the server against a bare loop, figures to docs/performance.md
	$(BIN)/python -m bench

bench-peers: .venv/dev    ## the server and other servers in turns, PEERS or all, TREE (commit or folder) as before; to docs/performance.md
	$(BIN)/python -m bench.peers $(PEERS) $(if $(TREE),--tree $(TREE)) $(OPTIONS)

bench-pods: .venv/dev .venv-pods/ready ## four pods behind Envoy against one gunicorn, figures to docs/performance.md
	$(BIN)/python -m bench.pods

bench-spent: .venv/dev    ## what small requests spend their time on, with TREE (commit or folder) as before; to docs/performance.md
	$(BIN)/python -m bench.spent $(if $(TREE),--tree $(TREE))

bench-offline: .venv/dev ## `monopod offline` from Kafka to Kafka on KAFKA_BROKERS, figures to docs/offline.md
	$(BIN)/python -m bench.offline

bench-examples: .venv/dev ## measure the bench lines of the examples' READMEs, and write the figures below them
	$(BIN)/python -m bench.examples

soak: .venv/dev           ## each service under load and its memory, releases on KUBECONFIG under load (figures to docs/), the gpu image
	$(BIN)/python -m bench.soak
	$(BIN)/python -m bench.losses
	$(BIN)/pytest -m soak

bench-moving: .venv/dev   ## a Flask program under gunicorn and in each step here, figures to docs/moving.md
	$(BIN)/python -m bench.moving

bench-render: .venv/dev   ## how long it takes to check and render a thousand services
	$(BIN)/python -m bench.render

bench-canary: .venv/dev   ## ten thousand simulated canaries: false alarms, and requests until found; figures to docs/canary.md
	$(BIN)/python -m bench.canary

bench-rollouts: .venv/dev ## three hundred services to a simulated region of KUBECONFIG, figures to docs/reliability.md
	$(BIN)/python -m bench.rollouts

pipeline: .venv/dev       ## write the pipeline's jobs of the regions in conf/regions.yaml to ci/regions.yml
	$(BIN)/python -m conf.render.gitlab_jobs

dashboards: .venv/dev     ## write the dashboards of Grafana to charts/monitoring/dashboards
	$(BIN)/python -m dashboards

lock:                     ## write the versions that .venv holds to requirements.lock
	$(BIN)/pip freeze --exclude-editable --exclude setuptools > requirements.lock

clean:                    ## forget what was installed
	rm -rf .venv .venv-gpu .venv-pods

.venv/bin/pip:
	$(PYTHON) -m venv .venv

.venv-gpu/dev: pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv-gpu
	.venv-gpu/bin/pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[runtime,gpu,offline,cache,tools,check,deploy,dev]'
	@touch $@

.venv-pods/ready: bench/pods/requirements.txt
	$(PYTHON) -m venv .venv-pods
	.venv-pods/bin/pip install --quiet --disable-pip-version-check --requirement bench/pods/requirements.txt
	@touch $@

.venv/serve: pyproject.toml requirements.lock | .venv/bin/pip
	$(PIP) --editable '.[runtime,cpu,offline,cache,tools,check]'
	@touch $@

.venv/test: .venv/serve
	$(PIP) pytest pytest-timeout ruff
	@touch $@

.venv/dev: pyproject.toml requirements.lock $(wildcard examples/*/src/requirements.txt) | .venv/bin/pip
	$(PIP) --editable '.[runtime,cpu,offline,cache,tools,check,deploy,dev]' $(addprefix --requirement ,$(wildcard examples/*/src/requirements.txt))
	$(foreach example,$(patsubst %/model/Makefile,%,$(wildcard examples/*/model/Makefile)),$(call make_model,$(example)) &&) true
	@touch $@ .venv/serve .venv/test
